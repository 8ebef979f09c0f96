"""Pixels permuted in place of weights: sortGAN and un-shuffling (index optimizer thesis, 2021).

**sortGAN** (4.3, 5.2.1; pictures alone were published, no figure of quality). Published:
generator FC 128, 256, 512, 1024, then one output a pixel; discriminator FC 512 three times, then
a logit; both get the label one-hot; the generator gets the shuffled pixels beside it; its output
lays them out, straight through; binary cross-entropy for both and squared error for the
generator; Adam 2e-3, batch 64, 100 epochs. Not stated, and chosen here: activations,
normalisation and dropout, which are those of a widely used conditional GAN of just these sizes;
weights 1 of both losses; pixels in [0, 1]; another shuffle for every image and epoch. Equation
4.3 takes the squared error of what the discriminator sees, the rearranged pixels; its text can
also be read as that of the generator's own output. Both are arms. So is one shuffle for all
images: a lighter task, but what the published pictures, which keep the shape of a digit, may come
from.

Ours. The order of shuffled pixels tells nothing, so the generator gets them *sorted*. Of all
layouts of a picture's own pixels the one in the order of their expected values, given the sorted
pixels and the label, has the least expected squared error; so the generator is trained by
*regression* to the original's pixels, without a GAN (to their ranks, for comparison), by a rate
that falls along a cosine; a *convolutional* generator with an embedded label and averaged
weights, with and without a convolutional discriminator; and *nearest*: no network, the mean of
the 100 training images of the label whose sorted pixels are closest.

**RGB** (the thesis leaves it for later): a pixel's three values move together. In training, and
in arms "by order", pixels are ranked by brightness and matched with the brightness of the colours
that the generator says, rank to rank; "by assignment", the recovered picture is the layout with
the least squared distance of the colours (a linear assignment for each picture).

**Un-shuffling** (appendix B; ten pictures were published, called inadequate). Published: the
pixels are the parameter, moved by the index optimizer through three frozen `lenet5`s that differ
in the first layer only; penalties of border pixels that are not black and of differences between
neighbours; a frozen discriminator of shuffled against real images. Not stated, and chosen here:
all weights 1, Adam 1e-3 as elsewhere in the thesis, 500 steps, `lenet5` for the discriminator
too. Ours: larger steps; pixels that begin in the order of the label's mean image; as guide the
normal distribution of the label's training images, about their mean or that of the nearest; the
mean of the images shown over the last part of the steps, as the order in the end. The number of
neighbours, and the variance and the rate of these arms, were chosen on up to 200 validation images
of MNIST.

Everything is measured on test images, against two lower bounds in the same rows. 5,000 of MNIST's
training images are set aside; on them arms are compared. The judge (a net of another kind than
the guides, trained plainly on real images) is one for all arms. Labels are given, so a layout
that shows its label alone is classified rightly: the order of the class mean shows what that is
worth.

Quick: 10,000 training images (CIFAR 2,000), 2 epochs and 500 measured images (CIFAR 100);
un-shuffling 50 images by 150 steps. Short: as paper, 10 epochs in place of 100. One seed in all
budgets.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from permtrain.lab.inputs.settings import (
    VALIDATION_FRACTION,
    InputSettings,
    JudgeSettings,
    SortGANSettings,
    UnshuffleSettings,
    run_name,
)
from permtrain.lab.recipes.recipe import WITH_SHORT, Arm, Budget, Recipe
from permtrain.lab.recipes.task import Measure, Task
from permtrain.lab.training.settings import DataSettings, Place

if TYPE_CHECKING:
    from permtrain.lab.training.engine import Session
    from permtrain.lab.training.run_folder import RunFolder

_EPOCHS = {"paper": 100, "short": 10, "quick": 2}


def sortgan_mnist(budget: Budget) -> list[Arm]:
    """MNIST."""
    return _arms(_grey("mnist", budget))


def sortgan_fashion(budget: Budget) -> list[Arm]:
    """Fashion-MNIST."""
    return _arms(_grey("fashion_mnist", budget))


def sortgan_cifar10_jpeg(budget: Budget) -> list[Arm]:
    """JPEG copies of CIFAR-10: pixels move as whole colours."""
    quick = budget == "quick"
    base = SortGANSettings(
        data=DataSettings("cifar10-jpeg", VALIDATION_FRACTION, 2_000 if quick else None),
        epochs=_EPOCHS[budget],
        measured_images=100 if quick else 1_000,
        judge=JudgeSettings("vgg7", 2 if quick else 10, 5_000 if quick else None),
    )
    regression = _regression(base)
    return _arms(
        {
            "published, by order": base,
            "regression, fc, by order": regression,
            "regression, conv, by order": _convolutional(regression),
            "regression, conv, by assignment": replace(
                _convolutional(regression), matching="assignment"
            ),
            "nearest 100, by order": _nearest(base),
            "nearest 100, by assignment": replace(_nearest(base), matching="assignment"),
        }
    )


def unshuffle_mnist(budget: Budget) -> list[Arm]:
    """MNIST: published first, then ours."""
    quick = budget == "quick"
    base = UnshuffleSettings(
        data=DataSettings("mnist", VALIDATION_FRACTION, 10_000 if quick else None),
        images=50 if quick else 500,
        steps=150 if quick else 500,
        guide_epochs=1 if quick else 5,
        judge=_judge(quick),
    )
    faster = replace(base, lr=0.05)
    normal = replace(
        faster,
        classifier_weight=0.0,
        border_weight=0.0,
        roughness_weight=0.0,
        discriminator_weight=0.0,
        prior_weight=100.0,
        averaged_part=0.7,
    )
    return _arms(
        {
            "published": base,
            "published, lr 0.05": faster,
            "published, lr 0.05, averaged": replace(faster, averaged_part=0.7),
            "published, from the class mean": replace(base, start="class-mean"),
            "normal distribution, not averaged": replace(normal, averaged_part=0.0),
            "normal distribution": normal,
            "normal distribution around the nearest": replace(normal, prior_mean="nearest"),
            "normal distribution and published": replace(
                faster, prior_weight=100.0, averaged_part=0.7
            ),
        }
    )


def _grey(data: str, budget: Budget) -> dict[str, SortGANSettings]:
    quick = budget == "quick"
    base = SortGANSettings(
        data=DataSettings(data, VALIDATION_FRACTION, 10_000 if quick else None),
        epochs=_EPOCHS[budget],
        measured_images=500 if quick else None,
        judge=_judge(quick),
    )
    regression = _regression(base)
    convolutional = _convolutional(regression)
    return {
        "published": base,
        "published, error of the output": replace(base, regress="generated"),
        "published, one shuffle for all": replace(base, shuffle="one"),
        "published, sorted input": replace(base, reads="sorted"),
        "regression": regression,
        "regression to ranks": replace(regression, regress="ranks"),
        "regression, conv": convolutional,
        "regression and GAN, conv": replace(
            convolutional, discriminator="conv", fooling_weight=0.01
        ),
        "nearest 100": _nearest(base),
    }


def _regression(base: SortGANSettings) -> SortGANSettings:
    return replace(base, reads="sorted", discriminator="none", regress="generated", lr_cosine=True)


def _convolutional(regression: SortGANSettings) -> SortGANSettings:
    return replace(regression, generator="conv", average=0.99)


def _nearest(base: SortGANSettings) -> SortGANSettings:
    return replace(
        base, generator="nearest", discriminator="none", reads="sorted", neighbours=100, epochs=0
    )


def _judge(quick: bool) -> JudgeSettings:
    return JudgeSettings(epochs=1 if quick else 4, train_images=20_000 if quick else None)


def _arms(groups: "dict[str, Any]") -> list[Arm]:
    return [Arm(group, settings) for group, settings in groups.items()]


def _begin(settings: InputSettings, place: Place) -> "Session":
    from permtrain.lab.inputs.running import begun_session

    return begun_session(settings, place)


def _row(folder: "RunFolder") -> dict[str, Any]:
    from permtrain.lab.inputs.running import row_of_inputs

    return row_of_inputs(folder)


PERMUTING_INPUTS = Task(
    run_name=run_name,
    begin=_begin,
    row=_row,
    measures=(
        Measure("psnr", "PSNR, dB"),
        Measure("class_mean_psnr", "of class mean"),
        Measure("shuffled_psnr", "of shuffled"),
        Measure("ssim", "SSIM", 3),
        Measure("class_mean_ssim", "of class mean", 3),
        Measure("shuffled_ssim", "of shuffled", 3),
        Measure("classified_percent", "classified, %"),
    ),
)


RECIPES = (
    Recipe(
        "sortgan-mnist",
        "MNIST images recovered from shuffled pixels (Index optimizer, 5.2)",
        "9 runs, 8 of them of 100 epochs: about 7 hours of one core, estimated",
        sortgan_mnist,
        task=PERMUTING_INPUTS,
        budgets=WITH_SHORT,
    ),
    Recipe(
        "sortgan-fashion",
        "the same on Fashion-MNIST",
        "9 runs, 8 of them of 100 epochs: about 7 hours of one core, estimated",
        sortgan_fashion,
        task=PERMUTING_INPUTS,
        budgets=WITH_SHORT,
    ),
    Recipe(
        "sortgan-cifar10-jpeg",
        "JPEG copies of CIFAR-10 from pixels shuffled as whole colours (ours)",
        "6 runs, 4 of them of 100 epochs: about 10 hours of one core, estimated",
        sortgan_cifar10_jpeg,
        task=PERMUTING_INPUTS,
        budgets=WITH_SHORT,
    ),
    Recipe(
        "unshuffle-mnist",
        "MNIST pixels moved through frozen networks (Index optimizer, appendix B)",
        "8 runs of 500 test and 500 validation images: about 1 hour of one core, estimated",
        unshuffle_mnist,
        task=PERMUTING_INPUTS,
    ),
)
