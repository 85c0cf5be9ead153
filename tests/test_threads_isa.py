"""Every instruction set that this machine runs, under 1, 2 and 3 threads: right, and the same bits for any count."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import cconv

PROGRAM = """
import hashlib, json, sys
import numpy as np, cconv
digest, total = {}, {}
rng = np.random.default_rng(0)
cases = json.loads(sys.argv[1])
for number, (function, shape, weight, options) in enumerate(cases):
    for dtype in ("float32", "float64", "int32", "int64"):
        if dtype[0] == "i" and options.get("algorithm") == "winograd":
            continue
        x = (rng.standard_normal(shape) * 9).astype(dtype)
        args = [x] if weight is None else [x, (rng.standard_normal(weight) * 9).astype(dtype)]
        call = getattr(cconv, function)
        results = []
        for threads in (1, 2, 3):
            cconv.set_num_threads(threads)
            results.append(call(*args, **options))
            results.append(call(np.asfortranarray(args[0]), *args[1:], **options))
            results.append(np.concatenate([call(x[i : i + 1], *args[1:], **options) for i in range(len(x))]))
        for y in results:
            assert y.tobytes() == results[0].tobytes(), (function, shape, dtype)
        if weight is not None:
            kept = {k: v for k, v in options.items() if k != "algorithm"}
            run = cconv.prepack(args[1], **kept, transposed="transpose" in function)
            packed = []
            for threads in (1, 2, 3):
                cconv.set_num_threads(threads)
                packed.append(run(x))
                packed.append(np.concatenate([run(x[i : i + 1]) for i in range(len(x))]))
            for y in packed:
                assert y.tobytes() == packed[0].tobytes(), ("prepacked", function, shape, dtype)
        np.save(f"{sys.argv[2]}/{number}-{dtype}.npy", results[0])
print(cconv.show_config()["isa"])
"""
CASES = [
    ("conv2d", (3, 16, 37, 41), (24, 16, 3, 3), {"padding": 1, "algorithm": "direct"}),
    ("conv2d", (3, 32, 33, 29), (40, 32, 3, 3), {"padding": 1, "algorithm": "winograd"}),
    (
        "conv2d",
        (2, 32, 30, 30),
        (36, 32, 3, 3),
        {"padding": 2, "dilation": 2, "algorithm": "winograd"},
    ),
    ("conv2d", (3, 32, 33, 29), (40, 32, 5, 5), {"padding": 2, "algorithm": "winograd"}),
    ("conv2d", (2, 33, 9, 31), (29, 33, 5, 1), {"padding": 1, "algorithm": "winograd"}),
    ("conv2d", (2, 33, 31, 7), (29, 33, 3, 1), {"padding": 1, "algorithm": "winograd"}),
    ("conv2d", (2, 40, 5, 90), (20, 40, 1, 5), {"padding": 2, "algorithm": "winograd"}),
    # so many samples that their weights are packed, and of one alone read as they lie
    ("conv2d", (40, 40, 9, 9), (33, 40, 3, 3), {"padding": 1, "algorithm": "winograd"}),
    ("conv2d", (40, 40, 7, 7), (33, 40, 5, 5), {"padding": 2, "algorithm": "winograd"}),
    ("conv2d", (2, 64, 40, 40), (33, 64, 1, 1), {}),
    ("conv2d", (2, 32, 61, 61), (48, 32, 3, 3), {"padding": 1, "stride": 2}),
    ("conv2d", (2, 48, 50, 50), (48, 1, 5, 5), {"padding": 2, "groups": 48}),
    ("conv2d", (2, 48, 50, 50), (96, 2, 3, 3), {"stride": [2, 1], "groups": 24}),
    ("conv2d", (1, 3, 90, 90), (2, 3, 11, 11), {}),
    ("conv1d", (2, 32, 5000), (40, 32, 3), {"padding": 1}),
    ("conv1d", (2, 1, 9000), (1, 1, 501), {"padding": 250}),
    ("conv3d", (2, 16, 9, 20, 20), (24, 16, 3, 3, 3), {"padding": 1}),
    ("conv_transpose2d", (2, 24, 30, 30), (24, 20, 4, 4), {"stride": 2, "padding": 1}),
    ("conv_transpose1d", (2, 24, 300), (24, 3, 7), {"stride": 3, "dilation": 2}),
    ("max_pool2d", (2, 16, 91, 93), None, {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", (2, 16, 60, 60), None, {"kernel_size": 7, "stride": 1, "padding": 3}),
    ("avg_pool2d", (2, 16, 91, 93), None, {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("avg_pool3d", (2, 4, 20, 30, 30), None, {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ("lp_pool2d", (2, 8, 60, 60), None, {"kernel_size": 3, "norm_type": 2}),
    ("adaptive_avg_pool2d", (2, 8, 60, 61), None, {"output_size": 7}),
]


def start(isa, *args):
    environment = {**os.environ, "CCONV_ISA": isa}
    return subprocess.run([sys.executable, *args], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One run for each instruction set: the folder of its results."""
    folders = {}
    for isa in cconv.show_config()["isa_available"]:
        folder = tmp_path_factory.mktemp(isa)
        done = start(isa, "-c", PROGRAM, json.dumps(CASES), str(folder))
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == isa
        folders[isa] = folder
    return folders


@pytest.mark.parametrize("number", range(len(CASES)))
def test_same_bits_and_right(results, number):
    function, shape, weight, options = CASES[number]
    options = {
        k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if k != "algorithm"
    }
    seen = {}
    for isa, folder in results.items():
        for path in sorted(folder.glob(f"{number}-*.npy")):
            seen.setdefault(path.stem.split("-")[1], {})[isa] = np.load(path)
    assert seen
    for dtype, by_isa in seen.items():
        baseline = by_isa["baseline"]
        scale = np.sqrt(np.mean(baseline.astype(float) ** 2)) + 1
        for y in by_isa.values():
            if np.dtype(dtype).kind == "i" and baseline.dtype.kind == "i":
                assert np.array_equal(y, baseline)
            else:
                tolerance = 2e-4 if dtype == "float32" else 1e-12
                assert abs(y - baseline).max() <= tolerance * scale, (dtype, function)


def test_bad_isa_is_a_clear_error():
    done = start("mmx", "-c", "import cconv")
    assert done.returncode != 0 and "mmx" in done.stderr and "baseline, avx2, avx512" in done.stderr
    config = cconv.show_config()
    for isa in set(config["isa_built"]) - set(config["isa_available"]):
        done = start(isa, "-c", "import cconv")
        assert done.returncode != 0 and isa in done.stderr and "processor" in done.stderr


def test_winograd_can_be_turned_off():
    program = "import numpy as np, cconv; x = np.zeros((1, 64, 56, 56), 'f'); w = np.zeros((64, 64, 3, 3), 'f');"
    program += "print(cconv.explain('conv2d', x, w)['algorithm'])"
    for value, expected in (("1", "winograd"), ("0", "direct")):
        environment = {**os.environ, "CCONV_WINOGRAD": value}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        assert done.stdout.strip() == expected, done.stderr


def test_fork_after_threads():
    """A forked child computes the same, on as many threads, and does not hang."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this platform")
    program = """
import os, signal, numpy as np, cconv
cconv.set_num_threads(2)
x, w = np.ones((4, 32, 60, 60), "f"), np.ones((32, 32, 3, 3), "f")
y = cconv.conv2d(x, w)
child = os.fork()
if child == 0:
    signal.alarm(30)
    good = np.array_equal(cconv.conv2d(x, w), y) and cconv.get_num_threads() == 2
    os._exit(0 if good else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_many_python_threads():
    """Eight threads at once, some on the same prepacked layer, while the number of threads changes."""
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 32, 40, 40)).astype(np.float32)
    w = rng.standard_normal((32, 32, 3, 3)).astype(np.float32)
    run = cconv.prepack(w, padding=1)
    threads = cconv.get_num_threads()

    def work(i):
        cconv.set_num_threads(1 + i % 3)
        parts = (
            run(x),
            cconv.conv2d(x, w, stride=2),
            cconv.max_pool2d(x, 3, 1),
            cconv.avg_pool2d(x, 2),
        )
        return hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest()

    try:
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(work, range(64)))) == 1
    finally:
        cconv.set_num_threads(threads)


def test_a_limit_is_of_one_python_thread():
    from concurrent.futures import ThreadPoolExecutor

    before = cconv.get_num_threads()
    cconv.set_num_threads(4)
    try:
        with ThreadPoolExecutor(1) as pool, cconv.thread_limit(3):
            assert cconv.get_num_threads() == 3
            assert pool.submit(cconv.get_num_threads).result() == 4
            with cconv.thread_limit(2):
                assert cconv.get_num_threads() == 2
            with cconv.thread_limit(8):
                assert cconv.get_num_threads() == 3
            with pytest.raises(KeyError), cconv.thread_limit(1):
                raise KeyError
            assert cconv.get_num_threads() == 3
        with cconv.thread_limit(8):
            assert cconv.get_num_threads() == 4
    finally:
        cconv.set_num_threads(before)
    for wrong in (0, 1025):
        with pytest.raises(
            ValueError, match=f"thread_limit: n must be from 1 to 1024, got {wrong}"
        ):
            cconv.thread_limit(wrong)
    for odd in (True, 1.0, "1"):
        with pytest.raises(TypeError, match="thread_limit: n must be an int"):
            cconv.thread_limit(odd)
