"""The peers, each optional: a function from (layer, arrays, threads) to a call without arguments, or None."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .layers import Layer
from .timing import Call


class Arrays:
    """One layer's data, standard normal; weights scaled to keep the outputs' size."""

    def __init__(self, layer: Layer, dtype: str = "float32") -> None:
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal(layer.input, dtype=np.float32).astype(dtype, copy=False)
        self.w: Any = None
        self.b: Any = None
        if not layer.pools:
            w = rng.standard_normal(layer.weight, dtype=np.float32)
            self.w = (w / np.float32(np.sqrt(np.prod(layer.weight[1:])))).astype(dtype, copy=False)
            b = rng.standard_normal(layer.output()[1], dtype=np.float32)
            self.b = b.astype(dtype, copy=False)


def window(layer: Layer) -> tuple[Any, ...]:
    """A pool's arguments after its input, as torch and cconv both take them."""
    if layer.op.startswith("adaptive"):
        return (layer.weight,)
    k, s, p = layer.weight, layer.get("stride"), layer.get("padding")
    if layer.op == "lp_pool":
        return 2, k, s
    return (k, s, p, layer.get("dilation")) if "dilation" in layer.options else (k, s, p)


def places(layer: Layer) -> tuple[Any, ...]:
    """A convolution's arguments after its bias, in their order."""
    names = ("stride", "padding", "dilation", "groups")
    if layer.op == "conv_transpose":
        names = ("stride", "padding", "output_padding", "groups", "dilation")
    return tuple(layer.get(name) for name in names)


def cconv_call(
    layer: Layer, a: Arrays, threads: int, prepack: bool, algorithm: str = "auto"
) -> Call | None:
    import cconv

    cconv.set_num_threads(threads)
    function = getattr(cconv, f"{layer.op}{layer.rank}d")
    if layer.pools:
        given = window(layer)
        return None if prepack else lambda: function(a.x, *given)
    if prepack:
        transposed = layer.op == "conv_transpose"
        s, p, d, g = (layer.get(n) for n in ("stride", "padding", "dilation", "groups"))
        extra = layer.get("output_padding")
        run = cconv.prepack(
            a.w, a.b, s, p, d, g, transposed=transposed, output_padding=extra, algorithm=algorithm
        )
        return lambda: run(a.x)
    given = places(layer)
    if algorithm == "auto":
        return lambda: function(a.x, a.w, a.b, *given)
    return lambda: function(a.x, a.w, a.b, *given, algorithm=algorithm)


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
    if layer.pools:
        given = window(layer)
        return lambda: function(x, *given)
    w, b, given = tensor(a.w), tensor(a.b), places(layer)
    return lambda: function(x, w, b, *given)


def onnx_model(layer: Layer, a: Arrays) -> bytes | None:
    """The layer as an ONNX model with its weights inside; None if ONNX has none like it."""
    from onnx import helper, numpy_helper

    op = {
        "conv": "Conv",
        "conv_transpose": "ConvTranspose",
        "max_pool": "MaxPool",
        "avg_pool": "AveragePool",
        "lp_pool": "LpPool",
        "adaptive_max_pool": "GlobalMaxPool",
        "adaptive_avg_pool": "GlobalAveragePool",
    }[layer.op]
    constants = []
    attributes: dict[str, Any] = {}
    if layer.op.startswith("adaptive"):
        if set(layer.weight) != {1}:
            return None
    else:
        attributes["strides"] = layer.axes("stride")
        attributes["pads"] = layer.axes("padding") * 2
        attributes["dilations"] = layer.axes("dilation")
        attributes["kernel_shape"] = layer.kernel
        if op == "AveragePool":
            attributes["count_include_pad"] = 1
        if op == "LpPool":
            attributes["p"] = 2
    if not layer.pools:
        attributes["group"] = layer.get("groups")
        if op == "ConvTranspose":
            attributes["output_padding"] = layer.axes("output_padding")
        constants = [numpy_helper.from_array(a.w, "w"), numpy_helper.from_array(a.b, "b")]
    node = helper.make_node(op, ["x", *(c.name for c in constants)], ["y"], **attributes)
    real = helper.np_dtype_to_tensor_dtype(a.x.dtype)
    x = helper.make_tensor_value_info("x", real, layer.input)
    y = helper.make_tensor_value_info("y", real, None)
    graph = helper.make_graph([node], "layer", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return bytes(model.SerializeToString())


def ort_call(layer: Layer, a: Arrays, threads: int) -> Call | None:
    import onnxruntime as ort

    model = onnx_model(layer, a)
    if model is None:
        return None
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # pybind11's, of a base that is not public
        if "NotImplemented" in type(error).__name__ or "NOT_IMPLEMENTED" in str(error):
            return None
        raise
    return lambda: session.run(None, {"x": a.x})[0]


def openvino_call(layer: Layer, a: Arrays, threads: int) -> Call | None:
    import openvino

    model = onnx_model(layer, a)
    if model is None:
        return None
    core = openvino.Core()
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(core.read_model(model), "CPU", config)
    request = compiled.create_infer_request()
    return lambda: request.infer({0: a.x}, share_inputs=True, share_outputs=True)[0]


def ncnn_call(layer: Layer, a: Arrays, threads: int) -> Call | None:
    """ncnn takes one sample; its 1-D and 2-D convolutions are described by hand in its own text format."""
    import ncnn

    if layer.op != "conv" or layer.input[0] != 1 or layer.rank > 2 or a.x.dtype != np.float32:
        return None
    g, k = layer.get("groups"), layer.weight[2:]
    if layer.rank == 1 and g > 1:
        return None
    d, s, p = (layer.axes(n) for n in ("dilation", "stride", "padding"))
    kind = (
        "Convolution1D" if layer.rank == 1 else ("ConvolutionDepthWise" if g > 1 else "Convolution")
    )
    text = f"0={layer.weight[0]} 1={k[-1]} 2={d[-1]} 3={s[-1]} 4={p[-1]} 5=1 6={a.w.size}"
    if layer.rank == 2:
        text += f" 11={k[0]} 12={d[0]} 13={s[0]} 14={p[0]}" + (f" 7={g}" if g > 1 else "")
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
