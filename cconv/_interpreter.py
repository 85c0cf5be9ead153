"""Refuses sub-interpreters when imported, before anything compiled is: a module of Cython belongs to the interpreter
that was the first to try, so a try in a sub-interpreter would keep the main one from it."""

from importlib import import_module


def in_sub_interpreter() -> bool:
    """Whether this is not the main interpreter, as far as CPython tells; Cython's own check stands behind this one."""
    for name in ("_interpreters", "_xxsubinterpreters"):  # from 3.13 on, before
        try:
            module = import_module(name)
            return bool(module.get_current() != module.get_main())
        except (ImportError, AttributeError):
            continue
    return False


if in_sub_interpreter():
    raise ImportError(
        "cconv cannot be imported in a sub-interpreter: its compiled modules, like NumPy's, belong to the whole "
        "process; import it in the main interpreter (mod_wsgi: WSGIApplicationGroup %{GLOBAL}) or use processes"
    )
