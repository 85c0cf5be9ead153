"""What an import does and does not: no foreign file, no network, no code the processor may lack, no mixed builds."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import cconv

ROOT = Path(cconv.__file__).parent


def run(program, *args, **environment):
    return subprocess.run(
        [sys.executable, "-c", program, *args],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_version_is_the_metadata():
    try:
        installed = importlib.metadata.version("cconv")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("cconv is not installed")
    assert cconv.__version__ == installed


AUDIT = """
import sys, numpy
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args)))
import cconv
modules = sorted(m for m in sys.modules if m.startswith("cconv.kernels."))
from cconv import functional
assert modules == ["cconv.kernels.job"], modules  # enums, and sizes of structs
for event, args in list(seen):
    assert not event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "urllib.")), (event, args)
    if event == "open":
        name = str(args[0])
        assert name.endswith((".py", ".pyc", ".so", ".pyd")) or ".pyc." in name, name
names = {event for event, args in seen}
assert "import" in names and "open" in names
print("fine")
"""


def test_import_opens_modules_only_and_loads_no_kernel():
    """No file but modules, no network, and no module of an instruction set before one was chosen and is needed."""
    done = run(AUDIT)
    assert done.stdout == "fine\n", done.stderr


FAKED = """
import importlib.util, sys, numpy as np
spec = importlib.util.spec_from_file_location("cconv._cpu", sys.argv[1])
_cpu = importlib.util.module_from_spec(spec)
spec.loader.exec_module(_cpu)
_cpu.supported = lambda: ["baseline"]
sys.modules["cconv._cpu"] = _cpu
import cconv
cconv.conv2d(np.ones((1, 2, 9, 9), "f"), np.ones((2, 2, 3, 3), "f"))
cconv.max_pool2d(np.ones((1, 2, 9, 9)), 2)
loaded = {m.split(".")[2] for m in sys.modules if m.startswith("cconv.kernels.") and m.count(".") > 3}
print(cconv.show_config()["isa"], sorted(loaded))
"""


def test_processor_without_extensions_loads_baseline_only():
    """`_cpu` is made to answer as on an old processor, before `_run` asks it."""
    path = next(p for p in ROOT.glob("_cpu.*") if p.suffix in (".so", ".pyd"))
    done = run(FAKED, str(path), CCONV_ISA="")
    assert done.stdout == "baseline ['baseline']\n", done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("objdump"), reason="no objdump")
def test_machine_code_before_the_choice_is_baseline():
    """The modules that run before an instruction set is chosen hold no instruction of AVX, by their machine code."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    tops = [path for at in ("", "_run/", "kernels/") for path in ROOT.glob(f"{at}*{suffix}")]
    assert len(tops) >= 11
    wide = re.compile(r"%[yz]mm\d|\bv[a-z0-9]+[sp][sd]\b")

    def uses_avx(path):
        done = subprocess.run(["objdump", "-d", path], capture_output=True, text=True, check=True)
        return bool(wide.search(done.stdout))

    for path in [*tops, *ROOT.glob(f"kernels/baseline/*/*{suffix}")]:
        assert not uses_avx(path), path
    for path in ROOT.glob(f"kernels/avx2/f32/conv{suffix}"):  # the search finds what it looks for
        assert uses_avx(path)


MIXED = """
import sys, types
stamp, name = sys.argv[1:]
class Loader:
    def find_spec(self, wanted, path=None, target=None):
        if wanted == name:
            import importlib.util
            return importlib.util.spec_from_loader(wanted, self)
    def create_module(self, spec):
        return types.ModuleType(spec.name)
    def exec_module(self, module):
        module.stamp = stamp
        module.supported = lambda: ["baseline"]
sys.meta_path.insert(0, Loader())
import numpy as np
import cconv
cconv.conv2d(np.ones((1, 1, 4, 4), "f"), np.ones((1, 1, 2, 2), "f"))
"""


@pytest.mark.parametrize(
    "name, stamp, named",
    [
        ("cconv._cpu", "0.0.9_00000000", "cconv._cpu"),
        # who else is right cannot be told: the first of the others is named
        ("cconv._cpu", cconv.__version__ + "_00000000", "cconv._run."),
        ("cconv.kernels.baseline.f32.conv", "0.0.9_00000000", "baseline.f32.conv"),
        ("cconv.kernels.baseline.f32.conv", cconv.__version__ + "_00000000", "baseline.f32.conv"),
    ],
)
def test_mixed_installation_says_so(name, stamp, named):
    """A compiled module of another version, or of another source tree with the same version."""
    done = run(MIXED, stamp, name, CCONV_ISA="baseline")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: cconv") and "mixed installation" in last, done.stderr
    assert named in last and stamp in last


def test_compiled_modules_bear_one_stamp():
    from cconv import _convert, _cpu, capi
    from cconv._run import conv, entry, gradients, memory, pool, runner, threads

    modules = (_cpu, _convert, capi, conv, entry, gradients, memory, pool, runner, threads)
    assert {m.stamp for m in modules} == {_cpu.stamp}
    assert _cpu.stamp.split("_")[0] == cconv.__version__


def test_free_threaded_python_stays_so():
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this Python has the GIL")
    done = run("import sys, numpy, cconv, cconv.capi; print(sys._is_gil_enabled())", PYTHON_GIL="")
    assert done.stdout == "False\n", done.stderr


def test_without_docstrings():
    """`python -OO`: the 1-D and 3-D functions have none to take theirs from."""
    program = (
        "import cconv, cconv.plot; assert cconv.conv1d.__doc__ is None; print(cconv.__version__)"
    )
    done = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True)
    assert done.stdout == f"{cconv.__version__}\n", done.stderr
