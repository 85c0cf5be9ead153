"""A layer, its text, and the named layers, each for its kind: name, kind, input, weight or window, options."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0}
SHORT = {"s": "stride", "p": "padding", "d": "dilation", "g": "groups", "op": "output_padding"}
WORDS = {
    "conv": "conv",
    "tconv": "conv_transpose",
    "max": "max_pool",
    "avg": "avg_pool",
    "lp": "lp_pool",  # the norm is 2
    "amax": "adaptive_max_pool",
    "aavg": "adaptive_avg_pool",
}
GLOBAL = {"gmax": "amax", "gavg": "aavg"}  # to one output


class Layer(NamedTuple):
    name: str
    kind: str  # dense, strided, 1x1, depthwise, grouped, few, dilated, 1d, 3d, transposed, pool
    op: str  # one of WORDS' values
    input: tuple[int, ...]
    weight: tuple[int, ...]  # of a pool: its kernel size; of an adaptive one the output's size
    options: dict[str, Any]  # numbers, or one for each axis

    @property
    def rank(self) -> int:
        return len(self.input) - 2

    @property
    def pools(self) -> bool:
        return self.op.endswith("pool")

    @property
    def kernel(self) -> tuple[int, ...]:
        """The largest window of an adaptive pool."""
        if self.op.startswith("adaptive"):
            return tuple(-(-n // o) for n, o in zip(self.input[2:], self.weight, strict=True))
        return self.weight if self.pools else self.weight[2:]

    def get(self, name: str) -> Any:
        """As it was given: a number, or a tuple of one for each axis."""
        if name == "stride" and self.pools and name not in self.options:
            return self.weight if len(set(self.weight)) > 1 else self.weight[0]
        return self.options.get(name, DEFAULTS[name])

    def axes(self, name: str) -> tuple[int, ...]:
        value = self.get(name)
        return tuple(value) if isinstance(value, tuple | list) else (value,) * self.rank

    def output(self) -> tuple[int, ...]:
        """The output's shape."""
        if self.op.startswith("adaptive"):
            return (*self.input[:2], *self.weight)
        of = [self.axes(n) for n in ("stride", "padding", "dilation", "output_padding")]
        space = zip(self.input[2:], self.kernel, *of, strict=True)
        if self.op == "conv_transpose":
            channels = self.weight[1] * self.get("groups")
            out = [(L - 1) * s - 2 * p + d * (k - 1) + e + 1 for L, k, s, p, d, e in space]
        else:
            channels = self.input[1] if self.pools else self.weight[0]
            out = [(L + 2 * p - d * (k - 1) - 1) // s + 1 for L, k, s, p, d, _ in space]
        return (self.input[0], channels, *out)

    def flops(self, out: tuple[int, ...]) -> float:
        """Two for each multiply-add; of a pool the bytes that are read and written."""
        if self.pools:
            return 4.0 * (prod(self.input) + prod(out))
        of = self.input if self.op == "conv_transpose" else out
        return 2.0 * prod(of) * prod(self.weight[1:])


def text(layer: Layer) -> str:
    """A layer as `parse` reads it: "conv 1x64x31x62 32x64x5x5 s=2 p=2x1", or a number for each axis."""

    def numbers(values: Any) -> str:
        return "x".join(map(str, values)) if isinstance(values, tuple | list) else str(values)

    word = next(w for w, op in WORDS.items() if op == layer.op)
    if layer.op.startswith("adaptive") and set(layer.weight) == {1}:
        return f"g{word[1:]} {numbers(layer.input)}"
    options = [f"{s}={numbers(layer.options[n])}" for s, n in SHORT.items() if n in layer.options]
    return " ".join([word, numbers(layer.input), numbers(layer.weight), *options])


def parse(line: str, kind: str = "given") -> Layer:
    word, x, *rest = line.split()

    def numbers(value: str) -> tuple[int, ...]:
        return tuple(map(int, value.split("x")))

    shape = numbers(x)
    if word in GLOBAL:
        rest.insert(0, "x".join("1" * (len(shape) - 2)))
    weight, options = numbers(rest[0]), {}
    for each in rest[1:]:
        name, value = each.split("=")
        found = numbers(value)
        options[SHORT[name]] = found[0] if len(found) == 1 else found
    op = WORDS[GLOBAL.get(word, word)]
    if op.endswith("pool") and len(weight) == 1:
        weight *= len(shape) - 2
    return Layer(line, kind, op, shape, weight, options)


def conv(name: str, kind: str, x: tuple[int, ...], w: tuple[int, ...], **options: int) -> Layer:
    return Layer(name, kind, "conv", x, w, options)


def transposed(name: str, x: tuple[int, ...], w: tuple[int, ...], **options: int) -> Layer:
    return Layer(name, "transposed", "conv_transpose", x, w, options)


def pool(name: str, op: str, x: tuple[int, ...], k: int, **options: Any) -> Layer:
    return Layer(name, "pool", f"{op}_pool", x, (k,) * (len(x) - 2), options)


LAYERS = [
    conv("stem 1x3x224x224 64 k7 s2", "few", (1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3),
    conv("vgg 1x64x224x224 64 k3", "dense", (1, 64, 224, 224), (64, 64, 3, 3), padding=1),
    conv("1x64x56x56 64 k3", "dense", (1, 64, 56, 56), (64, 64, 3, 3), padding=1),
    conv("1x128x28x28 128 k3", "dense", (1, 128, 28, 28), (128, 128, 3, 3), padding=1),
    conv("1x256x14x14 256 k3", "dense", (1, 256, 14, 14), (256, 256, 3, 3), padding=1),
    conv("1x512x7x7 512 k3", "dense", (1, 512, 7, 7), (512, 512, 3, 3), padding=1),
    conv("batch 32x64x28x28 64 k3", "dense", (32, 64, 28, 28), (64, 64, 3, 3), padding=1),
    conv("odd 1x61x45x51 67 k3", "dense", (1, 61, 45, 51), (67, 61, 3, 3), padding=1),
    conv(
        "1x128x56x56 128 k3 s2", "strided", (1, 128, 56, 56), (128, 128, 3, 3), stride=2, padding=1
    ),
    conv("1x512x28x28 1024 k1 s2", "strided", (1, 512, 28, 28), (1024, 512, 1, 1), stride=2),
    conv("1x64x56x56 256 k1", "1x1", (1, 64, 56, 56), (256, 64, 1, 1)),
    conv("1x1024x14x14 256 k1", "1x1", (1, 1024, 14, 14), (256, 1024, 1, 1)),
    conv(
        "depthwise 1x144x56x56 k3",
        "depthwise",
        (1, 144, 56, 56),
        (144, 1, 3, 3),
        padding=1,
        groups=144,
    ),
    conv(
        "depthwise 1x144x56x56 k3 s2",
        "depthwise",
        (1, 144, 56, 56),
        (144, 1, 3, 3),
        padding=1,
        stride=2,
        groups=144,
    ),
    conv(
        "depthwise 1x240x28x28 k5",
        "depthwise",
        (1, 240, 28, 28),
        (240, 1, 5, 5),
        padding=2,
        groups=240,
    ),
    conv(
        "groups 32 1x256x28x28 k3",
        "grouped",
        (1, 256, 28, 28),
        (256, 8, 3, 3),
        padding=1,
        groups=32,
    ),
    conv(
        "dilation 2 1x256x28x28 k3",
        "dilated",
        (1, 256, 28, 28),
        (256, 256, 3, 3),
        padding=2,
        dilation=2,
    ),
    conv("lenet 32x1x28x28 6 k5", "few", (32, 1, 28, 28), (6, 1, 5, 5), padding=2),
    conv("tutorial 1x1x28x28 64 k3", "few", (1, 1, 28, 28), (64, 1, 3, 3), padding=1),
    conv("unet 1x1x512x512 32 k3", "few", (1, 1, 512, 512), (32, 1, 3, 3), padding=1),
    conv(
        "image 1x3x512x512 k15", "depthwise", (1, 3, 512, 512), (3, 1, 15, 15), padding=7, groups=3
    ),
    conv("wavenet 1x64x16000 64 k3 d16", "1d", (1, 64, 16000), (64, 64, 3), dilation=16),
    conv("ecg 16x32x2048 64 k16 s2", "1d", (16, 32, 2048), (64, 32, 16), stride=2, padding=7),
    conv("speech 4x64x4000 64 k3", "1d", (4, 64, 4000), (64, 64, 3), padding=1),
    conv("audio 1x1x160000 80 k400 s160", "1d", (1, 1, 160000), (80, 1, 400), stride=160),
    conv("fir 1x1x160000 k1001", "1d", (1, 1, 160000), (1, 1, 1001), padding=500),
    conv("depthwise 1x256x1000 k31", "1d", (1, 256, 1000), (256, 1, 31), padding=15, groups=256),
    conv("1x64x16x56x56 64 k3", "3d", (1, 64, 16, 56, 56), (64, 64, 3, 3, 3), padding=1),
    conv("1x1x64x128x128 32 k3", "3d", (1, 1, 64, 128, 128), (32, 1, 3, 3, 3), padding=1),
    conv(
        "1x64x8x56x56 128 k3 s2", "3d", (1, 64, 8, 56, 56), (128, 64, 3, 3, 3), padding=1, stride=2
    ),
    transposed(
        "transposed 1x128x28x28 64 k4 s2", (1, 128, 28, 28), (128, 64, 4, 4), stride=2, padding=1
    ),
    transposed("transposed 1x128x56x56 64 k2 s2", (1, 128, 56, 56), (128, 64, 2, 2), stride=2),
    transposed(
        "transposed 1x256x500 128 k16 s8", (1, 256, 500), (256, 128, 16), stride=8, padding=4
    ),
    pool("max 2x2 s2 1x64x112x112", "max", (1, 64, 112, 112), 2),
    pool("avg 2x2 s2 1x64x112x112", "avg", (1, 64, 112, 112), 2),
    pool("max 3x3 s2 1x64x112x112", "max", (1, 64, 112, 112), 3, stride=2, padding=1),
    pool("avg 3x3 s2 1x64x112x112", "avg", (1, 64, 112, 112), 3, stride=2, padding=1),
    pool("max 3x3 s1 8x64x56x56", "max", (8, 64, 56, 56), 3, stride=1, padding=1),
    pool("max 5x5 s1 1x32x256x256", "max", (1, 32, 256, 256), 5, stride=1, padding=2),
    pool("max 13x13 s1 1x512x13x13", "max", (1, 512, 13, 13), 13, stride=1, padding=6),
    pool("max 31x31 s1 1x3x512x512", "max", (1, 3, 512, 512), 31, stride=1, padding=15),
    pool("avg 31x31 s1 1x3x512x512", "avg", (1, 3, 512, 512), 31, stride=1, padding=15),
]
