"""The pool of threads by itself: `workers/stress.c`, built by the compiler at hand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cconv

HEADERS = Path(cconv.__file__).with_name("_run")
if not (HEADERS / "workers.h").exists():  # an installed wheel has no sources
    HEADERS = Path(__file__).parent.parent / "source" / "cconv" / "_run"
SOURCE = Path(__file__).with_name("workers") / "stress.c"
COMPILER = os.environ.get("CC", "cc").split()
STRESS = {
    "tiny jobs of one caller": ["tiny", "1", "1000000"],
    "tiny jobs of two callers": ["tiny", "2", "1000000"],
    "tiny jobs of eight callers": ["tiny", "8", "1000000"],
    "nested": ["nested", "8", "20000"],
    "signals": ["stop"],
    "forks in the middle of other threads' jobs": ["fork", "60"],
    "a fork in the middle of a job": ["fork-inside", "3"],
    "threads that end in the middle of a job": ["thread-ends"],
    "exit in the middle of jobs": ["exit"],
    "threads that cannot be started": ["refused"],
    "no memory for threads": ["no-memory"],
}

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which(COMPILER[-1]) is None,
    reason="needs Linux and a C compiler",
)


@pytest.fixture(scope="module", params=["futex", "condition variable"])
def stress(request, tmp_path_factory):
    program = tmp_path_factory.mktemp("workers") / "stress"
    macros = ["-DCCONV_NO_FUTEX"] if request.param != "futex" else []
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", *macros]
    command = [*COMPILER, *flags, f"-I{HEADERS}", SOURCE, "-o", program, "-pthread"]
    subprocess.run(command, check=True, timeout=60)
    return program


@pytest.mark.parametrize("name", STRESS)
def test_stress(stress, name):
    done = subprocess.run(
        [stress, *STRESS[name]], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and done.stdout.endswith("ok\n"), done
