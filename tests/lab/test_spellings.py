"""Names in the two Unicode spellings: what exists in the other one is found, or refused by name."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_problem import place_in, tiny
from safetensors.torch import save_file

from permtrain.errors import DataError
from permtrain.files import from_home
from permtrain.lab.cli.main import main
from permtrain.lab.data.load import load_images, open_stream
from permtrain.lab.data.sources import Columns
from permtrain.lab.training.run import load_run, start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import DataSettings

ONE, OTHER = (unicodedata.normalize(form, "\xe9t\xe9") for form in ("NFC", "NFD"))
OPEN = {"whole": load_images, "streamed": open_stream}
LAYOUTS = {"whole": ("train", "test"), "streamed": ("train", "val")}


def write_images(folder: Path, layout: str, train: str, test: str) -> Path:
    for split, accented in zip(LAYOUTS[layout], (train, test), strict=True):
        for label, name in enumerate((accented, "ete", "zoo")):
            (folder / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = np.full((8, 8), 80 * label + number, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{accented}{number}.png")
    return folder


def test_the_spelling_that_exists_is_meant(tmp_path: Path) -> None:
    for there, typed in ((ONE, OTHER), (OTHER, ONE)):
        folder = tmp_path / there / "a" / there
        folder.mkdir(parents=True)
        assert from_home(tmp_path / typed / "a" / typed / "new" / typed) == folder / "new" / typed
        assert from_home(folder) == folder
        (tmp_path / there).rename(tmp_path / "done-with")
        (tmp_path / "done-with").rename(tmp_path / f"{len(there)}")
    (tmp_path / ONE).mkdir()
    (tmp_path / OTHER).mkdir()
    assert [from_home(tmp_path / name).name for name in (ONE, OTHER)] == [ONE, OTHER]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_of_both_spellings_are_one(layout: str, tmp_path: Path) -> None:
    found = [
        OPEN[layout](write_images(tmp_path / f"{number}", layout, train, test))
        for number, (train, test) in enumerate(((ONE, ONE), (ONE, OTHER), (OTHER, OTHER)))
    ]
    assert {each.class_names for each in found} == {("ete", "zoo", ONE)}
    if layout == "whole":
        for each in found[1:]:
            assert torch.equal(each.train.images, found[0].train.images)
            assert torch.equal(each.test.labels, found[0].test.labels)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_folders_of_one_name_are_refused(layout: str, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "d", layout, ONE, ONE)
    Image.new("L", (8, 8)).save(folder / "train" / "zoo" / "more.png")
    (folder / "train" / OTHER).mkdir()
    Image.new("L", (8, 8)).save(folder / "train" / OTHER / "more.png")
    with pytest.raises(DataError, match=r"are one name in two Unicode spellings; allowed: one fol"):
        OPEN[layout](folder)


def test_a_run_goes_on_with_images_that_were_copied_in_the_other_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / ONE, "whole", ONE, ONE)
    settings = tiny(data=DataSettings(data=f"./{ONE}"), model="logistic", batch_size=4, epochs=1)
    run = start_run(settings, place_in(tmp_path / "runs")).folder
    (tmp_path / ONE).rename(tmp_path / "kept")
    write_images(tmp_path / OTHER, "whole", OTHER, OTHER)
    load_run(run, place_in(tmp_path))  # a warning of other images would be an error
    origin = RunFolder(run).origin()
    assert origin is not None
    assert origin.other_classes(origin) is None
    runs = run.parent.rename(tmp_path / f"runs {OTHER}")
    for command in ("evaluate", "report"):
        typed = str(tmp_path / f"runs {ONE}" / run.name)
        assert main([command, unicodedata.normalize("NFC", typed)]) == 0
        assert "note" not in capsys.readouterr().err
    assert runs.is_dir()
    assert [each.name for each in tmp_path.glob("runs*")] == [runs.name]


def test_layers_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_file({f"{OTHER}.weight": torch.rand(4, 9), "b.weight": torch.rand(4, 5)}, "w.safetensors")
    for kind in ("profiles", "histogram", "heat-map"):
        assert main(["plot", kind, "w.safetensors", "--layer", f"{ONE}.weight"]) == 0
    assert main(["plot", "profiles", "w.safetensors", "--layer", "ete.weight"]) == 1


def test_columns_and_labels_of_text_are_found(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    pixels = [np.full((8, 8), 20 * number, dtype=np.uint8) for number in range(4)]
    images = [{"bytes": None, "path": None} for _ in pixels]
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / "a.png")
        images[number]["bytes"] = (tmp_path / "a.png").read_bytes()
    for split, words in (("train", [ONE, OTHER, "a", "a"]), ("test", [OTHER, "a", "a", "a"])):
        table = datasets.Dataset.from_dict({OTHER: images, f"{ONE}s": words})
        table.to_parquet(str(tmp_path / f"{split}.parquet"))
    found = load_images(tmp_path, columns=Columns(ONE, f"{OTHER}s"))
    assert found.class_names == ("a", ONE)
    assert sorted(found.train.labels.tolist()) == [0, 0, 1, 1]
    assert sorted(found.test.labels.tolist()) == [0, 0, 0, 1]
