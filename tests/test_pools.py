"""Pools and their gradients by each of their kernels, on every instruction set, with 1 to 3 threads."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
import reference

import cconv
from cconv import _isa, _problem, grad
from cconv._problem import ONE

# shape, kernel, stride, padding (or pairs), dilation, ceil_mode;
# the kernel that takes it with long vectors is of no matter
CASES = [
    ((2, 40, 7, 7), 7, 7, 0, 1, False),  # windows that are the plane
    ((1, 33, 1, 300), (1, 300), 1, 0, 1, False),
    ((2, 5, 24, 33), 8, 8, 0, 1, True),  # apart, in runs, with one that hangs over
    ((1, 3, 9, 64), (2, 16), (3, 20), 0, 1, False),
    ((2, 4, 9, 9, 9), 9, 9, 0, 1, False),
    ((2, 3, 6, 8, 10), (2, 8, 10), (2, 8, 10), 0, 1, False),  # runs over two axes
    ((2, 3, 50, 1), (3, 1), (2, 1), (1, 0), 1, False),  # a trailing axis of 1
    ((3, 7, 4, 4), 2, 2, 0, 1, False),  # planes shorter than a vector
    ((2, 19, 9, 9), 3, 2, 0, 1, False),
    ((1, 20, 13, 13), 13, 1, 6, 1, False),
    ((1, 17, 11, 5), (3, 2), (1, 2), (1, 1), (2, 1), True),
    ((2, 6, 7, 6, 5), 3, 1, 1, 1, False),
    ((1, 2, 12, 10, 40), 3, 1, 1, 1, False),  # deep windows of rows
    ((1, 2, 10, 9, 70), 2, 2, 0, 1, True),
    ((1, 2, 41, 67), 3, 2, 1, 1, False),
    ((1, 1, 30, 131), 3, 3, 1, 1, False),
    ((1, 2, 200), 3, 3, 0, 1, False),
    ((2, 3, 150), 5, 4, 2, 1, True),
    ((1, 2, 40, 90), 2, 2, 0, 1, True),
    ((1, 2, 33, 77), (3, 2), (4, 2), 0, 1, False),
    ((1, 1, 64, 70), 31, 1, 15, 1, False),
    (
        (2, 3, 8, 4),
        (1, 4),
        4,
        ((0, 0), (0, 3)),
        (1, 2),
        False,
    ),  # taps as many as columns, but apart
    ((2, 3, 1, 8, 4), (4, 1, 4), (4, 1, 4), ((6, 5), (0, 0), (4, 6)), (2, 3, 2), True),
    ((2, 3, 3, 5), 3, 1, ((0, 4), (4, 0)), 2, False),
    ((1, 2, 5, 1), (5, 2), (1, 3), ((0, 0), (1, 1)), (1, 4), True),  # only padding in the window
    ((1, 2, 1, 9), (2, 3), (3, 1), ((1, 1), (0, 0)), (4, 1), True),
]
SIZES = [
    ((2, 5, 7, 9), (3, 4)),
    ((1, 20, 12, 15), (4, 5)),
    ((2, 3, 5, 6, 7), (5, 2, 1)),
    ((1, 2, 64, 70), (1, 3)),
]

PROGRAM = """
import cconv
import test_pools
for number in range(len(test_pools.CASES)):
    test_pools.check_case(number)
for number in range(len(test_pools.SIZES)):
    test_pools.check_adaptive(number)
print(cconv.show_config()["isa"])
"""


def full(value, rank):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank


def close(found, expected, dtype):
    np.testing.assert_allclose(
        found,
        expected,
        rtol=2e-6 if dtype == "float32" else 1e-13,
        atol=1e-6 if dtype == "float32" else 1e-14,
    )


def data(shape, dtype, seed):
    """Few values, so that many are equal; zeros of both signs, infinities and a NaN."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, shape).astype(dtype)
    if x.dtype.kind == "f":
        x = np.where(
            rng.random(shape) < 0.5, np.copysign(x, rng.choice([-1, 1], shape)), -x
        ).astype(dtype)
        x.reshape(-1)[:: max(1, x.size // 3)] = -np.inf
        x.reshape(-1)[x.size // 2] = np.nan
    return x


def same(found, expected):
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected) if expected.dtype.kind == "f" else np.zeros(expected.shape, bool)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


def on_threads(call):
    """The result, of the same bits with any number of threads."""
    results = []
    for threads in (1, 2, 3):
        cconv.set_num_threads(threads)
        results.append(call())
    assert all(r.tobytes() == results[0].tobytes() for r in results)
    return results[0]


def layouts(x):
    """The same array, channels last and with gaps."""
    yield np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield wide[..., ::2]


def check_maxima(name, x, args, expected, index):
    call = getattr(cconv, name)
    same(on_threads(lambda: call(x, *args)), expected)
    values, places = call(x, *args, return_indices=True)
    same(values, expected)
    np.testing.assert_array_equal(places, index)
    for other in layouts(x):
        same(call(other, *args), expected)
        np.testing.assert_array_equal(call(other, *args, return_indices=True)[1], index)
    alone = np.concatenate([call(x[i : i + 1], *args) for i in range(len(x))])
    assert alone.tobytes() == call(x, *args).tobytes()
    out = np.zeros((*expected.shape[:-1], 2 * expected.shape[-1]), x.dtype)[..., ::2]
    same(call(x, *args, out=out), expected)


def check_max_gradients(name, x, args, index):
    g = np.random.default_rng(1).standard_normal(index.shape).astype(x.dtype)
    expected = np.zeros((*x.shape[:2], x[0, 0].size), np.float64)
    for n, c in np.ndindex(*x.shape[:2]):
        at, values = index[n, c].ravel(), g[n, c].ravel()
        np.add.at(expected[n, c], at[at >= 0], values[at >= 0])
    expected = expected.reshape(x.shape)
    call = getattr(grad, name + "_input")
    close(on_threads(lambda: call(x, g, *args)), expected, x.dtype)
    close(on_threads(lambda: call(x, g, *args, indices=index)), expected, x.dtype)
    for other, gradient in zip(layouts(x), layouts(g), strict=True):
        close(call(other, gradient, *args), expected, x.dtype)
        close(call(other, gradient, *args, indices=index.astype(np.int32)), expected, x.dtype)


def check_average(name, x, args, expected, **keys):
    call = functools.partial(getattr(cconv, name), **keys)
    close(on_threads(lambda: call(x, *args)), expected, x.dtype)
    for other in layouts(x):
        close(call(other, *args), expected, x.dtype)
    alone = np.concatenate([call(x[i : i + 1], *args) for i in range(len(x))])
    assert alone.tobytes() == call(x, *args).tobytes()


def check_average_gradient(name, x, args, axes, include_pad, **keys):
    """The adjoint: the sum of y*g is that of x*gx, for unit vectors as for any x."""
    out = [len(axis) for axis in axes]
    g = np.random.default_rng(1).standard_normal((*x.shape[:2], *out)).astype(x.dtype)
    expected = np.zeros(x.shape)
    for at in np.ndindex(*out):
        parts = [axis[i] for axis, i in zip(axes, at, strict=True)]
        taps = np.prod([len(p[0]) for p in parts])
        count = np.prod([p[1] for p in parts]) if include_pad else taps
        if taps:
            grid = np.ix_(range(x.shape[0]), range(x.shape[1]), *(p[0] for p in parts))
            ones = (1,) * len(out)
            expected[grid] += (
                g[(slice(None), slice(None), *at)].reshape(*x.shape[:2], *ones) / count
            )
    found = on_threads(lambda: getattr(grad, name + "_input")(x.shape, g, *args, **keys))
    close(found, expected, x.dtype)


def check_case(number):
    shape, *geometry = CASES[number]
    rank = len(shape) - 2
    kernel, stride, padding, dilation = (full(v, rank) for v in geometry[:4])
    before, after = zip(*(full(p, 2) for p in padding), strict=True)
    ceil_mode = geometry[4]
    space = shape[2:]
    args = (kernel, stride, padding, dilation, ceil_mode)
    for dtype in ("float32", "float64", "int32"):
        x = data(shape, dtype, number)
        expected, index = reference.max_pool(x, kernel, stride, before, after, dilation, ceil_mode)
        check_maxima(f"max_pool{rank}d", x, args, expected, index)
        if x.dtype.kind == "i":
            continue
        check_max_gradients(f"max_pool{rank}d", x, args, index)
        x = np.random.default_rng(number).standard_normal(shape).astype(dtype)
        axes = reference.windows(space, kernel, stride, before, after, dilation, ceil_mode)
        for include_pad in (True, False):
            mean = reference.avg_pool(
                x, include_pad, None, kernel, stride, before, after, dilation, ceil_mode
            )
            given = (kernel, stride, padding, ceil_mode, include_pad)
            check_average(f"avg_pool{rank}d", x, given, mean, dilation=dilation)
            check_average_gradient(
                f"avg_pool{rank}d", x, given, axes, include_pad, dilation=dilation
            )


def check_adaptive(number):
    shape, size = SIZES[number]
    rank = len(size)
    axes = reference.adaptive_axes(shape[2:], size)
    for dtype in ("float32", "float64"):
        x = data(shape, dtype, number)
        name = f"adaptive_max_pool{rank}d"

        def reduce(values, positions, padded, space=shape[2:]):
            best, where = -np.inf, -1
            for value, place in zip(values, positions, strict=True):
                if where < 0 or value > best or value != value:
                    best, where = value, int(np.ravel_multi_index(place, space))
            return best, where

        pairs = reference.pool(x, axes, reduce)
        expected = np.vectorize(lambda p: p[0], otypes=[dtype])(pairs)
        index = np.vectorize(lambda p: p[1], otypes=[np.int64])(pairs)
        check_maxima(name, x, (size,), expected, index)
        check_max_gradients(name, x, (size,), index)
        x = np.random.default_rng(number).standard_normal(shape).astype(dtype)
        mean = reference.pool(x, axes, lambda v, *_: np.sum(v, dtype=np.float64) / len(v)).astype(
            np.float64
        )
        check_average(f"adaptive_avg_pool{rank}d", x, (size,), mean)
        check_average_gradient(f"adaptive_avg_pool{rank}d", x, (size,), axes, True)


@pytest.mark.parametrize("isa", cconv.show_config()["isa_available"])
def test_every_kernel_on_every_instruction_set(isa):
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    run = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        capture_output=True,
        text=True,
        env={**os.environ, "CCONV_ISA": isa, "PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [isa]


def test_the_cases_reach_every_kernel():
    found = set()
    for shape, *geometry in CASES:
        rank = len(shape) - 2
        kernel, stride, padding, dilation = (full(v, rank) for v in geometry[:4])
        args = (kernel, stride, padding, dilation, geometry[4])
        found.add(cconv.explain(f"max_pool{rank}d", np.zeros(shape, "float32"), *args)["kernel"])
    beside = {"pool_lanes"} if _isa.machine("float32").lanes > 1 else set()
    assert found == {"pool", "pool_runs"} | beside


@pytest.mark.parametrize("shape", [(0, 40, 7, 7), (0, 2, 41, 67), (0, 3, 8, 4), (0, 1, 1, 1)])
def test_batches_of_nothing(shape):
    space = shape[2:]
    x = np.zeros(shape, np.float32)
    for kernel in (space, (1, 1), tuple((s + 1) // 2 for s in space)):
        y = cconv.max_pool2d(x, kernel)
        values, places = cconv.max_pool2d(x, kernel, return_indices=True)
        assert y.shape == values.shape == places.shape == cconv.avg_pool2d(x, kernel).shape
        assert y.shape[:2] == shape[:2] and y.shape == cconv.lp_pool2d(x, 2, kernel).shape
        assert grad.max_pool2d_input(x, y, kernel).shape == shape
        assert grad.max_pool2d_input(x, y, kernel, indices=places).shape == shape
        assert grad.avg_pool2d_input(shape, y, kernel).shape == shape


@pytest.mark.parametrize("size", [(0, 0), (0, 2), (3, 0), (1, 0)])
@pytest.mark.parametrize("batch", [0, 2])
def test_adaptive_results_of_nothing(size, batch):
    for space in ((7, 7), (41, 67), (1, 300)):
        x = np.ones((batch, 3, *space), np.float32)
        values, places = cconv.adaptive_max_pool2d(x, size, return_indices=True)
        y = cconv.adaptive_avg_pool2d(x, size)
        assert values.shape == places.shape == y.shape == (batch, 3, *size)
        assert cconv.adaptive_max_pool2d(x, size).shape == y.shape
        for gx in (
            grad.adaptive_max_pool2d_input(x, y, size),
            grad.adaptive_avg_pool2d_input(x.shape, y, size),
        ):
            assert gx.shape == x.shape and not gx.any()


# ---------------------------------------------------------------- geometry


def pool_of(size, kernel, stride=None, c=8, n=2):
    stride = stride or kernel
    out = tuple(
        _problem.pool_size(*a, 1, 0, 0, False) for a in zip(size, kernel, stride, strict=True)
    )
    zero = (0, 0, 0)
    return _problem.normal_pool(
        _problem.PoolProblem(n, c, size, kernel, stride, ONE, zero, zero, out, False, True)
    )


def test_axes_are_folded():
    def folded(p, lead=True):
        q, fold = _problem.folded_pool(p, lead)
        return q.C, q.size, q.kernel, q.out, tuple(fold)

    # a trailing axis of 1, windows that are the plane, windows over whole trailing axes
    assert folded(pool_of((1, 256, 1), (1, 2, 1)))[1:4] == ((1, 1, 256), (1, 1, 2), (1, 1, 128))
    assert folded(pool_of((1, 7, 7), (1, 7, 7)))[1:4] == ((1, 1, 49), (1, 1, 49), (1, 1, 1))
    assert folded(pool_of((4, 5, 6), (2, 5, 6))) == (
        8,
        (1, 1, 120),
        (1, 1, 60),
        (1, 1, 2),
        (-1, 2, 2, 2),
    )
    # leading axes of windows of one become channels
    assert folded(pool_of((4, 6, 8), (1, 2, 8))) == (
        32,
        (1, 1, 48),
        (1, 1, 16),
        (1, 1, 3),
        (-1, -1, 2, 2),
    )
    assert folded(pool_of((4, 6, 8), (1, 2, 8)), False)[:2] == (8, (1, 4, 48))
    # adaptive windows of one size are plain ones
    even = _problem.adaptive(1, 3, (1, 8, 9), (1, 4, 3))
    assert _problem.folded_pool(even, True)[0].kernel == (1, 2, 3)
    odd = _problem.adaptive(1, 3, (5, 8, 9), (5, 3, 1))
    q, fold = _problem.folded_pool(odd, True)
    assert q.adaptive and q.C == 15 and q.lead == 5 and fold.d == -1
    # but no axis where taps lie apart, or windows of one in the padding
    apart = pool_of((1, 6, 4), (1, 2, 4))._replace(dilation=(1, 1, 2), out=(1, 3, 1))
    assert folded(apart)[1:3] == ((1, 6, 4), (1, 2, 4))
    outside = pool_of((1, 6, 8), (1, 2, 8))._replace(before=(1, 0, 0))
    assert _problem.folded_pool(outside, True)[0].before == (0, 1, 0)


# ---------------------------------------------------------------- indices of gradients


def test_given_indices_are_checked():
    x = np.zeros((1, 2, 4, 4), np.float32)
    g = np.ones((1, 2, 2, 2), np.float32)
    _, index = cconv.max_pool2d(x, 2, return_indices=True)
    index[0, 1, 1, 1] = 16
    out = np.full(x.shape, 7, np.float32)
    with pytest.raises(ValueError, match="max_pool2d_input: indices must be -1 or lie in 0..15"):
        grad.max_pool2d_input(x, g, 2, indices=index, out=out)
    assert (out == 7).all()
    index[0, 1, 1, 1] = -2
    with pytest.raises(ValueError, match="got -2"):
        grad.adaptive_max_pool2d_input(x, g, 2, indices=index)
    with pytest.raises(ValueError, match="must have grad_output's shape"):
        grad.max_pool2d_input(x, g, 2, indices=index[:, :1])
    with pytest.raises(TypeError, match="must hold integers"):
        grad.max_pool2d_input(x, g, 2, indices=index.astype(float))


def test_given_indices_are_what_counts():
    x = np.zeros((1, 1, 2, 2), np.float16)
    g = np.array([[[[3.0]]]], np.float16)
    found = grad.max_pool2d_input(x, g, 2, indices=[[[[2]]]])
    assert found.dtype == np.float16 and found.ravel().tolist() == [0, 0, 3, 0]
    assert grad.max_pool2d_input(x, g, 2, indices=[[[[-1]]]]).ravel().tolist() == [0, 0, 0, 0]


def test_layers_go_back_by_their_indices():
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    for layer in (
        cconv.MaxPool2d(2, return_indices=True),
        cconv.AdaptiveMaxPool2d(4, return_indices=True),
    ):
        y, index = layer(x)
        g = np.arange(y.size, dtype=y.dtype).reshape(y.shape)
        expected = layer.backward(g)
        index[...] = index[..., ::-1, :]  # the layer's own: what it goes by is seen
        assert not np.array_equal(layer.backward(g), expected)
