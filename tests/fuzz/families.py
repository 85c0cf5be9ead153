"""One function a family: reads a call, and returns it with a function that judges its result (None: may it fail?)."""

from __future__ import annotations

from math import prod

import numpy as np
from fuzz import oracle
from fuzz.decode import (
    NEVER,
    NOT_FLAGS,
    Call,
    Refused,
    array,
    dtype_of,
    lay,
    padding,
    parameter,
    sizes,
)

MODES = ("zeros", "zeros", "reflect", "replicate", "circular")
WORK = 60000  # multiply-adds of the largest problem: more would be slow, not different


def judge(y, expected, dtype, scale):
    """`scale` bounds the error; the same NaN, the same infinities, values within it."""
    assert isinstance(y, np.ndarray) and y.shape == expected.shape, (y.shape, expected.shape)
    assert y.dtype == dtype, (y.dtype, dtype)
    if dtype.kind in "iu":
        assert np.array_equal(y, expected.astype(dtype)), "integers differ"
        return
    with np.errstate(all="ignore"):
        if dtype.kind == "c":
            parts = ((y.real, expected.real), (y.imag, expected.imag))
        else:
            parts = ((y, expected),)
        for got, want in parts:
            want = want.astype(got.dtype)  # a float16 overflows to infinity
            want = want.astype(np.float32) if got.dtype == np.float16 else want
            rounding = np.finfo(np.float16).eps * np.abs(want) if got.dtype == np.float16 else 0
            same = np.abs(got.astype(want.dtype) - want) <= scale + rounding
            same |= (got == want) | ((got != got) & (want != want))
            assert same.all(), f"got {got[~same][:4]}, expected {want[~same][:4]}, bound {scale}"


def wide(dtype):
    """The oracle's type for a result of this type."""
    if dtype.kind in "iu":
        return dtype if dtype.itemsize == 8 else np.dtype(np.int64)
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def eps(dtype):
    if dtype.kind in "iu":
        return 0.0
    return float(np.finfo(np.float32 if dtype == np.float16 else dtype).eps)


def top(a):
    """The largest finite magnitude."""
    size = np.abs(a)
    return float(np.max(size[np.isfinite(size)], initial=0))


def lead(r, a_rank):
    """The batch axis: () for an unbatched call."""
    return r.pick(((1,), (2,), (), (3,), (0,))) if a_rank else ()


def full(a, rank):
    return a if a.ndim == rank + 2 else a[None]


def give_out(r, call, shape, dtype, others):
    """Sometimes an `out`: strided, reversed, on top of an argument, or one that must be refused."""
    kind = r.byte() % 16
    dtype = np.dtype(dtype).newbyteorder("=")
    if kind < 10:
        return
    good = np.full(shape, 5, dtype)
    if kind < 14:
        out = lay(r, good, False)
        if out.dtype != dtype:
            call.bad = True
    elif kind == 14:
        out = bad_out(r, call, good)
    else:
        same = [a for a in others if isinstance(a, np.ndarray) and a.dtype == dtype]
        out = r.pick(same) if same else good
        if out.size > good.size:
            out = out.reshape(-1)[: good.size].reshape(shape) if out.flags.c_contiguous else good
        elif out.shape != shape:
            out = good
        if not out.flags.writeable:
            call.bad = True
    call.kwargs["out"] = out


def bad_out(r, call, good):
    kind = r.byte() % 7
    call.bad |= kind < 5
    if kind == 0:
        good.flags.writeable = False
    elif kind == 1:
        good = good.astype(np.int16 if good.dtype != np.int16 else np.float32)
    elif kind == 2:
        good = good[None]
    elif kind == 3:
        return r.pick(([1.0], "x", 3, object()))
    elif kind == 4:
        good = np.ma.masked_array(good)
    elif kind == 5:  # several elements at one address
        axis = max(range(good.ndim), key=lambda i: good.shape[i])
        call.bad |= good.shape[axis] > 1 and good.size > 0
        strides = [0 if i == axis else s for i, s in enumerate(good.strides)]
        good = np.lib.stride_tricks.as_strided(good, good.shape, strides)
    else:
        call.bad |= good.ndim > 1 and good.size > 0 and good.shape[-2] > 1 and good.shape[-1] > 1
        room = np.zeros(good.size * 2 + 2, good.dtype)
        strides = list(good.strides)
        if good.ndim > 1:
            strides[-2] = good.itemsize
        good = np.lib.stride_tricks.as_strided(room, good.shape, strides)
    return good


def flag(r, call, name):
    value = r.byte()
    if value % 64 == 63:
        call.bad = True
        call.kwargs[name] = r.pick(NOT_FLAGS)
        return None
    chosen = bool(value % 2)
    if chosen or value % 4:
        call.kwargs[name] = chosen
    return chosen


# ---------------------------------------------------------------- convolution


def geometry(r, call, rank, transposed, gradient=False):
    """Kernel, stride, dilation, padding, extra and mode, drawn and put into the call."""
    kernel = tuple(1 + r.upto(2) for _ in range(rank))
    if r.rarely(32):
        kernel = (*kernel[:-1], 1 + r.upto(20))
    stride = tuple(1 + r.upto(2) for _ in range(rank)) if r.rarely(2) else (1,) * rank
    if r.rarely(64):
        stride = (*stride[:-1], 9 + r.upto(9))
    dilation = tuple(1 + r.upto(1) for _ in range(rank)) if r.rarely(3) else (1,) * rank
    before, after, pairs = padding(r, rank, 2)
    mode = "zeros"
    parameter(r, call, "stride", stride, 1)
    parameter(r, call, "dilation", dilation, 1)
    if not transposed and r.rarely(6):
        total = [d * (k - 1) if r.at % 2 else 0 for d, k in zip(dilation, kernel, strict=True)]
        call.kwargs["padding"] = "same" if r.at % 2 else "valid"
        before = tuple(t // 2 for t in total)
        after = tuple(t - b for t, b in zip(total, before, strict=True))
    else:
        parameter(r, call, "padding", before, 0, pairs)
    extra = (0,) * rank
    if transposed:
        if r.rarely(3):
            extra = tuple(r.upto(2) for _ in range(rank))
            parameter(r, call, "output_padding", extra, 0)
    else:
        mode = r.pick(MODES)
        if mode != "zeros":
            call.kwargs["padding_mode"] = mode
        if r.rarely(64):
            call.kwargs["padding_mode"] = r.pick(("edge", None, 1, b"zeros"))
            call.bad = True
    return kernel, stride, dilation, before, after, extra, mode


def conv_sizes(size, geo, transposed):
    """Output sizes, or Refused."""
    kernel, stride, dilation, before, after, extra, mode = geo
    rows = zip(size, kernel, stride, dilation, before, after, extra, strict=True)
    if transposed:
        for e, s, d in zip(extra, stride, dilation, strict=True):
            if e >= max(s, d):
                raise Refused("output_padding")
        out = tuple((L - 1) * s - b - a + d * (k - 1) + e + 1 for L, k, s, d, b, a, e in rows)
    else:
        for L, b, a in zip(size, before, after, strict=True):
            if max(b, a) > {"reflect": L - 1, "circular": L}.get(mode, 99):
                raise Refused("padding for the mode")
        out = tuple((L + b + a - d * (k - 1) - 1) // s + 1 for L, k, s, d, b, a, _ in rows)
    if min(out) < 1:
        raise Refused("no output")
    return out


def operands(r, call, rank, transposed):
    """Shapes of input and weight, groups, the geometry and the output's spatial sizes (None: refused)."""
    groups = r.pick((1, 1, 1, 2, 3))
    C, O = 1 + r.upto(2), 1 + r.upto(2)
    if r.rarely(16):
        C, O = 1 + r.upto(40), 1 + r.upto(40)
    geo = geometry(r, call, rank, transposed)
    size = sizes(r, rank, 6 if rank < 3 else 4)
    if prod(size) * prod(geo[0]) * C * O > WORK:
        C, O, size = 1, 1, tuple(min(n, 9) for n in size)
    call.kwargs["groups"] = groups
    if r.rarely(64):
        call.kwargs["groups"] = r.pick(NEVER)
        call.bad = True
    batch = lead(r, rank)
    x_shape = (*batch, C * groups, *size)
    w_shape = (C * groups, O, *geo[0]) if transposed else (O * groups, C, *geo[0])
    if r.rarely(64):
        x_shape = (*batch, C * groups + 1, *size)
        call.bad = True
    if r.rarely(64):
        axis = len(batch) + r.byte() % (rank + 1)
        x_shape = tuple(0 if i == axis else n for i, n in enumerate(x_shape))
        call.bad = True
    try:
        out = conv_sizes(size, geo, transposed)
    except Refused:
        out = None
    return batch, groups, geo, x_shape, w_shape, out, O * groups


def table_of(size, out, geo, transposed):
    kernel, stride, dilation, before, _, _, mode = geo
    if transposed:
        return oracle.conv_table(out, kernel, stride, before, dilation, size)
    return oracle.conv_table(size, kernel, stride, before, dilation, out, mode)


def conv_family(r, rank, transposed=False):
    call = Call("functional", f"conv{'_transpose' * transposed}{rank}d", rank)
    batch, groups, geo, x_shape, w_shape, out, O = operands(r, call, rank, transposed)
    dtype = dtype_of(r, "fic")
    x = array(r, call, "input", x_shape, dtype)
    w = array(r, call, "weight", w_shape, dtype_of(r, "fic") if r.rarely() else dtype)
    b = (
        array(r, call, "bias", (O,), dtype_of(r, "fic") if r.rarely() else dtype)
        if r.rarely(2)
        else None
    )
    b = None if call.kwargs.get("bias", 0) is None else b
    arrays = [a for a in (x, w, b) if a is not None]
    result = np.result_type(*arrays)
    algorithm = r.pick(("auto", "auto", "direct", "winograd", "fft", "auto"))
    if algorithm != "auto":
        call.kwargs["algorithm"] = algorithm
    if r.rarely(64):
        call.kwargs["algorithm"] = r.pick(("im2col", None, 3, b"auto"))
        call.bad = True
    call.via = r.pick(("call", "call", "twice", "prepack", "explain"))
    if out is not None:
        give_out(r, call, (*batch, O, *out), result, [call.kwargs["input"], call.kwargs["weight"]])
    copies = [a.astype(wide(result)) for a in arrays]

    def expected(y):
        if out is None:
            raise Refused("geometry")
        if y is None and algorithm in ("winograd", "fft"):
            raise Refused("cannot serve")
        table = table_of(x_shape[-rank:], out, geo, transposed)
        with np.errstate(all="ignore"):
            one = full(copies[0], rank)
            if transposed:
                want = oracle.conv_transpose(one, copies[1], groups, table, out)
            else:
                want = oracle.conv(one, copies[1], groups, table, out)
            if b is not None:
                want = want + copies[2].reshape(-1, *(1,) * rank)
            want = want.reshape(*batch, O, *out)
            spoiled = not np.isfinite(copies[1]).all() and result.kind in "fc"
        terms = prod(w_shape) // w_shape[0] + 2
        scale = eps(result) * (top(copies[0]) * top(copies[1]) * terms * 4 + 4)
        scale += eps(result) * terms * 4 * top(copies[-1])  # sums may start with the bias
        scale *= 16 if algorithm != "direct" else 1
        if y is None:
            return
        if spoiled:  # by the contract, outputs whose windows reach into padding may be NaN
            y = np.where(np.isnan(y), want, y).astype(y.dtype)
        if (
            algorithm != "direct" and result.kind == "f"
        ):  # Winograd's differences make NaN of infinities
            y = np.where(np.isnan(y) & np.isinf(want), want, y).astype(y.dtype)
        if result.kind == "c" and not all(np.isfinite(a).all() for a in copies):
            assert y.shape == want.shape and y.dtype == result
            return  # inf * complex: C's own rules differ from the four products'
        judge(y, want, result, scale)

    return call, expected


def transposed_family(r, rank):
    return conv_family(r, rank, True)


def conv_gradient(r, rank):
    transposed, of = bool(r.byte() % 2), r.pick(("input", "weight", "bias"))
    call = Call("grad", f"conv{'_transpose' * transposed}{rank}d_{of}", rank)
    batch, groups, geo, x_shape, w_shape, out, O = operands(r, call, rank, transposed)
    dtype = r.pick([np.dtype(t) for t in "fde"])
    parameters_bad, call.bad = call.bad, False
    gy = array(r, call, "grad_output", (*batch, O, *(out or (1,) * rank)), dtype)
    gradient_bad, call.bad = call.bad, call.bad or parameters_bad
    other_shape = w_shape if of == "input" else x_shape
    shape = {"input": x_shape, "weight": w_shape, "bias": (O,)}[of]
    other = None
    if of == "bias":
        call.kwargs, call.maybe = {"grad_output": call.kwargs["grad_output"]}, False
        call.bad = gradient_bad
    else:
        other = array(r, call, "weight" if of == "input" else "input", other_shape, dtype)
        call.kwargs[f"{of}_size"] = shape
    arrays = [a for a in (gy, other) if a is not None]
    result = np.result_type(*arrays)
    if result.kind != "f":
        call.bad = True
        result = np.dtype(np.float64)
    give_out(r, call, shape, result, [call.kwargs["grad_output"]])
    copies = [a.astype(np.float64) for a in arrays]
    call.via = r.pick(("call", "twice"))

    def expected(y):
        if out is None and of != "bias":
            raise Refused("geometry")
        if y is None:
            return
        size = x_shape[-rank:]
        grad = full(copies[0], rank)
        with np.errstate(all="ignore"):
            if of == "bias":
                want = grad.sum((0, *range(2, rank + 2)))
            else:
                table = table_of(size, out, geo, transposed)
                if of == "input":
                    step = oracle.conv if transposed else oracle.conv_transpose
                    want = step(grad, copies[1], groups, table, size).reshape(shape)
                else:
                    pair = (
                        (grad, full(copies[1], rank))
                        if transposed
                        else (full(copies[1], rank), grad)
                    )
                    want = oracle.conv_weight(*pair, groups, table, shape)
        terms = prod(shape) + gy.size + 2
        scale = (
            eps(result)
            * 64
            * (top(copies[0]) * (top(copies[1]) if other is not None else 1) * terms + 1)
        )
        finite = all(np.isfinite(a).all() for a in copies)
        if not finite:
            assert y.shape == want.shape and y.dtype == result
            return
        judge(y, want, result, scale)

    return call, expected


# ---------------------------------------------------------------- pooling


def pool_geometry(r, call, rank, base):
    kernel = tuple(1 + r.upto(2) for _ in range(rank))
    if r.rarely(16):
        kernel = (*kernel[:-1], 1 + r.upto(12))
    parameter(r, call, "kernel_size", kernel, None)
    stride = kernel
    if r.rarely(2):
        stride = tuple(1 + r.upto(2) for _ in range(rank))
        bad = call.bad
        parameter(r, call, "stride", stride, None)
        given = call.kwargs.get("stride")
        if isinstance(given, tuple) and not given and "unpool" not in base:
            call.bad, stride = bad, kernel  # an empty one is the kernel's size, as for torch
    if "stride" not in call.kwargs:
        stride = kernel
    dilation = (1,) * rank
    if "unpool" not in base and r.rarely(4):
        dilation = tuple(1 + r.upto(1) for _ in range(rank))
        parameter(r, call, "dilation", dilation, 1)
    before, after, pairs = padding(r, rank, 1)
    parameter(r, call, "padding", before, 0, pairs)
    return kernel, stride, before, after, dilation


def pool_setup(r, rank, base, suffix=""):
    call = Call("grad" if suffix else "functional", f"{base}{rank}d{suffix}", rank)
    geo = pool_geometry(r, call, rank, base)
    ceil_mode = flag(r, call, "ceil_mode")
    size = sizes(r, rank, 8 if rank < 3 else 5)
    batch = lead(r, rank)
    shape = (*batch, 1 + r.upto(2), *size)
    refused = any(
        max(b, a) >= d * (k - 1) + 1
        for k, b, a, d in zip(geo[0], geo[2], geo[3], geo[4], strict=True)
    )
    table = None
    if not refused:
        kernel, stride, before, after, dilation = geo
        table = oracle.pool_table(size, kernel, stride, before, after, dilation, bool(ceil_mode))
        if min(table[1]) < 1:
            table = None
    if r.rarely(64):
        axis = len(batch) + r.byte() % (rank + 1)
        shape = tuple(0 if i == axis else n for i, n in enumerate(shape))
        call.bad, table = True, None
    return call, geo, table, batch, shape


def max_family(r, rank):
    call, _, table, batch, shape = pool_setup(r, rank, "max_pool")
    x = array(r, call, "input", shape, dtype_of(r, "fi"))
    indexed = flag(r, call, "return_indices")
    call.via = r.pick(("call", "twice", "explain"))
    result = x.dtype.newbyteorder("=")
    if table is not None:
        give_out(r, call, (*batch, shape[-rank - 1], *table[1]), result, [call.kwargs["input"]])
    return call, max_judge(x.copy(), rank, table, batch, indexed, result)


def max_judge(x, rank, table, batch, indexed, result):
    def expected(got):
        if table is None:
            raise Refused("geometry")
        if got is None:
            return
        y, index = got if indexed else (got, None)
        want, at = oracle.max_pool(full(x.astype(result), rank), *table[:2])
        want, at = want.reshape(*batch, *want.shape[1:]), at.reshape(*batch, *at.shape[1:])
        judge(y, want, result, 0.0)
        if index is not None:
            assert index.dtype == np.int64 and np.array_equal(index, at), (index, at)

    return expected


def avg_counts(table, size, include, divisor):
    """What each window's sum is divided by."""
    if divisor:
        return divisor
    return table[2] if include else (table[0] < prod(size)).sum(-1)


def modes_of(r, call):
    include = flag(r, call, "count_include_pad")
    include = True if "count_include_pad" not in call.kwargs else include
    divisor = None
    if r.rarely(6):
        divisor = r.pick((1, 2, -3, 100))
        call.kwargs["divisor_override"] = divisor
    elif r.rarely(64):
        call.kwargs["divisor_override"] = r.pick((0, 1.5, "2", True, object(), 2**63))
        call.bad = True
    return include, divisor


def float_result(x):
    return x.dtype.newbyteorder("=") if x.dtype.kind == "f" else np.dtype(np.float64)


def avg_family(r, rank):
    call, _, table, batch, shape = pool_setup(r, rank, "avg_pool")
    x = array(r, call, "input", shape, dtype_of(r, "fi"))
    include, divisor = modes_of(r, call)
    result = float_result(x)
    call.via = r.pick(("call", "twice", "explain"))
    if table is not None:
        give_out(r, call, (*batch, shape[-rank - 1], *table[1]), result, [call.kwargs["input"]])
    copy = x.astype(np.float64)

    def expected(y):
        if table is None:
            raise Refused("geometry")
        if y is None:
            return
        counts = avg_counts(table, shape[-rank:], include, divisor)
        want = oracle.avg_pool(full(copy, rank), *table[:2], counts).reshape(y.shape)
        judge(y, want, result, eps(result) * (top(copy) * 16 * table[0].shape[1] + 1e-30))

    return call, expected


NORMS = (1, 2, 3, float("inf"), 0.5, 1.5, np.float32(2), 2.0)


def norm_of(r, call):
    norm = r.pick(NORMS)
    call.kwargs["norm_type"] = norm
    if r.rarely(48):
        call.kwargs["norm_type"] = r.pick((0, -1, "2", None, float("nan"), True, 1j, [2], object()))
        call.bad = True
    return float(norm)


def lp_family(r, rank):
    call, geo, table, batch, shape = pool_setup(r, rank, "lp_pool")
    x = array(r, call, "input", shape, dtype_of(r, "fi"))
    norm = norm_of(r, call)
    result = float_result(x)
    call.via = r.pick(("call", "twice", "explain"))
    if table is not None:
        give_out(r, call, (*batch, shape[-rank - 1], *table[1]), result, [call.kwargs["input"]])
    copy = x.astype(np.float64)

    def expected(y):
        if table is None:
            raise Refused("geometry")
        if y is None:
            return
        taps = prod(geo[0])
        want = oracle.lp_pool(full(copy, rank), norm, *table, taps).reshape(y.shape)
        valid = np.isfinite(want)
        scale = eps(result) * 256 * (top(want) + 1e-30) if valid.any() else 0.0
        judge(y, want, result, scale)

    return call, expected


def adaptive_setup(r, rank, base, suffix=""):
    call = Call("grad" if suffix else "functional", f"{base}{rank}d{suffix}", rank)
    size = sizes(r, rank, 7 if rank < 3 else 4)
    batch = lead(r, rank)
    shape = (*batch, 1 + r.upto(2), *size)
    out = tuple(r.upto(5) for _ in range(rank))
    if suffix and not r.byte() % 2:
        pass
    elif r.rarely(6):
        call.kwargs["output_size"] = (*out[:-1], None)
        out = (*out[:-1], size[-1])
    else:
        parameter(r, call, "output_size", out, None)
        if "output_size" not in call.kwargs:
            call.kwargs["output_size"] = out
    size_given = call.kwargs.get("output_size")
    if call.bad and isinstance(size_given, tuple) and None in size_given:  # None keeps an axis
        call.bad, call.maybe = False, True
    return call, batch, shape, size, out


def adaptive_avg(r, rank):
    call, batch, shape, size, out = adaptive_setup(r, rank, "adaptive_avg_pool")
    x = array(r, call, "input", shape, dtype_of(r, "fi"))
    result = float_result(x)
    give_out(r, call, (*batch, shape[-rank - 1], *out), result, [call.kwargs["input"]])
    call.via = r.pick(("call", "twice", "explain"))
    copy = x.astype(np.float64)

    def expected(y):
        if y is None:
            return
        if 0 in out:
            judge(y, np.zeros((*batch, shape[-rank - 1], *out)), result, 0.0)
            return
        table = oracle.adaptive_table(size, out)
        counts = (table < prod(size)).sum(-1)
        want = oracle.avg_pool(full(copy, rank), table, out, counts).reshape(y.shape)
        judge(y, want, result, eps(result) * (top(copy) * 16 * table.shape[1] + 1e-30))

    return call, expected


def adaptive_max(r, rank):
    call, batch, shape, size, out = adaptive_setup(r, rank, "adaptive_max_pool")
    x = array(r, call, "input", shape, dtype_of(r, "fi"))
    indexed = flag(r, call, "return_indices")
    result = x.dtype.newbyteorder("=")
    give_out(r, call, (*batch, shape[-rank - 1], *out), result, [call.kwargs["input"]])
    call.via = r.pick(("call", "twice", "explain"))
    if 0 in out:
        return call, lambda y: None
    table = oracle.adaptive_table(size, out), out
    return call, max_judge(x.copy(), rank, table, batch, indexed, result)
