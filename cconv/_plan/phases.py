"""Blocks of the kernel phases: a transposed convolution as one product, whose rows are output channels and phases.

Position q of an axis stands for s neighbouring outputs, its phases: output q*s + f - crop collects of input q + j the
tap t with t*dilation = f + shift - j*s, where shift = before - crop. Any crop below the stride serves. With
before % s phases have the same inputs as far as they can, with 0 positions are fewest; which is better is counted here.
"""

from __future__ import annotations

from itertools import product
from math import gcd
from typing import NamedTuple

from .._problem import NONE, ONE, ConvProblem, Three, triple, volume
from ..kernels.job import PadMode
from .direct import DirectPlan, Slab, choose_box, fit_slab, samples_of, tiling
from .machine import L1, L2, SLAB_MOST, Machine, ceil_div

FILL = 2  # a vector of a panel costs as much as so many multiply-adds of vectors
SUMS_MOST = 2**20  # bytes of the sums of one output channel over a panel
PANEL_MOST = 2**22  # bytes of one channel's part of a panel
LISTS_MOST = 8192  # as in the kernel
BLOCK_ROWS = 16  # tiles of a block of output channels
UNPANELLED_ROWS = 2  # tiles of rows up to which panels are not repaid


class PhasesPlan(NamedTuple):
    """PhasesTiling of kernels/job.pxd."""

    stride: Three
    kernel: Three
    dilation: Three
    shift: Three
    crop: Three
    out: Three
    groups: int
    held: int


class Phased(NamedTuple):
    """One transposed convolution: what its positions read, as a convolution of stride 1, and its phases."""

    problem: ConvProblem
    slab: DirectPlan
    up: PhasesPlan
    reason: str


class PhasedAxis(NamedTuple):
    """One axis for one crop."""

    stride: int
    shift: int
    crop: int
    positions: int
    first: int  # the lowest j, the step between those that are read, and their number
    gap: int
    inputs: int
    kinds: tuple[tuple[int, int], ...]  # (phases, taps) of those that read the same inputs


def axis_options(L: int, k: int, s: int, d: int, before: int, out: int) -> list[PhasedAxis]:
    """The ways to deal an axis to positions and phases."""
    if L == 1 and before == 0 and out > d * (k - 1):
        s = out  # a single input: all of its outputs are one position, whatever the stride
    if s > out:
        return []
    return [phased_axis(k, s, d, before, out, crop) for crop in sorted({0, before % s})]


def phased_axis(k: int, s: int, d: int, before: int, out: int, crop: int) -> PhasedAxis:
    shift = before - crop
    phases: dict[int, list[int]] = {}
    for t in range(k):
        f = (t * d - shift) % s
        phases.setdefault(f, []).append((f + shift - t * d) // s)
    read = sorted({j for each in phases.values() for j in each})
    gap = gcd(*(j - read[0] for j in read)) or 1
    kinds: dict[tuple[int, int], int] = {}
    for each in phases.values():
        key = each[-1], len(each)
        kinds[key] = kinds.get(key, 0) + 1
    return PhasedAxis(
        stride=s,
        shift=shift,
        crop=crop,
        positions=ceil_div(out + crop, s),
        first=read[0],
        gap=gap,
        inputs=(read[-1] - read[0]) // gap + 1,
        kinds=tuple((count, taps) for (_, taps), count in kinds.items()),
    )


def cost(axes: tuple[PhasedAxis, ...], O: int, m: Machine) -> int:
    """Multiply-adds of vectors for one input channel, about, the panels' filling among them."""
    positions = inputs = 1
    for each in axes:
        positions *= each.positions
        inputs *= each.inputs
    products = 0
    for kinds in product(*(each.kinds for each in axes)):
        rows, taps = O, 1
        for count, n in kinds:
            rows, taps = rows * count, taps * n
        products += taps * max(rows, 3)
    return ceil_div(positions, m.lanes) * (products + FILL * inputs)


def phased(whole: ConvProblem, before: Three, out: Three, m: Machine) -> Phased | None:
    """The plan of a transposed convolution (as in `_problem.transposed_phases`); None where the kernel cannot."""
    if 0 in (whole.N, whole.G, whole.C, whole.O, *whole.kernel, *whole.size, *out):
        return None
    sides = zip(whole.size, whole.kernel, whole.stride, whole.dilation, before, out, strict=True)
    options = list(product(*(axis_options(*side) for side in sides)))
    if not options:
        return None
    axes = min(options, key=lambda each: cost(each, whole.O, m))
    stride = triple(each.stride for each in axes)
    kernel = triple(each.inputs for each in axes)
    if (
        stride == ONE
        or volume(stride) * m.panel * m.itemsize > SUMS_MOST
        or volume(kernel) * m.panel * m.itemsize > PANEL_MOST
        or any(each.inputs > 2 * k for each, k in zip(axes, whole.kernel, strict=True))
    ):
        return None
    problem = whole._replace(
        kernel=kernel,
        stride=ONE,
        dilation=triple(each.gap for each in axes),
        before=triple(-each.first for each in axes),
        out=triple(each.positions for each in axes),
        mode=PadMode.PAD_ZEROS,
    )
    groups = len(axes[0].kinds) * len(axes[1].kinds) * len(axes[2].kinds)
    up = PhasesPlan(
        stride=stride,
        kernel=whole.kernel,
        dilation=whole.dilation,
        shift=triple(each.shift for each in axes),
        crop=triple(each.crop for each in axes),
        out=out,
        groups=groups,
        held=1,
    )
    if lists(up) > LISTS_MOST:
        return None
    return blocks(problem, up, m)


def lists(up: PhasesPlan) -> int:
    """Numbers that the kernel lists, of each phase, tap and group."""
    return 4 * sum(up.stride) + 2 * volume(up.stride) + 2 * volume(up.kernel) + 6 * up.groups


def blocks(p: ConvProblem, up: PhasesPlan, m: Machine) -> Phased | None:
    """Boxes, k blocks and blocks of output channels: sums, slab and panels are to fit L2."""
    count, taps = volume(up.stride), volume(p.kernel)
    rows, alone = p.O * count, p.kernel == ONE and p.before == NONE and p.out == p.size
    few = rows <= UNPANELLED_ROWS * m.tile_rows and p.out[2] >= m.lanes
    k_most = max(32, L1 // 4 * (3 if m.wide else 2) // (m.panel * m.itemsize))
    c_block = ceil_div(p.C, max(1, ceil_div(p.C * taps, k_most + k_most // 4)))
    # sums: of all output channels if a box can have some panels then, else of so many as repay the panels
    sums = (L1 if few else L2 // 2) // m.itemsize
    held = min(rows, max(count, sums // (4 * m.panel)))
    wanted = max(m.panel, min(24 * m.panel, sums // held // m.panel * m.panel))
    if few:
        c_block = p.C
    if alone:
        box = choose_box(p, m.lanes, wanted)
        slab = Slab(
            step=ONE,
            ss=ONE,
            sd=ONE,
            apart=ONE,
            box=box,
            size=NONE,  # the input itself is read
            strands=1,
            stranded=False,
            c_block=c_block,
            wanted=wanted,
        )
    else:
        slab = fit_slab(p, m, c_block, wanted)
    few = few and slab.c_block == p.C
    few = few and (p.out[2] - 1) % slab.box[2] + 1 >= m.lanes <= slab.box[2]
    if slab.channel * m.itemsize > SLAB_MOST:
        return None
    samples = 1 if few else samples_of(p, m, slab)
    plan = tiling(p, m, slab, taps)
    plan = plan._replace(
        channel=slab.channel * samples,
        panels=0 if few else ceil_div(samples * volume(slab.box), m.panel),
        panelled=not few,
        samples=samples,
    )
    positions = max(m.panel, ceil_div(samples * volume(slab.box), m.panel) * m.panel)
    block = ceil_div(p.O, ceil_div(p.O * count, BLOCK_ROWS * m.tile_rows))
    most = max(1, sums // (count * block * positions))
    plan = plan._replace(
        o_block=block,
        in_place=alone,
        packed=True,
        kw_first=False,
        phases=count,
        # one line more than whole panels, so that rows do not fall into the same cache sets
        dense=positions + 64 // m.itemsize,
    )
    up = up._replace(held=min(most, ceil_div(p.O, block)))
    reason = f"{count} interleaved phases as rows of one implicit GEMM"
    return Phased(p, plan, up, reason + ", inputs read in place" * few)
