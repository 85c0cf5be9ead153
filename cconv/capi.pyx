# cython: language_level=3, cdivision=True
"""The functions of capi.pxd: plans are made under the GIL by the same code as for Python, and run without it."""
from cconv import _args, _calls, _problem, _run, _version
from numpy import dtype as numpy_dtype

from cconv._run cimport ConvPlan, PoolPlan, enter_call, item_count, leave_call, split_threads, team, thread_limit
from cconv.kernels.job cimport ConvJob, ConvTable, PoolJob
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.math cimport fabs, isinf, pow, sqrt
from libc.string cimport memcpy, memset
from cpython.pycapsule cimport PyCapsule_New

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
_version.check_stamp(_run, stamp)


cdef struct Handle:
    PyObject *plain                 # ConvPlans, kept alive; PoolPlan in `plain`
    PyObject *packing
    int *same                       # of each part, the first with the same taps; then the packing plan's
    int *same_packing
    Py_ssize_t *counts
    Py_ssize_t *counts_packing
    Py_ssize_t weights, taps        # elements of all weights, taps of one kernel
    Py_ssize_t planes_in, planes_out
    Py_ssize_t input[3]
    Py_ssize_t output[3]
    int threads
    int by_plane, narrow            # pools: run on copies, plane by plane; the copies are wider than the arrays
    Py_ssize_t planes, window
    double norm


cdef struct Packed:
    int count
    void **parts                    # one a part of the plan
    char *owned


cdef int abi_version() noexcept nogil:
    return ABI_VERSION


cdef const char *status_text(int status) noexcept nogil:
    if status == STATUS_OK: return "no error"
    if status == STATUS_BAD_SPEC: return "the spec's sizes or parameters do not fit each other"
    if status == STATUS_NO_MEMORY: return "no memory"
    if status == STATUS_NULL: return "a pointer that must not be NULL is"
    if status == STATUS_UNEXPECTED: return "an unexpected error in cconv"
    return "unknown status"


# ---------------------------------------------------------------- plans, under the GIL

cdef tuple values(Py_ssize_t *array, int rank):
    # appended: without memory for its list, a comprehension of Cython 3.3 releases an element twice
    result = []
    for i in range(rank):
        result.append(array[i])
    return tuple(result)


cdef tuple pads(Py_ssize_t *before, Py_ssize_t *after, int rank):
    result = []
    for i in range(rank):
        result.append((before[i], after[i]))
    return tuple(result)


cdef dtype_of(int number):
    if number not in (FLOAT32, FLOAT64):
        raise ValueError("dtype")
    return numpy_dtype("f4" if number == FLOAT32 else "f8")


cdef int status_of(error) noexcept:
    if isinstance(error, MemoryError):
        return STATUS_NO_MEMORY
    return STATUS_BAD_SPEC if isinstance(error, (TypeError, ValueError)) else STATUS_UNEXPECTED


cdef Handle *new_handle() noexcept nogil:
    cdef Handle *handle = <Handle *>malloc(sizeof(Handle))
    if handle != NULL:
        memset(handle, 0, sizeof(Handle))
    return handle


cdef void keep_shape(Handle *handle, Py_ssize_t *input, Py_ssize_t *output, out, int rank):
    cdef int a
    for a in range(3):
        handle.input[a] = handle.output[a] = 1
    for a in range(rank):
        output[a] = out[a]
        handle.input[3 - rank + a] = input[a]
        handle.output[3 - rank + a] = out[a]


cdef int keep_parts(ConvPlan plan, int **same, Py_ssize_t **counts) except -1:
    """What of a plan's parts is needed without the GIL."""
    cdef int i
    same[0] = <int *>malloc(max(1, plan.count) * sizeof(int))
    counts[0] = <Py_ssize_t *>malloc(max(1, plan.count) * sizeof(Py_ssize_t))
    if same[0] == NULL or counts[0] == NULL:
        raise MemoryError
    for i in range(plan.count):
        same[0][i] = plan.same[i] if plan.transposed else 0
        counts[0][i] = plan.tap_counts[i] if plan.transposed else 0
    return 0


cdef int make_conv(conv_spec *spec, Handle *handle) except -1:
    cdef int rank = spec.rank, a
    name = "capi.conv_init"
    if not 1 <= rank <= 3 or not 0 <= spec.padding_mode <= 3 or (spec.transposed and spec.padding_mode):
        raise ValueError("rank or padding_mode")
    for value in (spec.in_channels, spec.out_channels, spec.groups):
        if value < 1:
            raise ValueError("channels and groups")
    if spec.batch < 0 or spec.in_channels % spec.groups or spec.out_channels % spec.groups:
        raise ValueError("channels must be multiples of groups")
    dtype = dtype_of(spec.dtype)
    kernel = values(spec.kernel, rank)
    size = values(spec.input, rank)
    for value in (*kernel, *size):
        _args.integer(name, "size", value, 1)
    shape = (spec.batch, spec.in_channels, *size)
    padding = pads(spec.before, spec.after, rank)
    stride, dilation = values(spec.stride, rank), values(spec.dilation, rank)
    if spec.transposed:
        weight = (spec.in_channels, spec.out_channels // spec.groups, *kernel)
        params = [stride, padding, values(spec.output_padding, rank), spec.groups, dilation]
        whole, out_shape, (before, _) = _calls.transposed_problem(
            name, rank, shape, weight, dtype.itemsize, params)
        parts = _problem.transposed_phases(whole, _args.three(before, 0), _args.three(out_shape[2:], 1))
    else:
        weight = (spec.out_channels, spec.in_channels // spec.groups, *kernel)
        params = [stride, padding, dilation, spec.groups, _problem.MODES[spec.padding_mode]]
        whole, out_shape, _ = _calls.conv_problem(name, rank, shape, weight, dtype.itemsize, params)
        parts = None
    cdef ConvPlan plain = _run.ConvPlan(dtype, rank, True, out_shape, weight, whole, parts, "auto", False)
    cdef ConvPlan packing = _run.ConvPlan(dtype, rank, True, out_shape, weight, whole, parts, "auto", True)
    keep_parts(plain, &handle.same, &handle.counts)
    keep_parts(packing, &handle.same_packing, &handle.counts_packing)
    handle.taps = 1
    for a in range(rank):
        handle.taps *= spec.kernel[a]
    handle.planes_in, handle.planes_out = spec.in_channels, spec.out_channels
    keep_shape(handle, spec.input, spec.output, out_shape[2:], rank)
    handle.threads = thread_limit()
    handle.plain = <PyObject *>plain
    handle.packing = <PyObject *>packing
    Py_INCREF(plain)
    Py_INCREF(packing)
    return 0


cdef int conv_init(conv_spec *spec, void **plan) noexcept nogil:
    cdef Handle *handle
    cdef int status = STATUS_OK
    if spec == NULL or plan == NULL:
        return STATUS_NULL
    plan[0] = NULL
    with gil:
        handle = new_handle()
        if handle == NULL:
            return STATUS_NO_MEMORY
        try:
            make_conv(spec, handle)
        except BaseException as error:
            status = status_of(error)
    if status:
        conv_free(handle)
        return status
    plan[0] = handle
    return STATUS_OK


cdef void conv_free(void *plan) noexcept nogil:
    cdef Handle *handle = <Handle *>plan
    if handle == NULL:
        return
    with gil:
        Py_XDECREF(handle.plain)
        Py_XDECREF(handle.packing)
    free(handle.same)
    free(handle.same_packing)
    free(handle.counts)
    free(handle.counts_packing)
    free(handle)


# ---------------------------------------------------------------- weights, without it

cdef void gather_taps(ConvJob *job, const char *w, char *to, const Py_ssize_t *at, Py_ssize_t n, Py_ssize_t taps,
                      Py_ssize_t itemsize) noexcept nogil:
    """to[g, o, c, t] = w[g, c, o, at[t]]"""
    cdef Py_ssize_t g, o, c, t
    cdef const char *from_
    for g in range(job.G):
        for o in range(job.O):
            for c in range(job.C):
                from_ = w + ((g * job.C + c) * job.O + o) * taps * itemsize
                for t in range(n):
                    if itemsize == 4:
                        (<uint32_t *>to)[t] = (<const uint32_t *>from_)[at[t]]
                    else:
                        (<uint64_t *>to)[t] = (<const uint64_t *>from_)[at[t]]
                to += n * itemsize


cdef Py_ssize_t packed_size(ConvPlan plan, int i, Py_ssize_t n) noexcept nogil:
    """Elements of a part's packed weights: for Winograd as _plan.winograd_weights, and the weights as they were."""
    cdef ConvJob *job = &plan.jobs[i]
    cdef Py_ssize_t positions, terms = job.C * job.k[0]
    if job.kernel != 3:
        return job.G * job.O * job.C * n
    positions = job.tile * job.tile if job.k[1] == 3 else job.tile
    return job.G * (positions * ((terms * job.O + 15) // 16 | 1) * 16 + job.O * job.C * n)


cdef void drop(Packed *packed) noexcept nogil:
    cdef int i
    if packed == NULL:
        return
    for i in range(packed.count):
        if packed.owned[i]:
            free(packed.parts[i])
    free(packed.parts)
    free(packed.owned)
    free(packed)


cdef int prepare(Handle *handle, ConvPlan plan, const int *same, const Py_ssize_t *counts, const void *weight,
                 bint pack, Packed **result) noexcept nogil:
    """The weights of every part: as they are, gathered, or packed; parts that share them share the memory."""
    cdef Packed *packed = <Packed *>malloc(sizeof(Packed))
    cdef ConvJob job
    cdef Py_ssize_t n
    cdef Py_ssize_t *at
    cdef void *raw
    cdef void *to
    cdef int i, j
    if packed == NULL:
        return STATUS_NO_MEMORY
    packed.count = 0
    packed.parts = <void **>malloc(max(1, plan.count) * sizeof(void *))
    packed.owned = <char *>malloc(max(1, plan.count))
    if packed.parts == NULL or packed.owned == NULL:
        free(packed.parts)
        free(packed.owned)
        free(packed)
        return STATUS_NO_MEMORY
    for i in range(plan.count):
        job = plan.jobs[i]
        n = counts[i] if plan.transposed else handle.taps
        packed.owned[i] = 0
        packed.parts[i] = NULL
        packed.count = i + 1
        for j in range(i):
            if same[j] == same[i] and plan.jobs[j].kernel == job.kernel and plan.jobs[j].tile == job.tile:
                packed.parts[i] = packed.parts[j]
                break
        if packed.parts[i] != NULL or job.G * job.O * job.C * n == 0:
            continue
        raw = <void *>weight
        if plan.transposed:
            raw = malloc(job.G * job.O * job.C * n * plan.itemsize)
            if raw == NULL:
                drop(packed)
                return STATUS_NO_MEMORY
            # the lists of the parts that have their own follow each other
            at = plan.tap_list
            for j in range(same[i]):
                if same[j] == j:
                    at += counts[j]
            gather_taps(&job, <const char *>weight, <char *>raw, at, n, handle.taps, plan.itemsize)
            packed.parts[i] = raw
            packed.owned[i] = 1
        if job.kernel == 3 or (pack and job.kernel == 0):
            to = malloc(packed_size(plan, i, n) * plan.itemsize)
            if to == NULL:
                drop(packed)
                return STATUS_NO_MEMORY
            job.w = raw
            job.threads = 1
            (plan.winograd if job.kernel == 3 else plan.table).pack(&job, to)
            if packed.owned[i]:
                free(raw)
            raw = to
            packed.owned[i] = 1
        packed.parts[i] = raw
    result[0] = packed
    return STATUS_OK


cdef void strides(Py_ssize_t *size, Py_ssize_t channels, Py_ssize_t *n, Py_ssize_t *c, Py_ssize_t *s,
                  bint line) noexcept nogil:
    """Of a contiguous array; `line`: its space as one axis."""
    s[2] = 1
    s[1] = 0 if line else size[2]
    s[0] = 0 if line else size[1] * size[2]
    c[0] = size[0] * size[1] * size[2]
    n[0] = c[0] * channels


cdef int run_parts(Handle *handle, ConvPlan plan, const void *x, Packed *weights, const void *bias, void *y,
                   bint packed, int threads) noexcept nogil:
    cdef ConvJob group[8]
    cdef Py_ssize_t xn, xc, yn, yc
    cdef Py_ssize_t xs[3]
    cdef Py_ssize_t ys[3]
    cdef int i = 0, j, n
    cdef char *space
    cdef char *base
    cdef size_t size
    cdef ConvTable *table
    if plan.void_:
        return STATUS_OK
    strides(handle.input, handle.planes_in, &xn, &xc, xs, plan.flat)
    strides(handle.output, handle.planes_out, &yn, &yc, ys, plan.flat)
    while i < plan.count:
        n = plan.jobs[i].group
        for j in range(n):
            group[j] = plan.jobs[i + j]
            group[j].xn, group[j].xc, group[j].yn, group[j].yc = xn, xc, yn, yc
            plan.point(&group[j], i + j, <void *>x, y, xs, ys)
            group[j].w = weights.parts[i + j]
            group[j].bias = <void *>bias
            group[j].packed = packed
        if group[0].out[0] * group[0].out[1] * group[0].out[2]:
            group[0].threads = split_threads(group, plan.work,
                                             enter_call(threads if threads > 0 else handle.threads))
            group[0].threads = team(group[0].threads)
            size = group[0].threads * group[0].workspace_bytes
            base = <char *>malloc(size + 64)
            if base == NULL:
                leave_call()
                return STATUS_NO_MEMORY
            space = base + (64 - <size_t>base % 64)
            for j in range(n):
                group[j].workspace = space
                group[j].o_splits = group[0].o_splits
            table = plan.winograd if group[0].kernel == 3 else plan.table
            table.run(group, 0, item_count(group) * group[0].o_splits)
            leave_call()
            free(base)
        i += n
    return STATUS_OK


cdef int conv_run(void *plan, const void *x, const void *weight, const void *bias, void *y, int threads) noexcept nogil:
    cdef Handle *handle = <Handle *>plan
    cdef Packed *weights = NULL
    cdef int status
    if handle == NULL or x == NULL or weight == NULL or y == NULL:
        return STATUS_NULL
    status = prepare(handle, <ConvPlan>handle.plain, handle.same, handle.counts, weight, False, &weights)
    if status == STATUS_OK:
        status = run_parts(handle, <ConvPlan>handle.plain, x, weights, bias, y, False, threads)
        drop(weights)
    return status


cdef int conv_pack(void *plan, const void *weight, void **packed) noexcept nogil:
    cdef Handle *handle = <Handle *>plan
    if handle == NULL or weight == NULL or packed == NULL:
        return STATUS_NULL
    packed[0] = NULL
    return prepare_copy(handle, <ConvPlan>handle.packing, weight, <Packed **>packed)


cdef int prepare_copy(Handle *handle, ConvPlan plan, const void *weight, Packed **packed) noexcept nogil:
    """Packed weights stand alone: parts that need no packing are copied."""
    cdef Py_ssize_t size
    cdef void *copy
    cdef int i, j
    cdef int status = prepare(handle, plan, handle.same_packing, handle.counts_packing, weight, True, packed)
    if status:
        return status
    for i in range(plan.count):
        if packed[0].parts[i] == weight:
            size = plan.jobs[i].G * plan.jobs[i].O * plan.jobs[i].C * handle.taps * plan.itemsize
            copy = malloc(size)
            if copy == NULL:
                drop(packed[0])
                packed[0] = NULL
                return STATUS_NO_MEMORY
            memcpy(copy, weight, size)
            packed[0].owned[i] = 1
            for j in range(i, plan.count):
                if packed[0].parts[j] == weight:
                    packed[0].parts[j] = copy
    return STATUS_OK


cdef int conv_run_packed(void *plan, const void *x, const void *packed, const void *bias, void *y,
                         int threads) noexcept nogil:
    cdef Handle *handle = <Handle *>plan
    if handle == NULL or x == NULL or packed == NULL or y == NULL:
        return STATUS_NULL
    return run_parts(handle, <ConvPlan>handle.packing, x, <Packed *>packed, bias, y, True, threads)


cdef void conv_free_packed(void *packed) noexcept nogil:
    drop(<Packed *>packed)


# ---------------------------------------------------------------- pools

cdef int make_pool(pool_spec *spec, Handle *handle, int kind, double norm) except -1:
    """`kind`: 0 windows of spec.op, 1 adaptive ones, 2 p-norms."""
    cdef int rank = spec.rank
    name = ("capi.pool_init", "capi.adaptive_pool_init", "capi.lp_pool_init")[kind]
    cdef int op = spec.op if kind < 2 else (POOL_MAX if isinf(norm) else POOL_AVERAGE)
    cdef bint indices = kind < 2 and spec.indices
    if not 1 <= rank <= 3 or op not in (POOL_MAX, POOL_AVERAGE) or (indices and op != POOL_MAX):
        raise ValueError("rank, op or indices")
    if spec.batch < 0 or spec.channels < 1 or (kind == 2 and not norm > 0):
        raise ValueError("batch, channels or norm_type")
    dtype = dtype_of(spec.dtype)
    size = values(spec.input, rank)
    for value in size:
        _args.integer(name, "input", value, 1)
    modes = (bool(spec.ceil_mode), kind == 2 or bool(spec.count_include_pad))
    if kind == 1:
        geometry = _args.output_size(name, values(spec.output, rank), size, rank)
        taps = steps = [-(-L // max(1, o)) for L, o in zip(size, geometry)]
        modes = (False, False)
    else:
        geometry = _args.pool_geometry(name, rank, values(spec.kernel, rank), values(spec.stride, rank),
                                       pads(spec.before, spec.after, rank), values(spec.dilation, rank))
        taps, steps = geometry[0], geometry[1]
    inner = dtype if op == POOL_MAX else _calls.float_dtypes(dtype, taps, steps)[1]
    problem, out_shape = _calls.pool_problem(
        name, rank, (spec.batch, spec.channels, *size), inner.itemsize, geometry, modes)
    handle.by_plane = kind == 2 or inner != dtype
    if handle.by_plane:
        # a plan of one plane, run on copies: of the powers, or in the wider type in which many values are averaged
        handle.planes = spec.batch * spec.channels
        problem = problem._replace(N=1, C=1)
        out_shape = (1, 1, *out_shape[2:])
        handle.narrow = inner != dtype
    handle.norm = norm
    handle.window = 1
    for k in taps:
        handle.window *= k
    cdef PoolPlan plan = _run.PoolPlan(inner, rank, True, out_shape, problem, op, indices,
                                       <double>spec.divisor_override if kind == 0 else 0.0)
    handle.planes_in = handle.planes_out = 1 if handle.by_plane else spec.channels
    keep_shape(handle, spec.input, spec.output, out_shape[2:], rank)
    handle.threads = thread_limit()
    handle.plain = <PyObject *>plan
    Py_INCREF(plan)
    return 0


cdef int init_pool(pool_spec *spec, int kind, double norm, void **plan) noexcept nogil:
    cdef Handle *handle
    cdef int status = STATUS_OK
    if spec == NULL or plan == NULL:
        return STATUS_NULL
    plan[0] = NULL
    with gil:
        handle = new_handle()
        if handle == NULL:
            return STATUS_NO_MEMORY
        try:
            make_pool(spec, handle, kind, norm)
        except BaseException as error:
            status = status_of(error)
    if status:
        conv_free(handle)
        return status
    plan[0] = handle
    return STATUS_OK


cdef int pool_init(pool_spec *spec, void **plan) noexcept nogil:
    return init_pool(spec, 0, 0.0, plan)


cdef int adaptive_pool_init(pool_spec *spec, void **plan) noexcept nogil:
    return init_pool(spec, 1, 0.0, plan)


cdef int lp_pool_init(pool_spec *spec, double norm_type, void **plan) noexcept nogil:
    return init_pool(spec, 2, norm_type, plan)


cdef int pool_run(void *plan, const void *x, void *y, long long *indices, int threads) noexcept nogil:
    cdef Handle *handle = <Handle *>plan
    if handle == NULL or x == NULL or y == NULL:
        return STATUS_NULL
    if not handle.by_plane:
        return run_pool(handle, <PoolPlan>handle.plain, x, y, indices, threads)
    if handle.narrow:
        return run_planes[float, double](handle, <PoolPlan>handle.plain, <const float *>x, <float *>y, NULL, threads)
    if (<PoolPlan>handle.plain).itemsize == 4:
        return run_planes[float, float](handle, <PoolPlan>handle.plain, <const float *>x, <float *>y, NULL, threads)
    return run_planes[double, double](handle, <PoolPlan>handle.plain, <const double *>x, <double *>y, NULL, threads)


ctypedef fused outer:
    float
    double


ctypedef fused inside:
    float
    double


cdef int run_planes(Handle *handle, PoolPlan pool, const outer *x, outer *y, inside *_type,
                    int threads) noexcept nogil:
    """Plane by plane: powers into a copy of the plane, their pool, the root of that; norm 0: averages as they are."""
    cdef Py_ssize_t n, i, inputs = 1, outputs = 1
    cdef int a, status = STATUS_OK
    cdef double norm = handle.norm
    cdef inside value, window = <inside>handle.window
    for a in range(3):
        inputs *= handle.input[a]
        outputs *= handle.output[a]
    cdef inside *copy = <inside *>malloc((inputs + outputs) * sizeof(inside))
    cdef inside *result
    if copy == NULL:
        return STATUS_NO_MEMORY
    result = copy + inputs
    for n in range(handle.planes):
        for i in range(inputs):
            value = <inside>x[n * inputs + i]
            if norm == 2:
                value = value * value
            elif norm != 0:
                value = fabs(value)
                if norm != 1 and not isinf(norm):
                    value = <inside>pow(value, norm)
            copy[i] = value
        status = run_pool(handle, pool, copy, result, NULL, threads)
        if status:
            break
        for i in range(outputs):
            value = result[i]
            if isinf(norm):
                if value < 0:
                    value = 0                       # no valid tap: an empty sum
            elif norm != 0:
                value = value * window
                if norm == 2:
                    value = <inside>sqrt(value)     # correctly rounded in either type
                elif norm != 1:
                    value = <inside>pow(value, 1 / norm)
            y[n * outputs + i] = <outer>value
    free(copy)
    return status


cdef int run_pool(Handle *handle, PoolPlan pool, const void *x, void *y, long long *indices,
                  int threads) noexcept nogil:
    cdef PoolJob job
    cdef Py_ssize_t items
    cdef char *base
    cdef double most
    if pool.void_:
        return STATUS_OK
    job = pool.job
    if job.indexed and indices == NULL:
        return STATUS_NULL
    strides(handle.input, handle.planes_in, &job.xn, &job.xc, job.xs, False)
    strides(handle.output, handle.planes_out, &job.yn, &job.yc, job.ys, False)
    job.x = <void *>x
    job.y = y
    job.index = indices
    items = job.planes * job.out[0] * job.blocks
    most = pool.work / 1e5
    job.threads = enter_call(threads if threads > 0 else handle.threads)
    if job.threads > most:
        job.threads = max(1, <int>most)
    job.threads = team(<int>max(<Py_ssize_t>1, min(<Py_ssize_t>job.threads, items)))
    base = <char *>malloc(job.threads * job.workspace_bytes + 64)
    if base == NULL:
        leave_call()
        return STATUS_NO_MEMORY
    job.workspace = base + (64 - <size_t>base % 64)
    pool.table.run(&job, 0, items)
    leave_call()
    free(base)
    return STATUS_OK


cdef void pool_free(void *plan) noexcept nogil:
    conv_free(plan)


# ---------------------------------------------------------------- for C

cdef extern from "cconv.h":
    int CCONV_ABI_VERSION
    ctypedef struct cconv_conv_spec:
        Py_ssize_t output[3]
    ctypedef struct cconv_pool_spec:
        Py_ssize_t output[3]
    ctypedef struct cconv_api:
        int abi_version, size
        const char *(*status_text)(int) noexcept nogil
        int (*conv_init)(cconv_conv_spec *, void **) noexcept nogil
        int (*conv_run)(void *, const void *, const void *, const void *, void *, int) noexcept nogil
        int (*conv_pack)(void *, const void *, void **) noexcept nogil
        int (*conv_run_packed)(void *, const void *, const void *, const void *, void *, int) noexcept nogil
        void (*conv_free_packed)(void *) noexcept nogil
        void (*conv_free)(void *) noexcept nogil
        int (*pool_init)(cconv_pool_spec *, void **) noexcept nogil
        int (*pool_run)(void *, const void *, void *, long long *, int) noexcept nogil
        void (*pool_free)(void *) noexcept nogil
        int (*adaptive_pool_init)(cconv_pool_spec *, void **) noexcept nogil
        int (*lp_pool_init)(cconv_pool_spec *, double, void **) noexcept nogil


ctypedef int (*init_conv_pointer)(cconv_conv_spec *, void **) noexcept nogil
ctypedef int (*init_pool_pointer)(cconv_pool_spec *, void **) noexcept nogil
ctypedef int (*init_lp_pointer)(cconv_pool_spec *, double, void **) noexcept nogil

# The header repeats the structs of the .pxd, which includes nothing: they must not part.
cdef conv_spec ours
cdef cconv_conv_spec theirs
cdef pool_spec our_pool
cdef cconv_pool_spec their_pool
if sizeof(conv_spec) != sizeof(cconv_conv_spec) or sizeof(pool_spec) != sizeof(cconv_pool_spec) or \
        <char *>ours.output - <char *>&ours != <char *>theirs.output - <char *>&theirs or \
        <char *>our_pool.output - <char *>&our_pool != <char *>their_pool.output - <char *>&their_pool or \
        <int>ABI_VERSION != <int>CCONV_ABI_VERSION:
    raise ImportError("cconv.capi: cconv.h and capi.pxd of this build do not agree")

cdef cconv_api api
api.abi_version = ABI_VERSION
api.size = sizeof(cconv_api)
api.status_text = status_text
api.conv_init = <init_conv_pointer>conv_init
api.conv_run = conv_run
api.conv_pack = conv_pack
api.conv_run_packed = conv_run_packed
api.conv_free_packed = conv_free_packed
api.conv_free = conv_free
api.pool_init = <init_pool_pointer>pool_init
api.pool_run = pool_run
api.pool_free = pool_free
api.adaptive_pool_init = <init_pool_pointer>adaptive_pool_init
api.lp_pool_init = <init_lp_pointer>lp_pool_init
table = PyCapsule_New(&api, "cconv.capi.table", NULL)
