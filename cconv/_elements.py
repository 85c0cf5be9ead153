"""The elements: one row a dtype that users may give, with the dtypes that it is computed and returned in.

The kernels compute in float32, float64, int32 and int64. Halves (float16, bfloat16) are computed in float32; integers
wrap as NumPy's do, so those of up to 32 bits are computed in int32; a complex convolution is a real one with the real
and imaginary parts as channels.

bfloat16 is ``ml_dtypes.bfloat16``, known by its name: that package is never imported here, the dtype itself comes with
the arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


class Element(NamedTuple):
    """One dtype. Every column but `halves` is a dtype's name; an empty one: such arrays are refused."""

    name: str
    kind: str  # "b", "i", "u", "f" or "c"; bfloat16 is an "f" although NumPy calls it "V"
    result: str  # of convolutions, maxima and moves of data
    conv: str  # what convolutions are computed in; complex: its parts
    maximum: str  # what maxima are computed in; uint64 is shifted into int64
    mean: str  # the result of averages and lp pools, which are computed in:
    average: str
    wide_average: str  # if windows are so large that float32 would lose digits
    gradient: str  # what gradients are computed in
    fold: str  # what the blocks of `fold` are added up in
    halves: str = ""  # the kernel functions that widen and narrow it: load_<halves>, store_<halves>


F32, F64, I32, I64 = "float32", "float64", "int32", "int64"

ROWS = (
    #        name        kind  result      conv maximum mean     average wide gradient fold
    Element("bool", "b", "uint8", "", I32, F64, F64, F64, "", "bool"),
    Element("int8", "i", "int8", I32, I32, F64, F64, F64, "", "int8"),
    Element("int16", "i", "int16", I32, I32, F64, F64, F64, "", "int16"),
    Element("int32", "i", "int32", I32, I32, F64, F64, F64, "", "int32"),
    Element("int64", "i", "int64", I64, I64, F64, F64, F64, "", "int64"),
    Element("uint8", "u", "uint8", I32, I32, F64, F64, F64, "", "uint8"),
    Element("uint16", "u", "uint16", I32, I32, F64, F64, F64, "", "uint16"),
    Element("uint32", "u", "uint32", I32, I64, F64, F64, F64, "", "uint32"),
    Element("uint64", "u", "uint64", I64, I64, F64, F64, F64, "", "uint64"),
    Element("float16", "f", "float16", F32, F32, "float16", F32, F64, F32, F32, "half"),
    Element("bfloat16", "f", "bfloat16", F32, F32, "bfloat16", F32, F64, F32, F32, "bfloat16"),
    Element("float32", "f", "float32", F32, F32, "float32", F32, F64, F32, F32),
    Element("float64", "f", "float64", F64, F64, "float64", F64, F64, F64, F64),
    Element("complex64", "c", "complex64", F32, "", "", "", "", "", "complex64"),
    Element("complex128", "c", "complex128", F64, "", "", "", "", "", "complex128"),
)
BY_NAME = {row.name: row for row in ROWS}


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    # by its name, and a structured or raw dtype has another one ("void16")
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.name == "bfloat16"


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this dtype, in whatever byte order, have a row here."""
    return (dtype.kind in "biufc" and dtype.char not in "gG") or is_bfloat16(dtype)


def element(dtype: np.dtype[Any]) -> Element:
    """The row of a dtype, in whatever byte order."""
    return BY_NAME[dtype.name]


def named(name: str, like: np.dtype[Any]) -> np.dtype[Any]:
    """The native dtype of this name; `like` is one whose row the name stands in, for only it may be bfloat16."""
    return like.newbyteorder("=") if name == like.name else np.dtype(name)


def result_type(*arrays: NDArray[Any]) -> np.dtype[Any]:
    """NumPy's, native; and both kinds of halves together make float32, as in torch, where ml_dtypes has no answer."""
    given = [a.dtype for a in arrays]
    if any(map(is_bfloat16, given)) and any(dtype.char == "e" for dtype in given):
        return np.result_type(np.float32, *(d for d in given if d.char != "e"))
    return np.result_type(*arrays)


def same_kind(given: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Whether values of one dtype may be converted to another with a loss of digits only."""
    # ml_dtypes lets complex numbers become bfloat16, and bfloat16 no float16
    given, wanted = (np.dtype(np.float16) if is_bfloat16(d) else d for d in (given, wanted))
    return np.can_cast(given, wanted, "same_kind")
