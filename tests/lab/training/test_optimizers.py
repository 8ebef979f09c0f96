"""The inner optimizer by name, its penalty, its learning rate."""

import copy
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_problem import place_in, plain, tiny
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from training_problem import assert_same, small_net, train, weights_of

from permtrain.errors import GranularityError, LeftAloneWarning, SettingError
from permtrain.lab.models.registry import build_network
from permtrain.lab.training.learning_rate import rate_factor, schedule
from permtrain.lab.training.optimizers import attach, granularity_rule, inner_optimizer
from permtrain.lab.training.settings import OptimizerSettings, PermutationSettings, Settings
from permtrain.lab.training.trainer import Trainer
from permtrain.optim.frozen_zeros import FrozenZeros
from permtrain.optim.index import IndexOptimizer
from permtrain.optim.laperm import LaPerm
from permtrain.optim.method import Method
from permtrain.optim.rewiring import Rewiring
from permtrain.verification import verify


def test_the_schedules_of_the_experiments_table() -> None:
    conv4 = OptimizerSettings(lr_decay=0.6, lr_decay_epochs=10)
    assert [rate_factor(conv4, epoch) for epoch in (0, 9, 10, 19)] == [1, 1, 0.6, 0.6]
    assert rate_factor(conv4, 124) == pytest.approx(0.6**12, rel=1e-14)
    resnet = OptimizerSettings(lr_milestones=(80, 120, 160, 180), lr_factors=(0.1, 0.1, 0.1, 0.5))
    epochs = (0, 79, 80, 119, 120, 159, 160, 179, 180, 199)
    expected = (1, 1, 1e-1, 1e-1, 1e-2, 1e-2, 1e-3, 1e-3, 5e-4, 5e-4)
    assert [rate_factor(resnet, epoch) for epoch in epochs] == pytest.approx(expected, rel=1e-14)
    lenet = OptimizerSettings(lr_decay=1 / 1.01)
    factors = [rate_factor(lenet, epoch) for epoch in range(3)]
    assert factors == pytest.approx([1, 1 / 1.01, 1 / 1.0201], rel=1e-14)
    both = OptimizerSettings(lr_decay=0.5, lr_milestones=(2,), lr_factors=(0.1,))
    assert [rate_factor(both, epoch) for epoch in range(4)] == [1, 0.5, 0.025, 0.0125]


def rates_of_a_run(settings: Settings, folder: Path) -> list[list[float]]:
    """The rates of all groups in each step; those that are recorded must agree."""
    trainer = Trainer(settings, place_in(folder))
    stepping = getattr(trainer.optimizer, "inner", None) or trainer.optimizer
    seen: list[list[float]] = []
    stepping.register_step_pre_hook(
        lambda optimizer, *_: seen.append([group["lr"] for group in optimizer.param_groups])
    )

    class Watch:
        def after_step(self, trainer):
            pass

        def after_epoch(self, trainer, metrics):
            assert metrics["lr"] == seen[-1][0]

    trainer.run([Watch()])
    return seen


def test_the_rate_of_an_epoch_reaches_every_group(tmp_path: Path) -> None:
    settings = plain(
        optimizer=OptimizerSettings(
            lr=0.01, l2=1e-4, lr_decay=0.5, lr_milestones=(2,), lr_factors=(0.1,)
        )
    )
    rates = [0.01, 0.005, 0.01 * (0.5**2 * 0.1)]
    seen = rates_of_a_run(settings, tmp_path)
    assert seen == [[rate, rate] for rate in rates for _ in range(5)]


def test_the_rate_of_an_epoch_reaches_the_inner_optimizer_of_sgperm(tmp_path: Path) -> None:
    settings = tiny(
        permutation=PermutationSettings(method="sgperm"),
        optimizer=OptimizerSettings(lr=0.01, lr_decay=0.5),
    )
    seen = rates_of_a_run(settings, tmp_path)
    assert seen == [[rate] for rate in (0.01, 0.005, 0.0025) for _ in range(5)]


def test_a_cosine_goes_from_step_to_step_over_all_epochs(tmp_path: Path) -> None:
    cosine = OptimizerSettings(lr=0.5, lr_cosine=True)
    quarters = [rate_factor(cosine, epoch=9, progress=part) for part in (0, 0.25, 0.5, 0.75, 1)]
    assert quarters == pytest.approx([1, 0.5 + 0.125**0.5, 0.5, 0.5 - 0.125**0.5, 0])
    seen = rates_of_a_run(plain(optimizer=cosine), tmp_path)
    assert seen == [[0.5 * rate_factor(cosine, 0, step / 15)] for step in range(15)]


def test_a_schedule_attached_anew_goes_on_where_it_was() -> None:
    def begun(num_done: int) -> LambdaLR:
        return schedule(inner_optimizer(OptimizerSettings(), small_net()), 0.3, factor, num_done)

    def factor(step: int) -> float:
        return 0.7**step

    whole = begun(0)
    for step in range(5):
        assert whole.get_last_lr() == begun(step).get_last_lr() == [0.3 * factor(step)]
        whole.optimizer.step()
        whole.step()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_l2_adds_twice_l2_times_w_to_the_gradient(momentum: float) -> None:
    l2 = 0.0625  # a power of two, so that both ways round alike
    model, other = small_net(), small_net()
    options = {"momentum": momentum} if momentum else {}
    optimizer = inner_optimizer(
        OptimizerSettings(inner="SGD", lr=0.05, l2=l2, inner_options=options), model
    )
    reference = torch.optim.SGD(other.parameters(), lr=0.05, momentum=momentum)

    def add_penalty(*_: object) -> None:
        with torch.no_grad():
            for name in ("0.weight", "4.weight"):  # not 6.weight, the output layer's
                weight = other.get_parameter(name)
                weight.grad.add_(weight, alpha=2 * l2)

    reference.register_step_pre_hook(add_penalty)
    train(model, optimizer, range(5))
    train(other, reference, range(5))
    assert_same(weights_of(model), weights_of(other))
    free = inner_optimizer(OptimizerSettings(inner="SGD", lr=0.05, inner_options=options), other)
    without = small_net()
    train(without, torch.optim.SGD(without.parameters(), lr=0.05, momentum=momentum), range(5))
    assert len(free.param_groups) == 1
    assert not torch.equal(without[4].weight, model[4].weight)


def test_what_the_penalty_leaves_out() -> None:
    model = nn.Sequential(
        nn.Linear(6, 4), nn.LayerNorm((2, 4)), nn.Embedding(3, 4), nn.Linear(4, 2)
    )
    penalised, rest = inner_optimizer(OptimizerSettings(l2=0.25), model).param_groups
    assert [id(p) for p in penalised["params"]] == [id(model[0].weight), id(model[2].weight)]
    assert penalised["weight_decay"] == 0.5
    assert rest["weight_decay"] == 0
    assert len(rest["params"]) == 5


@pytest.mark.parametrize("name", ["conv4", "resnet50-cifar"])
def test_the_penalty_of_the_papers_networks(name: str) -> None:
    model = build_network(name, (3, 32, 32), 10)
    penalised = inner_optimizer(OptimizerSettings(l2=1e-4), model).param_groups[0]["params"]
    weights = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    assert weights[-1].shape[0] == 10
    assert [id(p) for p in penalised] == [id(p) for p in weights[:-1]]


def test_a_network_that_is_its_output_layer_only_has_no_penalty() -> None:
    model, other = nn.Linear(36, 3), nn.Linear(36, 3)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    for each, l2 in ((model, 0.5), (other, 0.0)):
        optimizer = inner_optimizer(OptimizerSettings(l2=l2), each)
        for _ in range(3):
            optimizer.zero_grad()
            each(torch.ones(2, 36)).square().sum().backward()
            optimizer.step()
    assert_same(weights_of(model), weights_of(other))


def test_l2_and_weight_decay_add_up() -> None:
    settings = OptimizerSettings(inner="SGD", l2=0.25, inner_options={"weight_decay": 0.125})
    groups = inner_optimizer(settings, small_net()).param_groups
    assert [group["weight_decay"] for group in groups] == [0.625, 0.125]


@pytest.mark.parametrize(
    ("inner", "options"),
    [
        ("SGD", {"momentum": 0.9, "nesterov": 1}),
        ("RMSprop", {"alpha": 0.5}),
        ("AdamW", {"weight_decay": 0.5}),
    ],
)
def test_options_by_name(inner: str, options: dict[str, float]) -> None:
    settings = OptimizerSettings(inner=inner, lr=0.25, inner_options=options)
    optimizer = inner_optimizer(settings, small_net())
    assert type(optimizer) is getattr(torch.optim, inner)
    assert optimizer.defaults["lr"] == 0.25
    assert optimizer.defaults.items() >= options.items()


SGD_OPTIONS = (
    "momentum, dampening, weight_decay, nesterov, maximize, foreach, differentiable, fused"
)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            OptimizerSettings(inner="SGD", inner_options={"momentm": 0.9}),
            f"inner_options has 'momentm'; allowed with SGD: {SGD_OPTIONS}",
        ),
        (
            OptimizerSettings(inner="SGD", inner_options={"lr": 0.9}),
            f"inner_options has 'lr'; allowed with SGD: {SGD_OPTIONS}",
        ),
        (
            OptimizerSettings(inner="SGD", inner_options={"params": 0.9}),
            f"inner_options has 'params'; allowed with SGD: {SGD_OPTIONS}",
        ),
        (
            OptimizerSettings(inner="SGD", inner_options={"momentum": -1}),
            "SGD refuses {'lr': 0.001, 'momentum': -1}: Invalid momentum value: -1",
        ),
        (
            OptimizerSettings(inner_options={"betas": 0.9}),
            "Adam refuses {'lr': 0.001, 'betas': 0.9}: ",
        ),
        (
            OptimizerSettings(lr=1e38),
            "Adam refuses {'lr': 1e+38} at its first step: value cannot be converted to type float",
        ),
        (
            OptimizerSettings(inner_options={"capturable": 1}),
            "Adam refuses {'lr': 0.001, 'capturable': 1} at its first step: If capturable=True",
        ),
        (
            OptimizerSettings(inner="SGD", inner_options={"differentiable": 1}),
            "SGD refuses {'lr': 0.001, 'differentiable': 1} at its first step: ",
        ),
        (
            OptimizerSettings(inner="Rprop", l2=0.5),
            "l2 is 0.5; allowed with Rprop, which has no weight decay through the gradient: 0",
        ),
        (
            OptimizerSettings(inner="AdamW", l2=0.5),
            "l2 is 0.5; allowed with AdamW, which has no weight decay through the gradient: 0",
        ),
        pytest.param(
            OptimizerSettings(l2=0.5, inner_options={"decoupled_weight_decay": 1}),
            "l2 is 0.5; allowed with Adam, which has no weight decay through the gradient: 0",
            marks=pytest.mark.skipif(
                "decoupled_weight_decay" not in inspect.signature(torch.optim.Adam).parameters,
                reason="a newer option of torch's Adam",
            ),
        ),
    ],
)
def test_options_that_are_refused(settings: OptimizerSettings, message: str) -> None:
    with pytest.raises(SettingError) as refused:
        inner_optimizer(settings, small_net())
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("inner", ["adam", "LBFGS", "SparseAdam", "Optimizer", "lr_scheduler"])
def test_an_unknown_class_is_refused_with_the_list(inner: str) -> None:
    with pytest.raises(SettingError) as refused:
        inner_optimizer(OptimizerSettings(inner=inner), small_net())
    head, _, allowed = str(refused.value).partition("; allowed: ")
    assert head == f"inner is {inner!r}"
    names = allowed.split(", ")
    assert {"Adam", "AdamW", "SGD", "RMSprop", "NAdam"} <= set(names)
    assert not {"LBFGS", "SparseAdam", "Optimizer"} & set(names)
    assert names == sorted(names)


def test_methods_are_attached_with_their_defaults() -> None:
    def attached(**settings):
        model = small_net()
        optimizer = torch.optim.Adam(model.parameters())
        return attach(PermutationSettings(**settings), optimizer, model)

    laperm, index = attached(), attached(method="index")
    assert type(laperm) is LaPerm
    assert (laperm.sync_period, laperm.granularity) == (20, "neuron")
    assert type(index) is IndexOptimizer
    assert (index.sync_period, index.granularity) == (1, "layer")
    assert type(attached(method="plain")) is Method
    assert type(attached(method="plain-frozen-zeros")) is FrozenZeros
    chosen = attached(sync_period=7, granularity="kernel", fallback="layer", permute_biases=True)
    assert (chosen.sync_period, chosen.granularity) == (7, ("kernel", "layer"))
    assert [tensor.name for tensor in chosen.tensors][:2] == ["0.weight", "0.bias"]


def test_a_first_phase_of_permutation() -> None:
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters())
    rewiring = attach(PermutationSettings(sync_period=30, permuted_steps=1500), optimizer, model)
    assert type(rewiring) is Rewiring
    assert rewiring.num_steps == 1500
    assert (type(rewiring.permuter), rewiring.permuter.sync_period) == (LaPerm, 30)


@pytest.mark.parametrize(
    ("unit", "milestones", "synchronized_at"),
    [
        ("steps", (5, 9), [2, 4, 6, 9, 12, 16]),
        # Five batches an epoch: from step 6 every third step, from step 11 every fourth.
        ("epochs", (1, 2), [2, 4, 6, 9, 12, 16]),
    ],
)
def test_the_sync_period_changes_where_the_settings_say(
    unit: str, milestones: tuple[int, ...], synchronized_at: list[int]
) -> None:
    settings = PermutationSettings(
        sync_period=2,
        sync_milestones=milestones,
        sync_periods=(3, 4),
        sync_milestones_in=unit,
    )
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters())
    permuter = attach(settings, optimizer, model, batches_per_epoch=5)
    assert isinstance(permuter, LaPerm)
    found = []

    def note(step: int) -> None:
        if permuter.num_synchronizations > len(found):
            found.append(step)

    train(model, optimizer, range(1, 17), note)
    assert found == synchronized_at


def test_the_rule_of_the_settings() -> None:
    assert granularity_rule(PermutationSettings(fallback="layer")) == ("neuron", "layer")
    assert granularity_rule(PermutationSettings(method="index", granularity="kernel")) == "kernel"


def test_a_granularity_that_does_not_fit_says_which_setting_helps() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(GranularityError, match=r"; as a setting: --fallback layer$"):
        attach(PermutationSettings(granularity="kernel"), optimizer, model)
    model = nn.Linear(1, 3)
    settings = PermutationSettings(granularity="kernel", fallback="neuron")
    refused = pytest.raises(SettingError, match="leaves every parameter of the optimizer alone")
    with pytest.warns(LeftAloneWarning), refused:
        attach(settings, torch.optim.Adam(model.parameters()), model)


def test_no_setting_is_recommended_that_the_settings_would_refuse() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(2, 2))
    settings = PermutationSettings(granularity="kernel", linear_granularity="layer")
    with pytest.raises(SettingError, match="linear_granularity is 'layer'"):
        replace(settings, fallback="layer")
    with pytest.raises(GranularityError, match=r"^0\.weight: granularity is 'kernel'") as refused:
        attach(settings, torch.optim.Adam(model.parameters()), model)
    assert "--fallback" not in str(refused.value)


def test_linear_layers_of_another_granularity() -> None:
    settings = PermutationSettings(granularity="kernel", linear_granularity="layer")
    model = small_net()  # two linear layers, one convolution and its norm
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    permuter = attach(settings, optimizer, model, batches_per_epoch=1)
    assert isinstance(permuter, LaPerm)
    rule = granularity_rule(settings)
    assert {name: rule(name, weight) for name, weight in model.named_parameters()} == {
        "0.weight": "kernel", "0.bias": None, "1.weight": None, "1.bias": None,
        "4.weight": "layer", "4.bias": None, "6.weight": "layer", "6.bias": None,
    }  # fmt: skip
    before = weights_of(model)
    train(model, optimizer, range(20))
    assert verify(model, permuter)
    # Values of the first linear layer have left their neurons, those of the convolution stay.
    rows, born = model[4].weight.sort(1).values, before["4.weight"].sort(1).values
    assert not torch.equal(rows, born)
    kernels, born = model[0].weight.flatten(1).sort(1).values, before["0.weight"].flatten(1)
    assert torch.equal(kernels, born.sort(1).values)
