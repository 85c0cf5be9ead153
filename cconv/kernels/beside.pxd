# cython: cdivision=True
# Planes side by side: value j of VL planes stands in one vector, so that short rows cost no more than long ones.
#
#     q[j * VL + l] = x_l[j]
#
# Some rows are turned at a time, reduced along W, and results are turned back. Every window is walked over its valid
# taps, in the order and with the operations of rows (across.pxd), and so has the same bits. Padding, dilation and
# windows of varying size cost nothing extra.
from libc.stdint cimport int64_t

from cconv.kernels.extrema cimport LOWEST, ireal, max_nan, max_tap, set_tap
from cconv.kernels.job cimport PoolJob
from cconv.kernels.reduce cimport gather_lanes, scatter_lanes
from cconv.kernels.simd cimport VL, load, real, set1, store, vec


cdef enum:
    LANES_MOST = 16
    GATHERED = 256      # columns that are turned at a time


cdef inline Py_ssize_t gathered_rows(const PoolJob *job) noexcept nogil:
    """Input rows that are turned at a time."""
    return max(<Py_ssize_t>1, min(job.p.size[1], GATHERED // max(<Py_ssize_t>1, job.p.size[2])))


cdef inline bint neighbours(const real **x) noexcept nogil:
    """Whether elements of the planes lie side by side in memory, channels last."""
    cdef int l
    for l in range(1, VL):
        if x[l] != x[0] + l:
            return False
    return True


cdef inline void take_rows(const PoolJob *job, real *to, const real **x, Py_ssize_t at,
                           Py_ssize_t count) noexcept nogil:
    """`count` input rows of VL planes from element `at` of each on."""
    cdef Py_ssize_t r, i, L = job.p.size[2]
    cdef int l
    if job.xs[2] == 1 and job.xs[1] == L:
        gather_lanes(to, x, at, count * L)
    elif job.xs[2] == 1:
        for r in range(count):
            # what it writes behind the row is the next one's, or slack
            gather_lanes(to + r * L * VL, x, at + r * job.xs[1], L)
    elif neighbours(x):
        for r in range(count):
            for i in range(L):
                store(to + (r * L + i) * VL, load(x[0] + at + r * job.xs[1] + i * job.xs[2]))
    else:
        for r in range(count):
            for i in range(L):
                for l in range(VL):
                    to[(r * L + i) * VL + l] = x[l][at + r * job.xs[1] + i * job.xs[2]]


cdef inline vec window_of(const bint maximum, const real *p, Py_ssize_t count, Py_ssize_t step) noexcept nogil:
    cdef Py_ssize_t i
    cdef vec v = load(p)
    for i in range(1, count):
        v = max_nan(v, load(p + i * step)) if maximum else v + load(p + i * step)
    return v


cdef inline void across_lanes(const bint maximum, const PoolJob *job, real *to, const real *row) noexcept nogil:
    """to[ow] = op over the valid taps of window ow of one input row."""
    cdef Py_ssize_t ow, count, step = (1 if job.p.adaptive else job.p.dilation[2]) * VL
    cdef const Py_ssize_t *firsts = job.first[2]
    cdef const Py_ssize_t *counts = job.count[2]
    cdef const real *p
    for ow in range(job.p.out[2]):
        p = row + firsts[ow] * VL
        count = counts[ow]
        if count == 3: store(to, window_of(maximum, p, 3, step))
        elif count == 2: store(to, window_of(maximum, p, 2, step))
        elif count: store(to, window_of(maximum, p, count, step))
        else: store(to, set1(LOWEST if maximum else <real>0))
        to += VL


cdef inline void indexed_lanes(const PoolJob *job, real *to, real *taps, const real *row,
                               Py_ssize_t base) noexcept nogil:
    """The same of maxima with their positions, those of the row counted from `base`; of equals the first, of NaNs the
    last, -1 without a tap."""
    cdef Py_ssize_t ow, i, d = 1 if job.p.adaptive else job.p.dilation[2]
    cdef const real *p
    cdef vec v, t
    for ow in range(job.p.out[2]):
        p = row + job.first[2][ow] * VL
        v, t = set1(LOWEST), set_tap(-1)
        if job.count[2][ow]:
            v, t = load(p), set_tap(<ireal>(base + job.first[2][ow]))
        for i in range(1, job.count[2][ow]):
            max_tap(&v, &t, load(p + i * d * VL), <ireal>(base + job.first[2][ow] + i * d))
        store(to + ow * VL, v)
        store(taps + ow * VL, t)


cdef inline void give_rows(const PoolJob *job, real **y, const real *result, Py_ssize_t width, int lanes, Py_ssize_t od,
                           Py_ssize_t oh, Py_ssize_t count) noexcept nogil:
    """The output rows of VL planes back to each."""
    cdef Py_ssize_t _, i, n = job.p.out[2], at = od * job.ys[0] + oh * job.ys[1]
    cdef int l
    if job.ys[2] == 1 and job.ys[1] == n and width == n * VL:
        scatter_lanes(y, at, result, count * n, lanes)
        return
    for _ in range(count):
        if job.ys[2] == 1:
            scatter_lanes(y, at, result, n, lanes)
        else:
            for i in range(n):
                for l in range(lanes):
                    y[l][at + i * job.ys[2]] = result[i * VL + l]
        result += width
        at += job.ys[1]


cdef inline void give_places(const PoolJob *job, const real *result, Py_ssize_t width, int lanes, Py_ssize_t plane,
                             Py_ssize_t row, Py_ssize_t count) noexcept nogil:
    """The positions of so many rows of maxima, from output row `row` of the planes on."""
    cdef Py_ssize_t r, i, base, n = job.p.out[2], outputs = job.p.out[0] * job.p.out[1] * n
    cdef Py_ssize_t size = job.p.size[0] * job.p.size[1] * job.p.size[2]
    cdef const ireal *taps
    cdef int64_t *to
    cdef int l
    for l in range(lanes):
        to = <int64_t *>job.index + (plane + l) * outputs + row * n
        base = (plane + l) % job.p.lead * size
        for r in range(count):
            taps = <const ireal *>(result + r * width) + l
            for i in range(n):
                to[i] = taps[i * VL] + base if taps[i * VL] >= 0 else -1
            to += n
