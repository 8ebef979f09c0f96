"""What decides a run that permutes inputs. Nothing heavy is imported."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from permtrain.errors import SettingError
from permtrain.lab.training.settings import DataSettings, hash_of
from permtrain.ranges import (
    Count,
    Fraction,
    NotNegative,
    Positive,
    Seed,
    check_fields,
    require,
)

VALIDATION_FRACTION = 1 / 12
"""5,000 of the 60,000 training images of MNIST."""

GUIDE_MODEL = "lenet5"
"""The network that guides an un-shuffling, by name."""

_MNIST = DataSettings(data="mnist", validation_fraction=VALIDATION_FRACTION)


@dataclass(frozen=True)
class JudgeSettings:
    """The classifier trained on real images that recovered ones are shown to."""

    model: str = "conv3-16"
    """A network by name; in an un-shuffling another than guides it."""
    epochs: Count = 4
    train_images: Count | None = None
    """The first so many training images only."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class SortGANSettings:
    """sortGAN: a generator says how shuffled pixels are to be laid out.

    The defaults are those published (Index optimizer thesis, 5.2.1), as far as they are stated.
    """

    data: DataSettings = _MNIST
    generator: Literal["fc", "conv", "nearest"] = "fc"
    """fc as published; conv; or nearest: no network, the mean of the training images of the same
    label whose pixels, in order, are closest."""
    discriminator: Literal["fc", "conv", "none"] = "fc"
    """none: the generator is trained by regression alone."""
    reads: Literal["shuffled", "sorted"] = "shuffled"
    """In which order the generator gets the pixels; their order tells nothing."""
    shuffle: Literal["each", "one"] = "each"
    """Another shuffle for each image, or one for all, which is another task and a lighter one."""
    regress: Literal["arranged", "generated", "ranks"] = "arranged"
    """What the squared error compares with the original: the rearranged pixels, straight through;
    the generator's output; or its output with each pixel's place in the order."""
    fooling_weight: NotNegative = 1.0
    """Of the binary cross-entropy beside the squared error, for the generator."""
    neighbours: Count = 10
    """How many images the nearest are."""
    matching: Literal["order", "assignment"] = "order"
    """How colours find their places when images are recovered; in training it is by order."""
    average: Fraction = 0.0
    """Decay of the running average of the generator's weights that is used in the end; 0: none."""
    lr: Positive = 2e-3
    lr_cosine: bool = False
    """The rate falls to 0 along half a cosine wave over the run."""
    epochs: Annotated[int, Interval(ge=0)] = 100
    batch_size: Annotated[int, Interval(ge=2)] = 64
    """Batch norm wants two."""
    measured_images: Count | None = None
    """Measure on the first so many validation and test images only."""
    judge: JudgeSettings = JudgeSettings()
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        trains = self.epochs >= 1 or self.generator == "nearest"
        require("epochs", self.epochs, trains, "1 or more (0 with generator nearest)")


@dataclass(frozen=True)
class UnshuffleSettings:
    """Un-shuffling: the pixels are the parameter, and frozen networks guide the index optimizer.

    The defaults are those published (appendix B of the thesis), as far as they are stated: no
    weights, rates nor numbers of steps are.
    """

    data: DataSettings = _MNIST
    images: Count = 1000
    """The first so many test images are un-shuffled, and as many validation images."""
    start: Literal["shuffled", "class-mean"] = "shuffled"
    """In which order the pixels are at first."""
    num_classifiers: Count = 3
    """lenet5s that differ in the first layer only."""
    classifier_weight: NotNegative = 1.0
    """Of their cross-entropy with the image's label, each."""
    border_weight: NotNegative = 1.0
    """Of the mean value of border pixels."""
    roughness_weight: NotNegative = 1.0
    """Of the mean absolute difference of neighbouring pixels."""
    discriminator_weight: NotNegative = 1.0
    """Of the cross-entropy of being taken for a real image."""
    prior_weight: NotNegative = 0.0
    """Of the negative log likelihood, in nats a pixel, under a normal distribution with the
    covariance of the training images of the label."""
    prior_mean: Literal["label", "nearest"] = "label"
    """What that distribution has for its mean: the label's mean image, or that of the training
    images of the label whose pixels, in order, are closest."""
    neighbours: Count = 100
    """How many images the nearest are."""
    prior_variance: Positive = 0.1
    """Added to that covariance's diagonal, pixels in [0, 1]."""
    averaged_part: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """The last part of the steps over which the images shown are averaged; in the end the pixels
    are laid out in the order of that mean. 0: in that of the latent weights."""
    steps: Count = 500
    batch_size: Count = 100
    """Images at once, each for itself."""
    lr: Positive = 1e-3
    lr_cosine: bool = False
    guide_epochs: Count = 5
    """Of the classifiers and of the discriminator."""
    judge: JudgeSettings = JudgeSettings()
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.judge.model == GUIDE_MODEL:  # its networks would judge what pleased them
            raise SettingError(
                f"judge.model is {self.judge.model!r}; allowed in an un-shuffling, which this "
                "network guides: another one"
            )


InputSettings = SortGANSettings | UnshuffleSettings


def settings_hash(settings: InputSettings) -> str:
    """Eight hexadecimal digits that name the settings, as any task's.

    Example:
        >>> settings_hash(SortGANSettings()) == settings_hash(SortGANSettings(epochs=100))
        True
    """
    return hash_of(settings)


def run_name(settings: InputSettings) -> str:
    """The name of a run's folder: data, what is done, and the settings' hash."""
    what = "sortgan" if isinstance(settings, SortGANSettings) else "unshuffle"
    return f"{settings.data.data.rpartition('/')[2]}-{what}-{settings_hash(settings)}"
