"""LaPerm, worked by hand and its own features; what it shares is in contract/."""

import pytest
import torch
from training_problem import (
    assert_same,
    one_vector,
    small_net,
    step_with_gradient,
    train,
    weights_of,
)

from permtrain import LaPerm, verify
from permtrain.errors import SettingError
from permtrain.optim.sync_period import StepwisePeriod


def test_trajectory_by_hand_over_two_synchronisations_with_ties():
    layer = one_vector([3, 1, 2, 1])  # the profile is 1 1 2 3
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    LaPerm(optimizer, model=None, sync_period=2)
    assert step_with_gradient(layer, optimizer, [1, -1, 0, 0]) == [2, 2, 2, 1]
    # moves to 2 2 1 2; the order is position 2, then the tied 0 1 3
    assert step_with_gradient(layer, optimizer, [0, 0, 1, -1]) == [1, 2, 1, 3]
    assert step_with_gradient(layer, optimizer, [-1, -1, 1, 1]) == [2, 3, 0, 2]
    # moves to 2 1 0 1; the order is 2, then the tied 1 3, then 0
    assert step_with_gradient(layer, optimizer, [0, 2, 0, 1]) == [3, 1, 1, 2]


def test_momentum_lives_on_through_a_synchronisation():
    layer = one_vector([1, 2, 3])
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0, momentum=0.5)
    LaPerm(optimizer, model=None, sync_period=1)
    assert step_with_gradient(layer, optimizer, [-4, 0, 0]) == [3, 1, 2]  # moved to 5 2 3
    assert step_with_gradient(layer, optimizer, [0, 0, 0]) == [3, 1, 2]  # 5 1 2: the buffer is -2
    assert optimizer.state[layer.weight]["momentum_buffer"].tolist() == [[-2, 0, 0]]


def test_negative_zero_keeps_its_bits():
    layer = one_vector([0.0, -0.0, 1.0])
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    LaPerm(optimizer, model=None, sync_period=1)
    # moves to 3 2 1: the smallest place is position 2, and takes the first of the tied zeros
    step_with_gradient(layer, optimizer, [-3, -2, 0])
    assert torch.signbit(layer.weight).tolist() == [[False, True, False]]
    assert layer.weight.tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.filterwarnings("ignore:.* is in mid-period")
def test_a_schedule_begins_and_stops_permutation_in_mid_training():
    def only_from_3_to_6(step: int) -> int | None:
        return 2 if 3 <= step <= 6 else None

    model, plain = small_net(), small_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    permuter = LaPerm(optimizer, sync_period=only_from_3_to_6, model=model)
    intact = {}
    train(
        model,
        optimizer,
        range(10),
        lambda step: intact.update({step: bool(verify(model, permuter))}),
    )
    assert [step + 1 for step, ok in intact.items() if ok] == [4, 6]
    assert permuter.num_synchronizations == 2
    train(plain, torch.optim.Adam(plain.parameters(), lr=0.01), range(3))
    again = small_net()
    optimizer = torch.optim.Adam(again.parameters(), lr=0.01)
    LaPerm(optimizer, model=None, sync_period=only_from_3_to_6)
    train(again, optimizer, range(3))
    assert_same(weights_of(again), weights_of(plain))


def test_while_a_schedule_says_not_now_evaluation_sees_the_weights_as_they_are():
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    permuter = LaPerm(optimizer, model=None, sync_period=lambda step: 1 if step <= 2 else None)
    train(model, optimizer, range(4))
    before = weights_of(model)
    with permuter.arranged():
        assert_same(weights_of(model), before)


def test_a_schedule_that_returns_nonsense_is_refused_at_its_step():
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    LaPerm(optimizer, model=None, sync_period=lambda step: 0)
    with pytest.raises(SettingError, match="sync_period is 0; allowed: a whole number of steps"):
        train(model, optimizer, range(1))


def test_a_period_set_to_nonsense_later_is_refused_at_its_step():
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    permuter = LaPerm(optimizer, model=None, sync_period=2)
    permuter.sync_period = 0
    with pytest.raises(SettingError, match="sync_period is 0; allowed: a whole number of steps"):
        train(model, optimizer, range(1))


def test_a_schedule_out_of_order_is_refused():
    with pytest.raises(SettingError, match=r"changes are at steps \[3000, 1000\]; allowed: none"):
        StepwisePeriod(20, ((3000, 500), (1000, 100)))


@pytest.mark.filterwarnings("ignore:.* is in mid-period")
def test_arranged_in_mid_period_is_what_synchronize_would_give_and_leaves_training_alone():
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    permuter = LaPerm(optimizer, sync_period=100, model=model)
    train(model, optimizer, range(7))
    training = weights_of(model)
    assert not verify(model, permuter)
    with permuter.arranged():
        assert verify(model, permuter)
        shown = weights_of(model)
    assert_same(weights_of(model), training)
    permuter.synchronize()
    assert_same(weights_of(model), shown)


@pytest.mark.filterwarnings("ignore:.* is in mid-period")
def test_synchronize_shifts_no_later_synchronisation():
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    permuter = LaPerm(optimizer, sync_period=4, model=model)
    train(model, optimizer, range(3))
    permuter.synchronize()
    intact = []
    train(model, optimizer, range(3, 8), lambda step: intact.append(bool(verify(model, permuter))))
    assert intact == [True, False, False, False, True]


def test_zero_gradients_leave_an_arranged_model_as_it_is():
    model = small_net()
    before = weights_of(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    LaPerm(optimizer, model=None, sync_period=1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert_same(weights_of(model), before)
