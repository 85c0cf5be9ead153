"""Rounding errors against float64, as multiples of those of plain sequential float32 summation: the promise is 4."""

import numpy as np
import pytest

import cconv


def sequential(x, w):
    """s = fl(s + fl(x * w)) in the order c, kd, kh, kw, for an unpadded stride-1 convolution."""
    kernel = w.shape[2:]
    out = [L - k + 1 for L, k in zip(x.shape[2:], kernel, strict=True)]
    s = np.zeros((x.shape[0], w.shape[0], *out), np.float32)
    for c in range(w.shape[1]):
        for tap in np.ndindex(*kernel):
            view = x[(slice(None), c, *(slice(t, t + o) for t, o in zip(tap, out, strict=True)))]
            s = s + w[(slice(None), c, *tap)].reshape(-1, *[1] * len(out)) * view[:, None]
    return s


def rms(a):
    return np.sqrt(np.mean(np.square(a.astype(np.float64))))


def ratio(x, w, **options):
    rank = x.ndim - 2
    function = getattr(cconv, f"conv{rank}d")
    exact = function(x.astype(np.float64), w.astype(np.float64), algorithm="direct")
    return rms(function(x, w, **options) - exact) / rms(sequential(x, w) - exact)


@pytest.mark.parametrize("channels", (1, 3, 8, 32, 64, 256))
@pytest.mark.parametrize(
    ("space", "kernel"),
    (
        ((300,), (3,)),
        ((300,), (5,)),
        ((22, 22), (3, 3)),
        ((22, 22), (1, 3)),
        ((22, 22), (3, 1)),
        ((22, 22), (5, 5)),
        ((22, 22), (5, 1)),
        ((7, 12, 12), (3, 3, 3)),
        ((7, 12, 12), (3, 5, 5)),
    ),
)
def test_default_algorithms(channels, space, kernel):
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((1, channels, *space)).astype(np.float32)
    w = rng.standard_normal((16, channels, *kernel)).astype(np.float32)
    assert ratio(x, w) <= 4
    assert ratio(x, w, algorithm="direct") <= 1.1
    if channels >= 8:
        assert ratio(x, w, algorithm="winograd") <= 4


def test_float64_winograd():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 64, 20, 20)), rng.standard_normal((16, 64, 3, 3))
    exact = cconv.conv2d(x.astype(np.float64), w, algorithm="direct")
    assert abs(cconv.conv2d(x, w, algorithm="winograd") - exact).max() < 1e-12


def test_direct_is_exact_on_small_integers():
    """Sums that float32 holds exactly come out exactly, whatever the kernel."""
    rng = np.random.default_rng(0)
    for shape, weight, groups in (
        ((2, 9, 30, 31), (13, 9, 3, 3), 1),
        ((1, 6, 30, 31), (6, 1, 5, 5), 6),
        ((1, 4, 900), (2, 4, 70), 1),
    ):
        x, w = rng.integers(-8, 9, shape), rng.integers(-8, 9, weight)
        function = getattr(cconv, f"conv{len(shape) - 2}d")
        expected = function(x, w, groups=groups)
        for dtype in (np.float32, np.float64):
            y = function(x.astype(dtype), w.astype(dtype), groups=groups, algorithm="direct")
            assert np.array_equal(y, expected)


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_scipy(rank):
    """The one-channel case is scipy.signal.correlate."""
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(rank)
    x = rng.standard_normal(tuple(int(v) for v in rng.integers(12, 20, rank)))
    for k in (1, 2, 3, 5, 9):
        w = rng.standard_normal((k,) * rank)
        y = getattr(cconv, f"conv{rank}d")(x[None, None], w[None, None])
        np.testing.assert_allclose(
            y[0, 0], signal.correlate(x, w, "valid", "direct"), rtol=1e-10, atol=1e-10
        )
        full = getattr(cconv, f"conv_transpose{rank}d")(x[None, None], w[None, None])
        np.testing.assert_allclose(
            full[0, 0], signal.convolve(x, w, "full", "direct"), rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("kernel", ((3, 3), (1, 3), (3, 1), (5, 5)))
def test_winograd_of_odd_channels(kernel, dtype):
    """Where the transformed weights of a position fill their cache lines, the next position is not written over."""
    rng = np.random.default_rng(11)
    # five taps and one column need eight channels, for the promised error
    for C in (1, 3, 4, 12, 33, 48) if kernel in ((3, 3), (1, 3)) else (12, 33, 48):
        x = rng.standard_normal((1, C, 9, 11)).astype(dtype)
        for O in (2, 15, 33, 37, 44, 47, 64):
            w = rng.standard_normal((O, C, *kernel)).astype(dtype)
            wanted = cconv.conv2d(x, w, algorithm="direct")
            for y in (
                cconv.conv2d(x, w, algorithm="winograd"),
                cconv.prepack(w, algorithm="winograd")(x),
                cconv.prepack(w)(x),
            ):
                assert abs(y - wanted).max() <= 1e-4 * abs(wanted).max(), (C, O)
