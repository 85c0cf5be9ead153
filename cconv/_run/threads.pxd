from cconv.kernels.job cimport Watch

cdef int thread_limit() except 0
cdef int team(int n) noexcept nogil
cdef int enter_call(int n) noexcept nogil
cdef void leave_call() noexcept nogil
cdef bint is_forked() noexcept nogil
cdef double seconds() noexcept nogil
cdef bint signalled() noexcept nogil
cdef void watch(Watch *here) noexcept nogil


cdef inline double between_looks() noexcept nogil:
    """Seconds of a kernel between two looks at the signals."""
    return 0.1
