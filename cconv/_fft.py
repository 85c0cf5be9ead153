"""Convolution with large kernels by overlap-save: blocks of the input, multiplied with the kernel's spectrum.

    y = irfft( sum over c of rfft(x block) * conj(rfft(w)) ), of which the first F - (k - 1) values an axis are right

after Oppenheim and Schafer, Discrete-Time Signal Processing, section 8.7.3, on every spatial axis with numpy.fft
(which keeps float32 from NumPy 2.0 on). A block that holds a NaN or an infinity is computed directly instead: a
transform would spread it over the whole block. `_plan.fft` chooses the block; spectra and blocks together stay within
its budget, for channels are taken some at a time.

Used past the crossover that `_plan.fft_pays` models: one long row from about 2,000 taps on, images from about 45 x 45.
"""

from __future__ import annotations

import itertools

import numpy as np

from . import _plan, _run


class FftPlan:
    """Stands in for a _run.ConvPlan: the same attributes and methods, as far as _calls and _prepack use them."""

    def __init__(self, dtype, rank, batched, out_shape, weight_shape, problem):
        self.dtype, self.rank, self.batched, self.out_shape = dtype, rank, batched, out_shape
        self.problem = problem
        self.plan = _plan.fft(problem, dtype.itemsize)
        self.weight_shape = weight_shape
        axes = tuple(range(-3, 0))
        self.axes = tuple(a for a, F in zip(axes, self.plan.block, strict=True) if F > 1) or (-1,)
        self.lengths = [self.plan.block[a] for a in self.axes]

    def uses_winograd(self):
        return False

    def layout(self):
        return "fft", self.dtype, self.plan

    def split_weight(self, weight):
        return (weight,)

    def pack(self, weight):
        """The spectra, if they fit the budget at once; else the weights, whose spectra are made part by part."""
        p = self.problem
        whole = self.plan.channels >= p.C and self.plan.outputs >= p.O and p.G == 1
        whole = whole and bool(np.isfinite(weight).all())
        return (weight, self.spectrum(weight, 0, slice(0, p.O), slice(0, p.C)) if whole else None)

    def spectrum(self, weight, g, outputs, inputs):
        """conj(rfft(w)) of some channels of a group, with the dilation's gaps as zeros."""
        p = self.problem
        w = weight.reshape(p.G, p.O, p.C, *p.kernel)[g, outputs, inputs]
        spread = np.zeros((*w.shape[:2], *self.plan.block), self.dtype)
        spread[
            (
                ...,
                *(slice(0, (k - 1) * d + 1, d) for k, d in zip(p.kernel, p.dilation, strict=True)),
            )
        ] = w
        result = np.fft.rfftn(spread, self.lengths, self.axes)
        return np.conjugate(result, out=result)

    def gather(self, x, start):
        """A block of padded input, channels first, and whether all of it is finite."""
        p = self.problem
        index, inside = [], []
        for L, F, at, before in zip(p.size, self.plan.block, start, p.before, strict=True):
            i = np.arange(at - before, at - before + F)
            inside.append((max(0, -int(i[0])), max(0, min(F, L - int(i[0])))))
            index.append(i)
        if p.mode == 0:
            block = np.zeros((x.shape[0], *self.plan.block), self.dtype)
            cut = tuple(slice(a, max(a, b)) for a, b in inside)
            from_ = tuple(
                slice(int(i[0]) + c.start, int(i[0]) + c.stop)
                for i, c in zip(index, cut, strict=True)
            )
            block[(slice(None), *cut)] = x[(slice(None), *from_)]
        else:
            at = [source(i, L, p.mode) for i, L in zip(index, p.size, strict=True)]
            block = x[np.ix_(range(x.shape[0]), *at)].astype(self.dtype, copy=False)
        return block, bool(np.isfinite(block).all())

    def run(self, x, parts, bias, out, packed):
        """Returns a new array: `out` is for the caller to fill."""
        p, plan = self.problem, self.plan
        x = x.reshape(p.N, p.G, p.C, *p.size)
        y = np.zeros((p.N, p.G, p.O, *p.out), self.dtype)
        weight, known = parts if packed else (parts[0], None)
        sound = bool(np.isfinite(weight).all())
        useful = [F - (k - 1) * d for F, k, d in zip(plan.block, p.kernel, p.dilation, strict=True)]
        # a block starts at a multiple of the stride, so that its first output is one that is wanted
        hops = [max(1, u // s) * s for u, s in zip(useful, p.stride, strict=True)]
        starts = [
            range(0, (o - 1) * s + 1, hop) for o, s, hop in zip(p.out, p.stride, hops, strict=True)
        ]
        cuts = [
            (slice(o, min(o + plan.outputs, p.O)), slice(c, min(c + plan.channels, p.C)))
            for o in range(0, p.O, plan.outputs)
            for c in range(0, p.C, plan.channels)
        ]
        for g, (outputs, inputs) in itertools.product(range(p.G), cuts):
            if sound:
                spectrum = self.spectrum(weight, g, outputs, inputs) if known is None else known
            for n, start in itertools.product(range(p.N), itertools.product(*starts)):
                block, finite = self.gather(x[n, g, inputs], start)
                to = tuple(
                    slice(at // s, min(o, (at + hop) // s))
                    for at, s, o, hop in zip(start, p.stride, p.out, hops, strict=True)
                )
                if finite and sound:
                    transformed = np.fft.rfftn(block, self.lengths, self.axes)
                    total = np.einsum("c...,oc...->o...", transformed, spectrum)
                    values = np.fft.irfftn(total, self.lengths, self.axes)
                    values = values[
                        (..., *(slice(0, hop, s) for hop, s in zip(hops, p.stride, strict=True)))
                    ]
                else:
                    values = self.direct(block, weight, g, outputs, inputs)
                region = y[(n, g, outputs, *to)]
                with np.errstate(all="ignore"):  # of infinities, as in a kernel
                    region += values[(slice(None), *(slice(0, size) for size in region.shape[1:]))]
        if bias is not None:
            with np.errstate(all="ignore"):
                y += bias.reshape(p.G, p.O, 1, 1, 1)
        return y.reshape(self.out_shape)

    def direct(self, block, weight, g, outputs, inputs):
        """The outputs of one block without a transform."""
        p = self.problem
        w = weight.reshape(p.G, p.O, p.C, *p.kernel)[g, outputs, inputs]
        w = np.require(w, requirements="CA")
        size = self.plan.block
        out = tuple(
            (F - (k - 1) * d - 1) // s + 1
            for F, k, d, s in zip(size, p.kernel, p.dilation, p.stride, strict=True)
        )
        sub = p._replace(
            N=1, G=1, C=w.shape[1], O=w.shape[0], size=size, before=(0, 0, 0), out=out, mode=0
        )
        plan = _run.ConvPlan(
            self.dtype, 3, False, (w.shape[0], *out), w.shape, sub, None, "direct", False
        )
        return plan.run(np.ascontiguousarray(block), (w,), None, None, False)


def source(i, L, mode):
    """Input positions that padded positions stand for; past the padding, which no wanted output reads, any."""
    if mode == 1:
        i = np.where(i < 0, -i, np.where(i >= L, 2 * (L - 1) - i, i))
    elif mode == 3:
        i = i % L
    return np.clip(i, 0, L - 1)
