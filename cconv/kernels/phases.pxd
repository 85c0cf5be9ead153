# cython: cdivision=True
# phases: the stride-1 convolutions that a transposed convolution of stride s consists of along W. Each is summed by
# gemm side by side, to dense[r][o, :], and their columns are written as one: y[j*s + r] = dense[r][j].
from libc.string cimport memset

from cconv.kernels.box cimport Box
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport MR, VL, load, real, store2, store4
from cconv.kernels.tile cimport tile_row


cdef struct Sums:
    # of each phase: where they lie, and how many columns it has of the box
    real *at[8]
    Py_ssize_t length[8]


cdef inline Py_ssize_t split_start(const ConvJob *job, Py_ssize_t split) noexcept nogil:
    """First output channel of a split."""
    cdef Py_ssize_t tiles = (job.p.O + MR - 1) // MR
    return tile_row(job.p.O, tiles, tiles * split // job.o_splits)


cdef inline void merge_row(real *y, Py_ssize_t step, real **row, const Py_ssize_t *length, int s) noexcept nogil:
    """y[(j*s + r) * step] = row[r][j]: the columns of s phases, of which the first are as long as the longest."""
    cdef Py_ssize_t j = 0, n = length[s - 1]
    cdef int r
    cdef real half[2 * 4 * 16]
    if step == 1 and s == 2:
        while j + VL <= n:
            store2(y + 2 * j, load(row[0] + j), load(row[1] + j))
            j += VL
    elif step == 1 and s == 4:
        while j + VL <= n:
            store4(y + 4 * j, load(row[0] + j), load(row[1] + j), load(row[2] + j), load(row[3] + j))
            j += VL
    elif step == 1 and s == 8:
        while j + VL <= n:
            store4(half, load(row[0] + j), load(row[2] + j), load(row[4] + j), load(row[6] + j))
            store4(half + 4 * VL, load(row[1] + j), load(row[3] + j), load(row[5] + j), load(row[7] + j))
            for r in range(4):
                store2(y + 8 * j + 2 * r * VL, load(half + r * VL), load(half + (4 + r) * VL))
            j += VL
    for r in range(s):
        for n in range(j, length[r]):
            y[(n * s + r) * step] = row[r][n]


cdef inline void merge_phases(ConvJob *job, const Box *box, const Sums *sums) noexcept nogil:
    """The sums of every phase into y; the extent of a box is the same in D and H for all."""
    cdef Py_ssize_t o, z, y
    cdef int r, s = job.t.phases
    cdef real *row[8]
    cdef real *to
    for o in range(split_start(job, box.split), split_start(job, box.split + 1)):
        for z in range(box.extent[0]):
            for y in range(box.extent[1]):
                to = (box.y + o * job.yc + (box.start[0] + z) * job.ys[0] + (box.start[1] + y) * job.ys[1]
                      + box.start[2] * job.ys[2])
                for r in range(s):
                    row[r] = sums.at[r] + o * job.t.dense + (z * box.extent[1] + y) * sums.length[r]
                merge_row(to, job.ys[2] // s, row, sums.length, s)


cdef inline bint tapless(const ConvJob *job) noexcept nogil:
    """Whether no phase has a tap."""
    cdef int r
    for r in range(job.t.phases):
        if job[r].p.kernel[2]:
            return False
    return True


cdef inline void fill_bias(ConvJob *job, const Box *box) noexcept nogil:
    """A box where no phase has a tap: whole rows of the bias, or of zeros."""
    cdef Py_ssize_t o, z, y, x, width = 0, step = job.ys[2] // job.t.phases, r
    cdef real value
    cdef real *to
    for r in range(job.t.phases):
        width += max(<Py_ssize_t>0, min(job.t.box[2], job[r].p.out[2] - box.start[2]))
    for o in range(split_start(job, box.split), split_start(job, box.split + 1)):
        value = box.bias[o] if box.bias != NULL else <real>0
        for z in range(box.start[0], box.start[0] + box.extent[0]):
            for y in range(box.start[1], box.start[1] + box.extent[1]):
                to = box.y + o * job.yc + z * job.ys[0] + y * job.ys[1] + box.start[2] * job.ys[2]
                if value == 0 and step == 1:
                    memset(to, 0, width * sizeof(real))
                    continue
                for x in range(width):
                    to[x * step] = value
