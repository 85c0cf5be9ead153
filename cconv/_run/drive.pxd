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


cdef inline Py_ssize_t even_splits(Py_ssize_t items, int n, Py_ssize_t channels, double refill) noexcept nogil:
    """Where boxes are too few to share out evenly, output channels are split too, if that gains more than it costs:
    each split fills panels of its own."""
    cdef Py_ssize_t splits, best = 1
    cdef double took, least = (items + n - 1) // n
    for splits in range(2, min(2 * n, channels // 6) + 1):
        took = ((items * splits + n - 1) // n) * (channels / <double>splits + refill) / (channels + refill)
        if took < 0.97 * least:
            least = took
            best = splits
    return best


cdef inline Share share(KernelTable *table, ConvJob *job, double work, int allowed, bint crowd) noexcept nogil:
    """How a convolution is shared; `work` is that of the whole call, of which this may be a part.

    `crowd`: a short job will be the caller's alone, and is not split for others; no more threads than without."""
    cdef Share found
    cdef Py_ssize_t items = table.items(job), channels = job.p.O, splits = 1
    cdef int n = useful(table.grain, allowed, work, allowed)
    cdef double wanted
    if table.refill and n > 1 and not (crowd and multiply_adds(job) < 1e8):
        splits = even_splits(items, n, channels, table.refill)
    if table.split_least:
        # One item should not keep signals waiting, nor the other threads at the end: about a millisecond then. Splits
        # of fewer channels would mostly fill panels.
        wanted = multiply_adds(job) / items / (3e8 if n == 1 and table.refill else 1e8 if table.refill else 3e7)
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
