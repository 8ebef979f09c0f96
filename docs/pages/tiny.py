"""The text of docs/tiny.md, its numbers from results/."""

import csv
from typing import Any

from pages.comparison import complete_rows
from pages.reproduction import RESULTS, markdown_table

from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.results import GroupSummary, summarize

HEAD = """# Small and exact files

A net with few levels, most of them zero, is trained by the index optimizer and packed: its file is
a seed and, of each layer, where the levels went. `permtrain run tiny-mnist --budget paper` and
`tiny-fashion` train such nets and, beside them from the same images in as many epochs, the same
nets plainly (Adam) and as supermasks (edge-popup). All rows are in
[reproduction.md](reproduction.md).

1 KB is 1,000 bytes. Sizes of permuted nets are those of the whole `packed.safetensors`, header
included (`file_bytes`, of which `code_bytes` and `header_bytes`). Sizes of rivals have no header,
and are what their numbers take at least:

- **quantised**: the plainly trained net, rounded after training, without training on. float32 and
  bfloat16: 4 and 2 bytes a number. 8-bit: whole steps of each output unit's largest weight by 127,
  compressed by xz, and a float32 scale for each unit. Ternary: Li, Zhang, Liu 2016, section 2.2,
  by output unit, at the entropy of the three levels, and the scales. Biases stay float32.
- **supermask**: 8 bytes of seed, log2 C(n, k) bits for each layer's mask, its biases as float32.

The rivals' rates and decays were not tuned.

"""

# A goal of the project: what it is, an arm, and the least accuracy in the most bytes.
GOALS = (
    ("MNIST, `fc500-300`", "fc500-300: 3 levels, 90% zeros", 97.5, 16_000),
    ("MNIST, convolutions", "conv3-16: 3 levels, 50% zeros", 98.7, 10_000),
    ("MNIST, convolutions", "conv3-32: 3 levels, 50% zeros", 99.3, 40_000),
)

# An arm, and the supermask whose bytes come next to it from above.
AGAINST_SUPERMASKS = (
    ("fc500-300: 3 levels, 90% zeros", "fc500-300: supermask, 3% used"),
    ("conv3-16: 3 levels, 50% zeros", "conv3-32: supermask, 10% used"),
)

TRIALS = """## How the settings were chosen

On 10,000 training images set aside, one seed, never on test images. Accuracy is that on these
images in %, after the last epoch and after up to three epochs before it. "Fans": sparse ones count
only weights that are not zero, so that weights are larger. "Images": how they were moved at random
(degrees turned; parts of the side shifted; zoom). "Moved": part of the weights that are not where
they began. "3 of 7" epochs: broken off for want of time, so that nothing follows from it.

"""

LEARNT = """What these few trials say, one seed each, most of them apart in more than one setting:

- A file's size goes with the weights that moved, more than with zeros. Larger weights (sparse fans)
  and lower rates move fewer.
- On `fc500-300` sparse fans won by points, at half the size. Chosen are those with a dense output
  layer, which costs some 200 bytes, per layer and with shifted images; no trial tells the three
  apart. Two trials with better accuracy did not win: their files are above 16 KB.
- On `conv3-16` the larger rate in relation to the weights won (full fans). Its accuracy still jumps
  by some tenths from epoch to epoch at the end. So the recipe's rate falls to a hundredth, further
  than in the trial that won: this one step was not tried on these images.
- Four levels without zeros did not beat three with 50% zeros on `conv3-16`; `lenet5` did not win.
"""


def tiny_page() -> str:
    parts = [HEAD]
    if rows := complete_rows(RECIPES["tiny-mnist"], "paper", RESULTS):
        parts.append(_goals_section(summarize(rows)))
    return "".join([*parts, TRIALS, _trials_table(), "\n", LEARNT])


def _goals_section(groups: list[GroupSummary]) -> str:
    cells = []
    by_name = {group.group: group for group in groups}
    for what, arm, percent, size in GOALS:
        goal = [what, f"{percent:.1f}% in {size // 1000} KB", arm]
        group = by_name.get(arm)
        if group is None or group.file_bytes is None:
            cells.append([*goal, "", "", "not run"])
            continue
        is_met = group.last_epoch >= percent and group.file_bytes <= size
        found = [f"{group.last_epoch:.2f}%, {group.num_seeds} seeds", f"{group.file_bytes:,.0f}"]
        cells.append([*goal, *found, "met" if is_met else "missed"])
    head = ["data and net", "goal", "arm", "last epoch, test", "bytes, mean", ""]
    return f"## Goals\n\n{markdown_table(head, cells)}{_supermasks_table(by_name)}\n"


def _supermasks_table(by_name: dict[str, GroupSummary]) -> str:
    """Each arm beside a supermask of as many bytes or more, where both have been run."""
    cells = []
    for arm, rival in AGAINST_SUPERMASKS:
        if {arm, rival} <= set(by_name):
            pair = (by_name[arm], by_name[rival])
            found = [f"{each.last_epoch:.2f}%, {each.num_seeds} seeds" for each in pair]
            sizes = [f"{each.file_bytes:,.0f}" for each in pair]
            cells.append([arm, found[0], sizes[0], rival, found[1], sizes[1]])
    head = ["arm", "last epoch, test", "bytes", "supermask", "last epoch, test", "bytes"]
    return f"\n{markdown_table(head, cells)}" if cells else ""


def _trials_table() -> str:
    with (RESULTS / "studies" / "tiny-trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    head = ["net", "exchange", "levels", "zeros", "fans", "images", "rate", "epochs"]
    head += ["accuracy", "before", "moved", "bytes"]
    return markdown_table(head, [_trial(row) for row in rows])


def _trial(row: dict[str, Any]) -> list[str]:
    moved = f"{row['rotation_degrees']} degrees, {row['shift_fraction']}, {row['zoom_fraction']}"
    is_whole = row["epochs_done"] == row["epochs"]
    zeros = row["sparsity"].replace(".weight", "")
    return [
        row["model"],
        f"per {row['granularity']}",
        f"{row['levels']} and 0" if row["sparsity"] != "0" else row["levels"],
        "" if zeros == "0" else zeros,
        "sparse" if row["sparse_fans"] == "True" else "full",
        "as they are" if moved == "0 degrees, 0.0, 0.0" else moved,
        f"{row['lr']} x {row['lr_decay']} an epoch",
        row["epochs"] if is_whole else f"{row['epochs_done']} of {row['epochs']}",
        row["validation_percent"],
        row["validation_percent_before"],
        f"{float(row['moved_fraction']):.1%}" if is_whole else "",
        f"{int(row['file_bytes']):,}" if is_whole else "",
    ]
