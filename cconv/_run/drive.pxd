# How many threads items are shared among, and their run on the pool. The numbers are those of the kernel's table.

from cconv._run.runner cimport tell, tracer
from cconv._run.threads cimport Task, run_task
from cconv.kernels.job cimport ConvJob, KernelTable


cdef enum Status:
    OK
    NO_MEMORY
    INTERRUPTED                     # an exception is set


cdef struct Share:
    Py_ssize_t items
    Py_ssize_t splits               # of the output channels
    int threads


cdef inline int useful(double grain, Py_ssize_t items, double work, int allowed) noexcept nogil:
    """Threads that pay, of at most `allowed`: each should have the grain's work, and an item."""
    cdef double most = work / grain
    if allowed > most:
        allowed = max(1, <int>most)
    return <int>max(<Py_ssize_t>1, min(<Py_ssize_t>allowed, items))


cdef inline double multiply_adds(ConvJob *job) noexcept nogil:
    return (<double>job.p.N * job.p.G * job.p.C * job.p.O * job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2]
            * job.p.out[0] * job.p.out[1] * job.p.out[2] * max(1, job.t.phases))


cdef inline Share share(KernelTable *table, ConvJob *job, double work, int allowed) noexcept nogil:
    """How a convolution is shared; `work` is that of the whole call, of which this may be a part."""
    cdef Share found
    cdef Py_ssize_t items = table.items(job), channels = job.p.O, tiles = max(1, channels // 6), splits = 1
    cdef int n = useful(table.grain, allowed, work, allowed)
    cdef double wanted
    if table.evens and n > 1:
        # too few boxes to share out evenly: the output channels are split too, each split filling its own panels
        while splits < tiles and items * splits < 4 * n and items * splits % n:
            splits += 1
    if table.split_least:
        # One item should not keep signals waiting, nor the other threads at the end: about a millisecond then, which
        # splits that fill panels pay for. Splits of fewer channels would mostly do that.
        wanted = multiply_adds(job) / items / (3e8 if n == 1 and table.evens else 3e7)
        if wanted > splits:
            splits = max(splits, min(<Py_ssize_t>wanted, channels // table.split_least))
    found.splits = splits
    found.items = items * splits
    found.threads = <int>max(<Py_ssize_t>1, min(<Py_ssize_t>n, found.items))
    return found


cdef inline bint traced(Task *task) noexcept nogil:
    """Tells the tracer; whether it has not raised."""
    cdef bint good
    with gil:
        good = tell(task.name, task.dtype, task.workspace_bytes * task.threads, task.threads)
    return good


cdef inline Status drive(Task *task) noexcept nogil:
    """Runs all items, looking at signals every 0.1 s."""
    if tracer != NULL and task.dtype != NULL and not traced(task):
        return INTERRUPTED
    return INTERRUPTED if run_task(task) else OK
