"""Paths on the command line: a shell leaves the ~ of `--runs-folder=~/runs` as it is."""

from pathlib import Path

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from permtrain.files import from_home

registry = ConstructorRegistry()


@registry.primitive_rule
def path_from_home(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    """A path whose leading ~ is the user's home folder."""
    if kind.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: from_home(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )
