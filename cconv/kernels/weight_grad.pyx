# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The weight gradient of a convolution, of one element type and one instruction set.

    gw[o, c, kd, kh, kw] = sum over n, od, oh, ow of
                           gy[n, o, od, oh, ow] * x[n, c, od*s - p + kd*d, oh*s - p + kh*d, ow*s - p + kw*d]

Letters: as in conv.pyx; gy is the gradient of the output. It is a matrix product whose sum runs over the positions of
all samples. One item is a block of channels c and of o of one group, and a chunk of the boxes of positions. For each
box the input rows are copied to the zero-padded slab of conv.pyx, and then
  lanes (many output channels) transposes gy to panels of positions x NR output channels (L1) and sums outer products on
        a register tile of MR rows (c, taps) x NR lanes (o): x is broadcast from the slab, or without padding from where
        it lies. Where a 1x1 convolution has more output than input channels, x and gy change places: the shorter
        is transposed;
  dots  (few output channels: depthwise, grouped, first layers) copies gy to whole vectors, zeros behind each row, and
        keeps vectors of partial sums of up to 4 x 8 (o, tap) pairs in registers: both factors are read along the row.
        So an input's NaN or inf may spoil weights whose windows do not hold it;
  taps  (slabs that would not fit) walks the input itself, weight by weight.
Each weight is one chain of multiply-adds (dots: VL chains) a chunk, and chunks are summed in order. Blocks and chunks
depend on shapes alone: the same bits for any number of threads.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from cconv.kernels.items cimport Team, item_run, lines, run_items, up
from cconv.kernels.job cimport ConvJob, KernelTable, WeightGradJob
from cconv.kernels.slab cimport fill_slab
from cconv.kernels.tile cimport MR, NR, VL, copy_run, load, real, set1, source, store, tile_row, vec


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

cdef extern from "simd.h" nogil:
    void transpose(const real *p, Py_ssize_t ld, int rows, real *q, Py_ssize_t ldq, int columns)
    real sum_lanes(vec v)


cdef struct Box:
    Py_ssize_t n                # first sample
    Py_ssize_t samples
    Py_ssize_t start[3]
    Py_ssize_t extent[3]


cdef struct Tile:
    # rows (c, tap) of a tile: `count` slab offsets from `off` in equal steps, and where their sums lie
    Py_ssize_t off
    Py_ssize_t step
    Py_ssize_t row
    Py_ssize_t row_step
    Py_ssize_t count


cdef void find_box(WeightGradJob *job, Py_ssize_t index, Box *box) noexcept nogil:
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t a
    for a in range(3):
        box.start[2 - a] = index % conv.t.boxes[2 - a] * conv.t.box[2 - a]
        box.extent[2 - a] = min(conv.t.box[2 - a], conv.p.out[2 - a] - box.start[2 - a])
        index = index // conv.t.boxes[2 - a]
    box.n = index * job.conv.t.samples
    box.samples = min(job.conv.t.samples, conv.p.N - box.n)


cdef Py_ssize_t list_runs(WeightGradJob *job, Box *box, Py_ssize_t *runs, Py_ssize_t *length) noexcept nogil:
    """Offset of each run of a box: rows, or all that follows each other in even steps; returns how many."""
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t n, z, y, count = 0, high = box.extent[1], deep = box.extent[0], samples = box.samples
    length[0] = box.extent[2]
    if job.t.across:
        high = 1
        length[0] = job.t.run
    elif job.t.by_lanes and (high == 1 or conv.t.ss[1] * conv.t.row == length[0] * job.hop):
        length[0] *= high
        high = 1
        if deep == 1 or conv.t.ss[0] * conv.t.plane == length[0] * job.hop:
            length[0] *= deep
            deep = 1
            if samples == 1 or job.conv.t.sample == length[0] * job.hop:
                length[0] *= samples
                samples = 1
    elif not job.t.by_lanes:
        length[0] = job.t.run
    for n in range(samples):
        for z in range(deep):
            for y in range(high):
                runs[count] = n * job.conv.t.sample + z * conv.t.ss[0] * conv.t.plane + y * conv.t.ss[1] * conv.t.row
                count += 1
    return count


cdef void fill_samples(WeightGradJob *job, Box *box, real *slab, const real *x, Py_ssize_t c0,
                       Py_ssize_t c1) noexcept nogil:
    """The slab of every sample, in the order of memory: a row may run over into the next, which is filled later."""
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t c, n
    if box.samples == 1:
        fill_slab(conv, slab, x, c0, c1, box.start, box.extent)
        return
    for c in range(c0, c1):
        for n in range(box.samples):
            fill_slab(conv, slab + (c - c0) * conv.t.channel + n * job.conv.t.sample, x + n * conv.xn, c, c + 1, box.start,
                      box.extent)


# ---------------------------------------------------------------- lanes

cdef Py_ssize_t deal(Tile *tiles, Py_ssize_t off, Py_ssize_t step, Py_ssize_t row, Py_ssize_t row_step,
                     Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """One tile of the rows first..last of a sequence in equal steps."""
    tiles.off = off + first * step
    tiles.step = step
    tiles.row = row + first * row_step
    tiles.row_step = row_step
    tiles.count = last - first
    return 1


cdef Py_ssize_t tap_at(ConvJob *conv, Py_ssize_t x) noexcept nogil:
    """Slab column of tap x of a row."""
    x *= conv.t.sd[2]
    return x % conv.t.strands * conv.t.slab[2] + x // conv.t.strands


cdef Py_ssize_t list_tiles(ConvJob *conv, Py_ssize_t C, Tile *tiles) noexcept nogil:
    """The (c, tap) rows of C channels in tiles whose slab offsets are in equal steps, along the axis (channels, kd, kh
    or kw) that fills tiles best. Channels stay outermost, so that a tile's slab rows serve all its taps from L1."""
    cdef Py_ssize_t kd = conv.p.kernel[0], kh = conv.p.kernel[1], kw = conv.p.kernel[2], T = kd * kh * kw
    cdef Py_ssize_t length[5]
    cdef Py_ssize_t a, best = 0, n = 0, c, z, y, x, t, parts, m
    length[0], length[1], length[2] = C, kd, kh
    # along W either taps of one phase, in steps of 1, or one tap of each phase, in steps of a phase
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
                        n += deal(tiles + n, z * conv.t.sd[0] * conv.t.plane + y * conv.t.sd[1] * conv.t.row + tap_at(conv, x),
                                  conv.t.channel, t, T, tile_row(C, parts, m), tile_row(C, parts, m + 1))
        return n
    for c in range(C):
        for z in range(1 if best == 1 else kd):
            for y in range(1 if best == 2 else kh):
                t = (c * kd + z) * kh * kw + y * kw
                n += list_row(conv, best, c * conv.t.channel + z * conv.t.sd[0] * conv.t.plane + y * conv.t.sd[1] * conv.t.row,
                              t, tiles + n)
    return n


cdef Py_ssize_t list_row(ConvJob *conv, Py_ssize_t axis, Py_ssize_t off, Py_ssize_t row, Tile *tiles) noexcept nogil:
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
            n += deal(tiles + n, off + tap_at(conv, x), step, row + x, row_step, tile_row(count, parts, m),
                      tile_row(count, parts, m + 1))
        x += hop
    return n


cdef void transpose_grads(WeightGradJob *job, Box *box, const real *y, Py_ssize_t O, real *to) noexcept nogil:
    """to[panel, position, lane] = gy of the box's positions; zeros in lanes without an output channel."""
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t positions = box.extent[0] * box.extent[1] * box.extent[2], n, z, row, o, j, i, x, lane, rows
    cdef Py_ssize_t width = box.extent[2], high = box.extent[1], deep = box.extent[0]
    cdef const real *p
    cdef real *q
    # rows that follow each other in memory are one long row
    if width * conv.ys[2] == conv.ys[1] and conv.ys[2] == 1:
        width *= high
        high = 1
        if width * conv.ys[2] == conv.ys[0]:
            width *= deep
            deep = 1
    o = -VL
    while o + VL < O:
        o += VL
        rows = min(<Py_ssize_t>VL, O - o)
        lane = o % NR
        for n in range(box.samples):
            for z in range(deep):
                for row in range(high):
                    p = y + n * conv.yn + o * conv.yc + z * conv.ys[0] + row * conv.ys[1]
                    q = to + ((o // NR * job.conv.t.samples * conv.t.box[0] * conv.t.box[1] * conv.t.box[2])
                              + n * positions + (z * high + row) * width) * NR + lane
                    if conv.ys[2] == 1 and width >= VL:
                        x = 0
                        while x < width:
                            # the last block ends with the row
                            x = min(x, width - VL)
                            transpose(p + x, conv.yc, <int>rows, q + x * NR, NR, VL)
                            x += VL
                        continue
                    for j in range(width):
                        for i in range(rows):
                            q[j * NR + i] = p[i * conv.yc + j * conv.ys[2]]
                        for i in range(rows, VL):
                            q[j * NR + i] = 0


cdef inline void outer_tile(const int m, const int v, const real *x, const Py_ssize_t step, const Py_ssize_t hop,
                            const Py_ssize_t *runs, Py_ssize_t count, Py_ssize_t length, const real *g, real *sums,
                            const Py_ssize_t ld, bint first) noexcept nogil:
    """sums[i, :] (+)= sum over runs r, j < length of x[runs[r] + i*step + j*hop] * g[r*length + j, :] for m rows of
    v vectors."""
    cdef vec lo[14]
    cdef vec hi[14]
    cdef vec b0, b1, w
    cdef Py_ssize_t r, _j
    cdef int i
    cdef const real *a
    for i in range(m):
        lo[i] = set1(<real>0) if first else load(sums + i * ld)
        if v == 2:
            hi[i] = set1(<real>0) if first else load(sums + i * ld + VL)
    for r in range(count):
        a = x + runs[r]
        for _j in range(length):
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
        store(sums + i * ld, lo[i])
        if v == 2:
            store(sums + i * ld + VL, hi[i])


cdef inline void any_outer(const int v, int m, const real *x, Py_ssize_t step, Py_ssize_t hop,
                           const Py_ssize_t *runs, Py_ssize_t count, Py_ssize_t length, const real *g, real *sums,
                           Py_ssize_t ld, bint first) noexcept nogil:
    if m == 6: outer_tile(6, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 5: outer_tile(5, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 4: outer_tile(4, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 3: outer_tile(3, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 2: outer_tile(2, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 1: outer_tile(1, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif MR > 6: wide_outer(v, m, x, step, hop, runs, count, length, g, sums, ld, first)


cdef inline void wide_outer(const int v, int m, const real *x, Py_ssize_t step, Py_ssize_t hop,
                            const Py_ssize_t *runs, Py_ssize_t count, Py_ssize_t length, const real *g, real *sums,
                            Py_ssize_t ld, bint first) noexcept nogil:
    """Tiles of 7 to 14 rows, for 32 vector registers (AVX-512)."""
    if m == 14: outer_tile(14, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 13: outer_tile(13, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 12: outer_tile(12, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 11: outer_tile(11, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 10: outer_tile(10, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 9: outer_tile(9, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 8: outer_tile(8, v, x, step, hop, runs, count, length, g, sums, ld, first)
    elif m == 7: outer_tile(7, v, x, step, hop, runs, count, length, g, sums, ld, first)


cdef void outer_box(WeightGradJob *job, const real *slab, const Py_ssize_t *runs, Py_ssize_t count, Py_ssize_t length,
                    const Tile *tiles, Py_ssize_t tile_count, const real *grads, Py_ssize_t O, real *sums,
                    Py_ssize_t K, bint first) noexcept nogil:
    """Every tile of one box: a panel of gradients stays in L1 for all rows."""
    cdef Py_ssize_t panel, t
    cdef Py_ssize_t size = job.conv.t.samples * job.conv.t.box[0] * job.conv.t.box[1] * job.conv.t.box[2] * NR
    cdef real *to
    for panel in range((O + NR - 1) // NR):
        for t in range(tile_count):
            to = sums + (panel * K + tiles[t].row) * NR
            if O - panel * NR <= VL:
                any_outer(1, <int>tiles[t].count, slab + tiles[t].off, tiles[t].step, job.hop, runs, count,
                          length, grads + panel * size, to, tiles[t].row_step * NR, first)
            else:
                any_outer(2, <int>tiles[t].count, slab + tiles[t].off, tiles[t].step, job.hop, runs, count,
                          length, grads + panel * size, to, tiles[t].row_step * NR, first)


cdef void write_lanes(const real *sums, Py_ssize_t K, Py_ssize_t O, real *to, Py_ssize_t ld,
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


# ---------------------------------------------------------------- dots

cdef void copy_grads(WeightGradJob *job, Box *box, const real *y, Py_ssize_t O, Py_ssize_t ld, real *to) noexcept nogil:
    """to[o, run, :] = the gradients of a run, zeros where the slab has no output or in the last vector."""
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t o, n, z, row, pitch = conv.t.row if job.t.across else job.t.run, width = box.extent[2]
    cdef const real *p
    cdef real *q
    for o in range(O):
        q = to + o * ld
        for n in range(box.samples):
            for z in range(box.extent[0]):
                for row in range(box.extent[1]):
                    p = y + n * conv.yn + o * conv.yc + z * conv.ys[0] + row * conv.ys[1]
                    copy_run(q, p, conv.ys[2], width)
                    memset(q + width, 0, (pitch - width) * sizeof(real))
                    q += pitch
                if job.t.across:
                    memset(q, 0, (job.t.run - box.extent[1] * pitch) * sizeof(real))
                    q += job.t.run - box.extent[1] * pitch


cdef inline void dot_tile(const int m, const int n, const real *g, Py_ssize_t g_step, const real *x,
                          const Py_ssize_t *off, const Py_ssize_t *runs, Py_ssize_t count, Py_ssize_t length,
                          real *sums, Py_ssize_t ld) noexcept nogil:
    """sums[i, j, lane] += gy[i] * x at off[j], summed over vectors of `count` runs, for m x n pairs."""
    cdef vec acc[32]
    cdef vec a[4]
    cdef vec b
    cdef Py_ssize_t r, v
    cdef int i, j
    cdef const real *p
    for i in range(m):
        for j in range(n):
            acc[i * n + j] = load(sums + i * ld + j * VL)
    for r in range(count):
        p = x + runs[r]
        v = 0
        while v < length:
            for i in range(m):
                a[i] = load(g + i * g_step + v)
            for j in range(n):
                b = load(p + off[j] + v)
                for i in range(m):
                    acc[i * n + j] = acc[i * n + j] + a[i] * b
            v += VL
        g += length
    for i in range(m):
        for j in range(n):
            store(sums + i * ld + j * VL, acc[i * n + j])


cdef inline void any_dot(const int m, int n, const real *g, Py_ssize_t g_step, const real *x, const Py_ssize_t *off,
                         const Py_ssize_t *runs, Py_ssize_t count, Py_ssize_t length, real *sums,
                         Py_ssize_t ld) noexcept nogil:
    if n == 8: dot_tile(m, 8, g, g_step, x, off, runs, count, length, sums, ld)
    elif n == 7: dot_tile(m, 7, g, g_step, x, off, runs, count, length, sums, ld)
    elif n == 6: dot_tile(m, 6, g, g_step, x, off, runs, count, length, sums, ld)
    elif n == 5: dot_tile(m, 5, g, g_step, x, off, runs, count, length, sums, ld)
    elif n == 4: dot_tile(m, 4, g, g_step, x, off, runs, count, length, sums, ld)
    elif n == 3: dot_tile(m, 3, g, g_step, x, off, runs, count, length, sums, ld)
    elif n == 2: dot_tile(m, 2, g, g_step, x, off, runs, count, length, sums, ld)
    elif n == 1: dot_tile(m, 1, g, g_step, x, off, runs, count, length, sums, ld)


cdef void dot_box(const real *slab, const Py_ssize_t *runs, Py_ssize_t count, Py_ssize_t length,
                  const Py_ssize_t *off, Py_ssize_t K, const real *grads, Py_ssize_t g_step, Py_ssize_t O,
                  real *sums) noexcept nogil:
    # accumulators of a tile: 24 where there are 32 registers, else 12
    cdef Py_ssize_t most = 4 if MR > 6 else 3, parts = (O + most - 1) // most, part, o, m, wide, k, t, t0, t1
    cdef Py_ssize_t ld = K * VL
    cdef real *to
    cdef const real *g
    for part in range(parts):
        o = tile_row(O, parts, part)
        m = tile_row(O, parts, part + 1) - o
        wide = min(<Py_ssize_t>8, (24 if MR > 6 else 12) // m)
        t = (K + wide - 1) // wide
        g = grads + o * g_step
        for k in range(t):
            t0 = tile_row(K, t, k)
            t1 = tile_row(K, t, k + 1)
            to = sums + o * ld + t0 * VL
            if m == 1: any_dot(1, <int>(t1 - t0), g, g_step, slab, off + t0, runs, count, length, to, ld)
            elif m == 2: any_dot(2, <int>(t1 - t0), g, g_step, slab, off + t0, runs, count, length, to, ld)
            elif m == 3: any_dot(3, <int>(t1 - t0), g, g_step, slab, off + t0, runs, count, length, to, ld)
            elif MR > 6: any_dot(4, <int>(t1 - t0), g, g_step, slab, off + t0, runs, count, length, to, ld)


# ---------------------------------------------------------------- taps

cdef real tap_sum(ConvJob *conv, const real *x, const real *y, Py_ssize_t z0, Py_ssize_t y0,
                  Py_ssize_t x0) noexcept nogil:
    """One weight of one sample straight from the input; the taps stand at padded position (z0, y0, x0)."""
    cdef Py_ssize_t z, row, j, iz, iy, ix
    cdef real total = 0
    for z in range(conv.p.out[0]):
        iz = source(z * conv.p.stride[0] + z0, conv.p.size[0], conv.p.mode)
        if iz < 0:
            continue
        for row in range(conv.p.out[1]):
            iy = source(row * conv.p.stride[1] + y0, conv.p.size[1], conv.p.mode)
            if iy < 0:
                continue
            for j in range(conv.p.out[2]):
                ix = source(j * conv.p.stride[2] + x0, conv.p.size[2], conv.p.mode)
                if ix >= 0:
                    total = total + (y[z * conv.ys[0] + row * conv.ys[1] + j * conv.ys[2]]
                                     * x[iz * conv.xs[0] + iy * conv.xs[1] + ix * conv.xs[2]])
    return total


cdef void run_taps(WeightGradJob *job, Py_ssize_t g, Py_ssize_t c, real *to) noexcept nogil:
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t T = conv.p.kernel[0] * conv.p.kernel[1] * conv.p.kernel[2], o, t, n
    cdef real total
    for o in range(conv.p.O):
        for t in range(T):
            total = 0
            for n in range(conv.p.N):
                if job.watch.look(job.watch):
                    return
                total = total + tap_sum(
                    conv, <const real *>conv.x + n * conv.xn + (g * conv.p.C + c) * conv.xc,
                    <const real *>conv.y + n * conv.yn + (g * conv.p.O + o) * conv.yc,
                    t // (conv.p.kernel[1] * conv.p.kernel[2]) * conv.p.dilation[0] - conv.p.before[0],
                    t // conv.p.kernel[2] % conv.p.kernel[1] * conv.p.dilation[1] - conv.p.before[1], t % conv.p.kernel[2] * conv.p.dilation[2] - conv.p.before[2])
            to[o * conv.p.C * T + t] = total


# ---------------------------------------------------------------- items

cdef bint read_in_place(WeightGradJob *here) noexcept nogil:
    """Sets a job to read the input where it lies, if no position of it is padded and its channels would not fall into
    the same cache sets. Nothing runs over: outer products read what they sum."""
    cdef ConvJob *conv = &here.conv
    if not here.t.in_place or (conv.p.C > 1 and conv.xc * <Py_ssize_t>sizeof(real) % 2048 == 0):
        return False
    conv.t.channel, conv.t.plane, conv.t.row, conv.t.strands = conv.xc, conv.xs[0], conv.xs[1], 1
    conv.t.ss[0], conv.t.ss[1] = conv.p.stride[0], conv.p.stride[1]
    conv.t.sd[0], conv.t.sd[1], conv.t.sd[2] = conv.p.dilation[0], conv.p.dilation[1], conv.p.dilation[2] * conv.xs[2]
    here.conv.t.sample = conv.xn
    here.hop = conv.p.stride[2] * conv.xs[2]
    return True


cdef void sum_boxes(WeightGradJob *job, char *workspace, const real *x, const real *y, Py_ssize_t C, Py_ssize_t O,
                    Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """The sums of C x O channels over boxes first..last, left in the workspace; x and y stand at the first ones."""
    cdef WeightGradJob here = job[0]
    cdef ConvJob *conv = &here.conv
    cdef Py_ssize_t T = conv.p.kernel[0] * conv.p.kernel[1] * conv.p.kernel[2], K = C * T, rows = here.conv.t.samples * conv.t.box[0] * conv.t.box[1]
    cdef Py_ssize_t b, k, count, length, tile_count = 0
    cdef Py_ssize_t ld = here.t.run * (rows if not here.t.across else here.conv.t.samples * conv.t.box[0])
    cdef Box box
    cdef const real *grad
    cdef const real *from_
    # the workspace: runs, tiles or tap offsets, slab, gradients, sums; each starts a cache line
    cdef Py_ssize_t *runs = <Py_ssize_t *>workspace
    cdef Py_ssize_t *off = runs + rows
    cdef Tile *tiles = <Tile *>off
    cdef real *slab = <real *>(workspace + conv.slab_at)
    cdef real *grads = <real *>(workspace + here.grads_at)
    cdef real *sums = <real *>(workspace + here.sums_at)
    cdef bint in_place = read_in_place(&here)
    if here.t.by_lanes:
        tile_count = list_tiles(conv, C, tiles)
    else:
        for k in range(K):
            off[k] = (k // T * conv.t.channel + k % T // (conv.p.kernel[1] * conv.p.kernel[2]) * conv.t.sd[0] * conv.t.plane
                      + k % T // conv.p.kernel[2] % conv.p.kernel[1] * conv.t.sd[1] * conv.t.row + tap_at(conv, k % conv.p.kernel[2]))
        memset(sums, 0, O * K * VL * sizeof(real))
        # vectors run past rows and boxes: what stands there is multiplied by zero, so it must be finite
        memset(slab, 0, (conv.t.c_block * conv.t.channel + 4 * NR) * sizeof(real))
    for b in range(first, last):
        if here.watch.look(here.watch):
            return
        find_box(&here, b, &box)
        if in_place:
            from_ = (x + box.n * conv.xn + box.start[0] * conv.p.stride[0] * conv.xs[0]
                     + box.start[1] * conv.p.stride[1] * conv.xs[1] + box.start[2] * conv.p.stride[2] * conv.xs[2])
        else:
            fill_samples(&here, &box, slab, x + box.n * conv.xn, 0, C)
            from_ = slab
        grad = (y + box.n * conv.yn + box.start[0] * conv.ys[0] + box.start[1] * conv.ys[1]
                + box.start[2] * conv.ys[2])
        count = list_runs(&here, &box, runs, &length)
        if here.t.by_lanes:
            transpose_grads(&here, &box, grad, O, grads)
            outer_box(&here, from_, runs, count, length, tiles, tile_count, grads, O, sums, K, b == first)
        else:
            copy_grads(&here, &box, grad, O, ld, grads)
            dot_box(from_, runs, count, length, off, K, grads, ld, O, sums)


cdef void sums_item(void *grad_job, Py_ssize_t item, char *workspace) noexcept nogil:
    """Item = (group, block of channels, block of output channels, chunk), the last fastest."""
    cdef WeightGradJob *job = <WeightGradJob *>grad_job
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t T = conv.p.kernel[0] * conv.p.kernel[1] * conv.p.kernel[2]
    cdef Py_ssize_t chunk = item % job.t.chunks, rest = item // job.t.chunks
    cdef Py_ssize_t ob = rest % job.t.o_blocks, cb = rest // job.t.o_blocks % job.t.c_blocks
    cdef Py_ssize_t g = rest // (job.t.o_blocks * job.t.c_blocks)
    cdef Py_ssize_t c0 = cb * conv.t.c_block, C = min(conv.t.c_block, conv.p.C - c0), K = C * T
    cdef Py_ssize_t o0 = ob * conv.t.o_block, O = min(conv.t.o_block, conv.p.O - o0), o, k
    cdef Py_ssize_t boxes = (conv.p.N + job.conv.t.samples - 1) // job.conv.t.samples * conv.t.boxes[0] * conv.t.boxes[1] * conv.t.boxes[2]
    cdef real *to = <real *>job.partial + (chunk * conv.p.G + g) * conv.p.O * conv.p.C * T
    cdef real *sums = <real *>(workspace + job.sums_at)
    sum_boxes(job, workspace, <const real *>conv.x + (g * conv.p.C + c0) * conv.xc,
              <const real *>conv.y + (g * conv.p.O + o0) * conv.yc, C, O, boxes * chunk // job.t.chunks,
              boxes * (chunk + 1) // job.t.chunks)
    if job.t.swapped:
        write_lanes(sums, K, O, to + c0 * conv.p.O + o0, conv.p.O, True)
    elif job.t.by_lanes:
        write_lanes(sums, K, O, to + (o0 * conv.p.C + c0) * T, conv.p.C * T, False)
    else:
        for o in range(O):
            for k in range(K):
                to[((o0 + o) * conv.p.C + c0) * T + k] = sum_lanes(load(sums + (o * K + k) * VL))


cdef void weight_taps_item(void *grad_job, Py_ssize_t item, char *_workspace) noexcept nogil:
    """Item = (group, channel)."""
    cdef WeightGradJob *job = <WeightGradJob *>grad_job
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t T = conv.p.kernel[0] * conv.p.kernel[1] * conv.p.kernel[2], g = item // conv.p.C, c = item % conv.p.C
    run_taps(job, g, c, <real *>job.partial + (g * conv.p.O * conv.p.C + c) * T)


cdef void run_grads(item_run one, void *grad_job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef ConvJob *conv = &(<WeightGradJob *>grad_job).conv
    cdef Team team = Team(conv.threads, <char *>conv.workspace, conv.workspace_bytes, 1)
    run_items(one, grad_job, &team, first, last)


cdef void run_weight_grad(void *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    run_grads(sums_item, job, first, last)


cdef void run_weight_taps(void *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    run_grads(weight_taps_item, job, first, last)


cdef Py_ssize_t weights_of(void *grad_job) noexcept nogil:
    cdef ConvJob *conv = &(<WeightGradJob *>grad_job).conv
    return conv.p.G * conv.p.O * conv.p.C * conv.p.kernel[0] * conv.p.kernel[1] * conv.p.kernel[2]


cdef Py_ssize_t grad_items(void *grad_job) noexcept nogil:
    cdef WeightGradJob *job = <WeightGradJob *>grad_job
    return job.conv.p.G * job.t.c_blocks * job.t.o_blocks * job.t.chunks


cdef void lay_out_grads(void *grad_job) noexcept nogil:
    """Runs, tiles or tap offsets; slab, past which whole vectors run; gradients; sums."""
    cdef WeightGradJob *job = <WeightGradJob *>grad_job
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t K = conv.t.c_block * conv.p.kernel[0] * conv.p.kernel[1] * conv.p.kernel[2]
    cdef Py_ssize_t depths = conv.t.samples * conv.t.box[0], rows = depths * conv.t.box[1], grads
    cdef Py_ssize_t width = up(conv.t.o_block, NR) * NR if job.t.by_lanes else conv.t.o_block * VL
    if job.t.by_lanes:
        grads = width * rows * conv.t.box[2]
    else:
        grads = conv.t.o_block * (depths if job.t.across else rows) * job.t.run
    job.hop = 1
    conv.slab_at = lines(rows * sizeof(Py_ssize_t) + K * (sizeof(Tile) if job.t.by_lanes else sizeof(Py_ssize_t)))
    job.grads_at = conv.slab_at + lines((conv.t.c_block * conv.t.channel + 4 * NR) * sizeof(real))
    job.sums_at = job.grads_at + lines(grads * sizeof(real))
    conv.workspace_bytes = job.sums_at + lines(K * up(width, NR) * NR * sizeof(real))


cdef void lay_out_weight_taps(void *grad_job) noexcept nogil:
    (<WeightGradJob *>grad_job).conv.workspace_bytes = 0


cdef void reduce_chunks(void *grad_job) noexcept nogil:
    """w = the sum of the chunks, in their order."""
    cdef WeightGradJob *job = <WeightGradJob *>grad_job
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t size = weights_of(grad_job), i = 0, chunk
    cdef const real *p = <const real *>job.partial
    cdef real *w = <real *>conv.w
    cdef vec total
    cdef real one
    while i + VL <= size:
        total = load(p + i)
        for chunk in range(1, job.t.chunks):
            total = total + load(p + chunk * size + i)
        store(w + i, total)
        i += VL
    while i < size:
        one = p[i]
        for chunk in range(1, job.t.chunks):
            one = one + p[chunk * size + i]
        w[i] = one
        i += 1


cdef KernelTable SUMS
SUMS.name = "weight_grad"
SUMS.lanes = VL
SUMS.tile_rows = MR
SUMS.run = run_weight_grad
SUMS.items = grad_items
SUMS.lay_out = lay_out_grads
SUMS.packed_size = weights_of
SUMS.pack = NULL
SUMS.reduce = reduce_chunks
SUMS.grain = 1e6
SUMS.stint = 2e8
SUMS.least = 1
SUMS.evens = False
SUMS.split_least = 0

cdef KernelTable WEIGHT_TAPS = SUMS
WEIGHT_TAPS.name = "weight_taps"
WEIGHT_TAPS.run = run_weight_taps
WEIGHT_TAPS.lay_out = lay_out_weight_taps

tables = {
    "weight_grad": PyCapsule_New(&SUMS, "cconv.kernel", NULL),
    "weight_taps": PyCapsule_New(&WEIGHT_TAPS, "cconv.kernel", NULL),
}
stamp = CCONV_STAMP_STRING.decode()
