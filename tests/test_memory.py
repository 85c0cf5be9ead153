"""Peak memory: a large convolution adds its output and a bounded workspace, nothing of the input's size."""

import os
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


BOUNDED = """
import gc, resource, sys
import numpy as np, cconv
from cconv import _run, grad

cconv.set_num_threads(2)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
kind, dtype = sys.argv[1:]
shape = {"conv1d": (1, 4, 2**23), "row": (1, 1, 2**25), "conv3d": (1, 8, 128, 128, 256)}.get(kind, (1, 32, 1024, 1024))
x = np.ones(shape, dtype)
small = x[..., :40] if kind in ("row", "conv1d") else x[..., :40, :40]
w = np.ones((x.shape[1], x.shape[1], *(3,) * (x.ndim - 2)), np.float64 if dtype == "f4" and kind == "mixed" else dtype)
large = np.ones((4, 32, 33, 33), dtype)
call = {
    "direct": lambda x: cconv.conv2d(x, w, padding=1, algorithm="direct"),
    "winograd": lambda x: cconv.conv2d(x, w, padding=1, algorithm="winograd"),
    "auto": lambda x: cconv.conv2d(x, w, padding=1),
    "mixed": lambda x: cconv.conv2d(x, w, padding=1),
    "fft": lambda x: cconv.conv2d(x, large, algorithm="fft"),
    "reflect": lambda x: cconv.conv2d(x, w, padding=1, padding_mode="reflect"),
    "circular": lambda x: cconv.conv2d(x, w, padding=1, padding_mode="circular"),
    "dilated": lambda x: cconv.conv2d(x, w, padding=9, dilation=9),
    "strided": lambda x: cconv.conv2d(x, w, stride=2),
    "depthwise": lambda x: cconv.conv2d(x, w[:, :1], padding=1, groups=32),
    "conv1d": lambda x: cconv.conv1d(x, w, padding=1),
    "conv3d": lambda x: cconv.conv3d(x, w, padding=1),
    "transposed": lambda x: cconv.conv_transpose2d(x, w, stride=2, padding=1),
    "max": lambda x: cconv.max_pool2d(x, 3, 2, 1),
    "indices": lambda x: cconv.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
    "large window": lambda x: cconv.max_pool2d(x, 31, 1, 15),
    "average": lambda x: cconv.avg_pool2d(x, 3, 2, 1),
    "norm": lambda x: cconv.lp_pool2d(x, 2, 3, 2),
    "adaptive": lambda x: cconv.adaptive_avg_pool2d(x, 7),
    "row": lambda x: cconv.max_pool1d(x, 5, 2, 2),
    "weight gradient": lambda x: grad.conv2d_weight(x, w.shape, x, padding=1),
    "input gradient": lambda x: grad.conv2d_input(x.shape, w, x, padding=1),
    "pool gradient": lambda x: grad.max_pool2d_input(x, x[..., ::2, ::2], 2),
}[kind]
call(small if kind != "fft" else x[..., :200, :200])
gc.collect()
_run.drop_kept()
before = peak()
y = call(x)
print(peak() - before - y.nbytes * (3 if kind == "indices" and dtype == "f4" else 1))
"""
NATIVE = (
    "direct winograd auto fft reflect circular dilated strided depthwise conv1d conv3d transposed max indices average "
    "norm adaptive row mixed"
).split()
CONVERTED = ("auto", "strided", "conv1d", "conv3d", "max", "average", "norm", "adaptive", "row")
CASES = [(kind, "f4") for kind in (*NATIVE, "weight gradient", "input gradient", "pool gradient")]
CASES += [(kind, "f8") for kind in ("direct", "winograd", "large window")]
CASES += [(kind, dtype) for kind in CONVERTED for dtype in ("f2", "i1")]
CASES += [("auto", ">f4"), ("auto", "c8"), ("auto", "i4"), ("max", "u8"), ("average", "i8")]


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts kilobytes on Linux only")
@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_workspace(kind, dtype):
    """At most 32 MiB for each of two threads beside the result, whatever the algorithm, rank and dtype."""
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, kind, dtype], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 2**20


LEAKS = """
import gc, sys, tracemalloc
import numpy as np, cconv
from cconv import grad

x, w, b = np.ones((1, 8, 9, 9), "f"), np.ones((8, 8, 3, 3), "f"), np.ones(8, "f")
odd = np.frombuffer(bytes(1) + x.tobytes(), np.uint8)[1:].view("f4").reshape(x.shape)
fixed = np.zeros((1, 8, 7, 7), "f")
run = cconv.prepack(w, b)
top, at = cconv.max_pool2d(x, 2, return_indices=True)
good = [
    lambda: cconv.conv2d(x, w, b), lambda: cconv.conv2d(x, w, out=fixed), lambda: cconv.conv2d(odd, w),
    lambda: cconv.conv2d(x.astype("f2"), w.astype("f2")), lambda: cconv.conv2d(x.astype("i2"), w.astype("i2")),
    lambda: cconv.conv2d(x, w, algorithm="winograd"), lambda: cconv.conv_transpose2d(x, w, stride=2),
    lambda: run(x), lambda: cconv.prepack(w)(x), lambda: cconv.max_pool2d(x, 3, return_indices=True),
    lambda: cconv.avg_pool2d(x, 3), lambda: cconv.lp_pool2d(x, 2, 3), lambda: cconv.max_unpool2d(top, at, 2),
    lambda: grad.conv2d_weight(x, w.shape, fixed), lambda: grad.conv2d_input(x.shape, w, fixed),
    lambda: grad.max_pool2d_input(x, top, 2), lambda: cconv.conv2d(x, w, algorithm="fft"),
]
bad = [
    lambda: cconv.conv2d(x, w[:, :3]), lambda: cconv.conv2d(x, w, out=fixed[:, :3]), lambda: cconv.conv2d(x, "w"),
    lambda: cconv.conv2d(x, w, stride=0), lambda: cconv.max_pool2d(x, 30), lambda: cconv.max_unpool2d(top, at + 99, 2),
    lambda: grad.conv2d_weight(x, w.shape, x), lambda: run(x[:, :3]),
    lambda: cconv.conv2d(np.broadcast_to(x[:, :, :1, :1], (1, 8, 2**20, 2**20)), w),
    lambda: cconv.prepack(w, stride=0),
]

def calls(n):
    for i in range(n):
        good[i % len(good)]()
        cconv.max_pool1d(x.reshape(1, 1, -1)[:, :, : 9 + i % 600], 2 + i % 7)  # as many plans as are kept
        try:
            bad[i % len(bad)]()
        except (TypeError, ValueError, MemoryError):
            continue
        raise AssertionError(i % len(bad))

def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * 4096

n = int(sys.argv[1]) // 3
calls(max(5000, n // 4))
before = resident()
calls(n)
grown = resident() - before
calls(6000)
tracemalloc.start()
calls(1500)
gc.collect()
first = tracemalloc.get_traced_memory()[0]
calls(1500)
gc.collect()
print(grown, tracemalloc.get_traced_memory()[0] - first)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_no_leak():
    """100,000 calls, a third of them failing: neither Python's memory nor the process grows."""
    count = os.environ.get("CCONV_LEAK_CALLS", "100000")
    done = subprocess.run([sys.executable, "-c", LEAKS, count], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    grown, traced = (int(n) for n in done.stdout.split())
    assert grown < 3 * 2**20  # a leaked array of the smallest would be 30 times as much
    assert traced < 20_000
