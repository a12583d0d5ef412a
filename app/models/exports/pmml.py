"""PMML 4.4: a RegressionModel, for the tools of banks and insurers.

A category's predictors are its levels; the weight of what is none of them moves into the intercept, so that a level
never seen adds nothing to it. A missing number is replaced by the training mean, a missing category by a text that is
no level. Where missing values have a weight of their own, a derived field says that a value is missing.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import numpy as np

from app import __version__
from app.datasets.feature_encoding import (
    MISSING,
    UNKNOWN,
    ArrayFeature,
    CategoricalFeature,
    Feature,
    NumericFeature,
)
from app.errors import Unsupported
from app.models.predictor import Loaded
from app.models.weights import Matrix

FILLED = "filled"
NAMESPACE = "http://www.dmg.org/PMML-4_4"
_NO_XML = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
"""What XML 1.0 leaves out, in UTF-8."""
_CONTINUOUS = {"optype": "continuous", "dataType": "double"}
_CATEGORICAL = {"optype": "categorical", "dataType": "string"}
_SOFTMAX = {"functionName": "classification", "normalizationMethod": "softmax"}
_LINEAR = {"functionName": "regression"}


def write(loaded: Loaded) -> bytes:
    """The document."""
    root = ET.Element("PMML", {"xmlns": NAMESPACE, "version": "4.4"})
    header = ET.SubElement(root, "Header", {"description": f"{loaded.row.kind} regression"})
    ET.SubElement(header, "Application", {"name": "Onelayer", "version": __version__})
    _dictionary(root, loaded)
    if loaded.row.classes or len(loaded.row.target) == 1:
        _regression(root, loaded, loaded.row.target[0], range(len(loaded.output_names)))
    else:  # a model for each target
        for output, target in enumerate(loaded.row.target):
            _regression(root, loaded, target, range(output, output + 1))
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    if _NO_XML.search(content):
        raise Unsupported((), "A name or a category has a character that XML does not; take another format.")
    return content


def _dictionary(root: ET.Element, loaded: Loaded) -> None:
    fields = ET.SubElement(root, "DataDictionary")
    for feature in loaded.encoding.features:
        kind = _CATEGORICAL if isinstance(feature, CategoricalFeature) else _CONTINUOUS
        for name in feature.names if isinstance(feature, ArrayFeature) else [feature.name]:
            ET.SubElement(fields, "DataField", {"name": name, **kind})
    classes = loaded.row.classes
    for target in loaded.row.target:
        field = ET.SubElement(fields, "DataField", {"name": target, **(_CATEGORICAL if classes else _CONTINUOUS)})
        for name in classes or []:
            ET.SubElement(field, "Value", {"value": name})


def _regression(root: ET.Element, loaded: Loaded, target: str, outputs: range) -> None:
    classes = loaded.row.classes
    about = {"modelName": target, **(_SOFTMAX if classes else _LINEAR)}
    model = ET.SubElement(root, "RegressionModel", about)
    schema = ET.SubElement(model, "MiningSchema")
    ET.SubElement(schema, "MiningField", {"name": target, "usageType": "target"})
    for feature in loaded.encoding.features:
        for name, treatment in _treatments(feature):
            ET.SubElement(schema, "MiningField", {"name": name, **treatment})
    if classes:
        _probabilities(model, classes)
    _transformations(model, loaded)
    for output in outputs:
        table = ET.SubElement(model, "RegressionTable", {"intercept": _intercept(loaded, output)})
        if classes:
            table.set("targetCategory", classes[output])
        for predictor in _predictors(loaded, output):
            table.append(predictor)


def _treatments(feature: Feature) -> Iterator[tuple[str, dict[str, str]]]:
    if isinstance(feature, ArrayFeature):
        yield from ((name, {}) for name in feature.names)
    elif isinstance(feature, CategoricalFeature):
        replacement = {} if feature.other else {"missingValueReplacement": _no_level(feature)}
        yield feature.name, {**replacement, "invalidValueTreatment": "asIs"}
    elif feature.indicator:
        yield feature.name, {}
    else:
        yield feature.name, {"missingValueReplacement": repr(float(feature.mean)), "missingValueTreatment": "asMean"}


def _transformations(model: ET.Element, loaded: Loaded) -> None:
    """Derived fields of the features whose missing values have a weight of their own."""
    fields: list[ET.Element] = []
    for feature in loaded.encoding.features:
        if isinstance(feature, CategoricalFeature) and feature.other:
            fields.append(_derived(feature, UNKNOWN, _constant(1.0), _constant(0.0)))
        elif isinstance(feature, NumericFeature) and feature.indicator:
            itself = ET.Element("FieldRef", {"field": feature.name})
            fields.append(_derived(feature, FILLED, _constant(feature.mean), itself))
            fields.append(_derived(feature, MISSING, _constant(1.0), _constant(0.0)))
    taken = {field.attrib["name"] for field in fields} & {feature.name for feature in loaded.encoding.features}
    if taken:
        raise Unsupported((), f"PMML needs {min(taken)!r} for a field of its own; rename the column.")
    if fields:
        ET.SubElement(model, "LocalTransformations").extend(fields)


def _derived(feature: Feature, suffix: str, missing: ET.Element, there: ET.Element) -> ET.Element:
    """A field that is one thing where the feature is missing, and another where it is there."""
    field = ET.Element("DerivedField", {"name": f"{feature.name}={suffix}", **_CONTINUOUS})
    choice = ET.SubElement(field, "Apply", {"function": "if"})
    question = ET.SubElement(choice, "Apply", {"function": "isMissing"})
    ET.SubElement(question, "FieldRef", {"field": feature.name})
    choice.extend([missing, there])
    return field


def _constant(value: float) -> ET.Element:
    element = ET.Element("Constant", {"dataType": "double"})
    element.text = repr(float(value))
    return element


def _no_level(feature: CategoricalFeature) -> str:
    name = UNKNOWN
    while name in feature.levels:
        name = f"{name}_"
    return name


def _probabilities(model: ET.Element, classes: list[str]) -> None:
    output = ET.SubElement(model, "Output")
    for name in classes:
        about = {"optype": "continuous", "dataType": "double", "feature": "probability", "value": name}
        ET.SubElement(output, "OutputField", {"name": f"probability({name})", **about})


def _blocks(loaded: Loaded, output: int) -> Iterator[tuple[Feature, Matrix]]:
    start = 0
    for feature in loaded.encoding.features:
        stop = start + len(feature.names)
        yield feature, loaded.weights.weights[start:stop, output]
        start = stop


def _rest(feature: CategoricalFeature) -> int:
    """Which of its weights a value has that is no level: that of the rare levels, or of `unknown`."""
    return -2 if feature.other else -1


def _intercept(loaded: Loaded, output: int) -> str:
    rest = [w[_rest(feature)] for feature, w in _blocks(loaded, output) if isinstance(feature, CategoricalFeature)]
    return repr(float(loaded.weights.bias[output] + np.sum(rest)))


def _predictors(loaded: Loaded, output: int) -> Iterator[ET.Element]:
    for feature, weights in _blocks(loaded, output):
        if isinstance(feature, CategoricalFeature):
            rest = weights[_rest(feature)]
            for level, weight in zip(feature.levels, weights, strict=False):
                about = {"name": feature.name, "value": level, "coefficient": repr(float(weight - rest))}
                yield ET.Element("CategoricalPredictor", about)
            if feature.other:
                yield _number(f"{feature.name}={UNKNOWN}", weights[-1] - rest)
        else:
            indicator = isinstance(feature, NumericFeature) and feature.indicator
            names = [f"{feature.name}={FILLED}", f"{feature.name}={MISSING}"] if indicator else feature.names
            yield from map(_number, names, weights)


def _number(name: str, weight: float) -> ET.Element:
    return ET.Element("NumericPredictor", {"name": name, "exponent": "1", "coefficient": repr(float(weight))})
