"""The contract of permuters: averages, exports, and weights that are written on purpose."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from training_problem import assert_same, batch, loss_of, small_net, train, weights_of

from permtrain import IndexOptimizer, LaPerm, verify
from permtrain.core.names import unwrapped
from permtrain.errors import ChangedWeightsError, NonFiniteError, ProfileError, SettingError
from permuter_problem import PERMUTERS, started

# --- averages ------------------------------------------------------------------------------------


def averaged(permuter_of, num_steps=6):
    model, optimizer, permuter = started(permuter_of)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    train(model, optimizer, range(num_steps), lambda step: average.update_parameters(model))
    return model, optimizer, permuter, average


def test_an_average_is_laid_out_in_its_own_order(permuter_of):
    model, optimizer, permuter, average = averaged(permuter_of)
    training, order = weights_of(model), weights_of(unwrapped(average))
    born = weights_of(small_net())
    assert permuter.arranged_like(average) is average
    assert_same(weights_of(model), training)
    assert verify(average, permuter)
    assert verify(average, born)
    out = weights_of(unwrapped(average))
    for name in out:
        if name not in permuter.cuts:
            assert torch.equal(out[name], order[name])
    if permuter.granularity != "across":  # in whose units weights are ranked
        for name, cut in permuter.cuts.items():
            by_order = cut.to_vectors(order[name]).argsort(dim=1, stable=True)
            arranged_VL = cut.to_vectors(out[name])
            expected_VL = cut.to_vectors(born[name]).sort(1).values
            assert torch.equal(arranged_VL.gather(1, by_order), expected_VL)
    train(model, optimizer, range(6, 8))


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (lambda model: model, SettingError, "other is the model itself"),
        (
            lambda model: copy.deepcopy(model[:4]),
            SettingError,
            r"^4\.weight is None in the copy; allowed: \(\(10, 64\), torch.float32\)",
        ),
        (
            lambda model: copy.deepcopy(model).double(),
            SettingError,
            r"^0\.weight is \(\(4, 1, 3, 3\), torch\.float64\) in the copy; allowed: .*float32",
        ),
    ],
)
def test_what_is_no_copy_of_the_model_is_refused(permuter_of, other, error, message):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(2))
    with pytest.raises(error, match=message):
        permuter.arranged_like(other(model))


def test_an_average_that_is_not_finite_is_refused_and_stays(permuter_of):
    _, _, permuter, average = averaged(permuter_of)
    with torch.no_grad():
        unwrapped(average)[6].weight[0, 0] = float("nan")
    before = weights_of(average)
    with pytest.raises(NonFiniteError, match=r"^6\.weight: "):
        permuter.arranged_like(average)
    assert torch.equal(weights_of(average)["module.4.weight"], before["module.4.weight"])


def test_before_the_first_step_there_is_nothing_to_lay_out(permuter_of):
    model, _, permuter = started(permuter_of)
    with pytest.raises(ProfileError, match=r"^0\.weight: no step has fixed the initial values"):
        permuter.arranged_like(copy.deepcopy(model))


# --- exports -------------------------------------------------------------------------------------


def test_an_arranged_state_stays_when_training_goes_on(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(6))
    with permuter.arranged():
        expected = weights_of(model)
    state = permuter.arranged_state_dict()
    train(model, optimizer, range(6, 9))
    assert_same(state, expected)
    assert not any(value.requires_grad for value in state.values())


def test_an_arranged_state_needs_a_model(permuter_of):
    permuter = permuter_of(torch.optim.SGD(small_net().parameters(), lr=0.1))
    with pytest.raises(SettingError, match=r"arranged_state_dict\(\) needs the model"):
        permuter.arranged_state_dict()


@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("how", ["arranged", "arranged_like"])
@pytest.mark.parametrize("kind", ["laperm", "index-4"])
def test_an_exported_copy_stays_arranged(kind, how):
    model, optimizer, permuter = started(PERMUTERS[kind])
    train(model, optimizer, range(6))
    model.eval()
    images = (batch(0)[0],)
    with permuter.arranged():
        expected = model(*images)
        exported = torch.export.export(copy.deepcopy(model), images)
    if how == "arranged_like" and kind == "laperm":  # whose copy has the training weights
        copied = permuter.arranged_like(copy.deepcopy(model))
        exported = torch.export.export(copied, images)
    model.train()
    train(model, optimizer, range(6, 9))
    assert torch.equal(exported.module()(*images), expected)


# --- weights written on purpose ------------------------------------------------------------------


def swapped_and_back(model):
    """Another model's weights in place for a while, as an average's."""
    own = copy.deepcopy(model.state_dict())
    model.load_state_dict(small_net(5).state_dict())
    model.load_state_dict(own)


def without_a_swap(permuter_of):
    model, optimizer, _ = started(permuter_of)
    train(model, optimizer, range(9))
    return weights_of(model)


@pytest.mark.parametrize("num_steps", [0, 4, 6])
def test_weights_that_are_back_bit_for_bit_are_as_if_never_written(permuter_of, num_steps):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(num_steps))
    with permuter.allow_changes():
        swapped_and_back(model)
    train(model, optimizer, range(num_steps, 9))
    assert_same(weights_of(model), without_a_swap(permuter_of))


@pytest.mark.parametrize("num_steps", [5, 7])
def test_weights_may_be_swapped_and_back_while_arranged_ones_are_shown(permuter_of, num_steps):
    model, optimizer, permuter = started(permuter_of)
    if permuter.granularity == "across" and permuter.sync_period == 1:
        return  # no arranged weights are shown in place of others, and no order is remembered
    train(model, optimizer, range(num_steps))
    with permuter.arranged():
        swapped_and_back(model)
    train(model, optimizer, range(num_steps, 9))
    assert_same(weights_of(model), without_a_swap(permuter_of))


@pytest.mark.parametrize("kind", ["laperm", "laperm-1", "laperm-layer", "index", "index-neuron"])
def test_at_a_synchronization_weights_may_be_swapped_and_back(kind):
    model, optimizer, permuter = started(PERMUTERS[kind])
    steps = permuter.sync_period
    train(model, optimizer, range(steps))
    swapped_and_back(model)
    train(model, optimizer, range(steps, 9))
    assert_same(weights_of(model), without_a_swap(PERMUTERS[kind]))


@pytest.mark.parametrize("kind", ["laperm", "laperm-1", "laperm-layer", "laperm-kernel"])
@pytest.mark.parametrize("num_steps", [4, 6])
def test_the_best_weights_may_be_put_back(kind, num_steps):
    """They are a permutation of the initial values; the optimizer goes on from there."""
    model, optimizer, permuter = started(PERMUTERS[kind])
    train(model, optimizer, range(3))
    best = permuter.arranged_state_dict()
    train(model, optimizer, range(3, num_steps))
    model.load_state_dict(best)
    permuter.synchronize()
    assert_same(weights_of(model), best)
    train(model, optimizer, range(num_steps, num_steps + 12))
    permuter.synchronize()
    assert verify(model, permuter)


def test_of_an_index_optimizer_other_permutations_are_changed_weights():
    model, optimizer, permuter = started(PERMUTERS["index"])
    train(model, optimizer, range(1))
    best = permuter.arranged_state_dict()
    train(model, optimizer, range(1, 5))
    model.load_state_dict(best)
    with pytest.raises(ChangedWeightsError, match=r"with permuter\.allow_changes\(\):`"):
        permuter.synchronize()


def test_weights_clamped_between_synchronizations_train_on(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    bound = 0.1

    def clamp(step):
        with permuter.allow_changes(), torch.no_grad():
            model[4].weight.clamp_(-bound, bound)

    train(model, optimizer, range(12), clamp)
    permuter.synchronize()
    assert verify(model, permuter)
    assert verify(model, weights_of(small_net()), granularity=permuter.granularity)


def test_laperm_goes_on_from_changed_weights_and_the_index_optimizer_ranks_them():
    for method in (LaPerm, IndexOptimizer):
        layer = nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
        optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
        permuter = method(optimizer, sync_period=2, model=layer)
        layer.weight.grad = torch.zeros(1, 3)
        optimizer.step()
        with permuter.allow_changes(), torch.no_grad():
            layer.weight.copy_(torch.tensor([[9.0, 8.0, 7.0]]))
        shown = [3.0, 2.0, 1.0] if method is IndexOptimizer else [9.0, 8.0, 7.0]
        assert layer.weight[0].tolist() == shown
        assert permuter.scores["weight"][0].tolist() == [9.0, 8.0, 7.0]
        optimizer.step()
        assert layer.weight[0].tolist() == [3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("write", "error", "message"),
    [
        (lambda layer: layer.double(), ChangedWeightsError, "float32 and are torch.float64 now"),
        (
            lambda layer: setattr(layer.weight, "data", torch.ones(2, 10)),
            ChangedWeightsError,
            r"6\.weight: the parameter was resized from \(3, 10\) to \(2, 10\)",
        ),
        (
            lambda layer: nn.init.constant_(layer.weight, float("nan")),
            NonFiniteError,
            r"6\.weight: weights hold NaN",
        ),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused(permuter_of, write, error, message):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(2))
    with pytest.raises(error, match=message), permuter.allow_changes():
        write(model[6])


def test_changes_from_before_are_not_allowed_after_all(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(2))
    nn.init.ones_(model[6].weight)
    with pytest.raises(ChangedWeightsError, match=r"6\.weight"), permuter.allow_changes():
        pass


def test_a_schedule_free_optimizer_is_evaluated_and_goes_on(permuter_of):
    schedulefree = pytest.importorskip("schedulefree")
    model = small_net()
    optimizer = schedulefree.AdamWScheduleFree(model.parameters(), lr=0.01)
    optimizer.train()
    permuter = permuter_of(optimizer, model=model)
    for step in range(12):
        train(model, optimizer, range(step, step + 1))
        with permuter.allow_changes():
            optimizer.eval()
            loss_of(model, 0)
            optimizer.train()
    permuter.synchronize()
    assert permuter.num_steps == 12
    assert verify(model, permuter)
