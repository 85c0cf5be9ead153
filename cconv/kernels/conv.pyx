# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Convolution kernels of one element type and one instruction set.

    y[n, o, od, oh, ow] = bias[o] + sum over c, kd, kh, kw of
                          w[o, c, kd, kh, kw] * x[n, c, od*s - p + kd*d, oh*s - p + kh*d, ow*s - p + kw*d]

Letters: N batch, G groups, C / O input / output channels of one group, k kernel, s stride, d dilation, p padding.

One item is a box of output positions of one sample and group. For it
  1. fill_slab copies the input rows that the box reads into a zero-padded slab (L2), the columns de-interleaved by
     the stride, so that every tap of every output row is a contiguous run; padding modes live here and nowhere else;
  2. gemm (implicit GEMM, as in Chetlur et al., cuDNN, 2014, section 3) packs panels of NR positions x K taps (L1) from
     the slab and runs a register tile of MR output channels x NR positions over them, the weights broadcast;
     rows (few output channels: depthwise, filters) keeps eight vectors of one output channel in registers and reads
     the slab directly; taps (slabs that would not fit) walks the input itself, tap by tap.
Each output is one chain of multiply-adds in the order c, kd, kh, kw (c, kd, kw, kh where rows may share its loads, see
`kw_first`), which depends on the weight's shape alone: the same bits for any thread, batch, strides and size of input.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from cconv.kernels.items cimport Team, item_run, lines, run_items, up
from cconv.kernels.job cimport PAD_ZEROS, ConvJob, KernelTable
from cconv.kernels.slab cimport fill_slab
from cconv.kernels.tile cimport (MR, NR, VL, any_pair, any_tile, any_tile_at, load, real, set1, source, store, tile_row,
                                 vec)


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

cdef extern from "simd.h" nogil:
    void store2(real *p, vec a, vec b)
    void store4(real *p, vec a, vec b, vec c, vec d)


# ---------------------------------------------------------------- weights

cdef void pack_tiles(void *conv_job, void *packed) noexcept nogil:
    """(G, O, K) rows into tiles of up to MR rows, k outer and row inner: a tile reads its weights as one stream."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t K = job.p.C * job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2]
    cdef Py_ssize_t tiles = (job.p.O + MR - 1) // MR, g, t, o, rows, k, i
    cdef const real *w = <const real *>job.w
    cdef real *to = <real *>packed
    for g in range(job.p.G):
        for t in range(tiles):
            o = tile_row(job.p.O, tiles, t)
            rows = tile_row(job.p.O, tiles, t + 1) - o
            for k in range(K):
                for i in range(rows):
                    to[0] = w[(g * job.p.O + o + i) * K + k]
                    to += 1


# ---------------------------------------------------------------- where the taps lie

cdef void turn_taps(ConvJob *job, Py_ssize_t *off, real *w, const real *from_, Py_ssize_t blocks) noexcept nogil:
    """Offsets and weights of whole (c, kd) blocks, from the order kh, kw into kw, kh; `off` has room for both."""
    cdef Py_ssize_t kh = job.p.kernel[1], kw = job.p.kernel[2], i, y, x, n = 0
    cdef Py_ssize_t *to = off + blocks * kh * kw
    for i in range(blocks):
        for x in range(kw):
            for y in range(kh):
                to[n] = off[(i * kh + y) * kw + x]
                w[n] = from_[(i * kh + y) * kw + x]
                n += 1


cdef Py_ssize_t tap_offsets(ConvJob *job, Py_ssize_t *off, Py_ssize_t channels, Py_ssize_t t0,
                            Py_ssize_t t1) noexcept nogil:
    """Slab offset of each (channel, tap) of a k block; returns how many."""
    cdef Py_ssize_t c, t, z, y, x, n = 0, kw = job.p.kernel[2], kh = job.p.kernel[1], at
    for c in range(channels):
        if t1 - t0 == kw * kh * job.p.kernel[0]:
            # every tap: no division but for a strided row, which lies in phases
            for z in range(job.p.kernel[0]):
                for y in range(kh):
                    at = c * job.t.channel + z * job.t.sd[0] * job.t.plane + y * job.t.sd[1] * job.t.row
                    for x in range(kw):
                        off[n] = at + x * job.t.sd[2] if job.t.strands == 1 else (
                            at + x * job.t.sd[2] % job.t.strands * job.t.slab[2] + x * job.t.sd[2] // job.t.strands)
                        n += 1
            continue
        for t in range(t0, t1):
            z = t // (kh * kw)
            y = t // kw % kh
            x = t % kw * job.t.sd[2]
            off[n] = (c * job.t.channel + z * job.t.sd[0] * job.t.plane + y * job.t.sd[1] * job.t.row
                      + x % job.t.strands * job.t.slab[2] + x // job.t.strands)
            n += 1
    return n


# ---------------------------------------------------------------- gemm

cdef struct Run:
    # consecutive positions of one output row inside a panel
    Py_ssize_t slab
    Py_ssize_t lane
    Py_ssize_t length
    Py_ssize_t y


cdef int panel_runs(ConvJob *job, Run *runs, Py_ssize_t first, Py_ssize_t last, Py_ssize_t *start,
                    Py_ssize_t *extent) noexcept nogil:
    """The runs of positions first..last (counted within the boxes of the item's samples); returns how many."""
    cdef Py_ssize_t q = first, x, y, z, s, n
    cdef int count = 0
    while q < last:
        x = q % extent[2]
        y = q // extent[2] % extent[1]
        z = q // (extent[2] * extent[1]) % extent[0]
        s = q // (extent[2] * extent[1] * extent[0])
        n = min(extent[2] - x, last - q)
        runs[count].slab = s * job.t.sample + z * job.t.ss[0] * job.t.plane + y * job.t.ss[1] * job.t.row + x
        runs[count].lane = q - first
        runs[count].length = n
        runs[count].y = (s * job.yn + (start[0] + z) * job.ys[0] + (start[1] + y) * job.ys[1]
                         + (start[2] + x) * job.ys[2])
        count += 1
        q += n
    return count


cdef void pack_panel(real *to, const real *slab, const Py_ssize_t *off, Py_ssize_t count, Run *runs,
                     int n) noexcept nogil:
    """to[k, lane] = slab[off[k] + position of lane]. Whole vectors are copied: what overruns a run is overwritten by
    the next run or the next k, and the slab and panels have slack for the last."""
    cdef Py_ssize_t k
    cdef int r
    cdef const real *p
    cdef const real *q
    if n == 1 and runs[0].length < NR:
        # exactly the run: without a slab the input itself is read, which has no slack
        p = slab + runs[0].slab
        for k in range(count):
            for r in range(runs[0].length):
                to[k * NR + r] = p[off[k] + r]
        return
    if n == 1:
        p = slab + runs[0].slab
        for k in range(count):
            store(to + k * NR, load(p + off[k]))
            store(to + k * NR + VL, load(p + off[k] + VL))
        return
    if n == 2:
        p = slab + runs[0].slab
        q = slab + runs[1].slab
        for k in range(count):
            store(to, load(p + off[k]))
            store(to + VL, load(p + off[k] + VL))
            store(to + runs[1].lane, load(q + off[k]))
            store(to + runs[1].lane + VL, load(q + off[k] + VL))
            to += NR
        return
    for k in range(count):
        for r in range(n):
            p = slab + off[k] + runs[r].slab
            store(to + runs[r].lane, load(p))
            if runs[r].length > VL:
                store(to + runs[r].lane + VL, load(p + VL))
        to += NR


cdef void pack_row(real *to, const real *p, const Py_ssize_t *off, Py_ssize_t count,
                   Py_ssize_t panels) noexcept nogil:
    """Full panels that neighbour in one row, as pack_panel: a channel's row is read in one go, for the TLB's sake."""
    cdef Py_ssize_t k, j, size = count * NR
    cdef const real *q
    for k in range(count):
        q = p + off[k]
        for j in range(panels):
            store(to + j * size, load(q + j * NR))
            store(to + j * size + VL, load(q + j * NR + VL))
        to += NR


cdef inline void copy_tile(real *y, Py_ssize_t step, real *buf, Run *runs, int n, Py_ssize_t yc, int m,
                           bint out) noexcept nogil:
    """Between the output and a dense MR x NR buffer, for panels that are not one contiguous full run."""
    cdef int i, r
    cdef Py_ssize_t j
    cdef real *p
    cdef real *q
    for i in range(m):
        for r in range(n):
            p = y + i * yc + runs[r].y
            q = buf + i * NR + runs[r].lane
            if out:
                for j in range(runs[r].length):
                    p[j * step] = q[j]
            else:
                for j in range(runs[r].length):
                    q[j] = p[j * step]


cdef inline bint follow(const Run *runs, int n) noexcept nogil:
    """Whether the runs lie one behind the other in y. Every one is looked at: with negative strides the last can stand
    where it should while those between do not."""
    cdef int r
    for r in range(1, n):
        if runs[r].y - runs[0].y != runs[r].lane:
            return False
    return True


cdef void gemm_block(ConvJob *job, const real *w, const real *bias, real *y, const real *panels, Py_ssize_t count,
                     Py_ssize_t k0, bint first, Py_ssize_t tile0, Py_ssize_t tile1, Py_ssize_t tiles,
                     Py_ssize_t *start, Py_ssize_t *extent, Py_ssize_t positions, real *dense) noexcept nogil:
    """One k block: every panel of the box times the weights of tiles tile0..tile1; the sums go to y or to `dense`."""
    cdef Py_ssize_t K = job.p.C * job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2]
    cdef Py_ssize_t block = max(1, job.t.o_block // MR), t, t0, t1, o, q, m
    cdef Run runs[64]
    cdef int n
    cdef bint direct
    cdef real buf[2 * 14 * 32]
    cdef const real *a
    cdef const real *b
    cdef const real *bb
    t0 = tile0
    while t0 < tile1:
        t1 = min(t0 + block, tile1)
        q = 0
        b = panels
        while q < positions:
            n = panel_runs(job, runs, q, min(q + NR, positions), start, extent)
            direct = dense == NULL and q + NR <= positions and job.ys[2] == 1 and follow(runs, n)
            t = t0
            while t < t1:
                o = tile_row(job.p.O, tiles, t)
                m = tile_row(job.p.O, tiles, t + 1) - o
                a = w + o * K + (k0 * m if job.t.packed else k0)
                bb = bias + o if bias != NULL else NULL
                t += 1
                if dense != NULL:
                    any_tile(m, job.t.packed, a, K, b, count, dense + o * job.t.dense + q, job.t.dense, bb, first)
                elif q + VL >= positions and t < t1 and tile_row(job.p.O, tiles, t + 1) - o == 2 * m:
                    # at most half a panel: two tiles at once
                    if not first:
                        copy_tile(y + o * job.yc, job.ys[2], buf, runs, n, job.yc, 2 * m, False)
                    any_pair(m, job.t.packed, a, a + m * K, K, b, count, buf, buf + m * NR, NR, bb,
                             bb + m if bb != NULL else NULL, first)
                    copy_tile(y + o * job.yc, job.ys[2], buf, runs, n, job.yc, 2 * m, True)
                    t += 1
                elif direct:
                    any_tile(m, job.t.packed, a, K, b, count, y + o * job.yc + runs[0].y, job.yc, bb, first)
                else:
                    if not first:
                        copy_tile(y + o * job.yc, job.ys[2], buf, runs, n, job.yc, m, False)
                    any_tile(m, job.t.packed, a, K, b, count, buf, NR, bb, first)
                    copy_tile(y + o * job.yc, job.ys[2], buf, runs, n, job.yc, m, True)
            q += NR
            b += count * NR
        t0 = t1


cdef void unpacked_block(ConvJob *job, const real *w, const real *bias, real *y, const real *slab,
                         const Py_ssize_t *off, real *weights, Py_ssize_t tile0, Py_ssize_t tile1, Py_ssize_t tiles,
                         Py_ssize_t *start, Py_ssize_t *extent) noexcept nogil:
    """A whole box for few output channels: pairs of vectors of its rows, the last of a row ending with it."""
    cdef Py_ssize_t K = job.p.C * job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2], vectors = (extent[2] + VL - 1) // VL
    cdef Py_ssize_t total = extent[0] * extent[1] * vectors, t, o, m, v, k, i, j, s
    cdef Py_ssize_t from_[2]
    cdef Py_ssize_t to[2]
    cdef real buf[2 * 14 * 16]
    cdef const real *a
    cdef const real *bb
    for t in range(tile0, tile1):
        o = tile_row(job.p.O, tiles, t)
        m = tile_row(job.p.O, tiles, t + 1) - o
        a = w + o * K
        if not job.t.packed:
            for i in range(m):
                for k in range(K):
                    weights[k * m + i] = a[i * K + k]
            a = weights
        bb = bias + o if bias != NULL else NULL
        v = 0
        while v < total:
            for s in range(2):
                # an odd last vector is computed twice
                j = min(v + s, total - 1)
                i = min(j % vectors * VL, extent[2] - VL)
                j = j // vectors
                k = j // extent[1]
                j = j % extent[1]
                from_[s] = k * job.t.ss[0] * job.t.plane + j * job.t.ss[1] * job.t.row + i
                to[s] = (start[0] + k) * job.ys[0] + (start[1] + j) * job.ys[1] + (start[2] + i) * job.ys[2]
            if job.ys[2] == 1:
                any_tile_at(m, a, slab + from_[0], slab + from_[1], off, K, y + o * job.yc + to[0],
                            y + o * job.yc + to[1], job.yc, bb)
            else:
                any_tile_at(m, a, slab + from_[0], slab + from_[1], off, K, buf, buf + 14 * VL, VL, bb)
                for s in range(2):
                    for i in range(m):
                        for j in range(VL):
                            y[(o + i) * job.yc + to[s] + j * job.ys[2]] = buf[(s * 14 + i) * VL + j]
            v += 2


# ---------------------------------------------------------------- rows

cdef inline void put_rows(const int R, const int V, vec *acc, Py_ssize_t last, real *y, Py_ssize_t ystep,
                          Py_ssize_t xstep, Py_ssize_t width) noexcept nogil:
    """R rows of V vectors into y; the last vector stands at `last`, so that it ends with the row."""
    cdef real buf[64]
    cdef int r, v
    cdef Py_ssize_t j, at
    if xstep == 1 and width >= VL:
        for r in range(R):
            for v in range(V - 1):
                store(y + r * ystep + v * VL, acc[r * V + v])
            store(y + r * ystep + last, acc[r * V + V - 1])
        return
    for r in range(R):
        for v in range(V):
            at = last if v == V - 1 else v * VL
            store(buf, acc[r * V + v])
            for j in range(min(<Py_ssize_t>VL, width - at)):
                y[r * ystep + (at + j) * xstep] = buf[j]


cdef inline void rows_tile(const int R, const int V, const real *w, const real *slab, Py_ssize_t step,
                           const Py_ssize_t *off, Py_ssize_t count, real *y, Py_ssize_t ystep, Py_ssize_t xstep,
                           Py_ssize_t width, real bias, bint first) noexcept nogil:
    """R rows x V vectors of one output channel: y[r, :] (+)= sum over k of w[k] * slab[r*step + off[k] + :]."""
    cdef vec acc[8]
    cdef vec a
    cdef real buf[64]
    cdef Py_ssize_t last = max(<Py_ssize_t>0, width - VL), at, k, j
    cdef int r, v
    cdef const real *p
    if first:
        for r in range(R * V):
            acc[r] = set1(bias)
    else:
        for r in range(R):
            for v in range(V):
                at = last if v == V - 1 else v * VL
                for j in range(min(<Py_ssize_t>VL, width - at)):
                    buf[j] = y[r * ystep + (at + j) * xstep]
                acc[r * V + v] = load(buf)
    for k in range(count):
        a = set1(w[k])
        p = slab + off[k]
        for r in range(R):
            for v in range(V - 1):
                acc[r * V + v] = acc[r * V + v] + a * load(p + r * step + v * VL)
            acc[r * V + V - 1] = acc[r * V + V - 1] + a * load(p + r * step + last)
    put_rows(R, V, acc, last, y, ystep, xstep, width)


cdef inline void shared_row(const int R, const int V, const int KH, const int S, const int r, vec *acc, const vec *a,
                            const real *p, Py_ssize_t last) noexcept nogil:
    """Input row r of a tile, to every output row whose window holds it."""
    cdef vec x
    cdef int v, h
    for v in range(V):
        x = load(p + (last if v == V - 1 else v * VL))
        for h in range(KH):
            if r - h >= 0 and (r - h) % S == 0 and r - h < R * S:
                acc[(r - h) // S * V + v] = acc[(r - h) // S * V + v] + a[h] * x


cdef inline void shared_tile(const int R, const int V, const int KH, const int S, const real *w, const real *slab,
                             Py_ssize_t row, const Py_ssize_t *off, Py_ssize_t outer, Py_ssize_t KW, real *y,
                             Py_ssize_t ystep, Py_ssize_t xstep, Py_ssize_t width, real bias) noexcept nogil:
    """As rows_tile for undilated kernels of KH rows and stride S: a vector is loaded once for all rows that use it.

    Order of summation: c, kd, kw, kh."""
    cdef vec acc[16]
    cdef vec a[5]
    cdef Py_ssize_t last = max(<Py_ssize_t>0, width - VL), i, k
    cdef int r, h
    cdef const real *p
    for r in range(R * V):
        acc[r] = set1(bias)
    for i in range(outer):
        for k in range(KW):
            p = slab + off[i * KH * KW + k]
            for h in range(KH):
                a[h] = set1(w[(i * KH + h) * KW + k])
            # written out: the compiler unrolls loops over v and h, but not one more around them
            if 0 < (R - 1) * S + KH: shared_row(R, V, KH, S, 0, acc, a, p, last)
            if 1 < (R - 1) * S + KH: shared_row(R, V, KH, S, 1, acc, a, p + row, last)
            if 2 < (R - 1) * S + KH: shared_row(R, V, KH, S, 2, acc, a, p + 2 * row, last)
            if 3 < (R - 1) * S + KH: shared_row(R, V, KH, S, 3, acc, a, p + 3 * row, last)
            if 4 < (R - 1) * S + KH: shared_row(R, V, KH, S, 4, acc, a, p + 4 * row, last)
            if 5 < (R - 1) * S + KH: shared_row(R, V, KH, S, 5, acc, a, p + 5 * row, last)
            if 6 < (R - 1) * S + KH: shared_row(R, V, KH, S, 6, acc, a, p + 6 * row, last)
            if 7 < (R - 1) * S + KH: shared_row(R, V, KH, S, 7, acc, a, p + 7 * row, last)
            if 8 < (R - 1) * S + KH: shared_row(R, V, KH, S, 8, acc, a, p + 8 * row, last)
            if 9 < (R - 1) * S + KH: shared_row(R, V, KH, S, 9, acc, a, p + 9 * row, last)
            if 10 < (R - 1) * S + KH: shared_row(R, V, KH, S, 10, acc, a, p + 10 * row, last)
            if 11 < (R - 1) * S + KH: shared_row(R, V, KH, S, 11, acc, a, p + 11 * row, last)
    put_rows(R, V, acc, last, y, ystep, xstep, width)


cdef inline void shared_rows(const int KH, const int S, ConvJob *job, const real *w, real bias, real *y,
                             const real *slab, const Py_ssize_t *off, Py_ssize_t rows, Py_ssize_t width) noexcept nogil:
    """All rows of a box at one depth by shared_tile, the last ones computed again where rows do not divide."""
    cdef Py_ssize_t i = 0, x, n, outer = job.p.C * job.p.kernel[0], KW = job.p.kernel[2], xs = job.ys[2], ys = job.ys[1]
    cdef Py_ssize_t vectors = (width + VL - 1) // VL
    cdef real *to
    cdef const real *p
    while i < rows:
        if S == 1 and vectors == 1 and rows >= 8:
            i = min(i, rows - 8)
            shared_tile(8, 1, KH, S, w, slab + i * S * job.t.row, job.t.row, off, outer, KW, y + i * ys, ys, xs, width,
                        bias)
            i += 8
            continue
        i = min(i, rows - 4)
        p = slab + i * S * job.t.row
        to = y + i * ys
        x = 0
        while x < width:
            n = min(width - x, 2 * VL)
            if n > VL:
                shared_tile(4, 2, KH, S, w, p + x, job.t.row, off, outer, KW, to + x * xs, ys, xs, n, bias)
            elif width >= VL:
                # one vector, ending with the row
                shared_tile(4, 1, KH, S, w, p + width - VL, job.t.row, off, outer, KW, to + (width - VL) * xs, ys, xs, VL,
                            bias)
            else:
                shared_tile(4, 1, KH, S, w, p, job.t.row, off, outer, KW, to, ys, xs, n, bias)
            x += n
        i += 4


cdef void rows_block(ConvJob *job, const real *w, const real *bias, real *y, const real *slab, const Py_ssize_t *off,
                     Py_ssize_t count, Py_ssize_t k0, bint first, Py_ssize_t *start, Py_ssize_t *extent) noexcept nogil:
    """One k block of the rows kernel: row after row of the box, up to eight vectors at a time."""
    cdef Py_ssize_t K = job.p.C * job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2], xs = job.ys[2], width = extent[2], n, o, z, i, x
    cdef Py_ssize_t step = job.t.ss[1] * job.t.row, ys = job.ys[1], rows, vectors = (width + VL - 1) // VL
    # pieces of at most eight vectors, as even as they come: none of a single partial vector, which would overlap
    cdef Py_ssize_t pieces = (vectors + 7) // 8, piece = (vectors + pieces - 1) // pieces
    cdef real b
    cdef real *to
    cdef const real *p
    cdef const real *a
    cdef const Py_ssize_t *at
    cdef bint shared = count == K and job.t.sd[1] == 1 and extent[1] >= 4 and job.t.kw_first
    cdef bint turn = job.t.kw_first and not (shared and job.t.ss[1] <= 2)
    cdef real *weights = <real *>(off + 2 * count)
    for o in range(job.p.O):
        b = bias[o] if bias != NULL else <real>0
        a = w + o * K + k0
        if turn:
            turn_taps(job, <Py_ssize_t *>off, weights, a, count // (job.p.kernel[1] * job.p.kernel[2]))
            a = weights
        for z in range(extent[0]):
            p = slab + z * job.t.ss[0] * job.t.plane
            to = y + o * job.yc + (start[0] + z) * job.ys[0] + start[1] * ys + start[2] * xs
            if shared and job.p.kernel[1] == 3 and job.t.ss[1] == 1:
                shared_rows(3, 1, job, a, b, to, p, off, extent[1], width)
                continue
            if shared and job.p.kernel[1] == 3 and job.t.ss[1] == 2:
                shared_rows(3, 2, job, a, b, to, p, off, extent[1], width)
                continue
            if shared and job.p.kernel[1] == 5 and job.t.ss[1] == 1:
                shared_rows(5, 1, job, a, b, to, p, off, extent[1], width)
                continue
            if shared and job.p.kernel[1] == 5 and job.t.ss[1] == 2:
                shared_rows(5, 2, job, a, b, to, p, off, extent[1], width)
                continue
            at = off + count if turn else off
            i = 0
            while i < extent[1]:
                rows = extent[1] - i
                if vectors == 1 and rows >= 8:
                    rows_tile(8, 1, a, p, step, at, count, to, ys, xs, width, b, first)
                    n = 8
                elif vectors == 2 and rows >= 4:
                    rows_tile(4, 2, a, p, step, at, count, to, ys, xs, width, b, first)
                    n = 4
                elif vectors == 3 and rows >= 2:
                    rows_tile(2, 3, a, p, step, at, count, to, ys, xs, width, b, first)
                    n = 2
                elif vectors == 4 and rows >= 2:
                    rows_tile(2, 4, a, p, step, at, count, to, ys, xs, width, b, first)
                    n = 2
                else:
                    n = 1
                    x = 0
                    while x < width:
                        rows_piece(a, p + x, step, at, count, to + x * xs, ys, xs, min(width - x, piece * VL), b,
                                   first)
                        x += piece * VL
                i += n
                p += n * step
                to += n * ys


cdef void rows_piece(const real *a, const real *p, Py_ssize_t step, const Py_ssize_t *off, Py_ssize_t count, real *to,
                     Py_ssize_t ys, Py_ssize_t xs, Py_ssize_t n, real b, bint first) noexcept nogil:
    """One row of up to eight vectors."""
    if n > 7 * VL: rows_tile(1, 8, a, p, step, off, count, to, ys, xs, n, b, first)
    elif n > 6 * VL: rows_tile(1, 7, a, p, step, off, count, to, ys, xs, n, b, first)
    elif n > 5 * VL: rows_tile(1, 6, a, p, step, off, count, to, ys, xs, n, b, first)
    elif n > 4 * VL: rows_tile(1, 5, a, p, step, off, count, to, ys, xs, n, b, first)
    elif n > 3 * VL: rows_tile(1, 4, a, p, step, off, count, to, ys, xs, n, b, first)
    elif n > 2 * VL: rows_tile(1, 3, a, p, step, off, count, to, ys, xs, n, b, first)
    elif n > VL: rows_tile(1, 2, a, p, step, off, count, to, ys, xs, n, b, first)
    else: rows_tile(1, 1, a, p, step, off, count, to, ys, xs, n, b, first)


# ---------------------------------------------------------------- taps

cdef void taps_row(ConvJob *job, const real *x, const real *w, real bias, real *y, Py_ssize_t od,
                   Py_ssize_t oh) noexcept nogil:
    """One output row straight from the input, a tap at a time: for slabs that would not fit (huge dilations)."""
    cdef Py_ssize_t c, z, y_, k, iz, iy, i, ow, at, step = job.p.stride[2] * job.xs[2], a, b, L = job.p.size[2]
    cdef Py_ssize_t t, kh = job.p.kernel[1], kw = job.p.kernel[2]
    cdef bint turn = job.t.kw_first
    cdef const real *row
    cdef real v
    for ow in range(job.p.out[2]):
        y[ow * job.ys[2]] = bias
    for c in range(job.p.C):
        for z in range(job.p.kernel[0]):
            iz = source(od * job.p.stride[0] - job.p.before[0] + z * job.p.dilation[0], job.p.size[0], job.p.mode)
            for t in range(kh * kw):
                y_, k = (t % kh, t // kh) if turn else (t // kw, t % kw)
                iy = source(oh * job.p.stride[1] - job.p.before[1] + y_ * job.p.dilation[1], job.p.size[1], job.p.mode)
                if iz < 0 or iy < 0:
                    continue
                row = x + c * job.xc + iz * job.xs[0] + iy * job.xs[1]
                v = w[(z * kh + y_) * kw + k]
                at = k * job.p.dilation[2] - job.p.before[2]
                # outputs a <= ow < b read inside the input
                a = 0 if at >= 0 else min(job.p.out[2], (-at + job.p.stride[2] - 1) // job.p.stride[2])
                b = 0 if at >= L else min(job.p.out[2], (L - at + job.p.stride[2] - 1) // job.p.stride[2])
                if job.p.mode != PAD_ZEROS:
                    for ow in range(min(a, job.p.out[2])):
                        i = source(at + ow * job.p.stride[2], L, job.p.mode)
                        y[ow * job.ys[2]] = y[ow * job.ys[2]] + v * row[i * job.xs[2]]
                    for ow in range(max(a, b), job.p.out[2]):
                        i = source(at + ow * job.p.stride[2], L, job.p.mode)
                        y[ow * job.ys[2]] = y[ow * job.ys[2]] + v * row[i * job.xs[2]]
                for ow in range(a, b):
                    y[ow * job.ys[2]] = y[ow * job.ys[2]] + v * row[at * job.xs[2] + ow * step]
        w += job.p.kernel[0] * kh * kw


# ---------------------------------------------------------------- items

cdef inline void run_box(const bint rows, ConvJob *job, Py_ssize_t n, Py_ssize_t g, Py_ssize_t *start,
                         Py_ssize_t *extent, Py_ssize_t split, char *workspace, real *dense) noexcept nogil:
    """One box of a group and of sample n, or of job.t.samples from n on; one split of its output channels."""
    cdef Py_ssize_t taps = job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2], K = job.p.C * taps
    cdef const real *x = <const real *>job.x + n * job.xn + g * job.p.C * job.xc
    cdef real *y = <real *>job.y + n * job.yn + g * job.p.O * job.yc
    cdef const real *w = <const real *>job.w + g * job.p.O * K
    cdef const real *bias = <const real *>job.bias + g * job.p.O if job.bias != NULL else NULL
    cdef Py_ssize_t samples = min(job.t.samples, job.p.N - n), positions = samples * extent[0] * extent[1] * extent[2]
    cdef Py_ssize_t c0, c1, t0, t1, count, q, a
    # every part starts a cache line: the offsets and the slab are padded to whole lines by the plan
    cdef Py_ssize_t *off = <Py_ssize_t *>workspace
    cdef real *slab = <real *>(workspace + job.slab_at)
    cdef real *panels = <real *>(workspace + job.panels_at)
    cdef const real *from_
    cdef bint in_place = job.t.in_place and job.xs[2] == 1
    cdef real *to
    cdef Py_ssize_t tiles = (job.p.O + MR - 1) // MR
    cdef bint first = True
    cdef Run runs[64]
    cdef int runs_n
    if not in_place:
        # the slack behind the slab, which whole vectors run into: no denormals, as below
        memset(slab + job.t.c_block * job.t.channel, 0, 8 * NR * sizeof(real))
    c0 = 0
    while True:
        c1 = min(c0 + job.t.c_block, job.p.C)
        if in_place:
            from_ = x + c0 * job.xc + start[2]
        else:
            if samples == 1:
                fill_slab(job, slab, x, c0, c1, start, extent)
            else:
                # in the order of memory: a row may run over into the next, which is filled later
                for a in range(c0, c1):
                    for q in range(samples):
                        fill_slab(job, slab + (a - c0) * job.t.channel + q * job.t.sample, x + q * job.xn, a, a + 1,
                                  start, extent)
            from_ = slab
        t0 = 0
        while True:
            t1 = min(t0 + job.t.t_block, taps)
            if in_place:
                count = c1 - c0
                for q in range(count):
                    off[q] = q * job.xc
            else:
                count = tap_offsets(job, off, c1 - c0, t0, t1)
            if rows:
                rows_block(job, w, bias, y, slab, off, count, c0 * taps + t0, first, start, extent)
            elif not job.t.panelled:
                unpacked_block(job, w, bias, y, from_, off, panels, tiles * split // job.o_splits,
                               tiles * (split + 1) // job.o_splits, tiles, start, extent)
            else:
                q = 0
                to = panels
                while q < positions:
                    runs_n = panel_runs(job, runs, q, min(q + NR, positions), start, extent)
                    if runs_n == 1 and runs[0].length == NR:
                        a = min(<Py_ssize_t>8, (extent[2] - q % extent[2]) // NR)
                        pack_row(to, from_ + runs[0].slab, off, count, a)
                        to += a * count * NR
                        q += a * NR
                        continue
                    if q + NR > positions:
                        # lanes without a position: what other work left may be denormals, at a hundred cycles each
                        memset(to, 0, count * NR * sizeof(real))
                    pack_panel(to, from_, off, count, runs, runs_n)
                    to += count * NR
                    q += NR
                gemm_block(job, w, bias, y, panels, count, c0 * taps + t0, first, tiles * split // job.o_splits,
                           tiles * (split + 1) // job.o_splits, tiles, start, extent, positions, dense)
            first = False
            t0 = t1
            if t0 >= taps:
                break
        c0 = c1
        if c0 >= job.p.C:
            break


cdef void gemm_box(ConvJob *job, Py_ssize_t n, Py_ssize_t g, Py_ssize_t *start, Py_ssize_t *extent, Py_ssize_t split,
                   char *workspace, real *dense) noexcept nogil:
    run_box(False, job, n, g, start, extent, split, workspace, dense)


cdef void merge_row(real *y, Py_ssize_t step, real **from_, int s, Py_ssize_t *length) noexcept nogil:
    """y[(j*s + r) * step] = from_[r][j]: the columns of s phases, of which the first are as long as the longest."""
    cdef Py_ssize_t j = 0, n = length[s - 1]
    cdef int r
    cdef real half[2 * 4 * 16]
    if step == 1 and s == 2:
        while j + VL <= n:
            store2(y + 2 * j, load(from_[0] + j), load(from_[1] + j))
            j += VL
    elif step == 1 and s == 4:
        while j + VL <= n:
            store4(y + 4 * j, load(from_[0] + j), load(from_[1] + j), load(from_[2] + j), load(from_[3] + j))
            j += VL
    elif step == 1 and s == 8:
        while j + VL <= n:
            store4(half, load(from_[0] + j), load(from_[2] + j), load(from_[4] + j), load(from_[6] + j))
            store4(half + 4 * VL, load(from_[1] + j), load(from_[3] + j), load(from_[5] + j), load(from_[7] + j))
            for r in range(4):
                store2(y + 8 * j + 2 * r * VL, load(half + r * VL), load(half + (4 + r) * VL))
            j += VL
    for r in range(s):
        for n in range(j, length[r]):
            y[(n * s + r) * step] = from_[r][n]


cdef void fill_bias(ConvJob *job, Py_ssize_t n, Py_ssize_t g, Py_ssize_t *start, Py_ssize_t o0,
                    Py_ssize_t o1) noexcept nogil:
    """run_phases where no phase has a tap: whole rows of the bias, or of zeros."""
    cdef Py_ssize_t o, z, y, x, width = 0, step = job.ys[2] // job.t.phases, r
    cdef real value
    cdef real *to
    for r in range(job.t.phases):
        width += max(<Py_ssize_t>0, min(job.t.box[2], job[r].p.out[2] - start[2]))
    for o in range(o0, o1):
        value = (<const real *>job.bias)[g * job.p.O + o] if job.bias != NULL else <real>0
        for z in range(start[0], min(start[0] + job.t.box[0], job.p.out[0])):
            for y in range(start[1], min(start[1] + job.t.box[1], job.p.out[1])):
                to = (<real *>job.y + n * job.yn + (g * job.p.O + o) * job.yc + z * job.ys[0] + y * job.ys[1]
                      + start[2] * job.ys[2])
                if value == 0 and step == 1:
                    memset(to, 0, width * sizeof(real))
                    continue
                for x in range(width):
                    to[x * step] = value


cdef void run_phases(ConvJob *job, Py_ssize_t n, Py_ssize_t g, Py_ssize_t *start, Py_ssize_t split,
                     char *workspace) noexcept nogil:
    """The phases of a transposed convolution along W: summed side by side, written as one."""
    cdef Py_ssize_t extent[3]
    cdef Py_ssize_t length[8]
    cdef real *dense[8]
    cdef real *row[8]
    cdef Py_ssize_t tiles = (job.p.O + MR - 1) // MR, o, z, y, a, r, q
    cdef Py_ssize_t o0 = tile_row(job.p.O, tiles, tiles * split // job.o_splits)
    cdef Py_ssize_t o1 = tile_row(job.p.O, tiles, tiles * (split + 1) // job.o_splits)
    cdef real *to
    cdef bint tapless = True
    for r in range(job.t.phases):
        tapless = tapless and job[r].p.kernel[2] == 0
    if tapless:
        fill_bias(job, n, g, start, o0, o1)
        return
    for r in range(job.t.phases):
        for a in range(3):
            extent[a] = min(job.t.box[a], job[r].p.out[a] - start[a])
        length[r] = max(<Py_ssize_t>0, extent[2])
        dense[r] = <real *>(workspace + job.dense_at) + r * job.p.O * job.t.dense
        if length[r]:
            gemm_box(&job[r], n, g, start, extent, split, workspace, dense[r])
    for o in range(o0, o1):
        for z in range(extent[0]):
            for y in range(extent[1]):
                to = (<real *>job.y + n * job.yn + (g * job.p.O + o) * job.yc + (start[0] + z) * job.ys[0]
                      + (start[1] + y) * job.ys[1] + start[2] * job.ys[2])
                for r in range(job.t.phases):
                    q = (z * extent[1] + y) * length[r]
                    row[r] = dense[r] + o * job.t.dense + q
                merge_row(to, job.ys[2] // job.t.phases, row, job.t.phases, length)


cdef struct Item:
    # (block of samples, g, box in D, H, W, split of the output channels), the last fastest
    Py_ssize_t n, g, split
    Py_ssize_t start[3]
    Py_ssize_t extent[3]


cdef void find_item(ConvJob *job, Py_ssize_t index, Item *item) noexcept nogil:
    cdef Py_ssize_t a, rest = index // job.o_splits
    item.split = index % job.o_splits
    for a in range(3):
        item.start[2 - a] = rest % job.t.boxes[2 - a] * job.t.box[2 - a]
        item.extent[2 - a] = min(job.t.box[2 - a], job.p.out[2 - a] - item.start[2 - a])
        rest = rest // job.t.boxes[2 - a]
    item.g = rest % job.p.G
    item.n = rest // job.p.G * job.t.samples


cdef void gemm_item(void *conv_job, Py_ssize_t index, char *workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Item at
    find_item(job, index, &at)
    gemm_box(job, at.n, at.g, at.start, at.extent, at.split, workspace, NULL)


cdef void rows_item(void *conv_job, Py_ssize_t index, char *workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Item at
    find_item(job, index, &at)
    run_box(True, job, at.n, at.g, at.start, at.extent, at.split, workspace, NULL)


cdef void taps_item(void *conv_job, Py_ssize_t index, char *workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Item at
    cdef Py_ssize_t o, K = job.p.C * job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2]
    find_item(job, index, &at)
    cdef const real *x = <const real *>job.x + at.n * job.xn + at.g * job.p.C * job.xc
    cdef const real *w = <const real *>job.w + at.g * job.p.O * K
    cdef const real *bias = <const real *>job.bias + at.g * job.p.O if job.bias != NULL else NULL
    cdef real *y = (<real *>job.y + at.n * job.yn + at.g * job.p.O * job.yc + at.start[0] * job.ys[0]
                    + at.start[1] * job.ys[1])
    for o in range(job.p.O * at.split // job.o_splits, job.p.O * (at.split + 1) // job.o_splits):
        taps_row(job, x, w + o * K, bias[o] if bias != NULL else <real>0, y + o * job.yc, at.start[0], at.start[1])


cdef void phases_item(void *conv_job, Py_ssize_t index, char *workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Item at
    find_item(job, index, &at)
    run_phases(job, at.n, at.g, at.start, at.split, workspace)


cdef void run_conv(item_run one, void *conv_job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Team team = Team(job.threads, <char *>job.workspace, job.workspace_bytes, 1)
    run_items(one, job, &team, first, last)


cdef void run_gemm(void *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    run_conv(gemm_item, job, first, last)


cdef void run_rows(void *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    run_conv(rows_item, job, first, last)


cdef void run_taps(void *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    run_conv(taps_item, job, first, last)


cdef void run_all_phases(void *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    run_conv(phases_item, job, first, last)


cdef Py_ssize_t conv_items(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    return up(job.p.N, job.t.samples) * job.p.G * job.t.boxes[0] * job.t.boxes[1] * job.t.boxes[2]


cdef Py_ssize_t weight_count(void *conv_job) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    return job.p.G * job.p.O * job.p.C * job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2]


cdef void lay_out_gemm(void *conv_job) noexcept nogil:
    """Offsets of the terms of a k block, slab, panels or the weights of a tile; whole vectors run past slab and panels."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t count = job.t.c_block * job.t.t_block, size = 4 * NR
    size += job.t.panels * count * NR if job.t.panelled else MR * count
    job.slab_at = lines(count * sizeof(Py_ssize_t))
    job.panels_at = job.slab_at + lines((job.t.c_block * job.t.channel + 8 * NR) * sizeof(real))
    job.workspace_bytes = job.panels_at + lines(size * sizeof(real))


cdef void lay_out_rows(void *conv_job) noexcept nogil:
    """Offsets and weights of a k block, once more in the other order; slab, past whose box a tile's rows may read."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t count = job.t.c_block * job.t.t_block
    job.slab_at = lines(count * (2 * sizeof(Py_ssize_t) + sizeof(real)))
    job.workspace_bytes = job.slab_at + lines((job.t.c_block * job.t.channel + 12 * NR) * sizeof(real))


cdef void lay_out_taps(void *conv_job) noexcept nogil:
    (<ConvJob *>conv_job).workspace_bytes = 0


cdef void lay_out_phases(void *conv_job) noexcept nogil:
    """The workspace of one phase after the other, and the sums of all."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t most = 0, r
    for r in range(job.t.phases):
        lay_out_gemm(&job[r])
        most = max(most, job[r].workspace_bytes)
    for r in range(job.t.phases):
        job[r].dense_at = most
        job[r].workspace_bytes = most + lines(job.t.phases * (job.p.O * job.t.dense + NR) * sizeof(real))


cdef KernelTable GEMM
GEMM.name = "gemm"
GEMM.lanes = VL
GEMM.tile_rows = MR
GEMM.run = run_gemm
GEMM.items = conv_items
GEMM.lay_out = lay_out_gemm
GEMM.packed_size = weight_count
GEMM.pack = pack_tiles
GEMM.reduce = NULL
GEMM.grain = 1.5e6
GEMM.stint = 1e8
GEMM.least = 1
GEMM.evens = True
GEMM.split_least = 64

cdef KernelTable PHASES = GEMM
PHASES.name = "phases"
PHASES.run = run_all_phases
PHASES.lay_out = lay_out_phases

cdef KernelTable ROWS = GEMM
ROWS.name = "rows"
ROWS.run = run_rows
ROWS.lay_out = lay_out_rows
ROWS.pack = NULL
ROWS.grain = 5e5
ROWS.evens = False
ROWS.split_least = 0

cdef KernelTable TAPS = GEMM
TAPS.name = "taps"
TAPS.run = run_taps
TAPS.lay_out = lay_out_taps
TAPS.pack = NULL
TAPS.stint = 5e7
TAPS.evens = False
TAPS.split_least = 1

tables = {
    "gemm": PyCapsule_New(&GEMM, "cconv.kernel", NULL),
    "phases": PyCapsule_New(&PHASES, "cconv.kernel", NULL),
    "rows": PyCapsule_New(&ROWS, "cconv.kernel", NULL),
    "taps": PyCapsule_New(&TAPS, "cconv.kernel", NULL),
}
stamp = CCONV_STAMP_STRING.decode()
