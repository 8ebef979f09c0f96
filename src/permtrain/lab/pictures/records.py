"""Run folders and tables of results as the curves and points that pictures draw."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from permtrain.errors import PictureError, one_line
from permtrain.files import require_file, resolved
from permtrain.lab.pictures.numbers.bands import Curve
from permtrain.lab.pictures.numbers.power_law import ErrorsByWidth
from permtrain.lab.pictures.numbers.ranking import RankingHistory
from permtrain.lab.pictures.numbers.scores import SizedScore
from permtrain.lab.training.ranking_watch import read_ranking
from permtrain.lab.training.record import read_record
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Settings, changed_from_default
from permtrain.text import alike, csv_text

Row = dict[str, str]

Panels = dict[str, dict[str, list[Curve]]]
"""Data set to label to the curves of its runs."""

_PERCENTS = ("test_percent", "test_accuracy_percent", "test_accuracy")
_BYTES = ("file_bytes", "bytes", "num_bytes", "packed_bytes")


def curves_of(sources: Sequence[Path]) -> tuple[Panels, str]:
    """Test accuracy in percent along training, one group for each arm, a curve for each seed.

    The arms of each data set are a panel of their own; where there is one set, its name is empty.

    Args:
        sources: run folders, folders of run folders, or one or several tables of results whose
            column `test_percent_at` holds accuracies after some steps ("25=78.6 100=90.6").

    Returns: the panels, and what x counts: "epoch" or "optimizer step".
    Raises:
        PictureError: tables and folders mixed, or nothing that is a curve.
        CheckpointError, SettingError: a run folder that cannot be read.
    """
    if not sources:
        raise PictureError("there is no source; allowed: run folders, or CSV files of results")
    are_tables = [source.suffix == ".csv" for source in sources]
    if all(are_tables):
        return _curves_of_tables(_distinct(sources)), "optimizer step"
    if any(are_tables):
        raise PictureError("sources are both run folders and tables; allowed: one kind")
    folders = _distinct([run.path for source in sources for run in _runs_in(source)])
    return _curves_of_runs([RunFolder(folder) for folder in folders]), "epoch"


def _distinct(paths: Sequence[Path]) -> list[Path]:
    """Each once, however often and in whatever way it is named: it would pass for more seeds."""
    found: dict[Path, Path] = {}
    for path in paths:
        found.setdefault(resolved(path), path)
    return list(found.values())


def _curves_of_tables(files: Sequence[Path]) -> Panels:
    panels: Panels = {}
    for file in files:
        for number, row in enumerate(read_rows(file), 2):
            text = row.get("test_percent_at") or ""
            if text and _has_outcome(row):
                label = _label(row, file, len(files))
                groups = panels.setdefault(row.get("data") or "", {})
                groups.setdefault(label, []).append(_curve_in(text, f"{file}, line {number}"))
    if not panels:
        raise PictureError(
            f"{files[0]}: no accuracies along training, in a column test_percent_at; give the run "
            "folders"
        )
    return _named_where_several(panels)


def _curve_in(text: str, where: str) -> Curve:
    try:
        pairs = [word.split("=") for word in text.split()]
        return [(float(step), float(percent)) for step, percent in pairs]
    except ValueError:
        raise PictureError(
            f"{where}: test_percent_at is {text[:60]!r}; allowed: steps and percents, as 25=78.6"
        ) from None


def _runs_in(source: Path) -> list[RunFolder]:
    """The run itself, or all runs in a folder."""
    if (source / "settings.json").is_file() or not source.is_dir():
        return [RunFolder(source)]
    found = [RunFolder(file.parent) for file in sorted(source.glob("*/settings.json"))]
    if not found:
        raise PictureError(f"{source}: holds no run; allowed: the folder of a run, or of runs")
    return found


def _curves_of_runs(runs: Sequence[RunFolder]) -> Panels:
    settings = [run.settings() for run in runs]
    labels = labels_of(settings, but="data.data")
    panels: Panels = {}
    for run, own, label in zip(runs, settings, labels, strict=True):
        metrics = read_record(run)
        if not metrics:
            raise PictureError(f"{run.path}: no epoch is recorded yet")
        curve = [(each["epoch"], 100 * each["test_accuracy"]) for each in metrics]
        panels.setdefault(own.data.data, {}).setdefault(label, []).append(curve)
    return _named_where_several(panels)


def _named_where_several(panels: Panels) -> Panels:
    return panels if len(panels) > 1 else {"": next(iter(panels.values()))}


def labels_of(settings: Sequence[Settings], *, but: str | None = None) -> list[str]:
    """Each run's network and method, and what else sets it apart; seeds make no difference.

    Args:
        but: a setting that is told elsewhere.

    Example:
        >>> runs = [Settings(), Settings(seed=1), Settings(epochs=3)]
        >>> labels_of(runs)
        ['laperm', 'laperm', 'laperm, epochs=3']
        >>> labels_of([Settings(), Settings(model="lenet5")])
        ['digits-cnn: laperm', 'lenet5: laperm']
    """
    flat = [changed_from_default(replace(each, seed=0)) for each in settings]
    names = list(dict.fromkeys(name for each in flat for name in each))
    differing = [name for name in names if len({str(each.get(name)) for each in flat}) > 1]
    others = [name for name in differing if name not in ("permutation.method", "model", but)]
    return [
        (f"{each.model}: " if "model" in differing else "")
        + ", ".join(
            [
                each.permutation.method,
                *(
                    f"{name.rpartition('.')[2]}={own[name]}"
                    for name in others
                    if own.get(name) is not None
                ),
            ]
        )
        for each, own in zip(settings, flat, strict=True)
    ]


def read_rows(file: Path) -> list[Row]:
    """The rows of a CSV file with a header.

    Raises:
        PictureError: it is missing, not text, or has no rows.
    """
    try:
        require_file(file)
        with open(file, newline="", encoding="utf-8") as opened:
            rows = [
                {csv_text(name): csv_text(cell or "") for name, cell in row.items() if name}
                for row in csv.DictReader(opened)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PictureError(f"{file}: not readable as CSV ({one_line(error)})") from None
    if not rows:
        raise PictureError(f"{file}: holds no rows")
    return rows


def sized_scores(files: Sequence[Path]) -> list[SizedScore]:
    """One point for each row of tables that tell accuracy and bytes.

    Columns: `arm` (else `recipe`), one of test_percent, test_accuracy_percent, test_accuracy (a
    fraction), and one of file_bytes, bytes, num_bytes, packed_bytes. Rows that lack either number
    are left out.

    Raises:
        PictureError: a table without such columns, a cell that is no number, or no point at all.
    """
    files = _distinct(files)
    scores = [score for file in files for score in _scores_in(file, len(files))]
    if not scores:
        raise PictureError("no row tells both an accuracy and bytes")
    return scores


def _scores_in(file: Path, num_files: int) -> Iterator[SizedScore]:
    rows = read_rows(file)
    percent_column = _column(rows[0], _PERCENTS, file)
    bytes_column = _column(rows[0], _BYTES, file)
    scale = 1 if percent_column == "test_accuracy" else 100
    for number, row in enumerate(rows, 2):
        percent, size = row[percent_column], row[bytes_column]
        if not percent or not size or not _has_outcome(row):
            continue
        try:
            score = SizedScore(
                _label(row, file, num_files),
                float(size),
                float(percent) / scale,
            )
        except ValueError:
            raise PictureError(
                f"{file}, line {number}: {percent_column} is {percent!r}, {bytes_column} is "
                f"{size!r}; allowed: numbers"
            ) from None
        yield score


def errors_by_width(files: Sequence[Path]) -> dict[str, ErrorsByWidth]:
    """The L-infinity errors of regression's results, one group for each arm but its width.

    Columns: `arm`, whose last part may be the width as in ", n=40", which is left out; `width`;
    `linf_each`, the networks' errors. Groups of a single width are left out.

    Raises:
        PictureError: a table without such columns, a cell that is no number, or no group.
    """
    groups: dict[str, dict[int, list[float]]] = {}
    files = _distinct(files)
    for file in files:
        for number, row in enumerate(read_rows(file), 2):
            if not _has_outcome(row):
                continue
            width = row[_column(row, ("width",), file)]
            each = row[_column(row, ("linf_each",), file)]
            arm = _label(row, file, len(files))
            label = arm.rpartition(", n=")[0] or arm
            try:
                errors = [float(error) for error in each.split()]
                groups.setdefault(label, {}).setdefault(int(width), []).extend(errors)
            except ValueError:
                raise PictureError(
                    f"{file}, line {number}: width is {width!r}, linf_each is {each[:60]!r}; "
                    "allowed: numbers"
                ) from None
    wide = {label: dict(sorted(errors.items())) for label, errors in groups.items()}
    if not any(len(errors) > 1 for errors in wide.values()):
        raise PictureError(f"{files[0]}: no arm has errors at two widths or more")
    return {label: errors for label, errors in wide.items() if len(errors) > 1}


def _has_outcome(row: Mapping[str, str]) -> bool:
    """Whether a row of results counts: not where its run failed, or was of other settings."""
    return (row.get("status") or "complete") == "complete"


def _label(row: Mapping[str, str], file: Path, num_files: int) -> str:
    """The arm; beside other tables with its own, whose arms may have the same names."""
    arm, recipe = row.get("arm"), row.get("recipe") or file.stem
    if arm and num_files > 1:
        return f"{recipe}: {arm}"
    return arm or recipe


def _column(row: Mapping[str, str], names: Sequence[str], file: Path) -> str:
    for name in names:
        if name in row:
            return name
    raise PictureError(f"{file}: has no column {names[0]}; allowed: one of {', '.join(names)}")


def ranking_history(folder: Path, layer: str | None = None) -> RankingHistory:
    """What `--watch-ranking-distance` recorded of a run, with its losses.

    The validation loss is taken where images were set aside, else the test loss.

    Args:
        layer: its name; left out, the first that was recorded.

    Raises:
        PictureError: nothing was recorded, or not of that layer.
        CheckpointError: no run folder, or a damaged record.
    """
    run = RunFolder(folder)
    run.settings()
    if not run.ranking_file.is_file():
        raise PictureError(
            f"{folder}: holds no ranking.jsonl; allowed: a run that was trained with "
            "--watch-ranking-distance"
        )
    lines = read_ranking(run.ranking_file)
    metrics = read_record(run)
    if not metrics or not lines:
        raise PictureError(f"{folder}: no epoch is recorded yet")
    layers = list(dict.fromkeys(line["layer"] for line in lines))
    if layer is not None:
        if (known := alike(layer, layers)) is None:
            raise PictureError(f"layer is {layer!r}; recorded in {folder}: {', '.join(layers)}")
        layer = known
    lines = [line for line in lines if line["layer"] == (layer or layers[0])]
    key = "validation_loss" if "validation_loss" in metrics[0] else "test_loss"
    steps_per_epoch = metrics[0]["step"]
    return RankingHistory(
        layer=lines[0]["layer"],
        epochs=np.array([line["epoch"] for line in lines], dtype=np.float64),
        percentiles=np.array([line["percentiles"] for line in lines]),
        lowest=np.array([line["lowest"] for line in lines]),
        highest=np.array([line["highest"] for line in lines]),
        distance_epochs=np.array([s for line in lines for s in line["steps"]]) / steps_per_epoch,
        mean=np.array([mean for line in lines for mean in line["mean"]]),
        deviation=np.array([deviation for line in lines for deviation in line["deviation"]]),
        losses=[(each["epoch"], each[key]) for each in metrics],
        loss_name=key.replace("_", " "),
    )


IMAGE_ROWS = ("originals", "shuffled", "recovered", "class_means")
"""What a run that permutes pixels shows, from top to bottom."""


def recovered_images(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """The images that a run which permutes pixels has left, in `IMAGE_ROWS`' order.

    Shapes: (N, C, H, W) each.
    Raises:
        PictureError: the folder holds none, or they are damaged.
    """
    path = folder / "images.safetensors"
    if not path.is_file():
        raise PictureError(
            f"{folder}: holds no images.safetensors; allowed: a complete run that permutes pixels"
        )
    try:
        images = load_file(path)
        return {name: images[name] for name in IMAGE_ROWS}
    except Exception as error:  # a damaged file can raise nearly anything
        raise PictureError(f"{path}: not readable as images ({error})") from error
