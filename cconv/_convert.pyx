# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Between the dtypes of users and those of the kernels: `to_native` before a computation, `to_result` after it.

Halves (float16 and bfloat16) are converted from and to float32 by the kernels' own functions, without the GIL; all
else, and float16 where the instruction set has no conversion, by NumPy, to whom bfloat16 is a type of ml_dtypes.
"""
import numpy as np

from cconv import _cpu, _elements, _isa
from cconv._run import fresh
from cconv._version import check_stamp

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer

from cconv.kernels.job cimport ConvertTable, convert_run

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
check_stamp(_cpu, stamp)

cdef object F32 = np.dtype(np.float32), F64 = np.dtype(np.float64), U16 = np.dtype(np.uint16)
cdef object require = np.require, copyto = np.copyto, errstate = np.errstate
cdef int FLOAT32 = F32.num
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
    return a if flags.c_contiguous and flags.aligned else require(a, None, "CA")


cdef int convert_all(convert_run convert, half, real, bint loading) except -1:
    """Converts all of one contiguous array into the other."""
    cdef Py_buffer h, r
    PyObject_GetBuffer(half, &h, PyBUF_SIMPLE if loading else PyBUF_WRITABLE)
    try:
        PyObject_GetBuffer(real, &r, PyBUF_WRITABLE if loading else PyBUF_SIMPLE)
    except BaseException:
        PyBuffer_Release(&h)
        raise
    with nogil:
        convert(h.buf, r.buf, r.len // 4)
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
    if dtype.num == FLOAT32:
        table = converter(a.dtype)
        if table != NULL:
            return load(a, table)
    return a if a.dtype == dtype and a.dtype.isnative else a.astype(dtype)


def to_result(y, dtype, out=None):
    """What was computed in the result's dtype, in `out` if it was given; too large values become infinite silently."""
    cdef ConvertTable *table
    if out is None and y.dtype is dtype:
        return y
    if y.dtype == F64 and _elements.is_extension(dtype):
        # rounded to float32 first, which ml_dtypes does too: as if the float32 result were converted
        with errstate(over="ignore", under="ignore", invalid="ignore"):
            y = y.astype(F32)
    if y.dtype.num == FLOAT32:
        table = converter(dtype)
        if table != NULL:
            y = store(y, dtype, out, table)
    if out is None:
        if y.dtype == dtype:
            return y
        with errstate(over="ignore", under="ignore", invalid="ignore"):
            return y.astype(dtype)
    if y is not out:
        with errstate(over="ignore", under="ignore", invalid="ignore"):
            copyto(out, y, casting="unsafe")
    return out
