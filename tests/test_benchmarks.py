"""The benchmarks' own logic: which layers are drawn, how they are written, how figures are summed up."""

from __future__ import annotations

import numpy as np
import pytest

import cconv

drawn = pytest.importorskip("benchmarks.drawn")
layers = pytest.importorskip("benchmarks.layers")
timing = pytest.importorskip("benchmarks.timing")
peers = pytest.importorskip("benchmarks.peers")

LAYERS = [drawn.layer(0, i) for i in range(120)]
SMALL = [layer for layer in LAYERS if drawn.microseconds(layer) < 400][:25]


def test_the_same_seed_draws_the_same_layers_wherever_a_slice_begins():
    assert drawn.layers(0, 5, 4) == LAYERS[5:9]
    assert drawn.layers(1, 0, 4) != LAYERS[:4]


def test_layers_are_within_their_bounds_and_of_every_kind():
    assert all(drawn.serves(layer) for layer in LAYERS)
    assert {layer.op for layer in LAYERS} == set(drawn.OPS)
    assert {layer.kind for layer in LAYERS} >= {
        "1x1", "dense 3", "dense other", "depthwise", "dilated", "few channels", "grouped",
        "pool apart", "pool global", "pool lp", "pool overlapping", "strided", "transposed",
    }  # fmt: skip
    assert {layer.rank for layer in LAYERS} == {1, 2, 3}
    assert any(layer.input[-1] == 1 < layer.input[2] for layer in LAYERS)
    assert any(max(layer.axes("dilation")) > 8 for layer in LAYERS)


def test_only_these_groups():
    assert {layer.op for layer in drawn.layers(0, 0, 5, ("transposed",))} == {"conv_transpose"}
    assert all(layer.pools for layer in drawn.layers(0, 0, 5, ("pool",)))


@pytest.mark.parametrize("layer", [*LAYERS, *layers.LAYERS], ids=lambda layer: layer.name)
def test_a_layer_is_read_as_it_is_written(layer):
    again = layers.parse(layers.text(layer), layer.kind)
    assert again._replace(name="", options={}) == layer._replace(name="", options={})
    for name in layers.DEFAULTS:
        assert again.axes(name) == layer.axes(name)


@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
def test_a_drawn_layer_runs_and_has_the_shape_that_it_says(layer):
    arrays = peers.Arrays(layer)
    call = peers.cconv_call(layer, arrays, cconv.get_num_threads(), False)
    assert call().shape == layer.output()
    assert call().dtype == np.float32


def test_a_global_pool_in_words():
    layer = layers.parse("gavg 1x64x7x9")
    assert (layer.op, layer.weight, layer.kernel) == ("adaptive_avg_pool", (1, 1), (7, 9))
    assert layers.parse("max 1x8x9x9 3x2").axes("stride") == (3, 2)


def test_quantiles():
    values = [float(n) for n in range(10, 0, -1)]
    assert timing.quantile(values, 0.1) == 2
    assert timing.quantile(values, 0.9) == 10
    assert timing.quantile([3.0], 0.9) == 3
    assert timing.quartile(values) == 3
    assert timing.mean([0.5, 2.0]) == pytest.approx(1)
    assert np.isnan(timing.mean([])) and np.isnan(timing.quantile([], 0.5))


def test_a_block_begins_with_an_untimed_call(monkeypatch):
    """Calls of which every one that follows another's is slow: none of the slow ones is seen."""
    clock, last = [0.0], [""]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    waits = []
    monkeypatch.setattr(timing, "quiet", lambda: waits.append(1))

    def call(name):
        clock[0] += 0.001 if last[0] == name else 0.5
        last[0] = name

    found = timing.in_blocks({n: (lambda n=n: call(n)) for n in "ab"}, 2, 0.02)
    assert found == {"a": pytest.approx(1), "b": pytest.approx(1)}
    assert len(waits) >= 6
    waits.clear()
    timing.in_blocks({"a": lambda: call("a")}, 1, 0.02)
    assert not waits


def test_text_between_marks_is_replaced():
    report = pytest.importorskip("benchmarks.report")
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb <!-- y -->"
    assert report.filled(text, "x", "new") == "a\n<!-- x -->\n\nnew\n\n<!-- /x -->\nb <!-- y -->"
    with pytest.raises(AssertionError, match="there is no"):
        report.filled(text, "y", "new")


def test_rates_are_found_again():
    """Costs that are sums of rates times units give back the rates; one that would be too small is the least."""
    calibrate = pytest.importorskip("benchmarks.calibrate")
    units, least = np.random.default_rng(0).random((20, 3)), np.array([0.5, 0, 0])
    found = calibrate.bounded(units, units @ [1.0, 0.5, 0.25], least)
    assert found == pytest.approx([1, 0.5, 0.25])
    assert calibrate.bounded(units, units @ [1.0, 0.5, -0.1], least)[2] == 0
    assert calibrate.bounded(units, units @ [0.1, 0.5, 0.25], least)[0] == 0.5


def test_rates_are_for_the_costs_of_the_plans():
    """Every cost that is fitted is linear in the rates of its group: the sum of its features times them."""
    calibrate = pytest.importorskip("benchmarks.calibrate")
    machine = calibrate.machine_of("float32")
    for kind, names in calibrate.FITTED.items():
        for _, layer, _, _, cost in calibrate.cases(kind, "float32")[:12]:
            p = calibrate.problem(layer)
            units = calibrate.features(p, machine, cost, names)
            total = sum(u * getattr(machine.rates, n) for u, n in zip(units, names, strict=True))
            assert total == pytest.approx(cost(p, machine))


def test_every_form_of_a_row_is_the_same_work():
    shapes = pytest.importorskip("benchmarks.shapes")
    for table, rows in shapes.TABLES.items():
        for name, forms in rows.items():
            read = [layers.parse(text) for text in forms.values()]
            work = {layer.flops(layer.output()) for layer in read}
            assert len(work) == 1, (table, name)
