"""Resize and Upsample: separable, a sparse row of weights for each output position of an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Node
from .registry import Run, Setting, Unsupported, operator


def source_positions(node: Node, scale: float, L: int, out: int, roi: tuple[float, float]) -> Array:
    """Where each output position lies in the input."""
    at = np.arange(out, dtype=np.float64)
    mode = node.get(
        "coordinate_transformation_mode", "asymmetric" if node.opset < 11 else "half_pixel"
    )
    if mode == "asymmetric":
        return at / scale
    if mode == "align_corners":
        whole = scale * L
        return at * ((L - 1) / (whole - 1)) if whole != 1 else np.zeros(out)
    if mode == "tf_crop_and_resize":
        start, end = roi
        if out > 1:
            return start * (L - 1) + at * ((end - start) * (L - 1) / (out - 1))
        return np.full(out, 0.5 * (start + end) * (L - 1))
    if mode == "pytorch_half_pixel" and out == 1:
        return np.zeros(out)
    if mode == "half_pixel_symmetric":
        whole = scale * L
        return L / 2 * (1 - out / whole) + (at + 0.5) / scale - 0.5
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (at + 0.5) / scale - 0.5
    raise Unsupported


def nearest(node: Node, x: Array) -> Array:
    mode = node.get("nearest_mode", "floor" if node.opset < 11 else "round_prefer_floor")
    if mode == "round_prefer_floor":
        result = np.ceil(x - 0.5)
    elif mode == "round_prefer_ceil":
        result = np.floor(x + 0.5)
    else:
        result = np.floor(x) if mode == "floor" else np.ceil(x)
    return result.astype(np.int64)


def kernel_weights(node: Node, distance: Array, linear: bool) -> Array:
    """The interpolation kernel: triangle, or Keys' cubic, 1981."""
    d = np.abs(distance)
    if linear:
        hat: Array = np.maximum(0, 1 - d)
        return hat
    a = node.get("cubic_coeff_a", -0.75)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    result: Array = np.where(d <= 1, near, np.where(d < 2, far, 0))
    return result


def taps(node: Node, positions: Array, L: int, scale: float, linear: bool) -> tuple[Array, Array]:
    """(places, weights), each (out, taps)."""
    stretch = max(1.0, 1 / scale) if node.get("antialias", 0) else 1.0
    reach = (1 if linear else 2) * stretch
    count = int(np.ceil(reach)) * 2
    first = np.floor(positions).astype(np.int64) - count // 2 + 1
    places = first[:, None] + np.arange(count)
    weights = kernel_weights(node, (places - positions[:, None]) / stretch, linear)
    if node.get("exclude_outside", 0):
        weights = np.where((places >= 0) & (places < L), weights, 0)
    if node.get("exclude_outside", 0) or stretch > 1:
        weights = weights / weights.sum(1, keepdims=True)
    return np.clip(places, 0, L - 1), weights


def along(x: Array, axis: int, places: Array, weights: Array) -> Array:
    """Weighted sums of planes along an axis."""
    result: Any = None
    shape = [1] * x.ndim
    shape[axis] = -1
    for j in range(places.shape[1]):
        w = weights[:, j]
        if not w.any():
            continue
        part = np.take(x, places[:, j], axis)
        part *= w.reshape(shape).astype(x.dtype)
        result = part if result is None else np.add(result, part, out=result)
    return np.asarray(result)


def sizes_and_scales(
    node: Node, x: Array, scales: Any, sizes: Any, axes: list[int]
) -> tuple[list[int], list[float]]:
    lengths = [x.shape[a] for a in axes]
    if sizes is None:
        return [int(np.floor(L * s)) for L, s in zip(lengths, scales, strict=True)], list(scales)
    found = [n / L for n, L in zip(sizes, lengths, strict=True)]
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        one = min(found) if policy == "not_larger" else max(found)
        return [int(np.floor(L * one + 0.5)) for L in lengths], [one] * len(axes)
    return list(sizes), found


def resized(node: Node, x: Array, roi: Any, scales: Any, sizes: Any) -> Array:
    axes = [a % x.ndim for a in node.get("axes") or range(x.ndim)]
    outs, factors = sizes_and_scales(node, x, scales, sizes, axes)
    mode = node.get("mode", "nearest")
    corners = node.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    outside = []
    kind, result = x.dtype, x
    if mode != "nearest" and kind.kind in "iu":
        result = x.astype(np.float32)
    for i, (axis, out, scale) in enumerate(zip(axes, outs, factors, strict=True)):
        L = x.shape[axis]
        if out == L and scale == 1 and not corners:
            continue
        part = (roi[i], roi[i + len(axes)]) if corners else (0.0, 1.0)
        positions = source_positions(node, scale, L, out, part)
        if corners:
            outside.append((axis, (positions < 0) | (positions > L - 1)))
        if mode == "nearest":
            result = repeated(result, axis, np.clip(nearest(node, positions), 0, L - 1))
        else:
            result = along(result, axis, *taps(node, positions, L, scale, mode == "linear"))
    for axis, where in outside:
        result = np.array(result)
        np.moveaxis(result, axis, 0)[where] = node.get("extrapolation_value", 0.0)
    if kind.kind in "iu" and result.dtype != kind:
        limits = np.iinfo(kind)
        result = np.clip(np.rint(result), limits.min, limits.max).astype(kind)
    return result


def repeated(x: Array, axis: int, places: Array) -> Array:
    """Planes of x along an axis; by a whole factor they are repeated, which is quicker than looking them up."""
    L, out = x.shape[axis], places.size
    if L and out % L == 0 and np.array_equal(places, np.arange(out) // (out // L)):
        return np.repeat(x, out // L, axis)
    result: Array = np.take(x, places, axis)
    return result


@operator("Resize", "Upsample")
def resize(node: Node, _setting: Setting) -> Run:
    fixed = node.get("scales")  # Upsample before opset 9
    if node.get("mode", "nearest") not in ("nearest", "linear", "cubic"):
        raise Unsupported

    def run(x: Array, *inputs: Array | None) -> Array:
        lists = [None if a is None or a.size == 0 else a.reshape(-1).tolist() for a in inputs]
        if node.op == "Upsample" or node.opset < 11:
            return resized(node, x, None, fixed if fixed is not None else lists[0], None)
        roi, scales, sizes = (*lists, None, None, None)[:3]
        return resized(node, x, roi, scales, sizes)

    return run
