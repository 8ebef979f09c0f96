"""Conventions of Keras, the authors' framework, that PyTorch does not share."""

from torch import Tensor, nn
from torch.nn import functional as F

# Keras keeps .99 of the running statistics at each batch; PyTorch's momentum is the part replaced.
BATCH_NORM_MOMENTUM = 0.01
BATCH_NORM_EPS = 1e-3


def batch_norm_1d(num_features: int) -> nn.BatchNorm1d:
    """Batch norm over (N, num_features) with Keras's default momentum .99 and epsilon 1e-3."""
    return nn.BatchNorm1d(num_features, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)


def batch_norm_2d(num_features: int) -> nn.BatchNorm2d:
    """Batch norm over (N, num_features, H, W) with Keras's momentum .99 and epsilon 1e-3."""
    return nn.BatchNorm2d(num_features, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)


def same_padding(size: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """Zeros that TensorFlow's SAME rule puts before and after one axis.

    The output has ceil(size / stride) entries; of the zeros that this takes, the odd one goes
    after. PyTorch's `padding` puts the same number on both sides, which for a strided convolution
    places every window one pixel elsewhere.

    Source: TensorFlow, documentation of `tf.nn`, "Notes on padding", SAME.

    Args:
        size: length of the axis, at least 1.
        kernel_size: length of the kernel, at least 1.
        stride: step between windows, at least 1.

    Returns:
        (before, after), each at least 0.

    Example:
        >>> same_padding(24, kernel_size=5, stride=2)
        (1, 2)
        >>> same_padding(32, kernel_size=3, stride=1)
        (1, 1)
    """
    num_windows = -(-size // stride)
    total = max((num_windows - 1) * stride + kernel_size - size, 0)
    return total // 2, total - total // 2


class SamePad2d(nn.Module):
    """Pads with zeros so that the unpadded convolution after it follows TensorFlow's SAME rule.

    Needed for strided convolutions only: at stride 1 and an odd kernel the rule is symmetric, and
    `padding` of the convolution does it without a copy.

    Shapes: (N, C, H, W) -> (N, C, H + zeros, W + zeros), see `same_padding`.
    """

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        top, bottom = same_padding(height, self.kernel_size, self.stride)
        left, right = same_padding(width, self.kernel_size, self.stride)
        return F.pad(images, (left, right, top, bottom))

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"
