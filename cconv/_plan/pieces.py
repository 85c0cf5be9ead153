"""Calls whose arrays have to be converted first, in pieces: the converted copies then stay within some MiB.

Samples are taken some at a time (pools: channels too), and where one alone is larger, its outputs along the first axis
that has several. Each piece is a call of its own with the padding that is left to it, so nothing below knows of pieces.
Whether and where a sample is cut depends on its own shape alone: a sample has the same bits in any batch.
"""

from __future__ import annotations

from typing import NamedTuple

from .._problem import (
    ConvProblem,
    PoolProblem,
    Three,
    folded_pool,
    normal,
    normal_pool,
    triple,
    volume,
)
from .pool import ROW
from .strategy import Piece

PIECE = 16 * 2**20  # bytes of converted input and result

Span = tuple[int, int]


class Cut(NamedTuple):
    """Some outputs of an axis: of these inputs, with this padding."""

    outputs: Span
    inputs: Span
    padding: Span


class Axis(NamedTuple):
    L: int
    out: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int


def leads(N: int, C: int, cost: int, channels: bool) -> list[tuple[Span, Span]]:
    """(samples, channels), each of at most PIECE bytes if possible; `channels`: whether they may be cut too."""
    sample = max(1, cost // max(1, N))
    if sample <= PIECE or not channels:
        step = max(1, PIECE // sample)
        return [((n, min(n + step, N)), (0, C)) for n in range(0, N, step)]
    step = max(1, PIECE // max(1, sample // C))
    spans = [(c, min(c + step, C)) for c in range(0, C, step)]
    return [((n, n + 1), span) for n in range(N) for span in spans]


def cuts(axis: Axis, step: int) -> list[Cut]:
    """The outputs of an axis, `step` at a time; the last cut takes all windows that hang over the padding. No cuts
    where one would be all padding."""
    reach = (axis.kernel - 1) * axis.dilation + 1
    # or rows that neighbours share would be most of the work
    step = max(step, reach // axis.stride + 1)
    found = []
    first = 0
    while first < axis.out:
        end = min(first + step, axis.out)
        need = (end - 1) * axis.stride - axis.before + reach
        last = end == axis.out or need > axis.L + axis.after
        end = axis.out if last else end
        start = first * axis.stride - axis.before
        inputs = max(0, start), axis.L if last else min(axis.L, need)
        padding = max(0, -start), axis.after if last else max(0, need - axis.L)
        if inputs[0] >= inputs[1]:
            return []
        found.append(Cut((first, end), inputs, padding))
        first = end
    return found


def long_axis(out: Three) -> int:
    """The first axis with several outputs."""
    return next((a for a, n in enumerate(out) if n > 1), 2)


def axis_of(p: ConvProblem | PoolProblem, after: Three, a: int) -> Axis:
    return Axis(
        L=p.size[a],
        out=p.out[a],
        kernel=p.kernel[a],
        stride=p.stride[a],
        dilation=p.dilation[a],
        before=p.before[a],
        after=after[a],
    )


def whole_axis(axis: Axis) -> Cut:
    return Cut((0, axis.out), (0, axis.L), (axis.before, axis.after))


def pieces_of(spans: list[tuple[Span, Span]], a: int, found: list[Cut]) -> tuple[Piece, ...]:
    """The pieces, none where they would be one."""
    pieces = tuple(
        Piece(samples, channels, a, **cut._asdict()) for samples, channels in spans for cut in found
    )
    return pieces if len(pieces) > 1 else ()


def conv_pieces(p: ConvProblem, after: Three, itemsize: int) -> tuple[Piece, ...]:
    """Of a convolution that is converted to elements of so many bytes; none where it is one."""
    cost = itemsize * p.N * p.G * (p.C * volume(p.size) + p.O * volume(p.out))
    if cost <= PIECE:
        return ()
    a = long_axis(p.out)
    axis, found = axis_of(p, after, a), []
    sample = cost // max(1, p.N)
    if sample > PIECE and not p.mode:
        found = cuts(axis, max(1, PIECE * axis.out // sample))
    return pieces_of(leads(p.N, p.G * p.C, cost, False), a, found or [whole_axis(axis)])


def transposed_pieces(
    whole: ConvProblem, before: Three, after: Three, out: Three, itemsize: int
) -> tuple[Piece, ...]:
    """Of a transposed convolution: samples only. Outputs, inputs and padding are those of the whole axis W."""
    cost = itemsize * whole.N * whole.G * (whole.C * volume(whole.size) + whole.O * volume(out))
    if cost <= PIECE:
        return ()
    axis = axis_of(whole._replace(before=before, out=out), after, 2)
    return pieces_of(leads(whole.N, whole.G * whole.C, cost, False), 2, [whole_axis(axis)])


def pool_pieces(p: PoolProblem, itemsize: int, copied: bool, indexed: bool) -> tuple[Piece, ...]:
    """Of a pool that is `copied` to elements of so many bytes, or has long rows; none where it is one."""
    planes = p.N * p.C
    cost = itemsize * planes * (volume(p.size) + volume(p.out)) if copied else 0
    q, _ = folded_pool(p, lead=False)  # a trailing axis of 1 is no row
    long = not p.adaptive and max(q.size[2], q.out[2]) > ROW
    if (cost <= PIECE and not long) or 0 in (p.N, p.C, *p.out):
        return ()
    a = long_axis(p.out)
    axis, found = axis_of(p, p.after, a), []
    # or the planes of indices would not lie in one piece
    may = not p.adaptive and (not indexed or max(p.size[:a], default=1) == 1)
    if may and (cost // planes > PIECE or long):
        each = itemsize * (volume(p.size) + volume(p.out)) // p.out[a]
        found = cuts(axis, max(1, PIECE // 4 // each))
    return pieces_of(leads(p.N, p.C, cost, True), a, found or [whole_axis(axis)])


def put(values: Three, a: int, value: int) -> Three:
    return triple(value if i == a else v for i, v in enumerate(values))


def conv_piece(p: ConvProblem, after: Three, piece: Piece) -> tuple[ConvProblem, Three]:
    """The problem of one piece of a convolution, and its padding behind."""
    a = piece.axis
    part = p._replace(
        N=piece.samples[1] - piece.samples[0],
        size=put(p.size, a, piece.inputs[1] - piece.inputs[0]),
        before=put(p.before, a, piece.padding[0]),
        out=put(p.out, a, piece.outputs[1] - piece.outputs[0]),
    )
    return normal(part), put(after, a, piece.padding[1])


def pool_piece(p: PoolProblem, piece: Piece) -> PoolProblem:
    """The problem of one piece of a pool."""
    a = piece.axis
    part = p._replace(
        N=piece.samples[1] - piece.samples[0],
        C=piece.channels[1] - piece.channels[0],
        size=put(p.size, a, piece.inputs[1] - piece.inputs[0]),
        before=put(p.before, a, piece.padding[0]),
        after=put(p.after, a, piece.padding[1]),
        out=put(p.out, a, piece.outputs[1] - piece.outputs[0]),
    )
    return part if p.adaptive else normal_pool(part)
