"""Random calls on arrays that touch unreadable pages; `python guarded.py SEED CALLS NOTE` (see test_guard_pages.py).

Every array, `out` included, lies flush against a page that may be neither read nor written: once before it, once after
it. A kernel that steps outside is stopped by the processor; NOTE, a file, then holds the call.
"""

import ctypes
import itertools
import mmap
import sys

import numpy as np

import cconv

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PAGE = mmap.PAGESIZE
# around the lanes of every instruction set, and the edges of register tiles and blocks
EDGES = (1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 23, 31, 32, 33, 47, 48, 49, 63, 64, 65)


class Fence:
    """Memory between two unreadable pages, for arrays that end (`after`) or begin at one of them."""

    def __init__(self):
        self.regions = []

    def place(self, a, after):
        """A copy of `a` (its strides too) flush against a guard page; an array of no bytes stays as it is."""
        a = np.asarray(a)
        if a.nbytes == 0:
            return a
        low = sum((n - 1) * s for n, s in zip(a.shape, a.strides, strict=True) if s < 0)
        high = sum((n - 1) * s for n, s in zip(a.shape, a.strides, strict=True) if s > 0)
        span = high - low + a.itemsize
        inner = -(-span // PAGE) * PAGE
        start = LIBC.mmap(None, inner + 2 * PAGE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        assert start not in (None, ctypes.c_void_p(-1).value)
        assert LIBC.mprotect(start, PAGE, 0) == 0
        assert LIBC.mprotect(start + PAGE + inner, PAGE, 0) == 0
        self.regions.append((start, inner + 2 * PAGE))
        first = start + PAGE + (inner - span if after else 0)
        block = (ctypes.c_char * span).from_address(first)
        b = np.ndarray(a.shape, a.dtype, block, -low, a.strides)
        b[...] = a
        return b

    def close(self):
        for region in self.regions:
            LIBC.munmap(*region)
        self.regions.clear()


def strided(a, how, rng):
    """The same values with other strides: as they are, every second element, reversed, Fortran's."""
    if how == 0 or a.ndim == 0:
        return a
    if how == 1:
        wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)[..., ::2]
        wide[...] = a
        return wide
    if how == 2:
        axes = tuple(slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in a.shape)
        return np.ascontiguousarray(a[axes])[axes]
    return np.asfortranarray(a)


def numbers(rng, shape, dtype):
    kind = np.dtype(dtype).kind
    if kind in "iu":
        return rng.integers(0 if kind == "u" else -9, 9, shape).astype(dtype)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if kind == "c" else values).astype(dtype)


def size(rng, least, rank):
    """Sizes at the edges, small in all axes but the last."""
    most = (65, 33, 9)[rank - 1]
    picks = [int(rng.choice([e for e in EDGES if e <= most])) for _ in range(rank - 1)]
    picks.append(int(rng.choice(EDGES)))
    return tuple(max(p, n) for p, n in zip(picks, least, strict=True))


def a_convolution(rng, transposed):
    """Function, arrays, keywords: of every kind that has a kernel of its own."""
    rank = int(rng.integers(1, 4))
    kind = rng.choice(["dense", "winograd", "depthwise", "groups", "few", "large", "point"])
    dtype = rng.choice(
        ["f4", "f4", "f8"]
        if kind == "winograd"
        else ["f4", "f4", "f8", "f2", "c8", "i4", "i8", "u1"]
    )
    groups = {"depthwise": int(rng.choice(EDGES[:12])), "groups": int(rng.integers(2, 5))}.get(
        kind, 1
    )
    c = {
        "winograd": int(rng.choice((5, 8, 32))),
        "depthwise": 1,
        "few": int(rng.integers(1, 4)),
    }.get(kind, int(rng.integers(1, 20)))
    o = {"depthwise": int(rng.integers(1, 3)), "winograd": int(rng.choice((6, 14, 15, 33)))}.get(
        kind, int(rng.integers(1, 30))
    )
    if kind == "winograd":
        kernel = (int(rng.choice((3, 3, 5))),) * rank
        if rank > 1 and rng.random() < 0.3:
            one = int(rng.integers(rank - 2, rank))
            kernel = tuple(1 if axis == one else k for axis, k in enumerate(kernel))
    elif kind == "large":
        kernel = tuple(int(n) for n in rng.integers(1, (40, 12, 5)[rank - 1], rank))
    else:
        kernel = (1,) * rank if kind == "point" else tuple(int(n) for n in rng.integers(1, 6, rank))
    free = kind != "winograd" or rng.random() < 0.2
    stride = tuple(int(n) for n in rng.integers(1, 4, rank)) if free else (1,) * rank
    dilation = tuple(int(n) for n in rng.integers(1, 4, rank)) if free else (1,) * rank
    effective = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    space = size(rng, effective, rank)
    padding = tuple(tuple(int(n) for n in rng.integers(0, min(4, L), 2)) for L in space)
    if transposed:  # which leave something of the output
        spans = [(L - 1) * s + e for L, s, e in zip(space, stride, effective, strict=True)]
        padding = tuple(
            p if sum(p) < span else (0, 0) for p, span in zip(padding, spans, strict=True)
        )
    x = numbers(rng, (int(rng.integers(1, 3)), c * groups, *space), dtype)
    w = numbers(rng, (c * groups, o, *kernel) if transposed else (o * groups, c, *kernel), dtype)
    b = numbers(rng, (o * groups,), dtype) if rng.random() < 0.5 else None
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if not transposed:
        options["padding_mode"] = str(
            rng.choice(["zeros", "zeros", "reflect", "replicate", "circular"])
        )
    return rank, x, w, b, options


def a_pool(rng):
    rank = int(rng.integers(1, 4))
    dtype = rng.choice(["f4", "f4", "f8", "f2", "i4", "i8", "u1", "u8"])
    large = rng.random() < 0.3
    kernel = tuple(int(n) for n in rng.integers(1, (40, 14, 6)[rank - 1] if large else 4, rank))
    stride = (1,) * rank if large else tuple(int(n) for n in rng.integers(1, 4, rank))
    dilation = tuple(int(n) for n in rng.integers(1, 3, rank))
    effective = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(tuple(int(n) for n in rng.integers(0, min(4, e), 2)) for e in effective)
    x = numbers(
        rng, (int(rng.integers(1, 3)), int(rng.integers(1, 6)), *size(rng, effective, rank)), dtype
    )
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return rank, x, options


def calls(rng):
    """One round: (name, function, arrays, keywords, whether it takes `out`)."""
    for transposed in (False, True):
        rank, x, w, b, options = a_convolution(rng, transposed)
        name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
        yield name, getattr(cconv, name), (x, w, b), options, True
        plain = not transposed and options["padding_mode"] == "zeros" and x.dtype.kind == "f"
        if plain and set(w.shape[2:]) == {3} and {*options["stride"], *options["dilation"]} == {1}:
            for algorithm in ("winograd", "fft", "direct"):  # F(2) where there are few channels
                forced = {**options, "algorithm": algorithm}
                yield f"{name} {algorithm}", getattr(cconv, name), (x, w, b), forced, True
        run = cconv.prepack(w, b, transposed=transposed, **options)
        yield "prepack " + name, lambda x, out=None, run=run: run(x, out=out), (x,), {}, True
        packing = {**options, "transposed": transposed}
        yield (
            "packed " + name,
            lambda w, b, x=x, packing=packing: cconv.prepack(w, b, **packing)(x),
            (w, b),
            {},
            False,
        )
        if x.dtype.kind != "f":
            continue
        y = getattr(cconv, name)(x, w, b, **options)
        g = numbers(rng, y.shape, x.dtype)
        shapes = {"shape": x.shape, "weight": w.shape}
        by_input = getattr(cconv.grad, name + "_input")
        by_weight = getattr(cconv.grad, name + "_weight")
        yield (
            name + "_input",
            lambda w, g, out=None, f=by_input, s=shapes, **k: f(s["shape"], w, g, out=out, **k),
            (w, g),
            options,
            True,
        )
        yield (
            name + "_weight",
            lambda x, g, out=None, f=by_weight, s=shapes, **k: f(x, s["weight"], g, out=out, **k),
            (x, g),
            options,
            True,
        )
    rank, x, options = a_pool(rng)
    ceil = {"ceil_mode": bool(rng.random() < 0.5)}
    kept = f"max_pool{rank}d"
    yield kept, getattr(cconv, kept), (x,), {**options, **ceil}, True
    indexed = {**options, **ceil, "return_indices": True}
    yield kept + " indices", getattr(cconv, kept), (x,), indexed, False
    yield f"avg_pool{rank}d", getattr(cconv, f"avg_pool{rank}d"), (x,), {**options, **ceil}, True
    norm = {"norm_type": float(rng.choice([1, 2, 3])), **options, **ceil}
    yield f"lp_pool{rank}d", getattr(cconv, f"lp_pool{rank}d"), (x,), norm, True
    bins = {"output_size": tuple(int(rng.integers(1, n + 3)) for n in x.shape[2:])}
    for name in (f"adaptive_avg_pool{rank}d", f"adaptive_max_pool{rank}d"):
        yield name, getattr(cconv, name), (x,), bins, True
    if x.dtype.kind == "f":
        for name, more in ((kept, {**options, **ceil}), (f"avg_pool{rank}d", {**options, **ceil}),
                           (f"adaptive_max_pool{rank}d", bins), (f"adaptive_avg_pool{rank}d", bins)):  # fmt: skip
            g = numbers(rng, getattr(cconv, name)(x, **more).shape, x.dtype)
            by_input = getattr(cconv.grad, name + "_input")
            if "max" in name:
                yield name + "_input", by_input, (x, g), more, True
            else:
                yield (
                    name + "_input",
                    lambda g, out=None, f=by_input, s=x.shape, **k: f(s, g, out=out, **k),
                    (g,),
                    more,
                    True,
                )
    plain = {k: v for k, v in options.items() if k != "padding"}
    plain["padding"] = tuple(p[0] for p in options["padding"])
    yield "unfold", cconv.unfold, (x,), plain, False
    square = getattr(cconv, kept)(x, 2, return_indices=True) if min(x.shape[2:]) > 1 else None
    if square is not None:
        yield (
            f"max_unpool{rank}d",
            getattr(cconv, f"max_unpool{rank}d"),
            square,
            {"kernel_size": 2, "output_size": x.shape[2:]},
            False,
        )


def bits(result):
    return [r.tobytes() for r in (result if isinstance(result, tuple) else (result,))]


def main(seed, count, note):
    rng = np.random.default_rng(seed)
    fence = Fence()
    done = 0
    with open(note, "w+b") as file:
        file.write(b" " * 2000)
        file.flush()
        with mmap.mmap(file.fileno(), 2000) as label:
            while done < count:
                for name, function, arrays, options, takes_out in calls(rng):
                    expected = function(*arrays, **options)
                    layouts = [(0, 0), (0, 1), (int(rng.integers(1, 4)), int(rng.integers(0, 2)))]
                    for (how, after), threads in zip(
                        layouts, itertools.cycle((1, 2)), strict=False
                    ):
                        placed = [
                            None
                            if a is None
                            else fence.place(strided(np.asarray(a), how, rng), after)
                            for a in arrays
                        ]
                        more = dict(options)
                        if takes_out:
                            more["out"] = fence.place(
                                strided(np.zeros_like(expected), how, rng), after
                            )
                        shapes = [
                            None if a is None else (a.shape, a.strides, str(a.dtype))
                            for a in placed
                        ]
                        text = f"{name} {shapes} {options} guard {'after' if after else 'before'}"
                        label[:] = text.encode()[:2000].ljust(2000)
                        cconv.set_num_threads(threads)
                        found = function(*placed, **more)
                        assert bits(found) == bits(expected), text
                        del found, placed, more
                        fence.close()
                        done += 1
    print(done, "calls")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
