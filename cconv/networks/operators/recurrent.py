"""LSTM, GRU and RNN: the input's projection is one product for all steps, what is left is small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Array, Node
from .registry import Run, Setting, Unsupported, operator
from .special import activate, sigmoid

Gate = Callable[[Array], Array]


def gates(node: Node, names: list[str]) -> list[Gate]:
    """The activations of one direction."""
    table: dict[str, Gate] = {
        "sigmoid": sigmoid,
        "tanh": lambda x: np.tanh(x),
        "relu": lambda x: np.maximum(x, 0),
        "softsign": lambda x: x / (1 + np.abs(x)),
        "softplus": lambda x: activate(x, ("softplus",)),
    }
    found = [table.get(name.lower()) for name in names]
    if (
        None in found
        or node.get("activation_alpha")
        or node.get("activation_beta")
        or node.get("clip")
    ):
        raise Unsupported
    return [gate for gate in found if gate]


def by_steps(x: Array, lengths: Array | None, backwards: bool) -> tuple[Array, Array | None]:
    """(time, batch, features) in the order of its steps, and which are beyond a sequence's end."""
    if lengths is None or (lengths == x.shape[0]).all():
        return (x[::-1] if backwards else x), None
    beyond = np.arange(x.shape[0])[:, None] >= lengths
    if backwards:
        x = turned(x, lengths)
    return x, beyond


def turned(x: Array, lengths: Array) -> Array:
    """Each sequence backwards within its length."""
    result = x.copy()
    for i, n in enumerate(lengths.tolist()):
        result[:n, i] = x[:n, i][::-1]
    return result


def recurrent(
    node: Node, default: list[str], size: int, cell: Callable[..., Any], states: int
) -> Run:
    """The frame of all three: directions, sequence lengths, layouts. `cell` runs one direction's steps."""
    direction, layout = node.get("direction", "forward"), node.get("layout", 0)
    count = 2 if direction == "bidirectional" else 1
    given = [
        a if isinstance(a, str) else a.decode() for a in node.get("activations") or default * count
    ]
    every = [gates(node, given[i * len(default) : (i + 1) * len(default)]) for i in range(count)]
    hidden = node.get("hidden_size")

    def run(x: Array, w: Array, r: Array, b: Any = None, lengths: Any = None, *rest: Any) -> Any:
        first, extra = list(rest[:states]), rest[states] if len(rest) > states else None
        if layout:
            x = x.swapaxes(0, 1)
            first = [None if a is None else a.swapaxes(0, 1) for a in first]
        n = r.shape[2] if hidden is None else hidden
        ys, lasts = [], []
        for i in range(count):
            backwards = direction == "reverse" or i == 1
            steps, beyond = by_steps(x, lengths, backwards)
            bias = np.zeros(2 * size * n, x.dtype) if b is None else b[i]
            inputs = np.matmul(steps.reshape(-1, steps.shape[2]), w[i].T).reshape(
                *steps.shape[:2], -1
            )
            start = [
                np.zeros((x.shape[1], n), x.dtype)
                if k >= len(first) or first[k] is None
                else first[k][i]
                for k in range(states)
            ]
            y, last = cell(
                inputs, r[i], bias, start, every[i], None if extra is None else extra[i], beyond
            )
            if beyond is not None and backwards:
                y = turned(y, lengths)
            ys.append(y[::-1] if backwards and beyond is None else y)
            lasts.append(last)
        result = [np.stack(ys, 1), *(np.stack([last[k] for last in lasts]) for k in range(states))]
        if layout:
            result = [result[0].transpose(2, 0, 1, 3), *(a.swapaxes(0, 1) for a in result[1:])]
        found = tuple(result[: len(node.outputs)])
        return found if len(node.outputs) > 1 else found[0]

    return run


def times(h: Array, r: Array) -> Array:
    """h times r transposed; one row is a product of a matrix and a vector, which reads r as it lies"""
    if h.shape[0] == 1:
        result: Array = np.dot(r, h[0])[None]
    else:
        result = np.dot(h, r.T)
    return result


def gated(z: Array) -> None:
    """sigmoid in place, of few elements"""
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += z.dtype.type(1)
    np.reciprocal(z, out=z)


def frozen(
    new: list[Array], old: list[Array], y: Array, beyond: Array | None, t: int
) -> list[Array]:
    """Beyond a sequence's end states stay, and outputs are 0."""
    if beyond is None:
        return new
    ended = beyond[t][:, None]
    y[t][beyond[t]] = 0
    return [np.where(ended, a, b) for a, b in zip(old, new, strict=True)]


@operator("LSTM")
def lstm(node: Node, _setting: Setting) -> Run:
    """Hochreiter and Schmidhuber, 1997, with ONNX's gates in the order input, output, forget, cell."""
    forget = bool(node.get("input_forget", 0))

    def cell(
        inputs: Array,
        r: Array,
        bias: Array,
        start: list[Array],
        f: list[Gate],
        peep: Any,
        beyond: Any,
    ) -> tuple[Array, list[Array]]:
        steps, batch, four = inputs.shape
        n = four // 4
        inputs += bias[:four] + bias[four:]
        y = np.empty((steps, batch, n), inputs.dtype)
        h, c = start
        plain = peep is None and f[0] is sigmoid and not forget
        for t in range(steps):
            z = inputs[t]
            z += times(h, r)
            if plain:
                gated(z[:, : 3 * n])
                i, o, g = z[:, :n], z[:, n : 2 * n], z[:, 2 * n : 3 * n]
                new_c = g * c
                new_c += i * f[1](z[:, 3 * n :])
            else:
                i = f[0](z[:, :n] + (0 if peep is None else peep[:n] * c))
                g = (
                    1 - i
                    if forget
                    else f[0](z[:, 2 * n : 3 * n] + (0 if peep is None else peep[2 * n :] * c))
                )
                new_c = g * c + i * f[1](z[:, 3 * n :])
                o = f[0](z[:, n : 2 * n] + (0 if peep is None else peep[n : 2 * n] * new_c))
            np.multiply(o, f[2](new_c), out=y[t])
            h, c = frozen([y[t], new_c], [h, c], y, beyond, t)
        return y, [np.array(h), c]

    return recurrent(node, ["Sigmoid", "Tanh", "Tanh"], 4, cell, 2)


@operator("GRU")
def gru(node: Node, _setting: Setting) -> Run:
    """Cho et al., 2014, gates in the order update, reset, hidden; linear_before_reset as cuDNN and PyTorch have it."""
    before = bool(node.get("linear_before_reset", 0))

    def cell(
        inputs: Array,
        r: Array,
        bias: Array,
        start: list[Array],
        f: list[Gate],
        _peep: Any,
        beyond: Any,
    ) -> tuple[Array, list[Array]]:
        steps, batch, three = inputs.shape
        n = three // 3
        inputs += bias[:three]
        inputs[:, :, : 2 * n] += bias[three : three + 2 * n]
        last = bias[three + 2 * n :]
        y = np.empty((steps, batch, n), inputs.dtype)
        h = start[0]
        for t in range(steps):
            z = inputs[t]
            if before:
                products = times(h, r)
                both = f[0](z[:, : 2 * n] + products[:, : 2 * n])
                new = f[1](z[:, 2 * n :] + both[:, n:] * (products[:, 2 * n :] + last))
            else:
                both = f[0](z[:, : 2 * n] + times(h, r[: 2 * n]))
                new = f[1](z[:, 2 * n :] + times(both[:, n:] * h, r[2 * n :]) + last)
            update = both[:, :n]
            np.add(new, update * (h - new), out=y[t])
            (h,) = frozen([y[t]], [h], y, beyond, t)
        return y, [np.array(h)]

    return recurrent(node, ["Sigmoid", "Tanh"], 3, cell, 1)


@operator("RNN")
def rnn(node: Node, _setting: Setting) -> Run:
    """Elman, 1990."""

    def cell(
        inputs: Array,
        r: Array,
        bias: Array,
        start: list[Array],
        f: list[Gate],
        _peep: Any,
        beyond: Any,
    ) -> tuple[Array, list[Array]]:
        steps, batch, n = inputs.shape
        inputs += bias[:n] + bias[n:]
        y = np.empty((steps, batch, n), inputs.dtype)
        h = start[0]
        for t in range(steps):
            y[t] = f[0](inputs[t] + times(h, r))
            (h,) = frozen([y[t]], [h], y, beyond, t)
        return y, [np.array(h)]

    return recurrent(node, ["Tanh"], 1, cell, 1)
