# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Transposed convolutions of one element type and one instruction set.

    y[n, o, i*s + t*d - p] = bias[o] + sum over c and all i, t that meet there of w[c, o, t] * x[n, c, i]

with an index i, t, o an axis. Letters: N batch, G groups, C / O input / output channels of one group, s stride, d dilation,
p padding. Along an axis, s neighbouring outputs are the phases f of one position q:

    y[o, q*s + f - crop] = bias[o] + sum over c and the taps t of phase f of w[c, o, t] * x[c, q + (f + shift - t*d) / s]

So all phases of all output channels are rows of one product whose columns are positions, and the input is copied once
for all of them. Phases that read the same inputs form a group: its rows fill the register tile. One item is a box of
positions; for it, a block of output channels after the other and in these a block of input channels (a k block) after
the other,
  1. the inputs are laid into panels (gemm.pxd), by way of the slab (slab.pxd) or, where one input a position is all that
     is read, from where they lie; rows of the slab are read in place where rows of the product are few;
  2. the tiles of each group are summed to rows of sums, of each phase of each output channel;
  3. interleave.pxd writes them.

Each output is one chain of multiply-adds in the order c, then inputs as they lie: the same bits for any thread, batch,
strides and size of input that has the same crop.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from cconv.kernels.box cimport Box, find_box
from cconv.kernels.gemm cimport Block, fill_panels
from cconv.kernels.groups cimport Axis, Group, Groups, list_groups, lists_size, taps_up
from cconv.kernels.interleave cimport Merge, fill_sums, merge_row
from cconv.kernels.items cimport lines, up
from cconv.kernels.job cimport ConvJob, KernelTable
from cconv.kernels.simd cimport MR, NR, VL, load, real, set1, store, vec
from cconv.kernels.slab cimport fill_box
from cconv.kernels.tile cimport tile_row


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING


cdef enum:
    LISTS_MOST = 8192               # numbers of lists that the stack has room for, as in _plan/phases.py


# ---------------------------------------------------------------- weights

cdef struct Work:
    ConvJob *job
    Box box
    char *lists
    Groups all
    Py_ssize_t positions
    bint panelled
    Py_ssize_t o0, channels         # the block of output channels
    Py_ssize_t c0, c1               # the k block
    Py_ssize_t *off                 # of each term: from a position, in slab, panel or input
    Py_ssize_t *rows                # of each row of a group: where its sums lie
    real *start                     # and what they start from
    real *slab
    real *panels
    real *sums
    const real *from_               # where rows are read in place
    Py_ssize_t hop[3]               # its strides: D, H, channels
    const real *w


cdef void deal(ConvJob *job, Groups *all, Py_ssize_t *space) noexcept nogil:
    list_groups(job, all, space)


cdef Py_ssize_t blocks_of(const ConvJob *job) noexcept nogil:
    return up(job.p.O, job.t.o_block)


cdef void pack_channel(const Work *work, const Group *group, const real *x, real *to) noexcept nogil:
    """A group's rows of one input channel into its tiles, taps outer and rows inner."""
    cdef Py_ssize_t K = taps_up(work.job), rows = work.channels * group.phases, tiles = up(rows, MR), t, n, i
    cdef Py_ssize_t o = 0, p = 0, m
    cdef Py_ssize_t at[14]
    cdef real *y
    to += work.c0 * group.taps * (rows // tiles)
    for t in range(tiles):
        m = tile_row(rows, tiles, t + 1) - tile_row(rows, tiles, t)
        for i in range(m):
            at[i] = o + group.phase[p].tap
            p += 1
            if p == group.phases:
                p = 0
                o += K
        # a tile of one row more has more weights in front of this channel's
        y = to if m == rows // tiles else to + work.c0 * group.taps
        for n in range(group.taps):
            for i in range(m):
                y[i] = x[at[i] - group.back[n]]
            y += m
        to += m * work.job.p.C * group.taps


cdef Py_ssize_t pack_phases_items(void *conv_job) noexcept nogil:
    return (<ConvJob *>conv_job).p.G * blocks_of(<ConvJob *>conv_job)


cdef void pack_phases_item(void *conv_job, Py_ssize_t item, char *packed) noexcept nogil:
    """Item = (group, block of output channels)."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t K = taps_up(job), g = item // blocks_of(job), c, i
    cdef real *to
    cdef const real *w
    cdef Work work
    cdef Py_ssize_t lists[LISTS_MOST]
    work.job = job
    deal(job, &work.all, lists)
    work.o0 = item % blocks_of(job) * job.t.o_block
    work.channels = min(job.t.o_block, job.p.O - work.o0)
    w = <const real *>job.w + (g * job.p.C * job.p.O + work.o0) * K
    to = <real *>packed + (g * job.p.O + work.o0) * job.p.C * K
    for c in range(job.p.C):
        work.c0 = c
        for i in range(work.all.count):
            pack_channel(&work, &work.all.group[i], w + work.c0 * job.p.O * K,
                         to + work.channels * job.p.C * work.all.group[i].before)


# ---------------------------------------------------------------- the register tile

cdef struct Tile:
    const real *a                   # packed: a[k*m + i]
    const real *p[8]                # where its vectors lie, from there to each term off[k]
    const Py_ssize_t *off
    Py_ssize_t count                # terms
    real *sums[8]                   # the vectors' columns, from there to each row rows[i]
    const Py_ssize_t *rows
    const real *start
    bint first                      # starts from `start`; else from the sums


cdef inline void phase_tile(const int m, const int V, const Tile *t) noexcept nogil:
    """m rows of V vectors, each of which lies anywhere."""
    cdef vec acc[28]
    cdef vec b[8]
    cdef vec w
    cdef Py_ssize_t k
    cdef int i, v
    cdef const real *a = t.a
    cdef const Py_ssize_t *off = t.off
    if t.first:
        for i in range(m):
            for v in range(V):
                acc[i * V + v] = set1(t.start[i])
    else:
        for i in range(m):
            for v in range(V):
                acc[i * V + v] = load(t.sums[v] + t.rows[i])
    for k in range(t.count):
        for v in range(V):
            b[v] = load(t.p[v] + off[k])
        for i in range(m):
            w = set1(a[i])
            for v in range(V):
                acc[i * V + v] = acc[i * V + v] + w * b[v]
        a += m
    for i in range(m):
        for v in range(V):
            store(t.sums[v] + t.rows[i], acc[i * V + v])


cdef void two_vectors(int m, const Tile *t) noexcept nogil:
    if m == 6: phase_tile(6, 2, t)
    elif m == 5: phase_tile(5, 2, t)
    elif m == 4: phase_tile(4, 2, t)
    elif m == 3: phase_tile(3, 2, t)
    elif m == 2: phase_tile(2, 2, t)
    elif m == 1: phase_tile(1, 2, t)
    elif MR > 6:
        # for 32 vector registers (AVX-512)
        if m == 14: phase_tile(14, 2, t)
        elif m == 13: phase_tile(13, 2, t)
        elif m == 12: phase_tile(12, 2, t)
        elif m == 11: phase_tile(11, 2, t)
        elif m == 10: phase_tile(10, 2, t)
        elif m == 9: phase_tile(9, 2, t)
        elif m == 8: phase_tile(8, 2, t)
        elif m == 7: phase_tile(7, 2, t)


cdef void one_vector(int m, const Tile *t) noexcept nogil:
    if m == 6: phase_tile(6, 1, t)
    elif m == 5: phase_tile(5, 1, t)
    elif m == 4: phase_tile(4, 1, t)
    elif m == 3: phase_tile(3, 1, t)
    elif m == 2: phase_tile(2, 1, t)
    elif m == 1: phase_tile(1, 1, t)
    elif MR > 6:
        if m == 14: phase_tile(14, 1, t)
        elif m == 13: phase_tile(13, 1, t)
        elif m == 12: phase_tile(12, 1, t)
        elif m == 11: phase_tile(11, 1, t)
        elif m == 10: phase_tile(10, 1, t)
        elif m == 9: phase_tile(9, 1, t)
        elif m == 8: phase_tile(8, 1, t)
        elif m == 7: phase_tile(7, 1, t)


cdef void more_vectors(int m, const Tile *t) noexcept nogil:
    """Three rows or less: so many chains that the units stay busy."""
    if m == 3: phase_tile(3, 4, t)
    elif m == 2: phase_tile(2, 4, t)
    else: phase_tile(1, 8, t)


# ---------------------------------------------------------------- products

cdef void list_rows(Work *work, const Group *group) noexcept nogil:
    """Where the rows of a group start from and where their sums lie, output channels outer and phases inner."""
    cdef Py_ssize_t o, i, at
    cdef Py_ssize_t *rows = work.rows
    cdef real *start = work.start
    cdef real bias = 0
    for o in range(work.channels):
        if work.box.bias != NULL:
            bias = work.box.bias[work.o0 + o]
        at = o * work.all.total
        for i in range(group.phases):
            rows[0] = (at + group.phase[i].row) * work.job.t.dense
            start[0] = bias
            rows += 1
            start += 1


cdef void list_terms_of(Work *work, const Group *group, const Py_ssize_t *input, Py_ssize_t channel) noexcept nogil:
    """Where each term lies: `input` says it of an input, from its channel's first."""
    cdef Py_ssize_t c, n
    cdef Py_ssize_t *off = work.off
    for c in range(work.c1 - work.c0):
        for n in range(group.taps):
            off[n] = c * channel + input[group.input[n]]
        off += group.taps


cdef void sum_panelled(Work *work, const Group *group, const real *weights) noexcept nogil:
    """A group's rows times the panels of the box; the last panel, if at most half full, is one vector wide."""
    cdef Py_ssize_t rows = work.channels * group.phases, tiles = up(rows, MR), q = 0, t, first
    cdef Py_ssize_t size = (work.c1 - work.c0) * work.job.p.kernel[0] * work.job.p.kernel[1] * work.job.p.kernel[2] * NR
    cdef Py_ssize_t K = work.job.p.C * group.taps
    cdef Tile tile
    cdef int m
    tile.off = work.off
    tile.count = (work.c1 - work.c0) * group.taps
    tile.first = work.c0 == 0
    tile.p[0] = work.panels
    while q < work.positions:
        tile.p[1] = tile.p[0] + VL
        tile.sums[0] = work.sums + q
        tile.sums[1] = work.sums + q + VL
        for t in range(tiles):
            first = tile_row(rows, tiles, t)
            m = <int>(tile_row(rows, tiles, t + 1) - first)
            tile.a = weights + first * K + work.c0 * group.taps * m
            tile.rows = work.rows + first
            tile.start = work.start + first
            if q + VL >= work.positions:
                one_vector(m, &tile)
            else:
                two_vectors(m, &tile)
        tile.p[0] += size
        q += NR


cdef void sum_rows_in_place(Work *work, const Group *group, const real *weights) noexcept nogil:
    """The same for few rows: vectors are read where they lie, the last of a row ending with it; the whole of K."""
    cdef Py_ssize_t rows = work.channels * group.phases, tiles = up(rows, MR), t, first, v, i, j, x
    cdef Py_ssize_t width = work.box.extent[2], vectors = up(width, VL)
    cdef Py_ssize_t total = work.box.extent[0] * work.box.extent[1] * vectors
    cdef Tile tile
    cdef int m, n
    tile.off = work.off
    tile.count = work.job.p.C * group.taps
    tile.first = True
    for t in range(tiles):
        first = tile_row(rows, tiles, t)
        m = <int>(tile_row(rows, tiles, t + 1) - first)
        n = 8 if m == 1 else 4 if m <= 3 else 2
        tile.a = weights + first * tile.count
        tile.rows = work.rows + first
        tile.start = work.start + first
        v = 0
        while v < total:
            for i in range(n):
                # what is beyond the last vector is this once more
                j = min(v + i, total - 1)
                x = min(j % vectors * VL, width - VL)
                j = j // vectors
                tile.p[i] = (work.from_ + j // work.box.extent[1] * work.hop[0] + j % work.box.extent[1] * work.hop[1]
                             + x)
                tile.sums[i] = work.sums + j * width + x
            if n == 2:
                two_vectors(m, &tile)
            else:
                more_vectors(m, &tile)
            v += n


# ---------------------------------------------------------------- inputs

cdef void gather_panels(Work *work) noexcept nogil:
    """Panels of single inputs a position, wherever they lie."""
    cdef ConvJob *job = work.job
    cdef Box *box = &work.box
    cdef Py_ssize_t q = 0, n, i, c, r
    cdef Py_ssize_t at[64]
    cdef const real *x
    cdef real *to = work.panels
    while q < work.positions:
        n = min(<Py_ssize_t>NR, work.positions - q)
        for i in range(n):
            r = (q + i) // box.extent[2]
            at[i] = (q + i) % box.extent[2] * job.xs[2] + (box.start[1] + r % box.extent[1]) * job.xs[1]
            r = r // box.extent[1]
            at[i] += (box.start[0] + r % box.extent[0]) * job.xs[0] + r // box.extent[0] * job.xn
        x = box.x + work.c0 * job.xc + box.start[2] * job.xs[2]
        for c in range(work.c1 - work.c0):
            for i in range(n):
                to[i] = x[at[i]]
            for i in range(n, NR):
                to[i] = 0
            x += job.xc
            to += NR
        q += NR


cdef bint runs_on(const ConvJob *job, const Box *box) noexcept nogil:
    """Whether the box's inputs are one run, where every position has a single one."""
    return (job.xs[2] == 1 and box.samples == 1 and (box.extent[1] == 1 or job.xs[1] == job.p.size[2])
            and (box.extent[0] == 1 or job.xs[0] == job.p.size[1] * job.p.size[2]))


cdef void list_inputs(const ConvJob *job, Py_ssize_t *input, bint panelled) noexcept nogil:
    """Where each input lies from the first of its channel, in the slab or a panel."""
    cdef Py_ssize_t z, y, x, n = 0
    for z in range(job.p.kernel[0]):
        for y in range(job.p.kernel[1]):
            for x in range(job.p.kernel[2]):
                input[n] = n * NR if panelled else (z * job.t.sd[0] * job.t.plane + y * job.t.sd[1] * job.t.row
                                                    + x * job.t.sd[2])
                n += 1


cdef void lay_inputs(Work *work, Py_ssize_t *input) noexcept nogil:
    """The inputs of one k block, to where the products read them; `input` is left as list_inputs() says."""
    cdef ConvJob *job = work.job
    cdef Box *box = &work.box
    cdef Box line
    cdef Block block
    cdef Py_ssize_t taps = job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2], c, n
    if job.t.in_place and not work.panelled:
        # few rows: the input serves as it is
        work.from_ = (box.x + work.c0 * job.xc + box.start[0] * job.xs[0] + box.start[1] * job.xs[1] + box.start[2])
        work.hop[0], work.hop[1], work.hop[2] = job.xs[0], job.xs[1], job.xc
        input[0] = 0
        return
    if job.t.in_place and not runs_on(job, box):
        gather_panels(work)
        input[0] = 0
        return
    block.off = work.off
    line = box[0]
    if job.t.in_place:
        block.slab = (box.x + work.c0 * job.xc + box.start[0] * job.xs[0] + box.start[1] * job.xs[1] + box.start[2])
        line.extent[0], line.extent[1], line.extent[2] = 1, 1, work.positions
        block.count = work.c1 - work.c0
        for c in range(block.count):
            block.off[c] = c * job.xc
    else:
        fill_box(job, box, work.slab, box.x, work.c0, work.c1)
        work.from_ = block.slab = work.slab
        work.hop[0], work.hop[1], work.hop[2] = job.t.plane, job.t.row, job.t.channel
        list_inputs(job, input, False)
        if not work.panelled:
            return
        block.count = 0
        for c in range(work.c1 - work.c0):
            for n in range(taps):
                block.off[block.count] = c * job.t.channel + input[n]
                block.count += 1
    fill_panels(job, &line, &block, work.panels)
    list_inputs(job, input, True)


# ---------------------------------------------------------------- results

cdef void fill_tapless(Work *work) noexcept nogil:
    """The sums of phases without taps: the bias, or zero."""
    cdef Axis *ay = &work.all.axes[1]
    cdef Axis *ax = &work.all.axes[2]
    cdef Py_ssize_t o, z, y, x
    cdef real value = 0
    cdef real *row = work.sums
    for o in range(work.channels):
        if work.box.bias != NULL:
            value = work.box.bias[work.o0 + o]
        for z in range(work.all.axes[0].phases):
            for y in range(ay.phases):
                for x in range(ax.phases):
                    if work.all.axes[0].count[z] == 0 or ay.count[y] == 0 or ax.count[x] == 0:
                        fill_sums(row, work.positions, value)
                    row += work.job.t.dense


cdef void merge_plane(const Work *work, Merge *m, real *y, const real *sums, Py_ssize_t z) noexcept nogil:
    """Output rows of one output depth of one channel; sums are those of its first position and phase."""
    cdef const ConvJob *job = work.job
    cdef const Box *box = &work.box
    cdef Py_ssize_t s = job.up.stride[1], i, f, to
    m.low = max(<Py_ssize_t>0, job.up.crop[2] - box.start[2] * job.up.stride[2])
    m.high = min(m.positions * m.phases, job.up.out[2] + job.up.crop[2] - box.start[2] * job.up.stride[2])
    for i in range(box.extent[1]):
        for f in range(s):
            to = (box.start[1] + i) * s + f - job.up.crop[1]
            if 0 <= to < job.up.out[1]:
                m.y = y + to * job.ys[1] + (box.start[2] * job.up.stride[2] - job.up.crop[2]) * job.ys[2]
                m.row = sums + f * job.up.stride[2] * job.t.dense + i * box.extent[2]
                merge_row(m)


cdef void write_sums(Work *work) noexcept nogil:
    """The sums of a block of output channels to the output."""
    cdef ConvJob *job = work.job
    cdef Box *box = &work.box
    cdef Py_ssize_t o, n, z, f, to, s = job.up.stride[0], plane = box.extent[1] * box.extent[2]
    cdef const real *sums
    cdef Merge m
    m.step = job.ys[2]
    m.phases = job.up.stride[2]
    m.hop = job.t.dense
    m.positions = box.extent[2]
    for n in range(box.samples):
        for o in range(work.channels):
            for z in range(box.extent[0]):
                for f in range(s):
                    to = (box.start[0] + z) * s + f - job.up.crop[0]
                    if 0 <= to < job.up.out[0]:
                        sums = work.sums + (o * work.all.total + f * job.up.stride[1] * job.up.stride[2]) * job.t.dense
                        sums += (n * box.extent[0] + z) * plane
                        merge_plane(work, &m, box.y + n * job.yn + (work.o0 + o) * job.yc + to * job.ys[0], sums, z)


# ---------------------------------------------------------------- items

cdef void sum_block(Work *work, const Py_ssize_t *input, real *sums) noexcept nogil:
    """One k block of one block of output channels."""
    cdef ConvJob *job = work.job
    cdef const real *weights
    cdef Group *group
    cdef Py_ssize_t i, channel = work.hop[2]
    if work.panelled:
        channel = job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2] * NR
    work.sums = sums
    for i in range(work.all.count):
        group = &work.all.group[i]
        weights = work.w + work.o0 * job.p.C * taps_up(job) + work.channels * job.p.C * group.before
        list_rows(work, group)
        list_terms_of(work, group, input, channel)
        if work.panelled:
            sum_panelled(work, group, weights)
        else:
            sum_rows_in_place(work, group, weights)


cdef void aim_block(Work *work, Py_ssize_t b) noexcept nogil:
    """A block of output channels."""
    work.o0 = b * work.job.t.o_block
    work.channels = min(work.job.t.o_block, work.job.p.O - work.o0)


cdef void sum_blocks(Work *work, Py_ssize_t first, Py_ssize_t last, bint filled) noexcept nogil:
    """Blocks of output channels whose sums are held at once; `filled`: the inputs lie there, for there is one k block."""
    cdef ConvJob *job = work.job
    cdef Py_ssize_t *input = <Py_ssize_t *>(work.lists) + lists_size(job)
    cdef Py_ssize_t hop = job.t.o_block * work.all.total * job.t.dense, b
    cdef real *sums = work.sums
    work.c0 = 0
    while work.c0 < job.p.C:
        work.c1 = min(work.c0 + job.t.c_block, job.p.C)
        if not filled:
            lay_inputs(work, input)
        for b in range(first, last):
            aim_block(work, b)
            sum_block(work, input, sums + (b - first) * hop)
        work.c0 = work.c1
    for b in range(first, last):
        aim_block(work, b)
        work.sums = sums + (b - first) * hop
        fill_tapless(work)
        write_sums(work)
    work.sums = sums


cdef void phases_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Work work
    cdef Py_ssize_t blocks = blocks_of(job), b, first, last, taps = job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2]
    work.job = job
    find_box(job, item, &work.box)
    deal(job, &work.all, <Py_ssize_t *>workspace)
    work.lists = workspace
    work.off = <Py_ssize_t *>workspace + lists_size(job) + taps
    work.rows = work.off + job.t.c_block * max(taps, taps_up(job))
    work.start = <real *>(work.rows + job.t.o_block * work.all.total)
    work.slab = <real *>(workspace + job.slab_at)
    work.panels = <real *>(workspace + job.panels_at)
    work.sums = <real *>(workspace + job.dense_at)
    work.positions = work.box.samples * work.box.extent[0] * work.box.extent[1] * work.box.extent[2]
    # a row without unit stride cannot be read where it lies
    work.panelled = job.t.panelled or (job.t.in_place and job.xs[2] != 1)
    work.w = <const real *>job.w + work.box.g * job.p.O * job.p.C * taps_up(job)
    if job.t.channel:
        # the slack behind the slab, which whole vectors run into: no denormals
        memset(work.slab + job.t.c_block * job.t.channel, 0, 8 * NR * sizeof(real))
    b = first = blocks * work.box.split // job.o_splits
    last = blocks * (work.box.split + 1) // job.o_splits
    while b < last:
        sum_blocks(&work, b, min(b + job.up.held, last), b > first and job.t.c_block >= job.p.C)
        b += job.up.held


# ---------------------------------------------------------------- tables

cdef Py_ssize_t phases_items(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    return up(job.p.N, job.t.samples) * job.p.G * job.t.boxes[0] * job.t.boxes[1] * job.t.boxes[2]


cdef Py_ssize_t phases_weights(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    return job.p.G * job.p.O * job.p.C * taps_up(job)


cdef void lay_out_phases(void *conv_job) noexcept nogil:
    """Lists of phases and taps, of terms and rows; slab and panels, which vectors run past; sums."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t taps = job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2], most = max(taps, taps_up(job))
    cdef Py_ssize_t panels = job.t.dense // NR if job.t.in_place else job.t.panels
    cdef Py_ssize_t total = job.up.stride[0] * job.up.stride[1] * job.up.stride[2] * job.t.o_block
    job.slab_at = lines((lists_size(job) + taps + job.t.c_block * most + total) * sizeof(Py_ssize_t)
                        + total * sizeof(real))
    job.panels_at = job.slab_at + (lines((job.t.c_block * job.t.channel + 8 * NR) * sizeof(real)) if job.t.channel
                                   else 0)
    job.dense_at = job.panels_at + lines((panels * job.t.c_block * taps * NR + 4 * NR) * sizeof(real))
    job.workspace_bytes = job.dense_at + lines((job.up.held * total * job.t.dense + NR) * sizeof(real))


cdef KernelTable PHASES
PHASES.name = "phases"
PHASES.lanes = VL
PHASES.tile_rows = MR
PHASES.run_item = phases_item
PHASES.items = phases_items
PHASES.lay_out = lay_out_phases
PHASES.packed_size = phases_weights
PHASES.pack_items = pack_phases_items
PHASES.pack_item = pack_phases_item
PHASES.reduce_items = NULL
PHASES.reduce_item = NULL
PHASES.grain = 1.5e6
PHASES.chunk = 1
PHASES.refill = 6
PHASES.split_least = 64

tables = {"phases": PyCapsule_New(&PHASES, "cconv.kernel", NULL)}
stamp = CCONV_STAMP_STRING.decode()
