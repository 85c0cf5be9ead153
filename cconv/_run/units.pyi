"""Convolutions of bytes in sums of 32 bits: a ConvProgram whose input and weights are of dtypes of their own."""

from .._plan.strategy import Units
from .conv import ConvProgram

stamp: str

class UnitProgram(ConvProgram):
    def __init__(
        self,
        strategy: Units,
        rank: int,
        batched: bool,
        out_shape: tuple[int, ...],
        weight_shape: tuple[int, ...],
    ) -> None: ...
