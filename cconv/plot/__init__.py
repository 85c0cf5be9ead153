"""
Pictures of what convolution and pooling do: ``pip install cconv[plot]``.

`animate_conv` and `animate_pool` move the window over an input, with the products and the sum of every step, as GIF or
HTML; `feature_maps` and `kernels` show what a layer sees and has learned; `summary` is a network's table of shapes.
Every number in a picture is what cconv computes. The colours are those of Okabe and Ito, and cividis: readable for the
colour-blind.
"""

from ._fields import receptive_field
from ._grids import feature_maps, kernels
from ._moving import animate_conv, animate_pool
from ._tables import summary

__all__ = ["animate_conv", "animate_pool", "feature_maps", "kernels", "receptive_field", "summary"]
