# The register tile and what it is made of, shared by the kernels as inline functions: no call crosses a module.
#
# c[i, :] (+)= sum over k of a[i, k] * b[k, :]   for MR rows (output channels) of NR = 2 vectors of columns (positions).
# 6 x 16 floats on AVX2: 12 accumulators, 2 vectors of b and one broadcast weight in 16 registers; two loads and six
# broadcasts for 12 multiply-adds keep both FMA units busy.

from cconv.kernels.job cimport PAD_CIRCULAR, PAD_REFLECT, PAD_ZEROS

cdef extern from "simd.h" nogil:
    ctypedef float real
    ctypedef float vec
    const int VL
    const int NR
    const int MR
    vec load(const real *p)
    void store(real *p, vec v)
    vec set1(real x)
    void load2(const real *p, vec *even, vec *odd)
    void prefetch "CCONV_PREFETCH"(const real *p)


cdef inline void tile(const int m, const real *a, const Py_ssize_t ra, const Py_ssize_t ka, const real *b,
                      Py_ssize_t count, real *c, Py_ssize_t ldc, const real *bias, bint first) noexcept nogil:
    """c[i, :] (+)= sum over k of a[i*ra + k*ka] * b[k, :] for m rows of NR columns; `first` starts from the bias."""
    cdef vec lo[14]
    cdef vec hi[14]
    cdef vec b0, b1, w
    cdef Py_ssize_t _k
    cdef int i
    if first:
        for i in range(m):
            lo[i] = set1(bias[i] if bias != NULL else <real>0)
            hi[i] = lo[i]
    else:
        for i in range(m):
            lo[i] = load(c + i * ldc)
            hi[i] = load(c + i * ldc + VL)
    for _k in range(count):
        b0 = load(b)
        b1 = load(b + VL)
        for i in range(m):
            w = set1(a[i * ra])
            lo[i] = lo[i] + w * b0
            hi[i] = hi[i] + w * b1
        a += ka
        b += NR
    for i in range(m):
        store(c + i * ldc, lo[i])
        store(c + i * ldc + VL, hi[i])


cdef inline void pair(const int m, const real *a0, const real *a1, const Py_ssize_t ra, const Py_ssize_t ka,
                      const real *b, Py_ssize_t count, real *c0, real *c1, const Py_ssize_t ldc, const real *bias0,
                      const real *bias1, bint first) noexcept nogil:
    """The tile turned: 2 x m rows of one vector of columns, for panels that are at most half full."""
    cdef vec lo[14]
    cdef vec hi[14]
    cdef vec v
    cdef Py_ssize_t _k
    cdef int i
    for i in range(m):
        if first:
            lo[i] = set1(bias0[i] if bias0 != NULL else <real>0)
            hi[i] = set1(bias1[i] if bias1 != NULL else <real>0)
        else:
            lo[i] = load(c0 + i * ldc)
            hi[i] = load(c1 + i * ldc)
    for _k in range(count):
        v = load(b)
        for i in range(m):
            lo[i] = lo[i] + set1(a0[i * ra]) * v
            hi[i] = hi[i] + set1(a1[i * ra]) * v
        if ra == 1:
            # packed weights are one stream, read once where there are few positions: from memory in time
            prefetch(a0 + 384)
            prefetch(a1 + 384)
        a0 += ka
        a1 += ka
        b += NR
    for i in range(m):
        store(c0 + i * ldc, lo[i])
        store(c1 + i * ldc, hi[i])


cdef inline void any_pair(int m, bint packed, const real *a0, const real *a1, Py_ssize_t ra, const real *b,
                          Py_ssize_t count, real *c0, real *c1, Py_ssize_t ldc, const real *bias0,
                          const real *bias1, bint first) noexcept nogil:
    if packed:
        if m == 6: pair(6, a0, a1, 1, 6, b, count, c0, c1, ldc, bias0, bias1, first)
        elif m == 5: pair(5, a0, a1, 1, 5, b, count, c0, c1, ldc, bias0, bias1, first)
        elif m == 4: pair(4, a0, a1, 1, 4, b, count, c0, c1, ldc, bias0, bias1, first)
        elif m < 4: any_short_pair(m, a0, a1, 1, m, b, count, c0, c1, ldc, bias0, bias1, first)
        elif MR > 6: wide_pair(m, a0, a1, 1, m, b, count, c0, c1, ldc, bias0, bias1, first)
    else:
        if m == 6: pair(6, a0, a1, ra, 1, b, count, c0, c1, ldc, bias0, bias1, first)
        elif m == 5: pair(5, a0, a1, ra, 1, b, count, c0, c1, ldc, bias0, bias1, first)
        elif m == 4: pair(4, a0, a1, ra, 1, b, count, c0, c1, ldc, bias0, bias1, first)
        elif m < 4: any_short_pair(m, a0, a1, ra, 1, b, count, c0, c1, ldc, bias0, bias1, first)
        elif MR > 6: wide_pair(m, a0, a1, ra, 1, b, count, c0, c1, ldc, bias0, bias1, first)


cdef inline void any_short_pair(int m, const real *a0, const real *a1, Py_ssize_t ra, Py_ssize_t ka, const real *b,
                                Py_ssize_t count, real *c0, real *c1, Py_ssize_t ldc, const real *bias0,
                                const real *bias1, bint first) noexcept nogil:
    if m == 3: pair(3, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)
    elif m == 2: pair(2, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)
    elif m == 1: pair(1, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)


cdef inline void wide_pair(int m, const real *a0, const real *a1, Py_ssize_t ra, Py_ssize_t ka, const real *b,
                           Py_ssize_t count, real *c0, real *c1, Py_ssize_t ldc, const real *bias0,
                           const real *bias1, bint first) noexcept nogil:
    """Pairs of 7 to 14 rows, for 32 vector registers (AVX-512)."""
    if m == 14: pair(14, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)
    elif m == 13: pair(13, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)
    elif m == 12: pair(12, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)
    elif m == 11: pair(11, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)
    elif m == 10: pair(10, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)
    elif m == 9: pair(9, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)
    elif m == 8: pair(8, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)
    elif m == 7: pair(7, a0, a1, ra, ka, b, count, c0, c1, ldc, bias0, bias1, first)


cdef inline void tile_at(const int m, const real *a, const real *p0, const real *p1, const Py_ssize_t *off,
                         Py_ssize_t count, real *c0, real *c1, const Py_ssize_t ldc, const real *bias) noexcept nogil:
    """The tile without a packed panel: its two vectors are read where they lie, at p0 + off[k] and p1 + off[k].

    For few output channels, which would not repay the packing."""
    cdef vec lo[14]
    cdef vec hi[14]
    cdef vec b0, b1, w
    cdef Py_ssize_t k
    cdef int i
    for i in range(m):
        lo[i] = set1(bias[i] if bias != NULL else <real>0)
        hi[i] = lo[i]
    for k in range(count):
        b0 = load(p0 + off[k])
        b1 = load(p1 + off[k])
        for i in range(m):
            w = set1(a[i])
            lo[i] = lo[i] + w * b0
            hi[i] = hi[i] + w * b1
        a += m
    for i in range(m):
        store(c0 + i * ldc, lo[i])
    for i in range(m):
        store(c1 + i * ldc, hi[i])


cdef inline void any_tile_at(int m, const real *a, const real *p0, const real *p1, const Py_ssize_t *off,
                             Py_ssize_t count, real *c0, real *c1, Py_ssize_t ldc, const real *bias) noexcept nogil:
    if m == 6: tile_at(6, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 5: tile_at(5, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 4: tile_at(4, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 3: tile_at(3, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 2: tile_at(2, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 1: tile_at(1, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif MR > 6: wide_tile_at(m, a, p0, p1, off, count, c0, c1, ldc, bias)


cdef inline void wide_tile_at(int m, const real *a, const real *p0, const real *p1, const Py_ssize_t *off,
                              Py_ssize_t count, real *c0, real *c1, Py_ssize_t ldc, const real *bias) noexcept nogil:
    if m == 14: tile_at(14, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 13: tile_at(13, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 12: tile_at(12, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 11: tile_at(11, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 10: tile_at(10, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 9: tile_at(9, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 8: tile_at(8, a, p0, p1, off, count, c0, c1, ldc, bias)
    elif m == 7: tile_at(7, a, p0, p1, off, count, c0, c1, ldc, bias)


cdef inline void any_tile(int m, bint packed, const real *a, Py_ssize_t ra, const real *b, Py_ssize_t count, real *c,
                          Py_ssize_t ldc, const real *bias, bint first) noexcept nogil:
    if packed:
        if m == 6: tile(6, a, 1, 6, b, count, c, ldc, bias, first)
        elif m == 5: tile(5, a, 1, 5, b, count, c, ldc, bias, first)
        elif m == 4: tile(4, a, 1, 4, b, count, c, ldc, bias, first)
        elif m == 3: tile(3, a, 1, 3, b, count, c, ldc, bias, first)
        elif m == 2: tile(2, a, 1, 2, b, count, c, ldc, bias, first)
        elif m == 1: tile(1, a, 1, 1, b, count, c, ldc, bias, first)
        elif MR > 6: wide_tile(m, a, 1, m, b, count, c, ldc, bias, first)
    else:
        if m == 6: tile(6, a, ra, 1, b, count, c, ldc, bias, first)
        elif m == 5: tile(5, a, ra, 1, b, count, c, ldc, bias, first)
        elif m == 4: tile(4, a, ra, 1, b, count, c, ldc, bias, first)
        elif m == 3: tile(3, a, ra, 1, b, count, c, ldc, bias, first)
        elif m == 2: tile(2, a, ra, 1, b, count, c, ldc, bias, first)
        elif m == 1: tile(1, a, ra, 1, b, count, c, ldc, bias, first)
        elif MR > 6: wide_tile(m, a, ra, 1, b, count, c, ldc, bias, first)


cdef inline void wide_tile(int m, const real *a, Py_ssize_t ra, Py_ssize_t ka, const real *b, Py_ssize_t count,
                           real *c, Py_ssize_t ldc, const real *bias, bint first) noexcept nogil:
    """Tiles of 7 to 14 rows, for 32 vector registers (AVX-512)."""
    if m == 14: tile(14, a, ra, ka, b, count, c, ldc, bias, first)
    elif m == 13: tile(13, a, ra, ka, b, count, c, ldc, bias, first)
    elif m == 12: tile(12, a, ra, ka, b, count, c, ldc, bias, first)
    elif m == 11: tile(11, a, ra, ka, b, count, c, ldc, bias, first)
    elif m == 10: tile(10, a, ra, ka, b, count, c, ldc, bias, first)
    elif m == 9: tile(9, a, ra, ka, b, count, c, ldc, bias, first)
    elif m == 8: tile(8, a, ra, ka, b, count, c, ldc, bias, first)
    elif m == 7: tile(7, a, ra, ka, b, count, c, ldc, bias, first)


cdef inline Py_ssize_t tile_row(Py_ssize_t O, Py_ssize_t tiles, Py_ssize_t t) noexcept nogil:
    """First output channel of tile t, when O channels are dealt to `tiles` tiles as evenly as possible."""
    return t * (O // tiles) + min(t, O % tiles)


cdef inline Py_ssize_t source(Py_ssize_t i, Py_ssize_t L, int mode) noexcept nogil:
    """Input index that stands at padded position i (0 is the first input element), or -1 for a zero."""
    if 0 <= i < L:
        return i
    if mode == PAD_ZEROS:
        return -1
    if mode == PAD_REFLECT:
        i = -i if i < 0 else 2 * (L - 1) - i
    elif mode == PAD_CIRCULAR:
        i = i + L if i < 0 else i - L
    # replicate; and positions past the padding, which a slab may hold but no window reads
    return 0 if i < 0 else (L - 1 if i >= L else i)


cdef inline void copy_run(real *to, const real *x, Py_ssize_t step, Py_ssize_t n) noexcept nogil:
    """to[i] = x[i * step], no element beyond the last is touched; the last vectors overlap instead."""
    cdef Py_ssize_t i = 0
    cdef vec even, odd
    if step == 1 and n >= VL:
        while i + VL < n:
            store(to + i, load(x + i))
            i += VL
        store(to + n - VL, load(x + n - VL))
    elif step == 2 and n > VL:
        while i + VL < n:
            load2(x + 2 * i, &even, &odd)
            store(to + i, even)
            i += VL
        # one less, because a pair's second element may lie outside
        load2(x + 2 * (n - 1 - VL), &even, &odd)
        store(to + n - 1 - VL, even)
        to[n - 1] = x[2 * (n - 1)]
    else:
        for i in range(n):
            to[i] = x[i * step]
