"""The pool of threads, as programs meet it: forks, exits, limits that change, idleness, looks of the C interface.
What the pool does by itself is in test_workers.py."""

import ctypes
import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import cconv

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts in Linux's /proc")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
threads = pytest.mark.skipif(
    cconv.show_config()["threading"] == "none", reason="built without threads"
)

START = """
import atexit, os, signal, sys, threading, time
import numpy as np, cconv
signal.alarm(100)      # a hang ends here, with a signal's exit status
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: signal.alarm(20))
cconv.set_num_threads(3)
x, w = np.ones((8, 32, 60, 60), "f"), np.ones((32, 32, 3, 3), "f")
y = cconv.conv2d(x, w)
def same():
    return np.array_equal(cconv.conv2d(x, w), y)
def tasks():
    return len(os.listdir("/proc/self/task"))
def wait(child):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def run(program, code=0, **environment):
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START + program], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert done.returncode == code and not done.stderr, done
    return done.stdout


# ---------------------------------------------------------------- forks


@forks
@linux
@threads
def test_a_child_has_all_its_threads():
    run("""
assert tasks() == 3
child = os.fork()
if child == 0:
    good = tasks() == 1 and same() and tasks() == 3
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if same() and tasks() == 3 and cconv.get_num_threads() == 3 else 1)
    wait(grandchild)
    os._exit(0 if good and same() else 1)
wait(child)
assert same() and tasks() == 3
""")


@forks
@linux
@threads
def test_a_child_forked_in_other_threads_calls_has_the_processors_for_itself():
    """The calls that went on in the parent are not counted in the child: it does not share with them."""
    run("""
stop = []
def call():
    while not stop:
        cconv.conv2d(x, w)
callers = [threading.Thread(target=call) for _ in range(4)]
for caller in callers: caller.start()
from cconv._run.runner import set_tracer
for _ in range(20):
    time.sleep(0.01)
    child = os.fork()
    if child == 0:
        seen = []
        set_tracer(lambda kernel, dtype, size, threads: seen.append(threads))
        os._exit(0 if same() and seen == [3] else 1)
    wait(child)
stop.append(1)
for caller in callers: caller.join()
""")


# ---------------------------------------------------------------- the end of the interpreter

LONG = """
a, b = np.ones((8, 64, 128, 128), "f"), np.ones((64, 64, 3, 3), "f")
def calls():
    while True:
        cconv.conv2d(a, b)
        cconv.max_pool2d(a, 3)
"""


@pytest.mark.parametrize("way", ["pass", "sys.exit(7)", "os._exit(7)", "raise SystemExit(7)"])
def test_exit_while_daemon_threads_call(way):
    """Their memory goes, they ask for the GIL of an interpreter that is gone: nothing crashes, nothing hangs."""
    for delay in (0.0, 0.01, 0.05, 0.15):
        run(
            LONG
            + f"""
for _ in range(3):
    threading.Thread(target=calls, daemon=True).start()
time.sleep({delay})
{way}
""",
            7 if "7" in way else 0,
        )


def test_exit_while_a_daemon_thread_waits_for_the_gil_in_a_look():
    """A call of seconds, which looks at signals when the interpreter has gone."""
    run("""
a, b = np.ones((64, 128, 128, 128), "f"), np.ones((256, 128, 3, 3), "f")
threading.Thread(target=cconv.conv2d, args=(a, b), daemon=True).start()
threading.Thread(target=cconv.grad.conv2d_weight, args=(a, (128, 128, 3, 3), a[:, :, 2:, 2:]), daemon=True).start()
time.sleep(0.25)
""")


def test_calls_at_exit():
    out = run("""
def last():
    print(same(), flush=True)
    thread = threading.Thread(target=lambda: None)
    cconv.set_num_threads(2)
    print(same(), flush=True)
atexit.register(last)
class Late:
    def __del__(self):
        cconv.conv2d(x, w)
late = Late()
""")
    assert out.split() == ["True", "True"]


def test_a_thread_that_ends_while_others_call():
    run("""
def work():
    for _ in range(20):
        assert same()
for _ in range(5):
    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
""")


# ---------------------------------------------------------------- limits that change


@linux
def test_affinity_is_read_anew():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor")
    program = """
import os, time, cconv
cconv.get_num_threads()
every = os.sched_getaffinity(0)
os.sched_setaffinity(0, sorted(every)[:1])
time.sleep(1.1)
first = cconv.get_num_threads()
os.sched_setaffinity(0, every)
time.sleep(1.1)
print(first, cconv.get_num_threads() == min(len(every), cconv._processors.quota_processors()))
cconv.set_num_threads(5)
time.sleep(1.1)
print(cconv.get_num_threads())
"""
    environment = {k: v for k, v in os.environ.items() if "NUM_THREADS" not in k}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", "import cconv._processors\n" + program], capture_output=True, text=True, env=environment
    )  # fmt: skip
    assert done.stdout.split() == ["1", "True", "5"], done


# ---------------------------------------------------------------- idleness and many callers


@linux
def test_no_thread_spins_after_a_call():
    """Of a second that begins a millisecond after a call, the process uses less than one of processor time."""
    out = run("""
used = []
for _ in range(3):
    same()
    time.sleep(0.001)
    before = time.process_time()
    time.sleep(1)
    used.append(time.process_time() - before)
print(min(used))
""")
    assert float(out) < 0.001


def test_many_callers_of_tiny_jobs():
    """Eight threads at once, each call too small or just large enough to be shared."""
    x = np.random.default_rng(0).standard_normal((1, 16, 24, 24), np.float32)
    w = np.random.default_rng(1).standard_normal((16, 16, 3, 3), np.float32)
    expected = cconv.conv2d(x, w), cconv.max_pool2d(x, 2)
    wrong, before = [], cconv.get_num_threads()

    def work():
        for _ in range(1000):
            if not (cconv.conv2d(x, w) == expected[0]).all():
                wrong.append(1)
            if not (cconv.max_pool2d(x, 2) == expected[1]).all():
                wrong.append(1)

    callers = [threading.Thread(target=work) for _ in range(8)]
    cconv.set_num_threads(8)
    try:
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    finally:
        cconv.set_num_threads(before)
    assert not wrong


# ---------------------------------------------------------------- the C interface's looks

STOPPED = 5


def capi_table():
    """Functions by their place in cconv_api of cconv.h, called without the GIL."""
    from cconv import capi

    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return (ctypes.c_void_p * 14).from_address(get(capi.table, b"cconv.capi.table"))


LOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


@pytest.fixture
def convolve():
    """run(threads) -> status of a convolution of some tenths of a second; set_look."""
    path = Path(__file__).with_name("faults") / "cases.py"
    spec = importlib.util.spec_from_file_location("fault_cases", path)
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    table, pointer = capi_table(), ctypes.c_void_p
    init = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)(table[2])
    run = ctypes.CFUNCTYPE(ctypes.c_int, *[pointer] * 5, ctypes.c_int)(table[3])
    free = ctypes.CFUNCTYPE(None, pointer)(table[7])
    set_look = ctypes.CFUNCTYPE(None, pointer, pointer)(table[13])
    x, w = np.ones((48, 64, 120, 120), "f"), np.ones((96, 64, 3, 3), "f")
    outputs = [np.empty((48, 96, 118, 118), "f") for _ in range(2)]
    given = cases.Spec(0, 2, 0, 0, 48, 64, 96, 1)
    for name, size in (("input", 120), ("kernel", 3), ("stride", 1), ("dilation", 1)):
        getattr(given, name)[:2] = size, size
    plan = pointer()
    assert init(ctypes.addressof(given), ctypes.addressof(plan)) == 0

    def call(threads, number=0):
        y = outputs[number]
        return run(plan, x.ctypes.data, w.ctypes.data, None, y.ctypes.data, threads)

    yield call, set_look
    set_look(None, None)
    free(plan)


@pytest.mark.parametrize("count", [1, 2])
def test_a_look_of_the_c_interface_ends_a_run(convolve, count):
    """Asked about every 0.1 s, on the thread that called, with its own context; another thread's runs ask nobody."""
    call, set_look = convolve
    asked, answer = [], [0]

    @LOOK
    def look(context):
        asked.append((time.monotonic(), threading.get_ident(), context))
        return answer[0]

    set_look(look, 77)
    start = time.monotonic()
    while len(asked) < 3:
        assert call(count) == 0 and time.monotonic() - start < 60
    assert {(owner, context) for _, owner, context in asked} == {(threading.get_ident(), 77)}
    assert all(b[0] - a[0] > 0.09 for a, b in zip(asked, asked[1:], strict=False))
    answer[0] = 1
    before, start, status = len(asked), time.monotonic(), 0
    while status == 0:
        status = call(count)
        assert time.monotonic() - start < 60
    assert status == STOPPED and len(asked) == before + 1
    other = []
    thread = threading.Thread(target=lambda: other.append(call(count)))
    thread.start()
    thread.join()
    assert other == [0] and len(asked) == before + 1
    set_look(None, None)
    assert call(count) == 0 and len(asked) == before + 1
    text = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int)(capi_table()[1])
    assert b"look" in text(STOPPED) and b"unknown" not in text(STOPPED)


def test_a_look_may_call(convolve):
    """From inside a look: calls of Python's own, and runs of the C interface."""
    call, set_look = convolve
    results = []

    @LOOK
    def look(_):
        if results:  # this run goes on asking
            return 0
        set_look(None, None)
        results.append(cconv.conv1d(np.ones((1, 1, 3)), np.ones((1, 1, 2))).tolist())
        results.append(call(2, 1))
        return 0

    set_look(look, None)
    start = time.monotonic()
    while not results:
        assert call(2) == 0 and time.monotonic() - start < 60
    assert results == [[[[2.0, 2.0]]], 0]
