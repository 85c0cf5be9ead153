# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The gradients of pools by their input, of one element type and one instruction set.

    average, sum:  gx[n, c, i] = sum over outputs o whose windows hold i of gy[n, c, o] / divisor[o]
    maximum:       gx[n, c, i] = sum over outputs o whose window's maximum is i of gy[n, c, o]

Letters: as in pool.pyx; i and o stand for positions (d, h, w); gy is the gradient of the output, gx of the input.

Each value of gx is summed by one item in the order of the outputs: the same bits for any number of threads.
  spread  One item is a block of input rows. The output rows whose windows hold a row are added, and the sum is spread
          along W: with i + p = q*s + r it is the sum of gy[q - j] over j <= (k-1-r)/s, shifted vectors of one phase r.
          Long windows of stride 1 go by doubling, as in pool.pyx; dilated and adaptive ones tap by tap.
  argmax  One item is a block of input rows. The windows' maxima are found again, with the number of the first largest
          or last NaN tap beside each in a second vector: along the rows, then down, both by doubling where windows are
          large. Then each output's gradient goes to the position of its tap.
  given   The positions are given (adaptive maxima): each output's gradient goes there.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from cconv.kernels.items cimport Team, lines, run_items
from cconv.kernels.job cimport POOL_AVERAGE, POOL_MAX, KernelTable, PoolGradJob, PoolJob
from cconv.kernels.spread cimport spread_row
from cconv.kernels.tile cimport MR, VL, copy_run, load, real, set1, store, vec


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

cdef extern from "simd.h" nogil:
    const real LOWEST "CCONV_LOWEST"
    ctypedef long long ireal
    vec set_tap(ireal tap)
    void max_tap(vec *best, vec *at, vec v, ireal tap)
    void max_pair(vec *best, vec *at, vec v, vec t, ireal tap)
    void store2(real *p, vec a, vec b)


cdef enum:
    TAP_TABLE = 4096    # taps of a window whose places are listed


# ---------------------------------------------------------------- spread

cdef void add_rows(PoolGradJob *job, const real *y, const real *parts, Py_ssize_t iz, Py_ssize_t iy,
                   real *sums) noexcept nogil:
    """sums = the output rows whose windows hold input row (iz, iy), each divided by its windows' sizes."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t z, h, oz, oy, x, n = pool.p.out[2], d
    cdef const real *row
    cdef real part
    cdef vec f
    cdef bint first = True
    for z in range(job.start[0][iz], job.start[0][iz + 1]):
        oz = job.list[0][z]
        for h in range(job.start[1][iy], job.start[1][iy + 1]):
            oy = job.list[1][h]
            row = y + oz * pool.ys[0] + oy * pool.ys[1]
            d = pool.divisor[0][oz] * pool.divisor[1][oy]
            part = <real>1
            if pool.divide != 0:
                part = <real>(1 / pool.divide)
            elif pool.op == POOL_AVERAGE:
                part = <real>1 / <real>d if d else <real>0
            f = set1(part)
            x = 0
            if pool.ys[2] == 1:
                while x + VL <= n:
                    store(sums + x, load(row + x) * f if first else load(sums + x) + load(row + x) * f)
                    x += VL
            while x < n:
                sums[x] = row[x * pool.ys[2]] * part if first else sums[x] + row[x * pool.ys[2]] * part
                x += 1
            first = False
    if first:
        memset(sums, 0, n * sizeof(real))
    elif pool.op == POOL_AVERAGE and pool.divide == 0:
        x = 0
        while x < n:
            # runs over into the slack, which is zero on both sides
            store(sums + x, load(sums + x) * load(parts + x))
            x += VL


cdef inline void sum_shifted(real *to, const real *g, Py_ssize_t count, Py_ssize_t n) noexcept nogil:
    """to[q] = g[q] + g[q - 1] + ... over `count` terms."""
    cdef Py_ssize_t q = 0, j
    cdef vec acc
    while q < n:
        acc = load(g + q)
        for j in range(1, count):
            acc = acc + load(g + q - j)
        store(to + q, acc)
        q += VL


cdef void sum_doubled(real *to, real *g, Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """sum_shifted by doubling, with S_2m[q] = S_m[q] + S_m[q - m]; g is overwritten, from its end."""
    cdef Py_ssize_t m = 1, at = 0, q
    cdef bint first = True
    while True:
        if k & m:
            q = 0
            while q < n:
                store(to + q, load(g + q - at) if first else load(to + q) + load(g + q - at))
                q += VL
            first = False
            at += m
        if 2 * m > k:
            return
        # down from the end: a vector is read before it is overwritten; what lies before 0 stays zero
        q = (n + VL - 1) // VL * VL - VL
        while q >= 0:
            store(g + q, load(g + q) + load(g + q - m))
            q -= VL
        m *= 2


cdef void spread_along(PoolGradJob *job, real *to, real *g, real *phase) noexcept nogil:
    """to[i + p] = the gradients of the outputs of one row that hold column i; g has zeros on both sides."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t s = pool.p.stride[2], k = pool.p.kernel[2], n = (pool.p.size[2] + pool.p.before[2] - 1) // s + 1, r, q, o, i
    if pool.p.adaptive or pool.p.dilation[2] > 1:
        memset(to, 0, (pool.p.size[2] + pool.p.before[2]) * sizeof(real))
        i = 1 if pool.p.adaptive else pool.p.dilation[2]
        for o in range(pool.p.out[2]):
            for r in range(pool.count[2][o]):
                q = pool.p.before[2] + pool.first[2][o] + r * i
                to[q] = to[q] + g[o]
        return
    if s == 1:
        if k >= 12:
            sum_doubled(to, g, k, n)
        else:
            sum_shifted(to, g, k, n)
        return
    if s == 2 and k >= 2:
        q = 0
        if k == 2:
            while q < n:
                store2(to + 2 * q, load(g + q), load(g + q))
                q += VL
            return
        if k == 3:
            while q < n:
                store2(to + 2 * q, load(g + q) + load(g + q - 1), load(g + q))
                q += VL
            return
    for r in range(s):
        if r >= k:
            q = r
            while q < n * s:
                to[q] = 0
                q += s
            continue
        sum_shifted(phase, g, (k - 1 - r) // s + 1, n)
        for q in range(n):
            to[q * s + r] = phase[q]


cdef void spread(PoolGradJob *job, Py_ssize_t item, real *space) noexcept nogil:
    """Item = (plane, input depth, block of input rows), the last fastest."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t block = item % job.t.blocks, iz = item // job.t.blocks % pool.p.size[0]
    cdef Py_ssize_t plane = item // (job.t.blocks * pool.p.size[0]), W = pool.p.size[2], s = pool.p.stride[2], k = pool.p.kernel[2]
    cdef Py_ssize_t iy, j, lead = (k + 2 * VL - 1) // VL * VL, n = (W + pool.p.before[2] - 1) // s + 1 + 2 * VL
    cdef const real *y = <const real *>pool.y + plane // pool.p.C * pool.yn + plane % pool.p.C * pool.yc
    cdef real *gx = <real *>job.gx + (plane * pool.p.size[0] + iz) * pool.p.size[1] * W
    cdef real *parts = space
    cdef real *g = parts + pool.p.out[2] + 2 * VL + lead
    cdef real *phase = g + max(n, pool.p.out[2] + 2 * VL)
    cdef real *to = phase + n
    cdef real *last = NULL
    for j in range(pool.p.out[2] + VL):
        parts[j] = <real>1 / <real>pool.divisor[2][j] if j < pool.p.out[2] and pool.divisor[2][j] else <real>0
    for iy in range(block * job.t.rows, min((block + 1) * job.t.rows, pool.p.size[1])):
        if last != NULL and same_outputs(job, iy):
            memcpy(gx + iy * W, last, W * sizeof(real))
            continue
        memset(g - lead, 0, lead * sizeof(real))
        memset(g + pool.p.out[2], 0, (max(n, pool.p.out[2] + 2 * VL) - pool.p.out[2]) * sizeof(real))
        add_rows(job, y, parts, iz, iy, g)
        spread_along(job, to, g, phase)
        copy_run(gx + iy * W, to + pool.p.before[2], 1, W)
        last = gx + iy * W


cdef inline bint same_outputs(PoolGradJob *job, Py_ssize_t iy) noexcept nogil:
    """Whether the same windows hold input rows iy - 1 and iy."""
    cdef Py_ssize_t a = job.start[1][iy - 1], b = job.start[1][iy], j
    if job.start[1][iy + 1] - b != b - a:
        return False
    for j in range(b - a):
        if job.list[1][a + j] != job.list[1][b + j]:
            return False
    return True


# ---------------------------------------------------------------- argmax

cdef inline void best_few(const int k, real *best, real *taps, const real *spread, const Py_ssize_t *at,
                          Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t ow = 0
    cdef int i
    cdef vec b, t
    while ow < n:
        b = set1(LOWEST)
        t = set_tap(-1)
        for i in range(k):
            max_tap(&b, &t, load(spread + at[i] + ow), <ireal>i)
        store(best + ow, b)
        store(taps + ow, t)
        ow += VL


cdef void best_across(PoolGradJob *job, real *best, real *taps, const real *x, real *spread,
                      real *numbers) noexcept nogil:
    """The maximum of each window of one input row, with the number of its tap: -1 if none is above the lowest."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t s = pool.p.stride[2], d = pool.p.dilation[2], k = pool.p.kernel[2], n = pool.p.out[2] + ((k - 1) * d) // s + 1, ow = 0, i, m
    cdef Py_ssize_t length
    cdef Py_ssize_t at[64]
    cdef vec b, t, lowest = set1(LOWEST), none = set_tap(-1)
    spread_row(pool, spread, x, n, LOWEST)
    if not job.t.doubled:
        for i in range(min(k, <Py_ssize_t>64)):
            at[i] = i * d % s * n + i * d // s
        if k == 2: best_few(2, best, taps, spread, at, pool.p.out[2])
        elif k == 3: best_few(3, best, taps, spread, at, pool.p.out[2])
        elif k == 5: best_few(5, best, taps, spread, at, pool.p.out[2])
        else:
            while ow < pool.p.out[2]:
                b = lowest
                t = none
                for i in range(k):
                    max_tap(&b, &t, load(spread + (at[i] if i < 64 else i * d % s * n + i * d // s) + ow), <ireal>i)
                store(best + ow, b)
                store(taps + ow, t)
                ow += VL
        return
    # stride 1 by doubling: the maximum over m taps from each column, and its number among them
    length = n
    while ow < length:
        b = lowest
        t = none
        max_tap(&b, &t, load(spread + ow), 0)
        store(spread + ow, b)
        store(numbers + ow, t)
        ow += VL
    m = 1
    while 2 * m <= k:
        length -= m * d
        join(spread, numbers, spread, numbers, spread + m * d, numbers + m * d, m, length)
        m *= 2
    join(best, taps, spread, numbers, spread + (k - m) * d, numbers + (k - m) * d, k - m, pool.p.out[2])


cdef inline void join(real *best, real *taps, const real *a, const real *at, const real *b, const real *bt,
                      Py_ssize_t tap, Py_ssize_t n) noexcept nogil:
    """The better of a and b, where b's tap numbers count from `tap`; `best` may be a."""
    cdef Py_ssize_t x = 0
    cdef vec v, t
    while x < n:
        v = load(a + x)
        t = load(at + x)
        max_pair(&v, &t, load(b + x), load(bt + x), <ireal>tap)
        store(best + x, v)
        store(taps + x, t)
        x += VL


cdef bint all_found(const ireal *taps, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef ireal signs = 0
    for i in range(n):
        signs = signs | taps[i]
    return signs >= 0


cdef void put_found(real *gx, const real *y, const ireal *taps, const Py_ssize_t *offset, Py_ssize_t n,
                    Py_ssize_t s) noexcept nogil:
    """The common row: every output has its maximum, and all of the plane is this item's."""
    cdef Py_ssize_t i
    cdef real *to
    for i in range(n):
        to = gx + offset[taps[i]]
        to[0] = to[0] + y[i]
        gx += s


cdef void put_row(PoolGradJob *job, Py_ssize_t od, Py_ssize_t oh, const real *y, const real *taps,
                  const Py_ssize_t *offset, real *gx, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    """Adds the gradients of one output row at the positions of their taps, of which those from low to high count."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t ow, tap, at, W = pool.p.size[2], s = pool.p.stride[2], kw = pool.p.kernel[2], kh = pool.p.kernel[1]
    cdef Py_ssize_t base = ((od * pool.p.stride[0] - pool.p.before[0]) * pool.p.size[1] + oh * pool.p.stride[1] - pool.p.before[1]) * W - pool.p.before[2]
    if offset != NULL and job.t.blocks == 1 and pool.ys[2] == 1 and all_found(<const ireal *>taps, pool.p.out[2]):
        put_found(gx + base, y, <const ireal *>taps, offset, pool.p.out[2], s)
        return
    for ow in range(pool.p.out[2]):
        tap = (<const ireal *>taps)[ow]
        if tap >= 0 and offset != NULL:
            at = base + offset[tap] + ow * s
        elif tap >= 0:
            at = base + ((tap // (kw * kh) * pool.p.dilation[0] * pool.p.size[1] + tap // kw % kh * pool.p.dilation[1]) * W
                         + tap % kw * pool.p.dilation[2] + ow * s)
        elif pool.count[0][od] and pool.count[1][oh] and pool.count[2][ow]:
            # nothing above the lowest: the first valid tap
            at = (pool.first[0][od] * pool.p.size[1] + pool.first[1][oh]) * W + pool.first[2][ow]
        else:
            continue
        if low <= at < high:
            gx[at] = gx[at] + y[ow * pool.ys[2]]


cdef void best_rows(PoolGradJob *job, const real *x, Py_ssize_t od, Py_ssize_t oh0, Py_ssize_t oh1, real *kept,
                    real *spread, real *numbers) noexcept nogil:
    """best_across of every input row that output rows oh0..oh1 read: of row lo + r of depth tap z at (z*count + r).

    Rows of the padding are -inf without a tap. By doubling, the first rows end up as maxima over m rows."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t width = pool.p.out[2] + 2 * VL, lo = oh0 * pool.p.stride[1] - pool.p.before[1], z, r, iz, iy, i
    cdef Py_ssize_t count = (oh1 - oh0 - 1) * pool.p.stride[1] + (pool.p.kernel[1] - 1) * pool.p.dilation[1] + 1
    cdef real *to = kept
    for z in range(pool.p.kernel[0]):
        iz = od * pool.p.stride[0] - pool.p.before[0] + z * pool.p.dilation[0]
        for r in range(count):
            iy = lo + r
            if 0 <= iz < pool.p.size[0] and 0 <= iy < pool.p.size[1]:
                best_across(job, to, to + width, x + iz * pool.xs[0] + iy * pool.xs[1], spread, numbers)
            else:
                i = 0
                while i < pool.p.out[2]:
                    store(to + i, set1(LOWEST))
                    store(to + width + i, set_tap(-1))
                    i += VL
            to += 2 * width


cdef inline void down_few(const int k, real *best, const real *row, Py_ssize_t step, Py_ssize_t width, Py_ssize_t kw,
                          Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t x = 0
    cdef int r
    cdef vec b, t
    while x < n:
        b = set1(LOWEST)
        t = set_tap(-1)
        for r in range(k):
            max_pair(&b, &t, load(row + r * step + x), load(row + r * step + width + x), <ireal>(r * kw))
        store(best + x, b)
        store(best + width + x, t)
        x += VL


cdef void best_down(PoolGradJob *job, Py_ssize_t oh0, Py_ssize_t oh1, Py_ssize_t oh, Py_ssize_t m, real *kept,
                    real *best) noexcept nogil:
    """The tap numbers of output row oh, left in best[width:]; with m, kept rows are maxima over m rows."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t width = pool.p.out[2] + 2 * VL, z, r, kh = pool.p.kernel[1], kw = pool.p.kernel[2], d = pool.p.dilation[1]
    cdef Py_ssize_t count = (oh1 - oh0 - 1) * pool.p.stride[1] + (kh - 1) * d + 1, x = 0
    cdef real *row = kept + (oh - oh0) * pool.p.stride[1] * 2 * width
    cdef real *p
    cdef vec b, t, lowest = set1(LOWEST), none = set_tap(-1)
    if m:
        p = row + (kh - m) * d * 2 * width
        join(best, best + width, row, row + width, p, p + width, (kh - m) * kw, pool.p.out[2])
        return
    if pool.p.kernel[0] == 1 and kh == 2:
        down_few(2, best, row, 2 * d * width, width, kw, pool.p.out[2])
        return
    if pool.p.kernel[0] == 1 and kh == 3:
        down_few(3, best, row, 2 * d * width, width, kw, pool.p.out[2])
        return
    while x < pool.p.out[2]:
        b = lowest
        t = none
        for z in range(pool.p.kernel[0]):
            p = row + z * count * 2 * width + x
            for r in range(kh):
                max_pair(&b, &t, load(p), load(p + width), <ireal>((z * kh + r) * kw))
                p += 2 * d * width
        store(best + x, b)
        store(best + width + x, t)
        x += VL


cdef void argmax(PoolGradJob *job, Py_ssize_t item, char *space) noexcept nogil:
    """Item = (plane, block of input rows), the last fastest; with several blocks there is one depth."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t plane = item // job.t.blocks, r0 = item % job.t.blocks * job.t.rows, width = pool.p.out[2] + 2 * VL
    cdef Py_ssize_t r1 = min(r0 + job.t.rows, pool.p.size[1]), W = pool.p.size[2], s = pool.p.stride[1], kh = pool.p.kernel[1]
    cdef Py_ssize_t d = pool.p.dilation[1]
    cdef Py_ssize_t low = 0, high = pool.p.size[0] * pool.p.size[1] * W, od, oh, oh0, oh1, a = 0, b = pool.p.out[1], m, i
    cdef Py_ssize_t taps = pool.p.kernel[0] * kh * pool.p.kernel[2], count
    cdef const real *x = <const real *>pool.x + plane // pool.p.C * pool.xn + plane % pool.p.C * pool.xc
    cdef const real *y = <const real *>pool.y + plane // pool.p.C * pool.yn + plane % pool.p.C * pool.yc
    cdef real *gx = <real *>job.gx + plane * high
    cdef Py_ssize_t *offset = <Py_ssize_t *>space
    cdef real *best = <real *>(space + tap_table_bytes(pool))
    cdef real *spread = best + 2 * width
    cdef Py_ssize_t n = s_length(pool)
    cdef real *numbers = spread + n
    cdef real *kept = numbers + n
    if job.t.blocks > 1:
        low, high = r0 * W, r1 * W
        # output rows whose windows reach rows r0..r1
        a = max(<Py_ssize_t>0, (r0 + pool.p.before[1] - (kh - 1) * d + s - 1) // s if r0 + pool.p.before[1] > (kh - 1) * d else 0)
        b = min(pool.p.out[1], (r1 - 1 + pool.p.before[1]) // s + 1)
        # windows that hold nothing but -inf, or nothing, go to their first valid tap, which is among theirs
    memset(gx + low, 0, (high - low) * sizeof(real))
    if taps <= TAP_TABLE:
        for i in range(taps):
            offset[i] = ((i // (pool.p.kernel[2] * kh) * pool.p.dilation[0] * pool.p.size[1] + i // pool.p.kernel[2] % kh * d) * W
                         + i % pool.p.kernel[2] * pool.p.dilation[2])
    else:
        offset = NULL
    for od in range(pool.p.out[0]):
        oh0 = a
        while oh0 < b:
            if job.watch.look(job.watch):
                return
            oh1 = min(oh0 + job.t.outs, b)
            best_rows(job, x, od, oh0, oh1, kept, spread, numbers)
            m = 0
            if job.t.pairs:
                m = 1
                count = (oh1 - oh0 - 1) * s + (kh - 1) * d + 1
                while 2 * m <= kh:
                    count -= m * d
                    for i in range(count):
                        join(kept + i * 2 * width, kept + i * 2 * width + width, kept + i * 2 * width,
                             kept + i * 2 * width + width, kept + (i + m * d) * 2 * width,
                             kept + (i + m * d) * 2 * width + width, m * pool.p.kernel[2], pool.p.out[2])
                    m *= 2
            for oh in range(oh0, oh1):
                best_down(job, oh0, oh1, oh, m, kept, best)
                put_row(job, od, oh, y + od * pool.ys[0] + oh * pool.ys[1], best + width, offset, gx, low, high)
            oh0 = oh1


cdef inline Py_ssize_t s_length(PoolJob *pool) noexcept nogil:
    """Elements of a de-interleaved row, with slack."""
    return pool.p.stride[2] * (pool.p.out[2] + ((pool.p.kernel[2] - 1) * pool.p.dilation[2]) // pool.p.stride[2] + 1) + 4 * VL


cdef inline Py_ssize_t tap_table_bytes(PoolJob *pool) noexcept nogil:
    cdef Py_ssize_t taps = pool.p.kernel[0] * pool.p.kernel[1] * pool.p.kernel[2]
    return lines(min(taps, <Py_ssize_t>TAP_TABLE) * sizeof(Py_ssize_t))


# ---------------------------------------------------------------- given

cdef void given(PoolGradJob *job, Py_ssize_t plane) noexcept nogil:
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t size = pool.p.size[0] * pool.p.size[1] * pool.p.size[2], z, r, i
    cdef real *gx = <real *>job.gx + plane * size
    cdef const real *y = <const real *>pool.y + plane // pool.p.C * pool.yn + plane % pool.p.C * pool.yc
    cdef const int64_t *at = <const int64_t *>pool.index + plane * pool.p.out[0] * pool.p.out[1] * pool.p.out[2]
    memset(gx, 0, size * sizeof(real))
    for z in range(pool.p.out[0]):
        for r in range(pool.p.out[1]):
            for i in range(pool.p.out[2]):
                if at[0] >= 0:
                    gx[at[0]] = gx[at[0]] + y[z * pool.ys[0] + r * pool.ys[1] + i * pool.ys[2]]
                at += 1


cdef void pool_grad_item(void *grad_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef PoolGradJob *job = <PoolGradJob *>grad_job
    if job.pool.op != POOL_MAX:
        spread(job, item, <real *>workspace)
    elif job.pool.indexed:
        given(job, item)
    else:
        argmax(job, item, workspace)


cdef void run_pool_grad(void *grad_job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef PoolJob *pool = &(<PoolGradJob *>grad_job).pool
    cdef Team team = Team(pool.threads, <char *>pool.workspace, pool.workspace_bytes, 1)
    run_items(pool_grad_item, grad_job, &team, first, last)


cdef Py_ssize_t pool_grad_items(void *grad_job) noexcept nogil:
    cdef PoolGradJob *job = <PoolGradJob *>grad_job
    cdef Py_ssize_t planes = job.pool.p.N * job.pool.p.C
    if job.pool.op != POOL_MAX:
        return planes * job.pool.p.size[0] * job.t.blocks
    return planes if job.pool.indexed else planes * job.t.blocks


cdef void lay_out_pool_grad(void *grad_job) noexcept nogil:
    """spread: parts, a row of sums with zeros before and behind, a phase, and the row that they are spread to.
    argmax: where each tap lies, the best of a row, a spread row with its tap numbers, and the kept rows."""
    cdef PoolGradJob *job = <PoolGradJob *>grad_job
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t width = pool.p.out[2] + 2 * VL, n = (pool.p.size[2] + pool.p.before[2] - 1) // pool.p.stride[2] + 1
    cdef Py_ssize_t size, reach
    n += 2 * VL
    if pool.op != POOL_MAX:
        size = width + pool.p.kernel[2] + 2 * VL + max(n, width) + n * (pool.p.stride[2] + 1) + 4 * VL
        pool.workspace_bytes = lines(size * sizeof(real))
    elif pool.indexed:
        pool.workspace_bytes = 0
    else:
        reach = (job.t.outs - 1) * pool.p.stride[1] + (pool.p.kernel[1] - 1) * pool.p.dilation[1] + 1
        size = 2 * width + 2 * s_length(pool) + pool.p.kernel[0] * reach * 2 * width
        pool.workspace_bytes = tap_table_bytes(pool) + lines(size * sizeof(real) + 64)


cdef KernelTable POOL_GRAD
POOL_GRAD.name = "pool_grad"
POOL_GRAD.lanes = VL
POOL_GRAD.tile_rows = MR
POOL_GRAD.run = run_pool_grad
POOL_GRAD.items = pool_grad_items
POOL_GRAD.lay_out = lay_out_pool_grad
POOL_GRAD.packed_size = NULL
POOL_GRAD.pack = NULL
POOL_GRAD.reduce = NULL
POOL_GRAD.grain = 1e5
POOL_GRAD.stint = 2e7
POOL_GRAD.least = 1
POOL_GRAD.evens = False
POOL_GRAD.split_least = 0

tables = {"pool_grad": PyCapsule_New(&POOL_GRAD, "cconv.kernel", NULL)}
stamp = CCONV_STAMP_STRING.decode()
