# cython: cdivision=True
# gemm: an implicit GEMM (Chetlur et al., cuDNN, 2014, section 3) on the register tile, for dense and grouped
# convolutions: y[o, q] (+)= sum over k of w[o, k] * slab[off[k] + position q].
#
# Panels of NR positions x the terms of one k block (L1) are filled from the slab; then tile0..tile1, tiles of up to
# MR output channels, are run over every panel of the box. The regions of a box: panels that are one run of a row or
# runs that follow each other in y are summed in place; others go through a dense buffer; the last, if at most half a
# panel, takes two tiles at once. Where `panelled` is 0, vectors.pxd does without panels.
from libc.string cimport memset

from cconv.kernels.box cimport Box, taps_of
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport (
    MR, NR, VL, blend, copy_line, get_lines, lanes_from, load, put_lines, real, set1, store, transpose, vec,
)
from cconv.kernels.tile cimport Product, any_pair, any_tile, tile_row


cdef struct Run:
    # consecutive positions of one output row inside a panel
    Py_ssize_t slab
    Py_ssize_t lane
    Py_ssize_t length
    Py_ssize_t y

cdef struct Block:
    # one k block: terms k0 .. k0 + count
    Py_ssize_t k0, count
    bint first                      # sums start from the bias
    const real *slab                # or the input itself
    Py_ssize_t *off                 # from a position to each term


cdef inline void pack_tile(ConvJob *job, Py_ssize_t item, real *to) noexcept nogil:
    """(G, O, K) rows into tiles of up to MR rows, k outer and row inner: a tile reads its weights as one stream."""
    cdef Py_ssize_t K = job.p.C * taps_of(job), tiles = (job.p.O + MR - 1) // MR, k = 0, i
    cdef Py_ssize_t o = tile_row(job.p.O, tiles, item % tiles), rows = tile_row(job.p.O, tiles, item % tiles + 1) - o
    cdef const real *w = <const real *>job.w + (item // tiles * job.p.O + o) * K
    to += (item // tiles * job.p.O + o) * K
    # VL terms at once, of VL rows, the last rows first: their vectors run over into the next term's first rows
    while (k + VL) * rows + VL <= K * rows:
        i = (rows - 1) // VL * VL
        while i >= 0:
            transpose(w + i * K + k, K, <int>min(<Py_ssize_t>VL, rows - i), to + k * rows + i, rows, VL)
            i -= VL
        k += VL
    for k in range(k, K):
        for i in range(rows):
            to[k * rows + i] = w[i * K + k]


cdef inline int list_runs(ConvJob *job, const Box *box, Run *runs, Py_ssize_t first) noexcept nogil:
    """The runs of a panel from position `first` on (counted within the boxes of the item's samples); how many."""
    cdef Py_ssize_t q = first, x, y, z, s, n
    cdef Py_ssize_t last = min(first + NR, box.samples * box.extent[0] * box.extent[1] * box.extent[2])
    cdef int count = 0
    while q < last:
        x = q % box.extent[2]
        y = q // box.extent[2] % box.extent[1]
        z = q // (box.extent[2] * box.extent[1]) % box.extent[0]
        s = q // (box.extent[2] * box.extent[1] * box.extent[0])
        n = min(box.extent[2] - x, last - q)
        runs[count].slab = s * job.t.sample + z * job.t.ss[0] * job.t.plane + y * job.t.ss[1] * job.t.row + x
        runs[count].lane = q - first
        runs[count].length = n
        runs[count].y = (s * job.yn + (box.start[0] + z) * job.ys[0] + (box.start[1] + y) * job.ys[1]
                         + (box.start[2] + x) * job.ys[2])
        count += 1
        q += n
    return count


cdef struct Lanes:
    # one vector of a panel: where its runs would lie if each began at lane 0, and the lanes from which on they count
    Py_ssize_t at[17]
    vec mask[17]
    int count
    bint partial                    # the last lanes have no position
    vec behind                      # these


cdef inline void list_lanes(const Run *runs, int n, Py_ssize_t first, Lanes *lanes) noexcept nogil:
    """The panel's lanes first .. first + VL."""
    cdef Py_ssize_t last = runs[n - 1].lane + runs[n - 1].length - first
    cdef int r
    lanes.count = 0
    lanes.partial = last < VL
    lanes.behind = lanes_from(last)
    for r in range(n):
        if runs[r].lane < first + VL and runs[r].lane + runs[r].length > first:
            lanes.at[lanes.count] = runs[r].slab + first - runs[r].lane
            lanes.mask[lanes.count] = lanes_from(runs[r].lane - first)
            lanes.count += 1


cdef inline void fill_lanes(real *to, const Block *block, const Lanes *lanes) noexcept nogil:
    """One vector of a panel, for every term, in whole vectors: a run is never read before the slab, whose rows are no
    shorter than the box's, and past its end there is room."""
    cdef Py_ssize_t k, count = block.count
    cdef const Py_ssize_t *off = block.off
    cdef const real *p = block.slab + lanes.at[0]
    cdef const real *q = block.slab + lanes.at[1 if lanes.count > 1 else 0]
    cdef vec v, mask = lanes.mask[1 if lanes.count > 1 else 0], zero = set1(<real>0)
    cdef int r
    if lanes.count == 1 and not lanes.partial:
        for k in range(count):
            store(to + k * NR, load(p + off[k]))
    elif lanes.count == 2 and not lanes.partial:
        for k in range(count):
            store(to + k * NR, blend(mask, load(p + off[k]), load(q + off[k])))
    else:
        for k in range(count):
            v = load(p + off[k])
            for r in range(1, lanes.count):
                v = blend(lanes.mask[r], v, load(block.slab + lanes.at[r] + off[k]))
            # what lies behind the positions may be denormals, at a hundred cycles each
            store(to + k * NR, blend(lanes.behind, v, zero) if lanes.partial else v)


cdef inline void fill_panel(real *to, const Block *block, const Run *runs, int n) noexcept nogil:
    """to[k, lane] = slab[off[k] + position of lane]; lanes of a vector that have no position are zeros."""
    cdef Py_ssize_t k, last = runs[n - 1].lane + runs[n - 1].length, first = 0
    cdef const Py_ssize_t *off = block.off
    cdef const real *p = block.slab + runs[0].slab
    cdef Lanes lanes
    if n == 1 and last < NR:
        # exactly the run: without a slab the input itself is read, which has no slack
        for k in range(block.count):
            copy_line(to + k * NR, p + off[k], last)
        return
    while first < last:
        list_lanes(runs, n, first, &lanes)
        fill_lanes(to + first, block, &lanes)
        first += VL


cdef inline void fill_neighbours(real *to, const real *p, const Block *block, Py_ssize_t panels) noexcept nogil:
    """Full panels that neighbour in one row: a channel's row is read in one go, for the TLB's sake."""
    cdef Py_ssize_t k, j, count = block.count, size = count * NR
    cdef const Py_ssize_t *off = block.off
    cdef const real *q
    for k in range(count):
        q = p + off[k]
        for j in range(panels):
            store(to + j * size, load(q + j * NR))
            store(to + j * size + VL, load(q + j * NR + VL))
        to += NR


cdef inline void fill_panels(ConvJob *job, const Box *box, const Block *block, real *to) noexcept nogil:
    """The panels of a whole box."""
    cdef Py_ssize_t positions = box.samples * box.extent[0] * box.extent[1] * box.extent[2], q = 0, a
    cdef Run runs[64]
    cdef int n
    while q < positions:
        n = list_runs(job, box, runs, q)
        if n == 1 and runs[0].length == NR:
            a = min(<Py_ssize_t>8, (box.extent[2] - q % box.extent[2]) // NR)
            fill_neighbours(to, block.slab + runs[0].slab, block, a)
            to += a * block.count * NR
            q += a * NR
            continue
        if q + NR > positions:
            # vectors without a position
            memset(to, 0, block.count * NR * sizeof(real))
        fill_panel(to, block, runs, n)
        to += block.count * NR
        q += NR


cdef inline void read_tile(ConvJob *job, const real *y, real *buf, const Run *runs, int n, int m) noexcept nogil:
    """m rows of the output into a dense buffer."""
    cdef int r
    for r in range(n):
        get_lines(buf + runs[r].lane, NR, y + runs[r].y, job.yc, job.ys[2], m, runs[r].length)


cdef inline void write_tile(ConvJob *job, real *y, const real *buf, const Run *runs, int n, int m) noexcept nogil:
    """m rows of a dense buffer into the output, for panels that are not one contiguous full run."""
    cdef int r
    for r in range(n):
        put_lines(y + runs[r].y, job.yc, job.ys[2], buf + runs[r].lane, NR, m, runs[r].length)


cdef inline bint follow(const Run *runs, int n) noexcept nogil:
    """Whether the runs lie one behind the other in y. Every one is looked at: with negative strides the last can stand
    where it should while those between do not."""
    cdef int r
    for r in range(1, n):
        if runs[r].y - runs[0].y != runs[r].lane:
            return False
    return True


cdef inline void gemm_panel(ConvJob *job, const Box *box, const Block *block, Product *p, Py_ssize_t q, Py_ssize_t t,
                            Py_ssize_t t1, real *dense) noexcept nogil:
    """Tiles t..t1 times the panel p.b, whose first position is q; the sums go to y or to `dense`."""
    cdef Py_ssize_t positions = box.samples * box.extent[0] * box.extent[1] * box.extent[2]
    cdef Py_ssize_t tiles = (job.p.O + MR - 1) // MR, o, m, rows
    cdef Run runs[64]
    cdef int n = list_runs(job, box, runs, q)
    cdef bint direct = dense == NULL and q + NR <= positions and job.ys[2] == 1 and follow(runs, n)
    cdef bint half = dense == NULL and q + VL >= positions
    cdef bint buffered = dense == NULL and not direct
    cdef real buf[2 * 14 * 32]
    cdef real *y
    p.ldc = job.t.dense if dense != NULL else (job.yc if direct else NR)
    while t < t1:
        o = tile_row(job.p.O, tiles, t)
        m = tile_row(job.p.O, tiles, t + 1) - o
        # at most half a panel: two tiles at once
        p.next = m if half and t + 1 < t1 and tile_row(job.p.O, tiles, t + 2) - o == 2 * m else 0
        rows = m + p.next
        y = box.y + o * job.yc
        p.a = box.w + o * p.K + (block.k0 * m if job.t.packed else block.k0)
        p.bias = box.bias + o if box.bias != NULL else NULL
        p.c = dense + o * job.t.dense + q if dense != NULL else (y + runs[0].y if direct else buf)
        if buffered and not p.first:
            read_tile(job, y, buf, runs, n, <int>rows)
        if p.next:
            if job.t.packed: any_pair(<int>m, True, p)
            else: any_pair(<int>m, False, p)
        elif job.t.packed: any_tile(<int>m, True, p)
        else: any_tile(<int>m, False, p)
        if buffered:
            write_tile(job, y, buf, runs, n, <int>rows)
        t += 2 if p.next else 1


cdef inline void gemm_block(ConvJob *job, const Box *box, const Block *block, const real *panels,
                            real *dense) noexcept nogil:
    """One k block: every panel of the box times the weights of the item's output channels, o_block of them at once."""
    cdef Py_ssize_t positions = box.samples * box.extent[0] * box.extent[1] * box.extent[2], q
    cdef Py_ssize_t tiles = (job.p.O + MR - 1) // MR, step = max(<Py_ssize_t>1, job.t.o_block // MR)
    cdef Py_ssize_t t = tiles * box.split // job.o_splits, last = tiles * (box.split + 1) // job.o_splits
    cdef Product p
    p.K = job.p.C * taps_of(job)
    p.count = block.count
    p.first = block.first
    while t < last:
        q = 0
        p.b = panels
        while q < positions:
            gemm_panel(job, box, block, &p, q, t, min(t + step, last), dense)
            q += NR
            p.b += block.count * NR
        t += step
