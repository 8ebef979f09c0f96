"""Smaller splits out of larger ones: a validation part, or the first images only."""

from typing import TypeAlias, TypeVar

import torch

from permtrain.errors import SettingError
from permtrain.lab.data.images import Split
from permtrain.lab.data.order import permutation
from permtrain.lab.data.outline import OutlinedSplit
from permtrain.lab.data.stream import StreamedSplit
from permtrain.lab.data.text import TextSplit

AnySplit: TypeAlias = Split | StreamedSplit | OutlinedSplit | TextSplit
"""In memory, read as it is needed, without its images, or text."""

S = TypeVar("S", Split, StreamedSplit, OutlinedSplit, TextSplit, AnySplit)

_VALIDATION_STREAM = 2**64 - 1  # an epoch that no run reaches: not the order of any epoch


def carve_validation(split: S, fraction: float, seed: int) -> tuple[S, S | None]:
    """Take a random part of the training images away for validation.

    The choice is a function of (number of images, fraction, seed) only. Both parts keep the order
    of the split they come from. Classes are not balanced. Of text the last windows are taken.

    Args:
        split: the training split; it is not changed.
        fraction: part of the images that goes to validation, in [0, 1); rounded to whole images.
        seed: 0 to 2**64 - 1; its draws are unrelated to the batch order of the same seed.

    Returns: (train, validation); validation is None when `fraction` is 0.

    Raises: SettingError if `fraction` is out of range, or leaves one of the parts without images.

    Example:
        >>> import torch
        >>> split = Split(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), torch.arange(10))
        >>> train, validation = carve_validation(split, 0.2, seed=0)
        >>> len(train), len(validation)
        (8, 2)
    """
    if not 0 <= fraction < 1:
        raise SettingError(f"validation fraction is {fraction}; allowed: 0 <= fraction < 1")
    if fraction == 0:
        return split, None
    num_validation = round(fraction * len(split))
    if not 0 < num_validation < len(split):
        raise SettingError(
            f"validation fraction {fraction} of {len(split)} images is {num_validation} images; "
            "both training and validation need at least one"
        )
    if isinstance(split, TextSplit):
        return split.divided(num_validation)
    perm = permutation(len(split), seed, _VALIDATION_STREAM)
    chosen = torch.zeros(len(split), dtype=torch.bool)
    chosen[torch.from_numpy(perm[:num_validation])] = True
    return split.part(~chosen), split.part(chosen)


def limit(split: S, num_images: int) -> S:
    """The first images of a split, for quick runs; the whole split if it has no more than that.

    Args:
        split: not changed; the result shares its memory.
        num_images: at least 1.

    Raises: SettingError if `num_images` is below 1.

    Example:
        >>> import torch
        >>> split = Split(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), torch.arange(10))
        >>> limit(split, 3).labels
        tensor([0, 1, 2])
    """
    if num_images < 1:
        raise SettingError(f"number of images is {num_images}; allowed: at least 1")
    return split.limited(num_images)
