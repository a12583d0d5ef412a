"""ONNX: a graph that takes raw columns, with the encoding inside, in double precision throughout.

number    double [n, 1]          NaN is a missing value: the training mean takes its place, an indicator its weight
boolean   double [n, 1]          1 and 0, NaN is missing
category  string [n, 1]          its level looks up a row of weights; any other text, "" too, is `unknown`. Where rare
                                 levels are folded, any other text is one of them, and "" alone is a missing value
array     float  [n, *shape]     in its own units (pixels 0 to 255), flattened

linear    → predict double [n, k]
softmax   → predict string [n], probabilities double [n, k]
"""

from typing import Any

import numpy as np

from app.datasets.feature_encoding import ArrayFeature, CategoricalFeature, Feature
from app.errors import Unsupported
from app.models.predictor import Loaded
from app.models.weights import Matrix

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
"""Old enough for runtimes of the last years, new enough for all that is used."""


def write(loaded: Loaded) -> bytes:
    """The serialised model, checked by ONNX's own checker."""
    import onnx

    taken = {feature.name for feature in loaded.encoding.features} & {"predict", "probabilities"}
    if taken:
        raise Unsupported((), f"ONNX cannot have {min(taken)!r} as a column and as an output; rename the column.")
    graph = _Graph(loaded)
    model = onnx.helper.make_model(
        graph.made(),
        producer_name="onelayer", ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


class _Graph:
    """The graph while it is built: each feature adds a term (n, k) to the outputs."""

    def __init__(self, loaded: Loaded) -> None:
        from onnx import TensorProto, helper, numpy_helper

        self._loaded = loaded
        self._helper, self._types, self._from_array = helper, TensorProto, numpy_helper.from_array
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []

    def made(self) -> Any:
        """The finished graph."""
        weights, start = self._loaded.weights.weights, 0
        terms = []
        for position, feature in enumerate(self._loaded.encoding.features):
            stop = start + len(feature.names)
            terms.append(self._term(f"f{position}", feature, weights[start:stop]))
            start = stop
        terms.append(self._constant("bias", self._loaded.weights.bias.reshape(1, -1)))
        values = self._node("Sum", terms, "values")
        outputs = self._classes(values) if self._loaded.row.classes else self._numbers(values)
        return self._helper.make_graph(self._nodes, "onelayer", self._inputs, outputs, self._constants)

    def _term(self, prefix: str, feature: Feature, weights: Matrix) -> str:
        if isinstance(feature, CategoricalFeature):
            return self._category(prefix, feature, weights)
        rows = self._constant(f"{prefix}_weights", weights)
        if isinstance(feature, ArrayFeature):
            self._input(feature.name, self._types.FLOAT, ["n", *feature.shape])
            flat = self._node("Flatten", [feature.name], f"{prefix}_flat", axis=1)
            wide = self._node("Cast", [flat], f"{prefix}_double", to=self._types.DOUBLE)
            return self._node("MatMul", [wide, rows], f"{prefix}_term")
        self._input(feature.name, self._types.DOUBLE, ["n", 1])
        mean = self._constant(f"{prefix}_mean", np.array([[feature.mean]]))
        missing = self._node("IsNaN", [feature.name], f"{prefix}_missing")
        filled = self._node("Where", [missing, mean, feature.name], f"{prefix}_filled")
        if feature.indicator:
            flag = self._node("Cast", [missing], f"{prefix}_flag", to=self._types.DOUBLE)
            filled = self._node("Concat", [filled, flag], f"{prefix}_columns", axis=1)
        return self._node("MatMul", [filled, rows], f"{prefix}_term")

    def _category(self, prefix: str, feature: CategoricalFeature, weights: Matrix) -> str:
        self._input(feature.name, self._types.STRING, ["n", 1])
        flat = self._node("Reshape", [feature.name, self._constant(f"{prefix}_n", np.array([-1]))], f"{prefix}_flat")
        codes = {level: code for code, level in enumerate(feature.levels)}
        if feature.other:
            codes.setdefault("", len(feature.names) - 1)
        code = self._node(
            "LabelEncoder", [flat], f"{prefix}_code", domain="ai.onnx.ml",
            keys_strings=list(codes), values_int64s=list(codes.values()), default_int64=len(feature.levels),
        )  # fmt: skip
        return self._node("Gather", [self._constant(f"{prefix}_weights", weights), code], f"{prefix}_term", axis=0)

    def _numbers(self, values: str) -> list[Any]:
        self._node("Identity", [values], "predict")
        outputs = len(self._loaded.row.target)
        return [self._helper.make_tensor_value_info("predict", self._types.DOUBLE, ["n", outputs])]

    def _classes(self, logits: str) -> list[Any]:
        classes = list(self._loaded.row.classes or [])
        best = self._node("ArgMax", [logits], "best", axis=1, keepdims=0)
        names = self._helper.make_tensor(
            "onelayer/classes", self._types.STRING, [len(classes)], [c.encode() for c in classes]
        )
        self._constants.append(names)
        self._node("Gather", ["onelayer/classes", best], "predict", axis=0)
        self._node("Softmax", [logits], "probabilities", axis=1)
        return [
            self._helper.make_tensor_value_info("predict", self._types.STRING, ["n"]),
            self._helper.make_tensor_value_info("probabilities", self._types.DOUBLE, ["n", len(classes)]),
        ]

    def _input(self, name: str, kind: int, shape: list[Any]) -> None:
        self._inputs.append(self._helper.make_tensor_value_info(name, kind, shape))

    def _constant(self, name: str, values: Any) -> str:
        # Names that columns may have as well are kept apart by a prefix that comes after them.
        self._constants.append(self._from_array(np.ascontiguousarray(values), f"onelayer/{name}"))
        return f"onelayer/{name}"

    def _node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        name = output if output in ("predict", "probabilities") else f"onelayer/{output}"
        self._nodes.append(self._helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        return name
