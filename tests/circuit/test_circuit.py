"""Layers come out of fixed values and routing alone."""

import ast
import copy
import csv
import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from packed.nets import NETS, shuffled_
from permtrain import PackedFile, Structure, initialize_, pack, permutation_between
from permtrain.circuit import check as program
from permtrain.circuit.benes import route, send
from permtrain.circuit.check import check, layer_output
from permtrain.circuit.export import export_circuit
from permtrain.circuit.routing import LayerCircuit, circuit_of, probe, unit_rows
from permtrain.core.cut import Granularity
from permtrain.core.granularity import Cut
from permtrain.lab.cli.main import main

ROUTED = [
    "per neuron",
    "per kernel",
    "per layer",
    "mixed",
    "transposed, groups",
    "embedding",
    "three levels, sparse",
    "bfloat16",
    "float64",
    "tied",
    "few levels, unborn",
]


def circuits_of(path: Path) -> dict[str, LayerCircuit]:
    file = PackedFile(path)
    return {name: circuit_of(file, name) for name in file if file.entry(name).cut}


def turned(path: Path) -> nn.Linear:
    """A layer of two units whose first one's values moved: place 2 to input 0, 0 to 1, 1 to 2."""
    model = nn.Linear(3, 2, bias=False)
    initialize_(model, seed=1, bias_values="rule")
    with torch.no_grad():
        model.weight[0] = model.weight[0, [2, 0, 1]]
    pack(model, path)
    return model


def test_a_layer_by_hand(tmp_path: Path) -> None:
    model = turned(tmp_path / "m")
    circuit = circuits_of(tmp_path / "m")["weight"]
    assert circuit.routing_UI.tolist() == [[2, 0, 1], [3, 4, 5]]
    assert circuit.num_moved == 3
    assert (circuit.benes_switches, circuit.waksman_switches) == (2 * 3, 2 * 3)
    weight = model.weight.double()
    assert circuit.fixed_UI[0].tolist() == weight[0, [1, 2, 0]].tolist()
    first, second, third = circuit.probe_I.tolist()
    by_hand = first * weight[:, 0] + second * weight[:, 1] + third * weight[:, 2]
    assert circuit.output_U == pytest.approx(by_hand.tolist(), rel=1e-15)


@pytest.mark.parametrize("net", ROUTED)
def test_routed_fixed_values_are_the_weights(net: str, tmp_path: Path) -> None:
    pack(NETS[net](), tmp_path / "m")
    file = PackedFile(tmp_path / "m")
    circuits = circuits_of(tmp_path / "m")
    assert circuits
    for name, circuit in circuits.items():
        weights_UI = unit_rows(file.entry(name)).to_vectors(file[name])
        assert np.array_equal(circuit.fixed_UI.ravel()[circuit.routing_UI], weights_UI)
        places = circuit.routing_UI.ravel()
        assert sorted(places.tolist()) == list(range(places.size))


@pytest.mark.parametrize("levels", [None, 3])
def test_the_routing_is_the_permutation_of_the_library(levels: int | None, tmp_path: Path) -> None:
    """Ties included: equal values that stand still stay."""
    model = nn.Linear(9, 4, bias=False)
    initialize_(model, structure=Structure(levels=levels), seed=3, bias_values="rule")
    before = model.weight.detach().clone()
    pack(shuffled_(model, "neuron"), tmp_path / "m")
    circuit = circuits_of(tmp_path / "m")["weight"]
    perm = permutation_between(before, model.weight.detach()).perm
    assert (circuit.routing_UI - 9 * np.arange(4)[:, None]).tolist() == perm.tolist()


def units_output(layer: nn.Module, probe_I: np.ndarray) -> Tensor:
    """What the layer itself makes of a probe: of each unit its sum over all its inputs, float64.

    A convolution's kernel meets the probe in one place; a transposed one writes to that place what
    each input sends there, which the mirrored probe puts in the order of the kernel. Every group
    gets the same probe. An embedding is fed all tokens, each weighted by its number in the probe.
    """
    weight = layer.get_parameter("weight")
    probe = torch.from_numpy(probe_I)
    layer = copy.deepcopy(layer).double()
    with torch.no_grad():
        if isinstance(layer, nn.Embedding):
            return probe @ layer(torch.arange(len(probe)))
        if isinstance(layer, nn.Linear):
            return layer(probe)
        groups = layer.groups  # type: ignore[union-attr]
        kernel = tuple(weight.shape[2:])
        image = probe.reshape(-1, *kernel).repeat(groups, *(1 for _ in kernel))[None]
        if isinstance(layer, nn.ConvTranspose2d):
            middle = layer(image.flip(2, 3))[..., kernel[0] - 1, kernel[1] - 1]
            return middle.flatten()
        return layer(image).flatten()


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(7, 5, bias=False),
    "conv": lambda: nn.Conv2d(3, 4, (3, 2), bias=False),
    "conv, groups": lambda: nn.Conv2d(6, 4, 3, groups=2, bias=False),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, (2, 3), bias=False),
    "transposed, groups": lambda: nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False),
    "transposed, a group for each input": lambda: nn.ConvTranspose2d(3, 6, 3, groups=3, bias=False),
    "embedding": lambda: nn.Embedding(12, 5),
}


@pytest.mark.parametrize("how", ["born", "stored", "born, another cut"])
@pytest.mark.parametrize(
    ("layer", "granularity"),
    [
        (layer, granularity)
        for layer in LAYERS
        for granularity in ("kernel", "neuron", "layer")
        if granularity != "kernel" or "conv" in layer or "transposed" in layer
    ],
)
def test_the_output_is_that_of_the_layer(
    layer: str, granularity: Granularity, how: str, tmp_path: Path
) -> None:
    """Units are found at every granularity, also where no record of a birth tells their axis."""
    model = LAYERS[layer]()
    if how != "stored":
        cut = "layer" if "another" in how else granularity
        initialize_(model, structure=Structure(granularity=cut), seed=2, bias_values="rule")
    shuffled_(model, granularity)
    pack(model, tmp_path / "m", granularity=granularity)
    (circuit,) = circuits_of(tmp_path / "m").values()
    assert (PackedFile(tmp_path / "m").entry("weight").record is None) == (how == "stored")
    assert circuit.cut.granularity == granularity
    output = units_output(model, circuit.probe_I)
    assert output.numpy() == pytest.approx(circuit.output_U, rel=1e-12)
    fixed_by_routing = layer_output(circuit.fixed_UI, circuit.routing_UI, circuit.probe_I)
    assert fixed_by_routing.tobytes() == circuit.output_U.tobytes()


def test_units_of_a_tensor_of_no_known_layer(tmp_path: Path) -> None:
    """On axis 0, unless the cut that was asked for names another one."""
    model = nn.ParameterDict({"experts": nn.Parameter(torch.randn(3, 5))})
    for rule, num_units in (("layer", 3), (Cut("layer", output_axis=1), 5)):
        pack(model, tmp_path / "m", granularity=rule)
        assert circuits_of(tmp_path / "m")["experts"].fixed_UI.shape == (num_units, 15 // num_units)


def test_what_is_not_routed_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.ModuleDict({"born": nn.Linear(40, 1), "own": nn.Linear(3, 2)})
    initialize_(model, structure=Structure(levels=2, granularity="layer"), bias_values="rule")
    with torch.no_grad():
        model["own"].weight.copy_(torch.randn(2, 3))
        model["own"].bias.fill_(0.5)
    pack(model, tmp_path / "m")
    assert main(["export-circuit", str(tmp_path / "m"), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-4:-1] == [
        "born.weight (40), born.bias (1): fixed values, not routed: each is where it was born",
        "own.weight (6): fixed values, not routed: the file holds them as they are, and no order "
        "from which they came (what pack's granularity cuts is always routed)",
        "own.bias (2): fixed values, not routed: they are all the same",
    ]
    assert main(["check-circuit", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == "no layer is routed, so that there is nothing to check\n"
    pack(model, tmp_path / "m", granularity="neuron")
    assert set(circuits_of(tmp_path / "m")) == {"own.weight"}  # the others are as before


def test_a_tied_tensor_is_named(tmp_path: Path) -> None:
    """Its connections are real: whoever builds the layers has to find both of them."""
    pack(NETS["tied"](), tmp_path / "m")
    lines = export_circuit(PackedFile(tmp_path / "m"), tmp_path / "out")
    assert lines[-1] == "decode.weight: the same weights as encode.weight, to which it is tied"
    assert (tmp_path / "out" / "layers.txt").read_text().splitlines() == lines


def test_a_table_of_connections_of_before_does_not_stay(tmp_path: Path) -> None:
    turned(tmp_path / "m")
    export_circuit(PackedFile(tmp_path / "m"), tmp_path / "out")
    pack(NETS["per neuron"](), tmp_path / "m")
    export_circuit(PackedFile(tmp_path / "m"), tmp_path / "out", connections=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "check_circuit.py",
        "circuit.npz",
        "layers.txt",
    ]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (torch.float32, [float("nan"), 1.0]),
        (torch.float32, [float("inf"), 1.0]),
        (torch.float32, [float("inf"), float("-inf")]),
        (torch.float64, [1.5e308, -1.5e308]),
    ],
)
def test_weights_that_no_output_can_tell_are_refused(
    dtype: torch.dtype, values: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With infinity or NaN in it a unit's output is the same for wrong routings too."""
    model = nn.Linear(3, 2, bias=False).to(dtype)
    with torch.no_grad():
        model.weight[1, :2] = torch.tensor(values, dtype=dtype)
    pack(model, tmp_path / "m", granularity="neuron")
    assert main(["export-circuit", str(tmp_path / "m"), "--output", str(tmp_path / "out")]) == 1
    num_bad = sum(not abs(value) < 1e280 for value in values)
    assert f"weight: {num_bad} of 6 weights are NaN, infinite, or" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_exchanged_across_units(tmp_path: Path) -> None:
    """At granularity layer one network serves all units."""
    model = nn.Linear(2, 2, bias=False)
    initialize_(model, structure=Structure(granularity="layer"), seed=1, bias_values="rule")
    with torch.no_grad():
        model.weight.copy_(model.weight.flip(0, 1))
    pack(model, tmp_path / "m")
    circuit = circuits_of(tmp_path / "m")["weight"]
    assert circuit.routing_UI.tolist() == [[3, 2], [1, 0]]
    assert circuit.benes_switches == 6


def test_stored_values_are_fixed_in_ascending_order(tmp_path: Path) -> None:
    model = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, -1.0, 0.5]]))
    pack(model, tmp_path / "m", granularity="neuron")
    circuit = circuits_of(tmp_path / "m")["weight"]
    assert circuit.fixed_UI.tolist() == [[-1.0, 0.5, 2.0]]
    assert circuit.routing_UI.tolist() == [[2, 0, 1]]


@pytest.mark.parametrize("net", ["per neuron", "transposed, groups", "embedding"])
def test_switches_of_each_unit(net: str, tmp_path: Path) -> None:
    """As docs/circuit.md sets them."""
    pack(NETS[net](), tmp_path / "m")
    export_circuit(PackedFile(tmp_path / "m"), tmp_path / "out", connections=False)
    circuits = [c for c in circuits_of(tmp_path / "m").values() if c.cut.granularity == "neuron"]
    assert circuits
    with np.load(tmp_path / "out" / "circuit.npz") as arrays:
        for circuit in circuits:
            fixed, routing = arrays[f"{circuit.name}:fixed"], arrays[f"{circuit.name}:routing"]
            num_units, num_inputs = routing.shape
            for u in range(num_units):
                weights = send(fixed[u].tolist(), route((routing[u] - u * num_inputs).tolist()))
                assert weights == fixed.ravel()[routing[u]].tolist()


def test_what_is_written(tmp_path: Path) -> None:
    model = turned(tmp_path / "m")
    lines = export_circuit(PackedFile(tmp_path / "m"), tmp_path / "out")
    assert [line.split() for line in lines[:3]] == [
        ["layer", "shape", "networks", "of", "lines", "moved", "Benes", "Waksman"],
        ["weight", "2x3", "2", "3", "3", "6", "6"],
        ["all", "3", "6", "6"],
    ]
    assert (tmp_path / "out" / "layers.txt").read_text().splitlines() == lines
    with open(tmp_path / "out" / "connections.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["layer", "unit", "input", "from unit", "from input", "value"]
    assert rows[0][:5] == ["weight", "0", "0", "0", "2"]
    assert [np.float32(row[5]) for row in rows] == model.weight.flatten().tolist()
    with np.load(tmp_path / "out" / "circuit.npz") as arrays:
        assert arrays["weight:routing"].tolist() == [[2, 0, 1], [3, 4, 5]]


def test_names_are_quoted(tmp_path: Path) -> None:
    model = nn.ModuleDict({'a,"b': nn.Linear(3, 2, bias=False)})
    initialize_(model, seed=1, bias_values="rule")
    pack(shuffled_(model, "neuron"), tmp_path / "m")
    export_circuit(PackedFile(tmp_path / "m"), tmp_path / "out")
    with open(tmp_path / "out" / "connections.csv", newline="") as file:
        assert {row[0] for row in csv.reader(file)} == {"layer", 'a,"b.weight'}


@pytest.mark.parametrize("net", ["per neuron", "bfloat16", "mixed"])
def test_the_program_agrees(net: str, tmp_path: Path) -> None:
    pack(NETS[net](), tmp_path / "m")
    export_circuit(PackedFile(tmp_path / "m"), tmp_path / "out", connections=False)
    assert not (tmp_path / "out" / "connections.csv").exists()
    command = [sys.executable, "-W", "error", "check_circuit.py"]
    done = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == check(tmp_path / "out" / "circuit.npz")[0]
    assert all(line.endswith(": as trained") for line in done.stdout.splitlines())


def test_the_program_needs_numpy_only() -> None:
    tree = ast.parse(Path(program.__file__).read_text())
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert {str(name).split(".")[0] for name in names} == {
        "math",
        "numpy",
        "os",
        "pathlib",
        "sys",
    }


def with_array(folder: Path, key: str, change: object) -> None:
    with np.load(folder / "circuit.npz") as arrays:
        changed = dict(arrays)
    changed[key] = np.array(change)
    np.savez(folder / "circuit.npz", **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ([0.0, 0.0], "as trained"),
        ([-0.0, 0.0], "WRONG, 1 outputs are not those of the trained weights"),
        ([np.nan, 1.0], "WRONG, 2 outputs are not those of the trained weights"),
        ([0.0], "WRONG, the trained weights gave 1 outputs"),
        ([[0.0, 0.0]], "WRONG, the trained weights gave 2 outputs"),
    ],
)
def test_outputs_are_compared_bit_for_bit(output: object, said: str, tmp_path: Path) -> None:
    """Weights that add up to 0, whatever the probe."""
    arrays = {
        "w:fixed": np.zeros((2, 3), dtype=np.float32),
        "w:routing": np.arange(6).reshape(2, 3),
        "w:probe": np.array([3.0, -5.0, 7.0]),
        "w:output": np.array(output),
    }
    np.savez(tmp_path / "circuit.npz", **arrays)
    line = f"w: 2 units of 3 inputs: {said}"
    assert check(tmp_path / "circuit.npz") == ([line], int(said != "as trained"))


@pytest.mark.parametrize(
    ("routing", "said"),
    [
        ([[2, 1, 0], [3, 4, 5]], "WRONG, 1 outputs are not those of the trained weights"),
        ([[2, 2, 1], [3, 4, 5]], "WRONG, the routing does not use every fixed value once"),
        ([[2, 0, 1]], "WRONG, the routing does not use every fixed value once"),
        ([[2, 0, 9], [3, 4, 5]], "WRONG, the routing does not use every fixed value once"),
    ],
)
def test_another_routing_is_found_out(
    routing: list[list[int]], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned(tmp_path / "m")
    export_circuit(PackedFile(tmp_path / "m"), tmp_path)
    with_array(tmp_path, "weight:routing", routing)
    assert check(tmp_path / "circuit.npz") == ([f"weight: 2 units of 3 inputs: {said}"], 1)
    assert main(["check-circuit", str(tmp_path)]) == 1
    assert "1 of 1 layers are wrong; allowed: none" in capsys.readouterr().err
    assert program.main([str(tmp_path / "circuit.npz")]) == 1


def test_a_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "circuit.npz").write_bytes(b"PK\3\4 and no more")
    assert main(["check-circuit", str(tmp_path)]) == 1
    assert "circuit.npz: damaged, not readable" in capsys.readouterr().err
    assert program.main([str(tmp_path / "circuit.npz")]) == 1
    assert "not readable" in capsys.readouterr().err


def test_a_small_file_of_large_arrays_is_not_read(tmp_path: Path) -> None:
    """What is exported is not compressed, so that no array takes more than the file does."""
    np.savez_compressed(tmp_path / "circuit.npz", **{"a:fixed": np.zeros((1000, 1000))})
    with pytest.raises(ValueError, match=r"its arrays claim 8000\d+ bytes, more than the file has"):
        check(tmp_path / "circuit.npz")


def test_a_flipped_bit_never_leaves_a_layer_unchecked(tmp_path: Path) -> None:
    """Checksums guard the arrays, not the directory of their names."""
    turned(tmp_path / "m")
    export_circuit(PackedFile(tmp_path / "m"), tmp_path)
    whole, damaged = (tmp_path / "circuit.npz").read_bytes(), tmp_path / "damaged.npz"
    right = check(tmp_path / "circuit.npz")
    num_refused = 0
    for place in range(whole.rindex(b"PK\5\6") - 400, len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            damaged.write_bytes(flipped)
            try:
                assert check(damaged) == right, (place, bit)
            except AssertionError:
                raise
            except Exception:  # as the program takes it
                num_refused += 1
    assert num_refused > 1_000


@pytest.mark.parametrize("key", ["weight:probe", "weight:routing", "bias:more"])
def test_arrays_that_do_not_go_together_are_refused(key: str, tmp_path: Path, capsys) -> None:
    turned(tmp_path / "m")
    export_circuit(PackedFile(tmp_path / "m"), tmp_path)
    with np.load(tmp_path / "circuit.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != key}
    more = {key: np.zeros(1)} if key == "bias:more" else {}
    np.savez(tmp_path / "circuit.npz", **kept, **more)
    assert main(["check-circuit", str(tmp_path)]) == 1
    name = key.partition(":")[0]
    assert f"circuit.npz: damaged, not readable (of {name} it holds " in capsys.readouterr().err
    assert program.main([str(tmp_path / "circuit.npz")]) == 1


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A packed file, and a run's folder, which holds one."""
    run = tmp_path / "run"
    run.mkdir()
    turned(run / "packed.safetensors")
    assert main(["export-circuit", str(run)]) == 0
    assert "weight  2x3           2" in capsys.readouterr().out
    assert main(["check-circuit", str(run / "circuit")]) == 0
    assert capsys.readouterr().out == "weight: 2 units of 3 inputs: as trained\n"
    first = (run / "circuit" / "circuit.npz").read_bytes()
    shutil.rmtree(run / "circuit")
    command = ["export-circuit", str(run / "packed.safetensors"), "--output", str(tmp_path / "o")]
    assert main([*command, "--no-connections"]) == 0
    assert (tmp_path / "o" / "circuit.npz").read_bytes() == first
    assert main(["export-circuit", str(tmp_path)]) == 1
    assert "packed.safetensors" in capsys.readouterr().err


def test_probes_are_odd_integers_that_differ() -> None:
    """Odd, so that none is 0; of 25 bits, so that products with float32 numbers are exact."""
    found = probe(5_000)
    assert (found % 2 == 1).all()
    assert np.abs(found).max() < 2**24
    assert len(np.unique(found)) > 4_990


def test_every_exchange_of_two_connections_is_found_out() -> None:
    model = nn.Linear(100, 1, bias=False)
    initialize_(model, structure=Structure(levels=4), seed=0, bias_values="rule")
    fixed = model.weight.detach().numpy()
    places = np.arange(100)[None]
    right = layer_output(fixed, places, probe(100))
    for i, j in itertools.combinations(range(100), 2):
        routing = places.copy()
        routing[0, [i, j]] = j, i
        found = layer_output(fixed, routing, probe(100))
        assert (found != right).all() == (fixed[0, i] != fixed[0, j])
