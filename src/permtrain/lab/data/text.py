"""Text, cut into windows: what a network for characters is trained on.

A window takes the place of an image: its codes, one a character, have the shape (1, 1, context),
and its labels are the codes of the characters that follow each of them.
"""

import platform
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from permtrain.errors import DataError, one_line
from permtrain.files import from_home, require_file, resolved
from permtrain.lab.data.normalize_settings import Normalization
from permtrain.lab.data.order import batch_indices, permutation
from permtrain.lab.data.registry import TEXT

DEFAULT_CONTEXT = 64

_TEST_FRACTION = 0.1
_EVALUATED_AT_ONCE = 256
_SHIFTS = 2**63  # epochs from here on are reached by no run: their streams draw the shifts


@dataclass(frozen=True, eq=False)
class TextSplit:
    """A stretch of text, all on one device; it offers what `images.Split` does.

    An epoch goes through the text in windows that do not overlap, in a random order. Where the
    first window begins differs from epoch to epoch.

    Shapes: `codes` (L,) int32, each below the number of different characters.

    Example:
        >>> split = TextSplit(torch.arange(9, dtype=torch.int32), context=2)
        >>> codes, labels = next(split.in_order())
        >>> codes.flatten(1).tolist(), labels.tolist()
        ([[0, 1], [2, 3], [4, 5]], [[1, 2], [3, 4], [5, 6]])
    """

    codes: Tensor
    context: int

    def __len__(self) -> int:
        """How many windows there are, wherever the first one begins."""
        return max(len(self.codes) // self.context - 1, 0)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.codes.device

    def to(self, device: torch.device | str) -> "TextSplit":
        """The same text on a device."""
        return TextSplit(self.codes.to(device), self.context)

    def statistics(
        self, normalization: Normalization = "z-score"
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Nothing: codes of characters are not normalized."""
        return (), ()

    def limited(self, num_windows: int) -> "TextSplit":
        """The text of the first windows."""
        return TextSplit(self.codes[: (num_windows + 1) * self.context], self.context)

    def divided(self, num_last: int) -> tuple["TextSplit", "TextSplit"]:
        """The text before the last windows, and theirs."""
        place = len(self.codes) - (num_last + 1) * self.context
        first, last = self.codes[:place], self.codes[place:]
        return TextSplit(first, self.context), TextSplit(last, self.context)

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All windows once from the beginning of the text, at most 256 at a time."""
        for some in torch.arange(len(self)).split(_EVALUATED_AT_ONCE):
            yield self._windows(some, 0)

    def epoch_batches(
        self, batch_size: int, *, seed: int, epoch: int, first: int = 0
    ) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """The batches of an epoch from a place on.

        Args:
            batch_size: windows a batch; the last may have fewer.
            seed, epoch: order and shift are functions of these two.
            first: batches that are left out at the beginning.

        Shapes: codes (N, 1, 1, context) int32, labels (N, context) int64, and the sizes of the
            batches that lie together in them: one here.
        """
        shift = int(permutation(self.context, seed, _SHIFTS + epoch)[0])
        for batch in batch_indices(len(self), batch_size, seed=seed, epoch=epoch)[first:]:
            codes, labels = self._windows(batch, shift)
            yield codes, labels, [len(batch)]

    def _windows(self, indices: Tensor, shift: int) -> tuple[Tensor, Tensor]:
        starts = (indices * self.context + shift).to(self.device)
        places = torch.arange(self.context + 1, device=self.device)
        windows = self.codes[starts[:, None] + places]
        return windows[:, None, None, :-1], windows[:, 1:].long()


@dataclass(frozen=True, eq=False)
class TextData:
    """A text in two parts; fields as those of `images.ImageData`.

    Fields:
        class_names: the different characters, by their codes.
    """

    name: str
    train: TextSplit
    test: TextSplit
    class_names: tuple[str, ...]
    source: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(1, 1, context)."""
        return 1, 1, self.train.context

    @property
    def num_classes(self) -> int:
        """Number of different characters."""
        return len(self.class_names)


def load_text(name_or_path: str, context: int = DEFAULT_CONTEXT) -> TextData:
    """Read a text; its last tenth is the test part.

    Args:
        name_or_path: `text`, the modules of this Python's own standard library (their printable
            ASCII; another version of Python has another text); or the path of a file in UTF-8.
        context: characters in a window.

    Raises:
        DataError: the file cannot be read, or is too short to have a window in both parts.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        ...     file.write("abcab" * 20) and file.flush()
        ...     data = load_text(file.name, context=4)
        >>> data.class_names, data.train.codes[:6].tolist(), len(data.train), len(data.test)
        (('a', 'b', 'c'), [0, 1, 2, 0, 1, 0], 21, 1)
    """
    if name_or_path == TEXT:
        name, text = TEXT, _standard_library()
        source = f"standard library of Python {platform.python_version()}"
    else:
        path = resolved(from_home(name_or_path))
        name, text, source = path.name, _read(path), str(path)
    num_test = int(len(text) * _TEST_FRACTION)
    if num_test < 2 * context:
        raise DataError(
            f"{source} has {len(text):,} characters; allowed with context {context}: "
            f"{20 * context:,} or more"
        )
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    characters = np.flatnonzero(np.bincount(points))
    codes = torch.from_numpy(np.searchsorted(characters, points).astype(np.int32))
    parts = [TextSplit(each, context) for each in (codes[:-num_test], codes[-num_test:])]
    return TextData(name, parts[0], parts[1], tuple(map(chr, characters.tolist())), source)


def _read(path: Path) -> str:
    try:
        require_file(path)
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no text in UTF-8 ({one_line(error)})") from None


def _standard_library() -> str:
    """Printable ASCII of the public modules that are one file, in the order of their names."""
    folder = Path(sysconfig.get_path("stdlib"))
    names = sorted(name for name in sys.stdlib_module_names if not name.startswith("_"))
    files = [folder / f"{name}.py" for name in names]
    text = "".join(_read(file) for file in files if file.is_file())
    if not text:
        raise DataError(f"{folder}: has no modules as source; give a text file by its path")
    return "".join(c for c in text if c == "\n" or " " <= c <= "~")
