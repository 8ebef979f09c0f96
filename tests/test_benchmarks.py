"""The benchmark runs, and writes what it says; how fast anything is, is not asked here."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from permtrain.errors import SettingError

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "synchronize.py"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run at the smallest size writes."""
    output = tmp_path_factory.mktemp("benchmark") / "new folder" / "result.json"
    arguments = ["--quick", "--threads", "1", "--nets", "digits-cnn", "--output", str(output)]
    command = [sys.executable, "-W", "error", str(SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "digits-cnn" in done.stdout
    assert str(output) in done.stdout.replace("\n", "")
    written: dict[str, Any] = json.loads(output.read_text())
    return written


def assert_is_spread(spread: dict[str, float]) -> None:
    assert set(spread) == {"median", "lower_quartile", "upper_quartile"}
    assert 0 < spread["lower_quartile"] <= spread["median"] <= spread["upper_quartile"]


def test_settings_and_machine_are_written(result: dict[str, Any]) -> None:
    assert set(result) == {"settings", "machine", "synchronizations", "steps"}
    assert result["settings"]["rounds"] == 2
    machine = result["machine"]
    assert machine["threads"] == 1
    assert machine["cpu_model"]
    assert machine["cores"] >= 1
    assert machine["packages"]["torch"]
    assert {"commit", "begun", "load_average"} <= set(machine)


def test_a_synchronisation_is_measured_at_each_granularity(result: dict[str, Any]) -> None:
    rows = result["synchronizations"]
    assert [row["granularity"] for row in rows] == ["kernel", "neuron", "layer"]
    # 16C3, 32C3, 32C3 and 10: kernels of 9 weights but for the linear layer; filters; tensors.
    assert [row["num_vectors"] for row in rows] == [16 + 16 * 32 + 32 * 32 + 10, 90, 4]
    for row in rows:
        assert row["net"] == "digits-cnn"
        assert row["num_weights"] == 15_248
        assert set(row["ratios"]) == {"argsort+scatter", "argsort of argsort+gather"}
        assert set(row["seconds"]) == {"ours", *row["ratios"]}
        assert all(len(seconds) == 2 for seconds in row["seconds"].values())
        for spread in (row["millions_of_weights_per_second"], *row["ratios"].values()):
            assert_is_spread(spread)


def test_training_steps_are_measured_by_each_method(result: dict[str, Any]) -> None:
    rows = result["steps"]
    assert [(row["method"], row["block_steps"]) for row in rows] == [
        ("plain Adam", 20),
        ("LaPerm k=20, neuron", 20),
        ("LaPerm k=1, neuron", 4),
        ("index k=1, neuron", 4),
        ("index k=1, layer", 4),
    ]
    for row in rows:
        assert (row["net"], row["batch_size"]) == ("digits-cnn", 50)
        assert len(row["block_milliseconds_per_step"]) == 2
        assert_is_spread(row["milliseconds_per_step"])
        assert_is_spread(row["ratio_to_plain"])
    assert rows[0]["ratio_to_plain"]["median"] == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"repeats": 0}, "repeats is 0; allowed: 1 or more"),
        ({"threads": 0}, "threads is 0; allowed: 1 or more"),
        ({"nets": ("conv5",)}, "nets has 'conv5'; allowed: logistic,"),
    ],
)
def test_bad_settings_are_refused(
    setting: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    settings_class = importlib.import_module("synchronize").BenchmarkSettings
    with pytest.raises(SettingError, match=message):
        settings_class(**setting)


def test_only_a_full_run_replaces_the_result_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    settings_class = importlib.import_module("synchronize").BenchmarkSettings
    expected = SCRIPT.parents[1] / "results" / "benchmarks" / "synchronize.json"
    assert settings_class().result_file == expected
    assert settings_class(quick=True).result_file is None
    assert settings_class(nets=("conv4",)).result_file is None
    assert settings_class(nets=("conv4",), output=Path("own.json")).result_file == Path("own.json")


def test_looking_on_is_measured_beside_a_synchronization(monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    travel = importlib.import_module("travel")
    travel.run(travel.TravelSettings(nets=("digits-cnn",), rounds=2))
    assert capsys.readouterr().out.count("digits-cnn") == 2
    seconds = travel.measure("digits-cnn", "index", 3)
    assert {name: len(each) for name, each in seconds.items()} == {"travel": 3, "synchronize": 3}
    with pytest.raises(SettingError, match="rounds is 0; allowed: 1 or more"):
        travel.TravelSettings(rounds=0)


def test_the_training_loop_is_measured(tmp_path: Path) -> None:
    output = tmp_path / "loop.json"
    script = SCRIPT.with_name("training_loop.py")
    arguments = ["--quick", "--nets", "logistic", "--output", str(output)]
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = json.loads(output.read_text())
    assert set(written) == {"settings", "machine", "loops", "options", "memory"}
    (loop,) = written["loops"]
    assert (loop["net"], loop["batch_size"]) == ("logistic", 50)
    assert loop["share_outside"]["median"] < 1
    ways = [row["way"] for row in written["options"]]
    assert ways == ["contiguous float32", "channels last", "bfloat16"]
    assert [row["way"] for row in written["memory"]] == ["freed memory given back", "kept"]
    for row in [*written["options"], *written["memory"]]:
        assert_is_spread(row["speed_up"])


def test_an_interpreter_without_tensorflow_is_refused(tmp_path: Path) -> None:
    script = SCRIPT.with_name("keras_comparison.py")
    command = [sys.executable, str(script), "--keras-python", sys.executable, "--nets", "conv7"]
    output = tmp_path / "keras.json"
    done = subprocess.run([*command, "--output", str(output)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "allowed: an interpreter with tensorflow-cpu and scipy installed" in done.stderr
    assert not output.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_benchmark_of_a_gpu_refuses_a_machine_without_one(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    script = SCRIPT.with_name("gpu_arrange.py")
    command = [sys.executable, "-W", "error", str(script), "--quick", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: no CUDA device is to be seen; this benchmark needs one\n"
    assert not output.exists()
