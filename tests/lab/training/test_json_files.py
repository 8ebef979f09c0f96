"""JSON files: a number that is none, or infinite, is null, and NaN again where it is read."""

import json
import math
from pathlib import Path

import pytest
from run_problem import place_in, plain

from permtrain.lab.training.json_files import write_json, write_lines
from permtrain.lab.training.result import RunResult
from permtrain.lab.training.run import start_run
from permtrain.lab.training.run_folder import RunFolder


def strict(text: str) -> object:
    """What a reader makes of it that knows JSON and nothing else."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null(bad: float, tmp_path: Path) -> None:
    write_lines(tmp_path / "a", [{"epoch": 1, "loss": bad}, {"epoch": 2, "parts": (0.5, bad)}])
    lines = (tmp_path / "a").read_text().splitlines()
    assert [strict(line) for line in lines] == [
        {"epoch": 1, "loss": None},
        {"epoch": 2, "parts": [0.5, None]},
    ]
    write_json(tmp_path / "b", {"deep": {"er": [bad]}})
    assert strict((tmp_path / "b").read_text()) == {"deep": {"er": [None]}}


def test_a_run_whose_losses_are_no_numbers_leaves_json(tmp_path: Path) -> None:
    settings = plain(model="run_problem:NoNumberInUse", evaluate_at=(3,))
    result = start_run(settings, place_in(tmp_path))
    folder = RunFolder(result.folder)
    for line in folder.metrics_file.read_text().splitlines():
        assert strict(line)["test_loss"] is None  # type: ignore[index]
    assert strict(folder.result_file.read_text())
    assert all(math.isnan(metrics["test_loss"]) for metrics in folder.metrics())
    read = RunResult.read(folder)
    assert [math.isnan(each["test_loss"]) for each in read.evaluations] == [True]
