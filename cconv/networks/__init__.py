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
    """
    Read a network that `Network.save` has written; it needs NumPy and nothing else.

    Parameters
    ----------
    path : str or path-like
        The file, usually ending in ``.cconv``.

    Returns
    -------
    Network
        Called with arrays, in the order of its inputs or by name.

    Raises
    ------
    NetworkError
        A ValueError: the file is not a saved network, is damaged, or of another version.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv.networks import Graph, Network, Node, Value
    >>> x, y = Value("x", "float32", (1, 1, 4, 4)), Value("y")
    >>> pool = Node("MaxPool", ["x"], ["y"], {"kernel_shape": [2, 2], "strides": [2, 2]})
    >>> import tempfile, os
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "net.cconv")
    >>> Network(Graph([x], [y], [pool], {})).save(path)
    >>> load_network(path)(np.arange(16).reshape(1, 1, 4, 4))
    array([[[[ 5.,  7.],
             [13., 15.]]]], dtype=float32)
    """
    return Network(read(path))
