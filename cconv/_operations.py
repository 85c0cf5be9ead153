"""The public operations: what their parameters are called and of which kind they are, and what resolves a call.

A call finds its runner by a key made of the arrays' shapes and dtypes and of the parameters (`_run.entry`), or has it
resolved: checked, planned, remembered. How each kind of parameter enters the key stands beside `Kind`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from . import _convolutions, _gradients, _moves, _pools
from ._run.entry import Operation

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._run.runner import Runner


class Kind(IntEnum):
    """What a parameter is, and so how it enters a call's key."""

    ARRAY = 0  # its shape and dtype
    OPTIONAL = 1  # the same, or None
    SIZES = 2  # ints, pairs, None or a word, nested; lists, tuples and arrays of integers alike
    FLAG = 3  # a bool or an int
    NUMBER = 4  # an int or a float
    NAME = 5  # a string
    SHAPE = 6  # a shape
    OUT = 7  # not part of the key; checked at every call


class Signature(NamedTuple):
    """An operation's name and its parameters, all positional, in the order of the public function."""

    name: str
    parameters: tuple[tuple[str, Kind], ...]


ARRAY, OPTIONAL, SIZES, FLAG, NUMBER, NAME, SHAPE, OUT = Kind
# words stand for parameters of their kind
KINDS = {
    "input weight grad_output indices": ARRAY,
    "bias": OPTIONAL,
    "stride padding dilation groups kernel_size output_padding output_size divisor_override": SIZES,
    "ceil_mode return_indices count_include_pad": FLAG,
    "norm_type": NUMBER,
    "padding_mode algorithm": NAME,
    "input_size weight_size": SHAPE,
    "out": OUT,
}
KIND = {word: kind for words, kind in KINDS.items() for word in words.split()}

CONV = "stride padding dilation groups padding_mode"
TRANSPOSED = "stride padding output_padding groups dilation"
WINDOW = "kernel_size stride padding"
PARAMETERS = {
    "conv": f"input weight bias {CONV} out algorithm",
    "conv_transpose": f"input weight bias {TRANSPOSED} out algorithm",
    "max_pool": f"input {WINDOW} dilation ceil_mode return_indices out",
    "avg_pool": f"input {WINDOW} ceil_mode count_include_pad divisor_override dilation out",
    "lp_pool": "input norm_type kernel_size stride ceil_mode padding dilation out",
    "adaptive_avg_pool": "input output_size out",
    "adaptive_max_pool": "input output_size return_indices out",
    "max_unpool": f"input indices {WINDOW} output_size",
    "unfold": "input kernel_size dilation padding stride",
    "fold": "input output_size kernel_size dilation padding stride",
    "conv_input": f"input_size weight grad_output {CONV} out",
    "conv_weight": f"input weight_size grad_output {CONV} out",
    "conv_bias": "grad_output out",
    "conv_transpose_input": f"input_size weight grad_output {TRANSPOSED} out",
    "conv_transpose_weight": f"input weight_size grad_output {TRANSPOSED} out",
    "conv_transpose_bias": "grad_output out",
    "max_pool_input": f"input grad_output {WINDOW} dilation ceil_mode out",
    "avg_pool_input": f"input_size grad_output {WINDOW} ceil_mode count_include_pad divisor_override dilation out",
    "lp_pool_input": "input grad_output norm_type kernel_size stride ceil_mode padding dilation out",
    "adaptive_avg_pool_input": "input_size grad_output output_size out",
    "adaptive_max_pool_input": "input grad_output output_size out",
    "max_unpool_input": f"indices grad_output {WINDOW} output_size out",
}
RESOLVERS: dict[str, Callable[[str, int], Callable[[tuple[Any, ...]], Runner]]] = {
    "conv": _convolutions.Convolution,
    "conv_transpose": _convolutions.TransposedConvolution,
    "max_pool": _pools.MaxPooling,
    "avg_pool": _pools.AveragePooling,
    "lp_pool": _pools.PowerPooling,
    "adaptive_avg_pool": _pools.AdaptiveAverage,
    "adaptive_max_pool": _pools.AdaptiveMaximum,
    "max_unpool": _moves.Unpooling,
    "unfold": _moves.Unfolding,
    "fold": _moves.ColumnSum,
    "conv_input": _gradients.ConvInput,
    "conv_weight": _gradients.ConvWeight,
    "conv_bias": _gradients.Bias,
    "conv_transpose_input": _gradients.TransposedInput,
    "conv_transpose_weight": _gradients.TransposedWeight,
    "conv_transpose_bias": _gradients.Bias,
    "max_pool_input": _gradients.MaxInput,
    "avg_pool_input": _gradients.AverageInput,
    "lp_pool_input": _gradients.PowerInput,
    "adaptive_avg_pool_input": _gradients.AdaptiveAverageInput,
    "adaptive_max_pool_input": _gradients.AdaptiveMaximumInput,
    "max_unpool_input": _moves.UnpoolInput,
}
OPERATIONS: dict[str, Operation] = {}


def split_name(name: str) -> tuple[str, int]:
    """conv_transpose2d_input -> (conv_transpose_input, 2); the rank of unfold and fold is in their arguments: 0."""
    for rank in (1, 2, 3):
        if f"{rank}d" in name:
            return name.replace(f"{rank}d", ""), rank
    return name, 0


def operation(name: str) -> Operation:
    """The callable behind a public function: all its arguments, positional, in the order of its signature."""
    if name not in OPERATIONS:
        base, rank = split_name(name)
        parameters = tuple((word, KIND[word]) for word in PARAMETERS[base].split())
        OPERATIONS[name] = Operation(Signature(name, parameters), RESOLVERS[base](name, rank))
    return OPERATIONS[name]
