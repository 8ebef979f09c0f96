"""docs/pages/figures.py and rendering.py: sentences whose figures come from rows."""

import doctest
import re
from dataclasses import replace
from pathlib import Path

import jinja2
import pytest
from pages import figures, rendering
from pages.figures import ClaimError
from pages.rendering import RESULTS, TEMPLATES, environment, render, wrapped
from pages.reproduction import copies_table

from permtrain.lab.recipes.registry import find_recipe
from permtrain.lab.recipes.rows import read_csv, results_file, write_csv
from permtrain.lab.training.birth import newborn_network


@pytest.mark.parametrize("module", [figures, rendering], ids=lambda module: module.__name__)
def test_examples(module: object) -> None:
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0


@pytest.fixture
def rewire(tmp_path: Path) -> Path:
    """A folder with the rows of laperm-rewire-mnist."""
    name = "laperm-rewire-mnist.csv"
    write_csv(tmp_path / name, read_csv(RESULTS / name))
    return tmp_path


def with_added(folder: Path, arm: str, points: float) -> None:
    """Add so many points to the test accuracy of an arm."""
    path = folder / "laperm-rewire-mnist.csv"
    rows = read_csv(path)
    for row in rows:
        if row["arm"] == arm:
            row["test_percent"] += points
    write_csv(path, rows)


REMARK = "remarks/laperm-rewire-mnist.md.jinja"
RUN1 = "LaPerm k=30 for 1,500 batches, then Adam"


def test_a_changed_row_changes_the_sentence(rewire: Path) -> None:
    assert re.search(r"in each of three seeds, by\s0\.1 points", render(REMARK, rewire))
    with_added(rewire, RUN1, 2)
    assert re.search(r"in each of three seeds, by\s2\.1 points", render(REMARK, rewire))


def test_a_sentence_that_is_no_longer_true_stops_the_page(rewire: Path) -> None:
    with_added(rewire, RUN1, -2)
    with pytest.raises(ClaimError, match="not say so: 'ahead of run 2 in each of three seeds'"):
        render(REMARK, rewire)


def test_an_arm_that_is_not_there_stops_the_page(rewire: Path) -> None:
    path = rewire / "laperm-rewire-mnist.csv"
    write_csv(path, [row for row in read_csv(path) if not row["arm"].startswith("Adam")])
    with pytest.raises(ClaimError, match="has no 'Adam, zeros fixed, seed 0' beside it"):
        render(REMARK, rewire)


def test_what_scaled_rows_of_resnet20_show(tmp_path: Path) -> None:
    """Made-up rows of one seed: differences beside the published ones, arms of ours too."""
    recipe = find_recipe("laperm-resnet20-cifar10-jpeg")
    short = results_file(tmp_path, recipe.id, "short")
    write_csv(short, read_csv(RESULTS / short.name))
    remark = "remarks/laperm-resnet20-cifar10.md.jinja"
    assert "where training ends is open" in render(remark, tmp_path)
    percent = {"LaPerm k=10": 80.0, "Adam": 83.5, "index per layer": 82.0, "index per neuron": 84.0}
    made_up = [
        {
            "arm": arm.group,
            "seed": arm.settings.seed,
            "status": "complete",
            "test_percent": percent[arm.group],
            "best_test_percent": percent[arm.group] + 0.25,
            "settings_hash": recipe.settings_hash(arm),
        }
        for arm in recipe.arms_within("scaled")
    ]
    write_csv(results_file(tmp_path, recipe.id, "scaled"), made_up)
    text = wrapped(render(remark, tmp_path), width=10_000)
    assert "training it is 3.5 points below Adam (published: 4.3 points below it)." in text
    table = copies_table(find_recipe("laperm-resnet20-cifar10"), tmp_path)
    shown = [line.split(" | ") for line in table.splitlines() if "(scaled) |" in line]
    assert [(line[0], line[5], line[6]) for line in shown] == [
        ("| LaPerm k=10", "-3.50 (scaled)", "-4.33"),
        ("| Adam", "", ""),
        ("| index per layer", "-1.50 (scaled)", ""),
        ("| index per neuron", "+0.50 (scaled)", ""),
    ]
    assert "87.41" not in table
    assert "91.74" not in table
    assert table.count("a fifth of the full training on all images") == 1


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{{ means('index-layer')['no arm'] | number }}", jinja2.UndefinedError, "no arm"),
        ("{{ means('index-layer') | arms('no arm') | number }}", ClaimError, "no arm matches"),
        (
            "{{ means('index-layer')['sparse, Adam'] }}",
            ClaimError,
            "is no text; a filter rounds it",
        ),
        ("{{ -1 | points }}", ClaimError, "the rows do not say so: '-1'"),
    ],
)
def test_what_a_template_may_not_say(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        environment(RESULTS).from_string(text).render()


def test_figures_of_a_recipe() -> None:
    text = "{{ published('index-layer')['kaiming_uniform, index per layer'] | number(2) }}"
    made = environment(RESULTS)
    assert made.from_string(text).render() == "99.34"
    text = "{{ settings('laperm-rewire-mnist', 'Adam, zeros fixed').epochs }}"
    assert made.from_string(text).render() == "48"


def test_every_remark_is_of_a_recipe() -> None:
    for path in (TEMPLATES / "remarks").iterdir():
        assert find_recipe(path.name.removesuffix(".md.jinja"))


def test_zeros_are_more_than_a_hundred_steps_from_the_next_weight() -> None:
    """Of sparse weights, as the remark on `index-kernel` says; no row tells it."""
    arms = find_recipe("index-layer").arms_within("paper")
    sparse = {arm.group: arm.settings for arm in arms if arm.settings.initial.is_sparse}
    for group in ("sparse, Adam", "sparse, one threshold, Adam"):
        settings = replace(sparse[group], seed=0)
        model = newborn_network(settings, (1, 28, 28), 10)
        sizes = [w.detach().abs() for w in model.parameters() if w.dim() > 1]
        assert min(float(size[size > 0].min()) for size in sizes) > 100 * settings.optimizer.lr
