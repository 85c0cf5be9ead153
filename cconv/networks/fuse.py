"""Nodes that are one computation become one node: folded into a convolution's weights, or done behind it."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from .graph import Array, Graph, Node, scalar
from .operators import Unsupported
from .operators.elementwise import activation_of

CONVOLUTIONS = ("Conv", "ConvTranspose")


class Editor:
    """A graph's nodes, who makes and reads what, while they are being replaced."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.constants = graph.constants
        self.outputs = {value.name for value in graph.outputs}
        self.index()

    def index(self) -> None:
        self.maker = self.graph.producers()
        self.uses = self.graph.uses()
        self.readers: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for name in node.reads():
                self.readers.setdefault(name, []).append(node)

    def made_by(self, name: str, *ops: str) -> Node | None:
        """The node that makes `name`, if it is one of these and nobody else reads it."""
        node = self.maker.get(name)
        if node is None or node.op not in ops or self.uses.get(name) != 1 or name in self.outputs:
            return None
        return node if len([n for n in node.outputs if n]) == 1 else None

    def number(self, name: str) -> float | None:
        """The value of a constant of one element."""
        return scalar(self.constants.get(name)) if name else None

    def add_constant(self, wanted: str, array: Array) -> str:
        name = wanted
        while name in self.constants or name in self.maker:
            name += "'"
        self.constants[name] = array
        return name

    def drop(self, *nodes: Node) -> None:
        gone = {id(node) for node in nodes}
        self.graph.nodes = [node for node in self.graph.nodes if id(node) not in gone]


def fused(graph: Graph) -> Graph:
    """All rules, until none applies; bodies as well."""
    for node in graph.nodes:
        for name, value in node.attributes.items():
            if isinstance(value, Graph):
                node.attributes[name] = fused(value)
    for rule in RULES:
        editor = Editor(graph)
        for node in list(graph.nodes):
            if rule(editor, node):
                editor.index()
    return graph


def other_side(node: Node, name: str) -> str:
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]


# ---------------------------------------------------------------- activations in several nodes


def self_gated(e: Editor, node: Node) -> bool:
    """x * Sigmoid(x), x * HardSigmoid(x), x * Tanh(Softplus(x))"""
    if node.op != "Mul":
        return False
    for name in node.inputs:
        x = other_side(node, name)
        gate = e.made_by(name, "Sigmoid", "HardSigmoid", "Tanh")
        if gate is None:
            continue
        if gate.op == "Tanh":
            inner = e.made_by(gate.inputs[0], "Softplus")
            if inner is not None and inner.inputs[0] == x:
                return become(e, node, x, ("mish",), gate, inner)
        elif gate.inputs[0] == x:
            if gate.op == "Sigmoid":
                return become(e, node, x, ("silu", 1.0), gate)
            alpha, beta = gate.get("alpha", 0.2), gate.get("beta", 0.5)
            if abs(alpha - 1 / 6) < 1e-4 and beta == 0.5:
                return become(e, node, x, ("hard_swish",), gate)
    return False


def become(e: Editor, node: Node, x: str, activation: tuple[Any, ...], *inner: Node) -> bool:
    """The node is this activation of x, and the inner ones are gone."""
    node.op, node.domain, node.inputs = "Activation", "cconv", [x]
    node.attributes = {"activation": list(activation)}
    e.drop(*inner)
    return True


def clipped(e: Editor, node: Node) -> tuple[float, float] | None:
    """The limits of a Clip, if they are known."""
    least, most = node.get("min"), node.get("max")
    for at in (1, 2):
        if len(node.inputs) > at and node.inputs[at]:
            value = e.number(node.inputs[at])
            if value is None:
                return None
            least, most = (value, most) if at == 1 else (least, value)
    return -np.inf if least is None else float(least), np.inf if most is None else float(most)


def hard_gate(e: Editor, name: str) -> tuple[str, list[Node]] | None:
    """x of Clip(x + 3, 0, 6), and the nodes."""
    clip = e.made_by(name, "Clip")
    if clip is None or clipped(e, clip) != (0.0, 6.0):
        return None
    plus = e.made_by(clip.inputs[0], "Add")
    if plus is None:
        return None
    for constant in plus.inputs:
        if e.number(constant) == 3.0:
            return other_side(plus, constant), [clip, plus]
    return None


def sixth(e: Editor, node: Node) -> str | None:
    """x of x / 6, or x * (1 / 6)."""
    if node.op == "Div" and e.number(node.inputs[1]) == 6.0:
        return node.inputs[0]
    if node.op == "Mul":
        for name in node.inputs:
            value = e.number(name)
            if value is not None and abs(value - 1 / 6) < 1e-7:
                return other_side(node, name)
    return None


def written_hard_swish(e: Editor, node: Node) -> bool:
    """x * Clip(x + 3, 0, 6) / 6, and x * (Clip(x + 3, 0, 6) / 6)"""
    product = sixth(e, node)
    if product is not None:
        inner = e.made_by(product, "Mul")
        if inner is not None:
            for name in inner.inputs:
                gate = hard_gate(e, name)
                if gate is not None and gate[0] == other_side(inner, name):
                    return become(e, node, gate[0], ("hard_swish",), inner, *gate[1])
    if node.op == "Mul":
        for name in node.inputs:
            part = e.made_by(name, "Div", "Mul")
            source = sixth(e, part) if part is not None else None
            gate = hard_gate(e, source) if source is not None else None
            if part is not None and gate is not None and gate[0] == other_side(node, name):
                return become(e, node, gate[0], ("hard_swish",), part, *gate[1])
    return False


def scaled_by(e: Editor, name: str, factor: float) -> tuple[str, Node] | None:
    """x of x * factor or x / (1 / factor)."""
    node = e.made_by(name, "Mul", "Div")
    if node is None:
        return None
    for constant in node.inputs if node.op == "Mul" else node.inputs[1:]:
        value = e.number(constant)
        if value and abs((value if node.op == "Mul" else 1 / value) / factor - 1) < 1e-3:
            return other_side(node, constant), node
    return None


def error_gate(e: Editor, name: str) -> tuple[str, list[Node]] | None:
    """x of Erf(x / sqrt(2)) + 1, and the nodes."""
    plus = e.made_by(name, "Add")
    if plus is None:
        return None
    for constant in plus.inputs:
        if e.number(constant) == 1.0:
            erf = e.made_by(other_side(plus, constant), "Erf")
            found = scaled_by(e, erf.inputs[0], sqrt(0.5)) if erf is not None else None
            if erf is not None and found is not None:
                return found[0], [plus, erf, found[1]]
    return None


def factors(e: Editor, node: Node) -> tuple[list[str], list[Node]]:
    """The factors of a product of products, and the inner nodes."""
    names, inner = list(node.inputs), []
    for name in node.inputs:
        part = e.made_by(name, "Mul")
        if part is not None:
            names.remove(name)
            names += part.inputs
            inner.append(part)
    return names, inner


def written_gelu(e: Editor, node: Node) -> bool:
    """x * (Erf(x / sqrt(2)) + 1) / 2, its three factors in any order"""
    if node.op != "Mul":
        return False
    names, inner = factors(e, node)
    halves = [n for n in names if e.number(n) == 0.5]
    if len(names) != 3 or len(halves) != 1:
        return False
    names.remove(halves[0])
    for name in names:
        gate = error_gate(e, name)
        if gate is not None and gate[0] in names and gate[0] != name:
            return become(e, node, gate[0], ("gelu",), *inner, *gate[1])
    return False


def known_clip(e: Editor, node: Node) -> bool:
    """A Clip of constant limits is an activation; of floats, as behind convolutions: a node does not tell."""
    if node.op != "Clip" or e.made_by(node.inputs[0], *CONVOLUTIONS) is None:
        return False
    limits = clipped(e, node)
    return limits is not None and become(e, node, node.inputs[0], ("clip", *limits))


# ---------------------------------------------------------------- into weights


def weights_of(e: Editor, node: Node | None) -> tuple[Array, Array | None] | None:
    """Weights and bias of a convolution, if they are constants and nothing is fused behind it."""
    if node is None or node.get("activation") is not None or node.get("adds"):
        return None
    w = e.constants.get(node.inputs[1])
    named = len(node.inputs) > 2 and node.inputs[2]
    b = e.constants.get(node.inputs[2]) if named else None
    if w is None or (named and b is None) or w.dtype.kind != "f":
        return None
    return w, b


def per_channel(a: Array, channels: int, rank: int) -> Array | None:
    """A constant that has one value a channel of (N, C, ...), or one for all, as (C,)."""
    shape = (1,) * (rank - a.ndim) + a.shape
    if (
        a.dtype.kind != "f"
        or len(shape) != rank
        or any(n != 1 for i, n in enumerate(shape) if i != 1)
    ):
        return None
    if shape[1] not in (1, channels):
        return None
    return np.broadcast_to(a.reshape(-1), (channels,))


def out_channels(node: Node, w: Array) -> int:
    return int(w.shape[1] * node.get("group", 1) if node.op == "ConvTranspose" else w.shape[0])


def scaled(e: Editor, conv: Node, factor: Array, shift: Array) -> None:
    """The convolution times a factor a channel, plus a shift; computed in float64."""
    found = weights_of(e, conv)
    assert found is not None
    w, b = found
    count, group = out_channels(conv, w), conv.get("group", 1)
    f = factor.astype(np.float64)
    if conv.op == "ConvTranspose":
        parts = w.reshape(group, w.shape[0] // group, *w.shape[1:]).astype(np.float64)
        parts = parts * f.reshape(group, 1, -1, *(1,) * (w.ndim - 2))
        new = parts.reshape(w.shape).astype(w.dtype)
    else:
        new = (w * f.reshape(-1, *(1,) * (w.ndim - 1))).astype(w.dtype)
    bias = np.zeros(count) if b is None else b.astype(np.float64)
    label = conv.outputs[0]
    conv.inputs = [
        conv.inputs[0],
        e.add_constant(f"{label}/weight", new),
        e.add_constant(f"{label}/bias", (bias * f + shift).astype(w.dtype)),
    ]


def take_place(e: Editor, earlier: Node, later: Node) -> None:
    """`earlier` makes what `later` made, and stands where it stood."""
    earlier.outputs = later.outputs[:1]
    others = (node for node in e.graph.nodes if node is not earlier)
    e.graph.nodes = [earlier if node is later else node for node in others]


def folded_normalization(e: Editor, node: Node) -> bool:
    if node.op != "BatchNormalization" or node.get("training_mode", 0) or any(node.outputs[1:]):
        return False
    given = [e.constants.get(name) for name in node.inputs[1:5]]
    if any(a is None for a in given) or len(given) < 4:
        return False
    scale, bias, mean, var = (np.asarray(a, np.float64) for a in given)
    factor = scale / np.sqrt(var + node.get("epsilon", 1e-5))
    conv = e.made_by(node.inputs[0], *CONVOLUTIONS)
    found = weights_of(e, conv)
    if conv is None or found is None or out_channels(conv, found[0]) != factor.size:
        return False
    scaled(e, conv, factor, bias - mean * factor)
    take_place(e, conv, node)
    return True


def folded_arithmetic(e: Editor, node: Node) -> bool:
    """Mul, Div, Add and Sub of a constant a channel behind a convolution."""
    if node.op not in ("Mul", "Add", "Sub", "Div") or node.domain:
        return False
    for at in (1, 0):
        name, constant = node.inputs[1 - at], e.constants.get(node.inputs[at])
        if constant is None or (at == 0 and node.op == "Div"):
            continue
        conv = e.made_by(name, *CONVOLUTIONS)
        found = weights_of(e, conv)
        if conv is None or found is None or found[0].dtype != constant.dtype:
            continue
        count = out_channels(conv, found[0])
        values = per_channel(constant, count, found[0].ndim)
        if values is None:
            continue
        v, one, none = values.astype(np.float64), np.ones(count), np.zeros(count)
        if node.op == "Sub" and at == 0:
            factor, shift = -one, v
        else:
            factor, shift = {
                "Mul": (v, none),
                "Add": (one, v),
                "Sub": (one, -v),
                "Div": (1 / v, none),
            }[node.op]
        scaled(e, conv, factor, shift)
        take_place(e, conv, node)
        return True
    return False


def folded_padding(e: Editor, node: Node) -> bool:
    """Zeros around a convolution's input are its padding."""
    if node.op != "Conv" or node.get("auto_pad", "NOTSET") not in ("NOTSET", "", "VALID"):
        return False
    pad = e.made_by(node.inputs[0], "Pad")
    w = e.constants.get(node.inputs[1])
    if pad is None or w is None or pad.get("mode", "constant") != "constant" or len(pad.inputs) > 3:
        return False
    value = (
        e.number(pad.inputs[2]) if len(pad.inputs) > 2 and pad.inputs[2] else pad.get("value", 0.0)
    )
    amounts = e.constants.get(pad.inputs[1]) if len(pad.inputs) > 1 else np.array(pad.get("pads"))
    rank = w.ndim - 2
    if value != 0 or amounts is None or amounts.size != 2 * (rank + 2) or amounts.min() < 0:
        return False
    before, after = amounts.reshape(2, -1).astype(int)
    if before[:2].any() or after[:2].any():
        return False
    valid = node.get("auto_pad") == "VALID"
    own = np.array([0] * 2 * rank if valid else node.get("pads") or [0] * 2 * rank)
    node.attributes["pads"] = [int(n) for n in own + np.concatenate([before[2:], after[2:]])]
    node.attributes.pop("auto_pad", None)
    node.inputs[0] = pad.inputs[0]
    e.drop(pad)
    return True


# ---------------------------------------------------------------- behind convolutions


def added(e: Editor, node: Node) -> bool:
    """A convolution plus an array: a residual."""
    if node.op != "Add" or node.domain or node.inputs[0] == node.inputs[1]:
        return False
    for name in reversed(node.inputs):
        conv = e.made_by(name, *CONVOLUTIONS)
        if conv is None or conv.get("activation") is not None or conv.get("adds"):
            continue
        other = other_side(node, name)
        if other in e.constants:
            continue
        conv.inputs = [*conv.inputs, ""][:3] + [other]
        conv.attributes["adds"] = 1
        take_place(e, conv, node)
        return True
    return False


def activated(e: Editor, node: Node) -> bool:
    """An activation of a convolution."""
    try:
        given = (
            node.attributes["activation"] if node.domain == "cconv" else list(activation_of(node))
        )
    except (Unsupported, KeyError):
        return False
    if node.op in CONVOLUTIONS:
        return False
    conv = e.made_by(node.inputs[0], *CONVOLUTIONS)
    if conv is None or conv.get("activation") is not None:
        return False
    conv.attributes["activation"] = given
    take_place(e, conv, node)
    return True


RULES: tuple[Callable[[Editor, Node], bool], ...] = (
    folded_padding, folded_arithmetic, folded_normalization, folded_arithmetic, self_gated, written_hard_swish,
    written_gelu, added, known_clip, activated,
)  # fmt: skip
