"""The confusion matrix, by hand, and what it says of each class."""

import torch
from torch import nn

from permtrain.lab.data.images import Split
from permtrain.lab.training.confusion import Mistaken, by_class
from permtrain.lab.training.evaluation import Scale, evaluate


def test_images_are_counted_in_the_row_of_their_class() -> None:
    # The logits are the three pixels; the second image of class 1 is taken for 2.
    pixels = [[9, 1, 1], [1, 9, 1], [1, 1, 9], [1, 1, 9], [9, 1, 1]]
    images = torch.tensor(pixels, dtype=torch.uint8).reshape(5, 1, 1, 3)
    split = Split(images, torch.tensor([0, 1, 1, 2, 2]))
    counts_CC = torch.zeros(3, 3, dtype=torch.int64)
    score = evaluate(nn.Flatten(), split, Scale([0.0], [1.0]), counts_CC=counts_CC)
    assert counts_CC.tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 1]]
    assert score == evaluate(nn.Flatten(), split, Scale([0.0], [1.0]))
    assert int(counts_CC.diagonal().sum()) / 5 == score.accuracy


def test_the_most_frequent_mistakes_of_each_class() -> None:
    counts_CC = torch.tensor([[5, 1, 3, 1, 2], *torch.diag(torch.tensor([4] * 5))[1:].tolist()])
    first, second, *_ = by_class(counts_CC, "abcde")
    assert first == Mistaken("a", 12, 5 / 12, (("c", 3), ("e", 2), ("b", 1)))
    assert second == Mistaken("b", 4, 1.0, ())
    assert by_class(torch.zeros(1, 1, dtype=torch.int64), ["none"]) == [
        Mistaken("none", 0, None, ())
    ]
