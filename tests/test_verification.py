"""The invariant as a function: from a record, a state dict, a permuter; what differs is named."""

import copy

import pytest
import torch
from torch import nn
from training_problem import small_net, train, weights_of

from permtrain import IndexOptimizer, LaPerm, Rewiring, initialize_, verify
from permtrain.core.cut import Cut
from permtrain.errors import NonFiniteError, ProfileError, SettingError
from permtrain.verification import Verification, verify_weights

NAMES = ["0.weight", "4.weight", "6.weight"]


def shuffled_within_vectors(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name in NAMES:
            weight = model.get_parameter(name)
            weight.copy_(weight.flatten(1).flip(1).reshape(weight.shape))
    return model


def change(model: nn.Module, *places: tuple[str, int]) -> None:
    with torch.no_grad():
        for name, vector in places:
            weight = model.get_parameter(name)
            weight[vector].view(-1)[0] = torch.nextafter(
                weight[vector].view(-1)[0], torch.tensor(9.0)
            )


CHANGES = [("0.weight", 3), ("6.weight", 0), ("6.weight", 2)]
CHANGED = {"0.weight": [3], "6.weight": [0, 2]}
TEXT = (
    "3 of 17 weight vectors hold other values: 0.weight (1 of 4, first 3), "
    "6.weight (2 of 3, first 0)"
)


def with_record():
    model = small_net()
    initialize_(model, "kaiming_uniform", seed=3)
    return shuffled_within_vectors(model), None


def with_state_dict():
    model = small_net()
    return shuffled_within_vectors(model), weights_of(small_net())


def with_permuter():
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    permuter = LaPerm(optimizer, sync_period=2, model=model)
    train(model, optimizer, range(4))
    return model, permuter


@pytest.mark.parametrize("make", [with_record, with_state_dict, with_permuter])
def test_intact_and_changed_vectors(make) -> None:
    model, initial = make()
    before = weights_of(model)
    found = verify(model, initial)
    assert bool(found) is True
    assert (found.num_vectors, found.changed) == (17, {})
    assert str(found) == "all 17 weight vectors hold exactly their initial values"
    assert {name: tuple(v.shape) for name, v in found.intact.items()} == {
        "0.weight": (4,), "4.weight": (10,), "6.weight": (3,),
    }  # fmt: skip
    change(model, *CHANGES)
    found = verify(model, initial)
    assert bool(found) is False
    assert (found.num_vectors, found.changed, str(found)) == (17, CHANGED, TEXT)
    model.load_state_dict(before)
    assert verify(model, initial)


def test_values_that_moved_to_another_vector() -> None:
    model, initial = with_state_dict()
    with torch.no_grad():
        model[4].weight.copy_(model[4].weight[[1, 0, *range(2, 10)]])
    assert verify(model, initial, granularity="neuron").changed == {"4.weight": [0, 1]}
    assert verify(model, initial, granularity="layer")
    finest = verify(model, initial)  # of which nobody says how it was permuted
    assert finest
    assert str(finest).endswith("; of 4.weight within the whole layer, not by neuron")
    assert len(finest.intact["4.weight"]) == 1


def test_signs_of_zeros_count() -> None:
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 1.0]]))
        before = weights_of(model)
        model.weight.copy_(torch.tensor([[1.0, -0.0]]))
    assert verify(model, before).changed == {"weight": [0]}


def test_biases_on_demand() -> None:
    model, initial = with_state_dict()
    with torch.no_grad():
        model[4].bias.add_(1)
        model[1].weight.add_(1)
    assert verify(model, initial)
    assert verify(model, initial, biases="apart").changed == {"4.bias": [0]}


def test_index_in_every_step_and_laperm_in_mid_period() -> None:
    for attach in (
        lambda o, m: IndexOptimizer(o, model=m),
        lambda o, m: LaPerm(o, sync_period=4, model=m),
    ):
        model = small_net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        permuter = attach(optimizer, model)
        before = verify(model, permuter)
        assert before
        assert str(before).endswith("the permuter has not stepped yet, so this proves nothing")
        train(model, optimizer, range(3))
        if isinstance(permuter, IndexOptimizer):
            assert verify(model, permuter).num_vectors == 3
            assert "note" not in str(verify(model, permuter))
        else:
            with pytest.warns(UserWarning, match=r"^0\.weight is in mid-period"):
                assert len(verify(model, permuter).changed) == 3
        with permuter.arranged():
            assert verify(model, permuter)


def test_not_a_number_is_compared_as_any_other_bits() -> None:
    model = nn.Linear(3, 2, bias=False)
    before = {"weight": model.weight.detach().clone()}
    before["weight"][0, 1] = torch.nan
    assert verify(model, before).changed == {"weight": [0]}
    with torch.no_grad():
        model.weight.copy_(before["weight"].flip(1))
    assert verify(model, before)


@pytest.mark.parametrize("granularity", ["neuron", "across"])
def test_not_a_number_before_the_first_step_is_named(granularity: str) -> None:
    model = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        model.weight[1, 1] = torch.nan
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    permuter = LaPerm(optimizer, sync_period=2, model=model, granularity=granularity)
    with pytest.raises(NonFiniteError, match=r"^weight: weights hold NaN or infinity; allowed:"):
        verify(model, permuter)


def test_a_copy_of_the_permuters_model_is_found_by_name() -> None:
    model, permuter = with_permuter()
    other = copy.deepcopy(model)
    assert verify(other, permuter)
    change(other, ("4.weight", 9))
    assert verify(other, permuter).changed == {"4.weight": [9]}
    with pytest.raises(ProfileError, match=r"0\.weight: the method's tensor of shape \(4, 1, "):
        verify(nn.Linear(3, 2), permuter)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda s: s.pop("4.weight"), r"4\.weight: initial values hold nothing; allowed: a tensor"),
        (
            lambda s: s.update({"4.weight": torch.zeros(64, 10)}),
            r"4\.weight: initial values hold \(64, 10\); allowed: a tensor of shape \(10, 64\)",
        ),
    ],
)
def test_initial_values_of_another_model(wrong, message: str) -> None:
    model, initial = with_state_dict()
    wrong(initial)
    with pytest.raises(ProfileError, match=message):
        verify(model, initial)


@pytest.mark.parametrize("own", [nn.Module.state_dict, lambda m: dict(m.named_parameters())])
def test_a_state_dict_that_was_not_copied_is_no_initial_value(own) -> None:
    model = small_net()
    initial = own(model)  # its tensors are the model's: they would agree whatever happens
    change(model, ("0.weight", 3))
    with pytest.raises(ProfileError, match=r"0\.weight: the initial values are the model's own"):
        verify(model, initial)


def test_a_compiled_model_is_compared_with_the_record_of_the_model_inside() -> None:
    model, _ = with_record()
    compiled = torch.compile(model, backend="eager")
    assert verify(compiled).num_vectors == 17
    change(model, *CHANGES)
    assert verify(compiled).changed == CHANGED


def test_a_model_without_a_record() -> None:
    with pytest.raises(ProfileError) as refused:
        verify(small_net())
    assert "\n" not in str(refused.value)
    assert "initialize_" in str(refused.value)


def test_a_permuter_that_rewiring_has_left_behind_knows_no_initial_values() -> None:
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    rewiring = Rewiring(LaPerm(optimizer, sync_period=1, model=model), num_steps=3)
    train(model, optimizer, range(2))
    assert verify(model, rewiring.permuter)
    train(model, optimizer, range(2, 6))
    with pytest.raises(ProfileError, match="the permuter keeps no initial values any more"):
        verify(model, rewiring.permuter)


@pytest.mark.parametrize(
    "what", [lambda m: torch.optim.Adam(m.parameters()), lambda m: m], ids=["adam", "net"]
)
def test_what_holds_no_initial_values_is_refused(what) -> None:
    model = small_net()
    with pytest.raises(
        ProfileError, match=r"initial is of type (Adam|Sequential); allowed: a method such as La"
    ):
        verify(model, what(model))


def test_a_comparison_of_nothing_is_refused() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(
        SettingError, match="the model has no weights of two or more dimensions; nothing to"
    ):
        verify(model, weights_of(model))


def test_a_misspelt_granularity() -> None:
    model, initial = with_state_dict()
    with pytest.raises(SettingError, match="did you mean 'layer'"):
        verify(model, initial, granularity="layr")


def test_tensors_by_name() -> None:
    cuts = {"a": Cut("neuron").of((2, 2))}
    before = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.zeros(1)}
    after = {"a": torch.tensor([[2.0, 1.0], [3.0, 3.0]]), "b": torch.ones(1)}
    found = verify_weights(after, before, cuts)
    assert found.intact["a"].tolist() == [True, False]
    assert str(found) == "1 of 2 weight vectors hold other values: a (1 of 2, first 1)"
    assert bool(Verification({})) is True
