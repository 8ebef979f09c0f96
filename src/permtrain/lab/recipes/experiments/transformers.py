"""Transformers: a character-level GPT and a small ViT, by Adam and by every method (ours).

Every arm has each of four learning rates, so that Adam is tuned as much as permutation; what is
chosen is chosen on validation data. Births, schedules and gradient clipping are the same for all.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from permtrain.lab.recipes.recipe import WITH_SHORT, Alternative, Arm, Budget, Recipe
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

if TYPE_CHECKING:
    from permtrain.lab.training.trainer import Trainer

METHODS = {
    "Adam": PermutationSettings(method="plain"),
    "LaPerm k=10": PermutationSettings(method="laperm", sync_period=10),
    "LaPerm k=50": PermutationSettings(method="laperm", sync_period=50),
    "index per neuron": PermutationSettings(method="index", granularity="neuron"),
    "index per layer": PermutationSettings(method="index", granularity="layer"),
    "SGPerm": PermutationSettings(method="sgperm"),
}
LEVELS = (3, 4)
WITH_FEW_LEVELS = ("LaPerm k=10", "index per layer")
WITH_PLAIN_BIRTH = ("Adam", "LaPerm k=10")
"""Methods that are also tried with residual outputs as large as other layers."""


@dataclass(frozen=True)
class _Net:
    """What is common to all arms of a network.

    Attributes:
        rates: of Adam, or of the inner Adam.
        of_budget: data and epochs of each budget.
    """

    model: str
    batch_size: int
    optimizer: OptimizerSettings
    rates: tuple[float, ...]
    of_budget: dict[Budget, tuple[DataSettings, int]]


def gpt_char(budget: Budget) -> list[Arm]:
    """10,000 steps on the standard library's source, 1,000 with budget short."""
    return _arms(_GPT, budget)


def vit_digits(budget: Budget) -> list[Arm]:
    """10,128 steps on MNIST, 1,000 with budget short."""
    return _arms(_VIT, budget)


def float32_file(arm: Arm, trainer: "Trainer") -> list[Alternative]:
    """Weights that are not permuted take four bytes each."""
    size = sum(4 * each.numel() for each in trainer.shown_weights().values())
    return [Alternative(arm.group, "float32", None, size)]


def _arms(net: _Net, budget: Budget) -> list[Arm]:
    data, epochs = net.of_budget[budget]
    base = Settings(data=data, model=net.model, epochs=epochs, batch_size=net.batch_size)
    groups = {name: replace(base, permutation=method) for name, method in METHODS.items()}
    for levels in LEVELS:
        initial = InitialSettings(levels=levels, vectors="layer")  # the same in all its neurons
        for name in WITH_FEW_LEVELS:
            groups[f"{name}, {levels} levels"] = replace(groups[name], initial=initial)
    for name in WITH_PLAIN_BIRTH:
        initial = InitialSettings(branches={"*": 1})
        groups[f"{name}, plain birth"] = replace(groups[name], initial=initial)
    return [
        Arm(f"{name}, rate {lr:g}", replace(_at(settings, net, lr), seed=seed))
        for name, settings in groups.items()
        for lr in net.rates
        for seed in ((0,) if budget == "quick" else (0, 1, 2))
    ]


def _at(settings: Settings, net: _Net, lr: float) -> Settings:
    return replace(settings, optimizer=replace(net.optimizer, lr=lr))


_GPT = _Net(
    "gpt-char",
    32,
    OptimizerSettings(betas=(0.9, 0.95), lr_warmup=50, lr_cosine=True, clip_gradient=1.0),
    (2.5e-3, 5e-3, 1e-2, 2e-2),
    {
        "quick": (
            DataSettings("text", validation_fraction=0.001, train_images=128, test_images=32),
            1,
        ),
        "short": (
            DataSettings("text", validation_fraction=0.02, train_images=32_000, test_images=2_000),
            1,
        ),
        "paper": (
            DataSettings("text", validation_fraction=0.02, train_images=32_000, test_images=2_000),
            10,
        ),
    },
)

_VIT = _Net(
    "vit-tiny",
    64,
    OptimizerSettings(lr_warmup=50, lr_cosine=True, clip_gradient=1.0),
    (1e-3, 2.5e-3, 5e-3, 1e-2),
    {
        "quick": (
            DataSettings("mnist", validation_fraction=0.1, train_images=256, test_images=100),
            1,
        ),
        "short": (DataSettings("mnist", validation_fraction=0.1, train_images=32_000), 2),
        "paper": (DataSettings("mnist", validation_fraction=0.1), 12),
    },
)


RECIPES = (
    Recipe(
        "gpt-char",
        "a character-level GPT on Python's standard library, all methods beside Adam (ours)",
        "144 runs of 10,000 steps of 65 to 75 ms, estimated 28 h on one thread",
        gpt_char,
        float32_file,
        budgets=WITH_SHORT,
    ),
    Recipe(
        "vit-digits",
        "a small vision transformer on MNIST, all methods beside Adam (ours)",
        "144 runs of 10,128 steps of 20 to 26 ms, estimated 10 h on one thread",
        vit_digits,
        float32_file,
        budgets=WITH_SHORT,
    ),
)
