# cython: cdivision=True
# The slab: the zero-padded copy of the input rows that a box of outputs reads, shared by the kernels as inline
# functions. Columns lie de-interleaved by the stride (`strands` runs of slab[2] columns), so that every tap of every
# output row is a contiguous run; where vectors run on over rows (`row_strands`), the rows too, each strand a plane. Of
# dilations longer than a box only the rows that a tap touches are held, tap behind tap (`apart`). Padding modes
# live here and nowhere else.
from libc.string cimport memset

from cconv.kernels.box cimport Box
from cconv.kernels.job cimport PAD_CIRCULAR, PAD_REFLECT, PAD_ZEROS, ConvJob
from cconv.kernels.simd cimport VL, copy_line, load, load2, load3, load4, real, set1, store, vec


cdef inline Py_ssize_t source(Py_ssize_t i, Py_ssize_t L, int mode) noexcept nogil:
    """Input index that stands at padded position i (0 is the first input element), or -1 for a zero."""
    if 0 <= i < L:
        return i
    if mode == PAD_ZEROS:
        return -1
    if mode == PAD_REFLECT:
        i = -i if i < 0 else 2 * (L - 1) - i
    elif mode == PAD_CIRCULAR:
        i = i + L if i < 0 else i - L
    # replicate; and positions past the padding, which a slab may hold but no window reads
    return 0 if i < 0 else (L - 1 if i >= L else i)


cdef inline void copy_run(real *to, const real *x, Py_ssize_t step, Py_ssize_t n) noexcept nogil:
    """to[i] = x[i * step], no element beyond the last is touched; the last vectors overlap instead."""
    cdef Py_ssize_t i = 0
    cdef vec even, odd
    if step == 1 and n >= VL:
        while i + VL < n:
            store(to + i, load(x + i))
            i += VL
        store(to + n - VL, load(x + n - VL))
    elif step == 2 and n > VL:
        while i + VL < n:
            load2(x + 2 * i, &even, &odd)
            store(to + i, even)
            i += VL
        # one less, because a pair's second element may lie outside
        load2(x + 2 * (n - 1 - VL), &even, &odd)
        store(to + n - 1 - VL, even)
        to[n - 1] = x[2 * (n - 1)]
    else:
        for i in range(n):
            to[i] = x[i * step]


cdef struct Line:
    # one strand of a slab row: position j holds input column at + j*hop, which exists for a <= j < b
    Py_ssize_t at, hop, a, b
    Py_ssize_t n                    # its positions


cdef inline void fill_strand(ConvJob *job, real *to, const real *x, const Line *line) noexcept nogil:
    """One strand of one slab row; x is the input row."""
    cdef Py_ssize_t j, i, at = line.at, hop = line.hop, a = line.a, b = line.b
    for j in range(a):
        i = source(at + j * hop, job.p.size[2], job.p.mode)
        to[j] = x[i * job.xs[2]] if i >= 0 else <real>0
    copy_run(to + a, x + (at + a * hop) * job.xs[2], hop * job.xs[2], b - a)
    for j in range(b, line.n):
        i = source(at + j * hop, job.p.size[2], job.p.mode)
        to[j] = x[i * job.xs[2]] if i >= 0 else <real>0


cdef inline void part(const int S, const real *p, vec *v) noexcept nogil:
    """v[r][j] = p[S*j + r]"""
    if S == 2: load2(p, &v[0], &v[1])
    elif S == 3: load3(p, &v[0], &v[1], &v[2])
    else: load4(p, &v[0], &v[1], &v[2], &v[3])


cdef inline void fill_group(const int S, ConvJob *job, real *to, const real *x, Py_ssize_t at,
                            Py_ssize_t j) noexcept nogil:
    """Position j of every strand, where some columns lie outside."""
    cdef Py_ssize_t i
    cdef int r
    for r in range(S):
        i = source(at + S * j + r, job.p.size[2], job.p.mode)
        to[r * job.t.strand + j] = x[i] if i >= 0 else <real>0


cdef inline void fill_groups(const int S, ConvJob *job, real *to, const real *x, Py_ssize_t at, Py_ssize_t first,
                             Py_ssize_t last) noexcept nogil:
    """Positions first .. last of every strand, all of them inside; at least a vector."""
    cdef Py_ssize_t j = first
    cdef vec v[4]
    cdef int r
    while j + VL < last:
        part(S, x + at + S * j, v)
        for r in range(S):
            store(to + r * job.t.strand + j, v[r])
        j += VL
    part(S, x + at + S * (last - VL), v)
    for r in range(S):
        store(to + r * job.t.strand + last - VL, v[r])


cdef inline void fill_strands(const int S, ConvJob *job, real *to, const real *x, Py_ssize_t at) noexcept nogil:
    """The S strands of one row in one sweep; position j of strand r is column at + S*j + r."""
    cdef Py_ssize_t n = job.t.slab[2], L = job.p.size[2], j, a, b
    cdef vec zero = set1(<real>0)
    cdef int r
    # groups a <= j < b lie inside the input with all columns
    a = 0 if at >= 0 else min(n, (-at + S - 1) // S)
    b = max(a, min(n, (L - at) // S if at < L else 0))
    if job.p.mode == PAD_ZEROS and a < VL <= b - a and n - b < VL:
        for r in range(S):
            store(to + r * job.t.strand, zero)
            store(to + r * job.t.strand + n - VL, zero)
        if a: fill_group(S, job, to, x, at, a - 1)
        if b < n: fill_group(S, job, to, x, at, b)
        fill_groups(S, job, to, x, at, a, b)
        return
    for j in range(a):
        fill_group(S, job, to, x, at, j)
    if b - a >= VL:
        fill_groups(S, job, to, x, at, a, b)
    else:
        for j in range(a, b):
            for r in range(S):
                to[r * job.t.strand + j] = x[at + S * j + r]
    for j in range(b, n):
        fill_group(S, job, to, x, at, j)


cdef inline void fill_short_strands(const int S, ConvJob *job, real *to, const real *x, Py_ssize_t at) noexcept nogil:
    """fill_strands for strands that fit a vector each, and zeros outside. Whole vectors are written, a strand behind
    the other: what runs over is filled later."""
    cdef Py_ssize_t n = job.t.slab[2], first = max(<Py_ssize_t>0, at), last = min(job.p.size[2], at + S * n)
    cdef real row[4 * 16]
    cdef vec v[4]
    cdef int r
    for r in range(S):
        store(row + r * VL, set1(<real>0))
    if last > first:
        copy_line(row + first - at, x + first, last - first)
    part(S, row, v)
    for r in range(S):
        store(to + r * job.t.strand, v[r])


cdef inline void fill_any_strands(ConvJob *job, real *to, const real *x, Py_ssize_t at) noexcept nogil:
    cdef bint short = job.p.mode == PAD_ZEROS and job.t.slab[2] <= VL and job.t.strand == job.t.slab[2]
    if job.t.strands == 2:
        if short: fill_short_strands(2, job, to, x, at)
        else: fill_strands(2, job, to, x, at)
    elif job.t.strands == 3:
        if short: fill_short_strands(3, job, to, x, at)
        else: fill_strands(3, job, to, x, at)
    else:
        if short: fill_short_strands(4, job, to, x, at)
        else: fill_strands(4, job, to, x, at)


cdef inline void fill_row(real *to, const real *x, const Line *line) noexcept nogil:
    """One row without strands or modes, in whole vectors: what runs over is the next row's, still to be filled."""
    cdef Py_ssize_t j = 0, a = line.a, m = line.b - a, n = line.n - a
    cdef vec zero = set1(<real>0)
    x += line.at + a
    while j < a:
        store(to + j, zero)
        j += VL
    to += a
    if m >= VL:
        j = 0
        while j + VL <= m:
            store(to + j, load(x + j))
            j += VL
        store(to + m - VL, load(x + m - VL))
    else:
        copy_line(to, x, m)
    j = m
    while j < n:
        store(to + j, zero)
        j += VL


cdef inline void fill_short(ConvJob *job, const Box *box, real *to, const real *x, const Line *line,
                            Py_ssize_t ny) noexcept nogil:
    """ny rows of a plane that fit a vector."""
    cdef Py_ssize_t y0 = box.start[1] * job.t.ss[1] - job.p.before[1], y, a = line.a, m = line.b - a
    cdef vec zero = set1(<real>0)
    x += line.at + a + y0 * job.xs[1]
    for y in range(y0, y0 + ny):
        store(to, zero)
        if 0 <= y < job.p.size[1]:
            copy_line(to + a, x, m)
        to += job.t.row
        x += job.xs[1]


cdef inline Py_ssize_t row_at(const ConvJob *job, Py_ssize_t y) noexcept nogil:
    """Where slab row y lies."""
    if job.t.row_strands == 1:
        return y * job.t.row
    return y % job.t.row_strands * job.t.row_strand + y // job.t.row_strands * job.t.row


cdef inline Py_ssize_t lies(const ConvJob *job, int axis, Py_ssize_t r) noexcept nogil:
    """Where slab row r lies behind the first, in steps: rows are consecutive, or gathered tap by tap."""
    if job.t.sd[axis] == job.t.apart[axis]:
        return r
    return r // job.t.sd[axis] * job.t.apart[axis] + r % job.t.sd[axis]


cdef inline void bound(const ConvJob *job, Line *line) noexcept nogil:
    """Which of a strand's positions exist."""
    cdef Py_ssize_t L = job.p.size[2], hop = line.hop
    if hop == 1:
        line.a = 0 if line.at >= 0 else min(line.n, -line.at)
        line.b = max(line.a, min(line.n, L - line.at))
        return
    line.a = 0 if line.at >= 0 else min(line.n, (-line.at + hop - 1) // hop)
    line.b = max(line.a, 0 if line.at >= L else min(line.n, (L - line.at + hop - 1) // hop))


cdef inline void fill_taps(ConvJob *job, real *to, const real *row, const Line *first, bint plain) noexcept nogil:
    """One row whose columns are gathered: those of one tap behind those of another."""
    cdef Py_ssize_t n = job.t.sd[2], k
    cdef Line line = first[0]
    for k in range(job.p.kernel[2]):
        line.n = n if k < job.p.kernel[2] - 1 else first.n - k * n
        bound(job, &line)
        if plain: fill_row(to, row, &line)
        else: fill_strand(job, to, row, &line)
        to += n
        line.at += job.t.apart[2] * line.hop


cdef inline void fill_slab(ConvJob *job, const Box *box, real *slab, const real *x, Py_ssize_t c0,
                           Py_ssize_t c1) noexcept nogil:
    """Copies channels c0..c1 of the rows of one sample that a box reads."""
    cdef Py_ssize_t c, z, y, s, iz, iy, r, k, rows = job.t.row_strands
    cdef int mode = job.p.mode
    cdef Py_ssize_t nz = (box.extent[0] - 1) * job.t.ss[0] + (job.p.kernel[0] - 1) * job.t.sd[0] + 1
    cdef Py_ssize_t ny = (box.extent[1] - 1) * job.t.ss[1] + (job.p.kernel[1] - 1) * job.t.sd[1] + 1
    cdef const real *row
    cdef real *to
    cdef Line line
    line.n = job.t.slab[2]
    line.hop = job.t.strands * job.t.step[2]
    cdef bint gathered = job.t.sd[2] != job.t.apart[2]
    cdef bint swept = line.hop == job.t.strands and 2 <= line.hop <= 4 and job.xs[2] == 1
    cdef bint plain = line.hop == 1 and job.xs[2] == 1 and mode == PAD_ZEROS
    cdef bint one_plane = (plain and nz == 1 and line.n <= VL and job.p.size[0] == 1 and job.t.step[1] == 1
                           and box.start[0] - job.p.before[0] == 0 and rows == 1 and not gathered
                           and job.t.sd[1] == job.t.apart[1])
    for r in range(1 if swept else job.t.strands):
        line.at = (box.start[2] * job.t.ss[2] + r) * job.t.step[2] - job.p.before[2]
        bound(job, &line)
        for c in range(c0, c1):
            if one_plane:
                fill_short(job, box, slab + (c - c0) * job.t.channel, x + c * job.xc, &line, ny)
                continue
            for z in range(nz):
                iz = source((box.start[0] * job.t.ss[0] + lies(job, 0, z)) * job.t.step[0] - job.p.before[0],
                            job.p.size[0], mode)
                to = slab + (c - c0) * job.t.channel + z * job.t.plane + r * job.t.strand
                s = y = 0
                # in the order of memory: strand after strand, where rows lie in strands
                while s < rows:
                    iy = source((box.start[1] * job.t.ss[1] + lies(job, 1, y)) * job.t.step[1] - job.p.before[1],
                                job.p.size[1], mode)
                    row = x + c * job.xc + iz * job.xs[0] + iy * job.xs[1]
                    if iz < 0 or iy < 0:
                        for k in range(job.t.strands if swept else 1):
                            memset(to + k * job.t.strand, 0, line.n * sizeof(real))
                    elif gathered:
                        fill_taps(job, to, row, &line, plain)
                    elif plain:
                        fill_row(to, row, &line)
                    elif swept:
                        fill_any_strands(job, to, row, line.at)
                    else:
                        fill_strand(job, to, row, &line)
                    to += job.t.row
                    y += rows
                    if y >= ny:
                        s += 1
                        y = s
                        if y >= ny:
                            break
                        to = slab + (c - c0) * job.t.channel + z * job.t.plane + s * job.t.row_strand + r * job.t.strand


cdef inline void fill_box(ConvJob *job, const Box *box, real *slab, const real *x, Py_ssize_t c0,
                          Py_ssize_t c1) noexcept nogil:
    """The slab of every sample of a box, in the order of memory: a row may run over into the next, which is filled
    later."""
    cdef Py_ssize_t c = c0, after, n
    while c < c1:
        after = c1 if box.samples == 1 else c + 1
        for n in range(box.samples):
            fill_slab(job, box, slab + (c - c0) * job.t.channel + n * job.t.sample, x + n * job.xn, c, after)
        c = after
