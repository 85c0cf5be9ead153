"""Builds every kernel once per instruction set and element type, from one source; the metadata is in pyproject.toml."""

import gzip
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

# Kernel module -> element types it is built for.
DTYPES = ("f32", "f64", "i32", "i64", "i8", "u8")  # the position is CCONV_DTYPE of simd.h
NUMBERS = DTYPES[:4]
KERNELS = {
    "conv": NUMBERS,
    "lanes": ("f32", "f64"),
    "phases": ("f32", "f64"),
    "winograd": ("f32", "f64"),
    "pool": NUMBERS,
    "weight_grad": ("f32", "f64"),
    "pool_grad": ("f32", "f64"),
    "convert": ("f32",),
    "activate": ("f32", "f64"),
    "int8": ("i8", "u8"),  # signed weights, and unsigned ones where that is another instruction
}
RUN = (
    "threads",
    "memory",
    "runner",
    "conv",
    "units",
    "pool",
    "gradients",
    "entry",
    "elementwise",
    "moves",
    "planes",
    "sums",
)
# no part of the path of a tiny call
SMALL = {
    "cconv.capi",
    "cconv._activate",
    "cconv._convert",
    "cconv._run.gradients",
    "cconv._run.units",
    "cconv.kernels.job",
}
VECTORS = (
    "_run.elementwise",
    "_run.moves",
    "_run.planes",
    "_run.sums",
    "networks.operators.requantize",
)  # of them the compiler makes vectors
TOP = (
    "_cpu",
    "_convert",
    "_activate",
    "kernels.job",
    *(f"_run.{name}" for name in RUN),
    "capi",
    "networks.operators.requantize",
)
VERSION = re.search(r'__version__ = "(.+)"', Path("cconv/_version.py").read_text())[1]
# the version and a digest of the structs that modules hand to each other: a mixed installation is refused
STAMP = f"{VERSION}_{zlib.crc32(Path('cconv/kernels/job.pxd').read_bytes()):08x}"
STAMPED = ["cconv/kernels/job.pxd", "cconv/kernels/stamp.h", "cconv/_version.py"]
DIRECTIVES = {"freethreading_compatible": True}
X86 = platform.machine().lower() in {"x86_64", "amd64"}
MSVC = sys.platform == "win32"

# Instruction set -> (bytes of a vector, flags of GCC and Clang). AVX-512 needs more registers for its wider tile.
ISAS = {"baseline": (16, [])}
if X86 and not MSVC and sys.maxsize > 2**32:
    ISAS["avx2"] = (32, ["-mavx2", "-mfma", "-mf16c"])
    ISAS["avx512"] = (
        64,
        "-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mf16c -mprefer-vector-width=512".split(),
    )
    if os.environ.get("CCONV_LOWERED"):
        # for tests: the logic of AVX-512 (wide vectors, 14-row tiles) on processors that only have
        # AVX2; its spills keep the optimiser busy for minutes, so -O1
        ISAS["lowered"] = (64, [*ISAS["avx2"][1], "-O1", "-Wno-psabi"])
# The same with instructions for products of bytes, which only the kernels of int8 are built with: folders of their own.
EXTENSIONS = {"avx512": ("avx512vnni", ["-mavx512vnni"])}
if "CCONV_BUILD_ISAS" in os.environ:  # e.g. "avx2" for a quick build; baseline is always built
    ISAS = {k: v for k, v in ISAS.items() if k == "baseline" or k in os.environ["CCONV_BUILD_ISAS"]}


# CCONV_SANITIZE=1 (GCC or Clang): an out-of-bounds access or undefined behaviour ends the process with a report, see
# .ci/sanitize. Signed overflow is defined here (-fwrapv): integers wrap as NumPy's do. =thread: data races.
SANITIZE = []
if os.environ.get("CCONV_SANITIZE") == "thread":
    SANITIZE = "-fsanitize=thread -fno-omit-frame-pointer -O1 -g1".split()
elif os.environ.get("CCONV_SANITIZE"):
    SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1".split()


class BuildExt(build_ext):
    def build_extensions(self):
        # GCC would compile these tiles once more for steps of one element, and worse
        single = "-fno-version-loops-for-strides"
        # older compilers do without the instructions that multiply bytes
        for folder, flags in EXTENSIONS.values():
            if not MSVC and not self.builds(flags):
                self.extensions = [ext for ext in self.extensions if f".{folder}." not in ext.name]
        kernel_flags = [single] if not MSVC and self.builds(["-Werror", single]) else []
        for ext in self.extensions:
            if ext.name.endswith(".weight_grad"):
                ext.extra_compile_args += kernel_flags
            ext.extra_compile_args += SANITIZE
            ext.extra_link_args += SANITIZE[:1]
            if sys.platform == "linux" and not SANITIZE:
                ext.extra_link_args.append("-Wl,--strip-all")
        super().build_extensions()

    def copy_extensions_to_source(self):
        for ext in self.extensions:  # the variants' folders are not in the source tree
            Path(*ext.name.split(".")[:-1]).mkdir(parents=True, exist_ok=True)
        super().copy_extensions_to_source()

    def builds(self, flags):
        """Whether the compiler takes them."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "probe.c")
            file.write_text("int main(void){return 0;}\n")
            try:
                self.compiler.compile([str(file)], output_dir=folder, extra_postargs=flags)
            except Exception:  # any failure of the compiler means: without them
                return False
        return True


class Sdist(sdist):
    """With SOURCE_DATE_EPOCH, the same files give an archive of the same bytes: no times, owners or umask in it."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is None or format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)

        def plain(info):
            info.mtime, info.uid, info.gid, info.uname, info.gname = int(epoch), 0, 0, "", ""
            info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
            return info

        name = f"{base_name}.tar.gz"
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        with open(name, "wb") as file, gzip.GzipFile("", "wb", 9, file, int(epoch)) as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
                tar.add(base_dir, filter=plain)
        return name


def add_pool(ext):
    """The pool of threads is part of this one module. CCONV_NO_THREADS=1: calls run on their own thread alone."""
    ext.include_dirs.append("cconv/_run")
    ext.depends += ["cconv/_run/workers.h", "cconv/_run/workers_os.h"]
    if os.environ.get("CCONV_NO_THREADS") == "1":
        ext.define_macros.append(("CCONV_NO_THREADS", 1))
    elif MSVC:
        ext.libraries.append("synchronization")
        ext.extra_compile_args.append("/std:c11")
    else:
        ext.extra_compile_args.append("-pthread")
        ext.extra_link_args.append("-pthread")


def variants(module):
    """The instruction sets that a module is built for, as ISAS."""
    if module != "int8":
        return ISAS
    more = {EXTENSIONS[isa][0]: isa for isa in ISAS if isa in EXTENSIONS}
    return ISAS | {
        name: (ISAS[isa][0], ISAS[isa][1] + EXTENSIONS[isa][1]) for name, isa in more.items()
    }


def serves_from_below(isa, module, dtype):
    """Whether a lower instruction set's build serves: wider vectors gain little there, and a wheel stays under 3 MB."""
    if dtype == "u8" and isa in ISAS:
        return True
    if isa == "lowered":
        return False
    narrow = isa == "avx512" and (dtype == "i32" or module in ("int8", "convert"))
    return narrow or (dtype == "i64" and isa != "baseline")


def optimised(isa, module, dtype):
    """The optimisation of a kernel. -O3 unrolls and splits loops further, for a third more code: only where it counts.

    Without unrolling whole loops, which -fpeel-loops does, a register tile would lie in memory."""
    dense = module in ("conv", "winograd", "weight_grad", "pool", "activate")
    floats = dtype == "f32" or (dtype == "f64" and module not in ("winograd", "weight_grad"))
    if MSVC or isa == "lowered" or (dense and floats and not (X86 and isa == "baseline")):
        return []
    return ["-O2", "-fpeel-loops"]


def extensions():
    top = [Extension(f"cconv.{name}", [f"cconv/{name.replace('.', '/')}.pyx"]) for name in TOP]
    sources = [
        Extension(f"cconv.kernels.{name}", [f"cconv/kernels/{name}.pyx"]) for name in KERNELS
    ]
    translated = cythonize(
        [*top, *sources],
        build_dir="build/cy",
        language_level=3,
        compiler_directives=DIRECTIVES,
        nthreads=os.cpu_count() if sys.platform == "linux" else 0,
    )
    result = translated[: len(top)]
    common = ["/O2"] if MSVC else ["-O3", "-fwrapv", "-fno-math-errno", "-fno-trapping-math", "-g0"]
    for ext in result:
        ext.include_dirs += ["cconv/kernels", "cconv/include", "cconv/_run"]
        ext.define_macros.append(("CCONV_STAMP", STAMP))
        ext.depends += [*STAMPED, "cconv/_run/elementwise.h"]
        small = ext.name in SMALL
        plain = common[:1] if MSVC else ["-Os" if small else "-O2", "-g0"]
        ext.extra_compile_args += common if ext.name.removeprefix("cconv.") in VECTORS else plain
        if ext.name == "cconv._run.threads":
            add_pool(ext)
    for name, ext in zip(KERNELS, translated[len(top) :], strict=True):
        for isa, (width, flags) in variants(name).items():
            for dtype in KERNELS[name]:
                if serves_from_below(isa, name, dtype):
                    continue
                # The module is cconv.kernels.<isa>.<dtype>.<name>: Python finds it by the last part of the name, so one
                # generated C file serves all; a copy a variant, because object files are named after their source.
                folder = Path("build/cy/variants", isa, dtype)
                folder.mkdir(parents=True, exist_ok=True)
                copy = folder / f"{name}.c"
                if not copy.exists() or copy.read_bytes() != Path(ext.sources[0]).read_bytes():
                    shutil.copyfile(ext.sources[0], copy)
                macros = [
                    ("CCONV_DTYPE", DTYPES.index(dtype)),
                    ("CCONV_VBYTES", width),
                    ("CCONV_STAMP", STAMP),
                ]
                if not MSVC:
                    # of pools the compiler knows best what to inline
                    always = "" if name == "pool" else " __attribute__((always_inline))"
                    macros.append(("CYTHON_INLINE", f"inline{always}"))
                if os.environ.get("CCONV_SCALAR"):
                    macros.append(("CCONV_SCALAR", 1))
                result.append(
                    Extension(
                        f"cconv.kernels.{isa}.{dtype}.{name}",
                        [str(copy)],
                        include_dirs=["cconv/kernels"],
                        define_macros=macros,
                        extra_compile_args=common + flags + optimised(isa, name, dtype),
                        depends=[*map(str, Path("cconv/kernels").glob("*.h")), *STAMPED],
                    )
                )
    return result


if __name__ == "__main__":
    setup(
        ext_modules=extensions(),
        cmdclass={"build_ext": BuildExt, "sdist": Sdist},
        options={"build_ext": {"parallel": os.cpu_count() or 1}},
    )
