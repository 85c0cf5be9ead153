# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Winograd convolution F(m, r) along an axis, or F(m x m, r x r) over H and W, of a floating type and instruction set.

    y = A^T [ (G w G^T) * (B^T x B) ] A      on TxT patches, m = T - r + 1 apart, each giving m x m outputs

after Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016, section 4 (matrices: transforms.pxd):
F(4,3) has 36 multiplications a patch and channel pair instead of 144, F(2,3) 16 instead of 36, F(2,5) 36 instead of
100. The products over all channels are T x T matrix products, done on the register tile. F(2,3) rounds less than direct
summation and has fewer weights to read: it is for few channels and for images of few patches.

Used for undilated stride-1 kernels of 3 or 5 taps along H, along W or both; patches of six points with enough channels
for the promised error. Taps along D count as channels. A dilated layer comes here as interleaved undilated ones.

One item is a block of patches, numbered through the batch; NR patches are the lanes of a panel. Its transformed input
(TxT x panels x channels x NR) and its products stay in L2 / L3 between the three steps; each transform runs on whole
vectors of patches, the columns de-interleaved by m on the way in and interleaved on the way out (patches.pxd).

Weights come packed: transformed, position by position. Or, where that would mean to write and read more memory than it
saves (`fused`: one call, few items), as they lie: an item transforms those of two tiles of output channels and of a
block of input channels at a time, in L2. Both sum in the same order, to the same bits.

A NaN or an infinity would spread over its patches, whose transforms mix all values: so outputs of a patch that are not
finite are computed again, as plain sums (`mend`), from the weights as they were, which lie behind the packed ones.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memcpy, memset

from cconv.kernels.items cimport lines, up
from cconv.kernels.job cimport ConvJob, KernelTable
from cconv.kernels.patches cimport (Channel, Panel, any_spoiled, direct_sums, find_depth, gather, list_patches,
                                    mend_patch, outs_along, transform_input, transform_output, write_patches)
from cconv.kernels.simd cimport MR, NR, VL, real, set1, vec
from cconv.kernels.tile cimport Product, any_pair, any_tile, tile_row
from cconv.kernels.transforms cimport Filters, transform_filters, turn_filters


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING


# ---------------------------------------------------------------- weights

cdef inline Py_ssize_t taps_along(const ConvJob *job) noexcept nogil:
    """Taps in H and W."""
    return job.p.kernel[1] * job.p.kernel[2]


cdef inline Py_ssize_t plain_at(const ConvJob *job) noexcept nogil:
    """Where the weights as they were lie, behind the packed ones."""
    return 0 if job.wino.fused else job.p.G * job.wino.patch * job.wino.high * job.wino.plane


cdef inline Py_ssize_t plain_count(const ConvJob *job) noexcept nogil:
    return job.p.G * job.p.O * job.p.C * job.p.kernel[0] * taps_along(job)


cdef void transform_points(const ConvJob *job, int point, const Filters *filters) noexcept nogil:
    """transform_filters() for the patch at hand."""
    if max(job.p.kernel[1], job.p.kernel[2]) == 5:
        if job.wino.high == 1: transform_filters(6, 1, 5, point, filters)
        elif job.wino.patch == 1: transform_filters(1, 6, 5, point, filters)
        else: transform_filters(6, 6, 5, point, filters)
    elif job.wino.high == 6:
        if job.wino.patch == 6: transform_filters(6, 6, 3, point, filters)
        else: transform_filters(1, 6, 3, point, filters)
    elif job.wino.high == 4: transform_filters(4, 4, 3, point, filters)
    elif job.wino.patch == 6: transform_filters(6, 1, 3, point, filters)
    else: transform_filters(4, 1, 3, point, filters)


cdef Py_ssize_t pack_winograd_items(void *conv_job) noexcept nogil:
    return (<ConvJob *>conv_job).p.G * up((<ConvJob *>conv_job).p.O, MR)


cdef void pack_winograd_item(void *conv_job, Py_ssize_t item, char *packed) noexcept nogil:
    """Item = (group, tile of output channels). (G, O, C, kd, kh, kw) into, a group and transformed position, tiles of
    up to MR rows, k = (c, kd) outer; the weights as they were behind them."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t taps = taps_along(job), K = job.p.C * job.p.kernel[0], tiles = up(job.p.O, MR), g = item // tiles
    cdef Py_ssize_t o = tile_row(job.p.O, tiles, item % tiles), rows = tile_row(job.p.O, tiles, item % tiles + 1) - o
    cdef Py_ssize_t plane = job.wino.plane, n = min(K, <Py_ssize_t>(8 if taps == 25 else 16)), k = 0
    cdef const real *w = <const real *>job.w + (g * job.p.O + o) * K * taps
    cdef real *to = <real *>packed
    cdef int point
    cdef Filters filters
    cdef real lanes[200 * 16]
    filters.lanes, filters.K, filters.rows, filters.plane = lanes, n, rows, plane
    memcpy(to + plain_at(job) + (g * job.p.O + o) * K * taps, w, rows * K * taps * sizeof(real))
    to += g * job.wino.patch * job.wino.high * plane + o * K
    while k < K:
        # the last block ends with the terms
        k = min(k, K - n)
        turn_filters(lanes, w + k * taps, K * taps, n * taps, rows)
        filters.to = to + k * rows
        filters.last = k + n == K
        for point in range(<int>job.wino.high):
            transform_points(job, point, &filters)
            filters.to += job.wino.patch * plane
        k += n


cdef Py_ssize_t packed_winograd(void *conv_job) noexcept nogil:
    return plain_at(<ConvJob *>conv_job) + plain_count(<ConvJob *>conv_job)


# ---------------------------------------------------------------- products

cdef struct PatchBlock:
    # one item: panels of patches first..last, and output channels o0 .. o0 + width, tiles t0..t1 of `tiles`
    Py_ssize_t first, last, panels
    Py_ssize_t O, tiles, t0, t1, o0, width
    Py_ssize_t K                    # terms: channels and taps along D
    Py_ssize_t count                # of which so many are held at once: all where weights are packed
    bint begins                     # those are the first, and sums start from zero
    const real *x                   # all three of the group
    const real *bias                # or NULL
    real *y
    const real *w                   # packed: tile after tile, those of output channel `base` first
    Py_ssize_t base
    real *held                      # where transformed weights are held, if they are not packed
    real *turned                    # and those as they were, lanes of output channels
    const real *plain               # as they were
    real *u                         # transformed input: u[position * us + (panel * count + k) * NR + lane]
    real *m                         # products: m[position * ms + (panel * width + o - o0) * NR + lane]
    Py_ssize_t us, ms
    real *lanes                     # a gathered patch
    real *line


cdef void panel_tiles(const PatchBlock *block, Py_ssize_t panel, Py_ssize_t position, const real *w, Py_ssize_t t,
                      Py_ssize_t t1) noexcept nogil:
    """m[o, :] = sum over k of w[o, k] * u[k, :] for tiles t..t1, one panel and one position."""
    cdef Py_ssize_t o, rows
    # of the last panel, whose patches fill no more than VL lanes
    cdef bint half = block.last - block.first - panel * NR <= VL
    cdef Product p
    p.K = p.count = block.count
    p.b = block.u + position * block.us + panel * block.count * NR
    p.ldc = NR
    p.bias = NULL
    p.first = block.begins
    while t < t1:
        o = tile_row(block.O, block.tiles, t)
        rows = tile_row(block.O, block.tiles, t + 1) - o
        p.a = w + (o - block.base) * block.count
        p.c = block.m + position * block.ms + (panel * block.width + o - block.o0) * NR
        if not half:
            any_tile(<int>rows, True, &p)
            t += 1
            continue
        # two tiles at once where both have as many rows; a single one is computed twice
        p.next = rows if t + 1 < t1 and tile_row(block.O, block.tiles, t + 2) - o == 2 * rows else 0
        any_pair(<int>rows, True, &p)
        t += 2 if p.next else 1


cdef void products(const PatchBlock *block, Py_ssize_t position, Py_ssize_t t0, Py_ssize_t t1) noexcept nogil:
    """m[position, panel, o, :] of tiles t0..t1 of the whole block, whose weights are at block.w."""
    cdef Py_ssize_t t = t0, p, step = t1 - t0
    if block.panels > 1 and block.width * block.count * <Py_ssize_t>sizeof(real) > 192 * 1024:
        # weights larger than L2: two tiles of them are read once for all panels
        step = 2
    while t < t1:
        for p in range(block.panels):
            panel_tiles(block, p, position, block.w, t, min(t + step, t1))
        t += step


cdef void multiply_packed(const ConvJob *job, PatchBlock *block, Py_ssize_t t0, Py_ssize_t t1) noexcept nogil:
    """All positions with packed weights."""
    cdef Py_ssize_t position
    for position in range(job.wino.patch * job.wino.high):
        products(block, position, t0, t1)
        block.w += job.wino.plane


cdef inline Py_ssize_t held_size(const ConvJob *job) noexcept nogil:
    """Transformed weights of two tiles and a row of points, and what a last vector runs over."""
    return job.wino.patch * job.wino.plane + 16


cdef inline Py_ssize_t turned_size(const ConvJob *job) noexcept nogil:
    """The weights of a tile that are held at once, in whole vectors of output channels."""
    return job.wino.at_once * job.p.kernel[0] * taps_along(job) * up(MR, VL) * VL


cdef void multiply_fused(const ConvJob *job, PatchBlock *block, Py_ssize_t k) noexcept nogil:
    """All positions and tiles, the weights of `count` terms from k on transformed one row of points at a time, which
    stays in L1: of two tiles, which the last panel may take at once."""
    cdef Py_ssize_t taps = taps_along(job), row = block.K * taps, t = block.t0, o, i, _column, position, tiles
    cdef int point
    cdef Filters filters[2]
    while t < block.t1:
        tiles = min(2, block.t1 - t)
        block.base = tile_row(block.O, block.tiles, t)
        for i in range(tiles):
            o = tile_row(block.O, block.tiles, t + i)
            filters[i].K, filters[i].rows = block.count, tile_row(block.O, block.tiles, t + i + 1) - o
            filters[i].lanes = block.turned + i * turned_size(job)
            filters[i].to, filters[i].plane = block.held + (o - block.base) * block.count, job.wino.plane
            filters[i].last = False
            turn_filters(block.turned + i * turned_size(job), block.plain + (o - block.o0) * row + k * taps, row,
                         block.count * taps, filters[i].rows)
        position = 0
        for point in range(<int>job.wino.high):
            for i in range(tiles):
                transform_points(job, point, &filters[i])
            block.w = block.held
            for _column in range(job.wino.patch):
                products(block, position, t, t + tiles)
                block.w += job.wino.plane
                position += 1
        t += tiles


# ---------------------------------------------------------------- items

cdef void gather_patch(ConvJob *job, Panel *panel, const real *x) noexcept nogil:
    if job.wino.high == 1:
        if job.wino.patch == 4: gather(4, 1, 3, job, panel, x)
        elif job.p.kernel[2] == 3: gather(6, 1, 3, job, panel, x)
        else: gather(6, 1, 5, job, panel, x)
    elif job.wino.patch == 1:
        if job.p.kernel[1] == 3: gather(1, 6, 3, job, panel, x)
        else: gather(1, 6, 5, job, panel, x)
    elif job.wino.patch == 4: gather(4, 4, 3, job, panel, x)
    elif job.p.kernel[2] == 3: gather(6, 6, 3, job, panel, x)
    else: gather(6, 6, 5, job, panel, x)


cdef void mend(ConvJob *job, PatchBlock *block, Panel *panel, Py_ssize_t p) noexcept nogil:
    """Outputs of a panel's patches that are not finite, as plain sums. m, whose products are spent, holds the sums.

    Each patch and output channel decides alone, so neither threads nor the other samples change anything.
    """
    cdef Py_ssize_t taps = taps_along(job), o, c, z, t
    cdef Py_ssize_t outs = outs_along(job.wino.patch, job.p.kernel[2]) * outs_along(job.wino.high, job.p.kernel[1])
    cdef int i
    cdef real *m = block.m + p * block.width * NR
    cdef Channel channel
    for o in range(outs):
        memset(m + o * block.ms, 0, block.width * NR * sizeof(real))
    for c in range(job.p.C):
        for z in range(job.p.kernel[0]):
            find_depth(job, panel, z)
            gather_patch(job, panel, block.x + c * job.xc)
            direct_sums(job, panel, m, block.ms, block.plain + (c * job.p.kernel[0] + z) * taps, block.width)
    channel.ms = block.ms
    for o in range(block.width):
        channel.m = m + o * NR
        channel.y = block.y + (block.o0 + o) * job.yc
        channel.bias = block.bias[block.o0 + o] if block.bias != NULL else <real>0
        for i in range(panel.count):
            for t in range(panel.runs[i].length):
                mend_patch(job, &channel, &panel.runs[i], t)


cdef inline void input_panel(const int T, const int high, ConvJob *job, const PatchBlock *block, Panel *panel,
                             Py_ssize_t p, Py_ssize_t c0) noexcept nogil:
    """The terms at hand of one panel, of the channels from c0 on, transformed."""
    cdef Py_ssize_t c, z
    if block.last - block.first - p * NR < NR:
        # lanes without a patch: zeros, for a denormal left from other work costs a hundred cycles
        memset(panel.lanes, 0, 36 * (NR + VL) * sizeof(real))
    for z in range(job.p.kernel[0]):
        find_depth(job, panel, z)
        for c in range(block.count // job.p.kernel[0]):
            gather_patch(job, panel, block.x + (c0 + c) * job.xc)
            transform_input(T, high, panel, block.u + (p * block.count + c * job.p.kernel[0] + z) * NR, block.us)


cdef void input_panels(ConvJob *job, PatchBlock *block, Panel *panel, Py_ssize_t c0) noexcept nogil:
    cdef Py_ssize_t p
    for p in range(block.panels):
        list_patches(job, panel, block.first + p * NR, block.last)
        if job.wino.high == 1:
            if job.wino.patch == 6: input_panel(6, 1, job, block, panel, p, c0)
            else: input_panel(4, 1, job, block, panel, p, c0)
        elif job.wino.patch == 1: input_panel(1, 6, job, block, panel, p, c0)
        elif job.wino.patch == 6: input_panel(6, 6, job, block, panel, p, c0)
        else: input_panel(4, 4, job, block, panel, p, c0)


cdef void write_panel(ConvJob *job, const Panel *panel, const Channel *channel) noexcept nogil:
    cdef Py_ssize_t wide = outs_along(job.wino.patch, job.p.kernel[2])
    if wide == 4: write_patches(4, job, panel, channel)
    else: write_patches(wide, job, panel, channel)


cdef inline void output_panel(const int T, const int high, const int R, ConvJob *job, PatchBlock *block, Panel *panel,
                              Py_ssize_t p) noexcept nogil:
    """The outputs of one panel, from its products."""
    cdef Py_ssize_t o
    cdef vec spoiled = set1(<real>0)
    cdef Channel channel
    channel.ms = block.ms
    for o in range(block.width):
        channel.m = block.m + (p * block.width + o) * NR
        channel.y = block.y + (block.o0 + o) * job.yc
        channel.bias = block.bias[block.o0 + o] if block.bias != NULL else <real>0
        transform_output(T, high, R, panel, &channel, &spoiled)
        write_panel(job, panel, &channel)
    if any_spoiled(spoiled):
        mend(job, block, panel, p)


cdef void output_panels(ConvJob *job, PatchBlock *block, Panel *panel) noexcept nogil:
    cdef Py_ssize_t p
    for p in range(block.panels):
        list_patches(job, panel, block.first + p * NR, block.last)
        if job.wino.high == 1:
            if job.wino.patch == 4: output_panel(4, 1, 3, job, block, panel, p)
            elif job.p.kernel[2] == 3: output_panel(6, 1, 3, job, block, panel, p)
            else: output_panel(6, 1, 5, job, block, panel, p)
        elif job.wino.patch == 1:
            if job.p.kernel[1] == 3: output_panel(1, 6, 3, job, block, panel, p)
            else: output_panel(1, 6, 5, job, block, panel, p)
        elif job.wino.patch == 4: output_panel(4, 4, 3, job, block, panel, p)
        elif job.p.kernel[2] == 3: output_panel(6, 6, 3, job, block, panel, p)
        else: output_panel(6, 6, 5, job, block, panel, p)


cdef void aim_block(ConvJob *job, PatchBlock *block, Py_ssize_t item, char *workspace) noexcept nogil:
    """Item = (group, block of panels, split of the output channels), the last fastest."""
    cdef Py_ssize_t split = item % job.o_splits, rest = item // job.o_splits, positions = job.wino.patch * job.wino.high
    cdef Py_ssize_t total = job.p.N * job.p.out[0] * job.wino.patches[0] * job.wino.patches[1]
    cdef Py_ssize_t g = rest // job.wino.blocks
    block.first = rest % job.wino.blocks * job.wino.panels * NR
    block.last = min(block.first + job.wino.panels * NR, total)
    block.panels = up(block.last - block.first, NR)
    block.O = job.p.O
    block.tiles = up(job.p.O, MR)
    block.t0 = block.tiles * split // job.o_splits
    block.t1 = block.tiles * (split + 1) // job.o_splits
    block.o0 = tile_row(job.p.O, block.tiles, block.t0)
    block.width = tile_row(job.p.O, block.tiles, block.t1) - block.o0
    block.K = job.p.C * job.p.kernel[0]
    block.x = <const real *>job.x + g * job.p.C * job.xc
    block.y = <real *>job.y + g * job.p.O * job.yc
    block.bias = <const real *>job.bias + g * job.p.O if job.bias != NULL else NULL
    block.w = <const real *>job.w + g * positions * job.wino.plane
    block.base = 0
    block.plain = <const real *>job.w + plain_at(job) + (g * job.p.O + block.o0) * block.K * taps_along(job)
    block.held = <real *>(workspace + job.dense_at)
    block.turned = block.held + held_size(job)
    block.count = job.wino.at_once * job.p.kernel[0]
    # one line of padding between positions: they would all fall into the same cache sets
    block.us = job.wino.panels * block.count * NR + 64 // <Py_ssize_t>sizeof(real)
    block.ms = job.wino.panels * block.width * NR + 64 // <Py_ssize_t>sizeof(real)
    block.lanes = <real *>workspace
    block.line = block.lanes + 36 * (NR + VL) + 8 * VL
    block.u = <real *>(workspace + job.slab_at)
    block.m = <real *>(workspace + job.panels_at)


cdef void run_block(ConvJob *job, PatchBlock *block, Panel *panel) noexcept nogil:
    """The terms that are held at once, one block of them after the other."""
    cdef Py_ssize_t c = 0
    while c < job.p.C:
        block.begins = c == 0
        block.count = min(job.wino.at_once, job.p.C - c) * job.p.kernel[0]
        input_panels(job, block, panel, c)
        if job.wino.fused:
            multiply_fused(job, block, c * job.p.kernel[0])
        else:
            multiply_packed(job, block, block.t0, block.t1)
        c += job.wino.at_once


cdef void winograd_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef PatchBlock block
    cdef Panel panel
    aim_block(job, &block, item, workspace)
    panel.lanes = block.lanes
    panel.line = block.line
    # vectors run past what is filled: no denormals there either
    memset(block.line, 0, (4 * NR + 8 * VL) * sizeof(real))
    run_block(job, &block, &panel)
    output_panels(job, &block, &panel)


cdef Py_ssize_t winograd_items(void *conv_job) noexcept nogil:
    """The patches run through the batch."""
    return (<ConvJob *>conv_job).wino.blocks * (<ConvJob *>conv_job).p.G


cdef void lay_out_winograd(void *conv_job) noexcept nogil:
    """Gathered lanes and a line, past which vectors run; then transformed input, products and, if they are not packed,
    weights, each position of which ends with a line of padding."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t positions = job.wino.patch * job.wino.high, panel = job.wino.panels * NR * <Py_ssize_t>sizeof(real)
    job.slab_at = lines((36 * (NR + VL) + 8 * VL + 4 * NR + 8 * VL + 64) * sizeof(real))
    job.panels_at = job.slab_at + lines(positions * (panel * job.wino.at_once * job.p.kernel[0] + 64))
    job.dense_at = job.panels_at + lines(positions * (panel * job.p.O + 64))
    job.workspace_bytes = job.dense_at
    if job.wino.fused:
        job.workspace_bytes += lines((held_size(job) + 2 * turned_size(job)) * sizeof(real))


# ---------------------------------------------------------------- table

cdef KernelTable WINOGRAD
WINOGRAD.name = "winograd"
WINOGRAD.lanes = VL
WINOGRAD.tile_rows = MR
WINOGRAD.run_item = winograd_item
WINOGRAD.items = winograd_items
WINOGRAD.lay_out = lay_out_winograd
WINOGRAD.packed_size = packed_winograd
WINOGRAD.pack_items = pack_winograd_items
WINOGRAD.pack_item = pack_winograd_item
WINOGRAD.reduce_items = NULL
WINOGRAD.reduce_item = NULL
WINOGRAD.grain = 1.5e6
WINOGRAD.chunk = 1
WINOGRAD.refill = 20
WINOGRAD.split_least = 64

tables = {"winograd": PyCapsule_New(&WINOGRAD, "cconv.kernel", NULL)}
stamp = CCONV_STAMP_STRING.decode()
