# cython: cdivision=True
# What an item of a pool is: output rows oh0..oh1 at depths od0..od1 of one plane, or of VL planes side by side (lanes).
#
# Windows are separable. Of each input depth, every input row that the block reads is reduced along W (across), then
# each output row reduces the reduced rows of its windows (down), then each output depth its depths (deep). With lanes a
# row has VL values a column, one of each plane, so that nothing hangs on how long rows are.
#
# Indexed rows are one of values and, half a row behind, one of positions in the plane.
from cconv.kernels.across cimport across, down
from cconv.kernels.extrema cimport LOWEST, max_nan, max_pair, set_tap
from cconv.kernels.job cimport POOL_AVERAGE, PoolJob
from cconv.kernels.beside cimport LANES_MOST, across_lanes, gathered_rows, indexed_lanes, take_rows
from cconv.kernels.reduce cimport store_part
from cconv.kernels.simd cimport VL, load, real, set1, store, vec


cdef struct Band:
    Py_ssize_t od0, od1, oh0, oh1
    Py_ssize_t lo, hi               # input rows that they read
    Py_ssize_t zlo                  # the first input depth
    const real *x                   # both of the plane
    real *y
    int lanes                       # planes side by side; their first elements:
    const real *xs[LANES_MOST]
    real *ys[LANES_MOST]
    # the workspace
    Py_ssize_t n                    # values of a row of outputs
    Py_ssize_t width                # elements of a row, with slack
    real *acc                       # one row
    real *widths                    # the divisor's factors along W
    real *spread                    # rows: an input row between identities; lanes: input rows side by side
    real *rows                      # reduced rows
    real *levels                    # output rows of each depth
    real *result                    # lanes: output rows
    char *done                      # which levels are there


cdef struct Target:
    # a row of results
    real *to
    real *taps                      # positions, or NULL
    Py_ssize_t n
    bint exact                      # nothing may be written behind n
    const real *widths              # divided by these times `part`, or NULL
    real part


cdef inline bint reaches_deep(const PoolJob *job) noexcept nogil:
    """Whether windows have several depths."""
    return job.p.kernel[0] > 1 or (job.p.adaptive and job.p.size[0] > 1)


# ---------------------------------------------------------------- across

cdef inline void across_rows(const bint maximum, PoolJob *job, Band *s, real *to, const real *x,
                             Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t width = s.width, step = job.xs[1], r
    cdef real *spread = s.spread
    for r in range(count):
        across(maximum, job, to + r * width, x + r * step, spread)


cdef inline void reduce_rows(const bint maximum, const int form, PoolJob *job, Band *s, real *to, Py_ssize_t iz,
                             Py_ssize_t iy, Py_ssize_t count) noexcept nogil:
    """So many input rows across: 0 rows, 1 lanes, 2 indexed ones."""
    cdef Py_ssize_t r = 0, i, many, L = job.p.size[2]
    if form == 0:
        across_rows(maximum, job, s, to, s.x + iz * job.xs[0] + iy * job.xs[1], count)
        return
    many = gathered_rows(job)
    while r < count:
        many = min(many, count - r)
        take_rows(job, s.spread, s.xs, iz * job.xs[0] + (iy + r) * job.xs[1], many)
        for i in range(many):
            if form == 2:
                indexed_lanes(job, to, to + s.width // 2, s.spread + i * L * VL,
                              (iz * job.p.size[1] + iy + r + i) * L)
            else:
                across_lanes(maximum, job, to, s.spread + i * L * VL)
            to += s.width
        r += many


# ---------------------------------------------------------------- down and deep

cdef inline void fill_identity(const bint maximum, real *to, Py_ssize_t n) noexcept nogil:
    """Rows have slack for whole vectors."""
    cdef Py_ssize_t i = 0
    cdef vec v = set1(LOWEST if maximum else <real>0)
    while i < n:
        store(to + i, v)
        i += VL


cdef inline real divisor_of(const PoolJob *job, Py_ssize_t od, Py_ssize_t oh) noexcept nogil:
    """The divisor's factor along D and H, or all of it."""
    return <real>job.divide if job.divide != 0 else <real>(job.divisor[0][od] * job.divisor[1][oh])


cdef inline void put_vector(const Target *to, Py_ssize_t x, vec v) noexcept nogil:
    if to.widths != NULL:
        v = v / (set1(to.part) * load(to.widths + x))
    if to.exact and x + VL > to.n:
        store_part(to.to + x, v, to.n - x)
    else:
        store(to.to + x, v)


cdef inline void combine_few(const bint maximum, const int few, const Target *to, const real *row,
                             Py_ssize_t step) noexcept nogil:
    """So few rows, `step` apart."""
    cdef Py_ssize_t x = 0
    cdef vec v
    while x < to.n:
        v = load(row + x)
        if few > 1:
            v = max_nan(v, load(row + step + x)) if maximum else v + load(row + step + x)
        if few > 2:
            v = max_nan(v, load(row + 2 * step + x)) if maximum else v + load(row + 2 * step + x)
        put_vector(to, x, v)
        x += VL


cdef inline void combine_many(const bint maximum, Py_ssize_t count, const Target *to, const real *row,
                              Py_ssize_t step) noexcept nogil:
    cdef Py_ssize_t x = 0, _
    cdef vec v, w
    cdef const real *p
    while x + VL < to.n:
        # two vectors at a time: their chains overlap
        p = row + x
        v, w = load(p), load(p + VL)
        for _ in range(1, count):
            p += step
            v = max_nan(v, load(p)) if maximum else v + load(p)
            w = max_nan(w, load(p + VL)) if maximum else w + load(p + VL)
        put_vector(to, x, v)
        put_vector(to, x + VL, w)
        x += 2 * VL
    while x < to.n:
        p = row + x
        v = load(p)
        for _ in range(1, count):
            p += step
            v = max_nan(v, load(p)) if maximum else v + load(p)
        put_vector(to, x, v)
        x += VL


cdef inline void combine_indexed(Py_ssize_t count, const Target *to, const real *row, Py_ssize_t step,
                                 Py_ssize_t half) noexcept nogil:
    cdef Py_ssize_t x = 0, _
    cdef vec v, t
    cdef const real *p
    while x < to.n:
        p = row + x
        v, t = load(p), load(p + half)
        for _ in range(1, count):
            p += step
            max_pair(&v, &t, load(p), load(p + half), 0)
        store(to.to + x, v)
        store(to.taps + x, t)
        x += VL


cdef inline void combine(const bint maximum, const bint indexed, Py_ssize_t count, const Target *to, const real *row,
                         Py_ssize_t step, Py_ssize_t half) noexcept nogil:
    """to = op over `count` rows, `step` apart; none: the identity."""
    cdef Py_ssize_t x = 0
    if count == 0:
        while x < to.n:
            put_vector(to, x, set1(LOWEST if maximum else <real>0))
            if indexed:
                store(to.taps + x, set_tap(-1))
            x += VL
    elif indexed: combine_indexed(count, to, row, step, half)
    elif count == 1: combine_few(maximum, 1, to, row, step)
    elif count == 2: combine_few(maximum, 2, to, row, step)
    elif count == 3: combine_few(maximum, 3, to, row, step)
    else: combine_many(maximum, count, to, row, step)


# ---------------------------------------------------------------- results

cdef inline void list_widths(PoolJob *job, Band *s, int lanes) noexcept nogil:
    cdef Py_ssize_t i, out = job.p.out[2]
    if job.op == POOL_AVERAGE:
        for i in range(s.width):
            s.widths[i] = (<real>job.divisor[2][i // lanes] if i < out * lanes and job.divide == 0
                           else <real>1)


cdef inline bint in_place(const PoolJob *job) noexcept nogil:
    """Whether rows of results are written where they lie."""
    return job.ys[2] == 1


cdef inline Target target_of(const bint lanes, const bint indexed, PoolJob *job, Band *s, Py_ssize_t od,
                             Py_ssize_t oh) noexcept nogil:
    """Output row (od, oh); of lanes, and where results lie strided, in the workspace."""
    cdef Target to
    to.n, to.exact, to.taps = s.n, False, NULL
    if lanes:
        to.to = s.result + (oh - s.oh0) * s.width
        if indexed:
            to.taps = to.to + s.width // 2
    elif in_place(job):
        to.to, to.exact = s.y + od * job.ys[0] + oh * job.ys[1], True
    else:
        to.to = s.acc
    to.widths = s.widths if job.op == POOL_AVERAGE else NULL
    to.part = divisor_of(job, od, oh)
    return to


cdef inline void finish_row(PoolJob *job, Band *s, Py_ssize_t od, Py_ssize_t oh) noexcept nogil:
    """A row that was left in acc."""
    cdef Py_ssize_t x
    cdef real *y = s.y + od * job.ys[0] + oh * job.ys[1]
    for x in range(s.n):
        y[x * job.ys[2]] = s.acc[x]


# ---------------------------------------------------------------- blocks

cdef inline void find_rows(PoolJob *job, Band *s) noexcept nogil:
    """The input rows that output rows oh0..oh1 read, and the first depth."""
    cdef Py_ssize_t o, dy = 1 if job.p.adaptive else job.p.dilation[1]
    s.lo, s.hi, s.zlo = job.p.size[1], 0, job.p.size[0]
    for o in range(s.oh0, s.oh1):
        if job.count[1][o]:
            s.lo = min(s.lo, job.first[1][o])
            s.hi = max(s.hi, job.first[1][o] + (job.count[1][o] - 1) * dy + 1)
    for o in range(s.od0, s.od1):
        if job.count[0][o]:
            s.zlo = min(s.zlo, job.first[0][o])
    s.lo = min(s.lo, s.hi)


cdef inline void down_rows(const bint maximum, const bint indexed, PoolJob *job, Band *s, Py_ssize_t oh,
                           const Target *to) noexcept nogil:
    cdef Py_ssize_t dy = 1 if job.p.adaptive else job.p.dilation[1]
    combine(maximum, indexed, job.count[1][oh], to, s.rows + (job.first[1][oh] - s.lo) * s.width, dy * s.width,
            s.width // 2)


cdef inline void fill_levels(const bint maximum, const bint lanes, const bint indexed, PoolJob *job, Band *s,
                             Py_ssize_t od) noexcept nogil:
    """The depths that output depth od reads, those that are not there yet."""
    cdef Py_ssize_t z, iz, oh, rows = s.oh1 - s.oh0, dz = 1 if job.p.adaptive else job.p.dilation[0]
    cdef real *level
    cdef Target to
    to.n, to.exact, to.widths, to.part = s.n, False, NULL, 1
    for z in range(job.count[0][od]):
        iz = job.first[0][od] + z * dz
        if s.done[iz - s.zlo]:
            continue
        s.done[iz - s.zlo] = 1
        level = s.levels + (iz - s.zlo) * rows * s.width
        reduce_rows(maximum, lanes + indexed, job, s, s.rows, iz, s.lo, s.hi - s.lo)
        for oh in range(s.oh0, s.oh1):
            to.to = level + (oh - s.oh0) * s.width
            to.taps = to.to + s.width // 2
            down_rows(maximum, indexed, job, s, oh, &to)


cdef inline void block_depth(const bint maximum, const bint lanes, const bint indexed, PoolJob *job, Band *s,
                             Py_ssize_t od) noexcept nogil:
    """All rows of one output depth."""
    cdef Py_ssize_t oh, rows = s.oh1 - s.oh0, dz = 1 if job.p.adaptive else job.p.dilation[0]
    cdef bint deep = reaches_deep(job)
    cdef Target to
    if deep:
        fill_levels(maximum, lanes, indexed, job, s, od)
    elif job.count[0][od]:
        reduce_rows(maximum, lanes + indexed, job, s, s.rows, job.first[0][od], s.lo, s.hi - s.lo)
    for oh in range(s.oh0, s.oh1):
        to = target_of(lanes, indexed, job, s, od, oh)
        if deep and job.count[1][oh]:
            combine(maximum, indexed, job.count[0][od], &to,
                    s.levels + ((job.first[0][od] - s.zlo) * rows + oh - s.oh0) * s.width, dz * rows * s.width,
                    s.width // 2)
        elif job.count[0][od] and job.count[1][oh]:
            down_rows(maximum, indexed, job, s, oh, &to)
        else:
            combine(maximum, indexed, 0, &to, s.rows, 0, s.width // 2)
        if not lanes and not in_place(job):
            finish_row(job, s, od, oh)


cdef inline void unkept_depth(const bint maximum, PoolJob *job, Band *s, Py_ssize_t od) noexcept nogil:
    """One output row, whose input rows would be too many to keep: each is reduced where it is needed."""
    cdef Py_ssize_t z, k, oh = s.oh0, dz = 1 if job.p.adaptive else job.p.dilation[0]
    cdef Py_ssize_t dy = 1 if job.p.adaptive else job.p.dilation[1]
    cdef bint first = True
    cdef Target to = target_of(False, False, job, s, od, oh)
    for z in range(job.count[0][od]):
        for k in range(job.count[1][oh]):
            reduce_rows(maximum, 0, job, s, s.rows, job.first[0][od] + z * dz, job.first[1][oh] + k * dy, 1)
            down(maximum, s.acc, s.rows, s.n, first)
            first = False
    combine(maximum, False, 0 if first else 1, &to, s.acc, 0, 0)
    if not in_place(job):
        finish_row(job, s, od, oh)
