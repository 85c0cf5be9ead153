"""Resolves convolutions: everything about a call is checked, the strategy chosen, and its runner built.

Nothing here looks at the values of arrays, so that what is resolved serves every call with these shapes and dtypes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _elements, _isa, _problem
from ._check import arrays, params, shapes
from ._pieces import Layout, Piecewise, Place, Result
from ._plan import choose
from ._problem import MODES, ConvProblem
from ._run.runner import PyRunner, Runner
from ._strategies import Frame, algorithm_of, bytes_of, convolution_runner, dtypes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]
Args = tuple[Any, ...]


class Checked(NamedTuple):
    """The sizes of a convolution, plain or transposed, after all checks; padding an axis each."""

    problem: ConvProblem
    out_shape: Shape
    before: Shape
    after: Shape


def check_plain(
    name: str, rank: int, shape: Shape, weight_shape: Shape, itemsize: int, given: Args
) -> Checked:
    """The problem of a convolution of these shapes; `given`: stride, padding, dilation, groups, padding_mode."""
    stride, padding, dilation, groups, padding_mode = given
    stride = params.axes(name, "stride", stride, rank, 1)
    dilation = params.axes(name, "dilation", dilation, rank, 1)
    kernel, size = weight_shape[2:], shape[-rank:]
    before, after = params.conv_padding(name, padding, rank, stride, dilation, kernel)
    mode = params.padding_mode(name, padding_mode, before, after, size)
    out = tuple(
        _problem.conv_size(*axis)
        for axis in zip(size, kernel, stride, dilation, before, after, strict=True)
    )
    shapes.conv_out(name, out, size, kernel, dilation, before, after)
    shapes.padded_input(name, shape[-rank - 1], size, before, after)
    batched = len(shape) == rank + 2
    out_shape = (*shape[:batched], weight_shape[0], *out)
    shapes.elements(name, out_shape, itemsize)
    problem = ConvProblem(
        N=shape[0] if batched else 1,
        G=groups,
        C=weight_shape[1],
        O=weight_shape[0] // groups,
        size=shapes.three(size, 1),
        kernel=shapes.three(kernel, 1),
        stride=shapes.three(stride, 1),
        dilation=shapes.three(dilation, 1),
        before=shapes.three(before, 0),
        out=shapes.three(out, 1),
        mode=mode,
    )
    return Checked(_problem.normal(problem), out_shape, before, after)


def check_transposed(
    name: str, rank: int, shape: Shape, weight_shape: Shape, itemsize: int, given: Args
) -> Checked:
    """The same for a transposed convolution: `given` has stride, padding, output_padding, groups, dilation, and the
    problem is that of its input, without padding."""
    stride, padding, extra, groups, dilation = given
    stride = params.axes(name, "stride", stride, rank, 1)
    dilation = params.axes(name, "dilation", dilation, rank, 1)
    before, after = params.pairs(name, padding, rank)
    extra = params.output_padding(name, extra, rank, stride, dilation)
    kernel, size = weight_shape[2:], shape[-rank:]
    out = tuple(
        _problem.transposed_size(*axis)
        for axis in zip(size, kernel, stride, dilation, before, after, extra, strict=True)
    )
    shapes.transposed_out(name, out, padding, size)
    shapes.reach(name, shape[-rank - 1], out, kernel, dilation, padding)
    shapes.phases(name, stride, out)
    batched = len(shape) == rank + 2
    out_shape = (*shape[:batched], weight_shape[1] * groups, *out)
    shapes.elements(name, out_shape, itemsize)
    problem = ConvProblem(
        N=shape[0] if batched else 1,
        G=groups,
        C=weight_shape[0] // groups,
        O=weight_shape[1],
        size=shapes.three(size, 1),
        kernel=shapes.three(kernel, 1),
        stride=shapes.three(stride, 1),
        dilation=shapes.three(dilation, 1),
        before=_problem.NONE,
        out=_problem.NONE,
        mode=MODES["zeros"],
    )
    return Checked(problem, out_shape, before, after)


class ConvCall(NamedTuple):
    """One call's arrays and parameters, the arrays checked against each other."""

    x: NDArray[Any]
    weight: NDArray[Any]
    bias: NDArray[Any] | None
    given: Args  # as check_plain and check_transposed take them
    algorithm: str
    use: choose.WeightUse = choose.WeightUse.ONCE
    dtype: Any = None  # of the result, where that was asked for

    @property
    def arrays(self) -> Args:
        return self.x, self.weight, self.bias


class Convolution:
    """conv1d, conv2d, conv3d."""

    parameters = "input weight bias stride padding dilation groups padding_mode out algorithm dtype"
    transposed = False

    def __init__(self, name: str, rank: int):
        self.name, self.rank = name, rank

    def check(self, shape: Shape, weight_shape: Shape, itemsize: int, given: Args) -> Checked:
        return check_plain(self.name, self.rank, shape, weight_shape, itemsize, given)

    def strategy(self, checked: Checked, dtypes: choose.Dtypes, call: ConvCall) -> choose.Strategy:
        after = shapes.three(checked.after, 0)
        return choose.any_convolution(
            checked.problem, after, dtypes, _isa.machine, call.algorithm, call.use
        )

    def __call__(self, args: Args) -> Runner:
        x, weight, bias = args[:3]
        given, algorithm = args[3:8], args[9]
        x, weight, bias, groups = arrays.conv_arrays(
            self.name, self.rank, x, weight, bias, given[3], self.transposed
        )
        params.algorithm(self.name, algorithm)
        given = (*given[:3], groups, *given[4:])
        return self.resolve(ConvCall(x, weight, bias, given, algorithm, dtype=args[10]))

    def resolve(self, call: ConvCall) -> Runner:
        dtype = arrays.common_dtype(self.name, input=call.x, weight=call.weight, bias=call.bias)
        dtype = arrays.wider_dtype(self.name, call.dtype, dtype)
        element = _elements.element(dtype)
        computed = np.dtype(element.conv)
        checked = self.check(call.x.shape, call.weight.shape, computed.itemsize, call.given)
        if call.algorithm == "fft":
            params.fft_serves(self.name, computed)
        dtypes = dtypes_of(call.arrays, dtype, element.conv)
        if not self.transposed and call.algorithm in ("auto", "direct"):
            dtypes = dtypes._replace(bytes=bytes_of(call.x, call.weight, dtype))
        strategy = self.strategy(checked, dtypes, call)
        params.served(self.name, call.algorithm, algorithm_of(strategy))
        if isinstance(strategy, choose.Pieces):
            return self.pieces(strategy, call, checked, dtype)
        batched = call.x.ndim == self.rank + 2
        frame = Frame(
            rank=self.rank,
            batched=batched,
            out_shape=checked.out_shape,
            weight_shape=call.weight.shape,
            transposed=self.transposed,
        )
        return convolution_runner(strategy, frame, dtype)

    def pieces(
        self, strategy: choose.Pieces, call: ConvCall, checked: Checked, dtype: np.dtype[Any]
    ) -> Runner:
        """Each piece is a call of its own, with what it has of the input and of the padding."""
        pads = tuple(zip(checked.before, checked.after, strict=True))
        layout = Layout(call.x.shape, self.rank, pads, channels=False)

        def resolve(place: Place) -> Runner:
            given = (call.given[0], place.pads, *call.given[2:])
            return self.resolve(call._replace(x=call.x[place.inputs], given=given))

        shape = checked.out_shape
        work = Piecewise(strategy, layout, resolve, Result(shape, dtype))
        return PyRunner(work, dtype, shape, strategy)


class TransposedConvolution(Convolution):
    """conv_transpose1d, conv_transpose2d, conv_transpose3d."""

    parameters = (
        "input weight bias stride padding output_padding groups dilation out algorithm dtype"
    )
    transposed = True

    def check(self, shape: Shape, weight_shape: Shape, itemsize: int, given: Args) -> Checked:
        return check_transposed(self.name, self.rank, shape, weight_shape, itemsize, given)

    def strategy(self, checked: Checked, dtypes: choose.Dtypes, call: ConvCall) -> choose.Strategy:
        before, after = shapes.three(checked.before, 0), shapes.three(checked.after, 0)
        out = shapes.three(checked.out_shape[-self.rank :], 1)
        return choose.any_transposed(
            checked.problem, before, after, out, dtypes, _isa.machine, call.algorithm, call.use
        )
