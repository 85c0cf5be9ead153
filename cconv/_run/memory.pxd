cdef class Workspace:
    cdef void *base
    cdef char *data
    cdef size_t size

cdef Workspace new_workspace(size_t size)
cdef Workspace take_workspace(size_t size)
cdef void give_workspace(Workspace space) noexcept
cpdef void drop_kept() noexcept
cdef new_output(shape, dtype, size_t size)
cdef size_t array_bytes(shape, dtype)
cdef copied(array)
cdef delivered(y, out)
