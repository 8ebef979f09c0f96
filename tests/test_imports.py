"""Imports point one way, and the public names are complete and light to import."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import permtrain

PACKAGE = Path(permtrain.__file__).parent
PARTS = sorted(
    path.stem
    for path in PACKAGE.iterdir()
    if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
)
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each part may import of permtrain, itself aside. Parts that are not listed may import
# everything below the training: what trains, and what starts it, stands on top.
ON_TOP = {"training", "inputs", "recipes", "pictures", "report", "cli"}
ALLOWED = {
    "errors": set(),
    "core": {"errors"},
    "data": {"errors", "files"},
    "models": {"errors"},
    "initial": {"core", "errors"},
    "graph": {"core", "errors"},
    "optim": {"core", "graph", "errors"},
    "packed": {"core", "files", "initial", "errors"},
    "circuit": {"files", "initial", "packed", "errors"},
    "training": set(PARTS) - {"inputs", "recipes", "pictures", "report", "cli"},
    "pictures": set(PARTS) - {"inputs", "recipes", "report", "cli"},
    "inputs": set(PARTS) - {"recipes", "report", "cli"},
    "recipes": set(PARTS) - {"pictures", "report", "cli"},
    "report": set(PARTS) - {"cli"},
    "cli": set(PARTS),
}


def part_of(path: Path) -> str:
    """`core` for core/ranking.py, `errors` for errors.py, `` for the package's own __init__.py."""
    first = path.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


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
    names = [name.split(".") for name in modules_named_in(path)]
    return {[*name, ""][1] for name in names if name[0] == "permtrain"} - {"__version__"}


@pytest.mark.parametrize("part", PARTS)
def test_imports_point_one_way(part: str) -> None:
    allowed = ALLOWED.get(part, set(PARTS) - ON_TOP) | {part}
    strays = {
        str(path.relative_to(PACKAGE)): sorted(parts_imported_by(path) - allowed)
        for path in MODULES
        if part_of(path) == part and parts_imported_by(path) - allowed
    }
    assert strays == {}


def test_the_package_itself_imports_none_of_its_parts() -> None:
    assert parts_imported_by(PACKAGE / "__init__.py") == set()


def test_the_parts_that_have_a_rule_are_there() -> None:
    assert set(ALLOWED) <= set(PARTS)


@pytest.mark.parametrize("name", permtrain.__all__)
def test_public_names_resolve_and_are_documented(name: str) -> None:
    doc = getattr(permtrain, name).__doc__
    assert doc
    assert not doc.startswith(f"{name}(")  # what a dataclass writes where nobody did


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
    loaded = modules_loaded_after("import permtrain.core.permutation, permtrain.core.plan")
    assert "torch" in loaded
    assert not loaded & {"datasets", "sklearn", "PIL", "permtrain.optim", "permtrain.data"}
