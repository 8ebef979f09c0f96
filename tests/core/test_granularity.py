"""Which tensors are permuted: one rule, every tensor of a model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as spectral_norm_by_hook
from torch.nn.utils.prune import random_unstructured

from permtrain.core.cut import Cut
from permtrain.core.granularity import (
    Biases,
    GranularityRule,
    check_rule,
    decide,
    named_tensors,
    unnamed_tensor,
)
from permtrain.errors import GranularityError, SettingError


def plan(
    model: nn.Module, rule: GranularityRule = "neuron", *, biases: Biases = "inner"
) -> dict[str, Cut]:
    """The cuts of all tensors that are permuted, as an optimizer asks for them."""
    tensors = named_tensors(model)
    check_rule(rule, [tensor.name for tensor in tensors])
    cuts = {tensor.name: decide(tensor, rule, biases=biases).cut for tensor in tensors}
    return {name: cut for name, cut in cuts.items() if cut is not None}


def granularities(model: nn.Module, rule: GranularityRule, **settings: bool) -> dict[str, str]:
    return {name: cut.granularity for name, cut in plan(model, rule, **settings).items()}


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4)
    )


# --- tensors and their names --------------------------------------------------------------------


def test_tensors_come_in_the_models_order_under_its_names() -> None:
    model = small_net()
    assert [t.name for t in named_tensors(model)] == [name for name, _ in model.named_parameters()]
    assert [t.name for t in named_tensors(nn.Linear(3, 2))] == ["weight", "bias"]


def test_tensors_have_the_layout_of_their_module() -> None:
    model = nn.ModuleDict({"up": nn.ConvTranspose2d(4, 6, 3, groups=2), "in": nn.Embedding(5, 3)})
    layouts = {tensor.name: tensor.cut.layout for tensor in named_tensors(model)}
    assert layouts == {
        "up.weight": (1, 2, 2),
        "up.bias": (0, 0, 1),
        "in.weight": (1, 0, 1),
    }


@pytest.mark.parametrize(
    ("change", "weight", "layouts"),
    [
        (spectral_norm_by_hook, "weight_orig", {"weight_orig": (1, 2, 2)}),
        (
            parametrizations.spectral_norm,
            "parametrizations.weight.original",
            {"parametrizations.weight.original": (1, 2, 2)},
        ),
        (
            parametrizations.weight_norm,
            "parametrizations.weight.original1",
            {
                "parametrizations.weight.original0": (0, 0, 1),
                "parametrizations.weight.original1": (1, 2, 2),
            },
        ),
        (
            lambda module: random_unstructured(module, "weight", 0.5),
            "weight_orig",
            {"weight_orig": (1, 2, 2)},
        ),
    ],
)
def test_what_a_weight_is_computed_from_has_its_layout_and_its_bias(
    change: Callable[[nn.Module], nn.Module], weight: str, layouts: dict[str, tuple[int, int, int]]
) -> None:
    """Else the units of a generator's transposed convolutions would be its input channels."""
    model = nn.Sequential(change(nn.ConvTranspose2d(4, 6, 3, groups=2)))
    tensors = {tensor.name: tensor for tensor in named_tensors(model)}
    for name, layout in layouts.items():
        assert tensors[f"0.{name}"].cut.layout == layout
    assert tensors["0.bias"].bias_of is tensors[f"0.{weight}"].parameter
    cut = plan(model, {f"0.{weight}": "neuron"})[f"0.{weight}"]
    assert (cut.num_vectors, cut.vector_length) == (6, 18)


def test_looking_at_a_parametrized_model_changes_nothing() -> None:
    """Computing a weight of spectral norm moves its buffers."""
    model = parametrizations.spectral_norm(nn.Linear(4, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    named_tensors(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_parametrized_embedding_with_a_padding_row_is_refused() -> None:
    model = parametrizations.spectral_norm(nn.Embedding(5, 3, padding_idx=0))
    assert plan(model, "neuron") == {}
    with pytest.raises(GranularityError, match="padding_idx"):
        plan(model, {"parametrizations.weight.original": "neuron"})


def test_a_parametrized_norm_is_left_alone() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.LayerNorm((3, 4))), nn.Linear(4, 2))
    assert set(plan(model)) == {"1.weight"}


class TiedOutput(nn.Module):
    """A language model's habit: the output layer has the embedding's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.output = nn.Linear(3, 5)
        self.output.weight = self.embed.weight


def test_tied_parameters_appear_once_under_their_first_name() -> None:
    assert [tensor.name for tensor in named_tensors(TiedOutput())] == [
        "embed.weight",
        "output.bias",
    ]
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert [tensor.name for tensor in named_tensors(model)] == ["0.weight", "0.bias"]


def test_a_tensor_without_a_module_is_laid_out_by_its_shape() -> None:
    w = torch.zeros(4, 3, 2, 2)
    tensor = unnamed_tensor("w", w)
    assert (tensor.name, tensor.parameter is w, tensor.cut.layout) == ("w", True, (0, 2, 1))


# --- one answer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("granularity", ["neuron", "layer"])
def test_one_name_concerns_weights_and_leaves_biases_and_norms_alone(granularity: str) -> None:
    assert granularities(small_net(), granularity) == {
        "0.weight": granularity,
        "4.weight": granularity,
    }


def test_none_leaves_everything_alone() -> None:
    assert plan(small_net(), None) == {}


def test_the_first_of_several_that_fits_is_taken() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 1), nn.Linear(3, 2), nn.Linear(1, 2))
    assert granularities(model, ("kernel", "neuron", "layer")) == {
        "0.weight": "kernel",
        "1.weight": "neuron",
        "2.weight": "neuron",
        "3.weight": "layer",
    }


def test_none_as_fallback_leaves_what_does_not_fit_alone() -> None:
    assert granularities(small_net(), ("kernel", None)) == {"0.weight": "kernel"}


def test_a_granularity_that_does_not_fit_is_refused_naming_tensor_and_way_out() -> None:
    with pytest.raises(GranularityError) as caught:
        plan(small_net(), "kernel")
    assert str(caught.value) == (
        "4.weight: granularity is 'kernel', but a kernel of a tensor of shape (4, 8) is a single "
        "weight, nothing to permute; allowed: 'neuron', 'layer', or None to leave it alone; "
        "a fallback can be named: ('kernel', 'layer')"
    )


def test_several_that_do_not_fit_are_all_named() -> None:
    with pytest.raises(GranularityError) as caught:
        plan(nn.Linear(1, 2), {"weight": ("kernel", "neuron")})
    text = str(caught.value)
    assert text.startswith("weight: granularity is 'kernel', but")
    assert "; granularity is 'neuron', but" in text
    assert "a fallback can be named" not in text


# --- biases -------------------------------------------------------------------------------------


def test_biases_apart_makes_each_layers_bias_one_vector_and_leaves_norms_alone() -> None:
    cuts = plan(small_net(), "neuron", biases="apart")
    assert {name: (v.num_vectors, v.vector_length) for name, v in cuts.items()} == {
        "0.weight": (2, 9),
        "0.bias": (1, 2),
        "4.weight": (4, 8),
        "4.bias": (1, 4),
    }


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm1d(4), nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm1d(4, affine=True)],
)
def test_norm_parameters_are_left_alone_with_and_without_biases(norm: nn.Module) -> None:
    assert plan(norm, "neuron") == {}
    assert plan(norm, "neuron", biases="apart") == {}


@pytest.mark.parametrize("build", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_biases_are_permuted_with_biases_apart_only(build: Any) -> None:
    model = build(3, 2, bidirectional=True)
    weights = {name for name, _ in model.named_parameters() if name.startswith("weight")}
    assert granularities(model, "neuron") == dict.fromkeys(weights, "neuron")
    with_biases = granularities(model, "neuron", biases="apart")
    assert set(with_biases) == {name for name, _ in model.named_parameters()}
    assert with_biases["bias_ih_l0"] == with_biases["bias_hh_l0_reverse"] == "layer"


def test_attention_biases_are_permuted_with_biases_apart() -> None:
    model = nn.MultiheadAttention(4, 2)
    assert granularities(model, "neuron", biases="apart") == {
        "in_proj_weight": "neuron",
        "in_proj_bias": "layer",
        "out_proj.weight": "neuron",
        "out_proj.bias": "layer",
    }


def test_a_bias_knows_the_weight_it_stands_beside() -> None:
    model = nn.ModuleDict(
        {
            "fc": nn.Linear(3, 2),
            "rnn": nn.RNN(3, 2),
            "norm": nn.BatchNorm1d(2),
            "attention": nn.MultiheadAttention(4, 2, kdim=3, add_bias_kv=True),
        }
    )
    beside = {tensor.name: tensor.bias_of for tensor in named_tensors(model)}
    assert beside["fc.bias"] is model["fc"].weight
    assert beside["rnn.bias_hh_l0"] is model["rnn"].weight_hh_l0
    assert beside["norm.bias"] is None
    assert beside["fc.weight"] is None
    assert beside["attention.in_proj_bias"] is model["attention"].q_proj_weight


def test_attentions_learnt_keys_are_no_weights() -> None:
    model = nn.MultiheadAttention(4, 2, add_bias_kv=True)
    assert set(plan(model)) == {"in_proj_weight", "out_proj.weight"}


# --- patterns -----------------------------------------------------------------------------------


def test_the_first_matching_pattern_wins() -> None:
    rule = {"0.*t": "kernel", "*.weight": ("layer", None), "0.weight": "neuron"}
    assert granularities(small_net(), rule) == {
        "0.weight": "kernel",
        "1.weight": "layer",
        "4.weight": "layer",
    }


def test_what_no_pattern_matches_is_left_alone() -> None:
    assert granularities(small_net(), {"4.weight": "neuron"}) == {"4.weight": "neuron"}


def test_a_pattern_reaches_biases_and_norms() -> None:
    rule = {"1.*": "layer", "*.bias": "layer"}
    assert set(plan(small_net(), rule)) == {"0.bias", "1.weight", "1.bias", "4.bias"}


def test_patterns_alone_decide_about_biases() -> None:
    assert set(plan(small_net(), {"0.weight": "neuron"}, biases="apart")) == {"0.weight"}


def test_a_pattern_can_leave_alone() -> None:
    assert set(plan(small_net(), {"0.*": None, "*.weight": "layer"})) == {"1.weight", "4.weight"}


def test_names_are_matched_by_case() -> None:
    model = nn.ModuleDict({"fc": nn.Linear(3, 2), "FC": nn.Linear(3, 2)})
    assert set(plan(model, {"FC.weight": "neuron"})) == {"FC.weight"}


def test_a_pattern_after_the_one_for_all_is_refused() -> None:
    """It would silently say nothing."""
    with pytest.raises(SettingError, match=r"pattern 'weight' comes after '\*', which matches all"):
        plan(nn.Linear(3, 2), {"*": "neuron", "weight": None})


def test_a_pattern_that_matches_nothing_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SettingError) as caught:
        plan(nn.Linear(3, 2), {"weight": "neuron", "conv*": "kernel"})
    assert str(caught.value) == (
        "granularity pattern 'conv*' matches no parameter; there are: weight, bias"
    )


def test_names_may_come_from_a_generator() -> None:
    check_rule({"a": "neuron", "b": "layer"}, (name for name in ["a", "b"]))


def test_the_pattern_for_all_others_concerns_weights_as_the_plain_rule_does() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    for granularity in ("neuron", "layer"):
        rule = {"0.weight": None, "*": granularity}
        assert granularities(model, rule) == dict.fromkeys(["1.weight", "3.weight"], granularity)


def test_a_pattern_for_many_leaves_what_has_no_vectors_and_a_name_insists() -> None:
    assert set(plan(small_net(), {"4.*": "neuron"})) == {"4.weight"}
    with pytest.raises(
        GranularityError, match=r"^4\.bias: granularity is 'neuron', but a neuron's"
    ):
        plan(small_net(), {"4.bias": "neuron"})


# --- functions ----------------------------------------------------------------------------------


def test_a_function_decides_by_name_and_parameter() -> None:
    asked = {}

    def rule(name: str, parameter: Tensor) -> str | None:
        asked[name] = tuple(parameter.shape)
        return "layer" if parameter.dim() == 1 and "1." not in name else None

    model = small_net()
    assert granularities(model, rule) == {"0.bias": "layer", "4.bias": "layer"}
    assert asked == {name: tuple(p.shape) for name, p in model.named_parameters()}


def test_a_functions_answer_may_be_several_or_a_cut() -> None:
    def rule(name: str, parameter: Tensor) -> Any:
        return {"weight": Cut("neuron", 1), "bias": ("kernel", "layer")}[name]

    cuts = plan(nn.Linear(3, 2), rule)
    assert (cuts["weight"].num_vectors, cuts["weight"].vector_length) == (3, 2)
    assert cuts["bias"].granularity == "layer"


def test_a_functions_misspelt_answer_is_refused() -> None:
    with pytest.raises(SettingError, match=r"granularity is 'kernal' \(did you mean 'kernel'\?\)"):
        plan(nn.Linear(3, 2), lambda name, parameter: "kernal")


# --- cuts ---------------------------------------------------------------------------------------


def test_a_cut_names_the_axis_of_output_units() -> None:
    model = nn.ParameterDict({"experts": nn.Parameter(torch.arange(24.0).reshape(2, 4, 3))})
    cut = plan(model, Cut("neuron", output_axis=1))["experts"]
    vectors = cut.to_vectors(model["experts"].detach())
    assert (cut.num_vectors, cut.vector_length) == (4, 6)
    assert vectors[1].tolist() == [3.0, 4.0, 5.0, 15.0, 16.0, 17.0]


def test_a_cut_overrides_the_modules_layout() -> None:
    model = nn.ConvTranspose2d(4, 6, 3, groups=2)
    cut = plan(model, {"weight": Cut("neuron", 0)})["weight"]
    assert cut.layout == (0, 2, 1)
    assert (cut.num_vectors, cut.vector_length) == (4, 27)


def test_a_cut_may_stand_among_several() -> None:
    model = nn.Sequential(nn.Linear(3, 1), nn.Linear(3, 2))
    cuts = plan(model, (Cut("neuron", 1), "layer"))
    assert [cut.granularity for cut in cuts.values()] == ["layer", "neuron"]


def test_a_cut_along_an_axis_that_is_not_there_is_refused_naming_the_tensor() -> None:
    with pytest.raises(
        GranularityError, match=r"^0\.weight: output_axis is 2; allowed for shape \(2, 3\): 0 to 1"
    ):
        plan(nn.Sequential(nn.Linear(3, 2)), Cut("neuron", 2))


# --- misspelt granularities ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    ["nueron", Cut("nueron"), ("kernel", "nueron"), {"weight": "nueron"}],  # type: ignore[arg-type]
)
def test_a_misspelt_granularity_is_refused_with_a_hint(rule: Any) -> None:
    with pytest.raises(SettingError) as caught:
        check_rule(rule, ["weight"])
    assert str(caught.value) == (
        "granularity is 'nueron' (did you mean 'neuron'?); "
        "allowed: kernel, neuron, layer, across, None"
    )


@pytest.mark.parametrize("rule", ["row", 3, True, ["row"]])
def test_what_is_no_granularity_at_all_is_refused_without_a_hint(rule: Any) -> None:
    with pytest.raises(SettingError) as caught:
        check_rule(rule, ["weight"])
    assert (
        str(caught.value)
        == f"granularity is {rule!r}; allowed: kernel, neuron, layer, across, None"
    )


@pytest.mark.parametrize(
    "rule", ["kernel", "neuron", "layer", None, ("kernel", None), Cut("neuron", 3), {"*": None}]
)
def test_what_is_allowed_passes(rule: Any) -> None:
    check_rule(rule, ["weight"])


# --- known defects, reported: take the mark off where one is mended -------------------------------


def test_norms_over_several_axes_are_left_alone() -> None:
    assert plan(nn.LayerNorm((3, 4)), "neuron") == {}


def test_a_module_with_bias_in_its_name_has_its_bias_permuted() -> None:
    model = nn.ModuleDict({"debias": nn.Linear(3, 2)})
    assert set(plan(model, biases="apart")) == {"debias.weight", "debias.bias"}


def test_the_bias_beside_a_tied_weight_is_permuted() -> None:
    assert set(plan(TiedOutput(), biases="apart")) == {"embed.weight", "output.bias"}


@pytest.mark.parametrize("rule", [(), {"weight": ()}, lambda name, parameter: ()])
def test_no_answer_at_all_is_refused(rule: Any) -> None:
    with pytest.raises(SettingError, match="allowed: kernel, neuron, layer, across, None"):
        plan(nn.Linear(3, 2), rule)


def test_a_cut_along_a_kernels_own_axis_mixes_no_kernels() -> None:
    """Refused, or the axis not heeded: a kernel is a kernel."""
    model = nn.Conv2d(3, 2, 2)
    w = torch.arange(24.0).reshape(2, 3, 2, 2)
    try:
        cut = plan(model, Cut("kernel", output_axis=2))["weight"]
    except GranularityError:
        return
    assert sorted(cut.to_vectors(w).tolist()) == w.flatten(0, 1).flatten(1).tolist()


def test_an_embedding_with_a_padding_row_is_refused_by_name() -> None:
    model = nn.ModuleDict({"words": nn.Embedding(5, 3, padding_idx=0), "out": nn.Linear(3, 2)})
    with pytest.raises(GranularityError, match=r"words\.weight: the embedding has a padding_idx"):
        plan(model, {"words.weight": "neuron"})
    assert set(plan(model, {"words.*": None, "*.weight": "neuron"})) == {"out.weight"}


def test_a_weight_tied_to_an_embedding_with_a_padding_row_is_refused_wherever_it_stands() -> None:
    output, embed = nn.Linear(3, 5), nn.Embedding(5, 3, padding_idx=0)
    embed.weight = output.weight
    assert plan(nn.Sequential(output, embed)) == {}
    with pytest.raises(GranularityError, match=r"^0\.weight: the embedding has a padding_idx"):
        plan(nn.Sequential(output, embed), {"0.weight": "neuron"})


def test_a_model_that_remembers_its_padding_index_has_no_padding_row_itself() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    model.padding_idx = 0
    assert list(plan(model)) == ["0.weight", "1.weight"]


def test_a_tensor_of_which_each_process_holds_a_part_is_refused() -> None:
    class DTensor(nn.Parameter):
        """What torch.distributed calls one; its own needs a group of processes."""

    model = nn.Linear(4, 3)
    model.weight = DTensor(torch.zeros(3, 4))
    with pytest.raises(GranularityError, match="weight is a DTensor, of which each process holds"):
        plan(model)
    assert plan(model, {"weight": None}) == {}
