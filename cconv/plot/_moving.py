"""Moving pictures of convolution and pooling."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import functional
from .._check import params
from ._boards import Board, cells_of, check_frames, grey_padding, number, plane, save
from ._figures import BLUE, ORANGE, limits, new_figure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._typing import Array, Padding, Pads, Size


def animate_conv(
    input: ArrayLike,
    kernel: ArrayLike,
    path: str | os.PathLike[str],
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    *,
    fps: float = 2,
) -> Array:
    """
    Write a moving picture of a 2-D convolution: the window, the kernel, the products and their sum.

    Parameters
    ----------
    input : array_like, shape (H, W)
    kernel : array_like, shape (kh, kw)
    path : path
        Ends with ``.gif`` or ``.html``.
    stride, padding, dilation
        As in `cconv.conv2d`.
    fps : float, default 2
        Steps a second.

    Returns
    -------
    ndarray, shape (H', W')
        The convolution, as `cconv.conv2d` gives it.

    Raises
    ------
    TypeError, ValueError
        As `cconv.conv2d`; for another ending; for more than 400 positions.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import os, tempfile
    >>> from cconv.plot import animate_conv
    >>> path = os.path.join(tempfile.mkdtemp(), "conv.gif")
    >>> animate_conv([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0], [0, -1]], path)
    array([[-4., -4.],
           [-4., -4.]])
    """
    name = "animate_conv"
    x, w = plane(name, input), plane(name, kernel)
    y: Array = functional.conv2d(x[None], w[None, None], None, stride, padding, dilation)[0]
    check_frames(name, y.size)
    s, d = params.axes(name, "stride", stride, 2, 1), params.axes(name, "dilation", dilation, 2, 1)
    before, after = params.conv_padding(name, padding, 2, s, d, w.shape)
    padded = np.pad(x, list(zip(before, after, strict=True)))
    figure = new_figure(13, 4.6)
    widths = (padded.shape[1], max(3, w.shape[1]) + 1, y.shape[1])
    left, middle, right = figure.subplots(1, 3, width_ratios=widths)
    board = Board(left, padded, f"input {x.shape[0]} x {x.shape[1]}, padded", limits(x))
    grey_padding(board, x.shape, before)
    longest = sum(max(len(number(v)) for v in a.ravel().tolist()) for a in (padded, w)) + 3
    taps = Board(middle, w, "kernel: input x weight = product", limits(w), longest)
    result = Board(right, y, f"output {y.shape[0]} x {y.shape[1]}", limits(y))
    caption = figure.supxlabel("", fontsize=11, family="monospace")

    def draw(step: int) -> list[Any]:
        place = divmod(step, y.shape[1])
        cells = cells_of(place, w.shape, s, d)
        board.mark(cells, BLUE)
        products = []
        for tap, cell in zip(np.ndindex(*w.shape), cells, strict=True):
            value, weight = float(padded[cell]), float(w[tap])
            products.append(value * weight)
            text = f"{number(value)} x {number(weight)}\n= {number(products[-1])}"
            taps.texts[tap].set_text(text)
        result.mark([place], ORANGE)
        result.reveal(step + 1)
        terms = " + ".join(number(float(p)) for p in products)
        if len(terms) > 90:
            terms = "sum of the products in the kernel's cells"
        caption.set_text(f"{terms} = {number(float(y[place]))}")
        return []

    save(figure, draw, y.size, path, fps)
    return y


def animate_pool(
    input: ArrayLike,
    kernel_size: Size,
    path: str | os.PathLike[str],
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    *,
    kind: Literal["max", "avg"] = "max",
    fps: float = 2,
) -> Array:
    """
    Write a moving picture of 2-D pooling: the window, and its maximum or average.

    Parameters
    ----------
    input : array_like, shape (H, W)
    kernel_size, stride, padding, dilation
        As in `cconv.max_pool2d`.
    path : path
        Ends with ``.gif`` or ``.html``.
    kind : {"max", "avg"}, default "max"
    fps : float, default 2
        Steps a second.

    Returns
    -------
    ndarray, shape (H', W')
        The pool's result.

    Raises
    ------
    TypeError, ValueError
        As `cconv.max_pool2d`; for another ending or kind; for more than 400 positions.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import os, tempfile
    >>> from cconv.plot import animate_pool
    >>> path = os.path.join(tempfile.mkdtemp(), "pool.gif")
    >>> animate_pool([[7, 3, 5, 2], [8, 7, 1, 6], [4, 9, 3, 9], [0, 8, 4, 5]], 2, path)
    array([[8., 6.],
           [9., 9.]])
    """
    name = "animate_pool"
    if kind not in ("max", "avg"):
        raise ValueError(f"{name}: kind must be 'max' or 'avg', got {kind!r}")
    x = plane(name, input)
    geometry = params.pool_geometry(name, 2, kernel_size, stride, padding, dilation)
    kernel, s, before, after, d = geometry
    y: Array
    if kind == "max":
        y = functional.max_pool2d(x[None], kernel_size, stride, padding, dilation)[0]
    else:
        y = functional.avg_pool2d(x[None], kernel_size, stride, padding, dilation=dilation)[0]
    check_frames(name, y.size)
    fill = np.nan if kind == "max" else 0.0
    padded = np.pad(x, list(zip(before, after, strict=True)), constant_values=fill)
    figure = new_figure(10, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(padded.shape[1], y.shape[1]))
    board = Board(left, padded, f"input {x.shape[0]} x {x.shape[1]}", limits(x))
    grey_padding(board, x.shape, before)
    result = Board(right, y, f"output {y.shape[0]} x {y.shape[1]}", limits(x))
    caption = figure.supxlabel("", fontsize=11, family="monospace")

    def draw(step: int) -> list[Any]:
        place = divmod(step, y.shape[1])
        cells = cells_of(place, kernel, s, d)
        board.mark(cells, BLUE)
        result.mark([place], ORANGE)
        result.reveal(step + 1)
        inside = [number(float(padded[c])) for c in cells if np.isfinite(padded[c])]
        terms = ", ".join(inside) if len(inside) <= 16 else f"{len(inside)} values"
        word = "max" if kind == "max" else "mean"
        caption.set_text(f"{word}({terms}) = {number(float(y[place]))}")
        return []

    save(figure, draw, y.size, path, fps)
    return y
