"""Decoded images kept on disk, so that a later start does not decode them again.

One uncompressed .npz file for each source. It carries the key of what it was made from; a file
with another key, or one that cannot be read, counts as absent and is written anew. The cache is a
convenience: where it cannot be written, nothing is kept and nothing fails. The cache of `datasets`
keeps encoded images, and takes seconds to import. Asking for paths and keys imports no torch.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from permtrain.files import from_home, resolved, written_whole

if TYPE_CHECKING:
    from permtrain.lab.data.images import ImageData, Split

_FORMAT = 2  # raise it when decoding changes: older files then count as absent


def default_cache_folder() -> Path:
    """`$PERMTRAIN_CACHE`, else `$XDG_CACHE_HOME/permtrain`, else `~/.cache/permtrain`.

    A user without a home, as in a container, gets a folder that cannot be written.
    """
    if own := os.environ.get("PERMTRAIN_CACHE"):
        return from_home(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return from_home(shared) / "permtrain"
    try:
        return Path("~/.cache/permtrain").expanduser()
    except RuntimeError:
        return Path(os.devnull, "permtrain")


def cache_path(folder: Path, name: str, location: str) -> Path:
    """The cache file of a source: one for each (name, location), whatever its content."""
    digest = hashlib.sha256(json.dumps([name, location]).encode()).hexdigest()
    return folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}-{digest[:16]}.npz"


def files_key(files: Sequence[Path]) -> str:
    """A key that changes with the path, size or modification time of any file."""
    facts = []
    for path in files:
        status = path.stat()
        facts.append([str(resolved(path)), status.st_size, status.st_mtime_ns])
    return text_key(facts)


def text_key(facts: object) -> str:
    """A key of anything that JSON can write."""
    return hashlib.sha256(json.dumps([_FORMAT, facts]).encode()).hexdigest()


def read_cache(path: Path, key: str, name: str, source: str) -> "ImageData | None":
    """The cached data set; None if it is absent, damaged (by checksum) or has another key."""
    import numpy as np

    from permtrain.lab.data.images import ImageData

    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if arrays["key"].item() != key:
                return None
            return ImageData(
                name=name,
                train=_split(arrays["train_images"], arrays["train_labels"]),
                test=_split(arrays["test_images"], arrays["test_labels"]),
                class_names=tuple(arrays["class_names"].tolist()),
                source=source,
            )
    except Exception:  # a damaged file can raise nearly anything; it is built again
        return None


def write_cache(path: Path, key: str, data: "ImageData") -> None:
    """Write beside, then rename: readers see the old file or the whole new one."""
    import numpy as np

    with contextlib.suppress(OSError), written_whole(path) as file:
        np.savez(
            file,
            key=np.array(key),
            class_names=np.array(data.class_names),
            train_images=data.train.images.numpy(),
            train_labels=data.train.labels.numpy(),
            test_images=data.test.images.numpy(),
            test_labels=data.test.labels.numpy(),
        )


def _split(images: Any, labels: Any) -> "Split":
    import torch

    from permtrain.lab.data.images import Split

    return Split(torch.from_numpy(images), torch.from_numpy(labels))
