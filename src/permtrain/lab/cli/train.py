"""`permtrain train` and `permtrain resume`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from permtrain.lab.cli.places import PlaceToResume
from permtrain.lab.training.settings import (
    PermutationSettings,
    Place,
    Settings,
    SGPermSettings,
)

if TYPE_CHECKING:
    from permtrain.lab.training.result import RunResult


def train(
    settings: Annotated[Settings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    place: Annotated[Place, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    baseline: bool = False,
) -> None:
    """Train a network by permuting its initial weights.

    Without flags: a small convolutional net on scikit-learn's handwritten digits, by LaPerm.
    --help shows the commonest options, --help-all every one.

    Args:
        baseline: Also train the same net by the plain inner optimizer, and compare.
    """
    from permtrain.lab.cli.progress import Progress
    from permtrain.lab.cli.result_table import show_result
    from permtrain.lab.training.run import start_run

    results: dict[str, RunResult] = {}
    with Progress(settings.permutation.method) as progress:
        results[settings.permutation.method] = start_run(settings, place, display=progress)
    plain = _baseline_of(settings)
    if baseline and plain != settings:
        with Progress(plain.permutation.method) as progress:
            results[plain.permutation.method] = start_run(plain, place, display=progress)
    _log_figures(place, *results.values())
    show_result(settings, results)


def resume(
    run: Annotated[Path, tyro.conf.Positional],
    place: Annotated[PlaceToResume, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    checkpoint: str | None = None,
    accept_changes: bool = False,
    strict: bool = False,
) -> None:
    """Go on with an interrupted run, bit for bit.

    With other threads, instructions or versions of torch than at its beginning, sums round
    otherwise: a line says so, and so do its record and its report.

    Args:
        run: The run's folder.
        checkpoint: last, best, or a checkpoint file; what came after it is forgotten. Left out, the
            last one of a run that is not complete.
        accept_changes: Go on with other images than those of the beginning, or with changed code of
            a network of one's own.
        strict: Refuse to go on where sums would round otherwise.
    """
    from permtrain.lab.training.run_folder import RunFolder

    folder = RunFolder(run)
    settings = folder.settings()  # refuses what is no run; what follows imports torch
    from permtrain.lab.cli.progress import Progress
    from permtrain.lab.cli.result_table import show_result
    from permtrain.lab.training.run import resume_run

    file = None if checkpoint is None else folder.checkpoint(checkpoint)
    with Progress(settings.permutation.method) as progress:
        result = resume_run(
            run,
            place,
            checkpoint=file,
            display=progress,
            accept_changes=accept_changes,
            strict=strict,
        )
    _log_figures(folder.place(place), result)
    show_result(settings, {settings.permutation.method: result})


def _baseline_of(settings: Settings) -> Settings:
    """The same run by the inner optimizer alone; zeros of a sparse net stay zero."""
    method = "plain-frozen-zeros" if settings.initial.is_sparse else "plain"
    alone = PermutationSettings(method=method)  # type: ignore[arg-type]
    return replace(settings, permutation=alone, sgperm=SGPermSettings())


def _log_figures(place: Place, *results: "RunResult") -> None:
    if place.tensorboard:
        from permtrain.lab.report.pictures import log_figures
        from permtrain.lab.training.run_folder import RunFolder

        for result in results:
            log_figures(RunFolder(result.folder))
