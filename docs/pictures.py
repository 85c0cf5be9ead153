"""The tutorial's pictures, drawn with cconv.plot when the site is built: python docs/pictures.py [FOLDER]"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import cconv
from cconv import plot

STEP = np.array(
    [
        [0, 0, 0, 9, 9, 9],
        [0, 0, 0, 9, 9, 9],
        [0, 0, 0, 9, 9, 9],
        [0, 0, 9, 9, 9, 9],
        [0, 9, 9, 9, 9, 9],
        [9, 9, 9, 9, 9, 9],
    ]
)
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
POOL = np.array([[7, 3, 5, 2], [8, 7, 1, 6], [4, 9, 3, 9], [0, 8, 4, 5]])


def photograph() -> np.ndarray:
    """matplotlib's sample portrait in grey, (1, 1, H, W)."""
    from matplotlib import cbook
    from PIL import Image

    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        grey = np.asarray(image.convert("L"), np.float32) / 255
    return cconv.avg_pool2d(grey[None, None], 2)


def filters(path: Path) -> None:
    """What four kernels see in a photograph."""
    bank = np.stack([np.ones((3, 3)) / 9, SOBEL, SOBEL.T, [[0, -1, 0], [-1, 4, -1], [0, -1, 0]]])
    x = photograph()
    maps = np.abs(cconv.conv2d(x, bank[:, None].astype(np.float32), padding="same"))[0]
    shown = np.concatenate([x[0], maps])
    shown /= shown.max((1, 2), keepdims=True)
    figure = plot.feature_maps(shown, columns=5)
    figure.suptitle("")
    figure.set_size_inches(12, 3.4)
    names = ("input", "average", "vertical edges", "horizontal edges", "points")
    for axes, name in zip(figure.axes, names, strict=True):
        axes.set_title(name)
    figure.savefig(path, dpi=90)


def training(path: Path) -> None:
    """Kernels and feature maps of a few epochs of `python -m cconv train`."""
    import contextlib
    import io
    import tempfile

    from cconv.__main__ import main

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        with contextlib.redirect_stdout(io.StringIO()):
            weights = str(Path(folder, "digits.npz"))
            code = main(["train", "--epochs", "12", "--weights", weights, "-o", str(path)])
    if code:
        raise RuntimeError(f"python -m cconv train ended with {code}")


DRAWN = {
    "conv.gif": lambda path: plot.animate_conv(STEP, SOBEL, path),
    "stride.gif": lambda path: plot.animate_conv(STEP, SOBEL, path, stride=2, padding=1, fps=1),
    "dilation.gif": lambda path: plot.animate_conv(STEP, SOBEL, path, dilation=2, fps=1),
    "maxpool.gif": lambda path: plot.animate_pool(POOL, 2, path, fps=1),
    "avgpool.gif": lambda path: plot.animate_pool(POOL, 2, path, kind="avg", fps=1),
    "filters.png": filters,
    "training.png": training,
}


def draw(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, function in DRAWN.items():
        if not (folder / name).exists():
            function(folder / name)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "pictures")
