# cython: language_level=3, cdivision=True
"""Copies, conversions and sums of whole arrays, element by element, on the threads and without the GIL.

Small arrays are NumPy's: it begins sooner. So are what the rows do not know: other byte orders, complex numbers that
change their size, elements that do not lie at multiples of theirs.
"""
import numpy as np

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE
from libc.string cimport memset

from cconv._run.drive cimport INTERRUPTED, Status, drive, useful
from cconv._run.memory cimport Workspace, array_bytes, give_workspace, new_output, take_workspace
from cconv._run.operand cimport Operand, hold, overlap, release
from cconv._run.runner cimport raise_set
from cconv._run.threads cimport Task, allowed_threads, enter_call, leave_call, start_threads, watch
from cconv.kernels.job cimport Watch

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
cdef object errstate = np.errstate, copyto = np.copyto

cdef enum:
    RANK = 10                       # axes of a walk
    LEAST = 1 << 16                 # elements from which on it pays to look for a row
    NUMBERS = 24                    # of NumPy's own dtypes
    GRAIN = 50000                   # work that is worth a thread

# ---------------------------------------------------------------- items on the threads

cdef int run_sweep(const Sweep *sweep, Watch *signals=NULL) except -1:
    """Runs all items; a single one without further ado. `signals` are for items that look at them by themselves."""
    cdef Workspace space = None
    cdef Watch own
    cdef Status status
    cdef Task task
    if sweep.items <= 1 and sweep.workspace_bytes == 0 and signals == NULL:
        if sweep.items:
            with nogil:
                sweep.one(sweep.job, 0, NULL)
        return 0
    task.threads = enter_call(allowed_threads())
    try:
        if signals == NULL:
            signals = &own
        watch(signals)
        task.threads = start_threads(useful(GRAIN, sweep.items, sweep.work, task.threads))
        task.workspace, task.workspace_bytes = NULL, sweep.workspace_bytes
        if sweep.workspace_bytes:
            space = take_workspace(task.threads * sweep.workspace_bytes)
            task.workspace = space.data
        task.name, task.dtype, task.run, task.job = "sweep", NULL, sweep.one, sweep.job
        task.items, task.chunk, task.signals = sweep.items, 1, signals
        with nogil:
            status = drive(&task)
        if space is not None:
            give_workspace(space)
    finally:
        leave_call()
    if status == INTERRUPTED:
        raise_set()
    return 0


cdef Py_ssize_t items_of(Py_ssize_t count) noexcept nogil:
    """Items of so many elements."""
    return (count + EACH - 1) // EACH


# ---------------------------------------------------------------- a walk through two arrays

cdef struct Walk:
    # both arrays in the order of their axes, of which those that can be are one
    int rank
    Py_ssize_t shape[RANK]
    Py_ssize_t to_step[RANK]        # in bytes
    Py_ssize_t step[RANK]
    char *to
    char *from_
    Py_ssize_t count
    cconv_row row
    double with_


cdef inline Py_ssize_t span(Py_ssize_t step) noexcept nogil:
    """Not abs(), which for this type would make a Python object, and fail without memory."""
    return -step if step < 0 else step


cdef void plan_walk(Walk *walk, const Py_buffer *to, const Py_buffer *x) noexcept nogil:
    """Axes in the order of the target's strides. Those of one element are left out, those that lie one behind the other
    merged; the last one is no short one."""
    cdef int order[RANK]
    cdef int i, j, r = -1, longest = 0
    walk.to, walk.from_, walk.count = <char *>to.buf, <char *>x.buf, 1
    for i in range(to.ndim):
        walk.count *= to.shape[i]
        j = i
        while j and span(to.strides[order[j - 1]]) < span(to.strides[i]):
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    for j in range(to.ndim):
        i = order[j]
        if to.shape[i] == 1:
            continue
        if (r >= 0 and walk.to_step[r] == to.strides[i] * to.shape[i]
                and walk.step[r] == x.strides[i] * x.shape[i]):
            walk.shape[r] *= to.shape[i]
        else:
            r += 1
            walk.shape[r] = to.shape[i]
        walk.to_step[r], walk.step[r] = to.strides[i], x.strides[i]
    if r < 0:
        r = 0
        walk.shape[0], walk.to_step[0], walk.step[0] = 1, to.itemsize, x.itemsize
    walk.rank = r + 1
    if walk.shape[r] < 16:
        for i in range(r):
            if walk.shape[i] > walk.shape[longest]:
                longest = i
        if walk.shape[longest] > 2 * walk.shape[r]:
            walk.shape[longest], walk.shape[r] = walk.shape[r], walk.shape[longest]
            walk.to_step[longest], walk.to_step[r] = walk.to_step[r], walk.to_step[longest]
            walk.step[longest], walk.step[r] = walk.step[r], walk.step[longest]


cdef void walk_item(void *job, Py_ssize_t item, char *workspace) noexcept nogil:
    """The next EACH elements in the order of the axes, row by row."""
    cdef Walk *walk = <Walk *>job
    cdef Py_ssize_t at[RANK]
    cdef Py_ssize_t rest = item * EACH, left = min(<Py_ssize_t>EACH, walk.count - rest), n
    cdef char *to = walk.to
    cdef char *from_ = walk.from_
    cdef int i, last = walk.rank - 1
    for i in range(last, -1, -1):
        at[i] = rest % walk.shape[i]
        rest //= walk.shape[i]
        to += at[i] * walk.to_step[i]
        from_ += at[i] * walk.step[i]
    while True:
        n = min(left, walk.shape[last] - at[last])
        walk.row(to, walk.to_step[last], from_, walk.step[last], n, walk.with_)
        left -= n
        if left == 0:
            return
        # to the beginning of the next row
        to -= at[last] * walk.to_step[last]
        from_ -= at[last] * walk.step[last]
        at[last] = 0
        i = last - 1
        while True:
            at[i] += 1
            to += walk.to_step[i]
            from_ += walk.step[i]
            if at[i] < walk.shape[i]:
                break
            to -= at[i] * walk.to_step[i]
            from_ -= at[i] * walk.step[i]
            at[i] = 0
            i -= 1


cdef bint whole(Operand *o, Py_ssize_t size) noexcept nogil:
    """Whether all elements lie at multiples of their size (of their parts', of complex numbers)."""
    cdef int i
    size = min(<Py_ssize_t>8, size)
    if <size_t>o.view.buf % <size_t>size:
        return False
    for i in range(o.view.ndim):
        if o.view.shape[i] > 1 and o.view.strides[i] % size:
            return False
    return True


cdef bint walk_through(cconv_row row, to, x, double with_, bint apart=False) except -1:
    """Does a row's work to all elements of two arrays of one shape; False, and nothing done, where NumPy has to.

    `apart`: it has to where the arrays may overlap, too."""
    cdef Operand all[2]
    cdef Walk walk
    cdef Sweep sweep
    memset(all, 0, sizeof(all))
    hold(&all[0], to, PyBUF_STRIDES | PyBUF_WRITABLE)
    try:
        hold(&all[1], x, PyBUF_STRIDES)
        if all[0].view.ndim > RANK or not (
            whole(&all[0], all[0].view.itemsize) and whole(&all[1], all[1].view.itemsize)
        ) or (apart and overlap(&all[0], &all[1])):
            return False
        plan_walk(&walk, &all[0].view, &all[1].view)
        walk.row, walk.with_ = row, with_
        memset(&sweep, 0, sizeof(sweep))
        sweep.one, sweep.job = walk_item, &walk
        sweep.items = items_of(walk.count)
        sweep.work = walk.count / (4.0 if walk.rank == 1 else 2.0)
        run_sweep(&sweep)
    finally:
        release(&all[0])
        release(&all[1])
    return True


# ---------------------------------------------------------------- conversions

cdef int kinds[NUMBERS]             # of NumPy's dtypes by their number: a row and column of cconv_casts, or -1


cdef int fill_kinds() except -1:
    cdef int i
    order = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
    for i in range(NUMBERS):
        kinds[i] = -1
    for code in "?bBhHiIlLqQfd":
        dtype = np.dtype(code)
        name = "u1" if code == "?" else f"{dtype.kind}{dtype.itemsize}"
        kinds[<int>dtype.num] = order.index(name)
    return 0


fill_kinds()
cdef int BOOL = np.dtype(bool).num


cdef int kind_of(dtype) except -2:
    cdef int number = dtype.num
    return kinds[number] if number < NUMBERS and dtype.isnative else -1


cdef cconv_row row_of(from_, to) except? NULL:
    """What converts a dtype to another one, or copies it; NULL: NumPy does."""
    cdef int number = to.num
    if from_ is to or from_ == to:
        return copy_of(to.itemsize) if number < NUMBERS and to.kind in "biufc" else NULL
    return NULL if number == BOOL else cast_of(kind_of(from_), kind_of(to))


cpdef object move(to, x):
    """to[...] = x for arrays of one shape, converted as NumPy does it; too large values become infinite silently."""
    cdef cconv_row row
    if x.size >= LEAST and x.shape == to.shape:
        row = row_of(x.dtype, to.dtype)
        if row != NULL and walk_through(row, to, x, 0, True):
            return to
    if x.dtype is to.dtype:
        copyto(to, x)
        return to
    with errstate(over="ignore", under="ignore", invalid="ignore"):
        copyto(to, x, casting="unsafe")
    return to


cpdef object cast(x, dtype):
    """A copy of an array in a dtype, its axes in the order of its strides, as astype() makes it."""
    if x.size < LEAST:
        return x.astype(dtype)
    if not x.flags.c_contiguous:
        return move(np.empty_like(x, dtype, subok=False), x)
    return move(new_output(x.shape, dtype, array_bytes(x.shape, dtype)), x)


# ---------------------------------------------------------------- sums and powers

def add(to, x):
    """to += x for native arrays of one shape and dtype, which do not overlap; NumPy may warn of infinities."""
    if x.size < LEAST or not walk_through(add_of(ord(to.dtype.kind), to.dtype.itemsize), to, x, 0):
        to += x
    return to


cdef enum Power:
    ABSOLUTE
    SQUARED
    SCALED
    ROOT
    POSITIVE
    BY_SIGN
    BY_VALUE
    DIVIDED
    SIGN_AS
    TIMES
    BLANK


cdef object powered(x, Power which, to, double with_):
    if to is None:
        to = new_output(x.shape, x.dtype, array_bytes(x.shape, x.dtype))
    if not walk_through(power_of(which, x.dtype.itemsize), to, x, with_):
        powered(np.require(x, None, "CA"), which, to, with_)
    return to


def absolute(x, to=None):
    """|x| of float32 and float64, in a new array or in `to`."""
    return powered(x, ABSOLUTE, to, 0)


def squared(x):
    """x * x."""
    return powered(x, SQUARED, None, 0)


def scaled(x, double factor, to=None):
    """x * factor."""
    return powered(x, SCALED, to, factor)


def root(x, double factor, to=None):
    """The square root of x * factor."""
    return powered(x, ROOT, to, factor)


def not_negative(x, to=None):
    """The larger of x and 0; a NaN stays one."""
    return powered(x, POSITIVE, to, 0)


# of gradients: `to` is changed

def multiply_by_sign(to, x, double factor):
    """to *= sign(x) * factor."""
    return powered(x, BY_SIGN, to, factor)


def multiply_by_value(to, x, double factor):
    """to *= x * factor, and 0 where x is."""
    return powered(x, BY_VALUE, to, factor)


def divide_by(to, x):
    """to = x / to, by the reciprocal, and 0 where `to` is."""
    return powered(x, DIVIDED, to, 0)


def take_sign(to, x, double factor):
    """to = to with the sign of x, times factor."""
    return powered(x, SIGN_AS, to, factor)


def multiply(to, x):
    """to *= x."""
    return powered(x, TIMES, to, 0)


def blank(to, x):
    """Zeros where x is zero."""
    return powered(x, BLANK, to, 0)
