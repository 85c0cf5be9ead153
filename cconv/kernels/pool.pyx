# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Pooling kernel of one element type and one instruction set.

    y[n, c, od, oh, ow] = op over kd, kh, kw of x[n, c, od*s - p + kd*d, oh*s - p + kh*d, ow*s - p + kw*d]

Letters: (D, H, W) space, k kernel, s stride, d dilation, p padding; op is the maximum, the sum or the average.
Padding never takes part: it is the op's identity (-inf, 0).

One item is a block of output rows of one plane and depth. Windows are separable:
  1. across: every input row that the block reads is reduced along W into a row of `ow` values (across.pxd);
  2. down: each output row reduces the kd * kh reduced rows of its window.
Large windows are reduced by doubling, along H as along W: about log2(k) + 1 vector operations a value instead of k.
(The running scheme of van Herk, 1992, and Gil and Werman, 1993, needs three, but scalar ones along a row.) There is
no subtraction: inf and NaN stay in the windows that hold them.
Rows before columns keeps torch's order of visits, so ties (-0.0 and 0.0) and NaN come out alike.
Windows with an index carry the number of their best tap in a second vector (tapped.pxd). Those of varying size
(adaptive) are walked one by one over their valid taps.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t

from cconv.kernels.across cimport across, down, merge
from cconv.kernels.extrema cimport LOWEST, max_nan
from cconv.kernels.items cimport lines, up
from cconv.kernels.job cimport POOL_AVERAGE, POOL_MAX, KernelTable, PoolJob
from cconv.kernels.simd cimport MR, VL, load, real, set1, store, vec
from cconv.kernels.tapped cimport TAP_TABLE, indexed_row, tapped_row


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING


cdef struct Band:
    # output rows oh0..oh1 at depth od of one plane
    Py_ssize_t od, oh0, oh1
    const real *x                   # both of the plane
    real *y
    # the workspace, in rows of `width` elements
    Py_ssize_t width
    real *acc                       # one row
    real *widths                    # the divisor's factors along W
    real *spread                    # an input row between identities
    real *rows                      # reduced rows


# ---------------------------------------------------------------- rows

cdef inline void across_rows(const bint maximum, PoolJob *job, const Band *band, real *to, const real *x,
                             Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t width = band.width, step = job.xs[1], r
    cdef real *spread = band.spread
    for r in range(count):
        across(maximum, job, to + r * width, x + r * step, spread)


cdef void across_max(PoolJob *job, const Band *band, real *to, const real *x, Py_ssize_t count) noexcept nogil:
    across_rows(True, job, band, to, x, count)


cdef void across_sum(PoolJob *job, const Band *band, real *to, const real *x, Py_ssize_t count) noexcept nogil:
    across_rows(False, job, band, to, x, count)


cdef inline void reduce_rows(const bint maximum, PoolJob *job, const Band *band, real *to, Py_ssize_t iz, Py_ssize_t iy,
                             Py_ssize_t count) noexcept nogil:
    """So many input rows across. Each form is compiled once, out of line."""
    cdef const real *x = band.x + iz * job.xs[0] + iy * job.xs[1]
    if maximum:
        across_max(job, band, to, x, count)
    else:
        across_sum(job, band, to, x, count)


cdef inline void fill_identity(const bint maximum, real *to, Py_ssize_t n) noexcept nogil:
    """Rows have slack for whole vectors."""
    cdef Py_ssize_t i = 0
    cdef vec v = set1(LOWEST if maximum else <real>0)
    while i < n:
        store(to + i, v)
        i += VL


cdef inline real divisor_of(PoolJob *job, Py_ssize_t od, Py_ssize_t oh) noexcept nogil:
    """The divisor's factor along D and H, or all of it."""
    return <real>job.divide if job.divide != 0 else <real>(job.divisor[0][od] * job.divisor[1][oh])


cdef void list_widths(PoolJob *job, const Band *s) noexcept nogil:
    cdef Py_ssize_t ow
    if job.op == POOL_AVERAGE:
        for ow in range(s.width):
            s.widths[ow] = <real>job.divisor[2][ow] if ow < job.p.out[2] and job.divide == 0 else <real>1


cdef void finish_row(PoolJob *job, const Band *s, real *acc, Py_ssize_t oh) noexcept nogil:
    """acc -> y, divided for averages."""
    cdef Py_ssize_t x = 0, ow = job.p.out[2]
    cdef real *y = s.y + s.od * job.ys[0] + oh * job.ys[1]
    cdef const real *widths = s.widths
    cdef vec part
    if job.op == POOL_AVERAGE:
        part = set1(divisor_of(job, s.od, oh))
        while x < ow:
            store(acc + x, load(acc + x) / (part * load(widths + x)))
            x += VL
        x = 0
    if job.ys[2] == 1:
        while x + VL <= ow:
            store(y + x, load(acc + x))
            x += VL
    while x < ow:
        y[x * job.ys[2]] = acc[x]
        x += 1


# ---------------------------------------------------------------- blocks

cdef inline void down_few(const bint maximum, const int rows, PoolJob *job, const Band *s, const real *row,
                          Py_ssize_t step, Py_ssize_t oh) noexcept nogil:
    """Two or three reduced rows, `step` apart, into y at once, divided for averages."""
    cdef Py_ssize_t x = 0, i, out = job.p.out[2]
    cdef vec v, part = set1(divisor_of(job, s.od, oh))
    cdef bint average = job.op == POOL_AVERAGE
    cdef const real *widths = s.widths
    cdef real buf[64]
    cdef real *y = s.y + s.od * job.ys[0] + oh * job.ys[1]
    while x < out:
        v = load(row + x)
        v = max_nan(v, load(row + step + x)) if maximum else v + load(row + step + x)
        if rows == 3:
            v = max_nan(v, load(row + 2 * step + x)) if maximum else v + load(row + 2 * step + x)
        if not maximum and average:
            v = v / (part * load(widths + x))
        if x + VL <= out:
            store(y + x, v)
        else:
            store(buf, v)
            for i in range(out - x):
                y[x + i] = buf[i]
        x += VL


cdef inline void down_row(const bint maximum, PoolJob *job, const Band *s, Py_ssize_t lo, Py_ssize_t hi,
                          Py_ssize_t oh) noexcept nogil:
    """Output row oh from rows lo..hi of each depth, which are kept (else reduced here)."""
    cdef Py_ssize_t z, k, iz, iy, dz = 1 if job.p.adaptive else job.p.dilation[0]
    cdef Py_ssize_t dy = 1 if job.p.adaptive else job.p.dilation[1]
    cdef real *row
    cdef bint first = True
    for z in range(job.count[0][s.od]):
        iz = job.first[0][s.od] + z * dz
        for k in range(job.count[1][oh]):
            iy = job.first[1][oh] + k * dy
            if job.t.kept:
                row = s.rows + (z * (hi - lo) + iy - lo) * s.width
            else:
                row = s.rows
                reduce_rows(maximum, job, s, row, iz, iy, 1)
            down(maximum, s.acc, row, job.p.out[2], first)
            first = False
    if first:
        fill_identity(maximum, s.acc, job.p.out[2])
    finish_row(job, s, s.acc, oh)


cdef inline void plain_band(const bint maximum, PoolJob *job, const Band *s) noexcept nogil:
    """Reduced rows of all depths of the window are computed once, unless they are too many to keep."""
    cdef Py_ssize_t oh, k, z, dz = 1 if job.p.adaptive else job.p.dilation[0], lo = job.p.size[1], hi = 0
    cdef Py_ssize_t dy = 1 if job.p.adaptive else job.p.dilation[1]
    cdef real *row
    for oh in range(s.oh0, s.oh1):
        if job.count[1][oh]:
            lo = min(lo, job.first[1][oh])
            hi = max(hi, job.first[1][oh] + (job.count[1][oh] - 1) * dy + 1)
    if job.t.kept:
        for z in range(job.count[0][s.od]):
            reduce_rows(maximum, job, s, s.rows + z * (hi - lo) * s.width, job.first[0][s.od] + z * dz, lo, hi - lo)
    for oh in range(s.oh0, s.oh1):
        k = job.count[1][oh]
        if job.t.kept and job.count[0][s.od] == 1 and 2 <= k <= 3 and job.ys[2] == 1:
            row = s.rows + (job.first[1][oh] - lo) * s.width
            if k == 3:
                down_few(maximum, 3, job, s, row, dy * s.width, oh)
            else:
                down_few(maximum, 2, job, s, row, dy * s.width, oh)
        else:
            down_row(maximum, job, s, lo, hi, oh)


cdef inline bint double_down(const bint maximum, PoolJob *job, const Band *s, real *rows, Py_ssize_t count,
                             bint first) noexcept nogil:
    """Adds the windows along H of one depth, of `count` rows, to the sums in s.rows; whether none are there still."""
    cdef Py_ssize_t d = job.p.dilation[1], k = job.p.kernel[1], n = s.oh1 - s.oh0, width = s.width, out = job.p.out[2]
    cdef Py_ssize_t step = job.p.stride[1] * width, m = 1, at = 0, oh, iy
    cdef real *acc = s.rows
    while True:
        if not maximum and k & m:
            for oh in range(n):
                down(False, acc + oh * width, rows + oh * step + at * d * width, out, first)
            first = False
            at += m
        if 2 * m > k:
            break
        count -= m * d
        for iy in range(count):
            merge(maximum, rows + iy * width, rows + iy * width, rows + (iy + m * d) * width, out)
        m *= 2
    if maximum:
        for oh in range(n):
            if not first:
                down(True, acc + oh * width, rows + oh * step, out, False)
                down(True, acc + oh * width, rows + oh * step + (k - m) * d * width, out, False)
            else:
                merge(True, acc + oh * width, rows + oh * step, rows + oh * step + (k - m) * d * width, out)
        first = False
    return first


cdef inline void doubled_band(const bint maximum, PoolJob *job, const Band *s) noexcept nogil:
    """The windows along H by doubling: every row from the first window's start, padding as identities."""
    cdef Py_ssize_t n = s.oh1 - s.oh0, lo = s.oh0 * job.p.stride[1] - job.p.before[1], oh, r, z, iz
    cdef Py_ssize_t count = (n - 1) * job.p.stride[1] + (job.p.kernel[1] - 1) * job.p.dilation[1] + 1
    # rows a..b of them lie inside the input
    cdef Py_ssize_t a = min(count, max(<Py_ssize_t>0, -lo)), b = max(a, min(count, job.p.size[1] - lo))
    cdef real *rows = s.rows + n * s.width  # behind the sums
    cdef bint first = True
    for z in range(job.count[0][s.od]):
        iz = job.first[0][s.od] + z * job.p.dilation[0]
        for r in range(count):
            if not a <= r < b:
                fill_identity(maximum, rows + r * s.width, job.p.out[2])
        reduce_rows(maximum, job, s, rows + a * s.width, iz, lo + a, b - a)
        first = double_down(maximum, job, s, rows, count, first)
    for oh in range(n):
        if first:
            fill_identity(maximum, s.rows + oh * s.width, job.p.out[2])
        finish_row(job, s, s.rows + oh * s.width, s.oh0 + oh)


# ---------------------------------------------------------------- items

cdef inline Py_ssize_t spread_length(const PoolJob *job) noexcept nogil:
    """Elements of a row between identities, de-interleaved by the stride."""
    if job.p.adaptive:
        return 0
    return job.p.stride[2] * (job.p.out[2] + (job.p.kernel[2] - 1) * job.p.dilation[2] // job.p.stride[2] + 1)


cdef void pool_indexed(PoolJob *job, const Band *s, Py_ssize_t plane) noexcept nogil:
    cdef Py_ssize_t oh
    cdef int64_t *index
    cdef real *y
    for oh in range(s.oh0, s.oh1):
        index = <int64_t *>job.index + ((plane * job.p.out[0] + s.od) * job.p.out[1] + oh) * job.p.out[2]
        y = s.y + s.od * job.ys[0] + oh * job.ys[1]
        if job.t.tapped:
            tapped_row(job, s.x, y, index, s.od, oh, s.acc)
        else:
            indexed_row(job, s.x, y, index, s.od, oh)


cdef void pool_item(void *pool_job, Py_ssize_t item, char *workspace) noexcept nogil:
    """Item = (plane, od, block of oh), the last fastest."""
    cdef PoolJob *job = <PoolJob *>pool_job
    cdef Py_ssize_t plane = item // (job.t.blocks * job.p.out[0])
    cdef Band s
    s.od = item // job.t.blocks % job.p.out[0]
    s.oh0 = item % job.t.blocks * job.t.rows
    s.oh1 = min(s.oh0 + job.t.rows, job.p.out[1])
    s.x = <const real *>job.x + plane // job.p.C * job.xn + plane % job.p.C * job.xc
    s.y = <real *>job.y + plane // job.p.C * job.yn + plane % job.p.C * job.yc
    s.width = job.p.out[2] + 2 * VL
    s.acc = <real *>workspace
    s.widths = s.acc + s.width
    s.spread = s.widths + s.width
    s.rows = s.spread + spread_length(job) + 2 * VL
    if job.indexed:
        pool_indexed(job, &s, plane)
        return
    list_widths(job, &s)
    if job.t.doubled[1] and job.op == POOL_MAX: doubled_band(True, job, &s)
    elif job.t.doubled[1]: doubled_band(False, job, &s)
    elif job.op == POOL_MAX: plain_band(True, job, &s)
    else: plain_band(False, job, &s)


cdef Py_ssize_t pool_items(void *pool_job) noexcept nogil:
    cdef PoolJob *job = <PoolJob *>pool_job
    return job.p.N * job.p.C * job.p.out[0] * job.t.blocks


cdef Py_ssize_t rows_reached(PoolJob *job, int axis, Py_ssize_t rows) noexcept nogil:
    """The most input rows that `rows` neighbouring windows of an axis reach."""
    cdef Py_ssize_t L = job.p.size[axis], out = job.p.out[axis]
    if job.p.adaptive:
        return min(L, up(rows * L, max(<Py_ssize_t>1, out)) + 1)
    return max(<Py_ssize_t>1, min(L, (rows - 1) * job.p.stride[axis]
                                  + (job.p.kernel[axis] - 1) * job.p.dilation[axis] + 1))


cdef void lay_out_pool(void *pool_job) noexcept nogil:
    """A row of sums, the divisors, a spread row, and the reduced rows or where each tap lies."""
    cdef PoolJob *job = <PoolJob *>pool_job
    cdef Py_ssize_t width = job.p.out[2] + 2 * VL, rows = 1
    cdef Py_ssize_t fixed = (2 * width + spread_length(job) + 4 * VL) * <Py_ssize_t>sizeof(real) + 64
    if job.indexed:
        job.workspace_bytes = lines(fixed + TAP_TABLE * sizeof(Py_ssize_t)) if job.t.tapped else 0
        return
    if job.t.doubled[1]:
        # whole windows, padding included, and the sums beside them
        rows = (job.t.rows - 1) * job.p.stride[1] + (job.p.kernel[1] - 1) * job.p.dilation[1] + 1 + job.t.rows
    elif job.t.kept:
        rows = rows_reached(job, 0, 1) * rows_reached(job, 1, job.t.rows)
    job.workspace_bytes = lines(fixed + rows * width * sizeof(real))


# ---------------------------------------------------------------- table

cdef KernelTable POOL
POOL.name = "pool"
POOL.lanes = VL
POOL.tile_rows = MR
POOL.run_item = pool_item
POOL.items = pool_items
POOL.lay_out = lay_out_pool
POOL.packed_size = NULL
POOL.pack_items = POOL.reduce_items = NULL
POOL.pack_item = POOL.reduce_item = NULL
POOL.grain = 1e5
POOL.chunk = 4
POOL.refill = 0
POOL.split_least = 0

tables = {"pool": PyCapsule_New(&POOL, "cconv.kernel", NULL)}
stamp = CCONV_STAMP_STRING.decode()
