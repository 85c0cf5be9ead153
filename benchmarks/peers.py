"""The peers, each optional: a function from (layer, arrays, threads) to a call without arguments, or None."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .layers import Layer

Call = Callable[[], Any]


class Arrays:
    """One layer's data, standard normal; weights scaled to keep the outputs' size."""

    def __init__(self, layer: Layer) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal(layer.input, dtype=np.float32)
        self.w: Any = None
        self.b: Any = None
        if not layer.op.endswith("pool"):
            self.w = rng.standard_normal(layer.weight, dtype=np.float32)
            self.w /= np.float32(np.sqrt(np.prod(layer.weight[1:])))
            out = layer.weight[1] if layer.op == "conv_transpose" else layer.weight[0]
            self.b = rng.standard_normal(
                out * (layer.get("groups") if "trans" in layer.op else 1), dtype=np.float32
            )


def cconv_call(layer: Layer, a: Arrays, threads: int, prepack: bool) -> Call | None:
    import cconv

    cconv.set_num_threads(threads)
    function = getattr(cconv, f"{layer.op}{layer.rank}d")
    if layer.op.endswith("pool"):
        if prepack:
            return None
        k, s, p = layer.weight, layer.get("stride"), layer.get("padding")
        return lambda: function(a.x, k, s, p)
    s, p, d, g = (layer.get(n) for n in ("stride", "padding", "dilation", "groups"))
    if prepack:
        run = cconv.prepack(a.w, a.b, s, p, d, g, transposed=layer.op == "conv_transpose")
        return lambda: run(a.x)
    if layer.op == "conv_transpose":
        return lambda: function(a.x, a.w, a.b, s, p, 0, g, d)
    return lambda: function(a.x, a.w, a.b, s, p, d, g)


def torch_call(layer: Layer, a: Arrays, threads: int, channels_last: bool) -> Call | None:
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    function = getattr(torch.nn.functional, f"{layer.op}{layer.rank}d")
    if channels_last and (layer.rank != 2 or layer.op != "conv"):
        return None

    def tensor(array: Any) -> Any:
        t = torch.from_numpy(array)
        return (
            t.contiguous(memory_format=torch.channels_last) if channels_last and t.ndim == 4 else t
        )

    x = tensor(a.x)
    s, p = layer.get("stride"), layer.get("padding")
    if layer.op.endswith("pool"):
        return lambda: function(x, layer.weight, s, p)
    w, b, d, g = tensor(a.w), tensor(a.b), layer.get("dilation"), layer.get("groups")
    if layer.op == "conv_transpose":
        return lambda: function(x, w, b, s, p, 0, g, d)
    return lambda: function(x, w, b, s, p, d, g)


def onnx_model(layer: Layer, a: Arrays) -> bytes:
    """The layer as an ONNX model with its weights inside."""
    from onnx import TensorProto, helper, numpy_helper

    rank = layer.rank
    attributes: dict[str, Any] = {
        "strides": [layer.get("stride")] * rank,
        "pads": [layer.get("padding")] * 2 * rank,
    }
    op = {
        "conv": "Conv",
        "conv_transpose": "ConvTranspose",
        "max_pool": "MaxPool",
        "avg_pool": "AveragePool",
    }[layer.op]
    constants = []
    if layer.op.endswith("pool"):
        attributes["kernel_shape"] = list(layer.weight)
        if op == "AveragePool":
            attributes["count_include_pad"] = 1
    else:
        attributes |= {"dilations": [layer.get("dilation")] * rank, "group": layer.get("groups")}
        constants = [numpy_helper.from_array(a.w, "w"), numpy_helper.from_array(a.b, "b")]
    node = helper.make_node(op, ["x", *(c.name for c in constants)], ["y"], **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, layer.input)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "layer", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return bytes(model.SerializeToString())


def ort_call(layer: Layer, a: Arrays, threads: int) -> Call:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # threads that spin after their call would take the processor from whoever is measured next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(
        onnx_model(layer, a), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": a.x})[0]


def openvino_call(layer: Layer, a: Arrays, threads: int) -> Call:
    import openvino

    core = openvino.Core()
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(core.read_model(onnx_model(layer, a)), "CPU", config)
    request = compiled.create_infer_request()
    return lambda: request.infer({0: a.x}, share_inputs=True, share_outputs=True)[0]


def ncnn_call(layer: Layer, a: Arrays, threads: int) -> Call | None:
    """ncnn takes one sample; its 1-D and 2-D convolutions are described by hand in its own text format."""
    import ncnn

    if layer.op != "conv" or layer.input[0] != 1 or layer.rank > 2:
        return None
    g, k = layer.get("groups"), layer.weight[2:]
    if layer.rank == 1 and g > 1:
        return None
    d, s, p = (layer.get(n) for n in ("dilation", "stride", "padding"))
    kind = (
        "Convolution1D" if layer.rank == 1 else ("ConvolutionDepthWise" if g > 1 else "Convolution")
    )
    text = f"0={layer.weight[0]} 1={k[-1]} 2={d} 3={s} 4={p} 5=1 6={a.w.size}"
    if layer.rank == 2:
        text += f" 11={k[0]} 12={d} 13={s} 14={p}" + (f" 7={g}" if g > 1 else "")
    net = ncnn.Net()
    net.opt.num_threads = threads
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, name, False)
    with tempfile.TemporaryDirectory() as folder:
        param, model = Path(folder, "layer.param"), Path(folder, "layer.bin")
        param.write_text(f"7767517\n2 2\nInput in 0 1 in\n{kind} layer 1 1 in out {text}\n")
        model.write_bytes(
            bytes(4) + a.w.tobytes() + a.b.tobytes()
        )  # four zero bytes: float32 follows
        if net.load_param(str(param)) or net.load_model(str(model)):
            return None
    sample = ncnn.Mat(a.x[0])

    def call() -> Any:
        extractor = net.create_extractor()
        extractor.input("in", sample)
        return extractor.extract("out")[1]

    return call


PEERS: dict[str, Callable[[Layer, Arrays, int], Call | None]] = {
    "torch": partial(torch_call, channels_last=False),
    "torch_cl": partial(torch_call, channels_last=True),
    "ort": ort_call,
    "openvino": openvino_call,
    "ncnn": ncnn_call,
    "cconv": partial(cconv_call, prepack=False),
    "prepack": partial(cconv_call, prepack=True),
}
OURS = ("cconv", "prepack")


def calls(layer: Layer, a: Arrays, threads: int, wanted: list[str]) -> dict[str, Call]:
    """The calls of the peers that are installed and can run this layer."""
    result = {}
    for name in wanted:
        try:
            call = PEERS[name](layer, a, threads)
        except ImportError:
            continue
        if call is not None:
            result[name] = call
    return result
