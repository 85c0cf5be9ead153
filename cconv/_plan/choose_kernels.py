"""The half of the choice that is about geometry: which kernels, and how often. `choose` is the door."""

from __future__ import annotations

from typing import NamedTuple

from .._problem import (
    NONE,
    ONE,
    ConvProblem,
    Part,
    PoolProblem,
    Three,
    folded_pool,
    interleaved,
    transposed_phases,
    triple,
    volume,
)
from ..kernels.job import PadMode, PoolOp
from . import fft
from .direct import DirectPlan, direct, kw_first
from .geometry import Geometry, kept_places, merged
from .lanes import lanes
from .machine import WINOGRAD_ALLOWED, Kernel, Machine, WeightUse, ceil_div
from .phases import Phased, phased
from .pointwise import PACKED_MOST, pointwise
from .pool import bounded, choose_pool, windows_apart
from .pool import pool_grad as plan_pool_grad
from .strategy import Direct, Fft, Folded, Pool, PoolGrad, Stacked, Step, WeightGrad
from .weight_grad import weight_grad as plan_weight_grad
from .winograd import WinogradPlan, best_patch, interleaving_pays, winograd, winograd_reason

PACKED = (
    Kernel.GEMM,
    Kernel.PHASES,
    Kernel.TURNED,
    Kernel.LANES,
)  # kernels whose weights are packed where they stay
PACKED_FROM = 1024  # positions of a sample
SHORT = 8  # strides up to which phases are each their own convolution


class Choice(NamedTuple):
    """The kernel of one part."""

    kernel: Kernel
    plan: DirectPlan | WinogradPlan
    reason: str


# ---------------------------------------------------------------- convolutions


def convolution(p: ConvProblem, m: Machine, algorithm: str, use: WeightUse) -> Direct | Fft:
    """A plain convolution for an algorithm: "auto", "direct", "winograd" (where it can) or "fft"."""
    if takes_fft(p, m, algorithm):
        plan = fft.fft(p, m)
        return Fft(m, p, plan, fft.fft_reason(plan))
    return kernels(p, m, algorithm, use)


def kernels(p: ConvProblem, m: Machine, algorithm: str, use: WeightUse) -> Direct:
    """The same where the FFT is out of the question: of gradients, and of blocks of the FFT that are not finite."""
    algorithm = own_algorithm(m, algorithm)
    geometry = merged(p, m, True, algorithm)
    parts = split(geometry.problem, m, algorithm, use)
    choices = [choose_part(part.problem, m, algorithm, use) for part in parts]
    return assemble(m, p, parts, choices, geometry, use)


def transposed(
    whole: ConvProblem, before: Three, out: Three, m: Machine, algorithm: str, use: WeightUse
) -> Direct:
    """A transposed convolution: `whole`, `before` and `out` as in `_problem.transposed_phases`."""
    algorithm = own_algorithm(m, algorithm)
    geometry = merged(whole._replace(before=before, out=out), m, False, algorithm)
    p = geometry.problem._replace(before=NONE, out=NONE)
    before, out = geometry.problem.before, geometry.problem.out
    chained, plain = one_chain(m, algorithm), whole.stride == ONE
    found = phased(p, before, out, m) if m.real else None
    if chained and plain and kw_first(whole):
        found = None  # which sums rows first, here as of any size
    if found is not None and (algorithm == "direct" or not threes(p)):
        return as_phases(found, whole, m, geometry, use)
    parts = transposed_phases(p, before, out)
    if len(parts) == 1:
        # stride 1: a plain convolution with its taps reversed
        taps = parts[0].taps
        divided = split(parts[0].problem, m, algorithm, use)
        parts = [part._replace(taps=taps) for part in divided]
    choices = [choose_part(part.problem, m, algorithm, use) for part in parts]
    if found is not None and all(each.kernel is not Kernel.WINOGRAD for each in choices):
        return as_phases(found, whole, m, geometry, use)
    if chained and not plain:
        choices = [rows_first(each) for each in choices]
    return assemble(m, whole, parts, choices, geometry, use)


def rows_first(choice: Choice) -> Choice:
    """The order in which the kernel phases sums: that of larger or smaller planes."""
    if isinstance(choice.plan, DirectPlan):
        return choice._replace(plan=choice.plan._replace(kw_first=False))
    return choice


def threes(whole: ConvProblem) -> bool:
    """Whether a phase has three taps along W, for which there is Winograd."""
    k, s = whole.kernel[2], whole.stride[2]
    return 3 in (k // s, ceil_div(k, s))


def as_phases(
    found: Phased, whole: ConvProblem, m: Machine, geometry: Geometry, use: WeightUse
) -> Direct:
    """A transposed convolution by the kernel phases, which packs the weights as they lie."""
    step = Step(
        kernel=Kernel.PHASES,
        problem=found.problem,
        plan=found,
        first=NONE,
        step=ONE,
        x_first=NONE,
        x_step=ONE,
        weights=0,
    )
    return Direct(
        machine=m,
        whole=whole,
        steps=(step,),
        weights=(None,),
        swapped=True,
        axes=geometry.axes,
        use=use,
        algorithm="direct",
        reason=found.reason,
    )


def takes_fft(p: ConvProblem, m: Machine, algorithm: str) -> bool:
    if 0 in (p.N, p.G, p.O, *p.out):
        return False
    return algorithm == "fft" or (algorithm == "auto" and m.real and fft.pays(p, m))


def own_algorithm(m: Machine, algorithm: str) -> str:
    """The algorithm among those of the kernels: integers are summed as they are."""
    return "direct" if not m.real or (algorithm == "auto" and not WINOGRAD_ALLOWED) else algorithm


def one_chain(m: Machine, algorithm: str) -> bool:
    """Whether sums are promised to be in an order of the weight's shape alone: integers have the same bits in any."""
    return algorithm == "direct" and m.real


def split(p: ConvProblem, m: Machine, algorithm: str, use: WeightUse) -> list[Part]:
    """The parts of a plain convolution: itself, or undilated ones for Winograd."""
    forced = algorithm == "winograd"
    if (
        algorithm != "direct"
        and p.dilation != ONE
        and p.stride == ONE
        and p.mode == PadMode.PAD_ZEROS
        and (p.kernel[1] > 1 < p.kernel[2] or forced)  # along one axis the gathers eat the gain
    ):
        parts = interleaved(p)
        able = parts and all(
            best_patch(q, m, use, forced) for q in {part.problem for part in parts}
        )
        if able and (forced or interleaving_pays(p, parts, m, use)):
            return parts
    return [Part(p, NONE, ONE)]


def choose_part(p: ConvProblem, m: Machine, algorithm: str, use: WeightUse) -> Choice:
    if algorithm != "direct":
        points = best_patch(p, m, use, algorithm == "winograd")
        if points:
            return Choice(Kernel.WINOGRAD, winograd(p, points, m, use), winograd_reason(p, points))
    promised = one_chain(m, algorithm)
    found = pointwise(p, m, use, promised) or lanes(p, m) or direct(p, m)
    return Choice(*found)


def packs(p: ConvProblem, kernel: Kernel, m: Machine, use: WeightUse) -> bool:
    """Whether weights are packed: to be kept, and in a call where enough positions read them, rows of a tile in one
    stream. Of a few positions packing would cost more than it gains."""
    if use is not WeightUse.ONCE or kernel is Kernel.TURNED:
        return kernel in PACKED
    size = p.G * p.O * p.C * volume(p.kernel) * m.itemsize
    return kernel is Kernel.GEMM and volume(p.out) >= PACKED_FROM and size <= PACKED_MOST


def list_taps(depths: range, rows: range, columns: range, kernel: Three) -> tuple[int, ...]:
    """Where the taps of a part of a transposed convolution lie in its weights, in the part's own order: reversed."""
    return tuple(
        (z * kernel[1] + y) * kernel[2] + x
        for z in reversed(depths)
        for y in reversed(rows)
        for x in reversed(columns)
    )


def assemble(
    m: Machine, whole: ConvProblem, parts: list[Part], choices: list[Choice],
    geometry: Geometry, use: WeightUse,
) -> Direct:  # fmt: skip
    """The parts as steps; those with the same taps share their weights."""
    places: dict[tuple[int, ...] | None, int] = {}
    steps = []
    for part, (kind, plan, _) in zip(parts, choices, strict=True):
        taps = None
        if part.taps is not None:
            taps = list_taps(*part.taps, geometry.problem.kernel)
        elif geometry.taps is not None:
            taps = kept_places(geometry.taps, whole.kernel)
        at = places.setdefault(taps, len(places))
        if isinstance(plan, DirectPlan):
            plan = plan._replace(packed=packs(part.problem, kind, m, use))
        steps.append(
            Step(
                kernel=kind,
                problem=part.problem,
                plan=plan,
                first=part.first,
                step=part.step,
                x_first=part.x_first,
                x_step=part.x_step,
                weights=at,
            )
        )
    transforms = any(step.kernel is Kernel.WINOGRAD for step in steps)
    reason = choices[0].reason + (f"; in {len(steps)} parts" if len(steps) > 1 else "")
    return Direct(
        machine=m,
        whole=whole,
        steps=tuple(steps),
        weights=tuple(places),
        swapped=parts[0].taps is not None,
        axes=geometry.axes,
        use=use,
        algorithm="winograd" if transforms else "direct",
        reason=reason,
    )


# ---------------------------------------------------------------- gradients of convolutions


def stacks(whole: ConvProblem, before: Three, out: Three) -> bool:
    """Whether a transposed convolution is long-strided along W, and nothing along D and H."""
    return (
        whole.kernel[:2] == whole.stride[:2] == (1, 1)
        and before[:2] == (0, 0)
        and whole.size[:2] == out[:2] == (1, 1)
        and whole.dilation[2] == 1
        and whole.stride[2] > SHORT
        and 2 * whole.kernel[2] > whole.stride[2]
        and 0 not in (whole.N, *whole.size, *out)
    )


def input_gradient(whole: ConvProblem, before: Three, out: Three, m: Machine) -> Direct | Stacked:
    """The transposed convolution that a convolution's input gradient is; of long strides, its phases stacked."""
    if not stacks(whole, before, out) or phased(whole, before, out, m) is not None:
        return transposed(whole, before, out, m, "auto", WeightUse.BATCH)
    s = whole.stride[2]
    taps = -(-whole.kernel[2] // s)
    first = before[2] // s  # of the positions q that reach the output
    count = (before[2] + out[2] - 1) // s + 1 - first
    problem = whole._replace(
        O=whole.O * s, kernel=(1, 1, taps), stride=ONE, dilation=ONE,
        before=(0, 0, taps - 1 - first), out=(1, 1, count), mode=PadMode.PAD_ZEROS,
    )  # fmt: skip
    inner = kernels(problem, m, "auto", WeightUse.BATCH)
    return Stacked(
        machine=m,
        inner=inner,
        whole=whole,
        taps=taps,
        first=first,
        positions=count,
        crop=(before[2] - first * s, out[2]),
        reason=f"{s} phases as output channels of one convolution; {inner.reason}",
    )


def transpose_of(p: ConvProblem, after: Three) -> tuple[ConvProblem, Three, Three]:
    """The transposed convolution of the output's gradient that is the input's, of the padded input under a padding
    mode: `whole`, `before` and `out` as in `_problem.transposed_phases`; `after` is the padding behind."""
    whole = p._replace(C=p.O, O=p.C, size=p.out, before=NONE, out=NONE, mode=PadMode.PAD_ZEROS)
    if p.mode == PadMode.PAD_ZEROS:
        return whole, p.before, p.size
    return whole, NONE, triple(map(sum, zip(p.size, p.before, after, strict=True)))


def conv_input_gradient(p: ConvProblem, after: Three, m: Machine) -> Direct | Stacked | Folded:
    """The input gradient of a convolution."""
    inner = input_gradient(*transpose_of(p, after), m)
    if p.mode == PadMode.PAD_ZEROS:
        return inner
    return Folded(inner, p.size, p.before, after, p.mode)


def transposed_input_gradient(p: ConvProblem, m: Machine) -> Direct:
    """The input gradient of a transposed convolution, which `p` is the transpose of."""
    return kernels(p, m, "auto", WeightUse.BATCH)


def weight_gradient(p: ConvProblem, m: Machine) -> WeightGrad:
    geometry = merged(p, m, False, "direct")
    found = plan_weight_grad(geometry.problem, m)
    return WeightGrad(machine=m, axes=geometry.axes, **found._asdict())


# ---------------------------------------------------------------- pools


def pool(p: PoolProblem, m: Machine, op: PoolOp, indexed: bool, divide: float) -> Pool:
    found = choose_pool(p, m, indexed, op == PoolOp.POOL_AVERAGE)
    return Pool(machine=m, whole=p, op=op, indexed=indexed, divide=divide, **found._asdict())


def pool_gradient(p: PoolProblem, m: Machine, op: PoolOp, indexed: bool, divide: float) -> PoolGrad:
    problem, fold = folded_pool(p, lead=True)
    if op == PoolOp.POOL_MAX or not windows_apart(problem):
        problem, fold = bounded(p, problem, fold)
    return PoolGrad(
        machine=m,
        whole=p,
        problem=problem,
        fold=fold,
        plan=plan_pool_grad(problem, m, op == PoolOp.POOL_MAX, indexed),
        op=op,
        indexed=indexed,
        divide=divide,
    )
