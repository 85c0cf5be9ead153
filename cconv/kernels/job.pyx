"""The enums of job.pxd as Python's, and what plans have to know of a table."""
from cpython.pycapsule cimport PyCapsule_GetPointer

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()


def sizes(capsule):
    """Elements of a vector, and rows of the register tile."""
    cdef KernelTable *table = <KernelTable *>PyCapsule_GetPointer(capsule, "cconv.kernel")
    return table.lanes, table.tile_rows
