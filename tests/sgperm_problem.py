"""What SGPerm is tried with."""

import torch
from training_problem import small_net

from permtrain import SGPerm
from permtrain.optim.sgperm_settings import SGPERM_AUTHORS_CODE

SETTINGS = {
    "start": {"search": "start"},
    "any-farthest": {"search": "any", "order": "farthest"},
    "bracket": {"search": "bracket"},
    "pair": {"search": "pair"},
    "authors": SGPERM_AUTHORS_CODE,
    "biases in the row": {"biases": "row", "search": "bracket"},
    "per layer": {"granularity": "layer", "search": "bracket"},
    "difference": {"search": "start", "recommendation": "difference"},
    "difference, biases in the row": {"recommendation": "difference", "biases": "row"},
}


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01)


def started(settings, seed=0):
    model = small_net(seed)
    bold = {"aggressiveness": 0.3, "aggressiveness_min": 0.1, "partition_ratio": 0.1}
    optimizer = SGPerm(model.parameters(), model=model, inner=adam, **(bold | settings))
    return model, optimizer
