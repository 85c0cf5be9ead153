# cython: cdivision=True
# What every kernel's table is made of: the loop over items, and sizes in whole cache lines.
from cython.parallel cimport parallel, prange, threadid


ctypedef void (*item_run)(void *job, Py_ssize_t item, char *workspace) noexcept nogil

cdef struct Team:
    int threads
    char *workspace
    Py_ssize_t workspace_bytes      # of one thread
    int chunk                       # items that a thread takes at once


cdef inline void run_items(item_run one, void *job, const Team *team, Py_ssize_t first,
                           Py_ssize_t last) noexcept nogil:
    """Items first..last, each by the thread that is free, in its own part of the workspace."""
    cdef Py_ssize_t item
    if team.threads <= 1 or last - first == 1:
        for item in range(first, last):
            one(job, item, team.workspace)
    else:
        with parallel(num_threads=team.threads):
            for item in prange(first, last, schedule="dynamic", chunksize=team.chunk):
                one(job, item, team.workspace + threadid() * team.workspace_bytes)


cdef inline Py_ssize_t up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """a / b, rounded up."""
    return (a + b - 1) // b


cdef inline Py_ssize_t lines(Py_ssize_t size) noexcept nogil:
    """Bytes rounded up to whole cache lines."""
    return (size + 63) // 64 * 64
