"""Convolutions of bytes in sums of 32 bits: what a unit of the kernels int8 and int8_rows holds, and their blocks.

A unit (kernels/int8.h) is so many terms of one sum: neighbouring channels, or, where that wastes less (image filters,
depthwise and first layers), neighbouring taps of a row. Then the convolution is planned as one of 32-bit elements with
fewer channels, or with shorter rows of taps that lie further apart.
"""

from __future__ import annotations

from typing import NamedTuple

from .._problem import NONE, ONE, ConvProblem
from .direct import direct
from .geometry import STAY, merged
from .machine import Kernel, Machine, WeightUse, ceil_div
from .strategy import Direct, Step, UnitPlan, Units


class Bytes(NamedTuple):
    """The input and the weights of a call, where both are integers of 8 bits."""

    x_signed: bool
    w_signed: bool

    @property
    def machine(self) -> str:
        """Whose kernels: instructions that multiply bytes take one factor with a sign and one without."""
        return "int8" if self.w_signed else "uint8"


def in_units(p: ConvProblem, terms: int) -> tuple[ConvProblem, bool]:
    """The problem with its sizes in units, and whether those are of columns."""
    columns = ceil_div(p.kernel[2], terms)
    channels = ceil_div(p.C, terms)
    if p.C * columns < channels * p.kernel[2]:
        kernel, hop = (*p.kernel[:2], columns), terms * p.dilation[2]
        return p._replace(kernel=kernel, dilation=(*p.dilation[:2], hop)), True
    return p._replace(C=channels), False


def units(p: ConvProblem, m: Machine, given: Bytes, use: WeightUse) -> Units | None:
    """The convolution by int8 or int8_rows; None where a slab would not fit, or nothing is computed."""
    if 0 in (p.N, p.G, p.O, *p.out, *p.kernel):
        return None
    geometry = merged(p, m, True, "direct")
    axes = STAY
    if geometry.taps is None:  # else weights would have to be gathered, which are bytes
        p, axes = geometry.problem, geometry.axes
    whole, by_columns = in_units(p, m.terms)
    found = direct(whole, m)
    kernels = {Kernel.GEMM: Kernel.INT8, Kernel.ROWS: Kernel.INT8_ROWS}
    if found.kernel not in kernels:
        return None
    kernel = kernels[found.kernel]
    plan = found.plan._replace(in_place=False, packed=True)
    what = "taps of a row" if by_columns else "channels"
    width = "bytes" if m.terms == 4 else "16-bit halves"
    step = Step(
        kernel=kernel, problem=whole, plan=plan, first=NONE, step=ONE, x_first=NONE, x_step=ONE,
        weights=0,
    )  # fmt: skip
    inner = Direct(
        machine=m, whole=whole, steps=(step,), weights=(None,), swapped=False, axes=axes, use=use,
        algorithm="direct",
        reason=f"{m.terms} {width} of neighbouring {what} in one multiply-add; {found.reason}",
    )  # fmt: skip
    held = UnitPlan(
        by_columns=by_columns,
        channels=p.C,
        columns=p.kernel[2],
        hop=p.dilation[2] if by_columns else 0,
        x_signed=given.x_signed,
        w_signed=given.w_signed,
    )
    return Units(inner, held)
