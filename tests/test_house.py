"""The structure: imports go downwards only, files and functions stay small, every kernel and module is where it is said
to be, importing is quick and needs NumPy alone. Each rule is tried on a small made-up house that breaks it."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import house
import pytest
from house import Source

import cconv

ROOT = Path(cconv.__file__).parent
HOUSE = house.sources(ROOT)

# From the door down. A name stands for all modules of a package; a floor's rooms may import each other, not in circles.
FLOORS = [
    {"__main__"},
    {"_demo", "_train"},
    {"plot", "interop"},
    {"_receptive"},
    {"__init__"},
    {"_limits"},
    {"layers", "grad"},
    {"functional"},
    {"_explain", "capi"},
    {"_specs", "_operations"},
    {"_prepack", "_gradients"},
    {"_convolutions", "_pools", "_moves"},
    {"_strategies", "_pieces", "_fft"},
    {"_convert"},
    {"_run"},
    {"_isa", "_check"},
    {"_elements"},
    {"_plan"},
    {"_problem"},
    {"_typing", "_version", "_processors", "_interpreter", "_cpu"},
    {"kernels"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
# upwards, but inside functions: to say what is there, not to build upon
LATE = {("_isa", "_run"), ("_isa", "__init__"), ("_explain", "functional"), ("_explain", "grad")}
# mostly docstrings, and the signatures of torch
PUBLIC = ("functional", "grad", "layers", "interop", "plot")
PROGRAMS = (
    "__main__",
    "_demo",
    "_train",
    "_receptive",
)  # what `python -m cconv` runs, written as users would
DOCUMENTED = ("functional.py", "grad.py", "layers.py")
FILE, FUNCTION, ARGUMENTS, POSITIONAL = 450, 60, 8, 5


def room(module: str) -> str:
    return module.split(".")[0]


def modules(files: list[Source]) -> set[str]:
    return {source.module for source in files if source.suffix != ".h"}


# ---------------------------------------------------------------- the rules: each lists what breaks it


def upward_imports(files):
    """Imports go to a lower floor, or to the same one."""
    known = modules(files)
    for source in files:
        here = room(source.module)
        if source.suffix == ".h":
            continue
        if here not in LEVEL:
            yield f"{source.path} is on no floor"
            continue
        for found in house.imports(source, known):
            there = room(found.module)
            late = found.late and (here, there) in LATE
            if there not in LEVEL:
                yield f"{source.path} imports {found.module}, which is on no floor"
            elif here != "__init__" and LEVEL[there] < LEVEL[here] and not late:
                yield f"{source.path} imports {found.module}, which is above"
            elif here == "kernels" and there != "kernels":
                yield f"{source.path}: a kernel imports {found.module}"


def circles(files):
    """No two modules import each other, by whatever way round, when they are loaded."""
    known = modules(files)
    below: dict[str, set[str]] = defaultdict(set)
    for source in files:
        if source.suffix in (".h", ".pyi"):
            continue
        for found in house.imports(source, known):
            if not (found.late or found.typing) and found.module != source.module:
                below[source.module].add(found.module)
    done: set[str] = set()

    def walk(module, way):
        if module in way:
            yield " -> ".join([*way[way.index(module) :], module])
        elif module not in done:
            for other in sorted(below[module]):
                yield from walk(other, [*way, module])
            done.add(module)

    for module in sorted(below):
        yield from walk(module, [])


def arrays_in_plans(files):
    """Planning sees integers only."""
    for source in files:
        if room(source.module) in ("_plan", "_problem") and "numpy" in source.text:
            yield f"{source.path} speaks of numpy"


def private_names(files):
    """interop takes public names of cconv only (its own modules apart)."""
    known = modules(files)
    for source in files:
        if room(source.module) != "interop":
            continue
        taken = {}
        for found in house.imports(source, known):
            if room(found.module) == "interop":
                continue
            names = [*found.module.split("."), *([found.name] if found.name else [])]
            taken[names[-1]] = found
            hidden = [n for n in names if n.startswith("_") and not n.endswith("__")]
            if hidden:
                yield f"{source.path} imports {hidden[0]}"
        for node in ast.walk(ast.parse(source.text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = node.attr
                ours = node.value.id in {*taken, "cconv"}
                if ours and name.startswith("_") and not name.endswith("__"):
                    yield f"{source.path}:{node.lineno} uses {node.value.id}.{name}"


def long_files(files):
    for source in files:
        lines = source.text.count("\n")
        if lines > FILE and source.path not in DOCUMENTED:
            yield f"{source.path} has {lines} lines"


def long_functions(files):
    """Lines of code: docstrings, comments and empty lines apart."""
    for source in files:
        for f in () if source.suffix in (".h", ".pyi") else house.functions(source):
            if f.lines >= FUNCTION:
                yield f"{source.path}: {f.name} has {f.lines} lines"


def many_arguments(files):
    """`self` apart; what users call has torch's signatures."""
    for source in files:
        if room(source.module) in PUBLIC or source.suffix in (".h", ".pyi"):
            continue
        for f in house.functions(source):
            if f.arguments > ARGUMENTS:
                yield f"{source.path}: {f.name} takes {f.arguments} arguments"


def positional_records(files):
    """Records of many values are made by name; a table of elements, a row a line, has its names above."""
    for source in files:
        if source.suffix != ".py" or room(source.module) in (
            *PROGRAMS,
            "_typing",
            "interop",
            "plot",
        ):
            continue
        for node in ast.walk(ast.parse(source.text)):
            if not isinstance(node, ast.Call) or len(node.args) <= POSITIONAL:
                continue
            name = ast.unparse(node.func).split(".")[-1]
            if (
                name[:1].isupper()
                and name != "Element"
                and not any(isinstance(a, ast.Starred) for a in node.args)
            ):
                yield f"{source.path}:{node.lineno}: {name} of {len(node.args)} values by position"


def unnamed_kernels(files, table, kernels, built=None):
    """`kernels/__init__.py` names every kernel: its table, its text, the enum, the files and setup.py agree."""
    texts = {source.path: source.text for source in files}
    text = ast.get_docstring(ast.parse(texts["kernels/__init__.py"])) or ""
    told = dict(re.findall(r"^(\w+) +.* {2,}(\w+\.\w+)$", text, re.M))
    for name in sorted({*table, *kernels, *told} - {"convert"}):
        for where, names in (("MODULES", table), ("the enum Kernel", kernels), ("the text", told)):
            if name not in names:
                yield f"kernel {name} is not in {where}"
    for name, file in told.items():
        if f"kernels/{file}" not in texts:
            yield f"kernel {name}: there is no kernels/{file}"
    there = {p[8:-4] for p in texts if p.startswith("kernels/") and p.endswith(".pyx")} - {"job"}
    for name in sorted(there ^ set(table.values())):
        yield f"module {name} is not both in MODULES and in kernels/"
    for name in sorted(built ^ set(table.values())) if built else ():
        yield f"module {name} is not both in MODULES and in setup.py"


def homonyms(files):
    """
    No two classes or top-level functions of one name in different modules of the inside.

    The public modules and interop repeat names by their nature (`conv2d` here and for Dask), so they are apart; so
    are the programs on top, and what begins with an underscore. A .pxd and its .pyx are one module.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for source in files:
        if room(source.module) in (*PUBLIC, *PROGRAMS, "capi", "__init__") or source.suffix in (
            ".h",
            ".pyi",
        ):
            continue
        for name in house.top_names(source):
            if not name.startswith("_"):
                owners[name].add(source.module)
    for name, where in sorted(owners.items()):
        if len(where) > 1:
            yield f"{name} is defined in {', '.join(sorted(where))}"


def exempt_from_types(files, pyproject):
    """Every module of ours is checked by mypy, strictly."""
    settings = pyproject.get("tool", {}).get("mypy", {})
    tables = [settings, *settings.get("overrides", [])]
    if settings.get("exclude"):
        yield f"mypy excludes {settings['exclude']}"
    if settings.get("untyped_calls_exclude"):
        yield f"untyped calls of {settings['untyped_calls_exclude']} are allowed"
    if not settings.get("strict"):
        yield "mypy is not strict"
    for table in tables:
        names = table.get("module", ["cconv"])
        names = [names] if isinstance(names, str) else names
        ours = [n for n in names if n.split(".")[0] in ("cconv", "*")]
        if ours and (table.get("ignore_errors") or table.get("follow_imports") == "skip"):
            yield f"{ours} are exempt from mypy"
    for source in files:
        lines = source.text.split("\n")
        if any(line.startswith(("# mypy:", "# type: ignore")) for line in lines):
            yield f"{source.path} exempts itself from mypy"


# ---------------------------------------------------------------- the house as it stands


def none(complaints):
    found = sorted(set(complaints))
    assert not found, "\n" + "\n".join(found)


RULES = (
    upward_imports, circles, arrays_in_plans, private_names, long_files, long_functions, many_arguments,
    positional_records, homonyms,
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule):
    none(rule(HOUSE))


def test_sources_are_read():
    """A rule that sees nothing breaks nothing."""
    known = modules(HOUSE)
    assert {"__init__", "_plan.choose", "_run.entry", "kernels.job", "interop.dask"} <= known
    assert sum(1 for s in HOUSE if s.suffix != ".h" for _ in house.imports(s, known)) > 150
    found = {(s.path, f.name) for s in HOUSE if s.suffix != ".h" for f in house.functions(s)}
    assert {("_plan/choose.py", "convolution"), ("layers.py", "state_dict")} <= found
    assert sum(1 for path, _ in found if path.endswith((".pyx", ".pxd"))) > 100


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


TOLD = '"""Kernels.\n\ngemm    dense convolution   gemm.pxd\npool    pools   pool.pyx\n"""\n'
KERNEL_FILES = {
    "kernels/__init__.py": TOLD,
    "kernels/conv.pyx": "",
    "kernels/gemm.pxd": "",
    "kernels/pool.pyx": "",
}
TABLE = {"gemm": "conv", "pool": "pool"}


@pytest.mark.parametrize(
    "change, table, enum, built, complaint",
    [
        ({}, TABLE, {"gemm", "pool"}, {"conv", "pool"}, None),
        ({}, TABLE, {"gemm", "pool", "rows"}, None, "kernel rows is not in MODULES"),
        ({}, {**TABLE, "rows": "conv"}, {"gemm", "pool", "rows"}, None, "kernel rows is not in the text"),
        ({}, TABLE, {"gemm"}, None, "kernel pool is not in the enum"),
        ({"kernels/fft.pyx": ""}, TABLE, {"gemm", "pool"}, None, "module fft is not both in MODULES"),
        ({"kernels/__init__.py": TOLD.replace("gemm.pxd", "tile.pxd")}, TABLE, {"gemm", "pool"}, None, "kernels/tile"),
        ({}, TABLE, {"gemm", "pool"}, {"conv"}, "module pool is not both in MODULES and in setup.py"),
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
