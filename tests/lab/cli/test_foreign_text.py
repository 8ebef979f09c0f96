"""Names and texts in files of others: what terminals and spreadsheets get of them."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.table import Table
from run_problem import place_in, plain
from torch import nn

from permtrain import initialize_, pack
from permtrain.errors import CheckpointError
from permtrain.lab.cli.console import PlainConsole
from permtrain.lab.cli.main import main
from permtrain.lab.pictures.records import read_rows
from permtrain.lab.recipes.rows import read_csv, write_csv
from permtrain.lab.training.json_files import read_json, read_lines
from permtrain.lab.training.run import start_run
from permtrain.lab.training.weights_file import read_weights

ESCAPES = "a\x1b[2J\x1b]0;title\x07\u202eb"


def test_inspect_shows_escapes_in_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Module()
    model.add_module(ESCAPES, nn.Linear(4, 3))
    initialize_(model, seed=0)
    pack(model, tmp_path / "net")
    assert main(["inspect", str(tmp_path / "net")]) == 0
    said = capsys.readouterr().out
    assert "a\\x1b[2J\\x1b]0;title" in said
    assert "\\u202eb.weight" in said
    assert "\x1b" not in said


def test_errors_show_escapes_in_names(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("inspect", "verify", "check-circuit"):
        assert main([command, ESCAPES]) == 1
        said = capsys.readouterr().err
        assert "a\\x1b[2J" in said
        assert "\x1b" not in said


def test_cells_of_tables_show_escapes() -> None:
    table = Table("name")
    table.add_row(ESCAPES)
    console = PlainConsole(file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(table, style="bold")
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "a\\x1b[2J" in said
    assert "\x1b[1m" in said  # its own colors stay
    assert "\x1b[2J" not in said


def test_names_are_no_language_of_the_console() -> None:
    console = PlainConsole(file=io.StringIO())
    console.print("exp:100:a [bold]b[/bold]", highlight=False)
    assert console.file.getvalue() == "exp:100:a [bold]b[/bold]\n"  # type: ignore[attr-defined]


CELLS = ["=1+1", "+a", "-a", "@a", "\t=1", "\n=1", "'=1", "''=1", "'a", "a=1", "plain"]


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    row = {"arm": "a", "seed": 0, "settings_hash": "01234567", "=name": 1}
    rows = [row | {"error": cell, "number": -0.5} for cell in [*CELLS, "\r=2"]]
    write_csv(tmp_path / "r.csv", rows)
    with (tmp_path / "r.csv").open(newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line if cell != "-0.5"]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r"]
    rows[-1]["error"] = "\n=2"  # a line ends in one way
    assert read_csv(tmp_path / "r.csv") == rows
    assert [each["error"] for each in read_rows(tmp_path / "r.csv")][:-1] == CELLS


def test_results_have_no_formulas_so_that_their_bytes_stay(tmp_path: Path) -> None:
    found = sorted((Path(__file__).parents[3] / "results").glob("*.csv"))
    assert found
    for path in found:
        with path.open(newline="") as file:
            cells = {cell for line in csv.reader(file) for cell in line if cell}
        assert not [cell for cell in cells if cell[0] in "=+@\t\r'" or cell[:2] == "-a"]


def test_pipes_in_a_run_are_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for read in (read_json, read_lines, read_weights):
        with pytest.raises(CheckpointError, match="is no regular file"):
            read(pipe)
    run = start_run(plain(epochs=1), place_in(tmp_path)).folder
    for name in ("settings.json", "weights.safetensors", "place.json"):
        kept = (run / name).read_bytes()
        (run / name).unlink()
        os.mkfifo(run / name)
        main(["plot", "histogram", str(run), "--output", str(tmp_path / "h.svg")])
        (run / name).unlink()
        (run / name).write_bytes(kept)


def test_warnings_show_escapes_in_names(tmp_path: Path) -> None:
    """Of ours and of libraries, as Pillow's."""
    for split in ("train", "test"):
        (tmp_path / "d" / split / "a").mkdir(parents=True)
        for number in range(2):
            image = Image.new("RGBA", (8, 8), (9, 9, 9, 128))
            image.save(tmp_path / "d" / split / "a" / f"{ESCAPES.replace('/', '')}{number}.png")
    code = (
        "import sys, warnings\n"
        "from permtrain.lab.cli import main, process\n"
        "sys.argv = ['permtrain', 'train', '--epochs', '0']\n"
        "main.main()\n"
        f"warnings.warn({ESCAPES!r})\n"
        "from permtrain.lab.data.load import load_images\n"
        "load_images('./d')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("a\\x1b[2J\\x1b]0;title\\x07\\u202eb") == 3
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr
