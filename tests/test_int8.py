"""dtype= of convolutions, and the kernels of 8-bit integers behind it, against sums in int64 and ONNX Runtime's."""

import itertools
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from guarded import Fence

import cconv

BYTES = (np.uint8, np.int8)
KERNELS = {"int8", "int8_rows"}


def draw(rng, dtype, shape, extremes=False):
    """Any values, or only the lowest and the highest."""
    limits = np.iinfo(dtype)
    if extremes:
        return rng.choice([limits.min, limits.max], shape).astype(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def exact(name, x, w, b=None, **options):
    """In int64, whose sums wrap to those of 32 bits."""
    b = None if b is None else b.astype(np.int64)
    y = getattr(cconv, name)(x.astype(np.int64), w.astype(np.int64), b, **options)
    return y.astype(np.int32)


def problem(rng):
    """A call's rank, shapes and options: every mode, odd sizes, few and many channels, groups, strides, dilations."""
    rank = int(rng.integers(1, 4))
    channels = int(rng.choice([1, 1, 2, 3, 4, 5, 7, 16, 33]))
    outputs = int(rng.choice([1, 2, 3, 4, 7, 17, 40]))
    groups = int(rng.choice([1, 1, 1, 2, 5]))
    if rng.random() < 0.2:
        channels, outputs, groups = 1, 1, int(rng.choice([3, 16, 20]))
    kernel = tuple(int(v) for v in rng.choice([1, 2, 3, 3, 4, 5, 7], rank))
    dilation = tuple(int(v) for v in rng.choice([1, 1, 1, 2, 3, 4], rank))
    most = {1: 200, 2: 40, 3: 12}[rank]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(int(max(r, rng.integers(1, most), 4)) for r in reach)
    options = {
        "stride": tuple(int(v) for v in rng.choice([1, 1, 1, 2, 3], rank)),
        "padding": tuple(tuple(int(v) for v in rng.integers(0, 4, 2)) for _ in range(rank)),
        "dilation": dilation,
        "groups": groups,
        "padding_mode": str(rng.choice(["zeros"] * 5 + ["reflect", "replicate", "circular"])),
    }
    shapes = (
        (int(rng.integers(1, 4)), channels * groups, *size),
        (outputs * groups, channels, *kernel),
    )
    return f"conv{rank}d", shapes, options


def laid_out(x, how):
    if how == 1:
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    if how == 2:
        return np.asfortranarray(x)
    return np.repeat(x, 2, -1)[..., ::2] if how == 3 else x


def check_drawn(seed, calls):
    """Calls drawn by a seed, plain and prepacked, with 1 to 3 threads; how often each kernel ran."""
    rng, seen = np.random.default_rng(seed), {}
    while sum(seen.values()) < calls:
        name, (shape, weight), options = problem(rng)
        x_dtype, w_dtype = (BYTES[i] for i in rng.integers(0, 2, 2))
        x = laid_out(draw(rng, x_dtype, shape, rng.random() < 0.4), int(rng.integers(4)))
        w = draw(rng, w_dtype, weight, rng.random() < 0.4)
        b = None
        if rng.random() < 0.5:
            b = draw(rng, rng.choice([np.int8, np.int32]), weight[0], rng.random() < 0.5)
        try:
            expected = exact(name, x, w, b, **options)
        except ValueError:  # padding that the mode does not allow
            continue
        cconv.set_num_threads(int(rng.integers(1, 4)))
        results = [
            getattr(cconv, name)(x, w, b, dtype=np.int32, **options),
            cconv.prepack(w, b, dtype="int32", **options)(x),
            getattr(cconv, name)(x[-1], w, b, dtype=np.int32, **options),
        ]
        for result, wanted in zip(results, (expected, expected, expected[-1]), strict=True):
            assert result.dtype == np.int32
            np.testing.assert_array_equal(result, wanted, str((name, shape, weight, options)))
        said = cconv.explain(name, x, w, b, dtype=np.int32, **options)
        seen[said["kernel"]] = seen.get(said["kernel"], 0) + 1
    assert set(seen) == KERNELS, seen


@pytest.fixture(autouse=True)
def threads():
    before = cconv.get_num_threads()
    yield
    cconv.set_num_threads(before)


@pytest.mark.parametrize("seed", range(4))
def test_drawn(seed):
    check_drawn(seed, 60)


@pytest.mark.parametrize(
    "variant", ["baseline", "lowered", "avx2", "avx512", "avx512 without VNNI"]
)
def test_instruction_sets(variant):
    isa = variant.split()[0]
    config = cconv.show_config()
    if isa not in config["isa_available"]:
        pytest.skip(f"{isa} is not built, or not of this processor")
    allowed = "0" if "without" in variant else "1"
    program = "import cconv, test_int8; test_int8.check_drawn(9, 60); print(cconv.show_config()['isa_int8'])"
    environment = {
        **os.environ, "CCONV_ISA": isa, "CCONV_VNNI": allowed,
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (
        (isa,) if allowed == "0" or isa != "avx512" else (isa, "avx512vnni")
    )


@pytest.mark.parametrize(("x_dtype", "w_dtype"), [*itertools.product(BYTES, BYTES)])
@pytest.mark.parametrize("channels", [1, 3, 300])
def test_extremes(x_dtype, w_dtype, channels):
    """Every product the lowest or highest: what saturates in 16 bits, or counts bytes with the wrong sign, shows."""
    for x_value, w_value in itertools.product(
        *([np.iinfo(t).min, np.iinfo(t).max] for t in (x_dtype, w_dtype))
    ):
        x = np.full((1, channels, 9, 40), x_value, x_dtype)
        w = np.full((20, channels, 3, 3), w_value, w_dtype)
        y = cconv.conv2d(x, w, dtype=np.int32)
        assert (y == int(x_value) * int(w_value) * channels * 9).all()


def test_sums_wrap():
    """Past 2^31, as NumPy's int32 does."""
    x, w = np.full((1, 70000, 1), 255, np.uint8), np.full((4, 70000, 1), -128, np.int8)
    assert (
        cconv.conv1d(x, w, dtype=np.int32) == np.int64(70000 * 255 * -128).astype(np.int32)
    ).all()
    b = np.full(4, np.iinfo(np.int32).max, np.int32)
    y = cconv.conv1d(x[:, :1], np.full((4, 1, 1), 127, np.int8), b, dtype=np.int32)
    assert (y == np.int64(2**31 - 1 + 255 * 127).astype(np.int32)).all()


def test_large_layers_on_threads():
    """Several boxes, k blocks and splits of the output channels."""
    rng = np.random.default_rng(5)
    for n, c, size, o, k, stride in (
        (1, 260, 29, 130, 3, 1),
        (3, 512, 7, 256, 3, 1),
        (2, 70, 57, 64, 5, 2),
    ):
        x, w = draw(rng, np.int8, (n, c, size, size)), draw(rng, np.int8, (o, c, k, k))
        # exact in float64, and fast
        wide = x.astype(float), w.astype(float)
        expected = cconv.conv2d(*wide, padding=1, stride=stride, algorithm="direct")
        for count in (1, 2, 3):
            cconv.set_num_threads(count)
            y = cconv.conv2d(x, w, padding=1, stride=stride, dtype=np.int32)
            np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    ("shape", "weight", "dilation"),
    [
        ((2, 6, 90, 31), (20, 6, 3, 3), (40, 1)),
        ((1, 5, 90, 31), (2, 5, 3, 3), (40, 2)),
        ((1, 3, 30, 20, 9), (20, 3, 3, 3, 2), (12, 9, 1)),
        ((2, 3, 5000), (20, 3, 3), (2400,)),
        ((1, 4, 60, 90), (4, 1, 3, 3), (25, 40)),
    ],
)
def test_taps_far_apart(shape, weight, dilation):
    """Dilations longer than a box: only the depths and rows that a tap touches are filled, and every column."""
    rng, name = np.random.default_rng(7), f"conv{len(dilation)}d"
    options = {"dilation": dilation, "padding": 1, "groups": shape[1] // weight[1]}
    for x_dtype, w_dtype in itertools.product(BYTES, BYTES):
        x, w = draw(rng, x_dtype, shape), draw(rng, w_dtype, weight)
        y = getattr(cconv, name)(x, w, dtype=np.int32, **options)
        np.testing.assert_array_equal(y, exact(name, x, w, **options))
        assert cconv.explain(name, x, w, dtype=np.int32, **options)["kernel"] in KERNELS


def test_guard_pages():
    rng = np.random.default_rng(3)
    for _ in range(60):
        name, (shape, weight), options = problem(rng)
        x, w = draw(rng, np.uint8, shape), draw(rng, np.int8, weight)
        try:
            expected = exact(name, x, w, **options)
        except ValueError:
            continue
        fence = Fence()
        for after in (False, True):
            placed = [fence.place(a, after) for a in (x, w, np.zeros_like(expected))]
            y = getattr(cconv, name)(*placed[:2], out=placed[2], dtype=np.int32, **options)
            np.testing.assert_array_equal(y, expected)
        del placed, y
        fence.close()


def test_explained():
    x, w = np.zeros((1, 64, 28, 28), np.uint8), np.zeros((64, 64, 3, 3), np.int8)
    said = cconv.explain("conv2d", x, w, dtype=np.int32)
    assert (said["kernel"], said["computed_in"], said["dtype"]) == ("int8", "int32", "int32")
    assert "neighbouring channels" in said["reason"] and said["tile"]
    said = cconv.explain("conv2d", x, w[:, :1], groups=64, dtype=np.int32)
    assert said["kernel"] == "int8_rows" and "taps of a row" in said["reason"]
    assert cconv.explain("conv2d", x, w)["dtype"] == "int16"


def test_a_sample_alone_and_shared_weights():
    rng = np.random.default_rng(2)
    x, w = draw(rng, np.int8, (5, 20, 9, 9)), draw(rng, np.int8, (16, 20, 3, 3))
    run = cconv.prepack(w, padding=1, dtype=np.int32)
    y = run(x)
    # the same weights, packed once more for unsigned inputs
    np.testing.assert_array_equal(
        run(x.view(np.uint8)), exact("conv2d", x.view(np.uint8), w, padding=1)
    )
    np.testing.assert_array_equal(run(x), y)
    for i in range(5):
        np.testing.assert_array_equal(run(x[i]), y[i])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(run))(x), y)


# ---------------------------------------------------------------- dtype= in general


@pytest.mark.parametrize(
    ("given", "wanted", "limit"),
    [
        ("int16", "int32", 1000), ("int16", "int64", 32767), ("uint8", "uint32", 255), ("int8", "float64", 127),
        ("uint16", "float32", 60), ("float16", "float32", 0), ("float32", "float64", 0), ("float32", "complex64", 0),
        ("complex64", "complex128", 0), ("float32", "float32", 0), (">i2", "int32", 1000), ("uint8", "int64", 255),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv3d", "conv_transpose2d"])
def test_wide(name, given, wanted, limit):
    """As the call on arrays of that dtype, to the bit."""
    rng = np.random.default_rng(0)
    rank = int(name[-2])
    shapes = (2, 4, *(9, 8, 7)[:rank]), (4, 4, *(3, 2, 3)[:rank])
    x, w = (
        (rng.integers(-limit, limit, s) if limit else rng.standard_normal(s)).astype(given)
        for s in shapes
    )
    function = getattr(cconv, name)
    y = function(x, w, padding=1, dtype=wanted)
    expected = function(x.astype(wanted), w.astype(wanted), padding=1)
    assert y.dtype == wanted and y.tobytes() == expected.tobytes()
    kept = cconv.prepack(w, padding=1, dtype=np.dtype(wanted), transposed="transpose" in name)
    np.testing.assert_allclose(kept(x), expected, rtol=1e-5, atol=1e-4)
    out = np.empty_like(y)
    assert function(x, w, padding=1, dtype=wanted, out=out) is out
    np.testing.assert_array_equal(out, y)


def test_bfloat16_is_widened():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, w = np.ones((1, 2, 5, 5), bfloat16), np.full((3, 2, 3, 3), 0.125, bfloat16)
    y = cconv.conv2d(x, w, dtype=np.float32)
    assert y.dtype == np.float32 and (y == 2.25).all()


X8, W8 = np.ones((1, 2, 5, 5), np.uint8), np.ones((3, 2, 3, 3), np.int8)


@pytest.mark.parametrize(
    ("dtype", "error"),
    [
        (np.int8, "dtype must hold every int16"), ("uint16", "dtype must hold every int16"),
        (np.float16, "dtype must hold every int16"), (bool, "dtype must be one of real"),
        (object, "dtype must be one of real"), (np.longdouble, "dtype must be one of real"),
        ("no", "dtype must be a dtype"), (3, "dtype must be a dtype"),
    ],
)  # fmt: skip
def test_refused(dtype, error):
    for _ in range(2):
        with pytest.raises(TypeError, match=f"conv2d: {error}"):
            cconv.conv2d(X8, W8, dtype=dtype)
    if "int16" not in error:
        with pytest.raises(TypeError, match=f"prepack: {error}"):
            cconv.prepack(W8, dtype=dtype)


def test_out_has_that_dtype():
    out = np.empty((1, 3, 3, 3), np.int32)
    assert cconv.conv2d(X8, W8, out=out, dtype=np.int32) is out and (out == 18).all()
    with pytest.raises(TypeError, match="out must have dtype int32, got int64"):
        cconv.conv2d(X8, W8, out=out.astype(np.int64), dtype=np.int32)
    with pytest.raises(TypeError, match="prepack: dtype must hold every int32"):
        cconv.prepack(W8, np.ones(3, np.int32), dtype=np.int16)


def test_without_it_integers_wrap():
    x, w = np.full((1, 1, 1, 3), 200, np.uint8), np.full((1, 1, 1, 3), 2, np.uint8)
    assert cconv.conv2d(x, w).item() == 1200 % 256 and cconv.conv2d(x, w).dtype == np.uint8
    assert cconv.conv2d(x, w, dtype=np.int32).item() == 1200
