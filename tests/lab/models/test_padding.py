"""TensorFlow's SAME rule against windows laid out by hand."""

import pytest
import torch
from torch import Tensor, nn

from permtrain.lab.models._keras import SamePad2d, same_padding
from permtrain.lab.models.conv import conv7


def strided_same_reference(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """One channel, one filter, written from TensorFlow's text: entry by entry, skipping outside.

    The output has ceil(size / stride) entries. Where size is a multiple of the stride, the rule
    pads max(kernel - stride, 0) in all, otherwise max(kernel - size % stride, 0); half of it,
    rounded down, before.
    """
    starts = []
    for size, length in zip(image.shape, kernel.shape, strict=True):
        overlap = size % stride or stride
        before = max(length - overlap, 0) // 2
        starts.append([place * stride - before for place in range(-(-size // stride))])
    output = torch.zeros(len(starts[0]), len(starts[1]), dtype=image.dtype)
    for row, top in enumerate(starts[0]):
        for column, left in enumerate(starts[1]):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    y, x = top + i, left + j
                    if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                        output[row, column] += image[y, x] * kernel[i, j]
    return output


@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "expected"),
    [
        (24, 5, 2, (1, 2)),
        (8, 5, 2, (1, 2)),
        (25, 5, 2, (2, 2)),
        (32, 3, 2, (0, 1)),
        (33, 3, 2, (1, 1)),
        (32, 1, 2, (0, 0)),
        (5, 1, 2, (0, 0)),
        (28, 3, 1, (1, 1)),
        (28, 4, 1, (1, 2)),
        (1, 5, 2, (2, 2)),
    ],
)
def test_zeros_before_and_after_are_those_worked_out_by_hand(
    size: int, kernel_size: int, stride: int, expected: tuple[int, int]
) -> None:
    assert same_padding(size, kernel_size, stride) == expected


@pytest.mark.parametrize("image_size", [(6, 6), (7, 7), (6, 9), (1, 4)])
@pytest.mark.parametrize(("kernel_size", "stride"), [(5, 2), (3, 2), (1, 2), (3, 3), (3, 1)])
def test_padded_convolution_equals_the_reference(
    image_size: tuple[int, int], kernel_size: int, stride: int
) -> None:
    torch.manual_seed(0)
    image = torch.randn(*image_size, dtype=torch.float64)
    layer = nn.Conv2d(1, 1, kernel_size, stride, bias=False, dtype=torch.float64)
    with torch.no_grad():
        output = layer(SamePad2d(kernel_size, stride)(image[None, None]))
        reference = strided_same_reference(image, layer.weight[0, 0], stride)
    torch.testing.assert_close(output[0, 0], reference)


def test_pad_names_its_kernel_and_stride_when_printed() -> None:
    assert repr(SamePad2d(5, 2)) == "SamePad2d(kernel_size=5, stride=2)"


def test_conv7_maps_shrink_from_28_to_24_12_8_4_and_1() -> None:
    network = conv7().eval()
    images = torch.zeros(1, 1, 28, 28)
    sizes = {}
    for name, layer in network.named_children():
        images = layer(images)
        if name.startswith(("conv", "pad")):
            sizes[name] = images.shape[-1]
    assert sizes == {
        "conv1": 26,
        "conv2": 24,
        "pad3": 27,
        "conv3": 12,
        "conv4": 10,
        "conv5": 8,
        "pad6": 11,
        "conv6": 4,
        "conv7": 1,
    }
