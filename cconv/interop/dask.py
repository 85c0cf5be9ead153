"""
Convolution and pooling of Dask arrays (``cconv[dask]``): the functions of `cconv.functional`, lazily, block by block.

Every function takes a `dask.array.Array` (N, C, *space) or (C, *space) in any chunks and gives one whose chunks follow
them, scaled by the stride. A block reads as much of its neighbours as its windows reach (its halo), so the result is
that of the NumPy function on the whole array: bit for bit for max pools and for convolutions with
``algorithm="direct"``, the default here; within the rounding bound of the algorithm otherwise. Errors in arguments are
raised at the call, not when something is computed.

Parameters, results and errors are those of the functions of the same name in `cconv`, without `out`. Weights and
biases are NumPy's or Dask's. Of a convolution's input the channels are made one chunk; pools keep the channels' chunks.
A task runs on one thread, for Dask runs as many tasks as there are processors.

>>> import numpy as np
>>> import dask.array as da
>>> from cconv.interop import dask as cd
>>> x = da.arange(24.0, chunks=7).reshape(1, 1, 24)
>>> y = cd.max_pool1d(cd.conv1d(x, np.array([[[1.0, 2.0, 1.0]]]), padding="same"), 2)
>>> y.compute()
array([[[ 4., 12., 20., 28., 36., 44., 52., 60., 68., 76., 84., 88.]]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import _args, _calls, functional

try:
    import dask.array as da

    from . import _blocks
except ImportError as error:
    raise ImportError(
        f"cconv.interop.dask needs Dask ({error}): pip install 'cconv[dask]'", name="dask"
    ) from error

if TYPE_CHECKING:
    from typing import Any

    from ..functional import Pads, Size, Sizes


__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]


def _dask(name: str, parameter: str, value: Any) -> Any:
    """A Dask array, its dtype and chunk sizes known to serve; lists and ndarrays become one."""
    if not isinstance(value, da.Array):
        value = _args.array(name, parameter, value)
        value = da.from_array(value, chunks=-1)
    return value


def _conv(name: str, x: Any, weight: Any, bias: Any, params: list[Any], algorithm: str) -> Any:
    base, rank = name[:-2], int(name[-2])
    transposed = base == "conv_transpose"
    x = _dask(name, "input", x)
    others = [_dask(name, "weight", weight)]
    if bias is not None:
        others.append(_dask(name, "bias", bias))
    shapes = [
        _blocks.shapes_only(name, parameter, a)
        for parameter, a in zip(("input", "weight", "bias"), (x, *others), strict=False)
    ]
    whole, w = shapes[:2]
    b = shapes[2] if bias is not None else None
    groups = _args.conv_arrays(name, rank, whole, w, b, params[3], transposed)[3]
    params[3] = groups
    dtype = np.result_type(*shapes)
    inner = _calls.conv_dtype(dtype)
    kernel, size = w.shape[2:], x.shape[-rank:]
    _args.algorithm(name, algorithm)
    given = (name, rank, x.shape, w.shape, inner.itemsize, params)
    if transposed:
        _, out, (before, _) = _calls.transposed_problem(*given)
        dilation = params[4]
    else:
        problem, out, (before, _) = _calls.conv_problem(*given)
        dilation = params[2]
    if algorithm in ("winograd", "fft") and 0 not in out:  # whether it serves
        make = _calls.make_transposed if transposed else _calls.make_conv
        make(name, rank, x.shape, w.shape, inner, [*params, algorithm])
    stride = _args.axes(name, "stride", params[0], rank, 1)
    dilation = _args.axes(name, "dilation", dilation, rank, 1)
    x = x.rechunk({x.ndim - rank - 1: -1})
    axes = []
    for a in range(rank):
        sizes = size[a], x.chunks[a - rank], kernel[a], stride[a], dilation[a], before[a]
        if transposed:
            axes.append(_blocks.transposed_pieces(*sizes, out[a - rank]))
        else:
            axes.append(_blocks.conv_pieces(*sizes, out[a - rank], problem.mode))
    compute = _blocks.Conv(
        getattr(functional, name), stride, dilation, groups, algorithm, transposed
    )
    others = [a.rechunk(-1) for a in others]
    (y,) = _blocks.build(name, x, out[-rank - 1], axes, compute, tuple(others), (dtype,))
    return y


def _pool_input(name: str, x: Any) -> tuple[Any, Any]:
    rank, x = int(name[-2]), _dask(name, "input", x)
    shape = _args.pool_array(name, _blocks.shapes_only(name, "input", x), rank)
    _args.spatial(name, shape, rank)
    return x, shape


def _max_dtype(dtype: Any) -> Any:
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def _pool(name: str, x: Any, params: dict[str, Any], padding: Any) -> Any:
    """`params`: keywords of the NumPy function but the padding."""
    rank = int(name[-2])
    x, shape = _pool_input(name, x)
    geometry = _args.pool_geometry(
        name, rank, params["kernel_size"], params["stride"], padding, params["dilation"]
    )
    kernel, stride, before, after, dilation = geometry
    for flag in ("ceil_mode", "count_include_pad", "return_indices"):
        if flag in params:
            params[flag] = _args.flag(name, flag, params[flag])
    if "divisor_override" in params:
        _args.divisor(name, params["divisor_override"])
    if "norm_type" in params:
        _args.norm(name, params["norm_type"])
    modes = (params["ceil_mode"], False)
    _, out = _calls.pool_problem(name, rank, shape.shape, shape.dtype.itemsize, geometry, modes)
    params = params | {"kernel_size": kernel, "stride": stride, "dilation": dilation}
    axes = [
        _blocks.pool_pieces(
            x.shape[i], x.chunks[i], kernel[i], stride[i], dilation[i], before[i], after[i], out[i]
        )
        for i in range(-rank, 0)
    ]
    indexed = params.get("return_indices", False)
    compute = _blocks.Pool(getattr(functional, name), params, tuple(x.shape[-rank:]), indexed)
    maximum = name.startswith("max")
    dtype = _max_dtype(x.dtype) if maximum else _calls.float_dtypes(shape.dtype)[0]
    dtypes = (dtype, np.dtype(np.int64)) if indexed else (dtype,)
    result = _blocks.build(name, x, None, axes, compute, (), dtypes)
    return result if indexed else result[0]


def _adaptive(name: str, x: Any, output_size: Any, return_indices: bool = False) -> Any:
    rank = int(name[-2])
    x, shape = _pool_input(name, x)
    space = x.shape[-rank:]
    out = _args.output_size(name, output_size, space, rank)
    indexed = _args.flag(name, "return_indices", return_indices)
    _args.elements(name, (*x.shape[:-rank], *out), 8)
    maximum = "max" in name
    if maximum:
        dtype = inner = _max_dtype(x.dtype)
    else:
        taps = [-(-L // max(1, o)) for L, o in zip(space, out, strict=True)]
        dtype, inner = _calls.float_dtypes(shape.dtype, taps, taps)
    axes = [
        _blocks.adaptive_pieces(L, c, o)
        for L, c, o in zip(space, x.chunks[-rank:], out, strict=True)
    ]
    function = getattr(functional, f"{'max' if maximum else 'avg'}_pool{rank}d")
    inner = inner if inner.itemsize == 8 and not maximum else dtype
    compute = _blocks.Adaptive(function, tuple(space), indexed, inner, dtype)
    dtypes = (dtype, np.dtype(np.int64)) if indexed else (dtype,)
    result = _blocks.build(name, x, None, axes, compute, (), dtypes)
    return result if indexed else result[0]


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Pads | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    algorithm: str = "direct",
) -> Any:
    """
    2-D convolution of a Dask array, as `cconv.conv2d`, with ``algorithm="direct"`` unless told otherwise.

    Parameters
    ----------
    input : dask.array.Array, shape (N, C, H, W) or (C, H, W)
    weight : array_like or dask.array.Array, shape (O, C / groups, kh, kw)
    bias : array_like or dask.array.Array, shape (O,), optional

    Returns
    -------
    dask.array.Array
        Lazy; its chunks follow the input's.

    Raises
    ------
    TypeError, ValueError
        As the NumPy function, when the graph is built; also for chunks of unknown size.

    Examples
    --------
    >>> import numpy as np
    >>> import dask.array as da
    >>> from cconv.interop import dask as cd
    >>> cd.conv2d(da.ones((1, 1, 5, 6), chunks=(1, 1, 2, 4)), np.ones((1, 1, 3, 3)), padding=1).chunks
    ((1,), (1,), (2, 2, 1), (4, 2))
    """
    params = [stride, padding, dilation, groups, padding_mode]
    return _conv("conv2d", input, weight, bias, params, algorithm)


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Pads | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    algorithm: str = "direct",
) -> Any:
    params = [stride, padding, dilation, groups, padding_mode]
    return _conv("conv1d", input, weight, bias, params, algorithm)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Pads | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    algorithm: str = "direct",
) -> Any:
    params = [stride, padding, dilation, groups, padding_mode]
    return _conv("conv3d", input, weight, bias, params, algorithm)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    algorithm: str = "direct",
) -> Any:
    """
    2-D transposed convolution of a Dask array, as `cconv.conv_transpose2d`, with ``algorithm="direct"`` by default.

    Parameters
    ----------
    input : dask.array.Array, shape (N, C, H, W) or (C, H, W)
    weight : array_like or dask.array.Array, shape (C, O / groups, kh, kw)
    bias : array_like or dask.array.Array, shape (O,), optional

    Returns
    -------
    dask.array.Array
        Lazy; its chunks follow the input's.

    Raises
    ------
    TypeError, ValueError
        As the NumPy function, when the graph is built; also for chunks of unknown size.

    Examples
    --------
    >>> import numpy as np
    >>> import dask.array as da
    >>> from cconv.interop import dask as cd
    >>> cd.conv_transpose2d(da.ones((1, 4, 4), chunks=2), np.ones((1, 1, 2, 2)), stride=2).compute().sum()
    np.float64(64.0)
    """
    params = [stride, padding, output_padding, groups, dilation]
    return _conv("conv_transpose2d", input, weight, bias, params, algorithm)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    algorithm: str = "direct",
) -> Any:
    params = [stride, padding, output_padding, groups, dilation]
    return _conv("conv_transpose1d", input, weight, bias, params, algorithm)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    algorithm: str = "direct",
) -> Any:
    params = [stride, padding, output_padding, groups, dilation]
    return _conv("conv_transpose3d", input, weight, bias, params, algorithm)


def max_pool2d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """
    2-D maximum of sliding windows of a Dask array, as `cconv.max_pool2d`; indices count in the whole plane.

    Parameters
    ----------
    input : dask.array.Array, shape (N, C, H, W) or (C, H, W)

    Returns
    -------
    dask.array.Array
        With `return_indices` a pair of them.

    Raises
    ------
    TypeError, ValueError
        As the NumPy function, when the graph is built; also for chunks of unknown size.

    Examples
    --------
    >>> import numpy as np
    >>> import dask.array as da
    >>> from cconv.interop import dask as cd
    >>> cd.max_pool2d(da.arange(16).reshape(1, 4, 4).rechunk(2), 2).compute()
    array([[[ 5,  7],
            [13, 15]]])
    """
    params = dict(
        kernel_size=kernel_size,
        stride=stride,
        dilation=dilation,
        ceil_mode=ceil_mode,
        return_indices=return_indices,
    )
    return _pool("max_pool2d", input, params, padding)


def max_pool1d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    params = dict(
        kernel_size=kernel_size,
        stride=stride,
        dilation=dilation,
        ceil_mode=ceil_mode,
        return_indices=return_indices,
    )
    return _pool("max_pool1d", input, params, padding)


def max_pool3d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    params = dict(
        kernel_size=kernel_size,
        stride=stride,
        dilation=dilation,
        ceil_mode=ceil_mode,
        return_indices=return_indices,
    )
    return _pool("max_pool3d", input, params, padding)


def avg_pool2d(
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
    """
    2-D average of sliding windows of a Dask array, as `cconv.avg_pool2d`.

    Parameters
    ----------
    input : dask.array.Array, shape (N, C, H, W) or (C, H, W)

    Returns
    -------
    dask.array.Array
        Lazy; its chunks follow the input's.

    Raises
    ------
    TypeError, ValueError
        As the NumPy function, when the graph is built; also for chunks of unknown size.

    Examples
    --------
    >>> import numpy as np
    >>> import dask.array as da
    >>> from cconv.interop import dask as cd
    >>> cd.avg_pool2d(da.arange(16.0).reshape(1, 4, 4).rechunk(3), 2).compute()
    array([[[ 2.5,  4.5],
            [10.5, 12.5]]])
    """
    params = dict(
        kernel_size=kernel_size,
        stride=stride,
        dilation=dilation,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )
    return _pool("avg_pool2d", input, params, padding)


def avg_pool1d(
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
    params = dict(
        kernel_size=kernel_size,
        stride=stride,
        dilation=dilation,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )
    return _pool("avg_pool1d", input, params, padding)


def avg_pool3d(
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
    params = dict(
        kernel_size=kernel_size,
        stride=stride,
        dilation=dilation,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )
    return _pool("avg_pool3d", input, params, padding)


def lp_pool2d(
    input: Any,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Pads = 0,
    dilation: Size = 1,
) -> Any:
    """
    2-D p-norm of sliding windows of a Dask array, as `cconv.lp_pool2d`.

    Parameters
    ----------
    input : dask.array.Array, shape (N, C, H, W) or (C, H, W)

    Returns
    -------
    dask.array.Array
        Lazy; its chunks follow the input's.

    Raises
    ------
    TypeError, ValueError
        As the NumPy function, when the graph is built; also for chunks of unknown size.

    Examples
    --------
    >>> import numpy as np
    >>> import dask.array as da
    >>> from cconv.interop import dask as cd
    >>> cd.lp_pool2d(da.ones((1, 4, 4), chunks=3), 2, 2).compute()
    array([[[2., 2.],
            [2., 2.]]])
    """
    params = dict(
        norm_type=norm_type,
        kernel_size=kernel_size,
        stride=stride,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    return _pool("lp_pool2d", input, params, padding)


def lp_pool1d(
    input: Any,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Pads = 0,
    dilation: Size = 1,
) -> Any:
    params = dict(
        norm_type=norm_type,
        kernel_size=kernel_size,
        stride=stride,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    return _pool("lp_pool1d", input, params, padding)


def lp_pool3d(
    input: Any,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Pads = 0,
    dilation: Size = 1,
) -> Any:
    params = dict(
        norm_type=norm_type,
        kernel_size=kernel_size,
        stride=stride,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    return _pool("lp_pool3d", input, params, padding)


def adaptive_avg_pool2d(
    input: Any,
    output_size: Sizes,
) -> Any:
    """
    2-D average of windows that share out the input, as `cconv.adaptive_avg_pool2d`.

    Parameters
    ----------
    input : dask.array.Array, shape (N, C, H, W) or (C, H, W)

    Returns
    -------
    dask.array.Array
        Lazy; its chunks follow the input's.

    Raises
    ------
    TypeError, ValueError
        As the NumPy function, when the graph is built; also for chunks of unknown size.

    Examples
    --------
    >>> import numpy as np
    >>> import dask.array as da
    >>> from cconv.interop import dask as cd
    >>> cd.adaptive_avg_pool2d(da.arange(25.0).reshape(1, 5, 5).rechunk(2), 2).compute()
    array([[[ 6.,  8.],
            [16., 18.]]])
    """
    return _adaptive("adaptive_avg_pool2d", input, output_size)


def adaptive_avg_pool1d(
    input: Any,
    output_size: Sizes,
) -> Any:
    return _adaptive("adaptive_avg_pool1d", input, output_size)


def adaptive_avg_pool3d(
    input: Any,
    output_size: Sizes,
) -> Any:
    return _adaptive("adaptive_avg_pool3d", input, output_size)


def adaptive_max_pool2d(
    input: Any,
    output_size: Sizes,
    return_indices: bool = False,
) -> Any:
    """
    2-D maximum of windows that share out the input, as `cconv.adaptive_max_pool2d`.

    Parameters
    ----------
    input : dask.array.Array, shape (N, C, H, W) or (C, H, W)

    Returns
    -------
    dask.array.Array
        With `return_indices` a pair of them.

    Raises
    ------
    TypeError, ValueError
        As the NumPy function, when the graph is built; also for chunks of unknown size.

    Examples
    --------
    >>> import numpy as np
    >>> import dask.array as da
    >>> from cconv.interop import dask as cd
    >>> cd.adaptive_max_pool2d(da.arange(25.0).reshape(1, 5, 5).rechunk(2), 2).compute()
    array([[[12., 14.],
            [22., 24.]]])
    """
    return _adaptive("adaptive_max_pool2d", input, output_size, return_indices)


def adaptive_max_pool1d(
    input: Any,
    output_size: Sizes,
    return_indices: bool = False,
) -> Any:
    return _adaptive("adaptive_max_pool1d", input, output_size, return_indices)


def adaptive_max_pool3d(
    input: Any,
    output_size: Sizes,
    return_indices: bool = False,
) -> Any:
    return _adaptive("adaptive_max_pool3d", input, output_size, return_indices)
