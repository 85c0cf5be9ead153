"""threadpoolctl lists and limits cconv's threads: it is told of them when both it and cconv are imported, whichever
comes first, and never imported for that."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ._run.threads import kind, set_ceiling, shared_threads
from ._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

NAME = "threadpoolctl"


def register(module: Any) -> None:
    """Registers a controller, which finds the one compiled module that holds the pool."""
    if not hasattr(module, "register"):
        return  # older than 3.2

    class CconvController(module.LibController):  # type: ignore[misc]
        user_api = internal_api = "cconv"
        filename_prefixes = ("threads.",)
        check_symbols = ("cconv_pool_marker",)

        def get_num_threads(self) -> int:
            return shared_threads()

        def set_num_threads(self, num_threads: int) -> None:
            set_ceiling(num_threads)

        def get_version(self) -> str:
            return __version__

        def set_additional_attributes(self) -> None:
            self.threading_layer = kind

    module.register(CconvController)


class Waiting:
    """A finder that finds nothing by itself: when threadpoolctl is imported it leaves, lets the others find it, and has
    it told of cconv as soon as it has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != NAME:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                tell_after(spec.loader)
                return spec
        sys.meta_path.insert(0, self)  # it is not installed now
        return None


def tell_after(loader: Any) -> None:
    """Has the module registered with, once the loader has run it; the loader is as before then."""

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module
        loader.exec_module(module)
        register(module)

    try:
        loader.exec_module = exec_module
    except AttributeError:
        pass  # a loader that cannot be told


if NAME in sys.modules:
    register(sys.modules[NAME])
else:
    sys.meta_path.insert(0, Waiting())
