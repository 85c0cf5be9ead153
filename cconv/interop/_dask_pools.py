"""The pools of `cconv.interop.dask`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._dask_calls import lazy_adaptive, lazy_pool

if TYPE_CHECKING:
    from ..functional import Pads, Size, Sizes


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
    options = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return lazy_pool("max_pool2d", input, options)


def max_pool1d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    options = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return lazy_pool("max_pool1d", input, options)


def max_pool3d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    options = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return lazy_pool("max_pool3d", input, options)


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
    options = (
        kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation
    )  # fmt: skip
    return lazy_pool("avg_pool2d", input, options)


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
    options = (
        kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation
    )  # fmt: skip
    return lazy_pool("avg_pool1d", input, options)


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
    options = (
        kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation
    )  # fmt: skip
    return lazy_pool("avg_pool3d", input, options)


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
    options = (norm_type, kernel_size, stride, ceil_mode, padding, dilation)
    return lazy_pool("lp_pool2d", input, options)


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
    options = (norm_type, kernel_size, stride, ceil_mode, padding, dilation)
    return lazy_pool("lp_pool1d", input, options)


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
    options = (norm_type, kernel_size, stride, ceil_mode, padding, dilation)
    return lazy_pool("lp_pool3d", input, options)


def adaptive_avg_pool2d(input: Any, output_size: Sizes) -> Any:
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
    return lazy_adaptive("adaptive_avg_pool2d", input, output_size)


def adaptive_avg_pool1d(input: Any, output_size: Sizes) -> Any:
    return lazy_adaptive("adaptive_avg_pool1d", input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Sizes) -> Any:
    return lazy_adaptive("adaptive_avg_pool3d", input, output_size)


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
    return lazy_adaptive("adaptive_max_pool2d", input, output_size, return_indices)


def adaptive_max_pool1d(
    input: Any,
    output_size: Sizes,
    return_indices: bool = False,
) -> Any:
    return lazy_adaptive("adaptive_max_pool1d", input, output_size, return_indices)


def adaptive_max_pool3d(
    input: Any,
    output_size: Sizes,
    return_indices: bool = False,
) -> Any:
    return lazy_adaptive("adaptive_max_pool3d", input, output_size, return_indices)
