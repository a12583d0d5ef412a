"""SQL: a query that SQLite, PostgreSQL and DuckDB run alike, with one expression for each output.

It reads the table `input`, whose columns are the model's features in their own units, and adds columns to it. A null is
a missing value. It needs SQLite 3.35, PostgreSQL 12 or any DuckDB. Sums are nested in halves, because SQLite takes
expressions of a depth of 1000 at most.
"""

from collections.abc import Iterator, Sequence

from app.datasets.feature_encoding import ArrayFeature, CategoricalFeature, Feature, told_apart
from app.errors import Unsupported
from app.models.predictor import Loaded
from app.models.weights import Matrix


def write(loaded: Loaded) -> bytes:
    """The query as text."""
    row = loaded.row
    header = [
        f"-- {row.kind} regression{f', model {row.name} version {row.version}' if row.name else ''}, by Onelayer.",
        '-- Runs in SQLite, PostgreSQL and DuckDB. Name your table in place of "input"; a null is a missing value.',
    ]
    body = _softmax(loaded) if row.classes else _linear(loaded)
    text = "\n".join([*header, *body]) + ";\n"
    if "\0" in text:
        raise Unsupported((), "A name or a category contains a null character, which no SQL has; take another format.")
    return text.encode()


def _check_names(loaded: Loaded, added: Sequence[str]) -> None:
    """Refuse a model one of whose features is called as a column that the query adds."""
    added_names = {name.lower() for name in added}
    clash = [feature.name for feature in loaded.encoding.features if feature.name.lower() in added_names]
    if clash:
        raise Unsupported(
            (), f"The query would add a column {clash[0]!r}, a name that a feature has; take another format."
        )


def _own_mark(loaded: Loaded) -> str:
    """What the names of intermediate columns begin with, and that of no feature."""
    mark = "_"
    while any(feature.name.startswith(mark) for feature in loaded.encoding.features):
        mark += "_"
    return mark


def _linear(loaded: Loaded) -> list[str]:
    names = _told_apart("prediction", loaded.output_names) if len(loaded.row.target) > 1 else ["prediction"]
    _check_names(loaded, names)
    expressions = [f"  {_output(loaded, j)} AS {_quoted(name)}" for j, name in enumerate(names)]
    return ["SELECT *,", ",\n".join(expressions), 'FROM "input"']


def _softmax(loaded: Loaded) -> list[str]:
    """Logits, then their maximum by rounds of pairs, then the exponentials, then probabilities and the class.

    Until the end columns are numbered: SQLite and DuckDB take names that differ in case alone for the same.
    """
    names, own = loaded.output_names, _own_mark(loaded)
    logits = [f"{own}l{j}" for j in range(len(names))]
    told = {kind: _told_apart(kind, names) for kind in ("logit", "probability")}
    _check_names(loaded, ["prediction", *told["logit"], *told["probability"]])
    columns = ",\n".join(f"  {_output(loaded, j)} AS {logit}" for j, logit in enumerate(logits))
    steps = [("_logits", "\n" + columns + "\n", '"input"')]
    best = logits[0]
    for number, (expressions, winner) in enumerate(_rounds(logits, own)):
        steps.append((f"_round{number}", " " + ", ".join(expressions), steps[-1][0]))
        best = winner
    # PostgreSQL refuses an exponential that is too small for a number instead of calling it zero.
    powers = ", ".join(
        f"CASE WHEN {logit} - {best} < -700 THEN 0.0 ELSE EXP({logit} - {best}) END AS {own}e{j}"
        for j, logit in enumerate(logits)
    )
    steps.append(("_powers", " " + powers, steps[-1][0]))
    steps.append(("_total", f" {_sum([f'{own}e{j}' for j in range(len(names))])} AS {own}sum", "_powers"))
    cases = " ".join(f"WHEN {logit} = {best} THEN {_text(name)}" for logit, name in zip(logits, names, strict=True))
    ends = [f"{logit} AS {_quoted(name)}" for logit, name in zip(logits, told["logit"], strict=True)]
    ends += [f"{own}e{j} / {own}sum AS {_quoted(name)}" for j, name in enumerate(told["probability"])]
    tail = [f'SELECT *, CASE {cases} END AS "prediction",', "  " + ",\n  ".join(ends), "FROM _total"]
    # Materialised, or SQLite would put each step's expressions into those of the next, which multiplies them.
    tables = [f"{name} AS MATERIALIZED (SELECT *,{chosen} FROM {source})" for name, chosen, source in steps]  # noqa: S608 - quoted
    return ["WITH " + ",\n".join(tables), *tail]


def _rounds(rivals: Sequence[str], own: str) -> Iterator[tuple[list[str], str]]:
    """The rounds of a knock-out for the greatest: expressions for the winners of each, and the first winner's name."""
    number, standing = 0, list(rivals)
    while len(standing) > 1:
        pairs = [standing[i : i + 2] for i in range(0, len(standing), 2)]
        winners = [f"{own}m{number}_{i}" for i in range(len(pairs))]
        expressions = [
            f"CASE WHEN {pair[0]} >= {pair[-1]} THEN {pair[0]} ELSE {pair[-1]} END AS {winner}"
            for pair, winner in zip(pairs, winners, strict=True)
        ]
        yield expressions, winners[0]
        number, standing = number + 1, winners


def _output(loaded: Loaded, output: int) -> str:
    terms, start = [repr(float(loaded.weights.bias[output]))], 0
    for feature in loaded.encoding.features:
        stop = start + len(feature.names)
        terms += _terms(feature, loaded.weights.weights[start:stop, output])
        start = stop
    return _sum(terms)


def _terms(feature: Feature, weights: Matrix) -> list[str]:
    numbers = [repr(float(weight)) for weight in weights]
    if isinstance(feature, CategoricalFeature):
        return [_category(feature, numbers)]
    if isinstance(feature, ArrayFeature):
        return [f"{w} * {_number(name)}" for name, w in zip(feature.names, numbers, strict=True)]
    name = _quoted(feature.name)
    value = f"CASE WHEN {name} THEN 1.0 ELSE 0.0 END" if feature.boolean else _number(feature.name)
    missing = float(feature.mean * weights[0] + (weights[1] if feature.indicator else 0.0))
    return [f"CASE WHEN {name} IS NULL THEN {missing!r} ELSE {numbers[0]} * {value} END"]


def _category(feature: CategoricalFeature, numbers: list[str]) -> str:
    """Its levels; where rare ones are folded, any other value is one of them and a null is `unknown`."""
    name = _quoted(feature.name)
    cases = " ".join(f"WHEN {_text(level)} THEN {w}" for level, w in zip(feature.levels, numbers, strict=False))
    if not feature.other:
        return f"CASE {name} {cases} ELSE {numbers[-1]} END"
    return f"CASE WHEN {name} IS NULL THEN {numbers[-1]} ELSE CASE {name} {cases} ELSE {numbers[-2]} END END"


def _number(name: str) -> str:
    return f"CAST({_quoted(name)} AS DOUBLE PRECISION)"


def _sum(terms: Sequence[str]) -> str:
    """A sum whose depth is the logarithm of its length."""
    if len(terms) <= 2:
        return f"({' + '.join(terms)})"
    half = len(terms) // 2
    return f"({_sum(terms[:half])} + {_sum(terms[half:])})"


def _told_apart(prefix: str, names: Sequence[str]) -> list[str]:
    """A column's name for each; of those that differ in case alone, the later ones get a number."""
    return told_apart([f"{prefix}:{name}" for name in names], key=str.lower)


def _quoted(name: str) -> str:
    """A column's name: a quote inside is doubled."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
