from cpython.ref cimport PyObject

from cconv._run.drive cimport Status
from cconv._run.fold cimport Folding
from cconv._run.operand cimport Form, Operand
from cconv._run.runner cimport Program
from cconv.kernels.job cimport KernelTable, PoolJob, Watch


cdef struct PoolCode:
    # a pooling that only lacks its arrays: runnable without the GIL, by many threads at once
    PoolJob job
    Folding fold
    bint runs                       # elements along W have to follow each other
    KernelTable *table
    Py_ssize_t *windows             # the memory of the job's lists
    double work                     # elements read, those of indexed maxima once a tap
    PyObject *dtype                 # its name, borrowed

cdef Py_ssize_t *list_windows(PoolJob *job) except NULL
cdef int set_folding(Folding *to, strategy) except -1
cdef int take_folded(Operand *o, array, const Form *form, const Folding *fold, const Py_ssize_t *size,
                     bint runs) except -1
cdef void fold_job(const PoolCode *code, PoolJob *job) noexcept nogil
cdef int pool_threads(PoolCode *code, int allowed) noexcept nogil
cdef Status drive_pool(PoolCode *code, PoolJob *job, char *workspace, int threads, Watch *signals) noexcept nogil


cdef class PoolProgram(Program):
    cdef PoolCode code

    cdef int compute(self, Operand *all, void *index, int allowed) except -1
