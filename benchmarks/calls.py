"""What a tiny call costs: python -m benchmarks.calls [--only TEXT]"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import cconv
from cconv import grad

Calls = dict[str, Callable[[], Any]]


def microseconds(calls: Calls, number: int = 1000, rounds: int = 40) -> dict[str, float]:
    """Lower quartile of many interleaved rounds, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(number):
                call()
            times[name].append((time.perf_counter() - start) / number * 1e6)
    return {name: sorted(t)[len(t) // 4] for name, t in times.items()}


def parameters(x: Any, w: Any) -> Calls:
    """One call, its parameters in every form that they may have: each should cost what the tuple does."""
    array, two = np.array([1, 1]), np.int64(2)
    return {
        "conv2d, int": lambda: cconv.conv2d(x, w, None, 1, 1),
        "conv2d, tuple": lambda: cconv.conv2d(x, w, None, (1, 1), (1, 1)),
        "conv2d, list": lambda: cconv.conv2d(x, w, None, [1, 1], [1, 1]),
        "conv2d, NumPy integer": lambda: cconv.conv2d(x, w, None, array[0], array[0]),
        "conv2d, array": lambda: cconv.conv2d(x, w, None, array, array),
        "conv2d, pairs": lambda: cconv.conv2d(x, w, None, 1, ((1, 1), (1, 1))),
        "conv2d, lists of pairs": lambda: cconv.conv2d(x, w, None, 1, [[1, 1], [1, 1]]),
        "conv2d, same": lambda: cconv.conv2d(x, w, None, 1, "same"),
        "max_pool2d, int": lambda: cconv.max_pool2d(x, 2),
        "max_pool2d, tuple": lambda: cconv.max_pool2d(x, (2, 2)),
        "max_pool2d, list": lambda: cconv.max_pool2d(x, [2, 2]),
        "max_pool2d, NumPy integer": lambda: cconv.max_pool2d(x, two),
    }


def operations(x: Any, w: Any, b: Any) -> Calls:
    """The other functions, and prepacked weights."""
    run, turned = cconv.prepack(w, b, padding=1), cconv.prepack(w, b, transposed=True)
    out, gy, pooled = np.empty_like(x), np.ones_like(x), np.ones((1, 1, 4, 4), np.float32)
    return {
        "conv2d, bias": lambda: cconv.conv2d(x, w, b, padding=1),
        "conv2d, out": lambda: cconv.conv2d(x, w, b, padding=1, out=out),
        "prepacked": lambda: run(x),
        "prepacked, out": lambda: run(x, out=out),
        "prepacked, transposed": lambda: turned(x),
        "conv_transpose2d": lambda: cconv.conv_transpose2d(x, w, b, padding=1),
        "conv_transpose2d, stride 2": lambda: cconv.conv_transpose2d(x, w, b, 2),
        "conv_transpose2d, list": lambda: cconv.conv_transpose2d(x, w, b, [2, 2]),
        "max_pool2d, return_indices": lambda: cconv.max_pool2d(x, 2, return_indices=True),
        "avg_pool2d": lambda: cconv.avg_pool2d(x, 2),
        "lp_pool2d": lambda: cconv.lp_pool2d(x, 2, 2),
        "adaptive_avg_pool2d": lambda: cconv.adaptive_avg_pool2d(x, 1),
        "conv2d_input": lambda: grad.conv2d_input(x.shape, w, gy, padding=1),
        "conv2d_weight": lambda: grad.conv2d_weight(x, w.shape, gy, padding=1),
        "max_pool2d_input": lambda: grad.max_pool2d_input(x, pooled, 2),
        "avg_pool2d_input": lambda: grad.avg_pool2d_input(x.shape, pooled, 2),
    }


def arrays(x: Any, w: Any, b: Any) -> Calls:
    """conv2d with other elements, and with arrays that lie otherwise."""
    calls: Calls = {}
    for kind in ("float16", "float64", "complex64", "int32", "uint8"):
        of = [a.astype(kind) for a in (x, w, b)]
        calls[f"conv2d, {kind}"] = lambda of=of: cconv.conv2d(*of, padding=1)
    half, mixed = x.astype(np.float16), w.astype(np.float64)
    apart, swapped = np.asfortranarray(w), x.astype(x.dtype.newbyteorder())
    return calls | {
        "conv2d, float32 by float64": lambda: cconv.conv2d(x, mixed, b, padding=1),
        "conv2d, strided weight": lambda: cconv.conv2d(x, apart, b, padding=1),
        "conv2d, swapped bytes": lambda: cconv.conv2d(swapped, w, b, padding=1),
        "max_pool2d, float16": lambda: cconv.max_pool2d(half, 2),
    }


def ours() -> Calls:
    x = np.ones((1, 1, 8, 8), np.float32)
    w, b = np.ones((1, 1, 3, 3), np.float32), np.ones(1, np.float32)
    return parameters(x, w) | operations(x, w, b) | arrays(x, w, b)


def torchs() -> Calls:
    """The same calls of torch, if it is there."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    x, w, b = torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3), torch.ones(1)
    functional = torch.nn.functional
    return {
        "torch conv2d": lambda: functional.conv2d(x, w, b, padding=1),
        "torch max_pool2d": lambda: functional.max_pool2d(x, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__)
    parser.add_argument("--only", default="", help="only calls whose name has this text")
    only = parser.parse_args().only
    calls = {name: call for name, call in (ours() | torchs()).items() if only in name}
    for name, us in microseconds(calls).items():
        print(f"{name:<28}{us:7.2f} us")


if __name__ == "__main__":
    main()
