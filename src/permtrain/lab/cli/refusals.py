"""What settings themselves refuse passes by tyro, which would draw a box around it and exit."""

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Any

from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from permtrain.errors import PermtrainError
from permtrain.lab.cli import paths

_SEEN = object()


class Refused(Exception):
    """Holds the error of a setting. Tyro catches every ValueError; this is none."""

    def __init__(self, error: PermtrainError) -> None:
        super().__init__(str(error))
        self.error = error


@paths.registry.struct_rule
def refused_by_itself(info: StructTypeInfo) -> StructConstructorSpec | None:
    """A dataclass whose constructor may refuse its values."""
    if _SEEN in info.markers or not is_dataclass(info.type):
        return None
    marked = replace(info, markers=(*info.markers, _SEEN))  # so that other rules answer
    spec = ConstructorRegistry.get_struct_spec(marked)
    if not isinstance(spec, StructConstructorSpec):
        return None
    return replace(spec, instantiate=_passing_by(spec.instantiate))


def _passing_by(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        try:
            return make(*args, **kwargs)
        except PermtrainError as error:
            raise Refused(error) from error

    return made
