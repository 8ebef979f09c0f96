"""Values from records alone: pinned bytes, structure of vectors, zeros, refusals."""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from permtrain.core.cut import Cut
from permtrain.errors import SettingError
from permtrain.initial.record import (
    TensorRecord,
    initial_values,
    level_of_places,
    shuffled_values,
)
from permtrain.initial.rules import RULES, fans, is_distribution, std_of, storage_of

DISTRIBUTIONS = [rule for rule in RULES if is_distribution(rule)]


def make(shape=(6, 20), rule="kaiming_uniform", **settings):
    fan_in, fan_out = fans(shape)
    fields = {
        "name": "fc1.weight",
        "shape": shape,
        "dtype": "float32",
        "rule": rule,
        "seed": 0,
        "fan_in": fan_in,
        "fan_out": fan_out,
        "granularity": "neuron",
    }
    return TensorRecord(**(fields | settings))


def digest(values):
    little = values.astype(values.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()[:16]


# --- bytes ---------------------------------------------------------------------------------------

GOLDEN_RECORDS = {
    "kaiming_uniform": make((100, 784)),
    "kaiming_normal": make((100, 784), "kaiming_normal"),
    "xavier_uniform": make((100, 784), "xavier_uniform"),
    "xavier_normal": make((100, 784), "xavier_normal", seed=2**64 - 1),
    "kaiming_trunc_normal": make((100, 784), "kaiming_trunc_normal", name="conv.weight"),
    "xavier_trunc_normal": make((64, 3, 3, 3), "xavier_trunc_normal"),
    "unit_uniform": make((100, 784), "unit_uniform"),
    "orthogonal": make((26, 8), "orthogonal"),
    "float64": make((8, 9), "kaiming_normal", dtype="float64"),
    "float16": make((8, 9), "kaiming_normal", dtype="float16"),
    "bfloat16": make((8, 9), "kaiming_normal", dtype="bfloat16"),
    "bias": make((10,), granularity="layer"),
    "one weight": make((1, 1), granularity="layer"),
    "constant": make(rule="constant", value=0.08, sparsity=0.4),
    "share": make((7, 30), "kaiming_normal", share=True, sparsity=0.3),
    "quantiles": make((7, 31), "kaiming_normal", quantiles=True),
    "pairwise": make((7, 31), "kaiming_normal", pairwise=True),
    "levels": make((7, 31), "kaiming_normal", levels=4),
    "layer": make((7, 30), levels=3, granularity="layer"),
    "kernel": make((4, 3, 5, 5), pairwise=True, granularity="kernel", num_kernel_axes=2),
    "transposed": make(
        (4, 3, 5, 5), pairwise=True, output_axis=1, num_kernel_axes=2, groups=2, fan_in=50
    ),
    "bernoulli": make(sparsity=0.5, sparsity_by="bernoulli"),
    "magnitude": make(sparsity=0.5, sparsity_by="magnitude"),
    "magnitude of levels": make(levels=4, sparsity=0.3, sparsity_by="magnitude"),
}


@pytest.mark.parametrize("name", GOLDEN_RECORDS)
def test_bytes_are_pinned(name):
    assert digest(initial_values(GOLDEN_RECORDS[name])) == GOLDEN_DIGESTS[name]


def test_first_values_are_pinned():
    first = initial_values(GOLDEN_RECORDS["kaiming_normal"]).reshape(-1)[:4]
    assert [value.hex() for value in first.tolist()] == GOLDEN_FIRST


def test_shuffle_is_pinned():
    record = make((7, 30), "shuffle", sparsity=0.2)
    values = np.arange(210, dtype=np.float32).reshape(7, 30)
    assert digest(shuffled_values(record, values)) == GOLDEN_DIGESTS["shuffle"]


def test_dict_is_pinned():
    assert make((3, 2), levels=2).to_dict() == {
        "name": "fc1.weight",
        "shape": [3, 2],
        "dtype": "float32",
        "rule": "kaiming_uniform",
        "seed": 0,
        "fan_in": 2,
        "fan_out": 3,
        "granularity": "neuron",
        "output_axis": 0,
        "num_kernel_axes": 0,
        "groups": 1,
        "value": None,
        "share": False,
        "quantiles": False,
        "pairwise": False,
        "levels": 2,
        "sparsity": 0.0,
        "sparsity_by": "exact",
        "version": 1,
    }


@pytest.mark.parametrize("module", ["philox", "quantiles", "rules", "record"])
def test_torch_is_not_imported(module):
    code = f"import sys, permtrain.initial.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- plain draws ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", DISTRIBUTIONS)
def test_draws_follow_the_distribution(rule):
    record = make((200, 100), rule, dtype="float64")
    values = initial_values(record).reshape(-1)
    std = std_of(rule, 100, 200)
    keras_std = std / 0.87962566103423978
    law = {
        "uniform": stats.uniform(-np.sqrt(3) * std, 2 * np.sqrt(3) * std),
        "trunc_normal": stats.truncnorm(-2, 2, scale=keras_std),
        "normal": stats.norm(scale=std),
    }[rule.split("_", 1)[1]]
    assert stats.kstest(values, law.cdf).pvalue > 0.01
    assert values.std() == pytest.approx(std, rel=0.02)


def test_plain_draws_do_not_depend_on_vectors():
    plain = initial_values(make((4, 3, 5, 5)))
    for granularity in ("kernel", "layer"):
        record = make((4, 3, 5, 5), granularity=granularity, num_kernel_axes=2)
        assert np.array_equal(initial_values(record), plain)


def test_a_larger_tensor_begins_with_the_smaller_one():
    scale = {"fan_in": 9, "fan_out": 9}
    small = initial_values(make((15,), "kaiming_normal", granularity="layer", **scale))
    large = initial_values(make((70_000,), "kaiming_normal", granularity="layer", **scale))
    assert np.array_equal(small, large[:15])


def test_seed_and_name_choose_the_values():
    records = [make(), make(seed=1), make(name="fc2.weight")]
    assert len({initial_values(record).tobytes() for record in records}) == 3


def test_constant():
    assert np.array_equal(
        initial_values(make((2, 3), "constant", value=0.08)), np.full((2, 3), 0.08, np.float32)
    )
    assert not np.signbit(initial_values(make((2, 3), "constant", value=-0.0))).any()


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (4, 0, 3, 3)])
@pytest.mark.parametrize("share", [False, True])
def test_empty_tensors(shape, share):
    granularity = "layer" if len(shape) == 1 else "neuron"
    record = make(shape, granularity=granularity, share=share, sparsity=0.5)
    assert initial_values(record).shape == shape
    shuffled = shuffled_values(replace(record, rule="shuffle", share=False), np.zeros(shape))
    assert shuffled.shape == shape


# --- vectors -------------------------------------------------------------------------------------

LAYOUTS = [
    ((6, 20), "neuron", (0, 0, 1)),
    ((6, 20), "layer", (0, 0, 1)),
    ((6, 20), "neuron", (1, 0, 1)),
    ((6, 4, 3, 3), "kernel", (0, 2, 1)),
    ((6, 4, 3, 3), "neuron", (0, 2, 1)),
    ((6, 4, 3), "neuron", (1, 1, 1)),
    ((6, 4, 3, 3), "neuron", (1, 2, 3)),
    ((6, 4, 3, 3), "kernel", (1, 2, 3)),
    ((6, 4, 3, 3), "layer", (1, 2, 3)),
    ((6, 4, 2, 3, 3), "neuron", (1, 3, 2)),
    ((9,), "layer", (0, 0, 1)),
]


def record_of(shape, granularity, layout, **settings):
    axis, num_kernel_axes, groups = layout
    return make(
        shape,
        granularity=granularity,
        output_axis=axis,
        num_kernel_axes=num_kernel_axes,
        groups=groups,
        **settings,
    )


def vectors(record, values):
    return record.cut.to_vectors(values)


@pytest.mark.parametrize(("shape", "granularity", "layout"), LAYOUTS)
def test_a_record_knows_its_cut(shape, granularity, layout):
    record = record_of(shape, granularity, layout)
    assert record.cut == Cut(granularity, *layout).of(shape)
    assert (record.num_vectors, record.vector_length) == (
        record.cut.num_vectors,
        record.cut.vector_length,
    )


@pytest.mark.parametrize(("shape", "granularity", "layout"), LAYOUTS)
@pytest.mark.parametrize("settings", [{}, {"sparsity": 0.4}, {"levels": 2}, {"pairwise": True}])
def test_shared_vectors_hold_the_same_values(shape, granularity, layout, settings):
    record = record_of(shape, granularity, layout, share=True, rule="kaiming_normal", **settings)
    values_VL = vectors(record, initial_values(record))
    rows = np.sort(values_VL, axis=1)
    assert np.array_equal(rows, np.tile(rows[:1], (len(rows), 1)))
    if len(rows) > 1:
        assert len(np.unique(values_VL, axis=0)) > 1


def test_vectors_differ_where_nothing_is_shared():
    values = np.sort(initial_values(make(pairwise=True)), axis=1)
    assert len(np.unique(values, axis=0)) == len(values)


@pytest.mark.parametrize("rule", DISTRIBUTIONS)
@pytest.mark.parametrize("length", [2, 9, 30])
def test_quantiles_are_exact_and_scattered(rule, length):
    record = make((20, length), rule, dtype="float64", quantiles=True)
    values = initial_values(record)
    rows = np.sort(values, axis=1)
    assert np.array_equal(rows, np.tile(rows[:1], (20, 1)))
    assert np.array_equal(rows[0], -rows[0, ::-1])
    assert len(np.unique(values, axis=0)) > 1
    places = (np.arange(length) + 0.5) / length
    std = std_of(rule, length, 20)
    expected = {
        "uniform": np.sqrt(3) * std * (2 * places - 1),
        "normal": stats.norm.ppf(places) * std,
        "trunc_normal": stats.truncnorm.ppf(places, -2, 2) * std / 0.87962566103423978,
    }[rule.split("_", 1)[1]]
    assert np.allclose(rows[0], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("rule", DISTRIBUTIONS)
@pytest.mark.parametrize("length", [8, 9])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"share": True},
        {"quantiles": True},
        {"levels": 4},
        {"levels": 5},
        {"share": True, "sparsity": 0.25},
        {"share": True, "sparsity": 0.25, "levels": 3},
    ],
)
def test_pairs(dtype, rule, length, settings):
    record = make((12, length), rule, dtype=dtype, pairwise=True, **settings)
    rows = np.sort(initial_values(record).astype(np.float64), axis=1)
    assert np.array_equal(rows, -rows[:, ::-1])
    num_zeros = round(record.sparsity * length)
    expected = num_zeros + (length - num_zeros) % 2
    if "levels" not in settings:
        assert np.all((rows == 0).sum(axis=1) == expected)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_levels_are_equally_frequent_and_symmetric(sizes):
    num_levels, length = sizes
    level = level_of_places(num_levels, length)
    counts = np.bincount(level, minlength=num_levels)
    assert len(level) == length
    assert len(counts) == num_levels
    assert counts.max() - counts.min() <= 1
    assert np.all(np.diff(level) >= 0)
    mirrored = num_levels - 1 - level[::-1]
    middle = [length // 2] if length % 2 else []
    assert np.array_equal(np.delete(mirrored, middle), np.delete(level, middle))


@pytest.mark.parametrize("rule", DISTRIBUTIONS)
@pytest.mark.parametrize("num_levels", [2, 3, 4, 16])
def test_levels(rule, num_levels):
    record = make((10, 96), rule, dtype="float64", levels=num_levels)
    values = initial_values(record)
    for row in values:
        levels, counts = np.unique(row, return_counts=True)
        assert np.all(counts == 96 // num_levels)
        assert np.array_equal(levels, -levels[::-1])
        assert np.sqrt(np.mean(row**2)) == pytest.approx(std_of(rule, 96, 10), rel=1e-14)
    assert len(np.unique(values, axis=0)) == 10


def test_two_levels_are_plus_and_minus_one_standard_deviation():
    values = initial_values(make((4, 8), "kaiming_normal", levels=2))
    assert Counter(values.reshape(-1).tolist()) == {-0.5: 16, 0.5: 16}


@pytest.mark.parametrize(("shape", "granularity", "layout"), LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_shuffle_keeps_each_vectors_values_and_moves_them(shape, granularity, layout, dtype):
    record = record_of(shape, granularity, layout, rule="shuffle", dtype=dtype)
    plain = record_of(shape, granularity, layout, rule="kaiming_normal", dtype=dtype, name="old")
    before = initial_values(plain)
    before.reshape(-1)[:2] = [-0.0, 0.0]
    after = shuffled_values(record, before)
    assert after.dtype == storage_of(dtype)
    assert not np.array_equal(before, after)
    bits = {2: np.int16, 4: np.int32}[before.itemsize]
    rows = [np.sort(record.cut.to_vectors(each.view(bits)), axis=1) for each in (before, after)]
    assert np.array_equal(*rows)


# --- zeros ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity_by", ["exact", "magnitude"])
@pytest.mark.parametrize("sparsity", [0.0, 0.004, 0.3, 0.5, 0.67, 0.99])
@pytest.mark.parametrize("settings", [{}, {"levels": 4}, {"pairwise": True}, {"quantiles": True}])
def test_zeros_are_counted(sparsity_by, sparsity, settings):
    # An even length, so that pairs bring no zero of their own.
    record = make((12, 34), sparsity=sparsity, sparsity_by=sparsity_by, **settings)
    values = initial_values(record)
    assert np.count_nonzero(values == 0) == record.num_zeros == round(sparsity * 12 * 34)
    assert not np.signbit(values[values == 0]).any()


@pytest.mark.parametrize("sparsity_by", ["exact", "magnitude"])
@pytest.mark.parametrize("rule", ["kaiming_normal", "constant"])
def test_shared_zeros_are_counted_in_every_vector(sparsity_by, rule):
    value = 0.03 if rule == "constant" else None
    record = make((12, 34), rule, value=value, share=True, sparsity=0.3, sparsity_by=sparsity_by)
    values = initial_values(record)
    assert np.all((values == 0).sum(axis=1) == round(0.3 * 34))
    assert record.num_zeros == 12 * round(0.3 * 34)
    assert len(np.unique(values == 0, axis=0)) == 12


def test_zeros_by_count_leave_other_values_alone():
    dense, sparse = initial_values(make()), initial_values(make(sparsity=0.5))
    assert np.array_equal(sparse, np.where(sparse == 0, 0, dense))


def test_zeros_by_chance():
    record = make((100, 200), sparsity=0.3, sparsity_by="bernoulli")
    values = initial_values(record)
    fraction = np.mean(values == 0)
    assert record.num_zeros is None
    assert abs(fraction - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 20_000)
    # More likely zeros are a superset: the same words against a higher bar.
    more = initial_values(replace(record, sparsity=0.4))
    assert np.all(more[values == 0] == 0)


def test_zeros_by_magnitude_are_the_smallest():
    dense = initial_values(make())
    sparse = initial_values(make(sparsity=0.5, sparsity_by="magnitude"))
    assert np.abs(dense[sparse == 0]).max() < np.abs(dense[sparse != 0]).min()


def test_zeros_among_equal_magnitudes_are_spread():
    record = make((100, 10), levels=2, sparsity=0.5, sparsity_by="magnitude")
    per_neuron = (initial_values(record) == 0).sum(axis=1)
    assert per_neuron.max() < 10
    assert per_neuron.min() > 0


def test_shared_magnitude_zeros_are_the_smallest_of_the_profile():
    settings = {"share": True, "quantiles": True}
    dense = np.sort(np.abs(initial_values(make((5, 20), **settings))[0]))
    record = make((5, 20), sparsity=0.5, sparsity_by="magnitude", **settings)
    assert np.array_equal(np.sort(np.abs(initial_values(record)[3]))[10:], dense[10:])


def test_shuffled_values_become_sparse():
    record = make((10, 20), "shuffle", sparsity=0.4, sparsity_by="magnitude")
    values = initial_values(make((10, 20), name="old"))
    after = shuffled_values(record, values)
    assert np.count_nonzero(after) == 120
    assert set(after[after != 0].tolist()) <= set(values.reshape(-1).tolist())


# --- records as data -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN_RECORDS)
def test_json_round_trip(name):
    record = GOLDEN_RECORDS[name]
    back = TensorRecord.from_dict(json.loads(json.dumps(record.to_dict())))
    assert back == record
    assert initial_values(back).tobytes() == initial_values(record).tobytes()


def test_a_shuffle_is_not_regenerable():
    record = make(rule="shuffle")
    assert not record.regenerable
    assert make().regenerable
    with pytest.raises(SettingError) as error:
        initial_values(record)
    assert str(error.value) == (
        "fc1.weight: rule is 'shuffle', whose values a record does not hold; "
        "allowed: any other rule"
    )


ALL_FIELDS = ", ".join(sorted(make().to_dict()))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"version": 2}, "record version is 2; allowed: 1"),
        ({"version": None}, "record version is None; allowed: 1"),
        ({"sparsety": 1}, f"record 'fc1.weight' has unknown sparsety; allowed: {ALL_FIELDS}"),
    ],
)
def test_foreign_dicts(change, text):
    with pytest.raises(SettingError) as error:
        TensorRecord.from_dict(make().to_dict() | change)
    assert str(error.value) == text


@pytest.mark.parametrize("field", sorted(make().to_dict()))
def test_missing_fields(field):
    data = make().to_dict()
    del data[field]
    name = None if field == "name" else "fc1.weight"
    with pytest.raises(SettingError) as error:
        TensorRecord.from_dict(data)
    assert str(error.value) == f"record {name!r} misses {field}; allowed: {ALL_FIELDS}"


def test_a_record_is_a_dictionary():
    with pytest.raises(SettingError, match=r"^record is \[1\]; allowed: a dictionary$"):
        TensorRecord.from_dict([1])


FAN = "1 or larger, an integer"
GROUPS = "1, or with output_axis 1 or more a divisor of size 0"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"shape": ()}, "shape is (); allowed: one or more sizes, 0 or larger"),
        ({"shape": (3, -1)}, "shape is (3, -1); allowed: one or more sizes, 0 or larger"),
        ({"shape": (3, 2.0)}, "shape is (3, 2.0); allowed: one or more sizes, 0 or larger"),
        ({"shape": "ab"}, "shape is 'ab'; allowed: one or more sizes, 0 or larger"),
        ({"dtype": "int8"}, "dtype is 'int8'; allowed: float64, float32, float16, bfloat16"),
        ({"seed": -1}, "seed is -1; allowed: 0 to 2**64 - 1, an integer"),
        ({"seed": 2**64}, f"seed is {2**64}; allowed: 0 to 2**64 - 1, an integer"),
        ({"seed": 1.0}, "seed is 1.0; allowed: 0 to 2**64 - 1, an integer"),
        ({"seed": True}, "seed is True; allowed: 0 to 2**64 - 1, an integer"),
        ({"fan_in": 0}, f"fan_in is 0; allowed: {FAN}"),
        ({"fan_out": 10**400}, f"fan_out is {10**400}; allowed: {FAN}"),
        ({"granularity": "row"}, "granularity is 'row'; allowed: kernel, neuron, layer"),
        ({"share": 1}, "share is 1; allowed: True, False"),
        ({"quantiles": None}, "quantiles is None; allowed: True, False"),
        ({"pairwise": "no"}, "pairwise is 'no'; allowed: True, False"),
        ({"sparsity_by": "size"}, "sparsity_by is 'size'; allowed: exact, bernoulli, magnitude"),
        ({"sparsity": 1.0}, "sparsity is 1.0; allowed: 0 to 1, without 1"),
        ({"sparsity": -0.1}, "sparsity is -0.1; allowed: 0 to 1, without 1"),
        ({"sparsity": float("nan")}, "sparsity is nan; allowed: 0 to 1, without 1"),
        ({"sparsity": "30%"}, "sparsity is '30%'; allowed: 0 to 1, without 1"),
        ({"version": 3}, "version is 3; allowed: 1"),
        ({"output_axis": 2}, "output_axis is 2; allowed: 0 to 1 for shape (6, 20)"),
        ({"num_kernel_axes": 3}, "num_kernel_axes is 3; allowed: 0 to 2 for shape (6, 20)"),
        ({"groups": 0}, f"groups is 0; allowed: {GROUPS}"),
        ({"groups": 2}, f"groups is 2; allowed: {GROUPS}"),
        ({"groups": 4, "output_axis": 1}, f"groups is 4; allowed: {GROUPS}"),
        ({"value": 1.0}, "value is 1.0; allowed: None, except with rule 'constant'"),
        (
            {"rule": "constant"},
            "value is None; allowed: with rule 'constant' a number in +-3.40282e+38",
        ),
        (
            {"rule": "constant", "value": float("nan")},
            "value is nan; allowed: with rule 'constant' a number in +-3.40282e+38",
        ),
        (
            {"rule": "constant", "value": 1e5, "dtype": "float16"},
            "value is 100000.0; allowed: with rule 'constant' a number in +-65504",
        ),
        (
            {"rule": "shuffle", "quantiles": True},
            "quantiles is True; allowed: False with rule 'shuffle'",
        ),
        (
            {"rule": "shuffle", "pairwise": True},
            "pairwise is True; allowed: False with rule 'shuffle'",
        ),
        ({"rule": "shuffle", "levels": 4}, "levels is 4; allowed: None with rule 'shuffle'"),
        (
            {"rule": "constant", "value": 1.0, "levels": 4},
            "levels is 4; allowed: None with rule 'constant'",
        ),
        ({"rule": "shuffle", "share": True}, "share is True; allowed: False with rule 'shuffle'"),
        (
            {"share": True, "sparsity": 0.5, "sparsity_by": "bernoulli"},
            "sparsity_by is 'bernoulli'; allowed: exact, magnitude with share=True, whose vectors "
            "have equally many zeros",
        ),
        (
            {"sparsity": 0.999},
            "sparsity is 0.999; allowed: less, so that not all 120 weights of the tensor become "
            "zero",
        ),
        (
            {"sparsity": 0.98, "share": True},
            "sparsity is 0.98; allowed: less, so that not all 20 weights of the vector become zero",
        ),
        (
            {"levels": 1},
            "levels is 1; allowed: None, 2 to 20 (the length of its weight vectors)",
        ),
        (
            {"levels": 21},
            "levels is 21; allowed: None, 2 to 20 (the length of its weight vectors)",
        ),
        (
            {"levels": 11, "sparsity": 0.5, "share": True},
            "levels is 11; allowed: None, 2 to 10 (the weights of a vector that do not become "
            "zero)",
        ),
        (
            {"levels": 2.0},
            "levels is 2.0; allowed: None, 2 to 20 (the length of its weight vectors)",
        ),
    ],
)
def test_refusals(settings, text):
    with pytest.raises(SettingError) as error:
        TensorRecord(**({**make().to_dict(), "shape": (6, 20)} | settings))
    assert str(error.value) == f"fc1.weight: {text}"


def test_name_and_rule_are_refused():
    with pytest.raises(SettingError, match=r"^name is 3; allowed: a string$"):
        replace(make(), name=3)
    with pytest.raises(
        SettingError, match=r"^fc1.weight: rule is 'constnt'; allowed: .*'constant'"
    ):
        replace(make(), rule="constnt")


GOLDEN_DIGESTS = {
    "kaiming_uniform": "46ed56bcc2e73e78",
    "kaiming_normal": "f3339ed866ec1223",
    "xavier_uniform": "e90f780f44b1f2ce",
    "xavier_normal": "9b7ad7d809688867",
    "kaiming_trunc_normal": "7867638a41fd823d",
    "xavier_trunc_normal": "db82073acc3c193d",
    "unit_uniform": "b21b879f874a8be3",
    "orthogonal": "debbeea399768db2",
    "float64": "8517cddc68d27026",
    "float16": "af77bb02abccde99",
    "bfloat16": "e602d89a4d08ce10",
    "bias": "961fd6f86d7c7005",
    "one weight": "ca16354fd8491e4c",
    "constant": "c0f552a45e2639eb",
    "share": "4992ef2499ecfeba",
    "quantiles": "f046ad82c29bc3a0",
    "pairwise": "57629cc351b378ce",
    "levels": "3de32b39b8d2ba47",
    "layer": "59c1abc438dd1a3f",
    "kernel": "033df9f0977312eb",
    "transposed": "01d6b82f79ae7dc0",
    "bernoulli": "0f7c656fbb841eb3",
    "magnitude": "e7f151d6dcf09f30",
    "magnitude of levels": "6a87a7e33b5dd281",
    "shuffle": "50a3fdf741b2ccf1",
}
GOLDEN_FIRST = [
    "-0x1.e9cc380000000p-5",
    "0x1.079cac0000000p-4",
    "0x1.868c940000000p-10",
    "0x1.3411e00000000p-4",
]
