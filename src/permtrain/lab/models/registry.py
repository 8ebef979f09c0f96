"""Every network by its name, and networks of the user's own by `module:function`.

This module does not import torch, so that the command line can list the networks at once.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from permtrain.errors import SettingError
from permtrain.lab.models.own_code import importable_from

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NetworkEntry:
    """What is known of a network without building it.

    Args:
        name: name on the command line.
        builder: `module:function`, called with `image_shape` and `num_classes`.
        image_shape: channels, height, width of the published experiments; of networks for text 1,
            1 and the context.
        num_weights: entries of the parameters with two or more dimensions, for `image_shape` and
            ten classes: what is permuted by default.
        num_parameters: entries of all parameters, the same way.
        description: one line, with the paper.
    """

    name: str
    builder: str
    image_shape: tuple[int, int, int]
    num_weights: int
    num_parameters: int
    description: str


_MNIST = (1, 28, 28)
_CIFAR = (3, 32, 32)

_ENTRIES = (
    NetworkEntry(
        name="logistic",
        builder="permtrain.lab.models.mlp:logistic",
        image_shape=_MNIST,
        num_weights=7_840,
        num_parameters=7_850,
        description="784-10 (Permute to Train 5.1.1)",
    ),
    NetworkEntry(
        name="fc500-300",
        builder="permtrain.lab.models.mlp:fc500_300",
        image_shape=_MNIST,
        num_weights=545_000,
        num_parameters=545_810,
        description="784-500-300-10, ReLU (Permute to Train 5.1.2, 5.2.3)",
    ),
    NetworkEntry(
        name="fc100-100",
        builder="permtrain.lab.models.mlp:fc100_100",
        image_shape=_MNIST,
        num_weights=89_400,
        num_parameters=89_610,
        description="784-100-100-10, ReLU (Train by Reconnect, ranking distance)",
    ),
    NetworkEntry(
        name="fc100-100-dropout",
        builder="permtrain.lab.models.mlp:fc100_100_dropout",
        image_shape=_MNIST,
        num_weights=89_400,
        num_parameters=89_610,
        description="fc100-100 with dropout .4 and .3 (Train by Reconnect, ranking distance)",
    ),
    NetworkEntry(
        name="f1",
        builder="permtrain.lab.models.mlp:f1",
        image_shape=_MNIST,
        num_weights=7_840,
        num_parameters=7_840,
        description="784-10, no bias, weight agnostic (Train by Reconnect 5.5)",
    ),
    NetworkEntry(
        name="f2",
        builder="permtrain.lab.models.mlp:f2",
        image_shape=_MNIST,
        num_weights=109_184,
        num_parameters=109_184,
        description="784-128-64-10, ReLU, no bias, weight agnostic (Train by Reconnect 5.5)",
    ),
    NetworkEntry(
        name="lenet5",
        builder="permtrain.lab.models.lenet:lenet5",
        image_shape=_MNIST,
        num_weights=61_470,
        num_parameters=61_706,
        description="LeNet-5 with ReLU and max pooling (Index optimizer 5.1)",
    ),
    NetworkEntry(
        name="conv3-16",
        builder="permtrain.lab.models.tiny:conv3_16",
        image_shape=_MNIST,
        num_weights=34_192,
        num_parameters=34_192,
        description="three convolutions, no biases, for small files (ours)",
    ),
    NetworkEntry(
        name="conv3-32",
        builder="permtrain.lab.models.tiny:conv3_32",
        image_shape=_MNIST,
        num_weights=130_848,
        num_parameters=130_848,
        description="the same, twice as wide (ours)",
    ),
    NetworkEntry(
        name="conv7",
        builder="permtrain.lab.models.conv:conv7",
        image_shape=_MNIST,
        num_weights=325_152,
        num_parameters=325_578,
        description="seven strided convolutions, dropout, no batch norm (Train by Reconnect 5.1)",
    ),
    NetworkEntry(
        name="conv2",
        builder="permtrain.lab.models.conv:conv2",
        image_shape=_CIFAR,
        num_weights=4_300_992,
        num_parameters=4_302_922,
        description="2x64C3, pool, 256, 256, 10, batch norm, dropout (Train by Reconnect 5.2)",
    ),
    NetworkEntry(
        name="conv4",
        builder="permtrain.lab.models.conv:conv4",
        image_shape=_CIFAR,
        num_weights=2_425_024,
        num_parameters=2_427_722,
        description="2x64C3, 2x128C3, 256, 256, 10, batch norm, dropout (Train by Reconnect 5.2)",
    ),
    NetworkEntry(
        name="conv13",
        builder="permtrain.lab.models.conv:conv13",
        image_shape=_CIFAR,
        num_weights=14_977_728,
        num_parameters=14_991_946,
        description="VGG-16-like, batch norm, dropout (Train by Reconnect 5.2)",
    ),
    NetworkEntry(
        name="vgg7",
        builder="permtrain.lab.models.vgg:vgg7",
        image_shape=_CIFAR,
        num_weights=307_040,
        num_parameters=308_394,
        description="2x32C3, 2x64C3, 2x128C3, 10, batch norm (Permute to Train 5.2.2)",
    ),
    NetworkEntry(
        name="vgg7-dropout",
        builder="permtrain.lab.models.vgg:vgg7_dropout",
        image_shape=_CIFAR,
        num_weights=307_040,
        num_parameters=308_394,
        description="vgg7 with dropout .2, .3, .4 after the poolings (Permute to Train 5.2.2)",
    ),
    NetworkEntry(
        name="vgg16",
        builder="permtrain.lab.models.vgg:vgg16",
        image_shape=_CIFAR,
        num_weights=14_715_584,
        num_parameters=14_728_266,
        description="VGG-16 for CIFAR, batch norm (Index optimizer 5.1)",
    ),
    NetworkEntry(
        name="resnet20",
        builder="permtrain.lab.models.resnet:resnet20",
        image_shape=_CIFAR,
        num_weights=270_896,
        num_parameters=273_066,
        description="CIFAR ResNet, depth 6n+2 with n = 3 (Permute to Train 5.2.1)",
    ),
    NetworkEntry(
        name="resnet50-cifar",
        builder="permtrain.lab.models.resnet:resnet50_cifar",
        image_shape=_CIFAR,
        num_weights=754_736,
        num_parameters=760_266,
        description="CIFAR ResNet, depth 6n+2 with n = 8, not ImageNet's (Train by Reconnect 5.4)",
    ),
    NetworkEntry(
        name="resnet34",
        builder="permtrain.lab.models.resnet:resnet34",
        image_shape=(3, 224, 224),
        num_weights=21_272_768,
        num_parameters=21_289_802,
        description="ResNet-34 for ImageNet, 21.8 million with 1000 classes (Index optimizer 5.1)",
    ),
    NetworkEntry(
        name="digits-cnn",
        builder="permtrain.lab.models.digits:digits_cnn",
        image_shape=(1, 8, 8),
        num_weights=15_248,
        num_parameters=15_338,
        description="16C3, 32C3, pool, 32C3, pool, 10 for 8x8 digits (ours, no paper)",
    ),
    NetworkEntry(
        name="vit-tiny",
        builder="permtrain.lab.models.transformer:vit_tiny",
        image_shape=_MNIST,
        num_weights=134_848,
        num_parameters=139_018,
        description="vision transformer, 4 x 4 patches, 4 blocks of width 64 (ours)",
    ),
    NetworkEntry(
        name="gpt-char",
        builder="permtrain.lab.models.transformer:gpt_char",
        image_shape=(1, 1, 64),
        num_weights=333_696,
        num_parameters=343_776,
        description="character-level GPT for text, 3 blocks of width 96 (ours)",
    ),
)

NETWORKS: dict[str, NetworkEntry] = {entry.name: entry for entry in _ENTRIES}


def is_own_code(name_or_path: str) -> bool:
    """Whether a network is named as `module:function`, so that building it runs code of the user's.

    Example:
        >>> is_own_code("lenet5"), is_own_code("my_package.networks:build")
        (False, True)
    """
    return ":" in name_or_path


def build_network(
    name_or_path: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    import_from: Sequence[Path] = (),
) -> nn.Module:
    """Build a network by its name, or by `module:function` where the user's own code makes it.

    A function of the user's own is imported from the current directory (`own_code`), and is
    given `image_shape` and `num_classes` by keyword, each only if it accepts it.

    Args:
        name_or_path: a key of `NETWORKS`, or `module:function`; the module may have dots.
        image_shape: channels, height, width of one image; each network states its smallest.
        num_classes: number of outputs, at least 1.
        import_from: folders that a module of the user's own is looked for in first; empty for the
            current directory.

    Randomness: the initial weights are drawn from torch's global generator, as its constructors do.

    Raises:
        SettingError: no network of that name; an image too small for it; a module that cannot be
            imported, a function that it does not have or that needs other arguments, or a result
            that is not an `nn.Module`. What the user's function itself raises is passed on.

    Example:
        >>> build_network("logistic", image_shape=(1, 8, 8), num_classes=10).output
        Linear(in_features=64, out_features=10, bias=True)
    """
    if is_own_code(name_or_path):
        return _build_own(name_or_path, image_shape, num_classes, import_from or [Path.cwd()])
    if name_or_path not in NETWORKS:
        raise SettingError(_unknown_name(name_or_path))
    module_name, _, function_name = NETWORKS[name_or_path].builder.partition(":")
    builder = getattr(importlib.import_module(module_name), function_name)
    network: nn.Module = builder(image_shape=image_shape, num_classes=num_classes)
    return network


def _unknown_name(name: str) -> str:
    close = difflib.get_close_matches(name, NETWORKS, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return (
        f"no network is called {name!r}; {hint}there are {', '.join(NETWORKS)}; "
        "one of your own is given as module:function"
    )


def _build_own(
    path: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    import_from: Sequence[Path],
) -> nn.Module:
    from torch import nn

    with importable_from(import_from) as import_own:
        function = _import_object(path, import_own)
        # A network that is already built is callable too, but calling it would run it.
        if not callable(function) or isinstance(function, nn.Module):
            raise SettingError(
                f"network {path!r}: is of type {type(function).__name__}, "
                "must be a function that returns a torch.nn.Module"
            )
        offered = {"image_shape": image_shape, "num_classes": num_classes}
        network = function(**_accepted_arguments(path, function, offered))
    if not isinstance(network, nn.Module):
        raise SettingError(
            f"network {path!r}: returned type {type(network).__name__}, "
            "must return a torch.nn.Module"
        )
    return network


def _import_object(path: str, import_own: Callable[[str], ModuleType]) -> object:
    module_name, _, object_name = path.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), object_name)):
        raise SettingError(
            f"network {path!r}: must be module:function, as in my_package.networks:build"
        )
    try:
        module = import_own(module_name)
    except (Exception, SystemExit) as error:  # a module of the user's own may fail in any way
        reason = " ".join(str(error).split())
        raise SettingError(
            f"network {path!r}: cannot import {module_name!r}: {type(error).__name__}: {reason}"
        ) from error
    if not hasattr(module, object_name):
        raise SettingError(f"network {path!r}: module {module_name!r} has no {object_name!r}")
    found: object = getattr(module, object_name)
    return found


def _accepted_arguments(
    path: str, function: Callable[..., object], offered: dict[str, Any]
) -> dict[str, Any]:
    """The part of `offered` that the function takes by keyword."""
    try:
        signature = inspect.signature(function)
        kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
        if inspect.Parameter.VAR_KEYWORD in kinds.values():
            accepted = offered
        else:
            by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
            accepted = {name: offered[name] for name in offered if kinds.get(name) in by_keyword}
        signature.bind(**accepted)
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"network {path!r}: {error}; only image_shape and num_classes are given, by keyword"
        ) from error
    return accepted
