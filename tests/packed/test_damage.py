"""Damaged and dishonest files are refused, in one line that says where."""

import random
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from packed import reference
from packed.mutants import mutants, recoded, repaired, resealed, sealed_anew
from packed.nets import NETS
from packed.readers import READERS, outcomes, with_fitting_digests
from permtrain import PackedFile
from permtrain.core.cut import Cut
from permtrain.errors import KindError, PackedFileError
from permtrain.packed.coders import conditional_levels, uniform_levels
from permtrain.packed.container import packed_file, safetensors_file
from permtrain.packed.model import tensors_of, unpack
from permtrain.packed.multiset import multisets_of
from permtrain.packed.writer import ORDER_CODERS, TensorToPack, packed_bytes, write_packed

NAMES = [
    "per neuron",
    "three levels, sparse",
    "few levels, unborn",
    "bfloat16, unborn",
    "hardly moved",
]


def file_of(net: str) -> bytes:
    return packed_bytes(tensors_of(NETS[net](), "any", None))


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


@pytest.mark.parametrize("net", NAMES)
def test_no_error_says_a_name_twice(net: str) -> None:
    """As when a piece's error goes through those who asked for the tensor."""
    data = packed_bytes(tensors_of(nn.ModuleDict({"a-layer": NETS[net]()}), "any", None))
    names = list(PackedFile(data))
    for _, mutant in [*mutants(data, 300, seed=3), *resealed(data, 300, seed=4)]:
        for each in (mutant, repaired(mutant)):
            try:
                read_all(each)
            except PackedFileError as error:
                said = str(error).split("; allowed:")[0]  # what follows may quote a whole line
                assert all(said.count(name) <= 1 for name in names), said


@pytest.mark.parametrize("net", ["mixed", *(name for name in NAMES if name != "bfloat16, unborn")])
def test_both_readers_read_alike_what_fits(net: str) -> None:
    """Other codes, under digests that fit what one of the readers makes of them."""
    source = random.Random(net)
    num_read = 0
    for coder in ORDER_CODERS:
        data = packed_bytes(tensors_of(NETS[net](), "any", None), coders=(coder,))
        for _ in range(20):
            other = recoded(data, source)
            for reader in READERS.values():
                fitting = with_fitting_digests(other, reader)
                compiled, plain = (outcomes(fitting, each) for each in READERS.values())
                assert compiled == plain
                num_read += all(isinstance(found, bytes) for found in compiled.values())
    assert num_read > 10


def test_damaged_codes_and_records_are_named_once() -> None:
    data = file_of("three levels, sparse")
    begin, _ = PackedFile(data).places_of("weight")["code"]
    mutant = bytearray(data)
    mutant[begin] ^= 1
    with pytest.raises(PackedFileError, match=r"^weight: code: damaged, its crc32 is "):
        read_all(bytes(mutant))
    other_rule = data.replace(b"kaiming_uniform", b"kaiming_unifork")
    with pytest.raises(PackedFileError, match=r"^weight: record: rule is 'kaiming_unifork'; "):
        read_all(repaired(other_rule))


def test_only_the_damaged_tensor_is_refused() -> None:
    data = file_of("mixed")
    place, _ = PackedFile(data).places_of("0.weight")["code"]
    mutant = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    file = PackedFile(mutant)
    with pytest.raises(PackedFileError, match=r"0.weight: code: damaged, its crc32 is"):
        file.bits("0.weight")
    assert file["3.weight"].shape == (5, 12)


def test_asking_whether_a_tensor_is_there_decodes_nothing() -> None:
    data = file_of("unborn")
    file = PackedFile(data[:-1] + bytes([data[-1] ^ 1]))
    assert "bias" in file
    assert "weight" in file
    assert "scale" not in file
    with pytest.raises(PackedFileError, match="bias: damaged"):
        file["bias"]


def test_a_raw_tensor_that_is_damaged_is_named() -> None:
    data = file_of("unborn")
    with pytest.raises(PackedFileError, match="bias: damaged, the weights' digest is"):
        read_all(data[:-1] + bytes([data[-1] ^ 1]))


def with_plan(data: bytes, plan: str) -> bytes:
    """The file with another plan and a header sealed anew."""
    return packed_file(plan, data[PackedFile(data).header.data_begin :])


def edited(old: str, new: str, net: str = "per layer") -> bytes:
    """The file of a net with a part of its plan replaced."""
    data = file_of(net)
    plan = PackedFile(data).header.plan
    assert old in plan
    return with_plan(data, plan.replace(old, new, 1))


BIRTH = "* kaiming_uniform 0 granularity=layer"
REFUSED: dict[str, tuple[str, str, str]] = {
    "how": ("u0", "z0", r"plan: line 2 holds 'z0'; allowed: =, r, v, i0"),
    "no birth": ("u0", "u1", r"plan: line 2: birth is 1; allowed: below 1"),
    "birth too many": (BIRTH, f"{BIRTH}\n{BIRTH}", r"line 2 is '\* kaiming_.*'; allowed: 'u0 "),
    "conditional": ("u0", "cv", r"plan: line 2 holds 'cv'; allowed"),
    "dtype": ("20x30", "20x30 dtype=float8", r"line 2: dtype is 'float8'; allowed: float64"),
    "no float": ("20x30", "20x30 dtype=int32", r"weight: record: dtype is 'int32'"),
    "shape": ("20x30", "20x-30", r"plan: line 2 holds '20x-30'; allowed: sizes"),
    "no shape": ("20x30", ".", r"weight: shape is \[\]; allowed for initial values"),
    "dims": ("20x30", "x".join("2" * 33), r"line 2: shape is 2x2x.*; allowed: 32 sizes"),
    "size": ("20x30", f"20x{10**30}", r"line 2: number is 10*; allowed: 0 to 2"),
    "cut": ("20x30 l", "20x30 r", r"line 2 holds 'r'; allowed: n, k, l"),
    "cut spelt out": ("20x30 l", "20x30 l0,0,1", r"line 2 is .*; allowed: 'u0 20x30 l "),
    "axis": ("20x30 l", "20x30 n2,0,1", r"weight: output_axis 2 and .* that shape \[20, 30\]"),
    "groups": (
        "20x30 l",
        "20x30 n1,0,3",
        r"groups is 3; allowed: 1, or with output_axis 1 or",
    ),
    "a field twice": ("20x30", "20x30 fan_in=3 fan_in=3", "line 2 has fan_in twice; allowed: once"),
    "prefix beyond all names": (
        "* kaiming_uniform 0 gran",
        f'* kaiming_uniform 0 prefix="{"a" * 4097}" gran',
        "line 1: prefix has 4097 characters; allowed: 4096",
    ),
    "field": (
        "* kaiming_uniform 0 gran",
        "* kaiming_uniform 0 a=1 gran",
        r"line 1: field is 'a'; allo",
    ),
    "prefix longer than the name": (
        "* kaiming_uniform 0 gran",
        "* kaiming_uniform 0 prefix_length=7 gran",
        r"weight: prefix_length is 7; allowed: 0 to 6",
    ),
    "prefix of a fraction": (
        "* kaiming_uniform 0 gran",
        "* kaiming_uniform 0 prefix_length=1.0 gran",
        r"weight: prefix_length is 1\.0; allowed: 0 to 6",
    ),
    "prefix spelt out": (
        "* kaiming_uniform 0 gran",
        '* kaiming_uniform 0 prefix_length=1 prefix="w" gran',
        r"line 1 is .*; allowed: '\* kaiming_uniform 0 gran",
    ),
    "prefix that is no text": (
        "* kaiming_uniform 0 gran",
        "* kaiming_uniform 0 prefix=a gran",
        r"line 1: prefix is 'a'; allowed: a string in JSON",
    ),
    "prefix of half a character": (
        "* kaiming_uniform 0 gran",
        r'* kaiming_uniform 0 prefix="\ud800" gran',
        r"line 1: prefix is .*ud800.*; allowed: a string in JSON",
    ),
    "other prefix": (
        "* kaiming_uniform 0 gran",
        '* kaiming_uniform 0 prefix="a." gran',
        r"weight: damaged, the weig",
    ),
    "another prefix": (
        "* kaiming_uniform 0 gran",
        "* kaiming_uniform 0 prefix_length=1 gran",
        r"weight: damaged, the weig",
    ),
    "value": (
        "* kaiming_uniform 0 gran",
        "* kaiming_uniform 0 levels=x gran",
        r"levels is 'x'; allow",
    ),
    "nan": (
        "* kaiming_uniform 0 gran",
        "* kaiming_uniform 0 sparsity=NaN gran",
        r"'NaN'; allowed: a",
    ),
    "birth": (
        "* kaiming_uniform 0 gran",
        "* gran",
        r"plan: line 1 is '\* gran.*'; allowed: \* rule seed",
    ),
    "checksum": ("20x30 l ", "20x30 l 1 0 ", r"line 2 holds '0'; allowed: the crc32 of its code"),
    "code size": ("20x30 l ", "20x30 l z ", r"line 2 holds 'z'; allowed: the number of bytes of"),
    "digest": ("gVScBC0O weight", "gVScBC weight", r"line 2 holds 'gVScBC'; allowed: a digest"),
    "name": ("gVScBC0O weight", "gVScBC0O heavy", r"heavy: damaged, the weights' digest is"),
    "seed": (
        "* kaiming_uniform 0 gran",
        "* kaiming_uniform -1 gran",
        r"line 1: number is -1; allowed",
    ),
    "rule": ("* kaiming_uniform 0 gran", "* shuffle 0 gran", r"weight: rule is 'shuffle'; allowed"),
    "other seed": (
        "* kaiming_uniform 0 gran",
        "* kaiming_uniform 4 gran",
        r"weight: damaged, the weig",
    ),
    "finer cut": ("20x30 l", "20x30 n", r"weight: (the code|damaged)"),
    "twice": (" bias", " weight", r"plan: line 3: 'weight' is there before"),
    "alias": ("i0 20", "= 4 tied\ni0 20", r"line 3: number is 4; allowed: of a tensor before it"),
    "fan": ("20x30", "20x30 fan_in=30", r"line 2 is .*; allowed: 'u0 20x30 l"),
    "layout of no record": (
        "u0 20x30",
        "r 20x30 groups=2",
        r"line 2: has groups; allowed: nothing",
    ),
    "shorter": ("i0 20", "r 20", r"the file has \d+ bytes; allowed by its tensors: \d+"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_plan_may_say(what: str) -> None:
    old, new, message = REFUSED[what]
    with pytest.raises(PackedFileError, match=message):
        read_all(edited(old, new))


def test_stored_values_have_the_sizes_the_shape_asks_for() -> None:
    data = file_of("few levels, unborn")
    plan = PackedFile(data).header.plan
    found = re.fullmatch(r"(ul 8x50 l [0-9]+ \S+) 12 (\S+) 6 (.*)", plan, re.DOTALL)
    assert found is not None
    for levels, message in ((0, "multiple of 4"), (10, "multiple of 4"), (8, "6 bytes; .*: 4$")):
        changed = f"{found[1]} {levels} {found[2]} 6 {found[3]}"
        with pytest.raises(PackedFileError, match=f"weight: (levels|counts) take .*{message}"):
            read_all(with_plan(data, changed))
    values = f"uv {found[1][3:]} 12 {found[2]} {found[3].split(' ', 1)[1]}"
    with pytest.raises(PackedFileError, match="weight: profile take 12 bytes; allowed: 1600"):
        read_all(with_plan(data, values))


def test_a_small_file_that_claims_many_weights_fails_at_once() -> None:
    plan = "* kaiming_uniform 0\nu0 1000000x1000000 n 1 AAAAAA AAAAAAAA weight"
    data = packed_file(plan, b"\1")
    tracemalloc.start()
    message = r"has \d+ bytes and claims 1000000000000 weights; allowed: \d+, or more with"
    with pytest.raises(PackedFileError, match=message):
        read_all(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_so_does_one_that_claims_many_equal_values() -> None:
    plan = "v 1000000x1000000 AAAAAAAA bias"
    data = packed_file(plan, bytes(4))
    with pytest.raises(PackedFileError, match="claims 1000000000000 weights"):
        read_all(data)


def test_further_names_are_claims_too() -> None:
    """Written as plain safetensors, each of them takes what the first one takes."""
    names = "\n".join(f"= 0 {number}" for number in range(17))
    data = packed_file(f"v 1000x1000 AAAAAAAA w\n{names}", bytes(4))
    with pytest.raises(PackedFileError, match="claims 18000000 weights; allowed: 16795648, or"):
        PackedFile(data)
    data = packed_file(f"r 4 AAAAAAAA w\n{names}", bytes(16))
    with pytest.raises(PackedFileError, match="claims 68 weights; allowed: 67, or more"):
        PackedFile(data, max_weights=67)
    assert len(PackedFile(data, max_weights=68)) == 18


def test_how_much_a_file_may_claim_by_default() -> None:
    def claiming(weights: int) -> bytes:
        return packed_file(f"v {weights} AAAAAAAA w", bytes(4))

    most = (1 << 24) + 64 * len(claiming(10_000_000))
    assert PackedFile(claiming(most)).entry("w").shape == (most,)
    with pytest.raises(PackedFileError, match=f"claims {most + 1} weights; allowed: {most}, or mo"):
        PackedFile(claiming(most + 1))


def test_a_header_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    data = packed_file("r 0 AAAAAAAA " + "w" * (1 << 20), b"")
    (tmp_path / "m").write_bytes(data)
    length = len(data) - 8
    said = f"^the header has {length} bytes; allowed: 1048576, or more with max_header$"
    for source in (data, tmp_path / "m", data[:8] + bytes(length)):
        tracemalloc.start()
        with pytest.raises(PackedFileError, match=said):
            PackedFile(source)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100_000
    assert len(PackedFile(data, max_header=length)) == 1
    with pytest.raises(PackedFileError, match=f"allowed: {length - 1}, or more with max_header"):
        PackedFile(data, max_header=length - 1)


def test_a_model_of_many_tensors_can_be_written_and_read(tmp_path: Path) -> None:
    tensors = [TensorToPack(f"{n:0100}", "int8", np.zeros(0, np.uint8)) for n in range(9000)]
    write_packed(tmp_path / "m", tensors)
    with pytest.raises(PackedFileError, match="or more with max_header"):
        unpack(tmp_path / "m")
    assert len(unpack(tmp_path / "m", max_header=1 << 21)) == 9000


def test_sizes_of_a_tensor_without_weights_are_bounded_too() -> None:
    for shape in ("0x9223372036854775807", f"{2**30}x0x{2**30}", f"0x{2**60}"):
        with pytest.raises(PackedFileError, match=r"line 1: shape is .*; allowed: 32 sizes, below"):
            PackedFile(packed_file(f"r {shape} dtype=float64 AAAAAAAA w", b""))
    data = packed_file(f"r 0x{2**60 - 1} dtype=float64 47DEQpj8 w", b"")
    assert PackedFile(data)["w"].shape == (0, 2**60 - 1)


def test_a_claim_too_large_can_be_allowed(tmp_path: Path) -> None:
    data = file_of("per layer")
    with pytest.raises(PackedFileError, match="claims 620 weights; allowed: 619"):
        PackedFile(data, max_weights=619)
    assert PackedFile(data, max_weights=620)["weight"].shape == (20, 30)


NO_PACKED_FILE = "header: damaged, or not that of a packed model file; allowed: the form in docs/f"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file has 0 bytes; allowed: 8 or more"),
        (b"1234567", "the file has 7 bytes"),
        (b"\xff" * 8, r"header length is \d+; allowed in this file: 0 to 0"),
        (b"PK\3\4" * 4, r"allowed in this file: 0 to 8; it is a zip archive, as torch.save writes"),
        (b"\2\0\0\0\0\0\0\0{}", NO_PACKED_FILE),
        (b"\4\0\0\0\0\0\0\0\xff\xff{}", NO_PACKED_FILE),
        (safetensors_file([("a", "U8", (1,), b"1")], {"format": "x"}), NO_PACKED_FILE),
        (packed_file("", b"1"), r"the file has (\d+) bytes; allowed by its tensors: \d+"),
        (packed_file("", b"")[:-1], r"header length is \d+; allowed in this file: 0 to \d+"),
        (packed_file("", b"123")[:-1], r"the file has (\d+) bytes; allowed by its header: \d+"),
    ],
)
def test_what_is_no_packed_file(data: bytes, message: str) -> None:
    with pytest.raises(PackedFileError, match=message):
        PackedFile(data)


SPELLED_OTHERWISE: dict[str, tuple[str, str, str]] = {
    "space": (",", ", ", NO_PACKED_FILE),
    "space at the end": ("}}", "}} ", NO_PACKED_FILE),
    "key escaped": ('"plan"', r'"\u0070lan"', NO_PACKED_FILE),
    "plan escaped": ("heavy", r"heav\u0079", "header: the plan's JSON is not spelled as"),
    "plan not escaped": (r"\u00e4", "ä", "header: the plan is not a string in JSON"),
    "escape that JSON has not": ("heavy", r"\xheavy", "header: the plan is not a string in JSON"),
    "half a character": ("heavy", r"\ud800", "header: the plan is not a string in JSON"),
    "version": ('"permtrain-packed":"1"', '"permtrain-packed":"2"', "version is '2'; allowed: 1"),
    "key twice": ('"plan":', '"plan":"","plan":', NO_PACKED_FILE),
    "more metadata": ('"plan":', '"format":"pt","plan":', NO_PACKED_FILE),
    "name of the section": ('"packed":', '"pocket":', NO_PACKED_FILE),
    "more sections": (
        ',"packed":',
        ',"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"packed":',
        NO_PACKED_FILE,
    ),
    "more fields": ('"dtype":"U8"', '"dtype":"U8","x":1', NO_PACKED_FILE),
    "dtype": ('"U8"', '"I8"', NO_PACKED_FILE),
    "later": ("[0,5]", "[1,6]", NO_PACKED_FILE),
    "backwards": ("[0,5]", "[5,0]", NO_PACKED_FILE),
    "three ends": ("[0,5]", "[0,5,5]", NO_PACKED_FILE),
    "two axes": ("[5]", "[1,5]", NO_PACKED_FILE),
    "number": ("5]", "05]", NO_PACKED_FILE),
    "beyond": ("5]", "6]", "allowed by its header"),
    "far beyond": ("5]", f"{10**30}]", NO_PACKED_FILE),
}


@pytest.mark.parametrize("what", SPELLED_OTHERWISE)
def test_a_header_has_one_spelling(what: str) -> None:
    """Even under a fitting digest."""
    old, new, message = SPELLED_OTHERWISE[what]
    tensors = [
        TensorToPack(name, "int8", np.arange(size, dtype=np.uint8))
        for name, size in (("heavy", 3), ("ä", 2))
    ]
    data = packed_bytes(tensors)
    assert PackedFile(data)["heavy"].tolist() == [0, 1, 2]
    header = data[8:-5].decode()
    assert old in header
    text = header.replace(old, new).encode()
    head = len(text).to_bytes(8, "little") + text
    with pytest.raises(PackedFileError, match=message):
        PackedFile(sealed_anew(head + data[-5:], len(head)))


@pytest.mark.parametrize("shape", [".", "0x3", "3x0"])
@pytest.mark.parametrize("how", ["u0", "uv", "ul"])
def test_what_has_no_weights_is_no_arrangement(how: str, shape: str) -> None:
    pieces = {"u0": "0 AAAAAA", "uv": "0 AAAAAA 0 AAAAAA", "ul": "0 AAAAAA 4 AAAAAA 1 AAAAAA"}[how]
    birth = "* kaiming_uniform 0\n" if how == "u0" else ""
    plan = f"{birth}{how} {shape} l {pieces} AAAAAAAA a"
    data = packed_file(plan, b"")
    with pytest.raises(
        PackedFileError, match=r"a: shape is \[.*\]; allowed.*: one (weight|size) or"
    ):
        read_all(data)


@pytest.mark.parametrize("read", [PackedFile, unpack])
def test_a_number_is_no_path(read) -> None:
    """To `os.stat` it is a file that this process has open."""
    for source in (0, None, {}):
        with pytest.raises(KindError, match=r"source is of type \w+; allowed: a path, or bytes"):
            read(source)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PackedFile(tmp_path / "nothing")


def test_a_profile_out_of_order_is_refused() -> None:
    """Even under fitting checksums."""
    data = file_of("few levels, unborn")
    begin, end = PackedFile(data).places_of("weight")["levels"]
    levels = np.frombuffer(data[begin:end], "<u4")
    for changed in (levels[::-1], levels[[0, 1, 1]]):
        with pytest.raises(PackedFileError, match="weight: allowed are ascending levels"):
            read_all(repaired(data[:begin] + changed.tobytes() + data[end:]))


def file_of_stored_values() -> bytes:
    """A weight that nothing is known of, cut by the user: its sorted values stand in the file."""
    return packed_bytes(tensors_of(nn.Linear(5, 4, bias=False), "neuron", None))


def test_stored_values_out_of_order_are_refused() -> None:
    data = file_of_stored_values()
    begin, end = PackedFile(data).places_of("weight")["profile"]
    values = np.frombuffer(data[begin:end], "<u4").reshape(4, 5)
    assert (end - begin, PackedFile(data).entry("weight").profile) == (80, "values")
    for turned in (values[:, ::-1], values[:, [0, 1, 2, 4, 3]]):
        with pytest.raises(PackedFileError, match="weight: the profile is not in ascending order"):
            read_all(repaired(data[:begin] + turned.tobytes() + data[end:]))


def test_stored_values_are_one_row_or_one_for_each_vector() -> None:
    data = file_of_stored_values()
    plan = PackedFile(data).header.plan
    assert " 80 " in plan
    for size in (0, 20, 40, 79, 100):
        message = "weight: profile take .* bytes; allowed: 20 or 80" if size != 20 else "allowed by"
        with pytest.raises(PackedFileError, match=message):
            read_all(with_plan(data, plan.replace(" 80 ", f" {size} ")))


def test_a_code_may_be_as_long_as_its_symbols_ask_for() -> None:
    """Two words before the first symbol; zeros at the end are left out, other bytes are not."""
    multisets = multisets_of(np.arange(4, dtype=np.uint32)[None], 1)
    initial = np.array([[0, 1, 2, 3]], dtype=np.int32)
    for uniform in (uniform_levels, reference.uniform_levels):
        assert uniform(b"\x60" + bytes(7), multisets).tolist() == [[1, 2, 3, 0]]
        with pytest.raises(PackedFileError, match="the code has 9 bytes; allowed: at most 8"):
            uniform(b"\x60" + bytes(8), multisets)
    for conditional in (conditional_levels, reference.conditional_levels):
        with pytest.raises(PackedFileError, match="the code has 9 bytes; allowed: at most 8"):
            conditional(bytes(9), initial, multisets, Cut("neuron", shape=(1, 4)))
