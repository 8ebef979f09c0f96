"""The text of docs/reproduction.md, its numbers from results/."""

import statistics
from collections import Counter
from pathlib import Path
from typing import Any, get_args

from pages.comparison import BUDGETS, Line, complete_rows, lines_of, num_arms, own_rows

from permtrain.lab.recipes.published import CLAIMS, PICTURES
from permtrain.lab.recipes.recipe import Budget, Recipe
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.results import summarize, table_of
from permtrain.lab.recipes.rows import has_failed, is_complete
from permtrain.lab.recipes.status import cost_in_words, left_out
from permtrain.lab.recipes.verdict import Verdict

RESULTS = Path(__file__).parents[2] / "results"

HEAD = """# Results

Made by `make tables` from [`results/`](../results), where every row has its settings, seed, commit,
device and time. A table's command makes its file anew.

**Numbers** are test accuracies in %, means over seeds: "last epoch" after the last one, "best
epoch" of the epoch with the highest *test* accuracy, as the papers choose it; "spread" is the
standard deviation of the last over the seeds. A baseline is the inner optimizer alone on the same
net, from the same weights where there is such an arm; the difference to it is the mean over the
seeds that both have. Numbers of smaller budgets are marked (quick), (short): they train less, as is
said below their table, and reproduce nothing. A short training is the beginning of a full one,
where nothing else is said of its learning rate. Times are of one thread on two shared, busy cores,
and compare nothing; a cost of hours "each" is a run's, on one core.

**Processors** round sums differently, so that the same run ends elsewhere: Adam on `fc500-300`,
four epochs, seed 0, commit 799c6d1, ended at 98.37 on the one that computed the rows of that
commit, and at 98.23 on another. In `open-sparse` the rows of commits 61374ae and 3cbf481 (32 of
108) are of another processor than the rest: dense Adam's, the dense index optimizer's, and Adam's
from larger weights or with a dense output layer.

**Verdicts.** *Reproduced*: the published number lies between our last and our best epoch, or no
farther from them than the tolerance; *not reproduced*: farther, above or below. The tolerance is
twice the standard deviation of the difference of two accuracies on the 10,000 test images (.24
points at 99.3%, .95 at 87%; ImageNet has 50,000), or twice the standard error of our mean over the
seeds where that is more. *Published only in words*: there is no number. *Other data*: computed on
images with other pixels. *Not run*: not in full; "short alone" where at least the short budget was.
The rule is `permtrain.lab.recipes.verdict.verdict_on`.

**Pixels** decide some of the experiments on MNIST, and the papers say little about them: Train by
Reconnect that images are "normalized", Permute to Train nothing. Three readings were tried, and
chosen by how near they come to what was published, which is accuracy on test images: less the mean
image for Train by Reconnect's, from 0 to 1 for Permute to Train's. The one that we had taken first
stands beside them, in arms called "z-scored".

The index optimizer's thesis does not tell its number of epochs and stops on test accuracy.

The names of settings (`settings_hash`) are made of what differs from the defaults. Those of SGPerm
changed after the rows of `sgperm-logistic-mnist`, `sgperm-fc-mnist` and `sgperm-fc-fashion` were
computed with the published settings, given in full. `python docs/restamp_results.py` gave these
rows today's names, 75 of 90, after it had found each one's old name and all of its settings in the
recipe of the commit that computed it, equal to today's; Adam's 15 kept theirs. In the same way it
renamed the 39 quick rows of `sortgan-mnist`, `unshuffle-mnist` and `open-schedules`: their names
once counted all settings of a training, so that each new option changed them.
"""

# What a table says, and why it differs from what was published. tests/test_remarks.py holds them
# against the rows.
REMARKS = {
    "index-kernel": """\
Of all three granularities, from uniform and from normal weights: the index optimizer is level with
Adam or a little ahead, by up to .25 points, and .3 to .7 below the published figures, which stop on
test accuracy after a number of epochs that is not told. LaPerm with k = 1 comes to 98.4 and 98.5
per layer, .7 and .9 below. Per neuron and per kernel it is far below what was published, at 81 to
82, where linear layers are permuted per neuron; with linear layers whole it comes to 97.6 to 97.9,
.9 to 1.1 points below the published figures, and 2.4 above that per kernel from uniform weights, so
that this seems to be what was done. To the index optimizer whole linear layers are no help from
normal or uniform weights. We think it is the gaps: in vectors of 84 to 400 weights one step of Adam
is smaller than the distance to the next value, and k = 1 forgets it. `open-k1` below asks what else
helps: per neuron a rate of .01 to .03 does; per kernel it was not tried.

Sparse weights are those above "a specific threshold", 10% of them: one threshold for each tensor
(arms called "sparse") or one for the net, which leaves the smaller layers more, so that 95% of the
largest layer are zero and 38 to 77% of the others. With one for the net all end higher, nearer to
what was published: the index optimizer at 98.6 to 98.7, .2 to .4 points ahead of Adam from the same
weights and .4 to .8 below the published figures; LaPerm with k = 1 at 81 to 82. With one for each
tensor the index optimizer is .2 to .8 points ahead of Adam, most per layer and per neuron, and 1 to
1.7 below the published figures; LaPerm comes to 63 or 64 where linear layers are whole and to 41
where they are not. But for the 69.65 per kernel that is far below what was published without STE,
and we see no way there: the smallest other value is more than a hundred of Adam's steps away, and
with k = 1 no zero changes places with one, in any of these runs. At the end less than a tenth of
the weights have moved, of the index optimizer's 15 to 18%.
""",
    "laperm-agnostic-mnist": """\
With images less their mean image `f1` comes to what was published, within the tolerance, with
either number of zeros. `f2` comes near: with 10% left everywhere its seeds lie around 53 (44 to 68,
the mean six points above), with more left in the later layers around 78.14 (61 to 81, the mean
seven points below). On z-scored images all four are 4 to 25 points below.
""",
    "laperm-init-mnist": """\
After 10 of 45 epochs, one seed: as was published in words, He's uniform and normal weights end
level, Glorot's below them, by .2 to .3 points (published .1), and Adam's shuffled near Glorot's
normal ones, which they were published to follow up to epoch 25. From He's, LaPerm ends .2 points
ahead of Adam and .1 ahead of Lookahead, and .2 below the published 99.76. From one seed that proves
little: on 10,000 images two runs that are equally good may differ by .2.
""",
    "laperm-resnet20-cifar10": """\
On the copies, after five epochs, one seed: LaPerm is 1.8 points ahead of Adam, whose test accuracy
wavers from one epoch to the next. The learning rate first falls at epoch 80, after which LaPerm was
published to gain nothing: where training ends is open.
""",
    "laperm-rewire-mnist": """\
As published in words, but for the epoch at which the runs cross, which these rows do not tell. With
pixels from 0 to 1 the LaPerm phase slows down near 60 (60 to 71 after 1,500 batches, of which the
last 300 add .6 to 2.4), and run 1 ends ahead of run 2 in each of three seeds, by .1 points. On
z-scored images the LaPerm phase comes to 85 to 88, and run 1 ends .3 points ahead.
""",
    "ranking-distance": """\
As published in words: with L2 the changes are far greater, on average over all steps and in their
spread, and the weights draw together, where plain Adam's spread; with dropout they are a little
larger than Adam's, and larger at the end, when plain Adam's have fallen. SGD's begin as the largest
and all but end.
""",
    "sgperm-logistic-mnist": """\
With pixels from 0 to 1 as published: fast for 25 updates, a plateau near 87 from update 100 on,
updates 4 times sparser than Adam's (search pair's 10 times). They are 2 to 3.5 times as strong in
the mean and 6 to 8 times in the norm: "80 times stronger" is not reproduced, whatever was measured
there. On z-scored images there is no plateau at 87.
""",
    "open-resnet20": """\
Short, by validation accuracy, one seed; what that says of 100 epochs is open. The index optimizer
ends 2 points below Adam, per layer and per neuron alike. Four levels cost it 4.4 points per layer
and 5.8 per neuron, two levels 10.3 and 14. LaPerm ends 11 points below Adam.

We think that it is the falling learning rate by which LaPerm loses: steps become shorter than the
distance to the next value, and in ten of them a weight no longer gets there, where kept latent
weights go on adding them up. In `laperm-resnet20-cifar10-jpeg`, five epochs at a rate that does not
fall, LaPerm ended at 64.9 on test images and Adam at 63.1; here, as it falls to 0, at 60.2 and
70.8. (There no images are set aside, and LaPerm has L2 too.)
""",
    "open-k1": """\
What is best is best by validation accuracy, two seeds, four epochs; rounding alone moves such a
figure by .1. We think that k = 1 can do without latent weights where a step is a little longer than
the distance to the next value. On `lenet5`, per neuron at lr .03, it is level with Adam at its best
rate and .2 points behind the best arm, LaPerm with k = 20 at .01; per layer, at .01, it is level
with the index optimizer per layer. On test images the best of all four methods are level there
(98.87 to 98.92). On `fc500-300`, per layer at Adam's usual 1e-3, it is level with the best (98.08
and 98.16); per neuron, at .003, it is .4 behind, and longer steps are worse. Per neuron at 1e-3 it
is 3 points behind on `fc500-300` and hardly trains `lenet5` (27 and 40). With SGD at .1 it is .5
and 1.9 behind; at 1 it is 6 behind on `fc500-300` and does not train `lenet5`.

On `lenet5` all but plain Adam and SGD were best at the highest rate tried, so that higher ones may
be better. The index optimizer per neuron was run at 1e-3 only.
""",
    "open-sparse": """\
By validation accuracy, two seeds, four epochs. The index optimizer with whole layers as vectors
loses little at 90% and 95% zeros if the other weights are large enough for what is left: with fans
that do not count zeros (sparse fans), or with the smallest magnitudes as the zeros. It then ends .6
and .9 to 1.3 points below dense on `fc500-300`, 2 to 2.3 and 5 to 6 on `lenet5`. Adam that holds
its zeros in place, from the same weights, ends 1.5 to 2.9 points lower on `fc500-300` and 2.9 to
12.4 on `lenet5`. Larger weights are worth 1.1 points to Adam at most, and with sparse fans it loses
.6 and 3.2 by them on `lenet5`. From weights of the usual size the index optimizer per layer is
ahead of Adam on `fc500-300` with 90% zeros only.

An output layer without zeros does on `fc500-300` what larger weights do. On `lenet5` it adds 7 and
29 points to weights of the usual size, and the index optimizer ends 3 to 9 points below where
larger weights take it, and 1.1 and 4.6 below Adam with the same output layer.

Per neuron the index optimizer falls to 93 and 81 on `fc500-300` and to 62 and 25 on `lenet5`.
LaPerm, per neuron too, falls as was published of other nets, by 7 points at least, and does not
train `lenet5` at all. LaPerm per layer was not run.
""",
    "open-agnostic": """\
Both nets go beyond what was published, with two seeds. `f1` by kept latent weights on z-scored
images: 86 to 89, per neuron and per layer, whatever part remains; on images less their mean image
they end at 81 to 83, below LaPerm. `f2` by LaPerm with whole layers as vectors and the published
parts left: 79.8 (published 78.14), where per neuron it ends at 72.7. Neither other parts nor
z-scored images come near, at 69.1 at most. Kept latents fail on `f2`, at 53.2 at most, and per
layer on images less their mean image at chance.
""",
    "open-schedules": """\
By the index optimizer per layer, which keeps its latent weights when the profile changes; by
validation accuracy, two seeds, six epochs, of which the last profile holds for half. To get the
zeros or lose the levels step by step is no gain over having them from the start. On `fc500-300` the
two are level, within .15 points, and at most .3 below all values. On `lenet5` step by step ends
behind in all five cases, in four of them with both seeds, by .1 to .8 points and by 1.4 with 95%
zeros. All end with exactly the profile that was to be. Adam was not run here.
""",
    "tiny-mnist": """\
How sizes are counted, the goals and what else was tried: [tiny.md](tiny.md). Rows of one seed stand
beside rows of three.
""",
    "sgperm-fc-fashion": """\
"Slightly ahead of Adam over the 800 updates" holds on Fashion-MNIST and not quite on MNIST, with
the published settings, pixels from 0 to 1 and an Adam of lr 1e-3, as published. On Fashion-MNIST
SGPerm is ahead after 100 updates and ends .4 to .7 ahead of an Adam whose seeds spread by 1; the
authors' code ends .6 behind. On MNIST it is about 2 points ahead after 100 updates, within .5 at
400, and .6 to 1.3 behind after 800. On z-scored images it is .1 to .5 ahead in the end on
Fashion-MNIST (the authors' code 1.6 behind) and .7 to .9 behind on MNIST (2.5).

Its updates are 2.6 to 3.6 times sparser than Adam's on these nets, about 4 times were published for
the logistic one; search pair's are 7 times sparser. They are 4 to 8 times as strong in the mean and
8 to 14 times in the norm (pair's 2.5 to 3 and 6 to 7). What other settings do is in
[sgperm.md](sgperm.md).
""",
}


# What the README shows: a recipe, one of its arms, and the arm beside which it stands.
SUMMARY = (
    ("index-layer", "kaiming_uniform, index per layer", "kaiming_uniform, Adam"),
    ("index-neuron", "kaiming_uniform, index per neuron", "kaiming_uniform, Adam"),
    ("index-kernel", "kaiming_uniform, index per kernel", "kaiming_uniform, Adam"),
    ("laperm-fc-mnist", "LaPerm k=20", "Adam"),
    ("laperm-agnostic-mnist", "f1, 60% left, LaPerm k=250", "f1, 60% left, Adam, zeros fixed"),
    ("laperm-rewire-mnist", "LaPerm k=30 for 1,500 batches, then Adam", "Adam, zeros fixed"),
    ("sgperm-logistic-mnist", "SGPerm, authors' code", "Adam"),
    ("sgperm-fc-mnist", "SGPerm, authors' code", "Adam"),
    ("tiny-mnist", "fc500-300: 3 levels, 90% zeros", "fc500-300: Adam, float32"),
    ("tiny-mnist", "conv3-16: 3 levels, 50% zeros", "conv3-16: Adam, float32"),
    ("sgperm-ahead", "MNIST: SGPerm, chosen", "MNIST: Adam, cosine from 0.002"),
    ("sgperm-ahead", "Fashion-MNIST: SGPerm, chosen", "Fashion-MNIST: Adam, cosine from 0.002"),
)


def summary_table() -> str:
    """A line for each of `SUMMARY` that has been run."""
    cells = []
    for recipe_id, arm, beside in SUMMARY:
        rows = complete_rows(RECIPES[recipe_id], "paper", RESULTS)
        groups = {g.group: g for g in summarize(rows)}
        if {arm, beside} <= set(groups):
            ours, other = groups[arm], groups[beside]
            name = arm.removeprefix("kaiming_uniform, ")
            accuracies = [_percent(each.last_epoch) for each in (ours, other)]
            seeds = dict.fromkeys(str(each.num_seeds) for each in (ours, other))
            published = _percent(ours.published)
            cells.append([f"`{recipe_id}`", name, published, *accuracies, " and ".join(seeds)])
    return markdown_table(["recipe", "arm", "published", "ours", "Adam beside it", "seeds"], cells)


def reproduction_page() -> str:
    parts = [HEAD, _overview()]
    for recipe_id, claim in CLAIMS.items():
        parts.append(_published_section(recipe_id, claim))
    parts.append("# Beyond the papers\n")
    ours = [recipe for recipe in RECIPES.values() if recipe.id not in CLAIMS and not recipe.copy_of]
    parts += [_own_section(recipe) for recipe in ours]
    return "\n".join(parts)


def _overview() -> str:
    """A line for each published experiment."""
    cells = []
    for recipe_id in CLAIMS:
        recipe = RECIPES.get(recipe_id)
        if recipe is None:
            cells.append([f"`{recipe_id}`", "", "not run: no recipe", ""])
            continue
        done, num = num_arms(recipe, "paper", RESULTS)
        cost = cost_in_words(recipe, RESULTS)
        cells.append([f"`{recipe_id}`", f"{done} of {num}", _verdicts_in_words(recipe), cost])
    cells += [[f"`{name}`", "", what, ""] for name, what in PICTURES.items()]
    head = ["experiment", "arms complete", "verdicts", "cost of the full budget on two cores"]
    return markdown_table(head, cells)


def _verdicts_in_words(recipe: Recipe) -> str:
    """`2 reproduced, 1 not run`, of groups of arms."""
    counts = Counter[str]()
    if recipe.task is None:
        counts.update(line.verdict for line in lines_of(recipe, RESULTS) if line.verdict)
    words = ", ".join(f"{counts[each]} {each}" for each in get_args(Verdict) if counts[each])
    words = words or _task_verdict(recipe)
    if (
        "short" in recipe.budgets
        and own_rows(recipe, "short", RESULTS)
        and not complete_rows(recipe, "paper", RESULTS)
    ):
        words += "; short alone"
    if (copy := _copy_of(recipe)) and own_rows(copy, "short", RESULTS):
        words += "; on copies, short: other data"
    return words


def _task_verdict(recipe: Recipe) -> Verdict:
    return "published only in words" if complete_rows(recipe, "paper", RESULTS) else "not run"


def _published_section(recipe_id: str, claim: str) -> str:
    head = f"## {recipe_id}\n\nPublished: {claim}.\n"
    recipe = RECIPES.get(recipe_id)
    if recipe is None:
        return f"{head}\nNot run: there is no recipe yet.\n"
    head += f"\n{_how(recipe)}\n"
    parts = [head, _tables(recipe) if recipe.task is None else _task_table(recipe)]
    if (copy := _copy_of(recipe)) and any(own_rows(copy, b, RESULTS) for b in copy.budgets):
        parts.append(_copies_table(recipe, copy))
    if recipe_id in REMARKS:
        parts.append(REMARKS[recipe_id])
    return "\n".join(parts)


def _own_section(recipe: Recipe) -> str:
    """Of a recipe about which nothing was published."""
    head = f"## {recipe.id}\n\n{_how(recipe)}\n"
    found = [b for b in BUDGETS if b in recipe.budgets and own_rows(recipe, b, RESULTS)]
    if not found:
        return f"{head}\nNot run.\n"
    parts = [head]
    for budget in found:
        parts.append(_own_tables(recipe, budget))
        done, num = num_arms(recipe, budget, RESULTS)
        if done == num:  # else what smaller budgets give of the other arms
            break
    if recipe.id in REMARKS:
        parts.append(REMARKS[recipe.id])
    return "\n".join(parts)


def _own_tables(recipe: Recipe, budget: Budget) -> str:
    rows = own_rows(recipe, budget, RESULTS)
    done, num = num_arms(recipe, budget, RESULTS)
    some = "" if done == num else f" ({done} of {num} arms complete)"
    mark = "" if budget == "paper" else f"Budget {budget}{some}: {_less(recipe, budget)}.\n\n"
    whole = complete_rows(recipe, budget, RESULTS)
    if whole and whole[0].get("validation_percent") is not None:
        return mark + validation_table_of(rows)
    text = mark + markdown_table(*table_of(recipe, rows))
    has_updates = whole and whole[0].get("test_percent_at")
    return f"{text}\n{updates_table_of(whole)}" if has_updates else text


def _how(recipe: Recipe) -> str:
    arms = recipe.arms("paper")
    epochs = sorted({getattr(arm.settings, "epochs", 0) for arm in arms} - {0})
    unit = "epoch" if epochs == [1] else "epochs"
    length = f" {'/'.join(map(str, epochs))} {unit};" if epochs else ""
    done, num = num_arms(recipe, "paper", RESULTS)
    cost = "" if done == num else f" {done} of {num} arms complete; all: {_cost(recipe)}."
    return f"{recipe.description}.{length} `permtrain run {recipe.id} --budget paper`.{cost}"


def _cost(recipe: Recipe) -> str:
    return cost_in_words(recipe, RESULTS)


def _tables(recipe: Recipe) -> str:
    """Published beside ours, an arm a line; arms of which there is neither are counted."""
    lines = lines_of(recipe, RESULTS)
    shown = [line for line in lines if line.measured or line.published is not None or line.failed]
    hidden = len(lines) - len(shown)
    head = ["arm", "published", "ours, last epoch", "best epoch", "spread", "seeds"]
    head += ["beside its baseline: published", "ours", "verdict"]
    text = markdown_table(head, [_cells(line) for line in shown]) if shown else ""
    if hidden:
        text += f"\nNot run, and no number published: {hidden} {'more ' * bool(shown)}groups.\n"
    less = {line.measured.budget for line in shown if line.measured} - {"paper"}
    for budget in sorted(less):
        text += f"\n({budget}): {_less(recipe, budget)}.\n"
    rows = complete_rows(recipe, "paper", RESULTS)
    if rows and rows[0].get("test_percent_at"):
        text += f"\n{updates_table_of(rows)}"
    if rows and rows[0].get("ranking_distance") is not None:
        text += f"\n{ranking_table_of(rows)}"
    return text


def _cells(line: Line) -> list[str]:
    m = line.measured
    mark = "" if m is None or m.budget == "paper" else f" ({m.budget})"
    ours = ["", "", "", ""]
    if m is not None:
        ours = [f"{m.last:.2f}{mark}", _percent(m.best), _percent(m.spread), str(m.num_seeds)]
    if line.failed:
        ours[3] = f"{ours[3] or 0}, {line.failed} failed"
    return [
        line.group,
        _percent(line.published),
        *ours,
        _signed(line.published_difference),
        _signed(line.our_difference) + (mark if line.our_difference is not None else ""),
        line.verdict or "",
    ]


def _copies_table(recipe: Recipe, copy: Recipe) -> str:
    """Differences alone stand beside published ones: the copies' pixels are others."""
    cells = []
    for line in lines_of(copy, RESULTS, original=recipe):
        if line.measured is None and not line.failed:
            continue
        row = _cells(line)
        cells.append([row[0], *row[2:6], row[7], row[6], row[8]])
    head = ["arm", "last epoch", "best epoch", "spread", "seeds"]
    head += ["beside its baseline: ours", "published, on CIFAR-10", "verdict"]
    budgets = {
        line.measured.budget for line in lines_of(copy, RESULTS, original=recipe) if line.measured
    }
    less = "".join(f"\n({b}): {_less(copy, b)}.\n" for b in sorted(budgets - {"paper"}))
    return (
        f"On `cifar10-jpeg` (`{copy.id}`), JPEG copies of CIFAR-10: accuracies are lower there for "
        f"any method, and only differences to the baseline are compared.\n\n"
        f"{markdown_table(head, cells)}{less}"
    )


def _copy_of(recipe: Recipe) -> Recipe | None:
    return next((each for each in RECIPES.values() if each.copy_of == recipe.id), None)


def _task_table(recipe: Recipe) -> str:
    for budget in BUDGETS:
        rows = own_rows(recipe, budget, RESULTS) if budget in recipe.budgets else []
        if rows:
            is_full = budget == "paper"
            verdict = _task_verdict(recipe) if is_full else f"not run; {budget} alone"
            less = "" if is_full else f" ({_less(recipe, budget)})"
            return f"{markdown_table(*table_of(recipe, rows))}\nVerdict: {verdict}{less}.\n"
    return "Not run.\n"


def _less(recipe: Recipe, budget: Budget) -> str:
    return "; ".join(left_out(recipe, budget))


def validation_table_of(rows: list[dict[str, Any]]) -> str:
    """Means over seeds: accuracy on images set aside, by which is chosen, and on test images."""
    cells = []
    for arm in _arms(rows):
        mine = [row for row in rows if row["arm"] == arm and is_complete(row)]
        failed = sum(has_failed(row) for row in rows if row["arm"] == arm)
        means = [
            f"{statistics.mean(row[column] for row in mine):.2f}" if mine else ""
            for column in ("validation_percent", "test_percent")
        ]
        cells.append([arm, f"{len(mine)}" + (f", {failed} failed" if failed else ""), *means])
    return markdown_table(["arm", "seeds", "validation accuracy in %", "test, last epoch"], cells)


def updates_table_of(rows: list[dict[str, Any]]) -> str:
    """Means over seeds within the epoch: accuracy after updates, what the first ones changed."""
    groups = {arm: [row for row in rows if row["arm"] == arm] for arm in _arms(rows)}
    at = {arm: [_percent_at(row) for row in mine] for arm, mine in groups.items()}
    steps = list(next(iter(at.values()))[0])
    has_changes = rows[0]["changed_fraction"] is not None
    head = ["arm", *(f"after {step}" for step in steps)]
    cells = []
    for arm, mine in groups.items():
        means = [statistics.mean(each[step] for each in at[arm]) for step in steps]
        changes = _changes(mine) if has_changes else []
        cells.append([arm, *(f"{mean:.2f}" for mean in means), *changes])
    text = "Test accuracy in % after so many updates"
    if has_changes:
        head += ["changed", "mean change", "norm"]
        text += (
            "; and over the first 50 updates: the part of the weights that an update changes, the "
            "mean of its absolute change over all weights, and its Euclidean norm"
        )
    return f"{text}.\n\n{markdown_table(head, cells)}"


def ranking_table_of(rows: list[dict[str, Any]]) -> str:
    """Means over seeds: how far the order of the first matrix changes in a step, and its values."""
    cells = []
    for arm in _arms(rows):
        mine = [row for row in rows if row["arm"] == arm]
        at = [
            [float(pair.partition("=")[2]) for pair in row["ranking_distance_at"].split()]
            for row in mine
        ]
        distances = [
            statistics.mean(each[0] for each in at),
            statistics.mean(each[-1] for each in at),
            statistics.mean(row["ranking_distance"] for row in mine),
            statistics.mean(row["ranking_deviation"] for row in mine),
        ]
        values = [
            " ".join(
                f"{statistics.mean(map(float, each)):.3f}"
                for each in zip(*(row[column].split() for row in mine), strict=True)
            )
            for column in ("weight_percentiles_first", "weight_percentiles_last")
        ]
        cells.append([arm, *(f"{1000 * each:.3g}" for each in distances), *values])
    head = ["arm", "distance, first epoch", "last epoch", "all steps", "deviation, all steps"]
    head += ["percentiles before", "after"]
    return (
        "Ranking distance of a step in thousandths of the vector's length, mean and standard "
        "deviation; 15th, 50th and 85th percentile of a vector's values, before and after "
        f"training.\n\n{markdown_table(head, cells)}"
    )


def markdown_table(head: list[str], cells: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in cells]) + "\n"


def _changes(rows: list[dict[str, Any]]) -> list[str]:
    fraction, mean, norm = (
        statistics.mean(float(row[key]) for row in rows)
        for key in ("changed_fraction", "mean_change", "change_norm")
    )
    return [f"{fraction:.1%}", f"{mean:.2g}", f"{norm:.2g}"]


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _arms(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in rows))


def _percent_at(row: dict[str, Any]) -> dict[str, float]:
    """`25=61.2 100=80` as a mapping."""
    pairs = (each.split("=") for each in row["test_percent_at"].split())
    return {step: float(percent) for step, percent in pairs}
