"""The calls behind grad.py when no cached one serves: check, convert, plan, run, and convert back.

The input gradient of a convolution is a transposed convolution of grad_output, and the other way round; the weight
gradient of a transposed convolution is that of a convolution with input and grad_output in each other's place.
float16 is computed in float32.
"""

from __future__ import annotations

import math

import numpy as np

from . import _args, _calls, _layout, _plan, _problem, _run, _stacked
from ._backward import Gradient, PoolGradPlan, WeightGradPlan
from ._calls import F32, F64, as_kind, to_result


def inner_dtype(dtype):
    """The kernels' element type for a gradient of this dtype."""
    return F64 if dtype.itemsize == 8 else F32


def solid(a):
    """A copy that every kernel can address."""
    return np.require(np.array(a, order="C"), requirements="A")


def ready(key, arrays, dtype, call):
    """Lets calls with this key skip the checks from now on, if nothing has to be converted."""
    if key is not None and all(a.dtype == dtype and a.dtype.isnative for a in arrays):
        _run.keep(key, call)


# ---------------------------------------------------------------- convolution


def fold_padding(grad, size, before, after, mode):
    """The gradient by the padded input added up to that by the input: each padded value stands for one inside."""
    rank = len(size)
    for i, (L, b, a) in enumerate(zip(size, before, after, strict=True)):
        axis = grad.ndim - rank + i
        moved = np.moveaxis(grad, axis, 0)
        left, inside, right = moved[:b], moved[b : b + L], moved[b + L :]
        if mode == "replicate":
            inside[0] += left.sum(0)
            inside[-1] += right.sum(0)
        elif mode == "reflect":
            inside[1 : b + 1] += left[::-1]
            inside[L - 1 - a : L - 1] += right[::-1]
        elif mode == "circular":
            inside[L - b :] += left
            inside[:a] += right
        grad = np.moveaxis(inside, 0, axis)
    return np.ascontiguousarray(grad)


class ConvInput:
    """The input gradient of a convolution."""

    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        input_size, weight, grad, stride, padding, dilation, groups, mode, out = args
        name, rank = self.name, self.rank
        weight, grad, dtype = _args.gradient_arrays(name, weight=weight, grad_output=grad)
        x = _args.stand_in(name, "input_size", input_size, rank)
        x, _, _, groups = _args.conv_arrays(name, rank, x, weight, None, groups, False)
        inner = inner_dtype(dtype)
        params = (stride, padding, dilation, groups, mode)
        p, out_shape, (before, after) = _calls.conv_problem(
            name, rank, x.shape, weight.shape, inner.itemsize, params
        )
        _args.grad_output(name, grad, out_shape, f"input_size {x.shape}")
        _args.output(name, out, dtype, x.shape)
        none = (0, 0, 0)
        whole = p._replace(C=p.O, O=p.C, size=p.out, before=none, out=none, mode=0)
        size, at = x.shape[-rank:], p.before
        if p.mode:
            size, at = (
                tuple(L + b + a for L, b, a in zip(size, before, after, strict=True)),
                none,
            )
        shape = (*x.shape[:-rank], *size)
        if _stacked.serves(whole, at, _args.three(size, 1)):
            stacked = _stacked.StackedPlan(inner, whole, at, _args.three(size, 1), shape)
            y = stacked.run(as_kind(grad, inner), as_kind(weight, inner))
            if p.mode:
                with np.errstate(all="ignore"):
                    y = fold_padding(y, x.shape[-rank:], before, after, mode)
            else:
                ready(key, (weight, grad), inner, lambda size, w, gy, *rest: stacked.run(gy, w))
            return to_result(y, dtype, out)
        _args.phases(name, whole.stride, _args.three(size, 1))
        parts = _problem.transposed_phases(whole, at, _args.three(size, 1))
        plan = _run.ConvPlan(
            inner,
            rank,
            x.ndim == rank + 2,
            shape,
            weight.shape,
            whole,
            parts,
            "auto",
            _plan.TRAINING_BATCH,
        )
        if p.mode:
            y = run_packed(plan, grad, weight, inner, None)
            with np.errstate(all="ignore"):
                y = fold_padding(y, x.shape[-rank:], before, after, mode)
        else:
            ready(key, (weight, grad), inner, packed_call(plan))
            y = run_packed(plan, grad, weight, inner, out if inner == dtype else None)
        return to_result(y, dtype, out)


def run_packed(plan, x, weight, inner, out):
    """A convolution whose weights are packed first, which pays since they have to be reordered anyway."""
    parts = plan.pack(np.ascontiguousarray(as_kind(weight, inner)))
    return _calls.run_parts(plan, as_kind(x, inner), parts, None, out, True)


def packed_call(plan):
    """The same for a later call with these shapes and dtypes; None where the weights must be copied first."""

    def call(input_size, weight, grad, *rest):
        if not weight.flags.c_contiguous:
            return None
        return plan.run(grad, plan.pack(weight), None, None, True)

    return call


def run_weight(plan, x, grad, dtype, inner, out):
    x, grad = as_kind(x, inner), as_kind(grad, inner)
    y = plan.run(x, grad, out if inner == dtype else None)
    if y is None:
        y = plan.run(solid(x), solid(grad), None)
    return to_result(y, dtype, out)


class ConvWeight:
    """The weight gradient of a convolution."""

    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        x, weight_size, grad, stride, padding, dilation, groups, mode, out = args
        name, rank = self.name, self.rank
        x, grad, dtype = _args.gradient_arrays(name, input=x, grad_output=grad)
        weight = _args.weight_stand_in(name, weight_size, rank)
        x, _, _, groups = _args.conv_arrays(name, rank, x, weight, None, groups, False)
        inner = inner_dtype(dtype)
        params = (stride, padding, dilation, groups, mode)
        p, out_shape, _ = _calls.conv_problem(
            name, rank, x.shape, weight.shape, inner.itemsize, params
        )
        _args.grad_output(name, grad, out_shape, f"input of shape {x.shape}")
        _args.output(name, out, dtype, weight.shape)
        plan = WeightGradPlan(inner, rank, x.ndim == rank + 2, weight.shape, p)
        ready(key, (x, grad), inner, lambda x, size, grad, *rest: plan.run(x, grad, None))
        return run_weight(plan, x, grad, dtype, inner, out)


class TransposedInput:
    """The input gradient of a transposed convolution: a convolution of grad_output."""

    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        input_size, weight, grad, stride, padding, extra, groups, dilation, out = args
        name, rank = self.name, self.rank
        weight, grad, dtype = _args.gradient_arrays(name, weight=weight, grad_output=grad)
        x = _args.stand_in(name, "input_size", input_size, rank)
        x, _, _, groups = _args.conv_arrays(name, rank, x, weight, None, groups, True)
        inner = inner_dtype(dtype)
        p = conv_of_transposed(
            name, rank, x, weight, grad, (stride, padding, extra, groups, dilation)
        )
        _args.output(name, out, dtype, x.shape)
        plan = _run.ConvPlan(
            inner,
            rank,
            x.ndim == rank + 2,
            x.shape,
            weight.shape,
            p,
            None,
            "auto",
            _plan.TRAINING_BATCH,
        )
        ready(key, (weight, grad), inner, packed_call(plan))
        y = run_packed(plan, grad, weight, inner, out if inner == dtype else None)
        return to_result(y, dtype, out)


def conv_of_transposed(name, rank, x, weight, grad, params):
    """The convolution whose transpose this is: its input is grad_output, its output the input."""
    whole, out_shape, (before, _) = _calls.transposed_problem(
        name, rank, x.shape, weight.shape, 8, params
    )
    _args.grad_output(name, grad, out_shape, f"input of shape {x.shape}")
    return _problem.normal(
        whole._replace(
            C=whole.O,
            O=whole.C,
            size=_args.three(out_shape[-rank:], 1),
            before=_args.three(before, 0),
            out=whole.size,
        )
    )


class TransposedWeight:
    """The weight gradient of a transposed convolution."""

    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        x, weight_size, grad, stride, padding, extra, groups, dilation, out = args
        name, rank = self.name, self.rank
        x, grad, dtype = _args.gradient_arrays(name, input=x, grad_output=grad)
        weight = _args.weight_stand_in(name, weight_size, rank)
        x, _, _, groups = _args.conv_arrays(name, rank, x, weight, None, groups, True)
        inner = inner_dtype(dtype)
        p = conv_of_transposed(
            name, rank, x, weight, grad, (stride, padding, extra, groups, dilation)
        )
        _args.output(name, out, dtype, weight.shape)
        plan = WeightGradPlan(inner, rank, x.ndim == rank + 2, weight.shape, p)
        ready(key, (x, grad), inner, lambda x, size, grad, *rest: plan.run(grad, x, None))
        return run_weight(plan, grad, x, dtype, inner, out)


class Bias:
    """The bias gradient: the sum over batch and space."""

    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        grad, out = args
        name, rank = self.name, self.rank
        grad, dtype = _args.gradient_arrays(name, grad_output=grad)
        _args.batched(name, grad, rank, "grad_output")
        _args.output(name, out, dtype, (grad.shape[-rank - 1],))
        size = math.prod(grad.shape[-rank:])
        planes = as_kind(grad, inner_dtype(dtype)).reshape(-1, grad.shape[-rank - 1], size)
        # NumPy adds pairwise along the last axis: along all of a plane first, unless planes are tiny
        with np.errstate(invalid="ignore", over="ignore"):
            sums = planes.sum(2).sum(0) if size >= 64 else planes.sum(0).sum(1)
        return to_result(sums, dtype, out)


# ---------------------------------------------------------------- pooling


def run_pool(plan, x, grad, index, dtype, inner, out):
    x, grad = None if x is None else as_kind(x, inner), as_kind(grad, inner)
    y = plan.run(x, grad, index, out if inner == dtype else None)
    if y is None:
        y = plan.run(None if x is None else solid(x), solid(grad), index, None)
    return to_result(y, dtype, out)


class MaxInput:
    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        x, grad, kernel, stride, padding, dilation, ceil_mode, out = args
        name, rank = self.name, self.rank
        x, grad, dtype = _args.gradient_arrays(name, input=x, grad_output=grad)
        _args.pool_array(name, x, rank)
        geometry = _args.pool_geometry(name, rank, kernel, stride, padding, dilation)
        _args.spatial(name, x, rank)
        modes = (_args.flag(name, "ceil_mode", ceil_mode), False)
        inner = inner_dtype(dtype)
        p, out_shape = _calls.pool_problem(name, rank, x.shape, inner.itemsize, geometry, modes)
        _args.grad_output(name, grad, out_shape, f"input of shape {x.shape}")
        _args.output(name, out, dtype, x.shape)
        plan = PoolGradPlan(inner, rank, x.ndim == rank + 2, x.shape, p, 0, 0.0)
        ready(key, (x, grad), inner, lambda x, grad, *rest: plan.run(x, grad, None, None))
        return run_pool(plan, x, grad, None, dtype, inner, out)


class AvgInput:
    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        input_size, grad, kernel, stride, padding, ceil_mode, include_pad, divide, dilation, out = (
            args
        )
        name, rank = self.name, self.rank
        grad, dtype = _args.gradient_arrays(name, grad_output=grad)
        x = _args.stand_in(name, "input_size", input_size, rank)
        geometry = _args.pool_geometry(name, rank, kernel, stride, padding, dilation)
        _args.spatial(name, x, rank)
        modes = (
            _args.flag(name, "ceil_mode", ceil_mode),
            _args.flag(name, "count_include_pad", include_pad),
        )
        divide = _args.divisor(name, divide)
        inner = inner_dtype(dtype)
        p, out_shape = _calls.pool_problem(name, rank, x.shape, inner.itemsize, geometry, modes)
        _args.grad_output(name, grad, out_shape, f"input_size {x.shape}")
        _args.output(name, out, dtype, x.shape)
        plan = PoolGradPlan(inner, rank, x.ndim == rank + 2, x.shape, p, 2, divide)
        ready(key, (grad,), inner, lambda size, grad, *rest: plan.run(None, grad, None, None))
        return run_pool(plan, None, grad, None, dtype, inner, out)


class LPInput:
    """With y = (sum of |x|^p)^(1/p): dy/dx = y^(1-p) |x|^(p-1) sign(x), and 0 where x is 0."""

    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        x, grad, norm, kernel, stride, ceil_mode, padding, dilation, out = args
        name, rank = self.name, self.rank
        x, grad, dtype = _args.gradient_arrays(name, input=x, grad_output=grad)
        _args.pool_array(name, x, rank)
        norm = _args.norm(name, norm)
        geometry = _args.pool_geometry(name, rank, kernel, stride, padding, dilation)
        _args.spatial(name, x, rank)
        modes = (_args.flag(name, "ceil_mode", ceil_mode), True)
        inner = inner_dtype(dtype)
        p, out_shape = _calls.pool_problem(name, rank, x.shape, inner.itemsize, geometry, modes)
        _args.grad_output(name, grad, out_shape, f"input of shape {x.shape}")
        _args.output(name, out, dtype, x.shape)
        x, grad = as_kind(x, inner), as_kind(grad, inner)
        plan = PoolGradPlan(
            inner, rank, x.ndim == rank + 2, x.shape, p, 0 if norm == np.inf else 2, 0.0
        )
        size = np.abs(x)
        if norm == np.inf:
            with np.errstate(invalid="ignore"):
                result = run_pool(plan, size, grad, None, inner, inner, None) * np.sign(x)
            return to_result(result, dtype, out)
        if norm == 1:
            result = run_pool(plan, None, grad, None, inner, inner, None)
            with np.errstate(all="ignore"):
                result *= np.sign(x) * inner.type(math.prod(geometry[0]))
            return to_result(result, dtype, out)
        forward = _calls.LPPool(name, rank)
        y = forward((x, norm, kernel, stride, ceil_mode, padding, dilation, None), None)
        with np.errstate(all="ignore"):
            scaled = np.where(y != 0, grad * y ** inner.type(1 - norm), 0).astype(inner, copy=False)
            result = run_pool(plan, None, scaled, None, inner, inner, None)
            slope = np.copysign(size ** inner.type(norm - 1), x) * inner.type(
                math.prod(geometry[0])
            )
            result = np.where(x != 0, result * slope, 0).astype(inner, copy=False)
        return to_result(result, dtype, out)


class AdaptiveInput:
    def __init__(self, name, rank, maximum):
        self.name, self.rank, self.maximum = name, rank, maximum

    def __call__(self, args, key):
        x, grad, output_size, out = args
        name, rank = self.name, self.rank
        if self.maximum:
            x, grad, dtype = _args.gradient_arrays(name, input=x, grad_output=grad)
            _args.pool_array(name, x, rank)
        else:
            grad, dtype = _args.gradient_arrays(name, grad_output=grad)
            x = _args.stand_in(name, "input_size", x, rank)
        _args.spatial(name, x, rank)
        if output_size is None:
            _args.batched(name, grad, rank, "grad_output")
            output_size = grad.shape[-rank:]
        size = _args.output_size(name, output_size, x.shape[-rank:], rank)
        inner = inner_dtype(dtype)
        p, out_shape = _calls.pool_problem(
            name, rank, x.shape, inner.itemsize, size, (False, False)
        )
        _args.grad_output(name, grad, out_shape, f"input of shape {x.shape}")
        _args.output(name, out, dtype, x.shape)
        plan = PoolGradPlan(
            inner, rank, x.ndim == rank + 2, x.shape, p, 0 if self.maximum else 2, 0.0
        )
        index = None
        if self.maximum:
            forward = _calls.Adaptive(name, rank, True)
            _, index = forward((as_kind(x, inner), size, True, None), None)
        else:
            ready(key, (grad,), inner, lambda size, grad, *rest: plan.run(None, grad, None, None))
        return run_pool(plan, None, grad, index, dtype, inner, out)


class UnpoolInput:
    """The values at the indices; of equal indices each gets the gradient, as in torch."""

    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        indices, grad, kernel, stride, padding, output_size, out = args
        name, rank = self.name, self.rank
        grad, dtype = _args.gradient_arrays(name, grad_output=grad)
        indices = _args.array(name, "indices", indices)
        indices = _args.indices(name, indices, indices.shape)
        _args.batched(name, indices, rank, "indices")
        size = _layout.unpooled_size(
            name, rank, indices.shape, kernel, stride, padding, output_size
        )
        _args.grad_output(
            name, grad, (*indices.shape[:-rank], *size), f"indices of shape {indices.shape}"
        )
        _args.output(name, out, dtype, indices.shape)
        flat = indices.reshape(*indices.shape[:-rank], math.prod(indices.shape[-rank:]))
        _args.index_range(name, flat, math.prod(size))
        planes = grad.reshape(*grad.shape[:-rank], math.prod(size))
        y = np.take_along_axis(planes, flat.astype(np.intp, copy=False), -1).reshape(indices.shape)
        return to_result(y.astype(dtype, copy=False), dtype, out)


# ---------------------------------------------------------------- the table

KINDS = {
    "conv_input": ConvInput,
    "conv_weight": ConvWeight,
    "conv_bias": Bias,
    "conv_transpose_input": TransposedInput,
    "conv_transpose_weight": TransposedWeight,
    "conv_transpose_bias": Bias,
    "max_pool_input": MaxInput,
    "avg_pool_input": AvgInput,
    "lp_pool_input": LPInput,
    "max_unpool_input": UnpoolInput,
}


def gradient(name: str):
    """The callable behind a public function of cconv.grad: all its arguments, positional, `out` last."""
    base, of = name.rsplit("_", 1)
    kind, rank = f"{base[:-2]}_{of}", int(base[-2])
    if of == "bias":
        data = (0,)  # grad_output
    elif "conv" in kind:
        data = (1, 2) if of == "input" else (0, 2)  # beside the size of what the gradient is by
    else:
        data = (1,) if "avg" in kind else (0, 1)
    if kind.startswith("adaptive"):
        return Gradient(name, AdaptiveInput(name, rank, "max" in kind), data)
    return Gradient(name, KINDS[kind](name, rank), data)
