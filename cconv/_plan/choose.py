"""The only choice: what a call does, decided once from its sizes and element types.

Of a convolution, in order. None of it depends on the batch or the number of threads: a sample has the same bits alone.

pieces     arrays that have to be converted and are large: sample by sample, or some outputs at a time.
units      8-bit integers whose result has 32 bits: int8 and int8_rows, several products in one instruction.
floats     integers whose sums a float holds exactly, where that work is worth a look at their range.
doubled    complex convolutions as real ones of twice the channels.
fft        kernels of 256 taps and more where the cost model of `fft.pays` says so.
geometry   axes are merged where they can be walked as one: 1 x 1 sees one long row. Integers: no taps of padding.
winograd   undilated kernels of 3 or 5 taps along H, W or both and of stride 1, where the cost model says so; a
           dilated layer as the undilated ones that it interleaves.
inner      1 x 1 kernels (after that) on planes of few positions: dot products along the channels.
turned     the same, of packed weights: lanes along the output channels where positions would not fill panels.
lanes      many small groups (depthwise) on short rows or small planes, a vector's lanes across the groups.
rows       up to ROWS_CHANNELS output channels a group: filling panels would cost as much as multiplying them.
taps       when even the smallest slab of padded input would not fit SLAB_MOST (100,000 dilated taps).
gemm       everything else: an implicit GEMM on the register tile, with panels where rows do not fill vectors.
phases     transposed convolutions with stride, and single inputs: output channels and phases are rows of one product.
           Where a phase has three taps that Winograd serves, or phases are thousands or read inputs far apart, each
           is a convolution of its own; those of 1-D input gradients are then stacked as channels of one.

This file is the half about element types; `choose_kernels`, whose names it passes on, that about geometry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .._problem import ConvProblem, PoolProblem, Three, triple, volume
from ..kernels.job import PoolOp
from .choose_kernels import (
    conv_input_gradient,
    convolution,
    input_gradient,
    kernels,
    pool,
    pool_gradient,
    stacks,
    transpose_of,
    transposed,
    transposed_input_gradient,
    weight_gradient,
)
from .machine import Kernel, Machine, WeightUse, ceil_div
from .pieces import conv_piece, conv_pieces, pool_piece, pool_pieces, transposed_pieces
from .pool import reduces, wide
from .strategy import (
    Converted,
    Direct,
    Doubled,
    Fft,
    Folded,
    Piece,
    Pieces,
    Plain,
    Pool,
    PoolGrad,
    Powers,
    Ranged,
    Shifted,
    Stacked,
    Step,
    Strategy,
    UnitPlan,
    Units,
    WeightGrad,
)
from .units import Bytes, units

__all__ = [
    "Converted", "Direct", "Doubled", "Dtypes", "Fft", "Folded", "Kernel", "Machine", "Machines", "Piece", "Pieces",
    "Plain", "Pool", "PoolGrad", "Powers", "Ranged", "Shifted", "Stacked", "Step", "Strategy", "WeightGrad",
    "WeightUse",
    "Bytes", "UnitPlan", "Units",
    "adaptive_average_in", "any_average", "any_convolution", "any_gradient", "any_maximum", "any_norm",
    "any_transposed", "average_in", "conv_input_gradient", "convolution", "input_gradient", "kernels",
    "norm_gradient", "own_sums", "pool", "pool_gradient", "stacks", "transpose_of", "transposed",
    "transposed_input_gradient", "weight_gradient",
]  # fmt: skip

FLOATS_LEAST = 2**22  # multiply-adds from which integers are worth a look at their range
FLOATS_MOST = 2**23  # elements whose copies as floats stay within the promised memory
FLOATS = ((2**24, "float32"), (2**53, "float64"))  # below such sums a float holds every integer

Machines = Callable[[str], Machine]  # those of an element type, by its name


class Dtypes(NamedTuple):
    """The element types of a call, by name."""

    result: str
    computed_in: str  # of the kernels
    as_given: bool  # every array has the result's type, in the machine's byte order
    bytes: Bytes | None = None  # the arrays of a convolution that is summed in 32 bits, if they are

    @property
    def converted(self) -> bool:
        return not (self.as_given and self.result == self.computed_in)

    @property
    def complex(self) -> bool:
        return self.result.startswith("complex")

    @property
    def integers(self) -> bool:
        return self.computed_in.startswith("int")


# ---------------------------------------------------------------- convolutions


def any_convolution(
    p: ConvProblem, after: Three, dtypes: Dtypes, machines: Machines, algorithm: str, use: WeightUse
) -> Strategy:
    """A convolution of any element type; `after` is the padding behind. What is converted is planned as ONCE."""
    if dtypes.bytes is not None:
        found = units(p, machines(dtypes.bytes.machine), dtypes.bytes, use)
        if found is not None:
            return found
    machine = machines(dtypes.computed_in)
    if dtypes.converted:
        use = WeightUse.ONCE
        pieces = conv_pieces(p, after, machine.itemsize * (2 if dtypes.complex else 1))
        if pieces:
            part, behind = conv_piece(p, after, pieces[0])
            return Pieces(pieces, any_convolution(part, behind, dtypes, machines, algorithm, use))

    def plan(p: ConvProblem, m: Machine, algorithm: str) -> Direct | Fft:
        return convolution(p, m, algorithm, use)

    return by_elements(p, dtypes, machines, algorithm, plan)


def any_transposed(
    whole: ConvProblem, before: Three, after: Three, out: Three, dtypes: Dtypes, machines: Machines,
    algorithm: str, use: WeightUse,
) -> Strategy:  # fmt: skip
    """The same for a transposed convolution; `whole`, `before` and `out` as in `_problem.transposed_phases`."""
    machine = machines(dtypes.computed_in)
    if dtypes.converted:
        use = WeightUse.ONCE
        itemsize = machine.itemsize * (2 if dtypes.complex else 1)
        pieces = transposed_pieces(whole, before, after, out, itemsize)
        if pieces:
            part = whole._replace(N=pieces[0].samples[1] - pieces[0].samples[0])
            return Pieces(
                pieces,
                any_transposed(part, before, after, out, dtypes, machines, algorithm, use),
            )

    def plan(p: ConvProblem, m: Machine, algorithm: str) -> Direct:
        return transposed(p, before, out, m, algorithm, use)

    return by_elements(whole, dtypes, machines, algorithm, plan)


def by_elements(
    p: ConvProblem, dtypes: Dtypes, machines: Machines, algorithm: str,
    plan: Callable[[ConvProblem, Machine, str], Direct | Fft],
) -> Strategy:  # fmt: skip
    """One piece."""
    machine = machines(dtypes.computed_in)
    if dtypes.complex:
        return Doubled(plan(p._replace(C=2 * p.C, O=2 * p.O), machine, algorithm))
    exact: Strategy = plan(p, machine, algorithm)
    if dtypes.converted:
        exact = Converted(exact, dtypes.computed_in)
    if not dtypes.integers or not worth_floats(p):
        return exact
    floats = tuple((most, plan(p, machines(name), "direct")) for most, name in FLOATS)
    return Ranged(exact, floats)


def worth_floats(p: ConvProblem) -> bool:
    """Whether integers are worth a look at their range, and copies as floats stay within the promised memory."""
    inputs, taps = p.N * p.G * p.C * volume(p.size), volume(p.kernel)
    weights = p.G * p.O * p.C * taps
    if not 0 < inputs <= FLOATS_MOST or not 0 < weights <= FLOATS_MOST:
        return False
    return inputs * p.G * p.O * max(1, p.C * taps // (p.G * p.C)) >= FLOATS_LEAST


def any_gradient(inner: Strategy, dtypes: Dtypes) -> Strategy:
    """Gradients are converted whole."""
    return Converted(inner, dtypes.computed_in) if dtypes.converted else inner


# ---------------------------------------------------------------- pools


def average_in(computed_in: str, kernel: Three, stride: Three) -> str:
    """What an average of so large a window, as it was asked for, is computed in."""
    return "float64" if wide(kernel, stride) else computed_in


def adaptive_average_in(computed_in: str, size: Three, out: Three) -> str:
    taps = triple(ceil_div(L, max(1, o)) for L, o in zip(size, out, strict=True))
    return average_in(computed_in, taps, taps)


def own_sums(given: str, computed_in: str, p: PoolProblem) -> str:
    """What an average is computed in whose elements are taken as `given`: one kernel sums floats in float64 itself."""
    return given if given == "float32" and computed_in == "float64" and reduces(p) else computed_in


def any_maximum(p: PoolProblem, dtypes: Dtypes, machines: Machines, indexed: bool) -> Strategy:
    """Maxima of any real element type, with indices or without."""
    machine = machines(dtypes.computed_in)
    pieces = pool_pieces(p, machine.itemsize, dtypes.converted, indexed)
    if pieces:
        return Pieces(pieces, any_maximum(pool_piece(p, pieces[0]), dtypes, machines, indexed))
    inner = pool(p, machine, PoolOp.POOL_MAX, indexed, 0.0)
    if dtypes.result == "uint64":
        return Shifted(inner)
    return Converted(inner, dtypes.computed_in) if dtypes.converted else inner


def any_average(p: PoolProblem, dtypes: Dtypes, machines: Machines, divide: float) -> Strategy:
    """Averages; `dtypes.computed_in` as `average_in` says. `divide` is the divisor where it was given, else 0."""
    machine = machines(dtypes.computed_in)
    pieces = pool_pieces(p, machine.itemsize, dtypes.converted, False)
    if pieces:
        return Pieces(pieces, any_average(pool_piece(p, pieces[0]), dtypes, machines, divide))
    inner = pool(p, machine, PoolOp.POOL_AVERAGE, False, divide)
    return Converted(inner, dtypes.computed_in) if dtypes.converted else inner


def any_norm(p: PoolProblem, dtypes: Dtypes, machines: Machines, norm: float) -> Strategy:
    """Norms, whose input is copied in any case; `dtypes.computed_in` as `average_in` says."""
    machine = machines(dtypes.computed_in)
    pieces = pool_pieces(p, machine.itemsize, True, False)
    if pieces:
        return Pieces(pieces, any_norm(pool_piece(p, pieces[0]), dtypes, machines, norm))
    inner = Powers(norm, pool(p, machine, norm_op(norm), False, 0.0))
    return Converted(inner, dtypes.computed_in) if dtypes.converted else inner


def norm_op(norm: float) -> PoolOp:
    """The pool of powers that a norm is."""
    return PoolOp.POOL_MAX if norm == float("inf") else PoolOp.POOL_AVERAGE


def norm_gradient(p: PoolProblem, m: Machine, norm: float) -> Powers:
    """The gradient of a norm by its input, with the gradient of that pool."""
    return Powers(norm, pool_gradient(p, m, norm_op(norm), False, 0.0))
