"""JSON files, written whole; what is read is checked to be of the right kind."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from permtrain.errors import CheckpointError, one_line
from permtrain.files import written_whole


def write_json(path: Path, plain: Mapping[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    with written_whole(path) as file:
        file.write((json.dumps(plain, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        CheckpointError: it is none.
    """
    try:
        plain = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({one_line(error)})") from None
    if not isinstance(plain, dict):
        raise CheckpointError(f"{path}: holds a {type(plain).__name__}; allowed: an object")
    return plain


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON objects, one a line, whole or not at all."""
    with written_whole(path) as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines).encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON objects, one a line.

    Raises:
        CheckpointError: the file is missing, or a line of it holds something else.
    """
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({one_line(error)})") from None
    for number, line in enumerate(lines, 1):
        if not isinstance(line, dict):
            raise CheckpointError(
                f"{path}: line {number} holds a {type(line).__name__}; allowed: an object"
            )
    return lines
