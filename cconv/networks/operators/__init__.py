"""ONNX's operators on NumPy arrays; convolutions and pools are cconv's."""

from . import (
    control,
    convolutions,
    deformable,
    elementwise,
    pools,
    products,
    quantized,
    recurrent,
    reductions,
    resize,
    shapes,
)
from .registry import OPERATORS, Setting, Unsupported

__all__ = [
    "OPERATORS",
    "Setting",
    "Unsupported",
    "control",
    "convolutions",
    "deformable",
    "elementwise",
    "pools",
    "products",
    "quantized",
    "recurrent",
    "reductions",
    "resize",
    "shapes",
]
