"""Regression by permutation alone: functions, networks, runs, and the published settings."""

import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from permtrain.core.arrange import arrange
from permtrain.errors import SettingError
from permtrain.lab.recipes.experiments.regression.arms import TASK, WIDTHS
from permtrain.lab.recipes.experiments.regression.network import Networks, initial_coefficients
from permtrain.lab.recipes.experiments.regression.problem import PROBLEMS
from permtrain.lab.recipes.experiments.regression.settings import (
    INITS,
    METHODS,
    TARGETS,
    RegressionSettings,
)
from permtrain.lab.recipes.experiments.regression.training import RegressionSession, geometric_mean
from permtrain.lab.recipes.recipe import Arm
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.status import published_in_words
from permtrain.lab.training.display import SILENT, Silent
from permtrain.lab.training.json_files import read_json
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Place
from permtrain.lab.training.stopping import Interrupted

HERE = Place(device="cpu", threads=1)


def tiny(**changes: object) -> RegressionSettings:
    small = RegressionSettings(
        "sine",
        6,
        "pairwise",
        "laperm",
        sync_period=7,
        epochs=3,
        lr=0.05,
        train_points=40,
        networks=2,
    )
    return replace(small, **changes)


# --- functions and places ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "point", "value"),
    [
        ("sine", [0.25], -1.0),
        ("legendre", [1.0], 1.0),
        ("legendre", [0.5], (5 / 8 - 3 / 2) / 2),
        ("sine-2d", [-0.5, 1.0], 1.0),
        ("sine-3d", [math.pi / 6, 0.0, math.pi / 4], 1.0),
    ],
)
def test_functions(target: str, point: list[float], value: float) -> None:
    assert PROBLEMS[target].function(torch.tensor([point])).item() == pytest.approx(value, abs=1e-6)


def test_directions_come_in_pairs() -> None:
    assert set(PROBLEMS) == set(TARGETS)
    assert {tuple(v) for v in PROBLEMS["sine-2d"].directions().tolist()} == {
        (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1),
    }  # fmt: skip
    directions = PROBLEMS["sine-3d"].directions()
    assert directions.shape == (26, 3)
    assert len({tuple(v) for v in directions.tolist()}) == 26
    assert torch.equal(directions[::2], -directions[1::2])
    assert set(directions.abs().flatten().tolist()) == {0.0, torch.tensor(math.sqrt(3)).item()}


def test_test_points_are_a_grid_of_the_cube() -> None:
    points = PROBLEMS["sine-2d"].test_points()
    assert points.shape == (113 * 113, 2)
    assert points[0].tolist() == [-1, -1]
    assert points[1].tolist() == pytest.approx([-1, -1 + 2 / 112])
    assert points[-1].tolist() == [1, 1]
    assert PROBLEMS["sine"].test_points().shape == (400, 1)


def test_train_points_are_the_same_everywhere_and_fill_the_cube() -> None:
    points = PROBLEMS["sine-3d"].train_points(2_000)
    assert points.shape == (2_000, 3)
    assert torch.equal(points[:5], PROBLEMS["sine-3d"].train_points(5))
    assert points.abs().max() < 1
    assert points.mean(dim=0).abs().max() < 0.05
    assert points.std(dim=0).tolist() == pytest.approx([1 / math.sqrt(3)] * 3, rel=0.03)


# --- networks ------------------------------------------------------------------------------------


def test_a_network_by_hand() -> None:
    networks = Networks(tiny(width=2, networks=1, init="equidistant"))
    assert networks.biases_SN.tolist() == [[-1.0, 1.0]]
    assert networks.directions_DF.tolist() == [[1.0, -1.0]]
    with torch.no_grad():
        networks.coefficients.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        networks.scale.fill_(10.0)
        networks.offset.fill_(0.5)
    # Hidden units at 0.5: relu(0.5 - 1), relu(0.5 + 1), relu(-0.5 - 1), relu(-0.5 + 1).
    assert networks(torch.tensor([[[0.5]]])).tolist() == [[10 * (2 * 1.5 + 4 * 0.5) + 0.5]]


@pytest.mark.parametrize("target", ["sine", "sine-2d"])
def test_gradients_are_autograds(target: str) -> None:
    networks = Networks(tiny(target=target))
    num_variables = PROBLEMS[target].num_variables
    generator = torch.Generator().manual_seed(0)
    x_SPD = torch.rand(2, 9, num_variables, generator=generator) * 2 - 1
    wanted_SP = torch.rand(2, 9, generator=generator)
    networks.set_gradients(x_SPD, wanted_SP)
    ours = {name: p.grad.clone() for name, p in networks.named_parameters()}
    networks.zero_grad()
    with torch.enable_grad():
        hidden = networks._hidden(x_SPD)
        sums = torch.bmm(hidden, networks.coefficients[..., None])[..., 0]
        values = networks.scale * sums + networks.offset
        (values - wanted_SP).square().mean(dim=1).sum().backward()
    assert torch.equal(values.detach(), networks(x_SPD).detach())
    for name, parameter in networks.named_parameters():
        assert torch.allclose(ours[name], parameter.grad, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("init", INITS)
def test_initial_values(init: str) -> None:
    settings = tiny(init=init, width=500, networks=3)
    coefficients = initial_coefficients(settings)
    assert coefficients.shape == (3, 1_000)
    spread = {"he": math.sqrt(2 / 1_000), "glorot": math.sqrt(2 / 1_001)}
    expected = spread.get(init.partition(",")[0], 1 / math.sqrt(3))
    assert coefficients.std().item() == pytest.approx(expected, rel=0.04)
    ascending = coefficients.sort(dim=1).values
    assert not torch.equal(coefficients, ascending)
    if init == "equidistant":
        steps = ascending.diff(dim=1)
        assert torch.allclose(steps, torch.full_like(steps, 0.002), atol=1e-6)
        assert not torch.equal(coefficients[0], coefficients[1])
    if init in ("equidistant", "pairwise"):
        assert torch.equal(ascending, -ascending.flip(1))
    biases = Networks(settings).biases_SN
    if init.endswith("biases too"):
        assert biases.std().item() == pytest.approx(
            math.sqrt(2 / (500 + (init[0] == "g"))), rel=0.1
        )
    else:
        assert biases.abs().max() <= 1
        assert biases.std().item() == pytest.approx(1 / math.sqrt(3), rel=0.05)


def test_seeds_and_networks_differ() -> None:
    first, second = (Networks(tiny(seed=seed)) for seed in (0, 1))
    for name in ("coefficients", "biases_SN", "offset"):
        assert not torch.equal(getattr(first, name), getattr(second, name)), name
        assert not torch.equal(getattr(first, name)[0], getattr(first, name)[1]), name


# --- runs ----------------------------------------------------------------------------------------


def test_geometric_mean() -> None:
    assert geometric_mean(torch.tensor([0.5, 8.0, 0.25])) == pytest.approx(1.0)


def test_errors_of_known_values() -> None:
    session = RegressionSession(tiny(method="adam"), HERE)
    with torch.no_grad():
        session.networks.scale.zero_()
        session.networks.offset.copy_(torch.tensor([[0.0], [3.0]]))
    errors = session.errors(torch.tensor([[0.1], [0.2]]), torch.tensor([3.0, -1.0]))
    assert errors.linf.tolist() == [3.0, 4.0]
    assert errors.rmse.tolist() == pytest.approx([math.sqrt((9 + 1) / 2), math.sqrt(16 / 2)])


def test_errors_are_those_of_arranged_networks_in_mid_period() -> None:
    session = RegressionSession(tiny(sync_period=7), HERE)  # five steps an epoch
    session.train_epoch()
    session.train_epoch()
    assert session.permuter is not None
    assert (session.permuter.num_steps, session.permuter.num_synchronizations) == (10, 1)
    moved = session.networks.coefficients.detach().clone()
    profile = initial_coefficients(session.settings).sort(dim=1).values
    assert not torch.equal(moved.sort(dim=1).values, profile)
    errors = session.errors(session.test_PD, session.test_P)
    assert torch.equal(session.networks.coefficients, moved)
    shown = Networks(session.settings)
    shown.load_state_dict(session.networks.state_dict())
    with torch.no_grad():
        shown.coefficients.copy_(arrange(profile, moved))
        off = (shown(session.test_PD.expand(2, -1, -1)) - session.test_P).abs()
    assert torch.allclose(errors.linf, off.amax(dim=1))
    assert torch.allclose(errors.rmse.float(), off.square().mean(dim=1).sqrt())


def test_the_rate_falls_and_the_index_optimizer_arranges_at_every_step() -> None:
    session = RegressionSession(tiny(method="index", lr=0.5, lr_decay=0.5), HERE)
    rates = []
    for _ in range(3):
        rates.append(session.optimizer.param_groups[0]["lr"])
        session.train_epoch()
        now = session.networks.coefficients.detach().sort(dim=1).values
        assert torch.equal(now, initial_coefficients(session.settings).sort(dim=1).values)
    assert rates == [0.5, 0.25, 0.125]


def test_every_network_sees_every_point_in_its_own_order() -> None:
    session = RegressionSession(tiny(), HERE)
    batches = torch.cat(list(session._batches()), dim=1)
    assert batches.sort(dim=1).values.tolist() == [list(range(40))] * 2
    assert not torch.equal(batches[0], batches[1])
    session.epoch = 1
    assert not torch.equal(batches, torch.cat(list(session._batches()), dim=1))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_and_its_row(method: str, tmp_path: Path) -> None:
    settings = tiny(method=method)
    place = Place(runs_folder=tmp_path, device="cpu", threads=1)
    TASK.run(settings, place, SILENT)
    folder = RunFolder(tmp_path / TASK.run_name(settings))
    row = TASK.row(folder)
    permutes = method != "adam"
    assert row["intact"] is (True if permutes else None)
    assert {name: row[name] for name in ("target", "width", "init", "method")} == {
        "target": "sine", "width": 6, "init": "pairwise", "method": method,
    }  # fmt: skip
    coefficients = load_file(folder.weights_file)["coefficients"]
    initial = initial_coefficients(settings)
    sorted_now, sorted_first = (c.sort(dim=1).values for c in (coefficients, initial))
    assert torch.equal(sorted_now, sorted_first) == permutes
    assert not torch.equal(coefficients, initial)
    assert len(row["linf_each"].split()) == 2
    result = read_json(folder.result_file)
    assert geometric_mean(torch.tensor(result["linf"])) == pytest.approx(row["linf"], rel=1e-5)
    assert {measure.column for measure in TASK.measures} <= set(row)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_cut_off_goes_on_bit_for_bit(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny(method=method)
    whole = Place(runs_folder=tmp_path / "whole", device="cpu", threads=1)
    TASK.run(settings, whole, SILENT)

    class Cut(Exception):
        pass

    class CutsOff(Silent):
        def say(self, text: str) -> None:
            if text.startswith("epoch 2"):
                raise Cut

    broken = Place(runs_folder=tmp_path / "broken", device="cpu", threads=1)
    with pytest.raises(Cut):
        TASK.run(settings, broken, CutsOff())
    torch.set_num_threads(2)  # others than it was begun with would round otherwise
    TASK.run(settings, Place(runs_folder=broken.runs_folder), SILENT)
    environment = read_json(
        RunFolder(broken.runs_folder / TASK.run_name(settings)).environment_file
    )
    assert environment["resumed"][0]["threads"] == environment["threads"] == 1
    folders = [RunFolder(p.runs_folder / TASK.run_name(settings)) for p in (whole, broken)]
    weights = [load_file(folder.weights_file) for folder in folders]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert folders[0].metrics_file.read_text() == folders[1].metrics_file.read_text()
    assert TASK.row(folders[0]) == TASK.row(folders[1])


# A period of seven steps is far too short for values that lie so far apart.
@pytest.mark.filterwarnings("ignore:synchronizations undo almost every move")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("epoch", [1, 30, 50])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(
    number: int, epoch: int, tmp_path: Path
) -> None:
    """Saved after the running epoch, whether or not errors are looked at there."""
    settings = tiny(epochs=50)  # looked at after every second one

    class Stops(Silent):
        def show(self, done: int, total: int) -> None:
            if done == 5 * epoch:
                signal.raise_signal(number)

    whole, stopped = (Place(tmp_path / name, device="cpu", threads=1) for name in ("a", "b"))
    TASK.run(settings, whole, SILENT)
    folders = [RunFolder(p.runs_folder / TASK.run_name(settings)) for p in (whole, stopped)]
    with pytest.raises(Interrupted, match="the same command goes on"):
        TASK.run(settings, stopped, Stops())
    assert folders[1].last_checkpoint().name == f"step-{5 * epoch:09d}.pt"
    TASK.run(settings, stopped, SILENT)
    assert folders[0].weights_file.read_bytes() == folders[1].weights_file.read_bytes()
    assert folders[0].metrics_file.read_text() == folders[1].metrics_file.read_text()
    assert TASK.row(folders[0]) == TASK.row(folders[1])


def test_permuting_learns() -> None:
    """Twice as good as the best constant, whose RMS error of a sine is sqrt(1/2)."""
    settings = tiny(width=40, epochs=60, train_points=400, lr_decay=0.95, sync_period=10)
    session = RegressionSession(settings, HERE)
    for _ in range(settings.epochs):
        session.train_epoch()
    assert session.look()["rmse"] < math.sqrt(1 / 2) / 2


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("target", "cosine", "sine, legendre, sine-2d, sine-3d"),
        ("init", "kaiming", ", ".join(INITS)),
        ("method", "plain", "laperm, index, adam"),
        ("batch_size", 7, "what divides 40 points"),
        ("width", 1, "2 or more"),
        ("networks", 0, "1 or more"),
        ("lr", 0.0, "above 0"),
        ("lr_decay", 1.5, "above 0, at most 1"),
    ],
)
def test_bad_settings(field: str, value: object, allowed: str) -> None:
    with pytest.raises(SettingError) as refused:
        tiny(**{field: value})
    assert str(refused.value) == f"{field} is {value!r}; allowed: {allowed}"


def arms_of(recipe_id: str, budget) -> list[Arm]:
    return RECIPES[recipe_id].arms(budget)


SIZES = {"regression-1d": 102, "regression-2d": 36, "regression-3d": 36}


@pytest.mark.parametrize("recipe_id", SIZES)
def test_quick_keeps_every_arm(recipe_id: str) -> None:
    quick, paper = (arms_of(recipe_id, budget) for budget in ("quick", "paper"))
    assert [arm.name for arm in quick] == [arm.name for arm in paper]
    assert len({arm.name for arm in paper}) == len(paper) == SIZES[recipe_id]
    for short, full in zip(quick, paper, strict=True):
        assert short.settings.target == full.settings.target
        steps = [arm.settings.epochs * arm.settings.steps_per_epoch for arm in (short, full)]
        assert steps[1] / steps[0] == (
            512 if "2d" in recipe_id else 102.4 if "3d" in recipe_id else 64
        )
        # As far between two synchronisations, to within rounding, and the same last rate.
        travel = [arm.settings.lr * arm.settings.sync_period for arm in (short, full)]
        assert travel[0] == pytest.approx(travel[1], rel=0.03)
        last = [arm.settings.lr_decay**arm.settings.epochs for arm in (short, full)]
        assert last[0] == pytest.approx(last[1])


def test_the_published_settings() -> None:
    found = {}
    for recipe_id in SIZES:
        for arm in arms_of(recipe_id, "paper"):
            s = arm.settings
            assert (s.epochs, s.lr, s.lr_decay, s.networks) == (6_400, 1e-3, 0.998, 10)
            epochs_a_sync = s.sync_period / s.steps_per_epoch
            found[s.target] = (s.batch_size, s.train_points, epochs_a_sync)
    assert found == {
        "sine": (8, 1_600, 5),
        "legendre": (8, 1_600, 5),
        "sine-2d": (128, 51_200, 5),
        "sine-3d": (640, 51_200, 20),
    }
    laperm = [a.settings for a in arms_of("regression-1d", "paper") if "sine, LaPerm" in a.group]
    assert {(s.init, s.width) for s in laperm} == {(i, w) for i in INITS for w in WIDTHS}


def test_the_list_of_recipes_tells_what_was_published() -> None:
    told = {recipe_id: published_in_words(RECIPES[recipe_id]) for recipe_id in SIZES}
    assert all("(CCQ" in text for text in told.values())
    assert "about -1/2; He's and Glorot's fail" in told["regression-1d"]
