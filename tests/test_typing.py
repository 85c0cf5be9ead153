"""The annotations, seen by mypy as users' programs see them, and checked against what the functions do."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv import functional, grad

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "typing"
README = HERE.parent / "README.md"
PACKAGE = Path(cconv.__file__).parent
# of an argument that does not fit, mypy names one of these
REASONS = {"arguments": {"arg-type", "call-overload", "type-var"}}


def errors(folder, *files):
    """The errors that `mypy --strict` finds: {(file name, line): codes}."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder}"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    # a source tree that is no installation is found by its path; its own errors are not the programs'
    if "site-packages" not in PACKAGE.parts:
        environment["MYPYPATH"] = str(PACKAGE.parent)
    done = subprocess.run(
        [*command, "--follow-imports=silent", *map(str, files)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = {}
    for match in re.finditer(r"^(.*?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.M):
        found.setdefault((Path(match[1]).name, int(match[2])), set()).add(match[3])
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return found


def test_programs(tmp_path):
    """A good program has no error, one full of mistakes has one in each line that says so."""
    good, bad = PROGRAMS / "user_program.py", PROGRAMS / "mistakes.py"
    found = errors(tmp_path, good, bad)
    expected = {}
    for number, line in enumerate(bad.read_text().splitlines(), 1):
        if reason := re.search(r"# E: ([\w-]+)$", line):
            expected[bad.name, number] = REASONS.get(reason[1], {reason[1]})
    assert len(expected) > 40
    assert found.keys() == expected.keys()
    for place, codes in found.items():
        assert codes <= expected[place], (place, codes)


@pytest.mark.skipif(not README.exists(), reason="the tests were copied without README.md")
def test_readme(tmp_path):
    """What README shows passes too; examples of packages that come without types are left out."""
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.M | re.S)
    lines = [
        line[4:]
        for block in blocks
        if "autograd" not in block
        for line in block.splitlines()
        if line[:4] in (">>> ", "... ")
    ]
    program = tmp_path / "shown.py"
    program.write_text("\n".join(lines) + "\n")
    assert "layer.weight -= 0.005 * layer.weight_grad" in program.read_text()
    assert errors(tmp_path, program) == {}


def test_program_runs():
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "user_program.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def overloads(module):
    """The declarations that only type checkers see: (name, arguments)."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    yield part.name, part.args


@pytest.mark.parametrize("module", (functional, grad), ids=lambda m: m.__name__)
def test_overloads_have_the_parameters_of_their_function(module):
    seen = set()
    for name, declared in overloads(module):
        seen.add(name)
        parameters = inspect.signature(getattr(module, name)).parameters
        places = [*declared.posonlyargs, *declared.args, *declared.kwonlyargs]
        assert [a.arg for a in places] == list(parameters), name
        values = [None] * (len(declared.args) - len(declared.defaults)) + declared.defaults
        for argument, value in zip(places, [*values, *declared.kw_defaults], strict=True):
            if value is not None:
                assert ast.literal_eval(value) == parameters[argument.arg].default, (name, argument)
    assert len(seen) >= 10
    for name in module.__all__:  # and the others have the types of the 2-D ones
        model = re.sub("[13]d", "2d", name)
        assert model in seen or model in ("prepack", "explain", "conv_transpose2d_bias")
        ours, theirs = (inspect.signature(getattr(module, n)) for n in (name, model))
        assert ours == theirs, name


NUMBERS = "efdFDbhilqBHILQ"


def dtype_of(result):
    return [a.dtype for a in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize("code", NUMBERS)
def test_results_have_the_dtype_that_overloads_say(code):
    """`Number`: convolutions and maxima keep any dtype."""
    x, w, own = np.ones((1, 1, 4, 4), code), np.ones((1, 1, 2, 2), code), np.dtype(code)
    assert dtype_of(cconv.conv2d(x, w, np.ones(1, code))) == [own]
    assert dtype_of(cconv.conv_transpose2d(x, w)) == [own]
    assert dtype_of(cconv.unfold(x, 2)) == dtype_of(cconv.fold(w.reshape(1, 4, 1), 2, 2)) == [own]
    if own.kind != "c":
        pair = [own, np.dtype(np.int64)]
        assert dtype_of(cconv.max_pool2d(x, 2, return_indices=True)) == pair
        assert dtype_of(cconv.adaptive_max_pool2d(x, 2, return_indices=True)) == pair
        assert dtype_of(cconv.max_unpool2d(x, np.zeros(x.shape, int), 1)) == [own]


@pytest.mark.parametrize("code", NUMBERS.replace("FD", "") + "?")
def test_averages_have_the_dtype_that_overloads_say(code):
    """`Real`: floats keep theirs; `Whole`: float64."""
    x = np.ones((1, 1, 4, 4), code)
    own = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    for y in (cconv.avg_pool2d(x, 2), cconv.lp_pool2d(x, 2, 2), cconv.adaptive_avg_pool2d(x, 2)):
        assert y.dtype == own


@pytest.mark.parametrize("code", "efd")
def test_gradients_have_the_dtype_that_overloads_say(code):
    x, w, y = (np.ones((1, 1, n, n), code) for n in (4, 2, 3))
    results = [
        grad.conv2d_input(x.shape, w, y),
        grad.conv2d_weight(x, w.shape, y),
        grad.conv2d_bias(y),
        grad.max_pool2d_input(x, w, 2),
        grad.avg_pool2d_input(x.shape, w, 2),
        grad.lp_pool2d_input(x, w, 2, 2),
        grad.adaptive_avg_pool2d_input(x.shape, w),
        grad.adaptive_max_pool2d_input(x, w),
        grad.max_unpool2d_input(np.zeros(x.shape, int), x, 1),
    ]
    assert {r.dtype for r in results} == {np.dtype(code)}
