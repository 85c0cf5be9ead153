"""What a caller of cconv's functions may hand in, in one form: arrays as ndarrays, one value for every spatial axis."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ..functional import Array

Two = tuple[int, int]


def numbers(name: str, parameter: str, value: Any) -> Array:
    """An ndarray of whatever the functions take."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: {parameter} is a masked array; fill it first, masks would be lost"
        )
    try:
        a = ndarray(value)
    except MemoryError:
        raise
    except Exception as error:
        given = type(value).__name__
        raise TypeError(
            f"{name}: {parameter} must be an array of numbers, got {given} ({error})"
        ) from None
    if not is_bfloat16(a.dtype) and (a.dtype.kind not in "biufc" or a.dtype.char in "gG"):
        expected = "real or complex numbers of at most 8 bytes a part"
        raise TypeError(f"{name}: {parameter} must hold {expected}, got dtype {a.dtype}")
    return a


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """ml_dtypes.bfloat16, whether that package is loaded or not."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def ndarray(value: Any) -> Array:
    """The same of what a function has taken."""
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        value = np.from_dlpack(value)
    return np.asarray(value)


def stand_in(shape: Sequence[int], dtype: DTypeLike) -> Array:
    """An array without memory: for `cconv.explain`, which looks at shapes and dtypes alone."""
    return np.broadcast_to(np.zeros((), dtype), shape)


# The values below have been accepted by a function.


def is_sequence(value: Any) -> bool:
    return isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim > 0)


def per_axis(value: Any, rank: int) -> tuple[Any, ...]:
    """An int, a sequence of one or of `rank`, as a tuple of `rank`."""
    if not is_sequence(value):
        return (value,) * rank
    return tuple(value) * rank if len(value) == 1 else tuple(value)


def integers(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(index(v) for v in per_axis(value, rank))


def pairs(padding: Any, rank: int) -> tuple[Two, ...]:
    """Padding before and after, an axis."""
    parts = (integers(part, 2) for part in per_axis(padding, rank))
    return tuple((before, after) for before, after in parts)


def rank_of(*values: Any) -> int:
    """Spatial axes of unfold and fold: the length of the first longer sequence; ints alone mean 2-D."""
    for value in values:
        if is_sequence(value) and len(value) > 1:
            return len(value)
    return 1 if is_sequence(values[0]) else 2
