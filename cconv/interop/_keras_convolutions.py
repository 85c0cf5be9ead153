"""The convolutions of `cconv.interop.keras`."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ._keras_arguments import (
    call_in_format,
    ints_per_axis,
    is_channels_last,
    out_sizes,
    padding_of,
    result_dtype,
    spatial_array,
    with_channels_first,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..functional import Array
    from ._keras_arguments import Sizes


def any_conv(
    name: str,
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Sizes,
    padding: str,
    data_format: str | None,
    dilation_rate: Sizes,
    depthwise: bool,
) -> Array:
    last = is_channels_last(name, data_format)
    x, x_dtype = spatial_array(name, "inputs", inputs)
    w, w_dtype = spatial_array(name, "kernel", kernel)
    if x.ndim != w.ndim:
        raise ValueError(
            f"{name}: inputs and kernel must have as many axes, got shapes {x.shape} and {w.shape}"
        )
    rank = x.ndim - 2
    x = with_channels_first(x, last)
    channels, of_kernel = x.shape[1], w.shape[-2]
    if depthwise and channels != of_kernel:
        raise ValueError(
            f"{name}: The number of input channels must be equal to the kernel's in_channels, "
            f"got {channels} and {of_kernel}"
        )
    if of_kernel == 0 or channels % of_kernel:
        raise ValueError(
            f"{name}: The number of input channels must be evenly divisible by kernel's in_channels, "
            f"got {channels} and {of_kernel}"
        )
    groups = channels // of_kernel
    if depthwise:  # (*kernel, C, m) is one input channel and m outputs a group
        groups = channels
        w = w.reshape(*w.shape[:-2], 1, prod(w.shape[-2:]))
    w = np.moveaxis(w, (-1, -2), (0, 1))
    strides = ints_per_axis(name, "strides", strides, rank)
    dilation = ints_per_axis(name, "dilation_rate", dilation_rate, rank)
    pads = padding_of(name, padding, x.shape[2:], w.shape[2:], strides, dilation)
    sizes = out_sizes(x, w.shape[2:], strides, dilation, pads)
    if min(strides) > 0 and min(sizes) < 1:
        raise ValueError(
            f"{name}: The convolution operation resulted in an empty output: kernel {w.shape[2:]} "
            f"with dilation {dilation} does not fit into {x.shape[2:]}"
        )
    out = (w.shape[0], sizes, np.result_type(x, w))
    y = call_in_format("conv", x, last, out, (w, None, strides, pads, dilation, groups))
    return y.astype(result_dtype(x_dtype, w_dtype), copy=False)


def conv(
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Array:
    """
    Convolution, as ``keras.ops.conv``; grouped if the kernel has fewer input channels.

    Parameters
    ----------
    inputs : array_like, shape (N, \\*spatial, C), or (N, C, \\*spatial) for "channels_first"
    kernel : array_like, shape (\\*kernel, C / groups, O)
    strides : int or sequence of int, default 1
    padding : {"valid", "same"}, default "valid"
        "same" as TensorFlow has it: ceil(L / stride) outputs.
    data_format : {"channels_last", "channels_first"}, optional
    dilation_rate : int or sequence of int, default 1

    Returns
    -------
    ndarray, shape (N, \\*out, O) or (N, O, \\*out)

    Raises
    ------
    TypeError, ValueError
        As the functions of `cconv`; for an unknown padding or data format.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv.interop.keras import conv
    >>> conv(np.ones((1, 4, 1)), np.ones((3, 1, 1)), padding="same").ravel()
    array([2., 3., 3., 2.])
    """
    return any_conv("conv", inputs, kernel, strides, padding, data_format, dilation_rate, False)


def depthwise_conv(
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Array:
    """
    Convolution of every channel by kernels of its own, as ``keras.ops.depthwise_conv``.

    Parameters
    ----------
    inputs, strides, padding, data_format, dilation_rate
        As in `conv`.
    kernel : array_like, shape (\\*kernel, C, m)

    Returns
    -------
    ndarray, shape (N, \\*out, C * m) or (N, C * m, \\*out)

    Raises
    ------
    TypeError, ValueError
        As `conv`.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv.interop.keras import depthwise_conv
    >>> depthwise_conv(np.ones((1, 5, 5, 3)), np.ones((3, 3, 3, 2))).shape
    (1, 3, 3, 6)
    """
    name = "depthwise_conv"
    return any_conv(name, inputs, kernel, strides, padding, data_format, dilation_rate, True)


def separable_conv(
    inputs: ArrayLike,
    depthwise_kernel: ArrayLike,
    pointwise_kernel: ArrayLike,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Array:
    """
    A depthwise convolution and one of 1 x 1, as ``keras.ops.separable_conv``.

    Parameters
    ----------
    inputs, strides, padding, data_format, dilation_rate
        As in `conv`.
    depthwise_kernel : array_like, shape (\\*kernel, C, m)
    pointwise_kernel : array_like, shape (\\*ones, C * m, O)

    Returns
    -------
    ndarray, shape (N, \\*out, O) or (N, O, \\*out)

    Raises
    ------
    TypeError, ValueError
        As `conv`.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv.interop.keras import separable_conv
    >>> separable_conv(np.ones((1, 5, 5, 3)), np.ones((3, 3, 3, 2)), np.ones((1, 1, 6, 4))).shape
    (1, 3, 3, 4)
    """
    name = "separable_conv"
    y = any_conv(name, inputs, depthwise_kernel, strides, padding, data_format, dilation_rate, True)
    return any_conv(name, y, pointwise_kernel, 1, "valid", data_format, dilation_rate, False)


def crop(kernel: int, s: int, padding: str, extra: int | None) -> tuple[int, int]:
    """
    What Keras cuts off the whole of (L - 1) s + k outputs, before and after; a negative number adds zeros.

    "valid" keeps at least max(k, s) of the last window, "same" gives L s of them, or (L - 1) s + k % 2 + extra;
    the odd one is cut after.
    """
    if padding == "valid":
        return 0, -(max(kernel, s) - kernel if extra is None else extra)
    kept = s if extra is None else kernel % 2 + extra
    total = kernel - kept
    # before = (k - 1) - min(ceil(p / 2), k - 1) with p = 2 (k - 1) - total, the padding of the equal convolution
    before = max(kernel - 1 - (2 * (kernel - 1) - total + 1) // 2, 0)
    return before, total - before


def conv_transpose(
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Sizes = 1,
    padding: str = "valid",
    output_padding: Sizes | None = None,
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Array:
    """
    Transposed convolution, as ``keras.ops.conv_transpose``.

    Parameters
    ----------
    inputs, strides, data_format, dilation_rate
        As in `conv`.
    kernel : array_like, shape (\\*kernel, O, C)
    padding : {"valid", "same"}, default "valid"
    output_padding : int or sequence of int, optional
        None gives (L - 1) stride + max(k, stride) outputs for "valid", k being the kernel's extent, and L stride
        for "same".

    Returns
    -------
    ndarray, shape (N, \\*out, O) or (N, O, \\*out)

    Raises
    ------
    TypeError, ValueError
        As `conv`.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv.interop.keras import conv_transpose
    >>> conv_transpose([[[1.0], [2.0]]], np.ones((3, 1, 1)), strides=2, padding="same").ravel()
    array([1., 1., 3., 2.])
    """
    name = "conv_transpose"
    last = is_channels_last(name, data_format)
    x, x_dtype = spatial_array(name, "inputs", inputs)
    w, w_dtype = spatial_array(name, "kernel", kernel)
    x = with_channels_first(x, last)
    rank = x.ndim - 2
    if x.ndim != w.ndim or x.shape[1] != w.shape[-1]:
        raise ValueError(
            f"{name}: The number of input channels must be equal to the kernel's in_channels (its last axis), "
            f"got {x.shape[1]} and a kernel of shape {w.shape}"
        )
    kind = padding.lower() if isinstance(padding, str) else padding
    if kind not in ("valid", "same"):
        raise ValueError(f"{name}: padding must be 'valid' or 'same', got {padding!r}")
    w = np.moveaxis(w, (-1, -2), (0, 1))
    strides = ints_per_axis(name, "strides", strides, rank)
    dilation = ints_per_axis(name, "dilation_rate", dilation_rate, rank)
    if output_padding is None:
        extra: tuple[int | None, ...] = (None,) * rank
    else:
        extra = ints_per_axis(name, "output_padding", output_padding, rank)
    crops = [
        crop(d * (k - 1) + 1, s, kind, e)
        for k, s, d, e in zip(w.shape[2:], strides, dilation, extra, strict=True)
    ]
    cut = tuple((before, max(after, 0)) for before, after in crops)
    tail = [max(-after, 0) for _, after in crops]  # no window reaches there
    sizes = [
        (L - 1) * s + d * (k - 1) + 1 - before - after
        for L, k, s, d, (before, after) in zip(
            x.shape[2:], w.shape[2:], strides, dilation, cut, strict=True
        )
    ]
    out = (w.shape[1], sizes, np.result_type(x, w))
    y = call_in_format(
        "conv_transpose", x, last, out, (w, None, strides, cut, 0, 1, dilation), tail
    )
    return y.astype(result_dtype(x_dtype, w_dtype), copy=False)
