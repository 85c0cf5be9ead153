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
`turned`), which depends on the weight's shape alone: the same bits for any thread, batch, strides and size of input.
"""
from cpython.pycapsule cimport PyCapsule_New
from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport uint16_t
from libc.string cimport memset

from cconv.kernels.job cimport ConvJob, ConvTable
from cconv.kernels.slab cimport fill_slab
from cconv.kernels.tile cimport (HAS_OPENMP, MR, NR, VL, any_pair, any_tile, any_tile_at, load, real, set1, source,
                                 store, tile_row, vec)


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

cdef extern from "simd.h" nogil:
    const int HAS_HALF
    void load_halves_ "load_halves"(const uint16_t *h, real *x, Py_ssize_t n)
    void store_halves_ "store_halves"(const real *x, uint16_t *h, Py_ssize_t n)
    void store2(real *p, vec a, vec b)
    void store4(real *p, vec a, vec b, vec c, vec d)


cdef enum:
    ROWS_CHANNELS = 3   # as in _plan.py
    ROWS_TAPS = 4096    # of one k block of the rows kernel


# ---------------------------------------------------------------- weights

cdef void pack_weights(ConvJob *job, void *packed) noexcept nogil:
    """(G, O, K) rows into tiles of up to MR rows, k outer and row inner: a tile reads its weights as one stream."""
    cdef Py_ssize_t K = job.C * job.k[0] * job.k[1] * job.k[2]
    cdef Py_ssize_t tiles = (job.O + MR - 1) // MR, g, t, o, rows, k, i
    cdef const real *w = <const real *>job.w
    cdef real *to = <real *>packed
    for g in range(job.G):
        for t in range(tiles):
            o = tile_row(job.O, tiles, t)
            rows = tile_row(job.O, tiles, t + 1) - o
            for k in range(K):
                for i in range(rows):
                    to[0] = w[(g * job.O + o + i) * K + k]
                    to += 1


# ---------------------------------------------------------------- where the taps lie

cdef inline bint turned(ConvJob *job) noexcept nogil:
    """Whether kw comes before kh in the order of summation: where rows shares its loads (tall boxes, small strides).

    Small boxes, other strides and k blocks follow, or the pieces of an image would not have the bits of the whole."""
    return job.O <= ROWS_CHANNELS and (job.k[1] == 3 or job.k[1] == 5) and job.k[0] * job.k[1] * job.k[2] <= ROWS_TAPS


cdef void turn_taps(ConvJob *job, Py_ssize_t *off, real *w, const real *from_, Py_ssize_t blocks) noexcept nogil:
    """Offsets and weights of whole (c, kd) blocks, from the order kh, kw into kw, kh; `off` has room for both."""
    cdef Py_ssize_t kh = job.k[1], kw = job.k[2], i, y, x, n = 0
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
    cdef Py_ssize_t c, t, z, y, x, n = 0, kw = job.k[2], kh = job.k[1], at
    for c in range(channels):
        if t1 - t0 == kw * kh * job.k[0]:
            # every tap: no division but for a strided row, which lies in phases
            for z in range(job.k[0]):
                for y in range(kh):
                    at = c * job.channel + z * job.sd[0] * job.plane + y * job.sd[1] * job.row
                    for x in range(kw):
                        off[n] = at + x * job.sd[2] if job.phases == 1 else (
                            at + x * job.sd[2] % job.phases * job.slab[2] + x * job.sd[2] // job.phases)
                        n += 1
            continue
        for t in range(t0, t1):
            z = t // (kh * kw)
            y = t // kw % kh
            x = t % kw * job.sd[2]
            off[n] = (c * job.channel + z * job.sd[0] * job.plane + y * job.sd[1] * job.row
                      + x % job.phases * job.slab[2] + x // job.phases)
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
        runs[count].slab = s * job.sample + z * job.ss[0] * job.plane + y * job.ss[1] * job.row + x
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
    cdef Py_ssize_t K = job.C * job.k[0] * job.k[1] * job.k[2]
    cdef Py_ssize_t block = max(1, job.o_block // MR), t, t0, t1, o, q, m
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
                o = tile_row(job.O, tiles, t)
                m = tile_row(job.O, tiles, t + 1) - o
                a = w + o * K + (k0 * m if job.packed else k0)
                bb = bias + o if bias != NULL else NULL
                t += 1
                if dense != NULL:
                    any_tile(m, job.packed, a, K, b, count, dense + o * job.dense + q, job.dense, bb, first)
                elif q + VL >= positions and t < t1 and tile_row(job.O, tiles, t + 1) - o == 2 * m:
                    # at most half a panel: two tiles at once
                    if not first:
                        copy_tile(y + o * job.yc, job.ys[2], buf, runs, n, job.yc, 2 * m, False)
                    any_pair(m, job.packed, a, a + m * K, K, b, count, buf, buf + m * NR, NR, bb,
                             bb + m if bb != NULL else NULL, first)
                    copy_tile(y + o * job.yc, job.ys[2], buf, runs, n, job.yc, 2 * m, True)
                    t += 1
                elif direct:
                    any_tile(m, job.packed, a, K, b, count, y + o * job.yc + runs[0].y, job.yc, bb, first)
                else:
                    if not first:
                        copy_tile(y + o * job.yc, job.ys[2], buf, runs, n, job.yc, m, False)
                    any_tile(m, job.packed, a, K, b, count, buf, NR, bb, first)
                    copy_tile(y + o * job.yc, job.ys[2], buf, runs, n, job.yc, m, True)
            q += NR
            b += count * NR
        t0 = t1


cdef void unpacked_block(ConvJob *job, const real *w, const real *bias, real *y, const real *slab,
                         const Py_ssize_t *off, real *weights, Py_ssize_t tile0, Py_ssize_t tile1, Py_ssize_t tiles,
                         Py_ssize_t *start, Py_ssize_t *extent) noexcept nogil:
    """A whole box for few output channels: pairs of vectors of its rows, the last of a row ending with it."""
    cdef Py_ssize_t K = job.C * job.k[0] * job.k[1] * job.k[2], vectors = (extent[2] + VL - 1) // VL
    cdef Py_ssize_t total = extent[0] * extent[1] * vectors, t, o, m, v, k, i, j, s
    cdef Py_ssize_t from_[2]
    cdef Py_ssize_t to[2]
    cdef real buf[2 * 14 * 16]
    cdef const real *a
    cdef const real *bb
    for t in range(tile0, tile1):
        o = tile_row(job.O, tiles, t)
        m = tile_row(job.O, tiles, t + 1) - o
        a = w + o * K
        if not job.packed:
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
                from_[s] = k * job.ss[0] * job.plane + j * job.ss[1] * job.row + i
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
    cdef Py_ssize_t i = 0, x, n, outer = job.C * job.k[0], KW = job.k[2], xs = job.ys[2], ys = job.ys[1]
    cdef Py_ssize_t vectors = (width + VL - 1) // VL
    cdef real *to
    cdef const real *p
    while i < rows:
        if S == 1 and vectors == 1 and rows >= 8:
            i = min(i, rows - 8)
            shared_tile(8, 1, KH, S, w, slab + i * S * job.row, job.row, off, outer, KW, y + i * ys, ys, xs, width,
                        bias)
            i += 8
            continue
        i = min(i, rows - 4)
        p = slab + i * S * job.row
        to = y + i * ys
        x = 0
        while x < width:
            n = min(width - x, 2 * VL)
            if n > VL:
                shared_tile(4, 2, KH, S, w, p + x, job.row, off, outer, KW, to + x * xs, ys, xs, n, bias)
            elif width >= VL:
                # one vector, ending with the row
                shared_tile(4, 1, KH, S, w, p + width - VL, job.row, off, outer, KW, to + (width - VL) * xs, ys, xs, VL,
                            bias)
            else:
                shared_tile(4, 1, KH, S, w, p, job.row, off, outer, KW, to, ys, xs, n, bias)
            x += n
        i += 4


cdef void rows_block(ConvJob *job, const real *w, const real *bias, real *y, const real *slab, const Py_ssize_t *off,
                     Py_ssize_t count, Py_ssize_t k0, bint first, Py_ssize_t *start, Py_ssize_t *extent) noexcept nogil:
    """One k block of the rows kernel: row after row of the box, up to eight vectors at a time."""
    cdef Py_ssize_t K = job.C * job.k[0] * job.k[1] * job.k[2], xs = job.ys[2], width = extent[2], n, o, z, i, x
    cdef Py_ssize_t step = job.ss[1] * job.row, ys = job.ys[1], rows, vectors = (width + VL - 1) // VL
    # pieces of at most eight vectors, as even as they come: none of a single partial vector, which would overlap
    cdef Py_ssize_t pieces = (vectors + 7) // 8, piece = (vectors + pieces - 1) // pieces
    cdef real b
    cdef real *to
    cdef const real *p
    cdef const real *a
    cdef const Py_ssize_t *at
    cdef bint shared = count == K and job.sd[1] == 1 and extent[1] >= 4 and turned(job)
    cdef bint turn = turned(job) and not (shared and job.ss[1] <= 2)
    cdef real *weights = <real *>(off + 2 * count)
    for o in range(job.O):
        b = bias[o] if bias != NULL else <real>0
        a = w + o * K + k0
        if turn:
            turn_taps(job, <Py_ssize_t *>off, weights, a, count // (job.k[1] * job.k[2]))
            a = weights
        for z in range(extent[0]):
            p = slab + z * job.ss[0] * job.plane
            to = y + o * job.yc + (start[0] + z) * job.ys[0] + start[1] * ys + start[2] * xs
            if shared and job.k[1] == 3 and job.ss[1] == 1:
                shared_rows(3, 1, job, a, b, to, p, off, extent[1], width)
                continue
            if shared and job.k[1] == 3 and job.ss[1] == 2:
                shared_rows(3, 2, job, a, b, to, p, off, extent[1], width)
                continue
            if shared and job.k[1] == 5 and job.ss[1] == 1:
                shared_rows(5, 1, job, a, b, to, p, off, extent[1], width)
                continue
            if shared and job.k[1] == 5 and job.ss[1] == 2:
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
    cdef Py_ssize_t c, z, y_, k, iz, iy, i, ow, at, step = job.s[2] * job.xs[2], a, b, L = job.size[2]
    cdef Py_ssize_t t, kh = job.k[1], kw = job.k[2]
    cdef bint turn = turned(job)
    cdef const real *row
    cdef real v
    for ow in range(job.out[2]):
        y[ow * job.ys[2]] = bias
    for c in range(job.C):
        for z in range(job.k[0]):
            iz = source(od * job.s[0] - job.p[0] + z * job.d[0], job.size[0], job.mode)
            for t in range(kh * kw):
                y_, k = (t % kh, t // kh) if turn else (t // kw, t % kw)
                iy = source(oh * job.s[1] - job.p[1] + y_ * job.d[1], job.size[1], job.mode)
                if iz < 0 or iy < 0:
                    continue
                row = x + c * job.xc + iz * job.xs[0] + iy * job.xs[1]
                v = w[(z * kh + y_) * kw + k]
                at = k * job.d[2] - job.p[2]
                # outputs a <= ow < b read inside the input
                a = 0 if at >= 0 else min(job.out[2], (-at + job.s[2] - 1) // job.s[2])
                b = 0 if at >= L else min(job.out[2], (L - at + job.s[2] - 1) // job.s[2])
                if job.mode != 0:
                    for ow in range(min(a, job.out[2])):
                        i = source(at + ow * job.s[2], L, job.mode)
                        y[ow * job.ys[2]] = y[ow * job.ys[2]] + v * row[i * job.xs[2]]
                    for ow in range(max(a, b), job.out[2]):
                        i = source(at + ow * job.s[2], L, job.mode)
                        y[ow * job.ys[2]] = y[ow * job.ys[2]] + v * row[i * job.xs[2]]
                for ow in range(a, b):
                    y[ow * job.ys[2]] = y[ow * job.ys[2]] + v * row[at * job.xs[2] + ow * step]
        w += job.k[0] * kh * kw


# ---------------------------------------------------------------- items

cdef void run_box(ConvJob *job, Py_ssize_t n, Py_ssize_t g, Py_ssize_t *start, Py_ssize_t *extent, Py_ssize_t split,
                  char *workspace, real *dense) noexcept nogil:
    """One box of a group and of sample n, or of job.samples from n on; one split of its output channels."""
    cdef Py_ssize_t taps = job.k[0] * job.k[1] * job.k[2], K = job.C * taps
    cdef const real *x = <const real *>job.x + n * job.xn + g * job.C * job.xc
    cdef real *y = <real *>job.y + n * job.yn + g * job.O * job.yc
    cdef const real *w = <const real *>job.w + g * job.O * K
    cdef const real *bias = <const real *>job.bias + g * job.O if job.bias != NULL else NULL
    cdef Py_ssize_t samples = min(job.samples, job.N - n), positions = samples * extent[0] * extent[1] * extent[2]
    cdef Py_ssize_t o, c0, c1, t0, t1, count, q, a
    if job.kernel == 2:
        for o in range(job.O * split // job.o_splits, job.O * (split + 1) // job.o_splits):
            taps_row(job, x, w + o * K, bias[o] if bias != NULL else <real>0,
                     y + o * job.yc + start[0] * job.ys[0] + start[1] * job.ys[1], start[0], start[1])
        return
    # every part starts a cache line: the offsets and the slab are padded to whole lines by the plan
    cdef Py_ssize_t *off = <Py_ssize_t *>workspace
    cdef real *slab = <real *>(workspace + job.slab_at)
    cdef real *panels = <real *>(workspace + job.panels_at)
    cdef const real *from_
    cdef bint in_place = job.in_place and job.xs[2] == 1
    cdef real *to
    cdef Py_ssize_t tiles = (job.O + MR - 1) // MR
    cdef bint first = True
    cdef Run runs[64]
    cdef int runs_n
    if not in_place:
        # the slack behind the slab, which whole vectors run into: no denormals, as below
        memset(slab + job.c_block * job.channel, 0, 8 * NR * sizeof(real))
    c0 = 0
    while True:
        c1 = min(c0 + job.c_block, job.C)
        if in_place:
            from_ = x + c0 * job.xc + start[2]
        else:
            if samples == 1:
                fill_slab(job, slab, x, c0, c1, start, extent)
            else:
                # in the order of memory: a row may run over into the next, which is filled later
                for a in range(c0, c1):
                    for q in range(samples):
                        fill_slab(job, slab + (a - c0) * job.channel + q * job.sample, x + q * job.xn, a, a + 1,
                                  start, extent)
            from_ = slab
        t0 = 0
        while True:
            t1 = min(t0 + job.t_block, taps)
            if in_place:
                count = c1 - c0
                for q in range(count):
                    off[q] = q * job.xc
            else:
                count = tap_offsets(job, off, c1 - c0, t0, t1)
            if job.kernel == 1:
                rows_block(job, w, bias, y, slab, off, count, c0 * taps + t0, first, start, extent)
            elif job.panels == 0:
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
        if c0 >= job.C:
            break


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
    cdef Py_ssize_t o, z, y, x, width = 0, step = job.ys[2] // job.group, r
    cdef real value
    cdef real *to
    for r in range(job.group):
        width += max(<Py_ssize_t>0, min(job.box[2], job[r].out[2] - start[2]))
    for o in range(o0, o1):
        value = (<const real *>job.bias)[g * job.O + o] if job.bias != NULL else <real>0
        for z in range(start[0], min(start[0] + job.box[0], job.out[0])):
            for y in range(start[1], min(start[1] + job.box[1], job.out[1])):
                to = (<real *>job.y + n * job.yn + (g * job.O + o) * job.yc + z * job.ys[0] + y * job.ys[1]
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
    cdef Py_ssize_t tiles = (job.O + MR - 1) // MR, o, z, y, a, r, q
    cdef Py_ssize_t o0 = tile_row(job.O, tiles, tiles * split // job.o_splits)
    cdef Py_ssize_t o1 = tile_row(job.O, tiles, tiles * (split + 1) // job.o_splits)
    cdef real *to
    cdef bint tapless = True
    for r in range(job.group):
        tapless = tapless and job[r].k[2] == 0
    if tapless:
        fill_bias(job, n, g, start, o0, o1)
        return
    for r in range(job.group):
        for a in range(3):
            extent[a] = min(job.box[a], job[r].out[a] - start[a])
        length[r] = max(<Py_ssize_t>0, extent[2])
        dense[r] = <real *>(workspace + job.dense_at) + r * job.O * job.dense
        if length[r]:
            run_box(&job[r], n, g, start, extent, split, workspace, dense[r])
    for o in range(o0, o1):
        for z in range(extent[0]):
            for y in range(extent[1]):
                to = (<real *>job.y + n * job.yn + (g * job.O + o) * job.yc + (start[0] + z) * job.ys[0]
                      + (start[1] + y) * job.ys[1] + start[2] * job.ys[2])
                for r in range(job.group):
                    q = (z * extent[1] + y) * length[r]
                    row[r] = dense[r] + o * job.dense + q
                merge_row(to, job.ys[2] // job.group, row, job.group, length)


cdef void run_item(ConvJob *job, Py_ssize_t item, char *workspace) noexcept nogil:
    """Item = (block of samples, g, box in D, H, W, split of the output channels), the last fastest."""
    cdef Py_ssize_t start[3]
    cdef Py_ssize_t extent[3]
    cdef Py_ssize_t split = item % job.o_splits, a, rest = item // job.o_splits
    for a in range(3):
        start[2 - a] = rest % job.boxes[2 - a] * job.box[2 - a]
        extent[2 - a] = min(job.box[2 - a], job.out[2 - a] - start[2 - a])
        rest = rest // job.boxes[2 - a]
    if job.group > 1:
        run_phases(job, rest // job.G, rest % job.G, start, split, workspace)
    else:
        run_box(job, rest // job.G * job.samples, rest % job.G, start, extent, split, workspace, NULL)


cdef void run(ConvJob *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t item
    cdef char *space = <char *>job.workspace
    if job.threads <= 1 or last - first == 1:
        for item in range(first, last):
            run_item(job, item, space)
    else:
        with parallel(num_threads=job.threads):
            for item in prange(first, last, schedule="dynamic", chunksize=1):
                run_item(job, item, space + threadid() * job.workspace_bytes)


cdef void load_halves(void *half, void *to, Py_ssize_t n) noexcept nogil:
    load_halves_(<const uint16_t *>half, <real *>to, n)


cdef void store_halves(void *half, void *from_, Py_ssize_t n) noexcept nogil:
    store_halves_(<const real *>from_, <uint16_t *>half, n)


cdef ConvTable TABLE
TABLE.load_halves = NULL
TABLE.store_halves = NULL
if HAS_HALF:
    TABLE.load_halves = load_halves
    TABLE.store_halves = store_halves
TABLE.lanes = VL
TABLE.rows = MR
TABLE.openmp = HAS_OPENMP
TABLE.run = run
TABLE.pack = pack_weights
table = PyCapsule_New(&TABLE, "cconv.conv", NULL)
stamp = CCONV_STAMP_STRING.decode()
