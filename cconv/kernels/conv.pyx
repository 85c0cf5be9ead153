# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Convolution kernels of one element type and one instruction set: gemm, inner, turned, rows and taps.

    y[n, o, od, oh, ow] = bias[o] + sum over c, kd, kh, kw of
                          w[o, c, kd, kh, kw] * x[n, c, od*s - p + kd*d, oh*s - p + kh*d, ow*s - p + kw*d]

Letters: N batch, G groups, C / O input / output channels of one group, k kernel, s stride, d dilation, p padding.

One item is a box of output positions of one group and of one sample or a few. For it, a block of channels and taps (a
k block) after the other,
  1. fill_box copies the input rows that the box reads into a zero-padded slab (L2), the columns de-interleaved by the
     stride, so that every tap of every output row is a contiguous run (slab.pxd);
  2. gemm.pxd, vectors.pxd or rows.pxd sums them.
taps.pxd, inner.pxd and turned.pxd work without.

Each output is one chain of multiply-adds in the order c, kd, kh, kw, or c, kd, kw, kh under `kw_first`, which depends
on the weight's shape alone: the same bits for any thread, batch, strides and size of input. Those of inner are sums of
lanes, and depend on nothing but the channels.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from cconv.kernels.box cimport Box, find_box, taps_of
from cconv.kernels.gemm cimport Block, fill_panels, gemm_block, pack_tile
from cconv.kernels.inner cimport INNER_MOST, inner_box
from cconv.kernels.items cimport lines, up
from cconv.kernels.job cimport ConvJob, KernelTable
from cconv.kernels.rows cimport RowTiles, Strip, one_piece, rows_block, shared_rows, some_rows
from cconv.kernels.simd cimport MR, NR, VL, real
from cconv.kernels.slab cimport fill_box, row_at
from cconv.kernels.taps cimport taps_row
from cconv.kernels.turned cimport pack_panel, turned_box, weight_panels
from cconv.kernels.vectors cimport VectorList, list_bytes, list_vectors, sum_vectors


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

cdef extern from "simd.h":
    const bint IS_FLOAT "CCONV_IS_FLOAT"    # of integers there is less: size


# ---------------------------------------------------------------- k blocks

cdef Py_ssize_t list_terms(ConvJob *job, Py_ssize_t *off, Py_ssize_t channels, Py_ssize_t t0,
                           Py_ssize_t t1) noexcept nogil:
    """Slab offset of each (channel, tap) of a k block; returns how many."""
    cdef Py_ssize_t t, z, y, x, n = 0, kw = job.p.kernel[2], kh = job.p.kernel[1], strands = job.t.strands
    for t in range(t0, t1):
        z = t // (kh * kw)
        y = t // kw % kh
        x = t % kw * job.t.sd[2]
        off[n] = (z * job.t.sd[0] * job.t.plane + row_at(job, y * job.t.sd[1])
                  + x % strands * job.t.strand + x // strands)
        n += 1
    for n in range(n, n * channels):
        off[n] = off[n - t1 + t0] + job.t.channel
    return channels * (t1 - t0)


cdef void fill_conv(ConvJob *job, Box *box, real *slab, Py_ssize_t c0, Py_ssize_t c1) noexcept nogil:
    fill_box(job, box, slab, box.x, c0, c1)


cdef void sum_panels(ConvJob *job, Box *box, Block *block, real *panels) noexcept nogil:
    fill_panels(job, box, block, panels)
    gemm_block(job, box, block, panels, NULL)


cdef void sum_unpanelled(ConvJob *job, Box *box, Block *block, real *weights) noexcept nogil:
    cdef VectorList all
    list_vectors(job, box, <char *>(weights + lines(weights_of_tile(job) * sizeof(real)) // sizeof(real)), &all)
    sum_vectors(job, box, block, &all, weights)


cdef void row_piece(const Strip *s) noexcept nogil:
    one_piece(s)


cdef Py_ssize_t short_rows(const Strip *s, Py_ssize_t rows, Py_ssize_t vectors) noexcept nogil:
    return some_rows(s, rows, vectors)


cdef void shared_three(const Strip *s, Py_ssize_t rows) noexcept nogil:
    shared_rows(3, 1, s, rows)


cdef void shared_three_by_two(const Strip *s, Py_ssize_t rows) noexcept nogil:
    shared_rows(3, 2, s, rows)


cdef void shared_five(const Strip *s, Py_ssize_t rows) noexcept nogil:
    shared_rows(5, 1, s, rows)


cdef void shared_five_by_two(const Strip *s, Py_ssize_t rows) noexcept nogil:
    shared_rows(5, 2, s, rows)


cdef RowTiles row_tiles
row_tiles.piece = row_piece
row_tiles.some = short_rows
row_tiles.shared[0] = shared_three
row_tiles.shared[1] = shared_three_by_two
row_tiles.shared[2] = shared_five
row_tiles.shared[3] = shared_five_by_two


cdef void sum_rows(ConvJob *job, Box *box, Block *block) noexcept nogil:
    rows_block(&row_tiles, job, box, block)


cdef void sum_box(ConvJob *job, Box *box, char *workspace, bint by_rows) noexcept nogil:
    """A box by gemm or rows."""
    cdef Py_ssize_t taps = taps_of(job), c0 = 0, c1, t0, t1, q
    cdef bint in_place = job.t.in_place and job.xs[2] == 1
    cdef real *slab = <real *>(workspace + job.slab_at)
    cdef real *panels = <real *>(workspace + job.panels_at)
    cdef Block block
    block.off = <Py_ssize_t *>workspace
    block.slab = slab
    block.first = True
    if not in_place:
        # the slack behind the slab, which whole vectors run into: no denormals, as in fill_panels
        memset(slab + job.t.c_block * job.t.channel, 0, 8 * NR * sizeof(real))
    while c0 < job.p.C:
        c1 = min(c0 + job.t.c_block, job.p.C)
        if in_place:
            block.slab = box.x + c0 * job.xc + box.start[2]
        else:
            fill_conv(job, box, slab, c0, c1)
        t0 = 0
        while True:
            # once without taps too, for the bias
            t1 = min(t0 + job.t.t_block, taps)
            block.k0 = c0 * taps + t0
            if in_place:
                block.count = c1 - c0
                for q in range(block.count):
                    block.off[q] = q * job.xc
            else:
                block.count = list_terms(job, block.off, c1 - c0, t0, t1)
            if by_rows: sum_rows(job, box, &block)
            elif job.t.panelled: sum_panels(job, box, &block, panels)
            elif IS_FLOAT: sum_unpanelled(job, box, &block, panels)
            block.first = False
            t0 = t1
            if t0 >= taps:
                break
        c0 = c1


# ---------------------------------------------------------------- items

cdef void gemm_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef Box box
    find_box(<ConvJob *>conv_job, item, &box)
    sum_box(<ConvJob *>conv_job, &box, workspace, False)


cdef void rows_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef Box box
    find_box(<ConvJob *>conv_job, item, &box)
    sum_box(<ConvJob *>conv_job, &box, workspace, True)


cdef void inner_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef Box box
    find_box(<ConvJob *>conv_job, item, &box)
    if IS_FLOAT: inner_box(<ConvJob *>conv_job, &box, <real *>workspace)


cdef void turned_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Box box
    find_box(job, item, &box)
    if IS_FLOAT: turned_box(job, &box, <real *>workspace, <real *>(workspace + job.slab_at))


cdef void taps_item(void *conv_job, Py_ssize_t item, char *_workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Box box
    cdef Py_ssize_t o
    find_box(job, item, &box)
    for o in range(job.p.O * box.split // job.o_splits, job.p.O * (box.split + 1) // job.o_splits):
        taps_row(job, &box, o)


# ---------------------------------------------------------------- tables

cdef Py_ssize_t conv_items(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    return up(job.p.N, job.t.samples) * job.p.G * job.t.boxes[0] * job.t.boxes[1] * job.t.boxes[2]


cdef Py_ssize_t weight_count(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    return job.p.G * job.p.O * job.p.C * taps_of(job)


cdef Py_ssize_t pack_conv_items(void *conv_job) noexcept nogil:
    return (<ConvJob *>conv_job).p.G * up((<ConvJob *>conv_job).p.O, MR)


cdef void pack_conv_item(void *conv_job, Py_ssize_t item, char *packed) noexcept nogil:
    """Item = (group, tile of output channels)."""
    pack_tile(<ConvJob *>conv_job, item, <real *>packed)


cdef Py_ssize_t panel_weights(void *conv_job) noexcept nogil:
    return pack_panels(conv_job) * (<ConvJob *>conv_job).p.C * NR


cdef Py_ssize_t pack_panels(void *conv_job) noexcept nogil:
    return (<ConvJob *>conv_job).p.G * weight_panels(<ConvJob *>conv_job)


cdef void pack_panels_item(void *conv_job, Py_ssize_t item, char *packed) noexcept nogil:
    pack_panel(<ConvJob *>conv_job, item, <real *>packed)


cdef Py_ssize_t weights_of_tile(ConvJob *job) noexcept nogil:
    """Room for the weights of a tile that are not packed, past which a vector runs."""
    return 0 if job.t.packed else MR * job.t.c_block * job.t.t_block + VL


cdef void lay_out_gemm(void *conv_job) noexcept nogil:
    """Offsets of the terms of a k block, slab, and panels, which vectors run past; or a tile's weights and a list."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t count = job.t.c_block * job.t.t_block, size
    if job.t.panelled:
        size = lines((job.t.panels * count + 4) * NR * sizeof(real))
    else:
        size = lines(weights_of_tile(job) * sizeof(real)) + lines(list_bytes(job))
    job.slab_at = lines(count * sizeof(Py_ssize_t))
    job.panels_at = job.slab_at + lines((job.t.c_block * job.t.channel + 8 * NR) * sizeof(real))
    job.workspace_bytes = job.panels_at + size


cdef void lay_out_rows(void *conv_job) noexcept nogil:
    """Offsets and weights of a k block, once more in the other order; slab, past whose box a tile's rows may read."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t count = job.t.c_block * job.t.t_block
    job.slab_at = lines(count * (2 * sizeof(Py_ssize_t) + sizeof(real)))
    job.workspace_bytes = job.slab_at + lines((job.t.c_block * job.t.channel + 12 * NR) * sizeof(real))


cdef void lay_out_taps(void *conv_job) noexcept nogil:
    (<ConvJob *>conv_job).workspace_bytes = 0


cdef void lay_out_inner(void *conv_job) noexcept nogil:
    """The channels of a k block, a row for each position."""
    (<ConvJob *>conv_job).workspace_bytes = lines(INNER_MOST * (<ConvJob *>conv_job).t.channel * sizeof(real))


cdef void lay_out_turned(void *conv_job) noexcept nogil:
    """The sums of a panel, which whole vectors are read of; and the copied positions."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t positions = job.t.samples * job.p.out[0] * job.p.out[1] * job.p.out[2]
    job.slab_at = lines((positions * NR + VL) * sizeof(real))
    job.workspace_bytes = job.slab_at + lines((positions * job.p.C + NR) * sizeof(real))


cdef KernelTable GEMM
GEMM.name = "gemm"
GEMM.lanes = VL
GEMM.tile_rows = MR
GEMM.run_item = gemm_item
GEMM.items = conv_items
GEMM.lay_out = lay_out_gemm
GEMM.packed_size = weight_count
GEMM.pack_items = pack_conv_items
GEMM.pack_item = pack_conv_item
GEMM.reduce_items = NULL
GEMM.reduce_item = NULL
GEMM.grain = 1.5e6
GEMM.chunk = 1
GEMM.refill = 6
GEMM.split_least = 64

cdef KernelTable ROWS = GEMM
ROWS.name = "rows"
ROWS.run_item = rows_item
ROWS.lay_out = lay_out_rows
ROWS.pack_item = NULL
ROWS.grain = 5e5
ROWS.refill = 0
ROWS.split_least = 0

cdef KernelTable TAPS = GEMM
TAPS.name = "taps"
TAPS.run_item = taps_item
TAPS.lay_out = lay_out_taps
TAPS.pack_item = NULL
TAPS.refill = 0
TAPS.split_least = 1

cdef KernelTable INNER = GEMM
INNER.name = "inner"
INNER.run_item = inner_item
INNER.lay_out = lay_out_inner
INNER.pack_item = NULL
INNER.grain = 5e5
INNER.refill = 0.5

cdef KernelTable TURNED = GEMM
TURNED.name = "turned"
TURNED.run_item = turned_item
TURNED.lay_out = lay_out_turned
TURNED.packed_size = panel_weights
TURNED.pack_items = pack_panels
TURNED.pack_item = pack_panels_item
TURNED.grain = 5e5
TURNED.refill = 0.5

tables = {
    "gemm": PyCapsule_New(&GEMM, "cconv.kernel", NULL),
    "inner": PyCapsule_New(&INNER, "cconv.kernel", NULL),
    "rows": PyCapsule_New(&ROWS, "cconv.kernel", NULL),
    "turned": PyCapsule_New(&TURNED, "cconv.kernel", NULL),
    "taps": PyCapsule_New(&TAPS, "cconv.kernel", NULL),
}
stamp = CCONV_STAMP_STRING.decode()
