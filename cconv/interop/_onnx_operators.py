"""The networks' operators as classes of the onnx package's reference evaluator."""

from __future__ import annotations

from typing import Any

from onnx.reference.op_run import OpRun

from ..networks.graph import Node
from ..networks.operators import OPERATORS, Setting
from ..networks.operators.registry import Run

# an input that is usually a constant: weights, which are packed once then
WEIGHTS = {"Conv": 1, "ConvTranspose": 1}


class Operator(OpRun):
    """One node: what its attributes make is kept from call to call."""

    op = ""

    def _run(self, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        result = self._function(inputs, attributes)(*inputs)
        return result if isinstance(result, tuple) else (result,)

    def _function(self, inputs: tuple[Any, ...], attributes: dict[str, Any]) -> Run:
        constants = self._constants(inputs)
        given = {name: value for name, value in attributes.items() if value is not None}
        known: Any = getattr(self, "_kept", None)
        if known is not None and known[0] == given and same(known[1], constants):
            run: Run = known[2]
            return run
        names = [f"input{i}" for i in range(len(inputs))]
        opset = (getattr(self, "run_params", None) or {}).get("opsets", {}).get("", 21)
        node = Node(self.op, names, list(self.output), dict(given), opset=opset)
        run = OPERATORS["", self.op].build(node, Setting(constants))
        self._kept = given, constants, run
        return run

    def _constants(self, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """Weights and bias that nobody can write to, as initializers are: packed once."""
        first = WEIGHTS.get(self.op)
        if first is None or any(a is not None and a.flags.writeable for a in inputs[first:]):
            return {}
        return {f"input{i}": a for i, a in enumerate(inputs) if i >= first and a is not None}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(a[name] is b[name] for name in a)


def operator_class(op: str) -> type:
    return type(op, (Operator,), {"op": op, "__doc__": OPERATORS["", op].build.__doc__})


NAMES = (
    "Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv", "MaxPool", "AveragePool", "LpPool",
    "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "MaxUnpool", "Col2Im", "BatchNormalization",
)  # fmt: skip
new_ops: list[type] = [operator_class(op) for op in NAMES]
