"""sortGAN's networks: what says how a picture looks, and what tells whether it is a real one."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SLOPE = 0.2
"""Of LeakyReLU below 0. Neither activations nor normalisation are stated in the thesis; the sizes
are those of a widely used conditional GAN (PyTorch-GAN, cgan.py), whose choices are taken."""


class FullyConnectedGenerator(nn.Module):
    """Published: hidden layers of 128, 256, 512, 1024, then one output for each value of a pixel.

    Source: Index optimizer thesis, 5.2.1. The label joins the pixels as a one-hot vector. Batch
    norm after all hidden layers but the first, LeakyReLU, a linear output (only its order matters;
    one that saturates would make ties).

    Shapes: pixels (N, C, P), labels (N,) -> (N, C, P).

    Example:
        >>> generator = FullyConnectedGenerator(1, 784, 10)
        >>> generator(torch.rand(2, 1, 784), torch.tensor([3, 7])).shape
        torch.Size([2, 1, 784])
    """

    def __init__(self, num_channels: int, num_pixels: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        num_values = num_channels * num_pixels
        layers: list[nn.Module] = [nn.Linear(num_values + num_classes, 128), nn.LeakyReLU(_SLOPE)]
        for fan_in, width in ((128, 256), (256, 512), (512, 1024)):
            layers += [nn.Linear(fan_in, width), nn.BatchNorm1d(width), nn.LeakyReLU(_SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Linear(1024, num_values))

    def forward(self, pixels_NCP: Tensor, labels_N: Tensor) -> Tensor:
        out: Tensor = self.layers(joined(pixels_NCP, labels_N, self.num_classes))
        return out.view_as(pixels_NCP)


class ConvolutionalGenerator(nn.Module):
    """Ours: the pixels and an embedded label through two layers, then convolutions that grow.

    Shapes: as `FullyConnectedGenerator`; images are square, the side a multiple of 4.

    Example:
        >>> generator = ConvolutionalGenerator(1, 784, 10)
        >>> generator(torch.rand(2, 1, 784), torch.tensor([3, 7])).shape
        torch.Size([2, 1, 784])
    """

    def __init__(self, num_channels: int, num_pixels: int, num_classes: int) -> None:
        super().__init__()
        self.quarter = side_of(num_pixels) // 4
        self.label = nn.Embedding(num_classes, 64)
        self.first = nn.Sequential(
            nn.Linear(num_channels * num_pixels + 64, 256),
            nn.BatchNorm1d(256),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(256, 32 * self.quarter**2),
            nn.BatchNorm1d(32 * self.quarter**2),
            nn.LeakyReLU(_SLOPE),
        )
        self.growing = nn.Sequential(
            nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(_SLOPE),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(16, num_channels, 3, padding=1),
        )
        # What each class looks like on average can be said without convolutions.
        self.by_label = nn.Embedding(num_classes, num_channels * num_pixels)
        nn.init.zeros_(self.by_label.weight)

    def forward(self, pixels_NCP: Tensor, labels_N: Tensor) -> Tensor:
        joint = torch.cat([pixels_NCP.flatten(1), self.label(labels_N)], dim=1)
        small = self.first(joint).unflatten(1, (32, self.quarter, self.quarter))
        out: Tensor = self.growing(small).flatten(1) + self.by_label(labels_N)
        return out.view_as(pixels_NCP)


class FullyConnectedDiscriminator(nn.Module):
    """Published: three hidden layers of 512, then one logit. The label joins as a one-hot vector.

    Source: Index optimizer thesis, 5.2.1 and D(x|y) in equation 4.3; LeakyReLU and dropout .4
    before the last two are not stated there.

    Shapes: pixels (N, C, P), labels (N,) -> (N,).
    """

    def __init__(self, num_channels: int, num_pixels: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.layers = nn.Sequential(
            nn.Linear(num_channels * num_pixels + num_classes, 512),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(512, 512),
            nn.Dropout(0.4),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(512, 512),
            nn.Dropout(0.4),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(512, 1),
        )

    def forward(self, pixels_NCP: Tensor, labels_N: Tensor) -> Tensor:
        out: Tensor = self.layers(joined(pixels_NCP, labels_N, self.num_classes))
        return out[:, 0]


class ConvolutionalDiscriminator(nn.Module):
    """Ours: two strided convolutions; the label's embedding is multiplied with what they see.

    Shapes: as `FullyConnectedDiscriminator`; images are square, the side a multiple of 4.
    """

    def __init__(self, num_channels: int, num_pixels: int, num_classes: int) -> None:
        super().__init__()
        self.side = side_of(num_pixels)
        self.features = nn.Sequential(
            nn.Conv2d(num_channels, 16, 4, stride=2, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Flatten(),
            nn.Linear(32 * (self.side // 4) ** 2, 128),
            nn.LeakyReLU(_SLOPE),
        )
        self.is_real = nn.Linear(128, 1)
        self.is_of_class = nn.Embedding(num_classes, 128)

    def forward(self, pixels_NCP: Tensor, labels_N: Tensor) -> Tensor:
        seen = self.features(pixels_NCP.unflatten(2, (self.side, self.side)))
        out: Tensor = self.is_real(seen)[:, 0] + (seen * self.is_of_class(labels_N)).sum(dim=1)
        return out


def joined(pixels_NCP: Tensor, labels_N: Tensor, num_classes: int) -> Tensor:
    """One vector for each image: its pixels' values, channel by channel, and the one-hot label.

    Example:
        >>> joined(torch.tensor([[[0.25, 0.5]]]), torch.tensor([1]), 3)
        tensor([[0.2500, 0.5000, 0.0000, 1.0000, 0.0000]])
    """
    one_hot = F.one_hot(labels_N, num_classes).to(pixels_NCP.dtype)
    return torch.cat([pixels_NCP.flatten(1), one_hot], dim=1)


def side_of(num_pixels: int) -> int:
    """The side of a square image.

    Example:
        >>> side_of(784)
        28
    """
    return math.isqrt(num_pixels)
