"""
Pictures of what convolution and pooling do: ``pip install cconv[plot]``.

`animate_conv` and `animate_pool` move the window over an input, with the products and the sum of every step, as GIF or
HTML; `feature_maps` and `kernels` show what a layer sees and has learned; `summary` is a network's table of shapes.
Every number in a picture is what cconv computes. The colours are those of Okabe and Ito, and cividis: readable for the
colour-blind.
"""

from __future__ import annotations

import os
from math import ceil, prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _receptive, functional
from ._check import arrays, params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from .functional import Array, Pads, Size

__all__ = ["animate_conv", "animate_pool", "feature_maps", "kernels", "receptive_field", "summary"]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#BBBBBB"
MOST_FRAMES = 400


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "cconv.plot needs matplotlib and pillow: pip install cconv[plot]", name="matplotlib"
        ) from error
    return matplotlib


def _figure(width: float, height: float) -> Any:
    """A figure of its own, without pyplot's global ones."""
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


# ---------------------------------------------------------------- moving pictures


class _Board:
    """A grid of numbers; `frame` marks some of its cells."""

    def __init__(
        self, axes: Any, values: Array, title: str, limits: tuple[float, float], longest: int = 0
    ) -> None:
        from matplotlib.patches import Rectangle

        self.axes, self.values = axes, values
        rows, columns = values.shape
        self.image = axes.imshow(
            np.ma.masked_invalid(values), cmap="cividis", vmin=limits[0], vmax=limits[1], alpha=0.55
        )
        axes.set(xticks=[], yticks=[], xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
        axes.set_title(title, fontsize=11)
        shown = {place: number(float(value)) for place, value in np.ndenumerate(values)}
        longest = max(longest, *(len(text) for text in shown.values()), 1)
        # the boards are some 270 points wide and high; a digit is 0.65 of the font's size
        size = min(9.0, 270 / max(rows, columns) * 0.9 / (0.65 * longest))
        self.texts = {
            (i, j): axes.text(j, i, shown[i, j], ha="center", va="center", fontsize=size, zorder=5)
            for i, j in np.ndindex(rows, columns)
        }
        self.marks = [
            Rectangle((0, 0), 1, 1, fill=False, lw=2.5, visible=False, zorder=4)  # over the padding
            for _ in range(rows * columns)
        ]
        for mark in self.marks:
            axes.add_patch(mark)

    def mark(self, cells: Sequence[tuple[int, int]], color: str) -> None:
        for mark in self.marks:
            mark.set_visible(False)
        for mark, (i, j) in zip(self.marks, cells, strict=False):
            mark.set(xy=(j - 0.5, i - 0.5), edgecolor=color, visible=True)

    def reveal(self, count: int) -> None:
        """Only the first cells, row by row."""
        later = np.arange(self.values.size).reshape(self.values.shape) >= count
        self.image.set_data(np.ma.masked_array(self.values, later | ~np.isfinite(self.values)))
        for index, text in enumerate(self.texts.values()):
            text.set_visible(index < count)


def number(value: float) -> str:
    """At most two decimals."""
    if not np.isfinite(value):
        return ""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _cells(
    output: tuple[int, int], kernel: Any, stride: Any, dilation: Any
) -> list[tuple[int, int]]:
    """The cells of the padded input that an output's window holds."""
    return [
        tuple(o * s + k * d for o, s, k, d in zip(output, stride, tap, dilation, strict=True))
        for tap in np.ndindex(*kernel)
    ]


def _save(figure: Any, draw: Any, count: int, path: str | os.PathLike[str], fps: float) -> None:
    from matplotlib.animation import FuncAnimation, PillowWriter

    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in (".gif", ".html"):
        raise ValueError(f"path must end with .gif or .html, got {os.fspath(path)!r}")
    animation = FuncAnimation(figure, draw, frames=count, interval=1000 / fps)
    if ending == ".gif":
        animation.save(os.fspath(path), writer=PillowWriter(fps=fps), dpi=80)
    else:
        with open(path, "w") as file:
            file.write(animation.to_jshtml(fps=fps))


def _plane(name: str, value: ArrayLike) -> Array:
    a = arrays.array(name, "input", value)
    if a.ndim != 2 or a.size == 0:
        raise ValueError(f"{name}: input must have shape (H, W), got {a.shape}")
    return a.astype(np.float64)


def _frames(name: str, count: int) -> None:
    if count > MOST_FRAMES:
        raise ValueError(
            f"{name}: {count} positions make too long a picture; at most {MOST_FRAMES}"
        )


def animate_conv(
    input: ArrayLike,
    kernel: ArrayLike,
    path: str | os.PathLike[str],
    stride: Size = 1,
    padding: Pads | str = 0,
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
    x, w = _plane(name, input), _plane(name, kernel)
    y: Array = functional.conv2d(x[None], w[None, None], None, stride, padding, dilation)[0]
    _frames(name, y.size)
    s, d = params.axes(name, "stride", stride, 2, 1), params.axes(name, "dilation", dilation, 2, 1)
    before, after = params.conv_padding(name, padding, 2, s, d, w.shape)
    padded = np.pad(x, list(zip(before, after, strict=True)))
    figure = _figure(13, 4.6)
    widths = (padded.shape[1], max(3, w.shape[1]) + 1, y.shape[1])
    left, middle, right = figure.subplots(1, 3, width_ratios=widths)
    board = _Board(left, padded, f"input {x.shape[0]} x {x.shape[1]}, padded", _limits(x))
    _grey_padding(board, x.shape, before)
    longest = sum(max(len(number(v)) for v in a.ravel().tolist()) for a in (padded, w)) + 3
    taps = _Board(middle, w, "kernel: input x weight = product", _limits(w), longest)
    result = _Board(right, y, f"output {y.shape[0]} x {y.shape[1]}", _limits(y))
    caption = figure.supxlabel("", fontsize=11, family="monospace")

    def draw(step: int) -> list[Any]:
        place = divmod(step, y.shape[1])
        cells = _cells(place, w.shape, s, d)
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

    _save(figure, draw, y.size, path, fps)
    return y


def animate_pool(
    input: ArrayLike,
    kernel_size: Size,
    path: str | os.PathLike[str],
    stride: Size | None = None,
    padding: Pads = 0,
    dilation: Size = 1,
    *,
    kind: str = "max",
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
    x = _plane(name, input)
    geometry = params.pool_geometry(name, 2, kernel_size, stride, padding, dilation)
    kernel, s, before, after, d = geometry
    y: Array
    if kind == "max":
        y = functional.max_pool2d(x[None], kernel_size, stride, padding, dilation)[0]
    else:
        y = functional.avg_pool2d(x[None], kernel_size, stride, padding, dilation=dilation)[0]
    _frames(name, y.size)
    fill = np.nan if kind == "max" else 0.0
    padded = np.pad(x, list(zip(before, after, strict=True)), constant_values=fill)
    figure = _figure(10, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(padded.shape[1], y.shape[1]))
    board = _Board(left, padded, f"input {x.shape[0]} x {x.shape[1]}", _limits(x))
    _grey_padding(board, x.shape, before)
    result = _Board(right, y, f"output {y.shape[0]} x {y.shape[1]}", _limits(x))
    caption = figure.supxlabel("", fontsize=11, family="monospace")

    def draw(step: int) -> list[Any]:
        place = divmod(step, y.shape[1])
        cells = _cells(place, kernel, s, d)
        board.mark(cells, BLUE)
        result.mark([place], ORANGE)
        result.reveal(step + 1)
        inside = [number(float(padded[c])) for c in cells if np.isfinite(padded[c])]
        terms = ", ".join(inside) if len(inside) <= 16 else f"{len(inside)} values"
        word = "max" if kind == "max" else "mean"
        caption.set_text(f"{word}({terms}) = {number(float(y[place]))}")
        return []

    _save(figure, draw, y.size, path, fps)
    return y


def _limits(values: Array) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 1, high + 1)


def _grey_padding(board: _Board, shape: tuple[int, ...], before: Sequence[int]) -> None:
    from matplotlib.patches import Rectangle

    for (i, j), text in board.texts.items():
        if not all(b <= at < b + n for at, b, n in zip((i, j), before, shape, strict=True)):
            board.axes.add_patch(
                Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="white", edgecolor=GREY, hatch="//", lw=0.5)
            )  # fmt: skip
            text.set(color="#444444")


# ---------------------------------------------------------------- grids


def _grid(images: Sequence[Array], columns: int | None, cmap: str, limits: Any, title: str) -> Any:
    columns = columns or ceil(sqrt(len(images)))
    rows = ceil(len(images) / columns)
    figure = _figure(1.2 * columns + 0.4, 1.2 * rows + 0.6)
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
    return _grid(list(a), columns, "cividis", _limits(a), f"{a.shape[0]} feature maps")


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
    return _grid(images, columns, "RdBu", (-most, most), f"{len(images)} kernels")


def receptive_field(
    layers: Sequence[Any], input_size: Sequence[int], place: Sequence[int] | None = None
) -> tuple[Any, list[_receptive.Field]]:
    """
    What one output of a stack of 2-D layers sees of the input, drawn, and as numbers after each layer.

    Parameters
    ----------
    layers : sequence of callables
        Convolutions and pools of cconv; whatever has no ``kernel_size`` counts as elementwise.
    input_size : tuple of int
        ``(H, W)``, or a whole shape that ends with them.
    place : (int, int), optional
        The output's row and column; by default the one whose field is in the middle.

    Returns
    -------
    figure : matplotlib.figure.Figure
    fields : list
        Of each layer `size`, `jump` (the product of the strides) and `start`, per axis: output i of it sees the inputs
        ``start + i * jump`` to ``start + i * jump + size - 1``.

    Raises
    ------
    ValueError
        For no layers, transposed convolutions, adaptive pools and layers of another rank.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import cconv
    >>> from cconv.plot import receptive_field
    >>> layers = [cconv.Conv2d(1, 8, 3, padding=1), cconv.MaxPool2d(2), cconv.Conv2d(8, 8, 3)]
    >>> figure, fields = receptive_field(layers, (12, 12))
    >>> [(field.size, field.jump, field.start) for field in fields]
    [((3, 3), (1, 1), (-1, -1)), ((4, 4), (2, 2), (-1, -1)), ((8, 8), (2, 2), (-1, -1))]
    """
    if not layers or len(input_size) < 2:
        raise ValueError("receptive_field: needs a layer, and an input_size that ends with (H, W)")
    found = _receptive.fields(layers)
    shape = (int(input_size[-2]), int(input_size[-1]))
    last = found[-1]
    if place is None:
        place = [
            max(0, round(((L - 1) / 2 - a - (r - 1) / 2) / j))
            for L, a, r, j in zip(shape, last.start, last.size, last.jump, strict=True)
        ]
    figure = _figure(7, 7.5 + 0.2 * len(found))
    _receptive.draw(figure, found, shape, place)
    return figure, found


def summary(layers: Sequence[Any], input_size: Sequence[int]) -> str:
    """
    A network's table: every layer with its output's shape, its parameters and its multiply-adds.

    Parameters
    ----------
    layers : sequence of callables
        Layers of cconv, or functions of one array.
    input_size : tuple of int

    Returns
    -------
    str

    Examples
    --------
    >>> import cconv
    >>> from cconv.plot import summary
    >>> print(summary([cconv.Conv2d(1, 6, 5, padding=2), cconv.MaxPool2d(2)], (1, 1, 28, 28)))
    layer      output          parameters  multiply-adds
    Conv2d     (1, 6, 28, 28)         156        117,600
    MaxPool2d  (1, 6, 14, 14)           0              0
    total                             156        117,600
    """
    x = np.zeros(tuple(input_size), np.float32)
    rows = [("layer", "output", "parameters", "multiply-adds")]
    totals = [0, 0]
    for layer in layers:
        before = x.shape
        x = layer(x)
        x = x[0] if isinstance(x, tuple) else x
        weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
        count = sum(a.size for a in (weight, bias) if a is not None)
        work = 0
        if weight is not None:
            turned = "Transpose" in type(layer).__name__
            # each input (transposed) or output meets one row of the weights
            work = prod(before if turned else x.shape) * prod(weight.shape[1:])
        name = getattr(layer, "__name__", type(layer).__name__)
        rows.append((name, str(x.shape), f"{count:,}", f"{work:,}"))
        totals = [totals[0] + count, totals[1] + work]
    rows.append(("total", "", f"{totals[0]:,}", f"{totals[1]:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
        for a, b, c, d in rows
    )
