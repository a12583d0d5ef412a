import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from app.datasets import splitting
from app.datasets.encoding import Encoding, check_options, standardize_by_default
from app.datasets.instances import encode_instances, encode_records
from app.datasets.splitting import Part, split
from app.datasets.synthetic import SyntheticLinear
from app.datasets.target_encoding import TargetEncoding
from app.errors import InvalidSpec
from tests.unit.datasets.conftest import Build, images

TABLE = {
    "size": [1.0, None, 3.0, 4.0, 100.0],
    "town": ["b", "a", None, "b", "c"],
    "new": [True, False, None, True, True],
    "price": [10.0, 20.0, 30.0, 40.0, 50.0],
}


def fitted(dataset, rows=None, target="price", model="linear", standardize=False, features=None) -> Encoding:
    part = Part(dataset, rows if rows is not None else dataset.split("train"))
    return Encoding.fit(part, features, TargetEncoding.fit(dataset, target, model), standardize)


def bases(array: np.ndarray) -> list[object]:
    """The arrays that this one is a view of."""
    return [array.base, *bases(array.base)] if isinstance(array.base, np.ndarray) else []


def test_columns_are_imputed_and_one_hot_as_the_training_rows_teach(build: Build):
    dataset = build(TABLE)
    encoding = fitted(dataset, slice(0, 4))

    X, scale = encoding.matrix(Part(dataset, dataset.split("all")))

    third, size = 2 / 3, 8 / 3
    assert encoding.names == ["size", "town=a", "town=b", "town=unknown", "new"]
    assert scale == 1.0
    assert X.dtype == np.float32
    assert (
        pytest.approx(
            np.array([[1, 0, 1, 0, 1], [size, 1, 0, 0, 0], [3, 0, 0, 1, third], [4, 0, 1, 0, 1], [100, 0, 0, 1, 1]])
        )
        == X
    )


def test_an_unseen_category_is_the_mean_of_the_levels_where_nothing_trained_unknown(build: Build):
    dataset = build({"town": ["a", "b", "b", "b", "z"], "y": [1, 2, 3, 4, 5]})
    encoding = fitted(dataset, slice(0, 4), target="y")
    weights, bias = np.array([[2.0], [6.0], [99.0]]), np.array([1.0])

    trained = encoding.matrix(Part(dataset, slice(4, 5))).X @ weights + bias
    folded, folded_bias = encoding.fold(weights, bias)
    rows, strange = encoding.imputed(encode_records(encoding, [{"town": "z"}, {"town": None}, {}]))
    served = rows @ folded + folded_bias

    assert trained.item() == 0.25 * 2 + 0.75 * 6 + 1
    assert served.ravel() == pytest.approx([trained.item()] * 3)
    assert strange.all()


def test_rows_to_predict_tell_what_no_training_row_had(build: Build):
    encoding = fitted(build({"a": [1.0, 3.0], "b": [1.0, None], "c": ["x", None], "y": [1, 2]}), target="y")
    ordinary = {"a": 0.0, "b": None, "c": None}

    rows, strange = encoding.imputed(
        encode_records(encoding, [ordinary, ordinary | {"a": None}, ordinary | {"c": "z"}])
    )

    assert rows.tolist() == [[0, 1, 0, 1], [2, 1, 0, 1], [0, 1, 0, 1]]
    assert strange.tolist() == [False, True, True]


def test_standardised_columns_have_mean_zero_and_unit_spread_on_the_training_rows(build: Build):
    dataset = build({"a": [1e8, 1e8 + 1, 1e8 + 2, 0.0], "c": [7.0, 7.0, 7.0, 1.0], "y": [1, 2, 3, 4]})

    encoding = fitted(dataset, slice(0, 3), target="y", standardize=True)

    X, _ = encoding.matrix(Part(dataset, slice(0, 3)))
    assert X[:, 0] == pytest.approx([-(1.5**0.5), 0, 1.5**0.5], abs=1e-6)
    assert X[:, 1] == pytest.approx([0, 0, 0])


@pytest.mark.parametrize("standardize", [True, False])
def test_folded_weights_act_on_raw_rows_as_the_trained_ones_act_on_the_trained_matrix(build: Build, standardize: bool):
    dataset = build(TABLE)
    encoding = fitted(dataset, standardize=standardize)
    generator = np.random.default_rng(0)
    weights, bias = generator.normal(size=(6, 2)), generator.normal(size=2)
    rows = [{key: row[key] for key in ("size", "town", "new")} for row in dataset.read()]

    folded, folded_bias = encoding.fold(weights, bias)
    served = encode_records(encoding, rows) @ folded + folded_bias

    trained = encoding.matrix(Part(dataset, dataset.split("all"))).X @ weights + bias
    assert served == pytest.approx(trained, abs=1e-5)


def test_images_stay_bytes_and_are_not_copied(build: Build):
    dataset = build(images(6), "idx")
    encoding = fitted(dataset, target="label", model="softmax")

    X, scale = encoding.matrix(Part(dataset, slice(1, 5)))
    folded, _ = encoding.fold(np.ones((6, 3)), np.zeros(3))

    assert (X.dtype, X.shape, scale) == (np.uint8, (4, 6), 1 / 255)
    assert X.flags.c_contiguous
    assert any(isinstance(view, np.memmap) for view in bases(X))
    assert folded == pytest.approx(np.full((6, 3), 1 / 255))
    assert encoding.names[:2] == ["image[0,0]", "image[0,1]"]


def test_chosen_image_rows_are_those_rows(build: Build):
    dataset = build(images(10), "idx")
    part = split(dataset, {"fraction": 0.3}, 1).validation

    X, _ = fitted(dataset, target="label", model="softmax").matrix(part)

    assert np.array_equal(X, dataset.array("image")[part.rows].reshape(3, 6))


def test_standardised_images_are_floats(build: Build):
    dataset = build(images(30), "idx")

    X, scale = fitted(dataset, target="label", model="softmax", standardize=True).matrix(Part(dataset, slice(0, 30)))

    assert (X.dtype, scale) == (np.float32, 1.0)
    assert X.std(axis=0) == pytest.approx(np.ones(6), rel=1e-5)


def test_an_encoding_survives_json_bit_for_bit(build: Build):
    for source, form, target, model in [
        (TABLE, "csv", "price", "linear"),
        (images(9), "idx", "label", "softmax"),
    ]:
        encoding = fitted(build(source, form), target=target, model=model, standardize=True)

        assert Encoding.from_json(json.loads(json.dumps(encoding.to_json()))) == encoding


def test_tables_are_standardised_by_default_but_not_images_and_synthetic_sets(build: Build):
    assert standardize_by_default(build(TABLE))
    assert not standardize_by_default(build(images(3), "idx"))
    assert not standardize_by_default(build(SyntheticLinear([1.0], 0.0, 5).content()))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["nowhere"], "no column 'nowhere'"),
        (["price"], "is the target"),
        (["size", "size"], "twice"),
        ([], "no column"),
    ],
)
def test_features_that_cannot_be_are_refused(build: Build, features: list[str], message: str):
    with pytest.raises(InvalidSpec, match=message) as caught:
        fitted(build(TABLE), features=features)

    assert caught.value.faults[0].location == "features"


def test_ignored_columns_are_no_features_and_say_why_when_asked_for(build: Build):
    dataset = build(b"day,a,y\n2020-01-01,1,2\n2020-01-02,2,3\n")

    assert fitted(dataset, target="y").names == ["a"]
    with pytest.raises(InvalidSpec, match="ignore"):
        fitted(dataset, target="y", features=["day"])


def test_a_feature_without_a_value_in_the_training_rows_is_refused(build: Build):
    with pytest.raises(InvalidSpec, match="no value"):
        fitted(build({"a": [None, None, 1.0], "y": [1, 2, 3]}), slice(0, 2), target="y")


def test_another_dataset_must_have_the_columns_of_the_model(build: Build):
    encoding = fitted(build(TABLE))
    other = build({**TABLE, "town": [1, 2, 3, 4, 5]})

    with pytest.raises(InvalidSpec, match="'town' is numeric"):
        encoding.matrix(Part(other, other.split("all")))


def test_least_squares_on_the_encoded_housing_table_is_as_good_as_scikit_learns(build: Build, real_data: Path):
    dataset = build((real_data / "california-housing.csv").read_bytes(), target="median_house_value")
    parts = split(dataset, {"fraction": 0.2}, 0)
    encoding = fitted(dataset, parts.train.rows, None, standardize=True)
    train, validation = (encoding.matrix(part).X.astype(np.float64) for part in (parts.train, parts.validation))
    y_train, y = (encoding.targets(part)[:, 0].astype(np.float64) for part in (parts.train, parts.validation))
    oracle = LinearRegression().fit(train, y_train)
    rows = [{name: row[name] for name in dataset.kinds if name != "median_house_value"} for row in dataset.read()]
    raw = encode_records(encoding, [rows[row] for row in parts.validation.rows])

    solution = np.linalg.lstsq(np.column_stack([train, np.ones(len(train))]), y_train)[0]
    weights, bias = encoding.fold(solution[:-1, None], solution[-1:])

    assert r2_score(y, (raw @ weights + bias)[:, 0]) == pytest.approx(oracle.score(validation, y), abs=1e-4)


def test_rare_levels_share_a_column_and_so_does_a_level_never_seen(build: Build):
    dataset = build({"town": ["a", "b", "b", "c", "a", None, "d"], "y": [1, 2, 3, 4, 5, 6, 7]})
    part = Part(dataset, dataset.split("all"))
    encoding = Encoding.fit(part, None, TargetEncoding.fit(dataset, "y", "linear"), True, max_categories=2)
    raw = encode_records(encoding, [{"town": town} for town in ("a", "c", "z", None)])

    assert encoding.names == ["town=a", "town=b", "town=other", "town=unknown"]
    assert raw.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    X = encoding.matrix(part).X
    assert X.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-6)
    assert X.std(axis=0) == pytest.approx(np.ones(4), rel=1e-5)
    assert Encoding.from_json(json.loads(json.dumps(encoding.to_json()))) == encoding


def test_as_many_levels_as_there_is_room_for_need_no_column_for_others(build: Build):
    dataset = build({"town": ["a", "b"], "y": [1, 2]})
    part = Part(dataset, dataset.split("all"))
    encoding = Encoding.fit(part, None, TargetEncoding.fit(dataset, "y", "linear"), False, max_categories=2)

    assert encoding.names == ["town=a", "town=b", "town=unknown"]


def test_a_missing_value_can_have_an_indicator(build: Build):
    dataset = build({"a": [1.0, None, 3.0], "b": [True, False, None], "c": [1, 2, 3], "y": [1, 2, 3]})
    part = Part(dataset, dataset.split("all"))
    encoding = Encoding.fit(part, None, TargetEncoding.fit(dataset, "y", "linear"), True, missing_indicator=True)
    raw = encode_records(encoding, [{"a": None, "b": True, "c": 5}, {"a": 7}])

    assert encoding.names == ["a", "a=missing", "b", "b=missing", "c"]
    np.testing.assert_array_equal(raw, [[2, 1, 1, 0, 5], [7, 0, 0.5, 1, np.nan]])
    assert encoding.imputed(raw)[0].tolist() == [[2, 1, 1, 0, 5], [7, 0, 0.5, 1, 2]]
    X = encoding.matrix(part).X
    assert X.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-6)
    assert X.std(axis=0) == pytest.approx(np.ones(5), rel=1e-5)
    assert encode_instances(encoding, [[1, True, 2]]).tolist() == [[1, 0, 1, 0, 2]]
    assert Encoding.from_json(json.loads(json.dumps(encoding.to_json()))) == encoding


@pytest.mark.parametrize("form", ["slice", "fraction"])
def test_an_encoding_is_learned_and_applied_in_blocks(build: Build, monkeypatch: pytest.MonkeyPatch, form: str):
    generator = np.random.default_rng(5)
    numbers, towns = generator.normal(1e6, 1, (2, 999)), generator.choice(["x", "y", None], 999)
    dataset = build({"a": numbers[0], "c": towns, "y": numbers[1]})
    part = Part(dataset, dataset.split("all")) if form == "slice" else split(dataset, {"fraction": 0.3}, 1).train
    whole = Encoding.fit(part, None, TargetEncoding.fit(dataset, "y", "linear"), True)
    expected, y = whole.matrix(part).X, whole.targets(part)
    monkeypatch.setattr(splitting, "BLOCK_ROWS", 10)

    blocks = Encoding.fit(part, None, TargetEncoding.fit(dataset, "y", "linear"), True)

    assert np.asarray(blocks.mean) == pytest.approx(np.asarray(whole.mean))
    assert np.asarray(blocks.std) == pytest.approx(np.asarray(whole.std))
    assert pytest.approx(expected) == whole.matrix(part).X
    assert np.array_equal(whole.targets(part), y)


def test_options_that_would_change_nothing_are_refused(build: Build):
    dataset = build({"a": [1.0, 2.0], "c": ["x", "y"], "y": [1, 2]})

    check_options(dataset, ["a", "c"], 5, True)
    with pytest.raises(InvalidSpec, match="max_categories"):
        check_options(dataset, ["a"], 5, False)
    with pytest.raises(InvalidSpec, match="missing_indicator"):
        check_options(dataset, ["c"], None, True)


def test_columns_of_the_design_matrix_are_told_apart(build: Build):
    dataset = build(b"town,town=unknown,y\nunknown,1,1\na,2,2\na,3,3\n")

    encoding = fitted(dataset, target="y")

    assert encoding.names == ["town=a", "town=unknown", "town=unknown (2)", "town=unknown (3)"]


def test_whole_numbers_beyond_a_float_are_rounded_to_one(build: Build):
    numbers = [2**60 + 1, 2**60 + 1000, None, -(2**60) - 1]
    dataset = build({"id": numbers, "price": [1.0, 2.0, 3.0, 4.0]})
    encoding = fitted(dataset, standardize=True)

    X = encoding.matrix(Part(dataset, dataset.split("all"))).X

    there = np.array([number for number in numbers if number is not None], float)
    raw = np.where([number is None for number in numbers], there.mean(), [number or 0 for number in numbers])
    assert pytest.approx(((raw - raw.mean()) / raw.std())[:, None], rel=1e-5, abs=1e-6) == X
