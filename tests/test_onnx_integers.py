"""ConvInteger and QLinearConv by cconv, equal to ONNX Runtime to the last step."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402
from onnx.helper import np_dtype_to_tensor_dtype  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from cconv.interop.onnx import new_ops  # noqa: E402


def both(op, arrays, result, **attributes):
    """ONNX Runtime's result and cconv's, of a node whose inputs but the first are constants."""
    names = [f"a{i}" for i in range(len(arrays))]
    node = helper.make_node(op, names, ["y"], **attributes)
    x = helper.make_tensor_value_info(
        "a0", np_dtype_to_tensor_dtype(arrays[0].dtype), arrays[0].shape
    )
    y = helper.make_tensor_value_info("y", np_dtype_to_tensor_dtype(np.dtype(result)), None)
    constants = [
        numpy_helper.from_array(np.asarray(a), n) for a, n in zip(arrays, names, strict=True)
    ]
    graph = helper.make_graph([node], "g", [x], [y], constants[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    feed = {"a0": arrays[0]}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0], ReferenceEvaluator(model, new_ops=new_ops).run(None, feed)[0]


def drawn(rng, dtype, shape):
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


CASES = [
    # input, weights, pads, strides, dilations, group
    ((1, 5, 9, 11), (7, 5, 3, 3), [1, 1, 1, 1], [1, 1], [1, 1], 1),
    ((2, 8, 12, 7), (8, 1, 3, 3), [1, 0, 2, 1], [2, 1], [1, 1], 8),
    ((2, 12, 10, 10), (6, 6, 1, 1), [0, 0, 0, 0], [1, 1], [1, 1], 2),
    ((1, 3, 40), (4, 3, 5), [2, 2], [2], [2], 1),
    ((1, 3, 5, 6, 7), (4, 3, 2, 3, 3), [0, 1, 1, 1, 0, 1], [1, 1, 1], [1, 1, 1], 1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("x_dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("w_dtype", [np.uint8, np.int8])
def test_conv_integer(case, x_dtype, w_dtype):
    shape, weight, pads, strides, dilations, group = case
    rng = np.random.default_rng(0)
    x, w = drawn(rng, x_dtype, shape), drawn(rng, w_dtype, weight)
    limits = np.iinfo(w_dtype)
    for x_zero, w_zero in ((0, 0), (7, 0), (100, limits.max), (0, limits.min), (3, 5)):
        arrays = [x, w, x_dtype(x_zero), w_dtype(w_zero)]
        # the definition; ONNX Runtime refuses signed inputs
        wide = [a.astype(np.int64) for a in (x, w)]
        moved = [wide[0] - x_zero, wide[1] - w_zero]
        from cconv.networks.operators import convolutions, integers
        from cconv.networks.operators.attributes import Attributes

        attributes = {"pads": pads, "strides": strides, "dilations": dilations, "group": group}
        expected = convolutions.convolve(moved[0], moved[1], None, Attributes(**attributes))
        if x_dtype is np.uint8:
            theirs, ours = both("ConvInteger", arrays, np.int32, **attributes)
            np.testing.assert_array_equal(theirs, expected)
        else:
            given = integers.Quantized(*arrays[:1], arrays[2], arrays[1], arrays[3])
            ours = integers.integer_sums("test", given, None, Attributes(**attributes))
        assert ours.dtype == np.int32
        np.testing.assert_array_equal(ours, expected)


def test_zero_points_of_channels():
    rng = np.random.default_rng(1)
    x, w = drawn(rng, np.uint8, (1, 4, 6, 6)), drawn(rng, np.uint8, (3, 4, 3, 3))
    zeros = np.array([0, 128, 255], np.uint8)
    node = helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], pads=[1] * 4)
    given = {"x": x, "w": w, "xz": np.uint8(9), "wz": zeros}
    ours = ReferenceEvaluator(node, new_ops=new_ops).run(None, given)[0]
    moved = w.astype(np.int64) - zeros.reshape(3, 1, 1, 1)
    padded = np.pad(x.astype(np.int64) - 9, ((0, 0), (0, 0), (1, 1), (1, 1)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    np.testing.assert_array_equal(ours, np.einsum("ncijab,ocab->noij", views, moved))


@pytest.mark.parametrize("case", CASES[:4], ids=str)
@pytest.mark.parametrize(
    ("x_dtype", "w_dtype"), [(np.uint8, np.int8), (np.int8, np.int8), (np.uint8, np.uint8)]
)
def test_qlinear_conv(case, x_dtype, w_dtype):
    shape, weight, pads, strides, dilations, group = case
    rng = np.random.default_rng(2)
    x, w = drawn(rng, x_dtype, shape), drawn(rng, w_dtype, weight)
    bias = rng.integers(-5000, 5000, weight[0]).astype(np.int32)
    for scales, y_scale, x_zero, w_zero, y_zero in (
        (np.float32(0.02), 0.7, 0, 0, 0),
        (rng.uniform(0.001, 0.1, weight[0]).astype(np.float32), 0.3, 11, 0, 5),
        (
            np.float32(0.5),
            1.0,
            120,
            0 if w_dtype is np.int8 else 128,
            127,
        ),  # products of quarters: ties
        (np.float32(1e-5), 0.9, 3, 0, 100),
    ):
        w_zeros = np.full(np.shape(scales), w_zero, w_dtype)
        arrays = [
            x, np.float32(0.5), x_dtype(x_zero), w, scales, w_zeros, np.float32(y_scale), x_dtype(y_zero), bias,
        ]  # fmt: skip
        theirs, ours = both(
            "QLinearConv",
            arrays,
            x_dtype,
            pads=pads,
            strides=strides,
            dilations=dilations,
            group=group,
        )
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
        theirs, ours = both(
            "QLinearConv",
            arrays[:-1],
            x_dtype,
            pads=pads,
            strides=strides,
            dilations=dilations,
            group=group,
        )
        np.testing.assert_array_equal(ours, theirs)
