"""An epoch of `python -m cconv train` beside the same loop in torch: python -m benchmarks.epoch [--threads 1 2]"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import cconv
from cconv import _train

from .__main__ import quartile


def torch_epoch(run: _train.Run) -> Any:
    """The same network, optimiser and batches in torch."""
    import torch

    F = torch.nn.functional

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 16, 3, padding=1)
            self.conv2 = torch.nn.Conv2d(16, 64, 3, padding=1)
            self.linear = torch.nn.Linear(256, 10)

        def forward(self, x: Any) -> Any:
            x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
            x = F.avg_pool2d(torch.relu(self.conv2(x)), 2)
            return self.linear(x.flatten(1))

    net = Net()
    net.load_state_dict(
        {n: torch.from_numpy(p.copy()) for n, p in run.network.parameters().items()}
    )
    adam = torch.optim.Adam(net.parameters(), lr=run.rate)

    def epoch(first: int) -> float:
        for step in range(first, first + run.epoch_steps):
            images, labels = (torch.from_numpy(a) for a in run.batch_of(step))
            loss = F.cross_entropy(net(images), labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
        return float(loss)

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epoch", description=__doc__)
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--batches", nargs="*", type=int, default=[16, 128])
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    import torch

    for threads in args.threads:
        torch.set_num_threads(threads)
        cconv.set_num_threads(threads)
        for batch in args.batches:
            run = _train.Run(0, batch, 0.003, np.float32)
            theirs = torch_epoch(run)
            times: dict[str, list[float]] = {"torch": [], "cconv": []}
            for epoch in range(args.epochs):
                start = time.perf_counter()
                theirs(epoch * run.epoch_steps)
                times["torch"].append(time.perf_counter() - start)
                start = time.perf_counter()
                for _ in range(run.epoch_steps):
                    run.step()
                times["cconv"].append(time.perf_counter() - start)
            ms = {name: 1e3 * quartile(t) for name, t in times.items()}
            print(
                f"{threads} thread(s), batch {batch:3}: torch {ms['torch']:7.1f} ms, cconv {ms['cconv']:7.1f} ms, "
                f"ratio {ms['torch'] / ms['cconv']:.2f}"
            )


if __name__ == "__main__":
    main()
