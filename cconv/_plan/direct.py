"""Blocks of direct convolution: the kernels gemm, rows and taps.

Blocks are sized for the caches: a panel of one k block for L1, slab, panels and a block of weights for L2.
"""

from __future__ import annotations

from math import ceil, gcd
from typing import NamedTuple

from .._problem import NONE, ONE, ConvProblem, Three, triple, volume
from .machine import L1, L2, SLAB_MOST, Kernel, Machine, ceil_div

ROWS_CHANNELS = 3
ROWS_TAPS = 4096  # of one k block of the rows kernel
SHARED_MOST = 96  # channels whose rows are read at once: as many pages
# Cycles, measured with AVX2 and AVX-512: filling a term of a panel, of whole rows and of pieces (narrow, wide vectors);
# writing or reading two vectors in pieces, a row of the tile; a row of the slab, and each of its vectors.
FILL_ROWS, FILL_PIECES = 4, (5, 8)
WRITE_PIECES = 25
COPY_ROW, COPY_VECTOR = 12, 5


class DirectPlan(NamedTuple):
    """ConvTiling of kernels/job.pxd."""

    step: Three
    ss: Three
    sd: Three
    apart: Three
    box: Three
    boxes: Three
    slab: Three
    strands: int
    row_strands: int
    strand: int
    row_strand: int
    row: int
    plane: int
    channel: int
    c_block: int
    t_block: int
    o_block: int
    panels: int
    panelled: bool
    flat: bool
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
    sd: Three  # of the slab, that of the problem is `apart`
    apart: Three
    box: Three
    size: Three  # depths, rows, columns of a strand
    strands: int
    stranded: bool  # strands of columns are planes, of strands of rows; else runs in a row
    c_block: int
    wanted: int

    @property
    def row_strands(self) -> int:
        return self.ss[1] if self.stranded else 1

    @property
    def row(self) -> int:
        return self.size[2] * (1 if self.stranded else self.strands)

    @property
    def row_strand(self) -> int:
        return ceil_div(self.size[1], self.row_strands) * self.row

    @property
    def strand(self) -> int:
        return self.row_strands * self.row_strand if self.stranded else self.size[2]

    @property
    def plane(self) -> int:
        return self.row_strands * self.row_strand * (self.strands if self.stranded else 1)

    @property
    def channel(self) -> int:
        return self.size[0] * self.plane


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


def gathered(p: ConvProblem, m: Machine, ss: Three, sd: Three, box: Three) -> Three:
    """The dilations of the slab: where one is longer than a box, only the rows that a tap touches are copied.

    Columns of bytes are not gathered: their units are filled from whole rows."""
    rows = [(b - 1) * s + 1 for b, s in zip(box, ss, strict=True)]
    if ss[2] > 1 or m.terms > 1:
        rows[2] = sd[2]
    return triple(min(d, r) if k > 1 else d for d, r, k in zip(sd, rows, p.kernel, strict=True))


def boxed_slab(
    p: ConvProblem, m: Machine, c_block: int, wanted: int, stranded: bool = False
) -> Slab:
    """The slab of a box of about `wanted` outputs; `stranded`: output rows neighbour in it."""
    step, ss, apart = steps(p)
    box = choose_box(p, m.lanes, wanted)
    sd = gathered(p, m, ss, apart, box)
    size, columns = slab_size(p, ss, sd, box)
    size = (*size[:2], size[2] - 1)
    return Slab(
        step=step,
        ss=ss,
        sd=sd,
        apart=apart,
        box=box,
        size=size,
        strands=columns,
        stranded=stranded,
        c_block=c_block,
        wanted=wanted,
    )


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


def gemm_blocks(p: ConvProblem, m: Machine) -> Blocks:
    taps, wanted = volume(p.kernel), 24 * m.panel
    # half of L1 for a panel, three quarters of as much where the tile is wide
    k_most = max(32, L1 // 4 * (3 if m.wide else 2) // (m.panel * m.itemsize))
    if taps >= k_most:
        return Blocks(1, ceil_div(taps, ceil_div(taps, 2 * k_most)), wanted)
    if volume(p.out) <= 2 * m.panel:
        # so few panels that sums would be read back more often than they pay: streamed from L2
        k_most = max(k_most, L2 // 2 // (ceil_div(volume(p.out), m.panel) * m.panel * m.itemsize))
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
    while True:
        slab = boxed_slab(p, m, c_block, wanted)
        size = c_block * slab.channel * m.itemsize
        if size <= L2 // 2:
            return slab
        if c_block > 1 and c_block * volume(p.kernel) > 48:
            c_block = ceil_div(c_block, 2)
        elif wanted > 2 * m.panel:
            wanted //= 2
        elif c_block > 1 and size > SLAB_MOST:
            c_block = ceil_div(c_block, 2)
        else:
            return slab


# ---------------------------------------------------------------- vectors in place


def unpanelled_slab(p: ConvProblem, m: Machine, flat: bool) -> Slab:
    """The slab of a k block: every channel if that fits L2, else so many that a block has 400 terms or more.

    Of few channels boxes are larger: rows that neighbours share are copied once."""
    room = L2 if m.wide else L2 // 2
    wanted = 24 * m.panel
    while wanted < 96 * m.panel and volume(p.out) > 16 * wanted:
        if p.C * boxed_slab(p, m, p.C, 2 * wanted, flat).channel * m.itemsize > L2 // 4:
            break
        wanted *= 2
    while True:
        slab = boxed_slab(p, m, p.C, wanted, flat)
        fits = room // max(1, slab.channel * m.itemsize)
        if fits >= min(p.C, ceil_div(400, volume(p.kernel))):
            blocks = ceil_div(p.C, min(p.C, fits))
            return slab._replace(c_block=ceil_div(p.C, blocks))
        wanted = wanted * 3 // 4
        if wanted < 4 * m.panel:
            return slab._replace(c_block=max(1, min(p.C, fits)))


def can_run_on(slab: Slab, p: ConvProblem) -> bool:
    """Whether output rows neighbour in the slab, from which vectors may run on then."""
    return slab.sd[1] == slab.apart[1] and slab.box[2] == p.out[2] and slab.box[1] > 1


def box_cycles(p: ConvProblem, m: Machine, slab: Slab, tiles: float) -> float:
    """Of every box: its tiles (a term of a row of one takes a cycle), and the slab of every channel."""
    rows = slab.channel / slab.size[2]
    copied = p.C * rows * (COPY_ROW + COPY_VECTOR * slab.size[2] / m.lanes)
    boxes = volume(triple(map(ceil_div, p.out, slab.box)))
    return boxes * (tiles * p.C * volume(p.kernel) + copied)


def unpanelled_cycles(p: ConvProblem, m: Machine, slab: Slab, flat: bool) -> float:
    depth, height, width = slab.box
    terms = p.C * volume(p.kernel)
    if flat:
        vectors = depth * ceil_div((height - 1) * slab.row + width, m.lanes)
        pieces = True
    else:
        vectors = depth * height * ceil_div(width, m.lanes)
        pieces = width < m.lanes or (slab.c_block < p.C and width % m.lanes > 0)
    blocks = 2 * ceil_div(p.C, slab.c_block) - 1  # times that sums are read or written
    written = (WRITE_PIECES if pieces else 2) * blocks / terms
    # an odd last vector is left to two tiles at once
    pairs = vectors / 2 if p.O > m.tile_rows else ceil_div(vectors, 2)
    tiles = pairs * p.O * (1 + written)
    return box_cycles(p, m, slab, tiles)


def panelled_cycles(p: ConvProblem, m: Machine, slab: Slab) -> float:
    """The same with panels, for a sample alone: the choice does not depend on the batch."""
    panels = ceil(2 * volume(slab.box) / m.panel) / 2  # the last may be half
    fill = FILL_PIECES[m.wide] if slab.box[2] % m.panel else FILL_ROWS
    return box_cycles(p, m, slab, panels * (1.05 * p.O + fill))


def unpanelled(p: ConvProblem, m: Machine, cycles: float) -> tuple[Slab, bool] | None:
    """The slab, and whether vectors run on, where that is cheaper than so many cycles with panels."""
    best = None
    for flat in (False, True):
        slab = unpanelled_slab(p, m, flat)
        fits = slab.c_block * slab.channel * m.itemsize <= SLAB_MOST
        if not fits or (flat and not can_run_on(slab, p)):
            continue
        here = unpanelled_cycles(p, m, slab, flat)
        if here < cycles:
            best, cycles = (slab, flat), here
    return best


# ---------------------------------------------------------------- plans


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
    # a few pointwise outputs share the loads of the tile, which are most of their time
    shared = p.kernel == ONE and p.O > 1 and 16 <= p.C <= SHARED_MOST
    rows, alone = p.O <= ROWS_CHANNELS and not shared, not tapless
    blocks = rows_blocks(p, m) if rows else gemm_blocks(p, m)
    slab = fit_slab(p, m, blocks.c, blocks.wanted)
    if slab.channel * m.itemsize > SLAB_MOST:
        slab = slab._replace(box=(1, 1, p.out[2]), size=NONE, c_block=1)
        reason = "the slab of one channel would not fit the workspace: taps straight from the input"
        return Planned(Kernel.TAPS, tiling(p, m, slab, 1), reason)
    if rows:
        reason = f"{p.O} output channels a group: rows of the slab are read in place"
        plan = tiling(p, m, slab, blocks.t)
        # one tap: the input's own rows, where none ends within a vector
        plan = plan._replace(in_place=whole_line(p) and alone and whole_vectors(p, m, slab))
        return Planned(Kernel.ROWS, plan, reason)
    reason = "implicit GEMM on the register tile"
    samples = samples_of(p, m, slab) if alone else 1
    if alone and m.real:  # integers are filled into panels, for the kernel's size
        found = unpanelled(p, m, panelled_cycles(p, m, slab))
        if found:
            plan = tiling(p, m, found[0], volume(p.kernel))._replace(flat=found[1])
            return Planned(Kernel.GEMM, plan, reason + ", its rows read in place")
    plan = tiling(p, m, slab, blocks.t)
    plan = plan._replace(
        channel=slab.channel * samples,
        panels=ceil_div(samples * volume(slab.box), m.panel),
        panelled=True,
        samples=samples,
        in_place=whole_line(p) and not tapless and samples == 1,
    )
    return Planned(Kernel.GEMM, plan, reason)


def tiling(p: ConvProblem, m: Machine, slab: Slab, t_block: int) -> DirectPlan:
    """The plan without panels, of one sample."""
    return DirectPlan(
        step=slab.step,
        ss=slab.ss,
        sd=slab.sd,
        apart=slab.apart,
        box=slab.box,
        boxes=triple(map(ceil_div, p.out, slab.box)),
        slab=slab.size,
        strands=slab.strands,
        row_strands=slab.row_strands,
        strand=slab.strand,
        row_strand=slab.row_strand,
        row=slab.row,
        plane=slab.plane,
        channel=slab.channel,
        c_block=slab.c_block,
        t_block=t_block,
        o_block=max(m.tile_rows, L2 // 4 // (max(1, slab.c_block * t_block) * m.itemsize)),
        panels=0,
        panelled=False,
        flat=False,
        samples=1,
        sample=slab.channel,
        in_place=False,
        packed=False,
        kw_first=kw_first(p),
        phases=1,
        dense=0,
    )
