"""Deformable convolution, by linear interpolation and one product."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod

import numpy as np

from ... import functional
from ..graph import Array, Node
from .attributes import Attributes, paired, spatial
from .convolutions import attributes_of
from .registry import Run, Setting, operator


@operator("DeformConv")
def deformable_convolution(node: Node, _setting: Setting) -> Run:
    """A convolution whose taps are moved by offsets (bilinear in between, zeros outside) and weighted by a mask.

    After Dai et al., "Deformable Convolutional Networks", 2017, and Zhu et al., "Deformable ConvNets v2", 2019.
    """
    a = attributes_of(node)

    def run(
        x: Array, w: Array, offset: Array, b: Array | None = None, mask: Array | None = None
    ) -> Array:
        rank = spatial("DeformConv", x)
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
        return y.reshape(n, w.shape[0], *out).astype(x.dtype, copy=False)

    return run


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
