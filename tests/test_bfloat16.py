"""ml_dtypes.bfloat16: every function gives what its float32 arrays give, rounded once."""

import pickle
import subprocess
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest

import cconv
from cconv import functional, grad

ml_dtypes = pytest.importorskip("ml_dtypes")

BF16 = np.dtype(ml_dtypes.bfloat16)
SWAPPED = BF16.newbyteorder(">" if sys.byteorder == "little" else "<")
F32, F16 = np.dtype(np.float32), np.dtype(np.float16)


def values(rng, *shape):
    return (rng.standard_normal(shape) * 3).astype(F32).astype(BF16)


def rounded(y):
    """float32 as bfloat16 by arithmetic on its bits alone: to nearest, ties to even."""
    bits = np.ascontiguousarray(y, F32).view(np.uint32).astype(np.uint64)
    upper = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(y), 0x7FC0, upper).astype(np.uint16).view(BF16)


def same(y, expected):
    assert y.dtype == expected.dtype and y.shape == expected.shape
    if y.dtype != BF16:
        return np.testing.assert_array_equal(y, expected)
    a, b = y.astype(F32), expected.astype(F32)
    np.testing.assert_array_equal(a, b)
    assert (np.signbit(a) == np.signbit(b))[~np.isnan(a)].all()


# ---------------------------------------------------------------- every function


class Case(NamedTuple):
    name: str
    run: Any  # of the arrays, and of out=
    arrays: list[Any]
    indexed: bool = False  # returns indices too
    out: bool = True
    exact: bool = False  # only moves values


def convolutions(rng, rank):
    size, kernel = (9, 10, 11)[-rank:], (3, 2, 3)[-rank:]
    x, bias = values(rng, 2, 6, *size), values(rng, 8)
    options = {"stride": 2, "padding": 1, "groups": 2}
    for transposed in (False, True):
        base = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
        w = values(rng, *((6, 4) if transposed else (8, 3)), *kernel)
        function = getattr(cconv, base)
        yield Case(base, lambda x, w, b, f=function, **o: f(x, w, b, **options, **o), [x, w, bias])
        yield Case(base, lambda x, w, f=function, **o: f(x, w, **options, **o), [x, w])
        if not transposed:
            yield Case(
                base,
                lambda x, w, f=function, **o: f(
                    x, w, padding=1, groups=2, padding_mode="reflect", **o
                ),
                [x, w],
            )
        gy = values(rng, *function(x, w, **options).shape)
        by_input, by_weight, by_bias = (
            getattr(grad, f"{base}_{of}") for of in ("input", "weight", "bias")
        )
        yield Case(
            f"{base}_input",
            lambda w, gy, f=by_input, x=x, **o: f(x.shape, w, gy, **options, **o),
            [w, gy],
        )
        yield Case(
            f"{base}_weight",
            lambda x, gy, f=by_weight, w=w, **o: f(x, w.shape, gy, **options, **o),
            [x, gy],
        )
        yield Case(f"{base}_bias", lambda gy, f=by_bias, **o: f(gy, **o), [gy])


def pools(rng, rank):
    x = values(rng, 2, 3, *(9, 10, 11)[-rank:])
    kinds = {"max_pool": (3, 2, 1), "avg_pool": (3, 2, 1), "lp_pool": (3.0, 3, 2)}
    for kind, given in kinds.items():
        base = f"{kind}{rank}d"
        function, back = getattr(cconv, base), getattr(grad, f"{base}_input")
        yield Case(base, lambda x, f=function, g=given, **o: f(x, *g, **o), [x])
        gy = values(rng, *function(x, *given).shape)
        if kind == "avg_pool":
            yield Case(
                f"{base}_input",
                lambda gy, f=back, g=given, **o: f(x.shape, gy, *g, **o),
                [gy],
            )
        else:
            yield Case(
                f"{base}_input", lambda x, gy, f=back, g=given, **o: f(x, gy, *g, **o), [x, gy]
            )
    maximum = getattr(cconv, f"max_pool{rank}d")
    yield Case(
        f"max_pool{rank}d", lambda x: maximum(x, 3, 2, 1, return_indices=True), [x], True, False
    )
    lp = getattr(cconv, f"lp_pool{rank}d")
    for norm in (1, 2, np.inf):
        yield Case(f"lp_pool{rank}d", lambda x, n=norm, **o: lp(x, n, 2, **o), [x])
    average = getattr(cconv, f"adaptive_avg_pool{rank}d")
    yield Case(f"adaptive_avg_pool{rank}d", lambda x, **o: average(x, 4, **o), [x])
    largest = getattr(cconv, f"adaptive_max_pool{rank}d")
    yield Case(f"adaptive_max_pool{rank}d", lambda x, **o: largest(x, 4, **o), [x])
    yield Case(
        f"adaptive_max_pool{rank}d", lambda x: largest(x, 4, return_indices=True), [x], True, False
    )
    gy = values(rng, *average(x, 4).shape)
    back = getattr(grad, f"adaptive_avg_pool{rank}d_input")
    yield Case(f"adaptive_avg_pool{rank}d_input", lambda gy, **o: back(x.shape, gy, **o), [gy])
    of_max = getattr(grad, f"adaptive_max_pool{rank}d_input")
    yield Case(f"adaptive_max_pool{rank}d_input", lambda x, gy, **o: of_max(x, gy, **o), [x, gy])


def moves(rng, rank):
    x = values(rng, 2, 3, *(8, 8, 8)[-rank:])
    y, at = getattr(cconv, f"max_pool{rank}d")(x, 2, return_indices=True)
    unpool = getattr(cconv, f"max_unpool{rank}d")
    yield Case(
        f"max_unpool{rank}d", lambda y: unpool(y, at, 2), [np.array(y)], out=False, exact=True
    )
    back = getattr(grad, f"max_unpool{rank}d_input")
    yield Case(
        f"max_unpool{rank}d_input", lambda gy, **o: back(at, gy, 2, **o), [values(rng, *x.shape)]
    )
    window = (3,) * rank
    yield Case(
        "unfold",
        lambda x: cconv.unfold(x, window, padding=1),
        [x],
        out=False,
        exact=True,
    )
    columns = values(rng, *cconv.unfold(x, window, padding=1).shape)
    yield Case(
        "fold", lambda c: cconv.fold(c, x.shape[2:], window, padding=1), [columns], out=False
    )


def every_case():
    rng = np.random.default_rng(5)
    for rank in (1, 2, 3):
        for make in (convolutions, pools, moves):
            yield from make(rng, rank)


CASES = list(every_case())


def result(case, arrays, **out):
    """The result alone, after a check of its indices."""
    y = case.run(*arrays, **out)
    if not case.indexed:
        return y
    np.testing.assert_array_equal(y[1], case.run(*(a.astype(F32) for a in arrays))[1])
    return y[0]


def as_float32(case):
    y = case.run(*(a.astype(F32) for a in case.arrays))
    return y[0] if case.indexed else y


def test_every_function_is_here():
    names = {case.name for case in CASES}
    assert names == {*functional.__all__, *grad.__all__} - {"prepack", "explain"}


@pytest.mark.parametrize("number", range(len(CASES)))
def test_float32_rounded(number):
    case = CASES[number]
    before = [a.copy() for a in case.arrays]
    expected = as_float32(case)
    assert expected.dtype == F32
    if case.exact:
        assert (expected == expected.astype(BF16).astype(F32)).all()
    for _ in range(2):  # the second one by the cache
        y = result(case, case.arrays)
        same(y, rounded(expected))
        assert y.flags.c_contiguous and y.dtype.isnative
    # whatever the layout and the byte order
    strided = [np.repeat(a, 2, axis=-1)[..., ::2] for a in case.arrays]
    turned = [np.asfortranarray(a) for a in case.arrays]
    swapped = [a.astype(SWAPPED) for a in case.arrays]
    for arrays in (strided, turned, swapped, [misaligned(a) for a in case.arrays]):
        same(result(case, arrays), rounded(expected))
    for a, b in zip(case.arrays, before, strict=True):
        assert (a.view(np.uint16) == b.view(np.uint16)).all()
    if case.out:
        plain = np.full(expected.shape, 7, BF16)
        assert result(case, case.arrays, out=plain) is plain
        wide = np.full((*expected.shape, 2), 7, BF16)
        result(case, case.arrays, out=wide[..., 1])
        same(plain, rounded(expected))
        same(wide[..., 1], rounded(expected))
        assert (wide[..., 0] == 7).all()


def misaligned(a):
    data = np.empty(a.nbytes + 1, np.uint8)[1:]
    result = data.view(np.uint16).view(BF16).reshape(a.shape)
    result[...] = a
    assert not result.flags.aligned
    return result


def test_large_windows_and_large_arrays():
    rng = np.random.default_rng(1)
    x = values(rng, 1, 2, 256, 256)
    same(cconv.avg_pool2d(x, 256), rounded(cconv.avg_pool2d(x.astype(F32), 256)))
    same(cconv.adaptive_avg_pool2d(x, 1), rounded(cconv.adaptive_avg_pool2d(x.astype(F32), 1)))
    x, w = values(rng, 3, 16, 400, 400), values(rng, 16, 16, 3, 3)  # converted in pieces
    for function in (
        lambda x, w: cconv.conv2d(x, w, padding=1, algorithm="direct"),
        lambda x, w: cconv.max_pool2d(x, 3),
        lambda x, w: cconv.avg_pool2d(x, 3, 2),
    ):
        same(function(x, w), rounded(function(x.astype(F32), w.astype(F32))))


def test_extreme_values():
    x = np.array([[np.inf, -np.inf, np.nan, -0.0, 3.3e38, -3.3e38, 1e-40, 1.0]], F32).astype(BF16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for function in (
            lambda x: cconv.max_pool1d(x, 2),
            lambda x: cconv.avg_pool1d(x, 2),
            lambda x: cconv.conv1d(x, np.full((1, 1, 1), 4, x.dtype)),
            lambda x: cconv.lp_pool1d(x, 2, 2),
            lambda x: cconv.avg_pool1d(x, 8, divisor_override=1),
        ):
            same(function(x), rounded(function(x.astype(F32))))


# ---------------------------------------------------------------- conversions


def test_all_patterns_widen():
    from cconv._convert import to_native

    patterns = np.arange(65536, dtype=np.uint16)
    for kind in (BF16, F16):
        x = patterns.view(kind)
        with np.errstate(invalid="ignore"):
            same(to_native(x, F32), x.astype(F32))
            same(to_native(x.astype(kind.newbyteorder("S")), F32), x.astype(F32))
            same(to_native(x[::-3], F32), x[::-3].astype(F32))
            same(to_native(x, np.dtype(np.float64)), x.astype(np.float64))


def near_every_half(kind):
    """float32 at, next to and halfway between all values of a 16-bit type, and random ones."""
    with np.errstate(invalid="ignore"):
        bits = np.arange(65536, dtype=np.uint16).view(kind).astype(F32).view(np.uint32)
    half = 1 << (15 if kind == BF16 else 12)
    steps = np.array([0, 1, -1, half, half + 1, half - 1, 3 * half, 1 << 13, 1 << 14], np.int64)
    near = (bits[:, None] + steps).astype(np.uint32).reshape(-1)
    random = np.random.default_rng(0).integers(0, 2**32, 10**6, np.uint32)
    return np.concatenate([near, random]).view(F32)


def test_rounding():
    from cconv._convert import to_result

    for kind in (BF16, F16):
        x = near_every_half(kind)
        with np.errstate(all="ignore"):
            expected = x.astype(kind)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            y = to_result(x, kind)
        same(y.astype(F32), expected.astype(F32))
        if kind == BF16:
            same(y, rounded(x))
            bits = y.view(np.uint16)[np.isnan(x)]
            assert (bits & 0x7FFF == 0x7FC0).all()  # quiet, whatever it was
            with np.errstate(all="ignore"):
                wide = x.astype(np.float64) * (1 + 2.0**-40)
                same(to_result(wide, kind), rounded(wide.astype(F32)))
        for out in (np.zeros(x.size, kind), np.zeros(2 * x.size, kind)[::2]):
            assert to_result(x, kind, out) is out
            same(out.astype(F32), expected.astype(F32))


def test_empty_and_scalar_arrays():
    from cconv._convert import to_native, to_result

    for shape in ((), (0, 3), (1,)):
        x = np.zeros(shape, BF16)
        assert to_native(x, F32).shape == shape and to_result(x.astype(F32), BF16).shape == shape
    y = cconv.conv1d(np.zeros((0, 1, 5), BF16), np.ones((1, 1, 3), BF16))
    assert y.shape == (0, 1, 3) and y.dtype == BF16


# ---------------------------------------------------------------- dtypes


def test_mixtures():
    rng = np.random.default_rng(2)
    x, w = values(rng, 1, 2, 6, 6), values(rng, 3, 2, 3, 3)
    for dtype, expected in (
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.float16, np.float32),  # as torch's; ml_dtypes has no answer
        (np.complex64, np.complex64),
        (np.complex128, np.complex128),
        (np.int8, BF16),
        (np.uint8, BF16),
    ):
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = w.astype(np.float32).astype(dtype)
        for a, b in ((x, other), (x.astype(np.float32).astype(dtype), w)):
            y = cconv.conv2d(a, b)
            wide = np.result_type(F32, np.dtype(expected) if expected is not BF16 else F32)
            full = cconv.conv2d(
                a.astype(wide if a.dtype == BF16 else a.dtype),
                b.astype(wide if b.dtype == BF16 else b.dtype),
            )
            assert y.dtype == expected
            same(y, rounded(full) if expected is BF16 else full.astype(expected))
    bias = np.ones(3, np.float32)
    assert cconv.conv2d(x, w, bias).dtype == np.float32
    assert cconv.conv2d(x, w, bias.astype(F16)).dtype == np.float32
    assert grad.conv2d_weight(x, w.shape, np.ones((1, 3, 4, 4), np.float32)).dtype == np.float32
    for dtype in (np.int16, np.int64, np.uint32):
        with pytest.raises(TypeError, match=r"^conv2d: .*common dtype.*bfloat16.*int"):
            cconv.conv2d(x, w.astype(np.float32).astype(dtype))


def test_errors():
    x, w = np.ones((1, 2, 6, 6), BF16), np.ones((3, 2, 3, 3), BF16)
    with pytest.raises(TypeError, match="out must have dtype bfloat16, got float32"):
        cconv.conv2d(x, w, out=np.zeros((1, 3, 4, 4), np.float32))
    with pytest.raises(TypeError, match="out must have dtype float32, got bfloat16"):
        cconv.conv2d(x.astype(F32), w.astype(F32), out=np.zeros((1, 3, 4, 4), BF16))
    with pytest.raises(TypeError, match="out must have dtype bfloat16"):
        cconv.conv2d(x, w, out=np.zeros((1, 3, 4, 4), SWAPPED))
    with pytest.raises(ValueError, match="out must have shape"):
        cconv.max_pool2d(x, 2, out=np.zeros((1, 2, 3, 4), BF16))
    with pytest.raises(TypeError, match="indices must hold integers, got dtype bfloat16"):
        cconv.max_unpool2d(x, x, 2)
    # other types of void are no numbers, nor are the other types of ml_dtypes
    structured = np.dtype([("a", np.float16)])
    for dtype in ("V2", structured, ml_dtypes.float8_e4m3fn, ml_dtypes.int4):
        bad = np.zeros((1, 2, 6, 6), dtype)
        for call in (lambda a: cconv.conv2d(a, w), lambda a: cconv.max_pool2d(a, 2)):
            with pytest.raises(TypeError, match="input must hold real or complex numbers"):
                call(bad)
        with pytest.raises(TypeError, match="dtype must be a floating or complex type"):
            cconv.Conv2d(1, 1, 1, dtype=dtype)


def test_explain():
    x, w = np.ones((1, 2, 6, 6), BF16), np.ones((3, 2, 3, 3), BF16)
    for found in (cconv.explain(cconv.conv2d, x, w), cconv.explain(cconv.max_pool2d, x, 2)):
        assert found["dtype"] == "bfloat16" and found["computed_in"] == "float32"


# ---------------------------------------------------------------- prepack, layers, files


@pytest.mark.parametrize("transposed", (False, True))
def test_prepack(transposed):
    rng = np.random.default_rng(3)
    x, w, b = values(rng, 2, 4, 9, 9), values(rng, 4, 4, 3, 3), values(rng, 4)
    packed = cconv.prepack(w, b, padding=1, transposed=transposed)
    wide = cconv.prepack(w.astype(F32), b.astype(F32), padding=1, transposed=transposed)
    for call in (packed, pickle.loads(pickle.dumps(packed))):
        for _ in range(2):
            same(call(x), rounded(wide(x.astype(F32))))
        out = np.zeros((2, 4, 9, 9), BF16)
        assert call(x, out=out) is out
        same(out, rounded(wide(x.astype(F32))))
    np.testing.assert_array_equal(packed(x.astype(F32)), wide(x.astype(F32)))
    np.testing.assert_array_equal(wide(x), wide(x.astype(F32)))


def test_layers():
    rng = np.random.default_rng(4)
    x = values(rng, 2, 3, 8, 8)
    for make in (cconv.Conv2d, cconv.ConvTranspose2d):
        layer, wide = make(3, 4, 3, dtype=BF16, rng=0), make(3, 4, 3)
        assert layer.weight.dtype == layer.bias.dtype == BF16
        assert make(3, 4, 3, dtype=ml_dtypes.bfloat16).weight.dtype == BF16
        wide.load_state_dict(layer.state_dict())
        assert wide.weight.dtype == np.float32
        y = layer(x)
        same(y, rounded(wide(x.astype(F32))))
        gy = values(rng, *y.shape)
        same(layer.backward(gy), rounded(wide.backward(gy.astype(F32))))
        same(layer.weight_grad, rounded(wide.weight_grad))
        same(layer.bias_grad, rounded(wide.bias_grad))
        layer.load_state_dict(wide.state_dict())
        same(layer.weight, rounded(wide.weight))
        half = make(3, 4, 3, dtype=np.float16)
        half.load_state_dict(layer.state_dict())
        assert half.weight.dtype == np.float16
        with pytest.raises(TypeError, match="complex64 does not fit bfloat16"):
            state = {n: a.astype(np.complex64) for n, a in wide.state_dict().items()}
            layer.load_state_dict(state)
        same(layer.prepack()(x), layer(x))
    pool = cconv.MaxPool2d(2)
    same(pool(x), cconv.max_pool2d(x, 2))


def test_files(tmp_path):
    pytest.importorskip("safetensors")
    from cconv.interop.safetensors import load_file, save_file

    layer = cconv.Conv2d(2, 3, 3, dtype=BF16, rng=0)
    state = layer.state_dict() | {
        "swapped": layer.weight.astype(SWAPPED),
        "none": np.ones((0, 2), BF16),
    }
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    kept, wide = load_file(path, keep_bfloat16=True), load_file(path)
    for name, a in state.items():
        same(kept[name], a.astype(BF16))
        assert wide[name].dtype == np.float32 and (wide[name] == a.astype(F32)).all()
        assert kept[name].flags.writeable and wide[name].flags.writeable
    layer.load_state_dict({n: kept[n] for n in ("weight", "bias")})
    save_file(state, tmp_path / "weights.npz")
    for name, a in load_file(tmp_path / "weights.npz").items():
        assert a.dtype == np.float32 and (a == state[name].astype(F32)).all()


def test_ml_dtypes_is_not_imported():
    program = "import sys, cconv; cconv.conv1d([[1.0, 2]], [[[1.0]]]); assert 'ml_dtypes' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", program], check=True)


# ---------------------------------------------------------------- torch


def test_against_torch():
    """torch rounds sums of its own order once: the results are at most one unit in the last place apart (2^-8 of the
    value), and a little more where terms cancel (2^-7 of the largest)."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    rng = np.random.default_rng(6)
    x, w, b = values(rng, 2, 8, 12, 12), values(rng, 6, 8, 3, 3), values(rng, 6)
    wt = values(rng, 8, 6, 3, 3)

    def there(a):
        return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)

    X, W, B, T = map(there, (x, w, b, wt))
    for y, expected in (
        (cconv.conv2d(x, w, b, 2, 1), F.conv2d(X, W, B, 2, 1)),
        (cconv.conv_transpose2d(x, wt, b, 2, 1), F.conv_transpose2d(X, T, B, 2, 1)),
        (cconv.avg_pool2d(x, 3, 2, 1), F.avg_pool2d(X, 3, 2, 1)),
        (cconv.max_pool2d(x, 3, 2, 1), F.max_pool2d(X, 3, 2, 1)),
        (cconv.adaptive_avg_pool2d(x, 5), F.adaptive_avg_pool2d(X, 5)),
    ):
        expected = expected.float().numpy()
        assert y.dtype == BF16
        most = np.abs(expected).max()
        np.testing.assert_allclose(y.astype(F32), expected, rtol=2**-8, atol=most * 2**-9)
    assert np.array_equal(
        cconv.max_pool2d(x, 3, 2, 1).astype(F32), F.max_pool2d(X, 3, 2, 1).float().numpy()
    )
