# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The gradients of pools by their input, of one element type and one instruction set.

    average, sum:  gx[n, c, i] = sum over outputs o whose windows hold i of gy[n, c, o] / divisor[o]
    maximum:       gx[n, c, i] = sum over outputs o whose window's maximum is i of gy[n, c, o]

Letters: as in pool.pyx; i and o stand for positions (d, h, w); gy is the gradient of the output, gx of the input.

Each value of gx is summed by one item in the order of the outputs: the same bits for any number of threads.
  spread  One item is a block of input rows. The output rows whose windows hold a row are added, and the sum is spread
          along W: with i + p = q*s + r it is the sum of gy[q - j] over j <= (k-1-r)/s, shifted vectors of one strand r.
          Long windows of stride 1 go by doubling, as in pool.pyx; dilated and adaptive ones tap by tap.
  argmax  One item is a block of input rows. The windows' maxima are found again (argmax.pxd), and each output's
          gradient goes to the position of its tap.
  given   The positions are given, or were found before (adaptive maxima): each output's gradient goes there.
  apart   Windows that do not overlap (apart.pxd).
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from cconv.kernels.apart cimport pairs_item, spread_plane
from cconv.kernels.argmax cimport argmax, place_bytes, spread_row_length
from cconv.kernels.items cimport lines, up
from cconv.kernels.job cimport POOL_AVERAGE, POOL_MAX, KernelTable, PoolGradJob, PoolJob
from cconv.kernels.simd cimport MR, VL, load, real, set1, store, store2, vec
from cconv.kernels.slab cimport copy_run


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING


# ---------------------------------------------------------------- spread

cdef void add_rows(PoolGradJob *job, const real *y, const real *parts, Py_ssize_t iz, Py_ssize_t iy,
                   real *sums) noexcept nogil:
    """sums = the output rows whose windows hold input row (iz, iy), each divided by its windows' sizes."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t z, h, oz, oy, x, n = pool.p.out[2], d
    cdef const real *row
    cdef real part
    cdef vec f
    cdef bint first = True
    for z in range(job.start[0][iz], job.start[0][iz + 1]):
        oz = job.list[0][z]
        for h in range(job.start[1][iy], job.start[1][iy + 1]):
            oy = job.list[1][h]
            row = y + oz * pool.ys[0] + oy * pool.ys[1]
            d = pool.divisor[0][oz] * pool.divisor[1][oy]
            part = <real>1
            if pool.divide != 0:
                part = <real>(1 / pool.divide)
            elif pool.op == POOL_AVERAGE:
                part = <real>1 / <real>d if d else <real>0
            f = set1(part)
            x = 0
            if pool.ys[2] == 1:
                while x + VL <= n:
                    store(sums + x, load(row + x) * f if first else load(sums + x) + load(row + x) * f)
                    x += VL
            while x < n:
                sums[x] = row[x * pool.ys[2]] * part if first else sums[x] + row[x * pool.ys[2]] * part
                x += 1
            first = False
    if first:
        memset(sums, 0, n * sizeof(real))
    elif pool.op == POOL_AVERAGE and pool.divide == 0:
        x = 0
        while x < n:
            # runs over into the slack, which is zero on both sides
            store(sums + x, load(sums + x) * load(parts + x))
            x += VL


cdef inline void sum_shifted(real *to, const real *g, Py_ssize_t count, Py_ssize_t n) noexcept nogil:
    """to[q] = g[q] + g[q - 1] + ... over `count` terms."""
    cdef Py_ssize_t q = 0, j
    cdef vec acc
    while q < n:
        acc = load(g + q)
        for j in range(1, count):
            acc = acc + load(g + q - j)
        store(to + q, acc)
        q += VL


cdef void sum_doubled(real *to, real *g, Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """sum_shifted by doubling, with S_2m[q] = S_m[q] + S_m[q - m]; g is overwritten, from its end."""
    cdef Py_ssize_t m = 1, at = 0, q
    cdef bint first = True
    while True:
        if k & m:
            q = 0
            while q < n:
                store(to + q, load(g + q - at) if first else load(to + q) + load(g + q - at))
                q += VL
            first = False
            at += m
        if 2 * m > k:
            return
        # down from the end: a vector is read before it is overwritten; what lies before 0 stays zero
        q = (n + VL - 1) // VL * VL - VL
        while q >= 0:
            store(g + q, load(g + q) + load(g + q - m))
            q -= VL
        m *= 2


cdef void spread_along(PoolGradJob *job, real *to, real *g, real *strand) noexcept nogil:
    """to[i + p] = the gradients of the outputs of one row that hold column i; g has zeros on both sides."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t s = pool.p.stride[2], k = pool.p.kernel[2], n = (pool.p.size[2] + pool.p.before[2] - 1) // s + 1
    cdef Py_ssize_t r, q, o, i
    if pool.p.adaptive or pool.p.dilation[2] > 1:
        memset(to, 0, (pool.p.size[2] + pool.p.before[2]) * sizeof(real))
        i = 1 if pool.p.adaptive else pool.p.dilation[2]
        for o in range(pool.p.out[2]):
            for r in range(pool.count[2][o]):
                q = pool.p.before[2] + pool.first[2][o] + r * i
                to[q] = to[q] + g[o]
        return
    if s == 1:
        if k >= 12:
            sum_doubled(to, g, k, n)
        else:
            sum_shifted(to, g, k, n)
        return
    if s == 2 and k >= 2:
        q = 0
        if k == 2:
            while q < n:
                store2(to + 2 * q, load(g + q), load(g + q))
                q += VL
            return
        if k == 3:
            while q < n:
                store2(to + 2 * q, load(g + q) + load(g + q - 1), load(g + q))
                q += VL
            return
    for r in range(s):
        if r >= k:
            q = r
            while q < n * s:
                to[q] = 0
                q += s
            continue
        sum_shifted(strand, g, (k - 1 - r) // s + 1, n)
        for q in range(n):
            to[q * s + r] = strand[q]


cdef void spread_item(PoolGradJob *job, Py_ssize_t item, real *space) noexcept nogil:
    """Item = (plane, input depth, block of input rows), the last fastest."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t block = item % job.t.blocks, iz = item // job.t.blocks % pool.p.size[0]
    cdef Py_ssize_t plane = item // (job.t.blocks * pool.p.size[0]), W = pool.p.size[2], s = pool.p.stride[2]
    cdef Py_ssize_t iy, j, n = (W + pool.p.before[2] - 1) // s + 1 + 2 * VL
    cdef Py_ssize_t lead = (pool.p.kernel[2] + 2 * VL - 1) // VL * VL
    cdef const real *y = <const real *>pool.y + plane // pool.p.C * pool.yn + plane % pool.p.C * pool.yc
    cdef real *gx = <real *>job.gx + (plane * pool.p.size[0] + iz) * pool.p.size[1] * W
    cdef real *parts = space
    cdef real *g = parts + pool.p.out[2] + 2 * VL + lead
    cdef real *strand = g + max(n, pool.p.out[2] + 2 * VL)
    cdef real *to = strand + n
    cdef real *last = NULL
    for j in range(pool.p.out[2] + VL):
        parts[j] = <real>1 / <real>pool.divisor[2][j] if j < pool.p.out[2] and pool.divisor[2][j] else <real>0
    for iy in range(block * job.t.rows, min((block + 1) * job.t.rows, pool.p.size[1])):
        if last != NULL and same_outputs(job, iy):
            memcpy(gx + iy * W, last, W * sizeof(real))
            continue
        memset(g - lead, 0, lead * sizeof(real))
        memset(g + pool.p.out[2], 0, (max(n, pool.p.out[2] + 2 * VL) - pool.p.out[2]) * sizeof(real))
        add_rows(job, y, parts, iz, iy, g)
        spread_along(job, to, g, strand)
        copy_run(gx + iy * W, to + pool.p.before[2], 1, W)
        last = gx + iy * W


cdef inline bint same_outputs(PoolGradJob *job, Py_ssize_t iy) noexcept nogil:
    """Whether the same windows hold input rows iy - 1 and iy."""
    cdef Py_ssize_t a = job.start[1][iy - 1], b = job.start[1][iy], j
    if job.start[1][iy + 1] - b != b - a:
        return False
    for j in range(b - a):
        if job.list[1][a + j] != job.list[1][b + j]:
            return False
    return True


# ---------------------------------------------------------------- given

cdef void given_plane(PoolGradJob *job, Py_ssize_t plane) noexcept nogil:
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t size = pool.p.size[0] * pool.p.size[1] * pool.p.size[2], z, r, i, j
    cdef Py_ssize_t base = plane % pool.p.lead * size   # positions are counted from the first of `lead` planes
    cdef real *gx = <real *>job.gx + plane * size
    cdef const real *y = <const real *>pool.y + plane // pool.p.C * pool.yn + plane % pool.p.C * pool.yc
    cdef const real *row
    cdef const int64_t *at = <const int64_t *>pool.index + plane * pool.p.out[0] * pool.p.out[1] * pool.p.out[2]
    memset(gx, 0, size * sizeof(real))
    for z in range(pool.p.out[0]):
        for r in range(pool.p.out[1]):
            row = y + z * pool.ys[0] + r * pool.ys[1]
            for i in range(pool.p.out[2]):
                j = at[i] - base
                if 0 <= j < size:
                    gx[j] = gx[j] + row[i * pool.ys[2]]
                elif at[i] != -1:
                    job.outside[0] = 1
            at += pool.p.out[2]


cdef void given_item(PoolGradJob *job, Py_ssize_t item) noexcept nogil:
    """Item = some planes."""
    cdef Py_ssize_t plane, planes = job.pool.p.N * job.pool.p.C
    for plane in range(item * job.t.planes, min((item + 1) * job.t.planes, planes)):
        given_plane(job, plane)


cdef void apart_item(PoolGradJob *job, Py_ssize_t item, real *parts) noexcept nogil:
    """Item = (some planes, input depth, block of input rows), the last fastest; of several planes, all of them."""
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t D = pool.p.size[0], H = pool.p.size[1], y0 = item % job.t.blocks * job.t.rows, iz, plane, j
    for j in range(pool.p.out[2]):
        parts[j] = <real>1
        if pool.op == POOL_AVERAGE and pool.divide == 0:
            parts[j] = <real>1 / <real>pool.divisor[2][j] if pool.divisor[2][j] else <real>0
    if job.t.planes == 1:
        plane = item // job.t.blocks
        spread_plane(job, plane // D, plane % D, y0, min(y0 + job.t.rows, H), parts)
        return
    for plane in range(item * job.t.planes, min((item + 1) * job.t.planes, pool.p.N * pool.p.C)):
        for iz in range(D):
            spread_plane(job, plane, iz, 0, H, parts)


cdef void pool_grad_item(void *grad_job, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef PoolGradJob *job = <PoolGradJob *>grad_job
    if job.pool.op != POOL_MAX and job.t.apart:
        apart_item(job, item, <real *>workspace)
    elif job.pool.op != POOL_MAX:
        spread_item(job, item, <real *>workspace)
    elif job.pool.indexed:
        given_item(job, item)
    elif job.t.apart:
        pairs_item(job, item)
    else:
        argmax(job, item, workspace)


cdef Py_ssize_t pool_grad_items(void *grad_job) noexcept nogil:
    cdef PoolGradJob *job = <PoolGradJob *>grad_job
    cdef Py_ssize_t planes = job.pool.p.N * job.pool.p.C
    if job.t.planes > 1:
        return up(planes, job.t.planes)
    if job.pool.op != POOL_MAX:
        return planes * job.pool.p.size[0] * job.t.blocks
    return planes * job.t.blocks


cdef void lay_out_pool_grad(void *grad_job) noexcept nogil:
    """spread: parts, a row of sums with zeros before and behind, a strand, and the row that they are spread to.
    argmax: where each tap lies, the best of a row, a spread row with its tap numbers, and the kept rows."""
    cdef PoolGradJob *job = <PoolGradJob *>grad_job
    cdef PoolJob *pool = &job.pool
    cdef Py_ssize_t width = pool.p.out[2] + 2 * VL, n = (pool.p.size[2] + pool.p.before[2] - 1) // pool.p.stride[2] + 1
    cdef Py_ssize_t size, reach
    n += 2 * VL
    if pool.op != POOL_MAX:
        size = width + pool.p.kernel[2] + 2 * VL + max(n, width) + n * (pool.p.stride[2] + 1) + 4 * VL
        pool.workspace_bytes = lines(size * sizeof(real))
    elif pool.indexed or job.t.apart:
        pool.workspace_bytes = 0
    else:
        reach = (job.t.outs - 1) * pool.p.stride[1] + (pool.p.kernel[1] - 1) * pool.p.dilation[1] + 1
        size = 2 * width + 2 * spread_row_length(pool) + pool.p.kernel[0] * reach * 2 * width
        pool.workspace_bytes = place_bytes(pool) + lines(size * sizeof(real) + 64)


# ---------------------------------------------------------------- table

cdef KernelTable POOL_GRAD
POOL_GRAD.name = "pool_grad"
POOL_GRAD.lanes = VL
POOL_GRAD.tile_rows = MR
POOL_GRAD.run_item = pool_grad_item
POOL_GRAD.items = pool_grad_items
POOL_GRAD.lay_out = lay_out_pool_grad
POOL_GRAD.packed_size = NULL
POOL_GRAD.pack_items = POOL_GRAD.reduce_items = NULL
POOL_GRAD.pack_item = POOL_GRAD.reduce_item = NULL
POOL_GRAD.grain = 1e5
POOL_GRAD.chunk = 1
POOL_GRAD.refill = 0
POOL_GRAD.split_least = 0

tables = {"pool_grad": PyCapsule_New(&POOL_GRAD, "cconv.kernel", NULL)}
stamp = CCONV_STAMP_STRING.decode()
