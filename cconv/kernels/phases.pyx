# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Transposed convolutions of one element type and one instruction set.

    y[n, o, i*s + t*d - p] = bias[o] + sum over c and all i, t that meet there of w[c, o, t] * x[n, c, i]

with an index i and t an axis. Letters: N batch, G groups, C / O input / output channels of one group, s stride, d
dilation, p padding. Along an axis, s neighbouring outputs are the phases f of one position q:

    y[o, q*s + f - crop] = bias[o] + sum over c and the taps t of phase f of
                           w[c, o, t] * x[c, q + (f + shift - t*d) / s]

So all phases of all output channels are rows of one product whose columns are positions, and the input is copied once
for all of them. Phases that read the same inputs form a group: its rows fill the register tile. One item is a box of
positions; for it, a block of output channels after the other and in these a block of input channels (a k block) after
the other,
  1. the inputs are laid into panels (gemm.pxd), by way of the slab (slab.pxd) or, where one input a position is all
     that is read, from where they lie; rows are read in place where rows of the product are few;
  2. the tiles of each group are summed to rows of sums, of each phase of each output channel;
  3. interleave.pxd writes them.

Each output is one chain of multiply-adds in the order c, then inputs as they lie: the same bits for any thread, batch,
strides and size of input.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from cconv.kernels.box cimport Box, aim_box
from cconv.kernels.groups cimport Group, Groups, Work, list_groups, lists_size, taps_up
from cconv.kernels.inputs cimport lay_inputs
from cconv.kernels.interleave cimport fill_tapless, write_sums
from cconv.kernels.items cimport lines, up
from cconv.kernels.job cimport ConvJob, KernelTable
from cconv.kernels.simd cimport MR, NR, VL, load, real, set1, store, vec
from cconv.kernels.tile cimport tile_row


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING


cdef enum:
    LISTS_MOST = 8192               # numbers of lists that the stack has room for, as in _plan/phases.py


# ---------------------------------------------------------------- weights

cdef void deal_phases(ConvJob *job, Groups *all, Py_ssize_t *space) noexcept nogil:
    list_groups(job, all, space)


cdef Py_ssize_t blocks_of(const ConvJob *job) noexcept nogil:
    return up(job.p.O, job.t.o_block)


cdef void pack_channel(const Work *work, const Group *group, const real *x, real *to) noexcept nogil:
    """A group's rows of one input channel into its tiles, taps outer and rows inner."""
    cdef Py_ssize_t K = taps_up(work.job), rows = work.channels * group.phases, tiles = up(rows, MR), t, n, i
    cdef Py_ssize_t o = 0, p = 0, m
    cdef Py_ssize_t at[14]
    cdef real *y
    # every tap is a phase, in their order: rows lie one behind the other
    cdef bint straight = group.phases == K and group.phase[0].tap == 0 and group.phase[K - 1].tap == K - 1
    to += work.c0 * group.taps * (rows // tiles)
    for t in range(tiles):
        m = tile_row(rows, tiles, t + 1) - tile_row(rows, tiles, t)
        if straight:
            y = to if m == rows // tiles else to + work.c0
            for i in range(m):
                y[i] = x[i]
            x += m
            to += m * work.job.p.C
            continue
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
    deal_phases(job, &work.all, lists)
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

cdef void list_sums(Work *work, const Group *group) noexcept nogil:
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
        list_sums(work, group)
        list_terms_of(work, group, input, channel)
        if work.panelled:
            sum_panelled(work, group, weights)
        else:
            sum_rows_in_place(work, group, weights)


cdef void take_channels(Work *work, Py_ssize_t b) noexcept nogil:
    """A block of output channels."""
    work.o0 = b * work.job.t.o_block
    work.channels = min(work.job.t.o_block, work.job.p.O - work.o0)


cdef void sum_blocks(Work *work, Py_ssize_t first, Py_ssize_t last, bint filled) noexcept nogil:
    """Blocks of output channels whose sums are held at once; `filled`: the inputs of the only k block lie there."""
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
            take_channels(work, b)
            sum_block(work, input, sums + (b - first) * hop)
        work.c0 = work.c1
    for b in range(first, last):
        take_channels(work, b)
        work.sums = sums + (b - first) * hop
        fill_tapless(work)
        write_sums(work)
    work.sums = sums


cdef Py_ssize_t together(const ConvJob *job) noexcept nogil:
    """Groups of channels of one item: so many that its lists, some 0.3 us, are repaid."""
    cdef Py_ssize_t adds = job.p.C * job.p.O * taps_up(job) * job.t.samples
    adds *= job.t.box[0] * job.t.box[1] * job.t.box[2]
    return max(<Py_ssize_t>1, min(job.p.G, 32768 // adds))


cdef void find_first_box(const ConvJob *job, Py_ssize_t item, Box *box) noexcept nogil:
    """As find_box(), of the first of the item's groups."""
    cdef Py_ssize_t a, rest = item // job.o_splits, groups = up(job.p.G, together(job))
    box.split = item % job.o_splits
    for a in range(3):
        box.start[2 - a] = rest % job.t.boxes[2 - a] * job.t.box[2 - a]
        rest = rest // job.t.boxes[2 - a]
    box.g = rest % groups * together(job)
    box.n = rest // groups * job.t.samples
    aim_box(job, box)


cdef void sum_group(Work *work) noexcept nogil:
    """A box of one group of channels."""
    cdef ConvJob *job = work.job
    cdef Py_ssize_t blocks = blocks_of(job), first = blocks * work.box.split // job.o_splits, b = first
    cdef Py_ssize_t last = blocks * (work.box.split + 1) // job.o_splits
    work.w = <const real *>job.w + work.box.g * job.p.O * job.p.C * taps_up(job)
    while b < last:
        sum_blocks(work, b, min(b + job.up.held, last), b > first and job.t.c_block >= job.p.C)
        b += job.up.held


cdef void phases_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Work work
    cdef Py_ssize_t taps = job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2], g
    work.job = job
    find_first_box(job, item, &work.box)
    deal_phases(job, &work.all, <Py_ssize_t *>workspace)
    work.lists = workspace
    work.off = <Py_ssize_t *>workspace + lists_size(job) + taps
    work.rows = work.off + job.t.c_block * max(taps, taps_up(job))
    work.start = <real *>(work.rows + job.t.o_block * work.all.total)
    work.slab = <real *>(workspace + job.slab_at)
    work.panels = <real *>(workspace + job.panels_at)
    work.sums = <real *>(workspace + job.dense_at)
    work.merged = <real *>(workspace + job.workspace_bytes) - (job.up.stride[2] * job.t.dense + 2 * NR)
    work.positions = work.box.samples * work.box.extent[0] * work.box.extent[1] * work.box.extent[2]
    # a row without unit stride cannot be read where it lies
    work.panelled = job.t.panelled or (job.t.in_place and job.xs[2] != 1)
    if job.t.channel:
        # the slack behind the slab, which whole vectors run into: no denormals
        memset(work.slab + job.t.c_block * job.t.channel, 0, 8 * NR * sizeof(real))
    for g in range(work.box.g, min(work.box.g + together(job), job.p.G)):
        work.box.g = g
        aim_box(job, &work.box)
        sum_group(&work)


# ---------------------------------------------------------------- tables

cdef Py_ssize_t phases_items(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    return up(job.p.N, job.t.samples) * up(job.p.G, together(job)) * job.t.boxes[0] * job.t.boxes[1] * job.t.boxes[2]


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
    job.workspace_bytes += lines((job.up.stride[2] * job.t.dense + 2 * NR) * sizeof(real))


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
