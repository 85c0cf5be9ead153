# The vectors of simd.h: `vec` holds VL elements of type `real`, both set by the build. A tile is MR rows x NR = 2 VL
# columns.

cdef extern from "simd.h" nogil:
    ctypedef float real
    ctypedef float vec
    const int VL
    const int NR
    const int MR
    vec load(const real *p)
    void store(real *p, vec v)
    vec set1(real x)
    real sum_lanes(vec v)
    vec lanes_from(Py_ssize_t lane)
    vec blend(vec mask, vec a, vec b)
    void prefetch "CCONV_PREFETCH"(const real *p)
    void copy_line(real *to, const real *x, Py_ssize_t n)
    void put_lines(real *to, Py_ssize_t to_row, Py_ssize_t step, const real *x, Py_ssize_t x_row, Py_ssize_t rows,
                   Py_ssize_t n)
    void get_lines(real *to, Py_ssize_t to_row, const real *x, Py_ssize_t x_row, Py_ssize_t step, Py_ssize_t rows,
                   Py_ssize_t n)

cdef extern from "shuffle.h" nogil:
    void load2(const real *p, vec *even, vec *odd)
    void load3(const real *p, vec *a, vec *b, vec *c)
    void load4(const real *p, vec *a, vec *b, vec *c, vec *d)
    void store2(real *p, vec a, vec b)
    void store4(real *p, vec a, vec b, vec c, vec d)
    void transpose(const real *p, Py_ssize_t ld, int rows, real *q, Py_ssize_t ldq, int columns)
