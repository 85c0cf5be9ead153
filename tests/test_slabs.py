"""Direct convolutions against NumPy on every instruction set: strands, gathered slabs, vectors in place, panels."""

import os
import subprocess
import sys

import pytest

import cconv

PROGRAM = """
import sys
import numpy as np, cconv
from itertools import product
from cconv._plan import direct
from reference import source

rng = np.random.default_rng(int(sys.argv[1]))
chosen = direct.unpanelled
taken = set()


def forced(flat):
    def choice(p, m, cycles):
        slab = direct.unpanelled_slab(p, m, flat)
        if flat and not direct.can_run_on(slab, p):
            return None
        taken.add((flat, slab.strands, slab.apart != slab.sd, p.C > 1))
        return slab._replace(c_block=(slab.c_block + 1) // 2), flat
    return choice


def expected(x, w, b, stride, padding, dilation, groups, mode, out):
    for axis, (L, p, o, s, k, d) in enumerate(zip(x.shape[2:], padding, out, stride, w.shape[2:], dilation), 2):
        at = [source(i - p, L, mode) for i in range((o - 1) * s + (k - 1) * d + 1)]
        zero = np.array([i is None for i in at]).reshape(-1, *(1,) * (x.ndim - axis - 1))
        x = np.where(zero, 0, x.take([i or 0 for i in at], axis))
    N, G, (O, C) = len(x), groups, w.shape[:2]
    y = np.zeros((N, G, O // G, *out), x.dtype)
    for tap in product(*map(range, w.shape[2:])):
        places = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, out, stride)
        )
        part = x[(slice(None), slice(None), *places)].reshape(N, G, C, *out)
        y += np.einsum("ngc...,goc->ngo...", part, w[(slice(None), slice(None), *tap)].reshape(G, O // G, C))
    return y.reshape(N, O, *out) + b.reshape(-1, *(1,) * len(out))


CHOICES = (chosen, lambda *_: None, forced(False), forced(True))
for number in range(320):
    dtype = ("float32", "float64", "int32", "int64")[number % 4]
    rank = int(rng.integers(1, 4))
    draw = lambda *values: tuple(int(v) for v in rng.choice(values, rank))
    kernel, stride, dilation = draw(1, 2, 3, 5), draw(1, 1, 2, 3, 4, 5), draw(1, 1, 2, 5, 40)
    out = draw(1, 2, 5, 7, 9, 16) if rank == 3 else draw(1, 4, 7, 13, 16, 17, 27, 33)
    groups, C, O = int(rng.choice((1, 1, 2))), int(rng.choice((1, 3, 8))), int(rng.choice((4, 6, 7, 13, 15, 29)))
    padding = tuple(int(rng.integers(0, (k - 1) * d // 2 + 2)) for k, d in zip(kernel, dilation))
    size = tuple(
        max(1, (o - 1) * s + (k - 1) * d + 1 - 2 * p + int(rng.integers(0, s)))
        for o, s, k, d, p in zip(out, stride, kernel, dilation, padding)
    )
    mode = str(rng.choice(("zeros", "zeros", "circular", "reflect", "replicate")))
    if mode != "zeros" and any(p >= L for p, L in zip(padding, size)):
        mode = "zeros"
    out = tuple(
        (L + 2 * p - (k - 1) * d - 1) // s + 1
        for L, p, k, d, s in zip(size, padding, kernel, dilation, stride)
    )
    x = (rng.standard_normal((2, groups * C, *size)) * 9).astype(dtype)
    w = (rng.standard_normal((groups * O, C, *kernel)) * 9).astype(dtype)
    b = (rng.standard_normal(groups * O) * 9).astype(dtype)
    wide = "float64" if dtype[0] == "f" else "int64"
    options = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    y = expected(x.astype(wide), w.astype(wide), b.astype(wide), **options, mode=mode, out=out)
    options["padding_mode"] = mode
    results = []
    for choice in CHOICES:
        direct.unpanelled = choice
        run = cconv.prepack(w, b, **options, algorithm="direct")
        for threads in (1, 2, 3):
            cconv.set_num_threads(threads)
            results.append(run(x))
        results.append(run(np.asfortranarray(x)))
        results.append(np.concatenate([run(x[:1]), run(x[1:])]))
        every_other = np.full((*y.shape[:-1], 2 * y.shape[-1]), 7, dtype)
        run(x, out=every_other[..., ::2])
        assert (every_other[..., 1::2] == 7).all(), (x.shape, w.shape, options)
        results.append(every_other[..., ::2])
    direct.unpanelled = chosen
    results.append(getattr(cconv, f"conv{rank}d")(x, w, b, **options, algorithm="direct"))
    case = (x.shape, w.shape, options, dtype)
    tolerance = {"float32": 1e-4, "float64": 1e-12}.get(dtype, 0) * max(1, abs(y).max())
    assert np.abs(results[0].astype(wide) - y).max() <= tolerance, case
    for found in results:
        assert found.tobytes() == results[0].tobytes(), case
for flat in (False, True):
    for strands in (1, 2, 3, 4, 5):
        assert any(here[:2] == (flat, strands) for here in taken), (flat, strands)
assert any(here[2] for here in taken)
print(cconv.show_config()["isa"])
"""


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("isa", cconv.show_config()["isa_available"])
def test_every_way_gives_the_same_bits(isa, seed):
    folder = os.path.dirname(os.path.abspath(__file__))
    run = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(seed)],
        env={**os.environ, "CCONV_ISA": isa, "PYTHONPATH": os.pathsep.join([*sys.path, folder])},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip() == isa
