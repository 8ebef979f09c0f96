"""Copies of a model, such as a running average, laid out as permutations of its initial values."""

from collections.abc import Sequence

from torch import nn

from permtrain.core.kinds import check_model
from permtrain.core.names import parameters_of
from permtrain.errors import ProfileError, SettingError
from permtrain.optim.parameters import leave_cuts
from permtrain.optim.permuted_tensor import PermutedTensor, laid_out


def arrange_copy(tensors: Sequence[PermutedTensor], other: nn.Module) -> None:
    """Gives each weight vector of a copy the initial values, in the order of the copy's weights.

    Raises:
        SettingError, KindError, ProfileError, NonFiniteError: as `Permuter.arranged_like`; nothing
            was changed then.
    """
    check_model(other)
    parameters = dict(parameters_of(other, remove_duplicate=False))
    for tensor in tensors:
        if tensor.profile is None:
            raise ProfileError(
                f"{tensor.name}: no step has fixed the initial values yet; allowed: "
                "arranged_like() after the first one"
            )
        found = parameters.get(tensor.name)
        if found is tensor.parameter:
            raise SettingError("other is the model itself; allowed: a copy (or arranged())")
        here = (tuple(tensor.parameter.shape), tensor.profile.dtype)
        there = None if found is None else (tuple(found.shape), found.dtype)
        if here != there:
            raise SettingError(f"{tensor.name} is {there} in the copy; allowed: {here}")
    copies = [parameters[tensor.name] for tensor in tensors]
    scores = [
        weights.to(tensor.parameter.device) for weights, tensor in zip(copies, tensors, strict=True)
    ]
    for weights, values in zip(copies, laid_out(tensors, scores), strict=True):
        weights.copy_(values)
    cuts = {tensor.name: tensor.cut for tensor in tensors}
    leave_cuts(other, set(cuts), cuts)
