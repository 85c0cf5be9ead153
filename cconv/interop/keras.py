"""
Convolution and pooling for Keras' NumPy backend: ``pip install cconv[keras]``.

That backend computes them with JAX, and cannot even be imported without it. The functions here have the names,
signatures and results of ``keras.src.backend.numpy.nn``; `install` puts them there, and JAX is not needed::

    import cconv.interop.keras

    cconv.interop.keras.install()  # before the first `import keras`
    import keras

    model = keras.Sequential([keras.layers.Conv2D(8, 3), keras.layers.MaxPooling2D()])

The functions work without Keras, too. Kernels are Keras': (\\*kernel, in, out), transposed (\\*kernel, out, in);
``data_format=None`` is Keras' setting, or "channels_last" if Keras has not been imported. With the channels last, too,
inputs are read and results written where they are, without a copy of the whole.

>>> import numpy as np
>>> from cconv.interop.keras import conv
>>> conv(np.ones((1, 5, 5, 2)), np.ones((3, 3, 2, 4)), strides=2, padding="same").shape
(1, 3, 3, 4)
"""

from __future__ import annotations

import sys
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import functional
from ._keras_backend import install, uninstall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from ..functional import Array

    Sizes = int | Sequence[int]

__all__ = [
    "adaptive_average_pool",
    "adaptive_max_pool",
    "average_pool",
    "conv",
    "conv_transpose",
    "depthwise_conv",
    "install",
    "max_pool",
    "separable_conv",
    "uninstall",
]


# ---------------------------------------------------------------- arguments


def _last(name: str, data_format: str | None) -> bool:
    """Whether the channels are last."""
    if data_format is None:
        keras = sys.modules.get("keras")
        data_format = keras.config.image_data_format() if keras else "channels_last"
    data_format = str(data_format).lower()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"{name}: data_format must be 'channels_last' or 'channels_first', got {data_format!r}"
        )
    return data_format == "channels_last"


def _array(name: str, parameter: str, value: ArrayLike) -> tuple[Array, Any]:
    """The array and the dtype of its results: ml_dtypes' bfloat16 is computed in float32, as float16 is."""
    a = np.asarray(value)
    if a.ndim not in (3, 4, 5):
        raise ValueError(
            f"{name}: {parameter} must have 1, 2 or 3 spatial axes and two more, got shape {a.shape}"
        )
    if a.dtype.kind == "V":
        return a.astype(np.float32), a.dtype
    return a, a.dtype


def _tuple(name: str, parameter: str, value: Sizes, rank: int) -> tuple[int, ...]:
    # the functional layer refuses what is not positive
    result = (value,) * rank if isinstance(value, int | np.integer) else tuple(value)
    if len(result) != rank:
        raise ValueError(f"{name}: {parameter} must be an int or {rank} of them, got {value!r}")
    return tuple(int(n) for n in result)


def _pads(
    name: str,
    padding: str,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Before and after; TensorFlow's "same" gives ceil(L / s) outputs, so it depends on the stride."""
    kind = padding.lower() if isinstance(padding, str) else padding
    if kind not in ("valid", "same"):
        raise ValueError(f"{name}: padding must be 'valid' or 'same', got {padding!r}")
    if kind == "valid":
        return ((0, 0),) * len(sizes)
    pads = []
    for L, k, s, d in zip(sizes, kernel, strides, dilation, strict=True):
        total = max((-(-L // s) - 1) * s + d * (k - 1) + 1 - L, 0) if s > 0 else 0
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def _first(x: Array, last: bool) -> Array:
    """A view with the channels first."""
    return np.moveaxis(x, -1, 1) if last else x


def _run(
    name: str,
    x: Array,
    last: bool,
    out: tuple[int, Sequence[int], Any],
    arguments: tuple[Any, ...],
    tail: Sequence[int] = (),
) -> Array:
    """
    Call the function of x's rank; `out` is the result's channels, sizes and dtype.

    Channels-last results are written in place through `out=`, which took from 0.7 to 1.1 of the time of a result that
    is copied. `tail` zeros follow the results along each axis.
    """
    function: Callable[..., Array] = getattr(functional, f"{name}{x.ndim - 2}d")
    channels, sizes, dtype = out
    if min(sizes) < 1 or not (last or any(tail)):
        return function(x, *arguments)  # which words the error, if there is one
    whole = [n + t for n, t in zip(sizes, tail or (0,) * len(sizes), strict=True)]
    make = np.zeros if any(tail) else np.empty
    order = (x.shape[0], *whole, channels) if last else (x.shape[0], channels, *whole)
    y: Array = make(order, dtype)
    inside: tuple[Any, ...] = (..., *(slice(n) for n in sizes))
    function(x, *arguments, out=_first(y, last)[inside])
    return y


def _sizes(
    x: Array,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[tuple[int, int]],
) -> tuple[int, ...]:
    """The sizes of a convolution's or a pool's result; zeros for what the functional layer refuses."""
    if min(strides) < 1:
        return (0,) * len(strides)
    return tuple(
        (L + before + after - d * (k - 1) - 1) // s + 1
        for L, k, s, d, (before, after) in zip(
            x.shape[2:], kernel, strides, dilation, pads, strict=True
        )
    )


def _result(x_dtype: Any, kernel_dtype: Any) -> Any:
    return x_dtype if x_dtype == kernel_dtype else np.result_type(x_dtype, kernel_dtype)


# ---------------------------------------------------------------- convolutions


def _conv(
    name: str,
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Sizes,
    padding: str,
    data_format: str | None,
    dilation_rate: Sizes,
    depthwise: bool,
) -> Array:
    last = _last(name, data_format)
    x, x_dtype = _array(name, "inputs", inputs)
    w, w_dtype = _array(name, "kernel", kernel)
    if x.ndim != w.ndim:
        raise ValueError(
            f"{name}: inputs and kernel must have as many axes, got shapes {x.shape} and {w.shape}"
        )
    rank = x.ndim - 2
    x = _first(x, last)
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
    strides = _tuple(name, "strides", strides, rank)
    dilation = _tuple(name, "dilation_rate", dilation_rate, rank)
    pads = _pads(name, padding, x.shape[2:], w.shape[2:], strides, dilation)
    sizes = _sizes(x, w.shape[2:], strides, dilation, pads)
    if min(strides) > 0 and min(sizes) < 1:
        raise ValueError(
            f"{name}: The convolution operation resulted in an empty output: kernel {w.shape[2:]} "
            f"with dilation {dilation} does not fit into {x.shape[2:]}"
        )
    out = (w.shape[0], sizes, np.result_type(x, w))
    y = _run("conv", x, last, out, (w, None, strides, pads, dilation, groups))
    return y.astype(_result(x_dtype, w_dtype), copy=False)


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
    return _conv("conv", inputs, kernel, strides, padding, data_format, dilation_rate, False)


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
    return _conv(name, inputs, kernel, strides, padding, data_format, dilation_rate, True)


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
    y = _conv(name, inputs, depthwise_kernel, strides, padding, data_format, dilation_rate, True)
    return _conv(name, y, pointwise_kernel, 1, "valid", data_format, dilation_rate, False)


def _crops(kernel: int, s: int, padding: str, extra: int | None) -> tuple[int, int]:
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
    last = _last(name, data_format)
    x, x_dtype = _array(name, "inputs", inputs)
    w, w_dtype = _array(name, "kernel", kernel)
    x = _first(x, last)
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
    strides = _tuple(name, "strides", strides, rank)
    dilation = _tuple(name, "dilation_rate", dilation_rate, rank)
    if output_padding is None:
        extra: tuple[int | None, ...] = (None,) * rank
    else:
        extra = _tuple(name, "output_padding", output_padding, rank)
    crops = [
        _crops(d * (k - 1) + 1, s, kind, e)
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
    y = _run("conv_transpose", x, last, out, (w, None, strides, cut, 0, 1, dilation), tail)
    return y.astype(_result(x_dtype, w_dtype), copy=False)


# ---------------------------------------------------------------- pools


def _pool(
    name: str,
    kind: str,
    inputs: ArrayLike,
    pool_size: Sizes,
    strides: Sizes | None,
    padding: str,
    data_format: str | None,
) -> Array:
    last = _last(name, data_format)
    x, dtype = _array(name, "inputs", inputs)
    rank = x.ndim - 2
    x = _first(x, last)
    size = _tuple(name, "pool_size", pool_size, rank)
    steps = size if strides is None else _tuple(name, "strides", strides, rank)
    pads = _pads(name, padding, x.shape[2:], size, steps, (1,) * rank)
    sizes = _sizes(x, size, steps, (1,) * rank, pads)
    # the arguments after the padding are ceil_mode, and count_include_pad
    more = (False, False) if kind == "avg_pool" else ()
    out = (x.shape[1], sizes, _pooled(kind, x.dtype))
    y = _run(kind, x, last, out, (size, steps, pads, *more))
    return y.astype(dtype, copy=False) if dtype.kind == "V" else y


def _pooled(kind: str, dtype: Any) -> Any:
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
    return _pool("max_pool", "max_pool", inputs, pool_size, strides, padding, data_format)


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
    return _pool("average_pool", "avg_pool", inputs, pool_size, strides, padding, data_format)


def _adaptive(
    name: str, kind: str, inputs: ArrayLike, output_size: Sizes, data_format: str | None
) -> Array:
    last = _last(name, data_format)
    x, dtype = _array(name, "inputs", inputs)
    size = _tuple(name, "output_size", output_size, x.ndim - 2)
    x = _first(x, last)
    y = _run(kind, x, last, (x.shape[1], size, _pooled(kind, x.dtype)), (size,))
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
    return _adaptive(name, "adaptive_avg_pool", inputs, output_size, data_format)


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
    return _adaptive(name, "adaptive_max_pool", inputs, output_size, data_format)
