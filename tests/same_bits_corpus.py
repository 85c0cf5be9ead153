"""
The bits of 2,000 random calls, one digest each, to be compared with those of another build.

    python -P tests/same_bits_corpus.py record FILE [--isa ISA] [--threads N] [--calls 2000] [--seed 0]
    python -P tests/same_bits_corpus.py compare FILE [--threads N] [--first 0] [--calls 2000] [--verbose]
    python -P tests/same_bits_corpus.py show NUMBER [--isa ISA] [--save FILE.npz]      one call, its results to look at

`compare` lists the calls that differ and exits with 1 if there are any; with --verbose it prints each before it is
made, which names the one that crashes. PYTHONPATH says whose bits: PYTHONPATH=TREE for one that is built in place.
Only public functions are called, so that two builds need to have nothing else in common; compare with the same copy of
this folder, the same NumPy and the same instruction set. Every call has its own random numbers. It is made twice, for
the second one finds what the first has planned. A digest is of dtype, shape and bytes (one NaN is as good as another),
of an error its type and its sentence.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import os
import re
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    if "--isa" in sys.argv:  # it is chosen at import
        os.environ["CCONV_ISA"] = sys.argv[sys.argv.index("--isa") + 1]
    elif "compare" in sys.argv[1:2]:
        os.environ["CCONV_ISA"] = json.loads(Path(sys.argv[2]).read_text())["isa"]

import numpy as np
from drawn import Call, draw
from fuzz.decode import Reader, lay
from fuzz.fuzz_calls import decode, run

import cconv
from cconv import grad

DTYPES = ("f4", "f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16")
REAL = ("f4", "f4", "f4", *(t for t in DTYPES if t[0] != "c"))
ERRORS = (TypeError, ValueError, MemoryError, OverflowError, RuntimeError)


class Made(NamedTuple):
    """A random call, ready to be made: `make(out)` gives an array or several."""

    text: str
    inputs: list[Any]  # what it reads, for the digest of the draw
    make: Any
    outs: list[Any]  # for each time that it is made


# ---------------------------------------------------------------- tiny calls, valid or not, in all forms


def tiny(rng) -> Made:
    """From the fuzzer: layouts, lists, refused arguments, outputs on top of inputs."""
    call, _ = decode(rng.bytes(int(rng.integers(8, 96))))
    arrays = [v for v in call.kwargs.values() if isinstance(v, np.ndarray) and v.dtype != object]
    return Made(repr(call), arrays, lambda out: run(call), [None])


# ---------------------------------------------------------------- small calls of every function


def small(rng) -> Made:
    return formed(rng, draw(rng, DTYPES)[0])


def formed(rng, call: Call) -> Made:
    """Its arrays sometimes lie otherwise, and so does its `out`."""
    text, arrays = call.text, list(call.arrays)
    if rng.random() < 0.5:
        reader = Reader(bytes(len(arrays)) if rng.random() < 0.2 else rng.bytes(40))
        arrays = [lay(reader, a, a.size < 10**5) for a in arrays]
        text += f", {[getattr(a, 'strides', 'list') for a in arrays]}"
    if not call.out or rng.random() < 0.6:
        return Made(text, arrays, lambda out: call.run(*arrays), [None, None])
    try:
        y = call.run(*arrays)
    except ERRORS:  # refused: that is the outcome
        return Made(text, arrays, lambda out: call.run(*arrays), [None, None])
    y = y[0] if isinstance(y, tuple) else y
    reader = Reader(rng.bytes(20))
    outs = []
    for _ in range(2):
        out = lay(reader, np.full(y.shape, 5, y.dtype), False)
        outs.append(out if out.dtype == y.dtype and out.dtype.isnative else np.zeros_like(y))
    text += f", out={[o.strides for o in outs]}"
    return Made(text, arrays, lambda out: call.run(*arrays, out=out), outs)


# ---------------------------------------------------------------- large calls: threads, blocks, every algorithm


def among(rng, *numbers) -> int:
    return int(rng.choice(numbers))


def shapes(rng, kind: str):
    """(N, C, O, groups, size, kernel, stride, dilation) of a convolution of this kind; C and O of one group."""
    n, near = among(rng, 1, 1, 2, 5), int(rng.integers(14, 58))
    few, many = among(rng, 1, 2, 3), among(rng, 16, 24, 32, 47, 64, 96)
    k, s = among(rng, 2, 3, 3, 5), among(rng, 2, 2, 3, 4)
    return {
        "dense": (n, many, among(rng, 16, 33, 64), 1, (near, near + 3), (3, 3), 1, 1),
        "wide": (n, among(rng, 128, 192), 128, 1, (14, 15), (3, 3), 1, 1),
        "strided": (n, many, among(rng, 8, 40), 1, (near, near), (k, k), s, 1),
        "pointwise": (n, 4 * many, among(rng, 32, 129), 1, (near // 2, near), (1, 1), 1, 1),
        "skipped": (n, many, 48, 1, (near, near), (1, 1), 2, 1),
        "depthwise": (n, 1, among(rng, 1, 1, 2), many, (near, 2 * near), (k, k), among(rng, 1, 2), 1),
        "grouped": (n, among(rng, 4, 8), 8, among(rng, 3, 16), (near, near), (3, 3), 1, 1),
        "few": (n, few, among(rng, 6, 64), 1, (3 * near, 4 * near), (k, k), among(rng, 1, 1, 2), 1),
        "dilated": (n, many, 32, 1, (near, near), (3, 3), 1, among(rng, 2, 4)),
        "image": (1, 1, 1, few, (200 + near, 300), (among(rng, 7, 15), 15), 1, 1),
        "large kernel": (1, 1, 1, few, (150 + near, 170), (among(rng, 31, 63), 41), 1, 1),
        "speech": (n, many, 32, 1, (40 * near,), (among(rng, 3, 3, 9),), 1, among(rng, 1, 1, 16)),
        "ecg": (n, 16, 24, 1, (40 * near,), (16,), among(rng, 2, 8), 1),
        "spectrogram": (1, 1, among(rng, 8, 80), 1, (2000 * near,), (400,), among(rng, 10, 160), 1),
        "filter": (1, 1, 1, few, (1000 * near,), (among(rng, 31, 101, 1001),), 1, 1),
        "far lines": (1, 1, among(rng, 1, 16), 1, (150, 3000), (3, 2), 1, 70),
        "video": (n, among(rng, 1, 8, 32), 16, 1, (6, near // 2, near), (3, 3, 3), among(rng, 1, 1, 2), 1),
        "flat video": (1, 16, 16, 1, (8, near, near), (1, 3, 3), 1, 1),
    }[kind]  # fmt: skip


KINDS = (
    "dense", "dense", "wide", "strided", "pointwise", "skipped", "depthwise", "grouped", "few", "dilated", "image",
    "large kernel", "speech", "ecg", "spectrogram", "filter", "far lines", "video", "flat video",
)  # fmt: skip


def numbers(rng, shape, dtype):
    """Standard-normal; integers small, or so large that sums do not fit floats; infinities and NaN at times."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        most = min(np.iinfo(dtype).max, among(rng, 5, 100, 2**31, 2**62))
        return rng.integers(0 if dtype.kind == "u" else -most, most, shape, dtype, endpoint=True)
    a = rng.standard_normal(shape, np.float32)
    if dtype.kind == "c":
        return (a + 1j * rng.standard_normal(shape, np.float32)).astype(dtype)
    if dtype.itemsize == 8:
        a = a + rng.standard_normal(shape, np.float32) * 1e-8
    a = a.astype(dtype)
    if a.size and rng.random() < 0.05:
        a.flat[int(rng.integers(a.size))] = rng.choice([np.nan, np.inf, -np.inf])
    return a


def element_types(rng):
    """Of input and weight: mostly one."""
    if rng.random() < 0.12:
        return [
            ("f4", "f8"),
            ("f2", "f4"),
            ("i4", "f4"),
            ("c8", "f4"),
            ("i1", "i4"),
            (">f4", "f4"),
        ][int(rng.integers(6))]
    dtype = str(rng.choice(("f4", "f4", "f4", "f4", *DTYPES)))
    return dtype, dtype


def padded(rng, kernel, dilation):
    """An int an axis, pairs, "same", or none."""
    form = int(rng.integers(4))
    if form == 0:
        return 0
    if form == 1:
        return "same"
    if form == 2:
        return tuple(dilation * (k - 1) // 2 for k in kernel)
    return tuple((int(rng.integers(0, k)), int(rng.integers(0, k))) for k in kernel)


def conv_arrays(rng, drawn, transposed):
    n, c, o, groups, size, kernel, _, _ = drawn
    first, second = (c * groups, o) if transposed else (o * groups, c)
    dtype, other = element_types(rng)
    x = numbers(rng, (n, c * groups, *size), dtype)
    w, b = numbers(rng, (first, second, *kernel), other), numbers(rng, o * groups, other)
    return x, w, b if rng.random() < 0.6 else None


def large_conv(rng) -> Call:
    """Plain, forced algorithms or prepacked."""
    kind = str(rng.choice(KINDS))
    drawn = shapes(rng, kind)
    _, _, _, groups, _, kernel, stride, dilation = drawn
    name = f"conv{len(kernel)}d"
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    options["padding"] = padded(rng, kernel, dilation)
    if rng.random() < 0.25:
        options["padding_mode"] = str(rng.choice(["reflect", "replicate", "circular"]))
    if rng.random() < 0.2:
        options["algorithm"] = str(rng.choice(["direct", "winograd", "fft"]))
    x, w, b = conv_arrays(rng, drawn, False)
    text = f"large {kind}: {name} of {x.shape} {x.dtype} by {w.shape} {w.dtype}, {options}"
    return conv_call(rng, name, (x, w, b), options, text)


def conv_call(rng, name, arrays, options, text) -> Call:
    x, w, b = arrays
    function = getattr(cconv, name)
    if rng.random() < 0.3 and "algorithm" not in options:
        packed = cconv.prepack(w, b, transposed="transpose" in name, **options)
        return Call("prepacked " + text, lambda x, out=None: packed(x, out=out), [x], True, ())
    if b is None:
        return Call(
            text, lambda x, w, out=None: function(x, w, out=out, **options), [x, w], True, ()
        )
    return Call(
        text, lambda x, w, b, out=None: function(x, w, b, out=out, **options), [x, w, b], True, ()
    )


def large_transposed(rng) -> Call:
    """Strides of 1 to 4, and in 1-D up to 200: phases, interleaved by the kernel or not."""
    kind = str(rng.choice(["dense", "strided", "ecg", "speech", "video", "grouped"]))
    n, c, o, groups, size, kernel, _, _ = shapes(rng, kind)
    rank = len(size)
    most = {1: (1, 2, 4, 8, 9, 100), 2: (1, 2, 2, 3, 4), 3: (1, 2)}[rank]
    size = tuple(max(4, m // {1: 4, 2: 2, 3: 2}[rank]) for m in size)
    stride = tuple(among(rng, *most) for _ in size)
    if stride[0] > 8:
        n, size = 1, (max(4, size[0] // 8),)
    if rank == 1 and rng.random() < 0.5:
        kernel = (2 * stride[0],)
    elif rng.random() < 0.6:
        kernel = tuple(among(rng, 2, 3, 4, 5) for _ in size)
    options = {"stride": stride, "groups": groups}
    options["padding"] = tuple(int(rng.integers(0, k)) for k in kernel)
    if rng.random() < 0.2:
        options["dilation"] = 2
    if rng.random() < 0.3:
        options["output_padding"] = tuple(int(rng.integers(0, s)) for s in stride)
    if rng.random() < 0.2:
        options["algorithm"] = str(rng.choice(["direct", "winograd"]))
    name = f"conv_transpose{rank}d"
    x, w, b = conv_arrays(rng, (n, c, o, groups, size, kernel, None, None), True)
    text = f"large {kind}: {name} of {x.shape} {x.dtype} by {w.shape} {w.dtype}, {options}"
    return conv_call(rng, name, (x, w, b), options, text)


def large_conv_gradient(rng) -> Call:
    """By input, weight and bias; by the input of long-strided ones, stacked."""
    transposed = rng.random() < 0.25
    kinds = ("speech", "ecg", "ecg", "strided") if transposed else (*KINDS, *["spectrogram"] * 4)
    kind = str(rng.choice(kinds))
    drawn = shapes(rng, kind)
    _, c, o, groups, size, kernel, stride, dilation = drawn
    rank = len(size)
    name = f"conv{'_transpose' * transposed}{rank}d"
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    options["padding"] = tuple(int(rng.integers(0, (k + 1) // 2)) for k in kernel)
    if not transposed and rng.random() < 0.2:
        options["padding_mode"] = str(rng.choice(["reflect", "replicate", "circular"]))
    dtype = str(rng.choice(["f4", "f4", "f4", "f8", "f2"]))
    n = drawn[0]
    first, second = (c * groups, o) if transposed else (o * groups, c)
    x, w = (
        numbers(rng, (n, c * groups, *size), dtype),
        numbers(rng, (first, second, *kernel), dtype),
    )
    gy = numbers(rng, getattr(cconv, name)(x, w, **options).shape, dtype)
    of = str(rng.choice(["input", "input", "weight", "weight", "bias"]))
    function = getattr(grad, f"{name}_{of}")
    text = f"large {kind}: {name}_{of}, {x.shape} {x.dtype} by {w.shape}, {options}"
    if of == "bias":
        return Call(text, lambda gy, out=None: function(gy, out=out), [gy], True, ())
    if of == "input":
        return Call(
            text,
            lambda w, gy, out=None: function(x.shape, w, gy, out=out, **options),
            [w, gy],
            True,
            (),
        )
    return Call(
        text,
        lambda x, gy, out=None: function(x, w.shape, gy, out=out, **options),
        [x, gy],
        True,
        (),
    )


def pool_shapes(rng):
    """(shape, kernel, stride) of a pool; large windows are doubled."""
    rank = among(rng, 1, 2, 2, 2, 3)
    n, c, near = among(rng, 1, 1, 3), among(rng, 1, 3, 17, 64), int(rng.integers(20, 90))
    size = {1: (150 * near,), 2: (near + 9, 2 * near), 3: (10, near // 2, near)}[rank]
    k = among(rng, 2, 2, 3, 3, 5, 13, 17 if rank < 3 else 3)
    kernel = tuple(min(k, m) for m in size) if rng.random() < 0.8 else (1,) * (rank - 1) + (k,)
    stride = among(rng, 1, 1, 2, 3, k)
    return (n, c, *size), kernel, stride


def large_pool(rng) -> Call:
    shape, kernel, stride = pool_shapes(rng)
    rank = len(kernel)
    kind = str(rng.choice(["max", "max", "avg", "avg", "lp"]))
    x = numbers(rng, shape, str(rng.choice((*REAL, "?"))))
    options = {"kernel_size": kernel, "stride": stride}
    options["ceil_mode"] = bool(rng.random() < 0.3)
    if rng.random() < 0.15:
        options["dilation"] = 2
    options["padding"] = tuple(int(rng.integers(0, (k + 1) // 2 + 1)) for k in kernel)
    if kind == "lp":
        options["norm_type"] = float(rng.choice([1, 2, 2, 3, 1.5, np.inf]))
    if kind == "avg":
        options["count_include_pad"] = bool(rng.random() < 0.5)
        if rng.random() < 0.2:
            options["divisor_override"] = among(rng, 1, 7, -2)
    if kind == "max" and rng.random() < 0.4:
        options["return_indices"] = True
    function = getattr(cconv, f"{kind}_pool{rank}d")
    text = f"large: {kind}_pool{rank}d of {x.shape} {x.dtype}, {options}"
    return Call(text, lambda x, out=None: function(x, out=out, **options), [x], True, ())


def large_adaptive(rng) -> Call:
    shape, kernel, _ = pool_shapes(rng)
    rank = len(kernel)
    size = tuple(among(rng, 1, 3, 7, 20) for _ in kernel)
    kind = str(rng.choice(["max", "avg"]))
    x = numbers(rng, shape, str(rng.choice(REAL)))
    function = getattr(cconv, f"adaptive_{kind}_pool{rank}d")
    options = {"return_indices": True} if kind == "max" and rng.random() < 0.5 else {}
    text = f"large: adaptive_{kind}_pool{rank}d of {x.shape} {x.dtype} to {size}, {options}"
    return Call(text, lambda x, out=None: function(x, size, out=out, **options), [x], True, ())


def large_pool_gradient(rng) -> Call:
    shape, kernel, stride = pool_shapes(rng)
    rank = len(kernel)
    kind = str(
        rng.choice(["max_pool", "avg_pool", "lp_pool", "adaptive_avg_pool", "adaptive_max_pool"])
    )
    x = numbers(rng, shape, str(rng.choice(["f4", "f4", "f8", "f2"])))
    options, more = {}, [tuple(among(rng, 1, 4, 9) for _ in kernel)]
    if not kind.startswith("adaptive"):
        options = {"stride": stride, "padding": tuple(k // 2 for k in kernel)}
        more = [2.0, kernel] if kind == "lp_pool" else [kernel]
    name = f"{kind}{rank}d"
    gy = numbers(rng, getattr(cconv, name)(x, *more, **options).shape, x.dtype)
    function = getattr(grad, name + "_input")
    by_size = "avg" in kind
    return Call(
        f"large: {name}_input of {x.shape} {x.dtype}, {more}, {options}",
        lambda x, gy, out=None: function(x.shape if by_size else x, gy, *more, out=out, **options),
        [x, gy],
        True,
        (),
    )


def large_layer(rng) -> Call:
    """A layer, forwards and backwards: four arrays."""
    kind = str(rng.choice(["dense", "strided", "depthwise", "few", "ecg", "video"]))
    n, c, o, groups, size, kernel, stride, dilation = shapes(rng, kind)
    transposed = bool(rng.random() < 0.3)
    make = getattr(cconv, f"Conv{'Transpose' * transposed}{len(size)}d")
    dtype = str(rng.choice(["f4", "f4", "f8", "f2"]))
    channels = c * groups, o * groups
    layer = make(
        *channels, kernel, stride, dilation=dilation, groups=groups, padding=1, dtype=dtype, rng=0
    )
    x = numbers(rng, (n, c * groups, *size), dtype)

    def both(x):
        y = layer(x)
        back = layer.backward(np.cos(y.astype(np.float64)).astype(y.dtype))
        return y, back, layer.weight_grad, layer.bias_grad, layer.prepack()(x)

    return Call(f"large {kind}: {layer} {dtype} of {x.shape}", both, [x], False, ())


LARGE = (
    large_conv, large_conv, large_conv, large_conv, large_transposed, large_transposed, large_conv_gradient,
    large_conv_gradient, large_pool, large_pool, large_adaptive, large_pool_gradient, large_layer,
)  # fmt: skip


def until_valid(rng, kinds) -> Call:
    while True:
        try:
            return kinds[int(rng.integers(len(kinds)))](rng)
        except (ValueError, TypeError):
            continue  # windows larger than the input, Winograd on integers, "same" with a transposed one


def large(rng) -> Made:
    return formed(rng, until_valid(rng, LARGE))


# ---------------------------------------------------------------- huge calls: arrays that are converted in pieces


def huge_conv(rng) -> Call:
    shape, kernel = [
        ((1, 1, 3_000_000), (5,)),
        ((7, 2, 300_000), (9,)),
        ((1, 2, 1100, 1300), (3, 3)),
        ((11, 3, 300, 310), (3, 3)),
        ((1, 1, 40, 250, 260), (2, 3, 3)),
        ((6, 16, 120, 121), (1, 1)),
    ][int(rng.integers(6))]
    dtype, other = [("f2", "f2"), ("c8", "c8"), ("i1", "i1"), ("f4", "f8"), (">f4", "f4"), ("u2", "i4")][
        int(rng.integers(6))
    ]  # fmt: skip
    rank = len(kernel)
    transposed = bool(rng.random() < 0.2)
    x = numbers(rng, shape, dtype)
    w = numbers(rng, (shape[1], 2, *kernel) if transposed else (2, shape[1], *kernel), other)
    options = {"padding": tuple(k // 2 for k in kernel), "stride": among(rng, 1, 1, 2)}
    if not transposed and rng.random() < 0.3:
        options["padding_mode"] = str(rng.choice(["reflect", "circular"]))
    name = f"conv{'_transpose' * transposed}{rank}d"
    text = f"huge: {name} of {shape} {x.dtype} by {w.shape} {w.dtype}, {options}"
    return conv_call(rng, name, (x, w, None), options, text)


def huge_far(rng) -> Call:
    """Taps so far apart that no slab holds two of them."""
    dtype = str(rng.choice(["f8", "f4", "i4"]))
    dilation = {"f8": 2_200_000}.get(dtype, 4_300_000)
    x = numbers(rng, (1, among(rng, 1, 2), dilation + 30_000), dtype)
    w = numbers(rng, (among(rng, 1, 2, 7), x.shape[1], 2), dtype)
    options = {"padding": among(rng, 0, 5), "stride": among(rng, 1, 1, 7), "dilation": dilation}
    gy = numbers(rng, cconv.conv1d(x, w, **options).shape, dtype)
    of = str(rng.choice(["", "", "_input", "_weight"])) if dtype[0] == "f" else ""
    text = f"huge far: conv1d{of} of {x.shape} {x.dtype} by {w.shape}, {options}"
    if not of:
        return conv_call(rng, "conv1d", (x, w, None), options, text)
    function, shape = getattr(grad, "conv1d" + of), x.shape if of == "_input" else w.shape
    if of == "_input":
        return Call(
            text,
            lambda w, gy, out=None: function(shape, w, gy, out=out, **options),
            [w, gy],
            True,
            (),
        )
    return Call(
        text, lambda x, gy, out=None: function(x, shape, gy, out=out, **options), [x, gy], True, ()
    )


def huge_pool(rng) -> Call:
    shape, kernel = [
        ((1, 1, 4_500_000), 5),
        ((2, 1, 700_000), 31),
        ((3, 4, 600, 610), 3),
        ((1, 2, 1500, 1400), 2),
        ((2, 3, 900_000), 2),
    ][int(rng.integers(5))]
    rank = len(shape) - 2
    kind = str(rng.choice(["max", "avg", "lp", "adaptive_avg", "adaptive_max"]))
    x = numbers(rng, shape, str(rng.choice(["f2", "i1", "u2", "f4", ">f4", "i8"])))
    options = {}
    if not kind.startswith("adaptive"):
        options = {"stride": among(rng, 1, 2, 3), "padding": kernel // 2}
    if kind == "max" and rng.random() < 0.5:
        options["return_indices"] = True
    function = getattr(cconv, f"{kind}_pool{rank}d")
    more = [3.0, kernel] if kind == "lp" else [kernel]
    text = f"huge: {kind}_pool{rank}d of {shape} {x.dtype}, {more}, {options}"
    return Call(text, lambda x, out=None: function(x, *more, out=out, **options), [x], True, ())


def huge_gradient(rng) -> Call:
    dtype = str(rng.choice(["f2", ">f4"]))
    shape = [(8, 4, 250, 260), (2, 2, 800_000)][int(rng.integers(2))]
    rank = len(shape) - 2
    x = numbers(rng, shape, dtype)
    if rng.random() < 0.5:
        gy = numbers(rng, shape, dtype)
        function = getattr(grad, f"avg_pool{rank}d_input")
        text = f"huge: {function.__name__} of {shape} {dtype}"
        return Call(
            text, lambda gy, out=None: function(shape, gy, 3, 1, 1, out=out), [gy], True, ()
        )
    w_shape = (3, shape[1], *(3,) * rank)
    gy = numbers(rng, (shape[0], 3, *shape[2:]), dtype)
    function = getattr(grad, f"conv{rank}d_weight")
    text = f"huge: {function.__name__} of {shape} {dtype}"
    return Call(
        text, lambda x, gy, out=None: function(x, w_shape, gy, 1, 1, out=out), [x, gy], True, ()
    )


HUGE = (huge_conv, huge_conv, huge_conv, huge_far, huge_pool, huge_pool, huge_gradient)


def huge(rng) -> Made:
    return formed(rng, until_valid(rng, HUGE))


# ---------------------------------------------------------------- digests


def made(seed: int, number: int) -> Made:
    """Of 50 calls 13 are tiny, 14 small, 19 large and 4 huge."""
    rng = np.random.default_rng([seed, number])
    at = number * 27 % 50
    return (tiny if at < 13 else small if at < 27 else large if at < 46 else huge)(rng)


def canonical(a: np.ndarray[Any, Any]) -> bytes:
    """The bytes of an array, NaN being NaN: its sign and payload are the compiler's choice."""
    a = np.ascontiguousarray(a)
    if a.dtype.kind == "c":
        a = a.view(a.real.dtype)
    if a.dtype.kind == "f" and np.isnan(a).any():
        a = np.where(np.isnan(a), a.dtype.type(np.nan), a)
    return a.tobytes()


def digest(arrays) -> str:
    """Dtype and shape of the first, and a hash of all."""
    state = hashlib.sha256()
    for a in arrays:
        state.update(f"{a.dtype.str} {a.shape}".encode())
        state.update(canonical(a))
    first = f"{arrays[0].dtype.str}{list(arrays[0].shape)} " if arrays else ""
    return first + state.hexdigest()[:20]


def results(call: Made, out):
    y = call.make(out)
    return list(y) if isinstance(y, tuple) else [y]


def sentence(error: BaseException) -> str:
    """Type and words; addresses and NumPy's words about memory left out."""
    if isinstance(error, MemoryError):
        return "MemoryError"
    return f"{type(error).__name__}: {re.sub('0x[0-9a-f]+', '0x', str(error))}"


def outcome(call: Made) -> str:
    found: list[str] = []
    for out in call.outs:
        try:
            found.append(digest(results(call, out)))
        except Exception as error:
            found.append(sentence(error))
    return " then ".join(dict.fromkeys(found))


def measure(seed: int, number: int) -> tuple[str, str, str]:
    """Text of a call, digest of what it reads, digest of what it gives."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call = made(seed, number)
        except Exception as error:  # shapes of gradients come from calls
            return "not drawn", "", sentence(error)
        arrays = [np.asarray(a) for a in call.inputs]
        reads = digest([a for a in arrays if a.dtype.kind not in "OSUMm"])
        return re.sub("0x[0-9a-f]+", "0x", call.text), reads, outcome(call)


def record(path: str, seed: int, calls: int) -> None:
    start, rows, slow = time.perf_counter(), [], (0.0, "")
    for number in range(calls):
        begin = time.perf_counter()
        rows.append(measure(seed, number))
        slow = max(slow, (time.perf_counter() - begin, rows[-1][0][:200]))
    about = {"isa": cconv.show_config()["isa"], "numpy": np.__version__, "seed": seed}
    Path(path).write_text(json.dumps({**about, "rows": rows}, indent=0))
    refused = sum("Error" in row[2] for row in rows)
    print(f"{calls} calls, {refused} refused, {about['isa']}, {time.perf_counter() - start:.0f} s")
    print(f"the slowest took {slow[0]:.1f} s: {slow[1]}")


def compare(path: str, first: int, calls: int, talk: bool) -> int:
    known = json.loads(Path(path).read_text())
    if known["isa"] != cconv.show_config()["isa"] or known["numpy"] != np.__version__:
        sys.exit(f"{path} is of {known['isa']} and NumPy {known['numpy']}")
    differ, rows = 0, list(enumerate(known["rows"]))[first : first + calls]
    for number, (text, reads, gives) in rows:
        if talk:
            print(number, text[:200], flush=True)
        now = measure(known["seed"], number)
        if now == (text, reads, gives):
            continue
        differ += 1
        what = "gives" if now[:2] == (text, reads) else "was DRAWN otherwise and gives"
        print(f"{number}: {text[:700]}\n  {what}\n  was {gives}\n  now {now[2]}", flush=True)
        if now[0] != text:
            print(f"  drawn {now[0][:700]}")
    print(f"{differ} of {len(rows)} calls differ, {known['isa']}, {cconv.__file__}")
    return 1 if differ else 0


def show(seed: int, number: int, save: str | None) -> None:
    text, reads, gives = measure(seed, number)
    print(f"{text}\nreads {reads}\ngives {gives}")
    if save:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call = made(seed, number)
            arrays = {f"input{i}": np.array(a) for i, a in enumerate(call.inputs)}
            for time_, out in enumerate(call.outs):
                arrays |= {f"time{time_}_{i}": y for i, y in enumerate(results(call, out))}
        np.savez(save, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("do", choices=["record", "compare", "show"])
    parser.add_argument("what", help="a file; of show, a call's number")
    parser.add_argument("--isa", help="instruction set; compare takes the file's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="compare: from this call on")
    parser.add_argument("--verbose", action="store_true", help="compare: print each call before")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="show: arrays read and given go to this .npz")
    args = parser.parse_args()
    faulthandler.enable()
    # or outputs of 2**33 values would be filled
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    cconv.set_num_threads(args.threads)
    if args.do == "record":
        record(args.what, args.seed, args.calls)
    elif args.do == "compare":
        sys.exit(compare(args.what, args.first, args.calls, args.verbose))
    else:
        show(args.seed, int(args.what), args.save)


if __name__ == "__main__":
    main()
