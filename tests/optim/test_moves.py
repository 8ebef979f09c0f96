"""What weights did since the last look, by hand and against the functions it stands for."""

import copy
from math import isnan

import pytest
import torch
from training_problem import one_vector, small_net, step_with_gradient, train

from permtrain import IndexOptimizer, LaPerm, ranking_distance
from permtrain.errors import ChangedWeightsError
from permtrain.optim.moves import ranks_in
from permuter_problem import PERMUTERS, started


def test_by_hand():
    layer = one_vector([1, 2, 3, 4])
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    permuter = LaPerm(optimizer, sync_period=2, model=layer)
    first = permuter.travel()
    assert (first.num_steps, first.num_synchronizations, first.ranking_distance) == (0, 0, {})
    assert isnan(first.moved_share)
    assert isnan(first.mean_rank_change)
    step_with_gradient(layer, optimizer, [-4, 0, 0, 0])  # 5 2 3 4: ranks 3 0 1 2
    moves = permuter.travel()
    assert (moves.num_steps, moves.num_synchronizations) == (1, 0)
    assert (moves.moved_share, moves.mean_rank_change) == (1.0, 6 / 4 / 4)
    assert moves.ranking_distance == {"weight": 6 / 4}
    step_with_gradient(layer, optimizer, [0, 0, -1.5, 0])  # 5 2 4.5 4: ranks 3 0 2 1
    moves = permuter.travel()
    assert (moves.num_steps, moves.num_synchronizations) == (1, 1)
    assert (moves.moved_share, moves.mean_rank_change) == (0.5, 2 / 4 / 4)
    assert permuter.travel().moved_share == 0.0


@pytest.mark.parametrize("kind", PERMUTERS)
def test_numbers_are_those_of_ranking_distance(kind):
    model, optimizer, permuter = started(PERMUTERS[kind])
    train(model, optimizer, range(2))
    permuter.travel()
    before = {name: each.clone() for name, each in permuter.vectors(permuter.scores).items()}
    train(model, optimizer, range(2, 9))
    moves = permuter.travel()
    changed = {
        name: ranking_distance(before[name], now_VL).double()
        for name, now_VL in permuter.vectors(permuter.scores).items()
    }
    everything = torch.cat([each.flatten() for each in changed.values()])
    relative = torch.cat([(each / each.shape[1]).flatten() for each in changed.values()])
    assert moves.num_steps == 7
    assert moves.moved_share == (everything > 0).double().mean().item() > 0
    assert moves.mean_rank_change == pytest.approx(relative.mean().item())
    assert moves.ranking_distance == {name: each.mean().item() for name, each in changed.items()}


@pytest.mark.parametrize("kind", PERMUTERS)
def test_looking_on_changes_nothing(kind):
    model, optimizer, permuter = started(PERMUTERS[kind])
    other, other_optimizer, _ = started(PERMUTERS[kind])
    train(model, optimizer, range(9), lambda step: permuter.travel())
    train(other, other_optimizer, range(9))
    assert torch.equal(model[4].weight, other[4].weight)


def test_a_group_added_later_counts_from_the_second_look_on():
    model = small_net()
    optimizer = torch.optim.Adam(model[:6].parameters(), lr=0.01)
    permuter = IndexOptimizer(optimizer, model=model)
    permuter.travel()
    optimizer.add_param_group({"params": model[6].parameters()})
    train(model, optimizer, range(3))
    assert list(permuter.travel().ranking_distance) == ["0.weight", "4.weight"]
    train(model, optimizer, range(3, 5))
    assert list(permuter.travel().ranking_distance) == ["0.weight", "4.weight", "6.weight"]


def test_a_loaded_state_begins_anew():
    model, optimizer, permuter = started(PERMUTERS["index"])
    permuter.travel()
    train(model, optimizer, range(3))
    permuter.load_state_dict(copy.deepcopy(permuter.state_dict()))
    assert isnan(permuter.travel().moved_share)


def test_weights_that_somebody_changed_are_an_error():
    model, optimizer, permuter = started(PERMUTERS["laperm"])
    train(model, optimizer, range(2))
    torch.nn.init.ones_(model[4].weight)
    with pytest.raises(ChangedWeightsError, match=r"4\.weight"):
        permuter.travel()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ranks_break_ties_by_position_in_every_dtype(dtype):
    weights = torch.tensor([[0.5, -1.0, 0.5, -0.0, 0.0]], dtype=dtype)
    assert ranks_in({"w": weights})["w"].tolist() == [[3, 0, 4, 1, 2]]


def test_a_logger_takes_the_numbers(tmp_path):
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter(tmp_path)
    model, optimizer, permuter = started(PERMUTERS["laperm"])
    permuter.travel()
    train(model, optimizer, range(4))
    for name, value in permuter.travel().numbers().items():
        writer.add_scalar(name, value, permuter.num_steps)
    writer.close()
    assert list(tmp_path.iterdir())
