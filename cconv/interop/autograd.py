"""
cconv's functions for the ``autograd`` package: differentiable as often as one likes, in reverse and forward mode.

``pip install cconv[autograd]``. The functions have the names and arguments of ``cconv.functional``, without `out`;
activations, losses and optimisers are ``autograd.numpy``.

>>> import autograd.numpy as np
>>> from autograd import grad
>>> from cconv.interop import autograd as ca
>>> def loss(w, x):
...     return np.sum(ca.avg_pool2d(np.tanh(ca.conv2d(x, w, padding=1)), 2) ** 2)
>>> x, w = np.ones((1, 1, 4, 4)), np.ones((2, 1, 3, 3)) / 9
>>> grad(loss)(w, x).shape
(2, 1, 3, 3)

How it is closed under differentiation: a convolution, its input gradient and its weight gradient are each linear in two
arrays, and the derivatives of each of the three are the other two. A pool is linear in its input (averages), or moves
values from places that are constant around a point (maxima); its adjoint has the pool for its own.
"""

from __future__ import annotations

from math import inf, prod
from typing import TYPE_CHECKING

import numpy

from .. import _args, functional
from .. import grad as gradients

try:
    import autograd.numpy as anp
    from autograd.extend import defjvp, defvjp, primitive
    from autograd.tracer import getval
except ImportError as error:
    raise ImportError(
        "cconv.interop.autograd needs the autograd package: pip install cconv[autograd]",
        name="autograd",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


# ---------------------------------------------------------------- convolution
# `options` are the positional parameters after the arrays, `rank` and `named` what else the functions need.


def _call(module: Any, base: str, rank: int, of: str = "") -> Any:
    return getattr(module, f"{base}{rank}d{of}")


@primitive
def _conv(x: Any, w: Any, b: Any, base: str, rank: int, options: Any, named: Any) -> Any:
    return _call(functional, base, rank)(x, w, b, *options, **named)


@primitive
def _conv_input(size: Any, w: Any, g: Any, base: str, rank: int, options: Any, named: Any) -> Any:
    named = {name: value for name, value in named.items() if name != "algorithm"}
    return _call(gradients, base, rank, "_input")(size, w, g, *options, **named)


@primitive
def _conv_weight(x: Any, size: Any, g: Any, base: str, rank: int, options: Any, named: Any) -> Any:
    named = {name: value for name, value in named.items() if name != "algorithm"}
    return _call(gradients, base, rank, "_weight")(x, size, g, *options, **named)


def _bias_gradient(g: Any, rank: int) -> Any:
    return anp.sum(g, axis=tuple(i for i in range(g.ndim) if i != g.ndim - rank - 1))


def _spread_bias(b: Any, like: Any, rank: int) -> Any:
    return anp.zeros(like.shape, like.dtype) + anp.reshape(b, (-1, *(1,) * rank))


defvjp(
    _conv,
    lambda ans, x, w, b, base, rank, *rest: (
        lambda g: _conv_input(anp.shape(x), w, g, base, rank, *rest)
    ),
    lambda ans, x, w, b, base, rank, *rest: (
        lambda g: _conv_weight(x, anp.shape(w), g, base, rank, *rest)
    ),
    lambda ans, x, w, b, base, rank, *rest: lambda g: _bias_gradient(g, rank),
)
defjvp(
    _conv,
    lambda g, ans, x, w, b, *rest: _conv(g, w, None, *rest),
    lambda g, ans, x, w, b, *rest: _conv(x, g, None, *rest),
    lambda g, ans, x, w, b, base, rank, *rest: _spread_bias(g, ans, rank),
)
defvjp(
    _conv_input,
    lambda ans, size, w, g, *rest: lambda v: _conv_weight(v, anp.shape(w), g, *rest),
    lambda ans, size, w, g, *rest: lambda v: _conv(v, w, None, *rest),
    argnums=(1, 2),
)
defjvp(
    _conv_input,
    lambda v, ans, size, w, g, *rest: _conv_input(size, v, g, *rest),
    lambda v, ans, size, w, g, *rest: _conv_input(size, w, v, *rest),
    argnums=(1, 2),
)
defvjp(
    _conv_weight,
    lambda ans, x, size, g, *rest: lambda v: _conv_input(anp.shape(x), v, g, *rest),
    lambda ans, x, size, g, *rest: lambda v: _conv(x, v, None, *rest),
    argnums=(0, 2),
)
defjvp(
    _conv_weight,
    lambda v, ans, x, size, g, *rest: _conv_weight(v, size, g, *rest),
    lambda v, ans, x, size, g, *rest: _conv_weight(x, size, v, *rest),
    argnums=(0, 2),
)


def _make_conv(rank: int) -> Callable[..., Any]:
    def conv(
        input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, padding_mode="zeros", algorithm="auto"
    ):  # fmt: skip
        options = (stride, padding, dilation, groups)
        named = {"padding_mode": padding_mode, "algorithm": algorithm}
        return _conv(input, weight, bias, "conv", rank, options, named)

    return conv


def _make_transposed(rank: int) -> Callable[..., Any]:
    def conv_transpose(
        input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, *, algorithm="auto"
    ):  # fmt: skip
        options = (stride, padding, output_padding, groups, dilation)
        return _conv(input, weight, bias, "conv_transpose", rank, options, {"algorithm": algorithm})

    return conv_transpose


# ---------------------------------------------------------------- linear: averages, unfold and fold, unpooling


def _linear(function: Callable[..., Any], adjoint: Callable[..., Any]) -> tuple[Any, Any]:
    """Primitives of a linear function(x, *rest) and its adjoint(g, *rest): each is the other's gradient."""
    forward, backward = primitive(function), primitive(adjoint)
    for a, b in ((forward, backward), (backward, forward)):
        defvjp(a, lambda ans, x, *rest, b=b: lambda g: b(g, *rest))
        defjvp(a, lambda g, ans, x, *rest, a=a: a(g, *rest))
    return forward, backward


_avg_pool, _ = _linear(
    lambda x, size, rank, options, named: _call(functional, "avg_pool", rank)(x, *options, **named),
    lambda g, size, rank, options, named: _call(gradients, "avg_pool", rank, "_input")(
        size, g, *options, **named
    ),
)
_adaptive_avg_pool, _ = _linear(
    lambda x, size, rank, out: _call(functional, "adaptive_avg_pool", rank)(x, out),
    lambda g, size, rank, out: _call(gradients, "adaptive_avg_pool", rank, "_input")(size, g, out),
)
_unfold, _fold = _linear(
    lambda x, size, options: functional.unfold(x, *options),
    lambda g, size, options: functional.fold(g, size, *options),
)
_unpool, _ = _linear(
    lambda x, indices, rank, options: _call(functional, "max_unpool", rank)(x, indices, *options),
    lambda g, indices, rank, options: _call(gradients, "max_unpool", rank, "_input")(
        indices, g, *options
    ),
)


def _make_avg_pool(rank: int) -> Callable[..., Any]:
    def avg_pool(
        input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None,
        *, dilation=1,
    ):  # fmt: skip
        options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        return _avg_pool(input, anp.shape(input), rank, options, {"dilation": dilation})

    return avg_pool


def _make_adaptive_avg_pool(rank: int) -> Callable[..., Any]:
    def adaptive_avg_pool(input, output_size):
        return _adaptive_avg_pool(input, anp.shape(input), rank, output_size)

    return adaptive_avg_pool


def _make_lp_pool(rank: int) -> Callable[..., Any]:
    def lp_pool(
        input, norm_type, kernel_size, stride=None, ceil_mode=False, *, padding=0, dilation=1
    ):
        name = f"lp_pool{rank}d"
        norm = _args.norm(name, norm_type)
        sizes = anp.abs(input)
        if norm == inf:
            options = (kernel_size, stride, padding, dilation, ceil_mode)
            return _max_pool(sizes, "max_pool", rank, options)
        # as powers of an average, which rescales windows that hang over the edge
        mean = _make_avg_pool(rank)(
            sizes**norm, kernel_size, stride, padding, ceil_mode, dilation=dilation
        )
        taps = prod(_args.axes(name, "kernel_size", kernel_size, rank, 1))
        if norm == 1:
            return mean * taps
        # a window of zeros has the slope 0, as in cconv.grad, not 0 times infinity
        some = mean != 0
        return anp.where(some, (anp.where(some, mean, 1) * taps) ** (1 / norm), 0 * mean)

    return lp_pool


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    options = (kernel_size, dilation, padding, stride)
    rank = _args.rank_of("unfold", *options)
    return _unfold(input, anp.shape(input)[-rank:], options)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    rank = _args.rank_of("fold", output_size, kernel_size, dilation, padding, stride)
    size = _args.axes("fold", "output_size", output_size, rank, 1)
    return _fold(input, size, (kernel_size, dilation, padding, stride))


def _make_unpool(rank: int) -> Callable[..., Any]:
    def max_unpool(input, indices, kernel_size, stride=None, padding=0, output_size=None):
        return _unpool(input, getval(indices), rank, (kernel_size, stride, padding, output_size))

    return max_unpool


# ---------------------------------------------------------------- maxima


@primitive
def _max_pool(x: Any, base: str, rank: int, options: Any) -> Any:
    return _call(functional, base, rank)(x, *options)


@primitive
def _max_input(g: Any, x: Any, base: str, rank: int, options: Any) -> Any:
    return _call(gradients, base, rank, "_input")(x, g, *options)


@primitive
def _max_values(v: Any, x: Any, base: str, rank: int, options: Any) -> Any:
    """v where x has the maxima of the windows: the adjoint of `_max_input`, 0 for a window without a tap."""
    _, indices = _call(functional, base, rank)(x, *options, return_indices=True)
    planes = v.reshape(*v.shape[:-rank], -1)
    flat = indices.reshape(*v.shape[:-rank], -1)
    found = numpy.take_along_axis(planes, numpy.maximum(flat, 0), -1)
    return numpy.where(flat >= 0, found, 0).astype(v.dtype, copy=False).reshape(indices.shape)


# the places of the maxima do not move: no derivative of these by x
defvjp(_max_pool, lambda ans, x, *rest: lambda g: _max_input(g, x, *rest))
defjvp(_max_pool, lambda g, ans, x, *rest: _max_values(g, x, *rest))
for _a, _b in ((_max_input, _max_values), (_max_values, _max_input)):
    defvjp(
        _a,
        lambda ans, g, x, *rest, b=_b: lambda v: b(v, x, *rest),
        lambda ans, g, x, *rest: lambda v: anp.zeros_like(x),
    )
    defjvp(
        _a,
        lambda v, ans, g, x, *rest, a=_a: a(v, x, *rest),
        lambda v, ans, g, x, *rest: anp.zeros_like(ans),
    )


def _make_max_pool(rank: int) -> Callable[..., Any]:
    def max_pool(
        input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
    ):  # fmt: skip
        options = (kernel_size, stride, padding, dilation, ceil_mode)
        values = _max_pool(input, "max_pool", rank, options)
        if not return_indices:
            return values
        x = getval(input)
        while getval(x) is not x:  # boxes of higher derivatives
            x = getval(x)
        return values, _call(functional, "max_pool", rank)(x, *options, True)[1]

    return max_pool


def _make_adaptive_max_pool(rank: int) -> Callable[..., Any]:
    def adaptive_max_pool(input, output_size, return_indices=False):
        values = _max_pool(input, "adaptive_max_pool", rank, (output_size,))
        if not return_indices:
            return values
        x = getval(input)
        while getval(x) is not x:
            x = getval(x)
        return values, _call(functional, "adaptive_max_pool", rank)(x, output_size, True)[1]

    return adaptive_max_pool


# ---------------------------------------------------------------- the public names

__all__ = ["fold", "unfold"]
for _name, _make in (
    ("conv", _make_conv),
    ("conv_transpose", _make_transposed),
    ("max_pool", _make_max_pool),
    ("avg_pool", _make_avg_pool),
    ("lp_pool", _make_lp_pool),
    ("adaptive_avg_pool", _make_adaptive_avg_pool),
    ("adaptive_max_pool", _make_adaptive_max_pool),
    ("max_unpool", _make_unpool),
):
    for _rank in (1, 2, 3):
        _public = _make(_rank)
        _public.__name__ = _public.__qualname__ = f"{_name}{_rank}d"
        _public.__doc__ = (
            f"Differentiable `cconv.{_name}{_rank}d`, with the same arguments but `out`."
        )
        globals()[_public.__name__] = _public
        __all__ += [_public.__name__]  # noqa: PLE0604
unfold.__doc__ = "Differentiable `cconv.unfold`."
fold.__doc__ = "Differentiable `cconv.fold`."
