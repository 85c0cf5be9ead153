"""Blocks and cost of Winograd's convolution (Lavin and Gray, 2016): F(4,3) and F(2,5) with patches of six
points, F(2,3) with patches of four.

Patches of six points need some channels times taps along D: fewer would break the promise that no default algorithm has
more than 4 times the rms error of sequential summation. F(2,3) has less error than that.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from .._problem import ONE, ConvProblem, Part
from .cost import direct_cycles, weight_cycles
from .direct import ROWS_CHANNELS
from .machine import L2, Machine, WeightUse, ceil_div

# channels times taps along D from which patches of six points keep the promise, by taps and the axes they run along
TERMS = {(3, 1): 8, (3, 2): 32, (5, 1): 8, (5, 2): 8}
BLOCK = 2**20
PAYS = 0.95  # of direct convolution's cost: it is the one with less error
HELD = (
    12 * 1024
)  # bytes of two tiles' transformed weights of a row of points: with what they are made from, in L1
WEIGHTS_MOST = 24 * 2**20  # bytes of transformed weights that a call without prepack may hold


class WinogradPlan(NamedTuple):
    """WinogradTiling of kernels/job.pxd."""

    patch: int
    high: int
    patches: tuple[int, int]
    panels: int
    blocks: int
    plane: int
    fused: bool
    at_once: int


class Grid(NamedTuple):
    """Patches of so many points along each axis."""

    high: int
    wide: int
    outs: tuple[int, int]  # outputs of a patch along H and W

    @property
    def positions(self) -> int:
        return self.high * self.wide


def grid(p: ConvProblem, points: int) -> Grid:
    """Points along the axes that have taps, 1 along the other."""
    high, wide = (points if k > 1 else 1 for k in p.kernel[1:])
    return Grid(high, wide, (high - p.kernel[1] + 1, wide - p.kernel[2] + 1))


def padded_plane(count: int) -> int:
    """Elements of one position of so many transformed weights: an odd number of cache lines.

    The last vector of a tile of few rows runs on, by up to 15 elements, and must not reach the next position."""
    return (ceil_div(count + 15, 16) | 1) * 16


def fits(p: ConvProblem, points: int, m: Machine) -> bool:
    """Whether the Winograd kernel can compute this at all, with the promised error and memory."""
    terms, taps = p.C * p.kernel[0], max(p.kernel[1:])
    return (
        min(p.kernel[1:]) in (1, taps)
        and (taps == 3 or (taps == 5 and points == 6))
        and (points == 6 or p.kernel[2] == 3)
        and p.stride == ONE
        and p.dilation == ONE
        and 0 not in p.size
        and (points == 4 or terms >= TERMS[taps, 1 if 1 in p.kernel[1:] else 2])
        and 36 * 32 * m.itemsize * (terms + p.O) <= WEIGHTS_MOST
    )


def pack_cycles(p: ConvProblem, points: int, m: Machine) -> float:
    """Cycles to write the transformed weights of a group to memory."""
    size = p.C * p.kernel[0] * p.O * grid(p, points).positions * m.itemsize
    return size * (m.rates.write_far if size > L2 else m.rates.write_near)


def transform_cycles(p: ConvProblem, points: int, m: Machine) -> float:
    """Cycles to transform the weights of a group, which stay in L1."""
    each = 5 * grid(p, points).positions + 9 * p.kernel[1] * p.kernel[2]
    vectors = ceil_div(p.O, m.tile_rows) * ceil_div(m.tile_rows, m.lanes)
    return p.C * p.kernel[0] * vectors * each * m.rates.filters


def cycles(
    p: ConvProblem, points: int, m: Machine, use: WeightUse, real: Machine | None = None
) -> float:
    """Cycles of one sample of a group; its plan is that of the machine `real`, if other rates are asked."""
    terms, shape = p.C * p.kernel[0], grid(p, points)
    places = shape.positions
    vectors = ceil_div(
        p.out[0] * ceil_div(p.out[1], shape.outs[0]) * ceil_div(p.out[2], shape.outs[1]), m.lanes
    )
    around = m.rates.gather * terms + m.rates.scatter * p.O
    cost = vectors * places * (m.rates.tile * terms * p.O + around)
    plan = winograd(p._replace(N=use.samples), points, real or m, use)
    each = plan.blocks / use.samples
    if plan.fused:
        return cost + each * transform_cycles(p, points, m)
    cost += weight_cycles(places * padded_plane(terms * p.O), m, each)
    if use is not WeightUse.KEPT:
        cost += (transform_cycles(p, points, m) + pack_cycles(p, points, m)) / use.samples
    return cost


def apart_cycles(parts: list[Part], m: Machine, use: WeightUse, real: Machine) -> float:
    """The undilated parts of a dilated convolution, whose rows are gathered apart; the patches are those of `real`."""
    apart = m._replace(rates=m.rates._replace(gather=m.rates.apart))
    total = 0.0
    for p, count in Counter(part.problem for part in parts).items():
        total += count * cycles(p, best_patch(p, real, use, True), apart, use, real)
    return total


def interleaving_pays(p: ConvProblem, parts: list[Part], m: Machine, use: WeightUse) -> bool:
    """Whether a dilated convolution is faster as the undilated ones that it interleaves."""
    return apart_cycles(parts, m, use, m) < PAYS * direct_cycles(p, m)


def best_patch(p: ConvProblem, m: Machine, use: WeightUse, forced: bool) -> int:
    """The points of a patch that are fastest by the cost model, 6 or 4; 0 where direct convolution is."""
    if max(p.kernel[1:]) not in (3, 5) or (not forced and p.O <= ROWS_CHANNELS):
        return 0
    best, points = (float("inf") if forced else PAYS * direct_cycles(p, m)), 0
    for candidate in (6, 4):
        if fits(p, candidate, m):
            cost = cycles(p, candidate, m, use)
            if cost < best:
                best, points = cost, candidate
    return points


def winograd(p: ConvProblem, points: int, m: Machine, use: WeightUse) -> WinogradPlan:
    """Panels of patches an item: transformed input and products of about BLOCK bytes.

    Whether weights are packed is no choice of bits, so it may depend on the batch.
    """
    shape, terms = grid(p, points), p.C * p.kernel[0]
    places = shape.positions
    patches = ceil_div(p.out[1], shape.outs[0]), ceil_div(p.out[2], shape.outs[1])
    total = max(1, ceil_div(p.N * p.out[0] * patches[0] * patches[1], m.panel))
    at_once, plane = p.C, padded_plane(terms * p.O)
    each = places * m.panel * m.itemsize
    fused = use is not WeightUse.KEPT
    if fused:
        held = 2 * min(m.tile_rows, p.O)
        at_once = max(1, min(p.C, HELD // (shape.wide * held * m.itemsize * p.kernel[0]) // 8 * 8))
        blocks = ceil_div(total, max(1, min(8, BLOCK // (each * (at_once * p.kernel[0] + p.O)))))
        packed = transform_cycles(p, points, m) + pack_cycles(p, points, m)
        fused = blocks * transform_cycles(p, points, m) <= packed or (
            m.itemsize * p.G * places * plane > WEIGHTS_MOST
        )
    if fused:
        plane = padded_plane(held * at_once * p.kernel[0])
    else:
        at_once = p.C
        blocks = ceil_div(total, max(1, min(8, BLOCK // (each * (terms + p.O)))))
    return WinogradPlan(
        patch=shape.wide,
        high=shape.high,
        patches=patches,
        panels=ceil_div(total, blocks),
        blocks=blocks,
        plane=plane,
        fused=fused,
        at_once=at_once,
    )


def winograd_reason(p: ConvProblem, points: int) -> str:
    shape, (rows, columns) = grid(p, points), p.kernel[1:]
    high, wide = shape.outs
    return (
        f"Winograd F({high}x{wide}, {rows}x{columns}): {shape.positions} products a patch "
        f"for {high * wide * rows * columns}"
    )
