"""Files of others that would start a program, read other files, or fill the machine.

A table of what is made in an empty folder, and the commands that are then given it. Used by the
attack script; single cases of these kinds are in the tests of what reads them.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from permtrain import initialize_, pack
from permtrain.packed.checksums import crc32_of
from permtrain.packed.container import packed_file

ESCAPES = "a\x1b[2J\x1b]0;title\x07\u202eb"
SECRET = "a secret of 24 bytes ...."
HUGE = 200_000_000
TRAIN = "train --data ./d --model logistic --epochs 1 --threads 1"
READ = ("inspect f", "unpack f out", "export-circuit f", "plot profiles f", "pack f")


@dataclass(frozen=True)
class Foreign:
    """One kind.

    Attributes:
        make: what does it, in an empty folder.
        commands: what is then asked for.
        may_work: whether a command may do what it is asked for.
    """

    make: Callable[[Path], object]
    commands: tuple[str, ...]
    may_work: bool = False


def images(folder: Path, name: str = "0.png") -> Path:
    """A folder of images; returns one of them, to be replaced."""
    for split in ("train", "test"):
        for label in ("ant", "bee"):
            (folder / "d" / split / label).mkdir(parents=True)
            for number in range(2):
                Image.new("L", (8, 8), 90 * number).save(
                    folder / "d" / split / label / f"{number}.png"
                )
    return folder / "d" / "train" / "ant" / name


def with_image(content: Callable[[Path], object]) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        path = images(folder)
        path.unlink()
        content(path)

    return make


def eps(path: Path) -> None:
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n%%EndComments\n"
        b"(ran) (w) file closefile\n"
    )


def png_of(width: int, height: int) -> Callable[[Path], object]:
    """A PNG whose header claims a size, and whose few bytes unpack to as many zeros as they can."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    def write(path: Path) -> None:
        head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
        data = zlib.compress(bytes(20_000_000), 9)
        body = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)

    return write


def plan(text: str, body: bytes = b"") -> Callable[[Path], object]:
    return lambda folder: (folder / "f").write_bytes(packed_file(text, body))


def many_small(folder: Path) -> None:
    lines = [f"c0 2x330 n 0 {crc32_of(b'')} AAAAAAAA {number:x}" for number in range(25_000)]
    plan("\n".join(["* kaiming_uniform 0 levels=8", *lines]))(folder)


def long_json(folder: Path) -> None:
    text = (
        b'{"__metadata__":{"digest":"AAAAAAAA","permtrain-packed":"1","plan":"' + b"[" * 60_000_000
    )
    (folder / "f").write_bytes(len(text).to_bytes(8, "little") + text)


def stride_0(folder: Path) -> None:
    torch.save({"w": torch.ones(1, 1).expand(20_000, 100_000)}, folder / "f")


def unpacks_to_more(folder: Path) -> None:
    torch.save({"w": torch.zeros(50_000, 5_000)}, folder / "plain")
    with zipfile.ZipFile(folder / "plain") as members, zipfile.ZipFile(folder / "f", "w") as file:
        for member in members.infolist():
            file.writestr(member.filename, members.read(member), zipfile.ZIP_DEFLATED)
    (folder / "plain").unlink()


class Harm:
    """A pickle that makes a folder when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("ran",)


def external(folder: Path) -> None:
    (folder / "private").write_text(SECRET)
    with h5py.File(folder / "f", "w") as file:
        file.create_dataset("k:0", (2, 3), dtype="f4", external=[(str(folder / "private"), 0, 24)])


def unwritten(folder: Path) -> None:
    with h5py.File(folder / "f", "w") as file:
        file.create_dataset("k:0", (40_000, 50_000), dtype="f4", chunks=(1, 64))


def names_in_parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images(folder).rename(folder / "private.png")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for split in ("train", "test"):
        rows = pa.array([{"bytes": None, "path": "../private.png"}] * 2, kind)
        pq.write_table(
            pa.table({"image": rows, "label": [0, 1]}), folder / "d" / f"{split}.parquet"
        )


def circle(folder: Path) -> None:
    path = images(folder)
    (path.parent / "again").symlink_to(path.parent, target_is_directory=True)


def escapes_in_names(folder: Path) -> None:
    save_file({f"{ESCAPES}.weight": torch.rand(4, 9)}, folder / "f")
    images(folder).rename(folder / "d" / "train" / "ant" / f"{ESCAPES}.png")
    (folder / "d" / "train" / "ant" / f"{ESCAPES}.png").write_bytes(b"no image")


def formulas(folder: Path) -> None:
    results = folder / "results"
    results.mkdir()
    head = "recipe,budget,arm,seed,status,settings_hash,test_percent"
    cells = "index-layer,quick,=cmd|' /C calc'!A0,0,complete,-1+2,@SUM(1)"
    (results / "index-layer-quick.csv").write_text(f"{head}\n{cells}\n")
    model = nn.Module()
    for name in ("=1+1", "@SUM(1)", "+2", "a"):
        model.add_module(name, nn.Linear(4, 3))
    initialize_(model, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.flip(-1))
    pack(model, folder / "f")


KINDS: dict[str, Foreign] = {
    "EPS named .png": Foreign(with_image(eps), (TRAIN, "predict none d/train/ant/0.png")),
    "picture of 65,000 x 65,000": Foreign(with_image(png_of(65_000, 65_000)), (TRAIN,)),
    "picture just below the limit": Foreign(with_image(png_of(5_700, 5_800)), (TRAIN,)),
    "pipe as an image": Foreign(with_image(os.mkfifo), (TRAIN,)),
    "device as an image": Foreign(with_image(lambda path: path.symlink_to("/dev/zero")), (TRAIN,)),
    "folders in a circle": Foreign(circle, (TRAIN,)),
    "Parquet that names other files": Foreign(names_in_parquet, (TRAIN,)),
    "pipe as a file": Foreign(lambda folder: os.mkfifo(folder / "f"), READ),
    "device as a file": Foreign(lambda folder: (folder / "f").symlink_to("/dev/zero"), READ),
    "link in a circle": Foreign(lambda folder: (folder / "f").symlink_to("f"), READ),
    "64 KB that claim weights": Foreign(
        plan(f"v {HUGE} AAAAAAAA w\n" + "\n".join(f"= 0 {n}" for n in range(9_000)), bytes(4)), READ
    ),
    "shape beyond 64 bits": Foreign(plan("r 0x9223372036854775807 AAAAAAAA w"), READ),
    "a field 80,000 times": Foreign(plan("r 0 " + "dtype=int8 " * 80_000 + "AAAAAAAA w"), READ),
    "25,000 small tensors": Foreign(many_small, READ[:3], may_work=True),
    "60 MB of JSON": Foreign(long_json, READ),
    "tensor of stride 0": Foreign(stride_0, READ),
    "zip that unpacks to 1 GB": Foreign(unpacks_to_more, READ),
    "pickle with code": Foreign(lambda folder: torch.save({"w": Harm()}, folder / "f"), READ),
    "HDF5 external storage": Foreign(external, READ),
    "HDF5 chunks never written": Foreign(unwritten, READ),
    "escapes in names": Foreign(escapes_in_names, (*READ, TRAIN), may_work=True),
    "formulas in cells": Foreign(
        formulas,
        ("export-circuit f", "gather index-layer", "plot curves results/index-layer-quick.csv"),
        may_work=True,
    ),
}


def cells_that_are_formulas(folder: Path, made: float) -> list[str]:
    """Cells that a spreadsheet would compute, of CSV files that were written later than this."""
    cells = [
        cell.strip('"')
        for path in folder.rglob("*.csv")
        if path.stat().st_mtime > made
        for line in path.read_text().splitlines()
        for cell in line.split(",")
    ]
    return [cell for cell in cells if cell[:1] in ("=", "+", "@") and not _is_number(cell)]


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False
