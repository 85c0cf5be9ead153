# The arrays of a call, as kernels see them: pointers and strides in elements. One holder of buffers, one release.

from cpython.buffer cimport (PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release,
                             PyObject_GetBuffer)

from cconv._run.memory cimport copied


cdef struct Form:
    # how the arrays of a program lie
    Py_ssize_t itemsize
    int rank
    bint batched
    bint merges                     # axes of space are walked as others, as `axes` says
    int axes[3]                     # which each of D, H, W is part of: 0, 1, 2, or 3 for the channels


cdef struct Operand:
    Py_buffer view                  # of what is held; else its pointer is NULL
    bint held
    Py_ssize_t n, c                 # strides of the batch, the channels and (D, H, W), in elements
    Py_ssize_t s[3]


cdef inline void hold_none(Operand *all, int count) noexcept:
    """Before anything else is done with them."""
    cdef int i
    for i in range(count):
        all[i].held = False
        all[i].view.buf = NULL


cdef inline void release(Operand *o) noexcept:
    if o.held:
        o.held = False
        PyBuffer_Release(&o.view)


cdef inline int hold(Operand *o, array, int flags) except -1:
    PyObject_GetBuffer(array, &o.view, flags)
    o.held = True
    return 0


cdef inline bint merge_axes(Operand *o, const Form *form) noexcept:
    """Strides of merged axes, where those that are one can be walked with a single stride; else False."""
    cdef int i, a, lead = 1 + form.batched
    cdef Py_ssize_t length[4]
    cdef Py_ssize_t step[4]
    cdef Py_buffer *view = &o.view
    for a in range(4):
        length[a], step[a] = 1, 0
    for i in range(lead + form.rank - 1, lead - 1, -1):
        a = form.axes[3 - form.rank + i - lead]
        if view.shape[i] == 1:
            continue
        if length[a] == 1:
            step[a] = view.strides[i]
        elif view.strides[i] != step[a] * length[a]:
            return False
        length[a] *= view.shape[i]
    for a in range(3):
        o.s[a] = step[a] // view.itemsize
    if length[3] > 1:
        if view.shape[lead - 1] > 1 and view.strides[lead - 1] != step[3] * length[3]:
            return False
        o.c = step[3] // view.itemsize
    return True


cdef inline bint locate(Operand *o, const Form *form) noexcept:
    """Finds the strides of (N, C, D, H, W); False if they are no whole elements, or the data is misaligned."""
    cdef int i, lead = 1 + form.batched
    cdef Py_ssize_t itemsize = form.itemsize
    cdef Py_buffer *view = &o.view
    if <size_t>view.buf % <size_t>itemsize:
        return False
    for i in range(view.ndim):
        if view.strides[i] % itemsize:
            return False
    o.n = view.strides[0] // itemsize if form.batched else 0
    o.c = view.strides[lead - 1] // itemsize
    o.s[0] = o.s[1] = o.s[2] = 0
    for i in range(form.rank):
        o.s[3 - form.rank + i] = view.strides[lead + i] // itemsize
    return not form.merges or merge_axes(o, form)


cdef inline int take_input(Operand *o, array, const Form *form) except -1:
    """An array that is read, or a copy of it where its elements cannot be addressed (which `o` keeps alive)."""
    hold(o, array, PyBUF_STRIDES)
    if not locate(o, form):
        release(o)
        hold(o, copied(array), PyBUF_STRIDES)
        locate(o, form)
    return 0


cdef inline bint take_output(Operand *o, array, const Form *form) except -1:
    """An array that is written; False, and nothing held, where its elements cannot be addressed."""
    hold(o, array, PyBUF_STRIDES | PyBUF_WRITABLE)
    if locate(o, form):
        return True
    release(o)
    return False


cdef inline bint dense(Operand *o, Py_ssize_t itemsize) noexcept:
    return PyBuffer_IsContiguous(&o.view, b"C") and <size_t>o.view.buf % <size_t>itemsize == 0


cdef inline int take_dense(Operand *o, array, Py_ssize_t itemsize) except -1:
    """An array that is read from its first element to its last, or a copy that can be."""
    hold(o, array, PyBUF_STRIDES)
    if not dense(o, itemsize):
        release(o)
        hold(o, copied(array), PyBUF_STRIDES)
    return 0


cdef inline bint take_dense_output(Operand *o, array, Py_ssize_t itemsize) except -1:
    """As take_output, of an array that is written from its first element to its last."""
    hold(o, array, PyBUF_STRIDES | PyBUF_WRITABLE)
    if dense(o, itemsize):
        return True
    release(o)
    return False


cdef inline bint overlap(Operand *first, Operand *second) noexcept:
    """Whether the spans of two arrays meet (their elements may not)."""
    cdef Py_buffer *a = &first.view
    cdef Py_buffer *b = &second.view
    cdef char *a0 = <char *>a.buf
    cdef char *a1 = a0 + a.itemsize
    cdef char *b0 = <char *>b.buf
    cdef char *b1 = b0 + b.itemsize
    cdef int i
    if not (first.held and second.held):
        return False
    for i in range(a.ndim):
        if a.strides[i] < 0: a0 += (a.shape[i] - 1) * a.strides[i]
        else: a1 += (a.shape[i] - 1) * a.strides[i]
    for i in range(b.ndim):
        if b.strides[i] < 0: b0 += (b.shape[i] - 1) * b.strides[i]
        else: b1 += (b.shape[i] - 1) * b.strides[i]
    return a0 < b1 and b0 < a1
