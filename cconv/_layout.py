"""unfold, fold and max_unpool: moves of data without arithmetic to speak of, so NumPy's own strided copies serve."""

from __future__ import annotations

import numpy as np

from . import _args, _problem


def unfold(input, kernel_size, dilation, padding, stride):
    name = "unfold"
    rank = _args.rank_of(name, kernel_size, dilation, padding, stride)
    x = _args.array(name, "input", input)
    kernel, stride, dilation, before, after = geometry(
        name, rank, kernel_size, dilation, padding, stride
    )
    batched = _args.batched(name, x, rank)
    size = _args.spatial(name, x, rank)
    out = tuple(
        _problem.conv_size(*axis)
        for axis in zip(size, kernel, stride, dilation, before, after, strict=True)
    )
    _args.conv_out(name, out, size, kernel, dilation, before, after)
    _args.elements(name, (*x.shape[:-rank], *kernel, *out), x.itemsize)
    if any(before) or any(after):
        x = np.pad(x, [(0, 0)] * (x.ndim - rank) + list(zip(before, after, strict=True)))
    steps = x.strides[-rank:]
    windows = np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:-rank], *kernel, *out),
        (
            *x.strides[:-rank],
            *(t * d for t, d in zip(steps, dilation, strict=True)),
            *(t * (s if o > 1 else 1) for t, s, o in zip(steps, stride, out, strict=True)),
        ),
        writeable=False,
    )
    rows, columns = x.shape[-rank - 1], 1
    for k, o in zip(kernel, out, strict=True):
        rows, columns = rows * k, columns * o
    lead = (x.shape[0],) if batched else ()
    return np.array(windows, dtype=x.dtype.newbyteorder("="), order="C").reshape(
        *lead, rows, columns
    )


def geometry(name, rank, kernel_size, dilation, padding, stride):
    before, after = _args.pairs(name, padding, rank)
    return (
        _args.axes(name, "kernel_size", kernel_size, rank, 1),
        _args.axes(name, "stride", stride, rank, 1),
        _args.axes(name, "dilation", dilation, rank, 1),
        before,
        after,
    )


def fold(input, output_size, kernel_size, dilation, padding, stride):
    name = "fold"
    rank = _args.rank_of(name, output_size, kernel_size, dilation, padding, stride)
    x = _args.array(name, "input", input)
    size = _args.axes(name, "output_size", output_size, rank, 1)
    kernel, stride, dilation, before, after = geometry(
        name, rank, kernel_size, dilation, padding, stride
    )
    out = tuple(
        _problem.conv_size(*axis)
        for axis in zip(size, kernel, stride, dilation, before, after, strict=True)
    )
    _args.conv_out(name, out, size, kernel, dilation, before, after)
    taps, columns = 1, 1
    for k, o in zip(kernel, out, strict=True):
        taps, columns = taps * k, columns * o
    _args.fold_input(name, x, taps, columns)
    lead = x.shape[:-2]
    padded = tuple(L + b + a for L, b, a in zip(size, before, after, strict=True))
    channels = x.shape[-2] // taps
    _args.elements(name, (*lead, channels, *padded), x.itemsize)
    dtype = x.dtype.newbyteorder("=")
    inner = np.dtype(np.float32) if dtype == np.float16 else dtype
    result = np.zeros((*lead, channels, *padded), inner)
    columns = x.reshape(*lead, channels, *kernel, *out)
    for tap in np.ndindex(*kernel):
        place = tuple(
            slice(t * d, t * d + s * (o - 1) + 1, s)
            for t, d, s, o in zip(tap, dilation, stride, out, strict=True)
        )
        with np.errstate(all="ignore"):  # of infinities, as in a kernel
            result[(..., *place)] += columns[(..., *tap, *(slice(None),) * rank)]
    crop = tuple(slice(b, b + L) for b, L in zip(before, size, strict=True))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.ascontiguousarray(result[(..., *crop)], dtype=dtype)


def unpooled_size(name, rank, shape, kernel_size, stride, padding, output_size):
    kernel, stride, before, after, _ = _args.pool_geometry(
        name, rank, kernel_size, stride, padding, 1
    )
    default = tuple(
        (L - 1) * s - b - a + k
        for L, s, b, a, k in zip(shape[-rank:], stride, before, after, kernel, strict=True)
    )
    return _args.unpool_size(name, output_size, default, stride, shape, rank)


def max_unpool(name, rank, input, indices, kernel_size, stride, padding, output_size):
    x = _args.pool_array(name, input, rank)
    indices = _args.indices(name, indices, x.shape)
    _args.spatial(name, x, rank)
    size = unpooled_size(name, rank, x.shape, kernel_size, stride, padding, output_size)
    plane = 1
    for n in size:
        plane *= n
    _args.elements(name, (*x.shape[:-rank], *size), x.itemsize)
    flat = indices.reshape(-1, int(np.prod(x.shape[-rank:])))
    _args.index_range(name, flat, plane)
    result = np.zeros((flat.shape[0], plane), x.dtype.newbyteorder("="))
    values = x.reshape(flat.shape)
    # one plane at a time: of equal indices the last assignment wins
    for row, at, value in zip(result, flat, values, strict=True):
        row[at] = value
    return result.reshape(*x.shape[:-rank], *size)


def operation(name: str, base: str, rank: int):
    if base == "max_unpool":
        return lambda *args: max_unpool(name, rank, *args)
    return {"unfold": unfold, "fold": fold}[name]
