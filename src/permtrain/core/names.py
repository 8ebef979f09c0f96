"""The names of parameters and buffers: those of the model inside its wrappers.

`torch.compile`, `DistributedDataParallel`, `AveragedModel` and others put a model, or a part of it,
into a module of their own, whose attribute's name then stands in all names. Here it does not.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, TypeVar

from torch import Tensor, nn

_T = TypeVar("_T")

WRAPPERS = {
    "OptimizedModule": "_orig_mod",  # torch.compile(model)
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "AveragedModel": "module",  # torch.optim.swa_utils
    "CheckpointWrapper": "_checkpoint_wrapped_module",  # activation checkpointing
    "_FabricModule": "_forward_module",  # Lightning's Fabric
}
"""From a wrapper's class, by name, for its library may be missing, to where it holds the model."""


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside its wrappers; others as they are.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> unwrapped(nn.DataParallel(layer)) is layer
        True
    """
    while (inside := _inside(module)) is not None:
        module = inside
    return module


def _inside(module: nn.Module) -> nn.Module | None:
    for each in type(module).__mro__:
        if each.__name__ in WRAPPERS:
            return vars(module)["_modules"].get(WRAPPERS[each.__name__])  # type: ignore[no-any-return]
    return None


def modules_of(
    model: nn.Module, *, remove_duplicate: bool = True
) -> Iterator[tuple[str, nn.Module]]:
    """As `model.named_modules()`, wrappers left out."""
    seen: set[int] = set()
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        module = unwrapped(module)
        if id(module) in seen:
            continue
        if remove_duplicate:
            seen.add(id(module))
        yield name, module
        children = [
            (f"{name}.{key}".lstrip("."), child)
            for key, child in module._modules.items()
            if child is not None
        ]
        waiting.extend(reversed(children))


def parameters_of(
    model: nn.Module, *, remove_duplicate: bool = True
) -> Iterator[tuple[str, Tensor]]:
    """As `model.named_parameters()`, by the names of the model inside its wrappers.

    Example:
        >>> [name for name, _ in parameters_of(nn.DataParallel(nn.Linear(3, 2)))]
        ['weight', 'bias']
    """
    seen: set[int] = set()
    for module_name, module in modules_of(model, remove_duplicate=remove_duplicate):
        for key, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in seen:
                if remove_duplicate:
                    seen.add(id(parameter))
                yield f"{module_name}.{key}".lstrip("."), parameter


def first_names(model: nn.Module) -> dict[str, str]:
    """The first plain name of the parameter or buffer that each name stands for.

    Names of tied ones, and those that `model.state_dict()` gives where parts are wrapped, included.
    """
    buffers = (
        (f"{module_name}.{key}".lstrip("."), buffer)
        for module_name, module in modules_of(model, remove_duplicate=False)
        for key, buffer in module._buffers.items()
        if buffer is not None
    )
    plain = [*parameters_of(model, remove_duplicate=False), *buffers]
    first: dict[int, str] = {}
    for name, tensor in plain:
        first.setdefault(id(tensor), name)
    as_saved = chain(
        model.named_parameters(remove_duplicate=False),
        model.named_buffers(remove_duplicate=False),
    )
    return {name: first.get(id(tensor), name) for name, tensor in (*plain, *as_saved)}


def state_of(model: nn.Module) -> dict[str, Any]:
    """As `model.state_dict()`, by plain names, of values that are references.

    Example:
        >>> list(state_of(nn.Sequential(nn.DataParallel(nn.Linear(3, 2)))))
        ['0.weight', '0.bias']
    """
    return plain_state(unwrapped(model).state_dict(), first_names(model))


def plain_state(state: Mapping[str, _T], names: Iterable[str]) -> dict[str, _T]:
    """A state, by the names that are asked for, though it was saved of a wrapped model.

    A name loses what wrappers add to names where that gives one that is asked for and not there.

    Example:
        >>> plain_state({"module.0.weight": 1, "1._orig_mod.bias": 2, "other": 3},
        ...             ["0.weight", "1.bias"])
        {'0.weight': 1, '1.bias': 2, 'other': 3}
    """
    missing, added = set(names) - state.keys(), set(WRAPPERS.values())
    found: dict[str, _T] = {}
    for name, value in state.items():
        plain = ".".join(part for part in name.split(".") if part not in added)
        found[plain if plain in missing else name] = value
    return found
