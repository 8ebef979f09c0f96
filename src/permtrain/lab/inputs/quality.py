"""How good recovered images are: likeness to the original, and what a classifier makes of them."""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from permtrain.errors import ProfileError, SettingError
from permtrain.lab.data.images import Split
from permtrain.lab.inputs.pixels import Matching, lay_out_pixels, same_pixels
from permtrain.lab.training.trainer import Trainer

_BATCH = 500


@dataclass(frozen=True)
class Quality:
    """Of a set of images beside their originals.

    Attributes:
        psnr: peak signal-to-noise ratio in dB, of the squared error averaged over all images.
        ssim: structural similarity in [-1, 1], mean over the images; a Gaussian window of
            sigma 1.5, as in Wang, Bovik, Sheikh, Simoncelli, 2004.
        classified: fraction that a classifier trained on real images gives the right label.
    """

    psnr: float
    ssim: float
    classified: float


def check_measures_can_be_taken() -> None:
    """Refuses to begin without scikit-image, which is wanted at the end.

    Raises:
        SettingError: it is not installed.
    """
    if find_spec("skimage") is None:
        raise SettingError(
            "PSNR and SSIM need scikit-image, which is not installed; pip install "
            "'permtrain[inputs]'"
        )


def quality_of(images: Tensor, originals: Split, judge: Trainer) -> Quality:
    """Measures images against the originals of the same places, with their labels.

    Shapes: `images` (N, C, H, W) uint8, as the originals'.
    """
    return Quality(
        psnr=psnr(images, originals.images),
        ssim=ssim(images, originals.images),
        classified=judge.evaluate(Split(images, originals.labels)).accuracy,
    )


def psnr(images: Tensor, originals: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of all images together; infinite if all are equal.

    Example:
        >>> black = torch.zeros(1, 1, 7, 7, dtype=torch.uint8)
        >>> round(psnr(black + 255, black), 6), psnr(black, black)
        (0.0, inf)
    """
    from skimage.metrics import peak_signal_noise_ratio

    if torch.equal(images, originals):
        return float("inf")
    pair = (originals.cpu().numpy(), images.cpu().numpy())
    return float(peak_signal_noise_ratio(*pair, data_range=255))


def ssim(images: Tensor, originals: Tensor) -> float:
    """Structural similarity, mean over the images; colours by channel.

    Example:
        >>> image = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
        >>> ssim(image, image)
        1.0
    """
    from skimage.metrics import structural_similarity

    return float(
        np.mean(
            [
                structural_similarity(
                    original,
                    image,
                    data_range=255,
                    channel_axis=0,
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                )
                for original, image in zip(
                    originals.cpu().numpy(), images.cpu().numpy(), strict=True
                )
            ]
        )
    )


def class_means(split: Split, num_classes: int) -> Tensor:
    """The mean image of each label, (K, C, P) float32, pixels in [0, 1].

    A label without images gets zeros.

    Example:
        >>> images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1, 1)
        >>> class_means(Split(images, torch.tensor([0, 0, 1])), 2).flatten()
        tensor([0.1000, 1.0000])
    """
    sums = torch.zeros(num_classes, *split.images.shape[1:], dtype=torch.int64)
    sums.index_add_(0, split.labels.cpu(), split.images.cpu().long())
    counts = torch.bincount(split.labels.cpu(), minlength=num_classes).clamp(min=1)
    means_KCP = sums.flatten(2).double() / (255 * counts[:, None, None])
    return means_KCP.float().to(split.images.device)


def laid_out(shuffled_NCP: Tensor, like_NCP: Tensor, matching: Matching = "order") -> Tensor:
    """`lay_out_pixels` on bytes; what comes out is checked to be a permutation of what went in.

    Args:
        shuffled_NCP: uint8.
        like_NCP: floating point, what stands where.

    Raises:
        ProfileError: it is not; never seen.

    Example:
        >>> pixels = torch.tensor([[[7, 5, 6]]], dtype=torch.uint8)
        >>> laid_out(pixels, torch.tensor([[[0.1, 0.9, 0.2]]]))
        tensor([[[5, 7, 6]]], dtype=torch.uint8)
    """
    with torch.no_grad():
        parts = [
            lay_out_pixels(pixels.to(like.dtype), like, matching).to(torch.uint8)
            for pixels, like in zip(shuffled_NCP.split(_BATCH), like_NCP.split(_BATCH), strict=True)
        ]
    arranged_NCP = torch.cat(parts)
    if not same_pixels(arranged_NCP, shuffled_NCP):
        raise ProfileError("recovered images do not hold their own pixels")
    return arranged_NCP
