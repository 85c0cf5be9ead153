"""The site: sphinx-build -W --keep-going -n docs OUT, with cconv installed (pip install 'cconv[docs]').

Nothing is fetched: no intersphinx, no web fonts. The pictures are drawn from cconv at the beginning of a build.
"""

import sys
from pathlib import Path

import cconv

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # pictures.py

project = "cconv"
author = "the cconv developers"
copyright = author
release = version = cconv.__version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["cconv.css"]
html_title = f"cconv {release}"
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # shapes and types stand in the docstrings
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
default_role = "autolink"
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(numpy|scipy|torch|autograd|onnx|dask|matplotlib|keras)\..*",
    ),  # no fetch of others' inventories
    ("py:.*", r"(collections\.abc|typing|ndarray|Callable|Sequence|Any|Array|ArrayLike).*"),
    ("py:class", r"cconv\.layers\._.*"),
]
templates_path = ["_templates"]


def draw_pictures(app):
    """Write what the pages show; a picture that is there already is kept."""
    import pictures

    pictures.draw(HERE / "pictures")


def setup(app):
    app.connect("builder-inited", draw_pictures)
