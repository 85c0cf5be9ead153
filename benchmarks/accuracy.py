"""Rounding errors, by algorithm, dtype and number of terms of a sum: python -m benchmarks.accuracy [--most 10000000]

The data are standard-normal. An error is that of the result against sums in longdouble (float64 for float32 data), as
rms over the outputs, over the rms of the results. Behind it stands its ratio to the error of plain sequential summation
of the same products in the same dtype, s = fl(s + fl(x * w)): the promise is at most 4 for what "auto" chooses.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import cconv

Array = np.ndarray[Any, Any]
SIZES = (10, 100, 1000, 10**4, 10**5, 10**6, 10**7)
EXACT = {"f2": "f8", "f4": "f8", "f8": "g", "c8": "c16", "c16": "G"}


class Sums(NamedTuple):
    """Some outputs of an operation, and the products that each is the sum of."""

    outputs: Array  # flat
    products: Callable[
        [int, str], Array
    ]  # (number of an output, dtype) -> the products in the order of the sum
    finish: Callable[[Array, int], Array]  # what is done to the sums: a division, a root


def as_is(sums: Array, terms: int) -> Array:
    return sums


def data(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Standard-normal numbers, of single precision where that is what is kept (a float64 has all its bits)."""
    a = rng.standard_normal(shape, np.float64 if dtype in ("f8", "c16") else np.float32)
    if dtype[0] == "c":
        a = a + 1j * rng.standard_normal(shape, a.dtype)
    return a.astype(dtype)


def conv1d(terms: int, dtype: str, outputs: int, length: int, groups: int, algorithm: str) -> Sums:
    """`outputs` channels in `groups` groups; kernels of at most 1,000 taps but where there is one channel a group."""
    taps = terms if groups > 1 or algorithm == "fft" else min(terms, 1000)
    channels = max(1, terms // taps)
    rng = np.random.default_rng(terms)
    x = data(rng, (1, channels * groups, taps + length - 1), dtype)
    w = data(rng, (outputs, channels, taps), dtype)
    y = cconv.conv1d(x, w, groups=groups, algorithm=algorithm)

    def products(i: int, kind: str) -> Array:
        o, at = divmod(i, length)
        first = o // (outputs // groups) * channels
        part = x[0, first : first + channels, at : at + taps].astype(kind)
        return (part * w[o].astype(kind)).ravel()

    return Sums(y.ravel(), products, as_is)


def gemm(terms: int, dtype: str) -> Sums:
    return conv1d(terms, dtype, 4, 40 if terms <= 10**5 else 4, 1, "direct")


def rows(terms: int, dtype: str) -> Sums:
    return conv1d(terms, dtype, 2, 80 if terms <= 10**5 else 4, 2, "direct")


def fft(terms: int, dtype: str) -> Sums:
    return conv1d(terms, dtype, 1, 160 if terms <= 10**5 else 8, 1, "fft")


def winograd(terms: int, dtype: str, k: int = 3) -> Sums:
    """k x k kernels; of 3 x 3, F(2) with fewer than 32 channels, else what the cost model prefers."""
    channels = max(1, round(terms / k**2))
    rng = np.random.default_rng(terms)
    x, w = data(rng, (1, channels, 14, 14), dtype), data(rng, (4, channels, k, k), dtype)
    y = cconv.conv2d(x, w, algorithm="winograd")

    def products(i: int, kind: str) -> Array:
        o, a, b = np.unravel_index(i, y.shape[1:])
        return (x[0, :, a : a + k, b : b + k].astype(kind) * w[o].astype(kind)).ravel()

    return Sums(y.ravel(), products, as_is)


def winograd_five(terms: int, dtype: str) -> Sums:
    return winograd(terms, dtype, 5)


def weight_grad(terms: int, dtype: str) -> Sums:
    """The sum runs over the positions."""
    rng = np.random.default_rng(terms)
    channels = 5 if terms <= 10**6 else 2
    x, g = data(rng, (1, channels, terms + 2), dtype), data(rng, (1, channels, terms), dtype)
    y = cconv.grad.conv1d_weight(x, (channels, channels, 3), g)

    def products(i: int, kind: str) -> Array:
        o, c, k = np.unravel_index(i, y.shape)
        return x[0, c, k : k + terms].astype(kind) * g[0, o].astype(kind)

    return Sums(y.ravel(), products, as_is)


def averages(terms: int, dtype: str) -> Sums:
    rng = np.random.default_rng(terms)
    x = data(rng, (1, 2, terms + (80 if terms <= 10**5 else 4)), dtype)
    y = cconv.avg_pool1d(x, terms, 1)

    def products(i: int, kind: str) -> Array:
        c, at = np.unravel_index(i, y.shape[1:])
        return x[0, c, at : at + terms].astype(kind)

    return Sums(y.ravel(), products, np.divide)


def norms(terms: int, dtype: str) -> Sums:
    rng = np.random.default_rng(terms)
    x = data(rng, (1, 2, terms + (80 if terms <= 10**5 else 4)), dtype)
    y = cconv.lp_pool1d(x, 2, terms, 1)

    def products(i: int, kind: str) -> Array:
        c, at = np.unravel_index(i, y.shape[1:])
        return x[0, c, at : at + terms].astype(kind) ** 2

    return Sums(y.ravel(), products, lambda sums, _: np.sqrt(sums))


REAL, ALL = ("f4", "f8"), ("f4", "f8", "c8", "c16", "f2")
ALGORITHMS: dict[str, tuple[Callable[[int, str], Sums], tuple[str, ...], int, int]] = {
    # how, dtypes, least and most terms
    "direct: GEMM tiles": (gemm, ALL, 10, 10**7),
    "direct: rows": (rows, ALL, 10, 10**7),
    "Winograd": (winograd, REAL, 10, 2 * 10**4),
    "Winograd, 5 x 5": (winograd_five, REAL, 200, 2 * 10**4),
    "FFT": (fft, ("f4", "f8", "c8", "c16"), 10, 10**7),
    "weight gradient": (weight_grad, REAL, 10, 10**7),
    "average pool": (averages, ("f4", "f8", "f2"), 10, 10**7),
    "2-norm pool": (norms, ("f4", "f8"), 10, 10**7),
}


def rms(a: Array) -> float:
    return float(np.sqrt(np.mean(np.abs(a.astype("G" if a.dtype.kind == "c" else "g")) ** 2)))


def measure(algorithm: str, dtype: str, terms: int) -> tuple[float, float]:
    """(rms error over the rms of the results, the same over that of sequential summation).

    Sums of float16 are in float32, and then rounded: so is the sequential sum.
    """
    sums = ALGORITHMS[algorithm][0](terms, dtype)
    inner = "f4" if dtype == "f2" else dtype
    plain, exact = [], []
    for i in range(len(sums.outputs)):
        products = sums.products(i, inner)
        plain.append(np.add.accumulate(products)[-1])
        # products of float32 are exact in float64; numpy's pairwise sum adds less than a hundredth of the error
        exact.append(np.sum(sums.products(i, EXACT[dtype])))
        count = len(products)
    want = sums.finish(np.array(exact), count)
    sequential = sums.finish(np.array(plain, inner), count).astype(dtype)
    error = rms(sums.outputs - want)
    return error / rms(want), error / (rms(sequential - want) or 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--most", type=int, default=10**7, help="terms of the longest sums")
    most = parser.parse_args().most
    sizes = [n for n in SIZES if n <= most]
    start = time.perf_counter()
    print("| algorithm | dtype |", *(f" {n:,} terms |" for n in sizes), sep="")
    print("|---|---|", *["--:|"] * len(sizes), sep="")
    for algorithm, (_, dtypes, low, high) in ALGORITHMS.items():
        for dtype in dtypes:
            cells = []
            for n in sizes:
                cell = ""
                if low <= n <= high:
                    error, ratio = measure(algorithm, dtype, n)
                    cell = f"{error:.1e} ({ratio:.2g})"
                cells.append(f" {cell} |")
            print(f"| {algorithm} | {np.dtype(dtype).name} |", *cells, sep="", flush=True)
    print(f"\n{cconv.show_config()['isa']}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
