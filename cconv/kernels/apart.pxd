# cython: cdivision=True
# Gradients of pools whose windows do not overlap: every value of gx is written once, none is added to.
#
#     average:  gx[o*s + k] = gy[o] / divisor[o]
#     maximum:  gx[o*s + k] = gy[o] where k is the tap of the window's maximum, else 0
#
# Averages: each row is spread, those of the same windows are copies. Maxima of windows of two columns, two apart: the
# tap of each maximum is found in a vector, and the two columns of each row are interleaved.
from libc.string cimport memcpy, memset

from cconv.kernels.extrema cimport max_tap, set_tap, where_tap
from cconv.kernels.job cimport POOL_AVERAGE, PoolGradJob, PoolJob
from cconv.kernels.simd cimport VL, load, load2, real, set1, store, store2, vec


# ---------------------------------------------------------------- averages

cdef inline void fill_run(real *to, real value, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    cdef vec v = set1(value)
    if n < VL:
        for i in range(n):
            to[i] = value
        return
    while i + VL < n:
        store(to + i, v)
        i += VL
    store(to + n - VL, v)


cdef inline void spread_apart(const PoolJob *pool, real *to, const real *y, real part,
                              const real *parts) noexcept nogil:
    """One row of gx from one of gy."""
    cdef Py_ssize_t o = 0, i = 0, first, count, out = pool.p.out[2], step = pool.ys[2]
    cdef vec v
    if pool.p.kernel[2] == 2 and pool.p.stride[2] == 2 and step == 1 and not pool.p.adaptive:
        while o + VL <= min(out, pool.p.size[2] // 2):
            v = load(y + o) * set1(part) * load(parts + o)
            store2(to + 2 * o, v, v)
            o += VL
        i = 2 * o
    while o < out:
        first, count = pool.first[2][o], pool.count[2][o]
        while i < first:
            to[i] = 0
            i += 1
        fill_run(to + first, y[o * step] * part * parts[o], count)
        i = first + count
        o += 1
    while i < pool.p.size[2]:
        to[i] = 0
        i += 1


cdef inline void spread_plane(PoolGradJob *job, Py_ssize_t plane, Py_ssize_t iz, Py_ssize_t y0, Py_ssize_t y1,
                              const real *parts) noexcept nogil:
    """Input rows y0..y1 of one depth of a plane."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t W = pool.p.size[2], iy, oz, oy, d, last = -1
    cdef real *gx = <real *>job.gx + (plane * pool.p.size[0] + iz) * pool.p.size[1] * W
    cdef const real *y = <const real *>pool.y + plane // pool.p.C * pool.yn + plane % pool.p.C * pool.yc
    cdef real part
    oz = job.list[0][job.start[0][iz]] if job.start[0][iz + 1] > job.start[0][iz] else -1
    for iy in range(y0, y1):
        oy = job.list[1][job.start[1][iy]] if job.start[1][iy + 1] > job.start[1][iy] else -1
        if oz < 0 or oy < 0:
            memset(gx + iy * W, 0, W * sizeof(real))
            last = -1
        elif oy == last:
            memcpy(gx + iy * W, gx + (iy - 1) * W, W * sizeof(real))
        else:
            d = pool.divisor[0][oz] * pool.divisor[1][oy]
            part = <real>1
            if pool.divide != 0:
                part = <real>(1 / pool.divide)
            elif pool.op == POOL_AVERAGE:
                part = <real>1 / <real>d if d else <real>0
            spread_apart(pool, gx + iy * W, y + oz * pool.ys[0] + oy * pool.ys[1], part, parts)
            last = oy


# ---------------------------------------------------------------- maxima

cdef inline void pair_row(PoolGradJob *job, const real *x, const real *y, real *gx) noexcept nogil:
    """The windows of one output row: x and gx at its first input row, y at the row."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t out = pool.p.out[2], o = 0, z, r, W = pool.p.size[2], plane = pool.p.size[1] * W
    cdef Py_ssize_t tap
    cdef const real *p
    cdef vec even, odd, g, best = set1(<real>0), at = set_tap(0)
    while True:
        tap = 0
        at = set_tap(0)
        for z in range(pool.p.kernel[0]):
            for r in range(pool.p.kernel[1]):
                p = x + z * pool.xs[0] + r * pool.xs[1] + 2 * o
                load2(p, &even, &odd)
                if tap == 0:
                    best = even
                else:
                    max_tap(&best, &at, even, tap)
                max_tap(&best, &at, odd, tap + 1)
                tap += 2
        g = load(y + o)
        tap = 0
        for z in range(pool.p.kernel[0]):
            for r in range(pool.p.kernel[1]):
                store2(gx + z * plane + r * W + 2 * o, where_tap(at, tap, g), where_tap(at, tap + 1, g))
                tap += 2
        if o + VL >= out:
            return
        # the last vectors overlap
        o = min(o + VL, out - VL)


cdef inline void clear_rest(PoolGradJob *job, real *gx, Py_ssize_t od, Py_ssize_t oh) noexcept nogil:
    """What lies in no window, from those of an output row to the next's."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t W = pool.p.size[2], H = pool.p.size[1], z, r, used = 2 * pool.p.out[2]
    cdef Py_ssize_t z0 = od * pool.p.stride[0], r0 = oh * pool.p.stride[1]
    cdef Py_ssize_t z1 = z0 + pool.p.stride[0] if od + 1 < pool.p.out[0] else pool.p.size[0]
    cdef Py_ssize_t r1 = r0 + pool.p.stride[1] if oh + 1 < pool.p.out[1] else H
    for z in range(z0, z1):
        for r in range(r0, r1):
            if z >= z0 + pool.p.kernel[0] or r >= r0 + pool.p.kernel[1]:
                memset(gx + (z * H + r) * W, 0, W * sizeof(real))
            elif used < W:
                memset(gx + (z * H + r) * W + used, 0, (W - used) * sizeof(real))


cdef inline void pairs_item(PoolGradJob *job, Py_ssize_t item) noexcept nogil:
    """Item = (plane, block of output rows), the last fastest."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t plane = item // job.t.blocks, od, oh, oh0 = item % job.t.blocks * job.t.rows
    cdef Py_ssize_t H = pool.p.size[1], W = pool.p.size[2], iz, iy
    cdef const real *x = <const real *>pool.x + plane // pool.p.C * pool.xn + plane % pool.p.C * pool.xc
    cdef const real *y = <const real *>pool.y + plane // pool.p.C * pool.yn + plane % pool.p.C * pool.yc
    cdef real *gx = <real *>job.gx + plane * pool.p.size[0] * H * W
    for od in range(pool.p.out[0]):
        for oh in range(oh0, min(oh0 + job.t.rows, pool.p.out[1])):
            iz, iy = od * pool.p.stride[0], oh * pool.p.stride[1]
            pair_row(job, x + iz * pool.xs[0] + iy * pool.xs[1], y + od * pool.ys[0] + oh * pool.ys[1],
                     gx + (iz * H + iy) * W)
            clear_rest(job, gx, od, oh)
