"""Lightning's Trainer: one callback."""

import tempfile
from functools import partial

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from permtrain import LaPerm, Verification, initialize_, verify
from permtrain.integrations.lightning import PermuterCallback


class Digits(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
        initialize_(self.net, "kaiming_uniform", seed=0)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, _):
        accuracy = (self.net(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log("accuracy", accuracy, prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def main(num_epochs: int = 3) -> Verification:
    pl.seed_everything(0, verbose=False)
    images, labels = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
    data = TensorDataset(images.float() / 16, labels)
    training, validation = torch.utils.data.random_split(data, [1500, 297])
    callback = PermuterCallback(partial(LaPerm, sync_period=20))  # the one line
    module = Digits()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=num_epochs, callbacks=[callback],
            default_root_dir=folder, logger=False, enable_progress_bar=False,
        )  # fmt: skip
        trainer.fit(module, DataLoader(training, 50, shuffle=True), DataLoader(validation, 297))
    print(f"accuracy: {trainer.callback_metrics['accuracy']:.1%}")
    return verify(module, callback.permuter)


if __name__ == "__main__":
    print(main())
