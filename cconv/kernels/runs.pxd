# cython: cdivision=True
# Pools whose windows hardly overlap and lie in long runs: global ones, above all.
#
#     y[w] = op over the runs of window w of x[first], ..., x[first + count - 1]
#
# A window is a few contiguous runs (one, where it is a plane). Its elements are reduced lane by lane into one vector,
# and VL such vectors are folded into one, a window a lane: one load and one operation a vector of input. Windows of
# several rows are reduced down the rows first, for all windows of an output row at once. One item is a number of
# windows, counted through all planes.
#
# Lanes do not visit a window in its order, so of -0.0 and 0.0 the wrong one may win a maximum: where it is zero, the
# window's first zero is looked for. Sums of floats go through float64 where they are long (wide).
from cconv.kernels.extrema cimport LOWEST, max_nan
from cconv.kernels.items cimport up
from cconv.kernels.job cimport POOL_AVERAGE, POOL_MAX, PoolJob
from cconv.kernels.reduce cimport (IS_FLOAT, fold_lanes, load_part, store_part, wide_add, wide_clear,
                                   wide_sums, wide_total)
from cconv.kernels.simd cimport VL, load, real, set1, store, vec


cdef enum:
    LANES_MOST = 16


cdef struct Cursor:
    # a window: its plane and position
    Py_ssize_t n, c
    Py_ssize_t o[3]


cdef inline void aim_cursor(const PoolJob *job, Cursor *at, Py_ssize_t window) noexcept nogil:
    cdef int a
    for a in range(3):
        at.o[2 - a] = window % job.p.out[2 - a]
        window = window // job.p.out[2 - a]
    at.n, at.c = window // job.p.C, window % job.p.C


cdef inline void next_window(const PoolJob *job, Cursor *at) noexcept nogil:
    cdef int a = 2
    while a >= 0:
        at.o[a] += 1
        if at.o[a] < job.p.out[a]:
            return
        at.o[a] = 0
        a -= 1
    at.c += 1
    if at.c == job.p.C:
        at.c = 0
        at.n += 1


cdef inline const real *run_of(const PoolJob *job, const Cursor *at, Py_ssize_t z, Py_ssize_t k) noexcept nogil:
    """Run (z, k) of a window."""
    cdef Py_ssize_t dz = 1 if job.p.adaptive else job.p.dilation[0], dy = 1 if job.p.adaptive else job.p.dilation[1]
    return (<const real *>job.x + at.n * job.xn + at.c * job.xc + (job.first[0][at.o[0]] + z * dz) * job.xs[0]
            + (job.first[1][at.o[1]] + k * dy) * job.xs[1] + job.first[2][at.o[2]])


cdef struct Partial:
    # of a window, lane by lane
    vec a
    vec b
    vec c
    vec d


cdef inline void add_run(const bint maximum, Partial *sums, const real *p, Py_ssize_t n) noexcept nogil:
    cdef vec a = sums.a, b = sums.b, c = sums.c, d = sums.d, v
    cdef Py_ssize_t i = 0
    while i + 4 * VL <= n:
        a = max_nan(a, load(p + i)) if maximum else a + load(p + i)
        b = max_nan(b, load(p + i + VL)) if maximum else b + load(p + i + VL)
        c = max_nan(c, load(p + i + 2 * VL)) if maximum else c + load(p + i + 2 * VL)
        d = max_nan(d, load(p + i + 3 * VL)) if maximum else d + load(p + i + 3 * VL)
        i += 4 * VL
    while i + VL <= n:
        a = max_nan(a, load(p + i)) if maximum else a + load(p + i)
        i += VL
    if i < n:
        v = load_part(p + i, n - i, set1(LOWEST if maximum else <real>0))
        b = max_nan(b, v) if maximum else b + v
    sums.a, sums.b, sums.c, sums.d = a, b, c, d


cdef inline void clear_partial(const bint maximum, Partial *sums) noexcept nogil:
    sums.a = sums.b = sums.c = sums.d = set1(LOWEST if maximum else <real>0)


cdef inline vec partial_total(const bint maximum, const Partial *sums) noexcept nogil:
    if maximum:
        return max_nan(max_nan(sums.a, sums.b), max_nan(sums.c, sums.d))
    return (sums.a + sums.b) + (sums.c + sums.d)


cdef inline vec reduced(const bint maximum, const PoolJob *job, const Cursor *at) noexcept nogil:
    """The elements of a window, lane by lane."""
    cdef Partial sums
    cdef Py_ssize_t z, k
    clear_partial(maximum, &sums)
    for z in range(job.count[0][at.o[0]]):
        for k in range(job.count[1][at.o[1]]):
            add_run(maximum, &sums, run_of(job, at, z, k), job.count[2][at.o[2]])
    return partial_total(maximum, &sums)


cdef inline real first_zero(const PoolJob *job, const Cursor *at) noexcept nogil:
    """Of a window whose maximum is zero."""
    cdef Py_ssize_t z, k, i
    cdef const real *p
    for z in range(job.count[0][at.o[0]]):
        for k in range(job.count[1][at.o[1]]):
            p = run_of(job, at, z, k)
            for i in range(job.count[2][at.o[2]]):
                if p[i] == 0:
                    return p[i]
    return 0


cdef inline double wide_sum(const PoolJob *job, const Cursor *at) noexcept nogil:
    cdef wide_sums sums
    cdef Py_ssize_t z, k
    wide_clear(&sums)
    for z in range(job.count[0][at.o[0]]):
        for k in range(job.count[1][at.o[1]]):
            wide_add(&sums, run_of(job, at, z, k), job.count[2][at.o[2]])
    return wide_total(&sums)


cdef inline double divisor_at(const PoolJob *job, const Cursor *at) noexcept nogil:
    if job.divide != 0:
        return job.divide
    return <double>(job.divisor[0][at.o[0]] * job.divisor[1][at.o[1]]) * <double>job.divisor[2][at.o[2]]


cdef inline void put_window(const PoolJob *job, const Cursor *at, real value) noexcept nogil:
    (<real *>job.y)[at.n * job.yn + at.c * job.yc + at.o[0] * job.ys[0] + at.o[1] * job.ys[1]
                    + at.o[2] * job.ys[2]] = value


cdef inline void put_windows(const bint maximum, PoolJob *job, Cursor *at, vec values, int count) noexcept nogil:
    """The values of so many windows from `at` on, which moves behind them."""
    cdef real found[LANES_MOST]
    cdef int i
    store(found, values)
    for i in range(count):
        if maximum:
            put_window(job, at, first_zero(job, at) if IS_FLOAT and found[i] == 0 else found[i])
        elif job.op == POOL_AVERAGE:
            put_window(job, at, found[i] / <real>divisor_at(job, at))
        else:
            put_window(job, at, found[i])
        next_window(job, at)


cdef inline void runs_group(const bint maximum, PoolJob *job, Cursor *at, int count) noexcept nogil:
    """Up to VL windows from `at` on; lanes without one have the last again."""
    cdef vec all[LANES_MOST]
    cdef Cursor first = at[0]
    cdef int i
    for i in range(count):
        all[i] = reduced(maximum, job, at)
        next_window(job, at)
    for i in range(count, VL):
        all[i] = all[count - 1]
    put_windows(maximum, job, &first, fold_lanes(all, maximum), count)


# ---------------------------------------------------------------- windows at even steps

cdef inline Py_ssize_t even_step(const PoolJob *job) noexcept nogil:
    """Elements from each window to the next, of all planes, where each is one run and all are as long; else 0."""
    cdef Py_ssize_t out = job.p.out[2], step = job.xc if out == 1 else job.p.stride[2], o
    if (job.p.out[0] != 1 or job.p.out[1] != 1 or job.count[0][0] != 1 or job.count[1][0] != 1
            or job.yc != out or (job.p.N > 1 and (job.xn != job.p.C * job.xc or job.yn != job.p.C * out))
            or (job.p.C * job.p.N > 1 and job.xc != out * step) or (out > 1 and job.ys[2] != 1)):
        return 0
    for o in range(out):
        if job.first[2][o] != job.first[2][0] + o * step or job.count[2][o] != job.count[2][0]:
            return 0
    return step


cdef inline void even_windows(const bint maximum, PoolJob *job, Py_ssize_t step, Py_ssize_t w,
                              Py_ssize_t end) noexcept nogil:
    """Windows w..end: the common case, of global pools."""
    cdef vec all[LANES_MOST]
    cdef Partial sums
    cdef Cursor at
    cdef Py_ssize_t n = job.count[2][0]
    cdef const real *x = (<const real *>job.x + job.first[0][0] * job.xs[0] + job.first[1][0] * job.xs[1]
                          + job.first[2][0])
    cdef real *y = <real *>job.y
    cdef vec found, part = set1(<real>1)
    cdef int i, count
    if job.op == POOL_AVERAGE:
        aim_cursor(job, &at, 0)
        part = set1(<real>divisor_at(job, &at))
    while w < end:
        count = <int>min(<Py_ssize_t>VL, end - w)
        for i in range(count):
            clear_partial(maximum, &sums)
            add_run(maximum, &sums, x + (w + i) * step, n)
            all[i] = partial_total(maximum, &sums)
        for i in range(count, VL):
            all[i] = all[count - 1]
        found = fold_lanes(all, maximum)
        store_part(y + w, found if maximum else found / part, count)
        if maximum and IS_FLOAT:
            for i in range(count):
                if y[w + i] == 0:
                    aim_cursor(job, &at, w + i)
                    y[w + i] = first_zero(job, &at)
        w += VL


# ---------------------------------------------------------------- windows of several rows

cdef inline Py_ssize_t summed_rows(const PoolJob *job) noexcept nogil:
    """Output rows whose input rows are summed at a time, so that their windows fill a vector."""
    return up(VL, max(<Py_ssize_t>1, job.p.out[2]))


cdef inline vec column_of(const bint maximum, const PoolJob *job, const Cursor *at, const real *x, Py_ssize_t step_z,
                          Py_ssize_t step_k, Py_ssize_t part) noexcept nogil:
    """VL columns (or the first `part`, of less) of the rows of a window."""
    cdef vec none = set1(LOWEST if maximum else <real>0), sum_ = none, v
    cdef Py_ssize_t z, _
    cdef const real *p
    for z in range(job.count[0][at.o[0]]):
        p = x + z * step_z
        for _ in range(job.count[1][at.o[1]]):
            v = load_part(p, part, none) if part else load(p)
            sum_ = max_nan(sum_, v) if maximum else sum_ + v
            p += step_k
    return sum_


cdef inline void down_first(const bint maximum, const PoolJob *job, const Cursor *at, real *to) noexcept nogil:
    """All input rows of one output row into one."""
    cdef Py_ssize_t dz = 1 if job.p.adaptive else job.p.dilation[0], dy = 1 if job.p.adaptive else job.p.dilation[1]
    cdef Py_ssize_t x = 0, L = job.p.size[2]
    cdef const real *p = (<const real *>job.x + at.n * job.xn + at.c * job.xc + job.first[0][at.o[0]] * job.xs[0]
                          + job.first[1][at.o[1]] * job.xs[1])
    while x + VL <= L:
        store(to + x, column_of(maximum, job, at, p + x, dz * job.xs[0], dy * job.xs[1], 0))
        x += VL
    if x < L:
        store(to + x, column_of(maximum, job, at, p + x, dz * job.xs[0], dy * job.xs[1], L - x))


cdef inline void rows_of_windows(const bint maximum, PoolJob *job, Cursor *at, Py_ssize_t rows,
                                 real *buffer) noexcept nogil:
    """All windows of so many output rows: down to a row each, then along them."""
    cdef Py_ssize_t width = job.p.size[2] + VL, r, w, out = job.p.out[2]
    cdef vec all[LANES_MOST]
    cdef Partial sums
    cdef Cursor first = at[0]
    cdef int i, count
    for r in range(rows):
        down_first(maximum, job, at, buffer + r * width)
        at.o[2] = out - 1
        next_window(job, at)
    w = 0
    while w < rows * out:
        count = <int>min(<Py_ssize_t>VL, rows * out - w)
        for i in range(count):
            r = (w + i) // out
            clear_partial(maximum, &sums)
            add_run(maximum, &sums, buffer + r * width + job.first[2][w + i - r * out], job.count[2][w + i - r * out])
            all[i] = partial_total(maximum, &sums)
        for i in range(count, VL):
            all[i] = all[count - 1]
        put_windows(maximum, job, &first, fold_lanes(all, maximum), count)
        w += count


cdef inline void runs_item(PoolJob *job, Py_ssize_t item, real *buffer) noexcept nogil:
    cdef Py_ssize_t w = item * job.t.rows, step, count, _
    cdef Py_ssize_t end = min(w + job.t.rows, job.p.N * job.p.C * job.p.out[0] * job.p.out[1] * job.p.out[2])
    cdef double divisor
    cdef Cursor at
    aim_cursor(job, &at, w)
    if job.t.wide:
        for _ in range(end - w):
            divisor = divisor_at(job, &at) if job.op == POOL_AVERAGE else 1
            put_window(job, &at, <real>(wide_sum(job, &at) / divisor))
            next_window(job, &at)
        return
    step = even_step(job)
    if step and job.op == POOL_MAX:
        even_windows(True, job, step, w, end)
    elif step:
        even_windows(False, job, step, w, end)
    elif job.t.kept:
        while w < end:
            count = min((end - w) // job.p.out[2], summed_rows(job))
            if job.op == POOL_MAX:
                rows_of_windows(True, job, &at, count, buffer)
            else:
                rows_of_windows(False, job, &at, count, buffer)
            w += count * job.p.out[2]
    else:
        while w < end:
            count = min(<Py_ssize_t>VL, end - w)
            if job.op == POOL_MAX:
                runs_group(True, job, &at, <int>count)
            else:
                runs_group(False, job, &at, <int>count)
            w += count
