"""Pretrained models from PyPI wheels: each convolution and pool, fed with ONNX Runtime's own intermediate inputs, gives
ONNX Runtime's outputs, and so do the whole models, run by the reference evaluator with cconv's operators."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from cconv.interop.onnx import new_ops  # noqa: E402

OPS = {
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "LpPool",
}


def run(node, inputs):
    """One node by its operator."""
    operator = next(op for op in new_ops if op.__name__ == node.op_type)
    settings = {"log": lambda *_: None, "opsets": {"": 13}, "verbose": 0, "new_ops": None}
    return operator(node, settings).run(*inputs)


def whole(graph_model, feeds, tolerance):
    """The model's own results, by the reference evaluator and by ONNX Runtime."""
    session = ort.InferenceSession(
        graph_model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = session.run(None, feeds)
    results = ReferenceEvaluator(graph_model, new_ops=new_ops).run(None, feeds)
    for result, wanted in zip(results, expected, strict=True):
        assert result.shape == wanted.shape
        assert abs(result - wanted).max() <= tolerance * (abs(wanted).max() + 1e-6)
    return results[0], expected[0]


def model(package, pattern):
    """A model file inside an installed package; the package is found, not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    found = sorted(Path(spec.origin).parent.rglob(pattern))
    assert found, f"{package} has no {pattern}"
    return onnx.load(str(found[0]))


def check(graph_model, feeds, least):
    """Every node of OPS: its inputs and output as the session had them, its output as cconv computes it."""
    graph = graph_model.graph
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    nodes = [node for node in graph.node if node.op_type in OPS]
    assert len(nodes) >= least
    inner = (
        {name for node in nodes for name in (*node.input, node.output[0])} - set(constants) - {""}
    )
    known = {o.name for o in graph.output} | {i.name for i in graph.input}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(inner - known))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(
        graph_model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [o.name for o in session.get_outputs()]
    values = {**constants, **feeds, **dict(zip(names, session.run(None, feeds), strict=True))}
    for node in nodes:
        inputs = [values[name] for name in node.input if name]
        (result, *_), expected = run(node, inputs), values[node.output[0]]
        assert result.shape == expected.shape and result.dtype == expected.dtype, node.name
        scale = abs(expected).max() + 1e-6
        assert abs(result - expected).max() <= 2e-5 * scale, (
            node.name,
            abs(result - expected).max() / scale,
        )


def photograph(height, width):
    """matplotlib's picture, as the text models take theirs: (1, 3, H, W) from -1 to 1."""
    cbook = pytest.importorskip("matplotlib.cbook")
    image = pytest.importorskip("PIL.Image")
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        picture = image.open(file).convert("RGB").resize((width, height))
    return (np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1).astype(np.float32)


@pytest.mark.parametrize(
    ("pattern", "size"),
    (("*det*.onnx", (256, 224)), ("*cls*.onnx", (48, 192)), ("*rec*.onnx", (48, 320))),
)
def test_rapidocr(pattern, size):
    graph = model("rapidocr_onnxruntime", pattern)
    feeds = {graph.graph.input[0].name: photograph(*size)}
    result, expected = whole(graph, feeds, 1e-3)
    if "det" in pattern:  # a map of where text is
        assert np.mean((result > 0.3) == (expected > 0.3)) > 0.9999
    else:
        assert np.array_equal(result.argmax(-1), expected.argmax(-1))
    check(graph, feeds, 20)


def test_silero_vad():
    """The export without If nodes, whose branches would hide the layers."""
    graph = model("silero_vad", "*openvino_16k.onnx")
    t = np.arange(576) / 16000
    sound = (np.sin(2 * np.pi * 220 * t) * np.hanning(576)).astype(np.float32)
    feeds = {"input": sound[None], "state": np.zeros((2, 1, 128), np.float32)}
    whole(graph, feeds, 1e-3)
    check(graph, feeds, 6)
