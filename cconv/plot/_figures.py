"""Figures of their own, colours and scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._typing import Array

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
BLUE, ORANGE = OKABE_ITO[:2]
GREY = "#BBBBBB"


def new_figure(width: float, height: float) -> Any:
    """A figure of its own, without pyplot's global ones."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "cconv.plot needs matplotlib and pillow: pip install cconv[plot]", name="matplotlib"
        ) from error

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def limits(values: Array) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 1, high + 1)
