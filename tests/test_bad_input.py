"""Bad calls: each gives a TypeError or ValueError whose sentence names the parameter; nothing is changed."""

import fractions

import numpy as np
import pytest

import cconv

X = np.arange(2 * 4 * 6 * 6, dtype=np.float32).reshape(2, 4, 6, 6)
W = np.ones((6, 4, 3, 3), np.float32)
B = np.ones(6, np.float32)
HUGE = 2**70


class Odd:
    """Neither a number nor a sequence."""


NOT_INTS = [
    1.5,
    1.0,
    "2",
    None,
    Odd(),
    1j,
    True,
    fractions.Fraction(3, 2),
    np.float64(2),
    [1, "a"],
    (1, None),
]


def conv(**changes):
    args = {"input": X, "weight": W, "bias": B, **changes}
    return lambda: cconv.conv2d(**args)


def transposed(**changes):
    args = {"input": X, "weight": np.ones((4, 6, 3, 3), np.float32), **changes}
    return lambda: cconv.conv_transpose2d(**args)


def pool(function=cconv.max_pool2d, **changes):
    args = {"input": X, "kernel_size": 2, **changes}
    return lambda: function(**args)


def cases():
    """(what the message must name, call)."""
    result = []

    def add(word, *calls):
        result.extend((word, call) for call in calls)

    for value in NOT_INTS:
        if value is not None:
            add("stride", conv(stride=value), transposed(stride=value), pool(stride=value))
        add("dilation", conv(dilation=value), pool(dilation=value))
        add("kernel_size", pool(kernel_size=value), pool(cconv.avg_pool2d, kernel_size=value))
        add("groups", conv(groups=value), transposed(groups=value))
        if not isinstance(value, str):
            add("padding", conv(padding=value), transposed(padding=value), pool(padding=value))
    for value in (0, -1, (1, 0), (1, -2), HUGE, (1, 2, 3), (), [[1]], (1, HUGE)):
        add("stride", conv(stride=value), transposed(stride=value))
        if value != ():  # which means the kernel's size
            add("stride", pool(stride=value))
        add("dilation", conv(dilation=value), pool(dilation=value))
        add("kernel_size", pool(kernel_size=value), pool(cconv.avg_pool2d, kernel_size=value))
    for value in (
        -1,
        (0, -1),
        (1, 2, 3),
        (),
        HUGE,
        ((1, 2, 3), 1),
        ((1, -1), 0),
        ((1,), (1,)),
        "full",
        ((1, 1.5), 0),
    ):
        add("padding", conv(padding=value), pool(padding=value))
    for value in (0, -1, 3, HUGE, (1, 1)):
        add("groups", conv(groups=value))
    add(
        "padding",
        pool(padding=2),
        pool(padding=(0, 2)),
        pool(cconv.avg_pool2d, padding=5),
        transposed(padding=9),
    )
    add("padding_mode", conv(padding_mode="mirror"), conv(padding_mode=1), conv(padding_mode=None))
    add(
        "padding_mode",
        conv(padding=6, padding_mode="reflect"),
        conv(padding=7, padding_mode="circular"),
    )
    add("algorithm", conv(algorithm="magic"), conv(algorithm=None))
    add("algorithm", conv(algorithm="fft", input=X.astype(int), weight=W.astype(int), bias=None))
    add(
        "algorithm",
        conv(algorithm="winograd", stride=2),
        conv(algorithm="winograd", input=X.astype(int), weight=W.astype(int), bias=None),
    )
    add("output_padding", transposed(output_padding=1), transposed(output_padding=-1, stride=2))
    add(
        "output_padding",
        transposed(output_padding=2, stride=2),
        transposed(output_padding=1.5, stride=2),
    )
    for bad in (
        "text",
        None,
        Odd(),
        [[1, 2], [3]],
        np.array(["a"]),
        np.array([None]),
        X.astype(object),
        {},
        {1: 2},
    ):
        add("input", conv(input=bad), pool(input=bad), pool(cconv.avg_pool2d, input=bad))
        add("weight", conv(weight=bad))
    add(
        "input",
        conv(input=X.astype(np.longdouble)),
        conv(input=X.astype(bool)),
        pool(input=X.astype(complex)),
    )
    add("input", conv(input=np.ma.masked_array(X)), conv(input=X.astype("datetime64[s]")))
    add(
        "input",
        conv(input=X[0, 0]),
        conv(input=X[None]),
        conv(input=3.0),
        pool(input=X[0, 0]),
        pool(input=X[None]),
    )
    add(
        "input",
        conv(input=X[:, :3]),
        conv(input=X[:, :0]),
        conv(input=X[..., :0]),
        pool(input=X[..., :0]),
    )
    add(
        "weight",
        conv(weight=W[0]),
        conv(weight=W[None]),
        conv(weight=W[:0]),
        conv(weight=W[..., :0]),
    )
    add("weight", conv(weight=W.astype(bool)), conv(weight=W.astype(object)))
    add(
        "bias",
        conv(bias=B[:5]),
        conv(bias=B[None]),
        conv(bias=1.0),
        conv(bias="b"),
        conv(bias=B.astype(object)),
    )
    add(
        "kernel",
        conv(input=X[..., :2]),
        conv(dilation=3),
        pool(kernel_size=7),
        pool(kernel_size=2, dilation=6),
    )
    good = np.zeros((2, 6, 4, 4), np.float32)
    add(
        "out",
        conv(out=good[0]),
        conv(out=good.astype(np.float64)),
        conv(out=good.tolist()),
        conv(out=good[..., :3]),
    )
    frozen = good.copy()
    frozen.flags.writeable = False
    add("out", conv(out=frozen), conv(out=good.astype(">f4")), pool(out=good), transposed(out=good))
    add("ceil_mode", pool(ceil_mode="yes"), pool(cconv.avg_pool2d, ceil_mode=None))
    add("return_indices", pool(return_indices="no"))
    add("count_include_pad", pool(cconv.avg_pool2d, count_include_pad="x"))
    add(
        "divisor_override",
        pool(cconv.avg_pool2d, divisor_override=0),
        pool(cconv.avg_pool2d, divisor_override=1.5),
    )
    for value in (0, -1, "2", None, float("nan"), True):
        add("norm_type", pool(cconv.lp_pool2d, norm_type=value))
    for value in (-1, 1.5, "3", (1, 2, 3), (), HUGE, (2, -1)):
        add("output_size", lambda v=value: cconv.adaptive_avg_pool2d(X, v))
        add("output_size", lambda v=value: cconv.adaptive_max_pool2d(X, v))
    index = np.zeros(X.shape, np.int64)
    for bad in (index.astype(float), index[:1], "x", index - 1, index + 10**6):
        add("indices", lambda bad=bad: cconv.max_unpool2d(X, bad, 2))
    for value in ((1, 1), (99, 99), 5.5, (12,) * 3, "x"):
        add("output_size", lambda v=value: cconv.max_unpool2d(X, index, 2, output_size=v))
    for value in (0, -1, 1.5, (1, 2, 3, 4), 9):
        add("kernel", lambda v=value: cconv.unfold(X, v))
    columns = cconv.unfold(X, 2)
    add(
        "output_size",
        lambda: cconv.fold(columns, (9, 9), 2),
        lambda: cconv.fold(columns, (0, 6), 2),
    )
    add("input", lambda: cconv.fold(columns[:, :5], 6, 2), lambda: cconv.fold(X, 6, 2))
    add(
        "weight",
        lambda: cconv.prepack(W[0, 0]),
        lambda: cconv.prepack("w"),
        lambda: cconv.prepack(W[:0]),
    )
    add("stride", lambda: cconv.prepack(W, stride=0))
    add("padding_mode", lambda: cconv.prepack(W, padding_mode="x"))
    add("input", lambda: cconv.prepack(W)(X[:, :3]), lambda: cconv.prepack(W)("x"))
    add("out", lambda: cconv.prepack(W)(X, out=X), lambda: cconv.prepack(W)(X, out=[1]))
    add(
        "n must",
        *(lambda v=v: cconv.set_num_threads(v) for v in (0, -1, 1.5, "2", None, True, 10**9)),
    )
    add("function", lambda: cconv.explain("nothing"), lambda: cconv.explain(len))
    add("groups", lambda: cconv.Conv2d(3, 4, 3, groups=2))
    add("in_channels", lambda: cconv.Conv2d(0, 4, 3), lambda: cconv.Conv2d(1.5, 4, 3))
    add("kernel_size", lambda: cconv.Conv2d(1, 4, 0), lambda: cconv.MaxPool2d(0))
    add("dtype", lambda: cconv.Conv2d(1, 4, 3, dtype=int))
    return result


CASES = cases()


@pytest.mark.parametrize("number", range(len(CASES)))
def test_bad_call(number):
    word, call = CASES[number]
    before = [a.copy() for a in (X, W, B)]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert word in str(caught.value)
    assert len(str(caught.value)) > 20
    assert all(np.array_equal(a, b) for a, b in zip(before, (X, W, B), strict=True))


def test_there_are_many():
    assert len(CASES) >= 150


def test_a_good_call_does_not_let_equal_parameters_through():
    """1, 1.0 and True are equal and hash alike; only the int may be served from the cache of plans."""
    cconv.conv2d(X, W, B, 1, 1)
    cconv.max_pool2d(X, 2, 1)
    for bad in (1.0, True, np.float32(1)):
        with pytest.raises(TypeError, match="stride"):
            cconv.conv2d(X, W, B, bad, 1)
        with pytest.raises(TypeError, match="stride"):
            cconv.max_pool2d(X, 2, bad)
    with pytest.raises(TypeError, match="padding"):
        cconv.conv2d(X, W, B, 1, (1, 1.0))


def test_failed_call_leaves_out():
    out = np.full((2, 6, 4, 4), 7, np.float32)
    for changes in (
        {"stride": 0},
        {"weight": W[:, :3]},
        {"bias": B[:2]},
        {"padding": 1},
        {"groups": 5},
    ):
        with pytest.raises((TypeError, ValueError)):
            conv(out=out, **changes)()
    assert (out == 7).all()


def test_overlapping_out():
    """`out` on top of the input gives what a fresh output would."""
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    w = np.random.default_rng(1).standard_normal((3, 3, 3, 3)).astype(np.float32)
    for call in (
        lambda a, out: cconv.conv2d(a, w, None, 1, 1, out=out),
        lambda a, out: cconv.max_pool2d(a, 3, 1, 1, out=out),
    ):
        expected = call(x, None)
        memory = np.zeros((2, 3, 8, 8), np.float32)
        memory[:1] = x
        shifted = memory.reshape(-1)[7 : 7 + x.size].reshape(x.shape)
        call(memory[:1], shifted)
        assert np.array_equal(shifted, expected)
        same = x.copy()
        assert call(same, same) is same
        assert np.array_equal(same, expected)


def test_dilation_cropped_away():
    """The output is small, but the kernel reaches past what a kernel's positions can hold."""
    x, w = np.ones((2, 9, 4, 4, 3), np.float32), np.ones((9, 2, 3, 3, 3), np.float32)
    with pytest.raises(
        ValueError, match="conv_transpose3d: dilation=.*2305843009213693952.*too far"
    ):
        cconv.conv_transpose3d(x, w, dilation=2**61, padding=2**61, groups=3)
