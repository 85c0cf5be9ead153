"""Activations on whole arrays, in blocks that stay in cache: NumPy makes several passes over each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._activate import activate_all
from ..graph import Array

BLOCK = 16384  # elements


def blocks(x: Array, out: Array | None, function: Callable[..., Any]) -> Array:
    """function(part of x, part of the result, scratch) over x in pieces; the result may be x itself."""
    if not x.flags.c_contiguous:
        x = np.ascontiguousarray(x)
    result = out if out is not None and out.flags.c_contiguous else np.empty_like(x)
    source, target = x.reshape(-1), result.reshape(-1)
    scratch = np.empty(min(BLOCK, source.size), x.dtype)
    for start in range(0, source.size, BLOCK):
        part = source[start : start + BLOCK]
        function(part, target[start : start + BLOCK], scratch[: part.size])
    if out is not None and result is not out:
        out[...] = result
        return out
    return result


def sigmoid_part(x: Array, y: Array, _scratch: Array) -> None:
    """1 / (1 + exp(-x)); exp(-x) of very negative numbers is inf, and the result 0"""
    np.negative(x, out=y)
    np.exp(y, out=y)
    np.add(y, x.dtype.type(1), out=y)
    np.reciprocal(y, out=y)


def sigmoid(x: Array, out: Array | None = None) -> Array:
    fast = activate_all(x, "sigmoid", (), out)
    return blocks(x, out, sigmoid_part) if fast is None else fast


def prelu(x: Array, slope: Array, out: Array | None = None) -> Array:
    """max(x, 0) + slope * min(x, 0); a slope a channel may come without its other axes"""
    if slope.ndim == 1 < x.ndim and slope.size == x.shape[1] != x.shape[-1]:
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    low = np.minimum(x, 0)
    low *= slope
    result: Array = np.maximum(x, 0, out=out)
    result += low
    return result


def relu(x: Array, y: Array, _scratch: Array) -> None:
    np.maximum(x, x.dtype.type(0), out=y)


def leaky_relu(x: Array, y: Array, scratch: Array, slope: float) -> None:
    kind = x.dtype.type
    np.minimum(x, kind(0), out=scratch)
    np.multiply(scratch, kind(slope), out=scratch)
    np.maximum(x, kind(0), out=y)
    np.add(y, scratch, out=y)


def elu(
    x: Array, y: Array, scratch: Array, alpha: float = 1.0, gamma: float = 1.0, inner: float = 1.0
) -> None:
    """gamma * (max(x, 0) + alpha * (exp(min(x, 0) / inner) - 1))"""
    kind = x.dtype.type
    np.minimum(x, kind(0), out=scratch)
    if inner != 1:
        np.divide(scratch, kind(inner), out=scratch)
    np.expm1(scratch, out=scratch)
    np.multiply(scratch, kind(alpha), out=scratch)
    np.maximum(x, kind(0), out=y)
    np.add(y, scratch, out=y)
    if gamma != 1:
        np.multiply(y, kind(gamma), out=y)


def celu(x: Array, y: Array, scratch: Array, alpha: float) -> None:
    elu(x, y, scratch, alpha, 1.0, alpha)


def silu(x: Array, y: Array, scratch: Array, beta: float = 1.0) -> None:
    """x * sigmoid(beta * x)"""
    kind = x.dtype.type
    np.multiply(x, kind(-beta), out=scratch)
    np.exp(scratch, out=scratch)
    np.add(scratch, kind(1), out=scratch)
    np.divide(x, scratch, out=y)


def hard_sigmoid(
    x: Array, y: Array, scratch: Array, alpha: float = 1 / 6, beta: float = 0.5
) -> None:
    kind = x.dtype.type
    np.multiply(x, kind(alpha), out=scratch)
    np.add(scratch, kind(beta), out=scratch)
    np.maximum(scratch, kind(0), out=scratch)
    np.minimum(scratch, kind(1), out=y)


def hard_swish(x: Array, y: Array, scratch: Array) -> None:
    kind = x.dtype.type
    np.multiply(x, kind(1 / 6), out=scratch)
    np.add(scratch, kind(0.5), out=scratch)
    np.maximum(scratch, kind(0), out=scratch)
    np.minimum(scratch, kind(1), out=scratch)
    np.multiply(x, scratch, out=y)


def softplus(x: Array, y: Array, _scratch: Array) -> None:
    np.logaddexp(x, x.dtype.type(0), out=y)


def mish(x: Array, y: Array, scratch: Array) -> None:
    np.logaddexp(x, x.dtype.type(0), out=scratch)
    np.tanh(scratch, out=scratch)
    np.multiply(x, scratch, out=y)


def softsign(x: Array, y: Array, scratch: Array) -> None:
    np.abs(x, out=scratch)
    np.add(scratch, x.dtype.type(1), out=scratch)
    np.divide(x, scratch, out=y)


def thresholded_relu(x: Array, y: Array, _scratch: Array, alpha: float) -> None:
    np.multiply(x, x > x.dtype.type(alpha), out=y)


def tanh(x: Array, y: Array, _scratch: Array) -> None:
    np.tanh(x, out=y)


def clip_part(x: Array, y: Array, _scratch: Array, low: float, high: float) -> None:
    """min(max(x, low), high): NaN stays NaN"""
    kind = x.dtype.type
    np.maximum(x, kind(low), out=y)
    np.minimum(y, kind(high), out=y)


def gelu(x: Array, y: Array, scratch: Array) -> None:
    """x * (1 + erf(x / sqrt(2))) / 2"""
    kind = x.dtype.type
    np.multiply(x, kind(math.sqrt(0.5)), out=scratch)
    erf(scratch, scratch)
    np.add(scratch, kind(1), out=scratch)
    np.multiply(scratch, kind(0.5), out=scratch)
    np.multiply(x, scratch, out=y)


def gelu_tanh(x: Array, y: Array, scratch: Array) -> None:
    """x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2"""
    kind = x.dtype.type
    np.multiply(x, x, out=scratch)
    np.multiply(scratch, kind(0.044715), out=scratch)
    np.add(scratch, kind(1), out=scratch)
    np.multiply(scratch, x, out=scratch)
    np.multiply(scratch, kind(math.sqrt(2 / math.pi)), out=scratch)
    np.tanh(scratch, out=scratch)
    np.add(scratch, kind(1), out=scratch)
    np.multiply(scratch, kind(0.5), out=scratch)
    np.multiply(x, scratch, out=y)


ACTIVATIONS: dict[str, Callable[..., None]] = {
    "relu": relu, "leaky_relu": leaky_relu, "elu": elu, "selu": elu, "celu": celu, "sigmoid": sigmoid_part,
    "silu": silu, "hard_sigmoid": hard_sigmoid, "hard_swish": hard_swish, "softplus": softplus, "mish": mish,
    "softsign": softsign, "thresholded_relu": thresholded_relu, "tanh": tanh, "clip": clip_part, "gelu": gelu,
    "gelu_tanh": gelu_tanh,
}  # fmt: skip


def activate(x: Array, activation: tuple[Any, ...], out: Array | None = None) -> Array:
    """An activation of floats by name, with its numbers; `out` may be x."""
    name, *numbers = activation
    if x.dtype.kind == "f" and x.dtype.itemsize > 2:
        fast = activate_all(x, name, tuple(numbers), out)
        if fast is not None:
            return fast
    if name == "relu":
        result: Array = np.maximum(x, x.dtype.type(0), out=out)
        return result
    if x.dtype == np.float16:  # as the convolutions: computed in float32, rounded once
        result = activate(x.astype(np.float32), activation).astype(np.float16)
        if out is None:
            return result
        out[...] = result
        return out
    function = ACTIVATIONS[name]
    return blocks(x, out, lambda part, y, scratch: function(part, y, scratch, *numbers))


# ---------------------------------------------------------------- the error function


def chebyshev(function: Callable[[float], float], degree: int) -> list[float]:
    """Coefficients of a function on [-1, 1], by its values at the Chebyshev points."""
    n = degree + 1
    angles = [math.pi * (k + 0.5) / n for k in range(n)]
    values = [function(math.cos(a)) for a in angles]
    result = [
        2 / n * sum(v * math.cos(j * a) for v, a in zip(values, angles, strict=True))
        for j in range(n)
    ]
    result[0] /= 2
    return result


ERF_MOST = 4.0  # float32's erf is 1 from 3.92 on
_erf32: list[float] = []


def erf32(x: Array, out: Array) -> None:
    """x * P(x * x), P by Chebyshev's series in x * x on [0, 16], which Clenshaw's recurrence sums."""
    if not _erf32:
        _erf32.extend(
            chebyshev(
                lambda t: (
                    math.erf(r := math.sqrt(8 * (t + 1)) or 1e-9) / r
                    if t > -1
                    else 1.1283791670955126
                ),
                24,
            )
        )
    z = np.clip(x, -ERF_MOST, ERF_MOST).astype(np.float64)
    t = z * z * (2 / 16) - 1
    after, last = np.zeros_like(t), np.zeros_like(t)
    for c in reversed(_erf32[1:]):
        after, last = 2 * t * after - last + c, after
    np.multiply(z, t * after - last + _erf32[0], out=out, casting="same_kind")


_erf_elements = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array, out: Array | None = None) -> Array:
    """Of float64 an element at a time, by the C library."""
    result = np.empty_like(x) if out is None else out
    if x.dtype == np.float32:
        if x.flags.c_contiguous and result.flags.c_contiguous:
            source, target = x.reshape(-1), result.reshape(-1)
            for start in range(0, source.size, BLOCK):
                erf32(source[start : start + BLOCK], target[start : start + BLOCK])
            return result
        erf32(x, result)
        return result
    result[...] = np.asarray(_erf_elements(x.astype(np.float64))).astype(x.dtype)
    return result
