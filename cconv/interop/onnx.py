"""
cconv's kernels behind ONNX operators: ``pip install cconv[onnx]``.

``load`` makes of a model a network that runs by itself: folded, fused, its weights packed; it can be saved for
`cconv.load_network`, which needs NumPy alone.

``new_ops`` is for ``onnx.reference.ReferenceEvaluator(model, new_ops=new_ops)``: the evaluator then runs convolutions
and pools of any opset on cconv, with the weights of initializers packed once, and everything else as before.

>>> import numpy as np
>>> from onnx import TensorProto, helper
>>> from onnx.reference import ReferenceEvaluator
>>> from cconv.interop.onnx import new_ops
>>> node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
>>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])
>>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 2])
>>> model = helper.make_model(helper.make_graph([node], "pool", [x], [y]))
>>> image = np.array([[[[7, 3, 5, 2], [8, 7, 1, 6], [4, 9, 3, 9], [0, 8, 4, 5]]]], np.float32)
>>> ReferenceEvaluator(model, new_ops=new_ops).run(None, {"x": image})[0]
array([[[[8., 6.],
         [9., 9.]]]], dtype=float32)
"""

from __future__ import annotations

try:
    from ._onnx_models import load
    from ._onnx_operators import new_ops
except ImportError as error:
    raise ImportError(
        f"cconv.interop.onnx needs the onnx package ({error}): pip install cconv[onnx]", name="onnx"
    ) from error

__all__ = ["load", "new_ops"]
