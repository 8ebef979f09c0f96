"""All that a page shows, in numbers and words."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from permtrain.errors import PermtrainError
from permtrain.packed.reader import PackedFile
from permtrain.packed.report import report_of
from permtrain.report.inspection import Inspection, Inspector
from permtrain.report.pictures import Picture, pictures_of
from permtrain.report.sizes import Size, sizes_of
from permtrain.report.sources import ReportedRun
from permtrain.training.record import read_json, selection_key
from permtrain.training.run import RunResult
from permtrain.training.settings import (
    Place,
    Settings,
    changed_from_default,
    flat,
    run_name,
    to_dict,
)
from permtrain.training.trainer import Metrics

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
    notes: list[str]

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


class Collector:
    """Collects the contents of runs, again and again while they go on."""

    def __init__(self, place: Place, most_inspected: int = MOST_INSPECTED) -> None:
        self.place = place
        self.most_inspected = most_inspected
        self._inspectors: dict[str, Inspector] = {}

    def collect(self, runs: Sequence[ReportedRun]) -> list[RunContents]:
        """The contents of each run, in the same order.

        Raises:
            CheckpointError: settings, record or result of a run are damaged.
        """
        inspected = {id(run) for run in _of_each_group_first(runs)[: self.most_inspected]}
        return [self._contents(run, look=id(run) in inspected) for run in runs]

    def _contents(self, run: ReportedRun, look: bool) -> RunContents:
        folder, notes = run.folder, []
        history = folder.metrics()
        key = selection_key(history[-1]) if history else "test_accuracy"
        inspection = None
        if look and history:
            inspector = self._inspectors.setdefault(
                str(folder.path), Inspector(folder, folder.place(self.place))
            )
            inspection = inspector.look()
            if inspection.hindrance is not None:
                notes.append(f"The weights could not be looked at: {inspection.hindrance}")
        elif history:
            notes.append(
                f"Weights are shown for {self.most_inspected} runs at most; report this run alone "
                "to see its own."
            )
        sizes: list[Size] = []
        if folder.is_complete and folder.packed_file.is_file():
            try:
                sizes = sizes_of(report_of(PackedFile(folder.packed_file)))
            except PermtrainError as error:
                notes.append(f"The packed file could not be read: {error}")
        pictures: list[Picture] = []
        try:
            pictures = pictures_of(folder) if look and history else []
        except PermtrainError as error:
            notes.append(f"Pictures could not be made: {error}")
        return RunContents(
            run=run,
            settings=folder.settings(),
            environment=(
                read_json(folder.environment_file) if folder.environment_file.is_file() else {}
            ),
            history=history,
            best=max(history, key=lambda m: (m[key], -m["epoch"])) if history else None,
            selected_on=key.removesuffix("_accuracy"),
            result=RunResult.read(folder) if folder.is_complete else None,
            inspection=inspection,
            sizes=sizes,
            pictures=pictures,
            notes=notes,
        )


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
        found.append(
            GroupResult(
                group=group,
                num_runs=len(mine),
                num_complete=len(complete),
                published=mine[0].run.published,
                accuracy=statistics.fmean(last),
                spread=statistics.stdev(last) if len(last) > 1 else None,
            )
        )
    return found
