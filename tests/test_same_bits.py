"""The same bits for any number of threads, alone or in a batch, however arrays lie, and while others are calling."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from drawn import draw

import cconv

CALLS = int(os.environ.get("CCONV_TEST_CALLS", "60"))


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = cconv.get_num_threads()
    yield
    cconv.set_num_threads(before)


def strided(rng, a):
    """The same values, lying otherwise."""
    kind = int(rng.integers(4))
    if kind == 0:
        return np.asfortranarray(a)
    if kind == 1:
        return np.ascontiguousarray(a[..., ::-1])[..., ::-1]
    if kind == 2:
        return a.astype(a.dtype.newbyteorder())
    return gaps(a)


def gaps(a):
    """Every second element, and of each axis."""
    inside = np.zeros([2 * n for n in a.shape], a.dtype)[
        tuple(slice(None, None, 2) for _ in a.shape)
    ]
    inside[...] = a
    return inside


def forms(rng, call, expected):
    """(what, result) of every form of one call."""
    for threads in (1, 2, 3, 5):
        cconv.set_num_threads(threads)
        yield f"{threads} threads", call.run(*call.arrays)
    cconv.set_num_threads(int(rng.integers(1, 4)))
    yield "strided", call.run(*[strided(rng, a) for a in call.arrays])
    for i in range(len(call.arrays)):
        one = [strided(rng, a) if i == j else a for j, a in enumerate(call.arrays)]
        yield f"array {i} strided", call.run(*one)
    if call.out:
        for what, out in (("out", np.zeros_like(expected)), ("strided out", gaps(expected * 0))):
            assert call.run(*call.arrays, out=out) is out
            yield what, out
    if call.batched:
        samples = len(call.arrays[call.batched[0]])
        parts = []
        for n in range(samples):
            one = [a[n : n + 1] if i in call.batched else a for i, a in enumerate(call.arrays)]
            parts.append(call.run(*one))
        yield "sample by sample", np.concatenate(parts)


@pytest.mark.parametrize("seed", range(5))
def test_every_form_has_the_same_bits(seed):
    rng = np.random.default_rng(seed)
    for _ in range(CALLS):
        call, expected = draw(rng)
        for what, y in forms(rng, call, expected):
            assert y.dtype == expected.dtype and y.shape == expected.shape, (call.text, what)
            assert y.tobytes() == expected.tobytes(), (call.text, what)


def test_gradients_of_samples_and_batches():
    """Winograd pays sooner where a batch shares the packing of weights: the choice must not see the batch."""
    rng = np.random.default_rng(0)
    for channels, size in ((64, 14), (128, 14), (256, 7), (256, 10), (96, 20)):
        w = rng.standard_normal((channels, channels, 3, 3), np.float32)
        gy = rng.standard_normal((8, channels, size, size), np.float32)
        whole = cconv.grad.conv2d_input(gy.shape, w, gy, padding=1)
        for n in range(len(gy)):
            one = cconv.grad.conv2d_input((1, *gy.shape[1:]), w, gy[n : n + 1], padding=1)
            assert one.tobytes() == whole[n].tobytes()


def test_while_other_threads_are_calling():
    """Eight threads draw and compare at once, and the number of threads changes under them."""
    drawn = [draw(np.random.default_rng(1000 + i)) for i in range(CALLS)]
    wrong = []

    def work(i):
        rng = np.random.default_rng(i)
        for at in rng.permutation(len(drawn)):
            call, expected = drawn[at]
            cconv.set_num_threads(int(rng.integers(1, 5)))
            if call.run(*call.arrays).tobytes() != expected.tobytes():
                wrong.append(call.text)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert not wrong


PROGRAM = """
import sys, numpy as np
from drawn import draw
rng = np.random.default_rng(7)
kept = {}
for i in range(int(sys.argv[2])):
    call, y = draw(rng, ("f4", "f8", "i4", "i8"))
    kept[f"{i} {call.text[:150]}"] = y
np.savez(sys.argv[1], **{k.replace("/", "|"): v for k, v in kept.items()})
"""


def test_instruction_sets_agree(tmp_path):
    """Integers exactly; floats within what sums in another order may differ by, for every function."""
    results = {}
    for isa in cconv.show_config()["isa_available"]:
        path = tmp_path / f"{isa}.npz"
        paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
        environment = {**os.environ, "CCONV_ISA": isa, "PYTHONPATH": paths}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path), str(2 * CALLS)],
            env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        results[isa] = np.load(path)
    baseline = results.pop("baseline")
    for isa, other in results.items():
        assert baseline.files == other.files
        for name in baseline.files:
            a, b = baseline[name], other[name]
            if a.dtype.kind in "iu":
                assert np.array_equal(a, b), (isa, name)
                continue
            finite = np.isfinite(a)
            assert np.array_equal(a[~finite], b[~finite], equal_nan=True), (isa, name)
            scale = np.sqrt(np.mean(np.square(a[finite], dtype=float))) + 1 if finite.any() else 1
            tolerance = 2e-4 if a.dtype == np.float32 else 1e-12
            assert abs(a[finite] - b[finite]).max(initial=0) <= tolerance * scale, (isa, name)
