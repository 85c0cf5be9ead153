"""Every example in a docstring of the package, and those of README.md, run and give what they show."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import cconv

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
README = Path(__file__).resolve().parent.parent / "README.md"


def modules():
    """The package's modules; kernels are loaded by cconv alone, for this processor."""
    yield "cconv"
    for module in pkgutil.walk_packages(cconv.__path__, "cconv."):
        if not module.name.startswith("cconv.kernels"):
            yield module.name


@pytest.mark.parametrize("name", list(modules()))
def test_docstrings(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if (error.name or "cconv").startswith("cconv"):
            raise
        pytest.skip(f"{name} needs {error.name}")
    assert doctest.testmod(module, optionflags=FLAGS).failed == 0


@pytest.mark.skipif(not README.exists(), reason="the tests were copied without README.md")
def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an example writes a file
    result = doctest.testfile(str(README), module_relative=False, optionflags=FLAGS)
    assert result.attempted > 0
    assert result.failed == 0
