# cython: language_level=3, cdivision=True
"""Sums over batch and space, a channel each: the gradient of a bias.

Always in the same order, whatever the threads, and that of NumPy for arrays that lie one element behind the other:
pairwise along a plane, then one sample after the other; of tiny planes first the samples, 1024 at a time.
"""
from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE
from libc.string cimport memcpy, memset

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
    ROWS = 1024                     # elements of some tiny planes, at most,
    RUN = 1024                      # and samples that are added up one after the other, before those sums are


cdef struct SumJob:
    char *x                         # (samples, channels, plane), dense
    char *y                         # (channels)
    char *partial                   # (samples, channels, parts); of tiny planes (runs, channels, plane)
    Py_ssize_t samples, channels, plane
    Py_ssize_t parts                # of a plane, a power of 2; of tiny planes: runs of samples
    Py_ssize_t each                 # sums of one item; of tiny planes: channels


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


cdef void sum_tiny(SumJob *job, Py_ssize_t item, number *partial) noexcept nogil:
    """Some channels of tiny planes: a run of samples of each position."""
    cdef number sums[ROWS]
    cdef Py_ssize_t blocks = (job.channels + job.each - 1) // job.each, row = job.channels * job.plane
    cdef Py_ssize_t run = item // blocks, first = item % blocks * job.each * job.plane
    cdef Py_ssize_t n = min(job.each * job.plane, row - first), i, _s
    cdef const number *x = <number *>job.x + run * RUN * row + first
    for i in range(n):
        sums[i] = x[i]
    for _s in range(1, min(<Py_ssize_t>RUN, job.samples - run * RUN)):
        x += row
        for i in range(n):
            sums[i] += x[i]
    memcpy(partial + run * row + first, sums, n * sizeof(number))


cdef void join_tiny(SumJob *job, number *partial) noexcept nogil:
    """The runs, then the positions."""
    cdef number *y = <number *>job.y
    cdef Py_ssize_t i, run, row = job.channels * job.plane
    for run in range(1, job.parts):
        for i in range(row):
            partial[i] += partial[run * row + i]
    for i in range(job.channels):
        y[i] = pairwise(partial + i * job.plane, job.plane)


cdef void part_item_f32(void *job, Py_ssize_t item, char *workspace) noexcept nogil:
    sum_parts(<SumJob *>job, item, <float *>(<SumJob *>job).partial)


cdef void part_item_f64(void *job, Py_ssize_t item, char *workspace) noexcept nogil:
    sum_parts(<SumJob *>job, item, <double *>(<SumJob *>job).partial)


cdef void tiny_item_f32(void *job, Py_ssize_t item, char *workspace) noexcept nogil:
    sum_tiny(<SumJob *>job, item, <float *>(<SumJob *>job).partial)


cdef void tiny_item_f64(void *job, Py_ssize_t item, char *workspace) noexcept nogil:
    sum_tiny(<SumJob *>job, item, <double *>(<SumJob *>job).partial)


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
            job.parts = max(<Py_ssize_t>1, (job.samples + RUN - 1) // RUN)
            job.each = max(<Py_ssize_t>1, ROWS // max(<Py_ssize_t>1, job.plane))
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
            space = take_workspace(job.parts * job.channels * (job.samples if job.plane >= TINY else job.plane) * 8)
            job.partial = space.data
            self.run(&job)
        finally:
            if space is not None:
                give_workspace(space)
            release(&all[0])
            release(&all[1])
        return delivered(y, out)

    cdef int run(self, SumJob *job) except -1:
        cdef Sweep sweep
        cdef bint tiny = job.plane < TINY, wide = self.dtype.itemsize == 8
        memset(&sweep, 0, sizeof(sweep))
        sweep.job = job
        sweep.work = <double>job.samples * job.channels * job.plane / 2
        if tiny:
            sweep.one = tiny_item_f64 if wide else tiny_item_f32
            sweep.items = job.parts * ((job.channels + job.each - 1) // job.each)
        else:
            sweep.one = part_item_f64 if wide else part_item_f32
            sweep.items = (job.samples * job.channels * job.parts + job.each - 1) // job.each
        run_sweep(&sweep)
        with nogil:
            if tiny and wide: join_tiny(job, <double *>job.partial)
            elif tiny: join_tiny(job, <float *>job.partial)
            elif wide: join_parts(job, <double *>job.partial)
            else: join_parts(job, <float *>job.partial)
        return 0
