"""Every parameter of every public function, given what it must refuse: generated from the signatures.

Each is a TypeError, ValueError, MemoryError or OverflowError, one sentence with the function's name, the parameter's
and the value given; arrays and `out` keep their bytes.
"""

import inspect
import re
import warnings

import numpy as np
import pytest

import cconv
from cconv import functional, grad, layers
from cconv.interop import scipy as scipy_door


class Odd:
    def __repr__(self):
        return "<odd>"


NAN = float("nan")
# (what, value) refused by every integer, size or flag; None where the parameter may be None
SCALARS = [
    ("a string", "2"), ("bytes", b"2"), ("an object", Odd()), ("1.5", 1.5), ("1.0", 1.0), ("nan", NAN), ("1j", 1j),
    ("True", True), ("a list too long", [1, 2, 3, 4]), ("an empty list", []), ("nested", [[1, 2, 3], 1]),
    ("a dict", {}),
    ("-1", -1), ("-2**63", -(2**63)), ("2**62", 2**62), ("2**63", 2**63), ("10**30", 10**30), ("None inside", [None]),
    ("a float array", np.array([1.5])), ("a set", {1}),
]  # fmt: skip
ARRAYS = [
    ("None", None), ("a string", "x"), ("an object", Odd()), ("ragged", [[1, 2], [3]]), ("a dict", {}),
    ("text", np.array(["a"])), ("objects", np.array([None])), ("longdouble", np.ones((1, 4, 8, 8), np.longdouble)),
    ("dates", np.zeros((1, 4, 8, 8), "M8[s]")), ("records", np.zeros((1, 4, 8, 8), "f4,f4")),
    ("masked", np.ma.masked_array(np.ones((1, 4, 8, 8), np.float32))), ("a number", 1.0), ("rank 1", np.ones(3)),
    ("rank 7", np.ones((1,) * 7)), ("no elements", np.ones((1, 0, 8, 8))), ("a set", {1, 2}),
]  # fmt: skip
FLAGS = [("text", "yes"), ("None", None), ("1.5", 1.5), ("an object", Odd()), ("a list", [True])]
WORDS = [
    ("a number", 1),
    ("None", None),
    ("unknown", "nothing"),
    ("bytes", b"zeros"),
    ("a list", ["zeros"]),
]
OUTS = [
    ("a list", [1.0]), ("text", "x"), ("a dtype", np.zeros((1, 1), np.int16)),
    ("a shape", np.zeros((9, 9, 9), np.float32)),
    ("masked", np.ma.masked_array(np.zeros((1, 1), np.float32))), ("an object", Odd()),
]  # fmt: skip
ARRAY_NAMES = {"input", "weight", "bias", "indices", "grad_output", "in1", "in2"}
FLAG_NAMES = {"ceil_mode", "return_indices", "count_include_pad", "transposed"}
WORD_NAMES = {"padding_mode", "algorithm", "mode", "method"}
# as the tables say, but these are good values there
GOOD = {
    ("divisor_override", "-1"), ("bias", "None"), ("output_size", "None inside"), ("norm_type", "1.5"),
    ("norm_type", "1.0"), ("norm_type", "2**62"), ("norm_type", "2**63"), ("norm_type", "10**30"),
    ("norm_type", "a float array"),
}  # fmt: skip


def good_arguments(name, parameters):
    """A good call's arguments; the weight fits convolutions and their gradients, the sizes pools."""
    rank = int((re.findall(r"([123])d", name) or [2])[0])
    x = np.ones((1, 4) + (8,) * rank, np.float32)
    w = np.ones((4, 4) + (1,) * rank, np.float32)
    y = np.ones((1, 4) + (4,) * rank, np.float32)
    gradient = name.endswith(("_input", "_weight", "_bias"))
    pools = "pool" in name
    index = np.arange(4**rank).reshape((1, 1) + (4,) * rank)
    values = {
        "input": y if "unpool" in name else x,
        "weight": w, "bias": np.ones(4, np.float32), "grad_output": y if pools else x,
        "input_size": x.shape, "weight_size": w.shape, "indices": np.broadcast_to(index, y.shape),
        "kernel_size": 2, "norm_type": 2, "output_size": (4,) * rank, "in_channels": 4, "out_channels": 4,
        "in1": x, "in2": x, "function": "conv2d", "n": 1,
    }  # fmt: skip
    if "unpool" in name:
        values["output_size"] = (8,) * rank
        if gradient:
            values["grad_output"] = x
    if name == "fold":
        values.update(output_size=(8, 8), input=cconv.unfold(x, 2))
    return {
        p.name: values[p.name]
        for p in parameters
        if p.name in values and (p.default is p.empty or p.name in ("bias",) and not name.startswith("Conv"))
    }  # fmt: skip


def table(parameter):
    if parameter in ARRAY_NAMES:
        return ARRAYS
    if parameter in FLAG_NAMES:
        return FLAGS
    if parameter in WORD_NAMES:
        return WORDS
    return OUTS if parameter == "out" else SCALARS


def cases():
    for module in (functional, grad, scipy_door, layers):
        for name in module.__all__:
            if name == "explain":
                continue
            function = getattr(module, name)
            parameters = list(inspect.signature(function).parameters.values())
            for p in parameters:
                if (
                    p.name in ("dtype", "rng")
                    or module is layers
                    and p.name in ("bias", "divisor_override", *FLAG_NAMES)
                ):
                    continue
                for what, value in table(p.name):
                    if what == "no elements" and ("bias" in name or p.name in ("in1", "in2")):
                        continue  # sums over no channels; SciPy's answer to empty arrays
                    pools = "pool" in name.lower() and "unpool" not in name.lower()
                    if p.name == "stride" and what == "an empty list" and pools:
                        continue  # the size of the window, as in torch
                    if (p.name, what) not in GOOD and not (value is None and p.default is None):
                        yield pytest.param(
                            function, name, p.name, value, id=f"{name}-{p.name}-{what}"
                        )


CASES = list(cases())


@pytest.mark.parametrize("function, name, parameter, value", CASES)
def test_refused(function, name, parameter, value):
    arguments = good_arguments(name, inspect.signature(function).parameters.values())
    arguments[parameter] = value
    arrays = [a for a in arguments.values() if isinstance(a, np.ndarray)]
    before = [a.tobytes() for a in arrays]
    with (
        warnings.catch_warnings(),
        pytest.raises((TypeError, ValueError, MemoryError, OverflowError)) as caught,
    ):
        function(**arguments)
    text = str(caught.value)
    assert text.startswith(name) and "\n" not in text
    words = {"weight_size": ("weight",), "input_size": ("input",), "output_size": ("output",)}
    assert any(w in text for w in (parameter, *words.get(parameter, ()))), text
    scalar = parameter not in (*ARRAY_NAMES, "out")  # of an array the shape or dtype is told
    if scalar and type(value) in (str, bytes, float, bool, complex, int):
        assert repr(value) in text, text
    assert before == [a.tobytes() for a in arrays]


def test_the_good_arguments_are_good():
    for module in (functional, grad, scipy_door, layers):
        for name in module.__all__:
            if name != "explain":
                function = getattr(module, name)
                function(**good_arguments(name, inspect.signature(function).parameters.values()))


def test_there_are_many():
    assert len({(c.values[2], c.id.split("-")[2]) for c in CASES}) >= 150


# ---------------------------------------------------------------- odd arrays: right or refused

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, 2, 6, 6)).astype(np.float32)
W = RNG.standard_normal((2, 2, 3, 3)).astype(np.float32)
B = RNG.standard_normal(2).astype(np.float32)


@pytest.mark.parametrize("call", ["first", "cached", "prepacked"])
def test_out_that_overlaps_itself_is_refused(call):
    out = np.lib.stride_tricks.as_strided(np.zeros(64, np.float32), (1, 2, 4, 4), (0, 16, 4, 4))
    run = (
        cconv.prepack(W) if call == "prepacked" else lambda x, out=None: cconv.conv2d(x, W, out=out)
    )
    if call != "first":
        run(X)
        run(X)
    with pytest.raises(ValueError, match="conv2d: out must have an address"):
        run(X, out=out)
    strided = np.zeros((1, 4, 4, 8), np.float32)[:, ::2, :, ::2]
    assert np.array_equal(run(X, out=strided), run(X))
    crossed = np.lib.stride_tricks.as_strided(
        np.zeros(99, np.float32), (1, 2, 4, 4), (0, 12, 8, 64)
    )
    assert np.array_equal(run(X, out=crossed), run(X))  # not nested, but no address twice


def test_out_on_top_of_weight_or_bias():
    want = cconv.conv2d(X, W, B, padding=(0, 0))
    for which in (0, 1):
        room = np.zeros(64, np.float32)
        w, b = W, B
        if which:
            w = room[:36].reshape(W.shape)
            w[...] = W
        else:
            b = room[5:7]
            b[...] = B
        out = room[:32].reshape(1, 2, 4, 4)
        assert np.array_equal(cconv.conv2d(X, w, b, out=out), want)


def test_files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    want = cconv.conv2d(X, W, B)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.array_equal(cconv.conv2d(x, W, B), want)
    out = np.memmap(tmp_path / "y.bin", np.float32, "w+", shape=want.shape)
    cconv.conv2d(x, W, B, out=out)
    out.flush()
    assert np.array_equal(np.fromfile(tmp_path / "y.bin", np.float32), want.ravel())
    with pytest.raises(ValueError, match="out must be writeable"):
        cconv.conv2d(x, W, B, out=np.memmap(tmp_path / "y.bin", np.float32, "r", shape=want.shape))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_subclasses():
    x = np.matrix(RNG.standard_normal((2, 6)))
    w = RNG.standard_normal((1, 2, 3))
    y = cconv.conv1d(x, w)
    assert type(y) is np.ndarray and np.array_equal(y, cconv.conv1d(np.asarray(x), w))
    assert np.array_equal(
        cconv.max_pool1d(X[0, 0].view(np.recarray), 2), cconv.max_pool1d(X[0, 0], 2)
    )
    with pytest.raises(TypeError, match="out must be a numpy.ndarray without a mask"):
        cconv.conv1d(x, w, out=np.ma.masked_array(np.zeros((1, 4))))
