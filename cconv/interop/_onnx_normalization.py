"""ONNX's BatchNormalization of every opset, for the networks between whose convolutions it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx.reference.op_run import OpRun

if TYPE_CHECKING:
    from ..functional import Array


@dataclass(frozen=True)
class Settings:
    """What the evaluator hands to `_run` by keyword; the last three are of old opsets, where they mean inference."""

    epsilon: float = 1e-5
    momentum: float = 0.9
    training_mode: int = 0
    spatial: int | None = None
    is_test: int | None = None
    consumed_inputs: Any = None


class BatchNormalization(OpRun):
    """As in inference, which is what opsets before 14 mean unless they ask for five outputs; the stock one trains
    with the momentum of opset 9."""

    def _run(
        self, x: Array, scale: Array, b: Array, mean: Array, var: Array, **attributes: Any
    ) -> tuple[Array, ...]:
        given = Settings(**{name: v for name, v in attributes.items() if v is not None})
        shape = (1, -1, *(1,) * (x.ndim - 2))
        if given.training_mode:
            axes = (0, *range(2, x.ndim))
            now, spread = x.mean(axes), x.var(axes)
            keep = given.momentum
            y = normalized(x, (scale, b, now, spread), given.epsilon, shape)
            new = [mean * keep + now * (1 - keep), var * keep + spread * (1 - keep)]
            return (y, *(a.astype(mean.dtype, copy=False) for a in new))[: len(self.output)]
        return (normalized(x, (scale, b, mean, var), given.epsilon, shape),)


def normalized(
    x: Array, statistics: tuple[Array, Array, Array, Array], eps: float, shape: tuple[int, ...]
) -> Array:
    scale, b, mean, var = statistics
    factor = scale / np.sqrt(var + eps)
    result: Array = x * factor.reshape(shape) + (b - mean * factor).reshape(shape)
    return result.astype(x.dtype, copy=False)
