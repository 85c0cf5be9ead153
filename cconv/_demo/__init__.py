"""`python -m cconv demo`: a photograph through filters, pools and a small network, and `python -m cconv animate`."""

from __future__ import annotations

from collections.abc import Callable

import cconv

from .animation import animate
from .photo import LUMINANCE, DemoError, check_output, load
from .rows import filters, pooling, shapes, stack
from .sheet import Row, draw

__all__ = ["DemoError", "animate", "run"]


def run(image: str | None, output: str) -> None:
    """Run the demo.

    Parameters
    ----------
    image : str or None
        Path of a photograph; None takes the one that matplotlib ships.
    output : str
        Path of the PNG to write.

    Raises
    ------
    DemoError
        One line that names the path and the trouble.
    """
    check_output(output)
    name, photo = load(image)
    grey = cconv.conv2d(photo, LUMINANCE.reshape(1, 3, 1, 1))
    print(f"{name}: {photo.shape[3]} x {photo.shape[2]} pixels, as an array {photo.shape}")
    steps: dict[str, Callable[[], Row]] = {
        "Shapes": lambda: shapes(photo, grey),
        "Filters": lambda: filters(photo, grey),
        "Pooling": lambda: pooling(photo, grey),
        "Two stages": lambda: stack(photo),
    }
    rows = []
    for heading, step in steps.items():
        print(heading)
        rows.append(step())
    draw(name, rows, output)
    print(f"wrote {output}")
