"""What storing a model takes, in ways to compare."""

from dataclasses import dataclass

from permtrain.packed.report import FileReport


@dataclass(frozen=True)
class Size:
    """One way to store a model.

    Attributes:
        name: of the way.
        num_bytes: what it takes, above 0; 1 KB is 1,000 bytes.
        bits_per_weight: the same, for each number in the model.
        times: how many times the packed file.
        is_file: whether this is the packed file itself.
    """

    name: str
    num_bytes: float
    bits_per_weight: float
    times: float
    is_file: bool = False


def sizes_of(report: FileReport) -> list[Size]:
    """The packed file, the information limit of its arrangements, and plain numbers.

    Plain numbers are counted without any header; the limit counts neither the header nor what is
    stored beside the arrangements. It is left out where nothing is arranged.
    """
    ways = {
        "packed file": float(report.file_bytes),
        "information limit": report.limit_bytes,
        "1-bit mask": report.bytes_at(1),
        "bfloat16": report.bytes_at(16),
        "float32": report.bytes_at(32),
    }
    return [
        Size(
            name,
            num_bytes,
            8 * num_bytes / max(report.num_weights, 1),
            num_bytes / report.file_bytes,
            is_file=name == "packed file",
        )
        for name, num_bytes in ways.items()
        if num_bytes
    ]
