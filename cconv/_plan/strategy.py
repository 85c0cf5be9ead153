"""What a choice can be: the records that `choose` returns, `explain` prints and the runners run."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .._problem import ConvProblem, Fold, PoolProblem, Three
from ..kernels.job import PadMode, PoolOp
from .direct import DirectPlan
from .fft import FftPlan
from .machine import Kernel, Machine, WeightUse
from .phases import Phased
from .pool import PoolGradPlan, PoolPlan
from .weight_grad import WeightGradPlan
from .winograd import WinogradPlan


class Step(NamedTuple):
    """One job of a kernel: every step-th output from `first` on, of every x_step-th input from `x_first` on."""

    kernel: Kernel
    problem: ConvProblem
    plan: DirectPlan | WinogradPlan | Phased
    first: Three
    step: Three
    x_first: Three
    x_step: Three
    weights: int  # which of Direct.weights


class Direct(NamedTuple):
    """A convolution by its own kernels: one step, or as many as a transposed or a dilated one consists of."""

    machine: Machine
    whole: ConvProblem
    steps: tuple[Step, ...]
    # None: the weights as they are. Else where each tap lies among the K taps of the weights (G, O, C, K), or of a
    # transposed convolution's (G, C, O, K), which are gathered as (G, O, C, taps).
    weights: tuple[tuple[int, ...] | None, ...]
    swapped: bool  # they are a transposed convolution's
    axes: Three  # which axis of the steps each of the whole's is part of; 3: channels
    use: WeightUse
    algorithm: str  # "direct" or "winograd"
    reason: str


class UnitPlan(NamedTuple):
    """UnitTiling of kernels/job.pxd."""

    by_columns: bool
    channels: int
    columns: int
    hop: int
    x_signed: bool
    w_signed: bool


class Units(NamedTuple):
    """A convolution of bytes in sums of 32 bits; `inner` counts its channels, or its taps of a row, in units."""

    inner: Direct
    units: UnitPlan


class Fft(NamedTuple):
    machine: Machine
    problem: ConvProblem
    plan: FftPlan
    reason: str


class Stacked(NamedTuple):
    """A long-strided transposed convolution along W: `inner` has `stride` times the output channels, one a phase.

    y[o, q*s + r - p] = sum over c, j of w[c, o, r + j*s] * x[c, q - j] for so many `positions` q from `first` on.
    """

    machine: Machine
    inner: Direct
    whole: ConvProblem
    taps: int
    first: int
    positions: int
    crop: tuple[int, int]  # first and number of the interleaved outputs that are wanted
    reason: str


class Pool(NamedTuple):
    machine: Machine
    whole: PoolProblem  # as it was asked for, and on the axes of the kernel
    problem: PoolProblem
    fold: Fold  # which axes become which
    kernel: Kernel
    plan: PoolPlan
    op: PoolOp
    indexed: bool
    divide: float
    reason: str


class WeightGrad(NamedTuple):
    machine: Machine
    problem: ConvProblem  # channels of input and output in each other's place where plan.swapped
    axes: Three  # as Direct.axes
    kernel: Kernel
    slab: DirectPlan
    plan: WeightGradPlan
    reason: str


class PoolGrad(NamedTuple):
    machine: Machine
    whole: PoolProblem
    problem: PoolProblem
    fold: Fold
    plan: PoolGradPlan
    op: PoolOp
    indexed: bool  # the places of the maxima are known
    divide: float


class Converted(NamedTuple):
    """Arrays are converted to the inner strategy's dtype, the result back."""

    inner: Strategy
    computed_in: str


class Doubled(NamedTuple):
    """A complex convolution as a real one of twice the channels."""

    inner: Direct | Fft


class Ranged(NamedTuple):
    """Integers: the first of `floats` whose limit the sums stay below, else exact."""

    exact: Strategy
    floats: tuple[tuple[int, Strategy], ...]


class Piece(NamedTuple):
    """Some samples, channels and outputs along one axis: of these inputs, with this padding. (first, last)s."""

    samples: tuple[int, int]
    channels: tuple[int, int]
    axis: int  # 0, 1, 2: D, H, W
    outputs: tuple[int, int]
    inputs: tuple[int, int]
    padding: tuple[int, int]


class Pieces(NamedTuple):
    """Arrays that are converted, or too long, piece by piece: each a call of its own; `inner` is that of the first."""

    pieces: tuple[Piece, ...]
    inner: Strategy


class Powers(NamedTuple):
    """(sum of |x|^norm)^(1/norm) over windows, as a pool of powers."""

    norm: float
    inner: Pool | PoolGrad


class Shifted(NamedTuple):
    """Maxima of uint64 in int64, whose order it has after its highest bit is turned."""

    inner: Pool


class Folded(NamedTuple):
    """An input gradient under a padding mode: that of the padded input, whose borders are added to what they copied."""

    inner: Direct | Stacked
    size: Three
    before: Three
    after: Three
    mode: PadMode


class Plain(NamedTuple):
    """Moves and sums of data that NumPy does by itself."""

    reason: str


Strategy: TypeAlias = (
    Direct
    | Units
    | Fft
    | Stacked
    | Pool
    | WeightGrad
    | PoolGrad
    | Converted
    | Doubled
    | Ranged
    | Pieces
    | Powers
    | Shifted
    | Folded
    | Plain
)
