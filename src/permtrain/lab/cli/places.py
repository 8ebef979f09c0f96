"""Which settings of a place a command has flags for: those that mean something to it."""

from dataclasses import dataclass, replace
from typing import ClassVar

from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from permtrain.lab.cli import paths
from permtrain.lab.training.settings import Place

_LOOKING = ("data_folder", "device", "threads")


@dataclass(frozen=True)
class PlaceToLook(Place):
    """Of commands that look at one run, and train nothing."""

    flags: ClassVar[tuple[str, ...]] = _LOOKING


@dataclass(frozen=True)
class PlaceToEvaluate(Place):
    """Of commands that put images through a run's network."""

    flags: ClassVar[tuple[str, ...]] = (*_LOOKING, "memory_format")


@dataclass(frozen=True)
class PlaceOfRuns(Place):
    """Of commands that look for runs."""

    flags: ClassVar[tuple[str, ...]] = ("runs_folder", *_LOOKING)


@dataclass(frozen=True)
class PlaceToResume(Place):
    """Of a run that has its folder."""

    flags: ClassVar[tuple[str, ...]] = (
        *_LOOKING,
        *("memory_format", "compile", "checkpoint_steps", "keep_checkpoints", "tensorboard"),
        "logger",
    )


_SEEN = object()


@paths.registry.struct_rule
def with_these_flags(info: StructTypeInfo) -> StructConstructorSpec | None:
    """A place with the command's own flags."""
    flags = getattr(info.type, "flags", None)
    if flags is None or _SEEN in info.markers:
        return None
    marked = replace(info, markers=(*info.markers, _SEEN))  # so that tyro's own rule answers
    spec = ConstructorRegistry.get_struct_spec(marked)
    if not isinstance(spec, StructConstructorSpec):
        return None
    return replace(spec, fields=tuple(each for each in spec.fields if each.name in flags))
