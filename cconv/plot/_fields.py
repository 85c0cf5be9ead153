"""The receptive field of a stack of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._check import params
from ._figures import OKABE_ITO, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Field:
    """
    What one output of the first layers sees of their input, per axis.

    Output i sees the inputs `start` + i * `jump` to `start` + i * `jump` + `size` - 1; those below 0, and those after
    the input's end, are padding.
    """

    name: str
    size: tuple[int, ...]
    jump: tuple[int, ...]
    start: tuple[int, ...]


def fields(layers: Sequence[Any], rank: int = 2) -> list[Field]:
    """One Field after each layer, by ``size += (k - 1) * dilation * jump`` and ``jump *= stride``."""
    size, jump, start = (1,) * rank, (1,) * rank, (0,) * rank
    result = []
    for layer in layers:
        name = getattr(layer, "__name__", type(layer).__name__)
        turned = "Transpose" in name or "Unpool" in name or hasattr(layer, "output_size")
        if turned or getattr(layer, "rank", rank) != rank:
            raise ValueError(
                f"receptive_field: layers must be convolutions, pools with a window or elementwise "
                f"functions of {rank} axes, got {name}"
            )
        if hasattr(layer, "kernel_size"):
            what = "receptive_field"
            k = params.axes(what, "kernel_size", layer.kernel_size, rank, 1)
            s = params.axes(what, "stride", layer.stride, rank, 1)
            d = params.axes(what, "dilation", getattr(layer, "dilation", 1), rank, 1)
            padding = getattr(layer, "padding", 0)
            before, _ = params.conv_padding(what, padding, rank, s, d, k)
            start = tuple(a - p * j for a, p, j in zip(start, before, jump, strict=True))
            size = tuple(r + (n - 1) * e * j for r, n, e, j in zip(size, k, d, jump, strict=True))
            jump = tuple(j * n for j, n in zip(jump, s, strict=True))
        result.append(Field(name, size, jump, start))
    return result


def draw(figure: Any, found: Sequence[Field], shape: tuple[int, int], place: Sequence[int]) -> None:
    """The input's grid, and on it the field of the last layer's output `place`, layer by layer from the output."""
    from matplotlib.patches import Rectangle

    axes = figure.subplots()
    H, W = shape
    axes.add_patch(Rectangle((-0.5, -0.5), W, H, facecolor="#EEEEEE", edgecolor="black", lw=1.5))
    last = found[-1]
    geometry = zip(last.start, place, last.jump, last.size, strict=True)
    centre = [a + i * j + (r - 1) / 2 for a, i, j, r in geometry]
    low, high = [-0.5, -0.5], [H - 0.5, W - 0.5]
    for index in reversed(range(len(found))):
        field, color = found[index], OKABE_ITO[index % len(OKABE_ITO)]
        corner = [c - r / 2 for c, r in zip(centre, field.size, strict=True)]
        low = [min(a, b) for a, b in zip(low, corner, strict=True)]
        high = [max(a, b + r) for a, b, r in zip(high, corner, field.size, strict=True)]
        axes.add_patch(
            Rectangle(
                (corner[1], corner[0]), field.size[1], field.size[0], facecolor=color, alpha=0.25
            )
        )
        label = f"{index + 1} {field.name}: {field.size[0]} x {field.size[1]}, jump {field.jump[0]} x {field.jump[1]}"
        axes.add_patch(
            Rectangle(
                (corner[1], corner[0]), field.size[1], field.size[0],
                fill=False, edgecolor=color, lw=2.5, label=label,
            )
        )  # fmt: skip
    for i in range(1, H):
        axes.plot([-0.5, W - 0.5], [i - 0.5, i - 0.5], color="white", lw=0.6, zorder=0.9)
    for j in range(1, W):
        axes.plot([j - 0.5, j - 0.5], [-0.5, H - 0.5], color="white", lw=0.6, zorder=0.9)
    axes.set(xlim=(low[1] - 0.5, high[1] + 0.5), ylim=(high[0] + 0.5, low[0] - 0.5), aspect="equal")
    axes.set_xlabel("input columns; what is outside of the grey is padding")
    axes.set_ylabel("input rows")
    axes.set_title(f"what output ({place[0]}, {place[1]}) of {len(found)} layers sees", fontsize=11)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", fontsize=9)


def receptive_field(
    layers: Sequence[Any], input_size: Sequence[int], place: Sequence[int] | None = None
) -> tuple[Any, list[Field]]:
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
    found = fields(layers)
    shape = (int(input_size[-2]), int(input_size[-1]))
    last = found[-1]
    if place is None:
        place = [
            max(0, round(((L - 1) / 2 - a - (r - 1) / 2) / j))
            for L, a, r, j in zip(shape, last.start, last.size, last.jump, strict=True)
        ]
    figure = new_figure(7, 7.5 + 0.2 * len(found))
    draw(figure, found, shape, place)
    return figure, found
