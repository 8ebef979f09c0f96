"""The package where nothing says that it is installed: its files in a folder, or in a zip."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import permtrain

PACKAGE = Path(permtrain.__file__).parent
LIBRARIES = Path(torch.__file__).parent.parent
LOOK = """
import permtrain, torch
from permtrain import LaPerm
from permtrain.lab.training.environment import environment
from permtrain.lab.training.settings import Place
print(permtrain.ranking(torch.tensor([[0.5, -1.0]])).tolist())
print(environment(torch.device("cpu"), Place())["packages"]["permtrain"], permtrain.__file__)
"""


def others_of(folder: Path) -> Path:
    """All that is installed beside permtrain."""
    folder.mkdir()
    for each in LIBRARIES.iterdir():
        if "permtrain" not in each.name:
            (folder / each.name).symlink_to(each)
    return folder


@pytest.mark.parametrize("how", ["folder", "zip"])
def test_it_works_where_it_is_not_installed(how: str, tmp_path: Path) -> None:
    files = [each for each in PACKAGE.rglob("*") if each.suffix in (".py", ".pyi")]
    place = tmp_path / ("p.zip" if how == "zip" else "src")
    if how == "zip":
        with zipfile.ZipFile(place, "w") as packed:
            for each in files:
                packed.write(each, each.relative_to(PACKAGE.parent))
    else:
        place.mkdir()
        (place / "permtrain").symlink_to(PACKAGE)
    path = f"{place}:{others_of(tmp_path / 'others')}"
    looked = subprocess.run(
        [sys.executable, "-S", "-c", LOOK],
        env={"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert looked.stdout.splitlines() == [
        "[[1, 0]]",
        f"{permtrain.__version__} {place / 'permtrain' / '__init__.py'}",
    ], looked.stderr
