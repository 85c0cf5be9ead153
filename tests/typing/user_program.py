"""A user's program, checked by `mypy --strict` against the installed package; it also runs."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import ArrayLike, NDArray

import cconv
from cconv import grad

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


def edges(image: Floats) -> Floats:
    """(H, W) to (H, W)."""
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
    weight = np.stack([sobel, sobel.T])[:, np.newaxis]
    both = cconv.conv2d(image[np.newaxis], weight, padding="same", padding_mode="reflect")
    strength: Floats = np.hypot(both[0], both[1])
    return strength


def network(x: Floats) -> tuple[int, ...]:
    """Two stages with layers."""
    one = cconv.Conv2d(1, 4, kernel_size=(3, 3), padding=1, rng=0)
    pool = cconv.MaxPool2d(2)
    two = cconv.Conv2d(4, 8, 3, stride=2, padding=1, bias=False, rng=np.random.default_rng(1))
    y = two(pool(np.maximum(one(x), 0)))
    mean = cconv.AdaptiveAvgPool2d(1)(y)
    shape: tuple[int, ...] = mean.shape
    return shape


def blurred(image: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """A wrapper that takes what cconv takes."""
    return cconv.conv2d(image, [[[[0.25, 0.25], [0.25, 0.25]]]], out=out)


def smooth(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Of any precision."""
    y: NDArray[np.floating[Any]] = cconv.avg_pool2d(x, 3, 1, 1, out=np.empty_like(x))
    return y


def convolutions(x: Floats, line: Floats, cube: Floats) -> None:
    """Every kind of argument, and the dtypes of results."""
    weight = np.full((6, 1, 3, 3), 0.5, np.float32)
    plain = cconv.conv2d(x, weight, np.zeros(6, np.float32), (2, 1), 1, 1, 1)
    out = np.empty_like(plain)
    again = cconv.conv2d(x, weight, None, (2, 1), ((1, 1), (1, 1)), algorithm="direct", out=out)
    assert again is out
    assert_type(plain, Floats)
    assert_type(again, Floats)
    sizes = np.array([2, 1])
    cconv.conv2d(input=x, weight=weight, stride=sizes, padding=[sizes, [1, 1]], dilation=sizes[1])
    run = cconv.prepack(weight, stride=(2, 1), padding=1, padding_mode="zeros", algorithm="auto")
    packed: NDArray[Any] = run(x)
    run(x, out=packed)
    np.testing.assert_allclose(plain, packed, rtol=1e-4, atol=1e-4)

    taps, box = np.ones((6, 1, 3), np.float32), np.ones((6, 1, 1, 3, 3), np.float32)
    assert_type(cconv.conv1d(line, taps, padding="valid"), Floats)
    assert_type(cconv.conv3d(cube, box, padding_mode="circular"), Floats)
    up = cconv.conv_transpose2d(plain, weight, stride=(2, 1), padding=1, algorithm="winograd")
    assert_type(up, Floats)
    assert up.shape[1] == 1
    assert_type(cconv.conv_transpose1d(np.ones((1, 6, 9), np.float32), taps), Floats)
    assert_type(cconv.conv_transpose3d(np.ones((1, 6, 1, 4, 4), np.float32), box), Floats)

    whole, kernel = x.astype(np.uint8), weight.astype(np.uint8)
    assert_type(cconv.conv2d(whole, kernel), Bytes)
    spectrum, double = x.astype(np.complex64), x.astype(np.float64)
    assert_type(cconv.conv2d(spectrum, weight.astype(np.complex64)), NDArray[np.complex64])
    # what promotes has a dtype that types cannot say; `out` says it
    assert_type(cconv.conv2d(double, weight), NDArray[Any])
    room = np.empty((1, 6, 14, 14))
    assert_type(cconv.conv2d(double, weight, out=room), Doubles)
    assert_type(cconv.conv2d(x, weight.astype(np.float64), out=room), Doubles)
    assert_type(cconv.conv2d(double, [[[[1.0]]]], out=np.empty_like(double)), Doubles)
    signal = cconv.conv1d([[1.0, 2.0, 3.0]], [[[1.0, 1.0]]])
    assert_type(signal, NDArray[Any])
    assert signal.tolist() == [[3.0, 5.0]]
    text: str = str(cconv.explain("conv2d", x, weight, padding=1))
    assert text and str(cconv.explain(cconv.max_pool2d, x, 2))


def pools(x: Floats, line: Floats, cube: Floats) -> None:
    """Maxima keep any dtype; averages of integers are float64."""
    whole, lists = x.astype(np.uint8), [[[[1.0, 2.0], [3.0, 4.0]]]]
    values, indices = cconv.max_pool2d(x, 2, return_indices=True)
    assert_type(values, Floats)
    assert_type(indices, Places)
    only = cconv.max_pool2d(x, (2, 2), ceil_mode=True, out=np.empty_like(values))
    assert_type(only, Floats)
    np.testing.assert_array_equal(values, only)
    assert_type(cconv.max_pool2d(whole, 2), Bytes)
    assert_type(cconv.max_pool2d(lists, 2), NDArray[Any])
    assert_type(cconv.max_pool2d(lists, 2, return_indices=True), tuple[NDArray[Any], Places])
    assert_type(cconv.max_pool1d(line, 2, return_indices=True), tuple[Floats, Places])
    assert_type(cconv.max_pool3d(cube, (1, 2, 2)), Floats)
    assert_type(cconv.adaptive_max_pool2d(whole, 3, True), tuple[Bytes, Places])
    assert_type(cconv.adaptive_max_pool1d(line, 3), Floats)
    assert_type(cconv.adaptive_max_pool3d(cube, (1, None, 2)), Floats)
    back = cconv.max_unpool2d(values, indices, 2, output_size=x.shape[2:])
    assert_type(back, Floats)
    assert back.shape == x.shape
    places = np.zeros(line.shape, np.int64)
    assert_type(cconv.max_unpool1d(line, places, 1), Floats)
    assert_type(cconv.max_unpool3d(cube, places.reshape(cube.shape), 1), Floats)

    average = cconv.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False, dilation=1)
    assert_type(average, Floats)
    assert_type(cconv.avg_pool2d(whole, 3), Doubles)
    assert_type(cconv.avg_pool2d(x.astype(np.bool_), 3, out=np.empty((1, 1, 5, 5))), Doubles)
    assert_type(cconv.avg_pool1d(line.astype(np.float16), 3), NDArray[np.float16])
    assert_type(cconv.avg_pool3d([lists], (1, 2, 2)), NDArray[Any])
    assert_type(cconv.lp_pool2d(x, 2, 3), Floats)
    assert_type(cconv.lp_pool1d(line.astype(np.int16), float("inf"), 3), Doubles)
    assert_type(cconv.lp_pool3d(cube, 1.5, (1, 2, 2)), Floats)
    assert_type(cconv.adaptive_avg_pool2d(x, (None, 2)), Floats)
    assert_type(cconv.adaptive_avg_pool1d(line.astype(np.bool_), 2), Doubles)
    assert_type(cconv.adaptive_avg_pool3d([lists], 2), NDArray[Any])
    columns = cconv.unfold(x, (3, 3), padding=1)
    assert_type(columns, Floats)
    again = cconv.fold(columns, (16, 16), (3, 3), padding=1)
    assert_type(again, Floats)
    assert again.shape == x.shape


def gradients(x: Floats) -> None:
    """One of each kind; the others differ in the number of axes."""
    weight, error = np.ones((2, 1, 3, 3), np.float32), np.ones((1, 2, 16, 16), np.float32)
    inside = np.ones((1, 1, 8, 8), np.float32)
    assert_type(grad.conv2d_input(x.shape, weight, error, padding="same"), Floats)
    assert_type(grad.conv2d_weight(x, weight.shape, error, padding=1, out=weight), Floats)
    assert_type(grad.conv2d_bias(error), Floats)
    assert_type(grad.conv2d_bias(error.astype(np.float64)), Doubles)
    assert_type(grad.conv1d_bias([[[1.0, 2.0]]]), NDArray[Any])
    assert_type(
        grad.conv2d_weight(x, weight.shape, error.astype(np.float64), padding=1), NDArray[Any]
    )
    up = (1, 2, 14, 14)
    assert_type(grad.conv_transpose2d_input(up, weight, x), Floats)
    small = np.ones(up, np.float32)
    assert_type(grad.conv_transpose2d_weight(small, weight.shape, x), Floats)
    assert_type(grad.conv_transpose2d_bias(x), Floats)
    assert_type(grad.max_pool2d_input(x, inside, 2), Floats)
    assert_type(grad.avg_pool2d_input(x.shape, inside, 2), Floats)
    assert_type(grad.lp_pool2d_input(x, inside, 2, 2), Floats)
    assert_type(grad.adaptive_avg_pool2d_input(x.shape, inside), Floats)
    assert_type(grad.adaptive_max_pool2d_input(x, inside), Floats)
    places = np.zeros(inside.shape, np.int64)
    assert_type(grad.max_unpool2d_input(places, x, 2), Floats)


def layers(x: Floats, line: Floats, cube: Floats) -> None:
    """Layers return what their functions do; those with weights have the weights' dtype, which is a parameter."""
    layer = cconv.Conv2d(1, 4, 3, padding="same", padding_mode="replicate", dtype=np.float32, rng=0)
    assert_type(layer(x), NDArray[Any])
    assert_type(layer(x, out=np.empty((1, 4, 16, 16), np.float32)), Floats)
    assert_type(layer.forward(x), NDArray[Any])
    assert_type(layer.weight, NDArray[Any])
    assert_type(layer.prepack()(x), NDArray[Any])
    layer.load_state_dict(layer.state_dict())
    cconv.Conv1d(1, 2, 3)(line)
    cconv.Conv3d(1, 2, (1, 3, 3))(cube)
    up = cconv.ConvTranspose2d(1, 2, 4, stride=2, padding=1)
    assert_type(up(x, output_size=(32, 32)), NDArray[Any])
    cconv.ConvTranspose1d(1, 2, 4)(line)
    cconv.ConvTranspose3d(1, 2, 4)(cube)

    values, indices = cconv.MaxPool2d(2, return_indices=True)(x)
    assert values.shape == indices.shape
    assert_type(cconv.MaxUnpool2d(1)(x, np.arange(256).reshape(x.shape)), Floats)
    assert_type(cconv.AvgPool2d(2)(x), Floats)
    assert_type(cconv.AvgPool1d(2)(line.astype(np.int8)), Doubles)
    assert_type(cconv.AvgPool3d((1, 2, 2))([[[[1.0, 2.0], [3.0, 4.0]]]]), NDArray[Any])
    assert_type(cconv.LPPool2d(2, 3)(x), Floats)
    assert_type(cconv.AdaptiveAvgPool2d(2)(x), Floats)
    cconv.AdaptiveMaxPool2d((2, None))(x)
    columns = cconv.Unfold(3, padding=1)(x)
    assert_type(columns, Floats)
    assert_type(cconv.Fold((16, 16), 3, padding=1)(columns), Floats)


def training(x: Floats) -> float:
    """Steps down, by layers and by the functions."""
    layer, pool = cconv.Conv2d(1, 4, 3, padding=1, rng=0), cconv.MaxPool2d(2)
    y: NDArray[Any] = pool(layer(x))
    by_input = layer.backward(pool.backward(y))
    assert_type(by_input, NDArray[Any])
    assert by_input.shape == x.shape
    layer.weight -= 0.005 * layer.weight_grad
    layer.bias -= 0.005 * layer.bias_grad
    if layer.bias is not None:
        layer.bias = layer.bias - layer.bias_grad
    nothing: None = layer.backward(np.ones((1, 4, 16, 16), np.float32), needs_input_grad=False)
    assert nothing is None
    by_weight = cconv.grad.conv2d_weight(
        x, layer.weight.shape, np.ones((1, 4, 16, 16), np.float32), padding=1
    )
    assert_type(by_weight, Floats)
    return float(by_weight.sum())


def main() -> None:
    """Run all of it."""
    threads: int = cconv.get_num_threads()
    cconv.set_num_threads(threads)
    version: str = cconv.__version__
    config: dict[str, Any] = cconv.show_config()
    assert config["version"] == version
    assert cconv.get_include().endswith("include")
    x = np.random.default_rng(0).standard_normal((1, 1, 16, 16), dtype=np.float32)
    line, cube = x.reshape(1, 1, -1), x.reshape(1, 1, 1, 16, 16)
    assert edges(x[0, 0]).shape == (16, 16)
    assert network(x) == (1, 8, 1, 1)
    assert blurred(x).shape == blurred(x, np.empty((1, 1, 15, 15))).shape
    assert smooth(x).shape == x.shape
    convolutions(x, line, cube)
    pools(x, line, cube)
    gradients(x)
    layers(x, line, cube)
    assert training(x) == training(x)


if __name__ == "__main__":
    main()
