# cython: language_level=3, cdivision=True
"""What a call's key finds: a Runner; and what all programs share that needs Python."""
import numpy as np

from cconv._isa import table as find_table

from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_XDECREF, Py_XINCREF, PyObject

from cconv._run.memory cimport array_bytes, new_output
from cconv._run.operand cimport Operand, overlap, release, take_dense_output, take_output
from cconv.kernels.job cimport KernelTable

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

cdef extern from *:
    """
    static int cconv_raise_set(void) { return -1; }
    static int cconv_tell(PyObject *f, const char *kernel, PyObject *dtype, Py_ssize_t size, int threads) {
        PyObject *said = PyObject_CallFunction(f, "sOni", kernel, dtype, size, threads);
        Py_XDECREF(said);
        return said != NULL;
    }
    """
    bint cconv_tell(PyObject *f, const char *kernel, PyObject *dtype, Py_ssize_t size, int threads) noexcept
    int raise_set_ "cconv_raise_set"() except -1

stamp = CCONV_STAMP_STRING.decode()
tracer = NULL


cdef class Runner:
    """A call of one key: arrays of known shapes and dtypes, checked and planned. `strategy` says what it does."""

    cdef object go(self, tuple arrays, out):
        """The result of `arrays`, in `out` if that is not None; it has been checked."""
        raise NotImplementedError

    def __call__(self, arrays, out=None):
        return self.go(tuple(arrays), out)


cdef class PyRunner(Runner):
    """A runner in Python: function(arrays, out)."""
    cdef readonly object function

    def __init__(self, function, dtype, out_shape, strategy):
        self.function = function
        self.dtype = dtype
        self.out_shape = out_shape
        self.strategy = strategy

    cdef object go(self, tuple arrays, out):
        return self.function(arrays, out)


cdef class Program(Runner):
    """A runner that is one kernel's jobs, or a few, whose arrays have its dtype."""

    cdef int shape_up(self, strategy, int rank, bint batched, out_shape) except -1:
        cdef int a
        self.strategy = strategy
        self.dtype = np.dtype(strategy.machine.sums)
        self.out_shape = out_shape
        self.out_bytes = array_bytes(out_shape, self.dtype)
        self.empty = 0 in out_shape
        self.form.itemsize = self.dtype.itemsize
        self.form.rank = rank
        self.form.batched = batched
        self.dense = False
        axes = getattr(strategy, "axes", (0, 1, 2))
        self.form.merges = axes != (0, 1, 2)
        for a in range(3):
            self.form.axes[a] = axes[a]
        return 0

    cdef object take_result(self, Operand *all, int inputs, out):
        """The array that is computed into, held behind the inputs: a new one unless `out` can serve.

        It cannot where it is None, where its elements cannot be addressed, or where it meets an input."""
        cdef Operand *y = &all[inputs]
        cdef int i
        if out is not None and self.take_out(y, out):
            for i in range(inputs):
                if overlap(y, &all[i]):
                    release(y)
                    break
            else:
                return out
        result = new_output(self.out_shape, self.dtype, self.out_bytes)
        self.take_out(y, result)
        return result

    cdef bint take_out(self, Operand *y, array) except -1:
        if self.dense:
            return take_dense_output(y, array, self.form.itemsize)
        return take_output(y, array, &self.form)


cdef KernelTable *table_of(machine, kernel) except NULL:
    return <KernelTable *>PyCapsule_GetPointer(find_table(machine.dtype, kernel), "cconv.kernel")


cdef int raise_set() except -1:
    """Raises the exception that a kernel was interrupted by, which is set."""
    return raise_set_()


cdef bint tell(const char *kernel, PyObject *dtype, Py_ssize_t size, int threads) noexcept:
    """Calls the tracer; False where it has raised, and its exception is set."""
    return cconv_tell(tracer, kernel, dtype, size, threads)


cdef dict fields(record, dict struct):
    """A plan's record as what fills `struct`: the fields of both are the same, or the contract is broken."""
    found = record._asdict()
    if found.keys() != struct.keys():
        odd = sorted(found.keys() ^ struct.keys())
        raise TypeError(f"cconv: {type(record).__name__} and its struct differ in {', '.join(odd)}")
    return found


def set_tracer(function):
    """
    Has function(kernel, dtype, workspace_bytes, threads) told of every kernel that runs, for tests; None ends that.

    The bytes are those of all threads. While other threads are calling, it must not be changed.
    """
    global tracer
    cdef PyObject *last = tracer
    tracer = <PyObject *>function if function is not None else NULL
    Py_XINCREF(tracer)
    Py_XDECREF(last)
