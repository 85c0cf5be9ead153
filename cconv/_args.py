"""Scalars to tuples, shape and dtype checks: every ValueError and TypeError is worded here.

Each sentence says which function and parameter, what was given and what was expected.
"""

from __future__ import annotations

from operator import index

import numpy as np

from ._problem import LIMIT, MODES

ALGORITHMS = ("auto", "direct", "winograd", "fft")


def describe(value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def array(name: str, parameter: str, value) -> np.ndarray:
    """The argument as an ndarray of numbers; anything that NumPy cannot make one of is a TypeError."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: {parameter} is a masked array; fill it first, masks would be lost"
        )
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            value = np.from_dlpack(value)
        a = np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        raise TypeError(
            f"{name}: {parameter} must be an array of numbers, got {describe(value)} ({error})"
        ) from None
    if a.dtype.kind not in "biufc" or a.dtype.char in "gG":
        expected = "real or complex numbers of at most 8 bytes a part"
        raise TypeError(f"{name}: {parameter} must hold {expected}, got dtype {a.dtype}")
    return a


def integer(name: str, parameter: str, value, low: int) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: {parameter} must be an int, got {value!r}")
    try:
        result = index(value)
    except TypeError:
        raise TypeError(f"{name}: {parameter} must be an int, got {describe(value)}") from None
    if result < low:
        raise ValueError(f"{name}: {parameter} must be at least {low}, got {result}")
    if result >= LIMIT:
        raise ValueError(f"{name}: {parameter} must be below 2**62, got {result}")
    return result


def is_sequence(value) -> bool:
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def axes(name: str, parameter: str, value, rank: int, low: int) -> tuple[int, ...]:
    """An int, a sequence of one, or one a spatial axis, as a tuple of `rank`."""
    if not is_sequence(value):
        return (integer(name, parameter, value, low),) * rank
    parts = tuple(integer(name, parameter, v, low) for v in value)
    if len(parts) == 1:
        parts *= rank
    if len(parts) != rank:
        raise ValueError(
            f"{name}: {parameter} must be an int or have {rank} values, got {describe(value)}"
        )
    return parts


def pairs(name: str, value, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding before and after: ints, (before, after) pairs, or a mixture."""
    if not is_sequence(value):
        both = (integer(name, "padding", value, 0),) * rank
        return both, both
    parts = list(value)
    if len(parts) == 1:
        parts *= rank
    if len(parts) != rank:
        raise ValueError(
            f"{name}: padding must be an int or have {rank} values, got {describe(value)}"
        )
    before, after = [], []
    for part in parts:
        if is_sequence(part):
            if len(part) != 2:
                raise ValueError(
                    f"{name}: a padding pair must be (before, after), got {describe(part)}"
                )
            before.append(integer(name, "padding", part[0], 0))
            after.append(integer(name, "padding", part[1], 0))
        else:
            before.append(integer(name, "padding", part, 0))
            after.append(before[-1])
    return tuple(before), tuple(after)


def flag(name: str, parameter: str, value) -> bool:
    if not isinstance(value, (bool, np.bool_, int)):
        raise TypeError(f"{name}: {parameter} must be a bool, got {describe(value)}")
    return bool(value)


def conv_padding(name, padding, rank, stride, dilation, kernel):
    """Padding before and after; "same" pads d(k-1) in all, the smaller half before."""
    if isinstance(padding, str):
        if padding == "valid":
            return (0,) * rank, (0,) * rank
        if padding != "same":
            raise ValueError(
                f"{name}: padding must be ints, pairs, 'same' or 'valid', got {padding!r}"
            )
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return pairs(name, padding, rank)


def three(values, fill: int) -> tuple[int, int, int]:
    """One value an axis as one for each of D, H and W."""
    return (fill,) * (3 - len(values)) + tuple(values)


def batched(name: str, x: np.ndarray, rank: int, parameter: str = "input") -> bool:
    if x.ndim not in (rank + 1, rank + 2):
        space = ", ".join("DHW"[3 - rank :])
        raise ValueError(
            f"{name}: {parameter} must have shape (N, C, {space}) or (C, {space}), got {x.shape}"
        )
    return x.ndim == rank + 2


def spatial(name: str, x: np.ndarray, rank: int, channels: bool = True) -> tuple[int, ...]:
    """The spatial shape; no axis may be empty but the batch."""
    size = x.shape[-rank:]
    if 0 in size or (channels and x.shape[-rank - 1] == 0):
        raise ValueError(
            f"{name}: input of shape {x.shape} is empty; only the batch may have size 0"
        )
    return size


def conv_arrays(name: str, rank: int, x, weight, bias, groups, transposed: bool):
    """The arrays of a convolution, checked against each other; returns them and groups."""
    x = array(name, "input", x)
    weight = array(name, "weight", weight)
    bias = None if bias is None else array(name, "bias", bias)
    conv_weight(name, rank, weight, bias, groups := integer(name, "groups", groups, 1), transposed)
    for parameter, a in (("input", x), ("weight", weight), ("bias", bias)):
        if a is not None and a.dtype.kind == "b":
            raise TypeError(f"{name}: {parameter} must hold numbers, got dtype bool")
    conv_input(name, rank, x, weight.shape, groups, transposed)
    return x, weight, bias, groups


def conv_weight(name, rank, weight, bias, groups, transposed) -> None:
    lead = "in, out/groups" if transposed else "out, in/groups"
    if weight.ndim != rank + 2:
        raise ValueError(
            f"{name}: weight must have {rank + 2} dimensions ({lead}, *kernel), got shape {weight.shape}"
        )
    if weight.size == 0:
        raise ValueError(f"{name}: weight of shape {weight.shape} is empty")
    if weight.shape[0] % groups:
        raise ValueError(
            f"{name}: groups={groups} must divide the {weight.shape[0]} "
            f"{'input' if transposed else 'output'} channels of weight {weight.shape}"
        )
    out = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and bias.shape != (out,):
        raise ValueError(f"{name}: bias must have shape ({out},), got {bias.shape}")


def conv_input(name, rank, x, weight_shape, groups, transposed) -> None:
    batched(name, x, rank)
    channels = x.shape[-rank - 1]
    expected = weight_shape[0] if transposed else weight_shape[1] * groups
    if channels != expected:
        raise ValueError(
            f"{name}: weight of shape {weight_shape} expects {expected} input channels, got input of "
            f"shape {x.shape} with {channels} (groups={groups})"
        )
    spatial(name, x, rank)


def algorithm(name: str, value) -> str:
    if not isinstance(value, str) or value not in ALGORITHMS:
        raise ValueError(
            f"{name}: algorithm must be one of {', '.join(ALGORITHMS)}, got {describe(value)}"
        )
    if value == "fft" and "transpose" in name:
        raise ValueError(f"{name}: algorithm='fft' cannot serve transposed convolutions")
    return value


def fft_serves(name: str, dtype: np.dtype) -> None:
    if dtype.kind != "f":
        raise ValueError(
            f"{name}: algorithm='fft' cannot serve this convolution: it needs float or complex arrays, "
            f"got integers"
        )


def served(name: str, value, plan) -> None:
    if value == "winograd" and not plan.uses_winograd():
        raise ValueError(
            f"{name}: algorithm='winograd' cannot serve this convolution: it needs float weights with "
            f"3 taps along W, 1 or 3 along H, and stride 1"
        )


def padding_mode(name: str, value, before, after, size) -> int:
    if not isinstance(value, str) or value not in MODES:
        raise ValueError(
            f"{name}: padding_mode must be one of {', '.join(MODES)}, got {describe(value)}"
        )
    for b, a, L in zip(before, after, size, strict=True):
        most = {"reflect": L - 1, "circular": L}.get(value)
        if most is not None and max(b, a) > most:
            raise ValueError(
                f"{name}: padding ({b}, {a}) is too large for padding_mode={value!r} and size {L}: "
                f"at most {most}"
            )
    return MODES.index(value)


def conv_out(name, out, size, kernel, dilation, before, after) -> None:
    """Every axis must have an output; all sizes must stay below 2**62."""
    for o, L, k, d, b, a in zip(out, size, kernel, dilation, before, after, strict=True):
        if max(L + b + a, d * (k - 1)) >= LIMIT:
            raise ValueError(
                f"{name}: padding ({b}, {a}), kernel size {k} and dilation {d} are too large"
            )
        if o < 1:
            raise ValueError(
                f"{name}: kernel size {k} with dilation {d} is larger than the padded input: "
                f"{L} + padding ({b}, {a})"
            )


def padded_input(name: str, channels: int, size, before, after) -> None:
    """Positions in the padded input are products of its sizes, those of kernels' buffers somewhat larger."""
    total = channels
    for L, b, a in zip(size, before, after, strict=True):
        total *= L + b + a
    if total >= LIMIT >> 8:
        shape = tuple(L + b + a for L, b, a in zip(size, before, after, strict=True))
        raise ValueError(f"{name}: padding makes an input of size {shape}, which is too large")


def elements(name: str, shape, itemsize: int) -> None:
    total = itemsize
    for n in shape:
        total *= max(1, n)  # NumPy refuses (0, 2**62, 2**62) too
    if total >= LIMIT:
        raise ValueError(f"{name}: the output of shape {tuple(shape)} is too large")


def transposed_out(name, out, padding, size) -> None:
    for o, L in zip(out, size, strict=True):
        if o < 1:
            raise ValueError(
                f"{name}: padding={describe(padding)} leaves no output of an input of size {L}"
            )
        if o >= LIMIT:
            raise ValueError(f"{name}: stride, dilation or output_padding is too large: output {o}")


def reach(name: str, channels: int, out, kernel, dilation, padding) -> None:
    """As `padded_input`: each output sees inputs as far as the kernel reaches."""
    total = channels
    for o, k, d in zip(out, kernel, dilation, strict=True):
        total *= o + d * (k - 1)
    if total >= LIMIT >> 8:
        raise ValueError(
            f"{name}: dilation={describe(dilation)} with padding={describe(padding)} reaches too far for kernels of "
            f"size {tuple(kernel)}"
        )


PHASES_MOST = 1 << 18  # each is planned by itself, in some 30 us


def phases(name, stride, out) -> None:
    """A transposed convolution is one convolution for each position between two inputs."""
    total = 1
    for s, o in zip(stride, out, strict=True):
        total *= min(s, o)
    if total > PHASES_MOST:
        raise ValueError(
            f"{name}: stride {tuple(stride)} is too large, its product must be at most {PHASES_MOST}"
        )


def output_padding(name, value, rank, stride, dilation) -> tuple[int, ...]:
    extra = axes(name, "output_padding", value, rank, 0)
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e >= max(s, d):
            raise ValueError(
                f"{name}: output_padding must be smaller than stride or dilation, got {e} with "
                f"stride {s} and dilation {d}"
            )
    return extra


def overlaps_itself(a: np.ndarray) -> bool:
    """Whether two elements of an array have one address, as those of a broadcast one."""
    axes = sorted((abs(s), n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1)
    span = a.itemsize
    if a.size == 0:
        return False
    for step, n in axes:
        if step < span:
            break
        span += step * (n - 1)
    else:
        return False
    # neither nested nor plainly one address: exotic, so the addresses are counted
    if a.itemsize > 1 and not any(step % a.itemsize for step, _ in axes):
        axes = [(step // a.itemsize, n) for step, n in axes]
        width = 1
    else:
        width = a.itemsize
    if sum(step * (n - 1) for step, n in axes) + width < a.size * width:
        return True
    at = np.zeros(1, np.int64)
    for step, n in [*axes, (1, width)]:
        at = (at[:, None] + np.arange(n, dtype=np.int64) * step).reshape(-1)
    return len(np.unique(at)) < len(at)


def output(name: str, out, dtype, shape) -> None:
    """`out` must be exactly what the function would have returned."""
    if out is None:
        return
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: out must be a numpy.ndarray without a mask, got {type(out).__name__}"
        )
    if out.dtype != dtype:
        raise TypeError(f"{name}: out must have dtype {dtype}, got {out.dtype}")
    if out.shape != tuple(shape):
        raise ValueError(f"{name}: out must have shape {tuple(shape)}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name}: out must be writeable, got a read-only array")
    if overlaps_itself(out):
        raise ValueError(
            f"{name}: out must have an address for each element, got shape {out.shape} with strides {out.strides}"
        )


def pool_array(name: str, x, rank: int) -> np.ndarray:
    x = array(name, "input", x)
    if x.dtype.kind == "c":
        raise TypeError(f"{name}: input must hold real numbers, got dtype {x.dtype}")
    batched(name, x, rank)
    return x


def pool_geometry(name, rank, kernel_size, stride, padding, dilation):
    """Kernel, stride, padding before and after, dilation; padding must be smaller than the window."""
    kernel = axes(name, "kernel_size", kernel_size, rank, 1)
    stride = kernel if stride is None else axes(name, "stride", stride, rank, 1)
    before, after = pairs(name, padding, rank)
    dilation = axes(name, "dilation", dilation, rank, 1)
    for b, a, k, d in zip(before, after, kernel, dilation, strict=True):
        if max(b, a) >= d * (k - 1) + 1:
            raise ValueError(
                f"{name}: padding ({b}, {a}) must be smaller than the window {d * (k - 1) + 1} "
                f"of kernel_size {k} and dilation {d}"
            )
    return kernel, stride, before, after, dilation


def output_size(name: str, value, size, rank: int) -> tuple[int, ...]:
    """Adaptive output size: None keeps an axis."""
    values = tuple(value) if is_sequence(value) else (value,) * rank
    if len(values) == 1:
        values *= rank
    if len(values) != rank:
        raise ValueError(
            f"{name}: output_size must be an int or have {rank} values, got {describe(value)}"
        )
    return tuple(
        L if v is None else integer(name, "output_size", v, 0)
        for v, L in zip(values, size, strict=True)
    )


def divisor(name: str, value):
    if value is None:
        return 0
    value = integer(name, "divisor_override", value, -LIMIT)
    if value == 0:
        raise ValueError(f"{name}: divisor_override must not be 0")
    return value


def norm(name: str, value) -> float:
    if isinstance(value, (bool, np.bool_, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: norm_type must be a number, got {describe(value)}")
    result = float(value)
    if not result > 0:
        raise ValueError(f"{name}: norm_type must be positive, got {describe(value)}")
    return result


def rank_of(name: str, *values) -> int:
    """unfold and fold: the length of the first sequence gives the rank, ints alone mean 2-D."""
    for value in values:
        if is_sequence(value) and len(value) > 1:
            if len(value) > 3:
                raise ValueError(
                    f"{name}: output_size, kernel_size, dilation, padding and stride have at most 3 axes, "
                    f"got {describe(value)}"
                )
            return len(value)
    return 1 if is_sequence(values[0]) else 2


def fold_geometry(name: str, kernel_size, dilation, padding, stride, *output_size) -> None:
    """What of the parameters can be checked before there is an input."""
    rank = rank_of(name, *output_size, kernel_size, dilation, padding, stride)
    axes(name, "kernel_size", kernel_size, rank, 1)
    axes(name, "dilation", dilation, rank, 1)
    axes(name, "stride", stride, rank, 1)
    pairs(name, padding, rank)
    for value in output_size:
        axes(name, "output_size", value, rank, 1)


def fold_input(name: str, x, taps: int, columns: int) -> None:
    if x.ndim not in (2, 3):
        raise ValueError(
            f"{name}: input must have shape (N, C*taps, L) or (C*taps, L), got {x.shape}"
        )
    if x.shape[-2] == 0 or x.shape[-2] % taps:
        raise ValueError(
            f"{name}: input of shape {x.shape} must have a multiple of {taps} rows, the product of "
            f"kernel_size"
        )
    if x.shape[-1] != columns:
        raise ValueError(
            f"{name}: output_size, kernel_size, dilation, padding and stride make {columns} blocks, "
            f"input of shape {x.shape} has {x.shape[-1]}"
        )


def indices(name: str, value, shape):
    a = array(name, "indices", value)
    if a.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices must hold integers, got dtype {a.dtype}")
    if a.shape != shape:
        raise ValueError(f"{name}: indices must have the input's shape {shape}, got {a.shape}")
    return a


def index_range(name: str, flat, plane: int) -> None:
    if flat.size and (int(flat.min()) < 0 or int(flat.max()) >= plane):
        bad = int(flat.min()) if int(flat.min()) < 0 else int(flat.max())
        raise ValueError(
            f"{name}: indices must lie in 0..{plane - 1}, positions in a plane of the output, got {bad}"
        )


def unpool_size(name: str, value, default, stride, shape, rank: int) -> tuple[int, ...]:
    if value is None:
        for o in default:
            if o < 1:
                raise ValueError(f"{name}: padding leaves no output: size {default}")
        return default
    values = list(value) if is_sequence(value) else [value] * rank
    if len(values) == len(shape):
        values = values[-rank:]  # torch takes the whole shape too
    if len(values) != rank:
        raise ValueError(f"{name}: output_size must have {rank} values, got {describe(value)}")
    result = tuple(integer(name, "output_size", v, 1) for v in values)
    for o, d, s in zip(result, default, stride, strict=True):
        if not d - s < o < d + s:
            raise ValueError(
                f"{name}: output_size must be within stride {s} of {d}, exclusive, got {o}"
            )
    return result


def gradient_arrays(name: str, **arrays):
    """Arrays of a gradient, and their common dtype; only real floating-point numbers have one."""
    result = [array(name, parameter, value) for parameter, value in arrays.items()]
    dtype = np.result_type(*result)
    if dtype.kind != "f":
        given = ", ".join(f"{p} {a.dtype}" for p, a in zip(arrays, result, strict=True))
        raise TypeError(f"{name}: gradients are of real floating-point numbers, got {given}")
    return *result, dtype


def stand_in(name: str, parameter: str, value, rank: int, low: int = 0) -> np.ndarray:
    """An array of the given shape without memory, so that shapes are checked as arrays are."""
    if not is_sequence(value) or len(value) not in (rank + 1, rank + 2):
        space = ", ".join("DHW"[3 - rank :])
        raise ValueError(
            f"{name}: {parameter} must be (N, C, {space}) or (C, {space}), got {describe(value)}"
        )
    shape = tuple(integer(name, parameter, n, low) for n in value)
    elements(name, shape, 8)
    return np.broadcast_to(np.float32(0), shape)


def weight_stand_in(name: str, value, rank: int) -> np.ndarray:
    if not is_sequence(value) or len(value) != rank + 2:
        raise ValueError(f"{name}: weight_size must have {rank + 2} values, got {describe(value)}")
    shape = tuple(integer(name, "weight_size", n, 0) for n in value)
    elements(name, shape, 8)
    return np.broadcast_to(np.float32(0), shape)


def grad_output(name: str, grad, shape, what: str) -> None:
    if grad.shape != tuple(shape):
        raise ValueError(
            f"{name}: grad_output must have the shape {tuple(shape)} of the output for {what}, got {grad.shape}"
        )


EXPLAINED = tuple(
    f"{base}{rank}d"
    for base in (
        "conv",
        "conv_transpose",
        "max_pool",
        "avg_pool",
        "lp_pool",
        "adaptive_avg_pool",
        "adaptive_max_pool",
    )
    for rank in (1, 2, 3)
)


def packed_rank(name: str, weight) -> int:
    if weight.ndim not in (3, 4, 5):
        raise ValueError(
            f"{name}: weight must have 3 to 5 dimensions (out, in/groups, *kernel), got shape "
            f"{weight.shape}"
        )
    if weight.dtype.kind == "b":
        raise TypeError(f"{name}: weight must hold numbers, got dtype bool")
    return weight.ndim - 2


def packed_params(name, rank, stride, padding, dilation, mode, transposed, extra, weight) -> None:
    """What of the parameters can be checked before there is an input."""
    stride = axes(name, "stride", stride, rank, 1)
    dilation = axes(name, "dilation", dilation, rank, 1)
    if transposed:
        pairs(name, padding, rank)
        output_padding(name, extra, rank, stride, dilation)
        if mode != "zeros":
            raise ValueError(
                f"{name}: a transposed convolution takes padding_mode='zeros' only, got {mode!r}"
            )
    else:
        conv_padding(name, padding, rank, stride, dilation, weight.shape[2:])
        padding_mode(name, mode, (0,), (0,), (1,))
        if axes(name, "output_padding", extra, rank, 0) != (0,) * rank:
            raise ValueError(f"{name}: output_padding is for transposed=True, got {extra!r}")


def layer_groups(name: str, in_channels: int, out_channels: int, groups: int) -> None:
    for parameter, n in (("in_channels", in_channels), ("out_channels", out_channels)):
        if n % groups:
            raise ValueError(f"{name}: groups={groups} must divide {parameter}={n}")


def layer_dtype(name: str, dtype) -> np.dtype:
    kind = np.dtype(np.float32 if dtype is None else dtype)
    if kind.kind not in "fc" or kind.char in "gG":
        raise TypeError(f"{name}: dtype must be a floating or complex type, got {kind}")
    return kind


def extra_padding(name, shape, value, kernel, stride, padding, dilation) -> tuple[int, ...]:
    """The output padding of a transposed convolution that makes the output `value` large."""
    rank = len(kernel)
    values = tuple(value)[-rank:] if is_sequence(value) else ()
    if len(values) != rank:
        raise ValueError(f"{name}: output_size must have {rank} values, got {describe(value)}")
    stride = axes(name, "stride", stride, rank, 1)
    dilation = axes(name, "dilation", dilation, rank, 1)
    before, after = pairs(name, padding, rank)
    extra = []
    for o, L, k, s, d, b, a in zip(
        values, shape[-rank:], kernel, stride, dilation, before, after, strict=True
    ):
        low = (L - 1) * s - b - a + d * (k - 1) + 1
        if not low <= integer(name, "output_size", o, 1) < low + s:
            raise ValueError(
                f"{name}: output_size must be from {low} to {low + s - 1} for input {L}, got {o}"
            )
        extra.append(o - low)
    return tuple(extra)
