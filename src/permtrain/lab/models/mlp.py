"""Fully connected networks: a linear model, two perceptrons, and the weight agnostic pair."""

import math
from collections import OrderedDict

from torch import nn

from permtrain.lab.models._checks import ImageShape, check_inputs


def logistic(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """Logistic regression: 784-10, with bias.

    Source: Qiu and Suda, Permute to Train, 2022, section 5.1.1.

    Args:
        image_shape: channels, height, width, each at least 1; the input layer has their product.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: a size below 1.

    Example:
        >>> sum(p.numel() for p in logistic().parameters())
        7850
    """
    check_inputs("logistic", image_shape, num_classes)
    return _fully_connected(image_shape, (), num_classes)


def fc500_300(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """Two hidden ReLU layers: 784-500-300-10, with biases.

    Source: Qiu and Suda, Permute to Train, 2022, section 5.1.2.

    Args:
        image_shape: channels, height, width, each at least 1; the input layer has their product.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: a size below 1.

    Example:
        >>> sum(p.numel() for p in fc500_300().parameters())
        545810
    """
    check_inputs("fc500-300", image_shape, num_classes)
    return _fully_connected(image_shape, (500, 300), num_classes)


def fc100_100(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """The network of the ranking distance study: 784-100-100-10, ReLU, with biases.

    Source: Qiu and Suda, Train by Reconnect, 2020 (preprint), section 3 and appendix, "Experiment
    settings".

    Args:
        image_shape: channels, height, width, each at least 1; the input layer has their product.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: a size below 1.

    Example:
        >>> sum(p.numel() for p in fc100_100().parameters())
        89610
    """
    check_inputs("fc100-100", image_shape, num_classes)
    return _fully_connected(image_shape, (100, 100), num_classes)


def fc100_100_dropout(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """`fc100_100` with dropout .4 and .3 on the outputs of its first and second hidden layer.

    Source: Qiu and Suda, Train by Reconnect, 2020 (preprint), appendix, "Experiment settings",
    setting (3).

    Args:
        image_shape: channels, height, width, each at least 1; the input layer has their product.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: a size below 1.

    Example:
        >>> fc100_100_dropout().dropout1
        Dropout(p=0.4, inplace=False)
    """
    check_inputs("fc100-100-dropout", image_shape, num_classes)
    return _fully_connected(image_shape, (100, 100), num_classes, dropouts=(0.4, 0.3))


def f1(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """The linear weight agnostic network: 784-10, no bias.

    Source: Qiu and Suda, Train by Reconnect, 2020, section 5.5, F1.

    Args:
        image_shape: channels, height, width, each at least 1; the input layer has their product.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: a size below 1.

    Example:
        >>> sum(p.numel() for p in f1().parameters())
        7840
    """
    check_inputs("f1", image_shape, num_classes)
    return _fully_connected(image_shape, (), num_classes, bias=False)


def f2(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """The weight agnostic network with two hidden ReLU layers: 784-128-64-10, no biases.

    Source: Qiu and Suda, Train by Reconnect, 2020, section 5.5, F2.

    Args:
        image_shape: channels, height, width, each at least 1; the input layer has their product.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: a size below 1.

    Example:
        >>> sum(p.numel() for p in f2().parameters())
        109184
    """
    check_inputs("f2", image_shape, num_classes)
    return _fully_connected(image_shape, (128, 64), num_classes, bias=False)


def _fully_connected(
    image_shape: ImageShape,
    hidden_sizes: tuple[int, ...],
    num_classes: int,
    *,
    bias: bool = True,
    dropouts: tuple[float, ...] = (),
) -> nn.Module:
    """Flatten; per hidden layer linear, ReLU and the dropout of that place; output."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    size = math.prod(image_shape)
    for place, hidden_size in enumerate(hidden_sizes, start=1):
        layers[f"fc{place}"] = nn.Linear(size, hidden_size, bias=bias)
        layers[f"relu{place}"] = nn.ReLU()
        if dropouts:
            layers[f"dropout{place}"] = nn.Dropout(dropouts[place - 1])
        size = hidden_size
    layers["output"] = nn.Linear(size, num_classes, bias=bias)
    return nn.Sequential(layers)
