"""How layers keep their weights: the registry, and what is a weight at all."""

import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from permtrain import (
    IndexOptimizer,
    LaPerm,
    LeftAloneWarning,
    SGPerm,
    describe,
    initialize_,
    register_layout,
    verify,
)
from permtrain.core import layouts
from permtrain.core.cut import Cut
from permtrain.core.granularity import decide, named_tensors
from permtrain.errors import GranularityError, SettingError


@pytest.fixture(autouse=True)
def _same_registry_afterwards() -> Iterator[None]:
    before = dict(layouts._LAYOUTS)
    yield
    layouts._LAYOUTS.clear()
    layouts._LAYOUTS.update(before)


class Own(nn.Module):
    """A layer nobody knows, which keeps its weights as (in, out)."""

    def __init__(self, *sizes: int, name: str = "w") -> None:
        super().__init__()
        setattr(self, name, nn.Parameter(torch.arange(24.0).reshape(sizes)))


def vectors(model: nn.Module, rule: Any = "neuron") -> dict[str, list[Any]]:
    found = {tensor.name: (tensor, decide(tensor, rule).cut) for tensor in named_tensors(model)}
    return {
        name: cut.to_vectors(tensor.parameter.detach()).tolist()
        for name, (tensor, cut) in found.items()
        if cut is not None
    }


# --- the registry -------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [Own, f"{__name__}.Own", "*test_layouts.O*"])
def test_a_registered_layout_turns_the_vectors_round(key: Any) -> None:
    w = torch.arange(24.0).reshape(4, 6)
    assert vectors(Own(4, 6)) == {"w": w.tolist()}
    register_layout(key, w=Cut("neuron", output_axis=1))
    assert vectors(Own(4, 6)) == {"w": w.T.tolist()}

    class Child(Own):
        pass

    assert vectors(Child(4, 6)) == {"w": w.T.tolist()}


def test_the_last_registration_counts_and_none_makes_it_no_weight() -> None:
    register_layout(Own, w=Cut("neuron", output_axis=1), other=Cut("neuron"))
    register_layout(Own, w=None)
    assert vectors(Own(4, 6)) == {}
    assert vectors(Own(4, 6, name="other")) != {}
    assert [t.why for t in describe(Own(4, 6)).tensors] == ["no weight, as its layer's layout says"]
    assert vectors(Own(4, 6), {"w": "neuron"}) != {}  # by name


def test_a_function_tells_from_the_module() -> None:
    register_layout(Own, w=lambda module, w: Cut("neuron", output_axis=module.axis))
    model = Own(4, 6)
    for model.axis in (0, 1):
        assert len(vectors(model)["w"]) == (4, 6)[model.axis]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((int, {}), "module_type is <class 'int'>; allowed: a subclass of torch.nn.Module"),
        ((Own, {"w": "neuron"}), "layout of w is 'neuron'; allowed: a Cut of granularity"),
        ((Own, {"w": Cut("layer")}), "layout of w is Cut(granularity='layer'"),
        ((Own, {"w": Cut("neuron").of((4, 6))}), "layout of w is Cut("),
    ],
)
def test_what_is_no_layout_is_refused(arguments: Any, text: str) -> None:
    with pytest.raises(SettingError, match=re.escape(text)):
        register_layout(arguments[0], **arguments[1])


@pytest.mark.parametrize("given", ["neuron", Cut("layer"), Cut("neuron").of((4, 6)), 0])
def test_a_function_that_gives_no_layout_is_refused_by_name(given: Any) -> None:
    register_layout(Own, w=lambda module, w: given)
    with pytest.raises(SettingError, match=rf"^layout of .*Own\.w is {re.escape(repr(given))};"):
        describe(Own(4, 6))


# --- stacks: experts, ensembles ------------------------------------------------------------------


@pytest.mark.parametrize(("axis", "shape"), [(1, (2, 3, 4)), (2, (2, 3, 4))])
def test_a_stack_has_the_vectors_of_each_of_its_layers(axis: int, shape: tuple[int, ...]) -> None:
    register_layout(Own, w=Cut("neuron", output_axis=axis, is_stack=True))
    w = torch.arange(24.0).reshape(shape)
    each = [layer.T if axis == 2 else layer for layer in w]
    assert vectors(Own(*shape)) == {"w": torch.cat(each).tolist()}
    assert vectors(Own(*shape), "layer") == {"w": w.flatten(1).tolist()}


@pytest.mark.parametrize(
    "cut", [Cut("neuron", is_stack=True), Cut("neuron", 1, groups=2, is_stack=True)]
)
def test_a_stack_without_a_layer_of_its_own_is_refused(cut: Cut) -> None:
    with pytest.raises(GranularityError, match=r"^a stack has groups"):
        cut.of((2, 3, 4))


@pytest.mark.parametrize("granularity", ["neuron", "layer"])
@pytest.mark.parametrize("axis", [1, 2])
def test_a_stack_is_trained_packed_and_verified(granularity: Any, axis: int, tmp_path: Any) -> None:
    """Each expert's values stay with it; a packed file gives the same bits."""
    from permtrain import pack, unpack

    register_layout(Own, w=Cut("neuron", output_axis=axis, is_stack=True))
    model = Own(2, 3, 4)
    initialize_(model, {"w": "kaiming_uniform"}, seed=3)
    fan_in = (0, 4, 3)[axis]
    assert model.w.abs().max() <= (6 / fan_in) ** 0.5
    assert model.w.abs().max() > 0.8 * (6 / fan_in) ** 0.5
    before = model.w.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    permuter = LaPerm(optimizer, sync_period=2, model=model, granularity=granularity)
    for _ in range(4):
        optimizer.zero_grad()
        (model.w * torch.linspace(-1, 1, 24).reshape(2, 3, 4)).sum().backward()
        optimizer.step()
    assert not torch.equal(model.w, before)
    assert verify(model, permuter)
    assert verify(model)
    for expert, born in zip(model.w.detach(), before, strict=True):
        assert torch.equal(expert.flatten().sort().values, born.flatten().sort().values)
    pack(model, tmp_path / "m.safetensors")
    assert torch.equal(unpack(tmp_path / "m.safetensors")["w"], model.w)


def test_an_ensemble_of_functional_models_is_cut_by_member() -> None:
    """`torch.func.stack_module_state` makes plain tensors; the optimizer names them."""
    members = [nn.Linear(4, 3) for _ in range(2)]
    weights, _ = torch.func.stack_module_state(members)
    optimizer = torch.optim.SGD(list(weights.items()), lr=0.1)
    rule = {"weight": Cut("neuron", output_axis=1, is_stack=True)}
    permuter = IndexOptimizer(optimizer, granularity=rule, model=None)
    assert permuter.cuts["weight"].num_vectors == 6
    assert permuter.vectors({"weight": weights["weight"]})["weight"].tolist() == (
        weights["weight"].flatten(0, 1).tolist()
    )


# --- what is a weight ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "why"),
    [
        ("cls_token", (1, 1, 24), "a learned token by its name"),
        ("pos_embed", (1, 6, 4), "a table of positions or tokens by its name"),
        ("positional_embedding", (6, 4), "a table of positions or tokens by its name"),
        ("relative_position_bias_table", (6, 4), "a bias by its name"),
        ("A_log", (6, 4), "a state-space decay by its name"),
        ("r_w_bias", (6, 4), "a bias by its name"),
        ("gamma", (24, 1, 1), "a gain: one axis only is larger than 1"),
        ("gamma", (1, 24, 1, 1), "a gain: one axis only is larger than 1"),
        ("queries", (1, 6, 4), "a table: the first of its axes is 1"),
        ("weight", (1, 24), ""),
        ("w", (6, 4), ""),
        ("w", (2, 3, 4), ""),
    ],
)
def test_learned_tokens_tables_and_gains_are_no_weights(
    name: str, shape: tuple[int, ...], why: str
) -> None:
    (tensor,) = named_tensors(Own(*shape, name=name))
    assert tensor.why_left == why
    assert tensor.is_weight == (not why)


# --- defaults that do not refuse a whole model ---------------------------------------------------


def refused_before() -> nn.Module:
    return nn.Sequential(
        nn.Embedding(5, 3, padding_idx=0),
        nn.Conv2d(4, 4, 1, groups=4),
        nn.Linear(1, 3),
        nn.Linear(3, 2),
    )


@pytest.mark.parametrize("method", [LaPerm, IndexOptimizer, SGPerm])
def test_what_the_plain_rule_cannot_cut_is_left_and_said_once(method: Any) -> None:
    model = refused_before()
    arguments: dict[str, Any] = {"params": model.parameters()}
    if method is not SGPerm:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        arguments = {"optimizer": optimizer, "sync_period": 1, "granularity": "neuron"}
    with pytest.warns(LeftAloneWarning) as caught:
        permuter = method(**arguments, model=model)
    assert len(caught) == 1
    assert str(caught[0].message) == (
        "left to the inner optimizer, for they have no weight vectors: 0.weight (the row of its "
        "padding_idx must stay zero); 1.weight (a neuron's weight vector of a tensor of shape "
        "(4, 1, 1, 1) is a single weight); 2.weight (a neuron's weight vector of a tensor of shape "
        "(3, 1) is a single weight). To silence this, give them None by name, as in "
        "{'0.weight': None, '*': ...}"
    )
    assert set(permuter.cuts) == {"3.weight"}


def test_nothing_is_said_of_what_was_given_none() -> None:
    model = refused_before()
    rule = dict.fromkeys(["0.weight", "1.weight", "2.weight"]) | {"*": "neuron"}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(LaPerm(optimizer, sync_period=2, model=model, granularity=rule).cuts) == {
            "3.weight"
        }


# --- describe ------------------------------------------------------------------------------------


def test_a_description_says_each_tensor_and_the_sums() -> None:
    text = str(describe(refused_before()))
    assert text.splitlines()[0].split() == ["parameter", "layer", "shape", "vectors", "x", "length"]
    assert "0.weight" in text
    assert "left alone: the row of its padding_idx must stay zero" in text
    assert text.splitlines()[-2:] == [
        "3.bias     Linear     2                                left alone: one dimension",
        "6 weights in 2 vectors",
    ]
    described = describe(refused_before(), "layer")
    assert [t.num_vectors for t in described.tensors] == [0, 1, 0, 1, 0, 1, 0]
    assert described.num_permuted == 4 + 3 + 6
