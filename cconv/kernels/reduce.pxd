# The vectors of reduce.h. `fill` stands behind the elements of a part; lanes are folded neighbours first.
from cconv.kernels.simd cimport real, vec


cdef extern from "reduce.h" nogil:
    const bint IS_FLOAT "CCONV_IS_FLOAT"
    ctypedef struct wide_sums:
        pass
    vec load_part(const real *p, Py_ssize_t n, vec fill)
    void store_part(real *p, vec v, Py_ssize_t n)
    vec fold_lanes(vec *w, bint maximum)
    void wide_clear(wide_sums *s)
    void wide_add(wide_sums *s, const real *p, Py_ssize_t n)
    double wide_total(const wide_sums *s)
    void gather_lanes(real *q, const real **p, Py_ssize_t at, Py_ssize_t n)
    void scatter_lanes(real **p, Py_ssize_t at, const real *q, Py_ssize_t n, int lanes)
