"""Measures: python -m benchmarks [--layers TEXT] [--kinds ...] [--threads 1 2] [--json FILE] [--png FILE]"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .layers import LAYERS, Layer
from .peers import OURS, PEERS, Arrays, calls
from .timing import Call, in_blocks, mean
from .timing import quartile as quartile  # other benchmarks have it from here


def compared(layer: Layer, todo: dict[str, Call]) -> tuple[int, ...]:
    """The outputs' shape, after one call of each: all are the same but for rounding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ncnn's old way of becoming an array
        outputs = {name: np.array(call()) for name, call in todo.items()}
    reference = outputs.get("cconv", next(iter(outputs.values())))
    scale = abs(reference).max(initial=0) + 1e-30
    for name, output in outputs.items():
        error = float(abs(output.reshape(reference.shape) - reference).max(initial=0) / scale)
        assert error < 1e-4, f"{name} differs from cconv by {error:.1e} on {layer.name}"
    return tuple(reference.shape)


def measure(layer: Layer, threads: int, wanted: list[str], seconds: float) -> dict[str, Any]:
    """Milliseconds of every peer on one layer; the outputs are compared first."""
    todo = calls(layer, Arrays(layer), threads, wanted)
    shape = compared(layer, todo)
    ms = in_blocks(todo, threads, seconds / len(todo))
    peers = {name: t for name, t in ms.items() if name not in OURS}
    row: dict[str, Any] = {"layer": layer.name, "kind": layer.kind, "threads": threads, "ms": ms}
    if peers:
        row["fastest"] = min(peers, key=peers.__getitem__)
        for name in OURS:
            if name in ms:
                row[f"ratio_{name}"] = peers[row["fastest"]] / ms[name]
                if "torch" in ms:
                    row[f"torch_{name}"] = ms["torch"] / ms[name]
    ours = min((ms[n] for n in OURS if n in ms), default=None)
    if ours:
        row["gflops"] = layer.flops(shape) / ours / 1e6
    return row


def best(row: dict[str, Any]) -> float:
    """The ratio that the goal is about: prepacked where there are weights."""
    return float(row.get("ratio_prepack", row.get("ratio_cconv", float("nan"))))


def show(row: dict[str, Any], names: list[str]) -> str:
    cells = [f"{row['layer']:<34}", str(row["threads"])]
    cells += [f"{row['ms'][n]:9.3f}" if n in row["ms"] else " " * 9 for n in names]
    cells += [
        f"{row[k]:6.2f}" if k in row else " " * 6
        for k in ("ratio_cconv", "ratio_prepack", "torch_cconv")
    ]
    return " ".join(cells) + (f" {row['gflops']:6.1f}" if "gflops" in row else "")


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    cpu = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    packages = ("cconv", "numpy", "torch", "onnxruntime", "openvino", "ncnn")
    result = {
        "cpu": cpu,
        "platform": platform.platform(),
        "date": time.strftime("%Y-%m-%d"),
        "commit": git.stdout.strip() or None,
        "versions": {p: version(p) for p in packages},
    }
    try:
        import cconv

        result["cconv"] = cconv.show_config()
    except ImportError:
        pass
    return result


def draw(rows: list[dict[str, Any]], path: str) -> None:
    """One bar a layer: the fastest peer's time over cconv's."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    counts = sorted({row["threads"] for row in rows})
    names = list(dict.fromkeys(row["layer"] for row in rows))
    figure, axes = plt.subplots(figsize=(9, 0.28 * len(names) + 1.2), layout="constrained")
    for i, threads in enumerate(counts):
        found = {row["layer"]: best(row) for row in rows if row["threads"] == threads}
        y = [n + (i - (len(counts) - 1) / 2) * 0.8 / len(counts) for n in range(len(names))]
        label = f"{threads} thread{'s' if threads > 1 else ''}"
        axes.barh(
            y, [found.get(n, 0) for n in names], 0.8 / len(counts), label=label, color=f"C{i}"
        )
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.set_xlabel("time of the fastest peer / time of cconv (longer is better)")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--layers", default="", help="only layers whose name has this text")
    parser.add_argument("--kinds", nargs="*", help="only these kinds")
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--seconds", type=float, default=2.0, help="for one layer")
    parser.add_argument("--json", help="write the figures here")
    parser.add_argument("--png", help="draw the ratios here")
    args = parser.parse_args()
    layers = [
        x for x in LAYERS if args.layers in x.name and (not args.kinds or x.kind in args.kinds)
    ]
    print(
        f"{'layer':<34} T",
        *(f"{n:>9}" for n in args.peers),
        " ratio prepck  torch   GF/s",
        "(GB/s of pools)",
    )
    rows = []
    for threads in args.threads:
        for layer in layers:
            rows.append(measure(layer, threads, args.peers, args.seconds))
            print(show(rows[-1], args.peers), flush=True)
    for threads in args.threads:
        mine = [row for row in rows if row["threads"] == threads]
        for kind in dict.fromkeys(row["kind"] for row in mine):
            ratios = [best(row) for row in mine if row["kind"] == kind]
            print(
                f"{threads} thread(s), {kind:<10} geometric mean {mean(ratios):5.2f}, least {min(ratios):5.2f}"
            )
        ratios = [best(row) for row in mine]
        print(
            f"{threads} thread(s), all        geometric mean {mean(ratios):5.2f}, least {min(ratios):5.2f}"
        )
    if args.json:
        Path(args.json).write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))
    if args.png:
        draw(rows, args.png)


if __name__ == "__main__":
    main()
