"""Blocks and cost of convolution by overlap-save, for kernels of LEAST_TAPS and more."""

from __future__ import annotations

from typing import NamedTuple

from .._problem import ConvProblem, Three, volume
from .cost import direct_cycles
from .machine import Machine, ceil_div

BLOCK = 2**19  # values
MOST = 24 * 2**20  # bytes
LEAST_TAPS = 256


class FftPlan(NamedTuple):
    block: Three  # transform lengths
    channels: int  # input and output channels whose spectra are held at once
    outputs: int


def length(n: int) -> int:
    """The least product of powers of 2, 3 and 5 that is at least n."""
    best = 1 << max(0, n - 1).bit_length()
    for five in (1, 5, 25):
        for three in (1, 3, 9):
            m = five * three
            best = min(best, m << max(0, (ceil_div(n, m) - 1)).bit_length())
    return best


def fft(p: ConvProblem, m: Machine) -> FftPlan:
    """Blocks of some times the kernel, of at most BLOCK values, and as many channels as the budget holds."""
    reach = [(k - 1) * d + 1 for k, d in zip(p.kernel, p.dilation, strict=True)]
    block = []
    for k, r, o, s in zip(p.kernel, reach, p.out, p.stride, strict=True):
        span = (o - 1) * s + 1
        # one block if it is not much longer than the blocks that would be worth their overlap
        worth = length(6 * r)
        axis = length(span + r - 1) if span + r <= worth else worth
        block.append(1 if k == 1 and o == 1 else axis)
    while block[0] * block[1] * block[2] > BLOCK:
        ratio, a = max((block[a] / reach[a], a) for a in range(3))
        if ratio < 2.5:
            break
        block[a] = length(max(block[a] // 2, reach[a] * 2))
    size = block[0] * block[1] * block[2] * m.itemsize * 2
    channels = max(1, min(p.C, MOST // 4 // size))
    outputs = max(1, min(p.O, MOST // 2 // (size * channels)))
    return FftPlan((block[0], block[1], block[2]), channels, outputs)


def overlap_cycles(p: ConvProblem, m: Machine) -> float:
    """Cycles of transforms and products of spectra, those of the weights too."""
    plan = fft(p, m)
    blocks, size = 1.0, volume(plan.block)
    for F, k, d, o, s in zip(plan.block, p.kernel, p.dilation, p.out, p.stride, strict=True):
        blocks *= ceil_div((o - 1) * s + 1, max(1, F - (k - 1) * d))
    transform = size * (size.bit_length() + 4) * m.rates.fft
    transforms = p.C * ceil_div(p.O, plan.outputs) + p.O * ceil_div(p.C, plan.channels)
    products = m.rates.spectrum * p.C * p.O * size
    cuts = ceil_div(p.O, plan.outputs) * ceil_div(p.C, plan.channels)
    each = transforms * transform + products + cuts * m.rates.block
    return p.G * (blocks * each + p.C * p.O * transform)


def pays(p: ConvProblem, m: Machine) -> bool:
    """Whether transforms take less than half the cycles of a direct convolution; only for many taps.

    Half, because the FFT runs on one thread and the choice must not depend on how many there are.
    """
    if volume(p.kernel) < LEAST_TAPS or p.mode:
        return False
    return 2 * overlap_cycles(p, m) < p.G * direct_cycles(p, m)


def fft_reason(plan: FftPlan) -> str:
    return f"overlap-save in blocks of {plan.block}"
