"""The weights of any checkpoint, as matrices of output units. Nothing in a file is executed.

A file is recognised by its first bytes, not by its name: safetensors, our packed file, what
`torch.save` writes, Keras's files; or it is the folder of a run.
"""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from permtrain.core.cut import Cut
from permtrain.errors import CheckpointError, PictureError, one_line
from permtrain.initial.record import TensorRecord
from permtrain.lab.pictures.keras_file import is_keras, keras_variables
from permtrain.lab.pictures.numbers.arrays import Floats
from permtrain.lab.training.run_folder import RunFolder
from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings
from permtrain.packed.container import is_packed
from permtrain.packed.model import unpack
from permtrain.packed.reader import PackedFile, most_weights, naming

Layers = dict[str, Floats]
"""Layer name to a matrix of its weights, (V, L): a row for each output unit, or weight vector."""

Kernels = dict[str, tuple[int, ...]]
"""Layer name to the sides of its kernels; none of a linear layer."""

_TORCH_BEFORE_ZIP = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)[:-1]


def read_layers(path: Path, ceilings: Ceilings = DEFAULT_CEILINGS) -> Layers:
    """Every layer of a checkpoint: its floating tensors of two or more dimensions, in its order.

    A packed file tells where the output units of a tensor are that is an arrangement, or that
    stands as it was born. Else they are taken to be on axis 0, as those of linear layers and
    convolutions are; a safetensors file or a state dict does not tell these from transposed
    convolutions and embeddings. A Keras kernel has them on its last axis, and inputs before.

    Sparse tensors and those on device meta are left out.

    Args:
        path: safetensors, a packed file, a PyTorch state dict (also inside a dict under
            `state_dict` or `model`, or a checkpoint of ours), Keras .h5 or .keras, or a run's
            folder.
        ceilings: what the file may claim. One of any format may claim more than it holds:
            compressed, repeated or never written.

    Returns: float32 for what is of 16 bits, else as stored.
    Raises:
        CheckpointError: the file is missing, damaged, no checkpoint, claims too many numbers, or
            would have code executed.
        PictureError: it holds no weights, or h5py is not installed.
        PackedFileError: a packed file is damaged.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "model.pt"
        >>> torch.save({"a.weight": torch.zeros(4, 3, 2, 2), "a.bias": torch.zeros(4)}, file)
        >>> {name: w_VL.shape for name, w_VL in read_layers(file).items()}
        {'a.weight': (4, 12)}
    """
    return read_units(path, ceilings)[0]


def read_units(path: Path, ceilings: Ceilings = DEFAULT_CEILINGS) -> tuple[Layers, Kernels]:
    """`read_layers`, and the sides of each layer's kernels: a row holds one after the other.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "model.pt"
        >>> torch.save({"a.weight": torch.zeros(4, 3, 2, 2), "b.weight": torch.zeros(2, 4)}, file)
        >>> read_units(file)[1]
        {'a.weight': (2, 2), 'b.weight': ()}
    """
    file = _weights_file(path) if path.is_dir() else path
    tensors = {
        name: tensor
        for name, tensor in _tensors_in(file, ceilings).items()
        if _holds_weights(tensor)
    }
    _check_claim(file, sum(tensor.numel() for tensor in tensors.values()), ceilings)
    if is_keras(file):
        tensors = {name: kernel.movedim((-1, -2), (0, 1)) for name, kernel in tensors.items()}
    cuts = _cuts_in(file, ceilings)
    units = {
        name: rows_by_unit(tuple(tensor.shape), cuts.get(name)) for name, tensor in tensors.items()
    }
    if not units:
        raise PictureError(f"{path}: holds no weights of two or more dimensions to draw")
    layers = {name: rows.to_vectors(as_numpy(tensors[name])) for name, rows in units.items()}
    return layers, kernels_of(units)


def read_state(folder: Path) -> dict[str, Tensor]:
    """All tensors of a complete run, by name; errors as `read_layers`."""
    return _tensors_in(_weights_file(folder))


def read_tensors(file: Path, ceilings: Ceilings = DEFAULT_CEILINGS) -> dict[str, Tensor]:
    """All tensors of a checkpoint, by name; errors as `read_layers`."""
    tensors = _tensors_in(file, ceilings)
    _check_claim(file, sum(tensor.numel() for tensor in tensors.values()), ceilings)
    return tensors


def kernels_of(units: Mapping[str, Cut]) -> Kernels:
    """The sides of kernels where inputs and output units are the first two axes, as in torch."""
    return {name: rows.shape[2:] if rows.output_axis < 2 else () for name, rows in units.items()}


def rows_by_unit(shape: tuple[int, ...], cut: TensorRecord | Cut | None = None) -> Cut:
    """How a tensor is cut into the inputs of its output units; None takes axis 0 for these."""
    if cut is None:
        return Cut("neuron", shape=shape)
    return Cut("neuron", cut.output_axis, 0, cut.groups, shape)


def as_numpy(tensor: Tensor) -> Floats:
    """A floating tensor as an array; of float32 if it has 16 bits, as numpy lacks bfloat16."""
    is_short = tensor.element_size() < 4
    plain: Floats = (tensor.float() if is_short else tensor).detach().numpy()
    return plain


def _holds_weights(tensor: Tensor) -> bool:
    """Whether a tensor is drawn: of floating point, in rows, neither sparse nor on device meta."""
    is_there = tensor.layout == torch.strided and not tensor.is_meta and tensor.numel() > 0
    return tensor.dim() >= 2 and tensor.is_floating_point() and is_there


def _weights_file(folder: Path) -> Path:
    run = RunFolder(folder)
    run.settings()  # refuses a folder that is none of a run
    if not run.weights_file.is_file():
        raise PictureError(
            f"{folder}: the run is not complete, weights.safetensors is missing; allowed: one of "
            f"its files in {run.checkpoints.name}/"
        )
    return run.weights_file


def _head(file: Path) -> bytes:
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
    with open(file, "rb") as opened:
        return opened.read(80)


def _check_claim(file: Path, claimed: int, ceilings: Ceilings) -> None:
    """Refuse a file that claims more numbers than one of its size can be expected to hold."""
    most = most_weights(file.stat().st_size, ceilings.max_weights)
    if claimed > most:
        raise CheckpointError(
            f"{file}: claims {claimed} numbers; allowed: {most}, or more with --max-weights"
        )


def _tensors_in(file: Path, ceilings: Ceilings = DEFAULT_CEILINGS) -> dict[str, Tensor]:
    if _is_safetensors(file):
        return _safetensors(file, ceilings)
    if is_keras(file):
        return keras_variables(file, partial(_check_claim, file, ceilings=ceilings))
    return _state_dict(file, ceilings)


def _safetensors(file: Path, ceilings: Ceilings) -> dict[str, Tensor]:
    if is_packed(_head(file)):
        with naming(file):
            return unpack(file, **vars(ceilings))
    with _opened(file) as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def _cuts_in(file: Path, ceilings: Ceilings) -> dict[str, TensorRecord | Cut]:
    """Where a packed file says that the output units of its tensors are; nothing of other files."""
    if not is_packed(_head(file)):
        return {}
    with naming(file):
        packed = PackedFile(file, **vars(ceilings))
    entries = {name: packed.entry(name) for name in packed}
    layouts = {name: entry.cut or entry.record for name, entry in entries.items()}
    return {name: layout for name, layout in layouts.items() if layout is not None}


def _is_safetensors(file: Path) -> bool:
    return _head(file)[8:9] == b"{"


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except Exception as error:  # a damaged file can raise nearly anything
        raise CheckpointError(f"{file}: not readable as safetensors ({one_line(error)})") from error


def _state_dict(file: Path, ceilings: Ceilings) -> dict[str, Tensor]:
    try:
        names = _members(file, ceilings)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise CheckpointError(f"{file}: not readable as a zip file ({one_line(error)})") from error
    has_code = any(name.endswith("/constants.pkl") for name in names)
    is_torch = has_code or any(name.endswith("/data.pkl") for name in names)
    if not is_torch and not _head(file).startswith(_TORCH_BEFORE_ZIP):
        raise CheckpointError(
            f"{file}: not readable: neither safetensors, nor a packed file, nor what torch.save or "
            "Keras writes"
        )
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file, or one that asks for code, can raise anything
        if has_code or isinstance(error, pickle.UnpicklingError):
            raise CheckpointError(
                f"{file}: holds more than plain tensors, as a whole module does, and reading that "
                "would run code; allowed: what torch.save(model.state_dict(), file) writes"
            ) from error
        raise CheckpointError(f"{file}: not readable as a PyTorch file, damaged") from error
    for found in _candidates(loaded):
        tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
        if tensors:
            return tensors
    raise PictureError(f"{file}: holds no tensors by name to draw")


def _members(file: Path, ceilings: Ceilings) -> list[str]:
    """Names of what a zip file holds, which may be compressed; none of another file."""
    if not zipfile.is_zipfile(file):
        return []
    with zipfile.ZipFile(file) as members:
        infos = members.infolist()
    _check_claim(file, sum(member.file_size for member in infos) // 4, ceilings)
    return [member.filename for member in infos]


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
