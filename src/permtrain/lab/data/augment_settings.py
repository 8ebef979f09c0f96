"""The settings of augmentation, checked. Apart from `augment.py` so that torch is not imported."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from permtrain.ranges import Fraction, check_fields


@dataclass(frozen=True)
class Augmentation:
    """Moves each training image at random; all zero is none.

    Example:
        >>> Augmentation(rotation_degrees=15, shift_fraction=0.1).is_identity
        False
        >>> Augmentation().is_identity
        True
    """

    rotation_degrees: Annotated[float, Interval(ge=0, le=180)] = 0.0
    """Turned by up to so many degrees either way, 0 to 180."""
    shift_fraction: Fraction = 0.0
    """Moved by up to this fraction of the height up or down, of the width sideways, in [0, 1)."""
    zoom_fraction: Fraction = 0.0
    """Height and width each scaled by a factor of its own in 1 +- this fraction, in [0, 1)."""
    horizontal_flip: bool = False
    """Mirrored left to right with probability one half."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def moves_pixels_between(self) -> bool:
        """Whether images have to be interpolated: anything beyond mirroring."""
        return self.rotation_degrees > 0 or self.shift_fraction > 0 or self.zoom_fraction > 0

    @property
    def is_identity(self) -> bool:
        """Whether images stay as they are."""
        return not self.moves_pixels_between and not self.horizontal_flip
