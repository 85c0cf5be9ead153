"""A convolution's weights kept in the kernels' layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._check import arrays as checks
from ._check import params
from ._run.entry import Kept

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ._run.runner import Runner

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
    dtype: Any = None


class Prepacked:
    """
    A convolution with fixed weights, kept in the kernels' own layout; made by `prepack`.

    Call it with an input, and optionally ``out=``. It cannot be changed, may be called from many threads at once, and
    pickles and copies as plain weights.
    """

    __slots__ = ("_bias", "_given", "_kept", "_name", "_options", "_runners", "_shared", "_weight")

    def __init__(self, weight: Any, bias: Any, options: PackOptions):
        stride, padding, dilation, groups, mode, transposed, extra, algorithm, dtype = options
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
        common = checks.common_dtype(name, weight=weight, bias=bias)
        checks.wider_dtype(name, dtype, common)
        self._name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
        if transposed:
            self._given = (stride, padding, extra, groups, dilation)
        else:
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
        name = self._name
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

    def _resolve(self, x: Any) -> Runner:
        """The runner for inputs like x alone."""
        from ._kept import kept_runner  # imported with the first call

        return kept_runner(self, x)

    def __reduce__(self) -> tuple[Any, ...]:
        return Prepacked, (self._weight, self._bias, self._options)

    def __copy__(self) -> Prepacked:
        return self

    def __deepcopy__(self, memo: Any) -> Prepacked:
        return self

    def __repr__(self) -> str:
        return f"<cconv.Prepacked {self._name}, weight {self._weight.shape} {self._weight.dtype}>"
