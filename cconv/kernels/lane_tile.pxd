# cython: cdivision=True
# The register tile of lanes.pyx: a vector holds one position of VL groups, so weights are vectors too and nothing is
# broadcast; y[o, r, j, :] = bias[o, :] + sum over k of w[o, k, :] * slab[off[k] + r*row + j*hop + :].
#
# One output channel takes two rows of up to seven columns: fourteen chains hide the latency of multiply-adds, with one
# load for each of them and a fifteenth for the weights. More output channels share each load of the slab.
from cconv.kernels.simd cimport VL, load, real, store, vec


cdef extern from *:
    """
    /* columns and output channels of a tile: its accumulators, weights and one input fit the registers */
    #if CCONV_VBYTES == 64
    enum { OUTS = 4, WIDE1 = 7, WIDE2 = 7, WIDE3 = 7, WIDE4 = 6 };
    #else
    enum { OUTS = 3, WIDE1 = 7, WIDE2 = 6, WIDE3 = 4, WIDE4 = 1 };
    #endif
    """
    const int OUTS
    const int WIDE1
    const int WIDE2
    const int WIDE3
    const int WIDE4


cdef struct Tile:
    const real *slab                # of the first output
    const real *w                   # of the first output channel: K vectors, then the next channel's
    const Py_ssize_t *off           # from an output to each of its terms, in the order of summation
    const Py_ssize_t *at            # and where its weights lie
    const real *bias                # a vector an output channel
    Py_ssize_t K
    Py_ssize_t row, hop             # slab elements between the inputs of neighbouring output rows and columns
    real *y
    Py_ssize_t ychannel, yrow


cdef inline void lane_tile(const int R, const int m, const int n, const Tile *t) noexcept nogil:
    """R rows of n columns of m output channels."""
    cdef vec acc[28]
    cdef vec a[4]
    cdef vec x
    cdef Py_ssize_t k, row = t.row, hop = t.hop, K = t.K
    cdef int i, r, j
    cdef const real *p
    cdef const real *w = t.w
    cdef const real *slab = t.slab
    cdef const Py_ssize_t *off = t.off
    cdef const Py_ssize_t *at = t.at
    for i in range(m):
        for j in range(R * n):
            acc[i * R * n + j] = load(t.bias + i * VL)
    for k in range(K):
        p = slab + off[k]
        for i in range(m):
            a[i] = load(w + i * K * VL + at[k])
        for r in range(R):
            for j in range(n):
                x = load(p + r * row + j * hop)
                for i in range(m):
                    acc[(i * R + r) * n + j] = acc[(i * R + r) * n + j] + a[i] * x
    for i in range(m):
        for r in range(R):
            for j in range(n):
                store(t.y + i * t.ychannel + r * t.yrow + j * VL, acc[(i * R + r) * n + j])


cdef inline void some_columns(const int R, const int m, Py_ssize_t n, const Tile *t) noexcept nogil:
    if n == 1: lane_tile(R, m, 1, t)
    elif n == 2: lane_tile(R, m, 2, t)
    elif n == 3: lane_tile(R, m, 3, t)
    elif n == 4: lane_tile(R, m, 4, t)
    elif m < 4 or OUTS == 4:
        if n == 5: lane_tile(R, m, 5, t)
        elif n == 6: lane_tile(R, m, 6, t)
        elif m < 4: lane_tile(R, m, 7, t)
