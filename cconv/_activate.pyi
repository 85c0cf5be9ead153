from typing import Any

from numpy.typing import NDArray

ACTIVATIONS: dict[str, tuple[int, tuple[float, ...]]]
stamp: str

def activate_all(
    x: NDArray[Any],
    name: str,
    numbers: tuple[float, ...] = ...,
    out: NDArray[Any] | None = ...,
    add: NDArray[Any] | None = ...,
) -> NDArray[Any] | None: ...
