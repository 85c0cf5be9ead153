"""The cost model: pure, so judged on integers alone."""

import random

import pytest

from cconv import _plan, _problem

AVX2, AVX512 = (8, 6), (16, 14)  # float32 lanes, rows of a tile
MODES = ("auto", "direct", "winograd")


def layer(c, o, size, kernel, stride=1, padding=None, groups=1, n=1):
    size = (1,) * (3 - len(size)) + size
    kernel = (1,) * (3 - len(kernel)) + kernel
    stride = tuple(stride if k > 1 or L > 1 else 1 for k, L in zip(kernel, size, strict=True))
    pad = tuple(k // 2 if padding is None else min(padding, k - 1) for k in kernel)
    return _problem.conv(n, groups, c, o, size, kernel, stride, (1, 1, 1), pad, pad, 0)


def random_problem(rng):
    while True:
        rank = rng.randint(1, 3)
        size = tuple(
            rng.choice([1, 2, 7, 14, 31, 56, 224, 1500][: 9 - 2 * rank]) for _ in range(rank)
        )
        kernel = tuple(rng.choice([1, 2, 3, 3, 5, 7, 15, 31]) for _ in range(rank))
        p = layer(
            rng.choice([1, 3, 32, 64, 513]), rng.choice([1, 4, 32, 64, 515]), size, kernel,
            rng.choice([1, 1, 2, 3]), None, rng.choice([1, 1, 32]), rng.choice([1, 1, 8]),
        )  # fmt: skip
        if min(p.out) > 0:
            return p


@pytest.mark.parametrize(("lanes", "rows"), [AVX2, AVX512, (4, 6), (1, 6)])
def test_the_workspace_of_a_thread_stays_within_the_promise(lanes, rows):
    rng = random.Random(lanes)
    for _ in range(300):
        p = random_problem(rng)
        for algorithm in MODES:
            plan = _plan.choose(p, 4, lanes, rows, algorithm, packed=True)
            assert plan.workspace <= 32 * 2**20, (p, plan)
            assert plan.boxes[0] * plan.boxes[1] * plan.boxes[2] >= 1
        fft = _plan.fft(p, 4)
        size = fft.block[0] * fft.block[1] * fft.block[2] * 8
        assert (
            fft.channels == fft.outputs == 1
            or size * fft.channels * (1 + fft.outputs) <= 32 * 2**20
        )


@pytest.mark.parametrize(("lanes", "rows"), [AVX2, AVX512])
def test_the_algorithm_does_not_depend_on_the_batch(lanes, rows):
    rng = random.Random(lanes)
    for _ in range(300):
        p = random_problem(rng)._replace(N=1)
        for packed in (False, True):
            plans = [
                _plan.choose(p._replace(N=n), 4, lanes, rows, "auto", packed) for n in (1, 3, 64)
            ]
            assert (
                len({(plan.kernel, plan.tile, plan.c_block, plan.t_block) for plan in plans}) == 1
            )
            assert len({_plan.fft_pays(p._replace(N=n), 4, lanes) for n in (1, 3, 64)}) == 1


@pytest.mark.parametrize(("lanes", "rows"), [AVX2, AVX512])
def test_what_is_chosen_when(lanes, rows):
    def chosen(p, packed=True):
        plan = _plan.choose(p, 4, lanes, rows, "auto", packed)
        return _plan.KERNELS[plan.kernel], plan.tile

    assert chosen(layer(64, 64, (56, 56), (3, 3))) == ("winograd", 6)
    assert chosen(layer(64, 64, (56, 56), (3, 3)), packed=False) == ("winograd", 6)
    assert chosen(layer(64, 64, (8, 56, 56), (3, 3, 3))) == ("winograd", 6)
    # few tiles and many weights: F(2) reads less than half of them
    assert chosen(layer(512, 512, (7, 7), (3, 3))) == ("winograd", 4)
    # too few channels for the error of F(4)
    assert chosen(layer(16, 64, (56, 56), (3, 3)))[1] in (0, 4)
    assert chosen(layer(64, 128, (56, 56), (3, 3), stride=2)) == ("gemm", 0)
    assert chosen(layer(64, 256, (56, 56), (1, 1))) == ("gemm", 0)
    assert chosen(layer(1, 1, (56, 56), (3, 3), groups=144)) == ("rows", 0)


def test_few_output_channels_are_not_packed():
    for channels, packed in ((8, False), (128, True)):
        plan = _plan.choose(layer(8, channels, (28, 28), (5, 5)), 4, *AVX512, "auto", True)
        assert (plan.panels > 0) == packed


def test_fft_is_for_large_kernels():
    assert _plan.fft_pays(layer(1, 1, (160_000,), (4_001,)), 4, 16)
    assert not _plan.fft_pays(layer(1, 1, (160_000,), (101,)), 4, 16)
    assert not _plan.fft_pays(layer(64, 64, (56, 56), (3, 3)), 4, 16)


def test_transform_lengths():
    for n in (1, 2, 7, 31, 97, 1000, 4097, 159_999):
        length = _plan.fft_length(n)
        assert n <= length <= 1.35 * n + 1
        for prime in (2, 3, 5):
            while length % prime == 0:
                length //= prime
        assert length == 1


def test_large_windows_are_doubled():
    def plan(k, s, L=64):
        out = (L - k) // s + 1
        p = _problem.PoolProblem(
            1,
            8,
            (1, L, L),
            (1, k, k),
            (1, s, s),
            (1, 1, 1),
            (0, 0, 0),
            (0, 0, 0),
            (1, out, out),
            False,
            True,
        )
        return _plan.pool(p, 4, 8, False)

    assert plan(31, 1).doubled == (0, 1, 1)
    assert plan(3, 1).doubled == plan(2, 2).doubled == plan(8, 8).doubled == (0, 0, 0)
    assert _plan.wide((1, 64, 64), (1, 64, 64)) and not _plan.wide((1, 31, 31), (1, 1, 1))
