"""The geometry of a convolution before its kernel is chosen: taps that never meet the input are dropped, and axes that
are not really there are merged, so that rows are as long as they can be.

An axis is a unit where input, output and kernel have one position, and free where every output sees its own input
alone: one tap, stride 1, no padding. In order:

    taps        of zero padding alone, at either end of an axis, do not count: 3x3 with padding on a 1x1 image is 1x1
    channels    leading axes that the kernel covers whole are channels: C x 7 x 7 under 7x7 is 49 C channels
    units       are dropped: (L, 1) is (1, L)
    free axes   that neighbour are one: 1x1 sees a line; 3x1x1 sees rows of H W
    narrow      free rows of a few columns lie behind each other: k taps along L of (L, 3) are 3 columns apart
"""

from __future__ import annotations

from typing import NamedTuple

from .._problem import ONE, ConvProblem, Three, normal, triple
from ..kernels.job import PadMode
from .direct import ROWS_CHANNELS, kw_first
from .machine import Machine

CHANNELS = 3  # in Geometry.axes: behind the last of the three axes
STAY: Three = (0, 1, 2)


class Geometry(NamedTuple):
    problem: ConvProblem
    axes: Three  # which axis of the problem each of D, H, W is part of, or CHANNELS
    taps: tuple[range, range, range] | None  # those of the kernel that count; None: all


class Span(NamedTuple):
    """Neighbouring axes that are walked as one, of which the fields of ConvProblem are these."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    out: int
    of: tuple[int, ...]  # D, H, W: 0, 1, 2

    @property
    def unit(self) -> bool:
        return self.size == self.kernel == self.out == 1 and self.before == 0

    @property
    def free(self) -> bool:
        return self.kernel == self.stride == 1 and self.before == 0 and self.out == self.size

    @property
    def covered(self) -> bool:
        """Whether the kernel is the whole axis."""
        return self.kernel == self.size and self.dilation == self.out == 1 and self.before == 0


UNIT = Span(size=1, kernel=1, stride=1, dilation=1, before=0, out=1, of=())


def meets(at: int, s: int, out: int, L: int) -> bool:
    """Whether at + o*s lies in range(L) for an o of range(out)."""
    o = max(0, -(at // s))
    return o < out and at + o * s < L


def live_taps(p: ConvProblem) -> tuple[range, range, range] | None:
    """The taps of each axis from the first to the last that meets the input; None where there is none."""
    found = []
    for L, k, s, d, before, out in zip(
        p.size, p.kernel, p.stride, p.dilation, p.before, p.out, strict=True
    ):
        first = next((t for t in range(k) if meets(t * d - before, s, out, L)), None)
        if first is None:
            return None
        last = next(t for t in reversed(range(k)) if meets(t * d - before, s, out, L))
        found.append(range(first, last + 1))
    return found[0], found[1], found[2]


def with_taps(p: ConvProblem, taps: tuple[range, range, range]) -> ConvProblem:
    """The problem with these taps alone."""
    kernel = triple(map(len, taps))
    before = triple(b - t.start * d for b, t, d in zip(p.before, taps, p.dilation, strict=True))
    return normal(p._replace(kernel=kernel, before=before))


def axes_of(p: ConvProblem) -> list[Span]:
    fields = zip(p.size, p.kernel, p.stride, p.dilation, p.before, p.out, strict=True)
    return [
        Span(size=L, kernel=k, stride=s, dilation=d, before=before, out=out, of=(i,))
        for i, (L, k, s, d, before, out) in enumerate(fields)
    ]


def covered_axes(axes: list[Span]) -> list[Span]:
    """Leading axes that the kernel covers, units among them."""
    found = []
    for axis in axes:
        if not axis.covered:
            break
        found.append(axis)
    return found


def joined_axes(axes: list[Span], narrow: int) -> list[Span]:
    """Axes without units, neighbours merged: free ones, and narrow free ones with what is before them."""
    found: list[Span] = []
    for axis in axes:
        last = found[-1] if found else None
        if axis.unit:
            continue
        if last is not None and last.free and axis.free:
            axis = behind(last, axis.size, axis.of)
            found.pop()
        found.append(axis)
    while len(found) > 1 and found[-1].free and found[-1].size <= narrow and found[-2].stride == 1:
        axis = found.pop()
        found[-1] = behind(found[-1], axis.size, axis.of)
    return found


def behind(axis: Span, columns: int, of: tuple[int, ...]) -> Span:
    """The axis of a free one's rows, so many columns each, behind each other."""
    return Span(
        size=axis.size * columns,
        kernel=axis.kernel,
        stride=1,
        dilation=axis.dilation * columns if axis.kernel > 1 else 1,
        before=axis.before * columns,
        out=axis.out * columns,
        of=axis.of + of,
    )


def order(p: ConvProblem, place: Three) -> list[int]:
    """The axes in the order of summation where they are at these places of a problem."""
    turn = (0, 2, 1, CHANNELS) if kw_first(p) else (0, 1, 2, CHANNELS)
    return sorted(STAY, key=lambda axis: (place[axis] != CHANNELS, turn[place[axis]], axis))


def same_order(whole: ConvProblem, found: Geometry, kernel: Three) -> bool:
    """Whether a sum's terms stay in their order; `kernel` are the taps that count of each axis of the whole."""
    several = [axis for axis in STAY if kernel[axis] > 1]
    before, after = order(whole, STAY), order(found.problem, found.axes)
    return [a for a in before if a in several] == [a for a in after if a in several]


def merged(p: ConvProblem, m: Machine, plain: bool, algorithm: str) -> Geometry:
    """What a convolution is; of a transposed one (not `plain`) `before` and `out` are the transposed operation's.

    By "direct" of floats one stays as it is where its terms would be summed in another order: that depends on the
    weight's shape alone, what can be merged on the input's. (Transposed ones with a stride have one order anyway.)"""
    found, kernel = simplest(p, m, plain)
    promised = algorithm == "direct" and m.real and (plain or p.stride == ONE)
    if promised and not same_order(p, found, kernel):
        return Geometry(p, STAY, None)
    return found


def simplest(p: ConvProblem, m: Machine, plain: bool) -> tuple[Geometry, Three]:
    """The same for any order of terms, and the taps that count of each axis."""
    whole, taps = p, None
    if 0 in (*p.size, *p.out, *p.kernel):
        return Geometry(p, STAY, None), p.kernel
    # of integers alone: a zero of the padding times an infinite weight is NaN, as in torch
    if plain and not m.real and p.mode == PadMode.PAD_ZEROS:
        taps = live_taps(p)
        p = p if taps is None else with_taps(p, taps)
        taps = None if p.kernel == whole.kernel else taps
    live, axes, place = p.kernel, axes_of(p), [0, 1, 2]
    if plain and (p.G == 1 or p.O > ROWS_CHANNELS):
        for axis in covered_axes(axes):
            p = p._replace(C=p.C * axis.kernel)
            if not axis.unit:
                place[axis.of[0]] = CHANNELS
            axes.remove(axis)
    wide = p.mode == PadMode.PAD_ZEROS
    rest = joined_axes(axes, 2 * m.lanes if wide else 0)
    rest = [UNIT] * (3 - len(rest)) + rest
    for i, axis in enumerate(rest):
        for a in axis.of:
            place[a] = i
    size, kernel, stride, dilation, before, out, _ = zip(*rest, strict=True)
    p = p._replace(
        size=size, kernel=kernel, stride=stride, dilation=dilation, before=before, out=out
    )
    return Geometry(p, triple(place), taps), live


def kept_places(taps: tuple[range, range, range], kernel: Three) -> tuple[int, ...]:
    """Where the taps that count lie in the whole kernel."""
    return tuple(
        (z * kernel[1] + y) * kernel[2] + x for z in taps[0] for y in taps[1] for x in taps[2]
    )
