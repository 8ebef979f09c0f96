"""Training by the index optimizer while the profile changes between epochs."""

import torch
from torch import Tensor

from permtrain.core.profile import profile_of
from permtrain.initial.initialize import recorded_initial_weights
from permtrain.initial.record import level_of_places
from permtrain.lab.recipes.experiments.changing_profiles.settings import ScheduleSettings, Stage
from permtrain.lab.recipes.task import place_of, run_folder
from permtrain.lab.training.checkpoint import load_checkpoint, save_checkpoint
from permtrain.lab.training.display import Display
from permtrain.lab.training.record import RunFolder, write_json
from permtrain.lab.training.settings import Place, hash_of
from permtrain.lab.training.stopping import Interrupted, stop_on_signal
from permtrain.lab.training.trainer import Metrics, Trainer
from permtrain.optim.index import IndexOptimizer
from permtrain.verification import verify_weights


def staged_profile(profile_VL: Tensor, stage: Stage) -> Tensor:
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
        >>> staged_profile(profile, Stage(zeros=0.5))  # 5.1235 in place of 5, which was its norm
        tensor([[-3.0741,  0.0000,  0.0000,  4.0988]])
        >>> staged_profile(torch.tensor([[-3.0, -1.0, 1.0, 3.0]]), Stage(levels=2))
        tensor([[-2.2361, -2.2361,  2.2361,  2.2361]])
    """
    if stage == Stage():
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


def run(name: str, settings: ScheduleSettings, place: Place, display: Display) -> None:
    """Begins a run or goes on with it, to its result.

    Raises:
        RunIsBusy, CheckpointError: the folder is another process's, or its checkpoint damaged.
        Diverged, NonFiniteError: weights are no numbers any more.
        Interrupted: the user stopped it.
    """
    trainer = Trainer(settings.training, place_of(name, settings, place))
    with run_folder(name, settings, place, trainer.device) as folder:
        training = _Training(trainer, settings, folder, display)
        if saved := folder.numbered_checkpoints():
            state = load_checkpoint(saved[-1])
            trainer.load_state_dict(state["trainer"])
            training.history = state["history"]
        else:
            training.begin()
        with stop_on_signal() as stop_requested:
            finished = trainer.run([training], stop_requested)
            if not finished or stop_requested():
                training.save()
                raise Interrupted(f"stopped; saved in {folder.path}; the same command goes on")
        write_json(folder.result_file, training.result())


class _Training:
    """A callback that changes the profile between epochs, and keeps the record."""

    def __init__(
        self, trainer: Trainer, settings: ScheduleSettings, folder: RunFolder, display: Display
    ) -> None:
        self.trainer = trainer
        assert isinstance(trainer.method, IndexOptimizer)
        self.permuter = trainer.method
        self.settings = settings
        self.folder = folder
        self.display = display
        self.history: list[Metrics] = []
        initial = recorded_initial_weights(trainer.model)
        self.first = {
            name: profile_of(initial[name], cut) for name, cut in self.permuter.cuts.items()
        }

    def begin(self) -> None:
        self.permuter.reset_profile()
        self._show(self.settings.stages[0])

    def after_step(self, trainer: Trainer) -> None:
        total = trainer.batches_per_epoch * trainer.settings.epochs
        self.display.show(trainer.position.step, total)

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        self.history.append(metrics)
        epoch, stages = metrics["epoch"], self.settings.stages
        if epoch < len(stages) and stages[epoch] != stages[epoch - 1]:
            self._show(stages[epoch])
        self.save()
        self.display.say(
            f"epoch {metrics['epoch']}/{trainer.settings.epochs}  "
            f"test {metrics['test_accuracy']:.2%}  {metrics['wall_s']:.1f} s"
        )

    def save(self) -> None:
        state = {"trainer": self.trainer.state_dict(), "history": self.history}
        path = self.folder.checkpoints / f"step-{self.trainer.position.step:09d}.pt"
        save_checkpoint(path, state)
        for old in self.folder.numbered_checkpoints()[:-1]:
            old.unlink()

    def result(self) -> dict[str, object]:
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

    def _show(self, stage: Stage) -> None:
        """Another profile; the latent weights stay, and with them the order."""
        for name, profile_VL in self.first.items():
            self.permuter.set_profile(name, staged_profile(profile_VL, stage))
