# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""float16 and bfloat16 from and to float32, n elements that lie one behind the other.

Both ways round to the nearest, of two equally near ones to the even. A NaN stays a NaN. Used for arrays of these types,
which are computed in float32; built for float32 alone.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint16_t

from cconv.kernels.job cimport ConvertTable


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

cdef extern from "half.h" nogil:
    const int HAS_HALF      # whether the instruction set converts float16; elsewhere NumPy does
    void load_halves(const uint16_t *h, float *x, Py_ssize_t n)
    void store_halves(const float *x, uint16_t *h, Py_ssize_t n)
    void load_bfloats(const uint16_t *h, float *x, Py_ssize_t n)
    void store_bfloats(const float *x, uint16_t *h, Py_ssize_t n)


cdef void load_half(void *half, void *real, Py_ssize_t n) noexcept nogil:
    load_halves(<const uint16_t *>half, <float *>real, n)


cdef void store_half(void *half, void *real, Py_ssize_t n) noexcept nogil:
    store_halves(<const float *>real, <uint16_t *>half, n)


cdef void load_bfloat16(void *half, void *real, Py_ssize_t n) noexcept nogil:
    load_bfloats(<const uint16_t *>half, <float *>real, n)


cdef void store_bfloat16(void *half, void *real, Py_ssize_t n) noexcept nogil:
    store_bfloats(<const float *>real, <uint16_t *>half, n)


cdef ConvertTable CONVERT
CONVERT.load_half = NULL
CONVERT.store_half = NULL
if HAS_HALF:
    CONVERT.load_half = load_half
    CONVERT.store_half = store_half
CONVERT.load_bfloat16 = load_bfloat16
CONVERT.store_bfloat16 = store_bfloat16

tables = {"convert": PyCapsule_New(&CONVERT, "cconv.convert", NULL)}
stamp = CCONV_STAMP_STRING.decode()
