"""Regression by permutation alone: error against width.

Source: Cai, Chen, Qiao, "Neural networks trained by weight permutation are universal
approximators", Neural Networks 187 (2025), arXiv 2407.01033, and the authors' published code. A
network of one hidden ReLU layer learns a function by permuting its second layer alone (`network`).
The paper proves a rate of n^(-1/2) for a step function in one variable and reports about that slope
for the L-infinity error, a falling slope in two and three variables, success from equidistant,
pairwise and plainly uniform values, and failure from He's and Glorot's.

From the authors' code: targets, directions (2, 8, 26), biases, networks a width (10, geometric
means), training points (1,600 in one variable, 51,200 else), batches (8, 128, 640), Adam at 1e-3,
x .998 an epoch, 6,400 epochs, synchronisation every 5 epochs (20 in three variables), scale and
offset trained freely, errors on a grid of 400 and 113 x 113 test points.

Ours: equidistant coefficients are quantiles, which leave half a step at both ends; Glorot without
the ReLU gain of sqrt(2), which the free scale takes up; a grid of 33 in each of three variables
(theirs: 113); in three variables coefficients in pairs, as in the others (theirs repeat one draw 26
times); synchronisation every 5 epochs to the letter (their code: after 5, then every 4); the index
optimizer and Adam beside it, from four kinds of initial values; two and three variables from
equidistant and pairwise values only.

quick: every arm, at a rate 64 times as high with a sync period 64 times as short, so that weights
may travel as far between two synchronisations. In one variable 64 times fewer steps, from a
sixteenth of the epochs and batches four times as large, so that weights may travel as far in all.
In two and three variables 512 and 102 times fewer, so that they may not: 100 epochs of 6,400 points
in batches of 128, and 3 networks.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from permtrain.lab.recipes.experiments.regression.settings import (
    INITS,
    METHODS,
    RegressionSettings,
    run_name,
)
from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.recipes.task import Measure, Task
from permtrain.lab.training.settings import Place

if TYPE_CHECKING:
    from permtrain.lab.training.engine import Session
    from permtrain.lab.training.run_folder import RunFolder

WIDTHS = (10, 20, 40, 80, 160, 320)

PUBLISHED: dict[tuple[str, str], dict[int, tuple[float, float]]] = {
    ("sine", "equidistant"): {
        10: (0.88550996, 0.17788688),
        20: (0.56379145, 0.05687042),
        40: (0.26775845, 0.01620989),
        80: (0.23476387, 0.00940157),
        160: (0.13951381, 0.00369528),
        320: (0.09239387, 0.0013398),
    },
    ("sine", "pairwise"): {
        10: (1.04948622, 0.28402209),
        20: (0.5558617, 0.08034872),
        40: (0.25593448, 0.0123262),
        80: (0.14035245, 0.00346916),
        160: (0.07991515, 0.00091867),
        320: (0.04509301, 0.00034667),
    },
}
"""L-infinity error and mean squared error by width, geometric means of 10, LaPerm: printed in the
authors' published notebooks."""


_PAIRED = ("equidistant", "pairwise")
_BESIDE = (*_PAIRED, "he", "glorot")


def regression_1d(budget: Budget) -> list[Arm]:
    """-sin(2 pi x) from every kind of initial values, and the third Legendre polynomial."""
    settings = [
        RegressionSettings(target, width, init, method)
        for target, method, inits in (
            ("sine", "laperm", tuple(INITS)),
            ("sine", "index", _BESIDE),
            ("sine", "adam", _BESIDE),
            ("legendre", "laperm", _PAIRED),
        )
        for init in inits
        for width in WIDTHS
    ]
    return _arms(settings, budget)


def regression_2d(budget: Budget) -> list[Arm]:
    """-sin(pi x y), from equidistant and pairwise values."""
    return _arms(_beyond("sine-2d", batch_size=128, sync_period=5 * 400), budget)


def regression_3d(budget: Budget) -> list[Arm]:
    """sin(3 x) cos(y) sin(2 z), likewise."""
    return _arms(_beyond("sine-3d", batch_size=640, sync_period=20 * 80), budget)


def _beyond(target: str, batch_size: int, sync_period: int) -> Iterable[RegressionSettings]:
    return [
        RegressionSettings(
            target,
            width,
            init,
            method,
            sync_period=sync_period,
            batch_size=batch_size,
            train_points=51_200,
        )
        for method in METHODS
        for init in _PAIRED
        for width in WIDTHS
    ]


def _arms(all_settings: Iterable[RegressionSettings], budget: Budget) -> list[Arm]:
    shorten: Callable[[RegressionSettings], RegressionSettings] = (
        _quick if budget == "quick" else lambda settings: settings
    )
    return [
        Arm(
            f"{settings.target}, {METHOD_TITLES[settings.method]}, {settings.init}, "
            f"n={settings.width}",
            shorten(settings),
        )
        for settings in all_settings
    ]


METHOD_TITLES = {"laperm": "LaPerm", "index": "index optimizer", "adam": "Adam"}


def _quick(settings: RegressionSettings) -> RegressionSettings:
    in_one_variable = settings.target in ("sine", "legendre")
    epochs = settings.epochs // (16 if in_one_variable else 64)
    return replace(
        settings,
        epochs=epochs,
        batch_size=32 if in_one_variable else 128,
        train_points=1_600 if in_one_variable else 6_400,
        networks=10 if in_one_variable else 3,
        lr=settings.lr * 64,
        lr_decay=settings.lr_decay ** (settings.epochs // epochs),
        sync_period=round(settings.sync_period / 64),
    )


def _begin(settings: RegressionSettings, place: Place) -> "Session":
    from permtrain.lab.recipes.experiments.regression.training import RegressionSession

    return RegressionSession(settings, place)


def _row(folder: "RunFolder") -> dict[str, Any]:
    from permtrain.lab.recipes.experiments.regression.training import row  # imports torch

    return row(folder)


TASK = Task(
    run_name=run_name,
    begin=_begin,
    row=_row,
    measures=(
        Measure("linf", "L-infinity error", 4),
        Measure("rmse", "RMS error", 4),
        Measure("train_rmse", "on training points", 4),
    ),
)


RECIPES = (
    Recipe(
        "regression-1d",
        "error against width, permuting one layer (Cai, Chen, Qiao 2025), 1 variable",
        "102 runs of 1,280,000 steps, some 6 to 10 hours (estimated)",
        regression_1d,
        task=TASK,
    ),
    Recipe(
        "regression-2d",
        "the same in 2 variables",
        "36 runs of 2,560,000 steps, some 100 hours (estimated)",
        regression_2d,
        task=TASK,
    ),
    Recipe(
        "regression-3d",
        "the same in 3 variables",
        "36 runs of 512,000 steps, some 400 hours (estimated)",
        regression_3d,
        task=TASK,
    ),
)
