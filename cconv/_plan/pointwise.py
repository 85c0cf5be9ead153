"""Pointwise convolutions of few positions, which would not fill panels: where the kernels inner and turned serve.

Costs are cycles of one sample, roughly; none depends on the batch.
"""

from __future__ import annotations

from .._problem import NONE, ONE, ConvProblem, volume
from .direct import DirectPlan, Slab, tiling
from .machine import L1, L2, Kernel, Machine, WeightUse, ceil_div

INNER_MOST = 64  # positions of one item of inner, as many as the kernel has room for
COPIED_MOST = 8 * 2**20  # bytes of a plane that may have to be copied
PACKED_MOST = 8 * 2**20  # bytes of weights that a call packs for itself
PACKING = 1.0  # cycles to pack a float32
TURNED_MOST = 512  # positions of one item of turned, whose sums lie in L1 or L2


def half_panels(n: int, m: Machine) -> int:
    """Vectors that n lanes take, where the last panel may be half full."""
    full, rest = divmod(n, m.panel)
    return 2 * full + (0 if rest == 0 else 1 if rest <= m.lanes else 2)


def inner_cycles(p: ConvProblem, m: Machine) -> float:
    """Dot products: a vector of terms takes half a cycle; adding up and writing a sum some more."""
    return p.O * volume(p.out) * (p.C / m.lanes / 2 * 1.1 + 7)


def turned_cycles(p: ConvProblem, m: Machine, use: WeightUse) -> float:
    """Lanes along output channels; a tile of few rows waits for its own sums. In a call, weights are packed first."""
    positions = volume(p.out)
    cost = half_panels(p.O, m) * (p.C * max(positions, 4) / 2 + 7 * positions)
    if p.C * positions * m.itemsize > COPIED_MOST:
        return float("inf")
    if use is WeightUse.KEPT:
        return cost
    if p.G * p.O * p.C * m.itemsize > PACKED_MOST:
        return float("inf")
    return cost + PACKING * m.itemsize / 4 * p.C * p.O / use.samples


def panel_cycles(p: ConvProblem, m: Machine) -> float:
    """The implicit GEMM, which fills panels with the input first."""
    return half_panels(volume(p.out), m) * (p.C * p.O / 2 + 4 * p.C)


def pointwise(
    p: ConvProblem, m: Machine, use: WeightUse, one_chain: bool
) -> tuple[Kernel, DirectPlan, str] | None:
    """The plan of a 1x1 convolution by the kernel that is faster than gemm, if one is.

    Under `one_chain` a sum is one chain of terms, which inner deals to lanes."""
    last = ((o - 1) * s for o, s in zip(p.out, p.stride, strict=True))
    inside = p.before == NONE and all(i < L for i, L in zip(last, p.size, strict=True))
    positions = volume(p.out)
    if (
        not m.real
        or p.kernel != ONE
        or not inside
        or not 0 < positions <= TURNED_MOST
        or p.C < 4 * m.lanes
    ):
        return None
    found, least = None, 0.95 * panel_cycles(p, m)
    if positions <= INNER_MOST and not one_chain and inner_cycles(p, m) < least:
        found, least = Kernel.INNER, inner_cycles(p, m)
    if positions > 1 and turned_cycles(p, m, use) < 0.97 * least:
        found = Kernel.TURNED
    if found is Kernel.INNER:
        reason = f"{positions} positions a plane: dot products along {p.C} channels"
        return found, inner(p, m), reason
    if found is Kernel.TURNED:
        return found, turned(p, m), f"{positions} positions a plane: lanes along output channels"
    return None


def whole_plane(p: ConvProblem, m: Machine, channel: int, c_block: int) -> DirectPlan:
    """One item takes a whole plane."""
    rows = Slab(
        step=ONE, ss=ONE, sd=ONE, apart=ONE, box=p.out, size=ONE, strands=1, stranded=False, c_block=c_block,
        wanted=1,
    )  # fmt: skip
    return tiling(p, m, rows, 1)._replace(channel=channel, sample=channel)


def inner(p: ConvProblem, m: Machine) -> DirectPlan:
    """Rows of weights of one k block for a tile stay in L1, the positions' rows in L2."""
    c = min(p.C, L1 // 8 // m.itemsize)
    c = ceil_div(ceil_div(p.C, ceil_div(p.C, c)), m.lanes) * m.lanes
    while 0 < p.C % c < m.lanes:  # the last k block has a vector too
        c -= m.lanes
    samples = max(1, min(p.N, INNER_MOST // volume(p.out)))
    row = c + 64 // m.itemsize  # not all in the same cache sets
    return whole_plane(p, m, row, c)._replace(samples=samples)


def turned(p: ConvProblem, m: Machine) -> DirectPlan:
    """A panel of one k block stays in L1, what an item reads of the input in L2."""
    blocks = ceil_div(p.C * m.panel * m.itemsize, L2 // 16)
    fits = L2 // 2 // (p.C * volume(p.out) * m.itemsize)
    samples = max(1, min(p.N, fits, TURNED_MOST // volume(p.out)))
    line = p.stride == ONE and p.size == p.out and p.size[:2] == (1, 1)
    plan = whole_plane(p, m, 0, ceil_div(p.C, blocks))
    return plan._replace(samples=samples, in_place=line)
