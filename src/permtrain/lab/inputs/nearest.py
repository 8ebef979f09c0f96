"""Without a network: how the training images look whose pixels, in order, are closest."""

import torch
from torch import Tensor

from permtrain.lab.data.images import Split
from permtrain.lab.inputs.pixels import in_order, shuffle_generator, shuffled


class NearestImages:
    """The training images, found by the order of their pixels' values.

    Args:
        split: the training images.
        neighbours: how many are averaged; fewer where a label has no more.

    Cost: a matrix product with all training images of the label; memory for all of them, in order,
    as float32.
    """

    def __init__(self, split: Split, neighbours: int) -> None:
        self.neighbours = neighbours
        self.labels = split.labels
        self.images_NCP = split.images.flatten(2)
        # Shuffled first: colours of one brightness would come in their places' order.
        mixed_NCP = shuffled(self.images_NCP, shuffle_generator(0, "nearest"))
        self.ordered_NV = torch.cat(
            [in_order(part.float() / 255).flatten(1) for part in mixed_NCP.split(1000)]
        )

    def mean_of(self, ordered_NCP: Tensor, labels_N: Tensor) -> Tensor:
        """The mean of the nearest images of the same label.

        Args:
            ordered_NCP: pixels in [0, 1], from `in_order`.
            labels_N: of the images asked for.

        Shapes: (N, C, P) and (N,) -> (N, C, P), in [0, 1].
        """
        means_NCP = torch.zeros_like(ordered_NCP)
        for label in labels_N.unique():
            asked_M = (labels_N == label).nonzero()[:, 0]
            known_K = (self.labels == label).nonzero()[:, 0]
            if not len(known_K):
                continue
            distances_MK = torch.cdist(ordered_NCP[asked_M].flatten(1), self.ordered_NV[known_K])
            count = min(self.neighbours, len(known_K))
            chosen_MJ = known_K[distances_MK.topk(count, dim=1, largest=False).indices]
            # Sums of bytes, so that the mean is the same in any order.
            means_NCP[asked_M] = self.images_NCP[chosen_MJ].long().sum(dim=1).float() / (
                255 * count
            )
        return means_NCP
