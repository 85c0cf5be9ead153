"""Transposed convolutions by the kernel phases, on every instruction set, against their definition."""

import itertools
import os
import random
import subprocess
import sys

import numpy as np
import pytest

import cconv

CALLS = 150


def scattered(x, w, bias, options, out):
    """y[n, o, i*s + t*d - p] += w[c, o, t] * x[n, c, i] in float64, input by input and tap by tap."""
    groups = options["groups"]
    N, rank, C, O = x.shape[0], x.ndim - 2, w.shape[0] // groups, w.shape[1]
    x, w = x.astype(np.float64), w.astype(np.float64)
    y = np.zeros((N, groups * O, *out))
    parts = x.reshape(N, groups, C, *x.shape[2:])
    for tap in itertools.product(*map(range, w.shape[2:])):
        taps = w[(..., *tap)].reshape(groups, C, O)
        products = np.einsum("ngc...,gco->ngo...", parts, taps).reshape(N, groups * O, *x.shape[2:])
        at, of = [], []
        for a in range(rank):
            where = np.arange(x.shape[2 + a]) * options["stride"][a]
            where += tap[a] * options["dilation"][a] - options["padding"][a]
            of.append(np.flatnonzero((where >= 0) & (where < out[a])))
            at.append(where[of[-1]])
        y[(slice(None), slice(None), *np.ix_(*at))] += products[
            (slice(None), slice(None), *np.ix_(*of))
        ]
    return y if bias is None else y + bias.reshape(-1, *(1,) * rank)


def drawn(rng):
    """Shapes and options: narrow, single and wide inputs, gaps between taps, cut borders, few and many channels."""
    rank = rng.choice((1, 2, 2, 3))
    lengths = ((1, 2, 9, 40, 203), (1, 1, 2, 3, 5, 8, 17, 33), (1, 2, 4, 9))[rank - 1]
    groups, size = rng.choice((1, 1, 2, 5)), [rng.choice(lengths) for _ in range(rank)]
    kernel = [rng.choice((1, 2, 3, 4, 5, 7) if rank < 3 else (1, 2, 3)) for _ in range(rank)]
    stride = [rng.choice((1, 2, 2, 3, 4, 5, 8, 17) if rank < 3 else (1, 2, 3)) for _ in range(rank)]
    dilation = [rng.choice((1, 1, 1, 2, 3)) for _ in range(rank)]
    padding = [rng.choice((0, 0, 1, (k - 1) // 2)) for k in kernel]
    extra = [rng.choice((0, 0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    channels = rng.choice((1, 2, 3, 20, 61)), rng.choice((1, 1, 2, 3, 19, 50))
    options = {"stride": stride, "padding": padding, "output_padding": extra}
    options |= {"groups": groups, "dilation": dilation}
    sides = zip(size, kernel, stride, dilation, padding, extra, strict=True)
    out = [(L - 1) * s - 2 * p + d * (k - 1) + e + 1 for L, k, s, d, p, e in sides]
    return (rng.choice((1, 3)), groups * channels[0], *size), (channels[1], *kernel), options, out


def compare(rng, numbers):
    """One call: the definition, prepacked, into strides of its own, a sample alone, on three threads; the kernel."""
    shape, (O, *kernel), options, out = drawn(rng)
    if min(out) < 1 or np.prod(out) * O * shape[1] > 4e6:
        return "none"
    dtype = rng.choice(("float32", "float32", "float64", "int32", "int64"))
    rank, floats = len(kernel), dtype.startswith("float")

    def array(*shape):
        values = numbers.standard_normal(shape) if floats else numbers.integers(-9, 10, shape)
        return values.astype(dtype)

    x, w = array(*shape), array(shape[1], O, *kernel)
    if rng.random() < 0.3:
        x = array(*shape[:-1], 2 * shape[-1])[..., ::2]
    bias = array(O * options["groups"]) if rng.random() < 0.6 else None
    name = f"conv_transpose{rank}d"
    function = getattr(cconv, name)
    cconv.set_num_threads(1)
    y = function(x, w, bias, **options)
    want = scattered(x, w, bias, options, out)
    bound = {"float32": 1e-5, "float64": 1e-13}.get(dtype, 0) * (1 + abs(want).max())
    assert abs(y - want).max() <= bound, (shape, w.shape, options, dtype)
    packed = cconv.prepack(w, bias, transposed=True, **options)
    assert abs(packed(x) - want).max() <= bound, (shape, w.shape, options, dtype)
    place = np.zeros([2 * n for n in y.shape], dtype)[(slice(None, None, 2),) * y.ndim]
    assert np.array_equal(function(x, w, bias, out=place, **options), y)
    assert np.array_equal(function(x[-1:], w, bias, **options), y[-1:])
    cconv.set_num_threads(3)
    assert np.array_equal(function(x, w, bias, **options), y)
    return cconv.explain(name, x, w, bias, **options)["kernel"]


def main(seed):
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    kernels = [compare(rng, numbers) for _ in range(CALLS)]
    assert kernels.count("phases") > CALLS // 3, kernels
    print("all as defined")


@pytest.mark.parametrize("isa", cconv.show_config()["isa_available"])
def test_drawn_transposed_convolutions(isa):
    done = subprocess.run(
        [sys.executable, __file__, "0"],
        env={**os.environ, "CCONV_ISA": isa},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout == "all as defined\n", done.stderr[-3000:]


def test_values_that_are_not_finite_stay_where_they_are():
    """A tap that a phase does not have is not multiplied by zero: an infinity spoils what it reaches, and no more."""
    x, w = np.ones((1, 2, 9, 9), np.float32), np.ones((2, 3, 3, 3), np.float32)
    x[0, 0, 4, 4] = np.inf
    y = cconv.conv_transpose2d(x, w, stride=2)
    assert np.isinf(y[0, :, 8:11, 8:11]).all() and np.isinf(y).sum() == 3 * 9
    assert not np.isnan(y).any()


if __name__ == "__main__":
    main(int(sys.argv[1]))
