"""Resolves pools: a call is checked, its strategy chosen, its runner built, without a look at the arrays' values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _elements, _isa, _problem
from ._check import arrays, params, shapes
from ._convert import to_native, to_result
from ._pieces import Layout, Piecewise, Place, Result
from ._plan import choose
from ._problem import PoolProblem
from ._run import elementwise
from ._run.pool import PoolProgram
from ._run.runner import PyRunner, Runner
from ._strategies import Array, Arrays, converted, dtypes_of
from .kernels.job import PoolOp

if TYPE_CHECKING:
    from collections.abc import Callable

Shape = tuple[int, ...]
Args = tuple[Any, ...]


class Window(NamedTuple):
    """The windows of a pool, an axis each."""

    kernel: Shape
    stride: Shape
    before: Shape
    after: Shape
    dilation: Shape


class Wanted(NamedTuple):
    """What a pool was asked for: windows of one size, or adaptive ones and the size of the result."""

    window: Window | None
    size: Shape = ()
    ceil_mode: bool = False
    include_pad: bool = False

    def at(self, place: Place) -> Wanted:
        """The same for a piece, with its padding."""
        if self.window is None:
            return self
        before, after = zip(*place.pads, strict=True)
        return self._replace(window=self.window._replace(before=before, after=after))


class Pooling(NamedTuple):
    """A pool's sizes after all checks."""

    problem: PoolProblem
    rank: int
    batched: bool
    out_shape: Shape
    wanted: Wanted

    @property
    def taps(self) -> int:
        """Of a window as it was asked for."""
        return 1 if self.wanted.window is None else math.prod(self.wanted.window.kernel)


def check_pool(name: str, rank: int, shape: Shape, wanted: Wanted, itemsize: int) -> Pooling:
    """The problem of a pool of an array of this shape."""
    window, size, batched = wanted.window, shape[-rank:], len(shape) == rank + 2
    n, channels = shape[0] if batched else 1, shape[-rank - 1]
    if window is None:
        out = wanted.size
        size3, out3 = shapes.three(size, 1), shapes.three(out, 1)
        problem = _problem.adaptive(n, channels, size3, out3)
    else:
        kernel, stride, before, after, dilation = window
        axes = zip(size, kernel, stride, dilation, before, after, strict=True)
        out = tuple(
            _problem.pool_size(L, k, s, d, b, a, wanted.ceil_mode) for L, k, s, d, b, a in axes
        )
        shapes.conv_out(name, out, size, kernel, dilation, before, after)
        problem = _problem.normal_pool(
            PoolProblem(
                N=n,
                C=channels,
                size=shapes.three(size, 1),
                kernel=shapes.three(kernel, 1),
                stride=shapes.three(stride, 1),
                dilation=shapes.three(dilation, 1),
                before=shapes.three(before, 0),
                after=shapes.three(after, 0),
                out=shapes.three(out, 1),
                adaptive=False,
                include_pad=wanted.include_pad,
            )
        )
    out_shape = (*shape[:-rank], *out)
    shapes.elements(name, out_shape, itemsize)
    return Pooling(problem, rank, batched, out_shape, wanted)


def pool_runner(strategy: choose.Strategy, pooling: Pooling, dtype: np.dtype[Any]) -> Runner:
    """The runner of a pool whose result is of `dtype`."""
    shape = pooling.out_shape
    match strategy:
        case choose.Pool():
            return PoolProgram(strategy, pooling.rank, pooling.batched, shape)
        case choose.Shifted():
            shifting = Shifting(pool_runner(strategy.inner, pooling, np.dtype(np.int64)), dtype)
            return PyRunner(shifting, dtype, shape, strategy)
        case choose.Powers(inner=choose.Pool() as inner):
            computed = np.dtype(inner.machine.dtype)
            powers = PowerSum(pool_runner(inner, pooling, computed), strategy.norm, pooling.taps)
            return PyRunner(powers, computed, shape, strategy)
        case choose.Converted(inner=choose.Pool(op=PoolOp.POOL_MAX) as inner):
            maxima = Maxima(pool_runner(inner, pooling, np.dtype(strategy.computed_in)), dtype)
            return PyRunner(maxima, dtype, shape, strategy)
        case choose.Converted():
            runner = pool_runner(strategy.inner, pooling, np.dtype(strategy.computed_in))
            return converted(strategy, runner, dtype)
        case _:
            raise TypeError(f"cconv: no pool by {type(strategy).__name__}")


class Reduction:
    """What all pools share."""

    def __init__(self, name: str, rank: int):
        self.name, self.rank = name, rank

    def array(self, x: Any) -> Array:
        return arrays.pool_array(self.name, x, self.rank)

    def window(self, x: Array, *given: Any) -> Window:
        """`given`: kernel_size, stride, padding, dilation."""
        window = Window(*params.pool_geometry(self.name, self.rank, *given))
        arrays.spatial(self.name, x, self.rank)
        return window

    def adaptive(self, x: Array, output_size: Any) -> Wanted:
        arrays.spatial(self.name, x, self.rank)
        size = params.output_size(self.name, output_size, x.shape[-self.rank :], self.rank)
        return Wanted(None, size)

    def flag(self, parameter: str, value: Any) -> bool:
        return params.flag(self.name, parameter, value)

    def check(self, x: Array, wanted: Wanted, computed: str) -> Pooling:
        itemsize = np.dtype(computed).itemsize
        return check_pool(self.name, self.rank, x.shape, wanted, itemsize)


def pieces(
    strategy: choose.Pieces, x: Array, pooling: Pooling, result: Result,
    resolve: Callable[[Array, Wanted], Runner],
) -> Runner:  # fmt: skip
    """Each piece is a call of its own, with what it has of the input and of the padding."""
    wanted = pooling.wanted
    window = wanted.window
    pads = () if window is None else tuple(zip(window.before, window.after, strict=True))
    layout = Layout(x.shape, pooling.rank, pads, channels=True)

    def of_place(place: Place) -> Runner:
        return resolve(x[place.inputs], wanted.at(place))

    work = Piecewise(strategy, layout, of_place, result)
    return PyRunner(work, result.dtype, result.shape, strategy)


# ---------------------------------------------------------------- maxima


class Maxima:
    """Maxima of dtypes that are converted for the kernel: bool and small integers, halves, other byte orders."""

    def __init__(self, runner: Runner, dtype: np.dtype[Any]):
        self.runner, self.dtype = runner, dtype
        # a window without a valid tap has the minimum of its own dtype, not the kernel's
        self.least = np.iinfo(dtype).min if dtype.kind in "iu" and dtype != runner.dtype else None

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, arrays

    def __call__(self, arrays: Arrays, out: Array | None) -> Any:
        x, computed = arrays[0], self.runner.dtype
        x = x.view(np.uint8) if x.dtype.kind == "b" else x
        result = self.runner((to_native(x, computed),), out if computed == self.dtype else None)
        y, *index = result if isinstance(result, tuple) else (result,)
        if self.least is not None:
            y = np.maximum(y, self.least)
        y = to_result(y, self.dtype, out)
        return (y, *index) if index else y


class Shifting:
    """Maxima of uint64, shifted into int64, which keeps their order."""

    flip = np.uint64(1 << 63)

    def __init__(self, runner: Runner, dtype: np.dtype[Any]):
        self.runner, self.dtype = runner, dtype

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, arrays

    def __call__(self, arrays: Arrays, out: Array | None) -> Any:
        result = self.runner(((arrays[0].astype(np.uint64) ^ self.flip).view(np.int64),))
        y, *index = result if isinstance(result, tuple) else (result,)
        y = to_result(y.view(np.uint64) ^ self.flip, self.dtype, out)
        return (y, *index) if index else y


class Maximum(Reduction):
    def resolve(self, x: Array, wanted: Wanted, indexed: bool) -> Runner:
        element = _elements.element(x.dtype)
        dtype = _elements.named(element.result, x.dtype)
        pooling = self.check(x, wanted, element.maximum)
        dtypes = dtypes_of((x,), dtype, element.maximum)
        strategy = choose.any_maximum(pooling.problem, dtypes, _isa.machine, indexed)
        if not isinstance(strategy, choose.Pieces):
            return pool_runner(strategy, pooling, dtype)

        def resolve(x: Array, wanted: Wanted) -> Runner:
            return self.resolve(x, wanted, indexed)

        return pieces(strategy, x, pooling, Result(pooling.out_shape, dtype, indexed), resolve)


class MaxPooling(Maximum):
    """max_pool1d, max_pool2d, max_pool3d."""

    parameters = "input kernel_size stride padding dilation ceil_mode return_indices out"

    def __call__(self, args: Args) -> Runner:
        x, kernel, stride, padding, dilation, ceil_mode, return_indices, _ = args
        x = self.array(x)
        window = self.window(x, kernel, stride, padding, dilation)
        wanted = Wanted(window, ceil_mode=self.flag("ceil_mode", ceil_mode))
        return self.resolve(x, wanted, self.flag("return_indices", return_indices))


class AdaptiveMaximum(Maximum):
    """adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d."""

    parameters = "input output_size return_indices out"

    def __call__(self, args: Args) -> Runner:
        x = self.array(args[0])
        wanted = self.adaptive(x, args[1])
        return self.resolve(x, wanted, self.flag("return_indices", args[2]))


# ---------------------------------------------------------------- averages


class Average(Reduction):
    def resolve(self, x: Array, wanted: Wanted, divide: int = 0) -> Runner:
        dtype, computed = mean_dtypes(x, wanted)
        pooling = self.check(x, wanted, computed)
        computed = choose.own_sums(_elements.element(x.dtype).average, computed, pooling.problem)
        dtypes = dtypes_of((x,), dtype, computed)
        strategy = choose.any_average(pooling.problem, dtypes, _isa.machine, divide)
        if not isinstance(strategy, choose.Pieces):
            return pool_runner(strategy, pooling, dtype)

        def resolve(x: Array, wanted: Wanted) -> Runner:
            return self.resolve(x, wanted, divide)

        return pieces(strategy, x, pooling, Result(pooling.out_shape, dtype), resolve)


def mean_dtypes(x: Array, wanted: Wanted) -> tuple[np.dtype[Any], str]:
    """The result of an average, of integers as np.mean's, and what it is computed in, which depends on the windows."""
    element = _elements.element(x.dtype)
    if wanted.window is None:
        size = shapes.three(x.shape[-len(wanted.size) :], 1)
        out = shapes.three(wanted.size, 1)
        computed = choose.adaptive_average_in(element.average, size, out)
    else:
        kernel, stride = (
            shapes.three(wanted.window.kernel, 1),
            shapes.three(wanted.window.stride, 1),
        )
        computed = choose.average_in(element.average, kernel, stride)
    return _elements.named(element.mean, x.dtype), computed


class AveragePooling(Average):
    """avg_pool1d, avg_pool2d, avg_pool3d."""

    parameters = (
        "input kernel_size stride padding ceil_mode count_include_pad divisor_override dilation out"
    )

    def __call__(self, args: Args) -> Runner:
        x, kernel, stride, padding, ceil_mode, include_pad, divide, dilation, _ = args
        x = self.array(x)
        window = self.window(x, kernel, stride, padding, dilation)
        ceil_mode = self.flag("ceil_mode", ceil_mode)
        include_pad = self.flag("count_include_pad", include_pad)
        wanted = Wanted(window, ceil_mode=ceil_mode, include_pad=include_pad)
        return self.resolve(x, wanted, params.divisor(self.name, divide))


class AdaptiveAverage(Average):
    """adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d."""

    parameters = "input output_size out"

    def __call__(self, args: Args) -> Runner:
        x = self.array(args[0])
        return self.resolve(x, self.adaptive(x, args[1]))


# ---------------------------------------------------------------- lp pools


class PowerSum:
    """
    (sum over the window of |x|^p)^(1/p) by a pool of the powers. Ceil windows that hang over are rescaled as torch's
    are: the mean over the part inside times the size of the whole window.
    """

    def __init__(self, runner: Runner, norm: float, taps: int):
        self.runner, self.norm, self.taps = runner, norm, taps

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, arrays

    def powers(self, x: Array) -> Array:
        if self.norm == 2:
            return elementwise.squared(x)
        if self.norm in (1, np.inf):
            return elementwise.absolute(x)
        y = elementwise.absolute(x)
        np.power(y, y.dtype.type(self.norm), out=y)  # whose last bits no library of C has
        return y

    def __call__(self, arrays: Arrays, out: Array | None) -> Array:
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            y: Array = self.runner((self.powers(arrays[0]),))
            if self.norm == np.inf:
                elementwise.not_negative(y, y)  # no valid tap: an empty sum
            elif self.norm == 2:
                elementwise.root(y, self.taps, y)
            else:
                elementwise.scaled(y, self.taps, y)
            if self.norm not in (1, 2, np.inf):
                np.power(y, y.dtype.type(1 / self.norm), out=y)
        return to_result(y, y.dtype, out)


class PowerPooling(Reduction):
    """lp_pool1d, lp_pool2d, lp_pool3d."""

    parameters = "input norm_type kernel_size stride ceil_mode padding dilation out"

    def __call__(self, args: Args) -> Runner:
        x, norm, kernel, stride, ceil_mode, padding, dilation, _ = args
        x = self.array(x)
        norm = params.norm(self.name, norm)
        window = self.window(x, kernel, stride, padding, dilation)
        ceil_mode = self.flag("ceil_mode", ceil_mode)
        return self.resolve(x, Wanted(window, ceil_mode=ceil_mode, include_pad=True), norm)

    def resolve(self, x: Array, wanted: Wanted, norm: float) -> Runner:
        dtype, computed = mean_dtypes(x, wanted)
        pooling = self.check(x, wanted, computed)
        dtypes = dtypes_of((x,), dtype, computed)
        strategy = choose.any_norm(pooling.problem, dtypes, _isa.machine, norm)
        if not isinstance(strategy, choose.Pieces):
            return pool_runner(strategy, pooling, dtype)

        def resolve(x: Array, wanted: Wanted) -> Runner:
            return self.resolve(x, wanted, norm)

        return pieces(strategy, x, pooling, Result(pooling.out_shape, dtype), resolve)
