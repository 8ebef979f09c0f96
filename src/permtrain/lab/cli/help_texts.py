"""Help in paragraphs: tyro keeps the lines of docstrings, and breaks them anew."""

import inspect
from collections.abc import Callable
from dataclasses import replace

from tyro.constructors import StructConstructorSpec

from permtrain.lab.cli.dataclass_rule import dataclass_rule

Help = str | Callable[[], str | None] | None


@dataclass_rule
def in_paragraphs(spec: StructConstructorSpec) -> StructConstructorSpec:
    """Each setting with its help on one line a paragraph."""
    fields = tuple(replace(each, helptext=_when_asked(each.helptext)) for each in spec.fields)
    return replace(spec, fields=fields)


def _when_asked(text: Help) -> Help:
    def joined_text() -> str | None:
        said = text() if callable(text) else text
        return None if said is None else joined(said)

    return joined_text


def joined(text: str) -> str:
    """A text whose paragraphs are one line each.

    Example:
        >>> joined("Run folders\\n    are made here.\\n\\nAll of them.")
        'Run folders are made here.\\n\\nAll of them.'
    """
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


def with_joined_arguments(docstring: str) -> str:
    """A function's docstring in which each argument's description is one line.

    Example:
        >>> print(with_joined_arguments("Do it.\\n\\nArgs:\\n    a: This\\n        and that.\\n"))
        Do it.
        <BLANKLINE>
        Args:
            a: This and that.
    """
    lines: list[str] = []
    for line in inspect.cleandoc(docstring).splitlines():
        if line.startswith(8 * " ") and lines[-1].startswith(4 * " "):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines)
