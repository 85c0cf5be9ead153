"""Which input each output chunk of a Dask array reads, along one axis: integers in, pieces out."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..functional import Array

Range = tuple[int, int]
Segment = tuple[int, int, int]  # block, start and stop in it


class Piece(NamedTuple):
    """What one output chunk needs along one axis."""

    outputs: int
    ranges: tuple[Range, ...]  # of the input, joined in this order
    take: tuple[int, ...] | None = None  # positions in them, where they are not read as they lie
    before: int = 0
    after: int = 0
    extra: int = 0  # output padding of a transposed convolution
    windows: tuple[Range, ...] = ()  # adaptive: (start, length) in the joined ranges


def bounds(chunks: Sequence[int], out: int, position: Callable[[int], int]) -> list[Range]:
    """Output chunks that follow the input's: `position(c)` counts the outputs that belong before input c."""
    ends = [min(max(position(c), 0), out) for c in itertools.accumulate(chunks)]
    ends[-1] = out
    starts = [0, *ends[:-1]]
    found = [(a, b) for a, b in zip(starts, ends, strict=True) if a < b]
    return found or [(0, out)]


def conv_pieces(
    L: int, chunks: Sequence[int], k: int, s: int, d: int, p: int, out: int, mode: str
) -> list[Piece]:
    """Output o reads inputs o*s - p + t*d, t < k; those outside are padding of the given mode."""
    reach = d * (k - 1)
    pieces = []
    for a, b in bounds(chunks, out, lambda c: -((reach // 2 - p - c) // s)):
        lo, hi = a * s - p, (b - 1) * s - p + reach + 1
        if mode == "zeros":
            inside = min(max(lo, 0), L), min(max(hi, 0), L)
            if inside[0] < inside[1]:
                pads = inside[0] - lo, hi - inside[1]
                pieces.append(Piece(b - a, (inside,), None, *pads))
            else:  # padding alone
                pieces.append(Piece(b - a, ((0, 0),), None, 0, hi - lo))
        elif 0 <= lo and hi <= L:
            pieces.append(Piece(b - a, ((lo, hi),)))
        else:
            pieces.append(Piece(b - a, *gathered(source(np.arange(lo, hi), L, mode))))
    return pieces


def source(at: Array, L: int, mode: str) -> Array:
    """Input positions that these ones, some of them in the padding, stand for."""
    if mode == "reflect":
        at = np.where(at < 0, -at, np.where(at >= L, 2 * (L - 1) - at, at))
    elif mode == "circular":
        at = at % L
    return np.clip(at, 0, L - 1)


def gathered(at: Array) -> tuple[tuple[Range, ...], tuple[int, ...]]:
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


def segments(ends: list[int], piece: Piece) -> list[Segment]:
    """The parts of blocks that a piece consists of; `ends` are those of the blocks, from 0."""
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
