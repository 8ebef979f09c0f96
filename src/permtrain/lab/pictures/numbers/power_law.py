"""Error against width as a power law."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.arrays import drawable

ErrorsByWidth = Mapping[int, Sequence[float]]
"""For each width the errors of its networks."""


@dataclass(frozen=True)
class PowerLaw:
    """error = factor * width**slope, fitted to logarithms by least squares.

    Attributes:
        standard_error: of the slope; None where there are just two points.
    """

    slope: float
    factor: float
    standard_error: float | None

    def __str__(self) -> str:
        if self.standard_error is None:
            return f"{self.slope:.2f}"
        return f"{self.slope:.2f} ± {self.standard_error:.2f}"


def power_law(errors: ErrorsByWidth) -> PowerLaw:
    """Fit a power law to every network's error, each one point.

    The standard error takes networks for independent draws about the line, so that it holds no
    bend that the points may have.

    Raises:
        PictureError: fewer than two widths, or values that are not above 0.

    Example:
        >>> law = power_law({1: [8.0], 4: [4.0], 16: [2.0]})
        >>> round(law.slope, 6), round(law.factor, 6), round(law.standard_error, 6)
        (-0.5, 8.0, 0.0)
    """
    if len(errors) < 2:
        raise PictureError(f"errors are of {len(errors)} widths; allowed: two or more")
    pairs = [(width, error) for width, each in errors.items() for error in each]
    values = drawable(pairs, "errors by width")
    if (values <= 0).any():
        raise PictureError(f"width or error is {values.min():g}; allowed: above 0")
    from scipy.stats import linregress  # takes a second to import

    line = linregress(*np.log(values).T)
    standard_error = float(line.stderr) if len(values) > 2 else None
    return PowerLaw(float(line.slope), math.exp(line.intercept), standard_error)
