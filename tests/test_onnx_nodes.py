"""The ONNX project's own node cases, their attributes translated to calls of cconv."""

import functools
import re
import warnings

import numpy as np
import pytest

import cconv

onnx = pytest.importorskip("onnx")

from onnx import numpy_helper  # noqa: E402
from onnx.backend.test.loader import load_model_tests  # noqa: E402

OPS = {
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "LpPool",
    "GlobalLpPool",
    "MaxUnpool",
    "Col2Im",
}
NAME = re.compile(
    r"test_(basic_conv|conv|convtranspose|maxpool|averagepool|global|lppool|maxunpool|col2im)"
)


@functools.cache
def cases():
    """(name, node, input arrays, expected arrays) of every case for one of OPS."""
    result = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of ONNX's own generators
        found = load_model_tests(kind="node")
    for case in found:
        if not NAME.match(case.name):
            continue
        model = case.model or onnx.load(f"{case.model_dir}/model.onnx")
        nodes = model.graph.node
        if len(nodes) != 1 or nodes[0].op_type not in OPS:
            continue
        result.append(pytest.param(case, nodes[0], id=case.name))
    return result


def data(case):
    """Inputs and outputs of the first data set, from memory or from the files."""
    if case.data_sets:
        return case.data_sets[0]
    sets = []
    for kind in ("input", "output"):
        arrays = []
        while True:
            try:
                with open(
                    f"{case.model_dir}/test_data_set_0/{kind}_{len(arrays)}.pb", "rb"
                ) as file:
                    tensor = onnx.TensorProto.FromString(file.read())
            except FileNotFoundError:
                break
            arrays.append(numpy_helper.to_array(tensor))
        sets.append(arrays)
    return sets


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def pair(pads, rank):
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


def auto_pad(a, space, kernel, stride, dilation):
    """ONNX's pads: given, or such that ceil(L / stride) outputs come out."""
    rank = len(space)
    mode = a.get("auto_pad", b"NOTSET").decode()
    if mode in ("NOTSET", "VALID"):
        return pair(a.get("pads", [0] * 2 * rank), rank)
    result = []
    for L, k, s, d in zip(space, kernel, stride, dilation, strict=True):
        total = max(0, (-(-L // s) - 1) * s + d * (k - 1) + 1 - L)
        small, large = total // 2, total - total // 2
        result.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return tuple(result)


def run(node, inputs):
    a, op, x = attributes(node), node.op_type, inputs[0]
    rank = x.ndim - 2
    one = [1] * rank
    stride, dilation = a.get("strides", one), a.get("dilations", one)

    def function(base):
        return getattr(cconv, f"{base}{rank}d")

    if op.startswith("Global"):
        if op == "GlobalLpPool":
            return [function("lp_pool")(x, a.get("p", 2), x.shape[2:])]
        return [function("adaptive_max_pool" if "Max" in op else "adaptive_avg_pool")(x, 1)]
    if op == "Conv":
        pads = auto_pad(a, x.shape[2:], inputs[1].shape[2:], stride, dilation)
        return [
            function("conv")(
                *inputs, stride=stride, padding=pads, dilation=dilation, groups=a.get("group", 1)
            )
        ]
    if op == "ConvTranspose":
        return [conv_transpose(function, a, inputs, stride, dilation, rank)]
    if op == "Col2Im":
        space, block = [int(v) for v in inputs[1]], [int(v) for v in inputs[2]]
        rank = len(space)
        one = [1] * rank
        pads = pair(a.get("pads", [0] * 2 * rank), rank)
        return [cconv.fold(x, space, block, a.get("dilations", one), pads, a.get("strides", one))]
    kernel = a["kernel_shape"]
    if op == "MaxUnpool":
        return [max_unpool(a, inputs, kernel, stride, rank)]
    pads = auto_pad(a, x.shape[2:], kernel, stride, dilation)
    ceil_mode = bool(a.get("ceil_mode", 0))
    if op == "LpPool":
        return [
            function("lp_pool")(
                x, a.get("p", 2), kernel, stride, ceil_mode, padding=pads, dilation=dilation
            )
        ]
    if op == "AveragePool":
        include = bool(a.get("count_include_pad", 0))
        return [
            function("avg_pool")(x, kernel, stride, pads, ceil_mode, include, dilation=dilation)
        ]
    values, indices = function("max_pool")(x, kernel, stride, pads, dilation, ceil_mode, True)
    # ONNX counts through the whole tensor, and with storage_order 1 down the columns
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * rank)
    if a.get("storage_order", 0):
        indices = indices % x.shape[-1] * x.shape[-2] + indices // x.shape[-1]
    return [values, indices + planes * np.prod(x.shape[2:])]


def conv_transpose(function, a, inputs, stride, dilation, rank):
    x, w = inputs[:2]
    extra = list(a.get("output_padding", [0] * rank))
    pads = [list(p) for p in pair(a.get("pads", [0] * 2 * rank), rank)]
    mode = a.get("auto_pad", b"NOTSET").decode()
    full = [
        (L - 1) * s + d * (k - 1) + e + 1
        for L, s, d, k, e in zip(x.shape[2:], stride, dilation, w.shape[2:], extra, strict=True)
    ]
    wanted = a.get("output_shape")
    if wanted is None and mode.startswith("SAME"):
        wanted = [L * s for L, s in zip(x.shape[2:], stride, strict=True)]
    if wanted is not None:
        for axis, (have, want) in enumerate(zip(full, wanted, strict=True)):
            total = have - want
            if total < 0:  # ONNX's output_shape may ask for more than the input reaches
                extra[axis] -= total
                total = 0
            small, large = total // 2, total - total // 2
            pads[axis] = [small, large] if mode == "SAME_UPPER" else [large, small]
    return function("conv_transpose")(
        x,
        w,
        *inputs[2:],
        stride=stride,
        padding=pads,
        output_padding=extra,
        groups=a.get("group", 1),
        dilation=dilation,
    )


def max_unpool(a, inputs, kernel, stride, rank):
    """ONNX's indices count within the default size, through the whole tensor."""
    x, indices = inputs[:2]
    pads = a.get("pads", [0] * 2 * rank)
    default = [
        (L - 1) * s - pads[i] - pads[i + rank] + k
        for i, (L, s, k) in enumerate(zip(x.shape[2:], stride, kernel, strict=True))
    ]
    size = [int(v) for v in inputs[2][2:]] if len(inputs) > 2 else default
    plane = int(np.prod(default))
    within = indices % plane
    if size != default:
        within = np.ravel_multi_index(np.unravel_index(within, default), size)
    return getattr(cconv, f"max_unpool{rank}d")(x, within, kernel, stride, pair(pads, rank), size)


@pytest.mark.parametrize(("case", "node"), cases())
def test_node(case, node):
    inputs, expected = data(case)
    results = run(node, [np.asarray(i) for i in inputs])
    for result, wanted in zip(results, expected, strict=False):
        assert result.dtype == wanted.dtype
        assert result.shape == wanted.shape
        np.testing.assert_allclose(result, wanted, rtol=case.rtol, atol=case.atol or 1e-7)


def test_all_were_found():
    assert len(cases()) >= 60
