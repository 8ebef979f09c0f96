"""Checks an exported circuit with nothing but NumPy; a copy stands in every export.

    python check_circuit.py [circuit.npz]

A layer's weights are its fixed values, each brought from its place to one connection. The program
does just that, sends the probe through the layer and compares what comes out with the output that
the exporter computed from the trained weights, bit for bit.
"""

import math
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def main(arguments: list[str]) -> int:
    """Checks the file named, else the one beside this program; 0 if all is as it should be."""
    path = Path(arguments[0]) if arguments else Path(__file__).parent / "circuit.npz"
    try:
        lines, num_wrong = check(path)
    except Exception as error:  # a damaged file can raise nearly anything
        reason = getattr(error, "strerror", None) or error  # without the name a second time
        print(f"{path}: not readable ({reason})", file=sys.stderr)
        return 1
    print("\n".join(lines) or "no layer is routed, so that there is nothing to check")
    return int(num_wrong > 0)


def check(path: Path) -> tuple[list[str], int]:
    """A line for each routed layer, and how many of them are wrong.

    A file whose directory of arrays is damaged raises ValueError; other damage nearly anything.
    """
    lines = []
    num_wrong = 0
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as opened:
        file.seek(-12, os.SEEK_END)
        if int.from_bytes(file.read(2), "little") != min(len(opened.files), 0xFFFF):
            raise ValueError("its directory holds fewer arrays than were written")
        num_bytes = sum(member.file_size for member in opened.zip.infolist())
        if num_bytes > os.fstat(file.fileno()).st_size:
            raise ValueError(f"its arrays claim {num_bytes} bytes, more than the file has")
        arrays = {key: opened[key] for key in opened.files}  # all, for their checksums
        for name in _routed(list(arrays)):
            fixed_UI, routing_UI, probe_I, output_U = (
                arrays[f"{name}:{what}"] for what in ("fixed", "routing", "probe", "output")
            )
            problem = _problem(fixed_UI, routing_UI, probe_I, output_U)
            num_wrong += problem is not None
            units, inputs = fixed_UI.shape
            shown = name.encode("unicode_escape").decode()  # it may move a terminal's cursor
            lines.append(f"{shown}: {units} units of {inputs} inputs: {problem or 'as trained'}")
    return lines, num_wrong


def _routed(keys: list[str]) -> list[str]:
    """The layers that are routed. A name that is damaged must not leave a layer unchecked."""
    found: dict[str, set[str]] = {}
    for key in keys:
        name, _, what = key.rpartition(":")
        found.setdefault(name, set()).add(what)
    if not found:
        raise ValueError("it holds no array")
    whole = {"fixed", "routing", "probe", "output"}
    for name, parts in found.items():
        if parts not in ({"fixed"}, whole):
            raise ValueError(
                f"of {name} it holds {', '.join(sorted(parts))}; allowed: fixed alone, or all of "
                f"{', '.join(sorted(whole))}"
            )
    return [name for name, parts in found.items() if parts == whole]


def layer_output(
    fixed_UI: NDArray[np.generic],
    routing_UI: NDArray[np.generic],
    probe_I: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The output of each unit: the sum, rounded once, of its inputs times the values routed to it.

    Shapes: U units, I inputs. `routing_UI` counts places of `fixed_UI` in C order.
    """
    weights_UI = fixed_UI.ravel()[routing_UI].astype(np.float64)
    return np.array([math.fsum(terms) for terms in (weights_UI * probe_I).tolist()])


def _problem(
    fixed_UI: NDArray[np.generic],
    routing_UI: NDArray[np.generic],
    probe_I: NDArray[np.float64],
    output_U: NDArray[np.float64],
) -> str | None:
    places = np.arange(fixed_UI.size)
    if routing_UI.shape != fixed_UI.shape or (np.sort(routing_UI, axis=None) != places).any():
        return "WRONG, the routing does not use every fixed value once"
    found_U = layer_output(fixed_UI, routing_UI, probe_I)
    if output_U.shape != found_U.shape:
        return f"WRONG, the trained weights gave {output_U.size} outputs"
    num_wrong = int((found_U.view(np.int64) != output_U.astype(np.float64).view(np.int64)).sum())
    if num_wrong:
        return f"WRONG, {num_wrong} outputs are not those of the trained weights"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
