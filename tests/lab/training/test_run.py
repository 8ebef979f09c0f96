"""What a run writes and says; what decides its outcome, and what does not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import run_problem
import torch
from rich.console import Console
from run_problem import interrupted_run, metrics_of, outcome, place_in, plain, run_all, tiny
from safetensors.torch import load_file, save_file
from torch import nn

from permtrain.errors import CheckpointError, SettingError
from permtrain.initial.initialize import recorded_initial_weights
from permtrain.lab.cli.result_table import show_result
from permtrain.lab.training.device import choose_device
from permtrain.lab.training.result import RunResult
from permtrain.lab.training.run import (
    load_run,
    resume_run,
    start_run,
    verify_trainer,
    verify_weights_file,
)
from permtrain.lab.training.run_folder import RunFolder, RunIsBegun, new_run_folder
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Place,
    Settings,
    SGPermSettings,
    run_name,
    to_dict,
)
from permtrain.lab.training.trainer import Trainer
from permtrain.optim.permuter import Permuter
from permtrain.optim.rewiring import Rewiring


def test_the_same_seed_twice_and_another_one(tmp_path: Path) -> None:
    folders = [
        start_run(settings, place_in(tmp_path / str(i))).folder
        for i, settings in enumerate((tiny(), tiny(), tiny(seed=1)))
    ]
    first, again, other = (outcome(folder) for folder in folders)
    assert first == again
    assert first[1] != other[1]
    assert first[0] != other[0]


def test_a_run_folder_holds_what_it_should(tmp_path: Path) -> None:
    result = start_run(tiny(), place_in(tmp_path))
    assert result.folder == tmp_path / run_name(tiny())
    assert {path.name for path in result.folder.iterdir()} == {
        ".lock", "settings.json", "environment.json", "metrics.jsonl", "checkpoints",
        "weights.safetensors", "packed.safetensors", "result.json", "place.json", "origin.json",
    }  # fmt: skip
    assert json.loads((result.folder / "settings.json").read_text()) == to_dict(tiny())
    environment = json.loads((result.folder / "environment.json").read_text())
    assert environment["threads"] == 1
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["device"].startswith("cpu, ")
    assert environment["device"].endswith(f", {torch.backends.cpu.get_cpu_capability()}")
    assert set(environment) == {
        "packages", "python", "system", "device", "threads", "memory_format", "compile", "commit",
        "begun",
    }  # fmt: skip
    history = metrics_of(result.folder)
    assert [(line["epoch"], line["step"], line["lr"]) for line in history] == [
        (1, 5, 1e-3), (2, 10, 1e-3), (3, 15, 1e-3),
    ]  # fmt: skip
    assert RunResult.read(RunFolder(result.folder)) == result
    assert result.test_accuracy == history[-1]["test_accuracy"]
    assert result.epochs == 3


def test_the_weights_file_holds_the_arranged_weights(tmp_path: Path) -> None:
    """Fifteen steps with a period of four: the run ends in mid-period."""
    result = start_run(tiny(), place_in(tmp_path))
    weights = load_file(result.folder / "weights.safetensors")
    trainer = Trainer(tiny(), place_in(tmp_path))
    initial = recorded_initial_weights(trainer.model)
    assert isinstance(trainer.method, Permuter)
    assert len(trainer.method.tensors) == 4
    for tensor in trainer.method.tensors:
        now, before = (tensor.cut.to_vectors(x[tensor.name]) for x in (weights, initial))
        assert torch.equal(now.sort(dim=1).values, before.sort(dim=1).values)
        assert not torch.equal(now, before)
    trainer.model.load_state_dict(weights)
    trainer.method.detach()
    assert trainer.evaluate(trainer.test_split).accuracy == result.test_accuracy


def test_a_network_in_channels_last_is_saved_too(tmp_path: Path, monkeypatch) -> None:
    def channels_last(image_shape, num_classes):
        net = run_problem.net_with_dropout(image_shape, num_classes)
        return net.to(memory_format=torch.channels_last)

    monkeypatch.setattr(run_problem, "channels_last", channels_last, raising=False)
    settings = tiny(model="run_problem:channels_last", data=DataSettings(train_images=64))
    result = start_run(settings, place_in(tmp_path))
    assert load_file(result.folder / "weights.safetensors")["0.weight"].is_contiguous()
    assert result.intact


@pytest.mark.parametrize("fraction", [0.0, 0.2])
def test_what_the_best_epoch_is_chosen_on(fraction: float, tmp_path: Path) -> None:
    settings = tiny(data=DataSettings(train_images=100, validation_fraction=fraction))
    result = start_run(settings, place_in(tmp_path))
    chosen_on = "validation" if fraction else "test"
    assert result.selected_on == chosen_on
    assert ("validation_loss" in metrics_of(result.folder)[0]) == bool(fraction)
    with (console := Console(width=120)).capture() as said:
        show_result(settings, {"laperm": result}, console)
    assert f"best epoch (chosen on {chosen_on})" in said.get()
    assert f"proof: {result.verification}" in said.get()
    assert f"folder: {result.folder}" in said.get().replace("\n", "")


@pytest.mark.parametrize(("epochs", "words"), [(1, "1 epoch"), (2, "2 epochs")])
def test_epochs_are_counted_in_words(epochs: int, words: str, tmp_path: Path) -> None:
    result = start_run(plain(epochs=epochs), place_in(tmp_path))
    with (console := Console(width=120)).capture() as said:
        show_result(plain(epochs=epochs), {"plain": result}, console)
    assert said.get().splitlines()[0].strip() == f"digits-cnn on digits, {words}"


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("laperm", "a larger --lr (now 0.001) or --sync-period (now 4) moves them farther, and"),
        ("index", "a larger --lr (now 0.001) moves them farther, and"),
        ("sgperm", "a larger --aggressiveness (now 0.05) moves them farther, and"),
    ],
)
def test_where_weights_hardly_moved_a_line_says_what_to_change(
    method: str, told: str, tmp_path: Path
) -> None:
    period = 4 if method == "laperm" else None
    settings = tiny(epochs=1, permutation=PermutationSettings(method, sync_period=period))
    result = start_run(settings, place_in(tmp_path))
    assert result.travel is not None
    for distance, lines in ((0.0099, [f"hint:   weights hardly moved: {told}"]), (0.01, [])):
        moved = replace(result, travel=replace(result.travel, mean_ranking_distance=distance))
        with (console := Console(width=200)).capture() as said:
            show_result(settings, {method: moved}, console)
        hints = [each for each in said.get().splitlines() if each.startswith("hint")]
        assert [each.removesuffix(" so do more epochs") for each in hints] == lines


def test_methods_that_permute_nothing_have_no_proof(tmp_path: Path) -> None:
    result = start_run(plain(epochs=1), place_in(tmp_path))
    assert (result.verification, result.intact, result.travel) == (None, None, None)
    with (console := Console(width=120)).capture() as said:
        show_result(plain(), {"plain": result}, console)
    assert "proof" not in said.get()


def test_the_proof_of_a_rewired_run_is_of_the_moment_of_the_switch(tmp_path: Path) -> None:
    settings = tiny(
        initial=InitialSettings(sparsity=0.5),
        permutation=PermutationSettings(sync_period=4, permuted_steps=6),
    )
    result = start_run(settings, place_in(tmp_path))
    assert result.intact
    assert result.verification == (
        "at step 6, where permutation ended, all 90 weight vectors hold exactly their initial "
        "values"
    )
    assert result.travel is not None
    assert result.travel.moved_fraction > 0
    weights = load_file(result.folder / "weights.safetensors")
    trainer = load_run(result.folder, place_in(tmp_path))
    assert isinstance(trainer.method, Rewiring)
    for name, rewired in trainer.method.rewired.items():
        assert torch.equal(weights[name] == 0, rewired == 0)
        assert not torch.equal(weights[name], rewired)
    verification, _ = verify_trainer(trainer)
    assert verification
    assert verify_weights_file(trainer, result.folder / "weights.safetensors") is None
    name = next(iter(trainer.method.rewired))
    trainer.method.rewired[name][0] += 1
    verification, travel = verify_trainer(trainer)
    assert (verification.changed, travel) == ({name: [0]}, None)


def test_a_violated_invariant_is_reported(tmp_path: Path) -> None:
    trainer = Trainer(tiny(), place_in(tmp_path))
    trainer.run()
    with torch.no_grad():
        trainer.method.tensors[1].profile[3, 0] -= 1
    verified = verify_trainer(trainer)
    assert verified is not None
    verification, travel = verified
    assert verification.changed == {"conv2.weight": [3]}
    assert travel is None
    result = replace(
        start_run(tiny(epochs=1), place_in(tmp_path)),
        verification=str(verification),
        intact=False,
        travel=None,
    )
    with (console := Console(width=200)).capture() as said:
        show_result(tiny(), {"laperm": result}, console)
    assert "VIOLATED: 1 of 90 weight vectors hold other values: conv2.weight (1 of" in said.get()


def test_biases_in_rows_are_verified_with_their_rows(tmp_path: Path) -> None:
    settings = tiny(
        permutation=PermutationSettings(method="sgperm", permute_biases=True),
        sgperm=SGPermSettings(permuted_biases="row"),
    )
    result = start_run(settings, place_in(tmp_path))
    assert result.intact
    assert result.travel is not None
    trainer = load_run(result.folder, place_in(tmp_path))
    layers = [name.removesuffix(".weight") for name in trainer.optimizer.cuts]
    initial, now = recorded_initial_weights(trainer.model), trainer.model.state_dict()
    for layer in layers:
        before, after = (
            torch.cat([x[f"{layer}.weight"].flatten(1), x[f"{layer}.bias"][:, None]], dim=1)
            for x in (initial, now)
        )
        assert torch.equal(before.sort(dim=1).values, after.sort(dim=1).values)
    assert any(not torch.equal(initial[f"{x}.bias"], now[f"{x}.bias"]) for x in layers)

    weights = load_file(result.folder / "weights.safetensors")
    file = tmp_path / "changed.safetensors"
    weights[f"{layers[0]}.bias"][2] += 1
    save_file(weights, file)
    changed = verify_weights_file(trainer, file)
    assert changed is not None
    assert changed.changed == {f"{layers[0]}.weight": [2]}
    del weights[f"{layers[0]}.bias"]
    save_file(weights, file)
    with pytest.raises(CheckpointError, match=f"holds no {layers[0]}.bias"):
        verify_weights_file(trainer, file)


def test_a_complete_run_is_copied_and_a_begun_one_refused(tmp_path: Path) -> None:
    name = run_name(tiny(epochs=1))
    place = place_in(tmp_path)
    folders = [result.folder.name for result in run_all([tiny(epochs=1)] * 3, place)]
    assert folders == [name, f"{name}-2", f"{name}-3"]
    (tmp_path / f"{name}-3" / "result.json").unlink()
    with pytest.raises(RunIsBegun) as refused:
        start_run(tiny(epochs=1), place)
    folder = tmp_path / f"{name}-3"
    assert str(refused.value) == (
        f"{folder} was begun and is not complete; go on with: permtrain resume {folder}; "
        "or remove it"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(folders)


def test_a_name_that_is_taken_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(SettingError, match="taken was begun and is not complete"):
        new_run_folder(tmp_path, "taken", tiny(), Place(), torch.device("cpu"))
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_moved_folder_resumes_where_it_is(tmp_path: Path) -> None:
    from permtrain.lab.training.run import resume_run

    folder = interrupted_run(tiny(), place_in(tmp_path), 7)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    assert resume_run(Path(moved), place_in(tmp_path)).folder == Path(moved)
    assert not folder.exists()


def five_outputs() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))


def test_a_network_for_other_classes_is_refused_before_any_folder(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(run_problem, "five_outputs", five_outputs, raising=False)
    message = (
        r"model 'run_problem:five_outputs' gives outputs of shape \(1, 5\) for one image; "
        r"allowed: \(1, 10\), one for each class"
    )
    with pytest.raises(SettingError, match=message):
        start_run(tiny(model="run_problem:five_outputs"), place_in(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is allowed without CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "gpu", ""])
def test_a_device_that_is_not_here(name: str) -> None:
    with pytest.raises(SettingError) as refused:
        choose_device(name)
    assert str(refused.value) == f"device is {name!r}; allowed here: cpu; for a new run auto"


def test_frozen_zeros_train_a_sparse_net(tmp_path: Path) -> None:
    settings = tiny(
        permutation=PermutationSettings(method="plain-frozen-zeros"),
        initial=InitialSettings(sparsity=0.75),
    )
    result = start_run(settings, place_in(tmp_path))
    weights = load_file(result.folder / "weights.safetensors")
    for name, size in (("conv1", 144), ("conv2", 4608), ("output", 1280)):
        assert int((weights[f"{name}.weight"] == 0).sum()) == 0.75 * size


def test_layer_sparsity_reaches_the_layers_it_names(tmp_path: Path) -> None:
    settings = tiny(initial=InitialSettings(layer_sparsity={"conv2.*": 0.5}), epochs=1)
    weights = load_file(start_run(settings, place_in(tmp_path)).folder / "weights.safetensors")
    assert int((weights["conv2.weight"] == 0).sum()) == 2304
    assert weights["conv1.weight"].all()


OWN_NETS = """
from torch import nn
def on_vectors():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.BatchNorm1d(9), nn.Linear(9, 10))
def on_one_pixel():
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(1, 10)
    )
def on_rows():
    return nn.Sequential(
        nn.Flatten(2), nn.BatchNorm1d(1), nn.Dropout(), nn.Flatten(), nn.Linear(64, 10)
    )
"""


@pytest.fixture
def _own_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_norms.py").write_text(OWN_NETS)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_own_nets")
@pytest.mark.parametrize("net", ["on_vectors", "on_one_pixel"])
@pytest.mark.parametrize(("num_images", "size"), [(33, 32), (5, 1), (1, 32)])
def test_a_last_batch_of_one_is_refused_where_batch_norm_sees_one_value(
    net: str, num_images: int, size: int
) -> None:
    settings = Settings(
        data=DataSettings(train_images=num_images), model=f"own_norms:{net}", batch_size=size
    )
    with pytest.raises(SettingError) as refused:
        Trainer(settings, Place())
    assert str(refused.value).startswith(
        f"batch_size is {size}, which leaves a last batch of one of {num_images} images, and model "
        f"'own_norms:{net}' cannot be trained on one (Expected more than 1 value per channel"
    )


@pytest.mark.usefixtures("_own_nets")
def test_trying_a_last_batch_of_one_leaves_no_trace(tmp_path: Path) -> None:
    settings = Settings(model="own_norms:on_rows", batch_size=32, epochs=1)
    alone, beside = (
        Trainer(replace(settings, data=DataSettings(train_images=number)), place_in(tmp_path))
        for number in (33, 34)
    )
    assert torch.equal(alone.state_dict()["rng_cpu"], beside.state_dict()["rng_cpu"])
    for name, value in alone.model.state_dict().items():
        assert torch.equal(value, beside.model.state_dict()[name]), name
    alone.run()
    assert alone.is_finished


def test_a_run_goes_on_where_it_was_started(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PERMTRAIN_DATA", str(tmp_path / "data"))
    started = Place(threads=1, keep_checkpoints=5)
    torch.set_num_threads(1)
    folder = new_run_folder(tmp_path, "run", tiny(), started, torch.device("cpu"))
    place = folder.place(Place(checkpoint_steps=3))
    assert (place.threads, place.device, place.keep_checkpoints) == (1, "cpu", 5)
    assert place.checkpoint_steps == 3
    assert place.data_folder == tmp_path / "data"
    assert folder.place(Place(threads=2)).threads == 2


def test_a_run_stops_where_validation_is_no_better(tmp_path: Path) -> None:
    data = DataSettings(train_images=100, validation_fraction=0.2)
    # At this rate all is at chance soon.
    optimizer = OptimizerSettings(lr=10.0)
    settings = plain(data=data, optimizer=optimizer, epochs=40, patience=3)
    result = start_run(settings, place_in(tmp_path / "a"))
    history = metrics_of(result.folder)
    accuracies = [metrics["validation_accuracy"] for metrics in history]
    stops = next(
        epoch
        for epoch in range(4, 41)
        if max(accuracies[epoch - 3 : epoch]) <= max(accuracies[: epoch - 3])
    )
    assert result.epochs == len(history) == stops < 40
    assert result.best_epoch == stops - 3
    assert RunFolder(result.folder).last_checkpoint().stem == f"step-{stops * 4:09d}"
    whole = start_run(replace(settings, patience=None), place_in(tmp_path / "b"))
    assert [each["train_loss"] for each in metrics_of(whole.folder)[:stops]] == [
        each["train_loss"] for each in history
    ]
    with (console := Console(width=200)).capture() as said:
        show_result(settings, {"plain": result}, console)
    assert (
        f"plain stopped after epoch {stops}: none since epoch {stops - 3} was better on validation "
        "images (patience 3); that one: --checkpoint best"
    ) in said.get()


def test_a_run_that_stops_early_goes_on_from_a_checkpoint_to_the_same_end(tmp_path: Path) -> None:
    data = DataSettings(train_images=100, validation_fraction=0.2)
    settings = plain(data=data, optimizer=OptimizerSettings(lr=10.0), epochs=40, patience=3)
    whole = start_run(settings, place_in(tmp_path / "a"))
    folder = interrupted_run(settings, place_in(tmp_path / "b"), 6)
    assert resume_run(folder, place_in(tmp_path)).epochs == whole.epochs
    assert outcome(folder) == outcome(whole.folder)
