"""A graph made ready to run: functions in order, what each reads and writes, and when memory is free again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import Array, Graph, NetworkError, Node, sorted_nodes
from .operators import OPERATORS, Setting, Unsupported
from .operators.convolutions import broadcasts_to

Fallback = Callable[[Node], Callable[..., Any]]


@dataclass(slots=True)
class Step:
    """One node: values lie in numbered places."""

    run: Callable[..., Any]
    inputs: list[int]  # -1: left out
    outputs: list[int]  # -1: nobody reads it
    free: list[int]  # read here for the last time
    reuse: list[int]  # which of the inputs the result may be written into
    node: Node


class Groups:
    """Values that may share memory, as a forest."""

    def __init__(self) -> None:
        self.above: dict[str, str] = {}

    def root(self, name: str) -> str:
        while (up := self.above.get(name, name)) != name:
            name = up
        return name

    def join(self, a: str, b: str) -> None:
        self.above[self.root(a)] = self.root(b)


def captured(node: Node) -> list[str]:
    """Names that its bodies take from around it, beside its inputs."""
    return [name for name in node.reads() if name not in node.inputs]


def memory_of(node: Node) -> str:
    found = OPERATORS.get((node.domain, node.op))
    return found.memory if found else "alias"


def fits(x: Array, others: Iterable[Any]) -> bool:
    """Whether a result of x and the others has the shape of x, by broadcasting."""
    return all(other is None or broadcasts_to(other.shape, x.shape) for other in others)


class Program:
    """Runs a graph. `around`: names that its caller hands over beside the inputs, in their order."""

    def __init__(
        self, graph: Graph, around: Sequence[str] = (), fallback: Fallback | None = None,
        kept: dict[int, Callable[..., Any]] | None = None,
    ):  # fmt: skip
        self.graph, self.fallback, self.kept = graph, fallback, kept or {}
        nodes = sorted_nodes(graph, around)
        self.feeds = [value.name for value in graph.inputs] + list(around)
        self.place: dict[str, int] = {}
        for name in (
            *self.feeds,
            *graph.constants,
            *(n for node in nodes for n in node.outputs if n),
        ):
            self.place.setdefault(name, len(self.place))
        self.start: list[Array | None] = [None] * len(self.place)
        for name, array in graph.constants.items():
            self.start[self.place[name]] = array
        self.results = [self.place[value.name] for value in graph.outputs]
        last = self.last_uses(nodes)
        self.steps = [self.step(node, i, last) for i, node in enumerate(nodes)]
        groups = self.groups(nodes)
        self.let_reuse(nodes, last, groups)
        self.lent = self.lent_outputs(nodes, groups)

    def last_uses(self, nodes: list[Node]) -> dict[str, int]:
        """The number of the last node that reads each name; outputs and constants are kept to the end."""
        last = {name: i for i, node in enumerate(nodes) for name in node.reads()}
        last.update((value.name, len(nodes)) for value in self.graph.outputs)
        last.update((name, len(nodes)) for name in self.graph.constants)
        return last

    def setting(self) -> Setting:
        def program(graph: Graph) -> Callable[[Sequence[Any]], list[Array]]:
            return Program(graph, graph.free(), self.fallback).run

        return Setting(self.graph.constants, program)

    def step(self, node: Node, i: int, last: dict[str, int]) -> Step:
        place = self.place
        names = [*node.inputs, *captured(node)]
        return Step(
            run=self.kept.get(id(node)) or self.built(node),
            inputs=[place[name] if name else -1 for name in names],
            outputs=[place[name] if last.get(name, -1) > i else -1 for name in node.outputs],
            free=[place[name] for name in {*names} if name and last[name] == i],
            reuse=[],
            node=node,
        )

    def built(self, node: Node) -> Callable[..., Any]:
        found = OPERATORS.get((node.domain, node.op))
        try:
            if found is not None:
                return found.build(node, self.setting())
        except Unsupported:
            pass
        except NetworkError:
            raise
        except Exception as error:
            raise NetworkError(f"{node.label}: {error}") from error
        if self.fallback is not None:
            return self.fallback(node)
        domain = f" of {node.domain}" if node.domain else ""
        raise NetworkError(
            f"{node.label}: the operator{domain} is not known, or not with these attributes"
        )

    def groups(self, nodes: list[Node]) -> Groups:
        """Which values may share memory."""
        groups = Groups()
        for node in nodes:
            memory = memory_of(node)
            if memory in ("fresh", "inplace"):
                continue
            shared = (
                [*node.reads(), *filter(None, node.outputs)]
                if memory == "alias"
                else node.inputs[:1]
            )
            for name in filter(None, node.outputs):
                for source in filter(None, shared):
                    groups.join(name, source)
        return groups

    def lent_outputs(self, nodes: list[Node], groups: Groups) -> list[bool]:
        """Whether an output may be memory that the caller must not write to: of an input, a constant, another output,
        or a body, which may hand on constants of its own."""
        taken = {groups.root(name) for name in (*self.feeds, *self.graph.constants)}
        taken |= {
            groups.root(n)
            for node in nodes
            if memory_of(node) == "alias"
            for n in node.outputs
            if n
        }
        result = []
        for value in self.graph.outputs:
            root = groups.root(value.name)
            result.append(root in taken)
            taken.add(root)
        return result

    def let_reuse(self, nodes: list[Node], last: dict[str, int], groups: Groups) -> None:
        """Marks inputs whose memory nobody needs after the step, nor the caller."""
        ends: dict[str, int] = {}
        for name, i in last.items():
            root = groups.root(name)
            ends[root] = max(ends.get(root, -1), i)
        for name in self.feeds:
            ends[groups.root(name)] = len(nodes)
        for i, (node, step) in enumerate(zip(nodes, self.steps, strict=True)):
            if memory_of(node) == "inplace":
                step.reuse = [
                    k
                    for k, name in enumerate(node.inputs)
                    if name and ends.get(groups.root(name), -1) == i
                ]

    def run(
        self, feeds: Sequence[Any], watch: Callable[[Step, Any], None] | None = None
    ) -> list[Array]:
        """The outputs, in order. `watch` sees every step's result."""
        values: list[Any] = self.start.copy()
        values[: len(feeds)] = feeds
        step = None
        try:
            for step in self.steps:
                self.advance(step, values, watch)
        except (NetworkError, MemoryError):
            raise
        except Exception as error:
            label = step.node.label if step else "the network"
            raise NetworkError(f"{label}: {error}") from error
        return [values[i] for i in self.results]

    def advance(
        self, step: Step, values: list[Any], watch: Callable[[Step, Any], None] | None
    ) -> None:
        arrays = [values[i] if i >= 0 else None for i in step.inputs]
        into: Any = None
        for k in step.reuse:
            x: Any = arrays[k]
            if (
                x.flags.writeable
                and x.flags.c_contiguous
                and fits(x, arrays)
                and same_dtype(x, arrays)
            ):
                into = x
                break
        result = step.run(*arrays) if into is None else step.run(*arrays, out=into)
        if watch is not None:
            watch(step, result)
        if len(step.outputs) == 1:
            if step.outputs[0] >= 0:
                values[step.outputs[0]] = result
        else:
            parts = result if isinstance(result, tuple) else (result,)
            for i, part in zip(step.outputs, parts, strict=False):
                if i >= 0:
                    values[i] = part
        for i in step.free:
            values[i] = None


def same_dtype(x: Array, others: Iterable[Any]) -> bool:
    return all(other is None or other.dtype == x.dtype for other in others)


def evaluated(node: Node, constants: dict[str, Array], fallback: Fallback | None) -> list[Array]:
    """The results of a node all of whose inputs are constants."""
    names = [name for name in node.reads()]
    from .graph import Value

    graph = Graph(
        [], [Value(name) for name in node.outputs if name], [node], {n: constants[n] for n in names}
    )
    with np.errstate(all="ignore"):
        return Program(graph, (), fallback).run([])
