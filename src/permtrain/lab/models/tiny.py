"""Convolutional nets without biases, small enough that their files are."""

from collections import OrderedDict

from torch import nn

from permtrain.lab.models._checks import ImageShape, check_inputs


def conv3_16(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """16C5, pool, 32C5, pool, 64C3, 10; 34,192 weights. See `_conv3`.

    Example:
        >>> sum(p.numel() for p in conv3_16().parameters())
        34192
    """
    return _conv3("conv3-16", image_shape, num_classes, 16)


def conv3_32(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """32C5, pool, 64C5, pool, 128C3, 10; 130,848 weights. See `_conv3`.

    Example:
        >>> sum(p.numel() for p in conv3_32().parameters())
        130848
    """
    return _conv3("conv3-32", image_shape, num_classes, 32)


def _conv3(name: str, image_shape: ImageShape, num_classes: int, width: int) -> nn.Module:
    """Three convolutions and a linear output, no biases: all that a file has to hold is permuted.

    Source: ours.

    Args:
        image_shape: channels, height, width; height and width at least 24.
        num_classes: number of outputs, at least 1.
        width: maps of the first convolution; the next ones have twice and four times as many.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: an image smaller than 24x24, or a size below 1.
    """
    check_inputs(name, image_shape, num_classes, min_size=24)
    channels, height, width_of_image = image_shape
    # A 5x5 convolution takes four pixels, pooling halves, the last convolution takes two.
    final = [((size - 4) // 2 - 4) // 2 - 2 for size in (height, width_of_image)]
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(channels, width, 5, bias=False),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(width, 2 * width, 5, bias=False),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(2 * width, 4 * width, 3, bias=False),
            relu3=nn.ReLU(),
            flatten=nn.Flatten(),
            output=nn.Linear(4 * width * final[0] * final[1], num_classes, bias=False),
        )
    )
