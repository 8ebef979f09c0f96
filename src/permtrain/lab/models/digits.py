"""A network for scikit-learn's 8x8 digits, small enough for tests and for first steps."""

from collections import OrderedDict

from torch import nn

from permtrain.lab.models._checks import ImageShape, check_inputs


def digits_cnn(image_shape: ImageShape = (1, 8, 8), num_classes: int = 10) -> nn.Module:
    """A small convolutional network: 16C3, 32C3, pool, 32C3, pool, 10; same padding, ReLU.

    Source: ours; no paper has it. About 98% on the digits after a few seconds of Adam.

    Args:
        image_shape: channels, height, width; height and width at least 4.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: an image smaller than 4x4, or a size below 1.

    Example:
        >>> sum(p.numel() for p in digits_cnn().parameters())
        15338
    """
    check_inputs("digits-cnn", image_shape, num_classes, min_size=4)
    channels, height, width = image_shape
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(channels, 16, kernel_size=3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(16, 32, kernel_size=3, padding=1),
            relu2=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv3=nn.Conv2d(32, 32, kernel_size=3, padding=1),
            relu3=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            output=nn.Linear(32 * (height // 4) * (width // 4), num_classes),
        )
    )
