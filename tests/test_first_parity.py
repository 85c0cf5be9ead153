"""A first comparison with PyTorch, below the public functions."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cconv import _calls  # noqa: E402


@pytest.mark.parametrize("seed", range(60))
def test_conv2d(seed):
    rng = np.random.default_rng(seed)
    g, c, o = (int(v) for v in rng.integers(1, 9, 3))
    k, s, d, p = (tuple(int(v) for v in rng.integers(1, 4, 2)) for _ in range(4))
    x = rng.standard_normal((2, c * g, 20, 33))
    w = rng.standard_normal((o * g, c, *k))
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x), torch.from_numpy(w), None, s, p, d, g
    ).numpy()
    for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 1e-4)):
        args = (x.astype(dtype), w.astype(dtype), None, s, p, d, g, "zeros", None, "auto")
        result = _calls.operation("conv2d")(*args)
        assert result.dtype == dtype
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)
