# cython: cdivision=True
# Pools, first step: an input row reduced along W into a row of outputs, by maximum or sum.
#
#     to[ow] = op over kw of x[ow*s - p + kw*d]
#
# Regions of a row: windows over the edges one by one, those between in whole vectors straight from the input (2 or 3
# taps, stride 1 or 2); else the row is copied between identities first. Long windows go by doubling: with S_1 = x and
# S_2m[i] = op(S_m[i], S_m[i + m]), in place, a maximum over k is op(S_m[i], S_m[i + k - m]) for the largest power m
# of two up to k, and a sum adds S_m at one offset for each bit m of k.
from cconv.kernels.extrema cimport LOWEST, max_nan
from cconv.kernels.job cimport PoolJob
from cconv.kernels.simd cimport VL, load, load2, real, set1, store, vec
from cconv.kernels.spread cimport spread_row


cdef inline void across_few(const bint maximum, const int taps, PoolJob *job, real *to, const real *spread,
                            Py_ssize_t n) noexcept nogil:
    """The common windows of two and three undilated taps: no division in the loop."""
    cdef Py_ssize_t x = 0, s = job.p.stride[2]
    cdef const real *p1 = spread + 1 % s * n + 1 // s
    cdef const real *p2 = spread + 2 % s * n + 2 // s
    cdef vec acc, v
    while x < job.p.out[2]:
        acc = load(spread + x)
        v = load(p1 + x)
        acc = max_nan(acc, v) if maximum else acc + v
        if taps == 3:
            v = load(p2 + x)
            acc = max_nan(acc, v) if maximum else acc + v
        store(to + x, acc)
        x += VL


cdef inline void down(const bint maximum, real *acc, const real *row, Py_ssize_t n, bint first) noexcept nogil:
    cdef Py_ssize_t x = 0
    if first:
        while x < n:
            store(acc + x, load(row + x))
            x += VL
    else:
        while x < n:
            store(acc + x, max_nan(load(acc + x), load(row + x)) if maximum else load(acc + x) + load(row + x))
            x += VL


cdef inline void merge(const bint maximum, real *to, const real *a, const real *b, Py_ssize_t n) noexcept nogil:
    """to = op(a, b); `to` may be `a`."""
    cdef Py_ssize_t x = 0
    while x < n:
        store(to + x, max_nan(load(a + x), load(b + x)) if maximum else load(a + x) + load(b + x))
        x += VL


cdef inline void double_row(const bint maximum, real *to, real *s, Py_ssize_t n, Py_ssize_t k,
                            Py_ssize_t d) noexcept nogil:
    """to[i] = op over s[i], s[i + d], ..., s[i + (k-1)d] for i < n, by doubling; s is overwritten."""
    cdef Py_ssize_t m = 1, at = 0, length = n + (k - 1) * d
    cdef bint first = True
    while True:
        if not maximum and k & m:
            down(False, to, s + at * d, n, first)
            first = False
            at += m
        if 2 * m > k:
            break
        length -= m * d
        merge(maximum, s, s, s + m * d, length)
        m *= 2
    if maximum:
        merge(True, to, s, s + (k - m) * d, n)


cdef inline void edge(const bint maximum, PoolJob *job, real *to, const real *x, Py_ssize_t a,
                      Py_ssize_t b) noexcept nogil:
    """Windows a..b of a row one by one, over their valid taps; in vectors of one value, which have no branches."""
    cdef Py_ssize_t ow, i, at
    cdef vec acc
    cdef real buf[16]
    for ow in range(a, b):
        acc = set1(LOWEST if maximum else <real>0)
        for i in range(job.p.kernel[2]):
            at = ow * job.p.stride[2] - job.p.before[2] + i
            if 0 <= at < job.p.size[2]:
                acc = max_nan(acc, set1(x[at])) if maximum else acc + set1(x[at])
        store(buf, acc)
        to[ow] = buf[0]


cdef inline void across_direct(const bint maximum, const int k, const int s, PoolJob *job, real *to,
                               const real *x) noexcept nogil:
    """Windows of 2 or 3 taps and stride 1 or 2, straight from the input; those over the edges one by one."""
    cdef Py_ssize_t ow, p = job.p.before[2], lo = min(job.p.out[2], (p + s - 1) // s), hi
    cdef vec a, b, c
    store(to + job.p.out[2], set1(<real>0))  # the slack, which later steps read: no denormals there
    # vectors at ow < hi read inside the row: VL windows, and with stride 2 and three taps one column more
    hi = min(job.p.out[2], (job.p.size[2] + p - k - (1 if s == 2 and k == 3 else 0)) // s + 1)
    if hi - lo < VL:
        edge(maximum, job, to, x, 0, job.p.out[2])
        return
    edge(maximum, job, to, x, 0, lo)
    ow = lo
    while True:
        if s == 1:
            a = load(x + ow - p)
            b = load(x + ow - p + 1)
            if k == 3:
                c = load(x + ow - p + 2)
        else:
            if k == 3:
                load2(x + 2 * ow - p + 2, &c, &b)
            load2(x + 2 * ow - p, &a, &b)
        a = max_nan(a, b) if maximum else a + b
        if k == 3:
            a = max_nan(a, c) if maximum else a + c
        store(to + ow, a)
        if ow + VL >= hi:
            break
        ow = min(ow + VL, hi - VL)
    edge(maximum, job, to, x, hi, job.p.out[2])


cdef inline void across_windows(const bint maximum, PoolJob *job, real *to, const real *x) noexcept nogil:
    """Windows of varying size (adaptive), one by one."""
    cdef Py_ssize_t ow, i, count, step = job.xs[2]
    cdef const Py_ssize_t *firsts = job.first[2]
    cdef const Py_ssize_t *counts = job.count[2]
    cdef const real *p
    cdef real acc
    cdef vec best
    cdef real buf[16]
    for ow in range(job.p.out[2]):
        p = x + firsts[ow] * step
        count = counts[ow]
        if maximum:
            best = set1(p[0])
            for i in range(1, count):
                best = max_nan(best, set1(p[i * step]))
            store(buf, best)
            to[ow] = buf[0]
            continue
        acc = p[0]
        for i in range(1, count):
            acc = acc + p[i * step]
        to[ow] = acc


cdef inline void across_spread(const bint maximum, PoolJob *job, real *to, const real *x, real *spread) noexcept nogil:
    """Any window, from the row between identities, de-interleaved by the stride."""
    cdef Py_ssize_t k = job.p.kernel[2], d = job.p.dilation[2], s = job.p.stride[2], i, f
    cdef Py_ssize_t n = job.p.out[2] + (k - 1) * d // s + 1
    spread_row(job, spread, x, n, LOWEST if maximum else <real>0)
    if d == 1 and k == 3:
        across_few(maximum, 3, job, to, spread, n)
    elif d == 1 and k == 2:
        across_few(maximum, 2, job, to, spread, n)
    elif job.t.doubled[2]:
        double_row(maximum, to, spread, job.p.out[2], k, d)
    else:
        for i in range(k):
            f = i * d
            down(maximum, to, spread + f % s * n + f // s, job.p.out[2], i == 0)


cdef inline void across(const bint maximum, PoolJob *job, real *to, const real *x, real *spread) noexcept nogil:
    """to[ow] = op over the valid taps of window ow of one input row."""
    cdef Py_ssize_t k = job.p.kernel[2], s = job.p.stride[2]
    if job.p.adaptive:
        across_windows(maximum, job, to, x)
    elif job.p.dilation[2] == 1 and job.xs[2] == 1 and s <= 2 and 2 <= k <= 3:
        if k == 3 and s == 1: across_direct(maximum, 3, 1, job, to, x)
        elif k == 3: across_direct(maximum, 3, 2, job, to, x)
        elif s == 1: across_direct(maximum, 2, 1, job, to, x)
        else: across_direct(maximum, 2, 2, job, to, x)
    else:
        across_spread(maximum, job, to, x, spread)
