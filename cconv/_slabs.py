"""Calls whose arrays have to be converted first, in slabs: the converted copies then stay within some MiB.

Samples are taken some at a time (pools: channels too), and where one alone is larger, its outputs along the first axis
that has several. Each slab is a call of its own with the padding that is left to it, so nothing below knows of slabs.
Whether and where a sample is cut depends on its own shape alone: a sample has the same bits in any batch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

SLAB = 16 * 2**20  # bytes of converted input and result
# values of a row, or of a row of results, from which a pool is cut even if nothing is converted
ROW = 2**19


class Cut(NamedTuple):
    """Some outputs of an axis: of these inputs, with this padding."""

    outputs: slice
    inputs: slice
    padding: tuple[int, int]


def leads(lead, cost, channels):
    """Indices of the leading axes (batch, if there is one, and channels), each of at most SLAB bytes if possible."""
    batch = lead[0] if len(lead) == 2 else 1
    sample = max(1, cost // max(1, batch))
    if len(lead) == 2 and (sample <= SLAB or not channels):
        step = max(1, SLAB // sample)
        return [(slice(n, n + step),) for n in range(0, batch, step)]
    if not channels or sample <= SLAB:
        return [()]
    step = max(1, SLAB // max(1, sample // lead[-1]))
    parts = [slice(c, c + step) for c in range(0, lead[-1], step)]
    if len(lead) == 1:
        return [(part,) for part in parts]
    return [(slice(n, n + 1), part) for n in range(batch) for part in parts]


def cuts(L, out, kernel, stride, dilation, before, after, step):
    """The outputs of an axis, `step` at a time; the last cut takes all windows that hang over the padding."""
    reach = (kernel - 1) * dilation + 1
    step = max(step, reach // stride + 1)  # or rows that neighbours share would be most of the work
    found = []
    first = 0
    while first < out:
        end = min(first + step, out)
        need = (end - 1) * stride - before + reach
        last = end == out or need > L + after
        end = out if last else end
        start = first * stride - before
        inputs = slice(max(0, start), L if last else min(L, need))
        padding = max(0, -start), after if last else max(0, need - L)
        if inputs.start >= inputs.stop:  # all padding
            return None
        found.append(Cut(slice(first, end), inputs, padding))
        first = end
    return found


def long_axis(size, out):
    """The first axis with several outputs."""
    return next((a for a, n in enumerate(out) if n > 1), len(out) - 1)


def target(out, shape, dtype, arrays):
    """Where the slabs go: `out`, unless it may overlap what later slabs read."""
    if out is None or any(np.may_share_memory(out, a) for a in arrays):
        return np.empty(shape, dtype)
    return out


def done(y, out):
    if out is None or y is out:
        return y
    np.copyto(out, y)
    return out


def conv(call, x, weight, bias, params, out, dtype, inner, problem, out_shape, pads):
    """A convolution in slabs, or None where it is one; `params` as ConvCall has them, `pads` (before, after)."""
    rank, batch = call.rank, x.shape[0] if x.ndim == call.rank + 2 else 1
    size = inner.itemsize * (2 if dtype.kind == "c" else 1)
    cost = size * (x.size + math.prod(out_shape))
    if cost <= SLAB:
        return None
    pieces = [(lead, None, None) for lead in leads(x.shape[:-rank], cost, False)]
    if cost // max(1, batch) > SLAB and not call.transposed and problem.mode == 0:
        lengths, outs = x.shape[-rank:], out_shape[-rank:]
        a = long_axis(lengths, outs)
        found = cuts(
            lengths[a], outs[a], weight.shape[2 + a], problem.stride[3 - rank + a],
            problem.dilation[3 - rank + a], pads[0][a], pads[1][a], max(1, SLAB * outs[a] // (cost // batch)),
        )  # fmt: skip
        pieces = [(lead, a, cut) for lead, _, _ in pieces for cut in found or ()] or pieces
    if len(pieces) < 2:
        return None
    arrays = [v for v in (x, weight, bias) if v is not None]
    y = target(out, out_shape, dtype, arrays)
    for lead, a, cut in pieces:
        index, to, padding = lead, lead, list(zip(*pads, strict=True))
        if cut is not None:
            gap = (slice(None),) * (x.ndim - rank - len(lead) + a)
            index, to = (*lead, *gap, cut.inputs), (*lead, *gap, cut.outputs)
            padding[a] = cut.padding
        given = list(params)
        given[1] = tuple(padding)
        call((x[index], weight, bias, *given[:5], y[to], given[5]), None)
    return done(y, out)


def pool(call, x, rank, geometry, dtypes, shape, out, indexed=False, copies=False):
    """
    A pool in slabs, or None where it is one: `call(x, padding, out)` pools a slab.

    `dtypes` are those of the result and of the kernel, `shape` is the result's; `geometry` is None for adaptive pools,
    whose planes stay whole. `copies`: the input is always copied.
    """
    dtype, inner = dtypes
    lengths, outs = x.shape[-rank:], shape[-rank:]
    copies = copies or not (x.dtype == inner == dtype and x.dtype.isnative)
    cost = inner.itemsize * (x.size + math.prod(shape)) if copies else 0
    long = geometry is not None and max(lengths[-1], outs[-1]) > ROW
    if (cost <= SLAB and not long) or 0 in shape:
        return None
    pieces = [(lead, None, None) for lead in leads(x.shape[:-rank], cost, True)]
    if geometry and (cost // math.prod(x.shape[:-rank]) > SLAB or long):
        a = long_axis(lengths, outs)
        each = inner.itemsize * (math.prod(lengths) + math.prod(outs)) // outs[a]
        if not indexed or math.prod(lengths[:a]) == 1:  # or its planes would not lie in one piece
            found = cuts(
                lengths[a], outs[a], *(geometry[i][a] for i in (0, 1, 4, 2, 3)), max(1, SLAB // 4 // each)
            )  # fmt: skip
            pieces = [(lead, a, cut) for lead, _, _ in pieces for cut in found or ()] or pieces
    if len(pieces) < 2:
        return None
    y = target(out, shape, dtype, [x])
    at = np.empty(shape, np.int64) if indexed else None
    for lead, a, cut in pieces:
        index, to, padding, offset = lead, lead, None, 0
        if geometry:
            padding = list(zip(geometry[2], geometry[3], strict=True))
        if cut is not None:
            gap = (slice(None),) * (x.ndim - rank - len(lead) + a)
            index, to = (*lead, *gap, cut.inputs), (*lead, *gap, cut.outputs)
            padding[a] = cut.padding
            offset = cut.inputs.start * math.prod(lengths[a + 1 :])
        result = call(x[index], padding and tuple(padding), y[to])
        if indexed:
            np.add(result[1], np.where(result[1] < 0, 0, offset), out=at[to])
    y = done(y, out)
    return (y, at) if indexed else y
