"""The generated pages in docs/ are those of results/."""

import subprocess
import sys
from pathlib import Path

import pytest

from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.rows import OTHER, read_csv, results_file

ROOT = Path(__file__).parents[2]


def test_the_pages_are_made_from_results() -> None:
    command = [sys.executable, "docs/make_tables.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, "make tables\n" + done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.csv")), ids=lambda p: p.stem)
def test_every_row_is_of_an_arm_or_says_that_it_is_not(path: Path) -> None:
    """Else pages leave it out without a word, as if it had not been run."""
    rows = read_csv(path)
    recipe, budget = RECIPES[rows[0]["recipe"]], rows[0]["budget"]
    assert results_file(path.parent, recipe.id, budget) == path
    hashes = {recipe.settings_hash(arm) for arm in recipe.arms_within(budget)}
    for row in rows:
        assert (row["recipe"], row["budget"]) == (recipe.id, budget)
        assert (row["settings_hash"] in hashes) == (row.get("status") != OTHER), row["arm"]
        assert row.get("intact") is not False, row["arm"]  # its weights are no permutation
