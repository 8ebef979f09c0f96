"""Runs on images of 12 x 12 pixels: whole, interrupted, and what they leave."""

import io
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from permtrain.errors import CheckpointError, SettingError
from permtrain.lab.cli.main import main
from permtrain.lab.data.images import Split
from permtrain.lab.data.load import load_images
from permtrain.lab.inputs.pixels import same_pixels
from permtrain.lab.inputs.quality import class_means, laid_out
from permtrain.lab.inputs.running import begun_session, row_of_inputs
from permtrain.lab.inputs.session import InputSession
from permtrain.lab.inputs.settings import (
    InputSettings,
    JudgeSettings,
    SortGANSettings,
    UnshuffleSettings,
    run_name,
)
from permtrain.lab.inputs.sortgan import SortGAN
from permtrain.lab.inputs.unshuffle import Unshuffle, _Group
from permtrain.lab.pictures.records import IMAGE_ROWS
from permtrain.lab.recipes.experiments.permuting_inputs import PERMUTING_INPUTS
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import DataSettings, Place
from permtrain.lab.training.stopping import Interrupted

JUDGE = JudgeSettings("logistic", epochs=1)


def sortgan(folder: Path, **changes: Any) -> SortGANSettings:
    data = DataSettings(str(folder), validation_fraction=0.2)
    base = SortGANSettings(data=data, epochs=2, batch_size=16, judge=JUDGE)
    return replace(base, **changes)


def unshuffle(folder: Path, **changes: Any) -> UnshuffleSettings:
    data = DataSettings(str(folder), validation_fraction=0.2)
    base = UnshuffleSettings(
        data=data, images=6, steps=3, batch_size=4, guide_epochs=1, num_classifiers=2, judge=JUDGE
    )
    return replace(base, **changes)


def place_in(folder: Path, **more: Any) -> Place:
    return Place(runs_folder=folder, device="cpu", threads=1, **more)


class Quiet:
    """Shows nothing; ends in the second part where that is asked for, as a killed process does."""

    def __init__(self, is_killed: bool = False) -> None:
        self.is_killed = is_killed
        self.said: list[str] = []

    def show(self, done: int, total: int) -> None:
        if self.is_killed and self.said:
            raise KeyboardInterrupt

    def say(self, text: str) -> None:
        self.said.append(text)


def run(settings: InputSettings, place: Place, display: Quiet | None = None) -> RunFolder:
    PERMUTING_INPUTS.run(settings, place, display or Quiet())
    return RunFolder(place.runs_folder / run_name(settings))


def outcome(folder: RunFolder) -> tuple[dict[str, Any], bytes, list[dict[str, Any]]]:
    result = json.loads(folder.result_file.read_text())
    del result["wall_s"]
    metrics = [
        {name: value for name, value in each.items() if name != "wall_s"}
        for each in folder.metrics()
    ]
    return result, (folder.path / "images.safetensors").read_bytes(), metrics


def complete(session: InputSession) -> InputSession:
    while not session.is_finished:
        session.advance()
    return session


SORTGANS = {
    "published": {},
    "error of the output": {"regress": "generated"},
    "one shuffle": {"shuffle": "one"},
    "ranks": {"reads": "sorted", "discriminator": "none", "regress": "ranks", "lr_cosine": True},
    "conv": {"reads": "sorted", "generator": "conv", "discriminator": "conv", "average": 0.9},
    "nearest": {"generator": "nearest", "discriminator": "none", "epochs": 0, "neighbours": 3},
}
UNSHUFFLES = {
    "published": {},
    "prior": {
        "classifier_weight": 0.0,
        "discriminator_weight": 0.0,
        "prior_weight": 10.0,
        "averaged_part": 0.5,
        "prior_mean": "nearest",
        "start": "class-mean",
        "lr": 0.05,
        "lr_cosine": True,
    },
}


@pytest.mark.parametrize("changes", SORTGANS.values(), ids=SORTGANS)
def test_sortgan_from_start_to_result(changes, image_folder: Path, tmp_path: Path) -> None:
    _check_whole_run(sortgan(image_folder, **changes), tmp_path)


@pytest.mark.parametrize("changes", UNSHUFFLES.values(), ids=UNSHUFFLES)
def test_unshuffling_from_start_to_result(changes, image_folder: Path, tmp_path: Path) -> None:
    _check_whole_run(unshuffle(image_folder, **changes), tmp_path)


@pytest.mark.parametrize("matching", ["order", "assignment"])
def test_colours_from_start_to_result(matching, colour_folder: Path, tmp_path: Path) -> None:
    _check_whole_run(sortgan(colour_folder, matching=matching, epochs=1), tmp_path)


def _check_whole_run(settings: InputSettings, tmp_path: Path) -> None:
    folder = run(settings, place_in(tmp_path))
    images = load_file(folder.path / "images.safetensors")
    assert set(images) == set(IMAGE_ROWS)
    originals = images["originals"].flatten(2)
    for name in IMAGE_ROWS[1:]:
        assert same_pixels(images[name].flatten(2), originals), name
        assert not torch.equal(images[name].flatten(2), originals), name
    with Image.open(folder.path / "images.png") as grid:
        assert grid.size[0] == min(10, len(originals)) * 14 - 2
    row = row_of_inputs(folder)
    measured = settings.images if isinstance(settings, UnshuffleSettings) else 24
    assert (row["measured_images"], len(originals)) == (measured, min(20, measured))
    assert all(np.isfinite(value) for value in row.values() if isinstance(value, float))
    assert {measure.column for measure in PERMUTING_INPUTS.measures} <= set(row)


@pytest.mark.parametrize("changes", SORTGANS.values(), ids=SORTGANS)
def test_the_same_state_whether_or_not_sortgan_was_interrupted(
    changes, image_folder: Path, tmp_path: Path
) -> None:
    settings = sortgan(image_folder, **changes)
    whole = SortGAN(settings, place_in(tmp_path))
    complete(whole)
    if settings.epochs:
        stopped = SortGAN(settings, place_in(tmp_path))
        for _ in range(3):
            assert stopped.advance() is None
        assert (stopped.part, stopped.step) == (0, 3)
        saved = _through_a_file(stopped.state_dict())
        torch.manual_seed(123)  # another process has another state
        resumed = SortGAN(settings, place_in(tmp_path))
        resumed.load_state_dict(saved)
    else:
        resumed = SortGAN(settings, place_in(tmp_path))
    complete(resumed)
    _assert_same(_without_time(whole.state_dict()), _without_time(resumed.state_dict()))
    test = whole.splits.test
    shuffled = whole._shuffled(test, "test")
    assert torch.equal(
        whole.recovered(shuffled, test.labels), resumed.recovered(shuffled, test.labels)
    )


@pytest.mark.parametrize("changes", UNSHUFFLES.values(), ids=UNSHUFFLES)
def test_the_same_images_whether_or_not_unshuffling_was_interrupted(
    changes, image_folder: Path, tmp_path: Path
) -> None:
    settings = unshuffle(image_folder, **changes)
    whole = Unshuffle(settings, place_in(tmp_path))
    assert whole.num_parts == 4  # two splits of 4 and 2 images
    complete(whole)
    stopped = Unshuffle(settings, place_in(tmp_path))
    told = [stopped.advance() for _ in range(5)]  # three steps of the first group, two more
    assert [metrics is not None for metrics in told] == [False, False, True, False, False]
    saved = _through_a_file(stopped.state_dict())
    resumed = Unshuffle(settings, place_in(tmp_path))
    resumed.load_state_dict(saved)
    complete(resumed)
    _assert_same(_without_time(whole.state_dict()), _without_time(resumed.state_dict()))


def test_the_mean_is_that_of_the_last_part_of_the_steps(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[bool] = []
    move = _Group.move

    def noted(group: _Group, energy: Any, *, is_counted: bool) -> None:
        counted.append(is_counted)
        move(group, energy, is_counted=is_counted)

    monkeypatch.setattr(_Group, "move", noted)
    no_guides = {"classifier_weight": 0.0, "discriminator_weight": 0.0}
    settings = unshuffle(image_folder, steps=10, averaged_part=0.3, **no_guides)
    work = Unshuffle(settings, place_in(tmp_path))
    while work.part == 0:
        work.advance()
    assert counted == [False] * 7 + [True] * 3


def test_the_prior_lies_about_the_nearest_training_images(
    image_folder: Path, tmp_path: Path
) -> None:
    settings = unshuffle(image_folder, **UNSHUFFLES["prior"], neighbours=2)
    work = Unshuffle(settings, place_in(tmp_path))
    train = work.splits.train
    for name, split in (("validation", work.splits.validation), ("test", work.splits.test)):
        for image, label, mean in zip(split.images, split.labels, work.means[name], strict=True):
            of_label = train.images[train.labels == label].flatten(1).double()
            away = (of_label.sort(dim=1).values - image.flatten().double().sort().values).norm(
                dim=1
            )
            nearest = of_label[away.argsort()[:2]].mean(dim=0) / 255
            torch.testing.assert_close(mean[0].double(), nearest, rtol=0, atol=1e-6)


def test_the_lower_bound_knows_training_images_alone(image_folder: Path, tmp_path: Path) -> None:
    settings = sortgan(image_folder, generator="nearest", discriminator="none", epochs=0)
    images = load_file(run(settings, place_in(tmp_path)).path / "images.safetensors")
    splits = SortGAN(settings, place_in(tmp_path)).splits
    bounds = {
        name: laid_out(
            images["shuffled"].flatten(2),
            class_means(getattr(splits, name), 2)[splits.test.labels[: len(images["shuffled"])]],
        )
        for name in ("train", "validation", "test")
    }
    assert torch.equal(images["class_means"].flatten(2), bounds["train"])
    for name in ("validation", "test"):
        assert not torch.equal(bounds[name], bounds["train"]), name


def test_what_was_recovered_goes_on_where_the_run_does(image_folder: Path, tmp_path: Path) -> None:
    """A checkpoint is read onto the CPU, wherever the run that wrote it was."""
    settings = unshuffle(image_folder, classifier_weight=0.0, discriminator_weight=0.0)
    work = Unshuffle(settings, place_in(tmp_path))
    while work.part == 0:
        work.advance()
    saved = _through_a_file(work.state_dict())
    work.device = torch.device("meta")
    work.load_state_dict(saved)
    assert [part.device.type for part in work.recovered["validation"]] == ["meta"]


@pytest.mark.parametrize("make", [sortgan, unshuffle])
def test_a_killed_run_goes_on_to_the_same_result(make, image_folder: Path, tmp_path: Path) -> None:
    settings = make(image_folder)
    expected = outcome(run(settings, place_in(tmp_path / "whole")))
    killed = place_in(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        run(settings, killed, Quiet(is_killed=True))
    assert not RunFolder(killed.runs_folder / run_name(settings)).is_complete
    display = Quiet()
    assert outcome(run(settings, killed, display)) == expected
    assert len(display.said) == (1 if make is sortgan else 3)


class Stopping(Quiet):
    """Ctrl-C as soon as so many things were said."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def say(self, text: str) -> None:
        super().say(text)
        if len(self.said) == self.after:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("make", [sortgan, unshuffle])
def test_a_stopped_run_goes_on_to_the_same_result(
    make, is_last: bool, image_folder: Path, tmp_path: Path
) -> None:
    settings = make(image_folder)
    display = Quiet()
    expected = outcome(run(settings, place_in(tmp_path / "whole"), display))
    stopped = place_in(tmp_path / "stopped")
    with pytest.raises(Interrupted, match="the same command goes on"):
        run(settings, stopped, Stopping(after=len(display.said) if is_last else 1))
    assert outcome(run(settings, stopped)) == expected


@pytest.mark.parametrize("make", [sortgan, unshuffle])
def test_a_run_whose_checkpoints_are_numbered_goes_on(
    make, image_folder: Path, tmp_path: Path
) -> None:
    """Names of checkpoints told how many there had been, before they told steps."""
    settings = make(image_folder)
    expected = outcome(run(settings, place_in(tmp_path / "whole")))
    stopped = place_in(tmp_path / "stopped")
    with pytest.raises(Interrupted):
        run(settings, stopped, Stopping(after=1))
    folder = RunFolder(stopped.runs_folder / run_name(settings))
    (saved,) = folder.numbered_checkpoints()
    saved.rename(saved.with_name("step-000000001.pt"))
    folder.metrics_file.unlink()  # it was written after the checkpoint
    display = Quiet()
    assert outcome(run(settings, stopped, display)) == expected
    assert len(display.said) == (1 if make is sortgan else 3)


class Unread(Quiet):
    """Whoever read what is said has gone, as `tee` after Ctrl-C."""

    def say(self, text: str) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("make", [sortgan, unshuffle])
def test_a_part_is_kept_even_if_nobody_reads_of_it(
    make, image_folder: Path, tmp_path: Path
) -> None:
    settings = make(image_folder)
    with pytest.raises(BrokenPipeError):
        run(settings, place_in(tmp_path), Unread())
    folder = RunFolder(tmp_path / run_name(settings))
    assert len(folder.metrics()) == 1
    display = Quiet()
    run(settings, place_in(tmp_path), display)
    assert len(display.said) == len(folder.metrics()) - 1


def test_it_goes_on_where_it_was_begun(image_folder: Path, tmp_path: Path) -> None:
    """With as many threads, as others round otherwise; and so is its judge's run."""
    settings = sortgan(image_folder)
    with pytest.raises(Interrupted):
        run(settings, place_in(tmp_path, keep_checkpoints=7), Stopping(after=1))
    torch.set_num_threads(2)
    folder = run(settings, Place(runs_folder=tmp_path))
    assert torch.get_num_threads() == 1
    environment = json.loads(folder.environment_file.read_text())
    assert environment["resumed"][0]["threads"] == environment["threads"] == 1
    places = [json.loads(file.read_text()) for file in tmp_path.glob("*/place.json")]
    assert [place["keep_checkpoints"] for place in places] == [7, 7]


def test_a_checkpoint_of_another_run_is_refused(image_folder: Path, tmp_path: Path) -> None:
    saved = SortGAN(sortgan(image_folder), place_in(tmp_path)).state_dict()
    other = SortGAN(sortgan(image_folder, generator="conv"), place_in(tmp_path))
    with pytest.raises(CheckpointError, match="checkpoint is of another run"):
        other.load_state_dict(saved)
    with pytest.raises(CheckpointError, match="checkpoint is of another run"):
        Unshuffle(unshuffle(image_folder), place_in(tmp_path)).load_state_dict(saved)


def test_without_scikit_image_nothing_is_begun(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("permtrain.lab.inputs.quality.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"need scikit-image.*permtrain\[inputs\]"):
        begun_session(sortgan(image_folder), place_in(tmp_path))


def test_the_grid_is_drawn_again_from_the_run(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(sortgan(image_folder, epochs=1), place_in(tmp_path))
    output = tmp_path / "grid.png"
    assert main(["plot", "image-grid", str(folder.path), "--output", str(output)]) == 0
    assert output.stat().st_size > 1000
    assert main(["plot", "image-grid", str(tmp_path), "--output", str(output)]) == 1
    assert "holds no images.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SortGANSettings(epochs=0), "epochs is 0; allowed: 1 or more"),
        (lambda: SortGANSettings(batch_size=1), "batch_size is 1; allowed: 2 or more"),
        (lambda: SortGANSettings(average=1.0), "average is 1.0; allowed: 0 to 1, without 1"),
        (lambda: SortGANSettings(lr=0.0), "lr is 0.0; allowed: above 0"),
        (lambda: UnshuffleSettings(steps=0), "steps is 0; allowed: 1 or more"),
        (lambda: UnshuffleSettings(batch_size=0), "batch_size is 0; allowed: 1 or more"),
        (lambda: UnshuffleSettings(border_weight=-1.0), "border_weight is -1.0; allowed: 0 or"),
        (lambda: UnshuffleSettings(prior_variance=0.0), "prior_variance is 0.0; allowed: above"),
    ],
)
def test_settings_out_of_range_are_refused(make, said: str) -> None:
    with pytest.raises(SettingError) as refused:
        make()
    assert str(refused.value).startswith(said)


def test_colours_are_not_unshuffled(colour_folder: Path, tmp_path: Path) -> None:
    """Each image is one weight vector, whose values would change places between the colours."""
    with pytest.raises(SettingError, match="images have 3 channels; allowed in an un-shuffling: 1"):
        Unshuffle(unshuffle(colour_folder), place_in(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_guide_does_not_judge(image_folder: Path) -> None:
    with pytest.raises(SettingError, match=r"judge.model is 'lenet5'; allowed in an un-"):
        unshuffle(image_folder, judge=JudgeSettings("lenet5"))
    assert sortgan(image_folder, judge=JudgeSettings("lenet5")).judge.model == "lenet5"


@pytest.mark.parametrize(("make", "work"), [(sortgan, SortGAN), (unshuffle, Unshuffle)])
@pytest.mark.parametrize(("model", "said"), [("conv3-61", "conv3-61"), ("resnet34", "at least 32")])
def test_a_judge_that_does_not_fit_is_refused_before_anything_is_trained(
    make, work, model: str, said: str, image_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=said):
        work(make(image_folder, judge=JudgeSettings(model)), place_in(tmp_path))
    assert not list(tmp_path.iterdir())


def test_images_that_the_networks_cannot_take_are_refused(
    image_folder: Path, tmp_path: Path
) -> None:
    place = place_in(tmp_path)
    data = load_images(str(image_folder))
    one = replace(sortgan(image_folder).data, train_images=1)
    with pytest.raises(SettingError, match="there is 1 training image; allowed with batch norm: 2"):
        SortGAN(sortgan(image_folder, data=one), place, data)
    wide = replace(data, train=_reshaped(data.train, 9, 16), test=_reshaped(data.test, 9, 16))
    small = replace(data, train=_reshaped(data.train, 6, 24), test=_reshaped(data.test, 6, 24))
    for changes in ({"generator": "conv"}, {"discriminator": "conv"}):
        for images, said in ((wide, "9x16"), (small, "6x24")):
            with pytest.raises(SettingError, match=f"images are {said}; allowed with convolutions"):
                SortGAN(sortgan(image_folder, **changes), place, images)
        SortGAN(sortgan(image_folder, **changes), place, data)
    SortGAN(sortgan(image_folder), place, wide)


def _reshaped(split: Split, height: int, width: int) -> Split:
    return Split(split.images.reshape(-1, 1, height, width), split.labels)


def _through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def _without_time(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state["work"].items() if name != "seconds"}


def _assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Equal bit for bit, all the way down."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            _assert_same(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            _assert_same(*pair, f"{where}[{i}]")
    else:
        assert one == other, where
