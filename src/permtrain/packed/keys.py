"""Weights as integers: bit patterns, and keys that sort as the weights do.

NumPy has no bfloat16, and floating-point comparison cannot tell 0.0 from -0.0. So everything here
works on a weight's bits, an unsigned integer of its width.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[Any]
"""Unsigned integers of the weights' width."""

SAFETENSORS_DTYPES: dict[str, str] = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
"""Names of dtypes, as torch and NumPy have them, and as safetensors has them."""

_WIDTHS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def item_size(dtype: str) -> int:
    """Bytes of one number of a dtype.

    Example:
        >>> item_size("bfloat16"), item_size("int64")
        (2, 8)
    """
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def bits_type(item_size: int) -> np.dtype[Any]:
    """The unsigned integer of so many bytes, little endian, as everything in a file is."""
    return np.dtype(_WIDTHS[item_size]).newbyteorder("<")


def bytes_of(bits: Bits) -> bytes:
    """An array's bytes as a file has them, little endian in C order."""
    return bits.astype(bits.dtype.newbyteorder("<"), copy=False).tobytes()


def bits_of_values(values: NDArray[Any], dtype: str) -> Bits:
    """Bit patterns of numbers that `initial_values` drew; bfloat16 comes there as float32.

    Example:
        >>> bits_of_values(np.array([1.0, -0.0], dtype=np.float32), "bfloat16")
        array([16256, 32768], dtype=uint16)
    """
    bits = np.ascontiguousarray(values).view(_WIDTHS[values.itemsize])
    return (bits >> np.uint32(16)).astype(np.uint16) if dtype == "bfloat16" else bits


def values_of_bits(bits: Bits, dtype: str) -> NDArray[Any]:
    """The inverse: NumPy numbers; bfloat16 as float32 numbers of the same value."""
    if dtype == "bfloat16":
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return bits.view(dtype)


def sort_keys(bits: Bits) -> Bits:
    """Integers in the order of the floating-point numbers, -0.0 just below 0.0; one to one.

    Example:
        >>> one, zero, minus_zero, minus_one = sort_keys(
        ...     np.array([1.0, 0.0, -0.0, -1.0], dtype=np.float32).view(np.uint32))
        >>> bool(one > zero > minus_zero > minus_one)
        True
    """
    top = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    keys = np.where(bits >= top, ~bits, bits | top)
    return keys.astype(bits.dtype, copy=False)


def bits_of_keys(keys: Bits) -> Bits:
    """The inverse of `sort_keys`."""
    top = keys.dtype.type(1 << (8 * keys.itemsize - 1))
    bits = np.where(keys >= top, keys ^ top, ~keys)
    return bits.astype(keys.dtype, copy=False)
