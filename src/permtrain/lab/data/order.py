"""(seed, epoch) to batch order: a resumed run sees the batches that it would have seen.

Nothing here has a state, so nothing has to be saved. The draws are raw words of Philox, whose
output is fixed by its definition; numpy's own `shuffle` may change between versions.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from permtrain.errors import SettingError


def check_counter(name: str, value: int) -> None:
    """Refuse what does not fit one 64-bit word of a key.

    Raises: SettingError if `value` is not in 0 to 2**64 - 1.
    """
    if not 0 <= value < 2**64:
        raise SettingError(f"{name} is {value}; allowed: 0 to 2**64 - 1")


def permutation(num_items: int, seed: int, stream: int) -> npt.NDArray[np.int64]:
    """A random order of `num_items` things, keyed by two 64-bit counters.

    Each thing gets one 64-bit word of Philox4x64-10 with key (seed, stream); sorting the words
    gives the order. Equal words, of which two million things have one pair in ten million tries,
    keep the order of position.

    Source: Salmon, Moraes, Dror and Shaw, 2011 (Philox).
    Cost: one sort of `num_items` words.
    Raises: SettingError if a counter is not in 0 to 2**64 - 1.

    Example:
        >>> permutation(5, seed=0, stream=0)
        array([0, 2, 1, 4, 3])
    """
    check_counter("seed", seed)
    check_counter("stream", stream)
    words = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)).random_raw(num_items)
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)


def batch_indices(num_images: int, batch_size: int, *, seed: int, epoch: int) -> list[Tensor]:
    """The batches of one epoch, as indices into the training split.

    Every index from 0 to num_images - 1 stands in exactly one batch. The last batch is shorter
    where `batch_size` does not divide `num_images`; it is kept. A batch size above `num_images`
    gives one batch.

    Args:
        num_images: at least 0; 0 gives no batches.
        batch_size: images per batch, at least 1.
        seed, epoch: 0 to 2**64 - 1; the order is a function of these two and `num_images` only, so
            another batch size cuts the same order elsewhere.

    Shapes: each batch (batch_size,), int64, on the CPU.
    Raises: SettingError for a batch size below 1, a negative number of images, or a bad counter.

    Example:
        >>> [batch.tolist() for batch in batch_indices(5, 2, seed=0, epoch=0)]
        [[0, 2], [1, 4], [3]]
    """
    if batch_size < 1:
        raise SettingError(f"batch size is {batch_size}; allowed: at least 1")
    if num_images < 0:
        raise SettingError(f"number of images is {num_images}; allowed: at least 0")
    check_counter("epoch", epoch)
    if num_images == 0:
        return []
    order = torch.from_numpy(permutation(num_images, seed, epoch))
    return [order[start : start + batch_size] for start in range(0, num_images, batch_size)]
