"""The command line: `python -m cconv demo [IMAGE]` and `python -m cconv info`.

Whatever the user can put right is one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import cconv


class Parser(argparse.ArgumentParser):
    """argparse, but with one line for an error and not the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> Parser:
    """Return the parser of both commands."""
    top = Parser(prog="python -m cconv", description="Convolution and pooling for NumPy arrays.")
    top.add_argument("--version", action="version", version=f"cconv {cconv.__version__}")
    commands = top.add_subparsers(dest="command", metavar="{demo,info}", required=True)
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
    commands.add_parser(
        "info",
        help="version, compiler, instruction sets and threads, for a bug report",
        description="Prints what a bug report needs.",
    )
    return top


def info() -> str:
    """Return `show_config()` as aligned lines."""
    labels = {
        "version": "cconv",
        "isa": "instruction set",
        "isa_available": "usable here",
        "isa_built": "built",
        "vector_width": "vector width",
        "compiler": "compiler",
        "openmp": "OpenMP",
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
    from . import _demo  # its imports are not needed for `info`

    try:
        _demo.run(options.image, options.output)
    except _demo.DemoError as error:
        print(f"python -m cconv demo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
