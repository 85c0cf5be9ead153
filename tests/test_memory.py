"""Peak memory: a large convolution adds its output and a bounded workspace, nothing of the input's size."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np, cconv

dtype, groups, kernel, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
cconv.set_num_threads(threads)
x = np.ones((1, 64, 1500, 1500), dtype)
w = np.ones((64, 64 // groups, kernel, kernel), dtype)
cconv.conv2d(x[..., :64, :64], w, padding=kernel // 2, groups=groups)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
y = cconv.conv2d(x, w, padding=kernel // 2, groups=groups)
print(peak() - before - y.nbytes)
assert y[0, 0, 700, 700] == w[0].size
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts kilobytes on Linux only")
@pytest.mark.parametrize(
    ("dtype", "groups", "kernel"),
    (("float32", 1, 3), ("float64", 1, 3), ("float32", 64, 7), ("float64", 1, 1)),
)
def test_peak(dtype, groups, kernel):
    args = [sys.executable, "-c", PROGRAM, dtype, str(groups), str(kernel), "2"]
    done = subprocess.run(args, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 2**20


def test_planned_workspace_is_bounded():
    """32 MiB a thread, whatever the problem."""
    from cconv import _plan, _problem

    shapes = [1, 3, 64, 1000, 5000]
    for C in shapes:
        for O in (1, 64, 5000):
            for kernel in (
                (1, 1, 1),
                (1, 3, 3),
                (3, 3, 3),
                (1, 31, 31),
                (1, 1, 4001),
                (1, 600, 600),
                (9, 9, 9),
            ):
                for dilation in (1, 7, 999):
                    size = tuple(
                        d * (k - 1) + 40 if k > 1 else 40
                        for k, d in zip(kernel, (dilation,) * 3, strict=True)
                    )
                    p = _problem.conv(
                        1,
                        1,
                        C,
                        O,
                        size,
                        kernel,
                        (1, 2, 2),
                        (dilation,) * 3,
                        (0, 1, 1),
                        (0, 1, 1),
                        0,
                    )
                    for itemsize, lanes in ((4, 8), (8, 4), (4, 16)):
                        plan = _plan.choose(p, itemsize, lanes, 6, "auto", True)
                        assert plan.workspace <= 32 * 2**20, (p, plan)
                        q = p._replace(
                            stride=(1, 1, 1), dilation=(1, 1, 1), size=(40, 60, 60), out=(1, 58, 58)
                        )
                        if kernel == (3, 3, 3):
                            assert (
                                _plan.choose(q, itemsize, lanes, 6, "auto", True).workspace
                                <= 32 * 2**20
                            )
