"""Which methods are attached to which parameters at the moment.

A model does not know what trains it; whoever stores or verifies one asks here.
"""

from collections.abc import Mapping
from typing import Protocol
from weakref import ref

from torch import Tensor, nn


class Live(Protocol):
    """What is known of a method here."""

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The parameters it acts on, by name."""

    @property
    def unarranged(self) -> list[str]:
        """Those whose weights are not a permutation now, as LaPerm's in mid-period."""


_attached: "list[ref[Live]]" = []


def attached(method: Live) -> None:
    """Note that a method acts on its parameters from now on."""
    detached(method)
    _attached.append(ref(method))


def detached(method: Live) -> None:
    """Forget a method; those that are gone are forgotten too."""
    _attached[:] = [each for each in _attached if each() is not None and each() is not method]


def methods_on(model: nn.Module) -> list[Live]:
    """The methods attached to a model's parameters, each parameter's newest, oldest first."""
    newest: dict[int, Live] = {}
    for each in _attached:
        method = each()
        if method is not None:
            newest |= {id(parameter): method for parameter in method.parameters.values()}
    own = [newest.get(id(parameter)) for parameter in model.parameters()]
    order = [each() for each in _attached]
    return [method for method in order if method is not None and any(method is o for o in own)]


def unarranged_in(model: nn.Module) -> list[str]:
    """Names of the parameters whose weights are not a permutation now.

    Example:
        >>> import torch
        >>> from permtrain import LaPerm
        >>> model = nn.Linear(3, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> permuter = LaPerm(optimizer, sync_period=2, model=model)
        >>> for _ in range(2):
        ...     model(torch.ones(1, 3)).sum().backward()
        ...     _ = optimizer.step()
        ...     print(unarranged_in(model))
        ['weight']
        []
    """
    return [name for method in methods_on(model) for name in method.unarranged]
