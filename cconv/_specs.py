"""The specs of capi.pxd, as dicts, checked and planned by the same code as calls from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from . import _isa
from ._check import params, shapes
from ._convolutions import check_plain, check_transposed
from ._plan import choose
from ._pools import Wanted, Window, check_pool
from ._problem import MODES
from .kernels.job import PoolOp

if TYPE_CHECKING:
    from ._plan.machine import Machine

Spec = dict[str, Any]
Shape = tuple[int, ...]
DTYPES = ("float32", "float64")  # FLOAT32, FLOAT64
GIVEN, ADAPTIVE, POWERS = range(3)  # windows of spec.op; of one size of result; p-norms
NAMES = ("capi.pool_init", "capi.adaptive_pool_init", "capi.lp_pool_init")


class ConvSpec(NamedTuple):
    plain: choose.Direct
    packed: choose.Direct  # with weights of conv_pack
    shape: Shape
    out_shape: Shape
    weight_shape: Shape


class PoolSpec(NamedTuple):
    strategy: choose.Pool
    shape: Shape  # this and the next are of one plane where `by_plane`
    out_shape: Shape
    by_plane: bool
    planes: int
    narrow: bool  # the arrays are narrower than what is computed in
    taps: int


def machine_of(number: int) -> Machine:
    if number not in (0, 1):
        raise ValueError("dtype")
    return _isa.machine(DTYPES[number])


def fields_of(spec: Spec, *names: str) -> list[Shape]:
    """Fields with one value a spatial axis."""
    return [tuple(spec[name][: spec["rank"]]) for name in names]


def positive(name: str, parameter: str, *values: int) -> None:
    for value in values:
        params.integer(name, parameter, value, 1)


def conv_spec(spec: Spec) -> ConvSpec:
    """Never by the FFT, which Python runs."""
    name, rank, groups = "capi.conv_init", spec["rank"], spec["groups"]
    if not 1 <= rank <= 3 or not 0 <= spec["padding_mode"] < len(MODES):
        raise ValueError("rank or padding_mode")
    kernel, size, stride, dilation, before, after, extra = fields_of(
        spec, "kernel", "input", "stride", "dilation", "before", "after", "output_padding"
    )
    positive(name, "size", spec["in_channels"], spec["out_channels"], groups, *kernel, *size)
    if spec["batch"] < 0 or spec["in_channels"] % groups or spec["out_channels"] % groups:
        raise ValueError("channels must be multiples of groups")
    machine = machine_of(spec["dtype"])
    shape = (spec["batch"], spec["in_channels"], *size)
    padding = tuple(zip(before, after, strict=True))
    uses = choose.WeightUse.ONCE, choose.WeightUse.KEPT
    if spec["transposed"]:
        if spec["padding_mode"]:
            raise ValueError("padding_mode")
        weight = (spec["in_channels"], spec["out_channels"] // groups, *kernel)
        given: tuple[Any, ...] = (stride, padding, extra, groups, dilation)
        found = check_transposed(name, rank, shape, weight, machine.itemsize, given)
        begin, out = shapes.three(found.before, 0), shapes.three(found.out_shape[2:], 1)
        plain, packed = (
            choose.transposed(found.problem, begin, out, machine, "auto", use) for use in uses
        )
    else:
        weight = (spec["out_channels"], spec["in_channels"] // groups, *kernel)
        given = (stride, padding, dilation, groups, list(MODES)[spec["padding_mode"]])
        found = check_plain(name, rank, shape, weight, machine.itemsize, given)
        plain, packed = (choose.kernels(found.problem, machine, "auto", use) for use in uses)
    return ConvSpec(plain, packed, shape, found.out_shape, weight)


def wanted_of(spec: Spec, kind: int, name: str) -> Wanted:
    """The windows that a spec describes."""
    size, kernel, stride, before, after, dilation, out = fields_of(
        spec, "input", "kernel", "stride", "before", "after", "dilation", "output"
    )
    positive(name, "input", *size)
    if kind == ADAPTIVE:
        return Wanted(None, params.output_size(name, out, size, spec["rank"]))
    padding = tuple(zip(before, after, strict=True))
    window = Window(*params.pool_geometry(name, spec["rank"], kernel, stride, padding, dilation))
    include_pad = kind == POWERS or bool(spec["count_include_pad"])
    return Wanted(window, ceil_mode=bool(spec["ceil_mode"]), include_pad=include_pad)


def averaged_in(machine: Machine, wanted: Wanted, size: Shape) -> Machine:
    """Averages of many values in a row want float64."""
    if wanted.window is None:
        size3, out = shapes.three(size, 1), shapes.three(wanted.size, 1)
        return _isa.machine(choose.adaptive_average_in(machine.dtype, size3, out))
    kernel, stride = shapes.three(wanted.window.kernel, 1), shapes.three(wanted.window.stride, 1)
    return _isa.machine(choose.average_in(machine.dtype, kernel, stride))


def pool_spec(spec: Spec, kind: int, norm: float) -> PoolSpec:
    """`norm` is that of POWERS."""
    name, rank = NAMES[kind], spec["rank"]
    op, indices = spec["op"], bool(spec["indices"])
    if kind == POWERS:
        op = PoolOp.POOL_MAX if norm == float("inf") else PoolOp.POOL_AVERAGE
        indices = False
    maximum = op == PoolOp.POOL_MAX
    if not 1 <= rank <= 3 or not (maximum or (op == PoolOp.POOL_AVERAGE and not indices)):
        raise ValueError("rank, op or indices")
    if spec["batch"] < 0 or spec["channels"] < 1 or (kind == POWERS and not norm > 0):
        raise ValueError("batch, channels or norm_type")
    machine = machine_of(spec["dtype"])
    wanted = wanted_of(spec, kind, name)
    (size,) = fields_of(spec, "input")
    inner = machine if maximum else averaged_in(machine, wanted, size)
    shape = (spec["batch"], spec["channels"], *size)
    found = check_pool(name, rank, shape, wanted, inner.itemsize)
    problem, out_shape = found.problem, found.out_shape
    if not maximum and kind != POWERS:
        inner = _isa.machine(choose.own_sums(machine.dtype, inner.dtype, problem))
    narrow = inner != machine
    by_plane = kind == POWERS or narrow
    if by_plane:
        # a plan of one plane, run on copies: of the powers, or in the wider type
        problem = problem._replace(N=1, C=1)
        shape, out_shape = (1, 1, *size), (1, 1, *out_shape[2:])
    divide = float(spec["divisor_override"]) if kind == GIVEN else 0.0
    strategy = choose.pool(problem, inner, PoolOp(op), indices, divide)
    return PoolSpec(
        strategy=strategy,
        shape=shape,
        out_shape=out_shape,
        by_plane=by_plane,
        planes=spec["batch"] * spec["channels"],
        narrow=narrow,
        taps=found.taps,
    )
