"""The one mechanism behind LaPerm and the index optimizer.

It attaches to a torch optimizer through its step hooks, as a learning-rate scheduler is attached to
one, and synchronises weights after the steps that are due. The optimizer stays what it is: its
class, its groups and its state are not touched.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from permtrain.core.cut import Cut
from permtrain.core.granularity import (
    Biases,
    GranularityRule,
)
from permtrain.core.names import plain_state, state_of
from permtrain.core.profile import holding
from permtrain.core.ranking import NOT_FINITE
from permtrain.core.vectors import vectors_of
from permtrain.errors import (
    ChangedWeightsError,
    CheckpointError,
    NonFiniteError,
    ProfileError,
    SettingError,
)
from permtrain.optim.attached import Attached, only_creates_state, optimizer_inside
from permtrain.optim.averages import arrange_copy
from permtrain.optim.births import Births
from permtrain.optim.kept_moves import KeptMoves
from permtrain.optim.members import Members
from permtrain.optim.moves import Look, Moves, moves_between, ranks_in
from permtrain.optim.parameters import (
    ModelOrNone,
    model_said,
)
from permtrain.optim.permuted_tensor import PermutedTensor, checksum, in_blocks, laid_out
from permtrain.optim.seen import same
from permtrain.optim.sync_period import SyncPeriod, check_sync_period, period_at

FINITE_CHECK_PERIOD = 100
"""Steps between looks at what a GPU noted of NaN and infinity: each look waits for the GPU.

`synchronize()`, `arranged()` and `state_dict()` look too. On the CPU each step does, at once.
"""

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


ModelOfUser = TypeVar("ModelOfUser", bound=nn.Module)


class Permuter(Attached):
    """What `LaPerm` and `IndexOptimizer` share; use one of those.

    With `keep_latent` the optimizer moves latent weights, which survive a synchronisation, and the
    model shows the arranged ones between steps; without it the optimizer moves the model's weights
    and a synchronisation overwrites them.
    """

    keep_latent: bool
    _anew = "reset_profile()"

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        sync_period: SyncPeriod,
        model: ModelOrNone,
        granularity: GranularityRule,
        biases: Biases,
    ) -> None:
        optimizer = optimizer_inside(optimizer)
        check_sync_period(sync_period)
        model = model_said(model, type(self).__name__)
        if biases not in ("inner", "apart"):
            raise SettingError(f"biases is {biases!r}; allowed: inner, apart")
        if biases == "apart" and (model is None or callable(granularity)):
            raise SettingError(
                "biases is 'apart'; allowed only with model=... and a granularity by name "
                "(a function or patterns can name the biases themselves)"
            )
        if biases == "apart" and isinstance(granularity, Mapping):
            raise SettingError(
                "biases is 'apart', but granularity goes by patterns; name the biases there, "
                "for example {'*.bias': 'layer', ...}"
            )
        self.optimizer = optimizer
        self.sync_period = sync_period
        self.granularity = granularity
        self.biases = biases
        self.num_steps = 0
        self.num_synchronizations = 0
        self._model = model
        self._members = Members(model, biases)
        self._births = Births(model)
        self._inside_step = False
        self._inert_step = False
        # What latent weights keep is not lost in a synchronization.
        self._kept_moves = None if self.keep_latent else KeptMoves()
        self._is_showing = False
        self._last_look: Look | None = None
        self._adopt_new_parameters(first_time=True)
        if not self.tensors:
            raise SettingError(
                "granularity leaves every parameter of the optimizer alone; nothing to permute"
            )
        self._attach()
        self._watch_beginning()

    # --- what users call -------------------------------------------------------------------------

    @property
    def tensors(self) -> list[PermutedTensor]:
        """The parameters under permutation, in the optimizer's order."""
        return self._members.tensors

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters under permutation, by name."""
        return {tensor.name: tensor.parameter for tensor in self.tensors}

    @property
    def cuts(self) -> dict[str, Cut]:
        """How each of them is cut into weight vectors, by name."""
        return self._members.cuts

    @property
    def scores(self) -> dict[str, Tensor]:
        """The weights whose order counts, by name: the latent ones where they are kept."""
        return {tensor.name: tensor.scores.detach() for tensor in self.tensors}

    @property
    def unarranged(self) -> list[str]:
        """Names of the parameters whose weights are not a permutation now."""
        if self._is_showing or self.keep_latent:  # then the model shows the last arrangement
            return []
        return [tensor.name for tensor in self.tensors if self._is_to_be_arranged(tensor)]

    @property
    def replaced_when_arranged(self) -> dict[str, Tensor]:
        """The parameters, by name, whose weights `arranged()` shows otherwise than they are."""
        return {
            tensor.name: tensor.parameter
            for tensor in self.tensors
            if self._is_to_be_arranged(tensor)
        }

    @property
    def has_begun(self) -> bool:
        """Whether a first step has fixed the initial values."""
        return any(tensor.profile is not None for tensor in self.tensors)

    def vectors(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weight vectors of weights by name, (V, L) each; those across tensors as one."""
        return vectors_of(weights, self.cuts)

    def intact(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whether each weight vector holds its profile's values, (V,) bool, by name.

        Raises:
            NonFiniteError: before the first step, weights hold NaN or infinity.
            ProfileError: `Rewiring` has gone on without it.
        """
        return holding(self.vectors(weights), self.profiles())

    def profiles(self) -> dict[str, Tensor]:
        """The values of each weight vector, (V, L) or (1, L), by the names of `vectors`.

        Before the first step those of the weights as they are, which are the initial ones. Errors
        as of `intact`.
        """
        if self.num_steps and not self.has_begun:
            raise ProfileError(
                "the permuter keeps no initial values any more, for Rewiring has gone on without "
                "it; ask the Rewiring"
            )
        profiles: dict[str, Tensor] = {}
        for block, tensors in in_blocks(self.tensors).items():
            profiles |= block.profiles(tensors)
        return profiles

    def set_profile(self, name: str, values: Tensor) -> None:
        """Gives a parameter other values to be laid out, in training; the order stays.

        Where the model shows arranged weights it shows the new values at once; in LaPerm's
        mid-period they are laid out at the next synchronization. `verify` compares with them.

        Args:
            name: the parameter's, as in `cuts`.
            values: (V, L), or (1, L) or (L,) for all vectors, in any order.

        Raises:
            SettingError: no such parameter is permuted, or its weights go across tensors.
            ProfileError: values of another shape or dtype.
            NonFiniteError: values that are NaN or infinite.
            ChangedWeightsError: weights were changed since the last step.

        Example:
            >>> from torch import nn
            >>> from permtrain import IndexOptimizer
            >>> layer = nn.Linear(2, 2, bias=False)
            >>> with torch.no_grad():
            ...     _ = layer.weight.copy_(torch.tensor([[0.5, -0.1], [0.2, 0.7]]))
            >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
            >>> permuter = IndexOptimizer(optimizer, granularity="neuron", model=layer)
            >>> permuter.set_profile("weight", torch.tensor([-1.0, 1.0]))
            >>> layer.weight.detach()
            tensor([[ 1., -1.],
                    [-1.,  1.]])
        """
        self._settle()
        found = {
            tensor.name: tensor for tensor in self.tensors if tensor.block is self._members.alone
        }
        if name not in found:
            raise SettingError(f"name is {name!r}; allowed: {', '.join(found)}")
        tensor = found[name]
        with torch.inference_mode(False), torch.no_grad():
            if tensor.profile is None:
                self._take_profiles([each for each in self.tensors if each.profile is None])
            tensor.set_profile(values)
            if tensor.is_arranged:
                tensor.show_arranged()
                tensor.note_seen()

    @torch.no_grad()
    def synchronize(self) -> None:
        """Arranges the weights now, whether or not the period is complete.

        Meant for the end of a training whose last period is not complete. It neither counts as a
        step nor shifts the later synchronisations.

        Raises:
            ChangedWeightsError: weights were changed since the last step.
            NonFiniteError: weights hold NaN or infinity; nothing was changed then.
        """
        self._settle()
        started = [tensor for tensor in self.tensors if tensor.profile is not None]
        arranged = laid_out(started, [tensor.scores for tensor in started])
        for tensor, values in zip(started, arranged, strict=True):
            tensor.parameter.copy_(values)
            tensor.is_arranged = True
            tensor.note_seen()
        self.num_synchronizations += 1

    @contextmanager
    def arranged(self) -> Iterator[None]:
        """Shows the model with arranged weights inside the block, as after `synchronize()`.

        For evaluating and saving in mid-period: the published accuracies are "right after
        synchronisation" (Train by Reconnect, appendix). The training state is put back, bit for
        bit, when the block ends, in a state dict too that was taken inside and not copied. While
        the schedule says "not now" the weights are left as they are. A copy of the model that is
        taken inside stays arranged, and is what `torch.export` should get: what it exports shares
        the parameters.

        Example:
            >>> from torch import nn
            >>> model = nn.Linear(3, 2)
            >>> from permtrain import LaPerm
            >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            >>> permuter = LaPerm(optimizer, sync_period=20, model=model)
            >>> with permuter.arranged():
            ...     out = model(torch.ones(1, 3))
        """
        if self._is_showing:  # a block inside another one shows the same
            yield
            return
        self._settle()
        shown = [tensor for tensor in self.tensors if self._is_to_be_arranged(tensor)]
        training_weights = [tensor.parameter.detach().clone() for tensor in shown]
        with torch.no_grad():
            arranged = laid_out(shown, [tensor.scores for tensor in shown])
            for tensor, values in zip(shown, arranged, strict=True):
                tensor.parameter.copy_(values)
                tensor.note_seen()
        self._is_showing = True
        try:
            yield
        finally:
            self._is_showing = False
            written = self._written_while_shown(shown, training_weights)
            with torch.no_grad():
                for tensor, values in zip(shown, training_weights, strict=True):
                    tensor.parameter.copy_(values)
                    tensor.note_seen()
        if written:
            raise ChangedWeightsError(
                f"{written[0]}: weights were changed inside arranged(), and the training weights "
                "are put back; change weights outside of it"
            )

    def _written_while_shown(
        self, shown: list[PermutedTensor], training_weights: list[Tensor]
    ) -> list[str]:
        """Those that somebody wrote, and did not put back bit for bit."""
        if not any(tensor.was_written for tensor in shown):
            return []
        arranged = laid_out(
            shown, training_weights if not self.keep_latent else [tensor.scores for tensor in shown]
        )
        return [
            tensor.name
            for tensor, values in zip(shown, arranged, strict=True)
            if not same(tensor.parameter, values)
        ]

    def arranged_state_dict(self) -> dict[str, Any]:
        """A copy of the model's state dict with arranged weights, by the names of the model inside.

        It stays as it is when training goes on; one that is taken inside `arranged()` does not.

        Raises:
            SettingError: no model was given.
            ChangedWeightsError: weights were changed since the last step.
        """
        if self._model is None:
            raise SettingError("arranged_state_dict() needs the model; allowed: model=... given")
        with self.arranged():
            return copy.deepcopy(
                {
                    name: value.detach() if isinstance(value, Tensor) else value
                    for name, value in state_of(self._model).items()
                }
            )

    @torch.no_grad()
    def arranged_like(self, other: ModelOfUser) -> ModelOfUser:
        """Lays out a copy of the model, as an average of its weights, by its own weights' order.

        Each weight vector of the copy becomes the initial values in the order that its weights
        have: a permutation, as after `synchronize()`. The copy is written and returned; a running
        average goes on from a copy of the copy.

        Args:
            other: has the parameters that are permuted, under the same names; an `AveragedModel`,
                or `copy.deepcopy(model)`, which may be exported then.

        Raises:
            SettingError: it is the model itself, or lacks a parameter.
            KindError: it is no model.
            ProfileError: no step has fixed the initial values yet.
            NonFiniteError: its weights hold NaN or infinity; nothing was changed then.

        Example:
            >>> from torch import nn
            >>> from torch.optim.swa_utils import AveragedModel
            >>> from permtrain import LaPerm, verify
            >>> model = nn.Linear(3, 2)
            >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            >>> permuter = LaPerm(optimizer, sync_period=4, model=model)
            >>> average = AveragedModel(model)
            >>> for _ in range(4):
            ...     model(torch.ones(1, 3)).sum().backward()
            ...     _ = optimizer.step()
            ...     average.update_parameters(model)
            >>> print(verify(permuter.arranged_like(average), permuter))
            all 2 weight vectors hold exactly their initial values
        """
        self._settle()
        arrange_copy(self.tensors, other)
        return other

    @torch.no_grad()
    def travel(self) -> Moves:
        """What weights did since the last call: how many changed rank, and how far.

        The ranks are those of `scores`: of latent weights where they are kept. The first call
        begins. Takes a bit more than a synchronization, and from then on a rank per weight is
        kept; a checkpoint does not hold it.

        Raises:
            ChangedWeightsError: weights were changed since the last step.
            NonFiniteError: weights hold NaN or infinity.

        Example:
            >>> from torch import nn
            >>> from permtrain import LaPerm
            >>> model = nn.Linear(2, 1)
            >>> with torch.no_grad():
            ...     _ = model.weight.copy_(torch.tensor([[1.0, 2.0]]))
            >>> optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            >>> permuter = LaPerm(optimizer, sync_period=2, model=model)
            >>> _ = permuter.travel()
            >>> model(torch.tensor([[-2.0, 0.0]])).sum().backward()
            >>> _ = optimizer.step()
            >>> permuter.travel().moved_share
            1.0

            With TensorBoard, wandb or trackio, every hundred steps or so:

            >>> # for name, value in permuter.travel().numbers().items():
            >>> #     writer.add_scalar(name, value, step)
            >>> # wandb.log(permuter.travel().numbers(), step=step)
            >>> # trackio.log(permuter.travel().numbers())
        """
        self._settle()
        ranks = ranks_in(self.vectors(self.scores))
        now = Look(self.num_steps, self.num_synchronizations, ranks)
        before, self._last_look = self._last_look, now
        return moves_between(before, now)

    @contextmanager
    def allow_changes(self) -> Iterator[None]:
        """Takes what is written to weights inside the block as meant; the initial values stay.

        For weights that are clamped between synchronizations, averages swapped in and out,
        schedule-free's `train()` and `eval()`. `LaPerm` goes on from the weights as they are then.
        `IndexOptimizer` takes changed weights as the latent ones, and shows them arranged. Weights
        that are back bit for bit are as if never written.

        Raises:
            ChangedWeightsError: weights were changed before the block, or have another shape or
                dtype after it.
            NonFiniteError: changed weights hold NaN or infinity.

        Example:
            >>> from torch import nn
            >>> from permtrain import LaPerm
            >>> model = nn.Linear(3, 2)
            >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            >>> permuter = LaPerm(optimizer, sync_period=20, model=model)
            >>> for _ in range(3):
            ...     model(torch.ones(1, 3)).sum().backward()
            ...     _ = optimizer.step()
            ...     with permuter.allow_changes(), torch.no_grad():
            ...         _ = model.weight.clamp_(-1, 1)
        """
        self._settle()
        begun = [tensor for tensor in self.tensors if tensor.profile is not None]
        before = [checksum(tensor.parameter) for tensor in begun]
        yield
        with torch.inference_mode(False), torch.no_grad():
            self._members.places.check()
            changed = [
                tensor
                for tensor, its_checksum in zip(begun, before, strict=True)
                if tensor.has_changed_since(its_checksum)
            ]
            self._go_on_from_changed(changed)

    def _go_on_from_changed(self, changed: list[PermutedTensor]) -> None:
        for tensor in changed:
            if tensor.latent is not None:
                tensor.latent.copy_(tensor.parameter)
            tensor.note_seen()
        blocks = {tensor.block for tensor in changed} - {self._members.alone}
        concerned = [each for each in self.tensors if each in changed or each.block in blocks]
        for tensor in concerned:
            tensor.is_arranged = False
        if not self.keep_latent:
            return
        shown = [tensor for tensor in concerned if self._is_to_be_arranged(tensor)]
        arranged = laid_out(shown, [tensor.scores for tensor in shown])
        for tensor, values in zip(shown, arranged, strict=True):
            tensor.parameter.copy_(values)
            tensor.is_arranged = True
            tensor.note_seen()

    @torch.inference_mode(False)  # what it makes is to be written in training
    def reset_profile(self) -> None:
        """Makes the weights as they are now the initial weights: their values are the new profile.

        Raises:
            NonFiniteError: weights hold NaN or infinity.
        """
        self._refuse_inside_arranged()
        self._inside_step = False  # weights are as they are after a step that raised, too
        self._take_profiles(self.tensors)
        self._beginning = None

    def detach(self) -> None:
        """Takes the hooks off; the optimizer goes on as a plain one from the weights as they are.

        LaPerm's weights in mid-period are not a permutation: call `synchronize()` first if they are
        to be one.
        """
        super().detach()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly, in mid-period too: plain data and tensors.

        The model's and the optimizer's own states are saved beside it, with the training weights
        (not those of `arranged()`). Tensors are references, as in torch's state dicts. Profiles
        that the records of `initialize_` give again are left out; a model drawn alike loads such a
        state. Settings are the constructor's and are not saved. `torch.distributed.checkpoint`
        takes the permuter itself, beside the model:
        `save({"model": model, "permuter": permuter}, ...)`.

        Raises:
            ChangedWeightsError: weights were changed since the last step.
            NonFiniteError: weights hold NaN or infinity.
        """
        self._settle()
        return {
            "version": 1,
            "method": type(self).__name__,
            "num_steps": self.num_steps,
            "num_synchronizations": self.num_synchronizations,
            "tensors": {
                each.name: self._births.without_profile(
                    each.name, each.cut, each.state_dict(self.keep_latent)
                )
                for each in self.tensors
            },
        }

    @torch.inference_mode(False)
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from a saved state; everything is checked before anything is changed.

        Load the model's weights and the optimizer's state too, in any order; the next step compares
        the weights with a checksum.

        Raises:
            CheckpointError: the state is of another method, model or granularity.
        """
        self._refuse_inside_arranged()
        self._members.places.check()
        self._adopt_new_parameters()
        saved = self._checked_state(state_dict)
        for tensor in self.tensors:
            tensor.load_state_dict(saved[tensor.name])
        self.num_steps = state_dict["num_steps"]
        self.num_synchronizations = state_dict["num_synchronizations"]
        self._inside_step = False
        self._beginning = None
        self._kept_moves = None
        self._last_look = None

    def __repr__(self) -> str:
        lines = [
            f"  {tensor.name}: {tensor.cut.num_vectors} x {tensor.cut.vector_length} "
            f"({tensor.cut.granularity})"
            for tensor in self.tensors
        ]
        optimizer = self._optimizer()
        of = "no optimizer any more" if optimizer is None else type(optimizer).__name__
        head = f"{type(self).__name__} of {of}"
        return "\n".join([f"{head}, sync_period={self.sync_period}, step {self.num_steps}", *lines])

    # --- hooks -----------------------------------------------------------------------------------

    @torch.no_grad()
    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._refuse_inside_arranged()
        _refuse_capture()
        if self._inside_step:
            self._recover()
        self._inert_step = only_creates_state(optimizer)
        if self._inert_step:
            return None
        self._adopt_new_parameters()
        self._members.places.check()
        if self.num_steps % FINITE_CHECK_PERIOD == 0:
            self._refuse_what_was_not_finite()
        self._members.alone.check_step()
        self._members.pool.check_step()
        new = [tensor for tensor in self.tensors if tensor.profile is None]
        if new:
            self._take_profiles(new)
        for tensor in self.tensors:
            tensor.check_unchanged()
            tensor.enter_step(self.num_steps + 1)
        replaced = self._with_closure_replaced(args, kwargs)
        self._inside_step = True
        for tensor in self.tensors:
            if tensor.latent is not None:
                if tensor.needs_held():
                    tensor.held = tensor.parameter.detach().clone()
                tensor.parameter.copy_(tensor.latent)
        return replaced

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._inert_step:
            self._inert_step = False
            return
        # A fused optimizer under GradScaler is called even if a gradient overflowed; the skip then
        # happens inside its kernel.
        found_inf = getattr(optimizer, "found_inf", None)
        applied = found_inf is None or not bool(torch.as_tensor(found_inf).any())
        if not applied:
            self._recover()
            return
        due = [tensor for tensor in self.tensors if tensor.is_due]
        try:
            self._refuse_not_finite()
        except NonFiniteError:
            self._recover()
            raise
        for block, tensors in in_blocks(due).items():
            block.show_moved(tensors)
        if due and self._kept_moves is not None:
            self._kept_moves = self._kept_moves.look(due, self.sync_period)
        for tensor in self.tensors:
            tensor.leave_step()
        self.num_steps += 1
        self.num_synchronizations += bool(due)
        self._inside_step = False

    def _with_closure_replaced(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """A closure that the inner optimizer evaluates in mid-step; None leaves it as it is."""
        return None

    # --- bookkeeping -----------------------------------------------------------------------------

    def _take_profiles(self, tensors: list[PermutedTensor]) -> None:
        """Makes the weights as they are the initial ones; NonFiniteError if they are not finite."""
        for tensor in tensors:
            tensor.take_profile(self.keep_latent)
        for block in in_blocks(tensors):
            block.check_profiles()
        if self._kept_moves is not None:
            self._kept_moves.begin(tensors)

    def _is_to_be_arranged(self, tensor: PermutedTensor) -> bool:
        if tensor.profile is None or tensor.is_arranged:
            return False
        return period_at(tensor.sync_period, max(self.num_steps, 1)) is not None

    def _settle(self) -> None:
        """Leaves no half-done step, and no weights that somebody else wrote."""
        self._refuse_inside_arranged()
        self._members.places.check()
        self._refuse_unseen_training()
        if self._inside_step:
            self._recover()
        for tensor in self.tensors:
            if tensor.profile is not None:
                tensor.check_unchanged()
        self._refuse_what_was_not_finite()

    def _refuse_not_finite(self) -> None:
        """Refuses NaN and infinity that the step left in weights, by the tensor's name.

        One look at the sum of all: it is finite unless an addend is not, or it overflows, and each
        tensor by itself decides then.
        """
        moved = [
            tensor
            for tensor in self.tensors
            if tensor.latent is not None or tensor.step_period is not None
        ]
        if not math.isfinite(sum(tensor.sum_of_weights() for tensor in moved)):
            for tensor in moved:
                tensor.check_finite()

    def _refuse_what_was_not_finite(self) -> None:
        """What steps on a GPU noted; it is forgotten with that, so that one may go on."""
        names = [tensor.name for tensor in self.tensors if tensor.found_not_finite()]
        if names:
            raise NonFiniteError(
                f"{names[0]}: {NOT_FINITE}; found on the GPU in a step since the last look, of "
                f"which there is one every {FINITE_CHECK_PERIOD} steps"
            )

    def _refuse_inside_arranged(self) -> None:
        if self._is_showing:
            raise ChangedWeightsError(
                "inside arranged() the model shows arranged weights in place of the training ones; "
                "leave the block first"
            )

    @torch.no_grad()
    def _recover(self) -> None:
        """After an inner step that failed or was skipped: shows what was shown before it."""
        for tensor in self.tensors:
            if tensor.held is not None:
                tensor.parameter.copy_(tensor.held)
                tensor.held = None
            elif tensor.latent is not None and tensor.is_arranged:
                tensor.show_arranged()
            tensor.note_seen()
        self._inside_step = False

    def _adopt_new_parameters(self, first_time: bool = False) -> None:
        self._members.adopt(
            self._groups, self.granularity, self._permuted_by_others, first_time=first_time
        )
        self._members.hand_out_periods(self._groups, self.sync_period)

    def _permuted_by_others(self) -> dict[int, str]:
        owners = {
            getattr(hook, "__self__", None)
            for hook in self.optimizer._optimizer_step_post_hooks.values()
        }
        return {
            key: type(owner).__name__
            for owner in owners
            if isinstance(owner, Permuter) and owner is not self
            for key in map(id, owner.parameters.values())
        }

    def _checked_state(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """The states of the tensors, by name, profiles among them, if all fits."""
        expected = {"version", "method", "num_steps", "num_synchronizations", "tensors"}
        if set(state_dict) != expected or state_dict["version"] != 1:
            raise CheckpointError(
                f"permuter state has keys {sorted(map(str, state_dict))}; "
                f"allowed: {sorted(expected)}, version 1"
            )
        if state_dict["method"] != type(self).__name__:
            raise CheckpointError(
                f"permuter state is of a {state_dict['method']}; allowed: {type(self).__name__}"
            )
        saved = plain_state(state_dict["tensors"], self.cuts)
        saved_names, names = set(saved), {tensor.name for tensor in self.tensors}
        if saved_names != names:
            raise CheckpointError(
                f"permuter state holds other tensors: missing {sorted(names - saved_names)}, "
                f"unexpected {sorted(saved_names - names)}"
            )
        for tensor in self.tensors:
            name = tensor.name
            saved[name] = self._births.with_profile(name, tensor.cut, saved[name])
            tensor.check_state(saved[name], self.keep_latent)
        return saved

    def _check_unchanged(self) -> None:
        """Refuses weights that somebody else wrote since the last step; loaded ones may come."""
        for tensor in self.tensors:
            if tensor.profile is not None and tensor.expected_checksum is None:
                tensor.check_unchanged()

    def __getstate__(self) -> dict[str, Any]:
        self._refuse_inside_arranged()
        if self._handles:
            self._check_unchanged()
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for tensor in self.tensors:
            if tensor.seen.is_noted:
                tensor.note_seen()
        self._adopt_new_parameters()


def _refuse_capture() -> None:
    """A CUDA graph replays what the device did, and neither counts steps nor tells which are due.

    Raises:
        SettingError: the step is being captured.
    """
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        raise SettingError(
            "optimizer.step() is being captured in a CUDA graph, whose replays would not count its "
            "steps; allowed: the forward and backward pass captured, step() called outside"
        )
