# What the gradients' calls (_backward) share with those of the functions.

from cconv.kernels.job cimport PoolJob


cdef class Workspace:
    cdef void *base
    cdef char *data
    cdef size_t size

cdef Workspace take_workspace(size_t size)
cdef give_workspace(Workspace space)
cdef new_output(shape, dtype, size_t size)
cdef bint place(Py_buffer *view, Py_ssize_t itemsize, int rank, bint batched, Py_ssize_t *n, Py_ssize_t *c,
                Py_ssize_t *s) noexcept
cdef bint overlap(Py_buffer *a, Py_buffer *b) noexcept
cdef int thread_limit() except 0
cdef Py_ssize_t *list_windows(PoolJob *job, p) except NULL
