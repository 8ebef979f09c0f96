"""SGPerm beyond the paper: what was tried on a validation split, and the choice beside Adam.

The task is that of Permute to Train, section 5.1.2: `fc500-300`, batches of 64, 800 updates.
"""

from dataclasses import replace
from typing import Any

from permtrain.recipes.recipe import Arm, Budget
from permtrain.recipes.sgperm import BATCH_SIZE, EVALUATED_AT, FULLY_CONNECTED
from permtrain.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
    SGPermSettings,
)

DATA = {"MNIST": "mnist", "Fashion-MNIST": "fashion_mnist"}
NUM_IMAGES = EVALUATED_AT[-1] * BATCH_SIZE
ADAMS_RATES = (5e-4, 1e-3, 2e-3, 3e-3, 5e-3)
CHOSEN_RATE = 3e-3  # of Adam, by `sgperm_study`
CHOSEN = SGPermSettings()  # the defaults, by `sgperm_study`


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


def sgperm_study(budget: Budget) -> list[Arm]:
    """Settings around the chosen ones; what counts is the accuracy on the 8,800 images set aside.

    Biases are left to Adam, but in one variant.
    """
    arms = []
    for name, data in DATA.items():
        base = Settings(
            data=DataSettings(
                data=data,
                validation_fraction=(60_000 - NUM_IMAGES) / 60_000,
                train_images=None if budget == "paper" else 7_500,
            ),
            model="fc500-300",
            optimizer=OptimizerSettings(inner="Adam", lr=1e-3),
            epochs=1,
            batch_size=BATCH_SIZE,
        )
        adam = replace(base, permutation=PermutationSettings(method="plain"))
        sgperm = replace(base, permutation=PermutationSettings(method="sgperm"))
        groups = {
            f"Adam, lr {rate:g}": replace(adam, optimizer=replace(base.optimizer, lr=rate))
            for rate in ADAMS_RATES
        }
        groups |= {key: replace(sgperm, sgperm=variant) for key, variant in VARIANTS.items()}
        groups |= {key: replace(sgperm, initial=initial) for key, initial in INITIAL.items()}
        groups["biases permuted apart"] = replace(
            sgperm, permutation=PermutationSettings(method="sgperm", permute_biases=True)
        )
        groups["biases by Adam, lr 3e-3"] = replace(
            sgperm, optimizer=replace(base.optimizer, lr=3e-3)
        )
        arms += [
            Arm(f"{name}: {group}", replace(settings, seed=seed))
            for group, settings in groups.items()
            for seed in (range(2) if budget == "paper" else (0,))
        ]
    return arms


def sgperm_ahead(budget: Budget) -> list[Arm]:
    """The chosen settings, on test images, beside Adam with its chosen rate and with 1e-3."""
    evaluated_at = EVALUATED_AT if budget == "paper" else EVALUATED_AT[:2]
    arms = []
    for name, data in DATA.items():
        base = Settings(
            data=DataSettings(data=data, train_images=evaluated_at[-1] * BATCH_SIZE),
            model="fc500-300",
            optimizer=OptimizerSettings(inner="Adam", lr=1e-3),
            epochs=1,
            batch_size=BATCH_SIZE,
            evaluate_at=evaluated_at,
        )
        adam = replace(base, permutation=PermutationSettings(method="plain"))
        groups = {
            "SGPerm, chosen": replace(base, permutation=PermutationSettings(method="sgperm")),
            f"Adam, lr {CHOSEN_RATE:g}": replace(
                adam, optimizer=replace(base.optimizer, lr=CHOSEN_RATE)
            ),
            "Adam, lr 0.001": adam,
        }
        arms += [
            Arm(f"{name}: {group}", replace(settings, seed=seed))
            for group, settings in groups.items()
            for seed in (range(5) if budget == "paper" else (0,))
        ]
    return arms
