"""What is easy to get wrong, and where cconv is wider than PyTorch: each point with its own small example."""

import numpy as np
import pytest
import reference

import cconv


def test_tutorial():
    x = np.zeros((1, 1, 28, 28), np.float32)
    assert cconv.Conv2d(in_channels=1, out_channels=64, kernel_size=3, padding=1)(x).shape == (
        1,
        64,
        28,
        28,
    )
    assert cconv.Conv2d(in_channels=1, out_channels=64, kernel_size=3, padding=0)(x).shape == (
        1,
        64,
        26,
        26,
    )
    y = cconv.MaxPool2d(2)(np.array([[[[7, 3, 5, 2], [8, 7, 1, 6], [4, 9, 3, 9], [0, 8, 4, 5]]]]))
    assert y.tolist() == [[[[8, 6], [9, 9]]]]


def test_ceil_mode_drops_a_window_that_starts_past_the_padding():
    assert cconv.max_pool1d(np.arange(9.0)[None], 4, 4, 2, ceil_mode=True).shape == (1, 3)


def test_average_divisor():
    x = np.arange(1.0, 17).reshape(1, 4, 4)
    y = cconv.avg_pool2d(x, 3, 2, 1, ceil_mode=True)
    np.testing.assert_allclose(
        y[0], [[1.5556, 3.3333, 2], [6.3333, 11, 6], [4.5, 7.5, 4]], atol=5e-5
    )


def test_max_pool_nan_ties_and_infinity():
    nan, inf = np.nan, np.inf
    y, i = cconv.max_pool1d([[1.0, nan, nan, 5.0, 2.0, 2.0, -inf, -inf]], 4, return_indices=True)
    assert np.isnan(y[0, 0]) and i.tolist() == [[2, 4]]
    y, i = cconv.max_pool1d([[-inf, -inf]], 2, return_indices=True)
    assert y[0, 0] == -inf and i[0, 0] == 0
    assert np.signbit(cconv.max_pool1d([[-0.0, 0.0]], 2)[0, 0])
    assert not np.signbit(cconv.max_pool1d([[0.0, -0.0]], 2)[0, 0])
    x = np.array([[[-1.0, -0.0], [0.0, -1.0]]])
    assert np.signbit(cconv.max_pool2d(x, 2)[0, 0, 0])


@pytest.mark.parametrize("length", (5, 6, 7, 8, 20))
@pytest.mark.parametrize("kernel", (1, 2, 3, 4, 5))
@pytest.mark.parametrize("stride", (1, 2, 3))
@pytest.mark.parametrize("dilation", (1, 2))
def test_same(length, kernel, stride, dilation):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2, length)), rng.standard_normal((3, 2, kernel))
    total = dilation * (kernel - 1)
    padded = np.pad(x, ((0, 0), (0, 0), (total // 2, total - total // 2)))
    full = cconv.conv1d(padded, w, dilation=dilation)
    y = cconv.conv1d(x, w, stride=stride, padding="same", dilation=dilation)
    assert y.shape[-1] == -(-length // stride)
    np.testing.assert_allclose(y, full[..., ::stride], rtol=1e-12, atol=1e-12)


def test_empty_stride_is_the_kernel_size():
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 8)).astype("f")
    for function in (
        cconv.max_pool2d,
        cconv.avg_pool2d,
        lambda *args: cconv.lp_pool2d(args[0], 2, *args[1:]),
    ):
        for empty in ((), []):
            assert (function(x, (2, 3), empty) == function(x, (2, 3))).all()
    assert (cconv.MaxPool2d(2, ())(x) == cconv.max_pool2d(x, 2)).all()


def test_padding_mode_bounds():
    x, w = np.ones((1, 1, 4)), np.ones((1, 1, 1))
    assert cconv.conv1d(x, w, padding=3, padding_mode="reflect").shape[-1] == 10
    assert cconv.conv1d(x, w, padding=4, padding_mode="circular").shape[-1] == 12
    assert cconv.conv1d(x, w, padding=40, padding_mode="replicate").shape[-1] == 84
    for mode, most in (("reflect", 3), ("circular", 4)):
        with pytest.raises(ValueError, match="padding"):
            cconv.conv1d(x, w, padding=most + 1, padding_mode=mode)


def test_output_padding_may_be_below_the_dilation():
    assert cconv.conv_transpose1d(
        np.ones((1, 4)), np.ones((1, 1, 2)), dilation=3, output_padding=2
    ).shape == (1, 9)


@pytest.mark.parametrize("size", range(1, 12))
def test_adaptive_windows(size):
    x = np.random.default_rng(size).standard_normal((2, 3, 7, 10))
    axes = reference.adaptive_axes(x.shape[2:], (size, 3))
    expected = reference.pool(x, axes, lambda values, *_: np.mean(values)).astype(float)
    np.testing.assert_allclose(
        cconv.adaptive_avg_pool2d(x, (size, 3)), expected, rtol=1e-13, atol=1e-15
    )
    expected = reference.pool(x, axes, lambda values, *_: np.max(values)).astype(float)
    assert np.array_equal(cconv.adaptive_max_pool2d(x, (size, 3)), expected)


def test_empty():
    x, w = np.zeros((0, 4, 9, 9), np.float32), np.zeros((2, 4, 3, 3), np.float32)
    assert cconv.conv2d(x, w).shape == (0, 2, 7, 7)
    assert cconv.conv_transpose2d(x, w.swapaxes(0, 1)).shape == (0, 2, 11, 11)
    assert cconv.max_pool2d(x, 3).shape == (0, 4, 3, 3)
    assert [a.shape for a in cconv.max_pool2d(x, 3, return_indices=True)] == [(0, 4, 3, 3)] * 2
    assert cconv.adaptive_avg_pool2d(x, 2).shape == (0, 4, 2, 2)
    assert cconv.adaptive_avg_pool2d(np.ones((1, 2, 3, 3)), 0).shape == (1, 2, 0, 0)
    assert cconv.unfold(x, 3).shape == (0, 36, 49)
    for bad in (np.zeros((1, 4, 0, 9)), np.zeros((1, 0, 9, 9))):
        with pytest.raises(ValueError, match="empty"):
            cconv.max_pool2d(bad, 1)


def test_average_of_many():
    x = np.full((1, 1, 4096, 4096), 0.1, np.float32)
    assert cconv.avg_pool2d(x, 4096)[0, 0, 0, 0] == pytest.approx(0.1, rel=1e-6)
    assert cconv.adaptive_avg_pool2d(x, 1)[0, 0, 0, 0] == pytest.approx(0.1, rel=1e-6)


def pairs(rng, rank, most):
    return tuple(tuple(int(v) for v in rng.integers(0, most, 2)) for _ in range(rank))


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_padding_pairs(rank):
    """Asymmetric padding, for every function that pads, against the naive loops."""
    rng = np.random.default_rng(rank)
    for _ in range(8):
        pad = pairs(rng, rank, 4)
        before, after = zip(*pad, strict=True)
        one = (1,) * rank
        stride = tuple(int(v) for v in rng.integers(1, 4, rank))
        x = rng.standard_normal((2, 2, *rng.integers(4, 7, rank)))
        w = rng.standard_normal((2, 2, *(3,) * rank))
        y = getattr(cconv, f"conv{rank}d")(x, w, None, stride, pad)
        np.testing.assert_allclose(
            y, reference.conv(x, w, None, stride, before, after, one, 1), rtol=1e-10, atol=1e-10
        )
        small = tuple((b % 2, a % 2) for b, a in pad)
        before, after = zip(*small, strict=True)
        y = getattr(cconv, f"conv_transpose{rank}d")(x, w, None, stride, small)
        expected = reference.conv_transpose(x, w, None, stride, before, after, (0,) * rank, one, 1)
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_wide_pool_padding(rank):
    """Padding up to the window, dilated averages, windows without a valid tap: against the naive loops."""
    rng = np.random.default_rng(rank)
    for _ in range(15):
        kernel = tuple(int(v) for v in rng.integers(1, 4, rank))
        dilation = tuple(int(v) for v in rng.integers(1, 4, rank))
        stride = tuple(int(v) for v in rng.integers(1, 4, rank))
        span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        pad = tuple(tuple(int(rng.integers(0, s)) for _ in range(2)) for s in span)
        before, after = zip(*pad, strict=True)
        space = [
            max(1, s - b - a + int(rng.integers(0, 6)))
            for s, b, a in zip(span, before, after, strict=True)
        ]
        x = rng.standard_normal((1, 2, *space)).astype(np.float32)
        ceil_mode, include = bool(rng.integers(2)), bool(rng.integers(2))
        geometry = (kernel, stride, before, after, dilation, ceil_mode)
        expected, where = reference.max_pool(x, *geometry)
        y, index = getattr(cconv, f"max_pool{rank}d")(
            x, kernel, stride, pad, dilation, ceil_mode, True
        )
        assert np.array_equal(y, expected) and np.array_equal(index, where)
        plain = getattr(cconv, f"max_pool{rank}d")(x, kernel, stride, pad, dilation, ceil_mode)
        assert np.array_equal(plain, expected)
        y = getattr(cconv, f"avg_pool{rank}d")(
            x, kernel, stride, pad, ceil_mode, include, dilation=dilation
        )
        expected = reference.avg_pool(x, include, None, *geometry)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_window_without_a_tap():
    y, i = cconv.max_pool1d(np.ones((1, 1)), 2, 1, 2, 3, return_indices=True)
    assert np.isneginf(y[0, 0]) and i[0, 0] == -1
    assert cconv.max_pool1d(np.ones((1, 1), np.int8), 2, 1, 2, 3)[0, 0] == -128
    assert np.isnan(
        cconv.avg_pool1d(np.ones((1, 1)), 2, 1, 2, count_include_pad=False, dilation=3)[0, 0]
    )


def test_lp_pool_uses_magnitudes():
    assert cconv.lp_pool1d([[-3.0, 4.0]], 3, 2)[0, 0] == pytest.approx(91 ** (1 / 3))
    assert cconv.lp_pool1d([[-3.0, 2.0]], float("inf"), 2)[0, 0] == 3


INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap(dtype):
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, (2, 4, 9, 9), dtype, endpoint=True)
    w = rng.integers(info.min, info.max, (6, 2, 3, 3), dtype, endpoint=True)
    b = rng.integers(info.min, info.max, 6, dtype, endpoint=True)
    y = cconv.conv2d(x, w, b, 2, 1, 1, 2)
    with np.errstate(over="ignore"):
        expected = reference.conv(x, w, b, (2, 2), (1, 1), (1, 1), (1, 1), 2)
    assert y.dtype == dtype and np.array_equal(y, expected)
    values, where = cconv.max_pool2d(x, 3, 2, 1, return_indices=True)
    expected, index = reference.max_pool(x, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1), False)
    assert (
        values.dtype == dtype and np.array_equal(values, expected) and np.array_equal(where, index)
    )
    assert np.array_equal(cconv.max_pool2d(x, 3, 2, 1), expected)
    mean = cconv.avg_pool2d(x, 3, 2, 1)
    assert mean.dtype == np.float64
    expected = reference.avg_pool(x, True, None, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1), False)
    np.testing.assert_allclose(mean, expected, rtol=1e-12)


def test_result_types():
    x = np.ones((1, 2, 5), np.float32)
    for weight, expected in (
        ("float64", "float64"),
        ("int8", "float32"),
        ("float16", "float32"),
        ("complex64", "complex64"),
    ):
        assert cconv.conv1d(x, np.ones((1, 2, 3), weight)).dtype == expected
    assert cconv.conv1d(x, np.ones((1, 2, 3), "f4"), np.ones(1, "f8")).dtype == np.float64
    assert cconv.max_pool1d(np.array([[True, False]]), 2).dtype == np.uint8
    assert cconv.conv1d([[1, 2, 3]], [[[1, 1]]]).tolist() == [[3, 5]]
    assert cconv.avg_pool1d([[1, 2]], 2).tolist() == [[1.5]]


@pytest.mark.parametrize(
    "function", ("conv", "transposed", "max", "avg", "lp", "adaptive", "indexed")
)
def test_out(function):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 9, 9)).astype(np.float32)
    w = rng.standard_normal((4, 4, 3, 3)).astype(np.float32)
    calls = {
        "conv": lambda out: cconv.conv2d(x, w, out=out),
        "transposed": lambda out: cconv.conv_transpose2d(x, w, stride=2, out=out),
        "max": lambda out: cconv.max_pool2d(x, 2, out=out),
        "avg": lambda out: cconv.avg_pool2d(x, 2, out=out),
        "lp": lambda out: cconv.lp_pool2d(x, 2, 2, out=out),
        "adaptive": lambda out: cconv.adaptive_avg_pool2d(x, 3, out=out),
        "indexed": lambda out: cconv.max_pool2d(x, 2, return_indices=True, out=out)[0],
    }
    expected = calls[function](None)
    assert expected.flags.c_contiguous
    for memory in (
        np.empty_like(expected),
        np.empty(expected.shape[::-1], np.float32).T,
        np.empty((*expected.shape[:-1], 2 * expected.shape[-1]), np.float32)[..., ::2],
        np.empty_like(expected)[:, :, ::-1, ::-1],
    ):
        for _ in range(2):  # the second call may take the cached plan
            memory[...] = np.nan
            assert calls[function](memory) is memory
            assert np.array_equal(memory, expected)


def test_prepacked():
    import copy
    import pickle

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 8, 12, 12)).astype(np.float32)
    w, b = rng.standard_normal((16, 8, 3, 3)).astype(np.float32), np.ones(16, np.float32)
    run = cconv.prepack(w, b, padding=1)
    expected = cconv.conv2d(x, w, b, padding=1)
    w[...] = 0  # the weights were copied
    for other in (run, copy.copy(run), copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
        np.testing.assert_allclose(other(x), expected, rtol=1e-4, atol=1e-4)
    out = np.empty_like(expected)
    assert run(x, out=out) is out and np.array_equal(out, run(x))
    assert run(x.astype(np.float64)).dtype == np.float64
    assert run(x[0]).shape == (16, 12, 12)
    with pytest.raises(AttributeError):
        run.weight = 1
    up = cconv.prepack(np.ones((8, 4, 2, 2), np.float32), stride=2, transposed=True)
    assert up(x).shape == (2, 4, 24, 24)


def test_explain():
    x, w = np.zeros((1, 64, 56, 56), np.float32), np.zeros((64, 64, 3, 3), np.float32)
    plan = cconv.explain("conv2d", x, w, padding=1)
    assert plan["algorithm"] == "winograd" and "Winograd" in str(plan)
    assert cconv.explain(cconv.conv2d, x, w, padding=1, algorithm="direct")["algorithm"] == "direct"
    assert cconv.explain("conv2d", x, w[:, :1], groups=64)["kernel"] == "rows"
    assert cconv.explain("max_pool2d", x, 3)["out_shape"] == (1, 64, 18, 18)
    # the batch does not enter the choice
    many = np.zeros((9, 64, 14, 14), np.float32)
    for algorithm in ("algorithm", "kernel", "tile"):
        assert (
            cconv.explain("conv2d", many, w)[algorithm]
            == cconv.explain("conv2d", many[:1], w)[algorithm]
        )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64"])
def test_integers_are_exact_whatever_their_range(dtype, transposed):
    """Small sums run in float32, larger ones in float64, the largest wrap; torch's int64 is the judge of all."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    name = "conv_transpose2d" if transposed else "conv2d"
    # 16 x 9 terms: sums just below and above 2**24 and 2**53, and far beyond
    for most in (9, 340, 342, 2**15, 7_900_000, 8_000_000, 2**31, 2**62):
        low, high = max(info.min, -most), min(info.max, most)
        x = rng.integers(low, high, (1, 16, 48, 48), dtype=dtype, endpoint=True)
        w = rng.integers(low, high, (16, 16, 3, 3), dtype=dtype, endpoint=True)
        b = rng.integers(low, high, 16, dtype=dtype, endpoint=True)
        x.flat[:5000] = high
        w[:2] = high
        parts = [torch.from_numpy(a.astype(np.int64)) for a in (x, w, b)]
        with np.errstate(over="ignore"):
            expected = getattr(torch.nn.functional, name)(*parts).numpy().astype(dtype)
        assert np.array_equal(getattr(cconv, name)(x, w, b), expected), most
        assert np.array_equal(cconv.prepack(w, b, transposed=transposed)(x), expected), most
