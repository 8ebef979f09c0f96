"""TensorBoard's event files of a run, beside its own records."""

from importlib.util import find_spec
from pathlib import Path

from permtrain.errors import SettingError
from permtrain.lab.training.record import numbers_of
from permtrain.lab.training.run_folder import Metrics
from permtrain.lab.training.trainer import Trainer


class TensorBoardLog:
    """Writes every number of an epoch's metrics as a scalar, under its own name.

    A run that goes on writes a further file, which makes later epochs of the earlier ones void.

    Args:
        folder: of the event files.
        trainer: as it begins, or goes on.

    Raises:
        SettingError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, trainer: Trainer) -> None:
        if find_spec("tensorboard") is None:
            raise SettingError(
                "tensorboard is not installed; pip install 'permtrain[tensorboard]', or leave "
                "--tensorboard out"
            )
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=trainer.position.epoch + 1)

    def after_step(self, trainer: Trainer) -> None:
        """Nothing: epochs are logged."""

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        for name, value in numbers_of(metrics).items():
            self._writer.add_scalar(name, value, metrics["epoch"])
        self._writer.flush()


def forget_events(folder: Path, epoch: int) -> None:
    """Make void what the event files tell of later epochs; nothing is done where there are none."""
    if not folder.is_dir() or find_spec("tensorboard") is None:
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=epoch + 1) as writer:
        writer.flush()
