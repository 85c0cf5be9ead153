"""The computed receptive field is where the gradient of one output is not zero."""

import numpy as np
import pytest

import cconv

pytest.importorskip("matplotlib")
from cconv.plot import receptive_field  # noqa: E402


def conv(k, **options):
    layer = cconv.Conv2d(1, 1, k, bias=False, dtype="float64", **options)
    layer.weight[...] = 1
    return layer


STACKS = {
    "conv": [conv(3)],
    "stride": [conv(3, stride=2, padding=1), conv(3, stride=2), conv((2, 3))],
    "dilation": [conv(3, dilation=2, padding=2), conv(3, stride=(1, 2)), conv(3, dilation=(2, 1))],
    "pools": [
        conv(5, padding=2),
        cconv.AvgPool2d(2),
        conv(3, padding=((1, 0), (0, 1))),
        cconv.AvgPool2d(3, 2, 1),
    ],
    "same": [conv(4, padding="same"), conv(3, padding="same", dilation=2)],
}


@pytest.mark.parametrize("name", STACKS)
def test_beside_gradients(name):
    layers = STACKS[name]
    x = y = np.ones((1, 1, 26, 31))
    for layer in layers:
        y = layer(y)
    field = receptive_field(layers, x.shape)[1][-1]
    for place in ((0, 0), (y.shape[2] // 2, y.shape[3] // 2), (y.shape[2] - 1, y.shape[3] - 1)):
        gradient = np.zeros_like(y)
        gradient[0, 0][place] = 1
        for layer in reversed(layers):
            gradient = layer.backward(gradient)
        rows, columns = np.nonzero(gradient[0, 0])
        for seen, L, axis in ((rows, 26, 0), (columns, 31, 1)):
            first = field.start[axis] + place[axis] * field.jump[axis]
            assert seen.min() == max(0, first)
            assert seen.max() == min(L, first + field.size[axis]) - 1


def test_max_pool_has_the_average_pools_field():
    pools = cconv.MaxPool2d, cconv.AvgPool2d
    both = [receptive_field([conv(3), pool(3, 2, 1)], (9, 9))[1][-1] for pool in pools]
    assert both[0].size == both[1].size == (5, 5) and both[0].start == both[1].start == (-1, -1)


def test_errors():
    for layers, size in (
        ([], (9, 9)),
        ([conv(3)], (9,)),
        ([cconv.ConvTranspose2d(1, 1, 2)], (9, 9)),
        ([cconv.AdaptiveAvgPool2d(1)], (9, 9)),
        ([cconv.MaxPool1d(2)], (9, 9)),
    ):
        with pytest.raises(ValueError, match="receptive_field"):
            receptive_field(layers, size)
