"""LeNet-5 as it is trained today."""

from collections import OrderedDict

from torch import nn

from permtrain.lab.models._checks import ImageShape, check_inputs


def lenet5(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """LeNet-5: 6C5, pool, 16C5, pool, 120, 84, 10.

    Source: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition,
    1998, section II.B; used by the index optimizer's paper, 2021, section 5.1.
    Differs from the source: the index optimizer's paper states neither activation nor pooling, so
    these are today's: ReLU, 2x2 max pooling, the second convolution connected to all six maps, a
    linear output. The original's third convolution sees a 5x5 map, which is a linear layer on 400
    inputs. The 32x32 input of 1998 is had by padding 28x28 by two.

    Args:
        image_shape: channels, height, width; height and width at least 12.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: an image smaller than 12x12, or a size below 1.

    Example:
        >>> sum(p.numel() for p in lenet5().parameters())
        61706
    """
    check_inputs("lenet5", image_shape, num_classes, min_size=12)
    channels, height, width = image_shape
    # The first convolution keeps the size, the second takes four pixels, each pooling halves.
    final_height, final_width = (height // 2 - 4) // 2, (width // 2 - 4) // 2
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(channels, 6, kernel_size=5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, kernel_size=5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(16 * final_height * final_width, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            output=nn.Linear(84, num_classes),
        )
    )
