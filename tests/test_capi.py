"""The cimport surface: a package outside of the tree is built against the installed cconv, and has its results."""

import importlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cconv

pytest.importorskip("Cython")
pytest.importorskip("setuptools")

MODES = ("zeros", "reflect", "replicate", "circular")


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("capi")
    shutil.copytree(Path(__file__).parent / "capi_example", folder / "package")
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-lib", str(folder)],
        cwd=folder / "package",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("capi_example")
    finally:
        sys.path.remove(str(folder))


def test_the_version(example):
    assert example.abi_version() == (1, 1)


@pytest.mark.parametrize("threads", (1, 2, 3))
@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_convolution(example, rank, dtype, threads):
    """The bits of the Python functions, and of prepacked ones."""
    rng = np.random.default_rng([rank, threads])
    for call in range(40):
        groups, c, o = (int(n) for n in rng.integers(1, 5, 3))
        if call % 4 == 0:
            c, o = 32, 40
        kernel = (3,) * rank if call % 4 == 0 else tuple(int(n) for n in rng.integers(1, 5, rank))
        stride, dilation = (tuple(int(n) for n in rng.integers(1, 4, rank)) for _ in range(2))
        if call % 4 == 0:
            stride, dilation = (1,) * rank, (1 + call % 3,) * rank
        padding = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (rank, 2)))
        transposed = call % 3 == 2
        mode = 0 if transposed else int(rng.integers(4))
        more = rng.integers(0, 12, rank)
        size = tuple(
            d * (k - 1) + 3 + int(n) for d, k, n in zip(dilation, kernel, more, strict=True)
        )
        extra = tuple(
            int(rng.integers(0, max(s, d))) if transposed else 0
            for s, d in zip(stride, dilation, strict=True)
        )
        x = rng.standard_normal((int(rng.integers(0, 4)), c * groups, *size)).astype(dtype)
        shape = (c * groups, o, *kernel) if transposed else (o * groups, c, *kernel)
        w = rng.standard_normal(shape).astype(dtype)
        b = rng.standard_normal(o * groups).astype(dtype) if call % 2 else None
        if transposed:
            expected = getattr(cconv, f"conv_transpose{rank}d")(
                x, w, b, stride, padding, extra, groups, dilation
            )
            run = cconv.prepack(
                w, b, stride, padding, dilation, groups, transposed=True, output_padding=extra
            )
        else:
            options = (stride, padding, dilation, groups)
            expected = getattr(cconv, f"conv{rank}d")(x, w, b, *options, padding_mode=MODES[mode])
            run = cconv.prepack(w, b, *options, padding_mode=MODES[mode])
        args = (x, w, b, stride, padding, dilation, groups, mode, transposed, extra)
        assert np.array_equal(example.convolve(*args, False, threads), expected), args[3:]
        assert np.array_equal(example.convolve(*args, True, threads), run(x)), args[3:]


@pytest.mark.parametrize("threads", (1, 2, 3))
@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_pools(example, rank, dtype, threads):
    rng = np.random.default_rng([rank, threads])
    for call in range(40):
        kernel, stride = (tuple(int(n) for n in rng.integers(1, 5, rank)) for _ in range(2))
        dilation = tuple(int(n) for n in rng.integers(1, 3, rank))
        padding = tuple((int(rng.integers(0, k)), int(rng.integers(0, k))) for k in kernel)
        more = rng.integers(0, 20, rank)
        size = tuple(
            d * (k - 1) + 1 + int(n) for d, k, n in zip(dilation, kernel, more, strict=True)
        )
        x = rng.standard_normal((2, 3, *size)).astype(dtype)
        ceil_mode, include = bool(call % 2), bool(call % 3)
        args = (kernel, stride, padding, dilation, ceil_mode)
        maximum = getattr(cconv, f"max_pool{rank}d")(x, *args, True)
        found = example.pool(x, 0, *args, False, True, threads)
        assert all(np.array_equal(a, b) for a, b in zip(found, maximum, strict=True)), args
        assert np.array_equal(example.pool(x, 0, *args, False, False, threads), maximum[0])
        average = getattr(cconv, f"avg_pool{rank}d")(
            x, kernel, stride, padding, ceil_mode, include, dilation=dilation
        )
        found = example.pool(x, 2, *args, include, False, threads)
        assert np.array_equal(found, average, equal_nan=True), args


@pytest.mark.parametrize("threads", (1, 2, 3))
@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_adaptive_and_lp_pools(example, rank, dtype, threads):
    rng = np.random.default_rng([rank, threads])
    for call in range(30):
        kernel, stride = (tuple(int(n) for n in rng.integers(1, 5, rank)) for _ in range(2))
        shape = tuple(k + int(n) for k, n in zip(kernel, rng.integers(0, 20, rank), strict=True))
        x = rng.standard_normal((2, 3, *shape)).astype(dtype)
        size = tuple(int(n) for n in rng.integers(1, 7, rank))
        found = example.special_pool(x, size, None, None, -1.0, False, True, threads)
        expected = getattr(cconv, f"adaptive_max_pool{rank}d")(x, size, True)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), (
            shape,
            size,
        )
        found = example.special_pool(x, size, None, None, 0.0, False, False, threads)
        assert np.array_equal(found, getattr(cconv, f"adaptive_avg_pool{rank}d")(x, size))
        norm = (1.0, 2.0, np.inf, 3.5)[call % 4]
        ceil_mode = bool(call % 3)
        found = example.special_pool(x, None, kernel, stride, norm, ceil_mode, False, threads)
        expected = getattr(cconv, f"lp_pool{rank}d")(x, norm, kernel, stride, ceil_mode)
        if norm == 3.5:  # C's pow and NumPy's
            np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == "float32" else 1e-13)
        else:
            assert np.array_equal(found, expected), (norm, shape, kernel, stride)


def test_averages_of_many_values(example):
    """Float32 accumulates wider there, as the Python functions do."""
    x = np.full((1, 2, 2048, 2048), 0.1, np.float32)
    args = ((2048, 2048), (1, 1), ((0, 0), (0, 0)), (1, 1), False, True, False, 2)
    found = example.pool(x, 2, *args)
    assert np.array_equal(found, cconv.avg_pool2d(x, 2048, 1))
    assert abs(found - 0.1).max() < 1e-7


def test_from_c(example):
    """A C extension with the header alone has the results of the Python functions."""
    capi_c = importlib.import_module("capi_c")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 5, 31, 33), dtype=np.float32)
    w = rng.standard_normal((7, 5, 3, 3), dtype=np.float32)
    y = np.empty((1, 7, 29, 31), np.float32)
    pooled, average = np.empty((1, 7, 14, 15), np.float32), np.empty((1, 7, 3, 3), np.float32)
    indices = np.empty(pooled.shape, np.int64)
    capi_c.run(5, 31, 33, 7, 3, *[a.ctypes.data for a in (x, w, y, pooled, indices, average)])
    assert np.array_equal(y, cconv.conv2d(x, w))
    values, places = cconv.max_pool2d(y, 2, return_indices=True)
    assert np.array_equal(pooled, values) and np.array_equal(indices, places)
    assert np.array_equal(average, cconv.adaptive_avg_pool2d(y, 3))
    with pytest.raises(ValueError, match="do not fit"):
        capi_c.run(5, 2, 33, 7, 3, *[a.ctypes.data for a in (x, w, y, pooled, indices, average)])


@pytest.mark.parametrize("threads", (1, 2))
def test_in_prange_and_in_python_threads(example, threads):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((12, 8, 40, 44), dtype=np.float32)
    w = rng.standard_normal((16, 8, 3, 3), dtype=np.float32)
    expected = cconv.conv2d(images, w)
    with ThreadPoolExecutor(3) as pool:
        for y, z in pool.map(lambda _: example.in_parallel(images, w, threads), range(6)):
            assert np.array_equal(y, expected)
            assert np.array_equal(z, cconv.max_pool2d(expected, 2))


def test_in_a_forked_child(example):
    """The pool of threads begins anew there."""
    import os

    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    program = """
import os, sys, numpy as np, cconv
sys.path.insert(0, sys.argv[1])
import capi_example
x, w = np.ones((4, 32, 64, 64), np.float32), np.ones((32, 32, 3, 3), np.float32)
args = (x, w, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1, 0, False, (0, 0), False, 2)
y = capi_example.convolve(*args)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(capi_example.convolve(*args), y) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    folder = str(Path(example.__file__).parent)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, folder], timeout=60)
    assert done.returncode == 0


def test_bad_specs_have_a_status(example):
    x, w = np.ones((1, 4, 5, 5)), np.ones((6, 2, 3, 3))
    good = [x, w, None, (1, 1), ((0, 0), (0, 0)), (1, 1), 2, 0, False, (0, 0), False, 1]
    assert np.array_equal(example.convolve(*good), cconv.conv2d(x, w, groups=2))
    for place, value in (
        (3, (0, 1)), (4, ((-1, 0), (0, 0))), (5, (9, 1)), (5, (2**61, 1)), (6, 3), (6, 0), (7, 9), (7, 1), (8, True),
    ):  # fmt: skip
        bad = list(good)
        bad[place] = value
        if place == 7 and value == 1:
            bad[4] = ((5, 0), (0, 0))  # reflected beyond the input
        if place == 8:
            bad[7] = 1  # transposed, with a padding mode
        with pytest.raises(ValueError, match="do not fit"):
            example.convolve(*bad)
    with pytest.raises(ValueError, match="do not fit"):
        example.pool(x, 0, (9, 9), (1, 1), ((0, 0), (0, 0)), (1, 1), False, False, False, 1)
    with pytest.raises(ValueError, match="do not fit"):
        example.pool(x, 2, (2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), False, False, True, 1)
    w = np.ones((4, 2, 3, 3))
    with pytest.raises(ValueError, match="do not fit"):  # more phases than can be planned
        example.convolve(
            x, w, None, (2**40, 1), ((0, 0), (0, 0)), (1, 1), 2, 0, True, (0, 0), False, 1
        )
    for size in ((2, -1), (2**62, 2)):
        with pytest.raises(ValueError, match="do not fit"):
            example.special_pool(x, size, None, None, 0.0, False, False, 1)
    with pytest.raises(ValueError, match="do not fit"):
        example.special_pool(x, None, (9, 9), (1, 1), 2.0, False, False, 1)
    assert set(example.null_pointers()) == {3}
