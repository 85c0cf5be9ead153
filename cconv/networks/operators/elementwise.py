"""Operators of one element at a time, in place where that is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Node
from . import special
from .registry import Run, Setting, Unsupported, operator, simple

MICROSOFT = "com.microsoft"


def unary(name: str, function: Any) -> None:
    def run(x: Array, out: Array | None = None) -> Array:
        result: Array = function(x, out=out)
        return result

    simple(name, run, "inplace")


for _name, _function in {
    "Abs": np.abs, "Neg": np.negative, "Exp": np.exp, "Log": np.log, "Sqrt": np.sqrt, "Sign": np.sign, "Sin": np.sin,
    "Cos": np.cos, "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan, "Sinh": np.sinh,
    "Cosh": np.cosh, "Asinh": np.arcsinh, "Acosh": np.arccosh, "Atanh": np.arctanh, "Round": np.rint,
    "Erf": special.erf, "Sigmoid": special.sigmoid, "Floor": np.floor, "Ceil": np.ceil,
}.items():  # fmt: skip
    unary(_name, _function)

simple("Not", np.logical_not)
simple("IsNaN", np.isnan)
simple("BitwiseNot", np.invert)
simple("Identity", lambda x: x, "view")


@operator("Reciprocal", memory="inplace")
def reciprocal(_node: Node, _setting: Setting) -> Run:
    return lambda x, out=None: np.divide(x.dtype.type(1), x, out=out)


@operator("IsInf")
def is_inf(node: Node, _setting: Setting) -> Run:
    up, down = bool(node.get("detect_positive", 1)), bool(node.get("detect_negative", 1))
    return lambda x: (np.isposinf(x) & up) | (np.isneginf(x) & down)


# ---------------------------------------------------------------- two inputs


def binary(name: str, function: Any) -> None:
    def run(a: Array, b: Array, out: Array | None = None) -> Array:
        result: Array = function(a, b, out=out)
        return result

    simple(name, run, "inplace")


for _name, _function in {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "PRelu": special.prelu,
}.items():
    binary(_name, _function)
for _name, _function in {
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor, "Equal": np.equal, "Less": np.less,
    "Greater": np.greater, "LessOrEqual": np.less_equal, "GreaterOrEqual": np.greater_equal,
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}.items():  # fmt: skip
    simple(_name, _function)


@operator("Div", memory="inplace")
def divide(_node: Node, _setting: Setting) -> Run:
    def run(a: Array, b: Array, out: Array | None = None) -> Array:
        if a.dtype.kind not in "iu":
            result: Array = np.divide(a, b, out=out)
            return result
        # integers are cut towards zero
        quotient: Array = np.floor_divide(a, b)
        if a.dtype.kind == "i":
            quotient += ((a % b != 0) & ((a < 0) != (b < 0))).astype(a.dtype)
        return quotient

    return run


@operator("Mod")
def modulo(node: Node, _setting: Setting) -> Run:
    return np.fmod if node.get("fmod", 0) else np.mod


@operator("Pow")
def power(_node: Node, setting: Setting) -> Run:
    exponent = setting.constant(_node, 1)
    if exponent is not None and exponent.size == 1 and float(exponent.reshape(())[()]) == 2.0:
        return lambda x, _exponent: np.multiply(x, x)

    def run(x: Array, y: Array) -> Array:
        result: Array = np.power(x, y).astype(x.dtype, copy=False)
        return result

    return run


@operator("BitShift")
def shift(node: Node, _setting: Setting) -> Run:
    return np.left_shift if node.get("direction") == "LEFT" else np.right_shift


def many(name: str, function: Any, mean: bool = False) -> None:
    """Any number of inputs."""

    def run(*arrays: Array) -> Array:
        result = arrays[0].copy() if len(arrays) == 1 else function(arrays[0], arrays[1])
        for other in arrays[2:]:
            result = function(result, other)
        if mean:
            result = result / result.dtype.type(len(arrays))
        return np.asarray(result)

    simple(name, run)


many("Max", np.maximum)
many("Min", np.minimum)
many("Sum", np.add)
many("Mean", np.add, mean=True)
simple("Where", np.where)


# ---------------------------------------------------------------- activations


def activation_of(node: Node) -> tuple[Any, ...]:
    """An activation's name and numbers, as `special.activate` takes them; Unsupported where it is none."""
    op, get = node.op, node.get
    if op in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Mish", "Softsign"):
        return ({"HardSwish": "hard_swish"}.get(op, op.lower()),)
    if op == "LeakyRelu":
        return ("leaky_relu", float(get("alpha", 0.01)))
    if op == "Elu":
        return ("elu", float(get("alpha", 1.0)))
    if op == "Celu":
        return ("celu", float(get("alpha", 1.0)))
    if op == "Selu":
        return (
            "selu",
            float(get("alpha", 1.67326319217681884765625)),
            float(get("gamma", 1.05070102214813232421875)),
        )
    if op == "HardSigmoid":
        return ("hard_sigmoid", float(get("alpha", 0.2)), float(get("beta", 0.5)))
    if op == "ThresholdedRelu":
        return ("thresholded_relu", float(get("alpha", 1.0)))
    if op == "Softplus":
        return ("softplus",)
    if op in ("Swish", "QuickGelu"):
        return ("silu", float(get("alpha", 1.0 if op == "Swish" else 1.702)))
    if op == "Gelu":
        return ("gelu_tanh",) if get("approximate", "none") == "tanh" else ("gelu",)
    raise Unsupported


@operator(
    "Relu", "Tanh", "LeakyRelu", "Elu", "Celu", "Selu", "HardSigmoid", "HardSwish", "Mish", "Softsign",
    "ThresholdedRelu", "Softplus", "Swish", "Gelu", memory="inplace",
)  # fmt: skip
@operator("Gelu", "QuickGelu", memory="inplace", domain=MICROSOFT)
def activation(node: Node, _setting: Setting) -> Run:
    given = activation_of(node)

    def run(x: Array, out: Array | None = None) -> Array:
        return special.activate(x, given, out)

    return run


@operator("Activation", memory="inplace", domain="cconv")
def fused_activation(node: Node, _setting: Setting) -> Run:
    """What several nodes said together."""
    given = tuple(node.attributes["activation"])
    if given[0] not in special.ACTIVATIONS:
        raise Unsupported

    def run(x: Array, out: Array | None = None) -> Array:
        return special.activate(x, given, out)

    return run


@operator("Clip", memory="inplace")
def clip(node: Node, _setting: Setting) -> Run:
    least, most = node.get("min"), node.get("max")

    def run(x: Array, low: Any = None, high: Any = None, out: Array | None = None) -> Array:
        kind = x.dtype.type
        low = kind(least) if low is None and least is not None else low
        high = kind(most) if high is None and most is not None else high
        result = x
        if low is not None:
            result = np.maximum(result, low.astype(x.dtype).reshape(()), out=out)
        if high is not None:
            into = out if out is not None or result is x else result
            result = np.minimum(result, high.astype(x.dtype).reshape(()), out=into)
        return result.copy() if result is x and out is None else result

    return run


@operator("Shrink")
def shrink(node: Node, _setting: Setting) -> Run:
    bias, limit = node.get("bias", 0.0), node.get("lambd", 0.5)

    def run(x: Array) -> Array:
        result: Array = np.where(x < -limit, x + bias, np.where(x > limit, x - bias, 0)).astype(
            x.dtype
        )
        return result

    return run


# ---------------------------------------------------------------- dtypes

# ONNX's numbers of element types
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
}  # fmt: skip


def converted(x: Array, dtype: Any) -> Array:
    """A float that no integer can hold is what the processor makes of it; NumPy would warn."""
    if x.dtype == dtype:
        return x
    result: Array = x.astype(dtype)
    return result


@operator("Cast", memory="view")
def cast(node: Node, _setting: Setting) -> Run:
    name = DTYPES.get(node.get("to"))
    if name is None:
        raise Unsupported
    dtype = np.dtype(name)
    return lambda x: converted(x, dtype)


@operator("CastLike", memory="view")
def cast_like(_node: Node, _setting: Setting) -> Run:
    return lambda x, like: converted(x, like.dtype)
