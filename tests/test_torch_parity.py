"""Thousands of random calls beside PyTorch: the same shapes, values, indices and dtypes."""

import numpy as np
import pytest

import cconv

torch = pytest.importorskip("torch")
F = torch.nn.functional

DTYPES = ("float32", "float64", "float16", "int64", "complex64")
CALLS = 60  # random calls of each test


def tensor(a):
    """A torch tensor of the array's values; complex and strided arrays too."""
    return torch.from_numpy(np.array(a, order="C", dtype=a.dtype.newbyteorder("=")))


def draw(rng, shape, dtype):
    if dtype == "int64":
        return rng.integers(-1000, 1000, shape)
    a = rng.standard_normal(shape)
    if dtype == "complex64":
        a = a + 1j * rng.standard_normal(shape)
    return a.astype(dtype)


def layout(rng, a):
    """The same values in another memory layout."""
    kind = rng.integers(6)
    if kind == 0:
        return np.asfortranarray(a)
    if kind == 1:
        return np.repeat(a, 2, axis=-1)[..., ::2]
    if kind == 2:
        return a[..., ::-1].copy()[..., ::-1]
    if kind == 3:
        return a.astype(a.dtype.newbyteorder(">"))
    if kind == 4:
        b = a.copy()
        b.flags.writeable = False
        return b
    return a


def ints(rng, low, high, rank):
    """One int for all axes, or one an axis; as given, and an axis each."""
    if rng.random() < 0.3:
        value = int(rng.integers(low, high))
        return value, (value,) * rank
    values = tuple(int(v) for v in rng.integers(low, high, rank))
    return values, values


def cached(name):
    """The function, called twice on new arrays: the second call takes the path that skips the checks."""
    function = getattr(cconv, name)

    def call(*args, **options):
        plain = [np.array(a, order="C") if isinstance(a, np.ndarray) else a for a in args]
        if any(isinstance(a, np.ndarray) and not a.dtype.isnative for a in args):
            plain = [
                a.astype(a.dtype.newbyteorder("=")) if isinstance(a, np.ndarray) else a
                for a in plain
            ]
        result = function(*args, **options)
        for again in (function(*plain, **options), function(*plain, **options)):
            same = (
                zip(result, again, strict=True) if isinstance(result, tuple) else [(result, again)]
            )
            for a, b in same:
                assert a.dtype == b.dtype and a.shape == b.shape
                assert np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"), (name, args[1:])
        return result

    return call


def agree(result, expected, dtype, terms=1.0, context=""):
    """Equal dtype and shape; values within the rounding of `terms` (the sum of the magnitudes of what is summed)."""
    expected = expected.numpy() if hasattr(expected, "numpy") else expected
    assert result.dtype == np.dtype(dtype), context
    assert result.shape == expected.shape, context
    if np.dtype(dtype).kind in "iu":
        assert np.array_equal(result, expected), context
        return
    eps = np.finfo(dtype).eps
    bound = (
        8 * eps * np.asarray(terms) + 4 * eps * abs(expected) + (1e-7 if dtype == "float16" else 0)
    )
    assert np.all(abs(result - expected) <= bound), context


WIDE = {"float32": "float64", "float64": "float64", "float16": "float64", "complex64": "complex128"}


def wide(a, dtype):
    return tensor(a.astype(WIDE.get(dtype, dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_conv(rank, dtype):
    rng = np.random.default_rng([rank, DTYPES.index(dtype)])
    for call in range(CALLS):
        groups, c, o = (int(v) for v in rng.integers(1, 5, 3))
        kernel = tuple(int(v) for v in rng.integers(1, 5, rank))
        stride, _ = ints(rng, 1, 5, rank)
        dilation, d = ints(rng, 1, 4, rank)
        padding, _ = ints(rng, 0, 4, rank)
        if rng.random() < 0.1:
            padding = "valid"
        space = [
            1 + e * (k - 1) + int(v)
            for e, k, v in zip(d, kernel, rng.integers(0, 14, rank), strict=True)
        ]
        lead = (int(rng.integers(1, 4)),) if rng.random() < 0.8 else ()
        x = draw(rng, (*lead, c * groups, *space), dtype)
        w = draw(rng, (o * groups, c, *kernel), dtype)
        b = draw(rng, o * groups, dtype) if rng.random() < 0.6 else None
        context = (call, x.shape, w.shape, stride, padding, dilation, groups)
        result = cached(f"conv{rank}d")(
            layout(rng, x), layout(rng, w), b, stride, padding, dilation, groups
        )
        torch_conv = getattr(F, f"conv{rank}d")
        args = (stride, padding, dilation, groups)
        expected = torch_conv(
            wide(x, dtype), wide(w, dtype), None if b is None else wide(b, dtype), *args
        )
        terms = torch_conv(
            tensor(abs(x).astype("float64")),
            tensor(abs(w).astype("float64")),
            None if b is None else tensor(abs(b).astype("float64")),
            *args,
        ).numpy()
        agree(result, expected, dtype, terms, context)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("mode", ("reflect", "replicate", "circular"))
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_padding_modes(rank, mode, dtype):
    rng = np.random.default_rng(rank)
    for call in range(CALLS // 2):
        stride, _ = ints(rng, 1, 4, rank)
        dilation, _ = ints(rng, 1, 3, rank)
        padding, _ = ints(rng, 0, 5, rank)
        if call % 5 == 0:
            stride, padding = 1, "same"
        kernel = tuple(int(v) for v in rng.integers(1, 4, rank))
        layer = getattr(torch.nn, f"Conv{rank}d")(
            4,
            6,
            kernel,
            stride,
            padding,
            dilation,
            2,
            padding_mode=mode,
            dtype=getattr(torch, dtype),
        )
        x = draw(rng, (2, 4, *rng.integers(7, 12, rank)), dtype)
        w, b = (p.detach().numpy() for p in (layer.weight, layer.bias))
        result = cached(f"conv{rank}d")(
            layout(rng, x), w, b, stride, padding, dilation, 2, padding_mode=mode
        )
        with torch.no_grad():
            agree(result, layer(tensor(x)), dtype, 60.0, (call, stride, padding, dilation, kernel))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_conv_transpose(rank, dtype):
    rng = np.random.default_rng([rank, DTYPES.index(dtype), 1])
    for call in range(CALLS):
        groups, c, o = (int(v) for v in rng.integers(1, 4, 3))
        kernel = tuple(int(v) for v in rng.integers(1, 5, rank))
        stride, s = ints(rng, 1, 5, rank)
        dilation, d = ints(rng, 1, 4, rank)
        padding, p = ints(rng, 0, 3, rank)
        extra = tuple(int(rng.integers(0, max(v))) for v in zip(s, d, strict=True))
        lead = (2,) if rng.random() < 0.8 else ()
        x = draw(rng, (*lead, c * groups, *rng.integers(1, 8, rank)), dtype)
        w = draw(rng, (c * groups, o, *kernel), dtype)
        b = draw(rng, o * groups, dtype) if rng.random() < 0.6 else None
        out = [
            (L - 1) * i - 2 * j + e * (k - 1) + f + 1
            for L, i, j, e, k, f in zip(x.shape[-rank:], s, p, d, kernel, extra, strict=True)
        ]
        ours = cached(f"conv_transpose{rank}d")
        args = (stride, padding, extra, groups, dilation)
        context = (call, x.shape, w.shape, *args)
        if min(out) < 1:
            with pytest.raises(ValueError, match="padding"):
                ours(x, w, b, *args)
            continue
        result = ours(layout(rng, x), layout(rng, w), b, *args)
        if dtype in ("float16", "int64"):
            # torch's own half and integer kernels are not there; the same in float64 is exact for these integers
            f64 = [None if a is None else tensor(a.astype("float64")) for a in (x, w, b)]
            expected = getattr(F, f"conv_transpose{rank}d")(*f64, *args).numpy()
            if dtype == "int64":
                expected = expected.round().astype("int64")
        else:
            parts = [None if a is None else wide(a, dtype) for a in (x, w, b)]
            expected = getattr(F, f"conv_transpose{rank}d")(*parts, *args)
        agree(result, expected, dtype, 200.0, context)


def pool_case(rng, rank, dtype, dilated):
    kernel, k = ints(rng, 1, 6, rank)
    stride, _ = ints(rng, 1, 6, rank)
    if rng.random() < 0.3:
        stride = None
    dilation, d = ints(rng, 1, 4 if dilated else 2, rank)
    padding = tuple(int(rng.integers(0, v // 2 + 1)) for v in k)
    space = [
        e * (v - 1) + 1 + int(i) for e, v, i in zip(d, k, rng.integers(0, 12, rank), strict=True)
    ]
    lead = (2,) if rng.random() < 0.8 else ()
    x = draw(rng, (*lead, 3, *space), dtype)
    if rng.random() < 0.5:
        x = (
            (x.astype("float64") / 400).round().astype(dtype)
            if dtype == "int64"
            else x.round().astype(dtype)
        )
    if x.dtype.kind == "f" and rng.random() < 0.3:
        x[rng.random(x.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf, -0.0])
    return x, kernel, stride, padding, dilation, bool(rng.integers(2))


@pytest.mark.parametrize(
    "dtype", ("float32", "float64", "float16", "int64", "uint8", "int8", "int32")
)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_max_pool(rank, dtype):
    rng = np.random.default_rng(rank)
    for call in range(CALLS):
        x, kernel, stride, padding, dilation, ceil_mode = pool_case(rng, rank, "float64", True)
        if np.dtype(dtype).kind in "iu":
            info = np.iinfo(dtype)
            x = np.nan_to_num(x, posinf=9, neginf=-9) * 40
            x = np.clip(x, max(info.min, -1e9), min(info.max, 1e9))
        x = x.astype(dtype)
        args = (kernel, stride, padding, dilation, ceil_mode)
        expected, indices = getattr(F, f"max_pool{rank}d")(tensor(x), *args, True)
        result, where = cached(f"max_pool{rank}d")(layout(rng, x), *args, True)
        plain = cached(f"max_pool{rank}d")(layout(rng, x), *args)
        assert result.dtype == x.dtype and where.dtype == np.int64
        for y in (result, plain):
            assert np.array_equal(y, expected.numpy(), equal_nan=x.dtype.kind == "f"), (
                call,
                x.shape,
                args,
            )
        assert np.array_equal(where, indices.numpy()), (call, x.shape, args)


@pytest.mark.parametrize("dtype", ("float32", "float64", "float16"))
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_avg_pool(rank, dtype):
    rng = np.random.default_rng(rank)
    for call in range(CALLS):
        x, kernel, stride, padding, _, ceil_mode = pool_case(rng, rank, dtype, False)
        x = np.nan_to_num(x, posinf=1, neginf=-1)
        include, divisor = (
            bool(rng.integers(2)),
            int(rng.integers(1, 9)) if rng.random() < 0.3 else None,
        )
        args = (kernel, stride, padding, ceil_mode, include)
        if rank > 1:
            args += (divisor,)
        expected = getattr(F, f"avg_pool{rank}d")(wide(x, dtype), *args)
        result = cached(f"avg_pool{rank}d")(layout(rng, x), *args)
        agree(result, expected, dtype, 300.0, (call, x.shape, args))


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_lp_pool(rank, dtype):
    rng = np.random.default_rng(rank)
    for call in range(CALLS):
        x, kernel, stride, _, _, ceil_mode = pool_case(rng, rank, dtype, False)
        x = abs(np.nan_to_num(x, posinf=1, neginf=-1))
        norm = float(rng.choice([1, 2, 3, 0.5]))
        if rank == 1 and not isinstance(kernel, int):
            kernel = kernel[0]  # torch's lp_pool1d takes ints only
        args = (norm, kernel, stride, ceil_mode)
        expected = getattr(F, f"lp_pool{rank}d")(tensor(x.astype("float64")), *args)
        result = cached(f"lp_pool{rank}d")(layout(rng, x), *args)
        assert result.dtype == x.dtype
        tolerance = 1e-4 if dtype == "float32" else 1e-11
        np.testing.assert_allclose(
            result, expected.numpy(), rtol=tolerance, atol=tolerance, err_msg=str(call)
        )


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_adaptive(rank):
    rng = np.random.default_rng(rank)
    for call in range(CALLS):
        dtype = ("float32", "float64")[call % 2]
        x = draw(rng, (2, 3, *rng.integers(1, 14, rank)), dtype)
        size = tuple(int(v) for v in rng.integers(0 if call % 10 == 0 else 1, 12, rank))
        if rank > 1 and rng.random() < 0.2:
            size = (None, *size[1:])
        given = layout(rng, x)
        expected = getattr(F, f"adaptive_avg_pool{rank}d")(tensor(x), size)
        agree(
            cached(f"adaptive_avg_pool{rank}d")(given, size),
            expected,
            dtype,
            40.0,
            (call, size),
        )
        if 0 in size:
            continue
        expected, indices = getattr(F, f"adaptive_max_pool{rank}d")(tensor(x), size, True)
        result, where = cached(f"adaptive_max_pool{rank}d")(given, size, True)
        assert np.array_equal(result, expected.numpy()) and np.array_equal(where, indices.numpy())
        assert np.array_equal(cached(f"adaptive_max_pool{rank}d")(given, size), result)


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_max_unpool(rank):
    rng = np.random.default_rng(rank)
    for _ in range(CALLS):
        kernel = tuple(int(v) for v in rng.integers(1, 4, rank))
        x = draw(rng, (2, 3, *rng.integers(4, 12, rank)), "float32")
        values, indices = getattr(F, f"max_pool{rank}d")(tensor(x), kernel, return_indices=True)
        size = x.shape[2:]
        expected = getattr(F, f"max_unpool{rank}d")(values, indices, kernel, output_size=size)
        ours = cached(f"max_unpool{rank}d")
        result = ours(values.numpy(), indices.numpy(), kernel, output_size=size)
        assert np.array_equal(result, expected.numpy())
        assert np.array_equal(
            ours(values.numpy(), indices.numpy(), kernel, output_size=x.shape), result
        )


@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64"))
def test_unfold_and_fold(dtype):
    rng = np.random.default_rng(0)
    for call in range(CALLS):
        kernel, _ = ints(rng, 1, 4, 2)
        dilation, _ = ints(rng, 1, 3, 2)
        padding, _ = ints(rng, 0, 3, 2)
        stride, _ = ints(rng, 1, 4, 2)
        lead = (2,) if call % 3 else ()
        x = draw(rng, (*lead, 3, *rng.integers(7, 12, 2)), dtype)
        args = (kernel, dilation, padding, stride)
        expected = F.unfold(tensor(x), *args)
        result = cconv.unfold(layout(rng, x), *args)
        assert np.array_equal(result, expected.numpy()), (call, args)
        size = x.shape[-2:]
        agree(
            cconv.fold(layout(rng, result), size, *args), F.fold(expected, size, *args), dtype, 40.0
        )


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_windows(rank, dtype):
    """Windows that are reduced by doubling, with values that must stay in their windows."""
    rng = np.random.default_rng(rank)
    for call in range(40):
        kernel = tuple(int(k) for k in rng.integers(1, 34, rank))
        size = [int(k + rng.integers(0, 40 // rank)) for k in kernel]
        stride = tuple(int(s) for s in rng.choice([1, 1, 1, 2, 3], rank))
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
        x = draw(rng, (2, 3, *size), dtype)
        for value in (np.nan, np.inf, -np.inf, 1e30):
            if rng.random() < 0.3:
                x[(rng.integers(2), rng.integers(3), *(rng.integers(n) for n in size))] = value
        ceil_mode = bool(rng.random() < 0.3)
        context = (call, x.shape, kernel, stride, padding, ceil_mode)
        result = cached(f"max_pool{rank}d")(x, kernel, stride, padding, 1, ceil_mode)
        expected = getattr(F, f"max_pool{rank}d")(tensor(x), kernel, stride, padding, 1, ceil_mode)
        assert np.array_equal(result, expected.numpy(), equal_nan=True), context
        # the average, with the sum of magnitudes as the scale of its rounding; torch's own in float64
        args = (kernel, stride, padding, ceil_mode)
        result = cached(f"avg_pool{rank}d")(x, *args)
        wide_x = tensor(x.astype("float64"))
        expected = getattr(F, f"avg_pool{rank}d")(wide_x, *args).numpy()
        scale = getattr(F, f"avg_pool{rank}d")(wide_x.abs(), *args).numpy()
        finite = np.isfinite(expected)
        assert np.array_equal(np.isnan(result), np.isnan(expected)), context
        assert np.array_equal(result[~finite], expected[~finite].astype(dtype), equal_nan=True), (
            context
        )
        # without the infinite ones, and away from 1e30, whose windows cancel
        error = abs(result[finite] - expected[finite])
        assert (error <= 8 * np.finfo(dtype).eps * scale[finite]).all(), context
