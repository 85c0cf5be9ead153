"""Blocks of the kernel lanes, and where it repays: convolutions of many small groups on planes that it transposes."""

from __future__ import annotations

from .._problem import ConvProblem, triple, volume
from .direct import ROWS_CHANNELS, DirectPlan, Planned, kw_first, steps
from .machine import L1, L2, Kernel, Machine, ceil_div

ITEM = 2**16  # vectors of multiply-adds of an item
CHANNELS = 32  # of a group, at most
OUTS = 4  # output channels of the kernel's tile, at most


def lanes(p: ConvProblem, m: Machine) -> Planned | None:
    """The plan of one convolution, or None where it is not for this kernel."""
    # weights are vectors too: many channels repay them only where every lane has a group
    most = CHANNELS if p.G % m.lanes == 0 else CHANNELS // 2
    if not m.real or 0 in (p.N, *p.kernel, *p.out) or max(p.C, p.O) > most or not repays(p, m):
        return None
    plan = lane_blocks(p, m)
    if p.C * plan.channel * m.itemsize > L2 // 2:
        return None
    return Planned(Kernel.LANES, plan, f"{m.lanes} groups side by side in the lanes of a vector")


def repays(p: ConvProblem, m: Machine) -> bool:
    """Whether rows are short or planes small, by output columns and positions up to which this was faster as measured.

    What others lose grows with 1 / ow, for rows are filled one by one and end in partial vectors, and is more with a
    stride, which they de-interleave, and where rows does not share its loads (`direct.kw_first`)."""
    # few groups of many channels: a tile without lanes to spare takes less, as measured
    if p.G < max(2, m.lanes) and max(p.C, p.O) >= 2 * p.G:
        return False
    few = p.O <= ROWS_CHANNELS
    hard = p.stride[2] > 1 or (few and not (kw_first(p) and p.dilation[1] == 1))
    if few:
        columns, positions = (56, 320) if hard else (30, 400)
    else:
        columns, positions = (28, 196) if hard else (24 if m.wide else 30, 196)
    # lanes without a group are work for nothing; the wider an element, the fewer groups share a vector
    filled = p.G / (ceil_div(p.G, m.lanes) * m.lanes) * (4 / m.itemsize) ** 0.75
    return bool(p.out[2] <= columns * filled or volume(p.out) <= positions * filled)


def lane_blocks(p: ConvProblem, m: Machine) -> DirectPlan:
    """A box is some depths and rows of whole planes, summed a band of rows at a time."""
    step, ss, sd = steps(p)
    # columns are all kept: any stride reads whole vectors of groups
    step, ss, sd = (*step[:2], 1), (*ss[:2], p.stride[2]), (*sd[:2], p.dilation[2])
    od, oh, ow = p.out
    deep = min(od, 4 if p.kernel[0] > 1 else 1)
    work = p.C * p.O * volume(p.kernel) * deep * oh * ow
    high = ceil_div(oh, max(1, min(work // ITEM, oh // (4 * p.kernel[1]))))
    nz = (deep - 1) * ss[0] + (p.kernel[0] - 1) * sd[0] + 1
    nx = (ow - 1) * ss[2] + (p.kernel[2] - 1) * sd[2] + 1
    # a band and its sums fill L1
    row, sums = nx * p.C * nz * m.lanes * m.itemsize, min(p.O, OUTS) * ow * m.lanes * m.itemsize
    reach = (p.kernel[1] - 1) * sd[1] + 1 - ss[1]
    most = L1 // 4 * (5 if m.wide else 3)
    band = min(high, max(2, (most - reach * row) // (ss[1] * row + sums)))
    band = ceil_div(high, ceil_div(high, band))
    ny = (band - 1) * ss[1] + (p.kernel[1] - 1) * sd[1] + 1
    box = (deep, high, ow)
    return DirectPlan(
        step=step,
        ss=ss,
        sd=sd,
        apart=sd,
        box=box,
        boxes=triple(map(ceil_div, p.out, box)),
        slab=(nz, ny, nx),
        strands=1,
        row_strands=1,
        strand=nx,
        row_strand=0,
        row=nx * m.lanes,
        plane=ny * nx * m.lanes,
        channel=nz * ny * nx * m.lanes,
        c_block=p.C,
        t_block=volume(p.kernel),
        o_block=p.O,
        panels=0,
        panelled=False,
        flat=False,
        samples=1,
        sample=0,
        in_place=False,
        packed=False,
        kw_first=kw_first(p),
        phases=1,
        dense=0,
    )
