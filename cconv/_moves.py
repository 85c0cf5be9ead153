"""Resolves unfold, fold, max_unpool and its gradient: moves of data without arithmetic to speak of, so that NumPy's
own strided copies serve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _elements, _problem
from ._check import arrays, params, shapes
from ._convert import to_result
from ._plan import choose
from ._run.runner import PyRunner, Runner

if TYPE_CHECKING:
    from ._strategies import Array, Arrays

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
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def pads(self) -> list[tuple[int, int]]:
        return list(zip(self.before, self.after, strict=True))


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

    def __init__(self, name: str, rank: int):
        self.name = name

    def __call__(self, args: Args) -> Runner:
        input, *given = args
        name = self.name
        rank = params.rank_of(name, *given)
        x = arrays.array(name, "input", input)
        blocks = check_blocks(name, rank, tuple(given))
        batched = arrays.batched(name, x, rank)
        out = count_blocks(name, arrays.spatial(name, x, rank), blocks)
        shapes.elements(name, (*x.shape[:-rank], *blocks.kernel, *out), x.itemsize)
        rows = x.shape[-rank - 1] * math.prod(blocks.kernel)
        shape = (*x.shape[:batched], rows, math.prod(out))
        work = WindowCopy(blocks, out, shape)
        return PyRunner(work, native(x.dtype), shape, choose.Plain("a strided copy by NumPy"))


class WindowCopy:
    """Every window as a column."""

    def __init__(self, blocks: BlockGeometry, out: Shape, shape: Shape):
        self.blocks, self.out, self.shape = blocks, out, shape

    def __call__(self, arrays: Arrays, out: None) -> Array:
        x, blocks = arrays[0], self.blocks
        rank = blocks.rank
        if any(blocks.before) or any(blocks.after):
            x = np.pad(x, [(0, 0)] * (x.ndim - rank) + blocks.pads)
        steps = x.strides[-rank:]
        taps = (t * d for t, d in zip(steps, blocks.dilation, strict=True))
        hops = (
            t * (s if o > 1 else 1) for t, s, o in zip(steps, blocks.stride, self.out, strict=True)
        )
        windows = np.lib.stride_tricks.as_strided(
            x,
            (*x.shape[:-rank], *blocks.kernel, *self.out),
            (*x.strides[:-rank], *taps, *hops),
            writeable=False,
        )
        return np.array(windows, dtype=native(x.dtype), order="C").reshape(self.shape)


class ColumnSum:
    """fold."""

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
        work = BlockSum(blocks, out, (*lead, *padded), size)
        strategy = choose.Plain("sums by NumPy, tap by tap")
        return PyRunner(work, native(x.dtype), (*lead, *size), strategy)


class BlockSum:
    """Columns added up where they came from."""

    def __init__(self, blocks: BlockGeometry, out: Shape, padded: Shape, size: Shape):
        self.blocks, self.out, self.padded, self.size = blocks, out, padded, size

    def __call__(self, arrays: Arrays, out: None) -> Array:
        x, blocks = arrays[0], self.blocks
        rank, dtype = blocks.rank, native(x.dtype)
        result: Array = np.zeros(self.padded, _elements.named(_elements.element(dtype).fold, dtype))
        every: tuple[Any, ...] = (slice(None),) * rank
        columns = x.reshape(*self.padded[:-rank], *blocks.kernel, *self.out)
        for tap in np.ndindex(*blocks.kernel):
            place: tuple[Any, ...] = tuple(
                slice(t * d, t * d + s * (o - 1) + 1, s)
                for t, d, s, o in zip(tap, blocks.dilation, blocks.stride, self.out, strict=True)
            )
            with np.errstate(all="ignore"):  # of infinities, as in a kernel
                result[(..., *place)] += columns[(..., *tap, *every)]
        crop: tuple[Any, ...] = tuple(
            slice(b, b + L) for b, L in zip(blocks.before, self.size, strict=True)
        )
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return np.ascontiguousarray(result[(..., *crop)], dtype=dtype)


# ---------------------------------------------------------------- max_unpool


def unpooled_size(name: str, rank: int, shape: Shape, given: Args) -> Shape:
    """`given`: kernel_size, stride, padding, output_size."""
    kernel_size, stride, padding, output_size = given
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
        work = Scatter(name, rank, shape)
        return PyRunner(work, native(x.dtype), shape, choose.Plain("scattered by NumPy"))


class Scatter:
    """Each value goes to its index."""

    def __init__(self, name: str, rank: int, shape: Shape):
        self.name, self.rank, self.shape = name, rank, shape

    def __call__(self, arrays_: Arrays, out: None) -> Array:
        x, indices = arrays_
        plane = math.prod(self.shape[-self.rank :])
        flat = indices.reshape(-1, math.prod(x.shape[-self.rank :]))
        arrays.index_range(self.name, flat, plane)
        result: Array = np.zeros((flat.shape[0], plane), native(x.dtype))
        values = x.reshape(flat.shape)
        # one plane at a time: of equal indices the last assignment wins
        for row, at, value in zip(result, flat, values, strict=True):
            row[at] = value
        return result.reshape(self.shape)


class UnpoolInput:
    """The gradient of max_unpool: the values at the indices; of equal indices each gets the gradient, as in torch."""

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
        work = Gather(name, rank, dtype)
        return PyRunner(work, dtype, indices.shape, choose.Plain("gathered by NumPy"))


class Gather:
    """The values at the indices."""

    def __init__(self, name: str, rank: int, dtype: np.dtype[Any]):
        self.name, self.rank, self.dtype = name, rank, dtype

    def __call__(self, arrays_: Arrays, out: Array | None) -> Array:
        indices, grad = arrays_
        rank = self.rank
        flat = indices.reshape(*indices.shape[:-rank], math.prod(indices.shape[-rank:]))
        plane = math.prod(grad.shape[-rank:])
        arrays.index_range(self.name, flat, plane)
        planes = grad.reshape(*grad.shape[:-rank], plane)
        y = np.take_along_axis(planes, flat.astype(np.intp, copy=False), -1)
        y = y.reshape(indices.shape).astype(self.dtype, copy=False)
        return to_result(y, self.dtype, out)
