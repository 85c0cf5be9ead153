# cython: language_level=3, cdivision=True
"""The functions of capi.pxd: programs are made under the GIL by the same code as for Python, and run without it."""
import math

from cconv import _cpu, _specs
from cconv._check.shapes import three
from cconv._version import check_stamp

from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.math cimport fabs, isinf, pow, sqrt
from libc.stdlib cimport calloc, free, malloc

from cconv._run cimport drive
from cconv._run.conv cimport ConvCall, ConvCode, ConvProgram, conv_threads, prepare, run, workspace_bytes
from cconv._run.pool cimport PoolCode, PoolProgram, drive_pool, fold_job, pool_threads
from cconv._run.threads cimport (allowed_threads, ask_instead, enter_call, leave_call, start_threads,
                                 watch_here)
from cconv.kernels.job cimport PoolJob, Watch

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
check_stamp(_cpu, stamp)


cdef struct Strides:
    Py_ssize_t n, c
    Py_ssize_t s[3]


cdef struct Handle:
    PyObject *program               # keeps what the pointers below point into
    PyObject *packing
    ConvCode *plain
    ConvCode *packed                # the same convolution with weights of conv_pack
    PoolCode *pool
    Strides x, y                    # in elements
    int threads, empty
    int by_plane, narrow            # pools: run on copies, plane by plane; the copies are wider than the arrays
    Py_ssize_t itemsize, planes, window     # of what pools are computed in; planes; elements of a window
    double norm


cdef int abi_version() noexcept nogil:
    return ABI_VERSION


cdef const char *status_text(int status) noexcept nogil:
    if status == STATUS_OK: return "no error"
    if status == STATUS_BAD_SPEC: return "the spec's sizes or parameters do not fit each other"
    if status == STATUS_NO_MEMORY: return "no memory"
    if status == STATUS_NULL: return "a pointer that must not be NULL is"
    if status == STATUS_UNEXPECTED: return "an unexpected error in cconv"
    if status == STATUS_STOPPED: return "the look callback has ended the run"
    return "unknown status"


# ---------------------------------------------------------------- specs, under the GIL

cdef int status_of(error) noexcept:
    if isinstance(error, MemoryError):
        return STATUS_NO_MEMORY
    return STATUS_BAD_SPEC if isinstance(error, (TypeError, ValueError)) else STATUS_UNEXPECTED


cdef int set_shape(Strides *to, shape, axes) except -1:
    """Strides of a contiguous array whose axes of space are walked as others, as Form.axes of operand.pxd says."""
    cdef Py_ssize_t step = 1
    size = three(shape[2:], 1)
    steps = [0, 0, 0, math.prod(size)]
    for length, a in reversed([*zip(size, axes, strict=True)]):
        if length > 1 and (a == 3 or not steps[a]):
            steps[a] = step if a < 3 else min(step, steps[3])
        step *= length
    to.s[0], to.s[1], to.s[2], to.c = steps
    to.n = step * shape[1]
    return 0


cdef int make_conv(conv_spec *spec, Handle *handle) except -1:
    cdef ConvProgram program, packing
    cdef int a
    found = _specs.conv_spec(spec[0])
    program = ConvProgram(found.plain, spec.rank, True, found.out_shape, found.weight_shape)
    packing = ConvProgram(found.packed, spec.rank, True, found.out_shape, found.weight_shape)
    set_shape(&handle.x, found.shape, found.plain.axes)
    set_shape(&handle.y, found.out_shape, found.plain.axes)
    for a in range(spec.rank):
        spec.output[a] = found.out_shape[2 + a]
    handle.threads = allowed_threads()
    handle.empty = program.empty
    handle.plain, handle.packed = &program.code, &packing.code
    handle.program, handle.packing = <PyObject *>program, <PyObject *>packing
    Py_INCREF(program)
    Py_INCREF(packing)
    return 0


cdef int conv_init(conv_spec *spec, void **plan) noexcept nogil:
    cdef Handle *handle
    cdef int status = STATUS_OK
    if spec == NULL or plan == NULL:
        return STATUS_NULL
    plan[0] = NULL
    handle = <Handle *>calloc(1, sizeof(Handle))
    if handle == NULL:
        return STATUS_NO_MEMORY
    with gil:
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
        Py_XDECREF(handle.program)
        Py_XDECREF(handle.packing)
    free(handle)


# ---------------------------------------------------------------- convolutions, without it

cdef void set_look(look_function look, void *context) noexcept nogil:
    ask_instead(look, context)


cdef int status_after(drive.Status status) noexcept nogil:
    return STATUS_OK if status == drive.OK else STATUS_STOPPED if status == drive.INTERRUPTED else STATUS_UNEXPECTED


cdef char *on_line(void *memory) noexcept nogil:
    """The next cache line of memory that has one to spare."""
    return <char *>memory + (64 - <size_t>memory % 64)


cdef int run_conv(Handle *handle, ConvCode *code, ConvCall *call, char *block, int threads) noexcept nogil:
    """A call that has its arrays; without a block, the weights are prepared in the workspace."""
    cdef drive.Status status
    cdef size_t size, first = 0
    cdef void *memory
    cdef Watch signals
    cdef int a
    if handle.empty:
        return STATUS_OK
    call.xn, call.xc, call.yn, call.yc = handle.x.n, handle.x.c, handle.y.n, handle.y.c
    for a in range(3):
        call.xs[a], call.ys[a] = handle.x.s[a], handle.y.s[a]
    call.signals = watch_here(&signals)
    call.threads = start_threads(conv_threads(code, enter_call(threads if threads > 0 else handle.threads)))
    size = workspace_bytes(code, call.threads)
    if block == NULL:
        first = code.block_bytes
        size = max(size, code.scratch_bytes)
    memory = malloc(first + size + 64)
    if memory == NULL:
        leave_call()
        return STATUS_NO_MEMORY
    call.block = on_line(memory) if block == NULL else block
    call.workspace = on_line(memory) + first
    status = prepare(code, call, False) if block == NULL else drive.OK
    if status == drive.OK:
        status = run(code, call)
    leave_call()
    free(memory)
    return status_after(status)


cdef int conv_run(void *plan, const void *x, const void *weight, const void *bias, void *y, int threads) noexcept nogil:
    cdef Handle *handle = <Handle *>plan
    cdef ConvCall call
    if handle == NULL or x == NULL or weight == NULL or y == NULL:
        return STATUS_NULL
    call.x, call.w, call.bias, call.y = <void *>x, <void *>weight, <void *>bias, y
    return run_conv(handle, handle.plain, &call, NULL, threads)


cdef int conv_pack(void *plan, const void *weight, void **packed) noexcept nogil:
    cdef Handle *handle = <Handle *>plan
    cdef ConvCode *code
    cdef ConvCall call
    cdef void *scratch
    if handle == NULL or weight == NULL or packed == NULL:
        return STATUS_NULL
    code = handle.packed
    packed[0] = malloc(code.kept_bytes + 64)
    scratch = malloc(code.scratch_bytes + 64)
    if packed[0] == NULL or scratch == NULL:
        free(packed[0])
        free(scratch)
        packed[0] = NULL
        return STATUS_NO_MEMORY
    call.w, call.block, call.workspace = <void *>weight, on_line(packed[0]), on_line(scratch)
    call.threads, call.signals = 1, NULL
    prepare(code, &call, True)
    free(scratch)
    return STATUS_OK


cdef int conv_run_packed(void *plan, const void *x, const void *packed, const void *bias, void *y,
                         int threads) noexcept nogil:
    cdef Handle *handle = <Handle *>plan
    cdef ConvCall call
    if handle == NULL or x == NULL or packed == NULL or y == NULL:
        return STATUS_NULL
    call.x, call.w, call.bias, call.y = <void *>x, NULL, <void *>bias, y
    return run_conv(handle, handle.packed, &call, on_line(<void *>packed), threads)


cdef void conv_free_packed(void *packed) noexcept nogil:
    free(packed)


# ---------------------------------------------------------------- pools

cdef int GIVEN = _specs.GIVEN, ADAPTIVE = _specs.ADAPTIVE, POWERS = _specs.POWERS


cdef int make_pool(pool_spec *spec, Handle *handle, int kind, double norm) except -1:
    cdef PoolProgram program
    cdef int a
    found = _specs.pool_spec(spec[0], kind, norm)
    program = PoolProgram(found.strategy, spec.rank, True, found.out_shape)
    handle.by_plane, handle.narrow, handle.planes = found.by_plane, found.narrow, found.planes
    handle.window, handle.norm = found.taps, norm
    set_shape(&handle.x, found.shape, (0, 1, 2))
    set_shape(&handle.y, found.out_shape, (0, 1, 2))
    for a in range(spec.rank):
        spec.output[a] = found.out_shape[2 + a]
    handle.threads = allowed_threads()
    handle.empty = program.empty
    handle.itemsize = program.form.itemsize
    handle.pool = &program.code
    handle.program = <PyObject *>program
    Py_INCREF(program)
    return 0


cdef int init_pool(pool_spec *spec, int kind, double norm, void **plan) noexcept nogil:
    cdef Handle *handle
    cdef int status = STATUS_OK
    if spec == NULL or plan == NULL:
        return STATUS_NULL
    plan[0] = NULL
    handle = <Handle *>calloc(1, sizeof(Handle))
    if handle == NULL:
        return STATUS_NO_MEMORY
    with gil:
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
    return init_pool(spec, GIVEN, 0.0, plan)


cdef int adaptive_pool_init(pool_spec *spec, void **plan) noexcept nogil:
    return init_pool(spec, ADAPTIVE, 0.0, plan)


cdef int lp_pool_init(pool_spec *spec, double norm_type, void **plan) noexcept nogil:
    return init_pool(spec, POWERS, norm_type, plan)


cdef int run_one_pool(Handle *handle, const void *x, void *y, long long *indices, int threads,
                      Watch *signals) noexcept nogil:
    cdef PoolJob job = handle.pool.job
    cdef drive.Status status
    cdef void *memory
    cdef int a
    if handle.empty:
        return STATUS_OK
    if job.indexed and indices == NULL:
        return STATUS_NULL
    job.x, job.y, job.index = <void *>x, y, indices
    job.xn, job.xc, job.yn, job.yc = handle.x.n, handle.x.c, handle.y.n, handle.y.c
    for a in range(3):
        job.xs[a], job.ys[a] = handle.x.s[a], handle.y.s[a]
    fold_job(handle.pool, &job)
    threads = enter_call(threads if threads > 0 else handle.threads)
    threads = start_threads(pool_threads(handle.pool, threads))
    memory = malloc(threads * job.workspace_bytes + 64)
    if memory == NULL:
        leave_call()
        return STATUS_NO_MEMORY
    status = drive_pool(handle.pool, &job, on_line(memory), threads, signals)
    leave_call()
    free(memory)
    return status_after(status)


cdef int pool_run(void *plan, const void *x, void *y, long long *indices, int threads) noexcept nogil:
    cdef Handle *handle = <Handle *>plan
    cdef Watch here
    cdef Watch *signals = watch_here(&here)
    if handle == NULL or x == NULL or y == NULL:
        return STATUS_NULL
    if not handle.by_plane:
        return run_one_pool(handle, x, y, indices, threads, signals)
    if handle.narrow:
        return run_planes[float, double](handle, <const float *>x, <float *>y, NULL, threads, signals)
    if handle.itemsize == 4:
        return run_planes[float, float](handle, <const float *>x, <float *>y, NULL, threads, signals)
    return run_planes[double, double](handle, <const double *>x, <double *>y, NULL, threads, signals)


ctypedef fused outer:
    float
    double


ctypedef fused inside:
    float
    double


cdef inside powered(inside value, double norm) noexcept nogil:
    """What is averaged, of a value; norm 0: averages as they are."""
    if norm == 0:
        return value
    if norm == 2:
        return value * value
    value = <inside>fabs(value)
    return value if norm == 1 or isinf(norm) else <inside>pow(value, norm)


cdef inside rooted(inside value, double norm, inside window) noexcept nogil:
    """The norm of a window's values, of the mean of their powers."""
    if norm == 0:
        return value
    if isinf(norm):
        return value if value >= 0 or value != value else 0     # no valid tap: an empty sum
    value = value * window
    if norm == 2:
        return <inside>sqrt(value)      # correctly rounded in either type
    return value if norm == 1 else <inside>pow(value, 1 / norm)


cdef int run_planes(Handle *handle, const outer *x, outer *y, inside *_type, int threads,
                    Watch *signals) noexcept nogil:
    """Plane by plane: powers into a copy of the plane, their pool, the root of that."""
    cdef Py_ssize_t n, i, inputs = handle.x.c, outputs = handle.y.c
    cdef inside window = <inside>handle.window
    cdef inside *copy = <inside *>malloc((inputs + outputs) * sizeof(inside))
    cdef inside *result = copy + inputs
    cdef int status = STATUS_OK
    if copy == NULL:
        return STATUS_NO_MEMORY
    for n in range(handle.planes):
        for i in range(inputs):
            copy[i] = powered(<inside>x[n * inputs + i], handle.norm)
        status = run_one_pool(handle, copy, result, NULL, threads, signals)
        if status:
            break
        for i in range(outputs):
            y[n * outputs + i] = <outer>rooted(result[i], handle.norm, window)
    free(copy)
    return status


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
        void (*set_look)(int (*)(void *) noexcept nogil, void *) noexcept nogil


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
api.set_look = set_look
table = PyCapsule_New(&api, "cconv.capi.table", NULL)
