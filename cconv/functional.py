"""
The functions, with the names, argument order and defaults of ``torch.nn.functional``.

Letters: N batch, C input channels, O output channels, (D, H, W) space, k kernel, s stride, p padding, d dilation.
Each function is documented once, for 2-D; the 1-D and 3-D ones differ in the number of spatial axes only.

Everywhere: `input` is ``(N, C, *space)`` or unbatched ``(C, *space)``, anything that `numpy.asarray` takes, and is
never written to. The result is a new C-contiguous array, or `out` if that is given: an array of exactly the result's
shape and dtype, strided or not. Parameters of the space are an int for all axes or a tuple of one an axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from ._explanation import Explanation
from ._operations import operation
from ._prepack import PackOptions, Prepacked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    # "as": for those who write signatures like these
    from ._typing import Algorithm as Algorithm
    from ._typing import Array as Array
    from ._typing import Dtype, Function, Indices, Listed, Number, Real, Scalar, Untyped, Whole
    from ._typing import Padding as Padding
    from ._typing import PaddingMode as PaddingMode
    from ._typing import Pads as Pads
    from ._typing import Size as Size
    from ._typing import Sizes as Sizes
    from ._typing import TransposedAlgorithm as TransposedAlgorithm

_conv1d: Callable[..., Array] = operation("conv1d")
_conv2d: Callable[..., Array] = operation("conv2d")
_conv3d: Callable[..., Array] = operation("conv3d")
_conv_transpose1d: Callable[..., Array] = operation("conv_transpose1d")
_conv_transpose2d: Callable[..., Array] = operation("conv_transpose2d")
_conv_transpose3d: Callable[..., Array] = operation("conv_transpose3d")
_max_pool1d: Callable[..., Any] = operation("max_pool1d")
_max_pool2d: Callable[..., Any] = operation("max_pool2d")
_max_pool3d: Callable[..., Any] = operation("max_pool3d")
_avg_pool1d: Callable[..., Array] = operation("avg_pool1d")
_avg_pool2d: Callable[..., Array] = operation("avg_pool2d")
_avg_pool3d: Callable[..., Array] = operation("avg_pool3d")
_lp_pool1d: Callable[..., Array] = operation("lp_pool1d")
_lp_pool2d: Callable[..., Array] = operation("lp_pool2d")
_lp_pool3d: Callable[..., Array] = operation("lp_pool3d")
_adaptive_avg_pool1d: Callable[..., Array] = operation("adaptive_avg_pool1d")
_adaptive_avg_pool2d: Callable[..., Array] = operation("adaptive_avg_pool2d")
_adaptive_avg_pool3d: Callable[..., Array] = operation("adaptive_avg_pool3d")
_adaptive_max_pool1d: Callable[..., Any] = operation("adaptive_max_pool1d")
_adaptive_max_pool2d: Callable[..., Any] = operation("adaptive_max_pool2d")
_adaptive_max_pool3d: Callable[..., Any] = operation("adaptive_max_pool3d")
_max_unpool1d: Callable[..., Array] = operation("max_unpool1d")
_max_unpool2d: Callable[..., Array] = operation("max_unpool2d")
_max_unpool3d: Callable[..., Array] = operation("max_unpool3d")
_unfold: Callable[..., Array] = operation("unfold")
_fold: Callable[..., Array] = operation("fold")

__all__ = [
    "conv2d",
    "conv1d",
    "conv3d",
    "conv_transpose2d",
    "conv_transpose1d",
    "conv_transpose3d",
    "max_pool2d",
    "max_pool1d",
    "max_pool3d",
    "avg_pool2d",
    "avg_pool1d",
    "avg_pool3d",
    "lp_pool2d",
    "lp_pool1d",
    "lp_pool3d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool3d",
    "max_unpool2d",
    "max_unpool1d",
    "max_unpool3d",
    "unfold",
    "fold",
    "prepack",
    "explain",
]


def _unchanged(function: Any) -> Any:
    return function


def typed_as(model: Function) -> Callable[[Callable[..., Any]], Function]:
    """What is decorated has the type of `model`, overloads included, and stays as it is."""
    return _unchanged


def document(
    namespace: dict[str, Any], names: list[str], changes: dict[str, dict[str, str]]
) -> None:
    """The 1-D and 3-D functions are documented as the 2-D ones, with their own axes."""
    if namespace["__doc__"] is None:
        return  # python -OO
    models = [name for name in names if "2d" in name]
    # all at once, since this is a good part of the time that an import takes
    texts = "\0".join([namespace[m].__doc__.partition("    Examples\n")[0] for m in models])
    for rank, words in changes.items():
        text = texts
        for old, new in words.items():
            text = new.join(text.split(old))
        for model, own in zip(models, text.split("\0"), strict=True):
            function = namespace[model.replace("2d", rank)]
            function.__doc__ = f"{own}    See `{model}` for an example.\n    "


if TYPE_CHECKING:
    # fmt: off
    @overload
    def conv2d(
        input: NDArray[Number], weight: NDArray[Number], bias: NDArray[Number] | None = None, stride: Size = 1,
        padding: Padding = 0, dilation: Size = 1, groups: int = 1, *, padding_mode: PaddingMode = "zeros",
        out: NDArray[Number] | None = None, algorithm: Algorithm = "auto", dtype: None = None,
    ) -> NDArray[Number]: ...
    @overload
    def conv2d(
        input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Size = 1, padding: Padding = 0,
        dilation: Size = 1, groups: int = 1, *, padding_mode: PaddingMode = "zeros",
        out: NDArray[Untyped] | None = None, algorithm: Algorithm = "auto", dtype: None = None,
    ) -> Array: ...
    @overload
    def conv2d(  # type: ignore[overload-overlap] # both give `out`
        input: ArrayLike, weight: NDArray[Number] | Listed, bias: ArrayLike | None = None, stride: Size = 1,
        padding: Padding = 0, dilation: Size = 1, groups: int = 1, *, padding_mode: PaddingMode = "zeros",
        out: NDArray[Number], algorithm: Algorithm = "auto", dtype: None = None,
    ) -> NDArray[Number]: ...
    @overload
    def conv2d(
        input: NDArray[Number] | Listed, weight: ArrayLike, bias: ArrayLike | None = None, stride: Size = 1,
        padding: Padding = 0, dilation: Size = 1, groups: int = 1, *, padding_mode: PaddingMode = "zeros",
        out: NDArray[Number], algorithm: Algorithm = "auto", dtype: None = None,
    ) -> NDArray[Number]: ...
    @overload
    def conv2d(
        input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Size = 1, padding: Padding = 0,
        dilation: Size = 1, groups: int = 1, *, padding_mode: PaddingMode = "zeros",
        out: NDArray[Number] | None = None, algorithm: Algorithm = "auto", dtype: Dtype[Number],
    ) -> NDArray[Number]: ...
    @overload
    def conv2d(
        input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Size = 1, padding: Padding = 0,
        dilation: Size = 1, groups: int = 1, *, padding_mode: PaddingMode = "zeros",
        out: NDArray[Untyped] | None = None, algorithm: Algorithm = "auto", dtype: DTypeLike | None,
    ) -> Array: ...
    # fmt: on


def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    out: Array | None = None,
    algorithm: Algorithm = "auto",
    dtype: DTypeLike | None = None,
) -> Array:
    """
    2-D convolution (cross-correlation, as in every deep-learning library).

    ``y[n, o, i, j] = bias[o] + sum over c, a, b of weight[o, c, a, b] * x[n, c, i*s - p + a*d, j*s - p + b*d]``

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
        Any real or complex numbers but bool and longdouble.
    weight : array_like, shape (O, C / groups, kh, kw)
        The kernels; taken to be finite.
    bias : array_like, shape (O,), optional
    stride : int or tuple of int, default 1
    padding : int, tuple, "same" or "valid", default 0
        Zeros (see `padding_mode`) around the input. A tuple has an int or a (before, after) pair for each axis. "same"
        pads d(k-1) in all, the smaller half before; with a stride, every s-th output of that.
    dilation : int or tuple of int, default 1
        Distance of the kernel's taps.
    groups : int, default 1
        Channels are split into this many groups, each convolved by itself; C groups are a depthwise convolution.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, default "zeros"
    out : ndarray, optional
        Where the result goes.
    algorithm : {"auto", "direct", "winograd", "fft"}, default "auto"
        "direct" sums in the order c, kh, kw; "winograd" multiplies less, with at most 4 times the rounding error
        (``CCONV_WINOGRAD=0`` in the environment keeps "auto" from it); "fft" is for large kernels: overlap-save with
        `numpy.fft`, not for integers. See `explain`.
    dtype : data-type, optional
        What the result is, and is summed in, as in `numpy.sum`: ``dtype=np.int32`` of uint8 and int8 arrays is exact
        and fast. It must hold every number that the arrays' common dtype holds.

    Returns
    -------
    ndarray, shape (N, O, H', W') or (O, H', W')
        ``H' = floor((H + 2p - d(kh-1) - 1) / s) + 1``. Its dtype is `dtype`, or else `numpy.result_type` of the arrays,
        in which integers wrap as NumPy's do: sums of uint8 then keep their last 8 bits. float16 is summed in float32.

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit, before anything is computed.

    Notes
    -----
    Implicit GEMM after Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", 2014, section 3; Winograd after
    Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> import cconv
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> cconv.conv2d(x, [[[[0.0, 1.0], [-1.0, 0.0]]]], stride=2)
    array([[[[-3., -3.],
             [-3., -3.]]]])
    """
    return _conv2d(
        input, weight, bias, stride, padding, dilation, groups, padding_mode, out, algorithm, dtype
    )


@typed_as(conv2d)
def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    out: Array | None = None,
    algorithm: Algorithm = "auto",
    dtype: DTypeLike | None = None,
) -> Array:
    return _conv1d(
        input, weight, bias, stride, padding, dilation, groups, padding_mode, out, algorithm, dtype
    )


@typed_as(conv2d)
def conv3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    out: Array | None = None,
    algorithm: Algorithm = "auto",
    dtype: DTypeLike | None = None,
) -> Array:
    return _conv3d(
        input, weight, bias, stride, padding, dilation, groups, padding_mode, out, algorithm, dtype
    )


if TYPE_CHECKING:
    # fmt: off
    @overload
    def conv_transpose2d(
        input: NDArray[Number], weight: NDArray[Number], bias: NDArray[Number] | None = None, stride: Size = 1,
        padding: Pads = 0, output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *,
        out: NDArray[Number] | None = None, algorithm: TransposedAlgorithm = "auto", dtype: None = None,
    ) -> NDArray[Number]: ...
    @overload
    def conv_transpose2d(
        input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Size = 1, padding: Pads = 0,
        output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, out: NDArray[Untyped] | None = None,
        algorithm: TransposedAlgorithm = "auto", dtype: None = None,
    ) -> Array: ...
    @overload
    def conv_transpose2d(  # type: ignore[overload-overlap] # both give `out`
        input: ArrayLike, weight: NDArray[Number] | Listed, bias: ArrayLike | None = None, stride: Size = 1,
        padding: Pads = 0, output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, out: NDArray[Number],
        algorithm: TransposedAlgorithm = "auto", dtype: None = None,
    ) -> NDArray[Number]: ...
    @overload
    def conv_transpose2d(
        input: NDArray[Number] | Listed, weight: ArrayLike, bias: ArrayLike | None = None, stride: Size = 1,
        padding: Pads = 0, output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, out: NDArray[Number],
        algorithm: TransposedAlgorithm = "auto", dtype: None = None,
    ) -> NDArray[Number]: ...
    @overload
    def conv_transpose2d(
        input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Size = 1, padding: Pads = 0,
        output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, out: NDArray[Number] | None = None,
        algorithm: TransposedAlgorithm = "auto", dtype: Dtype[Number],
    ) -> NDArray[Number]: ...
    @overload
    def conv_transpose2d(
        input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Size = 1, padding: Pads = 0,
        output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, out: NDArray[Untyped] | None = None,
        algorithm: TransposedAlgorithm = "auto", dtype: DTypeLike | None,
    ) -> Array: ...
    # fmt: on


def conv_transpose2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    out: Array | None = None,
    algorithm: TransposedAlgorithm = "auto",
    dtype: DTypeLike | None = None,
) -> Array:
    """
    2-D transposed convolution: the gradient of a convolution with respect to its input, as a layer that upsamples.

    ``y[n, o, i*s - p + a*d, j*s - p + b*d]`` collects ``x[n, c, i, j] * weight[c, o, a, b]`` over all i, j, c, a, b.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
    weight : array_like, shape (C, O / groups, kh, kw)
    bias : array_like, shape (O,), optional
    stride : int or tuple of int, default 1
    padding : int or tuple, default 0
        Crops the result: an int or a (before, after) pair for each axis.
    output_padding : int or tuple of int, default 0
        Rows added at the end; less than the stride or the dilation.
    groups : int, default 1
    dilation : int or tuple of int, default 1
    out : ndarray, optional
        Where the result goes.
    algorithm : {"auto", "direct", "winograd"}, default "auto"
    dtype : data-type, optional
        What the result is, and is summed in, as in `conv2d`. Without it integers wrap in the arrays' common dtype.

    Returns
    -------
    ndarray, shape (N, O, H', W') or (O, H', W')
        ``H' = (H-1)s - 2p + d(kh-1) + output_padding + 1``

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit, before anything is computed.

    Notes
    -----
    Computed as one dense stride-1 convolution for each residue of the output position modulo the stride; no zeros are
    inserted or multiplied.

    Examples
    --------
    >>> import numpy as np
    >>> import cconv
    >>> cconv.conv_transpose2d(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 2, 2)), stride=2)
    array([[[1., 1., 2., 2.],
            [1., 1., 2., 2.]]])
    """
    return _conv_transpose2d(
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        out,
        algorithm,
        dtype,
    )


@typed_as(conv_transpose2d)
def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    out: Array | None = None,
    algorithm: TransposedAlgorithm = "auto",
    dtype: DTypeLike | None = None,
) -> Array:
    return _conv_transpose1d(
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        out,
        algorithm,
        dtype,
    )


@typed_as(conv_transpose2d)
def conv_transpose3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Pads = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    out: Array | None = None,
    algorithm: TransposedAlgorithm = "auto",
    dtype: DTypeLike | None = None,
) -> Array:
    return _conv_transpose3d(
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        out,
        algorithm,
        dtype,
    )


if TYPE_CHECKING:
    # fmt: off
    @overload
    def max_pool2d(
        input: NDArray[Number], kernel_size: Size, stride: Size | None = None, padding: Pads = 0, dilation: Size = 1,
        ceil_mode: bool = False, return_indices: Literal[False] = False, *, out: NDArray[Number] | None = None,
    ) -> NDArray[Number]: ...
    @overload
    def max_pool2d(
        input: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Pads = 0, dilation: Size = 1,
        ceil_mode: bool = False, return_indices: Literal[False] = False, *, out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    @overload
    def max_pool2d(
        input: NDArray[Number], kernel_size: Size, stride: Size | None = None, padding: Pads = 0, dilation: Size = 1,
        ceil_mode: bool = False, *, return_indices: Literal[True], out: NDArray[Number] | None = None,
    ) -> tuple[NDArray[Number], Indices]: ...
    @overload
    def max_pool2d(
        input: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Pads = 0, dilation: Size = 1,
        ceil_mode: bool = False, *, return_indices: Literal[True], out: NDArray[Untyped] | None = None,
    ) -> tuple[Array, Indices]: ...
    @overload
    def max_pool2d(
        input: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Pads = 0, dilation: Size = 1,
        ceil_mode: bool = False, *, return_indices: bool, out: NDArray[Untyped] | None = None,
    ) -> Any: ...
    @overload
    def max_pool2d(
        input: NDArray[Number], kernel_size: Size, stride: Size | None = None, padding: Pads = 0, dilation: Size = 1,
        ceil_mode: bool = False, *, return_indices: bool, out: NDArray[Number],
    ) -> Any: ...
    @overload
    def max_pool2d(
        input: ArrayLike, kernel_size: Size, stride: Size | None, padding: Pads, dilation: Size, ceil_mode: bool,
        return_indices: bool, *, out: Array | None = None,
    ) -> Any: ...
    # fmt: on


def max_pool2d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    out: Array | None = None,
) -> Any:
    """
    2-D max pooling: the largest value of each window.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
        Any real numbers; bool counts as uint8.
    kernel_size : int or tuple of int
        Size of the window.
    stride : int or tuple of int, default `kernel_size`
    padding : int or tuple, default 0
        Places around the input that never win: an int or a (before, after) pair for each axis, smaller than the
        window.
    dilation : int or tuple of int, default 1
    ceil_mode : bool, default False
        Whether windows may hang over the end; they must start inside the input or the padding before it.
    return_indices : bool, default False
        Whether to return the positions of the maxima too.
    out : ndarray, optional
        Where the values go.

    Returns
    -------
    ndarray, shape (N, C, H', W') or (C, H', W')
        ``H' = floor((H + 2p - d(k-1) - 1) / s) + 1``, or its ceiling. NaN wins. A window without any value has -inf, or
        the smallest integer.
    ndarray of int64, the same shape
        Only with `return_indices`: flat positions within a plane of the input. Of equals the first, of NaNs the last;
        -1 for a window without any value.

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit, before anything is computed.

    Examples
    --------
    >>> import cconv
    >>> cconv.max_pool2d([[[7, 3, 5, 2], [8, 7, 1, 6], [4, 9, 3, 9], [0, 8, 4, 5]]], 2)
    array([[[8, 6],
            [9, 9]]])
    """
    return _max_pool2d(
        input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, out
    )


@typed_as(max_pool2d)
def max_pool1d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    out: Array | None = None,
) -> Any:
    return _max_pool1d(
        input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, out
    )


@typed_as(max_pool2d)
def max_pool3d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    out: Array | None = None,
) -> Any:
    return _max_pool3d(
        input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, out
    )


if TYPE_CHECKING:
    # fmt: off
    @overload
    def avg_pool2d(
        input: NDArray[Real], kernel_size: Size, stride: Size | None = None, padding: Pads = 0,
        ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None, *,
        dilation: Size = 1, out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def avg_pool2d(
        input: NDArray[Whole], kernel_size: Size, stride: Size | None = None, padding: Pads = 0,
        ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None, *,
        dilation: Size = 1, out: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]: ...
    @overload
    def avg_pool2d(
        input: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Pads = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None, *, dilation: Size = 1,
        out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def avg_pool2d(
    input: ArrayLike,
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
    2-D average pooling.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
        Any real numbers.
    kernel_size : int or tuple of int
        Size of the window.
    stride : int or tuple of int, default `kernel_size`
    padding : int or tuple, default 0
        Zeros around the input: an int or a (before, after) pair for each axis, smaller than the window.
    ceil_mode : bool, default False
        Whether windows may hang over the end; they must start inside the input or the padding before it.
    count_include_pad : bool, default True
        Whether zeros of the padding count in the divisor. What hangs over the padding never does.
    divisor_override : int, optional
        Divides every sum instead.
    dilation : int or tuple of int, default 1
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H', W') or (C, H', W')
        ``H' = floor((H + 2p - d(k-1) - 1) / s) + 1``, or its ceiling. Integers average to
        float64, as in `numpy.mean`.

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit, before anything is computed.

    Examples
    --------
    >>> import numpy as np
    >>> import cconv
    >>> cconv.avg_pool2d(np.arange(16.0).reshape(1, 4, 4), 2)
    array([[[ 2.5,  4.5],
            [10.5, 12.5]]])
    """
    return _avg_pool2d(
        input,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        dilation,
        out,
    )


@typed_as(avg_pool2d)
def avg_pool1d(
    input: ArrayLike,
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
    return _avg_pool1d(
        input,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        dilation,
        out,
    )


@typed_as(avg_pool2d)
def avg_pool3d(
    input: ArrayLike,
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
    return _avg_pool3d(
        input,
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
    def lp_pool2d(
        input: NDArray[Real], norm_type: float, kernel_size: Size, stride: Size | None = None,
        ceil_mode: bool = False, *, padding: Pads = 0, dilation: Size = 1, out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def lp_pool2d(
        input: NDArray[Whole], norm_type: float, kernel_size: Size, stride: Size | None = None,
        ceil_mode: bool = False, *, padding: Pads = 0, dilation: Size = 1, out: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]: ...
    @overload
    def lp_pool2d(
        input: ArrayLike, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False, *,
        padding: Pads = 0, dilation: Size = 1, out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def lp_pool2d(
    input: ArrayLike,
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
    2-D power-average pooling: ``(sum over the window of |x|^p)^(1/p)``.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
    norm_type : float
        The power p > 0; infinity gives the largest magnitude.
    kernel_size : int or tuple of int
        Size of the window.
    stride : int or tuple of int, default `kernel_size`
    ceil_mode : bool, default False
        Whether windows may hang over the end. Their sums are scaled up to the whole window, as torch does.
    padding : int or tuple, default 0
        Zeros around the input: an int or a (before, after) pair for each axis, smaller than the window.
    dilation : int or tuple of int, default 1
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H', W') or (C, H', W')
        ``H' = floor((H + 2p - d(k-1) - 1) / s) + 1``, or its ceiling; float64 for integers.

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit, before anything is computed.

    Examples
    --------
    >>> import cconv
    >>> cconv.lp_pool2d([[[3.0, -4.0]]], 2, (1, 2))
    array([[[5.]]])
    """
    return _lp_pool2d(input, norm_type, kernel_size, stride, ceil_mode, padding, dilation, out)


@typed_as(lp_pool2d)
def lp_pool1d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Pads = 0,
    dilation: Size = 1,
    out: Array | None = None,
) -> Array:
    return _lp_pool1d(input, norm_type, kernel_size, stride, ceil_mode, padding, dilation, out)


@typed_as(lp_pool2d)
def lp_pool3d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    padding: Pads = 0,
    dilation: Size = 1,
    out: Array | None = None,
) -> Array:
    return _lp_pool3d(input, norm_type, kernel_size, stride, ceil_mode, padding, dilation, out)


if TYPE_CHECKING:
    # fmt: off
    @overload
    def adaptive_avg_pool2d(
        input: NDArray[Real], output_size: Sizes, *, out: NDArray[Real] | None = None,
    ) -> NDArray[Real]: ...
    @overload
    def adaptive_avg_pool2d(
        input: NDArray[Whole], output_size: Sizes, *, out: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]: ...
    @overload
    def adaptive_avg_pool2d(
        input: ArrayLike, output_size: Sizes, *, out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    # fmt: on


def adaptive_avg_pool2d(input: ArrayLike, output_size: Sizes, *, out: Array | None = None) -> Array:
    """
    2-D average pooling to a given size.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
    output_size : int, None or tuple of them
        Size of the result; None keeps the input's.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape ``(N, C, *output_size)`` or ``(C, *output_size)``
        Output i averages the inputs from ``floor(i L / size)`` to ``ceil((i+1) L / size)``, exclusive.

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit, before anything is computed.

    Examples
    --------
    >>> import cconv
    >>> cconv.adaptive_avg_pool2d([[[1.0, 2.0, 3.0, 4.0, 5.0]]], (None, 2))
    array([[[2., 4.]]])
    """
    return _adaptive_avg_pool2d(input, output_size, out)


@typed_as(adaptive_avg_pool2d)
def adaptive_avg_pool1d(input: ArrayLike, output_size: Sizes, *, out: Array | None = None) -> Array:
    return _adaptive_avg_pool1d(input, output_size, out)


@typed_as(adaptive_avg_pool2d)
def adaptive_avg_pool3d(input: ArrayLike, output_size: Sizes, *, out: Array | None = None) -> Array:
    return _adaptive_avg_pool3d(input, output_size, out)


if TYPE_CHECKING:
    # fmt: off
    @overload
    def adaptive_max_pool2d(
        input: NDArray[Number], output_size: Sizes, return_indices: Literal[False] = False, *,
        out: NDArray[Number] | None = None,
    ) -> NDArray[Number]: ...
    @overload
    def adaptive_max_pool2d(
        input: ArrayLike, output_size: Sizes, return_indices: Literal[False] = False, *,
        out: NDArray[Untyped] | None = None,
    ) -> Array: ...
    @overload
    def adaptive_max_pool2d(
        input: NDArray[Number], output_size: Sizes, return_indices: Literal[True], *,
        out: NDArray[Number] | None = None,
    ) -> tuple[NDArray[Number], Indices]: ...
    @overload
    def adaptive_max_pool2d(
        input: ArrayLike, output_size: Sizes, return_indices: Literal[True], *, out: NDArray[Untyped] | None = None,
    ) -> tuple[Array, Indices]: ...
    @overload
    def adaptive_max_pool2d(
        input: ArrayLike, output_size: Sizes, return_indices: bool, *, out: NDArray[Untyped] | None = None,
    ) -> Any: ...
    @overload
    def adaptive_max_pool2d(
        input: NDArray[Number], output_size: Sizes, return_indices: bool, *, out: NDArray[Number],
    ) -> Any: ...
    # fmt: on


def adaptive_max_pool2d(
    input: ArrayLike,
    output_size: Sizes,
    return_indices: bool = False,
    *,
    out: Array | None = None,
) -> Any:
    """
    2-D max pooling to a given size.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
    output_size : int, None or tuple of them
        Size of the result; None keeps the input's.
    return_indices : bool, default False
        Whether to return the positions of the maxima too, as `max_pool2d` does.
    out : ndarray, optional
        Where the values go.

    Returns
    -------
    ndarray, shape ``(N, C, *output_size)`` or ``(C, *output_size)``
        Output i is the largest of the inputs from ``floor(i L / size)`` to ``ceil((i+1) L / size)``, exclusive.
    ndarray of int64, the same shape
        Only with `return_indices`.

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit, before anything is computed.

    Examples
    --------
    >>> import cconv
    >>> cconv.adaptive_max_pool2d([[[1.0, 2.0, 3.0, 4.0, 5.0]]], (1, 2))
    array([[[3., 5.]]])
    """
    return _adaptive_max_pool2d(input, output_size, return_indices, out)


@typed_as(adaptive_max_pool2d)
def adaptive_max_pool1d(
    input: ArrayLike,
    output_size: Sizes,
    return_indices: bool = False,
    *,
    out: Array | None = None,
) -> Any:
    return _adaptive_max_pool1d(input, output_size, return_indices, out)


@typed_as(adaptive_max_pool2d)
def adaptive_max_pool3d(
    input: ArrayLike,
    output_size: Sizes,
    return_indices: bool = False,
    *,
    out: Array | None = None,
) -> Any:
    return _adaptive_max_pool3d(input, output_size, return_indices, out)


if TYPE_CHECKING:
    # fmt: off
    @overload
    def max_unpool2d(
        input: NDArray[Scalar], indices: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Pads = 0,
        output_size: Sequence[int] | None = None,
    ) -> NDArray[Scalar]: ...
    @overload
    def max_unpool2d(
        input: ArrayLike, indices: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Pads = 0,
        output_size: Sequence[int] | None = None,
    ) -> Array: ...
    # fmt: on


def max_unpool2d(
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    output_size: Sequence[int] | None = None,
) -> Array:
    """
    Partial inverse of 2-D max pooling: each value goes back to where it came from, among zeros.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
    indices : array_like of int, the same shape
        From ``max_pool2d(..., return_indices=True)``. Of equal indices the last wins.
    kernel_size : int or tuple of int
    stride : int or tuple of int, default `kernel_size`
    padding : int or tuple, default 0
    output_size : tuple of int, optional
        Size of the space of the result, within a stride of the default; torch's whole shape is taken too.

    Returns
    -------
    ndarray, shape (N, C, H', W') or (C, H', W')
        ``H' = (H-1)s - 2p + k`` if `output_size` is not given.

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit, and for an index outside a plane of the output.

    Examples
    --------
    >>> import cconv
    >>> values, indices = cconv.max_pool2d([[[1.0, 2.0], [4.0, 3.0]]], 2, return_indices=True)
    >>> cconv.max_unpool2d(values, indices, 2)
    array([[[0., 0.],
            [4., 0.]]])
    """
    return _max_unpool2d(input, indices, kernel_size, stride, padding, output_size)


@typed_as(max_unpool2d)
def max_unpool1d(
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    output_size: Sequence[int] | None = None,
) -> Array:
    return _max_unpool1d(input, indices, kernel_size, stride, padding, output_size)


@typed_as(max_unpool2d)
def max_unpool3d(
    input: ArrayLike,
    indices: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Pads = 0,
    output_size: Sequence[int] | None = None,
) -> Array:
    return _max_unpool3d(input, indices, kernel_size, stride, padding, output_size)


if TYPE_CHECKING:
    # fmt: off
    @overload
    def unfold(
        input: NDArray[Scalar], kernel_size: Size, dilation: Size = 1, padding: Pads = 0, stride: Size = 1,
    ) -> NDArray[Scalar]: ...
    @overload
    def unfold(
        input: ArrayLike, kernel_size: Size, dilation: Size = 1, padding: Pads = 0, stride: Size = 1,
    ) -> Array: ...
    # fmt: on


def unfold(
    input: ArrayLike, kernel_size: Size, dilation: Size = 1, padding: Pads = 0, stride: Size = 1
) -> Array:
    """
    The windows of a convolution as the columns of a matrix (im2col).

    Parameters
    ----------
    input : array_like, shape ``(N, C, *space)`` or ``(C, *space)``
    kernel_size, dilation, padding, stride : int or tuple
        As in `conv2d`. Ints alone mean two spatial axes, as in torch; a tuple's length says how many.

    Returns
    -------
    ndarray, shape (N, C * kh * kw, L) or (C * kh * kw, L)
        L is the number of windows.

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit.

    Examples
    --------
    >>> import cconv
    >>> cconv.unfold([[1, 2, 3, 4]], (2,))
    array([[1, 2, 3],
           [2, 3, 4]])
    """
    return _unfold(input, kernel_size, dilation, padding, stride)


if TYPE_CHECKING:
    # fmt: off
    @overload
    def fold(
        input: NDArray[Scalar], output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Pads = 0,
        stride: Size = 1,
    ) -> NDArray[Scalar]: ...
    @overload
    def fold(
        input: ArrayLike, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Pads = 0,
        stride: Size = 1,
    ) -> Array: ...
    # fmt: on


def fold(
    input: ArrayLike,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Pads = 0,
    stride: Size = 1,
) -> Array:
    """
    Sum of the columns that `unfold` makes, each value at the place that it came from (col2im).

    Parameters
    ----------
    input : array_like, shape (N, C * kh * kw, L) or (C * kh * kw, L)
    output_size : int or tuple of int
        Size of the space of the result.
    kernel_size, dilation, padding, stride : int or tuple
        As given to `unfold`.

    Returns
    -------
    ndarray, shape ``(N, C, *output_size)`` or ``(C, *output_size)``

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit.

    Examples
    --------
    >>> import cconv
    >>> cconv.fold([[1, 2, 3], [2, 3, 4]], (4,), (2,))
    array([[1, 4, 6, 4]])
    """
    return _fold(input, output_size, kernel_size, dilation, padding, stride)


def prepack(
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    transposed: bool = False,
    output_padding: Size = 0,
    algorithm: Algorithm = "auto",
    dtype: DTypeLike | None = None,
) -> Prepacked:
    """
    A convolution with its weights kept in the kernels' own layout: faster when it is called often.

    Parameters
    ----------
    weight : array_like, shape ``(O, C / groups, *kernel)``, transposed ``(C, O / groups, *kernel)``
        Copied; the number of its axes says how many the space has.
    bias, stride, padding, dilation, groups, padding_mode
        As in `conv2d`.
    transposed : bool, default False
        Whether it is a transposed convolution, as `conv_transpose2d`.
    output_padding : int or tuple of int, default 0
        As in `conv_transpose2d`.
    algorithm : {"auto", "direct", "winograd", "fft"}, default "auto"
        As in `conv2d`; what cannot serve is refused at the first call.
    dtype : data-type, optional
        Of the results, as in `conv2d`; without it integers wrap.

    Returns
    -------
    Prepacked
        A callable ``run(x, out=None)``. It cannot be changed, is safe from many threads, and pickles as plain weights.
        Its results may differ from the plain function's within the bound of the algorithm that it chooses.

    Raises
    ------
    TypeError, ValueError
        For parameters and shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import cconv
    >>> run = cconv.prepack(np.ones((64, 1, 3, 3), np.float32), padding=1)
    >>> run(np.zeros((1, 1, 28, 28), np.float32)).shape
    (1, 64, 28, 28)
    """
    options = PackOptions(
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=padding_mode,
        transposed=transposed,
        output_padding=output_padding,
        algorithm=algorithm,
        dtype=dtype,
    )
    return Prepacked(weight, bias, options)


def explain(function: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """
    What a call would do, and why: planned, not run. Integers are looked at for their range, as in the call.

    Parameters
    ----------
    function : str or function
        A convolution or pool of this module, a gradient of ``cconv.grad``, or its name.
    *args, **kwargs
        The arguments of the call.

    Returns
    -------
    Explanation
        A dict that prints as a table: algorithm, kernel, reason, tile, workspace (bytes of all threads), threads, isa,
        dtypes, shape.

    Raises
    ------
    TypeError, ValueError
        As the call itself would.

    Examples
    --------
    >>> import numpy as np
    >>> import cconv
    >>> x, w = np.zeros((1, 64, 56, 56), np.float32), np.zeros((64, 64, 3, 3), np.float32)
    >>> cconv.explain("conv2d", x, w, padding=1)["algorithm"]
    'winograd'
    """
    from ._explain import explain as explained  # imported with the first call

    return explained(function, args, kwargs)


document(
    globals(),
    __all__,
    {
        "1d": {"(N, C, H, W) or (C, H, W)": "(N, C, L) or (C, L)", "2-D": "1-D"},
        "3d": {"(N, C, H, W) or (C, H, W)": "(N, C, D, H, W) or (C, D, H, W)", "2-D": "3-D"},
    },
)
