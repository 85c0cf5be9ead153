"""Resolves unfold, fold, max_unpool and its gradient: moves of data, and the sums of fold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _problem
from ._check import arrays, params, shapes
from ._plan import choose
from ._run.moves import FoldRunner, UnfoldRunner
from ._run.planes import GatherRunner, ScatterRunner

if TYPE_CHECKING:
    from ._run.runner import Runner

Shape = tuple[int, ...]
Args = tuple[Any, ...]


class BlockGeometry(NamedTuple):
    """The windows of unfold and fold, an axis each."""

    kernel: Shape
    stride: Shape
    dilation: Shape
    before: Shape
    after: Shape

    @property
    def pads(self) -> list[tuple[int, int]]:
        return list(zip(self.before, self.after, strict=True))

    def windows(self, size: Shape, out: Shape, channels: int) -> dict[str, Any]:
        """The struct of their runner, for `channels` of an array of this size."""
        return {
            "size": shapes.three(size, 1),
            "kernel": shapes.three(self.kernel, 1),
            "stride": shapes.three(self.stride, 1),
            "dilation": shapes.three(self.dilation, 1),
            "before": shapes.three(self.before, 0),
            "out": shapes.three(out, 1),
            "channels": channels,
        }


def check_blocks(name: str, rank: int, given: Args) -> BlockGeometry:
    """`given`: kernel_size, dilation, padding, stride."""
    kernel_size, dilation, padding, stride = given
    before, after = params.pairs(name, padding, rank)
    return BlockGeometry(
        params.axes(name, "kernel_size", kernel_size, rank, 1),
        params.axes(name, "stride", stride, rank, 1),
        params.axes(name, "dilation", dilation, rank, 1),
        before,
        after,
    )


def count_blocks(name: str, size: Shape, blocks: BlockGeometry) -> Shape:
    """How many windows there are along each axis."""
    kernel, stride, dilation, before, after = blocks
    out = tuple(
        _problem.conv_size(*axis)
        for axis in zip(size, kernel, stride, dilation, before, after, strict=True)
    )
    shapes.conv_out(name, out, size, kernel, dilation, before, after)
    return out


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=")


# ---------------------------------------------------------------- unfold and fold


class Unfolding:
    """unfold."""

    parameters = "input kernel_size dilation padding stride"

    def __init__(self, name: str, rank: int):
        self.name = name

    def __call__(self, args: Args) -> Runner:
        input, *given = args
        name = self.name
        rank = params.rank_of(name, *given)
        x = arrays.array(name, "input", input)
        blocks = check_blocks(name, rank, tuple(given))
        batched = arrays.batched(name, x, rank)
        size = arrays.spatial(name, x, rank)
        out = count_blocks(name, size, blocks)
        shapes.elements(name, (*x.shape[:-rank], *blocks.kernel, *out), x.itemsize)
        rows = x.shape[-rank - 1] * math.prod(blocks.kernel)
        shape = (*x.shape[:batched], rows, math.prod(out))
        windows = blocks.windows(size, out, x.shape[-rank - 1])
        strategy = choose.Plain("windows copied row by row")
        return UnfoldRunner(strategy, windows, native(x.dtype), shape, rank)


class ColumnSum:
    """fold."""

    parameters = "input output_size kernel_size dilation padding stride"

    def __init__(self, name: str, rank: int):
        self.name = name

    def __call__(self, args: Args) -> Runner:
        input, output_size, *given = args
        name = self.name
        rank = params.rank_of(name, output_size, *given)
        x = arrays.array(name, "input", input)
        size = params.axes(name, "output_size", output_size, rank, 1)
        blocks = check_blocks(name, rank, tuple(given))
        out = count_blocks(name, size, blocks)
        taps = math.prod(blocks.kernel)
        arrays.fold_input(name, x, taps, math.prod(out))
        lead = (*x.shape[:-2], x.shape[-2] // taps)
        padded = tuple(L + b + a for L, (b, a) in zip(size, blocks.pads, strict=True))
        shapes.elements(name, (*lead, *padded), x.itemsize)
        windows = blocks.windows(size, out, lead[-1])
        strategy = choose.Plain("windows added up row by row, tap by tap")
        return FoldRunner(strategy, windows, native(x.dtype), (*lead, *size))


# ---------------------------------------------------------------- max_unpool


def unpooled_size(name: str, rank: int, shape: Shape, given: Args) -> Shape:
    """`given`: kernel_size, stride, padding, output_size."""
    kernel_size, stride, padding, output_size = given
    if stride is not None:  # an empty one is for pools
        stride = params.axes(name, "stride", stride, rank, 1)
    kernel, stride, before, after, _ = params.pool_geometry(
        name, rank, kernel_size, stride, padding, 1
    )
    default = tuple(
        (L - 1) * s - b - a + k
        for L, s, b, a, k in zip(shape[-rank:], stride, before, after, kernel, strict=True)
    )
    return shapes.unpool_size(name, output_size, default, stride, shape, rank)


class Unpooling:
    """max_unpool1d, max_unpool2d, max_unpool3d."""

    parameters = "input indices kernel_size stride padding output_size"

    def __init__(self, name: str, rank: int):
        self.name, self.rank = name, rank

    def __call__(self, args: Args) -> Runner:
        input, indices, *given = args
        name, rank = self.name, self.rank
        x = arrays.pool_array(name, input, rank)
        arrays.indices(name, indices, x.shape)
        arrays.spatial(name, x, rank)
        size = unpooled_size(name, rank, x.shape, tuple(given))
        shape = (*x.shape[:-rank], *size)
        shapes.elements(name, shape, x.itemsize)
        planes = math.prod(x.shape[-rank:]), math.prod(size)
        strategy = choose.Plain("values put to their indices")
        return ScatterRunner(strategy, name, native(x.dtype), shape, planes)


class UnpoolInput:
    """The gradient of max_unpool: the values at the indices; of equal indices each gets the gradient, as in torch."""

    parameters = "indices grad_output kernel_size stride padding output_size out"

    def __init__(self, name: str, rank: int):
        self.name, self.rank = name, rank

    def __call__(self, args: Args) -> Runner:
        indices, grad, *given, _ = args
        name, rank = self.name, self.rank
        grad, dtype = arrays.gradient_arrays(name, grad_output=grad)
        indices = arrays.array(name, "indices", indices)
        indices = arrays.indices(name, indices, indices.shape)
        arrays.batched(name, indices, rank, "indices")
        size = unpooled_size(name, rank, indices.shape, tuple(given))
        shape = (*indices.shape[:-rank], *size)
        arrays.grad_output(name, grad, shape, f"indices of shape {indices.shape}")
        planes = math.prod(indices.shape[-rank:]), math.prod(size)
        strategy = choose.Plain("values taken from their indices")
        return GatherRunner(strategy, name, dtype, indices.shape, planes)
