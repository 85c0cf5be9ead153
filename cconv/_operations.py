"""The public operations: what their parameters are called and of which kind they are, and what resolves a call.

A call finds its runner by a key made of the arrays' shapes and dtypes and of the parameters (`_run.entry`), or has it
resolved: checked, planned, remembered. How each kind of parameter enters the key stands beside `Kind`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from ._run.entry import Operation

if TYPE_CHECKING:
    from ._resolvers import Resolver


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
    DTYPE = 8  # None or what makes a dtype


class Signature(NamedTuple):
    """An operation's name and its parameters, all positional, in the order of the public function."""

    name: str
    parameters: tuple[tuple[str, Kind], ...]


ARRAY, OPTIONAL, SIZES, FLAG, NUMBER, NAME, SHAPE, OUT, DTYPE = Kind
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
    "dtype": DTYPE,
}
KIND = {word: kind for words, kind in KINDS.items() for word in words.split()}

OPERATIONS: dict[str, Operation] = {}


def split_name(name: str) -> tuple[str, int]:
    """conv_transpose2d_input -> (conv_transpose_input, 2); the rank of unfold and fold is in their arguments: 0."""
    for rank in (1, 2, 3):
        if f"{rank}d" in name:
            return name.replace(f"{rank}d", ""), rank
    return name, 0


def named_kind(word: str) -> tuple[str, Kind]:
    """A parameter and its kind, which follows a colon where the name does not say it: "relu:FLAG"."""
    name, _, kind = word.partition(":")
    return name, Kind[kind] if kind else KIND[name]


def operation(name: str) -> Operation:
    """The callable behind a public function: all its arguments, positional, in the order of its signature."""

    def opened() -> tuple[Signature, Resolver]:
        # with the first call: `import cconv` does not wait for it
        from ._resolvers import RESOLVERS

        base, rank = split_name(name)
        resolver = RESOLVERS[base](name, rank)
        return Signature(name, tuple(map(named_kind, resolver.parameters.split()))), resolver

    if name not in OPERATIONS:
        OPERATIONS[name] = Operation(name, opened)
    return OPERATIONS[name]
