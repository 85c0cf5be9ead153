"""No memory is a MemoryError, wherever it is asked for, and cconv works afterwards; see faults/failing.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv

FAULTS = Path(__file__).parent / "faults"
COMPILER = shutil.which("cc") or shutil.which("gcc")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the loader's and the kernel's ways")


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """The library that makes allocations fail."""
    if (
        COMPILER is None
        or sys.platform != "linux"
        or not os.path.exists("/lib64/ld-linux-x86-64.so.2")
    ):
        pytest.skip("needs a C compiler and glibc on x86-64")  # fmt: skip
    library = tmp_path_factory.mktemp("faults") / "failing_malloc.so"
    done = subprocess.run(
        [COMPILER, "-O1", "-shared", "-fPIC", "-o", library, FAULTS / "failing_malloc.c", "-ldl"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return library


def start(failing, *args):
    folder = str(Path(cconv.__file__).parents[1])
    return subprocess.run(
        [sys.executable, str(FAULTS / "failing.py"), str(failing), *args],
        env={
            **os.environ,
            "LD_PRELOAD": str(failing),
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": folder,
        },
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_every_allocation_fails_once(failing):
    """Plain calls, prepacked ones, gradients, the C interface; one thread and two."""
    done = start(failing)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-3000:]}"
    lines = done.stdout.splitlines()
    assert len(lines) > 40
    errors = [int(line.split(": ")[1].split()[0]) for line in lines]
    assert sum(errors) > 500, done.stdout


def test_the_failures_fail(failing):
    """A call that keeps a reference after a failure is found: otherwise the test above could not fail."""
    done = start(failing, "--leak")
    assert done.returncode != 0 and "references" in done.stderr, done.stderr[-2000:]


LIMITED = """
import resource, sys
import numpy as np, cconv
cconv.set_num_threads(8)
x, w = np.ones((4, 32, 60, 60), "f"), np.ones((32, 32, 3, 3), "f")
x0 = x[:1, :, :9, :9]
calls = {
    "conv2d": (lambda: cconv.conv2d(x, w), lambda: cconv.conv2d(x0, w)),
    "conv2d float16": (lambda: cconv.conv2d(x.astype("f2"), w.astype("f2")),
                       lambda: cconv.conv2d(x0.astype("f2"), w.astype("f2"))),
    "conv_transpose2d": (lambda: cconv.conv_transpose2d(x, w, stride=2),
                         lambda: cconv.conv_transpose2d(x0, w, stride=2)),
    "max_pool2d": (lambda: cconv.max_pool2d(x, 2, 1), lambda: cconv.max_pool2d(x0, 2, 1)),
    "gradient": (lambda: cconv.grad.conv2d_weight(x, w.shape, x[:, :, :58, :58]),
                 lambda: cconv.grad.conv2d_weight(x0, w.shape, x0[:, :, :7, :7])),
}
call, first = calls[sys.argv[1]]
first()  # loads kernels, and starts no thread
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + int(float(sys.argv[2]) * 2**20)
resource.setrlimit(resource.RLIMIT_AS, (limit, -1))
try:
    call()
    said = "done"
except MemoryError as error:
    said = "MemoryError"
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
assert np.isfinite(call()).all()
print(said)
"""


@linux
@pytest.mark.parametrize(
    "name", ("conv2d", "conv2d float16", "conv_transpose2d", "max_pool2d", "gradient")
)
def test_a_limit_of_memory(name):
    """At the first call with threads: no memory for results, workspace, or the threads, without which it goes on."""
    said = set()
    for extra in (0.1, 2, 8, 16, 40, 80, 400):
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, name, str(extra)], capture_output=True, text=True
        )
        assert done.returncode == 0, (extra, done.stderr)
        said.add(done.stdout.strip())
    assert said == {"MemoryError", "done"}


def test_memory_errors_of_arguments():
    """An argument that cannot be made an array for lack of memory is not a wrong argument."""

    class Large:
        def __array__(self, dtype=None, copy=None):
            raise MemoryError("as large as it is")

    with pytest.raises(MemoryError, match="as large as it is"):
        cconv.max_pool1d(Large(), 2)


def test_too_large_a_result():
    x = np.broadcast_to(np.float32(1), (1, 1, 2**20, 2**20))
    for call in (
        lambda: cconv.conv2d(x, np.ones((1, 1, 1, 1), "f")),
        lambda: cconv.max_pool2d(x, 2),
    ):
        with pytest.raises(MemoryError):
            call()
    assert cconv.max_pool2d(np.ones((1, 1, 4, 4), "f"), 2).sum() == 4


def test_misaligned_weights():
    """Weights at odd addresses are copied before a kernel reads them, which not every processor could."""
    rng = np.random.default_rng(0)
    for dtype in ("f4", "f8", "i4", "i8"):
        x = (rng.standard_normal((1, 8, 9, 9)) * 9).astype(dtype)
        w = (rng.standard_normal((8, 8, 3, 3)) * 9).astype(dtype)
        odd = np.frombuffer(bytes(1) + w.tobytes(), np.uint8)[1:].view(dtype).reshape(w.shape)
        assert not odd.flags.aligned
        assert np.array_equal(
            cconv.conv_transpose2d(x, odd, stride=2), cconv.conv_transpose2d(x, w, stride=2)
        )
        assert np.array_equal(cconv.prepack(odd)(x), cconv.prepack(w)(x))
        assert np.array_equal(cconv.conv2d(x, odd), cconv.conv2d(x, w))
