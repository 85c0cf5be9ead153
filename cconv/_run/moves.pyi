"""unfold and fold: windows copied, and added up, row by row on the threads."""

from typing import Any

import numpy as np

from .._plan.strategy import Plain
from .runner import Runner

stamp: str

class BlockRunner(Runner):
    strategy: Plain

class UnfoldRunner(BlockRunner):
    def __init__(
        self,
        strategy: Plain,
        blocks: dict[str, Any],
        dtype: np.dtype[Any],
        out_shape: tuple[int, ...],
        rank: int,
    ) -> None: ...

class FoldRunner(BlockRunner):
    def __init__(
        self,
        strategy: Plain,
        blocks: dict[str, Any],
        dtype: np.dtype[Any],
        out_shape: tuple[int, ...],
    ) -> None: ...
