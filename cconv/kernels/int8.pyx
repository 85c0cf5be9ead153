# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Convolutions of bytes, signed or not, in sums of 32 bits that wrap: int8 on the register tile, int8_rows on rows.

    y[n, o, q] = bias[o] + sum over units u of dot(w[o, u], slab[u, position q])

The kernels gemm and rows of conv.pyx (letters and regions there), whose elements are units: four bytes or two halves
of neighbouring channels or columns (int8.h, units.pxd), multiplied term by term and added up in one instruction.
Weights are always packed, for only that makes units of them: (G, O, units), then one sum a channel, `turned`.

Where four bytes are a unit, those of the input have to be unsigned and those of the weights signed, or the other way
round. Input that is not is turned, x + 128 or x - 128, padding too, and each output starts from 128 times the sum of
its channel's weights, with a sign, beside its bias: exact, for sums wrap.
"""
from cpython.pycapsule cimport PyCapsule_New

from cconv.kernels.box cimport Box, find_box, taps_of
from cconv.kernels.gemm cimport Block, fill_panels, gemm_block
from cconv.kernels.items cimport lines, up
from cconv.kernels.job cimport ConvJob, KernelTable
from cconv.kernels.rows cimport RowTiles, Strip, one_piece, rows_block, shared_rows, some_rows
from cconv.kernels.simd cimport MR, NR, VL, real
from cconv.kernels.tile cimport tile_row
from cconv.kernels.units cimport (TERMS, Joint, batch_of, byte_row, fill_units, find_joint, sum_bytes, turn_of,
                                  weight_unit)


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING


# ---------------------------------------------------------------- the parts of an item

cdef Py_ssize_t list_units(ConvJob *job, Py_ssize_t *off, Py_ssize_t channels, Py_ssize_t t0,
                           Py_ssize_t t1) noexcept nogil:
    """Slab offset of each (channel, tap) of a k block, both counted in units; returns how many."""
    cdef Py_ssize_t _c, t, _t, n = 0, x, kw = job.p.kernel[2], kh = job.p.kernel[1]
    for t in range(t0, t1):
        x = t % kw * job.t.sd[2]
        off[n] = (t // (kh * kw) * job.t.sd[0] * job.t.plane + t // kw % kh * job.t.sd[1] * job.t.row
                  + x % job.t.strands * job.t.slab[2] + x // job.t.strands)
        n += 1
    for _c in range(1, channels):
        for _t in range(t1 - t0):
            off[n] = off[n - (t1 - t0)] + job.t.channel
            n += 1
    return n


cdef void fill_slab_units(ConvJob *job, Box *box, real *slab, unsigned char *bytes, const unsigned char *x,
                          Py_ssize_t c0, Py_ssize_t c1) noexcept nogil:
    """Units c0..c1 of the channels of every sample of a box, in the order of memory."""
    cdef Py_ssize_t c, n
    cdef Joint joint
    find_joint(job, &joint)
    for c in range(c0, c1):
        for n in range(box.samples):
            fill_units(job, box, &joint, slab + (c - c0) * job.t.channel + n * job.t.sample, bytes, x + n * job.xn, c)


cdef void sum_unit_panels(ConvJob *job, Box *box, Block *block, real *panels) noexcept nogil:
    fill_panels(job, box, block, panels)
    gemm_block(job, box, block, panels, NULL)


cdef void unit_piece(const Strip *s) noexcept nogil:
    one_piece(s)


cdef Py_ssize_t short_unit_rows(const Strip *s, Py_ssize_t rows, Py_ssize_t vectors) noexcept nogil:
    return some_rows(s, rows, vectors)


cdef void unit_three(const Strip *s, Py_ssize_t rows) noexcept nogil:
    shared_rows(3, 1, s, rows)


cdef void unit_three_by_two(const Strip *s, Py_ssize_t rows) noexcept nogil:
    shared_rows(3, 2, s, rows)


cdef void unit_five(const Strip *s, Py_ssize_t rows) noexcept nogil:
    shared_rows(5, 1, s, rows)


cdef void unit_five_by_two(const Strip *s, Py_ssize_t rows) noexcept nogil:
    shared_rows(5, 2, s, rows)


cdef RowTiles unit_tiles
unit_tiles.piece = unit_piece
unit_tiles.some = short_unit_rows
unit_tiles.shared[0] = unit_three
unit_tiles.shared[1] = unit_three_by_two
unit_tiles.shared[2] = unit_five
unit_tiles.shared[3] = unit_five_by_two


cdef void sum_unit_rows(ConvJob *job, Box *box, Block *block) noexcept nogil:
    rows_block(&unit_tiles, job, box, block)


# ---------------------------------------------------------------- items

cdef void start_turned(ConvJob *job, Box *box, real *start) noexcept nogil:
    """Of turned input: sums start from the bias and what takes the turn back."""
    cdef const real *turned = (<const real *>job.w + job.p.G * job.p.O * job.p.C * taps_of(job) + box.g * job.p.O)
    cdef Py_ssize_t o
    for o in range(job.p.O):
        start[o] = turned[o] + (box.bias[o] if box.bias != NULL else 0)
    box.bias = start


cdef void sum_unit_box(ConvJob *job, Py_ssize_t item, char *workspace, bint by_rows) noexcept nogil:
    cdef Py_ssize_t taps = taps_of(job), c0 = 0, c1, t0, t1
    cdef real *slab = <real *>(workspace + job.slab_at)
    cdef unsigned char *bytes = <unsigned char *>workspace + job.dense_at
    cdef const unsigned char *x
    cdef Block block
    cdef Box box
    find_box(job, item, &box)
    x = <const unsigned char *>job.x + box.n * job.xn + box.g * job.units.channels * job.xc
    if turn_of(job.units.x_signed):
        start_turned(job, &box, <real *>(bytes + batch_of(job) * TERMS * byte_row(job)))
    block.off = <Py_ssize_t *>workspace
    block.slab = slab
    block.first = True
    while c0 < job.p.C:
        c1 = min(c0 + job.t.c_block, job.p.C)
        fill_slab_units(job, &box, slab, bytes, x, c0, c1)
        t0 = 0
        while t0 < taps:
            t1 = min(t0 + job.t.t_block, taps)
            block.k0 = c0 * taps + t0
            block.count = list_units(job, block.off, c1 - c0, t0, t1)
            if by_rows: sum_unit_rows(job, &box, &block)
            else: sum_unit_panels(job, &box, &block, <real *>(workspace + job.panels_at))
            block.first = False
            t0 = t1
        c0 = c1


cdef void int8_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    sum_unit_box(<ConvJob *>conv_job, item, workspace, False)


cdef void int8_rows_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    sum_unit_box(<ConvJob *>conv_job, item, workspace, True)


# ---------------------------------------------------------------- tables

cdef Py_ssize_t unit_items(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    return up(job.p.N, job.t.samples) * job.p.G * job.t.boxes[0] * job.t.boxes[1] * job.t.boxes[2]


cdef Py_ssize_t unit_count(void *conv_job) noexcept nogil:
    """All units, and a sum for each channel."""
    cdef ConvJob *job = <ConvJob *>conv_job
    return job.p.G * job.p.O * (job.p.C * taps_of(job) + 1)


cdef Py_ssize_t pack_unit_items(void *conv_job) noexcept nogil:
    return (<ConvJob *>conv_job).p.G * up((<ConvJob *>conv_job).p.O, MR)


cdef void pack_units(ConvJob *job, Py_ssize_t item, real *packed, bint by_rows) noexcept nogil:
    """Item = (group, tile of output channels): k outer and row inner, or the rows themselves."""
    cdef Py_ssize_t kw = job.p.kernel[2], T = taps_of(job), K = job.p.C * T, tiles = up(job.p.O, MR), c, t, i
    cdef Py_ssize_t o = tile_row(job.p.O, tiles, item % tiles), rows = tile_row(job.p.O, tiles, item % tiles + 1) - o
    cdef Py_ssize_t taps = T // kw * job.units.columns, row = job.units.channels * taps, step = taps, some, at
    cdef const unsigned char *w = <const unsigned char *>job.w + (item // tiles * job.p.O + o) * row
    cdef real *to = packed + (item // tiles * job.p.O + o) * K
    cdef real *turned = packed + job.p.G * job.p.O * K + item // tiles * job.p.O + o
    cdef Py_ssize_t inner = K if by_rows else 1
    cdef int turn = turn_of(job.units.x_signed)
    for c in range(job.p.C):
        for t in range(T):
            if job.units.by_columns:
                step = 1
                at = c * taps + t // kw * job.units.columns + t % kw * TERMS
                some = job.units.columns - t % kw * TERMS
            else:
                at = c * TERMS * taps + t
                some = job.units.channels - c * TERMS
            if some >= TERMS:
                for i in range(rows):
                    to[i * inner] = weight_unit(w + i * row + at, step, TERMS, job.units.w_signed)
            else:
                for i in range(rows):
                    to[i * inner] = weight_unit(w + i * row + at, step, <int>some, job.units.w_signed)
            to += 1 if by_rows else rows
    for i in range(rows):
        turned[i] = turn * sum_bytes(w + i * row, row, job.units.w_signed) if turn else 0


cdef void pack_tile_units(void *conv_job, Py_ssize_t item, char *packed) noexcept nogil:
    pack_units(<ConvJob *>conv_job, item, <real *>packed, False)


cdef void pack_row_units(void *conv_job, Py_ssize_t item, char *packed) noexcept nogil:
    pack_units(<ConvJob *>conv_job, item, <real *>packed, True)


cdef void lay_out_units(ConvJob *job, Py_ssize_t terms_bytes, Py_ssize_t panels) noexcept nogil:
    """Offsets of the terms, slab, panels, byte rows and what sums start from; vectors run past slab and panels."""
    job.slab_at = lines(terms_bytes)
    job.panels_at = job.slab_at + lines((job.t.c_block * job.t.channel + 12 * NR) * sizeof(real))
    job.dense_at = job.panels_at + lines(panels * sizeof(real))
    job.workspace_bytes = job.dense_at + batch_of(job) * TERMS * byte_row(job) + lines(job.p.O * sizeof(real))


cdef void lay_out_int8(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t count = job.t.c_block * job.t.t_block
    lay_out_units(job, count * sizeof(Py_ssize_t), (job.t.panels * count + 4) * NR)


cdef void lay_out_int8_rows(void *conv_job) noexcept nogil:
    """The terms once more in the other order, and so the weights."""
    cdef ConvJob *job = <ConvJob *>conv_job
    lay_out_units(job, job.t.c_block * job.t.t_block * (2 * sizeof(Py_ssize_t) + sizeof(real)), 0)


cdef KernelTable INT8
INT8.name = "int8"
INT8.lanes = VL
INT8.tile_rows = MR
INT8.run_item = int8_item
INT8.items = unit_items
INT8.lay_out = lay_out_int8
INT8.packed_size = unit_count
INT8.pack_items = pack_unit_items
INT8.pack_item = pack_tile_units
INT8.reduce_items = NULL
INT8.reduce_item = NULL
INT8.grain = 1e6
INT8.chunk = 1
INT8.refill = 6
INT8.split_least = 64

cdef KernelTable INT8_ROWS = INT8
INT8_ROWS.name = "int8_rows"
INT8_ROWS.run_item = int8_rows_item
INT8_ROWS.lay_out = lay_out_int8_rows
INT8_ROWS.pack_item = pack_row_units
INT8_ROWS.grain = 4e5
INT8_ROWS.refill = 0
INT8_ROWS.split_least = 0

tables = {
    "int8": PyCapsule_New(&INT8, "cconv.kernel", NULL),
    "int8_rows": PyCapsule_New(&INT8_ROWS, "cconv.kernel", NULL),
}
terms = TERMS
stamp = CCONV_STAMP_STRING.decode()
