"""Nothing reads or writes outside an array: every kernel on memory between unreadable pages, see guarded.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv

GUARDED = Path(__file__).parent / "guarded.py"
CALLS = int(os.environ.get("CCONV_GUARD_CALLS", "1000"))

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="mmap and mprotect by their Linux numbers"
)


@pytest.mark.parametrize("seed", (0, 1))
@pytest.mark.parametrize("isa", cconv.show_config()["isa_available"])
def test_nothing_outside(isa, seed, tmp_path):
    note = tmp_path / "call"
    done = subprocess.run(
        [sys.executable, str(GUARDED), str(seed), str(CALLS), str(note)],
        env={**os.environ, "CCONV_ISA": isa},
        capture_output=True,
        text=True,
        timeout=600,
    )
    last = note.read_text(errors="replace").strip()
    assert done.returncode == 0, f"{done.returncode} in {last}\n{done.stderr[-2000:]}"
    assert int(done.stdout.split()[0]) >= CALLS


@pytest.mark.parametrize("after", (0, 1))
def test_the_guards_guard(after):
    """One element outside, on either side, ends the process: otherwise the test above could not fail."""
    program = f"""
import sys
sys.path.insert(0, {str(GUARDED.parent)!r})
import numpy as np
from guarded import Fence
a = Fence().place(np.ones(5, np.float32), {after})
assert a.sum() == 5
print("inside", flush=True)
import ctypes
ctypes.c_float.from_address(a.ctypes.data + ({after} and 20 or -4)).value
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "inside\n" and done.returncode == -signal.SIGSEGV, done.stderr


def test_out_of_any_strides():
    """Rows of `out` that lie in another order than the results: the last of a tile can stand where it would in a
    contiguous array while those between do not (once taken for contiguous, and written to the wrong place)."""
    rng = np.random.default_rng(0)
    padding = ((1, 1), (0, 0), (1, 1))
    for _ in range(1500):
        x = rng.standard_normal((1, 3, *rng.integers(1, 8, 3))).astype(rng.choice(["f4", "f8"]))
        w = rng.standard_normal((8, 3, 1, 1, 1)).astype(x.dtype)
        expected = cconv.conv3d(x, w, padding=padding)
        order = tuple(slice(None, None, int(rng.choice([-1, 1]))) for _ in range(5))
        out = np.zeros(expected.shape, x.dtype)[order]
        assert np.array_equal(cconv.conv3d(x, w, padding=padding, out=out), expected)
