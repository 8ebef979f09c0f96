"""JSON files, written whole; what is read is checked to be of the right kind."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from permtrain.errors import CheckpointError, one_line
from permtrain.files import require_file, written_whole


def json_text(plain: Any, **options: Any) -> str:
    """JSON of plain data, in which a number that is none, or infinite, is null, as JSON has it.

    Example:
        >>> json_text({"loss": float("nan"), "steps": [1, float("inf")]})
        '{"loss": null, "steps": [1, null]}'
    """
    try:
        return json.dumps(plain, allow_nan=False, **options)
    except ValueError:  # rare, so that all else is gone through once only
        return json.dumps(_finite(plain), allow_nan=False, **options)


def _finite(plain: Any) -> Any:
    if isinstance(plain, Mapping):
        return {key: _finite(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_finite(value) for value in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def with_nan(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as they were before they were written: null is NaN."""
    return {name: math.nan if value is None else value for name, value in numbers.items()}


def write_json(path: Path, plain: Mapping[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    with written_whole(path) as file:
        file.write((json_text(plain, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        CheckpointError: it is none.
    """
    try:
        require_file(path)
        plain = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({one_line(error)})") from None
    if not isinstance(plain, dict):
        raise CheckpointError(f"{path}: holds a {type(plain).__name__}; allowed: an object")
    return plain


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON objects, one a line, whole or not at all."""
    with written_whole(path) as file:
        file.write("".join(json_text(line) + "\n" for line in lines).encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON objects, one a line.

    Raises:
        CheckpointError: the file is missing, or a line of it holds something else.
    """
    try:
        require_file(path)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({one_line(error)})") from None
    for number, line in enumerate(lines, 1):
        if not isinstance(line, dict):
            raise CheckpointError(
                f"{path}: line {number} holds a {type(line).__name__}; allowed: an object"
            )
    return lines
