"""The version, said once, and the check that compiled modules and Python files belong to one build."""

from typing import Any

__version__ = "0.1.0"


def check_stamp(module: Any, expected: str | None = None) -> str:
    """
    The stamp of a compiled module: the version, and a digest of the structs that the modules hand to each other.

    Raises
    ------
    ImportError
        If the module is of another version than the Python files, or has another stamp than `expected`.
    """
    stamp = getattr(module, "stamp", "none")
    good = stamp == expected if expected else stamp.split("_")[0] == __version__
    if not good:
        raise ImportError(
            f"cconv {__version__} is a mixed installation: its compiled module {module.__name__} has the stamp "
            f"{stamp}, expected {expected or __version__}; uninstall cconv until pip finds no more, remove what is "
            "left of its folder, and install it again (in a source tree: python setup.py build_ext --inplace --force)"
        )
    return stamp
