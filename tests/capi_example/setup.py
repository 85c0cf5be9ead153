"""A package that cimports cconv: nothing but its own .pyx is compiled, nothing is linked."""

import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

openmp = [] if sys.platform in ("darwin", "win32") else ["-fopenmp"]
extension = Extension(
    "capi_example", ["capi_example.pyx"], extra_compile_args=openmp, extra_link_args=openmp
)
setup(ext_modules=cythonize([extension], language_level=3))
