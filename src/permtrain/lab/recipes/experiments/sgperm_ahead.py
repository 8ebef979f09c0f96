"""SGPerm beyond the paper: what was tried on a validation split, and the choice beside Adam.

The task is that of Permute to Train, section 5.1.2: `fc500-300`, batches of 64, 800 updates.
"""

from dataclasses import replace
from typing import Any

from permtrain.lab.recipes.experiments.sgperm import BATCH_SIZE, EVALUATED_AT, FULLY_CONNECTED
from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
    SGPermSettings,
)

DATA = {"MNIST": "mnist", "Fashion-MNIST": "fashion_mnist"}
NUM_UPDATES = EVALUATED_AT[-1]
NUM_IMAGES = NUM_UPDATES * BATCH_SIZE
ADAMS_RATES = (5e-4, 1e-3, 2e-3, 3e-3, 5e-3)

# By `sgperm_study`: SGPerm's defaults, and what is best for Adam.
CHOSEN = SGPermSettings()
GROWING_MOMENTUM = SGPermSettings(momentum_approach=0.99763)  # to .97 in 800 steps; see studies/
CHOSEN_RATE = {"mnist": 1e-3, "fashion_mnist": 1e-3}
CHOSEN_COSINE_RATE = {"mnist": 2e-3, "fashion_mnist": 2e-3}


def _changed(**changes: Any) -> SGPermSettings:
    return replace(CHOSEN, **changes)


VARIANTS: dict[str, SGPermSettings] = {
    "chosen": CHOSEN,
    "as published": FULLY_CONNECTED,
    "as published, bracket": replace(FULLY_CONNECTED, search="bracket"),
    "as published, bracket, floor .01": replace(
        FULLY_CONNECTED, search="bracket", aggressiveness_min=0.01
    ),
    "alpha from .02": _changed(aggressiveness=0.02, aggressiveness_decay=0.9976),
    "alpha from .1": _changed(aggressiveness=0.1, aggressiveness_decay=0.9956),
    "floor .001": _changed(aggressiveness_min=0.001, aggressiveness_decay=0.9951),
    "floor .006": _changed(aggressiveness_min=0.006, aggressiveness_decay=0.9974),
    "momentum .5": _changed(momentum=0.5),
    "momentum .9": _changed(momentum=0.9),
    "momentum .95": _changed(momentum=0.95),
    "lambda .1": _changed(partition_ratio=0.1, partition_ratio_max=0.1),
    "lambda .3": _changed(partition_ratio=0.3, partition_ratio_max=0.3),
    "START": _changed(search="start"),
    "ANY": _changed(search="any"),
    "pair": _changed(search="pair"),
    "Adam's difference, START": _changed(search="start", recommendation="difference"),
}
INITIAL = {
    "normal weights": InitialSettings(rule="kaiming_normal"),
    "weights in pairs": InitialSettings(pairwise=True),
    "quantiles, shared": InitialSettings(share=True, quantiles=True),
}


def study_settings(data: str, budget: Budget) -> Settings:
    """A run of plain Adam whose validation split leaves just the images of 800 updates."""
    return Settings(
        data=DataSettings(
            data=data,
            validation_fraction=(60_000 - NUM_IMAGES) / 60_000,
            train_images=None if budget == "paper" else 7_500,
        ),
        model="fc500-300",
        permutation=PermutationSettings(method="plain"),
        optimizer=OptimizerSettings(inner="Adam", lr=1e-3),
        epochs=1,
        batch_size=BATCH_SIZE,
    )


def sgperm_study(budget: Budget) -> list[Arm]:
    """Settings around the chosen ones; what counts is the accuracy on the 8,800 images set aside.

    Biases are left to Adam, but in two variants.
    """
    arms = []
    for name, data in DATA.items():
        adam = study_settings(data, budget)
        sgperm = replace(adam, permutation=PermutationSettings(method="sgperm"))
        permuting_biases = replace(
            sgperm, permutation=PermutationSettings(method="sgperm", permute_biases=True)
        )
        groups = {f"Adam, lr {rate:g}": _with_rate(adam, rate) for rate in ADAMS_RATES}
        groups |= {
            f"Adam, cosine from {rate:g}": _with_rate(adam, rate, cosine=True)
            for rate in ADAMS_RATES
        }
        groups |= {key: replace(sgperm, sgperm=variant) for key, variant in VARIANTS.items()}
        groups |= {key: replace(sgperm, initial=initial) for key, initial in INITIAL.items()}
        groups["biases permuted apart"] = permuting_biases
        groups["biases in the rows"] = replace(
            permuting_biases, sgperm=_changed(permuted_biases="row")
        )
        groups["biases by Adam, lr 3e-3"] = _with_rate(sgperm, 3e-3)
        arms += [
            Arm(f"{name}: {group}", replace(settings, seed=seed))
            for group, settings in groups.items()
            for seed in (range(2) if budget == "paper" else (0,))
        ]
    return arms


def sgperm_ahead(budget: Budget) -> list[Arm]:
    """The chosen settings, on test images, beside Adam at its best rates and at 1e-3."""
    evaluated_at = EVALUATED_AT if budget == "paper" else EVALUATED_AT[:2]
    arms = []
    for name, data in DATA.items():
        adam = Settings(
            data=DataSettings(data=data, train_images=evaluated_at[-1] * BATCH_SIZE),
            model="fc500-300",
            permutation=PermutationSettings(method="plain"),
            optimizer=OptimizerSettings(inner="Adam", lr=1e-3),
            epochs=1,
            batch_size=BATCH_SIZE,
            evaluate_at=evaluated_at,
        )
        sgperm = replace(adam, permutation=PermutationSettings(method="sgperm"))
        rates = sorted({1e-3, CHOSEN_RATE[data]})
        groups = {
            "SGPerm, chosen": sgperm,
            "SGPerm, momentum grows": replace(sgperm, sgperm=GROWING_MOMENTUM),
        }
        groups |= {f"Adam, lr {rate:g}": _with_rate(adam, rate) for rate in rates}
        cosine_rate = CHOSEN_COSINE_RATE[data]
        groups[f"Adam, cosine from {cosine_rate:g}"] = _with_rate(adam, cosine_rate, cosine=True)
        arms += [
            Arm(f"{name}: {group}", replace(settings, seed=seed))
            for group, settings in groups.items()
            for seed in (range(5) if budget == "paper" else (0,))
        ]
    return arms


def _with_rate(settings: Settings, rate: float, *, cosine: bool = False) -> Settings:
    return replace(settings, optimizer=replace(settings.optimizer, lr=rate, lr_cosine=cosine))


RECIPES = (
    Recipe(
        "sgperm-study",
        "fc500-300 on MNIST and Fashion-MNIST, SGPerm's settings on a validation split (ours)",
        "132 runs of 800 updates",
        sgperm_study,
    ),
    Recipe(
        "sgperm-ahead",
        "fc500-300 on MNIST and Fashion-MNIST, SGPerm's chosen settings beside Adam (ours)",
        "40 runs of 800 updates",
        sgperm_ahead,
    ),
)
