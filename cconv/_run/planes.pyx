# cython: language_level=3, cdivision=True
"""max_unpool and its gradient: values put to, and taken from, their places in planes, on the threads."""
import numpy as np

from cconv._check import arrays as checks

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE
from libc.stdint cimport int64_t
from libc.string cimport memset

from cconv._run.elementwise cimport (EACH, Sweep, cconv_place, gather_of, in_plane, items_of, move, raise_flag,
                                     run_sweep, scatter_of)
from cconv._run.memory cimport array_bytes, new_output
from cconv._run.operand cimport Operand, hold, release, take_dense
from cconv._run.runner cimport Runner
from cconv.kernels.job cimport Watch

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
cdef object U16 = np.dtype(np.uint16), I64 = np.dtype(np.int64)


cdef struct PlaceJob:
    Watch *watch
    cconv_place place
    const int64_t *at
    char *x
    char *y
    Py_ssize_t itemsize
    Py_ssize_t small, plane         # elements of a plane of the indices, and of one that they point into
    Py_ssize_t count                # indices; of a scatter: planes
    Py_ssize_t each                 # of a scatter: planes of one item
    int outside                     # an index was found that points out of its plane


cdef void check_item(void *job_, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef PlaceJob *job = <PlaceJob *>job_
    cdef Py_ssize_t first = item * EACH
    if not in_plane(job.at + first, min(<Py_ssize_t>EACH, job.count - first), job.plane):
        raise_flag(&job.outside)


cdef void put_item(void *job_, Py_ssize_t item, char *workspace) noexcept nogil:
    """Some planes: of equal indices the last one wins, so a plane is one thread's."""
    cdef PlaceJob *job = <PlaceJob *>job_
    cdef Py_ssize_t plane, at, n, end, size = job.itemsize
    cdef char *y
    for plane in range(item * job.each, min(job.count, (item + 1) * job.each)):
        y = job.y + plane * job.plane * size
        at = 0
        while at < job.plane:
            n = min(<Py_ssize_t>EACH * 8, job.plane - at)
            memset(y + at * size, 0, n * size)
            at += n
            if job.watch.look(job.watch):
                return
        at = plane * job.small
        end = at + job.small
        while at < end:
            n = min(<Py_ssize_t>EACH, end - at)
            job.place(y, job.x + at * size, job.at + at, n, job.plane)
            at += n
            if job.watch.look(job.watch):
                return


cdef void take_item(void *job_, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef PlaceJob *job = <PlaceJob *>job_
    cdef Py_ssize_t first = item * EACH, end = min(job.count, first + EACH), plane, n, size = job.itemsize
    while first < end:
        plane = first // job.small
        n = min(end, (plane + 1) * job.small) - first
        job.place(job.y + first * size, job.x + plane * job.plane * size, job.at + first, n, job.plane)
        first += n


cdef class PlaneRunner(Runner):
    """What both share: dense arrays, and indices that are looked at before anything is written."""
    cdef object name
    cdef Py_ssize_t small, plane

    def __init__(self, strategy, name, dtype, out_shape, planes):
        """`planes`: elements of a plane of the indices, and of one that they point into."""
        self.strategy = strategy
        self.name = name
        self.dtype = dtype
        self.out_shape = out_shape
        self.small, self.plane = planes

    cdef int take(self, Operand *all, PlaceJob *job, index, x) except -1:
        """Holds indices and values."""
        if index.dtype != I64 or not index.flags.c_contiguous:
            index = move(new_output(index.shape, I64, array_bytes(index.shape, I64)), index)
        take_dense(&all[0], index, 8)
        x = x if x.dtype.isnative else x.astype(self.dtype)
        if not x.flags.c_contiguous:
            x = move(new_output(x.shape, self.dtype, array_bytes(x.shape, self.dtype)), x)
        take_dense(&all[1], x.view(U16) if x.dtype.kind == "V" else x, min(8, x.itemsize))
        memset(job, 0, sizeof(PlaceJob))
        job.at, job.x, job.itemsize = <const int64_t *>all[0].view.buf, <char *>all[1].view.buf, x.itemsize
        job.small, job.plane, job.count = self.small, self.plane, index.size
        return 0

    cdef int check(self, PlaceJob *job, index) except -1:
        """Raises where an index points out of its plane."""
        cdef Sweep sweep
        memset(&sweep, 0, sizeof(sweep))
        sweep.one, sweep.job = check_item, job
        sweep.items, sweep.work = items_of(job.count), <double>job.count
        run_sweep(&sweep)
        if job.outside:
            checks.index_range(self.name, index, self.plane)
            raise ValueError(f"{self.name}: indices were changed by another thread")
        return 0

    cdef int run(self, Operand *all, PlaceJob *job, result) except -1:
        raise NotImplementedError


cdef class ScatterRunner(PlaneRunner):
    """max_unpool. The arrays are (values, indices)."""

    cdef object go(self, tuple arrays, out):
        cdef PlaceJob job
        cdef Operand all[3]
        cdef int i
        x, index = arrays
        y = new_output(self.out_shape, self.dtype, array_bytes(self.out_shape, self.dtype))
        memset(all, 0, sizeof(all))
        try:
            self.take(all, &job, index, x)
            self.check(&job, index)
            self.run(all, &job, y)
        finally:
            for i in range(3):
                release(&all[i])
        return y

    cdef int run(self, Operand *all, PlaceJob *job, result) except -1:
        cdef Sweep sweep
        cdef Watch signals
        hold(&all[2], result.view(U16) if result.dtype.kind == "V" else result, PyBUF_STRIDES | PyBUF_WRITABLE)
        job.y, job.place, job.watch = <char *>all[2].view.buf, scatter_of(job.itemsize), &signals
        job.count //= max(1, job.small)
        job.each = max(<Py_ssize_t>1, EACH // max(job.plane, job.small))
        memset(&sweep, 0, sizeof(sweep))
        sweep.one, sweep.job = put_item, job
        sweep.items, sweep.work = (job.count + job.each - 1) // job.each, <double>job.count * (job.small + job.plane)
        return run_sweep(&sweep, &signals)


cdef class GatherRunner(PlaneRunner):
    """The gradient of max_unpool. The arrays are (indices, gradient of the output)."""

    cdef object go(self, tuple arrays, out):
        cdef PlaceJob job
        cdef Operand all[3]
        cdef int i
        index, x = arrays
        y = out
        if out is None or not out.flags.carray or np.may_share_memory(out, x) or np.may_share_memory(out, index):
            y = new_output(self.out_shape, self.dtype, array_bytes(self.out_shape, self.dtype))
        memset(all, 0, sizeof(all))
        try:
            self.take(all, &job, index, x)
            self.check(&job, index)
            self.run(all, &job, y)
        finally:
            for i in range(3):
                release(&all[i])
        return y if out is None or y is out else move(out, y)

    cdef int run(self, Operand *all, PlaceJob *job, result) except -1:
        cdef Sweep sweep
        hold(&all[2], result.view(U16) if result.dtype.kind == "V" else result, PyBUF_STRIDES | PyBUF_WRITABLE)
        job.y, job.place = <char *>all[2].view.buf, gather_of(job.itemsize)
        memset(&sweep, 0, sizeof(sweep))
        sweep.one, sweep.job = take_item, job
        sweep.items, sweep.work = items_of(job.count), <double>job.count
        return run_sweep(&sweep)
