"""Inputs that the fuzzer found, replayed without it; and its oracle against the naive loops."""

import numpy as np
import pytest
import reference
from fuzz import fuzz_calls, oracle

import cconv

CASES = fuzz_calls.corpus()


@pytest.mark.parametrize("number", range(len(CASES)))
def test_found_case(number):
    fuzz_calls.check(CASES[number])


def test_random_calls():
    """A few of the fuzzer's own; `.ci/fuzz` runs many."""
    rng = np.random.default_rng(0)
    seen = {fuzz_calls.check(rng.bytes(60)) for _ in range(500)}
    assert {"right", "refused"} <= seen


def test_a_wrong_answer_is_seen(monkeypatch):
    """The fuzzer's judge is not blind: an answer a little off, and an unrefused call, fail."""
    data = bytes([0, 0])
    call, _ = fuzz_calls.decode(data)
    assert call.name == "conv2d" and fuzz_calls.check(data) == "right"
    real = cconv.conv2d
    monkeypatch.setattr(cconv, "conv2d", lambda *a, **k: real(*a, **k) + np.float32(1e-3))
    with pytest.raises(AssertionError, match="expected"):
        fuzz_calls.check(data)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_oracle_convolution(mode):
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((6, 2, 2, 3))
    geometry = (2, 1), (1, 2), (1, 2), (2, 1)
    want = reference.conv(x, w, None, *geometry, 2, mode)
    stride, before, _, dilation = geometry
    table = oracle.conv_table((5, 6), (2, 3), stride, before, dilation, want.shape[2:], mode)
    assert np.allclose(oracle.conv(x, w, 2, table, want.shape[2:]), want, 1e-12)


def test_oracle_transposed():
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 4, 3, 4)), rng.standard_normal((4, 3, 2, 3))
    want = reference.conv_transpose(x, w, None, (2, 3), (1, 0), (0, 1), (0, 1), (1, 2), 2)
    table = oracle.conv_table(want.shape[2:], (2, 3), (2, 3), (1, 0), (1, 2), (3, 4))
    assert np.allclose(oracle.conv_transpose(x, w, 2, table, want.shape[2:]), want, 1e-12)


def test_oracle_pools():
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 4, (2, 2, 5, 6)).astype(float)
    x[0, 0, 2, 3] = np.nan
    geometry = (2, 3), (2, 1), (1, 0), (0, 1), (1, 2), True
    table = oracle.pool_table((5, 6), *geometry)
    for got, want in zip(
        oracle.max_pool(x, *table[:2]), reference.max_pool(x, *geometry), strict=True
    ):
        assert np.array_equal(got, want, equal_nan=got.dtype.kind == "f")
    got = oracle.avg_pool(x, *table[:2], table[2])
    assert np.allclose(got, reference.avg_pool(x, True, None, *geometry), equal_nan=True)


# ---------------------------------------------------------------- what was found, in words

ONES = np.ones((1, 2, 6, 6), np.float32)


def test_empty_batch_of_unpool_gradient():
    y = cconv.grad.max_unpool2d_input(
        np.zeros((0, 2, 3, 3), np.int64), np.zeros((0, 2, 6, 6), np.float32), 2
    )
    assert y.shape == (0, 2, 3, 3)


def test_window_far_larger_than_the_input():
    """With ceil_mode torch allows it; it asked for a workspace of the window's size."""
    for k in (100, 10**9, 2**61):
        assert np.array_equal(
            cconv.max_pool2d(ONES, k, ceil_mode=True), np.ones((1, 2, 1, 1), np.float32)
        )
        assert np.array_equal(
            cconv.avg_pool2d(ONES, k, ceil_mode=True), np.ones((1, 2, 1, 1), np.float32)
        )


def test_nan_beside_misaligned_weights():
    x = np.full((1, 1, 8, 8), np.nan)
    raw = np.zeros(9 * 8 + 1, np.uint8)
    w = raw[1:].view(np.float64).reshape(1, 1, 3, 3)
    assert np.isnan(cconv.conv2d(x, w, algorithm="fft")).all()


def test_infinite_weights_and_fft():
    x, w = np.ones((1, 1, 40), np.float32), np.ones((2, 1, 5), np.float32)
    w[1, 0, 2] = np.inf
    y = cconv.conv1d(x, w, algorithm="fft")
    assert np.allclose(y[0, 0], 5) and (y[0, 1] == np.inf).all()
    assert np.array_equal(cconv.prepack(w, algorithm="fft")(x), y)


def test_stride_of_too_many_phases():
    """It was planned phase by phase, for ever."""
    with pytest.raises(ValueError, match="conv_transpose1d: stride"):
        cconv.conv_transpose1d(ONES[0, 0, :2], np.ones((2, 1, 2), np.float32), stride=2**40)


def test_dilation_of_too_many_parts():
    """Each of the dilation's residues was planned as a part for Winograd, to find that they are too many."""
    w = np.ones((1, 2, 3, 1), np.float32)
    with pytest.raises((ValueError, MemoryError)):
        cconv.conv_transpose2d(ONES, w.swapaxes(0, 1), dilation=2**45)
    y = cconv.conv2d(ONES, w, padding=((10**6, 10**6), (0, 0)), dilation=(10**6, 1))
    assert y.shape == (1, 1, 6, 6) and np.array_equal(y, np.full(y.shape, 2))


def test_padding_past_every_buffer():
    with pytest.raises(ValueError, match="conv2d: padding"):
        cconv.conv2d(ONES, np.ones((1, 2, 2, 3), np.float32), padding="same", dilation=2**40)
    with pytest.raises(ValueError, match="conv2d: .*too large"):
        cconv.conv2d(ONES[:0], np.ones((1, 2, 1, 1), np.float32), padding=2**40)


@pytest.mark.filterwarnings("error")
def test_no_warning_of_infinities():
    with np.errstate(all="warn"):
        x = np.full((1, 1, 80), np.inf, np.float32)
        cconv.conv1d(x, np.ones((1, 1, 5), np.float32), [-np.inf], algorithm="fft")
        gy = np.array([[[np.inf, -np.inf] * 3]], np.float32)
        cconv.grad.conv1d_bias(gy)
        cconv.grad.lp_pool1d_input(np.zeros((1, 1, 6), np.float32), gy, 1, 1)
        cconv.fold(gy.repeat(2, 1), (1, 7), (1, 2))
