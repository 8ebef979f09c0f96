"""What sortGAN's networks, and pixels that look for their places, are trained by."""

import torch
from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(real_logits_N: Tensor, arranged_logits_N: Tensor) -> Tensor:
    """Binary cross-entropy: real images are to be told from arranged ones, half and half.

    Source: Index optimizer thesis, equations 3.2 and 4.3, whose maximum over D this minimises.

    Example:
        >>> discriminator_loss(torch.zeros(2), torch.zeros(2))
        tensor(0.6931)
    """
    real, arranged = F.softplus(-real_logits_N), F.softplus(arranged_logits_N)
    return (real.mean() + arranged.mean()) / 2


def fooling_loss(arranged_logits_N: Tensor) -> Tensor:
    """Binary cross-entropy of arranged images being taken for real ones.

    log(1 - D) in equation 4.3 is replaced by -log D, which does not fade while D is ahead.

    Example:
        >>> fooling_loss(torch.zeros(2))
        tensor(0.6931)
    """
    return F.softplus(-arranged_logits_N).mean()


def place_in_order(pixels_NCP: Tensor) -> Tensor:
    """Each value's place in its image's order, 0 to 1; equal values share their mean place.

    Example:
        >>> place_in_order(torch.tensor([[[0.0, 0.0, 0.5, 0.9, 0.7]]]))
        tensor([[[0.1250, 0.1250, 0.5000, 1.0000, 0.7500]]])
    """
    ascending = pixels_NCP.sort(dim=2).values.contiguous()
    values = pixels_NCP.contiguous()
    below = torch.searchsorted(ascending, values, right=False)
    upto = torch.searchsorted(ascending, values, right=True)
    return (below + upto - 1).to(pixels_NCP.dtype) / (2 * (pixels_NCP.shape[2] - 1))


def border_penalty(images_NCHW: Tensor) -> Tensor:
    """Mean value of the outermost pixels: what is not black there counts. One number an image.

    Source: Index optimizer thesis, appendix B, "penalizes non-black pixels on the boundary".

    Example:
        >>> border_penalty(torch.eye(3)[None, None])
        tensor([0.2500])
    """
    H, W = images_NCHW.shape[-2:]
    inner = images_NCHW[..., 1:-1, 1:-1].sum(dim=(1, 2, 3))
    outer = images_NCHW.sum(dim=(1, 2, 3)) - inner
    return outer / (images_NCHW.shape[1] * (H * W - (H - 2) * (W - 2)))


def roughness(images_NCHW: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, below and beside. One number an image.

    Source: appendix B, "penalizes abrupt intensity change between one pixel and its neighbours".

    Example:
        >>> roughness(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
        tensor([0.5000])
    """
    down = (images_NCHW[..., 1:, :] - images_NCHW[..., :-1, :]).abs().flatten(1)
    across = (images_NCHW[..., 1:] - images_NCHW[..., :-1]).abs().flatten(1)
    return torch.cat([down, across], dim=1).mean(dim=1)
