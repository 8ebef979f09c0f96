"""What may be worked on: models, and tensors that hold numbers."""

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from permtrain.errors import KindError


def check_model(model: object) -> None:
    """Refuse what is no model.

    Raises:
        KindError: naming what it is.

    Example:
        >>> check_model({})
        Traceback (most recent call last):
        permtrain.errors.KindError: model is of type dict; allowed: a torch.nn.Module
    """
    if not isinstance(model, nn.Module):
        raise KindError(f"model is of type {type(model).__name__}; allowed: a torch.nn.Module")


def check_numbers(name: str, tensor: object) -> None:
    """Refuse what is no tensor, or one that holds no numbers or not all of them.

    Raises:
        KindError: naming the tensor.

    Example:
        >>> check_numbers("w", torch.ones(2, device="meta"))
        Traceback (most recent call last):
        permtrain.errors.KindError: w is on device meta; allowed: tensors that hold numbers
    """
    if not isinstance(tensor, Tensor):
        raise KindError(f"{name} is of type {type(tensor).__name__}; allowed: a torch.Tensor")
    if tensor.layout != torch.strided:
        kind = str(tensor.layout).removeprefix("torch.").replace("_", " ")
        raise KindError(f"{name} is {kind}; allowed: dense tensors ({name}.to_dense())")
    if is_traceable_wrapper_subclass(tensor):
        raise KindError(
            f"{name} is a {type(tensor).__name__}, made of other tensors; allowed: plain ones, "
            "as before quantization"
        )
    if tensor.is_meta:
        raise KindError(f"{name} is on device meta; allowed: tensors that hold numbers")


def check_weights(name: str, tensor: object) -> None:
    """Refuse what has no order that torch can sort by.

    Raises:
        KindError: naming the tensor.

    Example:
        >>> check_weights("w", torch.tensor([1, 2]))
        Traceback (most recent call last):
        permtrain.errors.KindError: w is torch.int64; allowed: floating point, of 16 bits or more
    """
    check_numbers(name, tensor)
    assert isinstance(tensor, Tensor)
    if not tensor.is_floating_point() or tensor.element_size() < 2:
        raise KindError(f"{name} is {tensor.dtype}; allowed: floating point, of 16 bits or more")
