"""Each algorithm's share of what the machine can do: python -m benchmarks.limits [--seconds 1]

Two limits are measured in the same run, on one thread. FMA peak: a multiplication of matrices that stay in L2, by the
BLAS of NumPy, or by a 1 x 1 convolution of cconv if that is faster. Bandwidth: copying arrays of the layer's own size.
The share of a convolution is the time that its multiply-adds would take at the peak, over the time that it takes; for
Winograd those are the ones that it does, and "direct" counts what a plain sum would need. The share of a pool is
the time to copy its input and output, that of an FFT the time of one `numpy.fft` of the input there and one of the
output back. Lower quartiles; a busy machine blurs them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import cconv

from .__main__ import machine, quartile


class Case(NamedTuple):
    algorithm: str
    name: str
    call: Callable[[], Any]
    multiplied: float  # multiply-adds that the algorithm does; 0: bound by memory
    direct: float  # those of a plain sum
    touched: float  # bytes of input and output
    floor: Callable[[], Any] | None = None  # what has to be done at least, if it is neither


def timed(call: Callable[[], Any], seconds: float) -> float:
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return quartile(times)


def fma_peak(seconds: float) -> float:
    """Multiply-adds a second."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, 192), dtype=np.float32) for n in (192, 768))
    out = np.empty((192, 768), np.float32)
    blas = a.shape[0] * b.shape[0] * 192 / timed(lambda: np.matmul(a, b.T, out=out), seconds)
    x, w = a.reshape(1, 192, 1, 192), rng.standard_normal((192, 192, 1, 1), dtype=np.float32)
    run, y = cconv.prepack(w), np.empty((1, 192, 1, 192), np.float32)
    return max(blas, 192**3 / timed(lambda: run(x, out=y), seconds))


def bandwidth(size: float, seconds: float) -> float:
    """Bytes a second, read and written, copying arrays that together have that size."""
    a = np.ones(max(1024, int(size) // 8), np.float32)
    b = np.empty_like(a)
    return 2 * a.nbytes / timed(lambda: np.copyto(b, a), seconds)


def convolution(kind: str, name: str, x: Any, w: Any, saved: float = 1, **options: int) -> Case:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s, dtype=np.float32) for s in (x, w))
    run = cconv.prepack(b, **options)
    y = run(a)
    direct = float(y.size) * b[0].size
    return Case(kind, name, lambda: run(a, out=y), direct / saved, direct, a.nbytes + y.nbytes)


def fft(name: str, x: Any, w: Any, **options: int) -> Case:
    """With the floor that two transforms of the whole are, instead of multiply-adds."""
    case = convolution("FFT", name, x, w, algorithm="fft", **options)
    a = np.zeros(x, np.float32)
    axes = tuple(range(2, len(x)))

    def floor() -> Any:
        return np.fft.irfftn(np.fft.rfftn(a, axes=axes), x[2:], axes=axes)

    return case._replace(multiplied=0, floor=floor)


def pool(algorithm: str, name: str, x: Any, function: Callable[..., Any], *window: int) -> Case:
    a = np.random.default_rng(0).standard_normal(x, dtype=np.float32)
    y = function(a, *window)
    return Case(algorithm, name, lambda: function(a, *window, out=y), 0, 0, a.nbytes + y.nbytes)


def gradient(kind: str, x: Any, w: Any, padding: int) -> Case:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s, dtype=np.float32) for s in (x, w))
    g = cconv.conv2d(a, b, padding=padding)
    work = float(g.size) * b[0].size
    if kind == "weight":
        return Case(
            "weight gradient",
            f"{x} {w}",
            lambda: cconv.grad.conv2d_weight(a, w, g, padding=padding),
            work,
            work,
            0,
        )
    saved = 4.0 if w[2] == 3 else 1.0
    return Case(
        "input gradient",
        f"{x} {w}",
        lambda: cconv.grad.conv2d_input(x, b, g, padding=padding),
        work / saved,
        work,
        0,
    )


def cases() -> list[Case]:
    dense = {"padding": 1}
    return [
        convolution("GEMM tiles", "1x64x56x56 256 k1", (1, 64, 56, 56), (256, 64, 1, 1)),
        convolution("GEMM tiles", "1x128x56x56 128 k3 s2", (1, 128, 56, 56), (128, 128, 3, 3), stride=2, padding=1),
        convolution("GEMM tiles", "stem 1x3x224x224 64 k7 s2", (1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3),
        convolution("Winograd F(4)", "vgg 1x64x224x224 64 k3", (1, 64, 224, 224), (64, 64, 3, 3), 4, **dense),
        convolution("Winograd F(4)", "1x128x28x28 128 k3", (1, 128, 28, 28), (128, 128, 3, 3), 4, **dense),
        convolution("Winograd F(4), 1-D", "speech 4x64x4000 64 k3", (4, 64, 4000), (64, 64, 3), 2, **dense),
        convolution("rows", "depthwise 1x144x56x56 k3", (1, 144, 56, 56), (144, 1, 3, 3), padding=1, groups=144),
        convolution("rows", "depthwise 1x256x1000 k31", (1, 256, 1000), (256, 1, 31), padding=15, groups=256),
        convolution("rows", "image 1x3x512x512 k15", (1, 3, 512, 512), (3, 1, 15, 15), padding=7, groups=3),
        fft("1x1x160000 k8001", (1, 1, 160000), (1, 1, 8001), padding=4000),
        fft("1x3x512x512 k101", (1, 3, 512, 512), (3, 1, 101, 101), padding=50, groups=3),
        pool("max pool", "2x2 s2 1x64x112x112", (1, 64, 112, 112), cconv.max_pool2d, 2),
        pool("max pool", "3x3 s2 1x64x112x112", (1, 64, 112, 112), cconv.max_pool2d, 3, 2, 1),
        pool("max pool, doubling", "31x31 s1 1x3x512x512", (1, 3, 512, 512), cconv.max_pool2d, 31, 1, 15),
        pool("average pool, doubling", "31x31 s1 1x3x512x512", (1, 3, 512, 512), cconv.avg_pool2d, 31, 1, 15),
        gradient("input", (8, 64, 56, 56), (64, 64, 3, 3), 1),
        gradient("weight", (8, 64, 56, 56), (64, 64, 3, 3), 1),
        gradient("weight", (8, 64, 56, 56), (256, 64, 1, 1), 0),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for one layer")
    seconds = parser.parse_args().seconds
    cconv.set_num_threads(1)
    from threadpoolctl import threadpool_limits

    rows = []
    with threadpool_limits(1):  # NumPy's BLAS
        peak = fma_peak(seconds)
        for case in cases():
            took = timed(case.call, seconds)
            if case.floor:
                rate = f"{2 * case.direct / took / 1e9:.0f} GF/s direct"
                share, limit = timed(case.floor, seconds) / took, "numpy.fft"
            elif case.multiplied:
                rate = f"{2 * case.direct / took / 1e9:.0f} GF/s direct"
                share, limit = case.multiplied / peak / took, "FMA"
            else:
                rate = f"{case.touched / took / 1e9:.1f} GB/s"
                share, limit = case.touched / bandwidth(case.touched, seconds / 4) / took, "copy"
            rows.append(
                f"| {case.algorithm} | {case.name} | {1e3 * took:.3f} | {rate} | {limit} | {100 * share:.0f} % |"
            )
        peak = max(peak, fma_peak(seconds))
        copies = [bandwidth(size, seconds / 2) / 1e9 for size in (2**18, 2**22, 2**27)]
    about = machine()
    print(
        f"{about['cpu']}, {cconv.show_config()['isa']}, commit {about['commit']}, {about['date']}, one thread:"
    )
    print(f"FMA peak {2 * peak / 1e9:.0f} GF/s float32;", end=" ")
    print(
        "copying {:.0f} GB/s in L2, {:.0f} in L3, {:.0f} in memory, read and written\n".format(
            *copies
        )
    )
    print("| algorithm | layer | ms | rate | limit | share |\n|---|---|--:|--:|---|--:|")
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
