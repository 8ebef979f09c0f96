"""From a packed file to plain safetensors, without torch."""

from pathlib import Path

from permtrain.errors import PackedFileError
from permtrain.files import written_whole
from permtrain.packed.container import safetensors_file
from permtrain.packed.keys import SAFETENSORS_DTYPES, bytes_of
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
    widest_first = sorted(file.all_bits().items(), key=lambda item: -item[1].itemsize)
    sections = [
        (name, SAFETENSORS_DTYPES[file.entry(name).dtype], bits.shape, bytes_of(bits))
        for name, bits in widest_first
    ]
    # Safetensors wants data to begin at a multiple of its numbers' width.
    alignment = widest_first[0][1].itemsize if widest_first else 1
    with written_whole(path) as written:
        written.write(safetensors_file(sections, {}, alignment))
