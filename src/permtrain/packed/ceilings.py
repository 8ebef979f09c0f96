"""How much a file may claim before it is read: a user may raise that."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from permtrain.ranges import check_fields


@dataclass(frozen=True)
class Ceilings:
    """What a file of somebody else's may claim; every command that reads one has these options.

    Attributes:
        max_weights: Weights that a file may claim; left out, 16777216 and 64 for each of its bytes.
        max_header: Bytes that the header of a packed file may have; left out, 1048576.

    Raises:
        SettingError: a value below 1.

    Example:
        >>> Ceilings(max_weights=0)
        Traceback (most recent call last):
        permtrain.errors.SettingError: max_weights is 0; allowed: 1 or more
    """

    max_weights: Annotated[int | None, Interval(ge=1)] = None
    max_header: Annotated[int | None, Interval(ge=1)] = None

    def __post_init__(self) -> None:
        check_fields(self)


DEFAULT_CEILINGS = Ceilings()
