"""Measures Dask: python -m benchmarks.dask {memory,scaling,threads}

memory   a virtual image of --gigabytes, filtered (5x5) and pooled (4x4) by two threads under a hard limit on memory
scaling  the same work on clusters of one and of two worker processes
threads  tasks in Dask's pool with one thread each (as they are) and with as many threads as the machine has
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import dask.array as da
import numpy as np
from dask.diagnostics import ProgressBar

import cconv
from cconv.interop import _blocks
from cconv.interop import dask as cd

WEIGHT = np.full((1, 1, 5, 5), 0.04, np.float32)


def image(gigabytes: float) -> Any:
    """Random float32 in chunks along both axes, never there as a whole."""
    rows = -(-((gigabytes * 1e9 / 4 / 1.25) ** 0.5) // 1024) * 1024
    rows, chunks = int(rows), (1, 1024, 2048)
    random = da.random.default_rng(0)
    return random.random((1, rows, rows * 5 // 4), chunks=chunks, dtype=np.float32)


def work(x: Any, weight: Any = WEIGHT) -> Any:
    return cd.max_pool2d(cd.conv2d(x, weight, padding=weight.shape[-1] // 2), 4).mean()


def memory(gigabytes: float, limit: float) -> None:
    x = image(gigabytes)
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 2**30), int(limit * 2**30)))
    start = time.perf_counter()
    with ProgressBar():
        mean = work(x).compute(scheduler="threads", num_workers=2)
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{x.nbytes / 1e9:.1f} GB {x.shape}: {took:.0f} s, mean {mean:.4f}, ", end="")
    print(f"peak {peak:.2f} GiB resident, limit {limit} GiB of data")


def scaling(gigabytes: float) -> None:
    from distributed import Client, LocalCluster

    x = da.ones((1, 8, 16384, 16384), chunks=(1, 8, 1024, 2048), dtype=np.float32)
    weight = np.full((32, 8, 7, 7), 0.01, np.float32)
    x = x[:, :, : max(1, round(gigabytes * 2)) * 1024]
    times = {}
    for workers in (1, 2, 1, 2):
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None
            ) as cluster,
            Client(cluster) as client,
        ):
            client.wait_for_workers(workers)
            work(x[:, :, :1024], weight).compute()
            start = time.perf_counter()
            work(x, weight).compute()
            times[workers] = min(times.get(workers, 1e9), time.perf_counter() - start)
    print(f"{x.nbytes / 1e9:.1f} GB {x.shape}: 1 worker {times[1]:.2f} s, ", end="")
    print(f"2 workers {times[2]:.2f} s, {times[1] / times[2]:.2f} times as fast")


def threads() -> None:
    x = da.ones((1, 8, 4096, 4096), chunks=(1, 8, 512, 512), dtype=np.float32).persist()
    weight = np.full((16, 8, 5, 5), 0.01, np.float32)
    y = work(x, weight)
    alone = _blocks.one_thread
    for name, limited in (("one thread a task", alone), ("all threads a task", lambda: False)):
        _blocks.one_thread = limited
        times = []
        for _ in range(5):
            start = time.perf_counter()
            y.compute(scheduler="threads")
            times.append(time.perf_counter() - start)
        print(f"{name} of {cconv.get_num_threads()}: {min(times):.2f} s, worst {max(times):.2f} s")
    _blocks.one_thread = alone


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["memory", "scaling", "threads"])
    parser.add_argument("--gigabytes", type=float)
    parser.add_argument("--limit", type=float, default=2.0, help="GiB of data (memory)")
    options = parser.parse_args()
    if options.what == "memory":
        memory(options.gigabytes or 20, options.limit)
    elif options.what == "scaling":
        scaling(options.gigabytes or 1)
    else:
        threads()
