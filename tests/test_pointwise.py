"""Convolutions after their geometry: pointwise layers of few positions, axes that are merged, taps that never count.
Every instruction set of this machine, every element type, plain and prepacked, against the naive oracle."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv._plan.choose import Kernel, Machine, WeightUse, kernels
from cconv._plan.geometry import CHANNELS, merged
from cconv._problem import NONE, ONE, ConvProblem
from cconv.kernels.job import PadMode

# input, weight, stride, padding, dilation, groups
CASES = [
    ((3, 70, 1, 1), (13, 70, 1, 1), 1, 0, 1, 1),  # rows of channels where they lie
    ((9, 1100, 1), (7, 1100, 1), 1, 0, 1, 1),  # two k blocks, an odd last vector
    ((2, 130, 3, 2), (10, 65, 1, 1), 1, 0, 1, 2),
    ((3, 96, 7, 7), (40, 96, 1, 1), 1, 0, 1, 1),
    ((2, 140, 5, 9), (96, 70, 1, 1), 1, 0, 1, 2),
    ((2, 67, 9, 7), (70, 67, 1, 1), 2, 0, 1, 1),  # positions that do not neighbour
    ((1, 2100, 4, 4), (33, 2100, 1, 1), 1, 0, 1, 1),
    ((2, 80, 15, 14), (24, 80, 1, 1), 1, 0, 1, 1),
    ((2, 64, 3, 3), (20, 64, 3, 3), 1, 0, 1, 1),  # the kernel is the plane
    ((2, 24, 4, 19), (20, 24, 4, 3), 1, (0, 1), 1, 1),  # or its whole height
    ((3, 66, 1, 1), (12, 66, 3, 3), 1, 1, 1, 1),  # taps of padding alone
    ((2, 20, 1, 30), (12, 20, 5, 3), 1, (2, 1), 1, 1),
    ((2, 20, 2, 30), (12, 20, 3, 3), 1, (2, 1), (2, 1), 1),
    ((2, 16, 50, 1), (24, 16, 5, 1), 1, (2, 0), 1, 1),
    ((2, 16, 50, 1), (24, 16, 5, 1), (3, 1), (1, 0), (2, 1), 1),
    ((2, 16, 40, 3), (24, 16, 3, 1), 1, (1, 0), 2, 1),  # narrow rows behind each other
    ((1, 8, 6, 9, 10), (20, 8, 3, 1, 1), 1, (1, 0, 0), 1, 1),
    ((1, 8, 6, 9, 1), (20, 8, 1, 3, 1), 1, (0, 1, 0), 1, 1),
    ((1, 8, 1, 9, 10), (20, 4, 1, 1, 3), (1, 2, 1), (0, 0, 1), 1, 2),
]
PROGRAM = """
import sys
import numpy as np, cconv
sys.path.insert(0, sys.argv[1])
import reference
from test_pointwise import CASES

rng = np.random.default_rng(5)
seen = set()
for shape, weight, *options in CASES:
    rank = len(shape) - 2
    name = f"conv{rank}d"
    stride, padding, dilation = ((v,) * rank if isinstance(v, int) else v for v in options[:3])
    groups = options[3]
    for dtype in ("float32", "float64", "int32"):
        x, w, b = ((rng.standard_normal(s) * 9).astype(dtype) for s in (shape, weight, weight[:1]))
        wide = [a.astype("int64" if dtype[0] == "i" else "float64") for a in (x, w, b)]
        right = reference.conv(*wide, stride, padding, padding, dilation, groups)
        tolerance = {"float32": 1e-5, "float64": 1e-13, "int32": 0}[dtype] * abs(right).max()
        args = (stride, padding, dilation, groups)
        pack = cconv.prepack(w, b, *args)
        last = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)
        views = [x, np.asfortranarray(x), np.repeat(x, 2, -1)[..., ::2], last]
        for run in (lambda x, out=None: getattr(cconv, name)(x, w, b, *args, out=out), pack):
            results = []
            for threads in (1, 2, 3):
                cconv.set_num_threads(threads)
                results += [run(view) for view in views]
                results.append(np.concatenate([run(x[i : i + 1]) for i in range(len(x))]))
            out = np.empty(right.shape[::-1], dtype).T
            results.append(run(x, out=out))
            for y in results:
                assert np.array_equal(y, results[0]), (shape, weight, dtype)
            assert abs(results[0] - right).max() <= tolerance, (shape, weight, dtype)
        seen.add(cconv.explain(name, x, w, b, *args)["kernel"])
        told = []
        from cconv._run.runner import set_tracer
        set_tracer(lambda kernel, *rest: told.append(kernel))
        pack(x)
        set_tracer(None)
        seen |= set(told)
print(cconv.show_config()["isa"], *sorted(seen))
"""


@pytest.mark.parametrize("isa", cconv.show_config()["isa_available"])
def test_right_and_the_same_bits(isa):
    environment = {**os.environ, "CCONV_ISA": isa}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found, *seen = done.stdout.split()
    assert found == isa and {"gemm", "inner", "turned"} <= set(seen)


M = Machine("float32", 4, 16, 14, "avx512")


def problem(size, kernel, **other):
    after = other.pop("after", other.get("before", NONE))
    p = ConvProblem(
        N=1,
        G=1,
        C=8,
        O=20,
        size=size,
        kernel=kernel,
        stride=ONE,
        dilation=ONE,
        before=NONE,
        out=ONE,
        mode=PadMode.PAD_ZEROS,
    )._replace(**other)
    axes = zip(p.size, p.kernel, p.stride, p.dilation, p.before, after, strict=True)
    return p._replace(
        out=tuple((L + a + b - d * (k - 1) - 1) // s + 1 for L, k, s, d, a, b in axes)
    )


def geometry(p):
    return merged(p, M, True, "auto")


def test_units_are_dropped_and_free_axes_merged():
    line = geometry(problem((1, 1, 50), (1, 1, 5)))
    assert line.axes == (0, 1, 2) and line.taps is None
    column = geometry(problem((1, 50, 1), (1, 5, 1)))
    assert column.problem == line.problem and column.axes[1] == 2
    assert geometry(problem((4, 5, 6), ONE)).problem.size == (1, 1, 120)
    found = geometry(problem((4, 30, 60), (3, 1, 1)))
    assert found.problem.size == (1, 4, 1800) and found.axes == (1, 2, 2)
    # strides, padding and other taps keep axes apart
    for p in (
        problem((4, 30, 60), ONE, stride=(1, 2, 1)),
        problem((4, 30, 60), (3, 3, 3), before=ONE),
    ):
        assert geometry(p).problem == p and geometry(p).axes == (0, 1, 2)

    assert geometry(problem((4, 30, 60), ONE, before=(0, 0, 1))).problem.size == (1, 120, 60)


def test_narrow_rows_lie_behind_each_other():
    found = geometry(problem((1, 40, 3), (1, 3, 1), before=(0, 1, 0))).problem
    assert found.size == found.out == (1, 1, 120)
    assert (found.kernel[2], found.dilation[2], found.before[2]) == (3, 3, 3)
    assert geometry(problem((1, 40, 3), (1, 3, 1), stride=(1, 2, 1))).problem.size == (1, 40, 3)
    reflected = problem((1, 40, 3), (1, 3, 1), before=(0, 1, 0), mode=PadMode.PAD_REFLECT)
    assert geometry(reflected).problem == reflected


def integers(p):
    return merged(p, M._replace(dtype="int32"), True, "auto")


def test_taps_that_never_meet_the_input():
    """Of integers: zeros of the padding times an infinite weight are NaN."""
    point = problem((1, 1, 1), (1, 3, 3), before=(0, 1, 1))
    assert geometry(point).problem.kernel == (1, 3, 3) and geometry(point).taps is None
    w = np.ones((2, 1, 3, 3))
    w[1, 0, 0, 0] = np.inf
    y = cconv.conv2d(np.ones((1, 1, 1, 1)), w, padding=1)
    assert y[0, 0, 0, 0] == 1 and np.isnan(y[0, 1, 0, 0])
    found = integers(problem((1, 1, 1), (1, 3, 3), before=(0, 1, 1)))
    assert found.problem.kernel == ONE and found.taps == (range(1), range(1, 2), range(1, 2))
    assert integers(problem((1, 2, 30), (1, 3, 3), before=(0, 1, 1))).taps is None
    found = integers(problem((1, 2, 30), (1, 5, 3), before=(0, 2, 1)))
    assert found.problem.kernel == (1, 3, 3) and found.taps[1] == range(1, 4)
    found = integers(problem((1, 1, 30), (1, 5, 3), before=(0, 2, 1)))
    assert found.problem.kernel == (1, 1, 3) and found.problem.before == (0, 0, 1)
    # other modes have no zeros
    reflected = problem((1, 1, 30), (1, 5, 3), before=(0, 2, 1), mode=PadMode.PAD_REPLICATE)
    assert integers(reflected).taps is None


def test_kernels_that_cover_the_input_are_channels():
    found = geometry(problem((1, 7, 7), (1, 7, 7)))
    assert found.problem.C == 8 * 49 and found.problem.kernel == ONE
    assert found.axes[1:] == (CHANNELS, CHANNELS)
    found = geometry(problem((1, 7, 50), (1, 7, 3)))
    assert found.problem.C == 56 and found.problem.size == (1, 1, 50)
    # a trailing one alone is no part of the channels
    assert geometry(problem((1, 50, 7), (1, 3, 7))).problem.C == 8


def test_which_kernel_of_few_positions():
    def chosen(C, O, size, use=WeightUse.KEPT):
        (step,) = kernels(problem(size, ONE, C=C, O=O), M, "auto", use).steps
        return step.kernel

    assert chosen(480, 120, ONE) == chosen(480, 120, ONE, WeightUse.ONCE) == Kernel.INNER
    assert chosen(960, 160, (1, 7, 7)) == Kernel.TURNED
    assert chosen(2048, 512, (1, 7, 7), WeightUse.ONCE) == Kernel.INNER
    assert (
        chosen(2**17, 32, (1, 7, 7)) == Kernel.INNER
    )  # whose workspace does not grow with the channels
    assert chosen(64, 256, (1, 56, 56)) == chosen(16, 16, (1, 3, 3)) == Kernel.GEMM


def test_a_whole_input_costs_no_copy_of_weights():
    x, w = np.ones((2, 16, 9, 9), np.float32), np.ones((20, 16, 9, 9), np.float32)
    assert cconv.explain("conv2d", x, w)["kernel"] == "inner"
    assert np.array_equal(cconv.conv2d(x, w), np.full((2, 20, 1, 1), 16 * 81, np.float32))
