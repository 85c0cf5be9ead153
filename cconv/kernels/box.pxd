# cython: cdivision=True
# An item of a convolution: a box of output positions of one group, of one sample or a few.
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport real


cdef struct Box:
    Py_ssize_t n, g                 # first sample, group
    Py_ssize_t samples
    Py_ssize_t split                # which part of the output channels
    Py_ssize_t start[3]
    Py_ssize_t extent[3]
    const real *x                   # of the sample and the group
    const real *w
    const real *bias                # or NULL
    real *y


cdef inline Py_ssize_t taps_of(const ConvJob *job) noexcept nogil:
    return job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2]


cdef inline void aim_box(const ConvJob *job, Box *box) noexcept nogil:
    """Extent and pointers of a box whose sample, group and start are known."""
    cdef Py_ssize_t a
    for a in range(3):
        box.extent[a] = min(job.t.box[a], job.p.out[a] - box.start[a])
    box.samples = min(job.t.samples, job.p.N - box.n)
    box.x = <const real *>job.x + box.n * job.xn + box.g * job.p.C * job.xc
    box.w = <const real *>job.w + box.g * job.p.O * job.p.C * taps_of(job)
    box.bias = <const real *>job.bias + box.g * job.p.O if job.bias != NULL else NULL
    box.y = <real *>job.y + box.n * job.yn + box.g * job.p.O * job.yc


cdef inline void find_box(const ConvJob *job, Py_ssize_t item, Box *box) noexcept nogil:
    """Item = (block of samples, group, box in D, H, W, split of the output channels), the last fastest."""
    cdef Py_ssize_t a, rest = item // job.o_splits
    box.split = item % job.o_splits
    for a in range(3):
        box.start[2 - a] = rest % job.t.boxes[2 - a] * job.t.box[2 - a]
        rest = rest // job.t.boxes[2 - a]
    box.g = rest % job.p.G
    box.n = rest // job.p.G * job.t.samples
    aim_box(job, box)
