"""What docs/inputs.md shows of the recipes that permute inputs."""

from pathlib import Path

from pages.rendering import RESULTS, markdown_table, render
from pages.shown import Shown, not_run, shown_of

from permtrain.lab.recipes.experiments.permuting_inputs import PERMUTING_INPUTS
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.results import summarize_measures
from permtrain.lab.recipes.task import Measure

_MEASURES = (
    Measure("validation_psnr", "validation PSNR, dB"),
    *PERMUTING_INPUTS.measures,
    Measure("class_mean_classified_percent", "of class mean"),
    Measure("shuffled_classified_percent", "of shuffled"),
    Measure("judge_percent_on_measured", "of originals"),
)
_SAID = {
    "paper": "",
    "short": "Short budget: all images, few epochs, for want of time. ",
    "quick": "Quick budget: few images and steps, which compare arms roughly and are not those "
    "published. ",
}


def inputs_page(results: Path = RESULTS) -> str:
    return render(
        "inputs.md.jinja", results, tables=lambda recipe_id: inputs_tables(recipe_id, results)
    )


def inputs_tables(recipe_id: str, results: Path) -> str:
    """A table for each budget that was run, the largest first."""
    recipe = RECIPES[recipe_id]
    tables = [_table(recipe_id, each) for each in shown_of(recipe, results)]
    return "\n".join(tables) or not_run(recipe, results)


def _table(recipe_id: str, shown: Shown) -> str:
    command = f"`permtrain run {recipe_id} --budget {shown.budget}`."
    if not shown.rows:
        return f"{_SAID[shown.budget]}{command}\n{shown.missing}"
    rows = shown.rows
    cells = [
        [
            group.group,
            *(
                "" if value is None else f"{value[0]:.{measure.decimals}f}"
                for measure, value in zip(_MEASURES, group.values, strict=True)
            ),
        ]
        for group in summarize_measures(rows, _MEASURES)
    ]
    table = markdown_table(["arm", *(measure.title for measure in _MEASURES)], cells)
    counts = sorted({row["measured_images"] for row in rows})
    longest = max(rows, key=lambda row: row["epochs"] or row["steps"] or 0)
    length = f"{longest['epochs']} epochs" if longest["epochs"] else f"{longest['steps']} steps"
    judge = f"`{rows[0]['judge']}`, {rows[0]['judge_percent']:.2f}% on all real test images"
    return (
        f"{_SAID[shown.budget]}{length}, one seed, {'/'.join(map(str, counts))} test "
        f"images; judge {judge}. {command}\n\n{table}{shown.missing}"
    )
