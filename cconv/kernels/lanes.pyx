# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""lanes: convolutions of many small groups (depthwise above all), a vector's lanes across VL neighbouring groups.

    y[g, o, q] = bias[g, o] + sum over c, kd, kh, kw of w[g, o, c, tap] * x[g, c, q*s - p + tap*d]     for VL groups g

Letters as in conv.pyx. One item is a box of output rows of one sample and one block of VL groups. Its input rows are
transposed into a zero-padded slab whose element is a vector of groups, its sums back out of vectors of groups; between
them no load is unaligned, whatever row, kernel, stride and dilation, and there is no edge but that of the plane. For
planes whose rows are short of vectors, and for strides and large kernels; long rows with few taps are done before they
would be transposed (rows.pxd).

The box is summed a band of rows after the other, small enough for L1: slab rows that two bands share are moved up.
Each output is one chain of multiply-adds in the order that gemm and rows have, so that it has their bits. The last
block of groups has lanes without a group: zeros, which are not stored.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memcpy, memmove, memset

from cconv.kernels.box cimport taps_of
from cconv.kernels.items cimport lines, up
from cconv.kernels.job cimport PAD_ZEROS, ConvJob, KernelTable
from cconv.kernels.lane_tile cimport OUTS, WIDE1, WIDE2, WIDE3, WIDE4, Tile, some_columns
from cconv.kernels.simd cimport VL, get_lines, load, put_lines, real, store, transpose
from cconv.kernels.slab cimport source


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING


cdef struct Block:
    # a box of output rows of a block of groups
    ConvJob *job
    Py_ssize_t groups               # lanes in use
    Py_ssize_t start[3]             # of the box
    Py_ssize_t extent[3]
    Py_ssize_t xlane, ylane         # elements between neighbouring lanes
    const real *x                   # of the first lane
    real *y
    real *slab
    real *spare                     # transposed input before it is dealt to rows
    real *sums                      # [output channel of a tile][row][column] of a band, vectors
    Py_ssize_t band                 # output rows of a band


# ---------------------------------------------------------------- transposing

cdef void turn_block(const real *x, Py_ssize_t ld, real *to) noexcept nogil:
    transpose(x, ld, VL, to, VL, VL)


cdef void turn_some(const real *x, Py_ssize_t ld, int rows, real *to, Py_ssize_t to_ld, int columns) noexcept nogil:
    transpose(x, ld, rows, to, to_ld, columns)


cdef void return_block(const real *x, real *to, Py_ssize_t ld) noexcept nogil:
    transpose(x, VL, VL, to, ld, VL)


cdef void turn(const real *x, Py_ssize_t ld, Py_ssize_t rows, real *to, Py_ssize_t n) noexcept nogil:
    """to[j*VL + i] = x[i*ld + j] for j < n and i < rows, else 0; nothing beyond row and n is read."""
    cdef real few[16 * 16]
    cdef Py_ssize_t j = 0
    if n < VL:
        get_lines(few, VL, x, ld, 1, rows, n)
        turn_some(few, VL, <int>rows, to, VL, <int>n)
        return
    while j < n:
        j = min(j, n - VL)
        if rows == VL:
            turn_block(x + j, ld, to + j * VL)
        else:
            turn_some(x + j, ld, <int>rows, to + j * VL, VL, VL)
        j += VL


cdef void put_groups(Block *b, const real *sums, real *y, Py_ssize_t n) noexcept nogil:
    """n neighbouring columns of y, every lane's, from so many vectors."""
    cdef Py_ssize_t step = b.job.ys[2], j = 0, count
    cdef real few[16 * 16]
    if b.ylane == 1 and b.groups == VL:
        for j in range(n):
            store(y + j * step, load(sums + j * VL))
        return
    if step != 1 or n < VL:
        while j < n:
            count = min(<Py_ssize_t>VL, n - j)
            turn_some(sums + j * VL, VL, <int>count, few, VL, <int>b.groups)
            put_lines(y + j * step, b.ylane, step, few, VL, b.groups, count)
            j += VL
        return
    while j < n:
        j = min(j, n - VL)
        if b.groups == VL:
            return_block(sums + j * VL, y + j, b.ylane)
        else:
            turn_some(sums + j * VL, VL, VL, y + j, b.ylane, <int>b.groups)
        j += VL


# ---------------------------------------------------------------- the slab

cdef inline void lanes_at(Block *b, real *to, const real *x) noexcept nogil:
    """One element of every lane."""
    cdef Py_ssize_t i
    for i in range(b.groups):
        to[i] = x[i * b.xlane]
    for i in range(b.groups, VL):
        to[i] = 0


cdef void fill_edge(Block *b, real *to, const real *x, Py_ssize_t j, Py_ssize_t last) noexcept nogil:
    """Columns j..last of a slab row, beyond the input."""
    cdef ConvJob *job = b.job
    cdef Py_ssize_t at = b.start[2] * job.t.ss[2] - job.p.before[2], i
    if job.p.mode == PAD_ZEROS:
        memset(to + j * VL, 0, (last - j) * VL * sizeof(real))
        return
    for j in range(j, last):
        i = source(at + j, job.p.size[2], job.p.mode)
        lanes_at(b, to + j * VL, x + i * job.xs[2])


cdef void fill_lane_row(Block *b, real *to, const real *x, const real *turned) noexcept nogil:
    """A slab row from input row x; `turned` is that row transposed, or NULL."""
    cdef ConvJob *job = b.job
    cdef Py_ssize_t n = job.t.slab[2], at = b.start[2] * job.t.ss[2] - job.p.before[2], j
    cdef Py_ssize_t first = min(n, max(<Py_ssize_t>0, -at)), last = max(first, min(n, job.p.size[2] - at))
    if first > 0:
        fill_edge(b, to, x, 0, first)
    if last < n:
        fill_edge(b, to, x, last, n)
    n = last - first
    if n == 0:
        return
    to += first * VL
    x += (at + first) * job.xs[2]
    if turned != NULL:
        memcpy(to, turned + (at + first) * VL, n * VL * sizeof(real))
    elif job.xs[2] == 1 and b.xlane != 1:
        turn(x, b.xlane, b.groups, to, n)
    elif b.xlane == 1 and b.groups == VL:
        for j in range(n):
            store(to + j * VL, load(x + j * job.xs[2]))
    else:
        for j in range(n):
            lanes_at(b, to + j * VL, x + j * job.xs[2])


cdef void turn_plane(Block *b, real *to, const real *x, Py_ssize_t row0, Py_ssize_t rows) noexcept nogil:
    """So many slab rows of one input plane, from slab row row0 of the whole on."""
    cdef ConvJob *job = b.job
    cdef Py_ssize_t W = job.p.size[2], H = job.p.size[1], top = row0 * job.t.step[1] - job.p.before[1], y, iy
    cdef Py_ssize_t low = max(<Py_ssize_t>0, top), high = min(H, top + rows)
    # short rows that follow each other are transposed as one
    cdef bint run = (W < 2 * VL and W != VL and job.xs[2] == 1 and job.xs[1] == W and b.xlane != 1 and low < high
                     and job.t.step[1] == 1 and job.p.mode == PAD_ZEROS)
    if run:
        turn(x + low * W, b.xlane, b.groups, b.spare, (high - low) * W)
    for y in range(rows):
        iy = source(top + y * job.t.step[1], H, job.p.mode)
        if iy < 0:
            memset(to, 0, job.t.row * sizeof(real))
        else:
            fill_lane_row(b, to, x + iy * job.xs[1], b.spare + (iy - low) * W * VL if run else NULL)
        to += job.t.row


cdef inline Py_ssize_t rows_read(const ConvJob *job, int axis, Py_ssize_t n) noexcept nogil:
    """Slab rows that n output rows read."""
    return (n - 1) * job.t.ss[axis] + (job.p.kernel[axis] - 1) * job.t.sd[axis] + 1


cdef void fill_band(Block *b, Py_ssize_t r, Py_ssize_t rows) noexcept nogil:
    """The slab of output rows r.. of the box; of the band before, what both read is kept."""
    cdef ConvJob *job = b.job
    cdef Py_ssize_t shift = b.band * job.t.ss[1] if r > 0 else job.t.slab[1], c, z, iz
    cdef Py_ssize_t keep = max(<Py_ssize_t>0, job.t.slab[1] - shift), need = rows_read(job, 1, rows)
    cdef real *to
    for c in range(job.p.C):
        for z in range(rows_read(job, 0, b.extent[0])):
            to = b.slab + c * job.t.channel + z * job.t.plane
            if keep:
                memmove(to, to + shift * job.t.row, keep * job.t.row * sizeof(real))
            if need <= keep:
                continue
            to += keep * job.t.row
            iz = source((b.start[0] * job.t.ss[0] + z) * job.t.step[0] - job.p.before[0], job.p.size[0], job.p.mode)
            if iz < 0:
                memset(to, 0, (need - keep) * job.t.row * sizeof(real))
            else:
                turn_plane(b, to, b.x + c * job.xc + iz * job.xs[0], (b.start[1] + r) * job.t.ss[1] + keep, need - keep)


# ---------------------------------------------------------------- sums

cdef void two_rows(Py_ssize_t n, const Tile *t) noexcept nogil:
    some_columns(2, 1, n, t)


cdef void one_out(Py_ssize_t n, const Tile *t) noexcept nogil:
    some_columns(1, 1, n, t)


cdef void two_outs(Py_ssize_t n, const Tile *t) noexcept nogil:
    some_columns(1, 2, n, t)


cdef void three_outs(Py_ssize_t n, const Tile *t) noexcept nogil:
    some_columns(1, 3, n, t)


cdef void four_outs(Py_ssize_t n, const Tile *t) noexcept nogil:
    some_columns(1, 4, n, t)


cdef void sum_row(Tile *t, Py_ssize_t m, bint pair, Py_ssize_t width) noexcept nogil:
    """A row, or a pair of them, of m output channels, in pieces as even as they come."""
    cdef Tile here = t[0]
    cdef Py_ssize_t wide = WIDE1 if m == 1 else WIDE2 if m == 2 else WIDE3 if m == 3 else WIDE4
    cdef Py_ssize_t pieces = up(width, wide), n = width // pieces, more = width - n * pieces, i
    for i in range(pieces):
        if i == pieces - more:
            n += 1
        if pair: two_rows(n, &here)
        elif m == 1: one_out(n, &here)
        elif m == 2: two_outs(n, &here)
        elif m == 3: three_outs(n, &here)
        else: four_outs(n, &here)
        here.slab += n * t.hop
        here.y += n * VL


cdef void put_band(Block *b, const real *sums, real *y, Py_ssize_t rows) noexcept nogil:
    """The sums of one output channel and depth."""
    cdef Py_ssize_t width = b.extent[2], i
    if b.job.ys[1] == width * b.job.ys[2]:
        put_groups(b, sums, y, rows * width)
        return
    for i in range(rows):
        put_groups(b, sums + i * width * VL, y + i * b.job.ys[1], width)


cdef void sum_band(Block *b, Tile *t, Py_ssize_t z, Py_ssize_t r, Py_ssize_t rows) noexcept nogil:
    """Output rows r.. of the box at one depth, every output channel."""
    cdef ConvJob *job = b.job
    cdef Py_ssize_t tiles = up(job.p.O, OUTS), i, o, q, m, step
    cdef const real *w = t.w
    cdef const real *bias = t.bias
    for i in range(tiles):
        o = job.p.O * i // tiles
        m = job.p.O * (i + 1) // tiles - o
        t.w = w + o * t.K * VL
        t.bias = bias + o * VL
        q = 0
        while q < rows:
            step = 2 if m == 1 and q + 2 <= rows else 1
            t.slab = b.slab + z * job.t.ss[0] * job.t.plane + q * t.row
            t.y = b.sums + q * t.yrow
            sum_row(t, m, step == 2, b.extent[2])
            q += step
        for q in range(m):
            put_band(b, b.sums + q * t.ychannel, b.y + (o + q) * job.yc + (b.start[0] + z) * job.ys[0]
                     + (b.start[1] + r) * job.ys[1] + b.start[2] * job.ys[2], rows)
    t.w = w
    t.bias = bias


# ---------------------------------------------------------------- items

cdef void list_lane_terms(const ConvJob *job, Py_ssize_t *off, Py_ssize_t *at) noexcept nogil:
    """From an output's place in the slab to each of its terms, and where the weights of each lie."""
    cdef Py_ssize_t kh = job.p.kernel[1], kw = job.p.kernel[2], c, z, y, x, i, j, from_, n = 0
    cdef bint turned = job.t.kw_first
    for c in range(job.p.C):
        for z in range(job.p.kernel[0]):
            from_ = n
            for i in range(kw if turned else kh):
                for j in range(kh if turned else kw):
                    y = j if turned else i
                    x = i if turned else j
                    off[n] = (c * job.t.channel + z * job.t.sd[0] * job.t.plane + y * job.t.sd[1] * job.t.row
                              + x * job.t.sd[2] * VL)
                    at[n] = (from_ + y * kw + x) * VL
                    n += 1


cdef void aim(Block *b, ConvJob *job, Py_ssize_t item, char *workspace) noexcept nogil:
    """The box of an item and its arrays: item = (sample, block of groups, box in D, H, W), the last fastest."""
    cdef Py_ssize_t a, blocks = up(job.p.G, VL), rest = item, g
    b.job = job
    for a in range(3):
        b.start[2 - a] = rest % job.t.boxes[2 - a] * job.t.box[2 - a]
        b.extent[2 - a] = min(job.t.box[2 - a], job.p.out[2 - a] - b.start[2 - a])
        rest = rest // job.t.boxes[2 - a]
    g = rest % blocks * VL
    b.groups = min(<Py_ssize_t>VL, job.p.G - g)
    b.xlane = job.p.C * job.xc
    b.ylane = job.p.O * job.yc
    b.x = <const real *>job.x + rest // blocks * job.xn + g * b.xlane
    b.y = <real *>job.y + rest // blocks * job.yn + g * b.ylane
    b.slab = <real *>(workspace + job.slab_at)
    b.spare = <real *>(workspace + job.panels_at)
    b.sums = <real *>(workspace + job.dense_at)
    b.band = (job.t.slab[1] - (job.p.kernel[1] - 1) * job.t.sd[1] - 1) // job.t.ss[1] + 1


cdef void groups_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t K = job.p.C * taps_of(job), g, r = 0, z, rows
    cdef Py_ssize_t *off = <Py_ssize_t *>workspace
    cdef real *bias = <real *>(workspace + lines(2 * K * sizeof(Py_ssize_t)))
    cdef real *weights = bias + job.p.O * VL
    cdef Block b
    cdef Tile t
    aim(&b, job, item, workspace)
    list_lane_terms(job, off, off + K)
    g = item // (job.t.boxes[0] * job.t.boxes[1] * job.t.boxes[2]) % up(job.p.G, VL) * VL
    if job.bias != NULL:
        turn(<const real *>job.bias + g * job.p.O, job.p.O, b.groups, bias, job.p.O)
    else:
        memset(bias, 0, job.p.O * VL * sizeof(real))
    if job.t.packed:
        t.w = <const real *>job.w + g * job.p.O * K
    else:
        turn(<const real *>job.w + g * job.p.O * K, job.p.O * K, b.groups, weights, job.p.O * K)
        t.w = weights
    t.off, t.at, t.bias, t.K = off, off + K, bias, K
    t.row = job.t.ss[1] * job.t.row
    t.hop = job.t.ss[2] * VL
    t.yrow = b.extent[2] * VL
    t.ychannel = b.band * t.yrow
    while r < b.extent[1]:
        rows = min(b.band, b.extent[1] - r)
        fill_band(&b, r, rows)
        for z in range(b.extent[0]):
            sum_band(&b, &t, z, r, rows)
        r += rows


cdef Py_ssize_t groups_items(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    return job.p.N * up(job.p.G, VL) * job.t.boxes[0] * job.t.boxes[1] * job.t.boxes[2]


cdef Py_ssize_t packed_size(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    return up(job.p.G, VL) * VL * job.p.O * job.p.C * taps_of(job)


cdef Py_ssize_t pack_items(void *conv_job) noexcept nogil:
    return up((<ConvJob *>conv_job).p.G, VL)


cdef void pack_item(void *conv_job, Py_ssize_t item, char *packed) noexcept nogil:
    """Item = a block of groups: (group, output channel, term) becomes (output channel, term, lane)."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t n = job.p.O * job.p.C * taps_of(job), g = item * VL
    turn(<const real *>job.w + g * n, n, min(<Py_ssize_t>VL, job.p.G - g), <real *>packed + g * n, n)


cdef void lay_out(void *conv_job) noexcept nogil:
    """Offsets of terms, bias and weights of a block of groups, slab, transposed rows of one plane, sums of a band."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t K = job.p.C * taps_of(job), vector = VL * sizeof(real)
    cdef Py_ssize_t band = (job.t.slab[1] - (job.p.kernel[1] - 1) * job.t.sd[1] - 1) // job.t.ss[1] + 1
    cdef Py_ssize_t weights = 0 if job.t.packed else job.p.O * K
    job.slab_at = lines(2 * K * sizeof(Py_ssize_t)) + lines((job.p.O + weights) * vector)
    job.panels_at = job.slab_at + lines(job.p.C * job.t.channel * sizeof(real))
    job.dense_at = job.panels_at + (lines(job.t.slab[1] * job.p.size[2] * vector) if job.p.size[2] < 2 * VL else 0)
    job.workspace_bytes = job.dense_at + lines(min(OUTS, job.p.O) * band * job.t.box[2] * vector)


cdef KernelTable LANES
LANES.name = "lanes"
LANES.lanes = VL
LANES.tile_rows = 1
LANES.run_item = groups_item
LANES.items = groups_items
LANES.lay_out = lay_out
LANES.packed_size = packed_size
LANES.pack_items = pack_items
LANES.pack_item = pack_item
LANES.reduce_items = NULL
LANES.reduce_item = NULL
LANES.grain = 2.5e5
LANES.chunk = 1
LANES.refill = 0
LANES.split_least = 0

tables = {"lanes": PyCapsule_New(&LANES, "cconv.kernel", NULL)}
stamp = CCONV_STAMP_STRING.decode()
