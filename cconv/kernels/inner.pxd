# cython: cdivision=True
# inner: y[o, q] = bias[o] + sum over c of w[o, c] * x[q, c], dot products along the channels, for planes of few
# positions: 1x1 convolutions, and kernels as large as the input, whose taps count as channels. Weights are read once,
# as they lie; so are the positions' channels where they neighbour in memory, else they are copied first, a row each.
#
# Lanes run along c: up to 6 channels x 4 positions (4 x 3 on 16 registers) of partial sums stay in registers. They are
# added up at the end of every k block, always by the same tree, so a sum has the same bits wherever it lies in a tile.
# Regions: tiles of down_tile() channels, of which the last may be short; of across_tile() positions, the last is a
# narrower tile.
from cconv.kernels.box cimport Box
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport MR, VL, load, load_last, real, set1, sum_vectors, transpose, vec

cdef enum:
    INNER_MOST = 64                 # positions of one item, as in _plan/pointwise.py


cdef struct InnerTile:
    const real *w[6]                # rows of weights; those past the last channel repeat it
    const real *x                   # of the first position
    Py_ssize_t x_step               # from one position to the next
    Py_ssize_t count                # terms, at least VL


cdef struct Places:
    # of an item's positions, in elements from those of its first sample
    Py_ssize_t count
    Py_ssize_t x[64]
    Py_ssize_t y[64]


cdef inline int down_tile() noexcept nogil:
    """Output channels of a tile."""
    return 6 if MR > 6 else 4


cdef inline int across_tile() noexcept nogil:
    """Positions of a tile."""
    return 4 if MR > 6 else 3


cdef inline void inner_tile(const int m, const int n, const InnerTile *p, real *sums) noexcept nogil:
    """sums[j, i]: m channels x n positions of one k block."""
    cdef vec acc[24]
    cdef vec b[4]
    cdef vec a
    cdef Py_ssize_t k = 0, count = p.count, x_step = p.x_step, rest
    cdef int i, j
    cdef const real *x = p.x
    cdef const real *w[6]
    for i in range(m):
        w[i] = p.w[i]
    for i in range(m * n):
        acc[i] = set1(<real>0)
    while k + VL <= count:
        for j in range(n):
            b[j] = load(x + j * x_step + k)
        for i in range(m):
            a = load(w[i] + k)
            for j in range(n):
                acc[j * m + i] = acc[j * m + i] + a * b[j]
        k += VL
    if k < count:
        # the last vector ends with the row: lanes that have been summed are zeros in both factors
        rest = count - k
        k = count - VL
        for j in range(n):
            b[j] = load_last(x + j * x_step + k, rest)
        for i in range(m):
            a = load_last(w[i] + k, rest)
            for j in range(n):
                acc[j * m + i] = acc[j * m + i] + a * b[j]
    sum_vectors(acc, m * n, sums)


cdef inline void any_inner(int n, const InnerTile *p, real *sums) noexcept nogil:
    if MR > 6:
        if n == 4: inner_tile(6, 4, p, sums)
        elif n == 3: inner_tile(6, 3, p, sums)
        elif n == 2: inner_tile(6, 2, p, sums)
        else: inner_tile(6, 1, p, sums)
    elif n == 3: inner_tile(4, 3, p, sums)
    elif n == 2: inner_tile(4, 2, p, sums)
    else: inner_tile(4, 1, p, sums)


cdef inline void put_sums(const real *sums, const real *bias, real *y, Py_ssize_t yc, const Py_ssize_t *at,
                          Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """A tile's sums into y: with the bias, or added to what is there (bias NULL)."""
    cdef Py_ssize_t i, j
    cdef real *to
    for j in range(columns):
        to = y + at[j]
        if bias == NULL:
            for i in range(rows):
                to[i * yc] = to[i * yc] + sums[i]
        else:
            for i in range(rows):
                to[i * yc] = bias[i] + sums[i]
        sums += down_tile()


cdef inline void list_positions(const ConvJob *job, const Box *box, Places *to) noexcept nogil:
    """Where the positions of every sample of an item lie in x and y."""
    cdef Py_ssize_t n, z, y, x, i = 0
    for n in range(box.samples):
        for z in range(job.p.out[0]):
            for y in range(job.p.out[1]):
                for x in range(job.p.out[2]):
                    to.x[i] = (n * job.xn + z * job.p.stride[0] * job.xs[0] + y * job.p.stride[1] * job.xs[1]
                               + x * job.p.stride[2] * job.xs[2])
                    to.y[i] = n * job.yn + z * job.ys[0] + y * job.ys[1] + x * job.ys[2]
                    i += 1
    to.count = i


cdef inline Py_ssize_t turn_rows(real *to, Py_ssize_t ld, const real *x, Py_ssize_t xc, Py_ssize_t columns,
                                 Py_ssize_t channels) noexcept nogil:
    """to[q, c] = x[c, q] in whole vectors both ways, as far as those lie within the input; returns that many
    channels."""
    cdef Py_ssize_t c = 0, q
    # the last channel's vectors must end with its columns, or with those of a later one
    cdef Py_ssize_t last = channels if columns >= VL else channels - (VL - columns + xc - 1) // xc
    while c + VL <= last:
        q = 0
        while q < columns:
            if q + VL > columns and columns >= VL:
                q = columns - VL
            transpose(x + c * xc + q, xc, VL, to + q * ld + c, ld, <int>min(<Py_ssize_t>VL, columns - q))
            q += VL
        c += VL
    return c


cdef inline void copy_rows(const ConvJob *job, const Places *at, const real *x, Py_ssize_t channels, real *to,
                           Py_ssize_t ld) noexcept nogil:
    """to[q, c] = x[c, position q]."""
    cdef Py_ssize_t plane = job.p.out[0] * job.p.out[1] * job.p.out[2], first = 0, c, q, done
    cdef bint line = job.p.out[0] == job.p.out[1] == 1 and job.xs[2] == job.p.stride[2] == 1 and plane > 1
    cdef const real *p
    while first < at.count:
        done = turn_rows(to + first * ld, ld, x + at.x[first], job.xc, plane, channels) if line and job.xc > 0 else 0
        for q in range(first, first + plane):
            p = x + at.x[q]
            for c in range(done, channels):
                to[q * ld + c] = p[c * job.xc]
        first += plane


cdef inline void inner_block(const ConvJob *job, const Box *box, const Places *at, InnerTile *tile, Py_ssize_t k0,
                             const real *zeros) noexcept nogil:
    """One k block: its terms of every sum of the item."""
    cdef Py_ssize_t m = down_tile(), n = across_tile(), tiles = (job.p.O + m - 1) // m, t, o, i, j, columns, rows
    cdef const real *x = tile.x
    cdef const real *bias
    cdef real sums[32]
    for t in range(tiles * box.split // job.o_splits, tiles * (box.split + 1) // job.o_splits):
        o = t * m
        rows = min(m, job.p.O - o)
        for i in range(m):
            tile.w[i] = box.w + (o + min(i, rows - 1)) * job.p.C + k0
        bias = zeros
        if k0: bias = NULL
        elif box.bias != NULL: bias = box.bias + o
        j = 0
        while j < at.count:
            columns = min(n, at.count - j)
            tile.x = x + j * tile.x_step
            any_inner(<int>columns, tile, sums)
            put_sums(sums, bias, box.y + o * job.yc, job.yc, at.y + j, rows, columns)
            j += columns
    tile.x = x


cdef inline void inner_box(const ConvJob *job, const Box *box, real *rows) noexcept nogil:
    """All of an item; `rows` has room for the channels of a k block of every position."""
    cdef Py_ssize_t k0 = 0, ld = job.t.channel
    cdef bint in_place = job.xc == 1 and job.p.out[0] == job.p.out[1] == job.p.out[2] == 1
    cdef Places at
    cdef InnerTile tile
    cdef real zeros[6]
    cdef int i
    for i in range(6):
        zeros[i] = 0
    list_positions(job, box, &at)
    while k0 < job.p.C:
        tile.count = min(job.t.c_block, job.p.C - k0)
        if in_place:
            tile.x, tile.x_step = box.x + k0, job.xn
        else:
            copy_rows(job, &at, box.x + k0 * job.xc, tile.count, rows, ld)
            tile.x, tile.x_step = rows, ld
        inner_block(job, box, &at, &tile, k0, zeros)
        k0 += tile.count
