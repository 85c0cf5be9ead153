from cpython.ref cimport PyObject

from cconv._run.drive cimport Status
from cconv._run.memory cimport Workspace
from cconv._run.operand cimport Form, Operand
from cconv._run.runner cimport Program
from cconv.kernels.job cimport ConvJob, KernelTable, Watch


cdef struct Slot:
    # weights as one step needs them, or several: read where they lie, copied, gathered or packed
    Py_ssize_t *taps                # where each tap lies among the K of the caller's; NULL: as they lie
    Py_ssize_t count                # taps
    KernelTable *packer             # NULL: not packed
    int step                        # the first that reads them
    Py_ssize_t raw                  # gathered to be packed: byte offset in the scratch; else -1
    bint lies                       # read where the caller's lie, unless they are kept
    Py_ssize_t at                   # byte offset in the block of prepared weights


cdef struct Step:
    KernelTable *table
    int slot
    Py_ssize_t first[3]             # its first output, and the step between its outputs, in those of the whole
    Py_ssize_t step[3]
    Py_ssize_t x_first[3]           # the same of its inputs
    Py_ssize_t x_step[3]


cdef struct ConvCode:
    # a convolution that only lacks its arrays: runnable without the GIL, by many threads at once
    ConvJob *jobs                   # one a step; phases need them side by side
    Step *steps
    Slot *slots
    Py_ssize_t *taps                # the memory of the slots' lists
    int count, slot_count
    bint gathers                    # whether any slot has a list
    Py_ssize_t itemsize             # of the output, the bias and what is packed
    Py_ssize_t x_itemsize, w_itemsize
    Py_ssize_t G, C, O, K           # of the whole; K taps of its weights
    Py_ssize_t c_step, o_step       # from one channel of its weights to the next
    size_t block_bytes, kept_bytes, scratch_bytes   # what prepare() needs: for one call; to be kept; and besides
    double work                     # multiply-adds
    PyObject *dtype                 # its name, borrowed


cdef struct ConvCall:
    void *x
    void *w                         # as they lie; NULL: all are in the block
    void *bias                      # or NULL
    void *y
    Py_ssize_t xn, xc
    Py_ssize_t xs[3]
    Py_ssize_t yn, yc
    Py_ssize_t ys[3]
    char *block                     # of prepared weights
    char *workspace                 # both on a cache line
    int threads                     # at most
    Watch *signals                  # NULL: they are not looked at


cdef Status prepare(ConvCode *code, ConvCall *call, bint keep) noexcept nogil
cdef int conv_threads(ConvCode *code, int allowed) noexcept nogil
cdef size_t workspace_bytes(ConvCode *code, int threads) noexcept nogil
cdef Status run(ConvCode *code, ConvCall *call) noexcept nogil


cdef class ConvProgram(Program):
    cdef ConvCode code
    cdef Form x_form
    cdef readonly object weight_shape
    cdef object slot_keys

    cdef int fill_step(self, int i, step) except -1
    cdef int fill_slots(self) except -1
    cdef int list_taps(self) except -1
    cdef int compute(self, Operand *all, Workspace prepared, int allowed) except -1
    cdef object call(self, x, weight, Workspace prepared, bias, out)
    cpdef Workspace prepare(self, weight)
