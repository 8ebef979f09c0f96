"""The network of some settings, as it is before the first step."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from permtrain.errors import CheckpointError, SettingError, one_line
from permtrain.initial.initialize import initialize_
from permtrain.initial.rules import Rule
from permtrain.initial.structure import Structure
from permtrain.lab.models.registry import build_network
from permtrain.lab.models.transformer import residual_outputs
from permtrain.lab.training.settings import Settings


def newborn_network(
    settings: Settings,
    image_shape: tuple[int, int, int],
    num_classes: int,
    trained: Mapping[str, Tensor] | None = None,
    import_from: Sequence[Path] = (),
) -> nn.Module:
    """Builds the network and draws its initial weights, on the CPU; the same for the same settings.

    Biases of transformers of ours are born zero where the settings say `rule`, as in their papers.

    Args:
        trained: state of a trained network of these settings, which rule shuffle needs.
        import_from: as in `build_network`.

    Randomness: torch's global generator is set to the settings' seed, and used for biases that are
    kept as torch draws them. It is the process's: torch's layers and dropout draw from no other.

    Raises:
        SettingError, GranularityError: settings that do not fit together.
        CheckpointError: trained weights of another model.

    Example:
        >>> newborn_network(Settings(model="logistic"), (1, 8, 8), 10).output
        Linear(in_features=64, out_features=10, bias=True)
    """
    torch.manual_seed(settings.seed)
    model = build_network(settings.model, image_shape, num_classes, import_from)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise SettingError(
            f"model {settings.model!r} has no parameter with requires_grad; allowed: one or more"
        )
    initial = settings.initial
    if initial.rule == "shuffle":
        if trained is None:
            raise SettingError("rule is 'shuffle', and there are no trained weights to shuffle")
        try:
            model.load_state_dict(trained)
        except RuntimeError as error:
            raise CheckpointError(
                f"the trained weights to shuffle are of another model ({one_line(error)})"
            ) from error
    own = residual_outputs(model)
    rule = Rule(initial.rule, initial.value, initial.sparse_fans)
    branches = {"*": 1} | (initial.branches or own)
    branches["*"] = branches.pop("*")  # last, for what no other pattern matches
    initialize_(
        model,
        {pattern: replace(rule, num_branches=num) for pattern, num in branches.items()},
        Structure(
            granularity=initial.vectors,
            share=initial.share,
            quantiles=initial.quantiles,
            pairwise=initial.pairwise,
            levels=initial.levels,
            sparsity=initial.layer_sparsity or initial.sparsity,
            sparsity_by=initial.sparsity_by,
            first_layer_sparsity_cap=initial.first_layer_sparsity_cap,
        ),
        seed=settings.seed,
        bias_values="zero" if own and initial.biases == "rule" else initial.biases,
    )
    return model
