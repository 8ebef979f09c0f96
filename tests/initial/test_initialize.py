"""Drawing a model: values equal their records, what is drawn and what is left, refusals."""

import copy
import io
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from permtrain import verify
from permtrain.core.bits import bits_of
from permtrain.core.granularity import named_tensors
from permtrain.errors import LeftAloneWarning, NonFiniteError, SettingError
from permtrain.initial.initialize import initialize_, records_of
from permtrain.initial.record import TensorRecord, initial_values
from permtrain.initial.rules import RULES, Rule, is_distribution
from permtrain.initial.structure import Structure

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
DISTRIBUTIONS = [rule for rule in RULES if is_distribution(rule)]


def zoo(dtype=torch.float32):
    """One of every kind of layer, the awkward ones too."""
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "linear": nn.Linear(12, 5),
            "one_input": nn.Linear(1, 6),
            "conv1d": nn.Conv1d(4, 6, 5),
            "conv2d": nn.Conv2d(4, 6, (3, 2)),
            "conv3d": nn.Conv3d(2, 3, 2),
            "grouped": nn.Conv2d(4, 6, 3, groups=2),
            "pointwise": nn.Conv2d(4, 6, 1),
            "transposed": nn.ConvTranspose2d(4, 6, 3, groups=2),
            "embedding": nn.Embedding(7, 4),
            "gru": nn.GRU(3, 4),
            "attention": nn.MultiheadAttention(4, 2),
        }
    ).to(dtype)


def equals_record(parameter, record):
    """Whether a parameter holds the values of its record, through JSON and NumPy only."""
    record = TensorRecord.from_dict(json.loads(json.dumps(record.to_dict())))
    values = torch.from_numpy(initial_values(record)).to(parameter.dtype)
    return values.shape == parameter.shape and torch.equal(bits_of(values), bits_of(parameter))


STRUCTURES = [
    {},
    {"share": True},
    {"quantiles": True},
    {"pairwise": True},
    {"levels": 2},
    {"share": True, "pairwise": True},
    {"share": True, "levels": 2, "pairwise": True},
]
ZEROS = [
    {},
    {"sparsity": 0.3},
    {"sparsity": 0.3, "sparsity_by": "bernoulli"},
    {"sparsity": 0.3, "sparsity_by": "magnitude"},
]
GRID = [
    (structure, zeros)
    for structure in STRUCTURES
    for zeros in ZEROS
    if not (structure.get("share") and zeros.get("sparsity_by") == "bernoulli")
]


@pytest.mark.parametrize("granularity", ["kernel", "neuron", "layer"])
@pytest.mark.parametrize(("structure", "zeros"), GRID, ids=str)
def test_parameters_equal_their_records(granularity, structure, zeros):
    # The rules shift against the dtypes from one case to the next.
    first = GRID.index((structure, zeros))
    for place, dtype in enumerate(DTYPES):
        rule = DISTRIBUTIONS[(first + place) % len(DISTRIBUTIONS)]
        model = zoo(dtype)
        records = initialize_(
            model, rule, Structure(granularity=granularity, **structure, **zeros), seed=5
        )
        parameters = dict(model.named_parameters())
        assert records.keys() == parameters.keys()
        for name, record in records.items():
            assert equals_record(parameters[name], record), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_in_every_dtype(rule, dtype):
    model = zoo(dtype)
    value = 0.25 if rule == "constant" else None
    for name, record in initialize_(model, Rule(rule, value), bias_values="rule").items():
        parameter = model.get_parameter(name)
        is_bias_of_none = rule == "orthogonal" and record.rule == "constant"
        assert record.rule == rule or is_bias_of_none
        assert parameter.dtype == dtype
        if record.regenerable:
            assert equals_record(parameter, record)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1),
    out_features=st.integers(1, 6),
    in_features=st.integers(1, 6),
    rule=st.sampled_from(DISTRIBUTIONS),
    granularity=st.sampled_from(["kernel", "neuron", "layer"]),
    share=st.booleans(),
    quantiles=st.booleans(),
    pairwise=st.booleans(),
    sparsity=st.floats(0, 0.49),
    sparsity_by=st.sampled_from(["exact", "magnitude"]),
)
def test_any_setting_of_any_linear_layer(seed, out_features, in_features, rule, **options):
    model = nn.Linear(in_features, out_features)
    for name, record in initialize_(model, rule, Structure(**options), seed=seed).items():
        assert equals_record(model.get_parameter(name), record)


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_another_layer_changes_nothing(structure):
    small, large = nn.ModuleDict({"a": nn.Linear(9, 4)}), nn.ModuleDict()
    large["zero"] = nn.Conv2d(3, 4, 3)
    large["a"] = nn.Linear(9, 4)
    initialize_(small, structure=Structure(sparsity=0.2, **structure), seed=3)
    initialize_(large, structure=Structure(sparsity=0.2, **structure), seed=3)
    assert torch.equal(small["a"].weight, large["a"].weight)
    assert torch.equal(small["a"].bias, large["a"].bias)


def test_same_seed_twice_and_global_generators_untouched():
    model, other = zoo(), zoo()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    records = initialize_(model, structure=Structure(levels=np.int64(2)), seed=np.uint64(2**64 - 1))
    assert records == initialize_(other, structure=Structure(levels=2), seed=2**64 - 1)
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_memory_formats_and_frozen_parameters():
    plain, last = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    last.requires_grad_(False)
    initialize_(plain)
    initialize_(last, {"weight": "kaiming_uniform"})
    assert torch.equal(plain.weight, last.weight)
    assert last.weight.is_contiguous(memory_format=torch.channels_last)
    assert not last.weight.requires_grad


def test_parameters_stay_the_same_objects():
    model = nn.Linear(3, 2)
    before = [(id(each), each.data_ptr()) for each in model.parameters()]
    initialize_(model)
    assert [(id(each), each.data_ptr()) for each in model.parameters()] == before
    assert model.weight.grad_fn is None


def test_fans_by_layer():
    records = initialize_(zoo())
    expected = {
        "linear.weight": (12, 5),
        "linear.bias": (5, 5),
        "conv2d.weight": (24, 36),
        "grouped.weight": (18, 54),
        "transposed.weight": (18, 54),
        "transposed.bias": (6, 6),
        "embedding.weight": (4, 7),
        "gru.weight_ih_l0": (3, 12),
        "gru.bias_hh_l0": (12, 12),
        "attention.in_proj_bias": (12, 12),
    }
    assert {name: (records[name].fan_in, records[name].fan_out) for name in expected} == expected


def test_next_coarser_granularity_is_recorded():
    records = initialize_(zoo(), structure=Structure(granularity="kernel", share=True))
    expected = {
        "linear.weight": "neuron",
        "one_input.weight": "layer",
        "conv2d.weight": "kernel",
        "pointwise.weight": "neuron",
        "linear.bias": "layer",
    }
    assert {name: records[name].granularity for name in expected} == expected


@pytest.mark.parametrize("granularity", ["kernel", "neuron", "layer"])
def test_shuffle_keeps_each_vector_and_really_moves(granularity):
    model = zoo()
    before = copy.deepcopy(model)
    records = initialize_(model, "shuffle", Structure(granularity=granularity))
    for tensor in named_tensors(model):
        old, new = before.get_parameter(tensor.name), tensor.parameter
        record = records[tensor.name]
        cut = tensor.cut.at(record.granularity)
        rows = [bits_of(cut.to_vectors(each)).sort(dim=1).values for each in (old, new)]
        assert torch.equal(*rows)
        if old.unique().numel() > 1:
            assert not torch.equal(old, new), tensor.name


# --- what is drawn -------------------------------------------------------------------------------


def normed():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.LayerNorm((4, 5, 5)),
        nn.RMSNorm((4, 5, 5)),
        nn.PReLU(4),
        nn.Linear(4, 2, bias=False),
    )


def test_norms_are_left_alone():
    model = normed()
    before = copy.deepcopy(model)
    records = initialize_(model, structure=Structure(sparsity=0.5))
    assert list(records) == ["0.weight", "0.bias", "6.weight"]
    for index in range(1, 6):
        assert all(map(torch.equal, before[index].parameters(), model[index].parameters()))


def test_an_embedding_with_a_padding_row_is_left_alone_and_so_is_what_is_tied_to_it():
    embed, output = nn.Embedding(5, 3, padding_idx=0), nn.Linear(3, 5)
    output.weight = embed.weight
    model = nn.Sequential(embed, nn.Linear(3, 3), output)
    before = copy.deepcopy(model)
    assert list(initialize_(model)) == ["1.weight", "1.bias"]
    assert torch.equal(embed.weight, before[0].weight)
    assert not embed.weight[0].any()
    assert torch.equal(output.bias, before[2].bias)


def test_biases():
    model = nn.Linear(20, 500)
    drawn = initialize_(model, bias_values="rule")["bias"]
    assert drawn.rule == "kaiming_uniform"
    assert model.bias.abs().max().item() == pytest.approx((6 / 500) ** 0.5, rel=0.02)
    for options in ({}, {"bias_values": "zero"}):
        model.bias.data.fill_(3)
        assert initialize_(model, **options)["bias"].rule == "constant"
        assert not model.bias.any()
    assert equals_record(model.bias, records_of(model)["bias"])
    model.bias.data.fill_(3)
    assert list(initialize_(model, bias_values="keep")) == ["weight"]
    assert (model.bias == 3).all()


def test_biases_have_no_structure():
    model = nn.Linear(20, 500)
    plain = copy.deepcopy(model)
    structure = Structure(sparsity=0.5, levels=4, share=True, granularity="layer")
    initialize_(plain, seed=1, bias_values="rule")
    initialize_(model, structure=structure, seed=1, bias_values="rule")
    assert torch.equal(plain.bias, model.bias)


def test_a_bias_follows_the_rule_of_its_weight():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    initialize_(
        model,
        {"0.*": Rule("constant", np.float32(0.5)), "1.*": Rule("constant", -2)},
        bias_values="rule",
    )
    assert all((each == 0.5).all() for each in model[0].parameters())
    assert all((each == -2).all() for each in model[1].parameters())


class Transformerlike(nn.Module):
    """Parameters of every kind that are no weights, beside a layer of a type nobody knows."""

    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.full((1, 1, 4), 2.0))
        self.pos_embed = nn.Parameter(torch.full((1, 3, 4), 2.0))
        self.gain = nn.Parameter(torch.full((1, 4, 1, 1), 2.0))
        self.A_log = nn.Parameter(torch.full((4, 3), 2.0))
        self.own = nn.Parameter(torch.full((4, 3), 2.0))
        self.slope = nn.PReLU(4, 2.0)
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.adapter = nn.Linear(4, 2)
        self.base = nn.Linear(4, 3)
        self.base.requires_grad_(False).weight.fill_(2.0)


LEFT = "initialize_ left these weights of unknown layers as they are: own; register_layout makes"


def kept(model):
    return [name for name, each in model.named_parameters() if each.dim() > 1 and (each == 2).all()]


def test_birth_touches_weights_of_known_layers_that_are_trained():
    model = Transformerlike()
    model.attention.bias_k.data.fill_(2)
    with pytest.warns(LeftAloneWarning, match=LEFT):
        records = initialize_(model)
    assert kept(model) == [
        "cls_token", "pos_embed", "gain", "A_log", "own", "attention.bias_k", "base.weight"
    ]  # fmt: skip
    assert list(records) == [
        "attention.in_proj_weight", "attention.in_proj_bias", "attention.out_proj.weight",
        "attention.out_proj.bias", "adapter.weight", "adapter.bias",
    ]  # fmt: skip
    assert not model.attention.in_proj_bias.any()
    assert (model.slope.weight == 2).all()


@pytest.mark.parametrize(
    ("pattern", "drawn"),
    [
        ("adapter.*", set()),
        ("base.*", {"base.weight"}),
        ("own", {"own"}),
        ("A_log", {"A_log"}),
        ("pos_*", set()),
        ("*", set()),
    ],
)
def test_a_pattern_draws_what_it_names_and_no_more(pattern, drawn):
    model = Transformerlike()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftAloneWarning)
        initialize_(model, {pattern: "xavier_normal"})
    all_kept = {"cls_token", "pos_embed", "gain", "A_log", "own", "base.weight"}
    assert set(kept(model)) == all_kept - drawn


def test_tied_parameters_are_drawn_once():
    model = nn.ModuleDict({"embed": nn.Embedding(9, 4), "head": nn.Linear(4, 9)})
    model["head"].weight = model["embed"].weight
    records = initialize_(model)
    assert list(records) == ["embed.weight", "head.bias"]
    assert equals_record(model["head"].weight, records["embed.weight"])


def test_patterns_first_match_wins():
    model = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 20), nn.Linear(20, 10))
    records = initialize_(
        model,
        {"0.*": "xavier_normal", "*": "kaiming_normal"},
        Structure(sparsity={"0.*": 0.5, "[01].*": 0.25}, granularity={"2.*": "layer"}, share=True),
    )
    weights = [records[f"{index}.weight"] for index in range(3)]
    assert [each.rule for each in weights] == ["xavier_normal", "kaiming_normal", "kaiming_normal"]
    assert [each.sparsity for each in weights] == [0.5, 0.25, 0.0]
    assert [each.granularity for each in weights] == ["neuron", "neuron", "layer"]


def test_patterns_after_the_one_for_all_are_refused():
    model = nn.Linear(3, 2)
    with pytest.raises(SettingError, match=r"^rule pattern 'weight' comes after '\*'"):
        initialize_(model, {"*": "kaiming_normal", "weight": "orthogonal"})
    with pytest.raises(SettingError, match=r"^sparsity pattern 'weight' comes after '\*'"):
        initialize_(model, structure=Structure(sparsity={"*": 0.1, "weight": 0.5}))


@pytest.mark.parametrize(("sparsity", "first"), [(0.7, 0.2), (0.1, 0.1), ({"*": 0.7}, 0.2)])
def test_first_layer_cap(sparsity, first):
    model = nn.Sequential(nn.BatchNorm1d(40), nn.Linear(40, 30), nn.Linear(30, 20))
    records = initialize_(
        model, structure=Structure(sparsity=sparsity, first_layer_sparsity_cap=0.2)
    )
    rest = sparsity["*"] if isinstance(sparsity, dict) else sparsity
    assert records["1.weight"].sparsity == first
    assert records["2.weight"].sparsity == rest
    assert (model[1].weight == 0).sum() == round(first * 1200)
    assert (model[2].weight == 0).sum() == round(rest * 600)


def test_empty_parameters():
    model = nn.ModuleList([nn.Linear(3, 2), nn.Embedding(0, 4)])
    records = initialize_(model, structure=Structure(sparsity=0.5, levels=2))
    assert list(records) == ["0.weight", "0.bias", "1.weight"]


# --- records on the model ------------------------------------------------------------------------


def test_records_stay_with_the_model_and_out_of_its_state_dict():
    model = nn.Linear(6, 4)
    keys = list(model.state_dict())
    records = initialize_(model, structure=Structure(levels=2))
    assert records_of(model) == records
    assert json.loads(json.dumps(model.permtrain_records)) == model.permtrain_records
    assert list(model.state_dict()) == keys
    assert records_of(copy.deepcopy(model)) == records
    assert records_of(pickle.loads(pickle.dumps(model))) == records
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    nn.Linear(6, 4).load_state_dict(torch.load(file, weights_only=True))
    assert initialize_(model, seed=1) == records_of(model) != records


def test_a_model_has_the_records_of_its_parts():
    body, head = nn.Linear(6, 4), nn.Linear(4, 2)
    of_body, of_head = initialize_(body, seed=1), initialize_(head, seed=2)
    model = nn.Sequential(body, nn.ReLU(), head)
    assert records_of(model) == {
        "0.weight": of_body["weight"],
        "0.bias": of_body["bias"],
        "2.weight": of_head["weight"],
        "2.bias": of_head["bias"],
    }
    assert verify(model)
    wrapped = nn.ModuleDict({"net": torch.compile(model, backend="eager")})
    assert list(records_of(wrapped)) == [f"net.{name}" for name in records_of(model)]
    assert verify(wrapped)
    assert records_of(body) == of_body


def test_a_part_has_its_records_of_the_whole():
    model = nn.Sequential(nn.Sequential(nn.Linear(6, 4)), nn.Linear(4, 2))
    whole = initialize_(model, seed=1)
    assert records_of(model[0]) == {
        "0.weight": whole["0.0.weight"],
        "0.bias": whole["0.0.bias"],
    }
    assert verify(model[0])
    assert records_of(copy.deepcopy(model[1])) == {
        "weight": whole["1.weight"],
        "bias": whole["1.bias"],
    }


def test_of_tied_weights_drawn_apart_the_first_record_counts():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
    records = initialize_(first, seed=1)
    initialize_(second, seed=2)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert records_of(model) == {"0.weight": records["weight"], "0.bias": records["bias"]}
    assert verify(model)


def test_records_follow_what_was_drawn_last():
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    initialize_(model[0], seed=1)
    whole = initialize_(model, seed=2)  # the part's record is out of date
    assert records_of(model) == whole
    assert verify(model)
    part = initialize_(model[1], seed=3)
    assert records_of(model) == whole | {"1.weight": part["weight"], "1.bias": part["bias"]}
    assert verify(model)
    kept = initialize_(model, seed=4, bias_values="keep")
    assert records_of(model) == kept | {"0.bias": whole["0.bias"], "1.bias": part["bias"]}
    for name, parameter in model.named_parameters():
        assert equals_record(parameter, records_of(model)[name])


def test_a_part_used_under_two_names_is_recorded_under_the_first():
    part = nn.Linear(4, 4)
    records = initialize_(part)
    assert records_of(nn.ModuleDict({"a": part, "b": part})) == {
        "a.weight": records["weight"],
        "a.bias": records["bias"],
    }


def test_a_tied_part_is_recorded_under_the_tensors_first_name():
    embedding, decoder = nn.Embedding(20, 6), nn.Linear(6, 20, bias=False)
    records = initialize_(embedding)
    decoder.weight = embedding.weight
    model = nn.ModuleDict({"decoder": decoder, "embedding": embedding})
    assert records_of(model) == {"decoder.weight": records["weight"]}


# --- refusals ------------------------------------------------------------------------------------

NAMES = "0.weight, 1.weight"
RULE_NAMES = ", ".join(RULES)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"rule": "kaiming_unifrom"},
            f"rule is 'kaiming_unifrom'; allowed: {RULE_NAMES}; did you mean 'kaiming_uniform'?",
        ),
        ({"rule": None}, f"rule is None; allowed: {RULE_NAMES}"),
        ({"seed": -1}, "0.weight: seed is -1; allowed: 0 to 2**64 - 1, an integer"),
        ({"seed": None}, "0.weight: seed is None; allowed: 0 to 2**64 - 1, an integer"),
        ({"rule": "constant"}, "value is None; allowed: a finite number, with rule 'constant'"),
        (
            {"rule": Rule("constant", 1e39)},
            "0.weight: value is 1e+39; allowed: with rule 'constant' a number in +-3.40282e+38",
        ),
        (
            {"rule": {"1.*": "shuffle"}, "structure": Structure(levels=2)},
            "1.weight: levels is 2; allowed: None with rule 'shuffle'",
        ),
        (
            {"structure": Structure(levels=7)},
            "1.weight: levels is 7; allowed: None, 2 to 4 (the length of its weight vectors)",
        ),
        ({"structure": 7}, "structure is 7; allowed: a Structure, as Structure(levels=2)"),
        ({"bias_values": "none"}, "bias_values is 'none'; allowed: rule, zero, keep"),
        (
            {"structure": Structure(sparsity={"2.*": 0.1})},
            f"sparsity pattern '2.*' matches no weight; there are: {NAMES}",
        ),
        (
            {"rule": {"1.weigth": "constant"}},
            f"rule pattern '1.weigth' matches no weight; there are: {NAMES}; "
            "did you mean '1.weight'?",
        ),
        (
            {"structure": Structure(granularity={"0.bias": "layer"})},
            f"granularity pattern '0.bias' matches no weight; there are: {NAMES}",
        ),
    ],
)
def test_refusals_write_nothing(options, text):
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(SettingError) as error:
        initialize_(model, **options)
    assert str(error.value) == text
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert records_of(model) == {}


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            nn.BatchNorm1d(3),
            "model has no weights to draw: none of a known layer that is trained and has no "
            "padding_idx; a pattern in rule names others: none",
        ),
        (
            nn.Linear(3, 2, dtype=torch.complex64),
            "weight is complex64; allowed: float64, float32, float16, bfloat16",
        ),
        (
            nn.Linear(3, 2, device="meta"),
            "weight is on the meta device; allowed: a device with memory "
            "(model.to_empty(device=...))",
        ),
        (
            parametrizations.orthogonal(nn.Linear(3, 2)),
            "parametrizations.weight is a parametrization; allowed: plain parameters (initialize "
            "before parametrizing)",
        ),
    ],
    ids=["norm", "complex", "meta", "parametrized"],
)
def test_models_that_cannot_be_drawn(model, text):
    with pytest.raises(SettingError) as error:
        initialize_(model)
    assert str(error.value) == text


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_lengths_of_a_weight_norm_cannot_be_drawn():
    model = nn.ModuleDict({"fc": weight_norm(nn.Linear(3, 2))})
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(SettingError) as error:
        initialize_(model)
    assert str(error.value) == (
        "fc.weight_g are the lengths of a weight norm; allowed: plain parameters (initialize "
        "before normalizing)"
    )
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_compiled_model_is_drawn_as_the_model_inside():
    model, other = nn.Linear(4, 3), nn.Linear(4, 3)
    compiled = torch.compile(model, backend="eager")
    assert initialize_(compiled, seed=5) == initialize_(other, seed=5)
    assert torch.equal(model.weight, other.weight)
    assert records_of(model) == records_of(compiled) == records_of(other)
    assert verify(compiled)
    assert verify(model)


def test_lazy_models():
    with pytest.raises(SettingError) as error:
        initialize_(nn.LazyLinear(3))
    assert str(error.value) == "weight has no shape yet; allowed: run the model once before"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_shuffling_refuses_what_has_no_order(value):
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    model[1].bias.data[0] = value
    before = model[0].weight.clone()
    with pytest.raises(NonFiniteError) as error:
        initialize_(model, "shuffle")
    assert str(error.value) == "1.bias holds NaN or infinity; allowed: finite values to shuffle"
    assert torch.equal(model[0].weight, before)


def test_sparse_fans_count_what_is_left() -> None:
    model = nn.ModuleDict(
        {"sparse": nn.Linear(400, 30), "narrow": nn.Linear(3, 2), "plain": nn.Linear(400, 30)}
    )
    scaled = Rule("kaiming_uniform", sparse_fans=True)
    rule = {"sparse.*": scaled, "narrow.*": scaled}
    records = initialize_(model, rule, Structure(sparsity=0.9))
    fans = {
        name: (records[f"{name}.weight"].fan_in, records[f"{name}.weight"].fan_out)
        for name in model
    }
    assert fans == {"sparse": (40, 3), "narrow": (1, 1), "plain": (400, 30)}
    bound = (6 / 40) ** 0.5
    assert 0.98 * bound < model["sparse"].weight.abs().max() <= bound
