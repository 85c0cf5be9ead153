# cython: language_level=3, cdivision=True
"""Holds plans ready to run, allocates, and calls one kernel: the per-call path, so no work that can be cached."""
import importlib
import os

import numpy as np

from cconv import _cpu
from cconv._plan import choose as plan_conv, phases as plan_phases, pool as plan_pool, winograd_tile, winograd_weights
from cconv._problem import Part, flattened, interleaved
from cconv._processors import default_threads
from cconv._version import check_stamp

cimport cython
from cpython.buffer cimport (PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release,
                             PyObject_GetBuffer)
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memmove, memset

from cconv.kernels.job cimport ConvJob, ConvTable, PoolJob, PoolTable

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
check_stamp(_cpu, stamp)

ndarray = np.ndarray
empty = np.empty
# What calls share is touched under the GIL, and without one (free-threaded Python) in this critical section;
# on builds with the GIL it compiles to nothing. Dictionaries (plans, layouts) have locks of their own.
cdef object guard = object()

# ---------------------------------------------------------------- instruction set

# "lowered" is for tests, built with CCONV_LOWERED=1 and never chosen by itself: AVX-512's widths in AVX2 instructions
ISAS = ("lowered", "baseline", "avx2", "avx512")
DTYPES = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", np.dtype(np.int32): "i32",
          np.dtype(np.int64): "i64"}


def built():
    """Instruction sets whose kernels this installation holds, slowest first."""
    folder = os.path.join(os.path.dirname(__file__), "kernels")
    return [isa for isa in ISAS if os.path.isdir(os.path.join(folder, isa))]


def able_isas():
    able = _cpu.supported()
    return ("lowered", *able) if "avx2" in able else able


def choose_isa(wanted):
    able = able_isas()
    if not wanted:
        return [isa for isa in built() if isa in able][-1]
    if wanted not in ISAS:
        raise ImportError(f"CCONV_ISA={wanted!r} is not an instruction set that cconv knows: {', '.join(ISAS[1:])}")
    if wanted not in built():
        raise ImportError(f"CCONV_ISA={wanted}: this cconv was built without it; it has {', '.join(built())}")
    if wanted not in able:
        raise ImportError(f"CCONV_ISA={wanted}: this processor cannot run it; it runs {', '.join(able)}")
    return wanted


winograd_allowed = os.environ.get("CCONV_WINOGRAD", "1") != "0"
isa = choose_isa(os.environ.get("CCONV_ISA"))
modules = {}


def kernel_module(dtype, name):
    """The compiled kernels of one element type, loaded when first used."""
    try:
        return modules[dtype, name]
    except KeyError:
        module = importlib.import_module(f"cconv.kernels.{isa}.{DTYPES[dtype]}.{name}")
        check_stamp(module, stamp)
        return modules.setdefault((dtype, name), module)


def lanes(dtype):
    """Elements of a vector."""
    return (<ConvTable *>PyCapsule_GetPointer(kernel_module(dtype, "conv").table, "cconv.conv")).lanes


# ---------------------------------------------------------------- threads

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define cconv_omp_threads() omp_get_max_threads()
    #define cconv_omp_processors() omp_get_num_procs()
    #else
    #define cconv_omp_threads() 1
    #define cconv_omp_processors() 1
    #endif
    #include <time.h>
    #if defined(_MSC_VER)
    #include <intrin.h>
    static volatile long cconv_active = 0;
    static int cconv_add_active(int n) { return (int)_InterlockedExchangeAdd(&cconv_active, n) + n; }
    static void cconv_set_active(int n) { cconv_active = n; }
    static double cconv_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; } /* there it is a wall clock */
    #else
    static int cconv_active = 0;
    static int cconv_add_active(int n) { return __atomic_add_fetch(&cconv_active, n, __ATOMIC_RELAXED); }
    static void cconv_set_active(int n) { __atomic_store_n(&cconv_active, n, __ATOMIC_RELAXED); }
    static double cconv_seconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec + 1e-9 * now.tv_nsec;
    }
    #endif
    #if defined(_MSC_VER)
    static __declspec(thread) int cconv_here = 0;
    #else
    static _Thread_local int cconv_here = 0;
    #endif
    /* the exception stays set until the kernel has returned */
    static int cconv_check_signals(void) { return PyErr_CheckSignals() != 0; }
    """
    int cconv_here                  # the limit of the calling thread, 0: none of its own
    int cconv_omp_threads() nogil
    int cconv_omp_processors() nogil
    int add_active "cconv_add_active"(int n) noexcept nogil     # calls that are running
    void set_active "cconv_set_active"(int n) noexcept nogil
    double cconv_seconds() noexcept nogil
    int check_signals "cconv_check_signals"() noexcept
    unsigned long PyThread_get_thread_ident() noexcept nogil


cdef extern from "team.h" nogil:
    int cconv_team(int n) noexcept


cdef int team(int n) noexcept nogil:
    """Threads that OpenMP can give a kernel, of n."""
    return n if n < 2 else cconv_team(n)


cdef double seconds() noexcept nogil:
    return cconv_seconds()


cdef int threads = 0                # 0: not asked for yet, see thread_limit
cdef int omp_initial = 0            # what OpenMP allows when nobody has lowered it
cdef bint forked = False


def set_num_threads(n):
    """
    Set how many threads all calls together may use: those that run at the same time share them.

    Parameters
    ----------
    n : int
        At least 1 and at most 1024. Results do not depend on it. Without OpenMP every call uses one thread; so does
        a child after ``os.fork()``, where OpenMP cannot be entered again.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer from 1 to 1024.

    Examples
    --------
    >>> import cconv
    >>> cconv.set_num_threads(1)
    >>> cconv.get_num_threads()
    1
    """
    global threads
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n must be an int, got {n!r}")
    n = n.__index__()
    if not 1 <= n <= 1024:
        raise ValueError(f"set_num_threads: n must be from 1 to 1024, got {n}")
    thread_limit()  # what OpenMP begins with is noted before
    threads = n


def get_num_threads():
    """
    Number of threads a call may use.

    Returns
    -------
    int
        What `set_num_threads` set; at the first call ``CCONV_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the
        processors that this process may use. Less where OpenMP's own limit has been lowered below what it began
        with, as within ``threadpoolctl.threadpool_limits``.

    Examples
    --------
    >>> import cconv
    >>> cconv.get_num_threads() >= 1
    True
    """
    return thread_limit()


def after_fork():
    """libgomp hangs in a forked child once it was used before: there calls stay on one thread."""
    global forked
    forked = True
    set_active(0)  # the calls of the parent's other threads do not go on here


cdef int thread_limit() except 0:
    """Asked for at the first call, not at import: reading the cgroup is file access."""
    global threads, omp_initial
    cdef int now
    if forked:
        return 1
    if threads == 0:
        value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        omp_initial = min(int(value), 1024) if value.isdigit() and int(value) else cconv_omp_processors()
        threads = default_threads()
    # A num_threads clause overrules omp_set_num_threads: so who lowers that for a while (threadpoolctl) is asked for.
    now = cconv_omp_threads()
    if now >= omp_initial or now >= threads:
        now = threads
    return min(now, cconv_here) if cconv_here else now


def limit_here(int n):
    """Limits calls from this thread alone, for callers that are one of many; 0 lifts it. Returns the last limit."""
    global cconv_here
    cdef int last = cconv_here
    cconv_here = n
    return last


cdef int enter_call(int n) noexcept nogil:
    """
    Threads that a call may use now, of at most n: calls that run at the same time share them, so that eight Python
    threads do not start eight times as many. One in a forked child. `leave_call` must follow.
    """
    cdef int active = add_active(1)
    return 1 if forked else max(1, n // max(1, active))


cdef void leave_call() noexcept nogil:
    add_active(-1)


# ---------------------------------------------------------------- signals

cdef double SLAB = 0.1              # seconds of a kernel between two looks at the signals


cdef Py_ssize_t first_step(Py_ssize_t items, double work, double most, int threads, int least) noexcept nogil:
    """Items of the first slab: all, or as many as do `most` of the `work` on each thread."""
    if work <= most:
        return items
    return max(<Py_ssize_t>threads * least, <Py_ssize_t>(items * (most * threads / work)))


cdef Py_ssize_t next_step(Py_ssize_t step, double seconds, int *threads, int least) noexcept nogil:
    """Items of the next slab, after one of `step` items took so long: machines and kernels differ too much to guess."""
    cdef double grow = SLAB / max(seconds, 1e-9)
    if forked:
        threads[0] = 1  # a signal's handler has forked, and this is the child
    return max(<Py_ssize_t>threads[0] * least, <Py_ssize_t>(step * min(8.0, grow)))


cdef void watch(Watch *here) noexcept nogil:
    """Starts to look at signals from inside a kernel: for items that may take long by themselves."""
    here.owner = PyThread_get_thread_ident()
    here.due = seconds() + SLAB
    here.stop = 0
    here.look = look


cdef int look(Watch *here) noexcept nogil:
    """Whether a kernel has to give up; an exception is set then. Only the calling thread asks, and rarely."""
    if here.stop or PyThread_get_thread_ident() != here.owner or seconds() < here.due:
        return here.stop
    with gil:
        here.stop = check_signals()
    here.due = seconds() + SLAB
    return here.stop


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)


def show_config():
    """
    What a bug report needs.

    Returns
    -------
    dict
        version, isa (in use), isa_available, isa_built, compiler, openmp, threads, vector_width (bits), numpy, python,
        platform.

    Examples
    --------
    >>> import cconv
    >>> cconv.show_config()["isa"] in cconv.show_config()["isa_available"]
    True
    """
    import platform

    import cconv

    able = able_isas()
    cdef ConvTable *table = <ConvTable *>PyCapsule_GetPointer(
        kernel_module(np.dtype(np.float32), "conv").table, "cconv.conv")
    return {
        "version": cconv.__version__,
        "isa": isa,
        "isa_available": [name for name in built() if name in able],
        "isa_built": built(),
        "compiler": _cpu.compiler,
        "openmp": bool(table.openmp),
        "threads": get_num_threads(),
        "vector_width": 32 * table.lanes,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


# ---------------------------------------------------------------- memory

cdef class Workspace:
    """Reused between calls: a fresh block would pay its page faults every time. Touched only under the GIL.

    `data` is `base` on the next cache line."""

    def __dealloc__(self):
        free(self.base)


# slots rather than append: giving back, which a failing call does too, must not ask for memory
cdef list idle = [None] * 4
cdef int idle_count = 0


cdef Workspace take_workspace(size_t size):
    global idle_count
    cdef Workspace space = None
    with cython.critical_section(guard):
        if idle_count:
            idle_count -= 1
            space = <Workspace>idle[idle_count]
            idle[idle_count] = None
    if space is None:
        space = Workspace.__new__(Workspace)
    if space.size < size:
        free(space.base)
        space.size = 0
        space.base = malloc(size + 64)
        if space.base == NULL:
            drop_kept()
            space.base = malloc(size + 64)
        if space.base == NULL:
            raise MemoryError(f"cconv: no memory for a workspace of {size} bytes")
        space.data = <char *>space.base + (64 - <size_t>space.base % 64)
        space.size = size
    return space


cdef void give_workspace(Workspace space) noexcept:
    global idle_count
    # bounded: at most four blocks stay, of at most 64 MiB each
    with cython.critical_section(guard):
        if idle_count < 4 and space.size <= 64 << 20:
            idle[idle_count] = space
            idle_count += 1


cdef extern from *:
    """
    #if defined(__linux__)
    #include <stdlib.h>
    #include <sys/mman.h>
    /* As NumPy does: large blocks ask for huge pages, which cost fewer faults and fewer misses of the TLB. */
    static void *cconv_block(size_t size) {
        void *p = NULL;
        if (size < (4u << 20)) return malloc(size);
        if (posix_memalign(&p, 2u << 20, size)) return NULL;
    #ifdef MADV_HUGEPAGE
        madvise(p, size, MADV_HUGEPAGE);
    #endif
        return p;
    }
    #else
    static void *cconv_block(size_t size) { return malloc(size); }
    #endif
    """
    void *cconv_block(size_t size) nogil


cdef class Block:
    """Memory of a large output, kept when its array dies: a fresh block would pay its page faults again."""
    cdef void *data
    cdef size_t size

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.size, 0, flags)

    def __dealloc__(self):
        give_block(self.data, self.size)


# at most 8 blocks are kept, of at most BLOCKS_MOST bytes in all
cdef size_t BLOCK_LEAST = 1 << 20
cdef size_t BLOCKS_MOST = 256 << 20
cdef struct Kept:
    void *data
    size_t size
cdef Kept kept[8]
cdef int kept_count = 0
cdef size_t kept_bytes = 0


cdef void give_block(void *data, size_t size) noexcept:
    global kept_count, kept_bytes
    if data == NULL:
        return
    if size > BLOCKS_MOST // 2:
        free(data)
        return
    with cython.critical_section(guard):
        while kept_count and (kept_count == 8 or kept_bytes + size > BLOCKS_MOST):
            # the oldest goes
            free(kept[0].data)
            kept_bytes -= kept[0].size
            kept_count -= 1
            memmove(&kept[0], &kept[1], kept_count * sizeof(Kept))
        kept[kept_count].data = data
        kept[kept_count].size = size
        kept_count += 1
        kept_bytes += size


cdef void *take_block(size_t size) noexcept:
    """Memory of a dead output of the same size, or NULL."""
    global kept_count, kept_bytes
    cdef void *data = NULL
    cdef int i
    with cython.critical_section(guard):
        for i in range(kept_count - 1, -1, -1):
            if kept[i].size == size:
                data = kept[i].data
                kept_count -= 1
                kept_bytes -= size
                memmove(&kept[i], &kept[i + 1], (kept_count - i) * sizeof(Kept))
                break
    return data


cpdef void drop_kept() noexcept:
    """Gives up all memory that is kept for later, where there is none left for now."""
    global kept_count, kept_bytes, idle_count
    cdef int i
    with cython.critical_section(guard):
        for i in range(kept_count):
            free(kept[i].data)
        kept_count = 0
        kept_bytes = 0
        while idle_count:
            idle_count -= 1
            idle[idle_count] = None


cdef new_output(shape, dtype, size_t size):
    """np.empty, with large memory taken from dead outputs of the same size."""
    cdef Block block
    if size > BLOCKS_MOST // 2:
        try:
            return empty(shape, dtype)
        except MemoryError:
            drop_kept()
    if size < BLOCK_LEAST or size > BLOCKS_MOST // 2:
        return empty(shape, dtype)
    block = Block.__new__(Block)
    block.data = take_block(size)
    if block.data == NULL:
        block.data = cconv_block(size)
    if block.data == NULL:
        drop_kept()
        block.data = cconv_block(size)
    if block.data == NULL:
        raise MemoryError(f"cconv: no memory for an output of {size} bytes")
    block.size = size
    return ndarray(shape, dtype, block)


cdef bint place(Py_buffer *view, Py_ssize_t itemsize, int rank, bint batched, Py_ssize_t *n, Py_ssize_t *c,
                Py_ssize_t *s) noexcept:
    """Strides of (N, C, D, H, W) in elements; False if they are no whole elements or the data is misaligned."""
    cdef int i, lead = 1 + batched
    if <size_t>view.buf % <size_t>itemsize:
        return False
    for i in range(view.ndim):
        if view.strides[i] % itemsize:
            return False
    n[0] = view.strides[0] // itemsize if batched else 0
    c[0] = view.strides[lead - 1] // itemsize
    s[0] = s[1] = s[2] = 0
    for i in range(rank):
        s[3 - rank + i] = view.strides[lead + i] // itemsize
    return True


cdef bint one_line(Py_buffer *view, int rank, Py_ssize_t *s) noexcept:
    """Whether the spatial axes can be walked as one, with a single stride (left in s[2])."""
    cdef int i
    cdef Py_ssize_t step = 0, length = 1
    for i in range(view.ndim - 1, view.ndim - 1 - rank, -1):
        if view.shape[i] == 1:
            continue
        if length == 1:
            step = view.strides[i]
        elif view.strides[i] != step * length:
            return False
        length *= view.shape[i]
    s[0] = s[1] = 0
    s[2] = step // view.itemsize
    return True


cdef bint overlap(Py_buffer *a, Py_buffer *b) noexcept:
    """Whether the spans of two arrays meet (their elements may not)."""
    cdef char *a0 = <char *>a.buf
    cdef char *a1 = a0 + a.itemsize
    cdef char *b0 = <char *>b.buf
    cdef char *b1 = b0 + b.itemsize
    cdef int i
    for i in range(a.ndim):
        if a.strides[i] < 0: a0 += (a.shape[i] - 1) * a.strides[i]
        else: a1 += (a.shape[i] - 1) * a.strides[i]
    for i in range(b.ndim):
        if b.strides[i] < 0: b0 += (b.shape[i] - 1) * b.strides[i]
        else: b1 += (b.shape[i] - 1) * b.strides[i]
    return a0 < b1 and b0 < a1


# ---------------------------------------------------------------- convolution

ctypedef fused element:
    uint32_t
    uint64_t


cdef struct Taps:
    # a part's weights, and where each of its taps lies among those of the whole
    void *to
    Py_ssize_t *at
    Py_ssize_t count


cdef void copy_taps(element *w, ConvJob *job, Py_ssize_t K, Taps *parts, int n) noexcept nogil:
    """part.to[g, o, c, t] = w[g, c, o, part.at[t]], 16 channels at a time: they are read once for all parts."""
    cdef Py_ssize_t g, o, _c, c0, c1, t
    cdef element *from_
    cdef element *to
    cdef int i
    for g in range(job.G):
        for c0 in range(0, job.C, 16):
            c1 = min(c0 + 16, job.C)
            for o in range(job.O):
                for i in range(n):
                    to = <element *>parts[i].to + ((g * job.O + o) * job.C + c0) * parts[i].count
                    from_ = w + ((g * job.C + c0) * job.O + o) * K
                    for _c in range(c0, c1):
                        for t in range(parts[i].count):
                            to[t] = from_[parts[i].at[t]]
                        to += parts[i].count
                        from_ += job.O * K


def fresh(shape, dtype):
    """np.empty, from the memory of dead outputs where it is large."""
    cdef size_t size = dtype.itemsize
    for n in shape:
        size *= <size_t>n
    return new_output(shape, dtype, size)


F16 = np.dtype(np.float16)
F32 = np.dtype(np.float32)


def convert_halves(a, dtype):
    """A contiguous native float16 array as float32 or the other way round, or None where NumPy has to do it."""
    cdef ConvTable *table = <ConvTable *>PyCapsule_GetPointer(kernel_module(F32, "conv").table, "cconv.conv")
    cdef Py_buffer from_, to
    cdef bint loading = dtype == F32
    if table.load_halves == NULL or a.dtype is not (F16 if loading else F32) or not a.flags.c_contiguous or \
            not a.flags.aligned:
        return None
    result = new_output(a.shape, dtype, a.size * dtype.itemsize)
    if a.size == 0:
        return result
    PyObject_GetBuffer(a, &from_, PyBUF_STRIDES)
    try:
        PyObject_GetBuffer(result, &to, PyBUF_STRIDES | PyBUF_WRITABLE)
    except BaseException:
        PyBuffer_Release(&from_)
        raise
    with nogil:
        if loading:
            table.load_halves(from_.buf, to.buf, to.len // 4)
        else:
            table.store_halves(to.buf, from_.buf, to.len // 2)
    PyBuffer_Release(&from_)
    PyBuffer_Release(&to)
    return result


cdef aligned(a):
    """A contiguous array whose elements lie at multiples of their size, which not every processor reads otherwise."""
    return a if a.flags.aligned else np.array(a, order="C")


cdef class ConvPlan:
    """Everything about a convolution of given shapes, validated, planned and ready: run() only fills in pointers."""

    def __cinit__(self):
        self.jobs = NULL
        self.offsets = NULL
        self.tap_list = NULL

    def __dealloc__(self):
        PyMem_Free(self.jobs)
        PyMem_Free(self.offsets)
        PyMem_Free(self.tap_list)

    def __init__(self, dtype, int rank, bint batched, out_shape, weight_shape, problem, parts, algorithm,
                 packed):
        """`parts`: None, or what a transposed convolution consists of; `problem` has the sizes of the whole; `packed`
        as in `_plan.choose`."""
        cdef ConvJob *job
        cdef int i, a
        self.dtype = dtype
        self.itemsize = dtype.itemsize
        self.rank = rank
        self.batched = batched
        self.out_shape = out_shape
        self.weight_shape = weight_shape
        self.table = <ConvTable *>PyCapsule_GetPointer(kernel_module(dtype, "conv").table, "cconv.conv")
        self.transposed = parts is not None
        self.flat = False
        real = dtype.kind == "f"
        if real:
            self.winograd = <ConvTable *>PyCapsule_GetPointer(kernel_module(dtype, "winograd").table, "cconv.winograd")
        if not real or (algorithm == "auto" and not winograd_allowed):
            algorithm = "direct"
        if parts is None:
            parts = self.split(problem, algorithm, packed)
        elif len(parts) == 1:
            # stride 1: a plain convolution with its taps reversed
            taps = parts[0].taps
            parts = list(self.split(parts[0].problem, algorithm, packed))
            for i in range(len(parts)):
                parts[i] = parts[i]._replace(taps=taps)
        self.parts = parts
        self.count = len(parts)
        self.jobs = <ConvJob *>PyMem_Malloc(max(1, self.count) * sizeof(ConvJob))
        self.offsets = <Py_ssize_t *>PyMem_Malloc(max(1, self.count) * 12 * sizeof(Py_ssize_t))
        if self.jobs == NULL or self.offsets == NULL:
            raise MemoryError("cconv: no memory for a plan")
        memset(self.jobs, 0, self.count * sizeof(ConvJob))
        # appended, here and below: without memory for its list, a comprehension of Cython 3.3 releases an element twice
        self.plans = []
        for part in parts:
            self.plans.append(
                plan_conv(part.problem, self.itemsize, self.table.lanes, self.table.rows, algorithm, packed))
        if self.transposed:
            self.join_phases(algorithm, packed)
            self.list_taps()
        self.void_ = 0 in out_shape
        self.out_bytes = self.itemsize
        for n in out_shape:
            self.out_bytes *= <size_t>n
        self.work = 0
        for i in range(self.count):
            job = &self.jobs[i]
            part = parts[i]
            p = part.problem
            plan = self.plans[i]
            job.N, job.G, job.C, job.O = p.N, p.G, p.C, p.O
            job.mode = p.mode
            job.kernel = plan.kernel
            for a in range(3):
                job.size[a], job.out[a], job.k[a], job.s[a] = p.size[a], p.out[a], p.kernel[a], p.stride[a]
                job.d[a], job.p[a], job.step[a], job.ss[a] = p.dilation[a], p.before[a], plan.step[a], plan.ss[a]
                job.sd[a], job.box[a], job.boxes[a] = plan.sd[a], plan.box[a], plan.boxes[a]
                job.slab[a], job.tiles[a] = plan.slab[a], plan.tiles[a]
                self.offsets[12 * i + a] = part.first[a]
                self.offsets[12 * i + 3 + a] = part.step[a]
                self.offsets[12 * i + 6 + a] = part.x_first[a]
                self.offsets[12 * i + 9 + a] = part.x_step[a]
            job.phases, job.row, job.plane, job.channel = plan.phases, plan.row, plan.plane, plan.channel
            job.c_block, job.t_block, job.o_block, job.panels = plan.c_block, plan.t_block, plan.o_block, plan.panels
            job.slab_at, job.panels_at, job.in_place = plan.slab_at, plan.panels_at, plan.in_place
            job.o_splits = 1
            job.tile = plan.tile
            job.samples, job.sample = plan.samples, plan.sample
            job.group, job.dense, job.dense_at = plan.group, plan.dense, plan.dense_at
            job.workspace_bytes = plan.workspace
            self.work += (<double>p.N * p.G * p.C * p.O * p.kernel[0] * p.kernel[1] * p.kernel[2]
                          * p.out[0] * p.out[1] * p.out[2])

    def split(self, problem, algorithm, packed):
        """The parts of a plain convolution: itself, one long axis of it, or undilated ones for Winograd."""
        one = (1, 1, 1)
        line = flattened(problem)
        self.flat = line is not None
        if self.flat:
            problem = line
        elif algorithm != "direct" and problem.dilation != one and problem.stride == one and problem.mode == 0 and \
                (problem.kernel[1] == 3 or algorithm == "winograd"):  # along one axis the gathers eat the gain
            parts = interleaved(problem)
            if parts and all(
                winograd_tile(part.problem, self.itemsize, self.table.lanes, packed, algorithm == "winograd")
                for part in parts
            ):
                return parts
        return [Part(problem, (0, 0, 0), one)]

    def join_phases(self, algorithm, packed):
        """Phases of a transposed convolution that differ along W only are planned together, where that serves."""
        i = 0
        while i < self.count:
            n = 1
            while i + n < self.count and self.parts[i + n].first[:2] == self.parts[i].first[:2]:
                n += 1
            problems = []
            for part in self.parts[i:i + n]:
                problems.append(part.problem)
            joined = plan_phases(problems, self.itemsize, self.table.lanes,
                                 self.table.rows, algorithm, packed)
            if joined is not None and n == self.parts[i].step[2]:
                self.plans[i:i + n] = joined
            i += n

    def uses_winograd(self):
        return any(plan.kernel == 3 for plan in self.plans)

    def split_weight(self, weight):
        """The weights of each part; those of a transposed convolution (G, O, C, taps) with the taps reversed."""
        if not self.transposed:
            return (weight,) if self.count == 1 else [weight] * self.count
        cdef Py_buffer source, to
        cdef Py_ssize_t K = 1, n
        cdef Py_ssize_t *at = self.tap_list
        cdef Taps *taps
        cdef int i, a, unique = 0
        for a in range(2, 2 + self.rank):
            K *= self.weight_shape[a]
        weight = aligned(weight)
        results = []
        taps = <Taps *>PyMem_Malloc(max(1, self.count) * sizeof(Taps))
        if taps == NULL:
            raise MemoryError("cconv: no memory for the weights of a transposed convolution")
        try:
            PyObject_GetBuffer(weight, &source, PyBUF_STRIDES)
        except BaseException:
            PyMem_Free(taps)
            raise
        try:
            for i in range(self.count):
                n = self.tap_counts[i]
                if self.same[i] < i:
                    results.append(results[self.same[i]])
                    continue
                result = new_output((self.jobs[i].G * self.jobs[i].O * self.jobs[i].C * n,), self.dtype,
                                    self.jobs[i].G * self.jobs[i].O * self.jobs[i].C * n * self.itemsize)
                PyObject_GetBuffer(result, &to, PyBUF_STRIDES | PyBUF_WRITABLE)
                # the array keeps its memory while it is in the list
                taps[unique].to, taps[unique].at, taps[unique].count = to.buf, at, n
                unique += 1
                PyBuffer_Release(&to)
                results.append(result)
                at += n
            with nogil:
                if self.itemsize == 4:
                    copy_taps(<uint32_t *>source.buf, &self.jobs[0], K, taps, unique)
                else:
                    copy_taps(<uint64_t *>source.buf, &self.jobs[0], K, taps, unique)
        finally:
            PyBuffer_Release(&source)
            PyMem_Free(taps)
        return results

    cdef list_taps(self):
        """Where the taps of each part of a transposed convolution lie in its weights, in the part's own order.

        Parts that interleave share their taps: `same` is the first part that has them."""
        places = []
        counts = []
        self.same = []
        seen = {}
        shape = (1,) * (3 - self.rank) + tuple(self.weight_shape[2:])
        for part in self.parts:
            found = []
            if 0 not in part.problem.kernel:
                for z in reversed(part.taps[0]):
                    for y in reversed(part.taps[1]):
                        for x in reversed(part.taps[2]):
                            found.append((z * shape[1] + y) * shape[2] + x)
            counts.append(len(found))
            self.same.append(seen.setdefault((part.taps, len(found)), len(self.same)))
            if self.same[-1] == len(self.same) - 1:
                places += found
        self.tap_counts = counts
        self.tap_list = <Py_ssize_t *>PyMem_Malloc(max(1, len(places)) * sizeof(Py_ssize_t))
        if self.tap_list == NULL:
            raise MemoryError("cconv: no memory for a plan")
        for i, place in enumerate(places):
            self.tap_list[i] = place

    def pack(self, weight):
        """split_weight in the kernels' own layout, for prepack."""
        packed = []
        done = {}
        for i, part in enumerate(self.split_weight(weight)):
            # the parts of a dilated convolution share their weights
            key = (id(part), self.jobs[i].kernel, self.jobs[i].tile)
            if key not in done:
                done[key] = self.pack_part(i, part)
            packed.append(done[key])
        return packed

    cdef void point(self, ConvJob *job, int i, void *x, void *y, Py_ssize_t *xs, Py_ssize_t *ys) noexcept nogil:
        """Sets a job on its part of the input and of the output."""
        cdef int a
        job.x = x
        job.y = y
        for a in range(3):
            job.y = <char *>job.y + self.offsets[12 * i + a] * ys[a] * self.itemsize
            job.ys[a] = ys[a] * self.offsets[12 * i + 3 + a]
            job.x = <char *>job.x + self.offsets[12 * i + 6 + a] * xs[a] * self.itemsize
            job.xs[a] = xs[a] * self.offsets[12 * i + 9 + a]

    cdef pack_part(self, int i, part):
        cdef ConvJob job = self.jobs[i]
        cdef Py_buffer source, to
        cdef Py_ssize_t size, weights
        cdef int got = 0, most = thread_limit()
        part = aligned(np.ascontiguousarray(part)).ravel()
        size = weights = part.size
        if job.kernel in (1, 2) or weights == 0:
            return part
        if job.kernel == 3:
            size += job.G * <Py_ssize_t>winograd_weights(job.C * job.k[0], job.O, job.tile, job.k[1])
        result = new_output((size,), self.dtype, size * self.itemsize)
        job.threads = enter_call(most)
        job.threads = 1 if weights <= 1 << 16 else team(job.threads)
        try:
            PyObject_GetBuffer(part, &source, PyBUF_STRIDES)
            got = 1
            PyObject_GetBuffer(result, &to, PyBUF_STRIDES | PyBUF_WRITABLE)
            got = 2
            job.w = source.buf
            with nogil:
                if job.kernel == 3:
                    self.winograd.pack(&job, to.buf)
                else:
                    self.table.pack(&job, to.buf)
        finally:
            leave_call()
            if got > 1:
                PyBuffer_Release(&to)
            if got:
                PyBuffer_Release(&source)
        return result

    def layout(self):
        """What the packed weights depend on beside the weights: two plans with equal layouts can share them."""
        kernels = []
        taps = []
        for plan in self.plans:
            kernels.append((plan.kernel, plan.tile))
        for part in self.parts:
            taps.append(part.taps)
        return self.dtype, tuple(kernels), tuple(taps)

    def tile(self):
        return self.table.rows, 2 * self.table.lanes

    def explain(self):
        cdef ConvJob job
        used = []
        for i in range(self.count):
            job = self.jobs[i]
            used.append(split_threads(&job, self.work, thread_limit()))
        return self.plans, used

    cpdef run(self, x, weights, bias, out, bint packed):
        """
        `x`, `bias` and `out` (None or checked) have the plan's dtype; `weights` are contiguous, one array a phase.
        Returns None where an array must be copied first: misaligned, odd strides, `out` overlapping an input.
        """
        cdef Py_buffer xv, bv, yv
        cdef Py_buffer wv[8]
        cdef int got = 0, i, j, n, held = 0, most, allowed
        cdef ConvJob job
        cdef ConvJob group[8]
        cdef Py_ssize_t xs[3]
        cdef Py_ssize_t ys[3]
        cdef Workspace space = None
        y = new_output(self.out_shape, self.dtype, self.out_bytes) if out is None else out
        if self.void_:
            return y
        most = thread_limit()
        PyObject_GetBuffer(x, &xv, PyBUF_STRIDES)
        allowed = enter_call(most)
        try:
            got = 1
            PyObject_GetBuffer(y, &yv, PyBUF_STRIDES | PyBUF_WRITABLE)
            got = 2
            if bias is not None:
                PyObject_GetBuffer(bias, &bv, PyBUF_STRIDES)
                got = 3
                if bv.strides[0] != self.itemsize and bv.shape[0] > 1 or <size_t>bv.buf % <size_t>self.itemsize:
                    return None
                if out is not None and overlap(&yv, &bv):
                    return None
            if out is not None and overlap(&yv, &xv):
                return None
            if not place(&xv, self.itemsize, self.rank, self.batched, &job.xn, &job.xc, xs):
                return None
            if not place(&yv, self.itemsize, self.rank, self.batched, &job.yn, &job.yc, ys):
                return None
            i = 0
            while i < self.count:
                if self.flat and not (one_line(&xv, self.rank, xs) and one_line(&yv, self.rank, ys)):
                    return None
                n = self.jobs[i].group
                for j in range(n):
                    group[j] = self.jobs[i + j]
                    group[j].xn, group[j].xc, group[j].yn, group[j].yc = job.xn, job.xc, job.yn, job.yc
                    part = weights[i + j]
                    if group[j].kernel == 3 and not packed:
                        if i == 0 or (self.transposed and self.same[i] == i) or group[j].tile != self.jobs[i - 1].tile:
                            transformed = self.pack_part(i, part)
                        part = transformed
                    PyObject_GetBuffer(part, &wv[j], PyBUF_STRIDES)
                    held = j + 1
                    if <size_t>wv[j].buf % <size_t>self.itemsize or (out is not None and overlap(&yv, &wv[j])):
                        return None
                    self.point(&group[j], i + j, xv.buf, yv.buf, xs, ys)
                    group[j].w = wv[j].buf
                    group[j].bias = bv.buf if bias is not None else NULL
                    group[j].packed = packed
                if group[0].out[0] * group[0].out[1] * group[0].out[2]:
                    group[0].threads = split_threads(group, self.work, allowed)
                    if space is None or space.size < <size_t>(group[0].threads * group[0].workspace_bytes):
                        space = take_workspace(group[0].threads * group[0].workspace_bytes)
                    for j in range(n):
                        group[j].workspace = space.data
                        group[j].o_splits = group[0].o_splits
                    run_conv(group, self.winograd if group[0].kernel == 3 else self.table)
                while held:
                    held -= 1
                    PyBuffer_Release(&wv[held])
                i += n
            return y
        finally:
            leave_call()
            while held:
                held -= 1
                PyBuffer_Release(&wv[held])
            if space is not None:
                give_workspace(space)
            if got > 2:
                PyBuffer_Release(&bv)
            if got > 1:
                PyBuffer_Release(&yv)
            PyBuffer_Release(&xv)


cdef Py_ssize_t item_count(ConvJob *job) noexcept nogil:
    """Items before the output channels are split; the tiles of Winograd run through the batch."""
    cdef Py_ssize_t blocks = 1 if job.kernel == 3 else (job.N + job.samples - 1) // job.samples
    return blocks * job.G * job.boxes[0] * job.boxes[1] * job.boxes[2]


cdef int split_threads(ConvJob *job, double work, int n) noexcept nogil:
    """Threads that pay, of at most n: each should have some 20 us of work. Sets o_splits."""
    cdef Py_ssize_t items = item_count(job)
    cdef Py_ssize_t tiles = max(1, job.O // 6), splits = 1
    cdef double most = work / (5e5 if job.kernel == 1 else 1.5e6), wanted
    if n > most:
        n = max(1, <int>most)
    if job.kernel in (0, 3) and n > 1:
        # too few boxes to share out evenly: the output channels are split too, each split packing its own panels
        while splits < tiles and items * splits < 4 * n and items * splits % n:
            splits += 1
    if job.kernel != 1:
        # one item should not keep signals waiting; splits of fewer channels would mostly pack panels
        wanted = macs(job) / items / 3e8
        if wanted > splits:
            splits = max(splits, min(<Py_ssize_t>wanted, job.O if job.kernel == 2 else job.O // 64))
    job.o_splits = splits
    items *= splits
    return <int>max(<Py_ssize_t>1, min(<Py_ssize_t>n, items))


cdef double macs(ConvJob *job) noexcept nogil:
    return (<double>job.N * job.G * job.C * job.O * job.k[0] * job.k[1] * job.k[2]
            * job.out[0] * job.out[1] * job.out[2] * max(1, job.group))


cdef run_conv(ConvJob *job, ConvTable *table):
    """In slabs of well under 0.2 s, with a check for signals between."""
    cdef Py_ssize_t items = item_count(job) * job.o_splits
    cdef Py_ssize_t first = 0, step
    cdef double work = macs(job), start
    if job.kernel < 2:
        # the slab's copy, which is most of the work where dilations are huge
        work += <double>items * job.C * (job.channel // job.samples)
    job.threads = team(job.threads)
    step = first_step(items, work, 5e7 if job.kernel == 2 else 1e8, job.threads, 1)
    while first < items:
        start = seconds()
        with nogil:
            table.run(job, first, min(first + step, items))
        first += step
        if first < items:
            PyErr_CheckSignals()
            step = next_step(step, seconds() - start, &job.threads, 1)


# ---------------------------------------------------------------- pooling

cdef Py_ssize_t *list_windows(PoolJob *job, p) except NULL:
    """Lists first valid tap, valid taps and divisor of every window, an axis; returns the memory, to be freed."""
    cdef int a
    cdef Py_ssize_t total = 0, o, L, start, skip, last, padded, after
    cdef Py_ssize_t *at
    cdef Py_ssize_t *memory
    cdef bint include_pad = p.include_pad
    for a in range(3):
        total += job.out[a]
    memory = at = <Py_ssize_t *>PyMem_Malloc(max(1, 3 * total) * sizeof(Py_ssize_t))
    if at == NULL:
        raise MemoryError("cconv: no memory for a plan")
    for a in range(3):
        job.first[a] = at
        job.count[a] = at + job.out[a]
        job.divisor[a] = at + 2 * job.out[a]
        at += 3 * job.out[a]
        L = job.size[a]
        after = p.after[a]
        for o in range(job.out[a]):
            if job.adaptive:
                start = o * L // job.out[a]
                job.first[a][o] = start
                job.count[a][o] = ((o + 1) * L + job.out[a] - 1) // job.out[a] - start
                job.divisor[a][o] = job.count[a][o]
                continue
            start = o * job.s[a] - job.p[a]
            skip = 0 if start >= 0 else (-start + job.d[a] - 1) // job.d[a]
            last = min(job.k[a], (L - start + job.d[a] - 1) // job.d[a]) if start < L else 0
            padded = min(job.k[a], (L + after - start + job.d[a] - 1) // job.d[a])
            job.first[a][o] = start + skip * job.d[a]
            job.count[a][o] = max(0, last - skip)
            job.divisor[a][o] = padded if include_pad else job.count[a][o]
    return memory


cdef class PoolPlan:
    """A pooling of given shapes, ready to run."""

    def __cinit__(self):
        self.windows = NULL

    def __dealloc__(self):
        PyMem_Free(self.windows)

    def __init__(self, dtype, int rank, bint batched, out_shape, p, int op, bint indexed, double divide):
        cdef int a
        cdef PoolJob *job = &self.job
        self.dtype = dtype
        self.itemsize = dtype.itemsize
        self.rank = rank
        self.batched = batched
        self.out_shape = out_shape
        self.table = <PoolTable *>PyCapsule_GetPointer(kernel_module(dtype, "pool").table, "cconv.pool")
        self.plan = plan_pool(p, self.itemsize, self.table.lanes, indexed)
        self.void_ = 0 in out_shape
        self.out_bytes = self.itemsize
        for n in out_shape:
            self.out_bytes *= <size_t>n
        memset(job, 0, sizeof(PoolJob))
        job.op = op
        job.indexed = indexed
        job.planes = p.N * p.C
        job.channels = max(1, p.C)
        job.adaptive = p.adaptive
        job.divide = divide
        job.rows = self.plan.rows
        job.blocks = self.plan.blocks
        job.workspace_bytes = self.plan.workspace
        for a in range(3):
            job.size[a], job.out[a], job.k[a] = p.size[a], p.out[a], p.kernel[a]
            job.s[a], job.d[a], job.p[a] = p.stride[a], p.dilation[a], p.before[a]
            job.doubled[a] = self.plan.doubled[a]
        self.windows = list_windows(job, p)
        self.work = <double>job.planes * job.size[0] * job.size[1] * job.size[2]
        self.steps = 2 * self.work
        for a in range(3):
            # large windows are doubled; where rows are reduced again for every window, each step is one of all taps
            self.steps *= job.k[a] if job.rows == 0 else 1
        if job.rows:
            self.steps *= max(1, sum(p.kernel[a].bit_length() if job.doubled[a] else p.kernel[a] for a in range(3)))
        if indexed:
            self.work *= job.k[0] * job.k[1] * job.k[2]
            self.steps = 8 * self.work

    cpdef run(self, x, out, index):
        """`out` and `index` are None or checked; returns None where an array must be copied first."""
        cdef Py_buffer xv, yv, iv
        cdef int got = 0, allowed = thread_limit()
        cdef PoolJob job
        cdef Py_ssize_t items, first = 0, step
        cdef double most, start
        cdef Workspace space = None
        y = new_output(self.out_shape, self.dtype, self.out_bytes) if out is None else out
        if self.void_:
            return y
        job = self.job
        PyObject_GetBuffer(x, &xv, PyBUF_STRIDES)
        allowed = enter_call(allowed)
        try:
            got = 1
            PyObject_GetBuffer(y, &yv, PyBUF_STRIDES | PyBUF_WRITABLE)
            got = 2
            if out is not None and overlap(&yv, &xv):
                return None
            if index is not None:
                PyObject_GetBuffer(index, &iv, PyBUF_STRIDES | PyBUF_WRITABLE)
                got = 3
                job.index = iv.buf
            if not place(&xv, self.itemsize, self.rank, self.batched, &job.xn, &job.xc, job.xs):
                return None
            if not place(&yv, self.itemsize, self.rank, self.batched, &job.yn, &job.yc, job.ys):
                return None
            job.x = xv.buf
            job.y = yv.buf
            items = job.planes * job.out[0] * job.blocks
            most = self.work / 1e5
            job.threads = allowed
            if job.threads > most:
                job.threads = max(1, <int>most)
            job.threads = team(<int>max(<Py_ssize_t>1, min(<Py_ssize_t>job.threads, items)))
            space = take_workspace(job.threads * job.workspace_bytes)
            job.workspace = space.data
            step = first_step(items, self.steps, 3e7, job.threads, 4)
            while first < items:
                start = seconds()
                with nogil:
                    self.table.run(&job, first, min(first + step, items))
                first += step
                if first < items:
                    PyErr_CheckSignals()
                    step = next_step(step, seconds() - start, &job.threads, 4)
            return y
        finally:
            leave_call()
            if space is not None:
                give_workspace(space)
            if got > 2:
                PyBuffer_Release(&iv)
            if got > 1:
                PyBuffer_Release(&yv)
            PyBuffer_Release(&xv)


# ---------------------------------------------------------------- the per-call path

cdef bint nested(a):
    """Whether an array's strides prove that each element has an address of its own; `_args` looks at the others."""
    cdef Py_ssize_t steps[5]
    cdef Py_ssize_t counts[5]
    cdef Py_ssize_t n, step, span = a.itemsize
    cdef int rank = 0, i
    if a.flags.c_contiguous:
        return True
    for n, step in zip(a.shape, a.strides):
        if n < 2:
            continue
        step = abs(step)
        i = rank
        while i and steps[i - 1] > step:
            steps[i] = steps[i - 1]
            counts[i] = counts[i - 1]
            i -= 1
        steps[i] = step
        counts[i] = n
        rank += 1
    for i in range(rank):
        if steps[i] < span:
            return False
        span += steps[i] * (counts[i] - 1)
    return True


cdef bint exact(value):
    """Whether a parameter may be a key: 1, 1.0 and True are equal, but only the first is an int."""
    if value is None or type(value) is int or type(value) is str:
        return True
    if type(value) is tuple:
        for part in <tuple>value:
            if not exact(part):
                return False
        return True
    return False


cdef dict plans = {}


cdef remember(key, plan):
    # bounded; emptied rather than aged, for the whole of a program rarely has more geometries
    if len(plans) >= 4096:
        plans.clear()
    plans[key] = plan


cdef class Operation:
    """A public function: a cache of plans in front of the checks. `slow` is the whole call, from _args."""
    cdef object name, slow
    cdef int arrays, out_at
    cdef long flags

    def __init__(self, name, slow, int arrays, int out_at, long flags):
        """`flags` has bit i set where argument i is a bool."""
        self.flags = flags
        self.name = name
        self.slow = slow
        self.arrays = arrays
        self.out_at = out_at

    def __call__(self, *args):
        cdef Py_ssize_t i
        x = args[0]
        out = args[self.out_at]
        if type(x) is not ndarray:
            return self.slow(args, None)
        if self.arrays == 3:
            w = args[1]
            bias = args[2]
            if type(w) is not ndarray or (bias is not None and type(bias) is not ndarray):
                return self.slow(args, None)
            key = (self.name, x.shape, x.dtype, w.shape, w.dtype, bias is None or (bias.shape, bias.dtype),
                   args[3:self.out_at], args[self.out_at + 1:])
        else:
            key = (self.name, x.shape, x.dtype, args[1:self.out_at])
        for i in range(self.arrays, len(args)):
            if i != self.out_at and not exact(args[i]) and not (self.flags >> i & 1 and type(args[i]) is bool):
                return self.slow(args, None)
        plan = plans.get(key)
        if plan is None:
            return self.slow(args, key)
        if out is not None and (type(out) is not ndarray or out.dtype is not plan.dtype or out.shape != plan.out_shape
                                or not out.flags.writeable or not nested(out)):
            return self.slow(args, None)
        if self.arrays == 3:
            if not w.flags.c_contiguous:
                return self.slow(args, None)
            parts = (<ConvPlan>plan).split_weight(w)
            y = (<ConvPlan>plan).run(x, parts, bias, out, False)
        else:
            y = (<PoolPlan>plan).run(x, out, None)
        if y is None:
            return self.slow(args, None)
        return y


def keep(key, plan):
    """Lets calls with this key skip the checks from now on."""
    if key is not None:
        remember(key, plan)


def find_plan(key):
    return plans.get(key)


def cached_plan(key, make):
    plan = plans.get(key)
    if plan is None:
        plan = make()
        remember(key, plan)
    return plan


cdef class Fast:
    """The per-call path of a prepacked convolution: (shape, dtype) -> plan and packed weights."""
    cdef dict ready, layouts
    cdef object slow

    def __init__(self, slow):
        self.slow = slow
        self.ready = {}
        self.layouts = {}

    def packed(self, plan, weight):
        """The packed weights, shared by all plans of one layout."""
        layout = plan.layout()
        found = self.layouts.get(layout)
        if found is None:
            found = self.layouts[layout] = plan.pack(weight)
        return found

    def keep(self, shape, dtype, plan, packed, bias):
        if len(self.ready) >= 256:
            self.ready.clear()
        self.ready[shape, dtype] = (plan, packed, bias)

    def __call__(self, x, out=None):
        if type(x) is ndarray:
            found = self.ready.get((x.shape, x.dtype))
            if found is not None:
                plan, packed, bias = <tuple>found
                if out is None or (type(out) is ndarray and out.dtype is plan.dtype and out.shape == plan.out_shape
                                   and out.flags.writeable and nested(out)):
                    y = (<ConvPlan>plan).run(x, packed, bias, out, True)
                    if y is not None:
                        return y
        return self.slow(x, out)
