"""`python -m cconv convert`, `run` and `profile`: trained networks from the command line."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

import cconv

from .networks import Network, NetworkError, Value

Array = Any


class DeployError(Exception):
    """What the user can put right, in one line."""


def convert(options: Namespace) -> str:
    """Read an ONNX model, write it as a saved network, and run neither."""
    say(f"reading {options.model}")
    start = time.perf_counter()
    network = opened(options.model)
    took = time.perf_counter() - start
    say(f"folded and fused into {len(network.graph.nodes)} nodes in {took:.1f} s")
    output = options.output or str(Path(options.model).with_suffix(".cconv"))
    try:
        network.save(output)
    except OSError as error:
        raise DeployError(f"{output} cannot be written ({error.strerror})") from None
    return f"wrote {output}, {os.path.getsize(output) / 1e6:.2f} MB"


def say(text: str) -> None:
    """Progress, which is not the result."""
    print(text, file=sys.stderr, flush=True)


def opened(path: str) -> Network:
    """A saved network, or an ONNX model."""
    try:
        if not path.endswith(".onnx"):
            return cconv.load_network(path)
        from .interop import onnx
    except ImportError as error:
        raise DeployError(str(error)) from None
    except NetworkError as error:
        raise DeployError(str(error)) from None
    except OSError as error:
        raise DeployError(f"{path} cannot be read ({error.strerror or error})") from None
    try:
        return onnx.load(path)
    except NetworkError as error:
        raise DeployError(f"{path}: {error}") from None
    except OSError as error:
        raise DeployError(f"{path} cannot be read ({error.strerror or error})") from None


def sizes_of(value: Value, given: str | None) -> tuple[int, ...]:
    """A whole shape for an input: the sizes that vary are 1, or as --shape says."""
    if given:
        try:
            return tuple(int(n) for n in given.split("x"))
        except ValueError:
            raise DeployError(f"--shape must be like 1x3x224x224, got {given!r}") from None
    if value.shape is None:
        raise DeployError(f"the input {value.name!r} says no shape: give one by --shape")
    spatial = len(value.shape) > 2
    return tuple(
        d if isinstance(d, int) else 224 if spatial and i > 1 else 1
        for i, d in enumerate(value.shape)
    )


def feeds(network: Network, options: Namespace) -> list[Array]:
    """The first input from the file, or random; the others zeros."""
    if not network.inputs:
        return []
    first, *others = network.inputs
    shape = sizes_of(first, options.shape)
    if getattr(options, "input", None):
        x = from_file(options, shape)
    else:
        x = np.random.default_rng(0).standard_normal(shape)
    result = [x.astype(first.dtype or "float32")]
    return result + [np.zeros(sizes_of(v, None), v.dtype or "float32") for v in others]


def from_file(options: Namespace, shape: tuple[int, ...]) -> Array:
    """An array of a .npy file, or a picture as (1, C, H, W)."""
    path = options.input
    try:
        if path.endswith(".npy"):
            return np.load(path, allow_pickle=False)
        return picture(path, shape, options)
    except OSError as error:
        raise DeployError(f"{path} cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise DeployError(f"{path}: {error}") from None


def picture(path: str, shape: tuple[int, ...], options: Namespace) -> Array:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise DeployError("pictures need Pillow: pip install cconv[demo]") from None
    if len(shape) != 4 or (shape[1] not in (1, 3) and shape[3] not in (1, 3)):
        raise DeployError(f"an input of shape {shape} takes no picture: give a .npy file")
    last = shape[1] not in (1, 3)
    channels, size = (shape[3], shape[1:3]) if last else (shape[1], shape[2:])
    try:
        with Image.open(path) as image:
            image = image.convert("L" if channels == 1 else "RGB").resize(size[::-1])
            x = np.asarray(image, np.float32).reshape(*size, channels)
    except UnidentifiedImageError:
        raise DeployError(f"{path} is no picture that Pillow knows") from None
    x = (x * options.scale - numbers("--mean", options.mean)) / numbers("--std", options.std)
    return (x if last else x.transpose(2, 0, 1))[None]


def numbers(option: str, text: str) -> Array:
    try:
        return np.array([float(part) for part in text.split(",")], np.float32)
    except ValueError:
        raise DeployError(
            f"{option} must be numbers like 0.5 or 0.5,0.4,0.4, got {text!r}"
        ) from None


def run(options: Namespace) -> str:
    """Run a network on a picture or an array, and return what came out as text."""
    network = opened(options.network)
    labels = None
    if options.labels:
        try:
            labels = Path(options.labels).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DeployError(f"{options.labels} cannot be read ({error})") from None
    try:
        results = network(*feeds(network, options))
    except (NetworkError, ValueError, TypeError, MemoryError) as error:
        raise DeployError(str(error) or type(error).__name__) from None
    results = results if isinstance(results, tuple) else (results,)
    if options.output:
        np.save(options.output, results[0])
    return "\n".join(
        described(value, y, options.top, labels)
        for value, y in zip(network.outputs, results, strict=True)
    )


def described(value: Value, y: Array, top: int, labels: list[str] | None) -> str:
    """One output: its largest numbers if it is a list of them, else its size and range."""
    head = f"{value.name}: {y.dtype} {y.shape}"
    if y.size == 0 or y.dtype.kind not in "iuf":
        return head
    if y.size != y.shape[-1]:
        return f"{head}, from {y.min():.6g} to {y.max():.6g}"
    flat = y.reshape(-1)
    lines = [head]
    for i in np.argsort(-flat, kind="stable")[:top].tolist():
        name = f"  {labels[i]}" if labels and i < len(labels) else ""
        lines.append(f"{i:6d}  {flat[i]:.6g}{name}")
    return "\n".join(lines)


def profile(options: Namespace) -> str:
    """Where the time goes."""
    network = opened(options.network)
    say(f"{len(network.graph.nodes)} nodes, {options.repeat} runs after an untimed one")
    try:
        return str(network.profile(*feeds(network, options), repeat=options.repeat))
    except (NetworkError, ValueError, TypeError, MemoryError) as error:
        raise DeployError(str(error) or type(error).__name__) from None
