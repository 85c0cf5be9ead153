"""The same work in other shapes: python -m benchmarks.shapes [--threads 1] [--dtype float64] [--json FILE]

Every row is one layer's multiply-adds (of a pool its bytes) over dilations of 1 to 64, over 1-D data as (L), (L, 1) and
(1, L), and over batches against channels. Printed are milliseconds, prepacked where there are weights, and the largest
over the least: below 1.5 the shape does not matter.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .layers import parse
from .peers import Arrays, cconv_call
from .timing import in_blocks

DILATIONS = (1, 2, 4, 8, 16, 32, 64)
MOST = 1.5


def dilated(x: str, w: str, *padded: str) -> dict[str, str]:
    """The same output for every dilation: padding grows with it, by so much along each axis."""
    return {
        f"d={d}": f"conv {x} {w} d={d} p={'x'.join(str(pad(p, d)) for p in padded)}"
        for d in DILATIONS
    }


def pad(taps: str, dilation: int) -> int:
    return (int(taps) - 1) // 2 * dilation


def lines(
    op: str, n: int, c: int, length: int, weight: str, k: int, options: str = ""
) -> dict[str, str]:
    """One line of data as 1-D, as a column and as a row; options are for the axis that is long."""
    named = [o.split("=") for o in options.split()]
    found = {}
    for name, shape, window, place in (
        ("(L)", (length,), (k,), 0),
        ("(L, 1)", (length, 1), (k, 1), 0),
        ("(1, L)", (1, length), (1, k), 1),
    ):
        given = []
        for option, value in named:
            axes = ["0" if option == "p" else "1"] * len(shape)
            axes[place] = value
            given.append(f"{option}={'x'.join(axes)}")
        x = "x".join(map(str, (n, c, *shape)))
        w = "x".join([*([weight] if weight else []), *map(str, window)])
        found[name] = " ".join([op, x] + ([] if op[0] == "g" else [w, *given]))
    return found


def batches(text: str, pairs: tuple[tuple[int, int], ...]) -> dict[str, str]:
    return {f"N={n} C={c}": text.format(N=n, C=c) for n, c in pairs}


PLANES = ((1, 256), (4, 64), (16, 16), (64, 4), (256, 1))
DENSE = ((1, 128), (4, 64), (16, 32))  # N * C * C is the same
TABLES: dict[str, dict[str, dict[str, str]]] = {
    "dilations": {
        "3x3 64 to 64": dilated("1x64x56x56", "64x64x3x3", "3", "3"),
        "3x3 12 to 12, 128x187": dilated("1x12x128x187", "12x12x3x3", "3", "3"),
        "3x1 12 to 12, 128x187": dilated("1x12x128x187", "12x12x3x1", "3", "1"),
        "k3 64 to 64, 16000": dilated("1x64x16000", "64x64x3", "3"),
        "k3 4 to 4, 4x15692": dilated("4x4x15692", "4x4x3", "3"),
        "depthwise 3x3 128": {k: f"{t} g=128" for k, t in dilated("1x128x56x56", "128x1x3x3", "3", "3").items()},
        "3x3x3 16 to 16": dilated("1x16x16x32x32", "16x16x3x3x3", "3", "3", "3"),
    },
    "trailing axes": {
        "k3 64 to 64": lines("conv", 1, 64, 4096, "64x64", 3, "p=1"),
        "k5 s2 32 to 64": lines("conv", 4, 32, 2048, "64x32", 5, "s=2 p=2"),
        "k64 32 to 64": lines("conv", 4, 32, 512, "64x32", 64),
        "1x1 64 to 128": lines("conv", 4, 64, 1024, "128x64", 1),
        "depthwise k7": {k: f"{t} g=128" for k, t in lines("conv", 4, 128, 1024, "128x1", 7, "p=3").items()},
        "1 to 32, k9": lines("conv", 4, 1, 8192, "32x1", 9, "p=4"),
        "transposed k4 s2": lines("tconv", 1, 64, 1024, "64x64", 4, "s=2 p=1"),
        "max k2": lines("max", 64, 128, 256, "", 2, "s=2"),
        "max k3 s1": lines("max", 16, 64, 1024, "", 3, "s=1 p=1"),
        "avg k3 s2": lines("avg", 16, 64, 1024, "", 3, "s=2 p=1"),
        "global avg": lines("gavg", 16, 128, 512, "", 1),
    },
    "batch against channels": {
        "dense 3x3 28x28": batches("conv {N}x{C}x28x28 {C}x{C}x3x3 p=1", DENSE),
        "1x1 28x28": batches("conv {N}x{C}x28x28 {C}x{C}x1x1", DENSE),
        "depthwise 3x3 28x28": batches("conv {N}x{C}x28x28 {C}x1x3x3 p=1 g={C}", PLANES),
        "depthwise 5x5 7x7": batches("conv {N}x{C}x7x7 {C}x1x5x5 p=2 g={C}", PLANES),
        "max 2x2 28x28": batches("max {N}x{C}x28x28 2x2", PLANES),
        "max 3x3 s2 9x9": batches("max {N}x{C}x9x9 3x3 s=2", PLANES),
        "avg 3x3 s1 14x14": batches("avg {N}x{C}x14x14 3x3 s=1 p=1", PLANES),
        "global avg 7x7": batches("gavg {N}x{C}x7x7", PLANES),
    },
}  # fmt: skip


def measure(forms: dict[str, str], threads: int, dtype: str, seconds: float) -> dict[str, float]:
    todo: dict[str, Any] = {}
    for form, text in forms.items():
        layer = parse(text)
        todo[form] = cconv_call(layer, Arrays(layer, dtype), threads, not layer.pools)
    return in_blocks(todo, threads, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="rows whose name has this text")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--seconds", type=float, default=0.04, help="for each figure")
    parser.add_argument("--json", help="write the figures here")
    args = parser.parse_args()
    found, worst = [], 0
    for table, rows in TABLES.items():
        for name, forms in rows.items():
            if args.only not in f"{table} {name}":
                continue
            ms = measure(forms, args.threads, args.dtype, args.seconds)
            spread = max(ms.values()) / min(ms.values())
            worst += spread > MOST
            cells = "  ".join(f"{form} {t:.3f}" for form, t in ms.items())
            print(f"{name:<24} {spread:5.2f}{' *' if spread > MOST else '  '} {cells}", flush=True)
            found.append({"table": table, "layer": name, "ms": ms, "spread": spread})
    print(f"{len(found)} rows, {worst} vary by more than {MOST} times")
    if args.json:
        Path(args.json).write_text(json.dumps({"threads": args.threads, "rows": found}, indent=1))


if __name__ == "__main__":
    main()
