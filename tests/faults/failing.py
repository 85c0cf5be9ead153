"""Every allocation of every case fails once: `LD_PRELOAD=failing_malloc.so python failing.py LIBRARY CASE ...`.

The n-th allocation of a call fails, for n = 1, 2, ... until the call gets by without: whoever asks, cconv, NumPy or the
interpreter (PYTHONMALLOC=malloc). The call must raise MemoryError or return what it should, hold no reference to its
arrays afterwards, and then work.
"""

import ctypes
import gc
import sys
import traceback

from cases import bits, cases

import cconv
from cconv import _run

LARGE = 2**18  # bytes: arrays, but not the buffers of NumPy's iterators, see failing_malloc.c
NUMPYS = {"fft", "prepack fft", "complex", "lp pool"}  # arithmetic by NumPy: arrays only

LIBRARY = ctypes.CDLL(sys.argv[1])
LIBRARY.arm.argtypes = [ctypes.c_long, ctypes.c_size_t, ctypes.c_int]
LIBRARY.arm.restype = None
LIBRARY.disarm.restype = ctypes.c_long


def attempt(name, arrays, call, n, least, lasting):
    """Whether any allocation failed; and the call's result, or None after a MemoryError."""
    arm, disarm = LIBRARY.arm, LIBRARY.disarm
    result = None
    _run.drop_kept()  # or the memory of the last call would serve this one
    arm(n, least, lasting)
    try:
        result = call(*arrays)
        return disarm(), result
    except MemoryError:
        return disarm(), None
    except SystemError as error:  # NumPy, or the interpreter, forgets to say why
        failed = disarm()
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        if "numpy" not in last and not str(error).startswith(("<ufunc", "<function")):
            raise
        return failed, None
    finally:
        disarm()


def fail_all(name, arrays, call, least, lasting):
    expected = bits(call(*arrays))
    attempt(name, arrays, call, 0, 0, 0)
    gc.collect()
    held = [sys.getrefcount(a) for a in arrays]
    errors = 0
    for n in range(1, 100000):
        print(f"{name}: {n} {least} {lasting}", file=sys.stderr, flush=True)
        failed, result = attempt(name, arrays, call, n, least, lasting)
        errors += result is None
        if result is not None:
            assert bits(result) == expected, (name, n, "another result")
        del result
        if not failed:
            break
        now = [sys.getrefcount(a) for a in arrays]
        if now != held:
            gc.collect()
            now = [sys.getrefcount(a) for a in arrays]
        assert now == held, (name, n, "references", held, now)
        held = now
        if n % 16 == 1:
            assert bits(call(*arrays)) == expected, (name, n, "afterwards")
    assert bits(call(*arrays)) == expected, name
    return n - 1, errors


def leak():
    """A call that keeps its argument whenever it fails: what must be found."""
    kept = []

    def call(x):
        try:
            return cconv.max_pool2d(x, 3)
        except MemoryError:
            kept.append(x)
            raise

    return cases()["max pool"][0], call


def main(names):
    found = {"--leak": leak()} if names == ["--leak"] else cases()
    for name in names or found:
        arrays, call = found[name]
        for threads in (1, 2):
            cconv.set_num_threads(threads)
            large = fail_all(name, arrays, call, LARGE, 1)
            each = (0, 0) if name in NUMPYS else fail_all(name, arrays, call, 0, 0)
        print(
            f"{name}: {each[1]} errors at {each[0]} allocations, {large[0]} large ones", flush=True
        )


if __name__ == "__main__":
    main(sys.argv[2:])
