"""The families of pooling's gradients, and of unpool, unfold and fold."""

from __future__ import annotations

from math import prod

import numpy as np
from fuzz import oracle
from fuzz.decode import Call, Refused, array, dtype_of, lay, padding, sizes
from fuzz.families import (
    adaptive_setup,
    avg_counts,
    eps,
    full,
    give_out,
    judge,
    lead,
    modes_of,
    norm_of,
    pool_geometry,
    pool_setup,
    top,
)  # fmt: skip

FLOATS = [np.dtype(t) for t in "fde"]


def finite(*arrays):
    return all(np.isfinite(a).all() for a in arrays)


def pool_gradient(r, rank):
    maximum = bool(r.byte() % 2)
    call, _, table, batch, shape = pool_setup(
        r, rank, "max_pool" if maximum else "avg_pool", "_input"
    )
    dtype = r.pick(FLOATS)
    out = table[1] if table else (1,) * rank
    gy = array(r, call, "grad_output", (*batch, shape[-rank - 1], *out), dtype)
    include, divisor = True, None
    if maximum:
        x = array(r, call, "input", shape, dtype)
    else:
        x = None
        call.kwargs["input_size"] = r.pick((shape, list(shape), np.array(shape)))
        include, divisor = modes_of(r, call)
    result = np.result_type(gy, x) if maximum else gy.dtype.newbyteorder("=")
    give_out(r, call, shape, result, [call.kwargs["grad_output"], call.kwargs.get("input")])
    call.via = r.pick(("call", "twice"))
    grad, copy = gy.astype(np.float64), None if x is None else x.astype(result)

    def expected(y):
        if table is None:
            raise Refused("geometry")
        if y is None:
            return
        size = shape[-rank:]
        g = full(grad, rank)
        g = oracle.flat(g)
        with np.errstate(all="ignore"):
            if maximum:
                want = spread_max(full(copy, rank), g, table, size)
            else:
                counts = avg_counts(table, size, include, divisor)
                each = np.broadcast_to((g / counts)[..., None], (*g.shape, table[0].shape[1]))
                want = oracle.scatter(each, table[0], size)
        if finite(grad):
            judge(y, want.reshape(shape), result, eps(result) * 16 * (top(grad) * g.shape[-1] + 1))
        else:
            assert y.shape == shape and y.dtype == result

    return call, expected


def spread_max(x, g, table, size):
    """The gradient goes to the window's maximum; that of a window without a tap nowhere."""
    _, at = oracle.max_pool(x, *table[:2])
    at = at.reshape(*g.shape, 1)
    return oracle.scatter_at(g, np.where(at < 0, prod(size), at)[..., 0], size)


def adaptive_gradient(r, rank):
    maximum = bool(r.byte() % 2)
    base = "adaptive_max_pool" if maximum else "adaptive_avg_pool"
    call, batch, shape, size, out = adaptive_setup(r, rank, base, "_input")
    dtype = r.pick(FLOATS)
    gy = array(r, call, "grad_output", (*batch, shape[-rank - 1], *out), dtype)
    x = None
    if maximum:
        x = array(r, call, "input", shape, dtype)
    else:
        call.kwargs["input_size"] = shape
    result = np.result_type(gy, x) if maximum else gy.dtype.newbyteorder("=")
    give_out(r, call, shape, result, [call.kwargs["grad_output"]])
    call.via = r.pick(("call", "twice"))
    grad, copy = gy.astype(np.float64), None if x is None else x.astype(result)

    def expected(y):
        if y is None:
            return
        g = full(grad, rank)
        g = oracle.flat(g)
        if 0 in out or not finite(grad):
            assert y.shape == shape and y.dtype == result
            return
        table = oracle.adaptive_table(size, out)
        if maximum:
            want = spread_max(full(copy, rank), g, (table, out), size)
        else:
            counts = (table < prod(size)).sum(-1)
            each = np.broadcast_to((g / counts)[..., None], (*g.shape, table.shape[1]))
            want = oracle.scatter(each, table, size)
        judge(y, want.reshape(shape), result, eps(result) * 16 * (top(grad) * prod(out) + 1))

    return call, expected


def lp_gradient(r, rank):
    call, geo, table, batch, shape = pool_setup(r, rank, "lp_pool", "_input")
    dtype = r.pick(FLOATS)
    x = array(r, call, "input", shape, dtype)
    out = table[1] if table else (1,) * rank
    gy = array(r, call, "grad_output", (*batch, shape[-rank - 1], *out), dtype)
    norm = norm_of(r, call)
    result = np.result_type(gy, x)
    give_out(r, call, shape, result, [call.kwargs["grad_output"], call.kwargs["input"]])
    call.via = r.pick(("call", "twice"))
    grad, copy = gy.astype(np.float64), x.astype(np.float64)

    def expected(y):
        if table is None:
            raise Refused("geometry")
        if y is None:
            return
        size, taps = shape[-rank:], prod(geo[0])
        one, g = full(copy, rank), full(grad, rank)
        if not finite(grad, copy):
            assert y.shape == shape and y.dtype == result
            return
        if norm == np.inf:
            want = spread_max(np.abs(one), oracle.flat(g), table, size) * np.sign(one)
        else:
            forward = oracle.lp_pool(one, norm, *table, taps)
            want = oracle.lp_pool_input(one, g, norm, table[0], forward, table[2], taps)
        # with p < 1 the slope at the smallest values, 1/8, is the largest
        scale = eps(result) * 512 * (np.abs(want).max(initial=0) + 1) * taps
        judge(y, want.reshape(shape), result, scale)

    return call, expected


# ---------------------------------------------------------------- moves


def unpool_setup(r, rank, gradient):
    call = Call(
        "grad" if gradient else "functional", f"max_unpool{rank}d{'_input' * gradient}", rank
    )
    kernel, stride, before, after, _ = pool_geometry(r, call, rank, "max_unpool")
    size = sizes(r, rank, 4)
    batch = lead(r, rank)
    shape = (*batch, 1 + r.upto(2), *size)
    out = tuple(
        (L - 1) * s - b - a + k
        for L, s, b, a, k in zip(size, stride, before, after, kernel, strict=True)
    )
    refused = min(out) < 1 or any(
        max(b, a) >= k for k, b, a in zip(kernel, before, after, strict=True)
    )
    if r.rarely(4) and not refused:
        out = tuple(max(1, o - r.upto(s - 1)) for o, s in zip(out, stride, strict=True))
        call.kwargs["output_size"] = r.pick((out, list(out), (*shape[:-rank], *out)))
    plane = max(1, prod(out)) if not refused else 1
    rng = np.random.default_rng(r.byte())
    index = rng.integers(0, plane, shape).astype(r.pick([np.dtype(t) for t in "qqiQ"]))
    if r.rarely(32) and index.size:
        index.flat[r.byte() % index.size] = r.pick((plane, plane + 7, 2**31 - 1))
    call.kwargs["indices"] = lay(r, index)
    index = np.asarray(call.kwargs["indices"]).copy()
    call.bad |= bool((index >= plane).any())
    return call, refused, batch, shape, out, index


def unpool(r, rank):
    call, refused, batch, shape, out, index = unpool_setup(r, rank, False)
    x = array(r, call, "input", shape, dtype_of(r, "fi")).copy()

    def expected(y):
        if refused:
            raise Refused("geometry")
        if y is None:
            return
        want = np.zeros((*shape[:-rank], prod(out)), x.dtype.newbyteorder("="))
        for at in np.ndindex(*shape):
            want[(*at[:-rank], int(index[at]))] = x[at]
        want = want.reshape(*shape[:-rank], *out)
        assert y.dtype == want.dtype and y.shape == want.shape
        assert y.tobytes() == want.tobytes(), "unpooled values differ"

    return call, expected


def unpool_gradient(r, rank):
    call, refused, batch, shape, out, index = unpool_setup(r, rank, True)
    out_shape = (*shape[:-rank], *(max(1, o) for o in out))
    gy = array(r, call, "grad_output", out_shape, r.pick(FLOATS)).copy()
    result = gy.dtype.newbyteorder("=")
    give_out(r, call, shape, result, [call.kwargs["grad_output"]])

    def expected(y):
        if refused:
            raise Refused("geometry")
        if y is None:
            return
        planes = gy.reshape(*shape[:-rank], prod(out))
        want = np.empty(shape, gy.dtype)
        for at in np.ndindex(*shape):
            want[at] = planes[(*at[:-rank], int(index[at]))]
        judge(y, want, result, 0.0)

    return call, expected


def fold_geometry(r, call, rank):
    kernel = tuple(1 + r.upto(2) for _ in range(rank))
    call.kwargs["kernel_size"] = kernel
    stride, dilation = (1,) * rank, (1,) * rank
    if r.rarely(2):
        stride = tuple(1 + r.upto(2) for _ in range(rank))
    if r.rarely(3):
        dilation = tuple(1 + r.upto(1) for _ in range(rank))
    before, after, pairs = padding(r, rank, 2)
    call.kwargs.update(stride=stride, dilation=dilation, padding=pairs or before)
    if r.rarely(32):
        call.kwargs[r.pick(("stride", "dilation"))] = r.pick((0, -1, 1.5, "2", None, 2**62, True))
        call.bad = True
    if r.rarely(64):
        call.kwargs["padding"] = r.pick((2**61, 2**40, 10**30))
        call.maybe = True
    return kernel, stride, dilation, before, after, (0,) * rank, "zeros"


def fold_out(size, geo):
    kernel, stride, dilation, before, after, _, _ = geo
    return tuple(
        (L + b + a - d * (k - 1) - 1) // s + 1
        for L, k, s, d, b, a in zip(size, kernel, stride, dilation, before, after, strict=True)
    )


def unfold(r, rank):
    call = Call("functional", "unfold", rank)
    geo = fold_geometry(r, call, rank)
    size, batch = sizes(r, rank, 6 if rank < 3 else 4), lead(r, rank)
    shape = (*batch, 1 + r.upto(2), *size)
    x = array(r, call, "input", shape, dtype_of(r, "fic")).copy()
    out = fold_out(size, geo)

    def expected(y):
        if min(out) < 1:
            raise Refused("geometry")
        if y is None:
            return
        table = oracle.conv_table(size, *(geo[i] for i in (0, 1, 3, 2)), out)
        columns = oracle.gather(full(x, rank), table).swapaxes(2, 3)
        want = columns.reshape(*batch, shape[-rank - 1] * prod(geo[0]), prod(out))
        want = want.astype(x.dtype.newbyteorder("="))
        assert y.dtype == want.dtype and y.shape == want.shape, (y.shape, want.shape)
        assert y.tobytes() == want.tobytes(), "unfolded values differ"

    return call, expected


def fold(r, rank):
    call = Call("functional", "fold", rank)
    geo = fold_geometry(r, call, rank)
    size, batch = sizes(r, rank, 6 if rank < 3 else 4), lead(r, rank)
    call.kwargs["output_size"] = size
    out = fold_out(size, geo)
    columns = prod(out) if min(out) > 0 else 1
    channels = 1 + r.upto(2)
    shape = (*batch, channels * prod(geo[0]), columns)
    if r.rarely(32):
        shape = (*shape[:-1], columns + 1)
        call.bad = True
    x = array(r, call, "input", shape, dtype_of(r, "fic")).copy()
    result = x.dtype.newbyteorder("=")

    def expected(y):
        if min(out) < 1:
            raise Refused("geometry")
        if y is None:
            return
        table = oracle.conv_table(size, *(geo[i] for i in (0, 1, 3, 2)), out)
        big = x.astype({"f": np.float64, "c": np.complex128}.get(result.kind, result))
        taps = big.reshape(prod(batch), channels, prod(geo[0]), columns).swapaxes(2, 3)
        want = oracle.scatter(taps, table, size)
        want = want.reshape(*batch, channels, *size)
        if finite(big):
            judge(y, want, result, eps(result) * 4 * top(big) * (table.shape[1] + 2))
        else:
            assert y.shape == want.shape and y.dtype == result

    return call, expected
