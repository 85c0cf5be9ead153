"""The primitives of `cconv.interop.autograd`, and their derivatives in terms of each other.

A convolution, its input gradient and its weight gradient are each linear in two arrays, and the derivatives of each of
the three are the other two. A pool is linear in its input (averages), or moves values from places that are constant
around a point (maxima); its adjoint has the pool for its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp, primitive

from .. import functional, grad

if TYPE_CHECKING:
    from collections.abc import Callable


# ---------------------------------------------------------------- convolution
# `options` are the positional parameters after the arrays, `rank` and `named` what else the functions need.


def function_of(module: Any, base: str, rank: int, of: str = "") -> Any:
    """The public function of this rank, or its gradient by its input or weight."""
    return getattr(module, f"{base}{rank}d{of}")


@primitive
def conv(x: Any, w: Any, b: Any, base: str, rank: int, options: Any, named: Any) -> Any:
    return function_of(functional, base, rank)(x, w, b, *options, **named)


@primitive
def conv_input(size: Any, w: Any, g: Any, base: str, rank: int, options: Any, named: Any) -> Any:
    named = {name: value for name, value in named.items() if name != "algorithm"}
    return function_of(grad, base, rank, "_input")(size, w, g, *options, **named)


@primitive
def conv_weight(x: Any, size: Any, g: Any, base: str, rank: int, options: Any, named: Any) -> Any:
    named = {name: value for name, value in named.items() if name != "algorithm"}
    return function_of(grad, base, rank, "_weight")(x, size, g, *options, **named)


def bias_gradient(g: Any, rank: int) -> Any:
    return anp.sum(g, axis=tuple(i for i in range(g.ndim) if i != g.ndim - rank - 1))


def spread_bias(b: Any, like: Any, rank: int) -> Any:
    return anp.zeros(like.shape, like.dtype) + anp.reshape(b, (-1, *(1,) * rank))


defvjp(
    conv,
    lambda ans, x, w, b, base, rank, *rest: (
        lambda g: conv_input(anp.shape(x), w, g, base, rank, *rest)
    ),
    lambda ans, x, w, b, base, rank, *rest: (
        lambda g: conv_weight(x, anp.shape(w), g, base, rank, *rest)
    ),
    lambda ans, x, w, b, base, rank, *rest: lambda g: bias_gradient(g, rank),
)
defjvp(
    conv,
    lambda g, ans, x, w, b, *rest: conv(g, w, None, *rest),
    lambda g, ans, x, w, b, *rest: conv(x, g, None, *rest),
    lambda g, ans, x, w, b, base, rank, *rest: spread_bias(g, ans, rank),
)
defvjp(
    conv_input,
    lambda ans, size, w, g, *rest: lambda v: conv_weight(v, anp.shape(w), g, *rest),
    lambda ans, size, w, g, *rest: lambda v: conv(v, w, None, *rest),
    argnums=(1, 2),
)
defjvp(
    conv_input,
    lambda v, ans, size, w, g, *rest: conv_input(size, v, g, *rest),
    lambda v, ans, size, w, g, *rest: conv_input(size, w, v, *rest),
    argnums=(1, 2),
)
defvjp(
    conv_weight,
    lambda ans, x, size, g, *rest: lambda v: conv_input(anp.shape(x), v, g, *rest),
    lambda ans, x, size, g, *rest: lambda v: conv(x, v, None, *rest),
    argnums=(0, 2),
)
defjvp(
    conv_weight,
    lambda v, ans, x, size, g, *rest: conv_weight(v, size, g, *rest),
    lambda v, ans, x, size, g, *rest: conv_weight(x, size, v, *rest),
    argnums=(0, 2),
)


# ---------------------------------------------------------------- linear: averages, unfold and fold, unpooling


def linear(function: Callable[..., Any], adjoint: Callable[..., Any]) -> tuple[Any, Any]:
    """Primitives of a linear function(x, *rest) and its adjoint(g, *rest): each is the other's gradient."""
    forward, backward = primitive(function), primitive(adjoint)
    for a, b in ((forward, backward), (backward, forward)):
        defvjp(a, lambda ans, x, *rest, b=b: lambda g: b(g, *rest))
        defjvp(a, lambda g, ans, x, *rest, a=a: a(g, *rest))
    return forward, backward


avg_pool, _ = linear(
    lambda x, size, rank, options, named: function_of(functional, "avg_pool", rank)(
        x, *options, **named
    ),
    lambda g, size, rank, options, named: function_of(grad, "avg_pool", rank, "_input")(
        size, g, *options, **named
    ),
)
adaptive_avg_pool, _ = linear(
    lambda x, size, rank, out: function_of(functional, "adaptive_avg_pool", rank)(x, out),
    lambda g, size, rank, out: function_of(grad, "adaptive_avg_pool", rank, "_input")(size, g, out),
)
unfolded, folded = linear(
    lambda x, size, options: functional.unfold(x, *options),
    lambda g, size, options: functional.fold(g, size, *options),
)
unpool, _ = linear(
    lambda x, indices, rank, options: function_of(functional, "max_unpool", rank)(
        x, indices, *options
    ),
    lambda g, indices, rank, options: function_of(grad, "max_unpool", rank, "_input")(
        indices, g, *options
    ),
)


# ---------------------------------------------------------------- maxima


@primitive
def max_pool(x: Any, base: str, rank: int, options: Any) -> Any:
    return function_of(functional, base, rank)(x, *options)


@primitive
def max_input(g: Any, x: Any, base: str, rank: int, options: Any) -> Any:
    return function_of(grad, base, rank, "_input")(x, g, *options)


@primitive
def max_values(v: Any, x: Any, base: str, rank: int, options: Any) -> Any:
    """v where x has the maxima of the windows: the adjoint of `max_input`, 0 for a window without a tap."""
    _, indices = function_of(functional, base, rank)(x, *options, return_indices=True)
    planes = v.reshape(*v.shape[:-rank], -1)
    flat = indices.reshape(*v.shape[:-rank], -1)
    found = np.take_along_axis(planes, np.maximum(flat, 0), -1)
    return np.where(flat >= 0, found, 0).astype(v.dtype, copy=False).reshape(indices.shape)


def define_maximum(function: Any, adjoint: Any) -> None:
    """Of function(g, x, *rest), linear in g; the places of the maxima do not move: no derivative by x."""
    defvjp(
        function,
        lambda ans, g, x, *rest: lambda v: adjoint(v, x, *rest),
        lambda ans, g, x, *rest: lambda v: anp.zeros_like(x),
    )
    defjvp(
        function,
        lambda v, ans, g, x, *rest: function(v, x, *rest),
        lambda v, ans, g, x, *rest: anp.zeros_like(ans),
    )


defvjp(max_pool, lambda ans, x, *rest: lambda g: max_input(g, x, *rest))
defjvp(max_pool, lambda g, ans, x, *rest: max_values(g, x, *rest))
define_maximum(max_input, max_values)
define_maximum(max_values, max_input)
