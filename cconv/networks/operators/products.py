"""Matrix products, which NumPy's BLAS computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Node
from .registry import Run, Setting, operator, simple

simple("MatMul", lambda a, b: np.asarray(np.matmul(a, b)))


@operator("Gemm")
def gemm(node: Node, _setting: Setting) -> Run:
    """alpha * A' B' + beta * C, A' and B' transposed or not"""
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    left, right = bool(node.get("transA", 0)), bool(node.get("transB", 0))

    def run(a: Array, b: Array, c: Array | None = None) -> Array:
        result: Array = np.matmul(a.T if left else a, b.T if right else b)
        if alpha != 1:
            result *= result.dtype.type(alpha)
        if c is not None and beta:
            result += c if beta == 1 else c * c.dtype.type(beta)
        return result

    return run


@operator("Einsum")
def einsum(node: Node, _setting: Setting) -> Run:
    equation = node.get("equation")
    return lambda *arrays: np.asarray(np.einsum(equation, *arrays, optimize=len(arrays) > 2))


def less_zero(a: Array, zero: Array | None, rows: bool) -> Array:
    """float64, which holds every sum of products of bytes exactly; a zero point a row of A, a column of B."""
    wide = a.astype(np.float64)
    if zero is not None:
        wide -= (
            zero.astype(np.float64)[..., None] if rows and zero.ndim else zero.astype(np.float64)
        )
    return wide


@operator("MatMulInteger")
def matmul_integer(_node: Node, _setting: Setting) -> Run:
    def run(a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None) -> Array:
        product: Any = np.matmul(less_zero(a, a_zero, True), less_zero(b, b_zero, False))
        return np.asarray(product).astype(np.int64).astype(np.int32)

    return run
