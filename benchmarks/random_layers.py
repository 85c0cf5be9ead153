"""Layers that nobody has listed beside torch and ONNX Runtime: python -m benchmarks.random_layers

`--count 300 --seed 0 --threads 1 2 --dtype float64 --only conv pool transposed --regret --peers openvino --json FILE`.
Layer i of a seed is the same whatever the count, so `--first 50 --count 50` is the second slice of a longer run, and
`--read FILE ...` prints what several have found. `--layers TEXT ...` measures given ones instead, in the form in which
they are printed. Plain calls are compared with torch's, prepacked ones (pools: plain ones) with the best of all.
Regret is the time of the algorithm that is chosen over that of the best forced one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from . import drawn
from .layers import Layer, parse
from .peers import OURS, PEERS, Arrays, calls, cconv_call, places, window
from .timing import Call, in_blocks, mean, quantile, timed

ALGORITHMS = ("direct", "winograd", "fft")
HOPELESS = 4  # times the chosen one's: a forced algorithm that is not measured further
ERROR = {"float32": 2e-4, "float64": 1e-9}  # of the largest output
Row = dict[str, Any]


def compared(layer: Layer, todo: dict[str, Call], dtype: str) -> dict[str, float]:
    """The peers' outputs against cconv's; a call's first time, in seconds."""
    first, outputs = {}, {}
    for name, call in todo.items():
        start = time.perf_counter()
        outputs[name] = np.asarray(call())
        first[name] = time.perf_counter() - start
    reference = outputs["cconv"]
    scale = float(abs(reference).max(initial=0)) + 1e-30
    for name, output in outputs.items():
        error = float(abs(output.reshape(reference.shape) - reference).max(initial=0)) / scale
        if not error < ERROR[dtype]:
            raise AssertionError(f"{name} differs from cconv by {error:.1e} on {layer.name}")
    return first


def explanations(layer: Layer, a: Arrays) -> dict[str, str]:
    """What runs: of the plain call, and of the prepacked one."""
    import cconv
    from cconv._explain import explanation

    name = f"{layer.op}{layer.rank}d"
    given = (a.x, *window(layer)) if layer.pools else (a.x, a.w, a.b, *places(layer))
    found = {"cconv": cconv.explain(name, *given)}
    if not layer.pools:
        s, p, d, g, e = (
            layer.get(n) for n in ("stride", "padding", "dilation", "groups", "output_padding")
        )
        run = cconv.prepack(
            a.w, a.b, s, p, d, g, transposed=layer.op == "conv_transpose", output_padding=e
        )
        found["prepack"] = explanation(name, run._resolve(a.x), (a.x,))
    return {
        form: f"{e['algorithm']}, {e['kernel']}, box {e.get('box')}: {e['reason']}"
        for form, e in found.items()
    }


def regrets(layer: Layer, a: Arrays, threads: int, seconds: float, chosen: dict[str, str]) -> Row:
    """The chosen algorithm's time over the best forced one's, of plain and of prepacked calls."""
    result: Row = {}
    for form in OURS:
        auto = cconv_call(layer, a, threads, form == "prepack")
        assert auto is not None
        auto()
        took, todo = timed(auto), {chosen[form]: auto}
        for algorithm in ALGORITHMS:
            if algorithm == chosen[form]:
                continue
            try:
                forced = cconv_call(layer, a, threads, form == "prepack", algorithm)
                assert forced is not None
                forced()
            except ValueError:  # it cannot serve this layer
                continue
            if timed(forced) < HOPELESS * took + 1e-5:
                todo[algorithm] = forced
        ms = in_blocks(todo, threads, seconds)
        best = min(ms, key=ms.__getitem__)
        result[form] = {"regret": ms[chosen[form]] / ms[best], "best": best, "ms": ms}
    return result


def measure(layer: Layer, threads: int, args: argparse.Namespace) -> Row:
    a = Arrays(layer, args.dtype)
    todo = calls(layer, a, threads, ["torch", "ort", *args.peers, *OURS])
    compared(layer, todo, args.dtype)
    ms = in_blocks(todo, threads, args.seconds)
    row: Row = {"layer": layer.name, "kind": layer.kind, "threads": threads, "ms": ms}
    row["dtype"] = args.dtype
    peers = {name: t for name, t in ms.items() if name not in OURS}
    if "torch" in ms:
        row["plain"] = ms["torch"] / ms["cconv"]
    if peers:
        row["fastest"] = min(peers, key=peers.__getitem__)
        row["packed"] = peers[row["fastest"]] / ms.get("prepack", ms["cconv"])
    row["explain"] = explanations(layer, a)
    if args.regret and not layer.pools:
        chosen = {form: said.split(",")[0] for form, said in row["explain"].items()}
        row["regret"] = regrets(layer, a, threads, args.seconds, chosen)
    return row


def line(row: Row) -> str:
    ms = row["ms"]
    cells = [f"{row['layer']:<52}", str(row["threads"])]
    names = ["torch", "ort", *(n for n in ms if n not in ("torch", "ort", *OURS)), *OURS]
    cells += [f"{ms[n]:9.3f}" if n in ms else " " * 9 for n in names]
    cells += [f"{row[n]:7.2f}" if n in row else " " * 7 for n in ("plain", "packed")]
    for form, found in row.get("regret", {}).items():
        cells.append(
            f"{form} {found['regret']:.2f}" + f" {found['best']}" * (found["regret"] > 1.1)
        )
    return " ".join(cells)


def spread(label: str, ratios: list[float]) -> str:
    if not ratios:
        return f"{label:<44} none"
    behind = sum(r < 1 for r in ratios)
    return (
        f"{label:<44} {len(ratios):4} layers, mean {mean(ratios):5.2f}, tenth {quantile(ratios, 0.1):5.2f}, "
        f"worst {min(ratios):5.2f}, behind {behind}"
    )


def summary(rows: list[Row], worst: int) -> str:
    """Quantiles, of each kind too, and the worst layers with what explain says of them."""
    said = []
    for threads in sorted({row["threads"] for row in rows}):
        mine = [row for row in rows if row["threads"] == threads]
        for form, against in (("plain", "torch"), ("packed", "best")):
            label = f"{threads} thread(s), {form} / {against}"
            said += ["", spread(label, [row[form] for row in mine if form in row])]
            for kind in sorted({row["kind"] for row in mine}):
                of = [row[form] for row in mine if row["kind"] == kind and form in row]
                said.append(spread(f"  {kind}", of))
        for form in OURS:
            found = [row["regret"][form]["regret"] for row in mine if form in row.get("regret", {})]
            if found:
                said.append(
                    f"{threads} thread(s), regret, {form}: {len(found)} layers, median {quantile(found, 0.5):.2f}, "
                    f"ninetieth {quantile(found, 0.9):.2f}, worst {max(found):.2f}"
                )
        said += ["", *bad(mine, worst), *regretted(mine, worst)]
    return "\n".join(said)


def bad(rows: list[Row], worst: int) -> list[str]:
    said = []
    for form, ours in (("packed", "prepack"), ("plain", "cconv")):
        said.append(f"worst, {form}:")
        for row in sorted((r for r in rows if form in r), key=lambda r: r[form])[:worst]:
            what = row["explain"].get(ours, row["explain"]["cconv"])
            said += [f"  {row[form]:5.2f} {row['kind']:<16} {line(row)}", f"        {what}"]
    return said


def regretted(rows: list[Row], worst: int) -> list[str]:
    said = []
    for form in OURS:
        found = [(row["regret"][form], row) for row in rows if form in row.get("regret", {})]
        found = sorted((f for f in found if f[0]["regret"] > 1.05), key=lambda f: -f[0]["regret"])
        said += [f"regretted, {form}:"] if found else []
        for regret, row in found[:worst]:
            times = ", ".join(f"{name} {ms:.3f}" for name, ms in regret["ms"].items())
            said.append(f"  {regret['regret']:5.2f} {row['kind']:<16} {row['layer']:<48} {times}")
    return said


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.random_layers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="number of the first layer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--dtype", default="float32", choices=list(ERROR))
    parser.add_argument("--only", nargs="*", choices=list(drawn.GROUPS), default=list(drawn.GROUPS))
    parser.add_argument("--peers", nargs="*", default=[], choices=list(PEERS), help="besides")
    parser.add_argument("--regret", action="store_true", help="measure forced algorithms too")
    parser.add_argument("--seconds", type=float, default=0.08, help="for each function of a layer")
    parser.add_argument(
        "--stop", type=float, default=0, help="seconds, after which no layer begins"
    )
    parser.add_argument("--worst", type=int, default=20, help="so many are printed")
    parser.add_argument("--layers", nargs="*", help="these instead of drawn ones")
    parser.add_argument("--json", help="write the figures here, after those that it has")
    parser.add_argument("--read", nargs="*", help="measure nothing, print what these files have")
    return parser.parse_args()


def hold_peers() -> None:
    """Where cconv is held to AVX2 the peers that can be are too: another machine class on this machine."""
    if os.environ.get("CCONV_ISA") == "avx2" and "torch" not in sys.modules:
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
        os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
        os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", "AVX2")


def run(args: argparse.Namespace, rows: list[Row]) -> None:
    """Measures what is not among the rows yet; each is written at once."""
    from .__main__ import machine

    done = {(row["layer"], row["threads"]) for row in rows}
    groups = tuple(name for name in drawn.GROUPS if name in args.only)
    start, about = time.perf_counter(), machine() if args.json else None
    for threads in args.threads:
        for i in range(len(args.layers) if args.layers else args.count):
            if args.layers:
                layer = parse(args.layers[i])
            else:
                layer = drawn.layer(args.seed, args.first + i, groups)
            if (layer.name, threads) in done:
                continue
            if args.stop and time.perf_counter() - start > args.stop:
                return
            rows.append({"index": args.first + i} | measure(layer, threads, args))
            print(line(rows[-1]), flush=True)
            if args.json:
                Path(args.json).write_text(json.dumps({"machine": about, "rows": rows}, indent=1))


def main() -> None:
    args = arguments()
    hold_peers()
    rows: list[Row] = []
    for path in map(Path, args.read or filter(None, [args.json])):
        if args.read or path.exists():
            rows += json.loads(path.read_text())["rows"]
    if not args.read:
        run(args, rows)
    print(summary(rows, args.worst))


if __name__ == "__main__":
    main()
