"""Text from files of others, made harmless for where it goes: a terminal, a spreadsheet."""

import re
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
