"""
Convolution and pooling for Keras' NumPy backend: ``pip install cconv[keras]``.

That backend computes them with JAX, and cannot even be imported without it. The functions here have the names,
signatures and results of ``keras.src.backend.numpy.nn``; `install` puts them there, and JAX is not needed::

    import cconv.interop.keras

    cconv.interop.keras.install()  # before the first `import keras`
    import keras

    model = keras.Sequential([keras.layers.Conv2D(8, 3), keras.layers.MaxPooling2D()])

The functions work without Keras, too. Kernels are Keras': (\\*kernel, in, out), transposed (\\*kernel, out, in);
``data_format=None`` is Keras' setting, or "channels_last" if Keras has not been imported. With the channels last, too,
inputs are read and results written where they are, without a copy of the whole.

>>> import numpy as np
>>> from cconv.interop.keras import conv
>>> conv(np.ones((1, 5, 5, 2)), np.ones((3, 3, 2, 4)), strides=2, padding="same").shape
(1, 3, 3, 4)
"""

from ._keras_backend import install, uninstall
from ._keras_convolutions import conv, conv_transpose, depthwise_conv, separable_conv
from ._keras_pools import adaptive_average_pool, adaptive_max_pool, average_pool, max_pool

__all__ = [
    "adaptive_average_pool",
    "adaptive_max_pool",
    "average_pool",
    "conv",
    "conv_transpose",
    "depthwise_conv",
    "install",
    "max_pool",
    "separable_conv",
    "uninstall",
]
