"""What a call should give, in float64, complex128 or wrapping integers: each window as a row of source positions.

`reference.source` and `reference.windows` say which positions; here they become one table (outputs, taps) of flat
positions in a plane, with the plane's size for a padded zero. Convolution gathers by it, and its adjoints scatter.
Fast enough for a fuzzer, which `reference`'s loops are not; test_fuzz_corpus compares the two.
"""

from functools import lru_cache
from math import prod

import numpy as np
from reference import adaptive_axes, source, windows


def combine(axes, size):
    """Per-axis lists of taps (None for a zero) as one table (outputs, taps) of flat positions."""
    plane = prod(size)
    flat = np.zeros((1, 1), np.int64)
    outside = np.zeros((1, 1), bool)
    for taps, L in zip(axes, size, strict=True):
        if not taps:
            return np.zeros((0, 1), np.int64)
        at = np.array([[-1 if t is None else t for t in row] for row in taps], np.int64)
        o, k = flat.shape[0] * at.shape[0], flat.shape[1] * at.shape[1]
        flat = (flat[:, None, :, None] * L + at[None, :, None, :]).reshape(o, k)
        outside = (outside[:, None, :, None] | (at < 0)[None, :, None, :]).reshape(o, k)
    flat[outside] = plane
    return flat


@lru_cache(20000)
def conv_table(size, kernel, stride, before, dilation, out, mode="zeros"):
    return combine(
        [
            [[source(i * s - b + t * d, L, mode) for t in range(k)] for i in range(o)]
            for L, k, s, b, d, o in zip(size, kernel, stride, before, dilation, out, strict=True)
        ],
        size,
    )


@lru_cache(20000)
def pool_table(size, kernel, stride, before, after, dilation, ceil_mode):
    """The table, the outputs' sizes, and the taps inside the padded input of each window."""
    axes = windows(size, kernel, stride, before, after, dilation, ceil_mode)
    padded = np.ones(1, np.int64)
    rows = []
    for axis, L, k, s, b, d in zip(axes, size, kernel, stride, before, dilation, strict=True):
        padded = (padded[:, None] * np.array([p for _, p in axis], np.int64)).reshape(-1)
        taps = [[i * s - b + t * d for t in range(k)] for i in range(len(axis))]
        rows.append([[t if 0 <= t < L else None for t in row] for row in taps])
    return combine(rows, size), tuple(map(len, axes)), padded


@lru_cache(20000)
def adaptive_table(size, out):
    rows = []
    for axis in adaptive_axes(size, out):
        most = max((len(taps) for taps, _ in axis), default=0)
        rows.append([taps + [None] * (most - len(taps)) for taps, _ in axis])
    return combine(rows, size)


def flat(a):
    """Space as one axis."""
    return a.reshape(*a.shape[:2], prod(a.shape[2:]))


def gather(x, table):
    """(N, C, *size) as (N, C, outputs, taps), zeros outside."""
    zero = np.zeros((*x.shape[:2], 1), x.dtype)
    return np.concatenate([flat(x), zero], 2)[:, :, table]


def scatter(values, table, size):
    """The adjoint of `gather`: (N, C, outputs, taps) added up to (N, C, *size)."""
    y = np.zeros((*values.shape[:2], prod(size) + 1), values.dtype)
    np.add.at(y, (slice(None), slice(None), table), values)
    return y[:, :, :-1].reshape(*values.shape[:2], *size)


def split(a, groups, axis):
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])


def conv(x, w, groups, table, out):
    """w is (O, C / groups, *kernel)."""
    columns = split(gather(x, table), groups, 1)
    taps = split(flat(w), groups, 0)
    y = np.einsum("ngcpt,goct->ngop", columns, taps)
    return y.reshape(x.shape[0], w.shape[0], *out)


def conv_transpose(x, w, groups, table, out):
    """w is (C, O / groups, *kernel); the table is that of the convolution from `out` to x's size."""
    values = split(flat(x), groups, 1)
    taps = split(flat(w), groups, 0)
    spread = np.einsum("ngcp,gcot->ngopt", values, taps)
    shape = (x.shape[0], groups * w.shape[1], *spread.shape[3:])
    return scatter(spread.reshape(shape), table, out)


def conv_weight(x, gy, groups, table, shape):
    columns = split(gather(x, table), groups, 1)
    grads = split(flat(gy), groups, 1)
    return np.einsum("ngcpt,ngop->goct", columns, grads).reshape(shape)


def max_pool(x, table, out):
    """Values and positions: the last NaN, else the first of the largest valid; -1 without one."""
    columns, valid = gather(x, table), table < prod(x.shape[2:])
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    columns = np.where(valid, columns, np.asarray(lowest, x.dtype))
    best = columns.max(-1, initial=lowest)
    first = ((columns == best[..., None]) & valid).argmax(-1)
    nan = (columns != columns) & valid
    last = nan.shape[-1] - 1 - nan[..., ::-1].argmax(-1)
    tap = np.where(nan.any(-1), last, first)
    at = np.take_along_axis(np.broadcast_to(table, columns.shape), tap[..., None], -1)[..., 0]
    at = np.where(valid.any(-1), at, -1)
    shape = (*x.shape[:2], *out)
    return best.reshape(shape), at.reshape(shape)


def avg_pool(x, table, out, counts):
    with np.errstate(all="ignore"):
        return (gather(x, table).sum(-1) / counts).reshape(*x.shape[:2], *out)


def lp_pool(x, p, table, out, padded, taps):
    with np.errstate(all="ignore"):
        size = np.abs(gather(x, table))
        if p == np.inf:
            y = size.max(-1, initial=0)
        else:
            y = ((size**p).sum(-1) / padded * taps) ** (1 / p)
        return y.reshape(*x.shape[:2], *out)


def lp_pool_input(x, gy, p, table, y, padded, taps):
    """Of equal maxima the first gets the gradient of the infinity norm."""
    size = x.shape[2:]
    y, gy = flat(y), flat(gy)
    with np.errstate(all="ignore"):
        values = gather(x, table)
        slope = (
            np.abs(values) ** (p - 1)
            * np.sign(values)
            * (y ** (1 - p) * gy / padded * taps)[..., None]
        )
        slope = np.where((values == 0) | (y == 0)[..., None], 0, slope)
    return scatter(slope, table, size)


def scatter_at(values, at, size):
    """(N, C, outputs) added up at flat positions of the same shape; the plane's size means nowhere."""
    y = np.zeros((*values.shape[:2], prod(size) + 1), values.dtype)
    n, c = np.ogrid[: values.shape[0], : values.shape[1]]
    np.add.at(y, (n[..., None], c[..., None], at), values)
    return y[:, :, :-1].reshape(*values.shape[:2], *size)
