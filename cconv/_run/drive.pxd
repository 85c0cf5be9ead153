# How a kernel's items are shared among threads, and run in stints with a look at the signals between. The numbers are
# those of the kernel's table.

from cpython.ref cimport PyObject

from cconv._run.runner cimport tell, tracer
from cconv._run.threads cimport between_looks, is_forked, seconds, signalled, team
from cconv.kernels.job cimport ConvJob, KernelTable, Watch


cdef enum Status:
    OK
    NO_MEMORY
    INTERRUPTED                     # an exception is set


cdef struct Task:
    KernelTable *table
    void *job
    int *threads                    # the job's
    Py_ssize_t items
    double work                     # of all items
    Py_ssize_t workspace_bytes      # of one thread
    PyObject *dtype                 # its name
    Watch *signals                  # NULL: they are not looked at


cdef struct Share:
    Py_ssize_t items
    Py_ssize_t splits               # of the output channels
    int threads


cdef inline int useful(KernelTable *table, Py_ssize_t items, double work, int allowed) noexcept nogil:
    """Threads that pay, of at most `allowed`: each should have some 20 us of work, and an item."""
    cdef double most = work / table.grain
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
    cdef int n = useful(table, allowed, work, allowed)
    cdef double wanted
    if table.evens and n > 1:
        # too few boxes to share out evenly: the output channels are split too, each split filling its own panels
        while splits < tiles and items * splits < 4 * n and items * splits % n:
            splits += 1
    if table.split_least:
        # one item should not keep signals waiting; splits of fewer channels would mostly fill panels
        wanted = multiply_adds(job) / items / 3e8
        if wanted > splits:
            splits = max(splits, min(<Py_ssize_t>wanted, channels // table.split_least))
    found.splits = splits
    found.items = items * splits
    found.threads = <int>max(<Py_ssize_t>1, min(<Py_ssize_t>n, found.items))
    return found


cdef inline bint traced(Task *task) noexcept nogil:
    """Tells the tracer; whether it has not raised."""
    cdef PyObject *dtype = task.dtype
    cdef Py_ssize_t size = task.workspace_bytes * task.threads[0]
    cdef bint good
    with gil:
        good = tell(task.table.name, dtype, size, task.threads[0])
    return good


cdef inline Py_ssize_t first_stint(Task *task) noexcept nogil:
    """Items of the first stint: all, or as many as do the table's work on each thread."""
    cdef double most = task.table.stint
    cdef int threads = task.threads[0]
    if task.work <= most:
        return task.items
    return max(<Py_ssize_t>threads * task.table.least, <Py_ssize_t>(task.items * (most * threads / task.work)))


cdef inline Py_ssize_t next_stint(Task *task, Py_ssize_t step, double took) noexcept nogil:
    """Items of the next stint, after one of `step` items took so long: machines and kernels differ too much."""
    cdef double grow = between_looks() / max(took, 1e-9)
    if is_forked():
        task.threads[0] = 1  # a signal's handler has forked, and this is the child
    return max(<Py_ssize_t>task.threads[0] * task.table.least, <Py_ssize_t>(step * min(8.0, grow)))


cdef inline Status drive(Task *task) noexcept nogil:
    """Runs all items, in stints of well under 0.2 s."""
    cdef Py_ssize_t first = 0, step = task.items
    cdef double start
    task.threads[0] = team(task.threads[0])
    if tracer != NULL and not traced(task):
        return INTERRUPTED
    if task.signals != NULL:
        step = first_stint(task)
    while first < task.items:
        start = seconds()
        task.table.run(task.job, first, min(first + step, task.items))
        first += step
        if task.signals == NULL:
            continue
        if task.signals.stop:
            return INTERRUPTED
        if first < task.items:
            if signalled():
                return INTERRUPTED
            step = next_stint(task, step, seconds() - start)
    return OK
