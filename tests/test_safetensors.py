"""Weights carried from and to PyTorch: a saved state dict gives the same outputs."""

import subprocess
import sys

import numpy as np
import pytest

import cconv
from cconv.interop.safetensors import load_file, save_file, select

torch = pytest.importorskip("torch")
st = pytest.importorskip("safetensors.torch")


def test_a_torch_network(tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1, groups=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 8, 3, groups=4, bias=False), torch.nn.ReLU(), torch.nn.ConvTranspose2d(8, 4, 4, 2, 1),
    )  # fmt: skip
    path = tmp_path / "network.safetensors"
    st.save_file(network.state_dict(), path)
    arrays = load_file(path)
    layers = [
        cconv.Conv2d(3, 8, 3, padding=1),
        cconv.Conv2d(8, 8, 3, groups=4, bias=False),
        cconv.ConvTranspose2d(8, 4, 4, 2, 1),
    ]
    for number, layer in zip((0, 3, 5), layers, strict=True):
        layer.load_state_dict(select(arrays, str(number)))
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 18)).astype(np.float32)
    y = cconv.max_pool2d(np.maximum(layers[0](x), 0), 2)
    y = layers[2](np.maximum(layers[1](y), 0))
    expected = network(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    # and back
    again = tmp_path / "again.safetensors"
    save_file(arrays, again)
    network.load_state_dict(st.load_file(again))
    assert np.array_equal(network(torch.from_numpy(x)).detach().numpy(), expected)


@pytest.mark.parametrize("ending", ("safetensors", "npz"))
def test_round_trip(tmp_path, ending):
    rng = np.random.default_rng(0)
    arrays = {
        f"a.{dtype}": (rng.standard_normal((3, 4)) * 50).astype(dtype)
        for dtype in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f4")
    }
    arrays["empty"], arrays["scalar"] = np.empty((0, 3), np.float32), np.array(3.0)
    arrays["file"] = np.ones(2)  # a parameter of numpy.savez
    arrays["strided"] = np.arange(12.0).reshape(3, 4)[:, ::2]
    path = tmp_path / f"weights.{ending}"
    save_file(arrays, path)
    loaded = load_file(path)
    assert set(loaded) == set(arrays)
    for name, a in arrays.items():
        assert np.array_equal(loaded[name], a) and loaded[name].dtype == a.dtype.newbyteorder("=")
        assert loaded[name].flags.writeable
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_bfloat16(tmp_path):
    x = torch.randn(5, 7).to(torch.bfloat16)
    st.save_file({"x": x}, tmp_path / "half.safetensors")
    assert np.array_equal(load_file(tmp_path / "half.safetensors")["x"], x.float().numpy())


def test_bad_files(tmp_path):
    for ending in ("safetensors", "npz"):
        path = tmp_path / f"bad.{ending}"
        path.write_bytes(b"not a file of weights")
        with pytest.raises(ValueError, match="bad"):
            load_file(path)
        with pytest.raises(FileNotFoundError):
            load_file(tmp_path / f"missing.{ending}")
        save_file({"x": np.ones(1000)}, path)
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(ValueError, match="bad"):
            load_file(path)
    with pytest.raises(ValueError, match=r"\.pt"):
        load_file("weights.pt")
    with pytest.raises(TypeError):
        save_file({"x": np.array(["text"])}, tmp_path / "x.npz")
    with pytest.raises(TypeError):
        save_file({3: np.ones(2)}, tmp_path / "x.npz")
    with pytest.raises(KeyError, match="conv"):
        select({"a.weight": np.ones(2)}, "conv")
    # an array of objects would be code
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError):
        load_file(tmp_path / "objects.npz")


def test_missing_package_is_named():
    program = (
        "import sys; sys.modules['safetensors'] = None\n"
        "from cconv.interop.safetensors import load_file\nload_file('x.safetensors')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install cconv[safetensors]" in done.stderr
