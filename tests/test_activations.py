"""Activations by the kernels against NumPy's in extended precision, on every instruction set."""

import os
import subprocess
import sys

import numpy as np
import pytest

import cconv
from cconv._activate import ACTIVATIONS, activate_all

WIDE = np.finfo(np.longdouble).eps < 1e-18
RNG = np.random.default_rng(3)


def erfc_tail(x):
    """x times the normal distribution below x, elementwise by the C library; for x > -1."""
    import math

    return np.array([v * np.longdouble(math.erfc(-v / math.sqrt(2))) / 2 for v in x.astype(float)])


def expected(name, x, numbers=()):
    x = x.astype(np.longdouble)
    if name == "sigmoid":
        return 1 / (1 + np.exp(-x))
    if name == "silu":
        return x / (1 + np.exp(-x * numbers[0]))
    if name == "tanh":
        return np.tanh(x)
    if name == "elu":
        return np.where(x < 0, numbers[0] * np.expm1(x), x)
    if name == "gelu":
        return erfc_tail(x)
    root = np.sqrt(2 / np.longdouble(np.pi))
    return x / (1 + np.exp(-2 * root * (x + np.longdouble(0.044715) * x**3)))


# units in the last place of the dtype; gelu_tanh's argument is a cube, whose rounding the exponential makes larger
BOUNDS = {"sigmoid": 2, "silu": 2.6, "tanh": 1.6, "elu": 1.6, "gelu": 6, "gelu_tanh": 16}
NUMBERS = {"silu": (1.0,), "elu": (1.0,)}


@pytest.mark.skipif(not WIDE, reason="no wider float here to compare with")
@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("name", BOUNDS)
def test_exponentials(name, dtype):
    x = np.concatenate([RNG.standard_normal(2003) * s for s in (1e-3, 0.3, 1, 3)]).astype(dtype)
    if name.startswith("gelu"):
        # further out the judge's own argument is not exact enough, nor is the cube
        x = x[x > (-1 if name == "gelu" else -3)]
    numbers = NUMBERS.get(name, ())
    result, wanted = activate_all(x, name, numbers), expected(name, x, numbers)
    unit = np.spacing(np.maximum(abs(wanted.astype(dtype)), np.finfo(dtype).tiny))
    errors = abs(result.astype(np.longdouble) - wanted) / unit
    worst = int(errors.argmax())
    assert errors[worst] <= BOUNDS[name], (float(errors[worst]), x[worst])


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_bits_of_the_simple_ones(dtype):
    x = RNG.standard_normal(4099).astype(dtype)
    kind = dtype
    simple = {
        ("relu", ()): np.maximum(x, 0),
        ("clip", (-0.5, 0.25)): np.clip(x, kind(-0.5), kind(0.25)),
        ("leaky_relu", (0.25,)): np.where(x < 0, x * kind(0.25), x),
        ("none", ()): x,
    }
    for (name, numbers), wanted in simple.items():
        assert np.array_equal(activate_all(x, name, numbers), wanted), name
    low = activate_all(x, "hard_sigmoid")
    assert abs(low - np.clip(x / 6 + 0.5, 0, 1)).max() < 1e-6
    assert abs(activate_all(x, "hard_swish") - x * np.clip(x / 6 + 0.5, 0, 1)).max() < 1e-6


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_odd_numbers(name, dtype):
    x = np.array([np.nan, np.inf, 0.0, -0.0, 1000.0, -1000.0, 1e-40, 750.0, -750.0], dtype)
    y = activate_all(x, name, (0.0, 6.0) if name == "clip" else ())
    assert np.isnan(y[0]) and not np.isnan(y[1:]).any()
    top = {"clip": 6, "sigmoid": 1, "tanh": 1, "hard_sigmoid": 1}.get(name, np.inf)
    assert y[1] == top and y[4] == min(1000, top)
    low = {"none": -1000, "leaky_relu": -10, "elu": -1, "tanh": -1}.get(name, 0)
    assert abs(y[5] - low) < 1e-5


@pytest.mark.parametrize("n", (0, 1, 3, 7, 8, 15, 16, 17, 33, 100_003))
def test_lengths_places_and_additions(n):
    """Every length, in place, with an array added; nothing beside the row is touched."""
    for dtype in (np.float32, np.float64):
        room = np.full(n + 64, 7, dtype)
        x = room[32 : 32 + n]
        x[...] = RNG.standard_normal(n)
        add = RNG.standard_normal(n).astype(dtype)
        given = x.copy()
        wanted = activate_all(given, "tanh", (), None, add)
        assert np.array_equal(wanted, activate_all(given + add, "tanh"))
        assert activate_all(x, "tanh", (), x, add) is x
        assert np.array_equal(x, wanted)
        assert (room[:32] == 7).all() and (room[32 + n :] == 7).all()


def test_what_it_does_not_take():
    x = np.ones((4, 4), np.float32)
    assert activate_all(x.T[::2], "relu") is None
    assert activate_all(x.astype(int), "relu") is None
    assert activate_all(x, "nonesuch") is None
    assert activate_all(x, "relu", (), None, x[:2]) is None


@pytest.mark.parametrize("isa", cconv.show_config()["isa_available"])
def test_every_instruction_set(isa):
    if os.environ.get("CCONV_ISA"):
        pytest.skip("of one instruction set already")
    words = "exponentials or bits or odd_numbers or lengths"
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-q",
            "-x",
            __file__,
            "-k",
            words,
            "-p",
            "no:cacheprovider",
        ],
        env={**os.environ, "CCONV_ISA": isa},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_threads_give_the_same_bits():
    x = RNG.standard_normal(300_000).astype(np.float32)
    before = cconv.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            cconv.set_num_threads(n)
            results.append(activate_all(x, "gelu"))
        assert all(np.array_equal(r, results[0]) for r in results)
    finally:
        cconv.set_num_threads(before)
