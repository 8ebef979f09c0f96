"""Runs whose weights move between layers, from the command line: resumed, verified, drawn."""

from pathlib import Path

import pytest
from run_problem import interrupted_run, outcome, place_in, tiny
from safetensors.torch import load_file, save_file

from permtrain.core.cut import Cut
from permtrain.lab.cli.main import main
from permtrain.lab.training.run import start_run
from permtrain.lab.training.settings import PermutationSettings, Settings

METHODS = {
    "laperm": PermutationSettings(method="laperm", sync_period=4, granularity="across"),
    "index": PermutationSettings(method="index", granularity="across"),
}


def settings_of(method: str) -> Settings:
    return tiny(model="fc100-100", permutation=METHODS[method])


@pytest.fixture(scope="module", params=METHODS)
def complete(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return start_run(settings_of(request.param), place_in(folder)).folder


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_ends_as_one_that_was_not_interrupted(method: str, tmp_path: Path) -> None:
    whole = start_run(settings_of(method), place_in(tmp_path / "whole"))
    folder = interrupted_run(settings_of(method), place_in(tmp_path / "cut"), step=7)
    assert main(["resume", str(folder)]) == 0
    assert outcome(folder) == outcome(whole.folder)
    assert whole.travel is not None
    assert 0 < whole.travel.changed_layer_fraction < 1


def test_verify_checks_all_layers_together_in_units(
    complete: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(complete)]) == 0
    assert "all 1 weight vectors hold exactly their initial values" in capsys.readouterr().out
    path = complete / "weights.safetensors"
    weights, kept = load_file(path), path.read_bytes()
    names = ["fc1.weight", "fc2.weight", "output.weight"]
    one, _, last = names
    cuts = [Cut("across").of(tuple(weights[name].shape)) for name in names]
    assert [cut.exponent for cut in cuts] == [-2, -3, -3]  # 64, 100 and 100 inputs
    crossed = {name: weight.clone() for name, weight in weights.items()}
    crossed[one][0, 0], crossed[last][0, 0] = 2 * weights[last][0, 0], weights[one][0, 0] / 2
    save_file(crossed, path)
    assert main(["verify", str(complete)]) == 0
    crossed[one][0, 0], crossed[last][0, 0] = weights[last][0, 0], weights[one][0, 0]
    save_file(crossed, path)  # the same two numbers, in no layer's units
    assert main(["verify", str(complete)]) == 1
    assert f"hold other values: {', '.join(names)}" in capsys.readouterr().err
    path.write_bytes(kept)


def test_pictures_of_one_vector_are_refused_by_name(
    complete: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "x.png")
    for kind in ("cycles", "arrows"):
        assert main(["plot", kind, str(complete), "--output", output]) == 1
        said = capsys.readouterr().err
        assert "fc2.weight: its weights exchange values with other layers" in said
    assert main(["plot", "heat-map", str(complete), "--output", output]) == 0
