# What the gradients' calls (_backward) and those of other languages (capi) share with those of the functions.

from cconv.kernels.job cimport ConvJob, ConvTable, PoolJob, PoolTable, Watch


cdef class Workspace:
    cdef void *base
    cdef char *data
    cdef size_t size

cdef Workspace take_workspace(size_t size)
cdef void give_workspace(Workspace space) noexcept
cdef new_output(shape, dtype, size_t size)
cdef bint place(Py_buffer *view, Py_ssize_t itemsize, int rank, bint batched, Py_ssize_t *n, Py_ssize_t *c,
                Py_ssize_t *s) noexcept
cdef bint overlap(Py_buffer *a, Py_buffer *b) noexcept
cdef int thread_limit() except 0
cdef int team(int n) noexcept nogil
cdef int enter_call(int n) noexcept nogil
cdef void leave_call() noexcept nogil
cdef double seconds() noexcept nogil
cdef Py_ssize_t first_step(Py_ssize_t items, double work, double most, int threads, int least) noexcept nogil
cdef Py_ssize_t next_step(Py_ssize_t step, double seconds, int *threads, int least) noexcept nogil
cdef void watch(Watch *here) noexcept nogil
cdef Py_ssize_t *list_windows(PoolJob *job, p) except NULL
cdef Py_ssize_t item_count(ConvJob *job) noexcept nogil
cdef int split_threads(ConvJob *job, double work, int n) noexcept nogil


cdef class ConvPlan:
    cdef ConvJob *jobs
    cdef Py_ssize_t *tap_list           # transposed: of each part, where its taps lie in the weights
    cdef object tap_counts, same        # taps of each part, and the first part that has the same
    cdef Py_ssize_t *offsets            # of each job: first output, step, first input, step; 3 axes each
    cdef int count, rank
    cdef bint batched, transposed, flat
    cdef readonly object dtype, out_shape, parts, plans, weight_shape
    cdef ConvTable *table
    cdef ConvTable *winograd
    cdef Py_ssize_t itemsize
    cdef size_t out_bytes
    cdef bint void_                     # nothing to compute
    cdef double work                    # multiply-adds
    cdef Py_ssize_t weight_size

    cdef list_taps(self)
    cdef void point(self, ConvJob *job, int i, void *x, void *y, Py_ssize_t *xs, Py_ssize_t *ys) noexcept nogil
    cdef pack_part(self, int i, part)
    cpdef run(self, x, weights, bias, out, bint packed)


cdef class PoolPlan:
    cdef PoolJob job
    cdef Py_ssize_t *windows
    cdef int rank
    cdef bint batched
    cdef readonly object dtype, out_shape, plan
    cdef PoolTable *table
    cdef Py_ssize_t itemsize
    cdef size_t out_bytes
    cdef bint void_
    cdef double work, steps             # elements read, and about as many steps of a vector's lane

    cpdef run(self, x, out, index)
