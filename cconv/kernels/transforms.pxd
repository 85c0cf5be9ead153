# cython: cdivision=True
# The transforms of Winograd's patches and filters, on vectors of them: F(4) on six points, F(2) on four.
#
#     y = A^T [ (G w G^T) * (B^T x B) ] A
#
# The matrices of F(2) are those of Lavin and Gray, 2016. Those of F(4) are Toom-Cook's for the points 0, 1, -1, 1/2,
# -2 and infinity, which cost about half the rounding error of the usual 0, 1, -1, 2, -2: with u = d4 - d2 and v = d3
# - d1
#
#     B^T d = (d0 + d4 - 2 d2 + 3/2 v,  u + v + 3/2 (d2 + d3),  u - v + 3/2 (d3 - d2),  u + 2 v,  u - v/2,
#              d1 + d5 - 2 d3 + 3/2 u)
#     A^T m = (m0 + a + m3 + m4,  b + m3/2 - 2 m4,  a + m3/4 + 4 m4,  b + m3/8 - 8 m4 + m5),  a = m1 + m2, b = m1 - m2
#
# T is the patch's size, high its rows: T, or 1 for kernels of one row.
from libc.string cimport memset

from cconv.kernels.simd cimport VL, load, real, set1, store, vec


cdef inline void input_four(vec *d, const int s) noexcept nogil:
    """B^T of F(2) on four vectors s apart."""
    cdef vec d1 = d[s]
    d[0] = d[0] - d[2 * s]
    d[s] = d1 + d[2 * s]
    d[2 * s] = d[2 * s] - d1
    d[3 * s] = d1 - d[3 * s]


cdef inline void output_four(vec *y, const int t, const vec *m, const int s) noexcept nogil:
    """A^T of F(2) on four vectors s apart, two results t apart."""
    y[0] = m[0] + m[s] + m[2 * s]
    y[t] = m[s] - m[2 * s] - m[3 * s]


cdef inline void weight_four(vec *t, const int s, const vec *w, const int ws) noexcept nogil:
    """G of F(2) on three taps ws apart, four results s apart."""
    cdef vec even = w[0] + w[2 * ws]
    t[0] = w[0]
    t[s] = (even + w[ws]) * set1(<real>0.5)
    t[2 * s] = (even - w[ws]) * set1(<real>0.5)
    t[3 * s] = w[2 * ws]


cdef inline void input_six(vec *d, const int s) noexcept nogil:
    """B^T on six vectors s apart."""
    cdef vec u = d[4 * s] - d[2 * s]
    cdef vec v = d[3 * s] - d[s]
    cdef vec h = set1(<real>1.5)
    cdef vec two = set1(<real>2)
    cdef vec t0 = d[0] + d[4 * s] - two * d[2 * s] + h * v
    cdef vec t5 = d[s] + d[5 * s] - two * d[3 * s] + h * u
    cdef vec t1 = u + v + h * (d[2 * s] + d[3 * s])
    cdef vec t2 = u - v + h * (d[3 * s] - d[2 * s])
    d[0] = t0
    d[s] = t1
    d[2 * s] = t2
    d[3 * s] = u + two * v
    d[4 * s] = u - set1(<real>0.5) * v
    d[5 * s] = t5


cdef inline void output_six(vec *y, const int t, const vec *m, const int s) noexcept nogil:
    """A^T on six vectors s apart, four results t apart."""
    cdef vec a = m[s] + m[2 * s]
    cdef vec b = m[s] - m[2 * s]
    cdef vec m3 = m[3 * s]
    cdef vec m4 = m[4 * s]
    y[0] = m[0] + a + (m3 + m4)
    y[t] = b + set1(<real>0.5) * m3 - set1(<real>2) * m4
    y[2 * t] = a + set1(<real>0.25) * m3 + set1(<real>4) * m4
    y[3 * t] = b + set1(<real>0.125) * m3 - set1(<real>8) * m4 + m[5 * s]


cdef inline void weight_six(vec *t, const int s, const vec *w, const int ws) noexcept nogil:
    """G on three taps ws apart, six results s apart."""
    cdef vec even = w[0] + w[2 * ws]
    cdef vec odd = w[ws]
    t[0] = w[0]
    t[s] = (even + odd) * set1(<real>(1.0 / 3))
    t[2 * s] = (odd - even) * set1(<real>(1.0 / 3))
    t[3 * s] = (w[0] + set1(<real>0.5) * odd + set1(<real>0.25) * w[2 * ws]) * set1(<real>(-16.0 / 15))
    t[4 * s] = (w[0] - set1(<real>2) * odd + set1(<real>4) * w[2 * ws]) * set1(<real>(1.0 / 15))
    t[5 * s] = w[2 * ws]


cdef inline void input_axis(const int T, vec *d, const int s) noexcept nogil:
    if T == 6: input_six(d, s)
    else: input_four(d, s)


cdef inline void output_axis(const int T, vec *y, const int t, const vec *m, const int s) noexcept nogil:
    if T == 6: output_six(y, t, m, s)
    else: output_four(y, t, m, s)


cdef inline void weight_axis(const int T, vec *t, const int s, const vec *w, const int ws) noexcept nogil:
    if T == 6: weight_six(t, s, w, ws)
    else: weight_four(t, s, w, ws)


cdef inline void transform_weights(const int T, const int high, vec *f, const real *lanes,
                                   Py_ssize_t ld) noexcept nogil:
    """VL filters, lanes[tap * ld + filter], to their T or T x T positions."""
    cdef vec d[9]
    cdef vec h[18]
    cdef int t, r, c
    for t in range(3 if high == 1 else 9):
        d[t] = load(lanes + t * ld)
    if high == 1:
        weight_axis(T, f, 1, d, 1)
    else:
        for r in range(3):
            weight_axis(T, &h[r * T], 1, &d[r * 3], 1)
        for c in range(T):
            weight_axis(T, &f[c], T, &h[c], T)


cdef inline void pack_filters(const int T, const int high, real *to, Py_ssize_t plane, const real *w, Py_ssize_t K,
                              Py_ssize_t rows) noexcept nogil:
    """The filters of one tile, (rows, K, taps), to to[position * plane + k * rows + row]. Lanes are rows."""
    cdef Py_ssize_t taps = 3 if high == 1 else 9, k = 0, n, i, i0, kk, t, ld = (rows + VL - 1) // VL * VL
    cdef real lanes[8 * 9 * 16]
    cdef real buf[16]
    cdef vec f[36]
    cdef const real *from_
    cdef real *at
    cdef int xi
    if rows < ld:
        # not left as the stack had them: a denormal costs a hundred cycles
        memset(lanes, 0, 8 * taps * ld * sizeof(real))
    while k < K:
        # eight terms at a time: the scalar stores of a block have left the store buffer when its vectors are loaded
        n = min(<Py_ssize_t>8, K - k)
        for i in range(rows):
            from_ = w + (i * K + k) * taps
            for t in range(n * taps):
                lanes[t * ld + i] = from_[t]
        for kk in range(n):
            i0 = 0
            while i0 < rows:
                transform_weights(T, high, f, lanes + kk * taps * ld + i0, ld)
                at = to + (k + kk) * rows + i0
                if (k + kk) * rows + i0 + VL <= K * rows:
                    # what runs over is the next term's, which is still to come
                    for xi in range(T * high):
                        store(at + xi * plane, f[xi])
                else:
                    for xi in range(T * high):
                        store(buf, f[xi])
                        for i in range(rows - i0):
                            at[xi * plane + i] = buf[i]
                i0 += VL
        k += 8
