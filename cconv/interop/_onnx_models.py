"""ONNX models as networks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, helper, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..networks.fuse import fused
from ..networks.graph import Array, Graph, NetworkError, Node, Value, sorted_nodes
from ..networks.network import Network
from ..networks.simplify import simplified
from ._onnx_operators import new_ops


def load(model: str | os.PathLike[str] | bytes | onnx.ModelProto) -> Network:
    """
    Make a network of an ONNX model.

    Batch normalisation and constant factors are folded into weights, activations and residual additions fused behind
    convolutions, weights packed at the first call. Operators that cconv does not know are run by the onnx package.

    Parameters
    ----------
    model : str, path-like, bytes or onnx.ModelProto
        A file, its contents, or the model itself. It is not changed.

    Returns
    -------
    cconv.networks.Network
        Called with arrays, in the order of the model's inputs or by name.

    Raises
    ------
    NetworkError
        A ValueError, which names the node where there is one: the model is damaged or cannot be run.
    TypeError
        If `model` is something else.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import TensorProto, helper
    >>> from cconv.interop import onnx
    >>> node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    >>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])
    >>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 2])
    >>> network = onnx.load(helper.make_model(helper.make_graph([node], "pool", [x], [y])))
    >>> network(np.array([[[[7, 3, 5, 2], [8, 7, 1, 6], [4, 9, 3, 9], [0, 8, 4, 5]]]], np.float32))
    array([[[[8., 6.],
             [9., 9.]]]], dtype=float32)
    """
    proto = as_model(model)
    opsets = {entry.domain or "": entry.version for entry in proto.opset_import}
    try:
        if proto.functions:
            proto = inliner.inline_local_functions(proto)
        graph = graph_of(proto.graph, opsets)
        graph.nodes = sorted_nodes(graph)
    except NetworkError:
        raise
    except Exception as error:
        raise NetworkError(f"the model cannot be read: {first_line(error)}") from None
    fallback = Evaluators(opsets, proto.ir_version)
    return Network(fused(simplified(graph, fallback)), fallback)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def as_model(model: Any) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    if not isinstance(model, str | os.PathLike | bytes):
        raise TypeError(
            f"load: model must be a path, bytes or an onnx.ModelProto, got {type(model).__name__}"
        )
    try:
        proto = (
            onnx.load_from_string(model)
            if isinstance(model, bytes)
            else onnx.load(os.fspath(model))
        )
    except OSError:
        raise
    except Exception as error:
        raise NetworkError(f"this is no ONNX model: {first_line(error)}") from None
    if not proto.graph.node and not proto.graph.output:
        raise NetworkError("this is no ONNX model: it has no graph")
    return proto


def value_of(info: onnx.ValueInfoProto) -> Value:
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type"):
        return Value(info.name)
    dtype = (
        np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
        if tensor.elem_type
        else None
    )
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or None
            for d in tensor.shape.dim
        )
    return Value(info.name, dtype, shape)


def graph_of(proto: onnx.GraphProto, opsets: dict[str, int]) -> Graph:
    constants = {t.name: numpy_helper.to_array(t) for t in proto.initializer}
    for sparse in proto.sparse_initializer:
        constants[sparse.values.name] = dense(sparse)
    # a constant may be listed as an input as well, as its default
    inputs = [value_of(info) for info in proto.input if info.name not in constants]
    outputs = [value_of(info) for info in proto.output]
    nodes = [node_of(node, opsets) for node in proto.node]
    return Graph(inputs=inputs, outputs=outputs, nodes=nodes, constants=constants, name=proto.name)


def dense(sparse: onnx.SparseTensorProto) -> Array:
    values, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    result = np.zeros(tuple(sparse.dims), values.dtype)
    if places.ndim == 2:
        result[tuple(places.T)] = values
    else:
        result.reshape(-1)[places] = values
    return result


def node_of(proto: onnx.NodeProto, opsets: dict[str, int]) -> Node:
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    return Node(
        op=proto.op_type,
        inputs=list(proto.input),
        outputs=list(proto.output),
        attributes={a.name: attribute_of(a, opsets) for a in proto.attribute},
        name=proto.name,
        domain=domain,
        opset=opsets.get(domain, 1),
    )


def attribute_of(a: onnx.AttributeProto, opsets: dict[str, int]) -> Any:
    if a.type == AttributeProto.GRAPH:
        return graph_of(a.g, opsets)
    if a.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(a.t)
    if a.type == AttributeProto.SPARSE_TENSOR:
        return dense(a.sparse_tensor)
    value = helper.get_attribute_value(a)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if a.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return list(value)
    if a.type == AttributeProto.STRINGS:
        return [v.decode(errors="replace") for v in value]
    return value


class Evaluators:
    """Runs single nodes by the onnx package's own evaluator."""

    def __init__(self, opsets: dict[str, int], ir_version: int):
        self.imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        self.ir_version = ir_version

    def __call__(self, node: Node) -> Callable[..., Any]:
        names = [*filter(None, node.inputs), *(n for n in node.reads() if n not in node.inputs)]
        infos = [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names)]
        outs = [onnx.ValueInfoProto(name=name) for name in node.outputs if name]
        try:
            graph = helper.make_graph([proto_of(node)], node.op, infos, outs)
            model = helper.make_model(graph, opset_imports=self.imports, ir_version=self.ir_version)
            evaluator = ReferenceEvaluator(model, new_ops=new_ops)
        except Exception as error:
            raise NetworkError(f"{node.label}: {first_line(error)}") from None
        all_names = [*node.inputs, *(n for n in node.reads() if n not in node.inputs)]

        def run(*values: Any) -> Any:
            feeds = {name: v for name, v in zip(all_names, values, strict=True) if name}
            results = dict(zip((o.name for o in outs), evaluator.run(None, feeds), strict=True))
            found = tuple(results.get(name) for name in node.outputs)
            return found[0] if len(found) == 1 else found

        return run


def proto_of(node: Node) -> onnx.NodeProto:
    attributes = {k: proto_attribute(v) for k, v in node.attributes.items()}
    return helper.make_node(
        node.op,
        node.inputs,
        node.outputs,
        node.name or None,
        domain=node.domain or None,
        **attributes,
    )


def proto_attribute(value: Any) -> Any:
    if isinstance(value, Graph):
        constants = [numpy_helper.from_array(a, name) for name, a in value.constants.items()]
        infos = [
            [onnx.ValueInfoProto(name=v.name) for v in values]
            for values in (value.inputs, value.outputs)
        ]
        return helper.make_graph(
            [proto_of(n) for n in value.nodes], value.name or "body", *infos, constants
        )
    return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
