"""What a user may get wrong, one mistake a line; `mypy --strict` must find each, for the reason in its comment."""

import numpy as np
from numpy.typing import NDArray

import cconv
from cconv import grad

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]


def words(x: Floats, w: Floats) -> None:
    """Typos in words that are Literals."""
    cconv.conv2d(x, w, padding="smae")  # E: arguments
    cconv.conv1d(x, w, padding="SAME")  # E: arguments
    cconv.conv3d([1.0], w, padding="full")  # E: arguments
    cconv.conv_transpose2d(x, w, padding="same")  # E: arguments
    cconv.conv2d(x, w, padding_mode="zero")  # E: arguments
    cconv.conv1d(x, w, padding_mode="reflected")  # E: arguments
    cconv.conv2d(x, w, algorithm="winogard")  # E: arguments
    cconv.conv3d(x, w, algorithm="FFT")  # E: arguments
    cconv.conv_transpose1d(x, w, algorithm="fft")  # E: arguments
    cconv.prepack(w, padding="smae")  # E: arguments
    cconv.prepack(w, padding_mode="mirror")  # E: arguments
    cconv.prepack(w, algorithm="gemm")  # E: arguments
    grad.conv2d_input(x.shape, w, x, padding="smae")  # E: arguments
    grad.conv1d_weight(x, w.shape, x, padding_mode="zero")  # E: arguments
    cconv.Conv2d(1, 1, 3, padding="smae")  # E: arguments
    cconv.Conv1d(1, 1, 3, padding_mode="zero")  # E: arguments
    cconv.ConvTranspose2d(1, 1, 3, padding="same")  # E: arguments
    cconv.ConvTranspose3d(1, 1, 3, padding_mode="reflect")  # E: arguments


def outputs(x: Floats, w: Floats, double: Doubles, whole: Bytes) -> None:
    """An `out` of another dtype than the result's."""
    cconv.conv2d(x, w, out=double)  # E: arguments
    cconv.conv1d(double, double, out=x)  # E: arguments
    cconv.conv2d(whole, whole, out=x)  # E: arguments
    cconv.conv_transpose3d(x, w, None, 2, out=double)  # E: arguments
    cconv.max_pool2d(x, 2, out=double)  # E: arguments
    cconv.max_pool1d(whole, 2, return_indices=True, out=x)  # E: arguments
    cconv.adaptive_max_pool2d(x, 2, out=double)  # E: arguments
    cconv.avg_pool2d(x, 2, out=double)  # E: arguments
    cconv.avg_pool3d(whole, 2, out=x)  # E: arguments
    cconv.lp_pool1d(whole, 2, 2, out=x)  # E: arguments
    cconv.adaptive_avg_pool2d(double, 2, out=x)  # E: arguments
    cconv.AvgPool2d(2)(x, out=double)  # E: arguments
    grad.conv2d_weight(x, w.shape, x, out=double)  # E: arguments
    grad.conv3d_bias(x, out=double)  # E: arguments
    grad.max_pool2d_input(double, double, 2, out=x)  # E: arguments
    cconv.conv2d(x, w, out=[1.0])  # E: arguments


def halves(y: NDArray[np.float16]) -> None:
    """Takes one dtype."""


def integers(y: NDArray[np.int32]) -> None:
    """Takes another one."""


def results(x: Floats, w: Floats, whole: Bytes) -> None:
    """A result taken for what it is not."""
    plain = cconv.conv2d(x, w)
    halves(plain)  # E: arguments
    average = cconv.avg_pool2d(whole, 2)
    integers(average)  # E: arguments
    pair = cconv.max_pool2d(x, 2, return_indices=True)
    halves(pair)  # E: arguments
    values, indices = cconv.max_pool3d(x, 2, return_indices=True)
    halves(values)  # E: arguments
    integers(indices)  # E: arguments
    columns = cconv.Unfold(2)(x)
    halves(columns)  # E: arguments
    nothing = cconv.Conv2d(1, 1, 3).backward(x, needs_input_grad=False)
    halves(nothing)  # E: arguments


def parameters(x: Floats, w: Floats) -> None:
    """Sizes that are none, and names that are not there."""
    cconv.conv2d(x, w, None, 1.5)  # E: arguments
    cconv.conv2d(x, w, None, "2")  # E: arguments
    cconv.conv2d(x, w, strides=2)  # E: arguments
    cconv.max_pool2d(x)  # E: arguments
    cconv.max_pool2d(x, 2.0)  # E: arguments
    cconv.avg_pool1d(x, 2, dilation="1")  # E: arguments
    cconv.Conv2d(1, 1, (3.0, 3.0))  # E: arguments
    cconv.MaxPool2d("2")  # E: arguments
    cconv.set_num_threads("2")  # E: arguments
    cconv.conv4d(x, w)  # E: attr-defined
