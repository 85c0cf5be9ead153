# cython: cdivision=True
# rows: few output channels a group (depthwise, image filters), where panels would cost as much as multiplying them.
# Rows of the slab are read in place: y[o, r, :] (+)= sum over k of w[o, k] * slab[off[k] + r*step + :].
#
# Up to eight vectors of one output channel stay in registers, R rows x V vectors. Where `kw_first` orders the terms
# by columns (undilated kernels of 3 or 5 rows), a vector is loaded once for all output rows whose windows hold it.
# Regions of a box: R rows after R rows; the last vector of a row ends with the row, the last rows are computed again.
from cconv.kernels.box cimport Box, taps_of
from cconv.kernels.gemm cimport Block
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport VL, get_lines, load, mul_add, put_lines, real, set1, store, vec


cdef struct Strip:
    # rows of one output channel
    const real *w
    const real *slab
    const Py_ssize_t *off
    Py_ssize_t count                # terms
    Py_ssize_t step                 # slab elements between the inputs of neighbouring output rows
    Py_ssize_t row                  # between neighbouring input rows
    Py_ssize_t outer, kw            # terms are outer x KH x kw
    real *y
    Py_ssize_t ystep, xstep
    Py_ssize_t width                # columns
    real bias
    bint first                      # sums start from the bias; else from y


cdef struct RowTiles:
    # one_piece, some_rows, and shared_rows of 3 or 5 rows and stride 1 or 2, each compiled out of line by the kernel:
    # inlined into one function they would not have the registers for themselves
    void (*piece)(const Strip *s) noexcept nogil
    Py_ssize_t (*some)(const Strip *s, Py_ssize_t rows, Py_ssize_t vectors) noexcept nogil
    void (*shared[4])(const Strip *s, Py_ssize_t rows) noexcept nogil


cdef inline void get_rows(const int R, const int V, const Strip *s, vec *acc) noexcept nogil:
    """What R rows of V vectors start from."""
    cdef Py_ssize_t at
    cdef real buf[8 * 16]
    cdef int r, v
    if s.first:
        for r in range(R * V):
            acc[r] = set1(s.bias)
        return
    for r in range(R * V):
        store(buf + r * VL, set1(<real>0))
    for v in range(V):
        at = max(<Py_ssize_t>0, s.width - VL) if v == V - 1 else v * VL
        get_lines(buf + v * VL, V * VL, s.y + at * s.xstep, s.ystep, s.xstep, R, min(<Py_ssize_t>VL, s.width - at))
    for r in range(R * V):
        acc[r] = load(buf + r * VL)


cdef inline void put_rows(const int R, const int V, const Strip *s, const vec *acc) noexcept nogil:
    """R rows of V vectors into y; the last vector ends with the row."""
    cdef Py_ssize_t last = max(<Py_ssize_t>0, s.width - VL), at
    cdef real buf[8 * 16]
    cdef int r, v
    if s.xstep == 1 and s.width >= VL:
        for r in range(R):
            for v in range(V - 1):
                store(s.y + r * s.ystep + v * VL, acc[r * V + v])
            store(s.y + r * s.ystep + last, acc[r * V + V - 1])
        return
    for r in range(R * V):
        store(buf + r * VL, acc[r])
    for v in range(V):
        at = last if v == V - 1 else v * VL
        put_lines(s.y + at * s.xstep, s.ystep, s.xstep, buf + v * VL, V * VL, R, min(<Py_ssize_t>VL, s.width - at))


cdef inline void rows_tile(const int R, const int V, const Strip *s) noexcept nogil:
    """R rows x V vectors of one output channel."""
    cdef vec acc[8]
    cdef vec a
    cdef Py_ssize_t last = max(<Py_ssize_t>0, s.width - VL), step = s.step, k
    cdef int r, v
    cdef const real *p
    cdef const real *w = s.w
    cdef const real *slab = s.slab
    cdef const Py_ssize_t *off = s.off
    get_rows(R, V, s, acc)
    for k in range(s.count):
        a = set1(w[k])
        p = slab + off[k]
        for r in range(R):
            for v in range(V - 1):
                acc[r * V + v] = mul_add(acc[r * V + v], a, load(p + r * step + v * VL))
            acc[r * V + V - 1] = mul_add(acc[r * V + V - 1], a, load(p + r * step + last))
    put_rows(R, V, s, acc)


cdef inline Py_ssize_t some_rows(const Strip *s, Py_ssize_t rows, Py_ssize_t vectors) noexcept nogil:
    """The first of so many rows by rows_tile; returns how many."""
    if vectors == 1 and rows >= 8:
        rows_tile(8, 1, s)
        return 8
    if vectors == 2 and rows >= 4:
        rows_tile(4, 2, s)
        return 4
    if vectors == 3 and rows >= 2:
        rows_tile(2, 3, s)
        return 2
    if vectors == 4 and rows >= 2:
        rows_tile(2, 4, s)
        return 2
    return 0


cdef inline void one_piece(const Strip *s) noexcept nogil:
    """A row of up to eight vectors."""
    if s.width > 7 * VL: rows_tile(1, 8, s)
    elif s.width > 6 * VL: rows_tile(1, 7, s)
    elif s.width > 5 * VL: rows_tile(1, 6, s)
    elif s.width > 4 * VL: rows_tile(1, 5, s)
    elif s.width > 3 * VL: rows_tile(1, 4, s)
    elif s.width > 2 * VL: rows_tile(1, 3, s)
    elif s.width > VL: rows_tile(1, 2, s)
    else: rows_tile(1, 1, s)


cdef inline void one_row(const RowTiles *tiles, const Strip *strip, Py_ssize_t vectors) noexcept nogil:
    """Pieces of at most eight vectors, as even as they come: none of a single partial vector, which would overlap."""
    cdef Strip s = strip[0]
    cdef Py_ssize_t pieces = (vectors + 7) // 8, piece = (vectors + pieces - 1) // pieces * VL, x = 0
    while x < strip.width:
        s.slab = strip.slab + x
        s.y = strip.y + x * s.xstep
        s.width = min(strip.width - x, piece)
        tiles.piece(&s)
        x += piece


cdef inline void each_row(const RowTiles *tiles, const Strip *strip, Py_ssize_t rows) noexcept nogil:
    """All rows of a box at one depth by rows_tile."""
    cdef Strip s = strip[0]
    cdef Py_ssize_t vectors = (s.width + VL - 1) // VL, n
    while rows > 0:
        n = tiles.some(&s, rows, vectors) if vectors <= 4 else 0
        if n == 0:
            one_row(tiles, &s, vectors)
            n = 1
        rows -= n
        s.slab += n * s.step
        s.y += n * s.ystep


cdef struct Vectors:
    vec acc[16]                     # R x V sums
    vec a[5]                        # the weights of a column of taps


cdef inline void shared_row(const int R, const int V, const int KH, const int S, const int r, Vectors *here,
                            const real *p, Py_ssize_t last) noexcept nogil:
    """Input row r of a tile, to every output row whose window holds it."""
    cdef vec x
    cdef int v, h
    for v in range(V):
        x = load(p + (last if v == V - 1 else v * VL))
        for h in range(KH):
            if r - h >= 0 and (r - h) % S == 0 and r - h < R * S:
                here.acc[(r - h) // S * V + v] = mul_add(here.acc[(r - h) // S * V + v], here.a[h], x)


cdef inline void shared_tile(const int R, const int V, const int KH, const int S, const Strip *s) noexcept nogil:
    """As rows_tile for undilated kernels of KH rows and stride S: a vector is loaded once for all rows that use it."""
    cdef Vectors here
    cdef Py_ssize_t last = max(<Py_ssize_t>0, s.width - VL), row = s.row, KW = s.kw, i, k
    cdef int r, h
    cdef const real *p
    cdef const real *w = s.w
    cdef const real *slab = s.slab
    cdef const Py_ssize_t *off = s.off
    for r in range(R * V):
        here.acc[r] = set1(s.bias)
    for i in range(s.outer):
        for k in range(KW):
            p = slab + off[i * KH * KW + k]
            for h in range(KH):
                here.a[h] = set1(w[(i * KH + h) * KW + k])
            # written out: the compiler unrolls loops over v and h, but not one more around them
            if 0 < (R - 1) * S + KH: shared_row(R, V, KH, S, 0, &here, p, last)
            if 1 < (R - 1) * S + KH: shared_row(R, V, KH, S, 1, &here, p + row, last)
            if 2 < (R - 1) * S + KH: shared_row(R, V, KH, S, 2, &here, p + 2 * row, last)
            if 3 < (R - 1) * S + KH: shared_row(R, V, KH, S, 3, &here, p + 3 * row, last)
            if 4 < (R - 1) * S + KH: shared_row(R, V, KH, S, 4, &here, p + 4 * row, last)
            if 5 < (R - 1) * S + KH: shared_row(R, V, KH, S, 5, &here, p + 5 * row, last)
            if 6 < (R - 1) * S + KH: shared_row(R, V, KH, S, 6, &here, p + 6 * row, last)
            if 7 < (R - 1) * S + KH: shared_row(R, V, KH, S, 7, &here, p + 7 * row, last)
            if 8 < (R - 1) * S + KH: shared_row(R, V, KH, S, 8, &here, p + 8 * row, last)
            if 9 < (R - 1) * S + KH: shared_row(R, V, KH, S, 9, &here, p + 9 * row, last)
            if 10 < (R - 1) * S + KH: shared_row(R, V, KH, S, 10, &here, p + 10 * row, last)
            if 11 < (R - 1) * S + KH: shared_row(R, V, KH, S, 11, &here, p + 11 * row, last)
    put_rows(R, V, s, here.acc)


cdef inline void shared_rows(const int KH, const int S, const Strip *strip, Py_ssize_t rows) noexcept nogil:
    """All rows of a box at one depth by shared_tile, the last ones computed again where rows do not divide."""
    cdef Strip s = strip[0]
    cdef Py_ssize_t i = 0, x, width = s.width
    cdef bint high = S == 1 and width <= VL and rows >= 8
    while i < rows:
        i = min(i, rows - (8 if high else 4))
        x = 0
        while x < width:
            s.width = min(width - x, 2 * VL)
            if VL <= width and s.width <= VL:
                # one vector, ending with the row
                x = width - VL
                s.width = VL
            s.slab = strip.slab + i * S * s.row + x
            s.y = strip.y + i * s.ystep + x * s.xstep
            if high:
                shared_tile(8, 1, KH, S, &s)
            elif s.width > VL:
                shared_tile(4, 2, KH, S, &s)
            else:
                shared_tile(4, 1, KH, S, &s)
            x += s.width
        i += 8 if high else 4


cdef inline void turn_taps(ConvJob *job, const Block *block, real *w, const real *from_) noexcept nogil:
    """Offsets and weights of whole (c, kd) blocks, from the order kh, kw into kw, kh; `off` has room for both."""
    cdef Py_ssize_t kh = job.p.kernel[1], kw = job.p.kernel[2], i, y, x, n = 0
    cdef Py_ssize_t *to = block.off + block.count
    for i in range(block.count // (kh * kw)):
        for x in range(kw):
            for y in range(kh):
                to[n] = block.off[(i * kh + y) * kw + x]
                w[n] = from_[(i * kh + y) * kw + x]
                n += 1


cdef inline void rows_block(const RowTiles *tiles, ConvJob *job, const Box *box, const Block *block) noexcept nogil:
    """One k block, for every output channel and depth of a box."""
    cdef Py_ssize_t K = job.p.C * taps_of(job), o, z
    # small boxes, other strides and k blocks keep the order of summation: the pieces of an image have the whole's bits
    cdef bint shared = (block.count == K and job.t.sd[1] == 1 and box.extent[1] >= 4 and job.t.kw_first
                        and job.t.ss[1] <= 2)
    cdef bint turn = job.t.kw_first and not shared
    cdef real *weights = <real *>(block.off + 2 * block.count)
    cdef Strip s
    s.count = block.count
    s.step = job.t.ss[1] * job.t.row
    s.row = job.t.row
    s.outer = job.p.C * job.p.kernel[0]
    s.kw = job.p.kernel[2]
    s.off = block.off + block.count if turn else block.off
    s.ystep = job.ys[1]
    s.xstep = job.ys[2]
    s.width = box.extent[2]
    s.first = block.first
    for o in range(job.p.O):
        s.bias = box.bias[o] if box.bias != NULL else <real>0
        s.w = box.w + o * K + block.k0
        if turn:
            turn_taps(job, block, weights, s.w)
            s.w = weights
        for z in range(box.extent[0]):
            s.slab = block.slab + z * job.t.ss[0] * job.t.plane
            s.y = (box.y + o * job.yc + (box.start[0] + z) * job.ys[0] + box.start[1] * job.ys[1]
                   + box.start[2] * job.ys[2])
            if shared:
                tiles.shared[job.p.kernel[1] - 3 + job.t.ss[1] - 1](&s, box.extent[1])
            else:
                each_row(tiles, &s, box.extent[1])
