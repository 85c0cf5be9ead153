# cython: boundscheck=False, wraparound=False
"""Convolution and pooling through cconv's cimport surface: raw pointers, no GIL."""
import numpy as np

from cconv cimport capi
from cython.parallel cimport prange
from libc.string cimport memset


cdef check(int status):
    if status != capi.STATUS_OK:
        raise ValueError(capi.status_text(status).decode())


def abi_version():
    return capi.abi_version(), capi.ABI_VERSION


def convolve(x, w, b, stride, padding, dilation, int groups, int mode, bint transposed, extra, bint pack, int threads):
    """cconv.conv*d or conv_transpose*d of contiguous arrays, with (before, after) pairs as padding."""
    cdef capi.conv_spec spec
    cdef void *plan
    cdef void *packed = NULL
    cdef int a, status, rank = x.ndim - 2
    memset(&spec, 0, sizeof(spec))
    spec.dtype = capi.FLOAT32 if x.dtype == np.float32 else capi.FLOAT64
    spec.rank, spec.transposed, spec.padding_mode = rank, transposed, mode
    spec.batch, spec.in_channels, spec.groups = x.shape[0], x.shape[1], groups
    spec.out_channels = w.shape[1] * groups if transposed else w.shape[0]
    for a in range(rank):
        spec.input[a], spec.kernel[a], spec.stride[a] = x.shape[2 + a], w.shape[2 + a], stride[a]
        spec.before[a], spec.after[a], spec.dilation[a] = padding[a][0], padding[a][1], dilation[a]
        spec.output_padding[a] = extra[a]
    check(capi.conv_init(&spec, &plan))
    y = np.empty((x.shape[0], spec.out_channels, *[spec.output[a] for a in range(rank)]), x.dtype)
    cdef size_t xp = x.ctypes.data, wp = w.ctypes.data, yp = y.ctypes.data
    cdef size_t bp = 0 if b is None else b.ctypes.data
    with nogil:
        if pack:
            status = capi.conv_pack(plan, <void *>wp, &packed)
            if status == 0:
                status = capi.conv_run_packed(plan, <void *>xp, packed, <void *>bp, <void *>yp, threads)
            capi.conv_free_packed(packed)
        else:
            status = capi.conv_run(plan, <void *>xp, <void *>wp, <void *>bp, <void *>yp, threads)
        capi.conv_free(plan)
    check(status)
    return y


def pool(x, int op, kernel, stride, padding, dilation, bint ceil_mode, bint include_pad, bint indices, int threads):
    """cconv.max_pool*d or avg_pool*d; with indices a pair."""
    cdef capi.pool_spec spec
    cdef void *plan
    cdef int a, status, rank = x.ndim - 2
    memset(&spec, 0, sizeof(spec))
    spec.dtype = capi.FLOAT32 if x.dtype == np.float32 else capi.FLOAT64
    spec.rank, spec.op, spec.ceil_mode, spec.count_include_pad = rank, op, ceil_mode, include_pad
    spec.indices, spec.batch, spec.channels = indices, x.shape[0], x.shape[1]
    for a in range(rank):
        spec.input[a], spec.kernel[a], spec.stride[a] = x.shape[2 + a], kernel[a], stride[a]
        spec.before[a], spec.after[a], spec.dilation[a] = padding[a][0], padding[a][1], dilation[a]
    check(capi.pool_init(&spec, &plan))
    y = np.empty((*x.shape[:2], *[spec.output[a] for a in range(rank)]), x.dtype)
    index = np.empty(y.shape if indices else 0, np.int64)
    cdef size_t xp = x.ctypes.data, yp = y.ctypes.data, ip = index.ctypes.data
    with nogil:
        status = capi.pool_run(plan, <void *>xp, <void *>yp, <long long *>ip if indices else NULL, threads)
        capi.pool_free(plan)
    check(status)
    return (y, index) if indices else y


def special_pool(x, size, kernel, stride, double norm, bint ceil_mode, bint indices, int threads):
    """cconv.adaptive_max_pool*d (norm -1), adaptive_avg_pool*d (norm 0) to `size`, or lp_pool*d."""
    cdef capi.pool_spec spec
    cdef void *plan
    cdef int a, status, rank = x.ndim - 2
    memset(&spec, 0, sizeof(spec))
    spec.dtype = capi.FLOAT32 if x.dtype == np.float32 else capi.FLOAT64
    spec.rank, spec.batch, spec.channels, spec.indices = rank, x.shape[0], x.shape[1], indices
    spec.op = capi.POOL_MAX if norm < 0 else capi.POOL_AVERAGE
    spec.ceil_mode = ceil_mode
    for a in range(rank):
        spec.input[a], spec.dilation[a] = x.shape[2 + a], 1
        if norm > 0:
            spec.kernel[a], spec.stride[a] = kernel[a], stride[a]
        else:
            spec.output[a] = size[a]
    check(capi.lp_pool_init(&spec, norm, &plan) if norm > 0 else capi.adaptive_pool_init(&spec, &plan))
    y = np.empty((*x.shape[:2], *[spec.output[a] for a in range(rank)]), x.dtype)
    index = np.empty(y.shape if indices else 0, np.int64)
    cdef size_t xp = x.ctypes.data, yp = y.ctypes.data, ip = index.ctypes.data
    with nogil:
        status = capi.pool_run(plan, <void *>xp, <void *>yp, <long long *>ip if indices else NULL, threads)
        capi.pool_free(plan)
    check(status)
    return (y, index) if indices else y


def in_parallel(const float[:, :, :, ::1] images, const float[:, :, :, ::1] w, int threads):
    """One plan of a single image, run on all of them from as many threads at once; then pooled by 2."""
    cdef capi.conv_spec spec
    cdef capi.pool_spec window
    cdef void *plan
    cdef void *pooling
    cdef Py_ssize_t i, n = images.shape[0]
    cdef int a, failed = 0
    memset(&spec, 0, sizeof(spec))
    memset(&window, 0, sizeof(window))
    spec.rank = window.rank = 2
    spec.batch = window.batch = spec.groups = 1
    spec.in_channels, spec.out_channels, window.channels = images.shape[1], w.shape[0], w.shape[0]
    window.op = capi.POOL_MAX
    for a in range(2):
        spec.input[a], spec.kernel[a] = images.shape[2 + a], w.shape[2 + a]
        spec.stride[a] = spec.dilation[a] = window.dilation[a] = 1
        window.kernel[a] = window.stride[a] = 2
    check(capi.conv_init(&spec, &plan))
    for a in range(2):
        window.input[a] = spec.output[a]
    check(capi.pool_init(&window, &pooling))
    cdef float[:, :, :, ::1] y = np.empty((n, w.shape[0], spec.output[0], spec.output[1]), np.float32)
    cdef float[:, :, :, ::1] z = np.empty((n, w.shape[0], window.output[0], window.output[1]), np.float32)
    for i in prange(n, nogil=True, num_threads=threads, schedule="dynamic"):
        failed |= capi.conv_run(plan, &images[i, 0, 0, 0], &w[0, 0, 0, 0], NULL, &y[i, 0, 0, 0], 1)
        failed |= capi.pool_run(pooling, &y[i, 0, 0, 0], &z[i, 0, 0, 0], NULL, 1)
    capi.conv_free(plan)
    capi.pool_free(pooling)
    check(failed)
    return np.asarray(y), np.asarray(z)


def null_pointers():
    """The status of every function for what must not be NULL."""
    cdef void *plan
    cdef capi.conv_spec spec
    return [
        capi.conv_init(NULL, &plan), capi.conv_init(&spec, NULL), capi.conv_run(NULL, NULL, NULL, NULL, NULL, 1),
        capi.conv_pack(NULL, NULL, NULL), capi.conv_run_packed(NULL, NULL, NULL, NULL, NULL, 1),
        capi.pool_init(NULL, &plan), capi.adaptive_pool_init(NULL, &plan), capi.lp_pool_init(NULL, 2, &plan), capi.pool_run(NULL, NULL, NULL, NULL, 1),
    ]
