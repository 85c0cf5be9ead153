# cython: cdivision=True
# Weight gradients by dot products (few output channels: depthwise, grouped, first layers): gy is copied to whole
# vectors, zeros behind each row, and vectors of partial sums of up to 4 x 8 (o, tap) pairs stay in registers: both
# factors are read along the row. So an input's NaN or inf may spoil weights whose windows do not hold it.
from libc.string cimport memset

from cconv.kernels.box cimport Box
from cconv.kernels.job cimport ConvJob, WeightGradJob
from cconv.kernels.simd cimport MR, VL, load, real, store, vec
from cconv.kernels.slab cimport copy_run
from cconv.kernels.tile cimport tile_row


cdef struct Dots:
    # sums[i, j, lane] += sum over vectors of runs of g[i*g_step + ...] * x[off[j] + ...]
    const real *g
    Py_ssize_t g_step
    const real *x
    const Py_ssize_t *off
    const Py_ssize_t *runs
    Py_ssize_t count, length        # runs, elements of each
    real *sums
    Py_ssize_t ld


cdef inline void copy_grads(WeightGradJob *job, const Box *box, const real *y, Py_ssize_t O, Py_ssize_t ld,
                            real *to) noexcept nogil:
    """to[o, run, :] = the gradients of a run, zeros where the slab has no output or in the last vector."""
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t o, n, z, row, pitch = conv.t.row if job.t.across else job.t.run, width = box.extent[2]
    cdef const real *p
    cdef real *q
    for o in range(O):
        q = to + o * ld
        for n in range(box.samples):
            for z in range(box.extent[0]):
                for row in range(box.extent[1]):
                    p = y + n * conv.yn + o * conv.yc + z * conv.ys[0] + row * conv.ys[1]
                    copy_run(q, p, conv.ys[2], width)
                    memset(q + width, 0, (pitch - width) * sizeof(real))
                    q += pitch
                if job.t.across:
                    memset(q, 0, (job.t.run - box.extent[1] * pitch) * sizeof(real))
                    q += job.t.run - box.extent[1] * pitch


cdef inline void dot_tile(const int m, const int n, const Dots *p) noexcept nogil:
    """m output channels x n taps."""
    cdef vec acc[32]
    cdef vec a[4]
    cdef vec b
    cdef Py_ssize_t r, v, ld = p.ld, g_step = p.g_step
    cdef int i, j
    cdef const real *x
    cdef const real *g = p.g
    cdef const Py_ssize_t *off = p.off
    for i in range(m):
        for j in range(n):
            acc[i * n + j] = load(p.sums + i * ld + j * VL)
    for r in range(p.count):
        x = p.x + p.runs[r]
        v = 0
        while v < p.length:
            for i in range(m):
                a[i] = load(g + i * g_step + v)
            for j in range(n):
                b = load(x + off[j] + v)
                for i in range(m):
                    acc[i * n + j] = acc[i * n + j] + a[i] * b
            v += VL
        g += p.length
    for i in range(m):
        for j in range(n):
            store(p.sums + i * ld + j * VL, acc[i * n + j])


cdef inline int most_dots() noexcept nogil:
    """Accumulators of a tile: 24 where there are 32 registers."""
    return 24 if MR > 6 else 12


cdef inline void any_dot(const int m, int n, const Dots *p) noexcept nogil:
    if n == 1: dot_tile(m, 1, p)
    elif n == 2: dot_tile(m, 2, p)
    elif n == 3: dot_tile(m, 3, p)
    elif n == 4: dot_tile(m, 4, p)
    elif m * 5 <= most_dots() and n == 5: dot_tile(m, 5, p)
    elif m * 6 <= most_dots() and n == 6: dot_tile(m, 6, p)
    elif m * 7 <= most_dots() and n == 7: dot_tile(m, 7, p)
    elif m * 8 <= most_dots() and n == 8: dot_tile(m, 8, p)


cdef inline void dot_box(const Dots *all_, Py_ssize_t O, Py_ssize_t K) noexcept nogil:
    """Every tile of one box."""
    cdef Py_ssize_t most = 4 if MR > 6 else 3, parts = (O + most - 1) // most, part, o, k, t, t0
    cdef int m, n, wide
    cdef Dots p = all_[0]
    p.ld = K * VL
    for part in range(parts):
        o = tile_row(O, parts, part)
        m = <int>(tile_row(O, parts, part + 1) - o)
        wide = min(8, most_dots() // m)
        t = (K + wide - 1) // wide
        p.g = all_.g + o * p.g_step
        for k in range(t):
            t0 = tile_row(K, t, k)
            n = <int>(tile_row(K, t, k + 1) - t0)
            p.off = all_.off + t0
            p.sums = all_.sums + o * p.ld + t0 * VL
            if m == 1: any_dot(1, n, &p)
            elif m == 2: any_dot(2, n, &p)
            elif m == 3: any_dot(3, n, &p)
            elif MR > 6: any_dot(4, n, &p)
