"""
Convolutions of bytes beside ONNX Runtime's ConvInteger and QLinearConv:
``python -m benchmarks.integers [--threads 1 2] [--layers 3 7] [--weights int8 uint8] [--seconds 0.3]``.

Every layer in uint8, weights int8 or uint8. A line: ONNX Runtime's ConvInteger, cconv prepacked and plain with
``dtype=np.int32``, cconv in float32 prepacked; then QLinearConv, ONNX Runtime's and cconv's operator, whose weights are
packed at each call. Milliseconds, the lower quartile of blocks of calls: an untimed one, then several. Outputs are
compared first. Under ``CCONV_ISA=avx2`` or ``CCONV_VNNI=0`` ONNX Runtime still uses what the processor has; where that
is AMX, its kernel for int8 weights may be slower than the one for uint8 by far.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import cconv

Call = Callable[[], Any]


class Layer(NamedTuple):
    N: int
    C: int
    size: tuple[int, ...]
    O: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dilation: int = 1

    def __str__(self) -> str:
        size = "x".join(map(str, (self.N, self.C, *self.size)))
        more = "".join(
            f" {name}{value}"
            for name, value in (("s", self.stride), ("g", self.groups), ("d", self.dilation))
            if value > 1
        )
        return f"{size} to {self.O}, k{self.kernel}{more}"


LAYERS = [
    Layer(1, 64, (56, 56), 64, 3, padding=1),
    Layer(1, 64, (56, 56), 256, 1),
    Layer(1, 256, (56, 56), 64, 1),
    Layer(1, 128, (28, 28), 128, 3, padding=1),
    Layer(1, 256, (14, 14), 256, 3, padding=1),
    Layer(1, 512, (7, 7), 512, 3, padding=1),
    Layer(1, 1024, (14, 14), 256, 1),
    Layer(1, 3, (224, 224), 64, 7, stride=2, padding=3),
    Layer(1, 128, (56, 56), 128, 3, stride=2, padding=1),
    Layer(1, 96, (56, 56), 96, 3, padding=1, groups=96),
    Layer(1, 512, (14, 14), 512, 5, padding=2, groups=512),
    Layer(1, 144, (56, 56), 144, 3, stride=2, padding=1, groups=144),
    Layer(1, 256, (28, 28), 256, 3, padding=1, groups=32),
    Layer(1, 480, (1, 1), 120, 1),
    Layer(1, 64, (31, 62), 32, 5, padding=2),
    Layer(1, 17, (33, 45), 19, 3, padding=1),
    Layer(8, 64, (9, 9), 64, 3, padding=1),
    Layer(1, 64, (4000,), 64, 9, padding=4),
    Layer(1, 32, (64, 64), 32, 3, padding=4, dilation=4),
]


def random(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def session(op: str, arrays: list[np.ndarray], result: str, layer: Layer, threads: int) -> Any:
    """A session of one node, whose inputs but the first are constants; and its model for other evaluators."""
    import onnx
    import onnxruntime

    helper, of = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype
    names, rank = [f"a{i}" for i in range(len(arrays))], len(layer.size)
    node = helper.make_node(
        op, names, ["y"], group=layer.groups, strides=[layer.stride] * rank,
        dilations=[layer.dilation] * rank, pads=[layer.padding] * 2 * rank,
    )  # fmt: skip
    x = helper.make_tensor_value_info("a0", of(arrays[0].dtype), arrays[0].shape)
    y = helper.make_tensor_value_info("y", of(np.dtype(result)), None)
    constants = [
        onnx.numpy_helper.from_array(np.asarray(a), n) for a, n in zip(arrays, names, strict=True)
    ]
    graph = helper.make_graph([node], "layer", [x], [y], constants[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    made = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return made, model


def calls_of(layer: Layer, weights: str, threads: int) -> dict[str, Call]:
    from onnx.reference import ReferenceEvaluator

    from cconv.interop.onnx import new_ops

    rng = np.random.default_rng(0)
    rank = len(layer.size)
    x = random(rng, "uint8", (layer.N, layer.C, *layer.size))
    w = random(rng, weights, (layer.O, layer.C // layer.groups, *(layer.kernel,) * rank))
    options: dict[str, Any] = {
        "stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation,
        "groups": layer.groups,
    }  # fmt: skip
    function = getattr(cconv, f"conv{rank}d")
    run = cconv.prepack(w, dtype=np.int32, **options)
    real = cconv.prepack(w.astype(np.float32), **options)
    as_real = x.astype(np.float32)
    integer, _ = session("ConvInteger", [x, w], "int32", layer, threads)
    zero = 0 if weights == "int8" else 128
    scales = [np.float32(0.02), np.uint8(0), w, np.float32(0.01), np.array(zero, weights)]
    scales += [np.float32(layer.C * 2), np.uint8(128)]
    quantised, model = session("QLinearConv", [x, *scales], "uint8", layer, threads)
    evaluator, feed = ReferenceEvaluator(model, new_ops=new_ops), {"a0": x}
    return {
        "ort": lambda: integer.run(None, feed)[0],
        "prepack": lambda: run(x),
        "plain": lambda: function(x, w, dtype=np.int32, **options),
        "float32": lambda: real(as_real),
        "ort QL": lambda: quantised.run(None, feed)[0],
        "QL": lambda: evaluator.run(None, feed)[0],
    }


def measured(calls: dict[str, Call], seconds: float) -> dict[str, float]:
    """Milliseconds of each call."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    repeat = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        repeat[name] = max(1, min(50, int(0.003 / (time.perf_counter() - start))))
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or len(times["ort"]) < 3:
        for name, call in calls.items():
            time.sleep(0.002)
            call()
            for _ in range(repeat[name]):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: 1e3 * sorted(found)[len(found) // 4] for name, found in times.items()}


def compared(calls: dict[str, Call]) -> None:
    for theirs, mine in (("ort", "prepack"), ("ort", "plain"), ("ort QL", "QL")):
        np.testing.assert_array_equal(calls[mine](), calls[theirs]())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.integers", description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--layers", type=int, nargs="*", help="numbers of layers, from 0")
    parser.add_argument("--weights", nargs="+", default=["int8", "uint8"])
    parser.add_argument("--seconds", type=float, default=0.15, help="of each call")
    args = parser.parse_args()
    layers = LAYERS if args.layers is None else [LAYERS[i] for i in args.layers]
    print(f"kernels of bytes: {cconv.show_config()['isa_int8']}")
    for threads, weights in itertools.product(args.threads, args.weights):
        cconv.set_num_threads(threads)
        print(f"\n{threads} thread{'s' * (threads > 1)}, {weights} weights; ms")
        ratios: dict[str, list[float]] = {"prepack": [], "plain": [], "QL": []}
        for layer in layers:
            calls = calls_of(layer, weights, threads)
            compared(calls)
            times = measured(calls, args.seconds)
            found = {
                name: times["ort QL" if name == "QL" else "ort"] / times[name] for name in ratios
            }
            for name, ratio in found.items():
                ratios[name].append(ratio)
            said = "  ".join(f"{name} {value:7.3f}" for name, value in times.items())
            what = "  ".join(f"{name} {value:6.2f}" for name, value in found.items())
            print(f"{layer!s:36} {said}  | ort / {what}", flush=True)
        for name, all_ratios in ratios.items():
            mean, worst = np.exp(np.mean(np.log(all_ratios))), min(all_ratios)
            print(f"ort / {name}: geometric mean {mean:.2f}, worst {worst:.2f}")


if __name__ == "__main__":
    main()
