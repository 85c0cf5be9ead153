# cython: language_level=3, cdivision=True
"""Sums over batch and space, a channel each: the gradient of a bias.

Always in the same order, whatever the threads, and that of NumPy for arrays that lie one element behind the other:
pairwise along a plane, then one sample after the other; of tiny planes first the samples.
"""
from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE
from libc.string cimport memset

from cconv._run.elementwise cimport EACH, Sweep, run_sweep
from cconv._run.memory cimport Workspace, array_bytes, delivered, give_workspace, new_output, take_workspace
from cconv._run.operand cimport Operand, hold, release, take_dense
from cconv._run.runner cimport Runner

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()

ctypedef fused number:
    float
    double

cdef enum:
    TINY = 64                       # elements of planes below which samples are added up first
    ROWS = 1024                     # elements of some tiny planes


cdef struct SumJob:
    char *x                         # (samples, channels, plane), dense
    char *y                         # (channels)
    char *partial                   # (samples, channels, parts)
    Py_ssize_t samples, channels, plane
    Py_ssize_t parts                # of a plane, a power of 2
    Py_ssize_t each                 # sums of one item


cdef inline Py_ssize_t half_of(Py_ssize_t n) noexcept nogil:
    """Elements of the first half of a pairwise sum."""
    return n // 2 - n // 2 % 8


cdef number pairwise(const number *x, Py_ssize_t n) noexcept nogil:
    """The sum of n elements: eight sums side by side up to 128 of them, else that of two halves."""
    cdef number r[8]
    cdef number total
    cdef Py_ssize_t i, j
    if n < 8:
        total = -0.0
        for i in range(n):
            total += x[i]
        return total
    if n > 128:
        i = half_of(n)
        return pairwise(x, i) + pairwise(x + i, n - i)
    for j in range(8):
        r[j] = x[j]
    for i in range(8, n - n % 8, 8):
        for j in range(8):
            r[j] += x[i + j]
    total = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]))
    for i in range(n - n % 8, n):
        total += x[i]
    return total


cdef number sum_of_part(const number *x, Py_ssize_t n, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """The sum of one of the parts that pairwise() would halve n elements into."""
    cdef Py_ssize_t half
    while parts > 1:
        half = half_of(n)
        parts //= 2
        if part >= parts:
            x += half
            n -= half
            part -= parts
        else:
            n = half
    return pairwise(x, n)


cdef void sum_parts(SumJob *job, Py_ssize_t item, number *partial) noexcept nogil:
    """Some parts of planes."""
    cdef Py_ssize_t i, n = job.samples * job.channels * job.parts
    for i in range(item * job.each, min(n, (item + 1) * job.each)):
        partial[i] = sum_of_part(<number *>job.x + i // job.parts * job.plane, job.plane, i % job.parts, job.parts)


cdef void join_parts(SumJob *job, number *partial) noexcept nogil:
    """The sums of channels of those of parts, of which those of planes take the place."""
    cdef number *y = <number *>job.y
    cdef Py_ssize_t i, c, left = job.parts
    while left > 1:
        left //= 2
        for i in range(job.samples * job.channels * left):
            partial[i] = partial[2 * i] + partial[2 * i + 1]
    for c in range(job.channels):
        y[c] = partial[c]
    for i in range(1, job.samples):
        for c in range(job.channels):
            y[c] += partial[i * job.channels + c]


cdef void sum_tiny(SumJob *job, Py_ssize_t item, number *y) noexcept nogil:
    """Some channels of tiny planes: the samples of each position, then the positions."""
    cdef number sums[ROWS]
    cdef Py_ssize_t c0 = item * job.each, c1 = min(job.channels, c0 + job.each), n = (c1 - c0) * job.plane, i, _s
    cdef const number *x = <number *>job.x + c0 * job.plane
    for i in range(n):
        sums[i] = x[i]
    for _s in range(1, job.samples):
        x += job.channels * job.plane
        for i in range(n):
            sums[i] += x[i]
    for i in range(c1 - c0):
        y[c0 + i] = pairwise(sums + i * job.plane, job.plane)


cdef void part_item_f32(void *job, Py_ssize_t item, char *workspace) noexcept nogil:
    sum_parts(<SumJob *>job, item, <float *>(<SumJob *>job).partial)


cdef void part_item_f64(void *job, Py_ssize_t item, char *workspace) noexcept nogil:
    sum_parts(<SumJob *>job, item, <double *>(<SumJob *>job).partial)


cdef void tiny_item_f32(void *job, Py_ssize_t item, char *workspace) noexcept nogil:
    sum_tiny(<SumJob *>job, item, <float *>(<SumJob *>job).y)


cdef void tiny_item_f64(void *job, Py_ssize_t item, char *workspace) noexcept nogil:
    sum_tiny(<SumJob *>job, item, <double *>(<SumJob *>job).y)


cdef class ChannelSums(Runner):
    """The sums over batch and space of an array of `shape` (samples, channels, plane)."""
    cdef SumJob job

    def __init__(self, strategy, dtype, shape):
        cdef SumJob *job = &self.job
        memset(job, 0, sizeof(SumJob))
        job.samples, job.channels, job.plane = shape
        self.strategy = strategy
        self.dtype = dtype
        self.out_shape = (job.channels,)
        job.parts = 1
        if job.plane < TINY:
            job.each = max(<Py_ssize_t>1, min(<Py_ssize_t>ROWS, EACH // max(1, job.samples)) // max(1, job.plane))
        else:
            while job.plane // job.parts > EACH:
                job.parts *= 2
            job.each = max(<Py_ssize_t>1, EACH // (job.plane // job.parts))

    cdef object go(self, tuple arrays, out):
        cdef SumJob job = self.job
        cdef Operand all[2]
        cdef Workspace space = None
        y = out
        if out is None or not out.flags.c_contiguous or not out.flags.aligned:
            y = new_output(self.out_shape, self.dtype, array_bytes(self.out_shape, self.dtype))
        if arrays[0].size == 0:
            y[...] = 0
            return delivered(y, out)
        memset(all, 0, sizeof(all))
        try:
            take_dense(&all[0], arrays[0], self.dtype.itemsize)
            hold(&all[1], y, PyBUF_STRIDES | PyBUF_WRITABLE)
            job.x, job.y = <char *>all[0].view.buf, <char *>all[1].view.buf
            if job.plane >= TINY:
                space = take_workspace(job.samples * job.channels * job.parts * 8)
                job.partial = space.data
            self.run(&job)
            if space is not None:
                give_workspace(space)
        finally:
            release(&all[0])
            release(&all[1])
        return delivered(y, out)

    cdef int run(self, SumJob *job) except -1:
        cdef Sweep sweep
        cdef Py_ssize_t sums = job.channels * (job.samples * job.parts if job.plane >= TINY else 1)
        cdef bint double_ = self.dtype.itemsize == 8
        memset(&sweep, 0, sizeof(sweep))
        sweep.job = job
        sweep.items = (sums + job.each - 1) // job.each
        sweep.work = <double>job.samples * job.channels * job.plane
        if job.plane < TINY:
            sweep.one = tiny_item_f64 if double_ else tiny_item_f32
            return run_sweep(&sweep)
        sweep.one = part_item_f64 if double_ else part_item_f32
        run_sweep(&sweep)
        with nogil:
            if double_:
                join_parts(job, <double *>job.partial)
            else:
                join_parts(job, <float *>job.partial)
        return 0
