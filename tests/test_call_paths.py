"""Every call that can be planned once is planned once, whatever its dtype, its layout, or how parameters are given."""

import time

import numpy as np
import pytest

import cconv
from cconv import _pools, _prepack, grad
from cconv._operations import Signature, named_kind, split_name
from cconv._resolvers import RESOLVERS
from cconv._run.entry import Operation, forget
from cconv._run.runner import set_tracer

X = np.random.default_rng(0).standard_normal((2, 4, 10, 10)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((6, 4, 3, 3)).astype(np.float32)


def counted(name):
    """The operation of this name, and a list that grows with every call that it resolves."""
    base, rank = split_name(name)
    resolver, resolved = RESOLVERS[base](name, rank), []

    def resolve(args):
        resolved.append(args)
        return resolver(args)

    signature = Signature(name, tuple(map(named_kind, resolver.parameters.split())))
    return Operation(name, lambda: (signature, resolve)), resolved


def conv(x, w, stride=1, padding=0, b=None):
    return x, w, b, stride, padding, 1, 1, "zeros", None, "auto", None


def pool(x, *window, indexed=False):
    return x, *window, 1, False, indexed, None


GY = np.ones((2, 6, 8, 8), np.float32)
CALLS = {
    "float16": ("conv2d", conv(X.astype("f2"), W.astype("f2"))),
    "mixed": ("conv2d", conv(X, W.astype("f8"))),
    "integers": ("conv2d", conv(X.astype("i4"), W.astype("i4"))),
    "small integers": ("conv2d", conv(X.astype("i1"), W.astype("i1"))),
    "complex": ("conv2d", conv(X.astype("c8"), W.astype("c8"))),
    "byte order": ("conv2d", conv(X.astype(">f4"), W.astype(">f4"))),
    "odd weights": ("conv2d", conv(X, W[:, :, ::-1, ::-1])),
    "lists": ("conv2d", conv(X, W, [1, 1], [1, [0, 1]])),
    "NumPy's integers": ("conv2d", conv(X, W, np.int64(1), np.array([1, 1]))),
    "nested lists": ("conv2d", conv(X.tolist(), W.tolist())),
    "fft": ("conv2d", (*conv(X, W)[:-2], "fft", None)),
    "indices": ("max_pool2d", pool(X, 2, 2, 0, indexed=True)),
    "bool": ("max_pool2d", pool(X > 0, 2, 2, 0)),
    "uint64": ("max_pool2d", pool(X.astype("u8"), [2, 2], None, 0)),
    "mean of integers": ("avg_pool2d", (X.astype("i4"), 2, 2, 0, False, True, None, 1, None)),
    "norm": ("lp_pool2d", (X, 3.0, 2, 2, False, 0, 1, None)),
    "adaptive": ("adaptive_max_pool2d", (X, [3, None], True, None)),
    "transposed": ("conv_transpose2d", (X, W.swapaxes(0, 1), None, [2, 2], 0, [0, 1], 1, 1, None, "auto", None)),
    "unfold": ("unfold", (X, [2, 2], 1, 0, 1)),
    "input gradient": ("conv2d_input", ([2, 4, 10, 10], W.astype("f2"), GY.astype("f2"), 1, 0, 1, 1, "zeros", None)),
    "reflected gradient": ("conv2d_input", ([2, 4, 8, 8], W, GY, 1, 1, 1, 1, "reflect", None)),
    "norm's gradient": ("lp_pool2d_input", (X, np.ones((2, 4, 5, 5), "f4"), 3, 2, [2], 0, 0, 1, None)),
    "bias gradient": ("conv2d_bias", (X, None)),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
def test_resolved_once(case):
    forget()
    name, args = CALLS[case]
    operation, resolved = counted(name)
    first, second = operation(*args), operation(*args)
    assert len(resolved) == 1
    pairs = zip(first, second, strict=True) if isinstance(first, tuple) else [(first, second)]
    assert all(a.tobytes() == b.tobytes() and a is not b for a, b in pairs)


def test_errors_are_not_remembered():
    forget()
    operation, resolved = counted("conv2d")
    for _ in range(2):
        with pytest.raises(TypeError, match="stride"):
            operation(*conv(X, W, True))
    assert len(resolved) == 2


def test_what_is_equal_may_mean_something_else():
    """1, 1.0 and True are equal, but only the first is a stride."""
    cconv.conv2d(X, W, None, 1)
    for stride in (1.0, True, (1, 1.0), np.True_):
        with pytest.raises(TypeError, match="stride"):
            cconv.conv2d(X, W, None, stride)


def kernels(call):
    ran = []
    set_tracer(lambda kernel, dtype, *_: ran.append(dtype))
    try:
        return call(), ran
    finally:
        set_tracer(None)


@pytest.mark.parametrize("packed", [False, True])
def test_one_large_sum_does_not_slow_down_the_next(packed):
    """Integers are computed as floats where their sums allow it, in each call anew."""
    rng = np.random.default_rng(2)
    x, w = (rng.integers(-9, 9, shape, np.int32) for shape in ((1, 64, 30, 30), (64, 64, 3, 3)))
    run = cconv.prepack(w) if packed else lambda x: cconv.conv2d(x, w)
    large = x.copy()
    large[0, 0, 0, 0] = 2**31 - 1
    huge = np.full_like(x, 2**31 - 1)
    for _ in range(2):
        for a, dtype in ((x, "float32"), (large, "float64"), (x, "float32"), (huge, "float64")):
            y, ran = kernels(lambda: run(a))  # noqa: B023
            assert set(ran) == {dtype}
            windows = np.lib.stride_tricks.sliding_window_view(a.astype(np.int64), (3, 3), (2, 3))
            exact = np.tensordot(w, windows, ((1, 2, 3), (1, 4, 5))).swapaxes(0, 1)
            assert np.array_equal(y, exact.astype(np.int32))
    w *= 2**20
    run = cconv.prepack(w) if packed else run
    assert set(kernels(lambda: run(huge))[1]) == {"int32"}
    assert set(kernels(lambda: run(x))[1]) == {"float64"}


@pytest.mark.parametrize("dtype", ["i4", "i8", "i1", "f4"])
def test_prepacked_is_not_slower(dtype):
    """A 1 x 1 convolution of integers took twice the time of the plain call."""
    rng = np.random.default_rng(3)
    x = rng.integers(-9, 9, (1, 24, 32, 80)).astype(dtype)
    w = rng.integers(-9, 9, (24, 24, 1, 1)).astype(dtype)
    run = cconv.prepack(w)
    assert np.array_equal(run(x), cconv.conv2d(x, w))
    times = {"packed": 1.0, "plain": 1.0}
    for _ in range(300):
        for name, call in (("packed", lambda: run(x)), ("plain", lambda: cconv.conv2d(x, w))):
            start = time.perf_counter()
            call()
            times[name] = min(times[name], time.perf_counter() - start)
    assert times["packed"] < 1.25 * times["plain"], times


def test_prepacked_is_resolved_once(monkeypatch):
    resolved = []
    real = _prepack.Prepacked._resolve
    monkeypatch.setattr(
        _prepack.Prepacked, "_resolve", lambda self, x: resolved.append(x) or real(self, x)
    )
    for dtype in ("f4", "f2", "i1", "i4", "c8"):
        run = cconv.prepack(W.astype(dtype))
        x = X.astype(dtype)
        assert run(x).tobytes() == run(x.copy()).tobytes()
        run(x, out=run(x))
    assert len(resolved) == 5


def test_a_pool_is_checked_once(monkeypatch):
    made = []
    real = _pools.check_pool
    monkeypatch.setattr(_pools, "check_pool", lambda *args: made.append(args) or real(*args))
    forget()
    out = np.empty((2, 4, 5, 5), np.float32)
    for _ in range(2):
        assert cconv.max_pool2d(X, 2, out=out) is out
    assert len(made) == 1


@pytest.mark.parametrize("stride", [(), [], None, np.array([], int)])
def test_an_empty_stride_is_the_kernel_size(stride):
    """As in torch."""
    assert np.array_equal(cconv.avg_pool2d(X, 2, stride), cconv.avg_pool2d(X, 2, 2))
    assert np.array_equal(cconv.max_pool2d(X, (2, 3), stride), cconv.max_pool2d(X, (2, 3), (2, 3)))
    assert np.array_equal(cconv.lp_pool2d(X, 2, 2, stride), cconv.lp_pool2d(X, 2, 2, 2))
    y = cconv.avg_pool2d(X, 2)
    given = grad.avg_pool2d_input(X.shape, y, 2, stride)
    assert np.array_equal(given, grad.avg_pool2d_input(X.shape, y, 2, 2))
    with pytest.raises(ValueError, match="stride"):
        cconv.conv2d(X, W, None, () if stride is None else stride)


def test_an_empty_stride_is_for_pools_alone():
    y, at = cconv.max_pool2d(X, 2, (), return_indices=True)
    assert y.shape == (2, 4, 5, 5)
    with pytest.raises(ValueError, match="max_unpool2d: stride must be an int or have 2 values"):
        cconv.max_unpool2d(y, at, 2, ())
