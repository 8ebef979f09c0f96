"""The decoders in plain Python: slow, obvious, and of nothing but integers.

Whoever writes a reader in another language starts here. The compiled decoders (`kernels.py`) are
tested against these.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from permtrain.errors import PackedFileError

_WORD = 1 << 32


class RangeDecoder:
    """Reads a number piece by piece: which of `total` equal shares of the interval holds it?

    Args:
        code: the number, big endian, without zero bytes at its end.
    """

    def __init__(self, code: bytes) -> None:
        self._code = code
        self._num_read = 0
        self._width = _WORD * _WORD - 1
        self._above = self._next_word() * _WORD + self._next_word()

    def read(self, total: int, piece_of: Callable[[int], tuple[int, int, int]]) -> int:
        """The symbol whose shares hold the number.

        Args:
            total: number of shares.
            piece_of: from a share, 0 to total - 1, to (symbol, its first share, its shares).
        """
        share = self._width // total
        place = self._above // share
        if place >= total:
            raise PackedFileError("the code points outside all symbols")
        symbol, first, count = piece_of(place)
        if count < total:
            self._above -= share * first
            self._width = share * count
            if self._width < _WORD:
                self._above = self._above * _WORD + self._next_word()
                self._width *= _WORD
        return symbol

    def check_end(self) -> None:
        """Refuses bytes that no symbol needed."""
        if len(self._code) > self._num_read:
            raise PackedFileError(
                f"the code has {len(self._code)} bytes; allowed: at most {self._num_read}"
            )

    def _next_word(self) -> int:
        word = self._code[self._num_read : self._num_read + 4].ljust(4, b"\0")
        self._num_read += 4
        return int.from_bytes(word, "big")


def decode_uniform(
    code: bytes, counts_RK: NDArray[np.int32], num_vectors: int
) -> NDArray[np.int32]:
    """Levels of all vectors, int32 (V, L); a level's share is what remains of its weights.

    Raises:
        PackedFileError: no encoder writes such a code.
    """
    decoder = RangeDecoder(code)
    rows = []
    for vector in range(num_vectors):
        remaining = counts_RK[vector if len(counts_RK) > 1 else 0].tolist()

        def piece_of(place: int, remaining: list[int] = remaining) -> tuple[int, int, int]:
            first = 0
            for level, count in enumerate(remaining):
                if place < first + count:
                    return level, first, count
                first += count
            raise AssertionError("shares add up to the total")

        row = []
        for total in range(sum(remaining), 0, -1):
            level = decoder.read(total, piece_of)
            remaining[level] -= 1
            row.append(level)
        rows.append(row)
    decoder.check_end()
    return np.array(rows, dtype=np.int32)
