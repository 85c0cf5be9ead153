"""docs/guide/accuracy.md, kept: rounding errors, NaN and infinity, denormals, -0.0."""

import time

import numpy as np
import pytest

import cconv

accuracy = pytest.importorskip("benchmarks.accuracy")

CASES = [
    (algorithm, dtype, terms)
    for algorithm, (_, dtypes, low, high) in accuracy.ALGORITHMS.items()
    for dtype in dtypes
    for terms in (32, 288, 3000, 10**5, 10**6)
    if low <= terms <= high and (terms <= 10**5 or dtype in ("f4", "f8"))
]


def bound(algorithm, dtype, terms):
    """The documented multiple of the error of plain sequential summation."""
    if algorithm.startswith("direct"):
        return 1.2 if dtype in ("f4", "f8", "f2") else 2.5
    if algorithm == "FFT":
        return 4 if terms < 256 else 2  # "auto" takes it from 256 taps on
    return 4 if algorithm.startswith("Winograd") else 1.2


@pytest.mark.parametrize(("algorithm", "dtype", "terms"), CASES)
def test_bound(algorithm, dtype, terms):
    error, ratio = accuracy.measure(algorithm, dtype, terms)
    assert 0 < ratio <= bound(algorithm, dtype, terms)
    if dtype == "f2":
        assert error < 2.0**-11  # one rounding, to 11 bits


@pytest.mark.parametrize(
    "algorithm", ("direct: rows", "FFT", "weight gradient", "average pool", "2-norm pool")
)
def test_ten_million_terms(algorithm):
    assert 0 < accuracy.measure(algorithm, "f4", 10**7)[1] <= bound(algorithm, "f4", 10**7)


@pytest.mark.parametrize("dtype", ("f4", "f8"))
def test_default_is_within_four(dtype):
    """What "auto" takes, of the shapes that it takes each algorithm for."""
    rng = np.random.default_rng(0)
    for shape, weight in (
        ((1, 64, 20, 20), (64, 64, 3, 3)),
        ((1, 1, 9000), (1, 1, 4001)),
        ((1, 9, 20, 20), (9, 9, 3, 3)),
    ):
        x, w = rng.standard_normal(shape).astype(dtype), rng.standard_normal(weight).astype(dtype)
        rank = len(shape) - 2
        y = getattr(cconv, f"conv{rank}d")(x, w)[0]
        windows = np.lib.stride_tricks.sliding_window_view(
            x[0], w.shape[2:], tuple(range(1, rank + 1))
        )
        errors, plain = [], []
        for place in [tuple(n // 2 + i for n in y.shape[1:]) for i in range(8)]:
            for o in range(0, y.shape[0], 4):
                part = windows[(slice(None), *place)]
                exact = np.sum(part.astype("g") * w[o].astype("g"))
                plain.append(np.add.accumulate((part * w[o]).ravel())[-1] - exact)
                errors.append(y[(o, *place)] - exact)
        assert accuracy.rms(np.array(errors)) <= 4 * accuracy.rms(np.array(plain))


# ---------------------------------------------------------------- averages of equal values


@pytest.mark.parametrize("value", (0.1, 1 / 3, -7.7e-5, 3e30))
def test_average_of_ten_million_equal_values(value):
    value = np.float32(value)
    flat = np.full((1, 1, 10**7), value)
    square = flat[..., :9998244].reshape(1, 1, 3162, 3162)
    cube = flat[..., : 215**3].reshape(1, 1, 215, 215, 215)
    for y in (
        cconv.avg_pool1d(flat, 10**7),
        cconv.adaptive_avg_pool1d(flat, 1),
        cconv.avg_pool2d(square, 3162),
        cconv.adaptive_avg_pool2d(square, 1),
        cconv.avg_pool3d(cube, 215),
        cconv.adaptive_avg_pool3d(cube, (1, None, 1)),
        cconv.avg_pool2d(flat.reshape(1, 1, 10**6, 10), (10**6, 1)),  # down
        cconv.avg_pool2d(flat.reshape(1, 1, 10, 10**6), (1, 10**6)),  # along
        cconv.avg_pool1d(flat[:, :, : 2 * 10**6], 10**6, 7 * 10**4),  # overlapping
    ):
        np.testing.assert_allclose(y, value, rtol=1e-6)


# ---------------------------------------------------------------- NaN and infinity

CONVS = {
    "winograd F(2)": ((1, 4, 30, 31), (8, 4, 3, 3), {"algorithm": "winograd"}),
    "winograd F(4)": ((1, 40, 30, 31), (8, 40, 3, 3), {"algorithm": "winograd"}),
    "winograd F(4), 1-D": ((1, 40, 200), (8, 40, 3), {"algorithm": "winograd"}),
    "winograd F(2), 5 taps": ((1, 40, 30, 31), (8, 40, 5, 5), {"algorithm": "winograd"}),
    "winograd, a column": ((1, 40, 30, 31), (8, 40, 3, 1), {"algorithm": "winograd"}),
    "winograd, a column of 5": ((1, 40, 30, 31), (8, 40, 5, 1), {"algorithm": "winograd"}),
    "winograd F(2), 5 taps, 1-D": ((1, 40, 200), (8, 40, 5), {"algorithm": "winograd"}),
    "winograd 3-D": ((1, 16, 6, 15, 16), (8, 16, 3, 3, 3), {"algorithm": "winograd"}),
    "winograd, dilated": ((1, 40, 30, 31), (8, 40, 3, 3), {"algorithm": "winograd", "dilation": 2}),
    "fft, 1-D": ((1, 1, 5000), (1, 1, 400), {"algorithm": "fft"}),
    "fft, 2-D": ((1, 2, 90, 91), (3, 2, 20, 17), {"algorithm": "fft"}),
    "direct": ((1, 9, 30, 31), (16, 9, 3, 3), {"algorithm": "direct"}),
    "1 x 1": ((1, 20, 30, 31), (16, 20, 1, 1), {}),
    "rows": ((1, 6, 40, 41), (6, 1, 5, 5), {"groups": 6}),
    "strided": ((1, 9, 30, 31), (16, 9, 3, 3), {"stride": 2}),
}


def reached(x, weight, options):
    """Outputs whose window holds the marked value: sums of ones and zeros tell."""
    options = {k: v for k, v in options.items() if k != "algorithm"}
    mark = (~np.isfinite(x)).astype(np.int64)
    return getattr(cconv, f"conv{x.ndim - 2}d")(mark, np.ones(weight, np.int64), **options) > 0


@pytest.mark.parametrize("packed", (False, True))
@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("dtype", ("f4", "f8"))
@pytest.mark.parametrize("name", CONVS)
def test_not_finite_stays_in_its_windows(name, dtype, value, packed):
    shape, weight, options = CONVS[name]
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal(shape).astype(dtype), rng.standard_normal(weight).astype(dtype)
    w[w == 0] = 1
    places = rng.integers(0, x[0].size, 2)
    x[0].flat[places] = value
    function = getattr(cconv, f"conv{len(shape) - 2}d")
    clean = np.where(np.isfinite(x), x, 0)
    if packed:
        y = cconv.prepack(w, **options)(x)
        expected = cconv.prepack(w, **options)(clean)
    else:
        y, expected = function(x, w, **options), function(clean, w, **options)
    hit = reached(x, weight, options)
    assert hit.any() and not hit.all()
    assert np.isfinite(y[~hit]).all()
    np.testing.assert_allclose(
        y[~hit], expected[~hit], rtol=0, atol=(2e-4 if dtype == "f4" else 1e-11)
    )
    assert not np.isfinite(y[hit]).any()
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.functional, f"conv{len(shape) - 2}d")
    options = {k: v for k, v in options.items() if k != "algorithm"}
    z = theirs(
        torch.from_numpy(x.astype("f8")), torch.from_numpy(w.astype("f8")), **options
    ).numpy()
    assert np.array_equal(
        np.isnan(y), np.isnan(z)
    )  # as IEEE says: inf - inf is NaN, inf + 1 is not
    assert np.array_equal(np.isposinf(y), np.isposinf(z))


@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf, 1e30))
@pytest.mark.parametrize("k", (2, 5, 13, 31))
def test_pools_keep_it_in_its_windows(k, value):
    """Large windows go by doubling: no sum is ever taken back."""
    rng = np.random.default_rng(k)
    x = rng.standard_normal((1, 2, 70, 71)).astype(np.float32)
    clean = x.copy()
    x[0, 1, 33, 37] = value
    for name in ("avg", "max", "lp"):
        first = (2, k, 1) if name == "lp" else (k, 1)
        function = getattr(cconv, f"{name}_pool2d")
        y, expected = function(x, *first), function(clean, *first)
        hit = np.zeros(y.shape, bool)
        hit[0, 1, 33 - k + 1 : 34, 37 - k + 1 : 38] = True
        assert np.array_equal(y[~hit], expected[~hit])
        if value != value or (value > 0 and np.isinf(value)) or name != "max":
            assert (y[hit] != expected[hit]).all()


@pytest.mark.parametrize("kind", ("conv", "max_pool", "avg_pool"))
def test_gradients_keep_it_in_their_windows(kind):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 40, 20, 21)).astype(np.float32)
    w = rng.standard_normal((40, 40, 3, 3)).astype(np.float32)
    g = rng.standard_normal((1, 40, 18, 19)).astype(np.float32)
    g[0, 3, 8, 9] = np.nan
    if kind == "conv":
        y = cconv.grad.conv2d_input(x.shape, w, g)
    elif kind == "max_pool":
        y = cconv.grad.max_pool2d_input(x, g, 3, 1)
    else:
        y = cconv.grad.avg_pool2d_input(x.shape, g, 3, 1)
    hit = np.zeros(y.shape, bool)
    hit[:, slice(None) if kind == "conv" else 3, 8:11, 9:12] = True
    assert np.isfinite(y[~hit]).all()
    assert np.isnan(y[hit]).sum() == (1 if kind == "max_pool" else hit.sum())


# ---------------------------------------------------------------- denormals and -0.0


def quartile(function, *args, **options):
    times = []
    for _ in range(25):
        start = time.perf_counter()
        function(*args, **options)
        times.append(time.perf_counter() - start)
    return sorted(times)[6]


def processors_own(name, x, tiny):
    """How many times as long the processor itself takes over denormals, on NumPy's word: AMD's since Zen no longer, but
    Intel's stop for some 150 cycles at each vector. Products of matrices for convolutions, else plain ones."""
    if name in ("winograd", "gemm", "rows", "weight_grad"):
        a = np.ones((64, 576), np.float32)
        few, many = (np.resize(v, (576, 784)) for v in (tiny, x))
        return max(1, quartile(np.matmul, a, few) / quartile(np.matmul, a, many))
    few, many = (np.resize(v, 4096) for v in (tiny, x))
    half, out = np.float32(0.5), np.empty(4096, np.float32)
    return max(1, quartile(np.multiply, few, half, out) / quartile(np.multiply, many, half, out))


@pytest.mark.parametrize(
    "name",
    (
        "winograd",
        "gemm",
        "rows",
        "fft",
        "avg_pool",
        "avg_pool large",
        "max_pool",
        "lp_pool",
        "weight_grad",
    ),
)
def test_denormals_cost_less_than_twice(name):
    """All products and sums denormal, or all inputs: against the same call on ordinary numbers, interleaved, and
    against what the processor takes for them anyway."""
    rng = np.random.default_rng(0)
    cases = {
        "winograd": (
            lambda x: cconv.conv2d(x, w3, padding=1, algorithm="winograd"),
            (1, 64, 28, 28),
        ),
        "gemm": (lambda x: cconv.conv2d(x, w3, padding=1, algorithm="direct"), (1, 64, 28, 28)),
        "rows": (lambda x: cconv.conv2d(x, w1, padding=1, groups=64), (1, 64, 56, 56)),
        "fft": (lambda x: cconv.conv1d(x, wf, algorithm="fft"), (1, 1, 60000)),
        "avg_pool": (lambda x: cconv.avg_pool2d(x, 2), (1, 64, 112, 112)),
        "avg_pool large": (lambda x: cconv.avg_pool2d(x, 31, 1, 15), (1, 3, 256, 256)),
        "max_pool": (lambda x: cconv.max_pool2d(x, 2), (1, 64, 112, 112)),
        "lp_pool": (lambda x: cconv.lp_pool2d(x, 1, 2), (1, 64, 112, 112)),
        "weight_grad": (
            lambda x: cconv.grad.conv2d_weight(x, (64, 64, 3, 3), x, padding=1),
            (1, 64, 28, 28),
        ),
    }
    w3 = rng.standard_normal((64, 64, 3, 3)).astype(np.float32)
    w1, wf = w3[:, :1].copy(), rng.standard_normal((1, 1, 3000)).astype(np.float32)
    call, shape = cases[name]
    x = rng.standard_normal(shape).astype(np.float32)
    tiny = (x * np.float32(1e-40)).astype(np.float32)
    assert 0 < abs(tiny).max() < np.finfo(np.float32).tiny
    ratios = []
    for _ in range(5):  # the machine may be busy
        own = processors_own(name, x, tiny)
        ratios.append(quartile(call, tiny) / quartile(call, x) / own)
        if ratios[-1] < 2:
            return
    pytest.fail(f"denormals cost {min(ratios):.1f} times what they cost the processor")


@pytest.mark.parametrize("dtype", ("f4", "f8", "f2"))
def test_max_pools_keep_negative_zero_as_torch_does(dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = np.where(rng.random((2, 3, 40, 41)) < 0.5, -0.0, 0.0).astype(dtype)
    x[0, 0] = -0.0
    for k, s in ((2, 2), (3, 1), (3, 2), (5, 1), (13, 1), ((2, 1), 1), ((1, 2), 1), (1, 1)):
        ours, index = cconv.max_pool2d(x, k, s, return_indices=True)
        theirs, where = torch.nn.functional.max_pool2d(
            torch.from_numpy(x), k, s, return_indices=True
        )
        assert np.array_equal(np.signbit(ours), np.signbit(theirs.numpy()))
        assert np.array_equal(index, where.numpy())
        alone = cconv.max_pool2d(x, k, s)
        assert np.array_equal(np.signbit(alone), np.signbit(theirs.numpy())), (
            f"window {k}, stride {s}"
        )
    ours = cconv.adaptive_max_pool2d(x, 7)
    theirs = torch.nn.functional.adaptive_max_pool2d(torch.from_numpy(x), 7)
    assert np.array_equal(np.signbit(ours), np.signbit(theirs.numpy()))
