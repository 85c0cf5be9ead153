"""
Weights from and to files: ``.safetensors`` (``pip install cconv[safetensors]``) and NumPy's ``.npz``.

A file holds what torch's ``state_dict()`` of a network holds: names such as ``features.0.weight``. `select` takes those
of one layer out, under the names that ``layer.load_state_dict`` takes.

>>> import tempfile, os
>>> import cconv
>>> from cconv.interop.safetensors import load_file, save_file, select
>>> layer = cconv.Conv2d(1, 4, 3, rng=0)
>>> path = os.path.join(tempfile.mkdtemp(), "weights.npz")
>>> save_file({f"conv1.{name}": a for name, a in layer.state_dict().items()}, path)
>>> other = cconv.Conv2d(1, 4, 3)
>>> other.load_state_dict(select(load_file(path), "conv1"))
>>> bool((other.weight == layer.weight).all())
True
"""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from ._values import is_bfloat16, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

__all__ = ["load_file", "save_file", "select"]


def _package(path: str | os.PathLike[str]) -> Any:
    """The safetensors module for a ``.safetensors`` file, None for a ``.npz`` one."""
    ending = os.path.splitext(os.fspath(path))[1]
    if ending == ".npz":
        return None
    if ending != ".safetensors":
        raise ValueError(f"path must end with .safetensors or .npz, got {os.fspath(path)!r}")
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "files of safetensors need the safetensors package: pip install cconv[safetensors]",
            name="safetensors",
        ) from error
    return safetensors.numpy


def load_file(
    path: str | os.PathLike[str], *, keep_bfloat16: bool = False
) -> dict[str, NDArray[Any]]:
    """
    All arrays of a file, by name.

    Parameters
    ----------
    path : path
        Ends with ``.safetensors`` or ``.npz``.
    keep_bfloat16 : bool, default False
        Whether bfloat16, which NumPy has not, stays what it is (``pip install cconv[bfloat16]``); else it becomes
        float32, which loses nothing. ``.npz`` files hold none.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    ValueError
        For another ending, and for a damaged file.
    ImportError
        If the safetensors package is missing, or ml_dtypes for bfloat16 that is kept.
    """
    package = _package(path)
    if package is None:
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, EOFError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"{os.fspath(path)!r} is no .npz file: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # zipfile.BadZipFile, zlib.error, ValueError: a damaged file
            raise ValueError(f"{os.fspath(path)!r} is no .npz file: {error}") from error
    import safetensors

    try:
        with open(path, "rb") as file:
            entries = safetensors.deserialize(file.read())
    except safetensors.SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is no safetensors file: {error}") from error
    return {name: _array(name, entry, keep_bfloat16) for name, entry in entries}


def _bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            "keep_bfloat16 needs the ml_dtypes package: pip install cconv[bfloat16]",
            name="ml_dtypes",
        ) from error
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def _array(name: str, entry: Mapping[str, Any], keep_bfloat16: bool) -> NDArray[Any]:
    kinds = {
        "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
        "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
    }  # fmt: skip
    data, shape = entry["data"], tuple(entry["shape"])
    if entry["dtype"] == "BF16":
        halves = np.frombuffer(data, "<u2").astype(np.uint16).reshape(shape)
        if keep_bfloat16:
            return halves.view(_bfloat16())
        # the upper half of a float32
        return (halves.astype(np.uint32) << 16).view(np.float32)
    if entry["dtype"] not in kinds:
        raise ValueError(f"{name!r} has the dtype {entry['dtype']}, which NumPy has not")
    array = np.frombuffer(data, kinds[entry["dtype"]]).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))  # a copy that may be written to


def save_file(arrays: Mapping[str, ArrayLike], path: str | os.PathLike[str]) -> None:
    """
    Write arrays by name; a reader never sees half a file: it is written beside and moved into place.

    Parameters
    ----------
    arrays : mapping of str to array_like
    path : path
        Ends with ``.safetensors`` or ``.npz``, for which bfloat16 becomes float32.

    Raises
    ------
    TypeError, ValueError
        For names that are no str, arrays that are no numbers, and another ending.
    ImportError
        If the safetensors package is missing.
    """
    package = _package(path)
    ready = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"save_file: names must be str, got {name!r}")
        array = numbers("save_file", name, value)
        if package is None and is_bfloat16(array.dtype):
            array = array.astype(np.float32)  # or it would be read as bytes
        ready[name] = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    beside = f"{os.fspath(path)}.{os.getpid()}.new"
    try:
        with open(beside, "wb") as file:
            if package is None:
                # not numpy.savez, whose own parameters could not be names of arrays
                with zipfile.ZipFile(file, "w") as archive:
                    for name, array in ready.items():
                        with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                            np.lib.format.write_array(entry, array, allow_pickle=False)
            else:
                file.write(package.save(ready))
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def select(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """
    The arrays whose names start with `prefix` and a dot, without these.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    prefix : str

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    KeyError
        If there is none.

    Examples
    --------
    >>> from cconv.interop.safetensors import select
    >>> select({"a.weight": 1, "a.bias": 2, "ab.weight": 3}, "a")
    {'weight': 1, 'bias': 2}
    """
    start = f"{prefix}."
    found = {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}
    if not found:
        raise KeyError(f"no array's name starts with {start!r}; there are {sorted(arrays)}")
    return found
