"""Gives rows of results/ the name that their settings have by today's defaults.

`settings_hash` is made of what differs from the defaults, so that a default that changes gives the
same settings another name; that of a recipe's own task was once made of all settings, so that a new
one did. A row is restamped only if all of this holds:

1. its hash is that of the arm of its name and seed in the code of the commit that computed it;
2. that arm's settings are today's arm's. A setting that did not exist then has to stand at its
   default, which is what that code did; SGPerm's count only where it is the method.

Run as: python docs/restamp_results.py results/sgperm-fc-mnist.csv ...
It needs the commits in git, prints what it did, and leaves other rows as they are.
"""

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from permtrain.lab.recipes.recipe import Budget
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.rows import read_csv, write_csv
from permtrain.lab.training.folders import differing

ROOT = Path(__file__).parent.parent

# Runs in the code of another commit: hash and settings of each arm. That code may know no
# Recipe.settings_hash, nor tasks.
_OLD_ARMS = """
import json, sys
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.training.settings import settings_hash, to_dict
recipe = RECIPES[sys.argv[1]]
def hash_of(arm):
    if hasattr(recipe, "settings_hash"):
        return recipe.settings_hash(arm)
    if getattr(recipe, "task", None) is None:
        return settings_hash(arm.settings)
    from permtrain.lab.recipes import task
    return task.hash_of(arm.settings)
print(json.dumps([
    [arm.group, arm.settings.seed, hash_of(arm), to_dict(arm.settings)]
    for arm in recipe.arms(sys.argv[2])
]))
"""


def main() -> int:
    for name in sys.argv[1:]:
        path = Path(name)
        rows = read_csv(path)
        restamped = [restamp(row) for row in rows]
        changed = sum(a != b for a, b in zip(rows, restamped, strict=True))
        print(f"{path}: {changed} of {len(rows)} rows restamped")
        write_csv(path, restamped)
    return 0


def restamp(row: dict[str, Any]) -> dict[str, Any]:
    """The row under today's name of its settings; itself, if it has that or cannot get it."""
    name, budget = (row["arm"], row["seed"]), row["budget"]
    recipe = RECIPES[row["recipe"]]
    arms = {(arm.group, arm.settings.seed): arm for arm in recipe.arms_within(budget)}
    if name not in arms or row["settings_hash"] == recipe.settings_hash(arms[name]):
        return row
    commit = str(row["commit"]).removesuffix("+")
    old_hash, old = old_arms(commit, recipe.id, budget).get(name, (None, None))
    if old_hash != row["settings_hash"]:
        print(f"  {name}: {commit} has no such arm of that hash")
        return row
    if other := differing(old, arms[name].settings):
        print(f"  {name}: other settings: {', '.join(other)}")
        return row
    return row | {"settings_hash": recipe.settings_hash(arms[name])}


@cache
def old_arms(
    commit: str, recipe: str, budget: Budget
) -> dict[tuple[str, int], tuple[str, dict[str, Any]]]:
    """Hash and settings of a recipe's arms, by group and seed, in the code of a commit."""
    archive = subprocess.run(
        ["git", "archive", commit, "src"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        said = subprocess.run(
            [sys.executable, "-c", _OLD_ARMS, recipe, budget],
            env={"PYTHONPATH": f"{folder}/src"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return {(group, seed): (found, settings) for group, seed, found, settings in json.loads(said)}


if __name__ == "__main__":
    sys.exit(main())
