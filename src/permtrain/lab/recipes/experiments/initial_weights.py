"""Which initial weights are good ones to permute.

`laperm-init-mnist`: Qiu and Suda, Train by Reconnect (2020), section 5.1 and appendix A.5.2.
`conv7` on MNIST by LaPerm with k=20, born of He uniform, He normal, Glorot uniform, Glorot normal,
and of weights that Adam had trained, shuffled within each weight vector; beside Adam, and Lookahead
(period 6, slow step .5) around Adam, both from He normal. Batch 50, 45 epochs, 1e-3 x .95 an epoch;
rotation up to 10 degrees, shifts and zoom up to 10%; biases are drawn alike and are permuted too;
5 seeds. Published in a figure and words: about 99.76 with He, Glorot about .1 lower, shuffled
weights like Glorot normal until they stop to improve at epoch 25.

Images are "normalized". The authors' `Conv7.h5` scores 99.72 on pixels from 0 to 1 (x/255), and
91.57 less the mean image: the arms with x/255 have the published accuracies, those of images less
their mean image are another reading, compared with nothing.

Normal draws are truncated at two standard deviations, as Keras' are. The shuffled weights are those
of the Adam arm of the same seed after its last epoch; the paper takes them at the best accuracy on
test images, which we do not choose on. Lookahead is pytorch_optimizer's. Adam's epsilon is torch's
1e-8; Keras' is 1e-7, which `laperm-sparsity-all` takes for the same net.

Quick: one seed, the first 5,000 images, two epochs. Short: one seed and 10 epochs of all images.
"""

from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.data.normalize_settings import Normalization
from permtrain.lab.recipes.recipe import WITH_SHORT, Arm, Budget, Recipe
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

_SEEDS = {"paper": (0, 1, 2, 3, 4)}
_EPOCHS = {"paper": 45, "short": 10, "quick": 2}
_TRAIN_IMAGES = {"quick": 5_000}

_HE_NORMAL = "kaiming_trunc_normal"
_ADAM = OptimizerSettings(inner="Adam", lr=1e-3, lr_decay=0.95)
_LOOKAHEAD = OptimizerSettings(inner="Adam", lr=1e-3, lr_decay=0.95, lookahead_period=6)
_LAPERM = PermutationSettings(method="laperm", sync_period=20, permute_biases=True)
_PLAIN = PermutationSettings(method="plain")

# Initial weights, method, optimizer, published accuracy in percent.
_ARMS = {
    "Adam": (InitialSettings(rule=_HE_NORMAL), _PLAIN, _ADAM, None),
    "Lookahead": (InitialSettings(rule=_HE_NORMAL), _PLAIN, _LOOKAHEAD, None),
    "He uniform, LaPerm": (InitialSettings(rule="kaiming_uniform"), _LAPERM, _ADAM, 99.76),
    "He normal, LaPerm": (InitialSettings(rule=_HE_NORMAL), _LAPERM, _ADAM, 99.76),
    "Glorot uniform, LaPerm": (InitialSettings(rule="xavier_uniform"), _LAPERM, _ADAM, 99.66),
    "Glorot normal, LaPerm": (InitialSettings(rule="xavier_trunc_normal"), _LAPERM, _ADAM, 99.66),
    "Adam's shuffled, LaPerm": (
        InitialSettings(rule="shuffle", trained_rule=_HE_NORMAL), _LAPERM, _ADAM, None,
    ),
}  # fmt: skip


_PUBLISHED: Normalization = "unit"
_NORMALIZATIONS: tuple[tuple[Normalization, str], ...] = (
    (_PUBLISHED, ", x/255"),
    ("mean-image", ""),
)


def laperm_init_mnist(budget: Budget) -> list[Arm]:
    """Adam and Lookahead, then LaPerm from each kind of initial weights; then on other pixels."""
    return [
        Arm(
            group=f"{group}{suffix}",
            settings=Settings(
                data=DataSettings(data="mnist", train_images=_TRAIN_IMAGES.get(budget)),
                normalization=normalization,
                augmentation=Augmentation(
                    rotation_degrees=10, shift_fraction=0.1, zoom_fraction=0.1
                ),
                model="conv7",
                initial=initial,
                permutation=permutation,
                optimizer=optimizer,
                epochs=_EPOCHS[budget],
                batch_size=50,
                seed=seed,
            ),
            published=published if normalization == _PUBLISHED else None,
            is_other_reading=normalization != _PUBLISHED,
        )
        for normalization, suffix in _NORMALIZATIONS
        for group, (initial, permutation, optimizer, published) in _ARMS.items()
        for seed in _SEEDS.get(budget, (0,))
    ]


RECIPES = (
    Recipe(
        "laperm-init-mnist",
        "conv7 on MNIST, LaPerm from several initial weights (Train by Reconnect, 5.1)",
        "70 runs of 45 epochs: 52 hours, estimated",
        laperm_init_mnist,
        budgets=WITH_SHORT,
    ),
)
