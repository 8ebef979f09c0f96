"""Networks before the first step: transformers have a birth of their own."""

import math

import torch

from permtrain.initial.initialize import recorded_initial_weights
from permtrain.lab.training.birth import newborn_network
from permtrain.lab.training.settings import InitialSettings, Settings


def test_biases_of_transformers_are_born_zero_and_tables_stay_as_torch_draws_them() -> None:
    network = newborn_network(Settings(model="vit-tiny", seed=3), (1, 8, 8), 10)
    state = network.state_dict()
    biases = [name for name in state if name.endswith("bias") and name != "positions.bias"]
    assert len(biases) == 1 + 4 * 6 + 2
    assert not any(state[name].any() for name in biases)
    assert 0.015 < state["cls"].std() < 0.025
    assert 0.019 < state["positions.bias"].std() < 0.021
    records = recorded_initial_weights(network)
    assert {"cls", "positions.bias", "norm.weight"}.isdisjoint(records)
    assert all(torch.equal(state[name], born) for name, born in records.items())


def test_residual_outputs_are_as_small_as_if_all_branches_were_one_layer() -> None:
    settings = Settings(model="gpt-char", initial=InitialSettings(rule="kaiming_uniform"))
    state = newborn_network(settings, (1, 1, 8), 20).state_dict()
    bounds = {
        "blocks.1.attention.qkv.weight": math.sqrt(6 / 96),
        "blocks.1.attention.output.weight": math.sqrt(6 / 96 / 6),
        "blocks.1.mlp.output.weight": math.sqrt(6 / 384 / 6),
    }
    for name, bound in bounds.items():
        assert 0.99 * bound < state[name].abs().max() <= bound
