"""The contract of options: each one, set to another value, changes what it should.

A table has an entry for every option. A new option joins by a line in the table of its folder
`tests/options`, and a test fails until it has one.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

_UNKNOWN = object()


@dataclasses.dataclass(frozen=True)
class Option:
    """What it means to set an option.

    Attributes:
        value: what it is set to.
        changes: from options by name to what must be another than where this one is left out.
        gives: what it must be, where that can be worked out by hand; or a function of what it is
            where the option is left out.
        keeps: from options by name to what must be the same.
        beside: what else is set, with and without the option; if it holds the option itself, that
            is the value it has where it is left out.
    """

    value: Any
    changes: Callable[[dict[str, Any]], Any]
    gives: Any = _UNKNOWN
    keeps: Callable[[dict[str, Any]], Any] | None = None
    beside: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """An option whose effect an exact test shows: its file below `tests`, `::`, its name."""

    test: str


Table = Mapping[str, Option | Elsewhere | tuple[Option, ...]]


def each_entry(table: Table) -> list[Any]:
    """The parameters of a test of `name` and `option`, one for each entry."""
    return [
        pytest.param(name, option, id=name if len(options) == 1 else f"{name}-{number}")
        for name, entry in table.items()
        for options in [entry if isinstance(entry, tuple) else (entry,)]
        for number, option in enumerate(options)
    ]


def check(name: str, option: Option | Elsewhere) -> None:
    """Fails if the option does not do what its entry says."""
    if isinstance(option, Elsewhere):
        file, _, test = option.test.partition("::")
        assert f"def {test}(" in (Path(__file__).parent / file).read_text()
        return
    left_out = dict(option.beside)
    given = left_out | {name: option.value}
    before, after = _left_out(option.changes, left_out), option.changes(given)
    assert after != before
    if option.gives is not _UNKNOWN:
        assert after == (option.gives(before) if callable(option.gives) else option.gives)
    if option.keeps is not None:
        assert option.keeps(given) == _left_out(option.keeps, left_out)


_seen: dict[str, Any] = {}
_steady: set[Callable[..., Any]] = set()


def _left_out(look: Callable[[dict[str, Any]], Any], options: dict[str, Any]) -> Any:
    """What is seen without an option; looked at once for all entries that share it."""
    key = f"{look.__module__}.{look.__qualname__} {options}"
    if key not in _seen:
        _seen[key] = look(options)
    if look not in _steady:  # else an option would seem to count that does nothing
        assert look(options) == _seen[key], f"{look.__name__} is not the same twice"
        _steady.add(look)
    return _seen[key]


def check_complete(table: Table, options: Iterable[str]) -> None:
    """Fails if an option has no entry, or an entry no option."""
    assert sorted(table) == sorted(options)


def fields_of(cls: type, prefix: str = "") -> list[str]:
    """The fields of a dataclass; those of one nested in it, from the same module, by dotted names.

    Settings that another module declares are one option here; they have a table of their own.
    """
    names = []
    for field in dataclasses.fields(cls):
        kind = field.type
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and _is_part(kind, cls):
            names += fields_of(kind, f"{prefix}{field.name}.")
        else:
            names.append(f"{prefix}{field.name}")
    return names


def _is_part(kind: type, whole: type) -> bool:
    own_module = kind.__module__ == whole.__module__
    return own_module or (kind.__name__, whole.__name__) == ("Augmentation", "Settings")


def keywords_of(function: Callable[..., Any], *but: str) -> list[str]:
    """The arguments of a function or class, without `but`: what it is applied to."""
    return [name for name in inspect.signature(function).parameters if name not in but]


def with_options(settings: Any, options: Mapping[str, Any]) -> Any:
    """Settings with fields set by dotted names; all at once, as some go together only."""
    nested: dict[str, dict[str, Any]] = {}
    own = {}
    for name, value in options.items():
        group, _, rest = name.partition(".")
        if rest:
            nested.setdefault(group, {})[rest] = value
        else:
            own[group] = value
    parts = {
        group: with_options(getattr(settings, group), theirs) for group, theirs in nested.items()
    }
    return dataclasses.replace(settings, **own, **parts)
