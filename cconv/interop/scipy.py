"""
`correlate` and `convolve` as ``scipy.signal`` has them, on cconv's kernels: the same arguments, modes and results.

For arrays of any number of axes, real or complex, integers as NumPy wraps them. Needs no SciPy.

>>> from cconv.interop.scipy import convolve, correlate
>>> convolve([1, 2, 3], [0, 1, 0.5])
array([0. , 1. , 2.5, 4. , 1.5])
>>> convolve([1, 2, 3], [0, 1, 0.5], mode="same")
array([1. , 2.5, 4. ])
>>> correlate([1, 2, 3], [0, 1, 0.5], mode="valid")
array([3.5])
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from .. import functional
from ._values import numbers

if TYPE_CHECKING:
    from typing import Any, Literal, TypeAlias

    from numpy.typing import ArrayLike

    from ..functional import Array

    Mode: TypeAlias = Literal["full", "same", "valid"]
    Method: TypeAlias = Literal["auto", "direct", "fft"]

__all__ = ["convolve", "correlate"]

MODES = ("full", "same", "valid")
METHODS = ("auto", "direct", "fft")


def correlate(
    in1: ArrayLike, in2: ArrayLike, mode: Mode = "full", method: Method = "auto"
) -> Array:
    """
    Cross-correlation of two arrays of as many axes: ``z[k] = sum over l of in1[l + k] * conj(in2[l])``.

    Parameters
    ----------
    in1, in2 : array_like
        Real or complex.
    mode : {"full", "same", "valid"}, default "full"
        All lags; as many as `in1` has, centred; only those without padding, where one array must be at least as large
        as the other along every axis.
    method : {"auto", "direct", "fft"}, default "auto"
        "fft" serves floats only; integers are then computed directly.

    Returns
    -------
    ndarray
        Its dtype is `numpy.result_type` of both; of booleans whether any product is true.

    Raises
    ------
    TypeError, ValueError
        If the arrays hold no numbers or differ in their number of axes, or a flag is unknown.

    Examples
    --------
    >>> from cconv.interop.scipy import correlate
    >>> correlate([1, 2, 3], [0, 1, 0.5])
    array([0.5, 2. , 3.5, 3. , 0. ])
    """
    return _correlate("correlate", in1, in2, mode, method, False)


def convolve(in1: ArrayLike, in2: ArrayLike, mode: Mode = "full", method: Method = "auto") -> Array:
    """
    Convolution of two arrays of as many axes: ``z[k] = sum over l of in1[k - l] * in2[l]``.

    Parameters, results and errors as `correlate`.

    Examples
    --------
    >>> from cconv.interop.scipy import convolve
    >>> convolve([[1, 1], [1, 1]], [[1, 2], [3, 4]])
    array([[ 1,  3,  2],
           [ 4, 10,  6],
           [ 3,  7,  4]])
    """
    return _correlate("convolve", in1, in2, mode, method, True)


def _correlate(
    name: str, in1: ArrayLike, in2: ArrayLike, mode: Mode, method: Method, turned: bool
) -> Array:
    a, b = numbers(name, "in1", in1), numbers(name, "in2", in2)
    if mode not in MODES:
        raise ValueError(f"{name}: mode must be one of {', '.join(MODES)}, got {mode!r}")
    if method not in METHODS:
        raise ValueError(f"{name}: method must be one of {', '.join(METHODS)}, got {method!r}")
    if a.ndim != b.ndim:
        raise ValueError(
            f"{name}: in1 and in2 must have as many axes, got shapes {a.shape} and {b.shape}"
        )
    dtype = np.result_type(a, b)
    if dtype.kind == "b":  # whether any product is true
        counts = _correlate(name, a.astype(np.int64), b.astype(np.int64), mode, method, turned)
        return counts > 0
    if a.size == 0 or b.size == 0:
        return np.array([], dtype)
    # everything below correlates, without conjugating
    if turned:
        b = b[(slice(None, None, -1),) * b.ndim]
    elif b.dtype.kind == "c":
        b = b.conj()
    if a.ndim == 0:
        scalar: Array = np.asarray(a * b, dtype)[()]
        return scalar
    swap = False
    if mode == "valid":
        larger = [m >= n for m, n in zip(a.shape, b.shape, strict=True)]
        smaller = [m <= n for m, n in zip(a.shape, b.shape, strict=True)]
        if not all(larger) and not all(smaller):
            raise ValueError(
                f"{name}: for mode='valid' one of in1 and in2 must be at least as large as the other "
                f"along every axis, got shapes {a.shape} and {b.shape}"
            )
        swap = not all(larger)
    elif mode == "full":
        swap = a.size < b.size
    if method == "fft" and dtype.kind not in "fc":
        method = "direct"
    if swap:
        z = _planes(b, a, mode, method, dtype)
        return np.ascontiguousarray(z[(slice(None, None, -1),) * z.ndim])
    return _planes(a, b, mode, method, dtype)


def _padding(n: int, mode: Mode) -> tuple[int, int]:
    """Before and after, for a kernel of n taps."""
    if mode == "valid":
        return 0, 0
    if mode == "full":
        return n - 1, n - 1
    return n - 1 - (n - 1) // 2, (n - 1) // 2


def _planes(a: Array, b: Array, mode: Mode, method: Method, dtype: Any) -> Array:
    """z[k] = sum over l of a[l + k - before] * b[l]; the last three axes by a convolution, those before by a sum."""
    rank = min(3, a.ndim)
    lead = a.ndim - rank
    pads = [_padding(n, mode) for n in b.shape]
    convolution = getattr(functional, f"conv{rank}d")
    a, b = a.astype(dtype, copy=False), b.astype(dtype, copy=False)

    def run(x: Array, w: Array) -> Array:
        result: Array = convolution(
            x[:, None], w[None, None], padding=tuple(pads[lead:]), algorithm=method
        )
        return result[:, 0]

    if lead == 0:
        single: Array = run(a[None], b)[0]
        return single
    a = np.pad(a, [*pads[:lead], *((0, 0),) * rank])
    out = tuple(m - n + 1 for m, n in zip(a.shape[:lead], b.shape[:lead], strict=True))
    total: Array | None = None
    for index in itertools.product(*(range(n) for n in b.shape[:lead])):
        part = a[tuple(slice(i, i + o) for i, o in zip(index, out, strict=True))]
        planes = run(part.reshape(-1, *a.shape[lead:]), b[index])
        if total is None:
            total = planes
        else:
            total += planes
    assert total is not None
    return total.reshape(*out, *total.shape[1:])
