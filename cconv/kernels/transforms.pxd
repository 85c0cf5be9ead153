# cython: cdivision=True
# The transforms of Winograd's patches and filters, on vectors of them: patches of six points and of four.
#
#     y = A^T [ (G w G^T) * (B^T x B) ] A
#
# A patch of T points gives T - R + 1 outputs of R taps: F(4,3) and F(2,5) have six points, F(2,3) four. B depends on
# the points alone. The matrices of four points are those of Lavin and Gray, 2016. Those of six are Toom-Cook's for the
# points 0, 1, -1, 1/2, -2 and infinity, which cost about half the rounding error of the usual 0, 1, -1, 2, -2: with
# u = d4 - d2 and v = d3 - d1
#
#     B^T d = (d0 + d4 - 2 d2 + 3/2 v,  u + v + 3/2 (d2 + d3),  u - v + 3/2 (d3 - d2),  u + 2 v,  u - v/2,
#              d1 + d5 - 2 d3 + 3/2 u)
#     A^T m = (m0 + a + m3 + m4,  b + m3/2 - 2 m4,  a + m3/4 + 4 m4,  b + m3/8 - 8 m4),  a = m1 + m2, b = m1 - m2,
#             the first so many of them as there are outputs, and m5 more in the last
#     G w   = (w0,  w(1)/3,  -w(-1)/3,  -16/15 w(1/2),  w(-2)/15,  the last tap),  w(p) = the sum of w_i p^i
#
# T is the number of points of a patch along W, high along H, R the taps along both: T or high is 1, and so are the
# taps, for kernels of one column or row.
from libc.string cimport memset

from cconv.kernels.simd cimport VL, load, real, set1, store, transpose, vec


cdef inline int outs_of(const int T, const int R) noexcept nogil:
    """Outputs of a patch along an axis of T points."""
    return 1 if T == 1 else T - R + 1


cdef struct Filters:
    # K terms of the filters of one tile of `rows` output channels, turned: lanes[(k * taps + tap) * ld + row]
    const real *lanes
    Py_ssize_t K, rows
    real *to                        # transformed: to[position * plane + k * rows + row]
    Py_ssize_t plane
    bint last                       # nothing may be written behind them


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


cdef inline void output_six(const int R, vec *y, const int t, const vec *m, const int s) noexcept nogil:
    """A^T on six vectors s apart, the results t apart: four of three taps, two of five."""
    cdef vec a = m[s] + m[2 * s]
    cdef vec b = m[s] - m[2 * s]
    cdef vec m3 = m[3 * s]
    cdef vec m4 = m[4 * s]
    y[0] = m[0] + a + (m3 + m4)
    y[t] = b + set1(<real>0.5) * m3 - set1(<real>2) * m4
    if R == 5:
        y[t] = y[t] + m[5 * s]
    else:
        y[2 * t] = a + set1(<real>0.25) * m3 + set1(<real>4) * m4
        y[3 * t] = b + set1(<real>0.125) * m3 - set1(<real>8) * m4 + m[5 * s]


cdef inline void input_axis(const int T, vec *d, const int s) noexcept nogil:
    if T == 6: input_six(d, s)
    else: input_four(d, s)


cdef inline void output_axis(const int T, const int R, vec *y, const int t, const vec *m, const int s) noexcept nogil:
    if T == 6: output_six(R, y, t, m, s)
    else: output_four(y, t, m, s)


cdef inline void points_of(const int T, const int R, real *g) noexcept nogil:
    """G, a row of R taps a point."""
    cdef real *point
    cdef real at, power, factor
    cdef int t, r
    for t in range(T):
        if T == 1:
            at, factor = 0, 1
        elif T == 4:
            at, factor = (<real>1 if t == 1 else <real>-1), <real>0.5
        elif t == 1 or t == 2:
            at, factor = (<real>1 if t == 1 else <real>-1), (<real>(1.0 / 3) if t == 1 else <real>(-1.0 / 3))
        else:
            at, factor = (<real>0.5 if t == 3 else <real>-2), (<real>(-16.0 / 15) if t == 3 else <real>(1.0 / 15))
        point = g + t * R
        power = factor
        for r in range(R):
            point[r] = power
            power *= at
        if t == 0 or t == T - 1:
            # the points 0 and infinity
            for r in range(R):
                point[r] = 1 if r == (0 if t == 0 else R - 1) else 0


cdef inline vec point_of(const int R, const vec *g, const vec *w, const int ws) noexcept nogil:
    """One point of R taps ws apart. It starts from zero, so that a compiler has but one way to fuse it: to the same
    bits in every copy of this function."""
    cdef vec sum = set1(<real>0)
    cdef int r
    for r in range(R):
        sum = sum + g[r] * w[r * ws]
    return sum


cdef inline void weight_four(vec *t, const vec *w) noexcept nogil:
    """G of F(2,3) on three taps."""
    cdef vec even = w[0] + w[2]
    t[0] = w[0]
    t[1] = (even + w[1]) * set1(<real>0.5)
    t[2] = (even - w[1]) * set1(<real>0.5)
    t[3] = w[2]


cdef inline void weight_six(const int R, vec *t, const vec *w) noexcept nogil:
    """G of six points on three or five taps."""
    cdef vec even = w[0] + w[2]
    cdef vec odd = w[1]
    cdef vec half = w[0] + set1(<real>0.5) * w[1] + set1(<real>0.25) * w[2]
    cdef vec two = w[0] - set1(<real>2) * w[1] + set1(<real>4) * w[2]
    if R == 5:
        even = even + w[4]
        odd = odd + w[3]
        half = half + set1(<real>0.125) * w[3]
        half = half + set1(<real>0.0625) * w[4]
        two = two - set1(<real>8) * w[3]
        two = two + set1(<real>16) * w[4]
    t[0] = w[0]
    t[1] = (even + odd) * set1(<real>(1.0 / 3))
    t[2] = (odd - even) * set1(<real>(1.0 / 3))
    t[3] = half * set1(<real>(-16.0 / 15))
    t[4] = two * set1(<real>(1.0 / 15))
    t[5] = w[R - 1]


cdef inline void turn_filters(real *lanes, const real *w, Py_ssize_t row, Py_ssize_t columns,
                              Py_ssize_t rows) noexcept nogil:
    """lanes[column * ld + i] = w[i * row + column] of the rows of one tile, ld in whole vectors."""
    cdef Py_ssize_t ld = (rows + VL - 1) // VL * VL, i = 0, x, j
    if columns < VL:
        if rows < ld:
            # not left as the stack had them: a denormal costs a hundred cycles
            memset(lanes, 0, columns * ld * sizeof(real))
        for i in range(rows):
            for x in range(columns):
                lanes[x * ld + i] = w[i * row + x]
        return
    while i < rows:
        j = 0
        while j < columns:
            # the last block ends with the row
            x = min(j, columns - VL)
            transpose(w + i * row + x, row, <int>min(<Py_ssize_t>VL, rows - i), lanes + x * ld + i, ld, VL)
            j += VL
        i += VL


cdef inline void transform_filters(const int T, const int high, const int R, int point,
                                   const Filters *filters) noexcept nogil:
    """One row of points of filters, to[position of the row, k, row]. Lanes are rows."""
    cdef Py_ssize_t K = filters.K, rows = filters.rows, plane = filters.plane
    cdef const real *lanes = filters.lanes
    cdef Py_ssize_t ld = (rows + VL - 1) // VL * VL, k, i, i0
    cdef real points[30]
    cdef real buf[16]
    cdef vec g[5]
    cdef vec d[25]
    cdef vec h[5]
    cdef vec f[6]
    cdef real *at
    cdef int r, c
    if high > 1:
        points_of(high, R, points)
        for r in range(R):
            g[r] = set1(points[point * R + r])
    for k in range(K):
        i0 = 0
        while i0 < rows:
            for r in range((1 if high == 1 else R) * (1 if T == 1 else R)):
                d[r] = load(lanes + r * ld + i0)
            if high == 1:
                for c in range(R):
                    h[c] = d[c]
            elif T == 1:
                f[0] = point_of(R, g, d, 1)
            else:
                for c in range(R):
                    h[c] = point_of(R, g, &d[c], R)
            if T == 6: weight_six(R, f, h)
            elif T == 4: weight_four(f, h)
            at = filters.to + k * rows + i0
            if not filters.last or k * rows + i0 + VL <= K * rows:
                # what runs over is the next term's, which is still to come
                for c in range(T):
                    store(at + c * plane, f[c])
            else:
                for c in range(T):
                    store(buf, f[c])
                    for i in range(rows - i0):
                        at[c * plane + i] = buf[i]
            i0 += VL
        lanes += (1 if high == 1 else R) * (1 if T == 1 else R) * ld
