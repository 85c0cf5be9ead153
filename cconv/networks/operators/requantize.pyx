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

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()


def requantize(const int[:, :, ::1] sums, const float[::1] scales, int zero, bint is_signed,
               unsigned char[:, :, ::1] out):
    """out[n, o, i] = saturated(rint(sums[n, o, i] * scales[o]) + zero): bytes, of int8 where `is_signed`."""
    cdef float low = (-128 if is_signed else 0) - zero, high = low + 255
    cdef Py_ssize_t n, o
    if out.shape[0] != sums.shape[0] or out.shape[1] != sums.shape[1] or out.shape[2] != sums.shape[2]:
        raise ValueError("requantize: out must have the shape of sums")
    if scales.shape[0] != sums.shape[1]:
        raise ValueError("requantize: a scale for each channel is expected")
    if sums.shape[2] == 0:
        return
    with nogil:
        for n in range(sums.shape[0]):
            for o in range(sums.shape[1]):
                cconv_requantize(&out[n, o, 0], &sums[n, o, 0], sums.shape[2], scales[o], low, high, zero)
