"""Residual networks: for 32x32 images of depth 6n+2, as in the authors' Keras code; ResNet-34."""

from collections import OrderedDict

from torch import Tensor, nn

from permtrain.lab.models._checks import ImageShape, check_inputs
from permtrain.lab.models._keras import SamePad2d, batch_norm_2d

FILTERS = (16, 32, 64)

# Filters of each stage of ResNet-34, and how many blocks it has.
RESNET34_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))


def resnet20(image_shape: ImageShape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """ResNet-20: depth 6n+2 with n = 3 blocks a stage, 16, 32 and 64 filters.

    Source: He et al., Deep residual learning, 2016, arXiv 1512.03385, section 4.2; used by Qiu and
    Suda, Permute to Train, 2022, section 5.2.1.
    Differs from the source: Permute to Train does not state its shortcuts, and no code for it is
    published; the network is therefore `resnet50_cifar` with n = 3, the form these authors used
    later. He et al. have no convolution in the shortcuts (option A), no biases, and pad strided
    convolutions on both sides.

    Args:
        image_shape: channels, height, width; height and width at least 4.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits; N at least 2 in training mode where
        height and width are 4.

    Raises:
        SettingError: an image smaller than 4x4, or a size below 1.

    Example:
        >>> sum(p.numel() for p in resnet20().parameters() if p.ndim >= 2)
        270896
    """
    check_inputs("resnet20", image_shape, num_classes, min_size=4)
    return _cifar_resnet(image_shape, num_classes, blocks_per_stage=3)


def resnet50_cifar(image_shape: ImageShape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """ResNet-50 of Train by Reconnect: depth 6n+2 with n = 8, not the ImageNet ResNet-50.

    Convolution with bias, batch norm, ReLU; 16, 32 and 64 filters; the two shortcuts at stage
    changes are 1x1 convolutions of stride 2 without batch norm; average pooling over 8x8. Padding
    by TensorFlow's SAME rule, batch norm with Keras's momentum and epsilon.

    Source: Qiu and Suda, Train by Reconnect, 2020, Table 1 and section 5.4; the layers from the
    authors' code.
    Differs from the source: images of other sizes are averaged over their whole last map.

    Args:
        image_shape: channels, height, width; height and width at least 4.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits; N at least 2 in training mode where
        height and width are 4.

    Raises:
        SettingError: an image smaller than 4x4, or a size below 1.

    Example:
        >>> sum(p.numel() for p in resnet50_cifar().parameters() if p.ndim >= 2)
        754736
    """
    check_inputs("resnet50-cifar", image_shape, num_classes, min_size=4)
    return _cifar_resnet(image_shape, num_classes, blocks_per_stage=8)


def resnet34(image_shape: ImageShape = (3, 224, 224), num_classes: int = 1000) -> nn.Module:
    """ResNet-34 for ImageNet: 7x7/2, 3x3/2 max pooling, 3, 4, 6, 3 blocks, global average, output.

    Convolutions have no bias; batch norm with PyTorch's momentum and epsilon; where a stage changes
    size, the way around is a 1x1 convolution of stride 2 with batch norm.

    Source: He et al., Deep residual learning, 2016, arXiv 1512.03385, table 1 (shortcuts B); used
    by the index optimizer thesis, 2021, section 5.1.
    Differs from the source: nothing.

    Args:
        image_shape: channels, height, width; height and width at least 32.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits; N at least 2 in training mode where
        height and width are 32.

    Raises:
        SettingError: an image smaller than 32x32, or a size below 1.

    Example:
        >>> sum(p.numel() for p in resnet34().parameters())
        21797672
    """
    check_inputs("resnet34", image_shape, num_classes, min_size=32)
    channels = image_shape[0]
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False),
        norm1=nn.BatchNorm2d(64),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )
    channels = 64
    for stage_place, (filters, num_blocks) in enumerate(RESNET34_STAGES, start=1):
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for block_place in range(1, num_blocks + 1):
            stride = 2 if stage_place > 1 and block_place == 1 else 1
            blocks[f"block{block_place}"] = BasicBlock(channels, filters, stride)
            channels = filters
        layers[f"stage{stage_place}"] = nn.Sequential(blocks)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(channels, num_classes)
    return nn.Sequential(layers)


class BasicBlock(nn.Module):
    """ImageNet's block: two 3x3 convolutions without bias, and a way around them.

    Where the stride is 1 the way around is the identity, so `in_channels` must equal `filters`.

    Shapes: (N, in_channels, H, W) -> (N, filters, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            in_channels, filters, kernel_size=3, stride=stride, padding=1, bias=False
        )
        self.norm1 = nn.BatchNorm2d(filters)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(filters, filters, kernel_size=3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.shortcut = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(
                nn.Conv2d(in_channels, filters, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(filters),
            )
        )
        self.relu2 = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        residual = self.relu1(self.norm1(self.conv1(images)))
        residual = self.norm2(self.conv2(residual))
        output: Tensor = self.relu2(self.shortcut(images) + residual)
        return output


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a way around them, added before the last ReLU.

    Where the stride is 1 the way around is the identity, so `in_channels` must equal `filters`.

    Shapes: (N, in_channels, H, W) -> (N, filters, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.pad1 = nn.Identity() if stride == 1 else SamePad2d(kernel_size=3, stride=stride)
        self.conv1 = nn.Conv2d(
            in_channels, filters, kernel_size=3, stride=stride, padding=1 if stride == 1 else 0
        )
        self.norm1 = batch_norm_2d(filters)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(filters, filters, kernel_size=3, padding=1)
        self.norm2 = batch_norm_2d(filters)
        # A 1x1 kernel takes no padding under the SAME rule, whatever the stride.
        self.shortcut = (
            nn.Identity()
            if stride == 1
            else nn.Conv2d(in_channels, filters, kernel_size=1, stride=stride)
        )
        self.relu2 = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        residual = self.relu1(self.norm1(self.conv1(self.pad1(images))))
        residual = self.norm2(self.conv2(residual))
        output: Tensor = self.relu2(self.shortcut(images) + residual)
        return output


def _cifar_resnet(image_shape: ImageShape, num_classes: int, blocks_per_stage: int) -> nn.Module:
    channels, height, width = image_shape
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, FILTERS[0], kernel_size=3, padding=1),
        norm1=batch_norm_2d(FILTERS[0]),
        relu1=nn.ReLU(),
    )
    channels = FILTERS[0]
    for stage_place, filters in enumerate(FILTERS, start=1):
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for block_place in range(1, blocks_per_stage + 1):
            stride = 2 if stage_place > 1 and block_place == 1 else 1
            blocks[f"block{block_place}"] = ResidualBlock(channels, filters, stride)
            channels = filters
        layers[f"stage{stage_place}"] = nn.Sequential(blocks)
    # Two strides of 2 under the SAME rule leave a quarter of the pixels, rounded up: 8x8 of 32x32.
    layers["pool"] = nn.AvgPool2d((-(-height // 4), -(-width // 4)))
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(FILTERS[-1], num_classes)
    return nn.Sequential(layers)
