"""A parameter as we last saw or wrote it, to know whether somebody else wrote it since."""

from typing import Any

import torch
from torch import Tensor

from permtrain.core.bits import bits_of
from permtrain.errors import ChangedWeightsError


class Seen:
    """What is remembered of a parameter: its version, and the memory that its weights were in.

    In-place writes are known by torch's version counter. Weights whose memory was replaced (another
    memory format, device or dtype and back) are compared with the memory of before, which is
    therefore kept until the next look.
    """

    def __init__(self) -> None:
        self._version = -1
        self._address = -1
        self._memory: Tensor | None = None

    def note(self, parameter: Tensor) -> None:
        """Remembers the parameter as it is."""
        self._version = parameter._version
        address = parameter.data_ptr()
        if address != self._address or self._memory is None:
            self._address, self._memory = address, parameter.detach()

    def forget(self) -> None:
        """Remembers nothing any more."""
        self.__init__()  # type: ignore[misc]

    @property
    def is_noted(self) -> bool:
        """Whether anything is remembered."""
        return self._version >= 0

    def differs(self, parameter: Tensor) -> bool:
        """Whether the parameter was written, or is in other memory: a quick look."""
        return self._version != parameter._version or self._address != parameter.data_ptr()

    def holds(self, parameter: Tensor) -> bool:
        """Whether the parameter was not written, and holds the same bytes wherever it is now."""
        memory = self._memory
        return (
            self._version == parameter._version and memory is not None and same(parameter, memory)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"is_noted": self.is_noted}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        if state["is_noted"]:  # of a copy, whose owner notes its own parameter
            self._version = 0


def same(parameter: Tensor, weights: Tensor) -> bool:
    """Whether a parameter holds these weights, bit for bit, on whatever device they are."""
    if parameter.dtype != weights.dtype or parameter.shape != weights.shape:
        return False
    return torch.equal(bits_of(parameter), bits_of(weights).to(parameter.device))


def refuse_resized(name: str, parameter: Tensor, shape: tuple[int, ...]) -> None:
    """Refuses a parameter of another shape than it was attached with.

    Raises:
        ChangedWeightsError: naming it and both shapes.
    """
    if parameter.shape != shape:
        raise ChangedWeightsError(
            f"{name}: the parameter was resized from {shape} to {tuple(parameter.shape)}; allowed: "
            "an optimizer, and what is attached to it, made when the model has its final shapes "
            "(after resize_token_embeddings and the like)"
        )


def changed(
    name: str, parameter: Tensor, dtype: torch.dtype, allowed: str = ""
) -> ChangedWeightsError:
    """The error that says so, and what to do.

    Args:
        dtype: that of the weights when they were last seen.
        allowed: what else may be done, before the other ways.
    """
    if parameter.dtype != dtype:
        return ChangedWeightsError(
            f"{name}: weights were {dtype} and are {parameter.dtype} now; allowed: "
            f"{dtype} (autocast computes in another one); to train in {parameter.dtype}, convert "
            "the model before the optimizer is made, or call reset_profile() to make the weights "
            "as they are the initial ones"
        )
    return ChangedWeightsError(
        f"{name}: weights were changed since the last step; if that was meant, {allowed}call "
        "reset_profile() to make them the initial weights, or load_state_dict() to go on from a "
        "saved state"
    )
