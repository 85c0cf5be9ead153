# cython: language_level=3, cdivision=True
"""Pools: a strategy filled into C structs, run for functions and other languages."""
import numpy as np

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport PyObject
from libc.string cimport memset

from cconv._run.drive cimport INTERRUPTED, Status, drive, useful
from cconv._run.fold cimport Folding, fold_strides
from cconv._run.memory cimport (Workspace, array_bytes, copied, delivered, give_workspace, new_output,
                                take_workspace)
from cconv._run.operand cimport Form, Operand, hold, hold_none, locate, release, take_input, take_output
from cconv._run.runner cimport Program, fields, raise_set, table_of
from cconv._run.threads cimport Task, allowed_threads, enter_call, leave_call, start_threads, watch
from cconv.kernels.job cimport PoolJob, Watch

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
INT64 = np.dtype(np.int64)
cdef str WIDE = "float64"


cdef void list_axis(PoolJob *job, int a) noexcept:
    """First valid tap, valid taps and divisor of every window of an axis."""
    cdef Py_ssize_t o, start, skip, last, padded, L = job.p.size[a], k = job.p.kernel[a], d = job.p.dilation[a]
    for o in range(job.p.out[a]):
        if job.p.adaptive:
            start = o * L // job.p.out[a]
            job.first[a][o] = start
            job.count[a][o] = ((o + 1) * L + job.p.out[a] - 1) // job.p.out[a] - start
            job.divisor[a][o] = job.count[a][o]
            continue
        start = o * job.p.stride[a] - job.p.before[a]
        skip = 0 if start >= 0 else (-start + d - 1) // d
        last = min(k, (L - start + d - 1) // d) if start < L else 0
        padded = min(k, (L + job.p.after[a] - start + d - 1) // d)
        job.first[a][o] = start + skip * d
        job.count[a][o] = max(0, last - skip)
        job.divisor[a][o] = padded if job.p.include_pad else job.count[a][o]


cdef Py_ssize_t *list_windows(PoolJob *job) except NULL:
    """Lists the windows of every axis; returns the memory, to be freed."""
    cdef Py_ssize_t total = job.p.out[0] + job.p.out[1] + job.p.out[2]
    cdef Py_ssize_t *memory = <Py_ssize_t *>PyMem_Malloc(max(1, 3 * total) * sizeof(Py_ssize_t))
    cdef Py_ssize_t *at = memory
    cdef int a
    if memory == NULL:
        raise MemoryError("cconv: no memory for a plan")
    for a in range(3):
        job.first[a] = at
        job.count[a] = at + job.p.out[a]
        job.divisor[a] = at + 2 * job.p.out[a]
        at += 3 * job.p.out[a]
        list_axis(job, a)
    return memory


cdef int set_folding(Folding *to, strategy) except -1:
    cdef int i
    for i in range(4):
        to.to[i] = strategy.fold[i]
    to.channels = strategy.whole.C
    for i in range(3):
        to.size[i], to.out[i] = strategy.whole.size[i], strategy.whole.out[i]
    return 0


cdef int take_folded(Operand *o, array, const Form *form, const Folding *fold, const Py_ssize_t *size,
                     bint runs) except -1:
    """take_input on the axes of a kernel, which are those of `size`, folded; or a copy, where they cannot be."""
    take_input(o, array, form)
    if not fold_strides(fold, size, &o.c, o.s) or (runs and o.s[2] != 1):
        release(o)
        hold(o, copied(array), PyBUF_STRIDES)
        locate(o, form)
        fold_strides(fold, size, &o.c, o.s)
    return 0


cdef void fold_job(const PoolCode *code, PoolJob *job) noexcept nogil:
    """The same of contiguous arrays that a job has already."""
    fold_strides(&code.fold, code.fold.size, &job.xc, job.xs)
    fold_strides(&code.fold, code.fold.out, &job.yc, job.ys)


cdef int pool_threads(PoolCode *code, int allowed) noexcept nogil:
    return useful(code.table.grain, code.table.items(&code.job), code.work, allowed)


cdef Status drive_pool(PoolCode *code, PoolJob *job, char *workspace, int threads, Watch *signals) noexcept nogil:
    """Runs a copy of the code's job that has its arrays."""
    cdef Task task
    task.name, task.dtype = code.table.name, code.dtype
    task.run, task.job, task.items, task.chunk = code.table.run_item, job, code.table.items(job), code.table.chunk
    task.threads = threads
    task.workspace, task.workspace_bytes = workspace, job.workspace_bytes
    task.signals = signals
    return drive(&task)


cdef class PoolProgram(Program):
    """A pooling of given shapes. The array of go() is (x,); the result is y, or (y, positions of the maxima)."""

    def __cinit__(self):
        memset(&self.code, 0, sizeof(PoolCode))

    def __dealloc__(self):
        PyMem_Free(self.code.windows)

    def __init__(self, strategy, int rank, bint batched, out_shape):
        cdef PoolCode *code = &self.code
        cdef PoolJob *job = &code.job
        self.shape_up(strategy, rank, batched, out_shape)
        code.table = table_of(strategy.machine, strategy.kernel)
        code.runs = strategy.kernel == "pool_runs"
        set_folding(&code.fold, strategy)
        # what it computes in, for the tracer
        code.dtype = <PyObject *>(WIDE if strategy.plan.wide else strategy.machine.dtype)
        job.p = fields(strategy.problem, job.p)
        job.t = fields(strategy.plan, job.t)
        job.op = strategy.op
        job.indexed = strategy.indexed
        job.divide = strategy.divide
        code.table.lay_out(job)
        code.windows = list_windows(job)
        code.work = <double>job.p.N * job.p.C * job.p.size[0] * job.p.size[1] * job.p.size[2]
        if job.indexed:
            code.work *= job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2]

    cdef object go(self, tuple arrays, out):
        cdef Operand all[3]
        cdef bint indexed = self.code.job.indexed
        cdef int i, allowed
        index = new_output(self.out_shape, INT64, array_bytes(self.out_shape, INT64)) if indexed else None
        if self.empty:
            y = new_output(self.out_shape, self.dtype, self.out_bytes) if out is None else out
            return (y, index) if indexed else y
        hold_none(all, 3)
        allowed = allowed_threads()
        allowed = enter_call(allowed)
        try:
            take_folded(&all[0], arrays[0], &self.form, &self.code.fold, self.code.fold.size, self.code.runs)
            y = self.take_result(all, 1, out)
            if indexed:
                hold(&all[2], index, PyBUF_STRIDES | PyBUF_WRITABLE)
            self.compute(all, all[2].view.buf, allowed)
        finally:
            leave_call()
            for i in range(3):
                release(&all[i])
        y = delivered(y, out)
        return (y, index) if indexed else y

    cdef bint take_out(self, Operand *y, array) except -1:
        if not take_output(y, array, &self.form):
            return False
        if fold_strides(&self.code.fold, self.code.fold.out, &y.c, y.s):
            return True
        release(y)
        return False

    cdef int compute(self, Operand *all, void *index, int allowed) except -1:
        cdef PoolJob job = self.code.job
        cdef Workspace space
        cdef Status status
        cdef Watch signals
        cdef int a
        job.x, job.y, job.index = all[0].view.buf, all[1].view.buf, index
        job.xn, job.xc, job.yn, job.yc = all[0].n, all[0].c, all[1].n, all[1].c
        for a in range(3):
            job.xs[a], job.ys[a] = all[0].s[a], all[1].s[a]
        allowed = start_threads(pool_threads(&self.code, allowed))
        space = take_workspace(allowed * job.workspace_bytes)
        watch(&signals)
        with nogil:
            status = drive_pool(&self.code, &job, space.data, allowed, &signals)
        give_workspace(space)
        if status == INTERRUPTED:
            raise_set()
        return 0

    def report(self):
        """What explain prints of it, with the threads that a call would use now."""
        cdef int threads = pool_threads(&self.code, allowed_threads())
        return {
            "kernel": self.code.table.name.decode(),
            "workspace": self.code.job.workspace_bytes * threads,
            "threads": threads,
        }
