"""The page of real runs: what it says, that it loads nothing, that no name becomes a script."""

import json
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from run_problem import interrupted_run, place_in, plain, run_all, tiny

import permtrain.lab.report.pictures as pictures
from permtrain.errors import CheckpointError, ProfileError, SettingError
from permtrain.lab.cli.main import main
from permtrain.lab.pictures.numbers.scores import SizedArm
from permtrain.lab.recipes.recipe import Alternative, Arm, Recipe
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.report.contents import Collector, group_results, small_files
from permtrain.lab.report.inspection import Inspector
from permtrain.lab.report.page import curve_charts, page_html
from permtrain.lab.report.pictures import Picture
from permtrain.lab.report.sources import RecipeArm, ReportedRun, find_runs
from permtrain.lab.report.watch import watch
from permtrain.lab.training.result import RunResult
from permtrain.lab.training.run import resume_run, start_run
from permtrain.lab.training.run_folder import RunFolder, new_run_folder
from permtrain.lab.training.settings import InitialSettings, Place, run_name
from permtrain.lab.training.trainer import Trainer

ATTACK = '</script><script>alert(1)</script><img src=x onerror="alert(1)">'


class Page(HTMLParser):
    """Tags with their attributes, texts by the tag they stand in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1][0] if self.tags else "", data))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def chart_data(self):
        (text,) = [text for tag, text in self.texts if text.startswith('{"refreshSeconds"')]
        return json.loads(text)


def page_of(*runs: ReportedRun, place=None, **more) -> str:
    collector = Collector(place or place_in(Path("runs")))
    return page_html(collector.collect(runs), "a title", **more)


def reported(folder: Path, label: str | None = None) -> ReportedRun:
    return ReportedRun(label or folder.name, label or folder.name, RunFolder(folder))


def test_the_contents_of_a_complete_run(permuted: Path) -> None:
    (run,) = find_runs([str(permuted)], Path("runs"), "quick")
    (found,) = Collector(place_in(Path("runs"))).collect([run])
    result = RunResult.read(RunFolder(permuted))
    assert found.intact is True
    assert str(found.inspection.verification) == result.verification
    assert found.inspection.travel == result.travel
    assert bool(found.inspection.file_verification) is True
    assert (found.inspection.step, found.notes) == (15, [])
    assert [len(layer.states) for layer in found.inspection.layers] == [4] * 4
    assert [state.step for state in found.inspection.layers[0].states] == [0, 5, 10, 15]
    assert found.changed_settings == {
        "data.train_images": 130, "permutation.sync_period": 4, "epochs": 3,
    }  # fmt: skip
    assert found.sizes[0].num_bytes == RunFolder(permuted).packed_file.stat().st_size
    assert (found.best["epoch"], found.selected_on) == (result.best_epoch, "test")


def test_weights_shown_are_the_arranged_ones(permuted: Path) -> None:
    """LaPerm's checkpoints in mid-period, as those of steps 5 and 15, hold free weights."""
    (found,) = Collector(place_in(Path("runs"))).collect([reported(permuted)])
    dots = [state.dots for state in found.inspection.layers[0].states]
    assert len(dots[0]) == 144  # all of conv1's weights
    assert dots[0] == sorted(dots[0])
    assert [sorted(each) for each in dots] == [dots[0]] * 4
    assert len({tuple(each) for each in dots}) > 1


def test_each_data_set_has_charts_of_its_own(permuted: Path, unpermuted: Path) -> None:
    first, second = Collector(Place()).collect([reported(permuted), reported(unpermuted)])
    elsewhere = replace(second.settings, data=replace(second.settings.data, data="mnist"))
    both = curve_charts([first, replace(second, settings=elsewhere)])
    assert [(chart.name, list(chart.bands)) for chart in both[:2]] == [
        ("test accuracy on digits", [first.run.group]),
        ("test accuracy on mnist", [second.run.group]),
    ]
    together = curve_charts([first, second])
    assert (together[0].name, list(together[0].bands)) == (
        "test accuracy",
        [first.run.group, second.run.group],
    )
    assert len(both) == 2 * len(together)


def test_the_page_says_it_all(permuted: Path, unpermuted: Path) -> None:
    text = page_of(reported(permuted), reported(unpermuted))
    assert "Holds: all 90 weight vectors hold exactly their initial values" in text
    assert "Method plain permutes nothing" in text
    assert "3 of 3" in text
    assert "2 of 2" in text
    charts = Page(text).chart_data
    history = RunFolder(permuted).metrics()
    assert charts["curves"][0]["name"] == "test accuracy"
    assert charts["curves"][0]["figure"]["data"][0]["y"] == [
        metrics["test_accuracy"] for metrics in history
    ]
    assert [run["name"] for run in charts["runs"]] == [permuted.name, unpermuted.name]
    assert [layer["name"] for layer in charts["runs"][0]["layers"]] == [
        "conv1.weight", "conv2.weight", "conv3.weight", "output.weight",
    ]  # fmt: skip
    assert charts["refreshSeconds"] is None


def test_the_page_loads_nothing_from_elsewhere(permuted: Path) -> None:
    page = Page(page_of(reported(permuted)))
    for tag, attributes in page.tags:
        for name in ("src", "href", "data", "action", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    assert page.named("link") == []
    (policy,) = [each["content"] for each in page.named("meta") if "http-equiv" in each]
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    assert len(page.named("script")) == 3


def test_names_and_settings_become_no_script(permuted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(permuted, folder)
    settings = json.loads((folder / "settings.json").read_text())
    settings["data"]["data"] = ATTACK
    (folder / "settings.json").write_text(json.dumps(settings))
    environment = json.loads((folder / "environment.json").read_text())
    environment |= {"device": ATTACK, "packages": {ATTACK: ATTACK}}
    (folder / "environment.json").write_text(json.dumps(environment))
    text = page_html(
        Collector(place_in(tmp_path)).collect([reported(folder, ATTACK)]), f"title {ATTACK}"
    )
    page = Page(text)
    assert ATTACK not in text
    assert "<script>alert" not in text
    sources = [image["src"] for image in page.named("img")]
    assert all(source.startswith("data:image/png;base64,") for source in sources)  # our pictures
    assert len(page.named("script")) == 3
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    assert page.chart_data["curves"][0]["figure"]["data"][0]["name"].startswith("&lt;/script&gt;")
    # The data set of that name is not there, and the page says that the weights could not be seen.
    assert "The weights could not be looked at: " in text


def test_a_changed_weight_is_told(permuted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(permuted, folder)
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "weights.safetensors")
    weights["conv1.weight"][0, 0, 0, 0] += 1
    save_file(weights, folder / "weights.safetensors")
    (found,) = Collector(place_in(tmp_path)).collect([reported(folder)])
    assert found.intact is False
    text = page_html([found], "title")
    assert "VIOLATED: " in text
    assert "1 of 90 weight vectors hold other values: conv1.weight" in text


def test_a_damaged_checkpoint_and_packed_file_are_told(permuted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(permuted, folder)
    for path in [*(folder / "checkpoints").iterdir(), folder / "packed.safetensors"]:
        path.write_bytes(path.read_bytes()[:100])
    (found,) = Collector(place_in(tmp_path)).collect([reported(folder)])
    assert [note.split(":")[0] for note in found.notes] == [
        "The weights could not be looked at", "The packed file could not be read",
    ]  # fmt: skip
    text = page_html([found], "title")
    assert "As recorded when the run was complete, not checked for this page: all 90" in text


def test_pictures_are_plugged_in(permuted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Picture('A "dot"', "a <dot>", "image/svg+xml", b"<svg/>")
    monkeypatch.setattr(pictures, "MAKERS", [lambda folder: [made] * (folder.path == permuted)])
    (image,) = Page(page_of(reported(permuted))).named("img")
    assert image == {"src": "data:image/svg+xml;base64,PHN2Zy8+", "alt": "a <dot>"}

    def refused(folder):
        raise ProfileError("no weights")

    monkeypatch.setattr(pictures, "MAKERS", [refused])
    assert "Pictures could not be made: no weights" in page_of(reported(permuted))


def test_only_some_runs_are_inspected_one_of_each_group_first(permuted, unpermuted) -> None:
    runs = [
        ReportedRun("a, seed 0", "a", RunFolder(permuted)),
        ReportedRun("a, seed 1", "a", RunFolder(permuted)),
        ReportedRun("b, seed 0", "b", RunFolder(unpermuted)),
    ]
    found = Collector(place_in(Path("runs")), most_inspected=2).collect(runs)
    assert [each.inspection is not None for each in found] == [True, False, True]
    assert found[1].intact is True  # as recorded
    assert "Weights are shown for 2 runs at most" in found[1].notes[0]
    first, second = group_results(found)
    accuracy = RunResult.read(RunFolder(permuted)).test_accuracy
    assert (first.group, first.num_runs, first.num_complete) == ("a", 2, 2)
    assert (first.accuracy, first.spread, second.spread) == (accuracy, 0.0, None)


def test_a_groups_mean_is_over_its_complete_runs(permuted: Path, tmp_path: Path) -> None:
    unfinished = interrupted_run(tiny(seed=1), place_in(tmp_path), 6)
    runs = [ReportedRun(str(path), "a", RunFolder(path)) for path in (permuted, unfinished)]
    [group] = group_results(Collector(place_in(tmp_path), most_inspected=0).collect(runs))
    assert (group.num_runs, group.num_complete) == (2, 1)
    assert group.accuracy == RunResult.read(RunFolder(permuted)).test_accuracy
    [alone] = group_results(Collector(place_in(tmp_path), most_inspected=0).collect(runs[1:]))
    assert alone.accuracy == RunFolder(unfinished).metrics()[-1]["test_accuracy"]


def test_bad_sources(permuted: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"'nothing' is no folder and no recipe; allowed: a run"):
        find_runs(["nothing"], tmp_path, "quick")
    with pytest.raises(CheckpointError, match=r"no run folder, settings\.json is missing"):
        find_runs([str(tmp_path)], tmp_path, "quick")
    with pytest.raises(SettingError, match="report got no run; allowed: folders of runs"):
        find_runs([], tmp_path, "quick")
    with pytest.raises(SettingError, match=r"holds no run of index-layer, budget paper; start one"):
        find_runs(["index-layer"], tmp_path, "paper")
    folder = interrupted_run(tiny(), place_in(tmp_path / "runs"), 3)
    with pytest.raises(CheckpointError, match="holds no record of an epoch yet; allowed: a run wi"):
        find_runs([str(folder)], tmp_path, "quick")
    assert len(find_runs([str(folder)], tmp_path, "quick", begun=True)) == 1
    assert len(find_runs([str(permuted), str(permuted)], tmp_path, "quick")) == 1


def test_a_recipes_runs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [Arm("Adam", replace(plain(epochs=1), seed=seed), 99.5) for seed in (0, 1, 2)]
    monkeypatch.setitem(RECIPES, "tiny", Recipe("tiny", "for tests", "none", lambda budget: arms))
    folder = start_run(arms[1].settings, place_in(tmp_path)).folder
    of = RecipeArm(RECIPES["tiny"], "quick", arms[1])
    assert find_runs(["tiny"], tmp_path, "quick") == [
        ReportedRun("Adam, seed 1", "Adam", RunFolder(folder), 99.5, of)
    ]
    assert (of.recipe.id, of.arm.name) == ("tiny", "Adam, seed 1")
    output = tmp_path / "out.html"
    flags = ["--runs-folder", str(tmp_path), "--output", str(output), "--device", "cpu"]
    assert main(["report", "tiny", *flags]) == 0
    assert "99.50%" in output.read_text()


def test_folders_of_one_name_are_told_apart(permuted: Path, unpermuted: Path, tmp_path) -> None:
    for place, run in (("a", permuted), ("b", unpermuted)):
        shutil.copytree(run, tmp_path / place / "same")
    folders = [str(tmp_path / place / "same") for place in "ab"]
    runs = find_runs([*folders, str(permuted)], tmp_path, "quick")
    assert [run.label for run in runs] == ["a/same", "b/same", permuted.name]
    found = group_results(Collector(place_in(tmp_path), most_inspected=0).collect(runs))
    results = [RunResult.read(RunFolder(run)).test_accuracy for run in (permuted, unpermuted)]
    assert [(each.num_runs, each.accuracy) for each in found] == [
        (1, results[0]), (1, results[1]), (1, results[0]),
    ]  # fmt: skip
    assert find_runs(folders[:1], tmp_path, "quick")[0].label == "same"


def test_a_damaged_arm_of_a_recipe_is_left_out_and_a_failed_one_ends_the_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = place_in(tmp_path / "runs")
    arms = [
        Arm("sound", plain(epochs=1)),
        Arm("damaged", plain(epochs=1, seed=1)),
        Arm("failed", plain(epochs=1, seed=2)),
    ]
    monkeypatch.setitem(RECIPES, "tiny", Recipe("tiny", "for tests", "none", lambda budget: arms))
    folders = [start_run(arm.settings, place).folder for arm in arms[:2]]
    (folders[1] / "metrics.jsonl").write_text("cut o")
    failed = new_run_folder(
        place.runs_folder, arms[2].name, arms[2].settings, place, torch.device("cpu")
    )
    failed.path.rename(place.runs_folder / run_name(arms[2].settings))
    RunFolder(place.runs_folder / run_name(arms[2].settings)).failure_file.write_text("{}")

    output = tmp_path / "page.html"
    flags = ["--runs-folder", str(place.runs_folder), "--output", str(output)]
    assert main(["report", "tiny", *flags]) == 0
    assert "left out: damaged, seed 1: " in capsys.readouterr().out
    page = Page(output.read_text())
    assert [run["name"] for run in page.chart_data["runs"]] == ["sound, seed 0"]
    assert any(text.startswith("Left out: damaged, seed 1: ") for _, text in page.texts)

    def never(seconds: float) -> None:
        raise AssertionError("there is nothing left to wait for")

    watch(output, ["tiny"], "live", place, "quick", 2.0, wait=never)
    assert any(text.startswith("Left out: damaged") for _, text in Page(output.read_text()).texts)


def test_groups_of_several_recipes_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, name in enumerate(("one", "two")):
        arms = [Arm("Adam", plain(epochs=1, seed=seed))]
        recipe = Recipe(name, "for tests", "none", lambda budget, arms=arms: arms)
        monkeypatch.setitem(RECIPES, name, recipe)
        start_run(arms[0].settings, place_in(tmp_path))
    groups = [run.group for run in find_runs(["one", "two"], tmp_path, "quick")]
    assert groups == ["one: Adam", "two: Adam"]
    assert [run.group for run in find_runs(["two"], tmp_path, "quick")] == ["Adam"]


def test_nothing_is_drawn_again_where_nothing_changed(
    permuted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(permuted, folder)
    made: list[Path] = []

    def maker(run: RunFolder) -> list[Picture]:
        made.append(run.path)
        return [Picture(f"number {len(made)}", "a dot", "image/png", b"PNG")]

    monkeypatch.setattr(pictures, "MAKERS", [maker])
    collector = Collector(place_in(tmp_path))
    (first,) = collector.collect([reported(folder)])
    (folder / "report.html").write_text("the page, written into the run's folder")
    (second,) = collector.collect([reported(folder)])
    assert made == [folder]
    assert second.pictures is first.pictures
    assert second.inspection is first.inspection
    (folder / "weights.safetensors").touch()
    (third,) = collector.collect([reported(folder)])
    assert [picture.title for picture in third.pictures] == ["number 2"]
    assert third.inspection.layers == first.inspection.layers


def test_a_recipes_alternatives_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [
        Arm("few levels", tiny(epochs=1, initial=InitialSettings(levels=2))),
        *(Arm("Adam", plain(epochs=1, seed=seed)) for seed in (0, 1)),
    ]

    def alternatives(arm: Arm, trainer: Trainer) -> list[Alternative]:
        size = 100 * (1 + arm.settings.seed)
        return [
            Alternative(f"{arm.group}, as it is", "quantised, float32", None, 60_000),
            Alternative(f"{arm.group}, rounded", "quantised, <b>", 0.25 * arm.settings.seed, size),
        ]

    recipe = Recipe("tiny", "for tests", "none", lambda budget: arms, alternatives)
    monkeypatch.setitem(RECIPES, "tiny", recipe)
    results = run_all([arm.settings for arm in arms], place_in(tmp_path))
    runs = find_runs(["tiny"], tmp_path, "quick")
    contents = Collector(place_in(tmp_path), most_inspected=0).collect(runs)
    packed = (results[0].folder / "packed.safetensors").stat().st_size
    accuracies = [round(100 * result.test_accuracy, 4) / 100 for result in results]
    mean = (accuracies[1] + accuracies[2]) / 2
    few, of_adam = accuracies[0], sorted(accuracies[1:])
    assert small_files(contents) == [
        SizedArm("Adam, rounded", "quantised, <b>", 2, 150.0, 0.125, 0.0, 0.25),
        SizedArm("few levels", "permutation", 1, packed, few, few, few),
        SizedArm("Adam, as it is", "quantised, float32", 2, 60_000.0, mean, *of_adam),
    ]
    text = page_html(contents, "title")
    chart = Page(text).chart_data["smallFiles"]
    assert chart["layout"]["xaxis"]["type"] == "log"
    assert [trace["name"] for trace in chart["data"]] == [
        "quantised, &lt;b&gt;", "permutation", "quantised, float32",
    ]  # fmt: skip
    assert (chart["data"][0]["x"], chart["data"][0]["y"]) == ([150.0], [0.125])
    assert chart["data"][0]["error_y"]["array"] == [0.125]
    assert f'<td class="n">{packed:,}</td>' in text
    assert '<a href="#bytes">' in text


def test_the_command(permuted: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "my report.html"
    before = sorted(permuted.rglob("*"))
    assert main(["report", str(permuted), "--output", str(output), "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert said.out == f"wrote {output}; open {output.as_uri()}\n"
    assert said.err == ""
    assert f"<title>permtrain: {permuted.name}</title>" in output.read_text()
    assert sorted(permuted.rglob("*")) == before
    assert main(["report", str(tmp_path), "--output", str(output)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: no run folder, ")
    assert main(["report", str(permuted), "--every", "0"]) == 1
    assert capsys.readouterr().err == "error: every is 0.0; allowed: 1 second or more\n"


def test_without_the_packages_for_pages(permuted: Path, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert main(["report", str(permuted), "--output", str(tmp_path / "r.html")]) == 1
    assert "allowed after: pip install 'permtrain[report]'" in capsys.readouterr().err


def test_a_live_view_follows_a_run_to_its_end(tmp_path: Path) -> None:
    place = place_in(tmp_path / "runs", keep_checkpoints=1)
    output = tmp_path / "live.html"
    folder = new_run_folder(
        place.runs_folder, run_name(tiny()), tiny(), place, torch.device("cpu")
    ).path
    pages: list[str] = []

    def meanwhile(seconds: float) -> None:
        assert seconds == 2.0
        pages.append(output.read_text())
        if len(pages) == 1:
            interrupted = interrupted_or_resumed(folder, place, 12)
            assert interrupted
        elif len(pages) == 2:
            resume_run(folder, place)

    watch(output, [str(folder)], "live", place, "quick", 2.0, wait=meanwhile)
    pages.append(output.read_text())
    assert [Page(page).chart_data["refreshSeconds"] for page in pages] == [2.0, 2.0, None]
    assert "No epoch is complete yet." in pages[0]
    steps = [
        [
            state["step"]
            for run in Page(page).chart_data["runs"]
            for state in run["layers"][0]["states"]
        ]
        for page in pages
    ]
    # One checkpoint is kept; the view remembers the one that it saw.
    assert steps == [[], [0, 12], [0, 12, 15]]
    assert "refreshed every 2 s" in pages[1]
    assert "refreshed every" not in pages[2]
    assert ["Confusion matrix" in page for page in pages] == [False, False, True]


def interrupted_or_resumed(folder: Path, place, step: int) -> bool:
    from run_problem import InterruptAt

    from permtrain.lab.training.stopping import Interrupted

    try:
        resume_run(folder, place, [InterruptAt(step)])
    except Interrupted:
        return True
    return False


def test_ctrl_c_leaves_a_page_that_stays(tmp_path: Path) -> None:
    place = place_in(tmp_path / "runs")
    folder = interrupted_run(tiny(), place, 7)
    output = tmp_path / "live.html"

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(output, [str(folder)], "live", place, "quick", 2.0, wait=stop)
    assert Page(output.read_text()).chart_data["refreshSeconds"] is None


def test_train_and_run_say_how_to_open_it(tmp_path: Path, capsys) -> None:
    flags = ["--epochs", "1", "--train-images", "50", "--method", "plain", "--threads", "1"]
    assert main(["train", *flags, "--runs-folder", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    assert f"report: permtrain report {folder}" in capsys.readouterr().out.splitlines()


def test_the_page_tells_each_class(permuted: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    assert main(["report", str(permuted), "--output", str(output)]) == 0
    found = Inspector(RunFolder(permuted), Place(threads=1, device="cpu")).look()
    text = output.read_text()
    assert len(found.classes) == len(found.matrix) == 10
    assert sum(map(sum, found.matrix)) == sum(each.num_images for each in found.classes)
    for number, each in enumerate(found.classes):
        assert each.accuracy == found.matrix[number][number] / sum(found.matrix[number])
        cells = f'{each.num_images}</td><td class="n">{each.accuracy:.2%}</td>'
        assert f'<th scope="row">{each.name}</th><td class="n">{cells}' in text
    right = sum(found.matrix[number][number] for number in range(10))
    told = RunResult.read(RunFolder(permuted)).test_accuracy
    assert right / sum(map(sum, found.matrix)) == told
    assert "Confusion matrix" in text
