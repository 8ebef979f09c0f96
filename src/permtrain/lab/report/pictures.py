"""Pictures of other makers, as the page embeds them.

`MAKERS` is where they are plugged in: each maker gets a run's folder and returns pictures.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from permtrain.errors import PermtrainError
from permtrain.lab.pictures.registry import KINDS, Request
from permtrain.lab.training.result import RunResult
from permtrain.lab.training.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A picture in the page.

    Attributes:
        title: its caption.
        description: what it shows, in words, for whoever does not see it.
        media_type: as in "image/svg+xml", "image/png".
        content: the file's bytes.
    """

    title: str
    description: str
    media_type: str
    content: bytes

    @property
    def address(self) -> str:
        """The picture itself as an address. Scripts in an SVG do not run there.

        Example:
            >>> Picture("Dot", "a dot", "image/png", b"PNG").address
            'data:image/png;base64,UE5H'
        """
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"


DRAWN = {
    "profiles": "Weight profiles: the sorted weight vectors of every layer",
    "histogram": "Weights before and after training",
    "heat-map": "The largest layer before and after training",
    "cycles": "One weight vector's permutation as cycles",
}
"""Which figures of `permtrain plot` the page shows, with their captions."""


def figures_of(folder: RunFolder) -> "list[tuple[str, str, Figure]]":
    """The papers' figures of a complete run, where matplotlib is installed.

    A figure that a run gives no ground for, as cycles where nothing is permuted, is left out.

    Returns:
        Of each its caption, a description and the figure.
    """
    if not folder.is_complete or find_spec("matplotlib") is None:
        return []
    from permtrain.lab.pictures import drawings

    request, made = Request((folder.path,), trust_model=folder.trust_model), []
    for kind, title in DRAWN.items():
        try:
            figure, notes = getattr(drawings, KINDS[kind].function)(request)
        except PermtrainError:
            continue
        made.append((title, ". ".join([title, *notes]), figure))
    return made


def figures_as_png(folder: RunFolder) -> list[Picture]:
    """`figures_of` as files."""
    if not (figures := figures_of(folder)):
        return []
    from permtrain.lab.pictures.style import save_figure

    pictures = []
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / "figure.png"
        for title, description, figure in figures:
            save_figure(figure, path)
            pictures.append(Picture(title, description, "image/png", path.read_bytes()))
    return pictures


def log_figures(folder: RunFolder) -> None:
    """Adds the figures of a complete run to its TensorBoard files."""
    from torch.utils.tensorboard import SummaryWriter

    epoch = RunResult.read(folder).epochs  # of its end, which going back makes void
    with SummaryWriter(str(folder.tensorboard_folder)) as writer:
        for title, _, figure in figures_of(folder):
            writer.add_figure(title, figure, epoch)


MAKERS: list[Callable[[RunFolder], list[Picture]]] = [figures_as_png]


def pictures_of(folder: RunFolder) -> list[Picture]:
    """The pictures of all makers, in their order."""
    return [picture for maker in MAKERS for picture in maker(folder)]
