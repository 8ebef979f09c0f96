"""A user's mistakes: one line, exit code not 0, nothing half written."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_problem import InterruptAt, place_in, tiny
from safetensors.torch import load_file, save_file

from permtrain.lab.cli.main import main
from permtrain.lab.training.run import start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Place
from permtrain.lab.training.stopping import Interrupted

PLACE = ["--threads", "1", "--device", "cpu"]


def refusal(capsys: pytest.CaptureFixture[str], command: list[str]) -> str:
    """What is said of a command that is refused: exactly one line."""
    capsys.readouterr()
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.endswith("\n")
    assert said.err.count("\n") == 1
    assert "proof" not in said.out
    return said.err.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--model lenet", "no network is called 'lenet'; did you mean 'lenet5'? there are logis"),
        ("--model nothing_here:build", "network 'nothing_here:build': cannot import 'nothing_her"),
        ("--model json:nothing", "network 'json:nothing': module 'json' has no 'nothing'"),
        ("--model lenet5", "lenet5: image_shape is (1, 8, 8), height and width must be at least"),
        ("--data mnits", "there is no data set named 'mnits' (did you mean mnist?); known: digits"),
        ("--data ./nothing --image-size 8", "there is no folder nothing; expected one with train"),
        ("--data ./nothing", "there is no folder nothing; expected one with train.parquet and"),
        ("--data empty/", "empty is empty; expected train.parquet and test.parquet, or"),
        ("--data mnist --data-folder empty", "mnist: the data folder empty is empty; expected"),
        ("--rule he", "rule is 'he'; allowed: kaiming_uniform, kaiming_normal, "),
        ("--inner Adamm", "inner is 'Adamm'; allowed: ASGD, Adadelta, "),
        ("--inner-options momentm .9", "inner_options has 'momentm'; allowed with Adam: betas, "),
        ("--sync-period 0", "sync_period is 0; allowed: 1 or more"),
        ("--sync-period -3", "sync_period is -3; allowed: 1 or more"),
        ("--method plain --sync-period 3", "sync_period is 3; allowed: nothing with method plain"),
        ("--granularity kernel", "output.weight: granularity is 'kernel', but a kernel of a tenso"),
        ("--epochs 0", "epochs is 0; allowed: 1 or more"),
        ("--batch-size 0", "batch_size is 0; allowed: 1 or more"),
        ("--lr 0", "lr is 0.0; allowed: above 0"),
        ("--sparsity 1", "sparsity is 1.0; allowed: 0 to 1, without 1"),
        ("--rule constant", "value is None; allowed: a finite number, with rule 'constant'"),
        ("--first-layer-sparsity-cap 2", "first_layer_sparsity_cap is 2.0; allowed: 0 to 1"),
        ("--validation-fraction 1", "validation_fraction is 1.0; allowed: 0 to 1, without 1"),
        ("--rotation-degrees 200", "rotation_degrees is 200.0; allowed: 0 to 180"),
        ("--threads 100000", "threads is 100000; allowed: 1 to 1,024"),
        ("--keep-checkpoints 0", "keep_checkpoints is 0; allowed: 1 or more"),
        ("--device gpu", "device is 'gpu'; allowed here: cpu; for a new run auto"),
    ],
)
def test_settings_are_refused_before_any_folder_is_made(
    flags: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert refusal(capsys, ["train", *flags.split()]).startswith(message)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


@pytest.mark.parametrize(
    "flags",
    ["--epoks 3", "--method lapern", "--epochs many", "--granularity neurn", "--autocast bf16"],
)
@pytest.mark.parametrize("command", ["train"])
def test_misspelt_flags(command: str, flags: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main([command, *flags.split()])
    assert done.value.code == 2
    said = capsys.readouterr()
    assert flags.split()[0] in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_flag_is_told_the_right_one(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--epoks", "3"])
    assert "--epochs" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["trian"])
    assert "train" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["resume", "evaluate", "verify"])
def test_a_folder_that_is_no_run(command: str, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "none"
    said = refusal(capsys, [command, str(folder), *PLACE])
    assert said == f"{folder}: no run folder, settings.json is missing"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"stages": []}', " (if it is of a recipe with a task of its own, permtrain run goes"),
        ("{", "settings.json: not readable as JSON ("),
        ("[1]", "settings.json: holds a list; allowed: an object"),
        ('{"epoks": 1}', "settings has unknown 'epoks'; allowed: data, "),
        ('{"data": 1}', "settings.data is 1; allowed: an object with settings"),
        ('{"epochs": "1"}', "epochs is '1'; allowed: a whole number, 1 or more"),
        (
            '{"initial": {"layer_sparsity": 5}}',
            "layer_sparsity is 5; allowed: values by name",
        ),
        ('{"optimizer": {"inner_options": 3}}', "inner_options is 3; allowed: values by name"),
    ],
)
def test_settings_of_a_run_that_were_edited(text: str, message: str, tmp_path, capsys) -> None:
    (tmp_path / "settings.json").write_text(text)
    for command in ("resume", "evaluate", "verify"):
        said = refusal(capsys, [command, str(tmp_path), *PLACE])
        assert said.startswith(f"{tmp_path / 'settings.json'}: ")
        assert message in said


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("place.json", '{"threads": "2"}', "threads is '2'; allowed: a whole number, 1 to"),
        ("place.json", '{"data_folder": 5}', "has a value of another type (expected str, bytes"),
        ("metrics.jsonl", "5\n", "line 1 holds a int; allowed: an object"),
    ],
)
def test_files_of_a_run_that_were_edited(name, text, message, stopped: Path, capsys) -> None:
    (stopped / name).write_text(text)
    for command in ("resume", "report"):
        assert f"{stopped / name}: {message}" in refusal(capsys, [command, str(stopped)])


def test_a_run_that_was_begun_on_a_device_that_is_not_here(stopped: Path, capsys) -> None:
    place = json.loads((stopped / "place.json").read_text())
    (stopped / "place.json").write_text(json.dumps(place | {"device": "cuda:7"}))
    said = refusal(capsys, ["evaluate", str(stopped)])
    allowed = said.partition("allowed here: ")[2].partition("; for a new run")[0].split(", ")
    assert "cpu" in allowed
    for device in allowed:
        assert main(["evaluate", str(stopped), "--device", device]) == 0


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    with pytest.raises(Interrupted):
        start_run(tiny(), place_in(tmp_path), [InterruptAt(7)])
    (folder,) = tmp_path.iterdir()
    return folder


def test_checkpoints_that_cannot_be_used(stopped: Path, tmp_path: Path, capsys) -> None:
    other = start_run(tiny(seed=1, epochs=1), Place(tmp_path / "b", threads=1)).folder
    foreign = RunFolder(other).last_checkpoint()
    whole = RunFolder(stopped).last_checkpoint()
    short, text = tmp_path / "short.pt", tmp_path / "text.pt"
    short.write_bytes(whole.read_bytes()[:-1000])
    text.write_text("no checkpoint")
    before = {path: path.stat().st_mtime_ns for path in stopped.rglob("*")}
    for file, message in (
        (foreign, f"{foreign}: is of settings "),
        (short, f"{short}: not a readable checkpoint ("),
        (text, f"{text}: not a readable checkpoint ("),
        (tmp_path / "none.pt", f"{tmp_path / 'none.pt'}: no such checkpoint"),
    ):
        for command in ("resume", "evaluate", "verify"):
            said = refusal(capsys, [command, str(stopped), "--checkpoint", str(file), *PLACE])
            assert said.startswith(message)
    after = {path: path.stat().st_mtime_ns for path in stopped.rglob("*") if path.name != ".lock"}
    assert after == {path: time for path, time in before.items() if path.name != ".lock"}


def test_a_run_without_checkpoints(stopped: Path, capsys) -> None:
    for path in (stopped / "checkpoints").iterdir():
        path.unlink()
    said = refusal(capsys, ["evaluate", str(stopped), *PLACE])
    assert said == f"{stopped}: holds no checkpoint; start the run anew"
    said = refusal(capsys, ["evaluate", str(stopped), "--checkpoint", "best", *PLACE])
    assert said == f"{stopped / 'checkpoints' / 'best.pt'}: no such checkpoint"


def test_a_runs_folder_that_cannot_be_made(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    flags = ["--epochs", "1", "--train-images", "20", *PLACE]
    said = refusal(capsys, ["train", *flags, "--runs-folder", str(tmp_path / "file")])
    assert str(tmp_path / "file") in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_images_that_are_cut_short(tmp_path: Path, capsys) -> None:
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "own" / split / name).mkdir(parents=True)
            image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
            image.save(tmp_path / "own" / split / name / "0.png")
    damaged = tmp_path / "own" / "train" / "b" / "0.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    flags = ["--data", str(tmp_path / "own"), "--runs-folder", str(tmp_path / "runs"), *PLACE]
    assert str(damaged) in refusal(capsys, ["train", *flags])
    assert not (tmp_path / "runs").exists()


def test_images_of_a_single_class(tmp_path: Path, capsys) -> None:
    for split in ("train", "test"):
        (tmp_path / "own" / split / "all").mkdir(parents=True)
        for number in range(3):
            image = Image.fromarray(np.full((8, 8), number, dtype=np.uint8))
            image.save(tmp_path / "own" / split / "all" / f"{number}.png")
    flags = ["--data", str(tmp_path / "own"), "--runs-folder", str(tmp_path / "runs"), *PLACE]
    said = refusal(capsys, ["train", *flags])
    assert said.startswith(f"{tmp_path / 'own'} has one class, all, nothing to tell apart;")
    assert not (tmp_path / "runs").exists()


def test_parquet_files_that_are_missing_or_cut_short(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train.parquet").write_bytes(b"PAR1 and no more")
    flags = ["--data", "mnist", "--model", "lenet5", "--data-folder", str(tmp_path), *PLACE]
    command = ["train", *flags, "--runs-folder", str(tmp_path / "runs")]
    assert f"there is no file {folder / 'test.parquet'}" in refusal(capsys, command)
    (folder / "test.parquet").write_bytes(b"PAR1 and no more")
    assert str(folder / "train.parquet") in refusal(capsys, command)
    assert not (tmp_path / "runs").exists()


def test_weights_that_diverge_are_named_and_checkpoints_kept(tmp_path: Path, capsys) -> None:
    flags = ["--lr", "1e30", "--epochs", "2", "--train-images", "50", "--sync-period", "3", *PLACE]
    command = ["train", *flags, "--runs-folder", str(tmp_path)]
    said = refusal(capsys, command)
    assert said.endswith(
        "conv1.weight: weights hold NaN or infinity; allowed: finite values in epoch 1; a lower "
        "learning rate than 1e+30 may help"
    )
    (folder,) = tmp_path.iterdir()
    assert not RunFolder(folder).is_complete


def test_a_network_of_ones_own_that_fails_is_one_line(tmp_path: Path, capsys, monkeypatch) -> None:
    (tmp_path / "failing_nets.py").write_text(
        "from torch import nn\ndef small():\n    return nn.Linear(3, 10)\n"
    )
    monkeypatch.chdir(tmp_path)
    said = refusal(capsys, ["train", "--model", "failing_nets:small", *PLACE])
    assert "model 'failing_nets:small' fails on an image of shape (1, 8, 8), float32" in said


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("frozen", "has no parameter with requires_grad; allowed: one or more"),
        ("more", "has _extra_state in its state, a dict; allowed: tensors"),
    ],
)
def test_a_network_of_ones_own_that_could_not_end(
    name: str, message: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    (tmp_path / "endless_nets.py").write_text(
        "from torch import nn\n"
        "def frozen():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False)\n"
        "class More(nn.Sequential):\n"
        "    def get_extra_state(self):\n"
        "        return {}\n"
        "def more():\n"
        "    return More(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    said = refusal(capsys, ["train", "--model", f"endless_nets:{name}", *PLACE])
    assert said == f"model 'endless_nets:{name}' {message}"
    assert not (tmp_path / "runs").exists()


def test_a_weights_file_that_was_tampered_with_fails_verification(tmp_path: Path, capsys) -> None:
    flags = ["--epochs", "1", "--train-images", "50", "--runs-folder", str(tmp_path), *PLACE]
    assert main(["train", *flags]) == 0
    (folder,) = tmp_path.iterdir()
    assert main(["verify", str(folder)]) == 0
    weights = load_file(folder / "weights.safetensors")
    name = next(name for name, value in weights.items() if value.dim() >= 2)
    weights[name] *= 2
    save_file(weights, folder / "weights.safetensors")
    capsys.readouterr()
    said = refusal(capsys, ["verify", str(folder)])
    assert "weights.safetensors" in said
    assert name in said


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "report index-layr",
            "'index-layr' is no folder and no recipe; did you mean index-layer? a",
        ),
        ("report ./nothing", "'./nothing' is no folder and no recipe; allowed: a run's folder, "),
        (
            "fetch mnits",
            "there is no data set named 'mnits' (did you mean mnist?); known: digits, ",
        ),
    ],
)
def test_near_names_are_named(command: str, message: str, capsys) -> None:
    assert refusal(capsys, command.split()).startswith(message)


def test_a_report_of_a_recipe_without_runs_says_how_to_make_some_there(tmp_path: Path, capsys):
    runs = tmp_path / "my runs"
    said = refusal(capsys, ["report", "index-layer", "--runs-folder", str(runs)])
    assert said == (
        f"{runs} holds no run of index-layer, budget quick; start one with: "
        f"permtrain run index-layer --budget quick --runs-folder '{runs}'"
    )
