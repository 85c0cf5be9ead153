"""In one process with the pools of PyTorch, scikit-learn and NumPy: right results, everyone's thread counts kept."""

import os
import subprocess
import sys

import numpy as np
import pytest

import cconv

threadpoolctl = pytest.importorskip("threadpoolctl")
THREADS = cconv.show_config()["threading"] != "none"

PROGRAM = """
import os, sys
import numpy as np
order = sys.argv[1].split(",")
if "cconv" in order and order[0] == "cconv":
    import cconv
    cconv.conv2d(np.ones((2, 16, 60, 60), "f"), np.ones((16, 16, 3, 3), "f"))
for name in order:
    __import__(name)
import cconv, threadpoolctl
import torch
from sklearn.cluster import KMeans

def counts():
    pools = {p["filepath"]: p["num_threads"] for p in threadpoolctl.threadpool_info()}
    return torch.get_num_threads(), pools

rng = np.random.default_rng(0)
x, w = rng.standard_normal((4, 32, 60, 60), "f"), rng.standard_normal((32, 32, 3, 3), "f")
a = rng.standard_normal((300, 300), "f")
tx, tw = torch.from_numpy(x), torch.from_numpy(w)
cconv.set_num_threads(2)
cconv.conv2d(x, w)
KMeans(2, n_init=1, random_state=0).fit(a[:, :4])
before = counts()
first = cconv.conv2d(x, w)
product = a @ a
for _ in range(5):
    want = torch.nn.functional.conv2d(tx, tw).numpy()
    got = cconv.conv2d(x, w)
    assert np.array_equal(got, first)
    assert abs(got - want).max() < 1e-3
    labels = KMeans(2, n_init=1, random_state=0).fit(a[:, :4]).labels_
    assert np.array_equal(a @ a, product)
assert counts() == before, (before, counts())
assert cconv.get_num_threads() == 2
torch.set_num_threads(2)
cconv.set_num_threads(1)
assert torch.get_num_threads() == 2
print("fine")
"""


@pytest.mark.parametrize(
    "order", ["cconv,torch,sklearn", "torch,sklearn,cconv", "sklearn,cconv,torch"]
)
def test_with_others_in_one_process(order):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, order],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.skipif(not THREADS, reason="built without threads")
def test_threadpoolctl_sees_and_limits():
    """Its limit wins within its block, over set_num_threads too, and the number of threads that run says so."""
    x = np.ones((4, 32, 60, 60), np.float32)
    w = np.ones((32, 32, 3, 3), np.float32)
    program = """
import os, numpy as np, cconv, threadpoolctl
x, w = np.ones((4, 32, 60, 60), "f"), np.ones((32, 32, 3, 3), "f")
def tasks():
    return len(os.listdir("/proc/self/task"))
cconv.set_num_threads(3)
with threadpoolctl.threadpool_limits(1):
    assert cconv.get_num_threads() == 1
start = tasks()
cconv.set_num_threads(1)
cconv.conv2d(x, w)
cconv.set_num_threads(3)
pool, = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "cconv"]
assert pool["num_threads"] == 3 and pool["version"] == cconv.__version__
with threadpoolctl.threadpool_limits(1, user_api="cconv"):
    assert cconv.get_num_threads() == 1
    y = cconv.conv2d(x, w)
    assert tasks() == start, "threads were started within the limit"
assert cconv.get_num_threads() == 3
with threadpoolctl.threadpool_limits(2), threadpoolctl.threadpool_limits(1):
    cconv.set_num_threads(4)
    assert cconv.get_num_threads() == 1
assert cconv.get_num_threads() == 4
cconv.set_num_threads(3)
assert np.array_equal(cconv.conv2d(x, w), y)
assert tasks() == start + 2
print("fine")
"""
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("no /proc")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "fine\n", done.stderr
    with threadpoolctl.threadpool_limits(1, user_api="cconv"):
        limited = cconv.conv2d(x, w)
    assert np.array_equal(limited, cconv.conv2d(x, w))


@pytest.mark.parametrize(
    "order",
    [
        "import threadpoolctl, cconv",
        "import cconv, threadpoolctl",
        "import cconv; from sklearn import cluster; import threadpoolctl",
        "import cconv, sys; assert 'threadpoolctl' not in sys.modules; import threadpoolctl",
    ],
)
def test_threadpoolctl_knows_in_any_order(order):
    """Registered once, and what waits for the import leaves; an import that fails before does no harm."""
    program = """
def limited():
    with threadpoolctl.threadpool_limits(1):
        return cconv.get_num_threads()
cconv.set_num_threads(3)
assert limited() == 1 and cconv.get_num_threads() == 3
assert len([p for p in threadpoolctl.threadpool_info() if p["user_api"] == "cconv"]) == 1
import sys
assert not [f for f in sys.meta_path if type(f).__module__.startswith("cconv")]
assert "exec_module" not in vars(threadpoolctl.__loader__)
print("fine")
"""
    if "sklearn" in order:
        pytest.importorskip("sklearn")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", order + program], capture_output=True, text=True
    )
    assert done.stdout == "fine\n", done.stderr


def test_without_threadpoolctl(tmp_path):
    """It is not imported for that; where it is missing, what waits for it goes on waiting, and finds it later."""
    (tmp_path / "threadpoolctl.py").write_text(
        "class LibController: pass\nregistered = []\nregister = registered.append\n"
    )
    program = f"""
import sys
path = sys.path[:]
sys.path[:] = [p for p in path if "site-packages" not in p]
import importlib.util
sys.path[:] = path
import cconv
sys.path[:] = [p for p in path if "site-packages" not in p]
sys.path_importer_cache.clear()
for _ in range(2):
    try:
        import threadpoolctl
    except ImportError: pass
    else: raise AssertionError
sys.path.insert(0, {str(tmp_path)!r})
import threadpoolctl
assert [c.user_api for c in threadpoolctl.registered] == ["cconv"]
assert not [f for f in sys.meta_path if type(f).__module__.startswith("cconv")]
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize(
    "variable, value, expected",
    [
        ("OMP_NUM_THREADS", "1", 1),
        ("OMP_NUM_THREADS", "3,2", 3),
        ("CCONV_NUM_THREADS", "2", 2),
    ],
)
def test_environment_sets_the_count(variable, value, expected):
    environment = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    environment[variable] = value
    done = subprocess.run(
        [sys.executable, "-c", "import cconv; print(cconv.get_num_threads())"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{expected}\n", done.stderr


def test_set_num_threads_may_exceed_the_environment():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import cconv; cconv.set_num_threads(4); print(cconv.get_num_threads())",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "4\n", done.stderr
