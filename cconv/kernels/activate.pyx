# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Activations of rows: y[i] = f(x[i] + add[i]), n elements that lie one behind the other; y may be x.

The functions and how they are computed stand in activate.h, their numbers in job.pxd (Activation).
"""
from cpython.pycapsule cimport PyCapsule_New

from cconv.kernels.job cimport ActivateTable
from cconv.kernels.simd cimport real


cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

cdef extern from "activate.h" nogil:
    void activate_row(const real *x, const real *add, real *y, Py_ssize_t n, int op, real p, real q)


cdef void run_row(const void *x, const void *add, void *y, Py_ssize_t n, int op, double p, double q) noexcept nogil:
    activate_row(<const real *>x, <const real *>add, <real *>y, n, op, <real>p, <real>q)


cdef ActivateTable TABLE
TABLE.row = run_row

tables = {"activate": PyCapsule_New(&TABLE, "cconv.activate", NULL)}
stamp = CCONV_STAMP_STRING.decode()
