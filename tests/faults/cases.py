"""Calls that reach every place where memory is asked for: name -> (arrays, function of them)."""

import ctypes

import numpy as np

import cconv
from cconv import grad

RNG = np.random.default_rng(0)


def values(*shape, dtype="f4"):
    a = RNG.standard_normal(shape) * 9
    return (a + 1j * a if np.dtype(dtype).kind == "c" else a).astype(dtype)


def conv(x, w, b=None, function=cconv.conv2d, **options):
    arrays = [x, w] if b is None else [x, w, b]
    return arrays, lambda *given: function(*given, **options)


def pool(function, x, *args, **options):
    return [x], lambda x: function(x, *args, **options)


def turned():
    return np.empty((38, 38, 2, 36), "f4").transpose(2, 3, 0, 1)


def prepacked(x, w, **options):
    return [x, w], lambda x, w: cconv.prepack(w, **options)(x)


class Spec(ctypes.Structure):
    """cconv_conv_spec of cconv.h."""

    _fields_ = [(name, ctypes.c_int) for name in ("dtype", "rank", "transposed", "mode")]
    _fields_ += [
        (name, ctypes.c_ssize_t) for name in ("batch", "in_channels", "out_channels", "groups")
    ]
    _fields_ += [
        (name, ctypes.c_ssize_t * 3)
        for name in ("input", "kernel", "stride", "before", "after", "dilation", "extra", "output")
    ]


def capi_functions():
    """conv_init, conv_run, conv_pack, conv_run_packed, conv_free_packed, conv_free of cconv.h's table."""
    from cconv import capi

    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = (ctypes.c_void_p * 9).from_address(get(capi.table, b"cconv.capi.table"))
    pointer = ctypes.c_void_p
    kinds = (2, 6, 3, 6, -1, -1)  # number of arguments; -1: one, and no result
    for address, n in zip(table[2:8], kinds, strict=True):
        arguments = [pointer] * (abs(n) - (n == 6)) + [ctypes.c_int] * (n == 6)
        yield ctypes.PYFUNCTYPE(None if n < 0 else ctypes.c_int, *arguments)(address)


def by_capi(x, w, transposed):
    """conv2d of floats through the C interface, packed and not; its status for no memory is a MemoryError."""
    init, run, pack, run_packed, free_packed, free = capi_functions()
    out = w.shape[1] if transposed else w.shape[0]
    spec = Spec(0, 2, transposed, 0, x.shape[0], x.shape[1], out, 1)
    for name, values in (("input", x.shape[2:]), ("kernel", w.shape[2:]), ("stride", (1, 1)),
                         ("dilation", (1, 1))):  # fmt: skip
        getattr(spec, name)[:2] = values
    if transposed:
        spec.stride[:2] = 2, 2

    def check(status):
        assert status in (0, 2), status
        if status:
            raise MemoryError

    def call(x, w):
        plan, packed = ctypes.c_void_p(), ctypes.c_void_p()
        try:
            check(init(ctypes.addressof(spec), ctypes.addressof(plan)))
            y, z = np.empty((2, x.shape[0], out, *spec.output[:2]), "f4")
            check(run(plan, x.ctypes.data, w.ctypes.data, None, y.ctypes.data, 1))
            check(pack(plan, w.ctypes.data, ctypes.addressof(packed)))
            check(run_packed(plan, x.ctypes.data, packed, None, z.ctypes.data, 1))
            return y, z
        finally:
            free_packed(packed)
            free(plan)

    return [x, w], call


def cases():
    x, w, b = values(2, 32, 40, 40), values(36, 32, 3, 3), values(36)
    big = values(1, 8, 300, 300)  # its results are large enough to be kept and reused
    line, taps = values(2, 2, 9000), values(2, 2, 4001)
    up = values(32, 8, 4, 4)
    y = values(2, 36, 40, 40)
    half, ints, cplx = x.astype("f2"), x.astype("i2"), values(2, 8, 80, 80, dtype="c8")
    small = values(1, 3, 9, 9)
    top, at = cconv.max_pool2d(x, 2, return_indices=True)
    found = {
        "gemm": conv(x, w, b, padding=1, algorithm="direct"),
        "winograd": conv(x, w, b, padding=1, algorithm="winograd"),
        "dilated winograd": conv(x, w, padding=2, dilation=2, algorithm="winograd"),
        "small": conv(small, values(2, 3, 3, 3), padding_mode="reflect", padding=1),
        "strided out": ([x, w], lambda x, w: cconv.conv2d(x, w, out=turned())),
        "strided": conv(x[:, :, ::2, ::-1], w),
        "depthwise": conv(big, values(8, 1, 3, 3), groups=8),
        "large result": conv(big, values(4, 8, 3, 3), padding=1),
        "misaligned": conv(np.frombuffer(bytes(1) + x.tobytes(), np.uint8)[1:].view("f4").reshape(x.shape), w),
        "fft": conv(line, taps, function=cconv.conv1d, algorithm="fft"),
        "transposed": conv(x, up, function=cconv.conv_transpose2d, stride=2, padding=1),
        "float16": conv(half, w.astype("f2"), b.astype("f2"), padding=1),
        "mixed": conv(x, w.astype("f8"), padding=1),
        "byte-swapped": conv(x.astype(">f4"), w),
        "integers": conv(ints, w.astype("i2")),
        "large integers": conv(ints.astype("i8") << 40, w.astype("i8")),
        "complex": conv(cplx, values(4, 8, 3, 3, dtype="c8"), values(4, dtype="c8")),
        "prepack": prepacked(x, w, padding=1),
        "prepack fft": prepacked(line, taps),
        "prepack transposed": prepacked(x, up, stride=2, transposed=True),
        "max pool": pool(cconv.max_pool2d, x, 3, 2, 1),
        "max pool indices": pool(cconv.max_pool2d, x, 3, return_indices=True),
        "max pool uint64": pool(cconv.max_pool2d, ints.astype("u8"), 3),
        "max pool float16": pool(cconv.max_pool2d, half, 3),
        "large pool": pool(cconv.max_pool2d, big, 9, 1, 4),
        "avg pool": pool(cconv.avg_pool2d, x, 3, ceil_mode=True),
        "avg pool int": pool(cconv.avg_pool2d, ints, 3),
        "lp pool": pool(cconv.lp_pool2d, x, 3, 3),
        "adaptive avg": pool(cconv.adaptive_avg_pool2d, x, 7),
        "adaptive max": pool(cconv.adaptive_max_pool2d, x, 7, return_indices=True),
        "unpool": ([top, at], lambda v, i: cconv.max_unpool2d(v, i, 2)),
        "unfold": pool(cconv.unfold, small, 3, padding=1),
        "fold": pool(cconv.fold, cconv.unfold(small, 3), (9, 9), 3),
        "input gradient": ([w, y], lambda w, y: grad.conv2d_input(x.shape, w, y, padding=1)),
        "input gradient, stacked": (
            [values(4, 2, 64), values(2, 4, 100)],
            lambda w, y: grad.conv1d_input((2, 2, 64 + 99 * 16), w, y, stride=16),
        ),
        "weight gradient": ([x, y], lambda x, y: grad.conv2d_weight(x, w.shape, y, padding=1)),
        "weight gradient float16": (
            [half, y.astype("f2")],
            lambda x, y: grad.conv2d_weight(x, w.shape, y, padding=1),
        ),
        "max gradient": ([x, top], lambda x, y: grad.max_pool2d_input(x, y, 2)),
        "avg gradient": ([top], lambda y: grad.avg_pool2d_input(x.shape, y, 2)),
        "capi": by_capi(x, w, 0),
        "capi transposed": by_capi(x, up, 1),
        "layer": ([x], cconv.Conv2d(32, 8, 3, rng=0)),
    }  # fmt: skip
    return found


def bits(result):
    return [r.tobytes() for r in (result if isinstance(result, tuple) else (result,))]
