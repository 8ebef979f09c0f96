"""The registry: lazy, complete, and clear about what it was given."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from permtrain.errors import SettingError
from permtrain.lab.models.registry import NETWORKS, build_network

OWN_MODULE = """
from torch import nn

def both(image_shape, num_classes):
    return nn.Linear(image_shape[1], num_classes)

def keyword_only(*, num_classes):
    return nn.Linear(3, num_classes)

def neither():
    return nn.Linear(3, 4)

def anything(**settings):
    return nn.Linear(len(settings), settings["num_classes"])

def other_defaults(width=7):
    return nn.Linear(width, 2)

def needs_more(image_shape, width):
    return nn.Linear(width, 2)

def positional_only(image_shape, /):
    return nn.Linear(3, 4)

def not_a_module(image_shape):
    return [1, 2]

def broken(image_shape):
    raise KeyError("the user's own mistake")

class Network(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.output = nn.Linear(3, num_classes)

built = nn.Linear(3, 4)
number = 5
"""


@pytest.fixture
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with the user's module in it, forgotten again after the test."""
    (tmp_path / "own_networks.py").write_text(OWN_MODULE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def refusal(path: str) -> str:
    with pytest.raises(SettingError) as caught:
        build_network(path, (1, 28, 28), 10)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_importing_the_registry_does_not_import_torch() -> None:
    code = "import sys, permtrain.lab.models.registry; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "False"


def test_every_entry_has_its_own_name_builder_and_one_line_of_description() -> None:
    for name, entry in NETWORKS.items():
        assert entry.name == name
        assert entry.description
        assert "\n" not in entry.description
    assert len({entry.builder for entry in NETWORKS.values()}) == len(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_builder_defaults_are_the_entrys_published_shape(name: str) -> None:
    module_name, _, function_name = NETWORKS[name].builder.partition(":")
    builder = getattr(importlib.import_module(module_name), function_name)
    image_shape, num_classes = builder.__defaults__
    assert image_shape == NETWORKS[name].image_shape
    assert num_classes == (1000 if name == "resnet34" else 10)


def test_unknown_name_lists_what_exists_and_suggests_the_closest() -> None:
    message = refusal("lenet-5")
    assert message.startswith("no network is called 'lenet-5'; did you mean 'lenet5'? there are ")
    assert ", ".join(NETWORKS) in message
    assert message.endswith("one of your own is given as module:function")


def test_unknown_name_far_from_all_gets_no_suggestion() -> None:
    assert refusal("transformer").startswith("no network is called 'transformer'; there are ")


@pytest.mark.parametrize(
    ("function", "in_features", "out_features"),
    [
        ("both", 28, 10),
        ("keyword_only", 3, 10),
        ("neither", 3, 4),
        ("anything", 2, 10),
        ("other_defaults", 7, 2),
    ],
)
def test_own_function_gets_the_arguments_that_it_accepts(
    own_directory: Path, function: str, in_features: int, out_features: int
) -> None:
    network = build_network(f"own_networks:{function}", (1, 28, 28), 10)
    assert isinstance(network, nn.Linear)
    assert (network.in_features, network.out_features) == (in_features, out_features)


def test_own_class_builds_like_a_function(own_directory: Path) -> None:
    network = build_network("own_networks:Network", (1, 28, 28), 6)
    assert network.output.out_features == 6


def test_own_module_may_stand_in_a_package(own_directory: Path) -> None:
    (own_directory / "own_package").mkdir()
    (own_directory / "own_package" / "deep.py").write_text(OWN_MODULE)
    assert isinstance(build_network("own_package.deep:both", (1, 28, 28), 10), nn.Linear)


def test_own_functions_own_error_is_passed_on(own_directory: Path) -> None:
    with pytest.raises(KeyError, match="the user's own mistake"):
        build_network("own_networks:broken", (1, 28, 28), 10)


@pytest.mark.parametrize("path", [":both", "own_networks:", "a:b:c", "dir/own_networks:both", ":"])
def test_path_that_is_not_module_and_function_is_refused(path: str) -> None:
    assert refusal(path) == (
        f"network {path!r}: must be module:function, as in my_package.networks:build"
    )


def test_module_that_does_not_exist_is_named(own_directory: Path) -> None:
    assert refusal("own_missing:both") == (
        "network 'own_missing:both': cannot import 'own_missing': "
        "ModuleNotFoundError: No module named 'own_missing'"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 +", "SyntaxError: invalid syntax (own_broken.py, line 1)"),
        ("raise RuntimeError('first\\nsecond')", "RuntimeError: first second"),
        ("import sys; sys.exit('no arguments')", "SystemExit: no arguments"),
    ],
)
def test_module_that_fails_on_import_is_refused_in_one_line(
    own_directory: Path, text: str, reason: str
) -> None:
    (own_directory / "own_broken.py").write_text(text)
    assert refusal("own_broken:both") == (
        f"network 'own_broken:both': cannot import 'own_broken': {reason}"
    )


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("absent", "module 'own_networks' has no 'absent'"),
        ("number", "is of type int, must be a function that returns a torch.nn.Module"),
        ("built", "is of type Linear, must be a function that returns a torch.nn.Module"),
        ("not_a_module", "returned type list, must return a torch.nn.Module"),
        (
            "needs_more",
            "missing a required argument: 'width'; "
            "only image_shape and num_classes are given, by keyword",
        ),
    ],
)
def test_object_that_does_not_build_a_network_is_refused(
    own_directory: Path, function: str, reason: str
) -> None:
    assert refusal(f"own_networks:{function}") == f"network 'own_networks:{function}': {reason}"


def test_function_that_takes_positions_only_is_refused(own_directory: Path) -> None:
    message = refusal("own_networks:positional_only")
    assert "image_shape" in message
    assert message.endswith("only image_shape and num_classes are given, by keyword")
