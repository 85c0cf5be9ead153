# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The per-call path: a call's key, what was found for it, and the check of `out`; nothing that could be remembered."""
import operator

import numpy as np

from cconv._check import arrays as checks

from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM

from cconv._run.conv cimport ConvProgram
from cconv._run.memory cimport Workspace
from cconv._run.runner cimport Runner

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()
ndarray = np.ndarray
cdef object boolean = np.bool_, floating = np.floating, to_index = operator.index, to_dtype = np.dtype

cdef enum Kind:                     # as in _operations.py, which says how each enters the key
    ARRAY
    OPTIONAL
    SIZES
    FLAG
    NUMBER
    NAME
    SHAPE
    OUT
    DTYPE

# ---------------------------------------------------------------- keys

cdef object NONE = object()         # what has no canonical form: it will be a TypeError


cdef bint is_canonical(value) noexcept:
    """Whether a parameter is canonical as it is: an int, None, a word, or a tuple of ints."""
    if type(value) is int or value is None or type(value) is str:
        return True
    if type(value) is tuple:
        for part in <tuple>value:
            if type(part) is not int:
                return False
        return True
    return False


cdef object canonical_sizes(value):
    """Ints, words and None as they are, what has an __index__ as an int, sequences and arrays as tuples of these."""
    cdef Py_ssize_t i, n
    if is_canonical(value):
        return value
    if isinstance(value, ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        parts = value if type(value) is tuple or type(value) is list else list(value)
        n = len(parts)
        result = PyTuple_New(n)
        for i in range(n):
            part = canonical_sizes(parts[i])
            if part is NONE:
                return NONE
            Py_INCREF(part)
            PyTuple_SET_ITEM(result, i, part)
        return result
    if type(value) is int:
        return value
    if isinstance(value, (bool, boolean)):
        return NONE
    try:
        return to_index(value)
    except TypeError:
        return NONE


cdef object dtype_key(value):
    """A dtype by whatever names it, or None."""
    if value is None:
        return None
    try:
        return to_dtype(value)
    except TypeError:
        return NONE


cdef object canonical(value, int kind):
    """What of a parameter a call's key holds: equal for what means the same."""
    if kind == FLAG:
        if type(value) is bool:
            return value
        return bool(value) if isinstance(value, (boolean, int)) else NONE
    if kind == NAME:
        return value if value is None or type(value) is str else NONE
    if kind == DTYPE:
        return dtype_key(value)
    if kind == NUMBER and type(value) is not int:
        return float(value) if isinstance(value, (float, floating)) else canonical_sizes(value)
    return canonical_sizes(value)


# ---------------------------------------------------------------- out

cdef bint distinct(a):
    """Whether an array's strides prove that each element has an address of its own; `_check` looks at the others."""
    cdef Py_ssize_t steps[5]
    cdef Py_ssize_t counts[5]
    cdef Py_ssize_t n, step, span = a.itemsize
    cdef int rank = 0, i
    if a.flags.c_contiguous:
        return True
    for n, step in zip(a.shape, a.strides):
        if n < 2:
            continue
        step = abs(step)
        i = rank
        while i and steps[i - 1] > step:
            steps[i] = steps[i - 1]
            counts[i] = counts[i - 1]
            i -= 1
        steps[i] = step
        counts[i] = n
        rank += 1
    for i in range(rank):
        if steps[i] < span:
            return False
        span += steps[i] * (counts[i] - 1)
    return True


cdef bint serves(out, Runner runner):
    """Whether `out` is in order, asked quickly; `_check` asks the others, and has the sentences."""
    return (type(out) is ndarray and out.dtype is runner.dtype and out.shape == runner.out_shape
            and len(runner.out_shape) <= 5 and out.flags.writeable and distinct(out))


# ---------------------------------------------------------------- calls

cdef dict runners = {}


cdef remember(dict known, key, found, int most):
    # bounded; emptied rather than aged, for the whole of a program rarely has more geometries
    if len(known) >= most:
        known.clear()
    known[key] = found


def forget():
    """Drops all runners, so that every call is resolved again: for tests."""
    runners.clear()


cdef class Operation:
    """A public function, all its arguments positional: finds the runner of a call, or has it resolved, and runs it."""
    cdef readonly object name
    cdef object opened, known, resolve
    cdef int count, arrays, out_at
    cdef int kinds[24]

    def __init__(self, name, opened):
        """`opened` is asked at the first call: it gives the signature, and what makes a call's runner of its arguments,
        which checks everything, but never looks at values."""
        self.name = name
        self.opened = opened

    @property
    def signature(self):
        if self.count == 0:
            self.open()
        return self.known

    cdef open(self):
        signature, resolve = self.opened()
        if not 0 < len(signature.parameters) <= 24:
            raise ValueError(f"{self.name}: {len(signature.parameters)} parameters")
        self.arrays = 0
        self.out_at = -1
        for i, (_, kind) in enumerate(signature.parameters):
            self.kinds[i] = kind
            self.arrays += kind in (ARRAY, OPTIONAL)
            if kind == OUT:
                self.out_at = i
        self.known, self.resolve = signature, resolve
        self.count = len(signature.parameters)

    cdef tuple given(self, tuple args):
        """The arguments, with what is no array as one."""
        cdef int i
        if self.count == 0:
            self.open()
        if len(args) != self.count:
            raise TypeError(f"{self.name}: {self.count} arguments expected, got {len(args)}")
        found = None
        for i in range(self.count):
            if self.kinds[i] > OPTIONAL or type(args[i]) is ndarray or (args[i] is None and self.kinds[i] == OPTIONAL):
                continue
            found = found or list(args)
            found[i] = checks.array(self.name, self.known.parameters[i][0], args[i])
        return args if found is None else tuple(found)

    cdef object key(self, tuple args):
        """The name, shapes and dtypes of arrays, and what parameters mean; None if one of them means nothing."""
        cdef int i, kind
        cdef Py_ssize_t at = 1
        cdef tuple key = PyTuple_New(1 + self.count + self.arrays - (self.out_at >= 0))
        Py_INCREF(self.name)
        PyTuple_SET_ITEM(key, 0, self.name)
        for i in range(self.count):
            kind = self.kinds[i]
            if kind == OUT:
                continue
            value = args[i]
            part = value
            if kind <= OPTIONAL and value is not None:
                part = value.shape
                dtype = value.dtype
                Py_INCREF(dtype)
                PyTuple_SET_ITEM(key, at + 1, dtype)
            elif kind <= OPTIONAL:
                Py_INCREF(None)
                PyTuple_SET_ITEM(key, at + 1, None)
            elif type(value) is not int or kind == FLAG:
                part = canonical(value, kind)
                if part is NONE:
                    return None
            Py_INCREF(part)
            PyTuple_SET_ITEM(key, at, part)
            at += 2 if kind <= OPTIONAL else 1
        return key

    cdef Runner find(self, tuple args):
        key = self.key(args)
        runner = None if key is None else runners.get(key)
        if runner is None:
            runner = self.resolve(args)
            if key is not None:
                remember(runners, key, runner, 4096)
        return runner

    def runner(self, *args):
        """What a call with these arguments would run."""
        return self.find(self.given(args))

    def __call__(self, *args):
        cdef tuple given = self.given(args)
        cdef Runner runner = self.find(given)
        cdef int i, at = 0
        cdef tuple arrays = PyTuple_New(self.arrays)
        for i in range(self.count):
            if self.kinds[i] <= OPTIONAL:
                value = given[i]
                Py_INCREF(value)
                PyTuple_SET_ITEM(arrays, at, value)
                at += 1
        out = given[self.out_at] if self.out_at >= 0 else None
        if out is not None and not serves(out, runner):
            checks.output(self.name, out, runner.dtype, runner.out_shape)
        return runner.go(arrays, out)


cdef class Kept:
    """The per-call path of prepacked weights: (shape, dtype) -> program, prepared weights and bias; else `slow`."""
    cdef dict ready, blocks
    cdef object slow

    def __init__(self, slow):
        self.slow = slow
        self.ready = {}
        self.blocks = {}

    def prepared(self, ConvProgram program not None, weight):
        """The weights as a program reads them, shared by all of its layout."""
        layout = program.layout()
        block = self.blocks.get(layout)
        if block is None:
            block = self.blocks[layout] = program.prepare(weight)
        return block

    def keep(self, x, ConvProgram program not None, Workspace prepared not None, bias):
        """Lets calls with inputs as `x` go straight to the program from now on."""
        remember(self.ready, (x.shape, x.dtype), (program, prepared, bias), 256)

    def __call__(self, x, out=None):
        cdef ConvProgram program
        if type(x) is ndarray:
            found = self.ready.get((x.shape, x.dtype))
            if found is not None:
                program = <ConvProgram>(<tuple>found)[0]
                if out is None or serves(out, program):
                    return program.call(x, None, <Workspace>(<tuple>found)[1], (<tuple>found)[2], out)
        return self.slow(x, out)
