"""Writes docs/gallery.md and its pictures, of runs on the bundled digits: a minute.

Run as: python docs/make_gallery.py
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from permtrain.files import written_whole
from permtrain.pictures import drawings
from permtrain.pictures.registry import KINDS, Request
from permtrain.pictures.style import save_figure
from permtrain.training.run import start_run
from permtrain.training.settings import InitialSettings, PermutationSettings, Place, Settings

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "results"
DENSE = Settings()
SPARSE = replace(
    DENSE,
    initial=InitialSettings(sparsity=0.8, sparse_fans=True),
    permutation=PermutationSettings(method="index", granularity="neuron"),
)

HEAD = """# Gallery

What `permtrain plot` draws; made by `python docs/make_gallery.py`. Where no other source is named
it is the run of `permtrain train` (`digits-cnn` on scikit-learn's digits, LaPerm, 60 epochs), with
`--watch-ranking-distance`.
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(runs_folder=Path(folder), watch_ranking_distance=True)
        dense, sparse = (start_run(settings, place).folder for settings in (DENSE, SPARSE))
        sources: dict[str, tuple[tuple[Path, ...], str]] = dict.fromkeys(KINDS, ((dense,), ""))
        sources["connections"] = (sparse,), "a run with 80% zeros, by the index optimizer"
        sources["curves"] = (RESULTS / "sgperm-ahead.csv",), "`results/sgperm-ahead.csv`"
        sources["bytes"] = (RESULTS / "tiny-mnist.csv",), "`results/tiny-mnist.csv`"
        sources["error-width"] = (RESULTS / "regression-1d-quick.csv",), "`regression-1d`, quick"
        sources["images"] = (Path("digits"),), "the data set `digits`"
        parts = [HEAD]
        for kind, (paths, source) in sources.items():
            draw = getattr(drawings, KINDS[kind].function)
            figure, notes = draw(Request(paths))
            save_figure(figure, DOCS / "gallery" / f"{kind}.png")
            said = "\n".join(f"{note}\n" for note in [*([f"Of {source}."] * bool(source)), *notes])
            title = KINDS[kind].description
            parts.append(f"## {kind}\n\n{title}\n\n{said}\n![{title}](gallery/{kind}.png)\n")
    with written_whole(DOCS / "gallery.md") as file:
        file.write("\n".join(parts).encode())


if __name__ == "__main__":
    main()
