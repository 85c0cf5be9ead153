"""A few calls of every kernel, for valgrind: results are compared with those of whole numbers, which are exact."""

import numpy as np

import cconv
from cconv import grad

cconv.set_num_threads(1)  # valgrind runs one thread at a time
rng = np.random.default_rng(0)


def values(shape, dtype):
    return rng.integers(-3, 4, shape).astype(dtype)


for dtype in ("f4", "f8", "i4", "i8", "f2"):
    for size in (5, 17, 33):
        x, w = values((2, 3, size, size), dtype), values((7, 3, 3, 3), dtype)
        expected = cconv.conv2d(x.astype("i8"), w.astype("i8"), padding=1)
        assert np.array_equal(cconv.conv2d(x, w, padding=1), expected)
        assert np.array_equal(cconv.prepack(w, padding=1)(x), expected)
        cconv.conv2d(x, values((3, 1, 3, 3), dtype), groups=3, padding_mode="reflect", padding=2)
        cconv.conv2d(x[:, :, ::-1, ::2], values((7, 3, 1, 1), dtype), stride=2)
        cconv.conv_transpose2d(x, values((3, 5, 4, 4), dtype), stride=2, padding=1)
        cconv.max_pool2d(x, 3, 2, 1, return_indices=True)
        cconv.max_pool2d(x, 5, 1, 2)
        cconv.avg_pool2d(x, 3, ceil_mode=True)
        cconv.adaptive_avg_pool2d(x, 3)
        if dtype[0] == "f":
            y = values(expected.shape, dtype)
            grad.conv2d_weight(x, w.shape, y, padding=1)
            grad.conv2d_input(x.shape, w, y, padding=1)
            grad.max_pool2d_input(x, cconv.max_pool2d(x, 2), 2)
            grad.avg_pool2d_input(x.shape, cconv.avg_pool2d(x, 3, 2), 3, 2)
    if dtype in ("f4", "f8"):
        for channels in (8, 40):
            x, w = values((1, channels, 9, 19), dtype), values((9, channels, 3, 3), dtype)
            assert np.allclose(
                cconv.conv2d(x, w, algorithm="winograd"),
                cconv.conv2d(x, w, algorithm="direct"),
                rtol=0,
                atol=1e-2,
            )
            cconv.conv1d(x[:, :, 0], w[:, :, 0], algorithm="winograd")
print("done")
