"""Quantised operators: integers with a scale and a zero point. Rounding is half to even, results saturate."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Node
from .convolutions import attributes_of
from .integers import Quantized, integer_sums, requantized
from .pools import global_pool
from .products import less_zero
from .registry import Run, Setting, Unsupported, operator

MICROSOFT = "com.microsoft"


def on_axis(a: Array, rank: int, axis: int) -> Array:
    """A value, or one for each place of an axis."""
    if a.size == 1:
        return a.reshape(())
    shape = [1] * rank
    shape[axis] = -1
    return a.reshape(shape)


def saturated(x: Array, zero: Any, kind: Any) -> Array:
    """round(x) + zero, within the limits of the integer type; x is used up."""
    np.rint(x, out=x)
    x += np.asarray(zero).astype(x.dtype)
    limits = np.iinfo(kind)
    np.clip(x, limits.min, limits.max, out=x)
    result: Array = x.astype(kind)
    return result


@operator("QuantizeLinear")
def quantize_linear(node: Node, setting: Setting) -> Run:
    axis, point = node.get("axis", 1), setting.constant(node, 2)
    odd = point is not None and (point.dtype.kind not in "iu" or point.dtype.itemsize > 4)
    if node.get("block_size") or node.get("output_dtype") or odd:
        raise Unsupported

    def run(x: Array, scale: Array, zero: Array | None = None) -> Array:
        kind = np.dtype(np.uint8) if zero is None else zero.dtype
        if kind.kind not in "iu":
            raise TypeError(f"zero points of {kind} are not known")
        offset = np.zeros((), np.int32) if zero is None else on_axis(zero, x.ndim, axis)
        wide = np.true_divide(x, on_axis(scale, x.ndim, axis), dtype=np.float32)
        return saturated(np.asarray(wide), offset, kind)

    return run


@operator("DequantizeLinear")
def dequantize_linear(node: Node, _setting: Setting) -> Run:
    axis = node.get("axis", 1)
    if node.get("block_size"):
        raise Unsupported

    def run(x: Array, scale: Array, zero: Array | None = None) -> Array:
        wide = x.astype(np.float32 if x.dtype.itemsize < 4 else np.float64)
        if zero is not None:
            wide = np.subtract(wide, on_axis(zero, x.ndim, axis), dtype=wide.dtype)
        return np.asarray(wide * on_axis(scale, x.ndim, axis)).astype(scale.dtype, copy=False)

    return run


@operator("DynamicQuantizeLinear")
def dynamic_quantize_linear(_node: Node, _setting: Setting) -> Run:
    def run(x: Array) -> tuple[Array, Array, Array]:
        low, high = np.float32(min(0, x.min())), np.float32(max(0, x.max()))
        scale = np.float32((high - low) / np.float32(255))
        if scale == 0:
            scale = np.float32(1)
        zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
        return saturated(x / scale, zero, np.dtype(np.uint8)), np.asarray(scale), np.asarray(zero)

    return run


@operator("ConvInteger")
def conv_integer(node: Node, _setting: Setting) -> Run:
    """int32 sums of (x - x_zero_point) * (w - w_zero_point); padding stands for the zero point."""
    a = attributes_of(node)

    def run(x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None) -> Array:
        return integer_sums("ConvInteger", Quantized(x, x_zero, w, w_zero), None, a)

    return run


@operator("QLinearConv")
def qlinear_conv(node: Node, _setting: Setting) -> Run:
    """As ConvInteger, with an int32 bias, then scaled, rounded to even and saturated."""
    a = attributes_of(node)

    def run(
        x: Array,
        x_scale: Array,
        x_zero: Array,
        w: Array,
        w_scale: Array,
        w_zero: Array,
        *others: Any,
    ) -> Array:
        y_scale, y_zero, b = (*others, None)[:3]
        sums = integer_sums("QLinearConv", Quantized(x, x_zero, w, w_zero), b, a)
        scale = np.float32(x_scale) * np.asarray(w_scale, np.float32) / np.float32(y_scale)
        return requantized(sums, scale, np.asarray(y_zero))

    return run


@operator("QLinearMatMul")
def qlinear_matmul(_node: Node, _setting: Setting) -> Run:
    def run(
        a: Array, a_scale: Array, a_zero: Array, b: Array, b_scale: Array, b_zero: Array, *y: Array
    ) -> Array:
        scale, zero = y
        sums = np.matmul(less_zero(a, a_zero, True), less_zero(b, b_zero, False))
        factor = a_scale.astype(np.float32) * b_scale.astype(np.float32) / scale.astype(np.float32)
        return saturated(np.asarray(sums * factor.astype(np.float64)), zero, zero.dtype)

    return run


def dequantized(x: Array, scale: Array, zero: Array | None) -> Array:
    wide = x.astype(np.float32)
    if zero is not None:
        wide -= np.float32(zero.reshape(-1)[0])
    wide *= np.float32(scale.reshape(-1)[0])
    return wide


@operator("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def qlinear_binary(node: Node, _setting: Setting) -> Run:
    function = np.add if node.op == "QLinearAdd" else np.multiply

    def run(
        a: Array, a_scale: Array, a_zero: Any, b: Array, b_scale: Array, b_zero: Any, *y: Any
    ) -> Array:
        scale, zero = (*y, None)[:2]
        result = function(dequantized(a, a_scale, a_zero), dequantized(b, b_scale, b_zero))
        result /= np.float32(scale.reshape(-1)[0])
        return saturated(result, 0 if zero is None else zero, a.dtype)

    return run


@operator("QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_global_average_pool(node: Node, setting: Setting) -> Run:
    if node.get("channels_last"):
        raise Unsupported
    pool = global_pool(Node("GlobalAveragePool", [], []), setting)

    def run(x: Array, x_scale: Array, x_zero: Any, scale: Array, zero: Any = None) -> Array:
        result = pool(dequantized(x, x_scale, x_zero))
        result /= np.float32(scale.reshape(-1)[0])
        return saturated(result, 0 if zero is None else zero, x.dtype)

    return run
