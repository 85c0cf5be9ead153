"""
cconv's functions for the ``autograd`` package: differentiable as often as one likes, in reverse and forward mode.

``pip install cconv[autograd]``. The functions have the names and arguments of ``cconv.functional``, without `out` and
`dtype`; activations, losses and optimisers are ``autograd.numpy``.

>>> import autograd.numpy as np
>>> from autograd import grad
>>> from cconv.interop import autograd as ca
>>> def loss(w, x):
...     return np.sum(ca.avg_pool2d(np.tanh(ca.conv2d(x, w, padding=1)), 2) ** 2)
>>> x, w = np.ones((1, 1, 4, 4)), np.ones((2, 1, 3, 3)) / 9
>>> grad(loss)(w, x).shape
(2, 1, 3, 3)
"""

from __future__ import annotations

try:
    from . import _autograd_functions as made
    from ._autograd_functions import fold, unfold
except ImportError as error:
    raise ImportError(
        f"cconv.interop.autograd needs the autograd package ({error}): pip install cconv[autograd]",
        name="autograd",
    ) from error

__all__ = [
    "fold",
    "unfold",
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
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]

conv1d, conv2d, conv3d = made.of_each_rank("conv", made.convolution)
conv_transpose1d, conv_transpose2d, conv_transpose3d = made.of_each_rank(
    "conv_transpose", made.transposed
)
max_pool1d, max_pool2d, max_pool3d = made.of_each_rank("max_pool", made.maximum)
avg_pool1d, avg_pool2d, avg_pool3d = made.of_each_rank("avg_pool", made.average)
lp_pool1d, lp_pool2d, lp_pool3d = made.of_each_rank("lp_pool", made.norm_pool)
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = made.of_each_rank(
    "adaptive_avg_pool", made.adaptive_average
)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = made.of_each_rank(
    "adaptive_max_pool", made.adaptive_maximum
)
max_unpool1d, max_unpool2d, max_unpool3d = made.of_each_rank("max_unpool", made.unpooling)
