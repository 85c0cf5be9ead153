"""The ONNX project's own cases for convolutions and pools, by the reference evaluator with cconv's operators."""

import functools
import subprocess
import sys
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import numpy_helper  # noqa: E402
from onnx.backend.test.loader import load_model_tests  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from cconv.interop.onnx import new_ops  # noqa: E402

OPS = {op.__name__ for op in new_ops}
KINDS = {
    "node": 90,
    "pytorch-converted": 40,
    "pytorch-operator": 3,
}  # and how many there are at least


@functools.cache
def cases(kind):
    """Every case whose model has one of the operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of ONNX's own generators
        found = load_model_tests(kind=kind)
    result = []
    for case in found:
        model = case.model or onnx.load(f"{case.model_dir}/model.onnx")
        if OPS & {node.op_type for node in model.graph.node}:
            result.append(pytest.param(case, model, id=case.name))
    return result


def data(case):
    """Inputs and outputs of every data set, from memory or from the files."""
    if case.data_sets:
        yield from case.data_sets
        return
    number = 0
    while True:
        sets = []
        for kind in ("input", "output"):
            arrays = []
            while True:
                path = f"{case.model_dir}/test_data_set_{number}/{kind}_{len(arrays)}.pb"
                try:
                    with open(path, "rb") as file:
                        tensor = onnx.TensorProto.FromString(file.read())
                except FileNotFoundError:
                    break
                arrays.append(numpy_helper.to_array(tensor))
            sets.append(arrays)
        if not sets[1]:
            return
        yield sets
        number += 1


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_cases(kind):
    assert len(cases(kind)) >= KINDS[kind]


@pytest.mark.parametrize(("case", "model"), [case for kind in KINDS for case in cases(kind)])
def test_case(case, model):
    evaluator = ReferenceEvaluator(model, new_ops=new_ops)
    count = 0
    for inputs, expected in data(case):
        count += 1
        results = evaluator.run(None, dict(zip(evaluator.input_names, inputs, strict=False)))
        for result, wanted in zip(results, expected, strict=True):
            assert result.dtype == wanted.dtype and result.shape == wanted.shape
            np.testing.assert_allclose(result, wanted, rtol=case.rtol, atol=case.atol)
    assert count


def test_every_operator_has_a_case():
    seen = {
        node.op_type for kind in KINDS for case in cases(kind) for node in case.values[1].graph.node
    }
    assert OPS - seen == {"GlobalLpPool"}


def test_global_lp_pool():
    node = onnx.helper.make_node("GlobalLpPool", ["x"], ["y"], p=3)
    kind = onnx.TensorProto.FLOAT
    x = onnx.helper.make_tensor_value_info("x", kind, [2, 3, 4, 5])
    y = onnx.helper.make_tensor_value_info("y", kind, [2, 3, 1, 1])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]))
    value = np.random.default_rng(0).standard_normal((2, 3, 4, 5), dtype=np.float32)
    (result,) = ReferenceEvaluator(model, new_ops=new_ops).run(None, {"x": value})
    expected = (abs(value.astype(float)) ** 3).sum((2, 3), keepdims=True) ** (1 / 3)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def network(count=6, channels=32):
    """Mainly convolutions: some layers of 3 x 3 with biases and ReLU, then pools."""
    helper, rng = onnx.helper, np.random.default_rng(0)
    nodes, weights, at, c = [], [], "x", 3
    for i in range(count):
        w = rng.standard_normal((channels, c, 3, 3), dtype=np.float32) / 10
        weights += [numpy_helper.from_array(w, f"w{i}")]
        weights += [numpy_helper.from_array(np.zeros(channels, np.float32), f"b{i}")]
        nodes.append(helper.make_node("Conv", [at, f"w{i}", f"b{i}"], [f"c{i}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        at, c = f"r{i}", channels
    nodes.append(helper.make_node("MaxPool", [at], ["p"], kernel_shape=[2, 2], strides=[2, 2]))
    nodes.append(helper.make_node("GlobalAveragePool", ["p"], ["y"]))
    kind = onnx.TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", kind, [1, 3, 64, 64])
    y = helper.make_tensor_value_info("y", kind, [1, channels, 1, 1])
    return helper.make_model(helper.make_graph(nodes, "network", [x], [y], weights))


def test_twenty_times_as_fast_as_the_stock_evaluator():
    import time

    model = network()
    x = np.random.default_rng(1).standard_normal((1, 3, 64, 64), dtype=np.float32)
    results, times = [], []
    for ops in (None, new_ops):
        evaluator = ReferenceEvaluator(model, new_ops=ops)
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            (y,) = evaluator.run(None, {"x": x})
            best = min(best, time.perf_counter() - start)
        results.append(y)
        times.append(best)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-5)
    assert times[0] / times[1] >= 20, times


def test_output_shape_beyond_the_input():
    """An output_shape larger than the transposed input reaches: the bias behind it, as ONNX Runtime has it."""
    ort = pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((2, 3, 3, 3), dtype=np.float32), np.array([1, 2, 3], np.float32)
    for wanted, auto_pad in (([10, 8], "NOTSET"), ([9, 7], "SAME_UPPER"), ([9, 7], "SAME_LOWER")):
        node = helper.make_node(
            "ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 2], output_shape=wanted, auto_pad=auto_pad
        )  # fmt: skip
        x = helper.make_tensor_value_info("x", kind, [1, 2, 4, 3])
        y = helper.make_tensor_value_info("y", kind, [1, 3, *wanted])
        arrays = [numpy_helper.from_array(a, n) for a, n in ((w, "w"), (b, "b"))]
        model = helper.make_model(
            helper.make_graph([node], "g", [x], [y], arrays), opset_imports=[helper.make_opsetid("", 11)], ir_version=8
        )  # fmt: skip
        value = rng.standard_normal((1, 2, 4, 3), dtype=np.float32)
        session = ort.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        (expected,) = session.run(None, {"x": value})
        (result,) = ReferenceEvaluator(model, new_ops=new_ops).run(None, {"x": value})
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_missing_package_is_named():
    program = "import sys; sys.modules['onnx.reference.op_run'] = None\nimport cconv.interop.onnx"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install cconv[onnx]" in done.stderr
