"""Damaged and dishonest files are refused, in one line that says where."""

import json
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packed.mutants import mutants, resealed
from packed.nets import NETS
from permtrain import PackedFile
from permtrain.errors import PackedFileError
from permtrain.packed.container import built
from permtrain.packed.model import tensors_of
from permtrain.packed.writer import packed_bytes

NAMES = [
    "per neuron",
    "three levels, sparse",
    "few levels, unborn",
    "bfloat16, unborn",
    "hardly moved",
]


def file_of(net: str) -> bytes:
    return packed_bytes(tensors_of(NETS[net](), None, None))


def read_all(data: bytes) -> None:
    PackedFile(data).all_bits(threads=1)


@pytest.mark.parametrize("net", NAMES)
def test_mutants_are_refused(net: str) -> None:
    """Bits flipped, ends cut off, sections swapped, numbers edited."""
    data = file_of(net)
    for what, mutant in mutants(data, 600, seed=1):
        with pytest.raises(PackedFileError) as refused:
            read_all(mutant)
        assert "\n" not in str(refused.value), what


@pytest.mark.parametrize("net", NAMES)
def test_every_byte_of_a_small_file_counts(net: str) -> None:
    data = file_of(net)
    for place in range(0, len(data), 7):
        mutant = data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]
        with pytest.raises(PackedFileError):
            read_all(mutant)


@pytest.mark.parametrize("net", NAMES)
def test_numbers_edited_under_a_new_seal_are_refused_or_are_the_same_model(net: str) -> None:
    """Somebody who seals the header anew meets the checks behind it; nothing else is raised."""
    data = file_of(net)
    before = {name: bits.tolist() for name, bits in PackedFile(data).all_bits(1).items()}
    for what, mutant in resealed(data, 300, seed=2):
        try:
            file = PackedFile(mutant)
            after = {name: bits.tolist() for name, bits in file.all_bits(1).items()}
        except PackedFileError:
            continue
        assert set(map(str, after.values())) <= set(map(str, before.values())), what


def test_only_the_damaged_tensor_is_refused() -> None:
    data = file_of("mixed")
    section = PackedFile(data).header.sections["0.weight#code"]
    place = PackedFile(data).header.data_begin + section.begin
    mutant = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    file = PackedFile(mutant)
    with pytest.raises(PackedFileError, match=r"section '0.weight#code': damaged, its crc32 is"):
        file.bits("0.weight")
    assert file["3.weight"].shape == (5, 12)


def test_a_raw_tensor_that_is_damaged_is_named() -> None:
    data = file_of("unborn")
    with pytest.raises(PackedFileError, match="bias: damaged, the weights' sha256 is"):
        read_all(data[:-1] + bytes([data[-1] ^ 1]))


def edited(change: Callable[[dict[str, Any]], None], net: str = "per layer") -> bytes:
    """The file of a net with its plan changed and its header sealed anew."""
    data = file_of(net)
    file = PackedFile(data)
    metadata = dict(file.header.metadata)
    plan = json.loads(metadata["plan"])
    change(plan)
    metadata["plan"] = json.dumps(plan)
    begin = file.header.data_begin
    sections = [
        (s.name, s.dtype, s.shape, data[begin + s.begin : begin + s.end])
        for s in file.header.sections.values()
    ]
    return built(sections, metadata)


def setting(place: list[Any], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(plan: dict[str, Any]) -> None:
        inside: Any = plan
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = value

    return change


WEIGHT = ["tensors", 0]
REFUSED: dict[str, tuple[list[Any], Any, str]] = {
    "coder": ([*WEIGHT, "coder"], "zip", r"weight: coder is 'zip'; allowed: raw, initial, uniform"),
    "dtype": ([*WEIGHT, "dtype"], "float8", r"weight: dtype is 'float8'; allowed: float64"),
    "shape": ([*WEIGHT, "shape"], [20, -30], r"weight: shape is \[20, -30\]; allowed: at most 32"),
    "key": ([*WEIGHT, "more"], 1, r"tensor 0 has unknown more; allowed: coder, crc32"),
    "name": ([*WEIGHT, "name"], "a#b", r"tensor 0: name is 'a#b'; allowed"),
    "cut": ([*WEIGHT, "cut"], {"granularity": "row"}, r"granularity is 'row'; allowed: kernel"),
    "axis": (
        [*WEIGHT, "cut"],
        {"granularity": "neuron", "output_axis": 2},
        r"weight: cut: .* names axes that shape \[20, 30\] has not",
    ),
    "groups": (
        [*WEIGHT, "cut"],
        {"granularity": "neuron", "output_axis": 1, "groups": 3},
        r"groups is 3; allowed: 1, or with output_axis 1 a divisor of 20",
    ),
    "checksum": ([*WEIGHT, "crc32"], ["0"], r"crc32 is '0'; allowed: 8 hexadecimal digits"),
    "checksums": ([*WEIGHT, "crc32"], [], r"crc32 has 0 entries; allowed: 1"),
    "seed": (["records", "seed"], -1, r"weight: record: weight: seed is -1; allowed: 0 to 2"),
    "rule": ([*WEIGHT, "record", "rule"], "shuffle", r"weight: rule is 'shuffle'; allowed"),
    "other seed": (["records", "seed"], 4, r"weight: damaged, the weights' sha256 is"),
    "finer cut": (
        [*WEIGHT, "cut"],
        {"granularity": "neuron"},
        r"weight: (the code|damaged)",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_plan_may_say(what: str) -> None:
    place, value, message = REFUSED[what]
    with pytest.raises(PackedFileError, match=message):
        read_all(edited(setting(place, value)))


def test_a_small_file_that_claims_many_weights_fails_at_once() -> None:
    def claim(plan: dict[str, Any]) -> None:
        plan["tensors"] = [plan["tensors"][0]]
        plan["tensors"][0]["shape"] = [10**6, 10**6]

    data = edited(claim, "sparse")
    tracemalloc.start()
    message = r"has \d+ bytes and claims 1000000000000 weights; allowed: \d+, or more with"
    with pytest.raises(PackedFileError, match=message):
        read_all(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_claim_too_large_can_be_allowed(tmp_path: Path) -> None:
    data = file_of("per layer")
    with pytest.raises(PackedFileError, match="claims 620 weights; allowed: 619"):
        PackedFile(data, max_weights=619)
    assert PackedFile(data, max_weights=620)["weight"].shape == (20, 30)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file has 0 bytes; allowed: 8 or more"),
        (b"1234567", "the file has 7 bytes"),
        (b"\xff" * 8, r"header length is \d+; allowed in this file: 0 to 0"),
        (b"\2\0\0\0\0\0\0\0{}", "metadata holds no digest"),
        (b"\2\0\0\0\0\0\0\0[]", "header: holds a list; allowed: an object"),
        (b"\4\0\0\0\0\0\0\0\xff\xff{}", "header: damaged, not readable as JSON"),
        (built([], {"format": "x"}), "metadata is not that of format permtrain-packed"),
        (
            built([], {"format": "permtrain-packed", "version": "2", "plan": "{}"}),
            "version is '2'; allowed: 1",
        ),
        (
            built([], {"format": "permtrain-packed", "version": "1", "plan": '{"a":1,"a":1}'}),
            "plan: damaged, not readable as JSON \\(a key is repeated\\)",
        ),
        (
            built([], {"format": "permtrain-packed", "version": "1", "plan": "[" * 100_000}),
            "plan: damaged, not readable as JSON",
        ),
    ],
)
def test_what_is_no_packed_file(data: bytes, message: str) -> None:
    with pytest.raises(PackedFileError, match=message):
        PackedFile(data)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PackedFile(tmp_path / "nothing")


def test_a_profile_out_of_order_is_refused() -> None:
    """Even under fitting checksums."""
    data = file_of("few levels, unborn")
    file = PackedFile(data)
    begin = file.header.data_begin
    metadata = dict(file.header.metadata)
    plan = json.loads(metadata["plan"])
    sections = []
    for s in file.header.sections.values():
        body = data[begin + s.begin : begin + s.end]
        if s.name == "weight#levels":
            body = np.frombuffer(body, "<u4")[::-1].tobytes()
            plan["tensors"][0]["crc32"][1] = f"{zlib.crc32(body):08x}"
        sections.append((s.name, s.dtype, s.shape, body))
    metadata["plan"] = json.dumps(plan)
    with pytest.raises(PackedFileError, match="weight: allowed are ascending levels"):
        read_all(built(sections, metadata))
