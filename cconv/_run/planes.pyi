"""max_unpool and its gradient: values put to, and taken from, their places in planes, on the threads."""

from typing import Any

import numpy as np

from .._plan.strategy import Plain
from .runner import Runner

stamp: str

class PlaneRunner(Runner):
    strategy: Plain

    def __init__(
        self,
        strategy: Plain,
        name: str,
        dtype: np.dtype[Any],
        out_shape: tuple[int, ...],
        planes: tuple[int, int],
    ) -> None: ...

class ScatterRunner(PlaneRunner): ...
class GatherRunner(PlaneRunner): ...
