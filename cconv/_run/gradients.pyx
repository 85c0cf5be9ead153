# cython: language_level=3, cdivision=True
"""Gradients of convolutions by their weights and of pools by their input: strategies filled into C structs, and run."""
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport PyObject
from libc.string cimport memset

from cconv._run.drive cimport INTERRUPTED, OK, Status, drive, useful
from cconv._run.fold cimport Folding
from cconv._run.memory cimport Workspace, delivered, give_workspace, new_output, take_workspace
from cconv._run.operand cimport Operand, hold_none, release, take_dense, take_input
from cconv._run.pool cimport list_windows, set_folding, take_folded
from cconv._run.runner cimport Program, fields, raise_set, table_of
from cconv._run.threads cimport Task, allowed_threads, enter_call, leave_call, start_threads, watch
from cconv.kernels.job cimport POOL_MAX, KernelTable, PoolGradJob, PoolJob, Watch, WeightGradJob

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
OUTSIDE = "indices must lie in a plane of the input, or be -1"


cdef class Gradient(Program):
    """What both gradients share: their result is contiguous, and zeros where nothing contributes to it."""
    cdef KernelTable *table
    cdef bint zeros
    cdef double work

    cdef int compute(self, Operand *all, int allowed) except -1:
        raise NotImplementedError

    cdef int take(self, Operand *all, tuple arrays) except -1:
        raise NotImplementedError

    cdef dict said(self, void *job, Py_ssize_t workspace_bytes):
        """The report, of a job that needs so much a thread."""
        cdef int threads = useful(self.table.grain, self.table.items(job), self.work, allowed_threads())
        return {
            "kernel": self.table.name.decode(),
            "workspace": workspace_bytes * threads,
            "threads": threads,
        }

    cdef object go(self, tuple arrays, out):
        cdef Operand all[4]
        cdef int i, allowed
        if self.empty or self.zeros:
            y = new_output(self.out_shape, self.dtype, self.out_bytes) if out is None else out
            if not self.empty:
                y[...] = 0
            return y
        hold_none(all, 4)
        allowed = allowed_threads()
        allowed = enter_call(allowed)
        try:
            self.take(all, arrays)
            y = self.take_result(all, 3, out)
            self.compute(all, allowed)
        finally:
            leave_call()
            for i in range(4):
                release(&all[i])
        return delivered(y, out)

    cdef Task task(self, void *job, int threads, char *workspace, Py_ssize_t workspace_bytes, Watch *signals):
        cdef Task task
        task.name, task.dtype = self.table.name, <PyObject *>self.strategy.machine.dtype
        task.run, task.job, task.items, task.chunk = self.table.run_item, job, self.table.items(job), self.table.chunk
        task.threads = threads
        task.workspace, task.workspace_bytes = workspace, workspace_bytes
        task.signals = signals
        return task


cdef class WeightGradProgram(Gradient):
    """The weight gradient of a convolution of given shapes. The arrays of go() are (x, gradient of the output)."""
    cdef WeightGradJob job

    def __init__(self, strategy, int rank, bint batched, weight_shape):
        cdef WeightGradJob *job = &self.job
        self.shape_up(strategy, rank, batched, weight_shape)
        self.dense = True
        self.table = table_of(strategy.machine, strategy.kernel)
        memset(job, 0, sizeof(WeightGradJob))
        job.conv.p = fields(strategy.problem, job.conv.p)
        job.conv.t = fields(strategy.slab, job.conv.t)
        job.t = fields(strategy.plan, job.t)
        job.hop = 1
        self.table.lay_out(job)
        p = strategy.problem
        self.zeros = p.N == 0
        self.work = <double>p.N * p.out[0] * p.out[1] * p.out[2]
        for n in weight_shape:
            self.work *= <double>n

    def report(self):
        """What explain prints of it, with the threads that a call would use now."""
        return self.said(&self.job, self.job.conv.workspace_bytes)

    cdef int take(self, Operand *all, tuple arrays) except -1:
        take_input(&all[0], arrays[0], &self.form)
        return take_input(&all[1], arrays[1], &self.form)

    cdef int compute(self, Operand *all, int allowed) except -1:
        cdef WeightGradJob job = self.job
        cdef Operand *x = &all[self.job.t.swapped]
        cdef Operand *y = &all[1 - self.job.t.swapped]
        cdef Py_ssize_t items = self.table.items(&job)
        cdef size_t size
        cdef Workspace space
        cdef Status status
        cdef Watch signals
        cdef Task task
        cdef int a
        job.conv.x, job.conv.y, job.conv.w = x.view.buf, y.view.buf, all[3].view.buf
        job.conv.xn, job.conv.xc, job.conv.yn, job.conv.yc = x.n, x.c, y.n, y.c
        for a in range(3):
            job.conv.xs[a], job.conv.ys[a] = x.s[a], y.s[a]
        allowed = start_threads(useful(self.table.grain, items, self.work, allowed))
        size = allowed * job.conv.workspace_bytes
        space = take_workspace(size + (job.t.chunks * self.out_bytes if job.t.chunks > 1 else 0))
        job.partial = space.data + size if job.t.chunks > 1 else job.conv.w
        job.watch = &signals
        watch(&signals)
        task = self.task(&job, allowed, space.data, job.conv.workspace_bytes, &signals)
        with nogil:
            status = drive(&task)
            if status == OK and job.t.chunks > 1:
                task.dtype = NULL  # the tracer knows of it
                task.run, task.items, task.chunk = self.table.reduce_item, self.table.reduce_items(&job), 1
                task.workspace_bytes = 0
                status = drive(&task)
        give_workspace(space)
        if status == INTERRUPTED:
            raise_set()
        return 0


cdef class PoolGradProgram(Gradient):
    """The gradient of a pool of given shapes by its input. The arrays of go() are (x or None, gradient of the output,
    positions of the maxima or None)."""
    cdef PoolGradJob job
    cdef Folding fold
    cdef Py_ssize_t *windows
    cdef Py_ssize_t *holders

    def __cinit__(self):
        self.windows = NULL
        self.holders = NULL

    def __dealloc__(self):
        PyMem_Free(self.windows)
        PyMem_Free(self.holders)

    def __init__(self, strategy, int rank, bint batched, input_shape):
        cdef PoolJob *pool = &self.job.pool
        self.shape_up(strategy, rank, batched, input_shape)
        self.dense = True
        self.table = table_of(strategy.machine, "pool_grad")
        set_folding(&self.fold, strategy)
        memset(&self.job, 0, sizeof(PoolGradJob))
        p = strategy.problem
        pool.p = fields(p, pool.p)
        pool.op = strategy.op
        pool.indexed = strategy.indexed
        pool.divide = strategy.divide
        self.job.t = fields(strategy.plan, self.job.t)
        self.table.lay_out(&self.job)
        self.windows = list_windows(pool)
        self.holders = list_holders(&self.job)
        self.zeros = 0 in p.out
        self.work = (<double>p.N * p.C * (p.size[0] * p.size[1] * p.size[2] + 2 * p.out[0] * p.out[1] * p.out[2]))

    def report(self):
        """What explain prints of it, with the threads that a call would use now."""
        return self.said(&self.job, self.job.pool.workspace_bytes)

    cdef int take(self, Operand *all, tuple arrays) except -1:
        # elements along W follow each other where windows are taken in pairs of columns
        cdef bint runs = self.job.t.apart and self.job.pool.op == POOL_MAX
        x, grad, index = arrays
        if x is not None:
            take_folded(&all[0], x, &self.form, &self.fold, self.fold.size, runs)
        if index is not None:
            take_dense(&all[2], index, 8)
        return take_folded(&all[1], grad, &self.form, &self.fold, self.fold.out, runs)

    cdef int compute(self, Operand *all, int allowed) except -1:
        cdef PoolGradJob job = self.job
        cdef PoolJob *pool = &job.pool
        cdef Py_ssize_t items = self.table.items(&job)
        cdef Workspace space
        cdef Status status
        cdef Watch signals
        cdef Task task
        cdef int a, outside = 0
        job.outside = &outside
        pool.x, pool.y, pool.index, job.gx = all[0].view.buf, all[1].view.buf, all[2].view.buf, all[3].view.buf
        pool.xn, pool.xc, pool.yn, pool.yc = all[0].n, all[0].c, all[1].n, all[1].c
        for a in range(3):
            pool.xs[a], pool.ys[a] = all[0].s[a], all[1].s[a]
        allowed = start_threads(useful(self.table.grain, items, self.work, allowed))
        space = take_workspace(allowed * pool.workspace_bytes)
        job.watch = &signals
        watch(&signals)
        task = self.task(&job, allowed, space.data, pool.workspace_bytes, &signals)
        with nogil:
            status = drive(&task)
        give_workspace(space)
        if status == INTERRUPTED:
            raise_set()
        if outside:
            raise ValueError(OUTSIDE)
        return 0


cdef Py_ssize_t *list_holders(PoolGradJob *job) except NULL:
    """Lists which outputs hold each input row of D and H; returns the memory, to be freed."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t total = 0, o
    cdef Py_ssize_t *memory
    cdef Py_ssize_t *at
    cdef int a
    for a in range(2):
        total += pool.p.size[a] + 1
        for o in range(pool.p.out[a]):
            total += pool.count[a][o]
    memory = at = <Py_ssize_t *>PyMem_Malloc(total * sizeof(Py_ssize_t))
    if at == NULL:
        raise MemoryError("cconv: no memory for a plan")
    for a in range(2):
        at = list_axis_holders(job, a, at)
    return memory


cdef Py_ssize_t *list_axis_holders(PoolGradJob *job, int a, Py_ssize_t *at) noexcept:
    """Of one axis, from `at` on; returns what follows them."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t i, o, t, L = pool.p.size[a], step = 1 if pool.p.adaptive else pool.p.dilation[a]
    cdef Py_ssize_t *list_ = at + L + 1
    job.start[a] = at
    job.list[a] = list_
    for i in range(L + 1):
        at[i] = 0
    for o in range(pool.p.out[a]):
        for t in range(pool.count[a][o]):
            at[pool.first[a][o] + t * step + 1] += 1
    for i in range(L):
        at[i + 1] += at[i]
    # in the order of the outputs; each start moves to its end, and back by one place afterwards
    for o in range(pool.p.out[a]):
        for t in range(pool.count[a][o]):
            i = pool.first[a][o] + t * step
            list_[at[i]] = o
            at[i] += 1
    list_ += at[L]
    for i in range(L, 0, -1):
        at[i] = at[i - 1]
    at[0] = 0
    return list_
