"""`arrange` as one operator, for what traces tensors: `torch.compile`, `torch.export`, `vmap`.

They cannot look at values, on which the errors depend, and know nothing of the compiled kernels.
"""

from typing import Any

import torch
from torch import Tensor

from permtrain.core.cut import Cut, Granularity, as_cut


def is_traced() -> bool:
    """Whether tensors may be without values now, or stand for several."""
    if torch.compiler.is_compiling():
        return True
    functorch = torch._C._functorch
    levels = functorch.get_interpreter_stack() or []
    return any(level.key() == functorch.TransformType.Vmap for level in levels)


def arrange_traced(profile: Tensor, like: Tensor, granularity: Granularity | Cut) -> Tensor:
    """`arrange`, through which no gradient flows."""
    name, layout = (
        (granularity.granularity, list(granularity.layout))
        if isinstance(granularity, Cut)
        else (granularity, [])
    )
    arranged: Tensor = _operator(profile, like, name, layout)
    return arranged


@torch.library.custom_op("permtrain::arrange", mutates_args=())
def _operator(profile: Tensor, like: Tensor, granularity: str, layout: list[int]) -> Tensor:
    from permtrain.core.arrangement import arrange  # which imports this module

    return arrange(profile.detach(), like.detach(), _cut(like, granularity, layout))


def _cut(like: Tensor, granularity: str, layout: list[int]) -> Cut:
    return as_cut(like, Cut(granularity, *layout) if layout else granularity)  # type: ignore[arg-type]


@_operator.register_fake
def _(profile: Tensor, like: Tensor, granularity: str, layout: list[int]) -> Tensor:
    return torch.empty_like(like, dtype=profile.dtype, memory_format=torch.contiguous_format)


@_operator.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, int | None, None, None],
    profile: Tensor,
    like: Tensor,
    granularity: str,
    layout: list[int],
) -> tuple[Tensor, int]:
    """The vectors of all members of the batch at once."""
    profile_dim, like_dim = in_dims[:2]
    members = (
        [like] * info.batch_size if like_dim is None else list(like.movedim(like_dim, 0).unbind())
    )
    cut = _cut(members[0], granularity, layout)
    like_BVL = torch.stack([cut.to_vectors(each) for each in members])
    profile = profile if profile_dim is None else profile.movedim(profile_dim, 0)
    if profile.dim() == (1 if profile_dim is None else 2):  # (L,) of each
        profile = profile.unsqueeze(-2)
    profile_BVL = profile.expand(like_BVL.shape)
    arranged_RL = _operator(profile_BVL.flatten(0, 1), like_BVL.flatten(0, 1), "neuron", [])
    arranged_BVL = arranged_RL.view(like_BVL.shape)
    return torch.stack([cut.to_tensor(each_VL) for each_VL in arranged_BVL]), 0
