"""VGG networks for 32x32 images: the seven layers of Permute to Train, and VGG-16."""

from collections import OrderedDict

from torch import nn

from permtrain.lab.models._checks import ImageShape, check_inputs
from permtrain.lab.models._keras import batch_norm_2d

# One tuple per stage: the filters of its convolutions. A max pooling ends each stage.
VGG7_STAGES = ((32, 32), (64, 64), (128, 128))
VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg7(image_shape: ImageShape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """The seven-layer VGG: 2x32C3, pool, 2x64C3, pool, 2x128C3, pool, 10; same padding.

    Source: Qiu and Suda, Permute to Train, 2022, section 5.2.2.
    Differs from the source: its list of layers names no batch norm, but these authors' lists never
    do, and section 5.2, before both CIFAR-10 networks, says that batch norm layers are trained by
    the inner optimizer only. We read that this network has them too, in the order of the authors'
    later networks: convolution, ReLU, batch norm, with Keras's momentum and epsilon.

    Args:
        image_shape: channels, height, width; height and width at least 8.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: an image smaller than 8x8, or a size below 1.

    Example:
        >>> sum(p.numel() for p in vgg7().parameters())
        308394
    """
    check_inputs("vgg7", image_shape, num_classes, min_size=8)
    return _vgg7(image_shape, num_classes, dropouts=())


def vgg7_dropout(image_shape: ImageShape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """`vgg7` with dropout .2, .3 and .4 after its poolings: what Adam alone is given.

    Source: Qiu and Suda, Permute to Train, 2022, section 5.2.2, experiment (2).
    Differs from the source: as `vgg7`.

    Args:
        image_shape: channels, height, width; height and width at least 8.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: an image smaller than 8x8, or a size below 1.

    Example:
        >>> vgg7_dropout().dropout1
        Dropout(p=0.2, inplace=False)
    """
    check_inputs("vgg7-dropout", image_shape, num_classes, min_size=8)
    return _vgg7(image_shape, num_classes, dropouts=(0.2, 0.3, 0.4))


def vgg16(image_shape: ImageShape = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    """VGG-16 for CIFAR: 2x64C3, 2x128C3, 3x256C3, 2 times 3x512C3, a pooling after each group, 10.

    Source: Simonyan and Zisserman, 2015, arXiv 1409.1556, configuration D; used by the index
    optimizer's paper, 2021, section 5.1.
    Differs from the source: as usual on 32x32 images, one linear layer on the 512 features stands
    for the three of ImageNet, and batch norm stands between each convolution (with bias) and its
    ReLU. The index optimizer's paper says only "VGG"; batch norm has PyTorch's own momentum and
    epsilon.

    Args:
        image_shape: channels, height, width; height and width at least 32.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: an image smaller than 32x32, or a size below 1.

    Example:
        >>> vgg16().output
        Linear(in_features=512, out_features=10, bias=True)
    """
    check_inputs("vgg16", image_shape, num_classes, min_size=32)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = image_shape[0]
    place = 0
    for stage_place, stage in enumerate(VGG16_STAGES, start=1):
        for filters in stage:
            place += 1
            layers[f"conv{place}"] = nn.Conv2d(channels, filters, kernel_size=3, padding=1)
            layers[f"norm{place}"] = nn.BatchNorm2d(filters)
            layers[f"relu{place}"] = nn.ReLU()
            channels = filters
        layers[f"pool{stage_place}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(_num_features(image_shape, VGG16_STAGES), num_classes)
    return nn.Sequential(layers)


def _vgg7(image_shape: ImageShape, num_classes: int, dropouts: tuple[float, ...]) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = image_shape[0]
    place = 0
    for stage_place, stage in enumerate(VGG7_STAGES, start=1):
        for filters in stage:
            place += 1
            layers[f"conv{place}"] = nn.Conv2d(channels, filters, kernel_size=3, padding=1)
            layers[f"relu{place}"] = nn.ReLU()
            layers[f"norm{place}"] = batch_norm_2d(filters)
            channels = filters
        layers[f"pool{stage_place}"] = nn.MaxPool2d(2)
        if dropouts:
            layers[f"dropout{stage_place}"] = nn.Dropout(dropouts[stage_place - 1])
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(_num_features(image_shape, VGG7_STAGES), num_classes)
    return nn.Sequential(layers)


def _num_features(image_shape: ImageShape, stages: tuple[tuple[int, ...], ...]) -> int:
    """Entries of one image after the stages, each of which halves height and width."""
    _, height, width = image_shape
    shrinkage: int = 2 ** len(stages)
    return stages[-1][-1] * (height // shrinkage) * (width // shrinkage)
