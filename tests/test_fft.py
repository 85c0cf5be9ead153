"""algorithm="fft" beside PyTorch in float64, and where auto chooses it."""

import copy
import pickle

import numpy as np
import pytest

import cconv

torch = pytest.importorskip("torch")
F = torch.nn.functional


def exact(rank, x, w, b, stride, padding, dilation, groups):
    parts = [torch.from_numpy(np.asarray(a, np.float64)) for a in (x, w, b)]
    return getattr(F, f"conv{rank}d")(*parts, stride, padding, dilation, groups).numpy()


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_beside_torch(rank, dtype):
    rng = np.random.default_rng(rank)
    for call in range(25):
        groups = int(rng.integers(1, 3))
        c, o = (int(v) for v in rng.integers(1, 4, 2))
        kernel = [int(k) for k in rng.integers(1, (90, 20, 6)[rank - 1], rank)]
        dilation = tuple(int(d) for d in rng.choice([1, 1, 2, 3], rank))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        size = [int(r + rng.integers(0, (900, 60, 12)[rank - 1])) for r in reach]
        stride = tuple(int(s) for s in rng.choice([1, 1, 2, 5], rank))
        padding = tuple(int(rng.integers(0, r)) for r in reach)
        x = rng.standard_normal((2, c * groups, *size)).astype(dtype)
        w = rng.standard_normal((o * groups, c, *kernel)).astype(dtype)
        b = rng.standard_normal(o * groups).astype(dtype)
        args = (stride, padding, dilation, groups)
        result = getattr(cconv, f"conv{rank}d")(x, w, b, *args, algorithm="fft")
        packed = cconv.prepack(w, b, *args, algorithm="fft")
        expected = exact(rank, x, w, b, *args)
        assert result.dtype == x.dtype and result.shape == expected.shape
        scale = np.sqrt(c * np.prod(kernel)) + 1
        bound = {"float32": 4e-6, "float64": 1e-14, "float16": 4e-3}[dtype] * scale
        assert abs(result - expected).max() < bound, (call, x.shape, w.shape, *args)
        assert np.array_equal(packed(x), result)
        out = np.empty_like(result)
        assert getattr(cconv, f"conv{rank}d")(x, w, b, *args, algorithm="fft", out=out) is out
        assert np.array_equal(out, result)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes(mode):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 40, 50)), rng.standard_normal((4, 3, 9, 13))
    padded = np.pad(
        x,
        ((0, 0), (0, 0), (4, 4), (6, 6)),
        {"replicate": "edge", "circular": "wrap"}.get(mode, mode),
    )
    expected = F.conv2d(torch.from_numpy(padded), torch.from_numpy(w)).numpy()
    result = cconv.conv2d(x, w, padding=(4, 6), padding_mode=mode, algorithm="fft")
    assert abs(result - expected).max() < 1e-11


def test_complex():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2, 300)) + 1j * rng.standard_normal((1, 2, 300))
    w = rng.standard_normal((3, 2, 40)) + 1j * rng.standard_normal((3, 2, 40))
    expected = F.conv1d(torch.from_numpy(x), torch.from_numpy(w)).numpy()
    assert abs(cconv.conv1d(x, w, algorithm="fft") - expected).max() < 1e-11


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_windows(value):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 1, 90_000)), rng.standard_normal((1, 1, 501))
    x[0, 0, 7_000] = x[0, 0, 81_234] = value
    result = cconv.conv1d(x, w, padding=250, algorithm="fft")
    clean = cconv.conv1d(np.where(np.isfinite(x), x, 0), w, padding=250, algorithm="direct")
    touched = np.zeros(90_000, bool)
    touched[6_750:7_251] = touched[80_984:81_485] = True
    assert not np.isfinite(result[0, 0, touched]).any()
    assert abs(result - clean)[0, 0, ~touched].max() < 1e-10


def test_auto_chooses_it_for_large_kernels():
    x, w = np.zeros((1, 1, 200_000), np.float32), np.zeros((1, 1, 8_001), np.float32)
    assert cconv.explain(cconv.conv1d, x, w)["algorithm"] == "fft"
    assert cconv.explain(cconv.conv1d, x, w[..., :15])["algorithm"] == "direct"
    assert (
        cconv.explain(cconv.conv1d, x, w, padding=3, padding_mode="reflect")["algorithm"]
        == "direct"
    )


def test_prepacked_pickles():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 1, 5_000)), rng.standard_normal((1, 1, 700))
    run = cconv.prepack(w, algorithm="fft")
    expected = run(x)
    for again in (copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
        assert np.array_equal(again(x), expected)


def test_float32_error_keeps_the_promise():
    """No more than 4 times that of direct summation, which test_accuracy holds to plain sequential summation."""
    rng = np.random.default_rng(0)
    for shape, kernel in (((1, 2, 6000), (3, 2, 257)), ((1, 1, 80, 80), (1, 1, 17, 17))):
        x, w = (rng.standard_normal(s).astype(np.float32) for s in (shape, kernel))
        f = getattr(cconv, f"conv{len(shape) - 2}d")
        true = f(x.astype(np.float64), w.astype(np.float64), algorithm="direct")
        errors = [np.sqrt(np.mean((f(x, w, algorithm=a) - true) ** 2)) for a in ("fft", "direct")]
        assert errors[0] <= 4 * errors[1]
