"""Arrays of others in, NumPy's out: PyTorch's tensors, and whatever speaks DLPack or __array__."""

import numpy as np
import pytest

import cconv

X = np.random.default_rng(0).standard_normal((1, 2, 6, 7), dtype=np.float32)
W = np.random.default_rng(1).standard_normal((3, 2, 3, 3), dtype=np.float32)
GY = np.ones((1, 2, 3, 3), np.float32)


class OnlyDLPack:
    """An array of which nothing is known but the protocol."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device = array, device

    def __dlpack__(self, **options):
        if self.device[0] != 1:
            raise BufferError("not on the CPU")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


class OnlyArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def tensor(array):
    return pytest.importorskip("torch").from_numpy(array)


@pytest.mark.parametrize("wrap", (OnlyDLPack, OnlyArray, tensor))
def test_in_and_ndarray_out(wrap):
    x, w = wrap(X), wrap(W)
    before = X.copy()
    for result, expected in (
        (cconv.conv2d(x, w, padding=1), cconv.conv2d(X, W, padding=1)),
        (cconv.max_pool2d(x, 2), cconv.max_pool2d(X, 2)),
        (cconv.prepack(w)(x), cconv.prepack(W)(X)),
        (cconv.grad.max_pool2d_input(x, wrap(GY), 2), cconv.grad.max_pool2d_input(X, GY, 2)),
        (cconv.Conv2d(2, 3, 3, rng=0)(x), cconv.Conv2d(2, 3, 3, rng=0)(X)),
    ):  # fmt: skip
        assert type(result) is np.ndarray and result.dtype == np.float32
        assert np.array_equal(result, expected)
    assert np.array_equal(X, before)


def test_what_cannot_come_in_is_named():
    with pytest.raises(TypeError, match="conv2d: input"):
        cconv.conv2d(OnlyDLPack(X, (2, 0)), W)  # on a GPU
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="requires grad"):
        cconv.conv2d(torch.ones(1, 2, 6, 7, requires_grad=True), W)
