# cconv for other Cython packages: `from cconv cimport capi`. Raw pointers, no GIL, no Python objects.
#
#     cdef capi.conv_spec spec                  # all zero but for what is set
#     cdef void *plan
#     status = capi.conv_init(&spec, &plan)     # checks, plans; fills spec.output
#     status = capi.conv_run(plan, x, w, bias, y, 1)
#     capi.conv_free(plan)
#
# Arrays are C-contiguous, (batch, channels, *space), of the spec's dtype; bias may be NULL. A plan may be run from many
# threads at once, with other arrays. The results are the bits of the Python functions with algorithm "auto" (but never
# through the FFT), and of `prepack` for packed weights. Indices are torch's: of a plane.
# `threads` is how many a call may use, 0 for cconv.get_num_threads() at the time of the init; in a prange, 1.
# ABI rule: functions may be added to this file; structs, numbers and signatures never change within a version that
# abi_version() returns. C and C++ have the same in include/cconv.h (cconv.get_include()).
# Nothing here looks for Ctrl-C, which needs the GIL, unless the thread has set a callback that does: see set_look.

cdef enum:
    ABI_VERSION = 1
    FLOAT32 = 0
    FLOAT64 = 1
    PAD_ZEROS = 0
    PAD_REFLECT = 1
    PAD_REPLICATE = 2
    PAD_CIRCULAR = 3
    POOL_MAX = 0
    POOL_AVERAGE = 2
    STATUS_OK = 0
    STATUS_BAD_SPEC = 1
    STATUS_NO_MEMORY = 2
    STATUS_NULL = 3
    STATUS_UNEXPECTED = 4
    STATUS_STOPPED = 5              # by a look callback; the output is unfinished

cdef struct conv_spec:
    int dtype
    int rank                        # spatial axes, 1 to 3; arrays below have one value for each, in the first places
    int transposed
    int padding_mode
    Py_ssize_t batch, in_channels, out_channels, groups
    Py_ssize_t input[3]
    Py_ssize_t kernel[3]
    Py_ssize_t stride[3]
    Py_ssize_t before[3]            # padding
    Py_ssize_t after[3]
    Py_ssize_t dilation[3]
    Py_ssize_t output_padding[3]    # transposed only
    Py_ssize_t output[3]            # set by conv_init

cdef struct pool_spec:
    int dtype
    int rank
    int op
    int ceil_mode
    int count_include_pad
    int indices                     # maxima: whether pool_run is given a place for them
    Py_ssize_t batch, channels
    Py_ssize_t input[3]
    Py_ssize_t kernel[3]
    Py_ssize_t stride[3]
    Py_ssize_t before[3]
    Py_ssize_t after[3]
    Py_ssize_t dilation[3]
    Py_ssize_t divisor_override     # 0: none
    Py_ssize_t output[3]            # set by pool_init

cdef int abi_version() noexcept nogil
cdef const char *status_text(int status) noexcept nogil

cdef int conv_init(conv_spec *spec, void **plan) noexcept nogil
cdef int conv_run(void *plan, const void *x, const void *weight, const void *bias, void *y, int threads) noexcept nogil
cdef int conv_pack(void *plan, const void *weight, void **packed) noexcept nogil
cdef int conv_run_packed(void *plan, const void *x, const void *packed, const void *bias, void *y,
                         int threads) noexcept nogil
cdef void conv_free_packed(void *packed) noexcept nogil
cdef void conv_free(void *plan) noexcept nogil

cdef int pool_init(pool_spec *spec, void **plan) noexcept nogil
cdef int pool_run(void *plan, const void *x, void *y, long long *indices, int threads) noexcept nogil
cdef void pool_free(void *plan) noexcept nogil
# The plans of these are run and freed as the others. Adaptive: spec.output is given, and of the geometry only input is
# read. Lp: ceil_mode is, op and the rest of the modes are not; the plan's norm is norm_type, at most inf. Where it is
# neither 1, 2 nor inf the powers are C's: within the accuracy of pow of the Python functions, which use NumPy's.
cdef int adaptive_pool_init(pool_spec *spec, void **plan) noexcept nogil
cdef int lp_pool_init(pool_spec *spec, double norm_type, void **plan) noexcept nogil

# What runs from the calling thread ask about every 0.1 s, on that thread and without the GIL: not 0 ends the run with
# STATUS_STOPPED. It may take the GIL (PyErr_CheckSignals) and make calls of its own. NULL, as in the beginning:
# nothing is asked.
ctypedef int (*look_function)(void *context) noexcept nogil

cdef void set_look(look_function look, void *context) noexcept nogil
