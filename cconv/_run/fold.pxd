# cython: cdivision=True
# Arrays of pools on the axes of their kernel, of which there may be fewer: strides are folded as axes were.


cdef struct Folding:
    int to[4]                       # where the channels and D, H, W go, or -1: to the channels
    Py_ssize_t channels
    Py_ssize_t size[3]              # of the axes that are folded
    Py_ssize_t out[3]


cdef inline bint fold_strides(const Folding *f, const Py_ssize_t *size, Py_ssize_t *c, Py_ssize_t *s) noexcept nogil:
    """Strides of the channels and D, H, W; False, and nothing changed, where axes that become one do not follow each
    other."""
    cdef Py_ssize_t found[3]
    cdef Py_ssize_t channel = c[0]
    cdef bint set_[3]
    cdef bint several = f.channels > 1
    cdef int a, to
    found[0], found[1], found[2] = 0, 0, 1
    set_[0], set_[1], set_[2] = False, False, False
    for a in range(3):
        to = f.to[1 + a]
        if size[a] == 1:
            continue
        if to < 0:
            if several and channel != s[a] * size[a]:
                return False
            channel = s[a]
            several = True
        else:
            if set_[to] and found[to] != s[a] * size[a]:
                return False
            found[to] = s[a]
            set_[to] = True
    if f.to[0] >= 0:
        found[f.to[0]] = channel
        channel = 0
    c[0] = channel
    for a in range(3):
        s[a] = found[a]
    return True
