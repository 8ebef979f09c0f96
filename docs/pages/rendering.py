"""Pages from templates: what a template may call, and how its text is laid out."""

import re
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from pages import figures
from pages.comparison import complete_rows, lines_of

from permtrain.lab.recipes.recipe import Budget
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.verdict import Verdict, tolerance

TEMPLATES = Path(__file__).parent / "templates"
RESULTS = Path(__file__).parents[2] / "results"


def render(name: str, results: Path = RESULTS, **more: Any) -> str:
    """Return the text that a template gives for the rows of a folder.

    Args:
        name: of the template, in `templates/`.
        more: what else the template calls or shows.

    Raises:
        ClaimError: a sentence of it is not true of the rows.
        jinja2.UndefinedError: it names an arm or a column that is not there.
    """
    text = environment(results).get_template(name).render(**more)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def environment(results: Path) -> jinja2.Environment:
    """Return what templates are read with; their functions read the rows of a folder."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown
        finalize=_shown,
    )

    @cache
    def rows(recipe: str, budget: Budget = "paper") -> list[dict[str, Any]]:
        return complete_rows(RECIPES[recipe], budget, results)

    def of_rows(
        function: Callable[[list[dict[str, Any]], str], Any],
    ) -> Callable[..., Any]:
        def of_recipes(recipes: str, column: str = "test_percent", budget: Budget = "paper") -> Any:
            return function([row for each in recipes.split() for row in rows(each, budget)], column)

        return of_recipes

    def published(recipes: str) -> dict[str, float]:
        """The published accuracies in percent, by arm."""
        arms = [arm for each in recipes.split() for arm in RECIPES[each].arms("paper")]
        return {arm.group: arm.published for arm in arms if arm.published is not None}

    def settings(recipe: str, arm: str, budget: Budget = "paper") -> Any:
        """The settings of an arm's first seed."""
        return next(a.settings for a in RECIPES[recipe].arms(budget) if a.group == arm)

    def verdicts(recipe: str) -> dict[str, Verdict | None]:
        return {line.group: line.verdict for line in lines_of(RECIPES[recipe], results)}

    def remark(recipe: str) -> str:
        """What is said below a recipe's tables; empty where nothing is."""
        name = f"remarks/{recipe}.md.jinja"
        return wrapped(made.get_template(name).render()) if (TEMPLATES / name).exists() else ""

    made.globals |= {
        "remark": remark,
        "rows": rows,
        "each_seed": of_rows(figures.each_seed),
        "means": of_rows(figures.means),
        "spreads": of_rows(figures.spreads),
        "published": published,
        "settings": settings,
        "verdicts": verdicts,
        "tolerance": tolerance,
    }
    filters = ("arms", "gaps", "ratios", "mean", "number", "percent", "points", "claim", "standing")
    made.filters |= {name: getattr(figures, name) for name in filters}
    made.filters["wrap"] = wrapped
    made.tests["match"] = lambda text, pattern: re.match(pattern, text) is not None
    tests = ("below", "above", "within")
    made.tests |= {name: getattr(figures, name) for name in tests}
    return made


def _shown(value: Any) -> Any:
    """What stands in the text: never a figure that was not rounded, or is not there."""
    if value is None or isinstance(value, float):
        raise figures.ClaimError(f"{value!r} is no text; a filter rounds it")
    return value


def wrapped(text: str, width: int = 100) -> str:
    """Return paragraphs and items of lists with their lines filled anew.

    Example:
        >>> print(wrapped("- one two\\nthree\\n- four\\n\\nfive\\nsix", width=10))
        - one two
          three
        - four
        <BLANKLINE>
        five six
        <BLANKLINE>
    """
    paragraphs = []
    for paragraph in re.split(r"\n{2,}", text.strip("\n")):
        items = re.split(r"\n(?=- )", paragraph)
        paragraphs.append("\n".join(_filled(item, width) for item in items))
    return "\n\n".join(paragraphs) + "\n"


def _filled(item: str, width: int) -> str:
    return textwrap.fill(
        " ".join(item.split()),
        width,
        subsequent_indent="  " if item.startswith("- ") else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


def markdown_table(head: list[str], cells: list[list[str]]) -> str:
    """Return a table in Markdown.

    Example:
        >>> print(markdown_table(["arm", "seeds"], [["Adam", "3"]]), end="")
        | arm | seeds |
        |---|---|
        | Adam | 3 |
    """
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in cells]) + "\n"
