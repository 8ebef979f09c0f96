"""A network for text from its first step to its packed file: the same commands as for images."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_problem import interrupted_run, metrics_of, outcome, place_in

from permtrain import unpack
from permtrain.errors import CheckpointError, SettingError
from permtrain.lab.cli.main import main
from permtrain.lab.models.registry import build_network
from permtrain.lab.report.measures import MEASURES, measures_of
from permtrain.lab.training.run import load_run, resume_run, start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.sampling import sample
from permtrain.lab.training.settings import (
    DataSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

PLACE = ["--threads", "1", "--device", "cpu"]
CONTEXT = 8


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "book.txt"
    file.write_text("to be, or not to be: that is the question\n" * 30)
    return file


def settings_of(book: Path, **permutation: object) -> Settings:
    """Two epochs of six steps: warm-up, cosine and clipping too."""
    return Settings(
        data=DataSettings(
            str(book), context=CONTEXT, train_images=24, test_images=9, validation_fraction=0.1
        ),
        model="gpt-char",
        permutation=PermutationSettings(**permutation),
        optimizer=OptimizerSettings(
            lr=3e-3, betas=(0.9, 0.95), lr_warmup=4, lr_cosine=True, clip_gradient=1.0
        ),
        epochs=2,
        batch_size=4,
    )


@pytest.fixture(scope="module")
def folder(book: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of LaPerm, which ends in mid-period."""
    place = place_in(tmp_path_factory.mktemp("runs"))
    return start_run(settings_of(book, method="laperm", sync_period=5), place).folder


@pytest.mark.parametrize(
    "method",
    [
        {"method": "laperm", "sync_period": 5},
        {"method": "index", "granularity": "layer"},
        {"method": "sgperm"},
        {"method": "plain"},
    ],
    ids=lambda method: method["method"],
)
def test_a_resumed_run_equals_one_that_went_through(method, book: Path, tmp_path: Path) -> None:
    settings = settings_of(book, **method)
    whole = start_run(settings, place_in(tmp_path / "whole"))
    place = place_in(tmp_path / "halves")
    halves = interrupted_run(settings, place, step=8)
    torch.manual_seed(99)
    resume_run(halves, place)
    assert outcome(halves) == outcome(whole.folder)
    assert whole.intact == (None if method["method"] == "plain" else True)


def test_bits_are_the_mean_logarithm_of_the_odds_of_each_next_character(
    folder: Path, book: Path
) -> None:
    trainer = load_run(folder, place_in(folder.parent))
    text, characters = book.read_text(), trainer.class_names
    train = text[: -int(0.1 * len(text))]
    num_validation = round(0.1 * (len(train) // CONTEXT - 1))
    parts = {
        "test": (text[-int(0.1 * len(text)) :], 9),
        "validation": (train[-(num_validation + 1) * CONTEXT :], num_validation),
    }
    (result,) = [json.loads((folder / "result.json").read_text())]
    for name, (part, num_windows) in parts.items():
        bits = []
        for start in range(0, num_windows * CONTEXT, CONTEXT):
            codes = [characters.index(each) for each in part[start : start + CONTEXT + 1]]
            with torch.no_grad(), trainer.method.arranged():
                logits = trainer.model.eval()(torch.tensor(codes[:-1])[None, None, None])[0]
            for place, following in enumerate(codes[1:]):
                odds = torch.softmax(logits[:, place].double(), 0)[following]
                bits.append(-math.log2(float(odds)))
        expected = sum(bits) / len(bits)
        assert metrics_of(folder)[-1][f"{name}_bits"] == pytest.approx(expected, rel=1e-6)
        assert result[f"{name}_bits"] == pytest.approx(expected, rel=1e-6)


def test_a_sample_equals_that_of_the_packed_file(folder: Path) -> None:
    run = RunFolder(folder)
    trainer = load_run(folder, place_in(folder.parent), images=False)
    with trainer.method.arranged():
        drawn = sample(trainer.model, CONTEXT, [0], 60, temperature=1.3, seed=4)
    network = build_network("gpt-char", (1, 1, CONTEXT), len(trainer.class_names))
    network.load_state_dict(unpack(run.packed_file))
    assert sample(network, CONTEXT, [0], 60, temperature=1.3, seed=4) == drawn
    assert sample(network, CONTEXT, [0], 60, temperature=1.3, seed=5) != drawn


def test_temperature_zero_takes_the_likeliest_character_of_the_last_context() -> None:
    torch.manual_seed(0)
    network = build_network("gpt-char", (1, 1, 4), 6)
    codes = [1, 2, 3, 4, 5, 0]
    expected = list(codes)
    for _ in range(7):
        logits = network(torch.tensor(expected[-4:])[None, None, None])
        expected.append(int(logits[0, :, -1].argmax()))
    assert network.training
    assert codes + sample(network, 4, codes, 7, temperature=0) == expected


def test_commands_take_a_run_of_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder), *PLACE]) == 0
    line = metrics_of(folder)[-1]
    told = f"{line['test_bits']:.4f} bits a character"
    said = capsys.readouterr().out
    assert told in said
    assert "' '" in said
    assert main(["verify", str(folder), *PLACE]) == 0
    shown = [MEASURES[key] for key in measures_of([metrics_of(folder)])]
    assert {"test bits per character", "validation bits per character"} <= set(shown)
    command = ["sample", str(folder), *PLACE, "--prompt", "to ", "--length", "30"]
    texts = []
    for seed in ("3", "3", "4"):
        capsys.readouterr()
        assert main([*command, "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("to ")
    assert len(texts[0]) == 3 + 30 + 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["predict", "RUN", "a.png"], "was trained on text; allowed: runs on images"),
        (["sample", "RUN", "--prompt", "Q"], "prompt has 'Q'; allowed: characters of the text"),
        (["sample", "RUN", "--temperature", "-1"], "temperature is -1.0; allowed: 0 or more"),
        (["sample", "RUN", "--length", "-2"], "length is -2; allowed: 0 or more"),
    ],
)
def test_what_a_run_of_text_refuses(
    command: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*(str(folder) if word == "RUN" else word for word in command), *PLACE]) == 1
    assert message in capsys.readouterr().err


def test_a_run_of_images_has_no_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = start_run(Settings(epochs=1, data=DataSettings(train_images=32)), place_in(tmp_path))
    assert main(["sample", str(run.folder), *PLACE]) == 1
    assert "was trained on images; allowed: runs on text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalization": "unit"}, "normalization is 'unit'; allowed: nothing with text"),
        ({"model": "logistic"}, "fails on an image of shape|gives outputs of shape"),
    ],
)
def test_settings_that_mean_nothing_for_text_are_refused(
    changes: dict[str, str], message: str, book: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=message):
        start_run(replace(settings_of(book), **changes), place_in(tmp_path))
    assert not list(tmp_path.iterdir())


def test_context_is_refused_with_images(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="context is 8; allowed with images: nothing"):
        start_run(Settings(data=DataSettings(context=8)), place_in(tmp_path))


def test_a_text_that_changed_is_told_before_a_run_goes_on(book: Path, tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text(book.read_text())
    place = place_in(tmp_path / "runs")
    folder = interrupted_run(settings_of(file), place, step=8)
    file.write_text(book.read_text().replace("question", "answer..", 1))
    with pytest.raises(CheckpointError, match="are not those of the run"):
        resume_run(folder, place)
