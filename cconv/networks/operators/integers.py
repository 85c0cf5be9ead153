"""Convolutions of bytes with zero points, on the int8 kernels, and the way back to bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..graph import Array
from .attributes import Attributes, Pads, function_of, spatial
from .requantize import requantize


class Quantized(NamedTuple):
    """The operands of an integer convolution; zero points as ONNX hands them over, None for 0."""

    x: Array
    x_zero: Any
    w: Array
    w_zero: Any


def integer_sums(name: str, q: Quantized, bias: Array | None, a: Attributes) -> Array:
    """
    int32 sums of 8-bit numbers less their zero points; they wrap, so each term may be summed by itself:

    sum of (x - x_zero) * (w - w_zero) = sum of x * (w - w_zero) - x_zero * sum of (w - w_zero), padding being x_zero.
    """
    rank = spatial(name, q.x)
    function, x = function_of("conv", rank), q.x
    padding = a.padding(x.shape[2:], q.w.shape[2:])
    weights = byte_weights(q.w, q.w_zero)
    x_zero = 0 if q.x_zero is None else int(np.asarray(q.x_zero).reshape(()))
    if x_zero:
        x, padding = padded(x, padding, x_zero), ((0, 0),) * rank
        sums = sum(w.sum(tuple(range(1, w.ndim)), np.int32) for w in weights)
        bias = -x_zero * sums if bias is None else bias - x_zero * sums
    parts = [
        function(x, w, b, a.stride(rank), padding, a.dilation(rank), a.group or 1, dtype=np.int32)
        for w, b in zip(weights, (bias, None), strict=False)
    ]
    result: Array = parts[0]
    for other in parts[1:]:
        result += other
    return result


def byte_weights(w: Array, zero: Any) -> list[Array]:
    """Weights less their zero points, one for all or one an output channel: an array of bytes, or two to add up."""
    zeros = np.zeros(1, np.int16) if zero is None else np.asarray(zero).astype(np.int16)
    if not zeros.any():
        return [w]
    if w.dtype == np.uint8 and (zeros == 128).all():
        return [(w ^ 128).view(np.int8)]
    moved = w - zeros.reshape(-1, *(1,) * (w.ndim - 1))
    low, high = moved.min(), moved.max()
    if low >= -128 and high <= 127:
        return [moved.astype(np.int8)]
    if low >= 0:
        return [moved.astype(np.uint8)]
    inside = moved.clip(-128, 127)
    return [inside.astype(np.int8), (moved - inside).astype(np.int8)]


def padded(x: Array, padding: Pads, value: int) -> Array:
    """x with so many values around its space."""
    if not np.any(padding):
        return x
    sides = zip(x.shape[2:], padding, strict=True)
    result = np.full((*x.shape[:2], *(b + L + a for L, (b, a) in sides)), value, x.dtype)
    inside = tuple(slice(b, b + L) for L, (b, _) in zip(x.shape[2:], padding, strict=True))
    result[:, :, *inside] = x
    return result


def requantized(sums: Array, scale: Array, zero: Array) -> Array:
    """float32 products of sums (N, O, *space) and scales, one or O, rounded to even, moved by `zero`, saturated."""
    flat = sums.reshape(*sums.shape[:2], -1)
    scales = np.ascontiguousarray(np.broadcast_to(scale.reshape(-1), sums.shape[1]))
    result = np.empty(flat.shape, np.uint8)
    requantize(flat, scales, int(zero.reshape(())), zero.dtype == np.int8, result)
    return result.view(zero.dtype).reshape(sums.shape)
