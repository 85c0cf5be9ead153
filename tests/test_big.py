"""More than 2**31 elements, and indices past that: CCONV_BIG=1 runs it (two minutes, 5 GB).

Inputs are zeros that were never written, which take no memory but where
a value is put; results are small, or of one byte a value.
"""

import os
import sys

import numpy as np
import pytest

import cconv

pytestmark = pytest.mark.skipif(
    os.environ.get("CCONV_BIG", "0") == "0" or sys.platform != "linux",
    reason="CCONV_BIG=1 asks for it, on Linux",
)
PAST = 2**31 + 70


def row(dtype, *at):
    """Zeros, past 2**31 of them, and 1, 2, ... at some places."""
    x = np.zeros((1, 1, 2**31 + 4096), dtype)
    for value, place in enumerate(at, 1):
        x[..., place] = value
    return x


@pytest.mark.parametrize("dtype", ("u1", "f4"))
def test_pools_of_a_long_row(dtype):
    x = row(dtype, 5, PAST)
    y, at = cconv.max_pool1d(x, 2**12, return_indices=True)
    assert y.shape == (1, 1, 2**19 + 1)
    assert y[0, 0, 0] == 1 and at[0, 0, 0] == 5
    last = PAST // 2**12
    assert y[0, 0, last] == 2 and at[0, 0, last] == PAST and y.sum() == 3
    mean = cconv.avg_pool1d(x, 2**12)
    assert mean[0, 0, last] * 2**12 == 2 and mean.sum() * 2**12 == 3


def test_a_pool_of_a_large_plane():
    x = np.zeros((1, 1, 2**16 + 64, 2**15), np.float32)
    x[0, 0, 3, 7], x[0, 0, -1, -1] = 1, 2
    for mode in ({}, {"stride": 63, "kernel_size": 64}):
        y, at = cconv.max_pool2d(x, **{"kernel_size": 64, **mode}, return_indices=True)
        assert y[0, 0, 0, 0] == 1 and at[0, 0, 0, 0] == 3 * 2**15 + 7
        if not mode:
            assert y[0, 0, -1, -1] == 2 and at[0, 0, -1, -1] == x.size - 1
        assert at.min() >= 0 and at.max() < x.size


def test_adaptive_averages_of_a_large_plane():
    x = np.zeros((1, 2**16 + 64, 2**15), np.float32)
    x[0, -1, -1] = 2
    y = cconv.adaptive_avg_pool2d(x, (1, 2))
    assert y[0, 0, 0] == 0 and y[0, 0, 1] == np.float32(4 / x.size)


@pytest.mark.parametrize("dtype", ("u1", "f4"))
def test_a_convolution_of_a_long_row(dtype):
    first, second = 69, (2**31 // 70 + 1) * 70  # tap t of output q reads 70 q - 1 + t
    x = row(dtype, first, second)
    y = cconv.conv1d(x, np.array([[[1, 3]]], dtype), stride=70, padding=((1, 0),))
    assert y.shape == (1, 1, (2**31 + 4096 + 1 - 2) // 70 + 1)
    assert y[0, 0, 1] == 1 and y[0, 0, second // 70] == 6 and np.count_nonzero(y) == 2


def test_samples_and_channels_far_apart():
    x = np.zeros((3, 2, 2**15, 2**14), np.float32)
    x[2, 1, -1, -1], x[2, 0, 0, 0] = 5, 7
    assert np.prod(x.shape[1:]) * 2 >= 2**31
    y = cconv.conv2d(x, np.ones((1, 2, 1, 1), "f4"), stride=(2**15 - 1, 2**14 - 1))
    assert y.shape == (3, 1, 2, 2) and y[2].tolist() == [[[7, 0], [0, 5]]] and not y[:2].any()
    y = cconv.conv2d(x, np.ones((2, 1, 64, 64), "f4"), stride=64, groups=2)
    assert y[2, 1, -1, -1] == 5 and y[2, 0, 0, 0] == 7 and y.sum() == 12


def test_a_result_past_it():
    x = row("u1", 5, PAST)
    y = cconv.max_pool1d(x, 2, 1)
    assert y.shape[-1] > 2**31
    assert y[0, 0, 3:8].tolist() == [0, 1, 1, 0, 0]
    assert y[0, 0, PAST - 2 : PAST + 2].tolist() == [0, 2, 2, 0] and np.count_nonzero(y) == 4


def test_unpooling_past_it():
    at = np.array([[[5, PAST]]])
    y = cconv.max_unpool1d(np.array([[[1, 2]]], "u1"), at, 2**30, output_size=(2**31 + 4096,))
    assert y[0, 0, 5] == 1 and y[0, 0, PAST] == 2 and np.count_nonzero(y) == 2
