"""The text of docs/inputs.md, its numbers from results/."""

from pathlib import Path

from pages.reproduction import RESULTS, markdown_table
from pages.shown import Shown, not_run, shown_of

from permtrain.lab.recipes.experiments.permuting_inputs import PERMUTING_INPUTS
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.results import summarize_measures
from permtrain.lab.recipes.task import Measure

HEAD = """# Permuting inputs: sortGAN and un-shuffling

Made by `make tables` from `results/`. The pixels of an image are shuffled; from them and the label
the image is to be recovered. Every output is a permutation of the shuffled pixels, which each
evaluation checks. `permtrain run ID`, `permtrain plot image-grid RUN`; PSNR and SSIM need
`pip install 'permtrain[inputs]'`.

A shuffle leaves the histogram of an image and nothing else: whatever is recovered beyond the label
comes from how much is bright. **Two lower bounds** stand beside every arm: the shuffled image as it
is, and its pixels in the order of the mean training image of its label. PSNR is that of the squared
error over all measured test images, SSIM the mean over them, "classified" the part that a
classifier trained on real images gives the right label; its accuracy on the real ones is the last
column. Since the label is given, a layout that shows its class alone is classified rightly, and a
high figure there is no proof of recovery; PSNR and SSIM are to be looked at first.

What was published, what is not stated there and what we chose: the docstring of
`recipes/experiments/permuting_inputs.py`.

Three things we added, and why:

- **Regression in place of the GAN.** The layout of given pixels that has the least expected squared
  error is that in the order of their expected values, given histogram and label. A generator that
  is trained by squared error on pixel values says just these.
- **Sorted input.** The order of shuffled pixels is noise to a generator.
- **Averages.** The index optimizer's pixels never come to rest: straight through, tied dark pixels
  change places at every step. The mean of the images shown over the last steps says which of them
  belong where.

Colours are moved whole. By "order": pixels are ranked by brightness (luma) and matched with the
brightness of the colours that the generator says, rank to rank. By "assignment": the layout with
the least summed squared distance of the colours, of which sorting is the case of one channel.

"""

SECTIONS = (
    ("sortgan-mnist", "sortGAN on MNIST"),
    ("sortgan-fashion", "sortGAN on Fashion-MNIST"),
    ("sortgan-cifar10-jpeg", "Colours: JPEG copies of CIFAR-10"),
    ("unshuffle-mnist", "Un-shuffling MNIST"),
)

# What a section's largest table says. tests/test_page_remarks.py holds them against the rows.
READ = {
    "sortgan-mnist": """\
After ten epochs of the hundred the published sortGAN recovers nothing, whatever is changed of its
error, shuffles or input: 8.4 to 9 dB, where shuffled pixels have 7.2 and the label's mean image
11.6, and the classifier is right by chance. Its discriminator has won: by the runs' records its
loss ends at .03 to .06. Squared error in its place gives 11.9 dB, above the mean image in SSIM too,
and 99.9% are classified rightly; a discriminator beside it takes 2.2 dB away. Whether the published
one needs its hundred epochs was not run.
""",
    "sortgan-fashion": """\
As on MNIST: after ten epochs of the hundred the published sortGAN is far below the label's mean
image, at 8.4 to 9 dB beside 13.4, and 11 to 26% of its images are classified rightly. Squared error
in its place gives 14.1 dB, above the mean image in SSIM too, with 96 to 97% classified rightly, as
the mean images are; a discriminator beside it takes 3.6 dB away. The mean of the nearest training
images, which nothing trains, comes within .2 dB and has 98%. The judge is right about 87.6% of the
real images: what is recovered with its label's help looks more like its class than they do.
""",
    "unshuffle-mnist": """\
"Poor", as the thesis says: with the published losses the images are hardly better than their
shuffled pixels (7.8 dB beside 7.6). A rate of .05 brings 8.8, and 69% are classified as they should
be, for which they were trained. Above the mean image of the label (11.6) come only the two that
expect each pixel to be normally distributed: around the label's mean (11.7), and better around the
nearest training images (11.8). Added to the first, the published losses take away .2.
""",
}

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
    return HEAD + "\n".join(_section(recipe_id, title, results) for recipe_id, title in SECTIONS)


def _section(recipe_id: str, title: str, results: Path) -> str:
    """The tables of the budgets that were run, the largest first."""
    recipe = RECIPES[recipe_id]
    tables = [_table(recipe_id, each) for each in shown_of(recipe, results)]
    shown = "\n".join(tables) or not_run(recipe, results)
    return f"## {title}\n\n{shown}" + (f"\n{READ[recipe_id]}" if recipe_id in READ else "")


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
