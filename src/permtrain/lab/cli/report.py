"""`permtrain report`: runs in a browser."""

import math
from pathlib import Path
from typing import Annotated

import tyro

from permtrain.errors import SettingError
from permtrain.files import resolved
from permtrain.lab.cli.console import say
from permtrain.lab.cli.extras import installing
from permtrain.lab.cli.places import PlaceOfRuns
from permtrain.lab.recipes.recipe import Budget
from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings


def report(
    runs: Annotated[tuple[str, ...], tyro.conf.Positional],
    place: Annotated[PlaceOfRuns, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    output: Path = Path("report.html"),
    watch: bool = False,
    every: float = 5.0,
    budget: Budget = "quick",
    trust_model: bool = False,
    ceilings: Annotated[
        Ceilings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes
    ] = DEFAULT_CEILINGS,
) -> None:
    """Write one HTML file that shows runs, to be opened in any browser.

    It needs no network: settings, results, learning curves, the weights on their way, the invariant
    (checked anew), and the size of the packed file are all inside.

    Args:
        runs: Folders of runs, or ids of recipes, whose runs are looked for in the runs folder.
        output: The file to write.
        watch: Write it again and again while the runs go on; the page refreshes itself.
        every: Seconds between two refreshes, 1 or more.
        budget: Which arms of a recipe.
        trust_model: Run the code of a network of one's own that was not trained here.
    """
    if (first := installing("report")) is not None:
        raise SettingError(f"report needs packages that are not installed; allowed after: {first}")
    if not 1 <= every < math.inf:
        raise SettingError(f"every is {every}; allowed: 1 second or more")
    from permtrain.lab.report.sources import find_runs

    found = find_runs(runs, place.runs_folder, budget, begun=watch, trust_model=trust_model)
    from permtrain.lab.report.contents import Collector  # what follows imports torch
    from permtrain.lab.report.page import write_page
    from permtrain.lab.report.watch import watch as keep_writing

    names = [resolved(name).name for name in runs]
    title = f"permtrain: {', '.join(names) if len(names) <= 3 else f'{len(names)} runs'}"
    address = resolved(output).as_uri()
    if watch:
        say(f"open {address}; it refreshes itself, Ctrl-C ends it")
        keep_writing(
            output, runs, title, place, budget, every, trust_model=trust_model, ceilings=ceilings
        )
    else:
        collector = Collector(place, ceilings=ceilings)
        contents = collector.collect(found)
        write_page(output, contents, title, left_out=collector.left_out)
        for line in collector.left_out:
            say(f"left out: {line}")
    say(f"wrote {output}; open {address}")
