"""Pictures side by side: what a layer sees, and what it has learned."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

from .._check import arrays
from ._figures import limits, new_figure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._typing import Array


def grid_figure(
    images: Sequence[Array], columns: int | None, cmap: str, limits: Any, title: str
) -> Any:
    columns = columns or ceil(sqrt(len(images)))
    rows = ceil(len(images) / columns)
    figure = new_figure(1.2 * columns + 0.4, 1.2 * rows + 0.6)
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image in zip(grid.flat, images, strict=False):
        axes.imshow(image, cmap=cmap, vmin=limits[0], vmax=limits[1])
    return figure


def feature_maps(maps: ArrayLike, columns: int | None = None) -> Any:
    """
    The channels of one sample side by side, each on the scale of all.

    Parameters
    ----------
    maps : array_like, shape (C, H, W) or (1, C, H, W)
    columns : int, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> from cconv.plot import feature_maps
    >>> len(feature_maps(np.random.default_rng(0).random((6, 8, 8))).axes)
    6
    """
    a = arrays.array("feature_maps", "maps", maps)
    if a.ndim == 4 and a.shape[0] == 1:
        a = a[0]
    if a.ndim != 3 or a.size == 0:
        raise ValueError(f"feature_maps: maps must have shape (C, H, W), got {a.shape}")
    return grid_figure(list(a), columns, "cividis", limits(a), f"{a.shape[0]} feature maps")


def kernels(weight: ArrayLike, columns: int | None = None) -> Any:
    """
    The kernels of a 2-D layer, blue for positive and red for negative weights, zero white.

    Parameters
    ----------
    weight : array_like, shape (O, C, kh, kw)
        Of each output channel the first input channel is shown, or all three as colours if C is 3.
    columns : int, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import cconv
    >>> from cconv.plot import kernels
    >>> len(kernels(cconv.Conv2d(1, 16, 3, rng=0).weight).axes)
    16
    """
    w = arrays.array("kernels", "weight", weight)
    if w.ndim != 4 or w.size == 0:
        raise ValueError(f"kernels: weight must have shape (O, C, kh, kw), got {w.shape}")
    most = float(abs(w).max()) or 1.0
    images = list(w[:, 0])
    if w.shape[1] == 3:
        images = list((w / most / 2 + 0.5).transpose(0, 2, 3, 1))
    return grid_figure(images, columns, "RdBu", (-most, most), f"{len(images)} kernels")
