"""Copies of an optimizer that a method is attached to, made without the method."""

import copy
import warnings
from typing import Any
from weakref import ref

from torch.optim import Optimizer

_ALONE = "_permtrain_copied_alone"


def watch_copies(optimizer: Optimizer) -> None:
    """Lets a deep copy of the optimizer warn at its first step, unless a method was copied with it.

    `copy.deepcopy` asks an object, not its class, how it is copied. What is copied together,
    `copy.deepcopy((model, optimizer, permuter))`, is attached to the copy by then, which takes the
    warning off. The optimizer's class, groups and state are not touched.
    """
    if handle := vars(optimizer).pop(_ALONE, None):
        handle.remove()

    own = ref(optimizer)  # which would hold itself

    def copied(memo: dict[int, Any]) -> Optimizer:
        optimizer = own()
        assert optimizer is not None
        del vars(optimizer)["__deepcopy__"]
        try:
            twin = copy.deepcopy(optimizer, memo)
        finally:
            vars(optimizer)["__deepcopy__"] = copied
        if "__deepcopy__" not in vars(twin):  # a method copied first attaches at once
            vars(twin)[_ALONE] = twin.register_step_pre_hook(_warn)
        return twin

    vars(optimizer)["__deepcopy__"] = copied


def _warn(optimizer: Optimizer, *_: Any) -> None:
    vars(optimizer).pop(_ALONE).remove()
    warnings.warn(
        "the optimizer was copied without the method attached to it, and goes on as a plain one; "
        "to copy both, copy.deepcopy((model, optimizer, permuter))",
        stacklevel=3,
    )
