"""A user's program, checked by `mypy --strict` against the installed package; it also runs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import cconv


def edges(image: NDArray[np.float32]) -> NDArray[Any]:
    """(H, W) to (H, W)."""
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
    weight = np.stack([sobel, sobel.T])[:, np.newaxis]
    both = cconv.conv2d(image[np.newaxis], weight, padding="same", padding_mode="reflect")
    strength: NDArray[Any] = np.hypot(both[0], both[1])
    return strength


def network(x: NDArray[np.float32]) -> tuple[int, ...]:
    """Two stages with layers."""
    one = cconv.Conv2d(1, 4, kernel_size=(3, 3), padding=1, rng=0)
    pool = cconv.MaxPool2d(2)
    two = cconv.Conv2d(4, 8, 3, stride=2, padding=1, bias=False, rng=np.random.default_rng(1))
    y = two(pool(np.maximum(one(x), 0)))
    mean = cconv.AdaptiveAvgPool2d(1)(y)
    shape: tuple[int, ...] = mean.shape
    return shape


def calls(x: NDArray[np.float32]) -> None:
    """Every kind of argument."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 1, 3, 3), dtype=np.float32)
    plain = cconv.conv2d(x, weight, np.zeros(6, np.float32), (2, 1), 1, 1, 1)
    out = np.empty_like(plain)
    again = cconv.conv2d(x, weight, None, (2, 1), ((1, 1), (1, 1)), algorithm="direct", out=out)
    assert again is out
    run = cconv.prepack(weight, stride=(2, 1), padding=1)
    packed: NDArray[Any] = run(x)
    run(x, out=packed)
    np.testing.assert_allclose(plain, packed, rtol=1e-4, atol=1e-4)

    values, indices = cconv.max_pool2d(x, 2, return_indices=True)
    only: NDArray[Any] = cconv.max_pool2d(x, (2, 2), ceil_mode=True)
    np.testing.assert_array_equal(values, only)
    back: NDArray[Any] = cconv.max_unpool2d(values, indices, 2, output_size=x.shape[2:])
    assert back.shape == x.shape
    average = cconv.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False, dilation=1)
    assert average.ndim == 4
    columns = cconv.unfold(x, (3, 3), padding=1)
    assert cconv.fold(columns, (16, 16), (3, 3), padding=1).shape == x.shape
    up: NDArray[Any] = cconv.conv_transpose2d(plain, weight, stride=(2, 1), padding=1)
    assert up.shape[1] == 1
    signal: NDArray[Any] = cconv.conv1d([[1.0, 2.0, 3.0]], [[[1.0, 1.0]]])
    assert signal.tolist() == [[3.0, 5.0]]
    text: str = str(cconv.explain("conv2d", x, weight, padding=1))
    assert text


def training(x: NDArray[Any]) -> float:
    """One step down, by layers and by the functions."""
    layer = cconv.Conv2d(1, 4, 3, padding=1, rng=0)
    pool = cconv.MaxPool2d(2)
    y: NDArray[Any] = pool(layer(x))
    by_input: NDArray[Any] = layer.backward(pool.backward(y))
    assert by_input.shape == x.shape
    assert layer.weight_grad is not None
    layer.weight = layer.weight - 0.01 * layer.weight_grad
    nothing: None = layer.backward(np.ones((1, 4, 16, 16), np.float32), needs_input_grad=False)
    assert nothing is None
    by_weight: NDArray[Any] = cconv.grad.conv2d_weight(
        x, layer.weight.shape, np.ones((1, 4, 16, 16), np.float32), padding=1
    )
    return float(by_weight.sum())


def main() -> None:
    """Run all of it."""
    threads: int = cconv.get_num_threads()
    cconv.set_num_threads(threads)
    version: str = cconv.__version__
    config: dict[str, Any] = cconv.show_config()
    assert config["version"] == version
    x = np.random.default_rng(0).standard_normal((1, 1, 16, 16), dtype=np.float32)
    assert edges(x[0, 0]).shape == (16, 16)
    assert network(x) == (1, 8, 1, 1)
    calls(x)
    assert training(x) == training(x)


if __name__ == "__main__":
    main()
