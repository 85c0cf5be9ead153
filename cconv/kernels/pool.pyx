# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Pooling kernels of one element type and one instruction set.

    y[n, c, od, oh, ow] = op over kd, kh, kw of x[n, c, od*s - p + kd*d, oh*s - p + kh*d, ow*s - p + kw*d]

Letters: (D, H, W) space, k kernel, s stride, d dilation, p padding; op is the maximum, the sum or the average.
Padding never takes part: it is the op's identity (-inf, 0).

  pool        One item is a block of output rows and depths of one plane. Rows along W, down and deep (band.pxd); large
              windows by doubling (across.pxd, doubled.pxd).
  pool_lanes  The same of VL planes side by side (beside.pxd): for short rows.
  pool_runs   Windows that hardly overlap, in long runs: global pools (runs.pxd).

Rows before columns before depths keeps torch's order of visits, so ties (-0.0 and 0.0) and NaN come out alike.
Windows with an index carry the number of their best tap in a second vector (tapped.pxd), or its position (lanes).
Those of varying size (adaptive) are walked one by one over their valid taps.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t
from libc.string cimport memset

from cconv.kernels.band cimport Band, block_depth, find_rows, list_widths, reaches_deep, unkept_depth
from cconv.kernels.doubled cimport doubled_band
from cconv.kernels.items cimport lines, up
from cconv.kernels.job cimport POOL_MAX, KernelTable, PoolJob
from cconv.kernels.beside cimport gathered_rows, give_places, give_rows
from cconv.kernels.runs cimport runs_item, summed_rows
from cconv.kernels.simd cimport MR, VL, real
from cconv.kernels.tapped cimport TAP_TABLE, indexed_row, tapped_row


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING


# ---------------------------------------------------------------- the workspace

cdef Py_ssize_t reached(const PoolJob *job, int axis, Py_ssize_t outs) noexcept nogil:
    """The most inputs that `outs` neighbouring windows of an axis reach."""
    cdef Py_ssize_t L = job.p.size[axis], out = job.p.out[axis]
    if job.p.adaptive:
        return min(L, up(outs * L, max(<Py_ssize_t>1, out)) + 1)
    return max(<Py_ssize_t>1, min(L, (outs - 1) * job.p.stride[axis]
                                  + (job.p.kernel[axis] - 1) * job.p.dilation[axis] + 1))


cdef Py_ssize_t spread_length(const PoolJob *job) noexcept nogil:
    """Elements of a row between identities, de-interleaved by the stride."""
    if job.p.adaptive:
        return 0
    return job.p.stride[2] * (job.p.out[2] + (job.p.kernel[2] - 1) * job.p.dilation[2] // job.p.stride[2] + 1)


cdef Py_ssize_t lay_band(PoolJob *job, Band *s, const bint lanes, char *workspace) noexcept nogil:
    """Lays out the workspace, in whole cache lines of each part; returns its bytes. `workspace` may be NULL."""
    cdef Py_ssize_t n = job.p.out[2], rows = job.t.rows, spread, kept = 1, levels = 0, results = 0, at = 0
    if lanes:
        s.n = n * VL
        s.width = 2 * s.n if job.indexed else s.n
        spread = (gathered_rows(job) * job.p.size[2] + VL) * VL
        results = rows * s.width + VL * VL
    else:
        s.n = n
        s.width = n + 2 * VL
        spread = spread_length(job) + 2 * VL
    if job.t.doubled[1]:
        # whole windows, padding included, and the sums beside them
        kept = (rows - 1) * job.p.stride[1] + (job.p.kernel[1] - 1) * job.p.dilation[1] + 1 + rows
    elif job.t.kept:
        kept = reached(job, 1, rows)
        if reaches_deep(job):
            levels = reached(job, 0, job.t.depths)
    s.acc = <real *>(workspace + at)
    at += lines(s.width * sizeof(real))
    s.widths = <real *>(workspace + at)
    at += lines(s.width * sizeof(real))
    s.spread = <real *>(workspace + at)
    at += lines(spread * sizeof(real))
    s.rows = <real *>(workspace + at)
    at += lines((kept * s.width + 2 * VL) * sizeof(real))
    s.levels = <real *>(workspace + at)
    at += lines((levels * rows * s.width + 2 * VL) * sizeof(real))
    s.result = <real *>(workspace + at)
    at += lines(results * sizeof(real))
    s.done = workspace + at
    return at + lines(levels)


# ---------------------------------------------------------------- items

cdef void rows_max(PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    block_depth(True, False, False, job, s, od)


cdef void rows_sum(PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    block_depth(False, False, False, job, s, od)


cdef void doubled_max(PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    doubled_band(True, job, s, od)


cdef void doubled_sum(PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    doubled_band(False, job, s, od)


cdef void unkept_max(PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    unkept_depth(True, job, s, od)


cdef void unkept_sum(PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    unkept_depth(False, job, s, od)


cdef void lanes_max(PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    block_depth(True, True, False, job, s, od)


cdef void lanes_sum(PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    block_depth(False, True, False, job, s, od)


cdef void lanes_indexed(PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    block_depth(True, True, True, job, s, od)


cdef void pool_indexed(PoolJob *job, const Band *s, Py_ssize_t plane) noexcept nogil:
    """Rows of maxima with their positions."""
    cdef Py_ssize_t od, oh, i, base = plane % job.p.lead * job.p.size[0] * job.p.size[1] * job.p.size[2]
    cdef int64_t *index
    cdef real *y
    for od in range(s.od0, s.od1):
        for oh in range(s.oh0, s.oh1):
            index = <int64_t *>job.index + ((plane * job.p.out[0] + od) * job.p.out[1] + oh) * job.p.out[2]
            y = s.y + od * job.ys[0] + oh * job.ys[1]
            if job.t.tapped:
                tapped_row(job, s.x, y, index, od, oh, s.acc)
            else:
                indexed_row(job, s.x, y, index, od, oh)
            if base:
                for i in range(job.p.out[2]):
                    index[i] += base if index[i] >= 0 else 0


cdef Py_ssize_t aim_band(PoolJob *job, Band *s, Py_ssize_t item) noexcept nogil:
    """Item = (plane or VL planes, block of od, block of oh), the last fastest; returns the first."""
    cdef Py_ssize_t deep = up(job.p.out[0], job.t.depths)
    s.oh0 = item % job.t.blocks * job.t.rows
    s.oh1 = min(s.oh0 + job.t.rows, job.p.out[1])
    item //= job.t.blocks
    s.od0 = item % deep * job.t.depths
    s.od1 = min(s.od0 + job.t.depths, job.p.out[0])
    find_rows(job, s)
    return item // deep


cdef const real *plane_of(const PoolJob *job, Py_ssize_t plane) noexcept nogil:
    return <const real *>job.x + plane // job.p.C * job.xn + plane % job.p.C * job.xc


cdef real *result_of(const PoolJob *job, Py_ssize_t plane) noexcept nogil:
    return <real *>job.y + plane // job.p.C * job.yn + plane % job.p.C * job.yc


cdef void pool_item(void *pool_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef PoolJob *job = <PoolJob *>pool_job
    cdef Band s
    cdef Py_ssize_t plane = aim_band(job, &s, item), od
    cdef Py_ssize_t size = lay_band(job, &s, False, workspace)
    s.x, s.y = plane_of(job, plane), result_of(job, plane)
    if job.indexed:
        pool_indexed(job, &s, plane)
        return
    memset(s.done, 0, workspace + size - s.done)
    list_widths(job, &s, 1)
    for od in range(s.od0, s.od1):
        if job.t.doubled[1] and job.op == POOL_MAX: doubled_max(job, &s, od)
        elif job.t.doubled[1]: doubled_sum(job, &s, od)
        elif not job.t.kept and job.op == POOL_MAX: unkept_max(job, &s, od)
        elif not job.t.kept: unkept_sum(job, &s, od)
        elif job.op == POOL_MAX: rows_max(job, &s, od)
        else: rows_sum(job, &s, od)


cdef void lanes_item(void *pool_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef PoolJob *job = <PoolJob *>pool_job
    cdef Band s
    cdef Py_ssize_t plane = aim_band(job, &s, item) * VL, od
    cdef Py_ssize_t size = lay_band(job, &s, True, workspace)
    cdef int l
    s.lanes = <int>min(<Py_ssize_t>VL, job.p.N * job.p.C - plane)
    for l in range(VL):
        # lanes without a plane read the last one's
        s.xs[l] = plane_of(job, plane + min(l, s.lanes - 1))
        s.ys[l] = result_of(job, plane + min(l, s.lanes - 1))
    memset(s.done, 0, workspace + size - s.done)
    list_widths(job, &s, VL)
    for od in range(s.od0, s.od1):
        if job.indexed: lanes_indexed(job, &s, od)
        elif job.op == POOL_MAX: lanes_max(job, &s, od)
        else: lanes_sum(job, &s, od)
        give_rows(job, s.ys, s.result, s.width, s.lanes, od, s.oh0, s.oh1 - s.oh0)
        if job.indexed:
            give_places(job, s.result + s.n, s.width, s.lanes, plane, od * job.p.out[1] + s.oh0, s.oh1 - s.oh0)


cdef void pool_runs_item(void *pool_job, Py_ssize_t item, char *workspace) noexcept nogil:
    runs_item(<PoolJob *>pool_job, item, <real *>workspace)


# ---------------------------------------------------------------- tables

cdef Py_ssize_t pool_items(void *pool_job) noexcept nogil:
    cdef PoolJob *job = <PoolJob *>pool_job
    return job.p.N * job.p.C * up(job.p.out[0], job.t.depths) * job.t.blocks


cdef Py_ssize_t lanes_items(void *pool_job) noexcept nogil:
    cdef PoolJob *job = <PoolJob *>pool_job
    return up(job.p.N * job.p.C, VL) * up(job.p.out[0], job.t.depths) * job.t.blocks


cdef Py_ssize_t runs_items(void *pool_job) noexcept nogil:
    cdef PoolJob *job = <PoolJob *>pool_job
    return up(job.p.N * job.p.C * job.p.out[0] * job.p.out[1] * job.p.out[2], job.t.rows)


cdef void lay_out_pool(void *pool_job) noexcept nogil:
    """A row, the divisors, an input row, the reduced rows, and those of each depth."""
    cdef PoolJob *job = <PoolJob *>pool_job
    cdef Py_ssize_t width = job.p.out[2] + 2 * VL
    cdef Band s
    if job.indexed:
        # or where each tap lies
        job.workspace_bytes = lines((2 * width + spread_length(job) + 4 * VL) * <Py_ssize_t>sizeof(real) + 64
                                    + TAP_TABLE * sizeof(Py_ssize_t)) if job.t.tapped else 0
        return
    job.workspace_bytes = lay_band(job, &s, False, NULL)


cdef void lay_out_lanes(void *pool_job) noexcept nogil:
    """The divisors, input rows, reduced rows and results of VL planes."""
    cdef PoolJob *job = <PoolJob *>pool_job
    cdef Band s
    job.workspace_bytes = lay_band(job, &s, True, NULL)


cdef void lay_out_runs(void *pool_job) noexcept nogil:
    """Rows that are summed."""
    cdef PoolJob *job = <PoolJob *>pool_job
    job.workspace_bytes = 0
    if job.t.kept:
        job.workspace_bytes = lines(summed_rows(job) * (job.p.size[2] + VL) * sizeof(real))


cdef void fill_table(KernelTable *table) noexcept:
    """What all three share."""
    table.lanes = VL
    table.tile_rows = MR
    table.packed_size = NULL
    table.pack_items = table.reduce_items = NULL
    table.pack_item = table.reduce_item = NULL
    table.grain = 1e5
    table.chunk = 4
    table.refill = 0
    table.split_least = 0


cdef KernelTable POOL, LANES, RUNS
fill_table(&POOL)
POOL.name = "pool"
POOL.run_item = pool_item
POOL.items = pool_items
POOL.lay_out = lay_out_pool
fill_table(&LANES)
LANES.name = "pool_lanes"
LANES.run_item = lanes_item
LANES.items = lanes_items
LANES.lay_out = lay_out_lanes
LANES.chunk = 1
fill_table(&RUNS)
RUNS.name = "pool_runs"
RUNS.run_item = pool_runs_item
RUNS.items = runs_items
RUNS.lay_out = lay_out_runs
RUNS.chunk = 1

tables = {
    "pool": PyCapsule_New(&POOL, "cconv.kernel", NULL),
    "pool_lanes": PyCapsule_New(&LANES, "cconv.kernel", NULL),
    "pool_runs": PyCapsule_New(&RUNS, "cconv.kernel", NULL),
}
stamp = CCONV_STAMP_STRING.decode()
