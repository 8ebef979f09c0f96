"""Parameters that lie on one memory: writing one of them writes another."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from permtrain.errors import SettingError

_Bytes: TypeAlias = tuple[int, int]
"""First byte of a tensor's elements in memory, and the one after the last."""


def refuse_aliases(written: Mapping[str, Tensor], others: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse tensors to write whose elements share memory among them or with another tensor's.

    One tensor under two names is no alias, nor are parts of one buffer that do not overlap.

    Args:
        written: what is to be written, by name.
        others: names and tensors beside them; those that are written may be among them.

    Cost: a sort of the tensors' addresses.
    Raises:
        SettingError: naming the tensor, and the other one.

    Example:
        >>> table = torch.zeros(2, 3)
        >>> refuse_aliases({"a": table[:1], "b": table[1:]}, [])
        >>> refuse_aliases({"a": table[:1], "b": table.T}, [])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        permtrain.errors.SettingError: b shares memory with a, so that writing one writes...
    """
    tensors = {id(each): (name, each) for name, each in (*others, *written.items())}
    writing = {id(each) for each in written.values()}
    spans: list[tuple[_Bytes, str, Tensor]] = []
    for name, tensor in tensors.values():
        if not _has_memory(tensor):
            continue
        if id(tensor) in writing and _overlaps_itself(tensor):
            raise SettingError(
                f"{name} is expanded: some of its weights are one in memory; allowed: weights with "
                f"memory of their own ({name}.contiguous())"
            )
        spans.append((_span(tensor), name, tensor))
    spans.sort(key=lambda each: each[0])
    open_spans: list[tuple[_Bytes, str, Tensor]] = []
    for span, name, tensor in spans:
        open_spans = [each for each in open_spans if each[0][1] > span[0]]
        for _, other_name, other in open_spans:
            is_written = id(tensor) in writing or id(other) in writing
            if is_written and tensor.device == other.device and _share(tensor, other):
                names = [each for each, _ in tensors.values()]
                first, second = sorted((name, other_name), key=names.index)
                raise SettingError(
                    f"{second} shares memory with {first}, so that writing one writes the other; "
                    f"allowed: memory of its own (nn.Parameter({second}.clone())), or one "
                    "parameter in both places"
                )
        open_spans.append((span, name, tensor))


def _has_memory(tensor: Tensor) -> bool:
    is_plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    return is_plain and not tensor.is_meta and tensor.numel() > 0 and tensor.data_ptr() != 0


def _span(tensor: Tensor) -> _Bytes:
    extent = 1 + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    return tensor.data_ptr(), tensor.data_ptr() + extent * tensor.element_size()


def _overlaps_itself(tensor: Tensor) -> bool:
    """Whether two of its elements are one in memory; strides that nest cannot make them so."""
    reach = 0
    axes = zip(tensor.stride(), tensor.shape, strict=True)
    for stride, size in sorted(each for each in axes if each[1] > 1):
        if stride <= reach:
            return bool(_places(tensor).unique().numel() < tensor.numel())
        reach += (size - 1) * stride
    return False


def _share(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors whose memory begins before the other's ends have an element in common."""
    if one.element_size() != other.element_size() or (one.data_ptr() - other.data_ptr()) % (
        one.element_size()
    ):
        return True
    shift = (one.data_ptr() - other.data_ptr()) // one.element_size()
    return bool(torch.isin(_places(one) + shift, _places(other)).any())


def _places(tensor: Tensor) -> Tensor:
    """The place of each element in memory, in elements from the tensor's first."""
    places = torch.zeros(1, dtype=torch.int64)
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = (places[:, None] + torch.arange(size) * stride).flatten()
    return places
