# cython: language_level=3, cdivision=True
"""The per-call path of gradients, as _run is that of the functions: plans ready to run, which only lack pointers."""
from cconv._plan import pool_grad as plan_pool_grad, weight_grad as plan_weight_grad
from cconv._run import find_plan, kernel_module
from numpy import ndarray

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport memset

from cconv._run cimport (Workspace, enter_call, first_step, give_workspace, leave_call, list_windows, new_output,
                         next_step, overlap, place, seconds, take_workspace, team, thread_limit, watch)
from cconv.kernels.job cimport PoolGradJob, PoolGradTable, PoolJob, Watch, WeightGradJob, WeightGradTable


cdef extern from *:
    """
    static int cconv_raise_set(void) { return -1; }
    """
    int raise_set "cconv_raise_set"() except -1     # the exception that a look at the signals has left

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()


cdef object key_part(value, bint is_data):
    """What of an argument a cached call depends on: of data the shape and dtype, of a parameter its value.

    NotImplemented where that can be no key, as a parameter that is an array: its values count, and may change."""
    if is_data:
        return (value.shape, value.dtype) if type(value) is ndarray else NotImplemented
    if type(value) is bool or type(value) is float:
        return type(value), value  # 1, 1.0 and True are equal
    if value is None or type(value) is int or type(value) is str:
        return value
    if type(value) is tuple:
        for part in <tuple>value:
            if type(part) is int:
                continue
            if type(part) is not tuple:
                return NotImplemented
            for p in <tuple>part:
                if type(p) is not int:
                    return NotImplemented
        return value
    return NotImplemented


cdef class Gradient:
    """A public function of cconv.grad: a cache of ready calls in front of the checks; `out` is the last argument."""
    cdef object name, slow
    cdef readonly long data

    def __init__(self, name, slow, data):
        """`data` are the places of the arrays among the arguments; an array anywhere else is a parameter."""
        self.name = name
        self.slow = slow
        self.data = sum([1 << place for place in data])

    def __call__(self, *args):
        cdef int i = 0
        key = None
        if args[len(args) - 1] is None:
            # no comprehension: without memory for its list, Cython 3.3 releases an element twice
            parts = [self.name]
            for value in args:
                parts.append(key_part(value, self.data >> i & 1))
                i += 1
            if NotImplemented not in parts:
                key = tuple(parts)
                ready = find_plan(key)
                if ready is not None:
                    result = ready(*args)
                    if result is not None:
                        return result
        return self.slow(args, key)


cdef class WeightGradPlan:
    """The weight gradient of a convolution of given shapes, ready to run."""
    cdef WeightGradJob job
    cdef WeightGradTable *table
    cdef int rank
    cdef bint batched
    cdef readonly object dtype, out_shape, plan
    cdef Py_ssize_t itemsize
    cdef size_t out_bytes
    cdef double work

    def __init__(self, dtype, int rank, bint batched, weight_shape, problem):
        cdef WeightGradJob *job = &self.job
        cdef int a
        p = problem
        self.dtype = dtype
        self.itemsize = dtype.itemsize
        self.rank = rank
        self.batched = batched
        self.out_shape = weight_shape
        self.table = <WeightGradTable *>PyCapsule_GetPointer(
            kernel_module(dtype, "weight_grad").table, "cconv.weight_grad")
        self.plan = plan_weight_grad(p, self.itemsize, self.table.lanes, self.table.rows)
        plan = self.plan.conv
        memset(job, 0, sizeof(WeightGradJob))
        job.conv.N, job.conv.G, job.conv.mode = p.N, p.G, p.mode
        job.conv.C, job.conv.O = (p.O, p.C) if self.plan.swapped else (p.C, p.O)
        job.in_place, job.swapped, job.hop = self.plan.in_place, self.plan.swapped, 1
        job.conv.kernel = plan.kernel
        for a in range(3):
            job.conv.size[a], job.conv.out[a], job.conv.k[a] = p.size[a], p.out[a], p.kernel[a]
            job.conv.s[a], job.conv.d[a], job.conv.p[a] = p.stride[a], p.dilation[a], p.before[a]
            job.conv.step[a], job.conv.ss[a], job.conv.sd[a] = plan.step[a], plan.ss[a], plan.sd[a]
            job.conv.box[a], job.conv.boxes[a], job.conv.slab[a] = plan.box[a], plan.boxes[a], plan.slab[a]
        job.conv.phases, job.conv.row, job.conv.plane = plan.phases, plan.row, plan.plane
        job.conv.channel, job.conv.c_block, job.conv.o_block = plan.channel, plan.c_block, plan.o_block
        job.conv.slab_at, job.conv.workspace_bytes = plan.slab_at, plan.workspace
        job.by_lanes, job.flat, job.samples, job.sample = (self.plan.by_lanes, self.plan.flat, self.plan.samples,
                                                           self.plan.sample)
        job.chunks, job.c_blocks, job.o_blocks, job.run = (self.plan.chunks, self.plan.c_blocks, self.plan.o_blocks,
                                                           self.plan.run)
        job.grads_at, job.sums_at = self.plan.grads_at, self.plan.sums_at
        self.out_bytes = self.itemsize
        self.work = <double>p.N * p.out[0] * p.out[1] * p.out[2]
        for n in weight_shape:
            self.out_bytes *= <size_t>n
            self.work *= <double>n

    cpdef run(self, x, grad, out):
        """`x`, `grad` and `out` (None or checked) have the plan's dtype; None where an array must be copied first."""
        cdef Py_buffer xv, gv, wv
        cdef int got = 0, a, allowed = thread_limit()
        cdef WeightGradJob job = self.job
        cdef Watch signals
        cdef Py_ssize_t items, first = 0, step
        cdef size_t workspace, total
        cdef double most = self.work / 1e6, start
        cdef Workspace space = None
        if job.conv.N == 0:
            w = new_output(self.out_shape, self.dtype, self.out_bytes) if out is None else out
            w[...] = 0
            return w
        if out is not None and not out.flags.c_contiguous:
            return None
        w = new_output(self.out_shape, self.dtype, self.out_bytes) if out is None else out
        PyObject_GetBuffer(x, &xv, PyBUF_STRIDES)
        allowed = enter_call(allowed)
        try:
            got = 1
            PyObject_GetBuffer(grad, &gv, PyBUF_STRIDES)
            got = 2
            PyObject_GetBuffer(w, &wv, PyBUF_STRIDES | PyBUF_WRITABLE)
            got = 3
            if out is not None and (overlap(&wv, &xv) or overlap(&wv, &gv)):
                return None
            if <size_t>wv.buf % <size_t>self.itemsize:
                return None
            if not place(&xv, self.itemsize, self.rank, self.batched, &job.conv.xn, &job.conv.xc, job.conv.xs):
                return None
            if not place(&gv, self.itemsize, self.rank, self.batched, &job.conv.yn, &job.conv.yc, job.conv.ys):
                return None
            job.conv.x = xv.buf
            job.conv.y = gv.buf
            if job.swapped:
                job.conv.x, job.conv.y = job.conv.y, job.conv.x
                job.conv.xn, job.conv.yn = job.conv.yn, job.conv.xn
                job.conv.xc, job.conv.yc = job.conv.yc, job.conv.xc
                for a in range(3):
                    job.conv.xs[a], job.conv.ys[a] = job.conv.ys[a], job.conv.xs[a]
            job.conv.w = wv.buf
            items = job.conv.G * job.c_blocks * job.o_blocks * job.chunks
            job.conv.threads = allowed
            if job.conv.threads > most:
                job.conv.threads = max(1, <int>most)
            job.conv.threads = team(<int>max(<Py_ssize_t>1, min(<Py_ssize_t>job.conv.threads, items)))
            workspace = job.conv.threads * job.conv.workspace_bytes
            workspace += (64 - workspace % 64) % 64
            total = workspace + (job.chunks * self.out_bytes if job.chunks > 1 else 0)
            space = take_workspace(total)
            job.conv.workspace = space.data
            job.partial = space.data + workspace if job.chunks > 1 else job.conv.w
            job.watch = &signals
            watch(&signals)
            step = first_step(items, self.work, 2e8, job.conv.threads, 1)
            while first < items:
                start = seconds()
                with nogil:
                    self.table.run(&job, first, min(first + step, items))
                if signals.stop:
                    raise_set()
                first += step
                if first < items:
                    PyErr_CheckSignals()
                    step = next_step(step, seconds() - start, &job.conv.threads, 1)
            if job.chunks > 1:
                with nogil:
                    self.table.reduce(&job)
            return w
        finally:
            leave_call()
            if space is not None:
                give_workspace(space)
            if got > 2:
                PyBuffer_Release(&wv)
            if got > 1:
                PyBuffer_Release(&gv)
            PyBuffer_Release(&xv)


cdef class PoolGradPlan:
    """The gradient of a pool by its input, of given shapes, ready to run."""
    cdef PoolGradJob job
    cdef PoolGradTable *table
    cdef Py_ssize_t *windows
    cdef Py_ssize_t *holders
    cdef int rank
    cdef bint batched
    cdef readonly object dtype, out_shape, plan
    cdef Py_ssize_t itemsize
    cdef size_t out_bytes
    cdef double work

    def __cinit__(self):
        self.windows = NULL
        self.holders = NULL

    def __dealloc__(self):
        PyMem_Free(self.windows)
        PyMem_Free(self.holders)

    def __init__(self, dtype, int rank, bint batched, input_shape, problem, int op, double divide):
        """`op` as in PoolJob: 0 maximum, 1 sum, 2 average."""
        cdef PoolJob *pool = &self.job.pool
        cdef int a
        p = problem
        self.dtype = dtype
        self.itemsize = dtype.itemsize
        self.rank = rank
        self.batched = batched
        self.out_shape = input_shape
        self.table = <PoolGradTable *>PyCapsule_GetPointer(kernel_module(dtype, "pool_grad").table, "cconv.pool_grad")
        self.plan = plan_pool_grad(p, self.itemsize, self.table.lanes, op == 0)
        memset(&self.job, 0, sizeof(PoolGradJob))
        pool.op = op
        pool.planes = p.N * p.C
        pool.channels = max(1, p.C)
        pool.adaptive = p.adaptive
        pool.divide = divide
        pool.workspace_bytes = self.plan.workspace
        pool.doubled[2] = self.plan.doubled
        for a in range(3):
            pool.size[a], pool.out[a], pool.k[a] = p.size[a], p.out[a], p.kernel[a]
            pool.s[a], pool.d[a], pool.p[a] = p.stride[a], p.dilation[a], p.before[a]
        self.job.rows, self.job.blocks, self.job.outs = self.plan.rows, self.plan.blocks, self.plan.outs
        self.job.pairs = self.plan.pairs
        self.windows = list_windows(pool, p)
        self.list_holders()
        self.out_bytes = self.itemsize
        for n in input_shape:
            self.out_bytes *= <size_t>n
        self.work = <double>pool.planes * (p.size[0] * p.size[1] * p.size[2] + 2 * p.out[0] * p.out[1] * p.out[2])

    cdef list_holders(self):
        """Which outputs hold each input row of D and H."""
        cdef PoolJob *pool = &self.job.pool
        cdef Py_ssize_t total = 0, i, o, t, step
        cdef Py_ssize_t *at
        cdef int a
        for a in range(2):
            total += pool.size[a] + 1
            for o in range(pool.out[a]):
                total += pool.count[a][o]
        self.holders = at = <Py_ssize_t *>PyMem_Malloc(total * sizeof(Py_ssize_t))
        if at == NULL:
            raise MemoryError("cconv: no memory for a plan")
        for a in range(2):
            step = 1 if pool.adaptive else pool.d[a]
            self.job.start[a] = at
            for i in range(pool.size[a] + 1):
                at[i] = 0
            for o in range(pool.out[a]):
                for t in range(pool.count[a][o]):
                    at[pool.first[a][o] + t * step + 1] += 1
            for i in range(pool.size[a]):
                at[i + 1] += at[i]
            self.job.list[a] = at + pool.size[a] + 1
            # in the order of the outputs; each start moves to its end, and back by one place afterwards
            for o in range(pool.out[a]):
                for t in range(pool.count[a][o]):
                    i = pool.first[a][o] + t * step
                    self.job.list[a][at[i]] = o
                    at[i] += 1
            total = at[pool.size[a]]
            for i in range(pool.size[a], 0, -1):
                at[i] = at[i - 1]
            at[0] = 0
            at = self.job.list[a] + total

    cpdef run(self, x, grad, index, out):
        """`x` (maxima only), `grad` and `out` (None or checked) have the plan's dtype; `index` is None or contiguous
        int64. Returns None where an array must be copied first."""
        cdef Py_buffer xv, gv, iv, wv
        cdef bint has_x = False, has_index = False, has_grad = False, has_out = False
        cdef PoolGradJob job = self.job
        cdef Py_ssize_t items, first = 0, step
        cdef double most = self.work / 1e5, start
        cdef int allowed = thread_limit()
        cdef Watch signals
        cdef Workspace space = None
        if out is not None and not out.flags.c_contiguous:
            return None
        gx = new_output(self.out_shape, self.dtype, self.out_bytes) if out is None else out
        if 0 in self.out_shape:
            return gx
        if 0 in grad.shape:
            gx[...] = 0
            return gx
        allowed = enter_call(allowed)
        try:
            if x is not None:
                PyObject_GetBuffer(x, &xv, PyBUF_STRIDES)
                has_x = True
                if not place(&xv, self.itemsize, self.rank, self.batched, &job.pool.xn, &job.pool.xc, job.pool.xs):
                    return None
                job.pool.x = xv.buf
            if index is not None:
                PyObject_GetBuffer(index, &iv, PyBUF_STRIDES)
                has_index = True
                job.pool.index = iv.buf
            PyObject_GetBuffer(grad, &gv, PyBUF_STRIDES)
            has_grad = True
            if not place(&gv, self.itemsize, self.rank, self.batched, &job.pool.yn, &job.pool.yc, job.pool.ys):
                return None
            job.pool.y = gv.buf
            PyObject_GetBuffer(gx, &wv, PyBUF_STRIDES | PyBUF_WRITABLE)
            has_out = True
            if <size_t>wv.buf % <size_t>self.itemsize:
                return None
            if out is not None and (overlap(&wv, &gv) or (has_x and overlap(&wv, &xv))):
                return None
            job.gx = wv.buf
            items = job.pool.planes * job.blocks
            if job.pool.op:
                items *= job.pool.size[0]
            elif has_index:
                items = job.pool.planes
            job.pool.threads = allowed
            if job.pool.threads > most:
                job.pool.threads = max(1, <int>most)
            job.pool.threads = team(<int>max(<Py_ssize_t>1, min(<Py_ssize_t>job.pool.threads, items)))
            space = take_workspace(job.pool.threads * job.pool.workspace_bytes)
            job.pool.workspace = space.data
            job.watch = &signals
            watch(&signals)
            step = first_step(items, self.work, 2e7, job.pool.threads, 1)
            while first < items:
                start = seconds()
                with nogil:
                    self.table.run(&job, first, min(first + step, items))
                if signals.stop:
                    raise_set()
                first += step
                if first < items:
                    PyErr_CheckSignals()
                    step = next_step(step, seconds() - start, &job.pool.threads, 1)
            return gx
        finally:
            leave_call()
            if space is not None:
                give_workspace(space)
            if has_out:
                PyBuffer_Release(&wv)
            if has_grad:
                PyBuffer_Release(&gv)
            if has_index:
                PyBuffer_Release(&iv)
            if has_x:
                PyBuffer_Release(&xv)
