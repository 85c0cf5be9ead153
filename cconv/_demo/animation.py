"""`python -m cconv animate`: a window that slides over a photograph's pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

import cconv

from .photo import LUMINANCE, check_output, load


def animate(options: Any) -> str:
    """`python -m cconv animate`: writes the picture and returns what to say about it.

    Raises
    ------
    DemoError, ValueError, OSError
        As `load`; for parameters that do not fit; if the file cannot be written.
    """
    from cconv import plot

    if options.kind == "receptive-field":
        return receptive_field(options)
    name, photo = load(options.image)
    grey = np.tensordot(LUMINANCE, photo[0], 1)
    small = cconv.adaptive_avg_pool2d(grey[None], options.size)[0]
    pixels = np.rint(9 * (small - small.min()) / max(float(np.ptp(small)), 1e-6))
    path = options.output or f"cconv-{options.kind}.gif"
    k, padding, dilation = options.kernel, options.padding, options.dilation
    if options.kind == "conv":
        # edges from left to right: -1 ... 1, the middle rows twice
        row = np.sign(np.arange(k) - (k - 1) / 2) if k > 1 else np.ones(1)
        middle = 1 + (np.arange(k) == k // 2)
        y = plot.animate_conv(
            pixels, np.outer(middle, row), path, options.stride or 1, padding, dilation
        )
    else:
        y = plot.animate_pool(pixels, k, path, options.stride, padding, dilation, kind=options.kind)
    sizes = f"{pixels.shape[0]} x {pixels.shape[1]} pixels -> {y.shape[0]} x {y.shape[1]}"
    return f"{name}: {sizes}, {y.size} steps: {path}"


def receptive_field(options: Any) -> str:
    """A PNG: as many convolutions as `options.layers`, all of one geometry."""
    from cconv import plot

    path = options.output or "cconv-receptive-field.png"
    check_output(path)
    layer = cconv.Conv2d(
        1, 1, options.kernel, options.stride or 1, options.padding, options.dilation, rng=0
    )
    figure, fields = plot.receptive_field([layer] * options.layers, (options.size, options.size))
    figure.savefig(path, dpi=80)
    last = fields[-1]
    sees = f"one output sees {last.size[0]} x {last.size[1]} pixels, jump {last.jump[0]}"
    return f"{options.layers} layers: {sees}: {path}"
