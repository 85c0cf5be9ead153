# What moves and sums of data share: rows, the walk through arrays of any strides, and items on the threads.

from libc.stdint cimport int64_t

from cconv.kernels.job cimport Watch, item_run

cdef extern from "elementwise.h" nogil:
    ctypedef void (*cconv_row)(char *to, Py_ssize_t to_step, const char *from_, Py_ssize_t step, Py_ssize_t n,
                               double with_) noexcept
    ctypedef void (*cconv_place)(char *to, const char *from_, const int64_t *at, Py_ssize_t n,
                                 Py_ssize_t plane) noexcept
    void fill_zeros "cconv_zero"(char *to, size_t n) noexcept
    cconv_row copy_of(Py_ssize_t size) noexcept
    cconv_row add_of(int kind, Py_ssize_t size) noexcept
    cconv_row cast_of(int from_, int to) noexcept
    cconv_row power_of(int which, Py_ssize_t size) noexcept
    cconv_place scatter_of(Py_ssize_t size) noexcept
    cconv_place gather_of(Py_ssize_t size) noexcept
    void raise_flag "cconv_raise_flag"(int *flag) noexcept
    bint in_plane "cconv_in_plane"(const int64_t *at, Py_ssize_t n, Py_ssize_t plane) noexcept


cdef struct Sweep:
    # items of one function, each of which may run on any thread
    item_run one
    void *job
    Py_ssize_t items
    double work                     # of all items, in elements of some ns
    Py_ssize_t workspace_bytes      # of one thread

cdef enum:
    EACH = 1 << 15                  # elements of one item: some 20 us

cdef int run_sweep(const Sweep *sweep, Watch *signals=*) except -1
cdef Py_ssize_t items_of(Py_ssize_t count) noexcept nogil
cpdef object move(to, x)
cpdef object cast(x, dtype)
