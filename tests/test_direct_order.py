"""algorithm="direct" sums in an order of the weight's shape alone: a window of the input has the bits of the whole."""

import numpy as np
import pytest

import cconv

CALLS = 120


def drawn(rng):
    rank = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2, 3, 24]))
    channels = int(rng.choice([1, 2, 3] if groups > 3 else [1, 3, 20, 70]))
    outputs = int(rng.choice([1, 2, 3, 4, 9, 20]))
    k = [int(n) for n in rng.choice([1, 1, 2, 3, 3, 4, 5], rank)]
    s, d = ([int(n) for n in rng.choice([1, 1, 2, 3], rank)] for _ in range(2))
    size = [int(n) for n in rng.integers(1, (200, 34, 10)[rank - 1], rank)]
    return groups, channels, outputs, k, s, d, size


def window(rng, size):
    """From and to, often a single position of an axis."""
    first = [int(rng.integers(n)) for n in size]
    count = [int(rng.choice([1, 2, 3, rng.integers(1, n + 1)])) for n in size]
    return first, [min(n, a + m) for n, a, m in zip(size, first, count, strict=True)]


def box(first, last):
    return (..., *(slice(a, b) for a, b in zip(first, last, strict=True)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_windows_of_convolutions(dtype):
    rng = np.random.default_rng(14)
    for _ in range(CALLS):
        groups, channels, outputs, k, s, d, out = drawn(rng)
        size = [(n - 1) * t + e * (j - 1) + 1 for n, t, e, j in zip(out, s, d, k, strict=True)]
        x = (rng.standard_normal((1, groups * channels, *size)) * 9).astype(dtype)
        w = (rng.standard_normal((groups * outputs, channels, *k)) * 9).astype(dtype)
        params = {"stride": s, "dilation": d, "groups": groups, "algorithm": "direct"}
        convolve = getattr(cconv, f"conv{len(k)}d")
        a, b = window(rng, out)
        low = [i * t for i, t in zip(a, s, strict=True)]
        high = [(j - 1) * t + e * (n - 1) + 1 for j, t, e, n in zip(b, s, d, k, strict=True)]
        part, whole = convolve(x[box(low, high)], w, **params), convolve(x, w, **params)
        np.testing.assert_array_equal(part, whole[box(a, b)], str((x.shape, w.shape, params, a, b)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_windows_of_transposed_convolutions(dtype):
    rng = np.random.default_rng(15)
    compared = 0
    for _ in range(CALLS):
        groups, channels, outputs, k, s, d, size = drawn(rng)
        x = (rng.standard_normal((1, groups * channels, *size)) * 9).astype(dtype)
        w = (rng.standard_normal((groups * channels, outputs, *k)) * 9).astype(dtype)
        params = {"stride": s, "dilation": d, "groups": groups, "algorithm": "direct"}
        convolve = getattr(cconv, f"conv_transpose{len(k)}d")
        a, b = window(rng, size)
        part, whole = convolve(x[box(a, b)], w, **params), convolve(x, w, **params)
        # the outputs that collect inputs of the window alone
        origin = [i * t for i, t in zip(a, s, strict=True)]
        low = [
            0 if i == 0 else max(i * t, (i - 1) * t + e * (n - 1) + 1)
            for i, t, e, n in zip(a, s, d, k, strict=True)
        ]
        high = [
            min(o + m, y if j == n else j * t)
            for o, m, y, j, n, t in zip(
                origin, part.shape[2:], whole.shape[2:], b, size, s, strict=True
            )
        ]
        if any(i >= j for i, j in zip(low, high, strict=True)):
            continue
        compared += 1
        shifted = box(*([i - o for i, o in zip(at, origin, strict=True)] for at in (low, high)))
        what = str((x.shape, w.shape, params, a, b))
        np.testing.assert_array_equal(part[shifted], whole[box(low, high)], what)
    assert compared > CALLS // 4


def test_windows_of_pools():
    """Dilated windows over a whole axis, and windows in the padding alone, which are no runs of a plane."""
    rng = np.random.default_rng(16)
    for _ in range(1000):
        k, s, d = (rng.integers(1, n, 2).tolist() for n in (6, 6, 4))
        size, padding = rng.integers(1, 8, 2), rng.integers(0, 6, (2, 2))
        x = np.round(rng.standard_normal((1, 2, *size)) * 30)
        wide = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=-np.inf)
        try:
            y = cconv.max_pool2d(x, k, s, dilation=d, padding=tuple(map(tuple, padding.tolist())))
        except ValueError:
            continue
        spans = [e * (n - 1) + 1 for e, n in zip(d, k, strict=True)]
        views = np.lib.stride_tricks.sliding_window_view(wide, spans, (2, 3))
        expected = views[:, :, :: s[0], :: s[1], :: d[0], :: d[1]].max((4, 5))
        np.testing.assert_array_equal(y, expected, str((x.shape, k, s, d, padding.tolist())))
