"""The two readers side by side: with the compiled decoders, and with those in plain Python."""

from types import ModuleType
from unittest.mock import patch

from packed import reference
from permtrain import PackedFile
from permtrain.errors import PackedFileError
from permtrain.packed import coders
from permtrain.packed.checksums import digest_of
from permtrain.packed.container import packed_file
from permtrain.packed.keys import bytes_of

READERS: dict[str, ModuleType] = {"compiled": coders, "plain": reference}


def outcomes(data: bytes, reader: ModuleType) -> dict[str, bytes | str]:
    """What a reader makes of each tensor: its bytes, or why it is refused."""
    try:
        file = PackedFile(data)
    except PackedFileError as error:
        return {"": str(error)}
    return {name: _outcome(file, name, reader) for name in file}


def _outcome(file: PackedFile, name: str, reader: ModuleType) -> bytes | str:
    with (
        patch("permtrain.packed.reader.uniform_levels", reader.uniform_levels),
        patch("permtrain.packed.reader.conditional_levels", reader.conditional_levels),
    ):
        try:
            return bytes_of(file.bits(name))
        except PackedFileError as error:
            return str(error)


def with_fitting_digests(data: bytes, reader: ModuleType) -> bytes:
    """The file with the digests of what this reader decodes, in place of those that do not fit."""
    try:
        file = PackedFile(data)
    except PackedFileError:
        return data
    found: list[bytes] = []

    def note(content: bytes) -> str:
        found.append(content)
        return ""

    plan = file.header.plan
    for name in file:
        with patch("permtrain.packed.reader.digest_of", note):
            _outcome(file, name, reader)
        entry = file.entry(name)
        if found:
            plan = plan.replace(
                f" {entry.digest} {entry.name}", f" {digest_of(found.pop())} {entry.name}"
            )
    return packed_file(plan, data[file.header.data_begin :])
