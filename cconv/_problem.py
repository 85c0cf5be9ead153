"""The sizes of one operation as plain integers, always with three spatial axes, and the output-size formulas.

Letters: N batch, G groups, C / O input / output channels of one group, L input length, k kernel, s stride, d dilation,
p padding (before, after). 1-D and 2-D problems are 3-D ones with unit axes in front.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from math import gcd
from typing import NamedTuple

from .kernels.job import PadMode

Three = tuple[int, int, int]
INTERLEAVED_MOST = 64
LIMIT = 2**62  # every size and product of sizes stays below: no integer in a kernel can overflow
MODES = {
    "zeros": PadMode.PAD_ZEROS,
    "reflect": PadMode.PAD_REFLECT,
    "replicate": PadMode.PAD_REPLICATE,
    "circular": PadMode.PAD_CIRCULAR,
}
NONE: Three = (0, 0, 0)
ONE: Three = (1, 1, 1)


class ConvProblem(NamedTuple):
    """One convolution (cross-correlation); fields as ConvSizes in kernels/job.pxd. A negative `before` crops."""

    N: int
    G: int
    C: int
    O: int
    size: Three
    kernel: Three
    stride: Three
    dilation: Three
    before: Three
    out: Three
    mode: PadMode


class Part(NamedTuple):
    """One of the dense stride-1 convolutions that a transposed or a dilated convolution consists of."""

    problem: ConvProblem
    first: Three  # its first output and the step between its outputs, in those of the whole
    step: Three
    x_first: Three = NONE  # the same of its inputs
    x_step: Three = ONE
    taps: tuple[range, range, range] | None = (
        None  # kernel positions that it uses; None: all, not reversed
    )


class PoolProblem(NamedTuple):
    """One pooling; fields as PoolSizes in kernels/job.pxd.

    Adaptive windows, [floor(i L / out), ceil((i+1) L / out)), use neither kernel nor stride.
    """

    N: int
    C: int
    size: Three
    kernel: Three
    stride: Three
    dilation: Three
    before: Three
    after: Three
    out: Three
    adaptive: bool
    include_pad: (
        bool  # averages divide by the taps inside the padded input, else by those inside the input
    )
    lead: int = 1  # planes, one behind the other, whose positions are counted through


def triple(values: Iterable[int]) -> Three:
    d, h, w = values
    return d, h, w


def volume(size: Three) -> int:
    return size[0] * size[1] * size[2]


def conv_size(L: int, k: int, s: int, d: int, before: int, after: int) -> int:
    """floor((L + before + after - d(k-1) - 1) / s) + 1"""
    return (L + before + after - d * (k - 1) - 1) // s + 1


def transposed_size(L: int, k: int, s: int, d: int, before: int, after: int, extra: int) -> int:
    """(L-1)s - before - after + d(k-1) + extra + 1"""
    return (L - 1) * s - before - after + d * (k - 1) + extra + 1


def pool_size(L: int, k: int, s: int, d: int, before: int, after: int, ceil_mode: bool) -> int:
    """As conv_size; with ceil_mode rounded up, but no window may start past the input and its left padding."""
    span = L + before + after - d * (k - 1) - 1
    if not ceil_mode:
        return span // s + 1
    out = (span + s - 1) // s + 1
    return out - 1 if (out - 1) * s >= L + before else out


def normal(p: ConvProblem) -> ConvProblem:
    """A stride that is never taken and the dilation of a single tap become 1: absurd values cannot overflow."""
    return p._replace(
        stride=triple(1 if o == 1 else s for o, s in zip(p.out, p.stride, strict=True)),
        dilation=triple(1 if k == 1 else d for k, d in zip(p.kernel, p.dilation, strict=True)),
    )


def interleaved(p: ConvProblem) -> list[Part]:
    """A dilated stride-1 convolution with zero padding as d undilated ones an axis, on every d-th input.

    Outputs r, r + d, ... read the inputs r - before + d*(j + k): every d-th one from e = (r - before) mod d.
    More than INTERLEAVED_MOST are not worth it, and not listed: none.
    """
    if volume(triple(map(min, p.dilation, p.out))) > INTERLEAVED_MOST:
        return []
    axes = []
    for L, d, before, out in zip(p.size, p.dilation, p.before, p.out, strict=True):
        axis = []
        for r in range(min(d, out)):
            f, e = divmod(r - before, d)
            axis.append((r, len(range(r, out, d)), e, max(0, -(-(L - e) // d)), -f))
        axes.append(axis)
    parts = []
    for each in product(*axes):
        first, outs, x_first, size, pads = map(triple, zip(*each, strict=True))
        sub = p._replace(size=size, out=outs, before=pads, dilation=ONE)
        parts.append(Part(sub, first, p.dilation, x_first, p.dilation))
    return parts


class AxisPhase(NamedTuple):
    """One phase of one axis of a transposed convolution."""

    first: int  # output
    step: int
    outputs: int
    taps: range
    dilation: int
    before: int


def axis_phases(L: int, k: int, s: int, d: int, before: int, out: int) -> Iterator[AxisPhase]:
    """The phases of one axis of a transposed convolution.

    Output o collects input i and tap t with i*s + t*d - before = o. For o = r - before (mod s) only the taps with
    t*d = r (mod s) count: t = t0, t0 + s/g, ... with g = gcd(s, d), if g divides r; the input index falls by d/g from
    one such tap to the next, so the phase is a stride-1 convolution with the taps reversed.
    """
    g = gcd(s, d)
    for first in range(min(s, out)):
        # outputs o = first, first + s, ... share the residue (o + before) mod s
        count = len(range(first, out, s))
        residue = (first + before) % s
        start = next((t for t in range(min(k, s // g)) if t * d % s == residue), k)
        taps = range(start, k, s // g)
        if not taps:
            yield AxisPhase(first, s, count, taps, dilation=1, before=0)
            continue
        # the first output reads input (first + before - t*d)/s at tap t; reversed, its first tap is the last t
        lowest = (first + before - taps[-1] * d) // s
        gap = d // g if len(taps) > 1 else 1
        yield AxisPhase(first, s, count, taps, dilation=gap, before=-lowest)


def transposed_phases(p: ConvProblem, before: Three, out: Three) -> list[Part]:
    """p gives N, G, C, O (of the transposed operation), size, kernel, stride and dilation."""
    axes = [
        list(axis_phases(L, k, s, d, b, o))
        for L, k, s, d, b, o in zip(
            p.size, p.kernel, p.stride, p.dilation, before, out, strict=True
        )
    ]
    phases = []
    for z, y, x in product(*axes):
        kernel = (len(z.taps), len(y.taps), len(x.taps))
        problem = p._replace(
            kernel=NONE if 0 in kernel else kernel,
            stride=ONE,
            dilation=(z.dilation, y.dilation, x.dilation),
            before=(z.before, y.before, x.before),
            out=(z.outputs, y.outputs, x.outputs),
            mode=PadMode.PAD_ZEROS,
        )
        first, step = (z.first, y.first, x.first), (z.step, y.step, x.step)
        phases.append(Part(problem, first, step, taps=(z.taps, y.taps, x.taps)))
    return phases


def normal_pool(p: PoolProblem) -> PoolProblem:
    """As `normal`; windows larger than the padded input (ceil_mode) keep the taps that cover it."""
    kernel = triple(
        min(k, (L + b + a - 1) // d + 1)
        for L, k, d, b, a in zip(p.size, p.kernel, p.dilation, p.before, p.after, strict=True)
    )
    return p._replace(
        kernel=kernel,
        stride=triple(1 if o == 1 else s for o, s in zip(p.out, p.stride, strict=True)),
        dilation=triple(1 if k == 1 else d for k, d in zip(kernel, p.dilation, strict=True)),
    )


class Fold(NamedTuple):
    """Where the channels and the axes D, H, W of a pool go: to axis 0, 1 or 2, or CHANNELS."""

    channels: int
    d: int
    h: int
    w: int


CHANNELS = -1
UNFOLDED = Fold(CHANNELS, 0, 1, 2)


class PoolAxis(NamedTuple):
    """One axis of a PoolProblem, or neighbouring ones that are walked as one."""

    L: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    out: int

    @property
    def same(self) -> bool:
        """Whether each window is one element, and each element a window."""
        return self.kernel == 1 and self.stride == 1 and self.out == self.L

    @property
    def whole(self) -> bool:
        """Whether there is one window, which is the axis."""
        return self.out == self.dilation == 1 and self.kernel == self.L and self.before == 0

    def over(self, inner: PoolAxis) -> PoolAxis:
        """The axis that this one and the next, which is whole, are: windows are runs of it."""
        L = inner.L
        return PoolAxis(
            L=self.L * L,
            kernel=self.kernel * L,
            stride=self.stride * L,
            dilation=self.dilation,
            before=self.before * L,
            after=self.after * L,
            out=self.out,
        )


def evened(p: PoolProblem) -> PoolProblem:
    """Adaptive windows that are all as large, as plain ones."""
    if not p.adaptive or any(o == 0 or L % o for L, o in zip(p.size, p.out, strict=True)):
        return p
    kernel = triple(L // o for L, o in zip(p.size, p.out, strict=True))
    return normal_pool(p._replace(kernel=kernel, stride=kernel, adaptive=False))


def pool_axes(p: PoolProblem) -> list[PoolAxis]:
    """Of adaptive windows kernel and stride say only which are `same` or `whole`."""
    if p.adaptive:
        return [
            PoolAxis(
                L=L, kernel=L if o == 1 else 1 if o == L else 2, stride=1, dilation=1, before=0,
                after=0, out=o,
            )
            for L, o in zip(p.size, p.out, strict=True)
        ]  # fmt: skip
    fields = p.size, p.kernel, p.stride, p.dilation, p.before, p.after, p.out
    return [PoolAxis(*axis) for axis in zip(*fields, strict=True)]


def joins(outer: PoolAxis, inner: PoolAxis, adaptive: bool) -> bool:
    """Whether windows over both axes are runs of one."""
    if inner.L == 1:
        return inner.whole
    return inner.whole and outer.dilation == 1 and (not adaptive or outer.whole)


def folded_pool(p: PoolProblem, lead: bool) -> tuple[PoolProblem, Fold]:
    """
    A pool on as few axes as there are: unit axes go, and an axis that all windows span joins the one before it.
    With `lead`, leading axes of windows of one element become channels.
    """
    p = evened(p)
    axes, places, C, count = pool_axes(p), [0, 1, 2], p.C, 1
    while lead and len(axes) > 1 and axes[0].same:
        count *= axes[0].L
        places[3 - len(axes)] = CHANNELS
        del axes[0]
    found = [axes[0]]
    groups = [1]
    for axis in axes[1:]:
        last = found[-1]
        if joins(last, axis, p.adaptive):
            found[-1] = last if axis.L == 1 else last.over(axis)
        elif last.L == 1 and last.whole:
            found[-1] = axis
        else:
            found.append(axis)
            groups.append(0)
        groups[-1] += 1
    first = 3 - len(found)
    at = [first + i for i, n in enumerate(groups) for _ in range(n)]
    places[3 - len(axes) :] = at
    unit = PoolAxis(L=1, kernel=1, stride=1, dilation=1, before=0, after=0, out=1)
    full = [unit] * first + found
    L, kernel, stride, dilation, before, after, out = (
        triple(values) for values in zip(*full, strict=True)
    )
    result = p._replace(
        C=C * count,
        size=L,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        before=before,
        after=after,
        out=out,
        lead=count,
    )
    if p.adaptive:
        result = result._replace(kernel=ONE, stride=ONE)
    return result, Fold(CHANNELS, *places)


def channels_as_rows(p: PoolProblem, fold: Fold) -> tuple[PoolProblem, Fold]:
    """Rows of their own as the rows of one plane: what an item has to do anyway, it does for many."""
    unit = p.size[:2] == p.kernel[:2] == p.out[:2] == (1, 1)
    if not unit or p.before[:2] != (0, 0) or p.adaptive:  # the one tap may lie in the padding
        return p, fold
    size, out = (1, p.C, p.size[2]), (1, p.C, p.out[2])
    return p._replace(C=1, lead=1, size=size, out=out), fold._replace(channels=1)


def adaptive(N: int, C: int, size: Three, out: Three) -> PoolProblem:
    return PoolProblem(
        N=N,
        C=C,
        size=size,
        kernel=ONE,
        stride=ONE,
        dilation=ONE,
        before=NONE,
        after=NONE,
        out=out,
        adaptive=True,
        include_pad=False,
    )
