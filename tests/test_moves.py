"""Moves of data, conversions and sums on the threads: what NumPy gives, bit for bit, whatever the threads."""

import itertools
import tracemalloc

import numpy as np
import pytest

import cconv
from cconv import grad
from cconv._run import elementwise

NUMBERS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = cconv.get_num_threads()
    cconv.set_num_threads(request.param)
    yield request.param
    cconv.set_num_threads(before)


def values(dtype, *shape, seed=0):
    """Of the whole range of integers; floats with NaN, infinities, zeros of both signs and halfway cases."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    a = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4, shape)
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 65520.0, 1e39, -1e39, 1e-42, 2.0**-25]
    a.reshape(-1)[: len(special)] = special[: a.size]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype.kind == "c":
            return (a + 1j * rng.standard_normal(shape)).astype(dtype)
        return a.astype(dtype)


def layouts(a):
    """Arrays of these values: dense, with gaps, backwards, with the last axis first, and off their alignment."""
    yield "dense", a
    gaps = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)[..., ::2]
    gaps[...] = a
    yield "gaps", gaps
    yield "backwards", np.ascontiguousarray(a[..., ::-1])[..., ::-1]
    yield "turned", np.moveaxis(np.ascontiguousarray(np.moveaxis(a, -1, 0)), 0, -1)
    odd = np.zeros(a.nbytes + 1, "u1")[1:].view(a.dtype).reshape(a.shape)
    odd[...] = a
    yield "odd", odd


def same(y, expected):
    assert y.dtype == expected.dtype and y.shape == expected.shape
    np.testing.assert_array_equal(y, expected)
    if y.dtype.kind in "fc":
        zero = expected == 0
        assert np.array_equal(np.signbit(y.real[zero]), np.signbit(expected.real[zero]))


# ---------------------------------------------------------------- conversions


@pytest.mark.parametrize("pair", list(itertools.product(NUMBERS, repeat=2)), ids="-".join)
def test_conversions_are_those_of_numpy(pair):
    source, target = map(np.dtype, pair)
    if source.kind == "c" and target.kind != "c" and source != target:
        pytest.skip("warns of a lost part")
    a = values(source, 3, 5, 71, 79)
    if source.kind in "fc" and target.kind in "iub":
        a = np.clip(np.nan_to_num(a.real), 0, 100).astype(source)
    for name, x in layouts(a):
        with np.errstate(all="ignore"):
            expected = x.astype(target)
        for _, to in layouts(np.zeros(a.shape, target)):
            assert elementwise.move(to, x) is to
            same(to, expected)
        if name != "odd":
            y = elementwise.cast(x, target)
            same(y, expected)
            assert y.strides == expected.strides


@pytest.mark.parametrize("order", [">f4", ">i2", "<f8", ">u8"])
def test_byte_orders(order):
    a = values(order[1:], 90, 1000).astype(order)
    with np.errstate(all="ignore"):
        same(elementwise.cast(a, np.dtype("f8")), a.astype("f8"))
        to = np.zeros(a.shape, order)
        same(elementwise.move(to, a.astype("f8")), a.astype("f8").astype(order))


def test_arrays_that_overlap():
    a = np.arange(200_000, dtype="i4")
    expected = a[:-5].copy()
    elementwise.move(a[5:], a[:-5])
    same(a[5:], expected)
    b = np.arange(100_000, dtype="i4")
    expected = b[::-1].copy()
    same(elementwise.move(b, b[::-1]), expected)


@pytest.mark.parametrize(
    "shape", [(), (0, 70_000), (1, 1), (70_000,), (2,) * 17, (40_000, 2), (3, 1, 50_000)]
)
def test_shapes(shape):
    a = values("i2", *shape) if 0 not in shape else np.zeros(shape, "i2")
    same(elementwise.cast(np.asarray(a, "i2"), np.dtype("f4")), np.asarray(a).astype("f4"))


@pytest.mark.parametrize("dtype", ["f2", "i1", ">f4", "u2", "u4", "u8"])
def test_pools_of_what_is_converted(dtype, threads):
    a = values(dtype[-2:], 2, 4, 150, 160)
    a = np.nan_to_num(a) if a.dtype.kind == "f" else a
    for _, x in layouts(a.astype(dtype)):
        y, at = cconv.max_pool2d(x, 2, return_indices=True)
        blocks = a.reshape(2, 4, 75, 2, 80, 2)
        same(y, blocks.max((3, 5)))
        same(np.take_along_axis(a.reshape(2, 4, -1), at.reshape(2, 4, -1), -1), y.reshape(2, 4, -1))


# ---------------------------------------------------------------- unfold and fold


def unfolded(x, kernel, stride, dilation, pads):
    """By NumPy."""
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    size = [
        (L - (k - 1) * d - 1) // s + 1
        for L, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)
    ]
    rows = []
    for tap in np.ndindex(*kernel):
        place = tuple(
            slice(t * d, t * d + s * (o - 1) + 1, s)
            for t, d, s, o in zip(tap, dilation, stride, size, strict=True)
        )
        rows.append(x[(..., *place)].reshape(*x.shape[:2], -1))
    return np.stack(rows, 2).reshape(x.shape[0], -1, rows[0].shape[-1]), size


def folded(u, size, kernel, stride, dilation, pads):
    """By NumPy, tap by tap, halves in float32."""
    half = u.dtype == np.float16
    padded = [L + b + a for L, (b, a) in zip(size, pads, strict=True)]
    out = [
        (L - (k - 1) * d - 1) // s + 1
        for L, k, s, d in zip(padded, kernel, stride, dilation, strict=True)
    ]
    columns = u.reshape(u.shape[0], -1, *kernel, *out)
    result = np.zeros((*columns.shape[:2], *padded), np.float32 if half else u.dtype)
    for tap in np.ndindex(*kernel):
        place = tuple(
            slice(t * d, t * d + s * (o - 1) + 1, s)
            for t, d, s, o in zip(tap, dilation, stride, out, strict=True)
        )
        with np.errstate(all="ignore"):
            result[(..., *place)] += columns[(slice(None), slice(None), *tap)]
    crop = tuple(slice(b, b + L) for L, (b, _) in zip(size, pads, strict=True))
    with np.errstate(all="ignore"):
        return result[(..., *crop)].astype(u.dtype)


WINDOWS = [
    # size, kernel, stride, dilation, padding
    ((90_000,), (3,), (2,), (5,), [(3, 8)]),
    ((70_001,), (2,), (70_000,), (70_000,), [(0, 0)]),
    ((130, 140), (3, 2), (1, 2), (2, 1), [(2, 0), (0, 1)]),
    ((5, 6), (4, 4), (3, 1), (1, 2), [(4, 4), (9, 9)]),
    ((20, 31, 33), (2, 3, 3), (1, 2, 1), (1, 1, 2), [(1, 1), (0, 2), (2, 2)]),
]


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: str(w[0]))
def test_unfold_and_fold(dtype, window, threads):
    size, kernel, stride, dilation, pads = window
    a = values(dtype, 2, 3, *size)
    expected, _ = unfolded(a, kernel, stride, dilation, pads)
    for name, x in layouts(a):
        if name != "dense" and dtype not in ("u1", "f2", "f4", "c16"):
            continue
        same(cconv.unfold(x, kernel, dilation, pads, stride), expected)
    back = folded(expected, size, kernel, stride, dilation, pads)
    for name, u in layouts(expected):
        if name != "dense" and dtype not in ("u1", "f2", "f4", "c16"):
            continue
        y = cconv.fold(u, size, kernel, dilation, pads, stride)
        assert y.dtype == back.dtype
        np.testing.assert_array_equal(y, back)


def test_unfold_makes_no_padded_copy():
    x = np.ones((1, 8, 700, 700), "f4")
    cconv.unfold(x, 1, padding=8)
    tracemalloc.start()
    try:
        y = cconv.unfold(x, 1, padding=8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < y.nbytes + (1 << 20)


# ---------------------------------------------------------------- max_unpool


@pytest.mark.parametrize("dtype", [d for d in NUMBERS if not d.startswith("c")])
@pytest.mark.parametrize("shape", [(2, 3, 70, 80), (1, 1, 400, 300), (40, 50, 5, 6), (0, 3, 4, 4)])
def test_max_unpool(dtype, shape, threads):
    a = values(dtype, *shape) if shape[0] else np.zeros(shape, dtype)
    plane = shape[2] * shape[3]
    at = np.random.default_rng(1).integers(0, plane, shape)  # many twice: the last one wins
    expected = np.zeros((*shape[:2], plane), dtype)
    for i in np.ndindex(*shape[:2]):
        for j, v in zip(at[i].reshape(-1), a[i].reshape(-1), strict=True):
            expected[(*i, j)] = v
    for (_, x), (_, index), kind in zip(
        layouts(a), layouts(at), ("i8", "i4", "u8", "u4", ">i8"), strict=True
    ):
        y = cconv.max_unpool2d(x, index.astype(kind), 1)
        same(y, expected.reshape(shape))
        if x.dtype.kind == "f":
            out = np.zeros((*shape[:3], 2 * shape[3]), dtype)[..., ::2]
            taken = np.take_along_axis(
                a.reshape(*shape[:2], plane), at.reshape(*shape[:2], plane), -1
            )
            for result in (
                grad.max_unpool2d_input(index.astype(kind), x, 1),
                grad.max_unpool2d_input(index.astype(kind), x, 1, out=out),
                grad.max_unpool2d_input(index.astype(kind), x, 1, out=np.zeros(shape, dtype)),
            ):
                same(result, taken.reshape(shape))


@pytest.mark.parametrize("bad", [-1, 160_000, 2**40, -(2**63), 2**63 - 1, 2**64 - 1])
def test_indices_are_looked_at_before_anything_is_written(bad, threads):
    x = np.ones((1, 2, 400, 400), "f4")
    at = np.zeros(x.shape, "u8" if bad >= 2**63 else "i8")
    at[0, 1, 399, 398] = bad
    out = np.full(x.shape, 7, "f4")
    for call in (
        lambda: cconv.max_unpool2d(x, at, 1),
        lambda: grad.max_unpool2d_input(at, x, 1, out=out),
    ):
        with pytest.raises(ValueError, match=rf"indices must lie in 0\.\.159999, .* got {bad}$"):
            call()
    assert (out == 7).all()


# ---------------------------------------------------------------- sums and powers


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 7), (3, 2, 63), (3, 5, 64), (700, 90, 5), (9, 700, 777), (1, 2, 900_001), (1000, 3, 1), (0, 4, 9)]
)  # fmt: skip
def test_bias_gradients(dtype, shape, threads):
    g = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    y = grad.conv1d_bias(g)
    f = g.astype("f4") if dtype == "f2" else g.astype(g.dtype.newbyteorder("="))
    expected = f.sum(2).sum(0) if shape[2] >= 64 else f.sum(0).sum(1)
    np.testing.assert_array_equal(y, expected.astype(y.dtype))
    for _, x in layouts(g):
        np.testing.assert_array_equal(grad.conv1d_bias(x), y)
    out = np.zeros(2 * shape[1], y.dtype)[::2]
    assert grad.conv1d_bias(g, out=out) is out
    np.testing.assert_array_equal(out, y)


def test_bias_gradient_of_many_samples(threads):
    """Added up in runs: more digits than one after the other."""
    g = np.random.default_rng(0).random((300_001, 3, 2), "f4")
    np.testing.assert_allclose(grad.conv1d_bias(g), g.sum((0, 2), dtype="f8"), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("norm", [1, 2, 3, 0.5, np.inf])
def test_powers(dtype, norm, threads):
    x = values(dtype, 2, 5, 120, 130)
    x = (
        np.where(np.abs(x) < 1e-3, 0, np.nan_to_num(x, posinf=3, neginf=-3))
        .clip(-1e4, 1e4)
        .astype(dtype)
    )
    y = cconv.lp_pool2d(x, norm, 2)
    for _, strided in layouts(x):
        same(cconv.lp_pool2d(strided, norm, 2), y)
    wide = np.abs(x.astype("f8")).reshape(2, 5, 60, 2, 65, 2)
    right = wide.max((3, 5)) if norm == np.inf else (wide**norm).sum((3, 5)) ** (1 / norm)
    np.testing.assert_allclose(y, right, rtol=3e-6 if dtype == "f4" else 1e-13)
    if norm >= 1:
        gy = np.random.default_rng(2).standard_normal(y.shape).astype(dtype)
        gx = grad.lp_pool2d_input(x, gy, norm, 2)
        with np.errstate(all="ignore"):
            slope = np.repeat(np.repeat(gy.astype("f8") * right ** -(norm - 1.0), 2, 2), 2, 3)
            wanted = np.where(
                x != 0, slope * np.abs(x.astype("f8")) ** (norm - 1.0) * np.sign(x), 0
            )
        if norm != np.inf:
            np.testing.assert_allclose(
                gx, wanted, rtol=2e-5 if dtype == "f4" else 1e-12, atol=1e-30
            )


def test_integers_wrap(threads):
    u = np.full((1, 9, 300 * 300), 100, "i1")
    y = cconv.fold(u, (302, 302), 3)
    assert y.dtype == np.int8 and (y[0, 0, 2:-2, 2:-2] == np.array(900).astype("i1")).all()
    x = np.full((1, 1, 400, 400), 200, "u1")
    w = np.full((1, 1, 1, 1), 2, "u1")
    assert (cconv.conv2d(x, w) == np.array(400).astype("u1")).all()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_gradients_under_padding_modes(mode, threads):
    """The same as by the gradient of the padded array, added up by NumPy."""
    x = values("f8", 2, 16, 90, 95)
    w = np.random.default_rng(3).standard_normal((2, 16, 3, 3))
    pads = [(3, 2), (1, 9)]
    g = np.random.default_rng(4).standard_normal(
        cconv.conv2d(x, w, padding=pads, padding_mode=mode).shape
    )
    places = np.arange(90 * 95).reshape(90, 95)
    name = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    places = np.pad(places, pads, mode=name)
    inner = grad.conv2d_input((2, 16, *places.shape), w, g)
    expected = np.zeros((2, 16, 90 * 95))
    np.add.at(expected, (slice(None), slice(None), places.reshape(-1)), inner.reshape(2, 16, -1))
    y = grad.conv2d_input(x.shape, w, g, padding=pads, padding_mode=mode)
    np.testing.assert_allclose(y, expected.reshape(x.shape), rtol=1e-10, atol=1e-10)
    out = np.zeros((*x.shape[:3], 190))[..., ::2]
    assert grad.conv2d_input(x.shape, w, g, padding=pads, padding_mode=mode, out=out) is out
    np.testing.assert_array_equal(out, y)


def test_complex_convolutions(threads):
    x, w = values("c8", 2, 4, 120, 130), values("c8", 6, 2, 1, 1, seed=5)
    x, w = (
        np.nan_to_num(x, posinf=1, neginf=-1).clip(-9, 9),
        np.nan_to_num(w, posinf=1, neginf=-1).clip(-9, 9),
    )
    y = cconv.conv2d(x, w, groups=2)
    expected = np.concatenate(
        [
            np.einsum(
                "oc,nchw->nohw",
                w[i * 3 : i * 3 + 3, :, 0, 0].astype("c16"),
                x[:, 2 * i : 2 * i + 2],
            )
            for i in range(2)
        ],
        1,
    )
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-3)
    for _, strided in layouts(x):
        np.testing.assert_array_equal(cconv.conv2d(strided, w, groups=2), y)
