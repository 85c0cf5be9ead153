# cython: cdivision=True
# taps: straight from the input, a tap at a time, for slabs that would not fit the workspace even where
# only the rows that taps touch are gathered (100,000 dilated taps and more).
# Regions of an output row: outputs a <= ow < b read inside the input, those before and behind only under a padding
# mode.
from cconv.kernels.box cimport Box, taps_of
from cconv.kernels.job cimport PAD_ZEROS, ConvJob
from cconv.kernels.simd cimport real
from cconv.kernels.slab cimport source


cdef inline void add_tap(ConvJob *job, const real *row, real v, real *y, Py_ssize_t at) noexcept nogil:
    """y[ow] += v * row[ow*s + at] for one output row."""
    cdef Py_ssize_t s = job.p.stride[2], L = job.p.size[2], out = job.p.out[2], ow, i, a, b
    a = 0 if at >= 0 else min(out, (-at + s - 1) // s)
    b = 0 if at >= L else min(out, (L - at + s - 1) // s)
    if job.p.mode != PAD_ZEROS:
        for ow in range(a):
            i = source(at + ow * s, L, job.p.mode)
            y[ow * job.ys[2]] = y[ow * job.ys[2]] + v * row[i * job.xs[2]]
        for ow in range(max(a, b), out):
            i = source(at + ow * s, L, job.p.mode)
            y[ow * job.ys[2]] = y[ow * job.ys[2]] + v * row[i * job.xs[2]]
    for ow in range(a, b):
        y[ow * job.ys[2]] = y[ow * job.ys[2]] + v * row[(at + ow * s) * job.xs[2]]


cdef inline void taps_row(ConvJob *job, const Box *box, Py_ssize_t o) noexcept nogil:
    """The one output row of a box, of output channel o."""
    cdef Py_ssize_t c, z, k, iz, iy, t, r, kh = job.p.kernel[1], kw = job.p.kernel[2]
    cdef const real *w = box.w + o * job.p.C * taps_of(job)
    cdef real *y = box.y + o * job.yc + box.start[0] * job.ys[0] + box.start[1] * job.ys[1]
    for k in range(job.p.out[2]):
        y[k * job.ys[2]] = box.bias[o] if box.bias != NULL else <real>0
    for c in range(job.p.C):
        for z in range(job.p.kernel[0]):
            iz = source(box.start[0] * job.p.stride[0] - job.p.before[0] + z * job.p.dilation[0], job.p.size[0],
                        job.p.mode)
            for t in range(kh * kw):
                r, k = (t % kh, t // kh) if job.t.kw_first else (t // kw, t % kw)
                iy = source(box.start[1] * job.p.stride[1] - job.p.before[1] + r * job.p.dilation[1], job.p.size[1],
                            job.p.mode)
                if iz >= 0 and iy >= 0:
                    add_tap(job, box.x + c * job.xc + iz * job.xs[0] + iy * job.xs[1], w[(z * kh + r) * kw + k], y,
                            k * job.p.dilation[2] - job.p.before[2])
        w += taps_of(job)
