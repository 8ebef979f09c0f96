"""Weights that move between layers: by hand, against a slow reference, and what is refused.

The contract in contract/ holds for this granularity too.
"""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_problem import small_net, train, weights_of

from permtrain import IndexOptimizer, LaPerm, SGPerm, initialize_, pack, unpack, verify
from permtrain.core.cut import Cut
from permtrain.errors import GranularityError, NonFiniteError, ProfileError, SettingError
from permtrain.lab.training.travel import travel_between

PERMUTERS = {
    "laperm": lambda optimizer, model=None, **more: LaPerm(
        optimizer, sync_period=1, granularity="across", model=model, **more
    ),
    "index": lambda optimizer, model=None, **more: IndexOptimizer(
        optimizer, granularity="across", model=model, **more
    ),
}


def two_layers() -> nn.Sequential:
    """Fan-ins of 2 and 8: units of 1 and of 1/2."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(8, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        net[1].weight.copy_(torch.tensor([[0.25, 0.75, 1.25, 1.75, -0.25, -0.75, -1.25, -1.75]]))
    return net


def units_of(net: nn.Module) -> Tensor:
    return torch.cat([net[0].weight.detach().flatten(), net[1].weight.detach().flatten() * 2])


@pytest.mark.parametrize("method", PERMUTERS)
def test_a_step_by_hand(method: str) -> None:
    net = two_layers()
    first = units_of(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    permuter = PERMUTERS[method](optimizer, model=net)
    for layer in net:
        layer.weight.grad = torch.zeros_like(layer.weight)
    net[0].weight.grad[0, 0] = -9.0  # from 1 to 10 units of 1: the largest
    net[1].weight.grad[0, 7] = -3.25  # from -1.75 to 1.5, 3 units of 1/2, a tie with a 3 before it
    optimizer.step()
    # In units, latent: 10 2 3 4 | .5 1.5 2.5 3.5 -.5 -1.5 -2.5 3. Of the sorted initial values
    # -3.5 -2.5 -1.5 -.5 .5 1 1.5 2 2.5 3 3.5 4 each gets the one of its rank.
    ranks = [11, 5, 7, 10, 3, 4, 6, 9, 2, 1, 0, 8]
    values = first.sort().values[ranks]
    assert units_of(net).tolist() == values.tolist()
    assert net[1].weight.tolist() == [[v / 2 for v in values[4:].tolist()]]
    assert verify(net, permuter)
    assert str(verify(net, permuter)) == ("all 1 weight vectors hold exactly their initial values")


@pytest.mark.parametrize("method", PERMUTERS)
def test_weights_do_cross_and_the_layers_together_keep_their_values(method: str) -> None:
    net = small_net()
    initial = weights_of(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    permuter = PERMUTERS[method](optimizer, model=net)
    train(net, optimizer, range(10))
    assert verify(net, permuter)
    assert verify(net, initial, granularity="across")
    assert not verify(net, initial, granularity="layer")
    cuts = permuter.cuts
    now = permuter.vectors(weights_of(net))
    travel = travel_between(permuter.vectors(initial), now, cuts)
    assert 0 < travel.changed_layer_fraction < 1
    counts = travel.came_from
    sizes = [cut.num_weights for cut in cuts.values()]
    assert [sum(row) for row in counts.values()] == sizes  # each place got one value,
    assert [sum(column) for column in zip(*counts.values(), strict=True)] == sizes  # each went once
    assert set(travel.rms_ratio) == set(cuts)
    for name, weight in weights_of(net).items():
        if name in cuts:
            ratio = weight.norm() / initial[name].norm()
            assert travel.rms_ratio[name] == pytest.approx(ratio.item(), rel=1e-5)
    assert travel.rms_ratio["4.weight"] != 1
    stayed = sum(row[i] for i, row in enumerate(counts.values()))
    assert travel.changed_layer_fraction == pytest.approx(1 - stayed / sum(sizes))


def test_one_bit_of_one_weight_is_noticed_by_name() -> None:
    net = small_net()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    permuter = PERMUTERS["index"](optimizer, model=net)
    train(net, optimizer, range(3))
    names = ", ".join(tensor.name for tensor in permuter.tensors)
    with torch.no_grad():
        weight = net[6].weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    assert verify(net, permuter).changed == {names: [0]}


def test_patterns_choose_who_takes_part() -> None:
    net = small_net()
    initial = weights_of(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    rule = {"0.weight": "neuron", "[46].weight": "across"}
    permuter = LaPerm(optimizer, sync_period=1, granularity=rule, model=net)
    granularities = {t.name: t.cut.granularity for t in permuter.tensors}
    assert granularities == {"0.weight": "neuron", "4.weight": "across", "6.weight": "across"}
    train(net, optimizer, range(5))
    assert verify(net, initial, granularity=rule)
    assert set(verify(net, initial, granularity=rule).intact) == {"0.weight", "4.weight, 6.weight"}


def test_reset_profile_and_states_hold_what_each_brought_in() -> None:
    net = two_layers()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    permuter = PERMUTERS["laperm"](optimizer, model=net)
    permuter.reset_profile()
    saved = permuter.state_dict()["tensors"]
    assert saved["0.weight"]["granularity"] == "across"
    assert saved["0.weight"]["profile"].tolist() == [[1, 2, 3, 4]]
    assert saved["1.weight"]["profile"].tolist() == [[-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]]


def test_a_layer_added_later_takes_part() -> None:
    net = small_net()
    initial = weights_of(net)
    optimizer = torch.optim.Adam([net[0].weight, net[4].weight], lr=0.05)
    permuter = PERMUTERS["index"](optimizer, model=net)
    train(net, optimizer, range(3))
    optimizer.add_param_group({"params": [net[6].weight]})
    train(net, optimizer, range(3, 6))
    assert verify(net, permuter)
    assert verify(net, initial, granularity="across")


def test_not_a_number_is_told_by_the_layer() -> None:
    net = two_layers()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    PERMUTERS["index"](optimizer, model=net)
    before = copy.deepcopy(net.state_dict())
    for layer in net:
        layer.weight.grad = torch.zeros_like(layer.weight)
    net[1].weight.grad[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"^1\.weight: "):
        optimizer.step()
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("method", PERMUTERS)
def test_a_weight_that_is_infinite_in_units_is_told_by_the_layer(method: str) -> None:
    """Float16 ends at 65504: 40000 is 80000 units of 1/2."""
    net = two_layers().half()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    permuter = PERMUTERS[method](optimizer, model=net)
    before = copy.deepcopy(net.state_dict())
    for layer in net:
        layer.weight.grad = torch.zeros_like(layer.weight)
    net[1].weight.grad[0, 0] = -40000.0
    with pytest.raises(NonFiniteError, match=r"^1\.weight: "):
        optimizer.step()
    if method == "index":
        assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)
        net[1].weight.grad[0, 0] = -30000.0
        optimizer.step()  # what was refused is forgotten
        assert verify(net, permuter)


def test_what_is_refused() -> None:
    net = two_layers()
    groups = [{"params": [net[0].weight], "sync_period": 3}, {"params": [net[1].weight]}]
    with pytest.raises(SettingError, match=r"^0\.weight: its group has a sync_period of its own"):
        PERMUTERS["laperm"](torch.optim.SGD(groups, lr=1.0), model=net)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    PERMUTERS["laperm"](optimizer, model=net)
    optimizer.param_groups[0]["sync_period"] = 3  # later is no better
    with pytest.raises(SettingError, match=r"^0\.weight: its group has a sync_period of its own"):
        optimizer.step()
    mixed = two_layers()
    mixed[1].double()
    with pytest.raises(GranularityError, match=r"^1\.weight is torch\.float64; allowed with gran"):
        PERMUTERS["laperm"](torch.optim.SGD(mixed.parameters(), lr=1.0), model=mixed)
    with pytest.raises(GranularityError, match=r"^0\.weight: granularity is 'across'; allowed he"):
        SGPerm(net.parameters(), model=net, granularity="across")


@pytest.mark.parametrize("method", PERMUTERS)
def test_a_layer_that_got_another_dtype_after_attaching_is_refused(method: str) -> None:
    """Else its values would be rounded where they move to the others."""
    model = two_layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    PERMUTERS[method](optimizer, model=model)
    model[1].double()
    with pytest.raises(GranularityError, match=r"1\.weight is torch\.float64; allowed with gran"):
        optimizer.step()


@pytest.mark.parametrize("method", PERMUTERS)
def test_values_too_small_for_a_layer_are_refused_until_they_are_gone(method: str) -> None:
    net = two_layers()
    with torch.no_grad():
        net[0].weight[0, 0] = 1e-45  # half of it is 0
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    PERMUTERS[method](optimizer, model=net)
    for _ in range(2):
        with pytest.raises(ProfileError, match=r"^1\.weight: in its units of 2\*\*-1 the value"):
            optimizer.step()
    with torch.no_grad():
        net[0].weight[0, 0] = 1.0
    optimizer.step()


@pytest.mark.parametrize(("dtype", "value"), [(torch.float32, 4.2e-45), (torch.float16, 1.8e-7)])
def test_values_that_are_lost_in_their_own_units_are_refused(
    dtype: torch.dtype, value: float
) -> None:
    """One input makes a unit of 2: half of an odd number of the smallest steps is none."""
    net = nn.Sequential(nn.Linear(1, 3, bias=False), nn.Linear(3, 2, bias=False)).to(dtype)
    with torch.no_grad():
        net[0].weight[1, 0] = value
    kept = net[0].weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    PERMUTERS["laperm"](optimizer, model=net)
    for _ in range(2):
        with pytest.raises(
            ProfileError, match=r"^0\.weight: the value .* in units of 2\*\*1; allowed"
        ):
            optimizer.step()
    assert torch.equal(net[0].weight, kept)
    with torch.no_grad():
        net[0].weight[1, 0] = 1.0
    optimizer.step()


def test_a_model_is_packed_bit_for_bit_though_not_as_permutations(tmp_path: Path) -> None:
    net = small_net()
    initialize_(net, seed=3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    PERMUTERS["index"](optimizer, model=net)
    train(net, optimizer, range(5))
    pack(net, tmp_path / "net.safetensors")
    unpacked = unpack(tmp_path / "net.safetensors")
    assert all(torch.equal(unpacked[name], tensor) for name, tensor in net.state_dict().items())
    with pytest.raises(GranularityError, match=r"0\.weight: granularity is 'across'; allowed here"):
        pack(net, tmp_path / "other.safetensors", granularity="across")


def test_travel_within_layers_tells_no_layers() -> None:
    first, now = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 1.0]])
    travel = travel_between({"w": first}, {"w": now}, {"w": Cut("neuron").of((1, 2))})
    assert (travel.changed_layer_fraction, travel.came_from, travel.rms_ratio) == (None,) * 3
