# cython: cdivision=True
# Winograd's patches: gathered from the input by panels, transformed, and their outputs written. A patch has high rows
# of T columns; either is 1 for kernels of one row or column. The lanes of a panel are patches; runs of them neighbour
# in a row of patches.
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport NR, VL, load, load2, load4, put_lines, real, set1, store, store2, store4, vec
from cconv.kernels.slab cimport copy_run, source
from cconv.kernels.transforms cimport input_axis, outs_of, output_axis


cdef struct Patches:
    # neighbouring patches of one row of them: of sample n, output depth z
    Py_ssize_t n, z, ty, tx, length, lane
    Py_ssize_t depth                # input depth of the term at hand, or -1 for padding

cdef struct Panel:
    Patches runs[64]
    int count                       # runs
    int vectors                     # of lanes that hold patches
    real *lanes                     # lanes[(row * T + column) * (NR + VL) + lane]; of results, lines of each output row
    real *line                      # an input row

cdef struct Channel:
    # one output channel of a panel
    const real *m                   # m[position * ms + lane]
    Py_ssize_t ms
    real *y
    real bias


cdef inline void list_patches(const ConvJob *job, Panel *panel, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """The patches of a panel from `first` on, at most up to `end`, as runs within rows of patches."""
    cdef Py_ssize_t q = first, wide = job.wino.patches[1], high = job.wino.patches[0], last = min(first + NR, end)
    cdef Patches *run
    panel.count = 0
    panel.vectors = 1 if end - first <= VL else 2
    while q < last:
        run = &panel.runs[panel.count]
        run.tx = q % wide
        run.ty = q // wide % high
        run.z = q // (wide * high) % job.p.out[0]
        run.n = q // (wide * high * job.p.out[0])
        run.length = min(wide - run.tx, last - q)
        run.lane = q - first
        q += run.length
        panel.count += 1


cdef inline void find_depth(const ConvJob *job, Panel *panel, Py_ssize_t tap) noexcept nogil:
    """The input depth that a tap along D reads."""
    cdef int i
    for i in range(panel.count):
        panel.runs[i].depth = source(panel.runs[i].z - job.p.before[0] + tap, job.p.size[0], job.p.mode)


cdef inline void fill_line(const ConvJob *job, real *line, const real *x, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """line[j] is input column at + j, zero or as the padding mode says outside."""
    cdef Py_ssize_t L = job.p.size[2], a = min(n, max(<Py_ssize_t>0, -at)), b = max(a, min(n, L - at)), j, i
    for j in range(a):
        i = source(at + j, L, job.p.mode)
        line[j] = x[i * job.xs[2]] if i >= 0 else <real>0
    copy_run(line + a, x + (at + a) * job.xs[2], job.xs[2], b - a)
    for j in range(b, n):
        i = source(at + j, L, job.p.mode)
        line[j] = x[i * job.xs[2]] if i >= 0 else <real>0


cdef inline void deal_columns(const int T, const int wide, real *lanes, const real *line,
                              Py_ssize_t n) noexcept nogil:
    """lanes[c * (NR + VL) + t] = line[wide * t + c] for the T columns c of patch t < n; wide is 1, 2 or 4."""
    cdef Py_ssize_t t = 0, ld = NR + VL
    cdef vec a, b, d, e
    cdef int c
    while t < n:
        if wide == 1:
            store(lanes + t, load(line + t))
        elif wide == 4:
            load4(line + 4 * t, &a, &b, &d, &e)
            store(lanes + t, a)
            store(lanes + ld + t, b)
            store(lanes + 2 * ld + t, d)
            store(lanes + 3 * ld + t, e)
            load4(line + 4 * t + 4, &a, &b, &d, &e)
            store(lanes + 4 * ld + t, a)
            store(lanes + 5 * ld + t, b)
        else:
            for c in range(T // 2):
                load2(line + 2 * t + 2 * c, &a, &b)
                store(lanes + 2 * c * ld + t, a)
                store(lanes + (2 * c + 1) * ld + t, b)
        t += VL


cdef inline void clear_row(real *lanes, Py_ssize_t columns, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t c, t
    cdef vec zero = set1(<real>0)
    for c in range(columns):
        t = 0
        while t < n:
            store(lanes + c * (NR + VL) + t, zero)
            t += VL


cdef inline void gather(const int T, const int high, const int R, ConvJob *job, Panel *panel,
                        const real *x) noexcept nogil:
    """One channel of the patches of a panel, at the depth that find_depth left."""
    cdef Py_ssize_t hop = outs_of(high, R), wide = outs_of(T, R), r, iy
    cdef int i
    cdef Patches *run
    cdef real *lanes
    for i in range(panel.count):
        run = &panel.runs[i]
        for r in range(high):
            lanes = panel.lanes + r * T * (NR + VL) + run.lane
            iy = source(run.ty * hop - job.p.before[1] + r, job.p.size[1], job.p.mode)
            if run.depth < 0 or iy < 0:
                clear_row(lanes, T, run.length)
                continue
            fill_line(job, panel.line, x + run.n * job.xn + run.depth * job.xs[0] + iy * job.xs[1],
                      run.tx * wide - job.p.before[2], wide * (run.length - 1) + T)
            deal_columns(T, outs_of(T, R), lanes, panel.line, run.length)


cdef inline void transform_input(const int T, const int high, const Panel *panel, real *u,
                                 Py_ssize_t us) noexcept nogil:
    """One gathered channel of a panel: u[position * us + lane]."""
    cdef Py_ssize_t ld = NR + VL
    cdef int r, c, v
    cdef vec d[36]
    for v in range(panel.vectors):
        for r in range(high):
            for c in range(T):
                d[r * T + c] = load(panel.lanes + (r * T + c) * ld + v * VL)
            if T > 1:
                input_axis(T, &d[r * T], 1)
        if high > 1:
            for c in range(T):
                input_axis(high, &d[c], T)
        for r in range(T * high):
            store(u + r * us + v * VL, d[r])


cdef inline void transform_output(const int T, const int high, const int R, const Panel *panel,
                                  const Channel *channel, vec *spoiled) noexcept nogil:
    """One output channel of a panel, back to lines of outputs; one that is not finite makes `spoiled` NaN."""
    cdef int rows = outs_of(high, R), wide = outs_of(T, R)
    cdef int v, r, c
    cdef vec d[36]
    cdef vec h[24]
    cdef vec o[16]
    cdef vec b = set1(channel.bias)
    cdef vec zero = set1(<real>0)
    cdef vec bad = zero
    cdef real *lines = panel.lanes
    for v in range(panel.vectors):
        for r in range(T * high):
            d[r] = load(channel.m + r * channel.ms + v * VL)
        if high == 1:
            output_axis(T, R, &o[0], 1, &d[0], 1)
        elif T == 1:
            output_axis(high, R, &o[0], 1, &d[0], 1)
        else:
            for c in range(T):
                output_axis(T, R, &h[c], T, &d[c], T)
            for r in range(rows):
                output_axis(T, R, &o[r * wide], 1, &h[r * T], 1)
        for r in range(wide * rows):
            bad = bad + o[r] * zero  # 0 x inf is NaN
        for r in range(rows):
            if wide == 4:
                store4(lines + r * 4 * NR + v * 4 * VL, o[r * 4] + b, o[r * 4 + 1] + b, o[r * 4 + 2] + b,
                       o[r * 4 + 3] + b)
            elif wide == 2:
                store2(lines + r * 2 * NR + v * 2 * VL, o[r * 2] + b, o[r * 2 + 1] + b)
            else:
                store(lines + r * NR + v * VL, o[r] + b)
    spoiled[0] = spoiled[0] + bad


cdef inline Py_ssize_t outs_along(Py_ssize_t points, Py_ssize_t taps) noexcept nogil:
    """Outputs of a patch along one axis."""
    return points - taps + 1


cdef inline void write_patches(const Py_ssize_t wide, const ConvJob *job, const Panel *panel,
                               const Channel *channel) noexcept nogil:
    """The lines of outputs of a panel into y, of patches that give `wide` columns of them."""
    cdef Py_ssize_t rows = outs_along(job.wino.high, job.p.kernel[1]), width, height, r
    cdef int i
    cdef const Patches *run
    cdef real *to
    for i in range(panel.count):
        run = &panel.runs[i]
        width = min(wide * run.length, job.p.out[2] - wide * run.tx)
        height = min(rows, job.p.out[1] - rows * run.ty)
        to = (channel.y + run.n * job.yn + run.z * job.ys[0] + run.ty * rows * job.ys[1] + run.tx * wide * job.ys[2])
        for r in range(height):
            if job.ys[2] == 1:
                copy_run(to, panel.lanes + r * wide * NR + wide * run.lane, 1, width)
            else:
                put_lines(to, 0, job.ys[2], panel.lanes + r * wide * NR + wide * run.lane, 0, 1, width)
            to += job.ys[1]


cdef inline bint any_spoiled(vec v) noexcept nogil:
    cdef real lanes[64]
    cdef real sum = 0
    cdef int i
    store(lanes, v)
    for i in range(VL):
        sum += lanes[i]
    return sum != 0


cdef inline void direct_sums(const ConvJob *job, const Panel *panel, real *m, Py_ssize_t ms, const real *w,
                             Py_ssize_t width) noexcept nogil:
    """m[output of a patch, o] += the taps of one channel (and tap along D); w[o * C * kd * taps + tap]."""
    cdef Py_ssize_t T = job.wino.patch, kw = job.p.kernel[2], taps = job.p.kernel[1] * kw
    cdef Py_ssize_t hop = job.p.C * job.p.kernel[0] * taps, o, t, r, c, at, ld = NR + VL
    cdef Py_ssize_t rows = outs_along(job.wino.high, job.p.kernel[1]), wide = outs_along(T, kw)
    cdef int v
    cdef vec acc
    for o in range(width):
        for r in range(rows):
            for c in range(wide):
                for v in range(panel.vectors):
                    acc = load(m + (r * wide + c) * ms + o * NR + v * VL)
                    for t in range(taps):
                        at = ((r + t // kw) * T + c + t % kw) * ld
                        acc = acc + set1(w[o * hop + t]) * load(panel.lanes + at + v * VL)
                    store(m + (r * wide + c) * ms + o * NR + v * VL, acc)


cdef inline void mend_patch(const ConvJob *job, const Channel *channel, const Patches *run,
                            Py_ssize_t patch) noexcept nogil:
    """The plain sums of one patch of a run into y, if what stands there is not finite."""
    cdef Py_ssize_t wide = outs_along(job.wino.patch, job.p.kernel[2])
    cdef Py_ssize_t rows = outs_along(job.wino.high, job.p.kernel[1]), i, j
    cdef Py_ssize_t width = min(wide, job.p.out[2] - wide * (run.tx + patch))
    cdef Py_ssize_t height = min(rows, job.p.out[1] - rows * run.ty)
    cdef real *to = (channel.y + run.n * job.yn + run.z * job.ys[0] + run.ty * rows * job.ys[1]
                     + (run.tx + patch) * wide * job.ys[2])
    cdef real spoiled = 0
    for i in range(height):
        for j in range(width):
            spoiled += to[i * job.ys[1] + j * job.ys[2]] * <real>0
    if spoiled == 0:
        return
    for i in range(height):
        for j in range(width):
            to[i * job.ys[1] + j * job.ys[2]] = channel.m[(i * wide + j) * channel.ms + run.lane + patch] + channel.bias
