"""A vision transformer of timm, on scikit-learn's handwritten digits."""

import timm
import torch
from sklearn.datasets import load_digits
from torch import nn

from permtrain import IndexOptimizer, Verification, describe, initialize_, verify


def main(num_steps: int = 200) -> Verification:
    torch.manual_seed(0)
    images, labels = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
    images = images.float().view(-1, 1, 8, 8) / 16

    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=8, patch_size=2, in_chans=1, num_classes=10, depth=3,
        embed_dim=48, num_heads=3,
    )  # fmt: skip
    initialize_(model, "kaiming_uniform", seed=0)
    print(describe(model))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95))
    permuter = IndexOptimizer(optimizer, granularity="neuron", model=model)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=num_steps)

    for _ in range(num_steps):
        batch = torch.randint(1500, (50,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
        schedule.step()

    model.eval()
    with torch.no_grad():
        accuracy = (model(images[1500:]).argmax(1) == labels[1500:]).float().mean()
    print(f"{accuracy:.1%} on the last 297 digits")
    return verify(model, permuter)


if __name__ == "__main__":
    print(main())
