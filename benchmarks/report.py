"""The tables of docs/speed.md, README's lines and the charts, from the figures: python -m benchmarks.report FOLDER

FOLDER has what the benchmarks wrote with --json, one file for each instruction set: named_avx512.json (`benchmarks`),
random_avx512.json (`benchmarks.random_layers --regret`), double_avx512.json (the same with --dtype float64),
networks_avx512.json, gradients_avx512.json, shapes_avx512.json, and the same of avx2. What is not there stays as it
was. Text between `<!-- NAME -->` and `<!-- /NAME -->` is replaced.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from .__main__ import best, draw
from .networks import LEAST, SHARE, sums
from .timing import mean, quantile

Rows = list[dict[str, Any]]
ISAS = {"avx512": "AVX-512", "avx2": "AVX2"}
ROOT = Path(__file__).parent.parent
PAGE, README = ROOT / "docs" / "speed.md", ROOT / "README.md"
CHART = ROOT / "docs" / "_static" / "speed.png"


def of_threads(rows: Rows) -> dict[int, Rows]:
    return {t: [r for r in rows if r["threads"] == t] for t in sorted({r["threads"] for r in rows})}


def table(head: str, lines: list[str]) -> str:
    columns = head.strip("| ").split(" | ")
    rule = "|".join(["---", *["--:"] * (len(columns) - 1)])
    return "\n".join([f"| {head} |", f"|{rule}|", *(f"| {line} |" for line in lines)])


def three(ratios: list[float]) -> str:
    """Mean, tenth percentile, worst."""
    if not ratios:
        return " | | "
    return f"{mean(ratios):.2f} | {quantile(ratios, 0.1):.2f} | {min(ratios):.2f}"


def named(rows: Rows) -> str:
    found = of_threads(rows)
    lines = []
    for row in found[min(found)]:
        ms = row["ms"]
        same = [next((r for r in of if r["layer"] == row["layer"]), None) for of in found.values()]
        ratios = [f"{best(r):.2f}" if r else "" for r in same]
        packed = f"{ms['prepack']:.3f}" if "prepack" in ms else ""
        peer = f"{ms[row['fastest']]:.3f} {row['fastest']}"
        lines.append(" | ".join([row["layer"], peer, f"{ms['cconv']:.3f}", packed, *ratios]))
    heads = [f"ratio, {t} thread{'s' * (t > 1)}" for t in found]
    head = " | ".join(["layer", "fastest peer, ms", "plain, ms", "prepacked, ms", *heads])
    means = ", ".join(
        f"{mean([best(r) for r in of]):.2f} (least {min(map(best, of)):.2f}) with {t} thread{'s' * (t > 1)}"
        for t, of in found.items()
    )
    return f"{table(head, lines)}\n\nGeometric mean {means}."


def random_layers(rows: Rows) -> str:
    parts = []
    for threads, of in of_threads(rows).items():
        lines = []
        for kind in ["all", *sorted({r["kind"] for r in of})]:
            mine = [r for r in of if kind in ("all", r["kind"])]
            ratios = [[r[form] for r in mine if form in r] for form in ("plain", "packed")]
            lines.append(f"{kind} | {len(mine)} | {three(ratios[0])} | {three(ratios[1])}")
        head = "kind | layers | plain: mean | tenth | worst | prepacked: mean | tenth | worst"
        parts.append(f"{threads} thread{'s' * (threads > 1)}:\n\n{table(head, lines)}")
        for form in ("cconv", "prepack"):
            regrets = [r["regret"][form]["regret"] for r in of if form in r.get("regret", {})]
            if regrets:
                name = {"cconv": "plain", "prepack": "prepacked"}[form]
                parts.append(
                    f"Regret, {name}: ninetieth percentile {quantile(regrets, 0.9):.2f}, worst {max(regrets):.2f}."
                )
    return "\n\n".join(parts)


def networks(rows: Rows) -> str:
    parts = []
    for threads, of in of_threads(rows).items():
        lines = []
        for network in dict.fromkeys(r["network"] for r in of):
            mine = [r for r in of if r["network"] == network]
            total, count = sums(mine), sum(r["times"] for r in mine)
            slow = sum(
                r["ms"]["ort"] < LEAST * r["ms"]["cconv"]
                and r["times"] * r["ms"]["cconv"] > SHARE * total["cconv"]
                for r in mine
            )
            ratio = total["ort"] / total["cconv"]
            lines.append(
                f"{network} | {count} | {total['ort']:.2f} | {total['cconv']:.2f} | {ratio:.2f} | {slow}"
            )
        head = f"network | nodes | ONNX Runtime, ms | cconv, ms | ratio | below {LEAST} and over {SHARE:.0%}"
        parts.append(f"{threads} thread{'s' * (threads > 1)}:\n\n{table(head, lines)}")
    return "\n\n".join(parts)


def shapes(rows: Rows) -> str:
    lines = [
        f"{r['layer']} | {r['spread']:.2f} | "
        + ", ".join(f"{f} {t:.3f}" for f, t in r["ms"].items())
        for r in rows
    ]
    return table("the same work | largest over least | ms", lines)


def gradients(rows: Rows) -> str:
    found = of_threads(rows)
    lines = []
    for row in found[min(found)]:
        same = [next((r for r in of if r["layer"] == row["layer"]), {}) for of in found.values()]
        cells = [row["layer"]]
        for of in ("input", "weight" if "weight" in row else "alone"):
            r = row.get(of)
            ratios = ", ".join(f"{s[of]['ratio']:.2f}" for s in same if of in s)
            alone = "alone: " * (of == "alone")
            cells += [f"{alone}{r['torch']:.3f}, {r['cconv']:.3f}", ratios] if r else ["", ""]
        lines.append(" | ".join(cells))
    return table(
        "layer | input gradient: torch, cconv, ms | ratio, 1 and 2 threads"
        " | weight gradient: torch, cconv, ms | ratio, 1 and 2 threads",
        lines,
    )


def sorted_ratios(random: dict[str, Rows], path: Path) -> None:
    """All random layers by their ratio: a curve for each instruction set and number of threads."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for i, (isa, rows) in enumerate(random.items()):
        for threads, of in of_threads(rows).items():
            ratios = sorted(r["packed"] for r in of if "packed" in r)
            x = [100 * (n + 0.5) / len(ratios) for n in range(len(ratios))]
            label = f"{ISAS[isa]}, {threads} thread{'s' * (threads > 1)}"
            axes.plot(x, ratios, f"C{i}{'-' if threads == 1 else '--'}", label=label)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log", base=2)
    axes.set_xlim(0, 100)
    axes.set_xlabel("random layers, by ratio (%)")
    axes.set_ylabel("time of the faster of torch and\nONNX Runtime / time of cconv")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=110)


def machine_line(about: dict[str, Any]) -> str:
    versions = ", ".join(f"{n} {v}" for n, v in about["versions"].items() if v and n != "cconv")
    return f"{about['cpu']}, commit {about['commit']}, {about['date']}; {versions}."


def readme_line(isa: str, files: dict[str, dict[str, Any]]) -> str:
    """What the README says of a machine class."""
    said = []
    if f"random_{isa}" in files:
        for threads, of in of_threads(files[f"random_{isa}"]["rows"]).items():
            packed, plain = ([r[form] for r in of if form in r] for form in ("packed", "plain"))
            of_torch, of_best = (f"{mean(r):.2f} ({quantile(r, 0.1):.2f})" for r in (plain, packed))
            said.append(
                f"{len(of)} random layers with {threads} thread{'s' * (threads > 1)} {of_best} times the better of "
                f"torch and ONNX Runtime, plain calls {of_torch} times torch"
            )
    if f"named_{isa}" in files:
        ratios = of_threads(files[f"named_{isa}"]["rows"])
        means = " and ".join(f"{mean([best(r) for r in of]):.2f}" for of in ratios.values())
        said.append(f"named layers {means} times the best of five peers")
    if f"networks_{isa}" in files:
        rows = of_threads(files[f"networks_{isa}"]["rows"])[1]
        total = [sums([r for r in rows if r["network"] == n]) for n in {r["network"] for r in rows}]
        said.append(
            f"{len(total)} pretrained networks {mean([t['ort'] / t['cconv'] for t in total]):.2f} times ONNX Runtime"
        )
    return f"**{ISAS[isa]}**: {'; '.join(said)}." if said else ""


def filled(text: str, name: str, new: str) -> str:
    """The text with what is between the marks of this name replaced."""
    marks = re.compile(f"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    assert marks.search(text), f"there is no <!-- {name} -->"
    return marks.sub(lambda m: f"{m[1]}\n{new}\n\n{m[2]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    files = {path.stem: json.loads(path.read_text()) for path in sorted(args.folder.glob("*.json"))}
    kinds = {
        "named": named,
        "random": random_layers,
        "double": random_layers,
        "networks": networks,
        "shapes": shapes,
        "gradients": gradients,
    }
    page, readme = PAGE.read_text(), README.read_text()
    for name, file in files.items():
        kind, isa = name.split("_")
        page = filled(page, name, kinds[kind](file["rows"]))
        if "machine" in file and kind in ("named", "random"):
            page = filled(page, f"machine_{isa}", machine_line(file["machine"]))
    for isa in ISAS:
        line = readme_line(isa, files)
        readme = filled(readme, f"speed_{isa}", line) if line else readme
    PAGE.write_text(page)
    README.write_text(readme)
    random = {isa: files[f"random_{isa}"]["rows"] for isa in ISAS if f"random_{isa}" in files}
    if random:
        sorted_ratios(random, CHART)
    for isa in ISAS:
        if f"named_{isa}" in files:
            draw(files[f"named_{isa}"]["rows"], str(CHART.with_name(f"layers_{isa}.png")))


if __name__ == "__main__":
    main()
