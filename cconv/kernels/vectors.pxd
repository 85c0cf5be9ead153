# cython: cdivision=True
# gemm without panels: y[o, q] (+)= sum over k of w[o, k] * slab[off[k] + position q], vectors of the slab read where
# they lie. For boxes whose rows fill their vectors: no term is copied, and k blocks are as long as the slab fits L2.
#
# A box is a list of vectors. Regions: the vectors of a row, of which the last ends with the row, or holds fewer
# positions where the row is shorter than one or there are several k blocks, which must not be added twice; or, where
# the box is `flat`, vectors that run on from one slab row into the next, over the columns between that are no
# positions. A vector that is one piece of VL positions is written where it belongs, any other piece by piece.
from libc.string cimport memset

from cconv.kernels.box cimport Box, taps_of
from cconv.kernels.gemm cimport Block
from cconv.kernels.items cimport up
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport MR, VL, get_lines, load, put_lines, real, set1, store, transpose, vec
from cconv.kernels.tile cimport tile_row


cdef struct Vector:
    Py_ssize_t at                   # in the slab
    Py_ssize_t first, count         # its pieces

cdef struct Piece:
    # positions of one row
    Py_ssize_t lane, length
    Py_ssize_t y

cdef struct VectorList:
    # those of a box
    Vector *vector
    Piece *piece
    Py_ssize_t count, pieces

cdef struct Reads:
    # two vectors of m output channels
    const real *a                   # a[k * m + i]
    const real *a1                  # sum_one: of the second tile
    const real *p0
    const real *p1
    const Py_ssize_t *off
    Py_ssize_t count
    const real *bias                # or NULL
    real *c0
    real *c1
    Py_ssize_t ldc0, ldc1
    bint first                      # starts from the bias; else from c0 and c1
    Py_ssize_t o, m                 # output channels o .. o + m


cdef inline Py_ssize_t most_vectors(const ConvJob *job) noexcept nogil:
    """The vectors of a box."""
    cdef Py_ssize_t rows = job.t.box[1], width = job.t.box[2]
    if job.t.flat:
        return job.t.box[0] * up((rows - 1) * job.t.row + width, VL)
    return job.t.box[0] * rows * up(width, VL)


cdef inline Py_ssize_t list_bytes(const ConvJob *job) noexcept nogil:
    """Room for the list of a box: every row begins at most one piece more than there are vectors."""
    cdef Py_ssize_t most = most_vectors(job)
    return most * sizeof(Vector) + (most + job.t.box[0] * job.t.box[1]) * sizeof(Piece)


cdef inline void add_piece(ConvJob *job, const Box *box, VectorList *all, Py_ssize_t z, Py_ssize_t y, Py_ssize_t x,
                           Py_ssize_t lane, Py_ssize_t length) noexcept nogil:
    """Positions x.. of row (z, y), to the last vector."""
    cdef Piece *piece = &all.piece[all.pieces]
    piece.lane, piece.length = lane, length
    piece.y = ((box.start[0] + z) * job.ys[0] + (box.start[1] + y) * job.ys[1] + (box.start[2] + x) * job.ys[2])
    all.pieces += 1
    all.vector[all.count - 1].count += 1


cdef inline void add_vector(VectorList *all, Py_ssize_t at) noexcept nogil:
    all.vector[all.count].at = at
    all.vector[all.count].first, all.vector[all.count].count = all.pieces, 0
    all.count += 1


cdef inline void list_flat(ConvJob *job, const Box *box, VectorList *all, Py_ssize_t z) noexcept nogil:
    """Vectors of one depth that run on: position q is column q % row of output row q // row."""
    cdef Py_ssize_t row = job.t.row, width = box.extent[2], last = (box.extent[1] - 1) * row + width
    cdef Py_ssize_t q = 0, lane, y, x, n
    while q < last:
        add_vector(all, z * job.t.ss[0] * job.t.plane + q)
        lane = 0
        while lane < VL and q + lane < last:
            y = (q + lane) // row
            x = (q + lane) % row
            n = min(VL - lane, row - x)
            if x < width:
                add_piece(job, box, all, z, y, x, lane, min(n, width - x))
            lane += n
        q += VL


cdef inline void list_rows(ConvJob *job, const Box *box, VectorList *all, Py_ssize_t z) noexcept nogil:
    """Vectors of the rows of one depth."""
    cdef Py_ssize_t width = box.extent[2], y, x, at
    for y in range(box.extent[1]):
        x = 0
        while x < width:
            at = min(x, max(<Py_ssize_t>0, width - VL)) if job.t.c_block >= job.p.C else x
            add_vector(all, z * job.t.ss[0] * job.t.plane + y * job.t.ss[1] * job.t.row + at)
            add_piece(job, box, all, z, y, at, 0, min(<Py_ssize_t>VL, width - at))
            x += VL


cdef inline void list_vectors(ConvJob *job, const Box *box, char *room, VectorList *all) noexcept nogil:
    """The list of a box."""
    cdef Py_ssize_t z
    all.vector = <Vector *>room
    all.piece = <Piece *>(room + most_vectors(job) * sizeof(Vector))
    all.count = all.pieces = 0
    for z in range(box.extent[0]):
        if job.t.flat: list_flat(job, box, all, z)
        else: list_rows(job, box, all, z)


cdef inline void sum_pair(const int m, const Reads *p) noexcept nogil:
    """The register tile without a panel: its two vectors are read where they lie, at p0 + off[k] and p1 + off[k]."""
    cdef vec lo[14]
    cdef vec hi[14]
    cdef vec b0, b1, w
    cdef Py_ssize_t k
    cdef int i
    cdef const real *a = p.a
    cdef const real *p0 = p.p0
    cdef const real *p1 = p.p1
    cdef const Py_ssize_t *off = p.off
    if not p.first:
        for i in range(m):
            lo[i] = load(p.c0 + i * p.ldc0)
            hi[i] = load(p.c1 + i * p.ldc1)
    else:
        for i in range(m):
            lo[i] = set1(p.bias[i]) if p.bias != NULL else set1(<real>0)
            hi[i] = lo[i]
    for k in range(p.count):
        b0 = load(p0 + off[k])
        b1 = load(p1 + off[k])
        for i in range(m):
            w = set1(a[i])
            lo[i] = lo[i] + w * b0
            hi[i] = hi[i] + w * b1
        a += m
    for i in range(m):
        store(p.c0 + i * p.ldc0, lo[i])
    for i in range(m):
        store(p.c1 + i * p.ldc1, hi[i])


cdef inline void any_sum_pair(int m, const Reads *p) noexcept nogil:
    if m == 6: sum_pair(6, p)
    elif m == 5: sum_pair(5, p)
    elif m == 4: sum_pair(4, p)
    elif m == 3: sum_pair(3, p)
    elif m == 2: sum_pair(2, p)
    elif m == 1: sum_pair(1, p)
    elif MR > 6:
        # for 32 vector registers (AVX-512)
        if m == 14: sum_pair(14, p)
        elif m == 13: sum_pair(13, p)
        elif m == 12: sum_pair(12, p)
        elif m == 11: sum_pair(11, p)
        elif m == 10: sum_pair(10, p)
        elif m == 9: sum_pair(9, p)
        elif m == 8: sum_pair(8, p)
        elif m == 7: sum_pair(7, p)


cdef inline void sum_one(const int m, const Reads *p) noexcept nogil:
    """The tile turned: two tiles of m rows of one vector, at p0; the weights of the second at a1, its sums at c1."""
    cdef vec lo[14]
    cdef vec hi[14]
    cdef vec b
    cdef Py_ssize_t k
    cdef int i
    cdef const real *a0 = p.a
    cdef const real *a1 = p.a1
    cdef const real *p0 = p.p0
    cdef const Py_ssize_t *off = p.off
    if not p.first:
        for i in range(m):
            lo[i] = load(p.c0 + i * p.ldc0)
            hi[i] = load(p.c1 + i * p.ldc1)
    else:
        for i in range(m):
            lo[i] = set1(p.bias[i]) if p.bias != NULL else set1(<real>0)
            hi[i] = set1(p.bias[m + i]) if p.bias != NULL else set1(<real>0)
    for k in range(p.count):
        b = load(p0 + off[k])
        for i in range(m):
            lo[i] = lo[i] + set1(a0[i]) * b
            hi[i] = hi[i] + set1(a1[i]) * b
        a0 += m
        a1 += m
    for i in range(m):
        store(p.c0 + i * p.ldc0, lo[i])
    for i in range(m):
        store(p.c1 + i * p.ldc1, hi[i])


cdef inline void any_sum_one(int m, const Reads *p) noexcept nogil:
    if m == 6: sum_one(6, p)
    elif m == 5: sum_one(5, p)
    elif m == 4: sum_one(4, p)
    elif m == 3: sum_one(3, p)
    elif m == 2: sum_one(2, p)
    elif m == 1: sum_one(1, p)
    elif MR > 6:
        if m == 14: sum_one(14, p)
        elif m == 13: sum_one(13, p)
        elif m == 12: sum_one(12, p)
        elif m == 11: sum_one(11, p)
        elif m == 10: sum_one(10, p)
        elif m == 9: sum_one(9, p)
        elif m == 8: sum_one(8, p)
        elif m == 7: sum_one(7, p)


cdef inline void turn_weights(real *to, const real *w, Py_ssize_t K, Py_ssize_t count, Py_ssize_t m) noexcept nogil:
    """to[k * m + i] = w[i * K + k]. Whole vectors are written, of which the next overwrites what is too much."""
    cdef Py_ssize_t k = 0, i, first = (m - 1) // VL * VL
    while k + VL <= count:
        # the last rows first: their vectors run over into the next k
        i = first
        while i >= 0:
            transpose(w + i * K + k, K, <int>min(m - i, <Py_ssize_t>VL), to + k * m + i, m, VL)
            i -= VL
        k += VL
    for k in range(k, count):
        for i in range(m):
            to[k * m + i] = w[i * K + k]


cdef inline void read_pieces(ConvJob *job, const VectorList *all, const Vector *v, const real *y, real *buf,
                             Py_ssize_t m) noexcept nogil:
    """The way back."""
    cdef Py_ssize_t i
    cdef const Piece *piece
    for i in range(v.count):
        piece = &all.piece[v.first + i]
        get_lines(buf + piece.lane, VL, y + piece.y, job.yc, job.ys[2], m, piece.length)


cdef inline void write_pieces(ConvJob *job, const VectorList *all, const Vector *v, real *y, const real *buf,
                              Py_ssize_t m) noexcept nogil:
    """m rows of one vector."""
    cdef Py_ssize_t i
    cdef const Piece *piece
    for i in range(v.count):
        piece = &all.piece[v.first + i]
        put_lines(y + piece.y, job.yc, job.ys[2], buf + piece.lane, VL, m, piece.length)


cdef inline bint whole_vector(const ConvJob *job, const VectorList *all, const Vector *v) noexcept nogil:
    """Whether a vector is written where it belongs."""
    return v.count == 1 and all.piece[v.first].length == VL and job.ys[2] == 1


cdef inline void sum_last(ConvJob *job, const Box *box, const Block *block, const VectorList *all, Reads *p,
                          real *buf) noexcept nogil:
    """The last vector, of a tile and the next."""
    cdef Py_ssize_t m = p.m
    cdef const Vector *v = &all.vector[all.count - 1]
    cdef bint direct = whole_vector(job, all, v)
    cdef real *y = box.y + p.o * job.yc
    p.a1 = p.a + m * job.p.C * taps_of(job)
    p.p0 = block.slab + v.at
    p.c0 = y + all.piece[v.first].y if direct else &buf[0]
    p.c1 = p.c0 + m * (job.yc if direct else VL)
    p.ldc0 = p.ldc1 = job.yc if direct else VL
    if not direct and not block.first:
        read_pieces(job, all, v, y, buf, 2 * m)
    any_sum_one(<int>m, p)
    if not direct:
        write_pieces(job, all, v, y, buf, 2 * m)


cdef inline void sum_two(ConvJob *job, const Box *box, const Block *block, const VectorList *all, Reads *p,
                         Py_ssize_t v, real *buf) noexcept nogil:
    """Vectors v and v + 1 of a tile; an odd last one is computed twice, from the same sums."""
    cdef Py_ssize_t m = p.m
    cdef const Vector *v0 = &all.vector[v]
    cdef const Vector *v1 = &all.vector[min(v + 1, all.count - 1)]
    cdef bint whole0 = whole_vector(job, all, v0)
    cdef bint whole1 = whole_vector(job, all, v1)
    cdef real *y = box.y + p.o * job.yc
    p.p0 = block.slab + v0.at
    p.p1 = block.slab + v1.at
    p.c0 = y + all.piece[v0.first].y if whole0 else &buf[0]
    p.c1 = y + all.piece[v1.first].y if whole1 else &buf[14 * VL]
    p.ldc0 = job.yc if whole0 else VL
    p.ldc1 = job.yc if whole1 else VL
    if not block.first:
        if not whole0: read_pieces(job, all, v0, y, buf, m)
        if not whole1: read_pieces(job, all, v1, y, buf + 14 * VL, m)
    any_sum_pair(<int>m, p)
    if not whole0:
        write_pieces(job, all, v0, y, buf, m)
    if not whole1:
        write_pieces(job, all, v1, y, buf + 14 * VL, m)


cdef inline void sum_vectors(ConvJob *job, const Box *box, const Block *block, const VectorList *all,
                             real *weights) noexcept nogil:
    """A k block of a whole box, vectors by twos; `weights` has room for those of a tile, where they are not packed.

    An odd last vector is left to two tiles at once, where they are alike."""
    cdef Py_ssize_t K = job.p.C * taps_of(job), tiles = (job.p.O + MR - 1) // MR, o, m, v, last
    cdef bint turned
    cdef Py_ssize_t t, end = tiles * (box.split + 1) // job.o_splits, done = 0
    cdef real buf[2 * 14 * 16]
    cdef Reads p
    p.off = block.off
    p.count = block.count
    p.first = block.first
    # lanes without a position start from nothing: no denormals
    memset(buf, 0, sizeof(buf))
    for t in range(tiles * box.split // job.o_splits, end):
        o = tile_row(job.p.O, tiles, t)
        m = tile_row(job.p.O, tiles, t + 1) - o
        p.a = box.w + o * K + (block.k0 * m if job.t.packed else block.k0)
        if not job.t.packed:
            turn_weights(weights, p.a, K, block.count, m)
            p.a = weights
        p.o, p.m = o, m
        p.bias = box.bias + o if box.bias != NULL else NULL
        last = all.count
        turned = all.count % 2 == 1 and job.t.packed and t + 1 < end
        if done == t + 1:
            # with the tile before
            last -= 1
        elif turned and tile_row(job.p.O, tiles, t + 2) - o == 2 * m:
            sum_last(job, box, block, all, &p, buf)
            done = t + 2
            last -= 1
        v = 0
        while v < last:
            sum_two(job, box, block, all, &p, v, buf)
            v += 2
