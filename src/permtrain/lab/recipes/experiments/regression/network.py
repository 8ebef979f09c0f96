"""Networks of one hidden ReLU layer, several side by side; only the second layer moves.

Source: Cai, Chen, Qiao, "Neural networks trained by weight permutation are universal
approximators", Neural Networks 187 (2025), arXiv 2407.01033.

Suffixes: S networks, P points, D variables, F directions, N biases a direction, H = F N hidden
units.
"""

import torch
from torch import Tensor, nn

from permtrain.initial.record import TensorRecord, initial_values
from permtrain.lab.recipes.experiments.regression.problem import PROBLEMS, Problem
from permtrain.lab.recipes.experiments.regression.settings import RegressionSettings

COEFFICIENTS = "coefficients"
"""The one parameter that is permuted."""


class Networks(nn.Module):
    """f(x) = scale * sum_h coefficient_h ReLU(direction_h x + bias_h) + offset, S times.

    Directions and biases are fixed; each bias serves all directions, so that hidden units come in
    pairs ReLU(+-v x + b). Coefficients are permuted, a row for each network; scale and offset are
    two numbers that the inner optimizer trains, as in the authors' code.
    """

    biases_SN: Tensor
    directions_DF: Tensor

    def __init__(self, settings: RegressionSettings) -> None:
        super().__init__()
        problem = PROBLEMS[settings.target]
        num = settings.networks
        offsets = _uniform(settings, "offsets", (num, 1))
        self.register_buffer("directions_DF", problem.directions().T.contiguous())
        self.register_buffer("biases_SN", _biases(settings, problem))
        self.coefficients = nn.Parameter(initial_coefficients(settings))
        self.scale = nn.Parameter(torch.ones(num, 1))
        self.offset = nn.Parameter(offsets)

    def forward(self, x_SPD: Tensor) -> Tensor:
        """Values (S, P), each network at its own points."""
        return self.scale * self._sums(self._hidden(x_SPD)) + self.offset

    @torch.no_grad()
    def set_gradients(self, x_SPD: Tensor, wanted_SP: Tensor) -> None:
        """The gradients of each network's mean squared error, in the parameters' `grad`.

        Written out, as there are three products to it; autograd takes three times as long for nets
        as small as these. Tests compare the two.
        """
        hidden_SPH = self._hidden(x_SPD)
        sums_SP = self._sums(hidden_SPH)
        off_SP = torch.addcmul(self.offset, self.scale, sums_SP).sub_(wanted_SP)
        off_SP.mul_(2 / wanted_SP.shape[1])
        self.scale.grad = (off_SP * sums_SP).sum(dim=1, keepdim=True)
        self.offset.grad = off_SP.sum(dim=1, keepdim=True)
        back_S1P = (off_SP * self.scale)[:, None, :]
        self.coefficients.grad = torch.bmm(back_S1P, hidden_SPH)[:, 0]

    def _hidden(self, x_SPD: Tensor) -> Tensor:
        """ReLU(direction x + bias), (S, P, H)."""
        along_SPF = x_SPD @ self.directions_DF
        return (along_SPF[..., None] + self.biases_SN[:, None, None, :]).relu_().flatten(2)

    def _sums(self, hidden_SPH: Tensor) -> Tensor:
        return torch.bmm(hidden_SPH, self.coefficients[..., None])[..., 0]


def initial_coefficients(settings: RegressionSettings) -> Tensor:
    """The coefficients as they are born, (S, H); from the settings alone."""
    return torch.from_numpy(initial_values(_coefficients_record(settings)))


def _coefficients_record(settings: RegressionSettings) -> TensorRecord:
    num_hidden = settings.width * len(PROBLEMS[settings.target].directions())
    rules = {"he": "kaiming_normal", "glorot": "xavier_uniform"}
    return TensorRecord(
        name=COEFFICIENTS,
        shape=(settings.networks, num_hidden),
        dtype="float32",
        rule=rules.get(settings.init.partition(",")[0], "unit_uniform"),
        seed=settings.seed,
        fan_in=num_hidden,
        fan_out=1,
        granularity="neuron",
        quantiles=settings.init == "equidistant",
        pairwise=settings.init == "pairwise",
    )


def _biases(settings: RegressionSettings, problem: Problem) -> Tensor:
    """(S, N): equidistant from end to end, uniformly random, or by the coefficients' rule."""
    shape = (settings.networks, settings.width)
    if settings.init == "equidistant":
        ends = torch.linspace(-problem.bias_range, problem.bias_range, settings.width)
        return ends.expand(shape).clone()
    if not settings.init.endswith("biases too"):
        return _uniform(settings, "biases", shape) * problem.bias_range
    record = TensorRecord(
        name="biases",
        shape=shape,
        dtype="float32",
        rule="kaiming_normal" if settings.init.startswith("he") else "xavier_uniform",
        seed=settings.seed,
        fan_in=settings.width,
        fan_out=1,
        granularity="neuron",
    )
    return torch.from_numpy(initial_values(record))


def _uniform(settings: RegressionSettings, name: str, shape: tuple[int, int]) -> Tensor:
    record = TensorRecord(
        name=name,
        shape=shape,
        dtype="float32",
        rule="unit_uniform",
        seed=settings.seed,
        fan_in=1,
        fan_out=1,
        granularity="layer",
    )
    return torch.from_numpy(initial_values(record))
