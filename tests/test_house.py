"""The structure: imports go downwards only, files stay small, importing is quick and needs NumPy alone."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import cconv

ROOT = Path(cconv.__file__).parent
# from the door down; `interop`, `layers`, `grad` and the command line are the top
FLOORS = [
    {"__main__"},
    {"_demo", "_train"},
    {"plot"},
    {"_receptive"},
    {"__init__"},
    {"interop"},
    {"layers"},
    {"grad"},
    {"functional"},
    {"_prepack", "_grads", "capi"},
    {"_calls", "_limits"},
    {"_layout", "_fft", "_stacked", "_backward", "_slabs"},
    {"_args", "_run"},
    {"_plan", "_cpu", "_processors", "_interpreter"},
    {"_problem", "_version"},
    {"kernels"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
# allowed inside functions: to tell a name at run time, not to build upon
LATE = {("_run", "cconv"), ("_prepack", "functional")}


def imports(path):
    """Names of cconv's modules that a file imports or cimports."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level:
                yield from (
                    [node.module.split(".")[0]] if node.module else [a.name for a in node.names]
                )
            elif isinstance(node, ast.ImportFrom) and node.module.startswith("cconv"):
                parts = node.module.split(".")
                yield from [parts[1]] if len(parts) > 1 else [a.name for a in node.names]
    else:
        for match in re.finditer(r"^from cconv(?:\.(\w+))?[\w.]* c?import (\w+)", text, re.M):
            yield match.group(1) or match.group(2)


def test_imports_go_down():
    seen = 0
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.pyx"), *ROOT.glob("kernels/*.p*")]:
        name = "kernels" if path.parent.name == "kernels" else path.stem
        for target in imports(path):
            if target not in LEVEL or (name, target) in LATE:
                continue
            seen += 1
            assert LEVEL[target] > LEVEL[name] or target == name or name == "__init__", (
                path.name,
                target,
            )
            if name == "kernels":
                assert target == "kernels"
    assert seen > 15


def test_plan_sees_no_array():
    for name in ("_plan", "_problem"):
        assert "numpy" not in (ROOT / f"{name}.py").read_text()


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
