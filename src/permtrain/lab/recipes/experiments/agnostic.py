"""Weight agnostic nets: all weights are one value or zero, and only which ones are zero is learnt.

`laperm-agnostic-mnist`: Qiu and Suda, Train by Reconnect (2020), section 5.5 and appendix A.5.0 and
A.5.5. `f1` (784-10, value 0.08) and `f2` (784-128-64-10, ReLU, value 0.03), no biases, by LaPerm
with k=250; batch 128; 10 and 25 epochs; 1e-3 x .95 an epoch; L2 1e-4 on `f2`'s hidden layers; no
augmentation; 30 seeds. Published: 85.46 for `f1` with 60% of the weights left (their code leaves
4/7, so that it stands beside both here); about 53 for `f2` with 10% left everywhere and 78.14 with
1/15, 1/7 and 1/3 left, layer by layer.

Not stated there, chosen here: each weight is zero by chance, as in the authors' code, not an exact
number of them in each neuron; ties are broken by position; Adam's epsilon is torch's 1e-8 (Keras':
1e-7).

Images are "normalized", which decides the outcome, as these nets have no biases. The authors' files
tell how: their `F1.h5` scores the published 85.46 on pixels from 0 to 1 (x/255), and 81.89 less the
mean image. So the arms with x/255 have the published accuracies; those of images less their mean
image and of z-scored ones are other readings, compared with nothing.

Beside each net stands the plain inner optimizer from the same weights, zeros fixed, for as many
epochs: it may change values, LaPerm may move zeros.

Quick: one seed, 2 and 3 epochs.
"""

from dataclasses import replace

from permtrain.lab.data.normalize_settings import Normalization
from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

_SEEDS = {"paper": tuple(range(30)), "quick": (0,)}
_EPOCHS = {"paper": {"f1": 10, "f2": 25}, "quick": {"f1": 2, "f2": 3}}
_L2 = {"f1": 0.0, "f2": 1e-4}

# Network, what is left, the initial weights, published accuracy in percent.
_NETS = (
    ("f1", "60% left", InitialSettings(rule="constant", value=0.08, sparsity=0.4), 85.46),
    ("f1", "4/7 left", InitialSettings(rule="constant", value=0.08, sparsity=3 / 7), 85.46),
    ("f2", "10% left", InitialSettings(rule="constant", value=0.03, sparsity=0.9), 53.0),
    (
        "f2",
        "1/15, 1/7, 1/3 left",
        InitialSettings(
            rule="constant",
            value=0.03,
            layer_sparsity={"fc1.*": 14 / 15, "fc2.*": 6 / 7, "output.*": 2 / 3},
        ),
        78.14,
    ),
)


_PUBLISHED: Normalization = "unit"
_NORMALIZATIONS: tuple[tuple[Normalization, str], ...] = (
    (_PUBLISHED, "x/255, "),
    ("mean-image", ""),
    ("z-score", "z-scored, "),
)


def laperm_agnostic_mnist(budget: Budget) -> list[Arm]:
    """Each net by LaPerm with k=250, and by Adam with the zeros fixed; then on other pixels."""
    methods = {
        "LaPerm k=250": PermutationSettings(method="laperm", sync_period=250),
        "Adam, zeros fixed": PermutationSettings(method="plain-frozen-zeros"),
    }
    return [
        Arm(
            group=f"{net}, {left}, {prefix}{label}",
            settings=Settings(
                data=DataSettings(data="mnist"),
                normalization=normalization,
                model=net,
                initial=replace(initial, sparsity_by="bernoulli"),
                permutation=permutation,
                optimizer=OptimizerSettings(inner="Adam", lr=1e-3, lr_decay=0.95, l2=_L2[net]),
                epochs=_EPOCHS[budget][net],
                batch_size=128,
                seed=seed,
            ),
            published=(published if permutation.permutes and normalization == _PUBLISHED else None),
            is_other_reading=normalization != _PUBLISHED,
        )
        for normalization, prefix in _NORMALIZATIONS
        for net, left, initial, published in _NETS
        for label, permutation in methods.items()
        for seed in _SEEDS[budget]
    ]


RECIPES = (
    Recipe(
        "laperm-agnostic-mnist",
        "f1 and f2 on MNIST, one value shared by all weights (Train by Reconnect, 5.5)",
        "360 runs of 10 epochs, 360 of 25: 300 minutes on one core, estimated",
        laperm_agnostic_mnist,
    ),
)
