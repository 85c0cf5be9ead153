# cython: cdivision=True
# Pools of large windows down the rows by doubling, as along them (across.pxd): about log2(k) + 1 vector operations a
# value instead of k. (The running scheme of van Herk, 1992, and Gil and Werman, 1993, needs three, but scalar ones
# along a row.) There is no subtraction: inf and NaN stay in the windows that hold them.
from cconv.kernels.across cimport down, merge
from cconv.kernels.band cimport Band, Target, combine, fill_identity, finish_row, in_place, reduce_rows, target_of
from cconv.kernels.job cimport PoolJob
from cconv.kernels.simd cimport real


cdef inline bint double_down(const bint maximum, PoolJob *job, Band *s, real *rows, Py_ssize_t count,
                             bint first) noexcept nogil:
    """Adds the windows along H of one depth, of `count` rows, to the sums in s.rows; whether none are there still."""
    cdef Py_ssize_t d = job.p.dilation[1], k = job.p.kernel[1], n = s.oh1 - s.oh0, width = s.width, out = job.p.out[2]
    cdef Py_ssize_t step = job.p.stride[1] * width, m = 1, at = 0, oh, iy
    cdef real *acc = s.rows
    while True:
        if not maximum and k & m:
            for oh in range(n):
                down(False, acc + oh * width, rows + oh * step + at * d * width, out, first)
            first = False
            at += m
        if 2 * m > k:
            break
        count -= m * d
        for iy in range(count):
            merge(maximum, rows + iy * width, rows + iy * width, rows + (iy + m * d) * width, out)
        m *= 2
    if maximum:
        for oh in range(n):
            if not first:
                down(True, acc + oh * width, rows + oh * step, out, False)
                down(True, acc + oh * width, rows + oh * step + (k - m) * d * width, out, False)
            else:
                merge(True, acc + oh * width, rows + oh * step, rows + oh * step + (k - m) * d * width, out)
        first = False
    return first


cdef inline void doubled_band(const bint maximum, PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    """The windows along H by doubling: every row from the first window's start, padding as identities."""
    cdef Py_ssize_t n = s.oh1 - s.oh0, lo = s.oh0 * job.p.stride[1] - job.p.before[1], oh, r, z, iz
    cdef Py_ssize_t count = (n - 1) * job.p.stride[1] + (job.p.kernel[1] - 1) * job.p.dilation[1] + 1
    # rows a..b of them lie inside the input
    cdef Py_ssize_t a = min(count, max(<Py_ssize_t>0, -lo)), b = max(a, min(count, job.p.size[1] - lo))
    cdef real *rows = s.rows + n * s.width  # behind the sums
    cdef bint first = True
    cdef Target to
    for z in range(job.count[0][od]):
        iz = job.first[0][od] + z * job.p.dilation[0]
        for r in range(count):
            if not a <= r < b:
                fill_identity(maximum, rows + r * s.width, job.p.out[2])
        reduce_rows(maximum, 0, job, s, rows + a * s.width, iz, lo + a, b - a)
        first = double_down(maximum, job, s, rows, count, first)
    for oh in range(n):
        to = target_of(False, False, job, s, od, s.oh0 + oh)
        combine(maximum, False, 0 if first else 1, &to, s.rows + oh * s.width, 0, 0)
        if not in_place(job):
            finish_row(job, s, od, s.oh0 + oh)
