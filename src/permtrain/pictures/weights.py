"""The weight vectors of any checkpoint, as arrays. Nothing in a file is executed.

A file is recognised by its first bytes, not by its name: safetensors, our packed file, what
`torch.save` writes, Keras's .h5; or it is the folder of a run.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from permtrain.data.registry import DATASETS
from permtrain.errors import CheckpointError, PermtrainError, PictureError
from permtrain.packed.model import unpack
from permtrain.packed.reader import FORMAT as PACKED
from permtrain.pictures.arrays import Floats
from permtrain.training.birth import newborn_network
from permtrain.training.record import RunFolder

Layers = dict[str, Floats]
"""Layer name to weight vectors (V, L): all weights into one output unit are a vector."""

_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_layers(path: Path) -> Layers:
    """Every layer of a checkpoint: its floating tensors of two or more dimensions, in its order.

    A torch tensor has its output units on axis 0, as those of linear layers and convolutions do
    (what a file holds of transposed convolutions and embeddings is cut along the same axis, for it
    does not tell them apart); a Keras kernel has them on its last axis.

    Args:
        path: safetensors, a packed file, a PyTorch state dict (also inside a dict under
            `state_dict` or `model`, or a checkpoint of ours), Keras .h5, or a run's folder.

    Returns: float32 for what is of 16 bits, else as stored.
    Raises:
        CheckpointError: the file is missing, damaged, no checkpoint, or would have code executed.
        PictureError: it holds no weights, or h5py is not installed.
        PackedFileError: a packed file is damaged.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "model.pt"
        >>> torch.save({"a.weight": torch.zeros(4, 3, 2, 2), "a.bias": torch.zeros(4)}, file)
        >>> {name: w_VL.shape for name, w_VL in read_layers(file).items()}
        {'a.weight': (4, 12)}
    """
    file = _weights_file(path) if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
    with open(file, "rb") as opened:
        head = opened.read(9)
    if head.startswith(_HDF5):
        layers = {name: _vectors(np.moveaxis(k, -1, 0)) for name, k in _keras_kernels(file)}
    else:
        is_safetensors = head[8:9] == b"{"
        tensors = _safetensors(file) if is_safetensors else _state_dict(file)
        layers = _layers_of(tensors)
    if not layers:
        raise PictureError(f"{path}: holds no weights of two or more dimensions to draw")
    return layers


def initial_layers(path: Path) -> Layers:
    """The layers of a run's network before its first step, drawn anew from its settings.

    Args:
        path: the folder of a run on a data set of `permtrain list`, which says what the images are.

    Raises:
        PictureError: no run folder, or a run on other data.
        CheckpointError, SettingError: its settings cannot be read.
    """
    if not path.is_dir():
        raise PictureError(f"{path}: only the folder of a run tells the weights before training")
    settings = RunFolder(path).settings()
    data = DATASETS.get(settings.data.data)
    if data is None:
        raise PictureError(
            f"{path}: the weights before training are not known, for the run's data are "
            f"{settings.data.data!r}; allowed: {', '.join(DATASETS)}"
        )
    with torch.random.fork_rng(devices=[]):
        model = newborn_network(
            settings, data.image_shape, data.num_classes, RunFolder(path).trained()
        )
    return _layers_of(dict(model.state_dict()))


def _weights_file(folder: Path) -> Path:
    run = RunFolder(folder)
    run.settings()  # refuses a folder that is none of a run
    if not run.weights_file.is_file():
        raise PictureError(
            f"{folder}: the run is not complete, weights.safetensors is missing; allowed: one of "
            f"its files in {run.checkpoints.name}/"
        )
    return run.weights_file


def _layers_of(tensors: Mapping[str, Tensor]) -> Layers:
    return {
        name: _vectors(_as_numpy(tensor))
        for name, tensor in tensors.items()
        if tensor.dim() >= 2 and tensor.is_floating_point() and tensor.numel()
    }


def _as_numpy(tensor: Tensor) -> Floats:
    is_short = tensor.element_size() < 4  # among them types that numpy does not know
    plain: Floats = (tensor.float() if is_short else tensor).detach().numpy()
    return plain


def _vectors(weights: Floats) -> Floats:
    return weights.reshape(weights.shape[0], -1)


def _safetensors(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as opened:
            if PACKED not in (opened.metadata() or {}):
                return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except Exception as error:  # a damaged file can raise nearly anything
        raise CheckpointError(f"{file}: not readable as safetensors ({_line(error)})") from error
    return unpack(file)


def _state_dict(file: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except PermtrainError:
        raise
    except Exception as error:  # a damaged file, or one that asks for code, can raise anything
        raise CheckpointError(
            f"{file}: not readable as plain tensors, and nothing else is read from a pickle "
            f"({_line(error)})"
        ) from error
    for found in _candidates(loaded):
        tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
        if tensors:
            return tensors
    raise PictureError(f"{file}: holds no tensors by name to draw")


def _candidates(loaded: Any) -> Iterator[Mapping[Any, Any]]:
    """Where a state dict may lie: in a wrapper, or at the top."""
    if not isinstance(loaded, Mapping):
        return
    for keys in (("trainer", "model"), ("state_dict",), ("model",), ("model_state_dict",), ()):
        found: Any = loaded
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping):
            yield found


def _keras_kernels(file: Path) -> Iterator[tuple[str, Floats]]:
    try:
        import h5py
    except ImportError:
        raise PictureError(
            f"{file}: Keras files need h5py; allowed: after pip install 'permtrain[keras]'"
        ) from None
    found: list[tuple[str, Floats]] = []

    def look_at(name: str, item: Any) -> None:
        is_weight = isinstance(item, h5py.Dataset) and item.ndim >= 2 and item.dtype.kind == "f"
        if is_weight and not name.startswith("optimizer") and item.size:
            found.append((name.removeprefix("model_weights/").removesuffix(":0"), item[()]))

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems(look_at)
    except (OSError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{file}: not readable as HDF5 ({_line(error)})") from error
    yield from found


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
