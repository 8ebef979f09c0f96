"""How the weights of each layer moved, checkpoint by checkpoint, thinned for a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from permtrain.core.cut import Cut
from permtrain.core.permutation import ranking_distance
from permtrain.lab.pictures.numbers.arrays import evenly, three_digits

MOST_ROWS = 32
MOST_COLUMNS = 48
MOST_DOTS = 400
MOST_LAYERS = 24
# Pictures of a layer at a checkpoint, some 12 KB each.
MOST_PICTURES = 80


@dataclass(frozen=True)
class LayerState:
    """A layer at one checkpoint.

    Attributes:
        step: optimizer steps so far; 0 as it was born.
        heat: weights, a list for each row of `sheet`, thinned evenly both ways.
        dots: weights at evenly chosen places, in the ascending order of their *first* values, so
            that step 0 is a rising curve.
        moved_fraction: part of all places that hold another value than at first, in [0, 1].
        ranking_distance: mean change of rank over all weights, divided by the vector's length.
    """

    step: int
    heat: list[list[float | None]]
    dots: list[float | None]
    moved_fraction: float
    ranking_distance: float


@dataclass(frozen=True)
class LayerMovement:
    """A layer from birth to the last checkpoint.

    Attributes:
        name, shape: its tensor's.
        granularity: what its weight vectors are.
        rows, columns: which of `sheet` `LayerState.heat` shows.
        states: in the order of their steps.
    """

    name: str
    shape: tuple[int, ...]
    granularity: str
    rows: list[int]
    columns: list[int]
    states: list[LayerState]


def sheet(weights: Tensor) -> Tensor:
    """A layer as a matrix: a row for each place of its first axis; a single one for a vector.

    Example:
        >>> import torch
        >>> sheet(torch.zeros(6, 3, 5, 5)).shape, sheet(torch.zeros(4)).shape
        (torch.Size([6, 75]), torch.Size([1, 4]))
    """
    return weights.reshape(weights.shape[0] if weights.dim() > 1 else 1, -1)


def layer_state(initial: Tensor, now: Tensor, cut: Cut, step: int) -> LayerState:
    """What the page shows of a layer at one checkpoint.

    Shapes: both the cut's, with at least one weight.

    Example:
        >>> import torch
        >>> first, now = torch.tensor([[0.3, 0.1, 0.2]]), torch.tensor([[0.1, 0.3, 0.2]])
        >>> state = layer_state(first, now, Cut("neuron").of((1, 3)), step=5)
        >>> state.heat, state.dots, round(state.moved_fraction, 3)
        ([[0.1, 0.3, 0.2]], [0.3, 0.2, 0.1], 0.667)
    """
    rows = sheet(now)
    kept = rows[evenly(rows.shape[0], MOST_ROWS)][:, evenly(rows.shape[1], MOST_COLUMNS)]
    ascending = initial.flatten().sort(stable=True).indices
    chosen = ascending[evenly(len(ascending), MOST_DOTS)]
    distance = ranking_distance(initial, now, cut)
    return LayerState(
        step,
        [[three_digits(weight) for weight in row] for row in kept.tolist()],
        [three_digits(weight) for weight in now.flatten()[chosen].tolist()],
        float((now != initial).double().mean()),
        float(distance.double().mean()) / cut.vector_length,
    )


def movement(
    states: Sequence[tuple[int, Mapping[str, Tensor]]], cuts: Mapping[str, Cut]
) -> list[LayerMovement]:
    """How each layer moved; at most `MOST_LAYERS` layers, evenly chosen.

    Args:
        states: step and weights by name, by ascending step; the first is that of birth.
        cuts: how each layer is cut into weight vectors.
    """
    names = list(cuts)
    _, born = states[0]
    layers = []
    for name in (names[place] for place in evenly(len(names), MOST_LAYERS)):
        initial = born[name]
        num_rows, num_columns = sheet(initial).shape
        layers.append(
            LayerMovement(
                name,
                tuple(initial.shape),
                cuts[name].granularity,
                evenly(num_rows, MOST_ROWS),
                evenly(num_columns, MOST_COLUMNS),
                [layer_state(initial, now[name], cuts[name], step) for step, now in states],
            )
        )
    return layers


def most_states(num_layers: int) -> int:
    """How many checkpoints of a run a page shows, so that its pictures stay few.

    Example:
        >>> most_states(4), most_states(60)
        (20, 3)
    """
    return max(2, MOST_PICTURES // max(1, min(num_layers, MOST_LAYERS)))
