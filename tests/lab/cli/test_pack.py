"""`pack`, `unpack`, `inspect`, and the packed file at a run's end."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from run_problem import place_in, plain, tiny
from safetensors.torch import load_file, save_file

from permtrain import PackedFile, initialize_, pack, unpack
from permtrain.lab.cli.main import main
from permtrain.lab.cli.pack import _summary
from permtrain.lab.training.run import start_run
from permtrain.packed.report import FileReport, TensorReport

PLACE = ["--threads", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return start_run(tiny(), place_in(tmp_path_factory.mktemp("complete"))).folder


def test_a_run_ends_with_a_packed_file(run: Path) -> None:
    weights = load_file(run / "weights.safetensors")
    found = unpack(run / "packed.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    file = PackedFile(run / "packed.safetensors")
    assert {file.entry(name).profile for name in file if file.entry(name).cut} == {"record"}


def test_a_run_that_permutes_nothing_has_one_too(tmp_path: Path) -> None:
    folder = start_run(plain(), place_in(tmp_path)).folder
    file = PackedFile(folder / "packed.safetensors")
    assert {file.entry(name).coder for name in file} == {"raw"}


READING = [
    "unpack {} out",
    "inspect {}",
    "export-circuit {} --output out",
    "plot profiles {}",
    "pack {}",
]


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("ceiling", ["weights", "header"])
def test_whoever_reads_a_file_can_raise_its_ceilings(
    command: str, ceiling: str, run: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes((run / "packed.safetensors").read_bytes())
    reading = [word.format(file) for word in command.split()]
    assert main([*reading, f"--max-{ceiling}", "9"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert f"allowed: 9, or more with max_{ceiling}" in said
    assert "model.safetensors" in said
    assert main([*reading, f"--max-{ceiling}", "1000000"]) == 0


def test_so_can_whoever_reports_or_gathers_runs(run: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "page.html"
    command = ["report", str(run), "--output", str(page), *PLACE]
    assert main([*command, "--max-weights", "9"]) == 0
    assert "allowed: 9, or more with max_weights" in page.read_text()
    assert main(command) == 0
    assert "could not be read" not in page.read_text()
    for name in ("gather", "run"):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert {"--max-weights", "--max-header"} <= set(capsys.readouterr().out.split())


def test_pack_gives_the_same_file(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "again.safetensors"
    assert main(["pack", str(run), "--output", str(output), *PLACE]) == 0
    assert output.read_bytes() == (run / "packed.safetensors").read_bytes()


def test_unpack_writes_plain_safetensors(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "plain.safetensors"
    assert main(["unpack", str(run / "packed.safetensors"), str(output)]) == 0
    weights, found = load_file(run / "weights.safetensors"), load_file(output)
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert found.keys() == weights.keys()


def test_inspect_says_what_is_inside(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "packed.safetensors"
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.split()}
    assert rows["conv1.weight"][1:3] == ["144", "kernel"]
    assert "record" in rows["conv1.weight"]
    num_bytes = path.stat().st_size
    assert f"file {num_bytes:,} bytes: codes " in said
    assert "record: initial values drawn again from the seed" in said
    num_weights = sum(tensor.numel() for tensor in load_file(run / "weights.safetensors").values())
    assert f"as float32 {4 * num_weights:,} bytes, {4 * num_weights / num_bytes:.2f} times" in said
    assert "as a 1-bit mask" in said


def test_a_run_stands_for_its_packed_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / "packed.safetensors"
    assert main(["inspect", str(file)]) == 0
    said = capsys.readouterr().out
    assert main(["inspect", str(run)]) == 0
    assert capsys.readouterr().out == said
    assert main(["unpack", str(run), str(tmp_path / "out.safetensors")]) == 0
    assert load_file(tmp_path / "out.safetensors").keys() == unpack(file).keys()
    for command in ("inspect", "export-circuit"):
        capsys.readouterr()
        assert main([command, str(tmp_path)]) == 1
        assert capsys.readouterr().err == (
            f"error: {tmp_path}: holds no packed.safetensors; allowed: a packed file, or the "
            f"folder of a run that has one (permtrain pack {tmp_path} writes it)\n"
        )


@pytest.mark.parametrize("source", ["", "packed.safetensors"])
def test_a_file_is_looked_at_and_unpacked_without_torch(
    source: str, run: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\nfrom permtrain.lab.cli.main import main\n"
        "file, folder = sys.argv[1:]\n"
        "assert main(['inspect', file]) == 0\n"
        "assert main(['unpack', file, folder + '/plain']) == 0\n"
        "assert main(['export-circuit', file, '--output', folder]) == 0\n"
        "assert main(['check-circuit', folder]) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    words = [sys.executable, "-c", code, str(run / source), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_code_that_was_compiled_before_runs_without_the_compiler(run: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom permtrain.lab.cli.main import main\n"
        "code = main(['unpack', *sys.argv[1:]])\n"
        "print(code, sys.modules.keys() & {'numba', 'scipy.linalg', 'numba.np.arraymath'})"
    )
    words = [sys.executable, "-c", program, str(run), str(tmp_path / "plain")]
    for _ in range(2):  # the first one may compile
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 {'numba'}"


def test_a_long_table_is_cut(run: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("permtrain.lab.cli.pack.MOST_ROWS", 2)
    assert main(["inspect", str(run)]) == 0
    said = capsys.readouterr().out
    assert "and 6 tensors more" in said
    assert ("conv1.bias" in said, "conv2" in said) == (True, False)


def test_damage_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = (run / "packed.safetensors").read_bytes()
    (tmp_path / "cut").write_bytes(data[:-1])
    assert main(["inspect", str(tmp_path / "cut")]) == 1
    said = f"the file has {len(data) - 1} bytes; allowed by its header: {len(data)}"
    assert capsys.readouterr().err == f"error: {tmp_path}/cut: {said}\n"
    assert main(["unpack", str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    assert "No such file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_table_of_a_file_is_read_on_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names fold; numbers, which are what one looks for, stay whole."""
    model = torch.nn.Module()
    inner = model
    for part in ("encoder", "first_block_of_layers", "attention_over_everything"):
        inner.add_module(part, torch.nn.Module())
        inner = inner.get_submodule(part)
    inner.add_module("projection", torch.nn.Linear(300, 300, bias=False))
    initialize_(model, "kaiming_uniform")
    pack(model, tmp_path / "m")
    monkeypatch.setattr(Console, "is_terminal", True)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["inspect", str(tmp_path / "m")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows[0][1:] == ["90,000", "initial", "0", "0.000"]
    rest = itertools.takewhile(lambda row: row[0] != "file", rows[1:])
    name = "encoder.first_block_of_layers.attention_over_everything.projection.weight"
    assert "".join([rows[0][0], *(part for (part,) in rest)]) == name


@pytest.mark.parametrize(
    ("code_bytes", "words"),
    [
        (1000, "these codes take 0.000% more"),
        (1001, "these codes take 0.100% more"),
        (630, "these codes take 37.0% less, as weights are still near their initial places"),
    ],
)
def test_the_limit_in_words(code_bytes: int, words: str) -> None:
    tensor = TensorReport(
        "w", "float32", "conditional", "record", "neuron", 2000, code_bytes, 0, 8000.0
    )
    told = _summary(FileReport((tensor,), 100, code_bytes + 100))
    limit = "arrangements that are all equally likely take 1,000 bytes (the limit)"
    assert told[1] == f"{limit}; {words}"


@pytest.mark.parametrize("form", ["safetensors", "state dict", "nested"])
def test_anybodys_checkpoint_is_packed(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.BatchNorm1d(20))
    state = {**model.state_dict(), "block.forward": torch.ones(2, 3), "block": torch.zeros(2)}
    file = tmp_path / "theirs.bin"
    if form == "safetensors":
        save_file(state, file)
    else:
        torch.save(state if form == "state dict" else {"state_dict": state, "epoch": 3}, file)
    before = file.read_bytes()
    assert main(["pack", str(file)]) == 0
    assert "0.weight" in capsys.readouterr().out
    packed = tmp_path / "theirs-packed.safetensors"
    found = unpack(packed)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert file.read_bytes() == before
    assert main(["pack", str(file), "--checkpoint", "best"]) == 1
    message = f"error: checkpoint is 'best'; allowed with {file}, no run: nothing\n"
    assert capsys.readouterr().err == message
    (tmp_path / "text").write_text("no checkpoint")
    assert main(["pack", str(tmp_path / "text")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'text'}: ")
