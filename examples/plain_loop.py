"""A plain loop: LaPerm on scikit-learn's handwritten digits, with an average of the weights."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from permtrain import LaPerm, Verification, initialize_, verify


def main(num_steps: int = 600) -> Verification:
    images, labels = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
    images = images.float() / 16
    generator = torch.Generator().manual_seed(0)

    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    initialize_(model, "kaiming_uniform", seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    permuter = LaPerm(optimizer, sync_period=20, model=model)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))

    for _ in range(num_steps):
        batch = torch.randint(1500, (50,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
        average.update_parameters(model)

    permuter.synchronize()
    permuter.arranged_like(average)  # the average, as a permutation of the initial values
    for name, net in ("model", model), ("average", average):
        accuracy = (net(images[1500:]).argmax(1) == labels[1500:]).float().mean()
        print(f"{name}: {accuracy:.1%} on the last 297 digits")
    return verify(average, permuter)


if __name__ == "__main__":
    print(main())
