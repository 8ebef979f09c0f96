"""Which class a network takes for which other one."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

MOST_CLASSES = 20
"""A matrix of more cannot be read; what is taken for what is listed instead."""


@dataclass(frozen=True)
class Mistaken:
    """Images of one class.

    Attributes:
        name: of the class.
        num_images: how many there are.
        accuracy: the part that is classified rightly; None where there are none.
        taken_for: the classes that they are taken for most often, and how many of them.
    """

    name: str
    num_images: int
    accuracy: float | None
    taken_for: tuple[tuple[str, int], ...]


def by_class(counts_CC: Tensor, names: Sequence[str], most: int = 3) -> list[Mistaken]:
    """What a confusion matrix says of each class.

    Args:
        counts_CC: images by their class and by what they are taken for.
        names: of the classes; one that is nothing but space is told in quotes.
        most: other classes that are told.

    Example:
        >>> import torch
        >>> cat, dog = by_class(torch.tensor([[8, 2], [0, 0]]), ("cat", "dog"))
        >>> cat
        Mistaken(name='cat', num_images=10, accuracy=0.8, taken_for=(('dog', 2),))
        >>> dog.accuracy is None
        True
    """
    names = [name if name.strip() else repr(name) for name in names]
    found = []
    for label, (name, row) in enumerate(zip(names, counts_CC.tolist(), strict=True)):
        total = sum(row)
        others = [(names[j], num) for j, num in enumerate(row) if j != label and num]
        others.sort(key=lambda pair: -pair[1])
        accuracy = row[label] / total if total else None
        found.append(Mistaken(name, total, accuracy, tuple(others[:most])))
    return found
