"""What explain says is what runs: every kernel run is told to a tracer, and compared with what was said before."""

import functools
import inspect
import warnings

import numpy as np
import pytest
from drawn import draw
from fuzz import fuzz_calls
from fuzz.decode import Refused

import cconv
from cconv import _explain, _strategies, functional, grad
from cconv._run.entry import forget
from cconv._run.runner import set_tracer

FUNCTIONS = {
    name: (module, getattr(module, name))
    for module in (functional, grad)
    for name in module.__all__
    if name in _explain.explained()
}


def traced(call):
    """The result of call(), and (kernel, dtype, bytes of workspace, threads) of each kernel that ran."""
    ran = []
    set_tracer(lambda *told: ran.append(told))
    try:
        return call(), ran
    finally:
        set_tracer(None)


def compare(said, result, ran):
    """AssertionError where what was said is not what ran."""
    y = result[0] if isinstance(result, tuple) else result
    assert said["out_shape"] == y.shape and said["dtype"] == str(y.dtype), said
    if said["algorithm"] == "fft" or said["kernel"] == "numpy":
        # blocks that are not finite are computed directly
        assert said["algorithm"] == "fft" or not ran, (said, ran)
        return
    if not ran:  # an empty batch
        assert 0 in y.shape or said["function"].endswith(("_weight", "_input")), said
        return
    told = ran
    if "pool" in said["function"] and said["function"].endswith("_input"):
        told = ran[-1:]  # gradients of norms and adaptive maxima compute the pool first
    elif "pieces" in said["reason"]:
        told = ran[:1]
    assert said["kernel"] == told[0][0], (said, ran)
    kernels = {kernel for kernel, *_ in told}
    assert (said["algorithm"] == "winograd") == ("winograd" in kernels), (said, ran)
    assert {dtype for _, dtype, _, _ in told} == {said["computed_in"]}, (said, ran)
    assert max(size for _, _, size, _ in told) == said["workspace"], (said, ran)
    assert max(threads for *_, threads in told) == said["threads"], (said, ran)


@pytest.fixture
def watched(monkeypatch):
    """Every public function explains itself, and is compared, before it returns; gives what was said."""
    seen = []

    def watch(name, function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            said = cconv.explain(name, *args, **kwargs)
            result, ran = traced(lambda: function(*args, **kwargs))
            compare(said, result, ran)
            seen.append(said)
            return result

        return call

    for name, (module, function) in FUNCTIONS.items():
        wrapped = watch(name, function)
        monkeypatch.setattr(module, name, wrapped)
        if module is functional:
            monkeypatch.setattr(cconv, name, wrapped)
    return seen


def test_drawn_calls(watched):
    """Layers of middling sizes, all functions and dtypes."""
    rng = np.random.default_rng(0)
    for _ in range(700):
        draw(rng)
    dtypes = ["u1", "i2", "u4", "u8", "c16", ">f4", ">i8", "?"]
    for _ in range(500):
        draw(rng, [d for d in dtypes if d != "?"])
    assert len(watched) > 1200
    assert {"gemm", "rows", "phases", "winograd", "pool", "pool_grad", "weight_grad", "numpy.fft"} <= {
        said["kernel"] for said in watched
    }  # fmt: skip
    assert {"float32", "float64", "int32", "int64"} <= {said["computed_in"] for said in watched}
    assert any("as floats" in said["reason"] for said in watched)


def test_fuzzed_calls(watched):
    """Odd arrays and parameters, and errors: those of explain are those of the call."""
    rng = np.random.default_rng(1)
    for _ in range(2500):
        call, _ = fuzz_calls.decode(rng.bytes(60))
        call.via = "call"
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                fuzz_calls.run(call)
            except (*fuzz_calls.ALLOWED, Refused):
                continue
    assert len({said["function"] for said in watched}) > 40 and len(watched) > 800


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_error_is_that_of_the_call(name):
    arguments = {
        p.name: p.default if p.default is not p.empty else np.ones((1, 1, 1))
        for p in inspect.signature(FUNCTIONS[name][1]).parameters.values()
    }
    arguments["grad_output" if "grad_output" in arguments else "input"] = "text"
    with pytest.raises(TypeError) as called:
        FUNCTIONS[name][1](**arguments)
    with pytest.raises(TypeError) as explained:
        cconv.explain(name, **arguments)
    assert str(called.value) == str(explained.value)


def test_a_lie_is_seen(watched, monkeypatch):
    """The comparison is not blind."""
    x, w = np.ones((1, 64, 30, 30), np.int32), np.ones((64, 64, 3, 3), np.int32)
    cconv.conv2d(x, w)
    assert "as floats" in watched[-1]["reason"]
    monkeypatch.setattr(
        _strategies.Ranging, "delegate", lambda self, arrays: (self.floats[1][1], arrays)
    )
    said = cconv.explain("conv2d", x, w)
    monkeypatch.undo()
    result, ran = traced(lambda: cconv.conv2d(x, w))
    with pytest.raises(AssertionError):
        compare(said, result, ran)
    for key, lie in (
        ("kernel", "rows"),
        ("workspace", 1),
        ("computed_in", "float16"),
        ("algorithm", "winograd"),
    ):
        with pytest.raises(AssertionError):
            compare({**cconv.explain("conv2d", x, w), key: lie}, result, ran)


# ---------------------------------------------------------------- what was once wrong


def test_wide_averages():
    x = np.zeros((1, 1, 128, 128), np.float32)
    assert cconv.explain("avg_pool2d", x, 64, 64)["computed_in"] == "float64"
    assert cconv.explain("avg_pool2d", x, 2, 2)["computed_in"] == "float32"
    assert cconv.explain("adaptive_avg_pool2d", x, 1)["computed_in"] == "float64"
    assert cconv.explain("lp_pool2d", x, 2.0, 64)["computed_in"] == "float64"


def test_norms():
    x = np.zeros((1, 1, 8, 8), np.float32)
    assert "maxim" not in cconv.explain("lp_pool2d", x, 2.0, 2)["reason"]
    said = cconv.explain("lp_pool2d", x.astype(np.int16), np.inf, 2)
    assert said["computed_in"] == said["dtype"] == "float64" and "inf" in said["reason"]


def test_integers_and_complex():
    x, w = np.ones((1, 64, 30, 30), np.int32), np.ones((64, 64, 3, 3), np.int32)
    small = cconv.explain("conv2d", x, w)
    assert small["computed_in"] == "float32" and small["dtype"] == "int32"
    assert cconv.explain("conv2d", x * 1000, w * 1000)["computed_in"] == "float64"
    assert cconv.explain("conv2d", x * 2**30, w * 2**30)["computed_in"] == "int32"
    said = cconv.explain("conv2d", x.astype("c8"), w.astype("c8"))
    assert said["computed_in"] == "float32" and said["dtype"] == "complex64"
    assert "twice" in said["reason"]


def test_pieces():
    x = np.zeros((1, 32, 600, 600), np.float16)
    said = cconv.explain("conv2d", x, np.zeros((32, 32, 3, 3), np.float16), padding=1)
    assert "pieces" in said["reason"] and said["computed_in"] == "float32"
    assert said["out_shape"] == (1, 32, 600, 600)


def test_gradients_are_explained():
    x, w = np.zeros((1, 8, 20, 20), np.float32), np.zeros((8, 8, 3, 3), np.float32)
    y = cconv.conv2d(x, w)
    assert cconv.explain(grad.conv2d_weight, x, w.shape, y)["kernel"] == "weight_grad"
    assert cconv.explain(grad.conv2d_bias, y)["kernel"] == "numpy"
    assert cconv.explain("conv2d_input", x.shape, w, y)["out_shape"] == x.shape
    names = {name for name in grad.__all__} - set(_explain.explained())
    assert not names


@pytest.fixture(autouse=True)
def fresh_runners():
    forget()
