"""Blocks of pools and of their gradients."""

from __future__ import annotations

from typing import NamedTuple

from .._problem import NONE, PoolProblem, Three, volume
from .machine import L1, L2, Machine, ceil_div

WIDE_WINDOW = 512  # terms in a row from which a float32 average accumulates in float64
KEPT_MOST = 8 * L2  # bytes of reduced rows


class PoolPlan(NamedTuple):
    """PoolTiling of kernels/job.pxd."""

    rows: int
    blocks: int
    doubled: Three
    kept: bool
    tapped: bool


class PoolGradPlan(NamedTuple):
    """PoolGradTiling of kernels/job.pxd."""

    rows: int
    blocks: int
    outs: int
    pairs: bool
    doubled: bool


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

    def size(rows: int) -> int:
        return most_rows(p, 0, 1) * most_rows(p, 1, rows) * row

    rows = max(1, p.out[1])
    while rows > 1 and size(rows) > L2 // 2:
        rows = ceil_div(rows, 2)
    if size(rows) > KEPT_MOST:
        plan = PoolPlan(1, p.out[1], (0, 0, along), kept=False, tapped=False)
        return plan, "rows reduced again for every window"
    plan = PoolPlan(rows, ceil_div(p.out[1], rows), (0, 0, along), kept=True, tapped=False)
    return plan, "separable: along the rows, then down"


def indexed_plan(p: PoolProblem) -> tuple[PoolPlan, str]:
    taps = volume(p.kernel)
    if p.adaptive or taps >= 2**31:
        plan = PoolPlan(1, p.out[1], NONE, kept=False, tapped=False)
        return plan, "window by window, for the indices"
    # an item is not interrupted: rows for some milliseconds
    rows = max(1, min(p.out[1], 2**23 // max(1, p.out[2] * taps)))
    plan = PoolPlan(rows, ceil_div(p.out[1], rows), NONE, kept=False, tapped=True)
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
    plan = PoolPlan(rows, ceil_div(p.out[1], rows), (0, 1, along), kept=True, tapped=False)
    return plan, "separable, by doubling: steps grow with the logarithm of the window"


def pool_grad(p: PoolProblem, m: Machine, maximum: bool) -> PoolGradPlan:
    """Input rows of one item of a pool's gradient."""
    H, W = p.size[1:]
    if not maximum:
        rows = max(1, min(H, L1 // 2 // (m.itemsize * W)))
        # rows that one window row fills are copied
        rows = min(H, ceil_div(rows, p.stride[1]) * p.stride[1])
        return PoolGradPlan(rows, ceil_div(H, rows), 0, pairs=False, doubled=False)
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
        pairs=p.kernel[0] == 1 and doubles(p.kernel[1], p.stride[1], 1),
        doubled=doubles(p.kernel[2], p.stride[2], 2),
    )
