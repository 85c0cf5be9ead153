# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Between the dtypes of users and those of the kernels: `to_native` before a computation, `to_result` after it.

Halves (float16 and bfloat16) are converted from and to float32 by the kernels' own functions, integers and floats by
_run.elementwise, both on the threads and without the GIL; all else, and float16 where the instruction set has no
conversion, by NumPy, to whom bfloat16 is a type of ml_dtypes.
"""
import numpy as np

from cconv import _cpu, _elements, _isa
from cconv._run import fresh
from cconv._version import check_stamp

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport memset

from cconv._run.elementwise cimport EACH, Sweep, cast, items_of, move, run_sweep
from cconv.kernels.job cimport ConvertTable, convert_run

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
check_stamp(_cpu, stamp)

cdef object F32 = np.dtype(np.float32), F64 = np.dtype(np.float64), U16 = np.dtype(np.uint16)
cdef object require = np.require, errstate = np.errstate
cdef int FLOAT32 = F32.num, FLOAT64 = F64.num
cdef dict found = {}        # NumPy's number of a dtype -> the capsule of its ConvertTable; None: there is none


cdef ConvertTable *converter(dtype) except? NULL:
    """The kernels' functions for native halves of this dtype; NULL: NumPy converts it."""
    capsule = found.get(dtype.num, found)
    if capsule is found:
        # the kernels are loaded by the first array of halves
        halves = _elements.halves(dtype)
        capsule = _isa.kernel_module("float32", "convert").tables.get(halves) if halves else None
        found[dtype.num] = capsule
    if capsule is None or not dtype.isnative:
        return NULL
    return <ConvertTable *>PyCapsule_GetPointer(capsule, "cconv.convert")


cdef plain(a):
    """Contiguous and aligned: itself, or a copy."""
    flags = a.flags
    if flags.c_contiguous and flags.aligned:
        return a
    return move(fresh(a.shape, a.dtype), a) if flags.aligned else require(a, None, "CA")


cdef struct HalvesJob:
    convert_run convert
    char *half
    char *real
    Py_ssize_t count


cdef void convert_item(void *job_, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef HalvesJob *job = <HalvesJob *>job_
    cdef Py_ssize_t first = item * EACH
    job.convert(job.half + 2 * first, job.real + 4 * first, min(<Py_ssize_t>EACH, job.count - first))


cdef int convert_all(convert_run convert, half, real, bint loading) except -1:
    """Converts all of one contiguous array into the other."""
    cdef Py_buffer h, r
    cdef HalvesJob job
    cdef Sweep sweep
    PyObject_GetBuffer(half, &h, PyBUF_SIMPLE if loading else PyBUF_WRITABLE)
    try:
        PyObject_GetBuffer(real, &r, PyBUF_WRITABLE if loading else PyBUF_SIMPLE)
    except BaseException:
        PyBuffer_Release(&h)
        raise
    job.convert, job.half, job.real, job.count = convert, <char *>h.buf, <char *>r.buf, r.len // 4
    memset(&sweep, 0, sizeof(sweep))
    sweep.one, sweep.job, sweep.items, sweep.work = convert_item, &job, items_of(job.count), job.count / 4.0
    try:
        run_sweep(&sweep)
    finally:
        PyBuffer_Release(&h)
        PyBuffer_Release(&r)
    return 0


cdef load(a, ConvertTable *table):
    """Halves of any strides as float32."""
    # as integers: bfloat16 has no buffer, and a copy of halves first is cheaper than a conversion with strides
    bits = plain(a.view(U16))
    result = fresh(a.shape, F32)
    convert_all(table.load, bits, result, True)
    return result


cdef store(y, dtype, out, ConvertTable *table):
    """A float32 array as halves, in `out` where that is possible."""
    if out is None or not (out.flags.c_contiguous and out.flags.aligned):
        out = fresh(y.shape, dtype)
    convert_all(table.store, out.view(U16), plain(y), False)
    return out


def to_native(a, dtype):
    """The array in a kernel's dtype, native; itself if it is that already, and with whatever strides."""
    cdef ConvertTable *table
    if a.dtype is dtype:
        return a
    if dtype.num == FLOAT32 or dtype.num == FLOAT64:
        table = converter(a.dtype)
        if table != NULL:
            a = load(a, table)
    return a if a.dtype == dtype and a.dtype.isnative else cast(a, dtype)


def to_result(y, dtype, out=None):
    """What was computed in the result's dtype, in `out` if it was given; too large values become infinite silently."""
    cdef ConvertTable *table
    if out is None and y.dtype is dtype:
        return y
    if y.dtype == F64 and _elements.is_extension(dtype):
        # rounded to float32 first, which ml_dtypes does too: as if the float32 result were converted
        with errstate(over="ignore", under="ignore", invalid="ignore"):
            y = cast(y, F32)
    if y.dtype.num == FLOAT32:
        table = converter(dtype)
        if table != NULL:
            y = store(y, dtype, out, table)
    if out is None:
        if y.dtype == dtype:
            return y
        if y.dtype.kind == "i" and dtype.kind in "iu":
            return cast(y, dtype)  # which wraps, and warns of nothing
        with errstate(over="ignore", under="ignore", invalid="ignore"):
            return cast(y, dtype)
    return out if y is out else move(out, y)
