"""What may be done with pixels before a network sees them. Nothing heavy is imported."""

from typing import Literal, TypeAlias, get_args

Normalization: TypeAlias = Literal["z-score", "mean-image", "unit"]
"""Of pixels from 0 to 1. z-score: each channel less its mean, divided by its standard deviation.
mean-image: each pixel less its own mean. unit: as they are."""

NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)
