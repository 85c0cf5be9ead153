# cython: language_level=3, cdivision=True
"""Convolutions of bytes in sums of 32 bits: a ConvProgram whose input and weights are of dtypes of their own."""
from cconv._run.conv cimport ConvProgram
from cconv._run.memory cimport Workspace
from cconv._run.runner cimport fields

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()


cdef class UnitProgram(ConvProgram):
    """The arrays of go() are (x, weight, bias or None): bytes as `units` says, and a bias of any integers."""
    cdef object units

    def __init__(self, strategy, int rank, bint batched, out_shape, weight_shape):
        cdef int i
        super().__init__(strategy.inner, rank, batched, out_shape, weight_shape)
        self.units = units = strategy.units
        self.x_form.itemsize = self.code.x_itemsize = self.code.w_itemsize = 1
        for i in range(self.code.count):
            self.code.jobs[i].units = fields(units, self.code.jobs[i].units)
            self.code.steps[i].table.lay_out(&self.code.jobs[i])

    def layout(self):
        return *ConvProgram.layout(self), self.units

    cdef object call(self, x, weight, Workspace prepared, bias, out):
        if bias is not None:
            bias = bias.astype(self.dtype, copy=False)
        return ConvProgram.call(self, x, weight, prepared, bias, out)
