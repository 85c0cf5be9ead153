"""Operators that move elements and compute shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..graph import Array, Node
from .elementwise import DTYPES
from .registry import Run, Setting, Unsupported, has, operator, simple


def axes_of(node: Node, setting: Setting, at: int) -> tuple[int, ...] | None:
    """Axes as an attribute (before opset 13 or 18) or as a constant input; None where there are none."""
    axes = node.get("axes")
    if axes is None and has(node, at):
        found = setting.constant(node, at)
        if found is None:
            raise Unsupported
        axes = found.reshape(-1).tolist()
    return None if axes is None else tuple(int(a) for a in axes)


def given_axes(node: Node, value: Array | None) -> tuple[int, ...] | None:
    """The same where the input may be computed."""
    axes = node.get("axes")
    if axes is None and value is not None:
        axes = value.reshape(-1).tolist()
    return None if axes is None else tuple(int(a) for a in axes)


@operator("Shape")
def shape(node: Node, _setting: Setting) -> Run:
    start, end = node.get("start", 0), node.get("end")
    return lambda x: np.array(x.shape[slice(start, end)], np.int64)


simple("Size", lambda x: np.array(x.size, np.int64))


@operator("Reshape", memory="view")
def reshape(node: Node, _setting: Setting) -> Run:
    zero = bool(node.get("allowzero", 0))
    fixed = node.get("shape")  # before opset 5

    def run(x: Array, wanted: Array | None = None) -> Array:
        sizes = list(fixed) if wanted is None else wanted.tolist()
        if not zero and 0 in sizes:
            sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
        return x.reshape(sizes)

    return run


@operator("Flatten", memory="view")
def flatten(node: Node, _setting: Setting) -> Run:
    axis = node.get("axis", 1)

    def run(x: Array) -> Array:
        at = axis + x.ndim if axis < 0 else axis
        return x.reshape(prod(x.shape[:at]), prod(x.shape[at:]))

    return run


def by_rank(make: Callable[[int], Any]) -> Run:
    """x[index], the index made once for each rank."""
    made: dict[int, Any] = {}

    def run(x: Array, *_: Any) -> Array:
        index = made.get(x.ndim)
        if index is None:
            index = made[x.ndim] = make(x.ndim)
        return np.asarray(x[index])

    return run


@operator("Squeeze", memory="view")
def squeeze(node: Node, setting: Setting) -> Run:
    fixed = given_axes(node, setting.constant(node, 1))

    def run(x: Array, axes: Array | None = None) -> Array:
        result: Array = np.squeeze(x, given_axes(node, axes))
        return result

    return run if fixed is None else lambda x, *_: np.squeeze(x, fixed)


@operator("Unsqueeze", memory="view")
def unsqueeze(node: Node, setting: Setting) -> Run:
    fixed = given_axes(node, setting.constant(node, 1))

    def run(x: Array, axes: Array | None = None) -> Array:
        result: Array = np.expand_dims(x, given_axes(node, axes) or ())
        return result

    if fixed is None:
        return run

    def index(rank: int) -> Any:
        total = rank + len(fixed)
        new = {a % total for a in fixed}
        if len(new) != len(fixed) or not all(-total <= a < total for a in fixed):
            raise ValueError(f"axes {fixed} do not fit an input of {rank} axes")
        return tuple(None if i in new else slice(None) for i in range(total))

    return by_rank(index)


@operator("Transpose", memory="view")
def transpose(node: Node, _setting: Setting) -> Run:
    perm = node.get("perm")
    return lambda x: x.transpose(perm)


@operator("Concat")
def concat(node: Node, _setting: Setting) -> Run:
    axis = node.get("axis")
    return lambda *arrays: np.concatenate(arrays, axis)


@operator("Split", memory="view")
def split(node: Node, _setting: Setting) -> Run:
    axis, fixed, count = (
        node.get("axis", 0),
        node.get("split"),
        node.get("num_outputs") or len(node.outputs),
    )

    def run(x: Array, sizes: Array | None = None) -> Any:
        parts = list(fixed) if fixed is not None else None if sizes is None else sizes.tolist()
        if parts is None:
            each = -(-x.shape[axis] // count)
            parts = [min(each, max(0, x.shape[axis] - i * each)) for i in range(count)]
        if sum(parts) != x.shape[axis]:
            raise ValueError(f"parts of {parts} do not make up {x.shape[axis]}")
        ends = [0, *np.cumsum(parts).tolist()]
        before = (slice(None),) * (axis % x.ndim)
        found = tuple(x[(*before, slice(a, b))] for a, b in pairwise(ends))
        return found if len(node.outputs) > 1 else found[0]

    return run


def slices(x: Array, starts: Any, ends: Any, axes: Any, steps: Any) -> tuple[slice, ...]:
    index = [slice(None)] * x.ndim
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = i if axes is None else axes[i]
        step = 1 if steps is None else steps[i]
        low = -x.shape[axis] - 1
        # going down, an end before the first element is none; NumPy would count it from behind
        index[axis] = slice(start, None if step < 0 and end <= low else end, step)
    return tuple(index)


def known_slices(node: Node, setting: Setting) -> Callable[[int], Any] | None:
    """The index for each rank, where all is constant and steps go up; else None."""
    arrays = [setting.constant(node, i) for i in range(1, 5)]
    if any(a is None and has(node, i + 1) for i, a in enumerate(arrays)):
        return None
    starts, ends, axes, steps = (None if a is None else a.reshape(-1).tolist() for a in arrays)
    if starts is None or ends is None or (steps is not None and min(steps, default=1) < 1):
        return None

    def index(rank: int) -> Any:
        found = [slice(None)] * rank
        for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
            found[i if axes is None else axes[i]] = slice(
                start, end, 1 if steps is None else steps[i]
            )
        return tuple(found)

    return index


@operator("Slice", memory="view")
def slice_(node: Node, setting: Setting) -> Run:
    if "starts" in node.attributes:  # before opset 10
        old = node.get("starts"), node.get("ends"), node.get("axes"), None
        return lambda x: x[slices(x, *old)]

    fixed = known_slices(node, setting)
    if fixed is not None:
        return by_rank(fixed)

    def run(
        x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
    ) -> Array:
        lists = (None if a is None else a.reshape(-1).tolist() for a in (starts, ends, axes, steps))
        return x[slices(x, *lists)]

    return run


@operator("Gather")
def gather(node: Node, _setting: Setting) -> Run:
    axis = node.get("axis", 0)
    return lambda x, indices: np.asarray(np.take(x, indices, axis))


@operator("GatherElements")
def gather_elements(node: Node, _setting: Setting) -> Run:
    axis = node.get("axis", 0)

    def run(x: Array, indices: Array) -> Array:
        # the other axes may be shorter than those of x
        index: list[Any] = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
        index[axis] = indices
        return np.asarray(x[tuple(index)])

    return run


@operator("GatherND")
def gather_nd(node: Node, _setting: Setting) -> Run:
    batch = node.get("batch_dims", 0)

    def run(x: Array, indices: Array) -> Array:
        lead = x.shape[:batch]
        flat, where = x.reshape(-1, *x.shape[batch:]), indices.reshape(-1, *indices.shape[batch:])
        found = np.stack(
            [a[tuple(np.moveaxis(i, -1, 0))] for a, i in zip(flat, where, strict=True)]
        )
        return found.reshape(*lead, *found.shape[1:])

    return run


REDUCE = {"add": np.add.at, "mul": np.multiply.at, "max": np.maximum.at, "min": np.minimum.at}


def placed(result: Array, index: Any, updates: Array, reduction: str) -> Array:
    if reduction == "none":
        result[index] = updates
    else:
        REDUCE[reduction](result, index, updates)
    return result


@operator("ScatterElements", "Scatter")
def scatter_elements(node: Node, _setting: Setting) -> Run:
    axis, reduction = node.get("axis", 0), node.get("reduction", "none")

    def run(x: Array, indices: Array, updates: Array) -> Array:
        index: list[Any] = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
        index[axis] = indices
        return placed(x.copy(), tuple(index), updates, reduction)

    return run


@operator("ScatterND")
def scatter_nd(node: Node, _setting: Setting) -> Run:
    reduction = node.get("reduction", "none")
    return lambda x, indices, updates: placed(
        x.copy(), tuple(np.moveaxis(indices, -1, 0)), updates, reduction
    )


@operator("Expand", memory="view")
def expand(_node: Node, _setting: Setting) -> Run:
    def run(x: Array, wanted: Array) -> Array:
        return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(wanted.tolist())))

    return run


simple("Tile", lambda x, repeats: np.tile(x, repeats.tolist()))


def framed(x: Array, widths: list[tuple[int, int]], value: Any) -> Array:
    """x within a constant border; much quicker than NumPy's pad for small arrays"""
    shape = [a + n + b for (a, b), n in zip(widths, x.shape, strict=True)]
    result = np.zeros(shape, x.dtype) if value == 0 else np.full(shape, value, x.dtype)
    result[tuple(slice(a, a + n) for (a, _), n in zip(widths, x.shape, strict=True))] = x
    return result


@functools.lru_cache(256)
def border(size: int, before: int, after: int, mode: str) -> Array:
    """Where each position of a padded axis comes from."""
    at = np.arange(-before, size + after)
    if mode == "edge":
        return np.clip(at, 0, size - 1)
    if mode == "wrap":
        return at % size
    if size == 1:
        return np.zeros_like(at)
    at %= 2 * size - 2
    return np.minimum(at, 2 * size - 2 - at)


@operator("Pad")
def pad(node: Node, _setting: Setting) -> Run:
    mode = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}[
        node.get("mode", "constant")
    ]
    fixed, fill = node.get("pads"), node.get("value", 0.0)  # before opset 11

    def run(
        x: Array, pads: Array | None = None, value: Array | None = None, axes: Array | None = None
    ) -> Array:
        amounts = list(fixed) if pads is None else pads.tolist()
        where = range(x.ndim) if axes is None else axes.tolist()
        around = [(0, 0)] * x.ndim
        for i, axis in enumerate(where):
            around[axis] = amounts[i], amounts[i + len(amounts) // 2]
        # negative amounts crop
        x = x[
            tuple(
                slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(around, x.shape, strict=True)
            )
        ]
        widths = [(max(0, a), max(0, b)) for a, b in around]
        if mode == "constant":
            return framed(x, widths, fill if value is None else value.reshape(-1)[0])
        for axis, (before, after) in enumerate(widths):
            if before or after:
                x = np.take(x, border(x.shape[axis], before, after, mode), axis)
        return x

    return run


@operator("ConstantOfShape")
def constant_of_shape(node: Node, _setting: Setting) -> Run:
    value = np.asarray(node.get("value", np.zeros(1, np.float32))).reshape(-1)
    return lambda sizes: np.full(sizes.tolist(), value[0], value.dtype)


@operator("Range")
def range_(_node: Node, _setting: Setting) -> Run:
    def run(start: Array, limit: Array, delta: Array) -> Array:
        first, last, step = (a.reshape(())[()] for a in (start, limit, delta))
        count = max(0, int(np.ceil((last - first) / step)))
        return np.asarray(first + np.arange(count).astype(start.dtype) * step).astype(start.dtype)

    return run


@operator("DepthToSpace")
def depth_to_space(node: Node, _setting: Setting) -> Run:
    b, rows_first = node.get("blocksize"), node.get("mode", "DCR") == "DCR"

    def run(x: Array) -> Array:
        n, c, h, w = x.shape
        if rows_first:
            moved = x.reshape(n, b, b, c // b // b, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            moved = x.reshape(n, c // b // b, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return moved.reshape(n, c // b // b, h * b, w * b)

    return run


@operator("SpaceToDepth")
def space_to_depth(node: Node, _setting: Setting) -> Run:
    b, rows_first = node.get("blocksize"), node.get("mode", "DCR") == "DCR"

    def run(x: Array) -> Array:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // b, b, w // b, b)
        order = (0, 3, 5, 1, 2, 4) if rows_first else (0, 1, 3, 5, 2, 4)
        return parts.transpose(order).reshape(n, c * b * b, h // b, w // b)

    return run


simple("NonZero", lambda x: np.array(np.nonzero(np.atleast_1d(x)), np.int64))


@operator("OneHot")
def one_hot(node: Node, _setting: Setting) -> Run:
    axis = node.get("axis", -1)

    def run(indices: Array, depth: Array, values: Array) -> Array:
        n = int(depth.reshape(-1)[0])
        hits = (indices.astype(np.int64) % n)[..., None] == np.arange(n)
        inside = ((indices >= -n) & (indices < n))[..., None]
        return np.moveaxis(np.where(hits & inside, values[1], values[0]), -1, axis)

    return run


@operator("TopK")
def top_k(node: Node, _setting: Setting) -> Run:
    axis, largest, fixed = node.get("axis", -1), bool(node.get("largest", 1)), node.get("k")

    def run(x: Array, k: Array | None = None) -> tuple[Array, Array]:
        count = int(fixed) if k is None else int(k.reshape(-1)[0])
        # of equals the first; a stable order of the reversed array, for the largest first
        flipped = np.flip(x, axis)
        order = np.argsort(flipped if largest else x, axis, kind="stable")
        if largest:
            order = x.shape[axis] - 1 - np.flip(order, axis)
        indices = np.take(order, range(count), axis).astype(np.int64)
        return np.take_along_axis(x, indices, axis), indices

    return run


@operator("CumSum")
def cumulative_sum(node: Node, _setting: Setting) -> Run:
    exclusive, backwards = node.get("exclusive", 0), node.get("reverse", 0)

    def run(x: Array, axis: Array) -> Array:
        at = int(axis.reshape(())[()])
        x = np.flip(x, at) if backwards else x
        result: Array = np.cumsum(x, at, dtype=x.dtype)
        if exclusive:
            result = result - x
        return np.flip(result, at) if backwards else result

    return run


@operator("Trilu")
def triangle(node: Node, _setting: Setting) -> Run:
    part = np.triu if node.get("upper", 1) else np.tril
    return lambda x, k=None: part(x, 0 if k is None else int(k.reshape(())[()]))


@operator("EyeLike")
def eye_like(node: Node, _setting: Setting) -> Run:
    k, to = node.get("k", 0), DTYPES.get(node.get("dtype", 0))
    return lambda x: np.eye(x.shape[0], x.shape[1], k, dtype=np.dtype(to or x.dtype))


@operator("ReverseSequence")
def reverse_sequence(node: Node, _setting: Setting) -> Run:
    batch, time = node.get("batch_axis", 1), node.get("time_axis", 0)

    def run(x: Array, lengths: Array) -> Array:
        moved = np.moveaxis(x, (batch, time), (0, 1))
        result = moved.copy()
        for i, n in enumerate(lengths.tolist()):
            result[i, :n] = moved[i, :n][::-1]
        return np.moveaxis(result, (0, 1), (batch, time))

    return run
