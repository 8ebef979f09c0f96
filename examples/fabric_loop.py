"""Lightning's Fabric: what it wraps is given to the permuter, which is saved beside it."""

import tempfile
from pathlib import Path

import torch
from lightning.fabric import Fabric
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from permtrain import IndexOptimizer, Verification, initialize_, verify


def main(num_epochs: int = 3) -> Verification:
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.seed_everything(0, verbose=False)
    images, labels = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
    data = TensorDataset(images.float() / 16, labels)
    loader = fabric.setup_dataloaders(DataLoader(data, batch_size=50, shuffle=True))

    net = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    initialize_(net, "kaiming_uniform", seed=0)
    model, optimizer = fabric.setup(net, torch.optim.Adam(net.parameters(), lr=2e-3))
    permuter = IndexOptimizer(optimizer, granularity="neuron", model=model)

    for epoch in range(num_epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            fabric.backward(loss)
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")

    state = {"model": model, "optimizer": optimizer, "permuter": permuter}
    with tempfile.TemporaryDirectory() as folder:
        fabric.save(Path(folder) / "checkpoint", state)
        fabric.load(Path(folder) / "checkpoint", state)
    return verify(model, permuter)


if __name__ == "__main__":
    print(main())
