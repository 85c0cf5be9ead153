"""The runners of prepacked convolutions: the plain call's runner, with its weights prepared as far as they can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._check import arrays as checks
from ._convolutions import ConvCall, Convolution, TransposedConvolution
from ._fft import Overlap
from ._plan import choose
from ._run.conv import ConvProgram
from ._run.runner import PyRunner, Runner
from ._strategies import Array, Arrays, Ranging, magnitude, whole_numbers

if TYPE_CHECKING:
    from ._run.entry import Kept


def kept_runner(owner: Any, x: Array) -> Runner:
    """The runner of a Prepacked for inputs like x; its arrays are (x,)."""
    weight, bias, given = owner._weight, owner._bias, owner._given
    options = owner._options
    transposed, rank = options.transposed, weight.ndim - 2
    checks.conv_arrays(owner._name, rank, x, weight, bias, given[3], transposed)
    call = (TransposedConvolution if transposed else Convolution)(owner._name, rank)
    use, algorithm = choose.WeightUse.KEPT, options.algorithm
    runner = call.resolve(ConvCall(x, weight, bias, given, algorithm, use=use, dtype=options.dtype))
    around = runner.function if isinstance(runner, PyRunner) else None
    work: Any
    if isinstance(runner, ConvProgram):
        prepared = owner._kept.prepared(runner, weight)
        owner._kept.keep(x, runner, prepared, bias)
        work = KeptProgram(runner, prepared, bias)
    elif isinstance(around, Overlap):
        work = KeptSpectra(around, weight, bias, owner._shared)
    elif isinstance(around, Ranging):
        work = KeptRange(around, weight, bias, owner._kept)
    else:
        work = KeptArrays(runner, weight, bias)
    return PyRunner(work, runner.dtype, runner.out_shape, runner.strategy)


class KeptArrays:
    """The plain call: weights that are converted, which is done each time."""

    def __init__(self, runner: Runner, weight: Array, bias: Array | None):
        self.runner, self.weight, self.bias = runner, weight, bias

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.runner, (*arrays, self.weight, self.bias)

    def __call__(self, arrays: Arrays, out: Array | None) -> Any:
        return self.runner((*arrays, self.weight, self.bias), out)


class KeptProgram:
    """A program with its weights prepared."""

    def __init__(self, program: ConvProgram, prepared: Any, bias: Array | None):
        self.program, self.prepared, self.bias = program, prepared, bias

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        return self.program, (*arrays, None, self.bias)

    def __call__(self, arrays: Arrays, out: Array | None) -> Any:
        return self.program.run_prepared(arrays[0], self.prepared, self.bias, out)


class KeptSpectra:
    """Weights of large kernels, transformed once where that fits the budget."""

    def __init__(self, overlap: Overlap, weight: Array, bias: Array | None, shared: dict[Any, Any]):
        self.overlap = overlap
        self.bias = bias
        layout = overlap.layout()
        if layout not in shared:
            shared[layout] = overlap.pack(weight)
        self.packed = shared[layout]

    def __call__(self, arrays: Arrays, out: Array | None) -> Any:
        return self.overlap.run(arrays[0], self.packed, self.bias, out)


class KeptRange:
    """Integers as floats where their range allows it; that of the weights is known, and both kinds are prepared."""

    def __init__(self, ranging: Ranging, weight: Array, bias: Array | None, kept: Kept):
        self.ranging = ranging
        self.weight, self.bias, self.kept = weight, bias, kept
        self.most = magnitude(weight), 0 if bias is None else magnitude(bias)
        self.ready: dict[int | None, Any] = {}

    def delegate(self, arrays: Arrays) -> tuple[Runner, Arrays]:
        i = self.ranging.pick(arrays[0], *self.most)
        runner = self.ranging.exact if i is None else self.ranging.floats[i][1]
        return runner, (*arrays, self.weight, self.bias)

    def __call__(self, arrays: Arrays, out: Array | None) -> Any:
        x = arrays[0]
        i = self.ranging.pick(x, *self.most)
        if i not in self.ready:
            self.ready[i] = self.prepare(i)
        work = self.ready[i]
        if i is None:
            return work(arrays, out)
        y = work((x.astype(self.ranging.floats[i][1].dtype),), None)
        return whole_numbers(y, self.ranging.exact.dtype, out)

    def prepare(self, i: int | None) -> KeptProgram | KeptArrays:
        """The weights for the exact sums, or for those of one kind of float."""
        runner = self.ranging.exact if i is None else self.ranging.floats[i][1]
        if not isinstance(runner, ConvProgram):  # a conversion, which takes the arrays as they are
            return KeptArrays(runner, self.weight, self.bias)
        weight = self.weight.astype(runner.dtype, copy=False)
        bias = None if self.bias is None else self.bias.astype(runner.dtype, copy=False)
        if runner.strategy.use is not choose.WeightUse.KEPT:
            return KeptArrays(runner, weight, bias)
        return KeptProgram(runner, self.kept.prepared(runner, weight), bias)
