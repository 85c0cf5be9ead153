# cython: cdivision=True
# Weight gradients by lanes (many output channels): gy is transposed to panels of positions x NR output channels (L1),
# and outer products are summed on a register tile of MR rows (c, taps) x NR lanes (o), x broadcast from the slab, or
# without padding from where it lies.
#
# Rows of a tile have slab offsets in equal steps; of a gradient's rows those that follow each other in memory are
# one.
from cconv.kernels.box cimport Box
from cconv.kernels.job cimport ConvJob, WeightGradJob
from cconv.kernels.simd cimport MR, NR, VL, load, real, set1, store, transpose, vec
from cconv.kernels.slab cimport copy_run
from cconv.kernels.tile cimport tile_row


cdef struct Rows:
    # rows (c, tap) of a tile: `count` slab offsets from `off` in equal steps, and where their sums lie
    Py_ssize_t off
    Py_ssize_t step
    Py_ssize_t row
    Py_ssize_t row_step
    Py_ssize_t count

cdef struct Outer:
    # sums[i, :] (+)= sum over runs r, j < length of x[runs[r] + i*step + j*hop] * g[r*length + j, :]
    const real *x
    Py_ssize_t step, hop
    const Py_ssize_t *runs
    Py_ssize_t count, length        # runs, positions of each
    const real *g
    real *sums
    Py_ssize_t ld
    bint first                      # starts from zero


cdef inline Py_ssize_t strand_at(ConvJob *conv, Py_ssize_t x) noexcept nogil:
    """Slab column of tap x of a row."""
    x *= conv.t.sd[2]
    return x % conv.t.strands * conv.t.slab[2] + x // conv.t.strands


cdef inline Py_ssize_t deal(Rows *tiles, Py_ssize_t off, Py_ssize_t step, Py_ssize_t row, Py_ssize_t row_step,
                            Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """One tile of the rows first..last of a sequence in equal steps."""
    tiles.off = off + first * step
    tiles.step = step
    tiles.row = row + first * row_step
    tiles.row_step = row_step
    tiles.count = last - first
    return 1


cdef inline Py_ssize_t list_tiles(ConvJob *conv, Py_ssize_t C, Rows *tiles) noexcept nogil:
    """The (c, tap) rows of C channels in tiles whose slab offsets are in equal steps, along the axis (channels, kd, kh
    or kw) that fills tiles best. Channels stay outermost, so that a tile's slab rows serve all its taps from L1."""
    cdef Py_ssize_t kd = conv.p.kernel[0], kh = conv.p.kernel[1], kw = conv.p.kernel[2], T = kd * kh * kw
    cdef Py_ssize_t length[5]
    cdef Py_ssize_t a, best = 0, n = 0, c, z, y, x, t, parts, m, at
    length[0], length[1], length[2] = C, kd, kh
    # along W either taps of one strand, in steps of 1, or one tap of each strand, in steps of a strand
    length[3] = kw if conv.t.strands == 1 else (kw // conv.t.strands if conv.t.sd[2] == 1 else 1)
    length[4] = min(kw, conv.t.strands) if conv.t.sd[2] == 1 else 1
    for a in range(1, 5):
        if length[best] < MR and length[a] > length[best]:
            best = a
    if best == 0:
        parts = (C + MR - 1) // MR
        for m in range(parts):
            for z in range(kd):
                for y in range(kh):
                    for x in range(kw):
                        t = (z * kh + y) * kw + x
                        at = z * conv.t.sd[0] * conv.t.plane + y * conv.t.sd[1] * conv.t.row + strand_at(conv, x)
                        n += deal(tiles + n, at, conv.t.channel, t, T, tile_row(C, parts, m), tile_row(C, parts, m + 1))
        return n
    for c in range(C):
        for z in range(1 if best == 1 else kd):
            for y in range(1 if best == 2 else kh):
                t = (c * kd + z) * kh * kw + y * kw
                at = c * conv.t.channel + z * conv.t.sd[0] * conv.t.plane + y * conv.t.sd[1] * conv.t.row
                n += list_row(conv, best, at, t, tiles + n)
    return n


cdef inline Py_ssize_t list_row(ConvJob *conv, Py_ssize_t axis, Py_ssize_t off, Py_ssize_t row,
                                Rows *tiles) noexcept nogil:
    """The tiles of one row of taps: all of a column or plane of them for the axes 1 and 2."""
    cdef Py_ssize_t kw = conv.p.kernel[2], n = 0, x, m, parts, count, step, row_step, starts, hop
    starts = kw
    hop = 1
    if axis == 1:
        count, step, row_step = conv.p.kernel[0], conv.t.sd[0] * conv.t.plane, conv.p.kernel[1] * kw
    elif axis == 2:
        count, step, row_step = conv.p.kernel[1], conv.t.sd[1] * conv.t.row, kw
    elif axis == 3:
        starts = min(kw, conv.t.strands)
        count, step, row_step = kw, conv.t.sd[2] if conv.t.strands == 1 else 1, conv.t.strands
    else:
        hop = conv.t.strands
        count, step, row_step = conv.t.strands, conv.t.slab[2], 1
    x = 0
    while x < starts:
        if axis == 3:
            count = (kw - x + conv.t.strands - 1) // conv.t.strands
        elif axis == 4:
            count = min(conv.t.strands, kw - x)
        parts = (count + MR - 1) // MR
        for m in range(parts):
            n += deal(tiles + n, off + strand_at(conv, x), step, row + x, row_step, tile_row(count, parts, m),
                      tile_row(count, parts, m + 1))
        x += hop
    return n


cdef inline void transpose_row(const real *p, Py_ssize_t yc, Py_ssize_t step, real *q, Py_ssize_t width,
                               Py_ssize_t rows) noexcept nogil:
    """q[j, i] = p[i*yc + j*step] for the lanes i < rows of a panel, zeros in those up to VL."""
    cdef Py_ssize_t x = 0, i, j
    if step == 1 and width >= VL:
        while x < width:
            # the last block ends with the row
            x = min(x, width - VL)
            transpose(p + x, yc, <int>rows, q + x * NR, NR, VL)
            x += VL
        return
    for j in range(width):
        for i in range(rows):
            q[j * NR + i] = p[i * yc + j * step]
        for i in range(rows, VL):
            q[j * NR + i] = 0


cdef inline void transpose_grads(WeightGradJob *job, const Box *box, const real *y, Py_ssize_t O,
                                 real *to) noexcept nogil:
    """to[panel, position, lane] = gy of the box's positions; zeros in lanes without an output channel."""
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t positions = box.extent[0] * box.extent[1] * box.extent[2], n, z, row, o = 0
    cdef Py_ssize_t width = box.extent[2], high = box.extent[1], deep = box.extent[0]
    cdef Py_ssize_t panel = conv.t.samples * conv.t.box[0] * conv.t.box[1] * conv.t.box[2] * NR
    cdef const real *p
    cdef real *q
    if width * conv.ys[2] == conv.ys[1] and conv.ys[2] == 1:
        width *= high
        high = 1
        if width * conv.ys[2] == conv.ys[0]:
            width *= deep
            deep = 1
    while o < O:
        for n in range(box.samples):
            for z in range(deep):
                for row in range(high):
                    p = y + n * conv.yn + o * conv.yc + z * conv.ys[0] + row * conv.ys[1]
                    q = to + o // NR * panel + (n * positions + (z * high + row) * width) * NR + o % NR
                    transpose_row(p, conv.yc, conv.ys[2], q, width, min(<Py_ssize_t>VL, O - o))
        o += VL


cdef inline void outer_tile(const int m, const int v, const Outer *p) noexcept nogil:
    """m rows of v vectors."""
    cdef vec lo[14]
    cdef vec hi[14]
    cdef vec b0, b1, w
    cdef Py_ssize_t r, _j, step = p.step, hop = p.hop, ld = p.ld
    cdef int i
    cdef const real *a
    cdef const real *g = p.g
    if p.first:
        for i in range(m):
            lo[i] = set1(<real>0)
            hi[i] = lo[i]
    else:
        for i in range(m):
            lo[i] = load(p.sums + i * ld)
            if v == 2:
                hi[i] = load(p.sums + i * ld + VL)
    for r in range(p.count):
        a = p.x + p.runs[r]
        for _j in range(p.length):
            b0 = load(g)
            if v == 2:
                b1 = load(g + VL)
            for i in range(m):
                w = set1(a[i * step])
                lo[i] = lo[i] + w * b0
                if v == 2:
                    hi[i] = hi[i] + w * b1
            a += hop
            g += NR
    for i in range(m):
        store(p.sums + i * ld, lo[i])
        if v == 2:
            store(p.sums + i * ld + VL, hi[i])


cdef inline void any_outer(int m, const int v, const Outer *p) noexcept nogil:
    if m == 6: outer_tile(6, v, p)
    elif m == 5: outer_tile(5, v, p)
    elif m == 4: outer_tile(4, v, p)
    elif m == 3: outer_tile(3, v, p)
    elif m == 2: outer_tile(2, v, p)
    elif m == 1: outer_tile(1, v, p)
    elif MR > 6:
        # for 32 vector registers (AVX-512)
        if m == 14: outer_tile(14, v, p)
        elif m == 13: outer_tile(13, v, p)
        elif m == 12: outer_tile(12, v, p)
        elif m == 11: outer_tile(11, v, p)
        elif m == 10: outer_tile(10, v, p)
        elif m == 9: outer_tile(9, v, p)
        elif m == 8: outer_tile(8, v, p)
        elif m == 7: outer_tile(7, v, p)


cdef inline void write_lanes(const real *sums, Py_ssize_t K, Py_ssize_t O, real *to, Py_ssize_t ld,
                             bint swapped) noexcept nogil:
    """to[o, k] = sums[panel, k, lane], or to[k, o]"""
    cdef Py_ssize_t o = -VL, k, i, j
    cdef const real *p
    if swapped:
        for o in range(0, (O + NR - 1) // NR):
            for k in range(K):
                copy_run(to + k * ld + o * NR, sums + (o * K + k) * NR, 1, min(<Py_ssize_t>NR, O - o * NR))
        return
    while o + VL < O:
        o += VL
        p = sums + o // NR * K * NR + o % NR
        k = 0
        while k < K:
            if K >= VL:
                k = min(k, K - VL)
                transpose(p + k * NR, NR, VL, to + o * ld + k, ld, <int>min(<Py_ssize_t>VL, O - o))
                k += VL
                continue
            for i in range(min(<Py_ssize_t>VL, O - o)):
                for j in range(K):
                    to[(o + i) * ld + j] = p[j * NR + i]
            break
