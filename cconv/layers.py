"""
Layers with ``torch.nn``'s constructors: they hold parameters and weights, and call the functions.

``layer(x)`` is ``layer.forward(x)``. Weights are plain arrays: ``layer.weight``, ``layer.bias`` (or None).
``layer.backward(grad_output)`` returns the gradient by the input of the last forward call, and leaves those by the
weights in ``layer.weight_grad`` and ``layer.bias_grad`` (None before; each call overwrites them). A layer keeps a
reference to its last input for that, not a copy: who changes it in place, changes the gradients.
They start as torch's do, Kaiming uniform: from ``(-b, b)`` with ``b = 1 / sqrt(fan_in)`` and
``fan_in = weight.shape[1] * prod(kernel)``.
Each kind is written once; the classes for 1, 2 and 3 axes differ in `rank` only.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from . import _elements, functional, grad
from ._check import arrays, params, shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from ._prepack import Prepacked
    from ._typing import (
        Array,
        Padding,
        PaddingMode,
        Pads,
        Real,
        Scalar,
        Size,
        Sizes,
        Untyped,
        Whole,
    )


__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Unfold",
    "Fold",
]


def _shown(value: Any, rank: int) -> Any:
    """A parameter as torch's repr has it for convolutions: one value an axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank


class Layer:
    """What all layers share: calling, `repr`, and the state of those that have one."""

    rank: int
    _names: tuple[str, ...] = ()  # array attributes of the state
    _saved: Any  # what backward needs of the last forward call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def backward(self, grad_output: ArrayLike) -> Array:
        """The gradient by the input of the last forward call, for this gradient of its output.

        Raises
        ------
        RuntimeError
            If there was no forward call.
        TypeError, ValueError
            If `grad_output` has not the output's shape, or is not of real floating-point numbers.
        """
        raise NotImplementedError

    def _gradient(self, base: str, of: str = "input") -> Any:
        return getattr(grad, f"{base}{self.rank}d_{of}")

    def _last(self) -> Any:
        try:
            return self._saved
        except AttributeError:
            raise RuntimeError(
                f"{type(self).__name__}.backward: there was no forward call to go back through"
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_saved"}

    def extra_repr(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def _function(self, base: str) -> Any:
        return getattr(functional, f"{base}{self.rank}d")

    def state_dict(self) -> dict[str, Array]:
        """Copies of the arrays, by torch's names."""
        return {n: getattr(self, n).copy() for n in self._names if getattr(self, n) is not None}

    def load_state_dict(self, state_dict: Mapping[str, ArrayLike]) -> None:
        """Take the arrays of a `state_dict`, converted to the layer's dtype; nothing changes if one does not fit.

        Raises
        ------
        KeyError, ValueError, TypeError
            If a name is missing or unknown, or a shape differs.
        """
        own = [n for n in self._names if getattr(self, n) is not None]
        missing, unknown = set(own) - set(state_dict), set(state_dict) - set(own)
        if missing or unknown:
            raise KeyError(
                f"load_state_dict: {type(self).__name__} has {sorted(own)}; missing {sorted(missing)}, "
                f"unknown {sorted(unknown)}"
            )
        checked = {}
        for name in own:
            array = arrays.array("load_state_dict", name, state_dict[name])
            have = getattr(self, name)
            if array.shape != have.shape:
                raise ValueError(
                    f"load_state_dict: {name} must have shape {have.shape}, got {array.shape}"
                )
            if not _elements.same_kind(array.dtype, have.dtype):
                raise TypeError(
                    f"load_state_dict: {name} of dtype {array.dtype} does not fit {have.dtype}"
                )
            checked[name] = array.astype(have.dtype)
        for name, array in checked.items():
            setattr(self, name, array)


class _Conv(Layer):
    """Weights, their initialisation and the repr of both kinds of convolution."""

    _names = ("weight", "bias")
    _base: str
    weight: Array
    # None without a bias, or before a backward call; "Any" lets those who know that it is an array go without a check.
    bias: Array | Any
    weight_grad: Array | Any = None
    bias_grad: Array | Any = None
    stride: Size
    padding: Padding
    padding_mode: PaddingMode

    @overload
    def backward(
        self, grad_output: ArrayLike, *, needs_input_grad: Literal[True] = ...
    ) -> Array: ...
    @overload
    def backward(self, grad_output: ArrayLike, *, needs_input_grad: Literal[False]) -> None: ...
    def backward(self, grad_output: ArrayLike, *, needs_input_grad: bool = True) -> Array | None:
        """As `Layer.backward`; without `needs_input_grad` (a first layer's is of no use) returns None."""
        input, options, named = self._last()
        weight_grad = self._gradient(self._base, "weight")(
            input, self.weight.shape, grad_output, *options, **named
        )
        self.weight_grad = weight_grad.astype(self.weight.dtype, copy=False)
        if self.bias is not None:
            bias_grad = self._gradient(self._base, "bias")(grad_output)
            self.bias_grad = bias_grad.astype(self.bias.dtype, copy=False)
        if not needs_input_grad:
            return None
        result: Array = self._gradient(self._base)(
            np.shape(input), self.weight, grad_output, *options, **named
        )
        return result

    def _setup(
        self,
        transposed: bool,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        groups: int,
        bias: bool,
        dtype: DTypeLike | None,
        rng: int | np.random.Generator | None,
    ) -> None:
        name = type(self).__name__
        self.in_channels = params.integer(name, "in_channels", in_channels, 1)
        self.out_channels = params.integer(name, "out_channels", out_channels, 1)
        self.groups = params.integer(name, "groups", groups, 1)
        self.kernel_size = params.axes(name, "kernel_size", kernel_size, self.rank, 1)
        params.layer_groups(name, self.in_channels, self.out_channels, self.groups)
        kind = params.layer_dtype(name, dtype)
        rng = np.random.default_rng(rng)
        first, second = out_channels, in_channels // groups
        if transposed:
            first, second = in_channels, out_channels // groups
        shape = (first, second, *self.kernel_size)
        bound = 1 / sqrt(prod(shape[1:]))
        self.weight = rng.uniform(-bound, bound, shape).astype(kind)
        self.bias = rng.uniform(-bound, bound, out_channels).astype(kind) if bias else None

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={_shown(self.stride, self.rank)}"
        defaults = {"padding": 0, "dilation": 1, "output_padding": 0}
        for key, default in defaults.items():
            value = getattr(self, key, default)
            shown = value if isinstance(value, str) else _shown(value, self.rank)
            if shown != (default,) * self.rank:
                text += f", {key}={shown}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _ConvNd(_Conv):
    """
    Convolution layer.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or tuple of int
    stride, padding, dilation, groups, padding_mode
        As in `cconv.conv2d`.
    bias : bool, default True
        Whether the layer has a bias.
    dtype : dtype, default float32
    rng : int or numpy.random.Generator, optional
        Seed of the initial weights.

    Examples
    --------
    >>> import numpy as np
    >>> import cconv
    >>> layer = cconv.Conv2d(in_channels=1, out_channels=64, kernel_size=3, padding=1, rng=0)
    >>> layer
    Conv2d(1, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    >>> layer(np.zeros((1, 1, 28, 28), np.float32)).shape
    (1, 64, 28, 28)
    """

    _base = "conv"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        dtype: DTypeLike | None = None,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        self._setup(False, in_channels, out_channels, kernel_size, groups, bias, dtype, rng)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.padding_mode = padding_mode
        params.packed_params(
            type(self).__name__, self.kernel_size, stride, padding, dilation, padding_mode, False, 0
        )

    if TYPE_CHECKING:

        @overload
        def forward(self, input: ArrayLike, *, out: NDArray[Scalar]) -> NDArray[Scalar]: ...
        @overload
        def forward(self, input: ArrayLike, *, out: Array | None = None) -> Array: ...

    def forward(self, input: ArrayLike, *, out: Array | None = None) -> Array:
        options = (self.stride, self.padding, self.dilation, self.groups)
        named = {"padding_mode": self.padding_mode}
        self._saved = input, options, named
        result: Array = self._function("conv")(
            input, self.weight, self.bias, *options, **named, out=out
        )
        return result

    if TYPE_CHECKING:

        @functional.typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def prepack(self) -> Prepacked:
        """The layer with its present weights, as `cconv.prepack` gives it."""
        return functional.prepack(
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            padding_mode=self.padding_mode,
        )


class _ConvTransposeNd(_Conv):
    """
    Transposed convolution layer.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or tuple of int
    stride, padding, output_padding, groups, dilation
        As in `cconv.conv_transpose2d`.
    bias : bool, default True
        Whether the layer has a bias.
    padding_mode : {"zeros"}
    dtype : dtype, default float32
    rng : int or numpy.random.Generator, optional
        Seed of the initial weights.

    Examples
    --------
    >>> import numpy as np
    >>> import cconv
    >>> layer = cconv.ConvTranspose2d(16, 8, 4, stride=2, padding=1, rng=0)
    >>> layer(np.zeros((1, 16, 7, 7), np.float32)).shape
    (1, 8, 14, 14)
    """

    _base = "conv_transpose"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Pads = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: Literal["zeros"] = "zeros",
        *,
        dtype: DTypeLike | None = None,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        self._setup(True, in_channels, out_channels, kernel_size, groups, bias, dtype, rng)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.output_padding, self.padding_mode = output_padding, padding_mode
        params.packed_params(
            type(self).__name__, self.kernel_size, stride, padding, dilation, padding_mode, True, output_padding
        )  # fmt: skip

    if TYPE_CHECKING:

        @overload
        def forward(
            self,
            input: ArrayLike,
            output_size: Sequence[int] | None = None,
            *,
            out: NDArray[Scalar],
        ) -> NDArray[Scalar]: ...
        @overload
        def forward(
            self,
            input: ArrayLike,
            output_size: Sequence[int] | None = None,
            *,
            out: Array | None = None,
        ) -> Array: ...

    def forward(
        self,
        input: ArrayLike,
        output_size: Sequence[int] | None = None,
        *,
        out: Array | None = None,
    ) -> Array:
        """`output_size` chooses, as in torch, among the sizes that output padding can reach."""
        extra = self.output_padding
        if output_size is not None:
            x = arrays.array(type(self).__name__, "input", input)
            extra = shapes.extra_padding(
                type(self).__name__,
                x.shape,
                output_size,
                self.kernel_size,
                self.stride,
                self.padding,
                self.dilation,
            )
        options = (self.stride, self.padding, extra, self.groups, self.dilation)
        self._saved = input, options, {}
        result: Array = self._function("conv_transpose")(
            input, self.weight, self.bias, *options, out=out
        )
        return result

    if TYPE_CHECKING:

        @functional.typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def prepack(self) -> Prepacked:
        """The layer with its present weights, as `cconv.prepack` gives it."""
        return functional.prepack(
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            transposed=True,
            output_padding=self.output_padding,
        )


class _Window(Layer):
    """Pools: their parameters are checked once by the function on an input, and shown as given."""

    _shown: tuple[str, ...] = ()
    kernel_size: Size
    stride: Size | None

    def extra_repr(self) -> str:
        parts = (f"{key}={getattr(self, key)}" for key in self._shown)
        return ", ".join(parts)

    def _window(
        self, kernel_size: Size, stride: Size | None, padding: Pads = 0, dilation: Size = 1
    ) -> None:
        name = type(self).__name__
        params.axes(name, "kernel_size", kernel_size, self.rank, 1)
        self.kernel_size = kernel_size
        self.stride = kernel_size if params.is_kernel_size(stride) else stride
        params.axes(name, "stride", self.stride, self.rank, 1)
        params.pairs(name, padding, self.rank)
        params.axes(name, "dilation", dilation, self.rank, 1)


class _MaxPoolNd(_Window):
    """
    Max pooling layer; parameters as in `cconv.max_pool2d`, in torch.nn's order.

    Examples
    --------
    >>> import cconv
    >>> cconv.MaxPool2d(2)([[[7, 3, 5, 2], [8, 7, 1, 6], [4, 9, 3, 9], [0, 8, 4, 5]]])
    array([[[8, 6],
            [9, 9]]])
    """

    _shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Pads = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self._window(kernel_size, stride, padding, dilation)
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: ArrayLike, *, out: Array | None = None) -> Array | Any:
        result = self._function("max_pool")(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
            out=out,
        )
        self._saved = input, result[1] if self.return_indices else None
        return result

    if TYPE_CHECKING:

        @functional.typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def backward(self, grad_output: ArrayLike) -> Array:
        window = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        input, indices = self._last()
        result: Array = self._gradient("max_pool")(input, grad_output, *window, indices=indices)
        return result


class _AvgPoolNd(_Window):
    """
    Average pooling layer; parameters as in `cconv.avg_pool2d`.

    Examples
    --------
    >>> import cconv
    >>> cconv.AvgPool2d(2)([[[1.0, 2.0], [3.0, 4.0]]])
    array([[[2.5]]])
    """

    _shown = ("kernel_size", "stride", "padding")

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Pads = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        dilation: Size = 1,
    ) -> None:
        self._window(kernel_size, stride, padding, dilation)
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override
        self.dilation = dilation

    if TYPE_CHECKING:

        @overload
        def forward(
            self: Any, input: NDArray[Real], *, out: NDArray[Real] | None = None
        ) -> NDArray[Real]: ...
        @overload
        def forward(
            self: Any, input: NDArray[Whole], *, out: NDArray[np.float64] | None = None
        ) -> NDArray[np.float64]: ...
        @overload
        def forward(
            self: Any, input: ArrayLike, *, out: NDArray[Untyped] | None = None
        ) -> Array: ...

    def forward(self, input: ArrayLike, *, out: Array | None = None) -> Array:
        result: Array = self._function("avg_pool")(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
            dilation=self.dilation,
            out=out,
        )
        self._saved = np.shape(input)
        return result

    if TYPE_CHECKING:

        @functional.typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def backward(self, grad_output: ArrayLike) -> Array:
        result: Array = self._gradient("avg_pool")(
            self._last(),
            grad_output,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
            dilation=self.dilation,
        )
        return result


class _LPPoolNd(_Window):
    """
    Power-average pooling layer; parameters as in `cconv.lp_pool2d`.

    Examples
    --------
    >>> import cconv
    >>> cconv.LPPool2d(2, (1, 2))([[[3.0, 4.0]]])
    array([[[5.]]])
    """

    _shown = ("norm_type", "kernel_size", "stride", "ceil_mode")

    def __init__(
        self,
        norm_type: float,
        kernel_size: Size,
        stride: Size | None = None,
        ceil_mode: bool = False,
    ) -> None:
        self.norm_type = norm_type
        params.norm(type(self).__name__, norm_type)
        self._window(kernel_size, stride)
        self.ceil_mode = ceil_mode

    @functional.typed_as(_AvgPoolNd.forward)
    def forward(self, input: ArrayLike, *, out: Array | None = None) -> Array:
        self._saved = input
        result: Array = self._function("lp_pool")(
            input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode, out=out
        )
        return result

    if TYPE_CHECKING:

        @functional.typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def backward(self, grad_output: ArrayLike) -> Array:
        window = (self.norm_type, self.kernel_size, self.stride, self.ceil_mode)
        result: Array = self._gradient("lp_pool")(self._last(), grad_output, *window)
        return result


class _AdaptiveNd(Layer):
    """
    Pooling layer with a given output size; None keeps an axis.

    Examples
    --------
    >>> import numpy as np
    >>> import cconv
    >>> cconv.AdaptiveAvgPool2d((1, None))(np.ones((1, 8, 6, 5))).shape
    (1, 8, 1, 5)
    """

    def __init__(self, output_size: Sizes) -> None:
        params.output_size(type(self).__name__, output_size, (1,) * self.rank, self.rank)
        self.output_size = output_size

    @functional.typed_as(_AvgPoolNd.forward)
    def forward(self, input: ArrayLike, *, out: Array | None = None) -> Array:
        result: Array = self._function("adaptive_avg_pool")(input, self.output_size, out=out)
        self._saved = np.shape(input)
        return result

    if TYPE_CHECKING:

        @functional.typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def backward(self, grad_output: ArrayLike) -> Array:
        result: Array = self._gradient("adaptive_avg_pool")(
            self._last(), grad_output, self.output_size
        )
        return result

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveMaxNd(_AdaptiveNd):
    __doc__ = _AdaptiveNd.__doc__

    def __init__(self, output_size: Sizes, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: ArrayLike, *, out: Array | None = None) -> Array | Any:
        result = self._function("adaptive_max_pool")(
            input, self.output_size, self.return_indices, out=out
        )
        self._saved = input, result[1] if self.return_indices else None
        return result

    if TYPE_CHECKING:

        @functional.typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def backward(self, grad_output: ArrayLike) -> Array:
        input, indices = self._last()
        result: Array = self._gradient("adaptive_max_pool")(
            input, grad_output, self.output_size, indices=indices
        )
        return result


class _MaxUnpoolNd(_Window):
    """
    Partial inverse of a max pooling layer with ``return_indices=True``; see `cconv.max_unpool2d`.

    Examples
    --------
    >>> import cconv
    >>> values, indices = cconv.MaxPool2d(2, return_indices=True)([[[1.0, 2.0], [4.0, 3.0]]])
    >>> cconv.MaxUnpool2d(2)(values, indices)
    array([[[0., 0.],
            [4., 0.]]])
    """

    _shown = ("kernel_size", "stride", "padding")

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Pads = 0) -> None:
        if stride is not None:  # an empty one is for pools
            params.axes(type(self).__name__, "stride", stride, self.rank, 1)
        self._window(kernel_size, stride, padding)
        self.kernel_size, self.padding = _shown(kernel_size, self.rank), padding
        self.stride, self.padding = _shown(self.stride, self.rank), _shown(padding, self.rank)

    if TYPE_CHECKING:

        @overload
        def forward(
            self,
            input: NDArray[Scalar],
            indices: ArrayLike,
            output_size: Sequence[int] | None = None,
        ) -> NDArray[Scalar]: ...
        @overload
        def forward(
            self, input: ArrayLike, indices: ArrayLike, output_size: Sequence[int] | None = None
        ) -> Array: ...

    def forward(
        self, input: ArrayLike, indices: ArrayLike, output_size: Sequence[int] | None = None
    ) -> Array:
        self._saved = indices, output_size
        result: Array = self._function("max_unpool")(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )
        return result

    if TYPE_CHECKING:

        @functional.typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def backward(self, grad_output: ArrayLike) -> Array:
        indices, output_size = self._last()
        result: Array = self._gradient("max_unpool")(
            indices, grad_output, self.kernel_size, self.stride, self.padding, output_size
        )
        return result


class Unfold(Layer):
    """
    The windows of a convolution as columns; parameters as in `cconv.unfold`.

    Examples
    --------
    >>> import numpy as np
    >>> import cconv
    >>> cconv.Unfold(2)(np.zeros((1, 3, 4, 4))).shape
    (1, 12, 9)
    """

    def __init__(
        self, kernel_size: Size, dilation: Size = 1, padding: Pads = 0, stride: Size = 1
    ) -> None:
        if type(self) is Unfold:
            params.fold_geometry("Unfold", kernel_size, dilation, padding, stride)
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    if TYPE_CHECKING:

        @overload
        def forward(self, input: NDArray[Scalar]) -> NDArray[Scalar]: ...
        @overload
        def forward(self, input: ArrayLike) -> Array: ...

    def forward(self, input: ArrayLike) -> Array:
        columns = functional.unfold(
            input, self.kernel_size, self.dilation, self.padding, self.stride
        )
        self._saved = np.shape(input)[columns.ndim - 1 :]
        return columns

    if TYPE_CHECKING:

        @functional.typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def backward(self, grad_output: ArrayLike) -> Array:
        return functional.fold(
            grad_output, self._last(), self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Unfold):
    """
    Sum of the columns that `Unfold` makes; parameters as in `cconv.fold`.

    Examples
    --------
    >>> import numpy as np
    >>> import cconv
    >>> cconv.Fold((4, 4), 2)(np.zeros((1, 12, 9))).shape
    (1, 3, 4, 4)
    """

    def __init__(
        self,
        output_size: Size,
        kernel_size: Size,
        dilation: Size = 1,
        padding: Pads = 0,
        stride: Size = 1,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        params.fold_geometry("Fold", kernel_size, dilation, padding, stride, output_size)
        self.output_size = output_size

    if TYPE_CHECKING:

        @overload
        def forward(self, input: NDArray[Scalar]) -> NDArray[Scalar]: ...
        @overload
        def forward(self, input: ArrayLike) -> Array: ...

    def forward(self, input: ArrayLike) -> Array:
        return functional.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    if TYPE_CHECKING:

        @functional.typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def backward(self, grad_output: ArrayLike) -> Array:
        return functional.unfold(
            grad_output, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"


class Conv1d(_ConvNd):
    __doc__ = _ConvNd.__doc__
    rank = 1


class Conv2d(_ConvNd):
    __doc__ = _ConvNd.__doc__
    rank = 2


class Conv3d(_ConvNd):
    __doc__ = _ConvNd.__doc__
    rank = 3


class ConvTranspose1d(_ConvTransposeNd):
    __doc__ = _ConvTransposeNd.__doc__
    rank = 1


class ConvTranspose2d(_ConvTransposeNd):
    __doc__ = _ConvTransposeNd.__doc__
    rank = 2


class ConvTranspose3d(_ConvTransposeNd):
    __doc__ = _ConvTransposeNd.__doc__
    rank = 3


class MaxPool1d(_MaxPoolNd):
    __doc__ = _MaxPoolNd.__doc__
    rank = 1


class MaxPool2d(_MaxPoolNd):
    __doc__ = _MaxPoolNd.__doc__
    rank = 2


class MaxPool3d(_MaxPoolNd):
    __doc__ = _MaxPoolNd.__doc__
    rank = 3


class AvgPool1d(_AvgPoolNd):
    __doc__ = _AvgPoolNd.__doc__
    rank = 1


class AvgPool2d(_AvgPoolNd):
    __doc__ = _AvgPoolNd.__doc__
    rank = 2


class AvgPool3d(_AvgPoolNd):
    __doc__ = _AvgPoolNd.__doc__
    rank = 3


class LPPool1d(_LPPoolNd):
    __doc__ = _LPPoolNd.__doc__
    rank = 1


class LPPool2d(_LPPoolNd):
    __doc__ = _LPPoolNd.__doc__
    rank = 2


class LPPool3d(_LPPoolNd):
    __doc__ = _LPPoolNd.__doc__
    rank = 3


class AdaptiveAvgPool1d(_AdaptiveNd):
    __doc__ = _AdaptiveNd.__doc__
    rank = 1


class AdaptiveAvgPool2d(_AdaptiveNd):
    __doc__ = _AdaptiveNd.__doc__
    rank = 2


class AdaptiveAvgPool3d(_AdaptiveNd):
    __doc__ = _AdaptiveNd.__doc__
    rank = 3


class AdaptiveMaxPool1d(_AdaptiveMaxNd):
    __doc__ = _AdaptiveMaxNd.__doc__
    rank = 1


class AdaptiveMaxPool2d(_AdaptiveMaxNd):
    __doc__ = _AdaptiveMaxNd.__doc__
    rank = 2


class AdaptiveMaxPool3d(_AdaptiveMaxNd):
    __doc__ = _AdaptiveMaxNd.__doc__
    rank = 3


class MaxUnpool1d(_MaxUnpoolNd):
    __doc__ = _MaxUnpoolNd.__doc__
    rank = 1


class MaxUnpool2d(_MaxUnpoolNd):
    __doc__ = _MaxUnpoolNd.__doc__
    rank = 2


class MaxUnpool3d(_MaxUnpoolNd):
    __doc__ = _MaxUnpoolNd.__doc__
    rank = 3
