"""SGPerm: permutations found from gradients, one at every step.

Source: Qiu and Suda, "Permute to Train", 2022, sections 2 and 5.1, Algorithm 1.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.optim import Optimizer

from permtrain.core import live
from permtrain.core.aliases import refuse_aliases
from permtrain.core.cut import Cut
from permtrain.core.granularity import (
    Biases,
    GranularityRule,
    NamedTensor,
    check_rule,
    decide,
    named_tensors,
    warn_of_unfit,
)
from permtrain.core.kinds import check_weights
from permtrain.core.names import parameters_of, plain_state
from permtrain.core.profile import holding
from permtrain.core.vectors import vectors_of
from permtrain.errors import (
    CheckpointError,
    GranularityError,
    KindError,
    NonFiniteError,
    PermtrainError,
    SettingError,
)
from permtrain.graph.search import permute_ranks_
from permtrain.optim.attached import only_creates_state
from permtrain.optim.beginning import Beginning
from permtrain.optim.method import Method
from permtrain.optim.parameters import (
    UNSAID,
    ModelOrNone,
    leave_cuts,
    model_said,
    named_parameters,
    namesakes,
)
from permtrain.optim.places import Places
from permtrain.optim.sgperm_group import (
    advance_,
    check_change,
    check_group,
    forget_current_,
    settings_of,
    subset_sizes,
)
from permtrain.optim.sgperm_settings import MoveSettings, Recommendation
from permtrain.optim.sorted_rows import SortedRows
from permtrain.ranges import as_plain, check_values

InnerFactory: TypeAlias = Callable[[list[Tensor]], Optimizer]


class SGPerm(Optimizer, Method):
    """Moves weights along cycles that gradients recommend; no value ever changes.

    At step t, with r <- momentum r + (1 - dampening) g for every parameter:

    1. alpha_t <- max(beta_1 alpha_{t-1}, alpha_min), lambda_t <- min(beta_2 lambda_{t-1},
       lambda_max), both before their first use;
    2. each weight vector is cut at random into floor(1 / lambda) subsets;
    3. disjoint cycles of permitted moves are found in each (`permtrain.graph.search`);
    4. the weights move along them.

    Symbols: alpha_0, alpha_min, beta_1 are `aggressiveness`, `aggressiveness_min`,
    `aggressiveness_decay`; lambda_0, lambda_max, beta_2 are `partition_ratio`,
    `partition_ratio_max`, `partition_ratio_growth`.

    Differs from the source: nothing it states; readings are in `permute_ranks_`. Defaults are what
    did best on a validation split over 800 updates (docs/sgperm.md); `SGPERM_PUBLISHED` holds those
    of section 5.1.2, `SGPERM_AUTHORS_CODE` those of the authors' own code.

    Args:
        params: parameters or groups. Weights (two or more dimensions) are permuted; the others go
            to `inner`, or stay as they are.
        model: names parameters, tells their layouts, and which bias belongs to which weight.
        granularity: as in `LaPerm`.
        biases: `"row"`: one more weight of its neuron's vector (per neuron only); `"apart"`: each
            layer's bias is a vector of its own; `"inner"`: left to the inner optimizer. The first
            two need `model`.
        momentum_approach: what the momentum's distance to 1 is multiplied by at each step, before
            its first use, up to `momentum_max`; at 1 it stays.
        recommendation: r of section 2.1.2: `"momentum"`; or `"difference"`, what a weight loses in
            a step that the inner optimizer makes from where the weights are, and which is taken
            back. Plain gradients are momentum 0.
        search: a name in `permtrain.graph.search.SEARCHES`.
        order: in which order moves are tried: `"nearest"`, `"farthest"`, `"random"`.
        inner: makes the optimizer of what is not permuted, from a list of parameters; it steps with
            this one. Left out, those parameters do not change. It gets the permuted ones too where
            it recommends.
        seed: of the random partitions, 0 to 2^63 - 1.

    Param groups: all of alpha's, lambda's and the momentum's settings, `search`, `order`,
        `granularity`. A setting that is changed there counts from the next step on, and what has
        decayed or grown begins anew at it; a changed granularity is refused. There is no learning
        rate: a schedule attached to this optimizer finds `lr`, which is kept and ignored, with a
        warning, and does not reach `inner`; attach it to `optimizer.inner`. One that cycles a
        momentum finds none.
    State: momentum, of the parameter's dtype and shape, per parameter; sorted values and an int32
        map per weight vector, which are saved apart (torch casts what is in `state`), by
        `state_dict`; `torch.distributed.checkpoint.state_dict` leaves them out.
    Randomness: partitions, from (seed, step, row), whatever the number of threads.
    Cost: no sort after the first step; `benchmarks/sgperm.py`.
    Raises:
        SettingError, GranularityError: a setting outside its range, nothing to permute, a tensor
            without vectors.
        NonFiniteError: at a step, a gradient with NaN or infinity, or at the first one a weight,
            naming the parameter; nothing has moved or been counted then.
        ChangedWeightsError: at a step, weights that somebody else wrote since the last one.

    Example:
        >>> import permtrain
        >>> from torch import nn
        >>> model = nn.Linear(64, 4)
        >>> before = {name: w.clone() for name, w in model.state_dict().items()}
        >>> optimizer = SGPerm(model.parameters(), model=model, search="bracket")
        >>> for _ in range(3):
        ...     optimizer.zero_grad()
        ...     model(torch.ones(1, 64)).square().sum().backward()
        ...     _ = optimizer.step()
        >>> bool(permtrain.verify(model, before))
        True
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        model: ModelOrNone = UNSAID,
        granularity: GranularityRule = "neuron",
        biases: Biases = "inner",
        recommendation: Recommendation = MoveSettings.recommendation,
        search: str = MoveSettings.search,
        order: str = MoveSettings.order,
        aggressiveness: float = MoveSettings.aggressiveness,
        aggressiveness_min: float = MoveSettings.aggressiveness_min,
        aggressiveness_decay: float = MoveSettings.aggressiveness_decay,
        partition_ratio: float = MoveSettings.partition_ratio,
        partition_ratio_max: float = MoveSettings.partition_ratio_max,
        partition_ratio_growth: float = MoveSettings.partition_ratio_growth,
        momentum: float = MoveSettings.momentum,
        momentum_max: float = MoveSettings.momentum_max,
        momentum_approach: float = MoveSettings.momentum_approach,
        dampening: float = MoveSettings.dampening,
        inner: InnerFactory | None = None,
        seed: int = 0,
    ) -> None:
        if isinstance(params, torch.nn.Module):
            raise KindError(
                f"params is a {type(params).__name__}; allowed: parameters or groups, as in "
                "SGPerm(model.parameters(), model=model). Hugging Face's Trainer gives `model` of "
                "optimizer_cls_and_kwargs in their place: give it the optimizer itself, "
                "Trainer(optimizers=(SGPerm(...), None))"
            )
        model = model_said(model, type(self).__name__)
        seed = as_plain(seed)
        if biases not in ("row", "apart", "inner"):
            raise SettingError(f"biases is {biases!r}; allowed: row, apart, inner")
        check_values(MoveSettings, {"recommendation": recommendation})
        if recommendation == "difference" and inner is None:
            raise SettingError(
                "recommendation is 'difference', of an inner optimizer; allowed without inner: "
                "momentum"
            )
        if biases != "inner" and model is None:
            raise SettingError(f"biases is {biases!r}; allowed without model: inner")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise SettingError(f"seed is {seed!r}; allowed: 0 to 2^63 - 1")
        defaults = {
            "lr": 1.0,
            "granularity": granularity,
            "search": search,
            "order": order,
            "aggressiveness": aggressiveness,
            "aggressiveness_min": aggressiveness_min,
            "aggressiveness_decay": aggressiveness_decay,
            "partition_ratio": partition_ratio,
            "partition_ratio_max": partition_ratio_max,
            "partition_ratio_growth": partition_ratio_growth,
            "momentum_max": momentum_max,
            "momentum_approach": momentum_approach,
            "dampening": dampening,
        }
        # Not among torch's defaults: schedules that cycle a momentum unasked look for it there.
        self._default_momentum = momentum
        self._rates: list[Any] | None = []
        self.biases = biases
        self.recommendation = recommendation
        self.seed = seed
        self.num_steps = 0
        self._model = model
        self._places = Places(model)
        self._known: list[NamedTensor] = []
        self._rows: list[SortedRows] = []
        self._settings: list[dict[str, Any]] = []
        self._inner_parameters: list[Tensor] = []
        self._make_inner: InnerFactory | None = None  # not before all groups are known
        self.inner: Optimizer | None = None
        super().__init__(params, defaults)
        if not self._rows:
            raise SettingError(
                "granularity leaves every parameter of the optimizer alone; nothing to permute"
            )
        self._make_inner = inner
        self._hand_to_inner(self._inner_parameters)
        self._beginning = Beginning(self, self.parameters, "reset_profile()")
        live.attached(self)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters; their values at the next step are their initial values."""
        if isinstance(param_group, dict):  # torch refuses others
            param_group.setdefault("momentum", self._default_momentum)
        super().add_param_group(param_group)
        index = len(self.param_groups) - 1
        group = self.param_groups[index]
        group |= {key: as_plain(value) for key, value in group.items() if key != "params"}
        rows = list(self._rows)
        try:
            check_group(group)
            left_alone = self._adopt(group, index)
            self._refuse_biases_apart_from_their_rows()
        except PermtrainError:
            self.param_groups.pop()
            self._rows = rows
            raise
        self._settings.append(settings_of(group))
        if self._rates is not None:
            self._rates.append(group["lr"])
        concerned = group["params"] if self.recommendation == "difference" else left_alone
        self._inner_parameters += concerned
        self._hand_to_inner(concerned)

    def _hand_to_inner(self, parameters: list[Tensor]) -> None:
        """Gives the inner optimizer these parameters; the first ones make it."""
        if not parameters:
            return
        if self.inner is not None:
            self.inner.add_param_group({"params": parameters})
        elif self._make_inner is not None:
            self.inner = self._make_inner(parameters)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters that it permutes, by name, biases in rows among them."""
        permuted = {id(each) for rows in self._rows for each in rows.parameters}
        names = {rows.weight.name: rows.weight.parameter for rows in self._rows}
        known = {tensor.name: tensor.parameter for tensor in self._known}
        return names | {name: each for name, each in known.items() if id(each) in permuted}

    @property
    def cuts(self) -> dict[str, Cut]:
        """How each permuted weight is cut, by name."""
        return {rows.weight.name: rows.cut for rows in self._rows}

    @property
    def biases_in_rows(self) -> dict[str, str]:
        """From the name of a weight to that of the bias in its rows, where there is one."""
        names = {id(known.parameter): known.name for known in self._known}
        return {
            rows.weight.name: names[id(rows.bias)] for rows in self._rows if rows.bias is not None
        }

    @property
    def has_begun(self) -> bool:
        """Whether a first step has fixed the initial values."""
        return any(rows.values is not None for rows in self._rows)

    @property
    def changed_unseen(self) -> list[str]:
        """As of `Method`."""
        return [] if self.has_begun else self._beginning.changed()

    def vectors(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weight vectors of weights by name, (V, L), or (V, L + 1) with a bias in the row."""
        return vectors_of(weights, self.cuts, self.biases_in_rows)

    def intact(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whether each weight vector holds its initial values, (V,) bool, by name.

        Raises:
            NonFiniteError: before the first step, weights hold NaN or infinity.
        """
        profiles = {rows.weight.name: rows.initial_values() for rows in self._rows}
        return holding(self.vectors(weights), profiles)

    @_disable_dynamo  # a search and counters, compiled already
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Finds a permutation and carries it out.

        Parameters without a gradient, or without weights, stay as they are.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if only_creates_state(self):
            self._create_momenta()
            return loss
        moving = [
            rows
            for rows in self._rows
            if rows.weight.parameter.grad is not None and rows.weight.parameter.numel()
        ]
        self._places.check()  # before anything moves
        self._warn_of_a_schedule()
        self._take_changed_settings()
        self._check_gradients()
        for rows in self._rows:
            rows.check_unchanged()
        _begin(moving)
        self.num_steps += 1
        for group in self.param_groups:
            advance_(group)
        recommended = self._recommendations(moving)
        for rows in moving:
            self._permute(rows, recommended)
        for rows in self._rows:
            rows.note_seen()
        return loss

    def _warn_of_a_schedule(self) -> None:
        """Says once that a rate was changed which nothing reads."""
        if self._rates is None or [group["lr"] for group in self.param_groups] == self._rates:
            return
        self._rates = None
        if self.inner is not None:
            warnings.warn(
                "a schedule changed SGPerm's lr, and SGPerm has no learning rate; attach it to "
                "optimizer.inner",
                stacklevel=3,
            )

    def reset_profile(self) -> None:
        """Makes the weights as they are at the next step the initial weights; momentum stays."""
        for rows in self._rows:
            rows.forget()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of all parameters, the inner optimizer's too."""
        super().zero_grad(set_to_none)
        if self.inner is not None:
            self.inner.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """As torch's, with what has to keep its dtype beside it.

        Granularities are the constructor's and are not saved: they may be functions.

        Raises:
            ChangedWeightsError: weights were changed since the last step, or replaced in the model.
        """
        self._places.check()
        self._take_changed_settings()
        for rows in self._rows:
            rows.check_unchanged()
        state = super().state_dict()
        for group in state["param_groups"]:
            del group["granularity"]
        return state | {
            "permutation": {
                "version": 1,
                "num_steps": self.num_steps,
                "seed": self.seed,
                "rows": {rows.weight.name: rows.state_dict() for rows in self._rows},
                "inner": None if self.inner is None else self.inner.state_dict(),
            }
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from a saved state; everything is checked before anything is changed.

        Load the model's weights too; the next step compares them with a checksum.

        Raises:
            CheckpointError: it is not of an SGPerm over the same tensors, with the same inner
                optimizer or none.
        """
        self._places.check()
        saved = self._checked_state(state_dict)
        granularities = [group["granularity"] for group in self.param_groups]
        super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        for group, granularity in zip(self.param_groups, granularities, strict=True):
            group["granularity"] = granularity
        self._settings = [settings_of(group) for group in self.param_groups]
        for rows in self._rows:
            rows.load_state_dict(saved["rows"][rows.weight.name])
        self.num_steps = saved["num_steps"]
        self.seed = saved["seed"]
        if self.inner is not None:
            self.inner.load_state_dict(saved["inner"])

    def _checked_state(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """What a saved state holds beside torch's part, if all of it fits."""
        saved: dict[str, Any] | None = state_dict.get("permutation")
        if saved is None or saved.get("version") != 1:
            raise CheckpointError("optimizer state holds no permutation, version 1, of an SGPerm")
        names = {rows.weight.name for rows in self._rows}
        saved = {**saved, "rows": plain_state(saved["rows"], names)}
        if set(saved["rows"]) != names:
            raise CheckpointError(
                f"optimizer state holds rows of {sorted(saved['rows'])}; allowed: {sorted(names)}"
            )
        for rows in self._rows:
            rows.check_state(saved["rows"][rows.weight.name])
        _check_same_groups("optimizer", self, state_dict)
        if (saved["inner"] is None) != (self.inner is None):
            there, allowed = ("no", "one") if saved["inner"] is None else ("an", "none")
            raise CheckpointError(
                f"optimizer state holds {there} inner optimizer; allowed: {allowed}"
            )
        if self.inner is not None:
            _check_same_groups("inner optimizer", self.inner, saved["inner"])
        return saved

    def __getstate__(self) -> dict[str, Any]:
        for rows in self._rows:
            if rows.expected_checksums is None:  # others may still be loaded
                rows.check_unchanged()
        own = ("biases", "recommendation", "seed", "num_steps", "inner")
        private = ("_model", "_places", "_settings", "_known", "_rows", "_inner_parameters")
        others = ("_make_inner", "_default_momentum", "_rates", "_beginning")
        kept = (*own, *private, *others)
        return super().__getstate__() | {key: self.__dict__[key] for key in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        live.attached(self)
        for rows in self._rows:  # a copy's parameters are other tensors
            if rows.seen:
                rows.note_seen()

    def _adopt(self, group: dict[str, Any], index: int) -> list[Tensor]:
        """Makes rows of a group's weights; returns the parameters that are not permuted."""
        if self._model is not None:
            self._known = named_tensors(self._model)  # it may have grown
        names = group.get("param_names")
        named = named_parameters(
            self._model,
            [
                (names[i] if names else f"group {index}, parameter {i}", parameter)
                for i, parameter in enumerate(group["params"])
            ],
        )
        rule = group["granularity"]
        check_rule(rule, [tensor.name for tensor in named])
        in_rows: set[int] = set()
        decisions = {t.name: decide(t, rule, biases=self.biases) for t in named}
        for tensor in named:
            cut = decisions[tensor.name].cut
            if cut is None:
                continue
            check_weights(tensor.name, tensor.parameter)
            if tensor.name in self.cuts:
                raise SettingError(namesakes(tensor.name))
            bias = self._bias_in_row(tensor, cut, named) if self.biases == "row" else None
            last = self._rows[-1] if self._rows else None
            first_row = last.first_row + last.cut.num_vectors if last else 0
            self._rows.append(SortedRows(tensor, cut, bias, index, first_row))
            in_rows |= {id(tensor.parameter)} | ({id(bias)} if bias is not None else set())
        written = {each.name: each.parameter for each in named if id(each.parameter) in in_rows}
        everything = [] if self._model is None else parameters_of(self._model)
        refuse_aliases(
            self.parameters | written, [*everything, *((t.name, t.parameter) for t in named)]
        )
        self._places.add({tensor.name: tensor.parameter for tensor in named})
        leave_cuts(self._model, {tensor.name for tensor in named}, self.cuts, self.biases_in_rows)
        warn_of_unfit(decisions)
        return [tensor.parameter for tensor in named if id(tensor.parameter) not in in_rows]

    def _bias_in_row(
        self, weight: NamedTensor, cut: Cut, named: list[NamedTensor]
    ) -> Tensor | None:
        for tensor in named:
            if tensor.bias_of is weight.parameter:
                if cut.granularity != "neuron":
                    raise GranularityError(
                        f"{weight.name}: biases is 'row', and its granularity is "
                        f"{cut.granularity!r}; allowed: 'neuron', one bias for each"
                    )
                if tensor.parameter.numel() != cut.num_vectors:
                    raise GranularityError(
                        f"{tensor.name} has {tensor.parameter.numel()} values; allowed with biases "
                        f"'row': {cut.num_vectors}, one for each vector of {weight.name}"
                    )
                if tensor.parameter.dtype != weight.parameter.dtype:
                    raise GranularityError(
                        f"{tensor.name} is {tensor.parameter.dtype}; allowed with biases 'row': "
                        f"{weight.parameter.dtype}, as {weight.name}"
                    )
                return tensor.parameter
        return None

    def _refuse_biases_apart_from_their_rows(self) -> None:
        """A row has one group's settings."""
        if self.biases != "row":
            return
        without_bias = {id(rows.weight.parameter) for rows in self._rows if rows.bias is None}
        present = {id(p) for group in self.param_groups for p in group["params"]}
        for tensor in self._known:
            if id(tensor.parameter) in present and id(tensor.bias_of) in without_bias:
                raise SettingError(
                    f"{tensor.name} and its weight are in different parameter groups; allowed with "
                    "biases 'row': one group for both"
                )

    def _take_changed_settings(self) -> None:
        """Goes on from settings that somebody changed in a group, if they are allowed."""
        for index, group in enumerate(self.param_groups):
            known, now = self._settings[index], settings_of(group)
            if now == known:
                continue
            check_change(group, known)
            group |= {key: as_plain(value) for key, value in now.items()}
            forget_current_(group, known)
            self._settings[index] = settings_of(group)

    def _check_gradients(self) -> None:
        """Refuses NaN and infinity in a gradient that a step would use, by name."""
        used = [parameter for rows in self._rows for parameter in rows.parameters]
        for parameter in used if self.inner is None else [*used, *self._inner_parameters]:
            gradient = parameter.grad
            if gradient is None or torch.isfinite(gradient.sum()):
                continue  # a sum is finite unless an addend is not, or it overflows
            if not torch.isfinite(gradient).all():
                raise NonFiniteError(
                    f"{self._name_of(parameter)}: the gradient holds NaN or infinity; allowed: "
                    "finite"
                )

    def _name_of(self, parameter: Tensor) -> str:
        for tensor in (*self._known, *(rows.weight for rows in self._rows)):
            if tensor.parameter is parameter:
                return tensor.name
        return "a parameter that is not permuted"

    def _recommendations(self, moving: list[SortedRows]) -> dict[Tensor, Tensor]:
        """r of each permuted parameter; the inner optimizer has stepped then."""
        if self.recommendation == "momentum":
            recommended = {
                parameter: self._momentum(parameter, self.param_groups[rows.group])
                for rows in moving
                for parameter in rows.parameters
            }
            if self.inner is not None:
                self.inner.step()
            return recommended
        assert self.inner is not None
        before = {p: p.detach().clone() for rows in self._rows for p in rows.parameters}
        self.inner.step()  # the weights it moves are laid out anew
        recommended = {parameter: weights - parameter for parameter, weights in before.items()}
        for rows in self._rows:
            if rows.weight.parameter.grad is None:  # its bias may have one nevertheless
                for parameter in rows.parameters:
                    parameter.copy_(before[parameter])
        return recommended

    def _permute(self, rows: SortedRows, recommended: dict[Tensor, Tensor]) -> None:
        group = self.param_groups[rows.group]
        assert rows.values is not None
        assert rows.rank_to_slot is not None
        recommendations_VL = rows.gathered(
            recommended[rows.weight.parameter],
            None if rows.bias is None else recommended[rows.bias],
        ).to(rows.values.dtype)
        permute_ranks_(
            rows.values,
            rows.rank_to_slot,
            recommendations_VL,
            aggressiveness=group["current_aggressiveness"],
            search=group["search"],
            order=group["order"],
            sizes=subset_sizes(group, rows.length),
            seed=self.seed,
            step=self.num_steps,
            first_row=rows.first_row,
        )
        rows.write_back()

    def _create_momenta(self) -> None:
        """What distributed checkpointing makes a step for, which is none of ours."""
        for rows in self._rows:
            for parameter in rows.parameters:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)

    def _momentum(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """r of a parameter, advanced by its gradient: momentum r + (1 - dampening) g."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum"]
        buffer.mul_(group["current_momentum"])
        if parameter.grad is not None:
            buffer.add_(parameter.grad, alpha=1 - group["dampening"])
        return buffer


def _begin(moving: list[SortedRows]) -> None:
    """Takes weights for the initial ones where none are known: of all of these rows, or of none."""
    fresh = [rows for rows in moving if rows.values is None]
    try:
        for rows in fresh:
            rows.begin()
    except NonFiniteError:
        for rows in fresh:
            rows.forget()
        raise


def _check_same_groups(what: str, optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    saved = [len(group["params"]) for group in state["param_groups"]]
    own = [len(group["params"]) for group in optimizer.param_groups]
    if saved != own:
        raise CheckpointError(
            f"state of the {what} has groups of {saved} parameters; allowed: {own}"
        )
