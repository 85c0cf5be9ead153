"""
cconv's kernels behind ONNX operators: ``pip install cconv[onnx]``.

``new_ops`` is for ``onnx.reference.ReferenceEvaluator(model, new_ops=new_ops)``: the evaluator then runs convolutions
and pools of any opset on cconv, and everything else as before. A model of mainly convolutions runs many times faster.

>>> import numpy as np
>>> from onnx import TensorProto, helper
>>> from onnx.reference import ReferenceEvaluator
>>> from cconv.interop.onnx import new_ops
>>> node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
>>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])
>>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 2])
>>> model = helper.make_model(helper.make_graph([node], "pool", [x], [y]))
>>> image = np.array([[[[7, 3, 5, 2], [8, 7, 1, 6], [4, 9, 3, 9], [0, 8, 4, 5]]]], np.float32)
>>> ReferenceEvaluator(model, new_ops=new_ops).run(None, {"x": image})[0]
array([[[[8., 6.],
         [9., 9.]]]], dtype=float32)
"""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import functional

try:
    from onnx.reference.op_run import OpRun
except ImportError as error:
    raise ImportError(
        "cconv.interop.onnx needs the onnx package: pip install cconv[onnx]", name="onnx"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..functional import Array

__all__ = ["new_ops"]

Pads = tuple[tuple[int, int], ...]


# ---------------------------------------------------------------- attributes


def spatial(name: str, x: Array) -> int:
    """The number of spatial axes of (N, C, *space)."""
    if x.ndim not in (3, 4, 5):
        raise ValueError(f"{name}: cconv has 1 to 3 spatial axes, got an input of shape {x.shape}")
    return x.ndim - 2


def paired(pads: Sequence[int] | None, rank: int) -> Pads:
    """ONNX's [begin..., end...] as (before, after) an axis."""
    values = list(pads) if pads else [0] * 2 * rank
    return tuple(zip(values[:rank], values[rank:], strict=True))


def shared(total: int, auto_pad: str) -> tuple[int, int]:
    """A total padding in halves, the odd one after (SAME_UPPER) or before (SAME_LOWER)."""
    small = total // 2
    return (small, total - small) if auto_pad == "SAME_UPPER" else (total - small, small)


def same(
    auto_pad: str | None,
    pads: Sequence[int] | None,
    space: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Pads:
    """The padding of a convolution or pool: given, none, or such that ceil(L / stride) outputs come out."""
    if auto_pad in (None, "", "NOTSET"):
        return paired(pads, len(space))
    if auto_pad == "VALID":
        return paired(None, len(space))
    return tuple(
        shared(max(0, (-(-L // s) - 1) * s + d * (k - 1) + 1 - L), str(auto_pad))
        for L, k, s, d in zip(space, kernel, stride, dilation, strict=True)
    )


def call(base: str, rank: int) -> Any:
    return getattr(functional, f"{base}{rank}d")


# ---------------------------------------------------------------- convolution


def convolve(
    name: str,
    x: Array,
    w: Array,
    b: Array | None,
    auto_pad: Any,
    dilations: Any,
    group: Any,
    pads: Any,
    strides: Any,
) -> Array:
    rank = spatial(name, x)
    stride, dilation = strides or [1] * rank, dilations or [1] * rank
    padding = same(auto_pad, pads, x.shape[2:], w.shape[2:], stride, dilation)
    result: Array = call("conv", rank)(x, w, b, stride, padding, dilation, group or 1)
    return result


class Conv(OpRun):
    def _run(
        self,
        x,
        w,
        b=None,
        auto_pad=None,
        dilations=None,
        group=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    ):
        return (convolve("Conv", x, w, b, auto_pad, dilations, group, pads, strides),)


class ConvInteger(OpRun):
    """int32 sums of (x - x_zero_point) * (w - w_zero_point); padding stands for the zero point."""

    def _run(
        self,
        x,
        w,
        x_zero_point=None,
        w_zero_point=None,
        auto_pad=None,
        dilations=None,
        group=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    ):
        x, w = shifted(x, x_zero_point), shifted_weights(w, w_zero_point)
        return (convolve("ConvInteger", x, w, None, auto_pad, dilations, group, pads, strides),)


class QLinearConv(OpRun):
    """As ConvInteger, with an int32 bias, then scaled, rounded to even and saturated."""

    def _run(
        self,
        x,
        x_scale,
        x_zero_point,
        w,
        w_scale,
        w_zero_point,
        y_scale,
        y_zero_point,
        b=None,
        auto_pad=None,
        dilations=None,
        group=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    ):
        sums = convolve(
            "QLinearConv",
            shifted(x, x_zero_point),
            shifted_weights(w, w_zero_point),
            None,
            auto_pad,
            dilations,
            group,
            pads,
            strides,
        )
        channels = (1, -1, *(1,) * (x.ndim - 2))
        if b is not None:
            sums = sums + b.reshape(channels)
        scale = (np.float32(x_scale) * np.asarray(w_scale, np.float32)).reshape(-1) / np.float32(
            y_scale
        )
        scaled = np.rint(sums * scale.reshape(channels)) + np.asarray(y_zero_point).astype(np.int32)
        kind = np.asarray(y_zero_point).dtype
        limits = np.iinfo(kind)
        return (np.clip(scaled, limits.min, limits.max).astype(kind),)


def shifted(x: Array, zero_point: Any) -> Array:
    result = x.astype(np.int32)
    if zero_point is not None:
        result -= np.asarray(zero_point).astype(np.int32).reshape(())
    return result


def shifted_weights(w: Array, zero_point: Any) -> Array:
    """Weights may have a zero point for each output channel."""
    result = w.astype(np.int32)
    if zero_point is not None:
        result -= np.asarray(zero_point).astype(np.int32).reshape(-1, *(1,) * (w.ndim - 1))
    return result


class ConvTranspose(OpRun):
    def _run(
        self,
        x,
        w,
        b=None,
        auto_pad=None,
        dilations=None,
        group=None,
        kernel_shape=None,
        output_padding=None,
        output_shape=None,
        pads=None,
        strides=None,
    ):
        rank = spatial("ConvTranspose", x)
        one = [1] * rank
        stride, dilation = strides or one, dilations or one
        extra = list(output_padding or [0] * rank)
        padding = [list(p) for p in paired(pads, rank)]
        if output_shape is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            output_shape = [L * s for L, s in zip(x.shape[2:], stride, strict=True)]
        if output_shape:
            sizes = zip(
                x.shape[2:], w.shape[2:], stride, dilation, output_shape[-rank:], strict=True
            )
            for axis, (L, k, s, d, wanted) in enumerate(sizes):
                total = (L - 1) * s + d * (k - 1) + extra[axis] + 1 - wanted
                # an output_shape may ask for more than the input reaches: zeros (and the bias) at the end
                extra[axis] += max(0, -total)
                padding[axis] = list(shared(max(0, total), auto_pad or "SAME_LOWER"))
        return (transposed(x, w, b, stride, padding, extra, group or 1, dilation),)


def transposed(
    x: Array, w: Array, b: Any, stride: Any, padding: Any, extra: Any, group: int, dilation: Any
) -> Array:
    """conv_transpose; an output padding beyond stride and dilation, which PyTorch refuses, is added behind."""
    rank = x.ndim - 2
    most = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
    inside = [min(e, m) for e, m in zip(extra, most, strict=True)]
    y: Array = call("conv_transpose", rank)(
        x, w, b, stride, tuple(map(tuple, padding)), inside, group, dilation
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
        x,
        w,
        offset,
        b=None,
        mask=None,
        dilations=None,
        group=None,
        kernel_shape=None,
        offset_group=None,
        pads=None,
        strides=None,
    ):
        rank = spatial("DeformConv", x)
        one = [1] * rank
        stride, dilation, kernel = strides or one, dilations or one, w.shape[2:]
        padding = paired(pads, rank)
        out, taps = offset.shape[2:], prod(kernel)
        n, c = x.shape[:2]
        parts = offset_group or 1
        moves = offset.reshape(n, parts, taps, rank, *out)
        places = []  # of every tap and output, an axis
        index = np.stack(np.meshgrid(*(np.arange(k) for k in kernel), indexing="ij")).reshape(
            rank, taps
        )
        for axis in range(rank):
            shape = [1] * rank
            shape[axis] = out[axis]
            start = np.arange(out[axis]).reshape(shape) * stride[axis] - padding[axis][0]
            tap = index[axis].reshape(taps, *(1,) * rank) * dilation[axis]
            places.append(moves[:, :, :, axis] + (start + tap))
        columns = sampled(x.reshape(n, parts, c // parts, *x.shape[2:]), places)
        if mask is not None:
            columns *= mask.reshape(n, parts, 1, taps, *out)
        columns = columns.reshape(n, c * taps, -1)
        y = functional.conv1d(
            columns, w.reshape(w.shape[0], -1, 1), b, groups=group or 1
        )  # an im2col product: channels times taps
        return (y.reshape(n, w.shape[0], *out).astype(x.dtype, copy=False),)


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


# ---------------------------------------------------------------- pools


def window(
    x: Array, auto_pad: Any, dilations: Any, kernel_shape: Any, pads: Any, strides: Any
) -> tuple[Any, ...]:
    rank = x.ndim - 2
    stride, dilation = strides or [1] * rank, dilations or [1] * rank
    return (
        rank,
        tuple(stride),
        same(auto_pad, pads, x.shape[2:], kernel_shape, stride, dilation),
        tuple(dilation),
    )


class MaxPool(OpRun):
    def _run(
        self,
        x,
        auto_pad=None,
        ceil_mode=None,
        dilations=None,
        kernel_shape=None,
        pads=None,
        storage_order=None,
        strides=None,
    ):
        spatial("MaxPool", x)
        rank, stride, padding, dilation = window(
            x, auto_pad, dilations, kernel_shape, pads, strides
        )
        pool = call("max_pool", rank)
        args = (x, tuple(kernel_shape), stride, padding, dilation, bool(ceil_mode))
        if len(self.output) < 2:
            return (pool(*args),)
        values, indices = pool(*args, True)
        if storage_order:  # columns first
            places = np.unravel_index(indices, x.shape[2:])
            indices = np.ravel_multi_index(places[::-1], x.shape[:1:-1])
        # ONNX counts through the whole tensor
        planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * rank)
        return values, (indices + planes * prod(x.shape[2:])).astype(np.int64)


class AveragePool(OpRun):
    def _run(
        self,
        x,
        auto_pad=None,
        ceil_mode=None,
        count_include_pad=None,
        dilations=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    ):
        spatial("AveragePool", x)
        rank, stride, padding, dilation = window(
            x, auto_pad, dilations, kernel_shape, pads, strides
        )
        y = call("avg_pool", rank)(
            x,
            tuple(kernel_shape),
            stride,
            padding,
            bool(ceil_mode),
            bool(count_include_pad),
            dilation=dilation,
        )
        return (y,)


class LpPool(OpRun):
    def _run(
        self,
        x,
        auto_pad=None,
        ceil_mode=None,
        dilations=None,
        kernel_shape=None,
        p=None,
        pads=None,
        strides=None,
    ):
        spatial("LpPool", x)
        rank, stride, padding, dilation = window(
            x, auto_pad, dilations, kernel_shape, pads, strides
        )
        y = call("lp_pool", rank)(
            x,
            2 if p is None else p,
            tuple(kernel_shape),
            stride,
            bool(ceil_mode),
            padding=padding,
            dilation=dilation,
        )
        return (y,)


class GlobalAveragePool(OpRun):
    def _run(self, x):
        return (call("adaptive_avg_pool", spatial("GlobalAveragePool", x))(x, 1),)


class GlobalMaxPool(OpRun):
    def _run(self, x):
        return (call("adaptive_max_pool", spatial("GlobalMaxPool", x))(x, 1),)


class GlobalLpPool(OpRun):
    def _run(self, x, p=None):
        rank = spatial("GlobalLpPool", x)
        return (call("lp_pool", rank)(x, 2 if p is None else p, x.shape[2:]),)


class MaxUnpool(OpRun):
    def _run(self, x, indices, output_shape=None, kernel_shape=None, pads=None, strides=None):
        rank = spatial("MaxUnpool", x)
        stride = strides or [1] * rank
        own = [
            (L - 1) * s - b - a + k
            for L, s, k, (b, a) in zip(
                x.shape[2:], stride, kernel_shape, paired(pads, rank), strict=True
            )
        ]
        # the indices count through the whole tensor of the pool's own size
        places = np.unravel_index(indices % prod(own), own)
        size = [int(v) for v in output_shape][-rank:] if output_shape is not None else own
        flat = np.ravel_multi_index(places, size)
        result = np.zeros((*x.shape[:2], prod(size)), x.dtype)
        np.put_along_axis(result, flat.reshape(*x.shape[:2], -1), x.reshape(*x.shape[:2], -1), -1)
        return (result.reshape(*x.shape[:2], *size),)


class Col2Im(OpRun):
    def _run(self, x, image_shape, block_shape, dilations=None, pads=None, strides=None):
        size, block = (tuple(int(v) for v in shape) for shape in (image_shape, block_shape))
        rank = len(size)
        one = [1] * rank
        return (
            functional.fold(x, size, block, dilations or one, paired(pads, rank), strides or one),
        )


class BatchNormalization(OpRun):
    """As in inference, which is what opsets before 14 mean unless they ask for five outputs; the stock one trains
    with the momentum of opset 9."""

    def _run(
        self,
        x,
        scale,
        b,
        mean,
        var,
        epsilon=None,
        momentum=None,
        training_mode=None,
        spatial=None,
        is_test=None,
        consumed_inputs=None,
    ):
        shape = (1, -1, *(1,) * (x.ndim - 2))
        eps = 1e-5 if epsilon is None else epsilon
        if training_mode:
            axes = (0, *range(2, x.ndim))
            now, spread = x.mean(axes), x.var(axes)
            keep = 0.9 if momentum is None else momentum
            y = normalized(x, scale, b, now, spread, eps, shape)
            new = [mean * keep + now * (1 - keep), var * keep + spread * (1 - keep)]
            return (y, *(a.astype(mean.dtype, copy=False) for a in new))[: len(self.output)]
        return (normalized(x, scale, b, mean, var, eps, shape),)


def normalized(
    x: Array, scale: Array, b: Array, mean: Array, var: Array, eps: float, shape: Any
) -> Array:
    factor = scale / np.sqrt(var + eps)
    result: Array = x * factor.reshape(shape) + (b - mean * factor).reshape(shape)
    return result.astype(x.dtype, copy=False)


new_ops: list[Any] = [
    Conv,
    ConvTranspose,
    ConvInteger,
    QLinearConv,
    DeformConv,
    MaxPool,
    AveragePool,
    LpPool,
    GlobalAveragePool,
    GlobalMaxPool,
    GlobalLpPool,
    MaxUnpool,
    Col2Im,
    BatchNormalization,
]
for _op in new_ops:
    _op.op_domain = ""
