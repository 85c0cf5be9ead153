"""
The pool of threads beside busy processes, beside other libraries, and by itself:
``python -m benchmarks.threads table | start | idle | together | late | all``.

table     five layers with one thread and two, beside ONNX Runtime and torch, with 0, 1 and 2 other processes that only
          compute; every peer in turn, one call after the other; median and mean in milliseconds
start     microseconds to start and end a job of empty items, on threads that are awake and on threads that sleep
idle      processor time of the whole process in a second that begins 1 ms after a call
together  a call of torch's and ONNX Runtime's right after one of cconv's, against one after a pause, and the reverse
late      how long a call waits at its end for a helper that has lost its processor
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import cconv

Call = Callable[[], object]

BUSY = "while True: pass"
# name -> (input, weight or None, options)
LAYERS = {
    "conv2d 1x96x20x20 to 96, 1x1": ((1, 96, 20, 20), (96, 96, 1, 1), {}),
    "conv2d 1x64x56x56 to 64, 3x3": ((1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
    "conv2d 4x128x56x56 to 128, 3x3": ((4, 128, 56, 56), (128, 128, 3, 3), {"padding": 1}),
    "depthwise 1x200x56x56, 3x3": (
        (1, 200, 56, 56), (200, 1, 3, 3), {"padding": 1, "groups": 200},
    ),
    "max_pool2d 4x64x90x90, 3x3 s2": ((4, 64, 90, 90), None, {"kernel_size": 3, "stride": 2}),
}  # fmt: skip


def ours(x: np.ndarray, w: np.ndarray | None, options: dict[str, int]) -> Call:
    if w is None:
        return lambda: cconv.max_pool2d(x, **options)
    run = cconv.prepack(w, **options)
    return lambda: run(x)


def limited(call: Call, n: int) -> Call:
    def limit() -> object:
        cconv.set_num_threads(n)
        return call()

    return limit


def torchs(x: np.ndarray, w: np.ndarray | None, options: dict[str, int]) -> Call | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(2)
    functional, tx = torch.nn.functional, torch.from_numpy(x)
    if w is None:
        return lambda: functional.max_pool2d(tx, **options)
    tw = torch.from_numpy(w)

    def call() -> object:
        with torch.no_grad():
            return functional.conv2d(tx, tw, **options)

    return call


def onnx_runtimes(x: np.ndarray, w: np.ndarray | None, options: dict[str, int]) -> Call | None:
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    pads, groups = [options.get("padding", 0)] * 4, options.get("groups", 1)
    if w is None:
        size, stride = [options["kernel_size"]] * 2, [options["stride"]] * 2
        node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=size, strides=stride)
        constants = []
    else:
        node = helper.make_node("Conv", ["x", "w"], ["y"], pads=pads, group=groups)
        constants = [onnx.numpy_helper.from_array(w, "w")]
    graph = helper.make_graph(
        [node], "layer", [helper.make_tensor_value_info("x", real, x.shape)],
        [helper.make_tensor_value_info("y", real, None)], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": x})


def layer(name: str) -> tuple[np.ndarray, np.ndarray | None, dict[str, int]]:
    rng = np.random.default_rng(0)
    shape, kernel, options = LAYERS[name]
    w = None if kernel is None else rng.standard_normal(kernel, np.float32)
    return rng.standard_normal(shape, np.float32), w, options


def timed(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def turns(peers: dict[str, Call], seconds: float, pause: float = 0.003) -> dict[str, np.ndarray]:
    """Milliseconds of every call of each: ten calls of one after another, then of the next. A pause between two peers
    lets idle threads of the last one end their spinning."""
    found: dict[str, list[float]] = {name: [] for name in peers}
    for call in peers.values():
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, call in peers.items():
            time.sleep(pause)
            call()
            found[name] += [timed(call) for _ in range(10)]
    return {name: np.array(times) * 1e3 for name, times in found.items()}


def table(seconds: float) -> None:
    for busy in (0, 1, 2):
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
        try:
            for name in LAYERS:
                call = ours(*layer(name))
                peers = {"cconv 1": limited(call, 1), "cconv 2": limited(call, 2)}
                for peer, made in (("ORT 2", onnx_runtimes), ("torch 2", torchs)):
                    theirs = made(*layer(name))
                    if theirs is not None:
                        peers[peer] = theirs
                found = turns(peers, seconds)
                print(f"{busy} busy  {name:33}", end="")
                for peer, times in found.items():
                    print(f"  {peer} {np.median(times):7.3f} {times.mean():7.3f}", end="")
                print(flush=True)
        finally:
            for other in others:
                other.kill()
                other.wait()


def start(seconds: float) -> None:
    """By a C hook: nothing of Python's is in it."""
    from cconv._run.threads import time_empty_jobs

    for threads in (2, 4):
        awake = time_empty_jobs(threads, int(seconds * 20000), 0)
        asleep = time_empty_jobs(threads, int(seconds * 200), 2_000_000)
        print(f"{threads} threads: {awake:.2f} us awake, {asleep:.2f} us asleep", flush=True)


def idle(_: float) -> None:
    call = limited(ours(*layer("conv2d 1x64x56x56 to 64, 3x3")), 2)
    for _round in range(3):
        call()
        time.sleep(0.001)
        before = time.process_time()
        time.sleep(1)
        print(f"{(time.process_time() - before) * 1e3:.3f} ms of an idle second", flush=True)


def together(seconds: float) -> None:
    name = "conv2d 1x64x56x56 to 64, 3x3"
    call = limited(ours(*layer(name)), 2)

    def after(first: Call | None, second: Call) -> list[float]:
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            time.sleep(0.02)
            if first is not None:
                first()
            times.append(timed(second) * 1e3)
        return times

    for peer, made in (("ORT", onnx_runtimes), ("torch", torchs)):
        theirs = made(*layer(name))
        if theirs is None:
            continue
        # the caller's processor and caches are as warm in both: cconv on one thread has no helpers
        alone = limited(ours(*layer(name)), 1)
        for text, first, second in (
            (f"{peer} after a pause", None, theirs),
            (f"{peer} after cconv on one thread", alone, theirs),
            (f"{peer} after cconv on two", call, theirs),
            ("cconv after a pause", None, call),
            (f"cconv after {peer}", theirs, call),
        ):
            times = after(first, second)
            print(f"{text:35} {np.median(times):7.3f} {np.mean(times):7.3f}", flush=True)


def late(seconds: float) -> None:
    """The caller's last item ends, then it waits: what a call takes beyond the half of one thread's time."""
    other = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        call = ours(*layer("conv2d 4x128x56x56 to 128, 3x3"))
        found = turns({"1": limited(call, 1), "2": limited(call, 2)}, seconds)
    finally:
        other.kill()
        other.wait()
    for threads, times in found.items():
        parts = "  ".join(f"{p} % {np.percentile(times, p):.2f}" for p in (10, 50, 90, 99, 100))
        print(f"{threads} threads, one busy process: {parts} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = {"table": table, "start": start, "idle": idle, "together": together, "late": late}
    parser.add_argument("what", choices=[*kinds, "all"])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    args = parser.parse_args()
    print(
        f"{os.cpu_count()} processors, {cconv.show_config()['isa']}, load {os.getloadavg()[0]:.1f}"
    )
    for name, kind in kinds.items():
        if args.what in (name, "all"):
            kind(args.seconds)


if __name__ == "__main__":
    main()
