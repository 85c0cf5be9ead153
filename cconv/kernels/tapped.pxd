# cython: cdivision=True
# Maxima with their positions: flat in the plane, of equals the first, of NaNs the last, -1 without a tap.
#
# Lanes carry the number of the best tap beside the best value; windows of varying size (adaptive) are walked one by
# one.
from libc.stdint cimport int64_t

from cconv.kernels.extrema cimport LOWEST, ireal, isnan_, max_tap, set_tap
from cconv.kernels.job cimport PoolJob
from cconv.kernels.simd cimport VL, load, real, set1, store, vec
from cconv.kernels.spread cimport spread_row


cdef enum:
    TAP_TABLE = 1024    # taps of a window whose places are listed


cdef inline void indexed_row(PoolJob *job, const real *x, real *y, int64_t *index, Py_ssize_t od,
                             Py_ssize_t oh) noexcept nogil:
    """Maxima with their flat positions in the plane: of equals the first, of NaNs the last, -1 without a tap."""
    cdef Py_ssize_t ow, z, k, i, iz, iy, ix, dz = job.p.dilation[0], dy = job.p.dilation[1], dx = job.p.dilation[2]
    cdef const real *row
    cdef real best, v
    cdef int64_t at
    if job.p.adaptive:
        dz = dy = dx = 1
    for ow in range(job.p.out[2]):
        best = LOWEST
        at = -1
        for z in range(job.count[0][od]):
            iz = job.first[0][od] + z * dz
            for k in range(job.count[1][oh]):
                iy = job.first[1][oh] + k * dy
                row = x + iz * job.xs[0] + iy * job.xs[1]
                for i in range(job.count[2][ow]):
                    ix = job.first[2][ow] + i * dx
                    v = row[ix * job.xs[2]]
                    if v > best or isnan_(v) or at < 0:
                        best = v
                        at = (iz * job.p.size[1] + iy) * job.p.size[2] + ix
        y[ow * job.ys[2]] = best
        index[ow] = at


cdef inline void best_taps(PoolJob *job, const real *x, Py_ssize_t od, Py_ssize_t oh, real *best) noexcept nogil:
    """best[ow] = the maximum of each window; the number of its tap follows in the next row, -1 where none is above the
    lowest. A spread row lies behind them."""
    cdef Py_ssize_t out = job.p.out[2], width = out + 2 * VL, ow = 0, z, k, i, at, tap = 0, s = job.p.stride[2]
    cdef Py_ssize_t d = job.p.dilation[2], n = out + ((job.p.kernel[2] - 1) * d) // s + 1
    cdef real *taps = best + width
    cdef real *spread = taps + width
    cdef const real *plane
    cdef vec b, t, lowest = set1(LOWEST), none = set_tap(-1)
    while ow < out:
        store(best + ow, lowest)
        store(taps + ow, none)
        ow += VL
    for z in range(job.count[0][od]):
        plane = x + (job.first[0][od] + z * job.p.dilation[0]) * job.xs[0]
        for k in range(job.count[1][oh]):
            spread_row(job, spread, plane + (job.first[1][oh] + k * job.p.dilation[1]) * job.xs[1], n, LOWEST)
            ow = 0
            while ow < out:
                b = load(best + ow)
                t = load(taps + ow)
                for i in range(job.p.kernel[2]):
                    at = i * d
                    max_tap(&b, &t, load(spread + at % s * n + at // s + ow), <ireal>(tap + i))
                store(best + ow, b)
                store(taps + ow, t)
                ow += VL
            tap += job.p.kernel[2]


cdef inline bint list_places(PoolJob *job, Py_ssize_t od, Py_ssize_t oh, Py_ssize_t *place) noexcept nogil:
    """Where each tap lies in the plane, without the column of its window; False for large windows."""
    cdef Py_ssize_t tap = 0, z, k, i, at
    if job.count[0][od] * job.count[1][oh] * job.p.kernel[2] > TAP_TABLE:
        return False
    for z in range(job.count[0][od]):
        for k in range(job.count[1][oh]):
            at = (((job.first[0][od] + z * job.p.dilation[0]) * job.p.size[1] + job.first[1][oh]
                   + k * job.p.dilation[1]) * job.p.size[2] - job.p.before[2])
            for i in range(job.p.kernel[2]):
                place[tap] = at + i * job.p.dilation[2]
                tap += 1
    return True


cdef inline Py_ssize_t place_of(PoolJob *job, Py_ssize_t od, Py_ssize_t oh, Py_ssize_t tap) noexcept nogil:
    """One of list_places."""
    cdef Py_ssize_t kw = job.p.kernel[2], kh = job.count[1][oh]
    cdef Py_ssize_t iz = job.first[0][od] + tap // kw // kh * job.p.dilation[0]
    cdef Py_ssize_t iy = job.first[1][oh] + tap // kw % kh * job.p.dilation[1]
    return (iz * job.p.size[1] + iy) * job.p.size[2] - job.p.before[2] + tap % kw * job.p.dilation[2]


cdef inline void tapped_row(PoolJob *job, const real *x, real *y, int64_t *index, Py_ssize_t od, Py_ssize_t oh,
                            real *space) noexcept nogil:
    """indexed_row on whole vectors: lanes carry the number of the best tap, positions follow at the end."""
    cdef Py_ssize_t out = job.p.out[2], width = out + 2 * VL, s = job.p.stride[2], ow, tap
    cdef Py_ssize_t n = out + ((job.p.kernel[2] - 1) * job.p.dilation[2]) // s + 1
    cdef const ireal *taps = <const ireal *>(space + width)
    cdef Py_ssize_t *place = <Py_ssize_t *>((<size_t>(space + 2 * width + s * n + 2 * VL) + 7) // 8 * 8)
    cdef bint listed = list_places(job, od, oh, place)
    best_taps(job, x, od, oh, space)
    for ow in range(out):
        tap = taps[ow]
        y[ow * job.ys[2]] = space[ow]
        if tap >= 0:
            index[ow] = (place[tap] if listed else place_of(job, od, oh, tap)) + ow * s
        elif job.count[0][od] == 0 or job.count[1][oh] == 0 or job.count[2][ow] == 0:
            index[ow] = -1
        else:
            # nothing above the lowest: the first valid tap
            index[ow] = (job.first[0][od] * job.p.size[1] + job.first[1][oh]) * job.p.size[2] + job.first[2][ow]
