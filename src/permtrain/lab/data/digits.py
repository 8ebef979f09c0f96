"""The handwritten digits that come with scikit-learn: real images without any download."""

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from permtrain.lab.data.images import ImageData

_NUM_TRAIN = 1437


def digits_source() -> str:
    """Which digits these are: they come with the installed scikit-learn."""
    return f"scikit-learn {version('scikit-learn')}"


def read_digits(name: str) -> "ImageData":
    """1,437 training and 360 test images of 8x8 pixels, ten classes.

    scikit-learn's 1,797 images are put in the order `numpy.random.default_rng(0).permutation(1797)`
    and the first 1,437 (four fifths) are the training split. This split is ours: scikit-learn has
    none. Its pixels, 0 to 16, are multiplied by 15, giving 0 to 240.

    Source: Alpaydin and Kaynak, 1998 (UCI Optical Recognition of Handwritten Digits, test part).
    """
    import numpy as np  # these take seconds to import
    import torch
    from sklearn.datasets import load_digits

    from permtrain.lab.data.images import ImageData, Split

    digits = load_digits()
    perm = np.random.default_rng(0).permutation(len(digits.target))
    images = torch.from_numpy((digits.images[perm] * 15).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target[perm].astype(np.int64))
    return ImageData(
        name=name,
        train=Split(images[:_NUM_TRAIN], labels[:_NUM_TRAIN]),
        test=Split(images[_NUM_TRAIN:], labels[_NUM_TRAIN:]),
        class_names=tuple(str(digit) for digit in range(10)),
        source=digits_source(),
    )
