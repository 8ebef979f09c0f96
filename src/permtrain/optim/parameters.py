"""The parameters of an optimizer by the names that a model gives them, and notes of their cuts."""

import warnings
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from torch import Tensor, nn

from permtrain.core.cut import Cut
from permtrain.core.granularity import NamedTensor, named_tensors, unnamed_tensor
from permtrain.core.kinds import check_model
from permtrain.core.names import parameters_of
from permtrain.core.notes import leave_note, notes_of, remove_notes
from permtrain.errors import GranularityError, SettingError


class _Unsaid(Enum):
    UNSAID = "model was left out"


UNSAID: Final = _Unsaid.UNSAID
ModelOrNone: TypeAlias = nn.Module | Literal[_Unsaid.UNSAID] | None
"""A model; None where there is none; left out, which is warned of."""

_NOTES = "permtrain_cuts"


def model_said(model: ModelOrNone, who: str) -> nn.Module | None:
    """The model, or None; a warning where nothing was said of it."""
    if model is not UNSAID:
        if model is not None:
            check_model(model)
        return model
    warnings.warn(
        f"{who} got no model; pass model=..., which names parameters, tells where layers keep "
        "their output units and lets verify(model) know what was permuted, or model=None where "
        "there is no model; permtrain 1.0 will require it",
        FutureWarning,
        stacklevel=4,
    )
    return None


def named_parameters(
    model: nn.Module | None, parameters: Sequence[tuple[str, Tensor]]
) -> list[NamedTensor]:
    """What rules see of an optimizer's parameters, given with the names they have there.

    Raises:
        SettingError: one is no parameter of the model, or has no shape yet.
        GranularityError: one holds the parameters of several layers, as FSDP's flat ones.
    """
    for name, parameter in parameters:
        if hasattr(parameter, "_is_flat_param") or hasattr(parameter, "_fsdp_flattened"):
            raise GranularityError(
                f"{name} of the optimizer is a flat parameter of FullyShardedDataParallel, or a "
                "view of one, of which each process holds a part; allowed: tensors that each "
                "process holds whole, as under DistributedDataParallel"
            )
    known = [] if model is None else named_tensors(model)
    by_id = {id(tensor.parameter): tensor for tensor in known}
    strangers = [name for name, parameter in parameters if id(parameter) not in by_id]
    if model is not None and strangers:
        raise SettingError(
            f"{strangers[0]} of the optimizer is no parameter of the model that was given; "
            "allowed: the model whose parameters the optimizer holds"
        )
    return [by_id.get(id(p)) or unnamed_tensor(name, p) for name, p in parameters]


def namesakes(name: str) -> str:
    """What to say of two parameters of one name: saved states go by names."""
    return (
        f"two parameters of the optimizer are called {name}; allowed: a name of its own for each, "
        "as with model=...; once a layer was replaced, an optimizer made anew"
    )


def leave_cuts(
    model: nn.Module | None,
    names: set[str],
    cuts: Mapping[str, Cut],
    biases: Mapping[str, str] | None = None,
) -> None:
    """Leaves with a model how its weights are permuted, as the records of their birth are left.

    Args:
        names: of the parameters that the method knows; notes of an earlier one are removed.
        cuts: of those that it permutes.
        biases: from the names of weights to those of the biases in their vectors.
    """
    if model is None:
        return
    remove_notes(model, _NOTES, names)
    for name, cut in cuts.items():
        bias = (biases or {}).get(name)
        note = {"granularity": cut.granularity, "layout": list(cut.layout)}
        # Names change where a module is put into another one; a bias lies beside its weight.
        own = {} if bias is None else {"bias": bias.rpartition(".")[2]}
        leave_note(model, _NOTES, name, note | own)


def cuts_left(model: nn.Module) -> tuple[dict[str, Cut], dict[str, str]]:
    """How a model's weights were permuted, and the biases in their vectors, by name.

    Example:
        >>> import torch
        >>> from permtrain import LaPerm
        >>> model = nn.Linear(3, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> _ = LaPerm(optimizer, sync_period=2, model=model, granularity="layer")
        >>> cuts_left(model)[0]["weight"].granularity
        'layer'
    """
    parameters = dict(parameters_of(model))
    cuts: dict[str, Cut] = {}
    biases: dict[str, str] = {}
    for name, notes in notes_of(model, _NOTES).items():
        note: dict[str, Any] = notes[0][1]
        if name not in parameters:
            continue
        shape = tuple(parameters[name].shape)
        cuts[name] = Cut(note["granularity"], *note["layout"]).of(shape)
        if "bias" in note:
            beside = notes[0][0].rpartition(".")[0]
            biases[name] = f"{beside}.{note['bias']}" if beside else note["bias"]
    order = {name: place for place, name in enumerate(parameters)}
    return {name: cuts[name] for name in sorted(cuts, key=order.__getitem__)}, biases
