"""PMML 4.4: a RegressionModel, for the tools of banks and insurers.

A category's predictors are its levels; the weight of `unknown` moves into the intercept, so that a level never seen
adds nothing to it. A missing number is replaced by the training mean, a missing category by a text that is no level.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator

import numpy as np

from app import __version__
from app.datasets.feature_encoding import UNKNOWN, ArrayFeature, CategoricalFeature, Feature
from app.models.predictor import Loaded
from app.models.weights import Matrix

NAMESPACE = "http://www.dmg.org/PMML-4_4"
_CONTINUOUS = {"optype": "continuous", "dataType": "double"}
_CATEGORICAL = {"optype": "categorical", "dataType": "string"}
_SOFTMAX = {"functionName": "classification", "normalizationMethod": "softmax"}


def write(loaded: Loaded) -> bytes:
    """The document."""
    root = ET.Element("PMML", {"xmlns": NAMESPACE, "version": "4.4"})
    header = ET.SubElement(root, "Header", {"description": f"{loaded.row.kind} regression"})
    ET.SubElement(header, "Application", {"name": "Onelayer", "version": __version__})
    _dictionary(root, loaded)
    if loaded.row.classes or len(loaded.row.target) == 1:
        _regression(root, loaded, loaded.row.target[0], range(len(loaded.outputs_names)))
    else:  # a model for each target
        for output, target in enumerate(loaded.row.target):
            _regression(root, loaded, target, range(output, output + 1))
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _dictionary(root: ET.Element, loaded: Loaded) -> None:
    fields = ET.SubElement(root, "DataDictionary")
    for feature in loaded.encoding.features:
        kind = _CATEGORICAL if isinstance(feature, CategoricalFeature) else _CONTINUOUS
        for name in feature.names if isinstance(feature, ArrayFeature) else [feature.name]:
            ET.SubElement(fields, "DataField", {"name": name, **kind})
    for target in loaded.row.target:
        classes = loaded.row.classes
        kind = (
            {"optype": "categorical", "dataType": "string"}
            if classes
            else {"optype": "continuous", "dataType": "double"}
        )
        field = ET.SubElement(fields, "DataField", {"name": target, **kind})
        for name in classes or []:
            ET.SubElement(field, "Value", {"value": name})


def _regression(root: ET.Element, loaded: Loaded, target: str, outputs: range) -> None:
    classes = loaded.row.classes
    kind = (
        {"functionName": "classification", "normalizationMethod": "softmax"}
        if classes
        else {"functionName": "regression"}
    )
    model = ET.SubElement(root, "RegressionModel", {"modelName": target, **kind})
    schema = ET.SubElement(model, "MiningSchema")
    ET.SubElement(schema, "MiningField", {"name": target, "usageType": "target"})
    for feature in loaded.encoding.features:
        for name, treatment in _treatments(feature):
            ET.SubElement(schema, "MiningField", {"name": name, **treatment})
    if classes:
        _probabilities(model, classes)
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
        yield feature.name, {"missingValueReplacement": _no_level(feature), "invalidValueTreatment": "asIs"}
    else:
        yield feature.name, {"missingValueReplacement": repr(float(feature.mean)), "missingValueTreatment": "asMean"}


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


def _intercept(loaded: Loaded, output: int) -> str:
    unknown = [w[-1] for feature, w in _blocks(loaded, output) if isinstance(feature, CategoricalFeature)]
    return repr(float(loaded.weights.bias[output] + np.sum(unknown)))


def _predictors(loaded: Loaded, output: int) -> Iterator[ET.Element]:
    for feature, weights in _blocks(loaded, output):
        if isinstance(feature, CategoricalFeature):
            for level, weight in zip(feature.levels, weights[:-1], strict=True):
                about = {"name": feature.name, "value": level, "coefficient": repr(float(weight - weights[-1]))}
                yield ET.Element("CategoricalPredictor", about)
        else:
            for name, weight in zip(feature.names, weights, strict=True):
                yield ET.Element(
                    "NumericPredictor", {"name": name, "exponent": "1", "coefficient": repr(float(weight))}
                )
