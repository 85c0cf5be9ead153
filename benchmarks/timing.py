"""Calls timed in blocks: what one library's threads do after its call is not billed to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import exp, log
from typing import Any

Call = Callable[[], Any]

WAIT = 0.003  # seconds without work in the process, after which nobody spins
WAITS = 60  # at most: ONNX Runtime's threads spin for some 40 ms
BLOCK = 0.004  # seconds of calls that are timed one after the other
MOST = 50  # calls of a block


def quartile(times: list[float]) -> float:
    """The lower quartile: what the call takes when nobody disturbs it, but not the luckiest one."""
    return sorted(times)[len(times) // 4]


def mean(ratios: list[float]) -> float:
    """The geometric mean."""
    return exp(sum(map(log, ratios)) / len(ratios)) if ratios else float("nan")


def quantile(values: list[float], share: float) -> float:
    """The value that so large a share of them is below, of those that there are."""
    return (
        sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")
    )


def timed(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def quiet() -> None:
    """Waits until the threads of whoever ran before have stopped spinning: until the process takes no time."""
    for _ in range(WAITS):
        before = time.process_time()
        time.sleep(WAIT)
        if time.process_time() - before < WAIT / 10:
            return


def in_blocks(calls: Mapping[str, Call], threads: int, seconds: float) -> dict[str, float]:
    """Milliseconds of each: silence if there are pools of threads, an untimed call, then several timed ones; the next
    one likewise; until there are three blocks and `seconds` for each have gone. The lower quartile."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    number = {}
    for name, call in calls.items():
        call()
        number[name] = max(1, min(MOST, int(BLOCK / max(timed(call), 1e-7))))
    rounds, took = 0, 0.0
    while rounds < 3 or took < seconds * len(calls):
        for name, call in calls.items():
            if threads > 1:
                quiet()
            call()
            found = [timed(call) for _ in range(number[name])]
            times[name] += found
            took += sum(found)
        rounds += 1
    return {name: 1e3 * quartile(found) for name, found in times.items()}
