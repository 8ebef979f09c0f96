"""A report of run folders that accidents, other programs and foes have left."""

import shutil
from pathlib import Path

import pytest
from odd_folders import ODD, SHOWN

import permtrain.lab.report.pictures as pictures
from permtrain.errors import CheckpointError, SettingError
from permtrain.lab.recipes.recipe import Arm, Recipe
from permtrain.lab.report.contents import Collector, RunContents
from permtrain.lab.report.page import page_html, write_page
from permtrain.lab.report.sources import RecipeArm, ReportedRun, find_runs
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Place, Settings


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAKERS", [])


def odd_folder(run: Path, odd: str, folder: Path) -> Path:
    shutil.copytree(run, folder)
    ODD[odd](folder)
    return folder


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_folder_is_shown_or_refused_in_one_line(
    odd: str, permuted: Path, tmp_path: Path
) -> None:
    folder = odd_folder(permuted, odd, tmp_path / "run")

    def collected() -> list[RunContents]:
        runs = find_runs([str(folder)], tmp_path, "quick")
        return Collector(Place()).collect(runs)

    if odd in SHOWN:
        write_page(tmp_path / "page.html", collected(), "title")
    else:
        with pytest.raises((CheckpointError, SettingError)) as refused:
            collected()
        said = str(refused.value)
        assert said.startswith(str(folder))
        assert "\n" not in said
        assert len(said) < 500 + len(str(folder))


def test_of_a_recipe_odd_arms_are_named_and_left_out(permuted: Path, tmp_path: Path) -> None:
    recipe = Recipe("odd", "for tests", "none", lambda budget: [])
    runs = []
    for number, odd in enumerate(["sound", *ODD]):
        folder = tmp_path / str(number)
        shutil.copytree(permuted, folder) if odd == "sound" else odd_folder(permuted, odd, folder)
        of = RecipeArm(recipe, "quick", Arm(odd, Settings()))
        runs.append(ReportedRun(odd, odd, RunFolder(folder), None, of))
    collector = Collector(Place(), most_inspected=0)
    shown = collector.collect(runs)
    # A record that is not there is one of a run that has just begun.
    no_record = {odd for odd in ODD if odd.startswith("metrics.jsonl") and odd not in SHOWN} - {
        line.partition(": /")[0] for line in collector.left_out
    }
    assert no_record == {
        "metrics.jsonl: empty", "metrics.jsonl: a folder", "metrics.jsonl: a dangling link",
        "metrics.jsonl: gone",
    }  # fmt: skip
    left_out = [odd for odd in ODD if odd not in SHOWN | no_record]
    assert [line.partition(": /")[0] for line in collector.left_out] == [
        odd
        for odd in left_out
        if not odd.startswith("place.json")  # read for looking at weights
    ]
    page = page_html(shown, "title", left_out=collector.left_out)
    assert page.count("Left out: ") == len(collector.left_out)
