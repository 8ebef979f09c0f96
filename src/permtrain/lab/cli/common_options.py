"""The options of `permtrain train` that its `--help` shows; `--help-all` shows all of them."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

COMMON = {
    "model", "epochs", "batch_size", "seed", "runs_folder", "data_folder", "device", "threads",
    "data", "validation_fraction", "train_images", "shift_fraction", "horizontal_flip",
    "rule", "share", "sparsity",
    "method", "sync_period", "granularity", "fallback", "permute_biases",
    "inner", "inner_options", "lr", "lr_decay", "lr_decay_epochs", "lr_cosine",
}  # fmt: skip
"""Names of settings; the others are parsed as well, only not shown."""

registry = ConstructorRegistry()
_SEEN = object()


@registry.struct_rule
def common_settings(info: StructTypeInfo) -> StructConstructorSpec | None:
    """A dataclass of settings without those that are seldom wanted."""
    if _SEEN in info.markers or not _holds_common(info.type):
        return None
    marked = replace(info, markers=(*info.markers, _SEEN))  # so that tyro's own rule answers
    spec = ConstructorRegistry.get_struct_spec(marked)
    if not isinstance(spec, StructConstructorSpec):
        return None
    shown = [each for each in spec.fields if each.name in COMMON or _holds_common(each.type)]
    return replace(spec, fields=tuple(shown))


def _holds_common(kind: Any) -> bool:
    if not is_dataclass(kind):
        return False
    return any(each.name in COMMON or _holds_common(each.type) for each in fields(kind))
