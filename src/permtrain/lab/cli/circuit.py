"""`permtrain export-circuit` and `permtrain check-circuit`: the permutation itself."""

from pathlib import Path
from typing import Annotated

import tyro

from permtrain.files import require_folder
from permtrain.lab.cli.console import say
from permtrain.lab.cli.pack import packed_file_in
from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings


def export_circuit(
    source: Annotated[Path, tyro.conf.Positional],
    output: Path | None = None,
    connections: bool = True,
    ceilings: Annotated[
        Ceilings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes
    ] = DEFAULT_CEILINGS,
) -> None:
    """Write which fixed value each connection gets, for fixed-weight hardware.

    Args:
        source: A packed file, or a run's folder that holds one.
        output: The folder to write; left out, `circuit` beside the packed file.
        connections: Write the table of all connections too, some 30 bytes each.
    """
    from permtrain.circuit.export import export_circuit as export
    from permtrain.packed.reader import PackedFile, naming

    path = packed_file_in(source)
    folder = output or path.parent / "circuit"
    require_folder(folder)
    with naming(path):
        lines = export(PackedFile(path, **vars(ceilings)), folder, connections=connections)
    for line in lines:
        say(line)
    say(f"wrote {folder}")


def check_circuit(folder: Annotated[Path, tyro.conf.Positional]) -> None:
    """Rebuild each layer's output from fixed values and routing alone, and compare it.

    Args:
        folder: What export-circuit wrote. The program check_circuit.py in it does the same.
    """
    from permtrain.circuit.check import check
    from permtrain.circuit.export import ARRAYS
    from permtrain.errors import CircuitError, one_line
    from permtrain.files import require_file

    path = folder / ARRAYS
    try:
        require_file(path)
        lines, num_wrong = check(path)
    except OSError:  # its message names the file
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise CircuitError(f"{path}: damaged, not readable ({one_line(error)})") from None
    for line in lines or ["no layer is routed, so that there is nothing to check"]:
        say(line)
    if num_wrong:
        raise CircuitError(f"{path}: {num_wrong} of {len(lines)} layers are wrong; allowed: none")
