"""Reads the sources of cconv for test_house.py: imports, functions, arguments and lines of Python and of Cython.

Cython is read by its indentation, not parsed: a definition begins where a line says so, and ends with its indentation.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".py", ".pyi", ".pyx", ".pxd", ".h")


class Source(NamedTuple):
    path: str  # within the package, with slashes
    text: str

    @property
    def module(self) -> str:
        """`_plan.choose`; a package by its own name, the whole one as `__init__`."""
        parts = self.path.rsplit(".", 1)[0].split("/")
        if parts[-1] == "__init__" and len(parts) > 1:
            parts.pop()
        return ".".join(parts)

    @property
    def suffix(self) -> str:
        return "." + self.path.rsplit(".", 1)[1]

    @property
    def package(self) -> list[str]:
        return self.path.split("/")[:-1]


class Import(NamedTuple):
    module: str  # as `Source.module`
    name: str | None  # what is taken from it; None: the module itself
    late: bool  # inside a function
    typing: bool  # for type checkers only


class Function(NamedTuple):
    name: str
    lines: int  # of code
    arguments: int
    top: bool


def sources(root: Path) -> list[Source]:
    """Every source file of the package; the folders of compiled kernels hold none."""
    return [
        Source(path.relative_to(root).as_posix(), path.read_text())
        for path in sorted(root.rglob("*"))
        if path.suffix in SUFFIXES and "__pycache__" not in path.parts
    ]


STRING = re.compile(
    r'[rbfu]{0,2}"""(?:\\.|[^\\])*?"""|[rbfu]{0,2}\'\'\'(?:\\.|[^\\])*?\'\'\''
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*',
    re.S | re.I,
)


def bare(text: str) -> str:
    """The code alone: comments and long strings (so docstrings) blank, short strings empty, every line kept."""

    def blank(match: re.Match[str]) -> str:
        found = match.group()
        if found.startswith("#") or found.rstrip("\"'") == "" or found[-3:] in ('"""', "'''"):
            return "\n" * found.count("\n")
        return '""'

    return STRING.sub(blank, text)


def code_lines(text: str) -> int:
    return sum(bool(line.strip()) for line in text.split("\n"))


# ---------------------------------------------------------------- imports


def resolved(dotted: list[str], name: str | None, modules: set[str]) -> tuple[str, str | None]:
    """The module of a name, by the longest part of it that is one."""
    path = dotted + ([name] if name and name != "*" else [])
    for n in range(len(path), 0, -1):
        if ".".join(path[:n]) in modules:
            return ".".join(path[:n]), path[n] if n < len(path) else None
    return "__init__", path[0] if path else None


def absolute(source: Source, level: int, module: str) -> list[str] | None:
    """A module's name from the package down, or None if it is not ours."""
    parts = [p for p in module.split(".") if p]
    if level:
        return source.package[: len(source.package) - level + 1] + parts
    return parts[1:] if parts[:1] == ["cconv"] else None


def imports(source: Source, modules: set[str]) -> Iterator[Import]:
    """What a file imports or cimports of cconv, every name of every line."""
    find = python_imports if source.suffix in (".py", ".pyi") else cython_imports
    for level, module, names, late, typing in find(source):
        dotted = absolute(source, level, module)
        if dotted is None:
            continue
        for name in names:
            yield Import(*resolved(dotted, name, modules), late, typing)


class _Imports(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[tuple[int, str, list[str | None], bool, bool]] = []
        self.late = self.typing = False

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.found.append((0, alias.name, [None], self.late, self.typing))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        names = [alias.name for alias in node.names]
        self.found.append((node.level, node.module or "", names, self.late, self.typing))

    def inside(self, node: ast.AST) -> None:
        before, self.late = self.late, True
        self.generic_visit(node)
        self.late = before

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = inside

    def visit_If(self, node: ast.If) -> None:
        before = self.typing
        self.typing = before or ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in node.body:
            self.visit(child)
        self.typing = before
        for child in node.orelse:
            self.visit(child)


def python_imports(source: Source) -> list[tuple[int, str, list[str | None], bool, bool]]:
    visitor = _Imports()
    visitor.visit(ast.parse(source.text))
    return visitor.found


CYTHON_IMPORT = re.compile(
    r"^([ \t]*)(?:from[ \t]+(\.*)([\w.]*)[ \t]+c?import[ \t]+(\([^)]*\)|[^\n]+)|c?import[ \t]+([^\n]+))",
    re.M,
)


def cython_imports(source: Source) -> Iterator[tuple[int, str, list[str | None], bool, bool]]:
    text = bare(source.text).replace("\\\n", " ")
    for indent, dots, module, names, plain in CYTHON_IMPORT.findall(text):
        for name in filter(None, (n.split(" as ")[0].strip() for n in plain.split(","))):
            yield 0, name, [None], bool(indent), False
        if not plain:
            each = (n.strip().split(" ")[0] for n in names.strip("()").split(","))
            yield len(dots), module, [n for n in each if n], bool(indent), False


# ---------------------------------------------------------------- functions


def functions(source: Source) -> Iterator[Function]:
    return (python_functions if source.suffix in (".py", ".pyi") else cython_functions)(source)


def python_functions(source: Source) -> Iterator[Function]:
    tree, lines = ast.parse(source.text), bare(source.text).split("\n")
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        a = node.args
        given = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
        count = len(given) - (given[:1] in (["self"], ["cls"])) + bool(a.vararg) + bool(a.kwarg)
        code = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        yield Function(node.name, code_lines(code), count, node in tree.body)


CYTHON_FUNCTION = re.compile(  # the type of a result may be a tuple
    r"^([ \t]*)(?:cpdef|cdef|def)\b(?:[^\n(:=]|\([^()\n]*\)(?=[ \t]+\w+[ \t]*\())*?"
    r"\b(?!inline\b)(\w+)[ \t]*\(",
    re.M,
)
NO_FUNCTION = re.compile(r"\b(?:class|struct|union|enum|extern)\b")


def cython_functions(source: Source) -> Iterator[Function]:
    """Those with a body: what a .pxd or a class only declares has none."""
    text = bare(source.text)
    for match in CYTHON_FUNCTION.finditer(text):
        if NO_FUNCTION.search(match.group()):
            continue
        arguments, end = bracketed(text, match.end() - 1)
        header = text[end : text.find("\n", end) if "\n" in text[end:] else len(text)]
        if not header.rstrip().endswith(":") and ":" not in header:
            continue  # a declaration, or an assignment
        indent, code = len(match.group(1)), [text[match.start() : end] + header]
        for line in text[end + len(header) + 1 :].split("\n"):
            if line.strip() and len(line) - len(line.lstrip()) <= indent:
                break
            code.append(line)
        given = [a.strip() for a in split(arguments)]
        given = [a for a in given if a and a not in ("*", "/", "self", "cls")]
        yield Function(match.group(2), code_lines("\n".join(code)), len(given), not indent)


def bracketed(text: str, start: int) -> tuple[str, int]:
    """What stands in the brackets that open at `start`, and where they have ended."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth == 0:
            return text[start + 1 : i], i + 1
    return text[start + 1 :], len(text)


def split(arguments: str) -> list[str]:
    """At the commas outside of brackets."""
    parts, depth = [""], 0
    for c in arguments:
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


# ---------------------------------------------------------------- names


CYTHON_CLASS = re.compile(r"^(?:cdef[ \t]+)?class[ \t]+(\w+)[^\n]*:", re.M)


def top_names(source: Source) -> set[str]:
    """Classes and functions that are defined at the top of a file."""
    names = {f.name for f in functions(source) if f.top}
    if source.suffix in (".py", ".pyi"):
        body = ast.parse(source.text).body
        return names | {node.name for node in body if isinstance(node, ast.ClassDef)}
    return names | set(CYTHON_CLASS.findall(bare(source.text)))
