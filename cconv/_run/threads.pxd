from cpython.ref cimport PyObject

from cconv.kernels.job cimport Watch, item_run


cdef struct Task:
    # items that any thread may run: see drive.pxd
    const char *name                # of the kernel
    PyObject *dtype                 # its name; NULL: the tracer is not told
    item_run run
    void *job
    Py_ssize_t items
    Py_ssize_t chunk                # items that a thread takes at once
    int threads                     # at most, and as many workspaces there are
    char *workspace                 # of all threads
    Py_ssize_t workspace_bytes      # of one; 0: run() is given `workspace` itself
    Watch *signals                  # NULL: they are not looked at


cdef int allowed_threads() except 0
cdef int start_threads(int n) noexcept nogil
cdef bint crowded() noexcept nogil
cdef int enter_call(int n) noexcept nogil
cdef void leave_call() noexcept nogil
cdef void watch(Watch *here) noexcept nogil
cdef void ask_instead(int (*ask)(void *context) noexcept nogil, void *context) noexcept nogil
cdef Watch *watch_here(Watch *here) noexcept nogil
cdef bint run_task(Task *task) noexcept nogil
