"""Every command, in a temporary folder."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_problem import interrupted_run, outcome, place_in, plain, tiny

from permtrain.core.profile import profile_of
from permtrain.initial.rules import RULES
from permtrain.lab.cli.common_options import COMMON
from permtrain.lab.cli.main import COMMANDS, _with_flags, main
from permtrain.lab.cli.train import _baseline_of
from permtrain.lab.data.registry import DATASETS
from permtrain.lab.models.registry import NETWORKS
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.training.birth import newborn_network
from permtrain.lab.training.run import start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import (
    METHODS,
    PermutationSettings,
    Place,
    Settings,
    SGPermSettings,
    flat,
    to_dict,
)

PLACE = ["--threads", "1", "--device", "cpu"]
TINY = ["--epochs", "3", "--train-images", "130", "--sync-period", "4", *PLACE]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return start_run(tiny(), place_in(tmp_path_factory.mktemp("complete"))).folder


def train(runs: Path, *flags: str) -> int:
    return main(["train", *TINY, "--runs-folder", str(runs), *flags])


def test_train_says_what_it_did(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(runs) == 0
    said = capsys.readouterr()
    (folder,) = runs.iterdir()
    lines = said.out.splitlines()
    assert [line.split("  test")[0] for line in lines[:3]] == [
        f"laperm  epoch {epoch}/3" for epoch in (1, 2, 3)
    ]
    assert lines[3].strip() == "digits-cnn on digits, 3 epochs"
    assert "proof: all 90 weight vectors hold exactly their initial values" in lines
    assert f"folder: {folder}" in lines
    assert f"next:   permtrain verify {folder}" in lines
    (row,) = [line for line in lines if line.startswith("│ laperm")]
    accuracy = outcome(folder)[2]["test_accuracy"]
    assert f"{accuracy:.2%}" in row
    assert said.err == ""


def test_flags_are_settings(runs: Path) -> None:
    flags = (
        "--method index --granularity kernel --fallback layer --permute-biases --inner SGD "
        "--inner-options momentum 0.5 nesterov 1 --lr 0.01 --lr-milestones 1 2 --lr-factors .5 .1 "
        "--sparsity 0.25 --rotation-degrees 5 --horizontal-flip --validation-fraction .5 --seed 4"
    )
    assert train(runs, *flags.split()) == 0
    (folder,) = runs.iterdir()
    settings = RunFolder(folder).settings()
    assert settings.permutation.method == "index"
    assert (settings.permutation.granularity, settings.permutation.fallback) == ("kernel", "layer")
    assert settings.permutation.permute_biases
    assert settings.optimizer.inner_options == {"momentum": 0.5, "nesterov": 1.0}
    assert settings.optimizer.lr_milestones == (1, 2)
    assert settings.optimizer.lr_factors == (0.5, 0.1)
    assert settings.initial.sparsity == 0.25
    assert settings.augmentation.horizontal_flip
    assert (settings.data.validation_fraction, settings.seed) == (0.5, 4)


@pytest.mark.parametrize(
    ("flags", "rows"),
    [
        ([], ["laperm", "plain"]),
        (["--sparsity", "0.5"], ["laperm", "plain-frozen-zeros"]),
    ],
)
def test_the_baseline_is_the_same_net_without_permuting(
    flags: list[str], rows: list[str], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(runs, "--baseline", *flags) == 0
    said = capsys.readouterr().out
    assert [line.split()[1] for line in said.splitlines() if line.startswith("│")] == rows
    settings = [RunFolder(path).settings() for path in sorted(runs.iterdir())]
    assert [each.permutation.method for each in settings] == rows
    assert settings[0].initial == settings[1].initial


def test_the_baseline_of_sgperm_with_settings_of_its_own() -> None:
    settings = Settings(
        permutation=PermutationSettings(method="sgperm"), sgperm=SGPermSettings(search="any")
    )
    assert _baseline_of(settings) == Settings(permutation=PermutationSettings(method="plain"))


def test_the_baseline_of_the_plain_method_is_itself(runs: Path) -> None:
    flags = ["--epochs", "1", "--train-images", "50", "--method", "plain", "--baseline", *PLACE]
    assert main(["train", *flags, "--runs-folder", str(runs)]) == 0
    assert len(list(runs.iterdir())) == 1


def test_again_is_a_numbered_copy_and_an_unfinished_run_is_to_be_resumed(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = interrupted_run(tiny(), place_in(runs), 7)
    assert train(runs) == 1
    said = capsys.readouterr().err
    assert said == (
        f"error: {folder} was begun and is not complete; go on with: permtrain resume {folder}; "
        "or remove it\n"
    )
    assert main(["resume", str(folder), *PLACE]) == 0
    assert train(runs) == 0
    assert sorted(path.name for path in runs.iterdir()) == [folder.name, f"{folder.name}-2"]
    assert outcome(folder) == outcome(runs / f"{folder.name}-2")


def test_suggested_commands_can_be_typed_whatever_the_folders_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "my runs; $HOME"
    folder = interrupted_run(tiny(), place_in(runs), 7)
    suggested = []
    assert train(runs) == 1
    suggested += [capsys.readouterr().err.partition("go on with: ")[2].partition("; or")[0]]
    assert main(["inspect", str(folder)]) == 1
    suggested += [capsys.readouterr().err.partition("(")[2].partition(" writes it)")[0]]
    assert main(["resume", str(folder), *PLACE]) == 0
    said = capsys.readouterr().out
    suggested += [said.partition("report: ")[2].splitlines()[0]]
    suggested += [said.partition("next:   ")[2].splitlines()[0]]
    assert [shlex.split(each) for each in suggested] == [
        ["permtrain", command, str(folder)] for command in ("resume", "pack", "report", "verify")
    ]


def test_flags_that_equal_a_default_hold_against_what_a_run_remembers(runs: Path) -> None:
    pytest.importorskip("tensorboard")
    assert (
        train(runs, "--keep-checkpoints", "5", "--tensorboard", "--memory-format=contiguous") == 0
    )
    (folder,) = runs.iterdir()
    remembered = RunFolder(folder)
    given = ["--no-tensorboard", "--keep-checkpoints=2", "--memory_format", "auto"]
    places = []

    def place_of(run: Path, place: Place) -> None:
        places.append(remembered.place(place))

    parsed = _with_flags(partial(place_of, folder, place=Place()), given)
    parsed()
    _with_flags(partial(place_of, folder, place=Place()), [])()
    seen = [(each.keep_checkpoints, each.tensorboard, each.memory_format) for each in places]
    assert seen == [(2, False, "auto"), (5, True, "contiguous")]
    assert places[0].to_dict().keys() == Place().to_dict().keys()
    events = sorted((folder / "tensorboard").iterdir())
    flags = ["--checkpoint", "last", "--no-tensorboard", "--keep-checkpoints", "1"]
    assert main(["resume", str(folder), *flags]) == 0
    assert sorted((folder / "tensorboard").iterdir()) == events


def test_compile_without_a_compiler_is_refused_before_a_folder_is_made(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compiled(function):
        def fails(*_):
            raise OSError("no C++ compiler")

        return fails

    monkeypatch.setattr(torch, "compile", compiled)
    assert train(runs, "--compile") == 1
    assert capsys.readouterr().err == (
        "error: compile is True, and torch.compile does not work here (OSError: no C++ compiler); "
        "allowed here: --no-compile\n"
    )
    assert not runs.exists()


def test_resume_from_a_checkpoint_file(complete: Path, tmp_path: Path, capsys) -> None:
    place = place_in(tmp_path, checkpoint_steps=3, keep_checkpoints=9)
    folder = start_run(tiny(), place).folder
    checkpoint = folder / "checkpoints" / "step-000000006.pt"
    assert main(["resume", str(folder), "--checkpoint", str(checkpoint), *PLACE]) == 0
    assert "laperm  epoch 2/3" in capsys.readouterr().out
    assert outcome(folder) == outcome(complete)


@pytest.mark.parametrize("name", ["best", "last"])
def test_resume_from_a_checkpoint_by_name(name: str, complete: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(complete, folder)
    (folder / "weights.safetensors").write_bytes(b"")
    assert main(["resume", str(folder), "--checkpoint", name, *PLACE]) == 0
    assert outcome(folder) == outcome(complete)


def test_evaluate(complete: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(complete.rglob("*"))
    result, history = outcome(complete)[2], RunFolder(complete).metrics()
    assert main(["evaluate", str(complete), *PLACE]) == 0
    expected = f"test: accuracy {result['test_accuracy']:.2%}, loss {history[2]['test_loss']:.4f}\n"
    said, _, classes = capsys.readouterr().out.partition("\n\n")
    assert (f"{said}\n", classes.split()[0]) == (expected, "class")
    assert main(["evaluate", str(complete), "--checkpoint", "best", *PLACE]) == 0
    assert f"accuracy {result['best_test_accuracy']:.2%}" in capsys.readouterr().out
    file = str(complete / "checkpoints" / "step-000000010.pt")
    assert main(["evaluate", str(complete), "--checkpoint", file, *PLACE]) == 0
    assert f"loss {history[1]['test_loss']:.4f}" in capsys.readouterr().out
    assert sorted(complete.rglob("*")) == before


def test_verify_says_that_all_is_well(complete: Path, capsys) -> None:
    assert main(["verify", str(complete), *PLACE]) == 0
    moved = outcome(complete)[2]["travel"]["moved_fraction"]
    assert capsys.readouterr().out == (
        "all 90 weight vectors hold exactly their initial values\n"
        f"{moved:.1%} of the weights stand elsewhere than at first\n"
    )


def tampered(complete: Path, tmp_path: Path, change) -> str:
    state = torch.load(RunFolder(complete).last_checkpoint(), weights_only=True)
    change(state["trainer"])
    torch.save(state, tmp_path / "tampered.pt")
    return str(tmp_path / "tampered.pt")


def test_verify_names_the_vectors_that_differ(complete: Path, tmp_path: Path, capsys) -> None:
    def change(state):
        tensors = state["attached"]["tensors"]
        born = newborn_network(RunFolder(complete).settings(), (1, 8, 8), 10).state_dict()
        for name, saved in tensors.items():  # what the state leaves out, for it is drawn again
            tensors[name] = saved | {"profile": profile_of(born[name]), "born": None}
        tensors["conv2.weight"]["profile"][[4, 9], 0] -= 1
        tensors["output.weight"]["profile"][2, -1] += 1

    file = tampered(complete, tmp_path, change)
    assert main(["verify", str(complete), "--checkpoint", file, *PLACE]) == 1
    assert capsys.readouterr().err == (
        "error: 3 of 90 weight vectors hold other values: conv2.weight (2 of 32, first 4), "
        "output.weight (1 of 10, first 2)\n"
    )


def test_verify_refuses_weights_that_were_tampered_with(complete, tmp_path, capsys) -> None:
    def change(state):
        state["model"]["conv2.weight"][3, 0, 0, 0] += 1

    file = tampered(complete, tmp_path, change)
    assert main(["verify", str(complete), "--checkpoint", file, *PLACE]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: conv2.weight: weights are not those this state was saved with")
    assert said.count("\n") == 1


def test_verify_of_a_method_that_permutes_nothing(runs: Path, capsys) -> None:
    folder = start_run(plain(epochs=1), place_in(runs)).folder
    assert main(["verify", str(folder), *PLACE]) == 1
    expected = f"error: {folder} was trained by plain, which permutes nothing\n"
    assert capsys.readouterr().err == expected


def test_list_shows_everything_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    names = {line.split()[0] for line in said.splitlines() if line.startswith("  ")}
    assert names >= {*NETWORKS, *DATASETS, *METHODS, *RULES, "kernel", "neuron", "layer", "across"}
    assert said.count("(--") == 5


def test_recipes_lists_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    said = capsys.readouterr().out
    assert {line.partition(":")[0] for line in said.splitlines()} >= set(RECIPES)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help(command: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"] if command is None else [command, "--help"])
    assert done.value.code == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"usage: permtrain{'' if command is None else ' ' + command} ")
    assert said.err == ""
    if command is None:
        assert all(f"• {name} " in said.out for name in COMMANDS)


def flags_said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, set[str]]:
    """How many lines a help has, and which options."""
    with pytest.raises(SystemExit) as done:
        main([*arguments])
    assert done.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    flags = re.findall(r"^  --([a-z][a-z0-9-]*)", "\n".join(lines), re.MULTILINE)
    return len(lines), {flag.replace("-", "_") for flag in flags}


def test_help_of_train_shows_the_commonest_options_on_two_screens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    num_lines, shown = flags_said(capsys, "train", "--watched-steps", "3", "--help")
    assert num_lines <= 100
    assert shown == COMMON | {"baseline"}
    assert flags_said(capsys, "train", "-h") == (num_lines, shown)
    _, every = flags_said(capsys, "train", "--help-all")
    names = flat(to_dict(Settings())).keys() | vars(Place()).keys()
    without_value = {
        "layer_sparsity",
        "branches",
        "inner_options",
    }  # `flat` leaves empty groups out
    assert every == {name.rpartition(".")[2] for name in names} | without_value | {"baseline"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom permtrain.lab.cli.main import main\ntry:\n    main(['--help'])\n"
        "except SystemExit:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "permtrain.lab.cli.main" in loaded
    assert not loaded & {"torch", "datasets", "sklearn", "PIL", "pandas", "pyarrow"}


@pytest.mark.parametrize("command", [["list"], ["train", "--help"]])
def test_a_reader_that_has_seen_enough(command: list[str]) -> None:
    """As in: permtrain list | head -1."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "permtrain.lab.cli.main", *command],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writing)
    assert done.stderr == ""


def test_a_network_and_data_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_networks_of_test_main.py").write_text(
        "from torch import nn\n\n\n"
        "def build(image_shape, num_classes):\n"
        "    assert image_shape == (3, 6, 5)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(90, 8), nn.ReLU(),"
        " nn.Linear(8, num_classes))\n"
    )
    pixels = np.random.default_rng(0)
    for split, num in (("train", 6), ("test", 2)):
        for name in ("ant", "bee", "cow"):
            (tmp_path / "my [pets]" / split / name).mkdir(parents=True)
            for i in range(num):
                image = Image.fromarray(pixels.integers(0, 255, (6, 5, 3), dtype=np.uint8))
                image.save(tmp_path / "my [pets]" / split / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    flags = ["--model", "my_networks_of_test_main:build", "--data", "./my [pets]"]
    command = ["train", *flags, "--epochs", "2", "--batch-size", "5", "--sync-period", "3", *PLACE]
    assert main(command) == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("my [pets]-my_networks_of_test_main.build-laperm-")
    said = capsys.readouterr().out
    assert f"folder: {folder}" in said
    assert "my_networks_of_test_main:build on ./my [pets], 2 epochs" in " ".join(said.split())
    assert "all 11 weight vectors hold exactly" in said
    assert main(["verify", str(folder), *PLACE]) == 0
