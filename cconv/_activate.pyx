# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Activations of whole arrays by the kernels, on the threads and without the GIL."""
from cconv import _cpu, _isa
from cconv._run import fresh
from cconv._version import check_stamp

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport memset

from cconv._run.elementwise cimport EACH, Sweep, items_of, run_sweep
from cconv.kernels.job cimport (ACT_CLIP, ACT_ELU, ACT_GELU, ACT_GELU_TANH, ACT_HARD_SIGMOID, ACT_HARD_SWISH,
                                ACT_LEAKY_RELU, ACT_NONE, ACT_RELU, ACT_SIGMOID, ACT_SILU, ACT_TANH,
                                ActivateTable, activate_run)

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
check_stamp(_cpu, stamp)

# name -> number, and what its own numbers are where they are not given
ACTIVATIONS = {
    "none": (ACT_NONE, ()), "relu": (ACT_RELU, ()), "clip": (ACT_CLIP, (0.0, 0.0)),
    "leaky_relu": (ACT_LEAKY_RELU, (0.01,)), "elu": (ACT_ELU, (1.0,)), "sigmoid": (ACT_SIGMOID, ()),
    "silu": (ACT_SILU, (1.0,)), "hard_sigmoid": (ACT_HARD_SIGMOID, (0.16666666666666666, 0.5)),
    "hard_swish": (ACT_HARD_SWISH, ()), "tanh": (ACT_TANH, ()), "gelu": (ACT_GELU, ()),
    "gelu_tanh": (ACT_GELU_TANH, ()),
}  # fmt: skip


cdef struct RowsJob:
    activate_run row
    const char *x
    const char *add                 # or NULL
    char *y
    Py_ssize_t count, itemsize
    int op
    double p, q


cdef void activate_item(void *job_, Py_ssize_t item, char *workspace) noexcept nogil:
    cdef RowsJob *job = <RowsJob *>job_
    cdef Py_ssize_t first = item * EACH, at = first * job.itemsize
    job.row(job.x + at, job.add + at if job.add != NULL else NULL, job.y + at, min(<Py_ssize_t>EACH, job.count - first),
            job.op, job.p, job.q)


cdef int run_rows(RowsJob *job, x, add, y) except -1:
    """All of contiguous arrays."""
    cdef Py_buffer views[3]
    cdef Sweep sweep
    cdef int held = 0, i
    try:
        for a, flags in ((x, PyBUF_SIMPLE), (y, PyBUF_WRITABLE), (add, PyBUF_SIMPLE)):
            if a is not None:
                PyObject_GetBuffer(a, &views[held], flags)
                held += 1
        job.x, job.y, job.add = <char *>views[0].buf, <char *>views[1].buf, <char *>views[2].buf if held > 2 else NULL
        job.itemsize = x.itemsize
        job.count = views[0].len // job.itemsize
        memset(&sweep, 0, sizeof(sweep))
        # an element is worth some copies of one
        sweep.one, sweep.job, sweep.items, sweep.work = activate_item, job, items_of(job.count), 2.0 * job.count
        run_sweep(&sweep)
    finally:
        for i in range(held):
            PyBuffer_Release(&views[i])
    return 0


def activate_all(x, name, numbers=(), out=None, add=None):
    """
    f(x), or f(x + add), of float32 or float64 arrays that are contiguous and of one shape; `out` may be x or add.

    None where that cannot be: another dtype, order or activation.
    """
    cdef RowsJob job
    cdef tuple given
    if name not in ACTIVATIONS:
        return None
    for a in (x, out, add):
        if a is None:
            continue
        flags = a.flags
        if a.dtype.char not in "fd" or a.dtype != x.dtype or not flags.c_contiguous or not flags.aligned:
            return None
        if a.shape != x.shape or not a.dtype.isnative:
            return None
    op, defaults = ACTIVATIONS[name]
    given = (*numbers, *defaults[len(numbers):], 0.0, 0.0)
    y = fresh(x.shape, x.dtype) if out is None else out
    table = _isa.kernel_module(x.dtype.name, "activate").tables["activate"]
    job.row = (<ActivateTable *>PyCapsule_GetPointer(table, "cconv.activate")).row
    job.op, job.p, job.q = op, given[0], given[1]
    run_rows(&job, x, add, y)
    return y
