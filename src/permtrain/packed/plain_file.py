"""From a packed file to plain safetensors, without torch."""

from pathlib import Path

from permtrain.errors import PackedFileError
from permtrain.files import written_whole
from permtrain.packed.container import ITEM_SIZES, built
from permtrain.packed.keys import SAFETENSORS_DTYPES
from permtrain.packed.reader import PackedFile


def write_plain(file: PackedFile, path: Path) -> None:
    """Writes every tensor as it is, tied ones under each of their names.

    Raises:
        PackedFileError: the packed file is damaged, or a name that safetensors keeps for itself;
            nothing is written.
        OSError: it could not be written; an older file of this name stays.
    """
    if "__metadata__" in file:
        raise PackedFileError(
            "__metadata__: no tensor of plain safetensors can be called so; allowed: other names"
        )
    sections = []
    for name, bits in file.all_bits().items():
        dtype = SAFETENSORS_DTYPES[file.entry(name).dtype]
        data = bits.astype(bits.dtype.newbyteorder("<"), copy=False).tobytes()
        sections.append((name, dtype, bits.shape, data))
    sections.sort(key=lambda section: -ITEM_SIZES[section[1]])
    with written_whole(path) as written:
        written.write(built(sections, {}))
