"""If, Loop and Scan: bodies are programs of their own, given what they read from around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Graph, Node
from .registry import Run, Setting, Unsupported, operator


def body(node: Node, setting: Setting, name: str) -> tuple[Any, list[int]]:
    """The program of a body, and where among the node's captured values those lie that it reads."""
    graph = node.get(name)
    if not isinstance(graph, Graph) or setting.program is None:
        raise Unsupported
    captured = [n for n in node.reads() if n not in node.inputs]
    everything = [*node.inputs, *captured]
    return setting.program(graph), [everything.index(n) for n in graph.free()]


def several(results: list[Any]) -> Any:
    return results[0] if len(results) == 1 else tuple(results)


@operator("If", memory="alias")
def if_(node: Node, setting: Setting) -> Run:
    branches = [body(node, setting, name) for name in ("else_branch", "then_branch")]

    def run(*values: Array) -> Any:
        program, places = branches[bool(np.asarray(values[0]).reshape(-1)[0])]
        return several(program([values[i] for i in places]))

    return run


@operator("Loop", memory="alias")
def loop(node: Node, setting: Setting) -> Run:
    program, places = body(node, setting, "body")
    graph: Graph = node.get("body")
    states = len(graph.inputs) - 2
    if len(node.inputs) != states + 2 or len(graph.outputs) < states + 1:
        raise ValueError("its body does not fit its inputs")

    def run(*values: Array | None) -> Any:
        most, going = values[:2]
        current = list(values[2 : 2 + states])
        around = [values[i] for i in places]
        keep = True if going is None else bool(np.asarray(going).reshape(-1)[0])
        limit = None if most is None else int(most.reshape(-1)[0])
        collected: list[list[Any]] = [[] for _ in graph.outputs[1 + states :]]
        count = 0
        while keep and (limit is None or count < limit):
            results = program([np.array(count, np.int64), np.array(keep), *current, *around])
            keep, current = bool(results[0].reshape(-1)[0]), results[1 : 1 + states]
            for found, value in zip(collected, results[1 + states :], strict=True):
                found.append(value.copy())
            count += 1
        return several(
            [*current, *(np.stack(c) if c else np.empty(0, np.float32) for c in collected)]
        )

    return run


@operator("Scan", memory="alias")
def scan(node: Node, setting: Setting) -> Run:
    if node.opset < 9 or any(node.get(f"scan_{io}_axes") for io in ("input", "output")):
        raise Unsupported
    program, places = body(node, setting, "body")
    graph: Graph = node.get("body")
    count = node.get("num_scan_inputs")
    states = len(node.inputs) - count
    turns = list(node.get("scan_input_directions") or [0] * count)
    outward = list(node.get("scan_output_directions") or [0] * (len(graph.outputs) - states))

    def run(*values: Array) -> Any:
        current, around = list(values[:states]), [values[i] for i in places]
        sequences = [
            a[::-1] if d else a for a, d in zip(values[states : states + count], turns, strict=True)
        ]
        collected: list[list[Any]] = [[] for _ in outward]
        for step in zip(*sequences, strict=True):
            results = program([*current, *step, *around])
            current = results[:states]
            for found, value in zip(collected, results[states:], strict=True):
                found.append(value.copy())
        stacks = [
            np.stack(c)[::-1] if d else np.stack(c) for c, d in zip(collected, outward, strict=True)
        ]
        return several([*current, *stacks])

    return run
