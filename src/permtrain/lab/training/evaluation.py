"""Loss and accuracy of a model on a split."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from permtrain.lab.data.normalize import normalize
from permtrain.lab.data.splits import AnySplit


@dataclass(frozen=True)
class Scale:
    """What images are normalised with: the mean of each channel or a mean image, and the standard
    deviation of each channel; and how the result lies in memory. Text has no channels, and its
    codes stay as they are."""

    mean: Sequence[float] | Tensor
    std: Sequence[float]
    memory_format: torch.memory_format = torch.contiguous_format

    def __call__(self, images: Tensor) -> Tensor:
        if not self.std:
            return images
        normal = normalize(images, self.mean, self.std)
        return normal.contiguous(memory_format=self.memory_format)


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy in nats, and the fraction of images classified rightly; of text, of
    characters."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(
    model: nn.Module,
    split: AnySplit,
    scale: Scale,
    *,
    bfloat16: bool = False,
    counts_CC: Tensor | None = None,
) -> Score:
    """Evaluates the model as it stands; for LaPerm in mid-period, inside `arranged()`.

    Args:
        counts_CC: a confusion matrix, (classes, classes) int64, to which the images are added: in
            the row of their class, in the column of what they are taken for.

    Randomness: none; the model is in evaluation mode meanwhile, and back in its own afterwards.
    """
    was_training = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=split.device)
    correct = torch.zeros((), dtype=torch.int64, device=split.device)
    num_labels = 0
    for pixels, labels in split.in_order():
        images = scale(pixels)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
            logits = model(images)
        loss += F.cross_entropy(logits.float(), labels, reduction="sum")
        num_labels += labels.numel()
        taken_for = logits.argmax(1)
        correct += (taken_for == labels).sum()
        if counts_CC is not None:
            pairs = labels * len(counts_CC) + taken_for
            counts_CC += pairs.flatten().bincount(minlength=counts_CC.numel()).reshape_as(counts_CC)
    model.train(was_training)
    return Score(float(loss) / num_labels, int(correct) / num_labels)


def with_measured_batch_norm(
    model: nn.Module,
    split: AnySplit,
    scale: Scale,
    *,
    num_images: int = 10_000,
    bfloat16: bool = False,
) -> nn.Module:
    """A copy of the model whose batch norm statistics are measured on the first training images.

    The running statistics belong to the weights before a synchronisation; these belong to the
    weights that the model shows now.
    """
    model = copy.deepcopy(model)

    def batches() -> Iterator[Tensor]:
        for pixels, _ in split.limited(num_images).in_order():
            yield scale(pixels)

    # Dropout is active meanwhile, and must not shift later draws.
    with (
        torch.random.fork_rng(),
        torch.autocast(split.device.type, torch.bfloat16, enabled=bfloat16),
    ):
        update_bn(batches(), model)
    return model
