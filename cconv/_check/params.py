"""Parameters: scalars to tuples of one value a spatial axis, and what of them is wrong without an array to look at."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING

import numpy as np

from .. import _elements
from .._problem import LIMIT, MODES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeGuard

    from ..kernels.job import PadMode

Ints = tuple[int, ...]

ALGORITHMS = ("auto", "direct", "winograd", "fft")


def describe(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


# ---------------------------------------------------------------- scalars


def integer(name: str, parameter: str, value: Any, low: int) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: {parameter} must be an int, got {value!r}")
    try:
        result = index(value)
    except TypeError:
        raise TypeError(f"{name}: {parameter} must be an int, got {describe(value)}") from None
    if result < low:
        raise ValueError(f"{name}: {parameter} must be at least {low}, got {result}")
    if result >= LIMIT:
        raise ValueError(f"{name}: {parameter} must be below 2**62, got {result}")
    return result


def flag(name: str, parameter: str, value: object) -> bool:
    if not isinstance(value, (bool, np.bool_, int)):
        raise TypeError(f"{name}: {parameter} must be a bool, got {describe(value)}")
    return bool(value)


def divisor(name: str, value: Any) -> int:
    """`divisor_override`; 0 stands for none."""
    if value is None:
        return 0
    result = integer(name, "divisor_override", value, -LIMIT)
    if result == 0:
        raise ValueError(f"{name}: divisor_override must not be 0")
    return result


def norm(name: str, value: Any) -> float:
    if isinstance(value, (bool, np.bool_, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: norm_type must be a number, got {describe(value)}")
    result = float(value)
    if not result > 0:
        raise ValueError(f"{name}: norm_type must be positive, got {describe(value)}")
    return result


# ---------------------------------------------------------------- one value an axis


def axes(name: str, parameter: str, value: Any, rank: int, low: int) -> Ints:
    """An int, a sequence of one, or one a spatial axis, as a tuple of `rank`."""
    if not is_sequence(value):
        return (integer(name, parameter, value, low),) * rank
    parts = tuple(integer(name, parameter, v, low) for v in value)
    if len(parts) == 1:
        parts *= rank
    if len(parts) != rank:
        raise ValueError(
            f"{name}: {parameter} must be an int or have {rank} values, got {describe(value)}"
        )
    return parts


def pairs(name: str, value: Any, rank: int) -> tuple[Ints, Ints]:
    """Padding before and after: ints, (before, after) pairs, or a mixture."""
    if not is_sequence(value):
        both = (integer(name, "padding", value, 0),) * rank
        return both, both
    parts = list(value)
    if len(parts) == 1:
        parts *= rank
    if len(parts) != rank:
        raise ValueError(
            f"{name}: padding must be an int or have {rank} values, got {describe(value)}"
        )
    before, after = [], []
    for part in parts:
        if is_sequence(part):
            if len(part) != 2:
                raise ValueError(
                    f"{name}: a padding pair must be (before, after), got {describe(part)}"
                )
            before.append(integer(name, "padding", part[0], 0))
            after.append(integer(name, "padding", part[1], 0))
        else:
            before.append(integer(name, "padding", part, 0))
            after.append(before[-1])
    return tuple(before), tuple(after)


def output_size(name: str, value: Any, size: Sequence[int], rank: int) -> Ints:
    """Adaptive output size: None keeps an axis."""
    values = tuple(value) if is_sequence(value) else (value,) * rank
    if len(values) == 1:
        values *= rank
    if len(values) != rank:
        raise ValueError(
            f"{name}: output_size must be an int or have {rank} values, got {describe(value)}"
        )
    return tuple(
        L if v is None else integer(name, "output_size", v, 0)
        for v, L in zip(values, size, strict=True)
    )


def rank_of(name: str, *values: Any) -> int:
    """unfold and fold: the length of the first sequence gives the rank, ints alone mean 2-D."""
    for value in values:
        if is_sequence(value) and len(value) > 1:
            if len(value) > 3:
                raise ValueError(
                    f"{name}: output_size, kernel_size, dilation, padding and stride have at most 3 axes, "
                    f"got {describe(value)}"
                )
            return len(value)
    return 1 if is_sequence(values[0]) else 2


# ---------------------------------------------------------------- convolutions


def algorithm(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in ALGORITHMS:
        raise ValueError(
            f"{name}: algorithm must be one of {', '.join(ALGORITHMS)}, got {describe(value)}"
        )
    if value == "fft" and "transpose" in name:
        raise ValueError(f"{name}: algorithm='fft' cannot serve transposed convolutions")
    return value


def fft_serves(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind != "f":
        raise ValueError(
            f"{name}: algorithm='fft' cannot serve this convolution: it needs float or complex arrays, "
            f"got integers"
        )


def served(name: str, wanted: str, chosen: str) -> None:
    """The algorithm that was asked for against the one that was chosen."""
    if wanted == "winograd" and chosen != "winograd":
        raise ValueError(
            f"{name}: algorithm='winograd' cannot serve this convolution: it needs float weights with "
            f"3 or 5 taps along H, W or both, and stride 1"
        )


def conv_padding(
    name: str,
    padding: Any,
    rank: int,
    stride: Sequence[int],
    dilation: Sequence[int],
    kernel: Sequence[int],
) -> tuple[Ints, Ints]:
    """Padding before and after; "same" pads d(k-1) in all, the smaller half before."""
    if isinstance(padding, str):
        if padding == "valid":
            return (0,) * rank, (0,) * rank
        if padding != "same":
            raise ValueError(
                f"{name}: padding must be ints, pairs, 'same' or 'valid', got {padding!r}"
            )
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return pairs(name, padding, rank)


def padding_mode(
    name: str, value: Any, before: Sequence[int], after: Sequence[int], size: Sequence[int]
) -> PadMode:
    if not isinstance(value, str) or value not in MODES:
        raise ValueError(
            f"{name}: padding_mode must be one of {', '.join(MODES)}, got {describe(value)}"
        )
    for b, a, L in zip(before, after, size, strict=True):
        most = {"reflect": L - 1, "circular": L}.get(value)
        if most is not None and max(b, a) > most:
            raise ValueError(
                f"{name}: padding ({b}, {a}) is too large for padding_mode={value!r} and size {L}: "
                f"at most {most}"
            )
    return MODES[value]


def output_padding(
    name: str, value: Any, rank: int, stride: Sequence[int], dilation: Sequence[int]
) -> Ints:
    extra = axes(name, "output_padding", value, rank, 0)
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e >= max(s, d):
            raise ValueError(
                f"{name}: output_padding must be smaller than stride or dilation, got {e} with "
                f"stride {s} and dilation {d}"
            )
    return extra


def packed_params(
    name: str,
    kernel: Sequence[int],
    stride: Any,
    padding: Any,
    dilation: Any,
    mode: Any,
    transposed: bool,
    extra: Any,
) -> None:
    """What of a convolution's parameters can be checked before there is an input."""
    rank = len(kernel)
    stride = axes(name, "stride", stride, rank, 1)
    dilation = axes(name, "dilation", dilation, rank, 1)
    if transposed:
        pairs(name, padding, rank)
        output_padding(name, extra, rank, stride, dilation)
        if mode != "zeros":
            raise ValueError(
                f"{name}: a transposed convolution takes padding_mode='zeros' only, got {mode!r}"
            )
    else:
        conv_padding(name, padding, rank, stride, dilation, kernel)
        padding_mode(name, mode, (0,), (0,), (1,))
        if axes(name, "output_padding", extra, rank, 0) != (0,) * rank:
            raise ValueError(f"{name}: output_padding is for transposed=True, got {extra!r}")


# ---------------------------------------------------------------- pools, fold


def is_kernel_size(stride: object) -> bool:
    """A pool's stride: None and an empty sequence, which torch takes too, mean the size of the kernel."""
    return stride is None or (is_sequence(stride) and len(stride) == 0)


def pool_geometry(
    name: str, rank: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Kernel, stride, padding before and after, dilation; padding must be smaller than the window."""
    kernel = axes(name, "kernel_size", kernel_size, rank, 1)
    stride = kernel if is_kernel_size(stride) else axes(name, "stride", stride, rank, 1)
    before, after = pairs(name, padding, rank)
    dilation = axes(name, "dilation", dilation, rank, 1)
    for b, a, k, d in zip(before, after, kernel, dilation, strict=True):
        if max(b, a) >= d * (k - 1) + 1:
            raise ValueError(
                f"{name}: padding ({b}, {a}) must be smaller than the window {d * (k - 1) + 1} "
                f"of kernel_size {k} and dilation {d}"
            )
    return kernel, stride, before, after, dilation


def fold_geometry(
    name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any, *output_size: Any
) -> None:
    """What of the parameters can be checked before there is an input."""
    rank = rank_of(name, *output_size, kernel_size, dilation, padding, stride)
    axes(name, "kernel_size", kernel_size, rank, 1)
    axes(name, "dilation", dilation, rank, 1)
    axes(name, "stride", stride, rank, 1)
    pairs(name, padding, rank)
    for value in output_size:
        axes(name, "output_size", value, rank, 1)


# ---------------------------------------------------------------- layers


def layer_groups(name: str, in_channels: int, out_channels: int, groups: int) -> None:
    for parameter, n in (("in_channels", in_channels), ("out_channels", out_channels)):
        if n % groups:
            raise ValueError(f"{name}: groups={groups} must divide {parameter}={n}")


def layer_dtype(name: str, dtype: Any) -> np.dtype[Any]:
    kind = np.dtype(np.float32 if dtype is None else dtype)
    if _elements.kind(kind) not in "fc":
        raise TypeError(f"{name}: dtype must be a floating or complex type, got {kind}")
    return kind
