"""Layers beside torch.nn: shapes, values after carrying the weights over, reprs, initialisation."""

import numpy as np
import pytest

import cconv

torch = pytest.importorskip("torch")

CONV = [
    ((4, 6, 3), {}),
    ((4, 6, 3), {"stride": 2, "padding": 1}),
    ((4, 6, 2), {"dilation": 2, "groups": 2, "bias": False}),
    ((4, 8, 3), {"padding": "same", "padding_mode": "reflect"}),
    ((4, 4, 3), {"padding": 2, "padding_mode": "circular", "groups": 4}),
]
TRANSPOSED = [
    ((4, 6, 3), {}),
    ((4, 6, 4), {"stride": 2, "padding": 1}),
    ((4, 6, 3), {"stride": 3, "output_padding": 2, "dilation": 2, "groups": 2, "bias": False}),
]
POOLS = [
    ("MaxPool", (2,), {}),
    ("MaxPool", (3, 2), {"padding": 1, "dilation": 2, "ceil_mode": True}),
    ("MaxPool", (3, 2, 1, 1, True, True), {}),
    ("AvgPool", (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}),
    ("LPPool", (2, 3), {"stride": 2, "ceil_mode": True}),
    ("AdaptiveAvgPool", (3,), {}),
    ("AdaptiveMaxPool", (3,), {"return_indices": True}),
]


def tensor(a):
    return torch.from_numpy(np.ascontiguousarray(a))


def same(ours, theirs):
    ours, theirs = (r if isinstance(r, tuple) else (r,) for r in (ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        b = b.detach().numpy()
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "args", "options"),
    [("Conv", *c) for c in CONV] + [("ConvTranspose", *c) for c in TRANSPOSED],
)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_convolution(rank, kind, args, options):
    ours = getattr(cconv, f"{kind}{rank}d")(*args, **options, rng=3)
    theirs = getattr(torch.nn, f"{kind}{rank}d")(*args, **options)
    assert repr(ours) == repr(theirs)
    x = np.random.default_rng(0).standard_normal((2, 4, *range(9, 9 + rank))).astype(np.float32)
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    assert {n: a.shape for n, a in state.items()} == {
        n: a.shape for n, a in ours.state_dict().items()
    }
    ours.load_state_dict(state)
    same(ours(x), theirs(tensor(x)))
    same(ours.prepack()(x), theirs(tensor(x)))
    same(ours(x[0]), theirs(tensor(x[0])))
    theirs.load_state_dict({name: tensor(a) for name, a in ours.state_dict().items()})


@pytest.mark.parametrize(("kind", "args", "options"), POOLS)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_pool(rank, kind, args, options):
    ours = getattr(cconv, f"{kind}{rank}d")(*args, **options)
    theirs = getattr(torch.nn, f"{kind}{rank}d")(*args, **options)
    if (kind, rank) != (
        "AvgPool",
        1,
    ) and kind != "MaxPool":  # torch shows some parameters as tuples
        assert repr(ours) == repr(theirs)
    x = abs(np.random.default_rng(0).standard_normal((2, 4, *range(9, 9 + rank)))).astype(
        np.float32
    )
    same(ours(x), theirs(tensor(x)))
    assert ours.state_dict() == {}


def test_unpool_unfold_and_fold():
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    y, i = cconv.MaxPool2d(2, return_indices=True)(x)
    same(cconv.MaxUnpool2d(2)(y, i), torch.nn.MaxUnpool2d(2)(tensor(y), tensor(i)))
    for ours, theirs in (
        (cconv.Unfold(3, 2, 1, 2), torch.nn.Unfold(3, 2, 1, 2)),
        (cconv.Fold((8, 8), 3, 2, 1, 2), torch.nn.Fold((8, 8), 3, 2, 1, 2)),
        (cconv.MaxUnpool2d(2), torch.nn.MaxUnpool2d(2)),
    ):
        assert repr(ours) == repr(theirs)
    columns = cconv.Unfold(3, 2, 1, 2)(x)
    same(columns, torch.nn.Unfold(3, 2, 1, 2)(tensor(x)))
    same(
        cconv.Fold((8, 8), 3, 2, 1, 2)(columns), torch.nn.Fold((8, 8), 3, 2, 1, 2)(tensor(columns))
    )


def test_transposed_output_size():
    x = np.zeros((1, 4, 5, 6), np.float32)
    for size in ((9, 11), (10, 12), (10, 11), (1, 6, 9, 12)):
        ours = cconv.ConvTranspose2d(4, 6, 3, 2, 1, rng=0)(x, output_size=size)
        assert ours.shape == (1, 6, *size[-2:])
        assert (
            tuple(torch.nn.ConvTranspose2d(4, 6, 3, 2, 1)(tensor(x), output_size=size[-2:]).shape)
            == ours.shape
        )
    with pytest.raises(ValueError, match="output_size"):
        cconv.ConvTranspose2d(4, 6, 3, 2, 1)(x, output_size=(20, 20))


def test_initialisation():
    layer = cconv.Conv2d(64, 128, 3, rng=0)
    bound = 1 / np.sqrt(64 * 9)
    for a in (layer.weight, layer.bias):
        assert a.dtype == np.float32 and abs(a).max() <= bound
    assert layer.weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    assert abs(layer.weight.mean()) < bound / 50
    theirs = torch.nn.Conv2d(64, 128, 3).weight.detach().numpy()
    assert layer.weight.std() == pytest.approx(theirs.std(), rel=0.03)
    up = cconv.ConvTranspose2d(64, 16, 3, rng=0)
    assert up.weight.shape == (64, 16, 3, 3)
    assert abs(up.weight).max() == pytest.approx(1 / np.sqrt(16 * 9), rel=0.01)
    assert np.array_equal(cconv.Conv1d(2, 3, 4, rng=5).weight, cconv.Conv1d(2, 3, 4, rng=5).weight)
    assert not np.array_equal(
        cconv.Conv1d(2, 3, 4, rng=5).weight, cconv.Conv1d(2, 3, 4, rng=6).weight
    )
    generator = np.random.default_rng(5)
    assert np.array_equal(
        cconv.Conv1d(2, 3, 4, rng=generator).weight, cconv.Conv1d(2, 3, 4, rng=5).weight
    )
    assert cconv.Conv1d(2, 3, 4, dtype="float64").weight.dtype == np.float64


def test_load_state_dict_refuses():
    layer = cconv.Conv1d(2, 3, 4, rng=0)
    before = layer.state_dict()
    good = {"weight": before["weight"] + 1, "bias": before["bias"]}
    for bad, word in (
        ({"weight": good["weight"]}, "bias"),
        ({**good, "extra": 1}, "extra"),
        ({**good, "bias": np.zeros(4)}, "bias"),
        ({**good, "weight": good["weight"].astype(complex)}, "weight"),
    ):
        with pytest.raises((KeyError, ValueError, TypeError), match=word):
            layer.load_state_dict(bad)
        assert all(np.array_equal(before[n], a) for n, a in layer.state_dict().items())


def backward(ours, theirs, *inputs):
    """The gradients of both by their first input and their weights, for a random gradient of the output."""
    first = tensor(inputs[0]).requires_grad_(True)
    result = ours(*inputs)
    expected = theirs(first, *(tensor(a) for a in inputs[1:]))
    result, expected = (r[0] if isinstance(r, tuple) else r for r in (result, expected))
    gy = np.random.default_rng(1).standard_normal(result.shape).astype(result.dtype)
    expected.backward(tensor(gy))
    np.testing.assert_allclose(ours.backward(gy), first.grad.numpy(), rtol=1e-3, atol=1e-4)
    for name, parameter in theirs.named_parameters():
        found = getattr(ours, f"{name}_grad")
        assert found.dtype == getattr(ours, name).dtype
        np.testing.assert_allclose(found, parameter.grad.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "args", "options"),
    [("Conv", *c) for c in CONV] + [("ConvTranspose", *c) for c in TRANSPOSED],
)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_convolution_backward(rank, kind, args, options):
    ours = getattr(cconv, f"{kind}{rank}d")(*args, **options, rng=3)
    theirs = getattr(torch.nn, f"{kind}{rank}d")(*args, **options)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((2, 4, *range(9, 9 + rank))).astype(np.float32)
    backward(ours, theirs, x)
    weight_grad = ours.weight_grad
    gy = np.ones(ours(x).shape, np.float32)
    assert ours.backward(gy, needs_input_grad=False) is None
    assert ours.weight_grad is not weight_grad


@pytest.mark.parametrize(("kind", "args", "options"), POOLS)
@pytest.mark.parametrize("rank", (1, 2, 3))
def test_pool_backward(rank, kind, args, options):
    ours = getattr(cconv, f"{kind}{rank}d")(*args, **options)
    theirs = getattr(torch.nn, f"{kind}{rank}d")(*args, **options)
    x = np.random.default_rng(0).random((2, 3, *range(9, 9 + rank))).astype(np.float32)
    backward(ours, theirs, x)


def test_unpool_unfold_and_fold_backward():
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 10)).astype(np.float32)
    values, indices = cconv.max_pool2d(x, 2, return_indices=True)
    backward(cconv.MaxUnpool2d(2), torch.nn.MaxUnpool2d(2), values, indices)
    backward(cconv.Unfold((3, 2), 1, 1, 2), torch.nn.Unfold((3, 2), 1, 1, 2), x)
    columns = cconv.unfold(x, (3, 2), 1, 1, 2)
    args = ((8, 10), (3, 2), 1, 1, 2)
    backward(cconv.Fold(*args), torch.nn.Fold(*args), columns)
    line = cconv.Unfold((3,))
    assert line.backward(line(x[0])).shape == x[0].shape


def test_transposed_output_size_backward():
    x = np.random.default_rng(0).standard_normal((1, 4, 5, 6)).astype(np.float32)
    ours, theirs = cconv.ConvTranspose2d(4, 3, 3, 2), torch.nn.ConvTranspose2d(4, 3, 3, 2)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    first = tensor(x).requires_grad_(True)
    expected = theirs(first, output_size=(12, 14))
    gy = np.ones(ours(x, (12, 14)).shape, np.float32)
    expected.backward(tensor(gy))
    np.testing.assert_allclose(ours.backward(gy), first.grad.numpy(), rtol=1e-3, atol=1e-4)


def test_backward_needs_a_forward_call():
    import pickle

    layer = cconv.Conv2d(1, 1, 3)
    with pytest.raises(RuntimeError, match="Conv2d.backward"):
        layer.backward(np.ones((1, 1, 1, 1), np.float32))
    layer(np.ones((1, 1, 3, 3), np.float32))
    with pytest.raises(ValueError, match="grad_output"):
        layer.backward(np.ones((1, 1, 2, 2), np.float32))
    # the input is not part of the layer
    assert len(pickle.dumps(layer)) < 2000
    with pytest.raises(RuntimeError):
        pickle.loads(pickle.dumps(layer)).backward(np.ones((1, 1, 1, 1), np.float32))
