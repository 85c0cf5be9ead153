# cython: cdivision=True
# Sizes in whole items and cache lines.


cdef inline Py_ssize_t up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """a / b, rounded up."""
    return (a + b - 1) // b


cdef inline Py_ssize_t lines(Py_ssize_t size) noexcept nogil:
    """Bytes rounded up to whole cache lines."""
    return (size + 63) // 64 * 64
