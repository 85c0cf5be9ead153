"""Random calls of every function: `draw(rng)` gives one, for tests of what must hold whatever is called."""

from typing import Any, NamedTuple

import numpy as np

import cconv
from cconv import grad
from cconv.interop import scipy as like_scipy

DTYPES = ("f4", "f4", "f8", "f2", "i1", "i4", "i8", "c8")


class Call(NamedTuple):
    text: str
    run: Any  # of the arrays, and of out= if `out`
    arrays: list[Any]
    out: bool
    batched: tuple[int, ...]  # arrays whose samples are independent; none: the batch is summed


class Sizes(NamedTuple):
    rank: int
    dtype: np.dtype[Any]
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    mode: str


def values(rng, shape, dtype):
    a = rng.standard_normal(shape) * 9
    if np.dtype(dtype).kind == "c":
        a = a + 1j * rng.standard_normal(shape)
    return a.astype(dtype)


def sizes(rng):
    rank = int(rng.integers(1, 4))
    most = {1: 400, 2: 34, 3: 12}[rank]
    size = tuple(int(n) for n in rng.integers(5, most, rank))
    kernel = (3,) * rank
    if rng.random() < 0.6:
        kernel = tuple(int(n) for n in rng.choice([1, 2, 3, 5], rank))
    if rank == 1 and rng.random() < 0.1:
        size, kernel = (3000,), (501,)
    stride = tuple(int(n) for n in rng.integers(1, 4, rank)) if rng.random() < 0.5 else (1,) * rank
    if rank == 1 and rng.random() < 0.2:
        stride = (10,)
    dilation = (
        tuple(int(n) for n in rng.integers(1, 3, rank)) if rng.random() < 0.3 else (1,) * rank
    )
    padding = tuple(int(rng.integers(0, k)) for k in kernel)
    return Sizes(
        rank,
        np.dtype(str(rng.choice(DTYPES))),
        size,
        kernel,
        stride,
        padding,
        dilation,
        int(rng.choice([1, 1, 2, 4])),
        str(rng.choice(["zeros", "zeros", "reflect", "replicate", "circular"])),
    )


def conv_arrays(rng, s, transposed=False):
    n, c, o = int(rng.integers(1, 5)), *(int(rng.choice([1, 2, 3, 8, 17, 33, 40])) for _ in "co")
    x = values(rng, (n, c * s.groups, *s.size), s.dtype)
    first, second = (c * s.groups, o) if transposed else (o * s.groups, c)
    return x, values(rng, (first, second, *s.kernel), s.dtype), values(rng, o * s.groups, s.dtype)


def conv(rng, s):
    """Plain, forced algorithms, prepacked, a layer; transposed or not."""
    transposed = bool(rng.random() < 0.4)
    x, w, b = conv_arrays(rng, s, transposed)
    options = {"stride": s.stride, "padding": s.padding, "dilation": s.dilation, "groups": s.groups}
    if not transposed:
        options["padding_mode"] = s.mode
    base = f"conv_transpose{s.rank}d" if transposed else f"conv{s.rank}d"
    form = str(rng.choice(["plain", "plain", "forced", "prepack", "layer"]))
    if form == "prepack":
        run = cconv.prepack(w, b, transposed=transposed, **options)
        return Call(f"prepack of {base}", lambda x, out=None: run(x, out=out), [x], True, (0,))
    if form == "layer" and s.dtype.kind == "f":
        make = getattr(cconv, f"{'ConvTranspose' if transposed else 'Conv'}{s.rank}d")
        channels = x.shape[1], b.size
        layer = make(*channels, s.kernel, **options, dtype=s.dtype)
        layer.weight, layer.bias = w, b
        return Call(f"layer of {base}", layer, [x], False, (0,))
    if form == "forced":
        kinds = ["direct", "winograd"] if transposed else ["direct", "winograd", "fft", "fft"]
        options["algorithm"] = str(rng.choice(kinds))
    function = getattr(cconv, base)
    return Call(
        f"{base} {options}",
        lambda x, w, b, out=None: function(x, w, b, out=out, **options),
        [x, w, b],
        True,
        (0,),
    )


def conv_gradient(rng, s):
    transposed, by_weight = bool(rng.random() < 0.4), bool(rng.random() < 0.4)
    x, w, _ = conv_arrays(rng, s, transposed)
    options = {"stride": s.stride, "padding": s.padding, "dilation": s.dilation, "groups": s.groups}
    if not transposed:
        options["padding_mode"] = s.mode
    base = f"conv_transpose{s.rank}d" if transposed else f"conv{s.rank}d"
    gy = values(rng, getattr(cconv, base)(x, w, **options).shape, s.dtype)
    function = getattr(grad, f"{base}_{'weight' if by_weight else 'input'}")
    shape = w.shape if by_weight else x.shape[1:]
    text = f"{function.__name__} {options}"
    if by_weight:
        return Call(
            text,
            lambda x, gy, out=None: function(x, shape, gy, out=out, **options),
            [x, gy],
            True,
            (),
        )
    return Call(
        text,
        lambda w, gy, out=None: function((len(gy), *shape), w, gy, out=out, **options),
        [w, gy],
        True,
        (1,),
    )


def planes(rng, s):
    return values(rng, (int(rng.integers(1, 5)), int(rng.choice([1, 3, 16])), *s.size), s.dtype)


def pool(rng, s):
    x = planes(rng, s)
    kind = str(rng.choice(["max", "avg", "lp"]))
    kernel = s.kernel
    if rng.random() < 0.3:  # large windows are doubled
        kernel = tuple(min(13, max(1, n // 2)) for n in s.size)
    options = {
        "kernel_size": kernel,
        "stride": s.stride,
        "padding": tuple(min(p, k - 1) for p, k in zip(s.padding, kernel, strict=True)),
        "dilation": s.dilation,
        "ceil_mode": bool(rng.random() < 0.3),
    }
    if kind == "lp":
        options["norm_type"] = float(rng.choice([1, 2, 3, np.inf]))
    name = f"{kind}_pool{s.rank}d"
    function = getattr(cconv, name)
    if kind == "max" and rng.random() < 0.4:
        return Call(
            f"{name} with indices {options}",
            lambda x: np.stack(function(x, return_indices=True, **options), 2),
            [x],
            False,
            (0,),
        )
    return Call(
        f"{name} {options}",
        lambda x, out=None: function(x, out=out, **options),
        [x],
        True,
        (0,),
    )


def adaptive(rng, s):
    name = f"adaptive_{rng.choice(['max', 'avg'])}_pool{s.rank}d"
    size = tuple(int(n) for n in rng.integers(1, 9, s.rank))
    function = getattr(cconv, name)
    return Call(
        f"{name} to {size}",
        lambda x, out=None: function(x, size, out=out),
        [planes(rng, s)],
        True,
        (0,),
    )


def pool_gradient(rng, s):
    x = planes(rng, s)
    kind = str(rng.choice(["max_pool", "avg_pool", "lp_pool", "adaptive_avg_pool"]))
    name = f"{kind}{s.rank}d"
    options = {"stride": s.stride, "padding": s.padding, "dilation": s.dilation}
    more = {"max_pool": [s.kernel], "avg_pool": [s.kernel], "lp_pool": [3.0, s.kernel]}.get(kind)
    if more is None:
        more, options = [3], {}
    gy = values(rng, getattr(cconv, name)(x, *more, **options).shape, s.dtype)
    function = getattr(grad, name + "_input")
    by_size = "avg" in kind
    return Call(
        f"{name}_input {more} {options}",
        lambda x, gy, out=None: function(x.shape if by_size else x, gy, *more, out=out, **options),
        [x, gy],
        True,
        (0, 1),
    )


def moved(rng, s):
    """unfold, fold and max_unpool."""
    x = planes(rng, s)
    kind = str(rng.choice(["unfold", "fold", "max_unpool"]))
    window = (s.kernel, s.dilation, s.padding, s.stride)
    if kind == "unfold":
        return Call(f"unfold {window}", lambda x: cconv.unfold(x, *window), [x], False, (0,))
    if kind == "fold":
        return Call(
            f"fold {window}",
            lambda x: cconv.fold(x, s.size, *window),
            [cconv.unfold(x, *window)],
            False,
            (0,),
        )
    y, at = getattr(cconv, f"max_pool{s.rank}d")(x, 2, return_indices=True)
    function = getattr(cconv, f"max_unpool{s.rank}d")
    return Call(
        f"max_unpool{s.rank}d",
        lambda y, at: function(y, at, 2, output_size=s.size),
        [y, at],
        False,
        (0, 1),
    )


def scipy_like(rng, s):
    mode = str(rng.choice(["full", "same"]))
    function = like_scipy.correlate if rng.random() < 0.5 else like_scipy.convolve
    arrays = [values(rng, s.size, s.dtype), values(rng, s.kernel, s.dtype)]
    return Call(
        f"scipy's {function.__name__} {mode}",
        lambda a, b: function(a, b, mode=mode),
        arrays,
        False,
        (),
    )


KINDS = (
    conv, conv, conv, conv_gradient, conv_gradient, pool, adaptive, pool_gradient, moved, scipy_like,
)  # fmt: skip


def draw(rng, dtypes=None):
    """A call that is valid, and its result."""
    while True:
        s = sizes(rng)
        if dtypes is not None:
            s = s._replace(dtype=np.dtype(str(rng.choice(dtypes))))
        try:
            call = KINDS[int(rng.integers(len(KINDS)))](rng, s)
            return call._replace(text=f"{call.text} on {s}"), call.run(*call.arrays)
        except (ValueError, TypeError):
            continue  # windows larger than the input, complex pools, Winograd on integers
