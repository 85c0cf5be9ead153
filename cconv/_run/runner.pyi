"""What a call's key finds: a Runner; and what all programs share that needs Python."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

stamp: str

class Runner:
    dtype: np.dtype[Any]
    out_shape: tuple[int, ...]
    strategy: Any

    def __call__(self, arrays: Sequence[Any], out: Any = None) -> Any: ...

class PyRunner(Runner):
    function: Callable[[tuple[Any, ...], Any], Any]

    def __init__(
        self,
        function: Callable[[tuple[Any, ...], Any], Any],
        dtype: np.dtype[Any],
        out_shape: tuple[int, ...],
        strategy: Any,
    ) -> None: ...

class Program(Runner):
    def report(self) -> dict[str, Any]: ...

def set_tracer(function: Callable[[str, str, int, int], object] | None) -> None: ...
