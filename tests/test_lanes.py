"""Depthwise and grouped convolutions whose vectors hold many groups: any layout, padding mode and size is right."""

import numpy as np
import pytest

import cconv
from cconv._plan.lanes import lanes
from cconv._plan.machine import Machine
from cconv._problem import ONE, ConvProblem

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
# channels a group, outputs a group, space, kernel, stride, dilation, padding
CASES = [
    (1, 1, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
    (1, 1, (3, 2), (3, 3), (1, 1), (1, 1), (2, 1)),
    (1, 2, (14, 13), (5, 5), (2, 2), (1, 1), (2, 2)),
    (1, 5, (9, 33), (7, 3), (3, 2), (1, 1), (3, 0)),
    (3, 4, (6, 20), (3, 3), (1, 1), (2, 3), (2, 3)),
    (2, 3, (31, 5), (4, 2), (2, 1), (1, 1), (1, 1)),
    (1, 1, (90, 17), (3, 3), (1, 1), (1, 1), (1, 1)),  # some bands, whose rows are kept
    (1, 1, (61, 12), (3, 3), (4, 1), (1, 1), (1, 1)),  # bands that share no row
    (1, 1, (1, 1), (1, 1), (1, 1), (1, 1), (0, 0)),
]


def summed(x, w, b, stride, padding, dilation, groups, mode):
    """The convolution, tap by tap."""
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), MODES[mode])
    x = x.reshape(len(x), groups, -1, *x.shape[2:])
    w = w.reshape(groups, -1, *w.shape[1:])
    sizes = zip(x.shape[3:], w.shape[3:], stride, dilation, strict=True)
    out = [(L - d * (k - 1) - 1) // s + 1 for L, k, s, d in sizes]
    y = np.zeros((len(x), groups, w.shape[1], *out), x.dtype)
    for i, j in np.ndindex(*w.shape[3:]):
        rows, columns = (
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip((i, j), dilation, out, stride, strict=True)
        )
        y += np.einsum("ngchw,goc->ngohw", x[..., rows, columns], w[..., i, j])
    return y.reshape(len(x), -1, *out) + b[:, None, None]


def layouts(x):
    """The same values, in other strides."""
    yield x
    yield np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    wide = np.zeros((x.shape[0], 2 * x.shape[1], x.shape[2], 3 * x.shape[3]), x.dtype)
    wide[:, ::2, :, ::3] = x
    yield wide[:, ::2, :, ::3]
    yield x[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1]


@pytest.mark.parametrize("groups", [9, 33])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("case", CASES)
def test_any_layout_is_right(case, mode, groups):
    c, o, space, kernel, stride, dilation, padding = case
    if mode == "reflect":
        padding = tuple(min(p, size - 1) for p, size in zip(padding, space, strict=True))
    if mode == "circular":
        padding = tuple(map(min, padding, space))
    rng = np.random.default_rng(groups)
    for dtype in ("float32", "float64", "int32", "int64"):
        x = (3 * rng.standard_normal((2, groups * c, *space))).astype(dtype)
        w = (3 * rng.standard_normal((groups * o, c, *kernel))).astype(dtype)
        b = (3 * rng.standard_normal(groups * o)).astype(dtype)
        options = {
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
            "padding_mode": mode,
        }  # fmt: skip
        said = cconv.explain("conv2d", x, w, b, **options)
        wide = x.astype("float64"), w.astype("float64"), b.astype("float64")
        expected = summed(*wide, stride, padding, dilation, groups, mode)
        known = cconv.conv2d(x, w, b, **options)
        scale = abs(expected).max() + 1
        assert abs(known - expected).max() <= (1e-5 if dtype == "float32" else 1e-13) * scale, said
        kept = cconv.prepack(w, b, **options)
        for given in layouts(x):
            assert cconv.conv2d(given, w, b, **options).tobytes() == known.tobytes(), said
            assert kept(given).tobytes() == known.tobytes(), said
        for out in layouts(np.full_like(known, 7)):
            cconv.conv2d(x, w, b, **options, out=out)
            assert out.tobytes() == known.tobytes(), said


def test_what_is_padded_is_multiplied():
    """As by the other kernels: zeros around the plane meet infinite weights."""
    x, w = np.ones((1, 40, 5, 5), "float32"), np.ones((40, 1, 3, 3), "float32")
    w[7, 0, 0, 0] = np.inf
    assert cconv.explain("conv2d", x, w, padding=1, groups=40)["kernel"] == "lanes"
    y = cconv.conv2d(x, w, padding=1, groups=40)
    assert np.isnan(y[0, 7, 0]).all() and np.isnan(y[0, 7, :, 0]).all()
    assert np.isposinf(y[0, 7, 1:, 1:]).all() and np.isfinite(np.delete(y[0], 7, 0)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_seen_of_other_groups(dtype):
    """One group's infinities and denormals stay its own, and lanes without a group are not stored."""
    x, w = np.ones((2, 19, 6, 6), dtype), np.ones((19, 1, 3, 3), dtype)
    known = cconv.conv2d(x, w, padding=1, groups=19)
    x[1, 3] = np.inf
    x[0, 18] = np.nan
    y = cconv.conv2d(x, w, padding=1, groups=19)
    same = np.ones((2, 19), bool)
    same[1, 3] = same[0, 18] = False
    assert cconv.explain("conv2d", x, w, padding=1, groups=19)["kernel"] == "lanes"
    assert (y[same] == known[same]).all() and not np.isfinite(y[~same]).any()


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (7, 3), (1, 4)])
def test_the_bits_do_not_depend_on_the_plane(kernel):
    """Long rows are left to other kernels, which sum in the same order."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 40, 20, 300)).astype("float32")
    w = rng.standard_normal((40, 1, *kernel)).astype("float32")
    piece = x[..., :16]
    kernels = [cconv.explain("conv2d", each, w, groups=40)["kernel"] for each in (x, piece)]
    assert kernels == ["rows", "lanes"]
    known = cconv.conv2d(x, w, groups=40)
    assert (cconv.conv2d(piece, w, groups=40) == known[..., : 17 - kernel[1]]).all()


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_few_groups_of_many_channels_are_left_to_others(isa):
    """One group would fill one lane; many of them share a vector, and a plane of one channel has nothing to gain."""
    machine = Machine("float32", 4, 16 if isa == "avx512" else 8, 14 if isa == "avx512" else 6, isa)

    def repaid(groups, channels):
        found = ConvProblem(
            N=1, G=groups, C=channels, O=channels, size=(1, 3, 3), kernel=(1, 3, 3), stride=ONE, dilation=ONE,
            before=(0, 1, 1), out=(1, 3, 3), mode=0,
        )  # fmt: skip
        return lanes(found, machine) is not None

    assert repaid(1, 1) and repaid(machine.lanes, 4) and repaid(machine.lanes, 16)
    assert not repaid(1, 2) and not repaid(1, 16) and not repaid(2, 8)
