"""The command line: `python -m cconv demo [IMAGE]`, `... train`, `... animate {conv,max,avg,...}`, `... convert`,
`... run`, `... profile` and `... info`.

Whatever the user can put right is one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

import cconv


class Parser(argparse.ArgumentParser):
    """argparse, but with one line for an error and not the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def number(low: int) -> Callable[[str], int]:
    """Return an argparse type: an int from `low` on."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = -1
        if not low <= value < 2**62:
            raise argparse.ArgumentTypeError(f"must be an int from {low} on, got {text!r}")
        return value

    return convert


def rate(text: str) -> float:
    """A positive, finite float, as an argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return value


def parser() -> Parser:
    """Return the parser of all commands."""
    top = Parser(prog="python -m cconv", description="Convolution and pooling for NumPy arrays.")
    top.add_argument("--version", action="version", version=f"cconv {cconv.__version__}")
    commands = top.add_subparsers(
        dest="command", metavar="{demo,train,animate,convert,run,profile,info}", required=True
    )
    add_demo(commands)
    add_train(commands)
    add_animate(commands)
    add_networks(commands)
    commands.add_parser(
        "info",
        help="version, compiler, instruction sets and threads, for a bug report",
        description="Prints what a bug report needs.",
    )
    return top


def add_demo(commands: Commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="filters, pooling and a small network on a photograph; writes one PNG",
        description="Runs convolutions and poolings on a photograph, prints shapes and times, "
        "and writes a contact sheet of the results.",
    )
    demo.add_argument("image", nargs="?", help="any image file (default: a picture of matplotlib)")
    demo.add_argument(
        "-o", "--output", default="cconv-demo.png", help="the PNG to write (default: %(default)s)"
    )


def add_train(commands: Commands) -> None:
    train = commands.add_parser(
        "train",
        help="a small LeNet learns handwritten digits; writes its weights and one PNG",
        description="Trains conv, max pool, conv, average pool and linear layers on scikit-learn's 1,797 "
        "digits, prints loss and held-out accuracy by epoch, and writes the weights and a picture of "
        "what was learned. Ctrl-C lets a step end, saves, and exits with code 130.",
    )
    train.add_argument("--epochs", type=number(1), default=60, help="default: %(default)s")
    train.add_argument(
        "--batch", type=number(1), default=16, help="images of a step (default: %(default)s)"
    )
    train.add_argument(
        "--rate",
        type=rate,
        default=0.005,
        help="Adam's at first; 5 %% less each epoch (default: %(default)s)",
    )
    train.add_argument(
        "--seed", type=number(0), default=0, help="of weights and order (default: %(default)s)"
    )
    train.add_argument(
        "--weights",
        default="cconv-digits.npz",
        help="the .npz or .safetensors file to write (default: %(default)s)",
    )
    train.add_argument(
        "--resume", metavar="FILE", help="go on from such a file, with its batch, rate and seed"
    )
    train.add_argument(
        "-o", "--output", default="cconv-train.png", help="the PNG to write (default: %(default)s)"
    )


def add_animate(commands: Commands) -> None:
    animate = commands.add_parser(
        "animate",
        help="a moving picture of a window that slides over a photograph's pixels",
        description="Averages a photograph down to a few pixels of 0 to 9, and writes the moving picture of a "
        "convolution or a pool on them.",
    )
    animate.add_argument("kind", choices=("conv", "max", "avg", "receptive-field"))
    animate.add_argument(
        "--layers", type=number(1), default=3, help="of receptive-field (default: %(default)s)"
    )
    animate.add_argument("--kernel", type=number(1), default=3, help="default: %(default)s")
    animate.add_argument(
        "--stride", type=number(1), help="default: 1 for conv, the kernel for pools"
    )
    animate.add_argument("--padding", type=number(0), default=0, help="default: %(default)s")
    animate.add_argument("--dilation", type=number(1), default=1, help="default: %(default)s")
    animate.add_argument(
        "--size", type=number(1), default=7, help="pixels a side (default: %(default)s)"
    )
    animate.add_argument("--image", help="any image file (default: a picture of matplotlib)")
    animate.add_argument(
        "-o",
        "--output",
        help="the .gif or .html to write, of receptive-field a .png (default: cconv-KIND)",
    )


def add_networks(commands: Commands) -> None:
    convert = commands.add_parser(
        "convert",
        help="an ONNX model as a .cconv file, which needs NumPy alone",
        description="Folds and fuses an ONNX model and saves it for cconv.load_network.",
    )
    convert.add_argument("model", help="the .onnx file")
    convert.add_argument("output", nargs="?", help="default: the same name with .cconv")
    run = commands.add_parser(
        "run",
        help="a trained network on a picture or an array",
        description="Runs a .cconv or .onnx file on a picture, resized to its input, or on a .npy file.",
    )
    run.add_argument("network", help="the .cconv or .onnx file")
    run.add_argument("input", help="a picture, or a .npy file")
    run.add_argument("--top", type=number(1), default=5, help="largest outputs to print")
    run.add_argument("--labels", metavar="FILE", help="a name a line, of each output")
    run.add_argument(
        "--scale", type=rate, default=1 / 255, help="of a pixel's value (default: 1/255)"
    )
    run.add_argument("--mean", default="0", help="taken off after that, one or one a channel")
    run.add_argument("--std", default="1", help="divided by after that")
    run.add_argument("-o", "--output", help="write the first output to this .npy file")
    profile = commands.add_parser(
        "profile",
        help="where a trained network's time goes",
        description="Runs a .cconv or .onnx file on random numbers, and prints each node's time.",
    )
    profile.add_argument("network", help="the .cconv or .onnx file")
    profile.add_argument("--repeat", type=number(1), default=5, help="default: %(default)s")
    for command in (run, profile):
        command.add_argument("--shape", help="of the first input, like 1x3x224x224")


def info() -> str:
    """Return `show_config()` as aligned lines."""
    labels = {
        "version": "cconv",
        "isa": "instruction set",
        "isa_available": "usable here",
        "isa_built": "built",
        "vector_width": "vector width",
        "compiler": "compiler",
        "threading": "threading",
        "threads": "threads",
        "numpy": "NumPy",
        "python": "Python",
        "platform": "platform",
    }
    units = {"vector_width": " bits"}
    config = dict(cconv.show_config())
    lines = []
    for key in [*labels, *(key for key in config if key not in labels)]:
        value = config[key]
        if isinstance(value, bool):
            text = "yes" if value else "no"
        elif isinstance(value, (list, tuple)):
            text = ", ".join(str(item) for item in value)
        else:
            text = f"{value}{units.get(key, '')}"
        lines.append(f"{labels.get(key, key):<16} {text}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    options = parser().parse_args(argv)
    if options.command == "info":
        print(info())
        return 0
    if options.command == "train":
        from . import _train

        try:
            return _train.run(
                options.epochs,
                options.batch,
                options.rate,
                options.seed,
                options.weights,
                options.output,
                options.resume,
            )
        except _train.TrainError as error:
            print(f"python -m cconv train: {error}", file=sys.stderr)
            return 2
    if options.command in ("convert", "run", "profile"):
        from . import _deploy

        try:
            print(getattr(_deploy, options.command)(options))
        except _deploy.DeployError as error:
            print(f"python -m cconv {options.command}: {error}", file=sys.stderr)
            return 2
        return 0
    from . import _demo  # its imports are not needed for `info`

    if options.command == "animate":
        try:
            print(_demo.animate(options))
        except (_demo.DemoError, ValueError, OSError) as error:
            print(f"python -m cconv animate: {error}", file=sys.stderr)
            return 2
        return 0
    try:
        _demo.run(options.image, options.output)
    except _demo.DemoError as error:
        print(f"python -m cconv demo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
