"""ONNX's pools on cconv's, and what undoes them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx.reference.op_run import OpRun

from .. import functional
from ._onnx_attributes import Attributes, function_of, paired, spatial

if TYPE_CHECKING:
    from ..functional import Array


class MaxPool(OpRun):
    def _run(self, x: Array, **attributes: Any) -> tuple[Array, ...]:
        rank, a = spatial("MaxPool", x), Attributes(**attributes)
        kernel = tuple(a.kernel_shape)
        padding, ceil_mode = a.padding(x.shape[2:], kernel), bool(a.ceil_mode)
        args = (x, kernel, a.stride(rank), padding, a.dilation(rank), ceil_mode)
        pool = function_of("max_pool", rank)
        if len(self.output) < 2:
            return (pool(*args),)
        values, indices = pool(*args, True)
        if a.storage_order:  # columns first
            places = np.unravel_index(indices, x.shape[2:])
            indices = np.ravel_multi_index(places[::-1], x.shape[:1:-1])
        # ONNX counts through the whole tensor
        planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * rank)
        return values, (indices + planes * prod(x.shape[2:])).astype(np.int64)


class AveragePool(OpRun):
    def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
        rank, a = spatial("AveragePool", x), Attributes(**attributes)
        kernel, include_pad = tuple(a.kernel_shape), bool(a.count_include_pad)
        padding, ceil_mode = a.padding(x.shape[2:], kernel), bool(a.ceil_mode)
        args = (x, kernel, a.stride(rank), padding, ceil_mode, include_pad)
        return (function_of("avg_pool", rank)(*args, dilation=a.dilation(rank)),)


class LpPool(OpRun):
    def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
        rank, a = spatial("LpPool", x), Attributes(**attributes)
        kernel, padding = tuple(a.kernel_shape), a.padding(x.shape[2:], a.kernel_shape)
        args = (x, 2 if a.p is None else a.p, kernel, a.stride(rank), bool(a.ceil_mode))
        return (function_of("lp_pool", rank)(*args, padding=padding, dilation=a.dilation(rank)),)


class GlobalAveragePool(OpRun):
    def _run(self, x: Array) -> tuple[Array]:
        return (function_of("adaptive_avg_pool", spatial("GlobalAveragePool", x))(x, 1),)


class GlobalMaxPool(OpRun):
    def _run(self, x: Array) -> tuple[Array]:
        return (function_of("adaptive_max_pool", spatial("GlobalMaxPool", x))(x, 1),)


class GlobalLpPool(OpRun):
    def _run(self, x: Array, p: int | None = None) -> tuple[Array]:
        rank = spatial("GlobalLpPool", x)
        return (function_of("lp_pool", rank)(x, 2 if p is None else p, x.shape[2:]),)


class MaxUnpool(OpRun):
    def _run(
        self, x: Array, indices: Array, output_shape: Any = None, **attributes: Any
    ) -> tuple[Array]:
        rank, a = spatial("MaxUnpool", x), Attributes(**attributes)
        own = [
            (L - 1) * s - before - after + k
            for L, s, k, (before, after) in zip(
                x.shape[2:], a.stride(rank), a.kernel_shape, paired(a.pads, rank), strict=True
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
    def _run(self, x: Array, image_shape: Any, block_shape: Any, **attributes: Any) -> tuple[Array]:
        size, block = (tuple(int(v) for v in shape) for shape in (image_shape, block_shape))
        rank, a = len(size), Attributes(**attributes)
        padding = paired(a.pads, rank)
        return (functional.fold(x, size, block, a.dilation(rank), padding, a.stride(rank)),)
