# cython: language_level=3, cdivision=True
"""unfold and fold: windows copied, and added up, row by row on the threads."""
import numpy as np

from cconv import _isa
from cconv._elements import halves

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport memset

from cconv._run.elementwise cimport EACH, Sweep, add_of, cconv_row, copy_of, fill_zeros, move, items_of, run_sweep
from cconv._run.memory cimport array_bytes, new_output
from cconv._run.operand cimport Form, Operand, hold, release, take_input
from cconv._run.runner cimport Runner
from cconv.kernels.job cimport ConvertTable, convert_run

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
cdef object U16 = np.dtype(np.uint16), F32 = np.dtype(np.float32)


cdef buffered(a):
    """The same elements as a type that has a buffer: bfloat16 as integers."""
    return a.view(U16) if a.dtype.kind == "V" else a


cdef own_order(a):
    """The array in the order of bytes of this machine."""
    return a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))


# ---------------------------------------------------------------- the windows of unfold and fold

cdef struct Windows:
    Py_ssize_t size[3]              # of the array that the windows lie in
    Py_ssize_t kernel[3]
    Py_ssize_t stride[3]
    Py_ssize_t dilation[3]
    Py_ssize_t before[3]
    Py_ssize_t out[3]               # windows
    Py_ssize_t channels


cdef struct BlockJob:
    Windows b
    char *x
    char *y
    Py_ssize_t itemsize
    Py_ssize_t xn, xc               # strides in bytes; of fold xc is from row to row of columns
    Py_ssize_t xs[3]                # of fold xs[2] is from column to column
    Py_ssize_t count                # elements of y
    cconv_row row                   # copies, or adds
    convert_run load                # of halves, which are added up in float32; else NULL
    convert_run store


cdef inline Py_ssize_t up_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """a / b rounded up, and 0 where a is negative."""
    return (a + b - 1) // b if a > 0 else 0


cdef inline void unravel(Py_ssize_t i, const Py_ssize_t *shape, int rank, Py_ssize_t *at) noexcept nogil:
    cdef int a
    for a in range(rank - 1, -1, -1):
        at[a] = i % shape[a]
        i //= shape[a]


cdef inline void advance(const Py_ssize_t *shape, int rank, Py_ssize_t *at) noexcept nogil:
    cdef int a = rank - 1
    at[a] += 1
    while a and at[a] == shape[a]:
        at[a] = 0
        a -= 1
        at[a] += 1


cdef inline Py_ssize_t read_at(const Windows *b, int a, Py_ssize_t o, Py_ssize_t t) noexcept nogil:
    """Where the tap t of the window o reads along an axis, or -1 in the padding."""
    cdef Py_ssize_t i = o * b.stride[a] + t * b.dilation[a] - b.before[a]
    return i if 0 <= i < b.size[a] else -1


cdef inline Py_ssize_t window(const Windows *b, int a, Py_ssize_t i, Py_ssize_t t) noexcept nogil:
    """The window whose tap t reads the position i of an axis, or -1."""
    i += b.before[a] - t * b.dilation[a]
    if i < 0 or i % b.stride[a]:
        return -1
    i //= b.stride[a]
    return i if i < b.out[a] else -1


cdef void unfold_item(void *job_, Py_ssize_t item, char *workspace) noexcept nogil:
    """The next EACH elements of (N, C, kd, kh, kw, od, oh, ow), in rows along ow."""
    cdef BlockJob *job = <BlockJob *>job_
    cdef Windows *b = &job.b
    cdef Py_ssize_t shape[6]
    cdef Py_ssize_t at[6]
    cdef Py_ssize_t first = item * EACH, left = min(<Py_ssize_t>EACH, job.count - first), size = job.itemsize
    cdef Py_ssize_t planes = b.channels * b.kernel[0] * b.kernel[1] * b.kernel[2] * b.out[0] * b.out[1]
    cdef Py_ssize_t length = b.out[2], begin = first % length, sample = first // length // planes
    cdef Py_ssize_t d, h, n, end, low = 0, high = 0, lo, hi, shift = 0, tap = -1
    cdef char *y = job.y + first * size
    cdef const char *x
    cdef int a
    shape[0] = b.channels
    for a in range(3):
        shape[1 + a] = b.kernel[a]
    shape[4], shape[5] = b.out[0], b.out[1]
    unravel(first // length % planes, shape, 6, at)
    while left > 0:
        if at[3] != tap:
            # of the windows of a row, low..high read inside with this tap
            tap = at[3]
            shift = tap * b.dilation[2] - b.before[2]
            low = min(length, up_div(-shift, b.stride[2]))
            high = max(low, min(length, up_div(b.size[2] - shift, b.stride[2])))
        n = min(left, length - begin)
        end = begin + n
        d, h = read_at(b, 0, at[4], at[1]), read_at(b, 1, at[5], at[2])
        if d < 0 or h < 0:
            fill_zeros(y, n * size)
        else:
            lo, hi = min(max(begin, low), end), max(begin, min(end, high))
            x = job.x + sample * job.xn + at[0] * job.xc + d * job.xs[0] + h * job.xs[1]
            if lo > begin:
                fill_zeros(y, (lo - begin) * size)
            if hi > lo:
                job.row(y + (lo - begin) * size, size, x + (lo * b.stride[2] + shift) * job.xs[2],
                        b.stride[2] * job.xs[2], hi - lo, 0)
            if hi < end:
                fill_zeros(y + (max(lo, hi) - begin) * size, (end - max(lo, hi)) * size)
        y += n * size
        left -= n
        begin = 0
        advance(shape, 6, at)
        if at[0] == b.channels:
            at[0] = 0
            sample += 1


cdef void fold_row(BlockJob *job, const char *x, Py_ssize_t lo, Py_ssize_t hi, char *y, float *space) noexcept nogil:
    """Adds what a row of windows has for lo..hi of a row of the result, tap by tap; y begins at lo."""
    cdef Windows *b = &job.b
    cdef Py_ssize_t t, first, last, size = 4 if job.load else job.itemsize
    cdef const char *from_
    for t in range(b.kernel[2]):
        first = up_div(lo + b.before[2] - t * b.dilation[2], b.stride[2])
        last = min(b.out[2], up_div(hi + b.before[2] - t * b.dilation[2], b.stride[2]))
        if last <= first:
            continue
        from_ = x + t * job.xc + first * job.xs[2]
        if job.load:
            copy_of(2)(<char *>(space + EACH), 2, from_, job.xs[2], last - first, 0)
            job.load(space + EACH, space, last - first)
            from_ = <const char *>space
        job.row(y + (first * b.stride[2] + t * b.dilation[2] - b.before[2] - lo) * size, b.stride[2] * size,
                from_, 4 if job.load else job.xs[2], last - first, 0)


cdef void fold_item(void *job_, Py_ssize_t item, char *workspace) noexcept nogil:
    """The next EACH elements of (N, C, D, H, W), in rows along W; the taps of each are added up in their order."""
    cdef BlockJob *job = <BlockJob *>job_
    cdef Windows *b = &job.b
    cdef Py_ssize_t shape[4]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t first = item * EACH, left = min(<Py_ssize_t>EACH, job.count - first), size = job.itemsize
    cdef Py_ssize_t n, kd, kh, d, h, length = b.size[2], begin = first % length
    cdef Py_ssize_t taps = b.kernel[0] * b.kernel[1] * b.kernel[2]
    cdef char *y = job.y + first * size
    cdef char *sums
    cdef const char *x
    shape[0], shape[1], shape[2], shape[3] = job.count, b.channels, b.size[0], b.size[1]
    unravel(first // length, shape, 4, at)
    while left > 0:
        n = min(left, length - begin)
        sums = workspace if job.load else y
        fill_zeros(sums, n * (4 if job.load else size))
        for kd in range(b.kernel[0]):
            d = window(b, 0, at[2], kd)
            for kh in range(b.kernel[1] if d >= 0 else 0):
                h = window(b, 1, at[3], kh)
                if h < 0:
                    continue
                x = (job.x + at[0] * job.xn + (at[1] * taps + (kd * b.kernel[1] + kh) * b.kernel[2]) * job.xc
                     + (d * b.out[1] + h) * b.out[2] * job.xs[2])
                fold_row(job, x, begin, begin + n, sums, <float *>workspace + EACH)
        if job.load:
            job.store(y, sums, n)
        y += n * size
        left -= n
        begin = 0
        advance(shape, 4, at)


cdef class BlockRunner(Runner):
    """What unfold and fold share. `blocks` fills Windows."""
    cdef Windows blocks

    def __init__(self, strategy, dict blocks, dtype, out_shape):
        self.blocks = blocks
        self.strategy = strategy
        self.dtype = dtype
        self.out_shape = out_shape

    cdef int sweep(self, BlockJob *job, result, Py_ssize_t workspace_bytes, double work) except -1:
        cdef Operand y
        cdef Sweep sweep
        memset(&y, 0, sizeof(y))
        memset(&sweep, 0, sizeof(sweep))
        hold(&y, buffered(result), PyBUF_STRIDES | PyBUF_WRITABLE)
        job.y, job.count = <char *>y.view.buf, result.size
        sweep.one = fold_item if isinstance(self, FoldRunner) else unfold_item
        sweep.job, sweep.items = job, items_of(job.count)
        sweep.work, sweep.workspace_bytes = work, workspace_bytes
        try:
            run_sweep(&sweep)
        finally:
            release(&y)
        return 0


cdef class UnfoldRunner(BlockRunner):
    """Every window as a column. The array is (x,), of `rank` axes of space."""
    cdef Form form

    def __init__(self, strategy, dict blocks, dtype, out_shape, int rank):
        BlockRunner.__init__(self, strategy, blocks, dtype, out_shape)
        self.form.itemsize = dtype.itemsize
        self.form.rank = rank
        self.form.batched = len(out_shape) == 3

    cdef object go(self, tuple arrays, out):
        cdef BlockJob job
        cdef Operand x
        cdef Form form = self.form
        cdef int a
        y = new_output(self.out_shape, self.dtype, array_bytes(self.out_shape, self.dtype))
        if y.size == 0:
            return y
        memset(&job, 0, sizeof(job))
        memset(&x, 0, sizeof(x))
        take_input(&x, buffered(own_order(arrays[0])), &form)
        job.b, job.itemsize, job.x = self.blocks, form.itemsize, <char *>x.view.buf
        job.xn, job.xc = x.n * form.itemsize, x.c * form.itemsize
        for a in range(3):
            job.xs[a] = x.s[a] * form.itemsize
        job.row = copy_of(form.itemsize)
        try:
            self.sweep(&job, y, 0, <double>y.size)
        finally:
            release(&x)
        return y


cdef class FoldRunner(BlockRunner):
    """Columns added up where they came from. The array is (x,), with or without a batch."""

    cdef ConvertTable *converter(self) except? NULL:
        """What widens and narrows halves; NULL: there are none, or NumPy does it."""
        word = halves(self.dtype)
        capsule = _isa.kernel_module("float32", "convert").tables.get(word) if word else None
        return NULL if capsule is None else <ConvertTable *>PyCapsule_GetPointer(capsule, "cconv.convert")

    cdef object go(self, tuple arrays, out):
        cdef BlockJob job
        cdef Operand x
        cdef Py_ssize_t space = 0
        cdef bint half = bool(halves(self.dtype))
        cdef ConvertTable *table = self.converter()
        a, dtype = own_order(arrays[0]), self.dtype
        memset(&job, 0, sizeof(job))
        memset(&x, 0, sizeof(x))
        if half:
            space = EACH * 10  # sums, and a row of halves before and after they were widened
            if table == NULL:
                space, a, dtype = 0, a.astype(F32), F32
            else:
                job.load, job.store = table.load, table.store
        y = new_output(self.out_shape, dtype, array_bytes(self.out_shape, dtype))
        if y.size:
            self.take_columns(&x, buffered(a))
            job.b, job.itemsize, job.x = self.blocks, dtype.itemsize, <char *>x.view.buf
            job.xc, job.xs[2] = x.view.strides[x.view.ndim - 2], x.view.strides[x.view.ndim - 1]
            job.xn = x.view.strides[0] if x.view.ndim == 3 else 0
            job.row = add_of(ord("f" if half else dtype.kind), 4 if half else dtype.itemsize)
            try:
                self.sweep(&job, y, space, <double>a.size)
            finally:
                release(&x)
        return y if dtype is self.dtype else move(np.empty(self.out_shape, self.dtype), y)

    cdef int take_columns(self, Operand *x, a) except -1:
        """An array that is read, or a copy of it where its elements do not lie at multiples of their size."""
        cdef int i
        hold(x, a, PyBUF_STRIDES)
        for i in range(x.view.ndim):
            if (<size_t>x.view.buf | <size_t>x.view.strides[i]) % <size_t>min(x.view.itemsize, <Py_ssize_t>8):
                release(x)
                hold(x, np.array(a, order="C"), PyBUF_STRIDES)
                break
        return 0
