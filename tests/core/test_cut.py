"""Weight vectors: what feeds an output unit, seen as the row of a matrix, and the way back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import spectral_norm
from torch.nn.utils.prune import random_unstructured

import reference
from permtrain.core.cut import (
    GRANULARITIES,
    Cut,
    Granularity,
    as_cut,
    plain_cut,
)
from permtrain.core.layouts import kept_by
from permtrain.errors import GranularityError

MODULES: dict[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(5, 4),
    "Conv1d": lambda: nn.Conv1d(3, 4, 2),
    "Conv2d": lambda: nn.Conv2d(3, 4, (2, 3)),
    "Conv3d": lambda: nn.Conv3d(2, 3, (2, 1, 3)),
    "Conv1d grouped": lambda: nn.Conv1d(4, 6, 3, groups=2),
    "Conv2d grouped": lambda: nn.Conv2d(6, 9, 2, groups=3),
    "Conv3d grouped": lambda: nn.Conv3d(4, 2, 2, groups=2),
    "Conv2d depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(3, 4, 2),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(3, 4, (2, 3)),
    "ConvTranspose3d": lambda: nn.ConvTranspose3d(2, 3, (2, 1, 3)),
    "ConvTranspose1d grouped": lambda: nn.ConvTranspose1d(4, 6, 3, groups=2),
    "ConvTranspose2d grouped": lambda: nn.ConvTranspose2d(6, 9, 2, groups=3),
    "ConvTranspose3d grouped": lambda: nn.ConvTranspose3d(4, 2, 2, groups=2),
    "ConvTranspose2d depthwise": lambda: nn.ConvTranspose2d(4, 8, 3, groups=4),
    "Embedding": lambda: nn.Embedding(7, 3),
    "EmbeddingBag": lambda: nn.EmbeddingBag(7, 3),
    "Bilinear": lambda: nn.Bilinear(3, 2, 4),
    "RNN": lambda: nn.RNN(3, 4),
    "LSTM": lambda: nn.LSTM(3, 2, num_layers=2, bidirectional=True),
    "GRU": lambda: nn.GRU(3, 2),
    "LSTM projected": lambda: nn.LSTM(3, 4, proj_size=2),
    "MultiheadAttention": lambda: nn.MultiheadAttention(4, 2),
    "MultiheadAttention, own key size": lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
}
WEIGHTS = [
    pytest.param(module_name, name, id=f"{module_name} {name}")
    for module_name, build in MODULES.items()
    for owner_name, owner in build().named_modules()
    for name, weight in owner.named_parameters(recurse=False)
    if not owner_name and weight.dim() >= 2
]


def cut_of(module: nn.Module, name: str, granularity: Granularity = "neuron") -> Cut:
    return kept_by(module, name, getattr(module, name)).cut.at(granularity)


def granularities_of(module: nn.Module) -> list[Granularity]:
    kernels = isinstance(module, nn.modules.conv._ConvNd)
    return ["kernel", "neuron", "layer"] if kernels else ["neuron", "layer"]


def numbered(shape: tuple[int, ...]) -> Tensor:
    """Every weight another number, so that none can be mistaken for another."""
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape)


# --- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize(("module_name", "name"), WEIGHTS)
def test_vectors_turn_back_into_the_tensor(module_name: str, name: str) -> None:
    module = MODULES[module_name]()
    for granularity in granularities_of(module):
        cut = cut_of(module, name, granularity)
        w = numbered(cut.shape)
        vectors = cut.to_vectors(w)
        assert vectors.shape == (cut.num_vectors, cut.vector_length)
        assert sorted(vectors.flatten().tolist()) == w.flatten().tolist()
        assert torch.equal(cut.to_tensor(vectors), w)


@pytest.mark.parametrize(("module_name", "name"), WEIGHTS)
def test_vectors_of_other_strides_are_the_same(module_name: str, name: str) -> None:
    module = MODULES[module_name]()
    for granularity in granularities_of(module):
        cut = cut_of(module, name, granularity)
        w = numbered(cut.shape)
        reversed_axes = tuple(reversed(range(w.dim())))
        other = w.permute(reversed_axes).contiguous().permute(reversed_axes)
        inside = torch.zeros(*w.shape, 2)[..., 1].copy_(w)
        vectors = cut.to_vectors(w)
        for strided in (other, inside):
            assert torch.equal(cut.to_vectors(strided), vectors)
        assert torch.equal(cut.to_tensor(vectors.t().contiguous().t()), w)


@given(
    shape=st.lists(st.integers(0, 4), min_size=0, max_size=5),
    granularity=st.sampled_from(GRANULARITIES),
    data=st.data(),
)
def test_any_shape_and_layout_that_is_accepted_turns_back(
    shape: list[int], granularity: Granularity, data: st.DataObject
) -> None:
    num_kernel_axes = max(len(shape) - 2, 0)
    largest_axis = max(len(shape) - num_kernel_axes - 1, 0)
    output_axis = data.draw(st.integers(0, largest_axis))
    groups = 1
    if output_axis == 1 and shape[0]:
        groups = data.draw(st.sampled_from([g for g in range(1, 5) if shape[0] % g == 0]))
    try:
        cut = Cut(granularity, output_axis, num_kernel_axes, groups).of(tuple(shape))
    except GranularityError as error:
        assert "is a single weight" in str(error)  # noqa: PT017
        return
    w = numbered(cut.shape)
    assert cut.num_vectors * cut.vector_length == w.numel()
    assert torch.equal(cut.to_tensor(cut.to_vectors(w)), w)


@given(
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    granularity=st.sampled_from(GRANULARITIES),
    groups=st.sampled_from([1, 2]),
)
def test_arrays_are_cut_as_tensors_are(
    shape: list[int], granularity: Granularity, groups: int
) -> None:
    axis = int(len(shape) > 1 and groups > 1)
    groups = groups if axis and shape[0] % groups == 0 else 1
    cut = Cut(granularity, axis, max(len(shape) - 2, 0), groups, tuple(shape))
    numbers = np.arange(cut.num_weights).reshape(shape)
    vectors = cut.to_vectors(numbers)
    assert np.array_equal(vectors, cut.to_vectors(torch.from_numpy(numbers)).numpy())
    assert np.array_equal(cut.to_tensor(vectors), numbers)


def test_a_cut_of_no_tensor_yet_takes_the_shape_of_the_one_it_is_given() -> None:
    w = torch.tensor([[3.0, 1.0], [2.0, 4.0]])
    assert as_cut(w, Cut("neuron", output_axis=1)).to_vectors(w).tolist() == [[3, 2], [1, 4]]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_vectors_of_plain_weights_are_their_own_memory(granularity: Granularity) -> None:
    w = torch.zeros(4, 3, 2, 2)
    as_cut(w, granularity).to_vectors(w).fill_(1.0)
    assert w.all()


# --- against the reference ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 5), (1, 5), (4, 2)])
def test_linear_vectors_are_rows(shape: tuple[int, int]) -> None:
    w = numbered(shape)
    assert as_cut(w, "neuron").to_vectors(w).tolist() == reference.linear_vectors(w.tolist())
    assert as_cut(w, "layer").to_vectors(w).tolist() == reference.layer_vectors(w.tolist())


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("Conv")])
def test_convolution_vectors_are_as_the_reference_says(name: str) -> None:
    module: Any = MODULES[name]()
    w = numbered(tuple(module.weight.shape))
    vectors = {g: cut_of(module, "weight", g).to_vectors(w).tolist() for g in GRANULARITIES}
    if "Transpose" in name:
        neuron = reference.transposed_conv_vectors(w.tolist(), module.groups)
        kernel = reference.transposed_conv_kernels(w.tolist(), module.groups)
    else:
        neuron = reference.conv_vectors(w.tolist())
        kernel = reference.conv_kernels(w.tolist())
    assert vectors["neuron"] == neuron
    assert vectors["kernel"] == kernel
    assert vectors["layer"] == reference.layer_vectors(w.tolist())
    assert len(vectors["neuron"]) == module.out_channels


@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
def test_embedding_vectors_are_columns(name: str) -> None:
    w = numbered((7, 3))
    vectors = cut_of(MODULES[name](), "weight").to_vectors(w)
    assert vectors.tolist() == reference.embedding_vectors(w.tolist())


# --- against behaviour --------------------------------------------------------------------------

# Input shape, and the axis of the output that counts output units.
FORWARD: dict[str, tuple[Tensor | tuple[Tensor, ...], int]] = {
    "Linear": (torch.ones(2, 5), 1),
    "Conv1d": (torch.ones(2, 3, 5), 1),
    "Conv2d": (torch.ones(2, 3, 4, 5), 1),
    "Conv3d": (torch.ones(2, 2, 3, 3, 4), 1),
    "Conv1d grouped": (torch.ones(2, 4, 5), 1),
    "Conv2d grouped": (torch.ones(2, 6, 4, 4), 1),
    "Conv3d grouped": (torch.ones(2, 4, 3, 3, 3), 1),
    "Conv2d depthwise": (torch.ones(2, 4, 4, 4), 1),
    "ConvTranspose1d": (torch.ones(2, 3, 5), 1),
    "ConvTranspose2d": (torch.ones(2, 3, 4, 5), 1),
    "ConvTranspose3d": (torch.ones(2, 2, 3, 3, 4), 1),
    "ConvTranspose1d grouped": (torch.ones(2, 4, 5), 1),
    "ConvTranspose2d grouped": (torch.ones(2, 6, 4, 4), 1),
    "ConvTranspose3d grouped": (torch.ones(2, 4, 3, 3, 3), 1),
    "ConvTranspose2d depthwise": (torch.ones(2, 4, 4, 4), 1),
    "Embedding": (torch.arange(7), 1),
    "EmbeddingBag": (torch.arange(7)[None], 1),
    "Bilinear": ((torch.ones(2, 3), torch.ones(2, 2)), 1),
}


@pytest.mark.parametrize("module_name", FORWARD)
def test_zeroing_a_neurons_vector_silences_that_output_unit_only(module_name: str) -> None:
    module: Any = MODULES[module_name]()
    inputs, unit_axis = FORWARD[module_name]
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    cut = cut_of(module, "weight")
    with torch.no_grad():
        module.weight.uniform_(1.0, 2.0)  # all contributions positive, none cancels
        if getattr(module, "bias", None) is not None:
            module.bias.zero_()
        weight = module.weight.clone()
        outputs = module(*inputs)
        assert cut.num_vectors == outputs.shape[unit_axis]
        assert outputs.ne(0).all()
        for unit in range(cut.num_vectors):
            vectors = cut.to_vectors(weight).clone()
            vectors[unit] = 0.0
            module.weight.copy_(cut.to_tensor(vectors))
            silenced = module(*inputs)
            changed = silenced.ne(outputs).movedim(unit_axis, 0).flatten(1)
            assert changed.all(dim=1).tolist() == [u == unit for u in range(cut.num_vectors)]
            assert changed.any(dim=1).tolist() == [u == unit for u in range(cut.num_vectors)]
            assert not silenced.select(unit_axis, unit).any()


def test_zeroing_a_kernel_changes_one_output_unit_by_one_input_channel() -> None:
    module = nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False)
    cut = cut_of(module, "weight", "kernel")
    with torch.no_grad():
        module.weight.uniform_(1.0, 2.0)
        weight = module.weight.clone()
        touched = set()
        for kernel in range(cut.num_vectors):
            vectors = cut.to_vectors(weight).clone()
            vectors[kernel] = 0.0
            module.weight.copy_(cut.to_tensor(vectors))
            missing = set()
            for channel in range(4):
                x = torch.zeros(1, 4, 1, 1)
                x[0, channel] = 1.0
                full = nn.functional.conv_transpose2d(x, weight, groups=2)
                differs = (module(x) != full).flatten(2).any(dim=2)[0]
                missing |= {(unit, channel) for unit in differs.nonzero().flatten().tolist()}
            assert len(missing) == 1
            touched |= missing
    assert len(touched) == cut.num_vectors == 4 * 3


def test_zeroing_a_recurrent_units_vector_silences_that_unit_only() -> None:
    module: Any = nn.RNN(3, 4, bias=False)
    cut = cut_of(module, "weight_ih_l0")
    with torch.no_grad():
        module.weight_ih_l0.uniform_(0.1, 0.2)
        weight = module.weight_ih_l0.clone()
        for unit in range(4):
            vectors = cut.to_vectors(weight).clone()
            vectors[unit] = 0.0
            module.weight_ih_l0.copy_(cut.to_tensor(vectors))
            first_step, _ = module(torch.ones(1, 3))
            assert first_step[0].eq(0).tolist() == [u == unit for u in range(4)]


# --- layouts ------------------------------------------------------------------------------------


def pruned(module: nn.Module) -> nn.Module:
    return random_unstructured(module, "weight", 0.5)


@pytest.mark.parametrize(
    ("module", "name", "layout"),
    [
        (nn.Linear(3, 2), "weight", (0, 0, 1)),
        (nn.Linear(3, 2), "bias", (0, 0, 1)),
        (nn.Conv2d(4, 6, 3, groups=2), "weight", (0, 2, 1)),
        (nn.ConvTranspose1d(4, 6, 3), "weight", (1, 1, 1)),
        (nn.ConvTranspose3d(4, 6, 3, groups=2), "weight", (1, 3, 2)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), "bias", (0, 0, 1)),
        (nn.Embedding(7, 3), "weight", (1, 0, 1)),
        (nn.EmbeddingBag(7, 3), "weight", (1, 0, 1)),
        (nn.Bilinear(3, 2, 4), "weight", (0, 0, 1)),
        (nn.LSTM(3, 2), "weight_hh_l0", (0, 0, 1)),
        (nn.MultiheadAttention(4, 2), "in_proj_weight", (0, 0, 1)),
        (nn.BatchNorm2d(3), "weight", (0, 0, 1)),
        (spectral_norm(nn.ConvTranspose2d(4, 6, 3, groups=2)), "weight_orig", (1, 2, 2)),
        (spectral_norm(nn.Conv2d(4, 6, 3)), "weight_orig", (0, 2, 1)),
        (spectral_norm(nn.Embedding(7, 3)), "weight_orig", (1, 0, 1)),
        (pruned(nn.ConvTranspose1d(4, 6, 3)), "weight_orig", (1, 1, 1)),
    ],
)
def test_layout_follows_the_modules_type(
    module: nn.Module, name: str, layout: tuple[int, int, int]
) -> None:
    assert kept_by(module, name, getattr(module, name)).cut.layout == layout


def test_subclasses_have_the_layout_of_their_base() -> None:
    class Upsample(nn.ConvTranspose2d):
        pass

    layer = Upsample(4, 6, 3, groups=2)
    assert kept_by(layer, "weight", layer.weight).cut.layout == (1, 2, 2)


@pytest.mark.parametrize(
    ("shape", "num_kernel_axes"),
    [((), 0), ((3,), 0), ((3, 2), 0), ((3, 2, 5), 1), ((3, 2, 5, 5), 2)],
)
def test_a_tensor_known_by_shape_is_laid_out_as_a_convolution(
    shape: tuple[int, ...], num_kernel_axes: int
) -> None:
    assert plain_cut(torch.zeros(shape)) == Cut("neuron", 0, num_kernel_axes, shape=shape)


# --- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granularity", "sizes"), [("kernel", (18, 25)), ("neuron", (6, 75)), ("layer", (1, 450))]
)
def test_granularity_says_how_many_vectors_of_what_length(
    granularity: Granularity, sizes: tuple[int, int]
) -> None:
    cut = Cut(granularity, 0, 2).of((6, 3, 5, 5))
    assert (cut.num_vectors, cut.vector_length) == sizes
    assert cut.num_weights == 450


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_single_weight_is_one_vector(shape: tuple[int, ...], granularity: Granularity) -> None:
    cut = Cut(granularity).of(shape)
    assert (cut.num_vectors, cut.vector_length) == (1, 1)
    w = torch.full(shape, 7.0)
    assert cut.to_vectors(w).tolist() == [[7.0]]
    assert torch.equal(cut.to_tensor(cut.to_vectors(w)), w)


def test_a_bias_is_one_vector_at_layer_granularity() -> None:
    w = torch.tensor([1.0, 2.0, 3.0])
    cut = Cut("layer").of((3,))
    assert cut.to_vectors(w).tolist() == [[1.0, 2.0, 3.0]]
    assert torch.equal(cut.to_tensor(cut.to_vectors(w)), w)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize(
    "shape", [(0,), (0, 3), (3, 0), (0, 0), (2, 0, 3), (2, 3, 0), (0, 2, 3, 3)]
)
def test_empty_tensors_turn_back(shape: tuple[int, ...], granularity: Granularity) -> None:
    w = torch.zeros(shape)
    cut = as_cut(w, granularity)
    assert cut.num_vectors * cut.vector_length == 0
    assert cut.to_tensor(cut.to_vectors(w)).shape == shape


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("granularity", ["filter", "Neuron", "", None, 1])
def test_an_unknown_granularity_is_refused(granularity: Any) -> None:
    with pytest.raises(GranularityError) as caught:
        Cut(granularity).of((3, 2))
    assert str(caught.value) == f"granularity is {granularity!r}; allowed: kernel, neuron, layer"


@pytest.mark.parametrize(
    ("shape", "output_axis"), [((3, 2), 2), ((3, 2), -1), ((3,), 1), ((2, 3, 4, 5), 4)]
)
def test_an_output_axis_that_is_not_there_is_refused(
    shape: tuple[int, ...], output_axis: int
) -> None:
    with pytest.raises(GranularityError) as caught:
        Cut("neuron", output_axis).of(shape)
    assert str(caught.value) == (
        f"output_axis is {output_axis}; allowed for shape {shape}: 0 to {len(shape) - 1}"
    )


@pytest.mark.parametrize(
    ("shape", "granularity", "layout", "text"),
    [
        ((3,), "neuron", (0, 0, 1), "a neuron's weight vector of a tensor of shape (3,)"),
        ((3,), "kernel", (0, 0, 1), "a kernel of a tensor of shape (3,)"),
        ((3, 1), "neuron", (0, 0, 1), "a neuron's weight vector of a tensor of shape (3, 1)"),
        ((3, 2), "kernel", (0, 0, 1), "a kernel of a tensor of shape (3, 2)"),
        ((3, 2, 1, 1), "kernel", (0, 2, 1), "a kernel of a tensor of shape (3, 2, 1, 1)"),
        ((1, 3), "neuron", (1, 0, 1), "a neuron's weight vector of a tensor of shape (1, 3)"),
    ],
)
def test_vectors_of_a_single_weight_are_refused(
    shape: tuple[int, ...], granularity: Granularity, layout: tuple[int, int, int], text: str
) -> None:
    with pytest.raises(GranularityError) as caught:
        Cut(granularity, *layout).of(shape)
    other = "'neuron', 'layer'" if granularity == "kernel" and len(shape) > 1 else "'layer'"
    assert str(caught.value) == (
        f"granularity is {granularity!r}, but {text} is a single weight, nothing to permute; "
        f"allowed: {other}, or None to leave it alone"
    )


def test_a_tensor_of_another_shape_is_refused() -> None:
    cut = Cut("neuron").of((6, 3))
    text = r"a tensor of shape \(3, 6\) was given to a cut of shape \(6, 3\)"
    with pytest.raises(GranularityError, match=text):
        cut.to_vectors(torch.zeros(3, 6))
    with pytest.raises(GranularityError, match=text):
        as_cut(torch.zeros(3, 6), cut)


def test_a_cut_given_is_the_cut_used() -> None:
    cut = Cut("neuron", 1).of((6, 3))
    assert as_cut(torch.zeros(6, 3), cut) is cut


def test_cuts_of_the_same_settings_are_equal() -> None:
    assert Cut("neuron").of((6, 3)) == Cut("neuron", 0).of((6, 3))
    assert len({Cut("neuron").of((6, 3)), Cut("neuron").of((6, 3))}) == 1
