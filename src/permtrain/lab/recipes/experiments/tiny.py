"""Small and exact files: few levels, sparse, trained by the index optimizer, and packed.

Beside them, in the same run: the same nets trained plainly and quantised afterwards, and a
supermask (edge-popup). Sizes are of whole files for the packed ones; for the others see `quantise`.
How the settings were chosen, and what did not win, is in docs/tiny.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.recipes.recipe import Alternative, Arm, Budget, Recipe
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

if TYPE_CHECKING:
    from permtrain.lab.training.trainer import Trainer


def tiny_mnist(budget: Budget) -> list[Arm]:
    """MNIST: at least 97.5% in 16 KB with `fc500-300`, 98.7% in 10 KB and 99.3% in 40 KB."""
    return _arms("mnist", budget)


def tiny_fashion(budget: Budget) -> list[Arm]:
    """The same on Fashion-MNIST."""
    return _arms("fashion_mnist", budget)


def alternatives(arm: Arm, trainer: "Trainer") -> list[Alternative]:
    """What an arm's trained weights give without permutations: quantised, or as a mask."""
    from permtrain.lab.recipes.experiments.quantise import (  # imports torch
        QUANTISERS,
        supermask_bytes,
    )

    weights = trainer.shown_weights()
    if arm.settings.permutation.method == "supermask":
        return [Alternative(arm.group, "supermask", None, supermask_bytes(weights))]
    outcomes = []
    for name, quantise in QUANTISERS.items():
        quantised, size = quantise(weights)
        trainer.model.load_state_dict(quantised)
        accuracy = trainer.evaluate(trainer.test_split).accuracy
        outcomes.append(Alternative(f"{arm.group}, {name}", f"quantised, {name}", accuracy, size))
    trainer.model.load_state_dict(weights)
    return outcomes


@dataclass(frozen=True)
class _Net:
    """What is common to all arms of a network.

    Attributes:
        keeps: parts of the weights that its supermasks use.
    """

    model: str
    epochs: int
    batch_size: int
    augmentation: Augmentation
    permuted: Callable[[Settings], dict[str, Settings]]
    keeps: tuple[float, ...]


def _arms(data: str, budget: Budget) -> list[Arm]:
    arms = []
    for net in _NETS:
        base = Settings(
            data=DataSettings(data=data, train_images=None if budget == "paper" else 5_000),
            augmentation=net.augmentation,
            model=net.model,
            epochs=net.epochs if budget == "paper" else 2,
            batch_size=net.batch_size,
        )
        groups = net.permuted(base) | _rivals(base, net.keeps)
        arms += [
            Arm(f"{net.model}: {group}", replace(settings, seed=seed))
            for group, settings in groups.items()
            for seed in ((0, 1, 2) if budget == "paper" else (0,))
        ]
    return arms


def _fully_connected(base: Settings) -> dict[str, Settings]:
    # The output layer is dense: 3,000 weights of two levels are 200 bytes.
    initial = InitialSettings(layer_sparsity={"fc*.weight": 0.9}, sparse_fans=True)
    return {"3 levels, 90% zeros": _index(base, initial, _decaying(2e-3, 0.03, base.epochs))}


def _convolutional(base: Settings) -> dict[str, Settings]:
    initial = InitialSettings(sparsity=0.5)
    return {"3 levels, 50% zeros": _index(base, initial, _decaying(3e-3, 0.01, base.epochs))}


def _index(base: Settings, initial: InitialSettings, optimizer: OptimizerSettings) -> Settings:
    """-c and +c beside the zeros, per layer; biases are zeros that are permuted: none."""
    return replace(
        base,
        initial=replace(initial, levels=2, share=True, vectors="layer", biases="zero"),
        permutation=PermutationSettings(method="index", granularity="layer", permute_biases=True),
        optimizer=optimizer,
    )


def _rivals(base: Settings, keeps: tuple[float, ...]) -> dict[str, Settings]:
    plain = PermutationSettings(method="plain")
    optimizer = _decaying(1e-3, 0.03, base.epochs)
    groups = {"Adam": replace(base, permutation=plain, optimizer=optimizer)}
    for keep in keeps:
        groups[f"supermask, {keep:.0%} used"] = replace(
            base,
            permutation=PermutationSettings(method="supermask", keep=keep),
            initial=InitialSettings(biases="zero"),
            optimizer=_decaying(3e-3, 0.03, base.epochs),
        )
    return groups


def _decaying(lr: float, to: float, epochs: int) -> OptimizerSettings:
    """Adam, its rate in the last epoch that part of the first: only when it is small ranks settle.

    Example:
        >>> _decaying(1e-3, 0.01, 3).lr_decay
        0.1
    """
    decay = float(round(to ** (1 / max(epochs - 1, 1)), 3))
    return OptimizerSettings(inner="Adam", lr=lr, lr_decay=decay)


_MOVED = Augmentation(rotation_degrees=10, shift_fraction=0.1, zoom_fraction=0.1)

_NETS = (
    _Net("fc500-300", 6, 100, Augmentation(shift_fraction=0.05), _fully_connected, (0.03, 0.1)),
    _Net("conv3-16", 8, 50, _MOVED, _convolutional, (0.5,)),
    _Net("conv3-32", 8, 50, _MOVED, _convolutional, (0.1,)),
)


RECIPES = (
    Recipe(
        "tiny-mnist",
        "small exact files of nets on MNIST, beside quantised nets and a supermask (ours)",
        "30 runs of 6 to 8 epochs, estimated 2.4 h",
        tiny_mnist,
        alternatives,
    ),
    Recipe(
        "tiny-fashion",
        "the same on Fashion-MNIST",
        "30 runs of 6 to 8 epochs, estimated 2.4 h",
        tiny_fashion,
        alternatives,
    ),
)
