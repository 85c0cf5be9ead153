"""Convolutions: weights that are constants are packed once a geometry."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from ... import functional
from ..graph import Array, Node
from .attributes import Attributes, function_of, spatial
from .registry import Run, Setting, has, operator
from .special import activate

KNOWN = {f.name for f in fields(Attributes)}


def attributes_of(node: Node) -> Attributes:
    return Attributes(**{k: v for k, v in node.attributes.items() if k in KNOWN})


def broadcasts_to(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether an array of shape a, broadcast with one of shape b, has shape b."""
    if a == b:
        return True
    return len(a) <= len(b) and all(
        n in (1, m) for n, m in zip(reversed(a), reversed(b), strict=False)
    )


def finished(y: Array, others: tuple[Any, ...], node: Node) -> Array:
    """What was fused behind a convolution: an addition, then an activation."""
    if node.get("adds"):
        other = others[0]
        y = np.add(y, other, out=y if broadcasts_to(other.shape, y.shape) else None)
    given = node.get("activation")
    return y if given is None else activate(y, tuple(given), y)


def bias_shape(rank: int) -> tuple[int, ...]:
    return (-1, *(1,) * rank)


def transposed(x: Array, w: Array, b: Array | None, a: Attributes) -> Array:
    """conv_transpose; an output padding beyond stride and dilation, which PyTorch refuses, is added behind."""
    rank = spatial("ConvTranspose", x)
    padding, extra = a.transposed_padding(x.shape[2:], w.shape[2:])
    stride, dilation = a.stride(rank), a.dilation(rank)
    most = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
    inside = [min(e, m) for e, m in zip(extra, most, strict=True)]
    y: Array = function_of("conv_transpose", rank)(
        x, w, b, stride, padding, inside, a.group or 1, dilation
    )
    beyond = [e - i for e, i in zip(extra, inside, strict=True)]
    if any(beyond):
        y = np.pad(y, [(0, 0), (0, 0), *((0, e) for e in beyond)])
        if b is not None:
            for axis, e in enumerate(beyond):
                if e:
                    behind = [slice(None)] * y.ndim
                    behind[2 + axis] = slice(-e, None)
                    y[tuple(behind)] = b.reshape(bias_shape(rank))
    return y


def convolve(x: Array, w: Array, b: Array | None, a: Attributes) -> Array:
    rank = spatial("Conv", x)
    padding = a.padding(x.shape[2:], w.shape[2:])
    result: Array = function_of("conv", rank)(
        x, w, b, a.stride(rank), padding, a.dilation(rank), a.group or 1
    )
    return result


class Packed:
    """A convolution of constant weights: packed for each padding that it needs, which auto_pad makes of the shape."""

    def __init__(self, w: Array, b: Array | None, a: Attributes, transpose: bool):
        self.w, self.b, self.a, self.transpose = w, b, a, transpose
        self.fixed = a.auto_pad in (None, "", "NOTSET", "VALID") and not a.output_shape
        self.made: dict[Any, Any] = {}
        self.only: Any = None

    def pack(self, x: Array) -> Any:
        """The packed weights for an input of this shape; None where only the function can do it."""
        a, w, rank = self.a, self.w, self.w.ndim - 2
        if x.ndim != w.ndim:
            raise ValueError(f"an input of {w.ndim} axes was expected, got shape {x.shape}")
        stride, dilation, extra = a.stride(rank), a.dilation(rank), [0] * rank
        if self.transpose:
            padding, extra = a.transposed_padding(x.shape[2:], w.shape[2:])
            if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
                return None
        else:
            padding = a.padding(x.shape[2:], w.shape[2:])
        key = padding, tuple(extra)
        found = self.made.get(key)
        if found is None:
            options: dict[str, Any] = (
                {"transposed": True, "output_padding": tuple(extra)} if self.transpose else {}
            )
            found = functional.prepack(
                w, self.b, stride, padding, dilation, a.group or 1, **options
            )
            self.made[key] = found
            if self.fixed:
                self.only = found
        return found

    def __call__(self, x: Array) -> Array:
        found = self.only or self.pack(x)
        if found is None:
            return transposed(x, self.w, self.b, self.a)
        result: Array = found(x)
        return result


@operator("Conv", "ConvTranspose")
def convolution(node: Node, setting: Setting) -> Run:
    a, transpose = attributes_of(node), node.op == "ConvTranspose"
    w, b = setting.constant(node, 1), setting.constant(node, 2)
    plain = not node.get("adds") and node.get("activation") is None
    if w is not None and (b is not None or not has(node, 2)):
        packed = Packed(w, b, a, transpose)
        if plain:
            return lambda x, *_: packed(x)
        return lambda x, _w, _b=None, *others: finished(packed(x), others, node)
    function = transposed if transpose else convolve
    return lambda x, w, b=None, *others: finished(function(x, w, b, a), others, node)
