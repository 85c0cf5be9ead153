"""
Convolution and pooling for NumPy arrays, with the semantics of ``torch.nn.functional``.

The map of the house, from the door down; each room imports only from those below it:

- `cconv.plot` - moving pictures, grids and tables; imported by name
- `cconv.interop` - doors to other packages: autograd, Dask, Keras, ONNX, ...; imported by name
- `cconv.networks` - trained networks as graphs: operators, folding and fusing, files; imported with the first one
- `cconv.layers` - `Conv2d`, `MaxPool2d`, ...: hold parameters and weights, call the functions; `backward`
- `cconv.grad` - the gradients, with the names of ``torch.nn.grad``
- `cconv.functional` - the functions: signature, docstring, one call
- ``capi``, ``include`` - for other Cython packages and for C: plans as C pointers, run without the GIL
- ``_limits`` - a limit of threads for a while; ``_typing`` - the types of public signatures
- ``_operations`` - the signatures: what a call's parameters are called and of which kind they are. What stands from
  here to ``_strategies`` is imported with the first call
- ``_explain`` - prints the strategy that a call would run (an ``_explanation``)
- ``_prepack``, ``_kept`` - weights kept as the kernels read them; ``_specs`` - those of capi's plans
- ``_resolvers``, ``_convolutions``, ``_pools``, ``_gradients``, ``_moves`` - a call of a new kind: checked, planned,
  its runner built
- ``_strategies``, ``_pieces``, ``_fft`` - the runners that surround kernels: conversions, complex as real, integers as
  floats, large arrays in pieces, overlap-save
- ``_run`` - the per-call path: finds the runner, allocates, runs one kernel after the other without the GIL
- ``_isa`` - which instruction set; ``_check`` - every TypeError and ValueError is worded there; ``_elements``,
  ``_convert`` - what dtypes are computed in, and halves from and to float32
- ``_plan`` - the choice: which kernel, which blocks; integers in, a strategy out
- ``_version``, ``_interpreter`` - what is checked at import: modules of one build, the main interpreter;
  ``_processors`` - how many threads to begin with; ``_threadpool`` - threadpoolctl is told of them
- ``_problem`` - the sizes of one operation, always with three spatial axes; the output-size formulas
- ``kernels`` - the loops, one source for every element type and instruction set
"""

from typing import TYPE_CHECKING

# _interpreter comes first: it refuses before anything compiled is loaded
from . import _interpreter  # noqa: F401

# isort: split
from . import _cpu
from ._version import __version__, check_stamp

check_stamp(_cpu)  # before anything is built upon the compiled modules

from . import _threadpool, functional, grad, layers  # noqa: E402, F401
from ._explanation import Explanation  # noqa: E402
from ._isa import show_config  # noqa: E402
from ._limits import thread_limit  # noqa: E402
from ._prepack import Prepacked  # noqa: E402
from ._run.threads import get_num_threads, set_num_threads  # noqa: E402
from .functional import *  # noqa: E402, F403
from .layers import *  # noqa: E402, F403

if TYPE_CHECKING:
    from os import PathLike

    from .networks import Network


def get_include() -> str:
    """
    Folder of ``cconv.h``, the header for extension modules in C and C++.

    Returns
    -------
    str
        For a compiler's ``-I``, or ``include_dirs`` of setuptools. Cython needs no folder: ``from cconv cimport capi``.

    Examples
    --------
    >>> import cconv
    >>> cconv.get_include().endswith("include")
    True
    """
    from os.path import dirname, join

    return join(dirname(__file__), "include")


def load_network(path: "str | PathLike[str]") -> "Network":
    """
    Read a trained network that `cconv.networks.Network.save` has written; it needs NumPy and nothing else.

    Parameters
    ----------
    path : str or path-like
        The file, usually ending in ``.cconv``.

    Returns
    -------
    cconv.networks.Network
        Called with arrays, in the order of its inputs or by name.

    Raises
    ------
    cconv.networks.NetworkError
        A ValueError: the file is not a saved network, is damaged, or of another version.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import cconv
    >>> cconv.load_network("README.md")
    Traceback (most recent call last):
        ...
    cconv.networks.graph.NetworkError: README.md: not a saved network, or damaged (File is not a zip file)
    """
    from .networks import load_network

    return load_network(path)


__all__ = [
    "Explanation",
    "Prepacked",
    "__version__",
    "get_include",
    "get_num_threads",
    "grad",
    "load_network",
    "set_num_threads",
    "show_config",
    "thread_limit",
]
__all__ += functional.__all__ + layers.__all__
