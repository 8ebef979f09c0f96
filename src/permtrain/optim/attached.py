"""Hooks on an optimizer's step: put on, taken off, and carried over to copies."""

import sys
from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral
from types import FrameType
from typing import Any, TypeAlias
from weakref import ref

from torch._compile import _disable_dynamo
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from permtrain.core import live
from permtrain.errors import KindError, SettingError
from permtrain.optim.beginning import Beginning
from permtrain.optim.copies import watch_copies
from permtrain.optim.method import Method

Closure: TypeAlias = Callable[[], Any]

_REFERENCES = ("_optimizer", "_last_groups")
"""What a copy makes anew."""

_OWN_SETTINGS = ("granularity", "sync_period")
"""What a group of the optimizer may say of permutation."""

_HOOKED_STEP = Optimizer.profile_hook_step(lambda: None).__code__


class Attached(Method):
    """What acts before and after each `optimizer.step()`, from when it is attached.

    The optimizer holds it, by its hooks, and not the other way round, so that both are freed as
    soon as nobody else holds the optimizer. Copying or pickling it copies its optimizer, which the
    copy does hold; the copy is attached if the original is.
    """

    _handles: list[RemovableHandle]
    _held: Optimizer
    _beginning: Beginning | None = None
    """Until the first step, of a method that would not notice that its saved state is missing."""
    _anew = "attaching it to a new optimizer"
    """What to do where the weights as they are shall be the initial ones."""

    @property
    def optimizer(self) -> Optimizer:
        """What it is attached to.

        Raises:
            SettingError: nobody holds it any more.
        """
        found = self._optimizer()
        if found is None:
            raise SettingError(
                f"the optimizer of {type(self).__name__} is gone; allowed: one that the program "
                "keeps"
            )
        return found

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        self._optimizer = ref(optimizer)
        self._last_groups: list[dict[str, Any]] = optimizer.param_groups

    @property
    def _groups(self) -> list[dict[str, Any]]:
        """The optimizer's parameter groups; of one that is gone those that it last had."""
        if (optimizer := self._optimizer()) is not None:
            self._last_groups = optimizer.param_groups
        return self._last_groups

    @property
    def changed_unseen(self) -> list[str]:
        """As of `Method`."""
        return [] if self._beginning is None or self.has_begun else self._beginning.changed()

    def _watch_beginning(self) -> None:
        self._beginning = Beginning(self.optimizer, self.parameters, self._anew)

    def _begin(self) -> None:
        """Before the first step: refuses one that comes without the method's saved state."""
        assert self._beginning is not None
        if only_creates_state(self.optimizer):
            self._beginning.note_made_up_step(self.optimizer)
            return
        self._beginning.check_first_step(self.optimizer, type(self).__name__)
        self._beginning = None

    def _refuse_unseen_training(self) -> None:
        if self._beginning is not None and not self.has_begun:
            self._beginning.check_nothing_trained(self._optimizer(), type(self).__name__)

    def detach(self) -> None:
        """Takes the hooks off; the optimizer goes on as a plain one."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if (optimizer := self._optimizer()) is not None:
            vars(optimizer).pop("__deepcopy__", None)
        live.detached(self)

    def _attach(self) -> None:
        _refuse_without_hooks(self.optimizer)
        self._handles = [
            self.optimizer.register_step_pre_hook(self._before_call),
            self.optimizer.register_step_post_hook(self._after_call),
        ]
        if hasattr(self.optimizer, "_optimizer_state_dict_post_hooks"):  # Lookahead has none
            self._handles += [
                self.optimizer.register_state_dict_post_hook(_without_rules),
                self.optimizer.register_load_state_dict_pre_hook(_with_own_settings),
            ]
        watch_copies(self.optimizer)
        live.attached(self)

    @abstractmethod
    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Before the step; may return other arguments for it."""

    @abstractmethod
    def _after_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """After the step; not called if it raised."""

    # torch.compile is kept out: an arrangement is a sort and counters, nothing to fuse.

    @_disable_dynamo
    def _before_call(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if _is_part_of_a_step(optimizer):
            return None
        if self._beginning is not None:
            self._begin()
        return self._before_step(optimizer, args, kwargs)

    @_disable_dynamo
    def _after_call(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if not _is_part_of_a_step(optimizer):
            self._after_step(optimizer, args, kwargs)

    def __getstate__(self) -> dict[str, Any]:
        own = {key: self.__dict__[key] for key in self.__dict__ if key not in _REFERENCES}
        attached = {"_handles": [], "_is_attached": bool(self._handles)}
        return own | attached | {"_held": self.optimizer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        is_attached = state.pop("_is_attached")
        self.__dict__.update(state)
        self.optimizer = self._held
        if is_attached:
            self._attach()


_WRAPPERS = ("AcceleratedOptimizer", "_FabricOptimizer", "LightningOptimizer")
"""Classes of accelerate and Lightning, by name: they hold the optimizer that makes the steps."""


def optimizer_inside(optimizer: object) -> Optimizer:
    """The optimizer that a framework's wrapper holds; others as they are.

    Raises:
        KindError: it is none.
    """
    while any(each.__name__ in _WRAPPERS for each in type(optimizer).__mro__):
        optimizer = optimizer.optimizer  # type: ignore[attr-defined]
    if not isinstance(optimizer, Optimizer):
        raise KindError(
            f"optimizer is {type(optimizer).__name__}; allowed: a torch.optim.Optimizer"
        )
    return optimizer


def closure_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Closure | None:
    """What a step was given to evaluate the loss anew; a hook's `args` begin with the optimizer."""
    closure: Closure | None = kwargs.get("closure") or (args[1] if len(args) > 1 else None)
    return closure


def with_closure(
    args: tuple[Any, ...], kwargs: dict[str, Any], closure: Closure
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments with another closure in place of theirs."""
    if "closure" in kwargs:
        return args, {**kwargs, "closure": closure}
    return (args[0], closure, *args[2:]), kwargs


def only_creates_state(optimizer: Optimizer) -> bool:
    """Whether this is the made-up step with which distributed checkpointing creates state.

    It comes before any other, with a zero learning rate and gradients of zero, and must not count.
    """
    if optimizer.state or any(float(group.get("lr", 1.0)) != 0 for group in optimizer.param_groups):
        return False
    gradients = [
        parameter.grad
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
    return not any(bool(gradient.any()) for gradient in gradients)


def _without_rules(optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
    """Leaves out of a saved state what a group says of permutation in functions and cuts.

    They are the program's, not the state's, and `torch.load` would not read them.
    """
    for group in state_dict["param_groups"]:
        for key in _OWN_SETTINGS:
            if isinstance(group.get(key), Integral):
                group[key] = int(group[key])
            elif key in group and not _is_plain(group[key]):
                del group[key]


def _with_own_settings(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Gives a state to load what its groups do not say of permutation, and the optimizer's do."""
    own = [
        {key: group[key] for key in _OWN_SETTINGS if key in group}
        for group in optimizer.param_groups
    ]
    saved = state_dict["param_groups"]
    if len(saved) != len(own):
        return state_dict  # the optimizer refuses it
    groups = [ours | theirs for ours, theirs in zip(own, saved, strict=True)]
    return {**state_dict, "param_groups": groups}


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _refuse_without_hooks(optimizer: Optimizer) -> None:
    """Refuses a wrapper that looks like an optimizer but never calls what is attached to it.

    Raises:
        SettingError: naming its class.
    """
    kind = type(optimizer)
    if not any(getattr(vars(each).get("step"), "hooked", False) for each in kind.__mro__):
        raise SettingError(
            f"step() of {kind.__name__} calls no hooks, for its __init__ does not call that of "
            "torch.optim.Optimizer; allowed: an optimizer that does, such as the one it wraps"
        )


def _is_part_of_a_step(optimizer: Optimizer) -> bool:
    """Whether the call of `step()` that a hook belongs to is made by another one.

    torch hooks into `step` of every class of which there was an instance. If a subclass's `step`
    calls that of its base class, hooks are called in both; the outer call is the step.
    """
    num_calls = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and num_calls < 2:
        if frame.f_code is _HOOKED_STEP and frame.f_locals.get("self") is optimizer:
            num_calls += 1
        frame = frame.f_back
    return num_calls == 2
