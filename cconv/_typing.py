"""
The types that the public signatures are made of; only type checkers import this.

An overload with a TypeVar says "the result has the dtype of the arrays", where they share one: `Number` in convolutions
and maxima, `Real` in averages and gradients, `Scalar` where values only move. Every function ends with an overload for
whatever else NumPy makes an array of, whose result is ``NDArray[Any]``: promotion cannot be said in types.

`Untyped` makes `out` checkable there: of all arrays, only those whose dtype the checker cannot see (``NDArray[Any]``,
``NDArray[np.floating]``) pass for an ``NDArray[Untyped]``. So a float64 `out` for float32 arrays finds no overload.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Never, SupportsIndex, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Indices: TypeAlias = NDArray[np.int64]

Size: TypeAlias = SupportsIndex | Sequence[SupportsIndex] | NDArray[np.integer[Any]]
Sizes: TypeAlias = SupportsIndex | None | Sequence[SupportsIndex | None]
Pads: TypeAlias = (
    SupportsIndex
    | Sequence[SupportsIndex | Sequence[SupportsIndex] | NDArray[np.integer[Any]]]
    | NDArray[np.integer[Any]]
)
Padding: TypeAlias = Pads | Literal["same", "valid"]
PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
Algorithm: TypeAlias = Literal["auto", "direct", "winograd", "fft"]
TransposedAlgorithm: TypeAlias = Literal["auto", "direct", "winograd"]

# Values, not a bound: ndarray is covariant, float32 and float64 would agree on "some number".
Number = TypeVar(
    "Number",
    np.float16,
    np.float32,
    np.float64,
    np.complex64,
    np.complex128,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
)
Dtype: TypeAlias = type[Number] | np.dtype[Number]
Real = TypeVar("Real", np.float16, np.float32, np.float64)
Scalar = TypeVar("Scalar", bound=np.generic)
Whole: TypeAlias = np.integer[Any] | np.bool_  # their averages are float64
Untyped: TypeAlias = np.number[Never]
Listed: TypeAlias = Sequence[Any] | complex  # no array: its dtype is found at run time

Function = TypeVar("Function", bound=Callable[..., Any])
