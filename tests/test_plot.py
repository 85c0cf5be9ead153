"""Moving pictures, grids and the summary: right numbers, as many frames as positions, clear errors."""

import subprocess
import sys

import numpy as np
import pytest

import cconv

pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")

from cconv import plot  # noqa: E402
from cconv.plot import _boards, _figures, _moving  # noqa: E402

X = np.random.default_rng(0).integers(0, 9, (6, 7))
W = np.array([[1, 0, -1], [2, 0, -2]])


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"padding": ((1, 0), (2, 1))}, {"dilation": 2}, {"padding": "same"}],
)
def test_conv(tmp_path, options):
    y = plot.animate_conv(X, W, tmp_path / "conv.gif", **options)
    expected = cconv.conv2d(X[None].astype(float), W[None, None].astype(float), **options)[0]
    assert np.array_equal(y, expected)
    with Image.open(tmp_path / "conv.gif") as picture:
        # Pillow joins frames that look alike; these differ by their marks
        assert picture.n_frames == y.size
        first = np.asarray(picture.convert("RGB"), int)
        picture.seek(y.size - 1)
        last = np.asarray(picture.convert("RGB"), int)
        assert first.shape[1] > first.shape[0] > 100
        assert (abs(first - last).sum(2) > 60).mean() > 0.005


@pytest.mark.parametrize("kind", ("max", "avg"))
def test_pool(tmp_path, kind):
    y = plot.animate_pool(X, 3, tmp_path / "pool.gif", 2, 1, kind=kind)
    pool = cconv.max_pool2d if kind == "max" else cconv.avg_pool2d
    assert np.array_equal(y, pool(X[None].astype(float), 3, 2, 1)[0])
    with Image.open(tmp_path / "pool.gif") as picture:
        assert picture.n_frames == y.size


def test_html(tmp_path):
    plot.animate_pool(X, 3, tmp_path / "pool.html")
    text = (tmp_path / "pool.html").read_text()
    assert "<script" in text and "base64" in text


def test_the_window_is_where_it_should_be():
    """Every output is the sum of the marked cells' products."""
    stride, dilation = (2, 1), (1, 2)
    y = cconv.conv2d(X[None].astype(float), W[None, None].astype(float), None, stride, 0, dilation)
    for place in np.ndindex(*y.shape[1:]):
        cells = _boards.cells_of(place, W.shape, stride, dilation)
        assert sum(X[c] * w for c, w in zip(cells, W.ravel(), strict=True)) == y[0][place]


def test_grids():
    layer = cconv.Conv2d(3, 10, 3, rng=0)
    figure = plot.kernels(layer.weight, columns=5)
    assert len([a for a in figure.axes if a.images]) == 10
    figure = plot.feature_maps(layer(np.ones((1, 3, 9, 9), np.float32)))
    assert len([a for a in figure.axes if a.images]) == 10


def test_summary():
    table = plot.summary(
        [cconv.Conv2d(3, 8, 3, groups=1), np.tanh, cconv.ConvTranspose2d(8, 4, 2, 2, bias=False)],
        (2, 3, 10, 10),
    ).splitlines()
    assert table[1].split()[-2:] == ["224", f"{2 * 8 * 64 * 27:,}"]
    assert table[2].split()[0] == "tanh"
    assert table[3].split()[-2:] == ["128", f"{2 * 8 * 64 * 16:,}"]


def test_errors(tmp_path):
    for call, error in (
        (lambda: plot.animate_conv(X, W, "conv.mp4"), ValueError),
        (lambda: plot.animate_conv(X[0], W, "conv.gif"), ValueError),
        (lambda: plot.animate_conv(X, np.ones((9, 9)), "conv.gif"), ValueError),
        (lambda: plot.animate_conv(np.ones((50, 50)), W, "conv.gif"), ValueError),
        (lambda: plot.animate_pool(X, 2, "pool.gif", kind="median"), ValueError),
        (lambda: plot.animate_pool(X, 2, "pool.gif", padding=2), ValueError),
        (lambda: plot.kernels(np.ones(3)), ValueError),
        (lambda: plot.feature_maps(np.ones((2, 3, 4, 4))), ValueError),
    ):
        with pytest.raises(error):
            call()
    program = "import sys; sys.modules['matplotlib'] = None\nfrom cconv import plot\nplot.kernels([[[[1.0]]]])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install cconv[plot]" in done.stderr


def test_the_command(tmp_path):
    command = [sys.executable, "-m", "cconv", "animate"]
    for options, frames in (
        (("conv", "--kernel", "3", "--stride", "2", "-o", "conv.gif"), 9),
        (("max", "--size", "6", "--kernel", "2", "-o", "max.gif"), 9),
        (("avg", "--size", "5", "--padding", "1", "--stride", "2", "-o", "avg.gif"), 9),
    ):
        done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"{frames} steps" in done.stdout
        with Image.open(tmp_path / options[-1]) as picture:
            assert picture.n_frames == frames
    for options in (
        ("conv", "-o", "conv.mp4"), ("conv", "--kernel", "99"), ("conv", "--stride", "0"), ("sum",),
        ("max", "--image", "missing.png"), ("max", "-o", "nowhere/max.gif"),
    ):  # fmt: skip
        done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2, options
        assert done.stderr.count("\n") == 1, done.stderr
    done = subprocess.run(
        [*command, "receptive-field", "--layers", "2", "--stride", "2", "-o", "field.png"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "2 layers: one output sees 7 x 7 pixels, jump 4" in done.stdout, done.stderr
    assert (tmp_path / "field.png").read_bytes().startswith(b"\x89PNG")


def test_the_window_is_seen_over_the_padding(tmp_path, monkeypatch):
    """The mark is drawn over the hatched cells, and every product stands in its cell."""
    frames = []
    monkeypatch.setattr(_moving, "save", lambda figure, draw, *rest: frames.append((figure, draw)))
    plot.animate_conv(X, W, tmp_path / "conv.gif", padding=1)
    figure, draw = frames[0]
    draw(0)
    left, middle = figure.axes[:2]
    marks = [p for p in left.patches if p.get_visible() and not p.get_fill()]
    hatched = [p for p in left.patches if p.get_hatch()]
    assert len(marks) == W.size and hatched
    assert min(m.get_zorder() for m in marks) > max(p.get_zorder() for p in hatched)
    products = np.pad(X, 1)[:2, :3] * W
    shown = [float(t.get_text().split("= ")[1]) for t in middle.texts]
    assert np.array_equal(shown, products.ravel())


def luminance(color):
    c = np.asarray(color[:3])
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_readable_without_colours():
    """WCAG's contrast: black numbers on every cell, and marks against every cell as white or as dark as it gets."""
    import matplotlib
    from matplotlib.colors import to_rgb

    cells = 0.55 * matplotlib.colormaps["cividis"](np.linspace(0, 1, 64))[:, :3] + 0.45
    light = np.array([luminance(c) for c in cells])
    assert ((light + 0.05) / 0.05).min() > 4.5
    assert (np.diff(light) > 0).all()  # lighter is always more
    assert (1.05) / (luminance(to_rgb(_figures.BLUE)) + 0.05) > 4.5
