"""The checks every network builder makes before it builds."""

from permtrain.errors import SettingError

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


def check_inputs(
    network: str, image_shape: ImageShape, num_classes: int, *, min_size: int = 1
) -> None:
    """Refuse image shapes and class counts that the network cannot be built for.

    Args:
        network: name printed in the message.
        image_shape: channels, height, width.
        num_classes: number of outputs.
        min_size: smallest height and width, in pixels.

    Raises:
        SettingError: `image_shape` is not three positive whole numbers, its height or width is
            below `min_size`, or `num_classes` is not a positive whole number.
    """
    if len(image_shape) != 3 or not all(_is_positive(size) for size in image_shape):
        raise SettingError(
            f"{network}: image_shape is {tuple(image_shape)}, "
            "must be three whole numbers of at least 1: channels, height, width"
        )
    if min(image_shape[1:]) < min_size:
        raise SettingError(
            f"{network}: image_shape is {tuple(image_shape)}, "
            f"height and width must be at least {min_size}"
        )
    if not _is_positive(num_classes):
        raise SettingError(
            f"{network}: num_classes is {num_classes}, must be a whole number of at least 1"
        )


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and value >= 1
