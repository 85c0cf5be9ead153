"""interop.scipy beside scipy.signal: random arrays, and SciPy's own test cases for both functions."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv.interop.scipy import convolve, correlate

signal = pytest.importorskip("scipy.signal")

DTYPES = ("float64", "float32", "complex128", "complex64", "int64", "int16", "uint8")


@pytest.mark.parametrize("name", ("convolve", "correlate"))
@pytest.mark.parametrize("ndim", (1, 2, 3, 4, 5))
def test_random(name, ndim):
    rng = np.random.default_rng(ndim)
    ours = {"convolve": convolve, "correlate": correlate}[name]
    theirs = getattr(signal, name)
    for call in range(60):
        most = (40, 12, 8, 5, 4)[ndim - 1]
        shapes = [tuple(int(n) for n in rng.integers(1, most, ndim)) for _ in range(2)]
        mode = ("full", "same", "valid")[call % 3]
        if mode == "valid":
            low = tuple(map(min, *shapes))
            shapes = [low, tuple(map(max, *shapes))]
            if call % 2:
                shapes.reverse()
        arrays = []
        for shape in shapes:
            dtype = DTYPES[rng.integers(len(DTYPES))]
            a = rng.integers(-9, 9, shape) if dtype[0] in "iu" else rng.standard_normal(shape)
            if dtype.startswith("complex"):
                a = a + 1j * rng.standard_normal(shape)
            arrays.append(a.astype(dtype))
        # SciPy's direct method leaves mixed dtypes in that of in1
        expected = theirs(
            *(a.astype(np.result_type(*arrays)) for a in arrays), mode=mode, method="direct"
        )
        for method in ("auto", "direct", "fft"):
            result = ours(*arrays, mode=mode, method=method)
            assert result.shape == expected.shape, (shapes, mode)
            assert result.dtype == np.result_type(*arrays)
            tolerance = 1e-3 if result.dtype.char in "fF" else 1e-8
            np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


def test_booleans():
    rng = np.random.default_rng(0)
    a, b = rng.random(40) < 0.3, rng.random(7) < 0.5
    for mode in ("full", "same", "valid"):
        expected = signal.correlate(a.astype(int), b.astype(int), mode) > 0
        assert np.array_equal(correlate(a, b, mode), expected)
        assert correlate(a, b, mode).dtype == bool
    assert np.array_equal(convolve(a, [2, 3]), signal.convolve(a.astype(int), [2, 3]))


def test_large_kernels():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(50000), rng.standard_normal(3001)
    np.testing.assert_allclose(convolve(x, w), signal.convolve(x, w), atol=1e-9)
    np.testing.assert_allclose(convolve(w, x, "same"), signal.convolve(w, x, "same"), atol=1e-9)


def test_scipys_own_cases(tmp_path):
    """SciPy's test classes for both functions, with cconv's in their place."""
    folder = Path(signal.__file__).parent / "tests" / "test_signaltools.py"
    if not folder.exists():
        pytest.skip("this SciPy was installed without its tests")
    plugin = tmp_path / "replaced.py"
    # in the test module's own names, once it has been imported
    plugin.write_text(
        "import numpy, pytest\n"
        "from cconv.interop import scipy as ours\n"
        "@pytest.fixture\n"
        "def xp():\n"
        "    return numpy\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        for name in ('convolve', 'correlate'):\n"
        "            setattr(item.module, name, getattr(ours, name))\n"
    )
    chosen = "(TestConvolve or _TestConvolve or TestCorrelateReal or TestCorrelateComplex)"
    # what is not of numbers, or of SciPy's own precision, choice of method or other array libraries
    left_out = " and not ".join(
        (
            "",
            "Convolve2d",
            "object",
            "longdouble",
            "complex256",
            "float128",
            "choose",
            "Decimal",
        )
    )
    program = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "replaced",
        "-p",
        "no:cacheprovider",
        str(folder),
    ]
    home = Path(cconv.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(home)])}
    done = subprocess.run(
        [*program, "-k", chosen + left_out],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


def test_bad_input():
    for arguments, error in (
        (([1, 2], [[1]]), ValueError),
        (([1, 2], [1], "all"), ValueError),
        (([1, 2], [1], "full", "slow"), ValueError),
        ((np.ones((2, 5)), np.ones((3, 2)), "valid"), ValueError),
        ((["a"], [1]), TypeError),
    ):
        for function in (convolve, correlate):
            with pytest.raises(error, match=function.__name__):
                function(*arguments)
    assert convolve([], [1.0]).shape == (0,)
    assert convolve(3, 4) == 12
