"""`permtrain pack`, `permtrain unpack` and `permtrain inspect`: small files of whole models."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from permtrain.errors import PackedFileError, SettingError
from permtrain.lab.cli.console import PlainConsole, say, say_note
from permtrain.lab.cli.places import PlaceToLook
from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings

if TYPE_CHECKING:
    from permtrain.packed.report import FileReport, TensorReport


FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".h5", ".keras")
"""What names of models' files end in; what has none of these and is not there is a missing run."""

MOST_ROWS = 1000
"""Of a table; somebody's file may have tens of thousands, and to lay them out takes long."""


def pack(
    source: Annotated[Path, tyro.conf.Positional],
    place: Annotated[PlaceToLook, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    checkpoint: str = "last",
    output: Path | None = None,
    trust_model: bool = False,
    ceilings: Annotated[
        Ceilings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes
    ] = DEFAULT_CEILINGS,
) -> None:
    """Write a run's arranged weights as a seed and permutations; or any checkpoint, packed.

    Args:
        source: The run's folder; or a file of anybody's model: safetensors, a PyTorch state dict,
            or Keras's .h5 and .keras (with permtrain[keras]).
        checkpoint: Of a run: last, best, or a checkpoint file.
        output: The file to write; left out, packed.safetensors in the run's folder, of another
            checkpoint than the last packed-best.safetensors or packed-CHECKPOINT.safetensors; of a
            file FILE-packed.safetensors beside it.
        trust_model: Run the code of a network of one's own that was not trained here.
    """
    if source.is_file() or (source.suffix in FILES and not source.is_dir()):
        _pack_file(source, checkpoint, output, ceilings)
        return
    from permtrain.lab.training.run_folder import RunFolder

    run = source
    RunFolder(run).settings()  # refuses what is no run; what follows imports torch
    from permtrain.lab.training.run import load_run
    from permtrain.packed.model import pack as pack_model

    trainer = load_run(run, place, checkpoint, images=False, trust_model=trust_model, say=say_note)
    path = output or RunFolder(run).packed_file
    if output is None and checkpoint != "last":  # results speak of the last one's file
        path = path.with_name(f"packed-{Path(checkpoint).stem}.safetensors")
    pack_model(trainer.model, path, weights=trainer.shown_weights())
    inspect(path)


def _pack_file(file: Path, checkpoint: str, output: Path | None, ceilings: Ceilings) -> None:
    if checkpoint != "last":
        raise SettingError(f"checkpoint is {checkpoint!r}; allowed with {file}, no run: nothing")
    path = output or file.with_name(f"{file.stem}-packed.safetensors")
    from permtrain.lab.pictures.weights import read_tensors
    from permtrain.packed.model import pack_tensors

    pack_tensors(read_tensors(file, ceilings), path)
    inspect(path)


def unpack(
    file: Annotated[Path, tyro.conf.Positional],
    output: Annotated[Path, tyro.conf.Positional],
    ceilings: Annotated[
        Ceilings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes
    ] = DEFAULT_CEILINGS,
) -> None:
    """Write a packed model's weights as plain safetensors, every bit as it was.

    Args:
        file: A packed file, or a run's folder that holds one.
        output: The safetensors file to write.
    """
    from permtrain.packed.plain_file import write_plain
    from permtrain.packed.reader import PackedFile, naming

    file = packed_file_in(file)
    with naming(file):
        write_plain(PackedFile(file, **vars(ceilings)), output)
    say(f"wrote {output}")


def inspect(
    file: Annotated[Path, tyro.conf.Positional],
    ceilings: Annotated[
        Ceilings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes
    ] = DEFAULT_CEILINGS,
) -> None:
    """Show what is inside a packed file, and its size against the information limit.

    Args:
        file: A packed file, or a run's folder that holds one.
    """
    from rich.table import Table

    from permtrain.packed.entries import CODERS, PROFILES
    from permtrain.packed.reader import PackedFile, naming
    from permtrain.packed.report import report_of

    file = packed_file_in(file)
    with naming(file):
        report = report_of(PackedFile(file, **vars(ceilings)))
    table = Table(box=None, title=str(file), title_justify="left")
    for column in ("tensor", "weights", "vectors", "stored as", "bytes", "bits a weight", "limit"):
        is_text = column in ("tensor", "vectors", "stored as")
        # Numbers stay whole where a terminal is narrow.
        justify: Literal["left", "right"] = "left" if is_text else "right"
        table.add_column(column, justify=justify, no_wrap=not is_text, overflow="fold")
    for tensor in report.tensors[:MOST_ROWS]:
        limit = tensor.limit_per_weight
        table.add_row(
            tensor.name,
            f"{tensor.num_weights:,}",
            tensor.granularity or "",
            _stored_as(tensor),
            f"{tensor.code_bytes + tensor.stored_bytes:,}",
            f"{tensor.bits_per_weight:.3f}",
            "" if limit is None else f"{limit:.3f}",
        )
    console = PlainConsole(width=None if PlainConsole().is_terminal else 140)
    console.print(table)
    if (more := len(report.tensors) - MOST_ROWS) > 0:
        console.print(f"and {more:,} tensors more", highlight=False)
    for line in _summary(report):
        console.print(line, highlight=False, soft_wrap=True)
    words = {tensor.coder: CODERS[tensor.coder] for tensor in report.tensors}
    words |= {t.profile: PROFILES[t.profile] for t in report.tensors if t.profile is not None}
    for word, meaning in words.items():
        console.print(f"{word}: {meaning}", highlight=False, soft_wrap=True)


def packed_file_in(source: Path) -> Path:
    """The file itself, or that of a run's folder.

    Raises:
        PackedFileError: a folder that holds none.
    """
    if not source.is_dir():
        return source
    from permtrain.lab.training.run_folder import RunFolder

    file = RunFolder(source).packed_file
    if not file.is_file():
        raise PackedFileError(
            f"{source}: holds no {file.name}; allowed: a packed file, or the folder of a run that "
            f"has one (permtrain pack {shlex.quote(str(source))} writes it)"
        )
    return file


def _stored_as(tensor: "TensorReport") -> str:
    return tensor.coder if tensor.profile is None else f"{tensor.coder}, {tensor.profile}"


def _summary(report: "FileReport") -> list[str]:
    lines = [
        f"file {report.file_bytes:,} bytes: codes {report.code_bytes:,}, stored numbers "
        f"{report.stored_bytes:,}, header {report.header_bytes:,}"
    ]
    if report.limit_bytes:
        difference = report.code_bytes / report.limit_bytes - 1
        words = f"{difference:.3%} more" if difference >= 0 else f"{-difference:.1%} less"
        why = "" if difference >= 0 else ", as weights are still near their initial places"
        lines.append(
            f"arrangements that are all equally likely take {report.limit_bytes:,.0f} bytes (the "
            f"limit); these codes take {words}{why}"
        )
    for name, bits in (("float32", 32), ("bfloat16", 16), ("a 1-bit mask", 1)):
        plain = report.bytes_at(bits)
        lines.append(f"as {name} {plain:,.0f} bytes, {plain / report.file_bytes:.2f} times")
    return lines
