"""What the contract of permuters is tried with."""

import torch
from training_problem import small_net

from permtrain import IndexOptimizer, LaPerm


def _made(method, **own):
    """Makes a permuter of an optimizer, with settings of its own and those that are given."""
    return lambda optimizer, **more: method(optimizer, **({"model": None} | own | more))


PERMUTERS = {
    "laperm": _made(LaPerm, sync_period=4),
    "laperm-1": _made(LaPerm, sync_period=1),
    "laperm-layer": _made(LaPerm, sync_period=3, granularity="layer"),
    "laperm-kernel": _made(LaPerm, sync_period=3, granularity=("kernel", "neuron")),
    "index": _made(IndexOptimizer),
    "index-neuron": _made(IndexOptimizer, granularity="neuron"),
    "laperm-across": _made(LaPerm, sync_period=3, granularity="across"),
    "index-across": _made(IndexOptimizer, granularity="across"),
    "index-4": _made(IndexOptimizer, sync_period=4),
}
INNER = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9),
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.01),
    "adamw-foreach": lambda groups: torch.optim.AdamW(groups, lr=0.01, foreach=True),
    "adam-fused": lambda groups: torch.optim.Adam(groups, lr=0.01, fused=True),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.01),
}


def started(permuter_of, inner="adam", **more):
    model = small_net()
    optimizer = INNER[inner](model.parameters())
    return model, optimizer, permuter_of(optimizer, model=model, **more)
