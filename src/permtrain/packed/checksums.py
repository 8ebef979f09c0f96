"""Checksums of a packed file's parts, as digits to base 64 (`A-Z a-z 0-9 - _`)."""

import base64
import hashlib
import zlib


def digest_of(data: bytes) -> str:
    """Return the first 48 bits of the SHA-256, as 8 digits.

    Example:
        >>> digest_of(b"abc")
        'ungWv48B'
    """
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()[:6]).decode()


def crc32_of(data: bytes) -> str:
    """Return the CRC-32, its highest byte first, as 6 digits.

    Example:
        >>> crc32_of(b"abc")
        'NSRBwg'
    """
    return base64.urlsafe_b64encode(zlib.crc32(data).to_bytes(4, "big")).decode().rstrip("=")
