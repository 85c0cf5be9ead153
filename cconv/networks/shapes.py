"""What depends on the inputs' shapes alone: computed in the first call of these shapes, constants from then on."""

from __future__ import annotations

from collections.abc import Iterable

from .graph import Graph, Node
from .operators import OPERATORS
from .simplify import RANDOM

# inputs whose values decide the result's shape
DECIDING: dict[str, tuple[int, ...]] = {
    "Reshape": (1,), "Expand": (1,), "Slice": (1, 2, 3, 4), "Tile": (1,), "Pad": (1, 3), "Resize": (1, 2, 3),
    "Upsample": (1,), "ConstantOfShape": (0,), "Range": (0, 1, 2), "OneHot": (1,), "TopK": (1,), "Split": (1,),
    "Squeeze": (1,), "Unsqueeze": (1,), "MaxUnpool": (2,), "Col2Im": (1, 2),
}  # fmt: skip
UNKNOWN = {
    "NonZero",
    "Compress",
    "Unique",
    "NonMaxSuppression",
    "If",
    "Loop",
    "Scan",
    "SequenceMap",
}


class Shaped:
    """Names whose shapes, and whose values, the shapes of the inputs decide."""

    def __init__(self, graph: Graph, nodes: Iterable[Node]):
        self.values = set(graph.constants)
        self.shapes = self.values | {value.name for value in graph.inputs}
        self.nodes = [node for node in nodes if self.take(node)]

    def take(self, node: Node) -> bool:
        """Adds a node's results; whether their values are decided."""
        reads = node.reads()
        known = ("", node.op) in OPERATORS and not node.domain or node.domain == "cconv"
        if not known or node.op in UNKNOWN or node.op in RANDOM or any(True for _ in node.graphs()):
            return False
        if any(name not in self.shapes for name in reads):
            return False
        deciding = range(1, 9) if node.op.startswith("Reduce") else DECIDING.get(node.op, ())
        if all(
            node.inputs[i] in self.values
            for i in deciding
            if i < len(node.inputs) and node.inputs[i]
        ):
            self.shapes.update(node.outputs)
        else:
            return False
        if node.op in ("Shape", "Size") or all(name in self.values for name in reads):
            self.values.update(node.outputs)
            return True
        return False
