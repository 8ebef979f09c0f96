"""Run folders and tables as curves and points; the record of ranking distances."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from run_problem import STEPS_PER_EPOCH, interrupted_run, place_in, plain, tiny
from torch import Tensor

from permtrain.core.granularity import named_tensors
from permtrain.core.permutation import ranking_distance
from permtrain.core.ranking import ranking
from permtrain.errors import CheckpointError, PictureError
from permtrain.lab.pictures.numbers.scores import SizedScore
from permtrain.lab.pictures.records import (
    curves_of,
    errors_by_width,
    labels_of,
    ranking_history,
    sized_scores,
)
from permtrain.lab.pictures.runs import run_weights
from permtrain.lab.pictures.weights import read_layers
from permtrain.lab.training import ranking_watch
from permtrain.lab.training.ranking_watch import RankingWatch, read_ranking
from permtrain.lab.training.run import resume_run, start_run
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    PermutationSettings,
    Settings,
    to_dict,
)
from permtrain.lab.training.trainer import Trainer


def table(folder: Path, text: str) -> Path:
    file = folder / "table.csv"
    file.write_text(text)
    return file


def test_curves_of_runs_are_grouped_over_seeds(tmp_path: Path) -> None:
    for settings in (tiny(), tiny(seed=1), plain()):
        start_run(settings, place_in(tmp_path))
    panels, unit = curves_of([tmp_path])
    (groups,) = panels.values()
    assert unit == "epoch"
    assert {label: len(curves) for label, curves in groups.items()} == {
        "laperm, sync_period=4": 2,
        "plain": 1,
    }
    (folder,) = tmp_path.glob("*-plain-*")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert groups["plain"] == [[(line["epoch"], 100 * line["test_accuracy"]) for line in lines]]


def test_labels_name_what_differs() -> None:
    runs = [Settings(), Settings(epochs=3), Settings(epochs=3, seed=2)]
    assert labels_of(runs) == ["laperm", "laperm, epochs=3", "laperm, epochs=3"]


def test_a_run_named_twice_is_no_second_seed(tmp_path: Path) -> None:
    run = start_run(tiny(), place_in(tmp_path)).folder
    assert curves_of([run, tmp_path, tmp_path / "." / run.name]) == curves_of([run])


def test_nor_is_a_table(tmp_path: Path) -> None:
    text = "arm,test_percent_at,test_percent,bytes,width,linf_each\n"
    text += '"a, n=4",5=60,60,9,4,1\n"a, n=8",5=60,60,9,8,.5\n'
    file = table(tmp_path, text)
    again = tmp_path / "." / ".." / tmp_path.name / file.name
    for read in (lambda files: curves_of(files)[0], sized_scores, errors_by_width):
        assert read([file, again]) == read([file])


def test_curves_of_tables(tmp_path: Path) -> None:
    file = table(tmp_path, "arm,seed,test_percent_at\na,0,1=50 2=60.5\nb,0,\na,1,1=52 2=61\n")
    assert curves_of([file]) == (
        {"": {"a": [[(1.0, 50.0), (2.0, 60.5)], [(1.0, 52.0), (2.0, 61.0)]]}},
        "optimizer step",
    )


def test_each_data_set_is_a_panel(tmp_path: Path) -> None:
    rows = "lenet5: LaPerm,mnist,1=90\nlenet5: LaPerm,fashion-mnist,1=80\nfc: LaPerm,mnist,1=95\n"
    assert curves_of([table(tmp_path, f"arm,data,test_percent_at\n{rows}")])[0] == {
        "mnist": {"lenet5: LaPerm": [[(1.0, 90.0)]], "fc: LaPerm": [[(1.0, 95.0)]]},
        "fashion-mnist": {"lenet5: LaPerm": [[(1.0, 80.0)]]},
    }
    settings = [
        Settings(data=DataSettings(data=data), model=model)
        for data in ("mnist", "fashion-mnist")
        for model in ("lenet5", "f1")
    ]
    for number, each in enumerate(settings):
        folder = tmp_path / "runs" / str(number)
        folder.mkdir(parents=True)
        (folder / "settings.json").write_text(json.dumps(to_dict(each)))
        line = {"epoch": 1, "step": 9, "train_loss": 1.0, "test_loss": 1.0, "wall_s": 1.0}
        line["test_accuracy"] = number / 4
        (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    assert curves_of([tmp_path / "runs"])[0] == {
        "mnist": {"lenet5: laperm": [[(1, 0.0)]], "f1: laperm": [[(1, 25.0)]]},
        "fashion-mnist": {"lenet5: laperm": [[(1, 50.0)]], "f1: laperm": [[(1, 75.0)]]},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arm,test_percent_at\na,1=x\n", r"line 2: test_percent_at is '1=x'; allowed: steps and"),
        ("arm,test_percent\na,97\n", "no accuracies along training, in a column test_percent_at"),
        ("arm,test_percent_at\n", "holds no rows"),
    ],
)
def test_tables_without_curves(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=message):
        curves_of([table(tmp_path, text)])


def test_sources_of_curves_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        PictureError, match="holds no run; allowed: the folder of a run, or of runs"
    ):
        curves_of([tmp_path])
    with pytest.raises(PictureError, match="sources are both run folders and tables"):
        curves_of([tmp_path, table(tmp_path, "arm\na\n")])
    with pytest.raises(CheckpointError, match=r"no run folder, settings\.json is missing"):
        curves_of([tmp_path / "nowhere"])


def test_scores_of_tables(tmp_path: Path) -> None:
    file = table(tmp_path, "arm,seed,test_percent,file_bytes\na,0,97.5,300\na,1,,310\n")
    assert sized_scores([file]) == [SizedScore("a", 300.0, 0.975)]
    file = table(tmp_path, "recipe,test_accuracy,bytes\nr,0.5,20\n")
    assert sized_scores([file]) == [SizedScore("r", 20.0, 0.5)]


def test_rows_of_other_settings_are_not_drawn(tmp_path: Path) -> None:
    rows = "a,complete,97,300,5=60\na,other settings,50,900,5=10\nb,failed,,,\n"
    file = table(tmp_path, f"arm,status,test_percent,bytes,test_percent_at\n{rows}")
    assert sized_scores([file]) == [SizedScore("a", 300.0, 0.97)]
    assert curves_of([file])[0] == {"": {"a": [[(5.0, 60.0)]]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arm,test_percent\na,97\n", "has no column file_bytes; allowed: one of file_bytes, bytes"),
        ("arm,file_bytes\na,97\n", "has no column test_percent; allowed: one of test_percent"),
        ("arm,test_percent,bytes\na,97,big\n", "line 2: test_percent is '97', bytes is 'big'"),
        ("arm,test_percent,bytes\na,97,\n", "no row tells both an accuracy and bytes"),
    ],
)
def test_tables_without_scores(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=message):
        sized_scores([table(tmp_path, text)])


Weights = NDArray[np.float32]


def value_percentiles(w_VL: Weights) -> NDArray[np.float64]:
    """Of the values of every weight vector, (3, V); interpolated linearly."""
    return np.percentile(w_VL.astype(np.float64), (15, 50, 85), axis=1)


def ranking_distances(before_VL: Weights, after_VL: Weights) -> tuple[float, float]:
    """Mean and standard deviation of |R_after - R_before| over all weights, divided by L."""
    before, after = (np.argsort(np.argsort(w_VL, kind="stable")) for w_VL in (before_VL, after_VL))
    distance_VL = np.abs(after - before) / before_VL.shape[1]
    return float(distance_VL.mean()), float(distance_VL.std())


def test_history_of_a_watched_run(tmp_path: Path) -> None:
    folder = start_run(plain(watch_ranking_distance=True), place_in(tmp_path)).folder
    history = ranking_history(folder)
    before, after = run_weights(folder).by_unit()
    assert history.layer == next(iter(before))
    assert history.epochs.tolist() == [0, 1, 2, 3]
    ends = [before[history.layer], after[history.layer]]
    for place, w_VL in zip((0, -1), ends, strict=True):
        np.testing.assert_allclose(history.percentiles[place], value_percentiles(w_VL), rtol=1e-12)
        assert history.lowest[place] == w_VL.min()
        assert history.highest[place] == w_VL.max()
    steps = np.arange(1, 3 * STEPS_PER_EPOCH + 1)
    assert history.distance_epochs.tolist() == (steps / STEPS_PER_EPOCH).tolist()
    assert len(history.mean) == len(steps)
    assert history.mean.any()
    assert history.loss_name == "test loss"
    assert [epoch for epoch, _ in history.losses] == [1, 2, 3]


class SlowWatch:
    """The distances, by whole copies of the weights."""

    def __init__(self, trainer: Trainer) -> None:
        self.weight = next(t.parameter for t in named_tensors(trainer.model) if t.is_weight)
        self.before = self.weight.detach().clone()
        self.distances: list[tuple[float, float]] = []

    def after_step(self, trainer: Trainer) -> None:
        now = self.weight.detach().clone()
        distance = ranking_distance(self.before, now).double() / now[0].numel()
        self.distances.append((distance.mean().item(), distance.std(correction=0).item()))
        self.before = now

    def after_epoch(self, trainer: Trainer, metrics: object) -> None:
        pass


def test_watched_distances_are_those_between_steps(tmp_path: Path) -> None:
    trainer = Trainer(tiny(), place_in(tmp_path))
    slow = SlowWatch(trainer)
    trainer.run([RankingWatch(tmp_path / "ranking.jsonl", trainer), slow])
    lines = [json.loads(line) for line in (tmp_path / "ranking.jsonl").read_text().splitlines()]
    watched = [pair for line in lines for pair in zip(line["mean"], line["deviation"], strict=True)]
    assert watched == slow.distances
    assert any(mean > 0 for mean, _ in watched)


def test_every_layer_is_watched_where_asked_for(tmp_path: Path) -> None:
    settings = tiny(watch_ranking_distance=True, watch_every_layer=True)
    folder = start_run(settings, place_in(tmp_path / "all")).folder
    first = start_run(tiny(watch_ranking_distance=True), place_in(tmp_path / "first")).folder
    lines, of_first = (read_ranking(each / "ranking.jsonl") for each in (folder, first))
    names = ["conv1.weight", "conv2.weight", "conv3.weight", "output.weight"]
    assert [(line["epoch"], line["layer"]) for line in lines] == [
        (epoch, name) for epoch in range(4) for name in names
    ]
    assert [line for line in lines if line["layer"] == names[0]] == of_first
    history = ranking_history(folder, "output.weight")
    assert history.layer == "output.weight"
    assert history.percentiles.shape == (4, 3, 10)
    assert len(history.mean) == 3 * STEPS_PER_EPOCH
    assert ranking_history(folder).layer == names[0]
    with pytest.raises(PictureError, match=r"layer is 'fc'; recorded in .*: conv1.weight, conv2"):
        ranking_history(folder, "fc")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_ranks_are_those_of_the_ranking(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 2, 9, 9, generator=generator).to(dtype)  # 16 bits: ties
    ranks = ranking_watch._ranks(weight.flatten(1))
    assert torch.equal(ranks.long(), ranking(weight.flatten(1)).long())


def test_a_summary_by_hand(tmp_path: Path) -> None:
    def line(epoch: int, layer: str, shift: float, mean: list[float]) -> dict[str, object]:
        return {
            "epoch": epoch,
            "layer": layer,
            "percentiles": [[shift - 1.0, shift], [shift, shift], [shift, shift + 2.0]],
            "lowest": shift - 1.0,
            "highest": shift + 2.0,
            "steps": list(range(len(mean))),
            "mean": mean,
            "deviation": [2 * each for each in mean],
        }

    lines = [
        line(0, "a", 0.0, []),
        line(0, "b", 9.0, []),
        line(1, "a", 5.0, [0.5, 0.25]),
        line(1, "b", 9.0, [9.0, 9.0]),
        line(2, "a", 1.0, [0.125]),
        line(2, "b", 9.0, [9.0]),
    ]
    file = tmp_path / "ranking.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert ranking_watch.ranking_summary(file) == {
        "ranking_distance": 0.291667,
        "ranking_deviation": 0.583333,
        "ranking_distance_at": "1=0.375 2=0.125",
        "weight_percentiles_first": "-0.5000 0.0000 1.0000",
        "weight_percentiles_last": "0.5000 1.0000 2.0000",
    }


class FollowingWatch:
    """Distances between steps by stable sorting in NumPy, of what a function finds in a trainer."""

    def __init__(self, trainer: Trainer, values: Callable[[Trainer], Tensor]) -> None:
        self.values = values
        self.seen = [self._now(trainer)]

    def _now(self, trainer: Trainer) -> Weights:
        return self.values(trainer).detach().flatten(1).numpy().copy()

    @property
    def distances(self) -> list[tuple[float, float]]:
        return [ranking_distances(one, other) for one, other in pairwise(self.seen)]

    def after_step(self, trainer: Trainer) -> None:
        self.seen.append(self._now(trainer))

    def after_epoch(self, trainer: Trainer, metrics: object) -> None:
        pass


def shown(trainer: Trainer) -> Tensor:
    return next(t.parameter for t in named_tensors(trainer.model) if t.is_weight)


FOLLOWED: dict[str, tuple[PermutationSettings, Callable[[Trainer], Tensor]]] = {
    "laperm": (PermutationSettings(sync_period=4), shown),
    "index": (PermutationSettings(method="index"), lambda t: t.method.tensors[0].scores),
    "index, every fourth step": (
        PermutationSettings(method="index", sync_period=4),
        lambda t: t.method.tensors[0].scores,
    ),
    "supermask": (PermutationSettings(method="supermask"), lambda t: t.method.masked[0].score),
}


@pytest.mark.parametrize("method", FOLLOWED)
def test_a_watch_follows_what_is_trained_in_nets_of_few_levels(method: str, tmp_path: Path) -> None:
    """Profiles of three levels are full of ties, which rank by position."""
    permutation, followed = FOLLOWED[method]
    settings = tiny(permutation=permutation, initial=InitialSettings(levels=3))
    trainer = Trainer(settings, place_in(tmp_path))
    watches = [FollowingWatch(trainer, values) for values in (followed, shown)]
    trainer.run([RankingWatch(tmp_path / "ranking.jsonl", trainer), *watches])
    lines = [json.loads(line) for line in (tmp_path / "ranking.jsonl").read_text().splitlines()]
    found = [pair for line in lines for pair in zip(line["mean"], line["deviation"], strict=True)]
    followed_watch, shown_watch = watches
    np.testing.assert_allclose(found, followed_watch.distances, rtol=1e-12)
    last = followed_watch.seen[-1]
    assert (lines[-1]["lowest"], lines[-1]["highest"]) == (last.min(), last.max())
    np.testing.assert_allclose(lines[-1]["percentiles"], value_percentiles(last), rtol=1e-12)
    num_levels = {len(np.unique(vector)) for vector in shown_watch.seen[4]}  # after 4 steps
    assert max(num_levels) <= 3
    if followed is not shown:
        assert len(np.unique(last)) > 100
        assert shown_watch.distances != followed_watch.distances
    if method == "laperm":  # a synchronisation alone changes the order of what ties
        assert found[3] != (0.0, 0.0)


@pytest.mark.parametrize("step", [1, STEPS_PER_EPOCH - 1, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 3])
def test_watching_changes_no_weight_and_goes_on_after_a_stop(step: int, tmp_path: Path) -> None:
    watched = plain(watch_ranking_distance=True, watch_every_layer=True)
    whole = start_run(watched, place_in(tmp_path / "a")).folder
    unwatched = start_run(plain(), place_in(tmp_path / "b")).folder
    stopped = interrupted_run(watched, place_in(tmp_path / "c"), step)
    resume_run(stopped, place_in(tmp_path / "c"))
    assert (whole / "ranking.jsonl").read_text() == (stopped / "ranking.jsonl").read_text()
    one, other = read_layers(whole), read_layers(unwatched)
    assert all(torch.equal(torch.tensor(one[n]), torch.tensor(other[n])) for n in one)
    with pytest.raises(PictureError, match="a run that was trained with --watch-ranking-distance"):
        ranking_history(unwatched)
