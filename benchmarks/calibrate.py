"""The machine's rates, as `cconv/_plan/machine.py` has them: python -m benchmarks.calibrate [--seconds 0.05] [--check]

Measured for the instruction set in use (`CCONV_ISA=avx2` for another one), on one thread:

- The peak of multiply-adds, which a cycle is defined by: two vectors at the peak. Layers of 1 x 1 kernels in L1 and L2.
- Copies in L1, L2, L3 and memory.
- Layers of many shapes, forced to be direct, by Winograd and by FFT, prepacked and plain. The costs of `_plan` are sums
  of rates times numbers of units: the numbers are the costs under rates of which one is 1 and the others 0, and the
  rates are those that make the costs nearest to what was measured, by least squares of relative errors, none negative.

It prints the entry of the table, and how far costs and measurements are apart. `--check` measures no rates, and says
how the ones of the table do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

import cconv
from cconv._isa import machine as machine_of
from cconv._plan import fft, winograd
from cconv._plan.cost import direct_cycles
from cconv._plan.machine import Machine, Rates, WeightUse
from cconv._problem import ConvProblem, interleaved
from cconv.kernels.job import PadMode

from .layers import Layer, parse
from .peers import Arrays, cconv_call
from .timing import in_blocks, quantile

# what is fitted, and on which layers: direct and Winograd together, since a choice compares them
DENSE = [
    f"conv 1x{c}x{n}x{n} {o}x{c}x3x3 p=1"
    for c, o, n in (
        (16, 16, 112), (32, 32, 56), (32, 96, 28), (64, 64, 56), (128, 128, 28), (256, 256, 14), (512, 512, 7),
        (64, 8, 56), (256, 8, 28), (8, 128, 56), (64, 16, 28), (256, 64, 14), (48, 192, 20), (96, 24, 40),
        (320, 40, 13), (33, 67, 45), (128, 512, 14), (512, 128, 14), (24, 24, 80), (160, 160, 10), (768, 96, 8),
    )
] + [
    "conv 1x64x31x62 32x64x5x5 p=2", "conv 1x96x28x28 96x96x5x5 p=2", "conv 1x32x56x56 64x32x5x5 p=2",
    "conv 1x91x9x9x9 440x91x3x3x3", "conv 1x32x8x28x28 32x32x3x3x3 p=1",
] + [
    f"conv 1x{c}x{n} {o}x{c}x3 p=1" for c, o, n in ((64, 64, 4000), (256, 256, 500), (32, 128, 2000), (128, 16, 3000))
]  # fmt: skip
DILATED = [
    f"conv 1x{c}x{n}x{n} {o}x{c}x3x3 p={d} d={d}"
    for c, o, n, d in ((64, 64, 56, 2), (256, 256, 28, 2), (32, 48, 120, 6), (56, 200, 53, 7), (128, 64, 40, 4))
]  # fmt: skip
SPECTRA = [
    "conv 1x1x160000 1x1x1001 p=500", "conv 1x1x40000 1x1x8001 p=4000", "conv 1x3x256x256 3x1x45x45 p=22 g=3",
    "conv 1x8x8000 8x8x2001 p=1000", "conv 1x4x160x160 4x4x31x31 p=15", "conv 1x16x64x64 16x16x31x31 p=15",
    "conv 1x1x4000 1x1x401 p=200", "conv 1x64x1000 64x1x301 p=150 g=64", "conv 1x1x512x512 4x1x63x63 p=31",
]  # fmt: skip
FEW = [
    "conv 1x1x160000 1x1x501 p=250", "conv 1x3x256x256 3x1x31x31 p=15 g=3", "conv 1x1x40000 2x1x1001 p=500",
]  # fmt: skip
FITTED = {
    "dense": (
        "tile",
        "slab",
        "read",
        "panel",
        "panel_pieces",
        "store",
        "store_pieces",
        "near",
        "far",
        "gather",
        "apart",
        "scatter",
        "filters",
        "write_near",
        "write_far",
    ),
    "spectra": ("fft", "spectrum", "block"),
    "few": ("rows",),
}
LEAST = {"tile": 0.5, "write_far": 0.15}  # by definition, at the peak; what a copy in memory takes
# Where layers do not tell rates apart, those are taken that are near to these, each to the same part of it.
USUAL = {
    "tile": 0.5, "rows": 0.8, "slab": 3, "read": 0.5, "panel": 1, "panel_pieces": 3, "store": 1, "store_pieces": 4,
    "near": 0.03, "far": 0.1, "gather": 10, "apart": 15, "scatter": 4, "filters": 1, "write_near": 0.1,
    "write_far": 0.17, "fft": 0.7, "spectrum": 4, "block": 1.5e5,
}  # fmt: skip
HELD = 0.05  # how strongly


def peak(seconds: float) -> float:
    """Multiply-adds a second, of one thread."""
    found = []
    for c, o, n in ((96, 96, 96), (192, 192, 192), (128, 252, 256), (256, 256, 256)):
        layer = parse(f"conv 1x{c}x{n} {o}x{c}x1")
        run = cconv_call(layer, Arrays(layer), 1, True)
        assert run is not None
        found.append(c * o * n / in_blocks({"run": run}, 1, seconds)["run"] * 1e3)
    return max(found)


def copies(seconds: float) -> dict[str, float]:
    """GB/s, read and written; what a call costs that copies next to nothing is taken off."""
    found, nothing = {}, 0.0
    for name, size in (("", 64), ("L1", 2**14), ("L2", 2**18), ("L3", 2**22), ("memory", 2**27)):
        a, b = np.ones(size // 4, np.float32), np.ones(size // 4, np.float32)

        def run(a: Any = a, b: Any = b) -> None:
            np.copyto(b, a)

        took = in_blocks({"run": run}, 1, seconds)["run"] - nothing
        if name:
            found[name] = 2 * size / took / 1e6
        nothing = nothing or took
    return found


def problem(layer: Layer) -> ConvProblem:
    """As the plans see it."""
    rank, g = layer.rank, layer.get("groups")

    def three(values: Any, fill: int) -> Any:
        return (*(fill,) * (3 - rank), *values)

    o, c = layer.weight[:2]
    given: dict[str, Any] = {
        "N": layer.input[0], "G": g, "C": c, "O": o // g, "size": three(layer.input[2:], 1),
        "kernel": three(layer.kernel, 1), "stride": three(layer.axes("stride"), 1),
        "dilation": three(layer.axes("dilation"), 1), "before": three(layer.axes("padding"), 0),
        "out": three(layer.output()[2:], 1), "mode": PadMode.PAD_ZEROS,
    }  # fmt: skip
    return ConvProblem(**given)


Cost = Callable[[ConvProblem, Machine], float]


def by_winograd(use: WeightUse) -> Cost:
    """What the model takes for the patches that it would choose."""

    def cost(p: ConvProblem, m: Machine) -> float:
        real = machine_of(m.dtype)
        patch = winograd.best_patch(p, real, use, True)
        return p.G * winograd.cycles(p, patch, m, use, real)

    return cost


def by_direct(p: ConvProblem, m: Machine) -> float:
    return p.G * direct_cycles(p, m)


def by_parts(p: ConvProblem, m: Machine) -> float:
    return p.G * winograd.apart_cycles(interleaved(p), m, WeightUse.KEPT, machine_of(m.dtype))


def cases(kind: str, dtype: str) -> list[tuple[str, Layer, str, bool, Cost]]:
    """(what, layer, algorithm, prepacked, cost) of everything that is fitted together."""
    found: list[tuple[str, Layer, str, bool, Cost]] = []
    if kind == "dense":
        for layer in map(parse, DENSE):
            for kept, use in ((True, WeightUse.KEPT), (False, WeightUse.ONCE)):
                if winograd.best_patch(problem(layer), machine_of(dtype), use, True):
                    found.append(("winograd", layer, "winograd", kept, by_winograd(use)))
            found.append(("direct", layer, "direct", True, by_direct))
        for layer in map(parse, DILATED):
            if all(
                winograd.best_patch(part.problem, machine_of(dtype), WeightUse.KEPT, True)
                for part in interleaved(problem(layer))
            ):
                found.append(("dilated", layer, "winograd", True, by_parts))
    elif kind == "spectra":
        found += [("fft", layer, "fft", False, fft.overlap_cycles) for layer in map(parse, SPECTRA)]
    else:
        found += [("rows", layer, "direct", True, by_direct) for layer in map(parse, FEW)]
    return found


def features(p: ConvProblem, m: Machine, cost: Cost, names: tuple[str, ...]) -> list[float]:
    """Units of each rate: the cost where it is 1 and the others are 0."""
    nothing = dict.fromkeys(Rates._fields, 0.0)
    found = [cost(p, m._replace(rates=Rates(**nothing | {name: 1.0}))) for name in names]
    assert cost(p, m._replace(rates=Rates(**nothing))) == 0, "a cost that no rate stands for"
    return found


def bounded(a: Any, b: Any, least: Any) -> Any:
    """The x >= least that makes |a x - b| least, by holding there what would be below."""
    b = b - a @ least
    used = list(range(a.shape[1]))
    while True:
        x = np.linalg.lstsq(a[:, used], b, rcond=None)[0]
        if (x >= 0).all():
            break
        del used[int(np.argmin(x * a[:, used].sum(axis=0)))]
    result = np.array(least, float)
    result[used] += x
    return result


def fitted(a: Any, names: tuple[str, ...]) -> Any:
    """The rates under which a's rows, units over measured cycles, have costs of nearly 1."""
    usual = np.array([USUAL[name] for name in names])
    least = np.array([LEAST.get(name, 0.0) for name in names])
    rows = np.vstack([a, HELD * np.diag(1 / usual)])
    return bounded(rows, np.r_[np.ones(len(a)), np.full(len(names), HELD)], least)


def measured(kind: str, clock: float, seconds: float, dtype: str) -> list[tuple[Any, ...]]:
    """Of every case: what, layer, prepacked, problem, cost, cycles."""
    found = []
    for what, layer, algorithm, kept, cost in cases(kind, dtype):
        run = cconv_call(layer, Arrays(layer, dtype), 1, kept, algorithm)
        assert run is not None
        ms = in_blocks({"run": run}, 1, seconds)["run"]
        found.append((what, layer, kept, problem(layer), cost, ms * 1e-3 * clock))
    return found


def report(rows: list[tuple[Any, ...]], m: Machine) -> None:
    """Cost over measurement: what, and the layers that are furthest off."""
    ratios = [
        (cost(p, m) / cycles, what, layer, kept) for what, layer, kept, p, cost, cycles in rows
    ]
    for what in dict.fromkeys(r[1] for r in ratios):
        values = [r[0] for r in ratios if r[1] == what]
        low, mid, high = (quantile(values, q) for q in (0.1, 0.5, 0.9))
        print(
            f"# {what}: cost / measured {low:.2f} {mid:.2f} {high:.2f} (tenth, median, ninetieth)"
        )
    far = sorted(ratios, key=lambda r: -abs(np.log(max(r[0], 1e-9))))[:6]
    for ratio, what, layer, kept in far:
        print(f"#   {ratio:5.2f} {what} {'prepacked' if kept else 'plain':<9} {layer.name}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=0.03, help="for each layer")
    parser.add_argument("--check", action="store_true", help="only compare the table's costs")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    args = parser.parse_args()
    cconv.set_num_threads(1)
    m = machine_of(args.dtype)
    single = peak(args.seconds)
    clock = single / machine_of("float32").lanes / 2
    print(f"# {m.isa}: peak {2e-9 * single:.0f} GF/s float32, so {1e-9 * clock:.2f} GHz;", end=" ")
    print(
        "copies "
        + ", ".join(f"{name} {rate:.0f}" for name, rate in copies(args.seconds).items())
        + " GB/s"
    )
    rates = m.rates
    for kind, names in FITTED.items():
        rows = measured(kind, clock, args.seconds, args.dtype)
        if not args.check:
            a = np.array([features(p, m, cost, names) for *_, p, cost, _ in rows])
            cycles = np.array([row[-1] for row in rows])
            x = fitted(a / cycles[:, None], names)
            rates = rates._replace(**dict(zip(names, map(float, x), strict=True)))
        report(rows, m._replace(rates=rates))
    print(f'    "{m.isa}": Rates(')
    print(
        *(f"        {name}={value:.3g}," for name, value in rates._asdict().items()),
        "    ),",
        sep="\n",
    )


if __name__ == "__main__":
    main()
