"""What docs/across.md shows of the recipe `across-layers`."""

import statistics
from pathlib import Path
from typing import Any

from pages.rendering import RESULTS, markdown_table, render
from pages.shown import not_run, shown_of

from permtrain.lab.models.registry import build_network
from permtrain.lab.recipes.registry import RECIPES


def across_page(results: Path = RESULTS) -> str:
    nets = {name: _elsewhere_by_chance(name) for name in ("lenet5", "fc500-300")}
    return render("across.md.jinja", results, tables=across_tables(results), by_chance=nets)


def _elsewhere_by_chance(network: str) -> float:
    """The share of weights in another layer than they were born in, had they been dealt out."""
    parameters = build_network(network, (1, 28, 28), 10).parameters()
    sizes = [weights.numel() for weights in parameters if weights.dim() > 1]
    return 1 - sum((size / sum(sizes)) ** 2 for size in sizes)


def across_tables(results: Path) -> str:
    """A table for each budget that was run, the largest first."""
    recipe = RECIPES["across-layers"]
    return "\n".join(
        f"`permtrain run across-layers --budget {each.budget}`, on MNIST.\n\n"
        f"{_table(each.rows)}{each.missing}"
        for each in shown_of(recipe, results)
    ) or not_run(recipe, results)


def _table(rows: list[dict[str, Any]]) -> str:
    cells = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == arm]
        cells.append(
            [
                arm,
                str(len(mine)),
                _percent(mine, "validation_percent"),
                _percent(mine, "test_percent"),
                _share(mine, "moved_fraction"),
                _share(mine, "changed_layer_fraction"),
                _scales(mine),
                "" if mine[0]["intact"] is None else "yes" if _all_intact(mine) else "NO",
            ]
        )
    head = ["arm", "seeds", "set aside", "test, last epoch", "moved", "across", "scale", "exact"]
    return markdown_table(head, cells)


def _scales(rows: list[dict[str, Any]]) -> str:
    """Each layer's ratio, mean over seeds."""
    words = [(row["layer_rms_ratio"] or "").split() for row in rows]
    each = [[float(word.partition("=")[2]) for word in mine] for mine in words]
    return " ".join(f"{statistics.mean(ratios):.2f}" for ratios in zip(*each, strict=True))


def _all_intact(rows: list[dict[str, Any]]) -> bool:
    return all(row["intact"] is True for row in rows)


def _percent(rows: list[dict[str, Any]], column: str) -> str:
    values = [row[column] for row in rows]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def _share(rows: list[dict[str, Any]], column: str) -> str:
    values = [row[column] for row in rows]
    return "" if None in values else f"{statistics.mean(values):.1%}"
