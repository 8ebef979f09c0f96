"""A run's folder may come from anybody: what it was computed from, and whose code it may run."""

import importlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_problem import interrupted_run, outcome, place_in, plain, tiny
from torch import nn

from permtrain.errors import CheckpointError, DataError, PermtrainError, SettingError
from permtrain.lab.cli.main import main
from permtrain.lab.data import sampled
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.data.load import load_images, open_stream
from permtrain.lab.training import trainer
from permtrain.lab.training.origin import Origin, data_origin, source_digest
from permtrain.lab.training.run import load_run, resume_run, start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import DataSettings, Settings

NET = """
from pathlib import Path
from torch import nn

with Path(__file__).with_name("ran").open("a") as file:
    file.write("x")


class Net(nn.Sequential):
    pass


def build(image_shape, num_classes):
    return Net(nn.Flatten(), nn.Linear(64, num_classes))
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a network of one's own in it."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "own_net.py").write_text(NET)
    monkeypatch.chdir(folder)
    forget_code(monkeypatch)
    return folder


def forget_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.delitem(sys.modules, "own_net", raising=False)


def with_own_net(epochs: int = 1) -> Settings:
    return tiny(model="own_net:build", epochs=epochs)


def as_another_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))


LOOKING = ("verify", "evaluate", "pack")


@pytest.mark.parametrize("command", LOOKING)
def test_looking_at_a_foreign_run_runs_no_code(
    command: str,
    code: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = start_run(with_own_net(), place_in(tmp_path / "runs")).folder
    forget_code(monkeypatch)
    (code / "ran").unlink()
    as_another_user(monkeypatch, tmp_path)
    assert main([command, str(run)]) == 1
    said = capsys.readouterr().err
    assert "its model is 'own_net:build', code that was not trained here by you" in said
    assert "--trust-model" in said
    assert not (code / "ran").exists()
    assert main([command, str(run), "--trust-model"]) == 0
    assert (code / "ran").exists()


def test_report_and_figures_of_a_foreign_run_run_no_code(
    code: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("plotly")
    run = start_run(with_own_net(), place_in(tmp_path / "runs")).folder
    forget_code(monkeypatch)
    (code / "ran").unlink()
    as_another_user(monkeypatch, tmp_path)
    assert main(["report", str(run), "--output", "page.html"]) == 0
    assert "--trust-model" in Path("page.html").read_text()
    assert main(["plot", "histogram", str(run), "--output", "h.svg"]) == 0
    assert "weights before training are not known" in capsys.readouterr().out
    assert not (code / "ran").exists()
    assert main(["plot", "cycles", str(run), "--trust-model", "--output", "c.svg"]) == 0
    assert (code / "ran").exists()


@pytest.mark.parametrize("model", ["os:abort", "http.server:test"])
def test_no_function_of_a_library_is_called(model: str, tmp_path: Path) -> None:
    """With the old code the first of them ends this process."""
    run = start_run(plain(epochs=1), place_in(tmp_path)).folder
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps(settings | {"model": model}))
    with pytest.raises(SettingError, match="code that was not trained here by you"):
        load_run(run, place_in(tmp_path))


def test_own_code_is_imported_from_where_it_was_trained(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(with_own_net(), place_in(tmp_path / "runs")).folder
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "own_net.py").write_text("raise RuntimeError('not this one')")
    monkeypatch.chdir(elsewhere)
    forget_code(monkeypatch)
    assert load_run(run, place_in(tmp_path)).is_finished
    assert sys.modules["own_net"].__file__ == str(code / "own_net.py")


def test_a_mark_fits_only_its_network(code: Path, tmp_path: Path) -> None:
    run = start_run(with_own_net(), place_in(tmp_path / "runs")).folder
    for change in ({"model": "os:abort"}, {"folder": str(tmp_path)}, {"mark": None}):
        origin = json.loads((run / "origin.json").read_text())
        origin["network"] |= change
        (tmp_path / "origin.json").write_text(json.dumps(origin))
        network = Origin.read(tmp_path / "origin.json").network
        assert network is not None
        assert not network.is_of_this_user
    network = RunFolder(run).origin().network  # type: ignore[union-attr]
    assert network is not None
    assert network.is_of_this_user


def test_the_key_is_readable_by_its_owner_alone(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    start_run(plain(epochs=1), place_in(tmp_path / "runs"))
    assert not (tmp_path / "state").exists()  # networks of ours need none
    start_run(with_own_net(), place_in(tmp_path / "runs"))
    (key,) = (tmp_path / "state" / "permtrain").iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32


def test_without_a_home_training_works_and_looking_asks(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    run = start_run(with_own_net(), place_in(tmp_path)).folder
    with pytest.raises(SettingError, match="--trust-model"):
        load_run(run, place_in(tmp_path))
    assert load_run(run, place_in(tmp_path), trust_model=True).is_finished


def test_an_older_run_has_no_origin(code: Path, tmp_path: Path) -> None:
    ours = start_run(plain(epochs=1), place_in(tmp_path)).folder
    (ours / "origin.json").unlink()
    assert load_run(ours, place_in(tmp_path)).is_finished
    own = start_run(with_own_net(), place_in(tmp_path)).folder
    (own / "origin.json").unlink()
    with pytest.raises(SettingError, match="--trust-model"):
        load_run(own, place_in(tmp_path))
    assert resume_run(own, place_in(tmp_path)).epochs == 1


@pytest.mark.parametrize("text", ["[]", '{"network": {"model": 1}}', '{"network": "a"}', "{"])
def test_a_damaged_origin_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "origin.json").write_text(text)
    with pytest.raises(PermtrainError, match=r"origin\.json"):
        Origin.read(tmp_path / "origin.json")


# Data


def write_images(folder: Path, per_class: int = 10) -> Path:
    for split in ("train", "test"):
        for label, name in enumerate(("ant", "bee", "cat")):
            (folder / split / name).mkdir(parents=True)
            for number in range(per_class):
                pixels = np.full((8, 8), 80 * label + number, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


def on_images(**changes: object) -> Settings:
    return tiny(
        data=DataSettings(data="./images"), model="logistic", batch_size=10, epochs=2, **changes
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a folder of images in it."""
    folder = tmp_path / "here"
    write_images(folder / "images")
    monkeypatch.chdir(folder)
    return folder


def test_the_digest_does_not_depend_on_the_order() -> None:
    data = load_images("digits")

    def digest(train: Split) -> str:
        other = ImageData("digits", train, data.test, data.class_names, data.source)
        return data_origin("digits", other).digest

    images, labels = data.train.images, data.train.labels
    same = digest(data.train)
    order = torch.randperm(len(data.train))
    assert digest(Split(images[order], labels[order])) == same
    assert digest(Split(images[order], labels)) != same
    assert digest(data.train.limited(1436)) != same
    changed = images.clone()
    changed[700, 0, 3, 3] ^= 1
    assert digest(Split(changed, labels)) != same


def test_images_removed_in_between_are_noticed(here: Path, tmp_path: Path) -> None:
    whole = start_run(on_images(), place_in(tmp_path / "whole")).folder
    stopped = interrupted_run(on_images(), place_in(tmp_path / "runs"), 2)
    shutil.copytree(stopped, tmp_path / "second")
    assert resume_run(stopped, place_in(tmp_path)).epochs == 2
    assert outcome(stopped) == outcome(whole)
    for number in range(3):
        (here / "images" / "train" / "bee" / f"{number}.png").unlink()
    message = (
        "second: the images are not those of the run: now 27 training and 30 test images, then "
        "30 training and 30 test images; allowed: what it was begun with, or other things with"
    )
    with pytest.raises(CheckpointError, match=message):
        resume_run(tmp_path / "second", place_in(tmp_path))
    assert not RunFolder(tmp_path / "second").is_complete
    resume_run(tmp_path / "second", place_in(tmp_path), accept_changes=True)
    origin = RunFolder(tmp_path / "second").origin()
    assert origin is not None
    assert origin.data is not None
    assert origin.data.num_images == (27, 30)


def test_paths_stay_what_they_were(
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = start_run(on_images(), place_in(tmp_path / "runs")).folder
    stopped = interrupted_run(on_images(seed=1), place_in(tmp_path / "runs"), 2)
    elsewhere = tmp_path / "elsewhere"
    write_images(elsewhere / "images", per_class=3)  # of the same name, but others
    monkeypatch.chdir(elsewhere)
    assert json.loads((run / "settings.json").read_text())["data"]["data"] == "./images"
    assert len(load_run(run, place_in(tmp_path)).test_split) == 30
    resume_run(stopped, place_in(tmp_path))
    for command in ("evaluate", "verify"):
        assert main([command, str(run)]) == 0
    assert "note:" not in capsys.readouterr().err


def test_evaluate_says_that_images_changed(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_run(on_images(), place_in(tmp_path)).folder
    Image.new("L", (8, 8)).save(here / "images" / "test" / "ant" / "5.png")
    assert main(["evaluate", str(run)]) == 0
    note = "the images are not those of the run: now 30 training and 30 test images, then other"
    assert note in capsys.readouterr().err
    with pytest.warns(UserWarning, match=note):
        load_run(run, place_in(tmp_path))


def test_classes_of_other_names_are_refused(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_run(on_images(), place_in(tmp_path)).folder
    for split in ("train", "test"):
        (here / "images" / split / "ant").rename(here / "images" / split / "dog")
    message = "the classes are not those of the run: now bee, cat, dog, then ant, bee, cat"
    with pytest.raises(DataError, match=message):
        load_run(run, place_in(tmp_path))
    assert main(["evaluate", str(run), "--accept-changes"]) == 0
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("recorded", [True, False])
def test_checking_weights_needs_no_images(
    recorded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a record, for a registered name; older runs have none."""
    settings = tiny(epochs=1, data=DataSettings(train_images=130, validation_fraction=0.1))
    run = start_run(settings, place_in(tmp_path)).folder
    if not recorded:
        (run / "origin.json").unlink()

    def no_images(*_: object) -> None:
        raise AssertionError("images were loaded")

    monkeypatch.setattr(trainer, "load_images", no_images)
    assert main(["verify", str(run)]) == 0
    packed = (run / "packed.safetensors").read_bytes()
    assert main(["pack", str(run)]) == 0
    assert (run / "packed.safetensors").read_bytes() == packed
    looked_at = load_run(run, place_in(tmp_path), images=False)
    with pytest.raises(DataError, match="the images were not loaded"):
        looked_at.evaluate(looked_at.test_split)


def test_checking_weights_of_own_images_needs_them_no_more(here: Path, tmp_path: Path) -> None:
    run = start_run(on_images(), place_in(tmp_path)).folder
    shutil.rmtree(here / "images")
    assert main(["verify", str(run)]) == 0
    (run / "origin.json").unlink()  # an older run has to look at them
    assert main(["verify", str(run)]) == 1


def test_changed_code_is_noticed(
    code: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = start_run(with_own_net(), place_in(tmp_path)).folder
    stopped = interrupted_run(replace(with_own_net(), seed=1), place_in(tmp_path), 2)
    with (code / "own_net.py").open("a") as file:
        file.write("# another line\n")
    forget_code(monkeypatch)
    for command in ("evaluate", "verify"):
        assert main([command, str(run)]) == 0
        assert "the code of own_net:build is not that of the run" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="the code of own_net:build is not that of the run"):
        resume_run(stopped, place_in(tmp_path))
    assert main(["resume", str(stopped), "--accept-changes"]) == 0
    assert main(["evaluate", str(stopped)]) == 0
    assert "note:" not in capsys.readouterr().err


WHOLE = """
from torch import nn
import own_beside, own_kit.layers
def build(image_shape, num_classes):
    from own_late import size
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


@pytest.mark.parametrize(
    ("file", "is_followed"),
    [
        ("own_whole.py", True), ("own_beside.py", True), ("own_kit/__init__.py", True),
        ("own_kit/layers.py", True), ("own_kit/deep.py", True), ("own_late.py", True),
        ("own_kit/other.py", False), ("own_other.py", False), ("json.py", False),
    ],
)  # fmt: skip
def test_what_a_network_imports_from_beside_it_is_followed(
    file: str, is_followed: bool, code: Path
) -> None:
    (code / "own_kit").mkdir()
    for name, text in {
        "own_whole": WHOLE, "own_beside": "import torch, missing_one", "own_late": "size = 1",
        "own_kit/__init__": "", "own_kit/layers": "from .deep import size", "own_other": "",
        "own_kit/deep": "size = 3", "own_kit/other": "", "json": "",
    }.items():  # fmt: skip
        (code / f"{name}.py").write_text(text)
    network = nn.Linear(2, 2)
    before = source_digest("own_whole:build", network, str(code))
    assert source_digest("own_whole:build", network, str(code)) == before
    shutil.copytree(code, code.parent / "moved")
    assert source_digest("own_whole:build", network, str(code.parent / "moved")) == before
    (code / file).write_text((code / file).read_text() + "# changed")
    assert (source_digest("own_whole:build", network, str(code)) != before) == is_followed
    assert not {"own_whole", "own_beside", "own_kit"} & set(sys.modules)  # nothing is imported


def test_of_installed_packages_their_own_modules_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    for package in ("own_installed", "own_needed"):
        (site / package).mkdir(parents=True)
        (site / package / "__init__.py").write_text("")
    (site / "own_installed" / "nets.py").write_text("import own_needed, own_installed.parts")
    (site / "own_installed" / "parts.py").write_text("")
    monkeypatch.syspath_prepend(site)
    importlib.import_module("own_installed")

    def digest() -> str:
        return source_digest("own_installed.nets:build", nn.Linear(2, 2), str(tmp_path))

    before = digest()
    (site / "own_needed" / "__init__.py").write_text("# another version")
    assert digest() == before
    (site / "own_installed" / "parts.py").write_text("# changed")
    assert digest() != before
    monkeypatch.delitem(sys.modules, "own_installed")


def test_records_of_before_imports_were_followed_say_nothing(code: Path, tmp_path: Path) -> None:
    origin = RunFolder(start_run(with_own_net(), place_in(tmp_path)).folder).origin()
    assert origin is not None
    assert origin.network is not None
    older = replace(origin, network=replace(origin.network, digest="0123"))
    assert older.changes(origin) == []
    other = replace(origin, network=replace(origin.network, digest="imports:0123"))
    assert other.changes(origin) == ["the code of own_net:build is not that of the run"]


def test_a_report_says_that_code_changed(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("plotly")
    (code / "own_net.py").write_text("import own_part\n" + NET)
    (code / "own_part.py").write_text("")
    run = start_run(with_own_net(), place_in(tmp_path / "runs")).folder
    note = "the code of own_net:build is not that of the run"
    for text, is_noted in (("", False), ("# another line", True)):
        (code / "own_part.py").write_text(text)
        forget_code(monkeypatch)
        assert main(["report", str(run), "--output", "page.html"]) == 0
        assert (note in Path("page.html").read_text()) == is_noted


# Streamed data


def digest_of_stream(folder: Path) -> str:
    return data_origin(str(folder), open_stream(folder, image_size=8)).digest


def grown(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"1")


def changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "change", [changed, grown, Path.unlink, lambda file: file.rename(file.with_name("z.png"))]
)
def test_streamed_images_are_told_by_more_than_their_names(change, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", per_class=4)
    (folder / "test").rename(folder / "val")
    before = digest_of_stream(folder)
    shutil.copytree(folder, tmp_path / "copy")
    assert digest_of_stream(tmp_path / "copy") == before
    change(folder / "train" / "bee" / "2.png")
    assert digest_of_stream(folder) != before


def test_what_is_read_of_large_data_is_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sampled, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(sampled, "MOST_SIZES", 30)
    files = {}
    for number in range(40):
        path = tmp_path / str(number)
        path.write_bytes(bytes(200_000))
        files[f"{number}"] = path
    read: list[int] = []
    contents = sampled._contents

    def counted(path: Path, size: int, num_bytes: int) -> str:
        read.append(num_bytes)
        return contents(path, size, num_bytes)

    monkeypatch.setattr(sampled, "_contents", counted)
    facts = sorted(sampled.facts_of(files))
    backwards = dict(reversed(files.items()))
    assert sorted(sampled.facts_of(backwards)) == facts
    assert sum(read) <= 2 * (1 << 20) + (2 << 16)
    assert sum(fact.count(" ") == 0 for fact in facts) == 10
    changed(tmp_path / "7")
    is_sampled = len(sorted(sampled.facts_of(files))) and sorted(sampled.facts_of(files)) != facts
    assert is_sampled == (sum(fact.startswith("7 ") for fact in facts) == 2)


def test_older_records_of_streams_know_names_alone() -> None:
    data = data_origin("digits", load_images("digits"))
    now = replace(data, digest="sampled:12 sampled:34")
    assert replace(data, digest="12 34").changes(now) == []
    assert replace(data, digest="12 34", num_images=(9, 9)).changes(now) != []
    assert replace(data, digest="sampled:12 sampled:35").changes(now) != []


@pytest.mark.parametrize(
    "change",
    [
        {"num_images": [1]}, {"num_images": [0, 5]}, {"image_shape": [1, 8, 1.5]},
        {"image_shape": None}, {"class_names": [1, 2]}, {"class_names": 3}, {"other": 1},
    ],
)  # fmt: skip
def test_a_damaged_record_of_data_is_said(change: dict[str, object], tmp_path: Path) -> None:
    data = data_origin("digits", load_images("digits"))
    plain_data = Origin(data=data).to_dict()["data"] | change
    (tmp_path / "origin.json").write_text(json.dumps({"data": plain_data}))
    with pytest.raises(CheckpointError, match="not the origin of a run"):
        Origin.read(tmp_path / "origin.json")
