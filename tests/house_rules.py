"""The rules of the house, for test_house.py: each lists what breaks it."""

import ast
import re
from collections import defaultdict

import house
from house import Source

# From the door down. A name stands for all modules of a package; a floor's rooms may import each other, not in circles.
FLOORS = [
    {"__main__"},
    {"_demo", "_train", "_deploy"},
    {"plot", "interop"},
    {"networks"},
    {"__init__"},
    {"_limits", "_threadpool"},
    {"layers", "grad"},
    {"functional"},
    {"_explain", "capi"},
    {"_specs", "_operations", "_prepack"},
    {"_kept", "_resolvers"},
    {"_gradients"},
    {"_convolutions", "_pools", "_moves"},
    {"_strategies", "_pieces", "_fft"},
    {"_convert", "_activate"},
    {"_run"},
    {"_isa", "_check"},
    {"_elements"},
    {"_plan"},
    {"_problem"},
    {"_explanation", "_typing", "_version", "_processors", "_interpreter", "_cpu"},
    {"kernels"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
# upwards, but inside functions: to say what is there, not to build upon
LATE = {("_isa", "_run"), ("_isa", "__init__"), ("_explain", "functional"), ("_explain", "grad")}
# mostly docstrings, and the signatures of torch
PUBLIC = ("functional", "grad", "layers", "interop", "plot", "networks")
# what `python -m cconv` runs, written as users would
PROGRAMS = ("__main__", "_demo", "_train", "_deploy")
DOCUMENTED = ("functional.py", "grad.py", "layers.py")
FILE, FUNCTION, ARGUMENTS, POSITIONAL = 450, 60, 8, 5


def room(module: str) -> str:
    return module.split(".")[0]


def modules(files: list[Source]) -> set[str]:
    return {source.module for source in files if source.suffix != ".h"}


def upward_imports(files):
    """Imports go to a lower floor, or to the same one."""
    known = modules(files)
    for source in files:
        here = room(source.module)
        if source.suffix == ".h":
            continue
        if here not in LEVEL:
            yield f"{source.path} is on no floor"
            continue
        for found in house.imports(source, known):
            there = room(found.module)
            late = found.late and (here, there) in LATE
            if there not in LEVEL:
                yield f"{source.path} imports {found.module}, which is on no floor"
            elif here != "__init__" and LEVEL[there] < LEVEL[here] and not late:
                yield f"{source.path} imports {found.module}, which is above"
            elif here == "kernels" and there != "kernels":
                yield f"{source.path}: a kernel imports {found.module}"


def circles(files):
    """No two modules import each other, by whatever way round, when they are loaded."""
    known = modules(files)
    below: dict[str, set[str]] = defaultdict(set)
    for source in files:
        if source.suffix in (".h", ".pyi"):
            continue
        for found in house.imports(source, known):
            if not (found.late or found.typing) and found.module != source.module:
                below[source.module].add(found.module)
    done: set[str] = set()

    def walk(module, way):
        if module in way:
            yield " -> ".join([*way[way.index(module) :], module])
        elif module not in done:
            for other in sorted(below[module]):
                yield from walk(other, [*way, module])
            done.add(module)

    for module in sorted(below):
        yield from walk(module, [])


def arrays_in_plans(files):
    """Planning sees integers only."""
    for source in files:
        if room(source.module) in ("_plan", "_problem") and "numpy" in source.text:
            yield f"{source.path} speaks of numpy"


def private_names(files):
    """interop takes public names of cconv only (its own modules apart)."""
    known = modules(files)
    for source in files:
        if room(source.module) != "interop":
            continue
        taken = {}
        for found in house.imports(source, known):
            if room(found.module) == "interop":
                continue
            names = [*found.module.split("."), *([found.name] if found.name else [])]
            taken[names[-1]] = found
            hidden = [n for n in names if n.startswith("_") and not n.endswith("__")]
            if hidden:
                yield f"{source.path} imports {hidden[0]}"
        if source.suffix == ".pyx":
            continue
        for node in ast.walk(ast.parse(source.text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = node.attr
                ours = node.value.id in {*taken, "cconv"}
                if ours and name.startswith("_") and not name.endswith("__"):
                    yield f"{source.path}:{node.lineno} uses {node.value.id}.{name}"


def long_files(files):
    for source in files:
        lines = source.text.count("\n")
        if lines > FILE and source.path not in DOCUMENTED:
            yield f"{source.path} has {lines} lines"


def long_functions(files):
    """Lines of code: docstrings, comments and empty lines apart."""
    for source in files:
        for f in () if source.suffix in (".h", ".pyi") else house.functions(source):
            if f.lines >= FUNCTION:
                yield f"{source.path}: {f.name} has {f.lines} lines"


def many_arguments(files):
    """`self` apart; what users call has torch's signatures."""
    for source in files:
        if room(source.module) in PUBLIC or source.suffix in (".h", ".pyi"):
            continue
        for f in house.functions(source):
            if f.arguments > ARGUMENTS:
                yield f"{source.path}: {f.name} takes {f.arguments} arguments"


def positional_records(files):
    """Records of many values are made by name; a table of elements, a row a line, has its names above."""
    for source in files:
        if source.suffix != ".py" or room(source.module) in (
            *PROGRAMS,
            "_typing",
            "interop",
            "plot",
        ):
            continue
        for node in ast.walk(ast.parse(source.text)):
            if not isinstance(node, ast.Call) or len(node.args) <= POSITIONAL:
                continue
            name = ast.unparse(node.func).split(".")[-1]
            if (
                name[:1].isupper()
                and name != "Element"
                and not any(isinstance(a, ast.Starred) for a in node.args)
            ):
                yield f"{source.path}:{node.lineno}: {name} of {len(node.args)} values by position"


def unnamed_kernels(files, table, kernels, built=None):
    """`kernels/__init__.py` names every kernel and source: table, text, enum, folder and setup.py agree."""
    texts = {source.path: source.text for source in files}
    text = ast.get_docstring(ast.parse(texts["kernels/__init__.py"])) or ""
    told = set(re.findall(r"^(\w+) .*\w\.(?:pyx|pxd|h)$", text, re.M))
    for name in sorted({*table, *kernels, *told} - {"convert", "activate"}):
        for where, names in (("MODULES", table), ("the enum Kernel", kernels), ("the text", told)):
            if name not in names:
                yield f"kernel {name} is not in {where}"
    there = {path[8:] for path in texts if path.startswith("kernels/") and path[-2:] != "py"}
    named = set(re.findall(r"\w+\.(?:pyx|pxd|h)\b", text))
    sources = {name for name in there if name.endswith((".pyx", ".pxd"))} - {"job.pyx"}
    for name in sorted(sources - named | named - there):
        yield f"kernels/{name} is not both a file and in the text"
    compiled = {name[:-4] for name in sources if name.endswith(".pyx")}
    for name in sorted(compiled ^ set(table.values())):
        yield f"module {name} is not both in MODULES and in kernels/"
    for name in sorted(built ^ set(table.values())) if built else ():
        yield f"module {name} is not both in MODULES and in setup.py"


def homonyms(files):
    """
    No two classes or top-level functions of one name in different modules of the inside.

    The public modules and interop repeat names by their nature (`conv2d` here and for Dask), so they are apart; so
    are the programs on top, and what begins with an underscore. A .pxd and its .pyx are one module.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for source in files:
        if room(source.module) in (*PUBLIC, *PROGRAMS, "capi", "__init__") or source.suffix in (
            ".h",
            ".pyi",
        ):
            continue
        for name in house.top_names(source):
            if not name.startswith("_"):
                owners[name].add(source.module)
    for name, where in sorted(owners.items()):
        if len(where) > 1:
            yield f"{name} is defined in {', '.join(sorted(where))}"


def exempt_from_types(files, pyproject):
    """Every module of ours is checked by mypy, strictly."""
    settings = pyproject.get("tool", {}).get("mypy", {})
    tables = [settings, *settings.get("overrides", [])]
    if settings.get("exclude"):
        yield f"mypy excludes {settings['exclude']}"
    if settings.get("untyped_calls_exclude"):
        yield f"untyped calls of {settings['untyped_calls_exclude']} are allowed"
    if not settings.get("strict"):
        yield "mypy is not strict"
    for table in tables:
        names = table.get("module", ["cconv"])
        names = [names] if isinstance(names, str) else names
        ours = [n for n in names if n.split(".")[0] in ("cconv", "*")]
        if ours and (table.get("ignore_errors") or table.get("follow_imports") == "skip"):
            yield f"{ours} are exempt from mypy"
    for source in files:
        lines = source.text.split("\n")
        if any(line.startswith(("# mypy:", "# type: ignore")) for line in lines):
            yield f"{source.path} exempts itself from mypy"


RULES = (
    upward_imports, circles, arrays_in_plans, private_names, long_files, long_functions, many_arguments,
    positional_records, homonyms,
)  # fmt: skip
