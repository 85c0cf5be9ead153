"""A network's table."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


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
