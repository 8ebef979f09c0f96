"""Lightning's Trainer: a callback that attaches a permuter and keeps its checkpoints whole."""

from typing import Any

from permtrain.errors import CheckpointError, SettingError
from permtrain.integrations.showing import Attach, Showing, go_on_from, training_state
from permtrain.optim.permuter import Permuter

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError:  # the same under its other name
    from pytorch_lightning import Callback, LightningModule, Trainer

KEY = "permtrain"
"""The training state's key in a checkpoint."""


class PermuterCallback(Callback):
    """Attaches a permuter when training begins, and shows arranged weights where they are used.

    Validation, checkpoints and the model after training get arranged weights. A checkpoint holds
    the permuter's state and the training weights beside them, so that `fit(ckpt_path=...)` goes on
    bit for bit.

    Args:
        attach: makes the permuter from an optimizer and a model.
        optimizer: which one, where `configure_optimizers` returns several.

    Attributes:
        permuter: the permuter, from the beginning of training on.

    Put it after callbacks that average weights, as `EMAWeightAveraging`: at the end of training
    LaPerm lays their average out; with latent weights the model keeps those.

    Raises:
        CheckpointError: training is resumed from a checkpoint without the permuter's state.
        SettingError: there is no such optimizer.

    Example:
        >>> from functools import partial
        >>> from permtrain import LaPerm
        >>> callback = PermuterCallback(partial(LaPerm, sync_period=20))
        >>> # Trainer(callbacks=[callback]).fit(module, loader)
    """

    def __init__(self, attach: Attach, *, optimizer: int = 0) -> None:
        self.attach = attach
        self.optimizer = optimizer
        self.permuter: Permuter | None = None
        self._showing: Showing | None = None
        self._saved: dict[str, Any] | None = None
        self._resumes = False

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keeps the training state until the optimizers' states are loaded too."""
        # Before its first step, as the Tuner saves one to go back to, there is no state.
        self._saved, self._resumes = checkpoint.get(KEY), bool(checkpoint.get("global_step", 1))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attaches, and goes on from the checkpoint if there is one."""
        self._let_go()
        if not 0 <= self.optimizer < len(trainer.optimizers):
            raise SettingError(
                f"optimizer is {self.optimizer}; allowed: below {len(trainer.optimizers)}, the "
                "number of optimizers"
            )
        self.permuter = self.attach(trainer.optimizers[self.optimizer], model=pl_module)
        self._showing = Showing(self.permuter)
        if self._resumes and self._saved is None:
            raise CheckpointError(
                "the checkpoint holds no training state of a permuter; allowed: one made with this "
                "callback"
            )
        if self._saved is not None:
            go_on_from(self.permuter, self._saved)
        self._saved, self._resumes = None, False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Arranged weights."""
        if self._showing is not None:
            self._showing.begin()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Back to the training weights."""
        if self._showing is not None:
            self._showing.end()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Puts arranged weights in the checkpoint, and the training state beside them."""
        if self.permuter is None or self._showing is None:
            return
        checkpoint[KEY] = self._showing.state or training_state(self.permuter)
        with self.permuter.arranged():
            arranged = {
                id(parameter): parameter.detach().clone()
                for parameter in self.permuter.parameters.values()
            }
        own = pl_module.state_dict(keep_vars=True)
        checkpoint["state_dict"] |= {
            name: arranged[id(tensor)] for name, tensor in own.items() if id(tensor) in arranged
        }

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the model arranged."""
        if self._showing is not None:
            self._showing.end()
            self._showing.permuter.synchronize()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leaves the model with the weights that it shows."""
        self._let_go()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Detaches."""
        self._let_go()

    def _let_go(self) -> None:
        if self._showing is not None:
            self._showing.abandon()
            self._showing.permuter.detach()
            self._showing = None
