"""Models come back bit for bit, by the compiled and the reference decoders; files are canonical."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from packed import reference
from packed.nets import NETS, Tied, conv_net, same_bits, shuffled_
from permtrain import PackedFile, initialize_, pack, unpack, verify
from permtrain.errors import GranularityError, PackedFileError, SettingError
from permtrain.initial.initialize import records_of
from permtrain.packed.keys import values_of_bits
from permtrain.packed.model import tensors_of
from permtrain.packed.plain_file import write_plain
from permtrain.packed.writer import packed_bytes


def coders_in(path: Path) -> dict[str, str]:
    file = PackedFile(path)
    return {name: f"{(e := file.entry(name)).coder} {e.profile}" for name in file}


def births_in(path: Path) -> list[str]:
    plan = PackedFile(path).header.plan
    return [line for line in plan.split("\n") if line.startswith("*")]


def size_of(file: PackedFile, what: str) -> int:
    begin, end = file.places_of("weight")[what]
    return end - begin


@pytest.mark.parametrize("net", NETS)
def test_every_bit_comes_back(net: str, tmp_path: Path) -> None:
    model = NETS[net]()
    pack(model, tmp_path / "m")
    found = unpack(tmp_path / "m")
    assert list(found) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert same_bits(found[name], tensor), name
    copy.deepcopy(model).load_state_dict(found)


@pytest.mark.parametrize("net", NETS)
def test_the_reference_decoders_read_the_same(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(NETS[net](), tmp_path / "m")
    expected = PackedFile(tmp_path / "m").all_bits()
    for name in ("uniform_levels", "conditional_levels"):
        monkeypatch.setattr(f"permtrain.packed.reader.{name}", getattr(reference, name))
    found = PackedFile(tmp_path / "m").all_bits()
    assert list(found) == list(expected)
    for name, bits in expected.items():
        assert np.array_equal(found[name], bits), name


@pytest.mark.parametrize("net", NETS)
def test_the_same_model_gives_the_same_bytes(net: str) -> None:
    model = NETS[net]()
    first = packed_bytes(tensors_of(model, "any", None), threads=1)
    assert packed_bytes(tensors_of(copy.deepcopy(model), "any", None), threads=3) == first


@pytest.mark.parametrize("net", ["per neuron", "bfloat16", "tied"])
def test_safetensors_itself_opens_it(net: str, tmp_path: Path) -> None:
    pack(NETS[net](), tmp_path / "m")
    with safe_open(tmp_path / "m", "pt") as file:
        assert file.metadata()["permtrain-packed"] == "1"
        (body,) = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    begin = PackedFile(tmp_path / "m").header.data_begin
    assert bytes(body.numpy()) == (tmp_path / "m").read_bytes()[begin:]


def test_how_tensors_are_stored(tmp_path: Path) -> None:
    stored = {}
    for net in NETS:
        pack(NETS[net](), tmp_path / "m")
        stored[net] = coders_in(tmp_path / "m")
    assert stored["per layer"] == {"weight": "uniform record", "bias": "initial None"}
    assert stored["hardly moved"]["weight"] == "conditional record"
    assert stored["unborn"] == {"weight": "raw None", "bias": "raw None"}
    assert stored["changed"] == {"weight": "raw None", "bias": "initial None"}
    assert stored["unmoved"]["weight"] == "initial None"
    assert stored["few levels, unborn"]["weight"] == "uniform levels"
    assert stored["per neuron"]["1.running_mean"] == "constant None"
    assert stored["per neuron"]["1.num_batches_tracked"] == "raw None"
    assert stored["constant"]["weight"] == "uniform record"


def test_one_changed_vector_of_many_is_enough(tmp_path: Path) -> None:
    """A few vectors are looked at first; this one is not among them."""
    model = nn.Linear(9, 20)
    initialize_(model, bias_values="rule")
    shuffled_(model, "neuron")
    with torch.no_grad():
        model.weight[13, 2] += 1
    pack(model, tmp_path / "m")
    assert coders_in(tmp_path / "m") == {"weight": "raw None", "bias": "initial None"}
    assert same_bits(unpack(tmp_path / "m")["weight"], model.weight)


def test_sorted_values_win_where_levels_take_as_many_bytes(tmp_path: Path) -> None:
    """Two levels of 2 bytes with a count of 1 byte each, or three values of 2 bytes."""
    model = nn.Linear(3, 1, bias=False).half()
    for values, stored in (([1, 2, 1], "uniform values"), ([1, 1, 1], "uniform levels")):
        with torch.no_grad():
            model.weight.copy_(torch.tensor([values]))
        pack(model, tmp_path / "m", granularity="neuron")
        assert coders_in(tmp_path / "m") == {"weight": stored}


def test_the_finest_granularity_that_fits_is_taken(tmp_path: Path) -> None:
    pack(NETS["mixed"](), tmp_path / "m")
    file = PackedFile(tmp_path / "m")
    cuts = {name: file.entry(name).cut for name in ("0.weight", "2.weight", "3.weight")}
    assert cuts["0.weight"] is not None
    assert cuts["0.weight"].granularity == "kernel"
    assert cuts["2.weight"] is None  # unmoved
    assert cuts["3.weight"] is not None
    assert cuts["3.weight"].granularity == "layer"


def sparse_layer(shape: tuple[int, int], zeros: float, dtype: torch.dtype) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(shape[1], shape[0], bias=False).to(dtype)
    weights = torch.randn(shape, generator=generator)
    weights[torch.rand(shape, generator=generator) < zeros] = 0
    with torch.no_grad():
        model.weight.copy_(weights)
    return model


@pytest.mark.parametrize("zeros", [0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 3), (10, 100), (100, 300)])
def test_sparse_weights_without_a_record_take_the_least_that_can_be_written(
    shape: tuple[int, int], dtype: torch.dtype, zeros: float
) -> None:
    model = sparse_layer(shape, zeros, dtype)
    sizes = {
        rule: len(packed_bytes(tensors_of(model, rule, None)))
        for rule in (None, "any", "neuron", "layer")
    }
    assert sizes["any"] == min(sizes.values())


def test_how_small_sparse_weights_become() -> None:
    sizes = [
        len(packed_bytes(tensors_of(sparse_layer((100, 300), zeros, torch.float32), "any", None)))
        for zeros in (0.5, 0.9)
    ]
    assert sizes[0] < 0.98 * 120_000
    assert sizes[1] < 0.20 * 120_000


def test_sorted_values_are_stored_where_a_granularity_is_asked_for(tmp_path: Path) -> None:
    model = nn.Linear(9, 4)
    pack(model, tmp_path / "m", granularity="neuron")
    file = PackedFile(tmp_path / "m")
    assert file.entry("weight").profile == "values"
    assert list(file.places_of("weight")) == ["code", "profile"]
    assert size_of(file, "profile") == 4 * 36
    assert same_bits(unpack(tmp_path / "m")["weight"], model.weight)


def test_a_profile_shared_by_all_vectors_is_stored_once(tmp_path: Path) -> None:
    model = nn.Linear(40, 10)
    with torch.no_grad():
        model.weight.copy_(torch.arange(40.0).expand(10, 40))
    pack(shuffled_(model, "neuron"), tmp_path / "m")
    file = PackedFile(tmp_path / "m")
    assert size_of(file, "profile") == 4 * 40
    assert file.entry("weight").cut is not None


def test_a_compiled_model_is_stored_as_the_model_inside(tmp_path: Path) -> None:
    model = nn.Linear(64, 4)
    initialize_(model, bias_values="rule")
    for each, name in (model, "plain"), (torch.compile(model, backend="eager"), "compiled"):
        pack(each, tmp_path / name)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "compiled").read_bytes()
    nn.Linear(64, 4).load_state_dict(unpack(tmp_path / "compiled"))


@pytest.mark.parametrize("names_of", ["compiled", "inside"])
def test_weights_of_a_compiled_model_are_stored_by_their_seeds(
    names_of: str, tmp_path: Path
) -> None:
    model = nn.Linear(64, 4)
    initialize_(model, bias_values="rule")
    compiled = torch.compile(model, backend="eager")
    state = (compiled if names_of == "compiled" else model).state_dict()
    weights = {name: value.flip(-1) for name, value in state.items()}
    pack(compiled, tmp_path / "m", weights=weights)
    assert coders_in(tmp_path / "m") == {"weight": "uniform record", "bias": "uniform record"}
    assert same_bits(unpack(tmp_path / "m")["weight"], model.weight.flip(1))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["weight"], "the weights given hold no bias; allowed: .* weight, bias$"),
        (["weight", "bias", "module.weight"], "the weights given hold an unknown module.weight"),
        ([], "the weights given hold no weight"),
    ],
)
def test_weights_that_the_model_could_not_load_are_refused(
    names: list[str], message: str, tmp_path: Path
) -> None:
    weights = {name: torch.zeros(2) for name in names}
    with pytest.raises(PackedFileError, match=message):
        pack(nn.Linear(3, 2), tmp_path / "m", weights=weights)
    assert not (tmp_path / "m").exists()


def test_modules_drawn_before_they_became_parts_are_stored_by_their_seeds(tmp_path: Path) -> None:
    pack(NETS["drawn in parts"](), tmp_path / "m")
    assert coders_in(tmp_path / "m") == {
        "body.0.weight": "uniform record",
        "body.0.bias": "initial None",
        "body.2.weight": "uniform record",
        "body.2.bias": "initial None",
        "head.weight": "uniform record",
        "head.bias": "initial None",
    }
    assert births_in(tmp_path / "m") == [
        "* kaiming_uniform 1 prefix_length=5",
        "* kaiming_uniform 1 prefix_length=5 granularity=layer",
        "* kaiming_uniform 2 prefix_length=5",
        "* kaiming_uniform 2 prefix_length=5 granularity=layer",
    ]


def test_a_part_of_a_model_is_stored_by_the_seed_of_the_whole(tmp_path: Path) -> None:
    model = nn.ModuleDict({"body": nn.Sequential(nn.Linear(20, 8)), "head": nn.Linear(8, 3)})
    initialize_(model, bias_values="keep")
    pack(shuffled_(model, "neuron")["body"], tmp_path / "m")
    assert coders_in(tmp_path / "m") == {"0.weight": "uniform record", "0.bias": "raw None"}
    assert births_in(tmp_path / "m") == ['* kaiming_uniform 0 prefix="body."']
    assert same_bits(unpack(tmp_path / "m")["0.weight"], model["body"][0].weight)


def test_a_weight_that_got_another_name_is_stored_by_its_seed(tmp_path: Path) -> None:
    part = nn.ModuleDict({"a layer": nn.Linear(20, 8, bias=False)})
    initialize_(part, bias_values="rule")
    model = nn.ModuleDict({"first": nn.Linear(20, 8, bias=False), "part": part})
    model["first"].weight = part["a layer"].weight
    assert set(records_of(model)) == {"first.weight"}
    pack(shuffled_(model, "neuron"), tmp_path / "m")
    assert births_in(tmp_path / "m") == [
        '* kaiming_uniform 0 prefix_length=5 prefix="a\\u0020layer"'
    ]
    assert coders_in(tmp_path / "m")["first.weight"] == "uniform record"
    assert same_bits(unpack(tmp_path / "m")["part.a layer.weight"], part["a layer"].weight)


def test_a_part_that_was_compiled_later_is_stored_by_its_seed(tmp_path: Path) -> None:
    model = nn.ModuleDict({"body": nn.Linear(20, 8), "head": nn.Linear(8, 3)})
    initialize_(model, bias_values="rule")
    model["body"] = torch.compile(model["body"], backend="eager")
    pack(shuffled_(model, "neuron"), tmp_path / "m")
    assert coders_in(tmp_path / "m")["body._orig_mod.weight"] == "uniform record"
    assert births_in(tmp_path / "m")[0] == '* kaiming_uniform 0 prefix_length=14 prefix="body"'
    assert verify(model)


def test_tied_tensors_are_stored_once_and_come_back_tied(tmp_path: Path) -> None:
    model = NETS["tied"]()
    pack(model, tmp_path / "m")
    found = unpack(tmp_path / "m")
    assert found["decode.weight"] is found["encode.weight"]
    Tied().load_state_dict(found)
    file = PackedFile(tmp_path / "m")
    assert file.places_of("decode.weight") == file.places_of("encode.weight")


def test_tied_tensors_that_differ_in_the_weights_given_are_refused(tmp_path: Path) -> None:
    model = NETS["tied"]()
    weights = model.state_dict() | {"decode.weight": model.get_parameter("decode.weight") + 1}
    with pytest.raises(PackedFileError, match=r"decode.weight is tied to encode.weight in the mod"):
        pack(model, tmp_path / "m", weights=weights)
    assert not (tmp_path / "m").exists()


class Scaled(nn.Linear):
    """A parameter without axes, as a learnt temperature is one."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.scale = nn.Parameter(torch.tensor(1.5))


@pytest.mark.parametrize("granularity", [None, "neuron", {"*": "layer"}])
def test_a_parameter_without_axes_is_stored_as_it_is(granularity, tmp_path: Path) -> None:
    model = Scaled()
    pack(model, tmp_path / "m", granularity=granularity)
    assert coders_in(tmp_path / "m")["scale"] == "raw None"
    assert same_bits(unpack(tmp_path / "m")["scale"], model.scale)


def test_other_weights_than_the_models_own(tmp_path: Path) -> None:
    model = conv_net()
    initialize_(model, bias_values="rule")
    other = {name: value.clone() for name, value in model.state_dict().items()}
    other["3.weight"] = other["3.weight"].flip(1)
    pack(model, tmp_path / "m", weights=other)
    assert torch.equal(unpack(tmp_path / "m")["3.weight"], other["3.weight"])


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("[03].weight", ["0.weight", "3.weight"]),
        (["3.*", "0.b*"], ["0.bias", "3.weight", "3.bias"]),
    ],
)
def test_only_the_tensors_named_are_stored(
    only: str | list[str], names: list[str], tmp_path: Path
) -> None:
    model = conv_net()
    pack(model, tmp_path / "m", only=only)
    assert list(unpack(tmp_path / "m")) == names
    other = {name: model.state_dict()[name] + 1 for name in names}  # needs no others
    pack(model, tmp_path / "other", only=only, weights=other)
    assert all(torch.equal(w, other[name]) for name, w in unpack(tmp_path / "other").items())
    with pytest.raises(SettingError, match=r"only is 'lora'; allowed: what matches 0\.weight"):
        pack(model, tmp_path / "no", only=["*", "lora"])
    assert not (tmp_path / "no").exists()


def test_numbers_of_the_reader_without_torch(tmp_path: Path) -> None:
    model = NETS["bfloat16"]()
    pack(model, tmp_path / "m")
    found = PackedFile(tmp_path / "m")["weight"]
    assert found.dtype == np.float32
    assert np.array_equal(found, model.get_parameter("weight").detach().float().numpy())
    assert values_of_bits(np.array([0x3C00], dtype=np.uint16), "float16").tolist() == [1.0]


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_that_could_do_nothing(threads: int, tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    said = f"threads is {threads}; allowed: None, 1 or more"
    with pytest.raises(SettingError, match=f"^{re.escape(said)}$"):
        pack(model, tmp_path / "m", threads=threads)
    assert not (tmp_path / "m").exists()
    pack(model, tmp_path / "m", threads=1)
    with pytest.raises(SettingError, match=f"^{re.escape(said)}$"):
        unpack(tmp_path / "m", threads=threads)


def test_refused_models(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    model.register_buffer("two\nlines", torch.zeros(1))
    with pytest.raises(PackedFileError, match=r"'two\\nlines': the name holds a line break"):
        pack(model, tmp_path / "m")
    model = nn.Linear(3, 2)
    model.register_buffer("half\ud800", torch.zeros(1))
    with pytest.raises(PackedFileError, match=r"'half\\ud800': the name holds a line break or hal"):
        pack(model, tmp_path / "m")
    model = nn.Linear(3, 2)
    model.register_buffer("complex", torch.zeros(1, dtype=torch.complex64))
    with pytest.raises(PackedFileError, match="complex is complex64; allowed: float64"):
        pack(model, tmp_path / "m")
    with pytest.raises(PackedFileError, match="weight is on device meta; allowed: tensors that ho"):
        pack(nn.Linear(3, 2, device="meta"), tmp_path / "m")
    with pytest.raises(PackedFileError, match="weight has no shape yet; allowed: run the model"):
        pack(nn.LazyLinear(3), tmp_path / "m")
    with pytest.raises(SettingError, match="granularity is 'neurom'"):
        pack(nn.Linear(3, 2), tmp_path / "m", granularity="neurom")
    with pytest.raises(GranularityError, match="single weight"):
        pack(nn.Linear(1, 2), tmp_path / "m", granularity={"weight": "neuron"})
    with pytest.raises(PackedFileError, match=r"weight has shape \(3, 2\); allowed: \(2, 3\)"):
        pack(
            nn.Linear(3, 2),
            tmp_path / "m",
            weights={"weight": torch.zeros(3, 2), "bias": torch.zeros(2)},
        )
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_safetensors_keeps_for_itself_cannot_be_unpacked_to_it(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    model.register_buffer("__metadata__", torch.ones(3))
    pack(model, tmp_path / "m")
    assert unpack(tmp_path / "m")["__metadata__"].tolist() == [1, 1, 1]
    with pytest.raises(PackedFileError, match="__metadata__: no tensor of plain safetensors"):
        write_plain(PackedFile(tmp_path / "m"), tmp_path / "plain")
    assert not (tmp_path / "plain").exists()
