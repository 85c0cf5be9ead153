# cython: cdivision=True
# The sums of phases, one row each, written as what they are: neighbouring outputs. y[j*s + f] = row[f][j].
from cconv.kernels.box cimport Box
from cconv.kernels.groups cimport Axis, Work
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport VL, load, put_lines, real, set1, store, store2, store3, store4, transpose


cdef struct Merge:
    # one output row
    real *y                         # output 0 of position 0, which may lie in front of the array
    Py_ssize_t step                 # between outputs
    Py_ssize_t low, high            # outputs that exist
    const real *row                 # sums of phase 0
    Py_ssize_t hop                  # to those of the next phase
    Py_ssize_t phases, positions


cdef inline Py_ssize_t merge_pairs(const Merge *m, Py_ssize_t j, Py_ssize_t last) noexcept nogil:
    """Whole vectors of positions j..last of two phases; returns the first position that is left."""
    cdef const real *a = m.row
    cdef const real *b = a + m.hop
    cdef real *y = m.y + 2 * j
    while j + VL <= last:
        store2(y, load(a + j), load(b + j))
        y += 2 * VL
        j += VL
    return j


cdef inline Py_ssize_t merge_threes(const Merge *m, Py_ssize_t j, Py_ssize_t last) noexcept nogil:
    cdef const real *a = m.row
    cdef const real *b = a + m.hop
    cdef const real *c = b + m.hop
    cdef real *y = m.y + 3 * j
    while j + VL <= last:
        store3(y, load(a + j), load(b + j), load(c + j))
        y += 3 * VL
        j += VL
    return j


cdef inline Py_ssize_t merge_fours(const Merge *m, Py_ssize_t j, Py_ssize_t last) noexcept nogil:
    cdef const real *a = m.row
    cdef const real *b = a + m.hop
    cdef const real *c = b + m.hop
    cdef const real *d = c + m.hop
    cdef real *y = m.y + 4 * j
    while j + VL <= last:
        store4(y, load(a + j), load(b + j), load(c + j), load(d + j))
        y += 4 * VL
        j += VL
    return j


cdef inline Py_ssize_t merge_eights(const Merge *m, Py_ssize_t j, Py_ssize_t last) noexcept nogil:
    cdef const real *a = m.row
    cdef Py_ssize_t h = m.hop, r
    cdef real half[2 * 4 * 16]
    cdef real *y = m.y + 8 * j
    while j + VL <= last:
        store4(half, load(a + j), load(a + 2 * h + j), load(a + 4 * h + j), load(a + 6 * h + j))
        store4(half + 4 * VL, load(a + h + j), load(a + 3 * h + j), load(a + 5 * h + j), load(a + 7 * h + j))
        for r in range(4):
            store2(y + 2 * r * VL, load(half + r * VL), load(half + (4 + r) * VL))
        y += 8 * VL
        j += VL
    return j


cdef inline Py_ssize_t merge_any(const Merge *m, Py_ssize_t j, Py_ssize_t last) noexcept nogil:
    """Any number of phases, by squares that are transposed. A square's vectors run over into what the next squares
    write: those of more phases come first, and the last of a row, which would run out of it, is left."""
    cdef Py_ssize_t s = m.phases, f
    while j + VL <= last and (j + VL - 1) * s + (s - 1) // VL * VL + VL <= m.high:
        f = (s - 1) // VL * VL
        while f >= 0:
            transpose(m.row + f * m.hop + j, m.hop, <int>min(<Py_ssize_t>VL, s - f), m.y + j * s + f, s, VL)
            f -= VL
        j += VL
    return j


cdef inline void merge_some(const Merge *m, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Positions first..last one by one, what exists of them."""
    cdef Py_ssize_t s = m.phases, j, f, o
    for j in range(first, last):
        for f in range(s):
            o = j * s + f
            if m.low <= o < m.high:
                m.y[o * m.step] = m.row[f * m.hop + j]


cdef inline void merge_row(const Merge *m) noexcept nogil:
    """The first and the last position may be cut."""
    cdef Py_ssize_t s = m.phases, j, first = (max(m.low, <Py_ssize_t>0) + s - 1) // s
    cdef Py_ssize_t last = max(first, min(m.positions, m.high // s))
    if m.step != 1:
        merge_some(m, 0, m.positions)
        return
    merge_some(m, 0, min(first, m.positions))
    j = first
    if s == 1:
        while j + VL <= last:
            store(m.y + j, load(m.row + j))
            j += VL
    elif s == 2:
        j = merge_pairs(m, j, last)
    elif s == 3:
        j = merge_threes(m, j, last)
    elif s == 4:
        j = merge_fours(m, j, last)
    elif s == 8:
        j = merge_eights(m, j, last)
    else:
        j = merge_any(m, j, last)
    if j < last and last - first >= VL and s <= 4:
        # the last vector again, ending with the row
        tail(m, last)
        j = last
    merge_some(m, j, m.positions)


cdef inline void tail(const Merge *m, Py_ssize_t last) noexcept nogil:
    """The last vector of up to four phases."""
    if m.phases == 1:
        store(m.y + last - VL, load(m.row + last - VL))
    elif m.phases == 2:
        merge_pairs(m, last - VL, last)
    elif m.phases == 3:
        merge_threes(m, last - VL, last)
    else:
        merge_fours(m, last - VL, last)


cdef inline void fill_sums(real *row, Py_ssize_t n, real value) noexcept nogil:
    """A phase without taps."""
    cdef Py_ssize_t j = 0
    while j < n:
        store(row + j, set1(value))
        j += VL


cdef inline void fill_tapless(Work *work) noexcept nogil:
    """The sums of phases without taps: the bias, or zero."""
    cdef Axis *ay = &work.all.axes[1]
    cdef Axis *ax = &work.all.axes[2]
    cdef Py_ssize_t o, z, y, x
    cdef real value = 0
    cdef real *row = work.sums
    for o in range(work.channels):
        if work.box.bias != NULL:
            value = work.box.bias[work.o0 + o]
        for z in range(work.all.axes[0].phases):
            for y in range(ay.phases):
                for x in range(ax.phases):
                    if work.all.axes[0].count[z] == 0 or ay.count[y] == 0 or ax.count[x] == 0:
                        fill_sums(row, work.positions, value)
                    row += work.job.t.dense


cdef inline void write_rows(const Work *work, Merge *m, real *y, const real *merged, Py_ssize_t g,
                            Py_ssize_t q) noexcept nogil:
    """The output rows of phase g of one plane, whose first position is q; out of `merged`, unless that is NULL."""
    cdef const ConvJob *job = work.job
    cdef const Box *box = &work.box
    cdef Py_ssize_t s = job.up.stride[1], from_ = job.up.crop[1] - g, _i
    cdef Py_ssize_t first = max(<Py_ssize_t>0, (from_ + s - 1) // s - box.start[1])
    cdef Py_ssize_t last = min(box.extent[1], (job.up.out[1] + from_ + s - 1) // s - box.start[1])
    cdef const real *row = m.row
    y += ((box.start[1] + first) * s - from_) * job.ys[1] + (box.start[2] * m.phases - job.up.crop[2]) * m.step
    q += first * box.extent[2]
    if merged != NULL:
        put_lines(y + m.low * m.step, s * job.ys[1], m.step, merged + q * m.phases + m.low, box.extent[2] * m.phases,
                  last - first, m.high - m.low)
        return
    for _i in range(first, last):
        m.y = y
        m.row = row + q
        merge_row(m)
        y += s * job.ys[1]
        q += box.extent[2]
    m.row = row


cdef inline void write_phase(const Work *work, real *y, const real *sums, Py_ssize_t f, Py_ssize_t g) noexcept nogil:
    """The outputs of one channel of phase f along D and g along H; sums are those of the first phase along W."""
    cdef const ConvJob *job = work.job
    cdef const Box *box = &work.box
    cdef Py_ssize_t n, z, to, width = box.extent[2], q = 0
    cdef real *merged = NULL
    cdef Merge m
    m.phases = job.up.stride[2]
    m.hop = job.t.dense
    m.row = sums
    if width < VL or (m.phases > 4 and width < 4 * VL):
        # short rows: all of them as one, in whole vectors, and then row by row
        merged = work.merged
        m.y, m.step, m.low = merged, 1, 0
        m.positions = (work.positions + VL - 1) // VL * VL
        m.high = m.positions * m.phases + VL
        merge_row(&m)
    m.step = job.ys[2]
    m.positions = width
    m.low = max(<Py_ssize_t>0, job.up.crop[2] - box.start[2] * m.phases)
    m.high = min(width * m.phases, job.up.out[2] + job.up.crop[2] - box.start[2] * m.phases)
    for n in range(box.samples):
        for z in range(box.extent[0]):
            to = (box.start[0] + z) * job.up.stride[0] + f - job.up.crop[0]
            if 0 <= to < job.up.out[0]:
                write_rows(work, &m, y + n * job.yn + to * job.ys[0], merged, g, q)
            q += box.extent[1] * width


cdef inline void write_sums(Work *work) noexcept nogil:
    """The sums of a block of output channels to the output."""
    cdef Py_ssize_t o, f, g
    cdef const real *sums = work.sums
    for o in range(work.channels):
        for f in range(work.all.axes[0].phases):
            for g in range(work.all.axes[1].phases):
                write_phase(work, work.box.y + (work.o0 + o) * work.job.yc, sums, f, g)
                sums += work.all.axes[2].phases * work.job.t.dense
