"""Every gradient beside torch.autograd on random problems, and beside numerical differences of cconv's functions."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
from test_torch_parity import DTYPES, agree, draw, ints, layout, tensor

import cconv
from cconv import grad
from cconv._operations import OPERATIONS, Kind

torch = pytest.importorskip("torch")
F = torch.nn.functional

FLOATS = [dtype for dtype in DTYPES if dtype.startswith("float")]
CALLS = int(os.environ.get("CCONV_TEST_CALLS", "40"))  # random problems of each test
MODES = ("zeros", "reflect", "replicate", "circular")


def double(a):
    return tensor(np.asarray(a).astype("float64")).requires_grad_(True)


def called(name, *args, **options):
    """The function's result: three times, of which the second and third take the path that skips the checks."""
    function = getattr(grad, name)
    result = function(*args, **options)
    plain = [
        a.astype(a.dtype.newbyteorder("="), order="C") if isinstance(a, np.ndarray) else a
        for a in args
    ]
    for _ in range(2):
        again = function(*plain, **options)
        assert again.dtype == result.dtype and np.array_equal(again, result, equal_nan=True), name
    assert result.flags.c_contiguous and result.flags.writeable
    if result.dtype.kind == "f":
        out = np.full(tuple(2 * n for n in result.shape), 7, result.dtype)[
            tuple(slice(None, n) for n in result.shape)
        ]
        assert function(*args, **options, out=out) is out
        assert np.array_equal(out, result, equal_nan=True), name
    return result


def padded(x, pads, mode):
    """F.pad along all spatial axes; torch's reflect and circular want a batch."""
    flat = [p for pair in reversed(pads) for p in pair]
    if mode == "zeros":
        return F.pad(x, flat)
    return F.pad(x, flat, mode=mode)


def draw_pads(rng, rank, low, high):
    """Padding as given, and as (before, after) an axis."""
    kind = rng.integers(3)
    if kind == 0:
        p = int(rng.integers(low, high))
        return p, [(p, p)] * rank
    if kind == 1:
        p = tuple(int(v) for v in rng.integers(low, high, rank))
        return p, [(v, v) for v in p]
    p = tuple((int(a), int(b)) for a, b in rng.integers(low, high, (rank, 2)))
    return p, list(p)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_conv(rank, dtype, mode):
    rng = np.random.default_rng([rank, FLOATS.index(dtype), MODES.index(mode), 1])
    torch_conv = getattr(F, f"conv{rank}d")
    for call in range(CALLS if mode == "zeros" else CALLS // 4):
        groups, c, o = (int(v) for v in rng.integers(1, 5, 3))
        if rng.random() < 0.3:
            o = int(rng.integers(5, 40))
        kernel = tuple(int(v) for v in rng.integers(1, 5, rank))
        stride, _ = ints(rng, 1, 7, rank)
        dilation, d = ints(rng, 1, 4, rank)
        given, pads = draw_pads(rng, rank, 0, 4)
        space = [
            max(1 + e * (k - 1), 4) + int(v)
            for e, k, v in zip(d, kernel, rng.integers(0, 14, rank), strict=True)
        ]
        lead = (int(rng.integers(1, 4)),)
        x = draw(rng, (*lead, c * groups, *space), dtype)
        w = draw(rng, (o * groups, c, *kernel), dtype)

        def run(a, b, pads=pads, options=(stride, 0, dilation, groups)):
            return torch_conv(padded(a, pads, mode), b, None, *options)

        xt, wt = double(x), double(w)
        y = run(xt, wt)
        gy = draw(rng, tuple(y.shape), dtype)
        gx, gw = torch.autograd.grad(y, (xt, wt), double(gy))
        xa, wa = double(abs(x)), double(abs(w))
        tx, tw = torch.autograd.grad(run(xa, wa), (xa, wa), double(abs(gy)))
        context = (call, x.shape, w.shape, stride, given, dilation, groups)
        options = (stride, given, dilation, groups)
        if rng.random() < 0.2 and lead == (1,):
            x, gy, gx, tx = x[0], gy[0], gx[0], tx[0]
        result = called(
            f"conv{rank}d_input", x.shape, layout(rng, w), layout(rng, gy), *options, padding_mode=mode
        )  # fmt: skip
        agree(result, gx, dtype, tx.numpy(), context)
        result = called(
            f"conv{rank}d_weight", layout(rng, x), w.shape, layout(rng, gy), *options, padding_mode=mode
        )  # fmt: skip
        agree(result, gw, dtype, tw.numpy(), context)
        axes = tuple(i for i in range(gy.ndim) if i != gy.ndim - rank - 1)
        wide = gy.astype("float64")
        agree(called(f"conv{rank}d_bias", gy), wide.sum(axes), dtype, abs(wide).sum(axes), context)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_conv_transpose(rank, dtype):
    rng = np.random.default_rng([rank, FLOATS.index(dtype), 2])
    torch_conv = getattr(F, f"conv_transpose{rank}d")
    done = 0
    while done < CALLS:
        groups, c, o = (int(v) for v in rng.integers(1, 5, 3))
        if rng.random() < 0.3:
            c = int(rng.integers(5, 40))
        kernel = tuple(int(v) for v in rng.integers(1, 5, rank))
        stride, s = ints(rng, 1, 5, rank)
        dilation, d = ints(rng, 1, 4, rank)
        padding, _ = ints(rng, 0, 3, rank)
        extra = tuple(int(rng.integers(0, max(a, b))) for a, b in zip(s, d, strict=True))
        x = draw(rng, (int(rng.integers(1, 4)), c * groups, *rng.integers(1, 9, rank)), dtype)
        w = draw(rng, (c * groups, o, *kernel), dtype)
        options = (stride, padding, extra, groups, dilation)

        def run(a, b, options=options):
            return torch_conv(a, b, None, *options)

        xt, wt = double(x), double(w)
        try:
            y = run(xt, wt)
        except RuntimeError:  # no output
            continue
        done += 1
        gy = draw(rng, tuple(y.shape), dtype)
        gx, gw = torch.autograd.grad(y, (xt, wt), double(gy))
        xa, wa = double(abs(x)), double(abs(w))
        tx, tw = torch.autograd.grad(run(xa, wa), (xa, wa), double(abs(gy)))
        context = (x.shape, w.shape, *options)
        name = f"conv_transpose{rank}d"
        result = called(f"{name}_input", x.shape, layout(rng, w), layout(rng, gy), *options)
        agree(result, gx, dtype, tx.numpy(), context)
        result = called(f"{name}_weight", layout(rng, x), w.shape, layout(rng, gy), *options)
        agree(result, gw, dtype, tw.numpy(), context)
        axes = (0, *range(2, 2 + rank))
        wide = gy.astype("float64")
        agree(called(f"{name}_bias", gy), wide.sum(axes), dtype, abs(wide).sum(axes), context)


# prime sizes, strides beyond the kernel, rows that no window reaches, and the kernels' own edges
EDGES = [
    ((2, 3, 13, 17), (5, 3, 3, 3), dict(stride=1, padding=1)),
    ((1, 1, 29, 31), (1, 1, 2, 2), dict(stride=5)),
    ((3, 7, 11, 23), (19, 7, 1, 1), {}),
    ((3, 19, 11, 23), (64, 19, 1, 1), {}),
    ((3, 64, 11, 23), (19, 64, 1, 1), {}),
    ((2, 64, 16, 16), (33, 64, 1, 1), dict(stride=2)),
    ((5, 4, 7, 7), (70, 4, 3, 3), dict(padding=1)),
    ((9, 40, 7, 7), (40, 40, 3, 3), dict(padding=1)),
    ((2, 6, 37, 41), (6, 1, 5, 5), dict(groups=6, padding=2)),
    ((2, 6, 37, 41), (6, 1, 3, 3), dict(groups=6, padding=1, stride=2)),
    ((1, 16, 19, 47), (16, 2, 3, 3), dict(groups=8, padding=((1, 0), (2, 1)))),
    ((1, 3, 45, 47), (64, 3, 7, 7), dict(stride=2, padding=3)),
    ((1, 1, 9, 501), (20, 1, 1, 40), dict(stride=(1, 16))),
    ((1, 2, 5, 400), (3, 2, 1, 101), dict(padding=(0, 50))),
    # long strides along one row: the phases as channels
    ((2, 4, 1, 503), (6, 2, 1, 40), dict(stride=(1, 16), padding=(0, 13), groups=2)),
    ((1, 1, 1, 1000), (5, 1, 1, 11), dict(stride=(1, 20))),
    ((2, 1, 1, 331), (20, 1, 1, 33), dict(stride=(1, 11), padding=((0, 0), (5, 31)))),
    ((1, 2, 53, 59), (3, 2, 3, 3), dict(dilation=17, padding=17)),
    ((1, 1, 2, 2**22 + 7), (2, 1, 1, 2), dict(dilation=(1, 2**22))),
    ((1, 32, 200, 20), (32, 32, 3, 3), dict(padding=1)),
    ((70, 8, 5, 5), (24, 8, 3, 3), dict(padding=1)),
    ((2, 3, 300, 31), (2, 3, 4, 4), dict(stride=3, padding=1)),
]


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("shape, weight, options", EDGES)
def test_edges(shape, weight, options, dtype):
    rng = np.random.default_rng(3)
    x, w = draw(rng, shape, dtype), draw(rng, weight, dtype)
    pads = options.get("padding", 0)
    pads = [
        p if isinstance(p, tuple) else (p, p)
        for p in (pads if isinstance(pads, tuple) else (pads,) * 2)
    ]
    rest = {k: v for k, v in options.items() if k != "padding"}
    results = []
    for a, b in ((x, w), (abs(x), abs(w))):
        at, bt = double(a), double(b)
        y = F.conv2d(padded(at, pads, "zeros"), bt, None, **rest)
        gy = draw(np.random.default_rng(4), tuple(y.shape), dtype)
        results.append(torch.autograd.grad(y, (at, bt), double(gy if a is x else abs(gy))))
    (gx, gw), (tx, tw) = results
    # Winograd, where auto chooses it, has up to 4 times the error
    agree(called("conv2d_input", shape, w, gy, **options), gx, dtype, 4 * tx.numpy())
    agree(called("conv2d_weight", x, weight, gy, **options), gw, dtype, tw.numpy())


def test_threads_give_the_same_bits():
    rng = np.random.default_rng(5)
    before = cconv.get_num_threads()
    try:
        for shape, weight, options in EDGES:
            x, w = draw(rng, shape, "float32"), draw(rng, weight, "float32")
            gy = draw(rng, cconv.conv2d(x, w, **options).shape, "float32")
            results = []
            for threads in (1, 2, 3):
                cconv.set_num_threads(threads)
                results.append(
                    (
                        grad.conv2d_input(shape, w, gy, **options),
                        grad.conv2d_weight(x, weight, gy, **options),
                        grad.max_pool2d_input(x, x, 1),
                        grad.max_pool2d_input(x, cconv.max_pool2d(x, 3, 1, 1), 3, 1, 1),
                        grad.avg_pool2d_input(shape, cconv.avg_pool2d(x, 3, 1, 1), 3, 1, 1),
                    )
                )
            for other in results[1:]:
                for a, b in zip(results[0], other, strict=True):
                    assert np.array_equal(a, b), (shape, weight)
    finally:
        cconv.set_num_threads(before)


# ---------------------------------------------------------------- pools


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_max_pool(rank, dtype):
    """With ties, infinities and NaN: the gradient goes where torch sends it."""
    rng = np.random.default_rng([rank, FLOATS.index(dtype), 6])
    pool = getattr(F, f"max_pool{rank}d")
    for call in range(CALLS):
        kernel, k = ints(rng, 1, 8 if rank == 2 else 5, rank)
        stride, _ = ints(rng, 1, 5, rank)
        dilation, d = ints(rng, 1, 3, rank)
        padding = tuple(int(rng.integers(0, n // 2 + 1)) for n in k)
        ceil_mode = bool(rng.random() < 0.5)
        space = [
            e * (n - 1) + 1 + int(v)
            for e, n, v in zip(d, k, rng.integers(0, 20, rank), strict=True)
        ]
        lead = (int(rng.integers(1, 3)), int(rng.integers(1, 4)))[int(rng.random() < 0.3) :]
        x = draw(rng, (*lead, *space), dtype)
        if call % 2:
            x = rng.integers(-2, 3, x.shape).astype(dtype)
            x[rng.random(x.shape) < 0.1] = -np.inf
            x[rng.random(x.shape) < 0.05] = np.nan if call % 4 == 3 else np.inf
        xt = double(x)
        y = pool(xt, kernel, stride, padding, dilation, ceil_mode)
        gy = draw(rng, tuple(y.shape), dtype)
        (expected,) = torch.autograd.grad(y, xt, double(gy))
        (terms,) = torch.autograd.grad(
            pool(xt, kernel, stride, padding, dilation, ceil_mode), xt, double(abs(gy))
        )
        result = called(
            f"max_pool{rank}d_input", layout(rng, x), layout(rng, gy), kernel, stride, padding, dilation, ceil_mode
        )  # fmt: skip
        agree(
            result,
            expected,
            dtype,
            terms.numpy(),
            (call, x.shape, kernel, stride, padding, dilation),
        )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_avg_pool(rank, dtype):
    rng = np.random.default_rng([rank, FLOATS.index(dtype), 7])
    pool = getattr(F, f"avg_pool{rank}d")
    for call in range(CALLS):
        kernel, k = ints(rng, 1, 20 if rank == 1 else 6, rank)
        stride, _ = ints(rng, 1, 6, rank)
        padding = tuple(int(rng.integers(0, n // 2 + 1)) for n in k)
        options = [bool(rng.random() < 0.5), bool(rng.random() < 0.5)]
        if rank > 1 and rng.random() < 0.3:
            options.append(int(rng.integers(1, 9)))
        space = [n + int(v) for n, v in zip(k, rng.integers(0, 25, rank), strict=True)]
        lead = (int(rng.integers(1, 3)), int(rng.integers(1, 4)))[int(rng.random() < 0.3) :]
        x = draw(rng, (*lead, *space), dtype)
        xt = double(x)
        y = pool(xt, kernel, stride, padding, *options)
        gy = draw(rng, tuple(y.shape), dtype)
        (expected,) = torch.autograd.grad(y, xt, double(gy))
        (terms,) = torch.autograd.grad(
            pool(xt, kernel, stride, padding, *options), xt, double(abs(gy))
        )
        result = called(
            f"avg_pool{rank}d_input", x.shape, layout(rng, gy), kernel, stride, padding, *options
        )
        agree(
            result,
            expected,
            dtype,
            terms.numpy(),
            (call, x.shape, kernel, stride, padding, options),
        )


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_lp_pool(rank, dtype):
    rng = np.random.default_rng([rank, FLOATS.index(dtype), 8])
    pool = getattr(F, f"lp_pool{rank}d")
    for call in range(CALLS):
        norm = (1, 2, 3, 2.5)[call % 4]
        kernel, k = ints(rng, 1, 5, rank)
        stride, _ = ints(rng, 1, 4, rank)
        ceil_mode = bool(rng.random() < 0.5)
        space = [n + int(v) for n, v in zip(k, rng.integers(0, 9, rank), strict=True)]
        x = abs(draw(rng, (2, 3, *space), dtype)) + 0.1  # torch takes no magnitudes
        if rank == 1:  # nor tuples there
            kernel, stride = k[0], stride if isinstance(stride, int) else stride[0]
        xt = double(x)
        y = pool(xt, float(norm), kernel, stride, ceil_mode)
        gy = draw(rng, tuple(y.shape), dtype)
        (expected,) = torch.autograd.grad(y, xt, double(gy))
        (terms,) = torch.autograd.grad(
            pool(xt, float(norm), kernel, stride, ceil_mode), xt, double(abs(gy))
        )
        name = f"lp_pool{rank}d_input"
        result = called(name, x, gy, norm, kernel, stride, ceil_mode)
        agree(result, expected, dtype, 10 * terms.numpy(), (call, x.shape, norm, kernel, stride))
        sign = np.where(rng.random(x.shape) < 0.5, -1, 1).astype(dtype)
        assert np.array_equal(
            getattr(grad, name)(x * sign, gy, norm, kernel, stride, ceil_mode), result * sign
        )
        # the largest magnitude: as max pooling of magnitudes
        largest = getattr(grad, name)(x * sign, gy, np.inf, kernel, stride, ceil_mode)
        other = getattr(grad, f"max_pool{rank}d_input")(x, gy, kernel, stride, 0, 1, ceil_mode)
        assert np.array_equal(largest, other * sign)
    zero = getattr(grad, name)(np.zeros((1, 1, *(4,) * rank)), np.ones((1, 1, *(2,) * rank)), 2, 2)
    assert np.array_equal(zero, np.zeros((1, 1, *(4,) * rank)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_adaptive(rank, dtype):
    rng = np.random.default_rng([rank, FLOATS.index(dtype), 9])
    for call in range(CALLS):
        space = tuple(int(v) for v in rng.integers(1, 14, rank))
        out = tuple(int(v) for v in rng.integers(1, 9, rank))
        x = draw(rng, (2, 3, *space), dtype)
        if call % 2:
            x = rng.integers(-2, 3, x.shape).astype(dtype)
        for kind in ("avg", "max"):
            pool = getattr(F, f"adaptive_{kind}_pool{rank}d")
            xt = double(x)
            y = pool(xt, out)
            gy = draw(rng, tuple(y.shape), dtype)
            (expected,) = torch.autograd.grad(y, xt, double(gy))
            (terms,) = torch.autograd.grad(pool(xt, out), xt, double(abs(gy)))
            first = x.shape if kind == "avg" else layout(rng, x)
            result = called(f"adaptive_{kind}_pool{rank}d_input", first, layout(rng, gy), out)
            agree(result, expected, dtype, terms.numpy(), (call, x.shape, out))
            assert np.array_equal(
                getattr(grad, f"adaptive_{kind}_pool{rank}d_input")(first, gy), result
            )


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_max_unpool(rank):
    rng = np.random.default_rng([rank, 10])
    for _ in range(CALLS):
        kernel = int(rng.integers(1, 4))
        space = tuple(int(v) for v in rng.integers(1, 4, rank))
        x = draw(rng, (2, 3, *space), "float64")
        size = tuple(n * kernel for n in space)
        indices = rng.integers(0, int(np.prod(size)), x.shape)
        xt = double(x)
        y = getattr(F, f"max_unpool{rank}d")(xt, tensor(indices), kernel)
        gy = draw(rng, tuple(y.shape), "float64")
        (expected,) = torch.autograd.grad(y, xt, double(gy))
        result = called(f"max_unpool{rank}d_input", indices, gy, kernel)
        assert np.array_equal(result, expected.numpy())


# ---------------------------------------------------------------- numerical differences


def numerical(function, x, gy):
    """Central differences of (function(x) * gy).sum(), in float64; exact for what is linear but for rounding."""
    x = x.astype("float64")
    result = np.empty_like(x)
    for i in np.ndindex(x.shape):
        keep, h = x[i], 1e-4
        x[i] = keep + h
        up = (function(x) * gy).sum()
        x[i] = keep - h
        result[i] = (up - (function(x) * gy).sum()) / (2 * h)
        x[i] = keep
    return result


@pytest.mark.parametrize("mode", MODES)
def test_conv_numerically(mode):
    rng = np.random.default_rng(11)
    x, w = rng.standard_normal((2, 4, 7, 11)), rng.standard_normal((6, 2, 3, 2))
    args = ((2, 3), ((1, 2), (0, 3)), (1, 2), 2)
    gy = rng.standard_normal(cconv.conv2d(x, w, None, *args, padding_mode=mode).shape)
    gx = grad.conv2d_input(x.shape, w, gy, *args, padding_mode=mode)
    gw = grad.conv2d_weight(x, w.shape, gy, *args, padding_mode=mode)
    found = numerical(lambda a: cconv.conv2d(a, w, None, *args, padding_mode=mode), x, gy)
    np.testing.assert_allclose(gx, found, atol=1e-8)
    found = numerical(lambda a: cconv.conv2d(x, a, None, *args, padding_mode=mode), w, gy)
    np.testing.assert_allclose(gw, found, atol=1e-8)


def test_what_torch_has_not_numerically():
    """Asymmetric padding of pools and transposed convolutions, dilated averages, magnitudes in lp_pool."""
    rng = np.random.default_rng(12)
    x = rng.standard_normal((1, 2, 9, 10))
    pads = ((1, 0), (0, 2))
    cases = {
        "max_pool2d": (
            lambda a: cconv.max_pool2d(a, 3, 2, pads, 2),
            lambda gy: grad.max_pool2d_input(x, gy, 3, 2, pads, 2),
        ),
        "avg_pool2d": (
            lambda a: cconv.avg_pool2d(a, 3, 2, pads, True, False, dilation=2),
            lambda gy: grad.avg_pool2d_input(x.shape, gy, 3, 2, pads, True, False, dilation=2),
        ),
        "lp_pool2d": (
            lambda a: cconv.lp_pool2d(a, 3, 2, 2, padding=((1, 0), (1, 1)), dilation=2),
            lambda gy: grad.lp_pool2d_input(x, gy, 3, 2, 2, padding=((1, 0), (1, 1)), dilation=2),
        ),
    }  # fmt: skip
    for name, (function, gradient) in cases.items():
        gy = rng.standard_normal(function(x).shape)
        np.testing.assert_allclose(
            gradient(gy), numerical(function, x, gy), atol=1e-6, err_msg=name
        )
    w = rng.standard_normal((2, 3, 3, 4))
    gy = rng.standard_normal(cconv.conv_transpose2d(x, w, None, 2, pads).shape)
    found = numerical(lambda a: cconv.conv_transpose2d(a, w, None, 2, pads), x, gy)
    np.testing.assert_allclose(
        grad.conv_transpose2d_input(x.shape, w, gy, 2, pads), found, atol=1e-7
    )
    found = numerical(lambda a: cconv.conv_transpose2d(x, a, None, 2, pads), w, gy)
    np.testing.assert_allclose(
        grad.conv_transpose2d_weight(x, w.shape, gy, 2, pads), found, atol=1e-7
    )


# ---------------------------------------------------------------- edges of the contract


@pytest.mark.parametrize(
    "isa", [n for n in cconv.show_config()["isa_available"] if n != cconv.show_config()["isa"]]
)
def test_every_isa(isa):
    """The tests above under the other instruction sets, with fewer random problems."""
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "CCONV_ISA": isa, "CCONV_TEST_CALLS": "6"}
    chosen = "conv or edges or threads or max_pool or avg_pool"
    done = subprocess.run(
        [*program, "-k", f"({chosen}) and not every_isa"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_torch_has_the_same_names_and_order():
    import inspect

    for rank in (1, 2, 3):
        for of in ("input", "weight"):
            name = f"conv{rank}d_{of}"
            theirs = list(inspect.signature(getattr(torch.nn.grad, name)).parameters.items())
            ours = list(inspect.signature(getattr(grad, name)).parameters.items())
            assert [n for n, _ in ours[:7]] == [n for n, _ in theirs]
            assert [p.default for _, p in ours[:7]] == [p.default for _, p in theirs]


def test_empty_batch():
    w, gy = np.ones((4, 2, 3, 3), np.float32), np.ones((0, 4, 5, 5), np.float32)
    x = np.ones((0, 2, 7, 7), np.float32)
    assert grad.conv2d_input(x.shape, w, gy).shape == x.shape
    assert np.array_equal(grad.conv2d_weight(x, w.shape, gy), np.zeros(w.shape))
    assert np.array_equal(grad.conv2d_bias(gy), np.zeros(4))
    assert grad.max_pool2d_input(x, x, 1).shape == x.shape
    assert grad.avg_pool2d_input(x.shape, x, 1).shape == x.shape


ones, g = np.ones, grad
BAD = [
    (lambda: g.conv2d_input((1, 2, 5, 5), ones((3, 2, 3, 3)), ones((1, 3, 4, 3))), ValueError, "grad_output"),
    (lambda: g.conv2d_input((1, 4, 5, 5), ones((3, 2, 3, 3)), ones((1, 3, 3, 3))), ValueError, "channels"),
    (lambda: g.conv2d_input((5, 5), ones((3, 2, 3, 3)), ones((1, 3, 3, 3))), ValueError, "input_size"),
    (lambda: g.conv2d_input((1, 2, -5, 5), ones((3, 2, 3, 3)), ones((1, 3, 3, 3))), ValueError, "at least"),
    (lambda: g.conv2d_input(7, ones((3, 2, 3, 3)), ones((1, 3, 3, 3))), ValueError, "input_size"),
    (lambda: g.conv2d_input((1, 2**40, 2**40, 5), ones((3, 2, 3, 3)), ones((1, 3, 3, 3))), ValueError, "large"),
    (lambda: g.conv2d_input((1, 2, 5, 5), ones((3, 2, 3, 3), int), ones((1, 3, 3, 3), int)), TypeError, "real"),
    (lambda: g.conv2d_weight(ones((1, 2, 5, 5)), (3, 2, 3), ones((1, 3, 3, 3))), ValueError, "weight_size"),
    (lambda: g.conv2d_weight(ones((1, 2, 5, 5)), (3, 2, 9, 9), ones((1, 3, 3, 3))), ValueError, "larger"),
    (lambda: g.conv2d_weight(ones((1, 2, 5, 5)) + 1j, (3, 2, 3, 3), ones((1, 3, 3, 3))), TypeError, "real"),
    (lambda: g.conv2d_weight(ones((1, 2, 5, 5)), (0, 2, 3, 3), ones((1, 0, 3, 3))), ValueError, "empty"),
    (lambda: g.conv2d_bias(ones((3, 3))), ValueError, "grad_output"),
    (lambda: g.conv_transpose2d_input((1, 3, 4, 4), ones((3, 2, 3, 3)), ones((1, 2, 5, 5))), ValueError, "grad"),
    (lambda: g.max_pool2d_input(ones((1, 1, 4, 4)), ones((1, 1, 3, 2)), 2), ValueError, "grad_output"),
    (lambda: g.max_pool2d_input(ones((1, 1, 4, 4)), ones((1, 1, 2, 2)), 0), ValueError, "kernel_size"),
    (lambda: g.avg_pool2d_input((1, 1, 4), ones((1, 1, 2, 2)), 2), ValueError, "larger"),
    (lambda: g.avg_pool2d_input((1, 1, 4, 4), ones((1, 1, 2, 2)), 2, divisor_override=0), ValueError, "divisor"),
    (lambda: g.lp_pool2d_input(ones((1, 4, 4)), ones((1, 2, 2)), -1, 2), ValueError, "norm_type"),
    (lambda: g.adaptive_avg_pool2d_input((1, 4, 4), ones((1, 2, 2)), 3), ValueError, "grad_output"),
    (lambda: g.max_unpool2d_input([[[9]]], ones((1, 2, 2)), 2), ValueError, "indices"),
    (lambda: g.max_unpool2d_input([[[0.5]]], ones((1, 2, 2)), 2), TypeError, "indices"),
    (lambda: g.conv2d_bias(ones((1, 3, 2, 2)), out=ones(4)), ValueError, "out"),
    (lambda: g.conv2d_bias(ones((1, 3, 2, 2)), out=ones(3, "f4")), TypeError, "out"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, word", BAD)
def test_bad_input(call, error, word):
    with pytest.raises(error, match=word):
        call()


def test_which_arguments_are_data():
    """Calls are remembered by the shape of their data, but by the values of everything else."""
    data = {"input", "weight", "bias", "grad_output", "indices"}
    for name, operation in OPERATIONS.items():
        module = cconv.grad if name in cconv.grad.__all__ else cconv
        public = inspect.signature(getattr(module, name)).parameters
        told = dict(operation.signature.parameters)
        assert set(told) == set(public), name
        arrays = {p for p, kind in told.items() if kind in (Kind.ARRAY, Kind.OPTIONAL)}
        assert arrays == data & set(public), name


def test_parameters_that_are_arrays():
    """Another array of parameters is another call, also where it has the same shape (once it was not)."""
    x = np.arange(72, dtype=np.float32).reshape(1, 2, 6, 6)
    for kernel in ((1, 2), (2, 1), (2, 3), (3, 3)):
        out = cconv.avg_pool2d(x, kernel)
        found = cconv.grad.avg_pool2d_input(x.shape, np.ones_like(out), np.array(kernel))
        assert np.array_equal(
            found, cconv.grad.avg_pool2d_input(x.shape, np.ones_like(out), kernel)
        )
    w, g = np.ones((3, 2, 1, 1), np.float32), np.ones((1, 3, 3, 3), np.float32)
    for size in ((1, 2, 5, 5), (1, 2, 6, 5), (1, 2, 6, 6)):
        assert cconv.grad.conv2d_input(np.array(size), w, g, 2).shape == size
    for stride, side in ((2, 5), (1, 3), (2, 6)):
        size = (1, 2, side, side)
        found = cconv.grad.conv2d_input(size, w, g, np.array([stride, stride]))
        assert np.array_equal(found, cconv.grad.conv2d_input(size, w, g, stride))
