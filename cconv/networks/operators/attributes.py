"""Attributes of ONNX's convolutions and pools in cconv's terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ... import functional
from ..graph import Array

Ints = Sequence[int]
Pads = tuple[tuple[int, int], ...]


def spatial(name: str, x: Array) -> int:
    """The number of spatial axes of (N, C, *space)."""
    if x.ndim not in (3, 4, 5):
        raise ValueError(f"{name}: cconv has 1 to 3 spatial axes, got an input of shape {x.shape}")
    return x.ndim - 2


def paired(pads: Sequence[int] | None, rank: int) -> Pads:
    """ONNX's [begin..., end...] as (before, after) an axis."""
    values = list(pads) if pads else [0] * 2 * rank
    return tuple(zip(values[:rank], values[rank:], strict=True))


def shared(total: int, auto_pad: str) -> tuple[int, int]:
    """A total padding in halves, the odd one after (SAME_UPPER) or before (SAME_LOWER)."""
    small = total // 2
    return (small, total - small) if auto_pad == "SAME_UPPER" else (total - small, small)


def function_of(base: str, rank: int) -> Any:
    return getattr(functional, f"{base}{rank}d")


@dataclass(frozen=True)
class Attributes:
    """A node's attributes under ONNX's names; None is not given."""

    auto_pad: str | None = None
    ceil_mode: int | None = None
    count_include_pad: int | None = None
    dilations: Ints | None = None
    group: int | None = None
    kernel_shape: Any = None  # which pools must have
    offset_group: int | None = None
    output_padding: Ints | None = None
    output_shape: Ints | None = None
    p: int | None = None
    pads: Ints | None = None
    storage_order: int | None = None
    strides: Ints | None = None

    def stride(self, rank: int) -> tuple[int, ...]:
        return tuple(self.strides or (1,) * rank)

    def dilation(self, rank: int) -> tuple[int, ...]:
        return tuple(self.dilations or (1,) * rank)

    def padding(self, space: Ints, kernel: Ints) -> Pads:
        """Of a convolution or pool: given, none, or such that ceil(L / stride) outputs come out."""
        rank = len(space)
        if self.auto_pad in (None, "", "NOTSET"):
            return paired(self.pads, rank)
        if self.auto_pad == "VALID":
            return paired(None, rank)
        axes = zip(space, kernel, self.stride(rank), self.dilation(rank), strict=True)
        return tuple(
            shared(max(0, (-(-L // s) - 1) * s + d * (k - 1) + 1 - L), str(self.auto_pad))
            for L, k, s, d in axes
        )

    def transposed_padding(self, space: Ints, kernel: Ints) -> tuple[Pads, list[int]]:
        """Of a transposed convolution: the padding, and the output padding."""
        rank = len(space)
        extra = list(self.output_padding or [0] * rank)
        padding = list(paired(self.pads, rank))
        stride, wanted_shape = self.stride(rank), self.output_shape
        if wanted_shape is None and self.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            wanted_shape = [L * s for L, s in zip(space, stride, strict=True)]
        if wanted_shape:
            sizes = space, kernel, stride, self.dilation(rank), wanted_shape[-rank:]
            for axis, (L, k, s, d, wanted) in enumerate(zip(*sizes, strict=True)):
                total = (L - 1) * s + d * (k - 1) + extra[axis] + 1 - wanted
                # an output_shape may ask for more than the input reaches: zeros (and the bias) at the end
                extra[axis] += max(0, -total)
                padding[axis] = shared(max(0, total), self.auto_pad or "SAME_LOWER")
        return tuple(padding), extra
