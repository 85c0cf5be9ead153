"""GradBlocks of a convolution's weight gradient, whose sum runs over the positions of all samples."""

from __future__ import annotations

from typing import NamedTuple

from .._problem import NONE, ONE, ConvProblem, Three, triple, volume
from .direct import DirectPlan, choose_box, slab_size, steps
from .machine import L1, L2, SLAB_MOST, Kernel, Machine, ceil_div

CHUNKS_MOST = 8 * 2**20  # bytes of all chunks' sums


class WeightGradPlan(NamedTuple):
    """WeightGradTiling of kernels/job.pxd."""

    by_lanes: bool
    across: bool
    in_place: bool
    swapped: bool
    chunks: int
    c_blocks: int
    o_blocks: int
    run: int


class GradPlanned(NamedTuple):
    kernel: Kernel
    problem: (
        ConvProblem  # input and output channels in each other's place where the plan is swapped
    )
    slab: DirectPlan
    plan: WeightGradPlan
    reason: str


class Form(NamedTuple):
    by_lanes: bool
    across: bool
    in_place: bool
    swapped: bool


class GradBlocks(NamedTuple):
    box: Three
    size: Three  # of the slab: depths, rows, columns of a strand
    strands: int
    sample: int
    channel: int
    samples: int
    c_block: int
    o_block: int


def vectors_filled(p: ConvProblem, m: Machine) -> tuple[bool, bool]:
    """(by lanes, across): which form wastes less of its vectors; of dot products, whether they run across rows."""
    _, ss, sd = steps(p)
    row = p.out[2] + (p.kernel[2] - 1) * sd[2]
    along = p.out[2] / (ceil_div(p.out[2], m.lanes) * m.lanes)
    across = ss[1] == ss[2] == 1 and p.out[2] / row > along
    dots = 0.75 * (p.out[2] / row if across else along)
    longest = max(p.C, *p.kernel)  # an axis whose taps or channels fill tiles
    by_lanes = p.O / (ceil_div(p.O, m.lanes) * m.lanes) * (1.0 if longest > 2 else 0.5)
    return by_lanes >= dots, across and by_lanes < dots


def form_of(p: ConvProblem, m: Machine) -> tuple[ConvProblem, Form]:
    """The form, and the problem with its channels in each other's place where the shorter side is then transposed."""
    by_lanes, across = vectors_filled(p, m)
    pointwise = p.kernel == p.stride == ONE and p.before == NONE and p.out == p.size
    swapped = pointwise and p.O > p.C >= m.lanes
    if swapped:
        p, by_lanes, across = p._replace(C=p.O, O=p.C), True, False
    inside = all(
        b == 0 and (o - 1) * s + (k - 1) * d < L
        for b, o, s, k, d, L in zip(
            p.before, p.out, p.stride, p.kernel, p.dilation, p.size, strict=True
        )
    )
    return p, Form(by_lanes, across, by_lanes and inside, swapped)


def positions_wanted(p: ConvProblem, m: Machine, form: Form) -> int:
    """A panel of gradients and the rows of a tile share L1."""
    wanted = (36 if m.wide else 16) * 1024 // (m.panel * m.itemsize)
    if not form.by_lanes:
        wanted = max(wanted, L1 // 2 // m.itemsize // (min(p.O, 4) + min(p.C, 4)))
    return max(m.panel, wanted)


def sums_width(m: Machine, form: Form, o_block: int) -> int:
    """Elements of the sums of one row."""
    return ceil_div(o_block, m.panel) * m.panel if form.by_lanes else o_block * m.lanes


def outputs_of(p: ConvProblem, m: Machine, form: Form, positions: int) -> int:
    """Output channels of a block, whose transposed gradients stay in half of L2; blocks of equal size."""
    block = p.O
    if form.by_lanes:
        block = min(p.O, max(m.panel, L2 // 2 // (positions * m.itemsize) // m.panel * m.panel))
    return min(p.O, ceil_div(ceil_div(p.O, ceil_div(p.O, block)), m.panel) * m.panel)


def fit(p: ConvProblem, m: Machine, form: Form) -> GradBlocks:
    """Fewer channels, samples and positions until the slab fits half of L2, or at least SLAB_MOST."""
    _, ss, sd = steps(p)
    line = 64 // m.itemsize
    wanted = positions_wanted(p, m, form)
    box = choose_box(p, m.lanes, wanted)
    samples = max(1, min(p.N, wanted // volume(box))) if box == p.out else 1
    o_block = outputs_of(p, m, form, samples * volume(box))
    # enough rows to repay the transposed gradients, few enough that their sums stay in L2
    terms = sums_width(m, form, o_block) * volume(p.kernel)
    c_block = max(1, min(p.C, 3 * L2 // 2 // m.itemsize // terms))
    while True:
        size, strands = slab_size(p, ss, sd, box)
        sample = volume(size) * strands
        # an odd number of cache lines, so that channels do not fall into the same cache sets
        channel = (ceil_div(samples * sample, line) | 1) * line
        if c_block * channel * m.itemsize <= (SLAB_MOST // 4 if form.in_place else L2 // 2):
            break
        if c_block > m.tile_rows:
            c_block = ceil_div(c_block, 2)
        elif samples > 1:
            samples = ceil_div(samples, 2)
        elif wanted > 2 * m.panel:
            wanted //= 2
            box = choose_box(p, m.lanes, wanted)
        elif c_block > 1 and c_block * channel * m.itemsize > SLAB_MOST:
            c_block = ceil_div(c_block, 2)
        else:
            break
    return GradBlocks(
        box=box,
        size=size,
        strands=strands,
        sample=sample,
        channel=channel,
        samples=samples,
        c_block=c_block,
        o_block=o_block,
    )


def chunk_count(p: ConvProblem, m: Machine, items: int, boxes: int) -> int:
    """Chunks of the sum give threads work where the weights are few; their number depends on the sizes alone."""
    weights = p.G * p.O * p.C * volume(p.kernel)
    terms = p.N * volume(p.out)
    work, most = weights * terms, CHUNKS_MOST // (weights * m.itemsize)
    chunks = 1
    if items < 8:
        # up to 16 items; more than 4 only where adding their sums costs little beside the sums
        chunks = max(ceil_div(4, items), min(ceil_div(16, items), terms // (50 * m.panel)))
        chunks = max(1, min(chunks, boxes, most, work // 2**21))
    # a chunk is not interrupted: it should not take 0.2 s
    return max(chunks, min(boxes, work // items // 2**30, most))


def weight_grad(p: ConvProblem, m: Machine) -> GradPlanned:
    taps = volume(p.kernel)
    p, form = form_of(p, m)
    blocks = fit(p, m, form)
    width = sums_width(m, form, blocks.o_block)
    kernel = Kernel.WEIGHT_GRAD
    reason = "outer products" if form.by_lanes else "dot products"
    if max(blocks.channel + taps, width * taps) * m.itemsize > SLAB_MOST:
        kernel, reason = Kernel.WEIGHT_TAPS, "weight by weight, straight from the input"
        blocks = blocks._replace(box=p.out, channel=0, c_block=1, samples=1, o_block=p.O)
    blocks = blocks._replace(c_block=ceil_div(p.C, ceil_div(p.C, blocks.c_block)))
    c_blocks, o_blocks = ceil_div(p.C, blocks.c_block), ceil_div(p.O, blocks.o_block)
    slab = slab_of(p, blocks)
    chunks = 1
    if kernel is Kernel.WEIGHT_GRAD:
        boxes = ceil_div(p.N, blocks.samples) * volume(slab.boxes)
        chunks = chunk_count(p, m, p.G * c_blocks * o_blocks, boxes)
    run = blocks.box[1] * blocks.size[2] if form.across else blocks.box[2]
    run = ceil_div(run, m.lanes) * m.lanes
    plan = WeightGradPlan(
        **form._asdict(), chunks=chunks, c_blocks=c_blocks, o_blocks=o_blocks, run=run
    )
    return GradPlanned(kernel, p, slab, plan, reason)


def slab_of(p: ConvProblem, blocks: GradBlocks) -> DirectPlan:
    step, ss, sd = steps(p)
    nz, ny, nx = blocks.size
    return DirectPlan(
        step=step,
        ss=ss,
        sd=sd,
        apart=sd,
        box=blocks.box,
        boxes=triple(map(ceil_div, p.out, blocks.box)),
        slab=blocks.size,
        strands=blocks.strands,
        row_strands=1,
        strand=nx,
        row_strand=0,
        row=nx * blocks.strands,
        plane=ny * nx * blocks.strands,
        channel=blocks.channel,
        c_block=blocks.c_block,
        t_block=volume(p.kernel),
        o_block=blocks.o_block,
        panels=0,
        panelled=False,
        flat=False,
        samples=blocks.samples,
        sample=blocks.sample,
        in_place=False,
        packed=False,
        kw_first=False,
        phases=1,
        dense=0,
    )
