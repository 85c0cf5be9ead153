# cython: cdivision=True
# The register tile and what it is made of, shared by the kernels as inline functions: no call crosses a module.
#
# c[i, :] (+)= sum over k of a[i, k] * b[k, :]   for MR rows (output channels) of NR = 2 vectors of columns (positions).
# 6 x 16 floats on AVX2: 12 accumulators, 2 vectors of b and one broadcast weight in 16 registers; two loads and six
# broadcasts for 12 multiply-adds keep both FMA units busy. 14 rows on AVX-512, with its 32 registers.
#
# Each any_* holds one copy of the tile a height, which compilers take their time for: call them in one place a kernel.
from cconv.kernels.simd cimport MR, NR, VL, load, mul_add, prefetch, real, set1, store, vec


cdef struct Product:
    const real *a                   # packed: a[k*m + i]; packed == 2: a[k*K + i]; else a[i*K + k]
    const real *b                   # panel
    real *c
    Py_ssize_t ldc
    const real *bias                # of row 0, or NULL
    Py_ssize_t K                    # terms of a row of a
    Py_ssize_t count                # of which so many are summed
    Py_ssize_t next                 # pair: rows from the first tile to the second
    bint first                      # starts from the bias; else from c


cdef inline void tile(const int m, const int packed, const Product *p) noexcept nogil:
    """m rows of two vectors of columns."""
    cdef vec lo[14]
    cdef vec hi[14]
    cdef vec b0, b1, w
    cdef Py_ssize_t _k, ra = 1 if packed else p.K, ldc = p.ldc
    cdef Py_ssize_t ka = p.K if packed == 2 else m if packed else 1
    cdef int i
    cdef const real *a = p.a
    cdef const real *b = p.b
    cdef const real *bias = p.bias
    cdef real *c = p.c
    if not p.first:
        for i in range(m):
            lo[i] = load(c + i * ldc)
            hi[i] = load(c + i * ldc + VL)
    elif bias == NULL:
        for i in range(m):
            lo[i] = set1(<real>0)
            hi[i] = lo[i]
    else:
        for i in range(m):
            lo[i] = set1(bias[i])
            hi[i] = lo[i]
    for _k in range(p.count):
        b0 = load(b)
        b1 = load(b + VL)
        for i in range(m):
            w = set1(a[i * ra])
            lo[i] = mul_add(lo[i], w, b0)
            hi[i] = mul_add(hi[i], w, b1)
        a += ka
        b += NR
    for i in range(m):
        store(c + i * ldc, lo[i])
        store(c + i * ldc + VL, hi[i])


cdef inline void pair(const int m, const int packed, const Product *p) noexcept nogil:
    """The tile turned: 2 x m rows of one vector of columns, for panels that are at most half full."""
    cdef vec lo[14]
    cdef vec hi[14]
    cdef vec v
    cdef Py_ssize_t _k, ra = 1 if packed else p.K, ldc = p.ldc
    cdef Py_ssize_t ka = p.K if packed == 2 else m if packed else 1
    cdef int i
    cdef const real *a0 = p.a
    cdef const real *a1 = a0 + (p.next if packed == 2 else p.next * p.K)
    cdef const real *b = p.b
    cdef const real *bias = p.bias
    cdef real *c0 = p.c
    cdef real *c1 = c0 + p.next * ldc
    if not p.first:
        for i in range(m):
            lo[i] = load(c0 + i * ldc)
            hi[i] = load(c1 + i * ldc)
    elif bias == NULL:
        for i in range(m):
            lo[i] = set1(<real>0)
            hi[i] = lo[i]
    else:
        for i in range(m):
            lo[i] = set1(bias[i])
            hi[i] = set1(bias[i + p.next])
    for _k in range(p.count):
        v = load(b)
        for i in range(m):
            lo[i] = mul_add(lo[i], set1(a0[i * ra]), v)
            hi[i] = mul_add(hi[i], set1(a1[i * ra]), v)
        if packed == 1:
            # packed weights are one stream, read once where there are few positions: from memory in time
            prefetch(a0 + 384)
            prefetch(a1 + 384)
        a0 += ka
        a1 += ka
        b += NR
    for i in range(m):
        store(c0 + i * ldc, lo[i])
        store(c1 + i * ldc, hi[i])


cdef inline void any_tile(int m, const int packed, const Product *p) noexcept nogil:
    if m == 6: tile(6, packed, p)
    elif m == 5: tile(5, packed, p)
    elif m == 4: tile(4, packed, p)
    elif m == 3: tile(3, packed, p)
    elif m == 2: tile(2, packed, p)
    elif m == 1: tile(1, packed, p)
    elif MR > 6:
        # for 32 vector registers (AVX-512)
        if m == 14: tile(14, packed, p)
        elif m == 13: tile(13, packed, p)
        elif m == 12: tile(12, packed, p)
        elif m == 11: tile(11, packed, p)
        elif m == 10: tile(10, packed, p)
        elif m == 9: tile(9, packed, p)
        elif m == 8: tile(8, packed, p)
        elif m == 7: tile(7, packed, p)


cdef inline void any_pair(int m, const int packed, const Product *p) noexcept nogil:
    if m == 6: pair(6, packed, p)
    elif m == 5: pair(5, packed, p)
    elif m == 4: pair(4, packed, p)
    elif m == 3: pair(3, packed, p)
    elif m == 2: pair(2, packed, p)
    elif m == 1: pair(1, packed, p)
    elif MR > 6:
        if m == 14: pair(14, packed, p)
        elif m == 13: pair(13, packed, p)
        elif m == 12: pair(12, packed, p)
        elif m == 11: pair(11, packed, p)
        elif m == 10: pair(10, packed, p)
        elif m == 9: pair(9, packed, p)
        elif m == 8: pair(8, packed, p)
        elif m == 7: pair(7, packed, p)


cdef inline Py_ssize_t tile_row(Py_ssize_t O, Py_ssize_t tiles, Py_ssize_t t) noexcept nogil:
    """First output channel of tile t, when O channels are dealt to `tiles` tiles as evenly as possible."""
    return t * (O // tiles) + min(t, O % tiles)
