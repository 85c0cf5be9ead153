"""Convolutions: a strategy's steps filled into C structs, run for functions, prepacked weights and other languages."""

from typing import Any

from numpy.typing import NDArray

from .._plan.strategy import Direct
from .memory import Workspace
from .runner import Program

stamp: str

class ConvProgram(Program):
    strategy: Direct
    weight_shape: tuple[int, ...]

    def __init__(
        self,
        strategy: Direct,
        rank: int,
        batched: bool,
        out_shape: tuple[int, ...],
        weight_shape: tuple[int, ...],
    ) -> None: ...
    def layout(self) -> tuple[Any, ...]: ...
    def prepare(self, weight: NDArray[Any]) -> Workspace: ...
    def run_prepared(
        self,
        x: NDArray[Any],
        prepared: Workspace,
        bias: NDArray[Any] | None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]: ...
    def report(self) -> dict[str, Any]: ...
