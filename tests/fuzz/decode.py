"""Bytes to one call of a public function: any bytes are a call, and few bytes a simple one."""

from __future__ import annotations

import numpy as np

RNG = np.random.default_rng(20240607)
EIGHTHS = RNG.integers(-8, 9, 1 << 18) / 8
WHOLE = RNG.integers(-(2**63), 2**63, 1 << 18, np.int64)
FLOATS = [np.dtype(t) for t in "fdefdf"]
INTS = [np.dtype(t) for t in "bBhHiIqQlL"]
COMPLEX = [np.dtype(t) for t in "FD"]
LAYOUTS = (
    "C", "C", "C", "F", "reversed", "steps", "swapped", "misaligned", "broadcast", "readonly",
    "list", "subclass", "view",
)  # fmt: skip
# refused by every integer parameter; the last ones by every size
NEVER = (
    1.5, 1.0, "2", 1j, True, float("nan"), object(), (), [1, 2, 3, 4], (1, None), [[1, 2], [3]],
    np.float32(2), np.array(1.0), b"1", {1: 2}, 2**62, 2**63, 10**30, -1, (-1,), -(2**63),
)  # fmt: skip
NOT_ARRAYS = (None, "x", object(), {}, [[1, 2], [3]], np.array(["a"]), np.array([None]), b"12")
NOT_FLAGS = ("yes", None, 1.5, object(), [True])
HUGE = (2**40, 2**61)


class Reader:
    """Bytes as decisions; zeros when they end."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def byte(self) -> int:
        if self.at >= len(self.data):
            return 0
        self.at += 1
        return self.data[self.at - 1]

    def pick(self, values):
        return values[self.byte() % len(values)]

    def upto(self, most: int) -> int:
        return self.byte() % (most + 1)

    def rarely(self, n: int = 8) -> bool:
        """True once in n, never of a zero."""
        return self.byte() % n == n - 1


class Refused(Exception):
    """The oracle's answer for a call that must raise."""


class Call:
    """A public function and its arguments, and what the oracle needs of them."""

    def __init__(self, module: str, name: str, rank: int):
        self.module, self.name, self.rank = module, name, rank
        self.kwargs: dict = {}
        self.bad = False  # some argument must be refused
        self.maybe = False  # an argument so huge that either answer will do
        self.via = "call"  # or "prepack", "explain"

    def __repr__(self):
        def show(v):
            if isinstance(v, np.ndarray):
                return f"array(shape={v.shape}, dtype={v.dtype.str}, strides={v.strides})"
            return repr(v)

        args = ", ".join(f"{k}={show(v)}" for k, v in self.kwargs.items())
        return f"{self.via}: {self.module}.{self.name}({args})"


def values(r: Reader, shape, dtype) -> np.ndarray:
    size = int(np.prod(shape))
    at = r.byte() * 37
    if size > 1 << 17:
        return np.resize(EIGHTHS, shape).astype(dtype)
    if dtype.kind in "iub":
        pool = WHOLE if at % 2 else EIGHTHS * 8
        return pool[at : at + size].astype(dtype).reshape(shape)
    a = EIGHTHS[at : at + size].astype(dtype).reshape(shape)
    if dtype.kind == "c":
        a.imag = EIGHTHS[at + 500 : at + 500 + size].reshape(shape)
    elif size and r.rarely():
        a.flat[r.byte() % size] = r.pick((np.nan, np.inf, -np.inf, -0.0))
        a.flat[r.byte() % size] = r.pick((np.nan, np.inf, -np.inf, -0.0, -np.inf))
    return a


class Sub(np.ndarray):
    pass


def lay(r: Reader, a: np.ndarray, lists: bool = True):
    """The same values in another layout (with "broadcast", other values)."""
    how = r.pick(LAYOUTS)
    if how == "F":
        return np.asfortranarray(a)
    if how == "reversed":
        turn = tuple(slice(None, None, r.pick((-1, 1))) for _ in a.shape)
        return a[turn].copy()[turn]
    if how == "steps":
        steps = tuple(r.pick((2, 1, 3)) for _ in a.shape)
        big = np.full([n * s for n, s in zip(a.shape, steps, strict=True)], 77, a.dtype)
        view = big[tuple(slice(None, None, s) for s in steps)]
        view[...] = a
        return view
    if how == "swapped":
        return a.astype(a.dtype.newbyteorder())
    if how == "misaligned":
        raw = np.zeros(a.nbytes + 1, np.uint8)
        view = raw[1:].view(a.dtype).reshape(a.shape)
        view[...] = a
        return view
    if how == "broadcast" and lists:
        cut = a[tuple(slice(0, 1) if r.byte() % 2 else slice(None) for _ in a.shape)]
        return np.broadcast_to(cut, a.shape)
    if how == "readonly" and lists:
        a.flags.writeable = False
    elif how == "list" and lists and a.dtype in (np.float64, np.int64) and a.size:
        return a.tolist()
    elif how == "subclass":
        return a.view(Sub)
    elif how == "view":
        big = np.full([n + 2 for n in a.shape], 77, a.dtype)
        view = big[tuple(slice(1, 1 + n) for n in a.shape)]
        view[...] = a
        return view
    return a


def parameter(r: Reader, call: Call, name: str, parts, default, pairs=None):
    """Puts a parameter into the call, in one of the forms it may have; sometimes one that is refused."""
    kind = r.byte()
    if kind % 32 == 31:
        call.kwargs[name] = r.pick(NEVER)
        call.bad = True
        return
    if kind % 64 == 62:
        call.kwargs[name] = r.pick(HUGE)
        call.maybe = True
        return
    if pairs is not None:
        value = pairs
    elif all(p == parts[0] for p in parts):
        value = parts[0]
        if value == default and kind % 2:
            return
        value = (value, (value,), np.int64(value), parts)[kind % 4]
    else:
        value = (parts, list(parts), np.array(parts))[kind % 3]
    call.kwargs[name] = value


def sizes(r: Reader, rank: int, most: int = 6):
    out = [1 + r.upto(most - 1) for _ in range(rank)]
    if r.rarely(16):  # past the vectors' widths and the register tiles
        out[-1] = 1 + r.upto(70)
    return tuple(out)


def padding(r: Reader, rank: int, most: int):
    """(before, after), and the form in which it is given: None for ints an axis."""
    before = tuple(r.upto(most) for _ in range(rank))
    if r.rarely(4):
        after = tuple(r.upto(most) for _ in range(rank))
        return before, after, tuple(zip(before, after, strict=True))
    return before, before, None


def dtype_of(r: Reader, kinds: str) -> np.dtype:
    kind = r.byte() % 8
    if "c" in kinds and kind == 7:
        return r.pick(COMPLEX)
    if "i" in kinds and kind in (5, 6):
        return r.pick(INTS)
    return r.pick(FLOATS)


def array(r: Reader, call: Call, name: str, shape, dtype, lists: bool = True):
    """An array argument; sometimes one that must be refused. Returns its values as the oracle sees them."""
    a = values(r, shape, dtype)
    if r.rarely(64):
        bad = r.byte() % 4
        if bad == 0:
            call.kwargs[name] = r.pick(NOT_ARRAYS)
        elif bad == 1:
            call.kwargs[name] = a.astype(r.pick((np.longdouble, object, "M8[s]", "S3")))
        elif bad == 2:
            call.kwargs[name] = np.ma.masked_array(a)
        else:
            call.kwargs[name] = a[None, None, None]
        call.bad |= call.kwargs[name] is not None or name != "bias"
        return a
    given = lay(r, a, lists)
    call.kwargs[name] = given
    return np.asarray(given)
