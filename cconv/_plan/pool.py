"""Blocks of pools and of their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .._problem import (
    NONE,
    UNFOLDED,
    Fold,
    PoolProblem,
    Three,
    channels_as_rows,
    folded_pool,
    triple,
    volume,
)
from .machine import L1, L2, Kernel, Machine, ceil_div

PAIRS_MOST = 16  # rows of a window
PLANES_ITEM = 64 * 1024  # bytes of the small planes of one item of a gradient
ROW = 2**19  # values of a row of inputs or results, at most: longer ones are cut, or not folded
RUN_LEAST = 6  # elements of runs that pay
RUNS_ITEM = 128 * 1024  # bytes of windows of one item
# estimated cycles: to turn a vector of lanes, of its step; of a row's step, of a row, of a window at an edge
LANE_TURN, LANE_STEP, ROW_STEP, ROW_CALL, EDGE = 6, 2, 3, 20, 12
ROW_KEPT = 2**15  # elements of a row that is summed
WIDE_WINDOW = 512  # terms in a row from which a float32 average accumulates in float64
KEPT_MOST = 8 * L2  # bytes of reduced rows


class PoolPlan(NamedTuple):
    """PoolTiling of kernels/job.pxd."""

    rows: int
    blocks: int
    depths: int
    doubled: Three
    kept: bool
    tapped: bool
    wide: bool


class PoolGradPlan(NamedTuple):
    """PoolGradTiling of kernels/job.pxd."""

    rows: int
    blocks: int
    outs: int
    planes: int
    pairs: bool
    doubled: bool
    apart: bool


class PoolChoice(NamedTuple):
    """The kernel of a pool, and the pool as that sees it."""

    kernel: Kernel
    problem: PoolProblem
    fold: Fold
    plan: PoolPlan
    reason: str


def window_span(p: PoolProblem) -> int:
    """Input rows that a window spans."""
    return (p.kernel[1] - 1) * p.dilation[1] + 1


def most_rows(p: PoolProblem, axis: int, rows: int) -> int:
    """The most input rows that `rows` neighbouring windows of an axis reach."""
    L, out = p.size[axis], p.out[axis]
    if p.adaptive:
        return min(L, ceil_div(rows * L, max(1, out)) + 1)
    return max(1, min(L, (rows - 1) * p.stride[axis] + (p.kernel[axis] - 1) * p.dilation[axis] + 1))


def doubles(k: int, s: int, axis: int) -> bool:
    """Whether windows are so large and overlap so much that doubling takes fewer steps than their taps."""
    return axis > 0 and k >= 4 and k > s * (k.bit_length() + 1) and (axis == 1 or s == 1)


def wide(kernel: Three, stride: Three) -> bool:
    """Whether a float32 average has so many terms in a row, not summed by doubling, that it needs float64."""
    terms = 1
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True)):
        terms *= k.bit_length() if doubles(k, s, axis) else k
    return terms >= WIDE_WINDOW


def choose_pool(p: PoolProblem, m: Machine, indexed: bool, average: bool) -> PoolChoice:
    """The kernel of a pool, by its geometry; nothing but the batch is left out of it."""
    q, fold = folded_pool(p, lead=True)
    if not indexed and in_runs(q, m):
        wide = average and m.dtype == "float32" and terms(q) >= WIDE_WINDOW
        return PoolChoice(
            Kernel.POOL_RUNS,
            q,
            fold,
            runs_plan(q, m, wide),
            "windows that hardly overlap, run by run",
        )
    if lanes_pay(q, m, average):
        return PoolChoice(
            Kernel.POOL_LANES,
            q,
            fold,
            lanes_plan(q, m, indexed),
            "planes side by side, a lane each",
        )
    q, fold = bounded(p, *folded_pool(p, lead=False))
    if not indexed:
        q, fold = channels_as_rows(q, fold)
    return PoolChoice(Kernel.POOL, q, fold, *pool_plan(q, m, indexed))


def bounded(p: PoolProblem, q: PoolProblem, fold: Fold) -> tuple[PoolProblem, Fold]:
    """The folded pool q, or p itself where rows of q would be too long for a workspace."""
    return (q, fold) if max(q.size[2], q.out[2]) <= ROW else (p, UNFOLDED)


def terms(p: PoolProblem) -> int:
    """Elements of a window."""
    if p.adaptive:
        return volume(triple(ceil_div(L, max(1, o)) for L, o in zip(p.size, p.out, strict=True)))
    return volume(p.kernel)


def in_runs(p: PoolProblem, m: Machine) -> bool:
    """Whether windows hardly overlap, and their runs fill half a vector."""
    if p.adaptive:
        return p.size[2] >= p.out[2] * max(RUN_LEAST, m.lanes // 2)
    apart = all(k <= s or o == 1 for k, s, o in zip(p.kernel, p.stride, p.out, strict=True))
    return apart and p.dilation[2] == 1 and p.kernel[2] >= max(RUN_LEAST, m.lanes // 2)


def reduces(p: PoolProblem) -> bool:
    """Whether an average is summed in float64 by its kernel, on any machine."""
    q, _ = folded_pool(p, lead=True)
    return terms(q) >= WIDE_WINDOW and in_runs(q, Machine("float32", 4, 16, 1, ""))


def runs_plan(p: PoolProblem, m: Machine, wide: bool) -> PoolPlan:
    rows = max(1, RUNS_ITEM // (m.itemsize * max(1, terms(p))))
    several = (p.adaptive and p.size[:2] != p.out[:2]) or p.kernel[:2] != (1, 1)
    kept = several and not wide and p.size[2] <= ROW_KEPT
    if kept:
        row = max(1, p.out[2])
        rows = ceil_div(rows, row) * row
    elif rows > m.lanes:
        rows = rows // m.lanes * m.lanes
    return PoolPlan(rows, 1, 1, NONE, kept=kept, tapped=False, wide=wide)


def doubling(p: PoolProblem) -> bool:
    return not p.adaptive and any(doubles(p.kernel[a], p.stride[a], a) for a in (1, 2))


def lanes_pay(p: PoolProblem, m: Machine, average: bool) -> bool:
    """Whether planes side by side take less time than rows: estimates of cycles a plane."""
    # by doubling, sums are other ones
    if m.lanes == 1 or (average and doubling(p)) or lanes_bytes(p, m, 1, 1) > 2 * L2:
        return False
    D, H, W = p.size
    od, oh, ow = p.out
    kd, kh, kw = (
        (ceil_div(L, max(1, o)) for L, o in zip(p.size, p.out, strict=True))
        if p.adaptive
        else p.kernel
    )
    turned = LANE_TURN * (D * H * W + od * oh * ow)
    steps = D * H * ow * kw + D * oh * ow * kh + (od * oh * ow * kd if kd > 1 else 0)
    lanes = (turned + LANE_STEP * steps) * again(p, *lanes_block(p, m, False)) / min(m.lanes, p.C)
    vectors = ceil_div(ow, m.lanes)
    if not p.adaptive:
        kh, kw = (
            k.bit_length() if doubles(k, p.stride[a], a) else k for a, k in ((1, kh), (2, kw))
        )
    direct = not p.adaptive and 2 <= kw <= 3 and p.stride[2] <= 2
    if p.adaptive:
        row = 5 * ow * kw
    elif direct and ow >= m.lanes:
        row = ROW_STEP * kw * vectors
    elif direct:
        row = EDGE * ow
    else:
        row = (W if p.stride[2] > 2 else 0) + ROW_STEP * (kw + 1) * vectors
    rows = D * H * (ROW_CALL + row) + (D * oh if kd > 1 else od * oh) * (
        ROW_CALL + ROW_STEP * kh * vectors
    )
    return lanes < rows


def lanes_bytes(p: PoolProblem, m: Machine, rows: int, depths: int) -> int:
    """What is kept of an item: input rows, reduced rows, levels and results."""
    levels = most_rows(p, 0, depths) * rows if p.kernel[0] > 1 or p.adaptive else 0
    kept = (most_rows(p, 1, rows) + levels + rows) * p.out[2] + p.size[2]
    return kept * m.lanes * m.itemsize


def halvings(n: int) -> Iterator[int]:
    while n > 1:
        yield n
        n = ceil_div(n, 2)
    yield 1


def again(p: PoolProblem, rows: int, depths: int) -> float:
    """How often an input row is reduced, with items of so many rows and depths."""
    outs = (depths, 0), (rows, 1)
    return math.prod(most_rows(p, a, n) * max(1, p.out[a]) / (n * p.size[a]) for n, a in outs)


def blocked(p: PoolProblem, size: Callable[[int, int], int]) -> tuple[int, int]:
    """Output rows and depths of an item, so that what they share is hardly computed twice and stays in L2."""
    deep = p.kernel[0] > 1 or p.adaptive
    found = [
        (again(p, rows, depths), -depths, -rows)
        for depths in (halvings(max(1, p.out[0])) if deep else (1,))
        for rows in halvings(max(1, p.out[1]))
        if size(rows, depths) <= L2 // 2
    ]
    _, depths, rows = min(found, default=(0, -1, -1))
    return -rows, -depths


def lanes_block(p: PoolProblem, m: Machine, indexed: bool) -> tuple[int, int]:
    return blocked(p, lambda rows, depths: (1 + indexed) * lanes_bytes(p, m, rows, depths))


def lanes_plan(p: PoolProblem, m: Machine, indexed: bool) -> PoolPlan:
    rows, depths = lanes_block(p, m, indexed)
    return PoolPlan(
        rows, ceil_div(p.out[1], rows), depths, NONE, kept=True, tapped=False, wide=False
    )


def pool_plan(p: PoolProblem, m: Machine, indexed: bool) -> tuple[PoolPlan, str]:
    """Rows of one item, so that the reduced rows that they share are computed once and stay in L2."""
    if indexed:
        return indexed_plan(p)
    along = int(not p.adaptive and doubles(p.kernel[2], p.stride[2], 2))
    row = (p.out[2] + 2 * m.lanes) * m.itemsize
    if not p.adaptive and doubles(p.kernel[1], p.stride[1], 1):
        found = pool_doubled(p, row, along)
        if found:
            return found

    def size(rows: int, depths: int) -> int:
        levels = most_rows(p, 0, depths) * rows if p.kernel[0] > 1 or p.adaptive else 0
        return (most_rows(p, 1, rows) + levels) * row

    rows, depths = blocked(p, size)
    doubled = (0, 0, along)
    if size(rows, depths) > KEPT_MOST:
        plan = PoolPlan(1, p.out[1], 1, doubled, kept=False, tapped=False, wide=False)
        return plan, "rows reduced again for every window"
    plan = PoolPlan(
        rows, ceil_div(p.out[1], rows), depths, doubled, kept=True, tapped=False, wide=False
    )
    return plan, "separable: along the rows, then down"


def indexed_plan(p: PoolProblem) -> tuple[PoolPlan, str]:
    taps = volume(p.kernel)
    if p.adaptive or taps >= 2**31:
        plan = PoolPlan(1, p.out[1], 1, NONE, kept=False, tapped=False, wide=False)
        return plan, "window by window, for the indices"
    # an item is not interrupted: rows for some milliseconds
    rows = max(1, min(p.out[1], 2**23 // max(1, p.out[2] * taps)))
    plan = PoolPlan(rows, ceil_div(p.out[1], rows), 1, NONE, kept=False, tapped=True, wide=False)
    return plan, "tap by tap, with the number of the best"


def pool_doubled(p: PoolProblem, row: int, along: int) -> tuple[PoolPlan, str] | None:
    """Doubling down the rows, or None where an item's rows would be too many to keep."""

    def size(rows: int) -> int:
        # whole windows, padding included, and the sums beside them
        return ((rows - 1) * p.stride[1] + window_span(p) + rows) * row

    rows = p.out[1]
    while rows > 4 and size(rows) > L2 // 2 and 2 * rows > window_span(p) // 4:
        rows = ceil_div(rows, 2)
    if size(rows) > KEPT_MOST:
        return None
    plan = PoolPlan(
        rows, ceil_div(p.out[1], rows), 1, (0, 1, along), kept=True, tapped=False, wide=False
    )
    return plan, "separable, by doubling: steps grow with the logarithm of the window"


def windows_apart(p: PoolProblem) -> bool:
    """Whether no input lies in two windows, and all that a window spans is in it."""
    return not p.adaptive and all(
        d == 1 and b == 0 and (k <= s or o == 1)
        for k, s, d, b, o in zip(p.kernel, p.stride, p.dilation, p.before, p.out, strict=True)
    )


def in_pairs(p: PoolProblem, m: Machine) -> bool:
    """Whether maxima of such windows are found and their gradients written in one go: windows inside the input."""
    inside = all(
        (o - 1) * s + k <= L for L, k, s, o in zip(p.size, p.kernel, p.stride, p.out, strict=True)
    )
    short = p.kernel[2] == 2 and p.stride[2] == 2 and p.kernel[0] * p.kernel[1] <= PAIRS_MOST
    return inside and short and p.out[2] >= m.lanes and windows_apart(p)


def pool_grad(p: PoolProblem, m: Machine, maximum: bool, indexed: bool) -> PoolGradPlan:
    """Input rows of one item of a pool's gradient."""
    H, W = p.size[1:]
    several = max(1, PLANES_ITEM // (m.itemsize * volume(p.size)))
    if maximum and indexed:
        return PoolGradPlan(H, 1, 0, several, pairs=False, doubled=False, apart=False)
    if maximum and in_pairs(p, m):
        rows = max(1, min(p.out[1], L1 // (m.itemsize * p.kernel[0] * p.stride[1] * W)))
        return PoolGradPlan(
            rows, ceil_div(p.out[1], rows), 0, 1, pairs=False, doubled=False, apart=True
        )
    if not maximum:
        rows = max(1, min(H, L1 // 2 // (m.itemsize * W)))
        # rows that one window row fills are copied
        rows = min(H, ceil_div(rows, p.stride[1]) * p.stride[1])
        apart = windows_apart(p)
        if apart and several > 1:
            return PoolGradPlan(H, 1, 0, several, pairs=False, doubled=False, apart=True)
        return PoolGradPlan(rows, ceil_div(H, rows), 0, 1, pairs=False, doubled=False, apart=apart)
    return searched(p, m)


def searched(p: PoolProblem, m: Machine) -> PoolGradPlan:
    """The same of maxima that are looked for."""
    H = p.size[1]
    planes = p.N * p.C
    # the windows of rows between two items are searched twice, so items are some windows high
    blocks = 1
    if planes < 8 and p.size[0] == 1:
        blocks = max(1, min(ceil_div(16, max(1, planes)), H // (4 * window_span(p))))
    rows = ceil_div(H, blocks)
    row = 2 * (p.out[2] + 2 * m.lanes) * m.itemsize
    outs = max(1, p.out[1])

    def kept(outs: int) -> int:
        return p.kernel[0] * ((outs - 1) * p.stride[1] + window_span(p)) * row

    while outs > 1 and kept(outs) > L2 // 2 and 2 * outs * p.stride[1] > window_span(p):
        outs = ceil_div(outs, 2)
    return PoolGradPlan(
        rows,
        ceil_div(H, rows),
        outs,
        1,
        pairs=p.kernel[0] == 1 and doubles(p.kernel[1], p.stride[1], 1),
        doubled=doubles(p.kernel[2], p.stride[2], 2),
        apart=False,
    )
