"""What is no model and no tensor of numbers is refused in one line, by name."""

import pytest
import torch
from torch import nn

import permtrain
from permtrain import FrozenZeros, IndexOptimizer, LaPerm, Rewiring, SGPerm
from permtrain.errors import KindError, PackedFileError
from permtrain.optim.supermask import Supermask

W = torch.tensor([[0.5, 0.25, 0.75]])
NO_NUMBERS = {
    "abc": "is of type str; allowed: a torch.Tensor",
    None: "is of type NoneType; allowed: a torch.Tensor",
    W.to_sparse(): r"is sparse coo; allowed: dense tensors \(",
    W.to("meta"): "is on device meta; allowed: tensors that hold numbers",
}
NO_ORDER = {
    W.to(torch.float8_e5m2): r"is torch\.float8_e5m2; allowed: floating point, of 16 bits or more",
    W.to(torch.int64): r"is torch\.int64; allowed: floating point, of 16 bits or more",
}
OPERATIONS = {
    "w": [permtrain.ranking, permtrain.profile_of],
    "like": [lambda w: permtrain.arrange(torch.arange(3.0), w)],
    "scores": [lambda w: permtrain.straight_through(torch.arange(3.0), w)],
    "profile": [lambda w: permtrain.arrange(w, W)],
    "before": [
        lambda w: permtrain.permutation_between(w, W),
        lambda w: permtrain.ranking_distance(w, W),
    ],
    "after": [
        lambda w: permtrain.permutation_between(W, w),
        lambda w: permtrain.ranking_distance(W, w),
    ],
    "perm": [permtrain.Permutation],
}


@pytest.mark.parametrize("given", NO_NUMBERS, ids=lambda each: str(each)[:12])
@pytest.mark.parametrize(
    ("name", "operation"), [(name, each) for name, all_ in OPERATIONS.items() for each in all_]
)
def test_what_holds_no_numbers_is_refused_by_name(name, operation, given):
    with pytest.raises(KindError, match=f"^{name} {NO_NUMBERS[given]}"):
        operation(given)


@pytest.mark.parametrize("given", NO_ORDER, ids=lambda each: str(each.dtype))
@pytest.mark.parametrize("operation", [permtrain.ranking, permtrain.profile_of])
def test_what_has_no_order_is_refused_by_name(operation, given):
    with pytest.raises(KindError, match=f"^w {NO_ORDER[given]}"):
        operation(given)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


ON_MODELS = {
    "laperm": lambda model, real: LaPerm(sgd(real), sync_period=2, model=model),
    "index": lambda model, real: IndexOptimizer(sgd(real), model=model),
    "sgperm": lambda model, real: SGPerm(real.parameters(), model=model),
    "supermask": lambda model, real: Supermask(sgd(real), model=model),
    "zeros": lambda model, real: FrozenZeros(sgd(real), model=model),
    "initialize_": lambda model, real: permtrain.initialize_(model),
    "pack": lambda model, real: permtrain.pack(model, "unwritten"),
    "verify": lambda model, real: permtrain.verify(model),
}


@pytest.mark.parametrize("model", [{}, "abc", nn.Linear(3, 2).state_dict()])
@pytest.mark.parametrize("use", ON_MODELS)
def test_what_is_no_model_is_refused(use, model):
    said = rf"^model is of type {type(model).__name__}; allowed: a torch\.nn\.Module$"
    with pytest.raises(KindError, match=said):
        ON_MODELS[use](model, nn.Linear(3, 2))


@pytest.mark.parametrize("use", ["laperm", "index", "sgperm", "supermask"])
def test_weights_without_numbers_are_refused_when_a_method_is_attached(use):
    meta = nn.Linear(3, 2, device="meta")
    with pytest.raises(KindError, match=r"^weight is on device meta; allowed: tensors that hold"):
        ON_MODELS[use](meta, meta)


def test_weights_without_numbers_are_neither_packed_nor_verified(tmp_path):
    meta = nn.Linear(3, 2, device="meta")
    with pytest.raises(PackedFileError, match=r"^weight is on device meta; allowed: tensors that"):
        permtrain.pack(meta, tmp_path / "a")
    with pytest.raises(KindError, match=r"^weight is on device meta; allowed: tensors that"):
        permtrain.verify(meta, nn.Linear(3, 2).state_dict())


def test_what_is_no_permuter_is_refused():
    with pytest.raises(KindError, match=r"^permuter is of type str; allowed: a LaPerm or an Index"):
        Rewiring("abc", num_steps=2)
