"""How many threads a run takes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_problem import tiny
from torch import nn

from permtrain.lab.models.registry import build_network
from permtrain.lab.training.device import is_small, multiply_adds, take_threads
from permtrain.lab.training.run import load_run, start_run
from permtrain.lab.training.settings import Place
from permtrain.lab.training.trainer import Trainer

HERE = Place(device="cpu")


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("logistic", 784 * 10),
        ("fc500-300", 784 * 500 + 500 * 300 + 300 * 10),
        # 5x5 kernels at 28x28 and 10x10 places, then three linear layers.
        ("lenet5", 28 * 28 * 6 * 25 + 100 * 16 * 6 * 25 + 400 * 120 + 120 * 84 + 84 * 10),
    ],
)
def test_multiply_adds_of_networks(name: str, expected: int) -> None:
    assert multiply_adds(build_network(name, (1, 28, 28), 10), (1, 28, 28)) == expected


def test_counting_leaves_no_trace() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert multiply_adds(model, (1, 2, 2)) == 8
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_network_that_fails_is_not_small() -> None:
    assert multiply_adds(nn.Linear(3, 2), (1, 8, 8)) is None
    assert not is_small(nn.Linear(3, 2), (1, 8, 8), 1)


def test_a_small_network_takes_one_thread_and_a_large_one_torchs_own() -> None:
    Trainer(tiny(), HERE)
    assert torch.get_num_threads() == 1
    Trainer(tiny(batch_size=80), HERE)  # 36 million multiply-adds
    assert torch.get_num_threads() == 3
    Trainer(tiny(), replace(HERE, threads=2))
    assert torch.get_num_threads() == 2
    Trainer(tiny(batch_size=80), HERE)
    assert torch.get_num_threads() == 3


def test_a_number_that_others_set_is_torchs_own_from_then_on() -> None:
    take_threads(1)
    torch.set_num_threads(2)
    take_threads(1)
    take_threads(None)
    assert torch.get_num_threads() == 2


def test_the_number_is_in_the_runs_record(tmp_path: Path) -> None:
    folder = start_run(tiny(epochs=1), Place(tmp_path, device="cpu")).folder
    assert json.loads((folder / "place.json").read_text())["threads"] == 1
    assert json.loads((folder / "environment.json").read_text())["threads"] == 1
    torch.set_num_threads(3)
    load_run(folder, HERE)
    assert torch.get_num_threads() == 1


def test_a_run_without_the_flag_is_that_with_one_thread(tmp_path: Path) -> None:
    chosen, given = (
        start_run(tiny(epochs=1), Place(tmp_path / name, device="cpu", threads=threads)).folder
        for name, threads in (("chosen", None), ("given", 1))
    )
    files = [(folder / "weights.safetensors").read_bytes() for folder in (chosen, given)]
    assert files[0] == files[1]
