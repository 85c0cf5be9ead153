"""`python -m cconv`: what it prints, what it writes, and its one line for each mistake."""

import os
import subprocess
import sys

import numpy as np
import pytest

import cconv
from cconv.__main__ import main

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def image_module():
    pytest.importorskip("matplotlib")
    return pytest.importorskip("PIL.Image")


def save(image_module, path, array, **kwargs):
    image_module.fromarray(array).save(path, **kwargs)
    return str(path)


def gradient(H, W):
    ramp = np.add.outer(np.arange(H), np.arange(W)) % 256
    return np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=-1).astype(np.uint8)


def check_error(capsys, argv, *words):
    """Exit code 2, nothing on stdout, and one line on stderr with these words."""
    try:
        code = main(argv)
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.endswith("\n") and captured.err.count("\n") == 1, captured.err
    for word in words:
        assert word in captured.err


def test_info(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    config = cconv.show_config()
    for key in ("version", "isa", "compiler", "threads", "numpy", "python", "platform"):
        assert str(config[key]) in text
    for isa in config["isa_built"]:
        assert isa in text
    assert len(text.splitlines()) == len(config)


def test_info_in_a_process_of_its_own(tmp_path):
    home = os.path.dirname(os.path.dirname(cconv.__file__))
    done = subprocess.run(
        [sys.executable, "-m", "cconv", "info"],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ, CCONV_ISA="baseline", PYTHONPATH=home),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "instruction set  baseline" in done.stdout
    assert done.stderr == ""


def test_demo_on_the_default_picture(tmp_path, capsys, image_module):
    target = tmp_path / "sheet.png"
    assert main(["demo", "-o", str(target)]) == 0
    text = capsys.readouterr().out
    assert "grace_hopper.jpg" in text and "600" in text
    assert "(1, 64, 28, 28)" in text and "(1, 64, 26, 26)" in text and "(1, 64, 14, 14)" in text
    assert " ms" in text and str(target) in text
    with image_module.open(target) as sheet:
        assert sheet.format == "PNG"
        assert min(sheet.size) > 1000
        pixels = np.asarray(sheet.convert("L"))
    assert 20 < pixels.std() < 110  # neither blank nor noise


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("colour.png", gradient(40, 60)),
        ("alpha.png", np.dstack([gradient(50, 40), gradient(50, 40)[..., 0]])),
        ("grey.png", gradient(33, 64)[..., 0]),
        ("sixteen.png", (gradient(40, 40)[..., 0].astype(np.uint16) * 256)),
        ("constant.bmp", np.zeros((32, 32, 3), np.uint8)),
        ("tall.jpg", gradient(1500, 200)),
    ],
)
def test_demo_on_image_files(tmp_path, capsys, image_module, name, array):
    path = save(image_module, tmp_path / name, array)
    target = tmp_path / "sheet.png"
    assert main(["demo", path, "--output", str(target)]) == 0
    assert name in capsys.readouterr().out
    assert target.read_bytes().startswith(PNG)


def test_large_photographs_are_averaged_down(tmp_path, capsys, image_module):
    path = save(image_module, tmp_path / "large.jpg", gradient(1200, 1800))
    assert main(["demo", path, "-o", str(tmp_path / "sheet.png")]) == 0
    assert "1024 x 683 pixels" in capsys.readouterr().out


def test_bad_images(tmp_path, capsys, image_module):
    target = str(tmp_path / "sheet.png")

    def check(path, *words):
        check_error(capsys, ["demo", str(path), "-o", target], str(path), *words)
        assert not os.path.exists(target)

    check(tmp_path / "absent.jpg", "no such file")
    check(tmp_path, "directory")
    text = tmp_path / "text.png"
    text.write_text("this is no picture")
    check(text, "not an image")
    whole = tmp_path / "whole.png"
    save(image_module, whole, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:3000])
    check(cut, "cannot be read")
    check(save(image_module, tmp_path / "tiny.png", gradient(8, 8)), "8x8", "32")
    check(save(image_module, tmp_path / "narrow.png", gradient(40, 4000)), "4000x40")


def test_bad_outputs(tmp_path, capsys):
    check_error(capsys, ["demo", "-o", str(tmp_path)], "directory")
    check_error(capsys, ["demo", "-o", str(tmp_path / "no" / "x.png")], "no folder")
    if os.path.exists("/dev/full"):
        pytest.importorskip("matplotlib")
        pytest.importorskip("PIL.Image")
        assert main(["demo", "-o", "/dev/full"]) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1 and "cannot be written" in captured.err


@pytest.mark.parametrize("missing", ["matplotlib", "PIL"])
def test_missing_extras(tmp_path, capsys, monkeypatch, missing):
    if missing == "PIL":
        pytest.importorskip("matplotlib")
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    check_error(
        capsys, ["demo", "-o", str(tmp_path / "x.png")], missing, "pip install 'cconv[demo]'"
    )


@pytest.mark.parametrize(
    "argv", [[], ["dance"], ["demo", "--size"], ["demo", "a", "b"], ["info", "x"], ["demo", "-o"]]
)
def test_bad_command_lines(capsys, argv):
    check_error(capsys, argv, "--help")


@pytest.mark.parametrize("argv", [["--help"], ["demo", "--help"], ["--version"]])
def test_help(capsys, argv):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 0
    assert "cconv" in capsys.readouterr().out
