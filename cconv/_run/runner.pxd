from cpython.ref cimport PyObject

from cconv._run.operand cimport Form, Operand
from cconv.kernels.job cimport KernelTable

cdef PyObject *tracer               # what is told of every kernel that runs, or NULL: see set_tracer


cdef class Runner:
    cdef readonly object dtype      # of the result
    cdef readonly object out_shape
    cdef readonly object strategy

    cdef object go(self, tuple arrays, out)


cdef class Program(Runner):
    cdef Form form
    cdef size_t out_bytes
    cdef bint empty                 # nothing to compute
    cdef bint dense                 # results are written from the first element to the last

    cdef int shape_up(self, strategy, int rank, bint batched, out_shape) except -1
    cdef bint take_out(self, Operand *y, array) except -1
    cdef object take_result(self, Operand *all, int inputs, out)

cdef KernelTable *table_of(machine, kernel) except NULL
cdef int raise_set() except -1
cdef bint tell(const char *kernel, PyObject *dtype, Py_ssize_t size, int threads) noexcept
cdef dict fields(record, dict struct)
