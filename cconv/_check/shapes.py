"""Sizes that follow from parameters and arrays together: outputs must exist, and no product of sizes may overflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._problem import LIMIT
from .params import Ints, axes, describe, integer, is_sequence, pairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._problem import Three

PHASES_MOST = 1 << 18  # of a transposed convolution: each is planned by itself, in some 30 us


def three(values: Sequence[int], fill: int) -> Three:
    """One value an axis as one for each of D, H and W."""
    d, h, w = (fill,) * (3 - len(values)) + tuple(values)
    return d, h, w


# ---------------------------------------------------------------- limits


def elements(name: str, shape: Sequence[int], itemsize: int) -> None:
    total = itemsize
    for n in shape:
        total *= max(1, n)  # NumPy refuses (0, 2**62, 2**62) too
    if total >= LIMIT:
        raise ValueError(f"{name}: the output of shape {tuple(shape)} is too large")


def padded_input(
    name: str, channels: int, size: Sequence[int], before: Sequence[int], after: Sequence[int]
) -> None:
    """Positions in the padded input are products of its sizes, those of kernels' buffers somewhat larger."""
    total = channels
    for L, b, a in zip(size, before, after, strict=True):
        total *= L + b + a
    if total >= LIMIT >> 8:
        shape = tuple(L + b + a for L, b, a in zip(size, before, after, strict=True))
        raise ValueError(f"{name}: padding makes an input of size {shape}, which is too large")


def reach(
    name: str,
    channels: int,
    out: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Any,
) -> None:
    """As `padded_input`: each output sees inputs as far as the kernel reaches."""
    total = channels
    for o, k, d in zip(out, kernel, dilation, strict=True):
        total *= o + d * (k - 1)
    if total >= LIMIT >> 8:
        raise ValueError(
            f"{name}: dilation={describe(dilation)} with padding={describe(padding)} reaches too far for kernels of "
            f"size {tuple(kernel)}"
        )


def phases(name: str, stride: Sequence[int], out: Sequence[int]) -> None:
    """A transposed convolution is one convolution for each position between two inputs."""
    total = 1
    for s, o in zip(stride, out, strict=True):
        total *= min(s, o)
    if total > PHASES_MOST:
        raise ValueError(
            f"{name}: stride {tuple(stride)} is too large, its product must be at most {PHASES_MOST}"
        )


# ---------------------------------------------------------------- outputs


def conv_out(
    name: str,
    out: Sequence[int],
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
) -> None:
    """Every axis must have an output; all sizes must stay below 2**62."""
    for o, L, k, d, b, a in zip(out, size, kernel, dilation, before, after, strict=True):
        if max(L + b + a, d * (k - 1)) >= LIMIT:
            raise ValueError(
                f"{name}: padding ({b}, {a}), kernel size {k} and dilation {d} are too large"
            )
        if o < 1:
            raise ValueError(
                f"{name}: kernel size {k} with dilation {d} is larger than the padded input: "
                f"{L} + padding ({b}, {a})"
            )


def transposed_out(name: str, out: Sequence[int], padding: Any, size: Sequence[int]) -> None:
    for o, L in zip(out, size, strict=True):
        if o < 1:
            raise ValueError(
                f"{name}: padding={describe(padding)} leaves no output of an input of size {L}"
            )
        if o >= LIMIT:
            raise ValueError(f"{name}: stride, dilation or output_padding is too large: output {o}")


def unpool_size(
    name: str, value: Any, default: Ints, stride: Sequence[int], shape: Sequence[int], rank: int
) -> Ints:
    """The size that `output_size` asks of an unpooling, near the `default` one."""
    if value is None:
        for o in default:
            if o < 1:
                raise ValueError(f"{name}: padding leaves no output: size {default}")
        return default
    values = list(value) if is_sequence(value) else [value] * rank
    if len(values) == len(shape):
        values = values[-rank:]  # torch takes the whole shape too
    if len(values) != rank:
        raise ValueError(f"{name}: output_size must have {rank} values, got {describe(value)}")
    result = tuple(integer(name, "output_size", v, 1) for v in values)
    for o, d, s in zip(result, default, stride, strict=True):
        if not d - s < o < d + s:
            raise ValueError(
                f"{name}: output_size must be within stride {s} of {d}, exclusive, got {o}"
            )
    return result


def extra_padding(
    name: str,
    shape: Sequence[int],
    value: Any,
    kernel: Sequence[int],
    stride: Any,
    padding: Any,
    dilation: Any,
) -> Ints:
    """The output padding of a transposed convolution that makes the output `value` large."""
    rank = len(kernel)
    values = tuple(value)[-rank:] if is_sequence(value) else ()
    if len(values) != rank:
        raise ValueError(f"{name}: output_size must have {rank} values, got {describe(value)}")
    stride = axes(name, "stride", stride, rank, 1)
    dilation = axes(name, "dilation", dilation, rank, 1)
    before, after = pairs(name, padding, rank)
    extra = []
    for o, L, k, s, d, b, a in zip(
        values, shape[-rank:], kernel, stride, dilation, before, after, strict=True
    ):
        low = (L - 1) * s - b - a + d * (k - 1) + 1
        if not low <= integer(name, "output_size", o, 1) < low + s:
            raise ValueError(
                f"{name}: output_size must be from {low} to {low + s - 1} for input {L}, got {o}"
            )
        extra.append(o - low)
    return tuple(extra)
