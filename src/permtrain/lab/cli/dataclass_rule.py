"""Rules for how tyro treats the dataclasses of settings, each laid over the others."""

from collections.abc import Callable
from dataclasses import is_dataclass, replace

from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from permtrain.lab.cli import paths

Change = Callable[[StructConstructorSpec], StructConstructorSpec]


def dataclass_rule(change: Change) -> Change:
    """Register a change of what tyro makes of a dataclass. A decorator; the function stays."""
    seen = object()

    @paths.registry.struct_rule
    def changed(info: StructTypeInfo) -> StructConstructorSpec | None:
        if seen in info.markers or not is_dataclass(info.type):
            return None
        marked = replace(info, markers=(*info.markers, seen))  # so that other rules answer
        spec = ConstructorRegistry.get_struct_spec(marked)
        return change(spec) if isinstance(spec, StructConstructorSpec) else None

    return change
