"""The choice and the cost models: pure, so judged on integers alone; what a kernel lays out, on its programs."""

import random
import re
from pathlib import Path

import pytest

import cconv
from cconv import _problem
from cconv._plan import direct, fft, pieces, pool, weight_grad, winograd
from cconv._plan.choose import (
    Converted,
    Direct,
    Doubled,
    Dtypes,
    Fft,
    Folded,
    Kernel,
    Machine,
    Pieces,
    Powers,
    Ranged,
    Shifted,
    Stacked,
    WeightUse,
    any_average,
    any_convolution,
    any_maximum,
    any_norm,
    average_in,
    conv_input_gradient,
    convolution,
    kernels,
    transposed,
    weight_gradient,
)
from cconv._plan.choose import pool as choose_pool
from cconv.kernels.job import PadMode, PoolOp


def machine(dtype="float32", lanes=16, tile_rows=14):
    itemsize = int(re.sub(r"\D", "", dtype)) // 8
    return Machine(dtype, itemsize, lanes * 4 // itemsize or 1, tile_rows, "test")


AVX2, AVX512 = machine("float32", 8, 6), machine("float32", 16, 14)
MACHINES = [AVX2, AVX512, machine("float32", 4, 6), machine("float32", 1, 6)]
ALGORITHMS = ("auto", "direct", "winograd")
PROMISED = 32 * 2**20  # bytes of workspace of a thread
ONE, NONE = (1, 1, 1), (0, 0, 0)


def conv_problem(n, groups, c, o, size, kernel, stride, dilation, before, after, mode):
    axes = zip(size, kernel, stride, dilation, before, after, strict=True)
    out = tuple(_problem.conv_size(*axis) for axis in axes)
    return _problem.normal(
        _problem.ConvProblem(n, groups, c, o, size, kernel, stride, dilation, before, out, mode)
    )


def layer(c, o, size, kernel, stride=1, padding=None, groups=1, n=1, dilation=ONE):
    size = (1,) * (3 - len(size)) + size
    kernel = (1,) * (3 - len(kernel)) + kernel
    stride = tuple(stride if k > 1 or L > 1 else 1 for k, L in zip(kernel, size, strict=True))
    pad = tuple(k // 2 if padding is None else min(padding, k - 1) for k in kernel)
    return conv_problem(
        n, groups, c, o, size, kernel, stride, dilation, pad, pad, PadMode.PAD_ZEROS
    )


def random_problem(rng):
    while True:
        rank = rng.randint(1, 3)
        size = tuple(
            rng.choice([1, 2, 7, 14, 31, 56, 224, 1500][: 9 - 2 * rank]) for _ in range(rank)
        )
        kernel = tuple(rng.choice([1, 2, 3, 3, 5, 7, 15, 31]) for _ in range(rank))
        p = layer(
            rng.choice([1, 3, 32, 64, 513]), rng.choice([1, 4, 32, 64, 515]), size, kernel,
            rng.choice([1, 1, 2, 3]), None, rng.choice([1, 1, 32]), rng.choice([1, 1, 8]),
        )  # fmt: skip
        if min(p.out) > 0:
            return p


def large_problems():
    """Many channels and taps, reaching dilations."""
    windows = (ONE, (1, 3, 3), (3, 3, 3), (1, 31, 31), (1, 1, 4001), (1, 600, 600), (9, 9, 9))
    for C in (1, 3, 64, 1000, 5000):
        for O in (1, 64, 5000):
            for kernel in windows:
                for dilation in (1, 7, 999):
                    size = tuple(dilation * (k - 1) + 40 if k > 1 else 40 for k in kernel)
                    p = conv_problem(
                        1, 1, C, O, size, kernel, (1, 2, 2), (dilation,) * 3, (0, 1, 1), (0, 1, 1),
                        PadMode.PAD_ZEROS,
                    )  # fmt: skip
                    yield p
                    if kernel == (3, 3, 3):
                        yield p._replace(
                            stride=ONE, dilation=ONE, size=(40, 60, 60), out=(1, 58, 58)
                        )


def space(step, m):
    """Bytes of slab, panels and sums of a step, without the slack around them."""
    p, plan = step.problem, step.plan
    if step.kernel is Kernel.WINOGRAD:
        positions = plan.patch * plan.high
        return plan.panels * m.panel * positions * (p.C * p.kernel[0] + p.O) * m.itemsize
    slab = plan.c_block * plan.channel
    panels = plan.panels * m.panel * plan.c_block * plan.t_block
    return (slab + panels) * m.itemsize


# ---------------------------------------------------------------- workspace


@pytest.mark.parametrize("m", MACHINES)
def test_slab_and_panels_stay_within_the_promise(m):
    rng = random.Random(m.lanes)
    for _ in range(300):
        p = random_problem(rng)
        for algorithm in ALGORITHMS:
            for step in kernels(p, m, algorithm, WeightUse.KEPT).steps:
                assert space(step, m) <= PROMISED - 2**20, (p, step)
                if step.kernel is not Kernel.WINOGRAD:
                    assert min(step.plan.boxes) >= 1
        plan = fft.fft(p, m)
        size = _problem.volume(plan.block) * 2 * m.itemsize
        assert (
            plan.channels == plan.outputs == 1
            or size * plan.channels * (1 + plan.outputs) <= PROMISED
        )


def test_slab_and_panels_of_large_problems():
    for m in (AVX2, machine("float64", 8, 6), machine("float32", 16, 6)):
        for p in large_problems():
            for step in kernels(p, m, "auto", WeightUse.KEPT).steps:
                assert space(step, m) <= PROMISED - 2**20, (p, step)


def workspace(p, m, algorithm):
    """Bytes of one thread, as the kernels lay them out."""
    from cconv._run.conv import ConvProgram

    strategy = kernels(p, m, algorithm, WeightUse.KEPT)
    shapes = (p.N, p.G * p.O, *p.out), (p.G * p.O, p.C, *p.kernel)
    report = ConvProgram(strategy, 3, True, *shapes).report()
    return report["workspace"] / report["threads"]


def test_the_workspace_of_a_thread_stays_within_the_promise():
    from cconv import _isa

    rng = random.Random(1)
    for dtype in ("float32", "float64", "int32"):
        m = _isa.machine(dtype)
        for _ in range(100):
            p = random_problem(rng)
            for algorithm in ALGORITHMS:
                assert workspace(p, m, algorithm) <= PROMISED, (p, algorithm)
        for p in large_problems():
            assert workspace(p, m, "auto") <= PROMISED, p


@pytest.mark.parametrize("m", [*MACHINES, machine("float64", 8, 6), machine("float64", 16, 14)])
def test_a_weight_gradient_stays_within_the_promise(m):
    """One large image: beside the result only the kernels' workspace and the chunks of sums."""
    for k, c, o in ((3, 64, 64), (15, 3, 16), (1, 512, 512), (3, 1, 1)):
        p = layer(c, o, (1500, 1500), (k, k))
        found = weight_gradient(p, m)
        slab, plan = found.slab, found.plan
        positions = slab.samples * _problem.volume(slab.box)
        width = max(m.panel, -(-slab.o_block // m.panel) * m.panel)
        size = slab.c_block * (slab.channel + k * k * max(width, slab.o_block * m.lanes))
        size += width * max(positions, slab.samples * slab.box[0] * slab.box[1] * plan.run)
        assert size * m.itemsize <= PROMISED, found
        assert plan.chunks * c * o * k * k * m.itemsize <= 16 * 2**20


# ---------------------------------------------------------------- records


def struct_fields(name):
    """The fields of a struct of kernels/job.pxd, by name, with their lengths."""
    path = Path(cconv.__file__).parent / "kernels/job.pxd"
    if not path.exists():  # an installed wheel has no sources of Cython
        path = Path(__file__).parent.parent / "source/cconv/kernels/job.pxd"
    text = path.read_text()
    body = re.search(rf"cdef struct {name}:\n((?:    .*\n|\n)+)", text).group(1)
    declared = " ".join(line.split("#")[0] for line in body.splitlines())
    words = re.sub(r"\b(Py_ssize_t|int|double)\b", ",", declared)
    found = re.findall(r"(\w+)(?:\[(\d)\])?", words)
    return {field: int(length or 0) for field, length in found}


@pytest.mark.parametrize(
    ("record", "struct"),
    [
        (_problem.ConvProblem, "ConvSizes"),
        (direct.DirectPlan, "ConvTiling"),
        (winograd.WinogradPlan, "WinogradTiling"),
        (weight_grad.WeightGradPlan, "WeightGradTiling"),
        (_problem.PoolProblem, "PoolSizes"),
        (pool.PoolPlan, "PoolTiling"),
        (pool.PoolGradPlan, "PoolGradTiling"),
    ],
)
def test_records_bear_the_names_of_the_structs(record, struct):
    assert sorted(record._fields) == sorted(struct_fields(struct))


# ---------------------------------------------------------------- convolutions


@pytest.mark.parametrize("m", [AVX2, AVX512])
def test_the_algorithm_does_not_depend_on_the_batch(m):
    rng = random.Random(m.lanes)
    for _ in range(300):
        p = random_problem(rng)._replace(N=1)
        for use in WeightUse:
            found = set()
            for n in (1, 3, 64):
                steps = kernels(p._replace(N=n), m, "auto", use).steps
                found.add(tuple(
                    (step.kernel, *(getattr(step.plan, name, 0) for name in ("patch", "c_block", "t_block")))
                    for step in steps
                ))  # fmt: skip
            assert len(found) == 1
            assert len({fft.pays(p._replace(N=n), m) for n in (1, 3, 64)}) == 1


@pytest.mark.parametrize("m", [AVX2, AVX512])
def test_what_is_chosen_when(m):
    def chosen(p, use=WeightUse.KEPT):
        (step,) = kernels(p, m, "auto", use).steps
        return step.kernel, getattr(step.plan, "patch", 0)

    assert chosen(layer(64, 64, (56, 56), (3, 3))) == (Kernel.WINOGRAD, 6)
    assert chosen(layer(64, 64, (56, 56), (3, 3)), WeightUse.ONCE) == (Kernel.WINOGRAD, 6)
    assert chosen(layer(64, 64, (8, 56, 56), (3, 3, 3))) == (Kernel.WINOGRAD, 6)
    # few patches and many weights: F(2) reads less than half of them
    assert chosen(layer(512, 512, (7, 7), (3, 3))) == (Kernel.WINOGRAD, 4)
    # too few channels for the error of F(4)
    assert chosen(layer(16, 64, (56, 56), (3, 3)))[1] in (0, 4)
    assert chosen(layer(64, 128, (56, 56), (3, 3), stride=2)) == (Kernel.GEMM, 0)
    assert chosen(layer(64, 256, (56, 56), (1, 1))) == (Kernel.GEMM, 0)
    assert chosen(layer(1, 1, (56, 56), (3, 3), groups=144)) == (Kernel.ROWS, 0)
    assert chosen(layer(1, 1, (14, 14), (3, 3), groups=144)) == (Kernel.LANES, 0)
    assert chosen(layer(1, 1, (56, 56), (3, 3), stride=2, groups=144)) == (Kernel.LANES, 0)
    assert chosen(layer(4, 4, (14, 14), (3, 3), groups=32)) == (Kernel.LANES, 0)
    # one group would leave all lanes but one without work
    assert chosen(layer(1, 1, (28, 28), (3, 3))) == (Kernel.ROWS, 0)
    assert chosen(layer(4, 4, (1, 99_999), (1, 2), dilation=(1, 1, 99_998))) != (Kernel.TAPS, 0)
    far = layer(4, 4, (1, 9_999_999), (1, 2), dilation=(1, 1, 9_999_900))
    assert chosen(far) == (Kernel.GEMM, 0)
    many = layer(4, 4, (1, 400_000_000), (1, 3_000_000), dilation=(1, 1, 100))
    assert chosen(many) == (Kernel.TAPS, 0)


@pytest.mark.parametrize(
    ("size", "channels", "kernel", "panelled", "flat"),
    [
        ((32, 64), 8, (5, 5), False, False),
        ((32, 64), 256, (5, 5), False, False),
        ((28, 20), 40, (3, 3), False, True),
        ((7, 7), 128, (5, 5), True, False),
    ],
)
def test_rows_that_fill_vectors_are_read_in_place(size, channels, kernel, panelled, flat):
    found = kernels(layer(64, channels, size, kernel), AVX512, "direct", WeightUse.KEPT)
    plan = found.steps[0].plan
    assert (plan.panelled, plan.flat) == (panelled, flat)
    assert plan.panelled == (plan.panels > 0)


@pytest.mark.parametrize("m", [AVX2, AVX512])
def test_slabs_do_not_grow_with_the_dilation(m):
    sizes = {}
    for d in (1, 16, 64, 1024, 65536):
        out = (1, 60, 700)
        size = (1, 60 + 2 * d, 700 + 2 * d)
        p = layer(16, 16, size, (1, 3, 3), padding=0, dilation=(1, d, d))
        assert p.out == out
        plan = kernels(p, m, "direct", WeightUse.KEPT).steps[0].plan
        sizes[d] = plan.channel / _problem.volume(plan.box)
    assert max(sizes.values()) <= 9.2


def test_integers_are_summed_as_they_are():
    p = layer(64, 64, (56, 56), (3, 3))
    for algorithm in (*ALGORITHMS, "fft"):
        assert kernels(p, machine("int32"), algorithm, WeightUse.KEPT).algorithm == "direct"


def test_pointwise_layers_are_flat():
    found = kernels(layer(64, 64, (56, 56), (1, 1)), AVX512, "auto", WeightUse.ONCE)
    assert found.axes[1:] == (2, 2) and found.steps[0].problem.size == (1, 1, 56 * 56)
    found = kernels(layer(64, 64, (56, 56), (1, 1), stride=2), AVX512, "auto", WeightUse.ONCE)
    assert found.axes == (0, 1, 2)


@pytest.mark.parametrize("m", [AVX2, AVX512])
def test_weights_are_packed_where_many_items_share_them(m):
    p = layer(64, 64, (14, 14), (3, 3))
    for use, fused in ((WeightUse.ONCE, True), (WeightUse.BATCH, True), (WeightUse.KEPT, False)):
        assert winograd.winograd(p, 6, m, use).fused == fused
        assert not winograd.winograd(p._replace(N=64), 6, m, use).fused


def test_dilated_layers_are_interleaved_for_winograd():
    p = layer(64, 64, (56, 56), (3, 3), dilation=(1, 2, 2))
    found = kernels(p, AVX512, "auto", WeightUse.KEPT)
    assert found.algorithm == "winograd" and len(found.steps) == 4 and found.weights == (None,)
    assert {step.first for step in found.steps} == {(0, y, x) for y in (0, 1) for x in (0, 1)}
    assert found.reason.endswith("in 4 parts")
    assert len(kernels(p, AVX512, "direct", WeightUse.KEPT).steps) == 1


def test_phases_are_one_product():
    whole = layer(64, 64, (28, 28), (4, 4), padding=0)
    whole = whole._replace(stride=(1, 2, 2), before=NONE, out=NONE)
    found = transposed(whole, NONE, (1, 58, 58), AVX512, "auto", WeightUse.ONCE)
    (step,) = found.steps
    assert step.kernel is Kernel.PHASES and step.plan.slab.phases == 4 and found.weights == (None,)
    # without padding all phases read the same 2 x 2 inputs; with it, 28 positions are fewer than 29
    assert step.plan.up.groups == 1 and step.problem.out == (1, 29, 29)
    padded = transposed(whole, (0, 1, 1), (1, 56, 56), AVX512, "auto", WeightUse.ONCE).steps[0]
    assert padded.plan.up.groups == 4 and padded.problem.out == (1, 28, 28)
    # a single input is one position, whatever the stride
    single = whole._replace(size=ONE, stride=ONE)
    found = transposed(single, NONE, (1, 4, 4), AVX512, "auto", WeightUse.ONCE)
    assert found.steps[0].problem.out == ONE and found.steps[0].plan.slab.phases == 16
    # stride 1: a convolution with its taps reversed
    whole = whole._replace(stride=ONE, kernel=(1, 3, 3))
    found = transposed(whole, NONE, (1, 30, 30), AVX512, "direct", WeightUse.ONCE)
    assert len(found.steps) == 1 and found.weights == (tuple(range(8, -1, -1)),)
    # dilated phases have inputs of their own
    whole = whole._replace(stride=(1, 2, 2), dilation=(1, 7, 7))
    found = transposed(whole, NONE, (1, 69, 69), AVX512, "direct", WeightUse.ONCE)
    assert all(step.kernel is Kernel.GEMM for step in found.steps)
    # every tap of the weights belongs to one phase
    assert sorted(t for taps in found.weights for t in taps) == list(range(9))


@pytest.mark.parametrize("m", MACHINES)
def test_sums_of_phases_stay_within_the_promise(m):
    from cconv._plan.phases import phased

    rng = random.Random(m.lanes)
    for _ in range(300):
        p = random_problem(rng)
        stride = tuple(rng.choice((1, 2, 3, 16, 500)) for _ in range(3))
        out = tuple(
            _problem.transposed_size(L, k, s, 1, 0, 0, 0)
            for L, k, s in zip(p.size, p.kernel, stride, strict=True)
        )
        found = phased(p._replace(stride=stride, dilation=ONE, before=NONE, out=NONE), NONE, out, m)
        if found is not None:
            slab, count = found.slab, _problem.volume(found.up.stride)
            size = slab.c_block * (slab.channel + slab.t_block * slab.panels * m.panel)
            size += found.up.held * slab.o_block * count * slab.dense
            assert size * m.itemsize <= PROMISED - 2**20, (p, found)


def test_weights_are_packed_where_that_is_repaid():
    for size in ((14, 14), (56, 56)):  # of a call's own weights: where many positions read them
        for use in WeightUse:
            step = kernels(layer(64, 64, size, (5, 5)), AVX512, "direct", use).steps[0]
            assert step.plan.packed == (use is not WeightUse.ONCE or size == (56, 56))
    p = layer(1, 1, (56, 56), (5, 5), groups=8)
    assert not kernels(p, AVX512, "direct", WeightUse.KEPT).steps[0].plan.packed


def test_fft_is_for_large_kernels():
    m = AVX512
    assert fft.pays(layer(1, 1, (160_000,), (4_001,)), m)
    assert not fft.pays(layer(1, 1, (160_000,), (101,)), m)
    assert not fft.pays(layer(64, 64, (56, 56), (3, 3)), m)
    p = layer(1, 1, (160_000,), (4_001,))
    assert isinstance(convolution(p, m, "auto", WeightUse.ONCE), Fft)
    assert isinstance(convolution(p, m, "direct", WeightUse.ONCE), Direct)
    assert isinstance(convolution(p._replace(N=0), m, "fft", WeightUse.ONCE), Direct)


def test_transform_lengths():
    for n in (1, 2, 7, 31, 97, 1000, 4097, 159_999):
        length = fft.length(n)
        assert n <= length <= 1.35 * n + 1
        for prime in (2, 3, 5):
            while length % prime == 0:
                length //= prime
        assert length == 1


def test_long_strides_are_stacked():
    p = layer(16, 8, (40000,), (4000,), stride=1600, padding=0)
    found = conv_input_gradient(p, NONE, AVX512)
    assert isinstance(found, Stacked) and found.taps == 3
    assert found.inner.whole.O == 1600 * 16
    assert isinstance(
        conv_input_gradient(layer(16, 8, (400,), (4,), stride=2), NONE, AVX512), Direct
    )
    p = layer(4, 4, (8, 8), (3, 3))._replace(mode=PadMode.PAD_REFLECT)
    found = conv_input_gradient(p, (0, 1, 1), AVX512)
    assert isinstance(found, Folded) and found.inner.steps[0].problem.out == (1, 10, 10)


# ---------------------------------------------------------------- pools


def square_pool(k, s, L=64, c=8, n=1):
    out = (L - k) // s + 1
    return _problem.PoolProblem(
        n, c, (1, L, L), (1, k, k), (1, s, s), ONE, NONE, NONE, (1, out, out), False, True
    )


def test_large_windows_are_doubled():
    def plan(k, s):
        found, _ = pool.pool_plan(square_pool(k, s), AVX2, False)
        return found

    assert plan(31, 1).doubled == (0, 1, 1)
    assert plan(3, 1).doubled == plan(2, 2).doubled == plan(8, 8).doubled == (0, 0, 0)
    assert pool.wide((1, 64, 64), (1, 64, 64)) and not pool.wide((1, 31, 31), (1, 1, 1))


def test_indices_are_found_by_taps():
    p = square_pool(3, 2)
    assert choose_pool(p, AVX2, PoolOp.POOL_MAX, True, 0.0).plan.tapped
    p = _problem.adaptive(1, 1, (1, 64, 64), (1, 5, 5))
    found = choose_pool(p, AVX2, PoolOp.POOL_MAX, True, 0.0).plan
    assert not found.tapped and not found.kept and found.rows == 1


# ---------------------------------------------------------------- element types


def test_what_is_computed_in_what():
    p = layer(16, 16, (28, 28), (3, 3))
    pad = (0, 1, 1)

    def chosen(p, result, computed_in, as_given=True):
        dtypes = Dtypes(result, computed_in, as_given)
        return any_convolution(p, pad, dtypes, machine, "auto", WeightUse.ONCE)

    assert isinstance(chosen(p, "float32", "float32"), Direct)
    found = chosen(p, "float32", "float32", False)  # of mixed arrays
    assert isinstance(found, Converted) and found.computed_in == "float32"
    assert isinstance(chosen(p, "float16", "float32"), Converted)
    found = chosen(p, "complex64", "float32")
    assert isinstance(found, Doubled) and found.inner.whole.C == 32
    # too little work to look at the range of integers
    small = layer(2, 2, (8, 8), (3, 3))
    assert isinstance(chosen(small, "int32", "int32"), Direct)
    assert isinstance(chosen(small, "int8", "int32"), Converted)
    found = chosen(layer(64, 64, (28, 28), (3, 3)), "int8", "int32")
    assert isinstance(found, Ranged) and isinstance(found.exact, Converted)
    assert [(most, inner.machine.dtype) for most, inner in found.floats] == [
        (2**24, "float32"),
        (2**53, "float64"),
    ]


def test_what_is_converted_is_cut():
    def chosen(p, after, result="float16", as_given=True):
        dtypes = Dtypes(result, "float32", as_given)
        return any_convolution(p, after, dtypes, machine, "auto", WeightUse.ONCE)

    batch = layer(16, 16, (224, 224), (3, 3), n=8)
    found = chosen(batch, (0, 1, 1))
    assert isinstance(found, Pieces) and isinstance(found.inner, Converted)
    assert [piece.samples for piece in found.pieces] == [(n, n + 2) for n in range(0, 8, 2)]
    image = layer(16, 16, (1500, 1500), (3, 3))
    found = chosen(image, (0, 1, 1))
    assert found.pieces[0].outputs[0] == 0 and found.pieces[-1].outputs[1] == 1500
    for before, after in zip(found.pieces, found.pieces[1:], strict=False):
        assert before.axis == 1 and before.outputs[1] == after.outputs[0]
    assert found.pieces[0].padding == (1, 0) and found.pieces[-1].padding == (0, 1)
    assert isinstance(chosen(image, (0, 1, 1), "float32"), Direct)
    p, _ = pieces.conv_piece(image, (0, 1, 1), found.pieces[0])
    assert p.size[1] == found.pieces[0].inputs[1] and p.out[1] == found.pieces[0].outputs[1]


def test_element_types_of_pools():
    p = square_pool(3, 2)
    assert isinstance(any_maximum(p, Dtypes("uint64", "int64", True), machine, False), Shifted)
    assert isinstance(any_maximum(p, Dtypes("int8", "int32", True), machine, False), Converted)
    found = any_norm(p, Dtypes("float32", "float32", True), machine, float("inf"))
    assert isinstance(found, Powers) and found.inner.op == PoolOp.POOL_MAX
    wide = average_in("float32", (1, 64, 64), (1, 64, 64))
    assert wide == "float64" and average_in("float32", (1, 3, 3), ONE) == "float32"
    found = any_average(square_pool(64, 64), Dtypes("float32", wide, True), machine, 0.0)
    assert isinstance(found, Converted) and found.inner.machine.dtype == "float64"
    # a row that is too long for one item, though nothing is converted
    line = (1, 1, 2**20)
    out = (1, 1, 2**20 - 2)
    p = _problem.PoolProblem(1, 1, line, (1, 1, 3), ONE, ONE, NONE, NONE, out, False, True)
    assert isinstance(any_maximum(p, Dtypes("float32", "float32", True), machine, False), Pieces)
