"""Writes docs/gallery.md and its pictures, of runs on the bundled digits: a minute.

Run as: python docs/make_gallery.py
"""

import tempfile
import textwrap
from dataclasses import replace
from pathlib import Path

from permtrain.files import written_whole
from permtrain.lab.pictures import drawings
from permtrain.lab.pictures.registry import KINDS, Request
from permtrain.lab.pictures.style import save_figure
from permtrain.lab.training.run import start_run
from permtrain.lab.training.settings import InitialSettings, PermutationSettings, Place, Settings

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "results"
DENSE = Settings(watch_ranking_distance=True, watch_every_layer=True)
SPARSE = replace(
    DENSE,
    initial=InitialSettings(sparsity=0.8, sparse_fans=True),
    permutation=PermutationSettings(method="index", granularity="neuron"),
)

HEAD = """# Gallery

What `permtrain plot` draws; made by `python docs/make_gallery.py`. Where no other source is named,
it is the run of `permtrain train` (the network `digits-cnn` on scikit-learn's digits, by LaPerm, 60
epochs), with `--watch-ranking-distance`; *before* is before the first step, *after* is after the
last.

Words that come up often ([glossary](glossary.md)): a **weight vector** is all weights that may
exchange values, here those into one neuron. A weight's **rank** is its place in the ascending order
of its vector, and the vector so sorted is its **profile**. Training by permutation changes which
place holds which value, never the values: a vector's profile stays.
"""

SHOWN = {
    "profiles": """
        Each grey line is one weight vector of the layer, sorted; the blue line is their
        mean. Lines that lie on each other are vectors with nearly the same values. The
        similarity says so as a number; long vectors drawn from one distribution are alike
        by themselves.
    """,
    "profile-3d": """
        The same vectors of one layer one behind the other: left as they stand, without any
        order to see; right sorted, where they make a smooth sheet.
    """,
    "histogram": """
        How often each value occurs. Before (dashed) and after (filled) cover each other, as
        the values stay; they would part if training had changed values.
    """,
    "neurons": """
        Ten neurons of the largest layer, the weights into each as a small image: before
        above, after below. The colors of a neuron are the same in both, at other places.
    """,
    "heat-map": """
        All weights of the largest layer: a row for each neuron, a column for each input.
    """,
    "connections": """
        Dark where a weight is not zero. Zeros are values like others, so that training
        moves them too: the pattern after it is another one, with as many dark places in
        each row.
    """,
    "cycles": """
        How one vector was permuted. Its weights stand on a circle, ascending from the right
        counterclockwise; a line joins the rank that a place held first with the one that it
        holds now. Followed from rank to rank, lines come back to where they began: a cycle,
        one colour each. Grey dots did not move.
    """,
    "arrows": """
        The same permutation by position: above the vector before, below after, an arrow
        from where a value was to where it is now.
    """,
    "graph": """
        What SGPerm, which permutes at every step, would see in one random subset of a
        vector. Each dot is a weight that is to grow or to shrink; here, as training changed
        the value at its place. A grey line joins two weights of which one may take the
        other's value: a change in the right direction, and not too far. Values can be
        exchanged along cycles of such moves; those that the search found are coloured.
    """,
    "partition": """
        The paper's SGPerm looks for cycles within random subsets of a vector's weights.
        Marked is one subset: left on the vector as an image, right on its profile.
    """,
    "ranking-distance": """
        Of the first layer, over training. Top: the values of its weights as the optimizer
        moves them between two synchronisations; a line each for some percentiles of every
        vector, dashed the smallest and the largest weight. Middle: how far ranks move in
        one step (ranking distance), mean and standard deviation over all weights. Bottom:
        the loss. Here vectors have nine weights, far from each other: soon none of them
        passes another.
    """,
    "curves": """
        Test accuracy along training, one line for each arm of an experiment: the mean over
        its seeds, in a band from the lowest to the highest.
    """,
    "bytes": """
        Each mark is a way to store a trained network: how many bytes it takes, and what
        test error it has. Down and left is better. A color is a method, a marker a net.
    """,
    "error-width": """
        How far from a function networks of one hidden layer stay that learn it by
        permutation alone, against their width, both axes logarithmic: the lower the better.
        A line for each arm, through the geometric means of its networks' errors; grey the
        slope -1/2 that the theory gives in one dimension.
    """,
    "images": """
        What there is to learn.
    """,
}
"""What is to be seen, for whoever sees such a picture for the first time."""

NOT_SHOWN = {
    "image-grid": """
        Drawn from a run that permutes pixels ([inputs.md](inputs.md)), which takes longer
        than all of this page.
    """,
}
"""Kinds without a picture here, and why."""

TABLES = {
    "curves": (RESULTS / "sgperm-ahead.csv", "`results/sgperm-ahead.csv`"),
    "bytes": (RESULTS / "tiny-mnist.csv", "`results/tiny-mnist.csv`"),
    "error-width": (RESULTS / "regression-1d-quick.csv", "`results/regression-1d-quick.csv`"),
}
"""What is drawn from results, and how the page calls them."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(runs_folder=Path(folder))
        dense, sparse = (start_run(settings, place).folder for settings in (DENSE, SPARSE))
        sources: dict[str, tuple[Path, str]] = dict.fromkeys(KINDS, (dense, "")) | TABLES
        sources["connections"] = sparse, "a run with 80% zeros, by the index optimizer"
        sources["images"] = Path("digits"), "the data set `digits`"
        parts = [HEAD]
        for kind, (path, source) in sources.items():
            if kind in NOT_SHOWN:
                parts.append(left_out(kind))
                continue
            draw = getattr(drawings, KINDS[kind].function)
            layer = "conv3.weight" if kind == "ranking-distance" else None  # where much moves
            figure, notes = draw(Request((path,), layer=layer))
            save_figure(figure, DOCS / "gallery" / f"{kind}.png")
            parts.append(section(kind, source, notes))
    with written_whole(DOCS / "gallery.md") as file:
        file.write("\n".join(parts).encode())


def section(kind: str, source: str, notes: list[str]) -> str:
    """What the page says of one kind of picture, and the picture."""
    title = KINDS[kind].description
    words = [*SHOWN[kind].split(), *(f"Drawn from {source}.".split() if source else [])]
    shown = textwrap.fill(" ".join(words), 100)
    said = "\n".join(["The command says beside it:", "", "```text", *notes, "```", ""])
    return "\n".join(
        [
            f"## {kind}",
            "",
            f"*{title}*",
            "",
            shown,
            "",
            *([said] if notes else []),
            f"![{title}](gallery/{kind}.png)",
            "",
        ]
    )


def left_out(kind: str) -> str:
    """What the page says of a kind that it does not show."""
    shown = textwrap.fill(" ".join(NOT_SHOWN[kind].split()), 100)
    return f"## {kind}\n\n*{KINDS[kind].description}*\n\n{shown}\n"


if __name__ == "__main__":
    main()
