"""The photograph: read, checked, made small enough."""

from __future__ import annotations

import os
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
