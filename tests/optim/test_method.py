"""What every method answers alike: what it permutes, its scores, its weights to verify."""

import copy
import gc
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from permtrain import (
    FrozenZeros,
    IndexOptimizer,
    LaPerm,
    Rewiring,
    SGPerm,
    initialize_,
    pack,
    verify,
)
from permtrain.core.live import methods_on, unarranged_in
from permtrain.errors import NonFiniteError, ProfileError, SettingError
from permtrain.optim.method import Method
from permtrain.optim.parameters import cuts_left
from permtrain.optim.supermask import Supermask


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.01)


def sgperm(model, **more):
    optimizer = SGPerm(model.parameters(), model=model, **more)
    return optimizer, optimizer


def attached(method, **settings):
    def attach(model):
        optimizer = adam(model)
        return optimizer, method(optimizer, **settings, model=model)

    return attach


def rewired(model):
    optimizer, permuter = attached(LaPerm, sync_period=2)(model)
    return optimizer, Rewiring(permuter, num_steps=3)


def frozen(model):
    optimizer = torch.optim.Adam(model.named_parameters(), lr=0.01)
    return optimizer, FrozenZeros(optimizer)


METHODS = {
    "laperm": attached(LaPerm, sync_period=1),
    "laperm-biases": attached(LaPerm, sync_period=1, biases="apart"),
    "index": attached(IndexOptimizer),
    "index-kernel": attached(IndexOptimizer, granularity=("kernel", "neuron")),
    "index-across": attached(IndexOptimizer, granularity="across"),
    "sgperm": sgperm,
    "sgperm-row": lambda model: sgperm(model, biases="row"),
    "rewiring": rewired,
    "zeros": frozen,
    "supermask": attached(Supermask),
}
PERMUTING = [name for name in METHODS if name not in ("zeros", "supermask")]


def born(seed=0, **settings):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Flatten(), nn.ReLU(), nn.Linear(4 * 36, 12), nn.Linear(12, 3)
    )
    initialize_(model, seed=seed, **settings)
    return model


def train(model, optimizer, num_steps=5):
    generator = torch.Generator().manual_seed(1)
    for _ in range(num_steps):
        optimizer.zero_grad()
        images = torch.randn(8, 1, 8, 8, generator=generator)
        labels = torch.randint(3, (8,), generator=generator)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def change(model):
    with torch.no_grad():
        model[3].weight[2, 5] += 1


@pytest.mark.parametrize("name", METHODS)
def test_verify_takes_every_method_and_finds_what_was_changed(name: str) -> None:
    model = born()
    with torch.no_grad():
        model[3].weight[2, 5] = 0.0  # for the method that holds zeros
    optimizer, method = METHODS[name](model)
    train(model, optimizer)
    if name == "rewiring":  # what held when permutation ended, whatever came later
        assert str(verify(model, method)).startswith("at step 3, where permutation ended, all 19 ")
        method.rewired["3.weight"][2, 5] += 1
    else:
        assert verify(model, method)
        change(model)
    found = verify(model, method)
    if name == "index-across":
        assert found.changed == {"0.weight, 3.weight, 4.weight": [0]}
    else:
        assert found.changed == {"3.weight": [0 if name == "index" else 2]}


@pytest.mark.parametrize("name", PERMUTING)
def test_verify_of_the_model_alone_knows_how_it_was_permuted(name: str) -> None:
    model = born()
    optimizer, method = METHODS[name](model)
    train(model, optimizer, 3)
    expected = method.cuts
    again = pickle.loads(pickle.dumps(model))
    for each in (model, copy.deepcopy(model), again, nn.Sequential(model)):
        assert verify(each)
    assert cuts_left(model)[0] == expected
    vectors = method.vectors(dict(model.named_parameters()))
    assert verify(model).num_vectors == sum(len(vectors_VL) for vectors_VL in vectors.values())
    change(model)
    assert len(verify(model).changed) == 1


def test_a_correct_run_of_whole_layers_is_no_false_alarm() -> None:
    model = born()
    optimizer, _ = attached(IndexOptimizer)(model)
    train(model, optimizer)
    assert str(verify(model)) == "all 3 weight vectors hold exactly their initial values"
    assert not verify(model, granularity="neuron")


def test_another_method_replaces_the_notes_of_the_one_before() -> None:
    model = born()
    METHODS["laperm-biases"](model)[1].detach()
    attached(LaPerm, sync_period=1, granularity={"4.weight": "layer"})(model)
    assert {name: cut.granularity for name, cut in cuts_left(model)[0].items()} == {
        "4.weight": "layer"
    }


def test_weights_tied_after_they_were_drawn_are_no_false_alarm() -> None:
    for first, second in ((0, 1), (1, 0)):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        initialize_(model, seed=1)
        model[first].weight = model[second].weight
        assert verify(model)
        with torch.no_grad():
            model[0].weight[1, 1] += 1
        assert verify(model).changed == {"0.weight": [1]}


@pytest.mark.parametrize("name", METHODS)
def test_scores_are_what_the_optimizer_moves(name: str) -> None:
    model = born()
    optimizer, method = METHODS[name](model)
    train(model, optimizer, 2)
    scores = method.scores
    assert all(scores[n].shape == p.shape for n, p in method.parameters.items() if n in scores)
    moves_others = name.startswith(("index", "supermask"))
    differing = [n for n in scores if not torch.equal(scores[n], method.parameters[n])]
    assert bool(differing) == moves_others


def test_plain_training_is_a_method_that_permutes_nothing() -> None:
    method = Method()
    weights = {"w": torch.ones(2)}
    assert (method.cuts, method.scores, method.vectors(weights), method.intact(weights)) == (
        {},
        {},
        {},
        {},
    )
    assert method.weights_to_verify(weights) == weights
    with method.arranged():
        pass
    assert method.state_dict() == {}


def test_mid_period_is_warned_of_where_a_model_is_verified_or_packed(tmp_path) -> None:
    model = born()
    optimizer, permuter = attached(LaPerm, sync_period=2)(model)
    train(model, optimizer, 1)
    assert unarranged_in(model) == ["0.weight", "3.weight", "4.weight"]
    for look in (
        lambda: verify(model),
        lambda: verify(model, permuter),
        lambda: pack(model, tmp_path / "model"),
    ):
        with pytest.warns(UserWarning, match=r"^0\.weight is in mid-period, where its weights"):
            look()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with permuter.arranged():
            assert verify(model, permuter)
            pack(model, tmp_path / "model")
        train(model, optimizer, 1)
        assert verify(model, permuter)
    train(model, optimizer, 1)
    permuter.detach()  # what becomes of the weights now is the user's
    assert unarranged_in(model) == []


def test_a_method_that_is_gone_is_forgotten() -> None:
    model = born()
    optimizer, permuter = attached(LaPerm, sync_period=2)(model)
    assert methods_on(model) == [permuter]
    del optimizer, permuter
    gc.collect()
    assert methods_on(model) == []


@pytest.mark.parametrize("method", [LaPerm, IndexOptimizer, SGPerm])
def test_a_model_is_asked_for(method) -> None:
    model = nn.Linear(3, 2)
    how = {"sync_period": 2} if method is LaPerm else {}
    subject = model.parameters() if method is SGPerm else adam(model)
    with pytest.warns(FutureWarning, match=rf"^{method.__name__} got no model; pass model="):
        method(subject, **how)


def test_everything_after_the_optimizer_is_said_by_name() -> None:
    model = nn.Linear(3, 2)
    for call in (
        lambda: LaPerm(adam(model), 2, model=model),
        lambda: IndexOptimizer(adam(model), "neuron", model=model),
        lambda: Supermask(adam(model), model),
        lambda: Rewiring(LaPerm(adam(model), sync_period=2, model=model), 3),
        lambda: verify(model, None, "neuron"),
    ):
        with pytest.raises(TypeError, match="positional argument"):
            call()


def two_neurons():
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.1], [0.2, 0.7]]))
    return layer


def test_a_new_profile_is_shown_at_once_where_weights_are_arranged() -> None:
    layer = two_neurons()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    permuter = IndexOptimizer(optimizer, granularity="neuron", model=layer)
    permuter.set_profile("weight", torch.tensor([[3.0, -3.0], [1.0, 2.0]]))
    assert layer.weight.tolist() == [[3.0, -3.0], [1.0, 2.0]]
    layer.weight.grad = torch.tensor([[0.0, 0.0], [-1.0, 1.0]])
    optimizer.step()  # latent weights, which stayed: .2 and .7 become 1.2 and -.3
    assert layer.weight.tolist() == [[3.0, -3.0], [2.0, 1.0]]
    assert verify(layer, permuter)


@pytest.mark.parametrize("method", [LaPerm, IndexOptimizer])
def test_a_new_profile_is_shown_after_a_synchronization_and_across_rows(method: Any) -> None:
    table = nn.Embedding(2, 2)  # its vectors are columns
    with torch.no_grad():
        table.weight.copy_(torch.tensor([[0.5, -0.1], [0.2, 0.7]]))
    optimizer = torch.optim.SGD(table.parameters(), lr=1.0)
    permuter = method(optimizer, sync_period=1, granularity="neuron", model=table)
    table.weight.grad = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    optimizer.step()  # -.5 and .2, -.1 and .7
    permuter.set_profile("weight", torch.tensor([1.0, -1.0]))
    assert table.weight.tolist() == [[-1.0, -1.0], [1.0, 1.0]]
    assert verify(table, permuter)


@pytest.mark.filterwarnings("ignore:.* is in mid-period")
def test_a_new_profile_waits_for_the_end_of_laperms_period() -> None:
    layer = two_neurons()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    permuter = LaPerm(optimizer, sync_period=2, model=layer)
    layer.weight.grad = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    optimizer.step()
    moved = layer.weight.detach().clone()
    permuter.set_profile("weight", torch.tensor([1.0, -1.0]))
    assert torch.equal(layer.weight, moved)
    layer.weight.grad = None
    optimizer.step()
    assert layer.weight.tolist() == [[-1.0, 1.0], [-1.0, 1.0]]


@pytest.mark.parametrize(
    ("name", "values", "error", "message"),
    [
        ("wieght", torch.zeros(2), SettingError, r"^name is 'wieght'; allowed: weight$"),
        ("weight", torch.zeros(3), ProfileError, r"^weight: values are torch.float32 of shape \(3"),
        ("weight", torch.zeros(2).double(), ProfileError, "^weight: values are torch.float64"),
        ("weight", torch.tensor([0.0, torch.nan]), NonFiniteError, "^weight: weights hold NaN"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(name, values, error, message) -> None:
    layer = two_neurons()
    permuter = IndexOptimizer(adam(layer), granularity="neuron", model=layer)
    before = layer.weight.detach().clone()
    with pytest.raises(error, match=message):
        permuter.set_profile(name, values)
    assert torch.equal(layer.weight, before)


def test_a_profile_across_tensors_is_not_one_tensors_own() -> None:
    model = born()
    _, permuter = METHODS["index-across"](model)
    with pytest.raises(SettingError, match=r"^name is '0\.weight'; allowed: $"):
        permuter.set_profile("0.weight", torch.zeros(9))


def test_rewiring_that_went_on_from_a_checkpoint_asks_the_record_of_birth() -> None:
    model = born()
    optimizer, rewiring = rewired(model)
    train(model, optimizer)
    other = born()
    _, again = rewired(other)
    other.load_state_dict(model.state_dict())
    again.load_state_dict(rewiring.state_dict())
    assert verify(other, again).num_vectors == 19
    again.rewired["3.weight"][2, 5] += 1
    assert verify(other, again).changed == {"3.weight": [2]}
    with pytest.raises(ProfileError, match="a state of Rewiring's second phase holds no initial"):
        again.intact(again.weights_to_verify(dict(other.named_parameters())))
