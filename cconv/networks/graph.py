"""A network as data: nodes with ONNX's operators and attributes, and constants. Nothing here runs anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class NetworkError(ValueError):
    """What is wrong with a model or a saved network: one sentence, with the node where there is one."""


@dataclass(slots=True)
class Value:
    """An input or output: its dtype and shape as far as they are known; a text stands for a size that varies."""

    name: str
    dtype: str | None = None
    shape: tuple[int | str | None, ...] | None = None

    def __str__(self) -> str:
        sizes = (
            "?"
            if self.shape is None
            else ", ".join("?" if d is None else str(d) for d in self.shape)
        )
        return f"{self.name}: {self.dtype or '?'} ({sizes})"


@dataclass(slots=True, eq=False)
class Node:
    """One operator: names of its inputs ("" where one is left out) and outputs; attributes as Python values."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    domain: str = ""
    opset: int = 21

    @property
    def label(self) -> str:
        """What errors call it."""
        return f"{self.op} node {self.name or '-> ' + next(filter(None, self.outputs), '?')!r}"

    def graphs(self) -> Iterator[Graph]:
        """The bodies of If, Loop and Scan."""
        for value in self.attributes.values():
            if isinstance(value, Graph):
                yield value

    def reads(self) -> list[str]:
        """All names that it needs, those that its bodies take from around it included."""
        names = [name for name in self.inputs if name]
        for graph in self.graphs():
            names += [name for name in graph.free() if name not in names]
        return names

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)


@dataclass(slots=True, eq=False)
class Graph:
    """Nodes in an order in which they can run."""

    inputs: list[Value]
    outputs: list[Value]
    nodes: list[Node]
    constants: dict[str, Array]
    name: str = ""

    def free(self) -> list[str]:
        """Names that are taken from around this graph, in the order of their first use."""
        known = {value.name for value in self.inputs} | set(self.constants)
        found: dict[str, None] = {}
        for node in self.nodes:
            found.update((name, None) for name in node.reads() if name not in known)
            known.update(node.outputs)
        found.update((v.name, None) for v in self.outputs if v.name not in known)
        return list(found)

    def uses(self) -> dict[str, int]:
        """How often each name is read; an output counts as one reader."""
        counts: dict[str, int] = {}
        for name in (n for node in self.nodes for n in node.reads()):
            counts[name] = counts.get(name, 0) + 1
        for value in self.outputs:
            counts[value.name] = counts.get(value.name, 0) + 1
        return counts

    def producers(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs if name}

    def parameters(self) -> int:
        """Elements of all constants."""
        return sum(a.size for a in self.constants.values())


def sorted_nodes(graph: Graph, around: Iterable[str] = ()) -> list[Node]:
    """The nodes in an order in which each reads only what is there; an error where there is none."""
    known = {value.name for value in graph.inputs} | set(graph.constants) | set(around)
    made: set[str] = set()
    for node in graph.nodes:
        for name in filter(None, node.outputs):
            if name in known or name in made:
                raise NetworkError(f"{node.label}: {name!r} is made more than once")
            made.add(name)
    waiting, result = list(graph.nodes), []
    while waiting:
        later = []
        for node in waiting:
            missing = [name for name in node.reads() if name not in known]
            for name in missing:
                if name not in made:
                    raise NetworkError(f"{node.label}: its input {name!r} is made nowhere")
            if missing:
                later.append(node)
            else:
                result.append(node)
                known.update(node.outputs)
        if len(later) == len(waiting):
            raise NetworkError(f"{later[0].label}: it waits for itself")
        waiting = later
    for value in graph.outputs:
        if value.name not in known:
            raise NetworkError(f"the network's output {value.name!r} is made nowhere")
    return result


def scalar(array: Array | None) -> float | None:
    """The one element of a constant, or None."""
    if array is None or array.size != 1 or array.dtype.kind not in "fiub":
        return None
    return float(np.asarray(array).reshape(())[()])
