"""prepack and explain: a convolution's weights kept in the kernels' layout, and what would be chosen for a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import _args, _calls, _run

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, NDArray


class Prepacked:
    """
    A convolution with fixed weights, kept in the kernels' own layout; made by `prepack`.

    Call it with an input, and optionally ``out=``. It cannot be changed, may be called from many threads at once, and
    pickles and copies as plain weights.
    """

    __slots__ = ("_bias", "_call", "_fast", "_params", "_state", "_weight")

    def __init__(self, *state):
        weight, bias, stride, padding, dilation, groups, mode, transposed, extra, algorithm = state
        name = "prepack"
        weight = _args.array(name, "weight", weight)
        rank = _args.packed_rank(name, weight)
        transposed = _args.flag(name, "transposed", transposed)
        groups = _args.integer(name, "groups", groups, 1)
        bias = None if bias is None else _args.array(name, "bias", bias)
        _args.conv_weight(name, rank, weight, bias, groups, transposed)
        _args.packed_params(name, rank, stride, padding, dilation, mode, transposed, extra, weight)
        self._weight = np.array(weight, order="C")
        self._bias = None if bias is None else np.array(bias, order="C")
        self._weight.flags.writeable = False
        _args.algorithm(f"prepack{' (transpose)' * transposed}", algorithm)
        public = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
        self._call = _calls.ConvCall(public, rank, transposed)
        if transposed:
            self._params = [stride, padding, extra, groups, dilation, algorithm]
        else:
            self._params = [stride, padding, dilation, groups, mode, algorithm]
        self._state = (stride, padding, dilation, groups, mode, transposed, extra, algorithm)
        self._fast = _run.Fast(self._slow)

    def __call__(self, x: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return self._fast(x, out)

    def _slow(self, x, out):
        call = self._call
        x = _args.array(call.name, "input", x)
        weight, bias, params = self._weight, self._bias, self._params
        arrays = [a for a in (x, weight, bias) if a is not None]
        dtype = np.result_type(*arrays)
        inner = _calls.conv_dtype(dtype)
        if dtype.kind in "iu" or not all(a.dtype == inner and a.dtype.isnative for a in arrays):
            return call((x, weight, bias, *params[:5], out, params[5]), None)
        _args.conv_input(call.name, call.rank, x, weight.shape, params[3], call.transposed)
        plan = call.plan(x.shape, weight.shape, inner, params, True)
        _args.output(call.name, out, dtype, plan.out_shape)
        packed = self._fast.packed(plan, weight)
        if isinstance(plan, _run.ConvPlan):
            self._fast.keep(x.shape, x.dtype, plan, packed, bias)
        y = _calls.run_parts(plan, x, packed, bias, out, True)
        return _calls.to_result(y, dtype, out)

    def __reduce__(self):
        return Prepacked, (self._weight, self._bias, *self._state)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __repr__(self):
        return (
            f"<cconv.Prepacked {self._call.name}, weight {self._weight.shape} {self._weight.dtype}>"
        )


class Explanation(dict):
    """What a call would do, as a dict that prints as text."""

    def __str__(self):
        width = max(map(len, self))
        return "\n".join(f"{key:<{width}}  {value}" for key, value in self.items())


def explain(function, args, kwargs) -> Explanation:
    """The plan of ``function(*args, **kwargs)``, made but not run."""
    import inspect

    from . import functional

    name = function if isinstance(function, str) else getattr(function, "__name__", "")
    public = getattr(functional, name, None)
    if name not in _args.EXPLAINED or public is None:
        raise ValueError(
            f"explain: function must be one of {', '.join(_args.EXPLAINED)}, got {function!r}"
        )
    bound = inspect.signature(public).bind(*args, **kwargs)
    bound.apply_defaults()
    values = bound.arguments
    rank = int(name[-2])
    if name.startswith("conv"):
        return explain_conv(name, rank, values)
    return explain_pool(name, rank, values)


def explain_conv(name, rank, values) -> Explanation:
    transposed = "transpose" in name
    x, w, b, groups = _args.conv_arrays(
        name, rank, values["input"], values["weight"], values["bias"], values["groups"], transposed
    )
    dtype = np.result_type(*(a for a in (x, w, b) if a is not None))
    inner = _calls.conv_dtype(dtype)
    keys = ["stride", "padding", "dilation", "groups", "padding_mode", "algorithm"]
    if transposed:
        keys = ["stride", "padding", "output_padding", "groups", "dilation", "algorithm"]
    values = {**values, "groups": groups}
    call = _calls.ConvCall(name, rank, transposed)
    plan = call.plan(x.shape, w.shape, inner, [values[k] for k in keys])
    if not isinstance(plan, _run.ConvPlan):
        return Explanation(
            function=name,
            algorithm="fft",
            kernel="numpy.fft",
            reason=plan.plan.reason,
            block=plan.plan.block,
            threads=1,
            dtype=str(dtype),
            computed_in=str(inner),
            out_shape=plan.out_shape,
        )
    plans, threads = plan.explain()
    used = plans[0]
    from ._plan import KERNELS

    return Explanation(
        function=name,
        algorithm="winograd" if plan.uses_winograd() else "direct",
        kernel=KERNELS[used.kernel],
        reason=used.reason + (f"; in {len(plans)} parts" if len(plans) > 1 else ""),
        tile=plan.tile() if used.kernel == 0 else None,
        box=used.box,
        workspace=max(p.workspace * t for p, t in zip(plans, threads, strict=True)),
        threads=max(threads),
        isa=_run.isa,
        dtype=str(dtype),
        computed_in=str(inner),
        out_shape=plan.out_shape,
    )


def explain_pool(name, rank, values) -> Explanation:
    x = _args.pool_array(name, values["input"], rank)
    _args.spatial(name, x, rank)
    result = Explanation(function=name, algorithm="direct")
    maximum = "max" in name
    dtype = np.dtype(np.uint8) if x.dtype.kind == "b" else x.dtype.newbyteorder("=")
    if name.startswith("adaptive"):
        space = x.shape[-rank:]
        geometry = _args.output_size(name, values["output_size"], space, rank)
        taps = [-(-L // max(1, o)) for L, o in zip(space, geometry, strict=True)]
        windows = taps, taps
    else:
        geometry = _args.pool_geometry(
            name, rank, *(values[k] for k in ("kernel_size", "stride", "padding", "dilation"))
        )
        windows = geometry[:2]
    if maximum:
        inner = _calls.pool_dtype(dtype)
    else:
        dtype, inner = _calls.float_dtypes(x.dtype, *windows)
    for flag in ("ceil_mode", "count_include_pad", "return_indices"):
        if flag in values:
            _args.flag(name, flag, values[flag])
    if "divisor_override" in values:
        _args.divisor(name, values["divisor_override"])
    if "norm_type" in values:
        _args.norm(name, values["norm_type"])
    modes = (bool(values.get("ceil_mode")), bool(values.get("count_include_pad", True)))
    indexed = bool(values.get("return_indices"))
    op = 0 if maximum else 2
    plan = _calls.pool_plan(name, rank, x.shape, inner, geometry, modes, op, indexed)
    result.update(
        kernel="pool",
        reason=plan.plan.reason,
        workspace=plan.plan.workspace,
        isa=_run.isa,
        dtype=str(dtype),
        computed_in=str(inner),
        out_shape=plan.out_shape,
    )
    return result
