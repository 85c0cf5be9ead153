"""Memory of calls: workspaces, which are reused, and outputs, whose blocks are kept when their arrays die."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

stamp: str

class Workspace: ...

def drop_kept() -> None: ...
def fresh(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]: ...
