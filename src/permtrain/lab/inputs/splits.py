"""The images of a run that permutes inputs, and their shuffles."""

from dataclasses import dataclass

import torch
from torch import Tensor

from permtrain.errors import SettingError
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.data.splits import carve_validation, limit
from permtrain.lab.inputs.pixels import shuffle_generator, shuffled
from permtrain.lab.training.settings import DataSettings


@dataclass(frozen=True, eq=False)
class Splits:
    """The images of a run; validation and test images are those that are measured.

    Attributes:
        settings: name or path of the data, by which others load it too.
    """

    settings: DataSettings
    data: ImageData
    train: Split
    validation: Split
    test: Split

    @property
    def side_shape(self) -> tuple[int, int]:
        return self.data.image_shape[1:]


def splits_of(
    data: ImageData, settings: DataSettings, seed: int, measured: int | None, device: torch.device
) -> Splits:
    """Training, validation and test images.

    Without a validation fraction the first training images stand for validation.

    Raises:
        SettingError: an image size, which makes images of it that have colours.
    """
    if settings.image_size is not None:
        raise SettingError(
            f"image_size is {settings.image_size}; allowed with permuted pixels, whose images are "
            "kept whole: nothing"
        )
    train, validation = carve_validation(data.train, settings.validation_fraction, seed)
    if settings.train_images is not None:
        train = limit(train, settings.train_images)
    validation, test = validation or train, data.test
    if settings.test_images is not None:
        test = limit(test, settings.test_images)
    if measured is not None:
        validation, test = limit(validation, measured), limit(test, measured)
    return Splits(settings, data, train.to(device), validation.to(device), test.to(device))


def shuffled_split(split: Split, seed: int, name: str, *, one_for_all: bool = False) -> Tensor:
    """The pixels of a split that is measured, shuffled; the same for all arms of a seed.

    Shapes: (N, C, P) uint8.
    """
    stream = ("one",) if one_for_all else (name,)
    generator = shuffle_generator(seed, *stream)
    return shuffled(split.images.flatten(2), generator, one_for_all=one_for_all)
