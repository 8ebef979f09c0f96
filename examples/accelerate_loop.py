"""Hugging Face's accelerate: the prepared optimizer is attached to; one line saves the permuter."""

import tempfile

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from permtrain import LaPerm, Verification, initialize_, verify


def main(num_epochs: int = 3) -> Verification:
    set_seed(0)
    accelerator = Accelerator(cpu=True)
    images, labels = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
    data = TensorDataset(images.float() / 16, labels)

    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    initialize_(model, "kaiming_uniform", seed=0)
    model, optimizer, loader = accelerator.prepare(
        model,
        torch.optim.Adam(model.parameters(), lr=2e-3),
        DataLoader(data, batch_size=50, shuffle=True),
    )
    permuter = LaPerm(optimizer, sync_period=20, model=model)
    accelerator.register_for_checkpointing(permuter)  # save_state and load_state know it now

    for epoch in range(num_epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            accelerator.backward(loss)
            optimizer.step()
        accelerator.print(f"epoch {epoch}: loss {loss.item():.3f}")

    with tempfile.TemporaryDirectory() as folder:
        accelerator.save_state(folder)  # in mid-period too
        accelerator.load_state(folder)
    with permuter.arranged():
        return verify(accelerator.unwrap_model(model), permuter)


if __name__ == "__main__":
    print(main())
