"""Sums, maxima and norms over axes, softmax, and normalisations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Array, Node
from .registry import Run, Setting, Unsupported, operator
from .shapes import given_axes


def log_sum_exp(x: Array, axes: Any, keep: bool) -> Array:
    most = np.max(x, axes, keepdims=True, initial=-np.inf)
    most = np.where(np.isfinite(most), most, 0)
    result: Array = np.log(np.sum(np.exp(x - most), axes, keepdims=True)) + most
    return result if keep else np.squeeze(result, axes)


def mean(x: Array, axes: Any, keep: bool) -> Array:
    if x.dtype.kind in "iu":
        total = np.sum(x, axes, keepdims=keep)
        return np.asarray(total // max(1, x.size // max(1, np.size(total)))).astype(x.dtype)
    result: Any = np.sum(x, axes, keepdims=keep)
    return np.asarray(result / x.dtype.type(x.size // max(1, np.size(result))))


def extreme(function: Any, least: bool) -> Callable[[Array, Any, bool], Any]:
    """Maxima or minima; of nothing the least or the largest number there is."""

    def run(x: Array, axes: Any, keep: bool) -> Any:
        if x.size:
            return function(x, axes, keepdims=keep)
        if x.dtype.kind == "b":
            return function(x, axes, keepdims=keep, initial=not least)
        limits = (
            (-np.inf, np.inf)
            if x.dtype.kind == "f"
            else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
        )
        return function(x, axes, keepdims=keep, initial=x.dtype.type(limits[not least]))

    return run


REDUCTIONS: dict[str, Callable[[Array, Any, bool], Any]] = {
    "ReduceSum": lambda x, axes, keep: np.sum(x, axes, keepdims=keep, dtype=x.dtype),
    "ReduceMean": mean,
    "ReduceMax": extreme(np.max, True),
    "ReduceMin": extreme(np.min, False),
    "ReduceProd": lambda x, axes, keep: np.prod(x, axes, keepdims=keep, dtype=x.dtype),
    "ReduceL1": lambda x, axes, keep: np.sum(np.abs(x), axes, keepdims=keep, dtype=x.dtype),
    "ReduceL2": lambda x, axes, keep: np.sqrt(np.sum(x * x, axes, keepdims=keep)).astype(x.dtype),
    "ReduceSumSquare": lambda x, axes, keep: np.sum(x * x, axes, keepdims=keep, dtype=x.dtype),
    "ReduceLogSum": lambda x, axes, keep: np.log(np.sum(x, axes, keepdims=keep, dtype=x.dtype)),
    "ReduceLogSumExp": log_sum_exp,
}


@operator(*REDUCTIONS)
def reduce(node: Node, _setting: Setting) -> Run:
    function, keep = REDUCTIONS[node.op], bool(node.get("keepdims", 1))
    noop = bool(node.get("noop_with_empty_axes", 0))

    def run(x: Array, axes: Array | None = None) -> Array:
        along = given_axes(node, axes)
        if not along:
            if noop:
                return x.copy()
            along = tuple(range(x.ndim))
        return np.asarray(function(x, along, keep))

    return run


@operator("ArgMax", "ArgMin")
def arg_extreme(node: Node, _setting: Setting) -> Run:
    axis, keep, last = (
        node.get("axis", 0),
        bool(node.get("keepdims", 1)),
        bool(node.get("select_last_index", 0)),
    )
    function = np.argmax if node.op == "ArgMax" else np.argmin

    def run(x: Array) -> Array:
        if last:
            found = x.shape[axis] - 1 - function(np.flip(x, axis), axis, keepdims=keep)
        else:
            found = function(x, axis, keepdims=keep)
        return np.asarray(found, np.int64)

    return run


def softmax_along(x: Array, axes: Any, log: bool) -> Array:
    result: Array = x - np.max(x, axes, keepdims=True)
    if log:
        result -= np.log(np.sum(np.exp(result), axes, keepdims=True))
        return result
    np.exp(result, out=result)
    result /= np.sum(result, axes, keepdims=True)
    return result


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: Node, _setting: Setting) -> Run:
    """Before opset 13 over all axes from `axis` on."""
    old, op = node.opset < 13, node.op
    axis = node.get("axis", 1 if old else -1)

    def run(x: Array) -> Array:
        shape, along = x.shape, axis
        if old:
            at = axis + x.ndim if axis < 0 else axis
            x, along = x.reshape(int(np.prod(shape[:at])), -1), 1
        if op == "Hardmax":
            result = np.zeros_like(x)
            np.put_along_axis(result, np.argmax(x, along, keepdims=True), 1, along)
        else:
            result = softmax_along(x, along, op == "LogSoftmax")
        return result.reshape(shape)

    return run


def channels(a: Array, rank: int) -> Array:
    """One value a channel, for (N, C, ...)."""
    return a.reshape(1, -1, *(1,) * (rank - 2))


@operator("BatchNormalization")
def batch_normalization(node: Node, _setting: Setting) -> Run:
    """As in inference; training_mode (opset 14) also gives the running mean and variance."""
    epsilon, momentum, training = (
        node.get("epsilon", 1e-5),
        node.get("momentum", 0.9),
        node.get("training_mode", 0),
    )
    if node.get("spatial", 1) == 0 or (node.opset < 14 and any(node.outputs[1:])):
        raise Unsupported

    def run(x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Any:
        if training:
            axes = (0, *range(2, x.ndim))
            now, spread = x.mean(axes), x.var(axes)
            kept = [
                (m * momentum + n * (1 - momentum)).astype(m.dtype)
                for m, n in ((mean, now), (var, spread))
            ]
            mean, var = now, spread
        factor = scale / np.sqrt(var + var.dtype.type(epsilon))
        y = x * channels(factor, x.ndim).astype(x.dtype)
        y += channels(bias - mean * factor, x.ndim).astype(x.dtype)
        return (y, *kept)[: len(node.outputs)] if training and len(node.outputs) > 1 else y

    return run


def standardized(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    result: Array = x - x.mean(axes, keepdims=True, dtype=x.dtype)
    spread = np.mean(result * result, axes, keepdims=True, dtype=x.dtype)
    result /= np.sqrt(spread + x.dtype.type(epsilon))
    return result


@operator("InstanceNormalization")
def instance_normalization(node: Node, _setting: Setting) -> Run:
    epsilon = node.get("epsilon", 1e-5)

    def run(x: Array, scale: Array, bias: Array) -> Array:
        y = standardized(x, tuple(range(2, x.ndim)), epsilon)
        y *= channels(scale, x.ndim)
        y += channels(bias, x.ndim)
        return y

    return run


@operator("LayerNormalization")
def layer_normalization(node: Node, _setting: Setting) -> Run:
    axis, epsilon = node.get("axis", -1), node.get("epsilon", 1e-5)

    def run(x: Array, scale: Array, bias: Array | None = None) -> Any:
        axes = tuple(range(axis % x.ndim, x.ndim))
        wide = x.astype(np.float32) if x.dtype == np.float16 else x
        centre = wide.mean(axes, keepdims=True)
        moved = wide - centre
        inverse = 1 / np.sqrt(
            np.mean(moved * moved, axes, keepdims=True) + wide.dtype.type(epsilon)
        )
        moved *= inverse
        y = moved.astype(x.dtype, copy=False) * scale
        if bias is not None:
            y += bias
        return (y, centre, inverse)[: len(node.outputs)] if len(node.outputs) > 1 else y

    return run


@operator("GroupNormalization")
def group_normalization(node: Node, _setting: Setting) -> Run:
    """Scale and bias have a value a group before opset 21, a value a channel from then on."""
    groups, epsilon = node.get("num_groups"), node.get("epsilon", 1e-5)

    def run(x: Array, scale: Array, bias: Array) -> Array:
        parts = x.reshape(x.shape[0], groups, -1)
        y = standardized(parts, (2,), epsilon)
        if scale.size == groups != x.shape[1]:
            scale, bias = (np.repeat(a, x.shape[1] // groups) for a in (scale, bias))
        y = y.reshape(x.shape)
        y *= channels(scale, x.ndim)
        y += channels(bias, x.ndim)
        return y

    return run


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, _setting: Setting) -> Run:
    axes = tuple(node.get("axes", (0, 2, 3)))

    def run(x: Array) -> Array:
        moved = x - x.mean(axes, keepdims=True)
        result: Array = moved / (
            np.sqrt(np.mean(moved * moved, axes, keepdims=True)) + x.dtype.type(1e-9)
        )
        return result

    return run


@operator("LpNormalization")
def lp_normalization(node: Node, _setting: Setting) -> Run:
    axis, p = node.get("axis", -1), node.get("p", 2)

    def run(x: Array) -> Array:
        size = (
            np.sum(np.abs(x), axis, keepdims=True)
            if p == 1
            else np.sqrt(np.sum(x * x, axis, keepdims=True))
        )
        result: Array = np.divide(x, size, out=np.zeros_like(x), where=size != 0)
        return result

    return run


@operator("LRN")
def local_response_normalization(node: Node, _setting: Setting) -> Run:
    """x / (bias + alpha / size * sum of squares over neighbouring channels) ^ beta"""
    alpha, beta, bias = node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    size = node.get("size")

    def run(x: Array) -> Array:
        before = (size - 1) // 2
        padded = np.zeros((x.shape[0], x.shape[1] + size - 1, *x.shape[2:]), x.dtype)
        np.multiply(x, x, out=padded[:, before : before + x.shape[1]])
        total = padded[:, : x.shape[1]].copy()
        for i in range(1, size):
            total += padded[:, i : i + x.shape[1]]
        total *= x.dtype.type(alpha / size)
        total += x.dtype.type(bias)
        result: Array = x / total ** x.dtype.type(beta)
        return result

    return run
