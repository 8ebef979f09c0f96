"""What a training run says at its end."""

import shlex
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from permtrain.lab.cli.console import PlainConsole
from permtrain.lab.cli.extras import with_extra
from permtrain.lab.training.result import RunResult
from permtrain.lab.training.settings import Settings
from permtrain.lab.training.travel import Travel

HARDLY_MOVED = 0.01
"""A mean ranking distance below it, as part of a vector's ranks, is told. Of the runs in `results/`
whose weights moved less none reached 84%; dense ones above 90% moved 1.9 to 31%."""


def show_result(
    settings: Settings, results: Mapping[str, RunResult], console: Console | None = None
) -> None:
    """A short table of the runs just done, the invariant, and where to go on."""
    console = console or PlainConsole()
    chosen_on = next(iter(results.values())).selected_on
    epochs = "1 epoch" if settings.epochs == 1 else f"{settings.epochs} epochs"
    table = Table(title=f"{settings.model} on {settings.data.data}, {epochs}")
    table.add_column("method")
    table.add_column("test accuracy, last epoch", justify="right")
    table.add_column(f"best epoch (chosen on {chosen_on})", justify="right")
    of_text = any(result.test_bits is not None for result in results.values())
    if of_text:
        table.add_column("bits a character", justify="right")
    table.add_column("time", justify="right")
    for method, result in results.items():
        table.add_row(
            method,
            f"{result.test_accuracy:.2%}",
            f"{result.best_test_accuracy:.2%} ({result.best_epoch})",
            *([f"{result.test_bits:.4f}"] if of_text else []),
            f"{result.wall_s:.0f} s",
        )
    console.print(table)
    for method, result in results.items():
        if result.epochs < settings.epochs:
            console.print(
                f"{method} stopped after epoch {result.epochs}: none since epoch "
                f"{result.best_epoch} was better on validation images (patience "
                f"{settings.patience}); that one: --checkpoint best",
                highlight=False,
                soft_wrap=True,
            )
    for result in results.values():
        if result.verification is not None:
            mark = "proof:" if result.intact else "VIOLATED:"
            console.print(f"{mark} {result.verification}", highlight=False, soft_wrap=True)
        if result.travel is not None:
            console.print(
                f"travel: {result.travel.moved_fraction:.1%} of the weights stand elsewhere than "
                f"at first, {result.travel.mean_ranking_distance:.1%} of their vector's ranks away "
                f"on average, in {result.travel.num_cycles:,} cycles",
                highlight=False,
                soft_wrap=True,
            )
            if hint := _hint(settings, result.travel):
                console.print(f"hint:   {hint}", highlight=False, soft_wrap=True)
    verifiable = [result.folder for result in results.values() if result.intact is not None]
    for result in results.values():
        console.print(f"folder: {result.folder}", highlight=False, soft_wrap=True)
    folders = [str(result.folder) for result in results.values()]
    report = with_extra(shlex.join(["permtrain", "report", *folders]), "report")
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
    console.print(
        "next:   "
        + "".join(f"permtrain verify {shlex.quote(str(f))}\n        " for f in verifiable)
        + "permtrain list     (networks, data, methods, rules)\n"
        "        permtrain recipes  (the papers' experiments)",
        highlight=False,
        soft_wrap=True,
    )


def _hint(settings: Settings, travel: Travel) -> str | None:
    """What to change where weights hardly moved; None where they did."""
    if travel.mean_ranking_distance >= HARDLY_MOVED:
        return None
    permutation = settings.permutation
    if permutation.method == "sgperm":
        changes = f"--aggressiveness (now {settings.sgperm.aggressiveness:g})"
    else:
        changes = f"--lr (now {settings.optimizer.lr:g})"
        if permutation.method == "laperm":
            changes += f" or --sync-period (now {permutation.sync_period or 20})"
    return f"weights hardly moved: a larger {changes} moves them farther, and so do more epochs"
