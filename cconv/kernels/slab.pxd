# The slab: the zero-padded copy of the input rows that a box of outputs reads, shared by the kernels as inline
# functions. Columns lie de-interleaved by the stride (`strands` runs of slab[2] columns), so that every tap of every
# output row is a contiguous run. Padding modes live here and nowhere else.
from libc.string cimport memset

from cconv.kernels.job cimport PAD_ZEROS, ConvJob
from cconv.kernels.tile cimport VL, copy_run, load, load2, real, set1, source, store, vec


cdef inline void fill_strand(ConvJob *job, real *to, const real *x, Py_ssize_t at, Py_ssize_t a, Py_ssize_t b,
                            Py_ssize_t n) noexcept nogil:
    """One strand of one slab row: to[j] is column at + j*hop of the input, which holds those of a <= j < b."""
    cdef Py_ssize_t j, i, hop = job.t.strands * job.t.step[2]
    for j in range(a):
        i = source(at + j * hop, job.p.size[2], job.p.mode)
        to[j] = x[i * job.xs[2]] if i >= 0 else <real>0
    copy_run(to + a, x + (at + a * hop) * job.xs[2], hop * job.xs[2], b - a)
    for j in range(b, n):
        i = source(at + j * hop, job.p.size[2], job.p.mode)
        to[j] = x[i * job.xs[2]] if i >= 0 else <real>0


cdef inline void fill_pair(ConvJob *job, real *to, const real *x, Py_ssize_t at) noexcept nogil:
    """Both strands of one row for stride 2 in one sweep; to[n:] is the second, whose columns stand at at + 1 + 2j."""
    cdef Py_ssize_t n = job.t.slab[2], L = job.p.size[2], j, i, a, b
    cdef vec even, odd
    # pairs a <= j < b lie inside the input with both columns
    a = 0 if at >= 0 else min(n, (-at + 1) // 2)
    b = max(a, min(n, (L - at) // 2 if at < L else 0))
    j = 0
    while j < n:
        if j == a and b - a >= VL:
            while j + VL <= b:
                load2(x + at + 2 * j, &even, &odd)
                store(to + j, even)
                store(to + n + j, odd)
                j += VL
            if j < b:
                load2(x + at + 2 * (b - VL), &even, &odd)
                store(to + b - VL, even)
                store(to + n + b - VL, odd)
                j = b
            if j >= n:
                break
        i = source(at + 2 * j, L, job.p.mode)
        to[j] = x[i] if i >= 0 else <real>0
        i = source(at + 1 + 2 * j, L, job.p.mode)
        to[n + j] = x[i] if i >= 0 else <real>0
        j += 1


cdef inline void fill_row(real *to, const real *x, Py_ssize_t a, Py_ssize_t b, Py_ssize_t n) noexcept nogil:
    """to[a:b] = x[:b - a] with zeros around, in whole vectors: what runs over is the next row's, still to be filled."""
    cdef Py_ssize_t j = 0, m = b - a
    cdef vec zero = set1(<real>0)
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
        for j in range(m):
            to[j] = x[j]
    j = m
    n -= a
    while j < n:
        store(to + j, zero)
        j += VL


cdef inline void fill_short(real *to, Py_ssize_t row, Py_ssize_t ny, const real *x, Py_ssize_t step, Py_ssize_t y0,
                            Py_ssize_t high, Py_ssize_t a, Py_ssize_t m) noexcept nogil:
    """A plane whose rows fit a vector: rows y0 .. y0 + ny of x, of which 0 .. high exist, m values from column a on."""
    cdef Py_ssize_t y, j
    cdef vec zero = set1(<real>0)
    x += y0 * step
    for y in range(y0, y0 + ny):
        store(to, zero)
        if 0 <= y < high:
            for j in range(m):
                to[a + j] = x[j]
        to += row
        x += step


cdef inline void fill_slab(ConvJob *job, real *slab, const real *x, Py_ssize_t c0, Py_ssize_t c1, Py_ssize_t *start,
                           Py_ssize_t *extent) noexcept nogil:
    """Copies channels c0..c1 of the rows that the box at `start` of `extent` positions reads."""
    cdef Py_ssize_t c, z, y, iz, iy, r, at, a, b, hop = job.t.strands * job.t.step[2], L = job.p.size[2], n = job.t.slab[2]
    cdef Py_ssize_t nz = (extent[0] - 1) * job.t.ss[0] + (job.p.kernel[0] - 1) * job.t.sd[0] + 1
    cdef Py_ssize_t ny = (extent[1] - 1) * job.t.ss[1] + (job.p.kernel[1] - 1) * job.t.sd[1] + 1
    cdef real *to
    cdef bint pair = hop == 2 and job.t.strands == 2 and job.xs[2] == 1
    cdef bint plain = hop == 1 and job.xs[2] == 1 and job.p.mode == PAD_ZEROS
    for r in range(1 if pair else job.t.strands):
        at = (start[2] * job.t.ss[2] + r) * job.t.step[2] - job.p.before[2]
        # columns a <= j < b lie inside the input; the same for every row
        a = 0 if at >= 0 else min(n, (-at + hop - 1) // hop)
        b = max(a, 0 if at >= L else min(n, (L - at + hop - 1) // hop))
        for c in range(c0, c1):
            if plain and nz == 1 and n <= VL and job.p.size[0] == 1 and job.t.step[1] == 1 and start[0] - job.p.before[0] == 0:
                fill_short(slab + (c - c0) * job.t.channel, job.t.row, ny, x + c * job.xc + at + a, job.xs[1],
                           start[1] * job.t.ss[1] - job.p.before[1], job.p.size[1], a, b - a)
                continue
            for z in range(nz):
                iz = source((start[0] * job.t.ss[0] + z) * job.t.step[0] - job.p.before[0], job.p.size[0], job.p.mode)
                to = slab + (c - c0) * job.t.channel + z * job.t.plane + r * n
                for y in range(ny):
                    iy = source((start[1] * job.t.ss[1] + y) * job.t.step[1] - job.p.before[1], job.p.size[1], job.p.mode)
                    if iz < 0 or iy < 0:
                        memset(to, 0, (2 * n if pair else n) * sizeof(real))
                    elif plain:
                        fill_row(to, x + c * job.xc + iz * job.xs[0] + iy * job.xs[1] + at + a, a, b, n)
                    elif pair:
                        fill_pair(job, to, x + c * job.xc + iz * job.xs[0] + iy * job.xs[1], at)
                    else:
                        fill_strand(job, to, x + c * job.xc + iz * job.xs[0] + iy * job.xs[1], at, a, b, n)
                    to += job.t.row
