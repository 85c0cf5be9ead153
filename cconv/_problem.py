"""The sizes of one operation as plain integers, always with three spatial axes, and the output-size formulas.

Letters: N batch, G groups, C / O input / output channels of one group, L input length, k kernel, s stride, d dilation,
p padding (before, after). 1-D and 2-D problems are 3-D ones with unit axes in front.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

Three = tuple[int, int, int]
INTERLEAVED_MOST = 64
LIMIT = 2**62  # every size and product of sizes stays below: no integer in a kernel can overflow
MODES = ("zeros", "reflect", "replicate", "circular")


class ConvProblem(NamedTuple):
    """One convolution (cross-correlation). `before` may be negative: it crops."""

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
    mode: int


class Part(NamedTuple):
    """One of the dense stride-1 convolutions that a transposed or a dilated convolution consists of."""

    problem: ConvProblem
    first: Three  # its first output and the step between its outputs, in those of the whole
    step: Three
    x_first: Three = (0, 0, 0)  # the same of its inputs
    x_step: Three = (1, 1, 1)
    taps: tuple[range, range, range] | None = (
        None  # kernel positions that it uses; None: all, not reversed
    )


class PoolProblem(NamedTuple):
    """One pooling. Adaptive windows, [floor(i L / out), ceil((i+1) L / out)), use neither kernel nor stride."""

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


def conv(N, G, C, O, size, kernel, stride, dilation, before, after, mode) -> ConvProblem:
    out = tuple(
        conv_size(L, k, s, d, b, a)
        for L, k, s, d, b, a in zip(size, kernel, stride, dilation, before, after, strict=True)
    )
    return normal(ConvProblem(N, G, C, O, size, kernel, stride, dilation, before, out, mode))


def normal(p: ConvProblem) -> ConvProblem:
    """A stride that is never taken and the dilation of a single tap become 1: absurd values cannot overflow."""
    return p._replace(
        stride=tuple(1 if o == 1 else s for o, s in zip(p.out, p.stride, strict=True)),
        dilation=tuple(1 if k == 1 else d for k, d in zip(p.kernel, p.dilation, strict=True)),
    )


def flattened(p: ConvProblem) -> ConvProblem | None:
    """An unpadded 1x1 convolution of stride 1 sees no space: one long axis instead of D, H and W, else None."""
    one = (1, 1, 1)
    if p.kernel != one or p.stride != one or p.before != (0, 0, 0) or p.out != p.size:
        return None
    line = (1, 1, p.size[0] * p.size[1] * p.size[2])
    return p._replace(size=line, out=line)


def interleaved(p: ConvProblem) -> list[Part]:
    """A dilated stride-1 convolution with zero padding as d undilated ones an axis, on every d-th input.

    Outputs r, r + d, ... read the inputs r - before + d*(j + k): every d-th one from e = (r - before) mod d.
    More than INTERLEAVED_MOST are not worth it, and not listed: none.
    """
    parts: list[Part] = []
    first, second, third = (min(d, out) for d, out in zip(p.dilation, p.out, strict=True))
    if first * second * third > INTERLEAVED_MOST:
        return parts
    axes = []
    for L, d, before, out in zip(p.size, p.dilation, p.before, p.out, strict=True):
        axis = []
        for r in range(min(d, out)):
            f, e = divmod(r - before, d)
            axis.append((r, len(range(r, out, d)), e, max(0, -(-(L - e) // d)), -f))
        axes.append(axis)
    for z in axes[0]:
        for y in axes[1]:
            for x in axes[2]:
                first, out, x_first, size, before = zip(z, y, x, strict=True)
                sub = p._replace(size=size, out=out, before=before, dilation=(1, 1, 1))
                parts.append(Part(sub, first, p.dilation, x_first, p.dilation))
    return parts


def axis_phases(L: int, k: int, s: int, d: int, before: int, out: int):
    """The phases of one axis of a transposed convolution: (first output, step, outputs, taps, dilation, padding).

    Output o collects input i and tap t with i*s + t*d - before = o. For o = r - before (mod s) only the taps with
    t*d = r (mod s) count: t = t0, t0 + s/g, ... with g = gcd(s, d), if g divides r; the input index falls by d/g from
    one such tap to the next, so the phase is a stride-1 convolution with the taps reversed.
    """
    g = gcd(s, d)
    for r in range(min(s, out)):
        # outputs o = first, first + s, ... share the residue (o + before) mod s
        first = r
        count = len(range(first, out, s))
        residue = (first + before) % s
        start = next((t for t in range(min(k, s // g)) if t * d % s == residue), k)
        taps = range(start, k, s // g)
        if not taps:
            yield first, s, count, taps, 1, 0
            continue
        # the first output reads input (first + before - t*d)/s at tap t; reversed, its first tap is the last t
        lowest = (first + before - taps[-1] * d) // s
        yield first, s, count, taps, (d // g if len(taps) > 1 else 1), -lowest


def transposed_phases(p: ConvProblem, before: Three, out: Three) -> list[Part]:
    """p gives N, G, C, O (of the transposed operation), size, kernel, stride and dilation."""
    axes = [
        list(axis_phases(L, k, s, d, b, o))
        for L, k, s, d, b, o in zip(
            p.size, p.kernel, p.stride, p.dilation, before, out, strict=True
        )
    ]
    phases = []
    for z in axes[0]:
        for y in axes[1]:
            for x in axes[2]:
                first, step, count, taps, dilation, pad = zip(z, y, x, strict=True)
                kernel = tuple(len(t) for t in taps)
                if 0 in kernel:
                    kernel = (0, 0, 0)
                problem = ConvProblem(
                    p.N, p.G, p.C, p.O, p.size, kernel, (1, 1, 1), dilation, pad, count, 0
                )
                phases.append(Part(problem, first, step, taps=taps))
    return phases


def pool(
    N, C, size, kernel, stride, dilation, before, after, ceil_mode, include_pad
) -> PoolProblem:
    axes = list(zip(size, kernel, stride, dilation, before, after, strict=True))
    out = tuple(pool_size(*axis, ceil_mode) for axis in axes)
    stride = tuple(1 if o == 1 else s for o, s in zip(out, stride, strict=True))
    # with ceil_mode a window may be far larger than the padded input, which its first taps cover
    kernel = tuple(
        min(k, (L + b + a - 1) // d + 1)
        for L, k, d, b, a in zip(size, kernel, dilation, before, after, strict=True)
    )
    dilation = tuple(1 if k == 1 else d for k, d in zip(kernel, dilation, strict=True))
    return PoolProblem(N, C, size, kernel, stride, dilation, before, after, out, False, include_pad)


def adaptive(N: int, C: int, size: Three, out: Three) -> PoolProblem:
    one, none = (1, 1, 1), (0, 0, 0)
    return PoolProblem(N, C, size, one, one, one, none, none, out, True, False)
