"""A trained network that is called like a function."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .graph import Array, Graph, NetworkError, Node, Value
from .program import Fallback, Program, Step
from .shapes import Shaped
from .simplify import LARGE, folded, without_identities, without_unused

SHAPES_MOST = 16  # programs for inputs of so many shapes are kept


class Timing(NamedTuple):
    """One step of a profile."""

    node: str
    op: str
    shape: str
    milliseconds: float
    share: float


class Profile:
    """What each step of a network took; printed as a table."""

    def __init__(self, rows: list[Timing], total: float):
        self.rows = rows
        self.total = total

    def __str__(self) -> str:
        lines = [f"{'ms':>9} {'share':>6}  {'operator':<28} {'result':<22} node"]
        for row in sorted(self.rows, key=lambda r: -r.milliseconds):
            lines.append(
                f"{row.milliseconds:9.3f} {100 * row.share:5.1f}%  {row.op:<28} {row.shape:<22} {row.node}"
            )
        lines.append(f"{self.total:9.3f}         {len(self.rows)} steps")
        return "\n".join(lines)

    __repr__ = __str__


class Network:
    """
    A trained network, made by `cconv.load_network` or `cconv.interop.onnx.load`.

    Parameters
    ----------
    graph : Graph
        Its nodes and constants.

    Attributes
    ----------
    inputs, outputs : list of Value
        Names, dtypes and shapes; a text in a shape stands for a size that varies.

    Notes
    -----
    A call takes the inputs in their order, or by name, and returns the output's array, or a tuple of them where there
    are several; ``outputs=`` names those that are wanted. It may be made from many threads at once.
    """

    def __init__(self, graph: Graph, fallback: Fallback | None = None):
        self.graph = graph
        self.inputs: list[Value] = graph.inputs
        self.outputs: list[Value] = graph.outputs
        self._fallback = fallback
        self._program = Program(graph, (), fallback)
        self._decided = Shaped(graph, (step.node for step in self._program.steps)).nodes
        self._special: dict[Any, Program] = {}

    def __call__(
        self, *arrays: ArrayLike, outputs: str | Sequence[str] | None = None, **named: ArrayLike
    ) -> Any:
        feeds = self._feeds(arrays, named)
        wanted = self._wanted(outputs)
        with np.errstate(all="ignore"):
            program = self._program_for(feeds)
            results = program.run(feeds)
        found = [own(results[i], program.lent[i]) for i in wanted]
        return found[0] if len(found) == 1 else tuple(found)

    def _program_for(self, feeds: list[Any]) -> Program:
        """The program for inputs of these shapes, in which what they decide is known."""
        if not self._decided:
            return self._program
        key = tuple(getattr(x, "shape", None) for x in feeds)
        found = self._special.get(key)
        if found is None:
            found = self._specialized(feeds)
            if len(self._special) >= SHAPES_MOST:
                self._special.clear()
            self._special[key] = found
        return found

    def _specialized(self, feeds: list[Any]) -> Program:
        """What the shapes decide becomes constant; so may the conditions of Ifs, whose branches then bring more."""
        graph, program, decided = self.graph, self._program, self._decided
        while True:
            values = decided_values(program, decided, feeds)
            graph, new = with_values(graph, decided, values)
            ifs = sum(node.op == "If" for node in graph.nodes)
            graph = without_unused(without_identities(folded(graph, self._fallback)))
            kept = {
                id(step.node): step.run
                for step in program.steps
                if new.isdisjoint(step.node.reads())
            }
            program = Program(graph, (), self._fallback, kept)
            decided = Shaped(graph, (step.node for step in program.steps)).nodes
            if not decided or ifs == sum(node.op == "If" for node in graph.nodes):
                return program

    def _feeds(self, arrays: tuple[ArrayLike, ...], named: dict[str, ArrayLike]) -> list[Array]:
        names = [value.name for value in self.inputs]
        if len(arrays) > len(names):
            raise TypeError(
                f"the network takes {len(names)} inputs ({', '.join(names)}), got {len(arrays)}"
            )
        given: dict[str, Any] = dict(zip(names, arrays, strict=False))
        for name, array in named.items():
            if name not in names:
                raise TypeError(f"the network has no input {name!r}, but {', '.join(names)}")
            if name in given:
                raise TypeError(f"the input {name!r} is given twice")
            given[name] = array
        missing = [name for name in names if name not in given]
        if missing:
            raise TypeError(f"the network's input {missing[0]!r} is missing")
        return [as_declared(value, given[value.name]) for value in self.inputs]

    def _wanted(self, outputs: str | Sequence[str] | None) -> list[int]:
        names = [value.name for value in self.outputs]
        if outputs is None:
            return list(range(len(names)))
        wanted = [outputs] if isinstance(outputs, str) else list(outputs)
        for name in wanted:
            if name not in names:
                raise ValueError(f"the network has no output {name!r}, but {', '.join(names)}")
        return [names.index(name) for name in wanted]

    # ------------------------------------------------------------ looking at it

    def profile(self, *arrays: ArrayLike, repeat: int = 5, **named: ArrayLike) -> Profile:
        """
        Time every step.

        Parameters
        ----------
        *arrays, **named : array_like
            The inputs, as for a call.
        repeat : int, optional
            Runs after an untimed one; the least time of each step counts.

        Returns
        -------
        Profile
            Rows of (node, operator, shape, milliseconds, share); ``print`` shows a table.
        """
        if repeat < 1:
            raise ValueError(f"profile: repeat must be at least 1, got {repeat}")
        feeds = self._feeds(arrays, named)
        times: dict[int, list[float]] = {}
        shapes: dict[int, str] = {}
        for turn in range(repeat + 1):
            last = time.perf_counter()

            def watch(step: Step, result: Any, timed: bool = turn > 0) -> None:
                nonlocal last
                now = time.perf_counter()
                if timed:
                    times.setdefault(id(step), []).append(now - last)
                shapes[id(step)] = shape_text(result)
                last = time.perf_counter()

            with np.errstate(all="ignore"):
                program = self._program_for(feeds)
                last = time.perf_counter()
                program.run(feeds, watch)
        least = [min(times[id(step)]) for step in program.steps]
        total = sum(least) or 1e-12
        rows = [
            Timing(
                node=step.node.name or step.node.outputs[0],
                op=full_name(step.node),
                shape=shapes[id(step)],
                milliseconds=1e3 * took,
                share=took / total,
            )
            for step, took in zip(program.steps, least, strict=True)
        ]
        return Profile(rows, 1e3 * total)

    def __str__(self) -> str:
        lines = [f"network {self.graph.name or ''}".rstrip()]
        lines += [f"  input  {value}" for value in self.inputs]
        lines += [f"  output {value}" for value in self.outputs]
        lines.append(f"  {len(self.graph.nodes)} nodes, {self.graph.parameters():,} numbers")
        for i, node in enumerate(self.graph.nodes):
            lines.append(
                f"{i:5d}  {full_name(node):<34} {weight_text(self.graph, node):<24} {node.name}"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        ins = ", ".join(map(str, self.inputs))
        return f"<cconv.networks.Network {self.graph.name or 'network'} of {ins}, {len(self.graph.nodes)} nodes>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write it to a file that `cconv.load_network` reads, with NumPy and cconv alone.

        Parameters
        ----------
        path : str or path-like
            Usually ending in ``.cconv``.

        Raises
        ------
        NetworkError
            If it has a node that only the onnx package can run.
        """
        from .archive import write

        if self._fallback is not None:
            Program(self.graph)  # which says what is unknown without it
        write(self.graph, path)

    def __reduce__(self) -> tuple[Callable[..., Network], tuple[Graph]]:
        return Network, (self.graph,)


def decided_values(program: Program, decided: list[Node], feeds: list[Any]) -> dict[str, Any]:
    """The values of these nodes, in a run with these inputs."""
    wanted = {id(node) for node in decided}
    values: dict[str, Any] = {}

    def watch(step: Step, result: Any) -> None:
        if id(step.node) in wanted:
            results = result if isinstance(result, tuple) else (result,)
            values.update(
                (n, np.array(r)) for n, r in zip(step.node.outputs, results, strict=True) if n
            )

    program.run(feeds, watch)
    return values


def with_values(
    graph: Graph, decided: list[Node], values: dict[str, Any]
) -> tuple[Graph, set[str]]:
    """The graph with small values as constants instead of nodes, and their names."""
    gone = {
        id(node) for node in decided if all(values[n].nbytes <= LARGE for n in node.outputs if n)
    }
    nodes = [node for node in graph.nodes if id(node) not in gone]
    new = {n: values[n] for node in graph.nodes if id(node) in gone for n in node.outputs if n}
    return Graph(graph.inputs, graph.outputs, nodes, {**graph.constants, **new}, graph.name), set(
        new
    )


def own(result: Any, lent: bool) -> Any:
    """An output as an array that the caller may change."""
    if isinstance(result, list) or result is None:  # a sequence, or an optional without a value
        return result
    result = np.asarray(result)
    return result.copy() if lent or not result.flags.writeable else result


def as_declared(value: Value, given: Any) -> Any:
    """An input in its declared dtype and shape, if it can be taken for that."""
    if value.dtype is None and value.shape is None and not isinstance(given, np.ndarray):
        return given  # a sequence, or what nothing is said about
    try:
        x = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"the input {value.name!r} must be an array ({error})") from None
    if value.dtype is not None and x.dtype != value.dtype:
        wanted = np.dtype(value.dtype)
        plain = isinstance(given, int | float | list | tuple)
        if not (plain or np.can_cast(x.dtype, wanted, "same_kind")) or x.dtype.kind == "O":
            raise TypeError(f"the input {value.name!r} must have dtype {wanted}, got {x.dtype}")
        x = x.astype(wanted)
    if value.shape is None:
        return x
    fixed = all(
        not isinstance(d, int) or d == n for d, n in zip(value.shape, x.shape, strict=False)
    )
    if len(value.shape) != x.ndim or not fixed:
        sizes = ", ".join("?" if d is None else str(d) for d in value.shape)
        raise ValueError(f"the input {value.name!r} must have shape ({sizes}), got {x.shape}")
    return x


def full_name(node: Node) -> str:
    """The operator with what was fused behind it."""
    parts = [node.op if node.domain in ("", "cconv") else f"{node.domain}.{node.op}"]
    if node.get("adds"):
        parts.append("add")
    if node.get("activation") is not None:
        name, *numbers = node.get("activation")
        text = f"{name}({', '.join(f'{n:g}' for n in numbers)})" if numbers else name
        if node.op == "Activation":
            return str(text)
        parts.append(text)
    return " + ".join(parts)


def weight_text(graph: Graph, node: Node) -> str:
    """The shape of a node's weights."""
    found = [
        graph.constants[n].shape
        for n in node.inputs
        if n in graph.constants and graph.constants[n].ndim > 1
    ]
    return "x".join(map(str, found[0])) if found else ""


def shape_text(result: Any) -> str:
    first = result[0] if isinstance(result, tuple) else result
    if not hasattr(first, "dtype"):
        return type(first).__name__
    return "x".join(map(str, first.shape)) + (
        f" {first.dtype}" if first.dtype != np.float32 else ""
    )


__all__ = ["Network", "NetworkError", "Profile", "Timing"]
