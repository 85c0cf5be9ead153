"""The per-call path: a call's key, what was found for it, and the check of `out`; nothing that could be remembered."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from .conv import ConvProgram
from .memory import Workspace
from .runner import Runner

stamp: str

class Operation:
    signature: Any
    name: str

    def __init__(self, signature: Any, resolve: Callable[[tuple[Any, ...]], Runner]) -> None: ...
    def runner(self, *args: Any) -> Runner: ...
    def __call__(self, *args: Any) -> Any: ...

class Kept:
    def __init__(self, slow: Callable[[Any, Any], Any]) -> None: ...
    def prepared(self, program: ConvProgram, weight: NDArray[Any]) -> Workspace: ...
    def keep(
        self,
        x: NDArray[Any],
        program: ConvProgram,
        prepared: Workspace,
        bias: NDArray[Any] | None,
    ) -> None: ...
    def __call__(self, x: Any, out: Any = None) -> Any: ...
