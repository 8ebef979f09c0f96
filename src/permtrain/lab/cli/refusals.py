"""What settings themselves refuse passes by tyro, which would draw a box around it and exit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tyro.constructors import StructConstructorSpec

from permtrain.errors import PermtrainError
from permtrain.lab.cli.dataclass_rule import dataclass_rule


class Refused(Exception):
    """Holds the error of a setting. Tyro catches every ValueError; this is none."""

    def __init__(self, error: PermtrainError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass_rule
def refused_by_itself(spec: StructConstructorSpec) -> StructConstructorSpec:
    """The constructor may refuse its values."""
    return replace(spec, instantiate=_passing_by(spec.instantiate))


def _passing_by(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        try:
            return make(*args, **kwargs)
        except PermtrainError as error:
            raise Refused(error) from error

    return made
