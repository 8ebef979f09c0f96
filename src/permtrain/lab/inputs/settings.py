"""What decides a run that permutes inputs. Nothing heavy is imported."""

from dataclasses import dataclass
from typing import Literal

from permtrain.errors import SettingError
from permtrain.lab.training.settings import DataSettings, hash_of

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
    epochs: int = 4
    train_images: int | None = None
    """The first so many training images only."""


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
    fooling_weight: float = 1.0
    """Of the binary cross-entropy beside the squared error, for the generator."""
    neighbours: int = 10
    """How many images the nearest are."""
    matching: Literal["order", "assignment"] = "order"
    """How colours find their places when images are recovered; in training it is by order."""
    average: float = 0.0
    """Decay of the running average of the generator's weights that is used in the end; 0: none."""
    lr: float = 2e-3
    lr_cosine: bool = False
    """The rate falls to 0 along half a cosine wave over the run."""
    epochs: int = 100
    batch_size: int = 64
    measured_images: int | None = None
    """Measure on the first so many validation and test images only."""
    judge: JudgeSettings = JudgeSettings()
    seed: int = 0

    def __post_init__(self) -> None:
        _check("epochs", self.epochs, self.epochs >= (0 if self.generator == "nearest" else 1))
        _check("batch_size", self.batch_size, self.batch_size >= 2)  # batch norm wants two
        _check("neighbours", self.neighbours, self.neighbours >= 1)
        _check("lr", self.lr, self.lr > 0)
        _check("fooling_weight", self.fooling_weight, self.fooling_weight >= 0)
        _check("average", self.average, 0 <= self.average < 1)
        _check("seed", self.seed, 0 <= self.seed < 2**63)
        _check_judge(self.judge, self.measured_images)


@dataclass(frozen=True)
class UnshuffleSettings:
    """Un-shuffling: the pixels are the parameter, and frozen networks guide the index optimizer.

    The defaults are those published (appendix B of the thesis), as far as they are stated: no
    weights, rates nor numbers of steps are.
    """

    data: DataSettings = _MNIST
    images: int = 1000
    """The first so many test images are un-shuffled, and as many validation images."""
    start: Literal["shuffled", "class-mean"] = "shuffled"
    """In which order the pixels are at first."""
    num_classifiers: int = 3
    """lenet5s that differ in the first layer only."""
    classifier_weight: float = 1.0
    """Of their cross-entropy with the image's label, each."""
    border_weight: float = 1.0
    """Of the mean value of border pixels."""
    roughness_weight: float = 1.0
    """Of the mean absolute difference of neighbouring pixels."""
    discriminator_weight: float = 1.0
    """Of the cross-entropy of being taken for a real image."""
    prior_weight: float = 0.0
    """Of the negative log likelihood, in nats a pixel, under a normal distribution with the
    covariance of the training images of the label."""
    prior_mean: Literal["label", "nearest"] = "label"
    """What that distribution has for its mean: the label's mean image, or that of the training
    images of the label whose pixels, in order, are closest."""
    neighbours: int = 100
    """How many images the nearest are."""
    prior_variance: float = 0.1
    """Added to that covariance's diagonal, pixels in [0, 1]."""
    averaged_part: float = 0.0
    """The last part of the steps over which the images shown are averaged; in the end the pixels
    are laid out in the order of that mean. 0: in that of the latent weights."""
    steps: int = 500
    batch_size: int = 100
    """Images at once, each for itself."""
    lr: float = 1e-3
    lr_cosine: bool = False
    guide_epochs: int = 5
    """Of the classifiers and of the discriminator."""
    judge: JudgeSettings = JudgeSettings()
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "images", "steps", "batch_size", "guide_epochs", "num_classifiers", "neighbours",
        ):  # fmt: skip
            _check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        for name in (
            "classifier_weight", "border_weight", "roughness_weight", "discriminator_weight",
            "prior_weight",
        ):  # fmt: skip
            _check(name, getattr(self, name), getattr(self, name) >= 0)
        _check("averaged_part", self.averaged_part, 0 <= self.averaged_part <= 1)
        _check("prior_variance", self.prior_variance, self.prior_variance > 0)
        _check("lr", self.lr, self.lr > 0)
        _check("seed", self.seed, 0 <= self.seed < 2**63)
        _check_judge(self.judge, None)
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


def _check(name: str, value: object, fine: bool, allowed: str | None = None) -> None:
    if not fine:
        allowed = allowed or _ALLOWED.get(name, "0 or more")
        raise SettingError(f"{name} is {value!r}; allowed: {allowed}")


def _check_judge(judge: JudgeSettings, measured_images: int | None) -> None:
    _check("judge.epochs", judge.epochs, judge.epochs >= 1)
    _check("measured_images", measured_images, measured_images is None or measured_images >= 1)


_ALLOWED = {
    "epochs": "1 or more (0 with generator nearest)",
    "batch_size": "2 or more",
    "neighbours": "1 or more",
    "lr": "above 0",
    "averaged_part": "0 to 1",
    "average": "0 to 1, without 1",
    "seed": "0 to 2**63 - 1",
    "prior_variance": "above 0",
    "judge.epochs": "1 or more",
    "measured_images": "1 or more",
}
