"""The networks of Train by Reconnect: Conv7 for MNIST; Conv2, Conv4 and Conv13 for CIFAR-10.

Layers and their order are those of the authors' published Keras code, which the paper's Table 1
summarises. The L2 terms of that code belong to the training, not to the networks.
"""

from collections import OrderedDict

from torch import nn

from permtrain.lab.models._checks import ImageShape, check_inputs
from permtrain.lab.models._keras import SamePad2d, batch_norm_1d, batch_norm_2d

# A stage is a row of convolutions, each (filters, dropout after it, 0 for none), then max pooling.
ConvStage = tuple[tuple[int, float], ...]

CONV2_STAGES: tuple[ConvStage, ...] = (((64, 0.3), (64, 0.0)),)
CONV4_STAGES: tuple[ConvStage, ...] = (
    ((64, 0.3), (64, 0.0)),
    ((128, 0.4), (128, 0.0)),
)
CONV13_STAGES: tuple[ConvStage, ...] = (
    ((64, 0.3), (64, 0.0)),
    ((128, 0.4), (128, 0.0)),
    ((256, 0.4), (256, 0.4), (256, 0.0)),
    ((512, 0.4), (512, 0.4), (512, 0.0)),
    ((512, 0.4), (512, 0.4), (512, 0.0)),
)


def conv7(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """Conv7: 2x32C3, 32C5/2, dropout, 2x64C3, 64C5/2, dropout, 128C4, flatten, dropout, 10.

    ReLU after each convolution, dropout .4, no batch norm. The two strided convolutions are padded
    by TensorFlow's SAME rule, the others not at all.

    Source: Qiu and Suda, Train by Reconnect, 2020, Table 1; place of ReLU and dropout from the
    authors' code.

    Args:
        image_shape: channels, height, width; height and width at least 25.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: an image smaller than 25x25, or a size below 1.

    Example:
        >>> sum(p.numel() for p in conv7().parameters())
        325578
    """
    check_inputs("conv7", image_shape, num_classes, min_size=25)
    channels, height, width = image_shape
    num_features = 128 * _conv7_final_size(height) * _conv7_final_size(width)
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(channels, 32, kernel_size=3),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 32, kernel_size=3),
            relu2=nn.ReLU(),
            pad3=SamePad2d(kernel_size=5, stride=2),
            conv3=nn.Conv2d(32, 32, kernel_size=5, stride=2),
            relu3=nn.ReLU(),
            dropout1=nn.Dropout(0.4),
            conv4=nn.Conv2d(32, 64, kernel_size=3),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(64, 64, kernel_size=3),
            relu5=nn.ReLU(),
            pad6=SamePad2d(kernel_size=5, stride=2),
            conv6=nn.Conv2d(64, 64, kernel_size=5, stride=2),
            relu6=nn.ReLU(),
            dropout2=nn.Dropout(0.4),
            conv7=nn.Conv2d(64, 128, kernel_size=4),
            relu7=nn.ReLU(),
            flatten=nn.Flatten(),
            dropout3=nn.Dropout(0.4),
            output=nn.Linear(num_features, num_classes),
        )
    )


def conv2(image_shape: ImageShape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """Conv2: 2x64C3, pool, 256, 256, 10; same padding; convolution, ReLU, batch norm, dropout.

    Dropout .3 after the first convolution, .5 at each hidden layer: before batch norm at the first,
    after it at the second. Batch norm with Keras's momentum and epsilon.

    Source: Qiu and Suda, Train by Reconnect, 2020, Table 1; order of the layers and dropout rates
    from the authors' code.

    Args:
        image_shape: channels, height, width; height and width at least 2.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits; N at least 2 in training mode.

    Raises:
        SettingError: an image smaller than 2x2, or a size below 1.

    Example:
        >>> sum(p.numel() for p in conv2().parameters())
        4302922
    """
    check_inputs("conv2", image_shape, num_classes, min_size=2)
    layers = _conv_stages(image_shape, CONV2_STAGES)
    layers.update(_two_hidden_layers(_num_features(image_shape, CONV2_STAGES), num_classes))
    return nn.Sequential(layers)


def conv4(image_shape: ImageShape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """Conv4: 2x64C3, pool, 2x128C3, pool, 256, 256, 10; same padding.

    Convolution, ReLU, batch norm, dropout (.3 after the first, .4 after the third); dropout .5 at
    each hidden layer, before batch norm at the first and after it at the second. Batch norm with
    Keras's momentum and epsilon.

    Source: Qiu and Suda, Train by Reconnect, 2020, Table 1; order of the layers and dropout rates
    from the authors' code.

    Args:
        image_shape: channels, height, width; height and width at least 4.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits; N at least 2 in training mode.

    Raises:
        SettingError: an image smaller than 4x4, or a size below 1.

    Example:
        >>> sum(p.numel() for p in conv4().parameters())
        2427722
    """
    check_inputs("conv4", image_shape, num_classes, min_size=4)
    layers = _conv_stages(image_shape, CONV4_STAGES)
    layers.update(_two_hidden_layers(_num_features(image_shape, CONV4_STAGES), num_classes))
    return nn.Sequential(layers)


def conv13(image_shape: ImageShape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """Conv13, a VGG-16 with one hidden layer: 2x64C3, 2x128C3, 3x256C3, 2 times 3x512C3, 512, 10.

    A pooling ends each group. Same padding; convolution, ReLU, batch norm, dropout (.3 in the first
    group, .4 in the others, none before a pooling); dropout .5 after the last pooling and after the
    hidden layer's batch norm. Batch norm with Keras's momentum and epsilon.

    Source: Qiu and Suda, Train by Reconnect, 2020, Table 1; order of the layers and dropout rates
    from the authors' code.

    Args:
        image_shape: channels, height, width; height and width at least 32.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits; N at least 2 in training mode.

    Raises:
        SettingError: an image smaller than 32x32, or a size below 1.

    Example:
        >>> conv13().fc1
        Linear(in_features=512, out_features=512, bias=True)
    """
    check_inputs("conv13", image_shape, num_classes, min_size=32)
    layers = _conv_stages(image_shape, CONV13_STAGES)
    layers["dropout_flat"] = nn.Dropout(0.5)
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(_num_features(image_shape, CONV13_STAGES), 512)
    layers["relu_fc1"] = nn.ReLU()
    layers["norm_fc1"] = batch_norm_1d(512)
    layers["dropout_fc1"] = nn.Dropout(0.5)
    layers["output"] = nn.Linear(512, num_classes)
    return nn.Sequential(layers)


def _conv7_final_size(size: int) -> int:
    """Height or width before `flatten`: a 3x3 takes 2 pixels, the 4x4 takes 3, a stride halves."""
    for _ in range(2):
        size = -(-(size - 4) // 2)
    return size - 3


def _conv_stages(
    image_shape: ImageShape, stages: tuple[ConvStage, ...]
) -> OrderedDict[str, nn.Module]:
    """Per convolution: conv, ReLU, batch norm, dropout; per stage: max pooling."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = image_shape[0]
    place = 0
    for stage_place, stage in enumerate(stages, start=1):
        for filters, dropout in stage:
            place += 1
            layers[f"conv{place}"] = nn.Conv2d(channels, filters, kernel_size=3, padding=1)
            layers[f"relu{place}"] = nn.ReLU()
            layers[f"norm{place}"] = batch_norm_2d(filters)
            if dropout > 0:
                layers[f"dropout{place}"] = nn.Dropout(dropout)
            channels = filters
        layers[f"pool{stage_place}"] = nn.MaxPool2d(2)
    return layers


def _num_features(image_shape: ImageShape, stages: tuple[ConvStage, ...]) -> int:
    """Entries of one image after the stages, each of which halves height and width."""
    _, height, width = image_shape
    filters, _ = stages[-1][-1]
    shrinkage: int = 2 ** len(stages)
    return filters * (height // shrinkage) * (width // shrinkage)


def _two_hidden_layers(num_features: int, num_classes: int) -> OrderedDict[str, nn.Module]:
    """The head that `conv2` and `conv4` share; dropout and batch norm change places in between."""
    return OrderedDict[str, nn.Module](
        flatten=nn.Flatten(),
        fc1=nn.Linear(num_features, 256),
        relu_fc1=nn.ReLU(),
        dropout_fc1=nn.Dropout(0.5),
        norm_fc1=batch_norm_1d(256),
        fc2=nn.Linear(256, 256),
        relu_fc2=nn.ReLU(),
        norm_fc2=batch_norm_1d(256),
        dropout_fc2=nn.Dropout(0.5),
        output=nn.Linear(256, num_classes),
    )
