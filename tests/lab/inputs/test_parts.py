"""Losses, networks, measures and guides, against what they are defined by."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional as F

from permtrain.errors import ProfileError
from permtrain.lab.data.images import Split
from permtrain.lab.inputs import quality
from permtrain.lab.inputs.guides import _share_all_but_the_first_layer, normal_prior
from permtrain.lab.inputs.losses import (
    border_penalty,
    discriminator_loss,
    fooling_loss,
    place_in_order,
    roughness,
)
from permtrain.lab.inputs.nearest import NearestImages
from permtrain.lab.inputs.networks import (
    ConvolutionalDiscriminator,
    ConvolutionalGenerator,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
)
from permtrain.lab.inputs.pixels import in_order
from permtrain.lab.inputs.quality import class_means, laid_out, psnr, ssim
from permtrain.lab.models.lenet import lenet5


def split_of(num: int, shape: tuple[int, int, int], num_classes: int, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (num, *shape), generator=generator).byte()
    return Split(images, torch.arange(num) % num_classes)


def test_both_losses_are_binary_cross_entropy() -> None:
    real, arranged = torch.randn(7), torch.randn(7)
    entropy = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(7), torch.zeros(7)
    expected = (entropy(real, ones) + entropy(arranged, zeros)) / 2
    assert torch.allclose(discriminator_loss(real, arranged), expected)
    assert torch.allclose(fooling_loss(arranged), entropy(arranged, ones))


def test_places_are_mean_ranks() -> None:
    values = torch.randint(0, 6, (3, 3, 20)).float()
    expected = (rankdata(values.numpy(), axis=2) - 1) / 19
    assert torch.allclose(place_in_order(values), torch.from_numpy(expected).float())


def test_penalties_by_hand() -> None:
    image = torch.zeros(1, 1, 4, 5)
    image[0, 0, 0, 0], image[0, 0, 1, 1], image[0, 0, 3, 2] = 1.0, 8.0, 2.0
    assert border_penalty(image).tolist() == pytest.approx([3 / 14])
    # 15 differences down and 16 across; a corner has 1 + 1 of them, the inner pixel 2 + 2, the
    # border pixel 1 + 2.
    assert roughness(image).tolist() == pytest.approx([(2 * 1 + 4 * 8 + 3 * 2) / 31])


def size_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_published_networks_have_the_published_layers() -> None:
    def widths(network: nn.Module) -> list[tuple[int, int]]:
        return [
            (each.in_features, each.out_features)
            for each in network.modules()
            if isinstance(each, nn.Linear)
        ]

    generator = FullyConnectedGenerator(1, 784, 10)
    assert widths(generator) == [(794, 128), (128, 256), (256, 512), (512, 1024), (1024, 784)]
    discriminator = FullyConnectedDiscriminator(1, 784, 10)
    assert widths(discriminator) == [(794, 512), (512, 512), (512, 512), (512, 1)]
    norms = 2 * (256 + 512 + 1024)
    expected = 795 * 128 + 129 * 256 + 257 * 512 + 513 * 1024 + 1025 * 784 + norms
    assert size_of(generator) == expected
    assert size_of(discriminator) == 795 * 512 + 2 * 513 * 512 + 513


@pytest.mark.parametrize("C", [1, 3])
@pytest.mark.parametrize("generator", [FullyConnectedGenerator, ConvolutionalGenerator])
@pytest.mark.parametrize("discriminator", [FullyConnectedDiscriminator, ConvolutionalDiscriminator])
def test_networks_fit_each_other_and_read_the_label(C: int, generator, discriminator) -> None:
    says, tells = generator(C, 144, 4).eval(), discriminator(C, 144, 4).eval()
    pixels = torch.rand(1, C, 144).expand(2, C, 144)
    nn.init.normal_(getattr(says, "by_label", nn.Embedding(1, 1)).weight)
    out = says(pixels, torch.tensor([0, 3]))
    assert out.shape == (2, C, 144)
    assert not torch.equal(out[0], out[1])
    logits = tells(pixels, torch.tensor([0, 3]))
    assert logits.shape == (2,)
    assert logits[0] != logits[1]


def test_psnr_and_ssim_by_their_definitions() -> None:
    originals = split_of(3, (1, 16, 16), 2).images
    images = split_of(3, (1, 16, 16), 2, seed=1).images
    error = (originals.double() - images.double()).square().mean()
    assert psnr(images, originals) == pytest.approx(10 * math.log10(255**2 / float(error)))
    assert psnr(originals, originals) == math.inf
    assert ssim(images, originals) == pytest.approx(_ssim(images, originals), abs=1e-6)
    assert ssim(originals, originals) == pytest.approx(1.0)


def _ssim(images: Tensor, originals: Tensor) -> float:
    """Wang and others, 2004, equation 13, on windows of 11 x 11 that lie in the image."""
    at = torch.arange(-5, 6).double()
    line = torch.exp(-(at**2) / (2 * 1.5**2))
    window = torch.outer(line, line)[None, None] / torch.outer(line, line).sum()
    x, y = images.double(), originals.double()
    mean_x, mean_y = F.conv2d(x, window), F.conv2d(y, window)
    var_x = F.conv2d(x * x, window) - mean_x**2
    var_y = F.conv2d(y * y, window) - mean_y**2
    cov = F.conv2d(x * y, window) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    score = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    score /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float(score.mean())


def test_class_means_are_those_of_numpy() -> None:
    split = split_of(20, (3, 4, 4), 3)
    means = class_means(split, 4)
    images, labels = split.images.numpy() / 255, split.labels.numpy()
    for label in range(3):
        expected = images[labels == label].mean(axis=0).reshape(3, 16)
        np.testing.assert_allclose(means[label].numpy(), expected, rtol=1e-6)
    assert not means[3].any()


def test_a_layout_that_loses_a_pixel_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "lay_out_pixels", lambda pixels, like, matching: pixels * 0)
    with pytest.raises(ProfileError, match="do not hold their own pixels"):
        laid_out(torch.ones(1, 1, 4, dtype=torch.uint8), torch.rand(1, 1, 4))


def test_nearest_images_are_those_of_a_search_by_hand() -> None:
    split = split_of(30, (1, 4, 4), 2)
    asked = split_of(5, (1, 4, 4), 2, seed=1)
    pixels = in_order(asked.images.flatten(2).float() / 255)
    found = NearestImages(split, 3).mean_of(pixels, asked.labels)
    images = split.images.flatten(1).double() / 255
    for i in range(5):
        mine = [j for j in range(30) if split.labels[j] == asked.labels[i]]
        distance = {
            j: float((images[j].sort().values - pixels[i, 0].double()).norm()) for j in mine
        }
        nearest = sorted(mine, key=distance.__getitem__)[:3]
        assert torch.allclose(found[i, 0].double(), images[nearest].mean(dim=0), atol=1e-6)


def test_the_nearest_are_all_there_are_where_a_label_has_no_more() -> None:
    images = torch.tensor([[10, 20], [30, 0], [200, 250]], dtype=torch.uint8).view(3, 1, 1, 2)
    nearest = NearestImages(Split(images, torch.tensor([0, 0, 1])), 10)
    means = nearest.mean_of(torch.rand(3, 1, 2).sort(dim=2).values, torch.tensor([1, 0, 2]))
    expected = torch.tensor([[200.0, 250.0], [20.0, 10.0], [0.0, 0.0]])  # of label 2 there are none
    assert torch.allclose(255 * means[:, 0], expected)


def test_the_prior_is_a_normal_distribution() -> None:
    split = split_of(50, (1, 3, 3), 2)
    prior = normal_prior(split, 2, variance=0.05)
    pixels, means = torch.rand(4, 1, 9), torch.rand(4, 1, 9)
    labels = torch.tensor([1, 0, 1, 1])
    found = prior.energy(pixels, labels, means)
    for i, label in enumerate(labels.tolist()):
        images = (split.images[split.labels == label].flatten(1) / 255).double().numpy()
        covariance = np.cov(images.T, bias=True) + 0.05 * np.eye(9)
        normal = torch.distributions.MultivariateNormal(
            means[i, 0].double(), torch.from_numpy(covariance)
        )
        at = pixels[i, 0].double()
        expected = float(normal.log_prob(normal.mean) - normal.log_prob(at)) / 9
        assert float(found[i]) == pytest.approx(expected, rel=1e-4)


def test_the_priors_gradient_reaches_all_images() -> None:
    prior = normal_prior(split_of(50, (1, 3, 3), 2), 2, variance=0.05)
    pixels, means = torch.rand(4, 1, 9, requires_grad=True), torch.rand(4, 1, 9)
    labels = torch.tensor([1, 0, 1, 1])
    prior.energy(pixels, labels, means).sum().backward()
    away = pixels.detach()[:, 0] - means[:, 0]
    expected = torch.einsum("nv,nvw->nw", away, prior.precision_KVV[labels]) / 9
    assert torch.allclose(pixels.grad[:, 0], expected, atol=1e-4)


def test_classifiers_differ_in_the_first_layer_only() -> None:
    first, other = lenet5(), lenet5()
    own = {name: value.clone() for name, value in other.state_dict().items()}
    _share_all_but_the_first_layer(first, other)
    for name, value in other.state_dict().items():
        mine = own if name.startswith("conv1.") else first.state_dict()
        assert torch.equal(value, mine[name]), name
    trains = [name for name, parameter in other.named_parameters() if parameter.requires_grad]
    assert trains == ["conv1.weight", "conv1.bias"]
