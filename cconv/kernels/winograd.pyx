# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Winograd convolution F(m, 3) along W, or F(m x m, 3x3) over H and W, of one floating type and instruction set.

    y = A^T [ (G w G^T) * (B^T x B) ] A      on TxT input tiles, m = T - 2 apart, each giving m x m outputs; m is 4 or 2

after Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016, section 4: with m = 4, 36 multiplications
a tile and channel pair instead of 144; with m = 2, 16 instead of 36. The products over all channels are T x T matrix
products, done on the register tile. F(2) rounds less than direct summation and has fewer weights to read: it is for
few channels and for images of few tiles. Its matrices are those of the paper. Those of F(4) are Toom-Cook's for the
points 0, 1, -1, 1/2, -2 and infinity, which cost about half the rounding error of the usual 0, 1, -1, 2, -2: with
u = d4 - d2 and v = d3 - d1

    B^T d = (d0 + d4 - 2 d2 + 3/2 v,  u + v + 3/2 (d2 + d3),  u - v + 3/2 (d3 - d2),  u + 2 v,  u - v/2,
             d1 + d5 - 2 d3 + 3/2 u)
    A^T m = (m0 + a + m3 + m4,  b + m3/2 - 2 m4,  a + m3/4 + 4 m4,  b + m3/8 - 8 m4 + m5),  a = m1 + m2, b = m1 - m2

Used for undilated stride-1 kernels of 3 (along W) and 1 or 3 (along H) taps; F(4) with enough channels for the promised
error. Taps along D count as channels. A dilated layer comes here as interleaved undilated ones.

One item is a block of tiles, numbered through the batch; NR tiles are the lanes of a panel. Its transformed input
(TxT x panels x channels x NR) and its products stay in L2 / L3 between the three steps; each transform runs on whole
vectors of tiles, the columns de-interleaved by m on the way in and interleaved on the way out.

A NaN or an infinity would spread over its tiles, whose transforms mix all values: so outputs of a tile that are not
finite are computed again, as plain sums (`mend`), from the weights as they were, which lie behind the packed ones.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memcpy, memset

from cconv.kernels.items cimport Team, lines, run_items, up
from cconv.kernels.job cimport ConvJob, KernelTable
from cconv.kernels.tile cimport (MR, NR, VL, any_pair, any_tile, copy_run, load, load2, real, set1, source, store,
                                 tile_row, vec)


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

cdef extern from "simd.h" nogil:
    void load4(const real *p, vec *a, vec *b, vec *c, vec *d)
    void store4(real *p, vec a, vec b, vec c, vec d)
    void store2(real *p, vec a, vec b)


cdef struct Run:
    # neighbouring tiles of one tile row
    Py_ssize_t n, z, ty, tx, length, lane


cdef inline void input_four(vec *d, const int s) noexcept nogil:
    """B^T of F(2) on four vectors s apart."""
    cdef vec d1 = d[s]
    d[0] = d[0] - d[2 * s]
    d[s] = d1 + d[2 * s]
    d[2 * s] = d[2 * s] - d1
    d[3 * s] = d1 - d[3 * s]


cdef inline void output_four(vec *y, const int t, const vec *m, const int s) noexcept nogil:
    """A^T of F(2) on four vectors s apart, two results t apart."""
    y[0] = m[0] + m[s] + m[2 * s]
    y[t] = m[s] - m[2 * s] - m[3 * s]


cdef inline void weight_four(vec *t, const int s, const vec *w, const int ws) noexcept nogil:
    """G of F(2) on three taps ws apart, four results s apart."""
    cdef vec even = w[0] + w[2 * ws]
    t[0] = w[0]
    t[s] = (even + w[ws]) * set1(<real>0.5)
    t[2 * s] = (even - w[ws]) * set1(<real>0.5)
    t[3 * s] = w[2 * ws]


cdef inline void input_six(vec *d, const int s) noexcept nogil:
    """B^T on six vectors s apart."""
    cdef vec u = d[4 * s] - d[2 * s]
    cdef vec v = d[3 * s] - d[s]
    cdef vec h = set1(<real>1.5)
    cdef vec two = set1(<real>2)
    cdef vec t0 = d[0] + d[4 * s] - two * d[2 * s] + h * v
    cdef vec t5 = d[s] + d[5 * s] - two * d[3 * s] + h * u
    cdef vec t1 = u + v + h * (d[2 * s] + d[3 * s])
    cdef vec t2 = u - v + h * (d[3 * s] - d[2 * s])
    d[0] = t0
    d[s] = t1
    d[2 * s] = t2
    d[3 * s] = u + two * v
    d[4 * s] = u - set1(<real>0.5) * v
    d[5 * s] = t5


cdef inline void output_six(vec *y, const int t, const vec *m, const int s) noexcept nogil:
    """A^T on six vectors s apart, four results t apart."""
    cdef vec a = m[s] + m[2 * s]
    cdef vec b = m[s] - m[2 * s]
    cdef vec m3 = m[3 * s]
    cdef vec m4 = m[4 * s]
    y[0] = m[0] + a + (m3 + m4)
    y[t] = b + set1(<real>0.5) * m3 - set1(<real>2) * m4
    y[2 * t] = a + set1(<real>0.25) * m3 + set1(<real>4) * m4
    y[3 * t] = b + set1(<real>0.125) * m3 - set1(<real>8) * m4 + m[5 * s]


cdef inline void weight_six(vec *t, const int s, const vec *w, const int ws) noexcept nogil:
    """G on three taps ws apart, six results s apart."""
    cdef vec even = w[0] + w[2 * ws]
    cdef vec odd = w[ws]
    t[0] = w[0]
    t[s] = (even + odd) * set1(<real>(1.0 / 3))
    t[2 * s] = (odd - even) * set1(<real>(1.0 / 3))
    t[3 * s] = (w[0] + set1(<real>0.5) * odd + set1(<real>0.25) * w[2 * ws]) * set1(<real>(-16.0 / 15))
    t[4 * s] = (w[0] - set1(<real>2) * odd + set1(<real>4) * w[2 * ws]) * set1(<real>(1.0 / 15))
    t[5 * s] = w[2 * ws]


cdef inline void input_axis(const int T, vec *d, const int s) noexcept nogil:
    if T == 6: input_six(d, s)
    else: input_four(d, s)


cdef inline void output_axis(const int T, vec *y, const int t, const vec *m, const int s) noexcept nogil:
    if T == 6: output_six(y, t, m, s)
    else: output_four(y, t, m, s)


cdef inline void weight_axis(const int T, vec *t, const int s, const vec *w, const int ws) noexcept nogil:
    if T == 6: weight_six(t, s, w, ws)
    else: weight_four(t, s, w, ws)


cdef inline void transform_weights(const int T, const int high, vec *f, const real *lanes,
                                   Py_ssize_t ld) noexcept nogil:
    """VL filters, lanes[tap * ld + filter], to their T or T x T positions."""
    cdef vec d[9]
    cdef vec h[18]
    cdef int t, r, c
    for t in range(3 if high == 1 else 9):
        d[t] = load(lanes + t * ld)
    if high == 1:
        weight_axis(T, f, 1, d, 1)
    else:
        for r in range(3):
            weight_axis(T, &h[r * T], 1, &d[r * 3], 1)
        for c in range(T):
            weight_axis(T, &f[c], T, &h[c], T)


cdef inline void pack_tile(const int T, const int high, real *to, Py_ssize_t plane, const real *w, Py_ssize_t K,
                           Py_ssize_t rows) noexcept nogil:
    """The filters of one tile, (rows, K, taps), to to[position * plane + k * rows + row]. Lanes are rows."""
    cdef Py_ssize_t taps = 3 if high == 1 else 9, k = 0, n, i, i0, kk, t, ld = (rows + VL - 1) // VL * VL
    cdef real lanes[8 * 9 * 16]
    cdef real buf[16]
    cdef vec f[36]
    cdef const real *from_
    cdef real *at
    cdef int xi
    if rows < ld:
        # not left as the stack had them: a denormal costs a hundred cycles
        memset(lanes, 0, 8 * taps * ld * sizeof(real))
    while k < K:
        # eight terms at a time: the scalar stores of a block have left the store buffer when its vectors are loaded
        n = min(<Py_ssize_t>8, K - k)
        for i in range(rows):
            from_ = w + (i * K + k) * taps
            for t in range(n * taps):
                lanes[t * ld + i] = from_[t]
        for kk in range(n):
            i0 = 0
            while i0 < rows:
                transform_weights(T, high, f, lanes + kk * taps * ld + i0, ld)
                at = to + (k + kk) * rows + i0
                if (k + kk) * rows + i0 + VL <= K * rows:
                    # what runs over is the next term's, which is still to come
                    for xi in range(T * high):
                        store(at + xi * plane, f[xi])
                else:
                    for xi in range(T * high):
                        store(buf, f[xi])
                        for i in range(rows - i0):
                            at[xi * plane + i] = buf[i]
                i0 += VL
        k += 8


cdef inline Py_ssize_t plain_at(ConvJob *job) noexcept nogil:
    """Where the weights as they were lie, behind the packed ones."""
    return job.p.G * job.wino.patch * job.wino.high * job.wino.plane


cdef inline Py_ssize_t plain_count(ConvJob *job) noexcept nogil:
    return job.p.G * job.p.O * job.p.C * job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2]


cdef inline void pack_group(const int T, const int high, ConvJob *job, real *to, Py_ssize_t item) noexcept nogil:
    cdef Py_ssize_t K = job.p.C * job.p.kernel[0], tiles = (job.p.O + MR - 1) // MR, g = item // tiles, t = item % tiles
    cdef Py_ssize_t o = tile_row(job.p.O, tiles, t), plane = job.wino.plane, taps = 3 if high == 1 else 9
    pack_tile(T, high, to + g * T * high * plane + o * K, plane, <const real *>job.w + (g * job.p.O + o) * K * taps, K,
              tile_row(job.p.O, tiles, t + 1) - o)


cdef void pack_one(ConvJob *job, void *packed, Py_ssize_t item) noexcept nogil:
    if job.wino.high == 6: pack_group(6, 6, job, <real *>packed, item)
    elif job.wino.high == 4: pack_group(4, 4, job, <real *>packed, item)
    elif job.wino.patch == 6: pack_group(6, 1, job, <real *>packed, item)
    else: pack_group(4, 1, job, <real *>packed, item)


cdef struct Packing:
    ConvJob *job
    void *to


cdef void pack_item(void *packing, Py_ssize_t item, char *_workspace) noexcept nogil:
    pack_one((<Packing *>packing).job, (<Packing *>packing).to, item)


cdef void pack_patches(void *conv_job, void *packed) noexcept nogil:
    """(G, O, C, kd, kh, kw) into, a group and transformed position, tiles of up to MR rows, k = (c, kd) outer; the
    weights as they were behind them."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Packing packing = Packing(job, packed)
    cdef Team team = Team(job.threads, NULL, 0, 1)
    memcpy(<real *>packed + plain_at(job), job.w, plain_count(job) * sizeof(real))
    run_items(pack_item, &packing, &team, 0, job.p.G * up(job.p.O, MR))


cdef Py_ssize_t packed_patches(void *conv_job) noexcept nogil:
    return plain_at(<ConvJob *>conv_job) + plain_count(<ConvJob *>conv_job)


cdef int panel_runs(ConvJob *job, Run *runs, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Tiles first..last as runs within tile rows; returns how many."""
    cdef Py_ssize_t q = first, wide = job.wino.patches[1], high = job.wino.patches[0], length
    cdef int n = 0
    while q < last:
        runs[n].tx = q % wide
        runs[n].ty = q // wide % high
        runs[n].z = q // (wide * high) % job.p.out[0]
        runs[n].n = q // (wide * high * job.p.out[0])
        length = min(wide - runs[n].tx, last - q)
        runs[n].length = length
        runs[n].lane = q - first
        q += length
        n += 1
    return n


cdef inline void fill_line(ConvJob *job, real *line, const real *x, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """line[j] is input column at + j, zero or as the padding mode says outside."""
    cdef Py_ssize_t L = job.p.size[2], a = min(n, max(<Py_ssize_t>0, -at)), b = max(a, min(n, L - at)), j, i
    for j in range(a):
        i = source(at + j, L, job.p.mode)
        line[j] = x[i * job.xs[2]] if i >= 0 else <real>0
    copy_run(line + a, x + (at + a) * job.xs[2], job.xs[2], b - a)
    for j in range(b, n):
        i = source(at + j, L, job.p.mode)
        line[j] = x[i * job.xs[2]] if i >= 0 else <real>0


cdef inline void gather_row(const int T, ConvJob *job, real *lanes, real *line, Run *run, const real *x) noexcept nogil:
    """The T columns of each tile of a run, one row: lanes[c * (NR + VL) + lane]. x may be NULL: a row of zeros."""
    cdef Py_ssize_t n = run.length, t = 0, c, ld = NR + VL
    cdef vec a, b, d, e, zero = set1(<real>0)
    lanes += run.lane
    if x == NULL:
        while t < n:
            for c in range(T):
                store(lanes + c * ld + t, zero)
            t += VL
        return
    fill_line(job, line, x, run.tx * (T - 2) - job.p.before[2], (T - 2) * n + 2)
    while t < n:
        if T == 6:
            load4(line + 4 * t, &a, &b, &d, &e)
            store(lanes + t, a)
            store(lanes + ld + t, b)
            store(lanes + 2 * ld + t, d)
            store(lanes + 3 * ld + t, e)
            load4(line + 4 * t + 4, &a, &b, &d, &e)
            store(lanes + 4 * ld + t, a)
            store(lanes + 5 * ld + t, b)
        else:
            load2(line + 2 * t, &a, &b)
            store(lanes + t, a)
            store(lanes + ld + t, b)
            load2(line + 2 * t + 2, &a, &b)
            store(lanes + 2 * ld + t, a)
            store(lanes + 3 * ld + t, b)
        t += VL


cdef inline void gather(const int T, const int high, ConvJob *job, const real *x, Run *runs, int n, real *lanes,
                        real *line) noexcept nogil:
    """One channel (and tap along D) of the tiles of a panel: lanes[(row * T + column) * (NR + VL) + lane]."""
    cdef Py_ssize_t ld = NR + VL, iy, iz, hop = 1 if high == 1 else T - 2
    cdef int i, r
    cdef const real *plane
    for i in range(n):
        iz = runs[i].z  # the caller has resolved the depth: -1 for padding
        plane = x + runs[i].n * job.xn + iz * job.xs[0]
        for r in range(high):
            iy = source(runs[i].ty * hop - job.p.before[1] + r, job.p.size[1], job.p.mode)
            if iz < 0 or iy < 0:
                gather_row(T, job, lanes + r * T * ld, line, &runs[i], NULL)
            else:
                gather_row(T, job, lanes + r * T * ld, line, &runs[i], plane + iy * job.xs[1])


cdef inline void transform_input(const int T, const int high, ConvJob *job, real *u, Py_ssize_t us, const real *x,
                                 Run *runs, int n, int vectors, real *lanes, real *line) noexcept nogil:
    """One channel (and tap along D) of one panel: u[position * us + lane]."""
    cdef Py_ssize_t ld = NR + VL
    cdef int r, c, v
    cdef vec d[36]
    gather(T, high, job, x, runs, n, lanes, line)
    for v in range(vectors):
        for r in range(high):
            for c in range(T):
                d[r * T + c] = load(lanes + (r * T + c) * ld + v * VL)
            input_axis(T, &d[r * T], 1)
        if high > 1:
            for c in range(T):
                input_axis(T, &d[c], T)
        for r in range(T * high):
            store(u + r * us + v * VL, d[r])


cdef inline void transform_output(const int T, const int high, ConvJob *job, const real *m, Py_ssize_t ms, real *y,
                                  real bias, Run *runs, int n, int vectors, real *lines, vec *spoiled) noexcept nogil:
    """One output channel of one panel, back to positions and into y; one that is not finite makes `spoiled` NaN."""
    cdef int wide = T - 2, rows = 1 if high == 1 else T - 2
    cdef int v, r, c, i
    cdef Py_ssize_t width, height, j, _row
    cdef vec d[36]
    cdef vec h[24]
    cdef vec o[16]
    cdef vec b = set1(bias)
    cdef vec zero = set1(<real>0)
    cdef vec bad = zero
    cdef real *to
    cdef real *line
    for v in range(vectors):
        for r in range(T * high):
            d[r] = load(m + r * ms + v * VL)
        if high > 1:
            for c in range(T):
                output_axis(T, &h[c], T, &d[c], T)
            for r in range(T - 2):
                output_axis(T, &o[r * (T - 2)], 1, &h[r * T], 1)
        else:
            output_axis(T, &o[0], 1, &d[0], 1)
        for r in range((T - 2) * rows):
            bad = bad + o[r] * zero  # 0 x inf is NaN
        for r in range(rows):
            if T == 6:
                store4(lines + r * 4 * NR + v * 4 * VL, o[r * 4] + b, o[r * 4 + 1] + b, o[r * 4 + 2] + b,
                       o[r * 4 + 3] + b)
            else:
                store2(lines + r * 2 * NR + v * 2 * VL, o[r * 2] + b, o[r * 2 + 1] + b)
    for i in range(n):
        width = min(wide * runs[i].length, job.p.out[2] - wide * runs[i].tx)
        height = min(<Py_ssize_t>rows, job.p.out[1] - rows * runs[i].ty)
        to = (y + runs[i].n * job.yn + runs[i].z * job.ys[0] + runs[i].ty * rows * job.ys[1]
              + runs[i].tx * wide * job.ys[2])
        line = lines + wide * runs[i].lane
        for _row in range(height):
            if job.ys[2] == 1:
                copy_run(to, line, 1, width)
            else:
                for j in range(width):
                    to[j * job.ys[2]] = line[j]
            to += job.ys[1]
            line += wide * NR
    spoiled[0] = spoiled[0] + bad


cdef inline bint all_zero(vec v) noexcept nogil:
    cdef real lanes[64]
    cdef real sum = 0
    cdef int i
    store(lanes, v)
    for i in range(VL):
        sum += lanes[i]
    return sum == 0


cdef inline void direct_sums(const int T, const int high, ConvJob *job, real *m, Py_ssize_t ms, const real *w,
                             Py_ssize_t width, int vectors, const real *lanes) noexcept nogil:
    """m[output of a tile, o] += the taps of one channel (and tap along D); w[o * C * kd * taps + tap]."""
    cdef Py_ssize_t taps = 3 if high == 1 else 9, hop = job.p.C * job.p.kernel[0] * taps, ld = NR + VL, o, t
    cdef int rows = 1 if high == 1 else T - 2, r, c, v
    cdef vec acc
    for o in range(width):
        for r in range(rows):
            for c in range(T - 2):
                for v in range(vectors):
                    acc = load(m + (r * (T - 2) + c) * ms + o * NR + v * VL)
                    for t in range(taps):
                        acc = acc + set1(w[o * hop + t]) * load(lanes + ((r + t // 3) * T + c + t % 3) * ld + v * VL)
                    store(m + (r * (T - 2) + c) * ms + o * NR + v * VL, acc)


cdef inline void mend_tile(const int T, const int high, ConvJob *job, const real *m, Py_ssize_t ms, real *y, real bias,
                           Run *run, Py_ssize_t tile) noexcept nogil:
    """The plain sums of one tile of a run into y, if what stands there is not finite."""
    cdef Py_ssize_t wide = T - 2, rows = 1 if high == 1 else T - 2, i, j
    cdef Py_ssize_t width = min(wide, job.p.out[2] - wide * (run.tx + tile))
    cdef Py_ssize_t height = min(rows, job.p.out[1] - rows * run.ty)
    cdef real *to = (y + run.n * job.yn + run.z * job.ys[0] + run.ty * rows * job.ys[1]
                     + (run.tx + tile) * wide * job.ys[2])
    cdef real spoiled = 0
    for i in range(height):
        for j in range(width):
            spoiled += to[i * job.ys[1] + j * job.ys[2]] * <real>0
    if spoiled == 0:
        return
    for i in range(height):
        for j in range(width):
            to[i * job.ys[1] + j * job.ys[2]] = m[(i * wide + j) * ms + run.lane + tile] + bias


cdef void mend(const int T, const int high, ConvJob *job, real *m, Py_ssize_t ms, const real *x, const real *w, real *y,
               const real *bias, Py_ssize_t width, Run *runs, int n, int vectors, real *lanes,
               real *line) noexcept nogil:
    """Outputs of a panel's tiles that are not finite, as plain sums. m, whose products are spent, holds the sums.

    Each tile and output channel decides alone, so neither threads nor the other samples change anything.
    """
    cdef Py_ssize_t taps = 3 if high == 1 else 9, o, c, z, t
    cdef int i, r
    cdef Run deep[64]
    for r in range((T - 2) * (1 if high == 1 else T - 2)):
        memset(m + r * ms, 0, width * NR * sizeof(real))
    for c in range(job.p.C):
        for z in range(job.p.kernel[0]):
            for i in range(n):
                deep[i] = runs[i]
                deep[i].z = source(runs[i].z - job.p.before[0] + z, job.p.size[0], job.p.mode)
            gather(T, high, job, x + c * job.xc, deep, n, lanes, line)
            direct_sums(T, high, job, m, ms, w + (c * job.p.kernel[0] + z) * taps, width, vectors, lanes)
    for o in range(width):
        for i in range(n):
            for t in range(runs[i].length):
                mend_tile(T, high, job, m + o * NR, ms, y + o * job.yc, bias[o] if bias != NULL else <real>0,
                          &runs[i], t)


cdef inline void panel_tiles(ConvJob *job, bint half, real *m, const real *u, const real *w, Py_ssize_t t0,
                             Py_ssize_t t1, Py_ssize_t tiles, Py_ssize_t o0) noexcept nogil:
    """m[o, :] = sum over k of w[o, k] * u[k, :] for tiles t0..t1, one panel and one position."""
    cdef Py_ssize_t K = job.p.C * job.p.kernel[0], t = t0, o, rows, next_
    cdef const real *wo
    cdef real *mo
    while t < t1:
        o = tile_row(job.p.O, tiles, t)
        rows = tile_row(job.p.O, tiles, t + 1) - o
        wo = w + o * K
        mo = m + (o - o0) * NR
        if not half:
            any_tile(rows, True, wo, 0, u, K, mo, NR, NULL, True)
            t += 1
            continue
        # two tiles at once where both have as many rows; a single one is computed twice
        next_ = rows if t + 1 < t1 and tile_row(job.p.O, tiles, t + 2) - o == 2 * rows else 0
        any_pair(rows, True, wo, wo + next_ * K, 0, u, K, mo, mo + next_ * NR, NR, NULL, NULL, True)
        t += 2 if next_ else 1


cdef inline void products(ConvJob *job, real *m, Py_ssize_t ms, const real *u, Py_ssize_t us, Py_ssize_t panels,
                          bint half, Py_ssize_t positions, const real *w, Py_ssize_t t0, Py_ssize_t t1,
                          Py_ssize_t tiles, Py_ssize_t o0, Py_ssize_t width) noexcept nogil:
    """m[position, panel, o, :] for tiles t0..t1; `half`: the last panel has no more than VL tiles of the image."""
    cdef Py_ssize_t K = job.p.C * job.p.kernel[0], _xi, t, p
    cdef bint streamed = panels > 1 and width * K * <Py_ssize_t>sizeof(real) > 192 * 1024
    for _xi in range(positions):
        if streamed:
            # weights larger than L2: two tiles of them are read once for all panels
            t = t0
            while t < t1:
                for p in range(panels):
                    panel_tiles(job, half and p == panels - 1, m + p * width * NR, u + p * K * NR, w, t, min(t + 2, t1),
                                tiles, o0)
                t += 2
        else:
            for p in range(panels):
                panel_tiles(job, half and p == panels - 1, m + p * width * NR, u + p * K * NR, w, t0, t1, tiles, o0)
        w += job.wino.plane
        u += us
        m += ms


cdef inline void run_block(const int T, const int high, ConvJob *job, Py_ssize_t item, char *workspace) noexcept nogil:
    """Item = (group, block of panels, split of the output channels), the last fastest."""
    cdef Py_ssize_t split = item % job.o_splits, rest = item // job.o_splits
    cdef Py_ssize_t block = rest % job.wino.blocks, g = rest // job.wino.blocks, K = job.p.C * job.p.kernel[0]
    cdef Py_ssize_t total = job.p.N * job.p.out[0] * job.wino.patches[0] * job.wino.patches[1]
    cdef Py_ssize_t first = block * job.wino.panels * NR, last = min(first + job.wino.panels * NR, total)
    cdef Py_ssize_t panels = (last - first + NR - 1) // NR, tiles = (job.p.O + MR - 1) // MR
    cdef Py_ssize_t t0 = tiles * split // job.o_splits, t1 = tiles * (split + 1) // job.o_splits
    cdef Py_ssize_t o0 = tile_row(job.p.O, tiles, t0), width = tile_row(job.p.O, tiles, t1) - o0
    # one line of padding between positions: they would all fall into the same cache sets
    cdef Py_ssize_t us = job.wino.panels * K * NR + 64 // <Py_ssize_t>sizeof(real)
    cdef Py_ssize_t ms = job.wino.panels * width * NR + 64 // <Py_ssize_t>sizeof(real)
    cdef real *lanes = <real *>workspace
    cdef real *line = lanes + 36 * (NR + VL) + 8 * VL
    cdef real *u = <real *>(workspace + job.slab_at)
    cdef real *m = <real *>(workspace + job.panels_at)
    cdef const real *x = <const real *>job.x + g * job.p.C * job.xc
    cdef real *y = <real *>job.y + g * job.p.O * job.yc
    cdef const real *bias = <const real *>job.bias + g * job.p.O if job.bias != NULL else NULL
    cdef const real *plain = <const real *>job.w + plain_at(job) + g * job.p.O * K * (3 if high == 1 else 9)
    cdef Py_ssize_t p, c, z, o
    cdef vec spoiled
    cdef Run runs[64]
    cdef Run deep[64]
    cdef int n, i, vectors
    memset(line, 0, (4 * NR + 8 * VL) * sizeof(real))  # vectors run past what is filled: no denormals there either
    for p in range(panels):
        vectors = 1 if last - first - p * NR <= VL else 2
        n = panel_runs(job, runs, first + p * NR, min(first + (p + 1) * NR, last))
        if last - first - p * NR < NR:
            # lanes without a tile: zeros, for a denormal left from other work costs a hundred cycles
            memset(lanes, 0, 36 * (NR + VL) * sizeof(real))
        for z in range(job.p.kernel[0]):
            for i in range(n):
                deep[i] = runs[i]
                deep[i].z = source(runs[i].z - job.p.before[0] + z, job.p.size[0], job.p.mode)
            for c in range(job.p.C):
                transform_input(T, high, job, u + (p * K + c * job.p.kernel[0] + z) * NR, us, x + c * job.xc, deep, n,
                                vectors, lanes, line)
    products(job, m, ms, u, us, panels, last - first - (panels - 1) * NR <= VL, T * high,
             <const real *>job.w + g * T * high * job.wino.plane, t0, t1, tiles, o0, width)
    for p in range(panels):
        vectors = 1 if last - first - p * NR <= VL else 2
        n = panel_runs(job, runs, first + p * NR, min(first + (p + 1) * NR, last))
        spoiled = set1(<real>0)
        for o in range(width):
            transform_output(T, high, job, m + (p * width + o) * NR, ms, y + (o0 + o) * job.yc,
                             bias[o0 + o] if bias != NULL else <real>0, runs, n, vectors, lanes, &spoiled)
        if not all_zero(spoiled):
            mend(T, high, job, m + p * width * NR, ms, x, plain + o0 * K * (3 if high == 1 else 9), y + o0 * job.yc,
                 bias + o0 if bias != NULL else NULL, width, runs, n, vectors, lanes, line)


cdef void winograd_item(void *conv_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    if job.wino.high == 6: run_block(6, 6, job, item, workspace)
    elif job.wino.high == 4: run_block(4, 4, job, item, workspace)
    elif job.wino.patch == 6: run_block(6, 1, job, item, workspace)
    else: run_block(4, 1, job, item, workspace)


cdef void run_winograd(void *conv_job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Team team = Team(job.threads, <char *>job.workspace, job.workspace_bytes, 1)
    run_items(winograd_item, job, &team, first, last)


cdef Py_ssize_t winograd_items(void *conv_job) noexcept nogil:
    """The patches run through the batch."""
    return (<ConvJob *>conv_job).wino.blocks * (<ConvJob *>conv_job).p.G


cdef void lay_out_winograd(void *conv_job) noexcept nogil:
    """Gathered lanes and a line, past which vectors run; then transformed input and products, each position of which
    ends with a line of padding."""
    cdef ConvJob *job = <ConvJob *>conv_job
    cdef Py_ssize_t positions = job.wino.patch * job.wino.high, panel = job.wino.panels * NR * <Py_ssize_t>sizeof(real)
    job.slab_at = lines((36 * (NR + VL) + 8 * VL + 4 * NR + 8 * VL + 64) * sizeof(real))
    job.panels_at = job.slab_at + lines(positions * (panel * job.p.C * job.p.kernel[0] + 64))
    job.workspace_bytes = job.panels_at + lines(positions * (panel * job.p.O + 64))


cdef KernelTable WINOGRAD
WINOGRAD.name = "winograd"
WINOGRAD.lanes = VL
WINOGRAD.tile_rows = MR
WINOGRAD.run = run_winograd
WINOGRAD.items = winograd_items
WINOGRAD.lay_out = lay_out_winograd
WINOGRAD.packed_size = packed_patches
WINOGRAD.pack = pack_patches
WINOGRAD.reduce = NULL
WINOGRAD.grain = 1.5e6
WINOGRAD.stint = 1e8
WINOGRAD.least = 1
WINOGRAD.evens = True
WINOGRAD.split_least = 64

tables = {"winograd": PyCapsule_New(&WINOGRAD, "cconv.kernel", NULL)}
stamp = CCONV_STAMP_STRING.decode()
