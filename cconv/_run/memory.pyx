# cython: language_level=3, cdivision=True
"""Memory of calls: workspaces, which are reused, and outputs, whose blocks are kept when their arrays die."""
import numpy as np

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdlib cimport free, malloc
from libc.string cimport memmove

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()

ndarray = np.ndarray
empty = np.empty
# What calls share is touched under the GIL, and without one (free-threaded Python) in this critical section;
# on builds with the GIL it compiles to nothing.
cdef object guard = object()

# ---------------------------------------------------------------- workspaces


cdef class Workspace:
    """Reused between calls: a fresh block would pay its page faults every time. Touched only under the GIL.

    `data` is `base` on the next cache line."""

    def __dealloc__(self):
        free(self.base)


# slots rather than append: giving back, which a failing call does too, must not ask for memory
cdef list idle = [None] * 4
cdef int idle_count = 0


cdef int grow(Workspace space, size_t size) except -1:
    """Gives it `size` bytes, which are not initialised."""
    free(space.base)
    space.size = 0
    space.base = malloc(size + 64)
    if space.base == NULL:
        drop_kept()
        space.base = malloc(size + 64)
    if space.base == NULL:
        raise MemoryError(f"cconv: no memory for a workspace of {size} bytes")
    space.data = <char *>space.base + (64 - <size_t>space.base % 64)
    space.size = size
    return 0


cdef Workspace new_workspace(size_t size):
    """One of the caller's own, not to be given back: for weights that are prepared once."""
    cdef Workspace space = Workspace.__new__(Workspace)
    grow(space, size)
    return space


cdef Workspace take_workspace(size_t size):
    global idle_count
    cdef Workspace space = None
    with cython.critical_section(guard):
        if idle_count:
            idle_count -= 1
            space = <Workspace>idle[idle_count]
            idle[idle_count] = None
    if space is None:
        space = Workspace.__new__(Workspace)
    if space.size < size or space.base == NULL:
        grow(space, size)
    return space


cdef void give_workspace(Workspace space) noexcept:
    global idle_count
    # bounded: at most four blocks stay, of at most 64 MiB each
    with cython.critical_section(guard):
        if idle_count < 4 and space.size <= 64 << 20:
            idle[idle_count] = space
            idle_count += 1


# ---------------------------------------------------------------- outputs

cdef extern from *:
    """
    #if defined(__linux__)
    #include <stdlib.h>
    #include <sys/mman.h>
    /* As NumPy does: large blocks ask for huge pages, which cost fewer faults and fewer misses of the TLB. */
    static void *cconv_block(size_t size) {
        void *p = NULL;
        if (size < (4u << 20)) return malloc(size);
        if (posix_memalign(&p, 2u << 20, size)) return NULL;
    #ifdef MADV_HUGEPAGE
        madvise(p, size, MADV_HUGEPAGE);
    #endif
        return p;
    }
    #else
    static void *cconv_block(size_t size) { return malloc(size); }
    #endif
    """
    void *cconv_block(size_t size) nogil


cdef class Block:
    """Memory of a large output, kept when its array dies: a fresh block would pay its page faults again."""
    cdef void *data
    cdef size_t size

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.size, 0, flags)

    def __dealloc__(self):
        give_block(self.data, self.size)


# at most 8 blocks are kept, of at most BLOCKS_MOST bytes in all
cdef size_t BLOCK_LEAST = 1 << 20
cdef size_t BLOCKS_MOST = 256 << 20
cdef struct KeptBlock:
    void *data
    size_t size
cdef KeptBlock kept[8]
cdef int kept_count = 0
cdef size_t kept_bytes = 0


cdef void give_block(void *data, size_t size) noexcept:
    global kept_count, kept_bytes
    if data == NULL:
        return
    if size > BLOCKS_MOST // 2:
        free(data)
        return
    with cython.critical_section(guard):
        while kept_count and (kept_count == 8 or kept_bytes + size > BLOCKS_MOST):
            # the oldest goes
            free(kept[0].data)
            kept_bytes -= kept[0].size
            kept_count -= 1
            memmove(&kept[0], &kept[1], kept_count * sizeof(KeptBlock))
        kept[kept_count].data = data
        kept[kept_count].size = size
        kept_count += 1
        kept_bytes += size


cdef void *take_block(size_t size) noexcept:
    """Memory of a dead output of the same size, or NULL."""
    global kept_count, kept_bytes
    cdef void *data = NULL
    cdef int i
    with cython.critical_section(guard):
        for i in range(kept_count - 1, -1, -1):
            if kept[i].size == size:
                data = kept[i].data
                kept_count -= 1
                kept_bytes -= size
                memmove(&kept[i], &kept[i + 1], (kept_count - i) * sizeof(KeptBlock))
                break
    return data


cpdef void drop_kept() noexcept:
    """Gives up all memory that is kept for later, where there is none left for now."""
    global kept_count, kept_bytes, idle_count
    cdef int i
    with cython.critical_section(guard):
        for i in range(kept_count):
            free(kept[i].data)
        kept_count = 0
        kept_bytes = 0
        while idle_count:
            idle_count -= 1
            idle[idle_count] = None


cdef new_output(shape, dtype, size_t size):
    """np.empty, with large memory taken from dead outputs of the same size."""
    cdef Block block
    if size > BLOCKS_MOST // 2:
        try:
            return empty(shape, dtype)
        except MemoryError:
            drop_kept()
    if size < BLOCK_LEAST or size > BLOCKS_MOST // 2:
        return empty(shape, dtype)
    block = Block.__new__(Block)
    block.data = take_block(size)
    if block.data == NULL:
        block.data = cconv_block(size)
    if block.data == NULL:
        drop_kept()
        block.data = cconv_block(size)
    if block.data == NULL:
        raise MemoryError(f"cconv: no memory for an output of {size} bytes")
    block.size = size
    return ndarray(shape, dtype, block)


cdef size_t array_bytes(shape, dtype):
    cdef size_t size = dtype.itemsize
    for n in shape:
        size *= <size_t>n
    return size


def fresh(shape, dtype):
    """np.empty, from the memory of dead outputs where it is large."""
    return new_output(shape, dtype, array_bytes(shape, dtype))


cdef copied(array):
    """A contiguous copy, whose elements lie at multiples of their size: not every processor reads others."""
    return np.array(array, order="C")


cdef delivered(y, out):
    """What a call returns that was computed into `y`."""
    if out is None or y is out:
        return y
    np.copyto(out, y)
    return out
