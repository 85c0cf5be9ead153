"""ONNX's convolutions on cconv's."""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from onnx.reference.op_run import OpRun

from .. import functional
from ._onnx_attributes import Attributes, Pads, function_of, paired, shared, spatial
from ._requantize import requantize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..functional import Array


def convolve(name: str, x: Array, w: Array, b: Array | None, a: Attributes) -> Array:
    rank = spatial(name, x)
    padding = a.padding(x.shape[2:], w.shape[2:])
    result: Array = function_of("conv", rank)(
        x, w, b, a.stride(rank), padding, a.dilation(rank), a.group or 1
    )
    return result


class Conv(OpRun):
    def _run(self, x: Array, w: Array, b: Array | None = None, **attributes: Any) -> tuple[Array]:
        return (convolve("Conv", x, w, b, Attributes(**attributes)),)


class ConvInteger(OpRun):
    """int32 sums of (x - x_zero_point) * (w - w_zero_point); padding stands for the zero point."""

    def _run(
        self,
        x: Array,
        w: Array,
        x_zero_point: Any = None,
        w_zero_point: Any = None,
        **attributes: Any,
    ) -> tuple[Array]:
        quantized = Quantized(x, x_zero_point, w, w_zero_point)
        return (integer_sums("ConvInteger", quantized, None, Attributes(**attributes)),)


class QLinearConv(OpRun):
    """As ConvInteger, with an int32 bias, then scaled, rounded to even and saturated."""

    def _run(
        self, x: Array, x_scale: Any, x_zero_point: Any, w: Array, *others: Any, **attributes: Any
    ) -> tuple[Array]:
        w_scale, w_zero_point, y_scale, y_zero_point, b = (*others, None)[:5]
        quantized = Quantized(x, x_zero_point, w, w_zero_point)
        sums = integer_sums("QLinearConv", quantized, b, Attributes(**attributes))
        scale = np.float32(x_scale) * np.asarray(w_scale, np.float32) / np.float32(y_scale)
        return (requantized(sums, scale, np.asarray(y_zero_point)),)


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


class ConvTranspose(OpRun):
    def _run(self, x: Array, w: Array, b: Array | None = None, **attributes: Any) -> tuple[Array]:
        rank, a = spatial("ConvTranspose", x), Attributes(**attributes)
        extra = list(a.output_padding or [0] * rank)
        padding = list(paired(a.pads, rank))
        stride, output_shape = a.stride(rank), a.output_shape
        if output_shape is None and a.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            output_shape = [L * s for L, s in zip(x.shape[2:], stride, strict=True)]
        if output_shape:
            sizes = x.shape[2:], w.shape[2:], stride, a.dilation(rank), output_shape[-rank:]
            for axis, (L, k, s, d, wanted) in enumerate(zip(*sizes, strict=True)):
                total = (L - 1) * s + d * (k - 1) + extra[axis] + 1 - wanted
                # an output_shape may ask for more than the input reaches: zeros (and the bias) at the end
                extra[axis] += max(0, -total)
                padding[axis] = shared(max(0, total), a.auto_pad or "SAME_LOWER")
        return (transposed(x, w, b, a, tuple(padding), extra),)


def transposed(
    x: Array, w: Array, b: Array | None, a: Attributes, padding: Any, extra: Sequence[int]
) -> Array:
    """conv_transpose; an output padding beyond stride and dilation, which PyTorch refuses, is added behind."""
    rank = x.ndim - 2
    stride, dilation = a.stride(rank), a.dilation(rank)
    most = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
    inside = [min(e, m) for e, m in zip(extra, most, strict=True)]
    y: Array = function_of("conv_transpose", rank)(
        x, w, b, stride, padding, inside, a.group or 1, dilation
    )
    beyond = [e - i for e, i in zip(extra, inside, strict=True)]
    if any(beyond):
        y = np.pad(y, [(0, 0), (0, 0), *((0, e) for e in beyond)])
        if b is not None:
            for axis, e in enumerate(beyond):
                if e:
                    behind = [slice(None)] * y.ndim
                    behind[2 + axis] = slice(-e, None)
                    y[tuple(behind)] = b.reshape(-1, *(1,) * rank)
    return y


class DeformConv(OpRun):
    """A convolution whose taps are moved by offsets (bilinear in between, zeros outside) and weighted by a mask.

    After Dai et al., "Deformable Convolutional Networks", 2017, and Zhu et al., "Deformable ConvNets v2", 2019.
    """

    def _run(
        self,
        x: Array,
        w: Array,
        offset: Array,
        b: Array | None = None,
        mask: Array | None = None,
        **attributes: Any,
    ) -> tuple[Array]:
        rank, a = spatial("DeformConv", x), Attributes(**attributes)
        kernel = w.shape[2:]
        out, taps = offset.shape[2:], prod(kernel)
        n, c = x.shape[:2]
        parts = a.offset_group or 1
        places = tap_places(offset.reshape(n, parts, taps, rank, *out), kernel, a)
        columns = sampled(x.reshape(n, parts, c // parts, *x.shape[2:]), places)
        if mask is not None:
            columns *= mask.reshape(n, parts, 1, taps, *out)
        columns = columns.reshape(n, c * taps, -1)
        # an im2col product: channels times taps
        y = functional.conv1d(columns, w.reshape(w.shape[0], -1, 1), b, groups=a.group or 1)
        return (y.reshape(n, w.shape[0], *out).astype(x.dtype, copy=False),)


def tap_places(moves: Array, kernel: Sequence[int], a: Attributes) -> list[Array]:
    """Where every tap reads for every output, an axis; moves (N, parts, taps, rank, *out)."""
    rank, out = len(kernel), moves.shape[4:]
    stride, dilation, padding = a.stride(rank), a.dilation(rank), paired(a.pads, rank)
    grid = np.meshgrid(*(np.arange(k) for k in kernel), indexing="ij")
    places = []
    for axis in range(rank):
        shape = [1] * rank
        shape[axis] = out[axis]
        start = np.arange(out[axis]).reshape(shape) * stride[axis] - padding[axis][0]
        tap = grid[axis].reshape(-1, *(1,) * rank) * dilation[axis]
        places.append(moves[:, :, :, axis] + (start + tap))
    return places


def sampled(x: Array, places: Sequence[Array]) -> Array:
    """x (N, parts, C, *space) at places (N, parts, taps, *out) an axis: (N, parts, C, taps, *out), linearly."""
    n, parts, c = x.shape[:3]
    rank = len(places)
    lows = [np.floor(p).astype(np.int64) for p in places]
    result = np.zeros((n, parts, c, *places[0].shape[2:]), x.dtype)
    flat = x.reshape(n, parts, c, -1)
    for corner in itertools.product((0, 1), repeat=rank):
        weight = np.ones(places[0].shape, x.dtype)
        at = np.zeros(places[0].shape, np.int64)
        for side, low, p, size in zip(corner, lows, places, x.shape[3:], strict=True):
            i = low + side
            weight *= np.where((i >= 0) & (i < size), 1 - abs(p - i), 0).astype(x.dtype)
            at = at * size + np.clip(i, 0, size - 1)
        picked = np.take_along_axis(flat, at.reshape(n, parts, 1, -1), -1)
        result += picked.reshape(result.shape) * weight[:, :, None]
    return result
