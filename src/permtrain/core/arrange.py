"""Values laid out in the order of other weights, as users call it: at once, traced, with gradients.

What traces tensors (`torch.compile`, `torch.export`, `vmap`) cannot look at values, on which the
errors depend, and knows nothing of the compiled kernels: there it is one operator.
"""

from typing import Any

import torch
from torch import Tensor

from permtrain.core.arrangement import arrange_now
from permtrain.core.cut import Cut, Granularity, as_cut
from permtrain.core.kinds import check_weights


def arrange(profile: Tensor, like: Tensor, granularity: Granularity | Cut = "neuron") -> Tensor:
    """The profile's values laid out in the order of `like`: sigma_theta(theta_sorted).

    Source: Train by Reconnect, section 4, "Synchronization"; index optimizer, Algorithm 1, line 11,
    which indexes by argsort; taken literally that is the inverse permutation, and its text asks for
    the ranking, which is used here.

    Args:
        profile: ascending values, (V, L), or (1, L) or (L,) shared by all vectors.
        like: weights of any shape whose order counts.
        granularity: how `like` is cut into vectors.

    Shapes: out has the shape of `like` and the dtype of `profile`; exactly the profile's values.
    Ties: equal weights in `like` take ascending values in the order of their positions.
    Traced: one operator under `torch.compile(fullgraph=True)`, `torch.export` and `torch.vmap`,
        which adds an axis of members to both or one of them; no gradient reaches the profile there.
    Raises:
        KindError: one of them is no tensor, or holds no numbers that have an order.
        ProfileError: the profile's shape does not fit, or it does not ascend.
        NonFiniteError: `like` holds NaN or infinity.

    Example:
        >>> arrange(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[0.5, -7.0, 0.1]]))
        tensor([[3., 1., 2.]])
    """
    if _is_traced():
        return _arrange_traced(profile, like, granularity)
    return arrange_now(profile, like, granularity)


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(profile: Tensor, scores: Tensor, granularity: Granularity | Cut) -> Tensor:
        return arrange(profile, scores, granularity)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept for the way back; torch.func asks for this to be said apart."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor, None]:
        return None, grad_outputs[0], None


def straight_through(
    profile: Tensor, scores: Tensor, granularity: Granularity | Cut = "neuron"
) -> Tensor:
    """`arrange(profile, like=scores)`, whose gradient passes to `scores` unchanged.

    The straight-through estimator of the index optimizer thesis, section 4.1: the permutation is
    taken for the identity on the way back. No gradient reaches the profile.

    Args, shapes, ties, errors: as in `arrange`.

    Example:
        >>> scores = torch.tensor([[0.5, -7.0, 0.1]], requires_grad=True)
        >>> out = straight_through(torch.tensor([1.0, 2.0, 3.0]), scores)
        >>> (out * torch.tensor([10.0, 20.0, 30.0])).sum().backward()
        >>> out.detach(), scores.grad
        (tensor([[3., 1., 2.]]), tensor([[10., 20., 30.]]))
    """
    check_weights("scores", scores)
    return _StraightThrough.apply(profile, scores, granularity)  # type: ignore[no-any-return]


def _is_traced() -> bool:
    """Whether tensors may be without values now, or stand for several."""
    if torch.compiler.is_compiling():
        return True
    functorch = torch._C._functorch
    levels = functorch.get_interpreter_stack() or []
    return any(level.key() == functorch.TransformType.Vmap for level in levels)


def _arrange_traced(profile: Tensor, like: Tensor, granularity: Granularity | Cut) -> Tensor:
    """`arrange`, through which no gradient flows."""
    name, layout = (
        (granularity.granularity, [*granularity.layout, int(granularity.is_stack)])
        if isinstance(granularity, Cut)
        else (granularity, [])
    )
    arranged: Tensor = _operator(profile, like, name, layout)
    return arranged


@torch.library.custom_op("permtrain::arrange", mutates_args=())
def _operator(profile: Tensor, like: Tensor, granularity: str, layout: list[int]) -> Tensor:
    return arrange_now(profile.detach(), like.detach(), _cut(like, granularity, layout))


def _cut(like: Tensor, granularity: str, layout: list[int]) -> Cut:
    if not layout:
        return as_cut(like, granularity)  # type: ignore[arg-type]
    output_axis, num_kernel_axes, groups, is_stack = layout
    cut = Cut(granularity, output_axis, num_kernel_axes, groups, is_stack=bool(is_stack))  # type: ignore[arg-type]
    return as_cut(like, cut)


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
