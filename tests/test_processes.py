"""Forks, pools of processes and of threads, limits: nothing hangs, nothing is oversubscribed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv import _processors

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's own interfaces")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")

START = """
import os, signal, sys, threading, time
import numpy as np, cconv
signal.alarm(60)      # a hang ends here, with a signal's exit status
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: signal.alarm(20))     # alarms are not inherited
cconv.set_num_threads(2)
x, w = np.ones((4, 32, 60, 60), "f"), np.ones((32, 32, 3, 3), "f")
y = cconv.conv2d(x, w)     # on two threads
def same():
    pooled = cconv.max_pool2d(x, 2).shape == (4, 32, 30, 30)
    weights = cconv.grad.conv2d_weight(x, w.shape, y).shape == w.shape
    return np.array_equal(cconv.conv2d(x, w), y) and pooled and weights
def wait(child):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def run(program, tmp_path=None, **environment):
    """A program of its own, since forking pytest, threads and all, would test pytest."""
    text = START + program
    source = "-c", text
    if tmp_path is not None:  # spawned children import the main file
        (tmp_path / "program.py").write_text(text)
        source = (str(tmp_path / "program.py"),)
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *source], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------- fork


@forks
def test_fork_in_a_fork():
    run("""
child = os.fork()
if child == 0:
    good = same() and cconv.get_num_threads() == 2
    cconv.set_num_threads(4)                    # for this child and its own
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if same() and cconv.get_num_threads() == 4 else 1)
    wait(grandchild)
    os._exit(0 if good and same() else 1)
wait(child)
assert same() and cconv.get_num_threads() == 2
""")


@forks
def test_fork_while_another_thread_is_calling():
    run("""
stop = []
def call():
    while not stop:
        cconv.conv2d(x, w)
        cconv.avg_pool2d(x, 3)
threads = [threading.Thread(target=call) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(30):
    child = os.fork()
    if child == 0:
        os._exit(0 if same() else 1)
    wait(child)
stop.append(1)
for thread in threads: thread.join()
assert same()
""")


@forks
def test_fork_from_a_thread_and_exec():
    run("""
def work():
    child = os.fork()
    if child == 0:
        os._exit(0 if same() else 1)
    wait(child)
    child = os.fork()
    if child == 0:
        code = "import numpy as np, cconv; assert cconv.get_num_threads() == 2;"
        code += "cconv.conv2d(np.ones((4, 32, 60, 60), 'f'), np.ones((32, 32, 3, 3), 'f'))"
        os.execve(sys.executable, [sys.executable, "-c", code], {**os.environ, "CCONV_NUM_THREADS": "2"})
    wait(child)
    done.append(1)
done = []
thread = threading.Thread(target=work)
thread.start()
thread.join()
assert done and same()
""")


@forks
def test_a_signal_handler_that_forks_in_the_middle_of_a_call():
    """The child goes on with the call that was interrupted, on threads of its own."""
    run("""
a, b = np.ones((8, 128, 96, 96)), np.ones((256, 128, 3, 3))
children = []
def fork(*_):
    children.append(os.fork())
signal.signal(signal.SIGUSR1, fork)
threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGUSR1)).start()
for _ in range(20):
    z = cconv.conv2d(a, b, algorithm="direct")
    if children:
        break
assert z[0, 0, 0, 0] == 128 * 9 and z[-1, -1, -1, -1] == 128 * 9
if children == [0]:
    os._exit(0)
wait(children[0])
""")


# ---------------------------------------------------------------- pools of processes and threads

TASK = """
def task(seed):
    x = np.random.default_rng(seed).standard_normal((2, 16, 40, 40)).astype("f")
    z = cconv.conv2d(x, np.ones((32, 16, 3, 3), "f"), padding=1)
    return float(cconv.max_pool2d(z, 2).sum())
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, tmp_path):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this platform")
    program = (
        TASK
        + f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    expected = [task(i) for i in range(8)]
    with context.Pool(2) as pool:
        assert pool.map_async(task, range(8)).get(50) == expected
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(task, range(8), timeout=50)) == expected
    assert same()
"""
    )
    run(program, tmp_path)


def test_prepacked_weights_and_layers_go_to_workers(tmp_path):
    program = """
import multiprocessing
def call(run):
    return run(x)
if __name__ == "__main__":
    kept = cconv.prepack(w), cconv.Conv2d(32, 8, 3, rng=0)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for run, z in zip(kept, pool.map_async(call, kept).get(50)):
            assert run(x).tobytes() == z.tobytes()
"""
    run(program, tmp_path)


def test_joblib(tmp_path):
    pytest.importorskip("joblib")
    program = (
        TASK
        + """
from joblib import Parallel, delayed
if __name__ == "__main__":
    expected = [task(i) for i in range(8)]
    for backend in ("loky", "multiprocessing", "threading"):
        pool = Parallel(n_jobs=2, backend=backend, timeout=50)
        assert pool(delayed(task)(i) for i in range(8)) == expected, backend
    assert same()
"""
    )
    run(program, tmp_path)


def test_eight_threads_on_layers_and_prepacking():
    """One layer, one prepacked convolution that meets its shapes for the first time in all threads at once."""
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(0)
    layer = cconv.Conv2d(8, 16, 3, padding=1, rng=0)
    inputs = [
        rng.standard_normal((n, 8, 20 + 9 * k, 30)).astype("f") for n in (1, 2) for k in range(6)
    ]
    expected = [layer(x).tobytes() for x in inputs]
    before = cconv.get_num_threads()

    def work(i):
        cconv.set_num_threads(1 + i % 4)
        own = cconv.prepack(layer.weight, layer.bias, padding=1)
        for at in np.random.default_rng(i).permutation(len(inputs)):
            for run in (own, shared, layer):
                if run(inputs[at]).tobytes() != expected[at]:
                    return False
        return True

    try:
        for _ in range(5):
            shared = cconv.prepack(layer.weight, layer.bias, padding=1)
            with ThreadPoolExecutor(8) as pool:
                assert all(pool.map(work, range(16), timeout=100))
    finally:
        cconv.set_num_threads(before)


# ---------------------------------------------------------------- how many threads


@linux
def test_calls_at_once_share_the_threads():
    """Eight Python threads with a limit of four: the three helpers of one call are those of all."""
    run("""
def tasks(): return len(os.listdir("/proc/self/task"))
cconv.set_num_threads(4)
cconv.conv2d(x, w)
alone = tasks()
most = []
gate = threading.Barrier(8)
def work():
    gate.wait()
    for _ in range(40):
        cconv.conv2d(x, w)
    most.append(tasks())
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert max(most) <= alone + 8, (alone, most)
for _ in range(100):
    thread = threading.Thread(target=lambda: cconv.conv2d(x, w))
    thread.start()
    thread.join()
for _ in range(100):
    if tasks() <= alone:
        break
    time.sleep(0.02)
assert tasks() <= alone, (alone, tasks())
""")


@linux
def test_affinity_is_the_limit():
    program = "; import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
    program += "import cconv; print(cconv.get_num_threads())"
    environment = {k: v for k, v in os.environ.items() if "NUM_THREADS" not in k}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    for start in ("pass", "import cconv"):  # also between import and the first call
        done = subprocess.run(
            [sys.executable, "-c", start + program], capture_output=True, text=True, env=environment
        )
        assert done.stdout.strip() == "1", done.stderr


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CCONV_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "5,2"}, 5),
        ({"OMP_NUM_THREADS": "5", "OMP_THREAD_LIMIT": "2"}, 2),
        ({"OMP_THREAD_LIMIT": "1"}, 1),
        ({"CCONV_NUM_THREADS": "none", "OMP_NUM_THREADS": "4"}, 4),
        ({"CCONV_NUM_THREADS": "99999"}, 1024),
        ({"CCONV_NUM_THREADS": "0"}, _processors.processors()),
    ],
)
def test_the_environment_is_the_limit(environment, expected, monkeypatch):
    for name in ("CCONV_NUM_THREADS", "OMP_NUM_THREADS", "OMP_THREAD_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (
        _processors.from_environment() or _processors.most_threads(_processors.processors())
    ) == expected


V2, V1 = "0::/user/job\n", "5:memory:/job\n4:cpu,cpuacct:/user/job\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (V2, {"user/job/cpu.max": "max 100000"}, 64),
        (V2, {"cpu.max": "200000 100000"}, 2),
        (V2, {"user/job/cpu.max": "150000 100000"}, 2),
        (V2, {"user/cpu.max": "300000 100000", "user/job/cpu.max": "max 100000"}, 3),
        (V2, {"user/cpu.max": "300000 100000", "user/job/cpu.max": "50000 100000"}, 1),
        (V2, {"unified/user/job/cpu.max": "700000 100000"}, 7),
        (V2, {"other/cpu.max": "100000 100000", "user/job/cpu.max": "nonsense"}, 64),
        (V2, {}, 64),
        (V1, {"cpu,cpuacct/user/job/cpu.cfs_quota_us": "400000"}, 4),
        (V1, {"cpu/user/cpu.cfs_quota_us": "250000"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "-1"}, 64),
        (V1, {"memory/job/cpu.cfs_quota_us": "100000"}, 64),
        ("0::/../elsewhere\n", {"cpu.max": "500000 100000"}, 5),
        ("", {"cpu.max": "500000 100000"}, 64),
    ],
)
def test_quotas_of_the_cgroup_are_the_limit(groups, files, expected, tmp_path, monkeypatch):
    """The reader pointed at a folder that looks like a system's root; 64 processors otherwise."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if "quota" in name:
            path.with_name("cpu.cfs_period_us").write_text("100000\n")
    assert _processors.processors(str(tmp_path)) == expected
    assert _processors.processors(str(tmp_path / "nothing")) == 64


# ---------------------------------------------------------------- sub-interpreters


@pytest.mark.parametrize("first", [True, False])
def test_sub_interpreters_are_refused(first):
    """A second interpreter gets an ImportError that says so, whether or not the first has cconv; the first goes on."""
    program = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
%s
code = '''
import sys, warnings
warnings.simplefilter("ignore")
sys.path[:0] = %%r
try:
    import cconv
except ImportError as error:
    print("refused", error, flush=True)
''' %% sys.path
interpreters.run_string(interpreters.create(), code)
import numpy as np, cconv
print(cconv.conv1d(np.ones((1, 3)), np.ones((1, 1, 2))).tolist())
""" % ("import cconv" if first else "")
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    refused, _, result = done.stdout.partition("\n")
    assert refused.startswith("refused") and "interpreter" in refused, done
    assert "[[2.0, 2.0]]" in result, done
