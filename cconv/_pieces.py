"""Runs a strategy Pieces: arrays that are converted, piece by piece, so that their copies stay within some MiB.

Each piece is a call of its own with the padding that is left to it, so nothing below knows of pieces. Where samples are
cut, `_plan.pieces` says.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._plan.choose import Piece, Pieces
    from ._run.runner import Runner
    from ._strategies import Array, Arrays

Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


class Place(NamedTuple):
    """A part of the input, the part of the result that it gives, and the padding that is left to it."""

    inputs: tuple[slice, ...]
    to: tuple[slice, ...]
    pads: Pads
    offset: int  # to be added to indices of maxima


class Layout(NamedTuple):
    """How a call's input lies: its shape, and the padding an axis (none of adaptive pools)."""

    shape: Shape
    rank: int
    pads: Pads
    channels: (
        bool  # whether channels may be cut: of pools, whose output channels are those of the input
    )


def place(piece: Piece, layout: Layout) -> Place:
    rank, shape = layout.rank, layout.shape
    lead = [slice(*piece.samples)] if len(shape) == rank + 2 else []
    lead.append(slice(*piece.channels) if layout.channels else slice(None))
    a = piece.axis - (3 - rank)
    if a < 0 or not layout.pads:  # planes stay whole
        return Place(tuple(lead), tuple(lead), layout.pads, 0)
    gap = (slice(None),) * a
    pads = (*layout.pads[:a], piece.padding, *layout.pads[a + 1 :])
    inputs, outputs = (*lead, *gap, slice(*piece.inputs)), (*lead, *gap, slice(*piece.outputs))
    offset = piece.inputs[0] * math.prod(shape[len(shape) - rank + a + 1 :])
    return Place(inputs, outputs, pads, offset)


def target(out: Array | None, shape: Shape, dtype: np.dtype[Any], arrays: Arrays) -> Array:
    """Where the pieces go: `out`, unless it may overlap what later pieces read."""
    given = [a for a in arrays if a is not None]
    if out is None or any(np.may_share_memory(out, a) for a in given):
        return np.empty(shape, dtype)
    return out


class Result(NamedTuple):
    shape: Shape
    dtype: np.dtype[Any]
    indexed: bool = False  # maxima with their indices


class Piecewise:
    """Runs the pieces one after the other, each by the runner that a call with its arrays has."""

    def __init__(
        self, strategy: Pieces, layout: Layout, resolve: Callable[[Place], Runner], result: Result
    ):
        known: dict[object, Runner] = {}
        self.steps: list[tuple[Place, Runner]] = []
        self.result = result
        for piece in strategy.pieces:
            at = place(piece, layout)
            ends = zip(at.inputs, layout.shape, strict=False)
            key = at.pads, tuple(len(range(*part.indices(n))) for part, n in ends)
            if key not in known:
                known[key] = resolve(at)
            self.steps.append((at, known[key]))

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        at, runner = self.steps[0]
        return runner, (arrays[0][at.inputs], *arrays[1:])

    def __call__(self, arrays: Arrays, out: Array | None) -> Any:
        x, *others = arrays
        shape, dtype, indexed = self.result
        y = target(out, shape, dtype, arrays)
        places = np.empty(shape, np.int64) if indexed else None
        for at, runner in self.steps:
            result = runner((x[at.inputs], *others), y[at.to])
            if places is not None:
                offset = np.where(result[1] < 0, 0, at.offset)
                np.add(result[1], offset, out=places[at.to])
        if out is not None and y is not out:
            np.copyto(out, y)
            y = out
        return y if places is None else (y, places)
