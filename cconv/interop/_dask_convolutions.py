"""The convolutions of `cconv.interop.dask`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._dask_calls import lazy_convolution

if TYPE_CHECKING:
    from ..functional import Algorithm, Padding, PaddingMode, Pads, Size, TransposedAlgorithm


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    algorithm: Algorithm = "direct",
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
    options = (stride, padding, dilation, groups, padding_mode, algorithm)
    return lazy_convolution("conv2d", input, weight, bias, options)


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    algorithm: Algorithm = "direct",
) -> Any:
    options = (stride, padding, dilation, groups, padding_mode, algorithm)
    return lazy_convolution("conv1d", input, weight, bias, options)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    algorithm: Algorithm = "direct",
) -> Any:
    options = (stride, padding, dilation, groups, padding_mode, algorithm)
    return lazy_convolution("conv3d", input, weight, bias, options)


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
    algorithm: TransposedAlgorithm = "direct",
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
    options = (stride, padding, output_padding, groups, dilation, algorithm)
    return lazy_convolution("conv_transpose2d", input, weight, bias, options)


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
    algorithm: TransposedAlgorithm = "direct",
) -> Any:
    options = (stride, padding, output_padding, groups, dilation, algorithm)
    return lazy_convolution("conv_transpose1d", input, weight, bias, options)


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
    algorithm: TransposedAlgorithm = "direct",
) -> Any:
    options = (stride, padding, output_padding, groups, dilation, algorithm)
    return lazy_convolution("conv_transpose3d", input, weight, bias, options)
