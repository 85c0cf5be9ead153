"""Arrays: what is an array of numbers, which dtype and shape it must have, and what `out` must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import _elements
from .params import Ints, describe, integer, is_sequence
from .shapes import elements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray


def array(name: str, parameter: str, value: Any) -> NDArray[Any]:
    """The argument as an ndarray of numbers; anything that NumPy cannot make one of is a TypeError."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: {parameter} is a masked array; fill it first, masks would be lost"
        )
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            value = np.from_dlpack(value)
        a = np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        raise TypeError(
            f"{name}: {parameter} must be an array of numbers, got {describe(value)} ({error})"
        ) from None
    if not _elements.is_number(a.dtype):
        expected = "real or complex numbers of at most 8 bytes a part"
        raise TypeError(f"{name}: {parameter} must hold {expected}, got dtype {a.dtype}")
    return a


def common_dtype(name: str, **arrays: NDArray[Any] | None) -> np.dtype[Any]:
    """The dtype of a result of these arrays; None where an optional one is missing."""
    given = {p: a for p, a in arrays.items() if a is not None}
    try:
        return _elements.result_type(*given.values())
    except TypeError:  # bfloat16 beside integers of 16 bits and more
        listed = ", ".join(f"{p} {a.dtype}" for p, a in given.items())
        raise TypeError(f"{name}: arrays must have a common dtype, got {listed}") from None


def wider_dtype(name: str, wanted: Any, common: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a result, where it was asked for: one that holds every number of the arrays' common dtype."""
    if wanted is None:
        return common
    try:
        dtype: np.dtype[Any] = np.dtype(wanted).newbyteorder("=")
    except TypeError:
        raise TypeError(f"{name}: dtype must be a dtype, got {describe(wanted)}") from None
    if not _elements.is_number(dtype) or dtype.kind == "b":
        expected = "real or complex numbers of at most 8 bytes a part"
        raise TypeError(f"{name}: dtype must be one of {expected}, got {dtype}")
    if dtype != common and not np.can_cast(common, dtype, "safe"):
        raise TypeError(
            f"{name}: dtype must hold every {common}, which the arrays have, got {dtype}"
        )
    return dtype


def batched(name: str, x: NDArray[Any], rank: int, parameter: str = "input") -> bool:
    if x.ndim not in (rank + 1, rank + 2):
        space = ", ".join("DHW"[3 - rank :])
        raise ValueError(
            f"{name}: {parameter} must have shape (N, C, {space}) or (C, {space}), got {x.shape}"
        )
    return x.ndim == rank + 2


def spatial(name: str, x: NDArray[Any], rank: int, channels: bool = True) -> Ints:
    """The spatial shape; no axis may be empty but the batch."""
    size = x.shape[-rank:]
    if 0 in size or (channels and x.shape[-rank - 1] == 0):
        raise ValueError(
            f"{name}: input of shape {x.shape} is empty; only the batch may have size 0"
        )
    return size


# ---------------------------------------------------------------- convolutions


def conv_arrays(
    name: str, rank: int, x: Any, weight: Any, bias: Any, groups: Any, transposed: bool
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None, int]:
    """The arrays of a convolution, checked against each other; returns them and groups."""
    x = array(name, "input", x)
    weight = array(name, "weight", weight)
    bias = None if bias is None else array(name, "bias", bias)
    conv_weight(name, rank, weight, bias, groups := integer(name, "groups", groups, 1), transposed)
    for parameter, a in (("input", x), ("weight", weight), ("bias", bias)):
        if a is not None and a.dtype.kind == "b":
            raise TypeError(f"{name}: {parameter} must hold numbers, got dtype bool")
    conv_input(name, rank, x, weight.shape, groups, transposed)
    return x, weight, bias, groups


def conv_weight(
    name: str,
    rank: int,
    weight: NDArray[Any],
    bias: NDArray[Any] | None,
    groups: int,
    transposed: bool,
) -> None:
    lead = "in, out/groups" if transposed else "out, in/groups"
    if weight.ndim != rank + 2:
        raise ValueError(
            f"{name}: weight must have {rank + 2} dimensions ({lead}, *kernel), got shape {weight.shape}"
        )
    if weight.size == 0:
        raise ValueError(f"{name}: weight of shape {weight.shape} is empty")
    if weight.shape[0] % groups:
        raise ValueError(
            f"{name}: groups={groups} must divide the {weight.shape[0]} "
            f"{'input' if transposed else 'output'} channels of weight {weight.shape}"
        )
    out = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and bias.shape != (out,):
        raise ValueError(f"{name}: bias must have shape ({out},), got {bias.shape}")


def conv_input(
    name: str, rank: int, x: NDArray[Any], weight_shape: Ints, groups: int, transposed: bool
) -> None:
    batched(name, x, rank)
    channels = x.shape[-rank - 1]
    expected = weight_shape[0] if transposed else weight_shape[1] * groups
    if channels != expected:
        raise ValueError(
            f"{name}: weight of shape {weight_shape} expects {expected} input channels, got input of "
            f"shape {x.shape} with {channels} (groups={groups})"
        )
    spatial(name, x, rank)


def packed_rank(name: str, weight: NDArray[Any]) -> int:
    if weight.ndim not in (3, 4, 5):
        raise ValueError(
            f"{name}: weight must have 3 to 5 dimensions (out, in/groups, *kernel), got shape "
            f"{weight.shape}"
        )
    if weight.dtype.kind == "b":
        raise TypeError(f"{name}: weight must hold numbers, got dtype bool")
    return weight.ndim - 2


# ---------------------------------------------------------------- pools, fold, unpooling


def pool_array(name: str, x: Any, rank: int) -> NDArray[Any]:
    a = array(name, "input", x)
    if a.dtype.kind == "c":
        raise TypeError(f"{name}: input must hold real numbers, got dtype {a.dtype}")
    batched(name, a, rank)
    return a


def fold_input(name: str, x: NDArray[Any], taps: int, columns: int) -> None:
    if x.ndim not in (2, 3):
        raise ValueError(
            f"{name}: input must have shape (N, C*taps, L) or (C*taps, L), got {x.shape}"
        )
    if x.shape[-2] == 0 or x.shape[-2] % taps:
        raise ValueError(
            f"{name}: input of shape {x.shape} must have a multiple of {taps} rows, the product of "
            f"kernel_size"
        )
    if x.shape[-1] != columns:
        raise ValueError(
            f"{name}: output_size, kernel_size, dilation, padding and stride make {columns} blocks, "
            f"input of shape {x.shape} has {x.shape[-1]}"
        )


def indices(name: str, value: Any, shape: Ints, whose: str = "the input's") -> NDArray[Any]:
    a = array(name, "indices", value)
    if a.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices must hold integers, got dtype {a.dtype}")
    if a.shape != shape:
        raise ValueError(f"{name}: indices must have {whose} shape {shape}, got {a.shape}")
    return a


def index_range(name: str, flat: NDArray[Any], plane: int) -> None:
    if flat.size and (int(flat.min()) < 0 or int(flat.max()) >= plane):
        bad = int(flat.min()) if int(flat.min()) < 0 else int(flat.max())
        raise ValueError(
            f"{name}: indices must lie in 0..{plane - 1}, positions in a plane of the output, got {bad}"
        )


def maxima_range(name: str, flat: NDArray[Any], plane: int) -> None:
    """Of positions of maxima: -1 for a window without a tap."""
    for bad in (int(flat.min()), int(flat.max())) if flat.size else ():
        if not -1 <= bad < plane:
            raise ValueError(
                f"{name}: indices must be -1 or lie in 0..{plane - 1}, positions in a plane of the input, got {bad}"
            )


# ---------------------------------------------------------------- gradients


def gradient_arrays(name: str, **arrays: Any) -> tuple[Any, ...]:
    """Arrays of a gradient, and last their common dtype; only real floating-point numbers have one."""
    given = {parameter: array(name, parameter, value) for parameter, value in arrays.items()}
    dtype = common_dtype(name, **given)
    if _elements.kind(dtype) != "f":
        listed = ", ".join(f"{p} {a.dtype}" for p, a in given.items())
        raise TypeError(f"{name}: gradients are of real floating-point numbers, got {listed}")
    return *given.values(), dtype


def stand_in(name: str, parameter: str, value: Any, rank: int, low: int = 0) -> NDArray[Any]:
    """An array of the given shape without memory, so that shapes are checked as arrays are."""
    if not is_sequence(value) or len(value) not in (rank + 1, rank + 2):
        space = ", ".join("DHW"[3 - rank :])
        raise ValueError(
            f"{name}: {parameter} must be (N, C, {space}) or (C, {space}), got {describe(value)}"
        )
    shape = tuple(integer(name, parameter, n, low) for n in value)
    elements(name, shape, 8)
    return np.broadcast_to(np.float32(0), shape)


def weight_stand_in(name: str, value: Any, rank: int) -> NDArray[Any]:
    if not is_sequence(value) or len(value) != rank + 2:
        raise ValueError(f"{name}: weight_size must have {rank + 2} values, got {describe(value)}")
    shape = tuple(integer(name, "weight_size", n, 0) for n in value)
    elements(name, shape, 8)
    return np.broadcast_to(np.float32(0), shape)


def grad_output(name: str, grad: NDArray[Any], shape: Sequence[int], what: str) -> None:
    if grad.shape != tuple(shape):
        raise ValueError(
            f"{name}: grad_output must have the shape {tuple(shape)} of the output for {what}, got {grad.shape}"
        )


# ---------------------------------------------------------------- out


def overlaps_itself(a: NDArray[Any]) -> bool:
    """Whether two elements of an array have one address, as those of a broadcast one."""
    axes = sorted((abs(s), n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1)
    span = a.itemsize
    if a.size == 0:
        return False
    for step, n in axes:
        if step < span:
            break
        span += step * (n - 1)
    else:
        return False
    # neither nested nor plainly one address: exotic, so the addresses are counted
    if a.itemsize > 1 and not any(step % a.itemsize for step, _ in axes):
        axes = [(step // a.itemsize, n) for step, n in axes]
        width = 1
    else:
        width = a.itemsize
    if sum(step * (n - 1) for step, n in axes) + width < a.size * width:
        return True
    at = np.zeros(1, np.int64)
    for step, n in [*axes, (1, width)]:
        at = (at[:, None] + np.arange(n, dtype=np.int64) * step).reshape(-1)
    return len(np.unique(at)) < len(at)


def output(name: str, out: Any, dtype: np.dtype[Any], shape: Sequence[int]) -> None:
    """`out` must be exactly what the function would have returned."""
    if out is None:
        return
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: out must be a numpy.ndarray without a mask, got {type(out).__name__}"
        )
    if out.dtype != dtype:
        raise TypeError(f"{name}: out must have dtype {dtype}, got {out.dtype}")
    if out.shape != tuple(shape):
        raise ValueError(f"{name}: out must have shape {tuple(shape)}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name}: out must be writeable, got a read-only array")
    if overlaps_itself(out):
        raise ValueError(
            f"{name}: out must have an address for each element, got shape {out.shape} with strides {out.strides}"
        )
