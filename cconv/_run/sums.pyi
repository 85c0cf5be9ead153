"""Sums over batch and space, a channel each: the gradient of a bias."""

from typing import Any

import numpy as np

from .._plan.strategy import Plain
from .runner import Runner

stamp: str

class ChannelSums(Runner):
    strategy: Plain

    def __init__(
        self, strategy: Plain, dtype: np.dtype[Any], shape: tuple[int, int, int]
    ) -> None: ...
