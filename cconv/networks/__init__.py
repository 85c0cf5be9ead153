"""
Trained networks on NumPy and cconv alone.

`load_network` reads a file that `Network.save` has written; networks come from ONNX models, by
`cconv.interop.onnx.load`, which needs the onnx package.
"""

from __future__ import annotations

import os

from .archive import read
from .graph import Graph, NetworkError, Node, Value
from .network import Network, Profile

__all__ = ["Graph", "Network", "NetworkError", "Node", "Profile", "Value", "load_network"]


def load_network(path: str | os.PathLike[str]) -> Network:
    """`cconv.load_network`, which is this."""
    return Network(read(path))
