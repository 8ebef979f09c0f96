"""Every published network: sizes worked out by hand, shapes, gradients, order of the layers."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from permtrain.core.granularity import named_tensors
from permtrain.errors import SettingError
from permtrain.lab.models.registry import NETWORKS, build_network


def conv(in_channels: int, filters: int, kernel_size: int) -> list[int]:
    return [in_channels * filters * kernel_size * kernel_size, filters]


def fc(inputs: int, outputs: int) -> list[int]:
    return [inputs * outputs, outputs]


def norm(features: int) -> list[int]:
    return [features, features]


def conv_norms(*channels: int) -> list[int]:
    """3x3 convolutions from each number of channels to the next, each with its batch norm."""
    sizes = []
    for before, after in itertools.pairwise(channels):
        sizes += conv(before, after, 3) + norm(after)
    return sizes


def residual_stage(before: int, filters: int, num_blocks: int) -> list[int]:
    sizes = conv_norms(before, filters, filters)
    if before != filters:
        sizes += conv(before, filters, 1)
    return sizes + (num_blocks - 1) * conv_norms(filters, filters, filters)


def bare(before: int, filters: int, kernel_size: int) -> list[int]:
    """A convolution without bias, and its batch norm."""
    return [before * filters * kernel_size * kernel_size, *norm(filters)]


def basic_stage(before: int, filters: int, num_blocks: int) -> list[int]:
    """ImageNet's blocks of two 3x3 convolutions; a 1x1 one where the stage changes size."""
    sizes = bare(before, filters, 3) + bare(filters, filters, 3)
    if before != filters:
        sizes += bare(before, filters, 1)
    return sizes + (num_blocks - 1) * 2 * bare(filters, filters, 3)


def block(width: int, hidden: int) -> list[int]:
    """A block of a transformer: norm, query, key and value, output, norm, hidden, output."""
    attention = fc(width, 3 * width) + fc(width, width)
    return norm(width) + attention + norm(width) + fc(width, hidden) + fc(hidden, width)


# Entries of every parameter, in their order.
PARAMETERS = {
    "logistic": fc(784, 10),
    "fc500-300": fc(784, 500) + fc(500, 300) + fc(300, 10),
    "fc100-100": fc(784, 100) + fc(100, 100) + fc(100, 10),
    "fc100-100-dropout": fc(784, 100) + fc(100, 100) + fc(100, 10),
    "f1": [784 * 10],
    "f2": [784 * 128, 128 * 64, 64 * 10],
    "lenet5": conv(1, 6, 5) + conv(6, 16, 5) + fc(16 * 5 * 5, 120) + fc(120, 84) + fc(84, 10),
    "conv3-16": [16 * 25, 32 * 16 * 25, 64 * 32 * 9, 10 * 64 * 4],
    "conv3-32": [32 * 25, 64 * 32 * 25, 128 * 64 * 9, 10 * 128 * 4],
    "conv7": (
        conv(1, 32, 3) + conv(32, 32, 3) + conv(32, 32, 5)
        + conv(32, 64, 3) + conv(64, 64, 3) + conv(64, 64, 5)
        + conv(64, 128, 4) + fc(128, 10)
    ),
    "conv2": (
        conv_norms(3, 64, 64)
        + fc(64 * 16 * 16, 256) + norm(256) + fc(256, 256) + norm(256) + fc(256, 10)
    ),
    "conv4": (
        conv_norms(3, 64, 64, 128, 128)
        + fc(128 * 8 * 8, 256) + norm(256) + fc(256, 256) + norm(256) + fc(256, 10)
    ),
    "conv13": (
        conv_norms(3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
        + fc(512, 512) + norm(512) + fc(512, 10)
    ),
    "vgg7": conv_norms(3, 32, 32, 64, 64, 128, 128) + fc(128 * 4 * 4, 10),
    "vgg7-dropout": conv_norms(3, 32, 32, 64, 64, 128, 128) + fc(128 * 4 * 4, 10),
    "vgg16": (
        conv_norms(3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
        + fc(512, 10)
    ),
    "resnet20": (
        conv_norms(3, 16)
        + residual_stage(16, 16, 3) + residual_stage(16, 32, 3) + residual_stage(32, 64, 3)
        + fc(64, 10)
    ),
    "resnet50-cifar": (
        conv_norms(3, 16)
        + residual_stage(16, 16, 8) + residual_stage(16, 32, 8) + residual_stage(32, 64, 8)
        + fc(64, 10)
    ),
    "resnet34": (
        bare(3, 64, 7)
        + basic_stage(64, 64, 3) + basic_stage(64, 128, 4)
        + basic_stage(128, 256, 6) + basic_stage(256, 512, 3)
        + fc(512, 10)
    ),
    "digits-cnn": conv(1, 16, 3) + conv(16, 32, 3) + conv(32, 32, 3) + fc(32 * 2 * 2, 10),
    "vit-tiny": (
        [64] + conv(1, 64, 7) + [17 * 64] + 4 * block(64, 128) + norm(64) + fc(64, 10)
    ),
    "gpt-char": [10 * 96, 64 * 96] + 3 * block(96, 384) + norm(96) + [96 * 10],
}  # fmt: skip

# Numbers of weights as the papers round them.
PUBLISHED = {
    "logistic": 7_850,
    "fc500-300": 550_000,
    "fc100-100": 89_000,
    "f1": 7_840,
    "f2": 109_000,
    "lenet5": 62_000,
    "conv7": 326_000,
    "conv2": 4_300_000,
    "conv4": 2_400_000,
    "conv13": 14_900_000,
    "vgg16": 14_700_000,
    "resnet20": 270_000,
    "resnet50-cifar": 760_000,
}

MINIMUM_SIZES = {
    "lenet5": 12,
    "conv3-16": 24,
    "conv3-32": 24,
    "conv7": 25,
    "conv2": 2,
    "conv4": 4,
    "conv13": 32,
    "vgg7": 8,
    "vgg7-dropout": 8,
    "vgg16": 32,
    "resnet20": 4,
    "resnet50-cifar": 4,
    "resnet34": 32,
    "digits-cnn": 4,
    "vit-tiny": 4,
}

every_network = pytest.mark.parametrize("name", NETWORKS)


def build(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_network(name, NETWORKS[name].image_shape, 10)


def examples(name: str, num: int) -> Tensor:
    """Images, or codes of characters, as the network takes them."""
    shape = (num, *NETWORKS[name].image_shape)
    return torch.randint(10, shape) if name == "gpt-char" else torch.randn(shape)


def layer_names(network: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in network.children()]


@every_network
def test_parameters_have_the_sizes_worked_out_by_hand(name: str) -> None:
    assert [parameter.numel() for parameter in build(name).parameters()] == PARAMETERS[name]


@every_network
def test_registry_counts_are_those_of_the_built_network(name: str) -> None:
    entry = NETWORKS[name]
    weights = [
        tensor.parameter.numel() for tensor in named_tensors(build(name)) if tensor.is_weight
    ]
    assert entry.num_weights == sum(weights)
    assert entry.num_parameters == sum(PARAMETERS[name])


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_counts_agree_with_the_published_ones_to_their_rounding(name: str, published: int) -> None:
    assert NETWORKS[name].num_parameters == pytest.approx(published, rel=0.015)


def test_resnet34_has_the_well_known_number_of_parameters() -> None:
    network = build_network("resnet34", (3, 224, 224), 1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_797_672
    assert sum(PARAMETERS["resnet34"]) + 990 * 513 == 21_797_672


def test_resnet34_halves_images_five_times() -> None:
    network = build_network("resnet34", (3, 224, 224), 10).eval()
    sizes = []
    for name in ("pool1", "stage1", "stage2", "stage3", "stage4"):
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output: sizes.append(tuple(output.shape[1:]))
        )
    network(torch.zeros(1, 3, 224, 224))
    maps = [(64, 56, 56), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]
    assert sizes == maps


def test_vgg7_has_about_300_thousand_parameters() -> None:
    assert NETWORKS["vgg7"].num_parameters == pytest.approx(300_000, rel=0.03)


@every_network
def test_a_loss_reaches_every_parameter_and_output_has_one_logit_per_class(name: str) -> None:
    network = build(name)
    logits = network(examples(name, 4))
    places = NETWORKS[name].image_shape[2:] if name == "gpt-char" else ()
    assert logits.shape == (4, 10, *places)
    F.cross_entropy(
        logits, torch.arange(4).reshape(4, *[1] * len(places)).expand(4, *places)
    ).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        # A bias before batch norm has the gradient zero; a weight never has.
        if parameter.ndim >= 2:
            assert parameter.grad.any(), parameter_name


@every_network
def test_output_layer_is_last_in_parameter_order_and_called_output(name: str) -> None:
    network = build(name)
    last_weight = [n for n, p in network.named_parameters() if p.ndim >= 2][-1]
    assert last_weight == "output.weight"
    assert isinstance(network.get_submodule("output"), nn.Linear)
    assert list(network.named_parameters())[-1][0].startswith("output.")


@every_network
def test_same_seed_gives_the_same_initial_weights(name: str) -> None:
    first, second = build(name, seed=5).state_dict(), build(name, seed=5).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "image_shape", "num_classes"),
    [
        ("logistic", (3, 5, 7), 2),
        ("fc500-300", (1, 1, 1), 1),
        ("lenet5", (3, 32, 32), 100),
        ("conv3-16", (3, 32, 40), 3),
        ("conv7", (3, 32, 40), 3),
        ("conv2", (1, 5, 9), 3),
        ("conv4", (1, 28, 28), 3),
        ("conv13", (1, 33, 64), 3),
        ("vgg7", (1, 28, 31), 3),
        ("vgg16", (1, 64, 32), 3),
        ("resnet20", (1, 28, 28), 3),
        ("resnet20", (1, 33, 18), 3),
        ("digits-cnn", (2, 9, 12), 3),
        ("vit-tiny", (3, 32, 32), 3),
        ("vit-tiny", (1, 8, 12), 3),
    ],
)
def test_networks_adapt_to_other_images_and_classes(
    name: str, image_shape: tuple[int, int, int], num_classes: int
) -> None:
    network = build_network(name, image_shape, num_classes).eval()
    assert network(torch.randn(2, *image_shape)).shape == (2, num_classes)


@pytest.mark.parametrize(("name", "size"), MINIMUM_SIZES.items())
def test_smallest_image_works_and_one_pixel_less_is_refused(name: str, size: int) -> None:
    network = build_network(name, (1, size, size), 10).eval()
    assert network(torch.randn(2, 1, size, size)).shape == (2, 10)
    message = (
        rf"^{name}: image_shape is \(1, {size}, {size - 1}\), "
        rf"height and width must be at least {size}$"
    )
    with pytest.raises(SettingError, match=message):
        build_network(name, (1, size, size - 1), 10)


@every_network
@pytest.mark.parametrize("image_shape", [(0, 32, 32), (1, -3, 32), (32, 32), (1, 32.0, 32)])
def test_image_shapes_that_are_not_three_positive_whole_numbers_are_refused(
    name: str, image_shape: tuple[int, int, int]
) -> None:
    with pytest.raises(SettingError) as caught:
        build_network(name, image_shape, 10)
    assert str(caught.value) == (
        f"{name}: image_shape is {image_shape}, "
        "must be three whole numbers of at least 1: channels, height, width"
    )


@every_network
def test_less_than_one_class_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=rf"^{name}: num_classes is 0, must be a whole number"):
        build_network(name, NETWORKS[name].image_shape, 0)


CONV_BLOCK = ["Conv2d", "ReLU", "BatchNorm2d"]
HEAD_OF_CONV2_AND_CONV4 = [
    "Flatten",
    *("Linear", "ReLU", "Dropout", "BatchNorm1d"),
    *("Linear", "ReLU", "BatchNorm1d", "Dropout"),
    "Linear",
]


def test_conv2_has_the_order_of_the_authors_code() -> None:
    assert layer_names(build("conv2")) == [
        *CONV_BLOCK,
        "Dropout",
        *CONV_BLOCK,
        "MaxPool2d",
        *HEAD_OF_CONV2_AND_CONV4,
    ]


def test_conv4_has_the_order_of_the_authors_code() -> None:
    assert layer_names(build("conv4")) == [
        *CONV_BLOCK,
        "Dropout",
        *CONV_BLOCK,
        "MaxPool2d",
        *CONV_BLOCK,
        "Dropout",
        *CONV_BLOCK,
        "MaxPool2d",
        *HEAD_OF_CONV2_AND_CONV4,
    ]


def test_conv13_has_the_order_of_the_authors_code() -> None:
    pair = [*CONV_BLOCK, "Dropout", *CONV_BLOCK, "MaxPool2d"]
    triple = [*CONV_BLOCK, "Dropout", *pair]
    head = ["Dropout", "Flatten", "Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear"]
    assert layer_names(build("conv13")) == [*pair, *pair, *triple, *triple, *triple, *head]


def test_conv7_has_relu_after_each_convolution_and_no_batch_norm() -> None:
    part = [*("Conv2d", "ReLU"), *("Conv2d", "ReLU"), *("SamePad2d", "Conv2d", "ReLU"), "Dropout"]
    tail = ["Conv2d", "ReLU", "Flatten", "Dropout", "Linear"]
    assert layer_names(build("conv7")) == [*part, *part, *tail]


def test_vgg16_has_batch_norm_before_relu_and_vgg7_after_it() -> None:
    assert layer_names(build("vgg16"))[:3] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert layer_names(build("vgg7"))[:3] == ["Conv2d", "ReLU", "BatchNorm2d"]


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("conv2", [0.3, 0.5, 0.5]),
        ("conv4", [0.3, 0.4, 0.5, 0.5]),
        ("conv7", [0.4, 0.4, 0.4]),
        ("conv13", [0.3, *7 * [0.4], 0.5, 0.5]),
        ("fc100-100-dropout", [0.4, 0.3]),
        ("vgg7", []),
        ("vgg7-dropout", [0.2, 0.3, 0.4]),
        ("vgg16", []),
        ("resnet50-cifar", []),
    ],
)
def test_dropout_rates_are_the_published_ones(name: str, rates: list[float]) -> None:
    assert [m.p for m in build(name).modules() if isinstance(m, nn.Dropout)] == rates


@pytest.mark.parametrize(
    "name", ["conv2", "conv4", "conv13", "vgg7", "vgg7-dropout", "resnet20", "resnet50-cifar"]
)
def test_batch_norm_of_the_authors_networks_follows_keras(name: str) -> None:
    norms = [
        module
        for module in build(name).modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    assert {(module.eps, module.momentum) for module in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize(("name", "depth"), [("resnet20", 20), ("resnet50-cifar", 50)])
def test_resnet_has_as_many_layers_as_its_name_says(name: str, depth: int) -> None:
    layers = [
        module_name
        for module_name, module in build(name).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in module_name
    ]
    assert len(layers) == depth


def test_resnet_has_a_convolution_with_bias_in_its_two_stage_changes_only() -> None:
    network = build("resnet50-cifar")
    shortcuts = {
        name: (module.kernel_size, module.stride, module.bias is not None)
        for name, module in network.named_modules()
        if name.endswith("shortcut") and isinstance(module, nn.Conv2d)
    }
    assert shortcuts == {
        "stage2.block1.shortcut": ((1, 1), (2, 2), True),
        "stage3.block1.shortcut": ((1, 1), (2, 2), True),
    }
    assert all(m.bias is not None for m in network.modules() if isinstance(m, nn.Conv2d))


def test_resnet_averages_over_eight_by_eight() -> None:
    assert build("resnet50-cifar").get_submodule("pool").kernel_size == (8, 8)


@pytest.mark.parametrize(("block_name", "stride"), [("stage1.block2", 1), ("stage2.block1", 2)])
def test_residual_block_is_conv_norm_relu_conv_norm_add_relu(block_name: str, stride: int) -> None:
    block = build("resnet20").eval().get_submodule(block_name)
    parameters = dict(block.named_parameters())
    for name, parameter in parameters.items():
        if name.startswith("norm"):
            nn.init.normal_(parameter)
    images = torch.randn(2, 16, 8, 8)

    def convolve(inputs: Tensor, name: str, stride: int = 1) -> Tensor:
        return F.conv2d(inputs, parameters[f"{name}.weight"], parameters[f"{name}.bias"], stride)

    def normalise(inputs: Tensor, name: str) -> Tensor:
        scale, shift = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        # Before training the running mean is 0 and the running variance 1.
        return inputs / (1 + 1e-3) ** 0.5 * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)

    padding = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
    residual = normalise(convolve(F.pad(images, padding), "conv1", stride), "norm1").relu()
    residual = normalise(convolve(F.pad(residual, (1, 1, 1, 1)), "conv2"), "norm2")
    around = images if stride == 1 else convolve(images, "shortcut", stride)
    torch.testing.assert_close(block(images), (around + residual).relu())
