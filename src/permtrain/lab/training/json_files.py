"""JSON files, written whole; what is read is checked to be of the right kind.

Whatever reads a run's folder reads it through here, so that a file of an accident, of another
program or of a foe is named in one line, and nothing of it reaches arithmetic or a page.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from permtrain.errors import CheckpointError, SettingError, one_line
from permtrain.files import require_file, written_whole
from permtrain.ranges import check_values

_LARGEST = 2**64


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
    """Numbers, and lists of them, as they were before they were written: null is NaN.

    Example:
        >>> with_nan({"loss": None, "steps": [1, None]})
        {'loss': nan, 'steps': [1, nan]}
    """
    return {name: _or_nan(value) for name, value in numbers.items()}


def _or_nan(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_or_nan, value))
    return math.nan if value is None else value


def write_json(path: Path, plain: Mapping[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    with written_whole(path) as file:
        file.write((json_text(plain, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        CheckpointError: it is none.
    """
    plain = _parsed(_text(path), path)
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
    lines = [_parsed(line, path) for line in _text(path).splitlines()]
    for number, line in enumerate(lines, 1):
        if not isinstance(line, dict):
            raise CheckpointError(
                f"{path}: line {number} holds a {type(line).__name__}; allowed: an object"
            )
    return lines


def require_values(plain: Any, kind: type, where: str, required: Iterable[str] = ()) -> None:
    """Raise unless an object holds what it must, and of what it holds each is of its type.

    Args:
        plain: what was read; what `kind` does not name is not looked at.
        kind: a dataclass or a `TypedDict` whose fields say what each may hold (`permtrain.ranges`).
        where: the file, and the place in it, for the message.
        required: names of the values that must be there.

    Raises:
        CheckpointError: saying which is missing, or what is allowed.

    Example:
        >>> from permtrain.lab.training.settings import Settings
        >>> require_values({"epochs": 0}, Settings, "a.json")
        Traceback (most recent call last):
        permtrain.errors.CheckpointError: a.json: epochs is 0; allowed: 1 or more
    """
    if not isinstance(plain, dict):
        raise CheckpointError(f"{where}: holds a {type(plain).__name__}; allowed: an object")
    for name in required:
        if name not in plain:
            raise CheckpointError(f"{where}: tells no {name}")
    try:
        check_values(kind, plain)
    except SettingError as error:
        raise CheckpointError(f"{where}: {one_line(error)}") from None


def _text(path: Path) -> str:
    try:
        require_file(path)
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({one_line(error)})") from None


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text, parse_int=_whole)
    except ValueError as error:
        raise CheckpointError(f"{path}: not readable as JSON ({one_line(error)})") from None
    except RecursionError:
        raise CheckpointError(f"{path}: not readable as JSON (nested too deep)") from None


def _whole(digits: str) -> int:
    """A whole number that other languages hold too; a longer one fits no float."""
    if len(digits) > 20 or abs(number := int(digits)) >= _LARGEST:
        raise ValueError(f"a number of {len(digits)} digits; allowed: below 2**64")
    return number
