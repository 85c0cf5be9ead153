"""What needs no input is computed once, and what does nothing is left out."""

from __future__ import annotations

from math import prod

import numpy as np

from .graph import Array, Graph, NetworkError, Node
from .program import Fallback, evaluated

RANDOM = {
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
}
LARGE = 2**20  # bytes of a folded result that its inputs do not account for
GROWING = {
    "ConstantOfShape",
    "Expand",
    "Tile",
    "Range",
    "OneHot",
    "Pad",
    "Resize",
    "Upsample",
    "EyeLike",
}


def simplified(graph: Graph, fallback: Fallback | None = None) -> Graph:
    """The same network with constants folded, and Identity, Dropout and unused nodes dropped; bodies as well."""
    for node in graph.nodes:
        for name, value in node.attributes.items():
            if isinstance(value, Graph):
                node.attributes[name] = simplified(value, fallback)
    graph = folded(graph, fallback)
    graph = without_identities(graph)
    return without_unused(graph)


def grows(node: Node, constants: dict[str, Array]) -> bool:
    """Whether a small constant may become a large one."""
    if node.op not in GROWING:
        return False
    if node.op in ("ConstantOfShape", "Expand"):
        sizes = constants[node.inputs[-1]].reshape(-1).tolist()
        return prod(max(1, int(n)) for n in sizes) * 8 > LARGE
    return True


def folded(graph: Graph, fallback: Fallback | None) -> Graph:
    constants = dict(graph.constants)
    nodes = []
    outputs = {value.name for value in graph.outputs}
    for node in graph.nodes:
        if node.op == "Constant" and not node.domain:
            constants[node.outputs[0]] = constant_of(node)
            continue
        if node.op == "If" and node.inputs[0] in constants:
            taken = taken_branch(node, constants)
            if taken is not None:
                nodes += taken.nodes
                constants.update(taken.constants)
                continue
        known = all(name in constants for name in node.reads())
        if (
            not known
            or node.op in RANDOM
            or grows(node, constants)
            or any(True for _ in node.graphs())
        ):
            nodes.append(node)
            continue
        try:
            results = evaluated(node, constants, fallback)
        except NetworkError:  # it will say so when it runs
            nodes.append(node)
            continue
        constants.update(zip(filter(None, node.outputs), results, strict=True))
    used = {name for node in nodes for name in node.reads()} | outputs
    kept = {
        name: np.ascontiguousarray(a).reshape(a.shape)
        for name, a in constants.items()
        if name in used
    }
    return Graph(graph.inputs, graph.outputs, nodes, kept, graph.name)


def constant_of(node: Node) -> Array:
    """The value of a Constant, whichever attribute holds it."""
    for name, value in node.attributes.items():
        if name == "value":
            return np.asarray(value)
        if name in ("value_float", "value_floats"):
            return np.array(value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.array(value, np.int64)
        if name in ("value_string", "value_strings"):
            return np.array(value, dtype=object)
    raise NetworkError(f"{node.label}: it has no value")


def taken_branch(node: Node, constants: dict[str, Array]) -> Graph | None:
    """The branch of an If whose condition is known, its outputs named as the node's; None if that is not simple."""
    name = "then_branch" if constants[node.inputs[0]].reshape(-1)[0] else "else_branch"
    branch = node.get(name)
    if not isinstance(branch, Graph):
        return None
    made = {n for inner in branch.nodes for n in inner.outputs}
    extra = []
    for value, out in zip(branch.outputs, node.outputs, strict=True):
        extra.append(Node("Identity", [value.name], [out]))
    # names of a body are its own; another node's of the same name would be meant then
    prefix = f"{node.outputs[0]}/"
    own = made | set(branch.constants)
    return renamed(
        Graph([], branch.outputs, [*branch.nodes, *extra], branch.constants),
        {n: prefix + n for n in own if n},
    )


def renamed(graph: Graph, names: dict[str, str]) -> Graph:
    def new(name: str) -> str:
        return names.get(name, name)

    nodes = []
    for node in graph.nodes:
        attributes = {
            k: renamed(v, {n: m for n, m in names.items() if n in v.free()})
            if isinstance(v, Graph)
            else v
            for k, v in node.attributes.items()
        }
        nodes.append(
            Node(
                op=node.op, inputs=[new(n) for n in node.inputs], outputs=[new(n) for n in node.outputs],
                attributes=attributes, name=node.name, domain=node.domain, opset=node.opset,
            )
        )  # fmt: skip
    outputs = [type(v)(new(v.name), v.dtype, v.shape) for v in graph.outputs]
    return Graph(
        graph.inputs, outputs, nodes, {new(n): a for n, a in graph.constants.items()}, graph.name
    )


def without_identities(graph: Graph) -> Graph:
    """Readers of an Identity read what it reads; one that makes an output of the network stays."""
    outputs = {value.name for value in graph.outputs}
    uses = graph.uses()
    same: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        plain = node.op == "Identity" or (
            node.op == "Dropout"
            and not any(uses.get(name) for name in node.outputs[1:])
            and len(node.inputs) < 3
        )
        if plain and not node.domain and node.outputs[0] not in outputs:
            same[node.outputs[0]] = same.get(node.inputs[0], node.inputs[0])
            continue
        if plain and node.op == "Dropout":
            node = Node("Identity", node.inputs[:1], node.outputs[:1], name=node.name)
        nodes.append(node)
    if not same:
        return graph
    return renamed_reads(
        Graph(graph.inputs, graph.outputs, nodes, graph.constants, graph.name), same
    )


def renamed_reads(graph: Graph, same: dict[str, str]) -> Graph:
    """The same where names are read, in bodies too."""
    for node in graph.nodes:
        node.inputs = [same.get(name, name) for name in node.inputs]
        for value in node.graphs():
            hidden = {v.name for v in value.inputs} | set(value.constants)
            inner = {n: m for n, m in same.items() if n not in hidden}
            renamed_reads(value, inner)
            for out in value.outputs:
                out.name = inner.get(out.name, out.name)
    return graph


def without_unused(graph: Graph) -> Graph:
    needed = {value.name for value in graph.outputs}
    nodes = []
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.outputs):
            continue
        nodes.append(node)
        needed.update(node.reads())
    constants = {name: a for name, a in graph.constants.items() if name in needed}
    return Graph(graph.inputs, graph.outputs, nodes[::-1], constants, graph.name)
