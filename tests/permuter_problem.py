"""What the contract of permuters is tried with."""

import torch
from training_problem import small_net

from permtrain import IndexOptimizer, LaPerm

PERMUTERS = {
    "laperm": lambda optimizer, **more: LaPerm(optimizer, 4, **more),
    "laperm-1": lambda optimizer, **more: LaPerm(optimizer, 1, **more),
    "laperm-layer": lambda optimizer, **more: LaPerm(
        optimizer, 3, **({"granularity": "layer"} | more)
    ),
    "laperm-kernel": lambda optimizer, **more: LaPerm(
        optimizer, 3, **({"granularity": ("kernel", "neuron")} | more)
    ),
    "index": lambda optimizer, **more: IndexOptimizer(optimizer, **more),
    "index-neuron": lambda optimizer, **more: IndexOptimizer(
        optimizer, **({"granularity": "neuron"} | more)
    ),
    "laperm-across": lambda optimizer, **more: LaPerm(
        optimizer, 3, **({"granularity": "across"} | more)
    ),
    "index-across": lambda optimizer, **more: IndexOptimizer(
        optimizer, **({"granularity": "across"} | more)
    ),
    "index-4": lambda optimizer, **more: IndexOptimizer(optimizer, sync_period=4, **more),
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
