"""A package that uses cconv from Cython and from C: nothing but its own files is compiled, nothing is linked."""

import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

import cconv

# for its own prange: cconv needs none
openmp = [] if sys.platform in ("darwin", "win32") else ["-fopenmp"]
extension = Extension(
    "capi_example", ["capi_example.pyx"], extra_compile_args=openmp, extra_link_args=openmp
)
in_c = Extension("capi_c", ["capi_c.c"], include_dirs=[cconv.get_include()])
setup(ext_modules=[*cythonize([extension], language_level=3), in_c])
