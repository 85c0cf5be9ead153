"""Programs: filled from the plan's records, run on whatever arrays they are given, and told about."""

import numpy as np
import pytest

import cconv
from cconv import _isa, _problem
from cconv._plan import choose
from cconv._run.conv import ConvProgram
from cconv._run.gradients import PoolGradProgram, WeightGradProgram
from cconv._run.pool import PoolProgram
from cconv._run.runner import set_tracer
from cconv.kernels.job import PoolOp

RNG = np.random.default_rng(3)
ONE, NONE = (1, 1, 1), (0, 0, 0)
PROBLEM = _problem.ConvProblem(
    N=2, G=1, C=6, O=5, size=(1, 11, 13), kernel=(1, 3, 3), stride=ONE, dilation=ONE, before=NONE,
    out=(1, 9, 11), mode=_problem.MODES["zeros"],
)  # fmt: skip
X, W = (
    RNG.standard_normal((2, 6, 11, 13)).astype("f4"),
    RNG.standard_normal((5, 6, 3, 3)).astype("f4"),
)
B = RNG.standard_normal(5).astype("f4")


def program(use=choose.WeightUse.ONCE, change=lambda strategy: strategy):
    strategy = choose.kernels(PROBLEM, _isa.machine("float32"), "direct", use)
    return ConvProgram(change(strategy), 2, True, (2, 5, 9, 11), (5, 6, 3, 3))


def misaligned(a):
    """A copy whose elements lie at odd addresses."""
    return np.frombuffer(bytes(1) + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape)


def spread(a):
    """A copy whose strides are no multiples of its elements."""
    record = np.zeros(a.shape, [("value", a.dtype), ("odd", "u1")])
    record["value"] = a
    return record["value"]


def turned(a):
    return np.ascontiguousarray(a.T).T


FORMS = [np.copy, misaligned, spread, turned, lambda a: np.ascontiguousarray(a[::-1])[::-1]]


@pytest.mark.parametrize("form", FORMS)
def test_any_layout_is_computed(form):
    expected = cconv.conv2d(X, W, B, algorithm="direct")
    run = program()
    assert np.array_equal(run((form(X), form(W), form(B))), expected)
    out = form(np.zeros_like(expected))
    if out.flags.writeable:
        assert run((X, W, B), out) is out
        assert np.array_equal(out, expected)


def test_out_may_be_an_input():
    memory = np.zeros(4000, "f4")
    x, w, out = memory[:1716].reshape(X.shape), memory[1716:1986].reshape(W.shape), memory[700:1690]
    x[...], w[...] = X, W
    expected = cconv.conv2d(X, W)
    assert np.array_equal(program()((x, w, None), out.reshape(expected.shape)), expected)
    w = memory[1686:1956].reshape(W.shape)
    w[...] = W
    assert np.array_equal(program()((X, w, None), out.reshape(expected.shape)), expected)


@pytest.mark.parametrize("use", choose.WeightUse)
def test_prepared_weights_stand_alone(use):
    run, weight = program(use), W.copy()
    prepared = run.prepare(weight)
    weight[...] = 0
    expected = cconv.conv2d(X, W, B, algorithm="direct")
    assert np.array_equal(run.run_prepared(X, prepared, B), expected)
    assert run.layout() == program(use).layout()


def test_a_record_that_is_no_struct_is_refused():
    class Odd:
        """A record with one field too many, or too few."""

        def __init__(self, record, fields):
            self.record, self.fields = record, fields

        def _asdict(self):
            return self.fields

    def change(record):
        def of(strategy):
            return strategy._replace(steps=(strategy.steps[0]._replace(plan=record),))

        return of

    fields = program().strategy.steps[0].plan._asdict()
    for wrong in ({**fields, "tile": 6}, {k: v for k, v in fields.items() if k != "box"}):
        with pytest.raises(TypeError, match="differ in (tile|box)"):
            program(change=change(Odd(None, wrong)))


def test_the_tracer_is_told_of_every_kernel():
    told = []
    set_tracer(lambda *args: told.append(args))
    try:
        run = program()
        run((X, W, None))
        machine = _isa.machine("float64")
        windows = _problem.PoolProblem(
            N=2, C=6, size=(1, 12, 12), kernel=(1, 2, 2), stride=(1, 2, 2), dilation=ONE, before=NONE,
            after=NONE, out=(1, 6, 6), adaptive=False, include_pad=False,
        )  # fmt: skip
        strategy = choose.pool(windows, machine, PoolOp.POOL_MAX, False, 0.0)
        pool = PoolProgram(strategy, 2, True, (2, 6, 6, 6))
        x = RNG.standard_normal((2, 6, 12, 12))
        y = pool((x,))
        grads = PoolGradProgram(
            choose.pool_gradient(windows, machine, PoolOp.POOL_MAX, False, 0.0), 2, True, x.shape
        )
        grads((x, y, None))
        weights = WeightGradProgram(
            choose.weight_gradient(PROBLEM, _isa.machine("float32")), 2, True, W.shape
        )
        weights((X, np.ones((2, 5, 9, 11), "f4")))
    finally:
        set_tracer(None)
    report = run.report()
    assert told[0] == (report["kernel"], "float32", report["workspace"], report["threads"])
    names = [(name, dtype) for name, dtype, *_ in told[1:]]
    assert names == [
        (strategy.kernel.value, "float64"),
        ("pool_grad", "float64"),
        ("weight_grad", "float32"),
    ]
    run((X, W, None))
    assert len(told) == 4


def test_a_tracer_that_raises_ends_the_call():
    def raising(*_):
        raise KeyError("told")

    set_tracer(raising)
    try:
        with pytest.raises(KeyError, match="told"):
            program()((X, W, None))
    finally:
        set_tracer(None)
    assert program()((X, W, None)).shape == (2, 5, 9, 11)


@pytest.mark.parametrize(
    "value",
    [1, (1, 1), [1, 1], np.int64(1), np.array([1, 1]), np.array(1), [np.int32(1)], (np.int8(1), 1)],
)
def test_parameters_that_mean_the_same_find_one_runner(value):
    operation = cconv.functional._conv2d
    first = operation.runner(X, W, None, value, 0, 1, 1, "zeros", None, "auto", None)
    again = operation.runner(X, W, None, value, [0, 0], 1, np.int16(1), "zeros", None, "auto", None)
    assert operation.runner(X, W, None, value, (0, 0), 1, 1, "zeros", None, "auto", None) is again
    assert first is operation.runner(X, W, None, value, 0, 1, 1, "zeros", None, "auto", None)


@pytest.mark.parametrize("value", [True, 1.0, [True, 1], np.True_, [[1, 1]]])
def test_parameters_that_mean_nothing_are_refused_after_good_ones(value):
    cconv.conv2d(X, W, None, 1)
    cconv.conv2d(X, W, None, (1, 1))
    with pytest.raises(TypeError):
        cconv.conv2d(X, W, None, value)
