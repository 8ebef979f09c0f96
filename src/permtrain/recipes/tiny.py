"""Small and exact files: few levels, sparse, trained by the index optimizer, and packed.

Beside them, in the same run: the same nets trained plainly and quantised afterwards, and a
supermask (edge-popup). Sizes are of whole files for the packed ones; for the others see `quantise`.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from permtrain.data.augment_settings import Augmentation
from permtrain.recipes.recipe import Arm, Budget, Outcome
from permtrain.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

if TYPE_CHECKING:
    from permtrain.training.trainer import Trainer

# Moved at random, as in Train by Reconnect 5.1; the fully connected net sees images as they are.
MOVED = Augmentation(rotation_degrees=10, shift_fraction=0.1, zoom_fraction=0.1)
NETS = {"fc500-300": ("fc500-300", 15), "conv3-16": ("conv3-16", 10), "conv3-32": ("conv3-32", 10)}


def tiny_mnist(budget: Budget) -> list[Arm]:
    """MNIST: at least 97.5% in 16 KB with `fc500-300`, 98.7% in 10 KB and 99.3% in 40 KB."""
    return _arms("mnist", budget)


def tiny_fashion(budget: Budget) -> list[Arm]:
    """The same on Fashion-MNIST."""
    return _arms("fashion_mnist", budget)


def alternatives(arm: Arm, trainer: "Trainer") -> list[Outcome]:
    """What else an arm's trained weights give: quantised, or as a mask."""
    from permtrain.recipes.quantise import QUANTISERS, supermask_bytes  # imports torch

    weights = trainer.shown_weights()
    if arm.settings.permutation.method == "supermask":
        return [Outcome(arm.group, None, supermask_bytes(weights))]
    if arm.settings.permutation.method != "plain":
        return []
    outcomes = []
    for name, quantise in QUANTISERS.items():
        quantised, size = quantise(weights)
        trainer.model.load_state_dict(quantised)
        accuracy = trainer.evaluate(trainer.test_split).accuracy
        outcomes.append(Outcome(f"{arm.group}, {name}", accuracy, size))
    trainer.model.load_state_dict(weights)
    return outcomes


def _arms(data: str, budget: Budget) -> list[Arm]:
    arms = []
    for net, (model, epochs) in NETS.items():
        base = Settings(
            data=DataSettings(data=data, train_images=None if budget == "paper" else 5_000),
            augmentation=Augmentation() if model.startswith("fc") else MOVED,
            model=model,
            epochs=epochs if budget == "paper" else 2,
            batch_size=100 if model.startswith("fc") else 50,
        )
        groups = _fully_connected(base) if model.startswith("fc") else _convolutional(base)
        arms += [
            Arm(f"{net}: {group}", replace(settings, seed=seed))
            for group, settings in groups.items()
            for seed in ((0, 1, 2) if budget == "paper" else (0,))
        ]
    return arms


def _fully_connected(base: Settings) -> dict[str, Settings]:
    return {
        f"3 levels, {sparsity:.0%} zeros": _index(base, sparsity) for sparsity in (0.9,)
    } | _rivals(base, keep=0.1)


def _convolutional(base: Settings) -> dict[str, Settings]:
    sparsities = (0.5, 0.8) if base.model == "conv3-16" else (0.5,)
    return {
        f"3 levels, {sparsity:.0%} zeros": _index(base, sparsity) for sparsity in sparsities
    } | (_rivals(base, keep=0.5) if base.model == "conv3-16" else {})


def _index(base: Settings, sparsity: float) -> Settings:
    """{-c, 0, +c}, the same in all vectors of a layer; biases are permuted zeros, and take none."""
    return replace(
        base,
        initial=InitialSettings(
            levels=2, sparsity=sparsity, share=True, vectors="layer", biases="zero"
        ),
        permutation=PermutationSettings(method="index", granularity="layer", permute_biases=True),
        optimizer=OptimizerSettings(inner="Adam", lr=3e-3, lr_decay=_decay(base.epochs)),
    )


def _rivals(base: Settings, keep: float) -> dict[str, Settings]:
    adam = OptimizerSettings(inner="Adam", lr=1e-3, lr_decay=_decay(base.epochs))
    scores = OptimizerSettings(inner="Adam", lr=3e-3, lr_decay=_decay(base.epochs))
    return {
        "Adam": replace(base, permutation=PermutationSettings(method="plain"), optimizer=adam),
        f"supermask, {keep:.0%} used": replace(
            base,
            permutation=PermutationSettings(method="supermask", keep=keep),
            initial=InitialSettings(biases="zero"),
            optimizer=scores,
        ),
    }


def _decay(epochs: int) -> float:
    """To about a thirtieth in the last epoch."""
    return float(round(0.03 ** (1 / max(epochs - 1, 1)), 3))
