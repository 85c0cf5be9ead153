"""The functions of `cconv.interop.autograd`, each made for a number of spatial axes."""

from __future__ import annotations

from math import inf, prod
from typing import TYPE_CHECKING, Any

import autograd.numpy as anp
from autograd.tracer import getval

from .. import functional
from . import _autograd_primitives as primitives
from ._values import integers, per_axis, rank_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..functional import Algorithm, Padding, PaddingMode, Pads, Size, Sizes, TransposedAlgorithm

    Function = Callable[..., Any]


def of_each_rank(name: str, make: Callable[[int], Function]) -> tuple[Function, ...]:
    """The functions of 1, 2 and 3 axes, with the names and arguments of `cconv.functional`."""
    functions = []
    for rank in (1, 2, 3):
        function = make(rank)
        function.__name__ = function.__qualname__ = f"{name}{rank}d"
        function.__module__ = "cconv.interop.autograd"
        function.__doc__ = (
            f"Differentiable `cconv.{name}{rank}d`, with the same arguments but `out`."
        )
        functions.append(function)
    return tuple(functions)


def innermost(value: Any) -> Any:
    """The plain value within the boxes of derivatives."""
    while getval(value) is not value:
        value = getval(value)
    return value


def convolution(rank: int) -> Function:
    def conv(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        *,
        padding_mode: PaddingMode = "zeros",
        algorithm: Algorithm = "auto",
    ) -> Any:
        options = (stride, padding, dilation, groups)
        named = {"padding_mode": padding_mode, "algorithm": algorithm}
        return primitives.conv(input, weight, bias, "conv", rank, options, named)

    return conv


def transposed(rank: int) -> Function:
    def conv_transpose(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Size = 1,
        padding: Pads = 0,
        output_padding: Size = 0,
        groups: int = 1,
        dilation: Size = 1,
        *,
        algorithm: TransposedAlgorithm = "auto",
    ) -> Any:
        options = (stride, padding, output_padding, groups, dilation)
        named = {"algorithm": algorithm}
        return primitives.conv(input, weight, bias, "conv_transpose", rank, options, named)

    return conv_transpose


def maximum(rank: int) -> Function:
    def max_pool(
        input: Any,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Pads = 0,
        dilation: Size = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        options = (kernel_size, stride, padding, dilation, ceil_mode)
        return with_indices(input, "max_pool", rank, options, return_indices)

    return max_pool


def adaptive_maximum(rank: int) -> Function:
    def adaptive_max_pool(input: Any, output_size: Sizes, return_indices: bool = False) -> Any:
        return with_indices(input, "adaptive_max_pool", rank, (output_size,), return_indices)

    return adaptive_max_pool


def with_indices(input: Any, base: str, rank: int, options: tuple[Any, ...], wanted: bool) -> Any:
    values = primitives.max_pool(input, base, rank, options)
    if not wanted:
        return values
    _, indices = primitives.function_of(functional, base, rank)(innermost(input), *options, True)
    return values, indices


def average(rank: int) -> Function:
    def avg_pool(
        input: Any,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Pads = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        dilation: Size = 1,
    ) -> Any:
        options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        named = {"dilation": dilation}
        return primitives.avg_pool(input, anp.shape(input), rank, options, named)

    return avg_pool


def adaptive_average(rank: int) -> Function:
    def adaptive_avg_pool(input: Any, output_size: Sizes) -> Any:
        return primitives.adaptive_avg_pool(input, anp.shape(input), rank, output_size)

    return adaptive_avg_pool


def norm_pool(rank: int) -> Function:
    def lp_pool(
        input: Any,
        norm_type: float,
        kernel_size: Size,
        stride: Size | None = None,
        ceil_mode: bool = False,
        *,
        padding: Pads = 0,
        dilation: Size = 1,
    ) -> Any:
        checked = (norm_type, kernel_size, stride, ceil_mode)
        name = f"lp_pool{rank}d"
        functional.explain(name, innermost(input), *checked, padding=padding, dilation=dilation)
        norm, sizes = float(norm_type), anp.abs(input)
        if norm == inf:
            options = (kernel_size, stride, padding, dilation, ceil_mode)
            return primitives.max_pool(sizes, "max_pool", rank, options)
        # as powers of an average, which rescales windows that hang over the edge
        mean = average(rank)(
            sizes**norm, kernel_size, stride, padding, ceil_mode, dilation=dilation
        )
        taps = prod(integers(kernel_size, rank))
        if norm == 1:
            return mean * taps
        # a window of zeros has the slope 0, as in cconv.grad, not 0 times infinity
        some = mean != 0
        return anp.where(some, (anp.where(some, mean, 1) * taps) ** (1 / norm), 0 * mean)

    return lp_pool


def unpooling(rank: int) -> Function:
    def max_unpool(
        input: Any,
        indices: Any,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Pads = 0,
        output_size: Any = None,
    ) -> Any:
        options = (kernel_size, stride, padding, output_size)
        return primitives.unpool(input, getval(indices), rank, options)

    return max_unpool


def unfold(
    input: Any, kernel_size: Size, dilation: Size = 1, padding: Pads = 0, stride: Size = 1
) -> Any:
    """Differentiable `cconv.unfold`."""
    options = (kernel_size, dilation, padding, stride)
    return primitives.unfolded(input, anp.shape(input)[-rank_of(*options) :], options)


def fold(
    input: Any,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Pads = 0,
    stride: Size = 1,
) -> Any:
    """Differentiable `cconv.fold`."""
    options = (kernel_size, dilation, padding, stride)
    size = per_axis(output_size, rank_of(output_size, *options))
    return primitives.folded(input, size, options)
