"""Numbers made short enough to be put into a page."""

import math


def three_digits(value: float) -> float | None:
    """Rounded to three significant digits; None for what is no finite number, as JSON has none.

    Example:
        >>> three_digits(-0.0123456), three_digits(float("nan"))
        (-0.0123, None)
    """
    return float(f"{value:.3g}") if math.isfinite(value) else None
