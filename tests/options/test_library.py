"""Every keyword of the library changes what it should, at its own level: no run, no settings."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from training_problem import small_net, train, weights_of

from options_problem import Option, Table, check, check_complete, each_entry, fields_of, keywords_of
from permtrain import (
    IndexOptimizer,
    LaPerm,
    Rule,
    SGPerm,
    Structure,
    Supermask,
    initialize_,
    pack,
    verify,
)
from permtrain.packed.reader import PackedFile

NETWORK = (
    small_net()
)  # its names: 0.weight (4, 1, 3, 3), 1 batch norm, 4.weight (10, 64), 6 (3, 10)


def is_a_permutation(now: Tensor, before: Tensor, granularity: str) -> bool:
    cut = {"kernel": lambda w: w.flatten(2), "neuron": lambda w: w.flatten(1), "layer": torch.ravel}
    rows = [cut[granularity](weights) if weights.ndim > 1 else weights for weights in (now, before)]
    return torch.equal(*(each.sort(dim=-1).values for each in rows))


def as_lists(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {name: each.tolist() for name, each in weights.items()}


# --- LaPerm and the index optimizer --------------------------------------------------------------


def attached(cls: type, options: dict[str, Any], num_steps: int = 4) -> tuple[nn.Module, Any]:
    """A network after four steps, and what permuted it."""
    model = small_net()
    lr = options.get("optimizer", 0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    more = {name: value for name, value in options.items() if name not in ("optimizer", "model")}
    permuter = cls(optimizer, model=options.get("model", lambda own: own)(model), **more)
    train(model, optimizer, range(num_steps))
    return model, permuter


def intact_under(cls: type, granularity: str) -> Any:
    def intact(options: dict[str, Any]) -> list[str]:
        """The tensors that are permutations, within vectors of this granularity."""
        model, permuter = attached(cls, options)
        with permuter.arranged():
            now = weights_of(model)
        before = weights_of(NETWORK)
        return [
            name
            for name in ("0.weight", "4.weight", "6.weight", "4.bias", "6.bias")
            if is_a_permutation(now[name], before[name], granularity)
        ]

    intact.__qualname__ = f"intact_under_{cls.__name__}_{granularity}"
    return intact


def trained_by(cls: type) -> Any:
    def trained(options: dict[str, Any]) -> dict[str, Any]:
        return as_lists(weights_of(attached(cls, options)[0]))

    trained.__qualname__ = f"trained_by_{cls.__name__}"
    return trained


def synchronizations_of(cls: type) -> Any:
    def synchronizations(options: dict[str, Any]) -> int:
        return attached(cls, options)[1].num_synchronizations

    synchronizations.__qualname__ = f"synchronizations_of_{cls.__name__}"
    return synchronizations


def names_of(cls: type) -> Any:
    def names(options: dict[str, Any]) -> list[str]:
        """What the tensors are called: the model says it."""
        return [tensor.name for tensor in attached(cls, options)[1].tensors]

    names.__qualname__ = f"names_of_{cls.__name__}"
    return names


class Wrapped(nn.Module):
    """A model whose names are others."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


WEIGHTS = ["0.weight", "4.weight", "6.weight"]
INNER_WEIGHTS = [f"inner.{name}" for name in WEIGHTS]
LAPERM_INTACT = intact_under(LaPerm, "neuron")
INDEX_INTACT = intact_under(IndexOptimizer, "layer")

LAPERM: Table = {
    "optimizer": Option(0.2, trained_by(LaPerm), beside={"sync_period": 4}),
    "sync_period": Option(2, synchronizations_of(LaPerm), gives=2, beside={"sync_period": 4}),
    "model": Option(Wrapped, names_of(LaPerm), gives=INNER_WEIGHTS, beside={"sync_period": 4}),
    "granularity": Option(
        "layer", LAPERM_INTACT, gives=[], keeps=intact_under(LaPerm, "layer"),
        beside={"sync_period": 2, "optimizer": 1.0},
    ),
    "biases": Option(
        "apart", LAPERM_INTACT, gives=[*WEIGHTS, "4.bias", "6.bias"], beside={"sync_period": 2}
    ),
}  # fmt: skip

INDEX: Table = {
    "optimizer": Option(0.2, trained_by(IndexOptimizer)),
    "sync_period": Option(2, synchronizations_of(IndexOptimizer), gives=2),
    "model": Option(Wrapped, names_of(IndexOptimizer), gives=INNER_WEIGHTS),
    "granularity": Option("neuron", intact_under(IndexOptimizer, "neuron"), gives=WEIGHTS,
                          keeps=INDEX_INTACT, beside={"optimizer": 1.0}),
    "biases": Option("apart", INDEX_INTACT, gives=[*WEIGHTS, "4.bias", "6.bias"]),
}  # fmt: skip


# --- SGPerm --------------------------------------------------------------------------------------


def adam(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


def sgperm(options: dict[str, Any]) -> tuple[nn.Module, SGPerm]:
    model = small_net()
    wrap = options.get("model", lambda own: own)
    more = {name: value for name, value in options.items() if name != "model"}
    optimizer = SGPerm(model.parameters(), model=wrap(model), **more)
    train(model, optimizer, range(4))
    return model, optimizer


def moved(options: dict[str, Any]) -> dict[str, Any]:
    """The weights after four steps."""
    return as_lists(weights_of(sgperm(options)[0]))


def names_of_sgperm(options: dict[str, Any]) -> list[str]:
    return list(sgperm(options)[1].cuts)


def intact_by_sgperm(options: dict[str, Any]) -> list[str]:
    """The tensors that moved, and hold their initial values within each neuron."""
    now, before = weights_of(sgperm(options)[0]), weights_of(NETWORK)
    return [
        name
        for name in (*WEIGHTS, "4.bias", "6.bias")
        if is_a_permutation(now[name], before[name], "neuron")
        and not torch.equal(now[name], before[name])
    ]


def first_momentum(options: dict[str, Any]) -> list[float]:
    """The sum of gradients after a step, of the last layer."""
    model = small_net()
    optimizer = SGPerm(model.parameters(), model=model, **options)
    train(model, optimizer, range(1))
    return optimizer.state[model[6].weight]["momentum"].flatten().tolist()


BOLD = {"aggressiveness": 0.5, "aggressiveness_decay": 0.25}
PARTS = {"partition_ratio": 0.125, "aggressiveness": 0.5}
GROWING = {"momentum_approach": 0.5, "aggressiveness": 0.5}
FAR = {"search": "authors", "aggressiveness": 0.5}

SGPERM: Table = {
    "model": Option(Wrapped, names_of_sgperm, gives=INNER_WEIGHTS),
    "granularity": Option("layer", intact_by_sgperm, gives=[], beside={"aggressiveness": 0.5}),
    "biases": (
        Option("apart", intact_by_sgperm, gives=[*WEIGHTS, "4.bias", "6.bias"],
               beside={"aggressiveness": 0.9}),
        Option("row", intact_by_sgperm, gives=[], beside={"aggressiveness": 0.9}),
    ),
    "recommendation": Option(
        "difference", moved, beside={"inner": adam, "aggressiveness": 0.5}
    ),
    "search": Option("authors", moved, beside={"aggressiveness": 0.5}),
    "order": Option("farthest", moved, beside=FAR),
    "aggressiveness": Option(0.5, moved),
    "aggressiveness_min": Option(0.5, moved, beside=BOLD),
    "aggressiveness_decay": Option(0.25, moved, beside={"aggressiveness": 0.5}),
    "partition_ratio": Option(0.125, moved, beside={"aggressiveness": 0.5}),
    "partition_ratio_max": Option(0.25, moved, beside=PARTS | {"partition_ratio_growth": 4.0}),
    "partition_ratio_growth": Option(4.0, moved, beside=PARTS),
    "momentum": Option(0.0, moved, beside={"aggressiveness": 0.5}),
    "momentum_max": Option(0.8125, moved, beside=GROWING),
    "momentum_approach": Option(0.5, moved, beside={"aggressiveness": 0.5}),
    "dampening": Option(
        0.75, first_momentum, gives=lambda before: [each / 4 for each in before]
    ),
    "inner": Option(adam, moved),
    "seed": Option(1, moved, beside=PARTS),
}  # fmt: skip


# --- the supermask -------------------------------------------------------------------------------


def masked(options: dict[str, Any]) -> nn.Module:
    model = options.get("model", small_net)()
    optimizer = torch.optim.SGD(model.parameters(), lr=options.get("optimizer", 0.05))
    more = {name: value for name, value in options.items() if name not in ("optimizer", "model")}
    Supermask(optimizer, model=model, **more)
    train(model, optimizer, range(2))
    return model


def used(options: dict[str, Any]) -> dict[str, int]:
    """How many weights of each layer are used."""
    weights = masked(options).named_parameters()
    return {name: int((each != 0).sum()) for name, each in weights if each.ndim > 1}


def masks(options: dict[str, Any]) -> dict[str, Any]:
    return {name: (each != 0).tolist() for name, each in masked(options).named_parameters()}


def signs_used(options: dict[str, Any]) -> dict[str, Any]:
    return as_lists(weights_of(masked(options)))


SUPERMASK: Table = {
    "optimizer": Option(1.0, masks),
    "model": Option(lambda: small_net(seed=1), signs_used),
    "keep": Option(0.25, used, gives={"0.weight": 9, "4.weight": 160, "6.weight": 8}),
    "seed": Option(1, masks),
}


# --- initialize_ ---------------------------------------------------------------------------------


def drawn(options: dict[str, Any]) -> dict[str, Tensor]:
    model = nn.Sequential(nn.Conv2d(2, 4, 4), nn.Linear(8, 4))
    with torch.no_grad():
        model[1].bias.fill_(7.0)
    rule, structure, more = {}, {}, {}
    groups = {"rule": rule, "structure": structure}
    for name, value in options.items():
        group, _, own = name.partition(".")
        (groups[group] if own else more)[own or name] = value
    initialize_(model, Rule(**rule), Structure(**structure), **more)
    return weights_of(model)


def values_drawn(options: dict[str, Any]) -> list[float]:
    return drawn(options)["1.weight"].flatten().tolist()


def distinct_values(options: dict[str, Any]) -> set[float]:
    return set(values_drawn(options))


def bias_drawn(options: dict[str, Any]) -> list[float]:
    return drawn(options)["1.bias"].tolist()


def zeros_drawn(options: dict[str, Any]) -> list[int]:
    weights = drawn(options)
    return [int((weights[name] == 0).sum()) for name in ("0.weight", "1.weight")]


def sorted_rows(options: dict[str, Any]) -> Tensor:
    return drawn(options)["1.weight"].sort(dim=1).values


def are_rows_equal(options: dict[str, Any]) -> bool:
    rows = sorted_rows(options)
    return bool((rows == rows[0]).all())


def are_kernels_equal(options: dict[str, Any]) -> bool:
    kernels = drawn(options)["0.weight"].flatten(0, 1).flatten(1).sort(dim=1).values
    return bool((kernels == kernels[0]).all())


def are_quantiles(options: dict[str, Any]) -> bool:
    """Eight values of equal distance."""
    distances = sorted_rows(options).diff(dim=1)
    return torch.allclose(distances, distances.mean())


def are_pairs(options: dict[str, Any]) -> bool:
    rows = sorted_rows(options)
    return torch.equal(rows, -rows.flip(1))


def num_levels(options: dict[str, Any]) -> set[int]:
    return {len(row.unique()) for row in sorted_rows(options)}


def are_the_smallest_zero(options: dict[str, Any]) -> bool:
    sparse = drawn(options)["1.weight"]
    dense = drawn(options | {"structure.sparsity": 0.0, "structure.sparsity_by": "exact"})[
        "1.weight"
    ].abs()
    return bool(dense[sparse == 0].max() <= dense[sparse != 0].min())


HALF = {"structure.sparsity": 0.5}
INITIALIZE: Table = {
    "rule.name": Option("xavier_normal", values_drawn),
    "rule.value": Option(
        0.5, distinct_values, gives={0.5}, beside={"rule.name": "constant", "rule.value": 0.25}
    ),
    "rule.num_branches": Option(
        4, values_drawn, gives=lambda before: [each / 2 for each in before]
    ),
    "rule.sparse_fans": Option(
        True,
        values_drawn,
        gives=lambda before: [2 * weight for weight in before],  # a fourth of the inputs
        beside={"structure.sparsity": 0.75},
    ),
    "structure.granularity": Option(
        "kernel", are_kernels_equal, gives=True, beside={"structure.share": True}
    ),
    "structure.share": Option(True, are_rows_equal, gives=True),
    "structure.quantiles": Option(True, are_quantiles, gives=True),
    "structure.pairwise": Option(True, are_pairs, gives=True),
    "structure.levels": Option(2, num_levels, gives={2}),
    "structure.sparsity": Option(0.25, zeros_drawn, gives=[32, 8]),
    "structure.sparsity_by": Option("magnitude", are_the_smallest_zero, gives=True, beside=HALF),
    "structure.first_layer_sparsity_cap": Option(0.25, zeros_drawn, gives=[32, 16], beside=HALF),
    "seed": Option(1, values_drawn),
    "bias_values": (
        Option("rule", bias_drawn),
        Option("keep", bias_drawn, gives=[7.0] * 4),
    ),
}


# --- pack and verify -----------------------------------------------------------------------------


def packed(options: dict[str, Any]) -> PackedFile:
    path = Path(options.get("path", "one.safetensors"))
    more = {name: value for name, value in options.items() if name not in ("path", "model")}
    pack(options.get("model", small_net)(), path, **more)
    return PackedFile(path)


def values_packed(options: dict[str, Any]) -> list[float]:
    return packed(options)["6.bias"].tolist()


def kinds_packed(options: dict[str, Any]) -> dict[str, str | None]:
    """What the weights are arrangements of; None where they are stored as they are."""
    file = packed(options)
    return {name: file.entry(name).profile for name in WEIGHTS}


def names_packed(options: dict[str, Any]) -> list[str]:
    return list(packed(options))


NAMES = list(small_net().state_dict())


def files_written(options: dict[str, Any]) -> list[str]:
    for old in Path().glob("*.safetensors"):
        old.unlink()
    packed(options)
    return [path.name for path in Path().glob("*.safetensors")]


def threads_started(options: dict[str, Any]) -> list[int | None]:
    with patch("permtrain.packed.writer.ThreadPoolExecutor", wraps=ThreadPoolExecutor) as pool:
        packed(options)
    return [call.args[0] for call in pool.call_args_list]


PACK: Table = {
    "model": Option(
        lambda: small_net(seed=1), values_packed, gives=small_net(seed=1)[6].bias.tolist()
    ),
    "path": Option("two.safetensors", files_written, gives=["two.safetensors"]),
    "granularity": Option("neuron", kinds_packed, gives=dict.fromkeys(WEIGHTS, "values")),
    "weights": Option(
        small_net(seed=1).state_dict(), values_packed, gives=small_net(seed=1)[6].bias.tolist()
    ),
    "only": Option("*.bias", names_packed, gives=[each for each in NAMES if each.endswith("bias")]),
    "threads": Option(3, threads_started, gives=[3]),
}


def untouched() -> nn.Linear:
    model = nn.Linear(2, 2)
    initialize_(model, seed=0)
    return model


def exchanged() -> nn.Linear:
    """Two neurons have exchanged their weights, and a bias is another."""
    model = untouched()
    with torch.no_grad():
        model.weight.copy_(model.weight.flip(0))
        model.bias[0] += 1
    return model


def other_values(options: dict[str, Any]) -> dict[str, list[int]]:
    """The vectors that do not hold their initial values."""
    more = {name: value for name, value in options.items() if name != "model"}
    return verify(options.get("model", exchanged)(), **more).changed


NEURONS = {"granularity": "neuron"}
VERIFY: Table = {
    "model": Option(untouched, other_values, gives={}, beside=NEURONS),
    "initial": Option(weights_of(exchanged()), other_values, gives={}, beside=NEURONS),
    "granularity": Option("layer", other_values, gives={}, beside=NEURONS),
    "biases": Option("apart", other_values, gives={"weight": [0, 1], "bias": [0]}),
}

TABLES = {
    LaPerm: LAPERM,
    IndexOptimizer: INDEX,
    SGPerm: SGPERM,
    Supermask: SUPERMASK,
    initialize_: INITIALIZE,
    pack: PACK,
    verify: VERIFY,
}


@pytest.mark.parametrize(
    ("name", "option"), [entry for table in TABLES.values() for entry in each_entry(table)]
)
def test_a_keyword(name: str, option: Option) -> None:
    check(name, option)


APPLIED_TO = {SGPerm: ["params"], initialize_: ["model", "rule", "structure"]}
PARTS_OF = {initialize_: {"rule": Rule, "structure": Structure}}


@pytest.mark.parametrize("function", TABLES, ids=lambda function: function.__name__)
def test_every_keyword_has_an_entry(function: Any) -> None:
    own = keywords_of(function, *APPLIED_TO.get(function, []))
    for name, part in PARTS_OF.get(function, {}).items():
        own += fields_of(part, f"{name}.")
    check_complete(TABLES[function], own)
