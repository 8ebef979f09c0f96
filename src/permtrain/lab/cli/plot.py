"""`permtrain plot`: the papers' figures, from checkpoints, runs and results."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro

from permtrain.errors import PictureError, SettingError
from permtrain.lab.cli.console import PlainConsole, say
from permtrain.lab.cli.extras import installing
from permtrain.lab.pictures.registry import KINDS, Drawing, Request
from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings


def plot(
    kind: Annotated[str, tyro.conf.Positional] = "",
    sources: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    output: Path | None = None,
    layer: str | None = None,
    vector: int = 0,
    seed: int = 0,
    trust_model: bool = False,
    ceilings: Annotated[
        Ceilings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes
    ] = DEFAULT_CEILINGS,
) -> None:
    """Draw a figure. Without arguments: list the kinds of figure.

    A checkpoint is safetensors, a packed file, a PyTorch state dict, Keras .h5, or the folder of a
    complete run.

    Args:
        kind: What to draw.
        sources: What to draw it from; curves, bytes and ranking-distance take several.
        output: The file to write, .svg, .pdf or .png; left out, KIND.svg.
        layer: A layer's name; left out, all layers, or the largest where only one is drawn.
        vector: Which weight vector of the layer, from 0.
        seed: Of the random partition.
        trust_model: Run the code of a network of one's own that was not trained here.
    """
    if not kind:
        _list_kinds()
        return
    request = Request(sources, layer, vector, seed, trust_model, ceilings)
    figure, notes = _drawing(kind, request, path := output or _default(kind))
    from permtrain.lab.pictures.style import save_figure

    save_figure(figure, path)
    for note in notes:
        say(note)
    say(f"wrote {path}")


def _drawing(kind: str, request: Request, output: Path) -> Drawing:
    if kind not in KINDS:
        raise SettingError(f"kind is {kind!r}; allowed: {', '.join(KINDS)}")
    chosen = KINDS[kind]
    if not request.sources:
        raise SettingError(f"{kind} needs a source; allowed: {chosen.source}")
    if len(request.sources) > 1 and not chosen.takes_many:
        raise SettingError(
            f"{kind} takes one source, {chosen.source}; given: {len(request.sources)}"
        )
    if (first := installing("plots")) is not None:
        raise PictureError(f"figures need matplotlib, which is not installed; {first}")
    from permtrain.lab.pictures.style import check_output

    check_output(output)
    function = getattr(import_module("permtrain.lab.pictures.drawings"), chosen.function)
    drawing: Drawing = function(request)
    return drawing


def _default(kind: str) -> Path:
    return Path(f"{kind}.svg")


def _list_kinds() -> None:
    from rich.table import Table

    table = Table(box=None)
    for head, width in (("kind", None), ("drawn from", 24), ("shows", None)):
        table.add_column(head, max_width=width, no_wrap=head == "kind")
    for name, kind in KINDS.items():
        table.add_row(name, kind.source, kind.description)
    console = PlainConsole()
    console.print(table)
    if (first := installing("plots")) is not None:
        console.print(f"\nfigures need matplotlib: {first}", soft_wrap=True)
