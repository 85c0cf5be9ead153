"""Layers that nobody has listed: each is drawn by a seed and its number alone, within bounds of time and memory."""

from __future__ import annotations

import random
from math import prod
from typing import Any

from .layers import Layer, text

MOST = 512  # positions of an axis
CHANNELS = 1024
LEAST_US, MOST_US = 20.0, 30_000.0
BYTES = 96 * 2**20  # of input, weights and output
OPS = {  # and how often
    "conv": 55,
    "conv_transpose": 12,
    "max_pool": 12,
    "avg_pool": 10,
    "adaptive_avg_pool": 5,
    "adaptive_max_pool": 3,
    "lp_pool": 3,
}
GROUPS = {"conv": ("conv",), "transposed": ("conv_transpose",)}
GROUPS["pool"] = tuple(op for op in OPS if op.endswith("pool"))


def between(rng: random.Random, low: int, high: int) -> int:
    """A whole number whose logarithm is evenly distributed."""
    return min(high, int(low * ((high + 1) / low) ** rng.random()))


def pick(rng: random.Random, **shares: float) -> str:
    return rng.choices(list(shares), list(shares.values()))[0]


def channels(rng: random.Random) -> int:
    """Half are multiples of 8, as networks have them; the others any, odd ones too."""
    n = between(rng, 1, CHANNELS)
    return max(1, round(n / 8)) * 8 if rng.random() < 0.5 and n > 3 else n


def space(rng: random.Random, rank: int) -> tuple[int, ...]:
    most = MOST if rank < 3 else 128
    if rank == 1:
        return (between(rng, 1, 64 * MOST if rng.random() < 0.3 else MOST),)
    match pick(rng, square=50, free=28, narrow=11, line=11):
        case "square":
            n = between(rng, 2, most)
            return (n,) * rank if rank == 2 or rng.random() < 0.5 else (between(rng, 1, 16), n, n)
        case "free":
            return tuple(between(rng, 1, most) for _ in range(rank))
        case "narrow":  # long and narrow, in any order
            sizes = [between(rng, 64, MOST), *(between(rng, 1, 6) for _ in range(rank - 1))]
            rng.shuffle(sizes)
            return tuple(sizes)
        case _:  # 1-D data in more axes than it has
            return (between(rng, 16, 8 * MOST), *(1,) * (rank - 1))


def kernel(rng: random.Random, rank: int, most: tuple[int, ...]) -> tuple[int, ...]:
    """A window, mostly the same along all axes."""

    def size() -> int:
        match pick(rng, three=40, one=20, five=12, two=6, four=4, seven=5, other=13):
            case "three":
                return 3
            case "one":
                return 1
            case "five":
                return 5
            case "two":
                return 2
            case "four":
                return 4
            case "seven":
                return 7
            case _:
                return between(rng, 2, 64 if rank == 1 else 16 if rank == 2 else 6)

    k = size()
    found = [size() for _ in range(rank)] if rng.random() < 0.15 else [k] * rank
    return tuple(min(k, n) for k, n in zip(found, most, strict=True))


def numbers(values: list[int]) -> Any:
    """As a person would write them: one number if all axes have the same."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def strides(rng: random.Random, window: tuple[int, ...]) -> list[int]:
    match pick(rng, one=60, two=28, axes=6, any=6):
        case "one":
            return [1] * len(window)
        case "two":
            return [2] * len(window)
        case "axes":
            return [rng.choice((1, 2)) for _ in window]
        case _:
            return [between(rng, 1, 8)] * len(window)


def convolution(rng: random.Random, rank: int) -> Layer:
    size = space(rng, rank)
    window = kernel(rng, rank, size)
    stride = strides(rng, window)
    dilation = [1] * rank
    if rng.random() < 0.22:
        dilation = [between(rng, 2, 64) if k > 1 else 1 for k in window]
        if rng.random() < 0.7:
            dilation = [min(dilation) if k > 1 else 1 for k in window]
    padding = [0] * rank
    match pick(rng, same=65, none=20, some=15):
        case "same":
            padding = [d * (k - 1) // 2 for d, k in zip(dilation, window, strict=True)]
        case "some":
            padding = [rng.randint(0, d * (k - 1)) for d, k in zip(dilation, window, strict=True)]
    c, o, groups = channels(rng), channels(rng), 1
    match pick(rng, one=70, depthwise=18, groups=12):
        case "depthwise":
            groups = c
            o = c * (1 if rng.random() < 0.8 else rng.randint(2, 4))
        case "groups":
            groups = between(rng, 2, 64)
            c, o = (max(1, n // groups) * groups for n in (c, o))
    options = options_of(stride=stride, padding=padding, dilation=dilation)
    if groups > 1:
        options["groups"] = groups
    return Layer("", "", "conv", (batch(rng), c, *size), (o, c // groups, *window), options)


def transposed(rng: random.Random, rank: int) -> Layer:
    size = space(rng, rank)
    stride = [rng.choice((1, 2, 2, 2, 2, 3, 4, 8))] * rank
    if rng.random() < 0.1:
        stride = [rng.choice((1, 2)) for _ in range(rank)]
    match pick(rng, whole=35, twice=30, more=15, any=20):
        case "whole":
            window = tuple(stride)
        case "twice":
            window = tuple(2 * s for s in stride)
        case "more":
            window = tuple(s + 1 for s in stride)
        case _:
            window = kernel(rng, rank, (64,) * rank)
    padding = [max(0, k - s) // 2 for k, s in zip(window, stride, strict=True)]
    extra = [int(k > s and (k - s) % 2) for k, s in zip(window, stride, strict=True)]
    extra = [min(e, s - 1) for e, s in zip(extra, stride, strict=True)]
    c, o, groups = channels(rng), channels(rng), 1
    if rng.random() < 0.15:
        groups = c if rng.random() < 0.6 else between(rng, 2, 16)
        c, o = (max(1, n // groups) * groups for n in (c, o if groups != c else c))
    options = options_of(stride=stride, padding=padding, output_padding=extra)
    if groups > 1:
        options["groups"] = groups
    x = (batch(rng), c, *size)
    return Layer("", "", "conv_transpose", x, (c, o // groups, *window), options)


def pooling(rng: random.Random, op: str, rank: int) -> Layer:
    size = space(rng, rank)
    x = (batch(rng), channels(rng), *size)
    if op.startswith("adaptive"):
        if rng.random() < 0.6:
            out = (1,) * rank
        else:
            out = tuple(between(rng, 1, max(1, n // 2)) for n in size)
        return Layer("", "", op, x, out, {})
    window = kernel(rng, rank, size)
    if rng.random() < 0.3:
        window = tuple(min(n, k) for n, k in zip(size, (rng.choice((2, 3)),) * rank, strict=True))
    if rng.random() < 0.06:
        window = size
    stride = list(window) if rng.random() < 0.45 else strides(rng, window)
    padding, dilation = [0] * rank, [1] * rank
    if op != "lp_pool" and rng.random() < 0.5:
        padding = [(k - 1) // 2 for k in window]
    if op == "max_pool" and rng.random() < 0.1:
        dilation = [between(rng, 2, 8) if k > 1 else 1 for k in window]
    options: dict[str, Any] = {"stride": numbers(stride)}
    options |= options_of(padding=padding, dilation=dilation)
    return Layer("", "", op, x, window, options)


def options_of(**given: list[int]) -> dict[str, Any]:
    """Those that are not the default."""
    least = {"stride": 1, "dilation": 1, "padding": 0, "output_padding": 0}
    return {name: numbers(v) for name, v in given.items() if set(v) != {least[name]}}


def batch(rng: random.Random) -> int:
    return 1 if rng.random() < 0.55 else between(rng, 2, 64)


def microseconds(layer: Layer) -> float:
    """What the layer takes, very roughly, on one core: multiply-adds, windows along each axis, bytes."""
    out = layer.output()
    touched = 4.0 * (prod(layer.input) + prod(out)) / 12e3
    if layer.pools:
        return 2 + touched + prod(out) * sum(layer.kernel) / 8e3
    rate = 40e3 if min(layer.weight[:2]) > 3 else 12e3  # multiply-adds a microsecond
    return 2 + touched + prod(layer.weight) / 1e4 + layer.flops(out) / 2 / rate


def serves(layer: Layer) -> bool:
    """Whether it is a layer at all, within the bounds."""
    out = layer.output()
    size = prod(layer.input) + prod(out) + (0 if layer.pools else prod(layer.weight))
    if min(out) < 1 or 4 * size > BYTES or max(layer.input[1], out[1]) > 2 * CHANNELS:
        return False
    if layer.pools and any(
        2 * p > k for p, k in zip(layer.axes("padding"), layer.kernel, strict=True)
    ):
        return False
    return LEAST_US <= microseconds(layer) <= MOST_US


def kind(layer: Layer) -> str:
    """What the layer is, by what is done about it: the first that fits."""
    if layer.op == "conv_transpose":
        return "transposed"
    if layer.pools:
        if layer.op == "lp_pool":
            return "pool lp"
        window = layer.kernel
        if layer.op.startswith("adaptive"):
            return "pool global" if set(layer.weight) == {1} else "pool adaptive"
        if window == layer.input[2:]:
            return "pool global"
        apart = all(
            k <= s or n == 1
            for k, s, n in zip(window, layer.axes("stride"), layer.output()[2:], strict=True)
        )
        return "pool apart" if apart else "pool overlapping"
    groups, (o, c) = layer.get("groups"), layer.weight[:2]
    if groups > 1:
        return "depthwise" if c == 1 else "grouped"
    if set(layer.axes("dilation")) != {1}:
        return "dilated"
    if set(layer.kernel) == {1}:
        return "1x1"
    if min(c, o) <= 4:
        return "few channels"
    if set(layer.axes("stride")) != {1}:
        return "strided"
    return "dense 3" if set(layer.kernel) <= {1, 3} else "dense other"


def layer(seed: int, index: int, groups: tuple[str, ...] = tuple(GROUPS)) -> Layer:
    """Layer number `index` of a seed, of these groups of operations."""
    rng = random.Random(f"{seed} {index} {' '.join(groups)}")
    ops = [op for group in groups for op in GROUPS[group]]
    op = rng.choices(ops, [OPS[op] for op in ops])[0]
    aim = LEAST_US * (MOST_US / LEAST_US) ** rng.random()
    found, best = None, float("inf")
    tries = 0
    while tries < 12 or found is None:  # the nearest of some, so that small and large ones come up
        tries += 1
        rank = rng.choices((1, 2, 3), (25, 55, 20))[0]
        match op:
            case "conv":
                drawn = convolution(rng, rank)
            case "conv_transpose":
                drawn = transposed(rng, rank)
            case _:
                drawn = pooling(rng, op, rank)
        if serves(drawn):
            took = microseconds(drawn)
            distance = max(took / aim, aim / took)
            if distance < best:
                found, best = drawn, distance
    return found._replace(name=text(found), kind=kind(found))


def layers(
    seed: int, first: int, count: int, groups: tuple[str, ...] = tuple(GROUPS)
) -> list[Layer]:
    return [layer(seed, first + i, groups) for i in range(count)]
