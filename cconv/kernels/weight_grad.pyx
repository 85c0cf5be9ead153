# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The weight gradient of a convolution, of one element type and one instruction set.

    gw[o, c, kd, kh, kw] = sum over n, od, oh, ow of
                           gy[n, o, od, oh, ow] * x[n, c, od*s - p + kd*d, oh*s - p + kh*d, ow*s - p + kw*d]

Letters: as in conv.pyx; gy is the gradient of the output. It is a matrix product whose sum runs over the positions of
all samples. One item is a block of channels c and of o of one group, and a chunk of the boxes of positions. For each
box the input rows are copied to the zero-padded slab of conv.pyx, and then
  lanes (many output channels) transposes gy to panels of positions x NR output channels (L1) and sums outer products on
        a register tile of MR rows (c, taps) x NR lanes (o): x is broadcast from the slab, or without padding from where
        it lies. Where a 1x1 convolution has more output than input channels, x and gy change places: the shorter
        is transposed;
  dots  (few output channels: depthwise, grouped, first layers) copies gy to whole vectors, zeros behind each row, and
        keeps vectors of partial sums of up to 4 x 8 (o, tap) pairs in registers: both factors are read along the row.
        So an input's NaN or inf may spoil weights whose windows do not hold it;
  taps  (slabs that would not fit) walks the input itself, weight by weight.
Each weight is one chain of multiply-adds (dots: VL chains) a chunk, and chunks are summed in order. Blocks and chunks
depend on shapes alone: the same bits for any number of threads.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from cconv.kernels.box cimport Box, taps_of
from cconv.kernels.dots cimport Dots, copy_grads, dot_box
from cconv.kernels.items cimport lines, up
from cconv.kernels.job cimport ConvJob, ConvTiling, KernelTable, WeightGradJob
from cconv.kernels.outer cimport Outer, Rows, any_outer, list_tiles, strand_at, transpose_grads, write_lanes
from cconv.kernels.simd cimport MR, NR, VL, load, real, store, sum_lanes, vec
from cconv.kernels.slab cimport fill_box, source


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING


cdef enum:
    PIECE = 16384                   # weights of one item of the reduction


cdef struct Chunk:
    # an item: C x O channels of one group over boxes first..last
    Py_ssize_t C, O, K              # K: C times the taps
    Py_ssize_t first, last
    const real *x                   # both at their first channels
    const real *y
    # the workspace: runs, tiles or tap offsets, slab, gradients, sums; each starts a cache line
    Py_ssize_t *runs
    Py_ssize_t *off
    Rows *tiles
    Py_ssize_t tile_count
    real *slab
    real *grads
    real *sums
    Py_ssize_t g_step               # elements of one channel's gradients


# ---------------------------------------------------------------- boxes

cdef void find_grad_box(WeightGradJob *job, Py_ssize_t index, Box *box) noexcept nogil:
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t a
    for a in range(3):
        box.start[2 - a] = index % conv.t.boxes[2 - a] * conv.t.box[2 - a]
        box.extent[2 - a] = min(conv.t.box[2 - a], conv.p.out[2 - a] - box.start[2 - a])
        index = index // conv.t.boxes[2 - a]
    box.n = index * conv.t.samples
    box.samples = min(conv.t.samples, conv.p.N - box.n)


cdef Py_ssize_t list_grad_runs(WeightGradJob *job, const Box *box, Py_ssize_t *runs, Py_ssize_t *length) noexcept nogil:
    """Offset of each run of a box: rows, or all that follows each other in even steps; returns how many."""
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t n, z, y, count = 0, high = box.extent[1], deep = box.extent[0], samples = box.samples
    length[0] = box.extent[2]
    if job.t.across:
        high = 1
        length[0] = job.t.run
    elif job.t.by_lanes and (high == 1 or conv.t.ss[1] * conv.t.row == length[0] * job.hop):
        length[0] *= high
        high = 1
        if deep == 1 or conv.t.ss[0] * conv.t.plane == length[0] * job.hop:
            length[0] *= deep
            deep = 1
            if samples == 1 or job.conv.t.sample == length[0] * job.hop:
                length[0] *= samples
                samples = 1
    elif not job.t.by_lanes:
        length[0] = job.t.run
    for n in range(samples):
        for z in range(deep):
            for y in range(high):
                runs[count] = n * job.conv.t.sample + z * conv.t.ss[0] * conv.t.plane + y * conv.t.ss[1] * conv.t.row
                count += 1
    return count


cdef void fill_grad_slab(ConvJob *conv, Box *box, real *slab, const real *x, Py_ssize_t C) noexcept nogil:
    fill_box(conv, box, slab, x, 0, C)


cdef bint read_in_place(WeightGradJob *here) noexcept nogil:
    """Sets a job to read the input where it lies, if no position of it is padded and its channels would not fall into
    the same cache sets. Nothing runs over: outer products read what they sum."""
    cdef ConvJob *conv = &here.conv
    if not here.t.in_place or (conv.p.C > 1 and conv.xc * <Py_ssize_t>sizeof(real) % 2048 == 0):
        return False
    conv.t.channel, conv.t.plane, conv.t.row, conv.t.strands = conv.xc, conv.xs[0], conv.xs[1], 1
    conv.t.ss[0], conv.t.ss[1] = conv.p.stride[0], conv.p.stride[1]
    conv.t.sd[0], conv.t.sd[1], conv.t.sd[2] = conv.p.dilation[0], conv.p.dilation[1], conv.p.dilation[2] * conv.xs[2]
    here.conv.t.sample = conv.xn
    here.hop = conv.p.stride[2] * conv.xs[2]
    return True


cdef void outer_one(int m, const Outer *p) noexcept nogil:
    any_outer(m, 1, p)


cdef void outer_two(int m, const Outer *p) noexcept nogil:
    any_outer(m, 2, p)


# of one and of two vectors. By pointers, or compilers would inline these large functions into each other.
cdef void (*outer_tiles[2])(int m, const Outer *p) noexcept nogil
outer_tiles[0] = outer_one
outer_tiles[1] = outer_two


cdef void sum_outer(WeightGradJob *job, Chunk *chunk, Box *box, const real *x, const real *y,
                    bint first) noexcept nogil:
    """Every tile of one box: a panel of gradients stays in L1 for all rows."""
    cdef ConvTiling *tiling = &job.conv.t
    cdef Py_ssize_t panel, t, size = tiling.samples * tiling.box[0] * tiling.box[1] * tiling.box[2] * NR
    cdef Rows *tile
    cdef Outer p
    p.hop = job.hop
    p.runs = chunk.runs
    p.count = list_grad_runs(job, box, chunk.runs, &p.length)
    p.first = first
    transpose_grads(job, box, y, chunk.O, chunk.grads)
    for panel in range(up(chunk.O, NR)):
        p.g = chunk.grads + panel * size
        for t in range(chunk.tile_count):
            tile = &chunk.tiles[t]
            p.x = x + tile.off
            p.step = tile.step
            p.sums = chunk.sums + (panel * chunk.K + tile.row) * NR
            p.ld = tile.row_step * NR
            outer_tiles[chunk.O - panel * NR > VL](<int>tile.count, &p)


cdef void sum_dots(WeightGradJob *job, Chunk *chunk, Box *box, const real *x, const real *y) noexcept nogil:
    cdef Dots p
    p.x = x
    p.off = chunk.off
    p.runs = chunk.runs
    p.count = list_grad_runs(job, box, chunk.runs, &p.length)
    p.g = chunk.grads
    p.g_step = chunk.g_step
    p.sums = chunk.sums
    copy_grads(job, box, y, chunk.O, chunk.g_step, chunk.grads)
    dot_box(&p, chunk.O, chunk.K)


cdef void begin_chunk(WeightGradJob *job, Chunk *chunk) noexcept nogil:
    """Lists the terms; clears what dot products add to and run into."""
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t T = taps_of(conv), kh = conv.p.kernel[1], kw = conv.p.kernel[2], k, t
    if job.t.by_lanes:
        chunk.tile_count = list_tiles(conv, chunk.C, chunk.tiles)
        return
    for k in range(chunk.K):
        t = k % T
        chunk.off[k] = (k // T * conv.t.channel + t // (kh * kw) * conv.t.sd[0] * conv.t.plane
                        + t // kw % kh * conv.t.sd[1] * conv.t.row + strand_at(conv, t % kw))
    memset(chunk.sums, 0, chunk.O * chunk.K * VL * sizeof(real))
    # vectors run past rows and boxes: what stands there is multiplied by zero, so it must be finite
    memset(chunk.slab, 0, (conv.t.c_block * conv.t.channel + 4 * NR) * sizeof(real))


cdef void sum_boxes(WeightGradJob *job, Chunk *chunk) noexcept nogil:
    """The sums of a chunk, left in the workspace."""
    cdef WeightGradJob here = job[0]
    cdef ConvJob *conv = &here.conv
    cdef bint in_place = read_in_place(&here)
    cdef Py_ssize_t b, a
    cdef const real *x
    cdef const real *y
    cdef Box box
    begin_chunk(&here, chunk)
    for b in range(chunk.first, chunk.last):
        if here.watch.look(here.watch):
            return
        find_grad_box(&here, b, &box)
        x = chunk.x + box.n * conv.xn
        y = chunk.y + box.n * conv.yn
        for a in range(3):
            y += box.start[a] * conv.ys[a]
        if in_place:
            for a in range(3):
                x += box.start[a] * conv.p.stride[a] * conv.xs[a]
        else:
            fill_grad_slab(conv, &box, chunk.slab, x, chunk.C)
            x = chunk.slab
        if here.t.by_lanes:
            sum_outer(&here, chunk, &box, x, y, b == chunk.first)
        else:
            sum_dots(&here, chunk, &box, x, y)


# ---------------------------------------------------------------- taps

cdef real tap_sum(ConvJob *conv, const real *x, const real *y, Py_ssize_t z0, Py_ssize_t y0,
                  Py_ssize_t x0) noexcept nogil:
    """One weight of one sample straight from the input; the taps stand at padded position (z0, y0, x0)."""
    cdef Py_ssize_t z, row, j, iz, iy, ix
    cdef real total = 0
    for z in range(conv.p.out[0]):
        iz = source(z * conv.p.stride[0] + z0, conv.p.size[0], conv.p.mode)
        if iz < 0:
            continue
        for row in range(conv.p.out[1]):
            iy = source(row * conv.p.stride[1] + y0, conv.p.size[1], conv.p.mode)
            if iy < 0:
                continue
            for j in range(conv.p.out[2]):
                ix = source(j * conv.p.stride[2] + x0, conv.p.size[2], conv.p.mode)
                if ix >= 0:
                    total = total + (y[z * conv.ys[0] + row * conv.ys[1] + j * conv.ys[2]]
                                     * x[iz * conv.xs[0] + iy * conv.xs[1] + ix * conv.xs[2]])
    return total


cdef void sum_taps(WeightGradJob *job, Py_ssize_t g, Py_ssize_t c, real *to) noexcept nogil:
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t T = taps_of(conv), kh = conv.p.kernel[1], kw = conv.p.kernel[2], o, t, n
    cdef real total
    for o in range(conv.p.O):
        for t in range(T):
            total = 0
            for n in range(conv.p.N):
                if job.watch.look(job.watch):
                    return
                total = total + tap_sum(
                    conv, <const real *>conv.x + n * conv.xn + (g * conv.p.C + c) * conv.xc,
                    <const real *>conv.y + n * conv.yn + (g * conv.p.O + o) * conv.yc,
                    t // (kh * kw) * conv.p.dilation[0] - conv.p.before[0],
                    t // kw % kh * conv.p.dilation[1] - conv.p.before[1],
                    t % kw * conv.p.dilation[2] - conv.p.before[2])
            to[o * conv.p.C * T + t] = total


# ---------------------------------------------------------------- items

cdef void aim_chunk(WeightGradJob *job, Chunk *chunk, char *workspace) noexcept nogil:
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t depths = conv.t.samples * conv.t.box[0], rows = depths * conv.t.box[1]
    chunk.runs = <Py_ssize_t *>workspace
    chunk.off = chunk.runs + rows
    chunk.tiles = <Rows *>chunk.off
    chunk.slab = <real *>(workspace + conv.slab_at)
    chunk.grads = <real *>(workspace + job.grads_at)
    chunk.sums = <real *>(workspace + job.sums_at)
    chunk.g_step = job.t.run * (depths if job.t.across else rows)


cdef void sums_item(void *grad_job, Py_ssize_t item, char *workspace) noexcept nogil:
    """Item = (group, block of channels, block of output channels, chunk), the last fastest."""
    cdef WeightGradJob *job = <WeightGradJob *>grad_job
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t T = taps_of(conv), part = item % job.t.chunks, rest = item // job.t.chunks, o, k
    cdef Py_ssize_t o0 = rest % job.t.o_blocks * conv.t.o_block, g = rest // (job.t.o_blocks * job.t.c_blocks)
    cdef Py_ssize_t c0 = rest // job.t.o_blocks % job.t.c_blocks * conv.t.c_block
    cdef Py_ssize_t boxes = up(conv.p.N, conv.t.samples) * conv.t.boxes[0] * conv.t.boxes[1] * conv.t.boxes[2]
    cdef real *to = <real *>job.partial + (part * conv.p.G + g) * conv.p.O * conv.p.C * T
    cdef Chunk chunk
    aim_chunk(job, &chunk, workspace)
    chunk.C = min(conv.t.c_block, conv.p.C - c0)
    chunk.O = min(conv.t.o_block, conv.p.O - o0)
    chunk.K = chunk.C * T
    chunk.first = boxes * part // job.t.chunks
    chunk.last = boxes * (part + 1) // job.t.chunks
    chunk.x = <const real *>conv.x + (g * conv.p.C + c0) * conv.xc
    chunk.y = <const real *>conv.y + (g * conv.p.O + o0) * conv.yc
    sum_boxes(job, &chunk)
    if job.t.swapped:
        write_lanes(chunk.sums, chunk.K, chunk.O, to + c0 * conv.p.O + o0, conv.p.O, True)
    elif job.t.by_lanes:
        write_lanes(chunk.sums, chunk.K, chunk.O, to + (o0 * conv.p.C + c0) * T, conv.p.C * T, False)
    else:
        for o in range(chunk.O):
            for k in range(chunk.K):
                to[((o0 + o) * conv.p.C + c0) * T + k] = sum_lanes(load(chunk.sums + (o * chunk.K + k) * VL))


cdef void weight_taps_item(void *grad_job, Py_ssize_t item, char *_workspace) noexcept nogil:
    """Item = (group, channel)."""
    cdef WeightGradJob *job = <WeightGradJob *>grad_job
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t g = item // conv.p.C, c = item % conv.p.C
    sum_taps(job, g, c, <real *>job.partial + (g * conv.p.O * conv.p.C + c) * taps_of(conv))


cdef Py_ssize_t weights_of(void *grad_job) noexcept nogil:
    cdef ConvJob *conv = &(<WeightGradJob *>grad_job).conv
    return conv.p.G * conv.p.O * conv.p.C * taps_of(conv)


cdef Py_ssize_t grad_items(void *grad_job) noexcept nogil:
    cdef WeightGradJob *job = <WeightGradJob *>grad_job
    return job.conv.p.G * job.t.c_blocks * job.t.o_blocks * job.t.chunks


cdef void lay_out_grads(void *grad_job) noexcept nogil:
    """Runs, tiles or tap offsets; slab, past which whole vectors run; gradients; sums."""
    cdef WeightGradJob *job = <WeightGradJob *>grad_job
    cdef ConvJob *conv = &job.conv
    cdef Py_ssize_t K = conv.t.c_block * taps_of(conv)
    cdef Py_ssize_t depths = conv.t.samples * conv.t.box[0], rows = depths * conv.t.box[1], grads
    cdef Py_ssize_t width = up(conv.t.o_block, NR) * NR if job.t.by_lanes else conv.t.o_block * VL
    if job.t.by_lanes:
        grads = width * rows * conv.t.box[2]
    else:
        grads = conv.t.o_block * (depths if job.t.across else rows) * job.t.run
    job.hop = 1
    conv.slab_at = lines(rows * sizeof(Py_ssize_t) + K * (sizeof(Rows) if job.t.by_lanes else sizeof(Py_ssize_t)))
    job.grads_at = conv.slab_at + lines((conv.t.c_block * conv.t.channel + 4 * NR) * sizeof(real))
    job.sums_at = job.grads_at + lines(grads * sizeof(real))
    conv.workspace_bytes = job.sums_at + lines(K * up(width, NR) * NR * sizeof(real))


cdef void lay_out_weight_taps(void *grad_job) noexcept nogil:
    (<WeightGradJob *>grad_job).conv.workspace_bytes = 0


cdef Py_ssize_t reduce_items(void *grad_job) noexcept nogil:
    return up(weights_of(grad_job), PIECE)


cdef void reduce_item(void *grad_job, Py_ssize_t item, char *_workspace) noexcept nogil:
    """w = the sum of the chunks, in their order, of one piece of the weights."""
    cdef WeightGradJob *job = <WeightGradJob *>grad_job
    cdef Py_ssize_t size = weights_of(grad_job), i = item * PIECE, last = min(size, i + PIECE), chunk
    cdef const real *p = <const real *>job.partial
    cdef real *w = <real *>job.conv.w
    cdef vec total
    cdef real one
    while i + VL <= last:
        total = load(p + i)
        for chunk in range(1, job.t.chunks):
            total = total + load(p + chunk * size + i)
        store(w + i, total)
        i += VL
    while i < last:
        one = p[i]
        for chunk in range(1, job.t.chunks):
            one = one + p[chunk * size + i]
        w[i] = one
        i += 1


# ---------------------------------------------------------------- tables

cdef KernelTable SUMS
SUMS.name = "weight_grad"
SUMS.lanes = VL
SUMS.tile_rows = MR
SUMS.run_item = sums_item
SUMS.items = grad_items
SUMS.lay_out = lay_out_grads
SUMS.packed_size = weights_of
SUMS.pack_items = NULL
SUMS.pack_item = NULL
SUMS.reduce_items = reduce_items
SUMS.reduce_item = reduce_item
SUMS.grain = 1e6
SUMS.chunk = 1
SUMS.refill = 0
SUMS.split_least = 0

cdef KernelTable WEIGHT_TAPS = SUMS
WEIGHT_TAPS.name = "weight_taps"
WEIGHT_TAPS.run_item = weight_taps_item
WEIGHT_TAPS.lay_out = lay_out_weight_taps

tables = {
    "weight_grad": PyCapsule_New(&SUMS, "cconv.kernel", NULL),
    "weight_taps": PyCapsule_New(&WEIGHT_TAPS, "cconv.kernel", NULL),
}
stamp = CCONV_STAMP_STRING.decode()
