"""Where each kind of layer keeps its output units and its kernels, and which tensors are weights.

A registry by module type. Users add their own layers with `register_layout`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor, nn

from permtrain.core.cut import Cut, plain_cut
from permtrain.errors import SettingError

Layout: TypeAlias = Cut | Callable[[Any, Tensor], Cut | None] | None
"""How a weight is cut into neurons; None where a parameter is no weight; or what tells from both
the module and the parameter."""

COMPUTED_FROM = ("", "_orig", "_v")
"""Endings of the parameter that torch's hooks compute a weight from: as it is, spectral norm and
pruning, weight norm's direction."""

_LAYOUTS: dict[str, dict[str, Layout]] = {}

_NO_WEIGHTS = {
    "*bias*": "a bias by its name",
    "*token*": "a learned token by its name",
    "*latents*": "learned inputs by their name",
    "*embed*": "a table of positions or tokens by its name",
    "rel_pos*": "a table of positions by its name",
    "relative_pos*": "a table of positions by its name",
    "A_log": "a state-space decay by its name",
}
"""Names, in layers that nobody registered, of what is learned and is no weight."""


def register_layout(module_type: type[nn.Module] | str, **parameters: Layout) -> None:
    """Say how a type of layer keeps its weights, for all rules and for `initialize_`.

    Counts for subclasses too, from then on in this process. A later call for the same parameter
    replaces the earlier one.

    Args:
        module_type: the type, or its qualified name where its library is not imported, in which
            `*` stands for anything (`"some_library.models.*Experts"`).
        parameters: for each parameter, by its name in the module (or a pattern, `**{"w_*": ...}`):
            a `Cut` of granularity `"neuron"` that says where output units lie
            (`Cut("neuron", output_axis=1)` for weights kept as (in, out), `is_stack=True` where
            axis 0 counts layers of their own, such as experts); or None for what is no weight, such
            as a table of positions; or a function of module and parameter that gives one of these.

    Raises:
        SettingError: no module type, or a layout of another kind.

    Example:
        >>> class Transposed(nn.Module):
        ...     def __init__(self) -> None:
        ...         super().__init__()
        ...         self.w = nn.Parameter(torch.zeros(3, 5))  # (in, out)
        >>> import torch
        >>> register_layout(Transposed, w=Cut("neuron", output_axis=1))
        >>> kept_by(Transposed(), "w", torch.zeros(3, 5)).cut.num_vectors
        5
    """
    if not isinstance(module_type, str):
        if not (isinstance(module_type, type) and issubclass(module_type, nn.Module)):
            raise SettingError(
                f"module_type is {module_type!r}; allowed: a subclass of torch.nn.Module, or the "
                "qualified name of one"
            )
        module_type = _qualified(module_type)
    for name, layout in parameters.items():
        if not callable(layout):
            _check_layout(name, layout)
    known = _LAYOUTS.pop(module_type, {})  # the newest is looked at first
    others = {name: layout for name, layout in known.items() if name not in parameters}
    _LAYOUTS[module_type] = parameters | others


def _check_layout(name: str, layout: object) -> None:
    is_neuron = isinstance(layout, Cut) and layout.granularity == "neuron" and not layout.shape
    if not (layout is None or is_neuron):
        raise SettingError(
            f"layout of {name} is {layout!r}; allowed: a Cut of granularity 'neuron' without a "
            "shape, None, or a function of module and parameter that gives one of these"
        )


class Kept(NamedTuple):
    """How a layer keeps one of its own parameters.

    Attributes:
        cut: into the weights of its output units, its neurons; of the parameter's shape.
        why_left: why plain rules leave it alone, in words; empty where it is a weight.
        is_known: whether it is a weight of a registered type of layer.
    """

    cut: Cut
    why_left: str
    is_known: bool


def kept_by(
    module: nn.Module | None, parameter_name: str, parameter: Tensor, module_name: str = ""
) -> Kept:
    """How a layer keeps a parameter, by the layer's type, or by the parameter's name and shape.

    All weights into one output unit are found along the other axes: axis 0 counts output units for
    linear and convolution weights, axis 1 for transposed convolutions and for embeddings (an
    embedding is a linear layer fed with one-hot vectors). Unknown modules keep them on axis 0.

    A registered layer's weights are those that it says; an embedding whose name says so is a table
    of positions. Of other layers, weights are parameters of two or more axes, unless their name
    says what else they are, or their shape: a first axis of one (of three or more) is one for all
    images, a table; one axis larger than one is a gain.

    Args:
        module: the layer; None where it is not known.
        parameter_name: the parameter's name there. What a hook computes a weight from is kept as
            the weight.
        parameter: the parameter, of any shape.
        module_name: the layer's name in its model.

    Raises:
        SettingError: a registered function gives what is no layout.

    Example:
        >>> import torch
        >>> up = nn.ConvTranspose2d(4, 6, 3, groups=2)
        >>> kept_by(up, "weight", up.weight).cut.layout
        (1, 2, 2)
        >>> kept_by(None, "tokens", torch.zeros(1, 1, 8)).why_left
        'a learned token by its name'
        >>> kept_by(None, "scale", torch.zeros(8, 1, 1)).why_left
        'a gain: one axis only is larger than 1'
    """
    is_registered, layout = _registered(module, parameter_name, parameter)
    if layout is not None:
        cut = replace(layout, shape=tuple(parameter.shape))
    elif module is None:  # a bare tensor is taken for a linear or convolution weight
        cut = plain_cut(parameter)
    else:
        cut = replace(plain_cut(parameter), num_kernel_axes=0)
    if parameter.dim() < 2:
        why_left = "one dimension"
    elif is_registered and layout is None:
        why_left = "no weight, as its layer's layout says"
    elif is_registered:
        why_left = _why_no_table_of_words(module, module_name)
    else:
        why_left = _why_by_name_and_shape(parameter_name, tuple(parameter.shape))
    return Kept(cut, why_left, layout is not None)


def _why_by_name_and_shape(parameter_name: str, shape: tuple[int, ...]) -> str:
    own_name = parameter_name.rpartition(".")[2]
    for pattern, why in _NO_WEIGHTS.items():
        if fnmatchcase(own_name, pattern):
            return why
    if len(shape) > 2 and sum(size > 1 for size in shape) <= 1:
        return "a gain: one axis only is larger than 1"
    if len(shape) > 2 and shape[0] == 1:
        return "a table: the first of its axes is 1"
    return ""


def _why_no_table_of_words(module: nn.Module | None, module_name: str) -> str:
    own_name = module_name.rpartition(".")[2]
    is_of_positions = any(fnmatchcase(own_name, each) for each in ("*pos*", "wpe", "*_bias"))
    is_table = isinstance(module, nn.Embedding | nn.EmbeddingBag)
    return "a table of positions by its name" if is_table and is_of_positions else ""


def _registered(
    module: nn.Module | None, parameter_name: str, parameter: Tensor
) -> tuple[bool, Cut | None]:
    """Whether anything was registered for a module's parameter, and what.

    What a hook computes a weight from counts as the weight.
    """
    stems = [parameter_name.removesuffix(ending) for ending in COMPUTED_FROM]
    for module_type in type(module).__mro__:
        qualified = _qualified(module_type)
        for pattern, layouts in reversed(_LAYOUTS.items()):
            if not fnmatchcase(qualified, pattern):
                continue
            for name, layout in layouts.items():
                if any(fnmatchcase(stem, name) for stem in stems):
                    if isinstance(layout, Cut) or layout is None:
                        return True, layout
                    found = layout(module, parameter)
                    _check_layout(f"{qualified}.{parameter_name}", found)
                    return True, found
    return False, None


def _qualified(module_type: type) -> str:
    return f"{module_type.__module__}.{module_type.__qualname__}"


def _of_convolution(module: Any, weight: Tensor) -> Cut:
    return Cut("neuron", num_kernel_axes=max(weight.dim() - 2, 0))


def _of_transposed_convolution(module: Any, weight: Tensor) -> Cut:
    kernel_axes = max(weight.dim() - 2, 0)
    return Cut("neuron", output_axis=1, num_kernel_axes=kernel_axes, groups=module.groups)


def _of_experts(module: Any, weight: Tensor) -> Cut | None:
    """One layer for each expert, kept as (experts, out, in), or transposed where it says so."""
    if weight.dim() != 3:
        return None  # biases
    is_transposed = bool(getattr(module, "is_transposed", False))
    return Cut("neuron", output_axis=2 if is_transposed else 1, is_stack=True)


_ROWS = Cut("neuron")
_BUILT_IN: Mapping[type[nn.Module] | str, Mapping[str, Layout]] = {
    nn.Linear: {"weight": _ROWS},
    nn.Bilinear: {"weight": _ROWS},
    nn.modules.conv._ConvNd: {"weight": _of_convolution},
    nn.modules.conv._ConvTransposeNd: {"weight": _of_transposed_convolution},
    nn.Embedding: {"weight": Cut("neuron", output_axis=1)},
    nn.EmbeddingBag: {"weight": Cut("neuron", output_axis=1)},
    nn.RNNBase: {"weight_*": _ROWS},
    nn.RNNCellBase: {"weight_*": _ROWS},
    nn.MultiheadAttention: {"*_proj_weight": _ROWS, "bias_k": None, "bias_v": None},
    nn.modules.batchnorm._NormBase: {"*": None},
    nn.LayerNorm: {"*": None},
    nn.GroupNorm: {"*": None},
    nn.RMSNorm: {"*": None},
    "transformers.pytorch_utils.Conv1D": {"weight": Cut("neuron", output_axis=1)},
    "transformers.models.*Router": {"weight": _ROWS},
    "transformers.models.*Experts": {"gate_up_proj": _of_experts, "down_proj": _of_experts},
    "transformers.models.llama4.*Experts": {
        name: Cut("neuron", output_axis=2, is_stack=True) for name in ("gate_up_proj", "down_proj")
    },
}

for _module_type, _layouts in _BUILT_IN.items():
    register_layout(_module_type, **_layouts)
