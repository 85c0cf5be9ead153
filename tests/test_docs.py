"""The pages of docs/: every Python example runs, and both sides of every row of the comparing tables agree."""

import doctest
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import cconv

DOCS = Path(__file__).resolve().parent.parent / "docs"
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
PAGES = sorted(p for p in DOCS.rglob("*.md") if not {"_build", "generated"} & set(p.parts))
OPTIONAL = (
    "torch",
    "dask",
    "distributed",
    "keras",
    "onnx",
    "autograd",
    "safetensors",
    "scipy",
    "sklearn",
    "matplotlib",
)

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the tests were copied without docs/")


def name_of(page):
    return page.relative_to(DOCS).as_posix()


def blocks(text):
    """The Python blocks of a page: (line, source)."""
    for match in re.finditer(r"^```(?:python|pycon)\n(.*?)^```", text, re.M | re.S):
        yield text.count("\n", 0, match.start()) + 1, match[1]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples(page, tmp_path, monkeypatch):
    """A fence ends an example's output, as a blank line does."""
    monkeypatch.chdir(tmp_path)  # an example may write a file
    text = page.read_text()
    plain = re.sub(r"^```.*$", "", text, flags=re.M)
    for name in OPTIONAL:
        if re.search(
            rf"^>>> (import|from) {name}\b|^>>> from cconv\.interop\.{name}\b", plain, re.M
        ):
            pytest.importorskip(name)
    test = doctest.DocTestParser().get_doctest(
        plain, {"__name__": "__main__"}, name_of(page), str(page), 0
    )
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test)
    assert runner.failures == 0


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_python_is_left_out(page):
    """A block that says `python` is an example that runs; what cannot run here is another language, or text."""
    unrun = [line for line, source in blocks(page.read_text()) if not source.startswith(">>>")]
    assert unrun == [], f"blocks that are not examples begin at lines {unrun}"


def rows(section):
    """(theirs, ours) of the table of a section."""
    text = (DOCS / "coming_from.md").read_text()
    part = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", part, re.M)


def agree(names, theirs, ours):
    a, b = eval(theirs, names), eval(ours, names)
    a = np.asarray(a.detach() if hasattr(a, "detach") else a)
    assert a.shape == b.shape
    np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 if a.dtype == np.float32 else 1e-10)


def some(*shape, dtype=np.float32):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(("theirs", "ours"), rows("PyTorch") if DOCS.exists() else [])
def test_pytorch(theirs, ours):
    torch = pytest.importorskip("torch")
    shapes = {
        "x": (2, 8, 12, 12),
        "w": (6, 8, 3, 3),
        "b": (6,),
        "u": (8, 6, 4, 4),
        "s": (2, 8, 40),
        "v": (6, 8, 5),
    }
    arrays = {name: some(*shape) for name, shape in (shapes | {"q": (1, 2, 6, 8, 8)}).items()}
    tensors = {f"t{name}": torch.from_numpy(a) for name, a in arrays.items()}
    names = {"np": np, "cconv": cconv, "torch": torch, "F": torch.nn.functional}
    agree(names | arrays | tensors, theirs, ours)


@pytest.mark.parametrize(("theirs", "ours"), rows("SciPy") if DOCS.exists() else [])
def test_scipy(theirs, ours):
    ndimage, signal = pytest.importorskip("scipy.ndimage"), pytest.importorskip("scipy.signal")
    from cconv.interop import scipy as scipy_like

    shapes = {"a": (40, 50), "k": (5, 3), "c": (3, 3), "r": (200,), "t": (9,)}
    arrays = {name: some(*shape, dtype=np.float64) for name, shape in shapes.items()}
    names = {
        "np": np,
        "cconv": cconv,
        "scipy_like": scipy_like,
        "ndimage": ndimage,
        "signal": signal,
    }
    agree(names | arrays, theirs, ours)


@pytest.fixture(scope="module")
def keras():
    """Keras on torch: its NumPy backend needs JAX."""
    pytest.importorskip("torch")
    with pytest.MonkeyPatch.context() as patch:  # other tests start processes of their own
        if "KERAS_BACKEND" not in os.environ:
            patch.setenv("KERAS_BACKEND", "torch")
        return pytest.importorskip("keras")


@pytest.mark.parametrize(("theirs", "ours"), rows("Keras") if DOCS.exists() else [])
def test_keras(keras, theirs, ours):
    shapes = {"y": (2, 12, 12, 8), "f": (3, 3, 8, 6), "g": (3, 3, 8, 1), "h": (4, 4, 6, 8)}
    names = {name: some(*shape) for name, shape in shapes.items()}
    names |= vars(SimpleNamespace(np=np, cconv=cconv, keras=keras))
    names["first"], names["last"] = lambda y: np.moveaxis(y, -1, 1), lambda y: np.moveaxis(y, 1, -1)
    names["oihw"] = lambda f: np.transpose(f, (3, 2, 0, 1))
    agree(names, theirs, ours)


def test_tables_are_found():
    """A table whose rows are not recognised would be compared with nothing."""
    counts = [len(rows(section)) for section in ("PyTorch", "SciPy", "Keras")]
    assert counts[0] >= 19 and counts[1] >= 15 and counts[2] >= 10
