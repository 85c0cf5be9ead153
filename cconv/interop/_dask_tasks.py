"""What runs inside a Dask task: one block, joined from its parts, through one NumPy function."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import thread_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..functional import Array
    from ._dask_pieces import Piece, Range


def one_thread() -> bool:
    """Whether this task is one of many: in the main thread of a program (scheduler="synchronous") it is alone."""
    alone = threading.current_thread() is threading.main_thread()
    return not alone or multiprocessing.parent_process() is not None


def pick(results: tuple[Array, ...], i: int) -> Array:
    return results[i]


def cut(block: Array, index: tuple[slice, ...]) -> Array:
    """A part of a block; a small one is copied, or the halo would keep the whole block in memory."""
    part = block[index]
    return part.copy() if 2 * part.size < block.size else part


def run_block(
    compute: Callable[..., Any], pieces: tuple[Piece, ...], parts: Any, *others: Any
) -> Any:
    """Joins the parts, takes what padding modes need, and computes."""
    x, rank = parts, len(pieces)
    while isinstance(x, list) and len(x) == 1:
        x = x[0]
    if isinstance(x, list):
        x = np.block(parts)
    for axis, piece in enumerate(pieces):
        if piece.take is not None:
            x = np.take(x, piece.take, axis=x.ndim - rank + axis)
    if not one_thread():
        return compute(x, pieces, *others)
    with thread_limit(1):
        return compute(x, pieces, *others)


def pads(pieces: tuple[Piece, ...]) -> tuple[Range, ...]:
    return tuple((p.before, p.after) for p in pieces)


@dataclass(frozen=True)
class ConvTask:
    """A convolution of one block."""

    function: Callable[..., Array]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    algorithm: str
    transposed: bool

    def __call__(
        self, x: Array, pieces: tuple[Piece, ...], weight: Array, bias: Array | None = None
    ) -> Array:
        params: dict[str, Any] = {"stride": self.stride, "dilation": self.dilation}
        params |= {"groups": self.groups, "algorithm": self.algorithm}
        if self.transposed:
            params["output_padding"] = tuple(p.extra for p in pieces)
        padding = pads(pieces)
        if 0 in x.shape[-len(pieces) :]:  # an output chunk of padding alone
            lead = [(0, 0)] * (x.ndim - len(pieces))
            x, padding = np.pad(x, [*lead, *padding]), ((0, 0),) * len(pieces)
        return self.function(x, weight, bias, padding=padding, **params)


@dataclass(frozen=True)
class PoolTask:
    """A pool of one block; with `indexed` also positions in the plane of `size`."""

    function: Callable[..., Any]
    params: dict[str, Any]
    size: tuple[int, ...]
    indexed: bool

    def __call__(self, x: Array, pieces: tuple[Piece, ...]) -> Any:
        result = self.function(x, padding=pads(pieces), **self.params)
        if not self.indexed:
            return result
        starts = [np.arange(p.ranges[0][0], p.ranges[0][1]) for p in pieces]
        return result[0], in_plane(result[1], starts, self.size)


def in_plane(index: Array, axes: list[Array], size: tuple[int, ...]) -> Array:
    """Flat positions in a plane of the whole from those in a block, whose axis a has the positions `axes[a]`."""
    local = np.unravel_index(np.maximum(index, 0), [len(a) for a in axes])
    whole = np.ravel_multi_index([a[i] for a, i in zip(axes, local, strict=True)], size)
    return np.where(index < 0, index, whole)


@dataclass(frozen=True)
class AdaptiveTask:
    """An adaptive pool of one block: an ordinary one for each size of window, on the windows side by side."""

    function: Callable[..., Any]
    size: tuple[int, ...]
    indexed: bool
    inner: np.dtype[Any]  # a float32 average of many accumulates in float64
    dtype: np.dtype[Any]

    def __call__(self, x: Array, pieces: tuple[Piece, ...]) -> Any:
        rank = len(pieces)
        out = (*x.shape[:-rank], *(p.outputs for p in pieces))
        y = np.empty(out, self.dtype)
        index = np.empty(out, np.int64)
        if 0 in out:
            return (y, index) if self.indexed else y
        sizes = [sorted({length for _, length in p.windows}) for p in pieces]
        for kernel in itertools.product(*sizes):
            part, to, places = x, [], []
            for axis, (k, p) in enumerate(zip(kernel, pieces, strict=True)):
                chosen = [i for i, (_, length) in enumerate(p.windows) if length == k]
                at = np.concatenate([np.arange(k) + p.windows[i][0] for i in chosen])
                if len(at) != x.shape[axis - rank] or (np.diff(at) != 1).any():
                    part = np.take(part, at, axis=axis - rank)
                to.append(chosen)
                places.append(at + p.ranges[0][0])
            where: Any = (..., *np.ix_(*to))
            if self.indexed:
                values, flat = self.function(part, kernel, return_indices=True)
                y[where], index[where] = values, in_plane(flat, places, self.size)
            else:
                y[where] = self.function(part.astype(self.inner, copy=False), kernel)
        return (y, index) if self.indexed else y
