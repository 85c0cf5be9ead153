"""Pools, and what undoes them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ... import functional
from ..graph import Array, Node
from .attributes import Attributes, function_of, paired, spatial
from .convolutions import attributes_of
from .registry import Run, Setting, operator


@operator("MaxPool")
def max_pool(node: Node, _setting: Setting) -> Run:
    a, kernel, indexed = attributes_of(node), tuple(node.get("kernel_shape")), len(node.outputs) > 1

    def run(x: Array) -> Any:
        rank = spatial("MaxPool", x)
        padding, ceil_mode = a.padding(x.shape[2:], kernel), bool(a.ceil_mode)
        args = (x, kernel, a.stride(rank), padding, a.dilation(rank), ceil_mode)
        pool = function_of("max_pool", rank)
        if not indexed:
            return pool(*args)
        values, indices = pool(*args, True)
        if a.storage_order:  # columns first
            places = np.unravel_index(indices, x.shape[2:])
            indices = np.ravel_multi_index(places[::-1], x.shape[:1:-1])
        # ONNX counts through the whole tensor
        planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * rank)
        return values, (indices + planes * prod(x.shape[2:])).astype(np.int64)

    return run


@operator("AveragePool")
def average_pool(node: Node, _setting: Setting) -> Run:
    a, kernel = attributes_of(node), tuple(node.get("kernel_shape"))

    def run(x: Array) -> Array:
        rank = spatial("AveragePool", x)
        args = (
            x,
            kernel,
            a.stride(rank),
            a.padding(x.shape[2:], kernel),
            bool(a.ceil_mode),
            bool(a.count_include_pad),
        )
        result: Array = function_of("avg_pool", rank)(*args, dilation=a.dilation(rank))
        return result

    return run


@operator("LpPool")
def lp_pool(node: Node, _setting: Setting) -> Run:
    a, kernel = attributes_of(node), tuple(node.get("kernel_shape"))

    def run(x: Array) -> Array:
        rank = spatial("LpPool", x)
        args = (x, 2 if a.p is None else a.p, kernel, a.stride(rank), bool(a.ceil_mode))
        padding = a.padding(x.shape[2:], kernel)
        result: Array = function_of("lp_pool", rank)(
            *args, padding=padding, dilation=a.dilation(rank)
        )
        return result

    return run


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: Node, _setting: Setting) -> Run:
    base = "adaptive_avg_pool" if node.op == "GlobalAveragePool" else "adaptive_max_pool"

    def run(x: Array) -> Array:
        result: Array = function_of(base, spatial(node.op, x))(x, 1)
        return result

    return run


@operator("GlobalLpPool")
def global_lp_pool(node: Node, _setting: Setting) -> Run:
    p = node.get("p", 2)

    def run(x: Array) -> Array:
        result: Array = function_of("lp_pool", spatial("GlobalLpPool", x))(x, p, x.shape[2:])
        return result

    return run


@operator("MaxUnpool")
def max_unpool(node: Node, _setting: Setting) -> Run:
    a = attributes_of(node)

    def run(x: Array, indices: Array, output_shape: Array | None = None) -> Array:
        rank = spatial("MaxUnpool", x)
        own = unpooled_size(x, a, rank)
        # the indices count through the whole tensor of the pool's own size
        places = np.unravel_index(indices % prod(own), own)
        size = [int(v) for v in output_shape][-rank:] if output_shape is not None else own
        flat = np.ravel_multi_index(places, size)
        result = np.zeros((*x.shape[:2], prod(size)), x.dtype)
        np.put_along_axis(result, flat.reshape(*x.shape[:2], -1), x.reshape(*x.shape[:2], -1), -1)
        return result.reshape(*x.shape[:2], *size)

    return run


def unpooled_size(x: Array, a: Attributes, rank: int) -> list[int]:
    axes = zip(x.shape[2:], a.stride(rank), a.kernel_shape, paired(a.pads, rank), strict=True)
    return [(L - 1) * s - before - after + k for L, s, k, (before, after) in axes]


@operator("Col2Im")
def col2im(node: Node, _setting: Setting) -> Run:
    a = attributes_of(node)

    def run(x: Array, image_shape: Array, block_shape: Array) -> Array:
        size, block = (tuple(int(v) for v in shape) for shape in (image_shape, block_shape))
        rank = len(size)
        return functional.fold(
            x, size, block, a.dilation(rank), paired(a.pads, rank), a.stride(rank)
        )

    return run
