# cython: cdivision=True
# turned: y[o, q] = bias[o] + sum over c of w[o, c] * x[c, q] with lanes along the output channels, for 1x1 convolutions
# of planes that would fill panels badly: 49 positions are 1.53 panels of 32, but 3.5 tiles of 14 rows.
#
# The register tile turned: its rows are positions, which are broadcast from the input where it lies (or from a copy of
# one sample, where positions do not neighbour), its panels the packed weights, NR output channels x C, filled up with
# zeros. A panel after the other, tiles of up to MR positions are summed to sums[q, lane], and turned into y.
# Regions: positions are dealt to tiles evenly; the last panel, if at most half full, takes two tiles at once.
from cconv.kernels.box cimport Box
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport MR, NR, VL, load, put_lines, real, store, transpose
from cconv.kernels.slab cimport copy_run
from cconv.kernels.tile cimport Product, any_pair, any_tile, tile_row


cdef inline Py_ssize_t weight_panels(const ConvJob *job) noexcept nogil:
    """Panels of the output channels of a group."""
    return (job.p.O + NR - 1) // NR


cdef inline void pack_panel(const ConvJob *job, Py_ssize_t item, real *to) noexcept nogil:
    """Item = (group, panel): to[c, lane] = w[o + lane, c]."""
    cdef Py_ssize_t C = job.p.C, panels = weight_panels(job), o = item % panels * NR, c = 0, i, half
    cdef Py_ssize_t rows = min(<Py_ssize_t>NR, job.p.O - o)
    cdef const real *w = <const real *>job.w + (item // panels * job.p.O + o) * C
    to += item * C * NR
    while c + VL <= C:
        for half in range(2):
            i = max(<Py_ssize_t>0, min(<Py_ssize_t>VL, rows - half * VL))
            transpose(w + min(half * VL, rows - 1) * C + c, C, <int>i, to + c * NR + half * VL, NR, VL)
        c += VL
    for c in range(c, C):
        for i in range(NR):
            to[c * NR + i] = w[i * C + c] if i < rows else <real>0


cdef inline void start_sums(const ConvJob *job, const Box *box, Py_ssize_t o, Py_ssize_t rows,
                            real *sums) noexcept nogil:
    """Every position's sums start from the bias; lanes without a channel from zero."""
    cdef Py_ssize_t i, q, n = min(<Py_ssize_t>NR, job.p.O - o)
    for i in range(NR):
        sums[i] = box.bias[o + i] if box.bias != NULL and i < n else <real>0
    for q in range(1, rows):
        store(sums + q * NR, load(sums))
        store(sums + q * NR + VL, load(sums + VL))


cdef inline void put_positions(const ConvJob *job, const real *sums, real *y, Py_ssize_t channels) noexcept nogil:
    """put_turned where the output's positions are no line."""
    cdef Py_ssize_t z, r, q, i
    for z in range(job.p.out[0]):
        for r in range(job.p.out[1]):
            for q in range(job.p.out[2]):
                for i in range(channels):
                    y[i * job.yc + z * job.ys[0] + r * job.ys[1] + q * job.ys[2]] = sums[i]
                sums += NR


cdef inline bint written_as_line(const ConvJob *job) noexcept nogil:
    return ((job.p.out[1] == 1 or job.ys[1] == job.p.out[2] * job.ys[2])
            and (job.p.out[0] == 1 or job.ys[0] == job.p.out[1] * job.p.out[2] * job.ys[2]))


cdef inline void put_turned(const ConvJob *job, const real *sums, real *y, Py_ssize_t positions,
                            Py_ssize_t channels) noexcept nogil:
    """y[i, q] = sums[q, i] of one sample and one panel."""
    cdef Py_ssize_t q = 0, at, i, n, lanes = min(<Py_ssize_t>VL, positions)
    cdef real buf[16 * 16]
    if not written_as_line(job):
        put_positions(job, sums, y, channels)
        return
    while q < positions:
        # the last vector of positions ends with the plane
        at = max(<Py_ssize_t>0, min(q, positions - VL))
        i = 0
        while i < channels:
            n = min(<Py_ssize_t>VL, channels - i)
            if lanes == VL and job.ys[2] == 1:
                transpose(sums + at * NR + i, NR, VL, y + i * job.yc + at, job.yc, <int>n)
            else:
                transpose(sums + at * NR + i, NR, <int>lanes, buf, VL, <int>n)
                put_lines(y + i * job.yc + at * job.ys[2], job.yc, job.ys[2], buf, VL, n, lanes)
            i += VL
        q += VL


cdef inline void turned_block(const ConvJob *job, Product *p, Py_ssize_t positions, bint half,
                              real *sums) noexcept nogil:
    """One k block of one panel: every tile of a sample, whose first position is at p.a."""
    cdef Py_ssize_t tiles = (positions + MR - 1) // MR, t = 0, q, m
    cdef const real *a = p.a
    while t < tiles:
        q = tile_row(positions, tiles, t)
        m = tile_row(positions, tiles, t + 1) - q
        p.next = m if half and t + 1 < tiles and tile_row(positions, tiles, t + 2) - q == 2 * m else 0
        p.a = a + q
        p.c = sums + q * NR
        if p.next:
            any_pair(<int>m, 2, p)
        else:
            any_tile(<int>m, 2, p)
        t += 2 if p.next else 1


cdef inline void copy_plane(const ConvJob *job, const real *x, real *to) noexcept nogil:
    """to[c, q] = x[c, position q]."""
    cdef Py_ssize_t c, z, y
    for c in range(job.p.C):
        for z in range(job.p.out[0]):
            for y in range(job.p.out[1]):
                copy_run(to, x + c * job.xc + z * job.p.stride[0] * job.xs[0] + y * job.p.stride[1] * job.xs[1],
                         job.p.stride[2] * job.xs[2], job.p.out[2])
                to += job.p.out[2]


cdef inline void turned_box(const ConvJob *job, const Box *box, real *sums, real *copy) noexcept nogil:
    """All of an item: `sums` of one panel, and the copy of one sample, where it is one."""
    cdef Py_ssize_t positions = job.p.out[0] * job.p.out[1] * job.p.out[2], panels = weight_panels(job), j, k, n, o
    cdef const real *w = <const real *>job.w + box.g * panels * job.p.C * NR
    cdef bint copied = not (job.t.in_place and job.xs[2] == 1)
    cdef const real *x = box.x
    cdef Py_ssize_t xn = job.xn
    cdef Product p
    p.first, p.bias, p.ldc = False, NULL, NR
    p.K = job.xc
    if copied:
        p.K = positions
        for n in range(box.samples):
            copy_plane(job, box.x + n * job.xn, copy + n * positions * job.p.C)
        x = copy
        xn = positions * job.p.C
    for j in range(panels * box.split // job.o_splits, panels * (box.split + 1) // job.o_splits):
        o = j * NR
        start_sums(job, box, o, positions * box.samples, sums)
        k = 0
        while k < job.p.C:
            p.count = min(job.t.c_block, job.p.C - k)
            p.b = w + (j * job.p.C + k) * NR
            for n in range(box.samples):
                p.a = x + n * xn + k * p.K
                turned_block(job, &p, positions, job.p.O - o <= VL, sums + n * positions * NR)
            k += p.count
        for n in range(box.samples):
            put_turned(job, sums + n * positions * NR, box.y + n * job.yn + o * job.yc, positions,
                       min(<Py_ssize_t>NR, job.p.O - o))
