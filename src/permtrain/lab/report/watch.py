"""The live view: the page is written again while the runs go on."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from permtrain.lab.recipes.recipe import Budget
from permtrain.lab.report.contents import Collector
from permtrain.lab.report.page import write_page
from permtrain.lab.report.sources import find_runs, num_runs
from permtrain.lab.training.settings import Place
from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings


def watch(
    path: Path,
    names: Sequence[str],
    title: str,
    place: Place,
    budget: Budget,
    every_s: float,
    wait: Callable[[float], None] = time.sleep,
    *,
    trust_model: bool = False,
    ceilings: Ceilings = DEFAULT_CEILINGS,
) -> None:
    """Writes the page every `every_s` seconds until all runs found are complete or have failed.

    The last page no longer refreshes itself; nor does the one that Ctrl-C leaves behind.

    Args:
        path: the HTML file.
        names, budget, trust_model: as in `find_runs`.
        title: of the page.
        place: where runs are, and where their data are.
        every_s: above 0.
        wait: what passes the time.
        ceilings: what runs' packed files may claim.

    Raises:
        PermtrainError: as `find_runs` and `write_page`.
    """
    collector = Collector(place, ceilings=ceilings)
    contents = []
    try:
        while True:
            runs = find_runs(names, place.runs_folder, budget, begun=True, trust_model=trust_model)
            contents = collector.collect(runs)
            are_done = all(each.result is not None or each.has_failed for each in contents)
            if are_done and len(runs) == num_runs(names, budget):
                break
            write_page(path, contents, title, every_s, collector.left_out)
            wait(every_s)
    finally:
        if contents:
            write_page(path, contents, title, left_out=collector.left_out)
