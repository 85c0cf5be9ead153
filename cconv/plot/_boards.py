"""The boards of a moving picture: grids of numbers, whose cells are marked and revealed step by step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .._check import arrays
from ._figures import GREY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from .._typing import Array

MOST_FRAMES = 400


class Board:
    """A grid of numbers; `mark` frames some of its cells, `reveal` shows the first ones."""

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


def cells_of(
    output: tuple[int, int], kernel: Any, stride: Any, dilation: Any
) -> list[tuple[int, int]]:
    """The cells of the padded input that an output's window holds."""
    return [
        tuple(o * s + k * d for o, s, k, d in zip(output, stride, tap, dilation, strict=True))
        for tap in np.ndindex(*kernel)
    ]


def save(figure: Any, draw: Any, count: int, path: str | os.PathLike[str], fps: float) -> None:
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


def plane(name: str, value: ArrayLike) -> Array:
    a = arrays.array(name, "input", value)
    if a.ndim != 2 or a.size == 0:
        raise ValueError(f"{name}: input must have shape (H, W), got {a.shape}")
    return a.astype(np.float64)


def check_frames(name: str, count: int) -> None:
    if count > MOST_FRAMES:
        raise ValueError(
            f"{name}: {count} positions make too long a picture; at most {MOST_FRAMES}"
        )


def grey_padding(board: Board, shape: tuple[int, ...], before: Sequence[int]) -> None:
    from matplotlib.patches import Rectangle

    for (i, j), text in board.texts.items():
        if not all(b <= at < b + n for at, b, n in zip((i, j), before, shape, strict=True)):
            board.axes.add_patch(
                Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="white", edgecolor=GREY, hatch="//", lw=0.5)
            )  # fmt: skip
            text.set(color="#444444")
