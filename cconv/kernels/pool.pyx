# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Pooling kernels of one element type and one instruction set.

    y[n, c, od, oh, ow] = op over kd, kh, kw of x[n, c, od*s - p + kd*d, oh*s - p + kh*d, ow*s - p + kw*d]

Letters: (D, H, W) space, k kernel, s stride, d dilation, p padding; op is the maximum, the sum or the average.
Padding never takes part: it is the op's identity (-inf, 0).

One item is a block of output rows of one plane and depth. Windows are separable:
  1. across: every input row that the block reads is reduced along W into a row of `ow` values (edges: the row is
     copied between identities first, de-interleaved by the stride, so that the interior loop has no bounds to test);
  2. down: each output row reduces the kd * kh reduced rows of its window.
Large windows are reduced by doubling: with S_1 = x and S_2m[i] = op(S_m[i], S_m[i + m]), in place, a maximum over k is
op(S_m[i], S_m[i + k - m]) for the largest power m of two up to k, and a sum adds S_m at one offset for each bit m of k:
about log2(k) + 1 vector operations a value instead of k. (The running scheme of van Herk, 1992, and Gil and Werman,
1993, needs three, but scalar ones along a row.) There is no subtraction: inf and NaN stay in the windows that hold
them.
Rows before columns keeps torch's order of visits, so ties (-0.0 and 0.0) and NaN come out alike.
Windows with an index carry the number of their best tap in a second vector (tapped_row). Those of varying size
(adaptive) are walked one by one over their valid taps.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t

from cconv.kernels.items cimport Team, lines, run_items, up
from cconv.kernels.job cimport POOL_AVERAGE, POOL_MAX, KernelTable, PoolJob
from cconv.kernels.spread cimport spread_row
from cconv.kernels.tile cimport MR, VL, load, load2, real, set1, store, vec


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

cdef extern from "simd.h" nogil:
    const real LOWEST "CCONV_LOWEST"
    vec max_nan(vec acc, vec v)
    ctypedef long long ireal
    vec set_tap(ireal tap)
    void max_tap(vec *best, vec *at, vec v, ireal tap)
    bint isnan_ "CCONV_ISNAN" (real x)


cdef enum:
    TAP_TABLE = 1024    # taps of a window whose places are listed


cdef inline void across_three(const bint maximum, PoolJob *job, real *to, const real *spread,
                              Py_ssize_t n, const int taps) noexcept nogil:
    """The common windows of two and three undilated taps: no division in the loop."""
    cdef Py_ssize_t x = 0, s = job.p.stride[2]
    cdef const real *p1 = spread + 1 % s * n + 1 // s
    cdef const real *p2 = spread + 2 % s * n + 2 // s
    cdef vec acc, v
    while x < job.p.out[2]:
        acc = load(spread + x)
        v = load(p1 + x)
        acc = max_nan(acc, v) if maximum else acc + v
        if taps == 3:
            v = load(p2 + x)
            acc = max_nan(acc, v) if maximum else acc + v
        store(to + x, acc)
        x += VL


cdef inline void down(const bint maximum, real *acc, const real *row, Py_ssize_t n, bint first) noexcept nogil:
    cdef Py_ssize_t x = 0
    if first:
        while x < n:
            store(acc + x, load(row + x))
            x += VL
    else:
        while x < n:
            store(acc + x, max_nan(load(acc + x), load(row + x)) if maximum else load(acc + x) + load(row + x))
            x += VL


cdef inline void merge(const bint maximum, real *to, const real *a, const real *b, Py_ssize_t n) noexcept nogil:
    """to = op(a, b); `to` may be `a`."""
    cdef Py_ssize_t x = 0
    while x < n:
        store(to + x, max_nan(load(a + x), load(b + x)) if maximum else load(a + x) + load(b + x))
        x += VL


cdef inline void doubled_row(const bint maximum, real *to, real *s, Py_ssize_t n, Py_ssize_t k,
                             Py_ssize_t d) noexcept nogil:
    """to[i] = op over s[i], s[i + d], ..., s[i + (k-1)d] for i < n, by doubling; s is overwritten."""
    cdef Py_ssize_t m = 1, at = 0, length = n + (k - 1) * d
    cdef bint first = True
    while True:
        if not maximum and k & m:
            down(False, to, s + at * d, n, first)
            first = False
            at += m
        if 2 * m > k:
            break
        length -= m * d
        merge(maximum, s, s, s + m * d, length)
        m *= 2
    if maximum:
        merge(True, to, s, s + (k - m) * d, n)


cdef inline void edge(const bint maximum, PoolJob *job, real *to, const real *x, Py_ssize_t a,
                      Py_ssize_t b) noexcept nogil:
    """Windows a..b of a row one by one, over their valid taps; in vectors of one value, which have no branches."""
    cdef Py_ssize_t ow, i, at
    cdef vec acc
    cdef real buf[16]
    for ow in range(a, b):
        acc = set1(LOWEST if maximum else <real>0)
        for i in range(job.p.kernel[2]):
            at = ow * job.p.stride[2] - job.p.before[2] + i
            if 0 <= at < job.p.size[2]:
                acc = max_nan(acc, set1(x[at])) if maximum else acc + set1(x[at])
        store(buf, acc)
        to[ow] = buf[0]


cdef inline void across_direct(const bint maximum, const int k, const int s, PoolJob *job, real *to,
                               const real *x) noexcept nogil:
    """Windows of 2 or 3 taps and stride 1 or 2, straight from the input; those over the edges one by one."""
    cdef Py_ssize_t ow, p = job.p.before[2], lo = min(job.p.out[2], (p + s - 1) // s), hi
    cdef vec a, b, c
    store(to + job.p.out[2], set1(<real>0))  # the slack, which later steps read: no denormals there
    # vectors at ow < hi read inside the row: VL windows, and with stride 2 and three taps one column more
    hi = min(job.p.out[2], (job.p.size[2] + p - k - (1 if s == 2 and k == 3 else 0)) // s + 1)
    if hi - lo < VL:
        edge(maximum, job, to, x, 0, job.p.out[2])
        return
    edge(maximum, job, to, x, 0, lo)
    ow = lo
    while True:
        if s == 1:
            a = load(x + ow - p)
            b = load(x + ow - p + 1)
            if k == 3:
                c = load(x + ow - p + 2)
        else:
            if k == 3:
                load2(x + 2 * ow - p + 2, &c, &b)
            load2(x + 2 * ow - p, &a, &b)
        a = max_nan(a, b) if maximum else a + b
        if k == 3:
            a = max_nan(a, c) if maximum else a + c
        store(to + ow, a)
        if ow + VL >= hi:
            break
        ow = min(ow + VL, hi - VL)
    edge(maximum, job, to, x, hi, job.p.out[2])


cdef inline void across(const bint maximum, PoolJob *job, real *to, const real *x, real *spread) noexcept nogil:
    """to[ow] = op over the valid taps of window ow of one input row."""
    cdef Py_ssize_t n, ow, i, f
    cdef real acc
    cdef vec best
    cdef real buf[16]
    if job.p.adaptive:
        for ow in range(job.p.out[2]):
            f = job.first[2][ow]
            if maximum:
                best = set1(x[f * job.xs[2]])
                for i in range(f + 1, f + job.count[2][ow]):
                    best = max_nan(best, set1(x[i * job.xs[2]]))
                store(buf, best)
                to[ow] = buf[0]
                continue
            acc = x[f * job.xs[2]]
            for i in range(f + 1, f + job.count[2][ow]):
                acc = acc + x[i * job.xs[2]]
            to[ow] = acc
        return
    if job.p.dilation[2] == 1 and job.xs[2] == 1 and job.p.stride[2] <= 2 and 2 <= job.p.kernel[2] <= 3:
        if job.p.kernel[2] == 3 and job.p.stride[2] == 1: across_direct(maximum, 3, 1, job, to, x)
        elif job.p.kernel[2] == 3: across_direct(maximum, 3, 2, job, to, x)
        elif job.p.stride[2] == 1: across_direct(maximum, 2, 1, job, to, x)
        else: across_direct(maximum, 2, 2, job, to, x)
        return
    n = job.p.out[2] + ((job.p.kernel[2] - 1) * job.p.dilation[2]) // job.p.stride[2] + 1
    spread_row(job, spread, x, n, LOWEST if maximum else <real>0)
    if job.p.dilation[2] == 1 and job.p.kernel[2] == 3:
        across_three(maximum, job, to, spread, n, 3)
    elif job.p.dilation[2] == 1 and job.p.kernel[2] == 2:
        across_three(maximum, job, to, spread, n, 2)
    elif job.t.doubled[2]:
        doubled_row(maximum, to, spread, job.p.out[2], job.p.kernel[2], job.p.dilation[2])
    else:
        for i in range(job.p.kernel[2]):
            f = i * job.p.dilation[2]
            down(maximum, to, spread + f % job.p.stride[2] * n + f // job.p.stride[2], job.p.out[2], i == 0)


cdef inline void fill_row(real *to, Py_ssize_t n, real v) noexcept nogil:
    """Rows have slack for whole vectors."""
    cdef Py_ssize_t i = 0
    cdef vec all_ = set1(v)
    while i < n:
        store(to + i, all_)
        i += VL


cdef void finish_row(PoolJob *job, real *y, real *acc, const real *widths, Py_ssize_t od, Py_ssize_t oh) noexcept nogil:
    """acc -> y, divided for averages; widths[ow] is the divisor's factor along W."""
    cdef Py_ssize_t x = 0, ow = job.p.out[2]
    cdef vec part
    if job.op == POOL_AVERAGE:
        part = set1(<real>job.divide if job.divide != 0 else <real>(job.divisor[0][od] * job.divisor[1][oh]))
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


cdef inline void down_direct(const bint maximum, PoolJob *job, real *y, const real *r0, const real *r1,
                             const real *r2, const int rows, const real *widths, real divisor) noexcept nogil:
    """Two or three reduced rows into y at once, divided for averages."""
    cdef Py_ssize_t x = 0, i, out = job.p.out[2]
    cdef vec v, part = set1(divisor)
    cdef real buf[64]
    while x < out:
        v = load(r0 + x)
        v = max_nan(v, load(r1 + x)) if maximum else v + load(r1 + x)
        if rows == 3:
            v = max_nan(v, load(r2 + x)) if maximum else v + load(r2 + x)
        if not maximum and job.op == POOL_AVERAGE:
            v = v / (part * load(widths + x))
        if x + VL <= out:
            store(y + x, v)
        else:
            store(buf, v)
            for i in range(out - x):
                y[x + i] = buf[i]
        x += VL


cdef inline void block(const bint maximum, PoolJob *job, const real *x, real *y, Py_ssize_t od, Py_ssize_t oh0,
                       Py_ssize_t oh1, real *space) noexcept nogil:
    """Output rows oh0..oh1 at depth od of one plane."""
    cdef Py_ssize_t width = job.p.out[2] + 2 * VL, oh, k, z, iy, dz = 1 if job.p.adaptive else job.p.dilation[0]
    cdef Py_ssize_t dy = 1 if job.p.adaptive else job.p.dilation[1], lo = job.p.size[1], hi = 0, n
    cdef real *acc = space
    cdef real *row
    cdef real *widths = space + width
    cdef real *spread = widths + width
    cdef real *rows
    cdef real divisor
    cdef bint first
    n = 0 if job.p.adaptive else job.p.stride[2] * (job.p.out[2] + ((job.p.kernel[2] - 1) * job.p.dilation[2]) // job.p.stride[2] + 1)
    rows = spread + n + 2 * VL
    if job.op == POOL_AVERAGE:
        for oh in range(width):
            widths[oh] = <real>job.divisor[2][oh] if oh < job.p.out[2] and job.divide == 0 else <real>1
    for oh in range(oh0, oh1):
        if job.count[1][oh]:
            lo = min(lo, job.first[1][oh])
            hi = max(hi, job.first[1][oh] + (job.count[1][oh] - 1) * dy + 1)
    # reduced rows of all depths of the window, computed once: rows[z][iy - lo]; else they are too many to keep
    if job.t.kept:
        for z in range(job.count[0][od]):
            for iy in range(lo, hi):
                across(maximum, job, rows + (z * (hi - lo) + iy - lo) * width,
                       x + (job.first[0][od] + z * dz) * job.xs[0] + iy * job.xs[1], spread)
    for oh in range(oh0, oh1):
        k = job.count[1][oh]
        if job.t.kept and job.count[0][od] == 1 and 2 <= k <= 3 and job.ys[2] == 1:
            row = rows + (job.first[1][oh] - lo) * width
            n = dy * width
            divisor = <real>job.divide if job.divide != 0 else <real>(job.divisor[0][od] * job.divisor[1][oh])
            if k == 3:
                down_direct(maximum, job, y + od * job.ys[0] + oh * job.ys[1], row, row + n, row + 2 * n, 3, widths,
                            divisor)
            else:
                down_direct(maximum, job, y + od * job.ys[0] + oh * job.ys[1], row, row + n, NULL, 2, widths, divisor)
            continue
        first = True
        for z in range(job.count[0][od]):
            for k in range(job.count[1][oh]):
                iy = job.first[1][oh] + k * dy
                if job.t.kept:
                    row = rows + (z * (hi - lo) + iy - lo) * width
                else:
                    row = rows
                    across(maximum, job, row, x + (job.first[0][od] + z * dz) * job.xs[0] + iy * job.xs[1], spread)
                down(maximum, acc, row, job.p.out[2], first)
                first = False
        if first:
            fill_row(acc, job.p.out[2], LOWEST if maximum else <real>0)
        finish_row(job, y + od * job.ys[0] + oh * job.ys[1], acc, widths, od, oh)


cdef inline void doubled_block(const bint maximum, PoolJob *job, const real *x, real *y, Py_ssize_t od,
                               Py_ssize_t oh0, Py_ssize_t oh1, real *space) noexcept nogil:
    """As block, the windows along H by doubling: every row from the first window's start, padding as identities."""
    cdef Py_ssize_t width = job.p.out[2] + 2 * VL, d = job.p.dilation[1], s = job.p.stride[1], k = job.p.kernel[1], n = oh1 - oh0, oh, r, z, iy
    cdef Py_ssize_t lo = oh0 * s - job.p.before[1], count = (n - 1) * s + (k - 1) * d + 1, m, at
    cdef real *widths = space
    cdef real *spread = widths + width
    cdef real *acc = spread + job.p.stride[2] * (job.p.out[2] + ((job.p.kernel[2] - 1) * job.p.dilation[2]) // job.p.stride[2] + 1) + 2 * VL
    cdef real *rows = acc + n * width
    cdef bint first = True
    if job.op == POOL_AVERAGE:
        for oh in range(width):
            widths[oh] = <real>job.divisor[2][oh] if oh < job.p.out[2] and job.divide == 0 else <real>1
    for z in range(job.count[0][od]):
        for r in range(count):
            iy = lo + r
            if 0 <= iy < job.p.size[1]:
                across(maximum, job, rows + r * width,
                       x + (job.first[0][od] + z * job.p.dilation[0]) * job.xs[0] + iy * job.xs[1], spread)
            else:
                fill_row(rows + r * width, job.p.out[2], LOWEST if maximum else <real>0)
        m = 1
        at = 0
        r = count
        while True:
            if not maximum and k & m:
                for oh in range(n):
                    down(False, acc + oh * width, rows + (oh * s + at * d) * width, job.p.out[2], first)
                first = False
                at += m
            if 2 * m > k:
                break
            r -= m * d
            for iy in range(r):
                merge(maximum, rows + iy * width, rows + iy * width, rows + (iy + m * d) * width, job.p.out[2])
            m *= 2
        if maximum:
            for oh in range(n):
                if not first:
                    down(True, acc + oh * width, rows + oh * s * width, job.p.out[2], False)
                    down(True, acc + oh * width, rows + (oh * s + (k - m) * d) * width, job.p.out[2], False)
                else:
                    merge(True, acc + oh * width, rows + oh * s * width, rows + (oh * s + (k - m) * d) * width,
                          job.p.out[2])
            first = False
    for oh in range(n):
        if first:
            fill_row(acc + oh * width, job.p.out[2], LOWEST if maximum else <real>0)
        finish_row(job, y + od * job.ys[0] + (oh0 + oh) * job.ys[1], acc + oh * width, widths, od, oh0 + oh)


cdef void indexed_row(PoolJob *job, const real *x, real *y, int64_t *index, Py_ssize_t od,
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


cdef void tapped_row(PoolJob *job, const real *x, real *y, int64_t *index, Py_ssize_t od, Py_ssize_t oh,
                     real *space) noexcept nogil:
    """indexed_row on whole vectors: lanes carry the number of the best tap, positions follow at the end."""
    cdef Py_ssize_t out = job.p.out[2], width = out + 2 * VL, ow, z, k, i, iz, iy, at, tap, s = job.p.stride[2], d = job.p.dilation[2]
    cdef Py_ssize_t n = out + ((job.p.kernel[2] - 1) * d) // s + 1, kw = job.p.kernel[2], kh = job.count[1][oh]
    cdef real *best = space
    cdef real *taps = best + width
    cdef real *spread = taps + width
    cdef vec b, t, lowest = set1(LOWEST), none = set_tap(-1)
    ow = 0
    while ow < out:
        store(best + ow, lowest)
        store(taps + ow, none)
        ow += VL
    for z in range(job.count[0][od]):
        iz = job.first[0][od] + z * job.p.dilation[0]
        for k in range(kh):
            iy = job.first[1][oh] + k * job.p.dilation[1]
            spread_row(job, spread, x + iz * job.xs[0] + iy * job.xs[1], n, LOWEST)
            tap = (z * kh + k) * kw
            ow = 0
            while ow < out:
                b = load(best + ow)
                t = load(taps + ow)
                for i in range(kw):
                    at = i * d
                    max_tap(&b, &t, load(spread + at % s * n + at // s + ow), <ireal>(tap + i))
                store(best + ow, b)
                store(taps + ow, t)
                ow += VL
    # where each tap lies, without the column; large windows divide instead
    cdef bint table = job.count[0][od] * kh * kw <= TAP_TABLE
    cdef Py_ssize_t *offset = <Py_ssize_t *>(spread + s * n + 2 * VL)
    offset = <Py_ssize_t *>((<size_t>offset + 7) // 8 * 8)
    if table:
        tap = 0
        for z in range(job.count[0][od]):
            for k in range(kh):
                at = (((job.first[0][od] + z * job.p.dilation[0]) * job.p.size[1] + job.first[1][oh] + k * job.p.dilation[1]) * job.p.size[2]
                      - job.p.before[2])
                for i in range(kw):
                    offset[tap] = at + i * d
                    tap += 1
    for ow in range(out):
        tap = (<ireal *>taps)[ow]
        y[ow * job.ys[2]] = best[ow]
        if tap < 0:
            # no tap, or nothing above the lowest: the first valid one
            if job.count[0][od] == 0 or kh == 0 or job.count[2][ow] == 0:
                index[ow] = -1
            else:
                index[ow] = (job.first[0][od] * job.p.size[1] + job.first[1][oh]) * job.p.size[2] + job.first[2][ow]
        elif table:
            index[ow] = offset[tap] + ow * s
        else:
            i = tap % kw
            k = tap // kw
            iz = job.first[0][od] + k // kh * job.p.dilation[0]
            iy = job.first[1][oh] + k % kh * job.p.dilation[1]
            index[ow] = (iz * job.p.size[1] + iy) * job.p.size[2] + ow * s - job.p.before[2] + i * d


cdef void pool_item(void *pool_job, Py_ssize_t item, char *workspace) noexcept nogil:
    """Item = (plane, od, block of oh), the last fastest."""
    cdef PoolJob *job = <PoolJob *>pool_job
    cdef Py_ssize_t rows = job.t.rows, oh0 = item % job.t.blocks * rows, oh1 = min(oh0 + rows, job.p.out[1]), oh
    cdef Py_ssize_t od = item // job.t.blocks % job.p.out[0], plane = item // (job.t.blocks * job.p.out[0])
    cdef const real *x = <const real *>job.x + plane // job.p.C * job.xn + plane % job.p.C * job.xc
    cdef real *y = <real *>job.y + plane // job.p.C * job.yn + plane % job.p.C * job.yc
    cdef real *space = <real *>workspace
    cdef int64_t *index
    if job.indexed:
        for oh in range(oh0, oh1):
            index = <int64_t *>job.index + ((plane * job.p.out[0] + od) * job.p.out[1] + oh) * job.p.out[2]
            if job.t.tapped:
                tapped_row(job, x, y + od * job.ys[0] + oh * job.ys[1], index, od, oh, space)
            else:
                indexed_row(job, x, y + od * job.ys[0] + oh * job.ys[1], index, od, oh)
    elif job.t.doubled[1] and job.op == POOL_MAX:
        doubled_block(True, job, x, y, od, oh0, oh1, space)
    elif job.t.doubled[1]:
        doubled_block(False, job, x, y, od, oh0, oh1, space)
    elif job.op == POOL_MAX:
        block(True, job, x, y, od, oh0, oh1, space)
    else:
        block(False, job, x, y, od, oh0, oh1, space)


cdef void run_pool(void *pool_job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef PoolJob *job = <PoolJob *>pool_job
    cdef Team team = Team(job.threads, <char *>job.workspace, job.workspace_bytes, 4)
    run_items(pool_item, job, &team, first, last)


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
    """Two rows of outputs, a spread row, and the reduced rows or where each tap lies."""
    cdef PoolJob *job = <PoolJob *>pool_job
    cdef Py_ssize_t width = job.p.out[2] + 2 * VL, spread = 0, rows = 1
    if not job.p.adaptive:
        spread = job.p.stride[2] * (job.p.out[2] + (job.p.kernel[2] - 1) * job.p.dilation[2] // job.p.stride[2] + 1)
    cdef Py_ssize_t fixed = (2 * width + spread + 4 * VL) * <Py_ssize_t>sizeof(real) + 64
    if job.indexed:
        job.workspace_bytes = lines(fixed + TAP_TABLE * sizeof(Py_ssize_t)) if job.t.tapped else 0
        return
    if job.t.doubled[1]:
        # whole windows, padding included, and the sums beside them
        rows = ((job.t.rows - 1) * job.p.stride[1] + (job.p.kernel[1] - 1) * job.p.dilation[1] + 1) + job.t.rows
    elif job.t.kept:
        rows = rows_reached(job, 0, 1) * rows_reached(job, 1, job.t.rows)
    job.workspace_bytes = lines(fixed + rows * width * sizeof(real))


cdef KernelTable POOL
POOL.name = "pool"
POOL.lanes = VL
POOL.tile_rows = MR
POOL.run = run_pool
POOL.items = pool_items
POOL.lay_out = lay_out_pool
POOL.packed_size = NULL
POOL.pack = NULL
POOL.reduce = NULL
POOL.grain = 1e5
POOL.stint = 3e7
POOL.least = 4
POOL.evens = False
POOL.split_least = 0

tables = {"pool": PyCapsule_New(&POOL, "cconv.kernel", NULL)}
stamp = CCONV_STAMP_STRING.decode()
