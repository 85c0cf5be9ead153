# The maxima of extrema.h. Tap numbers travel in the bits of a vector of reals; ireal is the integer as wide as one.
from cconv.kernels.simd cimport real, vec


cdef extern from "simd.h" nogil:
    ctypedef long long ireal

cdef extern from "extrema.h" nogil:
    const real LOWEST "CCONV_LOWEST"
    bint isnan_ "CCONV_ISNAN" (real x)
    vec max_nan(vec acc, vec v)
    vec set_tap(ireal tap)
    vec where_tap(vec at, ireal tap, vec v)
    void max_tap(vec *best, vec *at, vec v, ireal tap)
    void max_pair(vec *best, vec *at, vec v, vec t, ireal tap)
