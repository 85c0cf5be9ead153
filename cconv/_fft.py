"""Convolution with large kernels by overlap-save: blocks of the input, multiplied with the kernel's spectrum.

    y = irfft( sum over c of rfft(x block) * conj(rfft(w)) ), of which the first F - (k - 1) values an axis are right

after Oppenheim and Schafer, Discrete-Time Signal Processing, section 8.7.3, on every spatial axis with numpy.fft
(which keeps float32 from NumPy 2.0 on). A block that holds a NaN or an infinity is computed directly instead: a
transform would spread it over the whole block. `_plan.fft` chooses the block; spectra and blocks together stay within
its budget, for channels are taken some at a time.

Used past the crossover that `_plan.fft` models: one long row from about 2,000 taps on, images from about 45 x 45.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._convert import to_result
from ._plan import choose
from ._run.conv import ConvProgram
from .kernels.job import PadMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ._run.runner import Runner
    from ._strategies import Array, Arrays

Slices = tuple[slice, ...]


class Packed(NamedTuple):
    """Weights with what of them does not change from call to call."""

    weight: Array
    spectrum: Array | None  # where all of it fits the budget at once


class Overlap:
    """The work of a strategy Fft, for arrays of its dtype."""

    def __init__(self, strategy: choose.Fft, out_shape: tuple[int, ...]):
        self.strategy, self.out_shape = strategy, out_shape
        self.problem, self.plan = p, plan = strategy.problem, strategy.plan
        self.dtype = np.dtype(strategy.machine.dtype)
        self.axes = tuple(a for a in (-3, -2, -1) if plan.block[a] > 1) or (-1,)
        self.lengths = [plan.block[a] for a in self.axes]
        useful = [F - (k - 1) * d for F, k, d in zip(plan.block, p.kernel, p.dilation, strict=True)]
        # a block starts at a multiple of the stride, so that its first output is one that is wanted
        self.hops = [max(1, u // s) * s for u, s in zip(useful, p.stride, strict=True)]
        self.programs: dict[tuple[int, int], Runner] = {}

    def layout(self) -> tuple[object, ...]:
        """What the packed weights depend on beside the weights."""
        return "fft", self.dtype, self.plan

    def pack(self, weight: Array) -> Packed:
        """The spectra, if they fit the budget at once; else the weights, whose spectra are made part by part."""
        p = self.problem
        whole = self.plan.channels >= p.C and self.plan.outputs >= p.O and p.G == 1
        if not whole or not np.isfinite(weight).all():
            return Packed(weight, None)
        return Packed(weight, self.spectrum(weight, 0, slice(0, p.O), slice(0, p.C)))

    def spectrum(self, weight: Array, g: int, outputs: slice, inputs: slice) -> Array:
        """conj(rfft(w)) of some channels of a group, with the dilation's gaps as zeros."""
        p = self.problem
        w = weight.reshape(p.G, p.O, p.C, *p.kernel)[g, outputs, inputs]
        spread: Array = np.zeros((*w.shape[:2], *self.plan.block), self.dtype)
        taps: Iterable[Any] = (
            slice(0, (k - 1) * d + 1, d) for k, d in zip(p.kernel, p.dilation, strict=True)
        )
        spread[(..., *taps)] = w
        result: Array = np.fft.rfftn(spread, self.lengths, self.axes)
        return np.conjugate(result, out=result)

    def gather(self, x: Array, start: tuple[int, ...]) -> tuple[Array, bool]:
        """A block of padded input, channels first, and whether all of it is finite."""
        p = self.problem
        index, inside = [], []
        for L, F, at, before in zip(p.size, self.plan.block, start, p.before, strict=True):
            i = np.arange(at - before, at - before + F)
            inside.append((max(0, -int(i[0])), max(0, min(F, L - int(i[0])))))
            index.append(i)
        if p.mode == PadMode.PAD_ZEROS:
            block: Array = np.zeros((x.shape[0], *self.plan.block), self.dtype)
            cut = tuple(slice(a, max(a, b)) for a, b in inside)
            from_ = tuple(
                slice(int(i[0]) + c.start, int(i[0]) + c.stop)
                for i, c in zip(index, cut, strict=True)
            )
            block[(slice(None), *cut)] = x[(slice(None), *from_)]
        else:
            places = [input_positions(i, L, p.mode) for i, L in zip(index, p.size, strict=True)]
            block = x[np.ix_(np.arange(x.shape[0]), *places)].astype(self.dtype, copy=False)
        return block, bool(np.isfinite(block).all())

    def cuts(self) -> Iterator[tuple[slice, slice]]:
        """Output and input channels that are computed at once."""
        p, plan = self.problem, self.plan
        for o in range(0, p.O, plan.outputs):
            for c in range(0, p.C, plan.channels):
                yield slice(o, min(o + plan.outputs, p.O)), slice(c, min(c + plan.channels, p.C))

    def starts(self) -> Iterator[tuple[tuple[int, ...], Slices]]:
        """Where each block begins in the padded input, and the outputs that it gives."""
        p = self.problem
        axes = zip(p.out, p.stride, self.hops, strict=True)
        for start in itertools.product(*(range(0, (o - 1) * s + 1, hop) for o, s, hop in axes)):
            ends = zip(start, p.stride, p.out, self.hops, strict=True)
            yield start, tuple(slice(at // s, min(o, (at + hop) // s)) for at, s, o, hop in ends)

    def __call__(self, arrays: Arrays, out: Array | None) -> Array:
        x, weight, bias = arrays
        return self.run(x, Packed(weight, None), bias, out)

    def run(self, x: Array, packed: Packed, bias: Array | None, out: Array | None) -> Array:
        p = self.problem
        x = x.reshape(p.N, p.G, p.C, *p.size)
        y: Array = np.zeros((p.N, p.G, p.O, *p.out), self.dtype)
        weight, known = packed
        sound = bool(np.isfinite(weight).all())
        spectrum = known
        for g, (outputs, inputs) in itertools.product(range(p.G), self.cuts()):
            if sound and known is None:
                spectrum = self.spectrum(weight, g, outputs, inputs)
            for n, (start, to) in itertools.product(range(p.N), self.starts()):
                block, finite = self.gather(x[n, g, inputs], start)
                if finite and sound and spectrum is not None:
                    values = self.transform(block, spectrum)
                else:
                    values = self.direct(block, weight, g, outputs, inputs)
                region = y[(n, g, outputs, *to)]
                with np.errstate(all="ignore"):  # of infinities, as in a kernel
                    region += values[(slice(None), *(slice(0, size) for size in region.shape[1:]))]
        if bias is not None:
            with np.errstate(all="ignore"):
                y += bias.reshape(p.G, p.O, 1, 1, 1)
        return to_result(y.reshape(self.out_shape), self.dtype, out)

    def transform(self, block: Array, spectrum: Array) -> Array:
        """The outputs of one block."""
        transformed = np.fft.rfftn(block, self.lengths, self.axes)
        total = np.einsum("c...,oc...->o...", transformed, spectrum)
        values: Array = np.fft.irfftn(total, self.lengths, self.axes)
        wanted: Iterable[Any] = (
            slice(0, hop, s) for hop, s in zip(self.hops, self.problem.stride, strict=True)
        )
        return values[(..., *wanted)]

    def direct(self, block: Array, weight: Array, g: int, outputs: slice, inputs: slice) -> Array:
        """The same without a transform."""
        p = self.problem
        w = weight.reshape(p.G, p.O, p.C, *p.kernel)[g, outputs, inputs]
        y: Array = self.program(w.shape[0], w.shape[1])((block, w, None), None)
        return y

    def program(self, outputs: int, inputs: int) -> Runner:
        """The direct convolution of a block, planned when the first one is needed."""
        found = self.programs.get((outputs, inputs))
        if found is not None:
            return found
        p, size = self.problem, self.plan.block
        axes = zip(size, p.kernel, p.dilation, p.stride, strict=True)
        d, h, w = ((F - (k - 1) * d - 1) // s + 1 for F, k, d, s in axes)
        sub = p._replace(
            N=1, G=1, C=inputs, O=outputs, size=size, before=(0, 0, 0), out=(d, h, w),
            mode=PadMode.PAD_ZEROS,
        )  # fmt: skip
        strategy = choose.kernels(sub, self.strategy.machine, "direct", choose.WeightUse.ONCE)
        shape = (outputs, inputs, *p.kernel)
        program = ConvProgram(strategy, 3, False, (outputs, d, h, w), shape)
        return self.programs.setdefault((outputs, inputs), program)


def input_positions(i: Array, L: int, mode: PadMode) -> Array:
    """Input positions that padded positions stand for; past the padding, which no wanted output reads, any."""
    if mode == PadMode.PAD_REFLECT:
        i = np.where(i < 0, -i, np.where(i >= L, 2 * (L - 1) - i, i))
    elif mode == PadMode.PAD_CIRCULAR:
        i = i % L
    return np.clip(i, 0, L - 1)
