"""Functions to be approximated, where they are looked at, and the fixed directions of the net.

Suffixes: P points, D variables, F directions.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from permtrain.initial.philox import centred, random_words

_TRAIN_SEED = 0


@dataclass(frozen=True)
class Problem:
    """A function on the cube [-1, 1]^D.

    Attributes:
        num_variables: D.
        function: values (P,) at points (P, D).
        bias_range: biases of the hidden layer lie within plus and minus this.
        direction_scale: what an entry of a direction is, where it is not 0.
        test_points_per_side: of the grid that errors are measured on.
    """

    num_variables: int
    function: Callable[[Tensor], Tensor]
    bias_range: float
    direction_scale: float
    test_points_per_side: int

    def directions(self) -> Tensor:
        """All vectors of entries -1, 0 and +1 but zero, times the scale: (F, D), in pairs v, -v.

        Two directions in one variable, 8 in two, 26 in three.

        Example:
            >>> PROBLEMS["sine"].directions().tolist()
            [[1.0], [-1.0]]
        """
        signs = itertools.product((1, 0, -1), repeat=self.num_variables)
        halves = [v for v in signs if v > (0,) * self.num_variables]
        both = [sign * np.array(v) for v in halves for sign in (1, -1)]
        return torch.from_numpy(np.stack(both)).float() * self.direction_scale

    def train_points(self, count: int) -> Tensor:
        """Uniformly random places in the cube, (P, D); the same in every run.

        Example:
            >>> PROBLEMS["sine"].train_points(2)
            tensor([[-0.4535],
                    [ 0.6135]])
        """
        words = random_words(_TRAIN_SEED, "points", "values", count * self.num_variables)
        places = 2.0 * centred(words).reshape(count, self.num_variables)
        return torch.from_numpy(places).float()

    def test_points(self) -> Tensor:
        """A grid that includes the cube's faces, (P, D)."""
        side = torch.linspace(-1, 1, self.test_points_per_side)
        return torch.cartesian_prod(*[side] * self.num_variables).reshape(-1, self.num_variables)


def _sine(x: Tensor) -> Tensor:
    return -torch.sin(2 * torch.pi * x[:, 0])


def _legendre(x: Tensor) -> Tensor:
    return (5 * x[:, 0] ** 3 - 3 * x[:, 0]) / 2


def _sine_2d(x: Tensor) -> Tensor:
    return -torch.sin(torch.pi * x[:, 0] * x[:, 1])


def _sine_3d(x: Tensor) -> Tensor:
    return torch.sin(3 * x[:, 0]) * torch.cos(x[:, 1]) * torch.sin(2 * x[:, 2])


PROBLEMS: dict[str, Problem] = {
    "sine": Problem(1, _sine, 1.0, 1.0, 400),
    "legendre": Problem(1, _legendre, 1.0, 1.0, 400),
    "sine-2d": Problem(2, _sine_2d, 1.75, 1.0, 113),
    "sine-3d": Problem(3, _sine_3d, 1.75, math.sqrt(3), 33),
}
