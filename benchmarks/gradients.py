"""Gradients beside torch's: python -m benchmarks.gradients [--layers TEXT] [--threads 1 2] [--json FILE]

The layers are those of `layers.py`, the residual networks' with a batch of 8. torch runs the operators that its
autograd calls (`aten::convolution_backward` with one gradient asked for), without the graph around them.
Max pools: torch's backward takes the indices that its forward has left; cconv's function gets the input, and finds
the maxima again. So the ratio is that of forward and gradient together; that of the gradients alone stands beside it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cconv
from cconv import grad

from .__main__ import machine
from .layers import LAYERS, Layer
from .timing import in_blocks, mean

Calls = dict[str, Callable[[], Any]]


def batched(layer: Layer) -> Layer:
    """The layers of residual networks (named by their shapes) with a batch of 8."""
    if (
        layer.rank == 2
        and layer.kind in ("dense", "strided", "1x1")
        and layer.name.startswith("1x")
    ):
        return layer._replace(name=f"8{layer.name[1:]}", input=(8, *layer.input[1:]))
    if layer.name.startswith("lenet"):
        return layer._replace(name="lenet 64x1x28x28 6 k5", input=(64, *layer.input[1:]))
    return layer


def conv_calls(layer: Layer) -> dict[str, Calls]:
    """What is compared, by gradient: calls of torch and of cconv."""
    import torch

    rank = layer.rank
    rng = np.random.default_rng(0)
    x = rng.standard_normal(layer.input, dtype=np.float32)
    w = rng.standard_normal(layer.weight, dtype=np.float32)
    s, p, d, g = (layer.get(n) for n in ("stride", "padding", "dilation", "groups"))
    turned = layer.op == "conv_transpose"
    options = (s, p, 0, g, d) if turned else (s, p, d, g)
    y = getattr(cconv, f"{layer.op}{rank}d")(x, w, None, *options)
    gy = rng.standard_normal(y.shape, dtype=np.float32)
    tx, tw, tg = (torch.from_numpy(a) for a in (x, w, gy))

    def theirs(mask: list[bool]) -> Any:
        return torch.ops.aten.convolution_backward(
            tg, tx, tw, None, [s] * rank, [p] * rank, [d] * rank, turned, [0] * rank, g, mask
        )

    by_input = getattr(grad, f"{layer.op}{rank}d_input")
    by_weight = getattr(grad, f"{layer.op}{rank}d_weight")
    return {
        "input": {
            "torch": lambda: theirs([True, False, False])[0],
            "cconv": lambda: by_input(x.shape, w, gy, *options),
        },
        "weight": {
            "torch": lambda: theirs([False, True, False])[1],
            "cconv": lambda: by_weight(x, w.shape, gy, *options),
        },
    }


def pool_calls(layer: Layer) -> dict[str, Calls]:
    import torch

    rank = layer.rank
    assert rank == 2
    rng = np.random.default_rng(0)
    x = rng.standard_normal(layer.input, dtype=np.float32)
    k, s, p = list(layer.weight), [layer.get("stride")] * 2, [layer.get("padding")] * 2
    window = (layer.weight, layer.get("stride"), layer.get("padding"))
    forward = getattr(cconv, f"{layer.op}2d")
    gy = rng.standard_normal(forward(x, *window).shape, dtype=np.float32)
    tx, tg = torch.from_numpy(x), torch.from_numpy(gy)
    aten = torch.ops.aten
    if layer.op == "avg_pool":
        return {
            "input": {
                "torch": lambda: aten.avg_pool2d_backward(tg, tx, k, s, p, False, True, None),
                "cconv": lambda: grad.avg_pool2d_input(x.shape, gy, *window),
            }
        }
    indices = aten.max_pool2d_with_indices(tx, k, s, p)[1]

    def alone(i: Any) -> Any:
        return aten.max_pool2d_with_indices_backward(tg, tx, k, s, p, [1, 1], False, i)

    def ours() -> Any:
        forward(x, *window)
        return grad.max_pool2d_input(x, gy, *window)

    return {
        "input": {
            "torch": lambda: alone(aten.max_pool2d_with_indices(tx, k, s, p)[1]),
            "cconv": ours,
        },
        "alone": {
            "torch": lambda: alone(indices),
            "cconv": lambda: grad.max_pool2d_input(x, gy, *window),
        },
    }


def measure(layer: Layer, threads: int, seconds: float) -> dict[str, Any]:
    """Milliseconds of both; the results are compared first."""
    import torch

    cconv.set_num_threads(threads)
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    row: dict[str, Any] = {"layer": layer.name, "kind": layer.kind, "threads": threads}
    found = pool_calls(layer) if layer.op.endswith("pool") else conv_calls(layer)
    for of, calls in found.items():
        a, b = (np.asarray(calls[name]()) for name in ("torch", "cconv"))
        error = float(abs(a - b).max() / abs(a).max())
        assert error < 1e-4, f"{layer.name}: the {of} gradients differ by {error:.1e}"
        row[of] = in_blocks(calls, threads, seconds / 2)
        row[of]["ratio"] = row[of]["torch"] / row[of]["cconv"]
    return row


def show(row: dict[str, Any]) -> str:
    text = f"{row['layer']:<34} {row['threads']}"
    for of in ("input", "weight", "alone"):
        if of in row:
            r = row[of]
            text += f"   {of:<6} {r['torch']:9.3f} {r['cconv']:9.3f} {r['ratio']:6.2f}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradients", description=__doc__)
    parser.add_argument("--layers", default="", help="only layers whose name has this text")
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="for one gradient")
    parser.add_argument("--json", help="write the figures here")
    args = parser.parse_args()
    print(f"{'layer':<34} T   gradient   torch ms  cconv ms  ratio")
    rows = []
    for threads in args.threads:
        for layer in map(batched, LAYERS):
            if args.layers in layer.name:
                rows.append(measure(layer, threads, args.seconds))
                print(show(rows[-1]), flush=True)
    for threads in args.threads:
        mine = [row for row in rows if row["threads"] == threads]
        for of, pools in (("input", False), ("weight", False), ("input", True), ("alone", True)):
            ratios = [r[of]["ratio"] for r in mine if of in r and (r["kind"] == "pool") == pools]
            if ratios:
                label = f"{threads} thread(s), {'pools' if pools else 'convolutions'}, {of}"
                print(f"{label:<38} geometric mean {mean(ratios):5.2f}, least {min(ratios):5.2f}")
    if args.json:
        Path(args.json).write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
