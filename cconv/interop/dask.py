"""
Convolution and pooling of Dask arrays (``cconv[dask]``): the functions of `cconv.functional`, lazily, block by block.

Every function takes a `dask.array.Array` (N, C, *space) or (C, *space) in any chunks and gives one whose chunks follow
them, scaled by the stride. A block reads as much of its neighbours as its windows reach (its halo), so the result is
that of the NumPy function on the whole array: bit for bit for max pools and for convolutions with
``algorithm="direct"``, the default here; within the rounding bound of the algorithm otherwise. Errors in arguments are
raised at the call, not when something is computed.

Parameters, results and errors are those of the functions of the same name in `cconv`, without `out`. Weights and
biases are NumPy's or Dask's. Of a convolution's input the channels are made one chunk; pools keep the channels' chunks.
A task runs on one thread, for Dask runs as many tasks as there are processors.

>>> import numpy as np
>>> import dask.array as da
>>> from cconv.interop import dask as cd
>>> x = da.arange(24.0, chunks=7).reshape(1, 1, 24)
>>> y = cd.max_pool1d(cd.conv1d(x, np.array([[[1.0, 2.0, 1.0]]]), padding="same"), 2)
>>> y.compute()
array([[[ 4., 12., 20., 28., 36., 44., 52., 60., 68., 76., 84., 88.]]])
"""

try:
    from ._dask_convolutions import (
        conv1d,
        conv2d,
        conv3d,
        conv_transpose1d,
        conv_transpose2d,
        conv_transpose3d,
    )
    from ._dask_pools import (
        adaptive_avg_pool1d,
        adaptive_avg_pool2d,
        adaptive_avg_pool3d,
        adaptive_max_pool1d,
        adaptive_max_pool2d,
        adaptive_max_pool3d,
        avg_pool1d,
        avg_pool2d,
        avg_pool3d,
        lp_pool1d,
        lp_pool2d,
        lp_pool3d,
        max_pool1d,
        max_pool2d,
        max_pool3d,
    )
except ImportError as error:
    raise ImportError(
        f"cconv.interop.dask needs Dask ({error}): pip install 'cconv[dask]'", name="dask"
    ) from error

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]
