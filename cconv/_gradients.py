"""Resolves gradients, as `_convolutions` and `_pools` do for the functions.

The input gradient of a convolution is a transposed convolution of grad_output, and the other way round; the weight
gradient of a transposed convolution is that of a convolution with input and grad_output in each other's place.
Halves are computed in float32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _elements, _isa, _problem
from ._check import arrays, params, shapes
from ._convert import to_native, to_result
from ._convolutions import check_plain, check_transposed
from ._plan import choose
from ._pools import AdaptiveMaximum, Pooling, PowerPooling, Wanted, Window, check_pool
from ._run import elementwise
from ._run.gradients import PoolGradProgram, WeightGradProgram
from ._run.runner import PyRunner, Runner
from ._run.sums import ChannelSums
from ._strategies import Array, Arrays, Frame, converted, convolution_runner, dtypes_of
from .kernels.job import PoolOp

Shape = tuple[int, ...]
Args = tuple[Any, ...]


def gradient_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What the gradient of such arrays is computed in."""
    return np.dtype(_elements.element(dtype).gradient)


def around(runner: Runner, dtype: np.dtype[Any], *given: Array) -> Runner:
    """The runner of a gradient of `dtype` by arrays like these, which are converted whole."""
    dtypes = dtypes_of(given, dtype, str(runner.dtype))
    return converted(choose.any_gradient(runner.strategy, dtypes), runner, dtype)


class Placed:
    """The arrays of a call as its program takes them: each by its place among those of the call."""

    def __init__(self, runner: Runner, places: tuple[int | None, ...]):
        self.runner, self.places = runner, places

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, tuple(None if i is None else arrays[i] for i in self.places)

    def __call__(self, arrays: Arrays, out: Array | None) -> Any:
        return self.runner(self.delegate(arrays)[1], out)


def placed(runner: Runner, *places: int | None) -> Runner:
    return PyRunner(Placed(runner, places), runner.dtype, runner.out_shape, runner.strategy)


class GradientCall:
    """One function of cconv.grad."""

    def __init__(self, name: str, rank: int):
        self.name, self.rank = name, rank

    def like(self, x: Array, dtype: np.dtype[Any]) -> Array:
        """An array of the shape of x without memory."""
        return np.broadcast_to(np.zeros((), dtype), x.shape)

    def batched(self, x: Array) -> bool:
        return x.ndim == self.rank + 2


# ---------------------------------------------------------------- convolution


class ConvInput(GradientCall):
    """The input gradient of a convolution."""

    parameters = "input_size weight grad_output stride padding dilation groups padding_mode out"

    def __call__(self, args: Args) -> Runner:
        input_size, weight, grad, stride, padding, dilation, groups, mode, _ = args
        name, rank = self.name, self.rank
        weight, grad, dtype = arrays.gradient_arrays(name, weight=weight, grad_output=grad)
        x = arrays.stand_in(name, "input_size", input_size, rank)
        _, _, _, groups = arrays.conv_arrays(name, rank, x, weight, None, groups, False)
        computed = gradient_dtype(dtype)
        given = (stride, padding, dilation, groups, mode)
        checked = check_plain(name, rank, x.shape, weight.shape, computed.itemsize, given)
        arrays.grad_output(name, grad, checked.out_shape, f"input_size {x.shape}")
        after = shapes.three(checked.after, 0)
        whole, before, out = choose.transpose_of(checked.problem, after)
        if not choose.stacks(whole, before, out):
            shapes.phases(name, whole.stride, out)
        machine = _isa.machine(str(computed))
        strategy = choose.conv_input_gradient(checked.problem, after, machine)
        frame = Frame(rank, self.batched(x), x.shape, weight.shape, transposed=True)
        runner = convolution_runner(strategy, frame, computed)
        return around(placed(runner, 1, 0, None), dtype, weight, grad)


class ConvWeight(GradientCall):
    """The weight gradient of a convolution."""

    parameters = "input weight_size grad_output stride padding dilation groups padding_mode out"

    def __call__(self, args: Args) -> Runner:
        x, weight_size, grad, stride, padding, dilation, groups, mode, _ = args
        name, rank = self.name, self.rank
        x, grad, dtype = arrays.gradient_arrays(name, input=x, grad_output=grad)
        weight = arrays.weight_stand_in(name, weight_size, rank)
        x, _, _, groups = arrays.conv_arrays(name, rank, x, weight, None, groups, False)
        computed = gradient_dtype(dtype)
        given = (stride, padding, dilation, groups, mode)
        checked = check_plain(name, rank, x.shape, weight.shape, computed.itemsize, given)
        arrays.grad_output(name, grad, checked.out_shape, f"input of shape {x.shape}")
        strategy = choose.weight_gradient(checked.problem, _isa.machine(str(computed)))
        runner = WeightGradProgram(strategy, rank, self.batched(x), weight.shape)
        return around(runner, dtype, x, grad)


def conv_of_transposed(
    name: str, rank: int, x: Array, weight: Array, grad: Array, given: Args
) -> _problem.ConvProblem:
    """The convolution whose transpose this is: its input is grad_output, its output the input."""
    checked = check_transposed(name, rank, x.shape, weight.shape, 8, given)
    arrays.grad_output(name, grad, checked.out_shape, f"input of shape {x.shape}")
    whole = checked.problem
    return _problem.normal(
        whole._replace(
            C=whole.O,
            O=whole.C,
            size=shapes.three(checked.out_shape[-rank:], 1),
            before=shapes.three(checked.before, 0),
            out=whole.size,
        )
    )


class TransposedInput(GradientCall):
    """The input gradient of a transposed convolution: a convolution of grad_output."""

    parameters = "input_size weight grad_output stride padding output_padding groups dilation out"

    def __call__(self, args: Args) -> Runner:
        input_size, weight, grad, stride, padding, extra, groups, dilation, _ = args
        name, rank = self.name, self.rank
        weight, grad, dtype = arrays.gradient_arrays(name, weight=weight, grad_output=grad)
        x = arrays.stand_in(name, "input_size", input_size, rank)
        _, _, _, groups = arrays.conv_arrays(name, rank, x, weight, None, groups, True)
        given = (stride, padding, extra, groups, dilation)
        p = conv_of_transposed(name, rank, x, weight, grad, given)
        computed = gradient_dtype(dtype)
        strategy = choose.transposed_input_gradient(p, _isa.machine(str(computed)))
        frame = Frame(rank, self.batched(x), x.shape, weight.shape)
        runner = convolution_runner(strategy, frame, computed)
        return around(placed(runner, 1, 0, None), dtype, weight, grad)


class TransposedWeight(GradientCall):
    """The weight gradient of a transposed convolution."""

    parameters = "input weight_size grad_output stride padding output_padding groups dilation out"

    def __call__(self, args: Args) -> Runner:
        x, weight_size, grad, stride, padding, extra, groups, dilation, _ = args
        name, rank = self.name, self.rank
        x, grad, dtype = arrays.gradient_arrays(name, input=x, grad_output=grad)
        weight = arrays.weight_stand_in(name, weight_size, rank)
        x, _, _, groups = arrays.conv_arrays(name, rank, x, weight, None, groups, True)
        given = (stride, padding, extra, groups, dilation)
        p = conv_of_transposed(name, rank, x, weight, grad, given)
        machine = _isa.machine(str(gradient_dtype(dtype)))
        strategy = choose.weight_gradient(p, machine)
        runner = WeightGradProgram(strategy, rank, self.batched(x), weight.shape)
        return around(placed(runner, 1, 0), dtype, x, grad)


class Bias(GradientCall):
    """The bias gradient: the sum over batch and space."""

    parameters = "grad_output out"

    def __call__(self, args: Args) -> Runner:
        grad, _ = args
        name, rank = self.name, self.rank
        grad, dtype = arrays.gradient_arrays(name, grad_output=grad)
        arrays.batched(name, grad, rank, "grad_output")
        channels = grad.shape[-rank - 1]
        samples = grad.shape[0] if self.batched(grad) else 1
        shape = (samples, channels, math.prod(grad.shape[-rank:]))
        strategy = choose.Plain("sums, pairwise along each plane")
        runner = ChannelSums(strategy, gradient_dtype(dtype), shape)
        return around(runner, dtype, grad)


# ---------------------------------------------------------------- pooling


class PoolGradient(GradientCall):
    """The input gradient of a pool."""

    def program(
        self, pooling: Pooling, x: Array, computed: np.dtype[Any], op: PoolOp,
        indexed: bool = False, divide: float = 0.0,
    ) -> Runner:  # fmt: skip
        machine = _isa.machine(str(computed))
        strategy = choose.pool_gradient(pooling.problem, machine, op, indexed, divide)
        return PoolGradProgram(strategy, self.rank, self.batched(x), x.shape)

    def window(self, *given: Any) -> Window:
        """`given`: kernel_size, stride, padding, dilation."""
        return Window(*params.pool_geometry(self.name, self.rank, *given))

    def scattered(
        self, pooling: Pooling, x: Array, grad: Array, indices: Any, dtype: np.dtype[Any]
    ) -> Runner:
        """Of maxima whose places are given; the arrays are (x, grad, indices)."""
        arrays.indices(self.name, indices, pooling.out_shape, "grad_output's")
        runner = self.program(pooling, x, gradient_dtype(dtype), PoolOp.POOL_MAX, indexed=True)
        work = GivenMaxima(self.name, runner, dtype, math.prod(x.shape[-self.rank :]))
        dtypes = dtypes_of((grad,), dtype, str(runner.dtype))
        return PyRunner(work, dtype, x.shape, choose.any_gradient(runner.strategy, dtypes))


class GivenMaxima:
    """The gradient goes to positions that are given, which are looked at in every call."""

    def __init__(self, name: str, runner: Runner, dtype: np.dtype[Any], plane: int):
        self.name, self.runner, self.dtype, self.plane = name, runner, dtype, plane

    def delegate(self, given: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, (None, given[1], given[2])

    def __call__(self, given: Arrays, out: Array | None) -> Array:
        computed = self.runner.dtype
        index = np.ascontiguousarray(given[2], np.int64)
        if out is not None:
            # nothing is written before it is known that all is well
            arrays.maxima_range(self.name, index, self.plane)
        native = None, to_native(given[1], computed), index
        try:
            result = self.runner(native, out if computed == self.dtype else None)
        except ValueError:
            arrays.maxima_range(self.name, index, self.plane)
            raise
        return to_result(result, self.dtype, out)


class MaxInput(PoolGradient):
    parameters = (
        "input grad_output kernel_size stride padding dilation ceil_mode indices:OPTIONAL out"
    )

    def __call__(self, args: Args) -> Runner:
        x, grad, kernel, stride, padding, dilation, ceil_mode, indices, _ = args
        name, rank = self.name, self.rank
        x, grad, dtype = arrays.gradient_arrays(name, input=x, grad_output=grad)
        arrays.pool_array(name, x, rank)
        window = self.window(kernel, stride, padding, dilation)
        arrays.spatial(name, x, rank)
        wanted = Wanted(window, ceil_mode=params.flag(name, "ceil_mode", ceil_mode))
        computed = gradient_dtype(dtype)
        pooling = check_pool(name, rank, x.shape, wanted, computed.itemsize)
        arrays.grad_output(name, grad, pooling.out_shape, f"input of shape {x.shape}")
        if indices is not None:
            return self.scattered(pooling, x, grad, indices, dtype)
        runner = self.program(pooling, x, computed, PoolOp.POOL_MAX)
        return around(placed(runner, 0, 1, None), dtype, x, grad)


class AverageInput(PoolGradient):
    parameters = (
        "input_size grad_output kernel_size stride padding ceil_mode count_include_pad "
        "divisor_override dilation out"
    )

    def __call__(self, args: Args) -> Runner:
        input_size, grad, kernel, stride, padding, ceil_mode, include_pad, divide, dilation, _ = (
            args
        )
        name, rank = self.name, self.rank
        grad, dtype = arrays.gradient_arrays(name, grad_output=grad)
        x = arrays.stand_in(name, "input_size", input_size, rank)
        window = self.window(kernel, stride, padding, dilation)
        arrays.spatial(name, x, rank)
        wanted = Wanted(
            window,
            ceil_mode=params.flag(name, "ceil_mode", ceil_mode),
            include_pad=params.flag(name, "count_include_pad", include_pad),
        )
        divide = params.divisor(name, divide)
        computed = gradient_dtype(dtype)
        pooling = check_pool(name, rank, x.shape, wanted, computed.itemsize)
        arrays.grad_output(name, grad, pooling.out_shape, f"input_size {x.shape}")
        runner = self.program(pooling, x, computed, PoolOp.POOL_AVERAGE, divide=divide)
        return around(placed(runner, None, 0, None), dtype, grad)


class PowerInput(PoolGradient):
    """With y = (sum of |x|^p)^(1/p): dy/dx = y^(1-p) |x|^(p-1) sign(x), and 0 where x is 0."""

    parameters = "input grad_output norm_type kernel_size stride ceil_mode padding dilation out"

    def __call__(self, args: Args) -> Runner:
        x, grad, norm, kernel, stride, ceil_mode, padding, dilation, _ = args
        name, rank = self.name, self.rank
        x, grad, dtype = arrays.gradient_arrays(name, input=x, grad_output=grad)
        arrays.pool_array(name, x, rank)
        norm = params.norm(name, norm)
        window = self.window(kernel, stride, padding, dilation)
        arrays.spatial(name, x, rank)
        ceil_mode = params.flag(name, "ceil_mode", ceil_mode)
        wanted = Wanted(window, ceil_mode=ceil_mode, include_pad=True)
        computed = gradient_dtype(dtype)
        pooling = check_pool(name, rank, x.shape, wanted, computed.itemsize)
        arrays.grad_output(name, grad, pooling.out_shape, f"input of shape {x.shape}")
        op = PoolOp.POOL_MAX if norm == np.inf else PoolOp.POOL_AVERAGE
        inner = self.program(pooling, x, computed, op)
        forward = None
        if norm not in (1, np.inf):
            like = self.like(x, computed)
            forward = PowerPooling(name, rank).resolve(like, wanted, norm)
        work = PowerGradient(inner, forward, norm, pooling.taps)
        strategy = choose.Powers(norm, inner.strategy)
        return around(PyRunner(work, computed, x.shape, strategy), dtype, x, grad)


class PowerGradient:
    """The gradient of an lp pool by that of a maximum or an average."""

    def __init__(self, runner: Runner, forward: Runner | None, norm: float, taps: int):
        self.runner, self.forward, self.norm, self.taps = runner, forward, norm, taps

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, arrays

    def given(self, x: Array, grad: Array) -> Arrays:
        """What the pool's gradient is made of."""
        if self.norm == np.inf:
            return elementwise.absolute(x), grad, None
        if self.forward is None:
            return None, grad, None
        y: Array = self.forward((x,))
        if self.norm == 2:
            return None, elementwise.divide_by(y, grad), None
        with np.errstate(all="ignore"):
            scaled = y ** y.dtype.type(1 - self.norm)
        return None, elementwise.blank(elementwise.multiply(scaled, grad), y), None

    def __call__(self, arrays: Arrays, out: Array | None) -> Array:
        x = arrays[0]
        result: Array = self.runner(self.given(*arrays))
        if self.norm == np.inf:
            elementwise.multiply_by_sign(result, x, 1)
        elif self.forward is None:
            elementwise.multiply_by_sign(result, x, self.taps)
        elif self.norm == 2:
            elementwise.multiply_by_value(result, x, self.taps)
        else:
            size = elementwise.absolute(x)
            with np.errstate(all="ignore"):
                size = size ** x.dtype.type(self.norm - 1)
            elementwise.multiply(result, elementwise.take_sign(size, x, self.taps))
            elementwise.blank(result, x)
        return to_result(result, result.dtype, out)


class AdaptiveInput(PoolGradient):
    """What the gradients of both adaptive pools share."""

    def pooling(self, x: Array, grad: Array, output_size: Any, itemsize: int) -> Pooling:
        name, rank = self.name, self.rank
        arrays.spatial(name, x, rank)
        if output_size is None:
            arrays.batched(name, grad, rank, "grad_output")
            output_size = grad.shape[-rank:]
        size = params.output_size(name, output_size, x.shape[-rank:], rank)
        pooling = check_pool(name, rank, x.shape, Wanted(None, size), itemsize)
        arrays.grad_output(name, grad, pooling.out_shape, f"input of shape {x.shape}")
        return pooling


class AdaptiveAverageInput(AdaptiveInput):
    parameters = "input_size grad_output output_size out"

    def __call__(self, args: Args) -> Runner:
        input_size, grad, output_size, _ = args
        grad, dtype = arrays.gradient_arrays(self.name, grad_output=grad)
        x = arrays.stand_in(self.name, "input_size", input_size, self.rank)
        computed = gradient_dtype(dtype)
        pooling = self.pooling(x, grad, output_size, computed.itemsize)
        runner = self.program(pooling, x, computed, PoolOp.POOL_AVERAGE)
        return around(placed(runner, None, 0, None), dtype, grad)


class AdaptiveMaximumInput(AdaptiveInput):
    parameters = "input grad_output output_size indices:OPTIONAL out"

    def __call__(self, args: Args) -> Runner:
        x, grad, output_size, indices, _ = args
        x, grad, dtype = arrays.gradient_arrays(self.name, input=x, grad_output=grad)
        arrays.pool_array(self.name, x, self.rank)
        computed = gradient_dtype(dtype)
        pooling = self.pooling(x, grad, output_size, computed.itemsize)
        if indices is not None:
            return self.scattered(pooling, x, grad, indices, dtype)
        runner = self.program(pooling, x, computed, PoolOp.POOL_MAX, indexed=True)
        forward = AdaptiveMaximum(self.name, self.rank)
        maxima = forward.resolve(self.like(x, computed), pooling.wanted, True)
        work = MaximaGradient(runner, maxima)
        strategy = runner.strategy
        return around(PyRunner(work, computed, x.shape, strategy), dtype, x, grad)


class MaximaGradient:
    """The gradient goes to where the maxima are, which are looked for first."""

    def __init__(self, runner: Runner, maxima: Runner):
        self.runner, self.maxima = runner, maxima

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, arrays

    def __call__(self, arrays: Arrays, out: Array | None) -> Any:
        x, grad = arrays[:2]
        return self.runner((None, grad, self.maxima((x,))[1]), out)
