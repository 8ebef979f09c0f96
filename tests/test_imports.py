"""Imports point one way, and the public names are complete and light to import."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import permtrain
import permtrain.expert

PACKAGE = Path(permtrain.__file__).parent
LAB = PACKAGE / "lab"
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """`core` for core/ranking.py, `errors` for errors.py, `lab.data` for lab/data/load.py.

    Empty for the `__init__.py` of the package and of the laboratory.
    """
    first, *more = path.relative_to(PACKAGE).parts
    parts = [first, more[0]] if first == "lab" else [first]
    return ".".join(part.removesuffix(".py") for part in parts).removesuffix("__init__").strip(".")


PARTS = {part for path in MODULES if (part := part_of(path)) not in ("", "lab", "__main__")}
LABORATORY = {part for part in PARTS if part.startswith("lab.")}
LIBRARY = PARTS - LABORATORY

# What each part may import of permtrain, itself aside.
ALLOWED = {
    "errors": set(),
    "files": {"errors", "text"},
    "text": set(),
    "ranges": {"errors"},
    "core": {"errors"},
    "initial": {"core", "errors"},
    "graph": {"core", "errors"},
    "optim": {"core", "graph", "initial", "errors", "ranges"},
    "packed": {"core", "files", "initial", "errors", "ranges"},
    "circuit": {"core", "files", "initial", "packed", "errors", "text"},
    "verification": LIBRARY - {"circuit", "expert", "integrations", "packed"},
    "expert": LIBRARY - {"circuit", "integrations", "packed", "verification"},
    "integrations": {"core", "errors", "files", "optim"},
    "lab.data": {"errors", "files", "ranges", "text"},
    "lab.models": {"errors"},
    "lab.training": LIBRARY | {"lab.data", "lab.models"},
    "lab.pictures": LIBRARY | {"lab.data", "lab.models", "lab.training"},
    "lab.inputs": PARTS - {"lab.recipes", "lab.report", "lab.cli"},
    "lab.recipes": PARTS - {"lab.pictures", "lab.report", "lab.cli"},
    "lab.report": PARTS - {"lab.cli"},
    "lab.cli": PARTS,
}


def modules_named_in(path: Path) -> Iterator[str]:
    """Every module or name that an import statement, or `import_module`, mentions in full."""
    package = ["permtrain", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant))


def parts_imported_by(path: Path) -> set[str]:
    """Parts of permtrain, public names of the package included as they are."""
    names = [
        name.split(".")[1:] for name in modules_named_in(path) if name.startswith("permtrain.")
    ]
    parts = {".".join(name[: 2 if name[0] == "lab" else 1]) for name in names}
    return parts - {"__version__"}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_imports_point_one_way(part: str) -> None:
    allowed = ALLOWED[part] | {part}
    strays = {
        str(path.relative_to(PACKAGE)): sorted(parts_imported_by(path) - allowed)
        for path in MODULES
        if part_of(path) == part and parts_imported_by(path) - allowed
    }
    assert strays == {}


def test_the_library_never_imports_the_laboratory() -> None:
    assert set(ALLOWED) == PARTS
    assert not any(ALLOWED[part] & LABORATORY for part in LIBRARY)


@pytest.mark.parametrize("folder", [PACKAGE, LAB], ids=["permtrain", "lab"])
def test_the_wings_themselves_import_none_of_their_parts(folder: Path) -> None:
    assert parts_imported_by(folder / "__init__.py") == set()


@pytest.mark.parametrize("name", permtrain.__all__)
def test_public_names_resolve_and_are_documented(name: str) -> None:
    value = getattr(permtrain, name)
    if isinstance(value, type) or inspect.isfunction(value):
        doc = value.__doc__
    else:  # a constant or a type, described below its line
        doc = next(doc for path in MODULES if (doc := doc_below(path, name)))
    assert doc
    assert not doc.startswith(f"{name}(")  # what a dataclass writes where nobody did


def doc_below(path: Path, name: str) -> str | None:
    """The string that follows a module's assignment to a name."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for statement, after in pairwise(body):
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        is_of_it = any(isinstance(each, ast.Name) and each.id == name for each in targets)
        if is_of_it and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            return str(after.value.value)
    return None


@pytest.mark.parametrize("name", permtrain.expert.__all__)
def test_names_for_experts_are_documented_and_not_among_the_public_ones(name: str) -> None:
    assert getattr(permtrain.expert, name).__doc__
    assert name not in permtrain.__all__


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("integrations/*.py")), ids=lambda p: p.stem)
def test_an_integration_imports_its_own_framework_only(path: Path) -> None:
    frameworks = {"accelerate", "lightning", "pytorch_lightning", "transformers"}
    found = {name.split(".")[0] for name in modules_named_in(path)} & frameworks
    assert {name.removeprefix("pytorch_") for name in found} == ({path.stem} & frameworks)


def test_public_names_are_all_there_is_to_see() -> None:
    assert set(permtrain.__all__) <= set(dir(permtrain))
    with pytest.raises(AttributeError, match="No permtrain attribute nothing_of_this_name"):
        _ = permtrain.nothing_of_this_name  # type: ignore[attr-defined]


def modules_loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_permtrain_does_not_import_torch() -> None:
    loaded = modules_loaded_after("import permtrain; permtrain.__version__; dir(permtrain)")
    assert "permtrain" in loaded
    assert not loaded & {"torch", "numpy", "datasets", "sklearn", "PIL"}


def test_packed_files_are_read_without_torch_and_numba() -> None:
    loaded = modules_loaded_after("import permtrain; permtrain.PackedFile")
    assert "permtrain.packed.reader" in loaded
    assert not loaded & {"torch", "numba", "safetensors"}


def test_the_core_imports_nothing_heavier_than_torch() -> None:
    loaded = modules_loaded_after("import permtrain.core.permutation, permtrain.core.granularity")
    assert "torch" in loaded
    assert not loaded & {"datasets", "sklearn", "PIL", "permtrain.optim", "permtrain.lab"}
