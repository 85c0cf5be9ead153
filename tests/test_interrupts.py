"""Ctrl-C in the middle of every long path, and other Python threads going on meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import cconv
from cconv import grad

timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this platform")


def ones(*shape, dtype="f8"):
    return np.ones(shape, dtype)


def two_planes():
    return ones(1, 1, 6000, 6000), np.arange(36_000_000).reshape(1, 1, 6000, 6000)


# each of some 0.5 s and more with one thread, or once more until it is interrupted
LONG = {
    "gemm": lambda: (
        cconv.conv2d,
        (ones(4, 128, 96, 96), ones(256, 128, 3, 3)),
        {"algorithm": "direct"},
    ),
    "gemm, long items": lambda: (
        cconv.conv2d,
        (ones(1, 2048, 10, 12), ones(2048, 2048, 3, 3)),
        {"algorithm": "direct"},
    ),
    "winograd": lambda: (
        cconv.conv2d,
        (ones(8, 128, 96, 96), ones(256, 128, 3, 3)),
        {"algorithm": "winograd"},
    ),
    "rows": lambda: (
        cconv.conv2d,
        (ones(1, 64, 700, 700), ones(1, 64, 11, 11)),
        {"algorithm": "direct"},
    ),
    "slabs": lambda: (cconv.conv1d, (ones(1, 16, 400000), ones(32, 16, 5)), {"dilation": 99000}),
    "taps": lambda: (cconv.conv1d, (ones(1, 8, 4000000), ones(32, 8, 2)), {"dilation": 3000000}),
    "depthwise": lambda: (
        cconv.conv2d,
        (ones(4, 256, 160, 160), ones(256, 1, 11, 11)),
        {"groups": 256},
    ),
    "integers": lambda: (
        cconv.conv2d,
        (ones(4, 64, 96, 96, dtype="i8") << 40, ones(256, 64, 3, 3, dtype="i8") << 20),
        {},
    ),
    "transposed": lambda: (
        cconv.conv_transpose2d,
        (ones(4, 128, 64, 64), ones(128, 128, 4, 4)),
        {"stride": 2},
    ),
    "fft": lambda: (
        cconv.conv2d,
        (ones(2, 2, 1000, 1000), ones(8, 2, 101, 101)),
        {"algorithm": "fft"},
    ),
    "max": lambda: (cconv.max_pool2d, (ones(32, 64, 160, 160), 3, 1), {}),
    "max, 3-D windows": lambda: (
        cconv.max_pool3d,
        (ones(1, 1, 160, 160, 160), (60, 61, 61), 3),
        {},
    ),
    "max with indices": lambda: (
        cconv.max_pool2d,
        (ones(1, 1, 3000, 3000), 13, 1),
        {"return_indices": True},
    ),
    "adaptive with indices": lambda: (
        cconv.adaptive_max_pool2d,
        (ones(1, 1, 6000, 6000), 5000),
        {"return_indices": True},
    ),
    "avg": lambda: (cconv.avg_pool2d, (ones(32, 64, 160, 160), 5, 1), {}),
    "lp": lambda: (cconv.lp_pool2d, (ones(16, 64, 160, 160), 3.0, 3), {}),
    "unfold": lambda: (cconv.unfold, (ones(8, 32, 112, 112, dtype="f4"), 5), {"padding": 2}),
    "fold": lambda: (cconv.fold, (ones(4, 800, 108 * 108, dtype="f4"), (112, 112), 5), {}),
    "unpool": lambda: (cconv.max_unpool2d, two_planes(), {"kernel_size": 1}),
    "unpool gradient": lambda: (
        grad.max_unpool2d_input,
        (two_planes()[1], ones(1, 1, 6000, 6000), 1),
        {},
    ),
    "fold of halves": lambda: (
        cconv.fold,
        (ones(4, 800, 108 * 108, dtype="f2"), (112, 112), 5),
        {},
    ),
    "bias gradient": lambda: (grad.conv1d_bias, (ones(1, 1, 40_000_000),), {}),
    "conversion": lambda: (cconv.max_pool1d, (ones(1, 1, 60_000_000, dtype="i1"), 1), {}),
    "gradient under a padding mode": lambda: (
        grad.conv2d_input,
        ((1, 4, 3000, 3000), ones(1, 4, 3, 3), ones(1, 1, 3200, 3200)),
        {"padding": 101, "padding_mode": "replicate"},
    ),
    "input gradient": lambda: (
        grad.conv2d_input,
        ((4, 128, 96, 96), ones(256, 128, 3, 3), ones(4, 256, 94, 94)),
        {},
    ),
    "weight gradient": lambda: (
        grad.conv2d_weight,
        (ones(32, 64, 96, 96), (128, 64, 3, 3), ones(32, 128, 94, 94)),
        {},
    ),
    "weight gradient, few weights": lambda: (
        grad.conv2d_weight,
        (ones(4, 3, 512, 512), (8, 3, 7, 7), ones(4, 8, 506, 506)),
        {},
    ),
    "weight gradient, taps": lambda: (
        grad.conv1d_weight,
        (ones(2, 8, 3000000), (8, 8, 3), ones(2, 8, 1000000)),
        {"dilation": 1000000},
    ),
    "max gradient": lambda: (
        grad.max_pool2d_input,
        (ones(16, 64, 160, 160), ones(16, 64, 80, 80), 2),
        {},
    ),
    "max gradient, 3-D windows": lambda: (
        grad.max_pool3d_input,
        (ones(1, 1, 120, 120, 120), ones(1, 1, 61, 60, 60), (60, 61, 61), 1),
        {},
    ),
    "avg gradient": lambda: (
        grad.avg_pool2d_input,
        ((32, 64, 160, 160), ones(32, 64, 80, 80), 2),
        {},
    ),
}


class Enough(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


@timers
@pytest.mark.parametrize("name", LONG)
def test_a_signal_is_honoured_within_a_second(name):
    """From a timer, 0.1 s after the call begins; again and again, if the call is over before."""
    function, args, options = LONG[name]()
    due = []

    def stop(*_):
        raise Enough

    before, threads = signal.signal(signal.SIGALRM, stop), cconv.get_num_threads()
    cconv.set_num_threads(1)
    try:
        due.append(time.monotonic() + 0.1)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Enough):
            while True:
                function(*args, **options)
        assert time.monotonic() - due[0] < 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        cconv.set_num_threads(threads)
    # and the library works: nothing is left running, or counted as running
    assert cconv.conv1d(ones(1, 4), ones(1, 1, 2)).tolist() == [[2, 2, 2]]


@timers
@pytest.mark.parametrize("name", LONG)
def test_other_threads_go_on(name):
    """The longest time that a second thread could not run: the GIL is free but for moments."""
    function, args, options = LONG[name]()
    gaps, ticks, over = [0.0], [0], threading.Event()

    def count():
        last = time.monotonic()
        while not over.wait(0.001):
            now = time.monotonic()
            gaps[0], last = max(gaps[0], now - last), now
            ticks[0] += 1

    threads = cconv.get_num_threads()
    cconv.set_num_threads(1)
    thread = threading.Thread(target=count)
    try:
        end = time.monotonic() + 0.3

        def stop(*_):
            raise Enough

        before = signal.signal(signal.SIGALRM, stop)
        thread.start()
        signal.setitimer(signal.ITIMER_REAL, 1)  # enough was seen
        try:
            while time.monotonic() < end:
                function(*args, **options)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Enough:
            pass
        finally:
            signal.signal(signal.SIGALRM, before)
    finally:
        over.set()
        thread.join()
        cconv.set_num_threads(threads)
    # other programs may take the processors for a while, the GIL would be held for the whole of a call
    assert ticks[0] > 20 and gaps[0] < 0.2


@timers
def test_what_was_interrupted_keeps_no_array():
    """The memory behind arrays can be resized: no buffer stays exported, with an error or with a signal."""
    kept = bytearray(4 * 32 * 96 * 96 * 8)
    weights, out = bytearray(128 * 32 * 9 * 8), bytearray(4 * 128 * 94 * 94 * 8)

    def stop(*_):
        raise Enough

    def arrays():
        return (
            np.frombuffer(kept).reshape(4, 32, 96, 96),
            np.frombuffer(weights).reshape(128, 32, 3, 3),
            np.frombuffer(out).reshape(4, 128, 94, 94),
        )

    before = signal.signal(signal.SIGALRM, stop)
    try:
        for function in (
            lambda x, w, y: cconv.conv2d(x, w, out=y, algorithm="direct"),
            lambda x, w, y: cconv.max_pool2d(x, 3, 1, out=y[:, :32]),
            lambda x, w, y: grad.conv2d_weight(x, w.shape, y, out=w),
            lambda x, w, y: grad.conv2d_input(x.shape, w, y, out=x),
            lambda x, w, y: grad.max_pool2d_input(x, y[:, :32], 3, 1, out=None),
        ):
            with pytest.raises(ValueError):
                function(*(a[..., :0] for a in arrays()))
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(Enough):
                while True:
                    function(*arrays())
            for memory in (kept, weights, out):
                memory.append(0)  # BufferError, were it held
                memory.pop()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@timers
def test_calls_that_were_interrupted_are_not_counted():
    """Calls at once share the threads: one that has ended with a signal must not keep its share."""
    program = """
import os, signal, numpy as np, cconv
cconv.set_num_threads(2)
x, w = np.ones((4, 128, 96, 96)), np.ones((256, 128, 3, 3))
def stop(*_): raise ZeroDivisionError
signal.signal(signal.SIGALRM, stop)
for _ in range(5):
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        while True: cconv.conv2d(x, w)
    except ZeroDivisionError: pass
from cconv._run.runner import set_tracer
set_tracer(lambda kernel, dtype, size, threads: print(threads))
cconv.conv2d(x, w)
"""
    if cconv.show_config()["threading"] == "none":
        pytest.skip("built without threads")
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.stdout.split() == ["2"], done


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no SIGINT there")
def test_ctrl_c_from_another_process():
    """KeyboardInterrupt itself, out of a call, by os.kill of a parent; the program goes on with the library."""
    program = """
import numpy as np, cconv, sys
x, w = np.ones((64, 128, 128, 128), "f"), np.ones((256, 128, 3, 3), "f")
print("ready", flush=True)
try:
    while True: cconv.conv2d(x, w)
except KeyboardInterrupt:
    assert cconv.conv2d(x[:1], w, padding=1)[0, 0, 5, 5] == 128 * 9
    print("done", flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})  # fmt: skip
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "done\n" and time.monotonic() - start < 2
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.stdout.close()
        child.wait()
