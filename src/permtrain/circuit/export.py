"""Writes a packed model's circuits: arrays, tables for people, and the program that checks them."""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from permtrain.circuit import check
from permtrain.circuit.routing import LayerCircuit, circuit_of
from permtrain.files import written_whole
from permtrain.packed.entries import Alias, TensorEntry
from permtrain.packed.reader import PackedFile
from permtrain.text import csv_cell

ARRAYS, LAYERS, CONNECTIONS, PROGRAM = (
    "circuit.npz",
    "layers.txt",
    "connections.csv",
    "check_circuit.py",
)


def export_circuit(file: PackedFile, folder: Path, *, connections: bool = True) -> list[str]:
    """Writes the routing of every arranged tensor, see docs/circuit.md.

    Args:
        folder: made if it is missing; files of these names in it are replaced.
        connections: write the table of all connections too, some 30 bytes each. Without it an older
            table is removed, for it would be of another circuit.

    Returns: the table of layers, a line each.

    Raises:
        PackedFileError: a tensor is damaged; nothing is written.
        NonFiniteError: a routed tensor holds what no device can; nothing is written.
        OSError: a file could not be written.
    """
    own = [entry for entry in file.entries.values() if isinstance(entry, TensorEntry)]
    circuits = [circuit_of(file, entry.name) for entry in own if entry.cut is not None]
    others = {entry.name: file[entry.name] for entry in own if entry.cut is None}
    arrays = {f"{name}:fixed": values for name, values in others.items()}
    for circuit in circuits:
        arrays |= {
            f"{circuit.name}:fixed": circuit.fixed_UI,
            f"{circuit.name}:routing": circuit.routing_UI,
            f"{circuit.name}:probe": circuit.probe_I,
            f"{circuit.name}:output": circuit.output_U,
        }
    packed = io.BytesIO()
    np.savez(packed, **arrays)  # type: ignore[arg-type]
    tied = [entry for entry in file.entries.values() if isinstance(entry, Alias)]
    lines = [
        *layer_table(circuits),
        "",
        *_not_routed(file, others),
        *(
            f"{alias.name}: the same weights as {alias.same_as}, to which it is tied"
            for alias in tied
        ),
    ]
    with written_whole(folder / ARRAYS) as written:
        written.write(packed.getbuffer())
    _write_lines(folder / LAYERS, lines)
    if connections:
        with written_whole(folder / CONNECTIONS) as written:
            _write_connections(written, circuits)
    else:
        (folder / CONNECTIONS).unlink(missing_ok=True)
    program = Path(check.__file__).read_bytes()
    with written_whole(folder / PROGRAM) as written:
        written.write(program)
    return lines


def layer_table(circuits: Sequence[LayerCircuit]) -> list[str]:
    """Lines of a table: each layer's vectors, what moved, and the switches of its networks."""
    cells: list[tuple[str, ...]] = [
        ("layer", "shape", "networks", "of lines", "moved", "Benes", "Waksman")
    ]
    for circuit in circuits:
        cut = circuit.cut
        numbers = (cut.num_vectors, cut.vector_length, circuit.num_moved)
        switches = (circuit.benes_switches, circuit.waksman_switches)
        shape = "x".join(map(str, circuit.cut.shape))
        cells.append((circuit.name, shape, *(f"{each:,}" for each in (*numbers, *switches))))
    sums = (
        sum(circuit.num_moved for circuit in circuits),
        sum(circuit.benes_switches for circuit in circuits),
        sum(circuit.waksman_switches for circuit in circuits),
    )
    cells.append(("all", "", "", "", *(f"{each:,}" for each in sums)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


_WHY_NOT_ROUTED = {
    "initial": "not routed: each is where it was born",
    "constant": "not routed: they are all the same",
    "raw": "not routed: the file holds them as they are, and no order from which they came (what "
    "pack's granularity cuts is always routed)",
}


def _not_routed(file: PackedFile, names: Iterable[str]) -> Iterator[str]:
    """The tensors without a circuit, and why, each reason once."""
    of_coder: dict[str, list[str]] = {}
    for name in names:
        entry = file.entry(name)
        of_coder.setdefault(entry.coder, []).append(f"{name} ({entry.num_weights:,})")
    for coder, told in of_coder.items():
        yield f"{', '.join(told)}: fixed values, {_WHY_NOT_ROUTED[coder]}"


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with written_whole(path) as written:
        written.write("".join(f"{line}\n" for line in lines).encode())


def _write_connections(written: IO[bytes], circuits: Sequence[LayerCircuit]) -> None:
    written.write(b"layer,unit,input,from unit,from input,value\n")
    for circuit in circuits:
        for unit in range(len(circuit.fixed_UI)):
            written.write("".join(_connections(circuit, unit)).encode())


def _connections(circuit: LayerCircuit, unit: int) -> Iterator[str]:
    name = csv_cell(circuit.name)
    if any(character in name for character in ',"\n\r'):
        name = '"' + name.replace('"', '""') + '"'
    num_inputs = circuit.fixed_UI.shape[1]
    places = circuit.routing_UI[unit]
    values = circuit.fixed_UI.ravel()[places]
    for own, (place, value) in enumerate(zip(places.tolist(), values, strict=True)):
        from_unit, from_input = divmod(place, num_inputs)
        yield f"{name},{unit},{own},{from_unit},{from_input},{value}\n"
