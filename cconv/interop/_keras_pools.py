"""The pools of `cconv.interop.keras`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._keras_arguments import (
    call_in_format,
    ints_per_axis,
    is_channels_last,
    out_sizes,
    padding_of,
    spatial_array,
    with_channels_first,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..functional import Array
    from ._keras_arguments import Sizes


def window_pool(
    name: str,
    kind: str,
    inputs: ArrayLike,
    pool_size: Sizes,
    strides: Sizes | None,
    padding: str,
    data_format: str | None,
) -> Array:
    last = is_channels_last(name, data_format)
    x, dtype = spatial_array(name, "inputs", inputs)
    rank = x.ndim - 2
    x = with_channels_first(x, last)
    size = ints_per_axis(name, "pool_size", pool_size, rank)
    steps = size if strides is None else ints_per_axis(name, "strides", strides, rank)
    pads = padding_of(name, padding, x.shape[2:], size, steps, (1,) * rank)
    sizes = out_sizes(x, size, steps, (1,) * rank, pads)
    # the arguments after the padding are ceil_mode, and count_include_pad
    more = (False, False) if kind == "avg_pool" else ()
    out = (x.shape[1], sizes, pooled_dtype(kind, x.dtype))
    y = call_in_format(kind, x, last, out, (size, steps, pads, *more))
    return y.astype(dtype, copy=False) if dtype.kind == "V" else y


def pooled_dtype(kind: str, dtype: Any) -> Any:
    """cconv's dtype of a pool's result."""
    if "avg" in kind:
        return np.dtype(np.float64) if dtype.kind in "biu" else dtype
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def max_pool(
    inputs: ArrayLike,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Array:
    """
    Max pooling, as ``keras.ops.max_pool``.

    Parameters
    ----------
    inputs : array_like, shape (N, \\*spatial, C), or (N, C, \\*spatial) for "channels_first"
    pool_size : int or sequence of int
    strides : int or sequence of int, optional
        By default `pool_size`.
    padding : {"valid", "same"}, default "valid"
    data_format : {"channels_last", "channels_first"}, optional

    Returns
    -------
    ndarray, shape (N, \\*out, C) or (N, C, \\*out)

    Raises
    ------
    TypeError, ValueError
        As the functions of `cconv`; for an unknown padding or data format.

    Examples
    --------
    >>> from cconv.interop.keras import max_pool
    >>> max_pool([[[1], [5], [2]]], 2, padding="same").ravel()
    array([5, 2])
    """
    return window_pool("max_pool", "max_pool", inputs, pool_size, strides, padding, data_format)


def average_pool(
    inputs: ArrayLike,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Array:
    """
    Average pooling, as ``keras.ops.average_pool``: "same" padding does not count.

    Parameters, results and errors as `max_pool`; of integers float64.

    Examples
    --------
    >>> from cconv.interop.keras import average_pool
    >>> average_pool([[[1], [5], [2]]], 2, padding="same").ravel()
    array([3., 2.])
    """
    return window_pool("average_pool", "avg_pool", inputs, pool_size, strides, padding, data_format)


def adaptive_pool(
    name: str, kind: str, inputs: ArrayLike, output_size: Sizes, data_format: str | None
) -> Array:
    last = is_channels_last(name, data_format)
    x, dtype = spatial_array(name, "inputs", inputs)
    size = ints_per_axis(name, "output_size", output_size, x.ndim - 2)
    x = with_channels_first(x, last)
    y = call_in_format(kind, x, last, (x.shape[1], size, pooled_dtype(kind, x.dtype)), (size,))
    return y.astype(dtype, copy=False) if dtype.kind == "V" else y


def adaptive_average_pool(
    inputs: ArrayLike, output_size: Sizes, data_format: str | None = None
) -> Array:
    """
    Average pooling to a given size, as ``keras.ops.adaptive_average_pool``.

    Parameters
    ----------
    inputs, data_format
        As in `max_pool`.
    output_size : int or sequence of int

    Returns
    -------
    ndarray, shape (N, \\*output_size, C) or (N, C, \\*output_size)

    Raises
    ------
    TypeError, ValueError
        As `max_pool`.

    Examples
    --------
    >>> from cconv.interop.keras import adaptive_average_pool
    >>> adaptive_average_pool([[[1.0], [5.0], [2.0]]], 2).ravel()
    array([3. , 3.5])
    """
    name = "adaptive_average_pool"
    return adaptive_pool(name, "adaptive_avg_pool", inputs, output_size, data_format)


def adaptive_max_pool(
    inputs: ArrayLike, output_size: Sizes, data_format: str | None = None
) -> Array:
    """
    Max pooling to a given size, as ``keras.ops.adaptive_max_pool``.

    Parameters, results and errors as `adaptive_average_pool`.

    Examples
    --------
    >>> from cconv.interop.keras import adaptive_max_pool
    >>> adaptive_max_pool([[[1], [5], [2]]], 2).ravel()
    array([5, 5])
    """
    name = "adaptive_max_pool"
    return adaptive_pool(name, "adaptive_max_pool", inputs, output_size, data_format)
