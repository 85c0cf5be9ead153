"""The calls behind functional.py when no cached plan serves: check, convert, plan, run, and convert back.

Element types: the kernels compute in float32, float64, int32 and int64. float16 is computed in float32; integers wrap
as NumPy's do, so those of up to 32 bits are computed in int32; a complex convolution is a real one with the real and
imaginary parts as channels (re = wr*xr - wi*xi, im = wi*xr + wr*xi).
"""

from __future__ import annotations

import math

import numpy as np

from . import _args, _plan, _problem, _run, _slabs

F16, F32, F64, I32, I64 = (
    np.dtype(t) for t in (np.float16, np.float32, np.float64, np.int32, np.int64)
)
FLOATS_LEAST = 2**22  # multiply-adds from which integers are worth a look at their range
FLOATS_MOST = 2**23  # elements whose copies as floats stay within the promised memory


def conv_dtype(dtype: np.dtype) -> np.dtype:
    """The kernels' element type for a result of this dtype."""
    if dtype.kind in "iu":
        return I32 if dtype.itemsize <= 4 else I64
    return F64 if dtype.char in "dD" else F32


def as_kind(a, dtype):
    """C-contiguous or not, but native and of this dtype."""
    if a.dtype == F16 and dtype == F32:
        # a copy of halves first: NumPy's own conversion takes many times as long
        converted = _run.convert_halves(np.ascontiguousarray(a), dtype)
        if converted is not None:
            return converted
    return a if a.dtype == dtype and a.dtype.isnative else a.astype(dtype)


def to_result(y, dtype, out):
    """The computed array in the result's dtype, in `out` if it was given."""
    if dtype == F16 and y.dtype == F32:
        converted = _run.convert_halves(y, F16)
        if converted is not None:
            y = converted
    if out is None:
        if y.dtype == dtype:
            return y
        with np.errstate(
            over="ignore", under="ignore", invalid="ignore"
        ):  # float16: too large becomes inf, as in a kernel
            return y.astype(dtype)
    if y is not out:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            np.copyto(out, y, casting="unsafe")
    return out


# ---------------------------------------------------------------- convolution


def conv_problem(name, rank, shape, weight_shape, itemsize, params):
    """The problem of a convolution of these shapes, the shape of its result, and the padding (before, after)."""
    stride, padding, dilation, groups, padding_mode = params
    stride = _args.axes(name, "stride", stride, rank, 1)
    dilation = _args.axes(name, "dilation", dilation, rank, 1)
    kernel, size = weight_shape[2:], shape[-rank:]
    before, after = _args.conv_padding(name, padding, rank, stride, dilation, kernel)
    mode = _args.padding_mode(name, padding_mode, before, after, size)
    out = tuple(
        _problem.conv_size(*axis)
        for axis in zip(size, kernel, stride, dilation, before, after, strict=True)
    )
    _args.conv_out(name, out, size, kernel, dilation, before, after)
    _args.padded_input(name, shape[-rank - 1], size, before, after)
    batched = len(shape) == rank + 2
    O = weight_shape[0]
    out_shape = ((shape[0],) if batched else ()) + (O, *out)
    _args.elements(name, out_shape, itemsize)
    problem = _problem.conv(
        shape[0] if batched else 1,
        groups,
        weight_shape[1],
        O // groups,
        _args.three(size, 1),
        _args.three(kernel, 1),
        _args.three(stride, 1),
        _args.three(dilation, 1),
        _args.three(before, 0),
        _args.three(after, 0),
        mode,
    )
    return problem, out_shape, (before, after)


def make_conv(name, rank, shape, weight_shape, dtype, params, packed=False):
    """A ConvPlan for arrays of these shapes, computed in `dtype`."""
    *params, algorithm = params
    _args.algorithm(name, algorithm)
    problem, out_shape, _ = conv_problem(name, rank, shape, weight_shape, dtype.itemsize, params)
    batched = len(shape) == rank + 2
    if algorithm == "fft":
        _args.fft_serves(name, dtype)
    if 0 not in out_shape and (
        algorithm == "fft"
        or (
            algorithm == "auto"
            and dtype.kind == "f"
            and _plan.fft_pays(problem, dtype.itemsize, _run.lanes(dtype))
        )
    ):
        from ._fft import FftPlan  # numpy.fft is loaded by those who need it

        return FftPlan(dtype, rank, batched, out_shape, weight_shape, problem)
    plan = _run.ConvPlan(
        dtype, rank, batched, out_shape, weight_shape, problem, None, algorithm, packed
    )
    _args.served(name, algorithm, plan)
    return plan


def transposed_problem(name, rank, shape, weight_shape, itemsize, params):
    """The same for a transposed convolution; the problem is that of its input, without padding."""
    stride, padding, extra, groups, dilation = params
    stride = _args.axes(name, "stride", stride, rank, 1)
    dilation = _args.axes(name, "dilation", dilation, rank, 1)
    before, after = _args.pairs(name, padding, rank)
    extra = _args.output_padding(name, extra, rank, stride, dilation)
    kernel, size = weight_shape[2:], shape[-rank:]
    out = tuple(
        _problem.transposed_size(*axis)
        for axis in zip(size, kernel, stride, dilation, before, after, extra, strict=True)
    )
    _args.transposed_out(name, out, padding, size)
    _args.reach(name, shape[-rank - 1], out, kernel, dilation, padding)
    _args.phases(name, stride, out)
    batched = len(shape) == rank + 2
    C, O = weight_shape[0] // groups, weight_shape[1]
    out_shape = ((shape[0],) if batched else ()) + (O * groups, *out)
    _args.elements(name, out_shape, itemsize)
    none = (0, 0, 0)
    whole = _problem.ConvProblem(
        shape[0] if batched else 1,
        groups,
        C,
        O,
        _args.three(size, 1),
        _args.three(kernel, 1),
        _args.three(stride, 1),
        _args.three(dilation, 1),
        none,
        none,
        0,
    )
    return whole, out_shape, (before, after)


def make_transposed(name, rank, shape, weight_shape, dtype, params, packed=False):
    """The same for a transposed convolution: one problem a phase."""
    *params, algorithm = params
    _args.algorithm(name, algorithm)
    whole, out_shape, (before, _) = transposed_problem(
        name, rank, shape, weight_shape, dtype.itemsize, params
    )
    parts = _problem.transposed_phases(
        whole, _args.three(before, 0), _args.three(out_shape[-rank:], 1)
    )
    batched = len(shape) == rank + 2
    plan = _run.ConvPlan(
        dtype, rank, batched, out_shape, weight_shape, whole, parts, algorithm, packed
    )
    _args.served(name, algorithm, plan)
    return plan


def double_input(x, groups, rank):
    """Complex channels as real ones, [re, im] in each group."""
    lead = x.shape[: -rank - 1]
    c = x.shape[-rank - 1] // groups
    parts = x.reshape(*lead, groups, c, *x.shape[-rank:])
    stacked = np.stack([parts.real, parts.imag], axis=len(lead) + 1)
    return stacked.reshape(*lead, 2 * c * groups, *x.shape[-rank:])


def double_weight(w, groups, transposed):
    """[[wr, -wi], [wi, wr]] in each group, outputs by inputs."""
    first, second = w.shape[0] // groups, w.shape[1]
    parts = w.reshape(groups, first, second, *w.shape[2:])
    result = np.empty((groups, 2, first, 2, second, *w.shape[2:]), parts.real.dtype)
    result[:, 0, :, 0] = result[:, 1, :, 1] = parts.real
    minus = (1, 0) if transposed else (0, 1)  # real output from imaginary input
    result[:, minus[0], :, minus[1]] = -parts.imag
    result[:, minus[1], :, minus[0]] = parts.imag
    return result.reshape(groups * 2 * first, 2 * second, *w.shape[2:])


def join_complex(y, groups, rank, dtype):
    """[re, im] channels of each group back to complex ones."""
    lead = y.shape[: -rank - 1]
    o = y.shape[-rank - 1] // (2 * groups)
    parts = y.reshape(*lead, groups, 2, o, *y.shape[-rank:])
    result = np.empty((*lead, groups, o, *y.shape[-rank:]), dtype)
    result.real = np.take(parts, 0, axis=len(lead) + 1)
    result.imag = np.take(parts, 1, axis=len(lead) + 1)
    return result.reshape(*lead, groups * o, *y.shape[-rank:])


def run_conv(plan, x, weight, bias, out):
    """Copies whatever the kernels cannot address, and runs."""
    parts = plan.split_weight(np.ascontiguousarray(weight))
    return run_parts(plan, x, parts, bias, out, False)


def run_parts(plan, x, parts, bias, out, packed):
    bias = None if bias is None else np.ascontiguousarray(bias)
    y = plan.run(x, parts, bias, out, packed)
    if y is None:
        # misaligned, odd strides, or `out` overlaps an input: compute from copies
        copy = np.require(np.array(x, order="C"), requirements="A")
        parts = [np.require(np.array(part, order="C"), requirements="A") for part in parts]
        bias = None if bias is None else np.array(bias, order="C")
        y = plan.run(copy, parts, bias, None, packed)
    return y


class ConvCall:
    """The slow path of conv1d ... conv_transpose3d."""

    def __init__(self, name: str, rank: int, transposed: bool):
        self.name, self.rank, self.transposed = name, rank, transposed
        self.make = make_transposed if transposed else make_conv

    def __call__(self, args, key):
        x, weight, bias = args[:3]
        out, algorithm = args[8:]
        params = [*args[3:8], algorithm]
        at = 3  # groups
        x, weight, bias, params[at] = _args.conv_arrays(
            self.name, self.rank, x, weight, bias, params[at], self.transposed
        )
        arrays = [a for a in (x, weight, bias) if a is not None]
        dtype = np.result_type(*arrays)
        inner = conv_dtype(dtype)
        if not all(a.dtype == inner and a.dtype.isnative for a in arrays):
            y = self.slabs(x, weight, bias, params, out, dtype, inner)
            if y is not None:
                return y
        if dtype.kind in "iu":
            floats = self.floats(x, weight, bias, params, inner)
            if floats is not None:
                _args.output(self.name, out, dtype, floats[0])
                return to_result(floats[1].astype(dtype, copy=False), dtype, out)
        if all(a.dtype == inner and a.dtype.isnative for a in arrays):
            plan = self.plan(x.shape, weight.shape, inner, params)
            _args.output(self.name, out, dtype, plan.out_shape)
            if isinstance(plan, _run.ConvPlan):
                _run.keep(key, plan)
            y = run_conv(plan, x, weight, bias, out)
            return to_result(y, dtype, out)
        if dtype.kind == "c":
            return self.complex(x, weight, bias, params, out, dtype, inner)
        plan = self.plan(x.shape, weight.shape, inner, params)
        _args.output(self.name, out, dtype, plan.out_shape)
        b = None if bias is None else as_kind(bias, inner)
        return to_result(
            run_conv(plan, as_kind(x, inner), as_kind(weight, inner), b, None), dtype, out
        )

    def slabs(self, x, weight, bias, params, out, dtype, inner):
        """What has to be converted, in slabs; None where it is one."""
        problem = transposed_problem if self.transposed else conv_problem
        p, shape, pads = problem(
            self.name, self.rank, x.shape, weight.shape, inner.itemsize, params[:-1]
        )
        _args.algorithm(self.name, params[-1])
        _args.output(self.name, out, dtype, shape)
        return _slabs.conv(self, x, weight, bias, params, out, dtype, inner, p, shape, pads)

    def plan(self, shape, weight_shape, inner, params, packed=False):
        return self.make(self.name, self.rank, shape, weight_shape, inner, params, packed)

    def floats(self, x, weight, bias, params, inner):
        """Integers whose every sum a float holds exactly are convolved as floats, several times as fast: the shape and
        the values as integers, or None if the work is small, the arrays are huge or the sums might be inexact."""
        if weight.size == 0 or not 0 < x.size <= FLOATS_MOST or weight.size > FLOATS_MOST:
            return None
        outputs = weight.shape[1] * params[3] if self.transposed else weight.shape[0]
        terms = weight.size // max(1, outputs)
        if x.size * outputs * max(1, terms // x.shape[-self.rank - 1]) < FLOATS_LEAST:
            return None
        plan = self.plan(x.shape, weight.shape, inner, params)  # for its checks and its shape
        parts = [max(int(a.max()), -int(a.min())) for a in (x, weight)]
        most = parts[0] * parts[1] * terms
        if bias is not None and bias.size:
            most += max(int(bias.max()), -int(bias.min()))
        if most >= 2**53:
            return None
        dtype, middle = (F32, I32) if most < 2**24 else (F64, I64)
        floats = self.plan(x.shape, weight.shape, dtype, [*params[:-1], "direct"])
        b = None if bias is None else bias.astype(dtype)
        y = run_conv(floats, x.astype(dtype), weight.astype(dtype), b, None)
        return plan.out_shape, y.astype(middle)

    def complex(self, x, weight, bias, params, out, dtype, inner):
        groups, rank = params[3], self.rank
        # checked in the caller's own shapes: an error should not speak of doubled channels
        plan = self.plan(x.shape, weight.shape, inner, params)
        _args.output(self.name, out, dtype, plan.out_shape)
        x2 = as_kind(double_input(x.astype(dtype), groups, rank), inner)
        w2 = as_kind(double_weight(weight.astype(dtype), groups, self.transposed), inner)
        plan = self.plan(x2.shape, w2.shape, inner, params)
        y = join_complex(run_conv(plan, x2, w2, None, None), groups, rank, dtype)
        if bias is not None:
            with np.errstate(all="ignore"):  # of infinities, as in a kernel
                y += bias.astype(dtype).reshape(-1, *(1,) * rank)
        return to_result(y, dtype, out)


# ---------------------------------------------------------------- pooling


def pool_dtype(dtype: np.dtype) -> np.dtype:
    """The kernels' element type for a maximum."""
    if dtype.kind == "f":
        return F64 if dtype.itemsize == 8 else F32
    return I32 if dtype.itemsize < 4 or dtype == I32 else I64


def float_dtypes(dtype: np.dtype, kernel=(), stride=()) -> tuple[np.dtype, np.dtype]:
    """Result and kernel types of an average: integers give float64, as np.mean."""
    result = dtype.newbyteorder("=") if dtype.kind == "f" else F64
    wide = result.itemsize == 8 or _plan.wide(_args.three(kernel, 1), _args.three(stride, 1))
    return result, F64 if wide else F32


def pool_problem(name, rank, shape, itemsize, geometry, modes):
    """The problem of `geometry` (kernel, stride, before, after, dilation) or an adaptive size; the result's shape."""
    batched = len(shape) == rank + 2
    size = _args.three(shape[-rank:], 1)
    n, c = (shape[0] if batched else 1), shape[-rank - 1]
    ceil_mode, include_pad = modes
    if len(geometry) == rank:
        problem = _problem.adaptive(n, c, size, _args.three(geometry, 1))
        out = geometry
    else:
        kernel, stride, before, after, dilation = geometry
        out = tuple(
            _problem.pool_size(*axis, ceil_mode)
            for axis in zip(shape[-rank:], kernel, stride, dilation, before, after, strict=True)
        )
        _args.conv_out(name, out, shape[-rank:], kernel, dilation, before, after)
        filled = [_args.three(v, 1) for v in (kernel, stride, dilation)]
        pads = [_args.three(v, 0) for v in (before, after)]
        problem = _problem.pool(n, c, size, *filled, *pads, ceil_mode, include_pad)
    out_shape = ((n,) if batched else ()) + (c, *out)
    _args.elements(name, out_shape, itemsize)
    return problem, out_shape


def pool_plan(name, rank, shape, dtype, geometry, modes, op, indexed=False, divide=0.0):
    """A PoolPlan of `geometry`, as in `pool_problem`."""
    problem, out_shape = pool_problem(name, rank, shape, dtype.itemsize, geometry, modes)
    batched = len(shape) == rank + 2
    return _run.PoolPlan(dtype, rank, batched, out_shape, problem, op, indexed, divide)


def run_pool(plan, x, out, index=None):
    y = plan.run(x, out, index)
    if y is None:
        y = plan.run(np.require(np.array(x, order="C"), requirements="A"), None, index)
    return y


def run_max(name, plan_of, x, return_indices, out, key):
    """Maxima of any real dtype; uint64 is shifted into int64, which keeps its order."""
    x = x.view(np.uint8) if x.dtype.kind == "b" else x
    dtype = x.dtype.newbyteorder("=")
    inner = pool_dtype(dtype)
    plan = plan_of(inner, return_indices)
    _args.output(name, out, dtype, plan.out_shape)
    flip = np.uint64(1 << 63)
    if dtype == np.uint64:
        inside = (x.astype(np.uint64) ^ flip).view(np.int64)
    else:
        inside = as_kind(x, inner)
    index = _run.fresh(plan.out_shape, I64) if return_indices else None
    same = inner == dtype
    if same and not return_indices and x.dtype.isnative:
        _run.keep(key, plan)
    y = run_pool(plan, inside, out if same else None, index)
    if dtype == np.uint64:
        y = y.view(np.uint64) ^ flip
    elif not same and dtype.kind != "f":
        # a window without a valid tap has the minimum of its own dtype, not the kernel's
        y = np.maximum(y, np.iinfo(dtype).min)
    y = to_result(y, dtype, out)
    return (y, index) if return_indices else y


class MaxPool:
    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        x, kernel, stride, padding, dilation, ceil_mode, return_indices, out = args
        name, rank = self.name, self.rank
        x = _args.pool_array(name, x, rank)
        geometry = _args.pool_geometry(name, rank, kernel, stride, padding, dilation)
        _args.spatial(name, x, rank)
        ceil_mode = _args.flag(name, "ceil_mode", ceil_mode)
        return_indices = _args.flag(name, "return_indices", return_indices)
        dtype = np.dtype(np.uint8) if x.dtype.kind == "b" else x.dtype.newbyteorder("=")
        inner = pool_dtype(dtype)
        _, shape = pool_problem(name, rank, x.shape, inner.itemsize, geometry, (ceil_mode, False))
        _args.output(name, out, dtype, shape)

        def slab(x, padding, out):
            args = (x, *geometry[:2], padding, geometry[4], ceil_mode, return_indices, out)
            return self(args, None)

        y = _slabs.pool(slab, x, rank, geometry, (dtype, inner), shape, out, return_indices)
        if y is not None:
            return y

        def plan_of(inner, indexed):
            return pool_plan(name, rank, x.shape, inner, geometry, (ceil_mode, False), 0, indexed)

        return run_max(name, plan_of, x, return_indices, out, key)


class AvgPool:
    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        x, kernel, stride, padding, ceil_mode, include_pad, divide, dilation, out = args
        name, rank = self.name, self.rank
        x = _args.pool_array(name, x, rank)
        geometry = _args.pool_geometry(name, rank, kernel, stride, padding, dilation)
        _args.spatial(name, x, rank)
        modes = (
            _args.flag(name, "ceil_mode", ceil_mode),
            _args.flag(name, "count_include_pad", include_pad),
        )
        divisor = _args.divisor(name, divide)
        dtype, inner = float_dtypes(x.dtype, geometry[0], geometry[1])
        _, shape = pool_problem(name, rank, x.shape, inner.itemsize, geometry, modes)
        _args.output(name, out, dtype, shape)

        def slab(x, padding, out):
            args = (x, *geometry[:2], padding, *modes, divide, geometry[4], out)
            return self(args, None)

        y = _slabs.pool(slab, x, rank, geometry, (dtype, inner), shape, out)
        if y is not None:
            return y
        plan = pool_plan(name, rank, x.shape, inner, geometry, modes, 2, False, divisor)
        if x.dtype == inner == dtype and x.dtype.isnative:
            _run.keep(key, plan)
        same = out if inner == dtype else None
        return to_result(run_pool(plan, as_kind(x, inner), same), dtype, out)


class LPPool:
    """(sum over the window of |x|^p)^(1/p); ceil windows that hang over are rescaled as torch's are: the mean over
    the part inside times the size of the whole window."""

    def __init__(self, name, rank):
        self.name, self.rank = name, rank

    def __call__(self, args, key):
        x, norm, kernel, stride, ceil_mode, padding, dilation, out = args
        name, rank = self.name, self.rank
        x = _args.pool_array(name, x, rank)
        norm = _args.norm(name, norm)
        geometry = _args.pool_geometry(name, rank, kernel, stride, padding, dilation)
        _args.spatial(name, x, rank)
        modes = (_args.flag(name, "ceil_mode", ceil_mode), True)
        dtype, inner = float_dtypes(x.dtype, geometry[0], geometry[1])
        _, shape = pool_problem(name, rank, x.shape, inner.itemsize, geometry, modes)
        _args.output(name, out, dtype, shape)

        def slab(x, padding, out):
            return self((x, norm, *geometry[:2], modes[0], padding, geometry[4], out), None)

        y = _slabs.pool(slab, x, rank, geometry, (dtype, inner), shape, out, copies=True)
        if y is not None:
            return y
        if norm == np.inf:
            plan = pool_plan(name, rank, x.shape, inner, geometry, modes, 0)
            _args.output(name, out, dtype, plan.out_shape)
            y = run_pool(plan, np.abs(as_kind(x, inner)), None)
            return to_result(np.maximum(y, 0), dtype, out)  # no valid tap: an empty sum
        plan = pool_plan(name, rank, x.shape, inner, geometry, modes, 2)
        _args.output(name, out, dtype, plan.out_shape)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            powers = as_kind(x, inner)
            if norm == 2:
                powers = np.square(powers)
            elif norm == 1:
                powers = np.abs(powers)
            else:
                powers = np.power(np.abs(powers), inner.type(norm))
            y = run_pool(plan, powers, None)
            y *= inner.type(math.prod(geometry[0]))
            if norm == 2:
                np.sqrt(y, out=y)
            elif norm != 1:
                np.power(y, inner.type(1 / norm), out=y)
        return to_result(y, dtype, out)


class Adaptive:
    def __init__(self, name, rank, maximum):
        self.name, self.rank, self.maximum = name, rank, maximum

    def __call__(self, args, key):
        name, rank, out = self.name, self.rank, args[-1]
        x = _args.pool_array(name, args[0], rank)
        _args.spatial(name, x, rank)
        size = _args.output_size(name, args[1], x.shape[-rank:], rank)
        taps = [-(-L // max(1, o)) for L, o in zip(x.shape[-rank:], size, strict=True)]
        types = float_dtypes(x.dtype, taps, taps)
        indexed = self.maximum and _args.flag(name, "return_indices", args[2])
        if self.maximum:
            dtype = np.dtype(np.uint8) if x.dtype.kind == "b" else x.dtype.newbyteorder("=")
            types = dtype, pool_dtype(dtype)
        _, shape = pool_problem(name, rank, x.shape, types[1].itemsize, size, (False, False))
        _args.output(name, out, types[0], shape)

        def slab(x, padding, out):
            return self((x, size, indexed, out) if self.maximum else (x, size, out), None)

        y = _slabs.pool(slab, x, rank, None, types, shape, out, indexed)
        if y is not None:
            return y
        if self.maximum:

            def plan_of(inner, indexed):
                return pool_plan(name, rank, x.shape, inner, size, (False, False), 0, indexed)

            return run_max(name, plan_of, x, indexed, out, key)
        dtype, inner = types
        plan = pool_plan(name, rank, x.shape, inner, size, (False, False), 2)
        _args.output(name, out, dtype, plan.out_shape)
        if x.dtype == inner == dtype and x.dtype.isnative:
            _run.keep(key, plan)
        same = out if inner == dtype else None
        return to_result(run_pool(plan, as_kind(x, inner), same), dtype, out)


# ---------------------------------------------------------------- the table


def operation(name: str):
    """The callable behind a public function: all its arguments, positional, in functional.py's order."""
    from . import _layout

    base, rank = (
        (name[:-2], int(name[-2])) if name.endswith("d") and name[-2] in "123" else (name, 0)
    )
    if base == "conv":
        return _run.Operation(name, ConvCall(name, rank, False), 3, 8, 0)
    if base == "conv_transpose":
        return _run.Operation(name, ConvCall(name, rank, True), 3, 8, 0)
    if base == "max_pool":
        return _run.Operation(name, MaxPool(name, rank), 1, 7, 1 << 5 | 1 << 6)
    if base == "avg_pool":
        return _run.Operation(name, AvgPool(name, rank), 1, 8, 1 << 4 | 1 << 5)
    if base == "lp_pool":
        return _run.Operation(name, LPPool(name, rank), 1, 7, 1 << 4)
    if base == "adaptive_avg_pool":
        return _run.Operation(name, Adaptive(name, rank, False), 1, 2, 0)
    if base == "adaptive_max_pool":
        return _run.Operation(name, Adaptive(name, rank, True), 1, 3, 1 << 2)
    return _layout.operation(name, base, rank)
