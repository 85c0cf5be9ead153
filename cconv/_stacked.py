"""A transposed convolution along one axis whose stride is long: its phases as output channels of one convolution.

    y[o, q*s + r - p] = sum over c, j of w[c, o, r + j*s] * x[c, q - j]

is a convolution of stride 1 with s times the output channels, one for each phase r, and ceil(k / s) taps, whose outputs
are then interleaved. Each phase by itself would read the input once more: 160 times for the step of a spectrogram.
Used for the input gradients of 1-D convolutions with strides above 8 (shorter ones are interleaved by the kernel).
"""

from __future__ import annotations

import numpy as np

from . import _plan, _problem, _run

SHORT = 8


def serves(whole, before, out) -> bool:
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


class StackedPlan:
    """`whole`, `before` and `out` as in `_problem.transposed_phases`; arrays may have any rank with these sizes."""

    def __init__(self, dtype, whole, before, out, out_shape):
        s, k = whole.stride[2], whole.kernel[2]
        self.whole, self.out_shape = whole, out_shape
        self.taps = -(-k // s)
        self.first = before[2] // s  # of the positions q that reach the output
        self.count = (before[2] + out[2] - 1) // s + 1 - self.first
        self.crop = before[2] - self.first * s, out[2]
        channels = whole.G * whole.O * s
        problem = _problem.ConvProblem(
            whole.N, whole.G, whole.C, whole.O * s, whole.size, (1, 1, self.taps), (1, 1, 1), (1, 1, 1),
            (0, 0, self.taps - 1 - self.first), (1, 1, self.count), 0,
        )  # fmt: skip
        shape = (whole.N, channels, self.count)
        self.inner = _run.ConvPlan(
            dtype,
            1,
            True,
            shape,
            (channels, whole.C, self.taps),
            problem,
            None,
            "auto",
            _plan.TRAINING_BATCH,
        )

    def weights(self, weight):
        """(G*C, O, k) as (G*O*s, C, taps), the taps reversed, zeros where k is no multiple of s."""
        p, s = self.whole, self.whole.stride[2]
        padded = np.zeros((p.G, p.C, p.O, self.taps * s), weight.dtype)
        padded[..., : p.kernel[2]] = weight.reshape(p.G, p.C, p.O, p.kernel[2])
        parts = padded.reshape(p.G, p.C, p.O, self.taps, s)[:, :, :, ::-1]
        return np.ascontiguousarray(parts.transpose(0, 2, 4, 1, 3)).reshape(
            p.G * p.O * s, p.C, self.taps
        )

    def run(self, x, weight):
        """Returns a new array. `x` and `weight` have the plan's dtype."""
        p, s = self.whole, self.whole.stride[2]
        parts = self.inner.pack(self.weights(weight))
        x = np.require(x.reshape(p.N, p.G * p.C, p.size[2]), requirements="CA")
        phases = self.inner.run(x, parts, None, None, True)
        phases = phases.reshape(p.N, p.G * p.O, s, self.count).swapaxes(2, 3)
        start, length = self.crop
        y = np.ascontiguousarray(phases).reshape(p.N, p.G * p.O, self.count * s)
        return np.ascontiguousarray(y[..., start : start + length]).reshape(self.out_shape)
