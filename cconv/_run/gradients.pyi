"""Gradients of convolutions by their weights and of pools by their input: strategies filled into C structs, and run."""

from .._plan.strategy import PoolGrad, WeightGrad
from .runner import Program

stamp: str

class WeightGradProgram(Program):
    strategy: WeightGrad

    def __init__(
        self, strategy: WeightGrad, rank: int, batched: bool, weight_shape: tuple[int, ...]
    ) -> None: ...

class PoolGradProgram(Program):
    strategy: PoolGrad

    def __init__(
        self, strategy: PoolGrad, rank: int, batched: bool, input_shape: tuple[int, ...]
    ) -> None: ...
