"""The training run: beside torch step by step, to the promised accuracy, and from where it was stopped."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")

from cconv import _train
from cconv.interop.safetensors import load_file

COMMAND = [sys.executable, "-m", "cconv", "train"]


def command(folder, *options):
    return subprocess.run([*COMMAND, *options], cwd=folder, capture_output=True, text=True)


def torch_network(torch, run):
    """The same network in torch, from the same start."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 16, 3, padding=1)
            self.conv2 = torch.nn.Conv2d(16, 64, 3, padding=1)
            self.linear = torch.nn.Linear(256, 10)

        def forward(self, x):
            F = torch.nn.functional
            x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
            x = F.avg_pool2d(torch.relu(self.conv2(x)), 2)
            return self.linear(x.flatten(1))

    net = Net().double()
    start = {n: torch.from_numpy(p.copy()) for n, p in run.network.parameters().items()}
    net.load_state_dict(start)
    return net


def test_thirty_steps_beside_torch():
    torch = pytest.importorskip("torch")
    run = _train.Run(seed=3, batch=32, rate=0.003, dtype=np.float64)
    net = torch_network(torch, run)
    adam = torch.optim.Adam(net.parameters(), lr=0.003)
    for step in range(30):
        images, labels = (torch.from_numpy(a) for a in run.batch_of(step))
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        assert run.step() == pytest.approx(loss.item(), rel=1e-8)
    assert run.losses[-1] < 0.9 * run.losses[0]
    for name, parameter in net.state_dict().items():
        np.testing.assert_allclose(
            run.network.parameters()[name], parameter.numpy(), rtol=1e-6, atol=1e-9
        )


def test_the_command(tmp_path):
    start = time.perf_counter()
    done = command(tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 60
    lines = [line for line in done.stdout.splitlines() if line.startswith("epoch")]
    assert len(lines) == 60
    assert float(lines[-1].split()[-1].rstrip("%")) >= 97
    arrays = load_file(tmp_path / "cconv-digits.npz")
    assert arrays["conv2.weight"].shape == (64, 16, 3, 3)
    from PIL import Image

    with Image.open(tmp_path / "cconv-train.png") as picture:
        assert picture.size == (1400, 1200)
        assert len(set(picture.convert("L").resize((140, 120)).tobytes())) > 50


def test_seed_and_resume_give_the_same_numbers(tmp_path):
    pytest.importorskip("safetensors")
    options = ("--seed", "5", "--batch", "64")
    whole = command(tmp_path, *options, "--epochs", "4", "--weights", "whole.safetensors")
    assert whole.returncode == 0, whole.stderr
    part = command(tmp_path, *options, "--epochs", "2", "--weights", "part.safetensors")
    assert part.returncode == 0
    rest = command(
        tmp_path, "--resume", "part.safetensors", "--epochs", "4", "--weights", "rest.safetensors"
    )
    assert "resumed part.safetensors at step 46, seed 5" in rest.stdout
    a, b = (load_file(tmp_path / f"{n}.safetensors") for n in ("whole", "rest"))
    assert set(a) == set(b)
    for name in a:
        assert np.array_equal(a[name], b[name]), name
    other = command(tmp_path, "--seed", "6", "--batch", "64", "--epochs", "1")
    assert other.stdout.splitlines()[1] != whole.stdout.splitlines()[1]


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for one process on Windows")
def test_interrupt_saves(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "--epochs", "100000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch   2"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "--resume cconv-digits.npz" in out
    steps = len(load_file(tmp_path / "cconv-digits.npz")["run.losses"])
    assert steps >= 180
    done = command(tmp_path, "--resume", "cconv-digits.npz", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    assert f"at step {steps}" in done.stdout


def test_errors_are_one_line(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"no weights")
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    for options, word in (
        (("--resume", "missing.npz"), "missing.npz"),
        (("--resume", "bad.npz"), "bad.npz"),
        (("--resume", "other.npz"), "run.settings"),
        (("--weights", "weights.pt"), ".npz"),
        (("--weights", "nowhere/weights.npz"), "nowhere"),
        (("-o", "picture.jpg"), ".png"),
        (("--epochs", "0"), "--epochs"),
        (("--rate", "nan"), "--rate"),
        (("--seed", "-1"), "--seed"),
        (("--batch", "many"), "--batch"),
    ):
        done = command(tmp_path, *options)
        assert done.returncode == 2, options
        assert done.stderr.count("\n") == 1 and word in done.stderr, (options, done.stderr)
    program = "import sys; sys.modules['sklearn'] = None\nfrom cconv.__main__ import main\nsys.exit(main(['train']))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2 and "cconv[train]" in done.stderr and done.stderr.count("\n") == 1
