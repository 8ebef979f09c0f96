"""From settings to the inner optimizer and what is attached to it."""

import dataclasses
import inspect
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from permtrain.core.granularity import Answer, GranularityRule, named_tensors
from permtrain.errors import NoVectorsError, SettingError, one_line
from permtrain.lab.training.settings import OptimizerSettings, PermutationSettings, Settings
from permtrain.optim.frozen_zeros import FrozenZeros
from permtrain.optim.index import IndexOptimizer
from permtrain.optim.laperm import LaPerm
from permtrain.optim.method import Method
from permtrain.optim.rewiring import Rewiring
from permtrain.optim.sgperm import SGPerm
from permtrain.optim.supermask import Supermask
from permtrain.optim.sync_period import StepwisePeriod, SyncPeriod

# Their weight_decay shrinks the weights beside the gradient, as AdamW's.
_DECOUPLED = {"AdamW", "Adafactor", "Muon"}


def inner_optimizer(settings: OptimizerSettings, model: nn.Module) -> torch.optim.Optimizer:
    """The class of `torch.optim` that the settings name, over all parameters of the model.

    Raises:
        SettingError: there is no such class, it does not take one of the options, or it refuses a
            value, at its first step too; or `l2` with a class whose weight decay does not go
            through the gradient.

    Example:
        >>> inner_optimizer(OptimizerSettings(inner="SGD", lr=0.5), nn.Linear(2, 1)).defaults["lr"]
        0.5
    """
    cls = _optimizer_class(settings.inner)
    accepted = inspect.signature(cls).parameters
    options = _options(settings)
    given = [*settings.inner_options, *(["betas"] if settings.betas else [])]
    for name in given:
        if name not in accepted or name in ("params", "lr"):  # lr is a setting of its own
            allowed = ", ".join(key for key in accepted if key not in ("params", "lr"))
            raise SettingError(
                f"inner_options has {name!r}; allowed with {settings.inner}: {allowed}"
                if name in settings.inner_options
                else f"betas is {settings.betas}; allowed with {settings.inner}: nothing"
            )
    decoupled = settings.inner in _DECOUPLED or options.get("decoupled_weight_decay")
    if settings.l2 and ("weight_decay" not in accepted or decoupled):
        raise SettingError(
            f"l2 is {settings.l2}; allowed with {settings.inner}, which has no weight decay "
            "through the gradient: 0"
        )
    decay = options.get("weight_decay", 0.0)
    try:
        optimizer: torch.optim.Optimizer = cls(_groups(model, settings.l2, decay), **options)
    except (ValueError, TypeError) as error:
        raise SettingError(f"{settings.inner} refuses {options}: {error}") from None
    _try_a_step(cls, options, optimizer)
    return optimizer


def _options(settings: OptimizerSettings) -> dict[str, Any]:
    """The arguments of the inner optimizer's class."""
    betas = {"betas": settings.betas} if settings.betas else {}
    return {"lr": settings.lr, **settings.inner_options, **betas}


def _try_a_step(cls: Any, options: dict[str, Any], like: torch.optim.Optimizer) -> None:
    """Refuses what torch finds out at its first step only, on a parameter of its own.

    Raises:
        SettingError: naming the options and what torch says.
    """
    first = next(each for group in like.param_groups for each in group["params"])
    groups = [
        {**group, "params": [torch.ones(2, 2, dtype=first.dtype, device=first.device)]}
        for group in like.param_groups
    ]
    trial: torch.optim.Optimizer = cls(groups, **options)
    for group in trial.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad_().grad = torch.full_like(parameter, 0.5)
    try:
        trial.step()
    except Exception as error:  # torch's own: of several types, of its many ways to step
        raise SettingError(
            f"{cls.__name__} refuses {options} at its first step: {one_line(error)}"
        ) from None


def make_optimizer(settings: Settings, model: nn.Module) -> torch.optim.Optimizer:
    """What steps: SGPerm, with the inner optimizer for what it leaves, or the inner one alone.

    Raises:
        as `inner_optimizer`; SettingError, GranularityError: SGPerm refuses a setting.
    """
    if settings.permutation.method != "sgperm":
        inner = inner_optimizer(settings.optimizer, model)
        return inner if settings.optimizer.lookahead_period is None else _lookahead(settings, inner)
    inner_optimizer(settings.optimizer, model)  # refuses what it would refuse later
    cls = _optimizer_class(settings.optimizer.inner)
    options = _options(settings.optimizer)
    own = dataclasses.asdict(settings.sgperm)
    permuted_biases = own.pop("permuted_biases")
    return SGPerm(
        model.parameters(),
        model=model,
        granularity=granularity_rule(settings.permutation),
        biases=permuted_biases if settings.permutation.permute_biases else "inner",
        inner=lambda parameters: cls(parameters, **options),
        seed=settings.seed,
        **own,
    )


def _lookahead(settings: Settings, inner: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Zhang, Lucas, Ba, Hinton, Lookahead Optimizer, 2019, Algorithm 1.

    pytorch_optimizer's: timm's begins its slow weights at the first synchronisation only.
    """
    require_library(settings.optimizer)
    from pytorch_optimizer import Lookahead

    optimizer: torch.optim.Optimizer = Lookahead(
        inner, k=settings.optimizer.lookahead_period, alpha=settings.optimizer.lookahead_step
    )
    return optimizer


def require_library(settings: OptimizerSettings) -> None:
    """Refuses Lookahead where the library is not installed that has it.

    Raises:
        SettingError: saying what installs it.
    """
    if settings.lookahead_period is not None and find_spec("pytorch_optimizer") is None:
        raise SettingError(
            f"lookahead_period is {settings.lookahead_period}, and pytorch_optimizer is not "
            "installed; pip install 'permtrain[baselines]'"
        )


def attach(
    settings: PermutationSettings,
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    seed: int = 0,
    batches_per_epoch: int = 1,
) -> Method:
    """Attaches the method that the settings name; SGPerm is the optimizer itself.

    Raises:
        NoVectorsError: a tensor has none at the granularity; says which setting would help.
        GranularityError: a tensor cannot be permuted at all; SettingError: nothing is.
    """
    if isinstance(optimizer, Method):
        return optimizer
    if settings.method == "plain":
        return Method()
    if settings.method == "plain-frozen-zeros":
        return FrozenZeros(optimizer, model=model)
    if settings.method == "supermask":
        return Supermask(optimizer, model=model, keep=settings.keep, seed=seed)
    method = LaPerm if settings.method == "laperm" else IndexOptimizer
    try:
        permuter = method(
            optimizer,
            granularity=granularity_rule(settings),
            model=model,
            sync_period=sync_period(settings, batches_per_epoch),
            biases="apart" if settings.permute_biases else "inner",
        )
    except NoVectorsError as error:
        if settings.linear_granularity or settings.fallback:
            raise
        raise NoVectorsError(f"{error}; as a setting: --fallback layer") from None
    steps = settings.permuted_steps
    return permuter if steps is None else Rewiring(permuter, num_steps=steps)


def sync_period(settings: PermutationSettings, batches_per_epoch: int) -> SyncPeriod:
    """The sync period of the settings, or its schedule in steps.

    Example:
        >>> settings = PermutationSettings(sync_milestones=(2,), sync_periods=(500,))
        >>> sync_period(settings, batches_per_epoch=1200)
        StepwisePeriod(first=20, changes=((2400, 500),))
    """
    first = settings.sync_period or (20 if settings.method == "laperm" else 1)
    if not settings.sync_milestones:
        return first
    unit = batches_per_epoch if settings.sync_milestones_in == "epochs" else 1
    steps = [unit * milestone for milestone in settings.sync_milestones]
    return StepwisePeriod(first, tuple(zip(steps, settings.sync_periods, strict=True)))


def granularity_rule(settings: PermutationSettings) -> GranularityRule:
    """The rule of the settings: a granularity, with its fallback, or another for linear layers.

    Example:
        >>> granularity_rule(PermutationSettings(granularity="kernel", fallback="neuron"))
        ('kernel', 'neuron')
    """
    default = "layer" if settings.method == "index" else "neuron"
    granularity, linear = settings.granularity or default, settings.linear_granularity
    if linear is None:
        return (granularity, settings.fallback) if settings.fallback else granularity

    def rule(name: str, parameter: Tensor) -> Answer:
        if parameter.ndim < 2:
            return None
        return linear if parameter.ndim == 2 else granularity

    return rule


def _optimizer_class(name: str) -> Any:
    # LBFGS needs a closure, SparseAdam sparse gradients: this loop has neither.
    unfit = {"Optimizer", "LBFGS", "SparseAdam"}
    classes = {
        key: value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and key not in unfit
    }
    if name not in classes:
        raise SettingError(f"inner is {name!r}; allowed: {', '.join(sorted(classes))}")
    return classes[name]


def _groups(model: nn.Module, l2: float, decay: float) -> list[dict[str, Any]]:
    """All parameters in one group, or those under the penalty in a group of their own."""
    parameters = list(model.parameters())
    if not l2:
        return [{"params": parameters}]
    weights = [tensor.parameter for tensor in named_tensors(model) if tensor.is_weight]
    penalised = {id(weight) for weight in weights[:-1]}  # the last one is the output layer's

    def chosen(under_penalty: bool) -> list[Tensor]:
        return [p for p in parameters if (id(p) in penalised) == under_penalty]

    # l2 * w^2 has the gradient 2 * l2 * w; weight_decay is what multiplies w.
    penalty = {"params": chosen(True), "weight_decay": 2 * l2 + decay}
    return [penalty, {"params": chosen(False)}]
