# cython: language_level=3, cdivision=True
"""The per-call path of gradients, as _run is that of the functions: plans ready to run, which only lack pointers."""
from cconv._plan import weight_grad as plan_weight_grad
from cconv._run import kernel_module

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport memset

from cconv._run cimport Workspace, give_workspace, new_output, overlap, place, take_workspace, thread_limit
from cconv.kernels.job cimport WeightGradJob, WeightGradTable


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
        cdef int got = 0, a
        cdef WeightGradJob job = self.job
        cdef Py_ssize_t items, first = 0, step
        cdef size_t workspace, total
        cdef double most = self.work / 1e6
        cdef Workspace space = None
        if job.conv.N == 0:
            w = new_output(self.out_shape, self.dtype, self.out_bytes) if out is None else out
            w[...] = 0
            return w
        if out is not None and not out.flags.c_contiguous:
            return None
        w = new_output(self.out_shape, self.dtype, self.out_bytes) if out is None else out
        PyObject_GetBuffer(x, &xv, PyBUF_STRIDES)
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
            job.conv.threads = thread_limit()
            if job.conv.threads > most:
                job.conv.threads = max(1, <int>most)
            job.conv.threads = <int>max(<Py_ssize_t>1, min(<Py_ssize_t>job.conv.threads, items))
            workspace = job.conv.threads * job.conv.workspace_bytes
            workspace += (64 - workspace % 64) % 64
            total = workspace + (job.chunks * self.out_bytes if job.chunks > 1 else 0)
            space = take_workspace(total)
            job.conv.workspace = space.data
            job.partial = space.data + workspace if job.chunks > 1 else job.conv.w
            step = items if self.work <= 1e9 else max(<Py_ssize_t>job.conv.threads,
                                                      <Py_ssize_t>(items * (1e9 * job.conv.threads / self.work)))
            while first < items:
                with nogil:
                    self.table.run(&job, first, min(first + step, items))
                first += step
                if first < items:
                    PyErr_CheckSignals()
            if job.chunks > 1:
                with nogil:
                    self.table.reduce(&job)
            return w
        finally:
            if space is not None:
                give_workspace(space)
            if got > 2:
                PyBuffer_Release(&wv)
            if got > 1:
                PyBuffer_Release(&gv)
            PyBuffer_Release(&xv)
