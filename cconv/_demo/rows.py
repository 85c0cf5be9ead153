"""The rows of the sheet: each runs some layers, prints shapes and times, and returns pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import cconv

from .photo import LUMINANCE, Array
from .sheet import Panel, Row, colour, mosaic, shape_of, spread


def timed(label: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call, print the shapes and the best time of three, and return the result."""
    best = float("inf")
    for _ in range(4):  # the first one also plans
        start = time.perf_counter()
        result = function(*args, **kwargs)
        best = min(best, time.perf_counter() - start)
    shapes = f"{tuple(args[0].shape)} -> {tuple(result.shape)}"
    print(f"  {label:<44} {shapes:<44} {1e3 * best:8.3f} ms")
    return result


def shapes(photo: Array, grey: Array) -> Row:
    """The two shape examples: padding 1 keeps the size, padding 0 costs a border; then a pool."""
    side = min(grey.shape[2:])
    top, left = ((n - side) // 2 for n in grey.shape[2:])
    square = grey[..., top : top + side, left : left + side]
    x = timed("adaptive_avg_pool2d(x, 28)", cconv.adaptive_avg_pool2d, square, 28)
    same = cconv.Conv2d(1, 64, 3, padding=1, rng=0)
    bare = cconv.Conv2d(1, 64, 3, padding=0, rng=0)
    pool = cconv.MaxPool2d(2, 2)
    y = timed("Conv2d(1, 64, 3, padding=1)", same, x)
    p = timed("then MaxPool2d(2, 2)", pool, y)
    z = timed("Conv2d(1, 64, 3, padding=0)", bare, x)
    return Row(
        "Shapes: padding 1 keeps the size, padding 0 costs a border, a pool halves it",
        [
            Panel(f"photograph\n{shape_of(photo)}", colour(photo)),
            Panel(f"input\n{shape_of(x)}", spread(x[0, 0])),
            Panel(f"Conv2d(1, 64, 3, padding=1)\n{shape_of(y)}", mosaic(y[0], 8), "viridis"),
            Panel(f"→ then MaxPool2d(2, 2)\n{shape_of(p)}", mosaic(p[0], 8), "viridis"),
            Panel(f"Conv2d(1, 64, 3, padding=0)\n{shape_of(z)}", mosaic(z[0], 8), "viridis"),
        ],
    )


def filters(photo: Array, grey: Array) -> Row:
    """Blur, sharpen and edges: fixed kernels through conv2d."""
    t = np.arange(-7, 8, dtype=np.float32)
    bell = np.exp(-0.5 * (t / 3) ** 2)
    bell /= bell.sum()
    blur = np.outer(bell, bell)
    sharpen = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32)
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)

    def each_colour(label: str, kernel: Array) -> Array:
        weight = np.repeat(kernel[np.newaxis, np.newaxis], 3, axis=0)
        result: Array = timed(
            label, cconv.conv2d, photo, weight, padding="same", groups=3, padding_mode="replicate"
        )
        return result

    blurred = each_colour("conv2d: 15x15 Gaussian, groups=3", blur)
    sharp = each_colour("conv2d: sharpen, groups=3", sharpen)
    edges = timed(
        "conv2d: Sobel, two filters",
        cconv.conv2d,
        grey,
        np.stack([sobel, sobel.T])[:, np.newaxis],
        padding="same",
        padding_mode="replicate",
    )
    limit = float(np.percentile(np.abs(edges), 99.5)) or 1.0
    strength = np.hypot(edges[0, 0], edges[0, 1])
    return Row(
        "Filters: fixed kernels through conv2d",
        [
            Panel("blur\n15 × 15 Gaussian", colour(blurred)),
            Panel("sharpen\n3 × 3", colour(sharp)),
            Panel(
                "Sobel, left to right\nbrighter: red, darker: blue",
                edges[0, 0],
                "RdBu_r",
                (-limit, limit),
            ),
            Panel(
                "Sobel, top to bottom\nbrighter: red, darker: blue",
                edges[0, 1],
                "RdBu_r",
                (-limit, limit),
            ),
            Panel("edge strength\nlength of the two", spread(strength), "gray_r"),
        ],
    )


def pooling(photo: Array, grey: Array) -> Row:
    """The pooling example, then the whole photograph."""
    H, W = grey.shape[2:]
    tile = np.array([[[[7, 3, 5, 2], [8, 7, 1, 6], [4, 9, 3, 9], [0, 8, 4, 5]]]])
    most = timed("max_pool2d(x, 2)", cconv.max_pool2d, tile, 2)
    mean = timed("avg_pool2d(x, 2)", cconv.avg_pool2d, tile, 2)
    window = max(2, min(H, W) // 40)
    brightest = timed(f"max_pool2d(photo, {window})", cconv.max_pool2d, photo, window)
    average = timed(f"avg_pool2d(photo, {window})", cconv.avg_pool2d, photo, window)
    for name, array in (("input", tile), ("max", most), ("average", mean)):
        rows = [" ".join(f"{value:6g}" for value in line) for line in array[0, 0]]
        print(*(f"    {name if i == 0 else '':<8}{row}" for i, row in enumerate(rows)), sep="\n")
    grid: dict[str, Any] = {"limits": (0, 9), "numbers": True}
    return Row(
        "Pooling: the largest or the average of each window",
        [
            Panel("16 values\n4 × 4", tile[0, 0], **grid),
            Panel("max_pool2d(x, 2)\n2 × 2", most[0, 0], **grid),
            Panel("avg_pool2d(x, 2)\n2 × 2", mean[0, 0], **grid),
            Panel(f"max_pool2d(photo, {window})\n{shape_of(brightest)}", colour(brightest)),
            Panel(f"avg_pool2d(photo, {window})\n{shape_of(average)}", colour(average)),
        ],
    )


def gabor_bank() -> Array:
    """Four orientations, edge and line: weights (8, 3, 9, 9) on the luminance."""
    v, u = np.mgrid[-4:5, -4:5].astype(np.float32)
    bank = []
    for phase in (np.pi / 2, 0):  # edges, lines
        for angle in np.arange(4) * np.pi / 4:
            along = u * np.cos(angle) + v * np.sin(angle)
            wave = np.exp(-(u**2 + v**2) / 8) * np.cos(2 * np.pi * along / 6 + phase)
            bank.append(wave - wave.mean())
    weight = np.stack(bank)[:, np.newaxis] * LUMINANCE[:, np.newaxis, np.newaxis]
    return np.ascontiguousarray(weight, np.float32)


def stack(photo: Array) -> Row:
    """conv -> max pool -> conv -> average pool: maps that grow coarser and more abstract."""
    mix = np.random.default_rng(5).normal(size=(8, 8, 5, 5)).astype(np.float32)
    mix -= mix.mean(axis=(1, 2, 3), keepdims=True)

    def relu(array: Array) -> Array:
        return np.maximum(array, 0)

    one = relu(timed("conv2d: 8 Gabor filters, 9x9", cconv.conv2d, photo, gabor_bank(), padding=4))
    two = timed("max_pool2d(x, 4)", cconv.max_pool2d, one, 4)
    three = relu(timed("conv2d: 8 mixtures, 5x5", cconv.conv2d, two, mix, padding=2))
    four = timed("avg_pool2d(x, 4)", cconv.avg_pool2d, three, 4)
    steps = {
        "conv2d 9 × 9, ReLU": one,
        "max_pool2d 4": two,
        "conv2d 5 × 5, ReLU": three,
        "avg_pool2d 4": four,
    }
    panels = [Panel(f"photograph\n{shape_of(photo)}", colour(photo))]
    for title, maps in steps.items():
        panels.append(Panel(f"→ {title}\n{shape_of(maps)}", mosaic(maps[0, :4], 2), "magma"))
    return Row("Two stages: the maps grow coarser (four of eight are shown)", panels)
