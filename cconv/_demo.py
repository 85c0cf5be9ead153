"""`python -m cconv demo`: a photograph through filters, pools and a small network.

Each step returns one row of the contact sheet. A panel of it is a title and a picture: what cconv
returned, moved to (H, W) or (H, W, 3).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cconv

Array = NDArray[np.float32]

LONG_SIDE = 1024  # pixels; larger photographs are averaged down
SHORT_SIDE = 32  # pixels; the small network pools by 4 twice
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601


class DemoError(Exception):
    """What went wrong, as the one line that the user reads."""


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


# ---------------------------------------------------------------- the photograph


def load(path: str | None) -> tuple[str, Array]:
    """Read a photograph.

    Returns
    -------
    name : str
        The file's name.
    photo : ndarray, shape (1, 3, H, W)
        Red, green and blue in 0..1.

    Raises
    ------
    DemoError
        No such file, not an image, or an extra that is not installed.
    """
    try:
        import matplotlib  # noqa: F401  draws the sheet; better missed now than after the work
        from matplotlib import cbook
        from PIL import Image, ImageOps
    except ImportError as error:
        raise DemoError(
            f"the demo needs {error.name or 'matplotlib and pillow'}: pip install 'cconv[demo]'"
        ) from None
    if path is None:
        path = str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    try:
        with Image.open(path) as image:
            pixels = rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise DemoError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DemoError(f"{path}: is a directory, not an image") from None
    except PermissionError:
        raise DemoError(f"{path}: permission denied") from None
    except Image.UnidentifiedImageError:
        raise DemoError(f"{path}: not an image that Pillow can read") from None
    except Exception as error:  # Pillow's decoders raise what they like on a damaged file
        raise DemoError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    photo = pixels.transpose(2, 0, 1)[np.newaxis]
    H, W = photo.shape[2:]
    scale = min(1.0, LONG_SIDE / max(H, W))
    size = (round(H * scale), round(W * scale))
    if min(size) < SHORT_SIDE:
        raise DemoError(
            f"{path}: {W}x{H} pixels is too small or too narrow, the demo needs {SHORT_SIDE} each "
            f"way when the longer side is at most {LONG_SIDE}"
        )
    if size != (H, W):
        photo = cconv.adaptive_avg_pool2d(photo, size)
    return os.path.basename(path), np.ascontiguousarray(photo)


def rgb(image: Any) -> Array:
    """Pillow's image as (H, W, 3) in 0..1; transparent parts become white."""
    if image.mode[0] in "IF":  # 16-bit, 32-bit and float grey values: convert() would clip them
        grey: Array = np.asarray(image, np.float32)
        grey = grey - grey.min()
        grey /= max(float(grey.max()), 1e-12)
        return np.repeat(grey[..., np.newaxis], 3, axis=2)
    rgba: Array = np.asarray(image.convert("RGBA"), np.float32) / np.float32(255)
    alpha = rgba[..., 3:]
    return rgba[..., :3] * alpha + (1 - alpha)


def check_output(path: str) -> None:
    """Refuse an unusable output path before the work."""
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise DemoError(f"{path}: is a directory, -o takes the name of the PNG to write")
    if not os.path.isdir(folder):
        raise DemoError(f"{path}: there is no folder {folder}")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise DemoError(f"{path}: permission denied")


# ---------------------------------------------------------------- helpers


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


# ---------------------------------------------------------------- the rows


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


# ---------------------------------------------------------------- the sheet


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


# ---------------------------------------------------------------- moving pictures


def animate(options: Any) -> str:
    """`python -m cconv animate`: writes the picture and returns what to say about it.

    Raises
    ------
    DemoError, ValueError, OSError
        As `load`; for parameters that do not fit; if the file cannot be written.
    """
    from cconv import plot

    if options.kind == "receptive-field":
        return _receptive_field(options)
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


def _receptive_field(options: Any) -> str:
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
