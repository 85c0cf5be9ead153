"""The structure: imports go downwards only, files and functions stay small, every kernel and module is where it is said
to be, importing is quick and needs NumPy alone. Each rule is tried on a small made-up house that breaks it."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import house
import pytest
from house import Source
from house_rules import (
    LEVEL,
    RULES,
    arrays_in_plans,
    circles,
    exempt_from_types,
    homonyms,
    long_files,
    long_functions,
    many_arguments,
    modules,
    positional_records,
    private_names,
    room,
    unnamed_kernels,
    upward_imports,
)

import cconv

ROOT = Path(cconv.__file__).parent
if not (ROOT / "kernels" / "job.pxd").exists():  # an installed wheel has no sources of Cython
    ROOT = Path(__file__).parent.parent / "source" / "cconv"
HOUSE = house.sources(ROOT)

# ---------------------------------------------------------------- the house as it stands


def none(complaints):
    found = sorted(set(complaints))
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule):
    none(rule(HOUSE))


def test_sources_are_read():
    """A rule that sees nothing breaks nothing."""
    known = modules(HOUSE)
    assert {"__init__", "_plan.choose", "_run.entry", "kernels.job", "interop.dask"} <= known
    assert sum(1 for s in HOUSE if s.suffix != ".h" for _ in house.imports(s, known)) > 150
    found = {(s.path, f.name) for s in HOUSE if s.suffix != ".h" for f in house.functions(s)}
    assert {("_plan/choose.py", "any_convolution"), ("layers.py", "state_dict")} <= found
    assert sum(1 for path, _ in found if path.endswith((".pyx", ".pxd"))) > 100
    assert set(LEVEL) == {room(module) for module in known}  # no floor without its room


def test_plan_sees_no_array():
    seen = [s for s in HOUSE if room(s.module) in ("_plan", "_problem")]
    assert len(seen) > 5
    none(arrays_in_plans(seen))


def test_kernels_are_named():
    from cconv import kernels
    from cconv._plan import choose

    built, setup = None, ROOT.parent / "setup.py"
    if setup.exists():
        for node in ast.parse(setup.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "KERNELS":
                built = {ast.literal_eval(key) for key in node.value.keys}
        assert built
    none(unnamed_kernels(HOUSE, kernels.MODULES, {k.value for k in choose.Kernel}, built))


def test_no_module_is_exempt_from_types():
    path = ROOT.parent / "pyproject.toml"
    if not path.exists():
        pytest.skip("not beside its pyproject.toml")
    none(exempt_from_types(HOUSE, tomllib.loads(path.read_text())))


# ---------------------------------------------------------------- each rule on a house that breaks it


def long_body(count):
    return "\n".join(f"    x{i} = {i}" for i in range(count))


BASE = {"_plan/__init__.py": "", "_run/__init__.py": "", "_plan/choose.py": "", "functional.py": "", "layers.py": "",
        "_run/entry.pyx": "", "_run/memory.pxd": "", "_strategies.py": "", "_problem.py": "", "kernels/job.pxd": "",
        "__init__.py": "", "interop/__init__.py": "", "plot.py": ""}  # fmt: skip

BROKEN = [
    (upward_imports, "_plan/choose.py", "from .. import _problem, functional\n", "functional, which is above"),
    (upward_imports, "_plan/choose.py", "from cconv import _problem, layers\n", "layers, which is above"),
    (upward_imports, "_plan/choose.py", "import cconv._strategies as s\n", "_strategies, which is above"),
    (upward_imports, "_plan/choose.py", "from .._run.entry import Operation\n", "_run.entry, which is above"),
    (upward_imports, "_plan/choose.py", "def f():\n    from .._strategies import run\n", "above"),
    (upward_imports, "_plan/choose.py", "if TYPE_CHECKING:\n    from ..functional import Array\n", "above"),
    (upward_imports, "_run/entry.pyx", "from cconv import _problem, _strategies as s\n", "_strategies"),
    (upward_imports, "_run/entry.pyx", "from cconv._problem import (A,\n  B)\nimport cconv.functional\n", "functional"),
    (upward_imports, "_run/memory.pxd", "from ..functional cimport f\n", "functional, which is above"),
    (upward_imports, "kernels/job.pxd", "from cconv._run.memory cimport Block\n", "_run.memory, which is above"),
    (upward_imports, "functional.py", "from .interop import dask\n", "interop.dask, which is above"),
    (upward_imports, "interop/scipy.py", "from .. import __main__\n", "__main__, which is above"),
    (upward_imports, "plot.py", "from .__main__ import main\n", "__main__, which is above"),
    (upward_imports, "_new.py", "", "_new.py is on no floor"),
    (circles, "_plan/choose.py", "from . import fft\n", "_plan.choose -> _plan.fft -> _plan.choose"),
    (circles, "_run/memory.pxd", "from cconv._run.entry cimport Operation\n", "_run.entry -> _run.memory"),
    (arrays_in_plans, "_plan/fft.py", "import numpy as np\n", "_plan/fft.py speaks of numpy"),
    (private_names, "interop/scipy.py", "from .. import _run, functional\n", "imports _run"),
    (private_names, "interop/scipy.py", "from .._check import arrays\n", "imports _check"),
    (private_names, "interop/scipy.py", "from ..functional import _conv2d\n", "imports _conv2d"),
    (private_names, "interop/scipy.py", "from cconv import grad\ngrad._conv()\n", "uses grad._conv"),
    (private_names, "interop/scipy.py", "import cconv\ncconv._run.x()\n", "uses cconv._run"),
    (long_files, "_problem.py", "x = 1\n" * 451, "_problem.py has 451 lines"),
    (long_files, "kernels/simd.h", "int x;\n" * 451, "kernels/simd.h has 451 lines"),
    (long_functions, "_problem.py", f"def f():\n{long_body(59)}\n", "f has 60 lines"),
    (long_functions, "layers.py", f"class A:\n  def f(self):\n{long_body(59)}\n", "f has 60 lines"),
    (long_functions, "_run/entry.pyx", f"cdef int f(int a) noexcept nogil:\n{long_body(59)}\ncdef int g():\n    pass\n",
     "f has 60 lines"),
    (long_functions, "_run/memory.pxd", f"cdef inline (int) f(\n    int a,\n) noexcept:\n{long_body(57)}\n",
     "f has 60 lines"),
    (many_arguments, "_problem.py", "def f(a, b, c, d, e, /, f, *, g, h, i):\n    pass\n", "f takes 9 arguments"),
    (many_arguments, "_problem.py", "class A:\n  def f(self, a, b, c, d, e, f, g, *h, **i):\n    pass\n", "f takes 9"),
    (many_arguments, "_run/entry.pyx", "cdef inline int f(int a, int (*b)(int, int), int c, int d, int e, int[3] f,\n"
     "                   int g, int h, int i) noexcept nogil:\n    pass\n", "f takes 9 arguments"),
    (many_arguments, "_run/entry.pyx", "cdef class A:\n    def f(self, a, b, c, d, e, f, g, h, i):\n        pass\n",
     "f takes 9"),
    (positional_records, "_problem.py", "x = Problem(1, 2, 3, 4, 5, 6)\n", "Problem of 6 values by position"),
    (homonyms, "_problem.py", "class Plan: pass\n", "Plan is defined in _problem, _run.entry"),
    (homonyms, "_problem.py", "def run(): pass\n", "run is defined in _problem, _run.entry"),
]  # fmt: skip
BESIDE = {
    circles: {"_plan/fft.py": "from . import choose\n", "_run/entry.pyx": "from cconv._run.memory cimport Block\n"},
    homonyms: {"_run/entry.pyx": "cdef class Plan(Base):\n    pass\ncdef void run(int x) noexcept:\n    pass\n"},
    upward_imports: {"__main__.py": "", "interop/dask.py": ""},
}  # fmt: skip


@pytest.mark.parametrize("rule, path, text, complaint", BROKEN)
def test_rule_is_broken(rule, path, text, complaint):
    files = [Source(*pair) for pair in {**BASE, **BESIDE.get(rule, {}), path: text}.items()]
    found = list(rule(files))
    assert any(complaint in each for each in found), found


GOOD = [
    (upward_imports, "_run/entry.pyx",
     "from cconv import _problem\nfrom cconv.kernels.job cimport (A,\n   B)\n# import cconv.layers\n"),
    (upward_imports, "_explain.py", "def f():\n    from . import functional\n"),
    (circles, "_plan/choose.py", "if TYPE_CHECKING:\n    from . import fft\n"),
    (private_names, "interop/scipy.py", "from .. import __version__, functional\nfrom ._values import x\n"),
    (long_functions, "_problem.py", f'def f():\n    """One.\n\n    Two."""\n    # three\n{long_body(58)}\n\n'),
    (long_functions, "_run/entry.pyx",
     f'def f():\n    """One.\n\n    Two."""\n    # three\n{long_body(58)}\n\nx = 1\n'),
    (many_arguments, "layers.py", "def f(a, b, c, d, e, f, g, h, i):\n    pass\n"),
    (many_arguments, "_run/memory.pxd",
     "cdef class A:\n    cdef int f(self, int a, int b, int c, int d, int e, int f, int g, int h)\n"),
    (positional_records, "_problem.py", "x = Problem(1, 2, 3, 4, 5, name=6)\ny = f(1, 2, 3, 4, 5, 6)\n"),
    (homonyms, "_run/entry.pxd", "cdef class Plan:\n    cdef int x\n"),
]  # fmt: skip


@pytest.mark.parametrize("rule, path, text", GOOD)
def test_rule_is_kept(rule, path, text):
    files = [Source(*pair) for pair in {**BASE, **BESIDE.get(rule, {}), path: text}.items()]
    assert list(rule(files)) == []


TOLD = '"""Kernels.\n\ngemm    dense   conv.pyx, gemm.pxd\npool    pools   pool.pyx\n"""\n'
WRONG = TOLD.replace("gemm.pxd", "tile.pxd")
KERNEL_FILES = {
    "kernels/__init__.py": TOLD,
    "kernels/conv.pyx": "",
    "kernels/gemm.pxd": "",
    "kernels/pool.pyx": "",
}
BOTH = {"gemm", "pool"}
TABLE = {"gemm": "conv", "pool": "pool"}


@pytest.mark.parametrize(
    "change, table, enum, built, complaint",
    [
        ({}, TABLE, BOTH, {"conv", "pool"}, None),
        ({}, TABLE, {*BOTH, "rows"}, None, "kernel rows is not in MODULES"),
        ({}, {**TABLE, "rows": "conv"}, {*BOTH, "rows"}, None, "kernel rows is not in the text"),
        ({}, TABLE, {"gemm"}, None, "kernel pool is not in the enum"),
        ({"kernels/fft.pyx": ""}, TABLE, BOTH, None, "module fft is not both in MODULES"),
        ({"kernels/__init__.py": WRONG}, TABLE, BOTH, None, "tile.pxd is not both a file"),
        ({"kernels/tile.pxd": ""}, TABLE, BOTH, None, "tile.pxd is not both a file"),
        ({}, TABLE, BOTH, {"conv"}, "module pool is not both in MODULES and in setup.py"),
    ],
)  # fmt: skip
def test_kernels_that_are_not_named(change, table, enum, built, complaint):
    files = [Source(*pair) for pair in {**KERNEL_FILES, **change}.items()]
    found = list(unnamed_kernels(files, table, enum, built))
    assert any(complaint in each for each in found) if complaint else not found, found


@pytest.mark.parametrize(
    "mypy, text, complaint",
    [
        ({"strict": True}, "", None),
        ({"strict": True, "overrides": [{"module": ["dask.*"], "ignore_errors": True}]}, "", None),
        (
            {"strict": True, "overrides": [{"module": ["cconv._fft"], "ignore_errors": True}]},
            "",
            "cconv._fft",
        ),
        (
            {"strict": True, "overrides": [{"module": "cconv.*", "follow_imports": "skip"}]},
            "",
            "cconv.*",
        ),
        ({"strict": True, "ignore_errors": True}, "", "exempt"),
        ({"strict": True, "exclude": "cconv/_fft"}, "", "excludes"),
        ({"strict": True, "untyped_calls_exclude": ["cconv._fft"]}, "", "untyped calls"),
        ({}, "", "not strict"),
        ({"strict": True}, "# mypy: ignore-errors\nx = 1\n", "exempts itself"),
    ],
)
def test_types_that_are_not_checked(mypy, text, complaint):
    found = list(exempt_from_types([Source("_fft.py", text)], {"tool": {"mypy": mypy}}))
    assert any(complaint in each for each in found) if complaint else not found, found


# ---------------------------------------------------------------- importing


def test_import_needs_numpy_only_and_little_time(tmp_path):
    program = """
import sys, time, numpy
before, start = set(sys.modules), time.perf_counter()
import cconv
took = time.perf_counter() - start
new = {m.split(".")[0] for m in set(sys.modules) - before}
new -= {"cconv", "numpy", "cython_runtime", *sys.stdlib_module_names}
new = {m for m in new if not m.startswith("_cython")}
new.discard("_xxsubinterpreters")  # of the standard library, which does not list it
assert not new, new
print(took)
"""
    times = []
    # as installed, with compiled bytecode
    environment = {
        **os.environ,
        "PYTHONPYCACHEPREFIX": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        times.append(float(done.stdout))
    assert min(times) < 0.03
