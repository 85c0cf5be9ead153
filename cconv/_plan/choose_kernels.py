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
    flattened,
    interleaved,
    transposed_phases,
    triple,
)
from ..kernels.job import PadMode, PoolOp
from . import fft
from .direct import DirectPlan, direct, joined
from .machine import WINOGRAD_ALLOWED, Kernel, Machine, WeightUse
from .pool import pool_grad as plan_pool_grad
from .pool import pool_plan
from .strategy import Direct, Fft, Folded, Pool, PoolGrad, Stacked, Step, WeightGrad
from .weight_grad import weight_grad as plan_weight_grad
from .winograd import WinogradPlan, best_patch, interleaving_pays, winograd, winograd_reason

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
    parts, flat = split(p, m, algorithm, use)
    choices = [choose_part(part.problem, m, algorithm, use) for part in parts]
    return assemble(m, p, parts, choices, flat, use)


def transposed(
    whole: ConvProblem, before: Three, out: Three, m: Machine, algorithm: str, use: WeightUse
) -> Direct:
    """A transposed convolution: `whole`, `before` and `out` as in `_problem.transposed_phases`."""
    algorithm = own_algorithm(m, algorithm)
    parts, flat = transposed_phases(whole, before, out), False
    if len(parts) == 1:
        # stride 1: a plain convolution with its taps reversed
        taps = parts[0].taps
        found, flat = split(parts[0].problem, m, algorithm, use)
        parts = [part._replace(taps=taps) for part in found]
    choices = [choose_part(part.problem, m, algorithm, use) for part in parts]
    return assemble(m, whole, parts, join_phases(parts, choices, m), flat, use)


def takes_fft(p: ConvProblem, m: Machine, algorithm: str) -> bool:
    if 0 in (p.N, p.G, p.O, *p.out):
        return False
    return algorithm == "fft" or (algorithm == "auto" and m.real and fft.pays(p, m))


def own_algorithm(m: Machine, algorithm: str) -> str:
    """The algorithm among those of the kernels: integers are summed as they are."""
    return "direct" if not m.real or (algorithm == "auto" and not WINOGRAD_ALLOWED) else algorithm


def split(p: ConvProblem, m: Machine, algorithm: str, use: WeightUse) -> tuple[list[Part], bool]:
    """The parts of a plain convolution: itself, one long axis of it, or undilated ones for Winograd; whether flat."""
    line = flattened(p)
    if line is not None:
        return [Part(line, NONE, ONE)], True
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
            return parts, False
    return [Part(p, NONE, ONE)], False


def choose_part(p: ConvProblem, m: Machine, algorithm: str, use: WeightUse) -> Choice:
    if algorithm != "direct":
        points = best_patch(p, m, use, algorithm == "winograd")
        if points:
            return Choice(Kernel.WINOGRAD, winograd(p, points, m, use), winograd_reason(p, points))
    return Choice(*direct(p, m))


def join_phases(parts: list[Part], choices: list[Choice], m: Machine) -> list[Choice]:
    """Phases of a transposed convolution that differ along W only are written as one, where that serves."""
    result: list[Choice] = []
    while len(result) < len(parts):
        i = len(result)
        n = 1
        while i + n < len(parts) and parts[i + n].first[:2] == parts[i].first[:2]:
            n += 1
        group = choices[i : i + n]
        if n == parts[i].step[2] and all(each.kernel is Kernel.GEMM for each in group):
            plans = joined([part.problem for part in parts[i : i + n]], m)
            if plans is not None:
                reason = f"{n} interleaved phases, each an implicit GEMM on the register tile"
                group = [Choice(Kernel.PHASES, plan, reason) for plan in plans]
        result += group
    return result


def list_taps(depths: range, rows: range, columns: range, kernel: Three) -> tuple[int, ...]:
    """Where the taps of a part of a transposed convolution lie in its weights, in the part's own order: reversed."""
    return tuple(
        (z * kernel[1] + y) * kernel[2] + x
        for z in reversed(depths)
        for y in reversed(rows)
        for x in reversed(columns)
    )


def assemble(
    m: Machine, whole: ConvProblem, parts: list[Part], choices: list[Choice], flat: bool,
    use: WeightUse,
) -> Direct:  # fmt: skip
    """The parts as steps; of a transposed convolution, those that interleave share their taps."""
    places: dict[tuple[int, ...] | None, int] = {}
    steps = []
    for part, (kind, plan, _) in zip(parts, choices, strict=True):
        taps = None if part.taps is None else list_taps(*part.taps, whole.kernel)
        at = places.setdefault(taps, len(places))
        phases = 1
        if isinstance(plan, DirectPlan):
            phases = plan.phases
            packed = use is not WeightUse.ONCE and kind in (Kernel.GEMM, Kernel.PHASES)
            plan = plan._replace(packed=packed)
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
                phases=phases,
            )
        )
    transforms = any(step.kernel is Kernel.WINOGRAD for step in steps)
    reason = choices[0].reason + (f"; in {len(steps)} parts" if len(steps) > 1 else "")
    return Direct(
        machine=m,
        whole=whole,
        steps=tuple(steps),
        weights=tuple(places),
        flat=flat,
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
    if not stacks(whole, before, out):
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
    found = plan_weight_grad(p, m)
    return WeightGrad(machine=m, **found._asdict())


# ---------------------------------------------------------------- pools


def pool(p: PoolProblem, m: Machine, op: PoolOp, indexed: bool, divide: float) -> Pool:
    plan, reason = pool_plan(p, m, indexed)
    return Pool(
        machine=m,
        problem=p,
        plan=plan,
        op=op,
        indexed=indexed,
        divide=divide,
        reason=reason,
    )


def pool_gradient(p: PoolProblem, m: Machine, op: PoolOp, indexed: bool, divide: float) -> PoolGrad:
    plan = plan_pool_grad(p, m, op == PoolOp.POOL_MAX)
    return PoolGrad(machine=m, problem=p, plan=plan, op=op, indexed=indexed, divide=divide)
