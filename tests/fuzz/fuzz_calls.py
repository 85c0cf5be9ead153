"""
Bytes to one call of a public function, made and judged.

A good call must give the oracle's answer, a bad one a TypeError, ValueError, MemoryError or OverflowError whose
sentence starts with the function's name; arguments are compared byte for byte before and after, `out`
too after an error.

    python tests/fuzz/fuzz_calls.py FOLDER -max_total_time=60     with atheris, coverage-guided (libFuzzer's options)
    python tests/fuzz/fuzz_calls.py --random SECONDS [SEED]       without it: mutations of the corpus and random bytes
    python tests/fuzz/fuzz_calls.py --show HEX                    one case
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import warnings
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("CCONV_NUM_THREADS", "2")
    sys.path.insert(0, str(Path(__file__).parents[1]))
    if len(sys.argv) > 1 and not sys.argv[1].startswith("--"):
        import atheris

        with atheris.instrument_imports(include=["cconv"]):
            import cconv

import numpy as np
from fuzz import families, moves
from fuzz.decode import Call, Reader, Refused

import cconv

ALLOWED = (TypeError, ValueError, MemoryError, OverflowError)
LIMIT = 5  # seconds that a call may take; these take microseconds
CORPUS = Path(__file__).with_name("corpus.txt")


FAMILIES = (
    families.conv_family, families.conv_family, families.transposed_family, families.max_family, families.avg_family,
    families.lp_family, families.adaptive_avg, families.adaptive_max, families.conv_gradient, moves.pool_gradient,
    moves.adaptive_gradient, moves.lp_gradient, moves.unpool, moves.unpool_gradient, moves.unfold, moves.fold,
)  # fmt: skip


def decode(data: bytes):
    """The call that these bytes are, and a function that gives what it should return."""
    r = Reader(data)
    family = r.pick(FAMILIES)
    return family(r, (2, 1, 3)[r.byte() % 3])


def saved(value):
    """The bytes of an array argument, to be compared later; None for anything else."""
    return value.tobytes() if isinstance(value, np.ndarray) else None


def run(call: Call):
    kwargs = dict(call.kwargs)
    if call.via == "prepack":
        x, out = kwargs.pop("input"), kwargs.pop("out", None)
        packed = cconv.prepack(**kwargs, transposed="transpose" in call.name)
        packed(x)
        return packed(x, out=out)
    function = getattr(cconv.grad if call.module == "grad" else cconv, call.name)
    if call.via == "explain":
        cconv.explain(function, **kwargs)
    if call.via == "twice":  # the cached plan of the first call serves the second
        function(**{**kwargs, "out": None})
    return function(**kwargs)


def check(data: bytes) -> str:
    """Make the call of these bytes; AssertionError for a wrong answer. Returns what became of it."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return judged(*decode(data))


def too_slow(number, frame):
    raise AssertionError(f"a call took more than {LIMIT} s")


signal.signal(signal.SIGALRM, too_slow)


def judged(call: Call, expected) -> str:
    out = call.kwargs.get("out")
    before = {k: saved(v) for k, v in call.kwargs.items()}
    shares = {
        k for k, v in call.kwargs.items()
        if k != "out" and isinstance(out, np.ndarray) and isinstance(v, np.ndarray) and np.may_share_memory(v, out)
    }  # fmt: skip
    with np.errstate(all="warn"), warnings.catch_warnings():
        warnings.simplefilter("error")  # cconv should warn of nothing
        signal.alarm(LIMIT)
        try:
            result = run(call)
        except ALLOWED as error:
            refused = error
        else:
            refused = None
        finally:
            signal.alarm(0)
    for name, old in before.items():
        if name == "out" and refused is None or name in shares and refused is None:
            continue
        assert saved(call.kwargs[name]) == old, f"{name} was changed by {call}"
    if refused is not None:
        judge_error(call, refused, expected)
        return "refused"
    assert not call.bad, f"not refused: {call}"
    if call.maybe:
        return "maybe"
    if out is not None:
        values = result[0] if isinstance(result, tuple) else result
        assert values is out, f"out was not returned by {call}"
    try:
        expected(result)
    except Refused as why:
        raise AssertionError(f"not refused ({why}): {call}") from None
    return "right"


def judge_error(call: Call, error: Exception, expected) -> None:
    text = str(error)
    if not isinstance(error, MemoryError):
        names = (call.name, "prepack", "explain")
        assert text.startswith(names), f"{type(error).__name__} {text!r} of {call}"
        assert len(text) > 20 and "\n" not in text, f"{text!r} of {call}"
    if call.bad or call.maybe:
        return
    try:
        expected(None)
    except Refused:
        return
    raise AssertionError(f"{type(error).__name__} {text!r} of a good call {call}")


def corpus() -> list[bytes]:
    lines = CORPUS.read_text().split("\n") if CORPUS.exists() else []
    return [bytes.fromhex(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]


def mutated(rng, seeds):
    """A seed with some bytes changed, or new bytes."""
    if not seeds or rng.random() < 0.3:
        return rng.bytes(int(rng.integers(8, 96)))
    data = bytearray(seeds[rng.integers(len(seeds))])
    for _ in range(1 + rng.integers(6)):
        at = int(rng.integers(len(data) + 1))
        data[at : at + 1] = rng.bytes(int(rng.integers(0, 3)))
        data = data or bytearray(b"\0")
    return bytes(data)


def random_slice(seconds: float, seed: int) -> None:
    rng, seeds = np.random.default_rng(seed), corpus()
    counts: dict[str, int] = {}
    end, slowest = time.monotonic() + seconds, (0.0, "")
    while (start := time.monotonic()) < end:
        for _ in range(100):
            data = mutated(rng, seeds)
            try:
                what = check(data)
            except BaseException:
                print("case", data.hex(), flush=True)
                raise
            counts[what] = counts.get(what, 0) + 1
            now = time.monotonic()
            start, slowest = now, max(slowest, (now - start, data.hex()))
    print(
        f"{sum(counts.values())} calls, {counts}, the slowest took {slowest[0]:.2f} s: {slowest[1]}"
    )


def main() -> None:
    resource.setrlimit(
        resource.RLIMIT_AS, (6 << 30, 6 << 30)
    )  # or outputs of 2**33 values would be filled
    if sys.argv[1] == "--show":
        call, _ = decode(bytes.fromhex(sys.argv[2]))
        print(call)
        print(check(bytes.fromhex(sys.argv[2])))
    elif sys.argv[1] == "--random":
        random_slice(float(sys.argv[2]), int((sys.argv[3:] or [0])[0]))
    else:
        folder = Path(sys.argv[1])
        folder.mkdir(exist_ok=True)
        for i, data in enumerate(corpus()):
            (folder / f"seed{i}").write_bytes(data)
        atheris.Setup(sys.argv, lambda data: check(data) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
