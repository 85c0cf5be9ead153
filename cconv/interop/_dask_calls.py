"""The calls behind `cconv.interop.dask`: checked and explained as a whole, then cut into blocks.

What the whole call would give, and whether its arguments are right, `cconv.explain` says.
"""

from __future__ import annotations

import math
from operator import index
from typing import Any

import dask.array as da
import numpy as np

from .. import functional
from ._dask_graph import build
from ._dask_pieces import (
    Piece,
    adaptive_pieces,
    conv_pieces,
    pool_pieces,
    transposed_pieces,
)
from ._dask_tasks import AdaptiveTask, ConvTask, PoolTask
from ._values import Two, integers, is_sequence, ndarray, pairs, stand_in

OPTIONS = {  # the parameters after the arrays, in the functions' order
    "conv": ("stride", "padding", "dilation", "groups", "padding_mode", "algorithm"),
    "conv_transpose": (
        "stride", "padding", "output_padding", "groups", "dilation", "algorithm",
    ),
    "max_pool": ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool": (
        "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override", "dilation",
    ),
    "lp_pool": ("norm_type", "kernel_size", "stride", "ceil_mode", "padding", "dilation"),
}  # fmt: skip
FLAGS = ("ceil_mode", "count_include_pad", "return_indices")
INT64 = np.dtype(np.int64)


def shape_only(name: str, parameter: str, value: Any) -> Any:
    """What `explain` is given: of a Dask array an array without memory; anything else as it is."""
    if not isinstance(value, da.Array):
        return value
    if any(math.isnan(n) for n in value.shape):
        raise ValueError(
            f"{name}: {parameter} has chunks of unknown size, expected known ones: call its "
            f"compute_chunk_sizes() first"
        )
    return stand_in(value.shape, value.dtype)


def lazy_array(value: Any) -> Any:
    """A Dask array; anything else becomes one of one chunk."""
    return value if isinstance(value, da.Array) else da.from_array(ndarray(value), chunks=-1)


def conv_padding(
    padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[Two, ...]:
    """Padding before and after; "same" pads d(k-1) in all, the smaller half before."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    return pairs(padding, len(kernel))


def lazy_convolution(
    name: str, input: Any, weight: Any, bias: Any, options: tuple[Any, ...]
) -> Any:
    base, rank = name[:-2], int(name[-2])
    params = dict(zip(OPTIONS[base], options, strict=True))
    given = {"input": input, "weight": weight} | ({} if bias is None else {"bias": bias})
    whole = functional.explain(
        name, **{p: shape_only(name, p, a) for p, a in given.items()}, **params
    )
    x, *others = (lazy_array(a) for a in given.values())
    out, kernel = whole["out_shape"], others[0].shape[2:]
    stride, dilation = (integers(params[p], rank) for p in ("stride", "dilation"))
    before = [b for b, _ in conv_padding(params["padding"], kernel, dilation)]
    x = x.rechunk({x.ndim - rank - 1: -1})
    axes: list[list[Piece]] = []
    for i in range(-rank, 0):
        sizes = x.shape[i], x.chunks[i], kernel[i], stride[i], dilation[i], before[i], out[i]
        if base == "conv_transpose":
            axes.append(transposed_pieces(*sizes))
        else:
            axes.append(conv_pieces(*sizes, params["padding_mode"]))
    compute = ConvTask(
        function=getattr(functional, name),
        stride=stride,
        dilation=dilation,
        groups=index(params["groups"]),
        algorithm=params["algorithm"],
        transposed=base == "conv_transpose",
    )
    others = [a.rechunk(-1) for a in others]
    dtypes = (np.dtype(whole["dtype"]),)
    (y,) = build(name, x, out[-rank - 1], axes, compute, tuple(others), dtypes)
    return y


def lazy_pool(name: str, input: Any, options: tuple[Any, ...]) -> Any:
    rank = int(name[-2])
    params = dict(zip(OPTIONS[name[:-2]], options, strict=True))
    whole = functional.explain(name, shape_only(name, "input", input), **params)
    x, out = lazy_array(input), whole["out_shape"]
    default = params["stride"] is None or (
        is_sequence(params["stride"]) and not len(params["stride"])
    )
    if default:
        params["stride"] = params["kernel_size"]
    params |= {p: integers(params[p], rank) for p in ("kernel_size", "stride", "dilation")}
    params |= {flag: bool(params[flag]) for flag in FLAGS if flag in params}
    padding = pairs(params.pop("padding"), rank)
    kernel, stride, dilation = (params[p] for p in ("kernel_size", "stride", "dilation"))
    axes = [
        pool_pieces(x.shape[i], x.chunks[i], kernel[i], stride[i], dilation[i], *padding[i], out[i])
        for i in range(-rank, 0)
    ]
    indexed = params.get("return_indices", False)
    compute = PoolTask(getattr(functional, name), params, tuple(x.shape[-rank:]), indexed)
    dtype = np.dtype(whole["dtype"])
    result = build(name, x, None, axes, compute, (), (dtype, INT64) if indexed else (dtype,))
    return result if indexed else result[0]


def lazy_adaptive(name: str, input: Any, output_size: Any, return_indices: bool = False) -> Any:
    rank, maximum = int(name[-2]), "max" in name
    params: dict[str, Any] = {"return_indices": return_indices} if maximum else {}
    whole = functional.explain(name, shape_only(name, "input", input), output_size, **params)
    x, out = lazy_array(input), whole["out_shape"][-rank:]
    space, indexed = x.shape[-rank:], bool(return_indices)
    dtype, inner = (np.dtype(whole[key]) for key in ("dtype", "computed_in"))
    if maximum or inner.itemsize < 8:  # a block's own pool computes in no less
        inner = dtype
    axes = [adaptive_pieces(L, c, o) for L, c, o in zip(space, x.chunks[-rank:], out, strict=True)]
    function = getattr(functional, f"{'max' if maximum else 'avg'}_pool{rank}d")
    compute = AdaptiveTask(function, tuple(space), indexed, inner, dtype)
    result = build(name, x, None, axes, compute, (), (dtype, INT64) if indexed else (dtype,))
    return result if indexed else result[0]
