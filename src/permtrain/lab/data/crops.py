"""Photographs of any size to squares of one size: a random part in training, else the middle.

The draws are a function of (seed, epoch, place in the epoch's order), so that a resumed run sees
the crops that it would have seen. `datasets` has no crops; torchvision's draw from torch's global
generator. Pillow's `resize(box=...)` would save the crop, but its filter reads past the box.
"""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from permtrain.lab.data.order import check_counter

AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
_TRIES = 10
MAX_SCALED = 1 << 25

# Evaluation: the shorter side becomes 256 where 224 are kept.
_SHORT_SIDE = 256 / 224


def crop_draws(seed: int, epoch: int, place: int) -> npt.NDArray[np.float64]:
    """What `random_box` needs for one image, uniform in [0, 1).

    The words are those of Philox4x64-10 with key (seed, epoch), from a part of its counter that the
    epoch's order does not reach.

    Shapes: (22,) float64.
    Raises: SettingError if a counter is not in 0 to 2**64 - 1.

    Example:
        >>> first = crop_draws(0, 7, 2)
        >>> bool((first == crop_draws(0, 7, 2)).all()), bool((first == crop_draws(0, 7, 3)).any())
        (True, False)
    """
    for name, value in (("seed", seed), ("epoch", epoch), ("place", place)):
        check_counter(name, value)
    philox = np.random.Philox(
        key=np.array([seed, epoch], dtype=np.uint64),
        counter=np.array([0, place, 1, 0], dtype=np.uint64),
    )
    words = philox.random_raw(2 * _TRIES + 2) >> np.uint64(11)
    return words.astype(np.float64) * 2.0**-53


def random_box(
    width: int, height: int, draws: npt.NDArray[np.float64]
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a random part of an image.

    Its area is uniform in 8 to 100% of the image's, the logarithm of its aspect uniform between
    those of 3/4 and 4/3, its place uniform. Of ten tries the first that fits counts; if none does,
    it is the largest part from the middle whose aspect is in that range.

    Args:
        width, height: of the image, in pixels, at least 1.
        draws: from `crop_draws`.

    Source: Szegedy et al., Going deeper with convolutions, 2015, section 6; the ten tries and what
        follows them as in torchvision's RandomResizedCrop.

    Example:
        >>> random_box(100, 50, np.zeros(22))
        (0, 0, 17, 23)
    """
    for area_draw, aspect_draw in draws[: 2 * _TRIES].reshape(_TRIES, 2):
        area = width * height * (AREA[0] + (AREA[1] - AREA[0]) * area_draw)
        low, high = (math.log(aspect) for aspect in ASPECT)
        aspect = math.exp(low + (high - low) * aspect_draw)
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            left = int((width - box_width + 1) * draws[-2])
            top = int((height - box_height + 1) * draws[-1])
            return left, top, left + box_width, top + box_height
    aspect = min(max(width / height, ASPECT[0]), ASPECT[1])
    box_width = min(width, max(round(height * aspect), 1))
    box_height = min(height, max(round(width / aspect), 1))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height


def random_square(
    image: Image.Image, size: int, draws: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """The random part of an image, scaled to a square by Pillow's bilinear filter.

    Shapes: (3, size, size) uint8.
    """
    part = image.crop(random_box(image.width, image.height, draws))
    return _pixels(part.resize((size, size), Image.Resampling.BILINEAR))


def middle_square(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """The pixels of `middle_part`.

    Shapes: (3, size, size) uint8.

    Example:
        >>> middle_square(Image.new("RGB", (70, 50), "red"), 28).shape
        (3, 28, 28)
    """
    return _pixels(middle_part(image, size))


def middle_part(image: Image.Image, size: int) -> Image.Image:
    """An image scaled so that its shorter side is 8/7 of `size`, and the middle of that.

    Of an image so long that it would become one of more than `MAX_SCALED` pixels, only the middle,
    twice as long as wide, is scaled. Pillow's bilinear filter.

    Example:
        >>> middle_part(Image.new("RGB", (70, 50), "red"), 28).size
        (28, 28)
    """
    short = round(_SHORT_SIDE * size)
    scale = short / min(image.width, image.height)
    width = short if image.width <= image.height else int(image.width * scale)
    height = short if image.height <= image.width else int(image.height * scale)
    if width * height > MAX_SCALED:
        short_side = min(image.width, image.height)
        kept_width, kept_height = (
            min(side, 2 * short_side) for side in (image.width, image.height)
        )
        first = (image.width - kept_width) // 2, (image.height - kept_height) // 2
        middle = image.crop((*first, first[0] + kept_width, first[1] + kept_height))
        return middle_part(middle, size)
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return scaled.crop((left, top, left + size, top + size))


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)
