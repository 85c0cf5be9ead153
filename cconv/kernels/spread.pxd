# cython: cdivision=True
# Rows of the pools' inputs between identities, de-interleaved by the stride into strands, so that every tap of every
# window is a contiguous run: shared by the kernels of pools and of their gradients.
from cconv.kernels.job cimport PoolJob
from cconv.kernels.simd cimport VL, load, load2, real, set1, store, vec


cdef inline void spread_plain(PoolJob *job, real *to, const real *x, Py_ssize_t n, real fill) noexcept nogil:
    """Stride 1, in whole vectors: what runs over is overwritten, or slack."""
    cdef Py_ssize_t at = -job.p.before[2], a = min(n, job.p.before[2]), b = max(a, min(n, job.p.size[2] - at)), j = 0
    while j < a:
        store(to + j, set1(fill))
        j += VL
    j = a
    while j + VL <= b:
        store(to + j, load(x + at + j))
        j += VL
    if b - a >= VL:
        store(to + b - VL, load(x + at + b - VL))
    else:
        for j in range(a, b):
            to[j] = x[at + j]
    j = b
    while j < n:
        store(to + j, set1(fill))
        j += VL


cdef inline void spread_pairs(PoolJob *job, real *to, const real *x, Py_ssize_t n, real fill) noexcept nogil:
    """Stride 2, both strands in one sweep: a <= j < b are whole vectors of pairs of columns inside the row."""
    cdef Py_ssize_t L = job.p.size[2], j, at, a = min(n, (job.p.before[2] + 1) // 2)
    cdef Py_ssize_t b = max(a, min(n, (L + job.p.before[2]) // 2 - VL))
    cdef vec even, odd
    for j in range(a):
        at = 2 * j - job.p.before[2]
        to[j] = x[at] if 0 <= at < L else fill
        to[n + j] = x[at + 1] if 0 <= at + 1 < L else fill
    j = a
    while j < b:
        load2(x + 2 * j - job.p.before[2], &even, &odd)
        store(to + j, even)
        store(to + n + j, odd)
        j += VL
    while j < n:
        at = 2 * j - job.p.before[2]
        to[j] = x[at] if 0 <= at < L else fill
        to[n + j] = x[at + 1] if 0 <= at + 1 < L else fill
        j += 1


cdef inline void spread_row(PoolJob *job, real *to, const real *x, Py_ssize_t n, real fill) noexcept nogil:
    """Strand r of the padded row goes to to[r*n:]: to[r*n + j] is padded column j*s + r."""
    cdef Py_ssize_t r, j, s = job.p.stride[2], L = job.p.size[2], at, a, b, step = s * job.xs[2]
    if s == 2 and step == 2:
        spread_pairs(job, to, x, n, fill)
        return
    if s == 1 and step == 1:
        spread_plain(job, to, x, n, fill)
        return
    for r in range(s):
        at = r - job.p.before[2]
        a = 0 if at >= 0 else min(n, (-at + s - 1) // s)
        b = max(a, 0 if at >= L else min(n, (L - at + s - 1) // s))
        for j in range(a):
            to[j] = fill
        j = a
        if step == 1:
            while j + VL <= b:
                store(to + j, load(x + at + j))
                j += VL
        while j < b:
            to[j] = x[at * job.xs[2] + j * step]
            j += 1
        for j in range(b, n):
            to[j] = fill
        to += n
