# cython: cdivision=True
# The inputs of the kernel phases: panels of what the positions of a box read, or where that lies.
from cconv.kernels.box cimport Box
from cconv.kernels.gemm cimport Block, fill_panels
from cconv.kernels.groups cimport Work
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport NR, real
from cconv.kernels.slab cimport fill_box


cdef inline void gather_panels(Work *work) noexcept nogil:
    """Panels of single inputs a position, wherever they lie."""
    cdef ConvJob *job = work.job
    cdef Box *box = &work.box
    cdef Py_ssize_t q = 0, n, i, r, _c
    cdef Py_ssize_t at[64]
    cdef const real *x
    cdef real *to = work.panels
    while q < work.positions:
        n = min(<Py_ssize_t>NR, work.positions - q)
        for i in range(n):
            r = (q + i) // box.extent[2]
            at[i] = (q + i) % box.extent[2] * job.xs[2] + (box.start[1] + r % box.extent[1]) * job.xs[1]
            r = r // box.extent[1]
            at[i] += (box.start[0] + r % box.extent[0]) * job.xs[0] + r // box.extent[0] * job.xn
        x = box.x + work.c0 * job.xc + box.start[2] * job.xs[2]
        for _c in range(work.c1 - work.c0):
            for i in range(n):
                to[i] = x[at[i]]
            for i in range(n, NR):
                to[i] = 0
            x += job.xc
            to += NR
        q += NR


cdef inline bint runs_on(const ConvJob *job, const Box *box) noexcept nogil:
    """Whether the box's inputs are one run, where every position has a single one."""
    return (job.xs[2] == 1 and box.samples == 1 and (box.extent[1] == 1 or job.xs[1] == job.p.size[2])
            and (box.extent[0] == 1 or job.xs[0] == job.p.size[1] * job.p.size[2]))


cdef inline void list_inputs(const ConvJob *job, Py_ssize_t *input, bint panelled) noexcept nogil:
    """Where each input lies from the first of its channel, in the slab or a panel."""
    cdef Py_ssize_t z, y, x, n = 0
    for z in range(job.p.kernel[0]):
        for y in range(job.p.kernel[1]):
            for x in range(job.p.kernel[2]):
                input[n] = n * NR if panelled else (z * job.t.sd[0] * job.t.plane + y * job.t.sd[1] * job.t.row
                                                    + x * job.t.sd[2])
                n += 1


cdef inline void lay_inputs(Work *work, Py_ssize_t *input) noexcept nogil:
    """The inputs of one k block, to where the products read them; `input` is left as list_inputs() says."""
    cdef ConvJob *job = work.job
    cdef Box *box = &work.box
    cdef Box line
    cdef Block block
    cdef Py_ssize_t taps = job.p.kernel[0] * job.p.kernel[1] * job.p.kernel[2], c, n
    if job.t.in_place and not work.panelled:
        # few rows: the input serves as it is
        work.from_ = (box.x + work.c0 * job.xc + box.start[0] * job.xs[0] + box.start[1] * job.xs[1] + box.start[2])
        work.hop[0], work.hop[1], work.hop[2] = job.xs[0], job.xs[1], job.xc
        input[0] = 0
        return
    if job.t.in_place and not runs_on(job, box):
        gather_panels(work)
        input[0] = 0
        return
    block.off = work.off
    line = box[0]
    if job.t.in_place:
        block.slab = (box.x + work.c0 * job.xc + box.start[0] * job.xs[0] + box.start[1] * job.xs[1] + box.start[2])
        line.extent[0], line.extent[1], line.extent[2] = 1, 1, work.positions
        block.count = work.c1 - work.c0
        for c in range(block.count):
            block.off[c] = c * job.xc
    else:
        fill_box(job, box, work.slab, box.x, work.c0, work.c1)
        work.from_ = block.slab = work.slab
        work.hop[0], work.hop[1], work.hop[2] = job.t.plane, job.t.row, job.t.channel
        list_inputs(job, input, False)
        if not work.panelled:
            return
        block.count = 0
        for c in range(work.c1 - work.c0):
            for n in range(taps):
                block.off[block.count] = c * job.t.channel + input[n]
                block.count += 1
    fill_panels(job, &line, &block, work.panels)
    list_inputs(job, input, True)
