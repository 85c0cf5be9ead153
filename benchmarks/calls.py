"""What a tiny call costs: python -m benchmarks.calls"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import cconv


def microseconds(
    calls: dict[str, Callable[[], Any]], number: int = 2000, rounds: int = 40
) -> dict[str, float]:
    """Lower quartile of many interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(number):
                call()
            times[name].append((time.perf_counter() - start) / number * 1e6)
    return {name: sorted(t)[len(t) // 4] for name, t in times.items()}


def main() -> None:
    x = np.ones((1, 1, 8, 8), np.float32)
    w, b = np.ones((1, 1, 3, 3), np.float32), np.ones(1, np.float32)
    run = cconv.prepack(w, b, padding=1)
    calls: dict[str, Callable[[], Any]] = {
        "conv2d": lambda: cconv.conv2d(x, w, b, padding=1),
        "max_pool2d": lambda: cconv.max_pool2d(x, 2),
        "prepacked": lambda: run(x),
    }
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        tx, tw, tb = (torch.from_numpy(a) for a in (x, w, b))
        functional = torch.nn.functional
        calls["torch conv2d"] = lambda: functional.conv2d(tx, tw, tb, padding=1)
        calls["torch max_pool2d"] = lambda: functional.max_pool2d(tx, 2)
    for name, us in microseconds(calls).items():
        print(f"{name:<18}{us:6.2f} us")


if __name__ == "__main__":
    main()
