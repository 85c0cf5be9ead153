"""Puts the functions of `cconv.interop.keras` into Keras' NumPy backend, and takes them out again."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

import numpy as np

NAMES = (
    "adaptive_average_pool",
    "adaptive_max_pool",
    "average_pool",
    "conv",
    "conv_transpose",
    "depthwise_conv",
    "max_pool",
    "separable_conv",
)
REPLACED: dict[str, Any] = {}  # what stood there before, by name


def install() -> None:
    """
    Let Keras' NumPy backend convolve and pool by cconv; call it before the first ``import keras``.

    Chooses that backend, if neither ``KERAS_BACKEND`` nor an imported Keras has chosen. If JAX is not installed, the
    backend is imported without it: of the rest of Keras nothing calls JAX but the two FFTs, which become NumPy's.
    Calling it twice is calling it once. The whole process is changed: call it from one thread, at the start.

    Raises
    ------
    ImportError
        If Keras is not installed.
    RuntimeError
        If Keras uses another backend.

    Examples
    --------
    >>> import cconv.interop.keras
    >>> cconv.interop.keras.install()  # doctest: +SKIP
    >>> import keras  # doctest: +SKIP
    """
    if importlib.util.find_spec("keras") is None:
        raise ImportError("cconv.interop.keras needs Keras: pip install cconv[keras]", name="keras")
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    chosen = sys.modules["keras"].backend.backend() if "keras" in sys.modules else None
    chosen = chosen or os.environ["KERAS_BACKEND"]
    if chosen != "numpy":
        raise RuntimeError(
            f"cconv.interop.keras serves Keras' NumPy backend, but Keras uses {chosen!r}; set KERAS_BACKEND=numpy"
        )
    _import_keras()
    nn = importlib.import_module("keras.src.backend.numpy.nn")
    ours = importlib.import_module("cconv.interop.keras")
    if not REPLACED:
        REPLACED.update({name: getattr(nn, name) for name in NAMES})
    for name in NAMES:
        setattr(nn, name, getattr(ours, name))


def uninstall() -> None:
    """
    Put Keras' own functions back; without JAX they then raise ImportError. Does nothing if `install` was not called.

    Examples
    --------
    >>> import cconv.interop.keras
    >>> cconv.interop.keras.uninstall()
    """
    if REPLACED:
        nn = importlib.import_module("keras.src.backend.numpy.nn")
        for name, function in REPLACED.items():
            setattr(nn, name, function)
        REPLACED.clear()


class _Missing(ModuleType):
    """Stands where the backend imports JAX: whatever is asked of it says that JAX is missing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"jax.{name}: JAX is not installed", name="jax")


def _fft(axes: int) -> Any:
    def transform(x: tuple[Any, Any]) -> tuple[Any, Any]:
        real, imaginary = (np.asarray(part) for part in x)
        y = np.fft.fftn(real + 1j * imaginary, axes=tuple(range(-axes, 0)))
        return y.real, y.imag

    return transform


def _import_keras() -> None:
    """
    Import Keras; where JAX is missing, modules that are not there stand in for it meanwhile.

    They are taken out of `sys.modules` again, so that others who look for JAX see that it is missing.
    """
    blocked = "jax" in sys.modules and sys.modules["jax"] is None
    if "keras" in sys.modules or (not blocked and importlib.util.find_spec("jax")):
        importlib.import_module("keras")
        return
    jax, lax = _Missing("jax"), _Missing("jax.lax")
    jax.__dict__["lax"] = lax
    math = ModuleType("keras.src.backend.jax.math")
    math.__dict__.update(fft=_fft(1), fft2=_fft(2))
    stand_ins = {"jax": jax, "jax.lax": lax, "keras.src.backend.jax.math": math}
    before = {name: sys.modules[name] for name in stand_ins if name in sys.modules}
    sys.modules.update(stand_ins)
    try:
        importlib.import_module("keras")
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)
        sys.modules.update(before)
