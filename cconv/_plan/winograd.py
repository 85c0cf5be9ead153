"""Blocks and cost of Winograd's convolution (Lavin and Gray, 2016), F(4) with patches of 6 or F(2) with patches of 4.

F(4) needs TERMS channels times taps along D: fewer would break the promise that no default algorithm has more than 4
times the rms error of sequential summation. F(2) has less error than that.
"""

from __future__ import annotations

from typing import NamedTuple

from .._problem import ONE, ConvProblem, Part
from .cost import direct_cycles, weight_cycles
from .direct import ROWS_CHANNELS
from .machine import Machine, WeightUse, ceil_div

TERMS = 32
BLOCK = 2**20
PAYS = 0.95  # of direct convolution's cost: it is the one with less error
WEIGHTS_MOST = 24 * 2**20  # bytes of transformed weights that a call without prepack may hold


class WinogradPlan(NamedTuple):
    """WinogradTiling of kernels/job.pxd."""

    patch: int
    high: int
    patches: tuple[int, int]
    panels: int
    blocks: int
    plane: int


def positions(patch: int, rows: int) -> int:
    """Transformed positions of a patch: both axes, or one if the kernel has one row."""
    return patch * patch if rows == 3 else patch


def plane(terms: int, channels: int) -> int:
    """Elements of one position of a group's transformed weights: an odd number of cache lines."""
    return (ceil_div(terms * channels, 16) | 1) * 16


def fits(p: ConvProblem, patch: int, m: Machine, use: WeightUse) -> bool:
    """Whether the Winograd kernel can compute this at all, with the promised error and memory."""
    terms = p.C * p.kernel[0]
    weights = positions(patch, p.kernel[1]) * plane(terms, p.O)
    return (
        p.kernel[2] == 3
        and p.kernel[1] in (1, 3)
        and p.stride == ONE
        and p.dilation == ONE
        and 0 not in p.size
        and (patch == 4 or terms >= TERMS)
        and 36 * 32 * m.itemsize * (terms + p.O) <= WEIGHTS_MOST
        and (use is WeightUse.KEPT or m.itemsize * p.G * weights <= WEIGHTS_MOST)
    )


def cycles(p: ConvProblem, patch: int, m: Machine, use: WeightUse) -> float:
    """Cycles of one sample, roughly: 2 vectors of multiply-adds a cycle; transforms as measured."""
    f, terms, places = patch - 2, p.C * p.kernel[0], positions(patch, p.kernel[1])
    high = f if p.kernel[1] == 3 else 1
    vectors = ceil_div(p.out[0] * ceil_div(p.out[1], high) * ceil_div(p.out[2], f), m.lanes)
    blocks = winograd(p._replace(N=1), patch, m).blocks
    tiles = m.rates.tile * places * terms * p.O
    around = m.rates.gather * terms + m.rates.scatter * p.O
    cost = vectors * (tiles + places * around)
    cost += weight_cycles(places * plane(terms, p.O), m, blocks)
    if use is not WeightUse.KEPT:
        cost += m.rates.filters * (5 + 0.2 * places) * terms * p.O * m.itemsize / 4 / use.samples
    return cost


def apart_cycles(parts: list[Part], m: Machine, use: WeightUse, real: Machine) -> float:
    """The undilated parts of a dilated convolution, whose rows are gathered apart; the patches are those of `real`."""
    rates = m.rates._replace(gather=m.rates.apart)
    total = 0.0
    for part in parts:
        patch = best_patch(part.problem, real, use, True)
        total += cycles(part.problem, patch, m._replace(rates=rates), use)
    return total


def interleaving_pays(p: ConvProblem, parts: list[Part], m: Machine, use: WeightUse) -> bool:
    """Whether a dilated convolution is faster as the undilated ones that it interleaves."""
    return apart_cycles(parts, m, use, m) < PAYS * direct_cycles(p, m)


def best_patch(p: ConvProblem, m: Machine, use: WeightUse, forced: bool) -> int:
    """The patch that is fastest by the cost model: 6 for F(4), 4 for F(2), 0 where direct convolution is."""
    if not forced and p.O <= ROWS_CHANNELS:
        return 0
    best, patch = (float("inf") if forced else PAYS * direct_cycles(p, m)), 0
    for candidate in (6, 4):
        if fits(p, candidate, m, use):
            cost = cycles(p, candidate, m, use)
            if cost < best:
                best, patch = cost, candidate
    return patch


def winograd(p: ConvProblem, patch: int, m: Machine) -> WinogradPlan:
    """Panels of patches an item: transformed input and products of about BLOCK bytes."""
    f, terms = patch - 2, p.C * p.kernel[0]
    square = p.kernel[1] == 3
    patches = ceil_div(p.out[1], f if square else 1), ceil_div(p.out[2], f)
    total = max(1, ceil_div(p.N * p.out[0] * patches[0] * patches[1], m.panel))
    each = positions(patch, p.kernel[1]) * m.panel * m.itemsize * (terms + p.O)
    blocks = ceil_div(total, max(1, min(8, BLOCK // each)))
    return WinogradPlan(
        patch=patch,
        high=patch if square else 1,
        patches=patches,
        panels=ceil_div(total, blocks),
        blocks=blocks,
        plane=plane(terms, p.O),
    )


def winograd_reason(p: ConvProblem, patch: int) -> str:
    f, rows = patch - 2, p.kernel[1]
    high = f if rows == 3 else 1
    return (
        f"Winograd F({high}x{f}, {rows}x3): {positions(patch, rows)} products a patch "
        f"for {high * f * rows * 3}"
    )
