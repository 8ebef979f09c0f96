"""The text of docs/across.md, its numbers from results/."""

import statistics
from pathlib import Path
from typing import Any

from pages.reproduction import RESULTS, markdown_table
from pages.shown import not_run, shown_of

from permtrain.lab.recipes.registry import RECIPES

HEAD = """# Weights that move between layers

Made by `make tables` from `results/`. Permute to Train, section 6, asks for permutations across
layers. With `--granularity across` the weights of all layers are one vector, each counted in units
of its layer: the power of two nearest to the He standard deviation sqrt(2 / fan_in). A weight that
goes to another layer is multiplied by a power of two, which is exact, so that `permtrain verify`
can tell from the weights alone that together they are what was drawn.

Limits: units are as coarse as powers of two (the three layers of `fc500-300` have the same, 1/16);
a value that a layer's dtype cannot hold is refused, which can happen with float16; parameters are
of one dtype and none is frozen; packed files store such a model bit for bit, but not as
permutations. Ties go by the order of layers, then by position. On a GPU the host waits for each
arrangement.

"""

READ = """
"Across" are the weights that hold a value born in another layer. That share is near what dealing
out values at random would give (.36 for `lenet5`, .41 for `fc500-300`): neighbours in the joint
order come from all layers, so that a change of a few ranks is enough to hold another layer's value.
What tells more is whether a layer gets larger or smaller weights than it was born with: "scale" is
the root mean square of each layer's weights by that at first, in the layers' order. Within layers
it is 1.

Arms are to be compared on the images set aside, none of which was trained on.
"""

READ_FULL = """
**Does it help, and where?** Little, on these nets. On the images set aside, weights that cross
layers end ahead of those that stay within their layer in all four pairs of means, but by less than
.1 points, which three seeds do not tell from nothing; with LaPerm on `lenet5` by .2, in each seed.
They end within .05 points of Adam. What helps are long vectors: on `lenet5` LaPerm gains 1.1 points
from neurons to whole layers, the index optimizer .1. On `fc500-300` all arms are within .2 points.

Layers nearly keep their scale. The second convolution of `lenet5` takes 3 to 4% larger weights, the
first layer of `fc500-300` 2%; output layers get 1 to 3% smaller ones, the second layer of
`fc500-300` 3%. No layer gathers the large weights.
"""


def across_page(results: Path = RESULTS) -> str:
    recipe = RECIPES["across-layers"]
    shown = shown_of(recipe, results)
    if not shown:
        return HEAD + not_run(recipe, results)
    parts = [HEAD]
    for each in shown:
        parts.append(f"`permtrain run across-layers --budget {each.budget}`, on MNIST.\n\n")
        parts.append(f"{_table(each.rows)}{each.missing}\n")
    read_full = READ_FULL if any(each.budget == "paper" for each in shown) else ""
    return "".join(parts).removesuffix("\n") + READ + read_full


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
