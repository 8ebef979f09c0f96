"""Plain data left on the modules of a model, one note for each parameter and kind.

A note stays with the module that has the parameter: copies, pickles, wrappers and parts of the
model keep it; a state dict does not.
"""

from collections.abc import Iterable
from typing import Any

from torch import nn

from permtrain.core.names import first_names, modules_of

RECORDS = "permtrain_records"
"""The kind of the notes of how a parameter was born: `initial.record.TensorRecord` as a dict."""


def leave_note(model: nn.Module, kind: str, name: str, note: Any) -> None:
    """Leave a note on a parameter, in place of the one of this kind that is there.

    Args:
        kind: the attribute of the module that holds its notes.
        name: the parameter's, in the model.
        note: plain data.
    """
    module_name, _, own_name = name.rpartition(".")
    module = dict(modules_of(model, remove_duplicate=False))[module_name]
    others = vars(module).get(kind, {})
    setattr(module, kind, others | {own_name: note})


def remove_notes(model: nn.Module, kind: str, names: Iterable[str]) -> None:
    """Take the notes of one kind off these parameters."""
    gone = set(names)
    for module_name, module in modules_of(model):
        for own_name in list(vars(module).get(kind, {})):
            if _joined(module_name, own_name) in gone:
                rest = {key: note for key, note in vars(module)[kind].items() if key != own_name}
                setattr(module, kind, rest)


def notes_of(model: nn.Module, kind: str) -> dict[str, list[tuple[str, Any]]]:
    """The notes of one kind: the names they were left under now, and what they say.

    By a parameter's first name. A tied parameter has several names, and may have a note under each.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> leave_note(layer, "color", "weight", "red")
        >>> notes_of(nn.Sequential(layer), "color")
        {'0.weight': [('0.weight', 'red')]}
    """
    first_name = first_names(model)
    found: dict[str, list[tuple[str, Any]]] = {}
    for module_name, module in modules_of(model):
        for own_name, note in vars(module).get(kind, {}).items():
            name = _joined(module_name, own_name)
            found.setdefault(first_name.get(name, name), []).append((name, note))
    return found


def _joined(module_name: str, own_name: str) -> str:
    return f"{module_name}.{own_name}" if module_name else own_name
