"""Parameters on one memory are refused before anything is written."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from permtrain import IndexOptimizer, LaPerm, SGPerm, initialize_
from permtrain.core.aliases import refuse_aliases
from permtrain.errors import SettingError
from permtrain.optim.supermask import Supermask


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


WRITERS = {
    "initialize_": lambda model: initialize_(model, seed=1),
    "laperm": lambda model: LaPerm(sgd(model), sync_period=2, model=model),
    "laperm-nameless": lambda model: LaPerm(sgd(model), sync_period=2, model=None),
    "index": lambda model: IndexOptimizer(sgd(model), model=model),
    "sgperm": lambda model: SGPerm(model.parameters(), model=model),
    "sgperm-nameless": lambda model: SGPerm(model.parameters(), model=None),
    "supermask": lambda model: Supermask(sgd(model), model=model),
}


def pair():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 6))


def transposed(model):
    model[1].weight.data = model[0].weight.data.t()


def the_same(model):
    model[1].weight.data = model[0].weight.data.view(6, 4)


def bias_in_weight(model):
    model[1].bias.data = model[0].weight.data[1]


def expanded(model):
    model[0].weight.data = torch.randn(1, 6).expand(4, 6)


def windows(model):
    model[0].weight.data = torch.randn(20).unfold(0, 6, 3)[:4]


@pytest.mark.parametrize("share", [transposed, the_same, bias_in_weight, expanded, windows])
@pytest.mark.parametrize("writer", WRITERS)
def test_weights_on_one_memory_are_refused_before_anything_is_written(writer, share):
    model = pair()
    share(model)
    before = [weight.clone() for weight in model.parameters()]
    with pytest.raises(SettingError, match=r"shares memory with|is expanded"):
        WRITERS[writer](model)
    assert all(map(torch.equal, before, model.parameters()))


def test_the_second_is_named_with_the_first():
    model = pair()
    transposed(model)
    with pytest.raises(SettingError, match=r"^1\.weight shares memory with 0\.weight, so"):
        initialize_(model)


def tied(model):
    model[1] = nn.Linear(6, 4)
    model[1].weight = model[0].weight


def in_one_buffer(model):
    buffer = torch.randn(48)
    model[0].weight.data, model[1].weight.data = buffer[:24].view(4, 6), buffer[24:].view(6, 4)


def interleaved(model):
    table = torch.randn(24, 2)
    model[0].weight.data, model[1].weight.data = table[:, 0].view(4, 6), table[:, 1].view(6, 4)


def channels(model):
    model[0].weight.data = torch.randn(6, 4).t()


@pytest.mark.parametrize("share", [tied, in_one_buffer, interleaved, channels])
@pytest.mark.parametrize("writer", WRITERS)
def test_parts_of_one_buffer_and_tied_weights_are_fine(writer, share):
    model = pair()
    share(model)
    WRITERS[writer](model)


def test_a_group_added_later_is_held_against_what_is_there():
    model = pair()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    LaPerm(optimizer, sync_period=2, model=model)
    transposed(model)
    optimizer.add_param_group({"params": model[1].parameters()})
    (model[0].weight.sum() + model[1].weight.sum()).backward()
    for _ in range(2):  # and at every step after it
        with pytest.raises(SettingError, match=r"^1\.weight shares memory with 0\.weight"):
            optimizer.step()


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (lambda t: t[:, :2], lambda t: t[:, 2:], False),
        (lambda t: t[:, :3], lambda t: t[:, 2:], True),
        (lambda t: t[::2], lambda t: t[1::2], False),
        (lambda t: t[::2], lambda t: t[2], True),
        (lambda t: t.view(torch.int16)[:, :4], lambda t: t[:, 2:], True),  # not looked into
    ],
)
def test_what_has_an_element_in_common_is_shared(one, other, shared):
    table = torch.arange(24.0).view(6, 4)
    refused = pytest.raises(SettingError, match="shares memory with")
    with refused if shared else nullcontext():
        refuse_aliases({"a": one(table)}, [("b", other(table))])
