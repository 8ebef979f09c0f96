"""Large arrays made small enough to be put into a page."""

import math


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0 to count - 1, evenly spaced, the first and the last included.

    Args:
        count: 0 or more.
        most: 2 or more.

    Example:
        >>> evenly(9, 5)
        [0, 2, 4, 6, 8]
        >>> evenly(3, 5)
        [0, 1, 2]
    """
    if count <= most:
        return list(range(count))
    return [place * (count - 1) // (most - 1) for place in range(most)]


def three_digits(value: float) -> float | None:
    """Rounded to three significant digits; None for what is no finite number, as JSON has none.

    Example:
        >>> three_digits(-0.0123456), three_digits(float("nan"))
        (-0.0123, None)
    """
    return float(f"{value:.3g}") if math.isfinite(value) else None
