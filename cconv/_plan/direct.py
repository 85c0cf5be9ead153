"""Blocks of direct convolution: the kernels gemm, rows and taps.

Blocks are sized for the caches: a panel of one k block for L1, slab, panels and a block of weights for L2.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from .._problem import NONE, ONE, ConvProblem, Three, triple, volume
from .machine import L1, L2, SLAB_MOST, Kernel, Machine, ceil_div

ROWS_CHANNELS = 3
ROWS_TAPS = 4096  # of one k block of the rows kernel
UNPANELLED_TERMS = 640
SHARED_MOST = 96  # channels whose rows are read at once: as many pages


class DirectPlan(NamedTuple):
    """ConvTiling of kernels/job.pxd."""

    step: Three
    ss: Three
    sd: Three
    box: Three
    boxes: Three
    slab: Three
    strands: int
    row: int
    plane: int
    channel: int
    c_block: int
    t_block: int
    o_block: int
    panels: int
    panelled: bool
    samples: int
    sample: int
    in_place: bool
    packed: bool
    kw_first: bool
    phases: int
    dense: int


class Planned(NamedTuple):
    kernel: Kernel
    plan: DirectPlan
    reason: str


class Slab(NamedTuple):
    """A box of about `wanted` outputs and what it reads of one channel."""

    step: Three
    ss: Three
    sd: Three
    box: Three
    size: Three  # depths, rows, columns of a strand
    strands: int
    channel: int
    c_block: int
    wanted: int


class Blocks(NamedTuple):
    """Terms of a k block, and outputs of a box to begin with."""

    c: int
    t: int
    wanted: int


def steps(p: ConvProblem) -> tuple[Three, Three, Three]:
    """Only every step-th row is ever read, so a slab keeps only those; stride and dilation shrink with it."""
    step = triple(
        s if k == 1 else gcd(s, d) for s, k, d in zip(p.stride, p.kernel, p.dilation, strict=True)
    )
    ss = triple(s // g for s, g in zip(p.stride, step, strict=True))
    sd = triple(d // g if k > 1 else 1 for d, g, k in zip(p.dilation, step, p.kernel, strict=True))
    return step, ss, sd


def slab_size(p: ConvProblem, ss: Three, sd: Three, box: Three) -> tuple[Three, int]:
    """(depths, rows, columns of a strand) that a box of outputs reads in one channel, and the strands."""
    span = [(b - 1) * s + (k - 1) * d + 1 for b, s, k, d in zip(box, ss, p.kernel, sd, strict=True)]
    return (span[0], span[1], box[2] + (p.kernel[2] - 1) * sd[2] // ss[2] + 1), ss[2]


def choose_box(p: ConvProblem, lanes: int, wanted: int) -> Three:
    """A box of about `wanted` outputs: whole rows if they are short, else a piece of a row in whole vectors."""
    od, oh, ow = p.out
    if ow > wanted:
        pieces = ceil_div(ow, wanted)
        width = min(ow, ceil_div(ceil_div(ow, pieces), 2 * lanes) * 2 * lanes)
    else:
        width = ow
    height = max(1, min(oh, wanted // width))
    if height < oh and height > 1:
        height = ceil_div(oh, ceil_div(oh, height))
    depth = max(1, min(od, wanted // (width * height))) if width == ow and height == oh else 1
    return depth, height, width


def kw_first(p: ConvProblem) -> bool:
    """Whether kw comes before kh in the order of summation: where rows shares its loads (tall boxes, small strides).

    Small boxes, other strides and k blocks follow, or the pieces of an image would not have the bits of the whole.
    """
    return p.O <= ROWS_CHANNELS and p.kernel[1] in (3, 5) and volume(p.kernel) <= ROWS_TAPS


def gemm_blocks(p: ConvProblem, m: Machine, unpanelled: bool) -> Blocks:
    taps, wanted = volume(p.kernel), 24 * m.panel
    if unpanelled:
        return Blocks(p.C, taps, wanted)
    # half of L1 for a panel, three quarters of as much where the tile is wide
    k_most = max(32, L1 // 4 * (3 if m.wide else 2) // (m.panel * m.itemsize))
    if taps >= k_most:
        return Blocks(1, ceil_div(taps, ceil_div(taps, 2 * k_most)), wanted)
    blocks = ceil_div(p.C * taps, k_most + k_most // 4)
    return Blocks(max(1, min(p.C, ceil_div(p.C, blocks))), max(1, taps), wanted)


def rows_blocks(p: ConvProblem, m: Machine) -> Blocks:
    """Taller boxes: rows shared by neighbouring outputs are copied once. The slab still fits L1 or L2."""
    taps = volume(p.kernel)
    c, t = max(1, min(p.C, ROWS_TAPS // max(1, taps))), max(1, min(taps, ROWS_TAPS))
    if t < taps:
        c = 1
    return Blocks(c, t, max(64 * m.lanes, min(4096, L1 // 2 // m.itemsize // c)))


def fit_slab(p: ConvProblem, m: Machine, c_block: int, wanted: int) -> Slab:
    """Fewer channels and smaller boxes until the slab fits half of L2, or at least SLAB_MOST."""
    step, ss, sd = steps(p)
    box = choose_box(p, m.lanes, wanted)
    while True:
        size, strands = slab_size(p, ss, sd, box)
        channel = volume(size) * strands
        if c_block * channel * m.itemsize <= L2 // 2:
            break
        if c_block > 1 and c_block * volume(p.kernel) > 48:
            c_block = ceil_div(c_block, 2)
        elif wanted > 2 * m.panel:
            wanted //= 2
            box = choose_box(p, m.lanes, wanted)
        elif c_block > 1 and c_block * channel * m.itemsize > SLAB_MOST:
            c_block = ceil_div(c_block, 2)
        else:
            break
    return Slab(
        step=step,
        ss=ss,
        sd=sd,
        box=box,
        size=size,
        strands=strands,
        channel=channel,
        c_block=c_block,
        wanted=wanted,
    )


def samples_of(p: ConvProblem, m: Machine, slab: Slab) -> int:
    """Small planes: one item has several samples, so that weights are read once for all of them."""
    if slab.box != p.out:
        return 1
    fits = L2 // 2 // max(1, slab.c_block * slab.channel * m.itemsize)
    return max(1, min(p.N, slab.wanted // volume(slab.box), fits))


def whole_line(p: ConvProblem) -> bool:
    """One tap on one spatial axis, unpadded and with stride 1: a panel can be filled from the input itself."""
    return (
        p.kernel == p.stride == ONE
        and p.before == NONE
        and p.size[:2] == (1, 1)
        and p.out == p.size
    )


def whole_vectors(p: ConvProblem, m: Machine, slab: Slab) -> bool:
    """Whether no row of a box, the last piece of one included, is narrower than a vector."""
    return (p.out[2] - 1) % slab.box[2] + 1 >= m.lanes <= slab.box[2]


def direct(p: ConvProblem, m: Machine) -> Planned:
    """The plan of one convolution."""
    tapless = 0 in p.kernel
    if tapless:  # a phase of a transposed convolution without taps: only the bias is written
        p = p._replace(kernel=ONE)
    terms = p.C * volume(p.kernel)
    # a few pointwise outputs share the loads of the tile, which are most of their time
    shared = p.kernel == ONE and p.O > 1 and 16 <= p.C <= SHARED_MOST
    rows = p.O <= ROWS_CHANNELS and not shared
    alone = not tapless
    # so few output channels do not repay panels: rows are read where they lie, the whole of K at a time
    unpanelled = alone and not rows and p.O <= 3 * m.tile_rows and terms <= UNPANELLED_TERMS
    blocks = rows_blocks(p, m) if rows else gemm_blocks(p, m, unpanelled)
    slab = fit_slab(p, m, blocks.c, blocks.wanted)
    if slab.channel * m.itemsize > SLAB_MOST:
        slab = slab._replace(box=(1, 1, p.out[2]), channel=0, c_block=1)
        reason = "the slab of one channel would not fit the workspace: taps straight from the input"
        return Planned(Kernel.TAPS, tiling(p, m, slab, 1, 1, False), reason)
    if rows:
        reason = f"{p.O} output channels a group: rows of the slab are read in place"
        plan = tiling(p, m, slab, blocks.t, 1, False)
        # one tap: the input's own rows, where none ends within a vector
        plan = plan._replace(in_place=whole_line(p) and alone and whole_vectors(p, m, slab))
        return Planned(Kernel.ROWS, plan, reason)
    # a row narrower than a vector, the last piece of one included, needs panels
    unpanelled = unpanelled and slab.c_block == p.C and whole_vectors(p, m, slab)
    samples = samples_of(p, m, slab) if alone and not unpanelled else 1
    plan = tiling(p, m, slab, blocks.t, samples, not unpanelled)
    reason = "implicit GEMM on the register tile" + ", its rows read in place" * unpanelled
    in_place = whole_line(p) and not tapless and samples == 1
    return Planned(Kernel.GEMM, plan._replace(in_place=in_place), reason)


def tiling(
    p: ConvProblem, m: Machine, slab: Slab, t_block: int, samples: int, panelled: bool
) -> DirectPlan:
    nz, ny, nx = slab.size
    return DirectPlan(
        step=slab.step,
        ss=slab.ss,
        sd=slab.sd,
        box=slab.box,
        boxes=triple(map(ceil_div, p.out, slab.box)),
        slab=slab.size,
        strands=slab.strands,
        row=nx * slab.strands,
        plane=ny * nx * slab.strands,
        channel=slab.channel * samples,
        c_block=slab.c_block,
        t_block=t_block,
        o_block=max(m.tile_rows, L2 // 4 // (max(1, slab.c_block * t_block) * m.itemsize)),
        panels=ceil_div(samples * volume(slab.box), m.panel) if panelled else 0,
        panelled=panelled,
        samples=samples,
        sample=slab.channel,
        in_place=False,
        packed=False,
        kw_first=kw_first(p),
        phases=1,
        dense=0,
    )
