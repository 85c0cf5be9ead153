"""Pools: a strategy filled into C structs, run for functions and other languages."""

from typing import Any

from .._plan.strategy import Pool
from .runner import Program

stamp: str

class PoolProgram(Program):
    strategy: Pool

    def __init__(
        self, strategy: Pool, rank: int, batched: bool, out_shape: tuple[int, ...]
    ) -> None: ...
    def report(self) -> dict[str, Any]: ...
