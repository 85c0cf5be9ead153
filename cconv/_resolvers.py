"""What resolves the calls of each operation: checks them, has their strategy chosen, and makes their runner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from . import _convolutions, _gradients, _moves, _pools

if TYPE_CHECKING:
    from typing import Any

    from ._run.runner import Runner


class Resolver(Protocol):
    """Resolves a call: given all its arguments, in the order of `parameters`, returns the runner."""

    parameters: str

    def __init__(self, name: str, rank: int) -> None: ...
    def __call__(self, args: tuple[Any, ...]) -> Runner: ...


RESOLVERS: dict[str, type[Resolver]] = {
    "conv": _convolutions.Convolution,
    "conv_transpose": _convolutions.TransposedConvolution,
    "max_pool": _pools.MaxPooling,
    "avg_pool": _pools.AveragePooling,
    "lp_pool": _pools.PowerPooling,
    "adaptive_avg_pool": _pools.AdaptiveAverage,
    "adaptive_max_pool": _pools.AdaptiveMaximum,
    "max_unpool": _moves.Unpooling,
    "unfold": _moves.Unfolding,
    "fold": _moves.ColumnSum,
    "conv_input": _gradients.ConvInput,
    "conv_weight": _gradients.ConvWeight,
    "conv_bias": _gradients.Bias,
    "conv_transpose_input": _gradients.TransposedInput,
    "conv_transpose_weight": _gradients.TransposedWeight,
    "conv_transpose_bias": _gradients.Bias,
    "max_pool_input": _gradients.MaxInput,
    "avg_pool_input": _gradients.AverageInput,
    "lp_pool_input": _gradients.PowerInput,
    "adaptive_avg_pool_input": _gradients.AdaptiveAverageInput,
    "adaptive_max_pool_input": _gradients.AdaptiveMaximumInput,
    "max_unpool_input": _moves.UnpoolInput,
}
