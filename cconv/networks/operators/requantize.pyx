# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
"""Sums of 32 bits back to bytes: scaled in float32, rounded to even, moved by a zero point, saturated; in one pass."""

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>
    /* y[i] = round(clip(x[i] * scale, low, high)) + zero, in 8 bits. Beside 1.5 * 2^23 a float has no fraction, and its
     * lowest bits are those of the integer. */
    static void cconv_requantize(unsigned char *y, const int32_t *x, ptrdiff_t n, float scale, float low, float high,
                                 int zero) {
        for (ptrdiff_t i = 0; i < n; i++) {
            float f = (float)x[i] * scale;
            int32_t bits;
            f = f > low ? f : low;
            f = f < high ? f : high;
            f += 12582912.0f;
            memcpy(&bits, &f, sizeof bits);
            y[i] = (unsigned char)(bits + zero);
        }
    }
    """
    void cconv_requantize(unsigned char *y, const int *x, Py_ssize_t n, float scale, float low, float high,
                          int zero) noexcept nogil

from cpython.buffer cimport (PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release,
                             PyObject_GetBuffer)
from libc.string cimport strcmp

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
cdef char EMPTY = 0


cdef void *held(Py_buffer *view, array, int flags, const char *kind, int rank) except NULL:
    """The elements of a contiguous array of this kind and rank."""
    PyObject_GetBuffer(array, view, flags | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
    if view.ndim != rank or strcmp(view.format, kind) != 0:
        PyBuffer_Release(view)
        raise TypeError(f"requantize: {rank} axes of {kind.decode()} are expected")
    return view.buf if view.len else <void *>&EMPTY


def requantize(sums, scales, int zero, bint is_signed, out):
    """out[n, o, i] = saturated(rint(sums[n, o, i] * scales[o]) + zero): bytes, of int8 where `is_signed`."""
    cdef float low = (-128 if is_signed else 0) - zero, high = low + 255
    cdef Py_buffer views[3]
    cdef const int *x
    cdef const float *scale
    cdef unsigned char *y
    cdef Py_ssize_t row, _n, o
    cdef int count = 0
    try:
        x = <const int *>held(&views[0], sums, 0, b"i", 3)
        count = 1
        scale = <const float *>held(&views[1], scales, 0, b"f", 1)
        count = 2
        y = <unsigned char *>held(&views[2], out, PyBUF_WRITABLE, b"B", 3)
        count = 3
        if sums.shape != out.shape or views[1].shape[0] != views[0].shape[1]:
            raise ValueError("requantize: out must have the shape of sums, and each channel a scale")
        row = views[0].shape[2]
        with nogil:
            for _n in range(views[0].shape[0]):
                for o in range(views[0].shape[1]):
                    cconv_requantize(y, x, row, scale[o], low, high, zero)
                    x += row
                    y += row
    finally:
        for o in range(count):
            PyBuffer_Release(&views[o])
