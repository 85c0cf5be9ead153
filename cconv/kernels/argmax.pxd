# cython: cdivision=True
# The gradient of maxima: the windows' maxima are found again, with the number of the first largest or last NaN tap
# beside each in a second vector: along the rows, then down, both by doubling where windows are large. Then each
# output's gradient goes to the position of its tap.
#
# A kept row is one of values and one of tap numbers, each of `width` elements. A tap's number is -1 where none is
# above the lowest.
from libc.string cimport memset

from cconv.kernels.extrema cimport LOWEST, ireal, max_pair, max_tap, set_tap
from cconv.kernels.items cimport lines
from cconv.kernels.job cimport PoolGradJob, PoolJob
from cconv.kernels.simd cimport VL, load, real, set1, store, vec
from cconv.kernels.spread cimport spread_row


cdef enum:
    PLACES = 4096       # taps of a window whose places are listed


cdef struct Search:
    # an item: the gradient of input rows whose elements are low <= at < high of the plane, by output rows a..b
    const real *x                   # all three of the plane
    const real *y
    real *gx
    Py_ssize_t low, high, a, b
    Py_ssize_t od, oh0, oh1         # output rows whose reduced input rows are kept
    Py_ssize_t reach                # input rows that they reach
    # the workspace
    Py_ssize_t width
    Py_ssize_t *place               # of each tap, from its window's first; or NULL
    real *best                      # a row
    real *spread
    real *numbers
    real *kept


cdef inline Py_ssize_t spread_row_length(const PoolJob *pool) noexcept nogil:
    """Elements of a de-interleaved row, with slack."""
    cdef Py_ssize_t s = pool.p.stride[2]
    return s * (pool.p.out[2] + ((pool.p.kernel[2] - 1) * pool.p.dilation[2]) // s + 1) + 4 * VL


cdef inline Py_ssize_t place_bytes(const PoolJob *pool) noexcept nogil:
    cdef Py_ssize_t taps = pool.p.kernel[0] * pool.p.kernel[1] * pool.p.kernel[2]
    return lines(min(taps, <Py_ssize_t>PLACES) * sizeof(Py_ssize_t))


cdef inline Py_ssize_t place_of_tap(const PoolJob *pool, Py_ssize_t tap) noexcept nogil:
    """From a window's first element to that of a tap."""
    cdef Py_ssize_t kw = pool.p.kernel[2], kh = pool.p.kernel[1]
    return ((tap // (kw * kh) * pool.p.dilation[0] * pool.p.size[1] + tap // kw % kh * pool.p.dilation[1])
            * pool.p.size[2] + tap % kw * pool.p.dilation[2])


cdef inline void aim_search(PoolGradJob *job, Search *s, Py_ssize_t item, char *space) noexcept nogil:
    """Item = (plane, block of input rows), the last fastest; with several blocks there is one depth."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t plane = item // job.t.blocks, r0 = item % job.t.blocks * job.t.rows, i
    cdef Py_ssize_t r1 = min(r0 + job.t.rows, pool.p.size[1]), W = pool.p.size[2], stride = pool.p.stride[1]
    cdef Py_ssize_t taps = pool.p.kernel[0] * pool.p.kernel[1] * pool.p.kernel[2]
    cdef Py_ssize_t size = pool.p.size[0] * pool.p.size[1] * W
    cdef Py_ssize_t span = (pool.p.kernel[1] - 1) * pool.p.dilation[1], edge = r0 + pool.p.before[1]
    s.x = <const real *>pool.x + plane // pool.p.C * pool.xn + plane % pool.p.C * pool.xc
    s.y = <const real *>pool.y + plane // pool.p.C * pool.yn + plane % pool.p.C * pool.yc
    s.gx = <real *>job.gx + plane * size
    s.low, s.high, s.a, s.b = 0, size, 0, pool.p.out[1]
    if job.t.blocks > 1:
        s.low, s.high = r0 * W, r1 * W
        # output rows whose windows reach rows r0..r1; windows that hold nothing but -inf, or nothing, go to their first
        # valid tap, which is among theirs
        s.a = (edge - span + stride - 1) // stride if edge > span else 0
        s.b = min(pool.p.out[1], (r1 - 1 + pool.p.before[1]) // stride + 1)
    s.width = pool.p.out[2] + 2 * VL
    s.place = <Py_ssize_t *>space if taps <= PLACES else NULL
    s.best = <real *>(space + place_bytes(pool))
    s.spread = s.best + 2 * s.width
    s.numbers = s.spread + spread_row_length(pool)
    s.kept = s.numbers + spread_row_length(pool)
    if s.place != NULL:
        for i in range(taps):
            s.place[i] = place_of_tap(pool, i)


# ---------------------------------------------------------------- along the rows

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


cdef inline void best_each(const PoolJob *pool, real *best, real *taps, const real *spread,
                           Py_ssize_t n) noexcept nogil:
    """Windows of any size, tap by tap; spread has strands of n columns."""
    cdef Py_ssize_t s = pool.p.stride[2], d = pool.p.dilation[2], k = pool.p.kernel[2], ow = 0, i
    cdef Py_ssize_t at[64]
    cdef vec b, t
    for i in range(min(k, <Py_ssize_t>64)):
        at[i] = i * d % s * n + i * d // s
    if k == 2: best_few(2, best, taps, spread, at, pool.p.out[2])
    elif k == 3: best_few(3, best, taps, spread, at, pool.p.out[2])
    elif k == 5: best_few(5, best, taps, spread, at, pool.p.out[2])
    else:
        while ow < pool.p.out[2]:
            b = set1(LOWEST)
            t = set_tap(-1)
            for i in range(k):
                max_tap(&b, &t, load(spread + (at[i] if i < 64 else i * d % s * n + i * d // s) + ow), <ireal>i)
            store(best + ow, b)
            store(taps + ow, t)
            ow += VL


cdef inline void join(real *best, const real *a, const real *b, Py_ssize_t taps, Py_ssize_t tap,
                      Py_ssize_t n) noexcept nogil:
    """The better of a and b, where b's tap numbers count from `tap`; `best` may be a. They lie `taps` behind values."""
    cdef Py_ssize_t x = 0
    cdef vec v, t
    while x < n:
        v = load(a + x)
        t = load(a + taps + x)
        max_pair(&v, &t, load(b + x), load(b + taps + x), <ireal>tap)
        store(best + x, v)
        store(best + taps + x, t)
        x += VL


cdef inline void best_doubled(const PoolJob *pool, const Search *s, real *best, Py_ssize_t n) noexcept nogil:
    """Stride 1 by doubling: the maximum over m taps from each column of s.spread, and its number among them."""
    cdef Py_ssize_t k = pool.p.kernel[2], d = pool.p.dilation[2], length = n, ow = 0, m = 1, x = 0
    cdef Py_ssize_t taps = s.numbers - s.spread
    cdef vec b, t
    while ow < length:
        b = set1(LOWEST)
        t = set_tap(-1)
        max_tap(&b, &t, load(s.spread + ow), 0)
        store(s.spread + ow, b)
        store(s.numbers + ow, t)
        ow += VL
    while 2 * m <= k:
        length -= m * d
        join(s.spread, s.spread, s.spread + m * d, taps, m, length)
        m *= 2
    # into the row, whose numbers lie nearer
    while x < pool.p.out[2]:
        b = load(s.spread + x)
        t = load(s.numbers + x)
        max_pair(&b, &t, load(s.spread + (k - m) * d + x), load(s.numbers + (k - m) * d + x), <ireal>(k - m))
        store(best + x, b)
        store(best + s.width + x, t)
        x += VL


cdef inline void best_across(PoolGradJob *job, const Search *s, real *best, const real *x) noexcept nogil:
    """The maximum of each window of one input row, with the number of its tap."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t n = pool.p.out[2] + ((pool.p.kernel[2] - 1) * pool.p.dilation[2]) // pool.p.stride[2] + 1
    spread_row(pool, s.spread, x, n, LOWEST)
    if job.t.doubled:
        best_doubled(pool, s, best, n)
    else:
        best_each(pool, best, best + s.width, s.spread, n)


cdef inline void best_rows(PoolGradJob *job, const Search *s) noexcept nogil:
    """best_across of every input row that output rows oh0..oh1 read: of row lo + r of depth tap z at (z*reach + r).

    Rows of the padding are -inf without a tap."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t lo = s.oh0 * pool.p.stride[1] - pool.p.before[1], z, r, iz, iy, i
    cdef real *to = s.kept
    for z in range(pool.p.kernel[0]):
        iz = s.od * pool.p.stride[0] - pool.p.before[0] + z * pool.p.dilation[0]
        for r in range(s.reach):
            iy = lo + r
            if 0 <= iz < pool.p.size[0] and 0 <= iy < pool.p.size[1]:
                best_across(job, s, to, s.x + iz * pool.xs[0] + iy * pool.xs[1])
            else:
                i = 0
                while i < pool.p.out[2]:
                    store(to + i, set1(LOWEST))
                    store(to + s.width + i, set_tap(-1))
                    i += VL
            to += 2 * s.width


# ---------------------------------------------------------------- down

cdef inline Py_ssize_t double_rows(PoolGradJob *job, const Search *s) noexcept nogil:
    """Turns the first kept rows into maxima over m rows; returns m."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t d = pool.p.dilation[1], m = 1, count = s.reach, row = 2 * s.width, i
    while 2 * m <= pool.p.kernel[1]:
        count -= m * d
        for i in range(count):
            join(s.kept + i * row, s.kept + i * row, s.kept + (i + m * d) * row, s.width, m * pool.p.kernel[2],
                 pool.p.out[2])
        m *= 2
    return m


cdef inline void best_few_rows(const int k, real *best, const real *row, Py_ssize_t step, Py_ssize_t width,
                               Py_ssize_t kw, Py_ssize_t n) noexcept nogil:
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


cdef inline void best_down(PoolGradJob *job, const Search *s, Py_ssize_t oh, Py_ssize_t m) noexcept nogil:
    """The tap numbers of output row oh, left in s.best[width:]; with m, kept rows are maxima over m rows."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t width = s.width, z, r, kh = pool.p.kernel[1], kw = pool.p.kernel[2], x = 0
    cdef Py_ssize_t step = 2 * pool.p.dilation[1] * width
    cdef const real *row = s.kept + (oh - s.oh0) * pool.p.stride[1] * 2 * width
    cdef const real *p
    cdef vec b, t
    if m:
        join(s.best, row, row + (kh - m) * step, width, (kh - m) * kw, pool.p.out[2])
        return
    if pool.p.kernel[0] == 1 and kh == 2:
        best_few_rows(2, s.best, row, step, width, kw, pool.p.out[2])
        return
    if pool.p.kernel[0] == 1 and kh == 3:
        best_few_rows(3, s.best, row, step, width, kw, pool.p.out[2])
        return
    while x < pool.p.out[2]:
        b = set1(LOWEST)
        t = set_tap(-1)
        for z in range(pool.p.kernel[0]):
            p = row + z * s.reach * 2 * width + x
            for r in range(kh):
                max_pair(&b, &t, load(p), load(p + width), <ireal>((z * kh + r) * kw))
                p += step
        store(s.best + x, b)
        store(s.best + width + x, t)
        x += VL


# ---------------------------------------------------------------- gradients

cdef inline bint all_found(const ireal *taps, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef ireal signs = 0
    for i in range(n):
        signs = signs | taps[i]
    return signs >= 0


cdef inline void put_found(real *gx, const real *y, const ireal *taps, const Py_ssize_t *place, Py_ssize_t n,
                           Py_ssize_t s) noexcept nogil:
    """The common row: every output has its maximum, and all of the plane is this item's."""
    cdef Py_ssize_t i
    cdef real *to
    for i in range(n):
        to = gx + place[taps[i]]
        to[0] = to[0] + y[i]
        gx += s


cdef inline void put_row(PoolGradJob *job, const Search *s, Py_ssize_t oh) noexcept nogil:
    """Adds the gradients of one output row at the positions of their taps, of which those from low to high count."""
    cdef PoolJob *pool = &job.pool
    cdef const ireal *taps = <const ireal *>(s.best + s.width)
    cdef const real *y = s.y + s.od * pool.ys[0] + oh * pool.ys[1]
    cdef Py_ssize_t ow, tap, at, stride = pool.p.stride[2]
    cdef Py_ssize_t base = (((s.od * pool.p.stride[0] - pool.p.before[0]) * pool.p.size[1] + oh * pool.p.stride[1]
                             - pool.p.before[1]) * pool.p.size[2] - pool.p.before[2])
    if s.place != NULL and job.t.blocks == 1 and pool.ys[2] == 1 and all_found(taps, pool.p.out[2]):
        put_found(s.gx + base, y, taps, s.place, pool.p.out[2], stride)
        return
    for ow in range(pool.p.out[2]):
        tap = taps[ow]
        if tap >= 0:
            at = base + ow * stride + (s.place[tap] if s.place != NULL else place_of_tap(pool, tap))
        elif pool.count[0][s.od] and pool.count[1][oh] and pool.count[2][ow]:
            # nothing above the lowest: the first valid tap
            at = (pool.first[0][s.od] * pool.p.size[1] + pool.first[1][oh]) * pool.p.size[2] + pool.first[2][ow]
        else:
            continue
        if s.low <= at < s.high:
            s.gx[at] = s.gx[at] + y[ow * pool.ys[2]]


cdef inline void argmax(PoolGradJob *job, Py_ssize_t item, char *space) noexcept nogil:
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t oh, m
    cdef Search s
    aim_search(job, &s, item, space)
    memset(s.gx + s.low, 0, (s.high - s.low) * sizeof(real))
    for s.od in range(pool.p.out[0]):
        s.oh0 = s.a
        while s.oh0 < s.b:
            if job.watch.look(job.watch):
                return
            s.oh1 = min(s.oh0 + job.t.outs, s.b)
            s.reach = (s.oh1 - s.oh0 - 1) * pool.p.stride[1] + (pool.p.kernel[1] - 1) * pool.p.dilation[1] + 1
            best_rows(job, &s)
            m = double_rows(job, &s) if job.t.pairs else 0
            for oh in range(s.oh0, s.oh1):
                best_down(job, &s, oh, m)
                put_row(job, &s, oh)
            s.oh0 = s.oh1
