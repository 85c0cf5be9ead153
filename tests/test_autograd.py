"""cconv.interop.autograd: first and second derivatives, in both modes, against numerical ones and torch's."""

import inspect

import numpy as np
import pytest

import cconv

pytest.importorskip("autograd")
import autograd.numpy as anp
from autograd import grad, hessian
from autograd.test_util import check_grads

from cconv.interop import autograd as ca

CASES = {
    "conv": [
        (dict(), {}),
        (dict(stride=2, padding=1, dilation=2), {}),
        (dict(padding="same", groups=2, padding_mode="reflect"), {}),
        (dict(padding=1, padding_mode="circular"), {}),
    ],
    "conv_transpose": [(dict(), {}), (dict(stride=2, padding=1, output_padding=1, groups=2), {})],
}
POOLS = [
    ("max_pool", (2,), {}),
    ("max_pool", (3, 2, 1, 1, True), {}),
    ("avg_pool", (2,), {}),
    ("avg_pool", (3, 2, 1, True, False), {}),
    ("avg_pool", (2, 1), dict(dilation=2)),
    ("lp_pool", (2, 2), {}),
    ("lp_pool", (3, 3, 2, True), {}),
    ("lp_pool", (1, 2), {}),
    ("lp_pool", (np.inf, 2), {}),
    ("adaptive_avg_pool", (3,), {}),
    ("adaptive_max_pool", (3,), {}),
]
SPACE = {1: (9,), 2: (5, 6), 3: (4, 5, 4)}


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("base", CASES)
def test_convolution(base, rank):
    rng = np.random.default_rng(rank)
    for options, _ in CASES[base]:
        groups = options.get("groups", 1)
        x = rng.standard_normal((2, 2, *SPACE[rank]))
        w = rng.standard_normal((2, 2 // groups, *(2,) * rank))
        b = rng.standard_normal(2 if base == "conv" else 2)
        function = getattr(ca, f"{base}{rank}d")
        assert np.array_equal(
            function(x, w, b, **options), getattr(cconv, f"{base}{rank}d")(x, w, b, **options)
        )
        check_grads(lambda x, w, b, f=function, o=options: f(x, w, b, **o), order=2)(x, w, b)
        # not linear: the second derivatives are not zero
        check_grads(lambda x, w, f=function, o=options: anp.tanh(f(x, w, **o)), order=2)(x, w)


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize(("base", "args", "options"), POOLS)
def test_pool(base, args, options, rank):
    rng = np.random.default_rng(rank)
    # values far enough apart that a numerical step does not change a maximum's place
    x = (rng.permutation(2 * 2 * int(np.prod(SPACE[rank]))) - 7.5).reshape(2, 2, *SPACE[rank]) / 10
    function = getattr(ca, f"{base}{rank}d")
    if not (rank == 1 and base == "lp_pool" and np.inf in args):
        expected = getattr(cconv, f"{base}{rank}d")(x, *args, **options)
        np.testing.assert_allclose(function(x, *args, **options), expected, rtol=1e-12)
    check_grads(lambda x: function(x, *args, **options), modes=("fwd", "rev"), order=2)(x)
    check_grads(lambda x: anp.tanh(function(x, *args, **options)) ** 2, order=2)(x)


def test_unfold_fold_and_unpool():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 6, 7))
    check_grads(lambda x: anp.sin(ca.unfold(x, (2, 3), 1, 1, 2)), order=2)(x)
    check_grads(lambda x: anp.sin(ca.unfold(x, 2)), order=2)(x[0])
    columns = cconv.unfold(x, (2, 3), 1, 1, 2)
    assert np.array_equal(
        ca.fold(columns, (6, 7), (2, 3), 1, 1, 2), cconv.fold(columns, (6, 7), (2, 3), 1, 1, 2)
    )
    check_grads(lambda c: anp.sin(ca.fold(c, (6, 7), (2, 3), 1, 1, 2)), order=2)(columns)
    values, indices = ca.max_pool2d(x, 2, return_indices=True)
    assert np.array_equal(indices, cconv.max_pool2d(x, 2, return_indices=True)[1])
    check_grads(lambda v: anp.sin(ca.max_unpool2d(v, indices, 2, output_size=(6, 7))), order=2)(
        values
    )
    _, indices = ca.adaptive_max_pool2d(x, 3, return_indices=True)
    assert np.array_equal(indices, cconv.adaptive_max_pool2d(x, 3, return_indices=True)[1])

    # an autoencoder's way back, its places from its way in
    def both(x):
        values, indices = ca.max_pool2d(anp.tanh(x), 2, return_indices=True)
        return ca.max_unpool2d(values, indices, 2)

    check_grads(both, order=2)(rng.permutation(144).reshape(2, 2, 6, 6) / 50)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_network_beside_torch(dtype):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 2, 12, 12)).astype(dtype)
    weights = [rng.standard_normal(s).astype(dtype) for s in ((4, 2, 3, 3), (4,), (4, 3, 2, 2))]

    def ours(w, b, v):
        y = anp.tanh(ca.conv2d(x, w, b, padding=1))
        y = ca.max_pool2d(y, 2)
        y = anp.tanh(ca.conv_transpose2d(y, v, None, 2))
        return anp.sum(ca.avg_pool2d(y, 3, 2, 1) ** 2)

    def theirs(w, b, v):
        y = torch.tanh(F.conv2d(torch.from_numpy(x), w, b, padding=1))
        y = F.max_pool2d(y, 2)
        y = torch.tanh(F.conv_transpose2d(y, v, None, 2))
        return (F.avg_pool2d(y, 3, 2, 1) ** 2).sum()

    parameters = [torch.from_numpy(w).requires_grad_(True) for w in weights]
    expected = torch.autograd.grad(theirs(*parameters), parameters)
    rtol = 1e-4 if dtype == "float32" else 1e-10
    for i, e in enumerate(expected):
        found = grad(ours, i)(*weights)
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_allclose(found, e.numpy(), rtol=rtol, atol=rtol)
    if dtype == "float64":
        found = hessian(lambda b: ours(weights[0], b, weights[2]))(weights[1])
        expected = torch.autograd.functional.hessian(
            lambda b: theirs(parameters[0].detach(), b, parameters[2].detach()),
            torch.from_numpy(weights[1]),
        )
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-9)


def test_signatures_are_the_functions_without_out_and_dtype():
    left = ("out", "dtype")  # gradients have the dtype of what they are of
    for name in ca.__all__:
        ours = inspect.signature(getattr(ca, name)).parameters
        theirs = inspect.signature(getattr(cconv, name)).parameters
        assert list(ours) == [p for p in theirs if p not in left], name
        assert [p.default for p in ours.values()] == [
            p.default for n, p in theirs.items() if n not in left
        ], name


def test_missing_package_is_named():
    import subprocess
    import sys

    program = "import sys; sys.modules['autograd'] = None\nimport cconv.interop.autograd"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install cconv[autograd]" in done.stderr
