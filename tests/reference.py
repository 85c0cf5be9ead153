"""Naive oracles: the formulas as nested loops over outputs, in float64 or exact integers. Slow and plain on purpose."""

from itertools import product
from math import ceil, floor

import numpy as np


def source(i, L, mode):
    """Input index at padded position i, or None for a zero."""
    if 0 <= i < L:
        return i
    if mode == "zeros":
        return None
    if mode == "replicate":
        return min(max(i, 0), L - 1)
    if mode == "circular":
        return i % L
    return -i if i < 0 else 2 * (L - 1) - i


def conv(x, w, b, stride, before, after, dilation, groups, mode="zeros"):
    """x is (N, C, *space), w is (O, C / groups, *kernel); one value an axis for each parameter."""
    N, O, c = x.shape[0], w.shape[0], w.shape[1]
    space, kernel = x.shape[2:], w.shape[2:]
    out = [
        (L + p + q - d * (k - 1) - 1) // s + 1
        for L, p, q, d, k, s in zip(space, before, after, dilation, kernel, stride, strict=True)
    ]
    dtype = np.result_type(x, w)
    y = np.zeros((N, O, *out), dtype)
    for o in range(O):
        first = o // (O // groups) * c
        for at in product(*map(range, out)):
            for tap in product(*map(range, kernel)):
                place = [
                    source(i * s - p + t * d, L, mode)
                    for i, s, p, t, d, L in zip(
                        at, stride, before, tap, dilation, space, strict=True
                    )
                ]
                if None in place:
                    continue
                values = x[(slice(None), slice(first, first + c), *place)]
                y[(slice(None), o, *at)] += (values * w[(o, slice(None), *tap)]).sum(1, dtype=dtype)
        if b is not None:
            y[:, o] += b[o]
    return y


def conv_transpose(x, w, b, stride, before, after, extra, dilation, groups):
    """Every input adds its kernel, scaled, to the output."""
    N, C, o = x.shape[0], x.shape[1], w.shape[1]
    space, kernel = x.shape[2:], w.shape[2:]
    out = [
        (L - 1) * s - p - q + d * (k - 1) + e + 1
        for L, s, p, q, d, k, e in zip(
            space, stride, before, after, dilation, kernel, extra, strict=True
        )
    ]
    y = np.zeros((N, o * groups, *out), np.result_type(x, w))
    for c in range(C):
        first = c // (C // groups) * o
        for at in product(*map(range, space)):
            for tap in product(*map(range, kernel)):
                place = [
                    i * s - p + t * d
                    for i, s, p, t, d in zip(at, stride, before, tap, dilation, strict=True)
                ]
                if all(0 <= i < L for i, L in zip(place, out, strict=True)):
                    value = x[(slice(None), c, *at)][:, None] * w[(c, slice(None), *tap)]
                    y[(slice(None), slice(first, first + o), *place)] += value
    return y if b is None else y + b.reshape(-1, *(1,) * len(space))


def windows(space, kernel, stride, before, after, dilation, ceil_mode):
    """Per axis and output: (valid taps' positions, taps inside the padded input)."""
    axes = []
    for L, k, s, p, q, d in zip(space, kernel, stride, before, after, dilation, strict=True):
        exact = (L + p + q - d * (k - 1) - 1) / s
        n = (ceil if ceil_mode else floor)(exact) + 1
        if ceil_mode and (n - 1) * s >= L + p:
            n -= 1
        axis = []
        for i in range(n):
            taps = [i * s - p + t * d for t in range(k)]
            axis.append(([t for t in taps if 0 <= t < L], sum(t < L + q for t in taps)))
        axes.append(axis)
    return axes


def pool(x, axes, reduce):
    """reduce(values (N, C, *window), positions, padded count) for each output of the axes of `windows`."""
    out = [len(axis) for axis in axes]
    results = np.empty((*x.shape[:2], *out), object)
    for at in product(*map(range, out)):
        parts = [axis[i] for axis, i in zip(axes, at, strict=True)]
        grid = np.ix_(range(x.shape[0]), range(x.shape[1]), *(np.array(p[0], int) for p in parts))
        positions = list(product(*(p[0] for p in parts)))
        padded = int(np.prod([p[1] for p in parts]))
        values = x[grid].reshape(*x.shape[:2], -1)
        for n, c in np.ndindex(*x.shape[:2]):
            results[(n, c, *at)] = reduce(values[n, c], positions, padded)
    return results


def max_pool(x, *geometry):
    """Values and flat indices: NaN wins and its last place, else the first of the largest; -1 without a tap."""
    space = x.shape[2:]
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min

    def reduce(values, positions, padded):
        best, where = lowest, -1
        for value, place in zip(values, positions, strict=True):
            if where < 0 or value > best or value != value:
                best, where = value, int(np.ravel_multi_index(place, space))
        return best, where

    pairs = pool(x, windows(space, *geometry), reduce)
    y, index = np.empty(pairs.shape, x.dtype), np.empty(pairs.shape, np.int64)
    for at in np.ndindex(*pairs.shape):
        y[at], index[at] = pairs[at]
    return y, index


def avg_pool(x, include_pad, divisor, *geometry):
    def reduce(values, positions, padded):
        count = divisor or (padded if include_pad else len(values))
        return np.sum(values, dtype=np.float64) / count if count else np.nan

    return pool(x, windows(x.shape[2:], *geometry), reduce).astype(np.float64)


def adaptive_axes(space, size):
    """Windows of adaptive pooling in the form of `windows`."""
    axes = []
    for L, o in zip(space, size, strict=True):
        axis = [list(range(i * L // o, -(-(i + 1) * L // o))) for i in range(o)]
        axes.append([(taps, len(taps)) for taps in axis])
    return axes
