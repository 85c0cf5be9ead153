"""Graphs of block-wise operations on Dask arrays: which input each output block reads, and the task that computes it.

Along each spatial axis an output chunk is a `Piece`: ranges of the input, how they are padded, and how many outputs
they give. A task joins its parts of the input's blocks and calls the NumPy function once.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import threading
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from .. import _run
from .._fft import source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..functional import Array

Range = tuple[int, int]


class Piece(NamedTuple):
    """What one output chunk needs along one axis."""

    outputs: int
    ranges: tuple[Range, ...]  # of the input, joined in this order
    take: tuple[int, ...] | None = None  # positions in them, where they are not read as they lie
    before: int = 0
    after: int = 0
    extra: int = 0  # output padding of a transposed convolution
    windows: tuple[Range, ...] = ()  # adaptive: (start, length) in the joined ranges


# ---------------------------------------------------------------- pieces


def bounds(chunks: Sequence[int], out: int, position: Callable[[int], int]) -> list[Range]:
    """Output chunks that follow the input's: `position(c)` counts the outputs that belong before input c."""
    ends = [min(max(position(c), 0), out) for c in itertools.accumulate(chunks)]
    ends[-1] = out
    starts = [0, *ends[:-1]]
    found = [(a, b) for a, b in zip(starts, ends, strict=True) if a < b]
    return found or [(0, out)]


def conv_pieces(
    L: int, chunks: Sequence[int], k: int, s: int, d: int, p: int, out: int, mode: int
) -> list[Piece]:
    """Output o reads inputs o*s - p + t*d, t < k; those outside are padding of the given mode."""
    reach = d * (k - 1)
    pieces = []
    for a, b in bounds(chunks, out, lambda c: -((reach // 2 - p - c) // s)):
        lo, hi = a * s - p, (b - 1) * s - p + reach + 1
        if mode == 0:
            inside = min(max(lo, 0), L), min(max(hi, 0), L)
            if inside[0] < inside[1]:
                pads = inside[0] - lo, hi - inside[1]
                pieces.append(Piece(b - a, (inside,), None, *pads))
            else:  # padding alone
                pieces.append(Piece(b - a, ((0, 0),), None, 0, hi - lo))
        elif 0 <= lo and hi <= L:
            pieces.append(Piece(b - a, ((lo, hi),)))
        else:
            pieces.append(Piece(b - a, *gathered(source(np.arange(lo, hi), L, mode), L)))
    return pieces


def gathered(at: Array, L: int) -> tuple[tuple[Range, ...], tuple[int, ...]]:
    """One range of the input, or one at each end, that hold these positions; and where in them."""
    used = np.unique(at)
    gaps = np.diff(used)
    if gaps.size and gaps.max() > 1:  # circular padding: both ends
        cut = int(gaps.argmax())
        low, high = (int(used[0]), int(used[cut]) + 1), (int(used[cut + 1]), int(used[-1]) + 1)
        local = np.where(at < low[1], at - low[0], at - high[0] + low[1] - low[0])
        return (low, high), tuple(local.tolist())
    low = int(used[0]), int(used[-1]) + 1
    return (low,), tuple((at - low[0]).tolist())


def transposed_pieces(
    L: int, chunks: Sequence[int], k: int, s: int, d: int, crop: int, out: int
) -> list[Piece]:
    """Output o collects input i at tap t where i*s + t*d - crop = o."""
    reach = d * (k - 1)
    pieces = []
    for a, b in bounds(chunks, out, lambda c: c * s - crop + (reach - s + 1) // 2):
        first = min(-((reach - a - crop) // s), (a + crop) // s)
        lo = min(max(first, 0), L - 1)
        hi = min(max((b - 1 + crop) // s + 1, lo + 1), L)
        end = b + crop - lo * s  # in the outputs of the piece
        rest = end - ((hi - lo - 1) * s + reach + 1)
        pieces.append(
            Piece(b - a, ((lo, hi),), None, a + crop - lo * s, max(0, -rest), extra=max(0, rest))
        )
    return pieces


def pool_pieces(
    L: int, chunks: Sequence[int], k: int, s: int, d: int, before: int, after: int, out: int
) -> list[Piece]:
    """As a convolution's, but padding is never more than the whole's: divisors and ceil_mode count it."""
    reach = d * (k - 1)
    pieces = []
    for a, b in bounds(chunks, out, lambda c: -((reach // 2 - before - c) // s)):
        lo, hi = a * s - before, (b - 1) * s - before + reach + 1
        inside = max(lo, 0), min(hi, L)
        pads = inside[0] - lo, min(max(hi - L, 0), after)
        pieces.append(Piece(b - a, (inside,), None, *pads))
    return pieces


def adaptive_pieces(L: int, chunks: Sequence[int], out: int) -> list[Piece]:
    """Window i is [floor(iL / out), ceil((i+1)L / out))."""
    pieces = []
    for a, b in bounds(chunks, out, lambda c: -(-c * out // L)):
        if a == b:
            return [Piece(0, ((0, 0),))]
        lo, hi = a * L // out, -(-b * L // out)
        windows = tuple(
            (i * L // out - lo, -(-(i + 1) * L // out) - i * L // out) for i in range(a, b)
        )
        pieces.append(Piece(b - a, ((lo, hi),), windows=windows))
    return pieces


# ---------------------------------------------------------------- inside a task


def one_thread() -> bool:
    """Whether this task is one of many: in the main thread of a program (scheduler="synchronous") it is alone."""
    alone = threading.current_thread() is threading.main_thread()
    return not alone or multiprocessing.parent_process() is not None


def cut(block: Array, index: tuple[slice, ...]) -> Array:
    """A part of a block; a small one is copied, or the halo would keep the whole block in memory."""
    part = block[index]
    return part.copy() if 2 * part.size < block.size else part


def run_block(
    compute: Callable[..., Any], pieces: tuple[Piece, ...], parts: Any, *others: Any
) -> Any:
    """Joins the parts, takes what padding modes need, and computes."""
    x = parts
    depth = len(pieces)
    while isinstance(x, list) and len(x) == 1:
        x, depth = x[0], depth - 1
    if isinstance(x, list):
        x = np.block(parts)
    rank = len(pieces)
    for axis, piece in enumerate(pieces):
        if piece.take is not None:
            x = np.take(x, piece.take, axis=x.ndim - rank + axis)
    if not one_thread():
        return compute(x, pieces, *others)
    last = _run.limit_here(1)
    try:
        return compute(x, pieces, *others)
    finally:
        _run.limit_here(last)


def pads(pieces: tuple[Piece, ...]) -> tuple[Range, ...]:
    return tuple((p.before, p.after) for p in pieces)


@dataclass(frozen=True)
class Conv:
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
class Pool:
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
class Adaptive:
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


# ---------------------------------------------------------------- the graph


def segments(ends: list[int], piece: Piece) -> list[tuple[int, int, int]]:
    """(block, start, stop in it) of the parts that a piece consists of; `ends` are those of the blocks, from 0."""
    found = []
    for lo, hi in piece.ranges:
        block = min(bisect_right(ends, lo), len(ends) - 1) - 1
        if lo == hi:
            found.append((block, 0, 0))
        while lo < hi:
            stop = min(hi, ends[block + 1])
            found.append((block, lo - ends[block], stop - ends[block]))
            lo, block = stop, block + 1
    return found


def nested(parts: list[list[Any]], make: Callable[..., Any], done: tuple[Any, ...] = ()) -> Any:
    """A list of lists ..., one level an axis."""
    if not parts:
        return make(done)
    return [nested(parts[1:], make, (*done, part)) for part in parts[0]]


def build(
    name: str,
    x: Any,
    channels: int | None,
    axes: list[list[Piece]],
    compute: Callable[..., Any],
    others: tuple[Any, ...],
    dtypes: tuple[Any, ...],
) -> tuple[Any, ...]:
    """Lazy arrays of these dtypes: one task an output block, one more for every part of a block that it reads.

    `channels`: of the output, where the input's are one chunk; None keeps the input's.
    """
    lead = x.ndim - len(axes)
    token = tokenize(x.name, channels, axes, compute, [o.name for o in others])
    out, halo = f"{name}-{token}", f"{name}-input-{token}"
    ends = [[0, *itertools.accumulate(c)] for c in x.chunks[lead:]]
    parts = [[segments(e, piece) for piece in pieces] for e, pieces in zip(ends, axes, strict=True)]
    extra = [(o.name, *(0,) * o.ndim) for o in others]
    graph: dict[Any, Any] = {}
    cells = [range(len(pieces)) for pieces in axes]
    for head in itertools.product(*(range(n) for n in x.numblocks[:lead])):

        def part(at: tuple[Any, ...], head: tuple[int, ...] = head) -> Any:
            blocks = tuple(b for b, _, _ in at)
            key = (x.name, *head, *blocks)
            sizes = [c[b] for c, b in zip(x.chunks[lead:], blocks, strict=True)]
            if all((a, b) == (0, n) for (_, a, b), n in zip(at, sizes, strict=True)):
                return key
            corners = tuple(v for _, a, b in at for v in (a, b))
            cut_key = (halo, *key[1:], *corners)
            if cut_key not in graph:
                index = (slice(None),) * lead + tuple(slice(a, b) for _, a, b in at)
                graph[cut_key] = (cut, key, index)
            return cut_key

        for cell in itertools.product(*cells):
            pieces = tuple(p[i] for p, i in zip(axes, cell, strict=True))
            which = [s[i] for s, i in zip(parts, cell, strict=True)]
            task = (run_block, compute, pieces, nested(which, part), *extra)
            graph[(out, *head, *cell)] = task
    spatial = tuple(tuple(p.outputs for p in pieces) for pieces in axes)
    first = x.chunks[:lead] if channels is None else (*x.chunks[: lead - 1], (channels,))
    chunks = (*first, *spatial)
    layers = HighLevelGraph.from_collections(out, graph, dependencies=[x, *others])
    if len(dtypes) == 1:
        return (da.Array(layers, out, chunks, dtype=dtypes[0]),)
    results = []
    blocks = list(itertools.product(*(range(len(c)) for c in chunks)))
    for i, dtype in enumerate(dtypes):
        name_i = f"{name}-{'values' if i == 0 else 'indices'}-{token}"
        picks = {(name_i, *b): (pick, (out, *b), i) for b in blocks}
        graph_i = HighLevelGraph(
            {**layers.layers, name_i: picks}, {**layers.dependencies, name_i: {out}}
        )
        results.append(da.Array(graph_i, name_i, chunks, dtype=dtype))
    return tuple(results)


def pick(pair: tuple[Any, ...], i: int) -> Any:
    return pair[i]


def shapes_only(name: str, parameter: str, value: Any) -> Array:
    """An array of the same shape and dtype without memory, for the checks."""
    if any(math.isnan(n) for n in value.shape):
        raise ValueError(
            f"{name}: {parameter} has chunks of unknown size, expected known ones: call its "
            f"compute_chunk_sizes() first"
        )
    return np.broadcast_to(np.zeros((), value.dtype), value.shape)
