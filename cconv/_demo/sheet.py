"""The contact sheet: rows of panels, each a title and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import cconv

from .photo import Array, DemoError


@dataclass
class Panel:
    """One picture of the sheet; `numbers` writes the values into the cells."""

    title: str
    picture: Array
    cmap: str = "gray"
    limits: tuple[float, float] = (0.0, 1.0)
    numbers: bool = False

    @property
    def aspect(self) -> float:
        """Height over width."""
        height, width = self.picture.shape[:2]
        return float(height / width)


@dataclass
class Row:
    """A row of the sheet."""

    heading: str
    panels: list[Panel]


def shape_of(array: Array) -> str:
    """`64 x 28 x 28` for (1, 64, 28, 28)."""
    return " × ".join(str(n) for n in array.shape[1:])


def colour(array: Array) -> Array:
    """(1, 3, H, W) as an (H, W, 3) picture."""
    result: Array = np.clip(array[0].transpose(1, 2, 0), 0, 1)
    return result


def spread(array: Array) -> Array:
    """One map with its 1st to 99th percentile spread over 0..1."""
    low, high = np.percentile(array, [1, 99])
    result: Array = np.clip((array - low) / max(float(high - low), 1e-12), 0, 1).astype(np.float32)
    return result


def mosaic(maps: Array, columns: int) -> Array:
    """The (C, H, W) maps side by side, `columns` a row; the gaps are NaN, which is drawn white."""
    C, H, W = maps.shape
    gap = max(1, min(H, W) // 24)
    rows = -(-C // columns)
    sheet = np.full((rows * (H + gap) - gap, columns * (W + gap) - gap), np.nan, np.float32)
    for i in range(C):
        top, left = i // columns * (H + gap), i % columns * (W + gap)
        sheet[top : top + H, left : left + W] = spread(maps[i])
    return sheet


def draw(name: str, rows: list[Row], path: str) -> None:
    """Write the contact sheet; lengths are in inches, the rows are as high as their pictures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side, gap, head, top = 3.1, 0.2, 1.0, 0.75  # head: a row's heading and its panels' titles
    columns = max(len(row.panels) for row in rows)
    heights = [max(side * min(1.0, panel.aspect) for panel in row.panels) for row in rows]
    width = columns * (side + gap) + gap
    height = top + sum(heights) + len(rows) * (head + gap)
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    config = cconv.show_config()
    title = f"cconv {cconv.__version__} on {name}   ({config['isa']}, threads: {config['threads']})"
    figure.text(0.5, 1 - 0.45 / height, title, ha="center", fontsize=17, fontweight="bold")
    y = height - top
    for row, picture in zip(rows, heights, strict=True):
        y -= head + picture
        heading = (y + picture + 0.68) / height
        figure.text(gap / width, heading, row.heading, fontsize=14, fontweight="bold")
        for i, panel in enumerate(row.panels):
            left = gap + i * (side + gap)
            box = (left / width, y / height, side / width, picture / height)
            draw_panel(figure.add_axes(box, anchor="N"), panel)
        y -= gap
    try:
        canvas.print_figure(path, format="png")
    except OSError as error:
        raise DemoError(f"{path}: cannot be written: {error.strerror or error}") from None


def draw_panel(axes: Any, panel: Panel) -> None:
    """Draw one picture, its title and, if asked for, its values."""
    low, high = panel.limits
    small = max(panel.picture.shape[:2]) < 200  # keep such pixels square and sharp
    axes.imshow(
        panel.picture,
        cmap=panel.cmap,
        vmin=low,
        vmax=high,
        interpolation="nearest" if small else "antialiased",
    )
    axes.set_title(panel.title, fontsize=11)
    axes.set_axis_off()
    if panel.numbers:
        for (i, j), value in np.ndenumerate(panel.picture):
            ink = "black" if value > (low + high) / 2 else "white"
            axes.text(j, i, f"{value:g}", ha="center", va="center", fontsize=13, color=ink)
