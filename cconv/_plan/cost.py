"""What a direct convolution takes, in cycles, by its plan and the machine's rates: for choices between algorithms."""

from __future__ import annotations

from functools import lru_cache

from .._problem import ConvProblem, volume
from .direct import DirectPlan, direct
from .machine import L2, Kernel, Machine, ceil_div


def weight_cycles(elements: int, m: Machine, reads: float) -> float:
    """Cycles to read weights so many times: from L3 what does not fit L2."""
    size = elements * m.itemsize
    return size * reads * (m.rates.far if size > L2 else m.rates.near)


def box_vectors(p: ConvProblem, plan: DirectPlan, m: Machine) -> tuple[float, bool]:
    """Vectors of sums of one sample's box, and whether they are in pieces of rows."""
    depth, height, width = plan.box
    if plan.panelled:
        # the last panel may be half
        panels = ceil_div(2 * plan.samples * volume(plan.box), m.panel) / 2
        return 2 * panels / plan.samples, bool(width % m.panel)
    if plan.flat:
        vectors, pieces = ceil_div((height - 1) * plan.row + width, m.lanes), True
    else:
        vectors, pieces = height * ceil_div(width, m.lanes), width < m.lanes
    return 2.0 * ceil_div(depth * vectors, 2), pieces


@lru_cache(256)
def direct_cycles(p: ConvProblem, m: Machine) -> float:
    """Cycles of one sample of one group."""
    kernel, plan, _ = direct(p._replace(N=1), m)
    boxes, rates, terms = volume(plan.boxes), m.rates, p.C * volume(p.kernel)
    vectors, pieces = box_vectors(p, plan, m)
    if kernel is not Kernel.GEMM:
        return boxes * volume(plan.box) / m.lanes * terms * p.O * rates.rows
    cost = vectors * terms * p.O * rates.tile
    cost += vectors * p.O * (rates.store_pieces if pieces else rates.store)
    if not plan.panelled:
        cost += vectors * terms * rates.read
    else:
        cost += vectors * terms * (rates.panel_pieces if pieces else rates.panel)
    if not plan.in_place:
        cost += p.C * plan.sample / m.lanes * rates.slab
    return boxes * cost + weight_cycles(terms * p.O, m, boxes)
