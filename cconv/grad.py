"""
Gradients, with the names and argument order of ``torch.nn.grad`` and its like for everything that torch leaves out.

``<function>_input`` is the gradient by the input, ``<function>_weight`` by the weight, ``<function>_bias`` by the bias:
the derivative of ``(y * grad_output).sum()`` where ``y`` is the function's result. Where the gradient does not depend
on the values of the input or the weight, their shape is asked for (``input_size``, ``weight_size``).
Each function is documented once, for 2-D; the 1-D and 3-D ones differ in the number of spatial axes only.

Everywhere: arrays are real floating-point numbers, batched or not, as in `cconv.functional`; float16 is computed in
float32. The result is a new C-contiguous array of the arrays' common dtype, or `out`. Its bits do not depend on the
number of threads. `weight`, `input` and `grad_output` of a convolution are taken to be finite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from ._operations import operation
from .functional import document, typed_as

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ._typing import Array, Padding, PaddingMode, Pads, Real, Size, Sizes, Untyped

_conv1d_input: Callable[..., Array] = operation("conv1d_input")
_conv2d_input: Callable[..., Array] = operation("conv2d_input")
_conv3d_input: Callable[..., Array] = operation("conv3d_input")
_conv1d_weight: Callable[..., Array] = operation("conv1d_weight")
_conv2d_weight: Callable[..., Array] = operation("conv2d_weight")
_conv3d_weight: Callable[..., Array] = operation("conv3d_weight")
_conv1d_bias: Callable[..., Array] = operation("conv1d_bias")
_conv2d_bias: Callable[..., Array] = operation("conv2d_bias")
_conv3d_bias: Callable[..., Array] = operation("conv3d_bias")
_conv_transpose1d_input: Callable[..., Array] = operation("conv_transpose1d_input")
_conv_transpose2d_input: Callable[..., Array] = operation("conv_transpose2d_input")
_conv_transpose3d_input: Callable[..., Array] = operation("conv_transpose3d_input")
_conv_transpose1d_weight: Callable[..., Array] = operation("conv_transpose1d_weight")
_conv_transpose2d_weight: Callable[..., Array] = operation("conv_transpose2d_weight")
_conv_transpose3d_weight: Callable[..., Array] = operation("conv_transpose3d_weight")
_conv_transpose1d_bias: Callable[..., Array] = operation("conv_transpose1d_bias")
_conv_transpose2d_bias: Callable[..., Array] = operation("conv_transpose2d_bias")
_conv_transpose3d_bias: Callable[..., Array] = operation("conv_transpose3d_bias")
_max_pool1d_input: Callable[..., Array] = operation("max_pool1d_input")
_max_pool2d_input: Callable[..., Array] = operation("max_pool2d_input")
_max_pool3d_input: Callable[..., Array] = operation("max_pool3d_input")
_avg_pool1d_input: Callable[..., Array] = operation("avg_pool1d_input")
_avg_pool2d_input: Callable[..., Array] = operation("avg_pool2d_input")
_avg_pool3d_input: Callable[..., Array] = operation("avg_pool3d_input")
_lp_pool1d_input: Callable[..., Array] = operation("lp_pool1d_input")
_lp_pool2d_input: Callable[..., Array] = operation("lp_pool2d_input")
_lp_pool3d_input: Callable[..., Array] = operation("lp_pool3d_input")
_adaptive_avg_pool1d_input: Callable[..., Array] = operation("adaptive_avg_pool1d_input")
_adaptive_avg_pool2d_input: Callable[..., Array] = operation("adaptive_avg_pool2d_input")
_adaptive_avg_pool3d_input: Callable[..., Array] = operation("adaptive_avg_pool3d_input")
_adaptive_max_pool1d_input: Callable[..., Array] = operation("adaptive_max_pool1d_input")
_adaptive_max_pool2d_input: Callable[..., Array] = operation("adaptive_max_pool2d_input")
_adaptive_max_pool3d_input: Callable[..., Array] = operation("adaptive_max_pool3d_input")
_max_unpool1d_input: Callable[..., Array] = operation("max_unpool1d_input")
_max_unpool2d_input: Callable[..., Array] = operation("max_unpool2d_input")
_max_unpool3d_input: Callable[..., Array] = operation("max_unpool3d_input")

__all__ = [
    "conv2d_input",
    "conv1d_input",
    "conv3d_input",
    "conv2d_weight",
    "conv1d_weight",
    "conv3d_weight",
    "conv2d_bias",
    "conv1d_bias",
    "conv3d_bias",
    "conv_transpose2d_input",
    "conv_transpose1d_input",
    "conv_transpose3d_input",
    "conv_transpose2d_weight",
    "conv_transpose1d_weight",
    "conv_transpose3d_weight",
    "conv_transpose2d_bias",
    "conv_transpose1d_bias",
    "conv_transpose3d_bias",
    "max_pool2d_input",
    "max_pool1d_input",
    "max_pool3d_input",
    "avg_pool2d_input",
    "avg_pool1d_input",
    "avg_pool3d_input",
    "lp_pool2d_input",
    "lp_pool1d_input",
    "lp_pool3d_input",
    "adaptive_avg_pool2d_input",
    "adaptive_avg_pool1d_input",
    "adaptive_avg_pool3d_input",
    "adaptive_max_pool2d_input",
    "adaptive_max_pool1d_input",
    "adaptive_max_pool3d_input",
    "max_unpool2d_input",
    "max_unpool1d_input",
    "max_unpool3d_input",
]


if TYPE_CHECKING:
    # fmt: off
    @overload
    def conv2d_input(
        input_size: Sequence[int], weight: NDArray[Real], grad_output: NDArray[Real], stride: Size = 1,
        padding: Padding = 0, dilation: Size = 1, groups: int = 1, *, padding_mode: PaddingMode = "zeros",
        out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def conv2d_input(
        input_size: Sequence[int], weight: ArrayLike, grad_output: ArrayLike, stride: Size = 1, padding: Padding = 0,
        dilation: Size = 1, groups: int = 1, *, padding_mode: PaddingMode = "zeros",
        out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def conv2d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    out: Array | None = None,
) -> Array:
    """
    Gradient of a 2-D convolution by its input.

    ``gx[n, c, i, j] = sum over o, a, b of w[o, c, a, b] * grad_output[n, o, (i + p - a*d) / s, (j + p - b*d) / s]``
    where the divisions leave no remainder: a transposed convolution. Other padding modes add what falls on padding to
    the values that stand there.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    weight : array_like, shape (O, C / groups, kh, kw)
    grad_output : array_like, shape (N, O, H', W') or (O, H', W')
        The gradient of the output.
    stride, padding, dilation, groups, padding_mode
        Those of the convolution, see `cconv.conv2d`.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> grad.conv2d_input((1, 1, 3, 3), np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)))
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    """
    return _conv2d_input(
        input_size, weight, grad_output, stride, padding, dilation, groups, padding_mode, out
    )


@typed_as(conv2d_input)
def conv1d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    out: Array | None = None,
) -> Array:
    return _conv1d_input(
        input_size, weight, grad_output, stride, padding, dilation, groups, padding_mode, out
    )


@typed_as(conv2d_input)
def conv3d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    out: Array | None = None,
) -> Array:
    return _conv3d_input(
        input_size, weight, grad_output, stride, padding, dilation, groups, padding_mode, out
    )


if TYPE_CHECKING:
    # fmt: off
    @overload
    def conv2d_weight(
        input: NDArray[Real], weight_size: Sequence[int], grad_output: NDArray[Real], stride: Size = 1,
        padding: Padding = 0, dilation: Size = 1, groups: int = 1, *, padding_mode: PaddingMode = "zeros",
        out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def conv2d_weight(
        input: ArrayLike, weight_size: Sequence[int], grad_output: ArrayLike, stride: Size = 1, padding: Padding = 0,
        dilation: Size = 1, groups: int = 1, *, padding_mode: PaddingMode = "zeros",
        out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def conv2d_weight(
    input: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    out: Array | None = None,
) -> Array:
    """
    Gradient of a 2-D convolution by its weight.

    ``gw[o, c, a, b] = sum over n, i, j of grad_output[n, o, i, j] * input[n, c, i*s - p + a*d, j*s - p + b*d]``

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
    weight_size : tuple of int
        Shape of the weight, (O, C / groups, kh, kw).
    grad_output : array_like, shape (N, O, H', W') or (O, H', W')
        The gradient of the output.
    stride, padding, dilation, groups, padding_mode
        Those of the convolution, see `cconv.conv2d`.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (O, C / groups, kh, kw)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> grad.conv2d_weight(x, (1, 1, 2, 2), np.ones((1, 1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    return _conv2d_weight(
        input, weight_size, grad_output, stride, padding, dilation, groups, padding_mode, out
    )


@typed_as(conv2d_weight)
def conv1d_weight(
    input: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    out: Array | None = None,
) -> Array:
    return _conv1d_weight(
        input, weight_size, grad_output, stride, padding, dilation, groups, padding_mode, out
    )


@typed_as(conv2d_weight)
def conv3d_weight(
    input: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    out: Array | None = None,
) -> Array:
    return _conv3d_weight(
        input, weight_size, grad_output, stride, padding, dilation, groups, padding_mode, out
    )


if TYPE_CHECKING:
    # fmt: off
    @overload
    def conv2d_bias(
        grad_output: NDArray[Real], *, out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def conv2d_bias(grad_output: ArrayLike, *, out: NDArray[Untyped] | None = None) -> Array: ...
    # fmt: on


def conv2d_bias(
    grad_output: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    """
    Gradient of a 2-D convolution by its bias: the sum of `grad_output` over batch and space.

    Parameters
    ----------
    grad_output : array_like, shape (N, O, H', W') or (O, H', W')
        The gradient of the output.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (O,)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> grad.conv2d_bias(np.ones((2, 3, 4, 4)))
    array([32., 32., 32.])
    """
    return _conv2d_bias(grad_output, out)


@typed_as(conv2d_bias)
def conv1d_bias(
    grad_output: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    return _conv1d_bias(grad_output, out)


@typed_as(conv2d_bias)
def conv3d_bias(
    grad_output: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    return _conv3d_bias(grad_output, out)


if TYPE_CHECKING:
    # fmt: off
    @overload
    def conv_transpose2d_input(
        input_size: Sequence[int], weight: NDArray[Real], grad_output: NDArray[Real], stride: Size = 1,
        padding: Pads = 0, output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *,
        out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def conv_transpose2d_input(
        input_size: Sequence[int], weight: ArrayLike, grad_output: ArrayLike, stride: Size = 1, padding: Pads = 0,
        output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def conv_transpose2d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    out: Array | None = None,
) -> Array:
    """
    Gradient of a 2-D transposed convolution by its input: a convolution of `grad_output`.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    weight : array_like, shape (C, O / groups, kh, kw)
    grad_output : array_like, shape (N, O, H', W') or (O, H', W')
        The gradient of the output.
    stride, padding, output_padding, groups, dilation
        Those of the transposed convolution, see `cconv.conv_transpose2d`.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> gy = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> grad.conv_transpose2d_input((1, 1, 2, 2), np.ones((1, 1, 2, 2)), gy)
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    return _conv_transpose2d_input(
        input_size, weight, grad_output, stride, padding, output_padding, groups, dilation, out
    )


@typed_as(conv_transpose2d_input)
def conv_transpose1d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    out: Array | None = None,
) -> Array:
    return _conv_transpose1d_input(
        input_size, weight, grad_output, stride, padding, output_padding, groups, dilation, out
    )


@typed_as(conv_transpose2d_input)
def conv_transpose3d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    out: Array | None = None,
) -> Array:
    return _conv_transpose3d_input(
        input_size, weight, grad_output, stride, padding, output_padding, groups, dilation, out
    )


if TYPE_CHECKING:
    # fmt: off
    @overload
    def conv_transpose2d_weight(
        input: NDArray[Real], weight_size: Sequence[int], grad_output: NDArray[Real], stride: Size = 1,
        padding: Pads = 0, output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *,
        out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def conv_transpose2d_weight(
        input: ArrayLike, weight_size: Sequence[int], grad_output: ArrayLike, stride: Size = 1, padding: Pads = 0,
        output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def conv_transpose2d_weight(
    input: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    out: Array | None = None,
) -> Array:
    """
    Gradient of a 2-D transposed convolution by its weight.

    ``gw[c, o, a, b] = sum over n, i, j of input[n, c, i, j] * grad_output[n, o, i*s - p + a*d, j*s - p + b*d]``

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
    weight_size : tuple of int
        Shape of the weight, (C, O / groups, kh, kw).
    grad_output : array_like, shape (N, O, H', W') or (O, H', W')
        The gradient of the output.
    stride, padding, output_padding, groups, dilation
        Those of the transposed convolution, see `cconv.conv_transpose2d`.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (C, O / groups, kh, kw)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> gy = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> grad.conv_transpose2d_weight(np.ones((1, 1, 2, 2)), (1, 1, 2, 2), gy)
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    return _conv_transpose2d_weight(
        input, weight_size, grad_output, stride, padding, output_padding, groups, dilation, out
    )


@typed_as(conv_transpose2d_weight)
def conv_transpose1d_weight(
    input: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    out: Array | None = None,
) -> Array:
    return _conv_transpose1d_weight(
        input, weight_size, grad_output, stride, padding, output_padding, groups, dilation, out
    )


@typed_as(conv_transpose2d_weight)
def conv_transpose3d_weight(
    input: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    out: Array | None = None,
) -> Array:
    return _conv_transpose3d_weight(
        input, weight_size, grad_output, stride, padding, output_padding, groups, dilation, out
    )


@typed_as(conv2d_bias)
def conv_transpose2d_bias(
    grad_output: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    """
    Gradient of a 2-D transposed convolution by its bias: the sum of `grad_output` over batch and space.

    Parameters
    ----------
    grad_output : array_like, shape (N, O, H', W') or (O, H', W')
        The gradient of the output.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (O,)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> grad.conv_transpose2d_bias(np.ones((2, 3, 4, 4)))
    array([32., 32., 32.])
    """
    return _conv_transpose2d_bias(grad_output, out)


@typed_as(conv2d_bias)
def conv_transpose1d_bias(
    grad_output: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    return _conv_transpose1d_bias(grad_output, out)


@typed_as(conv2d_bias)
def conv_transpose3d_bias(
    grad_output: ArrayLike,
    *,
    out: Array | None = None,
) -> Array:
    return _conv_transpose3d_bias(grad_output, out)


if TYPE_CHECKING:
    # fmt: off
    @overload
    def max_pool2d_input(
        input: NDArray[Real], grad_output: NDArray[Real], kernel_size: Size, stride: Size | None = None,
        padding: Pads = 0, dilation: Size = 1, ceil_mode: bool = False, *, indices: ArrayLike | None = None,
        out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def max_pool2d_input(
        input: ArrayLike, grad_output: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Pads = 0,
        dilation: Size = 1, ceil_mode: bool = False, *, indices: ArrayLike | None = None,
        out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def max_pool2d_input(
    input: ArrayLike,
    grad_output: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    indices: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    """
    Gradient of 2-D max pooling: each output's goes to the maximum of its window.

    As in torch the first of equal maxima gets it, and the last NaN of a window that holds one.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
    grad_output : array_like, shape (N, C, H', W') or (C, H', W')
        The gradient of the output.
    kernel_size, stride, padding, dilation, ceil_mode
        Those of the pool, see `cconv.max_pool2d`.
    indices : array_like of int, optional
        The positions of the maxima, as the pool with ``return_indices=True`` gives them: then they are not looked
        for again. The values of `input` do not matter.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> x = np.array([[[7.0, 3, 5, 2], [8, 7, 1, 6], [4, 9, 3, 9], [0, 8, 4, 5]]])
    >>> grad.max_pool2d_input(x, np.ones((1, 2, 2)), 2)
    array([[[0., 0., 0., 0.],
            [1., 0., 0., 1.],
            [0., 1., 0., 1.],
            [0., 0., 0., 0.]]])
    """
    return _max_pool2d_input(
        input, grad_output, kernel_size, stride, padding, dilation, ceil_mode, indices, out
    )


@typed_as(max_pool2d_input)
def max_pool1d_input(
    input: ArrayLike,
    grad_output: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    indices: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    return _max_pool1d_input(
        input, grad_output, kernel_size, stride, padding, dilation, ceil_mode, indices, out
    )


@typed_as(max_pool2d_input)
def max_pool3d_input(
    input: ArrayLike,
    grad_output: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    indices: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    return _max_pool3d_input(
        input, grad_output, kernel_size, stride, padding, dilation, ceil_mode, indices, out
    )


if TYPE_CHECKING:
    # fmt: off
    @overload
    def avg_pool2d_input(
        input_size: Sequence[int], grad_output: NDArray[Real], kernel_size: Size, stride: Size | None = None,
        padding: Pads = 0, ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None, *, dilation: Size = 1, out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def avg_pool2d_input(
        input_size: Sequence[int], grad_output: ArrayLike, kernel_size: Size, stride: Size | None = None,
        padding: Pads = 0, ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None, *, dilation: Size = 1, out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def avg_pool2d_input(
    input_size: Sequence[int],
    grad_output: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Size = 1,
    out: Array | None = None,
) -> Array:
    """
    Gradient of 2-D average pooling: each output's is shared out evenly in its window.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    grad_output : array_like, shape (N, C, H', W') or (C, H', W')
        The gradient of the output.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation
        Those of the pool, see `cconv.avg_pool2d`.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> grad.avg_pool2d_input((1, 2, 4), np.array([[[1.0, 2.0]]]), 2)
    array([[[0.25, 0.25, 0.5 , 0.5 ],
            [0.25, 0.25, 0.5 , 0.5 ]]])
    """
    return _avg_pool2d_input(
        input_size,
        grad_output,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        dilation,
        out,
    )


@typed_as(avg_pool2d_input)
def avg_pool1d_input(
    input_size: Sequence[int],
    grad_output: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Size = 1,
    out: Array | None = None,
) -> Array:
    return _avg_pool1d_input(
        input_size,
        grad_output,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        dilation,
        out,
    )


@typed_as(avg_pool2d_input)
def avg_pool3d_input(
    input_size: Sequence[int],
    grad_output: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Size = 1,
    out: Array | None = None,
) -> Array:
    return _avg_pool3d_input(
        input_size,
        grad_output,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        dilation,
        out,
    )


if TYPE_CHECKING:
    # fmt: off
    @overload
    def lp_pool2d_input(
        input: NDArray[Real], grad_output: NDArray[Real], norm_type: float, kernel_size: Size,
        stride: Size | None = None, ceil_mode: bool = False, *, padding: Pads = 0, dilation: Size = 1,
        out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def lp_pool2d_input(
        input: ArrayLike, grad_output: ArrayLike, norm_type: float, kernel_size: Size, stride: Size | None = None,
        ceil_mode: bool = False, *, padding: Pads = 0, dilation: Size = 1, out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def lp_pool2d_input(
    input: ArrayLike,
    grad_output: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Pads = 0,
    dilation: Size = 1,
    out: Array | None = None,
) -> Array:
    """
    Gradient of 2-D power-average pooling, ``gy * y^(1-p) * |x|^(p-1) * sign(x)``; 0 where ``x`` is 0.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
    grad_output : array_like, shape (N, C, H', W') or (C, H', W')
        The gradient of the output.
    norm_type, kernel_size, stride, ceil_mode, padding, dilation
        Those of the pool, see `cconv.lp_pool2d`.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> grad.lp_pool2d_input(np.array([[[3.0, -4.0]]]), np.ones((1, 1, 1)), 2, (1, 2))
    array([[[ 0.6, -0.8]]])
    """
    return _lp_pool2d_input(
        input, grad_output, norm_type, kernel_size, stride, ceil_mode, padding, dilation, out
    )


@typed_as(lp_pool2d_input)
def lp_pool1d_input(
    input: ArrayLike,
    grad_output: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Pads = 0,
    dilation: Size = 1,
    out: Array | None = None,
) -> Array:
    return _lp_pool1d_input(
        input, grad_output, norm_type, kernel_size, stride, ceil_mode, padding, dilation, out
    )


@typed_as(lp_pool2d_input)
def lp_pool3d_input(
    input: ArrayLike,
    grad_output: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Pads = 0,
    dilation: Size = 1,
    out: Array | None = None,
) -> Array:
    return _lp_pool3d_input(
        input, grad_output, norm_type, kernel_size, stride, ceil_mode, padding, dilation, out
    )


if TYPE_CHECKING:
    # fmt: off
    @overload
    def adaptive_avg_pool2d_input(
        input_size: Sequence[int], grad_output: NDArray[Real], output_size: Sizes = None, *,
        out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def adaptive_avg_pool2d_input(
        input_size: Sequence[int], grad_output: ArrayLike, output_size: Sizes = None, *,
        out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def adaptive_avg_pool2d_input(
    input_size: Sequence[int],
    grad_output: ArrayLike,
    output_size: Sizes = None,
    *,
    out: Array | None = None,
) -> Array:
    """
    Gradient of 2-D adaptive average pooling.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    grad_output : array_like, shape (N, C, H', W') or (C, H', W')
        The gradient of the output.
    output_size : int or tuple of int, optional
        That of the pool; by default what `grad_output` has.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> grad.adaptive_avg_pool2d_input((1, 1, 4), np.array([[[4.0, 8.0]]]))
    array([[[2., 2., 4., 4.]]])
    """
    return _adaptive_avg_pool2d_input(input_size, grad_output, output_size, out)


@typed_as(adaptive_avg_pool2d_input)
def adaptive_avg_pool1d_input(
    input_size: Sequence[int],
    grad_output: ArrayLike,
    output_size: Sizes = None,
    *,
    out: Array | None = None,
) -> Array:
    return _adaptive_avg_pool1d_input(input_size, grad_output, output_size, out)


@typed_as(adaptive_avg_pool2d_input)
def adaptive_avg_pool3d_input(
    input_size: Sequence[int],
    grad_output: ArrayLike,
    output_size: Sizes = None,
    *,
    out: Array | None = None,
) -> Array:
    return _adaptive_avg_pool3d_input(input_size, grad_output, output_size, out)


if TYPE_CHECKING:
    # fmt: off
    @overload
    def adaptive_max_pool2d_input(
        input: NDArray[Real], grad_output: NDArray[Real], output_size: Sizes = None, *,
        indices: ArrayLike | None = None, out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def adaptive_max_pool2d_input(
        input: ArrayLike, grad_output: ArrayLike, output_size: Sizes = None, *,
        indices: ArrayLike | None = None, out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def adaptive_max_pool2d_input(
    input: ArrayLike,
    grad_output: ArrayLike,
    output_size: Sizes = None,
    *,
    indices: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    """
    Gradient of 2-D adaptive max pooling.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
    grad_output : array_like, shape (N, C, H', W') or (C, H', W')
        The gradient of the output.
    output_size : int or tuple of int, optional
        That of the pool; by default what `grad_output` has.
    indices : array_like of int, optional
        The positions of the maxima, as the pool with ``return_indices=True`` gives them: then they are not looked
        for again. The values of `input` do not matter.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> x = np.array([[[1.0, 3.0, 2.0, 0.0]]])
    >>> grad.adaptive_max_pool2d_input(x, np.ones((1, 1, 2)))
    array([[[0., 1., 1., 0.]]])
    """
    return _adaptive_max_pool2d_input(input, grad_output, output_size, indices, out)


@typed_as(adaptive_max_pool2d_input)
def adaptive_max_pool1d_input(
    input: ArrayLike,
    grad_output: ArrayLike,
    output_size: Sizes = None,
    *,
    indices: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    return _adaptive_max_pool1d_input(input, grad_output, output_size, indices, out)


@typed_as(adaptive_max_pool2d_input)
def adaptive_max_pool3d_input(
    input: ArrayLike,
    grad_output: ArrayLike,
    output_size: Sizes = None,
    *,
    indices: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    return _adaptive_max_pool3d_input(input, grad_output, output_size, indices, out)


if TYPE_CHECKING:
    # fmt: off
    @overload
    def max_unpool2d_input(
        indices: ArrayLike, grad_output: NDArray[Real], kernel_size: Size, stride: Size | None = None,
        padding: Pads = 0, output_size: Sequence[int] | None = None, *, out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def max_unpool2d_input(
        indices: ArrayLike, grad_output: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Pads = 0,
        output_size: Sequence[int] | None = None, *, out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def max_unpool2d_input(
    indices: ArrayLike,
    grad_output: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    output_size: Sequence[int] | None = None,
    *,
    out: Array | None = None,
) -> Array:
    """
    Gradient of 2-D max unpooling: `grad_output` at the indices.

    Of equal indices each gets the gradient of the place, as in torch.

    Parameters
    ----------
    indices : array_like of int, shape (N, C, H, W) or (C, H, W)
        Those that the unpooling was called with.
    grad_output : array_like, shape (N, C, H', W') or (C, H', W')
        The gradient of the output.
    kernel_size, stride, padding, output_size
        Those of the unpooling, see `cconv.max_unpool2d`.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    TypeError, ValueError
        For arrays that are not of real floating-point numbers, and for shapes and parameters that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv import grad
    >>> grad.max_unpool2d_input([[[3]]], np.array([[[1.0, 2.0], [3.0, 4.0]]]), 2)
    array([[[4.]]])
    """
    return _max_unpool2d_input(indices, grad_output, kernel_size, stride, padding, output_size, out)


@typed_as(max_unpool2d_input)
def max_unpool1d_input(
    indices: ArrayLike,
    grad_output: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    output_size: Sequence[int] | None = None,
    *,
    out: Array | None = None,
) -> Array:
    return _max_unpool1d_input(indices, grad_output, kernel_size, stride, padding, output_size, out)


@typed_as(max_unpool2d_input)
def max_unpool3d_input(
    indices: ArrayLike,
    grad_output: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    output_size: Sequence[int] | None = None,
    *,
    out: Array | None = None,
) -> Array:
    return _max_unpool3d_input(indices, grad_output, kernel_size, stride, padding, output_size, out)


document(
    globals(),
    __all__,
    {
        "1d": {
            "C, H, W)": "C, L)",
            "O, H', W')": "O, L')",
            "C, H', W')": "C, L')",
            "kh, kw": "k",
            "2-D": "1-D",
        },
        "3d": {
            "C, H, W)": "C, D, H, W)",
            "O, H', W')": "O, D', H', W')",
            "C, H', W')": "C, D', H', W')",
            "kh, kw": "kd, kh, kw",
            "2-D": "3-D",
        },
    },
)
