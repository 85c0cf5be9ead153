"""How operators are known: a builder for each, which makes of a node's attributes a function of arrays.

The function takes the node's inputs (None where one is left out) and returns its output, or a tuple where the node has
several. What it may do with memory is said when it is registered:

fresh    the result is an array of its own.
view     the result may share memory with the first input.
alias    the results may share memory with any input.
inplace  the function takes `out=`, an input with the result's shape and dtype that nobody reads afterwards, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..graph import Array, Node

Run = Callable[..., Any]


class Unsupported(Exception):
    """This node is beyond an operator's builder: someone else may know it."""


@dataclass(slots=True)
class Setting:
    """What a builder may know besides its node: the constants among the inputs, and how bodies are made to run."""

    constants: dict[str, Array] = field(default_factory=dict)
    program: Callable[..., Any] | None = None

    def constant(self, node: Node, at: int) -> Array | None:
        """The node's input `at`, if it is a constant."""
        if at < len(node.inputs) and node.inputs[at]:
            return self.constants.get(node.inputs[at])
        return None


Builder = Callable[[Node, Setting], Run]
B = TypeVar("B", bound=Builder)


@dataclass(frozen=True, slots=True)
class Operator:
    build: Builder
    memory: str  # "fresh", "view", "alias", "inplace"


OPERATORS: dict[tuple[str, str], Operator] = {}


def operator(*names: str, memory: str = "fresh", domain: str = "") -> Callable[[B], B]:
    """Registers a builder."""

    def register(build: B) -> B:
        for name in names:
            OPERATORS[domain, name] = Operator(build, memory)
        return build

    return register


def simple(name: str, run: Run, memory: str = "fresh", domain: str = "") -> None:
    """Registers an operator without attributes."""
    OPERATORS[domain, name] = Operator(lambda _node, _setting: run, memory)


def has(node: Node, at: int) -> bool:
    """Whether the input `at` is given."""
    return at < len(node.inputs) and bool(node.inputs[at])
