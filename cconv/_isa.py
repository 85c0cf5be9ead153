"""Which instruction set the kernels are of, and where its compiled modules are found."""

from __future__ import annotations

import functools
import importlib
import os
from typing import TYPE_CHECKING

from . import _cpu
from ._version import check_stamp
from .kernels import MODULES, job

if TYPE_CHECKING:
    from typing import Any

    from ._plan.machine import Machine

# "lowered" is for tests, built with CCONV_LOWERED=1 and never chosen by itself: AVX-512's widths in AVX2 instructions
ISAS = ("lowered", "baseline", "avx2", "avx512")
FOLDERS = {
    "float32": "f32",
    "float64": "f64",
    "int32": "i32",
    "int64": "i64",
    "int8": "i8",  # weights of bytes
    "uint8": "u8",
}
# instructions beside an instruction set that multiply (unsigned by signed) bytes; built for those kernels alone
EXTENSIONS = {"avx512": "avx512vnni"}
EXTENSIONS_ALLOWED = os.environ.get("CCONV_VNNI", "1") != "0"


def built() -> list[str]:
    """Instruction sets whose kernels this installation holds, slowest first."""
    folder = os.path.join(os.path.dirname(__file__), "kernels")
    return [isa for isa in ISAS if os.path.isdir(os.path.join(folder, isa))]


def able_isas() -> list[str]:
    """Instruction sets that this processor runs."""
    able = _cpu.supported()
    return ["lowered", *able] if "avx2" in able else able


def choose_isa(wanted: str | None) -> str:
    """The instruction set of CCONV_ISA, else the best there is."""
    able = able_isas()
    if not wanted:
        return [isa for isa in built() if isa in able][-1]
    if wanted not in ISAS:
        raise ImportError(
            f"CCONV_ISA={wanted!r} is not an instruction set that cconv knows: {', '.join(ISAS[1:])}"
        )
    if wanted not in built():
        raise ImportError(
            f"CCONV_ISA={wanted}: this cconv was built without it; it has {', '.join(built())}"
        )
    if wanted not in able:
        raise ImportError(
            f"CCONV_ISA={wanted}: this processor cannot run it; it runs {', '.join(able)}"
        )
    return wanted


isa = choose_isa(os.environ.get("CCONV_ISA"))


def folders() -> list[str]:
    """Where modules are looked for: those of `isa`, then of lower ones: some kernels gain nothing by wider vectors."""
    able = [name for name in built() if name in able_isas()]
    lower = able[: able.index(isa)] if isa in able else []
    return [isa, *reversed([name for name in lower if name != "lowered"])]


def byte_folders() -> list[str]:
    """The folder of the instructions that multiply bytes, if they are there and not refused."""
    found = EXTENSIONS.get(isa, "")
    able = EXTENSIONS_ALLOWED and found in _cpu.extensions()
    folder = os.path.join(os.path.dirname(__file__), "kernels", found)
    return [found] if able and os.path.isdir(folder) else []


@functools.cache
def kernel_module(dtype: str, module: str) -> Any:
    """The compiled kernels of one element type, loaded when first used."""
    for folder in [*(byte_folders() if module == "int8" else ()), *folders()]:
        # only where bytes are multiplied does it matter whether those of the weights have a sign
        kind = "i8" if dtype == "uint8" and folder in ISAS else FOLDERS[dtype]
        name = f"cconv.kernels.{folder}.{kind}.{module}"
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        check_stamp(found, _cpu.stamp)
        return found
    raise ImportError(f"cconv: this installation has no {module} kernels of {dtype}")


def table(dtype: str, kernel: str) -> Any:
    """The capsule of a kernel's table."""
    kernel = str.__str__(kernel)  # also of an enum's member
    return kernel_module(dtype, MODULES[kernel]).tables[kernel]


@functools.cache
def machine(dtype: str) -> Machine:
    """What plans of an element type have to know of the kernels."""
    from ._plan.machine import RATES, Machine

    if FOLDERS[dtype] in ("i8", "u8"):
        lanes, tile_rows = job.sizes(table(dtype, "int8"))
        terms = kernel_module(dtype, "int8").terms
        return Machine(
            dtype=dtype, itemsize=4, lanes=lanes, tile_rows=tile_rows, isa=isa, terms=terms
        )
    lanes, tile_rows = job.sizes(table(dtype, "gemm"))
    rates = RATES.get(isa, RATES["avx2"])
    return Machine(dtype, int(FOLDERS[dtype][1:]) // 8, lanes, tile_rows, isa, rates=rates)


def show_config() -> dict[str, Any]:
    """
    What a bug report needs.

    Returns
    -------
    dict
        version, isa (in use), isa_available, isa_built, isa_int8 (in use for bytes), compiler, threading
        ("pthreads", "win32" or "none"), threads, vector_width (bits), numpy, python, platform.

    Examples
    --------
    >>> import cconv
    >>> cconv.show_config()["isa"] in cconv.show_config()["isa_available"]
    True
    """
    import platform

    import numpy as np

    from ._run import get_num_threads, kind
    from ._version import __version__

    able = able_isas()
    return {
        "version": __version__,
        "isa": isa,
        "isa_available": [name for name in built() if name in able],
        "isa_built": built(),
        "isa_int8": (byte_folders() or [isa])[0],
        "compiler": _cpu.compiler,
        "threading": kind,
        "threads": get_num_threads(),
        "vector_width": 32 * machine("float32").lanes,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
