"""interop.keras: beside PyTorch with TensorFlow's padding written out, and Keras' own tests in its NumPy backend."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv.interop import keras as ours

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(0)
LAST, FIRST = "channels_last", "channels_first"


def draw(*shape):
    return RNG.standard_normal(shape)


def same(L, k, s, d=1):
    """TensorFlow: ceil(L / s) outputs, the odd zero after."""
    total = max((-(-L // s) - 1) * s + d * (k - 1) + 1 - L, 0)
    return total // 2, total - total // 2


def padded(x, kernel, s, d, padding, value=0.0):
    """x is (N, C, *spatial) and becomes a tensor."""
    sizes = zip(x.shape[2:], kernel, strict=True)
    pads = [same(L, k, s, d) if padding == "same" else (0, 0) for L, k in sizes]
    return F.pad(torch.from_numpy(x), [p for pair in pads[::-1] for p in pair], value=value)


def of(x, data_format):
    return np.moveaxis(x, 1, -1) if data_format == LAST else x


def check(result, expected, data_format):
    expected = of(np.asarray(expected), data_format)
    assert type(result) is np.ndarray and result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-10, strict=True)


GEOMETRIES = [
    (padding, s, d) for padding in ("valid", "same") for s, d in ((1, 1), (2, 1), (3, 1), (1, 2))
]


@pytest.mark.parametrize("data_format", (LAST, FIRST))
@pytest.mark.parametrize("padding,s,d", GEOMETRIES)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_convolutions(rank, padding, s, d, data_format):
    x = draw(2, 4, *(9, 8, 7)[:rank])
    for kernel in ((3, 2, 1)[:rank], (4, 3, 2)[:rank]):
        tensor = padded(x, kernel, s, d, padding)
        options = {"strides": s, "padding": padding, "data_format": data_format}
        torchs = getattr(F, f"conv{rank}d")
        for groups in (1, 2):
            w = draw(*kernel, 4 // groups, 6)
            turned = torch.from_numpy(np.moveaxis(w, (-1, -2), (0, 1)).copy())
            expected = torchs(tensor, turned, None, s, 0, d, groups)
            result = ours.conv(of(x, data_format), w, dilation_rate=d, **options)
            check(result, expected, data_format)
        w, point = draw(*kernel, 4, 3), draw(*(1,) * rank, 12, 5)
        grouped = np.moveaxis(w, (-2, -1), (0, 1)).reshape(12, 1, *kernel)
        expected = torchs(tensor, torch.from_numpy(grouped), None, s, 0, d, 4)
        result = ours.depthwise_conv(of(x, data_format), w, dilation_rate=d, **options)
        check(result, expected, data_format)
        expected = torchs(expected, torch.from_numpy(np.moveaxis(point, (-1, -2), (0, 1)).copy()))
        result = ours.separable_conv(of(x, data_format), w, point, dilation_rate=d, **options)
        check(result, expected, data_format)


@pytest.mark.parametrize("data_format", (LAST, FIRST))
@pytest.mark.parametrize("padding,s,d", GEOMETRIES)
@pytest.mark.parametrize("k", (1, 2, 3, 4))
def test_conv_transpose(k, padding, s, d, data_format):
    """Keras' same is the gradient of TensorFlow's same: L * s outputs, cropped as that convolution pads."""
    x, w = draw(2, 3, 5), draw(k, 4, 3)
    turned = torch.from_numpy(np.moveaxis(w, (-1, -2), (0, 1)).copy())
    whole = F.conv_transpose1d(torch.from_numpy(x), turned, None, s, dilation=d)
    extent = d * (k - 1) + 1
    if padding == "valid":
        expected = F.pad(whole, (0, max(s - extent, 0)))
    else:
        before = same(5 * s, k, s, d)[0]
        expected = F.pad(whole, (0, s))[..., before : before + 5 * s]
    result = ours.conv_transpose(
        of(x, data_format), w, s, padding, data_format=data_format, dilation_rate=d
    )
    check(result, expected, data_format)


@pytest.mark.parametrize("data_format", (LAST, FIRST))
@pytest.mark.parametrize("padding", ("valid", "same"))
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_pools(rank, padding, data_format):
    x = draw(2, 3, *(9, 8, 7)[:rank])
    for k, s in ((2, 2), (3, 2), (3, 1), (2, 3)):
        kernel = (k,) * rank
        tensor = padded(x, kernel, s, 1, padding, -np.inf)
        expected = getattr(F, f"max_pool{rank}d")(tensor, k, s)
        check(ours.max_pool(of(x, data_format), k, s, padding, data_format), expected, data_format)
        average = getattr(F, f"avg_pool{rank}d")
        ones = padded(np.ones_like(x), kernel, s, 1, padding)
        expected = average(padded(x, kernel, s, 1, padding), k, s) / average(ones, k, s)
        check(
            ours.average_pool(of(x, data_format), k, s, padding, data_format),
            expected,
            data_format,
        )
    for name, torchs in (("average", "avg"), ("max", "max")):
        expected = getattr(F, f"adaptive_{torchs}_pool{rank}d")(torch.from_numpy(x), 4)
        result = getattr(ours, f"adaptive_{name}_pool")(of(x, data_format), 4, data_format)
        check(result, expected, data_format)


def test_dtypes():
    x, w = draw(1, 6, 6, 2), draw(3, 3, 2, 2)
    for dtype in ("float16", "float32", "float64", "int32"):
        a, b = x.astype(dtype), w.astype(dtype)
        assert ours.conv(a, b).dtype == dtype
        assert ours.conv_transpose(a, b, 4).dtype == dtype
        assert ours.max_pool(a, 2).dtype == dtype
        assert ours.average_pool(a, 2).dtype == ("float64" if dtype == "int32" else dtype)
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    a, b = x.astype(bfloat16), w.astype(bfloat16)
    expected = ours.conv(a.astype(np.float32), b.astype(np.float32)).astype(bfloat16)
    assert ours.conv(a, b).dtype == bfloat16 and np.array_equal(ours.conv(a, b), expected)
    assert ours.max_pool(a, 2).dtype == ours.adaptive_average_pool(a, 2).dtype == bfloat16


def test_bad_input():
    x, w = draw(1, 6, 6, 2), draw(3, 3, 2, 2)
    for call, words in (
        (lambda: ours.conv(x, w, padding="causal"), "padding must be 'valid' or 'same'"),
        (lambda: ours.conv(x, w, data_format="NCHW"), "data_format"),
        (lambda: ours.conv(x, w, strides=(1, 2, 3)), "strides must be an int or 2"),
        (lambda: ours.conv(x, w, strides=0), "stride"),
        (lambda: ours.conv(x, draw(7, 7, 2, 2)), "empty output"),
        (lambda: ours.conv(x, draw(3, 3, 4, 2)), "input channels"),
        (lambda: ours.conv(x[0], w), "as many axes"),
        (lambda: ours.depthwise_conv(x, draw(3, 3, 1, 2)), "input channels"),
        (lambda: ours.conv_transpose(x, draw(3, 3, 2, 4)), "input channels"),
        (lambda: ours.conv_transpose(x, w, padding="full"), "padding must be"),
        (lambda: ours.max_pool(x, 7), "max_pool2d"),
        (lambda: ours.max_pool(x[0, 0], 2), "spatial axes"),
        (lambda: ours.adaptive_max_pool(x, (2,)), "output_size must be an int or 2"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            call()


needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="keras is not installed"
)


def run(tmp_path, *arguments, **environment):
    path = os.pathsep.join([str(Path(cconv.__file__).parent.parent), str(Path(__file__).parent)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


@needs_keras
def test_keras_own_tests(tmp_path):
    """Its layers' tests, and its operations': convolutions and all pools, without JAX."""
    home = Path(importlib.util.find_spec("keras").submodule_search_locations[0], "src")
    folders = [home / "layers" / "convolutional", home / "layers" / "pooling"]
    if not (folders[0] / "conv_test.py").exists():
        pytest.skip("this Keras was installed without its tests")
    pytest.importorskip("absl", reason="Keras' tests need absl-py")
    done = run(
        tmp_path, "-m", "pytest", "-q", "-p", "keras_by_cconv", "-p", "no:cacheprovider",
        *map(str, folders), str(home / "ops" / "nn_test.py"), "-k", "conv or pool",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 400


@needs_keras
def test_install_and_uninstall(tmp_path):
    program = """if True:
        import inspect, sys
        sys.modules["jax"] = None
        import numpy as np
        import cconv.interop.keras as ours
        ours.install()
        ours.install()
        import keras
        from keras.src.backend.numpy import nn
        from cconv.interop._keras_backend import NAMES, REPLACED
        x = np.ones((1, 8, 8, 3), np.float32)
        layer = keras.layers.Conv2D(2, 3)
        assert layer(x).shape == (1, 6, 6, 2)
        for name in NAMES:
            assert getattr(nn, name) is getattr(ours, name)
            theirs, mine = (inspect.signature(f) for f in (REPLACED[name], getattr(ours, name)))
            assert [(p.name, p.default) for p in theirs.parameters.values()] == [
                (p.name, p.default) for p in mine.parameters.values()
            ], name
        keras.config.set_image_data_format("channels_first")
        assert ours.max_pool(x, 2).shape == (1, 8, 4, 1)
        keras.config.set_image_data_format("channels_last")
        real, imaginary = keras.ops.fft2((x[..., 0], 0 * x[..., 0]))
        assert np.allclose(real, np.fft.fft2(x[..., 0]).real) and real.dtype == np.float32
        assert sys.modules["jax"] is None and "keras.src.backend.jax.math" not in sys.modules
        ours.uninstall()
        try:
            layer(x)
        except ImportError as error:
            assert "JAX is not installed" in str(error)
        else:
            raise AssertionError("still cconv's")
    """
    done = run(tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr
    done = run(
        tmp_path, "-c", "import cconv.interop.keras as k; k.install()", KERAS_BACKEND="torch"
    )
    assert "serves Keras' NumPy backend, but Keras uses 'torch'" in done.stderr
    done = run(
        tmp_path, "-c",
        "import sys, importlib.util as u; f = u.find_spec; u.find_spec = lambda n: None if n == 'keras' else f(n)\n"
        "import cconv.interop.keras as k; k.install()",
    )  # fmt: skip
    assert "pip install cconv[keras]" in done.stderr
