"""A convolution's weights kept in the kernels' layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._check import arrays as checks
from ._check import params
from ._convolutions import ConvCall, Convolution, TransposedConvolution
from ._fft import Overlap
from ._plan import choose
from ._run.conv import ConvProgram
from ._run.entry import Kept
from ._run.runner import PyRunner, Runner
from ._strategies import Array, Arrays, Ranging, magnitude, whole_numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SHAPES_MOST = 256  # whose runners are remembered


class PackOptions(NamedTuple):
    """The parameters of `prepack`."""

    stride: Any
    padding: Any
    dilation: Any
    groups: Any
    padding_mode: Any
    transposed: Any
    output_padding: Any
    algorithm: Any


class Prepacked:
    """
    A convolution with fixed weights, kept in the kernels' own layout; made by `prepack`.

    Call it with an input, and optionally ``out=``. It cannot be changed, may be called from many threads at once, and
    pickles and copies as plain weights.
    """

    __slots__ = ("_bias", "_call", "_given", "_kept", "_options", "_runners", "_shared", "_weight")

    def __init__(self, weight: Any, bias: Any, options: PackOptions):
        stride, padding, dilation, groups, mode, transposed, extra, algorithm = options
        name = "prepack"
        weight = checks.array(name, "weight", weight)
        rank = checks.packed_rank(name, weight)
        transposed = params.flag(name, "transposed", transposed)
        groups = params.integer(name, "groups", groups, 1)
        bias = None if bias is None else checks.array(name, "bias", bias)
        checks.conv_weight(name, rank, weight, bias, groups, transposed)
        params.packed_params(
            name, weight.shape[2:], stride, padding, dilation, mode, transposed, extra
        )
        self._weight = np.array(weight, order="C")
        self._bias = None if bias is None else np.array(bias, order="C")
        self._weight.flags.writeable = False
        params.algorithm(f"prepack{' (transpose)' * transposed}", algorithm)
        if transposed:
            self._call: Convolution = TransposedConvolution(f"conv_transpose{rank}d", rank)
            self._given = (stride, padding, extra, groups, dilation)
        else:
            self._call = Convolution(f"conv{rank}d", rank)
            self._given = (stride, padding, dilation, groups, mode)
        self._options = options._replace(groups=groups, transposed=transposed)
        self._kept = Kept(self._other)
        self._runners: dict[Any, Runner] = {}
        self._shared: dict[Any, Any] = {}  # prepared weights that programs share, by their layout

    def __call__(self, x: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
        y: NDArray[Any] = self._kept(x, out)
        return y

    def _other(self, x: Any, out: Any) -> Any:
        """A call that the kept path does not know."""
        name = self._call.name
        x = checks.array(name, "input", x)
        key = x.shape, x.dtype
        runner = self._runners.get(key)
        if runner is None:
            runner = self._resolve(x)
            if len(self._runners) >= SHAPES_MOST:
                self._runners.clear()
            self._runners[key] = runner
        checks.output(name, out, runner.dtype, runner.out_shape)
        return runner((x,), out)

    def _resolve(self, x: Array) -> Runner:
        """The runner for inputs like x alone."""
        call, weight, bias = self._call, self._weight, self._bias
        groups = self._given[3]
        checks.conv_arrays(call.name, call.rank, x, weight, bias, groups, call.transposed)
        use, algorithm = choose.WeightUse.KEPT, self._options.algorithm
        runner = call.resolve(ConvCall(x, weight, bias, self._given, algorithm, use=use))
        around = runner.function if isinstance(runner, PyRunner) else None
        work: Any
        if isinstance(runner, ConvProgram):
            prepared = self._kept.prepared(runner, weight)
            self._kept.keep(x, runner, prepared, bias)
            work = KeptProgram(runner, prepared, bias)
        elif isinstance(around, Overlap):
            work = KeptSpectra(around, weight, bias, self._shared)
        elif isinstance(around, Ranging):
            work = KeptRange(around, weight, bias, self._kept)
        else:
            work = KeptArrays(runner, weight, bias)
        return PyRunner(work, runner.dtype, runner.out_shape, runner.strategy)

    def __reduce__(self) -> tuple[Any, ...]:
        return Prepacked, (self._weight, self._bias, self._options)

    def __copy__(self) -> Prepacked:
        return self

    def __deepcopy__(self, memo: Any) -> Prepacked:
        return self

    def __repr__(self) -> str:
        return (
            f"<cconv.Prepacked {self._call.name}, weight {self._weight.shape} {self._weight.dtype}>"
        )


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
