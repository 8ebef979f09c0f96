"""Modules of the user's own are found beside each other; nobody else's imports change."""

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from permtrain.lab.models.own_code import importable_from


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of libraries on the import path; what was imported is forgotten."""
    before = set(sys.modules)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    (folder / "kit" / "deep").mkdir(parents=True)
    return folder


def write(folder: Path, **modules: str) -> None:
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


def imported(name: str, *folders: Path) -> object:
    with importable_from(folders) as import_own:
        return import_own(name)


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize(
    "name", ["module", "package", "json", "wave"], ids=["module", "package", "json", "wave"]
)
def test_own_modules_of_a_librarys_name(
    name: str, is_loaded: bool, elsewhere: Path, own: Path
) -> None:
    """Json and wave come with Python; a library that imports its namesake gets the library."""
    write(elsewhere, module="size = 5", user=f"import {name}\nfound = {name}")
    (elsewhere / "package").mkdir()
    write(elsewhere / "package", __init__="size = 5")
    (own / "package").mkdir(exist_ok=True)
    write(
        own / "package", __init__="from . import sub\nsize = 3", sub="import package.more", more=""
    )
    write(own, module="size = 3", json="size = 3", wave="size = 3")
    write(
        own,
        nets=f"import {name}, user\nfrom {name} import size\nfound = {name}\n"
        f"def later():\n    import {name}\n    return {name}\n",
    )
    sys.modules.pop("wave", None)
    library = importlib.import_module(name) if is_loaded else None
    nets = imported("nets", own)
    assert nets.size == nets.found.size == nets.later().size == 3
    assert nets.user.found is importlib.import_module(name)
    assert getattr(nets.user.found, "size", 5) == 5
    assert nets.user.found is library or not is_loaded
    assert imported(name, own).size == 3


def test_own_modules_find_each_other(elsewhere: Path, own: Path) -> None:
    write(own, beside="size = 3")
    write(own / "kit", __init__="", other="size = 4")
    write(own / "kit" / "deep", nets="import beside\nimport kit.other\nfrom ..other import size")
    nets = imported("kit.deep.nets", own)
    assert (nets.size, nets.kit.other.size, nets.beside.size) == (4, 4, 3)
    assert nets is sys.modules["kit.deep.nets"]


def test_a_namesake_of_another_folder_is_another_module(elsewhere: Path, own: Path) -> None:
    write(own, nets="size = 3")
    write(own / "kit", nets="size = 4")
    assert [imported("nets", own / each).size for each in (".", "kit", ".", "kit")] == [3, 4, 3, 4]
    assert imported("nets", own) is imported("nets", own)
    assert imported("nets", own / "kit", own).size == 4


def test_whoever_else_imports_meanwhile_sees_nothing_of_it(elsewhere: Path, own: Path) -> None:
    write(elsewhere, library="size = 5")
    library = importlib.import_module("library")
    write(own, beside="", library="size = 3", nets="import during\nimport library\nimport beside")
    found: list[object] = []

    def in_a_thread() -> None:
        try:
            found.append(importlib.import_module("only_here"))
        except ModuleNotFoundError as error:
            found.append(str(error))
        found.append(importlib.import_module("library"))
        found.append(list(sys.path))

    write(own, only_here="", during="import during_import\nduring_import.look()")
    look = type(sys)("during_import")

    def in_another() -> None:
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()

    vars(look)["look"] = in_another
    sys.modules["during_import"] = look
    path, finders = list(sys.path), list(sys.meta_path)
    imported("nets", own)
    assert found == ["No module named 'only_here'", library, path]
    assert (sys.path, sys.meta_path) == (path, finders)


def test_a_module_that_fails_leaves_nothing(elsewhere: Path, own: Path) -> None:
    write(own, nets="import sys\nraise RuntimeError('own')")
    path, finders = list(sys.path), list(sys.meta_path)
    with pytest.raises(RuntimeError, match="own"):
        imported("nets", own)
    assert (sys.path, sys.meta_path, "nets" in sys.modules) == (path, finders, False)


def test_classes_of_a_renamed_module_know_it(elsewhere: Path, own: Path) -> None:
    """Dataclasses, and whoever asks where a class was defined, look it up by name."""
    write(elsewhere, library="")
    write(
        own,
        library="from __future__ import annotations\nfrom dataclasses import dataclass, KW_ONLY\n"
        "@dataclass\nclass Size:\n    _: KW_ONLY\n    size: int = 3\n",
    )
    size = imported("library", own).Size
    assert size(size=4).size == 4
    assert sys.modules[size.__module__].__file__ == str(own / "library.py")
