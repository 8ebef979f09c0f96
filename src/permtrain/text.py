"""Text from files of others: harmless for where it goes, and compared as people read it."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

_FORMULA = re.compile(r"'*[=+\-@\t\n]")


def printable(text: str) -> str:
    r"""Text in which nothing moves a terminal's cursor, colors or turns it: escapes are shown.

    Letters of all languages stay; control characters, marks of writing direction and what is no
    character become as Python would write them.

    Example:
        >>> print(printable("a\x1b[2Jb\n\u202ec"))
        a\x1b[2Jb\n\u202ec
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def printable_lines(text: str) -> str:
    r"""`printable` of each line.

    Example:
        >>> print(printable_lines("a\nb\x1b[2J"))
        a
        b\x1b[2J
    """
    return "\n".join(map(printable, text.split("\n")))


def composed(name: str) -> str:
    """A name in the one spelling by which names are compared.

    Unicode has two for many letters, an é or an e with an accent put on it; people see no
    difference, and some systems write the other one when they copy a file.

    Example:
        >>> composed("e\u0301") == "\xe9"
        True
    """
    return unicodedata.normalize("NFC", name)


def alike(name: str, names: Iterable[str]) -> str | None:
    """Which of some names is this one, be it in the other spelling; None if none is.

    Example:
        >>> alike("e\u0301", ["a", "\xe9"]), alike("e", ["a", "\xe9"])
        ('é', None)
    """
    known = list(names)
    if name in known:
        return name
    return next((each for each in known if composed(each) == composed(name)), None)


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file, in which no text is a formula for a spreadsheet.

    Such text gets a quote before it. Numbers stay. `csv_text` takes the quote away again.

    Example:
        >>> csv_cell("=1+1"), csv_cell("a=1"), csv_cell(-0.5)
        ("'=1+1", 'a=1', -0.5)
    """
    if not isinstance(value, str):
        return value
    value = value.replace("\r\n", "\n").replace("\r", "\n")  # csv does not quote \r
    return f"'{value}" if _FORMULA.match(value) else value


def csv_text(cell: str) -> str:
    """The text that `csv_cell` made a cell of.

    Example:
        >>> csv_text("'=1+1"), csv_text("'a"), csv_text(csv_cell("'=b"))
        ('=1+1', "'a", "'=b")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
