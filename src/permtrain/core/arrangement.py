"""Synchronisation: a profile's values laid out in the order of other weights."""

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from permtrain.core.cut import Cut, Granularity, as_cut
from permtrain.core.device_rows import DeviceRows
from permtrain.core.kinds import check_numbers, check_weights
from permtrain.core.ranking import NOT_FINITE, sorting_key, sorting_order
from permtrain.errors import NonFiniteError, ProfileError


def arrange_vectors(profile_VL: Tensor, like_VL: Tensor, out_VL: Tensor | None = None) -> Tensor:
    """`arrange` on rows: `profile_VL` is (V, L) or (1, L), ascending; `like_VL` is (V, L).

    The one place that chooses how: a compiled kernel where one can, else tensor operations, with
    the same result, bit for bit. `out_VL`, if given, is contiguous, of the profile's dtype, shares
    no memory with the others and is returned; after an error its contents are undefined.
    """
    needs_gradient = torch.is_grad_enabled() and profile_VL.requires_grad
    if not needs_gradient and not torch.compiler.is_compiling():
        if _gpu_kernel_takes(profile_VL, like_VL):
            if out_VL is None:
                out_VL = torch.empty(like_VL.shape, dtype=profile_VL.dtype, device=like_VL.device)
            not_finite = torch.zeros((), dtype=torch.int32, device=like_VL.device)
            arrange_on_device([DeviceRows(profile_VL, like_VL, out_VL, not_finite)])
            if not_finite:
                raise NonFiniteError(NOT_FINITE)
            return out_VL
        from permtrain.core import cpu_kernel  # importing numba takes half a second

        if cpu_kernel.supports(profile_VL, like_VL):
            if out_VL is None:
                out_VL = torch.empty(like_VL.shape, dtype=profile_VL.dtype, device="cpu")
            if cpu_kernel.arrange_on_cpu(profile_VL, like_VL, out_VL) is not None:
                raise NonFiniteError(NOT_FINITE)
            return out_VL
    return arrange_by_sorting(profile_VL, like_VL, out_VL)


def arrange_on_device(batch: Iterable[DeviceRows]) -> None:
    """Does to each what `DeviceRows` says, which a device does without the host waiting for it.

    All that a Triton program can do is handed over together; the rest is done by torch's sort.
    """
    for_program = []
    for rows in batch:
        if _gpu_kernel_takes(rows.profile_VL, rows.like_VL):
            for_program.append(rows)
        else:
            _sort_on_device(rows)
    if for_program:
        from permtrain.core import gpu_kernel

        gpu_kernel.launch(for_program)


def _sort_on_device(rows: DeviceRows) -> None:
    if not rows.like_VL.numel():
        return
    like_VL, out_VL = rows.like_VL, rows.out_VL
    is_finite_V1 = torch.isfinite(like_VL).all(dim=1, keepdim=True)
    rows.not_finite.logical_or_(~is_finite_V1.all())
    if rows.latent_VL is not None:
        like_VL = rows.latent_VL.copy_(torch.where(is_finite_V1, like_VL, rows.latent_VL))
    order_VL = torch.sort(sorting_key(like_VL), dim=1, stable=True).indices
    profile_VL = rows.profile_VL.expand_as(order_VL)
    arranged_VL = torch.empty_like(out_VL).scatter_(1, order_VL, profile_VL)
    if rows.latent_VL is None:
        arranged_VL = torch.where(is_finite_V1, arranged_VL, out_VL)
    out_VL.copy_(arranged_VL)


def _gpu_kernel_takes(profile_VL: Tensor, like_VL: Tensor) -> bool:
    if not like_VL.is_cuda or not _has_triton():
        return False
    from permtrain.core import gpu_kernel  # triton is an optional dependency

    return gpu_kernel.supports(profile_VL, like_VL)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def arrange_by_sorting(profile_VL: Tensor, like_VL: Tensor, out_VL: Tensor | None = None) -> Tensor:
    """`arrange_vectors` in tensor operations: on any device, and what the kernel is tested against.

    The value at place r of the order goes to the position that holds place r: one sort, one
    scatter. Indexing the profile by ranks gives the same and costs a second sort.
    """
    order_VL = sorting_order(like_VL)
    values_VL = profile_VL.expand_as(order_VL)
    out_VL = torch.empty_like(values_VL) if out_VL is None else out_VL
    return out_VL.scatter_(1, order_VL, values_VL)


def arrange_now(profile: Tensor, like: Tensor, granularity: Granularity | Cut) -> Tensor:
    """`core.arrange.arrange` of tensors that hold values."""
    check_weights("like", like)
    check_numbers("profile", profile)
    if profile.is_floating_point() or profile.is_complex():
        check_weights("profile", profile)
    cut = as_cut(like, granularity)
    profile_VL = profile[None] if profile.dim() == 1 else profile
    V, L = cut.num_vectors, cut.vector_length
    if tuple(profile_VL.shape) not in {(V, L), (1, L)}:
        raise ProfileError(
            f"profile has shape {tuple(profile.shape)}; allowed: {(V, L)}, {(1, L)} or {(L,)}"
        )
    if not (profile_VL[:, 1:] >= profile_VL[:, :-1]).all():
        raise ProfileError("profile does not ascend; allowed: values sorted along the last axis")
    return cut.to_tensor(arrange_vectors(profile_VL, cut.to_vectors(like)))
