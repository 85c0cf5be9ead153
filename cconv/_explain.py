"""What a call would do: the strategy of the very runner that it would use, printed."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from . import _isa
from ._check import arrays as checks
from ._explanation import Explanation
from ._operations import OPERATIONS, Kind
from ._plan import choose
from ._run.runner import Program, PyRunner, Runner
from ._strategies import algorithm_of
from .kernels.job import PoolOp

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._run.entry import Operation
    from ._strategies import Arrays

NOT_EXPLAINED = ("unfold", "fold", "max_unpool1d", "max_unpool2d", "max_unpool3d")


def explained() -> tuple[str, ...]:
    """The functions that `explain` knows."""
    return tuple(name for name in OPERATIONS if name not in NOT_EXPLAINED)


def explain(
    function: str | Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Explanation:
    """The strategy of ``function(*args, **kwargs)``, chosen but not run."""
    from . import functional, grad  # their signatures; they stand above

    name = function if isinstance(function, str) else getattr(function, "__name__", "")
    public = getattr(functional, name, None) or getattr(grad, name, None)
    if name not in explained() or public is None:
        raise ValueError(
            f"explain: function must be one of {', '.join(explained())}, got {function!r}"
        )
    bound = inspect.signature(public).bind(*args, **kwargs)
    bound.apply_defaults()
    operation = OPERATIONS[name]
    given = [bound.arguments[parameter] for parameter, _ in operation.signature.parameters]
    runner = operation.runner(*given)
    return explanation(name, runner, arrays_of(operation, runner, given))


def arrays_of(operation: Operation, runner: Runner, given: list[Any]) -> Arrays:
    """The arrays that the runner would be given; `out` is checked as in a call."""
    found: list[Any] = []
    for (parameter, kind), value in zip(operation.signature.parameters, given, strict=True):
        if kind is Kind.ARRAY or (kind is Kind.OPTIONAL and value is not None):
            found.append(checks.array(operation.name, parameter, value))
        elif kind is Kind.OPTIONAL:
            found.append(None)
        elif kind is Kind.OUT:
            checks.output(operation.name, value, runner.dtype, runner.out_shape)
    return tuple(found)


def explanation(name: str, runner: Runner, arrays: Arrays) -> Explanation:
    """What the runner does with these arrays; integers are looked at for their range, as in a call."""
    found, way = runner, [runner.strategy]
    while isinstance(found, PyRunner) and hasattr(found.function, "delegate"):
        found, arrays = found.function.delegate(arrays)
        way.append(found.strategy)
    result = Explanation(function=name)
    result.update(computing(found, told_reason(way, str(found.dtype))))
    strategy = found.strategy
    wide = isinstance(strategy, choose.Pool) and strategy.plan.wide
    computed = "float64" if wide else str(found.dtype)
    result.update(dtype=str(runner.dtype), computed_in=computed, out_shape=runner.out_shape)
    return result


def computing(runner: Runner, why: str) -> dict[str, Any]:
    """What is known of the runner that computes."""
    strategy = runner.strategy
    if isinstance(strategy, choose.Fft):
        block = strategy.plan.block
        return {
            "algorithm": "fft", "kernel": "numpy.fft", "reason": why, "block": block, "threads": 1,
        }  # fmt: skip
    if not isinstance(runner, Program):
        return {"algorithm": "direct", "kernel": "numpy", "reason": why, "threads": 1}
    report = runner.report()
    kernel = choose.Kernel(report["kernel"])
    found: dict[str, Any] = {
        "algorithm": algorithm_of(strategy),
        "kernel": kernel.value,
        "reason": why,
    }
    if isinstance(strategy, choose.Direct):
        tiled = kernel in (choose.Kernel.GEMM, choose.Kernel.INT8, choose.Kernel.PHASES)
        found.update(tile=report["tile"] if tiled else None, box=report["box"])
    found.update(workspace=report["workspace"], threads=report["threads"], isa=_isa.isa)
    return found


def told_reason(way: list[choose.Strategy], computed: str) -> str:
    """Why the kernel, and what is done around it; `way` leads to what computes."""
    said = []
    for strategy in way:
        match strategy:
            case choose.Pieces():
                said.append(f"in {len(strategy.pieces)} pieces")
            case choose.Doubled():
                said.append("complex channels as twice as many real ones")
            case choose.Ranged():
                whole = computed.startswith("int")
                said.append(
                    f"integers {'as they are' if whole else 'as floats, exact in this range'}"
                )
            case choose.Powers():
                said.append(f"of powers {strategy.norm:g}")
            case choose.Shifted():
                said.append("shifted into int64")
            case choose.Folded():
                said.append("padding folded back")
    stacked = next((each for each in way if isinstance(each, choose.Stacked)), way[-1])
    if isinstance(stacked, choose.PoolGrad):
        why = "gradients to the maxima" if stacked.op == PoolOp.POOL_MAX else "gradients spread"
    else:
        why = getattr(stacked, "reason", "")
    return "; ".join([why, *dict.fromkeys(said)])
