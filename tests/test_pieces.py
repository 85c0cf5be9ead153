"""Pieces change nothing: with a bound of some kilobytes every call is cut, and gives what it gives whole."""

import numpy as np
import pytest

import cconv
from cconv._pieces import Piecewise
from cconv._plan import pieces
from cconv._run.entry import forget


@pytest.fixture
def tiny(monkeypatch):
    """Cuts everything; returns the calls that were cut."""
    counted = []
    real = Piecewise.__call__

    def counting(self, arrays, out):
        counted.append(self)
        return real(self, arrays, out)

    def start():
        monkeypatch.setattr(pieces, "PIECE", 3000)
        monkeypatch.setattr(pieces, "ROW", 20)
        monkeypatch.setattr(Piecewise, "__call__", counting)
        forget()
        return counted

    yield start
    forget()


def draw_pool(rng):
    rank = int(rng.integers(1, 4))
    kernel = tuple(int(n) for n in rng.integers(1, 5, rank))
    stride = tuple(int(n) for n in rng.integers(1, 4, rank))
    dilation = tuple(int(n) for n in rng.integers(1, 3, rank))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(tuple(int(n) for n in rng.integers(0, r, 2)) for r in reach)
    least = 1 if rng.random() < 0.2 else 4
    size = [r + int(rng.integers(0, (300, 30, 10)[rank - 1])) for r in reach]
    if least == 1:
        size[0] = reach[0]
    lead = tuple(int(n) for n in rng.integers(1, 5, 1 + (rng.random() < 0.7)))
    dtype = str(rng.choice(["f2", "f4", "f8", "u1", "i2", "i8", "u8", ">f4", "?"]))
    x = (rng.standard_normal((*lead, *size)) * 9).astype(dtype)
    if x.dtype.kind == "f" and rng.random() < 0.3:
        x[rng.random(x.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return rank, x, options, {"ceil_mode": bool(rng.random() < 0.5)}


def pool_calls(rng):
    rank, x, options, ceil = draw_pool(rng)
    most = getattr(cconv, f"max_pool{rank}d")
    yield lambda out=None: most(x, **options, **ceil, out=out)
    yield lambda: most(x, **options, **ceil, return_indices=True)
    more = {"count_include_pad": bool(rng.random() < 0.5)}
    if rng.random() < 0.3:
        more["divisor_override"] = 3
    mean = getattr(cconv, f"avg_pool{rank}d")
    yield lambda out=None: mean(x, **options, **ceil, **more, out=out)
    norm = getattr(cconv, f"lp_pool{rank}d")
    kind = float(rng.choice([1, 2, 3, np.inf]))
    yield lambda out=None: norm(x, kind, **options, **ceil, out=out)
    bins = tuple(int(rng.integers(1, n + 2)) for n in x.shape[-rank:])
    yield lambda out=None: getattr(cconv, f"adaptive_avg_pool{rank}d")(x, bins, out=out)
    yield lambda: getattr(cconv, f"adaptive_max_pool{rank}d")(x, bins, return_indices=True)


def test_pools(tiny):
    rng = np.random.default_rng(0)
    calls = [call for _ in range(150) for call in pool_calls(rng)]
    expected = [call() for call in calls]
    cut = tiny()
    for call, whole in zip(calls, expected, strict=True):
        found = call()
        if isinstance(whole, tuple):
            assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(whole, found, strict=True)
                       if a.dtype.kind == "f")  # fmt: skip
            assert np.array_equal(whole[1], found[1]) and whole[1].dtype == found[1].dtype
            assert whole[0].dtype == found[0].dtype and whole[0].tobytes() == found[0].tobytes()
            continue
        assert whole.dtype == found.dtype and found.flags.c_contiguous
        assert whole.tobytes() == found.tobytes()
        out = np.zeros(whole.shape[::-1], whole.dtype).transpose()
        assert call(out=out) is out and np.array_equal(out, whole, equal_nan=True)
    assert len(cut) > 300


def draw_conv(rng, transposed):
    rank = int(rng.integers(1, 4))
    groups, c, o = (int(n) for n in rng.choice([1, 1, 2, 3, 32], 3))
    groups = min(groups, 3)
    kernel = (3,) * rank if rng.random() < 0.4 else tuple(int(n) for n in rng.integers(1, 5, rank))
    stride = tuple(int(n) for n in rng.integers(1, 4, rank)) if rng.random() < 0.6 else (1,) * rank
    dilation = tuple(int(n) for n in rng.integers(1, 3, rank))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [r + int(rng.integers(0, (300, 30, 10)[rank - 1])) for r in reach]
    padding = tuple(tuple(int(n) for n in rng.integers(0, min(3, L), 2)) for L in size)
    if transposed:
        padding = (0,) * rank
    dtypes = [str(d) for d in rng.choice(["f2", "f4", "f8", "u1", "i2", "i8", ">f4", "c8"], 2)]
    if rng.random() < 0.5:
        dtypes[1] = dtypes[0]
    lead = (int(rng.integers(1, 4)),) if rng.random() < 0.7 else ()
    x = rng.integers(-5, 5, (*lead, c * groups, *size)).astype(dtypes[0])
    shape = (c * groups, o) if transposed else (o * groups, c)
    w = rng.integers(-5, 5, (*shape, *kernel)).astype(dtypes[1])
    b = rng.integers(-5, 5, o * groups).astype(dtypes[1]) if rng.random() < 0.5 else None
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if not transposed and rng.random() < 0.3:
        options["padding_mode"] = str(rng.choice(["reflect", "replicate", "circular"]))
    function = getattr(cconv, f"conv_transpose{rank}d" if transposed else f"conv{rank}d")
    return lambda out=None: function(x, w, b, **options, out=out)


@pytest.mark.parametrize("transposed", (False, True))
def test_convolutions(tiny, transposed):
    """On small integers in every dtype, whose sums are exact (float16: the same rounding at the end)."""
    rng = np.random.default_rng(1)
    calls = [draw_conv(rng, transposed) for _ in range(300)]
    with np.errstate(over="ignore"):
        expected = [call() for call in calls]
        cut = tiny()
        for call, whole in zip(calls, expected, strict=True):
            found = call()
            assert whole.dtype == found.dtype
            # Winograd's sums of integers are not exact
            assert np.allclose(whole, found, rtol=1e-3, atol=1e-2)
            out = np.zeros(whole.shape[::-1], whole.dtype).transpose()
            assert call(out=out) is out and np.allclose(out, found, rtol=1e-3, atol=1e-2)
    assert len(cut) > 150


def test_an_output_that_overlaps(tiny):
    """Pieces are written to `out` while others are still to be read: not if it shares memory with the input."""
    rng = np.random.default_rng(2)
    memory = rng.standard_normal(4 * 40 * 40 + 500).astype("f2")
    x, out = memory[:-500].reshape(1, 4, 40, 40), memory[500:].reshape(1, 4, 40, 40)
    expected = cconv.max_pool2d(x.copy(), 3, 1, 1)
    w = np.eye(4, dtype="f2").reshape(4, 4, 1, 1)
    kept = memory.copy()
    tiny()
    assert np.array_equal(cconv.max_pool2d(x, 3, 1, 1, out=out), expected)
    memory[:] = kept
    expected = x.copy()
    assert np.array_equal(cconv.conv2d(x, w, out=out), expected)


def test_a_sample_alone(tiny):
    """Where a sample is cut depends on itself: the same bits in any batch."""
    tiny()
    rng = np.random.default_rng(3)
    x = rng.standard_normal((5, 32, 20, 20)).astype("f2")
    w = rng.standard_normal((33, 32, 3, 3)).astype("f2")
    whole = cconv.conv2d(x, w, padding=1)
    for n in range(5):
        assert cconv.conv2d(x[n : n + 1], w, padding=1).tobytes() == whole[n].tobytes()
        assert cconv.conv2d(x[n], w, padding=1).tobytes() == whole[n].tobytes()
