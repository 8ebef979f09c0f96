"""Weights files: a model's state as safetensors."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from permtrain.errors import CheckpointError, one_line
from permtrain.files import require_file, written_whole


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write contiguous tensors of the CPU, whole or not at all."""
    with written_whole(path) as file:
        file.write(safetensors_bytes(dict(weights)))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        require_file(path)
        return load_file(path)
    except Exception as error:  # a damaged file can raise nearly anything
        raise CheckpointError(f"{path}: not readable as safetensors ({one_line(error)})") from error
