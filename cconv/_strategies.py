"""Runs a strategy: a Program of `_run` for what one kernel computes, and for the others what surrounds such programs.

Each class here is the work of one kind of strategy: called with the arrays of a call and `out` (None or checked), it
returns the result. `delegate(arrays)` says which runner computes, of which of those arrays: so `_explain` finds the
program at the bottom. Element types: the kernels compute in float32, float64, int32 and int64. Integers wrap as
NumPy's do, so those of up to 32 bits are computed in int32; a complex convolution is a real one with the real and
imaginary parts as channels (re = wr*xr - wi*xi, im = wi*xr + wr*xi).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._convert import to_native, to_result
from ._fft import Overlap
from ._plan import choose
from ._problem import volume
from ._run import fresh
from ._run.conv import ConvProgram
from ._run.elementwise import add, cast, move
from ._run.runner import PyRunner, Runner
from ._run.units import UnitProgram
from .kernels.job import PadMode

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = tuple[Any, ...]  # arrays, or None where an optional one is not given


class Frame(NamedTuple):
    """How a problem of three axes stands in the arrays of a call."""

    rank: int
    batched: bool
    out_shape: tuple[int, ...]
    weight_shape: tuple[int, ...] = ()
    transposed: bool = False

    def doubled(self) -> Frame:
        """The same with twice the channels."""
        out, weight = list(self.out_shape), list(self.weight_shape)
        out[self.batched] *= 2
        weight[0] *= 2
        weight[1] *= 2
        return self._replace(out_shape=tuple(out), weight_shape=tuple(weight))


def convolution_runner(strategy: choose.Strategy, frame: Frame, dtype: np.dtype[Any]) -> Runner:
    """The runner of a convolution or an input gradient, with a result of `dtype`; its arrays are (x, weight, bias)."""
    shape = frame.out_shape
    match strategy:
        case choose.Direct():
            return ConvProgram(strategy, frame.rank, frame.batched, shape, frame.weight_shape)
        case choose.Units():
            return UnitProgram(strategy, frame.rank, frame.batched, shape, frame.weight_shape)
        case choose.Fft():
            return PyRunner(Overlap(strategy, shape), dtype, shape, strategy)
        case choose.Stacked():
            return PyRunner(Stack(strategy, shape), dtype, shape, strategy)
        case choose.Folded():
            return PyRunner(Folding(strategy, frame), dtype, shape, strategy)
        case choose.Converted():
            computed = np.dtype(strategy.computed_in)
            return converted(strategy, convolution_runner(strategy.inner, frame, computed), dtype)
        case choose.Doubled():
            return PyRunner(Doubling(strategy, frame, dtype), dtype, shape, strategy)
        case choose.Ranged():
            return PyRunner(Ranging(strategy, frame, dtype), dtype, shape, strategy)
        case _:
            raise TypeError(f"cconv: no convolution by {type(strategy).__name__}")


def same_dtype(arrays: Arrays, dtype: np.dtype[Any]) -> bool:
    """Whether arrays are native ones of this dtype."""
    return all(a is None or (a.dtype == dtype and a.dtype.isnative) for a in arrays)


def dtypes_of(arrays: Arrays, dtype: np.dtype[Any], computed: str) -> choose.Dtypes:
    """What the choice knows of the arrays of a call, whose result is of `dtype`."""
    return choose.Dtypes(dtype.name, computed, same_dtype(arrays, dtype))


def bytes_of(x: Array, weight: Array, dtype: np.dtype[Any]) -> choose.Bytes | None:
    """What the kernels of 8-bit integers have to know of the arrays, where they serve."""
    kinds = [a.dtype.kind for a in (x, weight) if a.dtype.kind in "iu" and a.dtype.itemsize == 1]
    if len(kinds) < 2 or dtype != np.int32:
        return None
    return choose.Bytes(kinds[0] == "i", kinds[1] == "i")


def lowest(strategy: choose.Strategy) -> choose.Strategy:
    """What computes in the end: integers exactly, of pieces the first."""
    while True:
        if isinstance(strategy, choose.Ranged):
            strategy = strategy.exact
        elif isinstance(strategy, WRAPPERS):
            strategy = strategy.inner
        else:
            return strategy


WRAPPERS = (
    choose.Converted, choose.Doubled, choose.Pieces, choose.Powers, choose.Shifted, choose.Folded,
    choose.Stacked, choose.Units,
)  # fmt: skip


def algorithm_of(strategy: choose.Strategy) -> str:
    found = lowest(strategy)
    if isinstance(found, choose.Fft):
        return "fft"
    return found.algorithm if isinstance(found, choose.Direct) else "direct"


def converted(strategy: choose.Strategy, runner: Runner, dtype: np.dtype[Any]) -> Runner:
    """`runner` with a conversion of its arrays, and of its result to `dtype`, where `strategy` says so."""
    if not isinstance(strategy, choose.Converted):
        return runner
    return PyRunner(Conversion(runner, dtype), dtype, runner.out_shape, strategy)


class Conversion:
    """Arrays are converted to what the inner runner computes in, its result back."""

    def __init__(self, runner: Runner, dtype: np.dtype[Any]):
        self.runner, self.dtype = runner, dtype

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, arrays

    def __call__(self, arrays: Arrays, out: Array | None) -> Array:
        computed = self.runner.dtype
        native = tuple(None if a is None else to_native(a, computed) for a in arrays)
        same = out if computed == self.dtype else None
        return to_result(self.runner(native, same), self.dtype, out)


# ---------------------------------------------------------------- integers as floats


def magnitude(a: Array) -> int:
    return max(int(a.max()), -int(a.min())) if a.size else 0


class Ranging:
    """
    Integers whose every sum a float holds exactly are convolved as floats, several times as fast. Their range is
    looked at in every call: sums that are too large in one do not slow down the next.
    """

    def __init__(self, strategy: choose.Ranged, frame: Frame, dtype: np.dtype[Any]):
        self.exact = convolution_runner(strategy.exact, frame, dtype)
        self.floats = []
        for limit, inner in strategy.floats:
            assert isinstance(inner, choose.Direct)
            self.floats.append(
                (limit, convolution_runner(inner, frame, np.dtype(inner.machine.dtype)))
            )
            self.terms = inner.whole.C * volume(inner.whole.kernel)

    def pick(self, x: Array, weight: int, bias: int) -> int | None:
        """Which of `floats` serves for these magnitudes of weight and bias; None: none."""
        most = magnitude(x) * weight * self.terms + bias
        return next((i for i, (limit, _) in enumerate(self.floats) if most < limit), None)

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        x, weight, bias = arrays
        i = self.pick(x, magnitude(weight), 0 if bias is None else magnitude(bias))
        return self.exact if i is None else self.floats[i][1], arrays

    def __call__(self, arrays: Arrays, out: Array | None) -> Array:
        runner, _ = self.delegate(arrays)
        if runner is self.exact:
            y: Array = runner(arrays, out)
            return y
        floats = tuple(None if a is None else cast(a, runner.dtype) for a in arrays)
        return whole_numbers(runner(floats), self.exact.dtype, out)


def whole_numbers(y: Array, dtype: np.dtype[Any], out: Array | None) -> Array:
    """Exact sums in floats as integers that wrap."""
    y = cast(y, np.dtype(np.int32 if y.dtype == np.float32 else np.int64))
    return to_result(y, dtype, out)


# ---------------------------------------------------------------- complex as real


def double_input(x: Array, groups: int, rank: int) -> Array:
    """Complex channels as real ones, [re, im] in each group."""
    lead = x.shape[: -rank - 1]
    c = x.shape[-rank - 1] // groups
    parts = x.reshape(*lead, groups, c, *x.shape[-rank:])
    result = fresh((*lead, groups, 2, c, *x.shape[-rank:]), parts.real.dtype)
    axes: tuple[Any, ...] = (slice(None),) * (len(lead) + 1)
    move(result[(*axes, 0)], parts.real)
    move(result[(*axes, 1)], parts.imag)
    return result.reshape(*lead, 2 * c * groups, *x.shape[-rank:])


def double_weight(w: Array, groups: int, transposed: bool) -> Array:
    """[[wr, -wi], [wi, wr]] in each group, outputs by inputs."""
    first, second = w.shape[0] // groups, w.shape[1]
    parts = w.reshape(groups, first, second, *w.shape[2:])
    result: Array = np.empty((groups, 2, first, 2, second, *w.shape[2:]), parts.real.dtype)
    result[:, 0, :, 0] = result[:, 1, :, 1] = parts.real
    minus = (1, 0) if transposed else (0, 1)  # real output from imaginary input
    result[:, minus[0], :, minus[1]] = -parts.imag
    result[:, minus[1], :, minus[0]] = parts.imag
    return result.reshape(groups * 2 * first, 2 * second, *w.shape[2:])


def join_complex(y: Array, groups: int, rank: int, dtype: np.dtype[Any]) -> Array:
    """[re, im] channels of each group back to complex ones."""
    lead = y.shape[: -rank - 1]
    o = y.shape[-rank - 1] // (2 * groups)
    parts = y.reshape(*lead, groups, 2, o, *y.shape[-rank:])
    result = fresh((*lead, groups, o, *y.shape[-rank:]), dtype)
    axes: tuple[Any, ...] = (slice(None),) * (len(lead) + 1)
    move(result.real, parts[(*axes, 0)])
    move(result.imag, parts[(*axes, 1)])
    return result.reshape(*lead, groups * o, *y.shape[-rank:])


class Doubling:
    """A complex convolution as a real one of twice the channels."""

    def __init__(self, strategy: choose.Doubled, frame: Frame, dtype: np.dtype[Any]):
        inner = strategy.inner
        problem = inner.whole if isinstance(inner, choose.Direct) else inner.problem
        self.runner = convolution_runner(inner, frame.doubled(), np.dtype(inner.machine.dtype))
        self.dtype, self.frame, self.groups = dtype, frame, problem.G

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, arrays

    def __call__(self, arrays: Arrays, out: Array | None) -> Array:
        x, weight, bias = arrays
        rank, groups, real = self.frame.rank, self.groups, self.runner.dtype
        x = double_input(to_native(x, self.dtype), groups, rank)
        weight = double_weight(weight.astype(self.dtype), groups, self.frame.transposed)
        y = self.runner((to_native(x, real), to_native(weight, real), None))
        y = join_complex(y, groups, rank, self.dtype)
        if bias is not None:
            with np.errstate(all="ignore"):  # of infinities, as in a kernel
                y += bias.astype(self.dtype).reshape(-1, *(1,) * rank)
        return to_result(y, self.dtype, out)


# ---------------------------------------------------------------- stacked phases, padding modes


class Stack:
    """
    A transposed convolution along one axis whose stride is long: its phases as output channels of one convolution.

        y[o, q*s + r - p] = sum over c, j of w[c, o, r + j*s] * x[c, q - j]

    is a convolution of stride 1 with s times the output channels, one for each phase r, and ceil(k / s) taps, whose
    outputs are then interleaved. Each phase by itself would read the input once more: 160 times for the step of a
    spectrogram. Used for the input gradients of 1-D convolutions (shorter strides are interleaved by the kernel).
    """

    def __init__(self, strategy: choose.Stacked, out_shape: tuple[int, ...]):
        self.strategy, self.out_shape = strategy, out_shape
        p, s = strategy.whole, strategy.whole.stride[2]
        channels = p.G * p.O * s
        shape = (p.N, channels, strategy.positions)
        weights = (channels, p.C, strategy.taps)
        self.runner = ConvProgram(strategy.inner, 1, True, shape, weights)

    def weights(self, weight: Array) -> Array:
        """(G*C, O, k) as (G*O*s, C, taps), the taps reversed, zeros where k is no multiple of s."""
        p, taps = self.strategy.whole, self.strategy.taps
        s = p.stride[2]
        padded: Array = np.zeros((p.G, p.C, p.O, taps * s), weight.dtype)
        padded[..., : p.kernel[2]] = weight.reshape(p.G, p.C, p.O, p.kernel[2])
        parts = padded.reshape(p.G, p.C, p.O, taps, s)[:, :, :, ::-1]
        return np.ascontiguousarray(parts.transpose(0, 2, 4, 1, 3)).reshape(
            p.G * p.O * s, p.C, taps
        )

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, arrays

    def __call__(self, arrays: Arrays, out: Array | None) -> Array:
        x, weight, _ = arrays
        p, s, count = self.strategy.whole, self.strategy.whole.stride[2], self.strategy.positions
        x = x.reshape(p.N, p.G * p.C, p.size[2])
        phases = self.runner((x, self.weights(weight), None))
        phases = phases.reshape(p.N, p.G * p.O, s, count).swapaxes(2, 3)
        start, length = self.strategy.crop
        y = move(fresh(phases.shape, phases.dtype), phases).reshape(p.N, p.G * p.O, count * s)
        y = y[..., start : start + length].reshape(self.out_shape)
        return move(fresh(y.shape, y.dtype) if out is None else out, y)


class Folding:
    """The gradient by a padded input, added up to that by the input: each padded value stands for one inside."""

    def __init__(self, strategy: choose.Folded, frame: Frame):
        rank = self.rank = frame.rank
        self.strategy = strategy
        sides = zip(strategy.size, strategy.before, strategy.after, strict=True)
        padded = tuple(L + b + a for L, b, a in sides)[-rank:]
        inner = frame._replace(out_shape=(*frame.out_shape[:-rank], *padded))
        dtype = np.dtype(strategy.inner.machine.dtype)
        self.runner = convolution_runner(strategy.inner, inner, dtype)

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, arrays

    def __call__(self, arrays: Arrays, out: Array | None) -> Array:
        y: Array = self.runner(arrays)
        size, before, after = self.strategy.size, self.strategy.before, self.strategy.after
        with np.errstate(all="ignore"):  # of infinities, as in a kernel
            for a in range(3 - self.rank, 3):
                y = fold_axis(y, a - 3, (size[a], before[a], after[a]), self.strategy.mode)
        return move(fresh(y.shape, y.dtype) if out is None else out, y)


def fold_axis(grad: Array, axis: int, ends: tuple[int, int, int], mode: PadMode) -> Array:
    """`ends`: the size and the padding before and after; what falls on padding is added to what it copied."""
    L, b, a = ends
    moved = np.moveaxis(grad, axis, 0)
    left, inside, right = moved[:b], moved[b : b + L], moved[b + L :]
    if mode == PadMode.PAD_REPLICATE:
        add_sum(inside[:1], left)
        add_sum(inside[-1:], right)
    elif mode == PadMode.PAD_REFLECT:
        add(inside[1 : b + 1], left[::-1])
        add(inside[L - 1 - a : L - 1], right[::-1])
    elif mode == PadMode.PAD_CIRCULAR:
        add(inside[L - b :], left)
        add(inside[:a], right)
    return np.moveaxis(inside, 0, axis)


def add_sum(to: Array, x: Array) -> None:
    """The sum along the first axis is added, in NumPy's order: one after the other where they are few."""
    if 0 < len(x) < 8 and x.size > 1 << 16:
        total = move(fresh(to.shape, to.dtype), x[:1])
        for i in range(1, len(x)):
            add(total, x[i : i + 1])
        add(to, total)
    else:
        to += x.sum(0)
