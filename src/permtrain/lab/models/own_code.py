"""Modules of the user's own, imported from folders that nobody else imports from.

`sys.path` and the modules that others imported stay as they are, for a moment too: a finder answers
for the folders, only to the thread that asks. It stands in `sys.meta_path` as long as that takes,
since Python knows no other way to import what lies beside a module. What is imported stays
imported, as always.

A module may have the name of a library, as `datasets`, or that of a module imported from elsewhere.
It is then imported under a name that nobody else has, and `import datasets` means it in the modules
of these folders alone.
"""

import builtins
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_NEVER_OWN = {"torch", "numpy", "permtrain", *sys.builtin_module_names}
"""What a network is made with."""


@contextmanager
def importable_from(folders: Sequence[Path]) -> Iterator[Callable[[str], ModuleType]]:
    """Let modules that lie in folders be imported by this thread, before all others of their name.

    Yields:
        What imports one by its name. It raises what the module's own code does.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "json.py").write_text("size = 3")
        >>> with importable_from([folder]) as import_own:
        ...     own = import_own("json")
        >>> import json
        >>> own.size, hasattr(json, "size")
        (3, False)
    """
    importlib.invalidate_caches()
    finder = _Finder([str(folder) for folder in folders])
    sys.meta_path.insert(0, finder)
    try:
        yield lambda name: importlib.import_module(finder.renamed(name))
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    """Finds modules in folders, for one thread."""

    def __init__(self, folders: list[str]) -> None:
        self.folders = folders
        self.thread = threading.get_ident()
        origins = {name: _origin(name, folders) for name in _names_in(folders)}
        taken = {name: origin for name, origin in origins.items() if _is_taken(name, origin)}
        self.names = {name: _unique(name, origin) for name, origin in taken.items()}
        self.origins = {self.names[name]: origin for name, origin in taken.items()}

    def renamed(self, name: str) -> str:
        """The name that a module of ours is imported under."""
        top, dot, rest = name.partition(".")
        return self.names.get(top, top) + dot + rest

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        top = fullname.partition(".")[0]
        if threading.get_ident() != self.thread or top in self.names or top in _NEVER_OWN:
            return None
        if path is None and fullname in self.origins:
            origin = self.origins[fullname]
            inside = [os.path.dirname(origin)] if _is_package(origin) else None
            spec = importlib.util.spec_from_file_location(
                fullname, origin, submodule_search_locations=inside
            )
        elif path is None:
            spec = PathFinder.find_spec(fullname, self.folders)
        else:
            spec = PathFinder.find_spec(fullname, path) if self._holds(path) else None
        if spec is not None and self.names and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(fullname, spec.loader.path, self.renamed)
        return spec

    def _holds(self, path: Sequence[str]) -> bool:
        return any(Path(each).is_relative_to(folder) for each in path for folder in self.folders)


class _Loader(SourceFileLoader):
    """Loads a module in which imports mean others: Python asks a module's own `__builtins__`."""

    def __init__(self, name: str, path: str, renamed: Callable[[str], str]) -> None:
        super().__init__(name, path)
        self.renamed = renamed

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": self._import}
        super().exec_module(module)

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        meant = self.renamed(name) if level == 0 else name
        return builtins.__import__(meant, globals, locals, fromlist, level)


def _names_in(folders: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for folder in map(Path, folders):
        found |= {each.stem for each in folder.glob("*.py")}
        found |= {each.parent.name for each in folder.glob("*/__init__.py")}
    return {name for name in found - _NEVER_OWN if name.isidentifier()}


def _origin(name: str, folders: list[str]) -> str:
    spec = PathFinder.find_spec(name, folders)
    assert spec is not None
    return str(spec.origin)


def _is_taken(name: str, origin: str) -> bool:
    """Whether a module of this name, imported or not, is another one."""
    if name in sys.modules:
        file = getattr(sys.modules[name], "__file__", None)
    else:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return False
        file = spec.origin
    return file is None or os.path.realpath(file) != os.path.realpath(origin)


def _unique(name: str, origin: str) -> str:
    digest = blake2b(os.path.realpath(origin).encode(errors="surrogatepass"), digest_size=4)
    return f"{name}__{digest.hexdigest()}"


def _is_package(origin: str) -> bool:
    return os.path.basename(origin).partition(".")[0] == "__init__"
