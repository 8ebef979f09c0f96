"""The variables of a Keras file, by name, in the order of the model; its optimizer is left out.

Three kinds of file are known: .h5 as Keras 2 and 3 write it, which says in attributes which layers
and weights there are; .weights.h5 of Keras 3, which says no order, so that it is the one in which
the variables were written; and .keras, an archive that holds such a file. Links to other files are
not followed.
"""

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from itertools import count, takewhile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from permtrain.errors import CheckpointError, PermtrainError, PictureError, one_line

_HDF5 = b"\x89HDF\r\n\x1a\n"
_MEMBER = "model.weights.h5"
_OPTIMIZERS = ("optimizer", "optimizer_weights")
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "vars", "model_weights")
_NUMBERS = "fiubc"


def is_keras(file: Path) -> bool:
    """Whether a file is Keras's, by its content."""
    with file.open("rb") as opened:
        if opened.read(len(_HDF5)) == _HDF5:
            return True
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as members:
        return _MEMBER in members.namelist()


def keras_variables(file: Path, check_claim: Callable[[int], None]) -> dict[str, Tensor]:
    """All variables of numbers, layer by layer.

    A name is the layer's and the variable's, as `conv1/kernel`; within layers of layers with the
    outer ones before. Keras 3 numbers variables: `conv1/0`.

    Args:
        check_claim: refuses a number of numbers that is too large for the file, before any is read.

    Raises:
        PictureError: h5py is not installed.
        CheckpointError: it is damaged, or has its values in other files.
    """
    try:
        import h5py
    except ImportError:
        raise PictureError(
            f"{file}: Keras files need h5py; allowed: after pip install 'permtrain[keras]'"
        ) from None
    try:
        with h5py.File(_source_of(file, check_claim), "r") as opened:
            found, names = _contents(file, opened)
            # Chunks are read whole, also where the data set is smaller.
            check_claim(sum(max(it.size, math.prod(it.chunks or ())) for it in found.values()))
            named = dict(_stated(opened, found))
            written = sorted(found, key=lambda path: h5py.h5o.get_info(found[path].id).addr)
            named |= {path: _plain_name(path, names) for path in written if path not in named}
            is_unique = len(set(named.values())) == len(named)
            return {
                name if is_unique else path: _tensor(found[path]) for path, name in named.items()
            }
    except PermtrainError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise CheckpointError(f"{file}: not readable as HDF5 ({one_line(error)})") from error


def _source_of(file: Path, check_claim: Callable[[int], None]) -> Any:
    """What h5py opens: the file, or the member of an archive, in memory."""
    if not zipfile.is_zipfile(file):
        return file
    with zipfile.ZipFile(file) as members:
        check_claim(members.getinfo(_MEMBER).file_size // 4)
        return io.BytesIO(members.read(_MEMBER))


def _contents(file: Path, opened: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Data sets of numbers of the model by path, and what layers are called beside their path."""
    found: dict[str, Any] = {}
    names: dict[str, str] = {}

    def look_at(path: str, item: Any) -> None:
        if path.partition("/")[0] in _OPTIMIZERS:
            return
        if not hasattr(item, "dtype"):  # a group
            if path.endswith("/vars") and "name" in item.attrs:
                names[path.removesuffix("/vars")] = str(item.attrs["name"])
            return
        if item.dtype.kind not in _NUMBERS and not _is_bfloat16(item):
            return
        if item.external or item.is_virtual:
            raise CheckpointError(
                f"{file}: {path} has its values in other files, which are not read; allowed: "
                "values in the file itself"
            )
        found[path] = item

    opened.visititems(look_at)
    return found, names


def _stated(opened: Any, found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and name of what the attributes of the file list, in their order."""
    groups = {str(parent) for path in found for parent in PurePosixPath(path).parents}
    top = "model_weights/" if "model_weights" in groups else ""
    for layer in [*_listed(opened[top or "/"], "layer_names"), "top_level_model_weights"]:
        if top + layer not in groups:  # a layer without weights, or a link
            continue
        for weight in _listed(opened[top + layer], "weight_names"):
            path = f"{top}{layer}/{weight}"
            if path in found:
                yield path, _name_within(layer, weight.removesuffix(":0").split("/"))


def _listed(group: Any, attribute: str) -> list[str]:
    """Names in an attribute, which is cut into numbered ones where it is long."""
    parts = [attribute]
    if attribute not in group.attrs:
        numbered = (f"{attribute}{number}" for number in count())
        parts = list(takewhile(lambda part: part in group.attrs, numbered))
    values = [value for part in parts for value in group.attrs[part]]
    return [each.decode() if isinstance(each, bytes) else str(each) for each in values]


def _name_within(layer: str, parts: list[str]) -> str:
    """The name of a weight from its layer on; Keras 3 puts the model's name before.

    Example:
        >>> _name_within("a", ["model", "a", "kernel"]), _name_within("a", ["b", "kernel"])
        ('a/kernel', 'a/b/kernel')
    """
    if layer == "top_level_model_weights":
        return "/".join(parts)
    within = parts[parts.index(layer) :] if layer in parts else [layer, *parts]
    return "/".join(within)


def _plain_name(path: str, names: dict[str, str]) -> str:
    """The name in a path: no containers, no doubled part.

    Args:
        names: what layers are called, by the path of their group.

    Example:
        >>> _plain_name("model_weights/conv/conv/kernel:0", {})
        'conv/kernel'
        >>> _plain_name("layers/dense/vars/0", {"layers/dense": "head"})
        'head/0'
    """
    parts: list[str] = []
    *groups, last = path.split("/")
    for number, group in enumerate(groups, 1):
        name = names.get("/".join(groups[:number]), group)
        if group not in _CONTAINERS and parts[-1:] != [name]:
            parts.append(name)
    return "/".join([*parts, last.removesuffix(":0")])


def _is_bfloat16(data: Any) -> bool:
    return bool(data.dtype == np.dtype("V2")) and data.attrs.get("dtype") == "bfloat16"


def _tensor(data: Any) -> Tensor:
    values = np.asarray(data[()])
    if _is_bfloat16(data):
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values.astype(values.dtype.newbyteorder("="), copy=False))
