"""All that a page shows, in numbers and words."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from permtrain.errors import CheckpointError, PermtrainError, SettingError
from permtrain.files import resolved
from permtrain.lab.pictures.numbers.scores import SizedArm, SizedScore, sized_arms
from permtrain.lab.pictures.numbers.sizes import Size, sizes_of
from permtrain.lab.recipes.results import mean_and_spread, rows_of
from permtrain.lab.report.inspection import Inspection, Inspector
from permtrain.lab.report.pictures import Picture, pictures_of
from permtrain.lab.report.sources import ReportedRun
from permtrain.lab.training.environment import read_environment
from permtrain.lab.training.record import read_record, selection_key
from permtrain.lab.training.result import RunResult
from permtrain.lab.training.run_folder import Metrics, RunFolder
from permtrain.lab.training.settings import (
    Place,
    Settings,
    changed_from_default,
    flat,
    run_name,
    to_dict,
)
from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings
from permtrain.packed.reader import PackedFile
from permtrain.packed.report import report_of

# Looking at a run's weights loads its data and every checkpoint, and puts about 1 MB in the page.
MOST_INSPECTED = 6


@dataclass(frozen=True)
class RunContents:
    """What the page tells of one run.

    Attributes:
        run: its name, group and folder.
        settings: what it was started with.
        environment: what it was computed with.
        history: the record of every completed epoch; empty before the first.
        best: the line of the record with the highest accuracy on `selected_on`; None before it.
        selected_on: "validation", or "test" where no validation images were set aside.
        result: None as long as it goes on.
        inspection: None if the weights of this run were not looked at.
        sizes: of the packed file against others; empty where there is no file.
        pictures: of other makers.
        outcomes: rows of results of a complete arm whose recipe tells sizes of files: its own, or
            those of its alternatives, which do not permute.
        notes: what could not be shown, and why.
    """

    run: ReportedRun
    settings: Settings
    environment: dict[str, Any]
    history: list[Metrics]
    best: Metrics | None
    selected_on: str
    result: RunResult | None
    inspection: Inspection | None
    sizes: list[Size]
    pictures: list[Picture]
    outcomes: list[dict[str, Any]]
    notes: list[str]

    @property
    def has_failed(self) -> bool:
        """Whether it is an arm of a recipe that failed, and is not tried again just now."""
        return self.run.folder.failure_file.is_file()

    @property
    def wall_s(self) -> float:
        """Seconds of training and evaluation so far."""
        return float(sum(metrics["wall_s"] for metrics in self.history))

    @property
    def intact(self) -> bool | None:
        """The invariant: as checked for this page, else as recorded when the run was complete."""
        if self.inspection is not None and self.inspection.intact is not None:
            return self.inspection.intact
        return None if self.result is None else self.result.intact

    @property
    def changed_settings(self) -> dict[str, Any]:
        """Those that differ from the defaults, as `group.name`."""
        return changed_from_default(self.settings)

    @property
    def all_settings(self) -> dict[str, Any]:
        return flat(to_dict(self.settings))

    @property
    def name(self) -> str:
        """As the folder of a new run of these settings is called."""
        return run_name(self.settings)


@dataclass(frozen=True)
class GroupResult:
    """Runs of one group together; accuracies are fractions after the last completed epoch.

    Attributes:
        num_runs: with a record.
        num_complete: of those, trained to the end.
        published: what the paper gives, in percent.
        accuracy: mean over the complete runs, over all of them where none is complete.
        spread: standard deviation over the same, None for a single one.
    """

    group: str
    num_runs: int
    num_complete: int
    published: float | None
    accuracy: float
    spread: float | None


@dataclass(frozen=True)
class _Costly:
    """What takes long to find out of a run's files."""

    inspection: Inspection | None
    pictures: list[Picture]
    outcomes: list[dict[str, Any]]
    notes: list[str]


class Collector:
    """Collects the contents of runs, again and again while they go on.

    What takes long, looking at weights and drawing, is done anew only where a run's files changed.

    Attributes:
        left_out: arms of recipes that the last collection left out, and why.
    """

    def __init__(
        self,
        place: Place,
        most_inspected: int = MOST_INSPECTED,
        ceilings: Ceilings = DEFAULT_CEILINGS,
    ) -> None:
        self.place = place
        self.most_inspected = most_inspected
        self.ceilings = ceilings
        self.left_out: list[str] = []
        self._inspectors: dict[Path, Inspector] = {}
        self._costly: dict[tuple[Path, bool], tuple[_State, _Costly]] = {}

    def collect(self, runs: Sequence[ReportedRun]) -> list[RunContents]:
        """The contents of each run, in the same order, but of an arm whose folder is damaged.

        Raises:
            CheckpointError, SettingError, OSError: settings, record or result of a run that was
                named by its folder are damaged, or gone meanwhile.
        """
        inspected = {id(run) for run in _of_each_group_first(runs)[: self.most_inspected]}
        self.left_out = []
        found = []
        for run in runs:
            try:
                found.append(self._contents(run, look=id(run) in inspected))
            except (CheckpointError, SettingError, OSError) as error:
                if run.of is None:
                    raise
                self.left_out.append(f"{run.label}: {error}")
        return found

    def _contents(self, run: ReportedRun, look: bool) -> RunContents:
        folder, notes = run.folder, []
        settings, history = folder.settings(), read_record(folder)
        key = selection_key(history[-1]) if history else "test_accuracy"
        costly = self._looked_at(run, look and bool(history))
        notes += costly.notes
        if history and not look:
            notes.append(
                f"Weights are shown for {self.most_inspected} runs at most; report this run alone "
                "to see its own."
            )
        sizes: list[Size] = []
        if folder.is_complete and folder.packed_file.is_file():
            try:
                sizes = sizes_of(report_of(PackedFile(folder.packed_file, **vars(self.ceilings))))
            except PermtrainError as error:
                notes.append(f"The packed file could not be read: {error}")
        environment = (
            read_environment(folder.environment_file) if folder.environment_file.is_file() else {}
        )
        for each in environment.get("resumed", []):
            if "rounds_otherwise" in each:
                notes.append(
                    f"Gone on with {each['rounds_otherwise']}: from there on sums round otherwise, "
                    "no longer bit for bit as begun."
                )
        return RunContents(
            run=run,
            settings=settings,
            environment=environment,
            history=history,
            best=max(history, key=lambda m: (m[key], -m["epoch"])) if history else None,
            selected_on=key.removesuffix("_accuracy"),
            result=RunResult.read(folder) if folder.is_complete else None,
            inspection=costly.inspection,
            sizes=sizes,
            pictures=costly.pictures,
            outcomes=costly.outcomes,
            notes=notes,
        )

    def _looked_at(self, run: ReportedRun, look: bool) -> _Costly:
        """What an earlier look found, if the run's files are those of then."""
        key, state = (resolved(run.folder.path), look), _state_of(run.folder)
        if key in self._costly and self._costly[key][0] == state:
            return self._costly[key][1]
        found = self._look_at(run, look)
        self._costly[key] = state, found
        return found

    def _look_at(self, run: ReportedRun, look: bool) -> _Costly:
        folder, inspection, notes = run.folder, None, []
        pictures: list[Picture] = []
        outcomes: list[dict[str, Any]] = []
        if look:
            inspector = self._inspectors.setdefault(
                resolved(folder.path), Inspector(folder, folder.place(self.place))
            )
            inspection = inspector.look()
            notes += inspector.notes
            if inspection.hindrance is not None:
                notes.append(f"The weights could not be looked at: {inspection.hindrance}")
            try:
                pictures = pictures_of(folder)
            except PermtrainError as error:
                notes.append(f"Pictures could not be made: {error}")
        of = run.of
        if of is not None and of.recipe.alternatives is not None and folder.is_complete:
            try:
                outcomes = rows_of(of.recipe, of.budget, of.arm, folder, self.place, self.ceilings)
            except PermtrainError as error:
                notes.append(f"Sizes and accuracies of files could not be told: {error}")
        return _Costly(inspection, pictures, outcomes, notes)


_State = frozenset[tuple[str, int, int]]


def _state_of(folder: RunFolder) -> _State:
    """Names, sizes and times of a run's own files; the page itself may lie beside them."""
    files = [
        folder.settings_file,
        folder.place_file,
        folder.metrics_file,
        folder.ranking_file,
        folder.result_file,
        folder.weights_file,
        folder.packed_file,
        *folder.checkpoints.glob("*.pt"),
    ]
    found = []
    for file in files:
        with suppress(FileNotFoundError):  # not there yet, or removed meanwhile
            facts = file.stat()
            found.append((file.name, facts.st_size, facts.st_mtime_ns))
    return frozenset(found)


def _of_each_group_first(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """One run of every group, then the others."""
    first = {run.group: run for run in reversed(runs)}
    return [
        *(run for run in runs if first[run.group] is run),
        *(run for run in runs if first[run.group] is not run),
    ]


def group_results(contents: Sequence[RunContents]) -> list[GroupResult]:
    """Means over the runs of each group that have a record, in the order given."""
    found = []
    for group in dict.fromkeys(each.run.group for each in contents):
        mine = [each for each in contents if each.run.group == group and each.history]
        if not mine:
            continue
        complete = [each for each in mine if each.result is not None]
        last = [each.history[-1]["test_accuracy"] for each in complete or mine]
        accuracy, spread = mean_and_spread(last)
        found.append(
            GroupResult(
                group=group,
                num_runs=len(mine),
                num_complete=len(complete),
                published=mine[0].run.published,
                accuracy=accuracy,
                spread=spread,
            )
        )
    return found


def small_files(contents: Sequence[RunContents]) -> list[SizedArm]:
    """Accuracy and bytes of recipes that tell sizes, alternatives too; the smallest file first."""
    return sized_arms(
        [
            SizedScore(row["arm"], row["file_bytes"], row["test_percent"] / 100, row["family"])
            for each in contents
            for row in each.outcomes
        ]
    )
