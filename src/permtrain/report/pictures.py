"""Pictures of other makers, as the page embeds them.

`MAKERS` is where they are plugged in: each maker gets a run's folder and returns pictures.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass

from permtrain.training.record import RunFolder


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


MAKERS: list[Callable[[RunFolder], list[Picture]]] = []


def pictures_of(folder: RunFolder) -> list[Picture]:
    """The pictures of all makers, in their order."""
    return [picture for maker in MAKERS for picture in maker(folder)]
