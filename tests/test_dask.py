"""Dask arrays in any chunks give what the NumPy functions give on the whole, and what torch gives."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import cconv
import cconv.functional

pytest.importorskip("dask.array")

import dask
import dask.array as da

from cconv.interop import dask as cd

CALLS = int(os.environ.get("CCONV_TEST_CALLS", "150"))
SYNC = {"scheduler": "synchronous"}


def chunked(rng, x):
    """x in random, uneven chunks along every axis."""
    chunks = []
    for n in x.shape:
        cuts = rng.choice(n - 1, rng.integers(0, min(4, n)), replace=False) + 1 if n > 1 else []
        chunks.append(tuple(np.diff([0, *sorted(cuts), n]).tolist()))
    return da.from_array(x, chunks=tuple(chunks))


def sides(rng, rank, most):
    return tuple(
        (int(rng.integers(0, m + 1)), int(rng.integers(0, m + 1)))
        for m in np.broadcast_to(most, rank)
    )


def draw(rng, rank, low, high):
    return tuple(rng.integers(low, high + 1, rank).tolist())


def data(rng, rank, channels, dtype, longest):
    lead = (int(rng.integers(1, 4)), channels) if rng.random() < 0.7 else (channels,)
    x = rng.standard_normal((*lead, *draw(rng, rank, 1, longest)))
    if np.dtype(dtype).kind in "iu":
        return (x * 20).astype(dtype)
    if np.dtype(dtype).kind == "c":
        return (x + 1j * rng.standard_normal(x.shape)).astype(dtype)
    return x.astype(dtype)


def check(name, x, lazy, args, params, exact=True):
    """The lazy result against the whole one; an argument error must be raised by both, with the same words."""
    whole = getattr(cconv.functional, name)
    try:
        expected = whole(x, *args, **params)
    except ValueError as error:
        with pytest.raises(ValueError) as caught:
            getattr(cd, name)(lazy, *args, **params)
        assert str(caught.value) == str(error)
        return False
    results = getattr(cd, name)(lazy, *args, **params)
    if not isinstance(expected, tuple):
        expected, results = (expected,), (results,)
    for y, e in zip(dask.compute(*results, **SYNC), expected, strict=True):
        pass_shape = (y.shape, y.dtype) == (e.shape, e.dtype)
        assert pass_shape, (name, y.shape, e.shape, y.dtype, e.dtype)
        if exact:
            np.testing.assert_array_equal(y, e)
        else:
            bound = 1e-2 if e.dtype == np.float16 else 1e-5 if e.dtype == np.float32 else 1e-12
            np.testing.assert_allclose(y, e, rtol=bound, atol=bound)
    for r, e in zip(results, expected, strict=True):
        assert r.shape == e.shape and r.dtype == e.dtype
    return True


DTYPES = [np.float32] * 4 + [np.float64] * 4 + [np.float16, np.complex64, np.int32, np.int8]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["conv", "conv_transpose"])
def test_direct_convolutions_bit_for_bit(rank, kind):
    rng = np.random.default_rng(rank + 10 * len(kind))
    done = 0
    for _ in range(CALLS):
        groups = int(rng.choice([1, 1, 2, 3]))
        inputs, outputs = (groups * int(rng.choice([1, 2, 5])) for _ in range(2))
        dtype = DTYPES[rng.integers(len(DTYPES))]
        x = data(rng, rank, inputs, dtype, (60, 24, 9)[rank - 1])
        lead = (inputs, outputs // groups) if kind != "conv" else (outputs, inputs // groups)
        w = rng.standard_normal((*lead, *draw(rng, rank, 1, 5))) * 3
        w = w.astype(dtype)
        b = (rng.standard_normal(outputs) * 3).astype(dtype) if rng.random() < 0.5 else None
        params = {"stride": draw(rng, rank, 1, 4), "dilation": draw(rng, rank, 1, 3)}
        params |= {"groups": groups, "algorithm": "direct"}
        if kind == "conv":
            choice = rng.integers(4)
            params["padding"] = "same" if choice == 0 else sides(rng, rank, (0, 2, 7)[choice - 1])
            params["padding_mode"] = str(
                rng.choice(["zeros", "zeros", "reflect", "replicate", "circular"])
            )
        else:
            params["padding"] = sides(rng, rank, 2)
            params["output_padding"] = draw(rng, rank, 0, 1)
        args = (w, b)
        if rng.random() < 0.3:
            lazy_args = (chunked(rng, w), None if b is None else chunked(rng, b))
            try:
                e = getattr(cconv, f"{kind}{rank}d")(x, *args, **params)
            except ValueError:
                continue
            y = getattr(cd, f"{kind}{rank}d")(chunked(rng, x), *lazy_args, **params)
            np.testing.assert_array_equal(y.compute(**SYNC), e)
            done += 1
            continue
        done += check(f"{kind}{rank}d", x, chunked(rng, x), args, params)
    assert done > CALLS // 4


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
def test_pools(rank, kind):
    rng = np.random.default_rng(rank + 100 * len(kind))
    done = 0
    for _ in range(CALLS):
        dtype = [np.float32, np.float32, np.float64, np.float16, np.int16, np.bool_][
            rng.integers(6)
        ]
        x = data(rng, rank, 3, dtype, (60, 24, 9)[rank - 1])
        if kind == "max" and x.dtype.kind == "f":  # ties, infinities and NaN
            x = np.round(x)
            x[rng.random(x.shape) < 0.03] = np.nan
            x[rng.random(x.shape) < 0.2] = -np.inf
        kernel = draw(rng, rank, 1, 5)
        params = {"dilation": draw(rng, rank, 1, 3), "ceil_mode": bool(rng.integers(2))}
        params["stride"] = None if rng.random() < 0.2 else draw(rng, rank, 1, 4)
        reach = [d * (k - 1) for k, d in zip(kernel, params["dilation"], strict=True)]
        params["padding"] = sides(rng, rank, reach)
        if kind == "max":
            params["return_indices"] = bool(rng.integers(2))
        if kind == "avg":
            params["count_include_pad"] = bool(rng.integers(2))
            if rng.random() < 0.3:
                params["divisor_override"] = int(rng.integers(1, 9))
        args = (kernel,) if kind != "lp" else (float(rng.choice([1, 2, 3, np.inf])), kernel)
        done += check(f"{kind}_pool{rank}d", x, chunked(rng, x), args, params, kind == "max")
    assert done > CALLS // 4


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_adaptive_pools(rank, kind):
    rng = np.random.default_rng(rank)
    for _ in range(CALLS // 2):
        dtype = [np.float32, np.float64, np.float16, np.int16][rng.integers(4)]
        x = np.round(data(rng, rank, 3, dtype, (60, 24, 9)[rank - 1]))
        params = {"output_size": draw(rng, rank, 0 if rng.random() < 0.05 else 1, 12)}
        if kind == "max":
            params["return_indices"] = bool(rng.integers(2))
        assert check(f"adaptive_{kind}_pool{rank}d", x, chunked(rng, x), (), params, kind == "max")


@pytest.mark.parametrize("algorithm", ["auto", "winograd", "fft"])
def test_other_algorithms_within_their_bound(algorithm):
    rng = np.random.default_rng(5)
    k = 3 if algorithm == "winograd" else 21
    x = rng.standard_normal((1, 40, 90, 70)).astype(np.float32)
    w = rng.standard_normal((8, 40, k, k)).astype(np.float32)
    y = cd.conv2d(chunked(rng, x), w, padding=k // 2, algorithm=algorithm).compute(**SYNC)
    exact = F.conv2d(torch.from_numpy(x).double(), torch.from_numpy(w).double(), padding=k // 2)
    error = np.sqrt(np.mean((y - exact.numpy()) ** 2))
    whole = cconv.conv2d(x, w, padding=k // 2, algorithm="direct")
    assert error <= 4 * np.sqrt(np.mean((whole - exact.numpy()) ** 2))


def test_against_torch():
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 4, 37, 29)), rng.standard_normal((6, 2, 3, 5))
    lazy, t = chunked(rng, x), torch.from_numpy(x)
    y = cd.conv2d(lazy, w, stride=(2, 3), padding=(1, 2), dilation=2, groups=2).compute(**SYNC)
    e = F.conv2d(t, torch.from_numpy(w), stride=(2, 3), padding=(1, 2), dilation=2, groups=2)
    np.testing.assert_allclose(y, e.numpy(), atol=1e-12)
    wt = rng.standard_normal((4, 3, 4, 3))
    y = cd.conv_transpose2d(lazy, wt, stride=3, padding=1, output_padding=2).compute(**SYNC)
    e = F.conv_transpose2d(t, torch.from_numpy(wt), stride=3, padding=1, output_padding=2)
    np.testing.assert_allclose(y, e.numpy(), atol=1e-12)
    y, i = dask.compute(*cd.max_pool2d(lazy, 3, 2, 1, ceil_mode=True, return_indices=True), **SYNC)
    e, ei = F.max_pool2d(t, 3, 2, 1, ceil_mode=True, return_indices=True)
    np.testing.assert_array_equal(y, e.numpy())
    np.testing.assert_array_equal(i, ei.numpy())
    y = cd.avg_pool2d(lazy, 3, 2, 1, ceil_mode=True).compute(**SYNC)
    np.testing.assert_allclose(y, F.avg_pool2d(t, 3, 2, 1, ceil_mode=True).numpy(), atol=1e-14)
    y, i = dask.compute(*cd.adaptive_max_pool2d(lazy, (5, 7), return_indices=True), **SYNC)
    e, ei = F.adaptive_max_pool2d(t, (5, 7), return_indices=True)
    np.testing.assert_array_equal(y, e.numpy())
    np.testing.assert_array_equal(i, ei.numpy())
    y = cd.adaptive_avg_pool2d(lazy, (5, 7)).compute(**SYNC)
    np.testing.assert_allclose(y, F.adaptive_avg_pool2d(t, (5, 7)).numpy(), atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_direct_sums_in_an_order_of_the_weight_alone(dtype):
    """Any window of an input has the bits of the same place in the whole, without Dask."""
    rng = np.random.default_rng(3)
    for _ in range(CALLS):
        k, s, d = draw(rng, 2, 1, 6), draw(rng, 2, 1, 3), draw(rng, 2, 1, 3)
        c, o = int(rng.choice([1, 3, 40])), int(rng.choice([1, 2, 3, 4, 9]))
        x = rng.standard_normal((1, c, 40, int(rng.choice([40, 300])))).astype(dtype)
        w = rng.standard_normal((o, c, *k)).astype(dtype)
        whole = cconv.conv2d(x, w, stride=s, dilation=d, algorithm="direct")
        at = [int(rng.integers(0, n)) for n in whole.shape[2:]]
        n = [int(rng.integers(1, m - a + 1)) for m, a in zip(whole.shape[2:], at, strict=True)]
        if rng.random() < 0.5:
            n[0] = min(n[0], 3)
        cut = tuple(
            slice(a * t, a * t + (m - 1) * t + e * (j - 1) + 1)
            for a, m, t, e, j in zip(at, n, s, d, k, strict=True)
        )
        part = cconv.conv2d(x[(..., *cut)], w, stride=s, dilation=d, algorithm="direct")
        inside = tuple(slice(a, a + m) for a, m in zip(at, n, strict=True))
        np.testing.assert_array_equal(part, whole[(..., *inside)])


def test_chunks_follow_the_input_and_nothing_is_computed():
    def fail(block):
        raise AssertionError("computed")

    x = da.ones((2, 3, 1000, 800), chunks=(1, 3, 100, 200)).map_blocks(
        fail, dtype=float, meta=np.empty(0)
    )
    y = cd.conv2d(x, np.ones((8, 3, 5, 5)), stride=2, padding=2)
    assert y.numblocks == (2, 1, 10, 4) and max(y.chunks[2]) <= 51
    assert cd.conv_transpose2d(x, np.ones((3, 8, 2, 2)), stride=2).numblocks == (2, 1, 10, 4)
    assert cd.max_pool2d(x, 2).chunks[2:] == ((50,) * 10, (100,) * 4)
    assert cd.adaptive_avg_pool2d(x, 20).numblocks == (2, 1, 10, 4)


def test_errors_are_raised_when_the_graph_is_built():
    x = da.ones((1, 4, 8, 8), chunks=4)
    with pytest.raises(ValueError, match="conv2d: weight of shape"):
        cd.conv2d(x, np.ones((1, 3, 3, 3)))
    with pytest.raises(ValueError, match="conv2d: algorithm must be one of"):
        cd.conv2d(x, np.ones((1, 4, 3, 3)), algorithm="fast")
    with pytest.raises(ValueError, match="algorithm='winograd' cannot serve"):
        cd.conv2d(x, np.ones((1, 4, 5, 5)), algorithm="winograd")
    with pytest.raises(ValueError, match="max_pool2d: padding"):
        cd.max_pool2d(x, 2, padding=2)
    with pytest.raises(ValueError, match="avg_pool2d: divisor_override must not be 0"):
        cd.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(ValueError, match="chunks of unknown size"):
        cd.max_pool2d(x[:, :, x[0, 0, 0] > 0], 2)
    with pytest.raises(TypeError, match="input must hold real numbers"):
        cd.max_pool2d(x + 1j, 2)


def test_an_empty_batch():
    x = da.ones((0, 2, 8, 8), chunks=4)
    assert cd.conv2d(x, np.ones((3, 2, 3, 3))).compute(**SYNC).shape == (0, 3, 6, 6)
    assert cd.max_pool2d(x, 2).compute(**SYNC).shape == (0, 2, 4, 4)


def test_equal_calls_have_equal_names():
    x, w = da.ones((1, 2, 8, 8), chunks=4), np.ones((1, 2, 3, 3))
    assert cd.conv2d(x, w).name == cd.conv2d(x, w).name != cd.conv2d(x, w, padding=1).name


def test_graph_is_lean():
    """A block costs one task, and one for each part that it reads: nine of a 2-D block at most."""
    x = da.ones((1, 1, 4096, 4096), chunks=(1, 1, 256, 256))
    y = cd.conv2d(x, np.ones((1, 1, 5, 5)), padding=2)
    assert len(y.__dask_graph__()) < 256 * (1 + 1 + 9)


def test_tasks_use_one_thread_each(monkeypatch):
    seen = []
    inner = cconv.functional._max_pool1d

    def note(*args):
        seen.append(cconv.get_num_threads())
        return inner(*args)

    before = cconv.get_num_threads()
    monkeypatch.setattr(cconv.functional, "_max_pool1d", note)
    try:
        cconv.set_num_threads(8)
        cd.max_pool1d(da.ones((1, 90), chunks=30), 3).compute(scheduler="threads")
        assert seen == [1] * 3
        assert cconv.get_num_threads() == 8
    finally:
        cconv.set_num_threads(before)


def run(path, program):
    """A program of its own: clusters leave warnings, which are errors here, and peaks of memory stay."""
    path.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(Path(cconv.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


CLUSTER = """
import os, signal, time
import numpy as np
import dask.array as da
from distributed import Client, LocalCluster
import cconv
from cconv.interop import dask as cd

def slow(block):
    import time
    time.sleep(0.2)
    return block

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2, 400, 500)).astype(np.float32)
    w = rng.standard_normal((3, 2, 5, 5)).astype(np.float32)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        lazy = da.from_array(x, chunks=(1, 2, 64, 90)).map_blocks(slow, dtype=x.dtype)
        y = cd.max_pool2d(cd.conv2d(lazy, w, padding="same"), 3, 2)
        client.wait_for_workers(2)
        future = client.compute(y, retries=3)
        pids = client.run(os.getpid)
        time.sleep(1.5)
        assert not future.done()
        os.kill(list(pids.values())[0], signal.SIGKILL)
        result = future.result(timeout=120)
        client.wait_for_workers(2, timeout=60)
        assert set(client.run(os.getpid).values()) != set(pids.values())
    e = cconv.max_pool2d(cconv.conv2d(x, w, padding="same", algorithm="direct"), 3, 2)
    assert np.array_equal(result, e)
    print("right")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a worker with SIGKILL")
def test_a_killed_worker_costs_time_only(tmp_path):
    pytest.importorskip("distributed")
    assert run(tmp_path / "cluster.py", CLUSTER).strip().endswith("right")


MEMORY = """
import resource
import numpy as np
import dask.array as da
from cconv.interop import dask as cd

start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
x = da.random.default_rng(0).random((1, 16384, 32768), chunks=(1, 2048, 2048), dtype=np.float32)
y = cd.max_pool2d(cd.conv2d(x, np.full((1, 1, 5, 5), 0.04, np.float32), padding=2), 4)
total = y.mean().compute(scheduler="threads", num_workers=2)
assert 0.5 < total < 0.7, total
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of resident memory")
def test_two_gigabytes_in_a_fraction_of_that_memory(tmp_path):
    assert int(run(tmp_path / "memory.py", MEMORY)) < 700  # MiB
