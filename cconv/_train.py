"""`python -m cconv train`: a small LeNet learns handwritten digits, with cconv's layers and plain NumPy.

    image (1, 8, 8) -> conv 3x3, ReLU -> max pool 2 -> conv 3x3, ReLU -> average pool 2 -> linear -> 10 digits

The loss is the softmax cross-entropy, the optimiser Adam (Kingma and Ba, 2015). The names of the weights are those of
a torch network with the attributes conv1, conv2 and linear. Everything that a run depends on (weights, moments, step,
seed) is in its file, and an epoch's order of images follows from seed and epoch: a resumed run has the same numbers as
one that was never stopped.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cconv
from cconv.interop.safetensors import load_file, save_file

Array = NDArray[Any]

HELD_OUT = 360  # images that are never trained on
DIGITS = 10
DECAY = 0.95  # of Adam's rate, an epoch


class TrainError(Exception):
    """What went wrong, as the one line that the user reads."""


# ---------------------------------------------------------------- the data


def digits(seed: int, dtype: Any = np.float32) -> tuple[Array, Array, Array, Array]:
    """scikit-learn's 1,797 digits: images (N, 1, 8, 8) in 0..1 and labels, to train on and held out.

    Raises
    ------
    TrainError
        If an extra is not installed.
    """
    try:
        import matplotlib  # noqa: F401  draws the picture; better missed now than after the work
        import tqdm  # noqa: F401  the same
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise TrainError(
            f"training needs {error.name or 'scikit-learn, tqdm and matplotlib'}: "
            "pip install 'cconv[train]'"
        ) from None
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 1, 8, 8).astype(dtype)
    order = np.random.default_rng([seed, 1]).permutation(len(labels))
    test, train = order[:HELD_OUT], order[HELD_OUT:]
    return images[train], labels[train], images[test], labels[test]


# ---------------------------------------------------------------- the network


class Network:
    """The layers, forward and backward."""

    def __init__(self, seed: int = 0, dtype: Any = np.float32) -> None:
        rng = np.random.default_rng([seed, 0])
        self.conv1 = cconv.Conv2d(1, 16, 3, padding=1, dtype=dtype, rng=rng)
        self.pool1 = cconv.MaxPool2d(2)
        self.conv2 = cconv.Conv2d(16, 64, 3, padding=1, dtype=dtype, rng=rng)
        self.pool2 = cconv.AvgPool2d(2)
        inputs = 64 * 2 * 2
        bound = 1 / np.sqrt(inputs)
        self.weight = rng.uniform(-bound, bound, (DIGITS, inputs)).astype(dtype)
        self.bias = rng.uniform(-bound, bound, DIGITS).astype(dtype)

    def parameters(self) -> dict[str, Array]:
        """The arrays that are learned, to be changed in place."""
        found = {
            f"{name}.{key}": getattr(getattr(self, name), key)
            for name in ("conv1", "conv2")
            for key in ("weight", "bias")
        }
        return found | {"linear.weight": self.weight, "linear.bias": self.bias}

    def forward(self, images: Array) -> Array:
        """Scores (N, 10)."""
        self.first = np.maximum(self.conv1(images), 0)
        self.second = np.maximum(self.conv2(self.pool1(self.first)), 0)
        self.flat = self.pool2(self.second).reshape(len(images), -1)
        result: Array = self.flat @ self.weight.T + self.bias
        return result

    def step(self, images: Array, labels: Array) -> tuple[float, dict[str, Array]]:
        """The mean loss of a batch, and its gradients by the parameters."""
        scores = self.forward(images)
        loss, grad = cross_entropy(scores, labels)
        grads = {"linear.weight": grad.T @ self.flat, "linear.bias": grad.sum(0)}
        grad = self.pool2.backward((grad @ self.weight).reshape(len(images), -1, 2, 2))
        grad = self.pool1.backward(self.conv2.backward(grad * (self.second > 0)))
        self.conv1.backward(grad * (self.first > 0), needs_input_grad=False)
        for name in ("conv1", "conv2"):
            layer = getattr(self, name)
            grads[f"{name}.weight"], grads[f"{name}.bias"] = layer.weight_grad, layer.bias_grad
        return loss, grads


def cross_entropy(scores: Array, labels: Array) -> tuple[float, Array]:
    """Mean softmax cross-entropy and its gradient by the scores."""
    rows = np.arange(len(labels))
    shifted = scores - scores.max(1, keepdims=True)
    exponents = np.exp(shifted)
    sums = exponents.sum(1, keepdims=True)
    loss = float(np.mean(np.log(sums[:, 0]) - shifted[rows, labels]))
    grad = exponents / sums
    grad[rows, labels] -= 1
    return loss, grad / len(labels)


class Adam:
    """Adam with torch's defaults but for the rate."""

    def __init__(self, parameters: dict[str, Array], rate: float) -> None:
        self.parameters, self.rate, self.steps = parameters, rate, 0
        self.mean = {name: np.zeros_like(p) for name, p in parameters.items()}
        self.square = {name: np.zeros_like(p) for name, p in parameters.items()}

    def step(self, grads: dict[str, Array]) -> None:
        self.steps += 1
        rate = self.rate / (1 - 0.9**self.steps)
        correction = 1 / np.sqrt(1 - 0.999**self.steps)
        for name, p in self.parameters.items():
            grad, mean, square = grads[name], self.mean[name], self.square[name]
            mean += 0.1 * (grad - mean)
            square += 0.001 * (grad * grad - square)
            p -= rate * mean / (np.sqrt(square) * correction + 1e-8)


# ---------------------------------------------------------------- a run


class Run:
    """A training run: the network, its optimiser and what happened so far."""

    def __init__(self, seed: int, batch: int, rate: float, dtype: Any = np.float32) -> None:
        self.seed, self.batch, self.rate, self.dtype = seed, batch, rate, dtype
        self.network = Network(seed, dtype)
        self.adam = Adam(self.network.parameters(), rate)
        self.kernels = self.network.conv1.weight.copy()  # as they were, for the picture
        self.losses: list[float] = []
        self.accuracies: list[float] = []
        self.data = digits(seed, dtype)

    @property
    def epoch_steps(self) -> int:
        return -(-len(self.data[0]) // self.batch)

    def batch_of(self, step: int) -> tuple[Array, Array]:
        """Images and labels of a step, by seed and epoch."""
        epoch, at = divmod(step, self.epoch_steps)
        order = np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.data[0]))
        chosen = order[at * self.batch : (at + 1) * self.batch]
        return self.data[0][chosen], self.data[1][chosen]

    def step(self) -> float:
        """One step; its loss."""
        loss, grads = self.network.step(*self.batch_of(len(self.losses)))
        self.adam.rate = self.rate * DECAY ** (len(self.losses) // self.epoch_steps)
        self.adam.step(grads)
        self.losses.append(loss)
        return loss

    def predictions(self) -> Array:
        result: Array = self.network.forward(self.data[2]).argmax(1)
        return result

    def accuracy(self) -> float:
        """Share of the held-out images that are told right."""
        return float(np.mean(self.predictions() == self.data[3]))

    def save(self, path: str) -> None:
        arrays: dict[str, Array] = dict(self.network.parameters())
        for kind in ("mean", "square"):
            arrays |= {f"adam.{kind}.{n}": a for n, a in getattr(self.adam, kind).items()}
        arrays["run.first_kernels"] = self.kernels
        arrays["run.losses"] = np.array(self.losses, np.float64)
        arrays["run.accuracies"] = np.array(self.accuracies, np.float64)
        arrays["run.settings"] = np.array([self.seed, self.batch], np.int64)
        arrays["run.rate"] = np.array(self.rate, np.float64)
        try:
            save_file(arrays, path)
        except (OSError, ValueError, ImportError) as error:
            raise TrainError(f"cannot write {path}: {error}") from None

    @classmethod
    def load(cls, path: str) -> Run:
        try:
            arrays = load_file(path)
            seed, batch = (int(n) for n in arrays["run.settings"])
            run = cls(seed, batch, float(arrays["run.rate"]), arrays["conv1.weight"].dtype)
            targets = {n: p for n, p in run.network.parameters().items()}
            for kind in ("mean", "square"):
                targets |= {f"adam.{kind}.{n}": a for n, a in getattr(run.adam, kind).items()}
            for name, target in targets.items():
                if arrays[name].shape != target.shape:
                    raise ValueError(f"{name} has the shape {arrays[name].shape}")
                target[...] = arrays[name]
            run.kernels = arrays["run.first_kernels"]
            run.losses = [float(loss) for loss in arrays["run.losses"]]
            run.accuracies = [float(a) for a in arrays["run.accuracies"]]
        except KeyError as error:
            raise TrainError(f"cannot resume from {path}: it has no {error}") from None
        except (OSError, ValueError, TypeError, ImportError) as error:
            raise TrainError(f"cannot resume from {path}: {error}") from None
        run.adam.steps = len(run.losses)
        return run


def train(run: Run, epochs: int, say: Any = print) -> bool:
    """Steps until `epochs` are done, with a progress bar; False if Ctrl-C came, which lets a step end."""
    from tqdm import tqdm

    stop = False

    def interrupt(number: int, frame: Any) -> None:
        nonlocal stop
        stop = True
        signal.signal(signal.SIGINT, before)  # a second one ends at once

    before = signal.signal(signal.SIGINT, interrupt)
    total = epochs * run.epoch_steps
    try:
        with tqdm(
            total=total, initial=min(len(run.losses), total), unit="step", disable=None
        ) as bar:
            while len(run.losses) < total and not stop:
                loss = run.step()
                bar.update()
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                if len(run.losses) % run.epoch_steps == 0:
                    run.accuracies.append(run.accuracy())
                    mean = np.mean(run.losses[-run.epoch_steps :])
                    line = (
                        f"epoch {len(run.accuracies):3}  loss {mean:.4f}  "
                        f"held-out accuracy {run.accuracies[-1]:.1%}"
                    )
                    bar.clear()
                    say(line, flush=True)
    finally:
        signal.signal(signal.SIGINT, before)
    return not stop


def run(
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
    weights: str,
    output: str,
    resume: str | None,
) -> int:
    """The command; returns its exit code, 130 after Ctrl-C."""
    if os.path.splitext(weights)[1] not in (".npz", ".safetensors"):
        raise TrainError(f"--weights must end with .npz or .safetensors, got {weights!r}")
    if not output.lower().endswith(".png"):
        raise TrainError(f"the picture's name must end with .png, got {output!r}")
    for path in (weights, output):
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise TrainError(f"there is no folder {folder!r} to write {path!r} to")
    start = time.perf_counter()
    if resume is None:
        state = Run(seed, batch, rate)
    else:
        state = Run.load(resume)
        print(f"resumed {resume} at step {len(state.losses)}, seed {state.seed}")
    print(
        f"{len(state.data[1])} images to train on, {len(state.data[3])} held out; "
        f"{sum(p.size for p in state.network.parameters().values())} weights; "
        f"{cconv.get_num_threads()} threads"
    )
    done = train(state, epochs)
    state.save(weights)
    print(f"{time.perf_counter() - start:.1f} s; weights: {weights}")
    if not done:
        print(f"stopped at step {len(state.losses)}; go on with --resume {weights}")
        return 130
    draw(state, output)
    print(f"held-out accuracy {state.accuracy():.1%}; picture: {output}")
    return 0


# ---------------------------------------------------------------- the picture


def draw(run: Run, path: str) -> None:
    """Loss curve, first kernels before and after, feature maps of a digit, confusion matrix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 12), layout="constrained")
    FigureCanvasAgg(figure)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(5, 4, 4))
    curve, confusion = top.subplots(1, 2, width_ratios=(3, 2))
    draw_curve(run, curve)
    draw_confusion(run, confusion)
    kernels = np.concatenate([run.kernels[:, 0], run.network.conv1.weight[:, 0]])
    limit = float(abs(kernels).max())
    middle.suptitle("first layer's kernels: before training above, after it below")
    pictures(middle, kernels, 16, "RdBu", (-limit, limit))
    digit = run.data[2][:1]
    run.network.forward(digit)
    first, second = run.network.first[0], run.network.second[0]
    maps = [digit[0, 0], *first[:15], *second[:16]]
    bottom.suptitle(
        f"a {run.data[3][0]}, feature maps of it after the first layer (8 x 8), below after the second (4 x 4)"
    )
    pictures(bottom, maps, 16, "gray", None)
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise TrainError(f"cannot write {path}: {error}") from None


def draw_curve(run: Run, axes: Any) -> None:
    axes.plot(np.arange(1, len(run.losses) + 1), run.losses, color="tab:blue", lw=0.7, label="loss")
    axes.set(
        xlabel="step", ylabel="loss of a batch", title="loss and held-out accuracy", yscale="log"
    )
    right = axes.twinx()
    steps = np.arange(1, len(run.accuracies) + 1) * run.epoch_steps
    right.plot(steps, 100 * np.array(run.accuracies), "o-", color="tab:orange", ms=3)
    right.set(
        ylabel="held-out accuracy / %", ylim=(min([90.0, *(100 * np.array(run.accuracies))]), 100)
    )


def draw_confusion(run: Run, axes: Any) -> None:
    table = np.zeros((DIGITS, DIGITS), int)
    np.add.at(table, (run.data[3], run.predictions()), 1)
    axes.imshow(np.sqrt(table), cmap="Blues")
    for i, j in np.ndindex(table.shape):
        if table[i, j]:
            color = "white" if i == j else "black"
            axes.text(j, i, table[i, j], ha="center", va="center", color=color, fontsize=8)
    axes.set(xlabel="told", ylabel="is", xticks=range(DIGITS), yticks=range(DIGITS))
    axes.set_title(f"{HELD_OUT} held-out images: {run.accuracy():.1%} right")


def pictures(figure: Any, images: Any, columns: int, cmap: str, limits: Any) -> None:
    grid = figure.subplots(-(-len(images) // columns), columns)
    for axes in grid.flat:
        axes.axis("off")
    low, high = limits or (None, None)
    for axes, image in zip(grid.flat, images, strict=False):
        axes.imshow(image, cmap=cmap, vmin=low, vmax=high)
