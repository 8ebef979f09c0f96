"""From run folders to a recipe's CSV. Trains nothing; rows of runs that are elsewhere stay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from permtrain.errors import CheckpointError, PackedFileError, SettingError
from permtrain.files import resolved
from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.recipes.results import failure_row_of, rows_of
from permtrain.lab.recipes.rows import merged, read_csv, write_csv
from permtrain.lab.recipes.sweep import state_of
from permtrain.lab.training.locks import locked
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Place
from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings


@dataclass
class Gatherer:
    """Gathers again and again while a recipe runs, looking at each complete arm once.

    Attributes:
        runs_folders: where arms are looked for; the first that has one complete and whole counts.
        path: the CSV.
        ceilings: what runs' packed files may claim.
        rows: those of the last gathering.
        damaged: by their folders, arms that the last gathering left out, and why.
    """

    recipe: Recipe
    budget: Budget
    place: Place
    runs_folders: Sequence[Path]
    path: Path
    ceilings: Ceilings = DEFAULT_CEILINGS
    rows: list[dict[str, Any]] = field(default_factory=list)
    damaged: dict[Path, str] = field(default_factory=dict)
    _known: dict[Path, list[dict[str, Any]]] = field(default_factory=dict)

    def gather(self) -> None:
        """Writes a row for each complete or failed arm, and keeps those of the CSV's other arms.

        An arm whose folder is damaged is left out; so the row that the CSV has of it stays.
        Processes that gather at the same time take turns, so that the last one has seen all.
        """
        self.damaged.clear()
        path = resolved(self.path)  # several folders may have a link to one file
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent / f".{path.name}.lock"):
            arms = self.recipe.arms_within(self.budget)
            fresh = [row for arm in arms for row in self._rows_of(arm)]
            self.rows = self._in_order(arms, merged(read_csv(self.path), fresh, self._hashes(arms)))
            if fresh:
                write_csv(self.path, self.rows)

    def count(self, is_counted: Callable[[dict[str, Any]], bool]) -> int:
        """How many arms have a row of that kind, computed here or elsewhere."""
        hashes = {row["settings_hash"] for row in self.rows if is_counted(row)}
        return sum(each in hashes for each in self._hashes(self.recipe.arms_within(self.budget)))

    def _rows_of(self, arm: Arm) -> list[dict[str, Any]]:
        failed: list[dict[str, Any]] = []
        for runs_folder in self.runs_folders:
            folder = RunFolder(self.recipe.folder(arm, runs_folder))
            state = state_of(folder)
            try:
                if state == "complete":
                    if folder.path not in self._known:
                        self._known[folder.path] = rows_of(
                            self.recipe, self.budget, arm, folder, self.place, self.ceilings
                        )
                    return self._known[folder.path]
                if state == "failed" and not failed:
                    failed = [failure_row_of(self.recipe, self.budget, arm, folder)]
            except (CheckpointError, SettingError, PackedFileError, OSError) as error:
                self.damaged[folder.path] = f"{arm.name}: {error}"
        return failed

    def _hashes(self, arms: Sequence[Arm]) -> list[str]:
        return [self.recipe.settings_hash(arm) for arm in arms]

    def _in_order(
        self, arms: Sequence[Arm], rows: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Rows as the arms are; those of arms that are no more come last."""
        by_hash = {each: place for place, each in enumerate(self._hashes(arms))}
        by_name = {(arm.group, arm.settings.seed): place for place, arm in enumerate(arms)}

        def place_of(row: dict[str, Any]) -> int:
            named = by_name.get((row["arm"], row["seed"]), len(arms))
            return by_hash.get(row["settings_hash"], named)

        return sorted(rows, key=place_of)
