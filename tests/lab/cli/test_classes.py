"""What a run says of classes and of single images: `evaluate`, `predict`."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_problem import place_in, tiny

from permtrain.errors import DataError
from permtrain.lab.cli.main import main
from permtrain.lab.data.crops import middle_square
from permtrain.lab.data.digits import read_digits
from permtrain.lab.data.single import read_image
from permtrain.lab.training.run import load_run, start_run

PLACE = ["--threads", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return start_run(tiny(), place_in(tmp_path_factory.mktemp("complete"))).folder


def test_evaluate_tells_each_class(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), *PLACE]) == 0
    first, _, *lines = capsys.readouterr().out.splitlines()
    accuracy = float(re.search(r"accuracy ([\d.]+)%", first)[1])
    table = [line.split() for line in lines[1:11]]
    matrix = [line.split() for line in lines[-10:]]
    counts = np.array([[int(each.replace(".", "0")) for each in row[1:]] for row in matrix])
    labels = read_digits("digits").test.labels.numpy()
    assert [row[0] for row in table] == [row[0] for row in matrix] == list("0123456789")
    assert counts.sum(1).tolist() == np.bincount(labels).tolist()
    assert [int(row[1]) for row in table] == counts.sum(1).tolist()
    assert [row[2] for row in table] == [f"{c[i] / c.sum():.2%}" for i, c in enumerate(counts)]
    assert round(100 * counts.trace() / counts.sum(), 2) == accuracy


def test_predict_is_what_evaluation_says(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = read_digits("digits").test
    files = [tmp_path / f"{number}.png" for number in range(20)]
    for file, image in zip(files, test.images, strict=False):
        Image.fromarray(image[0].numpy()).save(file)
    assert main(["predict", str(run), *map(str, files), "--most", "2", *PLACE]) == 0
    lines = capsys.readouterr().out.splitlines()
    trainer = load_run(run, place_in(tmp_path))
    with trainer.method.arranged():
        logits = trainer.model.eval()(trainer.scale(test.images[:20])).detach()
    assert [line.split()[1] for line in lines] == [str(int(c)) for c in logits.argmax(1)]
    first = float(logits[0].softmax(0).max())
    assert lines[0].startswith(f"{files[0]}: {int(logits[0].argmax())} {first:.2%}, ")
    assert "(" not in lines[0]


def test_predict_brings_an_image_to_size_and_color_and_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    assert main(["predict", str(run), str(tmp_path / "red.png"), *PLACE]) == 0
    assert capsys.readouterr().out.endswith("  (made grey; scaled from 30x20 to 8x8)\n")


def test_images_of_mixed_sizes_are_trained_on_and_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(8):
        split, label = ("train", "test")[number % 2], ("dark", "light")[number // 2 % 2]
        folder = tmp_path / "own" / split / label
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (9 + number, 20 - number), (25 * number, 9, 128))
        image.save(folder / f"{number}.png")
    flags = ["--data", str(tmp_path / "own"), "--image-size", "8", "--epochs", "1", *PLACE]
    assert main(["train", *flags, "--runs-folder", str(tmp_path / "runs")]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    files = sorted((tmp_path / "own" / "test").glob("*/*.png"))
    capsys.readouterr()
    assert main(["predict", str(folder), *map(str, files), *PLACE]) == 0
    lines = capsys.readouterr().out.splitlines()
    trainer = load_run(folder, place_in(tmp_path))
    squares = [middle_square(Image.open(file), 8) for file in files]
    sure = trainer.probabilities(torch.from_numpy(np.stack(squares))).max(1)
    names = [("dark", "light")[label] for label in sure.indices.tolist()]
    for line, file, name, value in zip(lines, files, names, sure.values.tolist(), strict=True):
        assert line.startswith(f"{file}: {name} {value:.2%}, ")


def test_predict_refuses_in_a_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run)]) == 1
    assert capsys.readouterr().err == "error: predict got no image; allowed: image files\n"
    assert main(["predict", str(run), "a.png", "--most", "0"]) == 1
    assert capsys.readouterr().err == "error: most is 0; allowed: 1 or more\n"
    (tmp_path / "text.png").write_text("no image")
    assert main(["predict", str(run), str(tmp_path / "text.png"), *PLACE]) == 1
    assert f"{tmp_path / 'text.png'} cannot be decoded" in capsys.readouterr().err


def test_one_image_as_the_data_set_has_it(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image, note = read_image(tmp_path / "a.png", (3, 4, 4))
    assert (image.numpy().tolist(), note) == (pixels.transpose(2, 0, 1).tolist(), None)
    square, _ = read_image(tmp_path / "a.png", (3, 8, 8), cut=True)
    assert square.shape == (3, 8, 8)
    with pytest.raises(DataError, match="cannot be decoded"):
        read_image(tmp_path / "none.png", (3, 4, 4))


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "permtrain 0.1.0\n"
