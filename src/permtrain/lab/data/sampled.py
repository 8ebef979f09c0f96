"""What tells files that are too many to be read from others: names, sizes, some contents."""

import os
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path

from permtrain.files import require_file

MOST_SIZES = 100_000
"""Files whose sizes are asked for: on a file server each may take a millisecond."""

MOST_BYTES = 32 << 20
"""Read of all files together: all contents of small data."""

_PIECE = 64 << 10


def facts_of(files: Mapping[str, Path]) -> Iterator[str]:
    """Each file's name; the sizes of 100,000 of them, and the contents of some, 32 MiB together.

    Which ones is a matter of their names alone. Of a file that does not fit, pieces from its
    beginning to its end are read.

    Args:
        files: by a name that tells which file is meant wherever the folder lies.

    Raises:
        OSError: a file is gone, or none.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.png"
        >>> _ = file.write_bytes(b"image")
        >>> [fact.partition(" ")[0] for fact in facts_of({"0/a.png": file})]
        ['0/a.png', '0/a.png']
    """
    left = MOST_BYTES
    for number, name in enumerate(sorted(files, key=_drawn)):
        path = files[name]
        if number >= MOST_SIZES:
            yield name
            continue
        size = os.stat(path).st_size
        yield f"{name} {size}"
        if left > 0:
            num_bytes = min(size, left if len(files) == 1 else max(left // 16, _PIECE))
            yield f"{name} {_contents(path, size, num_bytes)}"
            left -= num_bytes


def _drawn(name: str) -> bytes:
    return blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()


def _contents(path: Path, size: int, num_bytes: int) -> str:
    """A digest of pieces from beginning to end, all of the file if it has no more bytes."""
    require_file(path)
    digest = blake2b(digest_size=16)
    num_pieces = max(num_bytes // _PIECE, 2)
    with open(path, "rb") as file:
        if size <= num_bytes:
            digest.update(file.read(num_bytes))
            return digest.hexdigest()
        for piece in range(num_pieces):
            file.seek((size - _PIECE) * piece // (num_pieces - 1))
            digest.update(file.read(_PIECE))
    return digest.hexdigest()
