"""Training by the index optimizer while the profile changes between epochs."""

from typing import Any

import torch
from torch import Tensor

from permtrain.core.profile import profile_of
from permtrain.initial.initialize import recorded_initial_weights
from permtrain.initial.record import level_of_places
from permtrain.lab.recipes.experiments.changing_profiles.settings import (
    ProfileStage,
    ScheduleSettings,
)
from permtrain.lab.training.run import TrainerSession
from permtrain.lab.training.run_folder import Metrics, RunFolder
from permtrain.lab.training.settings import Place, hash_of
from permtrain.lab.training.trainer import Trainer
from permtrain.optim.index import IndexOptimizer
from permtrain.verification import verify_weights


def staged_profile(profile_VL: Tensor, stage: ProfileStage) -> Tensor:
    """The profile of a stage, from the first one.

    The smallest magnitudes become zero, the lower place first among equals; the others get equally
    frequent levels, each the mean of the values it replaces; then each row is scaled to the norm it
    had. Without zeros and levels it is the same, bit for bit.

    Args:
        profile_VL: ascending rows.
        stage: what is made of it.

    Shapes: (V, L) to (V, L), ascending, of the same dtype.

    Example:
        >>> profile = torch.tensor([[-3.0, -1.0, 0.5, 4.0]])
        >>> staged_profile(profile, ProfileStage(zeros=0.5))  # its norm: 5.1235, not 5
        tensor([[-3.0741,  0.0000,  0.0000,  4.0988]])
        >>> staged_profile(torch.tensor([[-3.0, -1.0, 1.0, 3.0]]), ProfileStage(levels=2))
        tensor([[-2.2361, -2.2361,  2.2361,  2.2361]])
    """
    if stage == ProfileStage():
        return profile_VL.clone()
    _, length = profile_VL.shape
    num_zeros = round(stage.zeros * length)
    exact_VL = profile_VL.double()
    staged_VL = exact_VL.clone()
    order_VL = exact_VL.abs().argsort(dim=1, stable=True)
    staged_VL.scatter_(1, order_VL[:, :num_zeros], 0.0)
    if stage.levels is not None:
        kept_VK = order_VL[:, num_zeros:].sort(dim=1).values  # places, ascending as the values
        level_K = torch.from_numpy(level_of_places(stage.levels, kept_VK.shape[1]))
        values_VK = exact_VL.gather(1, kept_VK)
        for level in range(stage.levels):
            of_level = level_K == level
            values_VK[:, of_level] = values_VK[:, of_level].mean(dim=1, keepdim=True)
        staged_VL.scatter_(1, kept_VK, values_VK)
    scale_V1 = exact_VL.norm(dim=1, keepdim=True) / staged_VL.norm(dim=1, keepdim=True)
    # Equal negative values, and a level of both signs, are out of order beside zeros.
    ascending_VL: Tensor = (staged_VL * scale_V1).sort(dim=1).values
    return ascending_VL.to(profile_VL.dtype)


class ScheduleSession(TrainerSession):
    """A classifier's training that changes the profile between epochs."""

    def __init__(self, settings: ScheduleSettings, place: Place) -> None:
        super().__init__(Trainer(settings.training, place))
        self.settings = settings
        assert isinstance(self.trainer.method, IndexOptimizer)
        self.permuter = self.trainer.method
        initial = recorded_initial_weights(self.trainer.model)
        self.first = {
            name: profile_of(initial[name], cut) for name, cut in self.permuter.cuts.items()
        }
        self.permuter.reset_profile()
        self._show(settings.stages[0])

    def advance(self) -> Metrics | None:
        """Take a step; with the last one of an epoch, evaluate and bring in the next profile."""
        metrics = self.trainer.advance()
        if metrics is not None:
            epoch, stages = metrics["epoch"], self.settings.stages
            if epoch < len(stages) and stages[epoch] != stages[epoch - 1]:
                self._show(stages[epoch])
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return {"trainer": self.trainer.state_dict(), "history": list(self.history)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.trainer.load_state_dict(state["trainer"])
        self.history = list(state["history"])

    def finish(self, folder: RunFolder) -> dict[str, Any]:
        last = self.history[-1]
        cuts = self.permuter.cuts
        final = {
            name: cuts[name].to_tensor(staged_profile(profile, self.settings.stages[-1]))
            for name, profile in self.first.items()
        }
        weights = self.trainer.shown_weights()
        permuted = torch.cat([weights[name].flatten() for name in cuts])
        return {
            "wall_s": round(sum(each["wall_s"] for each in self.history), 1),
            "settings_hash": hash_of(self.settings),
            "epochs": last["epoch"],
            "validation_percent": round(100 * last["validation_accuracy"], 4),
            "test_percent": round(100 * last["test_accuracy"], 4),
            "intact": bool(verify_weights(weights, final, cuts)),
            "zeros": round(float((permuted == 0).double().mean()), 4),
            "values": max(len(weights[name].unique()) for name in cuts),
            "history": self.history,
        }

    def _show(self, stage: ProfileStage) -> None:
        """Another profile; the latent weights stay, and with them the order."""
        for name, profile_VL in self.first.items():
            self.permuter.set_profile(name, staged_profile(profile_VL, stage))
