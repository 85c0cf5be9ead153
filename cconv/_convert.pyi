from typing import Any

import numpy as np
from numpy.typing import NDArray

stamp: str

def to_native(a: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]: ...
def to_result(
    y: NDArray[Any], dtype: np.dtype[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]: ...
